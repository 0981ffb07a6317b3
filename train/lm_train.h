/* Training text models, RWKV-4 to 7, on documents: mean cross entropy of the next token with L2Wrap, AdamW in the
 * official groups, official initial values (spec language-models section 5).
 *
 * A run is a pure function of its options, the text and the thread count. It keeps two files in `out`:
 * checkpoint.safetensors (weights, optimizer, position: written every `save_every` steps to a temporary name, synced,
 * renamed; a kill costs at most the work since) and lm.gguf (16-bit, the model for use). Both carry the vocabulary in
 * their metadata. */
#ifndef LINNET_TRAIN_LM_TRAIN_H
#define LINNET_TRAIN_LM_TRAIN_H

#include <signal.h>

#include "lm/rwkv.h"

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

typedef struct {
  const char *data;        /* a file of texts (lm_data.h), or a folder with train.jsonl, perhaps validation.jsonl */
  const char *out;         /* folder for the two files; made if absent; a fresh run refuses one with a checkpoint */
  const char *init;        /* start from a model's or checkpoint's weights and sizes; NULL = fresh */
  const char *vocab;       /* a vocabulary's file (data/tokenizer.h); NULL = that of `init`, or a new one of the text */
  bool resume;             /* go on from out/checkpoint.safetensors, whose options are taken from the file */
  int64_t steps;           /* optimizer steps in all */
  int64_t stop_after;      /* end this run early at that step, leaving a checkpoint (0 = never) */
  int batch, context;      /* rows a step, tokens a row */
  double rate, rate_final; /* learning rate after warm-up and at the end of the cosine */
  int64_t warmup;          /* steps */
  double weight_decay, clip, beta1, beta2;
  uint64_t seed;
  int64_t save_every, eval_every; /* steps between checkpoints, between validations (0 = only at the end) */
  /* model, unless `init` or `resume` gives it */
  int version; /* 4, 5 (5.2), 6, 7 */
  int width, layers, head_size;
  int hidden;     /* of the channel mix; 0 = as the version's official models have it */
  int vocabulary; /* most tokens of a new vocabulary */
  void (*progress)(void *user, const lm_progress *p); /* about once a second; NULL = none */
  void (*validated)(void *user, const lm_validation *v);
  void *user;
  const volatile sig_atomic_t *stop; /* set: save a checkpoint and return STATUS_INTERRUPTED */
} lm_train_options;

lm_train_options lm_train_defaults(void);
status lm_train(const lm_train_options *options);

#endif
