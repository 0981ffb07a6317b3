/* A register of lanes, for kernels that keep tiles in registers across their inner loops; arithmetic is written with
 * operators, which compilers understand for such types. Any float may start one. Included by sources that are compiled
 * once for each instruction set. */
#ifndef LINNET_KERNELS_CPU_LANES_H
#define LINNET_KERNELS_CPU_LANES_H

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

#endif
