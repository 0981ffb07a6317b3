/* Checks an operator forward and backward. The test gives the operator and its definition in float64; the f32 result is
 * compared with the definition, and the f32 gradient of sum(y * gy), gy random, with central differences of the
 * definition (step 1e-5, all in float64) for every element of every differentiable input. Failures end the running
 * cmocka test.
 *
 * Each case runs with fresh gradients, with gradients that already hold something (all of them, then every other one),
 * and with one input at a time wanting a gradient, since operators treat these differently. */
#ifndef LINNET_TESTS_GRADCHECK_H
#define LINNET_TESTS_GRADCHECK_H

#include "kernels/ops.h"

#include <stddef.h>

enum { CHECK_INPUTS = 24, CHECK_OUTPUTS = 2 };

/* Uniform in low..high (both 0: -1..1), no nearer to zero than `margin` (keeps away from kinks). */
typedef struct {
  int64_t dim[TENSOR_DIMS]; /* ends at the first 0 */
  double low, high, margin;
  bool constant; /* takes no gradient */
} check_input;

typedef struct gradcheck_case {
  const char *name;
  int n_in, n_out;
  check_input in[CHECK_INPUTS];
  const void *arg; /* whatever both functions need */
  void (*run)(ctx *c, const struct gradcheck_case *k, tensor *const in[], tensor *out[]);
  /* Outputs arrive zeroed. */
  void (*define)(const struct gradcheck_case *k, double *const in[], double *const out[]);
  double forward_tolerance, gradient_tolerance; /* relative L2; 0: 1e-5 and 1e-4 */
} gradcheck_case;

void gradcheck(const gradcheck_case *k);

int check_dims(const check_input *in);     /* number of dimensions */
size_t check_count(const check_input *in); /* elements */
size_t check_last(const check_input *in);  /* the last dimension */
size_t check_rows(const check_input *in);  /* elements / last */

/* sum over elements of y * gy as a one-element tensor, recorded: the loss of the checks. gy must outlive backward. */
tensor *weighted_sum(ctx *c, tensor *y, const float *gy);

/* A tensor in the context with random contents; the same seed gives the same contents. */
tensor *random_tensor(ctx *c, int n_dims, const int64_t *dim, uint64_t seed, bool needs_grad);

/* Two results that only rounding may part: relative L2 1e-6. */
void check_same(const char *what, const tensor *got, const tensor *want);

#endif
