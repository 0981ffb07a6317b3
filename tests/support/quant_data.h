/* The values on which quantization is measured: the same, from the same seeds, in the test and in the benchmark. */
#ifndef LINNET_TESTS_QUANT_DATA_H
#define LINNET_TESTS_QUANT_DATA_H

#include <stddef.h>

enum { QUANT_DATA_SETS = 11, QUANT_DATA_VALUES = 65536 };

const char *quant_data_name(int set);
void quant_data_fill(int set, float x[QUANT_DATA_VALUES]);

/* Errors of `decoded`, in units of the root mean square of x. */
typedef struct {
  double rms, worst;
} quant_error;
quant_error quant_error_of(size_t n, const float *x, const float *decoded);

#endif
