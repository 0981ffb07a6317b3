/* exp, sigmoid, tanh, log1p and the normal distribution function in single precision, as branch-free inline functions,
 * so that the compiler turns loops over them into vector code. Errors stay below about 2 units in the last place where
 * the result is a normal number (sigmoid 3); limits are exact: exp(-inf) = 0, large arguments give inf, NaN stays NaN.
 * The coefficients are Chebyshev fits made for these files. */
#ifndef LINNET_KERNELS_CPU_VECMATH_H
#define LINNET_KERNELS_CPU_VECMATH_H

#include <stdint.h>
#include <string.h>

static inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float vec_abs(float x) { return float_of_bits(bits_of_float(x) & 0x7fffffffu); }
static inline float vec_copysign(float size, float sign) {
  return float_of_bits((bits_of_float(size) & 0x7fffffffu) | (bits_of_float(sign) & 0x80000000u));
}

/* e^x = 2^n e^r with |r| <= ln(2)/2. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. The factor
 * 2^n is applied in two halves so that neither overflows and subnormal results are rounded only once. */
static inline float vec_exp(float x) {
  const float shift = 12582912.0f;
  x = x < -104.0f ? -104.0f : x; /* below: 0; both conditions are false for NaN */
  x = x > 89.0f ? 89.0f : x;     /* above: inf */
  float t = x * 1.44269504f + shift;
  float n = t - shift;
  float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  float q = 0.00139261775f;
  q = q * r + 0.00836317418f;
  q = q * r + 0.04166655465f;
  q = q * r + 0.1666657702f;
  q = q * r + 0.5f;
  float p = 1.0f + (r + (r * r) * q);
  int32_t k = (int32_t)(bits_of_float(t) - bits_of_float(shift)), half = k >> 1;
  float low = float_of_bits(((uint32_t)half + 127u) << 23);
  float high = float_of_bits(((uint32_t)k - (uint32_t)half + 127u) << 23);
  return p * low * high;
}

static inline float vec_sigmoid(float x) { return 1.0f / (1.0f + vec_exp(-x)); }

/* Near zero an odd polynomial, elsewhere 1 - 2/(e^2|x| + 1). */
static inline float vec_tanh(float x) {
  float size = vec_abs(x), s = x * x;
  float q = -0.006096714166f;
  q = q * s + 0.020997179f;
  q = q * s - 0.05385090958f;
  q = q * s + 0.1333276974f;
  q = q * s - 0.3333332894f;
  float near = x + x * (s * q);
  float far = vec_copysign(1.0f - 2.0f / (vec_exp(2.0f * size) + 1.0f), x);
  return size < 0.625f ? near : far;
}

/* log(1 + x) for 0 <= x <= 1, as 2 atanh(x / (2 + x)). */
static inline float vec_log1p_unit(float x) {
  float a = x / (2.0f + x), s = a * a;
  float q = 0.1161216461f;
  q = q * s + 0.108532879f;
  q = q * s + 0.14296179f;
  q = q * s + 0.1999985317f;
  q = q * s + 0.3333333366f;
  return 2.0f * (a + a * (s * q));
}

/* The normal distribution: Phi(x), and e^(-x^2/2) in *bell, from erfc(z) = e^(-z^2) P((z-2)/(z+2)) / (1+2z), z =
 * |x|/sqrt 2. The lower tail keeps its relative accuracy (but for the rounding of x^2). */
static inline float vec_normal(float x, float *bell) {
  float size = vec_abs(x);
  size = size > 14.75f ? 14.75f : size; /* Phi is 0 or 1 there */
  float z = size * 0.707106781f;
  float e = vec_exp(-0.5f * (size * size));
  float inverse = 1.0f / ((z + 2.0f) * (1.0f + 2.0f * z));
  float s = (z - 2.0f) * ((1.0f + 2.0f * z) * inverse);
  float q = -0.0004200622963f;
  q = q * s - 0.001255413916f;
  q = q * s + 0.001330044558f;
  q = q * s + 0.008658470005f;
  q = q * s - 0.008063874396f;
  q = q * s - 0.05421322109f;
  q = q * s + 0.1640556159f;
  q = q * s - 0.1660304624f;
  q = q * s - 0.09276398471f;
  q = q * s + 1.276978377f;
  float tail = 0.5f * e * (q * ((z + 2.0f) * inverse));
  *bell = e;
  return x < 0.0f ? tail : 1.0f - tail;
}

#endif
