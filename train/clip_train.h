/* Training a pair of towers: RWKV-CLIP's loss and one-cycle schedule (spec rwkv-clip section 10) on generated scenes of
 * the training split, or on lists of pictures with captions, in large batches by gradient caching.
 *
 * A run is a pure function of its options, its data and the thread count. It keeps two files in `out`:
 * checkpoint.safetensors (weights, optimizer, position) and clip.gguf (16-bit, with the vocabulary, the pair for use).
 */
#ifndef LINNET_TRAIN_CLIP_TRAIN_H
#define LINNET_TRAIN_CLIP_TRAIN_H

#include "train/clip_check.h"
#include "train/run.h"

#define CLIP_TRAIN_MODEL "clip.gguf"

typedef struct {
  int64_t step, steps;
  double loss;                   /* mean since the last report, nats */
  double grad_norm, rate, scale; /* of the last step; what cosines are multiplied with */
  double samples_per_second, seconds_left;
} clip_train_progress;

enum { CLIP_TRAIN_LISTS = 32 };
typedef struct {
  run_settings run;    /* of which rate is the highest, and rate_final, warmup and beta1 are the schedule's own */
  const char *objects; /* the object pack, for scenes */
  const char *list[CLIP_TRAIN_LISTS]; /* data/pairs.h; then there are no scenes */
  int n_lists;
  const char *validation; /* a list to check on; NULL: scenes are checked on validation pictures, lists not at all */
  const char *init;       /* start from a pair's file; NULL = fresh */
  const char *init_image; /* start the image tower from a captioner's or a pair's file, whose sizes it takes */
  const char *vocabulary; /* a file for tokenizer_open; NULL makes one of the data's words */
  int chunk;              /* pairs in memory at a time; 0 = the batch */
  double drop_path;       /* of the image tower's last block */
  double singles;         /* share of scenes that show one thing */
  int max_objects;        /* 1..4 in a scene */
  int64_t check_every;    /* steps between checks; 0 = at the end alone */
  int check;              /* scenes of a check; 0 = no checks */
  /* model, unless a file gives it */
  bool crop; /* pictures are cropped as CLIP's are, not put whole on a white square */
  int image_size, patch, image_width, image_depth, image_hidden, text_width, text_depth, text_hidden, context, words,
      head_size, rank_mix, rank_decay;
  void (*progress)(void *user, const clip_train_progress *p);          /* about once a second; NULL = none */
  void (*checked)(void *user, int64_t step, const clip_check *scores); /* NULL = none */
  void (*broken)(void *user, size_t n, const char *problem); /* n pictures could not be read so far; NULL = none */
  void *user;
} clip_train_options;

clip_train_options clip_train_defaults(void);
status clip_train(const clip_train_options *options);

#endif
