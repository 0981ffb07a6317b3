/* Several products of one row at once, of other types and sizes each: bit for bit what each gives alone, on any number
 * of threads. (What one gives is the matter of test_product_quant.c and test_product_half.c.) */
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
  char *rows = malloc(N * packed_row_bytes(type, K)), *data = mem_aligned(packed_bytes(type, N, K));
  void *room = mem_aligned(packed_room(1, K));
  assert_true(rows && data && room);
  packed_encode(type, values, N * K, rows);
  packed_put(type, K, 0, N, rows, data);
  free(rows);
  guarded_free(values);
  return (packed_product){{type, N, K, data}, 1, guarded_random(K, N, -2, 2), room, guarded(N), ACT_NONE};
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
    free((void *)p[i].w.data);
    free(p[i].room);
    guarded_free((float *)p[i].x);
    guarded_free(p[i].y);
    guarded_free(alone[i]);
  }
}

static void test_together(void **state) {
  (void)state;
  const int before = omp_get_max_threads();
  for_each_table(check);
  omp_set_num_threads(before);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_together)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
