/* Comparing pictures and texts: forward and gradients against float64 (tests/support/gradcheck.h); an image tower with
 * a class token under that loss against differences of it. Spec rwkv-clip sections 4, 6 and 10.1. */
#include "fusion/contrastive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/gradcheck.h"
#include "tests/support/kernel_check.h"
#include "tests/support/tiny_captioner.h"
#include "vision/rwkv_clip_image.h"

#include <cmocka.h>

static void unit64(size_t M, size_t D, const double *x, double *y) {
  for (size_t m = 0; m < M; m++) {
    double sum = 0;
    for (size_t d = 0; d < D; d++) sum += x[m * D + d] * x[m * D + d];
    double length = fmax(sqrt(sum), 1e-12);
    for (size_t d = 0; d < D; d++) y[m * D + d] = x[m * D + d] / length;
  }
}

static void run_unit(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  out[0] = unit_rows(c, in[0]);
}
static void define_unit(const gradcheck_case *k, double *const in[], double *const out[]) {
  unit64(check_rows(&k->in[0]), check_last(&k->in[0]), in[0], out[0]);
}

static void test_unit_rows(void **state) {
  (void)state;
  gradcheck(&(gradcheck_case){
      .name = "unit rows", .n_in = 1, .n_out = 1, .in = {{.dim = {3, 5, 7}}}, .run = run_unit, .define = define_unit});
  ctx *c = ctx_new(); /* a row of nothing stays nothing */
  tensor *zero = tensor_2d(c, DTYPE_F32, 1, 3);
  memset(zero->data, 0, 3 * sizeof(float));
  tensor *y = unit_rows(c, zero);
  for (int i = 0; i < 3; i++) assert_true(f32(y)[i] == 0);
  ctx_free(c);
}

static void run_loss(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  out[0] = contrastive_loss(c, unit_rows(c, in[0]), unit_rows(c, in[1]), in[2]);
}
static void define_loss(const gradcheck_case *k, double *const in[], double *const out[]) {
  size_t B = check_rows(&k->in[0]), D = check_last(&k->in[0]);
  double *a = zeros64(B * D), *b = zeros64(B * D), *z = zeros64(B * B);
  unit64(B, D, in[0], a);
  unit64(B, D, in[1], b);
  for (size_t i = 0; i < B; i++)
    for (size_t j = 0; j < B; j++)
      for (size_t d = 0; d < D; d++) z[i * B + j] += exp(*in[2]) * a[i * D + d] * b[j * D + d];
  for (size_t i = 0; i < B; i++) {
    double row = 0, column = 0;
    for (size_t j = 0; j < B; j++) row += exp(z[i * B + j]), column += exp(z[j * B + i]);
    *out[0] += (log(row) + log(column) - 2 * z[i * B + i]) / (2 * (double)B);
  }
  free(a), free(b), free(z);
}

static void test_loss(void **state) {
  (void)state;
  for (int64_t B = 1; B < 6; B += 2)
    gradcheck(&(gradcheck_case){.name = "contrastive loss",
                                .n_in = 3,
                                .n_out = 1,
                                .in = {{.dim = {B, 6}}, {.dim = {B, 6}}, {.dim = {1}, .low = 1, .high = 2}},
                                .run = run_loss,
                                .define = define_loss});
}

/* Texts that are true of other pictures than their own, in one direction alone too. */
static const bool true_of[5][5] = {{true, true, false, false, false},
                                   {false, true, false, false, true},
                                   {false, false, false, false, false},
                                   {true, true, true, true, true},
                                   {false, false, false, true, true}};

static void run_apart(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  out[0] = contrastive_loss_apart(c, unit_rows(c, in[0]), unit_rows(c, in[1]), in[2], *true_of);
}
static void define_apart(const gradcheck_case *k, double *const in[], double *const out[]) {
  const size_t n = check_rows(&k->in[0]), D = check_last(&k->in[0]);
  double *a = zeros64(n * D), *b = zeros64(n * D), *z = zeros64(n * n);
  unit64(n, D, in[0], a);
  unit64(n, D, in[1], b);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++)
      for (size_t d = 0; d < D; d++) z[i * n + j] += exp(*in[2]) * a[i * D + d] * b[j * D + d];
  for (size_t i = 0; i < n; i++) {
    double row = 0, column = 0;
    for (size_t j = 0; j < n; j++) {
      if (i == j || !true_of[i][j]) row += exp(z[i * n + j]);
      if (i == j || !true_of[j][i]) column += exp(z[j * n + i]);
    }
    *out[0] += (log(row) + log(column) - 2 * z[i * n + i]) / (2 * (double)n);
  }
  free(a), free(b), free(z);
}

static void test_loss_of_what_is_true_twice(void **state) {
  (void)state;
  gradcheck(&(gradcheck_case){.name = "contrastive loss apart",
                              .n_in = 3,
                              .n_out = 1,
                              .in = {{.dim = {5, 6}}, {.dim = {5, 6}}, {.dim = {1}, .low = 1, .high = 2}},
                              .run = run_apart,
                              .define = define_apart});
}

static void test_probabilities(void **state) {
  (void)state;
  float p[] = {0.1f, 0.2f, 0.4f, -1, 1, 1};
  match_probabilities(p, 2, 3, 100);
  const double want[] = {exp(-30), exp(-20), 1, exp(-200) / 2, 0.5, 0.5};
  for (int i = 0; i < 6; i++) assert_true(fabs((double)p[i] - want[i]) < 1e-6);
}

/* --- a tower with a class token ----------------------------------------------------------------------------------- */

static const image_tower_config with_class = {.depth = 2,
                                              .width = 16,
                                              .hidden = 24,
                                              .head_size = 8,
                                              .patch = 4,
                                              .grid_h = 2,
                                              .grid_w = 3,
                                              .rank_mix = 3,
                                              .rank_decay = 4,
                                              .class_token = true};

typedef struct {
  param_set set;
  image_tower tower;
  float *pixels, *texts;
  float log_scale;
} pair_problem;

enum { B = 3, HEIGHT = 8, WIDTH = 12 };

static tensor *pair_loss(ctx *c, pair_problem *p) {
  int h, w;
  tensor *x = tensor_wrap(c, DTYPE_F32, p->pixels, 4, (int64_t[]){B, HEIGHT, WIDTH, 3});
  tensor *texts = tensor_wrap(c, DTYPE_F32, p->texts, 2, (int64_t[]){B, with_class.width});
  tensor *scale = tensor_wrap(c, DTYPE_F32, &p->log_scale, 1, (int64_t[]){1});
  tensor *tokens = image_tower_tokens(c, &p->tower, x, &h, &w);
  assert_int_equal(tokens->dim[1], h * w + 1);
  tensor *features = image_tower_pool(c, &p->tower, tokens);
  const float *last = f32(tokens) + (tokens->dim[1] - 1) * with_class.width;
  assert_memory_equal(features->data, last, (size_t)with_class.width * sizeof(float));
  return contrastive_loss(c, unit_rows(c, features), unit_rows(c, texts), scale);
}

/* Along a direction that is half its gradient's and half random, every parameter's slope is what the gradient says. In
 * the last layer only the class token is read, which is its own shift: its mixes have no gradient. */
static void test_class_token(void **state) {
  (void)state;
  pair_problem p = {.pixels = guarded_random(B * HEIGHT * WIDTH * 3, 1, -1, 1),
                    .texts = guarded_random((size_t)B * 16, 2, -1, 1),
                    .log_scale = 0.5f};
  assert_int_equal(image_tower_new(&p.tower, &with_class, "v.", &p.set), STATUS_OK);
  assert_int_equal(params_allocate(&p.set), STATUS_OK);
  tiny_disturb(&p.set, 4);
  ctx *c = ctx_new();
  assert_non_null(c);
  assert_int_equal(params_want_grads(&p.set, true), STATUS_OK);
  c->recording = true;
  assert_int_equal(backward(c, pair_loss(c, &p)), STATUS_OK);
  c->recording = false;
  int resolved = 0;
  for (size_t i = 0; i < p.set.n; i++) {
    const param *w = &p.set.item[i];
    size_t n = (size_t)tensor_count(w->value);
    float *value = f32(w->value), *kept = guarded_copy(value, n);
    const float *g = p.set.grads + w->first;
    double length = 0, random_length = 0, along = 0, at[2];
    float *direction = guarded_random(n, i, -1, 1);
    for (size_t e = 0; e < n; e++) {
      length += (double)g[e] * (double)g[e];
      random_length += (double)direction[e] * (double)direction[e];
    }
    length = sqrt(length), random_length = sqrt(random_length);
    resolved += length > 1e-3;
    for (size_t e = 0; e < n; e++) {
      direction[e] = (float)((length > 0 ? (double)g[e] / length : 0) + (double)direction[e] / random_length);
      along += (double)g[e] * (double)direction[e];
    }
    double h = fmin(0.02, 2e-3 / fmax(length, 1e-6));
    for (int s = 0; s < 2; s++) {
      for (size_t e = 0; e < n; e++) value[e] = (float)(kept[e] + (s ? h : -h) * direction[e]);
      ctx_reset(c);
      at[s] = *f32(pair_loss(c, &p));
    }
    memcpy(value, kept, n * sizeof *value);
    guarded_free(kept), guarded_free(direction);
    double slope = (at[1] - at[0]) / (2 * h);
    if (!(fabs(slope - along) <= 0.02 * length + 4e-7 / h))
      fail_msg("%s: slope %.6g, the gradient says %.6g", w->name, slope, along);
    if (w->value == p.tower.class_token) assert_true(length > 1e-3);
  }
  assert_true(resolved > (int)p.set.n * 3 / 4);
  ctx_free(c);
  image_tower_free(&p.tower);
  params_free(&p.set);
  guarded_free(p.pixels), guarded_free(p.texts);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unit_rows),
      cmocka_unit_test(test_loss),
      cmocka_unit_test(test_loss_of_what_is_true_twice),
      cmocka_unit_test(test_probabilities),
      cmocka_unit_test(test_class_token),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
