/* Layer norm and per-token group norm: mean and biased variance over each of `groups` spans of n channels of every row;
 * spec operators 1.3. */
#include "kernels/cpu/row_sums.h"

#include <math.h>

static void norm_span(size_t n, float eps, const float *restrict x, const float *restrict w, const float *restrict b,
                      float *restrict y, float *mean_out, float *rstd_out) {
  float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += x[i];
  const float mean = sum / (float)n;
#pragma omp simd reduction(+ : squares)
  for (size_t i = 0; i < n; i++) {
    float centred = x[i] - mean;
    squares += centred * centred;
  }
  const float rstd = 1.0f / sqrtf(squares / (float)n + eps);
  if (w) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
  } else {
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd;
  }
  *mean_out = mean;
  *rstd_out = rstd;
}

static void norm_forward(size_t M, size_t groups, size_t n, float eps, const float *x, const float *w, const float *b,
                         float *y, float *mean, float *rstd) {
  const size_t C = groups * n;
#pragma omp parallel for schedule(static) if (M * C >= CPU_PARALLEL_MIN)
  for (size_t m = 0; m < M; m++) {
    for (size_t g = 0; g < groups; g++) {
      const size_t c = g * n, at = m * C + c;
      norm_span(n, eps, x + at, w ? w + c : NULL, b ? b + c : NULL, y + at, mean + m * groups + g,
                rstd + m * groups + g);
    }
  }
}

/* gx = rstd (g - mean(g) - xhat mean(g xhat)), g = gy w. */
static void norm_span_backward(size_t n, float mean, float rstd, const float *restrict x, const float *restrict w,
                               const float *restrict gy, float *restrict gx, bool acc) {
  float sum = 0.0f, along = 0.0f;
  if (w) {
#pragma omp simd reduction(+ : sum, along)
    for (size_t i = 0; i < n; i++) {
      float g = gy[i] * w[i];
      sum += g;
      along += g * ((x[i] - mean) * rstd);
    }
  } else {
#pragma omp simd reduction(+ : sum, along)
    for (size_t i = 0; i < n; i++) {
      sum += gy[i];
      along += gy[i] * ((x[i] - mean) * rstd);
    }
  }
  sum /= (float)n;
  along /= (float)n;
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float g = w ? gy[i] * w[i] : gy[i];
    float result = rstd * (g - sum - (x[i] - mean) * rstd * along);
    gx[i] = acc ? gx[i] + result : result;
  }
}

/* gw += gy xhat, gb += gy for one span. */
static void norm_span_sums(size_t n, float mean, float rstd, const float *restrict x, const float *restrict gy,
                           float *restrict gw, float *restrict gb) {
  if (gw) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) gw[i] += gy[i] * ((x[i] - mean) * rstd);
  }
  if (gb) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) gb[i] += gy[i];
  }
}

static void norm_backward(size_t M, size_t groups, size_t n, const float *x, const float *w, const float *mean,
                          const float *rstd, const float *gy, float *gx, bool acc, float *gw, float *gb) {
  const size_t C = groups * n;
  row_sums sums = row_sums_open(M, 2 * C, C);
#pragma omp parallel for schedule(static) if (sums.parts)
  for (size_t block = 0; block < sums.blocks; block++) {
    float *w_sum = row_sums_part(&sums, block, 0, gw), *b_sum = row_sums_part(&sums, block, C, gb);
    for (size_t m = block * sums.rows; m < row_sums_end(&sums, block); m++) {
      for (size_t g = 0; g < groups; g++) {
        const size_t c = g * n, at = m * C + c, s = m * groups + g;
        if (gx) norm_span_backward(n, mean[s], rstd[s], x + at, w ? w + c : NULL, gy + at, gx + at, acc);
        norm_span_sums(n, mean[s], rstd[s], x + at, gy + at, w_sum ? w_sum + c : NULL, b_sum ? b_sum + c : NULL);
      }
    }
  }
  row_sums_add(&sums, 0, C, gw);
  row_sums_add(&sums, C, C, gb);
  row_sums_close(&sums);
}

void CPU_FAMILY(norm)(cpu_kernels *table);
void CPU_FAMILY(norm)(cpu_kernels *table) {
  table->norm_forward = norm_forward;
  table->norm_backward = norm_backward;
}
