/* Sums over the rows of a matrix whose value does not depend on the number of threads: rows are cut into blocks whose
 * number depends on M alone, each block is summed into its own part, and the parts are added in order. Threads share
 * the blocks. Should there be no memory for the parts, one thread sums everything in place. */
#ifndef LINNET_KERNELS_CPU_ROW_SUMS_H
#define LINNET_KERNELS_CPU_ROW_SUMS_H

#include "kernels/base.h"
#include "kernels/cpu/variant.h"

#include <stdlib.h>

typedef struct {
  size_t M, rows, blocks; /* rows of one block (the last may have fewer) */
  size_t n;               /* floats of one part */
  float *parts;           /* NULL: sum in place, on one thread */
} row_sums;

/* `work`: floats that one row moves, to decide whether threads are worth it. */
static inline row_sums row_sums_open(size_t M, size_t n, size_t work) {
  enum { MOST_BLOCKS = 64, LEAST_ROWS = 16 };
  row_sums s = {.M = M, .rows = (M + MOST_BLOCKS - 1) / MOST_BLOCKS, .n = n};
  if (s.rows < LEAST_ROWS) s.rows = LEAST_ROWS;
  s.blocks = (M + s.rows - 1) / s.rows;
  if (s.blocks > 1 && M * work >= CPU_PARALLEL_MIN) s.parts = mem_zero(s.blocks * n, sizeof *s.parts);
  return s;
}

static inline size_t row_sums_end(const row_sums *s, size_t block) { return smaller((block + 1) * s->rows, s->M); }

/* Where block's sums go that belong into to[0..], parts' floats from `offset` on. NULL stays NULL. */
static inline float *row_sums_part(const row_sums *s, size_t block, size_t offset, float *to) {
  return to && s->parts ? s->parts + block * s->n + offset : to;
}

/* Adds the parts' `count` floats from `offset` on to `to`. */
static inline void row_sums_add(const row_sums *s, size_t offset, size_t count, float *to) {
  for (size_t block = 0; to && s->parts && block < s->blocks; block++) {
    const float *part = s->parts + block * s->n + offset;
#pragma omp simd
    for (size_t i = 0; i < count; i++) to[i] += part[i];
  }
}

static inline void row_sums_close(row_sums *s) { free(s->parts); }

#endif
