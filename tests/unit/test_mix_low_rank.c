/* Mixes whose amounts are a product of low rank: the kernels of every instruction set against float64, and the operator
 * with its gradients. */
#include "tests/support/gradcheck.h"
#include "tests/support/kernel_check.h"
#include "tests/support/reference64.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { K = 0, M, C, R, SIZES };

static void check_shape(const cpu_kernels *table, const size_t *size) {
  const size_t n = size[M] * size[C], ranks = size[K] * size[R];
  float *x = guarded_random(n, 1, -1, 1), *s = guarded_random(n, 2, -1, 1);
  float *mu = guarded_random(size[K] * size[C], 3, -1, 1), *h = guarded_random(size[M] * ranks, 4, -1, 1);
  float *w2 = guarded_random(ranks * size[C], 5, -1, 1), *y = guarded(size[K] * n);
  double *want = zeros64(size[K] * n);
  for (size_t k = 0; k < size[K]; k++)
    for (size_t m = 0; m < size[M]; m++)
      for (size_t c = 0; c < size[C]; c++) {
        double amount = (double)mu[k * size[C] + c];
        for (size_t r = 0; r < size[R]; r++)
          amount += (double)h[m * ranks + k * size[R] + r] * (double)w2[(k * size[R] + r) * size[C] + c];
        const double from = (double)x[m * size[C] + c];
        want[(k * size[M] + m) * size[C] + c] = from + ((double)s[m * size[C] + c] - from) * amount;
      }
  table->mix_low_rank(size[K], size[M], size[C], size[R], x, s, mu, h, w2, y);
  check_close("mix_low_rank", y, want, size[K] * n, 1e-6, 4 + 2 * (double)size[R]);
  float *all[] = {x, s, mu, h, w2, y};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i]);
  free(want);
}

static void check_table(const cpu_kernels *table) {
  static const size_t sizes[][SIZES] = {{5, 1, 640, 32}, {5, 131, 192, 32}, {1, 7, 64, 64},
                                        {2, 66, 100, 5}, {3, 5, 31, 2},     {2, 9, 130, 70}, /* a rank without tiles */
                                        {2, 0, 64, 3},   {1, 1, 1, 1}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) check_shape(table, sizes[i]);
}

static void test_kernels(void **state) {
  (void)state;
  for_each_table(check_table);
}

/* --- the operator, forward and its gradients ---------------------------------------------------------------------- */

enum { MIXES = 3, X_IN = 0, S_IN, FIRST_IN, MU_IN, W1_IN = MU_IN + MIXES, W2_IN, INPUTS };

static void run_ddlerp(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  out[0] = ddlerp(c, in[X_IN], in[S_IN], MIXES, in + MU_IN, in[FIRST_IN], in[W1_IN], in[W2_IN]);
}

static void define_ddlerp(const gradcheck_case *k, double *const in[], double *const out[]) {
  const size_t rows = check_rows(&k->in[X_IN]), width = check_last(&k->in[X_IN]), rank = (size_t)k->in[W2_IN].dim[1];
  double *mixed = zeros64(rows * width), *h = zeros64(rows * MIXES * rank), *amounts = zeros64(MIXES * rows * width);
  mix64(rows, width, MIX_TOWARD, in[X_IN], in[S_IN], in[FIRST_IN], NULL, mixed);
  linear64(rows, width, MIXES * rank, true, mixed, in[W1_IN], NULL, h);
  for (size_t i = 0; i < rows * MIXES * rank; i++) h[i] = tanh(h[i]);
  low_rank64(rows, MIXES, rank, width, h, in[W2_IN], amounts);
  for (size_t j = 0; j < MIXES; j++) {
    const size_t at = j * rows * width;
    mix64(rows, width, MIX_TOWARD, in[X_IN], in[S_IN], in[MU_IN + j], amounts + at, out[0] + at);
  }
  free(mixed), free(h), free(amounts);
}

static void check_operator(int64_t B, int64_t T, int64_t width, int64_t rank) {
  gradcheck_case k = {.name = "ddlerp", .n_in = INPUTS, .n_out = 1, .run = run_ddlerp, .define = define_ddlerp};
  for (int i = X_IN; i <= S_IN; i++) k.in[i] = (check_input){.dim = {B, T, width}};
  for (int i = FIRST_IN; i < MU_IN + MIXES; i++) k.in[i] = (check_input){.dim = {1, 1, width}};
  k.in[W1_IN] = (check_input){.dim = {width, MIXES * rank}};
  k.in[W2_IN] = (check_input){.dim = {MIXES, rank, width}};
  gradcheck(&k);
}

static void test_operator(void **state) {
  (void)state;
  check_operator(3, 5, 19, 3);
  check_operator(1, 1, 70, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kernels), cmocka_unit_test(test_operator)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
