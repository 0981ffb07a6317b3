/* Between checkpoint.c and the readers of each container (safetensors.c, ...): the fields of an open checkpoint, and
 * how a reader fills it. A reader gets the whole file in data/size, checks it, and adds metadata and tensors; its
 * sentences begin with what is wrong, since checkpoint_parse() puts the file's name in front of them. */
#ifndef LINNET_WEIGHTS_CONTAINER_H
#define LINNET_WEIGHTS_CONTAINER_H

#include "weights/checkpoint.h"

typedef struct {
  char *key, *value;
} checkpoint_string;

struct checkpoint {
  char *path;
  const char *container;
  const uint8_t *data; /* the whole file */
  size_t size;
  bool mapped; /* by file_map; else the bytes are the caller's */
  checkpoint_tensor *tensors;
  size_t count, capacity;
  const checkpoint_tensor **by_name; /* sorted */
  checkpoint_string *strings;
  size_t string_count, string_capacity;
  void **owned; /* blocks of tensor data that do not lie in the file as they are */
  size_t owned_count, owned_capacity;
};

/* Both copy their strings. `t->name` is checked by checkpoint_check_name(); shape, bytes and data by the reader. */
status checkpoint_add(checkpoint *c, const checkpoint_tensor *t);
status checkpoint_add_metadata(checkpoint *c, const char *key, const char *value);

/* Memory for tensor data that lives as long as the checkpoint. The reader bounds what it asks for. */
void *checkpoint_own(checkpoint *c, size_t bytes);

/* STATUS_FORMAT unless 1 to CHECKPOINT_NAME_MAX bytes without control characters: names are printed to terminals. */
status checkpoint_check_name(const char *name);

/* The readers. */
status safetensors_read(checkpoint *c);
status pth_read(checkpoint *c);

#endif
