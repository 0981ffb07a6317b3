/* Where the fields of ggml's blocks lie; private to quant.c and quant_encode.c. */
#ifndef LINNET_KERNELS_QUANT_LAYOUT_H
#define LINNET_KERNELS_QUANT_LAYOUT_H

#include <stdint.h>

#include "kernels/quant.h"

typedef struct {
  const char *name;
  int block, bytes, group; /* values in a block, bytes of it, values that share a step */
  int bits, zero;          /* of a quant, and what is taken from it: value = step * (q - zero) */
  /* Offsets in bytes, 0 if there is no such field: f16 scale; f16 minimum or scale of the minima; integer scales;
   * the quants' bits above the fourth; their lower four, of which the upper nibbles hold the values `span` later. */
  int d, m, scales, high, low, span;
} quant_layout;

extern const quant_layout quant_layouts[QUANT_TYPES];

/* A block with its fields taken apart. */
typedef struct {
  uint16_t d, m;              /* f16 */
  int8_t scale[16];           /* of each group: Q4_K and Q5_K 0..63, Q6_K -128..127 */
  int8_t min[8];              /* of each group: Q4_K and Q5_K 0..63 */
  uint8_t q[QUANT_BLOCK_MAX]; /* as stored: 0 .. 2^bits - 1; Q8_0: two's complement */
} quant_fields;

void quant_pack(const quant_layout *t, const quant_fields *fields, uint8_t *block);

#endif
