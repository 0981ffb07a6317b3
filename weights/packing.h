/* Matrices of files as products want them in memory (kernels/packed.h). */
#ifndef LINNET_WEIGHTS_PACKING_H
#define LINNET_WEIGHTS_PACKING_H

#include "kernels/packed.h"
#include "weights/checkpoint.h"

/* The type in memory of a stored type that can be packed: F16, BF16 and the block types. */
bool packed_type(checkpoint_dtype stored, dtype *type);
/* A whole matrix [dim[0],dim[1]] of such a type, packed into packed_bytes(), on all threads. STATUS_FORMAT as by
 * checkpoint_check_finite(), else as checkpoint_read(). */
status checkpoint_read_packed(const checkpoint *c, const checkpoint_tensor *t, void *packed);

/* The values first .. first + n - 1 of a packed matrix, row after row, exact. */
void packed_values(const packed_matrix *w, size_t first, size_t n, float *out);
/* The same as bytes in ggml's order; of block types whole blocks. */
void packed_part(const packed_matrix *w, size_t first, size_t n, void *out);

#endif
