/* A walk over the objects of a TorchScript program. See torchscript.h. */
#include "weights/torchscript.h"

#include <string.h>

#define DEPTH_MAX 32
#define VISIT_MAX (1 << 22) /* attributes in all: objects may be shared, and contain themselves */

typedef struct {
  char name[CHECKPOINT_NAME_MAX + 1];
  size_t visited;
  status (*found)(void *context, const char *name, size_t length, const pickle_value *tensor);
  void *context;
} walk;

/* An object's attributes; NULL if it has none. */
static const pickle_value *attributes(const pickle_value *object) {
  return object->count && object->items[0]->kind == PICKLE_DICT ? object->items[0] : NULL;
}

static bool counts(const pickle_value *v) {
  return v->kind == PICKLE_TENSOR || v->kind == PICKLE_UNREAD || v->kind == PICKLE_OBJECT;
}

/* The object's name is the first `length` bytes of w->name. */
static status visit(walk *w, const pickle_value *object, size_t length, int depth) {
  const pickle_value *dict = attributes(object);
  if (depth > DEPTH_MAX) return fail(STATUS_UNSUPPORTED, "its objects are nested more than %d deep", DEPTH_MAX);
  for (size_t i = 0; dict && i < dict->count; i += 2) {
    const pickle_value *key = dict->items[i], *value = dict->items[i + 1];
    if (w->visited++ == VISIT_MAX)
      return fail(STATUS_UNSUPPORTED, "its objects have more than %d attributes", VISIT_MAX);
    if (!counts(value)) continue;
    if (key->kind != PICKLE_STRING) return fail(STATUS_FORMAT, "an attribute's name is no text");
    size_t end = length;
    if (key->count > CHECKPOINT_NAME_MAX - 1 || end + 1 + key->count > CHECKPOINT_NAME_MAX)
      return fail(STATUS_UNSUPPORTED, "an attribute's name has more than %d bytes", CHECKPOINT_NAME_MAX);
    if (end) w->name[end++] = '.';
    memcpy(w->name + end, key->text, key->count);
    end += key->count;
    const status s =
        value->kind == PICKLE_OBJECT ? visit(w, value, end, depth + 1) : w->found(w->context, w->name, end, value);
    if (s) return s;
  }
  return STATUS_OK;
}

status torchscript_walk(const pickle_value *root,
                        status (*found)(void *context, const char *name, size_t length, const pickle_value *tensor),
                        void *context) {
  walk w = {.found = found, .context = context};
  return visit(&w, root, 0, 0);
}
