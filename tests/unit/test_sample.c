/* Choosing a token from logits: the order of truncation and temperature (spec language-models 7), frequencies,
 * penalties for what was said. */
#include "lm/sample.h"

#include <math.h>
#include <stdlib.h>
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
  const float one[] = {-2.5f}, none[] = {-INFINITY, -INFINITY};
  assert_true(isinf(log_sum_exp(none, 2)) && log_sum_exp(none, 2) < 0);
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

/* --- an independent computation ----------------------------------------------------------------------------------- */

enum { WIDE = 3000 };

typedef struct {
  double p;
  int id;
} ranked;

static int by_probability(const void *a, const void *b) {
  const double x = ((const ranked *)a)->p, y = ((const ranked *)b)->p;
  return (x < y) - (x > y);
}

/* What may be drawn of 3000 tokens, by the definitions: ranks, shares and ratios of the raw softmax, in float64. */
static void expect_weights(const float *logits, const sample_options *o) {
  static ranked r[WIDE];
  static double want[WIDE];
  static float got[WIDE], scratch[WIDE];
  double total = 0, sum = 0, before = 0;
  for (int i = 0; i < WIDE; i++) total += exp((double)logits[i]);
  for (int i = 0; i < WIDE; i++) r[i] = (ranked){exp((double)logits[i]) / total, i};
  qsort(r, WIDE, sizeof *r, by_probability);
  memset(want, 0, sizeof want);
  for (int rank = 0; rank < WIDE; before += r[rank++].p) {
    const bool by_share = o->top_p >= 1 || before < (double)o->top_p, by_rank = !o->top_k || rank < o->top_k;
    if (by_share && by_rank && r[rank].p >= (double)o->min_p * r[0].p)
      sum += want[r[rank].id] = pow(r[rank].p, 1 / (double)o->temperature);
  }
  const double scale = sample_weights(logits, WIDE, o, got, scratch);
  for (int i = 0; i < WIDE; i++) {
    const double p = (double)got[i] / scale, q = want[i] / sum;
    if (!(fabs(p - q) <= 1e-5 * q)) fail_msg("token %d: %g instead of %g", i, p, q);
  }
}

static void test_all_cuts(void **state) {
  (void)state;
  static float logits[WIDE];
  static const float shares[] = {1e-6f, 0.3f, 0.85f, 0.999f, 1}, ratios[] = {0, 0.003f, 0.05f, 0.5f, 1};
  static const int ranks[] = {0, 1, 7, 500, WIDE, 2 * WIDE};
  rng random = rng_make(3, 4);
  for (int spread = 1; spread <= 4; spread++) {
    for (int i = 0; i < WIDE; i++) logits[i] = (float)spread * rng_normal(&random);
    for (int s = 0; s < 5; s++)
      for (int m = 0; m < 5; m++)
        for (int k = 0; k < 6; k++)
          expect_weights(logits, &(sample_options){.temperature = spread % 2 ? 1 : 0.7f,
                                                   .top_p = shares[s],
                                                   .top_k = ranks[k],
                                                   .min_p = ratios[m]});
  }
}

/* 0.15 is 0.3 of 0.5; after a temperature of 10 it would be nearly all of it. */
static void test_min_p(void **state) {
  (void)state;
  const double two[SOME] = {0.3, 0, 0.5, 0}, three[SOME] = {0.3, 0, 0.5, 0.15}, one[SOME] = {0, 0, 1, 0};
  const double hot[SOME] = {pow(0.3, 0.1), 0, pow(0.5, 0.1), 0};
  check_shares(some, three, SOME, &(sample_options){.temperature = 1, .top_p = 1, .min_p = 0.29f});
  check_shares(some, two, SOME, &(sample_options){.temperature = 1, .top_p = 1, .min_p = 0.31f});
  check_shares(some, hot, SOME, &(sample_options){.temperature = 10, .top_p = 1, .min_p = 0.31f});
  check_shares(some, one, SOME, &(sample_options){.temperature = 1, .top_p = 1, .min_p = 1});
  check_shares(some, two, SOME, &(sample_options){.temperature = 1, .top_p = 0.9f, .top_k = 3, .min_p = 0.31f});
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
      cmocka_unit_test(test_what_counts),     cmocka_unit_test(test_all_cuts),
      cmocka_unit_test(test_min_p),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
