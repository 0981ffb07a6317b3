/* f16 and bf16 by integer arithmetic on the patterns, so that no rounding mode or flush-to-zero setting of the
 * processor changes a result. Patterns: f32 = 1 sign, 8 exponent (bias 127), 23 fraction; f16 = 1, 5 (bias 15), 10. */
#include "kernels/half.h"

#include <string.h>

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* bits / 2^shift, to nearest, ties to even; shift >= 1 */
static uint32_t round_shift(uint32_t bits, uint32_t shift) {
  return (bits + (1u << (shift - 1)) - 1 + (bits >> shift & 1)) >> shift;
}

float f16_to_f32(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
  if (exponent == 31) return float_of(sign | 0x7f800000 | fraction << 13);                 /* infinite, NaN */
  if (exponent == 0) return float_of(sign | bits_of((float)(int32_t)fraction * 0x1p-24f)); /* zero, subnormal */
  return float_of(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

uint16_t f32_to_f16(float value) {
  const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) { /* NaN: a payload that was all in the lower bits must not turn it into infinity */
    const uint32_t payload = size >> 13 & 0x3ff;
    return (uint16_t)(sign | 0x7c00 | (payload ? payload : 0x200));
  }
  if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* from 65520 = halfway between 65504 and 2^16 */
  const uint32_t exponent = size >> 23;
  if (exponent >= 127 - 14) return (uint16_t)(sign | round_shift(size - ((127u - 15u) << 23), 13));
  if (exponent < 127 - 25) return (uint16_t)sign; /* below half the smallest subnormal, 2^-24 */
  /* subnormal: 1.fraction * 2^(exponent-127) counted in units of 2^-24 */
  return (uint16_t)(sign | round_shift((size & 0x7fffff) | 0x800000, 126 - exponent));
}

float bf16_to_f32(uint16_t half) { return float_of((uint32_t)half << 16); }

uint16_t f32_to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | (bits & 0x7f0000 ? 0 : 0x40)); /* NaN */
  return (uint16_t)round_shift(bits, 16); /* a carry out of the fraction is the next exponent, at the end infinity */
}

static uint16_t load16(const void *from, size_t i) {
  uint16_t half;
  memcpy(&half, (const char *)from + 2 * i, 2);
  return half;
}

static void store16(void *to, size_t i, uint16_t half) { memcpy((char *)to + 2 * i, &half, 2); }

void f16_to_f32_array(const void *in, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) out[i] = f16_to_f32(load16(in, i));
}

void bf16_to_f32_array(const void *in, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) out[i] = bf16_to_f32(load16(in, i));
}

void f32_to_f16_array(const float *in, size_t n, void *out) {
  for (size_t i = 0; i < n; i++) store16(out, i, f32_to_f16(in[i]));
}

void f32_to_bf16_array(const float *in, size_t n, void *out) {
  for (size_t i = 0; i < n; i++) store16(out, i, f32_to_bf16(in[i]));
}
