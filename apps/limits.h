/* What this machine can do at most, measured now: what benchmarks compare with. All threads work. */
#ifndef LINNET_APPS_LIMITS_H
#define LINNET_APPS_LIMITS_H

#include "kernels/base.h"
#include "kernels/cpu/cpu.h"

/* Seconds that reading n bytes takes, once: the best of the ways of read_way. */
double limit_read_seconds(const void *from, size_t n);

/* A buffer to read. */
typedef struct {
  void *memory;
  size_t n;
} limit_buffer;
status limit_buffer_new(limit_buffer *b, size_t n); /* every page of it is there */
void limit_buffer_free(limit_buffer *b);
double limit_read_rate(const limit_buffer *b); /* bytes a second */

/* Operations (multiplications and additions) a second of an instruction that works on registers alone; 0 if the chosen
 * kernels' instruction set has none of that kind. */
double limit_peak(peak_kind kind);
const char *limit_peak_name(peak_kind kind); /* "f32", "int16", "int8" */
/* The kind that products of many rows are computed with when weights have this type (product_quant.c, product_half.c).
 */
peak_kind limit_kind(dtype weights);

/* The most GFLOP/s that f32 matrix products reach here: the best time of a few shapes. */
status limit_sgemm(double *gflops);
/* That before and after `runs` rounds, the better of the two in *gflops. A round gives its rate; one before them warms
 * up. */
status limit_sgemm_beside(int runs, status (*round)(void *user, double *rate), void *user, double *rates,
                          double *gflops);

#endif
