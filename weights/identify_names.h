/* A checkpoint's tensor names, sorted so that a name is found with or without its numbers: "blocks.#.att.r_k" is that
 * tensor of any block. For identify. */
#ifndef LINNET_WEIGHTS_IDENTIFY_NAMES_H
#define LINNET_WEIGHTS_IDENTIFY_NAMES_H

#include "weights/checkpoint.h"

typedef struct name_entry name_entry;

typedef struct {
  name_entry *entry;
  size_t count;
} name_index;

status name_index_build(name_index *index, const checkpoint *file);
void name_index_free(name_index *index);

/* The tensor called root + name. At most one number of `name` may be '#', which stands for any: the lowest there is.
 * NULL, without a sentence, if there is none. */
const checkpoint_tensor *name_find(const name_index *index, const char *root, const char *name);
/* One more than the largest number that stands for '#' in root + name; 0 if there is none. Numbers that are not below
 * the count of tensors are no numbers of layers and do not count. */
int64_t name_count(const name_index *index, const char *root, const char *name);
/* A dimension of that tensor; 0 if there is none, or the dimension is not in 1..2^31-1. */
int64_t name_dim(const name_index *index, const char *root, const char *name, int axis);

#endif
