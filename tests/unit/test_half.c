/* f16 and bf16: every pattern widened against its definition, every boundary between two neighbours narrowed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/* A 16-bit type in the words of its definition, in double. */
typedef struct {
  int exponent_bits, fraction_bits;
  float (*widen)(uint16_t);
  uint16_t (*narrow)(float);
} half_type;
static const half_type f16 = {5, 10, f16_to_f32, f32_to_f16}, bf16 = {8, 7, bf16_to_f32, f32_to_bf16};

/* The value of a finite pattern, and of the infinite one as if the exponents went on. */
static double define(const half_type *t, unsigned pattern) {
  const int bias = (1 << (t->exponent_bits - 1)) - 1;
  const int exponent = (int)(pattern >> t->fraction_bits) & ((1 << t->exponent_bits) - 1);
  const double fraction = ldexp(pattern & ((1u << t->fraction_bits) - 1), -t->fraction_bits);
  const double size = exponent ? ldexp(1 + fraction, exponent - bias) : ldexp(fraction, 1 - bias);
  return pattern & 0x8000 ? -size : size;
}

static unsigned infinity_of(const half_type *t) { return ((1u << t->exponent_bits) - 1) << t->fraction_bits; }

static void widens_every_pattern(const half_type *t) {
  for (unsigned h = 0; h < 0x10000; h++) {
    const float value = t->widen((uint16_t)h);
    const unsigned size = h & 0x7fff;
    assert_int_equal(bits_of(value) >> 31, h >> 15);
    if (size > infinity_of(t))
      assert_true(isnan(value));
    else if (size == infinity_of(t))
      assert_true(isinf(value));
    else
      assert_true((double)value == define(t, h));
    assert_int_equal(t->narrow(value), h); /* NaN payloads included */
  }
}

/* Between each pair of neighbours: just below the middle, the middle (to the even one), just above. */
static void narrows_to_nearest_even(const half_type *t) {
  for (unsigned low = 0; low < infinity_of(t); low++) {
    const unsigned high = low + 1, even = low & 1 ? high : low;
    const double exact = (define(t, low) + define(t, high)) / 2;
    const float middle = (float)exact;
    assert_true((double)middle == exact); /* f32 holds it */
    for (unsigned sign = 0; sign <= 1; sign++) {
      const uint32_t flip = sign << 31, top = sign << 15;
      assert_int_equal(t->narrow(float_of(bits_of(middle) ^ flip)), even | top);
      assert_int_equal(t->narrow(float_of((bits_of(middle) - 1) ^ flip)), low | top);
      assert_int_equal(t->narrow(float_of((bits_of(middle) + 1) ^ flip)), high | top);
    }
  }
}

static void narrows_the_ends(const half_type *t) {
  const unsigned infinite = infinity_of(t);
  assert_int_equal(t->narrow(INFINITY), infinite);
  assert_int_equal(t->narrow(-INFINITY), infinite | 0x8000);
  assert_int_equal(t->narrow(3.4028235e38f), infinite); /* the largest f32 */
  assert_int_equal(t->narrow(-0.0f), 0x8000);
  assert_int_equal(t->narrow(float_of(1)), 0); /* the smallest f32 */
  for (unsigned sign = 0; sign <= 1; sign++)
    for (uint32_t payload = 1; payload < 1u << 23; payload = payload * 5 / 2 + 1) {
      const uint16_t half = t->narrow(float_of(sign << 31 | 0x7f800000 | payload));
      assert_int_equal(half >> 15, sign);
      assert_true((half & 0x7fffu) > infinite); /* still NaN, even if only low bits were set */
    }
}

static void test_f16(void **state) {
  (void)state;
  widens_every_pattern(&f16);
  narrows_to_nearest_even(&f16);
  narrows_the_ends(&f16);
}

static void test_bf16(void **state) {
  (void)state;
  widens_every_pattern(&bf16);
  narrows_to_nearest_even(&bf16);
  narrows_the_ends(&bf16);
}

/* The array functions agree with the single ones, at odd addresses too. */
static void test_arrays(void **state) {
  (void)state;
  enum { N = 0x10000 };
  char *halves = malloc(2 * N + 1), *back = malloc(2 * N + 1);
  float *values = malloc(N * sizeof *values);
  assert_true(halves && back && values);
  for (unsigned h = 0; h < N; h++) memcpy(halves + 1 + 2 * h, &(uint16_t){(uint16_t)h}, 2);
  f16_to_f32_array(halves + 1, N, values);
  for (unsigned h = 0; h < N; h++) assert_int_equal(bits_of(values[h]), bits_of(f16_to_f32((uint16_t)h)));
  f32_to_f16_array(values, N, back + 1);
  assert_memory_equal(halves + 1, back + 1, 2 * N);
  bf16_to_f32_array(halves + 1, N, values);
  for (unsigned h = 0; h < N; h++) assert_int_equal(bits_of(values[h]), bits_of(bf16_to_f32((uint16_t)h)));
  f32_to_bf16_array(values, N, back + 1);
  assert_memory_equal(halves + 1, back + 1, 2 * N);
  free(halves);
  free(back);
  free(values);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_f16), cmocka_unit_test(test_bf16),
                                     cmocka_unit_test(test_arrays)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
