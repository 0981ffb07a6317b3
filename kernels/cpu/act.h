/* Values of activations, spec operators 1.2, for sources that are compiled once for each instruction set. */
#ifndef LINNET_KERNELS_CPU_ACT_H
#define LINNET_KERNELS_CPU_ACT_H

#include "kernels/cpu/variant.h"

#include "kernels/cpu/search_lanes.h"
#include "kernels/cpu/vecmath.h"

/* The kind is a constant wherever this is inlined, so the switch leaves no trace in the loops. Comparisons are written
 * so that NaN stays NaN. */
static inline __attribute__((always_inline)) float act_value(act_kind kind, float x) {
  float bell;
  switch (kind) {
  case ACT_NONE:
    return x;
  case ACT_SIGMOID:
    return vec_sigmoid(x);
  case ACT_TANH:
    return vec_tanh(x);
  case ACT_SILU:
    return x * vec_sigmoid(x);
  case ACT_RELU:
    return x < 0.0f ? 0.0f : x;
  case ACT_RELU2:
    return x < 0.0f ? 0.0f : x * x;
  case ACT_GELU:
    return x * vec_normal(x, &bell);
  case ACT_QUICK_GELU:
    return x * vec_sigmoid(1.702f * x);
  case ACT_EXP:
    return vec_exp(x);
  }
  return x;
}

static inline __attribute__((always_inline)) void values_of(act_kind kind, size_t n, const float *x, float *value) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) value[i] = act_value(kind, x[i]);
}

/* value = act(x); they may be the same. */
static inline void act_values(act_kind kind, size_t n, const float *x, float *value) {
  switch (kind) {
  case ACT_NONE:
    values_of(ACT_NONE, n, x, value);
    break;
  case ACT_SIGMOID:
    values_of(ACT_SIGMOID, n, x, value);
    break;
  case ACT_TANH:
    values_of(ACT_TANH, n, x, value);
    break;
  case ACT_SILU:
    values_of(ACT_SILU, n, x, value);
    break;
  case ACT_RELU:
    values_of(ACT_RELU, n, x, value);
    break;
  case ACT_RELU2:
    values_of(ACT_RELU2, n, x, value);
    break;
  case ACT_GELU:
    values_of(ACT_GELU, n, x, value);
    break;
  case ACT_QUICK_GELU:
    values_of(ACT_QUICK_GELU, n, x, value);
    break;
  case ACT_EXP:
    values_of(ACT_EXP, n, x, value);
    break;
  }
}

/* x = act(x) of n lanes, through a short buffer; ACT_NONE costs nothing. */
static inline void lanes_act(act_kind kind, size_t n, lanes *x) {
  enum { AT_ONCE = 16, WIDTH = sizeof *x / sizeof(float) };
  float value[AT_ONCE * WIDTH];
  for (size_t at = 0; kind && at < n; at += AT_ONCE) {
    const size_t some = smaller(AT_ONCE, n - at);
    for (size_t i = 0; i < some; i++) lanes_store(value + i * WIDTH, x[at + i]);
    act_values(kind, some * WIDTH, value, value);
    for (size_t i = 0; i < some; i++) x[at + i] = lanes_load(value + i * WIDTH);
  }
}

#endif
