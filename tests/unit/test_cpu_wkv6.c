/* The RWKV-6 kernels of every instruction set against a float64 loop that follows the definition (spec operators 2.3,
 * language-models 4.2), and that loop against finite differences. */
#include "tests/support/kernel_check.h"

#include "kernels/base.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- the definition in float64 ------------------------------------------------------------------------------------ */

typedef struct {
  double *y, *sT, *gr, *gk, *gv, *gw, *gu, *gs0; /* gw and gs0 in the shape of w and s0 */
} wkv6_truth;

static size_t channels(const wkv6_args *a) { return a->H * a->N; }
static size_t tokens(const wkv6_args *a) { return a->B * a->T * channels(a); }
static size_t states(const wkv6_args *a) { return a->B * channels(a) * a->N; }
static size_t w_size(const wkv6_args *a) { return a->w_stride ? tokens(a) : channels(a); }
static size_t s0_size(const wkv6_args *a) { return a->s0_stride ? states(a) : channels(a) * a->N; }

static wkv6_truth truth_new(const wkv6_args *a) {
  return (wkv6_truth){zeros64(tokens(a)), zeros64(states(a)), zeros64(tokens(a)),   zeros64(tokens(a)),
                      zeros64(tokens(a)), zeros64(w_size(a)), zeros64(channels(a)), zeros64(s0_size(a))};
}

static void truth_free(wkv6_truth *z) {
  double *all[] = {z->y, z->sT, z->gr, z->gk, z->gv, z->gw, z->gu, z->gs0};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static size_t steps_of(const wkv6_args *a, size_t b) { return a->lengths ? (size_t)a->lengths[b] : a->T; }

static size_t token_of(const wkv6_args *a, size_t step, size_t steps) {
  size_t place = a->reverse ? steps - 1 - step : step;
  return a->order ? (size_t)a->order[place] : place;
}

/* Forward and backward of one head: S[t] is the state before step t, D the cotangent after it. */
static void truth_head(const wkv6_args *a, size_t b, size_t h, const float *gy, const float *gsT, wkv6_truth *z) {
  const size_t N = a->N, C = channels(a), steps = steps_of(a, b), state = (b * a->H + h) * N * N;
  double *S = zeros64((steps + 1) * N * N), *D = zeros64(N * N);
  for (size_t i = 0; a->s0 && i < N * N; i++) S[i] = (double)a->s0[b * a->s0_stride + h * N * N + i];
  for (size_t t = 0; t < steps; t++) {
    const size_t at = (b * a->T + token_of(a, t, steps)) * C + h * N;
    const double *before = S + t * N * N;
    double *after = S + (t + 1) * N * N;
    for (size_t i = 0; i < N; i++) {
      const double r = (double)a->r[at + i], k = (double)a->k[at + i], u = a->u ? (double)a->u[h * N + i] : 0.0;
      const double d = exp(-exp((double)a->w[a->w_stride ? at + i : h * N + i]));
      for (size_t j = 0; j < N; j++) {
        const double v = (double)a->v[at + j];
        z->y[at + j] += r * (before[i * N + j] + u * k * v);
        after[i * N + j] = d * before[i * N + j] + k * v;
      }
    }
  }
  for (size_t i = 0; i < N * N; i++) z->sT[state + i] = S[steps * N * N + i], D[i] = gsT ? (double)gsT[state + i] : 0.0;
  for (size_t t = steps; gy && t-- > 0;) {
    const size_t at = (b * a->T + token_of(a, t, steps)) * C + h * N;
    for (size_t i = 0; i < N; i++) {
      const size_t wi = a->w_stride ? at + i : h * N + i;
      const double r = (double)a->r[at + i], k = (double)a->k[at + i], u = a->u ? (double)a->u[h * N + i] : 0.0;
      const double rate = exp((double)a->w[wi]), d = exp(-rate);
      double G = 0.0;
      for (size_t j = 0; j < N; j++) {
        const double v = (double)a->v[at + j], g = (double)gy[at + j], s = S[(t * N + i) * N + j], old = D[i * N + j];
        z->gr[at + i] += (u * k * v + s) * g;
        z->gk[at + i] += (u * r * g + old) * v;
        z->gv[at + j] += (u * r * g + old) * k;
        z->gu[h * N + i] += r * k * v * g;
        G += s * old;
        D[i * N + j] = d * old + r * g;
      }
      z->gw[wi] -= d == 0.0 ? 0.0 : rate * d * G;
    }
  }
  double *gs0 = z->gs0 + (a->s0_stride ? state : h * N * N);
  for (size_t i = 0; i < N * N; i++) gs0[i] += D[i];
  free(S);
  free(D);
}

static wkv6_truth truth_of(const wkv6_args *a, const float *gy, const float *gsT) {
  wkv6_truth z = truth_new(a);
  for (size_t b = 0; b < a->B; b++) {
    for (size_t h = 0; h < a->H; h++) truth_head(a, b, h, gy, gsT, &z);
  }
  return z;
}

/* --- random cases ------------------------------------------------------------------------------------------------- */

typedef enum { NO_STATE, OWN_STATE, SHARED_STATE } start_kind;

typedef struct {
  size_t B, T, H, N;
  bool reverse, order, lengths, constant_w, bonus, strong;
  start_kind start;
} shape;

typedef struct {
  wkv6_args a;
  float *r, *k, *v, *w, *u, *s0, *gy, *gsT;
  int32_t *order, *lengths;
} problem;

static problem problem_new(shape s, uint64_t seed) {
  problem p = {.a = {.B = s.B, .T = s.T, .H = s.H, .N = s.N, .reverse = s.reverse}};
  wkv6_args *a = &p.a;
  a->w_stride = s.constant_w ? 0 : channels(a);
  a->s0_stride = s.start == SHARED_STATE ? 0 : channels(a) * a->N;
  p.r = guarded_random(tokens(a), seed, -1, 1), p.k = guarded_random(tokens(a), seed + 1, -1, 1);
  p.v = guarded_random(tokens(a), seed + 2, -1, 1), p.gy = guarded_random(tokens(a), seed + 3, -1, 1);
  p.w = guarded_random(w_size(a), seed + 4, -7, s.strong ? 6 : 0);
  p.u = s.bonus ? guarded_random(channels(a), seed + 5, -1, 1) : NULL;
  p.s0 = s.start ? guarded_random(s0_size(a), seed + 6, -1, 1) : NULL;
  p.gsT = s.start ? guarded_random(states(a), seed + 7, -1, 1) : NULL;
  if (s.strong && w_size(a) > 2) p.w[0] = 90.0f, p.w[1] = INFINITY; /* exp(w) infinite: d is 0 and must stay harmless */
  rng g = rng_make(seed, 9);
  if (s.order) {
    p.order = mem_alloc(s.T, sizeof *p.order);
    for (size_t t = 0; t < s.T; t++) p.order[t] = (int32_t)t;
    rng_shuffle(&g, (uint32_t *)p.order, s.T);
  }
  if (s.lengths) {
    p.lengths = mem_alloc(s.B, sizeof *p.lengths);
    for (size_t b = 0; b < s.B; b++) p.lengths[b] = (int32_t)rng_below(&g, (uint32_t)s.T + 1);
  }
  a->r = p.r, a->k = p.k, a->v = p.v, a->w = p.w, a->u = p.u, a->s0 = p.s0, a->order = p.order, a->lengths = p.lengths;
  return p;
}

static void problem_free(problem *p) {
  float *all[] = {p->r, p->k, p->v, p->w, p->u, p->s0, p->gy, p->gsT};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i]);
  free(p->order);
  free(p->lengths);
}

/* want += what was there before, so that acc can be checked in the same way. */
static void add_to(double *want, size_t n, double before) {
  for (size_t i = 0; i < n; i++) want[i] += before;
}

/* Tolerances, L2 relative to the values or, where they cancel, to terms of size 1: sums of T*N products in f32. */
static const double y_tolerance = 3e-6, g_tolerance = 1e-5, gw_tolerance = 1e-4;

static void check_forward(const cpu_kernels *k, const problem *p, const wkv6_truth *z, bool acc) {
  const wkv6_args *a = &p->a;
  const double before = acc ? 0.5 : 0.0;
  float *y = acc ? guarded_fill(tokens(a), 0.5f) : guarded(tokens(a)), *sT = guarded(states(a));
  add_to(z->y, tokens(a), before);
  assert_true(k->wkv6_forward(a, y, acc, sT));
  check_l2("y", y, z->y, tokens(a), y_tolerance, 1.0);
  check_l2("sT", sT, z->sT, states(a), y_tolerance, 1.0);
  if (p->s0 && (a->s0_stride || a->B == 1)) { /* in place */
    float *state = guarded_copy(p->s0, s0_size(a)), *again = guarded(tokens(a));
    wkv6_args in_place = *a;
    in_place.s0 = state;
    assert_true(k->wkv6_forward(&in_place, again, false, state));
    assert_memory_equal(state, sT, states(a) * sizeof *sT);
    guarded_free(state);
    guarded_free(again);
  }
  float *alone = guarded(tokens(a));
  assert_true(k->wkv6_forward(a, alone, false, NULL));
  add_to(z->y, tokens(a), -before);
  check_l2("y without sT", alone, z->y, tokens(a), y_tolerance, 1.0);
  guarded_free(alone);
  guarded_free(y);
  guarded_free(sT);
}

static void check_backward(const cpu_kernels *k, const problem *p, wkv6_truth *z, bool acc) {
  const wkv6_args *a = &p->a;
  const size_t n = tokens(a);
  float *g[3], *gw, *gu = guarded_fill(channels(a), 0.25f), *gs0;
  double *want[3] = {z->gr, z->gk, z->gv};
  const double before = acc ? 0.5 : 0.0, w_before = acc || !a->w_stride ? 0.5 : 0.0,
               s0_before = a->s0_stride ? 0.0 : 0.5;
  for (int i = 0; i < 3; i++) g[i] = acc ? guarded_fill(n, 0.5f) : guarded(n), add_to(want[i], n, before);
  gw = w_before > 0.0 ? guarded_fill(w_size(a), 0.5f) : guarded(w_size(a));
  gs0 = s0_before > 0.0 ? guarded_fill(s0_size(a), 0.5f) : guarded(s0_size(a));
  add_to(z->gw, w_size(a), w_before), add_to(z->gu, channels(a), 0.25), add_to(z->gs0, s0_size(a), s0_before);
  assert_true(k->wkv6_backward(a, p->gy, p->gsT, acc, g[0], g[1], g[2], gw, gu, gs0));
  check_l2("gr", g[0], z->gr, n, g_tolerance, 1.0);
  check_l2("gk", g[1], z->gk, n, g_tolerance, 1.0);
  check_l2("gv", g[2], z->gv, n, g_tolerance, 1.0);
  check_l2("gw", gw, z->gw, w_size(a), gw_tolerance, 1.0);
  check_l2("gu", gu, z->gu, channels(a), g_tolerance, 1.0);
  check_l2("gs0", gs0, z->gs0, s0_size(a), g_tolerance, 1.0);

  /* Each gradient alone must come out the same. */
  for (int only = 0; only < 6; only++) {
    size_t size = only < 3 ? n : only == 3 ? w_size(a) : only == 4 ? channels(a) : s0_size(a);
    const float *full = only < 3 ? g[only] : only == 3 ? gw : only == 4 ? gu : gs0;
    const float start = only < 3 ? (float)before : only == 3 ? (float)w_before : only == 4 ? 0.25f : (float)s0_before;
    float *one = guarded_fill(size, start);
    assert_true(k->wkv6_backward(a, p->gy, p->gsT, acc, only == 0 ? one : NULL, only == 1 ? one : NULL,
                                 only == 2 ? one : NULL, only == 3 ? one : NULL, only == 4 ? one : NULL,
                                 only == 5 ? one : NULL));
    assert_memory_equal(one, full, size * sizeof *one);
    guarded_free(one);
  }
  for (int i = 0; i < 3; i++) guarded_free(g[i]);
  guarded_free(gw);
  guarded_free(gu);
  guarded_free(gs0);
}

static void check_shape(const cpu_kernels *k, shape s, uint64_t seed, bool acc) {
  problem p = problem_new(s, seed);
  wkv6_truth z = truth_of(&p.a, p.gy, p.gsT);
  check_forward(k, &p, &z, acc);
  check_backward(k, &p, &z, acc);
  truth_free(&z);
  problem_free(&p);
}

/* Every head size and length with options drawn by chance; several draws each. */
static void all_shapes(const cpu_kernels *k) {
  static const size_t sizes[] = {1, 5, 6, 16, 20, 32, 64, 80}, lengths[] = {0, 1, 2, 21, 64, 65, 130};
  rng g = rng_make(77, 0);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
      for (int draw = 0; draw < (sizes[i] * lengths[j] > 3000 ? 2 : 4); draw++) {
        const uint64_t bits = rng_u64(&g);
        const shape s = {.B = bits & 1 ? 3 : 1,
                         .T = lengths[j],
                         .H = bits & 2 ? 2 : 1,
                         .N = sizes[i],
                         .reverse = bits >> 2 & 1,
                         .order = bits >> 3 & 1,
                         .lengths = bits >> 4 & 1,
                         .constant_w = bits >> 5 & 1,
                         .bonus = bits >> 6 & 1,
                         .strong = bits >> 7 & 1,
                         .start = (start_kind)((bits >> 8) % 3)};
        check_shape(k, s, bits, bits >> 20 & 1);
      }
    }
  }
}

static void test_against_the_definition(void **state) {
  (void)state;
  for_each_variant(all_shapes);
}

/* --- the definition against finite differences -------------------------------------------------------------------- */

static double loss_of(const problem *p) {
  wkv6_truth z = truth_of(&p->a, NULL, NULL);
  double loss = 0.0;
  for (size_t i = 0; i < tokens(&p->a); i++) loss += z.y[i] * (double)p->gy[i];
  for (size_t i = 0; i < states(&p->a); i++) loss += z.sT[i] * (double)p->gsT[i];
  truth_free(&z);
  return loss;
}

static void check_slopes(const char *what, const problem *p, float *x, const double *slope, size_t n) {
  const float step = 0.0009765625f; /* a power of two: x +- step is exact enough in f32 */
  for (size_t i = 0; i < n; i++) {
    const float old = x[i];
    x[i] = old + step;
    const double up = loss_of(p), high = (double)x[i];
    x[i] = old - step;
    const double down = loss_of(p), low = (double)x[i];
    x[i] = old;
    const double want = (up - down) / (high - low);
    if (!(fabs(slope[i] - want) <= 1e-5 * (fabs(want) + 0.1))) {
      fail_msg("%s[%zu]: gradient %.9g, finite difference %.9g", what, i, slope[i], want);
    }
  }
}

static void test_definition_against_differences(void **state) {
  (void)state;
  const shape shapes[] = {
      {.B = 2, .T = 5, .H = 2, .N = 3, .bonus = true, .start = OWN_STATE},
      {.B = 2, .T = 6, .H = 1, .N = 4, .bonus = true, .reverse = true, .order = true, .start = SHARED_STATE},
      {.B = 3, .T = 4, .H = 2, .N = 2, .lengths = true, .constant_w = true, .start = OWN_STATE},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    problem p = problem_new(shapes[i], 100 + i);
    wkv6_truth z = truth_of(&p.a, p.gy, p.gsT);
    check_slopes("r", &p, p.r, z.gr, tokens(&p.a));
    check_slopes("k", &p, p.k, z.gk, tokens(&p.a));
    check_slopes("v", &p, p.v, z.gv, tokens(&p.a));
    check_slopes("w", &p, p.w, z.gw, w_size(&p.a));
    if (p.u) check_slopes("u", &p, p.u, z.gu, channels(&p.a));
    check_slopes("s0", &p, p.s0, z.gs0, s0_size(&p.a));
    truth_free(&z);
    problem_free(&p);
  }
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

/* Every head is one thread's work and sums over the batch have a fixed order: results are equal to the last bit. */
static void same_with_any_threads(const cpu_kernels *k) {
  const int usual = omp_get_max_threads();
  problem p = problem_new((shape){.B = 5, .T = 40, .H = 3, .N = 32, .bonus = true, .start = SHARED_STATE}, 5);
  const size_t n = tokens(&p.a), s = s0_size(&p.a), c = channels(&p.a), total = 5 * n + c + s;
  float *first = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    omp_set_num_threads(threads);
    float *all = guarded_fill(total, 0.0f), *y = all, *gr = y + n, *gk = gr + n, *gv = gk + n, *gw = gv + n;
    assert_true(k->wkv6_forward(&p.a, y, false, NULL));
    assert_true(k->wkv6_backward(&p.a, p.gy, p.gsT, false, gr, gk, gv, gw, gw + n, gw + n + c));
    if (first) {
      assert_memory_equal(all, first, total * sizeof *all);
      guarded_free(all);
    } else {
      first = all;
    }
  }
  omp_set_num_threads(usual);
  guarded_free(first);
  problem_free(&p);
}

static void test_threads(void **state) {
  (void)state;
  for_each_variant(same_with_any_threads);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_definition_against_differences),
                                     cmocka_unit_test(test_against_the_definition), cmocka_unit_test(test_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
