/* Where the fields of a packed block lie (packed.h); private to the code that takes packed blocks apart. */
#ifndef LINNET_KERNELS_PACKED_LAYOUT_H
#define LINNET_KERNELS_PACKED_LAYOUT_H

#include "kernels/packed.h"
#include "kernels/quant_layout.h"

enum {
  LINE_QUANTS = 4,                                     /* of each row in a line */
  LINE_BYTES = PACKED_ROWS * LINE_QUANTS,              /* of quants a byte each */
  PACKED_HALVES = PACKED_ROWS * (int)sizeof(uint16_t), /* bytes of an f16 of each row */
  SIX_BITS = 12,                                       /* bytes of the scales and minima of Q4_K and Q5_K */
};

/* Bytes of a row's fields in ggml's block. */
static inline int layout_scale_bytes(const quant_layout *t) {
  return !t->scales ? 0 : t->m ? SIX_BITS : t->block / t->group;
}
static inline int layout_high_bytes(const quant_layout *t) {
  return t->bits == 5 ? t->block / 8 : t->bits == 6 ? t->block / 4 : 0;
}
static inline int layout_low_bytes(const quant_layout *t) { return t->bits == 8 ? t->block : t->block / 2; }

/* Offsets in bytes; those of fields that a type lacks mean nothing. */
typedef struct {
  int d, m, scales, high, low;
} packed_places;

static inline packed_places packed_places_of(const quant_layout *t) {
  packed_places p = {.m = PACKED_HALVES, .scales = t->m ? 2 * PACKED_HALVES : PACKED_HALVES};
  p.high = p.scales + PACKED_ROWS * layout_scale_bytes(t);
  p.low = p.high + PACKED_ROWS * layout_high_bytes(t);
  return p;
}

#endif
