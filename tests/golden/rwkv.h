/* An RWKV checkpoint of any version opened for a golden case, and what else its folders hold. */
#ifndef LINNET_TESTS_GOLDEN_RWKV_H
#define LINNET_TESTS_GOLDEN_RWKV_H

#include "lm/rwkv.h"
#include "tests/golden/runner.h"

typedef struct {
  param_set set;
  rwkv lm;
  char prefix[CHECKPOINT_NAME_MAX];
} golden_lm;

/* From the case's model; what stands before "emb.weight" in its names is found. Failures are noted. */
bool golden_lm_open(golden_case *k, golden_lm *m);
void golden_lm_close(golden_lm *m);

/* Ids against a vocabulary; a failure is noted. */
bool golden_ids_in(golden_case *k, const tensor *ids, int vocabulary);
/* Columns [from, from+n) of ids [B,T]. */
tensor *golden_columns(ctx *c, const tensor *ids, int64_t from, int64_t n);

/* States [...,N,N] with keys and values exchanged. */
tensor *golden_exchanged(ctx *c, const tensor *s);

/* Cases without a model: the recurrence of one version with and without states, and sampling. */
void golden_run_recurrence(golden_case *k);
void golden_run_sampling(golden_case *k);

#endif
