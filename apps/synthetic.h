/* Model files that are made up: an RWKV-6 of any size, with random weights as a fresh model has them, for measuring
 * speed where no trained model is at hand. */
#ifndef LINNET_APPS_SYNTHETIC_H
#define LINNET_APPS_SYNTHETIC_H

#include "kernels/base.h"

typedef struct {
  const char *shape;  /* a name (rwkv6-1b6, ...), or LAYERSxWIDTH, perhaps xFFN, perhaps xVOCABULARY: 24x2048 */
  const char *type;   /* of the matrices: F32, F16, BF16 or a block type; NULL = Q8_0. The rest is F32 */
  const char *layout; /* "llama", or "official" (NULL): interleaved, as linnet quantize writes */
} synthetic_model;

/* Writes the GGUF file, whole or not at all. The same model gives the same bytes. Some rows of a matrix are random, the
 * others repeat them, so that it takes hardly longer than writing. STATUS_ARGUMENT for a shape, type or layout that
 * there is none of. */
status synthetic_make(const synthetic_model *model, const char *path);

#endif
