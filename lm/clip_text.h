/* CLIP's text tower: a causal transformer over at most `context` tokens, in the naming of OpenAI or of Hugging Face.
 * Spec rwkv-clip 11.
 *
 *   x = E[token] + positions;  blocks;  feature = ln_final(x at the end token) proj
 *
 * The end token is the one of the largest id: the first of them. What follows it does not matter. */
#ifndef LINNET_LM_CLIP_TEXT_H
#define LINNET_LM_CLIP_TEXT_H

#include "weights/clip_names.h"

typedef struct {
  clip_tower_config tower;
  int vocab_size, context;
} clip_text_config;

typedef struct {
  clip_text_config config;
  tensor *emb, *positions; /* [V,D], [context,D] */
  tensor *ln_final_weight, *ln_final_bias;
  tensor *proj; /* [embed,D], or NULL */
  transformer_block *block;
} clip_text;

/* From names and shapes, with 64 channels a head and the exact activation. `root` stands before the official names. */
status clip_text_config_read(clip_text_config *config, const checkpoint *file, const char *root, clip_naming naming);
status clip_text_new(clip_text *m, const clip_text_config *config, const char *root, param_set *set);
void clip_text_free(clip_text *m);

/* ids i32 [B,T], T at most the context, each in the vocabulary -> [B,T,D], normed. */
tensor *clip_text_tokens(ctx *c, const clip_text *m, const tensor *ids);
/* The texts' embeddings, not normalised, from those tokens: [B,embed], or [B,D] without a projection. */
tensor *clip_text_pool(ctx *c, const clip_text *m, const tensor *ids, tensor *tokens);
/* Where a text's end token is among its T ids. */
int64_t clip_text_end(const int32_t *ids, int64_t T);

#endif
