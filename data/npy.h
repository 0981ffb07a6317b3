/* Arrays of numbers as NumPy keeps them, files .npy of f32 or f16 (NumPy Enhancement Proposal 1 and numpy.lib.format,
 * versions 1.0 to 3.0):
 *
 *   "\x93NUMPY", major, minor, length of the header (u16, from version 2 u32), the header, the values
 *
 * The header is a Python dictionary, {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, filled up with blanks
 * and ended with a line end, so that the values begin at a multiple of 64. */
#ifndef LINNET_DATA_NPY_H
#define LINNET_DATA_NPY_H

#include "kernels/base.h"

typedef enum { NPY_F32, NPY_F16 } npy_type;
enum { NPY_DIMS = 8 };

/* --- reading ------------------------------------------------------------------------------------------------------ */

typedef struct {
  npy_type type;
  int n_dims;
  size_t dim[NPY_DIMS], count; /* count: values in all */
  const unsigned char *values; /* little-endian, not aligned */
  const void *mapped;          /* the file, if it was opened by name */
  size_t n_mapped;
} npy;

/* Maps a file. Other types than f32 and f16, and arrays of columns, are STATUS_UNSUPPORTED; a file whose size is not
 * what its header says is STATUS_FORMAT. Close it, also after a failure. */
status npy_open(npy *a, const char *path);
/* The same from n bytes that outlive it; `name` is for sentences. */
status npy_parse(npy *a, const void *bytes, size_t n, const char *name);
void npy_close(npy *a);
/* Values [first, first+n), which must be there, row-major. */
void npy_read(const npy *a, size_t first, size_t n, float *out);

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* A table that is written row by row, version 1.0, whole or not at all (kernels/atomic_file.h). */
typedef struct npy_writer npy_writer;

npy_writer *npy_create(const char *path, npy_type type, size_t columns); /* NULL with a sentence */
/* As f16, a value that would become infinite is STATUS_ARGUMENT. After a failure it is to be abandoned. */
status npy_write(npy_writer *w, const float *rows, size_t n_rows);
status npy_commit(npy_writer *w); /* frees it in every case */
void npy_abandon(npy_writer *w);  /* NULL is fine; leaves the error sentence alone */

#endif
