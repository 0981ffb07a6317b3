/* y = x w^T with weights of ggml's block types. The activations are rounded to 8 bits in blocks of 32 (quant_rows.h),
 * so that sums of products are exact integers until they meet the steps of weights and activations:
 *   y = sum over blocks of step_w (step_x sum (q - zero) a) + min_w (step_x sum a)
 * An output is summed in the order of its blocks, however many rows and threads there are.
 *
 * One row reads the weights through registers, those of some panels side by side. Several rows share them: some blocks
 * of two panels are unpacked, stay in the first cache, and meet all rows, a tile of tokens at a time. Of many rows no
 * more is taken at once than the second cache holds. */
#include "kernels/cpu/variant.h"

#include "kernels/cpu/panels.h"
#include "kernels/cpu/parts.h"
#include "kernels/cpu/quant_rows.h"
#include "kernels/cpu/quant_weights.h"

/* Products of whole numbers are cheap: below this many, one thread is faster. */
#define QUANT_PARALLEL_MIN (4 * CPU_PARALLEL_MIN)
/* Activations that are read again and again should stay in a processor's second cache. */
#define CACHED_BYTES ((size_t)1 << 20)

typedef struct {
  const packed_matrix *w;
  quant_type type;
  quant_rows rows;
  float *y;
} product;

static inline const uint8_t *panel_data(const product *p, size_t panel) {
  return (const uint8_t *)p->w->data + panel * packed_panel_bytes(p->w->type, p->w->K);
}

/* --- the kernel --------------------------------------------------------------------------------------------------- */

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

/* --- one row ------------------------------------------------------------------------------------------------------ */

_Static_assert(ROW_PANELS <= TILE_TOKENS * TILE_PANELS, "add_group() has room for them");

ALWAYS_INLINE void one_row_of(quant_type type, const product *p, size_t R, size_t panel) {
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
#pragma GCC unroll UNROLL
  for (size_t r = 0; r < R; r++) {
    const size_t column = (panel + r) * PACKED_ROWS;
    lanes_store_part(p->y + column, p->w->N - column, total[r]);
  }
}

/* R is a constant from here on. */
ALWAYS_INLINE void one_row_any(const product *p, size_t R, size_t panel) {
  switch (p->type) {
  case QUANT_Q8_0:
    one_row_of(QUANT_Q8_0, p, R, panel);
    break;
  case QUANT_Q4_0:
    one_row_of(QUANT_Q4_0, p, R, panel);
    break;
  case QUANT_Q4_1:
    one_row_of(QUANT_Q4_1, p, R, panel);
    break;
  case QUANT_Q5_0:
    one_row_of(QUANT_Q5_0, p, R, panel);
    break;
  case QUANT_Q5_1:
    one_row_of(QUANT_Q5_1, p, R, panel);
    break;
  case QUANT_Q4_K:
    one_row_of(QUANT_Q4_K, p, R, panel);
    break;
  case QUANT_Q5_K:
    one_row_of(QUANT_Q5_K, p, R, panel);
    break;
  default:
    one_row_of(QUANT_Q6_K, p, R, panel);
  }
}

static void one_row(const product *p, size_t from, size_t to) {
  for (; from + ROW_PANELS <= to; from += ROW_PANELS) one_row_any(p, ROW_PANELS, from);
  for (; from < to; from++) one_row_any(p, 1, from);
}

/* --- several rows ------------------------------------------------------------------------------------------------- */

/* Chunks from..to - 1 of as many panels as a tile has, and all rows. */
typedef struct {
  const product *p;
  size_t from, to, panel;
  lanes (*sum)[TILE_PANELS]; /* of each row */
} span;

/* `blocks` groups of panels, w [TILE_PANELS][CHUNK], meet the records of a tile of T tokens, whose totals follow. */
ALWAYS_INLINE void tile_of(quant_type type, size_t T, size_t blocks, group (*w)[CHUNK], const uint8_t *record,
                           lanes (*to)[TILE_PANELS]) {
  const size_t R = TILE_PANELS;
  lanes total[TILE_TOKENS * TILE_PANELS];
#pragma GCC unroll UNROLL
  for (size_t i = 0; i < T; i++)
#pragma GCC unroll UNROLL
    for (size_t r = 0; r < R; r++) total[i * R + r] = to[i][r];
  for (size_t b = 0; b < blocks; b++, record += T * RECORD_BYTES) {
    const group *now[TILE_PANELS];
#pragma GCC unroll UNROLL
    for (size_t r = 0; r < R; r++) now[r] = &w[r][b];
    add_group(type, R, T, now, record, total);
  }
#pragma GCC unroll UNROLL
  for (size_t i = 0; i < T; i++)
#pragma GCC unroll UNROLL
    for (size_t r = 0; r < R; r++) to[i][r] = total[i * R + r];
}

/* A constant that no array of a tile is too small for. */
ALWAYS_INLINE size_t tokens(size_t T) { return smaller(T, TILE_TOKENS); }

static inline const uint8_t *chunk_data(quant_type type, const product *p, size_t chunk, size_t panel) {
  const size_t last = (p->w->N - 1) / PACKED_ROWS;
  return panel_data(p, smaller(panel, last)) + chunk * CHUNK / groups_in_block(type) * packed_block_bytes(type);
}

/* The next chunk's or, after the last one, those of the next panels. */
static next_weights next_of(const span *s, size_t chunk) {
  const quant_rows *rows = &s->p->rows;
  const quant_type type = s->p->type;
  const bool last = chunk + 1 == s->to;
  const size_t next = last ? s->from : chunk + 1, panel = s->panel + (last ? TILE_PANELS : 0),
               bytes = chunk_blocks(rows, next) / groups_in_block(type) * packed_block_bytes(type);
  next_weights w = {.panels = TILE_PANELS, .share = bytes / tile_count(rows)};
  for (size_t r = 0; r < TILE_PANELS; r++) w.at[r] = chunk_data(type, s->p, next, panel + r);
  return w;
}

/* All tiles of a chunk, whose weights are w; kind: any type of the same kind. */
ALWAYS_INLINE void chunk_of(quant_type kind, span *s, size_t chunk, group (*w)[CHUNK]) {
  const quant_rows *rows = &s->p->rows;
  const size_t blocks = chunk_blocks(rows, chunk);
  const next_weights next = next_of(s, chunk);
  for (size_t tile = 0; tile < tile_count(rows); tile++) {
    const uint8_t *record = tile_records(rows, chunk, tile);
    const size_t first = tile * TILE_TOKENS, T = tile_tokens(rows, tile);
    ask_for_share(&next, tile);
    switch (T) {
    case 1:
      tile_of(kind, 1, blocks, w, record, s->sum + first);
      break;
    case 2:
      tile_of(kind, 2, blocks, w, record, s->sum + first);
      break;
    case 3:
      tile_of(kind, 3, blocks, w, record, s->sum + first);
      break;
    case 4:
      tile_of(kind, tokens(4), blocks, w, record, s->sum + first);
      break;
    case 5:
      tile_of(kind, tokens(5), blocks, w, record, s->sum + first);
      break;
    default:
      tile_of(kind, TILE_TOKENS, blocks, w, record, s->sum + first);
    }
  }
}

ALWAYS_INLINE void unpack_chunk_of(quant_type type, const product *p, size_t chunk, size_t panel, group *out) {
  const uint8_t *block = chunk_data(type, p, chunk, panel);
  const size_t groups = chunk_blocks(&p->rows, chunk);
  for (size_t b = 0; b < groups; b += groups_in_block(type), block += packed_block_bytes(type)) {
    six_bits six;
    if (has_six_bits(type)) unpack_six_bits(block + packed_places_of(layout_of(type)).scales, &six);
#pragma GCC unroll UNROLL
    for (size_t g = 0; g < groups_in_block(type); g++) {
      prefetch_group(type, block, g);
      unpack_group(type, block, &six, (int)g, &out[b + g]);
    }
  }
}

static void unpack_chunk(const product *p, size_t chunk, size_t panel, group *out) {
  switch (p->type) {
  case QUANT_Q8_0:
    unpack_chunk_of(QUANT_Q8_0, p, chunk, panel, out);
    break;
  case QUANT_Q4_0:
    unpack_chunk_of(QUANT_Q4_0, p, chunk, panel, out);
    break;
  case QUANT_Q4_1:
    unpack_chunk_of(QUANT_Q4_1, p, chunk, panel, out);
    break;
  case QUANT_Q5_0:
    unpack_chunk_of(QUANT_Q5_0, p, chunk, panel, out);
    break;
  case QUANT_Q5_1:
    unpack_chunk_of(QUANT_Q5_1, p, chunk, panel, out);
    break;
  case QUANT_Q4_K:
    unpack_chunk_of(QUANT_Q4_K, p, chunk, panel, out);
    break;
  case QUANT_Q5_K:
    unpack_chunk_of(QUANT_Q5_K, p, chunk, panel, out);
    break;
  default:
    unpack_chunk_of(QUANT_Q6_K, p, chunk, panel, out);
  }
}

static void add_chunk(span *s, size_t chunk) {
  const quant_layout *t = layout_of(s->p->type);
  _Alignas(CACHE_LINE) group w[TILE_PANELS][CHUNK];
  for (size_t r = 0; r < TILE_PANELS; r++) unpack_chunk(s->p, chunk, s->panel + r, w[r]);
  if (t->bits == 8)
    chunk_of(QUANT_Q8_0, s, chunk, w);
  else if (t->m)
    chunk_of(QUANT_Q4_1, s, chunk, w);
  else if (t->group == HALF_BLOCK)
    chunk_of(QUANT_Q6_K, s, chunk, w);
  else
    chunk_of(QUANT_Q4_0, s, chunk, w);
}

static void some_panels(const product *p, size_t from, size_t to, size_t panel) {
  const size_t column = panel * PACKED_ROWS, N = p->w->N;
  const panel_place place = {p->rows.M, TILE_PANELS, N - column, N, p->y + column};
  lanes sum[PRODUCT_ROWS_MAX][TILE_PANELS];
  span s = {p, from, to, panel, sum};
  panel_sums_begin(&place, from == 0, *sum);
  for (size_t chunk = from; chunk < to; chunk++) add_chunk(&s, chunk);
  panel_sums_end(&place, *sum);
}

/* --- the product -------------------------------------------------------------------------------------------------- */

static product product_of(const packed_matrix *w, size_t M, const float *x, void *room, float *y) {
  const quant_type type = dtype_quant(w->type);
  const quant_layout *t = layout_of(type);
  const quant_rows rows = {.M = M,
                           .blocks = w->K / BLOCK,
                           .x = x,
                           .halves = t->group == HALF_BLOCK,
                           .zero = t->bits == 8 ? DOT_8_ZERO : t->zero,
                           .min_sign = has_six_bits(type) ? -1.0f : 1.0f,
                           .records = room};
  return (product){.w = w, .type = type, .rows = rows, .y = y};
}

static void product_of_one(const product *p) {
  const size_t panels = (p->w->N + PACKED_ROWS - 1) / PACKED_ROWS, chunks = chunk_count(&p->rows);
  parts work;
  parts_cut(&work, (panels + ROW_PANELS - 1) / ROW_PANELS);
  for (size_t chunk = 0; chunk < chunks; chunk++) round_tile(&p->rows, chunk, 0);
#pragma omp parallel for schedule(dynamic) if (p->w->N * p->w->K >= QUANT_PARALLEL_MIN)
  for (size_t part = 0; part < work.count; part++)
    one_row(p, work.from[part] * ROW_PANELS, smaller(work.from[part + 1] * ROW_PANELS, panels));
}

static void product_of_many(const product *p) {
  const size_t M = p->rows.M, tiles = tile_count(&p->rows), chunks = chunk_count(&p->rows),
               width = TILE_PANELS * PACKED_ROWS;
  /* The records that all panels meet, before any of them goes on. */
  const size_t fit = CACHED_BYTES / (M * CHUNK * RECORD_BYTES), length = fit > 1 ? fit : 1;
  parts work;
  parts_cut(&work, (p->w->N + width - 1) / width);
#pragma omp parallel if (M * p->w->N * p->w->K >= QUANT_PARALLEL_MIN)
  {
#pragma omp for schedule(static)
    for (size_t i = 0; i < chunks * tiles; i++) round_tile(&p->rows, i / tiles, i % tiles);
    for (size_t from = 0; from < chunks; from += length) {
#pragma omp for schedule(dynamic)
      for (size_t part = 0; part < work.count; part++)
        for (size_t i = work.from[part]; i < work.from[part + 1]; i++)
          some_panels(p, from, smaller(from + length, chunks), i * TILE_PANELS);
    }
  }
}

static void product_quant(const packed_matrix *w, size_t M, const float *x, void *room, float *y) {
  const product p = product_of(w, M, x, room, y);
  if (M == 1)
    product_of_one(&p);
  else
    product_of_many(&p);
}

void CPU_FAMILY(product_quant)(cpu_kernels *table);
void CPU_FAMILY(product_quant)(cpu_kernels *table) { table->product_quant = product_quant; }
