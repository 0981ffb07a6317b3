#include "train/lm_score.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"

size_t lm_row_reads(const lm_row *row) { return row->n_prefix + row->n - 1; }

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* A row's place in the order of work. */
typedef struct {
  size_t reads, index;
} turn;

/* Rows that are read together: the longest first, so that those with tokens left are the first ones. */
typedef struct {
  const lm_scorer *s;
  const lm_row *row;
  const turn *turn; /* [state.batch] */
  rwkv_state state;
} group;

static const lm_row *row_of(const group *g, int b) { return &g->row[g->turn[b].index]; }

/* --- from rows of tokens to logits -------------------------------------------------------------------------------- */

/* Token rows whose next token is scored, at most as many as logits fit in memory. */
typedef struct {
  int64_t n, most;
  int32_t *from, *target; /* [most] which token row, what follows it */
  float *weight, *ce;     /* [most] */
  float **nats;           /* [most] where the result belongs */
  bool **likeliest;       /* [most] or NULL */
} slice;

enum { SLICE_FLOATS = 1 << 24 };

static bool slice_new(slice *p, ctx *c, int64_t rows, int64_t vocabulary) {
  const int64_t fit = SLICE_FLOATS / vocabulary;
  *p = (slice){.most = fit < 1 ? 1 : fit < rows ? fit : rows};
  const size_t n = (size_t)p->most;
  return (p->from = arena_alloc(c->memory, n * sizeof *p->from)) &&
         (p->target = arena_alloc(c->memory, n * sizeof *p->target)) &&
         (p->weight = arena_alloc(c->memory, n * sizeof *p->weight)) &&
         (p->ce = arena_alloc(c->memory, n * sizeof *p->ce)) &&
         (p->nats = arena_alloc(c->memory, n * sizeof *p->nats)) &&
         (p->likeliest = arena_alloc(c->memory, n * sizeof *p->likeliest));
}

static bool is_first_largest(const float *logits, int64_t n, int32_t id) {
  for (int64_t i = 0; i < n; i++)
    if (i < id ? logits[i] >= logits[id] : logits[i] > logits[id]) return false;
  return true;
}

static status score_slice(const lm_scorer *s, tensor *x, slice *p) {
  if (!p->n) return STATUS_OK;
  const arena_mark mark = arena_here(s->c->memory);
  const tensor *y = rwkv_logits(s->c, s->model, gather_rows(s->c, x, p->n, p->from));
  if (!y) return last_status();
  const int64_t V = tensor_last(y);
  for (int64_t i = 0; i < p->n; i++) p->weight[i] = 1;
  cpu()->cross_entropy((size_t)p->n, (size_t)V, f32(y), p->target, p->weight, p->ce, NULL);
  status result = STATUS_OK;
  for (int64_t i = 0; i < p->n; i++) {
    if (!isfinite(p->ce[i]))
      result = fail(STATUS_FORMAT, "the model computes NaN or infinity: its weights are damaged or out of range");
    *p->nats[i] = p->ce[i];
    if (p->likeliest[i]) *p->likeliest[i] = is_first_largest(f32(y) + i * V, V, p->target[i]);
  }
  p->n = 0;
  arena_release(s->c->memory, mark);
  return result;
}

/* x [B,T,D]: what the model made of the tokens from `at` on, lengths[b] of them. */
static status score_tokens(const group *g, tensor *x, size_t at, const int32_t *lengths) {
  slice p;
  const int64_t B = x->dim[0], T = x->dim[1];
  if (!slice_new(&p, g->s->c, B * T, g->s->model->config.vocab_size)) return last_status();
  status s = STATUS_OK;
  for (int b = 0; !s && b < B; b++) {
    const lm_row *row = row_of(g, b);
    for (int64_t t = 0; !s && t < lengths[b]; t++) {
      const size_t next = at + (size_t)t + 1;
      if (next < row->n_prefix + row->first) continue;
      const size_t target = next - row->n_prefix;
      p.from[p.n] = (int32_t)(b * T + t);
      p.target[p.n] = row->ids[target];
      p.nats[p.n] = row->nats + (target - row->first);
      p.likeliest[p.n++] = row->likeliest ? row->likeliest + (target - row->first) : NULL;
      if (p.n == p.most) s = score_slice(g->s, x, &p);
    }
  }
  return s ? s : score_slice(g->s, x, &p);
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

static int32_t token_at(const lm_row *row, size_t i) {
  return i < row->n_prefix ? row->prefix[i] : row->ids[i - row->n_prefix];
}

static status read_chunk(group *g, size_t at, size_t T) {
  ctx *c = g->s->c;
  const int B = g->state.batch;
  tensor *ids = tensor_2d(c, DTYPE_I32, B, (int64_t)T);
  int32_t *lengths = arena_alloc(c->memory, (size_t)B * sizeof *lengths);
  if (!ids || !lengths) return last_status();
  size_t all = 0;
  for (int b = 0; b < B; b++) {
    const size_t n = least(g->turn[b].reads - at, T);
    for (size_t t = 0; t < T; t++) i32(ids)[(size_t)b * T + t] = t < n ? token_at(row_of(g, b), at + t) : 0;
    lengths[b] = (int32_t)n;
    all += n;
  }
  tensor *x = rwkv_forward(c, g->s->model, rwkv_embed(c, g->s->model, ids),
                           &(rwkv_input){.state = &g->state, .lengths = lengths});
  const status s = x ? score_tokens(g, x, at, lengths) : last_status();
  if (!s && g->s->progress && !g->s->progress(g->s->user, all)) return fail(STATUS_INTERRUPTED, "interrupted");
  return s;
}

/* Keeps the first n rows; the others' states go where they are wanted. */
static status retire(group *g, int n) {
  for (int b = n; b < g->state.batch; b++) {
    const lm_row *row = row_of(g, b);
    if (row->to) rwkv_state_copy_row(row->to, row->to_row, &g->state, b);
  }
  if (n == 0 || n == g->state.batch) return STATUS_OK;
  rwkv_state fewer;
  const status s = rwkv_state_new(&fewer, &g->state.config, n);
  if (s) return s;
  for (int b = 0; b < n; b++) rwkv_state_copy_row(&fewer, b, &g->state, b);
  rwkv_state_free(&g->state);
  g->state = fewer;
  return STATUS_OK;
}

static int with_tokens_left(const group *g, size_t at) {
  int n = 0;
  while (n < g->state.batch && g->turn[n].reads > at) n++;
  return n;
}

static status score_group(group *g, int rows, size_t chunk) {
  status s = rwkv_state_new(&g->state, &g->s->model->config, rows);
  if (s) return s;
  rwkv_state_start(&g->state, g->s->model);
  for (int b = 0; b < rows; b++) {
    const lm_row *row = row_of(g, b);
    if (row->from) rwkv_state_copy_row(&g->state, b, row->from, row->from_row);
  }
  const size_t longest = g->turn[0].reads;
  for (size_t at = 0; !s && at < longest; at += chunk) {
    const arena_mark mark = arena_here(g->s->c->memory);
    s = retire(g, with_tokens_left(g, at));
    if (!s) s = read_chunk(g, at, least(chunk, longest - at));
    arena_release(g->s->c->memory, mark);
  }
  if (!s) s = retire(g, 0);
  rwkv_state_free(&g->state);
  return s;
}

/* --- all rows ----------------------------------------------------------------------------------------------------- */

static int longest_first(const void *a, const void *b) {
  const turn *x = a, *y = b;
  if (x->reads != y->reads) return x->reads < y->reads ? 1 : -1;
  return (x->index > y->index) - (x->index < y->index);
}

status lm_score(const lm_scorer *s, const lm_row *row, size_t n) {
  turn *turns = mem_alloc(n, sizeof *turns);
  if (!turns) return STATUS_MEMORY;
  for (size_t i = 0; i < n; i++) {
    assert(row[i].n_prefix + row[i].n > 0 && row[i].first <= row[i].n && row[i].first + row[i].n_prefix > 0);
    turns[i] = (turn){lm_row_reads(&row[i]), i};
  }
  qsort(turns, n, sizeof *turns, longest_first);
  status result = STATUS_OK;
  const size_t batch = (size_t)s->batch;
  for (size_t at = 0, rows; !result && at < n; at += rows) {
    const size_t longest = turns[at].reads, chunk = least(least(RWKV_CHUNK, batch), longest ? longest : 1);
    rows = least(batch / chunk, n - at);
    group g = {.s = s, .row = row, .turn = turns + at};
    result = score_group(&g, (int)rows, chunk);
  }
  free(turns);
  return result;
}
