/* What products with weights of ggml's block types have in common. The activations are rounded to 8 bits in blocks of
 * 32 (quant_rows.h), so that sums of products are exact integers until they meet the steps of weights and activations:
 *   y = sum over blocks of step_w (step_x sum (q - zero) a) + min_w (step_x sum a)
 * An output is summed in the order of its blocks, however many rows and threads there are. */
#ifndef LINNET_KERNELS_CPU_QUANT_PRODUCT_H
#define LINNET_KERNELS_CPU_QUANT_PRODUCT_H

#include "kernels/cpu/quant_rows.h"
#include "kernels/cpu/quant_weights.h"

/* Products of whole numbers are cheap: below this many, one thread is faster. */
#define QUANT_PARALLEL_MIN (4 * CPU_PARALLEL_MIN)

typedef struct {
  const packed_product *all;
  quant_type type;
  quant_rows rows;
} quant_product;

static inline quant_product quant_product_of(const packed_product *all) {
  const quant_type type = dtype_quant(all->w.type);
  const quant_layout *t = layout_of(type);
  const quant_rows rows = {.M = all->M,
                           .blocks = all->w.K / BLOCK,
                           .x = all->x,
                           .halves = t->group == HALF_BLOCK,
                           .zero = t->bits == 8 ? DOT_8_ZERO : t->zero,
                           .min_sign = has_six_bits(type) ? -1.0f : 1.0f,
                           .records = all->room};
  return (quant_product){.all = all, .type = type, .rows = rows};
}

static inline const uint8_t *panel_data(const quant_product *p, size_t panel) {
  return (const uint8_t *)p->all->w.data + panel * packed_panel_bytes(p->all->w.type, p->all->w.K);
}

/* One group of R panels meets one record of T tokens: adds to total [T][R]. Only the kind of the type matters: 8 bits,
 * steps of half a group, minima. */
ALWAYS_INLINE void add_group(quant_type type, size_t R, size_t T, const group *const *w, const uint8_t *record,
                             lanes *total) {
  const quant_layout *t = layout_of(type);
  const size_t steps = (size_t)(GROUP / t->group), lines = GROUP_LINES / steps;
#pragma GCC unroll UNROLL
  for (size_t half = 0; half < steps; half++) {
    sums sum[TILE_TOKENS * TILE_PANELS];
#pragma GCC unroll UNROLL
    for (size_t i = 0; i < T; i++)
#pragma GCC unroll UNROLL
      for (size_t r = 0; r < R; r++) sum[i * R + r] = sums_load(record + (RECORD_START + half * 4) * T + 4 * i);
#pragma GCC unroll UNROLL
    for (size_t s = half * lines; s < (half + 1) * lines; s++)
#pragma GCC unroll UNROLL
      for (size_t i = 0; i < T; i++) {
        const four x = four_load(record + (s * T + i) * 4);
#pragma GCC unroll UNROLL
        for (size_t r = 0; r < R; r++) {
          if (t->bits == 8)
            dot_8(&sum[i * R + r], w[r]->quants[s], x);
          else
            dot(&sum[i * R + r], w[r]->quants[s], x);
        }
      }
#pragma GCC unroll UNROLL
    for (size_t i = 0; i < T; i++)
#pragma GCC unroll UNROLL
      for (size_t r = 0; r < R; r++) {
        const lanes part =
            sums_times(sum[i * R + r], record + RECORD_STEP * T + 4 * i, record + RECORD_SHIFT * T + 4 * i);
        total[i * R + r] = lanes_fused(total[i * R + r], part, w[r]->step[half]);
      }
  }
  if (!t->m) return;
#pragma GCC unroll UNROLL
  for (size_t i = 0; i < T; i++)
#pragma GCC unroll UNROLL
    for (size_t r = 0; r < R; r++)
      total[i * R + r] = lanes_fused(total[i * R + r], lanes_all(record + RECORD_MOMENT * T + 4 * i), w[r]->min);
}

#endif
