/* A block of a transformer, written with operators: the norm comes before each half. CLIP's towers are made of it, the
 * image's and the text's. Spec rwkv-clip 11.1.
 *
 *   x += W_o attention(W_q ln1(x), W_k ln1(x), W_v ln1(x));  x += W_2 act(W_1 ln2(x)) */
#ifndef LINNET_KERNELS_TRANSFORMER_H
#define LINNET_KERNELS_TRANSFORMER_H

#include "kernels/ops.h"

enum { QUERY, KEY, VALUE, QKV };

typedef struct {
  tensor *ln1_weight, *ln1_bias, *ln2_weight, *ln2_bias; /* [D] */
  /* Query, key and value: as one, [3D,D] and [3D], or apart, each [D,D] and [D], as the file has them; the others are
   * NULL. */
  tensor *in_weight, *in_bias;
  tensor *apart_weight[QKV], *apart_bias[QKV];
  tensor *out_weight, *out_bias;                         /* [D,D], [D] */
  tensor *fc1_weight, *fc1_bias, *fc2_weight, *fc2_bias; /* [F,D], [F], [D,F], [D] */
} transformer_block;

typedef struct {
  int heads;
  bool causal;
  act_kind act;
  float eps; /* of the norms */
} transformer_opt;

/* x [B,T,D] -> [B,T,D] */
tensor *transformer_block_forward(ctx *c, const transformer_block *p, tensor *x, const transformer_opt *opt);

#endif
