/* Caption metrics: BLEU-1..4, ROUGE-L and CIDEr-D as coco-caption computes them, in double (spec visualrwkv section
 * 10).
 *
 *   char *hypothesis = caption_words("A dog on a couch.");        // caption_words.h: tokens joined by spaces
 *   caption_case image = {hypothesis, references, n_references};
 *   metric_scores corpus;
 *   caption_metrics(&image, 1, &corpus, NULL);
 *
 * Values are fractions, papers print them times 100 (CIDEr-D runs from 0 to 10). CIDEr-D takes its idf from the very
 * references that are given, so scores of subsets are not comparable, and with one image it is 0. The corpus' BLEU is
 * not the mean of the images'. */
#ifndef LINNET_TRAIN_METRICS_H
#define LINNET_TRAIN_METRICS_H

#include "kernels/base.h"

typedef struct {
  const char *hypothesis; /* tokenised: words with single spaces between; may be "" */
  const char *const *references;
  size_t n_references; /* at least 1 */
} caption_case;

typedef struct {
  double bleu[4], rouge_l, cider;
} metric_scores;

/* Scores n >= 1 images; `images`, if not NULL, gets each one's own scores. Fails if an image has no reference, and for
 * memory. Time and memory are linear in the text but for ROUGE-L's longest common subsequences. */
status caption_metrics(const caption_case *cases, size_t n, metric_scores *corpus, metric_scores *images);

#endif
