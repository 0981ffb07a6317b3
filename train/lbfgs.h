/* L-BFGS: the minimum of a smooth function of many variables from its values and gradients. Nocedal & Wright, Numerical
 * Optimization (2006): algorithms 7.4 and 7.5 with the line search of 3.5 and 3.6 (strong Wolfe conditions). */
#ifndef LINNET_TRAIN_LBFGS_H
#define LINNET_TRAIN_LBFGS_H

#include "kernels/base.h"

/* The value at x [n]; its gradient goes to g [n]. */
typedef double (*lbfgs_function)(void *user, const double *x, double *g);

typedef struct {
  int memory;         /* steps that are remembered; 10 is usual */
  int max_iterations; /* steps at most */
  double tolerance;   /* the end: no part of the gradient is larger */
} lbfgs_options;

typedef struct {
  double value;
  int iterations;
  bool converged; /* by the tolerance, or because rounding lets nothing improve any more; else out of steps */
} lbfgs_report;

/* From x to the minimum, in place. STATUS_FORMAT if the function is not finite where it begins, STATUS_MEMORY. */
status lbfgs(lbfgs_function f, void *user, size_t n, double *x, const lbfgs_options *options, lbfgs_report *report);

#endif
