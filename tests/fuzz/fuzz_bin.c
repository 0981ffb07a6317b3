/* Any bytes as a file of rwkv.cpp, and as the tensors that follow a good beginning, which few mutations keep: an error,
 * or tensors whose every byte can be read and of which those that are mapped lie in the file one after the other. */
#include "tests/fuzz/checkpoint_use.h"

static void use_file(const uint8_t *data, size_t size) {
  checkpoint *c = checkpoint_parse(data, size, "fuzz");
  use_checkpoint(c);
  const uint8_t *at = data;
  for (size_t i = 0; c && !strcmp(checkpoint_container(c), "rwkv.cpp") && i < checkpoint_count(c); i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    if (!t->data) continue;
    require((const uint8_t *)t->data >= at && t->bytes <= (size_t)(data + size - (const uint8_t *)t->data));
    at = (const uint8_t *)t->data + t->bytes;
  }
  checkpoint_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  /* one token of width one, one layer; then emb.weight and head.weight */
  static const uint8_t begin[] = "fmgg\x65\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0"
                                 "\2\0\0\0\12\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0emb.weight\0\0\0\0"
                                 "\2\0\0\0\13\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0head.weight\0\0\0\0";
  const size_t start = sizeof begin - 1;
  uint8_t *whole = malloc(start + size);
  require(whole != NULL);
  memcpy(whole, begin, start);
  if (size) whole[20] = data[0]; /* the file's data type */
  if (size) memcpy(whole + start, data + 1, size - 1);
  use_file(whole, start + (size ? size - 1 : 0));
  free(whole);
  use_file(data, size);
  return 0;
}
