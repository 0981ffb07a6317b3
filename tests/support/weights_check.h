/* What tests of files of tensors share. Mistakes end the running cmocka test. */
#ifndef LINNET_TESTS_WEIGHTS_CHECK_H
#define LINNET_TESTS_WEIGHTS_CHECK_H

#include "weights/writer.h"

/* The containers that are written. */
enum { SAFETENSORS, GGUF, CONTAINERS };
extern const char *const container_names[CONTAINERS];

writer *writer_into(const char *path, int container);
checkpoint *opened(const char *path);
/* Whatever is in a file, into another. */
void copy_weights(const char *from, const char *to, int container);

/* The tensor of that name, which has this type and shape. */
const checkpoint_tensor *check_stored(const checkpoint *c, const char *name, checkpoint_dtype dtype, int n_dims,
                                      const int64_t *dim);
/* A call's result and the sentence that it left. */
void check_error(status got, status code, const char *words);
void check_same_files(const char *a, const char *b);
/* The file has a checksum, and it is right. */
void check_intact(const checkpoint *c);

#endif
