/* AdamW with decoupled decay, and the sum of squares for clipping by the global norm; spec operators 6.3. */
#include "kernels/cpu/variant.h"

#include <math.h>

static void adamw(size_t n, float lr, float b1, float b2, float eps, float decay, float c1, float c2, float grad_scale,
                  const float *g, float *m, float *v, float *p) {
#pragma omp parallel for schedule(static) if (n >= CPU_PARALLEL_MIN)
  for (size_t at = 0; at < n; at += CPU_BLOCK) {
    const size_t end = at + smaller(CPU_BLOCK, n - at);
#pragma omp simd
    for (size_t i = at; i < end; i++) {
      const float scaled = grad_scale * g[i];
      m[i] = b1 * m[i] + (1.0f - b1) * scaled;
      v[i] = b2 * v[i] + (1.0f - b2) * (scaled * scaled);
      p[i] -= lr * ((m[i] * c1) / (sqrtf(v[i] * c2) + eps) + decay * p[i]);
    }
  }
}

static double sum_squares(size_t n, const float *x) {
  enum { BLOCKS = 256 }; /* blocks whose sums wait to be added in order */
  double total = 0.0;
  for (size_t first = 0; first < n; first += BLOCKS * CPU_BLOCK) {
    const size_t count = smaller(BLOCKS * CPU_BLOCK, n - first), blocks = (count + CPU_BLOCK - 1) / CPU_BLOCK;
    const float *part = x + first;
    double sums[BLOCKS];
#pragma omp parallel for schedule(static) if (count >= CPU_PARALLEL_MIN)
    for (size_t block = 0; block < blocks; block++) {
      const size_t at = block * CPU_BLOCK, end = at + smaller(CPU_BLOCK, count - at);
      double sum = 0.0;
#pragma omp simd reduction(+ : sum)
      for (size_t i = at; i < end; i++) sum += (double)part[i] * (double)part[i];
      sums[block] = sum;
    }
    for (size_t block = 0; block < blocks; block++) total += sums[block];
  }
  return total;
}

void CPU_FAMILY(optim)(cpu_kernels *table);
void CPU_FAMILY(optim)(cpu_kernels *table) {
  table->adamw = adamw;
  table->sum_squares = sum_squares;
}
