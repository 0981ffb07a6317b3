/* Sixteen rows of packed weights of any block type, 32 values of each, as bytes from 0 on with their steps and minima:
 * value = step * (byte - zero) + min, or - min in the types with scales of 6 bits. The type is a constant wherever
 * these are called. */
#ifndef LINNET_KERNELS_CPU_QUANT_WEIGHTS_H
#define LINNET_KERNELS_CPU_QUANT_WEIGHTS_H

#include "kernels/cpu/quant_lanes.h"
#include "kernels/packed_layout.h"

enum { GROUP = 32, GROUP_LINES = GROUP / LINE_QUANTS };

typedef struct {
  line quants[GROUP_LINES];
  lanes step[2], min; /* the second step is of the second half, where they differ */
} group;

/* The scales and minima of a block of Q4_K or Q5_K, of its eight groups and 16 rows. */
typedef struct {
  uint8_t scale[8][PACKED_ROWS], min[8][PACKED_ROWS];
} six_bits;

static inline const quant_layout *layout_of(quant_type type) { return &quant_layouts[type]; }
static inline bool has_six_bits(quant_type type) { return layout_of(type)->scales && layout_of(type)->m; }
static inline size_t groups_in_block(quant_type type) { return (size_t)layout_of(type)->block / GROUP; }
static inline size_t packed_block_bytes(quant_type type) { return (size_t)layout_of(type)->bytes * PACKED_ROWS; }

/* Four bytes of a row at a time: 0..3 the lower scales, 4..7 the lower minima, 8..11 the rest (quant.c). */
ALWAYS_INLINE void unpack_six_bits(const uint8_t *scales, six_bits *out) {
  const line s = line_load(scales), m = line_load(scales + LINE_BYTES), rest = line_load(scales + 2 * LINE_BYTES);
  line_store(out->scale[0], line_right(s, 0, 63));
  line_store(out->min[0], line_right(m, 0, 63));
  line_store(out->scale[4], line_or(line_right(rest, 0, 15), line_right(s, 2, 0x30)));
  line_store(out->min[4], line_or(line_right(rest, 4, 15), line_right(m, 2, 0x30)));
}

/* The line of values i..i + 3. */
ALWAYS_INLINE line unpack_line(quant_type type, const uint8_t *block, int i) {
  const quant_layout *t = layout_of(type);
  const packed_places at = packed_places_of(t);
  if (t->bits == 8) return line_load(block + at.low + i * PACKED_ROWS);
  const int from = i / (2 * t->span) * t->span + i % t->span; /* the byte of ggml's field that holds the lower bits */
  const line low = line_right(line_load(block + at.low + from * PACKED_ROWS), i / t->span % 2 * 4, 15);
  if (t->bits == 5) return line_add_bits(low, block + at.high + i / LINE_QUANTS * sizeof(uint64_t));
  if (t->bits == 4) return low;
  const line high = line_load(block + at.high + (i / 128 * 32 + i % 32) * PACKED_ROWS);
  const int shift = i / 32 % 4 * 2; /* of the two bits in their byte; they go to bits 4 and 5 */
  return line_or(low, shift < 4 ? line_left(high, 4 - shift, 0x30) : line_right(high, shift - 4, 0x30));
}

/* Group g of a block; six: what unpack_six_bits() made of it, if the type has_six_bits(). */
ALWAYS_INLINE void unpack_group(quant_type type, const uint8_t *block, const six_bits *six, int g, group *out) {
  const quant_layout *t = layout_of(type);
  const packed_places at = packed_places_of(t);
  const lanes d = lanes_half(block);
#pragma GCC unroll UNROLL
  for (int s = 0; s < GROUP_LINES; s++) out->quants[s] = unpack_line(type, block, g * GROUP + s * LINE_QUANTS);
  if (has_six_bits(type)) {
    out->step[0] = lanes_product(d, lanes_u8(six->scale[g]));
    out->min = lanes_product(lanes_half(block + at.m), lanes_u8(six->min[g]));
    return;
  }
  if (t->m) out->min = lanes_half(block + at.m);
  if (t->scales) {
    const uint8_t *scale = block + at.scales + 2 * g * PACKED_ROWS;
    out->step[0] = lanes_product(d, lanes_s8(scale));
    out->step[1] = lanes_product(d, lanes_s8(scale + PACKED_ROWS));
    return;
  }
  out->step[0] = d;
}

/* What lies PREFETCH_AHEAD of group g. */
ALWAYS_INLINE void prefetch_group(quant_type type, const uint8_t *block, size_t g) {
  const size_t bytes = packed_block_bytes(type) / groups_in_block(type);
  const char *from = (const char *)block + g * bytes + PREFETCH_AHEAD;
#pragma GCC unroll UNROLL
  for (size_t i = 0; i < bytes; i += CACHE_LINE) __builtin_prefetch(from + i, 0, 3);
}

#endif
