/* y = x w^T of single rows, as a decode step has them: memory decides. Weights go through registers, those of some
 * panels side by side, since from one stream alone a processor does not get all that its memory gives. Of several
 * products threads take parts in turn as if they were one: they are called once, and wait for each other once. */
#include "kernels/cpu/variant.h"

#include "kernels/cpu/half_exact.h"
#include "kernels/cpu/parts.h"
#include "kernels/cpu/quant_product.h"

/* --- weights of block types --------------------------------------------------------------------------------------- */

_Static_assert(ROW_PANELS <= TILE_TOKENS * TILE_PANELS, "add_group() has room for them");

ALWAYS_INLINE void quant_row_of(quant_type type, const quant_product *p, size_t R, size_t panel) {
  const uint8_t *block[ROW_PANELS], *record = p->rows.records;
  lanes total[ROW_PANELS];
#pragma GCC unroll UNROLL
  for (size_t r = 0; r < R; r++) {
    block[r] = panel_data(p, panel + r);
    total[r] = lanes_zero();
  }
  for (size_t b = 0; b < p->rows.blocks; b += groups_in_block(type)) {
    six_bits six[ROW_PANELS];
#pragma GCC unroll UNROLL
    for (size_t r = 0; r < R; r++)
      if (has_six_bits(type)) unpack_six_bits(block[r] + packed_places_of(layout_of(type)).scales, &six[r]);
#pragma GCC unroll UNROLL
    for (size_t g = 0; g < groups_in_block(type); g++, record += RECORD_BYTES) {
      group weights[ROW_PANELS];
      const group *w[ROW_PANELS];
#pragma GCC unroll UNROLL
      for (size_t r = 0; r < R; r++) {
        prefetch_group(type, block[r], g);
        unpack_group(type, block[r], &six[r], (int)g, &weights[r]);
        w[r] = &weights[r];
      }
      add_group(type, R, 1, w, record, total);
    }
#pragma GCC unroll UNROLL
    for (size_t r = 0; r < R; r++) block[r] += packed_block_bytes(type);
  }
  if (p->act) lanes_act(p->act, R, total);
#pragma GCC unroll UNROLL
  for (size_t r = 0; r < R; r++) {
    const size_t column = (panel + r) * PACKED_ROWS;
    lanes_store_part(p->y + column, p->w->N - column, total[r]);
  }
}

/* R is a constant from here on. */
ALWAYS_INLINE void quant_row_any(const quant_product *p, size_t R, size_t panel) {
  switch (p->type) {
  case QUANT_Q8_0:
    quant_row_of(QUANT_Q8_0, p, R, panel);
    break;
  case QUANT_Q4_0:
    quant_row_of(QUANT_Q4_0, p, R, panel);
    break;
  case QUANT_Q4_1:
    quant_row_of(QUANT_Q4_1, p, R, panel);
    break;
  case QUANT_Q5_0:
    quant_row_of(QUANT_Q5_0, p, R, panel);
    break;
  case QUANT_Q5_1:
    quant_row_of(QUANT_Q5_1, p, R, panel);
    break;
  case QUANT_Q4_K:
    quant_row_of(QUANT_Q4_K, p, R, panel);
    break;
  case QUANT_Q5_K:
    quant_row_of(QUANT_Q5_K, p, R, panel);
    break;
  default:
    quant_row_of(QUANT_Q6_K, p, R, panel);
  }
}

static void quant_row(const quant_product *p, size_t from, size_t to) {
  for (; from + ROW_PANELS <= to; from += ROW_PANELS) quant_row_any(p, ROW_PANELS, from);
  for (; from < to; from++) quant_row_any(p, 1, from);
}

/* --- weights of 16 bits ------------------------------------------------------------------------------------------- */

ALWAYS_INLINE void half_row_of(const packed_product *p, bool bf16, size_t R, size_t panel) {
  float *y = p->y + panel * PACKED_ROWS;
  const exact_product e = exact_product_of(p, panel, &p->x, &y);
  exact_tile(&e, bf16, R, 1, R > 1 ? 1 : EXACT_ROWS / 2);
}

static void half_row(const packed_product *p, size_t from, size_t to) {
  const bool bf16 = p->w.type == DTYPE_BF16;
  for (; from + ROW_PANELS <= to; from += ROW_PANELS)
    bf16 ? half_row_of(p, true, ROW_PANELS, from) : half_row_of(p, false, ROW_PANELS, from);
  for (; from < to; from++) bf16 ? half_row_of(p, true, 1, from) : half_row_of(p, false, 1, from);
}

/* --- several products --------------------------------------------------------------------------------------------- */

/* Groups of ROW_PANELS panels of all products, one after the other: those of product i begin at first[i]. */
typedef struct {
  size_t n, panels[ROW_PRODUCTS], first[ROW_PRODUCTS + 1];
  const packed_product *product;
  quant_product quant[ROW_PRODUCTS]; /* of those with block types */
} row_products;

static void open_products(row_products *all, size_t n, const packed_product *product) {
  all->n = n;
  all->product = product;
  all->first[0] = 0;
  for (size_t i = 0; i < n; i++) {
    const packed_product *p = &product[i];
    all->panels[i] = (p->w.N + PACKED_ROWS - 1) / PACKED_ROWS;
    all->first[i + 1] = all->first[i] + (all->panels[i] + ROW_PANELS - 1) / ROW_PANELS;
    if (!dtype_is_quant(p->w.type)) continue;
    all->quant[i] = quant_product_of(p);
    for (size_t chunk = 0; chunk < chunk_count(&all->quant[i].rows); chunk++) round_tile(&all->quant[i].rows, chunk, 0);
  }
}

static void some_groups(const row_products *all, size_t from, size_t to) {
  for (size_t i = 0; i < all->n; i++) {
    if (to <= all->first[i] || from >= all->first[i + 1]) continue;
    const size_t first = from > all->first[i] ? (from - all->first[i]) * ROW_PANELS : 0,
                 end = smaller((to - all->first[i]) * ROW_PANELS, all->panels[i]);
    if (dtype_is_quant(all->product[i].w.type))
      quant_row(&all->quant[i], first, end);
    else
      half_row(&all->product[i], first, end);
  }
}

static void product_row(size_t n, const packed_product *product) {
  row_products all;
  size_t weights = 0;
  for (size_t i = 0; i < n; i++) weights += product[i].w.N * product[i].w.K;
  open_products(&all, n, product);
  parts work;
  parts_cut(&work, all.first[n]);
#pragma omp parallel for schedule(dynamic) if (weights >= QUANT_PARALLEL_MIN)
  for (size_t part = 0; part < work.count; part++) some_groups(&all, work.from[part], work.from[part + 1]);
}

void CPU_FAMILY(product_row)(cpu_kernels *table);
void CPU_FAMILY(product_row)(cpu_kernels *table) { table->product_row = product_row; }
