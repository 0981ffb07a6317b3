/* Choosing the next token from logits. Order of the reference (spec language-models 7): biases, penalties for what was
 * said, top-p on the raw softmax, then top-k, then min-p, then temperature as a power of what is left. All three cuts
 * look at the raw probabilities, so the strictest one counts whatever their order; that min-p stands before the
 * temperature matters. */
#ifndef LINNET_LM_SAMPLE_H
#define LINNET_LM_SAMPLE_H

#include "kernels/base.h"

typedef struct {
  float temperature; /* 0 = greedy (the first largest logit) */
  float top_p;       /* >= 1 = off */
  int top_k;         /* 0 = off */
  float min_p;       /* keeps what is at least this share of the largest probability; 0 = off */
} sample_options;

/* Draws one of n tokens. *log_probability (may be NULL) receives its natural log probability under the plain softmax.
 * `scratch`: room for 2n floats. */
int32_t sample_token(const float *logits, int n, const sample_options *options, rng *random, float *scratch,
                     double *log_probability);
/* The distribution that sample_token draws from: p[0..n) up to a factor, whose inverse, their sum, is returned. Greedy
 * ones share it among equals. `scratch`: room for n floats. */
double sample_weights(const float *logits, int n, const sample_options *options, float *p, float *scratch);
/* log(sum(exp(logits))); -infinity if all are that. */
double log_sum_exp(const float *logits, int n);

typedef struct {
  int32_t id;
  float add; /* to its logit; -INFINITY forbids it */
} logit_bias;

/* --- repetition --------------------------------------------------------------------------------------------------- */

typedef struct {
  float presence, frequency; /* off a logit: once if its token was said, and for every time that still counts */
  float decay;               /* of those counts, a token; 1 = none */
} penalty_options;

/* What was said so far. */
typedef struct {
  int n;
  float *count; /* [n], decayed; below 0: never said */
} spoken;
status spoken_new(spoken *s, int n);
void spoken_free(spoken *s);
/* Lowers the logits of what was said. */
void spoken_penalise(const spoken *s, const penalty_options *options, float *logits);
/* Notes one more token. `weight`: what it counts for, see spoken_weight. */
void spoken_add(spoken *s, const penalty_options *options, int32_t id, float weight);
/* 1; or 0 for digits and blanks, which the frequency penalty leaves alone: texts that are part of " \t0123456789". */
float spoken_weight(const char *text, size_t n);

#endif
