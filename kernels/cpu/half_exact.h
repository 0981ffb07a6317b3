/* Products of a panel of 16-bit weights and a few rows in plain f32: the weights are widened, which is exact, on their
 * way from memory. */
#ifndef LINNET_KERNELS_CPU_HALF_EXACT_H
#define LINNET_KERNELS_CPU_HALF_EXACT_H

#include "kernels/cpu/act.h"
#include "kernels/cpu/half_lanes.h"

/* A panel and those after it and, of some rows, where each starts and where its sums of that panel belong; `columns`
 * are left in y from there on. */
typedef struct {
  const uint8_t *panel;
  size_t K, bytes, columns; /* bytes from one panel to the next */
  const float *const *x;
  float *const *y;
  act_kind act;
} exact_product;

ALWAYS_INLINE exact_product exact_product_of(const packed_product *p, size_t panel, const float *const *x,
                                             float *const *y) {
  const packed_matrix *w = &p->w;
  const size_t bytes = packed_panel_bytes(w->type, w->K);
  return (exact_product){.panel = (const uint8_t *)w->data + panel * bytes,
                         .K = w->K,
                         .bytes = bytes,
                         .columns = w->N - panel * PACKED_ROWS,
                         .x = x,
                         .y = y,
                         .act = p->act};
}

/* The sum of row t and panel r is complete. */
ALWAYS_INLINE void exact_end(const exact_product *p, bool bf16, size_t t, size_t r, wide sum) {
  lanes y = wide_sum(bf16, sum);
  lanes_act(p->act, 1, &y);
  lanes_store_part(p->y[t] + r * PACKED_ROWS, p->columns - r * PACKED_ROWS, y);
}

/* R panels and T rows; U lines are summed apart, so that sums need not wait for each other. */
ALWAYS_INLINE void exact_tile(const exact_product *p, bool bf16, size_t R, size_t T, size_t U) {
  const size_t lines = p->K / 2;
  const uint8_t *from = p->panel;
  wide sum[8]; /* [T][R][U] */
#pragma GCC unroll 8
  for (size_t i = 0; i < T * R * U; i++) sum[i] = (wide){lanes_zero(), lanes_zero()};
  size_t s = 0;
  for (; s + U <= lines; s += U, from += U * LINE_BYTES)
#pragma GCC unroll 4
    for (size_t u = 0; u < U; u++)
#pragma GCC unroll 4
      for (size_t r = 0; r < R; r++) {
        const uint8_t *at = from + r * p->bytes + u * LINE_BYTES;
        __builtin_prefetch(at + PREFETCH_AHEAD);
        const wide w = widen(bf16, at);
#pragma GCC unroll 8
        for (size_t t = 0; t < T; t++) {
          wide *to = &sum[(t * R + r) * U + u];
          *to = wide_add_products(*to, w, wide_pair(bf16, p->x[t] + 2 * (s + u)));
        }
      }
  for (; 2 * s < p->K; s++, from += LINE_BYTES)
#pragma GCC unroll 8
    for (size_t t = 0; t < T; t++) {
      const float *x = p->x[t] + 2 * s, two[2] = {x[0], 2 * s + 1 < p->K ? x[1] : 0};
#pragma GCC unroll 4
      for (size_t r = 0; r < R; r++) {
        wide *to = &sum[(t * R + r) * U];
        *to = wide_add_products(*to, widen(bf16, from + r * p->bytes), wide_pair(bf16, two));
      }
    }
#pragma GCC unroll 8
  for (size_t i = 0; i < T * R; i++) {
    wide *total = &sum[i * U];
#pragma GCC unroll 4
    for (size_t u = 1; u < U; u++) *total = wide_add(*total, total[u]);
    exact_end(p, bf16, i / R, i % R, *total);
  }
}

ALWAYS_INLINE void exact_tiles(exact_product p, bool bf16, size_t rows) {
  for (; rows >= EXACT_ROWS; rows -= EXACT_ROWS, p.x += EXACT_ROWS, p.y += EXACT_ROWS)
    exact_tile(&p, bf16, 1, EXACT_ROWS, 1);
  switch (rows) {
  case 7:
    exact_tile(&p, bf16, 1, 7, 1);
    return;
  case 6:
    exact_tile(&p, bf16, 1, 6, 1);
    return;
  case 5:
    exact_tile(&p, bf16, 1, 5, 1);
    return;
  case 4:
    exact_tile(&p, bf16, 1, 4, EXACT_ROWS / 4);
    return;
  case 3:
    exact_tile(&p, bf16, 1, 3, EXACT_ROWS / 4);
    return;
  case 2:
    exact_tile(&p, bf16, 1, 2, EXACT_ROWS / 4);
    return;
  case 1:
    exact_tile(&p, bf16, 1, 1, EXACT_ROWS / 2);
    return;
  default:
    return;
  }
}

/* Of panel `panel` and rows first + row[i] for i < n, at most EXACT_MOST. */
enum { EXACT_MOST = 16 };
static inline void exact_rows(const packed_product *p, size_t panel, size_t n, size_t first, const size_t *row) {
  const packed_matrix *w = &p->w;
  const size_t column = panel * PACKED_ROWS;
  const float *from[EXACT_MOST];
  float *to[EXACT_MOST];
  for (size_t i = 0; i < n; i++)
    from[i] = p->x + (first + row[i]) * w->K, to[i] = p->y + (first + row[i]) * w->N + column;
  const exact_product e = exact_product_of(p, panel, from, to);
  if (w->type == DTYPE_BF16)
    exact_tiles(e, true, n);
  else
    exact_tiles(e, false, n);
}

#endif
