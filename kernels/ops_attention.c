/* Attention, a tile of queries at a time against all keys: two matrix products with a softmax between. What is kept for
 * backward is one number a query, the logarithm of its sum; the weights are made again. Spec operators 4. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/blas.h"
#include "kernels/ops.h"

enum { TILE = 64 }; /* queries */

typedef struct {
  tensor *q, *k, *v, *y;
  float *lse; /* [B,H,Tq] */
  attention_opt opt;
} attention_record;

/* Some queries of one head and the keys that any of them sees. */
typedef struct {
  size_t rows, keys;     /* of the tile */
  size_t first, step;    /* its row m sees first + m * step keys */
  size_t width, v_width; /* of a head */
  size_t C, Cv;          /* between tokens */
  size_t q_at, k_at;     /* where the tile's queries and the head's keys begin */
  size_t y_at, v_at;     /* the same among results and values */
  size_t lse_at;
} tile;

static tile tile_of(const attention_record *s, size_t b, size_t h, size_t row) {
  const attention_opt *o = &s->opt;
  const size_t Tq = (size_t)s->q->dim[1], Tk = (size_t)s->k->dim[1], H = (size_t)o->heads;
  tile t = {.rows = Tq - row < TILE ? Tq - row : TILE,
            .keys = o->lengths ? (size_t)o->lengths[b] : Tk,
            .C = (size_t)tensor_last(s->q),
            .Cv = (size_t)tensor_last(s->v)};
  t.width = t.C / H;
  t.v_width = t.Cv / H;
  t.first = t.keys;
  if (o->causal) {
    const size_t seen = (size_t)o->q_pos0 + row + t.rows;
    t.first = (size_t)o->q_pos0 + row + 1;
    t.step = 1;
    if (seen < t.keys) t.keys = seen;
  }
  t.q_at = (b * Tq + row) * t.C + h * t.width;
  t.k_at = b * Tk * t.C + h * t.width;
  t.y_at = (b * Tq + row) * t.Cv + h * t.v_width;
  t.v_at = b * Tk * t.Cv + h * t.v_width;
  t.lse_at = (b * H + h) * Tq + row;
  return t;
}

/* p[rows,keys] = q k^T */
static void products(const attention_record *s, const tile *t, float *p) {
  sgemm(false, true, t->rows, t->keys, t->width, 1, f32(s->q) + t->q_at, t->C, f32(s->k) + t->k_at, t->C, 0, p,
        t->keys);
}

static void forward_tile(const attention_record *s, const tile *t, float *p) {
  float *y = f32(s->y) + t->y_at, *lse = s->lse + t->lse_at;
  if (!t->keys) {
    for (size_t m = 0; m < t->rows; m++) {
      memset(y + m * t->Cv, 0, t->v_width * sizeof *y);
      lse[m] = INFINITY;
    }
    return;
  }
  products(s, t, p);
  cpu()->attention_weights(t->rows, t->keys, t->first, t->step, s->opt.scale, p, lse);
  sgemm(false, false, t->rows, t->v_width, t->keys, 1, p, t->keys, f32(s->v) + t->v_at, t->Cv, 0, y, t->Cv);
}

/* p and g: tiles of scratch. */
static void backward_tile(const attention_record *s, const tile *t, const float *gy, float *gq, float *gk, float *gv,
                          float *p, float *g) {
  gy += t->y_at;
  products(s, t, p);
  cpu()->attention_weights_again(t->rows, t->keys, t->first, t->step, s->opt.scale, s->lse + t->lse_at, p);
  if (gv) sgemm(true, false, t->keys, t->v_width, t->rows, 1, p, t->keys, gy, t->Cv, 1, gv + t->v_at, t->Cv);
  if (!gq && !gk) return;
  sgemm(false, true, t->rows, t->keys, t->v_width, 1, gy, t->Cv, f32(s->v) + t->v_at, t->Cv, 0, g, t->keys);
  cpu()->attention_slopes(t->rows, t->keys, s->opt.scale, p, g);
  if (gq)
    sgemm(false, false, t->rows, t->width, t->keys, 1, g, t->keys, f32(s->k) + t->k_at, t->C, 1, gq + t->q_at, t->C);
  if (gk)
    sgemm(true, false, t->keys, t->width, t->rows, 1, g, t->keys, f32(s->q) + t->q_at, t->C, 1, gk + t->k_at, t->C);
}

/* `tiles` tiles of scratch for every thread; NULL when memory runs out. */
static float *scratch_new(ctx *c, const attention_record *s, size_t tiles) {
  size_t bytes;
  if (!size_mul((size_t)omp_get_max_threads() * tiles * TILE * sizeof(float), (size_t)s->k->dim[1], &bytes))
    return fail_null(STATUS_MEMORY, "attention over this many tokens does not fit in memory");
  return arena_alloc(c->memory, bytes);
}

static float *scratch_mine(const attention_record *s, float *scratch, size_t tiles) {
  return scratch + (size_t)omp_get_thread_num() * tiles * TILE * (size_t)s->k->dim[1];
}

/* Threads share the heads, so that sums over queries have one order. */
static void attention_backward(ctx *c, void *saved) {
  const attention_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  float *gq = grad_sum_target(c, s->q), *gk = grad_sum_target(c, s->k), *gv = grad_sum_target(c, s->v);
  const arena_mark mark = arena_here(c->memory);
  float *scratch = scratch_new(c, s, 2);
  if (!scratch) {
    c->failed = true;
    return;
  }
  const size_t B = (size_t)s->q->dim[0], Tq = (size_t)s->q->dim[1], H = (size_t)s->opt.heads;
#pragma omp parallel for schedule(static)
  for (size_t head = 0; head < B * H; head++) {
    float *p = scratch_mine(s, scratch, 2), *g = p + TILE * (size_t)s->k->dim[1];
    for (size_t row = 0; row < Tq; row += TILE) {
      const tile t = tile_of(s, head / H, head % H, row);
      if (t.keys) backward_tile(s, &t, gy, gq, gk, gv, p, g);
    }
  }
  arena_release(c->memory, mark);
}

tensor *attention(ctx *c, tensor *q, tensor *k, tensor *v, const attention_opt *opt) {
  if (!q || !k || !v) return NULL;
  const int64_t B = q->dim[0], Tq = q->dim[1], H = opt->heads;
  assert(q->n_dims == 3 && k->n_dims == 3 && v->n_dims == 3 && k->dim[0] == B && v->dim[0] == B);
  assert(k->dim[1] == v->dim[1] && k->dim[2] == q->dim[2] && H >= 1 && q->dim[2] % H == 0 && v->dim[2] % H == 0);
  assert(opt->q_pos0 >= 0);
  attention_record s = {q, k, v, tensor_3d(c, DTYPE_F32, B, Tq, v->dim[2]), NULL, *opt};
  s.lse = arena_alloc(c->memory, (size_t)(B * H * Tq) * sizeof *s.lse);
  const arena_mark mark = arena_here(c->memory);
  float *scratch = s.y && s.lse ? scratch_new(c, &s, 1) : NULL;
  if (!scratch) return NULL;
  const size_t tiles = ((size_t)Tq + TILE - 1) / TILE, heads = (size_t)H;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < (size_t)B * heads * tiles; i++) {
    const size_t head = i / tiles;
    const tile t = tile_of(&s, head / heads, head % heads, i % tiles * TILE);
    forward_tile(&s, &t, scratch_mine(&s, scratch, 1));
  }
  arena_release(c->memory, mark);
  return track(c, s.y, q->needs_grad || k->needs_grad || v->needs_grad, attention_backward, &s, sizeof s);
}
