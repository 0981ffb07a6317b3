/* Quantized weights: ggml's block types, as .gguf files hold them; spec ecosystem 3.2, docs/quantization.md.
 *
 * A row of weights is cut into blocks of 32 or 256 neighbours. Within a block each group shares a step, and in some
 * types a minimum: value = step * q, or step * q + minimum, with q a small integer. In the types of 256 the steps and
 * minima of the groups are themselves small integers times an f16 of the block.
 *
 * All functions are pure: any number of threads may work on different rows, and what a block becomes depends on its
 * own values alone. */
#ifndef LINNET_KERNELS_QUANT_H
#define LINNET_KERNELS_QUANT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
  QUANT_Q8_0,
  QUANT_Q4_0,
  QUANT_Q4_1,
  QUANT_Q5_0,
  QUANT_Q5_1,
  QUANT_Q4_K,
  QUANT_Q5_K,
  QUANT_Q6_K,
  QUANT_TYPES /* how many there are */
} quant_type;

enum { QUANT_BLOCK_MAX = 256 }; /* values in a block of any type */

const char *quant_name(quant_type type);              /* "Q8_0", "Q4_K", ... */
bool quant_parse(const char *word, quant_type *type); /* in any case; false if there is no such type */
size_t quant_block(quant_type type);                  /* values in a block */
size_t quant_bytes(quant_type type);                  /* bytes of a block */
bool quant_fits(quant_type type, size_t row);         /* whether rows of that length can be cut into blocks */

/* n values, a multiple of the block. Blocks come from files: any alignment, any bits. The values are ggml's, bit for
 * bit; a scale that is NaN or infinite gives NaN or infinite values. */
void quant_decode(quant_type type, const void *blocks, size_t n, float *out);
/* Whether all values of `count` blocks are finite. */
bool quant_finite(quant_type type, const void *blocks, size_t count);

/* The inverse with small squared error: n values, a multiple of the block. The values should be finite; the caller
 * checks, here a NaN is stored as 0 and infinity as a large number. No scale is ever infinite or NaN: it stops at
 * +-65504, the largest f16. Values that this does not reach, from 8 * 65504 (Q4_0) on, become about the largest that
 * the type has, and small ones beside them are lost. Nor does a scale vanish: it is at least 2^-24, and what is smaller
 * than half of that becomes 0. */
void quant_encode(quant_type type, const float *values, size_t n, void *blocks);

#endif
