/* Between pickle.c (the machine: a stack, a memo, the instructions) and pickle_calls.c (what its calls give). */
#ifndef LINNET_WEIGHTS_PICKLE_MACHINE_H
#define LINNET_WEIGHTS_PICKLE_MACHINE_H

#include "weights/pickle.h"

typedef struct pickle_block pickle_block;

struct pickle {
  const uint8_t *data;
  size_t size, at;
  pickle_block *blocks;
  pickle_value **stack; /* NULL is a mark */
  size_t count, capacity;
  pickle_value **memo; /* NULL where nothing is */
  size_t memo_count, memo_capacity;
  size_t values, items, globals;
  pickle_value *root;
};

/* A new value on top of the stack; NULL with a sentence. */
pickle_value *pickle_push_new(pickle *p, pickle_kind kind);
status pickle_push(pickle *p, pickle_value *v);
/* The value on top of the stack, left there or taken off; NULL with a sentence if there is none. */
pickle_value *pickle_top(pickle *p);
pickle_value *pickle_pop(pickle *p);
status pickle_add_item(pickle *p, pickle_value *to, pickle_value *item);

/* For the `integer` of a global of this name: where it stands in the list of what may be called, or -1. */
int64_t pickle_callable(const pickle_value *global);
/* Pushes what callee(*args) stands for; both are off the stack. */
status pickle_call(pickle *p, const pickle_value *callee, const pickle_value *args);
/* Gives the state to the object, which stays on the stack. */
status pickle_set_state(pickle *p, pickle_value *object, pickle_value *state);
/* Pushes the storage of a persistent id: ('storage', class, key, device, elements). */
status pickle_push_storage(pickle *p, const pickle_value *id);

#endif
