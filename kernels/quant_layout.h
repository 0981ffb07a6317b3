/* Where the fields of ggml's blocks lie; private to the code that takes blocks apart. */
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

/* Here, so that code for one type can be compiled with its numbers. */
static const quant_layout quant_layouts[QUANT_TYPES] = {
    [QUANT_Q8_0] = {"Q8_0", 32, 34, 32, .bits = 8, .low = 2},
    [QUANT_Q4_0] = {"Q4_0", 32, 18, 32, .bits = 4, .zero = 8, .low = 2, .span = 16},
    [QUANT_Q4_1] = {"Q4_1", 32, 20, 32, .bits = 4, .m = 2, .low = 4, .span = 16},
    [QUANT_Q5_0] = {"Q5_0", 32, 22, 32, .bits = 5, .zero = 16, .high = 2, .low = 6, .span = 16},
    [QUANT_Q5_1] = {"Q5_1", 32, 24, 32, .bits = 5, .m = 2, .high = 4, .low = 8, .span = 16},
    [QUANT_Q4_K] = {"Q4_K", 256, 144, 32, .bits = 4, .m = 2, .scales = 4, .low = 16, .span = 32},
    [QUANT_Q5_K] = {"Q5_K", 256, 176, 32, .bits = 5, .m = 2, .scales = 4, .high = 16, .low = 48, .span = 32},
    [QUANT_Q6_K] = {"Q6_K", 256, 210, 16, .bits = 6, .zero = 32, .d = 208, .scales = 192, .high = 128, .span = 64},
};

/* A block with its fields taken apart. */
typedef struct {
  uint16_t d, m;              /* f16 */
  int8_t scale[16];           /* of each group: Q4_K and Q5_K 0..63, Q6_K -128..127 */
  int8_t min[8];              /* of each group: Q4_K and Q5_K 0..63 */
  uint8_t q[QUANT_BLOCK_MAX]; /* as stored: 0 .. 2^bits - 1; Q8_0: two's complement */
} quant_fields;

void quant_pack(const quant_layout *t, const quant_fields *fields, uint8_t *block);

#endif
