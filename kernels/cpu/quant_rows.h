/* Activations in 8 bits: rows of x cut into blocks of 32, each a step times integers of -127..127, which are kept in
 * the order in which tiles of tokens want them.
 *
 * K is cut into chunks of CHUNK blocks, M into tiles of TILE_TOKENS tokens (the last ones may be smaller). The chunks
 * lie one after the other, in a chunk its tiles, in a tile of T tokens a record of T * RECORD_BYTES for each block:
 *   i8  [8][T][4]  the integers
 *   i32 [2][T]     what sums of the block's halves, or of the whole block, start at
 *   f32 [3][T]     the step, -SUMS_SHIFT * step, step * sum of the integers (negative if minima are subtracted)
 *
 * A block without a number above SMALLEST is zero; one with a NaN or something beyond LARGEST gives NaN. Rounding is
 * the same in all instruction sets: this is compiled with -ffp-contract=off. */
#ifndef LINNET_KERNELS_CPU_QUANT_ROWS_H
#define LINNET_KERNELS_CPU_QUANT_ROWS_H

#include <math.h>

#include "kernels/cpu/quant_lanes.h"

enum { BLOCK = 32, HALF_BLOCK = BLOCK / 2, CHUNK = 16 };
enum { RECORD_START = 32, RECORD_STEP = 40, RECORD_SHIFT = 44, RECORD_MOMENT = 48, RECORD_BYTES = 52 }; /* times T */

#define SMALLEST 0x1p-110f
#define LARGEST 0x1p100f

typedef struct {
  size_t M, blocks; /* of a row */
  const float *x;   /* [M, 32 blocks] */
  bool halves;      /* sums are of half blocks */
  int zero;         /* what is taken from each weight */
  float min_sign;   /* -1 if minima are to be subtracted */
  uint8_t *records; /* packed_room() has room for them */
} quant_rows;

static inline size_t chunk_count(const quant_rows *r) { return (r->blocks + CHUNK - 1) / CHUNK; }
static inline size_t chunk_blocks(const quant_rows *r, size_t chunk) {
  return smaller(CHUNK, r->blocks - chunk * CHUNK);
}
static inline size_t tile_count(const quant_rows *r) { return (r->M + TILE_TOKENS - 1) / TILE_TOKENS; }
static inline size_t tile_tokens(const quant_rows *r, size_t tile) {
  return smaller(TILE_TOKENS, r->M - tile * TILE_TOKENS);
}

static inline uint8_t *tile_records(const quant_rows *r, size_t chunk, size_t tile) {
  return r->records + (chunk * CHUNK * r->M + tile * TILE_TOKENS * chunk_blocks(r, chunk)) * RECORD_BYTES;
}

/* The step of a block from its largest magnitude: two bits shorter than an f32, so that -SUMS_SHIFT * step is exact. */
static inline float step_of(float max) {
  if (!(max <= LARGEST)) return NAN;
  return max >= SMALLEST ? float_of_bits(bits_of_float(max / 127.0f) & ~3u) : 0.0f;
}

static inline void put_i32(uint8_t *to, size_t i, int32_t value) { memcpy(to + 4 * i, &value, sizeof value); }
static inline void put_f32(uint8_t *to, size_t i, float value) { memcpy(to + 4 * i, &value, sizeof value); }

/* `blocks` blocks of a row become those of token t in as many records of T, in steps that do not wait for each other.
 * Meanwhile the same blocks of the next row are asked for. */
static inline void round_row(const quant_rows *r, const float *x, size_t blocks, size_t T, size_t t, uint8_t *record) {
  float most[CHUNK], step[CHUNK], times[CHUNK];
  for (size_t b = 0; b < blocks; b++)
    most[b] = lanes_largest(lanes_load(x + b * BLOCK), lanes_load(x + b * BLOCK + LANES));
#pragma omp simd
  for (size_t b = 0; b < blocks; b++) {
    step[b] = step_of(most[b]);
    times[b] = 1.0f / step[b];
  }
  for (size_t b = 0; b < blocks; b++, x += BLOCK, record += T * RECORD_BYTES) {
    int8_t values[BLOCK] = {0};
    int32_t sum[2] = {0};
    for (size_t i = 0; i < BLOCK; i += LANES) __builtin_prefetch(x + r->blocks * BLOCK + i);
    if (step[b] > 0.0f) {
      sum[0] = lanes_round(lanes_load(x), times[b], values);
      sum[1] = lanes_round(lanes_load(x + LANES), times[b], values + LANES);
    }
    for (size_t s = 0; s < BLOCK / 4; s++) memcpy(record + (s * T + t) * 4, values + 4 * s, 4);
    const int32_t first = r->halves ? sum[0] : sum[0] + sum[1];
    put_i32(record + RECORD_START * T, t, SUMS_ZERO - r->zero * first);
    put_i32(record + RECORD_START * T, T + t, SUMS_ZERO - r->zero * sum[1]);
    put_f32(record + RECORD_STEP * T, t, step[b]);
    put_f32(record + RECORD_SHIFT * T, t, -SUMS_SHIFT * step[b]);
    put_f32(record + RECORD_MOMENT * T, t, r->min_sign * step[b] * (float)(sum[0] + sum[1]));
  }
}

static inline void round_tile(const quant_rows *r, size_t chunk, size_t tile) {
  const size_t T = tile_tokens(r, tile), K = r->blocks * BLOCK;
  const float *x = r->x + tile * TILE_TOKENS * K + chunk * CHUNK * BLOCK;
  uint8_t *record = tile_records(r, chunk, tile);
  for (size_t t = 0; t < T; t++) round_row(r, x + t * K, chunk_blocks(r, chunk), T, t, record);
}

#endif
