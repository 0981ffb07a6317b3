/* Sixteen f32 lanes, as many registers as they take: what scores of rows are summed in. Products and sums are rounded
 * separately, lane by lane, so that every instruction set gives the same bits. */
#ifndef LINNET_KERNELS_CPU_SEARCH_LANES_H
#define LINNET_KERNELS_CPU_SEARCH_LANES_H

#include <string.h>

#include "kernels/half.h"

enum { LANES = 16 };

#if defined(__AVX2__)
#include <immintrin.h>

/* The sum of eight: halves first, down to one. */
static inline float sum_8(__m256 s) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
#endif

#if defined(__AVX512F__)
typedef __m512 lanes;

static inline lanes lanes_zero(void) { return _mm512_setzero_ps(); }
static inline lanes lanes_load(const void *from) { return _mm512_loadu_ps(from); }
static inline lanes lanes_half(const void *from) { return _mm512_cvtph_ps(_mm256_loadu_si256(from)); }
static inline void lanes_store(float *to, lanes x) { _mm512_storeu_ps(to, x); }
static inline lanes lanes_add_product(lanes s, lanes x, lanes y) { return _mm512_add_ps(s, _mm512_mul_ps(x, y)); }
static inline float lanes_sum(lanes s) {
  return sum_8(_mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1)));
}

#elif defined(__AVX2__)
typedef struct {
  __m256 low, high;
} lanes;

static inline lanes lanes_zero(void) { return (lanes){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline lanes lanes_load(const void *from) {
  return (lanes){_mm256_loadu_ps(from), _mm256_loadu_ps((const float *)from + 8)};
}
static inline lanes lanes_half(const void *from) {
  const __m128i *halves = from;
  return (lanes){_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
static inline void lanes_store(float *to, lanes x) {
  _mm256_storeu_ps(to, x.low);
  _mm256_storeu_ps(to + 8, x.high);
}
static inline lanes lanes_add_product(lanes s, lanes x, lanes y) {
  return (lanes){_mm256_add_ps(s.low, _mm256_mul_ps(x.low, y.low)),
                 _mm256_add_ps(s.high, _mm256_mul_ps(x.high, y.high))};
}
static inline float lanes_sum(lanes s) { return sum_8(_mm256_add_ps(s.low, s.high)); }

#else
typedef struct {
  float at[LANES];
} lanes;

static inline lanes lanes_zero(void) { return (lanes){{0}}; }
static inline lanes lanes_load(const void *from) {
  lanes x;
  memcpy(x.at, from, sizeof x.at);
  return x;
}
static inline lanes lanes_half(const void *from) {
  lanes x;
  f16_to_f32_array(from, LANES, x.at);
  return x;
}
static inline void lanes_store(float *to, lanes x) { memcpy(to, x.at, sizeof x.at); }
static inline lanes lanes_add_product(lanes s, lanes x, lanes y) {
  for (int j = 0; j < LANES; j++) s.at[j] += x.at[j] * y.at[j];
  return s;
}
static inline float lanes_sum(lanes s) {
  for (int half = LANES / 2; half; half /= 2)
    for (int j = 0; j < half; j++) s.at[j] += s.at[j + half];
  return s.at[0];
}
#endif

static inline lanes lanes_of(bool half, const void *from) { return half ? lanes_half(from) : lanes_load(from); }

/* The first n < LANES numbers and zeros. */
static inline lanes lanes_tail(bool half, const void *from, size_t n) {
  float padded[LANES] = {0};
  memcpy(padded, from, n * (half ? 2 : 4));
  return lanes_of(half, padded);
}

#endif
