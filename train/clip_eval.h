/* How a pair of towers is judged by its embeddings: zero-shot classification with prompt ensembles, retrieval between
 * pictures and texts. Spec rwkv-clip 9.1 and 9.2. Linear probes: linear_probe.h. Scores are percentages. */
#ifndef LINNET_TRAIN_CLIP_EVAL_H
#define LINNET_TRAIN_CLIP_EVAL_H

#include "fusion/zeroshot.h"

/* --- zero-shot classification ------------------------------------------------------------------------------------- */

/* What RWKV-CLIP's script does to logits before it compares them: whole numbers, toward zero. For numbers that are to
 * be compared with its own; ties are then many. */
void zero_shot_truncate(float *logits, size_t n);

/* Where a share lies with a probability of 95 %, in percent, if `right` of n drawn at random are: E. B. Wilson,
 * "Probable inference, the law of succession, and statistical inference", 1927. */
typedef struct {
  double low, high;
} interval;
interval wilson_interval(size_t right, size_t n);

typedef struct {
  double top1, top5;
  interval top1_within, top5_within;
  double mean_per_class;   /* mean over the classes that have pictures of the share of theirs that are right */
  double chance, frequent; /* the top-1 of a guess, and of always naming the class that has the most pictures */
} class_scores;
/* Of equal logits the first class counts. targets in 0..K-1. */
status class_scores_of(const float *logits, size_t M, size_t K, const int32_t *targets, class_scores *scores);

/* --- retrieval ---------------------------------------------------------------------------------------------------- */

enum { RECALLS = 3 };
extern const int recall_at[RECALLS]; /* 1, 5, 10 */

typedef struct {
  double image_to_text[RECALLS]; /* some caption of the picture is among the first k texts */
  double text_to_image[RECALLS]; /* the caption's picture is among the first k pictures */
} retrieval_scores;

/* Every row of images [I,D] against every row of texts [T,D], by their products; text t is a caption of picture
 * image_of[t], and every picture has at least one. Of equal products the first counts. The products are made a few rows
 * at a time, and twice. */
status retrieval_recall(const float *images, size_t I, const float *texts, size_t T, size_t D, const int32_t *image_of,
                        retrieval_scores *scores);

#endif
