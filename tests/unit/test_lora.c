/* LoRA: which matrices have factors and how they begin, gradients against differences of the loss, and that the frozen
 * model stays as it is while the merged one computes what the adapted one does. */
#include "train/lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "tests/support/kernel_check.h"
#include "tests/support/tiny_rwkv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { R = 3, ROWS = 2, LENGTH = 6, POSITIONS = ROWS * LENGTH };
static const double alpha = 7;

typedef struct {
  tiny_rwkv m;
  lora l;
  ctx *c;
  tensor *ids;
  int32_t target[POSITIONS];
  float weight[POSITIONS];
} problem;

static void problem_new(problem *p, const rwkv_config *k) {
  tiny_rwkv_new(&p->m, k, 40);
  p->c = tiny_context();
  p->ids = tiny_ids(p->c, ROWS, LENGTH, 3);
  for (int i = 0; i < POSITIONS; i++) {
    p->target[i] = (i * 11 + 2) % TINY_RWKV_VOCABULARY;
    p->weight[i] = 0.1f + 0.01f * (float)i;
  }
  assert_int_equal(lora_new(&p->l, &p->m.set, R, alpha), STATUS_OK);
  params_init(&p->l.factors, 9);
}

/* Factors of any values. */
static void disturb(problem *p) {
  rng g = rng_make(8, 8);
  for (size_t i = 0; i < p->l.factors.count; i++) p->l.factors.values[i] = 0.3f * rng_normal(&g);
}

static void problem_free(problem *p) {
  lora_free(&p->l);
  ctx_free(p->c);
  tiny_rwkv_free(&p->m);
}

static tensor *logits_of(problem *p, const rwkv *m) {
  tensor *y = rwkv_logits(p->c, m, rwkv_forward(p->c, m, rwkv_embed(p->c, m, p->ids), NULL));
  assert_non_null(y);
  return y;
}

static tensor *adapted_logits(problem *p) {
  assert_int_equal(lora_apply(&p->l, p->c), STATUS_OK);
  tensor *y = logits_of(p, &p->m.lm);
  lora_remove(&p->l);
  return y;
}

static bool same(const tensor *a, const tensor *b) {
  return !memcmp(a->data, b->data, (size_t)tensor_count(a) * sizeof(float));
}

static void for_each_form(void (*test)(problem *p)) {
  for (int i = 0; i < TINY_RWKV_FORMS; i++) {
    problem p;
    print_message("  version %s\n", tiny_rwkv_forms[i].name);
    problem_new(&p, &tiny_rwkv_forms[i].config);
    test(&p);
    problem_free(&p);
  }
}

/* Two factors for every matrix of a block's halves, in their shapes; the first uniform, the second zero. */
static void beginning(problem *p) {
  const rwkv_config *k = &p->m.lm.config;
  const int att = k->version == 4 || k->version == 7 || !(k->version == 6 || k->parts & RWKV5_GATE) ? 4 : 5;
  const int ffn = k->version == 7 ? 2 : 3;
  assert_int_equal(p->l.n, k->n_layer * (att + ffn));
  assert_int_equal(p->l.factors.n, 2 * p->l.n);
  for (size_t i = 0; i < p->l.n; i++) {
    const lora_pair *pair = &p->l.pair[i];
    const param *w = &p->m.set.item[pair->adapted], *a = &p->l.factors.item[2 * i], *b = a + 1;
    const size_t stem = strlen(w->name) - strlen("weight");
    assert_string_equal(w->name + stem, "weight");
    assert_memory_equal(a->name, w->name, stem);
    assert_memory_equal(b->name, w->name, stem);
    assert_string_equal(a->name + stem, "lora_A");
    assert_string_equal(b->name + stem, "lora_B");
    assert_non_null(strstr(w->name, "blocks."));
    assert_ptr_equal(pair->A, a->value);
    assert_ptr_equal(pair->B, b->value);
    assert_true(a->dim[0] == R && a->dim[1] == w->dim[1] && b->dim[0] == w->dim[0] && b->dim[1] == R);
    const double bound = 1 / sqrt((double)w->dim[1]);
    double most = 0;
    for (int64_t e = 0; e < tensor_count(a->value); e++) most = fmax(most, fabs((double)f32(a->value)[e]));
    assert_true(most > 0.7 * bound && most <= bound * 1.000001);
    for (int64_t e = 0; e < tensor_count(b->value); e++) assert_true(f32(b->value)[e] == 0);
  }
  assert_true(same(adapted_logits(p), logits_of(p, &p->m.lm)));
}
static void test_beginning(void **state) { (void)state, for_each_form(beginning); }

/* The adapted model, and one of plain weights that the factors were merged into, give the same bits; what is frozen
 * keeps its own. */
static void merging(problem *p) {
  const size_t bytes = p->m.set.count * sizeof(float);
  float *before = malloc(bytes);
  memcpy(before, p->m.set.values, bytes);
  disturb(p);
  tensor *base = logits_of(p, &p->m.lm), *got = adapted_logits(p);
  assert_false(same(got, base));
  assert_true(same(logits_of(p, &p->m.lm), base)); /* removed */
  const arena_mark mark = arena_here(p->c->memory);
  float *merged = lora_merged(&p->l, p->c);
  assert_non_null(merged);
  const arena_mark now = arena_here(p->c->memory);
  assert_true(now.chunk == mark.chunk && now.used == mark.used);
  assert_memory_equal(p->m.set.values, before, bytes);
  tiny_rwkv plain;
  tiny_rwkv_new(&plain, &p->m.lm.config, 41);
  memcpy(plain.set.values, merged, bytes);
  assert_true(same(logits_of(p, &plain.lm), got));
  /* one element by hand */
  const lora_pair *pair = &p->l.pair[1];
  const param *w = &p->m.set.item[pair->adapted];
  const int64_t in = w->dim[1], row = 5, column = 2;
  double sum = 0;
  for (int r = 0; r < R; r++) sum += (double)f32(pair->B)[row * R + r] * (double)f32(pair->A)[r * in + column];
  const double want = (double)before[w->first + (size_t)(row * in + column)] + alpha / R * sum;
  assert_true(fabs((double)merged[w->first + (size_t)(row * in + column)] - want) < 1e-5);
  tiny_rwkv_free(&plain);
  free(merged), free(before);
}
static void test_merging(void **state) { (void)state, for_each_form(merging); }

/* Summed in double from the f32 logits, so that small differences survive. */
static double loss_of(problem *p) {
  const arena_mark mark = arena_here(p->c->memory);
  const float *logits = f32(adapted_logits(p));
  double loss = 0;
  for (int i = 0; i < POSITIONS; i++) {
    const float *x = logits + i * TINY_RWKV_VOCABULARY;
    double sum = 0;
    for (int v = 0; v < TINY_RWKV_VOCABULARY; v++) sum += exp((double)x[v] - (double)x[0]);
    loss += (double)p->weight[i] * (log(sum) + (double)x[0] - (double)x[p->target[i]]);
  }
  arena_release(p->c->memory, mark);
  return loss;
}

/* Along each factor's gradient the loss rises by its length. */
static void gradients(problem *p) {
  disturb(p);
  param_set *set = &p->l.factors;
  const size_t bytes = p->m.set.count * sizeof(float);
  float *before = malloc(bytes);
  memcpy(before, p->m.set.values, bytes);
  assert_int_equal(params_want_grads(set, true), STATUS_OK);
  p->c->recording = true;
  tensor *loss = cross_entropy(p->c, adapted_logits(p), p->target, p->weight, 0);
  p->c->recording = false;
  assert_non_null(loss);
  assert_int_equal(backward(p->c, loss), STATUS_OK);
  assert_null(p->m.set.grads);
  float *grads = guarded_copy(set->grads, set->count);
  assert_int_equal(params_want_grads(set, false), STATUS_OK);
  for (size_t i = 0; i < set->n; i++) {
    const param *w = &set->item[i];
    const size_t n = (size_t)tensor_count(w->value);
    float *value = f32(w->value), *kept = guarded_copy(value, n);
    const float *g = grads + w->first;
    double length = 0, at[2];
    for (size_t k = 0; k < n; k++) length += (double)g[k] * (double)g[k];
    length = sqrt(length);
    assert_true(length > 1e-6);
    const double h = fmin(0.01, 1e-3 / length);
    for (int s = 0; s < 2; s++) {
      for (size_t k = 0; k < n; k++) value[k] = (float)((double)kept[k] + (s ? h : -h) * (double)g[k] / length);
      at[s] = loss_of(p);
    }
    memcpy(value, kept, n * sizeof *value);
    const double found = (at[1] - at[0]) / (2 * h);
    if (!(fabs(found - length) <= 0.02 * length + 2e-7 / h))
      fail_msg("%s: slope %.6g, the gradient says %.6g", w->name, found, length);
    guarded_free(kept);
  }
  assert_memory_equal(p->m.set.values, before, bytes);
  guarded_free(grads);
  free(before);
}
static void test_gradients(void **state) { (void)state, for_each_form(gradients); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_beginning),
      cmocka_unit_test(test_merging),
      cmocka_unit_test(test_gradients),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
