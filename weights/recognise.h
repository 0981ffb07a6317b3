/* What kind of file a sequence of bytes is, by its first bytes. */
#ifndef LINNET_WEIGHTS_RECOGNISE_H
#define LINNET_WEIGHTS_RECOGNISE_H

#include <stdbool.h>
#include <stddef.h>

/* Begins as a GGUF file does, but for those of big-endian machines. */
bool recognise_gguf(const void *data, size_t size);
/* Begins as a file of rwkv.cpp does. */
bool recognise_ggmf(const void *data, size_t size);
/* Begins as a zip archive does: PyTorch's .pth, or another that is not known by its first entry. */
bool recognise_zip(const void *data, size_t size);
/* A JSON object that soon names "weight_map": an index of safetensors shards. */
bool recognise_shards(const void *data, size_t size);
/* Begins as a safetensors file does, well or damaged: eight bytes of length, then '{', and nothing better known. */
bool recognise_safetensors(const void *data, size_t size);

/* The end of a sentence about a file, "is a GGUF file", for everything that people hand to a loader by mistake. */
const char *recognise(const void *data, size_t size);

#endif
