/* IDX files, as MNIST and its like are published: an array of bytes of any number of dimensions, packed with gzip or
 * not.
 *
 *   0 0 TYPE DIMENSIONS, each dimension as 32 bits with the highest byte first, then the values. Only TYPE 8 (unsigned
 *   bytes) is read: pictures [n,height,width] and labels [n]. */
#ifndef LINNET_DATA_IDX_H
#define LINNET_DATA_IDX_H

#include "kernels/base.h"

enum { IDX_DIMS = 4 };
#define IDX_MOST_BYTES ((size_t)1 << 29) /* of an array */

typedef struct {
  int n_dims; /* 1 to IDX_DIMS */
  size_t dim[IDX_DIMS];
  const uint8_t *values;
  void *memory; /* that holds them, if they are the array's own */
} idx_array;

/* Whether bytes begin as an IDX file may: with two zero bytes, or as gzip. */
bool idx_may_be(const void *bytes, size_t n);
/* Reads a file whose array has n_dims dimensions, none of them 0. Every size is checked; nothing may follow the values.
 * Free with idx_free, which does no harm after a failure. */
status idx_read(idx_array *a, const char *path, int n_dims);
/* The same of n bytes that stand in memory and stay there; `name` begins sentences. */
status idx_parse(idx_array *a, const void *bytes, size_t n, int n_dims, const char *name);
void idx_free(idx_array *a);

#endif
