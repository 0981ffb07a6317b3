/* Several products of one row at once, of other types and sizes each: bit for bit what each gives alone, on any number
 * of threads. (What one gives is the matter of test_product_quant.c and test_product_half.c.) And rows with many
 * zeros, whose weights are not read. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base.h"
#include "tests/support/kernel_check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Some too short for a group of panels, some with a last panel that is not full, one of many parts. */
static const struct {
  dtype type;
  size_t N, K;
} sizes[ROW_PRODUCTS] = {{DTYPE_QUANT + QUANT_Q8_0, 160, 256},
                         {DTYPE_BF16, 70, 333},
                         {DTYPE_QUANT + QUANT_Q4_K, 1040, 512},
                         {DTYPE_F16, 1, 1},
                         {DTYPE_QUANT + QUANT_Q6_K, 17, 256},
                         {DTYPE_QUANT + QUANT_Q5_1, 64, 32},
                         {DTYPE_BF16, 512, 1024},
                         {DTYPE_QUANT + QUANT_Q4_0, 129, 96}};

static packed_product product_new(dtype type, size_t N, size_t K) {
  float *values = guarded_random(N * K, N + K, -1, 1);
  const packed_product p = packed_product_new(type, 1, N, K, values, guarded_random(K, N, -2, 2));
  guarded_free(values);
  return p;
}

static void check(const cpu_kernels *k) {
  packed_product p[ROW_PRODUCTS];
  float *alone[ROW_PRODUCTS];
  omp_set_num_threads(1);
  for (size_t i = 0; i < ROW_PRODUCTS; i++) {
    p[i] = product_new(sizes[i].type, sizes[i].N, sizes[i].K);
    k->product_row(1, &p[i]);
    alone[i] = guarded_copy(p[i].y, p[i].w.N);
  }
  for (int threads = 1; threads <= 3; threads++)
    for (size_t n = 0; n <= ROW_PRODUCTS; n++) {
      for (size_t i = 0; i < ROW_PRODUCTS; i++) memset(p[i].y, 0xff, p[i].w.N * sizeof *p[i].y);
      omp_set_num_threads(threads);
      k->product_row(n, p);
      for (size_t i = 0; i < ROW_PRODUCTS; i++) {
        guarded_check(p[i].y);
        const int differs = memcmp(p[i].y, alone[i], p[i].w.N * sizeof *p[i].y);
        if (!differs != (i < n)) fail_msg("%s, %d threads, %zu products: number %zu", k->name, threads, n, i);
      }
    }
  for (size_t i = 0; i < ROW_PRODUCTS; i++) {
    packed_product_free(&p[i]);
    guarded_free(alone[i]);
  }
}

static void test_together(void **state) {
  (void)state;
  const int before = omp_get_max_threads();
  for_each_table(check);
  omp_set_num_threads(before);
}

/* --- zeros -------------------------------------------------------------------------------------------------------- */

/* Zeroes values of x, each with this chance. */
static void thin(packed_product *p, float chance) {
  rng g = rng_make(p->w.K, (uint64_t)(chance * 100));
  float *x = (float *)(uintptr_t)p->x;
  for (size_t i = 0; i < p->w.K; i++)
    if (rng_uniform(&g) < chance) x[i] = 0;
}

/* Block types: the row as one of two, which are never thinned out, to the bit. */
static void check_quant(const cpu_kernels *k, dtype type, float chance) {
  enum { N = 112, K = 1024 };
  packed_product p = product_new(type, N, K), two = p;
  thin(&p, chance);
  k->product_row(1, &p);
  guarded_check(p.y);
  two.M = 2;
  float *x = guarded(2 * K);
  memcpy(x, p.x, K * sizeof *x), memcpy(x + K, p.x, K * sizeof *x);
  two.x = x;
  two.y = guarded(2 * N);
  two.room = mem_aligned(packed_room(2, K));
  k->product_quant(&two);
  if (memcmp(p.y, two.y, N * sizeof *p.y))
    fail_msg("%s, %s, zeros %.2f", k->name, quant_name(dtype_quant(type)), (double)chance);
  free(two.room), guarded_free(two.y), guarded_free(x);
  packed_product_free(&p);
}

/* 16 bits: where most values are zero, weights that would spoil the sums are not read with pairs of them. */
static void check_half(const cpu_kernels *k, dtype type, size_t K, float chance) {
  enum { N = 90 };
  float *values = guarded_random(N * K, K, -1, 1), *x = guarded_random(K, 1, -2, 2);
  packed_product p = {.w = {type, N, K, NULL}, .x = x};
  thin(&p, chance);
  double want[N] = {0};
  for (size_t n = 0; n < N; n++)
    for (size_t i = 0; i < K; i++) {
      const size_t other = i + 1 - 2 * (i % 2);
      values[n * K + i] = roundf(values[n * K + i] * 64) / 64; /* exact in 16 bits */
      want[n] += (double)values[n * K + i] * (double)x[i];
      if (chance > 0.8f && x[i] == 0 && (other == K || x[other] == 0)) values[n * K + i] = NAN;
    }
  p = packed_product_new(type, 1, N, K, values, x);
  guarded_free(values);
  k->product_row(1, &p);
  check_l2(k->name, p.y, want, N, 1e-6, 1);
  guarded_check(p.y);
  packed_product_free(&p);
}

static void check_zeros(const cpu_kernels *k) {
  static const float chances[] = {0, 0.3f, 0.5f, 0.7f, 0.9f, 0.98f, 1};
  for (size_t i = 0; i < sizeof chances / sizeof *chances; i++) {
    check_quant(k, DTYPE_QUANT + QUANT_Q8_0, chances[i]);
    check_quant(k, DTYPE_QUANT + QUANT_Q4_K, chances[i]);
    check_half(k, DTYPE_BF16, 1024, chances[i]);
    check_half(k, DTYPE_BF16, 777, chances[i]);
    check_half(k, DTYPE_F16, 333, chances[i]);
    check_half(k, DTYPE_F16, 1, chances[i]);
  }
}
static void test_zeros(void **state) { (void)state, for_each_table(check_zeros); }

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_together), cmocka_unit_test(test_zeros)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
