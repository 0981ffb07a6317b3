/* What the values of a stored tensor are like. */
#ifndef LINNET_WEIGHTS_STATISTICS_H
#define LINNET_WEIGHTS_STATISTICS_H

#include "weights/checkpoint.h"

typedef struct {
  int64_t count, zeros, nans, infinities;
  double min, max, mean,
      deviation; /* of the finite values; 0 if there are none. The deviation is that of a population */
} tensor_statistics;

/* Reads the tensor once, a piece at a time. Integers beyond what f32 holds exactly and F64 beyond its range fail as
 * checkpoint_read_f32() does. */
status tensor_statistics_read(const checkpoint *c, const checkpoint_tensor *t, tensor_statistics *out);

#endif
