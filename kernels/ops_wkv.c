/* The RWKV-6 recurrence as an operator: causal or from both ends, any scan order, states. Spec operators 2.3. */
#include <assert.h>
#include <string.h>

#include "kernels/ops.h"

typedef struct {
  tensor *r, *k, *v, *w, *u, *s0, *y, *state;
  wkv6_args args; /* of the forward direction */
  bool both;
} wkv6_record;

/* The kernel has one accumulate flag for all four: a target that is new among ones that are not starts from zero. */
static void wkv6_backward(ctx *c, void *saved) {
  wkv6_record *s = saved;
  const float *gy = grad_of(s->y), *gsT = s->state ? grad_of(s->state) : NULL;
  if (!gy && !gsT) return;
  if (!gy) {
    tensor *zero = tensor_like(c, s->y);
    if (!zero) {
      c->failed = true;
      return;
    }
    memset(zero->data, 0, (size_t)tensor_count(zero) * sizeof(float));
    gy = f32(zero);
  }
  tensor *in[4] = {s->r, s->k, s->v, s->w};
  float *g[4];
  bool acc[4] = {false, false, false, false}, any = false;
  for (int i = 0; i < 4; i++) {
    g[i] = grad_target(c, in[i], &acc[i]);
    any |= g[i] && acc[i];
  }
  for (int i = 0; i < 4; i++)
    if (g[i] && !acc[i] && (any || (i == 3 && !s->args.w_stride)))
      memset(g[i], 0, (size_t)tensor_count(in[i]) * sizeof(float));
  float *gu = grad_sum_target(c, s->u), *gs0 = grad_sum_target(c, s->s0);
  if (gs0 && s->args.s0_stride) { /* written, not added, by the kernel: go through scratch if it holds something */
    tensor *part = tensor_like(c, s->s0);
    if (!part) {
      c->failed = true;
      return;
    }
    if (cpu()->wkv6_backward(&s->args, gy, gsT, any, g[0], g[1], g[2], g[3], gu, f32(part)))
      cpu()->axpby((size_t)tensor_count(part), 1, f32(part), 1, gs0, gs0);
    else
      c->failed = true;
  } else if (!cpu()->wkv6_backward(&s->args, gy, gsT, any, g[0], g[1], g[2], g[3], gu, gs0)) {
    c->failed = true;
  }
  if (!s->both || c->failed) return;
  wkv6_args from_end = s->args;
  from_end.reverse = true;
  from_end.u = NULL;
  if (!cpu()->wkv6_backward(&from_end, gy, NULL, true, g[0], g[1], g[2], g[3], NULL, NULL)) c->failed = true;
}

tensor *wkv6(ctx *c, tensor *r, tensor *k, tensor *v, tensor *w, tensor *u, tensor *s0, const wkv6_opt *opt,
             tensor **state) {
  if (state) *state = NULL;
  if (!r || !k || !v || !w) return NULL;
  int64_t B = r->dim[0], T = r->dim[1], C = r->dim[2], H = opt->heads, N = C / H;
  assert(r->n_dims == 3 && C % H == 0 && tensor_count(k) == B * T * C && tensor_count(v) == B * T * C);
  assert(tensor_count(w) == B * T * C || tensor_count(w) == C);
  assert(!u || tensor_count(u) == C);
  assert(!s0 || tensor_count(s0) == H * N * N || tensor_count(s0) == B * H * N * N);
  assert(!opt->order || opt->order->n == T);
  bool both = opt->direction == WKV_BOTH;
  assert(!both || (!s0 && !state && !opt->into));
  assert(!opt->into || (!state && tensor_count(opt->into) == B * H * N * N));
  wkv6_record s = {.r = r, .k = k, .v = v, .w = w, .u = u, .s0 = s0, .both = both};
  s.args = (wkv6_args){.B = (size_t)B,
                       .T = (size_t)T,
                       .H = (size_t)H,
                       .N = (size_t)N,
                       .order = opt->order ? opt->order->token : NULL,
                       .lengths = opt->lengths,
                       .r = f32(r),
                       .k = f32(k),
                       .v = f32(v),
                       .w = f32(w),
                       .w_stride = tensor_count(w) == B * T * C ? (size_t)C : 0,
                       .u = u ? f32(u) : NULL,
                       .s0 = s0 ? f32(s0) : NULL,
                       .s0_stride = s0 && tensor_count(s0) != H * N * N ? (size_t)(H * N * N) : 0};
  s.y = tensor_like(c, r);
  if (state) s.state = tensor_4d(c, DTYPE_F32, B, H, N, N);
  if (!s.y || (state && !s.state)) return NULL;
  const tensor *end = opt->into ? opt->into : s.state;
  if (!cpu()->wkv6_forward(&s.args, f32(s.y), false, end ? f32(end) : NULL)) return NULL;
  if (both) {
    wkv6_args from_end = s.args;
    from_end.reverse = true;
    from_end.u = NULL;
    if (!cpu()->wkv6_forward(&from_end, f32(s.y), true, NULL)) return NULL;
  }
  bool any = r->needs_grad || k->needs_grad || v->needs_grad || w->needs_grad || (u && u->needs_grad) ||
             (s0 && s0->needs_grad);
  tensor *y = track(c, s.y, any, wkv6_backward, &s, sizeof s);
  if (y && s.state) {
    s.state->needs_grad = y->needs_grad;
    *state = s.state;
  }
  return y;
}
