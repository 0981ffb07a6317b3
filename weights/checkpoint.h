/* An open file of named tensors, whatever its container: what loaders, converters and `inspect` read from.
 *
 * Safetensors, GGUF and rwkv.cpp files are mapped read-only, and everything about them is checked before
 * checkpoint_open() returns. Of a PyTorch archive the structure is checked; its storages are read when they are asked
 * for, and only then found to be damaged. Either way a tensor has exactly the bytes that its type and shape need.
 *
 * The mapping follows the file: do not let anything shorten or overwrite it in place while it is open (atomic_file.h
 * replaces files safely). A caller that cannot know reads the file into memory and uses checkpoint_parse().
 *
 * Names and shapes are the official ones. A prefix that training wrappers put before every name (module., _orig_mod.,
 * _forward_module.) is taken off, and a GGUF file in llama.cpp's layout is shown with the names, shapes and values of
 * the official model (llama_layout.h).
 *
 * An open checkpoint is immutable and may be read by any number of threads. Limits and rules: spec ecosystem section 6.
 */
#ifndef LINNET_WEIGHTS_CHECKPOINT_H
#define LINNET_WEIGHTS_CHECKPOINT_H

#include "kernels/base.h"
#include "weights/metadata.h"

#define CHECKPOINT_SYSTEM "linnet.system" /* the metadata in which our own models say what they are */
#define CHECKPOINT_DIMS 8                 /* most dimensions of a tensor */
#define CHECKPOINT_NAME_MAX 256           /* most bytes of a tensor's name */

/* How numbers are stored in a file (kernels compute in fewer types). The last ones are ggml's block types
 * (kernels/quant.h): a number of values along a row share their scales. */
typedef enum checkpoint_dtype {
  CHECKPOINT_F64,
  CHECKPOINT_F32,
  CHECKPOINT_F16,
  CHECKPOINT_BF16,
  CHECKPOINT_I64,
  CHECKPOINT_I32,
  CHECKPOINT_I16,
  CHECKPOINT_I8,
  CHECKPOINT_U64,
  CHECKPOINT_U32,
  CHECKPOINT_U16,
  CHECKPOINT_U8,
  CHECKPOINT_BOOL, /* one byte, 0 or 1 */
  CHECKPOINT_Q8_0,
  CHECKPOINT_Q4_0,
  CHECKPOINT_Q4_1,
  CHECKPOINT_Q5_0,
  CHECKPOINT_Q5_1,
  CHECKPOINT_Q4_K,
  CHECKPOINT_Q5_K,
  CHECKPOINT_Q6_K,
  CHECKPOINT_DTYPES /* how many there are */
} checkpoint_dtype;

typedef struct checkpoint checkpoint;

typedef struct {
  const char *name; /* UTF-8 without control characters */
  checkpoint_dtype dtype;
  int n_dims; /* 0 for a scalar */
  int64_t dim[CHECKPOINT_DIMS];
  size_t bytes;       /* what checkpoint_read() gives; may be 0 */
  const void *data;   /* the same bytes where they lie in memory as they are (any alignment), else NULL */
  const void *packed; /* of an interleaved tensor (interleaved.h), whose `data` is NULL: as it lies in the file */
  size_t source;      /* the reader's own */
} checkpoint_tensor;

typedef struct {
  const char *key;
  metadata_value value;
  const char *text; /* of a METADATA_STRING without zero bytes; else NULL */
} checkpoint_entry;

/* Opens a file, recognising its container by content; a folder or an index file of safetensors shards opens all of
 * them. NULL with a sentence that names the file and says what it looks like if it is none that can be read: STATUS_IO,
 * STATUS_FORMAT (damaged or something else), STATUS_UNSUPPORTED, STATUS_MEMORY. */
checkpoint *checkpoint_open(const char *path);
/* A PyTorch file may hold several dictionaries of tensors (model, ema, ...): `choice` names the one to take, as a path
 * of keys joined by dots. NULL takes the usual one (pth.c); STATUS_ARGUMENT if the file has no such. */
checkpoint *checkpoint_open_choice(const char *path, const char *choice);
/* The same on bytes in memory, which must stay until checkpoint_close(); `name` stands for the file in sentences. */
checkpoint *checkpoint_parse(const void *data, size_t bytes, const char *name);
checkpoint *checkpoint_parse_choice(const void *data, size_t bytes, const char *name, const char *choice);
void checkpoint_close(checkpoint *c); /* NULL is fine */
/* One more owner, who closes it too: the last one to do so ends it. For those who keep on using what lies in the file's
 * mapping. NULL, without a sentence, of bytes in memory, which are the caller's. */
checkpoint *checkpoint_share(const checkpoint *c);

const char *checkpoint_path(const checkpoint *c);      /* as given to open or parse */
const char *checkpoint_container(const checkpoint *c); /* "safetensors", "gguf", "pth", "torchscript", "rwkv.cpp" */
/* Of a model in several files those beside checkpoint_path(), from 0 on; NULL beyond the last. */
const char *checkpoint_part_path(const checkpoint *c, size_t index);
/* The dictionaries to choose from, the one taken first, joined by ", "; "" where there is no choice. */
const char *checkpoint_choices(const checkpoint *c);
/* The prefix that was taken off every name; "" if none. */
const char *checkpoint_prefix(const checkpoint *c);

/* Tensors, in the order of their data in the file (pth: in the order of the dictionary that holds them). */
size_t checkpoint_count(const checkpoint *c);
const checkpoint_tensor *checkpoint_at(const checkpoint *c, size_t index);
/* NULL with a STATUS_FORMAT sentence if there is none of that name. O(log count). */
const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name);

/* What the file carries beside its tensors, in its order. NULL, without a sentence, if absent. */
size_t checkpoint_metadata_count(const checkpoint *c);
const checkpoint_entry *checkpoint_metadata_at(const checkpoint *c, size_t index);
const checkpoint_entry *checkpoint_metadata_find(const checkpoint *c, const char *key);
const char *checkpoint_metadata(const checkpoint *c, const char *key); /* the text of one that is a text */

/* Copies a part of a tensor's bytes; offset and bytes are multiples of checkpoint_dtype_size() within t->bytes. Reading
 * a tensor from its beginning to its end in order is the fast way, and of a PyTorch archive the one that tests its
 * checksum. STATUS_IO, STATUS_FORMAT, STATUS_UNSUPPORTED, STATUS_MEMORY. */
status checkpoint_read(const checkpoint *c, const checkpoint_tensor *t, size_t offset, size_t bytes, void *out);

/* Reads a tensor of any type as f32: out[checkpoint_elements(t)], or n values from `first` on (whole blocks of a block
 * type). F32, F16, BF16 and block types are exact; F64 is rounded to nearest. STATUS_UNSUPPORTED if an integer has no
 * exact f32 or a finite F64 is beyond its range, STATUS_FORMAT if a BOOL is neither 0 nor 1, else as checkpoint_read().
 * NaN and infinities pass: see below. */
status checkpoint_read_f32(const checkpoint *c, const checkpoint_tensor *t, float *out);
status checkpoint_read_f32_part(const checkpoint *c, const checkpoint_tensor *t, int64_t first, int64_t n, float *out);

/* The index of the first NaN or infinite element, -1 if there is none (always for integers). */
status checkpoint_first_nonfinite(const checkpoint *c, const checkpoint_tensor *t, int64_t *index);
/* For loaders: STATUS_FORMAT with file, tensor, value and place if a tensor holds NaN or infinity. */
status checkpoint_check_finite(const checkpoint *c, const checkpoint_tensor *t);

/* Tests what can be tested of a whole file: the checksum that our own files carry (writer.h), the checksums of an
 * archive's entries, that everything can be read. *has_checksum says whether the file carries any. STATUS_FORMAT if
 * one is wrong. */
status checkpoint_verify(const checkpoint *c, bool *has_checksum);

int64_t checkpoint_elements(const checkpoint_tensor *t);
/* A type's unit: this many bytes hold this many values (1, but of block types). */
size_t checkpoint_dtype_size(checkpoint_dtype dtype);
size_t checkpoint_dtype_block(checkpoint_dtype dtype);
/* "F32", "BF16", ...: the words of safetensors; of block types ggml's: "Q8_0" */
const char *checkpoint_dtype_name(checkpoint_dtype dtype);
/* false if there is no such type */
bool checkpoint_dtype_parse(const char *word, checkpoint_dtype *dtype);
/* Whether some of its tensors are interleaved. */
bool checkpoint_is_interleaved(const checkpoint *c);
/* Bytes of a tensor; false if there are too many dimensions, one is negative, the product, even with the zero
 * dimensions left out, does not fit (so that no product of any of the dimensions overflows an int64_t later), or the
 * last dimension is no multiple of the type's block. */
bool checkpoint_shape_bytes(checkpoint_dtype dtype, int n_dims, const int64_t *dim, size_t *bytes);
/* "[2,3,4]" into a buffer of at least CHECKPOINT_SHAPE_TEXT bytes; returns it. */
#define CHECKPOINT_SHAPE_TEXT 192
const char *checkpoint_shape_text(int n_dims, const int64_t *dim, char *text);

#endif
