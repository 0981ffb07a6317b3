/* RWKV-CLIP's evaluation: retrieval, zero-shot classification. Spec rwkv-clip section 9. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/ops.h"
#include "tests/golden/runner.h"
#include "train/clip_eval.h"

static const golden_rule rules[] = {
    {"io/*.image_features", GIVEN, 0, 0, NULL},
    {"io/*.text_features", GIVEN, 0, 0, NULL},
    {"io/*.caption_counts", GIVEN, 0, 0, NULL},
    {"io/cls.targets", GIVEN, 0, 0, NULL},
    {"io/cls.top1_int_official_cpu", GIVEN, 0, 0, NULL}, /* see check_ties */
    {"io/*.similarity", CLOSE, 1e-5, 0, NULL},
    {"io/cls.classifier", CLOSE, 1e-5, 0, NULL},
    {"io/cls.logits", CLOSE, 3e-5, 0, NULL}, /* the reference is in f32 too, and off by 2e-5 itself */
    {"io/cls.logits_int", SAME, 0, 0, NULL},
    {"io/*", CLOSE, 0, 1e-6, NULL}, /* percentages */
    {NULL, GIVEN, 0, 0, NULL},
};

/* --- retrieval ---------------------------------------------------------------------------------------------------- */

/* image_of[t] from how many captions each picture has; NULL with the failure noted. */
static int32_t *picture_of_texts(golden_case *k, const tensor *counts, int64_t T) {
  int32_t *image_of = mem_alloc((size_t)T, sizeof *image_of);
  int64_t t = 0;
  for (int64_t i = 0; image_of && i < tensor_count(counts); i++)
    for (int32_t n = 0; n < i32(counts)[i]; n++)
      if (t++ < T) image_of[t - 1] = (int32_t)i;
  golden_check(k, image_of && t == T, "the pictures' captions are %lld of %lld texts", (long long)t, (long long)T);
  if (t == T) return image_of;
  free(image_of);
  return NULL;
}

static void run_retrieval(golden_case *k, const char *set) {
  char images_key[64], texts_key[64], counts_key[64];
  snprintf(images_key, sizeof images_key, "io/%s.image_features", set);
  snprintf(texts_key, sizeof texts_key, "io/%s.text_features", set);
  snprintf(counts_key, sizeof counts_key, "io/%s.caption_counts", set);
  if (!golden_has(k, counts_key)) return;
  tensor *images = golden_tensor(k, images_key), *texts = golden_tensor(k, texts_key),
         *counts = golden_ids(k, counts_key);
  if (!images || !texts || !counts) return;
  int32_t *image_of = picture_of_texts(k, counts, texts->dim[0]);
  retrieval_scores scores;
  if (!image_of || retrieval_recall(f32(images), (size_t)images->dim[0], f32(texts), (size_t)texts->dim[0],
                                    (size_t)tensor_last(images), image_of, &scores)) {
    golden_error(k);
  } else {
    golden_offer_doubles(k, scores.text_to_image, RECALLS, "io/%s.text_to_image_r1_r5_r10", set);
    golden_offer_doubles(k, scores.image_to_text, RECALLS, "io/%s.image_to_text_r1_r5_r10", set);
  }
  golden_offer_tensor(k, linear(golden_ctx(k), images, texts, NULL), "io/%s.similarity", set);
  free(image_of);
}

/* --- zero-shot classification ------------------------------------------------------------------------------------- */

/* Of equal whole numbers the reference takes one or another: its accuracy lies between those of always taking a wrong
 * one and always the right one. */
static void check_ties(golden_case *k, const float *logits, const tensor *targets, int64_t K) {
  const float *official = golden_floats(k, "io/cls.top1_int_official_cpu", NULL);
  const int64_t M = tensor_count(targets);
  int64_t alone = 0, among = 0;
  for (int64_t m = 0; m < M; m++) {
    const float *row = logits + m * K, own = row[i32(targets)[m]];
    int64_t above = 0, equal = 0;
    for (int64_t i = 0; i < K; i++) above += row[i] > own, equal += row[i] == own;
    alone += !above && equal == 1;
    among += !above;
  }
  const double least = 100 * (double)alone / (double)M, most = 100 * (double)among / (double)M;
  if (official)
    golden_check(k, (double)*official >= least - 1e-4 && (double)*official <= most + 1e-4,
                 "io/cls.top1_int_official_cpu: %.4f, with its ties between %.4f and %.4f", (double)*official, least,
                 most);
}

static void score(golden_case *k, float *logits, const tensor *targets, int64_t K) {
  const size_t M = (size_t)tensor_count(targets), n = M * (size_t)K;
  class_scores s;
  if (class_scores_of(logits, M, (size_t)K, i32(targets), &s)) golden_error(k);
  golden_offer(k, logits, n, "io/cls.logits");
  golden_offer_doubles(k, &s.top1, 1, "io/cls.top1_float");
  golden_offer_doubles(k, &s.mean_per_class, 1, "io/cls.mean_per_class_float");
  zero_shot_truncate(logits, n);
  if (class_scores_of(logits, M, (size_t)K, i32(targets), &s)) golden_error(k);
  golden_offer(k, logits, n, "io/cls.logits_int");
  golden_offer_doubles(k, &s.top1, 1, "io/cls.top1_int_first_index");
  check_ties(k, logits, targets, K);
}

static void run_classes(golden_case *k) {
  if (!golden_has(k, "io/cls.targets")) return;
  ctx *c = golden_ctx(k);
  const tensor *texts = golden_tensor(k, "io/cls.text_features"), *images = golden_tensor(k, "io/cls.image_features"),
               *targets = golden_ids(k, "io/cls.targets");
  if (!texts || !images || !targets) return;
  const int64_t K = texts->dim[0], P = texts->dim[1], D = texts->dim[2], M = images->dim[0];
  tensor *class_of = tensor_1d(c, DTYPE_I32, K * P), *classifier = tensor_2d(c, DTYPE_F32, K, D),
         *columns = tensor_2d(c, DTYPE_F32, D, K), *logits = tensor_2d(c, DTYPE_F32, M, K);
  if (!class_of || !classifier || !columns || !logits) {
    golden_error(k);
    return;
  }
  for (int64_t i = 0; i < K * P; i++) i32(class_of)[i] = (int32_t)(i / P);
  if (zero_shot_classifier(f32(texts), (size_t)(K * P), i32(class_of), (size_t)K, (size_t)D, f32(classifier)) ||
      zero_shot_logits(f32(images), (size_t)M, f32(classifier), (size_t)K, (size_t)D, 100, f32(logits))) {
    golden_error(k);
    return;
  }
  for (int64_t i = 0; i < K * D; i++) f32(columns)[i % D * K + i / D] = f32(classifier)[i];
  golden_offer_tensor(k, columns, "io/cls.classifier");
  score(k, f32(logits), targets, K);
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  run_retrieval(k, "flickr");
  run_retrieval(k, "coco");
  run_classes(k);
}

const golden_system golden_rwkv_clip_eval = {"rwkv-clip-eval", run};
