/* The two halves of an RWKV-6 block, written with operators: text backbones and image towers share them and differ only
 * in the shift, the direction of the recurrence, the sense of the channel mix and one eps. Spec language-models 3.1
 * and 3.4, rwkv-clip 4.2 and 4.3. */
#ifndef LINNET_KERNELS_RWKV6_H
#define LINNET_KERNELS_RWKV6_H

#include "kernels/ops.h"

/* Low-rank outputs come in this order. */
enum { MAA_W, MAA_K, MAA_V, MAA_R, MAA_G, MAA_ROWS };

typedef struct {
  tensor *maa_x;                                    /* [1,1,D] */
  tensor *maa[MAA_ROWS];                            /* each [1,1,D] */
  tensor *maa_w1, *maa_w2;                          /* [D,5R], [5,R,D] */
  tensor *decay, *decay_w1, *decay_w2;              /* [1,1,D], [D,Rd], [Rd,D] */
  tensor *bonus;                                    /* [H,N] */
  tensor *receptance, *key, *value, *gate, *output; /* [D,D] */
  tensor *ln_x_weight, *ln_x_bias;                  /* [D] */
} rwkv6_att;

typedef struct {
  tensor *mix_k, *mix_r;            /* [1,1,D] */
  tensor *key, *receptance, *value; /* [F,D], [D,D], [D,F] */
} rwkv6_ffn;

/* What a sequence leaves behind for its continuation; all NULL at the start. */
typedef struct {
  tensor *att_x, *ffn_x; /* [B,D] the last token after ln1 and ln2 */
  tensor *wkv;           /* [B,H,N,N] key, value */
} rwkv6_carry;

/* Row k of a shift_mix [K,B,T,C] as [B,T,C]. */
tensor *mix_row(ctx *c, tensor *x, int k);
/* y[i] = row k[i] times w[i]^T, through kind[i], for i < n: linear_each() of mixes. */
void mix_linear(ctx *c, tensor *x, int n, const int *k, tensor *const *w, const act_kind *kind, tensor **y);
/* z [B,T,D], already normed -> the branch to add to the residual stream. `in` may be NULL (zero start); `state` (may be
 * NULL) receives the final wkv state. */
tensor *rwkv6_time_mix(ctx *c, const rwkv6_att *p, tensor *z, const shift_plan *plan, const wkv6_opt *opt,
                       float ln_x_eps, const rwkv6_carry *in, tensor **state);
tensor *rwkv6_channel_mix(ctx *c, const rwkv6_ffn *p, tensor *z, const shift_plan *plan, mix_kind kind,
                          const rwkv6_carry *in);

#endif
