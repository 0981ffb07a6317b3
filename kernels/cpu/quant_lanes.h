/* What products with quantized weights are made of: sixteen lanes, one for each row of a panel, as many registers as
 * they take.
 *
 *   line   four weights of each lane, a byte each
 *   four   four activations, -127..127, for all lanes
 *   sums   an i32 of each lane, in which products of lines and fours are added up
 *
 * Sums start at SUMS_ZERO or, where DOT_8_ZERO is not 0, at what that takes away. Where products and sums of floats can
 * be fused, SUMS_ZERO is the pattern of the float SUMS_SHIFT = 1.5 * 2^23, whose last bit is worth 1: the sums, which
 * stay below 2^22, are then floats at no cost. */
#ifndef LINNET_KERNELS_CPU_QUANT_LANES_H
#define LINNET_KERNELS_CPU_QUANT_LANES_H

#include "kernels/cpu/search_lanes.h"
#include "kernels/cpu/vecmath.h"

#define SUMS_SHIFT 12582912.0f
enum { CACHE_LINE = 64 };
/* Weights are asked for so many bytes before they are used. */
enum { PREFETCH_AHEAD = 1024 };
#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* Of loops over what is to be in registers; sanitizers check each copy of a loop anew, which is slow to compile. */
#if defined(__SANITIZE_ADDRESS__)
enum { UNROLL = 1 };
#elif defined(__AVX2__)
enum { UNROLL = 9 };
#elif defined(CPU_NEON)
enum { UNROLL = 4 };
#else
enum { UNROLL = 1 };
#endif

static inline int32_t load_i32(const void *from) {
  int32_t x;
  memcpy(&x, from, sizeof x);
  return x;
}
static inline float load_f32(const void *from) {
  float x;
  memcpy(&x, from, sizeof x);
  return x;
}

#if defined(__AVX2__)
/* The sum of 16 signed bytes. */
ALWAYS_INLINE int32_t sum_bytes(__m128i x) {
  const __m128i halves = _mm_sad_epu8(_mm_xor_si128(x, _mm_set1_epi8(-128)), _mm_setzero_si128());
  return _mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4) - 16 * 128;
}
#endif

#if defined(__AVX512F__)
/* The weights of 8 bits are taken as they lie, or as signed numbers, 128 less. */
#if defined(__AVX512VNNI__)
enum { DOT_8_ZERO = 128 };
#else
enum { DOT_8_ZERO = 0 };
#endif
enum { SUMS_ZERO = 0x4b400000 };
/* Tokens and panels of a tile: 12 sums and as many floats, 3 lines and 3 more are in registers. A single row meets
 * ROW_PANELS at once: from one stream of weights a processor does not get all that its memory gives. */
enum { TILE_TOKENS = 6, TILE_PANELS = 2, ROW_PANELS = 4 };

typedef __m512i line;
typedef __m512i four;
typedef __m512i sums;

ALWAYS_INLINE line line_load(const void *from) { return _mm512_loadu_si512(from); }
ALWAYS_INLINE void line_store(void *to, line x) { _mm512_storeu_si512(to, x); }
ALWAYS_INLINE line line_or(line x, line y) { return _mm512_or_si512(x, y); }
/* Each byte shifted, and what of it the mask leaves. */
ALWAYS_INLINE line line_right(line x, int n, int mask) {
  return _mm512_and_si512(n ? _mm512_srli_epi16(x, (unsigned)n) : x, _mm512_set1_epi8((char)mask));
}
ALWAYS_INLINE line line_left(line x, int n, int mask) {
  return _mm512_and_si512(_mm512_slli_epi16(x, (unsigned)n), _mm512_set1_epi8((char)mask));
}
/* Adds 16 to the bytes whose bit is set. */
ALWAYS_INLINE line line_add_bits(line x, const void *bits) {
  uint64_t mask;
  memcpy(&mask, bits, sizeof mask);
  return _mm512_mask_add_epi8(x, mask, x, _mm512_set1_epi8(16));
}

ALWAYS_INLINE four four_load(const void *from) { return _mm512_set1_epi32(load_i32(from)); }
ALWAYS_INLINE sums sums_load(const void *from) { return _mm512_set1_epi32(load_i32(from)); }
/* step * sum of each lane, rounded once: (SUMS_SHIFT + sum) * step + shift, fused, with shift = -SUMS_SHIFT * step. */
ALWAYS_INLINE lanes sums_times(sums s, const void *step, const void *shift) {
  return _mm512_fmadd_ps(_mm512_castsi512_ps(s), _mm512_set1_ps(load_f32(step)), _mm512_set1_ps(load_f32(shift)));
}

#if defined(__AVX512VNNI__)
/* _mm512_dpbusd_epi32, for which GCC 12 keeps such sums in memory. */
ALWAYS_INLINE void dot(sums *s, line w, four x) { __asm__("vpdpbusd %2, %1, %0" : "+v"(*s) : "v"(w), "v"(x)); }
ALWAYS_INLINE void dot_8(sums *s, line w, four x) { dot(s, w, x); }
#else
/* Two products of weights below 128 are below 2^15. */
ALWAYS_INLINE void dot(sums *s, line w, four x) {
  *s = _mm512_add_epi32(*s, _mm512_madd_epi16(_mm512_maddubs_epi16(w, x), _mm512_set1_epi16(1)));
}
/* And so are two of 128 and 127: weights go in as magnitudes, their signs to the activations. */
ALWAYS_INLINE void dot_8(sums *s, line w, four x) {
  const __m512i value = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
  dot(s, _mm512_abs_epi8(value), _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(value), _mm512_setzero_si512(), x));
}
#endif

ALWAYS_INLINE lanes lanes_of_sums(sums s) { return _mm512_cvtepi32_ps(s); }
ALWAYS_INLINE lanes lanes_u8(const void *from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from)));
}
ALWAYS_INLINE lanes lanes_s8(const void *from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from)));
}
ALWAYS_INLINE lanes lanes_all(const void *from) { return _mm512_set1_ps(load_f32(from)); }
ALWAYS_INLINE lanes lanes_product(lanes x, lanes y) { return _mm512_mul_ps(x, y); }
ALWAYS_INLINE lanes lanes_fused(lanes s, lanes x, lanes y) { return _mm512_fmadd_ps(x, y, s); }

/* The largest magnitude of two, NaN if there is one: patterns of positive numbers are in the order of the numbers. */
ALWAYS_INLINE float lanes_largest(lanes x, lanes y) {
  const __m512i size = _mm512_set1_epi32(0x7fffffff), a = _mm512_and_si512(_mm512_castps_si512(x), size),
                b = _mm512_and_si512(_mm512_castps_si512(y), size);
  return float_of_bits((uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b)));
}
/* Products with `times`, all within +-127, rounded to integers: stores them and gives their sum. */
ALWAYS_INLINE int32_t lanes_round(lanes x, float times, void *to) {
  const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(times))));
  _mm_storeu_si128(to, bytes);
  return sum_bytes(bytes);
}

#elif defined(__AVX2__)
#if defined(__AVXVNNI__)
enum { DOT_8_ZERO = 128 };
#else
enum { DOT_8_ZERO = 0 };
#endif
enum { SUMS_ZERO = 0x4b400000 };
enum { TILE_TOKENS = 4, TILE_PANELS = 1, ROW_PANELS = 2 };

typedef struct {
  __m256i low, high;
} line;
typedef __m256i four;
typedef line sums;

ALWAYS_INLINE line line_load(const void *from) {
  const __m256i *p = from;
  return (line){_mm256_loadu_si256(p), _mm256_loadu_si256(p + 1)};
}
ALWAYS_INLINE void line_store(void *to, line x) {
  __m256i *p = to;
  _mm256_storeu_si256(p, x.low);
  _mm256_storeu_si256(p + 1, x.high);
}
ALWAYS_INLINE line line_or(line x, line y) {
  return (line){_mm256_or_si256(x.low, y.low), _mm256_or_si256(x.high, y.high)};
}
ALWAYS_INLINE line line_right(line x, int n, int mask) {
  const __m256i bits = _mm256_set1_epi8((char)mask);
  return (line){_mm256_and_si256(_mm256_srli_epi16(x.low, n), bits),
                _mm256_and_si256(_mm256_srli_epi16(x.high, n), bits)};
}
ALWAYS_INLINE line line_left(line x, int n, int mask) {
  const __m256i bits = _mm256_set1_epi8((char)mask);
  return (line){_mm256_and_si256(_mm256_slli_epi16(x.low, n), bits),
                _mm256_and_si256(_mm256_slli_epi16(x.high, n), bits)};
}
/* Each bit to all bits of its byte. */
ALWAYS_INLINE __m256i spread_bits(const void *bits) {
  const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303),
                bit = _mm256_set1_epi64x((long long)0x8040201008040201);
  const __m256i all = _mm256_shuffle_epi8(_mm256_set1_epi32(load_i32(bits)), byte);
  return _mm256_cmpeq_epi8(_mm256_and_si256(all, bit), bit);
}
ALWAYS_INLINE line line_add_bits(line x, const void *bits) {
  const __m256i sixteen = _mm256_set1_epi8(16);
  return (line){_mm256_or_si256(x.low, _mm256_and_si256(spread_bits(bits), sixteen)),
                _mm256_or_si256(x.high, _mm256_and_si256(spread_bits((const char *)bits + 4), sixteen))};
}

ALWAYS_INLINE four four_load(const void *from) { return _mm256_set1_epi32(load_i32(from)); }
ALWAYS_INLINE sums sums_load(const void *from) {
  const __m256i x = _mm256_set1_epi32(load_i32(from));
  return (sums){x, x};
}
ALWAYS_INLINE lanes sums_times(sums s, const void *step, const void *shift) {
  const __m256 times = _mm256_set1_ps(load_f32(step)), plus = _mm256_set1_ps(load_f32(shift));
  return (lanes){_mm256_fmadd_ps(_mm256_castsi256_ps(s.low), times, plus),
                 _mm256_fmadd_ps(_mm256_castsi256_ps(s.high), times, plus)};
}

#if defined(__AVXVNNI__)
ALWAYS_INLINE void dot(sums *s, line w, four x) {
  s->low = _mm256_dpbusd_avx_epi32(s->low, w.low, x);
  s->high = _mm256_dpbusd_avx_epi32(s->high, w.high, x);
}
ALWAYS_INLINE void dot_8(sums *s, line w, four x) { dot(s, w, x); }
#else
/* Products of unsigned and signed, of every four; two of them are to be below 2^15. */
ALWAYS_INLINE __m256i dot_half(__m256i s, __m256i w, __m256i x) {
  return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
ALWAYS_INLINE void dot(sums *s, line w, four x) {
  s->low = dot_half(s->low, w.low, x);
  s->high = dot_half(s->high, w.high, x);
}
/* Weights go in as magnitudes, up to 128, their signs to the activations. */
ALWAYS_INLINE void dot_8(sums *s, line w, four x) {
  const __m256i flip = _mm256_set1_epi8(-128), low = _mm256_xor_si256(w.low, flip),
                high = _mm256_xor_si256(w.high, flip);
  s->low = dot_half(s->low, _mm256_abs_epi8(low), _mm256_sign_epi8(x, low));
  s->high = dot_half(s->high, _mm256_abs_epi8(high), _mm256_sign_epi8(x, high));
}
#endif

ALWAYS_INLINE lanes lanes_u8(const void *from) {
  const __m128i x = _mm_loadu_si128(from);
  return (lanes){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x)),
                 _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(x, 8)))};
}
ALWAYS_INLINE lanes lanes_s8(const void *from) {
  const __m128i x = _mm_loadu_si128(from);
  return (lanes){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)),
                 _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)))};
}
ALWAYS_INLINE lanes lanes_all(const void *from) {
  const __m256 x = _mm256_set1_ps(load_f32(from));
  return (lanes){x, x};
}
ALWAYS_INLINE lanes lanes_product(lanes x, lanes y) {
  return (lanes){_mm256_mul_ps(x.low, y.low), _mm256_mul_ps(x.high, y.high)};
}
ALWAYS_INLINE lanes lanes_fused(lanes s, lanes x, lanes y) {
  return (lanes){_mm256_fmadd_ps(x.low, y.low, s.low), _mm256_fmadd_ps(x.high, y.high, s.high)};
}

ALWAYS_INLINE float lanes_largest(lanes x, lanes y) {
  const __m256i size = _mm256_set1_epi32(0x7fffffff);
  const __m256i low = _mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(x.low), size),
                                       _mm256_and_si256(_mm256_castps_si256(y.low), size)),
                high = _mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(x.high), size),
                                        _mm256_and_si256(_mm256_castps_si256(y.high), size)),
                all = _mm256_max_epi32(low, high);
  __m128i max = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  max = _mm_max_epi32(max, _mm_shuffle_epi32(max, 0x4e));
  max = _mm_max_epi32(max, _mm_shuffle_epi32(max, 0xb1));
  return float_of_bits((uint32_t)_mm_cvtsi128_si32(max));
}
ALWAYS_INLINE int32_t lanes_round(lanes x, float times, void *to) {
  const __m256 all = _mm256_set1_ps(times);
  const __m256i words =
      _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(x.low, all)), _mm256_cvtps_epi32(_mm256_mul_ps(x.high, all)));
  const __m256i order = _mm256_permute4x64_epi64(words, 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(order), _mm256_extracti128_si256(order, 1));
  _mm_storeu_si128(to, bytes);
  return sum_bytes(bytes);
}

#elif defined(CPU_NEON)
enum { DOT_8_ZERO = 0, SUMS_ZERO = 0x4b400000 };
enum { TILE_TOKENS = 4, TILE_PANELS = 1, ROW_PANELS = 2 };

typedef struct {
  uint8x16_t at[4];
} line;
typedef int8x16_t four;
typedef struct {
  int32x4_t at[4];
} sums;

ALWAYS_INLINE line line_load(const void *from) {
  const uint8_t *p = from;
  return (line){{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
}
ALWAYS_INLINE void line_store(void *to, line x) {
  uint8_t *p = to;
  vst1q_u8(p, x.at[0]);
  vst1q_u8(p + 16, x.at[1]);
  vst1q_u8(p + 32, x.at[2]);
  vst1q_u8(p + 48, x.at[3]);
}
ALWAYS_INLINE line line_or(line x, line y) {
  return (line){{x.at[0] | y.at[0], x.at[1] | y.at[1], x.at[2] | y.at[2], x.at[3] | y.at[3]}};
}
ALWAYS_INLINE line line_right(line x, int n, int mask) {
  const uint8_t by = (uint8_t)n;
  const uint8x16_t bits = vdupq_n_u8((uint8_t)mask);
  return (line){{x.at[0] >> by & bits, x.at[1] >> by & bits, x.at[2] >> by & bits, x.at[3] >> by & bits}};
}
ALWAYS_INLINE line line_left(line x, int n, int mask) {
  const uint8_t by = (uint8_t)n;
  const uint8x16_t bits = vdupq_n_u8((uint8_t)mask);
  return (line){{x.at[0] << by & bits, x.at[1] << by & bits, x.at[2] << by & bits, x.at[3] << by & bits}};
}
/* 16 where a bit is set, else 0: those of the i-th pair of bytes. */
ALWAYS_INLINE uint8x16_t sixteens(uint8x16_t bits, int i) {
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201)),
                   byte = vcombine_u8(vdup_n_u8((uint8_t)(2 * i)), vdup_n_u8((uint8_t)(2 * i + 1)));
  return vtstq_u8(vqtbl1q_u8(bits, byte), bit) & vdupq_n_u8(16);
}
ALWAYS_INLINE line line_add_bits(line x, const void *bits) {
  const uint8x16_t all = vcombine_u8(vld1_u8(bits), vdup_n_u8(0));
  return (line){
      {x.at[0] | sixteens(all, 0), x.at[1] | sixteens(all, 1), x.at[2] | sixteens(all, 2), x.at[3] | sixteens(all, 3)}};
}

ALWAYS_INLINE four four_load(const void *from) { return vreinterpretq_s8_s32(vdupq_n_s32(load_i32(from))); }
ALWAYS_INLINE sums sums_load(const void *from) {
  const int32x4_t x = vdupq_n_s32(load_i32(from));
  return (sums){{x, x, x, x}};
}
ALWAYS_INLINE lanes sums_times(sums s, const void *step, const void *shift) {
  const float32x4_t times = vdupq_n_f32(load_f32(step)), plus = vdupq_n_f32(load_f32(shift));
  return (lanes){
      {vfmaq_f32(plus, vreinterpretq_f32_s32(s.at[0]), times), vfmaq_f32(plus, vreinterpretq_f32_s32(s.at[1]), times),
       vfmaq_f32(plus, vreinterpretq_f32_s32(s.at[2]), times), vfmaq_f32(plus, vreinterpretq_f32_s32(s.at[3]), times)}};
}
ALWAYS_INLINE void dot(sums *s, line w, four x) {
  s->at[0] = add_byte_products(s->at[0], vreinterpretq_s8_u8(w.at[0]), x);
  s->at[1] = add_byte_products(s->at[1], vreinterpretq_s8_u8(w.at[1]), x);
  s->at[2] = add_byte_products(s->at[2], vreinterpretq_s8_u8(w.at[2]), x);
  s->at[3] = add_byte_products(s->at[3], vreinterpretq_s8_u8(w.at[3]), x);
}
ALWAYS_INLINE void dot_8(sums *s, line w, four x) {
  const uint8x16_t flip = vdupq_n_u8(0x80);
  dot(s, (line){{w.at[0] ^ flip, w.at[1] ^ flip, w.at[2] ^ flip, w.at[3] ^ flip}}, x);
}

ALWAYS_INLINE lanes lanes_u8(const void *from) {
  const uint8x16_t x = vld1q_u8(from);
  const uint16x8_t low = vmovl_u8(vget_low_u8(x)), high = vmovl_high_u8(x);
  return (lanes){{vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_high_u16(low)),
                  vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_high_u16(high))}};
}
ALWAYS_INLINE lanes lanes_s8(const void *from) {
  const int8x16_t x = vld1q_s8(from);
  const int16x8_t low = vmovl_s8(vget_low_s8(x)), high = vmovl_high_s8(x);
  return (lanes){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
                  vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}
ALWAYS_INLINE lanes lanes_all(const void *from) {
  const float32x4_t x = vdupq_n_f32(load_f32(from));
  return (lanes){{x, x, x, x}};
}
ALWAYS_INLINE lanes lanes_product(lanes x, lanes y) {
  return (lanes){{vmulq_f32(x.at[0], y.at[0]), vmulq_f32(x.at[1], y.at[1]), vmulq_f32(x.at[2], y.at[2]),
                  vmulq_f32(x.at[3], y.at[3])}};
}
ALWAYS_INLINE lanes lanes_fused(lanes s, lanes x, lanes y) {
  return (lanes){{vfmaq_f32(s.at[0], x.at[0], y.at[0]), vfmaq_f32(s.at[1], x.at[1], y.at[1]),
                  vfmaq_f32(s.at[2], x.at[2], y.at[2]), vfmaq_f32(s.at[3], x.at[3], y.at[3])}};
}

ALWAYS_INLINE float lanes_largest(lanes x, lanes y) {
  const uint32x4_t size = vdupq_n_u32(0x7fffffff);
  uint32x4_t max = vdupq_n_u32(0);
  for (int i = 0; i < 4; i++)
    max = vmaxq_u32(max, vmaxq_u32(vreinterpretq_u32_f32(x.at[i]) & size, vreinterpretq_u32_f32(y.at[i]) & size));
  return float_of_bits(vmaxvq_u32(max));
}
ALWAYS_INLINE int32_t lanes_round(lanes x, float times, void *to) {
  int16x4_t words[4];
  for (int i = 0; i < 4; i++) words[i] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(x.at[i], times)));
  const int8x16_t bytes =
      vcombine_s8(vmovn_s16(vcombine_s16(words[0], words[1])), vmovn_s16(vcombine_s16(words[2], words[3])));
  vst1q_s8(to, bytes);
  return vaddlvq_s8(bytes);
}

#else
enum { DOT_8_ZERO = 128, SUMS_ZERO = 0 };
enum { TILE_TOKENS = 4, TILE_PANELS = 1, ROW_PANELS = 2 };

typedef struct {
  uint8_t at[4 * LANES];
} line;
typedef struct {
  int8_t at[4];
} four;
typedef struct {
  int32_t at[LANES];
} sums;

ALWAYS_INLINE line line_load(const void *from) {
  line x;
  memcpy(x.at, from, sizeof x.at);
  return x;
}
ALWAYS_INLINE void line_store(void *to, line x) { memcpy(to, x.at, sizeof x.at); }
ALWAYS_INLINE line line_or(line x, line y) {
  for (int i = 0; i < 4 * LANES; i++) x.at[i] |= y.at[i];
  return x;
}
ALWAYS_INLINE line line_right(line x, int n, int mask) {
  for (int i = 0; i < 4 * LANES; i++) x.at[i] = (uint8_t)(x.at[i] >> n & mask);
  return x;
}
ALWAYS_INLINE line line_left(line x, int n, int mask) {
  for (int i = 0; i < 4 * LANES; i++) x.at[i] = (uint8_t)(x.at[i] << n & mask);
  return x;
}
ALWAYS_INLINE line line_add_bits(line x, const void *bits) {
  const uint8_t *from = bits;
  for (int i = 0; i < 4 * LANES; i++) x.at[i] = (uint8_t)(x.at[i] + ((from[i / 8] >> i % 8 & 1) << 4));
  return x;
}

ALWAYS_INLINE four four_load(const void *from) {
  four x;
  memcpy(x.at, from, sizeof x.at);
  return x;
}
ALWAYS_INLINE sums sums_load(const void *from) {
  sums s;
  for (int i = 0; i < LANES; i++) s.at[i] = load_i32(from);
  return s;
}
ALWAYS_INLINE lanes sums_times(sums s, const void *step, const void *shift) {
  (void)shift;
  lanes x;
  for (int i = 0; i < LANES; i++) x.at[i] = (float)s.at[i] * load_f32(step);
  return x;
}
ALWAYS_INLINE void dot(sums *s, line w, four x) {
  for (int i = 0; i < LANES; i++)
    for (int j = 0; j < 4; j++) s->at[i] += w.at[4 * i + j] * x.at[j];
}
ALWAYS_INLINE void dot_8(sums *s, line w, four x) { dot(s, w, x); }

ALWAYS_INLINE lanes lanes_u8(const void *from) {
  lanes x;
  for (int i = 0; i < LANES; i++) x.at[i] = ((const uint8_t *)from)[i];
  return x;
}
ALWAYS_INLINE lanes lanes_s8(const void *from) {
  lanes x;
  for (int i = 0; i < LANES; i++) x.at[i] = ((const int8_t *)from)[i];
  return x;
}
ALWAYS_INLINE lanes lanes_all(const void *from) {
  lanes x;
  for (int i = 0; i < LANES; i++) x.at[i] = load_f32(from);
  return x;
}
ALWAYS_INLINE lanes lanes_product(lanes x, lanes y) {
  for (int i = 0; i < LANES; i++) x.at[i] *= y.at[i];
  return x;
}
ALWAYS_INLINE lanes lanes_fused(lanes s, lanes x, lanes y) { return lanes_add_product(s, x, y); }
ALWAYS_INLINE float lanes_largest(lanes x, lanes y) {
  uint32_t max = 0;
  for (int i = 0; i < LANES; i++) {
    const uint32_t a = bits_of_float(x.at[i]) & 0x7fffffffu, b = bits_of_float(y.at[i]) & 0x7fffffffu;
    const uint32_t larger = a > b ? a : b;
    max = larger > max ? larger : max;
  }
  return float_of_bits(max);
}
/* Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
ALWAYS_INLINE int32_t lanes_round(lanes x, float times, void *to) {
  int8_t *bytes = to;
  int32_t sum = 0;
  for (int i = 0; i < LANES; i++) {
    const float product = x.at[i] * times;
    bytes[i] = (int8_t)(bits_of_float(product + SUMS_SHIFT) - bits_of_float(SUMS_SHIFT));
    sum += bytes[i];
  }
  return sum;
}
#endif

/* The first n of the lanes, or all. */
ALWAYS_INLINE lanes lanes_load_part(const float *from, size_t n) {
  return n < LANES ? lanes_tail(false, from, n) : lanes_load(from);
}
ALWAYS_INLINE void lanes_store_part(float *to, size_t n, lanes x) {
  if (n >= LANES) {
    lanes_store(to, x);
    return;
  }
  float part[LANES];
  lanes_store(part, x);
  memcpy(to, part, n * sizeof *part);
}

#endif
