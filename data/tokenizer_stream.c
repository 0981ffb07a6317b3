/* See tokenizer_stream.h. */
#include "data/tokenizer_stream.h"

#include <stdlib.h>
#include <string.h>

static size_t longest_token(const tokenizer *t) {
  size_t longest = 1, n;
  for (uint32_t id = 0; id < tokenizer_size(t); id++) {
    tokenizer_bytes(t, (int32_t)id, &n);
    if (n > longest) longest = n;
  }
  return longest;
}

tokenizer_stream tokenizer_stream_of(const tokenizer *t) {
  const bool local = tokenizer_kind_of(t) == TOKENIZER_KIND_WORLD; /* each token depends on the bytes from it on */
  return (tokenizer_stream){.words = t, .longest = local ? longest_token(t) : 0};
}

void tokenizer_stream_free(tokenizer_stream *s) {
  free(s->held);
  free(s->ids);
  *s = (tokenizer_stream){0};
}

static status hold(tokenizer_stream *s, const char *text, size_t n) {
  size_t need;
  if (!size_add(s->n, n, &need) || need > TOKENIZER_STREAM_MOST)
    return fail(STATUS_MEMORY, "the text is over the limit of %zu bytes that this vocabulary can take in",
                TOKENIZER_STREAM_MOST);
  if (need > s->room) {
    const size_t room = 2 * need;
    char *held = mem_grow(s->held, room, 1);
    if (!held) return STATUS_MEMORY;
    s->held = held;
    s->room = room;
  }
  if (n) memcpy(s->held + s->n, text, n);
  s->n = need;
  return STATUS_OK;
}

/* Replaces the stream's ids by those of what is held. */
static status encode(tokenizer_stream *s, size_t *count) {
  free(s->ids);
  s->ids = NULL;
  return tokenizer_ids(s->words, s->n ? s->held : "", s->n, &s->ids, count);
}

static void drop(tokenizer_stream *s, size_t n) {
  s->n -= n;
  s->done += n;
  if (s->n) memmove(s->held, s->held + n, s->n);
}

status tokenizer_stream_push(tokenizer_stream *s, const char *text, size_t n, const int32_t **ids, size_t *count) {
  *ids = NULL;
  *count = 0;
  status code = hold(s, text, n);
  /* A vocabulary may have a token of megabytes: so that bytes are not encoded again and again while they wait for it,
   * half of them get their ids each time. */
  if (code || !s->longest || s->n / 2 < s->longest) return code;
  size_t all, at = 0, length;
  if ((code = encode(s, &all))) return code;
  while (*count < all && s->n - at >= s->longest) {
    tokenizer_bytes(s->words, s->ids[(*count)++], &length);
    at += length;
  }
  drop(s, at);
  *ids = s->ids;
  return STATUS_OK;
}

status tokenizer_stream_end(tokenizer_stream *s, const int32_t **ids, size_t *count) {
  const status code = encode(s, count);
  if (code) return code;
  drop(s, s->n);
  *ids = s->ids;
  return STATUS_OK;
}
