/* Any bytes as a checkpoint: an error, or tensors whose every byte can be read and which account for the whole file. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  checkpoint *c = checkpoint_parse(data, size, "fuzz");
  if (!c) {
    require(last_status() < 0 && *last_error());
    return 0;
  }
  size_t header = 0, total = 8;
  for (int i = 7; i >= 0; i--) header = header << 8 | data[i];
  total += header;
  for (size_t i = 0; i < checkpoint_count(c); i++) {
    use_tensor(c, checkpoint_at(c, i));
    total += checkpoint_at(c, i)->bytes;
  }
  require(total == size);
  for (size_t i = 0; i < checkpoint_metadata_count(c); i++) {
    const char *key, *value;
    checkpoint_metadata_at(c, i, &key, &value);
    require(!strcmp(checkpoint_metadata(c, key), value));
  }
  checkpoint_close(c);
  return 0;
}
