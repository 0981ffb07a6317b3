/* Any bytes as a PyTorch archive, and as the data.pkl of one: an error, or tensors whose every byte can be read. The
 * zip container's checksums would hide the pickle from a fuzzer, so it also gets the bytes alone. */
#include "tests/fuzz/checkpoint_use.h"
#include "weights/pickle.h"

static void use_archive(const uint8_t *data, size_t size) {
  checkpoint *c = checkpoint_parse(data, size, "fuzz");
  if (!c) {
    require(last_status() < 0 && *last_error());
    return;
  }
  size_t read = 0; /* many tensors may share one storage: their sum is not bounded by the file */
  for (size_t i = 0; i < checkpoint_count(c) && read < (1 << 24); i++) {
    use_tensor(c, checkpoint_at(c, i));
    read += checkpoint_at(c, i)->bytes;
  }
  checkpoint_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size && data[0] == 0x80) {
    pickle *p = pickle_parse(data, size);
    require(p ? pickle_root(p) != NULL : last_status() < 0 && *last_error());
    pickle_free(p);
  }
  use_archive(data, size);
  return 0;
}
