/* Any bytes as a checkpoint: an error, or tensors whose every byte can be read and which account for the whole file. */
#include "tests/fuzz/checkpoint_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  checkpoint *c = checkpoint_parse(data, size, "fuzz");
  if (!c) {
    require(last_status() < 0 && *last_error());
    return 0;
  }
  if (strcmp(checkpoint_container(c), "safetensors")) {
    checkpoint_close(c);
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
