/* RWKV-6 "Finch" text backbone. Spec language-models sections 2 (names), 3 (maths), 5.4 (initial values).
 *
 *   x = ln0(E[token]);  per block: x += att(ln1(x)); x += ffn(ln2(x));  logits = head(ln_out(x)) */
#ifndef LINNET_LM_RWKV6_H
#define LINNET_LM_RWKV6_H

#include "kernels/rwkv6.h"
#include "weights/params.h"

typedef struct {
  int n_layer, n_embd, dim_ffn, head_size, vocab_size;
  int rank_mix, rank_decay;
} rwkv6_config;

typedef struct {
  tensor *ln0_weight, *ln0_bias; /* block 0 only */
  tensor *ln1_weight, *ln1_bias, *ln2_weight, *ln2_bias;
  rwkv6_att att;
  rwkv6_ffn ffn;
  tensor *start; /* [H,N,N] trained initial state, key by value; NULL = zero */
} rwkv6_block;

typedef struct {
  rwkv6_config config;
  tensor *emb, *ln_out_weight, *ln_out_bias, *head;
  rwkv6_block *block;
  bool ln0_bf16; /* round ln0(emb) to bf16, as published inference code does with bf16 files; not for training */
} rwkv6;

/* Declares the backbone's parameters in `set` under `prefix`; an unsound config is refused (rwkv6_config_check). */
status rwkv6_new(rwkv6 *m, const rwkv6_config *config, const char *prefix, param_set *set);
void rwkv6_free(rwkv6 *m);
/* Adds a trained initial state ("state tuning", blocks.i.att.time_state): to the model's own set, or to one that a file
 * of states alone fills and that is trained alone. Sequences that start without a state then start from it. */
status rwkv6_declare_start(rwkv6 *m, const char *prefix, param_set *set);
/* Sizes are positive, within bounds, and fit together; a sentence otherwise. */
status rwkv6_config_check(const rwkv6_config *config);
/* The config from names and shapes alone. */
status rwkv6_config_read(rwkv6_config *config, const checkpoint *file, const char *prefix);

/* The state of one sequence or batch between calls: per layer a rwkv6_carry. Owned by the caller, in plain memory. */
typedef struct {
  int n_layer, batch, n_embd, heads, head_size;
  float *memory;
} rwkv6_state;
status rwkv6_state_new(rwkv6_state *s, const rwkv6_config *config, int batch); /* zero state */
void rwkv6_state_free(rwkv6_state *s);
/* Every row at the model's start: zero, or its trained initial state. */
void rwkv6_state_start(rwkv6_state *s, const rwkv6 *m);
/* One layer's part, as tensors on the state's own memory. */
rwkv6_carry rwkv6_state_layer(ctx *c, const rwkv6_state *s, int layer);
size_t rwkv6_state_size(const rwkv6_state *s); /* floats */
/* Row to_row of `to` becomes row from_row of `from` (forking a hypothesis of a beam). */
void rwkv6_state_copy_row(rwkv6_state *to, int to_row, const rwkv6_state *from, int from_row);

/* Token rows [B,T,D] through ln0 and the blocks, without ln_out and head. `order` has one scan order per layer (NULL =
 * all as stored): VisualRWKV's scans. `state` (may be NULL = the model's start, nothing kept) is read and left as the
 * state after the last token; not while recording. Without recording, memory does not grow with depth. */
tensor *rwkv6_forward(ctx *c, const rwkv6 *m, tensor *x, const scan_order *const *order, rwkv6_state *state);
/* ids i32 [B,T] -> [B,T,D]. */
tensor *rwkv6_embed(ctx *c, const rwkv6 *m, const tensor *ids);
/* [...,D] -> logits [...,V]. */
tensor *rwkv6_logits(ctx *c, const rwkv6 *m, tensor *x);

#endif
