/* Fuzz target: .npy files. What parses has as many values as its shape says, and all of them can be read. */
#include <assert.h>
#include <stdlib.h>

#include "data/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  npy a;
  if (npy_parse(&a, data, size, "fuzz")) return 0;
  size_t count = 1;
  for (int i = 0; i < a.n_dims; i++) count *= a.dim[i];
  assert(count == a.count);
  float *values = malloc((count + 1) * sizeof *values);
  npy_read(&a, 0, count, values);
  free(values);
  return 0;
}
