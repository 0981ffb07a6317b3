/* Products of a panel of 16-bit weights and a few rows in plain f32: the weights are widened, which is exact, on their
 * way from memory. */
#ifndef LINNET_KERNELS_CPU_HALF_EXACT_H
#define LINNET_KERNELS_CPU_HALF_EXACT_H

#include "kernels/cpu/half_lanes.h"

/* One panel and, of some rows, where each starts and where its 16 (or `columns`) sums belong. */
typedef struct {
  const uint8_t *panel;
  size_t K, columns;
  const float *const *x;
  float *const *y;
} exact_product;

/* Weights are asked for this many bytes before they are used. */
enum { EXACT_AHEAD = 4096 };

/* T rows; U lines are summed apart, so that sums need not wait for each other. */
ALWAYS_INLINE void exact_tile(const exact_product *p, bool bf16, size_t T, size_t U) {
  const size_t lines = p->K / 2;
  const uint8_t *from = p->panel;
  wide sum[8];
#pragma GCC unroll 8
  for (size_t i = 0; i < T * U; i++) sum[i] = (wide){lanes_zero(), lanes_zero()};
  size_t s = 0;
  for (; s + U <= lines; s += U, from += U * LINE_BYTES)
#pragma GCC unroll 4
    for (size_t u = 0; u < U; u++) {
      __builtin_prefetch(from + u * LINE_BYTES + EXACT_AHEAD);
      const wide w = widen(bf16, from + u * LINE_BYTES);
#pragma GCC unroll 8
      for (size_t t = 0; t < T; t++)
        sum[t * U + u] = wide_add_products(sum[t * U + u], w, wide_pair(bf16, p->x[t] + 2 * (s + u)));
    }
  for (; 2 * s < p->K; s++, from += LINE_BYTES)
#pragma GCC unroll 8
    for (size_t t = 0; t < T; t++) {
      const float *x = p->x[t] + 2 * s, two[2] = {x[0], 2 * s + 1 < p->K ? x[1] : 0};
      sum[t * U] = wide_add_products(sum[t * U], widen(bf16, from), wide_pair(bf16, two));
    }
#pragma GCC unroll 8
  for (size_t t = 0; t < T; t++) {
#pragma GCC unroll 4
    for (size_t u = 1; u < U; u++) sum[t * U] = wide_add(sum[t * U], sum[t * U + u]);
    lanes_store_part(p->y[t], p->columns, wide_sum(bf16, sum[t * U]));
  }
}

ALWAYS_INLINE void exact_tiles(exact_product p, bool bf16, size_t rows) {
  for (; rows >= EXACT_ROWS; rows -= EXACT_ROWS, p.x += EXACT_ROWS, p.y += EXACT_ROWS)
    exact_tile(&p, bf16, EXACT_ROWS, 1);
  switch (rows) {
  case 7:
    exact_tile(&p, bf16, 7, 1);
    return;
  case 6:
    exact_tile(&p, bf16, 6, 1);
    return;
  case 5:
    exact_tile(&p, bf16, 5, 1);
    return;
  case 4:
    exact_tile(&p, bf16, 4, EXACT_ROWS / 4);
    return;
  case 3:
    exact_tile(&p, bf16, 3, EXACT_ROWS / 4);
    return;
  case 2:
    exact_tile(&p, bf16, 2, EXACT_ROWS / 4);
    return;
  case 1:
    exact_tile(&p, bf16, 1, EXACT_ROWS / 2);
    return;
  default:
    return;
  }
}

/* The products of panel `panel` and some rows of x [.., K], into those of y [.., N]; at most EXACT_MOST rows. */
enum { EXACT_MOST = 16 };
static void exact_rows(const packed_matrix *w, size_t panel, size_t n, const size_t *rows, const float *x, float *y) {
  const size_t column = panel * PACKED_ROWS, left = w->N - column;
  const float *from[EXACT_MOST];
  float *to[EXACT_MOST];
  for (size_t i = 0; i < n; i++) from[i] = x + rows[i] * w->K, to[i] = y + rows[i] * w->N + column;
  const exact_product p = {.panel = (const uint8_t *)w->data + panel * packed_panel_bytes(w->type, w->K),
                           .K = w->K,
                           .columns = left < PACKED_ROWS ? left : PACKED_ROWS,
                           .x = from,
                           .y = to};
  if (w->type == DTYPE_BF16)
    exact_tiles(p, true, n);
  else
    exact_tiles(p, false, n);
}

#endif
