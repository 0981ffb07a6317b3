/* Shifts by a plan of channel spans, mixes with the shifted tokens, data-dependent mixing amounts. Spec operators 3. */
#include <assert.h>
#include <string.h>

#include "kernels/blas.h"
#include "kernels/ops.h"

shift_plan shift_previous(int channels, const scan_order *order) {
  return (shift_plan){.period = channels,
                      .n_spans = 1,
                      .order = order,
                      .span = {{.c0 = 0, .c1 = channels, .source = SHIFT_STEP, .step = 1}}};
}

shift_plan shift_quarters(int head_size, int h, int w) {
  static const int dx[4] = {-1, 1, 0, 0}, dy[4] = {0, 0, -1, 1};
  shift_plan plan = {.period = head_size, .n_spans = 4, .h = h, .w = w};
  for (int j = 0; j < 4; j++)
    plan.span[j] = (shift_span){
        .c0 = head_size * j / 4, .c1 = head_size * (j + 1) / 4, .source = SHIFT_GRID, .dx = dx[j], .dy = dy[j]};
  return plan;
}

shift_plan shift_halves(int head_size) {
  const int half = head_size / 2;
  return (shift_plan){.period = head_size,
                      .n_spans = 2,
                      .span = {{.c0 = 0, .c1 = half, .source = SHIFT_STEP, .step = 1},
                               {.c0 = half, .c1 = head_size, .source = SHIFT_STEP, .step = -1}}};
}

enum { FROM_NOTHING = -1, FROM_CARRY = -2 }; /* as cpu.h's shift_rows reads them */

/* The token that span g reads at token t; FROM_CARRY just before the first step. */
static int32_t source_token(const shift_plan *plan, const shift_span *g, int64_t t, int64_t T) {
  if (g->source == SHIFT_SELF) return (int32_t)t;
  if (g->source == SHIFT_GRID && t >= (int64_t)plan->h * plan->w) return (int32_t)t;
  if (g->source == SHIFT_GRID) {
    int64_t x = t % plan->w + g->dx, y = t / plan->w + g->dy;
    bool inside = x >= 0 && x < plan->w && y >= 0 && y < plan->h;
    return inside ? (int32_t)(y * plan->w + x) : FROM_NOTHING;
  }
  int64_t step = (plan->order ? plan->order->step[t] : t) - g->step;
  if (step == -1 && g->step == 1) return FROM_CARRY;
  if (step < 0 || step >= T) return FROM_NOTHING;
  return plan->order ? plan->order->token[step] : (int32_t)step;
}

typedef struct {
  tensor *x, *carry, *y;
  size_t n_spans, period;
  int32_t c0[SHIFT_SPANS], c1[SHIFT_SPANS];
  int32_t *inverse;    /* [n_spans,T]: the token that reads token t, or FROM_NOTHING */
  int64_t first_token; /* the token that reads the carry, or -1 */
} shift_record;

static void shift_backward(ctx *c, void *saved) {
  shift_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  size_t B = (size_t)s->x->dim[0], T = (size_t)s->x->dim[1], C = (size_t)s->x->dim[2];
  bool acc;
  float *gx = grad_target(c, s->x, &acc);
  if (gx) cpu()->shift_rows(B, T, C, s->period, s->n_spans, s->c0, s->c1, s->inverse, gy, NULL, gx, acc);
  float *gc = grad_sum_target(c, s->carry);
  for (size_t b = 0; gc && s->first_token >= 0 && b < B; b++) {
    const float *row = gy + (b * T + (size_t)s->first_token) * C;
    for (size_t i = 0; i < C; i++) gc[b * C + i] += row[i];
  }
}

tensor *shift(ctx *c, tensor *x, const shift_plan *plan, tensor *carry) {
  if (!x) return NULL;
  assert(x->n_dims == 3 && x->dim[2] % plan->period == 0 && plan->n_spans <= SHIFT_SPANS);
  assert(!carry || (plan->n_spans == 1 && tensor_count(carry) == x->dim[0] * x->dim[2]));
  assert(!plan->order || plan->order->n == x->dim[1]);
  int64_t T = x->dim[1];
  shift_record s = {
      .x = x, .carry = carry, .n_spans = (size_t)plan->n_spans, .period = (size_t)plan->period, .first_token = -1};
  size_t entries = s.n_spans * (size_t)T;
  int32_t *source = arena_alloc(c->memory, entries * sizeof *source);
  s.inverse = arena_alloc(c->memory, entries * sizeof *source);
  s.y = tensor_like(c, x);
  if (!source || !s.inverse || !s.y) return NULL;
  for (size_t i = 0; i < entries; i++) s.inverse[i] = FROM_NOTHING;
  for (int g = 0; g < plan->n_spans; g++) {
    const shift_span *span = &plan->span[g];
    assert(span->source != SHIFT_GRID || (int64_t)plan->h * plan->w <= T);
    s.c0[g] = span->c0;
    s.c1[g] = span->c1;
    for (int64_t t = 0; t < T; t++) {
      int32_t from = source_token(plan, span, t, T);
      source[g * T + t] = from;
      if (from >= 0) s.inverse[g * T + from] = (int32_t)t;
      if (from == FROM_CARRY) s.first_token = t;
    }
  }
  cpu()->shift_rows((size_t)x->dim[0], (size_t)T, (size_t)x->dim[2], s.period, s.n_spans, s.c0, s.c1, source, f32(x),
                    carry ? f32(carry) : NULL, f32(s.y), false);
  return track(c, s.y, x->needs_grad || (carry && carry->needs_grad), shift_backward, &s, sizeof s);
}

/* --- mix ---------------------------------------------------------------------------------------------------------- */

enum { MIXES = 8 };

typedef struct {
  tensor *x, *s, *mu[MIXES], *token_mu, *y;
  int K;
  float *packed; /* [K,C] */
} mix_record;

/* Where the gradients of x, s and the shared amounts go; NULL = not wanted. */
typedef struct {
  float *x, *s, *mu[MIXES];
  bool acc_x, acc_s, any_mu;
} mix_targets;

static mix_targets mix_targets_of(ctx *c, const mix_record *r) {
  mix_targets to = {.acc_x = false};
  to.x = grad_target(c, r->x, &to.acc_x);
  to.s = grad_target(c, r->s, &to.acc_s);
  for (int k = 0; k < r->K; k++) to.any_mu |= (to.mu[k] = grad_sum_target(c, r->mu[k])) != NULL;
  return to;
}

/* Gradients, given gy and the amounts by token; gtoken, those of the amounts, is written. */
static void mix_gradients(ctx *c, const mix_record *r, const mix_targets *to, const float *token_mu, const float *gy,
                          float *gtoken) {
  const size_t M = (size_t)tensor_rows(r->x), C = (size_t)tensor_last(r->x), K = (size_t)r->K;
  float *gmu = to->any_mu ? arena_alloc(c->memory, K * C * sizeof *gmu) : NULL;
  if (to->any_mu && !gmu) {
    c->failed = true;
    return;
  }
  if (gmu) memset(gmu, 0, K * C * sizeof *gmu);
  cpu()->mix_backward(K, M, C, f32(r->x), f32(r->s), r->packed, token_mu, gy, to->x, to->acc_x, to->s, to->acc_s, gmu,
                      gtoken);
  for (size_t k = 0; gmu && k < K; k++)
    if (to->mu[k]) cpu()->axpby(C, 1, gmu + k * C, 1, to->mu[k], to->mu[k]);
}

static void mix_backward(ctx *c, void *saved) {
  mix_record *r = saved;
  const float *gy = grad_of(r->y);
  if (!gy) return;
  const size_t n = (size_t)tensor_count(r->y);
  const mix_targets to = mix_targets_of(c, r);
  bool acc = false;
  float *gt = r->token_mu ? grad_target(c, r->token_mu, &acc) : NULL;
  float *gt_new = gt && acc ? arena_alloc(c->memory, n * sizeof *gt) : gt; /* the kernel only writes it */
  if (gt && !gt_new) {
    c->failed = true;
    return;
  }
  mix_gradients(c, r, &to, r->token_mu ? f32(r->token_mu) : NULL, gy, gt_new);
  if (gt_new != gt) cpu()->axpby(n, 1, gt_new, 1, gt, gt);
}

/* Room for the mixes of x toward s and their amounts, side by side. */
static bool mix_begin(ctx *c, mix_record *r, tensor *x, tensor *s, int K, tensor *const mu[]) {
  const size_t C = (size_t)tensor_last(x);
  assert(K >= 1 && K <= MIXES && x->n_dims < TENSOR_DIMS && tensor_count(x) == tensor_count(s));
  *r = (mix_record){.x = x, .s = s, .K = K};
  int64_t dim[TENSOR_DIMS] = {K};
  for (int i = 0; i < x->n_dims; i++) dim[i + 1] = x->dim[i];
  r->y = tensor_new(c, DTYPE_F32, x->n_dims + 1, dim);
  r->packed = arena_alloc(c->memory, (size_t)K * C * sizeof(float));
  if (!r->y || !r->packed) return false;
  for (int k = 0; k < K; k++) {
    assert((size_t)tensor_count(mu[k]) == C);
    r->mu[k] = mu[k];
    memcpy(r->packed + (size_t)k * C, mu[k]->data, C * sizeof(float));
  }
  return true;
}

tensor *shift_mix(ctx *c, tensor *x, tensor *s, mix_kind kind, int K, tensor *const mu[], tensor *token_mu) {
  if (!x || !s) return NULL;
  assert(!token_mu || tensor_count(token_mu) == K * tensor_count(x));
  mix_record r;
  /* x m + s (1-m) is the mix of s toward x */
  if (!mix_begin(c, &r, kind == MIX_KEEP ? s : x, kind == MIX_KEEP ? x : s, K, mu)) return NULL;
  r.token_mu = token_mu;
  bool any = x->needs_grad || s->needs_grad || (token_mu && token_mu->needs_grad);
  for (int k = 0; k < K; k++) any |= mu[k]->needs_grad;
  cpu()->mix_forward((size_t)K, (size_t)tensor_rows(x), (size_t)tensor_last(x), f32(r.x), f32(r.s), r.packed,
                     token_mu ? f32(token_mu) : NULL, f32(r.y));
  return track(c, r.y, any, mix_backward, &r, sizeof r);
}

/* tanh((x + (s-x) maa_x) w1) */
static tensor *gate_rows(ctx *c, tensor *x, tensor *s, tensor *maa_x, tensor *w1) {
  tensor *mixed = shift_mix(c, x, s, MIX_TOWARD, 1, &maa_x, NULL); /* [1,B,T,C] */
  if (!mixed) return NULL;
  mixed = tensor_view(c, mixed, x->n_dims, x->dim);
  return act(c, ACT_TANH, linear_right(c, mixed, w1));
}

typedef struct {
  mix_record mix;
  tensor *h, *w2;
} ddlerp_record;

/* The amounts are computed again: they are as large as the mixes, and cheap. */
static void ddlerp_backward(ctx *c, void *saved) {
  const ddlerp_record *s = saved;
  const mix_record *r = &s->mix;
  const float *gy = grad_of(r->y), *h = f32(s->h), *w2 = f32(s->w2);
  if (!gy) return;
  const size_t M = (size_t)tensor_rows(r->x), C = (size_t)tensor_last(r->x), K = (size_t)r->K;
  const size_t R = (size_t)s->w2->dim[1], plane = M * C;
  const mix_targets to = mix_targets_of(c, r);
  bool acc_h = false, acc_w = false;
  float *gh = grad_target(c, s->h, &acc_h), *gw = grad_target(c, s->w2, &acc_w);
  const arena_mark mark = arena_here(c->memory);
  float *amounts = arena_alloc(c->memory, K * plane * sizeof *amounts);
  float *slopes = arena_alloc(c->memory, K * plane * sizeof *slopes);
  if (!amounts || !slopes) {
    c->failed = true;
    return;
  }
  for (size_t k = 0; k < K; k++)
    sgemm(false, false, M, C, R, 1, h + k * R, K * R, w2 + k * R * C, C, 0, amounts + k * plane, C);
  mix_gradients(c, r, &to, amounts, gy, slopes);
  for (size_t k = 0; gh && k < K; k++)
    sgemm(false, true, M, R, C, 1, slopes + k * plane, C, w2 + k * R * C, C, acc_h, gh + k * R, K * R);
  for (size_t k = 0; gw && k < K; k++)
    sgemm(true, false, R, C, M, 1, h + k * R, K * R, slopes + k * plane, C, acc_w, gw + k * R * C, C);
  arena_release(c->memory, mark);
}

tensor *ddlerp(ctx *c, tensor *x, tensor *s, int K, tensor *const mu[], tensor *maa_x, tensor *w1, tensor *w2) {
  ddlerp_record r = {.h = gate_rows(c, x, s, maa_x, w1), .w2 = w2};
  if (!r.h) return NULL;
  const size_t C = (size_t)tensor_last(x), R = (size_t)w2->dim[1];
  assert(w2->n_dims == 3 && w2->dim[0] == K && (size_t)w2->dim[2] == C && (size_t)tensor_last(r.h) == (size_t)K * R);
  if (!mix_begin(c, &r.mix, x, s, K, mu)) return NULL;
  cpu()->mix_low_rank((size_t)K, (size_t)tensor_rows(x), C, R, f32(x), f32(s), r.mix.packed, f32(r.h), f32(w2),
                      f32(r.mix.y));
  bool any = x->needs_grad || s->needs_grad || r.h->needs_grad || w2->needs_grad;
  for (int k = 0; k < K; k++) any |= mu[k]->needs_grad;
  return track(c, r.mix.y, any, ddlerp_backward, &r, sizeof r);
}
