/* Zero-shot classification and retrieval on examples worked by hand, and against plain loops. Spec rwkv-clip 9.1, 9.2.
 */
#include "train/clip_eval.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_classifier(void **state) {
  (void)state;
  enum { K = 2, D = 2 };
  static const float prompts[] = {3, 0, 0, 10, 0, -2, 0, -7, 0, -1}; /* of class 0, 0, 1, 1, 1: lengths do not count */
  static const int32_t class_of[] = {0, 0, 1, 1, 1};
  float classifier[K * D];
  assert_int_equal(zero_shot_classifier(prompts, 5, class_of, K, D, classifier), STATUS_OK);
  const float want[] = {sqrtf(0.5f), sqrtf(0.5f), 0, -1};
  for (int i = 0; i < K * D; i++) assert_true(fabsf(classifier[i] - want[i]) < 1e-6f);
  static const float images[] = {5, 5, 0, -0.01f};
  float logits[2 * K];
  assert_int_equal(zero_shot_logits(images, 2, classifier, K, D, 100, logits), STATUS_OK);
  const float cosines[] = {100, -100 * sqrtf(0.5f), -100 * sqrtf(0.5f), 100};
  for (int i = 0; i < 2 * K; i++) assert_true(fabsf(logits[i] - cosines[i]) < 1e-4f);
  assert_int_equal(zero_shot_classifier(prompts, 2, class_of, K, D, classifier), STATUS_ARGUMENT); /* none of class 1 */
  assert_int_equal(zero_shot_classifier(prompts, 5, class_of, 1, D, classifier), STATUS_ARGUMENT); /* one beyond */
}

static void test_class_scores(void **state) {
  (void)state;
  enum { M = 4, K = 7 };
  static const float logits[M * K] = {
      9, 1, 2, 3, 4, 5, 6, /* of class 0: right */
      7, 1, 2, 3, 4, 5, 7, /* of class 6: a tie, and the first counts: second */
      9, 8, 7, 6, 5, 4, 3, /* of class 5: sixth */
      0, 1, 0, 0, 0, 0, 0, /* of class 0: second */
  };
  static const int32_t targets[M] = {0, 6, 5, 0};
  class_scores s;
  assert_int_equal(class_scores_of(logits, M, K, targets, &s), STATUS_OK);
  assert_true(fabs(s.top1 - 25) < 1e-9 && fabs(s.top5 - 75) < 1e-9);
  assert_true(fabs(s.mean_per_class - 100 * (0.5 + 0 + 0) / 3) < 1e-9); /* four classes have no picture */
  assert_true(fabs(s.chance - 100.0 / K) < 1e-9 && fabs(s.frequent - 50) < 1e-9);
  assert_true(s.top1_within.low == wilson_interval(1, M).low && s.top5_within.high == wilson_interval(3, M).high);
  assert_int_equal(class_scores_of(logits, 0, K, targets, &s), STATUS_ARGUMENT);
  assert_int_equal(class_scores_of(logits, M, 6, targets, &s), STATUS_ARGUMENT);
  float whole[] = {1.9f, -1.9f, 0.5f, -0.5f, 3};
  zero_shot_truncate(whole, 5);
  const float want[] = {1, -1, 0, 0, 3};
  for (int i = 0; i < 5; i++) assert_true(whole[i] == want[i]);
}

/* Against the numbers of a table, and what it is solved from: the ends are where the share found lies 1.96 of the
 * share's own standard errors away. */
static void test_intervals(void **state) {
  (void)state;
  enum { N = 40 };
  const interval known = wilson_interval(7, 40);
  assert_true(fabs(known.low - 8.75) < 0.01 && fabs(known.high - 31.95) < 0.01);
  for (size_t right = 1; right < N; right++) {
    const interval w = wilson_interval(right, N);
    const double p = (double)right / N, ends[] = {w.low / 100, w.high / 100};
    assert_true(w.low < 100 * p && 100 * p < w.high);
    for (int i = 0; i < 2; i++)
      assert_true(fabs(fabs(p - ends[i]) - 1.959964 * sqrt(ends[i] * (1 - ends[i]) / N)) < 1e-6);
  }
  assert_true(wilson_interval(0, N).low == 0 && wilson_interval(0, N).high > 5);
  assert_true(wilson_interval(N, N).high == 100 && wilson_interval(N, N).low < 95);
}

static double product(const float *a, const float *b, size_t D) {
  double sum = 0;
  for (size_t d = 0; d < D; d++) sum += (double)a[d] * (double)b[d];
  return sum;
}

/* Many pictures, so that products are made in several parts; whole numbers, so that ties are many and exact. */
static void test_retrieval(void **state) {
  (void)state;
  enum { I = 150, T = 420, D = 3 };
  float images[I * D], texts[T * D];
  int32_t image_of[T];
  rng g = rng_make(3, 0);
  for (int i = 0; i < I * D; i++) images[i] = (float)rng_below(&g, 9) - 4;
  for (int t = 0; t < T; t++) {
    image_of[t] = t < I ? t : (int32_t)rng_below(&g, I); /* in no order, each at least once */
    for (int d = 0; d < D; d++) texts[t * D + d] = images[image_of[t] * D + d] + (float)rng_below(&g, 3) - 1;
  }
  int right_images[RECALLS] = {0}, right_texts[RECALLS] = {0};
  for (int t = 0; t < T; t++) {
    int rank = 0;
    const double own = product(images + image_of[t] * D, texts + t * D, D);
    for (int i = 0; i < I; i++) {
      const double x = product(images + i * D, texts + t * D, D);
      rank += x > own || (x == own && i < image_of[t]);
    }
    for (int k = 0; k < RECALLS; k++) right_texts[k] += rank < recall_at[k];
  }
  for (int i = 0; i < I; i++) {
    int best = T;
    for (int t = 0; t < T; t++) {
      if (image_of[t] != i) continue;
      const double own = product(images + i * D, texts + t * D, D);
      int rank = 0;
      for (int o = 0; o < T; o++) {
        const double x = product(images + i * D, texts + o * D, D);
        rank += x > own || (x == own && o < t);
      }
      if (rank < best) best = rank;
    }
    for (int k = 0; k < RECALLS; k++) right_images[k] += best < recall_at[k];
  }
  retrieval_scores s;
  assert_int_equal(retrieval_recall(images, I, texts, T, D, image_of, &s), STATUS_OK);
  for (int k = 0; k < RECALLS; k++) {
    assert_true(fabs(s.image_to_text[k] - 100.0 * right_images[k] / I) < 1e-9);
    assert_true(fabs(s.text_to_image[k] - 100.0 * right_texts[k] / T) < 1e-9);
    assert_true(s.text_to_image[k] > 0 && s.text_to_image[k] < 100);
  }
  for (int t = 0; t < T; t++) image_of[t] = image_of[t] ? image_of[t] : 1; /* picture 0 has no caption */
  assert_int_equal(retrieval_recall(images, I, texts, T, D, image_of, &s), STATUS_ARGUMENT);
  image_of[0] = I;
  assert_int_equal(retrieval_recall(images, I, texts, T, D, image_of, &s), STATUS_ARGUMENT);
  assert_int_equal(retrieval_recall(images, 0, texts, 0, D, image_of, &s), STATUS_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_classifier),
      cmocka_unit_test(test_class_scores),
      cmocka_unit_test(test_intervals),
      cmocka_unit_test(test_retrieval),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
