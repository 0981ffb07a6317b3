/* Large f32 matrix products through OpenBLAS (its OpenMP build), opened at run time.
 *
 * OpenBLAS 0.3.21 takes processors newer than itself for old ones and then runs at half speed; the core type is read
 * when the library is loaded. So the library is opened by its own path with OPENBLAS_CORETYPE=SkylakeX where the
 * machine has AVX-512 (unless the user set that variable), and by the plain name elsewhere. */
#ifndef LINNET_KERNELS_BLAS_H
#define LINNET_KERNELS_BLAS_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/base.h"

/* Opens the library; any later call is free. STATUS_UNSUPPORTED with a sentence if there is none. Thread safe. */
status blas_open(void);
/* What products run on, "OpenBLAS 0.3.21 ..., core type SkylakeX, from /usr/lib/...", or why on nothing. Opens it. */
const char *blas_report(void);

/* C[m,n] = alpha * op(A)[m,k] op(B)[k,n] + beta * C, row-major, leading dimensions in floats; every size fits an int
 * (asserted). blas_open() must have succeeded. beta 0 ignores what C held. Threads are as many as OpenMP's. */
void sgemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
           const float *b, size_t ldb, float beta, float *c, size_t ldc);

#endif
