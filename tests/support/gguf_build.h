/* GGUF files put together by hand, right or wrong: for tests of the reader that must not depend on the writer. */
#ifndef LINNET_TESTS_GGUF_BUILD_H
#define LINNET_TESTS_GGUF_BUILD_H

#include "weights/gguf_format.h"

/* Start with {.version = 3, .alignment = 32}. The three parts are raw bytes, so that anything can be put into them. */
typedef struct {
  uint32_t version;
  size_t alignment;
  uint64_t n_pairs, n_tensors; /* what the header claims; the functions below count on */
  metadata_bytes pairs, table, data;
} gguf_build;

void gguf_build_pair(gguf_build *b, const char *key, metadata_type type, const void *value, size_t bytes);
void gguf_build_number(gguf_build *b, const char *key, metadata_type type, uint64_t value);
void gguf_build_text(gguf_build *b, const char *key, const char *text);
/* An entry of the table with ggml's number of a type and dimensions innermost first. */
void gguf_build_entry(gguf_build *b, const char *name, uint32_t type, int n_dims, const int64_t *dim, uint64_t offset);
/* The same with its data, at the next multiple of the alignment. */
void gguf_build_tensor(gguf_build *b, const char *name, uint32_t type, int n_dims, const int64_t *dim, const void *data,
                       size_t bytes);
/* The file, padded between header and data but not at its end; free() it. Frees the parts. */
uint8_t *gguf_build_finish(gguf_build *b, size_t *bytes);

#endif
