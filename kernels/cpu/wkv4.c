/* The RWKV-4 recurrence, forward and backward; spec operators 2.1, language-models 3.2 and 4.1.
 *
 * Channels are independent: a task is one batch row's block of them, with channels as lanes. Sums are kept as a e^p,
 * b e^p with p the largest exponent that went in, so that no exponential exceeds 1. Two numbers whose exponents differ
 * by x are brought to the larger one by the factors 1 and e^-|x|: one exponential for the two.
 *
 * Keys may be large (e^80), and an exponent of that size is a coarse number in f32. So none is ever formed: p is held
 * as the key that it comes from and the number n of decays since, and only differences of exponents are computed, for
 * which keys are subtracted first. The row p of a state is rounded once, when it is stored, and a and b make up for it.
 *
 * Backward: the sweep onward stores what a token met. The sweep back carries the cotangents of a and b. The exponents p
 * are constants there: the sums do not depend on them. So its factors are those of the sweep onward, none above 1. */
#include "kernels/cpu/recurrence.h"
#include "kernels/cpu/vecmath.h"

enum { BLOCK = 32 }; /* channels of a task */

static const float no_rows[BLOCK]; /* of zeros, for cotangents that are not given */

/* Decays are 0 long before their log gets here; it stays finite, so that no decays at all are a factor of 1. */
static const float fastest = -1e30f;

/* A block's parameters: the log of its decay, and its bonus. */
typedef struct {
  float w[BLOCK], u[BLOCK];
} block_rates;

static void load_rates(const wkv4_args *a, size_t first, size_t n, block_rates *rates) {
  for (size_t c = 0; c < n; c++) {
    rates->w[c] = -vec_exp(a->w[first + c]);
    rates->w[c] = rates->w[c] < fastest ? fastest : rates->w[c];
    rates->u[c] = a->u[first + c];
  }
}

/* One block's sums a e^p, b e^p; p = key + n w. */
typedef struct {
  float a[BLOCK], b[BLOCK], key[BLOCK], n[BLOCK];
} block_state;

static void load_state(const wkv4_args *a, size_t b, size_t first, size_t n, block_state *s) {
  const float *from = a->s0 ? a->s0 + b * 3 * a->C + first : NULL;
  for (size_t c = 0; c < n; c++) {
    s->a[c] = from ? from[c] : 0.0f;
    s->b[c] = from ? from[a->C + c] : 0.0f;
    s->key[c] = from ? from[2 * a->C + c] : WKV4_EMPTY;
    s->n[c] = 0.0f;
  }
}

static void store_state(const wkv4_args *a, size_t first, size_t n, const block_rates *rates, const block_state *s,
                        float *to) {
  for (size_t c = 0; c < n; c++) {
    const float decays = s->n[c] * rates->w[c], p = s->key[c] + decays;
    const float rest = vec_exp((s->key[c] - p) + decays); /* what rounding took from p */
    to[first + c] = rest * s->a[c];
    to[a->C + first + c] = rest * s->b[c];
    to[2 * a->C + first + c] = p;
  }
}

static size_t blocks(const wkv4_args *a) { return (a->C + BLOCK - 1) / BLOCK; }

static bool worth_threads(const wkv4_args *a) { return a->B * a->T * a->C >= CPU_PARALLEL_MIN / 8; }

/* The factors of two numbers whose exponents differ by x. */
static inline float of_first(float x, float less) { return x >= 0.0f ? 1.0f : less; }
static inline float of_second(float x, float less) { return x >= 0.0f ? less : 1.0f; }

/* x >= 0 ? yes : no. Written so, the compiler does not gather several of them into a branch, which it could not turn
 * into vector code for every instruction set. */
static inline float if_positive(float x, float yes, float no) {
  const uint32_t mask = 0u - (uint32_t)(x >= 0.0f);
  return float_of_bits((bits_of_float(yes) & mask) | (bits_of_float(no) & ~mask));
}

/* A token enters channel c's sums. kept = p + w - k, less = e^-|kept|. */
static inline void absorb(float kept, float less, float k, float v, size_t c, block_state *s) {
  s->a[c] = of_first(kept, less) * s->a[c] + of_second(kept, less) * v;
  s->b[c] = of_first(kept, less) * s->b[c] + of_second(kept, less);
  s->key[c] = if_positive(kept, s->key[c], k);
  s->n[c] = if_positive(kept, s->n[c] + 1.0f, 0.0f);
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

static inline __attribute__((always_inline)) void forward_token(size_t n, const block_rates *restrict rates,
                                                                const float *restrict k, const float *restrict v,
                                                                block_state *restrict s, float *restrict y) {
#pragma omp simd
  for (size_t c = 0; c < n; c++) {
    const float w = rates->w[c], above = (s->key[c] - k[c]) + s->n[c] * w; /* p - k */
    const float own = above - rates->u[c], small = vec_exp(-vec_abs(own));
    const float e_old = of_first(own, small), e_own = of_second(own, small);
    y[c] = (e_old * s->a[c] + e_own * v[c]) / (e_old * s->b[c] + e_own);
    const float kept = above + w;
    absorb(kept, vec_exp(-vec_abs(kept)), k[c], v[c], c, s);
  }
}

static void forward_block(const wkv4_args *a, size_t b, size_t first, float *y, float *sT) {
  const size_t n = smaller(BLOCK, a->C - first), steps = row_length(a->lengths, a->T, b);
  block_rates rates;
  block_state s;
  load_rates(a, first, n, &rates);
  load_state(a, b, first, n, &s);
  for (size_t t = 0; t < a->T; t++) {
    const size_t at = (b * a->T + token_at(a->order, t)) * a->C + first;
    if (t >= steps) {
      memset(y + at, 0, n * sizeof *y);
    } else if (n == BLOCK) { /* code of its own, where the compiler knows the trip count */
      forward_token(BLOCK, &rates, a->k + at, a->v + at, &s, y + at);
    } else {
      forward_token(n, &rates, a->k + at, a->v + at, &s, y + at);
    }
  }
  if (sT) store_state(a, first, n, &rates, &s, sT + b * 3 * a->C);
}

static void wkv4_forward(const wkv4_args *a, float *y, float *sT) {
#pragma omp parallel for schedule(static) if (worth_threads(a))
  for (size_t task = 0; task < a->B * blocks(a); task++) {
    forward_block(a, task / blocks(a), task % blocks(a) * BLOCK, y, sT);
  }
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

/* What the sweep onward leaves of a token: the sums before it, p - k, and e^-|p + w - k|. */
typedef struct {
  float a[BLOCK], b[BLOCK], above[BLOCK], less[BLOCK];
} past;

static inline __attribute__((always_inline)) void onward_token(size_t n, const block_rates *restrict rates,
                                                               const float *restrict k, const float *restrict v,
                                                               block_state *restrict s, past *restrict before) {
#pragma omp simd
  for (size_t c = 0; c < n; c++) {
    const float w = rates->w[c], above = (s->key[c] - k[c]) + s->n[c] * w, kept = above + w;
    const float less = vec_exp(-vec_abs(kept));
    before->a[c] = s->a[c], before->b[c] = s->b[c], before->above[c] = above, before->less[c] = less;
    absorb(kept, less, k[c], v[c], c, s);
  }
}

/* Cotangents of a and b, and the gradients of the parameters so far: of the log of the decay, and of u. */
typedef struct {
  float a[BLOCK], b[BLOCK], w[BLOCK], u[BLOCK];
} cotangent;

static inline __attribute__((always_inline)) void back_token(size_t n, const block_rates *restrict rates,
                                                             const float *restrict v, const float *restrict gy,
                                                             const past *restrict before, cotangent *restrict d,
                                                             float *restrict gk, float *restrict gv) {
#pragma omp simd
  for (size_t c = 0; c < n; c++) {
    const float a = before->a[c], b = before->b[c], above = before->above[c], less = before->less[c];
    const float own = above - rates->u[c], small = vec_exp(-vec_abs(own));
    const float e_old = of_first(own, small), e_own = of_second(own, small);
    const float z = 1.0f / (e_old * b + e_own), y = (e_old * a + e_own * v[c]) * z;
    const float g = gy[c] * z, direct = g * e_own, apart = v[c] - y;

    const float kept = above + rates->w[c], e_kept = of_first(kept, less), e_new = of_second(kept, less);
    d->u[c] += direct * apart;
    d->w[c] += e_kept * (d->a[c] * a + d->b[c] * b);
    gk[c] = direct * apart + e_new * (d->a[c] * v[c] + d->b[c]);
    gv[c] = direct + e_new * d->a[c];
    d->a[c] = e_kept * d->a[c] + e_old * g;
    d->b[c] = e_kept * d->b[c] - e_old * g * y;
  }
}

typedef struct {
  const wkv4_args *a;
  const float *gy, *gsT;
  float *gk, *gv, *gs0;
  float *gw, *gu; /* [B,C], or NULL */
} wkv4_grad;

static void sweep_back(const wkv4_grad *g, size_t b, size_t first, size_t steps, const block_rates *rates,
                       const past *before, cotangent *d) {
  const wkv4_args *a = g->a;
  const size_t n = smaller(BLOCK, a->C - first);
  float gk[BLOCK], gv[BLOCK];
  for (size_t t = steps; t-- > 0;) {
    const size_t at = (b * a->T + token_at(a->order, t)) * a->C + first;
    const float *gy = g->gy ? g->gy + at : no_rows;
    if (n == BLOCK) {
      back_token(BLOCK, rates, a->v + at, gy, before + t, d, gk, gv);
    } else {
      back_token(n, rates, a->v + at, gy, before + t, d, gk, gv);
    }
    if (g->gk) add_row(n, gk, g->gk + at);
    if (g->gv) add_row(n, gv, g->gv + at);
  }
}

static void backward_block(const wkv4_grad *g, size_t b, size_t first, past *before) {
  const wkv4_args *a = g->a;
  const size_t n = smaller(BLOCK, a->C - first), steps = row_length(a->lengths, a->T, b), row = b * 3 * a->C + first;
  block_rates rates;
  block_state s;
  load_rates(a, first, n, &rates);
  load_state(a, b, first, n, &s);
  for (size_t t = 0; t < steps; t++) {
    const size_t at = (b * a->T + token_at(a->order, t)) * a->C + first;
    if (n == BLOCK) {
      onward_token(BLOCK, &rates, a->k + at, a->v + at, &s, before + t);
    } else {
      onward_token(n, &rates, a->k + at, a->v + at, &s, before + t);
    }
  }
  cotangent d = {0};
  if (g->gsT) {
    memcpy(d.a, g->gsT + row, n * sizeof *d.a);
    memcpy(d.b, g->gsT + row + a->C, n * sizeof *d.b);
  }
  sweep_back(g, b, first, steps, &rates, before, &d);
  for (size_t c = 0; c < n; c++) {
    if (g->gu) g->gu[b * a->C + first + c] = d.u[c];
    if (g->gw) g->gw[b * a->C + first + c] = rates.w[c] * d.w[c];
  }
  if (!g->gs0) return;
  add_row(n, d.a, g->gs0 + row);
  add_row(n, d.b, g->gs0 + row + a->C);
}

static bool wkv4_backward(const wkv4_args *a, const float *gy, const float *gsT, float *gk, float *gv, float *gw,
                          float *gu, float *gs0) {
  const size_t parts = a->B * a->C, common = 2 * parts;
  workspace space;
  if (!workspace_open(&space, a->T * (sizeof(past) / sizeof(float)), common)) return false;
  const wkv4_grad g = {.a = a,
                       .gy = gy,
                       .gsT = gsT,
                       .gk = gk,
                       .gv = gv,
                       .gs0 = gs0,
                       .gw = gw ? space.common : NULL,
                       .gu = gu ? space.common + parts : NULL};
#pragma omp parallel for schedule(static) if (worth_threads(a))
  for (size_t task = 0; task < a->B * blocks(a); task++) {
    past *before = (past *)(void *)workspace_mine(&space, common);
    backward_block(&g, task / blocks(a), task % blocks(a) * BLOCK, before);
  }
  if (gw) add_parts(a->B, a->C, g.gw, gw);
  if (gu) add_parts(a->B, a->C, g.gu, gu);
  free(space.block);
  return true;
}

void CPU_FAMILY(wkv4)(cpu_kernels *table);
void CPU_FAMILY(wkv4)(cpu_kernels *table) {
  table->wkv4_forward = wkv4_forward;
  table->wkv4_backward = wkv4_backward;
}
