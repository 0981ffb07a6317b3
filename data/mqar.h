/* Multi-query associative recall: key-value pairs, then some of the keys again, each at a place drawn from a power law;
 * at every one of these the value that went with the key is asked for. The task of zoology (arXiv 2312.04927); spec
 * goldfinch 7.2. Examples are a pure function of (seed, number). */
#ifndef LINNET_DATA_MQAR_H
#define LINNET_DATA_MQAR_H

#include "kernels/base.h"

enum { MQAR_UNLABELLED = -100 };

typedef struct {
  int vocabulary;     /* keys are 1..V/2-1, values V/2..V-1; more than `length` */
  int length;         /* tokens of an example; even, at least 4 * pairs */
  int pairs;          /* and as many queries, each key once */
  double power;       /* slot t after the pairs (two tokens each) has the weight (t+1)^(power-1) */
  bool random_filler; /* what is neither pair nor query: any token instead of 0 */
} mqar_task;

/* The published sweep's: vocabulary 8192, power 0.01, filler 0. */
mqar_task mqar_task_of(int length, int pairs);
status mqar_check(const mqar_task *task);

typedef struct {
  mqar_task task;
  uint64_t seed;
  int slots;
  double *weight, *left; /* [slots]; left: those not yet drawn in the example being made */
  int32_t *pool;         /* 0, 1, 2, ... between examples */
} mqar;

status mqar_new(mqar *m, const mqar_task *task, uint64_t seed);
void mqar_free(mqar *m);
/* Example `number`: ids [length]. The query of pair i stands at at[i] and wants value[i] ([pairs] each). */
void mqar_make(mqar *m, uint64_t number, int32_t *ids, int32_t *at, int32_t *value);

#endif
