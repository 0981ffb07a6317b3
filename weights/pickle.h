/* A data-only reader of Python pickles, as far as PyTorch writes them (protocols 2 to 4): bytes become a tree of
 * values, and nothing is ever called. What a pickle asks to call is looked up in two fixed lists: what tensors are made
 * of, and plain records beside them, which become opaque values; anything else is refused by its name. Rules: spec
 * ecosystem section 6.
 *
 * Memory stays in proportion to the pickle: a value takes at least one byte of it. Values may be shared and, in hostile
 * pickles, contain themselves: walk the tree to a fixed depth. */
#ifndef LINNET_WEIGHTS_PICKLE_H
#define LINNET_WEIGHTS_PICKLE_H

#include "kernels/base.h"
#include "weights/checkpoint.h"

#define PICKLE_BYTES_MAX (1 << 24) /* the largest pickle that is read */

typedef enum {
  PICKLE_NONE,
  PICKLE_BOOL,
  PICKLE_INT,
  PICKLE_FLOAT,
  PICKLE_STRING, /* text or bytes */
  PICKLE_TUPLE,
  PICKLE_LIST,
  PICKLE_DICT,    /* items: key, value, key, value, ... */
  PICKLE_GLOBAL,  /* a class or function that is only named; text: "module.name" */
  PICKLE_STORAGE, /* text: its key */
  PICKLE_TENSOR,  /* items: storage, int offset, tuple of int sizes, as many int strides */
  PICKLE_OPAQUE,  /* something that no tensor needs; text: what made it */
} pickle_kind;

typedef struct pickle_value pickle_value;
struct pickle_value {
  pickle_kind kind;
  checkpoint_dtype dtype; /* storages */
  union {
    int64_t integer; /* also of storages: how many elements */
    double real;
    bool truth;
  };
  const char *text; /* `count` bytes, not ended by a zero */
  pickle_value **items;
  size_t count, capacity;
};

typedef struct pickle pickle;

/* Parses the whole pickle; `bytes` must stay until pickle_free(). NULL with a sentence that begins with what is wrong:
 * STATUS_FORMAT, STATUS_UNSUPPORTED (a call that is refused), STATUS_MEMORY. */
pickle *pickle_parse(const void *bytes, size_t size);
const pickle_value *pickle_root(const pickle *p);
void pickle_free(pickle *p); /* NULL is fine */

/* The value of a string key: the last one, as Python would have it. NULL, without a sentence, if `dict` is no dict or
 * lacks it. */
const pickle_value *pickle_find(const pickle_value *dict, const char *key);

#endif
