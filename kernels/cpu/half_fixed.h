/* Products of 16-bit weights and many rows, in integers. Weights and activations are cut into runs of FIXED_RUN values
 * of a row. In each run they are rounded to integers of 12 or 13 bits and a sign with a step of their own, so that the
 * sum of a run's products is an exact integer, which is then multiplied with both steps and added up in f32: the only
 * error is that of rounding, about as large as that of activations in f16. A step of weights is a power of two, and
 * most weights of BF16 are not rounded at all.
 *
 * Rows and panels that this does not suit (infinities, NaN, very large or very small values) are found on the way and
 * computed by half_exact.h instead. */
#ifndef LINNET_KERNELS_CPU_HALF_FIXED_H
#define LINNET_KERNELS_CPU_HALF_FIXED_H

#include "kernels/cpu/half_exact.h"
#include "kernels/cpu/panels.h"

enum {
  FIXED_RUN = 64,
  FIXED_CHUNK = 256, /* values of each row that are in the first cache at once */
  FIXED_LINES = FIXED_CHUNK / 2,
  FIXED_RUNS = FIXED_CHUNK / FIXED_RUN,
  FIXED_W = 4095, /* the largest integers: FIXED_RUN * FIXED_W * FIXED_X < 2^31 */
  FIXED_X = 8191,
};

/* The activations: chunk after chunk, of each the rows one after the other. */
typedef struct {
  const packed_product *all;
  int16_t *values; /* [chunk][M][FIXED_CHUNK], of the last chunk fewer */
  float *steps;    /* [run][M] */
  uint8_t *exact;  /* [M]: rows that must not be rounded */
} fixed_product;

static inline size_t fixed_width(size_t K) { return K + K % 2; }
static inline size_t fixed_runs(size_t K) { return (K + FIXED_RUN - 1) / FIXED_RUN; }

static inline fixed_product fixed_open(const packed_product *all) {
  const size_t M = all->M, K = all->w.K;
  fixed_product p = {.all = all, .values = all->room};
  p.steps = (float *)(void *)(p.values + M * fixed_width(K)); /* the width is even: aligned */
  p.exact = (uint8_t *)(p.steps + M * fixed_runs(K));
  return p;
}

/* --- activations -------------------------------------------------------------------------------------------------- */

/* The bits of the largest size, which are in the order of the sizes; those of a NaN are beyond infinity's. */
static inline int32_t largest(const float *x, size_t n) {
  int32_t most = 0;
#pragma omp simd reduction(max : most)
  for (size_t i = 0; i < n; i++) {
    const int32_t size = (int32_t)(bits_of_float(x[i]) & 0x7fffffffu);
    most = size > most ? size : most;
  }
  return most;
}

/* Rounds up to FIXED_RUN values, the largest of size `most`; returns their step. Steps that would be lost beside 2^-60
 * are zero. */
static inline float round_run(const float *restrict x, size_t n, float most, int16_t *restrict out) {
  const float factor = most > 0x1p-100f ? FIXED_X / most : 0;
#pragma omp simd
  for (size_t i = 0; i < n; i++) out[i] = (int16_t)bits_of_float(x[i] * factor + ROUND_SHIFT);
  return factor > 0 ? most / FIXED_X : 0;
}

static void fixed_row(const fixed_product *p, size_t m) {
  const size_t K = p->all->w.K, width = fixed_width(K);
  const float *x = p->all->x + m * K;
  float *steps = p->steps + m; /* at first the largest of each run */
  int32_t all = 0;
  for (size_t k = 0, run = 0; k < K; k += FIXED_RUN, run++) {
    const int32_t here = largest(x + k, smaller(FIXED_RUN, K - k));
    steps[run * p->all->M] = float_of_bits((uint32_t)here);
    all = here > all ? here : all;
  }
  const float most = float_of_bits((uint32_t)all);
  const bool suits = most == 0 || (most > 0x1p-60f && most < 0x1p60f);
  p->exact[m] = !suits;
  for (size_t k = 0; k < K; k += FIXED_RUN) {
    const size_t chunk = k / FIXED_CHUNK * FIXED_CHUNK, stride = smaller(FIXED_CHUNK, width - chunk),
                 n = smaller(FIXED_RUN, K - k);
    int16_t *to = p->values + chunk * p->all->M + m * stride + (k - chunk);
    float *step = steps + k / FIXED_RUN * p->all->M;
    if (suits)
      *step = round_run(x + k, n, *step, to);
    else
      *step = 0, memset(to, 0, n * sizeof *to);
    if (n % 2) to[n] = 0;
  }
}

/* --- weights ------------------------------------------------------------------------------------------------------ */

/* A chunk of some panels. */
typedef struct {
  _Alignas(LINE_BYTES) uint8_t lines[FIXED_PANELS][FIXED_LINES][LINE_BYTES];
  _Alignas(LINE_BYTES) float steps[FIXED_PANELS][FIXED_RUNS][LANES];
} fixed_weights;

/* What the weights of a run are multiplied with and, its inverse, their step. Weights are below 2 to the power of
 * their exponent - bias + 1 and become integers below 2^12. False if one is not finite, or too small for that. */
static inline bool fixed_factors(bool bf16, line most, float factor[LANES], float step[LANES]) {
  const int fraction = bf16 ? 7 : 10, top = bf16 ? 255 : 31, bias = bf16 ? 127 : 15;
  const int least = bf16 ? 12 : 1; /* exponents for which 2^(11 + bias - e) and its inverse are normal numbers */
  uint16_t sizes[2 * LANES];
  line_store(sizes, most);
  int wrong = 0;
  for (int i = 0; i < LANES; i++) {
    const int size = sizes[2 * i] > sizes[2 * i + 1] ? sizes[2 * i] : sizes[2 * i + 1], e = size >> fraction;
    const int used = e < least ? least : e;
    wrong |= (e == top) | (bf16 & (e < least) & (size > 0));
    factor[i] = float_of_bits((uint32_t)(11 + bias - used + 127) << 23);
    step[i] = float_of_bits((uint32_t)(used - 11 - bias + 127) << 23);
  }
  return !wrong;
}

/* Rounds n lines. False if they must not be. */
ALWAYS_INLINE bool round_lines(bool bf16, const uint8_t *from, size_t n, uint8_t *to, float *step) {
  const uint8_t zeros[LINE_BYTES] = {0};
  line most = line_load(zeros);
  for (size_t s = 0; s < n; s++) most = line_largest(most, line_load(from + s * LINE_BYTES));
  float factor[LANES];
  if (!fixed_factors(bf16, most, factor, step)) {
    memset(to, 0, n * LINE_BYTES);
    return false;
  }
  const wide factors = wide_rows(bf16, lanes_load(factor));
  for (size_t s = 0; s < n; s++)
    line_store(to + s * LINE_BYTES, wide_round(bf16, widen(bf16, from + s * LINE_BYTES), factors));
  return true;
}

static bool fixed_lines(bool bf16, const uint8_t *from, size_t n, uint8_t *to, float *step) {
  return bf16 ? round_lines(true, from, n, to, step) : round_lines(false, from, n, to, step);
}

/* --- the kernel --------------------------------------------------------------------------------------------------- */

/* Where a tile of T rows and R panels is: `lines` of a chunk. */
typedef struct {
  const fixed_weights *w;
  size_t lines, stride, M;
  const int16_t *x;           /* rows: `stride` apart */
  const float *steps;         /* runs: M apart */
  lanes (*sum)[FIXED_PANELS]; /* of each row; added to */
} fixed_tile;

ALWAYS_INLINE void fixed_sums(const fixed_tile *p, size_t T, size_t R, size_t panel) {
  lanes total[FIXED_ROWS * FIXED_PANELS];
#pragma GCC unroll 6
  for (size_t t = 0; t < T; t++)
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) total[t * R + r] = p->sum[t][panel + r];
  for (size_t start = 0, run = 0; start < p->lines; start += FIXED_RUN / 2, run++) {
    const size_t end = smaller(start + FIXED_RUN / 2, p->lines);
    sums sum[FIXED_ROWS * FIXED_PANELS];
#pragma GCC unroll 24
    for (size_t i = 0; i < T * R; i++) sum[i] = sums_none();
    for (size_t s = start; s < end; s++) {
      line w[FIXED_PANELS];
#pragma GCC unroll 4
      for (size_t r = 0; r < R; r++) w[r] = line_load(p->w->lines[panel + r][s]);
#pragma GCC unroll 6
      for (size_t t = 0; t < T; t++) {
        const four x = four_load(p->x + t * p->stride + 2 * s);
#pragma GCC unroll 4
        for (size_t r = 0; r < R; r++) dot_pair(&sum[t * R + r], w[r], x);
      }
    }
#pragma GCC unroll 6
    for (size_t t = 0; t < T; t++) {
      const lanes step = lanes_all(p->steps + run * p->M + t);
#pragma GCC unroll 4
      for (size_t r = 0; r < R; r++)
        total[t * R + r] = lanes_fused(total[t * R + r], lanes_product(sums_values(sum[t * R + r]), step),
                                       lanes_load(p->w->steps[panel + r][run]));
    }
  }
#pragma GCC unroll 6
  for (size_t t = 0; t < T; t++)
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) p->sum[t][panel + r] = total[t * R + r];
}

ALWAYS_INLINE void fixed_rows(const fixed_tile *p, size_t T, size_t R, size_t panel) {
  switch (T) {
#if defined(__AVX512F__)
  case 6:
    fixed_sums(p, 6, R, panel);
    return;
  case 5:
    fixed_sums(p, 5, R, panel);
    return;
#endif
  case 4:
    fixed_sums(p, 4, R, panel);
    return;
  case 3:
    fixed_sums(p, 3, R, panel);
    return;
  case 2:
    fixed_sums(p, 2, R, panel);
    return;
  default:
    fixed_sums(p, 1, R, panel);
    return;
  }
}

/* All rows of a chunk and `panels` panels. */
static void fixed_chunk(fixed_tile tile, size_t panels, const next_weights *next) {
  for (size_t m = 0; m < tile.M; m += FIXED_ROWS) {
    ask_for_share(next, m / FIXED_ROWS);
    const size_t rows = smaller(FIXED_ROWS, tile.M - m);
    for (size_t at = 0, R; at < panels; at += R) {
      const size_t left = panels - at;
      fixed_tile here = tile;
      here.x += m * tile.stride;
      here.steps += m;
      here.sum += m;
      R = left >= FIXED_PANELS ? FIXED_PANELS : left >= 2 ? 2 : 1;
      if (R == FIXED_PANELS)
        fixed_rows(&here, rows, FIXED_PANELS, at);
      else if (FIXED_PANELS > 2 && R == 2)
        fixed_rows(&here, rows, 2, at);
      else
        fixed_rows(&here, rows, 1, at);
    }
  }
}

/* The rows that must not be rounded, or all. */
static void exact_panel(const fixed_product *p, size_t panel, bool all) {
  size_t rows[EXACT_MOST], n = 0;
  for (size_t m = 0; m < p->all->M; m++) {
    if (all || p->exact[m]) rows[n++] = m;
    if (n == EXACT_MOST || (n > 0 && m + 1 == p->all->M)) exact_rows(p->all, panel, n, 0, rows), n = 0;
  }
}

/* After the chunk at k: the next chunk's or, after the last one, those of the next panels. */
static next_weights next_of(const fixed_product *p, size_t first, size_t panels, size_t k) {
  const size_t width = fixed_width(p->all->w.K), bytes = packed_panel_bytes(p->all->w.type, p->all->w.K),
               last = (p->all->w.N - 1) / PACKED_ROWS, tiles = (p->all->M + FIXED_ROWS - 1) / FIXED_ROWS;
  const bool more = k + FIXED_CHUNK < width;
  const size_t next = more ? k + FIXED_CHUNK : 0, lines = smaller(FIXED_CHUNK, width - next) / 2;
  next_weights w = {.panels = panels, .share = lines * LINE_BYTES / tiles};
  for (size_t r = 0; r < panels; r++)
    w.at[r] = (const uint8_t *)p->all->w.data + smaller(first + r + (more ? 0 : panels), last) * bytes +
              next / 2 * LINE_BYTES;
  return w;
}

/* Up to FIXED_PANELS panels, all rows. */
static void fixed_panels(const fixed_product *p, size_t first, size_t panels) {
  const size_t K = p->all->w.K, width = fixed_width(K), N = p->all->w.N, bytes = packed_panel_bytes(p->all->w.type, K);
  const uint8_t *data = (const uint8_t *)p->all->w.data + first * bytes;
  const panel_place place = {p->all->M, FIXED_PANELS, N - first * LANES, N, p->all->y + first * LANES, p->all->act};
  lanes sum[PRODUCT_ROWS_MAX][FIXED_PANELS];
  fixed_weights w;
  bool wrong[FIXED_PANELS] = {false};
  panel_sums_begin(&place, true, *sum);
  for (size_t k = 0; k < width; k += FIXED_CHUNK) {
    const size_t lines = smaller(FIXED_CHUNK, width - k) / 2;
    for (size_t r = 0; r < panels; r++)
      for (size_t s = 0, run = 0; s < lines; s += FIXED_RUN / 2, run++)
        wrong[r] |= !fixed_lines(p->all->w.type == DTYPE_BF16, data + r * bytes + (k / 2 + s) * LINE_BYTES,
                                 smaller(FIXED_RUN / 2, lines - s), w.lines[r][s], w.steps[r][run]);
    const fixed_tile tile = {.w = &w,
                             .lines = lines,
                             .stride = 2 * lines,
                             .M = p->all->M,
                             .x = p->values + k * p->all->M,
                             .steps = p->steps + k / FIXED_RUN * p->all->M,
                             .sum = sum};
    const next_weights next = next_of(p, first, panels, k);
    fixed_chunk(tile, panels, &next);
  }
  panel_sums_end(&place, *sum);
  for (size_t r = 0; r < panels; r++) exact_panel(p, first + r, wrong[r]);
}

#endif
