/* Scores of an exact search: inner products of rows with queries, whose bits are the same in every variant.
 *
 * f32 and f16: 16 lanes; lane j sums the products of elements j, j + 16, ... in that order, each product and each sum
 * rounded; then lanes 8..15 are added to 0..7, 4..7 to 0..3, and so on. i8: rows are multiplied with a query in about
 * 15 bits in exact integers, and the result with row's factor times query's step in double. */
#include "kernels/cpu/variant.h"

#include "kernels/cpu/search_lanes.h"

#if defined(__AVX512F__)
enum { TILE_ROWS = 4, TILE_QUERIES = 4 };
#elif defined(__AVX2__)
enum { TILE_ROWS = 2, TILE_QUERIES = 2 };
#else
enum { TILE_ROWS = 1, TILE_QUERIES = 4 };
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Memory is asked for a few KB ahead of where a table is read: the next rows of as many as are read at once. */
static size_t bytes_ahead(size_t rows, size_t stride) {
  enum { NEAR = 4096, FAR = 16384 };
  const size_t step = rows * stride;
  return step > FAR ? NEAR : (NEAR + step - 1) / step * step;
}

/* --- floats ------------------------------------------------------------------------------------------------------- */

/* R rows with Q queries, both constants where it is called: out[q * n + r]. */
ALWAYS_INLINE void float_tile(size_t R, size_t Q, bool half, const search_queries *s, size_t first, const char *rows,
                              size_t n, float *out) {
  const size_t size = half ? 2 : 4, stride = s->width * size, whole = s->width / LANES * LANES;
  const size_t ahead = R > 1 ? bytes_ahead(R, stride) : 0;
  const float *values = s->values + first * s->padded;
  lanes sum[TILE_ROWS * TILE_QUERIES];
  for (size_t k = 0; k < R * Q; k++) sum[k] = lanes_zero();
  for (size_t i = 0; i < whole; i += LANES) {
    lanes x[TILE_ROWS];
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) {
      const char *from = rows + r * stride + i * size;
      x[r] = lanes_of(half, from);
      if (ahead) __builtin_prefetch(from + ahead);
    }
#pragma GCC unroll 4
    for (size_t q = 0; q < Q; q++) {
      const lanes y = lanes_load(values + q * s->padded + i);
#pragma GCC unroll 4
      for (size_t r = 0; r < R; r++) sum[r * Q + q] = lanes_add_product(sum[r * Q + q], x[r], y);
    }
  }
  for (size_t r = 0; r < R; r++) {
    const lanes x = lanes_tail(half, rows + r * stride + whole * size, s->width - whole);
    for (size_t q = 0; q < Q; q++) {
      if (whole < s->width)
        sum[r * Q + q] = lanes_add_product(sum[r * Q + q], x, lanes_load(values + q * s->padded + whole));
      out[q * n + r] = lanes_sum(sum[r * Q + q]);
    }
  }
}

ALWAYS_INLINE void float_scores(bool half, const search_queries *s, size_t first, size_t m, const void *rows, size_t n,
                                float *out) {
  const size_t stride = s->width * (half ? 2 : 4);
  const char *row = rows;
  size_t i = 0, q;
  for (; i + TILE_ROWS <= n; i += TILE_ROWS, row += TILE_ROWS * stride) {
    for (q = 0; q + TILE_QUERIES <= m; q += TILE_QUERIES)
      float_tile(TILE_ROWS, TILE_QUERIES, half, s, first + q, row, n, out + q * n + i);
    for (; q < m; q++) float_tile(TILE_ROWS, 1, half, s, first + q, row, n, out + q * n + i);
  }
  for (; i < n; i++, row += stride)
    for (q = 0; q < m; q++) float_tile(1, 1, half, s, first + q, row, n, out + q * n + i);
}

static void scores_f32(const search_queries *s, size_t first, size_t m, const void *rows, const float *factor, size_t n,
                       float *out) {
  (void)factor;
  float_scores(false, s, first, m, rows, n, out);
}

static void scores_f16(const search_queries *s, size_t first, size_t m, const void *rows, const float *factor, size_t n,
                       float *out) {
  (void)factor;
  float_scores(true, s, first, m, rows, n, out);
}

/* --- integers ----------------------------------------------------------------------------------------------------- */

enum { INTEGER_ROWS = 4 };

#if defined(__AVX512VNNI__)
/* total[r] = row r times `wide`. vpdpbusd multiplies unsigned with signed: 128 is added to the rows' numbers, and 128
 * times the query's sum subtracted at the end. Even 2^16 products of 255 and 127 fit 32 bits. */
ALWAYS_INLINE void integer_tile(size_t R, const search_queries *s, size_t query, const int8_t *rows, int64_t *total) {
  enum { STEP = 64 };
  const size_t width = s->width, ahead = R > 1 ? bytes_ahead(R, width) : 0;
  const int8_t *high = s->digits + 2 * query * s->padded, *low = high + s->padded;
  const __m512i flip = _mm512_set1_epi8(-128);
  __m512i sum_high[INTEGER_ROWS], sum_low[INTEGER_ROWS];
  for (size_t r = 0; r < R; r++) sum_high[r] = sum_low[r] = _mm512_setzero_si512();
  for (size_t i = 0; i < width; i += STEP) {
    const __mmask64 seen = width - i < STEP ? ((uint64_t)1 << (width - i)) - 1 : ~(uint64_t)0;
    const __m512i h = _mm512_loadu_si512(high + i), l = _mm512_loadu_si512(low + i);
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) {
      const int8_t *from = rows + r * width + i;
      const __m512i x = _mm512_xor_si512(_mm512_maskz_loadu_epi8(seen, from), flip);
      if (ahead) __builtin_prefetch(from + ahead);
      sum_high[r] = _mm512_dpbusd_epi32(sum_high[r], x, h);
      sum_low[r] = _mm512_dpbusd_epi32(sum_low[r], x, l);
    }
  }
  for (size_t r = 0; r < R; r++)
    total[r] = 128 * (int64_t)_mm512_reduce_add_epi32(sum_high[r]) + _mm512_reduce_add_epi32(sum_low[r]) -
               128 * (int64_t)s->sum[query];
}

#elif defined(__ARM_FEATURE_DOTPROD) && defined(CPU_NEON)
/* total[r] = row r times `wide`, digit by digit. Even 2^16 products of 128 and 127 fit 32 bits. */
ALWAYS_INLINE void integer_tile(size_t R, const search_queries *s, size_t query, const int8_t *rows, int64_t *total) {
  enum { STEP = 16 };
  const size_t width = s->width, ahead = R > 1 ? bytes_ahead(R, width) : 0, whole = width / STEP * STEP;
  const int8_t *high = s->digits + 2 * query * s->padded, *low = high + s->padded;
  int32x4_t sum_high[INTEGER_ROWS], sum_low[INTEGER_ROWS];
  for (size_t r = 0; r < R; r++) sum_high[r] = sum_low[r] = vdupq_n_s32(0);
  for (size_t i = 0; i < width; i += STEP) {
    const int8x16_t h = vld1q_s8(high + i), l = vld1q_s8(low + i);
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) {
      const int8_t *from = rows + r * width + i;
      int8x16_t x = vdupq_n_s8(0);
      if (i < whole)
        x = vld1q_s8(from);
      else
        memcpy(&x, from, width - whole);
      if (ahead) __builtin_prefetch(from + ahead);
      sum_high[r] = vdotq_s32(sum_high[r], x, h);
      sum_low[r] = vdotq_s32(sum_low[r], x, l);
    }
  }
  for (size_t r = 0; r < R; r++) total[r] = 128 * (int64_t)vaddvq_s32(sum_high[r]) + vaddvq_s32(sum_low[r]);
}

#else
enum { INTEGER_BLOCK = 1024 }; /* as many products of 128 and 127 * 128 fit 32 bits */

#if defined(__AVX2__)
static inline int32_t sum_of_8(__m256i s) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

ALWAYS_INLINE void integer_block(size_t R, size_t stride, size_t n, const int16_t *wide, const int8_t *rows,
                                 int64_t *total) {
  enum { STEP = 16 };
  const size_t ahead = R > 1 ? bytes_ahead(R, stride) : 0, whole = n / STEP * STEP;
  __m256i sum[INTEGER_ROWS];
  for (size_t r = 0; r < R; r++) sum[r] = _mm256_setzero_si256();
  for (size_t i = 0; i < n; i += STEP) {
    const __m256i y = _mm256_loadu_si256((const __m256i *)(wide + i));
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) {
      const int8_t *from = rows + r * stride + i;
      __m128i x = _mm_setzero_si128();
      if (i < whole)
        x = _mm_loadu_si128((const __m128i *)from);
      else
        memcpy(&x, from, n - whole);
      if (ahead) __builtin_prefetch(from + ahead);
      sum[r] = _mm256_add_epi32(sum[r], _mm256_madd_epi16(_mm256_cvtepi8_epi16(x), y));
    }
  }
  for (size_t r = 0; r < R; r++) total[r] += sum_of_8(sum[r]);
}

#else
ALWAYS_INLINE void integer_block(size_t R, size_t stride, size_t n, const int16_t *wide, const int8_t *rows,
                                 int64_t *total) {
  for (size_t r = 0; r < R; r++) {
    const int8_t *row = rows + r * stride;
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (int32_t)row[i] * wide[i];
    total[r] += sum;
  }
}
#endif

ALWAYS_INLINE void integer_tile(size_t R, const search_queries *s, size_t query, const int8_t *rows, int64_t *total) {
  for (size_t r = 0; r < R; r++) total[r] = 0;
  for (size_t i = 0; i < s->width; i += INTEGER_BLOCK)
    integer_block(R, s->width, smaller(INTEGER_BLOCK, s->width - i), s->wide + query * s->padded + i, rows + i, total);
}
#endif

static void scores_i8(const search_queries *s, size_t first, size_t m, const void *rows, const float *factor, size_t n,
                      float *out) {
  const int8_t *row = rows;
  for (size_t i = 0, R; i < n; i += R, row += R * s->width) {
    R = n - i < INTEGER_ROWS ? 1 : INTEGER_ROWS;
    for (size_t q = 0; q < m; q++) {
      int64_t total[INTEGER_ROWS];
      if (R == 1)
        integer_tile(1, s, first + q, row, total);
      else
        integer_tile(INTEGER_ROWS, s, first + q, row, total);
      for (size_t r = 0; r < R; r++)
        out[q * n + i + r] = (float)((double)total[r] * ((double)factor[i + r] * s->step[first + q]));
    }
  }
}

void CPU_FAMILY(search_scores)(cpu_kernels *table);
void CPU_FAMILY(search_scores)(cpu_kernels *table) {
  table->search_f32 = scores_f32;
  table->search_f16 = scores_f16;
  table->search_i8 = scores_i8;
}
