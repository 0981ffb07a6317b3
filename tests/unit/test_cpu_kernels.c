/* The row-wise and elementwise CPU kernels of every instruction set against plain float64 loops, at odd sizes; the
 * recurrence has test_cpu_wkv6.c. Tolerances are relative to the value plus a floor, the size of the terms it is made
 * of. */
#include "tests/support/kernel_check.h"

#include "kernels/base.h"
#include "kernels/cpu/vecmath.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double ulp = 1.1920929e-7; /* of 1.0f */

/* --- vecmath.h ---------------------------------------------------------------------------------------------------- */

static void assert_ulps(const char *what, float x, float got, double want, double ulps) {
  if (!(fabs((double)got - want) <= ulps * ulp * fabs(want) + 1e-45)) {
    fail_msg("%s(%.9g) = %.9g, should be %.9g", what, (double)x, (double)got, want);
  }
}

static void test_vecmath(void **state) {
  (void)state;
  float bell;
  for (double at = -86.0; at < 88.7; at += 0.0137)
    assert_ulps("exp", (float)at, vec_exp((float)at), exp((double)(float)at), 1);
  for (double at = -103.9; at < -86.0; at += 0.01) { /* subnormal: half a unit of the smallest number more */
    assert_true(fabs((double)vec_exp((float)at) - exp((double)(float)at)) <= 1.5e-45 + 2e-7 * exp(at));
  }
  for (double at = -80.0; at < 100.0; at += 0.0173) {
    const float x = (float)at;
    assert_ulps("sigmoid", x, vec_sigmoid(x), 1.0 / (1.0 + exp(-(double)x)), 2);
  }
  for (double at = -12.0; at < 12.0; at += 0.00173) {
    const float x = (float)at;
    assert_ulps("tanh", x, vec_tanh(x), tanh((double)x), 2);
    if (x >= 0.0f && x <= 1.0f) assert_ulps("log1p", x, vec_log1p_unit(x), log1p((double)x), 2);
    /* The lower tail carries the rounding of x^2/2 as a relative error. */
    const double normal = 0.5 * erfc(-(double)x / sqrt(2.0)), allowed = 4.0 + (x < 0.0f ? (double)(x * x) : 0.0);
    assert_ulps("Phi", x, vec_normal(x, &bell), normal, allowed);
    assert_ulps("bell", x, bell, exp(-0.5 * (double)x * (double)x), 2.0 + (double)(x * x));
  }
  assert_true(vec_exp(-INFINITY) == 0.0f && vec_exp(-200.0f) == 0.0f && vec_exp(0.0f) == 1.0f);
  assert_true(isinf(vec_exp(INFINITY)) && isinf(vec_exp(88.8f)) && isnan(vec_exp(NAN)));
  assert_true(vec_sigmoid(INFINITY) == 1.0f && vec_sigmoid(-INFINITY) == 0.0f && isnan(vec_sigmoid(NAN)));
  assert_true(vec_tanh(INFINITY) == 1.0f && vec_tanh(-INFINITY) == -1.0f && isnan(vec_tanh(NAN)));
  assert_true(vec_normal(INFINITY, &bell) == 1.0f && vec_normal(-INFINITY, &bell) == 0.0f &&
              isnan(vec_normal(NAN, &bell)));
  assert_true(vec_tanh(1e-20f) == 1e-20f && vec_log1p_unit(1e-20f) == 1e-20f && vec_tanh(0.0f) == 0.0f);
}

/* --- activations and gates ---------------------------------------------------------------------------------------- */

static const act_kind kinds[] = {ACT_NONE,  ACT_SIGMOID, ACT_TANH,       ACT_SILU, ACT_RELU,
                                 ACT_RELU2, ACT_GELU,    ACT_QUICK_GELU, ACT_EXP};
enum { KINDS = sizeof kinds / sizeof *kinds };
static const size_t counts[] = {0, 1, 15, 16, 17, 511, 513, 8193, 70001};
enum { COUNTS = sizeof counts / sizeof *counts };

static double act64(act_kind kind, double x) {
  switch (kind) {
  case ACT_NONE:
    return x;
  case ACT_SIGMOID:
    return 1.0 / (1.0 + exp(-x));
  case ACT_TANH:
    return tanh(x);
  case ACT_SILU:
    return x / (1.0 + exp(-x));
  case ACT_RELU:
    return x > 0.0 ? x : 0.0;
  case ACT_RELU2:
    return x > 0.0 ? x * x : 0.0;
  case ACT_GELU:
    return 0.5 * x * erfc(-x / sqrt(2.0));
  case ACT_QUICK_GELU:
    return x / (1.0 + exp(-1.702 * x));
  case ACT_EXP:
    return exp(x);
  }
  return NAN;
}

/* By central differences; relu's corner at 0 does not occur among the random inputs. */
static double slope64(act_kind kind, double x) { return (act64(kind, x + 1e-5) - act64(kind, x - 1e-5)) / 2e-5; }

static void gates_of(const cpu_kernels *k, act_kind kind, size_t n) {
  const float high = kind == ACT_EXP ? 1 : 6; /* where its values are about as large as the others' */
  float *a = guarded_random(n, 1, -2, 2), *g = guarded_random(n, 2, -6, high), *gy = guarded_random(n, 3, -2, 2);
  float *y = guarded(n), *ga = guarded(n), *gg = guarded(n);
  double *value = zeros64(n), *product = zeros64(n), *want_a = zeros64(n), *want_g = zeros64(n), *slope = zeros64(n);
  for (size_t i = 0; i < n; i++) {
    value[i] = act64(kind, (double)g[i]);
    product[i] = (double)a[i] * value[i];
    slope[i] = (double)gy[i] * slope64(kind, (double)g[i]);
    want_a[i] = (double)gy[i] * value[i];
    want_g[i] = (double)a[i] * slope[i];
  }
  k->act_forward(kind, n, g, y);
  check_close("act", y, value, n, 4 * ulp, 0.1);
  k->gate_forward(kind, n, a, g, y);
  check_close("gate", y, product, n, 4 * ulp, 0.1);
  k->act_backward(kind, n, g, gy, gg, false);
  check_close("act'", gg, slope, n, 1e-6, 1.0);
  k->gate_backward(kind, n, a, g, gy, ga, false, gg, false);
  check_close("gate' a", ga, want_a, n, 4 * ulp, 0.1);
  check_close("gate' g", gg, want_g, n, 1e-6, 1.0);
  k->gate_backward(kind, n, a, g, gy, ga, true, NULL, false); /* one at a time, adding */
  k->gate_backward(kind, n, a, g, gy, NULL, false, gg, true);
  for (size_t i = 0; i < n; i++) want_a[i] *= 2.0, want_g[i] *= 2.0, slope[i] += want_g[i];
  check_close("gate' a, added", ga, want_a, n, 4 * ulp, 0.1);
  check_close("gate' g, added", gg, want_g, n, 1e-6, 1.0);
  k->act_backward(kind, n, g, gy, gg, true);
  check_close("act', added", gg, slope, n, 2e-6, 1.0);
  k->gate_forward(kind, n, a, g, a); /* in place */
  check_close("gate in place", a, product, n, 4 * ulp, 0.1);
  k->act_forward(kind, n, g, g);
  check_close("act in place", g, value, n, 4 * ulp, 0.1);
  float *all[] = {a, g, gy, y, ga, gg};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i]);
  double *wide[] = {value, product, want_a, want_g, slope};
  for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) free(wide[i]);
}

static void all_gates(const cpu_kernels *k) {
  for (size_t kind = 0; kind < KINDS; kind++) {
    for (size_t i = 0; i < COUNTS; i++) gates_of(k, kinds[kind], counts[i]);
    float x[2] = {NAN, -INFINITY}, y[2];
    k->act_forward(kinds[kind], 2, x, y);
    assert_true(isnan(y[0]));
  }
  const float zero[2] = {0.0f, -0.0f}, one[2] = {1.0f, 1.0f};
  float slope[2];
  k->act_backward(ACT_RELU, 2, zero, one, slope, false);
  assert_true(slope[0] == 0.0f && slope[1] == 0.0f); /* the corner belongs to the flat side */
}

static void test_gates(void **state) {
  (void)state;
  for_each_variant(all_gates);
}

/* --- sums of vectors and rows ------------------------------------------------------------------------------------- */

static void all_axpby(const cpu_kernels *k) {
  for (size_t c = 0; c < COUNTS; c++) {
    const size_t n = counts[c];
    float *x = guarded_random(n, 1, -1, 1), *y = guarded_random(n, 2, -1, 1), *z = guarded(n);
    double *want = zeros64(n), *scaled = zeros64(n);
    for (size_t i = 0; i < n; i++) want[i] = 0.75 * (double)x[i] - 1.5 * (double)y[i], scaled[i] = 0.75 * (double)x[i];
    k->axpby(n, 0.75f, x, -1.5f, y, z);
    check_close("axpby", z, want, n, ulp, 1.0);
    k->axpby(n, 0.75f, x, 0.0f, NULL, z);
    check_close("scale", z, scaled, n, ulp, 0.0);
    k->axpby(n, 0.75f, x, -1.5f, y, y);
    check_close("axpby into y", y, want, n, ulp, 1.0);
    k->axpby(n, 0.75f, x, 0.0f, NULL, x);
    check_close("scale in place", x, scaled, n, ulp, 0.0);
    guarded_free(x), guarded_free(y), guarded_free(z);
    free(want), free(scaled);
  }
}

static const size_t row_shapes[][2] = {{0, 5}, {1, 1}, {1, 192}, {3, 7}, {17, 16}, {130, 33}, {1100, 96}, {4099, 17}};
enum { ROW_SHAPES = sizeof row_shapes / sizeof *row_shapes };

static void all_row_sums(const cpu_kernels *k) {
  for (size_t s = 0; s < ROW_SHAPES; s++) {
    const size_t M = row_shapes[s][0], C = row_shapes[s][1], n = M * C;
    float *x = guarded_random(n, 1, -1, 1), *b = guarded_random(C, 2, -1, 1), *y = guarded(n),
          *gb = guarded_fill(C, 0.5f);
    double *want = zeros64(n), *sum = zeros64(C);
    for (size_t c = 0; c < C; c++) sum[c] = 0.5;
    for (size_t i = 0; i < n; i++) want[i] = (double)x[i] + (double)b[i % C], sum[i % C] += (double)x[i];
    k->add_rows(M, C, x, b, y);
    check_close("add_rows", y, want, n, ulp, 0.0);
    k->sum_rows(M, C, x, gb);
    check_close("sum_rows", gb, sum, C, 2e-6, sqrt((double)M));
    k->add_rows(M, C, x, b, x);
    check_close("add_rows in place", x, want, n, ulp, 0.0);
    guarded_free(x), guarded_free(b), guarded_free(y), guarded_free(gb);
    free(want), free(sum);
  }
}

static void test_sums(void **state) {
  (void)state;
  for_each_variant(all_axpby);
  for_each_variant(all_row_sums);
}

/* --- norms -------------------------------------------------------------------------------------------------------- */

typedef struct {
  double *y, *mean, *rstd, *gx, *gw, *gb;
} norm_truth;

static norm_truth norm64(size_t M, size_t groups, size_t n, double eps, const float *x, const float *w, const float *b,
                         const float *gy) {
  const size_t C = groups * n;
  norm_truth z = {zeros64(M * C), zeros64(M * groups), zeros64(M * groups), zeros64(M * C), zeros64(C), zeros64(C)};
  for (size_t s = 0; s < M * groups; s++) {
    const float *row = x + s * n, *grad = gy + s * n;
    const size_t c0 = s % groups * n;
    double sum = 0.0, squares = 0.0, g_sum = 0.0, along = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)row[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += ((double)row[i] - mean) * ((double)row[i] - mean);
    const double rstd = 1.0 / sqrt(squares / (double)n + eps);
    z.mean[s] = mean, z.rstd[s] = rstd;
    for (size_t i = 0; i < n; i++) {
      const double hat = ((double)row[i] - mean) * rstd, scale = w ? (double)w[c0 + i] : 1.0;
      z.y[s * n + i] = hat * scale + (b ? (double)b[c0 + i] : 0.0);
      z.gw[c0 + i] += (double)grad[i] * hat;
      z.gb[c0 + i] += (double)grad[i];
      g_sum += (double)grad[i] * scale;
      along += (double)grad[i] * scale * hat;
    }
    for (size_t i = 0; i < n; i++) {
      const double hat = ((double)row[i] - mean) * rstd, scale = w ? (double)w[c0 + i] : 1.0;
      z.gx[s * n + i] = rstd * ((double)grad[i] * scale - g_sum / (double)n - hat * along / (double)n);
    }
  }
  return z;
}

static void norm_truth_free(norm_truth *z) {
  double *all[] = {z->y, z->mean, z->rstd, z->gx, z->gw, z->gb};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void norm_shape(const cpu_kernels *k, size_t M, size_t groups, size_t n, bool affine) {
  const size_t C = groups * n;
  const float eps = 1e-5f;
  float *x = guarded_random(M * C, 1, -1, 3), *w = affine ? guarded_random(C, 2, -2, 2) : NULL;
  float *b = affine ? guarded_random(C, 3, -1, 1) : NULL, *gy = guarded_random(M * C, 4, -1, 1), *y = guarded(M * C);
  float *mean = guarded(M * groups), *rstd = guarded(M * groups), *gx = guarded(M * C);
  float *gw = guarded_fill(C, 0.0f), *gb = guarded_fill(C, 0.0f);
  norm_truth z = norm64(M, groups, n, (double)eps, x, w, b, gy);
  const double rows = 1.0 + sqrt((double)M);
  k->norm_forward(M, groups, n, eps, x, w, b, y, mean, rstd);
  check_close("norm mean", mean, z.mean, M * groups, 1e-6, 1.0);
  check_close("norm rstd", rstd, z.rstd, M * groups, 4e-6, 0.0);
  check_close("norm", y, z.y, M * C, 1e-5, 1.0);
  k->norm_backward(M, groups, n, x, w, mean, rstd, gy, gx, false, affine ? gw : NULL, affine ? gb : NULL);
  check_l2("norm gx", gx, z.gx, M * C, 1e-5, n == 1 ? 100.0 : 1.0); /* n = 1: all of it cancels, times 1/sqrt(eps) */
  if (affine) {
    check_close("norm gw", gw, z.gw, C, 1e-5, rows);
    check_close("norm gb", gb, z.gb, C, 1e-5, rows);
  }
  k->norm_backward(M, groups, n, x, w, mean, rstd, gy, gx, true, NULL, NULL);
  for (size_t i = 0; i < M * C; i++) z.gx[i] *= 2.0;
  check_l2("norm gx, added", gx, z.gx, M * C, 1e-5, n == 1 ? 100.0 : 1.0);
  k->norm_backward(M, groups, n, x, w, mean, rstd, gy, NULL, false, gw, NULL); /* now adds to gw */
  for (size_t c = 0; c < C; c++) z.gw[c] *= affine ? 2.0 : 1.0;
  check_close("norm gw alone", gw, z.gw, C, 1e-5, 2 * rows);
  float *all[] = {x, w, b, gy, y, mean, rstd, gx, gw, gb};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i]);
  norm_truth_free(&z);
}

static void all_norms(const cpu_kernels *k) {
  static const size_t shapes[][3] = {{0, 1, 8},  {1, 1, 1},   {1, 1, 192},  {3, 5, 7},
                                     {5, 1, 17}, {33, 3, 64}, {300, 3, 40}, {2050, 1, 21}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    norm_shape(k, shapes[i][0], shapes[i][1], shapes[i][2], true);
    norm_shape(k, shapes[i][0], shapes[i][1], shapes[i][2], false);
  }
}

static void test_norms(void **state) {
  (void)state;
  for_each_variant(all_norms);
}

/* --- shift and mix ------------------------------------------------------------------------------------------------ */

static void shift_shape(const cpu_kernels *k, size_t B, size_t T, size_t C, size_t period, size_t spans,
                        bool with_carry) {
  const size_t n = B * T * C;
  int32_t *c0 = mem_alloc(spans, sizeof *c0), *c1 = mem_alloc(spans, sizeof *c1),
          *source = mem_alloc(spans * T, sizeof *source);
  rng g = rng_make(T, spans);
  for (size_t s = 0; s < spans; s++) {
    c0[s] = (int32_t)(s * period / spans), c1[s] = (int32_t)((s + 1) * period / spans);
    for (size_t t = 0; t < T; t++) source[s * T + t] = (int32_t)rng_below(&g, (uint32_t)T + 2) - 2;
  }
  float *x = guarded_random(n, 1, -1, 1), *carry = with_carry ? guarded_random(B * C, 2, -1, 1) : NULL, *y = guarded(n);
  double *want = zeros64(n);
  for (size_t i = 0; i < n; i++) {
    const size_t b = i / (T * C), t = i / C % T, c = i % C;
    size_t s = 0;
    while ((int32_t)(c % period) >= c1[s]) s++;
    const int32_t from = source[s * T + t];
    want[i] = from >= 0             ? (double)x[(b * T + (size_t)from) * C + c]
              : from == -2 && carry ? (double)carry[b * C + c]
                                    : 0.0;
  }
  k->shift_rows(B, T, C, period, spans, c0, c1, source, x, carry, y, false);
  check_close("shift", y, want, n, 0.0, 0.0);
  k->shift_rows(B, T, C, period, spans, c0, c1, source, x, carry, y, true);
  for (size_t i = 0; i < n; i++) want[i] *= 2.0;
  check_close("shift, added", y, want, n, 0.0, 0.0);
  guarded_free(x), guarded_free(carry), guarded_free(y);
  free(want), free(c0), free(c1), free(source);
}

static void all_shifts(const cpu_kernels *k) {
  for (int with_carry = 0; with_carry < 2; with_carry++) {
    shift_shape(k, 1, 1, 5, 5, 1, with_carry);
    shift_shape(k, 3, 21, 48, 16, 4, with_carry);
    shift_shape(k, 2, 9, 20, 20, 20, with_carry); /* more spans than are resolved at a time */
    shift_shape(k, 3, 130, 192, 64, 5, with_carry);
    shift_shape(k, 2, 0, 8, 8, 2, with_carry);
  }
}

static void mix_shape(const cpu_kernels *k, size_t K, size_t M, size_t C, bool with_mu, bool with_token) {
  const size_t n = M * C;
  float *x = guarded_random(n, 1, -1, 1), *s = guarded_random(n, 2, -1, 1), *gy = guarded_random(K * n, 3, -1, 1);
  float *mu = with_mu ? guarded_random(K * C, 4, -1, 1) : NULL,
        *token = with_token ? guarded_random(K * n, 5, -1, 1) : NULL;
  float *y = guarded(K * n), *gx = guarded(n), *gs = guarded_fill(n, 0.5f), *gmu = guarded_fill(K * C, 0.25f);
  float *gtoken = guarded(K * n);
  double *wy = zeros64(K * n), *wx = zeros64(n), *ws = zeros64(n), *wmu = zeros64(K * C), *wtoken = zeros64(K * n);
  for (size_t i = 0; i < n; i++) ws[i] = 0.5;
  for (size_t i = 0; i < K * C; i++) wmu[i] = 0.25;
  for (size_t i = 0; i < K * n; i++) {
    const size_t kc = i / n * C + i % C, at = i % n;
    const double f = (mu ? (double)mu[kc] : 0.0) + (token ? (double)token[i] : 0.0),
                 step = (double)s[at] - (double)x[at];
    wy[i] = (double)x[at] + step * f;
    wx[at] += (double)gy[i] * (1.0 - f);
    ws[at] += (double)gy[i] * f;
    wmu[kc] += (double)gy[i] * step;
    wtoken[i] = (double)gy[i] * step;
  }
  const double terms = 2.0 * (double)K, rows = 1.0 + sqrt((double)M);
  k->mix_forward(K, M, C, x, s, mu, token, y);
  check_close("mix", y, wy, K * n, 3 * ulp, 2.0);
  k->mix_backward(K, M, C, x, s, mu, token, gy, gx, false, gs, true, with_mu ? gmu : NULL, with_token ? gtoken : NULL);
  check_close("mix gx", gx, wx, n, 3 * ulp, terms);
  check_close("mix gs", gs, ws, n, 3 * ulp, terms);
  if (with_mu) check_close("mix gmu", gmu, wmu, K * C, 3e-6, rows);
  if (with_token) check_close("mix gtoken_mu", gtoken, wtoken, K * n, 2 * ulp, 1.0);
  k->mix_backward(K, M, C, x, s, mu, token, gy, gx, true, gs, false, NULL, NULL);
  for (size_t i = 0; i < n; i++) wx[i] *= 2.0, ws[i] -= 0.5;
  check_close("mix gx, added", gx, wx, n, 3 * ulp, 2 * terms);
  check_close("mix gs, written", gs, ws, n, 3 * ulp, terms);
  k->mix_backward(K, M, C, x, s, mu, token, gy, NULL, false, NULL, false, gmu, NULL);
  for (size_t i = 0; i < K * C; i++) wmu[i] = with_mu ? 2.0 * wmu[i] - 0.25 : wmu[i];
  check_close("mix gmu alone", gmu, wmu, K * C, 3e-6, 2 * rows);
  float *all[] = {x, s, gy, mu, token, y, gx, gs, gmu, gtoken};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i]);
  double *wide[] = {wy, wx, ws, wmu, wtoken};
  for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) free(wide[i]);
}

static void all_mixes(const cpu_kernels *k) {
  static const size_t shapes[][3] = {{1, 1, 1}, {5, 1, 192},   {5, 21, 33}, {9, 3, 130},
                                     {2, 0, 4}, {1, 1100, 64}, {5, 70, 300}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    mix_shape(k, shapes[i][0], shapes[i][1], shapes[i][2], true, false);
    mix_shape(k, shapes[i][0], shapes[i][1], shapes[i][2], false, true);
    mix_shape(k, shapes[i][0], shapes[i][1], shapes[i][2], true, true);
  }
}

static void test_shift_and_mix(void **state) {
  (void)state;
  for_each_variant(all_shifts);
  for_each_variant(all_mixes);
}

/* --- losses ------------------------------------------------------------------------------------------------------- */

static void entropy_shape(const cpu_kernels *k, size_t M, size_t V, float low, float high) {
  const size_t n = M * V;
  float *x = guarded_random(n, 1, low, high), *weight = guarded_random(M, 2, 0.1f, 2), *ce = guarded(M),
        *g = guarded(n);
  int32_t *target = mem_alloc(M, sizeof *target);
  double *want = zeros64(M), *want_g = zeros64(n);
  rng r = rng_make(M, V);
  for (size_t m = 0; m < M; m++) {
    target[m] = (int32_t)rng_below(&r, (uint32_t)V);
    if (m % 3 == 2) {
      weight[m] = 0.0f, target[m] = -100; /* ignored */
      continue;
    }
    double sum = 0.0;
    for (size_t v = 0; v < V; v++) sum += exp((double)x[m * V + v] - (double)high);
    want[m] = log(sum) + (double)high - (double)x[m * V + (size_t)target[m]];
    for (size_t v = 0; v < V; v++) {
      const double p = exp((double)x[m * V + v] - (double)high) / sum;
      want_g[m * V + v] = (double)weight[m] * (p - (v == (size_t)target[m] ? 1.0 : 0.0));
    }
  }
  k->cross_entropy(M, V, x, target, weight, ce, g);
  check_close("cross entropy", ce, want, M, 1e-6, 1.0);
  check_close("cross entropy gradient", g, want_g, n, 2e-6, 0.01);
  k->cross_entropy(M, V, x, target, weight, ce, NULL);
  check_close("cross entropy alone", ce, want, M, 1e-6, 1.0);
  guarded_free(x), guarded_free(weight), guarded_free(ce), guarded_free(g);
  free(target), free(want), free(want_g);
}

static void bce_shape(const cpu_kernels *k, size_t M, size_t V) {
  const size_t n = M * V;
  float *x = guarded_random(n, 1, -12, 12), *t = guarded_random(n, 2, 0, 1), *weight = guarded_random(M, 3, 0.1f, 2);
  float *loss = guarded(M), *g = guarded(n);
  double *want = zeros64(M), *want_g = zeros64(n);
  for (size_t i = 0; i < n; i++) {
    const double a = (double)x[i], b = (double)t[i];
    want[i / V] += fmax(a, 0.0) - a * b + log1p(exp(-fabs(a)));
    want_g[i] = (double)weight[i / V] * (1.0 / (1.0 + exp(-a)) - b);
  }
  k->bce_with_logits(M, V, x, t, weight, loss, g);
  check_close("bce", loss, want, M, 1e-6, 1.0);
  check_close("bce gradient", g, want_g, n, 4 * ulp, 1.0);
  k->bce_with_logits(M, V, x, t, weight, loss, NULL);
  check_close("bce alone", loss, want, M, 1e-6, 1.0);
  guarded_free(x), guarded_free(t), guarded_free(weight), guarded_free(loss), guarded_free(g);
  free(want), free(want_g);
}

static void all_losses(const cpu_kernels *k) {
  static const size_t shapes[][2] = {{0, 3}, {1, 1}, {1, 17}, {5, 100}, {70, 1500}, {3, 5000}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    entropy_shape(k, shapes[i][0], shapes[i][1], -8, 8);
    entropy_shape(k, shapes[i][0], shapes[i][1], 300, 420); /* far beyond what exp can take */
    bce_shape(k, shapes[i][0], shapes[i][1]);
  }
  const float x[4] = {1.0f, NAN, 0.0f, 2.0f}, weight = 1.0f;
  const int32_t target = 0;
  float ce;
  k->cross_entropy(1, 4, x, &target, &weight, &ce, NULL);
  assert_true(isnan(ce)); /* a broken logit must not pass unnoticed */
}

static void test_losses(void **state) {
  (void)state;
  for_each_variant(all_losses);
}

/* --- optimizer ---------------------------------------------------------------------------------------------------- */

static void all_optimizers(const cpu_kernels *k) {
  const double lr = 1e-2, b1 = 0.9, b2 = 0.99, eps = 1e-8, decay = 0.1, scale = 0.5;
  for (size_t c = 0; c < COUNTS; c++) {
    const size_t n = counts[c];
    float *g = guarded_random(n, 1, -1, 1), *m = guarded_fill(n, 0.0f), *v = guarded_fill(n, 0.0f);
    float *p = guarded_random(n, 2, -1, 1);
    double *wm = zeros64(n), *wv = zeros64(n), *wp = zeros64(n), squares = 0.0;
    for (size_t i = 0; i < n; i++) wp[i] = (double)p[i], squares += (double)g[i] * (double)g[i];
    for (int step = 1; step <= 3; step++) {
      const double c1 = 1.0 / (1.0 - pow(b1, step)), c2 = 1.0 / (1.0 - pow(b2, step));
      k->adamw(n, (float)lr, (float)b1, (float)b2, (float)eps, (float)decay, (float)c1, (float)c2, (float)scale, g, m,
               v, p);
      for (size_t i = 0; i < n; i++) {
        const double s = scale * (double)g[i];
        wm[i] = b1 * wm[i] + (1.0 - b1) * s;
        wv[i] = b2 * wv[i] + (1.0 - b2) * s * s;
        wp[i] -= lr * (wm[i] * c1 / (sqrt(wv[i] * c2) + eps) + decay * wp[i]);
      }
    }
    check_close("adamw m", m, wm, n, 2e-6, 0.0); /* 1 - 0.9f itself is off by 2e-7 */
    check_close("adamw v", v, wv, n, 4e-6, 0.0);
    check_close("adamw p", p, wp, n, 3e-7, 1.0);
    const double sum = k->sum_squares(n, g);
    assert_true(fabs(sum - squares) <= 1e-12 * squares);
    guarded_free(g), guarded_free(m), guarded_free(v), guarded_free(p);
    free(wm), free(wv), free(wp);
  }
}

static void test_optimizers(void **state) {
  (void)state;
  for_each_variant(all_optimizers);
}

/* --- threads and the table ---------------------------------------------------------------------------------------- */

/* Sums over rows, norms, mixes and sums of squares come out the same to the last bit with 1, 2 and 3 threads. */
static void same_with_any_threads(const cpu_kernels *k) {
  enum { M = 1030, C = 48, K = 3 };
  const int usual = omp_get_max_threads();
  const size_t n = (size_t)M * C, total = C + 2 * C + n + K * C + n + n;
  float *x = guarded_random(n, 1, -1, 1), *s = guarded_random(n, 2, -1, 1), *gy = guarded_random(K * n, 3, -1, 1);
  float *mu = guarded_random(K * C, 4, -1, 1), *w = guarded_random(C, 5, -1, 1), *y = guarded(n);
  float *mean = guarded(M), *rstd = guarded(M), *first = NULL;
  double squares = 0.0;
  for (int threads = 1; threads <= 3; threads++) {
    omp_set_num_threads(threads);
    float *all = guarded_fill(total, 0.0f), *gw = all + C, *gb = gw + C, *gx = gb + C, *gmu = gx + n, *gs = gmu + K * C;
    k->sum_rows(M, C, gy, all);
    k->norm_forward(M, 1, C, 1e-5f, x, w, w, y, mean, rstd);
    k->norm_backward(M, 1, C, x, w, mean, rstd, gy, gx, false, gw, gb);
    k->mix_backward(K, M, C, x, s, mu, NULL, gy, gs, false, gs + n, false, gmu, NULL);
    const double sum = k->sum_squares(K * n, gy);
    if (first) {
      assert_memory_equal(all, first, total * sizeof *all);
      assert_true(sum == squares);
      guarded_free(all);
    } else {
      first = all, squares = sum;
    }
  }
  omp_set_num_threads(usual);
  float *all[] = {x, s, gy, mu, w, y, mean, rstd, first};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i]);
}

static void test_threads(void **state) {
  (void)state;
  for_each_variant(same_with_any_threads);
}

static void test_table(void **state) {
  (void)state;
  assert_non_null(cpu());
  assert_non_null(cpu_variant("generic"));
  assert_string_equal(cpu_variant("generic")->name, "generic");
  assert_null(cpu_variant("abacus"));
  assert_ptr_equal(cpu_variant(cpu()->name), cpu());
  assert_true((cpu_variant("avx512") != NULL) <= cpu_has_avx512());
  assert_memory_equal(cpu_report(), cpu()->name, strlen(cpu()->name));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_vecmath),    cmocka_unit_test(test_gates),         cmocka_unit_test(test_sums),
      cmocka_unit_test(test_norms),      cmocka_unit_test(test_shift_and_mix), cmocka_unit_test(test_losses),
      cmocka_unit_test(test_optimizers), cmocka_unit_test(test_threads),       cmocka_unit_test(test_table)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
