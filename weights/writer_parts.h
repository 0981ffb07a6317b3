/* Between writer.c and what differs from container to container: the bytes before the data (safetensors_write.c,
 * gguf_write.c). */
#ifndef LINNET_WEIGHTS_WRITER_PARTS_H
#define LINNET_WEIGHTS_WRITER_PARTS_H

#include "weights/checksum.h"
#include "weights/writer.h"

typedef struct {
  char *key;
  metadata_value value; /* its bytes belong to the writer */
} writer_entry;

typedef struct {
  char *name;
  checkpoint_dtype dtype;
  bool interleaved;
  int n_dims;
  int64_t dim[CHECKPOINT_DIMS];
  size_t bytes, begin; /* the second counts from the beginning of the data; set by writer_place() */
} writer_tensor;

/* What was declared, without what the writer adds itself. */
typedef struct {
  writer_entry *entries;
  size_t entry_count, entry_capacity;
  writer_tensor *tensors;
  size_t count, capacity;
} writer_content;

typedef struct {
  metadata_bytes bytes; /* all before the first tensor's data */
  size_t digits;        /* where in them the checksum stands, CHECKSUM_ZERO for now */
  size_t alignment;     /* each tensor's data is filled up with zeros to a multiple of it */
} writer_header;

/* STATUS_UNSUPPORTED if the tensors cannot all have an address. */
status writer_place(writer_content *content, size_t alignment);
/* [2,3]; NULL if memory is short. */
json_t *writer_shape(int n_dims, const int64_t *dim);

/* A failed allocation may also be left in `bytes.failed`. STATUS_ARGUMENT or STATUS_UNSUPPORTED for what the container
 * cannot hold, with a sentence that begins with what it is. */
status safetensors_header(writer_content *content, writer_header *header);
status gguf_header(writer_content *content, writer_header *header);

#endif
