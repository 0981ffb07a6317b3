/* World vocabularies, and greedy longest match over bytes. See tokenizer.h and spec language-models 6.1.
 *
 * A vocabulary has the ids 1, 2, 3... in order, each with a Python literal of its bytes (data/literal.h) and their
 * number. Lines end in LF or CR LF, the last one in nothing if it likes. All 256 single bytes are there, so that every
 * text can be encoded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/literal.h"
#include "data/tokenizer_internal.h"
#include "data/trie.h"

typedef struct {
  tokenizer base;
  trie *words;
} world;

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

/* Sorts the tokens into the trie; refuses repeated ones and a vocabulary without all single bytes. */
static status make_trie(world *w) {
  const tokenizer *t = &w->base;
  const uint32_t n = t->size - 1;
  bool single[256] = {false};
  trie_word *words = mem_alloc(n, sizeof *words);
  if (!words) return STATUS_MEMORY;
  for (uint32_t i = 0; i < n; i++) {
    words[i] = (trie_word){t->bytes + t->start[i + 1], t->start[i + 2] - t->start[i + 1], (int32_t)i + 1};
    if (words[i].n == 1) single[(uint8_t)*words[i].bytes] = true;
  }
  int32_t equal[2];
  unsigned byte = 0;
  while (byte < 256 && single[byte]) byte++;
  status code = STATUS_OK;
  if (!trie_sort(words, n, equal)) {
    code = fail(STATUS_FORMAT, "line %d: the token is the same as on line %d", equal[1], equal[0]);
  } else if (byte < 256) {
    code = fail(STATUS_FORMAT, "no line has the single byte 0x%02x: all 256 are needed to encode any text", byte);
  } else if (!(w->words = trie_new(words, n))) {
    code = last_status();
  }
  free(words);
  return code;
}

static status parse(world *w, const char *text, size_t n) {
  tokenizer *t = &w->base;
  t->size = 1;
  t->bytes = mem_alloc(n, 1); /* a literal is never shorter than its bytes */
  t->start = mem_zero(count_lines(text, n) + 2, sizeof *t->start);
  if (!t->bytes || !t->start) return STATUS_MEMORY;
  status code = parse_lines(t, text, n);
  return code ? code : make_trie(w);
}

/* -- Use ----------------------------------------------------------------------------------------------------------- */

static status encode(const tokenizer *t, const char *text, size_t n, token_list *out) {
  const trie *words = ((const world *)t)->words;
  int32_t id = TOKENIZER_END;
  for (size_t at = 0; at < n; token_put(out, id)) at += trie_longest(words, text + at, n - at, &id);
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

static status write_text(const tokenizer *t, char **out, size_t *n) {
  vocabulary_entry *entries = mem_alloc(t->size, sizeof *entries);
  if (!entries) return STATUS_MEMORY;
  for (uint32_t id = 1; id < t->size; id++) entries[id - 1].bytes = tokenizer_bytes(t, (int32_t)id, &entries[id - 1].n);
  status code = vocabulary_text(entries, t->size - 1, out, n);
  free(entries);
  return code;
}

static void free_world(tokenizer *t) { trie_free(((world *)t)->words); }

tokenizer *world_parse(const char *text, size_t n) {
  static const tokenizer_class class = {TOKENIZER_KIND_WORLD, 1, 0, encode, write_text, free_world};
  world *w = mem_zero(1, sizeof *w);
  if (!w) return NULL;
  w->base.class = &class;
  if (parse(w, text, n) == STATUS_OK) return &w->base;
  tokenizer_free(&w->base);
  return NULL;
}
