#include "kernels/tensor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas.h"

/* --- arena -------------------------------------------------------------------------------------------------------- */

typedef struct {
  char *data;
  size_t size;
} chunk;

struct arena {
  chunk *chunks;
  size_t n_chunks, current, used; /* `used` bytes of chunk `current` */
  size_t before;                  /* bytes of the chunks before `current` */
  size_t peak;
};

enum { ALIGNMENT = 64, FIRST_CHUNK = 1 << 20 };

arena *arena_new(void) { return mem_zero(1, sizeof(arena)); }

void arena_free(arena *a) {
  if (!a) return;
  for (size_t i = 0; i < a->n_chunks; i++) free(a->chunks[i].data);
  free(a->chunks);
  free(a);
}

static bool add_chunk(arena *a, size_t bytes) {
  chunk *grown = mem_grow(a->chunks, a->n_chunks + 1, sizeof(chunk));
  if (!grown) return false;
  a->chunks = grown;
  size_t size = a->n_chunks ? 2 * a->chunks[a->n_chunks - 1].size : FIRST_CHUNK;
  if (size > (size_t)256 << 20) size = (size_t)256 << 20;
  if (size < bytes) size = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  char *data = mem_aligned(size);
  if (!data) return false;
  a->chunks[a->n_chunks++] = (chunk){data, size};
  return true;
}

void *arena_alloc(arena *a, size_t bytes) {
  if (bytes > SIZE_MAX / 2) return fail_null(STATUS_MEMORY, "out of memory: %zu bytes were asked for", bytes);
  bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  while (a->current < a->n_chunks && a->used + bytes > a->chunks[a->current].size) {
    a->before += a->chunks[a->current].size;
    a->current++;
    a->used = 0;
  }
  if (a->current == a->n_chunks && !add_chunk(a, bytes)) return NULL;
  void *p = a->chunks[a->current].data + a->used;
  a->used += bytes;
  if (a->before + a->used > a->peak) a->peak = a->before + a->used;
  return p;
}

arena_mark arena_here(const arena *a) { return (arena_mark){a->current, a->used}; }

void arena_release(arena *a, arena_mark mark) {
  a->current = mark.chunk;
  a->used = mark.used;
  a->before = 0;
  for (size_t i = 0; i < mark.chunk; i++) a->before += a->chunks[i].size;
}

size_t arena_peak(const arena *a) { return a->peak; }

/* --- context ------------------------------------------------------------------------------------------------------ */

ctx *ctx_new(void) {
  if (blas_open()) return NULL;
  ctx *c = mem_zero(1, sizeof *c);
  if (c && !(c->memory = arena_new())) {
    free(c);
    return NULL;
  }
  if (c) c->block = -1;
  return c;
}

void ctx_free(ctx *c) {
  if (!c) return;
  for (int i = 0; i < c->n_others; i++) ctx_free(c->other[i]);
  free(c->other);
  arena_free(c->memory);
  free(c->tape);
  free(c);
}

bool ctx_make_others(ctx *c, int n) {
  ctx **grown = n > c->n_others ? mem_grow(c->other, (size_t)n, sizeof *grown) : c->other;
  if (n > c->n_others && !grown) return false;
  for (c->other = grown; c->n_others < n; c->n_others++)
    if (!(c->other[c->n_others] = ctx_new())) return false;
  return true;
}

void ctx_reset(ctx *c) {
  arena_release(c->memory, (arena_mark){0, 0});
  c->n_tape = 0;
}

/* --- tensors ------------------------------------------------------------------------------------------------------ */

int64_t tensor_count(const tensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->n_dims; i++) n *= t->dim[i];
  return n;
}

int64_t tensor_last(const tensor *t) { return t->n_dims ? t->dim[t->n_dims - 1] : 1; }

int64_t tensor_rows(const tensor *t) {
  int64_t n = 1;
  for (int i = 0; i + 1 < t->n_dims; i++) n *= t->dim[i];
  return n;
}

tensor *tensor_wrap(ctx *c, dtype type, void *data, int n_dims, const int64_t *dim) {
  assert(n_dims >= 0 && n_dims <= TENSOR_DIMS);
  tensor *t = arena_alloc(c->memory, sizeof *t);
  if (!t) return NULL;
  *t = (tensor){.type = type, .n_dims = n_dims, .data = data};
  for (int i = 0; i < n_dims; i++) t->dim[i] = dim[i];
  return t;
}

tensor *tensor_new(ctx *c, dtype type, int n_dims, const int64_t *dim) {
  size_t bytes = type == DTYPE_U8 ? 1 : 4;
  for (int i = 0; i < n_dims; i++)
    if (dim[i] < 0 || !size_mul(bytes, (size_t)dim[i], &bytes))
      return fail_null(STATUS_MEMORY, "a tensor of this size does not fit in memory");
  tensor *t = tensor_wrap(c, type, NULL, n_dims, dim);
  if (!t || !(t->data = arena_alloc(c->memory, bytes))) return NULL;
  return t;
}

tensor *tensor_like(ctx *c, const tensor *t) { return tensor_new(c, t->type, t->n_dims, t->dim); }
tensor *tensor_1d(ctx *c, dtype type, int64_t a) { return tensor_new(c, type, 1, (int64_t[]){a}); }
tensor *tensor_2d(ctx *c, dtype type, int64_t a, int64_t b) { return tensor_new(c, type, 2, (int64_t[]){a, b}); }
tensor *tensor_3d(ctx *c, dtype type, int64_t a, int64_t b, int64_t d) {
  return tensor_new(c, type, 3, (int64_t[]){a, b, d});
}
tensor *tensor_4d(ctx *c, dtype type, int64_t a, int64_t b, int64_t d, int64_t e) {
  return tensor_new(c, type, 4, (int64_t[]){a, b, d, e});
}

tensor *tensor_window(ctx *c, tensor *t, int64_t first, int n_dims, const int64_t *dim) {
  if (!t) return NULL;
  size_t width = t->type == DTYPE_U8 ? 1 : 4;
  tensor *v = tensor_wrap(c, t->type, (char *)t->data + (size_t)first * width, n_dims, dim);
  if (!v) return NULL;
  assert(first >= 0 && first + tensor_count(v) <= tensor_count(t));
  v->needs_grad = t->needs_grad;
  v->base = t;
  v->offset = first;
  return v;
}

tensor *tensor_view(ctx *c, tensor *t, int n_dims, const int64_t *dim) {
  tensor *v = tensor_window(c, t, 0, n_dims, dim);
  assert(!v || tensor_count(v) == tensor_count(t));
  return v;
}

/* --- tape --------------------------------------------------------------------------------------------------------- */

tensor *track(ctx *c, tensor *y, bool any, backward_step run, const void *record, size_t size) {
  if (!y || !c->recording || !any) return y;
  if (c->n_tape == c->cap_tape) {
    size_t cap = c->cap_tape ? 2 * c->cap_tape : 1024;
    tape_entry *grown = mem_grow(c->tape, cap, sizeof *grown);
    if (!grown) return NULL;
    c->tape = grown;
    c->cap_tape = cap;
  }
  void *saved = arena_alloc(c->memory, size);
  if (!saved) return NULL;
  memcpy(saved, record, size);
  c->tape[c->n_tape++] = (tape_entry){run, saved};
  y->needs_grad = true;
  return y;
}

/* The buffer in which t's gradient lives: its own, or for a view its base's, a window of it. A base that a smaller view
 * reaches first is zeroed, since no one view fills all of it. */
float *grad_target(ctx *c, tensor *t, bool *accumulate) {
  if (!t || !t->needs_grad) return NULL;
  tensor *whole = t;
  int64_t offset = 0;
  for (; whole->base; whole = whole->base) offset += whole->offset;
  if (!whole->needs_grad) return NULL;
  *accumulate = true;
  if (!whole->grad) {
    if (!(whole->grad = tensor_like(c, whole))) {
      c->failed = true;
      return NULL;
    }
    if (tensor_count(whole) == tensor_count(t))
      *accumulate = false;
    else
      memset(whole->grad->data, 0, (size_t)tensor_count(whole) * sizeof(float));
  }
  return f32(whole->grad) + offset;
}

float *grad_sum_target(ctx *c, tensor *t) {
  bool accumulate;
  float *g = grad_target(c, t, &accumulate);
  if (g && !accumulate) memset(g, 0, (size_t)tensor_count(t) * sizeof *g);
  return g;
}

const float *grad_of(const tensor *t) {
  int64_t offset = 0;
  for (; t->base; t = t->base) offset += t->offset;
  return t->grad ? f32(t->grad) + offset : NULL;
}

status backward(ctx *c, tensor *loss) {
  c->failed = !loss;
  bool accumulate;
  float *g = grad_target(c, loss, &accumulate);
  assert(!loss || tensor_count(loss) == 1);
  if (g)
    *g = 1;
  else
    c->n_tape = 0;
  while (c->n_tape) {
    tape_entry e = c->tape[--c->n_tape];
    e.run(c, e.saved);
  }
  return c->failed ? STATUS_MEMORY : STATUS_OK;
}
