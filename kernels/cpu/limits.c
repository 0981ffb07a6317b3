/* What an instruction set can do at most: arithmetic on registers alone, and reading memory. Benchmarks compare with
 * it. */
#include <string.h>

#include "kernels/cpu/search_lanes.h"
#include "kernels/cpu/variant.h"

#if defined(__SSE2__)
#include <immintrin.h>
#define REGISTER "+v"
#elif defined(__aarch64__)
#define REGISTER "+w"
#else
#define REGISTER "+m"
#endif

/* One step of a sum. The asm, which is no instruction, says that it changes sum and operands: so no step can be left
 * out, merged with others or computed ahead. */
#define STEP(function, sum)                                                                                            \
  sum = function(sum, x, y);                                                                                           \
  __asm__ volatile("" : REGISTER(sum), REGISTER(x), REGISTER(y))

/* `rounds` times a step of each of 12 independent sums: more than enough that none waits for itself, since an
 * instruction takes up to 5 cycles and two begin in each; and with two operands they fit into 16 registers. Named,
 * since compilers leave an array in memory. */
enum { CHAINS = 12 };
#define RUN(vector, function, x_byte, y_byte)                                                                          \
  do {                                                                                                                 \
    vector x, y, a, b, c, d, e, f, g, h, i, j, k, l;                                                                   \
    memset(&x, x_byte, sizeof x);                                                                                      \
    memset(&y, y_byte, sizeof y);                                                                                      \
    memset(&a, 0, sizeof a);                                                                                           \
    b = c = d = e = f = g = h = i = j = k = l = a;                                                                     \
    for (size_t round = 0; round < rounds; round++) {                                                                  \
      STEP(function, a);                                                                                               \
      STEP(function, b);                                                                                               \
      STEP(function, c);                                                                                               \
      STEP(function, d);                                                                                               \
      STEP(function, e);                                                                                               \
      STEP(function, f);                                                                                               \
      STEP(function, g);                                                                                               \
      STEP(function, h);                                                                                               \
      STEP(function, i);                                                                                               \
      STEP(function, j);                                                                                               \
      STEP(function, k);                                                                                               \
      STEP(function, l);                                                                                               \
    }                                                                                                                  \
  } while (0)

#if defined(__AVX512F__)
enum { WIDE = 64 };
#elif defined(__AVX__)
enum { WIDE = 32 };
#else
enum { WIDE = 16 };
#endif

/* --- arithmetic --------------------------------------------------------------------------------------------------- */

typedef float floats __attribute__((vector_size(WIDE)));
static inline floats multiply_add(floats sum, floats x, floats y) { return sum + x * y; }

static double peak_f32(size_t rounds) {
  RUN(floats, multiply_add, 0x3f, 0x3b); /* 0.747 and 0.003 */
  return 2.0 * WIDE / sizeof(float) * CHAINS * (double)rounds;
}

/* Sums of products of integers in 32 bits: of signed 16-bit ones, and of unsigned with signed bytes. Instruction sets
 * without an instruction for it take two or three for the same. */
#if defined(__AVX512BW__)
typedef __m512i integers;
#elif defined(__AVX2__)
typedef __m256i integers;
#elif defined(__SSE2__)
typedef __m128i integers;
#elif defined(CPU_NEON)
typedef int32x4_t integers;
#endif

#if defined(__AVX512VNNI__)
static inline integers dot16(integers sum, integers x, integers y) { return _mm512_dpwssd_epi32(sum, x, y); }
static inline integers dot8(integers sum, integers x, integers y) { return _mm512_dpbusd_epi32(sum, x, y); }
#elif defined(__AVX512BW__)
static inline integers dot16(integers sum, integers x, integers y) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(x, y));
}
static inline integers dot8(integers sum, integers x, integers y) {
  return dot16(sum, _mm512_maddubs_epi16(x, y), _mm512_set1_epi16(1));
}
#elif defined(__AVXVNNI__)
static inline integers dot16(integers sum, integers x, integers y) { return _mm256_dpwssd_avx_epi32(sum, x, y); }
static inline integers dot8(integers sum, integers x, integers y) { return _mm256_dpbusd_avx_epi32(sum, x, y); }
#elif defined(__AVX2__)
static inline integers dot16(integers sum, integers x, integers y) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
}
static inline integers dot8(integers sum, integers x, integers y) {
  return dot16(sum, _mm256_maddubs_epi16(x, y), _mm256_set1_epi16(1));
}
#elif defined(__SSE2__)
static inline integers dot16(integers sum, integers x, integers y) { return _mm_add_epi32(sum, _mm_madd_epi16(x, y)); }
/* It has none for bytes, which are spread to 16 bits before. */
static inline integers dot8(integers sum, integers x, integers y) {
  const __m128i zero = _mm_setzero_si128();
  return dot16(dot16(sum, _mm_unpacklo_epi8(x, zero), y), _mm_unpackhi_epi8(x, zero), y);
}
#elif defined(CPU_NEON)
static inline integers dot16(integers sum, integers x, integers y) {
  const int16x8_t a = vreinterpretq_s16_s32(x), b = vreinterpretq_s16_s32(y);
  return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(a), vget_low_s16(b)), a, b);
}
static inline integers dot8(integers sum, integers x, integers y) {
  return add_byte_products(sum, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(y));
}
#endif

#if defined(__SSE2__) || defined(CPU_NEON)
static double peak_i16(size_t rounds) {
  RUN(integers, dot16, 3, 5);
  return 2.0 * WIDE / 2 * CHAINS * (double)rounds;
}

static double peak_i8(size_t rounds) {
  RUN(integers, dot8, 3, 5);
  return 2.0 * WIDE * CHAINS * (double)rounds;
}
#else
static double peak_i16(size_t rounds) { return 0 * (double)rounds; }
static double peak_i8(size_t rounds) { return 0 * (double)rounds; }
#endif

static double peak(peak_kind kind, size_t rounds) {
  double (*const of[PEAK_KINDS])(size_t) = {[PEAK_F32] = peak_f32, [PEAK_I16] = peak_i16, [PEAK_I8] = peak_i8};
  return of[kind](rounds);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

typedef uint64_t words __attribute__((vector_size(WIDE)));
enum { LINE = 64 };

static inline void add_line(words *sum, const uint8_t *from, size_t ahead) {
  if (ahead) __builtin_prefetch(from + ahead);
  for (size_t i = 0; i < LINE / WIDE; i++) {
    words w;
    memcpy(&w, from + i * WIDE, WIDE);
    sum[i] += w;
  }
}

static inline uint64_t read_lines(size_t n, const uint8_t *from, size_t streams, size_t ahead) {
  words sum[LINE / WIDE] = {0};
  const size_t part = n / LINE / streams * LINE;
  for (size_t at = 0; at < part; at += LINE)
    for (size_t s = 0; s < streams; s++) add_line(sum, from + s * part + at, ahead);
  for (size_t at = streams * part; at < n; at += LINE) add_line(sum, from + at, 0);
  uint64_t all = 0;
  for (size_t i = 0; i < LINE / WIDE; i++)
    for (size_t j = 0; j < WIDE / sizeof all; j++) all += sum[i][j];
  return all;
}

static uint64_t read_sum(size_t n, const void *from, read_way way) {
  switch (way) {
  case READ_PLAIN:
    return read_lines(n, from, 1, 0);
  case READ_AHEAD:
    return read_lines(n, from, 1, 4096);
  default:
    return read_lines(n, from, 4, 1024);
  }
}

void CPU_FAMILY(limits)(cpu_kernels *table);
void CPU_FAMILY(limits)(cpu_kernels *table) {
  table->peak = peak;
  table->read_sum = read_sum;
}
