/* Fuzz target: IDX files, packed or not. What parses has as many values as its dimensions say, and all can be read. */
#include <assert.h>

#include "data/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  for (int n_dims = 1; n_dims <= IDX_DIMS; n_dims++) {
    idx_array a;
    if (!idx_parse(&a, data, size, n_dims, "fuzz")) {
      size_t count = 1;
      unsigned sum = 0;
      for (int i = 0; i < n_dims; i++) count *= a.dim[i];
      for (size_t i = 0; i < count; i++) sum += a.values[i];
      assert(count > 0 && sum <= 255 * count);
    }
    idx_free(&a);
  }
  return 0;
}
