/* Cross entropy and binary cross entropy over rows of logits, with the gradient of the weighted sum; spec
 * operators 6.1. */
#include "kernels/cpu/row_max.h"
#include "kernels/cpu/variant.h"
#include "kernels/cpu/vecmath.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 1024 }; /* floats summed in single precision before they enter a double */

/* sum_v exp(x - max); the exponentials go to e if it is not NULL. */
static double exp_sum(size_t V, float max, const float *restrict x, float *restrict e) {
  double total = 0.0;
  for (size_t v0 = 0; v0 < V; v0 += CHUNK) {
    const size_t end = v0 + smaller(CHUNK, V - v0);
    float sum = 0.0f;
    if (e) {
#pragma omp simd reduction(+ : sum)
      for (size_t v = v0; v < end; v++) {
        e[v] = vec_exp(x[v] - max);
        sum += e[v];
      }
    } else {
#pragma omp simd reduction(+ : sum)
      for (size_t v = v0; v < end; v++) sum += vec_exp(x[v] - max);
    }
    total += (double)sum;
  }
  return total;
}

static void cross_entropy(size_t M, size_t V, const float *logits, const int32_t *target, const float *weight,
                          float *ce, float *glogits) {
#pragma omp parallel for schedule(static) if (M * V >= CPU_PARALLEL_MIN)
  for (size_t m = 0; m < M; m++) {
    const float *x = logits + m * V;
    float *g = glogits ? glogits + m * V : NULL;
    if (weight[m] == 0.0f) {
      ce[m] = 0.0f;
      if (g) memset(g, 0, V * sizeof *g);
      continue;
    }
    const float max = row_max(V, x);
    const double sum = exp_sum(V, max, x, g);
    const size_t hit = (size_t)target[m];
    ce[m] = (float)(log(sum) + ((double)max - (double)x[hit]));
    if (!g) continue;
    const float scale = (float)((double)weight[m] / sum);
#pragma omp simd
    for (size_t v = 0; v < V; v++) g[v] *= scale;
    g[hit] -= weight[m];
  }
}

static void bce_with_logits(size_t M, size_t V, const float *logits, const float *target, const float *weight,
                            float *loss, float *glogits) {
#pragma omp parallel for schedule(static) if (M * V >= CPU_PARALLEL_MIN)
  for (size_t m = 0; m < M; m++) {
    const float *x = logits + m * V, *t = target + m * V;
    double total = 0.0;
    for (size_t v0 = 0; v0 < V; v0 += CHUNK) {
      const size_t end = v0 + smaller(CHUNK, V - v0);
      float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
      for (size_t v = v0; v < end; v++) {
        float positive = x[v] < 0.0f ? 0.0f : x[v];
        sum += positive - x[v] * t[v] + vec_log1p_unit(vec_exp(-vec_abs(x[v])));
      }
      total += (double)sum;
    }
    loss[m] = (float)total;
    if (!glogits) continue;
    float *g = glogits + m * V;
    const float scale = weight[m];
#pragma omp simd
    for (size_t v = 0; v < V; v++) g[v] = scale * (vec_sigmoid(x[v]) - t[v]);
  }
}

void CPU_FAMILY(loss)(cpu_kernels *table);
void CPU_FAMILY(loss)(cpu_kernels *table) {
  table->cross_entropy = cross_entropy;
  table->bce_with_logits = bce_with_logits;
}
