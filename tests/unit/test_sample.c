/* Choosing a token from logits: the order of truncation and temperature (spec language-models 7), frequencies,
 * penalties for what was said. */
#include "lm/sample.h"

#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MOST = 16, DRAWS = 20000 };

/* Logits of the given probabilities, up to a constant, which must not matter. */
static int logits_of(const double *p, int n, float *logits) {
  for (int i = 0; i < n; i++) logits[i] = (float)(log(p[i]) + 3);
  return n;
}

/* Draws and compares the shares with `want`: five standard deviations. Where `want` is 0, none may be drawn. */
static void check_shares(const double *p, const double *want, int n, const sample_options *o) {
  float logits[MOST], scratch[2 * MOST];
  int count[MOST] = {0};
  double total = 0;
  rng random = rng_make(31, 7);
  logits_of(p, n, logits);
  for (int i = 0; i < n; i++) total += want[i];
  for (int d = 0; d < DRAWS; d++) {
    int32_t id = sample_token(logits, n, o, &random, scratch, NULL);
    assert_in_range(id, 0, n - 1);
    count[id]++;
  }
  for (int i = 0; i < n; i++) {
    double q = want[i] / total, share = (double)count[i] / DRAWS;
    if (!(fabs(share - q) <= 5 * sqrt(q * (1 - q) / DRAWS)))
      fail_msg("token %d: share %.4f instead of %.4f", i, share, q);
  }
}

static const double some[] = {0.3, 0.05, 0.5, 0.15};
enum { SOME = 4 };

static void test_plain(void **state) {
  (void)state;
  check_shares(some, some, SOME, &(sample_options){.temperature = 1, .top_p = 1});
  check_shares(some, some, SOME, &(sample_options){.temperature = 1, .top_p = 2, .top_k = SOME});
}

static void test_temperature(void **state) {
  (void)state;
  static const float temperatures[] = {0.5f, 2, 10};
  for (int t = 0; t < 3; t++) {
    double want[SOME];
    for (int i = 0; i < SOME; i++) want[i] = pow(some[i], 1 / (double)temperatures[t]);
    check_shares(some, want, SOME, &(sample_options){.temperature = temperatures[t], .top_p = 1});
  }
}

/* Powers of small probabilities vanish in f32; their ratios must not. */
static void test_low_temperature(void **state) {
  (void)state;
  double p[10], want[10] = {0};
  for (int i = 0; i < 10; i++) p[i] = i < 2 ? 0.12 : 0.095;
  want[0] = want[1] = 1;
  for (int i = 2; i < 10; i++) want[i] = pow(0.095 / 0.12, 1 / 0.01);
  check_shares(p, want, 10, &(sample_options){.temperature = 0.01f, .top_p = 1});
}

/* 0.6 is reached by the two largest of the raw distribution; after a temperature of 10 it would take three. */
static void test_top_p_before_temperature(void **state) {
  (void)state;
  const double cut[SOME] = {pow(0.3, 0.1), 0, pow(0.5, 0.1), 0};
  check_shares(some, cut, SOME, &(sample_options){.temperature = 10, .top_p = 0.6f});
}

static void test_top_p(void **state) {
  (void)state;
  const double one[SOME] = {0, 0, 1, 0}, two[SOME] = {0.3, 0, 0.5, 0}, three[SOME] = {0.3, 0, 0.5, 0.15};
  check_shares(some, one, SOME, &(sample_options){.temperature = 1, .top_p = 0.49f});
  check_shares(some, one, SOME, &(sample_options){.temperature = 1, .top_p = 0});
  check_shares(some, two, SOME, &(sample_options){.temperature = 1, .top_p = 0.51f});
  check_shares(some, two, SOME, &(sample_options){.temperature = 1, .top_p = 0.79f});
  check_shares(some, three, SOME, &(sample_options){.temperature = 1, .top_p = 0.81f});
  check_shares(some, some, SOME, &(sample_options){.temperature = 1, .top_p = 0.96f});
  const double tied[5] = {0.2, 0.2, 0.2, 0.3, 0.1}, all[5] = {0.2, 0.2, 0.2, 0.3, 0};
  check_shares(tied, all, 5, &(sample_options){.temperature = 1, .top_p = 0.45f}); /* ties at the cut stay */
}

static void test_top_k(void **state) {
  (void)state;
  const double one[SOME] = {0, 0, 1, 0}, two[SOME] = {0.3, 0, 0.5, 0};
  check_shares(some, one, SOME, &(sample_options){.temperature = 3, .top_p = 1, .top_k = 1});
  check_shares(some, two, SOME, &(sample_options){.temperature = 1, .top_p = 1, .top_k = 2});
  check_shares(some, two, SOME, &(sample_options){.temperature = 1, .top_p = 0.9f, .top_k = 2}); /* the stricter wins */
  check_shares(some, one, SOME, &(sample_options){.temperature = 1, .top_p = 0.4f, .top_k = 3});
  check_shares(some, some, SOME, &(sample_options){.temperature = 1, .top_p = 1, .top_k = 99});
}

static void test_greedy(void **state) {
  (void)state;
  const float logits[] = {-3, 2, 5, 1, 5, -INFINITY};
  float scratch[2 * MOST];
  rng random = rng_make(1, 1), before = random;
  for (int i = 0; i < 5; i++)
    assert_int_equal(sample_token(logits, 6, &(sample_options){.temperature = 0}, &random, scratch, NULL), 2);
  assert_memory_equal(&random, &before, sizeof random); /* nothing is drawn */
}

static void test_extreme_logits(void **state) {
  (void)state;
  const float high[] = {3e4f, 3e4f - 1, -3e38f}, impossible[] = {-INFINITY, 0, -INFINITY};
  float scratch[2 * MOST];
  rng random = rng_make(1, 1);
  double sum = 0;
  for (int i = 0; i < 100; i++) {
    double log_probability;
    int32_t id =
        sample_token(high, 3, &(sample_options){.temperature = 1, .top_p = 1}, &random, scratch, &log_probability);
    assert_in_range(id, 0, 1);
    assert_true(isfinite(log_probability));
    sum += id;
    assert_int_equal(
        sample_token(impossible, 3, &(sample_options){.temperature = 5, .top_p = 0.5f}, &random, scratch, NULL), 1);
  }
  assert_true(sum > 5 && sum < 60);
  assert_true(fabs(log_sum_exp(high, 3) - (3e4 + log(1 + exp(-1.0)))) < 1e-9);
  const float one[] = {-2.5f};
  assert_true(fabs(log_sum_exp(one, 1) + 2.5) < 1e-12);
}

/* Always of the plain softmax, whatever was cut and heated. */
static void test_log_probability(void **state) {
  (void)state;
  float logits[MOST], scratch[2 * MOST];
  logits_of(some, SOME, logits);
  const sample_options options[] = {{.temperature = 0},
                                    {.temperature = 4, .top_p = 1},
                                    {.temperature = 1, .top_p = 0.6f},
                                    {.temperature = 1, .top_p = 1, .top_k = 2}};
  rng random = rng_make(5, 5);
  for (size_t o = 0; o < sizeof options / sizeof *options; o++)
    for (int d = 0; d < 50; d++) {
      double found = 0;
      int32_t id = sample_token(logits, SOME, &options[o], &random, scratch, &found);
      assert_true(fabs(found - log(some[id])) < 1e-6);
    }
}

static void test_determinism(void **state) {
  (void)state;
  float logits[MOST], scratch[2 * MOST];
  const sample_options o = {.temperature = 1, .top_p = 1};
  logits_of(some, SOME, logits);
  rng a = rng_make(9, 1), b = rng_make(9, 1), other = rng_make(9, 2);
  int differences = 0;
  for (int d = 0; d < 100; d++) {
    int32_t x = sample_token(logits, SOME, &o, &a, scratch, NULL);
    assert_int_equal(x, sample_token(logits, SOME, &o, &b, scratch, NULL));
    differences += x != sample_token(logits, SOME, &o, &other, scratch, NULL);
  }
  assert_true(differences > 20);
}

/* The distribution itself; a greedy one is shared among equals. */
static void test_weights(void **state) {
  (void)state;
  const float logits[] = {1, 3, 3, -INFINITY, 2};
  float p[5], scratch[5];
  assert_true(fabs(sample_weights(logits, 5, &(sample_options){.temperature = 0}, p, scratch) - 2) < 1e-6);
  for (int i = 0; i < 5; i++) assert_true(fabsf(p[i] - (i == 1 || i == 2)) < 1e-6f);
  double sum = sample_weights(logits, 5, &(sample_options){.temperature = 0.5f, .top_p = 1}, p, scratch);
  const double want = exp(-4) / (2 + exp(-4) + exp(-2));
  assert_true(fabs((double)p[0] / sum - want) < 1e-6 && p[3] == 0);
}

/* Every token said costs its presence once, and its count, which decays, times the frequency. */
static void test_penalties(void **state) {
  (void)state;
  const penalty_options o = {.presence = 1, .frequency = 0.5f, .decay = 0.5f};
  spoken said;
  assert_int_equal(spoken_new(&said, 4), STATUS_OK);
  spoken_add(&said, &o, 2, 1);
  spoken_add(&said, &o, 0, 0); /* counts for nothing, but was said */
  spoken_add(&said, &o, 2, 1);
  float logits[] = {0, 0, 0, -INFINITY};
  spoken_penalise(&said, &o, logits);
  const float want[] = {-1, 0, -1 - 0.5f * (0.25f + 1)};
  for (int i = 0; i < 3; i++) assert_true(fabsf(logits[i] - want[i]) < 1e-6f);
  assert_true(isinf(logits[3]));
  spoken_free(&said);
}

static void test_what_counts(void **state) {
  (void)state;
  static const char *const not [] = {"", " ", "\t", "0", "9", "12", "3456", " \t0123456789", "\t0"},
                               *const counted[] = {"a", "21", "  ", "\n", "13", "0a", " 0"};
  for (size_t i = 0; i < sizeof not / sizeof *not ; i++) assert_true(spoken_weight(not [i], strlen(not [i])) == 0);
  for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
    assert_true(spoken_weight(counted[i], strlen(counted[i])) == 1);
  assert_true(spoken_weight("\0", 1) == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain),           cmocka_unit_test(test_temperature),
      cmocka_unit_test(test_low_temperature), cmocka_unit_test(test_top_p_before_temperature),
      cmocka_unit_test(test_top_p),           cmocka_unit_test(test_top_k),
      cmocka_unit_test(test_greedy),          cmocka_unit_test(test_extreme_logits),
      cmocka_unit_test(test_log_probability), cmocka_unit_test(test_determinism),
      cmocka_unit_test(test_weights),         cmocka_unit_test(test_penalties),
      cmocka_unit_test(test_what_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
