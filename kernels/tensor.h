/* Tensors and the context that operators run in: arena, tape, backward.
 *
 * A tensor is up to five dimensions of contiguous memory, row-major, channels last: a picture [B,H,W,C] is the token
 * sequence [B,T,C] at no cost. Operators (ops.h) compute eagerly. If the context records, each pushes one backward
 * step; backward() replays them once, in reverse.
 *
 * Lifetime. Parameters own their memory (weights/params.h). Everything an operator returns lives in the context's arena
 * until arena_release() to an earlier mark or ctx_reset(). The arena keeps its memory, so the steady state allocates
 * nothing. Not recording: mark at the start of a block, release at its end. Recording: everything stays until backward
 * has run.
 *
 * Errors. Wrong shapes are bugs of ours: asserted. If memory runs out an operator returns NULL with a sentence, and
 * every operator that is handed NULL for a required input returns NULL: a model checks its last result only. */
#ifndef LINNET_KERNELS_TENSOR_H
#define LINNET_KERNELS_TENSOR_H

#include <assert.h>

#include "kernels/base.h"
#include "kernels/packed.h"

#define TENSOR_DIMS 5

typedef struct tensor {
  dtype type;
  int n_dims;
  int64_t dim[TENSOR_DIMS];
  void *data;
  bool needs_grad;     /* a parameter under training, or computed from one while recording */
  struct tensor *grad; /* f32, same shape; NULL until backward reaches it (parameters: allocated by their owner) */
  struct tensor *base; /* a view's tensor: the view's gradient is a window on the base's */
  int64_t offset;      /* a view's first element in base, in elements */
} tensor;

int64_t tensor_count(const tensor *t); /* number of elements */
int64_t tensor_rows(const tensor *t);  /* elements / last dimension */
int64_t tensor_last(const tensor *t);  /* the last dimension (channels) */
static inline float *f32(const tensor *t) {
  assert(t->type == DTYPE_F32);
  return (float *)t->data;
}
/* A tensor of weights [N,K] whose dtype_is_packed, which linear() and embedding() take and nothing else. */
static inline packed_matrix packed_of(const tensor *t) {
  return (packed_matrix){t->type, (size_t)t->dim[0], (size_t)t->dim[1], t->data};
}
static inline int32_t *i32(const tensor *t) { return (int32_t *)t->data; }

/* A bump allocator over growing chunks. Alignment 64 bytes. */
typedef struct arena arena;
typedef struct {
  size_t chunk, used;
} arena_mark;
arena *arena_new(void);
void arena_free(arena *a);
void *arena_alloc(arena *a, size_t bytes); /* NULL with a sentence when memory runs out */
arena_mark arena_here(const arena *a);
void arena_release(arena *a, arena_mark mark);
size_t arena_peak(const arena *a); /* most bytes ever in use */

typedef struct ctx ctx;
/* One backward step. `saved` is the operator's own record, kept in the arena. */
typedef void (*backward_step)(ctx *c, void *saved);
typedef struct {
  backward_step run;
  void *saved;
} tape_entry;

/* Is shown what models compute, by name; `block` is -1 outside of blocks. It may look, not change. */
typedef void (*observe_fn)(void *user, int block, const char *name, const tensor *t);

struct ctx {
  arena *memory;
  bool recording;
  bool failed; /* memory ran out during backward */
  tape_entry *tape;
  size_t n_tape, cap_tape;
  observe_fn observe; /* NULL: nobody looks */
  void *observer;
  int block;   /* that is being computed */
  ctx **other; /* contexts of other threads that compute for this one */
  int n_others;
};

/* Names an intermediate result for whoever observes: `tensor *r = seen(c, "att.r", linear(...))`. */
static inline tensor *seen(ctx *c, const char *name, tensor *t) {
  if (c->observe && t) c->observe(c->observer, c->block, name, t);
  return t;
}

ctx *ctx_new(void); /* also opens BLAS; NULL with a sentence on failure */
void ctx_free(ctx *c);
bool ctx_make_others(ctx *c, int n); /* sees to it that there are n of c->other; they keep their memory as c does */
void ctx_reset(ctx *c);              /* forgets the tape and every tensor of the arena */

/* New tensors in the arena (not zeroed). Dimensions after n_dims are ignored. */
tensor *tensor_new(ctx *c, dtype type, int n_dims, const int64_t *dim);
tensor *tensor_like(ctx *c, const tensor *t);
tensor *tensor_1d(ctx *c, dtype type, int64_t a);
tensor *tensor_2d(ctx *c, dtype type, int64_t a, int64_t b);
tensor *tensor_3d(ctx *c, dtype type, int64_t a, int64_t b, int64_t d);
tensor *tensor_4d(ctx *c, dtype type, int64_t a, int64_t b, int64_t d, int64_t e);
/* The same memory with another shape, or a contiguous window of `count` elements from `first`; costs nothing. */
tensor *tensor_view(ctx *c, tensor *t, int n_dims, const int64_t *dim);
tensor *tensor_window(ctx *c, tensor *t, int64_t first, int n_dims, const int64_t *dim);
/* Wraps memory of the caller's (input data). */
tensor *tensor_wrap(ctx *c, dtype type, void *data, int n_dims, const int64_t *dim);

/* For operators: if the context records and `any` input wants a gradient, marks y so and notes the backward step with a
 * copy of its record (`size` bytes). Returns y, or NULL when memory runs out. */
tensor *track(ctx *c, tensor *y, bool any, backward_step run, const void *record, size_t size);
/* For backward steps: the gradient buffer of t and whether it already holds something (then add, else write). Returns
 * NULL if t wants no gradient. A step must fill the whole buffer it was given. */
float *grad_target(ctx *c, tensor *t, bool *accumulate);
/* The same for steps that only add: what is new is zeroed. */
float *grad_sum_target(ctx *c, tensor *t);
/* The incoming gradient of an output, or NULL if nothing used it. */
const float *grad_of(const tensor *t);

/* Replays the tape from `loss` (one element, gradient 1). STATUS_MEMORY if memory ran out, now or (loss is NULL)
 * earlier. The tape is used up. */
status backward(ctx *c, tensor *loss);

#endif
