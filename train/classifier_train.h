/* Training a classifier of pictures under supervision: RWKV-CLIP's image tower from the official initial values with a
 * linear head; cross entropy with soft labels (label smoothing; mixup, arXiv 1710.09412), AdamW.
 *
 * A run is a pure function of its options, its pictures and the thread count. Every pass over the pictures has an order
 * of its own. It keeps two files in `out`: checkpoint.safetensors and classifier.gguf (16-bit, the model for use). */
#ifndef LINNET_TRAIN_CLASSIFIER_TRAIN_H
#define LINNET_TRAIN_CLASSIFIER_TRAIN_H

#include "train/augment.h"
#include "train/classifier_task.h"
#include "train/run.h"

typedef struct {
  int64_t step, steps;
  double loss, rate, grad_norm; /* the mean loss since the last report; of the last step */
  double pictures_per_second, seconds_left, gflops;
} classifier_progress;

typedef struct {
  run_settings run;
  const char *data;    /* labelled pictures (data/labelled.h) */
  const char *labels;  /* names of the classes, a file; NULL = the data's own */
  int64_t hold;        /* so many of the last pictures are for checks, not for training */
  int64_t check_every; /* steps between checks; 0 = none */
  bool one_cycle;      /* RWKV-CLIP's schedule, beta1 included, instead of warm-up and cosine */
  augmentation change;
  double smoothing; /* share of a label that is spread over all classes */
  double drop_path; /* of the last block; below 1 */
  double mixup;     /* alpha of the Beta(alpha, alpha) that pairs of pictures are mixed by; 0 = none */
  /* model, unless resumed */
  int image_size, patch, width, depth, hidden, head_size, rank_mix, rank_decay;
  bool rows_only; /* every layer reads row by row, as published; else odd layers by columns */
  void (*progress)(void *user, const classifier_progress *p); /* about once a second; NULL = none */
  void (*checked)(void *user, int64_t step, const classifier_report *r);
  void *user;
} classifier_train_options;

classifier_train_options classifier_train_defaults(void);
status classifier_train(const classifier_train_options *options);

#endif
