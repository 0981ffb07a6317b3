/* How likely a language model finds given tokens: many rows of them at once, of any length, each read in chunks with
 * its state carried along, so that memory grows with the batch and not with the texts. */
#ifndef LINNET_TRAIN_LM_SCORE_H
#define LINNET_TRAIN_LM_SCORE_H

#include "lm/rwkv.h"

/* The tokens prefix[0..n_prefix), ids[0..n). Each is predicted from those before it; the last one is not read. At least
 * one token; ids[0] can only be scored if there is a prefix. */
typedef struct {
  const int32_t *prefix, *ids;
  size_t n_prefix, n;
  size_t first;    /* ids[first..n) are scored */
  float *nats;     /* [n - first] receives -log p of each of them; may be NULL if first is n */
  bool *likeliest; /* [n - first] was it the (first) largest logit? NULL = not asked */
  const rwkv_state *from;
  int from_row; /* of `from`, where the row begins; `from` NULL = the model's start */
  rwkv_state *to;
  int to_row; /* of `to`, which receives the state after the last token read; `to` NULL = not kept */
} lm_row;
size_t lm_row_reads(const lm_row *row); /* tokens that are read */

typedef struct {
  const rwkv *model;
  ctx *c;    /* its arena is left as it was */
  int batch; /* tokens to compute at a time, at least 1: speed and memory; results change by rounding only */
  bool (*progress)(void *user, size_t tokens); /* more tokens were read; false stops. NULL = none */
  void *user;
} lm_scorer;

/* Scores n rows, longest first. Tokens must be in the model's vocabulary. STATUS_INTERRUPTED if progress stops it;
 * STATUS_FORMAT if the model computes NaN or infinity. */
status lm_score(const lm_scorer *s, const lm_row *row, size_t n);

#endif
