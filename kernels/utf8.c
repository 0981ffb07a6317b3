/* UTF-8 decoding by the table of well-formed sequences (Unicode 15, table 3-7). See utf8.h. */
#include "kernels/utf8.h"

#include <string.h>

int utf8_next(const void *bytes, size_t n, uint32_t *code) {
  const uint8_t *p = bytes;
  if (p[0] < 0x80) {
    *code = p[0];
    return 1;
  }
  if (p[0] < 0xc2 || p[0] > 0xf4) return -1;
  int length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
  /* Only the second byte's range depends on the first: it excludes overlong forms, surrogates and what is too large. */
  uint8_t low = p[0] == 0xe0   ? 0xa0
                : p[0] == 0xf0 ? 0x90
                               : 0x80,
          high = p[0] == 0xed   ? 0x9f
                 : p[0] == 0xf4 ? 0x8f
                                : 0xbf;
  uint32_t value = p[0] & (0x7fu >> length);
  for (int i = 1; i < length; i++) {
    if ((size_t)i == n) return 0;
    if (p[i] < low || p[i] > high) return -i;
    value = value << 6 | (p[i] & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  *code = value;
  return length;
}

int utf8_put(uint32_t code, char out[UTF8_MAX]) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
  int length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (int i = length - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
  out[0] = (char)(first[length] | code);
  return length;
}

bool utf8_valid(const void *bytes, size_t n) {
  const char *p = bytes;
  for (size_t at = 0; at < n;) {
    uint32_t code;
    int length = utf8_next(p + at, n - at, &code);
    if (length <= 0) return false;
    at += (size_t)length;
  }
  return true;
}

static size_t put_damaged(utf8_damage damage, const char *bytes, size_t n, char *out) {
  if (damage == UTF8_REPLACE) return (size_t)utf8_put(0xfffd, out);
  memcpy(out, bytes, n);
  return n;
}

/* Writes all that can be decided of bytes[0..n); *used says how much that is. */
static size_t put_complete(utf8_damage damage, const char *bytes, size_t n, size_t *used, char *out) {
  size_t at = 0, written = 0;
  while (at < n) {
    uint32_t code;
    int length = utf8_next(bytes + at, n - at, &code);
    if (length == 0) break;
    size_t step = (size_t)(length > 0 ? length : -length);
    if (length < 0) {
      written += put_damaged(damage, bytes + at, step, out + written);
    } else {
      memcpy(out + written, bytes + at, step);
      written += step;
    }
    at += step;
  }
  *used = at;
  return written;
}

size_t utf8_stream_push(utf8_stream *stream, const void *bytes, size_t n, char *out) {
  const char *p = bytes;
  size_t written = 0, used;
  while (stream->n_held && n) { /* complete what is held, a byte at a time */
    stream->held[stream->n_held++] = (uint8_t)*p++;
    n--;
    written += put_complete(stream->damage, (const char *)stream->held, stream->n_held, &used, out + written);
    stream->n_held = (uint8_t)(stream->n_held - used);
    memmove(stream->held, stream->held + used, stream->n_held);
  }
  if (!n) return written;
  written += put_complete(stream->damage, p, n, &used, out + written);
  stream->n_held = (uint8_t)(n - used);
  memcpy(stream->held, p + used, stream->n_held);
  return written;
}

size_t utf8_stream_finish(utf8_stream *stream, char *out) {
  if (!stream->n_held) return 0;
  size_t written = put_damaged(stream->damage, (const char *)stream->held, stream->n_held, out);
  stream->n_held = 0;
  return written;
}
