/* Interleaved tensors: matrices that a GGUF file holds in the order in which products read them (kernels/packed.h), so
 * that a model can be used where it lies in the file.
 *
 * To whoever reads a checkpoint such a tensor looks like any other: it has the type, the shape and the bytes that it
 * would have in ggml's order. Only checkpoint_tensor.packed says where it lies as it is. */
#ifndef LINNET_WEIGHTS_INTERLEAVED_H
#define LINNET_WEIGHTS_INTERLEAVED_H

#include "weights/checkpoint.h"

#define INTERLEAVED_ALIGNMENT 64 /* of the data of a file that holds such tensors */

/* Whether a file may hold a tensor so: a matrix of a block type, F16 or BF16 with rows by the sixteen, in which no byte
 * is added. */
bool interleaved_fits(checkpoint_dtype type, int n_dims, const int64_t *dim);
/* Of such a tensor, the bytes of a panel: 16 rows in either order. */
size_t interleaved_panel_bytes(checkpoint_dtype type, const int64_t *dim);
/* A panel from its rows in ggml's order. */
void interleaved_panel(checkpoint_dtype type, const int64_t *dim, const void *rows, void *panel);
/* Bytes of an interleaved tensor as checkpoint_read() gives them. */
void interleaved_read(const checkpoint_tensor *t, size_t offset, size_t bytes, void *out);

#endif
