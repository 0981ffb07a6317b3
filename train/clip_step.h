/* The gradients of one contrastive batch: direct, or cached, so that the memory is that of a part of the batch.
 *
 * Every picture is compared with every text, so the loss needs all embeddings at once, but the towers do not: with
 * gradient caching (L. Gao et al., "Scaling deep contrastive learning batch size under memory limited setup", 2021) all
 * parts are encoded without recording, the loss gives the gradient of every embedding, and each part is encoded again,
 * now recorded, to carry its share back into the towers. It costs one more forward pass and gives the same gradients.
 */
#ifndef LINNET_TRAIN_CLIP_STEP_H
#define LINNET_TRAIN_CLIP_STEP_H

#include "fusion/clip.h"

typedef struct {
  int n;                 /* pairs */
  const float *pixels;   /* [n,S,S,3], normalised */
  const int32_t *ids;    /* [n,T], in the vocabulary */
  const bool *same;      /* [n,n] or NULL: contrastive_loss_apart (fusion/contrastive.h) */
  image_tower_drop drop; /* rate 0: none */
} clip_step_batch;

/* Adds the gradient of the official loss (spec rwkv-clip 10.1) to those of the pair's parameters. The pair is an
 * RWKV-CLIP with both towers and a scale, whose parameters want gradients. At most `chunk` pairs are recorded at a
 * time; n or more is the direct way, and 0 stands for n. Uses and resets the context. */
status clip_step_gradients(ctx *c, const clip_pair *m, const clip_step_batch *b, int chunk, double *loss);

#endif
