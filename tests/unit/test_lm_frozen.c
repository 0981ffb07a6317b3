/* What a frozen text model learns: initial states and factors of low rank. A run goes on as if nothing had happened, it
 * learns, the model's file stays as it is, and the files for use are what they should be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/ops.h"
#include "lm/text.h"
#include "tests/support/kernel_check.h"
#include "tests/support/lm_run.h"
#include "tests/support/scratch.h"
#include "train/lm_data.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { CONTEXT = 8 }; /* short rows feel where they begin */

/* The rhyme's model, in a place that now holds another text. */
static char *base_model(void **state, const lm_place *p, int version) {
  static const char text[] = "{\"text\": \"One, two, One, two, One, two, knock, knock, knock, knock, knock\"}\n";
  char *path = lm_base_model(state, p, version);
  scratch_write(p->train, text, sizeof text - 1);
  return path;
}

static lm_train_options frozen_options(const lm_place *p, lm_trained what, const char *base) {
  lm_train_options o = lm_train_defaults_for(what);
  o.data = p->data;
  o.init = base;
  o.run.out = p->out;
  o.run.steps = 5;
  o.run.batch = 3;
  o.run.warmup = 1;
  o.context = CONTEXT;
  o.run.seed = 3;
  return o;
}

/* What training lowers: nats a token of rows that begin anywhere in the text, from the model's start. */
static double score(const lm_place *p, const text_model *m) {
  lm_text t = {0};
  if (lm_text_read(&t, p->train, m->words)) fail_msg("%s", last_error());
  const int rows = (int)t.n;
  const size_t n = t.n * CONTEXT;
  int32_t *ids = malloc(n * sizeof *ids), *next = malloc(n * sizeof *next);
  float *weight = malloc(n * sizeof *weight);
  lm_streams_make(&t, 0, 0, rows, CONTEXT, ids, next);
  for (size_t i = 0; i < n; i++) weight[i] = 1 / (float)n;
  ctx *c = ctx_new();
  assert_non_null(c);
  tensor *in = tensor_wrap(c, DTYPE_I32, ids, 2, (int64_t[]){rows, CONTEXT});
  tensor *logits = rwkv_logits(c, &m->lm, rwkv_forward(c, &m->lm, rwkv_embed(c, &m->lm, in), NULL));
  const tensor *loss = cross_entropy(c, logits, next, weight, 0);
  assert_non_null(loss);
  const double value = (double)*f32(loss);
  ctx_free(c);
  free(ids), free(next), free(weight);
  lm_text_free(&t);
  return value;
}

static text_model *opened(const char *path) {
  text_model *m = text_model_open(path, NULL);
  if (!m) fail_msg("%s", last_error());
  return m;
}

/* A run that learns something. */
static void learn(lm_train_options o, double rate) {
  o.run.steps = 60;
  o.run.rate = rate;
  o.run.rate_final = rate / 10;
  lm_train_to(&o, STATUS_OK);
}

static void check_better(int version, double before, double after, double share) {
  if (!(after < share * before)) fail_msg("version %d: from %g to %g nats only", version, before, after);
}

static void test_state_tuning(void **state) {
  for (int version = 5; version <= 7; version++) {
    lm_place p = lm_place_new(state, "c");
    char *base = base_model(state, &p, version);
    size_t n, m;
    char *before = scratch_read(base, &n);
    const lm_train_options o = frozen_options(&p, LM_TRAIN_STATES, base);
    assert_true(o.run.rate == 1 && o.run.rate_final == 0.01);
    lm_check_resumed(state, &o);
    learn(o, 1);
    char *after = scratch_read(base, &m);
    assert_true(n == m && !memcmp(before, after, n));
    free(before), free(after);
    assert_true(access(p.model, F_OK) != 0); /* a file of states is all there is */

    checkpoint *file = checkpoint_open(p.states);
    if (!file) fail_msg("%s", last_error());
    assert_int_equal(checkpoint_count(file), 2);
    assert_non_null(checkpoint_find(file, "blocks.1.att.time_state"));
    assert_string_equal(checkpoint_metadata(file, "linnet.train.what"), "states");
    assert_null(checkpoint_metadata(file, "linnet.train.base"));
    checkpoint_close(file);

    text_model *plain = opened(base), *tuned = opened(base);
    assert_int_equal(text_model_start(tuned, p.states), STATUS_OK);
    check_better(version, score(&p, plain), score(&p, tuned), 0.85);
    assert_int_equal(text_model_start(plain, base), STATUS_FORMAT); /* it has none */
    text_model_close(plain), text_model_close(tuned);

    lm_train_options shallow = lm_small_options(&p);
    shallow.version = version;
    shallow.layers = shallow.run.steps = 1;
    lm_train_to(&shallow, STATUS_OK);
    text_model *other = opened(p.model);
    assert_int_equal(text_model_start(other, p.states), STATUS_ARGUMENT);
    assert_non_null(strstr(last_error(), "2 layers"));
    text_model_close(other);

    lm_train_options again = o;
    again.init = p.states; /* this is no model */
    lm_train_to(&again, STATUS_FORMAT);
    unlink(base), free(base);
    lm_place_free(&p);
  }
  lm_place p = lm_place_new(state, "c");
  char *base = base_model(state, &p, 4);
  const lm_train_options o = frozen_options(&p, LM_TRAIN_STATES, base);
  lm_train_to(&o, STATUS_UNSUPPORTED);
  unlink(base), free(base);
  lm_place_free(&p);
}

static void check_same_values(const tensor *a, const tensor *b) {
  const size_t n = (size_t)tensor_count(a);
  float *x = guarded_fill(n, 0), *y = guarded_fill(n, 1);
  param_values(a, 0, n, x);
  param_values(b, 0, n, y);
  assert_memory_equal(x, y, n * sizeof *x);
  guarded_free(x), guarded_free(y);
}

static void test_factors(void **state) {
  for (int version = 4; version <= 7; version++) {
    lm_place p = lm_place_new(state, "c");
    char *base = base_model(state, &p, version);
    size_t n, m;
    char *before = scratch_read(base, &n);
    lm_train_options o = frozen_options(&p, LM_TRAIN_LORA, base);
    o.rank = 4;
    o.alpha = 6;
    lm_check_resumed(state, &o);
    learn(o, 3e-2);
    char *after = scratch_read(base, &m);
    assert_true(n == m && !memcmp(before, after, n));
    free(before), free(after);

    checkpoint *file = checkpoint_open(p.factors);
    if (!file) fail_msg("%s", last_error());
    const checkpoint_tensor *a = checkpoint_find(file, "blocks.1.ffn.key.lora_A");
    const checkpoint_tensor *b = checkpoint_find(file, "blocks.1.ffn.key.lora_B");
    assert_true(a && b && a->dim[0] == 4 && a->dim[1] == 16 && b->dim[0] == 24 && b->dim[1] == 4);
    assert_null(checkpoint_find(file, "head.weight"));
    assert_string_equal(checkpoint_metadata(file, "linnet.train.what"), "lora");
    assert_string_equal(checkpoint_metadata(file, "linnet.train.rank"), "4");
    assert_string_equal(checkpoint_metadata(file, "linnet.train.alpha"), "6");
    checkpoint_close(file);

    text_model *plain = opened(base), *merged = opened(p.model);
    check_better(version, score(&p, plain), score(&p, merged), 0.5);
    check_same_values(plain->lm.head, merged->lm.head); /* embedding and head are not adapted */
    check_same_values(plain->lm.emb, merged->lm.emb);
    text_model_close(plain), text_model_close(merged);
    unlink(base), free(base);
    lm_place_free(&p);
  }
}

/* The checkpoint of what a frozen model learns is of no use without that model. */
static void test_another_base(void **state) {
  lm_place p = lm_place_new(state, "c"), q = lm_place_new(state, "d");
  char *base = base_model(state, &p, 6);
  lm_train_options o = frozen_options(&p, LM_TRAIN_LORA, base);
  o.run.stop_after = 2;
  lm_train_to(&o, STATUS_OK);
  o.run.resume = true;
  o.init = NULL;
  damage_file(p.checkpoint, "\"linnet.train.base\"", "\"linnet.train.bass\"");
  lm_train_to(&o, STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "whose"));
  damage_file(p.checkpoint, "\"linnet.train.bass\"", "\"linnet.train.base\"");
  lm_train_options other = lm_small_options(&q);
  other.run.seed = 77;
  other.vocabulary = 300;
  lm_train_to(&other, STATUS_OK);
  if (rename(q.model, base)) fail_msg("cannot rename %s", q.model);
  lm_train_to(&o, STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), base));
  unlink(base);
  lm_train_to(&o, STATUS_IO);
  assert_non_null(strstr(last_error(), base));
  free(base);
  lm_place_free(&q), lm_place_free(&p);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_state_tuning),
      IN_SCRATCH(test_factors),
      IN_SCRATCH(test_another_base),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
