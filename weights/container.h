/* Between checkpoint.c and the readers of each container (safetensors.c, gguf.c, ...): the fields of an open
 * checkpoint, and how a reader fills it. A reader gets the whole file in data/size, checks it, and adds metadata and
 * tensors; its sentences begin with what is wrong, since checkpoint.c puts the file's name in front of them. */
#ifndef LINNET_WEIGHTS_CONTAINER_H
#define LINNET_WEIGHTS_CONTAINER_H

#include <stdatomic.h>

#include "kernels/quant.h"
#include "weights/checkpoint.h"

/* How the tensors whose `data` is NULL are read: offsets and sizes have been checked. Any number of threads may call
 * it at the same time. */
typedef struct {
  status (*read)(void *self, const checkpoint_tensor *t, size_t offset, size_t bytes, void *out);
  status (*verify)(void *self); /* checksums of its own; NULL if there are none */
  void (*close)(void *self);
  void *self;
} checkpoint_reader;

struct checkpoint {
  char *path;
  const char *container;
  const char *choice;  /* as given to checkpoint_open_choice(), during opening */
  char *prefix;        /* NULL: none */
  char *choices;       /* NULL: none */
  const uint8_t *data; /* the whole file */
  size_t size;
  bool mapped;          /* by file_map; else the bytes are the caller's */
  atomic_size_t shares; /* owners beside the first: checkpoint_share() */
  bool part;            /* opened by checkpoint_open_part() */
  checkpoint_tensor *tensors;
  size_t count, capacity;
  const checkpoint_tensor **by_name; /* sorted */
  checkpoint_entry *entries;         /* metadata */
  size_t entry_count, entry_capacity;
  const checkpoint_entry **by_key; /* sorted */
  void **owned;                    /* blocks of bytes that do not lie in the file as they are */
  size_t owned_count, owned_capacity;
  checkpoint **parts; /* shards, whose tensors these are */
  size_t part_count;
  checkpoint_reader reader;
};

/* Copies the name. `t->name` is checked by checkpoint_check_name(); shape, bytes and data by the reader. */
status checkpoint_add(checkpoint *c, const checkpoint_tensor *t);
/* Copies the key and makes `text`; the value's bytes stay where they are: in the file, or owned by the checkpoint. */
status checkpoint_add_entry(checkpoint *c, const char *key, const metadata_value *value);
/* A text, copied. */
status checkpoint_add_string(checkpoint *c, const char *key, const char *text);

/* Memory for tensor data or metadata that lives as long as the checkpoint. The reader bounds what it asks for. */
void *checkpoint_own(checkpoint *c, size_t bytes);

/* STATUS_FORMAT unless 1 to CHECKPOINT_NAME_MAX bytes of UTF-8 without control characters: names are printed to
 * terminals. */
status checkpoint_check_name(const char *name);

/* Sets n_dims and dim from a JSON list of whole numbers; the sentence goes on from a tensor's name. */
status checkpoint_shape_parse(const json_t *list, checkpoint_tensor *t);

/* The block type of a type; false if it is none. */
bool checkpoint_dtype_quant(checkpoint_dtype dtype, quant_type *type);

/* Whether n units of a type are all finite numbers. */
bool checkpoint_units_finite(checkpoint_dtype dtype, const uint8_t *in, size_t n);

/* Bytes of a tensor have been passed: whole files are read once, front to back, and what was read need not stay in
 * memory. */
void checkpoint_forget(const checkpoint *c, const uint8_t *bytes, size_t size);

/* The readers. */
status safetensors_read(checkpoint *c);
status shards_read(checkpoint *c); /* an index of safetensors shards, in files beside it */
status gguf_read(checkpoint *c);
/* After gguf_read(): opens the other parts of a model that llama.cpp's gguf-split cut; nothing for other files. */
status splits_read(checkpoint *c);
status rwkvcpp_read(checkpoint *c);
status pth_read(checkpoint *c);

/* Opens with a path without recognising prefixes or layouts: a shard. */
checkpoint *checkpoint_open_part(const char *path);

#endif
