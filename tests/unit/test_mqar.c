/* Multi-query associative recall: examples are what the task says and follow its law, small models learn it, and a run
 * is a pure function of its options. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "data/mqar.h"
#include "train/mqar.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- examples ----------------------------------------------------------------------------------------------------- */

typedef struct {
  mqar m;
  int32_t *ids, *at, *value;
} maker;

static maker maker_new(mqar_task task, uint64_t seed) {
  maker k;
  if (mqar_new(&k.m, &task, seed)) fail_msg("%s", last_error());
  k.ids = mem_alloc((size_t)task.length, sizeof *k.ids);
  k.at = mem_alloc((size_t)task.pairs, sizeof *k.at);
  k.value = mem_alloc((size_t)task.pairs, sizeof *k.value);
  assert_true(k.ids && k.at && k.value);
  return k;
}

static void maker_free(maker *k) {
  free(k->ids), free(k->at), free(k->value);
  mqar_free(&k->m);
}

static void make(maker *k, uint64_t number) { mqar_make(&k->m, number, k->ids, k->at, k->value); }

static void check_example(const maker *k) {
  const mqar_task *t = &k->m.task;
  const int half = t->vocabulary / 2, context = 2 * t->pairs;
  for (int i = 0; i < t->pairs; i++) {
    const int32_t key = k->ids[2 * i], value = k->ids[2 * i + 1];
    assert_in_range(key, 1, half - 1);
    assert_in_range(value, half, t->vocabulary - 1);
    for (int j = 0; j < i; j++) {
      assert_int_not_equal(k->ids[2 * j], key);
      assert_int_not_equal(k->ids[2 * j + 1], value);
      assert_int_not_equal(k->at[j], k->at[i]);
    }
    assert_in_range(k->at[i], context, t->length - 2);
    assert_int_equal(k->at[i] % 2, 0);
    assert_int_equal(k->ids[k->at[i]], key);
    assert_int_equal(k->value[i], value);
  }
  int filled = 0;
  for (int p = context; p < t->length; p++) {
    assert_in_range(k->ids[p], 0, t->vocabulary - 1);
    filled += k->ids[p] != 0;
  }
  if (!t->random_filler) assert_int_equal(filled, t->pairs);
}

static void test_examples(void **state) {
  (void)state;
  /* the published settings; every key and slot used; an odd vocabulary; the smallest */
  const mqar_task tasks[] = {mqar_task_of(64, 4),    mqar_task_of(512, 64),      {66, 64, 16, 0.01, false},
                             {21, 20, 5, 0.5, true}, {8192, 128, 8, 0.01, true}, {5, 4, 1, 0.01, false}};
  for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
    maker k = maker_new(tasks[i], 3);
    for (uint64_t n = 0; n < 50; n++) {
      make(&k, n);
      check_example(&k);
    }
    maker_free(&k);
  }
}

static void test_pure(void **state) {
  (void)state;
  enum { LENGTH = 64 };
  int32_t ids[4][LENGTH];
  maker a = maker_new(mqar_task_of(LENGTH, 4), 7), b = maker_new(mqar_task_of(LENGTH, 4), 7),
        other = maker_new(mqar_task_of(LENGTH, 4), 8);
  for (int i = 0; i < 4; i++) {
    make(&a, (uint64_t)i);
    memcpy(ids[i], a.ids, sizeof ids[i]);
    for (int j = 0; j < i; j++) assert_memory_not_equal(ids[i], ids[j], sizeof ids[i]);
  }
  for (int i = 3; i >= 0; i--) { /* in another order, and from another generator */
    make(&b, (uint64_t)i);
    assert_memory_equal(b.ids, ids[i], sizeof ids[i]);
    make(&other, (uint64_t)i);
    assert_memory_not_equal(other.ids, ids[i], sizeof ids[i]);
  }
  maker_free(&a), maker_free(&b), maker_free(&other);
}

/* The first key's slot has the power law itself; within five standard errors. */
static void test_power_law(void **state) {
  (void)state;
  enum { N = 4000 };
  const double powers[] = {0.01, 1, 2};
  for (size_t p = 0; p < sizeof powers / sizeof *powers; p++) {
    mqar_task task = mqar_task_of(32, 4);
    task.power = powers[p];
    maker k = maker_new(task, 1);
    int count[12] = {0};
    double total = 0;
    for (int e = 0; e < N; e++) {
      make(&k, (uint64_t)e);
      count[k.at[0] / 2 - 4]++;
    }
    for (int t = 0; t < 12; t++) total += pow(t + 1, powers[p] - 1);
    for (int t = 0; t < 12; t++) {
      const double share = pow(t + 1, powers[p] - 1) / total;
      assert_true(fabs(count[t] / (double)N - share) < 5 * sqrt(share * (1 - share) / N));
    }
    maker_free(&k);
  }
}

/* Keys, values and random filler are uniform: their means are within five standard errors of the middle. */
static void test_uniform(void **state) {
  (void)state;
  enum { N = 500, PAIRS = 8, LENGTH = 128 };
  mqar_task task = mqar_task_of(LENGTH, PAIRS);
  task.random_filler = true;
  maker k = maker_new(task, 2);
  double key = 0, value = 0, filler = 0;
  for (int e = 0; e < N; e++) {
    make(&k, (uint64_t)e);
    for (int i = 0; i < PAIRS; i++) key += k.ids[2 * i], value += k.ids[2 * i + 1];
    for (int t = 2 * PAIRS + 1; t < LENGTH; t += 2) filler += k.ids[t]; /* queries stand at even places */
  }
  const double pairs = N * PAIRS, others = N * (LENGTH / 2 - PAIRS), width = 4096 / sqrt(12);
  assert_true(fabs(key / pairs - 2048) < 5 * width / sqrt(pairs));
  assert_true(fabs(value / pairs - 6143.5) < 5 * width / sqrt(pairs));
  assert_true(fabs(filler / others - 4095.5) < 5 * 2 * width / sqrt(others));
  maker_free(&k);
}

static void test_refused_tasks(void **state) {
  (void)state;
  const mqar_task bad[] = {{8192, 63, 4, 0.01, false}, {8192, 64, 17, 0.01, false}, {8192, 64, 0, 0.01, false},
                           {64, 64, 4, 0.01, false},   {8192, 0, 0, 0.01, false},   {1 << 21, 64, 4, 0.01, false},
                           {8192, 64, 4, NAN, false},  {8192, 64, 4, 1e300, false}, {1 << 19, 1 << 18, 4, 0.01, false}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    mqar m;
    assert_int_equal(mqar_new(&m, &bad[i], 0), STATUS_ARGUMENT);
    assert_true(strlen(last_error()) > 20);
    mqar_free(&m);
  }
}

/* --- training ----------------------------------------------------------------------------------------------------- */

static mqar_train_options small_options(int version) {
  mqar_train_options o = mqar_train_defaults();
  o.task = (mqar_task){.vocabulary = 64, .length = 16, .pairs = 3, .power = 0.01};
  o.version = version;
  o.width = 32;
  o.head_size = 16;
  o.run.batch = 16;
  o.run.steps = 400;
  o.run.rate = 5e-3;
  o.run.warmup = 10;
  o.run.seed = 1;
  o.check_every = 50;
  o.check = 50;
  o.test = 100;
  return o;
}

static mqar_train_result train(const mqar_train_options *o) {
  mqar_train_result r;
  if (mqar_train(o, &r)) fail_msg("%s", last_error());
  return r;
}

/* Three values of 32: whoever says one of those seen is right once in three. */
static void test_learns(void **state) {
  (void)state;
  for (int version = 5; version <= 7; version++) {
    const mqar_train_options o = small_options(version);
    const mqar_train_result r = train(&o);
    if (!(r.score.accuracy > 0.9)) fail_msg("RWKV-%d: accuracy %g after %d", version, r.score.accuracy, 400);
    assert_true(r.score.loss < 0.7);
    assert_int_equal(r.score.examples, 100);
  }
}

typedef struct {
  int checks, reports;
  mqar_score last;
  double loss;
} seen_of;

static void see_check(void *user, const mqar_score *s) {
  seen_of *seen = user;
  seen->checks++;
  seen->last = *s;
}

static void see_progress(void *user, const mqar_progress *p) {
  seen_of *seen = user;
  seen->reports++;
  seen->loss = p->loss;
}

/* What an untrained model scores, over labelled places alone; the batch does not divide the test. It is more than ln V
 * a label: the head being the embedding, the query's own token is the likeliest. */
static void test_untrained(void **state) {
  (void)state;
  mqar_train_options o = small_options(6);
  seen_of seen = {0};
  o.run.steps = 1;
  o.run.warmup = 0;
  o.run.rate = 1e-9;
  o.run.rate_final = 0;
  o.check_every = 1;
  o.check = 1000;
  o.test = 1000;
  o.progress = see_progress;
  o.checked = see_check;
  o.user = &seen;
  const mqar_train_result r = train(&o);
  assert_int_equal(r.score.step, 1);
  assert_true(r.score.loss > log(64) - 0.1 && r.score.loss < 2 * log(64));
  assert_true(r.score.accuracy < 0.1);
  assert_int_equal(seen.checks, 1);
  assert_int_equal(seen.reports, 1);
  assert_true(fabs(seen.last.loss - r.score.loss) < 0.1); /* other examples of the same kind */
  assert_true(seen.last.loss != r.score.loss);
  assert_true(fabs(seen.loss - r.score.loss) < 1);
  o.run.batch = 1000; /* the same examples by the thousand */
  const mqar_train_result whole = train(&o);
  assert_true(fabs(whole.score.loss - r.score.loss) < 1e-4);
  assert_true(fabs(whole.score.accuracy - r.score.accuracy) < 2e-3);
}

static void test_pure_runs(void **state) {
  (void)state;
  mqar_train_options o = small_options(4);
  o.run.steps = 5;
  o.enough = 2;
  const mqar_train_result a = train(&o), b = train(&o);
  assert_true(a.score.loss == b.score.loss);
  o.run.seed++;
  assert_true(train(&o).score.loss != a.score.loss);
  o.run.seed--;
  o.check_every = 1; /* looking changes nothing */
  assert_true(train(&o).score.loss == a.score.loss);
}

static void test_ends_early(void **state) {
  (void)state;
  mqar_train_options o = small_options(6);
  o.check_every = 3;
  o.enough = 0; /* whatever it is */
  const mqar_train_result r = train(&o);
  assert_int_equal(r.score.step, 3);
  volatile sig_atomic_t stop = 1;
  o.run.stop = &stop;
  mqar_train_result none;
  assert_int_equal(mqar_train(&o, &none), STATUS_INTERRUPTED);
}

static void test_refused_runs(void **state) {
  (void)state;
  enum { CASES = 9 };
  for (int i = 0; i < CASES; i++) {
    mqar_train_options o = small_options(6);
    status expected = STATUS_ARGUMENT;
    if (i == 0) o.task.pairs = 5;
    if (i == 1) o.run.steps = 0;
    if (i == 2) o.run.batch = 0;
    if (i == 3) o.run.rate = NAN;
    if (i == 4) o.test = 0;
    if (i == 5) o.width = 0;
    if (i == 6) o.run.beta2 = 1;
    if (i == 7) o.head_size = 15, expected = STATUS_FORMAT;
    if (i == 8) o.version = 8, expected = STATUS_UNSUPPORTED;
    mqar_train_result r;
    const status s = mqar_train(&o, &r);
    if (s != expected) fail_msg("case %d: %d instead of %d", i, s, expected);
    assert_true(strlen(last_error()) > 20);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_examples),      cmocka_unit_test(test_pure),      cmocka_unit_test(test_power_law),
      cmocka_unit_test(test_uniform),       cmocka_unit_test(test_untrained), cmocka_unit_test(test_pure_runs),
      cmocka_unit_test(test_refused_tasks), cmocka_unit_test(test_learns),    cmocka_unit_test(test_ends_early),
      cmocka_unit_test(test_refused_runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
