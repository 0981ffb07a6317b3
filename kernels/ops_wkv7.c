/* The RWKV-7 recurrence as an operator. Spec operators 2.4. */
#include "kernels/ops.h"

#include <assert.h>

typedef struct {
  tensor *r, *w, *k, *v, *a, *b, *s0, *y, *state;
  wkv7_args args;
} wkv7_record;

static void wkv7_backward(ctx *c, void *saved) {
  wkv7_record *s = saved;
  const float *gy = grad_of(s->y), *gsT = s->state ? grad_of(s->state) : NULL;
  if (!gy && !gsT) return;
  const wkv7_grads g = {.r = grad_sum_target(c, s->r),
                        .w = grad_sum_target(c, s->w),
                        .k = grad_sum_target(c, s->k),
                        .v = grad_sum_target(c, s->v),
                        .a = grad_sum_target(c, s->a),
                        .b = grad_sum_target(c, s->b),
                        .s0 = grad_sum_target(c, s->s0)};
  if (!cpu()->wkv7_backward(&s->args, gy, gsT, &g)) c->failed = true;
}

tensor *wkv7(ctx *c, tensor *r, tensor *w, tensor *k, tensor *v, tensor *a, tensor *b, tensor *s0, const wkv7_opt *opt,
             tensor **state) {
  if (state) *state = NULL;
  tensor *const in[] = {r, w, k, v, a, b};
  bool any = s0 && s0->needs_grad;
  for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
    if (!in[i]) return NULL;
    assert(tensor_count(in[i]) == tensor_count(r));
    any |= in[i]->needs_grad;
  }
  const int64_t B = r->dim[0], T = r->dim[1], C = r->dim[2], H = opt->heads, N = C / H;
  assert(r->n_dims == 3 && C % H == 0);
  assert(!s0 || tensor_count(s0) == H * N * N || tensor_count(s0) == B * H * N * N);
  assert(!opt->order || opt->order->n == T);
  assert(!opt->into || (!state && tensor_count(opt->into) == B * H * N * N));
  wkv7_record s = {.r = r, .w = w, .k = k, .v = v, .a = a, .b = b, .s0 = s0};
  s.args = (wkv7_args){.B = (size_t)B,
                       .T = (size_t)T,
                       .H = (size_t)H,
                       .N = (size_t)N,
                       .decay = opt->decay,
                       .order = opt->order ? opt->order->token : NULL,
                       .lengths = opt->lengths,
                       .r = f32(r),
                       .w = f32(w),
                       .k = f32(k),
                       .v = f32(v),
                       .a = f32(a),
                       .b = f32(b),
                       .s0 = s0 ? f32(s0) : NULL,
                       .s0_stride = s0 && tensor_count(s0) != H * N * N ? (size_t)(H * N * N) : 0};
  s.y = tensor_like(c, r);
  if (state) s.state = tensor_4d(c, DTYPE_F32, B, H, N, N);
  if (!s.y || (state && !s.state)) return NULL;
  const tensor *end = opt->into ? opt->into : s.state;
  if (!cpu()->wkv7_forward(&s.args, f32(s.y), end ? f32(end) : NULL)) return NULL;
  tensor *y = track(c, s.y, any, wkv7_backward, &s, sizeof s);
  if (y && s.state) {
    s.state->needs_grad = y->needs_grad;
    *state = s.state;
  }
  return y;
}
