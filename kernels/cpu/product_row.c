/* y = x w^T of single rows, as a decode step has them: memory decides. Weights go through registers, those of some
 * panels side by side, since from one stream alone a processor does not get all that its memory gives. Of several
 * products threads take parts in turn as if they were one: they are called once, and wait for each other once.
 *
 * Lines of weights that meet only zeros of the row are not even read where there are enough of them (a squared ReLU
 * leaves little else): of Q8_0 those that meet four zeros, of 16-bit types two. The sums are the same. */
#include "kernels/cpu/variant.h"

#include "kernels/cpu/half_exact.h"
#include "kernels/cpu/parts.h"
#include "kernels/cpu/quant_product.h"

/* --- lines that meet zeros ---------------------------------------------------------------------------------------- */

/* For each GROUP values of a row a word with a bit for each line that meets something else; SKIP_AHEAD words of zero
 * follow, since lines are asked for so many words before they are used. */
typedef uint16_t line_bits;
enum { SKIP_AHEAD = 2, PAIR_LINES = GROUP / 2 };

static inline size_t first_bit(unsigned bits) { return (size_t)__builtin_ctz(bits); }

/* Whether a row has as many zeros as it takes for looking further. */
static inline bool has_zeros(const float *x, size_t n) {
  size_t zeros = 0;
#pragma omp simd reduction(+ : zeros)
  for (size_t i = 0; i < n; i++) zeros += x[i] == 0;
  return 4 * zeros >= n;
}

/* The words [words + SKIP_AHEAD] of a row that meets so many lines; NULL if looking at them does not pay. */
static const line_bits *worth_skipping(line_bits *bits, size_t words, size_t lines) {
  size_t some = 0;
  for (size_t i = 0; i < words; i++) some += (size_t)__builtin_popcount(bits[i]);
  for (size_t i = 0; i < SKIP_AHEAD; i++) bits[words + i] = 0;
  return some < lines && 3 * some <= 2 * lines ? bits : NULL;
}

/* --- weights of block types --------------------------------------------------------------------------------------- */

_Static_assert(ROW_PANELS <= TILE_TOKENS * TILE_PANELS, "add_group() has room for them");

ALWAYS_INLINE void quant_row_end(const quant_product *p, size_t R, size_t panel, lanes *total) {
  lanes_act(p->all->act, R, total);
#pragma GCC unroll UNROLL
  for (size_t r = 0; r < R; r++) {
    const size_t column = (panel + r) * PACKED_ROWS;
    lanes_store_part(p->all->y + column, p->all->w.N - column, total[r]);
  }
}

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
  quant_row_end(p, R, panel, total);
}

/* Behind the records of a row with Q8_0; NULL if there are few zeros. */
static const line_bits *zero_fours(const quant_product *p) {
  const size_t blocks = p->rows.blocks;
  line_bits *bits = (line_bits *)(void *)(p->rows.records + blocks * RECORD_BYTES);
  if (p->type != QUANT_Q8_0 || !has_zeros(p->rows.x, blocks * GROUP)) return NULL;
  for (size_t b = 0; b < blocks; b++) {
    const uint8_t *record = p->rows.records + b * RECORD_BYTES;
    bits[b] = 0;
    for (unsigned s = 0; s < GROUP_LINES; s++) bits[b] |= (line_bits)((load_i32(record + 4 * s) != 0) << s);
  }
  return worth_skipping(bits, blocks, blocks * GROUP_LINES);
}

ALWAYS_INLINE void sparse_quant_row(const quant_product *p, const line_bits *bits, size_t R, size_t panel) {
  const size_t bytes = packed_block_bytes(QUANT_Q8_0), low = (size_t)packed_places_of(layout_of(QUANT_Q8_0)).low;
  const uint8_t *block = panel_data(p, panel), *record = p->rows.records;
  const size_t stride = packed_panel_bytes(p->all->w.type, p->all->w.K);
  lanes total[ROW_PANELS];
#pragma GCC unroll UNROLL
  for (size_t r = 0; r < R; r++) total[r] = lanes_zero();
  for (size_t b = 0; b < p->rows.blocks; b++, block += bytes, record += RECORD_BYTES) {
    const uint8_t *later = block + SKIP_AHEAD * bytes;
    sums sum[ROW_PANELS];
#pragma GCC unroll UNROLL
    for (size_t r = 0; r < R; r++) __builtin_prefetch(later + r * stride), sum[r] = sums_load(record + RECORD_START);
    for (unsigned left = bits[b + SKIP_AHEAD]; left; left &= left - 1)
#pragma GCC unroll UNROLL
      for (size_t r = 0; r < R; r++) __builtin_prefetch(later + r * stride + low + first_bit(left) * LINE_BYTES);
    for (unsigned left = bits[b]; left; left &= left - 1) {
      const size_t s = first_bit(left);
      const four x = four_load(record + 4 * s);
#pragma GCC unroll UNROLL
      for (size_t r = 0; r < R; r++) dot_8(&sum[r], line_load(block + r * stride + low + s * LINE_BYTES), x);
    }
#pragma GCC unroll UNROLL
    for (size_t r = 0; r < R; r++)
      total[r] = lanes_fused(total[r], sums_times(sum[r], record + RECORD_STEP, record + RECORD_SHIFT),
                             lanes_half(block + r * stride));
  }
  quant_row_end(p, R, panel, total);
}

/* R is a constant from here on. */
ALWAYS_INLINE void quant_row_any(const quant_product *p, const line_bits *bits, size_t R, size_t panel) {
  if (bits) {
    sparse_quant_row(p, bits, R, panel);
    return;
  }
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

static void quant_row(const quant_product *p, const line_bits *bits, size_t from, size_t to) {
  for (; from + ROW_PANELS <= to; from += ROW_PANELS) quant_row_any(p, bits, ROW_PANELS, from);
  for (; from < to; from++) quant_row_any(p, bits, 1, from);
}

/* --- weights of 16 bits ------------------------------------------------------------------------------------------- */

/* In the room of a row, which nothing else needs; NULL if there are few zeros. */
static const line_bits *zero_pairs(const packed_product *p) {
  const size_t K = p->w.K, words = (K + GROUP - 1) / GROUP;
  line_bits *bits = p->room;
  if (!has_zeros(p->x, K)) return NULL;
  for (size_t i = 0; i < words; i++) {
    bits[i] = 0;
    for (size_t k = i * GROUP; k < smaller(K, (i + 1) * GROUP); k++)
      bits[i] |= (line_bits)((p->x[k] != 0) << k % GROUP / 2);
  }
  return worth_skipping(bits, words, (K + 1) / 2);
}

ALWAYS_INLINE void sparse_half_row(const exact_product *p, const line_bits *bits, bool bf16, size_t R) {
  const float *row = *p->x, last[2] = {row[p->K - 1], 0};
  const uint8_t *from = p->panel;
  wide sum[ROW_PANELS];
#pragma GCC unroll UNROLL
  for (size_t r = 0; r < R; r++) sum[r] = (wide){lanes_zero(), lanes_zero()};
  for (size_t i = 0; i * GROUP < p->K; i++, from += PAIR_LINES * LINE_BYTES) {
    const uint8_t *later = from + SKIP_AHEAD * PAIR_LINES * LINE_BYTES;
    for (unsigned left = bits[i + SKIP_AHEAD]; left; left &= left - 1)
#pragma GCC unroll UNROLL
      for (size_t r = 0; r < R; r++) __builtin_prefetch(later + r * p->bytes + first_bit(left) * LINE_BYTES);
    for (unsigned left = bits[i]; left; left &= left - 1) {
      const size_t s = first_bit(left), k = i * GROUP + 2 * s;
      const wide x = wide_pair(bf16, k + 1 < p->K ? row + k : last);
#pragma GCC unroll UNROLL
      for (size_t r = 0; r < R; r++)
        sum[r] = wide_add_products(sum[r], widen(bf16, from + r * p->bytes + s * LINE_BYTES), x);
    }
  }
#pragma GCC unroll UNROLL
  for (size_t r = 0; r < R; r++) exact_end(p, bf16, 0, r, sum[r]);
}

/* bf16 and R are constants from here on. */
ALWAYS_INLINE void half_row_of(const packed_product *p, const line_bits *bits, bool bf16, size_t R, size_t panel) {
  float *y = p->y + panel * PACKED_ROWS;
  const exact_product e = exact_product_of(p, panel, &p->x, &y);
  if (bits)
    sparse_half_row(&e, bits, bf16, R);
  else
    exact_tile(&e, bf16, R, 1, R > 1 ? 1 : EXACT_ROWS / 2);
}

ALWAYS_INLINE void half_row_any(const packed_product *p, const line_bits *bits, size_t R, size_t panel) {
  if (p->w.type == DTYPE_BF16)
    half_row_of(p, bits, true, R, panel);
  else
    half_row_of(p, bits, false, R, panel);
}

static void half_row(const packed_product *p, const line_bits *bits, size_t from, size_t to) {
  for (; from + ROW_PANELS <= to; from += ROW_PANELS) half_row_any(p, bits, ROW_PANELS, from);
  for (; from < to; from++) half_row_any(p, bits, 1, from);
}

/* --- several products --------------------------------------------------------------------------------------------- */

/* Groups of ROW_PANELS panels of all products, one after the other: those of product i begin at first[i]. */
typedef struct {
  size_t n, panels[ROW_PRODUCTS], first[ROW_PRODUCTS + 1];
  const packed_product *product;
  quant_product quant[ROW_PRODUCTS]; /* of those with block types */
  const line_bits *bits[ROW_PRODUCTS];
} row_products;

static void open_products(row_products *all, size_t n, const packed_product *product) {
  all->n = n;
  all->product = product;
  all->first[0] = 0;
  for (size_t i = 0; i < n; i++) {
    const packed_product *p = &product[i];
    all->panels[i] = (p->w.N + PACKED_ROWS - 1) / PACKED_ROWS;
    all->first[i + 1] = all->first[i] + (all->panels[i] + ROW_PANELS - 1) / ROW_PANELS;
    if (!dtype_is_quant(p->w.type)) {
      all->bits[i] = zero_pairs(p);
      continue;
    }
    all->quant[i] = quant_product_of(p);
    for (size_t chunk = 0; chunk < chunk_count(&all->quant[i].rows); chunk++) round_tile(&all->quant[i].rows, chunk, 0);
    all->bits[i] = zero_fours(&all->quant[i]);
  }
}

static void some_groups(const row_products *all, size_t from, size_t to) {
  for (size_t i = 0; i < all->n; i++) {
    if (to <= all->first[i] || from >= all->first[i + 1]) continue;
    const size_t first = from > all->first[i] ? (from - all->first[i]) * ROW_PANELS : 0,
                 end = smaller((to - all->first[i]) * ROW_PANELS, all->panels[i]);
    if (dtype_is_quant(all->product[i].w.type))
      quant_row(&all->quant[i], all->bits[i], first, end);
    else
      half_row(&all->product[i], all->bits[i], first, end);
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
