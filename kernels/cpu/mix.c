/* Token shift and the mixes of a token with its shifted self; spec operators 3, language-models 3.3 and 3.4. */
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/row_sums.h"

#include <string.h>

static void shift_row(size_t C, size_t period, size_t n_spans, const int32_t *c0, const int32_t *c1,
                      const float *const *from, float *y, bool acc) {
  for (size_t first = 0; first < C; first += period) {
    for (size_t g = 0; g < n_spans; g++) {
      const size_t at = first + (size_t)c0[g], width = (size_t)(c1[g] - c0[g]);
      const float *source = from[g] ? from[g] + at : NULL;
      if (acc && source) {
#pragma omp simd
        for (size_t c = 0; c < width; c++) y[at + c] += source[c];
      } else if (!acc && source) {
        memcpy(y + at, source, width * sizeof *y);
      } else if (!acc) {
        memset(y + at, 0, width * sizeof *y);
      }
    }
  }
}

static void shift_rows(size_t B, size_t T, size_t C, size_t period, size_t n_spans, const int32_t *c0,
                       const int32_t *c1, const int32_t *source, const float *x, const float *carry, float *y,
                       bool acc) {
  enum { SPANS = 16 }; /* spans resolved at a time; plans have 1 to 5 */
#pragma omp parallel for schedule(static) if (B * T * C >= CPU_PARALLEL_MIN)
  for (size_t row = 0; row < B * T; row++) {
    const size_t b = row / T, t = row % T;
    for (size_t g0 = 0; g0 < n_spans; g0 += SPANS) {
      const size_t count = smaller(SPANS, n_spans - g0);
      const float *from[SPANS];
      for (size_t g = 0; g < count; g++) {
        const int32_t s = source[(g0 + g) * T + t];
        from[g] = s >= 0 ? x + (b * T + (size_t)s) * C : s == -2 && carry ? carry + b * C : NULL;
      }
      shift_row(C, period, count, c0 + g0, c1 + g0, from, y + row * C, acc);
    }
  }
}

/* y = x + (s - x) f, f = mu + token_mu; either may be NULL. */
static void mix_row(size_t C, const float *restrict x, const float *restrict s, const float *restrict mu,
                    const float *restrict token_mu, float *restrict y) {
  if (mu && token_mu) {
#pragma omp simd
    for (size_t c = 0; c < C; c++) y[c] = x[c] + (s[c] - x[c]) * (mu[c] + token_mu[c]);
  } else {
    const float *restrict f = mu ? mu : token_mu;
#pragma omp simd
    for (size_t c = 0; c < C; c++) y[c] = x[c] + (s[c] - x[c]) * f[c];
  }
}

static void mix_forward(size_t K, size_t M, size_t C, const float *x, const float *s, const float *mu,
                        const float *token_mu, float *y) {
#pragma omp parallel for schedule(static) if (K * M * C >= CPU_PARALLEL_MIN)
  for (size_t m = 0; m < M; m++) {
    for (size_t k = 0; k < K; k++) {
      const size_t at = (k * M + m) * C;
      mix_row(C, x + m * C, s + m * C, mu ? mu + k * C : NULL, token_mu ? token_mu + at : NULL, y + at);
    }
  }
}

/* --- amounts of low rank ------------------------------------------------------------------------------------------ */

typedef struct {
  size_t K, M, C, R;
  const float *x, *s, *mu, *h, *w2;
  float *y;
  bool past; /* the caches */
} low_rank_mix;

enum {
  TILE_ROWS = 4, /* rows and registers of lanes whose amounts stay in registers */
  TILE_WIDTH = 4,
  TILE = TILE_WIDTH * VEC, /* channels */
  BLOCK_ROWS = 64,         /* of a task */
  MOST_RANK = 64,          /* of a tile of factors that lies on the stack */
};

/* Mix k of rows m.. and channels c0..: `factor` is their part of w2[k], `stride` floats from
 * row to row. */
static inline __attribute__((always_inline)) void mix_tile(const low_rank_mix *p, size_t rows, size_t k, size_t m,
                                                           size_t c0, const float *factor, size_t stride) {
  vec f[TILE_ROWS][TILE_WIDTH];
  const float *mu = p->mu + k * p->C + c0, *h = p->h + m * p->K * p->R + k * p->R;
  for (size_t i = 0; i < rows; i++) {
    for (size_t l = 0; l < TILE_WIDTH; l++) f[i][l] = load(mu + l * VEC);
  }
  for (size_t r = 0; r < p->R; r++) {
    for (size_t i = 0; i < rows; i++) {
      for (size_t l = 0; l < TILE_WIDTH; l++) f[i][l] += h[i * p->K * p->R + r] * load(factor + r * stride + l * VEC);
    }
  }
  for (size_t i = 0; i < rows; i++) {
    const size_t at = (m + i) * p->C + c0;
    for (size_t l = 0; l < TILE_WIDTH; l++) {
      const vec x = load(p->x + at + l * VEC), s = load(p->s + at + l * VEC);
      const vec y = x + (s - x) * f[i][l];
      float *to = p->y + k * p->M * p->C + at + l * VEC;
      if (p->past)
        stream(y, to);
      else
        store(y, to);
    }
  }
}

/* One channel of one row: what whole tiles leave over. */
static void mix_channel(const low_rank_mix *p, size_t k, size_t m, size_t c) {
  const float *h = p->h + m * p->K * p->R + k * p->R, *w2 = p->w2 + k * p->R * p->C + c;
  const float x = p->x[m * p->C + c], s = p->s[m * p->C + c];
  float f = p->mu[k * p->C + c];
  for (size_t r = 0; r < p->R; r++) f += h[r] * w2[r * p->C];
  p->y[(k * p->M + m) * p->C + c] = x + (s - x) * f;
}

/* Rows first..end-1 of a tile of channels. */
static void mix_channels(const low_rank_mix *p, size_t first, size_t end, size_t c0) {
  for (size_t k = 0; k < p->K; k++) {
    const float *w2 = p->w2 + k * p->R * p->C + c0;
    size_t m = first;
    if (end - first >= TILE_ROWS) {
      _Alignas(64) float factor[MOST_RANK * TILE]; /* in one piece: rows of w2 lie far apart */
      for (size_t r = 0; r < p->R; r++) memcpy(factor + r * TILE, w2 + r * p->C, TILE * sizeof *factor);
      for (; m + TILE_ROWS <= end; m += TILE_ROWS) mix_tile(p, TILE_ROWS, k, m, c0, factor, TILE);
    }
    for (; m < end; m++) mix_tile(p, 1, k, m, c0, w2, p->C);
  }
}

/* The same of the channels that are left over. */
static void mix_rest(const low_rank_mix *p, size_t first, size_t end, size_t c0) {
  for (size_t k = 0; k < p->K; k++) {
    for (size_t m = first; m < end; m++) {
      for (size_t c = c0; c < p->C; c++) mix_channel(p, k, m, c);
    }
  }
}

static void mix_low_rank(size_t K, size_t M, size_t C, size_t R, const float *x, const float *s, const float *mu,
                         const float *h, const float *w2, float *y) {
  const bool past = streams(K * M, C, y);
  const low_rank_mix p = {K, M, C, R, x, s, mu, h, w2, y, past};
  const size_t tiles = R <= MOST_RANK ? C / TILE : 0, parts = tiles + 1, blocks = (M + BLOCK_ROWS - 1) / BLOCK_ROWS;
#pragma omp parallel for schedule(static) if (K * M * C * R >= 8 * CPU_PARALLEL_MIN)
  for (size_t task = 0; task < blocks * parts; task++) {
    const size_t first = task / parts * BLOCK_ROWS, end = smaller(first + BLOCK_ROWS, M), tile = task % parts;
    if (tile < tiles) {
      mix_channels(&p, first, end, tile * TILE);
    } else {
      mix_rest(&p, first, end, tiles * TILE);
    }
    if (past) stream_end();
  }
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

typedef struct {
  size_t K, plane, C; /* plane: floats between mixes, M*C */
  const float *x, *s, *mu, *token_mu, *gy;
  float *gx, *gs, *gtoken_mu;
  bool acc_x, acc_s;
} mix_grad;

enum { STRIP = 128 }; /* channels whose sums over the mixes are kept at hand */

/* `width` channels from c0 on of row m. gmu [K,C], which may be NULL, is added to. */
static void mix_strip_backward(const mix_grad *p, size_t m, size_t c0, size_t width, float *gmu) {
  static const float zero[STRIP];
  const size_t at = m * p->C + c0;
  float step[STRIP], toward[STRIP] = {0}, total[STRIP] = {0}, unwanted[STRIP], unwanted_sum[STRIP] = {0};
#pragma omp simd
  for (size_t c = 0; c < width; c++) step[c] = p->s[at + c] - p->x[at + c];
  for (size_t k = 0; k < p->K; k++) {
    const size_t token = k * p->plane + at, shared = k * p->C + c0;
    const float *restrict gy = p->gy + token, *restrict mu = p->mu ? p->mu + shared : zero;
    float *restrict sum = gmu ? gmu + shared : unwanted_sum;
    if (p->token_mu) {
      const float *restrict token_mu = p->token_mu + token;
      float *restrict gtoken_mu = p->gtoken_mu ? p->gtoken_mu + token : unwanted;
#pragma omp simd
      for (size_t c = 0; c < width; c++) {
        const float along = gy[c] * step[c];
        toward[c] += gy[c] * (mu[c] + token_mu[c]);
        total[c] += gy[c];
        sum[c] += along;
        gtoken_mu[c] = along;
      }
    } else {
#pragma omp simd
      for (size_t c = 0; c < width; c++) {
        toward[c] += gy[c] * mu[c];
        total[c] += gy[c];
        sum[c] += gy[c] * step[c];
      }
    }
  }
  if (p->gx) {
    float *gx = p->gx + at;
#pragma omp simd
    for (size_t c = 0; c < width; c++) gx[c] = (p->acc_x ? gx[c] : 0.0f) + (total[c] - toward[c]);
  }
  if (p->gs) {
    float *gs = p->gs + at;
#pragma omp simd
    for (size_t c = 0; c < width; c++) gs[c] = (p->acc_s ? gs[c] : 0.0f) + toward[c];
  }
}

static void mix_backward(size_t K, size_t M, size_t C, const float *x, const float *s, const float *mu,
                         const float *token_mu, const float *gy, float *gx, bool acc_x, float *gs, bool acc_s,
                         float *gmu, float *gtoken_mu) {
  const mix_grad p = {K, M * C, C, x, s, mu, token_mu, gy, gx, gs, gtoken_mu, acc_x, acc_s};
  row_sums sums = row_sums_open(M, K * C, K * C);
#pragma omp parallel for schedule(static) if (sums.parts)
  for (size_t block = 0; block < sums.blocks; block++) {
    float *mu_sum = row_sums_part(&sums, block, 0, gmu);
    for (size_t m = block * sums.rows; m < row_sums_end(&sums, block); m++) {
      for (size_t c0 = 0; c0 < C; c0 += STRIP) mix_strip_backward(&p, m, c0, smaller(STRIP, C - c0), mu_sum);
    }
  }
  row_sums_add(&sums, 0, K * C, gmu);
  row_sums_close(&sums);
}

void CPU_FAMILY(mix)(cpu_kernels *table);
void CPU_FAMILY(mix)(cpu_kernels *table) {
  table->shift_rows = shift_rows;
  table->mix_forward = mix_forward;
  table->mix_low_rank = mix_low_rank;
  table->mix_backward = mix_backward;
}
