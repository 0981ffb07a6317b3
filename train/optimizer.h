/* AdamW over a parameter set, with the parameters' classes as its groups. Spec operators 6.3, language-models 5.2. */
#ifndef LINNET_TRAIN_OPTIMIZER_H
#define LINNET_TRAIN_OPTIMIZER_H

#include "train/run.h"
#include "weights/params.h"

/* A recipe: what a class's learning rate is multiplied with, and whether it is decayed. */
typedef struct {
  float rate;
  bool decay;
} recipe_row;
typedef struct {
  recipe_row of[PARAM_CLASSES];
} recipe;
/* The layerwise groups of every version of RWKV: matrices, embeddings and trained states decay; the recurrence's decay
 * learns at twice the rate, a bonus in the log domain at three times. */
extern const recipe recipe_rwkv;
/* One group, all of which decays: RWKV-CLIP's. */
extern const recipe recipe_clip;

typedef struct {
  double beta1, beta2, eps, weight_decay;
  double clip; /* largest global gradient norm; 0 = none */
  const recipe *recipe;
} adamw_options;

typedef struct {
  param_set *set;
  adamw_options options;
  float *first, *second; /* moments, in the set's layout */
  int64_t steps;         /* done */
} adamw;

status adamw_new(adamw *o, param_set *set, const adamw_options *options); /* zero moments */
/* That of a run's settings; asks for the set's gradients. */
status adamw_of_run(adamw *o, param_set *set, const run_settings *run, double eps, const recipe *groups);
void adamw_free(adamw *o);
/* One step with the set's gradients at the given rate. *norm (may be NULL) receives the gradient's norm before
 * clipping. A gradient that is not finite changes nothing and is STATUS_FORMAT. */
status adamw_step(adamw *o, double rate, double *norm);
/* The moments as buffers to be written beside the parameters (params_save). */
enum { ADAMW_BUFFERS = 2 };
void adamw_buffers(const adamw *o, param_buffer buffers[ADAMW_BUFFERS]);
/* What a checkpoint of training holds: all parameters as f32, and the moments, for whose names there is room. */
params_file adamw_checkpoint(const adamw *o, param_buffer moments[ADAMW_BUFFERS]);
/* Reads them back: the optimizer goes on as after `steps` steps. */
status adamw_load(adamw *o, const checkpoint *file, int64_t steps);

#endif
