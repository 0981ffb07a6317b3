/* World vocabularies: parsing, a trie over bytes, greedy longest match. See tokenizer.h and spec language-models 6.1.
 *
 * The trie is three flat arrays with its nodes in breadth-first order: the children of node i are the nodes first[i] to
 * first[i + 1] - 1, with ascending labels. A vocabulary of n bytes has at most n + 1 nodes, so memory is linear in the
 * file whatever it holds. All single bytes exist, so the root's child for byte b is always node 1 + b. */
#include "data/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/literal.h"
#include "kernels/file.h"

struct tokenizer {
  uint32_t size;   /* largest id + 1 */
  char *bytes;     /* all tokens in the order of their ids */
  uint32_t *start; /* [size + 1]: token id is bytes[start[id] .. start[id + 1]) */
  uint32_t *first; /* [n_nodes + 1] */
  int32_t *token;  /* [n_nodes]: the id of the token that ends here, or 0 */
  uint8_t *label;  /* [n_nodes]: the byte that leads here */
};

void tokenizer_free(tokenizer *t) {
  if (!t) return;
  free(t->bytes);
  free(t->start);
  free(t->first);
  free(t->token);
  free(t->label);
  free(t);
}

/* -- Parsing ------------------------------------------------------------------------------------------------------- */

/* Reads decimal digits text[0..n) as a number below 2^31; -1 if it is none. */
static int64_t read_number(const char *text, size_t n) {
  int64_t value = 0;
  if (n == 0 || n > 10) return -1;
  for (size_t i = 0; i < n; i++) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value <= INT32_MAX ? value : -1;
}

/* Reads line[0..n), which must be entry number `id`; appends its bytes to t->bytes at t->start[id]. */
static status parse_line(tokenizer *t, const char *line, size_t n, uint32_t id) {
  const char *left = memchr(line, ' ', n), *right = line + n;
  while (left && right[-1] != ' ') right--; /* one past the last space, which exists */
  if (!left || right - 1 == left) return fail(STATUS_FORMAT, "an entry is ID LITERAL BYTELEN, for example: 98 'a' 1");
  int64_t number = read_number(line, (size_t)(left - line));
  int64_t length = read_number(right, (size_t)(line + n - right));
  if (number < 0 || length < 0) return fail(STATUS_FORMAT, "the id and the byte length must be plain numbers");
  if (number != id)
    return fail(STATUS_FORMAT, "the id is %lld where %u was expected: ids run 1, 2, 3... without a gap",
                (long long)number, id);
  size_t size;
  status code = literal_read(left + 1, (size_t)(right - 1 - (left + 1)), t->bytes + t->start[id], &size);
  if (code) return code;
  if (size == 0) return fail(STATUS_FORMAT, "the token is empty");
  if (size != (size_t)length)
    return fail(STATUS_FORMAT, "the token has %zu bytes, but the line says %lld", size, (long long)length);
  t->start[id + 1] = t->start[id] + (uint32_t)size;
  return STATUS_OK;
}

static status parse_lines(tokenizer *t, const char *text, size_t n) {
  for (size_t at = 0; at < n; t->size++) {
    const char *line = text + at, *newline = memchr(line, '\n', n - at);
    size_t length = newline ? (size_t)(newline - line) : n - at;
    at += length + 1;
    if (length && line[length - 1] == '\r') length--;
    /* Every entry is a line and every line an entry, so the id is also the number of the line. */
    if (parse_line(t, line, length, t->size)) return fail_within("line %u", t->size);
  }
  return STATUS_OK;
}

static size_t count_lines(const char *text, size_t n) {
  size_t lines = 1;
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  return lines;
}

/* -- The trie ------------------------------------------------------------------------------------------------------ */

typedef struct {
  const uint8_t *bytes;
  uint32_t n;
  int32_t id;
} sorted_token;

static int compare_tokens(const void *a, const void *b) {
  const sorted_token *x = a, *y = b;
  int order = memcmp(x->bytes, y->bytes, x->n < y->n ? x->n : y->n);
  if (order) return order;
  return x->n != y->n ? (x->n < y->n ? -1 : 1) : (x->id < y->id ? -1 : 1);
}

/* Checks sorted tokens for repetition and the 256 single bytes, and counts the nodes of their trie. */
static status check_tokens(const sorted_token *sorted, uint32_t n, size_t *n_nodes) {
  uint32_t singles = 0;
  size_t nodes = 1;
  for (uint32_t i = 0; i < n; i++) {
    const sorted_token *s = sorted + i, *before = s - 1;
    uint32_t shared = 0;
    while (i && shared < s->n && shared < before->n && s->bytes[shared] == before->bytes[shared]) shared++;
    if (i && shared == s->n && s->n == before->n)
      return fail(STATUS_FORMAT, "line %d: the token is the same as on line %d", s->id, before->id);
    nodes += s->n - shared;
    if (s->n == 1 && s->bytes[0] != singles) break;
    singles += s->n == 1;
  }
  if (singles < 256)
    return fail(STATUS_FORMAT, "no line has the single byte 0x%02x: all 256 are needed to encode any text", singles);
  *n_nodes = nodes;
  return STATUS_OK;
}

typedef struct {
  uint32_t low, high; /* the sorted tokens under a node */
} token_range;

/* Breadth first: the nodes are their own queue. All tokens of a node share their first `depth` bytes. */
static void build_trie(tokenizer *t, const sorted_token *sorted, token_range *range, size_t n_nodes) {
  size_t made = 1, level_end = 1;
  uint32_t depth = 0;
  range[0] = (token_range){0, t->size - 1};
  for (size_t node = 0; node < n_nodes; node++) {
    if (node == level_end) {
      depth++;
      level_end = made;
    }
    token_range r = range[node];
    t->first[node] = (uint32_t)made;
    t->token[node] = 0;
    if (sorted[r.low].n == depth) t->token[node] = sorted[r.low++].id;
    while (r.low < r.high) {
      uint8_t label = sorted[r.low].bytes[depth];
      uint32_t high = r.low + 1;
      while (high < r.high && sorted[high].bytes[depth] == label) high++;
      t->label[made] = label;
      range[made++] = (token_range){r.low, high};
      r.low = high;
    }
  }
  t->first[n_nodes] = (uint32_t)made;
}

static status make_trie(tokenizer *t) {
  const uint32_t n = t->size - 1;
  status code = STATUS_MEMORY;
  size_t n_nodes = 0;
  token_range *range = NULL;
  sorted_token *sorted = mem_alloc(n, sizeof *sorted);
  if (!sorted) goto done;
  for (uint32_t i = 0; i < n; i++)
    sorted[i] =
        (sorted_token){(const uint8_t *)t->bytes + t->start[i + 1], t->start[i + 2] - t->start[i + 1], (int32_t)i + 1};
  qsort(sorted, n, sizeof *sorted, compare_tokens);
  if ((code = check_tokens(sorted, n, &n_nodes))) goto done;
  code = STATUS_MEMORY;
  range = mem_alloc(n_nodes, sizeof *range);
  t->first = mem_alloc(n_nodes + 1, sizeof *t->first);
  t->token = mem_alloc(n_nodes, sizeof *t->token);
  t->label = mem_zero(n_nodes, sizeof *t->label);
  if (!range || !t->first || !t->token || !t->label) goto done;
  build_trie(t, sorted, range, n_nodes);
  code = STATUS_OK;
done:
  free(sorted);
  free(range);
  return code;
}

static status parse(tokenizer *t, const char *text, size_t n) {
  if (n > TOKENIZER_MAX_TEXT)
    return fail(STATUS_FORMAT, "%zu bytes are too many for a vocabulary (at most %zu)", n, TOKENIZER_MAX_TEXT);
  t->size = 1;
  t->bytes = mem_alloc(n, 1); /* a literal is never shorter than its bytes */
  t->start = mem_zero(count_lines(text, n) + 2, sizeof *t->start);
  if (!t->bytes || !t->start) return STATUS_MEMORY;
  status code = parse_lines(t, text, n);
  return code ? code : make_trie(t);
}

tokenizer *tokenizer_parse(const void *text, size_t n, const char *name) {
  tokenizer *t = mem_zero(1, sizeof *t);
  if (!t) return NULL;
  if (parse(t, text, n) == STATUS_OK) return t;
  fail_within("%s", name);
  tokenizer_free(t);
  return NULL;
}

tokenizer *tokenizer_open(const char *path) {
  size_t n;
  char *text = file_read(path, TOKENIZER_MAX_TEXT, &n);
  tokenizer *t = text ? tokenizer_parse(text, n, path) : NULL;
  free(text);
  return t;
}

/* -- Use ----------------------------------------------------------------------------------------------------------- */

uint32_t tokenizer_size(const tokenizer *t) { return t->size; }

/* The child of `node` along `byte`, or 0: the root is nobody's child. */
static uint32_t find_child(const tokenizer *t, uint32_t node, uint8_t byte) {
  uint32_t low = t->first[node], n = t->first[node + 1] - low;
  while (n > 1) { /* the last child whose label is not above the byte */
    uint32_t half = n / 2;
    low += t->label[low + half] <= byte ? half : 0;
    n -= half;
  }
  return n && t->label[low] == byte ? low : 0;
}

size_t tokenizer_encode(const tokenizer *t, const char *text, size_t n, int32_t *ids, size_t capacity) {
  if (!n) return 0;
  const uint8_t *p = (const uint8_t *)text, *end = p + n;
  size_t count = 0;
  while (p < end) {
    uint32_t node = 1u + *p++;
    int32_t id = t->token[node];
    for (const uint8_t *ahead = p; ahead < end && (node = find_child(t, node, *ahead++));) {
      if (!t->token[node]) continue;
      id = t->token[node];
      p = ahead;
    }
    if (count < capacity) ids[count] = id;
    count++;
  }
  return count;
}

const char *tokenizer_bytes(const tokenizer *t, int32_t id, size_t *n) {
  *n = 0;
  if (id <= 0 || (uint32_t)id >= t->size) return "";
  *n = t->start[id + 1] - t->start[id];
  return t->bytes + t->start[id];
}

status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, char **out, size_t *size) {
  size_t total = 0, at = 0, length;
  for (size_t i = 0; i < n; i++) {
    tokenizer_bytes(t, ids[i], &length);
    if (!size_add(total, length, &total)) return fail(STATUS_MEMORY, "the text of %zu tokens is too long", n);
  }
  char *text = mem_alloc(total + 1, 1);
  if (!text) return STATUS_MEMORY;
  for (size_t i = 0; i < n; i++, at += length) {
    const char *bytes = tokenizer_bytes(t, ids[i], &length);
    memcpy(text + at, bytes, length);
  }
  text[total] = '\0';
  *out = text;
  if (size) *size = total;
  return STATUS_OK;
}

status vocabulary_text(const vocabulary_entry *entries, uint32_t n_entries, char **out, size_t *n) {
  size_t room = 1, line;
  for (uint32_t i = 0; i < n_entries; i++) {
    if (!size_mul(entries[i].n, 4, &line) || !size_add(line, 64, &line) || !size_add(room, line, &room))
      return fail(STATUS_MEMORY, "the vocabulary is too large to be written");
  }
  char *text = mem_alloc(room, 1);
  if (!text) return STATUS_MEMORY;
  size_t at = 0;
  for (uint32_t i = 0; i < n_entries; i++) {
    at += (size_t)snprintf(text + at, room - at, "%u ", i + 1);
    at += literal_write(entries[i].bytes, entries[i].n, text + at);
    at += (size_t)snprintf(text + at, room - at, " %zu\n", entries[i].n);
  }
  text[at] = '\0';
  *out = text;
  *n = at;
  return STATUS_OK;
}

status tokenizer_text(const tokenizer *t, char **out, size_t *n) {
  vocabulary_entry *entries = mem_alloc(t->size, sizeof *entries);
  if (!entries) return STATUS_MEMORY;
  for (uint32_t id = 1; id < t->size; id++) entries[id - 1].bytes = tokenizer_bytes(t, (int32_t)id, &entries[id - 1].n);
  status code = vocabulary_text(entries, t->size - 1, out, n);
  free(entries);
  return code;
}
