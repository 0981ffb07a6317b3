/* A text that comes in pieces, as token ids: together exactly those that tokenizer_encode gives for the whole, wherever
 * it was cut. With a World vocabulary, memory does not grow with the text: a token that begins further from the end
 * than the longest token reaches is certain. Byte BPE (whose normal form and merges look further) and MIDI keep the
 * whole text until its end, up to TOKENIZER_STREAM_MOST bytes.
 *
 *   tokenizer_stream s = tokenizer_stream_of(t);
 *   while (...) tokenizer_stream_push(&s, bytes, n, &ids, &count), ...
 *   tokenizer_stream_end(&s, &ids, &count), ...
 *   tokenizer_stream_free(&s); */
#ifndef LINNET_DATA_TOKENIZER_STREAM_H
#define LINNET_DATA_TOKENIZER_STREAM_H

#include "data/tokenizer.h"

#define TOKENIZER_STREAM_MOST ((size_t)256 << 20)

typedef struct {
  const tokenizer *words; /* must outlive the stream */
  uint64_t done;          /* bytes of the text whose ids were given */
  size_t longest;         /* bytes of a token; 0: ids need the whole text */
  char *held;             /* [n] bytes that were not given yet, of `room` */
  size_t n, room;
  int32_t *ids;
} tokenizer_stream;

tokenizer_stream tokenizer_stream_of(const tokenizer *t);
void tokenizer_stream_free(tokenizer_stream *s);

/* Takes n more bytes and gives the ids that are certain now, which may be none; they are the stream's, until the next
 * call. Both fail only for memory and for the limit. */
status tokenizer_stream_push(tokenizer_stream *s, const char *text, size_t n, const int32_t **ids, size_t *count);
/* The text is at its end: gives the ids of what is left, and the stream is ready for another text. */
status tokenizer_stream_end(tokenizer_stream *s, const int32_t **ids, size_t *count);

#endif
