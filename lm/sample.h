/* Choosing the next token from logits. Order of the reference (spec language-models 7): top-p on the raw softmax, then
 * top-k, then temperature as a power of what is left. */
#ifndef LINNET_LM_SAMPLE_H
#define LINNET_LM_SAMPLE_H

#include "kernels/base.h"

typedef struct {
  float temperature; /* 0 = greedy (the first largest logit) */
  float top_p;       /* >= 1 = off */
  int top_k;         /* 0 = off */
} sample_options;

/* Draws one of n tokens. *log_probability (may be NULL) receives its natural log probability under the plain softmax.
 * `scratch`: room for 2n floats. */
int32_t sample_token(const float *logits, int n, const sample_options *options, rng *random, float *scratch,
                     double *log_probability);
/* log(sum(exp(logits))) */
double log_sum_exp(const float *logits, int n);

#endif
