/* Products within every head of a token: unit length, the bonus of RWKV-7. Spec operators 1.2, language-models 3.5. In
 * backward threads share the heads, so that sums over tokens have one order. */
#include <assert.h>
#include <math.h>

#include "kernels/ops.h"

/* Fewer numbers are not worth waking other threads. */
static const size_t parallel_min = (size_t)1 << 15;

/* A gradient buffer to add to, or NULL. */
static float *at(float *g, size_t offset) { return g ? g + offset : NULL; }

/* --- unit length -------------------------------------------------------------------------------------------------- */

static const float SHORTEST = 1e-12f;

typedef struct {
  tensor *x, *w, *y;
  size_t heads;
} unit_record;

static float weighted(const float *x, const float *w, size_t i) { return w ? x[i] * w[i] : x[i]; }

/* The length of x w; w may be NULL. */
static float length_of(size_t N, const float *x, const float *w) {
  double sum = 0;
  for (size_t i = 0; i < N; i++) sum += (double)weighted(x, w, i) * (double)weighted(x, w, i);
  return (float)sqrt(sum);
}

static void unit_backward(ctx *c, void *saved) {
  unit_record *s = saved;
  const float *gy = grad_of(s->y), *x = f32(s->x), *w = s->w ? f32(s->w) : NULL, *y = f32(s->y);
  if (!gy) return;
  float *gx = grad_sum_target(c, s->x), *gw = grad_sum_target(c, s->w);
  const size_t M = (size_t)tensor_rows(s->x), C = (size_t)tensor_last(s->x), N = C / s->heads;
#pragma omp parallel for schedule(static) if (M * C >= parallel_min)
  for (size_t h = 0; h < s->heads; h++)
    for (size_t m = 0; m < M; m++) {
      const size_t first = m * C + h * N;
      const float *head_w = w ? w + h * N : NULL, length = length_of(N, x + first, head_w);
      double along = 0;
      for (size_t i = 0; i < N && length > SHORTEST; i++) along += (double)y[first + i] * (double)gy[first + i];
      for (size_t i = 0; i < N; i++) {
        const float g = (gy[first + i] - (float)along * y[first + i]) / fmaxf(length, SHORTEST);
        if (gx) gx[first + i] += w ? g * head_w[i] : g;
        if (gw) gw[h * N + i] += g * x[first + i];
      }
    }
}

tensor *l2_normalise(ctx *c, tensor *x, tensor *w, int heads) {
  if (!x) return NULL;
  const size_t M = (size_t)tensor_rows(x), C = (size_t)tensor_last(x), H = (size_t)heads, N = C / H;
  assert(C % H == 0 && (!w || (size_t)tensor_count(w) == C));
  unit_record s = {x, w, tensor_like(c, x), H};
  if (!s.y) return NULL;
#pragma omp parallel for schedule(static) if (M * C >= parallel_min)
  for (size_t m = 0; m < M; m++)
    for (size_t h = 0; h < H; h++) {
      const float *in = f32(x) + m * C + h * N, *head_w = w ? f32(w) + h * N : NULL;
      const float factor = 1 / fmaxf(length_of(N, in, head_w), SHORTEST);
      for (size_t i = 0; i < N; i++) f32(s.y)[m * C + h * N + i] = weighted(in, head_w, i) * factor;
    }
  return track(c, s.y, x->needs_grad || (w && w->needs_grad), unit_backward, &s, sizeof s);
}

/* --- bonus -------------------------------------------------------------------------------------------------------- */

typedef struct {
  tensor *r, *k, *u, *v, *y;
  size_t heads;
} bonus_record;

static float product3(size_t N, const float *a, const float *b, const float *c) {
  float sum = 0;
  for (size_t i = 0; i < N; i++) sum += a[i] * b[i] * c[i];
  return sum;
}

/* g += factor a b */
static void add_product(size_t N, float factor, const float *a, const float *b, float *g) {
  for (size_t i = 0; g && i < N; i++) g[i] += factor * a[i] * b[i];
}

static void bonus_backward(ctx *c, void *saved) {
  bonus_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  float *gr = grad_sum_target(c, s->r), *gk = grad_sum_target(c, s->k), *gu = grad_sum_target(c, s->u),
        *gv = grad_sum_target(c, s->v);
  const size_t M = (size_t)tensor_rows(s->r), C = (size_t)tensor_last(s->r), N = C / s->heads;
#pragma omp parallel for schedule(static) if (M * C >= parallel_min)
  for (size_t h = 0; h < s->heads; h++)
    for (size_t m = 0; m < M; m++) {
      const size_t first = m * C + h * N;
      const float *r = f32(s->r) + first, *k = f32(s->k) + first, *v = f32(s->v) + first, *u = f32(s->u) + h * N;
      const float factor = product3(N, r, k, u);
      float g = 0;
      for (size_t i = 0; i < N; i++) g += gy[first + i] * v[i];
      for (size_t i = 0; gv && i < N; i++) gv[first + i] += factor * gy[first + i];
      add_product(N, g, k, u, at(gr, first));
      add_product(N, g, r, u, at(gk, first));
      add_product(N, g, r, k, at(gu, h * N));
    }
}

tensor *head_bonus(ctx *c, tensor *r, tensor *k, tensor *u, tensor *v, int heads) {
  if (!r || !k || !v) return NULL;
  const size_t M = (size_t)tensor_rows(r), C = (size_t)tensor_last(r), H = (size_t)heads, N = C / H;
  assert(C % H == 0 && (size_t)tensor_count(u) == C && tensor_count(k) == tensor_count(r) &&
         tensor_count(v) == tensor_count(r));
  bonus_record s = {r, k, u, v, tensor_like(c, r), H};
  if (!s.y) return NULL;
#pragma omp parallel for schedule(static) if (M * C >= parallel_min)
  for (size_t m = 0; m < M; m++)
    for (size_t h = 0; h < H; h++) {
      const size_t first = m * C + h * N;
      const float factor = product3(N, f32(r) + first, f32(k) + first, f32(u) + h * N);
      for (size_t i = 0; i < N; i++) f32(s.y)[first + i] = factor * f32(v)[first + i];
    }
  bool any = r->needs_grad || k->needs_grad || u->needs_grad || v->needs_grad;
  return track(c, s.y, any, bonus_backward, &s, sizeof s);
}
