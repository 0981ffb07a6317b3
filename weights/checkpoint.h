/* An open file of named tensors, whatever its container: what loaders, converters and `inspect` read from.
 *
 * The file is mapped read-only and everything about it is checked before checkpoint_open() returns: afterwards every
 * tensor's `data` has `bytes` readable bytes, and they are exactly what its type and shape need. Data is little-endian
 * and NOT necessarily aligned to its type: copy it out (memcpy, checkpoint_read_f32) rather than casting the pointer.
 *
 * A PyTorch file's tensors are copied into memory when it is opened: each storage that they use once, those with other
 * strides than row-major once more.
 *
 * The mapping follows the file: do not let anything shorten or overwrite it in place while it is open (atomic_file.h
 * replaces files safely). A caller that cannot know reads the file into memory and uses checkpoint_parse().
 *
 * An open checkpoint is immutable and may be read by any number of threads. Limits and rules: spec ecosystem section 6.
 */
#ifndef LINNET_WEIGHTS_CHECKPOINT_H
#define LINNET_WEIGHTS_CHECKPOINT_H

#include "kernels/base.h"

#define CHECKPOINT_DIMS 8       /* most dimensions of a tensor */
#define CHECKPOINT_NAME_MAX 256 /* most bytes of a tensor's name */

/* How numbers are stored in a file (kernels compute in fewer types). */
typedef enum checkpoint_dtype {
  CHECKPOINT_F64,
  CHECKPOINT_F32,
  CHECKPOINT_F16,
  CHECKPOINT_BF16,
  CHECKPOINT_I64,
  CHECKPOINT_I32,
  CHECKPOINT_I16,
  CHECKPOINT_I8,
  CHECKPOINT_U8,
  CHECKPOINT_BOOL,  /* one byte, 0 or 1 */
  CHECKPOINT_DTYPES /* how many there are */
} checkpoint_dtype;

typedef struct checkpoint checkpoint;

typedef struct {
  const char *name; /* UTF-8 without control characters */
  checkpoint_dtype dtype;
  int n_dims; /* 0 for a scalar */
  int64_t dim[CHECKPOINT_DIMS];
  const void *data; /* little-endian, row-major, any alignment */
  size_t bytes;     /* dtype size x product of dims; may be 0 */
} checkpoint_tensor;

/* Opens a file, recognising its container by content. NULL with a sentence that names the file and says what it looks
 * like if it is none that can be read: STATUS_IO, STATUS_FORMAT (damaged or something else), STATUS_UNSUPPORTED,
 * STATUS_MEMORY. */
checkpoint *checkpoint_open(const char *path);
/* The same on bytes in memory, which must stay until checkpoint_close(); `name` stands for the file in sentences. */
checkpoint *checkpoint_parse(const void *data, size_t bytes, const char *name);
void checkpoint_close(checkpoint *c); /* NULL is fine */

const char *checkpoint_path(const checkpoint *c);      /* as given to open or parse */
const char *checkpoint_container(const checkpoint *c); /* "safetensors", "pth" */

/* Tensors, in the order of their data in the file (pth: in the order of the dictionary that holds them). */
size_t checkpoint_count(const checkpoint *c);
const checkpoint_tensor *checkpoint_at(const checkpoint *c, size_t index);
/* NULL with a STATUS_FORMAT sentence if there is none of that name. O(log count). */
const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name);

/* Strings that the file carries beside its tensors. checkpoint_metadata() is NULL, without a sentence, if absent. */
const char *checkpoint_metadata(const checkpoint *c, const char *key);
size_t checkpoint_metadata_count(const checkpoint *c);
void checkpoint_metadata_at(const checkpoint *c, size_t index, const char **key, const char **value);

/* Reads a tensor of any type as f32: out[checkpoint_elements(t)]. F32, F16 and BF16 are exact; F64 is rounded to
 * nearest. STATUS_UNSUPPORTED if an integer has no exact f32 or a finite F64 is beyond its range, STATUS_FORMAT if a
 * BOOL is neither 0 nor 1. NaN and infinities pass: see below. */
status checkpoint_read_f32(const checkpoint *c, const checkpoint_tensor *t, float *out);

/* The index of the first NaN or infinite element, -1 if there is none (always for integers). */
int64_t checkpoint_first_nonfinite(const checkpoint_tensor *t);
/* For loaders: STATUS_FORMAT with file, tensor, value and place if a tensor holds NaN or infinity. */
status checkpoint_check_finite(const checkpoint *c, const checkpoint_tensor *t);

int64_t checkpoint_elements(const checkpoint_tensor *t);
size_t checkpoint_dtype_size(checkpoint_dtype dtype);
const char *checkpoint_dtype_name(checkpoint_dtype dtype); /* "F32", "BF16", ...: the words of safetensors */
/* false if there is no such type */
bool checkpoint_dtype_parse(const char *word, checkpoint_dtype *dtype);
/* Bytes of a tensor; false if there are too many dimensions, one is negative, or the product, even with the zero
 * dimensions left out, does not fit (so that no product of any of the dimensions overflows an int64_t later). */
bool checkpoint_shape_bytes(checkpoint_dtype dtype, int n_dims, const int64_t *dim, size_t *bytes);
/* "[2,3,4]" into a buffer of at least CHECKPOINT_SHAPE_TEXT bytes; returns it. */
#define CHECKPOINT_SHAPE_TEXT 192
const char *checkpoint_shape_text(int n_dims, const int64_t *dim, char *text);

#endif
