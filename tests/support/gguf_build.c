#include "tests/support/gguf_build.h"

#include <stdlib.h>
#include <string.h>

void gguf_build_pair(gguf_build *b, const char *key, metadata_type type, const void *value, size_t bytes) {
  metadata_put_text(&b->pairs, key, strlen(key));
  metadata_put_number(&b->pairs, (uint64_t)type, 4);
  metadata_put(&b->pairs, value, bytes);
  b->n_pairs++;
}

void gguf_build_number(gguf_build *b, const char *key, metadata_type type, uint64_t value) {
  static const int bytes[METADATA_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  metadata_bytes number = {0};
  metadata_put_number(&number, value, bytes[type]);
  gguf_build_pair(b, key, type, number.bytes, number.size);
  free(number.bytes);
}

void gguf_build_text(gguf_build *b, const char *key, const char *text) {
  metadata_bytes value = {0};
  metadata_put_text(&value, text, strlen(text));
  gguf_build_pair(b, key, METADATA_STRING, value.bytes, value.size);
  free(value.bytes);
}

void gguf_build_entry(gguf_build *b, const char *name, uint32_t type, int n_dims, const int64_t *dim, uint64_t offset) {
  metadata_put_text(&b->table, name, strlen(name));
  metadata_put_number(&b->table, (uint64_t)n_dims, 4);
  for (int i = 0; i < n_dims; i++) metadata_put_number(&b->table, (uint64_t)dim[i], 8);
  metadata_put_number(&b->table, type, 4);
  metadata_put_number(&b->table, offset, 8);
  b->n_tensors++;
}

static void pad(metadata_bytes *to, size_t alignment) {
  while (to->size % alignment && !to->failed) metadata_put(to, "", 1);
}

void gguf_build_tensor(gguf_build *b, const char *name, uint32_t type, int n_dims, const int64_t *dim, const void *data,
                       size_t bytes) {
  pad(&b->data, b->alignment);
  gguf_build_entry(b, name, type, n_dims, dim, b->data.size);
  metadata_put(&b->data, data, bytes);
}

uint8_t *gguf_build_finish(gguf_build *b, size_t *bytes) {
  metadata_bytes file = {0};
  metadata_put(&file, "GGUF", 4);
  metadata_put_number(&file, b->version, 4);
  metadata_put_number(&file, b->n_tensors, 8);
  metadata_put_number(&file, b->n_pairs, 8);
  metadata_put(&file, b->pairs.bytes, b->pairs.size);
  metadata_put(&file, b->table.bytes, b->table.size);
  if (b->n_tensors) pad(&file, b->alignment);
  metadata_put(&file, b->data.bytes, b->data.size);
  if (b->pairs.failed || b->table.failed || b->data.failed || file.failed) abort();
  free(b->pairs.bytes);
  free(b->table.bytes);
  free(b->data.bytes);
  *bytes = file.size;
  return file.bytes;
}
