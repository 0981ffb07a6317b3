/* gzip by zlib. See gzip.h. */
#include "data/gzip.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { GZIP_ONLY = 16 + MAX_WBITS }; /* zlib's way to say that no other header will do */

bool gzip_is(const void *bytes, size_t n) { return n >= 2 && !memcmp(bytes, "\x1f\x8b", 2); }

/* Unpacks all of the stream; `*out` grows as it is filled, and its last byte stays free. */
static status unpack(z_stream *stream, size_t most, char **out, size_t *size) {
  size_t room = 0;
  int result = Z_OK;
  for (*size = 0; result == Z_OK; *size = stream->total_out) {
    if (*size == room) {
      if (room > most) return fail(STATUS_FORMAT, "it unpacks to more than %zu bytes", most);
      room = room ? 2 * room : 1 << 16;
      char *grown = mem_grow(*out, room + 1, 1);
      if (!grown) return STATUS_MEMORY;
      *out = grown;
    }
    stream->next_out = (Bytef *)*out + *size;
    stream->avail_out = (uInt)(room - *size);
    result = inflate(stream, Z_NO_FLUSH);
  }
  if (result == Z_MEM_ERROR) return fail(STATUS_MEMORY, "no memory to unpack gzip");
  if (result != Z_STREAM_END) return fail(STATUS_FORMAT, "its gzip compression is damaged or cut off");
  return *size > most ? fail(STATUS_FORMAT, "it unpacks to more than %zu bytes", most) : STATUS_OK;
}

char *gzip_unpack(const void *bytes, size_t n, size_t most, size_t *size) {
  if (n > UINT_MAX || most > UINT_MAX / 4) return fail_null(STATUS_FORMAT, "%zu bytes of gzip are too many", n);
  z_stream stream = {.next_in = (Bytef *)(uintptr_t)bytes, .avail_in = (uInt)n};
  if (inflateInit2(&stream, GZIP_ONLY) != Z_OK) return fail_null(STATUS_MEMORY, "no memory to unpack gzip");
  char *out = NULL;
  status code = unpack(&stream, most, &out, size);
  inflateEnd(&stream);
  if (code) return free(out), NULL;
  out[*size] = '\0';
  return out;
}
