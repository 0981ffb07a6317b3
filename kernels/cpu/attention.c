/* The softmax of attention, on one tile of products between queries and keys; spec operators 4. The products themselves
 * are matrix products (ops_attention.c). Tiles are shared out among threads there: nothing here is threaded. */
#include "kernels/cpu/row_max.h"
#include "kernels/cpu/variant.h"
#include "kernels/cpu/vecmath.h"

#include <math.h>

/* How many columns row m sees. */
static size_t seen_by(size_t m, size_t N, size_t first, size_t step) { return smaller(N, first + m * step); }

static void clear(size_t from, size_t to, float *x) {
  for (size_t i = from; i < to; i++) x[i] = 0.0f;
}

static void attention_weights(size_t M, size_t N, size_t first, size_t step, float scale, float *s, float *lse) {
  for (size_t m = 0; m < M; m++) {
    const size_t n = seen_by(m, N, first, step);
    float *restrict row = s + m * N, sum = 0.0f;
#pragma omp simd
    for (size_t i = 0; i < n; i++) row[i] *= scale;
    const float max = row_max(n, row);
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
      row[i] = vec_exp(row[i] - max);
      sum += row[i];
    }
    const float inverse = 1.0f / sum;
#pragma omp simd
    for (size_t i = 0; i < n; i++) row[i] *= inverse;
    clear(n, N, row);
    lse[m] = n ? max + logf(sum) : INFINITY;
  }
}

static void attention_weights_again(size_t M, size_t N, size_t first, size_t step, float scale, const float *lse,
                                    float *s) {
  for (size_t m = 0; m < M; m++) {
    const size_t n = seen_by(m, N, first, step);
    float *restrict row = s + m * N;
    const float log_sum = lse[m];
#pragma omp simd
    for (size_t i = 0; i < n; i++) row[i] = vec_exp(scale * row[i] - log_sum);
    clear(n, N, row);
  }
}

static void attention_slopes(size_t M, size_t N, float scale, const float *p, float *g) {
  for (size_t m = 0; m < M; m++) {
    const float *restrict weight = p + m * N;
    float *restrict row = g + m * N, along = 0.0f;
#pragma omp simd reduction(+ : along)
    for (size_t i = 0; i < N; i++) along += weight[i] * row[i];
#pragma omp simd
    for (size_t i = 0; i < N; i++) row[i] = scale * weight[i] * (row[i] - along);
  }
}

void CPU_FAMILY(attention)(cpu_kernels *table);
void CPU_FAMILY(attention)(cpu_kernels *table) {
  table->attention_weights = attention_weights;
  table->attention_weights_again = attention_weights_again;
  table->attention_slopes = attention_slopes;
}
