/* Scores of a captioner on generated scenes that it never saw, beside two baselines: the same model shown blank
 * pictures, and the fixed answer made of the most frequent words. */
#ifndef LINNET_TRAIN_CAPTION_EVAL_H
#define LINNET_TRAIN_CAPTION_EVAL_H

#include "data/scene.h"
#include "fusion/caption.h"

/* What is shown. */
typedef enum {
  EVAL_SCENES,     /* new scenes of training pictures */
  EVAL_UNSEEN,     /* unseen pictures of known kinds, one at a time */
  EVAL_KINDS,      /* pictures of kinds that were held out whole, one at a time */
  EVAL_VALIDATION, /* as EVAL_UNSEEN with the validation split: for choices during development */
  EVAL_SETS
} eval_set;
const char *eval_set_name(eval_set which);

typedef struct {
  double recall, precision; /* of kinds, mean over scenes */
  double colour, count;     /* accuracy among correctly named kinds; NaN if there are none */
  double cider, bleu4, rouge;
  int colours, counts; /* how many cases the two accuracies rest on */
} eval_scores;

typedef struct {
  eval_set set;
  int scenes;
  eval_scores model, blank, frequent;
  char frequent_caption[SCENE_MAX_CAPTION];
} eval_report;

typedef struct {
  const char *objects; /* the object pack */
  eval_set set;
  int limit;     /* scenes; for picture sets: at most this many (0 = all; scenes: 1000) */
  uint64_t seed; /* of the scenes; training uses others (streams differ by construction) */
  int batch;
  void (*progress)(void *user, int done, int all);
  void (*each)(void *user, const char *truth, const char *said); /* every scene's pair; NULL = none */
  void *user;
} eval_options;

status caption_eval(const visualrwkv *m, const eval_options *options, eval_report *report);

#endif
