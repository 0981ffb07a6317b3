/* The evaluations of a pair of towers as RWKV-CLIP and CLIP are judged (spec rwkv-clip 9.1 to 9.3), on pictures from
 * anywhere: zero-shot classification, retrieval, linear probes. Pictures that cannot be read are named, counted and
 * left out, with their captions. */
#ifndef LINNET_TRAIN_CLIP_TASKS_H
#define LINNET_TRAIN_CLIP_TASKS_H

#include "fusion/embed.h"
#include "train/clip_eval.h"
#include "train/linear_probe.h"

/* Pictures 0..n-1 of something. */
typedef struct {
  picture_fn open; /* as embed_pictures has it */
  void *from;
  size_t n;
} picture_source;

typedef struct {
  int batch; /* 0 = a good number */
  /* After every picture; `error`: it is left out, and why. Another status than STATUS_OK ends the evaluation. */
  status (*step)(void *user, const char *error);
  void *user;
} task_options;

/* --- zero-shot classification ------------------------------------------------------------------------------------- */

typedef struct {
  size_t pictures, skipped, classes;
  class_scores scores;
} zero_shot_report;

/* z has its classes and prompts or templates; it is encoded here. targets[i]: the class of picture i. */
status zero_shot_task(const clip_model *m, zero_shot *z, const picture_source *pictures, const int32_t *targets,
                      const task_options *options, zero_shot_report *report);

/* --- retrieval ---------------------------------------------------------------------------------------------------- */

typedef struct {
  size_t pictures, skipped, texts, cut; /* cut: texts that were too long and lost their end */
  retrieval_scores scores;
} retrieval_report;

/* T texts, each of which is read as prefix + text and is a caption of picture image_of[t]. */
status retrieval_task(const clip_model *m, const picture_source *pictures, const char *const *texts,
                      const int32_t *image_of, size_t T, const char *prefix, const task_options *options,
                      retrieval_report *report);

/* --- linear probes ------------------------------------------------------------------------------------------------ */

typedef struct {
  picture_source pictures;
  const int32_t *targets;
} probe_part;

typedef struct {
  size_t train, valid, test, skipped, classes;
  double C, valid_top1; /* the strength that was taken, and its score on `valid`; NaN if it was given */
  bool converged;
  class_scores scores;
} probe_report;

/* Features as the tower gives them, not of length 1. C is the best of the sweep on `valid`, and the probe that is
 * scored learns from `train` and `valid` together; C above 0 is taken as it is. */
status probe_task(const clip_model *m, const probe_part *train, const probe_part *valid, const probe_part *test,
                  size_t classes, double C, const task_options *options, probe_report *report);

#endif
