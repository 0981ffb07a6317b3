/* UTF-8: one step of a decoder, and a stream that never shows half a character.
 *
 * A model writes bytes; a character of up to four bytes may arrive in as many tokens (spec language-models section 6.1:
 * "hold bytes back until they form valid characters"). Valid means RFC 3629: no overlong forms, no surrogates, at most
 * U+10FFFF. */
#ifndef LINNET_KERNELS_UTF8_H
#define LINNET_KERNELS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_MAX 4 /* bytes of the longest character */

/* Looks at the first character of bytes[0..n), n >= 1. Returns its length 1..4 and sets *code; or 0 if the bytes end
 * inside a character that may still become valid; or -k if the first k bytes (1..3) can never begin one. */
int utf8_next(const void *bytes, size_t n, uint32_t *code);
/* Writes a code point that is no surrogate and at most U+10FFFF; returns its length 1..4. */
int utf8_put(uint32_t code, char out[UTF8_MAX]);
/* True if all n bytes are valid. */
bool utf8_valid(const void *bytes, size_t n);

/* What a stream does with bytes that can never be part of a character. */
typedef enum {
  UTF8_REPLACE, /* each maximal damaged run becomes one U+FFFD, as web browsers do: the output is always valid */
  UTF8_RAW,     /* they pass as they are: the output's bytes are the input's */
} utf8_damage;

/* Start with {.damage = ...} and nothing held. */
typedef struct {
  utf8_damage damage;
  uint8_t n_held, held[UTF8_MAX];
} utf8_stream;

/* The room that utf8_stream_push(.., n, ..) may need: a damaged byte grows to the three of U+FFFD. */
#define UTF8_STREAM_ROOM(n) (3 * ((size_t)(n) + UTF8_MAX))

/* Takes n more bytes and writes the longest prefix of complete characters to out (UTF8_STREAM_ROOM(n) bytes, no
 * terminator); returns the number of bytes written, which may be 0. At most three bytes stay held. */
size_t utf8_stream_push(utf8_stream *stream, const void *bytes, size_t n, char *out);
/* The end of the text: what is still held is damaged. Writes to out[UTF8_STREAM_ROOM(0)], and the stream is as new. */
size_t utf8_stream_finish(utf8_stream *stream, char *out);

#endif
