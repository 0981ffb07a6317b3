/* Products whose sums go through an activation before they are stored, in every instruction set: the same as the plain
 * product and the activation after it, whichever way a product is computed: one row, few rows, tiles and what is left
 * of them, rows that may not be rounded to integers, and sums that are added up in more than one pass. */
#include <math.h>

#include "tests/support/kernel_check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { Q8_0 = DTYPE_QUANT + QUANT_Q8_0, Q4_K = DTYPE_QUANT + QUANT_Q4_K };

static const struct {
  int type;
  size_t M, N, K;
} sizes[] = {
    {DTYPE_BF16, 1, 70, 129},  {DTYPE_BF16, 3, 70, 129},  {DTYPE_BF16, 21, 70, 258}, {DTYPE_F16, 1, 33, 64},
    {DTYPE_F16, 100, 33, 320}, {DTYPE_BF16, 70, 128, 64}, {Q8_0, 1, 70, 512},        {Q8_0, 20, 70, 512},
    {Q4_K, 1, 40, 256},        {Q4_K, 65, 64, 512},       {Q8_0, 512, 32, 2080},
};

static packed_product product_new(size_t i) {
  const dtype type = (dtype)sizes[i].type;
  const size_t M = sizes[i].M, N = sizes[i].N, K = sizes[i].K;
  float *values = guarded_random(N * K, i, -1, 1), *x = guarded_random(M * K, i + 100, -1, 1);
  if (M > 2 && !dtype_is_quant(type)) /* a row too large to be rounded */
    for (size_t j = 0; j < K; j++) x[2 * K + j] *= 0x1p70f;
  const packed_product p = packed_product_new(type, M, N, K, values, x);
  guarded_free(values);
  return p;
}

static void check(const cpu_kernels *k) {
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    packed_product p = product_new(i);
    const size_t n = p.M * p.w.N;
    packed_product_run(k, &p);
    float *plain = guarded_copy(p.y, n), *want = guarded(n);
    for (act_kind kind = ACT_SIGMOID; kind <= ACT_QUICK_GELU; kind++) {
      for (size_t j = 0; j < n; j++) p.y[j] = NAN;
      p.act = kind;
      packed_product_run(k, &p);
      guarded_check(p.y);
      k->act_forward(kind, n, plain, want);
      for (size_t j = 0; j < n; j++)
        if (p.y[j] != want[j] && !(fabsf(p.y[j] - want[j]) <= 1e-6f * (fabsf(want[j]) + 1e-6f)))
          fail_msg("%s, case %zu, activation %d, number %zu: %g, expected %g", k->name, i, (int)kind, j, (double)p.y[j],
                   (double)want[j]);
    }
    guarded_free(plain), guarded_free(want);
    packed_product_free(&p);
  }
}
static void test_activations_of_sums(void **state) { (void)state, for_each_table(check); }

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_activations_of_sums)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
