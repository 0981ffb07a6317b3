/* Sums, activations and gates. Spec operators 1.2. */
#include <assert.h>
#include <string.h>

#include "kernels/ops.h"

/* --- add, with b repeated over a's leading dimensions ------------------------------------------------------------- */

typedef struct {
  tensor *a, *b, *y;
} add_record;

static void pass_on(ctx *c, tensor *to, const float *g, size_t n) {
  bool acc;
  float *target = grad_target(c, to, &acc);
  if (target) cpu()->axpby(n, 1, g, acc, acc ? target : NULL, target);
}

static void add_backward(ctx *c, void *saved) {
  add_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  size_t n = (size_t)tensor_count(s->y), span = (size_t)tensor_count(s->b);
  pass_on(c, s->a, gy, n);
  if (span == n) {
    pass_on(c, s->b, gy, n);
    return;
  }
  float *gb = grad_sum_target(c, s->b);
  if (gb) cpu()->sum_rows(n / span, span, gy, gb);
}

tensor *add(ctx *c, tensor *a, tensor *b) {
  if (!a || !b) return NULL;
  size_t n = (size_t)tensor_count(a), span = (size_t)tensor_count(b);
  assert(span && n % span == 0 && tensor_last(a) == tensor_last(b));
  tensor *y = tensor_like(c, a);
  if (!y) return NULL;
  if (span == n)
    cpu()->axpby(n, 1, f32(a), 1, f32(b), f32(y));
  else
    cpu()->add_rows(n / span, span, f32(a), f32(b), f32(y));
  return track(c, y, a->needs_grad || b->needs_grad, add_backward, &(add_record){a, b, y}, sizeof(add_record));
}

/* --- scale -------------------------------------------------------------------------------------------------------- */

typedef struct {
  tensor *x, *y;
  float factor;
} scale_record;

static void scale_backward(ctx *c, void *saved) {
  scale_record *s = saved;
  const float *gy = grad_of(s->y);
  bool acc;
  float *gx = gy ? grad_target(c, s->x, &acc) : NULL;
  if (gx) cpu()->axpby((size_t)tensor_count(s->x), s->factor, gy, acc, acc ? gx : NULL, gx);
}

tensor *scale(ctx *c, tensor *x, float factor) {
  tensor *y = x ? tensor_like(c, x) : NULL;
  if (!y) return NULL;
  cpu()->axpby((size_t)tensor_count(x), factor, f32(x), 0, NULL, f32(y));
  return track(c, y, x->needs_grad, scale_backward, &(scale_record){x, y, factor}, sizeof(scale_record));
}

/* --- a factor for each sample ------------------------------------------------------------------------------------- */

typedef struct {
  tensor *x, *y;
  float *factor;
} scale_samples_record;

static void scale_samples_backward(ctx *c, void *saved) {
  scale_samples_record *s = saved;
  const float *gy = grad_of(s->y);
  bool acc;
  float *gx = gy ? grad_target(c, s->x, &acc) : NULL;
  if (!gx) return;
  const size_t B = (size_t)s->x->dim[0], n = (size_t)tensor_count(s->x) / B;
  for (size_t b = 0; b < B; b++) cpu()->axpby(n, s->factor[b], gy + b * n, acc, acc ? gx + b * n : NULL, gx + b * n);
}

tensor *scale_samples(ctx *c, tensor *x, const float *factor) {
  tensor *y = x ? tensor_like(c, x) : NULL;
  if (!y) return NULL;
  const size_t B = (size_t)x->dim[0], n = (size_t)tensor_count(x) / B;
  scale_samples_record s = {x, y, arena_alloc(c->memory, B * sizeof *s.factor)};
  if (!s.factor) return NULL;
  memcpy(s.factor, factor, B * sizeof *factor);
  for (size_t b = 0; b < B; b++) cpu()->axpby(n, factor[b], f32(x) + b * n, 0, NULL, f32(y) + b * n);
  return track(c, y, x->needs_grad, scale_samples_backward, &s, sizeof s);
}

/* --- activations and gates ---------------------------------------------------------------------------------------- */

typedef struct {
  tensor *a, *g, *y; /* a is NULL for a plain activation of g */
  act_kind kind;
} gate_record;

static void act_backward(ctx *c, void *saved) {
  gate_record *s = saved;
  const float *gy = grad_of(s->y);
  bool acc;
  float *gx = gy ? grad_target(c, s->g, &acc) : NULL;
  if (gx) cpu()->act_backward(s->kind, (size_t)tensor_count(s->g), f32(s->g), gy, gx, acc);
}

tensor *act(ctx *c, act_kind kind, tensor *x) {
  tensor *y = x ? tensor_like(c, x) : NULL;
  if (!y) return NULL;
  cpu()->act_forward(kind, (size_t)tensor_count(x), f32(x), f32(y));
  return track(c, y, x->needs_grad, act_backward, &(gate_record){NULL, x, y, kind}, sizeof(gate_record));
}

static void gate_backward(ctx *c, void *saved) {
  gate_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  bool acc_a = false, acc_g = false;
  float *gg = grad_target(c, s->g, &acc_g); /* before a's: the kernel fills it first, which matters where a is g */
  float *ga = grad_target(c, s->a, &acc_a);
  cpu()->gate_backward(s->kind, (size_t)tensor_count(s->y), f32(s->a), f32(s->g), gy, ga, acc_a, gg, acc_g);
}

tensor *gate(ctx *c, tensor *a, act_kind kind, tensor *g) {
  if (!a || !g) return NULL;
  assert(tensor_count(a) == tensor_count(g) && tensor_last(a) == tensor_last(g));
  tensor *y = tensor_like(c, a);
  if (!y) return NULL;
  cpu()->gate_forward(kind, (size_t)tensor_count(a), f32(a), f32(g), f32(y));
  return track(c, y, a->needs_grad || g->needs_grad, gate_backward, &(gate_record){a, g, y, kind}, sizeof(gate_record));
}
