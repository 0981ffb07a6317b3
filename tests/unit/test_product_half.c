/* Products with packed weights of 16 bits (kernels/cpu/product_half.c) of every instruction set against float64: few
 * rows, which are exact but for sums in f32, and many, which are rounded to integers of 12 or 13 bits. */
#include "tests/support/kernel_check.h"

#include "kernels/base.h"
#include "kernels/half.h"
#include "kernels/packed.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Errors against the size of the result: of sums in f32; of rounding many rows, at most half of the 1.6e-3 of
 * activations in bf16. */
#define FEW_ERROR 2e-6
#define MANY_ERROR 8e-4
enum { FEW = 16, GUARD_BYTES = 64 };

/* --- problems ----------------------------------------------------------------------------------------------------- */

typedef struct {
  packed_matrix w;
  void *weights;
  size_t M;
  float *x, *y;
  double *want;
} problem;

/* Weights from values [N,K]; x is taken over. */
static problem problem_of(dtype type, size_t M, size_t N, size_t K, const float *values, float *x) {
  problem p = {.w = {type, N, K, NULL}, .M = M, .x = x, .y = guarded(M * N), .want = zeros64(M * N)};
  uint16_t *half = mem_alloc(N * K, sizeof *half);
  for (size_t i = 0; i < N * K; i++) half[i] = type == DTYPE_BF16 ? f32_to_bf16(values[i]) : f32_to_f16(values[i]);
  p.w.data = p.weights = mem_alloc(packed_bytes(type, N, K), 1);
  packed_put(type, K, 0, N, half, p.weights);
  free(half);
  float *row = mem_alloc(K, sizeof *row);
  for (size_t n = 0; n < N; n++) {
    packed_row_values(&p.w, n, row);
    for (size_t m = 0; m < M; m++)
      for (size_t k = 0; k < K; k++) p.want[m * N + n] += (double)row[k] * (double)x[m * K + k];
  }
  free(row);
  return p;
}

static problem problem_new(dtype type, size_t M, size_t N, size_t K, uint64_t seed) {
  float *values = guarded_random(N * K, seed, -1, 1);
  problem p = problem_of(type, M, N, K, values, guarded_random(M * K, seed + 1, -1, 1));
  guarded_free(values);
  return p;
}

/* Runs the kernel in exactly the room that it may use. */
static void run(const cpu_kernels *k, const problem *p, float *y) {
  const size_t bytes = packed_room(p->M, p->w.K), whole = (bytes + 63) / 64 * 64 + GUARD_BYTES;
  uint8_t *room = aligned_alloc(64, whole);
  assert_non_null(room);
  memset(room, 0xa5, whole);
  const packed_product product = {p->w, p->M, p->x, room, y, ACT_NONE};
  packed_product_run(k, &product);
  for (size_t i = bytes; i < whole; i++) assert_int_equal(room[i], 0xa5);
  free(room);
  guarded_check(y);
}

static void problem_free(problem *p) {
  free(p->weights);
  free(p->want);
  guarded_free(p->x);
  guarded_free(p->y);
}

static const dtype types[] = {DTYPE_BF16, DTYPE_F16};
enum { TYPES = 2 };

/* --- sizes, threads ----------------------------------------------------------------------------------------------- */

static void check_size(const cpu_kernels *k, size_t M, size_t N, size_t K) {
  for (int i = 0; i < TYPES; i++) {
    problem p = problem_new(types[i], M, N, K, 11 * M + N + K);
    run(k, &p, p.y);
    check_l2(k->name, p.y, p.want, M * N, M <= FEW ? FEW_ERROR : MANY_ERROR, 0);
    problem_free(&p);
  }
}

static void check_sizes(const cpu_kernels *k) {
  for (size_t M = 1; M <= 20; M++) {
    check_size(k, M, 33, 67);
    check_size(k, M, 16, 64);
  }
  static const size_t sizes[][2] = {{1, 1}, {1, 300}, {17, 2}, {15, 3}, {130, 257}, {96, 512}, {81, 576}, {64, 1091}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    check_size(k, 1, sizes[i][0], sizes[i][1]);
    check_size(k, 3, sizes[i][0], sizes[i][1]);
    check_size(k, 200, sizes[i][0], sizes[i][1]);
  }
  check_size(k, PRODUCT_ROWS_MAX, 5, 1);
}

static void test_sizes(void **state) {
  (void)state;
  for_each_table(check_sizes);
}

static void check_threads(const cpu_kernels *k) {
  const int most = omp_get_max_threads();
  for (int i = 0; i < TYPES; i++)
    for (size_t M = 5; M < 40; M += 30) {
      const size_t N = 200, K = 333;
      problem p = problem_new(types[i], M, N, K, 3);
      float *alone = guarded(M * N);
      omp_set_num_threads(1);
      run(k, &p, alone);
      for (int threads = 2; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        run(k, &p, p.y);
        assert_memory_equal(p.y, alone, M * N * sizeof *alone);
      }
      guarded_free(alone);
      problem_free(&p);
    }
  omp_set_num_threads(most);
}

static void test_threads(void **state) {
  (void)state;
  for_each_table(check_threads);
}

/* --- accuracy ----------------------------------------------------------------------------------------------------- */

typedef enum { NORMAL, OUTLIERS, SQUARES, POSITIVE, SCALED, KINDS } data_kind;

/* Activations as models have them: with a few that are 100 times larger, squared and mostly zero, all of one sign so
 * that sums grow, of other size from one row and one column to the next. */
static float draw(rng *g, data_kind kind, size_t m, size_t k) {
  const float x = rng_normal(g);
  switch (kind) {
  case OUTLIERS:
    return rng_below(g, 500) ? x : 100 * x;
  case SQUARES:
    return x > 0 ? x * x : 0;
  case POSITIVE:
    return fabsf(x);
  case SCALED:
    return ldexpf(x, (int)(m % 40) - 20 + (int)(k / 512 % 4));
  default:
    return x;
  }
}

static void check_accuracy(const cpu_kernels *k) {
  const size_t M = 24, N = 32, K = 7168;
  for (int i = 0; i < TYPES; i++)
    for (data_kind kind = NORMAL; kind < KINDS; kind++) {
      rng g = rng_make(17, (uint64_t)kind);
      float *values = guarded(N * K), *x = guarded(M * K);
      for (size_t e = 0; e < N * K; e++)
        values[e] = 0.02f * (kind == POSITIVE ? fabsf(rng_normal(&g)) : rng_normal(&g));
      for (size_t e = 0; e < M * K; e++) x[e] = draw(&g, kind, e / K, e % K);
      problem p = problem_of(types[i], M, N, K, values, x);
      run(k, &p, p.y);
      for (size_t m = 0; m < M; m++)
        check_l2(k->name, p.y + m * N, p.want + m * N, N, kind == POSITIVE ? 2e-5 : MANY_ERROR, 0);
      guarded_free(values);
      problem_free(&p);
    }
}

static void test_accuracy(void **state) {
  (void)state;
  for_each_table(check_accuracy);
}

/* --- values that do not suit -------------------------------------------------------------------------------------- */

/* Rows of x that are special, among others. */
enum { HAS_NAN = 1, HAS_INF = 4, ZEROS = 7, SUBNORMAL = 10, HUGE_ROW = 11, TINY_PART = 13 };

static void check_rows(const cpu_kernels *k) {
  const size_t M = 20, N = 37, K = 150;
  for (int i = 0; i < TYPES; i++) {
    float *values = guarded_random(N * K, 5, -1, 1), *x = guarded_random(M * K, 6, -1, 1);
    x[HAS_NAN * K + 77] = NAN;
    x[HAS_INF * K + 149] = -INFINITY;
    for (size_t j = 0; j < K; j++) {
      x[ZEROS * K + j] = 0;
      x[SUBNORMAL * K + j] *= 1e-39f;
      x[HUGE_ROW * K + j] *= 1e36f;
      if (j < 64) x[TINY_PART * K + j] *= 1e-38f;
    }
    problem p = problem_of(types[i], M, N, K, values, x);
    run(k, &p, p.y);
    for (size_t m = 0; m < M; m++) {
      const float *y = p.y + m * N;
      if (m == HAS_NAN || m == HAS_INF)
        for (size_t n = 0; n < N; n++) assert_false(isfinite(y[n]));
      else if (m == ZEROS)
        for (size_t n = 0; n < N; n++) assert_true(y[n] == 0);
      else if (m == SUBNORMAL) /* the sums are rounded to multiples of 2^-149 */
        check_l2(k->name, y, p.want + m * N, N, 1e-6, 1e-38);
      else
        check_l2(k->name, y, p.want + m * N, N, MANY_ERROR, 0);
    }
    guarded_free(values);
    problem_free(&p);
  }
}

static void test_rows(void **state) {
  (void)state;
  for_each_table(check_rows);
}

/* Rows of weights of any size, each right by itself; those that are not finite spoil their own outputs alone. */
static void check_weights(const cpu_kernels *k) {
  const size_t N = 90, K = 200;
  for (int i = 0; i < TYPES; i++)
    for (size_t M = 2; M < 30; M += 21) {
      float *values = guarded_random(N * K, 8, -1, 1);
      const bool bf16 = types[i] == DTYPE_BF16;
      for (size_t n = 0; n < N; n++)
        for (size_t j = 0; j < K; j++) {
          float *v = &values[n * K + j];
          if (n == 3) *v *= bf16 ? 1e37f : 65504;
          if (n == 20) *v *= bf16 ? 1e-37f : 1e-6f;
          if (n == 40) *v *= bf16 ? 1e-39f : 1e-7f;
          if (n == 41) *v = 0;
          if (n == 60) *v *= j < 64 ? 1e-3f : j < 128 ? 1e3f : 1;
        }
      values[70 * K + 5] = NAN;
      values[89 * K + 199] = INFINITY;
      problem p = problem_of(types[i], M, N, K, values, guarded_random(M * K, 9, 0.5f, 1));
      run(k, &p, p.y);
      for (size_t n = 0; n < N; n++) {
        float y[30];
        double want[30];
        for (size_t m = 0; m < M; m++) y[m] = p.y[m * N + n], want[m] = p.want[m * N + n];
        if (n == 70 || n == 89)
          for (size_t m = 0; m < M; m++) assert_false(isfinite(y[m]));
        else
          check_l2(k->name, y, want, M, M <= FEW ? 1e-5 : 2e-3, bf16 && n == 40 ? 1e-38 : 0);
      }
      guarded_free(values);
      problem_free(&p);
    }
}

static void test_weights(void **state) {
  (void)state;
  for_each_table(check_weights);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes), cmocka_unit_test(test_threads), cmocka_unit_test(test_accuracy),
      cmocka_unit_test(test_rows),  cmocka_unit_test(test_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
