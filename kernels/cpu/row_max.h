/* The largest of n numbers, -infinity for none; NaN is passed over. In lanes, since not every compiler sees a reduction
 * in the plain loop. */
#ifndef LINNET_KERNELS_CPU_ROW_MAX_H
#define LINNET_KERNELS_CPU_ROW_MAX_H

#include <math.h>
#include <stddef.h>

static inline float row_max(size_t n, const float *x) {
  enum { WIDTH = 16 };
  float lane[WIDTH], max = -INFINITY;
  for (size_t j = 0; j < WIDTH; j++) lane[j] = -INFINITY;
  size_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) {
#pragma omp simd
    for (size_t j = 0; j < WIDTH; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
  }
  for (; i < n; i++) max = x[i] > max ? x[i] : max;
  for (size_t j = 0; j < WIDTH; j++) max = lane[j] > max ? lane[j] : max;
  return max;
}

#endif
