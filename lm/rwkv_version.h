/* What a version of RWKV is to the frame (rwkv.c): its table of parameters, how it is known in a file, and the two
 * halves of its blocks. */
#ifndef LINNET_LM_RWKV_VERSION_H
#define LINNET_LM_RWKV_VERSION_H

#include "lm/rwkv.h"

#define RWKV_LN_EPS 1e-5f
#define RWKV_LN_X_EPS 64e-5f /* whatever the head size is */

/* What a negative dimension in a version's table means. */
enum { V = 1, D, A, F, H, N, MIX, MIX5, DECAY, RATE, VALUE, GATE, SIZES };

/* Flags of rows beside those of params.h: only for configs with (without) one of their parts; the row's gain is the
 * head size. */
#define WITH(part) ((unsigned)(part) << 8)
#define WITHOUT(part) ((unsigned)(part) << 16)
enum { GAIN_IS_HEAD_SIZE = 1 << 24 };

/* One block on its tokens. */
typedef struct {
  const rwkv *m;
  const rwkv_block *block;
  int layer;
  shift_plan plan;
  const scan_order *order;
  const int32_t *lengths;
  rwkv6_carry carry; /* where the sequence starts */
  rwkv6_carry kept;  /* where what it leaves behind is kept; all NULL: nowhere */
  tensor **first;    /* the values of block 0, which sets them (version 7) */
} rwkv_pass;

typedef tensor *(*rwkv_half)(ctx *c, const rwkv_pass *p, tensor *z); /* z [B,T,D], normed -> the branch to add */

typedef struct {
  int number;
  const char *mark;       /* a parameter that later versions (in the list's order: former) do not have */
  const param_spec *rows; /* of every block, after its norms */
  size_t n_rows;
  size_t rank[5]; /* the config's fields of its ranks, by their offsets; 0 ends */
  /* Fills in what is the version's own: head size, ranks, parts. */
  status (*config_read)(rwkv_config *k, const checkpoint *file, const char *prefix);
  status (*config_check)(const rwkv_config *k); /* what else must fit; NULL: nothing */
  rwkv_half time_mix, channel_mix;
  mix_kind mix;                                    /* of rwkv_channel_mix: the sense of mixing vectors */
  int state_per_head;                              /* floats of the recurrence's state a head; 0: N*N, key by value */
  bool value_by_key;                               /* files hold that state the other way around */
  bool keeps_first;                                /* pass.first is used */
  bool has_start;                                  /* initial states can be trained */
  void (*empty)(const rwkv_config *k, float *wkv); /* the recurrence's state before the first token; NULL: zero */
} rwkv_version;

extern const rwkv_version rwkv_4, rwkv_5, rwkv_6, rwkv_7;

/* Whether a file has a tensor prefix + name. */
bool rwkv_has(const checkpoint *file, const char *prefix, const char *name);
/* The version of a sound config. */
const rwkv_version *rwkv_version_of(const rwkv_config *k);
/* Floats of the recurrence's state, one row of one layer. */
size_t rwkv_wkv_floats(const rwkv_config *k);
/* The channel mix of versions 4 to 6. */
tensor *rwkv_channel_mix(ctx *c, const rwkv_pass *p, tensor *z);

#endif
