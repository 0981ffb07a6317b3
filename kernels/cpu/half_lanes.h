/* What products with weights of 16 bits are made of, beside quant_lanes.h: a line holds two neighbouring weights of
 * each of a panel's 16 rows, as files have them or as integers.
 *
 *   wide     a line's weights as f32, in two registers of lanes: of BF16 the first and the second weights, in order of
 *            rows; of F16, where the processor widens neighbours, the first eight rows and the others
 *   factors  what the weights of each row are multiplied with, in the same order
 */
#ifndef LINNET_KERNELS_CPU_HALF_LANES_H
#define LINNET_KERNELS_CPU_HALF_LANES_H

#include "kernels/cpu/variant.h"

#include "kernels/cpu/quant_lanes.h"
#include "kernels/cpu/vecmath.h"
#include "kernels/packed_layout.h"

/* Added to a float below 2^22, leaves it, rounded, in the lower bits. */
#define ROUND_SHIFT 12582912.0f

typedef struct {
  lanes a, b;
} wide;

#if defined(__AVX512F__)
/* Rows and panels of a tile of integer sums: 24 of them, 4 lines and a pair are in registers. */
enum { FIXED_ROWS = 6, FIXED_PANELS = 4, EXACT_ROWS = 8 };

ALWAYS_INLINE wide widen(bool bf16, const uint8_t *from) {
  if (bf16) {
    const __m512i x = _mm512_loadu_si512(from);
    return (wide){_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
                  _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000u)))};
  }
  return (wide){lanes_half(from), lanes_half(from + LINE_BYTES / 2)};
}
/* Two values as the lanes of a wide want them: each for all of its lanes, or both by turns. */
ALWAYS_INLINE wide wide_pair(bool bf16, const float *x) {
  if (bf16) return (wide){lanes_all(x), lanes_all(x + 1)};
  double both;
  memcpy(&both, x, sizeof both);
  const lanes pair = _mm512_castpd_ps(_mm512_set1_pd(both));
  return (wide){pair, pair};
}
/* From sums of products of wides to those of rows. */
ALWAYS_INLINE lanes wide_sum(bool bf16, wide x) {
  if (bf16) return _mm512_add_ps(x.a, x.b);
  const __m512i first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_add_ps(_mm512_permutex2var_ps(x.a, first, x.b),
                       _mm512_permutex2var_ps(x.a, _mm512_or_si512(first, _mm512_set1_epi32(1)), x.b));
}
/* One value of each row in the order of a wide. */
ALWAYS_INLINE wide wide_rows(bool bf16, lanes x) {
  if (bf16) return (wide){x, x};
  const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return (wide){_mm512_permutexvar_ps(low, x), _mm512_permutexvar_ps(_mm512_add_epi32(low, _mm512_set1_epi32(8)), x)};
}
/* The weights times factors, rounded to integers of 16 bits, in the order of files. */
ALWAYS_INLINE line wide_round(bool bf16, wide x, wide factors) {
  const __m512 shift = _mm512_set1_ps(ROUND_SHIFT);
  const __m512i a = _mm512_castps_si512(_mm512_fmadd_ps(x.a, factors.a, shift)),
                b = _mm512_castps_si512(_mm512_fmadd_ps(x.b, factors.b, shift));
  if (bf16) return _mm512_mask_blend_epi16(0xaaaaaaaau, a, _mm512_slli_epi32(b, 16));
  const __m512i words = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24,
                                         22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  return _mm512_permutex2var_epi16(a, words, b);
}
/* The larger patterns without signs. */
ALWAYS_INLINE line line_largest(line most, line x) {
  return _mm512_max_epu16(most, _mm512_and_si512(x, _mm512_set1_epi16(0x7fff)));
}

/* Adds the products of two integers of each lane. */
ALWAYS_INLINE void dot_pair(sums *s, line w, four x) {
#if defined(__AVX512VNNI__)
  __asm__("vpdpwssd %2, %1, %0" : "+v"(*s) : "v"(w), "v"(x)); /* as dot() */
#else
  *s = _mm512_add_epi32(*s, _mm512_madd_epi16(w, x));
#endif
}
ALWAYS_INLINE sums sums_none(void) { return _mm512_setzero_si512(); }
ALWAYS_INLINE lanes sums_values(sums s) { return _mm512_cvtepi32_ps(s); }

#elif defined(__AVX2__)
enum { FIXED_ROWS = 4, FIXED_PANELS = 1, EXACT_ROWS = 2 };

ALWAYS_INLINE wide widen(bool bf16, const uint8_t *from) {
  if (!bf16) return (wide){lanes_half(from), lanes_half(from + LINE_BYTES / 2)};
  const line x = line_load(from);
  const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
  return (wide){
      {_mm256_castsi256_ps(_mm256_slli_epi32(x.low, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(x.high, 16))},
      {_mm256_castsi256_ps(_mm256_and_si256(x.low, upper)), _mm256_castsi256_ps(_mm256_and_si256(x.high, upper))}};
}
ALWAYS_INLINE wide wide_pair(bool bf16, const float *x) {
  if (bf16) return (wide){lanes_all(x), lanes_all(x + 1)};
  double both;
  memcpy(&both, x, sizeof both);
  const __m256 pair = _mm256_castpd_ps(_mm256_set1_pd(both));
  return (wide){{pair, pair}, {pair, pair}};
}
ALWAYS_INLINE __m256 sum_neighbours(lanes x) {
  const __m256d two = _mm256_castps_pd(_mm256_hadd_ps(x.low, x.high));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(two, _MM_SHUFFLE(3, 1, 2, 0)));
}
ALWAYS_INLINE lanes wide_sum(bool bf16, wide x) {
  if (bf16) return (lanes){_mm256_add_ps(x.a.low, x.b.low), _mm256_add_ps(x.a.high, x.b.high)};
  return (lanes){sum_neighbours(x.a), sum_neighbours(x.b)};
}
ALWAYS_INLINE lanes lanes_twice(__m256 x) {
  const __m256i low = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  return (lanes){_mm256_permutevar8x32_ps(x, low),
                 _mm256_permutevar8x32_ps(x, _mm256_add_epi32(low, _mm256_set1_epi32(4)))};
}
ALWAYS_INLINE wide wide_rows(bool bf16, lanes x) {
  if (bf16) return (wide){x, x};
  return (wide){lanes_twice(x.low), lanes_twice(x.high)};
}
/* Eight first values in the lower and eight second ones in the upper halves; and sixteen neighbours. */
ALWAYS_INLINE __m256i words_of_halves(__m256i first, __m256i second) {
  return _mm256_blend_epi16(first, _mm256_slli_epi32(second, 16), 0xaa);
}
ALWAYS_INLINE __m256i words_in_order(__m256i low, __m256i high) {
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
}
ALWAYS_INLINE line wide_round(bool bf16, wide x, wide factors) {
  const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(x.a.low, factors.a.low)),
                b = _mm256_cvtps_epi32(_mm256_mul_ps(x.a.high, factors.a.high)),
                c = _mm256_cvtps_epi32(_mm256_mul_ps(x.b.low, factors.b.low)),
                d = _mm256_cvtps_epi32(_mm256_mul_ps(x.b.high, factors.b.high));
  if (bf16) return (line){words_of_halves(a, c), words_of_halves(b, d)};
  return (line){words_in_order(a, b), words_in_order(c, d)};
}
ALWAYS_INLINE line line_largest(line most, line x) {
  const __m256i size = _mm256_set1_epi16(0x7fff);
  return (line){_mm256_max_epu16(most.low, _mm256_and_si256(x.low, size)),
                _mm256_max_epu16(most.high, _mm256_and_si256(x.high, size))};
}

ALWAYS_INLINE __m256i dot_pair_half(__m256i s, __m256i w, __m256i x) {
#if defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(s, w, x);
#else
  return _mm256_add_epi32(s, _mm256_madd_epi16(w, x));
#endif
}
ALWAYS_INLINE void dot_pair(sums *s, line w, four x) {
  s->low = dot_pair_half(s->low, w.low, x);
  s->high = dot_pair_half(s->high, w.high, x);
}
ALWAYS_INLINE sums sums_none(void) { return (sums){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
ALWAYS_INLINE lanes sums_values(sums s) { return (lanes){_mm256_cvtepi32_ps(s.low), _mm256_cvtepi32_ps(s.high)}; }

#elif defined(CPU_NEON)
/* Sums of both weights are in `a`. There are no integer sums: a multiplication takes as many words as floats. */
enum { EXACT_ROWS = 4 };

ALWAYS_INLINE float32x4_t upper_half(uint32x4_t x) { return vreinterpretq_f32_u32(x & vdupq_n_u32(0xffff0000u)); }
ALWAYS_INLINE float32x4_t lower_half(uint32x4_t x) { return vreinterpretq_f32_u32(x << 16u); }
/* The values of eight rows at even and odd places. */
ALWAYS_INLINE float16x8_t first_values(uint8x16_t x, uint8x16_t y) {
  return vreinterpretq_f16_u16(vuzp1q_u16(vreinterpretq_u16_u8(x), vreinterpretq_u16_u8(y)));
}
ALWAYS_INLINE float16x8_t second_values(uint8x16_t x, uint8x16_t y) {
  return vreinterpretq_f16_u16(vuzp2q_u16(vreinterpretq_u16_u8(x), vreinterpretq_u16_u8(y)));
}
ALWAYS_INLINE lanes widen_f16(float16x8_t low, float16x8_t high) {
  return (lanes){{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low), vcvt_f32_f16(vget_low_f16(high)),
                  vcvt_high_f32_f16(high)}};
}
ALWAYS_INLINE wide widen(bool bf16, const uint8_t *from) {
  const line x = line_load(from);
  if (!bf16)
    return (wide){widen_f16(first_values(x.at[0], x.at[1]), first_values(x.at[2], x.at[3])),
                  widen_f16(second_values(x.at[0], x.at[1]), second_values(x.at[2], x.at[3]))};
  const uint32x4_t a = vreinterpretq_u32_u8(x.at[0]), b = vreinterpretq_u32_u8(x.at[1]),
                   c = vreinterpretq_u32_u8(x.at[2]), d = vreinterpretq_u32_u8(x.at[3]);
  return (wide){{{lower_half(a), lower_half(b), lower_half(c), lower_half(d)}},
                {{upper_half(a), upper_half(b), upper_half(c), upper_half(d)}}};
}
ALWAYS_INLINE wide wide_pair(bool bf16, const float *x) {
  (void)bf16;
  return (wide){lanes_all(x), lanes_all(x + 1)};
}
ALWAYS_INLINE lanes wide_sum(bool bf16, wide x) {
  (void)bf16;
  return x.a;
}
ALWAYS_INLINE wide wide_add_products(wide s, wide x, wide y) {
  return (wide){lanes_fused(lanes_fused(s.a, x.a, y.a), x.b, y.b), s.b};
}
ALWAYS_INLINE wide wide_add(wide x, wide y) {
  const float one = 1;
  return (wide){lanes_fused(x.a, y.a, lanes_all(&one)), x.b};
}

#else
enum { FIXED_ROWS = 4, FIXED_PANELS = 1, EXACT_ROWS = 2 };

/* The bits of an f16 in the place of an f32's are 2^112 times smaller; infinities and NaN keep the largest exponent. */
ALWAYS_INLINE float widen_f16(uint32_t half) {
  const uint32_t size = (half & 0x7fff) << 13;
  const float value = float_of_bits(size) * 0x1p112f;
  return float_of_bits((size >= 0x0f800000u ? size | 0x7f800000u : bits_of_float(value)) | (half & 0x8000) << 16);
}
ALWAYS_INLINE wide widen(bool bf16, const uint8_t *from) {
  uint16_t half[2 * LANES];
  memcpy(half, from, sizeof half);
  wide x;
  for (int i = 0; i < LANES; i++) {
    x.a.at[i] = bf16 ? float_of_bits((uint32_t)half[2 * i] << 16) : widen_f16(half[2 * i]);
    x.b.at[i] = bf16 ? float_of_bits((uint32_t)half[2 * i + 1] << 16) : widen_f16(half[2 * i + 1]);
  }
  return x;
}
ALWAYS_INLINE wide wide_pair(bool bf16, const float *x) {
  (void)bf16;
  return (wide){lanes_all(x), lanes_all(x + 1)};
}
ALWAYS_INLINE lanes wide_sum(bool bf16, wide x) {
  (void)bf16;
  for (int i = 0; i < LANES; i++) x.a.at[i] += x.b.at[i];
  return x.a;
}
ALWAYS_INLINE wide wide_rows(bool bf16, lanes x) {
  (void)bf16;
  return (wide){x, x};
}
ALWAYS_INLINE line wide_round(bool bf16, wide x, wide factors) {
  (void)bf16;
  uint16_t word[2 * LANES];
  for (int i = 0; i < LANES; i++) {
    word[2 * i] = (uint16_t)bits_of_float(x.a.at[i] * factors.a.at[i] + ROUND_SHIFT);
    word[2 * i + 1] = (uint16_t)bits_of_float(x.b.at[i] * factors.b.at[i] + ROUND_SHIFT);
  }
  return line_load(word);
}
ALWAYS_INLINE line line_largest(line most, line x) {
  uint16_t a[2 * LANES], b[2 * LANES];
  memcpy(a, most.at, sizeof a);
  memcpy(b, x.at, sizeof b);
  for (int i = 0; i < 2 * LANES; i++) {
    const uint16_t size = b[i] & 0x7fff;
    a[i] = size > a[i] ? size : a[i];
  }
  return line_load(a);
}

ALWAYS_INLINE void dot_pair(sums *s, line w, four x) {
  int16_t a[2 * LANES], b[2];
  memcpy(a, w.at, sizeof a);
  memcpy(b, x.at, sizeof b);
  for (int i = 0; i < LANES; i++) s->at[i] += a[2 * i] * b[0] + a[2 * i + 1] * b[1];
}
ALWAYS_INLINE sums sums_none(void) { return (sums){{0}}; }
ALWAYS_INLINE lanes sums_values(sums s) {
  lanes x;
  for (int i = 0; i < LANES; i++) x.at[i] = (float)s.at[i];
  return x;
}
#endif

#if !defined(CPU_NEON)
ALWAYS_INLINE wide wide_add_products(wide s, wide x, wide y) {
  return (wide){lanes_fused(s.a, x.a, y.a), lanes_fused(s.b, x.b, y.b)};
}
ALWAYS_INLINE wide wide_add(wide x, wide y) {
  const float one = 1;
  return (wide){lanes_fused(x.a, y.a, lanes_all(&one)), lanes_fused(x.b, y.b, lanes_all(&one))};
}
#endif

#endif
