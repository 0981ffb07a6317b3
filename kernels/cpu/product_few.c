/* y = x w or x w^T in f32 for very few rows, as a decode step has them: every weight is used once or a few times, so
 * that memory decides, or for small matrices the time until threads and sums are ready. Sums have an order that does
 * not depend on the number of threads. */
#include "kernels/cpu/half_lanes.h"

#include <omp.h>

enum {
  ROWS = 4,     /* rows of w [N,K] at once */
  AHEAD = 256,  /* floats between what is asked for and what is used of a row */
  DEEP = 8,     /* rows of w [K,N] at once */
  PARTS = 8,    /* into which K is cut where a w [K,N] has too few columns to share, */
  NARROW = 256, /* up to so many */
  STRIP = 2048, /* columns of a wider one whose sums are in the first cache */
};

typedef struct {
  size_t M, N, K, ldx, ldw, ldy;
  const float *x, *w;
  float *y;
} product;

/* --- w [N,K]: dot products ---------------------------------------------------------------------------------------- */

/* R rows of w from `first` on and M rows of x. */
ALWAYS_INLINE void dots(const product *p, size_t M, size_t R, size_t first) {
  const float *w = p->w + first * p->ldw;
  const size_t whole = p->K / LANES * LANES;
  lanes sum[PRODUCT_FEW * ROWS];
#pragma GCC unroll 16
  for (size_t i = 0; i < M * R; i++) sum[i] = lanes_zero();
  for (size_t k = 0; k < whole; k += LANES) {
    lanes x[PRODUCT_FEW];
#pragma GCC unroll 4
    for (size_t m = 0; m < M; m++) x[m] = lanes_load(p->x + m * p->ldx + k);
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) {
      __builtin_prefetch(w + r * p->ldw + k + AHEAD);
      const lanes v = lanes_load(w + r * p->ldw + k);
#pragma GCC unroll 4
      for (size_t m = 0; m < M; m++) sum[m * R + r] = lanes_fused(sum[m * R + r], v, x[m]);
    }
  }
  const size_t left = p->K - whole;
#pragma GCC unroll 4
  for (size_t r = 0; r < R; r++)
#pragma GCC unroll 4
    for (size_t m = 0; m < M; m++) {
      lanes s = sum[m * R + r];
      if (left)
        s = lanes_fused(s, lanes_tail(false, w + r * p->ldw + whole, left),
                        lanes_tail(false, p->x + m * p->ldx + whole, left));
      p->y[m * p->ldy + first + r] = lanes_sum(s);
    }
}

ALWAYS_INLINE void dots_of(const product *p, size_t M, size_t first) {
  if (first + ROWS <= p->N)
    dots(p, M, ROWS, first);
  else
    for (size_t n = first; n < p->N; n++) dots(p, M, 1, n);
}

/* Up to ROWS rows of w. Numbers of rows are constants from here on. */
static void some_dots(const product *p, size_t first) {
  switch (p->M) {
  case 1:
    dots_of(p, 1, first);
    return;
  case 2:
    dots_of(p, 2, first);
    return;
  case 3:
    dots_of(p, 3, first);
    return;
  default:
    dots_of(p, 4, first);
    return;
  }
}

/* --- w [K,N]: rows of w times numbers ----------------------------------------------------------------------------- */

/* D rows of w from `w` on times the numbers in x [M][D], in up to LANES columns, to out [M,..] (written or added). */
ALWAYS_INLINE void add_block(const product *p, size_t M, size_t D, const float *w, const lanes *x, bool write,
                             size_t columns, float *out, size_t ldout) {
  lanes sum[PRODUCT_FEW];
#pragma GCC unroll 4
  for (size_t m = 0; m < M; m++) sum[m] = write ? lanes_zero() : lanes_load_part(out + m * ldout, columns);
#pragma GCC unroll 8
  for (size_t d = 0; d < D; d++) {
    __builtin_prefetch(w + (DEEP + d) * p->ldw, 0, 2);
    const lanes v = lanes_load_part(w + d * p->ldw, columns);
#pragma GCC unroll 4
    for (size_t m = 0; m < M; m++) sum[m] = lanes_fused(sum[m], v, x[m * D + d]);
  }
#pragma GCC unroll 4
  for (size_t m = 0; m < M; m++) lanes_store_part(out + m * ldout, columns, sum[m]);
}

/* Rows k..k + D - 1 of w, in columns first..last - 1. */
ALWAYS_INLINE void add_rows(const product *p, size_t M, size_t D, size_t k, bool write, size_t first, size_t last,
                            float *out, size_t ldout) {
  lanes x[PRODUCT_FEW * DEEP];
#pragma GCC unroll 32
  for (size_t i = 0; i < M * D; i++) x[i] = lanes_all(p->x + i / D * p->ldx + k + i % D);
  const float *w = p->w + k * p->ldw;
  size_t n = first;
  for (; n + LANES <= last; n += LANES) add_block(p, M, D, w + n, x, write, LANES, out + n, ldout);
  if (n < last) add_block(p, M, D, w + n, x, write, last - n, out + n, ldout);
}

ALWAYS_INLINE void rows_sum_of(const product *p, size_t M, size_t start, size_t end, size_t first, size_t last,
                               float *out, size_t ldout) {
  size_t k = start;
  for (; k + DEEP <= end; k += DEEP) add_rows(p, M, DEEP, k, k == start, first, last, out, ldout);
  for (; k < end; k++) add_rows(p, M, 1, k, k == start, first, last, out, ldout);
}

/* Rows start..end - 1 of w, at least one. */
static void rows_sum(const product *p, size_t start, size_t end, size_t first, size_t last, float *out, size_t ldout) {
  switch (p->M) {
  case 1:
    rows_sum_of(p, 1, start, end, first, last, out, ldout);
    return;
  case 2:
    rows_sum_of(p, 2, start, end, first, last, out, ldout);
    return;
  case 3:
    rows_sum_of(p, 3, start, end, first, last, out, ldout);
    return;
  default:
    rows_sum_of(p, 4, start, end, first, last, out, ldout);
    return;
  }
}

/* Few columns: threads share parts of K, whose sums are then added in order. */
static void narrow_product(const product *p, bool threads) {
  float part[PARTS][PRODUCT_FEW * NARROW];
  const size_t depth = (p->K + PARTS * DEEP - 1) / (PARTS * DEEP) * DEEP, parts = (p->K + depth - 1) / depth;
#pragma omp parallel for schedule(static) if (threads)
  for (size_t i = 0; i < parts; i++) rows_sum(p, i * depth, smaller((i + 1) * depth, p->K), 0, p->N, part[i], p->N);
  for (size_t i = 1; i < parts; i++)
    for (size_t j = 0; j < p->M * p->N; j++) part[0][j] += part[i][j];
  for (size_t m = 0; m < p->M; m++) memcpy(p->y + m * p->ldy, part[0] + m * p->N, p->N * sizeof *p->y);
}

/* Many: each thread has a share of the columns, strip after strip, whose sums stay in the first cache. */
static void wide_product(const product *p, bool threads) {
  const size_t blocks = (p->N + LANES - 1) / LANES;
#pragma omp parallel if (threads)
  {
    const size_t all = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num(),
                 last = smaller(blocks * (me + 1) / all * LANES, p->N);
    for (size_t n = blocks * me / all * LANES; n < last; n += STRIP)
      rows_sum(p, 0, p->K, n, smaller(n + STRIP, last), p->y, p->ldy);
  }
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void product_few(bool right, size_t M, size_t N, size_t K, const float *x, size_t ldx, const float *w,
                        size_t ldw, float *y, size_t ldy) {
  const product p = {.M = M, .N = N, .K = K, .ldx = ldx, .ldw = ldw, .ldy = ldy, .x = x, .w = w, .y = y};
  const bool threads = M * N * K >= CPU_PARALLEL_MIN;
  if (M == 0) return;
  if (right && K > 0) {
    if (N <= NARROW)
      narrow_product(&p, threads);
    else
      wide_product(&p, threads);
    return;
  }
#pragma omp parallel for schedule(static) if (threads)
  for (size_t n = 0; n < N; n += ROWS) some_dots(&p, n);
}

void CPU_FAMILY(product_few)(cpu_kernels *table);
void CPU_FAMILY(product_few)(cpu_kernels *table) { table->product_few = product_few; }
