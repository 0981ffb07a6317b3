/* How numbers lie in a tensor. Values that are computed are f32; weights of products and tables may also keep the type
 * of their file, and then lie packed (packed.h). */
#ifndef LINNET_KERNELS_DTYPE_H
#define LINNET_KERNELS_DTYPE_H

#include "kernels/quant.h"

typedef enum {
  DTYPE_F32,
  DTYPE_I32,
  DTYPE_U8,
  DTYPE_F16, /* this one and the following packed */
  DTYPE_BF16,
  DTYPE_QUANT, /* + quant_type */
  DTYPES = DTYPE_QUANT + QUANT_TYPES
} dtype;

static inline dtype dtype_of_quant(quant_type type) { return (dtype)(DTYPE_QUANT + (int)type); }
static inline bool dtype_is_packed(dtype type) { return type >= DTYPE_F16; }
static inline bool dtype_is_quant(dtype type) { return type >= DTYPE_QUANT; }
static inline quant_type dtype_quant(dtype type) { return (quant_type)(type - DTYPE_QUANT); }

#endif
