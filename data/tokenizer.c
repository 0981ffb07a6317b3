/* What all kinds of tokenizers share: opening by content, ids to bytes. See tokenizer.h. */
#include "data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "data/clip_bpe.h"
#include "data/gzip.h"
#include "data/tokenizer_internal.h"
#include "kernels/file.h"

void tokenizer_free(tokenizer *t) {
  if (!t) return;
  if (t->class->free) t->class->free(t);
  free(t->bytes);
  free(t->start);
  free(t);
}

static tokenizer *parse_plain(const char *text, size_t n) {
  if (n > TOKENIZER_MAX_TEXT)
    return fail_null(STATUS_FORMAT, "%zu bytes are too many for a vocabulary (at most %zu)", n, TOKENIZER_MAX_TEXT);
  size_t blank = 0;
  while (blank < n && memchr(" \t\r\n", text[blank], 4)) blank++;
  if (blank < n && text[blank] == '{') return bpe_parse(text, n);
  if (clip_bpe_is(text, n)) return clip_bpe_parse(text, n);
  if (n == strlen(TOKENIZER_MIDI) && !memcmp(text, TOKENIZER_MIDI, n)) return midi_new();
  return world_parse(text, n);
}

static tokenizer *parse(const char *text, size_t n) {
  if (!gzip_is(text, n)) return parse_plain(text, n);
  char *plain = gzip_unpack(text, n, TOKENIZER_MAX_TEXT, &n);
  tokenizer *t = plain ? parse_plain(plain, n) : NULL;
  free(plain);
  return t;
}

tokenizer *tokenizer_parse(const void *text, size_t n, const char *name) {
  tokenizer *t = parse(text, n);
  if (!t) fail_within("%s", name);
  return t;
}

tokenizer *tokenizer_open(const char *path) {
  if (!strcmp(path, TOKENIZER_MIDI)) return midi_new();
  size_t n;
  char *text = file_read(path, TOKENIZER_MAX_TEXT, &n);
  tokenizer *t = text ? tokenizer_parse(text, n, path) : NULL;
  free(text);
  return t;
}

tokenizer_kind tokenizer_kind_of(const tokenizer *t) { return t->class->kind; }
uint32_t tokenizer_size(const tokenizer *t) { return t->size; }

/* -- Texts to ids -------------------------------------------------------------------------------------------------- */

size_t tokenizer_room(const tokenizer *t, size_t n) {
  size_t room = SIZE_MAX;
  size_mul(n, t->class->growth, &room);
  return room;
}

size_t tokenizer_encode(const tokenizer *t, const char *text, size_t n, int32_t *ids, size_t capacity) {
  token_list list = {ids, capacity, 0};
  return t->class->encode(t, text, n, &list) ? TOKENIZER_FAILED : list.count;
}

status tokenizer_ids(const tokenizer *t, const char *text, size_t n, int32_t **ids, size_t *count) {
  token_list list = {NULL, tokenizer_room(t, n), 0};
  if (!(list.ids = mem_alloc(list.capacity, sizeof *list.ids))) return STATUS_MEMORY;
  status code = t->class->encode(t, text, n, &list);
  if (code) return free(list.ids), code;
  int32_t *fitting = mem_grow(list.ids, list.count, sizeof *fitting); /* most texts need a fraction of the room */
  *ids = fitting ? fitting : list.ids;
  *count = list.count;
  return STATUS_OK;
}

/* -- Ids to texts -------------------------------------------------------------------------------------------------- */

const char *tokenizer_bytes(const tokenizer *t, int32_t id, size_t *n) {
  *n = 0;
  if (id < 0 || (uint32_t)id >= t->size) return "";
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
  for (size_t i = 0; i < n; i++) {
    const char *bytes = tokenizer_bytes(t, ids[i], &length);
    const size_t skipped = at == 0 && length ? t->class->parted : 0;
    memcpy(text + at, bytes + skipped, length - skipped);
    at += length - skipped;
  }
  text[at] = '\0';
  *out = text;
  if (size) *size = at;
  return STATUS_OK;
}

status tokenizer_text(const tokenizer *t, char **out, size_t *n) { return t->class->text(t, out, n); }
