/* Any bytes as a GGUF file: an error, or metadata that can be walked and tensors that lie in the file one after the
 * other, all of whose bytes can be read. */
#include "tests/fuzz/checkpoint_use.h"
#include "weights/gguf_format.h"

/* A value and all that is in it: nothing beyond its bytes, and as many items as it says. */
static void walk(const metadata_value *v, int depth) {
  metadata_cursor at = metadata_items(v);
  metadata_type type;
  size_t size, count = 0, items = 0;
  int64_t integer;
  double real;
  bool truth;
  const char *text;
  char name[METADATA_TYPE_TEXT];
  require(depth <= METADATA_DEPTH);
  require(metadata_size(v->type, v->bytes, v->size, &size) == STATUS_OK && size == v->size);
  require(strcmp(metadata_type_text(v, name), "?") != 0);
  require(!metadata_integer(v, &integer) || metadata_real(v, &real));
  require(metadata_real(v, &real) + metadata_truth(v, &truth) + metadata_text(v, &text, &size) +
              metadata_array(v, &type, &items) ==
          1);
  for (metadata_value item; metadata_next(&at, &item); count++) {
    require(item.type == type && item.bytes > v->bytes && item.bytes + item.size <= v->bytes + v->size);
    walk(&item, depth + 1);
  }
  require(count == items && (!items || at.bytes == v->bytes + v->size));
}

/* In order, aligned, none in another, and the last at the end of the file but for its padding. */
static void check_places(const checkpoint *c, const uint8_t *data, size_t size) {
  const checkpoint_entry *said = checkpoint_metadata_find(c, GGUF_ALIGNMENT_KEY);
  int64_t alignment = GGUF_ALIGNMENT;
  const uint8_t *end = NULL;
  require(!said || metadata_integer(&said->value, &alignment));
  for (size_t i = 0; i < checkpoint_count(c); i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    const uint8_t *begin = t->packed ? t->packed : t->data;
    require(begin >= data && (begin - data) % alignment == 0);
    require(!end || (begin >= end && begin - end < alignment));
    end = begin + t->bytes;
    require(end <= data + size);
  }
  require(!end || data + size - end < alignment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  checkpoint *c = checkpoint_parse(data, size, "fuzz");
  use_checkpoint(c);
  if (c && !strcmp(checkpoint_container(c), "gguf")) {
    const char *architecture = checkpoint_metadata(c, "general.architecture");
    for (size_t i = 0; i < checkpoint_metadata_count(c); i++) walk(&checkpoint_metadata_at(c, i)->value, 0);
    /* llama.cpp's layouts are shown as slices of the file in another order (llama_layout.h) */
    if (!architecture || strncmp(architecture, "rwkv", 4)) check_places(c, data, size);
  }
  checkpoint_close(c);
  return 0;
}
