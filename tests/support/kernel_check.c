#include "tests/support/kernel_check.h"

#include "kernels/base.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUARD = 17, ALIGN_BYTES = 64 };
static const uint32_t guard_word = 0x7fc0beefu; /* a NaN: whatever reads it shows */

/* Block: size | 17 guards | n floats | 17 guards; `size` sits in front of the guards. */
typedef struct {
  void *block;
  size_t n;
} guard_head;

float *guarded(size_t n) {
  char *block = malloc(sizeof(guard_head) + (n + 2 * GUARD) * sizeof(float) + 2 * ALIGN_BYTES);
  assert_non_null(block);
  uintptr_t start = (uintptr_t)block + sizeof(guard_head) + GUARD * sizeof(float);
  start = (start + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES + sizeof(float);
  float *p = (float *)start;
  const guard_head head = {block, n};
  memcpy((char *)(p - GUARD) - sizeof head, &head, sizeof head);
  for (size_t i = 0; i < GUARD; i++) {
    memcpy(p - GUARD + i, &guard_word, sizeof guard_word);
    memcpy(p + n + i, &guard_word, sizeof guard_word);
  }
  for (size_t i = 0; i < n; i++) p[i] = NAN;
  return p;
}

static guard_head head_of(const float *p) {
  guard_head head;
  memcpy(&head, (const char *)(p - GUARD) - sizeof head, sizeof head);
  return head;
}

void guarded_check(const float *p) {
  const size_t n = head_of(p).n;
  for (size_t i = 0; i < GUARD; i++) {
    assert_memory_equal(p - GUARD + i, &guard_word, sizeof guard_word);
    assert_memory_equal(p + n + i, &guard_word, sizeof guard_word);
  }
}

void guarded_free(float *p) {
  if (!p) return;
  guarded_check(p);
  free(head_of(p).block);
}

float *guarded_random(size_t n, uint64_t seed, float low, float high) {
  float *p = guarded(n);
  rng g = rng_make(seed, 0);
  for (size_t i = 0; i < n; i++) p[i] = rng_range(&g, low, high);
  return p;
}

float *guarded_fill(size_t n, float value) {
  float *p = guarded(n);
  for (size_t i = 0; i < n; i++) p[i] = value;
  return p;
}

float *guarded_copy(const float *from, size_t n) {
  float *p = guarded(n);
  if (n) memcpy(p, from, n * sizeof *p);
  return p;
}

double *zeros64(size_t n) {
  double *p = calloc(n ? n : 1, sizeof *p);
  assert_non_null(p);
  return p;
}

void check_close(const char *what, const float *got, const double *want, size_t n, double tolerance, double floor) {
  for (size_t i = 0; i < n; i++) {
    if (!(fabs((double)got[i] - want[i]) <= tolerance * (fabs(want[i]) + floor))) {
      fail_msg("%s: element %zu of %zu is %.9g instead of %.9g", what, i, n, (double)got[i], want[i]);
    }
  }
}

void check_l2(const char *what, const float *got, const double *want, size_t n, double tolerance, double floor) {
  double error = 0.0, size = 0.0;
  for (size_t i = 0; i < n; i++) {
    if (!isfinite(got[i]))
      fail_msg("%s: element %zu of %zu is %g instead of %.9g", what, i, n, (double)got[i], want[i]);
    error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    size += want[i] * want[i];
  }
  if (!(sqrt(error) <= tolerance * (sqrt(size) + floor * sqrt((double)n)))) {
    fail_msg("%s: L2 error %.3g of %zu elements of size %.3g, allowed %.3g", what, sqrt(error), n, sqrt(size),
             tolerance);
  }
}

packed_product packed_product_new(dtype type, size_t M, size_t N, size_t K, const float *weights, float *x) {
  char *rows = malloc(N * packed_row_bytes(type, K)), *data = mem_aligned(packed_bytes(type, N, K));
  void *room = mem_aligned(packed_room(M, K));
  assert_true(rows && data && room);
  packed_encode(type, weights, N * K, rows);
  packed_put(type, K, 0, N, rows, data);
  free(rows);
  return (packed_product){{type, N, K, data}, M, x, room, guarded(M * N), ACT_NONE};
}

void packed_product_free(packed_product *p) {
  free((void *)(uintptr_t)p->w.data);
  free(p->room);
  guarded_free((float *)(uintptr_t)p->x);
  guarded_free(p->y);
}

void packed_product_run(const cpu_kernels *k, const packed_product *p) {
  if (p->M == 1)
    k->product_row(1, p);
  else
    dtype_is_quant(p->w.type) ? k->product_quant(p) : k->product_half(p);
}

void for_each_variant(void (*test)(const cpu_kernels *k)) {
  for (int i = 0; cpu_variant_at(i); i++)
    if (!cpu_variant_at(i)->base) test(cpu_variant_at(i));
}

void for_each_table(void (*test)(const cpu_kernels *k)) {
  for (int i = 0; cpu_variant_at(i); i++) test(cpu_variant_at(i));
}
