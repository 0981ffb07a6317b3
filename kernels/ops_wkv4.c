/* The RWKV-4 recurrence as an operator. Spec operators 2.1. */
#include "kernels/ops.h"

#include <assert.h>

typedef struct {
  tensor *k, *v, *w, *u, *s0, *y, *state;
  wkv4_args args;
} wkv4_record;

static void wkv4_backward(ctx *c, void *saved) {
  wkv4_record *s = saved;
  const float *gy = grad_of(s->y), *gsT = s->state ? grad_of(s->state) : NULL;
  if (!gy && !gsT) return;
  float *gk = grad_sum_target(c, s->k), *gv = grad_sum_target(c, s->v), *gw = grad_sum_target(c, s->w);
  float *gu = grad_sum_target(c, s->u), *gs0 = grad_sum_target(c, s->s0);
  if (!cpu()->wkv4_backward(&s->args, gy, gsT, gk, gv, gw, gu, gs0)) c->failed = true;
}

tensor *wkv4(ctx *c, tensor *k, tensor *v, tensor *w, tensor *u, tensor *s0, const wkv4_opt *opt, tensor **state) {
  if (state) *state = NULL;
  if (!k || !v || !w || !u) return NULL;
  const int64_t B = k->dim[0], T = k->dim[1], C = k->dim[2];
  const scan_order *order = opt ? opt->order : NULL;
  assert(k->n_dims == 3 && tensor_count(v) == B * T * C && tensor_count(w) == C && tensor_count(u) == C);
  assert(!s0 || tensor_count(s0) == B * 3 * C);
  assert(!order || order->n == T);
  assert(!opt || !opt->into || (!state && tensor_count(opt->into) == B * 3 * C));
  wkv4_record s = {.k = k, .v = v, .w = w, .u = u, .s0 = s0};
  s.args = (wkv4_args){.B = (size_t)B,
                       .T = (size_t)T,
                       .C = (size_t)C,
                       .order = order ? order->token : NULL,
                       .lengths = opt ? opt->lengths : NULL,
                       .k = f32(k),
                       .v = f32(v),
                       .w = f32(w),
                       .u = f32(u),
                       .s0 = s0 ? f32(s0) : NULL};
  s.y = tensor_like(c, k);
  if (state) s.state = tensor_3d(c, DTYPE_F32, B, 3, C);
  if (!s.y || (state && !s.state)) return NULL;
  const tensor *end = opt && opt->into ? opt->into : s.state;
  cpu()->wkv4_forward(&s.args, f32(s.y), end ? f32(end) : NULL);
  const bool any = k->needs_grad || v->needs_grad || w->needs_grad || u->needs_grad || (s0 && s0->needs_grad);
  tensor *y = track(c, s.y, any, wkv4_backward, &s, sizeof s);
  if (y && s.state) {
    s.state->needs_grad = y->needs_grad;
    *state = s.state;
  }
  return y;
}
