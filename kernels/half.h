/* The two 16-bit floating-point types: IEEE binary16 (f16: 5 bits of exponent, 10 of fraction) and bfloat16 (the upper
 * half of an f32).
 *
 * Widening is exact. Narrowing rounds to nearest, ties to even; what lies beyond the largest finite value becomes
 * infinite. The sign of zero and subnormals are kept; a NaN stays a NaN with its sign and the upper bits of its
 * payload, so that widening and narrowing again returns every one of the 65536 patterns unchanged. */
#ifndef LINNET_KERNELS_HALF_H
#define LINNET_KERNELS_HALF_H

#include <stddef.h>
#include <stdint.h>

float f16_to_f32(uint16_t half);
float bf16_to_f32(uint16_t half);
uint16_t f32_to_f16(float value);
uint16_t f32_to_bf16(float value);

/* n values. The 16-bit side is a place in a file and need not be aligned. */
void f16_to_f32_array(const void *in, size_t n, float *out);
void bf16_to_f32_array(const void *in, size_t n, float *out);
void f32_to_f16_array(const float *in, size_t n, void *out);
void f32_to_bf16_array(const float *in, size_t n, void *out);

#endif
