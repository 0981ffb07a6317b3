/* The pickle machine: a stack of values, a memo, and the opcodes that torch.save emits. See pickle.h. */
#include "weights/pickle.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_VALUES 1024
#define VALUES_MAX (1 << 22)
#define GLOBALS_MAX (1 << 16) /* each has a text of its own; the memo makes one do */

typedef struct block block;
struct block {
  block *next;
  size_t used;
  pickle_value values[BLOCK_VALUES];
};

struct pickle {
  const uint8_t *data;
  size_t size, at;
  block *blocks;
  pickle_value **stack; /* NULL is a mark */
  size_t count, capacity;
  pickle_value **memo; /* NULL where nothing is */
  size_t memo_count, memo_capacity;
  size_t values, globals;
  pickle_value *root;
};

/* What may be called. A storage class is never called: it stands in a storage's description. */
typedef enum { CALL_DICT, CALL_TENSOR, CALL_PARAMETER, CALL_OPAQUE } call_kind;

static const struct {
  const char *name;
  call_kind kind;
} callables[] = {
    {"collections.OrderedDict", CALL_DICT},
    {"torch._utils._rebuild_tensor_v2", CALL_TENSOR},
    {"torch._utils._rebuild_parameter", CALL_PARAMETER},
    /* records of training scripts that stand beside the tensors */
    {"argparse.Namespace", CALL_OPAQUE},
    {"types.SimpleNamespace", CALL_OPAQUE},
    {"yacs.config.CfgNode", CALL_OPAQUE},
    {"mmengine.logging.history_buffer.HistoryBuffer", CALL_OPAQUE},
    {"collections.defaultdict", CALL_OPAQUE},
    {"collections.Counter", CALL_OPAQUE},
    {"torch.Size", CALL_OPAQUE},
    {"torch.device", CALL_OPAQUE},
    {"_codecs.encode", CALL_OPAQUE},
    {"numpy.dtype", CALL_OPAQUE},
    {"numpy.core.multiarray.scalar", CALL_OPAQUE},
    {"numpy.core.multiarray._reconstruct", CALL_OPAQUE},
    {"numpy._core.multiarray.scalar", CALL_OPAQUE},
    {"numpy._core.multiarray._reconstruct", CALL_OPAQUE},
    {"pathlib.PosixPath", CALL_OPAQUE},
    {"pathlib.WindowsPath", CALL_OPAQUE},
};

static const struct {
  const char *name;
  checkpoint_dtype dtype;
} storages[] = {
    {"torch.DoubleStorage", CHECKPOINT_F64}, {"torch.FloatStorage", CHECKPOINT_F32},
    {"torch.HalfStorage", CHECKPOINT_F16},   {"torch.BFloat16Storage", CHECKPOINT_BF16},
    {"torch.LongStorage", CHECKPOINT_I64},   {"torch.IntStorage", CHECKPOINT_I32},
    {"torch.ShortStorage", CHECKPOINT_I16},  {"torch.CharStorage", CHECKPOINT_I8},
    {"torch.ByteStorage", CHECKPOINT_U8},    {"torch.BoolStorage", CHECKPOINT_BOOL},
};

static bool says(const pickle_value *v, const char *text) {
  return v->count == strlen(text) && !memcmp(v->text, text, v->count);
}

/* How much of a text a sentence quotes. */
static int quoted(const pickle_value *v) { return v->count < 100 ? (int)v->count : 100; }

static status cut_short(const pickle *p) {
  return fail(STATUS_FORMAT, "the pickle ends within an instruction, at byte %zu", p->at);
}

/* Values, the stack, the memo. */

static pickle_value *new_value(pickle *p, pickle_kind kind) {
  if (p->values++ == VALUES_MAX)
    return fail_null(STATUS_UNSUPPORTED, "the pickle holds more than %d values", VALUES_MAX);
  if (!p->blocks || p->blocks->used == BLOCK_VALUES) {
    block *b = mem_alloc(1, sizeof *b);
    if (!b) return NULL;
    b->next = p->blocks;
    b->used = 0;
    p->blocks = b;
  }
  pickle_value *v = &p->blocks->values[p->blocks->used++];
  *v = (pickle_value){.kind = kind};
  return v;
}

/* `v` may be NULL for the mark. */
static status push(pickle *p, pickle_value *v) {
  pickle_value **stack = mem_room(p->stack, p->count, &p->capacity, sizeof(pickle_value *));
  if (!stack) return last_status();
  p->stack = stack;
  p->stack[p->count++] = v;
  return STATUS_OK;
}

static pickle_value *push_new(pickle *p, pickle_kind kind) {
  pickle_value *v = new_value(p, kind);
  return v && !push(p, v) ? v : NULL;
}

static pickle_value *top(pickle *p) {
  if (p->count && p->stack[p->count - 1]) return p->stack[p->count - 1];
  return fail_null(STATUS_FORMAT, "the pickle takes a value where there is none, before byte %zu", p->at);
}

static pickle_value *pop(pickle *p) {
  pickle_value *v = top(p);
  if (v) p->count--;
  return v;
}

/* The place of the last mark; what was pushed since lies above it. */
static status find_mark(pickle *p, size_t *mark) {
  for (size_t i = p->count; i-- > 0;)
    if (!p->stack[i]) {
      *mark = i;
      return STATUS_OK;
    }
  return fail(STATUS_FORMAT, "the pickle goes back to a mark that is not there, before byte %zu", p->at);
}

static status memo_put(pickle *p, size_t index) {
  pickle_value *v = top(p);
  if (!v) return last_status();
  if (index >= p->size) return fail(STATUS_FORMAT, "the pickle's memo has no place %zu", index);
  if (index >= p->memo_capacity) {
    size_t capacity = p->memo_capacity ? p->memo_capacity : 64;
    while (capacity <= index) capacity *= 2; /* at most twice PICKLE_BYTES_MAX */
    pickle_value **memo = mem_grow(p->memo, capacity, sizeof(pickle_value *));
    if (!memo) return last_status();
    for (size_t i = p->memo_capacity; i < capacity; i++) memo[i] = NULL;
    p->memo = memo;
    p->memo_capacity = capacity;
  }
  if (!p->memo[index]) p->memo_count++;
  p->memo[index] = v;
  return STATUS_OK;
}

static status memo_get(pickle *p, size_t index) {
  if (index >= p->memo_capacity || !p->memo[index])
    return fail(STATUS_FORMAT, "the pickle's memo has nothing at place %zu", index);
  return push(p, p->memo[index]);
}

/* Arguments in the bytes. */

static const uint8_t *take(pickle *p, size_t n) {
  if (n > p->size - p->at) return cut_short(p), NULL;
  p->at += n;
  return p->data + p->at - n;
}

/* A little-endian number of 1 to 8 bytes. */
static status take_number(pickle *p, int bytes, uint64_t *out) {
  const uint8_t *from = take(p, (size_t)bytes);
  if (!from) return last_status();
  *out = 0;
  for (int i = 0; i < bytes; i++) *out |= (uint64_t)from[i] << 8 * i;
  return STATUS_OK;
}

/* Text or bytes behind their length. */
static status push_string(pickle *p, int length_bytes) {
  uint64_t length = 0;
  if (take_number(p, length_bytes, &length)) return last_status();
  if (length > p->size - p->at) return cut_short(p);
  pickle_value *v = push_new(p, PICKLE_STRING);
  if (!v) return last_status();
  v->count = (size_t)length;
  v->text = (const char *)take(p, v->count);
  return STATUS_OK;
}

/* A whole number of `bytes` bytes, in two's complement if it has a sign. */
static status push_int(pickle *p, int bytes, bool has_sign) {
  uint64_t bits = 0;
  if (bytes && take_number(p, bytes, &bits)) return last_status();
  if (has_sign && bytes && bytes < 8 && bits >> (8 * bytes - 1)) bits |= ~UINT64_C(0) << 8 * bytes;
  pickle_value *v = push_new(p, PICKLE_INT);
  if (!v) return last_status();
  memcpy(&v->integer, &bits, sizeof bits);
  return STATUS_OK;
}

/* Numbers beyond 64 bits (seeds of random generators) are no tensor's business. */
static status push_long(pickle *p) {
  uint64_t length = 0;
  if (take_number(p, 1, &length)) return last_status();
  if (length <= 8) return push_int(p, (int)length, true);
  pickle_value *v = take(p, (size_t)length) ? push_new(p, PICKLE_OPAQUE) : NULL;
  if (!v) return last_status();
  v->text = "int";
  v->count = 3;
  return STATUS_OK;
}

static status push_float(pickle *p) {
  const uint8_t *from = take(p, 8);
  pickle_value *v = from ? push_new(p, PICKLE_FLOAT) : NULL;
  if (!v) return last_status();
  uint64_t bits = 0;
  for (int i = 0; i < 8; i++) bits = bits << 8 | from[i]; /* the one big-endian number */
  memcpy(&v->real, &bits, sizeof bits);
  return STATUS_OK;
}

/* Globals. */

/* "module.name" needs a home of its own: an item of the value's array, as text. */
static status push_global(pickle *p, const char *module, size_t module_length, const char *name, size_t name_length) {
  size_t length = 0;
  if (p->globals++ == GLOBALS_MAX)
    return fail(STATUS_UNSUPPORTED, "the pickle names classes more than %d times", GLOBALS_MAX);
  pickle_value *v = push_new(p, PICKLE_GLOBAL);
  if (!v) return last_status();
  if (!size_add(module_length, name_length, &length) || !size_add(length, 1, &length)) return cut_short(p);
  char *text = mem_alloc(length, 1);
  if (!text) return last_status();
  memcpy(text, module, module_length);
  text[module_length] = '.';
  memcpy(text + module_length + 1, name, name_length);
  v->items = (pickle_value **)(void *)text; /* freed with the value */
  v->text = text;
  v->count = length;
  return STATUS_OK;
}

static status take_line(pickle *p, const char **line, size_t *length) {
  const uint8_t *from = p->data + p->at, *end = memchr(from, '\n', p->size - p->at);
  if (!end) return cut_short(p);
  *line = (const char *)from;
  *length = (size_t)(end - from);
  p->at += *length + 1;
  return STATUS_OK;
}

static status read_global(pickle *p) {
  const char *module = NULL, *name = NULL;
  size_t module_length = 0, name_length = 0;
  if (take_line(p, &module, &module_length) || take_line(p, &name, &name_length)) return last_status();
  return push_global(p, module, module_length, name, name_length);
}

static status stack_global(pickle *p) {
  const pickle_value *name = pop(p), *module = name ? pop(p) : NULL;
  if (!module) return last_status();
  if (name->kind != PICKLE_STRING || module->kind != PICKLE_STRING)
    return fail(STATUS_FORMAT, "the pickle names a class by something that is no text");
  /* Two texts of the pickle may be named again and again: their copies must not outgrow it. */
  if (name->count > 256 || module->count > 256) return fail(STATUS_FORMAT, "the pickle names a class too long");
  return push_global(p, module->text, module->count, name->text, name->count);
}

/* Containers. */

static status add_item(pickle_value *to, pickle_value *item) {
  pickle_value **items = mem_room(to->items, to->count, &to->capacity, sizeof(pickle_value *));
  if (!items) return last_status();
  to->items = items;
  to->items[to->count++] = item;
  return STATUS_OK;
}

/* Moves what lies on the stack from place `from` on into the container that is the top once `below` values are left.
 * What an opaque value holds is dropped. */
static status fill(pickle *p, size_t below, size_t from, pickle_kind kind) {
  const size_t n = p->count - from, at = p->at;
  if (kind == PICKLE_DICT && n % 2)
    return fail(STATUS_FORMAT, "a dictionary has a key without a value, at byte %zu", at);
  pickle_value **items = p->stack + from;
  p->count = below;
  pickle_value *to = top(p);
  if (!to) return last_status();
  if (to->kind == PICKLE_OPAQUE) return STATUS_OK;
  if (to->kind != kind)
    return fail(STATUS_FORMAT, "the pickle fills something that takes no items, before byte %zu", at);
  for (size_t i = 0; i < n; i++)
    if (add_item(to, items[i])) return last_status();
  return STATUS_OK;
}

static status fill_from_mark(pickle *p, pickle_kind kind) {
  size_t mark = 0;
  return find_mark(p, &mark) ? last_status() : fill(p, mark, mark + 1, kind);
}

/* The last n values, none of them a mark, go into a container below them. */
static status fill_last(pickle *p, size_t n, pickle_kind kind) {
  if (p->count <= n) return cut_short(p);
  for (size_t i = p->count - n; i < p->count; i++)
    if (!p->stack[i]) return fail(STATUS_FORMAT, "the pickle takes a mark for a value, before byte %zu", p->at);
  return fill(p, p->count - n, p->count - n, kind);
}

/* A tuple of the last n values; of those above a mark if `marked`. */
static status make_tuple(pickle *p, size_t n, bool marked) {
  size_t from = 0;
  if (marked && find_mark(p, &from)) return last_status();
  if (marked) n = p->count - from - 1;
  pickle_value *tuple = new_value(p, PICKLE_TUPLE);
  if (!tuple) return last_status();
  if (n && !(tuple->items = mem_alloc(n, sizeof(pickle_value *)))) return last_status();
  tuple->count = n;
  for (size_t i = n; i-- > 0;)
    if (!(tuple->items[i] = pop(p))) {
      tuple->count = 0;
      return last_status();
    }
  if (marked) p->count = from;
  return push(p, tuple);
}

/* Calls that are not made: their results, put together from data. */

static bool ints_only(const pickle_value *tuple) {
  if (tuple->kind != PICKLE_TUPLE) return false;
  for (size_t i = 0; i < tuple->count; i++)
    if (tuple->items[i]->kind != PICKLE_INT) return false;
  return true;
}

static status make_tensor(pickle *p, const pickle_value *args) {
  if (args->count < 4 || args->items[0]->kind != PICKLE_STORAGE || args->items[1]->kind != PICKLE_INT ||
      !ints_only(args->items[2]) || !ints_only(args->items[3]) || args->items[2]->count != args->items[3]->count)
    return fail(STATUS_FORMAT, "a tensor is not described by storage, offset, sizes and strides, before byte %zu",
                p->at);
  pickle_value *tensor = push_new(p, PICKLE_TENSOR);
  if (!tensor) return last_status();
  for (size_t i = 0; i < 4; i++)
    if (add_item(tensor, args->items[i])) return last_status();
  return STATUS_OK;
}

/* The pickle asks for callee(*args); both are off the stack. */
static status make(pickle *p, const pickle_value *callee, const pickle_value *args) {
  if (callee->kind != PICKLE_GLOBAL)
    return fail(STATUS_FORMAT, "the pickle calls something that is no class, before byte %zu", p->at);
  size_t i = 0;
  while (i < sizeof callables / sizeof *callables && !says(callee, callables[i].name)) i++;
  if (i == sizeof callables / sizeof *callables)
    return fail(STATUS_UNSUPPORTED, "the pickle calls %.*s, which no tensors need: refused, and nothing was run",
                quoted(callee), callee->text);
  if (args->kind != PICKLE_TUPLE) return fail(STATUS_FORMAT, "%s is called without a tuple", callables[i].name);
  if (callables[i].kind == CALL_TENSOR) return make_tensor(p, args);
  if (callables[i].kind == CALL_PARAMETER) {
    if (args->count && args->items[0]->kind == PICKLE_TENSOR) return push(p, args->items[0]);
    return fail(STATUS_FORMAT, "a parameter is made of something that is no tensor, before byte %zu", p->at);
  }
  if (callables[i].kind == CALL_DICT && args->count)
    return fail(STATUS_UNSUPPORTED, "an OrderedDict is made of %zu arguments; only an empty one is known", args->count);
  pickle_value *v = push_new(p, callables[i].kind == CALL_DICT ? PICKLE_DICT : PICKLE_OPAQUE);
  if (!v) return last_status();
  if (v->kind == PICKLE_DICT) return STATUS_OK;
  v->text = callables[i].name;
  v->count = strlen(v->text);
  return STATUS_OK;
}

static status reduce(pickle *p, bool keywords) {
  if (keywords && !pop(p)) return last_status();
  const pickle_value *args = pop(p), *callee = args ? pop(p) : NULL;
  return callee ? make(p, callee, args) : last_status();
}

/* State for an object: nothing that tensors need (an OrderedDict's is `_metadata`, versions of modules). */
static status build(pickle *p) {
  const pickle_value *v = pop(p) ? top(p) : NULL;
  if (!v) return last_status();
  if (v->kind == PICKLE_DICT || v->kind == PICKLE_OPAQUE || v->kind == PICKLE_TENSOR) return STATUS_OK;
  if (v->kind == PICKLE_GLOBAL)
    return fail(STATUS_UNSUPPORTED, "the pickle changes %.*s: refused, and nothing was run", quoted(v), v->text);
  return fail(STATUS_FORMAT, "the pickle gives a state to something that has none, before byte %zu", p->at);
}

/* ('storage', class, key, device, elements) */
static status make_storage(pickle *p) {
  const pickle_value *id = pop(p);
  if (!id) return last_status();
  if (id->kind != PICKLE_TUPLE || id->count != 5 || id->items[0]->kind != PICKLE_STRING ||
      !says(id->items[0], "storage") || id->items[1]->kind != PICKLE_GLOBAL || id->items[2]->kind != PICKLE_STRING ||
      id->items[4]->kind != PICKLE_INT || id->items[4]->integer < 0)
    return fail(STATUS_FORMAT, "a storage is not described as PyTorch does, before byte %zu", p->at);
  const pickle_value *class = id->items[1];
  for (size_t i = 0; i < sizeof storages / sizeof *storages; i++) {
    if (!says(class, storages[i].name)) continue;
    pickle_value *v = push_new(p, PICKLE_STORAGE);
    if (!v) return last_status();
    v->dtype = storages[i].dtype;
    v->text = id->items[2]->text;
    v->count = id->items[2]->count;
    v->integer = id->items[4]->integer;
    return STATUS_OK;
  }
  return fail(STATUS_UNSUPPORTED,
              "a storage is of class %.*s; this version reads 8 to 64-bit integers, bool, bf16, "
              "f16, f32 and f64",
              quoted(class), class->text);
}

/* The instructions. */

static status push_bool(pickle *p, bool truth) {
  pickle_value *v = push_new(p, PICKLE_BOOL);
  if (!v) return last_status();
  v->truth = truth;
  return STATUS_OK;
}

static status push_empty(pickle *p, pickle_kind kind) { return push_new(p, kind) ? STATUS_OK : last_status(); }

static status push_set(pickle *p) {
  pickle_value *v = push_new(p, PICKLE_OPAQUE);
  if (!v) return last_status();
  v->text = "set";
  v->count = 3;
  return STATUS_OK;
}

static status memo_op(pickle *p, int bytes, status (*op)(pickle *, size_t)) {
  uint64_t index = 0;
  return take_number(p, bytes, &index) ? last_status() : op(p, (size_t)index);
}

static status pop_mark(pickle *p) {
  size_t mark = 0;
  if (find_mark(p, &mark)) return last_status();
  p->count = mark;
  return STATUS_OK;
}

static status step(pickle *p, uint8_t op) {
  switch (op) {
  case '(':
    return push(p, NULL);
  case '0':
    return pop(p) ? STATUS_OK : last_status();
  case '1':
    return pop_mark(p);
  case 'N':
    return push_empty(p, PICKLE_NONE);
  case 0x88:
    return push_bool(p, true);
  case 0x89:
    return push_bool(p, false);
  case 'K':
    return push_int(p, 1, false);
  case 'M':
    return push_int(p, 2, false);
  case 'J':
    return push_int(p, 4, true);
  case 0x8a:
    return push_long(p);
  case 'G':
    return push_float(p);
  case 'U':
  case 'C':
  case 0x8c:
    return push_string(p, 1);
  case 'T':
  case 'B':
  case 'X':
    return push_string(p, 4);
  case 0x8d:
  case 0x8e:
    return push_string(p, 8);
  case ')':
    return make_tuple(p, 0, false);
  case 0x85:
    return make_tuple(p, 1, false);
  case 0x86:
    return make_tuple(p, 2, false);
  case 0x87:
    return make_tuple(p, 3, false);
  case 't':
    return make_tuple(p, 0, true);
  case ']':
    return push_empty(p, PICKLE_LIST);
  case 'a':
    return fill_last(p, 1, PICKLE_LIST);
  case 'e':
    return fill_from_mark(p, PICKLE_LIST);
  case '}':
    return push_empty(p, PICKLE_DICT);
  case 's':
    return fill_last(p, 2, PICKLE_DICT);
  case 'u':
    return fill_from_mark(p, PICKLE_DICT);
  case 0x8f:
    return push_set(p);
  case 0x90:
    return fill_from_mark(p, PICKLE_OPAQUE);
  case 'q':
    return memo_op(p, 1, memo_put);
  case 'r':
    return memo_op(p, 4, memo_put);
  case 0x94:
    return memo_put(p, p->memo_count);
  case 'h':
    return memo_op(p, 1, memo_get);
  case 'j':
    return memo_op(p, 4, memo_get);
  case 'c':
    return read_global(p);
  case 0x93:
    return stack_global(p);
  case 'R':
  case 0x81:
    return reduce(p, false);
  case 0x92:
    return reduce(p, true);
  case 'b':
    return build(p);
  case 'Q':
    return make_storage(p);
  case 0x95:
    return take(p, 8) ? STATUS_OK : last_status(); /* a frame's length: only a hint */
  default:
    return fail(STATUS_UNSUPPORTED, "the pickle holds the unknown instruction 0x%02x at byte %zu", op, p->at - 1);
  }
}

static status run(pickle *p) {
  const uint8_t *head = take(p, 2);
  if (!head || head[0] != 0x80) return fail(STATUS_FORMAT, "the pickle does not begin with its protocol");
  if (head[1] < 2 || head[1] > 4)
    return fail(STATUS_UNSUPPORTED, "the pickle is of protocol %d; this version reads 2 to 4", head[1]);
  for (;;) {
    const uint8_t *op = take(p, 1);
    if (!op) return last_status();
    if (*op == '.') break;
    if (step(p, *op)) return last_status();
  }
  return (p->root = pop(p)) ? STATUS_OK : last_status();
}

pickle *pickle_parse(const void *bytes, size_t size) {
  if (size > PICKLE_BYTES_MAX)
    return fail_null(STATUS_UNSUPPORTED, "the pickle has %zu bytes, the most is %d", size, PICKLE_BYTES_MAX);
  pickle *p = mem_zero(1, sizeof *p);
  if (!p) return NULL;
  p->data = bytes;
  p->size = size;
  if (!run(p)) return p;
  pickle_free(p);
  return NULL;
}

const pickle_value *pickle_root(const pickle *p) { return p->root; }

void pickle_free(pickle *p) {
  if (!p) return;
  for (block *b = p->blocks, *next; b; b = next) {
    for (size_t i = 0; i < b->used; i++) free(b->values[i].items);
    next = b->next;
    free(b);
  }
  free(p->stack);
  free(p->memo);
  free(p);
}

const pickle_value *pickle_find(const pickle_value *dict, const char *key) {
  if (dict->kind != PICKLE_DICT) return NULL;
  for (size_t i = dict->count; i >= 2; i -= 2)
    if (dict->items[i - 2]->kind == PICKLE_STRING && says(dict->items[i - 2], key)) return dict->items[i - 1];
  return NULL;
}
