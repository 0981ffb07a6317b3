/* A register of lanes, for kernels that keep tiles in registers across their inner loops; arithmetic is written with
 * operators, which compilers understand for such types. Any float may start one. Included by sources that are compiled
 * once for each instruction set. */
#ifndef LINNET_KERNELS_CPU_LANES_H
#define LINNET_KERNELS_CPU_LANES_H

#if defined(__AVX__)
#include <immintrin.h>
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__)
enum { VEC = 16 };
#elif defined(__AVX__)
enum { VEC = 8 };
#else
enum { VEC = 4 };
#endif
typedef float vec __attribute__((vector_size(VEC * sizeof(float)), may_alias, aligned(4)));

static inline vec load(const float *at) { return *(const vec *)at; }
static inline void store(vec x, float *at) { *(vec *)at = x; }
/* Stores past the caches, for what is too much for them and overwritten whole: it is neither read before nor does it
 * push others out. To multiples of sizeof(vec); after the last one, stream_end(). */
#if defined(__AVX512F__)
static inline void stream(vec x, float *at) { _mm512_stream_ps(at, (__m512)x); }
static inline void stream_end(void) { _mm_sfence(); }
#elif defined(__AVX__)
static inline void stream(vec x, float *at) { _mm256_stream_ps(at, (__m256)x); }
static inline void stream_end(void) { _mm_sfence(); }
#else
static inline void stream(vec x, float *at) { store(x, at); }
static inline void stream_end(void) {}
#endif

/* Whether `rows` rows of C floats at y are too much for the caches, and can be streamed. */
static inline bool streams(size_t rows, size_t C, const float *y) {
  const size_t too_much = (size_t)1 << 20;
  return rows * C >= too_much && ((uintptr_t)y | C * sizeof *y) % sizeof(vec) == 0;
}

#endif
