/* CLIP's tokenizer. See clip_bpe.h. */
#include "data/clip_bpe.h"

#include <stdlib.h>
#include <string.h>

#include "data/byte_map.h"
#include "data/fix_text.h"
#include "data/html.h"
#include "data/unicode.h"
#include "kernels/utf8.h"

enum { FIRST_MADE = 2 * 256, SPECIALS = 2, N_SUFFIX = sizeof CLIP_SUFFIX - 1 };

/* -- Cleaning ------------------------------------------------------------------------------------------------------ */

/* Leaves one space for each run of white space between words; in place. Returns what is left. */
static size_t join_words(char *text, size_t n) {
  size_t size = 0;
  bool parted = false;
  for (size_t at = 0, length; at < n; at += length) {
    if (unicode_class_at(text + at, n - at, &length) == UNICODE_SPACE) {
      parted = size > 0;
      continue;
    }
    if (parted) text[size++] = ' ';
    parted = false;
    memmove(text + size, text + at, length);
    size += length;
  }
  return size;
}

/* The text without character references, which the caller frees. */
static status unescape(const char *text, size_t n, char **out, size_t *size) {
  if (!(*out = mem_alloc(HTML_ROOM(n), 1))) return STATUS_MEMORY;
  *size = html_unescape(text, n, HTML_STANDARD, *out);
  return STATUS_OK;
}

/* Steps 2 to 4 of a repaired text. */
static status clean_fixed(const char *text, size_t n, char **out, size_t *size) {
  char *once, *twice;
  status code = unescape(text, n, &once, &n);
  if (code) return code;
  code = unescape(once, n, &twice, &n);
  free(once);
  if (code) return code;
  n = join_words(twice, n);
  if ((*out = mem_alloc(UNICODE_LOWER_ROOM(n), 1))) *size = unicode_lower(twice, n, *out);
  free(twice);
  return *out ? STATUS_OK : STATUS_MEMORY;
}

status clip_clean(const char *text, size_t n, char **out, size_t *size) {
  *out = NULL;
  *size = 0;
  if (n > BPE_LONGEST_TEXT) return fail(STATUS_MEMORY, "a text of %zu bytes is too long to be encoded at once", n);
  char *valid, *fixed = NULL;
  status code = unicode_repair(text, n, &valid, &n);
  if (code) return code;
  if (valid) text = valid;
  code = fix_text(text, n, &fixed, &n);
  if (!code) code = clean_fixed(fixed ? fixed : text, n, out, size);
  free(fixed), free(valid);
  return code;
}

/* -- Splitting ----------------------------------------------------------------------------------------------------- */

static const char *const spelt[2][SPECIALS] = {{"<|startoftext|>", "<|endoftext|>"},
                                               {"<start_of_text>", "<end_of_text>"}};

/* Whether the text begins with what is spelt, and how long that is there; an s may be the long one (U+017F), which the
 * published patterns take for one, as they take no notice of case; but such a token is none. */
static bool begins(const char *text, size_t n, const char *special, size_t *length, bool *exact) {
  size_t at = 0;
  *exact = true;
  for (; *special; special++) {
    if (at < n && text[at] == *special) {
      at++;
    } else if (*special == 's' && n - at >= 2 && !memcmp(text + at, "\xc5\xbf", 2)) {
      at += 2;
      *exact = false;
    } else {
      return false;
    }
  }
  *length = at;
  return true;
}

/* The length of 's, 't, 're, 've, 'm, 'll or 'd at the start of the text, or 0; the s may be the long one. */
static size_t contraction(const char *text, size_t n) {
  static const char *const endings[] = {"s", "t", "re", "ve", "m", "ll", "d", "\xc5\xbf"};
  for (size_t i = 0; *text == '\'' && i < sizeof endings / sizeof *endings; i++) {
    const size_t length = strlen(endings[i]);
    if (n > length && !memcmp(text + 1, endings[i], length)) return 1 + length;
  }
  return 0;
}

/* The length of the first piece of n >= 1 bytes that are no white space. */
static size_t first_piece(const char *text, size_t n) {
  size_t at = contraction(text, n), length;
  if (at) return at;
  const unicode_class class = unicode_class_at(text, n, &at);
  if (class == UNICODE_NUMBER) return at;
  while (at < n && unicode_class_at(text + at, n - at, &length) == class) at += length;
  return at;
}

static status encode_clean(const bpe *b, clip_spelling spelling, const char *text, size_t n, token_list *out) {
  bpe_encoder e;
  bpe_encoder_start(&e, b, out);
  status code = STATUS_OK;
  for (size_t at = 0, length; at < n && !code; at += length) {
    length = 1;
    if (text[at] == ' ') continue;
    bool found = false, exact = false;
    int32_t id = clip_start(&b->base);
    for (int i = 0; i < SPECIALS && !found && text[at] == '<'; i++) {
      found = begins(text + at, n - at, spelt[spelling][i], &length, &exact);
      id = found ? id + i : id;
    }
    if (!found) length = first_piece(text + at, n - at);
    if (found && exact)
      token_put(out, id);
    else
      code = bpe_encode_piece(&e, text + at, length);
  }
  bpe_encoder_end(&e);
  return code;
}

/* -- Ids ----------------------------------------------------------------------------------------------------------- */

static status encode_in(const tokenizer *t, clip_spelling spelling, const char *text, size_t n, token_list *out) {
  char *clean;
  size_t size;
  status code = clip_clean(text, n, &clean, &size);
  if (code) return code;
  code = encode_clean((const bpe *)t, spelling, clean, size, out);
  free(clean);
  return code;
}

static status encode(const tokenizer *t, const char *text, size_t n, token_list *out) {
  return encode_in(t, CLIP_SPELT_OPENAI, text, n, out);
}

int32_t clip_start(const tokenizer *t) { return (int32_t)t->size - 2; }
int32_t clip_end(const tokenizer *t) { return (int32_t)t->size - 1; }

status clip_ids(const tokenizer *t, clip_spelling spelling, const char *text, size_t n, int32_t **ids, size_t *count) {
  char *clean;
  size_t size;
  status code = clip_clean(text, n, &clean, &size);
  if (code) return code;
  token_list list = {mem_alloc(size, sizeof *list.ids), size, 0};
  code = list.ids ? encode_clean((const bpe *)t, spelling, clean, size, &list) : STATUS_MEMORY;
  free(clean);
  if (code) return free(list.ids), code;
  *ids = list.ids;
  *count = list.count;
  return STATUS_OK;
}

status clip_context(const tokenizer *t, clip_spelling spelling, const char *text, size_t n, int32_t *ids, size_t length,
                    bool *cut) {
  token_list list = {ids + 1, length - 2, 0};
  status code = encode_in(t, spelling, text, n, &list);
  if (code) return code;
  const size_t kept = list.count < list.capacity ? list.count : list.capacity;
  ids[0] = clip_start(t);
  ids[1 + kept] = clip_end(t);
  memset(ids + kept + 2, 0, (length - kept - 2) * sizeof *ids);
  if (cut) *cut = kept < list.count;
  return STATUS_OK;
}

status clip_contexts(const tokenizer *t, clip_spelling spelling, const char *const *texts, size_t n, int32_t *ids,
                     size_t length, size_t *n_cut) {
  *n_cut = 0;
  for (size_t i = 0; i < n; i++) {
    bool cut;
    status code = clip_context(t, spelling, texts[i], strlen(texts[i]), ids + i * length, length, &cut);
    if (code) return code;
    *n_cut += cut;
  }
  return STATUS_OK;
}

/* -- Reading ------------------------------------------------------------------------------------------------------- */

/* Adds a token, whose id must be the next one. */
static status add_token(bpe *b, const char *bytes, size_t n) {
  uint32_t id;
  const uint32_t next = intern_count(b->vocabulary);
  status code = intern_add(b->vocabulary, bytes, n, &id);
  if (!code && id != next) return fail(STATUS_FORMAT, "the tokens %u and %u are the same", id, next);
  return code;
}

/* The bytes in the order of the characters that stand for them, then the same at the end of a word. */
static status add_bytes(bpe *b, const byte_map *map) {
  for (size_t end = 0; end <= N_SUFFIX; end += N_SUFFIX) {
    for (int code = 0; code < BYTE_MAP_CODES; code++) {
      if (map->byte[code] < 0) continue;
      char token[1 + N_SUFFIX + 1] = {(char)map->byte[code]};
      memcpy(token + 1, CLIP_SUFFIX, N_SUFFIX);
      status added = add_token(b, token, 1 + end);
      if (added) return added;
    }
  }
  return STATUS_OK;
}

static status add_specials(bpe *b) {
  status code = add_token(b, spelt[CLIP_SPELT_OPENAI][0], strlen(spelt[CLIP_SPELT_OPENAI][0]));
  return code ? code : add_token(b, spelt[CLIP_SPELT_OPENAI][1], strlen(spelt[CLIP_SPELT_OPENAI][1]));
}

/* A line "LEFT RIGHT" of n bytes; `bytes` has room for n. */
static status add_merge(bpe *b, const byte_map *map, const char *line, size_t n, size_t number, char *bytes) {
  const char *space = memchr(line, ' ', n), *part[2] = {line, space ? space + 1 : line};
  const size_t length[2] = {space ? (size_t)(space - line) : 0, space ? n - (size_t)(space + 1 - line) : 0};
  uint32_t id[2];
  size_t at = 0, size;
  for (int i = 0; i < 2; i++, at += size) {
    if (!space || !byte_map_read(map, part[i], length[i], bytes + at, &size))
      return fail(STATUS_FORMAT, "line %zu is not two tokens with a space between", number);
    if ((id[i] = intern_find(b->vocabulary, bytes + at, size)) == INTERN_NONE)
      return fail(STATUS_FORMAT, "line %zu joins what is no token so far", number);
  }
  b->merges[b->n_merges++] = (bpe_merge){(int32_t)id[0], (int32_t)id[1], (int32_t)intern_count(b->vocabulary)};
  status code = add_token(b, bytes, at);
  return code ? fail_within("line %zu", number) : STATUS_OK;
}

/* The length of the first line without its break. */
static size_t line_length(const char *text, size_t n) {
  const char *end = memchr(text, '\n', n);
  size_t length = end ? (size_t)(end - text) : n;
  return length && text[length - 1] == '\r' ? length - 1 : length;
}

static size_t next_line(const char *text, size_t n) {
  const char *end = memchr(text, '\n', n);
  return end ? (size_t)(end - text) + 1 : n;
}

static status read_merges(bpe *b, const char *text, size_t n) {
  const byte_map map = byte_map_make();
  status code = add_bytes(b, &map);
  char *bytes = mem_alloc(n, 1);
  b->merges = mem_alloc(CLIP_MERGES, sizeof *b->merges);
  if (!code && !(bytes && b->merges)) code = STATUS_MEMORY;
  size_t at = next_line(text, n), length;
  for (; at < n && b->n_merges < CLIP_MERGES && !code; at += next_line(text + at, n - at)) {
    length = line_length(text + at, n - at);
    if (length == 0 && at + next_line(text + at, n - at) == n) break; /* an empty last line */
    code = add_merge(b, &map, text + at, length, b->n_merges + 2, bytes);
  }
  free(bytes);
  return code ? code : add_specials(b);
}

bool clip_bpe_is(const char *text, size_t n) {
  static const char version[] = "#version";
  if (!n || !memchr("#\"", *text, 2)) return false;
  const size_t length = line_length(text, n);
  for (size_t at = 0; at + sizeof version - 1 <= length; at++)
    if (!memcmp(text + at, version, sizeof version - 1)) return true;
  return false;
}

/* -- Order --------------------------------------------------------------------------------------------------------- */

static bool is_token(const bpe *b, uint32_t id, const char *bytes, size_t n) {
  size_t size;
  const char *token = intern_bytes(b->vocabulary, id, &size);
  return size == n && !memcmp(token, bytes, n);
}

/* Whether the ids are those that the merges alone would give: what is written again must be the same. */
static status check_order(const bpe *b) {
  const uint32_t n = intern_count(b->vocabulary);
  const byte_map map = byte_map_make();
  bool same = n == FIRST_MADE + b->n_merges + SPECIALS && b->n_merges <= CLIP_MERGES;
  for (uint32_t code = 0, id = 0; code < BYTE_MAP_CODES && same; code++) {
    if (map.byte[code] < 0) continue;
    char token[1 + N_SUFFIX + 1] = {(char)map.byte[code]};
    memcpy(token + 1, CLIP_SUFFIX, N_SUFFIX);
    same = is_token(b, id, token, 1) && is_token(b, id + 256, token, 1 + N_SUFFIX);
    id++;
  }
  for (uint32_t i = 0; i < b->n_merges && same; i++) {
    const bpe_merge *m = b->merges + i;
    same = m->made == (int32_t)(FIRST_MADE + i) && m->left < m->made && m->right < m->made;
  }
  for (uint32_t i = 0; i < SPECIALS && same; i++)
    same = is_token(b, n - SPECIALS + i, spelt[CLIP_SPELT_OPENAI][i], strlen(spelt[CLIP_SPELT_OPENAI][i]));
  if (same) return STATUS_OK;
  return fail(STATUS_UNSUPPORTED,
              "its words end in " CLIP_SUFFIX ", but its tokens are not those of CLIP in their order");
}

/* The tokens' texts: words with the space that is behind them. */
static status fill_bytes(bpe *b) {
  const uint32_t n = intern_count(b->vocabulary);
  size_t total = 0, size;
  for (uint32_t id = 0; id < n; id++) intern_bytes(b->vocabulary, id, &size), total += size;
  tokenizer *t = &b->base;
  t->bytes = mem_alloc(total, 1);
  t->start = mem_zero((size_t)n + 1, sizeof *t->start);
  if (!t->bytes || !t->start) return STATUS_MEMORY;
  if (total > UINT32_MAX) return fail(STATUS_FORMAT, "its tokens have %zu bytes, which are too many", total);
  for (uint32_t id = 0; id < n; id++) {
    const char *bytes = intern_bytes(b->vocabulary, id, &size);
    char *out = t->bytes + t->start[id];
    memcpy(out, bytes, size);
    if (size > N_SUFFIX && !memcmp(bytes + size - N_SUFFIX, CLIP_SUFFIX, N_SUFFIX)) {
      size -= N_SUFFIX;
      out[size++] = ' ';
    }
    t->start[id + 1] = t->start[id] + (uint32_t)size;
  }
  t->size = n;
  return STATUS_OK;
}

status clip_bpe_finish(bpe *b) {
  status code = check_order(b);
  if (!code) code = bpe_prepare(b);
  return code ? code : fill_bytes(b);
}

/* -- Writing ------------------------------------------------------------------------------------------------------- */

/* The merges as OpenAI writes them. */
static status write_text(const tokenizer *t, char **out, size_t *n) {
  static const char version[] = "#version: 0.2\n";
  const bpe *b = (const bpe *)t;
  const byte_map map = byte_map_make();
  size_t room = sizeof version, size;
  for (uint32_t i = 0; i < b->n_merges; i++) {
    intern_bytes(b->vocabulary, (uint32_t)b->merges[i].made, &size);
    room += 2 * size + 2; /* no more than the file that it was */
  }
  char *text = mem_alloc(room, 1);
  if (!text) return STATUS_MEMORY;
  memcpy(text, version, sizeof version - 1);
  *n = sizeof version - 1;
  for (uint32_t i = 0; i < b->n_merges; i++) {
    const int32_t parts[2] = {b->merges[i].left, b->merges[i].right};
    for (int k = 0; k < 2; k++) {
      const char *bytes = intern_bytes(b->vocabulary, (uint32_t)parts[k], &size);
      *n += byte_map_write(&map, bytes, size, text + *n);
      text[(*n)++] = k ? '\n' : ' ';
    }
  }
  text[*n] = '\0';
  *out = text;
  return STATUS_OK;
}

/* -- The kind ------------------------------------------------------------------------------------------------------ */

/* What a byte may grow to: 3 in normal form C, of which half as much again in small letters. */
enum { GROWTH = 5 };

void clip_bpe_make(bpe *b) {
  static const tokenizer_class class = {TOKENIZER_KIND_CLIP, GROWTH, 0, encode, write_text, bpe_free};
  b->base.class = &class;
  b->suffix = CLIP_SUFFIX;
}

tokenizer *clip_bpe_parse(const char *text, size_t n) {
  bpe *b = mem_zero(1, sizeof *b);
  if (!b) return NULL;
  clip_bpe_make(b);
  status code = (b->vocabulary = intern_new()) ? read_merges(b, text, n) : STATUS_MEMORY;
  bool words = false;
  for (uint32_t i = 0; i < b->n_merges && !code && !words; i++) {
    size_t size;
    const char *bytes = intern_bytes(b->vocabulary, (uint32_t)b->merges[i].right, &size);
    words = size > N_SUFFIX && !memcmp(bytes + size - N_SUFFIX, CLIP_SUFFIX, N_SUFFIX);
  }
  if (!code && !words)
    code = fail(STATUS_UNSUPPORTED, "no word of its merges ends in " CLIP_SUFFIX
                                    ": it is not CLIP's, and another BPE is read from its tokenizer.json");
  if (!code) code = clip_bpe_finish(b);
  if (!code) return &b->base;
  tokenizer_free(&b->base);
  return NULL;
}
