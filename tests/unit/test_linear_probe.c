/* L-BFGS on functions whose minimum is known; linear probes against their optimality conditions. Spec rwkv-clip 9.3. */
#include "train/linear_probe.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "train/lbfgs.h"

#include <cmocka.h>

/* --- L-BFGS ------------------------------------------------------------------------------------------------------- */

/* Rosenbrock's valley in pairs of variables: minimum 0 at all ones. */
static double valley(void *user, const double *x, double *g) {
  const size_t n = *(const size_t *)user;
  double sum = 0;
  for (size_t i = 0; i < n; i += 2) {
    const double a = 1 - x[i], b = x[i + 1] - x[i] * x[i];
    sum += a * a + 100 * b * b;
    g[i] = -2 * a - 400 * x[i] * b;
    g[i + 1] = 200 * b;
  }
  return sum;
}

/* sum of i (x_i - i)^2: steep in some directions, shallow in others. */
static double bowl(void *user, const double *x, double *g) {
  const size_t n = *(const size_t *)user;
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    const double w = pow(10, (double)i / 10), d = x[i] - (double)i;
    sum += w * d * d;
    g[i] = 2 * w * d;
  }
  return sum;
}

static double nowhere(void *user, const double *x, double *g) {
  (void)user, (void)x;
  g[0] = 0;
  return NAN;
}

static void test_lbfgs(void **state) {
  (void)state;
  double x[20] = {0};
  size_t n = 20;
  lbfgs_report r;
  lbfgs_options o = {.memory = 10, .max_iterations = 500, .tolerance = 1e-8};
  for (size_t i = 0; i < n; i += 2) x[i] = -1.2, x[i + 1] = 1;
  assert_int_equal(lbfgs(valley, &n, n, x, &o, &r), STATUS_OK);
  assert_true(r.converged && r.value < 1e-14 && r.iterations < 200);
  for (size_t i = 0; i < n; i++) assert_true(fabs(x[i] - 1) < 1e-6);
  memset(x, 0, sizeof x);
  o.memory = 3;
  assert_int_equal(lbfgs(bowl, &n, n, x, &o, &r), STATUS_OK);
  assert_true(r.converged);
  for (size_t i = 0; i < n; i++) assert_true(fabs(x[i] - (double)i) < 1e-6);
  const int iterations = r.iterations;
  assert_int_equal(lbfgs(bowl, &n, n, x, &o, &r), STATUS_OK); /* there already */
  assert_true(r.converged && r.iterations == 0 && iterations > 3);
  memset(x, 0, sizeof x);
  o.max_iterations = 2;
  assert_int_equal(lbfgs(bowl, &n, n, x, &o, &r), STATUS_OK);
  assert_true(!r.converged && r.iterations == 2);
  n = 1;
  assert_int_equal(lbfgs(nowhere, &n, n, x, &o, &r), STATUS_FORMAT);
  o.memory = 0;
  assert_int_equal(lbfgs(bowl, &n, n, x, &o, &r), STATUS_ARGUMENT);
}

/* --- probes ------------------------------------------------------------------------------------------------------- */

enum { N = 1500, D = 5, K = 4 };

/* Clouds around one point a class, which overlap. */
static void make_data(float *features, int32_t *targets, int n, uint64_t seed) {
  rng g = rng_make(seed, 1);
  for (int i = 0; i < n; i++) {
    targets[i] = (int32_t)rng_below(&g, K);
    for (int d = 0; d < D; d++)
      features[i * D + d] = 1.2f * (float)(d == targets[i]) + 0.7f * rng_normal(&g) + 0.3f * (float)d;
  }
}

/* What is zero at the minimum, from the formula alone: for each class the pull of its weights against C times what the
 * examples ask for. */
static double largest_slope(const linear_probe *p, const probe_data *d, double C) {
  double most = 0;
  for (size_t k = 0; k < K; k++)
    for (size_t j = 0; j <= D; j++) {
      double slope = j < D ? p->weights[k * D + j] : 0;
      for (size_t i = 0; i < d->n; i++) {
        double e[K], sum = 0;
        for (size_t c = 0; c < K; c++) {
          e[c] = p->weights[K * D + c];
          for (size_t m = 0; m < D; m++) e[c] += p->weights[c * D + m] * (double)d->features[i * D + m];
          sum += e[c] = exp(e[c]);
        }
        const double x = j < D ? (double)d->features[i * D + j] : 1;
        slope += C * (e[k] / sum - (d->targets[i] == (int32_t)k)) * x;
      }
      most = fmax(most, fabs(slope) / (C * (double)d->n));
    }
  return most;
}

static void test_probe(void **state) {
  (void)state;
  static float features[N * D], logits[N * K];
  static int32_t targets[N];
  make_data(features, targets, N, 1);
  const probe_data data = {N, D, K, features, targets};
  static const double Cs[] = {1e-4, 0.316, 100};
  double length_before = 0;
  for (size_t i = 0; i < sizeof Cs / sizeof *Cs; i++) {
    const probe_options o = {Cs[i], 1000, 1e-5};
    linear_probe p;
    assert_int_equal(linear_probe_fit(&p, &data, &o), STATUS_OK);
    assert_true(p.converged && p.iterations > 1);
    assert_true(largest_slope(&p, &data, Cs[i]) < 3e-5);
    double length = 0;
    for (size_t w = 0; w < K * D; w++) length += p.weights[w] * p.weights[w];
    assert_true(length > length_before); /* the weaker the penalty */
    length_before = length;
    int right = 0;
    assert_int_equal(linear_probe_logits(&p, features, N, logits), STATUS_OK);
    for (int n = 0; n < N; n++) {
      int best = 0;
      for (int k = 1; k < K; k++)
        if (logits[n * K + k] > logits[n * K + best]) best = k;
      right += best == targets[n];
    }
    assert_true(i == 0 || right > N * 6 / 10);
    linear_probe_free(&p);
  }
}

static void test_probe_refuses(void **state) {
  (void)state;
  float features[4] = {0};
  int32_t targets[2] = {0, 2};
  linear_probe p;
  assert_int_equal(linear_probe_fit(&p, &(probe_data){2, 2, 2, features, targets}, &probe_published), STATUS_ARGUMENT);
  targets[1] = 1;
  assert_int_equal(linear_probe_fit(&p, &(probe_data){0, 2, 2, features, targets}, &probe_published), STATUS_ARGUMENT);
  assert_int_equal(linear_probe_fit(&p, &(probe_data){2, 2, 1, features, targets}, &probe_published), STATUS_ARGUMENT);
  assert_int_equal(
      linear_probe_fit(&p, &(probe_data){2, 2, 2, features, targets}, &(probe_options){.C = 0, .max_iterations = 9}),
      STATUS_ARGUMENT);
  linear_probe_free(&p);
}

/* Few examples with many useless features: much freedom does harm, none does too. */
static void test_sweep(void **state) {
  (void)state;
  enum { FEW = 60, MANY = 400, WIDE = 40 };
  static float few[FEW * WIDE], many[MANY * WIDE];
  static int32_t of_few[FEW], of_many[MANY];
  rng g = rng_make(8, 1);
  for (int i = 0; i < FEW + MANY; i++) {
    float *x = i < FEW ? few + i * WIDE : many + (i - FEW) * WIDE;
    int32_t *y = i < FEW ? of_few + i : of_many + i - FEW;
    *y = (int32_t)rng_below(&g, 2);
    for (int d = 0; d < WIDE; d++) x[d] = rng_normal(&g) + (d < 3 ? (*y ? 0.8f : -0.8f) : 0);
  }
  const probe_data train = {FEW, WIDE, 2, few, of_few}, valid = {MANY, WIDE, 2, many, of_many};
  const probe_options o = {0, 300, 1e-4};
  double C, accuracy;
  assert_int_equal(linear_probe_sweep(&train, &valid, &o, &C, &accuracy), STATUS_OK);
  assert_true(accuracy > 80 && accuracy < 100 && C > 1e-5 && C < 10);
  const double eighths = 8 * log10(C);
  assert_true(fabs(eighths - round(eighths)) < 1e-6);
  double again_C, again;
  assert_int_equal(linear_probe_sweep(&train, &valid, &o, &again_C, &again), STATUS_OK);
  assert_true(again_C == C && again == accuracy);
  const probe_data narrow = {MANY, WIDE - 1, 2, many, of_many};
  assert_int_equal(linear_probe_sweep(&train, &narrow, &o, &C, &accuracy), STATUS_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lbfgs),
      cmocka_unit_test(test_probe),
      cmocka_unit_test(test_probe_refuses),
      cmocka_unit_test(test_sweep),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
