/* The pickle machine: a stack of values, a memo, and the opcodes that torch.save emits. See pickle.h. */
#include <stdlib.h>
#include <string.h>

#include "weights/pickle_machine.h"

#define BLOCK_VALUES 1024
#define VALUES_MAX (1 << 22)  /* of all kinds; also the most on the stack, and in the memo */
#define ITEMS_MAX (1 << 23)   /* of all containers together: a value may lie in many */
#define GLOBALS_MAX (1 << 16) /* each has a text of its own; the memo makes one do */
#define GLOBAL_LENGTH_MAX 256 /* of a class's module, and of its name */

struct pickle_block {
  pickle_block *next;
  size_t used;
  pickle_value values[BLOCK_VALUES];
};

bool pickle_says(const pickle_value *v, const char *text) {
  return v->count == strlen(text) && !memcmp(v->text, text, v->count);
}

int pickle_quoted(const pickle_value *v) { return v->count < 100 ? (int)v->count : 100; }

static status cut_short(const pickle *p) {
  return fail(STATUS_FORMAT, "the pickle ends within an instruction, at byte %zu", p->at);
}

/* Values, the stack, the memo. */

static pickle_value *new_value(pickle *p, pickle_kind kind) {
  if (p->values++ == VALUES_MAX)
    return fail_null(STATUS_UNSUPPORTED, "the pickle holds more than %d values", VALUES_MAX);
  if (!p->blocks || p->blocks->used == BLOCK_VALUES) {
    pickle_block *b = mem_alloc(1, sizeof *b);
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
status pickle_push(pickle *p, pickle_value *v) {
  if (p->count == VALUES_MAX) return fail(STATUS_UNSUPPORTED, "the pickle has more than %d values at hand", VALUES_MAX);
  pickle_value **stack = mem_room(p->stack, p->count, &p->capacity, sizeof(pickle_value *));
  if (!stack) return last_status();
  p->stack = stack;
  p->stack[p->count++] = v;
  return STATUS_OK;
}

pickle_value *pickle_push_new(pickle *p, pickle_kind kind) {
  pickle_value *v = new_value(p, kind);
  return v && !pickle_push(p, v) ? v : NULL;
}

pickle_value *pickle_top(pickle *p) {
  if (p->count && p->stack[p->count - 1]) return p->stack[p->count - 1];
  return fail_null(STATUS_FORMAT, "the pickle takes a value where there is none, before byte %zu", p->at);
}

pickle_value *pickle_pop(pickle *p) {
  pickle_value *v = pickle_top(p);
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
  pickle_value *v = pickle_top(p);
  if (!v) return last_status();
  if (index >= p->size || index >= VALUES_MAX) return fail(STATUS_FORMAT, "the pickle's memo has no place %zu", index);
  if (index >= p->memo_capacity) {
    size_t capacity = p->memo_capacity ? p->memo_capacity : 64;
    while (capacity <= index) capacity *= 2;
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
  return pickle_push(p, p->memo[index]);
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
  pickle_value *v = pickle_push_new(p, PICKLE_STRING);
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
  pickle_value *v = pickle_push_new(p, PICKLE_INT);
  if (!v) return last_status();
  memcpy(&v->integer, &bits, sizeof bits);
  return STATUS_OK;
}

static status push_opaque(pickle *p, const char *what) {
  pickle_value *v = pickle_push_new(p, PICKLE_OPAQUE);
  if (!v) return last_status();
  v->text = what;
  v->count = strlen(what);
  return STATUS_OK;
}

/* Numbers beyond 64 bits (seeds of random generators) are no tensor's business. */
static status push_long(pickle *p, int length_bytes) {
  uint64_t length = 0;
  if (take_number(p, length_bytes, &length)) return last_status();
  if (length > p->size - p->at) return cut_short(p);
  if (length <= 8) return push_int(p, (int)length, true);
  p->at += (size_t)length;
  return push_opaque(p, "int");
}

static status push_float(pickle *p) {
  const uint8_t *from = take(p, 8);
  pickle_value *v = from ? pickle_push_new(p, PICKLE_FLOAT) : NULL;
  if (!v) return last_status();
  uint64_t bits = 0;
  for (int i = 0; i < 8; i++) bits = bits << 8 | from[i]; /* the one big-endian number */
  memcpy(&v->real, &bits, sizeof bits);
  return STATUS_OK;
}

/* Globals. */

/* "module.name" needs a home of its own: an item of the value's array, as text. */
static status push_global(pickle *p, const char *module, size_t module_length, const char *name, size_t name_length) {
  if (p->globals++ == GLOBALS_MAX)
    return fail(STATUS_UNSUPPORTED, "the pickle names classes more than %d times", GLOBALS_MAX);
  if (module_length > GLOBAL_LENGTH_MAX || name_length > GLOBAL_LENGTH_MAX)
    return fail(STATUS_FORMAT, "the pickle names a class by more than %d bytes, before byte %zu", GLOBAL_LENGTH_MAX,
                p->at);
  pickle_value *v = pickle_push_new(p, PICKLE_GLOBAL);
  if (!v) return last_status();
  const size_t length = module_length + 1 + name_length;
  char *text = mem_alloc(length, 1);
  if (!text) return last_status();
  memcpy(text, module, module_length);
  text[module_length] = '.';
  memcpy(text + module_length + 1, name, name_length);
  v->items = (pickle_value **)(void *)text; /* freed with the value */
  v->text = text;
  v->count = length;
  v->integer = pickle_callable(v);
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
  const pickle_value *name = pickle_pop(p), *module = name ? pickle_pop(p) : NULL;
  if (!module) return last_status();
  if (name->kind != PICKLE_STRING || module->kind != PICKLE_STRING)
    return fail(STATUS_FORMAT, "the pickle names a class by something that is no text");
  return push_global(p, module->text, module->count, name->text, name->count);
}

/* Containers. */

status pickle_add_item(pickle *p, pickle_value *to, pickle_value *item) {
  if (p->items++ == ITEMS_MAX)
    return fail(STATUS_UNSUPPORTED, "the pickle's containers hold more than %d values", ITEMS_MAX);
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
  pickle_value *to = pickle_top(p);
  if (!to) return last_status();
  if (to->kind == PICKLE_OPAQUE) return STATUS_OK;
  if (to->kind != kind)
    return fail(STATUS_FORMAT, "the pickle fills something that takes no items, before byte %zu", at);
  for (size_t i = 0; i < n; i++)
    if (pickle_add_item(p, to, items[i])) return last_status();
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
  if (n > ITEMS_MAX - p->items)
    return fail(STATUS_UNSUPPORTED, "the pickle's containers hold more than %d values", ITEMS_MAX);
  p->items += n;
  if (n && !(tuple->items = mem_alloc(n, sizeof(pickle_value *)))) return last_status();
  tuple->count = n;
  for (size_t i = n; i-- > 0;)
    if (!(tuple->items[i] = pickle_pop(p))) {
      tuple->count = 0;
      return last_status();
    }
  if (marked) p->count = from;
  return pickle_push(p, tuple);
}

/* The instructions. */

static status push_bool(pickle *p, bool truth) {
  pickle_value *v = pickle_push_new(p, PICKLE_BOOL);
  if (!v) return last_status();
  v->truth = truth;
  return STATUS_OK;
}

static status push_empty(pickle *p, pickle_kind kind) { return pickle_push_new(p, kind) ? STATUS_OK : last_status(); }

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

/* The calls. What is called lies below its arguments; reduce() has them in a tuple, the older ones above a mark. */

static status reduce(pickle *p, bool keywords) {
  if (keywords && !pickle_pop(p)) return last_status();
  const pickle_value *args = pickle_pop(p), *callee = args ? pickle_pop(p) : NULL;
  return callee ? pickle_call(p, callee, args) : last_status();
}

/* The class is named in the instruction. */
static status call_inst(pickle *p) {
  if (make_tuple(p, 0, true) || read_global(p)) return last_status();
  const pickle_value *callee = pickle_pop(p), *args = pickle_pop(p);
  return callee && args ? pickle_call(p, callee, args) : last_status();
}

/* The class is the first value above the mark. */
static status call_obj(pickle *p) {
  size_t mark = 0;
  if (find_mark(p, &mark)) return last_status();
  if (p->count == mark + 1) return fail(STATUS_FORMAT, "the pickle calls nothing, before byte %zu", p->at);
  const pickle_value *callee = p->stack[mark + 1];
  p->count--;
  memmove(p->stack + mark + 1, p->stack + mark + 2, (p->count - mark - 1) * sizeof *p->stack);
  if (make_tuple(p, 0, true)) return last_status();
  const pickle_value *args = pickle_pop(p);
  return args ? pickle_call(p, callee, args) : last_status();
}

static status build(pickle *p) {
  pickle_value *state = pickle_pop(p), *object = state ? pickle_top(p) : NULL;
  return object ? pickle_set_state(p, object, state) : last_status();
}

static status persistent(pickle *p) {
  const pickle_value *id = pickle_pop(p);
  return id ? pickle_push_storage(p, id) : last_status();
}

static status frozen_set(pickle *p) { return pop_mark(p) ? last_status() : push_opaque(p, "frozenset"); }

static status step(pickle *p, uint8_t op) {
  switch (op) {
  case '(':
    return pickle_push(p, NULL);
  case '2':
    return pickle_top(p) ? pickle_push(p, pickle_top(p)) : last_status();
  case '0':
    return pickle_pop(p) ? STATUS_OK : last_status();
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
    return push_long(p, 1);
  case 0x8b:
    return push_long(p, 4);
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
  case 0x96:
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
    return push_opaque(p, "set");
  case 0x90:
    return fill_from_mark(p, PICKLE_OPAQUE);
  case 0x91:
    return frozen_set(p);
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
  case 'i':
    return call_inst(p);
  case 'o':
    return call_obj(p);
  case 'b':
    return build(p);
  case 'Q':
    return persistent(p);
  case 0x95:
    return take(p, 8) ? STATUS_OK : last_status(); /* a frame's length: only a hint */
  default:
    return fail(STATUS_UNSUPPORTED, "the pickle holds the unknown instruction 0x%02x at byte %zu", op, p->at - 1);
  }
}

static status run(pickle *p) {
  const uint8_t *head = take(p, 2);
  if (!head || head[0] != 0x80) return fail(STATUS_FORMAT, "the pickle does not begin with its protocol");
  if (head[1] < 2 || head[1] > 5)
    return fail(STATUS_UNSUPPORTED, "the pickle is of protocol %d; this version reads 2 to 5", head[1]);
  for (;;) {
    const uint8_t *op = take(p, 1);
    if (!op) return last_status();
    if (*op == '.') break;
    if (step(p, *op)) return last_status();
  }
  return (p->root = pickle_pop(p)) ? STATUS_OK : last_status();
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
  for (pickle_block *b = p->blocks, *next; b; b = next) {
    for (size_t i = 0; i < b->used; i++) free(b->values[i].items);
    next = b->next;
    free(b);
  }
  free(p->stack);
  free(p->memo);
  free(p);
}
