/* Activations, gates, weighted sums of vectors, and biases added to rows; spec operators 1.2.
 * Activations go through short buffers: only filling one depends on the kind. */
#include "kernels/cpu/act.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/row_sums.h"
#include "kernels/cpu/vecmath.h"

enum { SPAN = 512 };

/* As act_value(). */
static inline __attribute__((always_inline)) float act_slope(act_kind kind, float x) {
  float s, bell;
  switch (kind) {
  case ACT_NONE:
    return 1.0f;
  case ACT_SIGMOID:
    s = vec_sigmoid(x);
    return s * (1.0f - s);
  case ACT_TANH:
    s = vec_tanh(x);
    return 1.0f - s * s;
  case ACT_SILU:
    s = vec_sigmoid(x);
    return s + x * s * (1.0f - s);
  case ACT_RELU:
    return x <= 0.0f ? 0.0f : 1.0f;
  case ACT_RELU2:
    return x < 0.0f ? 0.0f : 2.0f * x;
  case ACT_GELU:
    s = vec_normal(x, &bell);
    return s + x * (0.398942280f * bell);
  case ACT_QUICK_GELU:
    s = vec_sigmoid(1.702f * x);
    return s + 1.702f * x * s * (1.0f - s);
  case ACT_EXP:
    return vec_exp(x);
  }
  return 1.0f;
}

static inline __attribute__((always_inline)) void slopes_of(act_kind kind, size_t n, const float *x, float *value,
                                                            float *slope) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) value[i] = act_value(kind, x[i]), slope[i] = act_slope(kind, x[i]);
}

static void act_slopes(act_kind kind, size_t n, const float *x, float *value, float *slope) {
  switch (kind) {
  case ACT_NONE:
    slopes_of(ACT_NONE, n, x, value, slope);
    break;
  case ACT_SIGMOID:
    slopes_of(ACT_SIGMOID, n, x, value, slope);
    break;
  case ACT_TANH:
    slopes_of(ACT_TANH, n, x, value, slope);
    break;
  case ACT_SILU:
    slopes_of(ACT_SILU, n, x, value, slope);
    break;
  case ACT_RELU:
    slopes_of(ACT_RELU, n, x, value, slope);
    break;
  case ACT_RELU2:
    slopes_of(ACT_RELU2, n, x, value, slope);
    break;
  case ACT_GELU:
    slopes_of(ACT_GELU, n, x, value, slope);
    break;
  case ACT_QUICK_GELU:
    slopes_of(ACT_QUICK_GELU, n, x, value, slope);
    break;
  case ACT_EXP:
    slopes_of(ACT_EXP, n, x, value, slope);
    break;
  }
}

/* y = x z, or y += x z. */
static void product(size_t n, const float *x, const float *z, float *y, bool acc) {
  if (acc) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] += x[i] * z[i];
  } else {
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = x[i] * z[i];
  }
}

static void act_forward(act_kind kind, size_t n, const float *x, float *y) {
  const bool past = x != y && streams(1, n, y);
#pragma omp parallel for schedule(static) if (n >= CPU_PARALLEL_MIN)
  for (size_t at = 0; at < n; at += CPU_BLOCK) {
    const size_t end = smaller(at + CPU_BLOCK, n);
    if (!past) act_values(kind, end - at, x + at, y + at);
    for (size_t i = at; past && i < end; i += SPAN) {
      float value[SPAN];
      const size_t count = smaller(SPAN, end - i);
      act_values(kind, count, x + i, value);
      for (size_t l = 0; l < count; l += VEC) stream(load(value + l), y + i + l);
    }
    if (past) stream_end();
  }
}

static void act_backward(act_kind kind, size_t n, const float *x, const float *gy, float *gx, bool acc) {
  if (!gx) return;
#pragma omp parallel for schedule(static) if (n >= CPU_PARALLEL_MIN)
  for (size_t at = 0; at < n; at += SPAN) {
    float value[SPAN], slope[SPAN];
    size_t count = smaller(SPAN, n - at);
    act_slopes(kind, count, x + at, value, slope);
    product(count, gy + at, slope, gx + at, acc);
  }
}

static void gate_forward(act_kind kind, size_t n, const float *a, const float *g, float *y) {
#pragma omp parallel for schedule(static) if (n >= CPU_PARALLEL_MIN)
  for (size_t at = 0; at < n; at += SPAN) {
    float value[SPAN];
    size_t count = smaller(SPAN, n - at);
    act_values(kind, count, g + at, value);
    product(count, a + at, value, y + at, false);
  }
}

static void gate_backward(act_kind kind, size_t n, const float *a, const float *g, const float *gy, float *ga,
                          bool acc_a, float *gg, bool acc_g) {
#pragma omp parallel for schedule(static) if (n >= CPU_PARALLEL_MIN)
  for (size_t at = 0; at < n; at += SPAN) {
    float value[SPAN], slope[SPAN];
    size_t count = smaller(SPAN, n - at);
    if (gg) {
      act_slopes(kind, count, g + at, value, slope);
      product(count, a + at, slope, slope, false);
      product(count, gy + at, slope, gg + at, acc_g);
    } else {
      act_values(kind, count, g + at, value);
    }
    if (ga) product(count, gy + at, value, ga + at, acc_a);
  }
}

static void axpby(size_t n, float alpha, const float *x, float beta, const float *y, float *z) {
#pragma omp parallel for schedule(static) if (n >= CPU_PARALLEL_MIN)
  for (size_t at = 0; at < n; at += CPU_BLOCK) {
    size_t end = at + smaller(CPU_BLOCK, n - at);
    if (beta == 0.0f || !y) {
#pragma omp simd
      for (size_t i = at; i < end; i++) z[i] = alpha * x[i];
    } else {
#pragma omp simd
      for (size_t i = at; i < end; i++) z[i] = alpha * x[i] + beta * y[i];
    }
  }
}

static void add_rows(size_t M, size_t C, const float *x, const float *b, float *y) {
#pragma omp parallel for schedule(static) if (M * C >= CPU_PARALLEL_MIN)
  for (size_t m = 0; m < M; m++) {
    const float *row = x + m * C;
    float *out = y + m * C;
#pragma omp simd
    for (size_t c = 0; c < C; c++) out[c] = row[c] + b[c];
  }
}

static void sum_rows(size_t M, size_t C, const float *gy, float *gb) {
  row_sums sums = row_sums_open(M, C, C);
#pragma omp parallel for schedule(static) if (sums.parts)
  for (size_t block = 0; block < sums.blocks; block++) {
    float *sum = row_sums_part(&sums, block, 0, gb);
    for (size_t m = block * sums.rows; m < row_sums_end(&sums, block); m++) {
      const float *row = gy + m * C;
#pragma omp simd
      for (size_t c = 0; c < C; c++) sum[c] += row[c];
    }
  }
  row_sums_add(&sums, 0, C, gb);
  row_sums_close(&sums);
}

void CPU_FAMILY(elementwise)(cpu_kernels *table);
void CPU_FAMILY(elementwise)(cpu_kernels *table) {
  table->act_forward = act_forward;
  table->act_backward = act_backward;
  table->gate_forward = gate_forward;
  table->gate_backward = gate_backward;
  table->axpby = axpby;
  table->add_rows = add_rows;
  table->sum_rows = sum_rows;
}
