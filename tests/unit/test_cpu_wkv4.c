/* The RWKV-4 kernels of every instruction set against a float64 loop over the sums themselves (spec operators 2.1,
 * language-models 4.1), and that loop's gradients against finite differences. */
#include "tests/support/kernel_check.h"
#include "tests/support/reference64.h"

#include "kernels/base.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- cases -------------------------------------------------------------------------------------------------------- */

typedef enum { NO_STATE, SOME_STATE, EMPTY_STATE } start_kind;

typedef struct {
  size_t B, T, C;
  bool order, lengths;
  float key;              /* keys are within +- this */
  float slowest, fastest; /* raw decays */
  start_kind start;
} shape;

typedef struct {
  wkv4_args a;
  float *k, *v, *w, *u, *s0, *gy, *gsT;
  int32_t *order, *lengths;
} problem;

static size_t tokens(const wkv4_args *a) { return a->B * a->T * a->C; }
static size_t states(const wkv4_args *a) { return a->B * 3 * a->C; }

static problem problem_new(shape s, uint64_t seed) {
  problem p = {.a = {.B = s.B, .T = s.T, .C = s.C}};
  wkv4_args *a = &p.a;
  p.k = guarded_random(tokens(a), seed, -s.key, s.key), p.v = guarded_random(tokens(a), seed + 1, -1, 1);
  p.w = guarded_random(s.C, seed + 2, s.slowest, s.fastest), p.u = guarded_random(s.C, seed + 3, -3, 3);
  p.gy = guarded_random(tokens(a), seed + 4, -1, 1);
  rng g = rng_make(seed, 9);
  if (s.start != NO_STATE) {
    p.s0 = guarded(states(a)), p.gsT = guarded_random(states(a), seed + 5, -1, 1);
    for (size_t i = 0; i < states(a); i++) {
      const size_t row = i / s.C % 3;
      const float some = row == 0 ? rng_range(&g, -1, 1) : row == 1 ? rng_range(&g, 0.5f, 2) : rng_range(&g, -2, 2);
      p.s0[i] = s.start == SOME_STATE ? some : row == 2 ? WKV4_EMPTY : 0.0f;
    }
  }
  if (s.order) {
    p.order = mem_alloc(s.T, sizeof *p.order);
    for (size_t t = 0; t < s.T; t++) p.order[t] = (int32_t)t;
    rng_shuffle(&g, (uint32_t *)p.order, s.T);
  }
  if (s.lengths) {
    p.lengths = mem_alloc(s.B, sizeof *p.lengths);
    for (size_t b = 0; b < s.B; b++) p.lengths[b] = (int32_t)rng_below(&g, (uint32_t)s.T + 1);
  }
  a->k = p.k, a->v = p.v, a->w = p.w, a->u = p.u, a->s0 = p.s0, a->order = p.order, a->lengths = p.lengths;
  return p;
}

static void problem_free(problem *p) {
  float *all[] = {p->k, p->v, p->w, p->u, p->s0, p->gy, p->gsT};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i]);
  free(p->order);
  free(p->lengths);
}

/* --- the definition ----------------------------------------------------------------------------------------------- */

enum { GK, GV, GW, GU, GS0, GRADIENTS };
static const char *const names[GRADIENTS] = {"gk", "gv", "gw", "gu", "gs0"};

typedef struct {
  double *y, *sums, *p, *g[GRADIENTS]; /* sums [B,2,C]: A, B at the end; p [B,C] the exponent that they are given by */
} truth;

static size_t gradient_size(const wkv4_args *a, int i) {
  return i == GW || i == GU ? a->C : i == GS0 ? states(a) : tokens(a);
}

static double *widened(const float *x, size_t n) {
  double *wide = zeros64(n);
  for (size_t i = 0; x && i < n; i++) wide[i] = (double)x[i];
  return wide;
}

static void define_forward(const problem *p, truth *z) {
  const wkv4_args *a = &p->a;
  const wkv64 o = {.B = a->B, .T = a->T, .H = 1, .N = a->C, .order = a->order, .lengths = a->lengths};
  double *k = widened(a->k, tokens(a)), *v = widened(a->v, tokens(a)), *w = widened(a->w, a->C);
  double *u = widened(a->u, a->C), *s0 = a->s0 ? widened(a->s0, states(a)) : NULL;
  wkv4_64(&o, k, v, w, u, s0, z->y, z->sums);
  free(k), free(v), free(w), free(u), free(s0);
}

/* One channel of one row: the sums before every token, then their cotangents back. */
static void define_channel(const problem *p, size_t b, size_t c, truth *z) {
  const wkv4_args *a = &p->a;
  const size_t C = a->C, steps = a->lengths ? (size_t)a->lengths[b] : a->T, state = b * 3 * C + c;
  const double rate = -exp((double)a->w[c]), decay = exp(rate), start = a->s0 ? (double)a->s0[state + 2 * C] : -1e38;
  double *A = zeros64(steps + 1), *B = zeros64(steps + 1), largest = start;
  A[0] = a->s0 ? (double)a->s0[state] * exp(start) : 0.0, B[0] = a->s0 ? (double)a->s0[state + C] * exp(start) : 0.0;
  for (size_t t = 0; t < steps; t++) {
    const size_t at = (b * a->T + (a->order ? (size_t)a->order[t] : t)) * C + c;
    const double key = exp((double)a->k[at]);
    A[t + 1] = decay * A[t] + key * (double)a->v[at], B[t + 1] = decay * B[t] + key;
    largest = fmax(largest + rate, (double)a->k[at]);
  }
  z->p[b * C + c] = largest;
  const double scale = steps ? exp(-largest) : 1.0;
  double gA = p->gsT ? (double)p->gsT[state] * scale : 0.0, gB = p->gsT ? (double)p->gsT[state + C] * scale : 0.0;
  for (size_t t = steps; t-- > 0;) {
    const size_t at = (b * a->T + (a->order ? (size_t)a->order[t] : t)) * C + c;
    const double v = (double)a->v[at], key = exp((double)a->k[at]), own = key * exp((double)a->u[c]);
    const double Z = B[t] + own, y = (A[t] + own * v) / Z, g = (double)p->gy[at] / Z;
    z->g[GW][c] += rate * decay * (gA * A[t] + gB * B[t]);
    z->g[GU][c] += g * own * (v - y);
    z->g[GK][at] += g * own * (v - y) + key * (gA * v + gB);
    z->g[GV][at] += g * own + key * gA;
    gA = decay * gA + g, gB = decay * gB - g * y;
  }
  z->g[GS0][state] += gA * (steps ? exp(start) : 1.0), z->g[GS0][state + C] += gB * (steps ? exp(start) : 1.0);
  free(A), free(B);
}

static truth truth_of(const problem *p) {
  const wkv4_args *a = &p->a;
  truth z = {.y = zeros64(tokens(a)), .sums = zeros64(a->B * 2 * a->C), .p = zeros64(a->B * a->C)};
  for (int i = 0; i < GRADIENTS; i++) z.g[i] = zeros64(gradient_size(a, i));
  define_forward(p, &z);
  for (size_t b = 0; b < a->B; b++) {
    for (size_t c = 0; c < a->C; c++) define_channel(p, b, c, &z);
  }
  return z;
}

static void truth_free(truth *z) {
  free(z->y), free(z->sums), free(z->p);
  for (int i = 0; i < GRADIENTS; i++) free(z->g[i]);
}

/* --- kernels against the definition ------------------------------------------------------------------------------- */

static const double y_tolerance = 1e-6, g_tolerance = 2e-6, gw_tolerance = 1e-5;

/* a and b at exponent p are the sums; p is the exponent that the recurrence says. */
static void check_state(const problem *p, const float *sT, const truth *z) {
  const wkv4_args *a = &p->a;
  for (size_t b = 0; b < a->B; b++) {
    const float *row = sT + b * 3 * a->C;
    check_close("p", row + 2 * a->C, z->p + b * a->C, a->C, 1e-5, 1.0);
    double *want = zeros64(2 * a->C);
    for (size_t i = 0; i < 2 * a->C; i++) {
      const double sum = z->sums[b * 2 * a->C + i];
      want[i] = sum == 0.0 ? 0.0 : sum * exp(-(double)row[2 * a->C + i % a->C]);
    }
    check_l2("a, b", row, want, 2 * a->C, y_tolerance, 0.1);
    free(want);
  }
}

static void check_forward(const cpu_kernels *k, const problem *p, const truth *z) {
  const wkv4_args *a = &p->a;
  float *y = guarded(tokens(a)), *sT = guarded(states(a)), *alone = guarded(tokens(a));
  k->wkv4_forward(a, y, sT);
  check_l2("y", y, z->y, tokens(a), y_tolerance, 0.1);
  check_state(p, sT, z);
  k->wkv4_forward(a, alone, NULL);
  assert_memory_equal(alone, y, tokens(a) * sizeof *y);
  if (p->s0) { /* in place */
    float *state = guarded_copy(p->s0, states(a));
    wkv4_args in_place = *a;
    in_place.s0 = state;
    k->wkv4_forward(&in_place, alone, state);
    assert_memory_equal(state, sT, states(a) * sizeof *sT);
    assert_memory_equal(alone, y, tokens(a) * sizeof *y);
    guarded_free(state);
  }
  guarded_free(y);
  guarded_free(sT);
  guarded_free(alone);
}

static bool run_backward(const cpu_kernels *k, const problem *p, float *const g[]) {
  return k->wkv4_backward(&p->a, p->gy, p->gsT, g[GK], g[GV], g[GW], g[GU], g[GS0]);
}

static void check_backward(const cpu_kernels *k, const problem *p, truth *z) {
  const wkv4_args *a = &p->a;
  const float before = 0.25f;
  float *g[GRADIENTS];
  for (int i = 0; i < GRADIENTS; i++) g[i] = guarded_fill(gradient_size(a, i), before);
  if (!p->s0) guarded_free(g[GS0]), g[GS0] = NULL;
  assert_true(run_backward(k, p, g));
  for (int i = 0; i < GRADIENTS; i++) {
    if (!g[i]) continue;
    for (size_t e = 0; e < gradient_size(a, i); e++) z->g[i][e] += (double)before;
    check_l2(names[i], g[i], z->g[i], gradient_size(a, i), i == GW ? gw_tolerance : g_tolerance, 0.1);
  }
  for (size_t i = 0; p->s0 && i < states(a); i++) {
    if (i / a->C % 3 == 2) assert_true(g[GS0][i] == before);
  }
  for (int only = 0; only < GRADIENTS; only++) { /* each alone comes out the same */
    if (!g[only]) continue;
    float *one[GRADIENTS] = {NULL};
    one[only] = guarded_fill(gradient_size(a, only), before);
    assert_true(run_backward(k, p, one));
    assert_memory_equal(one[only], g[only], gradient_size(a, only) * sizeof(float));
    guarded_free(one[only]);
  }
  for (int i = 0; i < GRADIENTS; i++) guarded_free(g[i]);
}

static void check_shape(const cpu_kernels *k, shape s, uint64_t seed) {
  problem p = problem_new(s, seed);
  truth z = truth_of(&p);
  check_forward(k, &p, &z);
  check_backward(k, &p, &z);
  truth_free(&z);
  problem_free(&p);
}

static void all_shapes(const cpu_kernels *k) {
  static const size_t widths[] = {1, 5, 31, 32, 33, 70}, lengths[] = {0, 1, 2, 21, 130};
  rng g = rng_make(44, 0);
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
    for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
      for (int draw = 0; draw < 4; draw++) {
        const uint64_t bits = rng_u64(&g);
        const shape s = {.B = bits & 1 ? 3 : 1,
                         .T = lengths[j],
                         .C = widths[i],
                         .order = bits >> 1 & 1,
                         .lengths = bits >> 2 & 1,
                         .key = 4,
                         .slowest = -7,
                         .fastest = bits >> 3 & 1 ? 3 : 0,
                         .start = (start_kind)((bits >> 8) % 3)};
        check_shape(k, s, bits);
      }
    }
  }
}

static void test_against_the_definition(void **state) {
  (void)state;
  for_each_variant(all_shapes);
}

/* Keys up to 80 either way: e^80 is beyond a float, and numbers near 80 are no finer than 8e-6; neither may show. */
static void extreme_keys(const cpu_kernels *k) {
  for (uint64_t seed = 0; seed < 12; seed++) {
    check_shape(k,
                (shape){.B = 2,
                        .T = 40,
                        .C = 35,
                        .key = 80,
                        .slowest = -7,
                        .fastest = 3,
                        .order = seed & 1,
                        .start = (start_kind)(seed % 3)},
                1000 + seed);
  }
}

static void test_extreme_keys(void **state) {
  (void)state;
  for_each_variant(extreme_keys);
}

/* Decays of 0, even by a raw decay whose exponential is infinite: a token sees its predecessor only. */
static void no_memory(const cpu_kernels *k) {
  problem p = problem_new((shape){.B = 1, .T = 9, .C = 6, .key = 2, .slowest = 5, .fastest = 5}, 3);
  p.w[1] = 90.0f, p.w[2] = INFINITY;
  float *y = guarded(54),
        *g[GRADIENTS] = {guarded_fill(54, 0), guarded_fill(54, 0), guarded_fill(6, 0), guarded_fill(6, 0), NULL};
  k->wkv4_forward(&p.a, y, NULL);
  assert_true(run_backward(k, &p, g));
  for (size_t t = 1; t < 9; t++) {
    for (size_t c = 0; c < 6; c++) {
      const size_t at = t * 6 + c;
      const double own = exp((double)p.u[c] + (double)p.k[at]), old = exp((double)p.k[at - 6]);
      const double want = (old * (double)p.v[at - 6] + own * (double)p.v[at]) / (old + own);
      check_close("y", y + at, &want, 1, 1e-5, 0.1);
    }
  }
  const double nothing[6] = {0};
  check_close("gw", g[GW], nothing, 6, 1e-6, 1e-6);
  for (size_t i = 0; i < 54; i++) assert_true(isfinite(g[GK][i]) && isfinite(g[GV][i]));
  for (int i = 0; i < GRADIENTS; i++) guarded_free(g[i]);
  guarded_free(y);
  problem_free(&p);
}

static void test_no_memory(void **state) {
  (void)state;
  for_each_variant(no_memory);
}

/* Cotangents that are not given are zero. */
static void missing_cotangents(const cpu_kernels *k) {
  problem p = problem_new((shape){.B = 2, .T = 7, .C = 5, .key = 2, .slowest = -3, .start = SOME_STATE}, 8);
  float *zero_y = guarded_fill(tokens(&p.a), 0), *zero_s = guarded_fill(states(&p.a), 0);
  for (int missing = 0; missing < 2; missing++) {
    float *got = guarded_fill(tokens(&p.a), 0), *want = guarded_fill(tokens(&p.a), 0);
    const float *gy = missing ? p.gy : NULL, *gsT = missing ? NULL : p.gsT;
    assert_true(k->wkv4_backward(&p.a, gy, gsT, got, NULL, NULL, NULL, NULL));
    assert_true(k->wkv4_backward(&p.a, gy ? gy : zero_y, gsT ? gsT : zero_s, want, NULL, NULL, NULL, NULL));
    double *wide = widened(want, tokens(&p.a));
    check_l2("gk", got, wide, tokens(&p.a), 1e-6, 0.1);
    free(wide);
    guarded_free(got);
    guarded_free(want);
  }
  guarded_free(zero_y);
  guarded_free(zero_s);
  problem_free(&p);
}

static void test_missing_cotangents(void **state) {
  (void)state;
  for_each_variant(missing_cotangents);
}

/* --- the definition against finite differences -------------------------------------------------------------------- */

/* The final sums count at the exponents that they had before anything was moved. */
static double loss_of(const problem *p, const double *exponent) {
  const wkv4_args *a = &p->a;
  truth z = {.y = zeros64(tokens(a)), .sums = zeros64(a->B * 2 * a->C)};
  define_forward(p, &z);
  double loss = 0.0;
  for (size_t i = 0; i < tokens(a); i++) loss += z.y[i] * (double)p->gy[i];
  for (size_t b = 0; b < a->B; b++) {
    for (size_t i = 0; i < 2 * a->C; i++) {
      loss += z.sums[b * 2 * a->C + i] * (double)p->gsT[b * 3 * a->C + i] * exp(-exponent[b * a->C + i % a->C]);
    }
  }
  free(z.y), free(z.sums);
  return loss;
}

static void test_definition_against_differences(void **state) {
  (void)state;
  const float step = 0.0009765625f; /* a power of two: x +- step is exact enough in f32 */
  for (uint64_t seed = 0; seed < 3; seed++) {
    problem p = problem_new(
        (shape){.B = 2, .T = 5, .C = 3, .key = 2, .slowest = -3, .fastest = 1, .order = seed > 0, .start = SOME_STATE},
        200 + seed);
    truth z = truth_of(&p);
    float *x[GRADIENTS] = {p.k, p.v, p.w, p.u, p.s0};
    for (int i = 0; i < GRADIENTS; i++) {
      for (size_t e = 0; e < gradient_size(&p.a, i); e++) {
        if (i == GS0 && e / p.a.C % 3 == 2) continue; /* p is a constant */
        const float old = x[i][e];
        x[i][e] = old + step;
        const double up = loss_of(&p, z.p), high = (double)x[i][e];
        x[i][e] = old - step;
        const double down = loss_of(&p, z.p), low = (double)x[i][e];
        x[i][e] = old;
        const double want = (up - down) / (high - low);
        if (!(fabs(z.g[i][e] - want) <= 1e-5 * (fabs(want) + 0.1))) {
          fail_msg("%s[%zu]: gradient %.9g, finite difference %.9g", names[i], e, z.g[i][e], want);
        }
      }
    }
    truth_free(&z);
    problem_free(&p);
  }
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static void same_with_any_threads(const cpu_kernels *k) {
  const int usual = omp_get_max_threads();
  problem p = problem_new((shape){.B = 5, .T = 40, .C = 70, .key = 4, .slowest = -6, .start = SOME_STATE}, 5);
  const size_t n = tokens(&p.a), total = 3 * n + 2 * p.a.C + states(&p.a);
  float *first = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    omp_set_num_threads(threads);
    float *all = guarded_fill(total, 0.0f), *y = all, *gk = y + n, *gv = gk + n, *gw = gv + n, *gu = gw + p.a.C;
    k->wkv4_forward(&p.a, y, NULL);
    assert_true(k->wkv4_backward(&p.a, p.gy, p.gsT, gk, gv, gw, gu, gu + p.a.C));
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
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_definition_against_differences),
      cmocka_unit_test(test_against_the_definition),
      cmocka_unit_test(test_extreme_keys),
      cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_missing_cotangents),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
