/* Small RWKV models on multi-query associative recall (data/mqar.h): how much a state of a width can hold and find
 * again. Spec goldfinch 7.2.
 *
 * The models are whole blocks, time mix and channel mix; the head is the embedding, as in the published sweep, and
 * starts with rows of length about 1; all else as in text models. Every step has new examples. Only labelled places are
 * scored, so ln_out and the head see nothing else. A run is a pure function of its options and the thread count, and
 * keeps no file. */
#ifndef LINNET_TRAIN_MQAR_H
#define LINNET_TRAIN_MQAR_H

#include "data/mqar.h"
#include "train/lm_train.h"

typedef struct {
  int64_t step, steps;
  double loss, accuracy; /* means over the steps since the last report, on the examples they learnt from */
  double grad_norm, rate;
  double tokens_per_second, seconds_left;
} mqar_progress;

typedef struct {
  int64_t step; /* done */
  int examples;
  double loss;     /* mean cross entropy of labelled places */
  double accuracy; /* the share of them whose largest logit of all V is the label's */
} mqar_score;

typedef struct {
  run_settings run; /* steps: at most; batch: examples; out, resume, stop_after, save_every have no meaning here */
  mqar_task task;
  /* model */
  int version; /* of RWKV: 4, 5 (5.2), 6, 7 */
  int width, layers, head_size;
  /* scores */
  int64_t check_every;                                  /* steps between checks on new examples; 0 = none */
  int check, test;                                      /* examples of a check and of the final score */
  double enough;                                        /* a check this accurate ends the run; above 1 = never */
  void (*progress)(void *user, const mqar_progress *p); /* about once a second; NULL = none */
  void (*checked)(void *user, const mqar_score *s);
  void *user;
} mqar_train_options;

typedef struct {
  mqar_score score; /* of the test examples */
  int64_t parameters;
  double seconds; /* of the steps alone */
} mqar_train_result;

mqar_train_options mqar_train_defaults(void);
status mqar_train(const mqar_train_options *options, mqar_train_result *result);

#endif
