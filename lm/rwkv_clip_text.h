/* RWKV-CLIP's text tower: RWKV-6 blocks that read a text from both ends; every head takes one half of its channels from
 * the token before and the other from the token after. Spec rwkv-clip sections 2 (names), 5 (maths), 6 (pooling), 10.3
 * (initial values).
 *
 *   x = E[token];  block 0: x = ln0(x);  per block: x += att(ln1(x)); x += ffn(ln2(x));  tokens = ln_out(x)
 *
 * There are no positions and no mask: what fills a text up after its end token is read and pooled as it is. */
#ifndef LINNET_LM_RWKV_CLIP_TEXT_H
#define LINNET_LM_RWKV_CLIP_TEXT_H

#include "kernels/rwkv6.h"
#include "weights/params.h"

enum { RWKV_CLIP_CONTEXT = 77 }; /* tokens of a text, as published; not in names or shapes */

typedef struct {
  int depth, width, hidden, head_size, vocab_size;
  int rank_mix, rank_decay;
} rwkv_clip_text_config;

typedef struct {
  tensor *ln0_weight, *ln0_bias; /* block 0 only */
  tensor *ln1_weight, *ln1_bias, *ln2_weight, *ln2_bias;
  rwkv6_att att;
  rwkv6_ffn ffn;
} rwkv_clip_text_block;

typedef struct {
  rwkv_clip_text_config config;
  tensor *emb, *ln_out_weight, *ln_out_bias;
  rwkv_clip_text_block *block;
} rwkv_clip_text;

/* From names and shapes. */
status rwkv_clip_text_config_read(rwkv_clip_text_config *config, const checkpoint *file, const char *prefix);
status rwkv_clip_text_new(rwkv_clip_text *m, const rwkv_clip_text_config *config, const char *prefix, param_set *set);
void rwkv_clip_text_free(rwkv_clip_text *m);

/* ids i32 [B,T], each in the vocabulary -> [B,T,D], normed. */
tensor *rwkv_clip_text_tokens(ctx *c, const rwkv_clip_text *m, const tensor *ids);
/* The texts' embeddings, not normalised: the mean of those tokens, each divided by its length. -> [B,D] */
tensor *rwkv_clip_text_pool(ctx *c, tensor *tokens);

#endif
