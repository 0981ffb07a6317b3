/* The comparison in 8 bits that rules rows of an exact search out, many queries at a time.
 *
 * A row x = f a + d, with 8-bit integers a, and a query y = g b + e have the product
 *   x y = f g (a b) + e x + g b d  <=  f g (a b) + |e| |x| + |g b| |d|,
 * so that a row whose right side does not exceed the score that a query has found k times already need not be looked
 * at. The rounding of scores and of these bounds themselves is in the query's `slack` (kernels/search_queries.c); here
 * lengths are only to be no shorter than they are, up to that. */
#include "kernels/cpu/variant.h"

#include <math.h>

#include "kernels/cpu/search_lanes.h"
#include "kernels/cpu/vecmath.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* --- rows --------------------------------------------------------------------------------------------------------- */

/* Rows beyond these lengths are not bounded: sums of squares could overflow, or lose what is too small. */
static const float shortest = 1e-10f, longest = 1e10f;

static float bounded(float length) { return length >= shortest && length <= longest ? length : INFINITY; }

/* The square root of a sum of squares over a row, and what its rounding may have taken away. */
static float length_of(size_t width, float squares) {
  return sqrtf(squares) * (1.0f + ((float)width / LANES + 32.0f) * 0x1p-23f);
}

/* The largest magnitude, NaN if there is one: patterns of positive numbers are in the order of the numbers. */
static float largest(size_t n, const float *x) {
  int32_t max = 0;
#pragma omp simd reduction(max : max)
  for (size_t i = 0; i < n; i++) {
    const int32_t bits = (int32_t)(bits_of_float(x[i]) & 0x7fffffff);
    max = bits > max ? bits : max;
  }
  return float_of_bits((uint32_t)max);
}

/* Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
static void shrink_row(size_t n, const float *restrict x, int8_t *restrict values, const filter_rows *out, size_t row) {
  const float shift = 12582912.0f, max = largest(n, x);
  const bool usable = max >= 1e-20f && max <= longest;
  const float step = usable ? max / 127.0f : 0.0f, inverse = usable ? 127.0f / max : 0.0f;
  float squares = 0.0f, errors = 0.0f;
  int32_t sum = 0;
#pragma omp simd reduction(+ : squares, errors, sum)
  for (size_t i = 0; i < n; i++) {
    const float t = x[i] * inverse + shift, error = x[i] - step * (t - shift);
    const int8_t value = (int8_t)(bits_of_float(t) - bits_of_float(shift));
    values[i] = value;
    sum += value;
    squares += x[i] * x[i];
    errors += error * error;
  }
  const float length = bounded(length_of(n, squares));
  const bool nothing = squares == 0.0f && max == 0.0f;
  out->factor[row] = step;
  out->norm[row] = nothing ? 0.0f : length;
  out->error[row] = nothing ? 0.0f : isinf(length) ? INFINITY : length_of(n, errors);
  out->sum[row] = sum;
}

static void shrink(bool half, size_t n, const void *rows, float *row, int8_t *values, const filter_rows *out) {
  const size_t width = out->width, whole = width / LANES * LANES;
  const char *from = rows;
  for (size_t i = 0; i < n; i++, from += width * (half ? 2 : 4)) {
    for (size_t c = 0; half && c < whole; c += LANES) lanes_store(row + c, lanes_half(from + 2 * c));
    if (half)
      f16_to_f32_array(from + 2 * whole, width - whole, row + whole);
    else
      memcpy(row, from, width * sizeof *row); /* the table may lie at any address */
    shrink_row(width, row, values + i * out->stride, out, i);
  }
}

static void measure(size_t n, const filter_rows *rows) {
  for (size_t i = 0; i < n; i++) {
    const int8_t *x = rows->values + i * rows->stride;
    int32_t sum = 0, squares = 0; /* at most 2^16 * 128^2 */
#pragma omp simd reduction(+ : sum, squares)
    for (size_t c = 0; c < rows->width; c++) {
      sum += x[c];
      squares += x[c] * x[c];
    }
    const float length = vec_abs(rows->factor[i]) * sqrtf((float)squares) * (1.0f + 0x1p-20f);
    rows->norm[i] = length == 0.0f && squares == 0 && isfinite(rows->factor[i]) ? 0.0f : bounded(length);
    rows->error[i] = isinf(rows->norm[i]) ? INFINITY : 0.0f;
    rows->sum[i] = sum;
  }
}

/* --- the comparison ----------------------------------------------------------------------------------------------- */

#if defined(__AVX512VNNI__)
enum { TILE_ROWS = 6 };

static inline uint64_t alive_in_strip(const filter_rows *rows, size_t r, const filter_queries *q, size_t at,
                                      __m512i dot) {
  __m512 bound = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(rows->factor[r]));
  bound = _mm512_fmadd_ps(_mm512_loadu_ps(q->slack + at), _mm512_set1_ps(rows->norm[r]), bound);
  bound = _mm512_fmadd_ps(_mm512_loadu_ps(q->size + at), _mm512_set1_ps(rows->error[r]), bound);
  return _mm512_cmp_ps_mask(bound, _mm512_loadu_ps(q->limit + at), _CMP_NLE_UQ);
}

/* sum += unsigned times signed, of every four: _mm512_dpbusd_epi32, for which GCC 12 keeps such sums in memory. */
ALWAYS_INLINE void add_products(__m512i *sum, __m512i queries, __m512i row) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(queries), "v"(row));
}

/* R rows from row i on and S strips, both constants where it is called. */
ALWAYS_INLINE void filter_tile(size_t R, size_t S, const filter_rows *rows, size_t i, const filter_queries *q,
                               size_t first, uint64_t *alive) {
  const size_t strip = q->fours * 64;
  const uint8_t *y = q->values + first * strip;
  const int8_t *x = rows->values + i * rows->stride;
  __m512i dot[TILE_ROWS * FILTER_PANEL];
#pragma GCC unroll 6
  for (size_t r = 0; r < R; r++)
#pragma GCC unroll 4
    for (size_t s = 0; s < S; s++) dot[r * S + s] = _mm512_set1_epi32(-128 * rows->sum[i + r]);
  for (size_t c = 0; c < q->fours; c++, y += 64, x += 4) {
    __m512i queries[FILTER_PANEL];
#pragma GCC unroll 4
    for (size_t s = 0; s < S; s++) queries[s] = _mm512_loadu_si512(y + s * strip);
#pragma GCC unroll 6
    for (size_t r = 0; r < R; r++) {
      int32_t four;
      memcpy(&four, x + r * rows->stride, sizeof four);
      const __m512i row = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (size_t s = 0; s < S; s++) add_products(&dot[r * S + s], queries[s], row);
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < R; r++) {
    uint64_t bits = 0;
#pragma GCC unroll 4
    for (size_t s = 0; s < S; s++)
      bits |= alive_in_strip(rows, i + r, q, (first + s) * FILTER_STRIP, dot[r * S + s]) << FILTER_STRIP * s;
    alive[r] = bits;
  }
}

ALWAYS_INLINE void filter_strips(size_t S, const filter_rows *rows, size_t n, const filter_queries *q, size_t first,
                                 uint64_t *alive) {
  size_t i = 0;
  for (; i + TILE_ROWS <= n; i += TILE_ROWS) filter_tile(TILE_ROWS, S, rows, i, q, first, alive + i);
  for (; i < n; i++) filter_tile(1, S, rows, i, q, first, alive + i);
}

static void filter(const filter_rows *rows, size_t n, const filter_queries *q, size_t first, size_t n_strips,
                   uint64_t *alive) {
  switch (n_strips) {
  case 1:
    filter_strips(1, rows, n, q, first, alive);
    break;
  case 2:
    filter_strips(2, rows, n, q, first, alive);
    break;
  case 3:
    filter_strips(3, rows, n, q, first, alive);
    break;
  default:
    filter_strips(4, rows, n, q, first, alive);
  }
}

#else
#if defined(__AVX2__)
enum { TILE_ROWS = 4 };

static inline uint64_t alive_in_half(const filter_rows *rows, size_t r, const filter_queries *q, size_t at,
                                     __m256i dot) {
  __m256 bound = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(rows->factor[r]));
  bound = _mm256_fmadd_ps(_mm256_loadu_ps(q->slack + at), _mm256_set1_ps(rows->norm[r]), bound);
  bound = _mm256_fmadd_ps(_mm256_loadu_ps(q->size + at), _mm256_set1_ps(rows->error[r]), bound);
  return (uint64_t)(unsigned)_mm256_movemask_ps(_mm256_cmp_ps(bound, _mm256_loadu_ps(q->limit + at), _CMP_NLE_UQ));
}

/* R rows from row i on and one strip in two halves. vpmaddubsw multiplies unsigned with signed and holds sums of two
 * products of 128 and 127: rows go in as magnitudes, their signs to the queries. */
ALWAYS_INLINE void filter_tile(size_t R, const filter_rows *rows, size_t i, const filter_queries *q, size_t strip,
                               uint64_t *alive) {
  const uint8_t *y = q->values + strip * q->fours * 64;
  const int8_t *x = rows->values + i * rows->stride;
  const __m256i flip = _mm256_set1_epi8(-128), ones = _mm256_set1_epi16(1);
  __m256i dot[TILE_ROWS * 2];
  for (size_t k = 0; k < R * 2; k++) dot[k] = _mm256_setzero_si256();
  for (size_t c = 0; c < q->fours; c++, y += 64, x += 4) {
    const __m256i low = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)y), flip),
                  high = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(y + 32)), flip);
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) {
      int32_t four;
      memcpy(&four, x + r * rows->stride, sizeof four);
      const __m256i row = _mm256_set1_epi32(four), size = _mm256_abs_epi8(row);
      const __m256i a = _mm256_maddubs_epi16(size, _mm256_sign_epi8(low, row)),
                    b = _mm256_maddubs_epi16(size, _mm256_sign_epi8(high, row));
      dot[2 * r] = _mm256_add_epi32(dot[2 * r], _mm256_madd_epi16(a, ones));
      dot[2 * r + 1] = _mm256_add_epi32(dot[2 * r + 1], _mm256_madd_epi16(b, ones));
    }
  }
  for (size_t r = 0; r < R; r++)
    alive[r] = alive_in_half(rows, i + r, q, strip * FILTER_STRIP, dot[2 * r]) |
               alive_in_half(rows, i + r, q, strip * FILTER_STRIP + 8, dot[2 * r + 1]) << 8;
}

#elif defined(CPU_NEON)
enum { TILE_ROWS = 4 };

static inline uint64_t alive_in_strip(const filter_rows *rows, size_t r, const filter_queries *q, size_t at,
                                      const int32x4_t dot[4]) {
  const uint32x4_t bit = {1, 2, 4, 8};
  uint32x4_t alive = vdupq_n_u32(0);
  for (int i = 0; i < 4; i++, at += 4) {
    float32x4_t bound = vmulq_n_f32(vcvtq_f32_s32(dot[i]), rows->factor[r]);
    bound = vfmaq_n_f32(bound, vld1q_f32(q->slack + at), rows->norm[r]);
    bound = vfmaq_n_f32(bound, vld1q_f32(q->size + at), rows->error[r]);
    alive |= vbicq_u32(bit, vcleq_f32(bound, vld1q_f32(q->limit + at))) << (uint32_t)(4 * i);
  }
  return vaddvq_u32(alive);
}

/* R rows from row i on and one strip. */
ALWAYS_INLINE void filter_tile(size_t R, const filter_rows *rows, size_t i, const filter_queries *q, size_t strip,
                               uint64_t *alive) {
  const uint8_t *y = q->values + strip * q->fours * 64;
  const int8_t *x = rows->values + i * rows->stride;
  int32x4_t dot[TILE_ROWS][4];
  for (size_t r = 0; r < R; r++)
    for (size_t k = 0; k < 4; k++) dot[r][k] = vdupq_n_s32(0);
  for (size_t c = 0; c < q->fours; c++, y += 64, x += 4) {
    int8x16_t queries[4];
    for (size_t k = 0; k < 4; k++) queries[k] = vreinterpretq_s8_u8(vld1q_u8(y + 16 * k) ^ vdupq_n_u8(0x80));
#pragma GCC unroll 4
    for (size_t r = 0; r < R; r++) {
      int32_t four;
      memcpy(&four, x + r * rows->stride, sizeof four);
      const int8x16_t row = vreinterpretq_s8_s32(vdupq_n_s32(four));
#pragma GCC unroll 4
      for (size_t k = 0; k < 4; k++) dot[r][k] = add_byte_products(dot[r][k], queries[k], row);
    }
  }
  for (size_t r = 0; r < R; r++) alive[r] = alive_in_strip(rows, i + r, q, strip * FILTER_STRIP, dot[r]);
}

#else
enum { TILE_ROWS = 1 };

ALWAYS_INLINE void filter_tile(size_t R, const filter_rows *rows, size_t i, const filter_queries *q, size_t strip,
                               uint64_t *alive) {
  (void)R;
  const uint8_t *y = q->values + strip * q->fours * 64;
  const int8_t *x = rows->values + i * rows->stride;
  int32_t dot[FILTER_STRIP] = {0};
  for (size_t c = 0; c < q->fours; c++)
    for (size_t j = 0; j < FILTER_STRIP; j++)
      for (size_t d = 0; d < 4; d++) dot[j] += x[4 * c + d] * (y[c * 64 + 4 * j + d] - 128);
  *alive = 0;
  for (size_t j = 0; j < FILTER_STRIP; j++) {
    const size_t at = strip * FILTER_STRIP + j;
    const float bound = (float)dot[j] * rows->factor[i] + q->slack[at] * rows->norm[i] + q->size[at] * rows->error[i];
    *alive |= (uint64_t) !(bound <= q->limit[at]) << j;
  }
}
#endif

static void filter(const filter_rows *rows, size_t n, const filter_queries *q, size_t first, size_t n_strips,
                   uint64_t *alive) {
  for (size_t i = 0; i < n; i++) alive[i] = 0;
  for (size_t s = 0; s < n_strips; s++)
    for (size_t i = 0, R; i < n; i += R) {
      uint64_t bits[TILE_ROWS];
      R = n - i < TILE_ROWS ? 1 : TILE_ROWS;
      if (R == 1)
        filter_tile(1, rows, i, q, first + s, bits);
      else
        filter_tile(TILE_ROWS, rows, i, q, first + s, bits);
      for (size_t r = 0; r < R; r++) alive[i + r] |= bits[r] << FILTER_STRIP * s;
    }
}
#endif

void CPU_FAMILY(search_filter)(cpu_kernels *table);
void CPU_FAMILY(search_filter)(cpu_kernels *table) {
  table->search_shrink = shrink;
  table->search_measure = measure;
  table->search_filter = filter;
}
