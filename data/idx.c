#include "data/idx.h"

#include <stdlib.h>

#include "data/gzip.h"
#include "kernels/file.h"

enum { UNSIGNED_BYTES = 8, HEAD = 4, SIZE = 4, MOST_FILE = IDX_MOST_BYTES + HEAD + IDX_DIMS * SIZE };

bool idx_may_be(const void *bytes, size_t n) {
  const uint8_t *b = bytes;
  return gzip_is(bytes, n) || (n >= 2 && !b[0] && !b[1]);
}

void idx_free(idx_array *a) {
  free(a->memory);
  *a = (idx_array){0};
}

static status parse(idx_array *a, const uint8_t *b, size_t n, int n_dims) {
  if (n < HEAD || b[0] || b[1]) return fail(STATUS_FORMAT, "this is no IDX file");
  if (b[2] != UNSIGNED_BYTES)
    return fail(STATUS_UNSUPPORTED, "an IDX file of type 0x%02x: only unsigned bytes (0x08) are read", b[2]);
  if (b[3] != n_dims) return fail(STATUS_FORMAT, "an array of %d dimensions, expected %d", b[3], n_dims);
  const size_t begin = HEAD + (size_t)n_dims * SIZE;
  if (n < begin) return fail(STATUS_FORMAT, "it ends within its head");
  size_t count = 1;
  for (int i = 0; i < n_dims; i++) {
    const uint8_t *at = b + HEAD + (size_t)i * SIZE;
    a->dim[i] = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    if (!a->dim[i] || !size_mul(count, a->dim[i], &count) || count > IDX_MOST_BYTES)
      return fail(STATUS_FORMAT, "its dimension %d is %zu", i, a->dim[i]);
  }
  if (n - begin != count)
    return fail(STATUS_FORMAT, "%zu bytes of values, expected %zu as its dimensions say", n - begin, count);
  a->n_dims = n_dims;
  a->values = b + begin;
  return STATUS_OK;
}

status idx_parse(idx_array *a, const void *bytes, size_t n, int n_dims, const char *name) {
  *a = (idx_array){0};
  if (n_dims < 1 || n_dims > IDX_DIMS) return fail(STATUS_ARGUMENT, "an array of %d dimensions", n_dims);
  if (gzip_is(bytes, n)) {
    bytes = a->memory = gzip_unpack(bytes, n, MOST_FILE, &n);
    if (!bytes) return fail_within("%s", name);
  }
  if (!parse(a, bytes, n, n_dims)) return STATUS_OK;
  idx_free(a);
  return fail_within("%s", name);
}

status idx_read(idx_array *a, const char *path, int n_dims) {
  size_t n;
  void *bytes = file_read(path, MOST_FILE, &n);
  *a = (idx_array){0};
  if (!bytes) return last_status();
  const status s = idx_parse(a, bytes, n, n_dims, path);
  if (a->memory) /* unpacked: the packed bytes have served */
    free(bytes);
  else
    a->memory = bytes;
  if (s) idx_free(a);
  return s;
}
