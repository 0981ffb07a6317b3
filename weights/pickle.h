/* A data-only reader of Python pickles, as far as PyTorch writes them (protocols 2 to 5): bytes become a tree of
 * values, and nothing is ever called. What a pickle asks to call is looked up in one fixed list (pickle_calls.c): what
 * tensors are made of, objects of TorchScript programs, and plain records beside them, which become opaque values;
 * anything else is refused by its name. Rules: spec ecosystem section 6.
 *
 * Memory stays in proportion to the pickle, and is bounded besides. Values may be shared and, in hostile pickles,
 * contain themselves: walk the tree to a fixed depth, and count what is visited. */
#ifndef LINNET_WEIGHTS_PICKLE_H
#define LINNET_WEIGHTS_PICKLE_H

#include "kernels/base.h"
#include "weights/checkpoint.h"

/* The largest pickle that is read: mmengine keeps the history of a training in it. */
#define PICKLE_BYTES_MAX (1 << 27)

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
  PICKLE_STORAGE, /* text: its key; items: its class, a PICKLE_GLOBAL */
  PICKLE_TENSOR,  /* items: storage, int offset, tuple of int sizes, as many int strides, all in elements of `dtype` */
  PICKLE_UNREAD,  /* a tensor of a type or layout that is not read; text: which */
  PICKLE_OBJECT,  /* of a class of a TorchScript program; items: its state (a dict of attributes), or none */
  PICKLE_OPAQUE,  /* something that no tensor needs; text: what made it */
} pickle_kind;

typedef struct pickle_value pickle_value;
struct pickle_value {
  pickle_kind kind;
  checkpoint_dtype dtype; /* storages and tensors; of a storage CHECKPOINT_DTYPES if its type is not read */
  union {
    int64_t integer; /* also of storages: how many elements; of globals: pickle_calls.c's */
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

/* Whether a string, a global's name or an opaque value's is this text. */
bool pickle_says(const pickle_value *v, const char *text);
/* How much of a text a sentence quotes: for "%.*s". */
int pickle_quoted(const pickle_value *v);

#endif
