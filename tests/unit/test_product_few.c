/* Products of very few f32 rows (kernels/cpu/product_few.c) of every instruction set against float64. */
#include "tests/support/kernel_check.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
  bool right;
  size_t M, N, K, ldx, ldw, ldy;
  float *x, *w, *y;
} problem;

/* Rows lie `gap` floats apart from each other. */
static problem problem_new(bool right, size_t M, size_t N, size_t K, size_t gap) {
  problem p = {right, M, N, K, K + gap, (right ? N : K) + gap, N + gap, NULL, NULL, NULL};
  p.x = guarded_random(M * p.ldx, 3 + M, -1, 1);
  p.w = guarded_random((right ? K : N) * p.ldw, 4 + N, -1, 1);
  p.y = guarded(M * p.ldy);
  for (size_t m = 0; m < M; m++) /* what lies between rows must not be read */
    for (size_t i = K; i < p.ldx; i++) p.x[m * p.ldx + i] = NAN;
  for (size_t row = 0; row < (right ? K : N); row++)
    for (size_t i = p.ldw - gap; i < p.ldw; i++) p.w[row * p.ldw + i] = NAN;
  return p;
}

static void run(const cpu_kernels *k, const problem *p) {
  k->product_few(p->right, p->M, p->N, p->K, p->x, p->ldx, p->w, p->ldw, p->y, p->ldy);
  guarded_check(p->y);
}

static void problem_free(problem *p) {
  guarded_free(p->x);
  guarded_free(p->w);
  guarded_free(p->y);
}

static void check(const cpu_kernels *k, const problem *p) {
  double *want = zeros64(p->N);
  for (size_t m = 0; m < p->M; m++) {
    for (size_t n = 0; n < p->N; n++) {
      want[n] = 0;
      for (size_t i = 0; i < p->K; i++)
        want[n] += (double)p->x[m * p->ldx + i] * (double)p->w[p->right ? i * p->ldw + n : n * p->ldw + i];
    }
    check_l2(k->name, p->y + m * p->ldy, want, p->N, 2e-6, 0.1);
    for (size_t n = p->N; n < p->ldy; n++) assert_true(isnan(p->y[m * p->ldy + n]));
  }
  free(want);
}

/* Also long enough for threads, and on both sides of what is narrow and of a strip. */
static const size_t sizes[][2] = {{1, 1},    {3, 0},     {5, 7},    {16, 16},  {17, 33},   {64, 32},    {160, 700},
                                  {256, 65}, {257, 130}, {700, 64}, {2100, 9}, {4200, 17}, {1000, 123}, {66, 1025}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void check_sizes(const cpu_kernels *k) {
  for (int i = 0; i < SIZES; i++)
    for (size_t M = 1; M <= PRODUCT_FEW; M++)
      for (int right = 0; right <= 1; right++) {
        problem p = problem_new(right, M, sizes[i][0], sizes[i][1], M % 2 ? 0 : 5);
        run(k, &p);
        check(k, &p);
        problem_free(&p);
      }
}

static void test_sizes(void **state) {
  (void)state;
  for_each_table(check_sizes);
}

static void check_threads(const cpu_kernels *k) {
  const int most = omp_get_max_threads();
  for (int i = 0; i < SIZES; i++)
    for (int right = 0; right <= 1; right++) {
      problem p = problem_new(right, 3, sizes[i][0], sizes[i][1], 0);
      const size_t n = p.M * p.ldy;
      omp_set_num_threads(1);
      run(k, &p);
      float *alone = guarded_copy(p.y, n);
      for (int threads = 2; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        run(k, &p);
        assert_memory_equal(p.y, alone, n * sizeof *alone);
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

/* A row that is not finite spoils its own outputs alone. */
static void check_rows(const cpu_kernels *k) {
  for (int right = 0; right <= 1; right++) {
    problem p = problem_new(right, 3, 37, 100, 0);
    p.x[p.ldx + 99] = right ? NAN : INFINITY;
    run(k, &p);
    for (size_t i = 0; i < 3 * p.N; i++) assert_int_equal(isfinite(p.y[i]) != 0, i / p.N != 1);
    problem_free(&p);
  }
}

static void test_rows(void **state) {
  (void)state;
  for_each_table(check_rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
