/* AdamW against its definition in float64 (spec operators 6.3). */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { STEPS = 7, MOST = 64 };

/* One parameter of every class. */
typedef struct {
  param_set set;
  tensor *of[PARAM_CLASSES];
} model;

#define OF(class) offsetof(model, of) + (class) * sizeof(tensor *)
static const param_spec rows[PARAM_CLASSES] = {
    {"matrix", OF(PARAM_MATRIX), {5, 7}, PARAM_MATRIX, init_normal, 1, 0, 0},
    {"embedding", OF(PARAM_EMBEDDING), {4, 3}, PARAM_EMBEDDING, init_normal, 1, 0, 0},
    {"low-rank", OF(PARAM_LOW_RANK), {3, 2}, PARAM_LOW_RANK, init_normal, 1, 0, 0},
    {"mix", OF(PARAM_MIX), {1, 1, 9}, PARAM_MIX, init_normal, 1, 0, 0},
    {"decay", OF(PARAM_DECAY), {17}, PARAM_DECAY, init_normal, 1, 0, 0},
    {"bonus", OF(PARAM_BONUS), {2, 4}, PARAM_BONUS, init_normal, 1, 0, 0},
    {"log-bonus", OF(PARAM_LOG_BONUS), {8}, PARAM_LOG_BONUS, init_normal, 1, 0, 0},
    {"norm", OF(PARAM_NORM), {6}, PARAM_NORM, init_normal, 1, 0, 0},
    {"bias", OF(PARAM_BIAS), {1}, PARAM_BIAS, init_normal, 1, 0, 0},
    {"position", OF(PARAM_POSITION), {3, 3}, PARAM_POSITION, init_normal, 1, 0, 0},
    {"state", OF(PARAM_STATE), {2, 3, 3}, PARAM_STATE, init_normal, 1, 0, 0},
};
/* What the recipe of RWKV says, written once more (spec language-models 5.2). */
static const double decayed[PARAM_CLASSES] = {[PARAM_MATRIX] = 1, [PARAM_EMBEDDING] = 1, [PARAM_STATE] = 1};
static double rate_of(int class) { return class == PARAM_DECAY ? 2 : class == PARAM_LOG_BONUS ? 3 : 1; }

static void make(model *m) {
  memset(m, 0, sizeof *m);
  assert_int_equal(params_declare(&m->set, "", rows, PARAM_CLASSES, -1, 1, NULL, m), STATUS_OK);
  assert_int_equal(params_allocate(&m->set), STATUS_OK);
  params_init(&m->set, 9);
  assert_int_equal(params_want_grads(&m->set, true), STATUS_OK);
}

/* Gradients of step `step`: of very different sizes from one parameter to the next. */
static void draw_gradients(model *m, int step, double size) {
  params_zero_grads(&m->set);
  for (int k = 0; k < PARAM_CLASSES; k++) {
    rng g = rng_make((uint64_t)step, (uint64_t)k);
    for (int64_t i = 0; i < tensor_count(m->of[k]); i++)
      f32(m->of[k]->grad)[i] = (float)(size * pow(10, k % 4 - 2) * (double)rng_normal(&g));
  }
}

static double norm_of(const model *m) {
  double sum = 0;
  for (int k = 0; k < PARAM_CLASSES; k++)
    for (int64_t i = 0; i < tensor_count(m->of[k]); i++) sum += pow(f32(m->of[k]->grad)[i], 2);
  return sqrt(sum);
}

typedef struct {
  double p[PARAM_CLASSES][MOST], m[PARAM_CLASSES][MOST], v[PARAM_CLASSES][MOST];
} reference;

static void reference_step(reference *r, const model *m, const adamw_options *o, double rate, int step) {
  double norm = norm_of(m), clip = o->clip > 0 && norm > o->clip ? o->clip / (norm + 1e-6) : 1;
  for (int k = 0; k < PARAM_CLASSES; k++)
    for (int64_t i = 0; i < tensor_count(m->of[k]); i++) {
      double g = clip * f32(m->of[k]->grad)[i], *p = &r->p[k][i];
      r->m[k][i] = o->beta1 * r->m[k][i] + (1 - o->beta1) * g;
      r->v[k][i] = o->beta2 * r->v[k][i] + (1 - o->beta2) * g * g;
      double mean = r->m[k][i] / (1 - pow(o->beta1, step)), square = r->v[k][i] / (1 - pow(o->beta2, step));
      *p -= rate * rate_of(k) * (mean / (sqrt(square) + o->eps) + o->weight_decay * decayed[k] * *p);
    }
}

/* Steps with gradients of the given size, and compares every one with the definition. */
static void compare(const adamw_options *o, double size) {
  model m;
  make(&m);
  reference *r = calloc(1, sizeof *r);
  for (int k = 0; k < PARAM_CLASSES; k++)
    for (int64_t i = 0; i < tensor_count(m.of[k]); i++) r->p[k][i] = f32(m.of[k])[i];
  adamw opt;
  assert_int_equal(adamw_new(&opt, &m.set, o), STATUS_OK);
  for (int step = 1; step <= STEPS; step++) {
    draw_gradients(&m, step, size);
    double rate = 0.03 / step, norm = 0;
    assert_int_equal(adamw_step(&opt, rate, &norm), STATUS_OK);
    assert_int_equal(opt.steps, step);
    assert_true(fabs(norm / norm_of(&m) - 1) < 1e-6);
    reference_step(r, &m, o, rate, step);
    for (int k = 0; k < PARAM_CLASSES; k++)
      for (int64_t i = 0; i < tensor_count(m.of[k]); i++) {
        double got = f32(m.of[k])[i], want = r->p[k][i];
        if (!(fabs(got - want) <= 2e-6 * (1 + fabs(want))))
          fail_msg("step %d, %s[%d]: %.9g instead of %.9g", step, rows[k].name, (int)i, got, want);
      }
  }
  adamw_free(&opt);
  params_free(&m.set);
  free(r);
}

static void test_steps(void **state) {
  (void)state;
  const adamw_options o = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = 0.1, .recipe = &recipe_rwkv};
  compare(&o, 1);
}

static void test_clipping(void **state) {
  (void)state;
  adamw_options o = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-3, .weight_decay = 0.1, .clip = 1, .recipe = &recipe_rwkv};
  compare(&o, 1);                                                      /* norms of about 30: clipped */
  compare(&o, 1e-4);                                                   /* below: left alone */
  for (double size = 0.01; size < 0.2; size *= 1.5) compare(&o, size); /* on both sides, and near */
  o.clip = 0;
  compare(&o, 1);
}

static void test_another_recipe(void **state) {
  (void)state;
  recipe plain = {{{0, false}}}; /* rate 0 everywhere but for biases, which decay */
  plain.of[PARAM_BIAS] = (recipe_row){0.5f, true};
  const adamw_options o = {.beta1 = 0, .beta2 = 0, .eps = 0, .weight_decay = 0.25, .recipe = &plain};
  model m;
  make(&m);
  float before[PARAM_CLASSES];
  for (int k = 0; k < PARAM_CLASSES; k++) before[k] = f32(m.of[k])[0];
  adamw opt;
  assert_int_equal(adamw_new(&opt, &m.set, &o), STATUS_OK);
  draw_gradients(&m, 1, 1);
  assert_int_equal(adamw_step(&opt, 0.1, NULL), STATUS_OK);
  for (int k = 0; k < PARAM_CLASSES; k++) {
    double sign = f32(m.of[k]->grad)[0] > 0 ? 1 : -1; /* without memory the step is the gradient's sign */
    double want = before[k] - (k == PARAM_BIAS ? 0.05 * (sign + 0.25 * (double)before[k]) : 0);
    assert_true(fabs(f32(m.of[k])[0] - want) < 1e-6);
  }
  adamw_free(&opt);
  params_free(&m.set);
}

static void test_bad_gradients_change_nothing(void **state) {
  (void)state;
  static const float bad[] = {NAN, INFINITY, -INFINITY};
  const adamw_options o = {
      .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .recipe = &recipe_rwkv};
  model m;
  make(&m);
  adamw opt;
  assert_int_equal(adamw_new(&opt, &m.set, &o), STATUS_OK);
  draw_gradients(&m, 1, 1);
  assert_int_equal(adamw_step(&opt, 0.01, NULL), STATUS_OK);
  size_t bytes = m.set.count * sizeof(float);
  float *values = malloc(bytes), *first = malloc(bytes), *second = malloc(bytes);
  memcpy(values, m.set.values, bytes), memcpy(first, opt.first, bytes), memcpy(second, opt.second, bytes);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    draw_gradients(&m, 2, 1);
    f32(m.of[PARAM_POSITION]->grad)[4] = bad[i];
    double norm = 0;
    assert_int_equal(adamw_step(&opt, 0.01, &norm), STATUS_FORMAT);
    assert_false(isfinite(norm));
    assert_int_equal(opt.steps, 1);
    assert_memory_equal(m.set.values, values, bytes);
    assert_memory_equal(opt.first, first, bytes);
    assert_memory_equal(opt.second, second, bytes);
  }
  free(values), free(first), free(second);
  adamw_free(&opt);
  params_free(&m.set);
}

static void test_buffers(void **state) {
  (void)state;
  const adamw_options o = {.beta1 = 0.9, .beta2 = 0.98, .recipe = &recipe_rwkv};
  model m;
  make(&m);
  adamw opt;
  assert_int_equal(adamw_new(&opt, &m.set, &o), STATUS_OK);
  param_buffer buffers[ADAMW_BUFFERS];
  adamw_buffers(&opt, buffers);
  assert_ptr_equal(buffers[0].values, opt.first);
  assert_ptr_equal(buffers[1].values, opt.second);
  assert_string_not_equal(buffers[0].prefix, buffers[1].prefix);
  for (size_t i = 0; i < m.set.count; i++) assert_true(opt.first[i] == 0 && opt.second[i] == 0);
  adamw_free(&opt);
  params_free(&m.set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_steps),          cmocka_unit_test(test_clipping),
      cmocka_unit_test(test_another_recipe), cmocka_unit_test(test_bad_gradients_change_nothing),
      cmocka_unit_test(test_buffers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
