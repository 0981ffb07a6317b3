/* What the tests of kernels share: arrays between guard words, random contents, comparison with float64 results, and
 * the loop over the instruction sets that this machine has. Failures end the running cmocka test. */
#ifndef LINNET_TESTS_KERNEL_CHECK_H
#define LINNET_TESTS_KERNEL_CHECK_H

#include "kernels/cpu/cpu.h"

#include <stddef.h>

/* An array of n floats between guard words that no kernel may touch. The contents start as NaN, so that an output which
 * is never written, or is added to before it is written, is noticed. Start is 4 bytes past a multiple of 64: kernels
 * must not assume alignment. */
float *guarded(size_t n);
float *guarded_random(size_t n, uint64_t seed, float low, float high);
float *guarded_fill(size_t n, float value);
float *guarded_copy(const float *from, size_t n);
void guarded_check(const float *p); /* fails the test if a guard word changed */
void guarded_free(float *p);        /* checks first; NULL is fine */
double *zeros64(size_t n);          /* calloc that fails the test; free() */

/* Every element: |got - want| <= tolerance * (|want| + floor). `what` goes into the message. */
void check_close(const char *what, const float *got, const double *want, size_t n, double tolerance, double floor);
/* The whole array: |got - want|_2 <= tolerance * (|want|_2 + floor * sqrt(n)), and every element finite. The floor is
 * the size of the terms whose sum an element is, for elements that may cancel; 0 = purely relative. */
void check_l2(const char *what, const float *got, const double *want, size_t n, double tolerance, double floor);

/* A product with these weights [N,K], rounded to the type and packed, and x [M,K], which becomes the product's own; y
 * is guarded. */
packed_product packed_product_new(dtype type, size_t M, size_t N, size_t K, const float *weights, float *x);
void packed_product_free(packed_product *p);
/* By the kernel for its type and number of rows. */
void packed_product_run(const cpu_kernels *k, const packed_product *p);

/* Runs the test with every table of kernels that this machine has: the full ones, or also those that start as another
 * and add some kernels, which only the tests of those families need. */
void for_each_variant(void (*test)(const cpu_kernels *k));
void for_each_table(void (*test)(const cpu_kernels *k));

#endif
