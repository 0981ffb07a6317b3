/* Where pictures and texts are compared: scaled cosines of unit vectors, the symmetric contrastive loss. Spec rwkv-clip
 * sections 6 and 10.1. */
#ifndef LINNET_FUSION_CONTRASTIVE_H
#define LINNET_FUSION_CONTRASTIVE_H

#include "kernels/ops.h"

/* exp(log_scale) a b^T of unit rows (ops.h) a [M,D], b [N,D]: [M,N]; log_scale has one element. */
tensor *scaled_cosines(ctx *c, tensor *a, tensor *b, tensor *log_scale);
/* Mean cross entropy of picture i among all texts and of text i among all pictures (InfoNCE), from unit rows [B,D]. */
tensor *contrastive_loss(ctx *c, tensor *images, tensor *texts, tensor *log_scale);
/* The same of a batch in which texts may be true of other pictures than their own: where same[i * B + j], i not j, text
 * j is no wrong answer for picture i, nor the other way round. */
tensor *contrastive_loss_apart(ctx *c, tensor *images, tensor *texts, tensor *log_scale, const bool *same);
/* softmax(scale * cosine) over the K texts of each of M pictures, in place. */
void match_probabilities(float *cosines, int64_t M, int64_t K, float scale);

#endif
