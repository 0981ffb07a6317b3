/* A model's blocks, which run one after another on tokens of one shape [B,...]. Without recording, nothing of a block
 * but its result is kept, so that memory does not grow with depth; while recording everything stays until backward has
 * run. An observer sees each block's "out". */
#ifndef LINNET_KERNELS_BLOCKS_H
#define LINNET_KERNELS_BLOCKS_H

#include "kernels/tensor.h"

/* Tokens x through block i of `model`: a result of the same shape. */
typedef tensor *(*block_fn)(ctx *c, const void *model, int i, tensor *x);

/* x through blocks 0..n-1. */
tensor *blocks_forward(ctx *c, tensor *x, int n, block_fn block, const void *model);

/* The same where a block computes each sample (of the first dimension) for itself. Threads then need not meet in every
 * operator: as many samples as they can share equally are taken through all blocks side by side, each thread in a
 * context of its own; the others by all threads together, as are few tokens, or samples while recording or observed.
 * `block` is called by several threads at once. */
tensor *blocks_forward_samples(ctx *c, tensor *x, int n, block_fn block, const void *model);

#endif
