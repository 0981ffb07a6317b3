/* Batches of generated scenes as a captioner's training wants them. */
#ifndef LINNET_TRAIN_CAPTION_BATCH_H
#define LINNET_TRAIN_CAPTION_BATCH_H

#include "data/scene.h"
#include "fusion/visualrwkv.h"

typedef struct {
  int batch, labels; /* labels of a patch: every kind, then every colour */
  scene **scene;     /* [batch] */
  /* filled by caption_batch_make */
  float *pixels;         /* [B,S,S,3] */
  float *patch_target;   /* [B*patches, labels] 0 or 1 */
  float *patch_weight;   /* [B*patches] all 1/(B*patches) */
  int answer_length;     /* longest answer without its stop token */
  int32_t *answer;       /* [B,answer_length], padded with 0 */
  int rows;              /* supervised positions */
  int32_t *row, *target; /* position in the [B*sequence] rows, and the token to be said there */
  float *weight;         /* 1 / (B * positions of its caption) */
} caption_batch;

enum { CAPTION_TOKENS = 96 }; /* longest answer, the stop token included */

/* labels: object kinds + COLOURS - 1. */
status caption_batch_new(caption_batch *b, const visualrwkv *m, int labels, int batch);
void caption_batch_free(caption_batch *b);
/* The scenes first .. first+batch-1 of (options, seed). */
status caption_batch_make(caption_batch *b, const visualrwkv *m, const object_set *objects,
                          const scene_options *options, uint64_t seed, uint64_t first);

#endif
