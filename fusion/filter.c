/* The question becomes a program in postfix order, so that an answer needs a small stack and no recursion, however long
 * the question is; only what stands in each other (parentheses, nots) is bounded. */
#include "fusion/filter.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"
#include "kernels/utf8.h"
#include "weights/metadata.h"

typedef enum { SAYS_AND, SAYS_OR, SAYS_NOT, SAYS_TRUE, COMPARES } step_kind;
typedef enum { EQUAL, DIFFERENT, BELOW, AT_MOST, ABOVE, AT_LEAST, CONTAINS } comparison;
typedef enum { OF_METADATA, OF_PATH, OF_CAPTION, OF_ID } source;

typedef struct {
  step_kind kind;
  comparison op;
  source from;
  char *keys; /* of the metadata, each with a zero byte behind it */
  size_t n_keys;
  json_t *value; /* what is compared with; of CONTAINS in small letters */
} step;

struct filter {
  step *steps;
  size_t n, capacity;
  bool reads_metadata;
};

/* --- words -------------------------------------------------------------------------------------------------------- */

typedef enum { WORD, STRING, NUMBER, OPERATOR, OPENS, CLOSES, DOT, END } token_kind;

typedef struct {
  const char *text, *at; /* all of it; what comes next */
  token_kind kind;       /* of the token that is looked at */
  const char *begin;     /* where it stands */
  size_t length;
  char *string; /* room for what a string says */
  size_t string_length;
  double number;
  comparison op;
  filter *to;
  int depth;
} parser;

static status wrong(const parser *p, const char *expected) {
  const size_t place = (size_t)(p->begin - p->text) + 1;
  if (p->kind == END) return fail(STATUS_ARGUMENT, "the filter ends at character %zu: expected %s", place, expected);
  size_t n = p->length; /* not half a character */
  while (n > 40 || (n < p->length && ((unsigned char)p->begin[n] & 0xc0) == 0x80)) n--;
  return fail(STATUS_ARGUMENT, "the filter at character %zu: expected %s, found '%.*s'", place, expected, (int)n,
              p->begin);
}

static status broken(const parser *p, const char *what) {
  return fail(STATUS_ARGUMENT, "the filter at character %zu: %s", (size_t)(p->begin - p->text) + 1, what);
}

/* A string in quotes of either kind; a backslash takes the next character as it is. */
static status scan_string(parser *p) {
  const char quote = *p->at++;
  p->string_length = 0;
  while (*p->at && *p->at != quote) {
    if (*p->at == '\\' && p->at[1]) p->at++;
    p->string[p->string_length++] = *p->at++;
  }
  p->string[p->string_length] = 0;
  if (!*p->at) return broken(p, "this string has no end");
  p->at++;
  return STATUS_OK;
}

static status scan_number(parser *p) {
  char *end;
  p->number = strtod(p->begin, &end);
  if (end == p->begin || !(p->number - p->number == 0)) return broken(p, "this is no number");
  p->at = end;
  if (isalnum((unsigned char)*end) || *end == '_') return broken(p, "this is no number");
  return STATUS_OK;
}

static bool begins_word(char c) { return isalpha((unsigned char)c) || c == '_' || (c & 0x80); }
static bool in_word(char c) { return begins_word(c) || isdigit((unsigned char)c) || c == '-'; }

static bool scan_operator(parser *p) {
  static const struct {
    const char *sign;
    comparison op;
  } signs[] = {{"!=", DIFFERENT}, {"<=", AT_MOST}, {">=", AT_LEAST}, {"==", EQUAL},
               {"=", EQUAL},      {"<", BELOW},    {">", ABOVE},     {"~", CONTAINS}};
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
    if (!strncmp(p->at, signs[i].sign, strlen(signs[i].sign))) {
      p->op = signs[i].op;
      p->at += strlen(signs[i].sign);
      return true;
    }
  return false;
}

/* Looks at the next token. */
static status next(parser *p) {
  status s = STATUS_OK;
  p->at += strspn(p->at, " \t\r\n");
  p->begin = p->at;
  const char c = *p->at;
  if (!c) {
    p->kind = END;
  } else if (c == '(' || c == ')' || c == '.') {
    p->kind = c == '(' ? OPENS : c == ')' ? CLOSES : DOT;
    p->at++;
  } else if (c == '"' || c == '\'') {
    p->kind = STRING;
    s = scan_string(p);
  } else if (isdigit((unsigned char)c) || ((c == '-' || c == '+') && p->at[1])) {
    p->kind = NUMBER;
    s = scan_number(p);
  } else if (begins_word(c)) {
    p->kind = WORD;
    while (in_word(*p->at)) p->at++;
  } else if (scan_operator(p)) {
    p->kind = OPERATOR;
  } else {
    s = broken(p, "nothing here begins like this; strings stand in quotes");
  }
  p->length = (size_t)(p->at - p->begin);
  return s;
}

/* Whether the token is this word, in small or capital letters. */
static bool is_word(const parser *p, const char *word) {
  if (p->kind != WORD || p->length != strlen(word)) return false;
  for (size_t i = 0; i < p->length; i++)
    if (tolower((unsigned char)p->begin[i]) != word[i]) return false;
  return true;
}

/* --- the program -------------------------------------------------------------------------------------------------- */

static status add(filter *f, const step *one) {
  step *list = mem_room(f->steps, f->n, &f->capacity, sizeof *list);
  if (!list) return STATUS_MEMORY;
  f->steps = list;
  list[f->n++] = *one;
  return STATUS_OK;
}

static void step_free(step *one) {
  free(one->keys);
  json_decref(one->value);
}

/* n bytes of text in small letters; the caller frees it. */
static char *folded(const char *text, size_t n) {
  char *repaired = NULL, *small = NULL;
  size_t length = n;
  if (unicode_repair(text, n, &repaired, &length)) return NULL;
  if (!repaired) length = n;
  if ((small = mem_alloc(UNICODE_LOWER_ROOM(length) + 1, 1)))
    small[unicode_lower(repaired ? repaired : text, length, small)] = 0;
  free(repaired);
  return small;
}

static status add_key(step *one, const char *text, size_t n, size_t *used) {
  char *keys = mem_grow(one->keys, *used + n + 1, 1);
  if (!keys) return STATUS_MEMORY;
  one->keys = keys;
  memcpy(keys + *used, text, n);
  keys[*used + n] = 0;
  *used += n + 1;
  one->n_keys++;
  return STATUS_OK;
}

static const char *key_after(const char *key) { return key + strlen(key) + 1; }

/* The record's own fields; a word "metadata" before others leads nowhere else than to the metadata. */
static void choose_source(step *one, bool quoted) {
  static const struct {
    const char *name;
    source from;
  } own[] = {{"path", OF_PATH}, {"caption", OF_CAPTION}, {"id", OF_ID}};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (one->n_keys == 1 && !quoted && !strcmp(one->keys, own[i].name)) one->from = own[i].from;
  if (one->n_keys > 1 && !quoted && !strcmp(one->keys, "metadata")) {
    const char *rest = key_after(one->keys), *end = rest;
    for (size_t i = 1; i < one->n_keys; i++) end = key_after(end);
    memmove(one->keys, rest, (size_t)(end - rest));
    one->n_keys--;
  }
}

static status parse_field(parser *p, step *one) {
  const bool quoted = p->kind == STRING;
  size_t used = 0;
  if (is_word(p, "and") || is_word(p, "or") || is_word(p, "not")) return wrong(p, "the name of a field");
  for (;;) {
    if (p->kind != WORD && p->kind != STRING) return wrong(p, "the name of a field");
    status s =
        p->kind == WORD ? add_key(one, p->begin, p->length, &used) : add_key(one, p->string, p->string_length, &used);
    if (!s) s = next(p);
    if (s) return s;
    if (p->kind != DOT) break;
    if ((s = next(p))) return s;
  }
  choose_source(one, quoted);
  p->to->reads_metadata |= one->from == OF_METADATA;
  return STATUS_OK;
}

/* A string that is no UTF-8 is compared as what a JSON file could say in its place. */
static json_t *string_json(const char *text, size_t n) {
  char *repaired = NULL;
  size_t length = n;
  if (unicode_repair(text, n, &repaired, &length)) return NULL;
  json_t *value = repaired ? json_stringn(repaired, length) : json_stringn(text, n);
  free(repaired);
  return value;
}

static status parse_value(parser *p, step *one) {
  if (one->op == CONTAINS && p->kind != STRING) return wrong(p, "a \"string\" after ~");
  if (p->kind == NUMBER) {
    one->value = json_real(p->number);
  } else if (p->kind == STRING && one->op == CONTAINS) {
    char *small = folded(p->string, p->string_length);
    one->value = small ? json_string_nocheck(small) : NULL;
    free(small);
  } else if (p->kind == STRING) {
    one->value = string_json(p->string, p->string_length);
  } else if (is_word(p, "true") || is_word(p, "false")) {
    one->value = json_boolean(is_word(p, "true"));
  } else if (is_word(p, "null")) {
    one->value = json_null();
  } else {
    return wrong(p, "a number, a \"string\", true, false or null");
  }
  return one->value ? next(p) : fail(STATUS_MEMORY, "out of memory");
}

static status parse_comparison(parser *p) {
  step one = {.kind = SAYS_TRUE};
  status s = parse_field(p, &one);
  if (!s && p->kind == OPERATOR) {
    one.kind = COMPARES;
    one.op = p->op;
    s = next(p);
    if (!s) s = parse_value(p, &one);
  }
  if (!s) s = add(p->to, &one);
  if (s) step_free(&one);
  return s;
}

static status parse_question(parser *p);

static status parse_nested(parser *p, bool parenthesis) {
  if (++p->depth > FILTER_DEPTH) return broken(p, "too many parentheses and nots in each other");
  status s = next(p);
  if (!s && parenthesis) {
    s = parse_question(p);
    if (!s && p->kind != CLOSES) s = wrong(p, "and, or or )");
    if (!s) s = next(p);
  }
  return s;
}

static status parse_term(parser *p) {
  bool negated = false;
  const int depth = p->depth;
  status s = STATUS_OK;
  while (!s && is_word(p, "not")) {
    negated = !negated;
    s = parse_nested(p, false);
  }
  if (!s) s = p->kind == OPENS ? parse_nested(p, true) : parse_comparison(p);
  if (!s && negated) s = add(p->to, &(step){.kind = SAYS_NOT});
  p->depth = depth;
  return s;
}

/* Terms with `word` between them. */
static status parse_row(parser *p, const char *word, status (*part)(parser *p), step_kind kind) {
  status s = part(p);
  while (!s && is_word(p, word)) {
    s = next(p);
    if (!s) s = part(p);
    if (!s) s = add(p->to, &(step){.kind = kind});
  }
  return s;
}

static status parse_and(parser *p) { return parse_row(p, "and", parse_term, SAYS_AND); }
static status parse_question(parser *p) { return parse_row(p, "or", parse_and, SAYS_OR); }

filter *filter_parse(const char *text) {
  const size_t n = strlen(text);
  if (n > FILTER_MOST_BYTES) return fail_null(STATUS_ARGUMENT, "the filter is over %d bytes long", FILTER_MOST_BYTES);
  filter *f = mem_zero(1, sizeof *f);
  parser p = {.text = text, .at = text, .begin = text, .string = mem_alloc(n + 1, 1), .to = f};
  status s = f && p.string ? next(&p) : STATUS_MEMORY;
  if (!s) s = parse_question(&p);
  if (!s && p.kind != END) s = wrong(&p, p.kind == CLOSES ? "and, or or the end" : "an operator, and, or or the end");
  free(p.string);
  if (!s) return f;
  filter_free(f);
  return NULL;
}

void filter_free(filter *f) {
  if (!f) return;
  for (size_t i = 0; i < f->n; i++) step_free(&f->steps[i]);
  free(f->steps);
  free(f);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static status text_contains(const char *text, size_t n, const json_t *small, bool *yes) {
  char *own = folded(text, n);
  if (!own) return STATUS_MEMORY;
  *yes = strstr(own, json_string_value(small)) != NULL;
  free(own);
  return STATUS_OK;
}

/* -1, 0, 1 of two numbers or two strings. */
static int order(const json_t *a, const json_t *b) {
  if (json_is_number(a)) {
    const double x = json_number_value(a), y = json_number_value(b);
    return (x > y) - (x < y);
  }
  const size_t n = json_string_length(a), m = json_string_length(b);
  const int d = memcmp(json_string_value(a), json_string_value(b), n < m ? n : m);
  return d ? d : (n > m) - (n < m);
}

static bool decides(comparison op, int order_of) {
  switch (op) {
  case EQUAL:
    return !order_of;
  case BELOW:
    return order_of < 0;
  case AT_MOST:
    return order_of <= 0;
  case ABOVE:
    return order_of > 0;
  case AT_LEAST:
    return order_of >= 0;
  case DIFFERENT:
  case CONTAINS:
    break;
  }
  return order_of != 0;
}

static status compare_one(comparison op, const json_t *found, const json_t *value, bool *yes) {
  *yes = false;
  if (op == CONTAINS)
    return json_is_string(found) ? text_contains(json_string_value(found), json_string_length(found), value, yes)
                                 : STATUS_OK;
  const bool numbers = json_is_number(found) && json_is_number(value);
  if (numbers || (json_is_string(found) && json_is_string(value)))
    *yes = decides(op, order(found, value));
  else if (op == EQUAL) /* true, false, null */
    *yes = json_typeof(found) == json_typeof(value);
  return STATUS_OK;
}

static status compare(const step *one, const json_t *found, bool *yes) {
  const bool negated = one->op == DIFFERENT;
  const comparison op = negated ? EQUAL : one->op;
  const size_t n = json_array_size(found);
  status s = STATUS_OK;
  *yes = false;
  for (size_t i = 0; !s && !*yes && i < n; i++) s = compare_one(op, json_array_get(found, i), one->value, yes);
  if (!json_is_array(found)) s = compare_one(op, found, one->value, yes);
  *yes ^= negated;
  return s;
}

static bool says_something(const json_t *v) {
  switch (json_typeof(v)) {
  case JSON_OBJECT:
    return json_object_size(v) > 0;
  case JSON_ARRAY:
    return json_array_size(v) > 0;
  case JSON_STRING:
    return json_string_length(v) > 0;
  case JSON_INTEGER:
  case JSON_REAL:
    return json_number_value(v) != 0;
  case JSON_TRUE:
  case JSON_FALSE:
  case JSON_NULL:
    break;
  }
  return json_is_true(v);
}

/* What a step speaks of (new reference); NULL if it is not there, or *s. */
static json_t *find(const step *one, uint64_t id, const index_record *r, json_t *metadata, status *s) {
  json_t *found = NULL;
  if (one->from == OF_METADATA) {
    const char *key = one->keys;
    found = metadata;
    for (size_t i = 0; found && i < one->n_keys; i++, key = key_after(key)) found = json_object_get(found, key);
    return json_incref(found);
  }
  const char *text = one->from == OF_PATH ? r->path : r->caption;
  found = one->from == OF_ID ? json_real((double)id) : string_json(text, strlen(text));
  if (!found) *s = fail(STATUS_MEMORY, "out of memory");
  return found;
}

static status ask(const step *one, uint64_t id, const index_record *r, json_t *metadata, bool *yes) {
  status s = STATUS_OK;
  json_t *found = find(one, id, r, metadata, &s);
  *yes = false;
  if (found && one->kind == COMPARES)
    s = compare(one, found, yes);
  else if (found)
    *yes = says_something(found);
  json_decref(found);
  return s;
}

/* A row of terms holds two answers at most at a time, in each parenthesis: of "or" and of "and". */
enum { STACK = 3 * (FILTER_DEPTH + 2) };

static status run(const filter *f, uint64_t id, const index_record *r, json_t *metadata, bool *yes) {
  bool stack[STACK];
  size_t top = 0;
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < f->n; i++) {
    const step *one = &f->steps[i];
    if (one->kind == COMPARES || one->kind == SAYS_TRUE) {
      s = ask(one, id, r, metadata, &stack[top++]);
    } else if (one->kind == SAYS_NOT) {
      stack[top - 1] = !stack[top - 1];
    } else {
      top--;
      stack[top - 1] = one->kind == SAYS_AND ? stack[top - 1] && stack[top] : stack[top - 1] || stack[top];
    }
  }
  *yes = !s && stack[0];
  return s;
}

status filter_matches(const filter *f, uint64_t id, const index_record *r, bool *yes) {
  json_t *metadata = NULL;
  status s = STATUS_OK;
  *yes = false;
  if (f->reads_metadata)
    s = metadata_parse_json("its metadata", r->metadata, strlen(r->metadata), JSON_ALLOW_NUL, &metadata);
  if (!s && f->reads_metadata && !json_is_object(metadata)) s = fail(STATUS_FORMAT, "its metadata are no JSON object");
  if (!s) s = run(f, id, r, metadata, yes);
  json_decref(metadata);
  return s ? fail_within("%s", r->path) : s;
}

/* --- a whole index ------------------------------------------------------------------------------------------------ */

void filtered_parts_free(filtered_parts *p) {
  free(p->part);
  free(p->marks);
  *p = (filtered_parts){0};
}

/* The skip bits of rows [8 byte, 8 byte + 8) of a part. */
static status mark_byte(const filter *f, const vector_index *x, const search_part *part, size_t byte, uint8_t *marks) {
  const size_t end = part->n - byte * 8 < 8 ? part->n : byte * 8 + 8;
  status s = STATUS_OK;
  *marks = part->skip ? part->skip[byte] : 0;
  for (size_t i = byte * 8; !s && i < end; i++) {
    const uint8_t bit = (uint8_t)(1u << (i % 8));
    index_record r;
    bool yes;
    if (*marks & bit) continue;
    s = index_record_at(x, part->first + i, &r);
    if (!s) s = filter_matches(f, index_id_at(x, part->first + i), &r, &yes);
    if (!s && !yes) *marks |= bit;
  }
  return s;
}

static size_t count_kept(const search_part *part) {
  size_t n = 0;
  for (size_t i = 0; i < part->n; i++) n += !(part->skip[i / 8] & 1u << (i % 8));
  return n;
}

static status mark_part(const filter *f, const vector_index *x, const search_part *part, uint8_t *marks) {
  const size_t bytes = (part->n + 7) / 8;
  failure failed = {0};
#pragma omp parallel for schedule(dynamic, 64)
  for (size_t byte = 0; byte < bytes; byte++)
    if (!failure_kept(&failed) && mark_byte(f, x, part, byte, &marks[byte])) failure_keep(&failed);
  return failure_say(&failed);
}

status filter_parts(const filter *f, const vector_index *x, filtered_parts *out) {
  size_t bytes = 0;
  *out = (filtered_parts){0};
  const search_part *from = index_parts(x, &out->n);
  for (size_t i = 0; i < out->n; i++) bytes += (from[i].n + 7) / 8;
  out->part = mem_alloc(out->n, sizeof *out->part);
  out->marks = mem_alloc(bytes, 1);
  status s = out->part && out->marks ? STATUS_OK : STATUS_MEMORY;
  uint8_t *marks = out->marks;
  for (size_t i = 0; !s && i < out->n; i++) {
    out->part[i] = from[i];
    out->part[i].skip = marks;
    s = mark_part(f, x, &from[i], marks);
    if (!s) out->matching += count_kept(&out->part[i]);
    marks += (from[i].n + 7) / 8;
  }
  return s;
}
