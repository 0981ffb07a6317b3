/* Reference tensors for tests: a plain reader of safetensors files (test-only; the library has its own in weights/).
 *
 * It shares no code with the library on purpose, so that a mistake there cannot hide itself. Everything is read into
 * memory at once; each tensor has its own block of memory and is therefore aligned for any type. */
#ifndef LINNET_TESTS_GOLDEN_H
#define LINNET_TESTS_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

typedef struct golden golden;

/* NULL with a sentence in last_error() if the file is missing or damaged. */
golden *golden_open(const char *path);
void golden_close(golden *g); /* NULL is fine */

/* The data of one tensor, valid until golden_close. `expected_dtype` is safetensors' word ("F32", "F16", "BF16", "I64",
 * "I32", "U8", ...), or NULL for any. n_dims and dims may be NULL; a scalar has 0 dimensions. NULL with a sentence if
 * there is no such tensor or it has another type; last_status() is STATUS_ARGUMENT in the first case, STATUS_FORMAT in
 * the second. */
const void *golden_get(const golden *g, const char *name, const char *expected_dtype, int *n_dims, int64_t dims[8]);

/* The same, also giving the number of elements; the shortest way for most tests. */
const float *golden_f32(const golden *g, const char *name, size_t *n);

/* All tensors of the file, in the header's order. */
size_t golden_count(const golden *g);
const char *golden_name(const golden *g, size_t index);
const char *golden_dtype(const golden *g, const char *name); /* NULL if there is no such tensor */
/* A string of the header's __metadata__; NULL if there is none. */
const char *golden_metadata(const golden *g, const char *key);

#endif
