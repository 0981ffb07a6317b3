/* What the recurrences share: the order in which tokens are visited, square matrices with padded rows, work space of
 * threads. Included by sources that are compiled once for each instruction set (variant.h). */
#ifndef LINNET_KERNELS_CPU_RECURRENCE_H
#define LINNET_KERNELS_CPU_RECURRENCE_H

#include "kernels/base.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/variant.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16 }; /* rows of work space start at multiples of this many floats */

static inline size_t padded(size_t n) { return (n + LANES - 1) / LANES * LANES; }

/* --- tokens ------------------------------------------------------------------------------------------------------- */

/* How many of T tokens batch row b has. */
static inline size_t row_length(const int32_t *lengths, size_t T, size_t b) {
  if (!lengths) return T;
  return lengths[b] < 0 ? 0 : smaller((size_t)lengths[b], T);
}

/* The token at a place of the order. */
static inline size_t token_at(const int32_t *order, size_t place) { return order ? (size_t)order[place] : place; }

/* --- matrices [N][padded N] --------------------------------------------------------------------------------------- */

/* From a packed [N][N]; NULL is zero. What is beyond N becomes 0. */
static inline void load_matrix(size_t N, const float *from, float *x) {
  const size_t stride = padded(N);
  if (!from || stride > N) memset(x, 0, N * stride * sizeof *x);
  for (size_t m = 0; from && m < N; m++) memcpy(x + m * stride, from + m * N, N * sizeof *x);
}

static inline void store_matrix(size_t N, const float *x, float *to) {
  for (size_t m = 0; m < N; m++) memcpy(to + m * N, x + m * padded(N), N * sizeof *x);
}

/* to[n][m] = from[m][n], in blocks, so that both stay in the cache. */
static inline void transpose_matrix(size_t N, const float *restrict from, float *restrict to) {
  const size_t stride = padded(N);
  for (size_t m0 = 0; m0 < N; m0 += LANES) {
    const size_t m1 = smaller(m0 + LANES, N);
    for (size_t n = 0; n < N; n++) {
      for (size_t m = m0; m < m1; m++) to[n * stride + m] = from[m * stride + n];
    }
  }
}

/* --- work space --------------------------------------------------------------------------------------------------- */

/* `each` floats for every thread and `common` ones, cut from one block. */
typedef struct {
  float *block, *common;
  size_t each;
} workspace;

static inline bool workspace_open(workspace *s, size_t each, size_t common) {
  size_t threads = (size_t)omp_get_max_threads(), total;
  s->each = padded(each);
  if (!size_mul(s->each, threads, &total) || !size_add(total, padded(common) + LANES, &total)) total = SIZE_MAX;
  s->block = mem_alloc(total, sizeof *s->block);
  if (!s->block) return false;
  s->common = s->block + (LANES - (uintptr_t)s->block / sizeof(float) % LANES) % LANES;
  return true;
}

static inline float *workspace_mine(const workspace *s, size_t common) {
  return s->common + padded(common) + (size_t)omp_get_thread_num() * s->each;
}

static inline void add_row(size_t n, const float *x, float *to) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) to[i] += x[i];
}

/* to[i] += sum_b parts[b][i]: sums over the batch in a fixed order. */
static inline void add_parts(size_t B, size_t n, const float *parts, float *to) {
  for (size_t b = 0; b < B; b++) add_row(n, parts + b * n, to);
}

#endif
