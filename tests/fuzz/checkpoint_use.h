/* What loaders, converters and reports do with an open checkpoint, for the fuzz targets of every container. */
#ifndef LINNET_TESTS_FUZZ_CHECKPOINT_USE_H
#define LINNET_TESTS_FUZZ_CHECKPOINT_USE_H

#include <stdlib.h>
#include <string.h>

#include "weights/interleaved.h"

static void require(bool condition) {
  if (!condition) abort();
}

/* The rows of an interleaved tensor, packed again, are what lies in the file. */
static void check_panels(const checkpoint_tensor *t, const uint8_t *rows) {
  const size_t panel = interleaved_panel_bytes(t->dtype, t->dim);
  uint8_t *again = malloc(panel);
  require(again && t->bytes % panel == 0 && !t->data);
  for (size_t at = 0; at < t->bytes; at += panel) {
    interleaved_panel(t->dtype, t->dim, rows + at, again);
    require(!memcmp(again, (const uint8_t *)t->packed + at, panel));
  }
  free(again);
}

/* A tensor's bytes, in one piece and in two; false if they cannot be read. */
static bool use_bytes(const checkpoint *c, const checkpoint_tensor *t) {
  const size_t size = checkpoint_dtype_size(t->dtype), first = t->bytes / size / 2 * size;
  uint8_t *whole = malloc(t->bytes + 1), *parts = malloc(t->bytes + 1);
  require(whole && parts);
  const bool good = checkpoint_read(c, t, 0, t->bytes, whole) == STATUS_OK;
  if (good && !checkpoint_read(c, t, first, t->bytes - first, parts + first) && !checkpoint_read(c, t, 0, first, parts))
    require(!memcmp(whole, parts, t->bytes));
  if (good && t->data) require(!memcmp(whole, t->data, t->bytes));
  if (good && t->packed) check_panels(t, whole);
  free(whole);
  free(parts);
  return good;
}

/* Reads everything that a loader would. */
static void use_tensor(const checkpoint *c, const checkpoint_tensor *t) {
  size_t bytes;
  int64_t bad;
  require(checkpoint_find(c, t->name) == t);
  require(checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &bytes) && bytes == t->bytes);
  if (!use_bytes(c, t)) return;
  const int64_t n = checkpoint_elements(t);
  require(checkpoint_first_nonfinite(c, t, &bad) == STATUS_OK);
  require(bad >= -1 && bad < n);
  require((checkpoint_check_finite(c, t) == STATUS_OK) == (bad < 0));
  float *values = malloc((size_t)n * sizeof *values + 1);
  require(values != NULL);
  if (checkpoint_read_f32(c, t, values) == STATUS_OK)
    for (int64_t i = 0; i < n; i++) require(values[i] == values[i] || bad >= 0);
  free(values);
}

/* Everything there is in a file; `c` may be NULL: then a sentence must say why. */
static void use_checkpoint(const checkpoint *c) {
  bool checked;
  if (!c) {
    require(last_status() < 0 && *last_error());
    return;
  }
  for (size_t i = 0; i < checkpoint_count(c); i++) use_tensor(c, checkpoint_at(c, i));
  for (size_t i = 0; i < checkpoint_metadata_count(c); i++) {
    const checkpoint_entry *e = checkpoint_metadata_at(c, i);
    require(checkpoint_metadata_find(c, e->key) == e);
    json_t *json = metadata_json(&e->value, 0);
    require(json != NULL);
    json_decref(json);
  }
  if (checkpoint_verify(c, &checked)) require(*last_error());
}

#endif
