/* Layer norm and group norm per token: one operator over spans of channels. Spec operators 1.3. */
#include <assert.h>

#include "kernels/ops.h"

typedef struct {
  tensor *x, *w, *b, *y, *mean, *rstd;
  size_t groups;
} norm_record;

static void norm_backward(ctx *c, void *saved) {
  norm_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  size_t n = (size_t)tensor_last(s->x) / s->groups;
  bool acc = false;
  float *gx = grad_target(c, s->x, &acc), *gw = grad_sum_target(c, s->w), *gb = grad_sum_target(c, s->b);
  cpu()->norm_backward((size_t)tensor_rows(s->x), s->groups, n, f32(s->x), s->w ? f32(s->w) : NULL, f32(s->mean),
                       f32(s->rstd), gy, gx, acc, gw, gb);
}

static tensor *norm(ctx *c, tensor *x, size_t groups, tensor *w, tensor *b, float eps) {
  if (!x) return NULL;
  int64_t rows = tensor_rows(x), C = tensor_last(x);
  assert(C % (int64_t)groups == 0 && !w == !b && (!w || (tensor_count(w) == C && tensor_count(b) == C)));
  tensor *y = tensor_like(c, x);
  tensor *mean = tensor_2d(c, DTYPE_F32, rows, (int64_t)groups), *rstd = tensor_2d(c, DTYPE_F32, rows, (int64_t)groups);
  if (!y || !mean || !rstd) return NULL;
  cpu()->norm_forward((size_t)rows, groups, (size_t)C / groups, eps, f32(x), w ? f32(w) : NULL, b ? f32(b) : NULL,
                      f32(y), f32(mean), f32(rstd));
  bool any = x->needs_grad || (w && (w->needs_grad || b->needs_grad));
  return track(c, y, any, norm_backward, &(norm_record){x, w, b, y, mean, rstd, groups}, sizeof(norm_record));
}

tensor *layer_norm(ctx *c, tensor *x, tensor *w, tensor *b, float eps) { return norm(c, x, 1, w, b, eps); }

tensor *group_norm(ctx *c, tensor *x, int heads, tensor *w, tensor *b, float eps) {
  return norm(c, x, (size_t)heads, w, b, eps);
}
