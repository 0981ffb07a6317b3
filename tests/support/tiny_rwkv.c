#include "tests/support/tiny_rwkv.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/kernel_check.h"
#include "tests/support/tiny_captioner.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SIZES .n_layer = 4, .n_embd = 24, .dim_ffn = 40, .vocab_size = TINY_RWKV_VOCABULARY
const tiny_rwkv_form tiny_rwkv_forms[TINY_RWKV_FORMS] = {
    {"4", {.version = 4, SIZES, .dim_att = 24, .head_size = 1}},
    {"5.0", {.version = 5, SIZES, .dim_att = 24, .head_size = 8, .parts = RWKV5_LOG_BONUS}},
    {"5.1", {.version = 5, SIZES, .dim_att = 24, .head_size = 8, .parts = RWKV5_GATE}},
    {"5.2", {.version = 5, SIZES, .dim_att = 24, .head_size = 8, .parts = RWKV5_GATE | RWKV5_CHANNELS}},
    {"6", {.version = 6, SIZES, .dim_att = 24, .head_size = 8, .rank_mix = 3, .rank_decay = 5}},
    {"7",
     {.version = 7,
      SIZES,
      .dim_att = 24,
      .head_size = 8,
      .rank_decay = 5,
      .rank_rate = 4,
      .rank_value = 3,
      .rank_gate = 6}},
    {"4, wide", {.version = 4, SIZES, .dim_att = 35, .head_size = 1}},
    {"6, wide", {.version = 6, SIZES, .dim_att = 35, .head_size = 5, .rank_mix = 3, .rank_decay = 5}},
};

void tiny_rwkv_new(tiny_rwkv *m, const rwkv_config *config, uint64_t seed) {
  memset(m, 0, sizeof *m);
  if (rwkv_new(&m->lm, config, "t.", &m->set) || params_allocate(&m->set)) fail_msg("%s", last_error());
  tiny_disturb(&m->set, seed);
  /* A first token's output is its bonus times its value, then normed: near zero slopes would tell nothing. */
  for (size_t i = 0; i < m->set.n; i++) {
    const param *p = &m->set.item[i];
    for (int64_t k = 0; p->spec->class == PARAM_BONUS && k < tensor_count(p->value); k++) f32(p->value)[k] += 1;
  }
}

void tiny_rwkv_free(tiny_rwkv *m) {
  rwkv_free(&m->lm);
  params_free(&m->set);
}

ctx *tiny_context(void) {
  ctx *c = ctx_new();
  if (!c) fail_msg("%s", last_error());
  return c;
}

tensor *tiny_rows(ctx *c, int64_t B, int64_t T, int64_t D, uint64_t seed) {
  tensor *x = tensor_3d(c, DTYPE_F32, B, T, D);
  rng g = rng_make(seed, 1);
  assert_non_null(x);
  for (int64_t i = 0; i < tensor_count(x); i++) f32(x)[i] = rng_normal(&g);
  return x;
}

tensor *tiny_columns(ctx *c, const tensor *x, int64_t from, int64_t n) {
  int64_t B = x->dim[0], T = x->dim[1], D = x->dim[2];
  tensor *y = tensor_3d(c, DTYPE_F32, B, n, D);
  assert_non_null(y);
  for (int64_t b = 0; b < B; b++)
    memcpy(f32(y) + b * n * D, f32(x) + (b * T + from) * D, (size_t)(n * D) * sizeof(float));
  return y;
}

tensor *tiny_ids(ctx *c, int64_t B, int64_t T, uint64_t seed) {
  tensor *ids = tensor_2d(c, DTYPE_I32, B, T);
  rng g = rng_make(seed, 2);
  assert_non_null(ids);
  for (int64_t i = 0; i < B * T; i++) i32(ids)[i] = (int32_t)rng_below(&g, TINY_RWKV_VOCABULARY);
  return ids;
}

void tiny_same(const char *what, const float *got, const float *want, size_t n, double tolerance) {
  double *wide = zeros64(n);
  for (size_t i = 0; i < n; i++) wide[i] = (double)want[i];
  check_l2(what, got, wide, n, tolerance, 0);
  free(wide);
}
