/* Caption metrics: BLEU, ROUGE-L, CIDEr-D from the tokenised strings, and the words of plain sentences. Spec visualrwkv
 * section 10. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/runner.h"
#include "train/caption_words.h"
#include "train/metrics.h"

static const golden_rule rules[] = {
    {"io/*", CLOSE, 1e-6, 0, NULL},
    {NULL, GIVEN, 0, 0, NULL},
};

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* The JSON holds what f32 cannot: scores to 1e-10. */
static void check_number(golden_case *k, const json_t *want, double got, const char *what) {
  double error = fabs(got - json_number_value(want));
  golden_check(k, json_is_number(want) && error <= 1e-10, "captions.json: %-29s %.2e of %.2e", what, error, 1e-10);
}

static void check_scores(golden_case *k, const json_t *json, size_t n, const metric_scores *corpus,
                         const metric_scores *own) {
  const json_t *want = json_object_get(json, "corpus"), *images = json_object_get(json, "images");
  static const char *const bleu_names[] = {"Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4"};
  for (size_t i = 0; i < 4; i++) check_number(k, json_object_get(want, bleu_names[i]), corpus->bleu[i], bleu_names[i]);
  check_number(k, json_object_get(want, "ROUGE_L"), corpus->rouge_l, "ROUGE_L");
  check_number(k, json_object_get(want, "CIDEr"), corpus->cider, "CIDEr");
  double *bleu = mem_alloc(4 * n, sizeof *bleu), *rouge = mem_alloc(n, sizeof *rouge),
         *cider = mem_alloc(n, sizeof *cider);
  for (size_t i = 0; bleu && rouge && cider && i < n; i++) {
    const json_t *image = json_array_get(images, i), *b = json_object_get(image, "Bleu");
    memcpy(bleu + 4 * i, own[i].bleu, sizeof own[i].bleu);
    rouge[i] = own[i].rouge_l;
    cider[i] = own[i].cider;
    for (size_t j = 0; j < 4; j++) check_number(k, json_array_get(b, j), own[i].bleu[j], "an image's BLEU");
    check_number(k, json_object_get(image, "ROUGE_L"), own[i].rouge_l, "an image's ROUGE_L");
    check_number(k, json_object_get(image, "CIDEr"), own[i].cider, "an image's CIDEr");
  }
  golden_offer_doubles(k, corpus->bleu, 4, "io/corpus_bleu");
  golden_offer_doubles(k, &corpus->rouge_l, 1, "io/corpus_rouge_l");
  golden_offer_doubles(k, &corpus->cider, 1, "io/corpus_cider");
  if (bleu) golden_offer_doubles(k, bleu, 4 * n, "io/bleu");
  if (rouge) golden_offer_doubles(k, rouge, n, "io/rouge_l");
  if (cider) golden_offer_doubles(k, cider, n, "io/cider");
  free(bleu), free(rouge), free(cider);
}

static size_t words_differ(const json_t *raw, const json_t *words) {
  char *got = caption_words(json_string_value(raw) ? json_string_value(raw) : "");
  bool same = got && json_string_value(words) && !strcmp(got, json_string_value(words));
  free(got);
  return same ? 0 : 1;
}

/* Where the case gives raw sentences, their words must be the tokenised ones. */
static void check_words(golden_case *k, const json_t *images) {
  size_t n = 0, differ = 0, i, r;
  const json_t *image, *sentence;
  json_array_foreach(images, i, image) {
    const json_t *raw = json_object_get(image, "raw_hypothesis"), *list = json_object_get(image, "raw_references");
    if (raw) n++, differ += words_differ(raw, json_object_get(image, "hypothesis"));
    json_array_foreach(list, r, sentence) {
      n++;
      differ += words_differ(sentence, json_array_get(json_object_get(image, "references"), r));
    }
  }
  if (n) golden_check(k, !differ, "captions.json: %zu of %zu sentences have other words", differ, n);
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  json_error_t error;
  json_t *json = json_load_file(golden_path(k, "captions.json"), 0, &error);
  const json_t *images = json_object_get(json, "images");
  size_t n = json_array_size(images);
  caption_case *cases = mem_zero(n + 1, sizeof *cases);
  metric_scores corpus, *own = mem_zero(n + 1, sizeof *own);
  for (size_t i = 0; cases && i < n; i++) {
    const json_t *image = json_array_get(images, i), *list = json_object_get(image, "references");
    const char **references = mem_zero(json_array_size(list) + 1, sizeof *references);
    for (size_t r = 0; references && r < json_array_size(list); r++)
      references[r] = json_string_value(json_array_get(list, r));
    cases[i] = (caption_case){text_of(image, "hypothesis"), references, references ? json_array_size(list) : 0};
  }
  if (!n)
    golden_check(k, false, "captions.json cannot be read: %s", json ? "it has no images" : error.text);
  else if (!cases || !own || caption_metrics(cases, n, &corpus, own))
    golden_error(k);
  else
    check_scores(k, json, n, &corpus, own);
  check_words(k, images);
  for (size_t i = 0; cases && i < n; i++) free((void *)cases[i].references);
  free(cases), free(own);
  json_decref(json);
}

const golden_system golden_caption_metrics = {"caption-metrics", run};
