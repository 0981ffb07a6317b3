/* Training text models, RWKV-4 to 7, on documents: mean cross entropy of the next token with L2Wrap, AdamW in the
 * official groups, official initial values (spec language-models section 5). Either all of a model learns, or a frozen
 * one learns through initial states (state tuning) or through factors of low rank (lora.h).
 *
 * A run is a pure function of its options, the text and the thread count. It keeps in `out` checkpoint.safetensors
 * (what is trained, optimizer, position: written every `save_every` steps to a temporary name, synced, renamed; a kill
 * costs at most the work since) and, for use, lm.gguf (16-bit), states.gguf (a file of initial states alone), or
 * lora.safetensors (the factors alone) with lm.gguf (the model with them merged in). Models and checkpoints carry the
 * vocabulary in their metadata; checkpoints of what a frozen model learns name that model's file, which resuming reads
 * again. */
#ifndef LINNET_TRAIN_LM_TRAIN_H
#define LINNET_TRAIN_LM_TRAIN_H

#include "lm/rwkv.h"
#include "train/run.h"

#define LM_SYSTEM "rwkv" /* of CHECKPOINT_SYSTEM */

typedef struct {
  int64_t step, steps;    /* optimizer steps done, in all */
  double loss;            /* mean since the last report: nats a token */
  double bits_per_byte;   /* the same */
  double grad_norm, rate; /* of the last step */
  double tokens_per_second, seconds_left;
  double gflops; /* arithmetic done in matrix products, GFLOP/s */
} lm_progress;

/* The score of the validation text, each row of `context` tokens read by itself. */
typedef struct {
  int64_t step;
  double loss, bits_per_byte;
} lm_validation;

typedef enum { LM_TRAIN_ALL, LM_TRAIN_STATES, LM_TRAIN_LORA, LM_TRAINS } lm_trained;

typedef struct {
  run_settings run;
  const char *data;  /* texts (lm_data.h): a file, or a folder with train.jsonl (or *.txt), perhaps validation.* */
  const char *init;  /* start from a model's or checkpoint's weights and sizes; NULL = fresh */
  const char *vocab; /* a vocabulary's file (data/tokenizer.h); NULL = that of `init`, or a new one of the text */
  int context;       /* tokens a row */
  bool carry; /* rows go on where those of the step before ended, from their states; gradients stay within rows */
  int64_t eval_every; /* steps between validations (0 = only at the end) */
  lm_trained what;    /* all; or, of the model `init`, which stays as it is: states or factors */
  int rank;           /* of the factors; 0 unless `what` is LM_TRAIN_LORA */
  double alpha;       /* alpha / rank is what they are multiplied with; as rank */
  /* model, unless `init` or `resume` gives it */
  int version; /* 4, 5 (5.2), 6, 7 */
  int width, layers, head_size;
  int hidden;     /* of the channel mix; 0 = as the version's official models have it */
  int vocabulary; /* most tokens of a new vocabulary */
  void (*progress)(void *user, const lm_progress *p); /* about once a second; NULL = none */
  void (*validated)(void *user, const lm_validation *v);
  void *user;
} lm_train_options;

lm_train_options lm_train_defaults(void); /* for a whole model */
/* What the option's word says: "all", "states", "lora"; STATUS_ARGUMENT for another. */
status lm_trained_named(const char *word, lm_trained *what);
/* The same with what is usual for it. */
lm_train_options lm_train_defaults_for(lm_trained what);
status lm_train(const lm_train_options *options);

/* The sizes that the options name and, where they do not, those of the version's official models. */
rwkv_config lm_config(const lm_train_options *options, int tokens);

#endif
