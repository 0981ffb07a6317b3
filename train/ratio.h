/* A mean with its standard error, from sums: of s over n, where every unit (a document, a question, a token) brings
 * both. Units are taken as drawn independently, their tokens are not. With n = 1 in each it is the plain mean and its
 * sample error s / sqrt(units); else the linearised error of a ratio estimator (Cochran, Sampling Techniques, 1977,
 * section 6.3). */
#ifndef LINNET_TRAIN_RATIO_H
#define LINNET_TRAIN_RATIO_H

#include <stddef.h>

typedef struct {
  size_t units;
  double n, s, nn, ns, ss; /* sums of n, s and their products */
} ratio_sum;

void ratio_add(ratio_sum *r, double n, double s);

typedef struct {
  double value, error; /* error: NaN of fewer than two units; value: NaN of none */
} estimate;

estimate ratio_of(const ratio_sum *r);
estimate estimate_scaled(estimate e, double factor);
estimate estimate_exp(estimate e); /* to first order */

#endif
