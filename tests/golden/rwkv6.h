/* An RWKV-6 checkpoint opened for a golden case. */
#ifndef LINNET_TESTS_GOLDEN_RWKV6_H
#define LINNET_TESTS_GOLDEN_RWKV6_H

#include "lm/rwkv6.h"
#include "tests/golden/runner.h"

typedef struct {
  param_set set;
  rwkv6 lm;
  char prefix[CHECKPOINT_NAME_MAX];
} golden_lm;

/* From the case's model; what stands before "emb.weight" in its names is found. Failures are noted. */
bool golden_lm_open(golden_case *k, golden_lm *m);
void golden_lm_close(golden_lm *m);

/* Ids against a vocabulary; a failure is noted. */
bool golden_ids_in(golden_case *k, const tensor *ids, int vocabulary);
/* Columns [from, from+n) of ids [B,T]. */
tensor *golden_columns(ctx *c, const tensor *ids, int64_t from, int64_t n);

#endif
