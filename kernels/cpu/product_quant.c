/* y = x w^T of several rows, with weights of ggml's block types (quant_product.h). The rows share the weights: some
 * blocks of two panels are unpacked, stay in the first cache, and meet all rows, a tile of tokens at a time. Of many
 * rows no more is taken at once than the second cache holds. */
#include "kernels/cpu/variant.h"

#include "kernels/cpu/panels.h"
#include "kernels/cpu/parts.h"
#include "kernels/cpu/quant_product.h"

/* Activations that are read again and again should stay in a processor's second cache. */
#define CACHED_BYTES ((size_t)1 << 20)

/* --- some panels -------------------------------------------------------------------------------------------------- */

/* Chunks from..to - 1 of as many panels as a tile has, and all rows. */
typedef struct {
  const quant_product *p;
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

static inline const uint8_t *chunk_data(quant_type type, const quant_product *p, size_t chunk, size_t panel) {
  const size_t last = (p->all->w.N - 1) / PACKED_ROWS;
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

ALWAYS_INLINE void unpack_chunk_of(quant_type type, const quant_product *p, size_t chunk, size_t panel, group *out) {
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

static void unpack_chunk(const quant_product *p, size_t chunk, size_t panel, group *out) {
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

static void some_panels(const quant_product *p, size_t from, size_t to, size_t panel) {
  const size_t column = panel * PACKED_ROWS, N = p->all->w.N;
  const panel_place place = {p->rows.M, TILE_PANELS,        N - column,
                             N,         p->all->y + column, to == chunk_count(&p->rows) ? p->all->act : ACT_NONE};
  lanes sum[PRODUCT_ROWS_MAX][TILE_PANELS];
  span s = {p, from, to, panel, sum};
  panel_sums_begin(&place, from == 0, *sum);
  for (size_t chunk = from; chunk < to; chunk++) add_chunk(&s, chunk);
  panel_sums_end(&place, *sum);
}

/* --- the product -------------------------------------------------------------------------------------------------- */

static void product_quant(const packed_product *all) {
  const quant_product product = quant_product_of(all), *p = &product;
  const size_t M = all->M, tiles = tile_count(&p->rows), chunks = chunk_count(&p->rows),
               width = TILE_PANELS * PACKED_ROWS;
  /* The records that all panels meet, before any of them goes on. */
  const size_t fit = CACHED_BYTES / (M * CHUNK * RECORD_BYTES), length = fit > 1 ? fit : 1;
  parts work;
  parts_cut(&work, (p->all->w.N + width - 1) / width);
#pragma omp parallel if (M * p->all->w.N * p->all->w.K >= QUANT_PARALLEL_MIN)
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

void CPU_FAMILY(product_quant)(cpu_kernels *table);
void CPU_FAMILY(product_quant)(cpu_kernels *table) { table->product_quant = product_quant; }
