/* RWKV text backbones: versions 4, 5 ("Eagle"), 6 ("Finch") and 7 ("Goose") behind one interface. Spec language-models
 * sections 2 (names), 3 (maths), 5.4 (initial values).
 *
 *   x = ln0(E[token]);  per block: x += att(ln1(x)); x += ffn(ln2(x));  logits = head(ln_out(x))
 *
 * What differs (the parameters, the two halves of a block, the recurrence's state) is in rwkv4.c to rwkv7.c. */
#ifndef LINNET_LM_RWKV_H
#define LINNET_LM_RWKV_H

#include "kernels/rwkv6.h"
#include "weights/params.h"

/* What a model may have or not. Of version 5: 5.0 has none, but perhaps the bonus in log; 5.1 has a gate, 5.2 also a
 * decay and a bonus for every channel instead of every head. */
enum {
  RWKV5_GATE = 1,
  RWKV5_CHANNELS = 2,
  RWKV5_LOG_BONUS = 4, /* the bonus is exp(time_first), and not time_faaaa */
  RWKV_START = 8,      /* a trained initial state among the model's parameters (versions 5 to 7) */
  RWKV_TIED = 16,      /* no head of its own: its owner makes `head` the embedding when that is allocated */
};

typedef struct {
  int version; /* 4, 5, 6 or 7 */
  int n_layer, n_embd, dim_att, dim_ffn, vocab_size;
  int head_size;                                              /* of version 4: 1, every channel for itself */
  int rank_mix, rank_decay, rank_rate, rank_value, rank_gate; /* of low-rank products; 0 where the version has none */
  unsigned parts;                                             /* RWKV5_*, RWKV_START */
} rwkv_config;

/* Of version 4. */
typedef struct {
  tensor *mix_k, *mix_v, *mix_r;             /* [1,1,D] */
  tensor *decay, *bonus;                     /* [A], raw and in log */
  tensor *receptance, *key, *value, *output; /* [A,D], [D,A] */
} rwkv4_att;

typedef struct {
  tensor *mix_k, *mix_v, *mix_r, *mix_g;            /* [1,1,D] */
  tensor *decay, *bonus;                            /* [H] or [H,N] */
  tensor *receptance, *key, *value, *gate, *output; /* [A,D], [D,A] */
  tensor *ln_x_weight, *ln_x_bias;                  /* [A] */
} rwkv5_att;

enum { RWKV7_R, RWKV7_W, RWKV7_K, RWKV7_V, RWKV7_A, RWKV7_G, RWKV7_MIXES };

typedef struct {
  tensor *mix[RWKV7_MIXES];                  /* [1,1,D] */
  tensor *w0, *w1, *w2;                      /* decay: [1,1,D], [D,R], [R,D] */
  tensor *a0, *a1, *a2;                      /* in-context learning rate */
  tensor *v0, *v1, *v2;                      /* share of the first block's values; not in that block */
  tensor *g1, *g2;                           /* gate */
  tensor *k_k, *k_a;                         /* [1,1,D] */
  tensor *r_k;                               /* [H,N] bonus */
  tensor *receptance, *key, *value, *output; /* [D,D] */
  tensor *ln_x_weight, *ln_x_bias;           /* [D] */
} rwkv7_att;

typedef struct {
  tensor *ln0_weight, *ln0_bias; /* block 0 only */
  tensor *ln1_weight, *ln1_bias, *ln2_weight, *ln2_bias;
  union {
    rwkv4_att v4;
    rwkv5_att v5;
    rwkv6_att v6;
    rwkv7_att v7;
  } att;
  rwkv6_ffn ffn; /* version 7 has no mix_r and no receptance */
  tensor *start; /* [H,N,N] trained initial state, key by value; NULL = none */
} rwkv_block;

typedef struct {
  rwkv_config config;
  tensor *emb, *ln_out_weight, *ln_out_bias, *head;
  rwkv_block *block;
  bool ln0_bf16; /* round ln0(emb) to bf16, as published inference code does with bf16 files; not for training */
} rwkv;

/* Declares the backbone's parameters in `set` under `prefix`; an unsound config is refused (rwkv_config_check). */
status rwkv_new(rwkv *m, const rwkv_config *config, const char *prefix, param_set *set);
void rwkv_free(rwkv *m);
/* Adds a trained initial state ("state tuning", blocks.i.att.time_state; versions 5 to 7) to a set of its own, which a
 * file of states alone fills and which is trained alone. Sequences that start without a state then start from it. */
status rwkv_declare_start(rwkv *m, const char *prefix, param_set *set);
/* Sizes are positive, within bounds, and fit together; a sentence otherwise. */
status rwkv_config_check(const rwkv_config *config);
/* The config, version and all, from names and shapes alone. */
status rwkv_config_read(rwkv_config *config, const checkpoint *file, const char *prefix);

/* --- state -------------------------------------------------------------------------------------------------------- */

/* What sequences leave behind for their continuation, whatever their length: per layer a rwkv6_carry. Owned by the
 * caller, in plain memory; copying it forks the sequences. */
typedef struct {
  rwkv_config config; /* of its model */
  int batch;
  int64_t *tokens; /* [batch] read so far */
  float *memory;   /* per layer att_x [B,D], ffn_x [B,D], and the recurrence's own [B,...] */
} rwkv_state;

status rwkv_state_new(rwkv_state *s, const rwkv_config *config, int batch); /* nothing read yet, from zero */
void rwkv_state_free(rwkv_state *s);
/* Every row at the model's start: zero, or its trained initial state. */
void rwkv_state_start(rwkv_state *s, const rwkv *m);
status rwkv_state_clone(rwkv_state *to, const rwkv_state *from);
/* Row to_row of `to` becomes row from_row of `from`. */
void rwkv_state_copy_row(rwkv_state *to, int to_row, const rwkv_state *from, int from_row);
/* One layer's part, as tensors on the state's own memory. */
rwkv6_carry rwkv_state_layer(ctx *c, const rwkv_state *s, int layer);
size_t rwkv_state_size(const rwkv_state *s); /* floats */

/* A row as bytes (rwkv_state.c): what it needs to be read again by the same model and by no other. */
size_t rwkv_state_bytes(const rwkv_config *config);
void rwkv_state_save(const rwkv_state *s, int row, const rwkv *m, uint8_t *bytes);
/* `name` stands for the bytes in sentences. The row is changed only on success. */
status rwkv_state_load(rwkv_state *s, int row, const rwkv *m, const uint8_t *bytes, size_t n, const char *name);
/* A number that tells models apart: of their config and of values from all over their parameters. */
uint64_t rwkv_identity(const rwkv *m);

/* --- forward ------------------------------------------------------------------------------------------------------ */

typedef struct {
  rwkv_state *state;              /* read, and left as after the last token; NULL = the model's start, nothing kept */
  const int32_t *lengths;         /* [B] tokens of each row, 0 to T, what follows being padding; NULL = all T */
  const scan_order *const *order; /* one a layer, or NULL = as stored: VisualRWKV's scans */
} rwkv_input;

/* ids i32 [B,T] -> [B,T,D]. */
tensor *rwkv_embed(ctx *c, const rwkv *m, const tensor *ids);
/* Token rows [B,T,D] through ln0 and the blocks, without ln_out and head. `in` may be NULL. What comes out for padding
 * means nothing. lengths must outlive backward; a state need not: to gradients, where it leads and where it came from
 * are constants (backpropagation through time is cut there). Without recording, memory does not grow with depth. */
tensor *rwkv_forward(ctx *c, const rwkv *m, tensor *x, const rwkv_input *in);
/* Every row's last token: [B,T,D] -> [B,D]. Rows of length 0 give their first. */
tensor *rwkv_last(ctx *c, tensor *x, const int32_t *lengths);
/* [...,D] -> logits [...,V]. */
tensor *rwkv_logits(ctx *c, const rwkv *m, tensor *x);

/* Reads tokens ids [B,T] (B = state->batch) in equal chunks of at most `chunk` columns, so that memory does not grow
 * with T and what a chunk computes stays near, and gives the logits [B,V] after each row's last token. lengths: 1 to T,
 * or NULL. STATUS_ARGUMENT for a token that is not in the vocabulary. Uses the context's arena and leaves it as it
 * was. */
enum { RWKV_CHUNK = 192 };
status rwkv_read(ctx *c, const rwkv *m, const int32_t *ids, int64_t T, const int32_t *lengths, int64_t chunk,
                 rwkv_state *state, float *logits);

#endif
