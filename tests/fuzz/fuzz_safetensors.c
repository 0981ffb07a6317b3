/* Any bytes as a checkpoint: an error, or tensors whose every byte can be read and which account for the whole file. */
#include "tests/fuzz/checkpoint_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  checkpoint *c = checkpoint_parse(data, size, "fuzz");
  use_checkpoint(c);
  if (c && !strcmp(checkpoint_container(c), "safetensors")) {
    size_t header = 0, total = 8;
    for (int i = 7; i >= 0; i--) header = header << 8 | data[i];
    total += header;
    for (size_t i = 0; i < checkpoint_count(c); i++) total += checkpoint_at(c, i)->bytes;
    require(total == size);
  }
  checkpoint_close(c);
  return 0;
}
