/* Sixteen f32 lanes, as many registers as they take: what scores of rows are summed in. Products and sums are rounded
 * separately, lane by lane, so that every instruction set gives the same bits. */
#ifndef LINNET_KERNELS_CPU_SEARCH_LANES_H
#define LINNET_KERNELS_CPU_SEARCH_LANES_H

#include <stdbool.h>
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

#elif defined(CPU_NEON)
#include <arm_neon.h>

typedef struct {
  float32x4_t at[4];
} lanes;

static inline lanes lanes_zero(void) {
  const float32x4_t zero = vdupq_n_f32(0);
  return (lanes){{zero, zero, zero, zero}};
}
/* From any address. */
static inline uint8x16_t load_bytes(const void *from, int i) { return vld1q_u8((const uint8_t *)from + 16 * i); }
static inline lanes lanes_load(const void *from) {
  return (lanes){{vreinterpretq_f32_u8(load_bytes(from, 0)), vreinterpretq_f32_u8(load_bytes(from, 1)),
                  vreinterpretq_f32_u8(load_bytes(from, 2)), vreinterpretq_f32_u8(load_bytes(from, 3))}};
}
static inline lanes lanes_half(const void *from) {
  const float16x8_t a = vreinterpretq_f16_u8(load_bytes(from, 0)), b = vreinterpretq_f16_u8(load_bytes(from, 1));
  return (lanes){
      {vcvt_f32_f16(vget_low_f16(a)), vcvt_high_f32_f16(a), vcvt_f32_f16(vget_low_f16(b)), vcvt_high_f32_f16(b)}};
}
static inline void lanes_store(float *to, lanes x) {
  vst1q_f32(to, x.at[0]);
  vst1q_f32(to + 4, x.at[1]);
  vst1q_f32(to + 8, x.at[2]);
  vst1q_f32(to + 12, x.at[3]);
}
static inline lanes lanes_add_product(lanes s, lanes x, lanes y) {
  return (lanes){{vaddq_f32(s.at[0], vmulq_f32(x.at[0], y.at[0])), vaddq_f32(s.at[1], vmulq_f32(x.at[1], y.at[1])),
                  vaddq_f32(s.at[2], vmulq_f32(x.at[2], y.at[2])), vaddq_f32(s.at[3], vmulq_f32(x.at[3], y.at[3]))}};
}
static inline float lanes_sum(lanes s) {
  const float32x4_t four = vaddq_f32(vaddq_f32(s.at[0], s.at[2]), vaddq_f32(s.at[1], s.at[3]));
  return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
}
/* sum += the products of signed bytes, of every four; two products are to be below 2^15. */
static inline int32x4_t add_byte_products(int32x4_t sum, int8x16_t x, int8x16_t y) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(sum, x, y);
#else
  const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y)), high = vmull_high_s8(x, y);
  return vpadalq_s16(sum, vpaddq_s16(low, high));
#endif
}

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
