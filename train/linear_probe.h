/* Linear probes: multinomial logistic regression on frozen features, as CLIP's evaluation has it (spec rwkv-clip 9.3).
 *
 * The weights minimise C * (sum of log losses) + |W|^2 / 2, the bias being free, found by L-BFGS from zero. */
#ifndef LINNET_TRAIN_LINEAR_PROBE_H
#define LINNET_TRAIN_LINEAR_PROBE_H

#include "kernels/base.h"

typedef struct {
  size_t n, D, classes;
  const float *features;  /* [n,D], as the image tower gives them, not normalised */
  const int32_t *targets; /* [n], in 0..classes-1 */
} probe_data;

typedef struct {
  double C;           /* of the published protocol 0.316 */
  int max_iterations; /* 1000 */
  double tolerance;   /* of the gradient of the mean loss; 1e-4 */
} probe_options;
extern const probe_options probe_published;

typedef struct {
  size_t D, classes;
  double *weights; /* [classes,D], then the biases [classes] */
  int iterations;
  bool converged;
} linear_probe;

status linear_probe_fit(linear_probe *p, const probe_data *train, const probe_options *options);
void linear_probe_free(linear_probe *p);
/* Logits [n,classes] of features [n,D]. */
status linear_probe_logits(const linear_probe *p, const float *features, size_t n, float *logits);

/* The C with the best top-1 on `valid` among 10^-6..10^6, eight a decade: the seven even decades first, then ever
 * narrower around the best. Of equal ones the strongest regularisation counts. *accuracy in percent. */
status linear_probe_sweep(const probe_data *train, const probe_data *valid, const probe_options *options, double *C,
                          double *accuracy);

#endif
