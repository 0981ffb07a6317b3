/* Products with weights of ggml's block types, in every instruction set: against float64 with the same rounding of the
 * activations worked out plainly here, and against exact activations within what that rounding can change. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base.h"
#include "tests/support/kernel_check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { BLOCK = 32, ALIGNMENT = 64, GUARD = 64 };

/* --- one product -------------------------------------------------------------------------------------------------- */

typedef struct {
  quant_type type;
  size_t N, K;
  float *values; /* [N,K] exact */
  void *packed;
  packed_matrix w;
} weights;

/* Random weights; minima too, so that types with minima use them. */
static weights weights_new(quant_type type, size_t N, size_t K) {
  weights m = {.type = type, .N = N, .K = K, .values = malloc(N * K * sizeof(float))};
  const size_t row = K / quant_block(type) * quant_bytes(type), bytes = packed_bytes(dtype_of_quant(type), N, K);
  uint8_t *rows = malloc(N * row);
  m.packed = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
  assert_true(m.values && rows && m.packed);
  rng g = rng_make(11, N * K + type);
  for (size_t i = 0; i < N * K; i++) m.values[i] = rng_normal(&g) + rng_range(&g, -0.2f, 0.5f);
  quant_encode(type, m.values, N * K, rows);
  quant_decode(type, rows, N * K, m.values);
  packed_put(dtype_of_quant(type), K, 0, N, rows, m.packed);
  m.w = (packed_matrix){dtype_of_quant(type), N, K, m.packed};
  free(rows);
  return m;
}

static void weights_free(weights *m) {
  free(m->values);
  free(m->packed);
}

/* The product by a table, with what is around x, y and the work space checked. */
static float *product(const cpu_kernels *k, const weights *m, size_t M, const float *x) {
  const size_t room_bytes = packed_room(M, m->K);
  uint8_t *room = aligned_alloc(ALIGNMENT, (room_bytes + GUARD + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
  assert_non_null(room);
  memset(room, 0xa5, room_bytes + GUARD);
  float *y = guarded(M * m->N);
  const packed_product p = {m->w, M, x, room, y, ACT_NONE};
  packed_product_run(k, &p);
  for (size_t i = 0; i < GUARD; i++) assert_int_equal(room[room_bytes + i], 0xa5);
  guarded_check(y);
  guarded_check(x);
  free(room);
  return y;
}

/* Activations of very different sizes from block to block; some blocks are zero. */
static float *activations(size_t M, size_t K, uint64_t seed) {
  float *x = guarded(M * K);
  rng g = rng_make(seed, M * K);
  for (size_t i = 0; i < M * K; i += BLOCK) {
    const float size = rng_below(&g, 8) == 0 ? 0.0f : expf(rng_range(&g, -6.0f, 3.0f));
    for (size_t j = 0; j < BLOCK; j++) x[i + j] = size * rng_normal(&g);
  }
  return x;
}

/* --- what it should be -------------------------------------------------------------------------------------------- */

/* A block's step: max / 127 without the last two bits. */
static float step_of(const float *x) {
  float max = 0;
  for (size_t i = 0; i < BLOCK; i++) max = fmaxf(max, fabsf(x[i]));
  float step = max / 127;
  uint32_t bits;
  memcpy(&bits, &step, sizeof bits);
  bits &= ~3u;
  memcpy(&step, &bits, sizeof bits);
  return step;
}

/* The sums are exact, what remains is the rounding of as many floats as there are blocks. With minima the terms are
 * larger than what they make, by up to sixteen or so. */
static const double rounding = 4e-6;

/* An activation [M,K] as it is, what it is rounded to, the nearest multiple of its block's step, and by how much that
 * may be off: half a step, and a little. */
typedef struct {
  double value, near, off;
} activation;

static activation *activations_of(const float *x, size_t M, size_t K) {
  activation *out = malloc(M * K * sizeof *out);
  assert_non_null(out);
  for (size_t i = 0; i < M * K; i += BLOCK) {
    const float step = step_of(x + i);
    for (size_t j = i; j < i + BLOCK; j++) {
      const double value = (double)x[j], near = step > 0 ? (double)step * nearbyint((double)(x[j] * (1 / step))) : 0;
      out[j] = (activation){value, near, 0.5001 * (double)step + 1e-5 * fabs(value)};
    }
  }
  return out;
}

/* y against the products of the rounded activations, within `rounding` of the size of their terms, and against those
 * of the exact ones, within what the rounding can change. */
static void check_product(const char *what, const weights *m, size_t M, const float *x, const float *y) {
  activation *a = activations_of(x, M, m->K);
  for (size_t r = 0; r < M; r++)
    for (size_t n = 0; n < m->N; n++) {
      double near = 0, size = 0, exact = 0, off = 0;
      for (size_t k = 0; k < m->K; k++) {
        const double w = (double)m->values[n * m->K + k];
        const activation *v = &a[r * m->K + k];
        near += w * v->near;
        size += fabs(w * v->near);
        exact += w * v->value;
        off += fabs(w) * v->off;
      }
      const double got = (double)y[r * m->N + n];
      if (!(fabs(got - near) <= rounding * size) || !(fabs(got - exact) <= off + rounding * size))
        fail_msg("%s %s M %zu N %zu K %zu: [%zu,%zu] is %.9g instead of %.9g +- %.3g, %.9g +- %.3g", what,
                 quant_name(m->type), M, m->N, m->K, r, n, got, near, rounding * size, exact, off);
    }
  free(a);
}

static void check(const cpu_kernels *k, const weights *m, size_t M) {
  float *x = activations(M, m->K, 3);
  float *y = product(k, m, M, x);
  check_product(k->name, m, M, x, y);
  guarded_free(x);
  guarded_free(y);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void shapes(const cpu_kernels *k) {
  static const size_t N[] = {1, 15, 17, 33};
  for (int type = 0; type < QUANT_TYPES; type++)
    for (size_t i = 0; i < sizeof N / sizeof *N; i++) {
      weights m = weights_new((quant_type)type, N[i], 256);
      for (size_t M = 1; M <= (N[i] == 33 ? 35 : 7); M++) check(k, &m, M);
      weights_free(&m);
    }
}

static void test_shapes(void **state) {
  (void)state;
  for_each_table(shapes);
}

/* Rows of one block up to several of the pieces that they are cut into, with a remainder. */
static void lengths(const cpu_kernels *k) {
  static const size_t M[] = {1, 2, 7, 13};
  for (int type = 0; type < QUANT_TYPES; type++) {
    const size_t block = quant_block((quant_type)type),
                 blocks[] = {1, 2, 3, 512 / block, 512 / block + 1, 1536 / block + 3};
    for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
      weights m = weights_new((quant_type)type, 47, blocks[b] * block);
      for (size_t i = 0; i < sizeof M / sizeof *M; i++) check(k, &m, M[i]);
      weights_free(&m);
    }
  }
}

static void test_lengths(void **state) {
  (void)state;
  for_each_table(lengths);
}

static void prompts(const cpu_kernels *k) {
  for (int type = 0; type < QUANT_TYPES; type++) {
    weights m = weights_new((quant_type)type, 33, 768);
    check(k, &m, PRODUCT_ROWS_MAX);
    weights_free(&m);
  }
}

static void test_prompts(void **state) {
  (void)state;
  for_each_table(prompts);
}

/* Neither the number of threads nor that of rows changes a bit, and the matrix is large enough for several. */
static void threads(const cpu_kernels *k) {
  enum { ROWS = 20, WIDTH = 1024, OUTPUTS = 161 };
  for (int type = 0; type < QUANT_TYPES; type++) {
    weights m = weights_new((quant_type)type, OUTPUTS, WIDTH);
    float *x = activations(ROWS, WIDTH, 5), *y[3];
    for (int i = 0; i < 3; i++) {
      omp_set_num_threads(i + 1);
      y[i] = product(k, &m, ROWS, x);
    }
    assert_memory_equal(y[0], y[1], ROWS * OUTPUTS * sizeof(float));
    assert_memory_equal(y[0], y[2], ROWS * OUTPUTS * sizeof(float));
    for (size_t r = 0; r < ROWS; r++) {
      float *row = guarded_copy(x + r * WIDTH, WIDTH), *one = product(k, &m, 1, row);
      assert_memory_equal(one, y[0] + r * OUTPUTS, OUTPUTS * sizeof(float));
      guarded_free(row);
      guarded_free(one);
    }
    guarded_free(x);
    for (int i = 0; i < 3; i++) guarded_free(y[i]);
    weights_free(&m);
  }
}

static void test_threads(void **state) {
  (void)state;
  const int before = omp_get_max_threads();
  for_each_table(threads);
  omp_set_num_threads(before);
}

/* All tables give the same integers, and so nearly the same results. */
static float *expected;
static size_t expected_count;
static const weights *shared;
static const float *shared_x;

static void same(const cpu_kernels *k) {
  float *y = product(k, shared, 3, shared_x);
  if (!expected) {
    expected = y;
    return;
  }
  for (size_t i = 0; i < expected_count; i++) assert_true(fabsf(y[i] - expected[i]) <= 2e-6f * 512.0f);
  guarded_free(y);
}

/* Large products of both signs: sums of 16 bits would overflow. */
static void test_extremes(void **state) {
  (void)state;
  enum { ROWS = 3, WIDTH = 512, OUTPUTS = 32 };
  for (int type = 0; type < QUANT_TYPES; type++) {
    weights m = weights_new((quant_type)type, OUTPUTS, WIDTH);
    const size_t row = WIDTH / quant_block((quant_type)type) * quant_bytes((quant_type)type);
    uint8_t *rows = malloc(OUTPUTS * row);
    assert_non_null(rows);
    for (size_t i = 0; i < OUTPUTS * WIDTH; i++) m.values[i] = i / WIDTH % 2 ? 1.0f : -1.0f;
    for (size_t i = 0; i < OUTPUTS * WIDTH; i += 3) m.values[i] = i / WIDTH % 4 < 2 ? -1.0f : 1.0f;
    quant_encode((quant_type)type, m.values, OUTPUTS * WIDTH, rows);
    quant_decode((quant_type)type, rows, OUTPUTS * WIDTH, m.values);
    packed_put(m.w.type, WIDTH, 0, OUTPUTS, rows, m.packed);
    float *x = guarded_fill(ROWS * WIDTH, 1.0f);
    for (size_t i = 0; i < WIDTH; i++) x[i] = i % 3 ? 1.0f : -1.0f, x[WIDTH + i] = -1.0f;
    shared = &m, shared_x = x, expected = NULL, expected_count = ROWS * OUTPUTS;
    for_each_table(same);
    check_product("extremes", &m, ROWS, x, expected);
    guarded_free(expected);
    guarded_free(x);
    free(rows);
    weights_free(&m);
  }
}

/* A row with a NaN, an infinity or something unreasonable is NaN; the others are not touched; zeros give zeros. */
static void hostile(const cpu_kernels *k) {
  enum { ROWS = 9, WIDTH = 512, OUTPUTS = 19 };
  static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
  for (int type = 0; type < QUANT_TYPES; type++) {
    weights m = weights_new((quant_type)type, OUTPUTS, WIDTH);
    float *x = activations(ROWS, WIDTH, 9);
    memset(x, 0, WIDTH * sizeof *x);
    for (size_t i = 0; i < WIDTH; i++) x[8 * WIDTH + i] = i % 2 ? 1e-39f : -0.0f; /* too small to matter */
    float *before = product(k, &m, ROWS, x);
    for (size_t i = 0; i < 4; i++) x[(2 * i + 1) * WIDTH + 100 * i] = bad[i];
    float *y = product(k, &m, ROWS, x);
    for (size_t r = 0; r < ROWS; r++)
      for (size_t n = 0; n < OUTPUTS; n++) {
        const float value = y[r * OUTPUTS + n];
        if (r % 2)
          assert_false(isfinite(value));
        else
          assert_true(value == before[r * OUTPUTS + n]);
        if (r == 0 || r == 8) assert_true(value == 0.0f);
      }
    for (size_t r = 1; r < ROWS; r += 2) {
      float *row = guarded_copy(x + r * WIDTH, WIDTH), *one = product(k, &m, 1, row);
      for (size_t n = 0; n < OUTPUTS; n++) assert_false(isfinite(one[n]));
      guarded_free(row);
      guarded_free(one);
    }
    guarded_free(x);
    guarded_free(y);
    guarded_free(before);
    weights_free(&m);
  }
}

static void test_hostile(void **state) {
  (void)state;
  for_each_table(hostile);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shapes),  cmocka_unit_test(test_lengths),  cmocka_unit_test(test_prompts),
      cmocka_unit_test(test_threads), cmocka_unit_test(test_extremes), cmocka_unit_test(test_hostile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
