/* What a loader does with an open checkpoint, for the fuzz targets of every container. */
#ifndef LINNET_TESTS_FUZZ_CHECKPOINT_USE_H
#define LINNET_TESTS_FUZZ_CHECKPOINT_USE_H

#include <stdlib.h>
#include <string.h>

#include "weights/checkpoint.h"

static void require(bool condition) {
  if (!condition) abort();
}

/* Reads everything that a loader would. */
static void use_tensor(const checkpoint *c, const checkpoint_tensor *t) {
  size_t bytes;
  require(checkpoint_find(c, t->name) == t);
  require(checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &bytes) && bytes == t->bytes);
  const int64_t n = checkpoint_elements(t), bad = checkpoint_first_nonfinite(t);
  require(bad >= -1 && bad < n);
  require((checkpoint_check_finite(c, t) == STATUS_OK) == (bad < 0));
  float *values = malloc((size_t)n * sizeof *values + 1);
  require(values != NULL);
  if (checkpoint_read_f32(c, t, values) == STATUS_OK)
    for (int64_t i = 0; i < n; i++) require(values[i] == values[i] || bad >= 0);
  free(values);
}

#endif
