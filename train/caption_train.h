/* Training a captioner on generated scenes: VisualRWKV's loss on the caption's tokens (spec visualrwkv section 7) and a
 * multi-label loss on every image patch, which names the kinds and colours that the patch shows.
 *
 * A run is a pure function of its options, the object pack and the thread count. It keeps two files in `out`:
 * checkpoint.safetensors (weights, optimizer, position: written every `save_every` steps to a temporary name, synced,
 * renamed; a kill costs at most the work since) and captioner.gguf (16-bit, the model for use). */
#ifndef LINNET_TRAIN_CAPTION_TRAIN_H
#define LINNET_TRAIN_CAPTION_TRAIN_H

#include "fusion/visualrwkv.h"
#include "train/run.h"

typedef struct {
  int64_t step, steps;     /* optimizer steps done, in all */
  double loss, patch_loss; /* means since the last report: nats a caption token, nats a patch */
  double grad_norm, rate;  /* of the last step */
  double samples_per_second, seconds_left;
  double gflops; /* arithmetic done in matrix products, GFLOP/s */
} train_progress;

typedef struct {
  run_settings run;
  const char *objects; /* the object pack */
  const char *init;    /* warm start from a model or checkpoint (its patch classifier if that fits); NULL = fresh */
  double patch_weight; /* of the multi-label loss */
  int max_objects;     /* 1..4 in a scene */
  /* model, unless `init` or `resume` gives it */
  int image_size, patch, image_grid, tower_width, tower_depth, tower_hidden, lm_width, lm_depth, lm_hidden, head_size,
      rank_mix, rank_decay, vocabulary;
  void (*progress)(void *user, const train_progress *p); /* about once a second; NULL = none */
  void *user;
} caption_train_options;

caption_train_options caption_train_defaults(void);
status caption_train(const caption_train_options *options);

/* Speed of a training step of the default model on synthetic pictures: samples and matrix-product GFLOP per second. */
status caption_train_bench(int batch, int steps, double *samples_per_second, double *gflops);

#endif
