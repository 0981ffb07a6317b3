/* Products: linear layers through BLAS or, with packed weights and for few rows, our own kernels; table lookup and row
 * gathering. Spec operators 1.1. */
#include <assert.h>
#include <string.h>

#include "kernels/blas.h"
#include "kernels/ops.h"

/* The shape of x with its last dimension replaced. */
static tensor *with_last(ctx *c, const tensor *x, int64_t last) {
  int64_t dim[TENSOR_DIMS];
  memcpy(dim, x->dim, sizeof dim);
  dim[x->n_dims - 1] = last;
  return tensor_new(c, DTYPE_F32, x->n_dims, dim);
}

/* --- linear and linear_right: y = x op(w) + b --------------------------------------------------------------------- */

typedef struct {
  tensor *x, *w, *b, *y;
  bool right;
} linear_record;

static void linear_backward(ctx *c, void *saved) {
  linear_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  size_t M = (size_t)tensor_rows(s->x), K = (size_t)tensor_last(s->x), N = (size_t)tensor_last(s->y);
  size_t ldw = s->right ? N : K;
  bool acc;
  float *gx = grad_target(c, s->x, &acc);
  if (gx) sgemm(false, s->right, M, K, N, 1, gy, N, f32(s->w), ldw, acc, gx, K);
  float *gw = grad_target(c, s->w, &acc);
  if (gw && s->right) sgemm(true, false, K, N, M, 1, f32(s->x), K, gy, N, acc, gw, N);
  if (gw && !s->right) sgemm(true, false, N, K, M, 1, gy, N, f32(s->x), K, acc, gw, K);
  float *gb = grad_sum_target(c, s->b);
  if (gb) cpu()->sum_rows(M, N, gy, gb);
}

/* y[i] = act(x[i] w[i]^T) of single rows with packed weights. */
static bool row_products(ctx *c, size_t n, tensor *const *x, tensor *const *w, const act_kind *kind, tensor *const *y) {
  const arena_mark mark = arena_here(c->memory);
  packed_product product[ROW_PRODUCTS];
  bool ready = true;
  assert(!c->recording);
  for (size_t i = 0; i < n; i++) {
    void *room = arena_alloc(c->memory, packed_room(1, (size_t)tensor_last(x[i])));
    product[i] = (packed_product){packed_of(w[i]), 1, f32(x[i]), room, f32(y[i]), kind[i]};
    ready = ready && product[i].room;
  }
  if (ready) cpu()->product_row(n, product);
  arena_release(c->memory, mark);
  return ready;
}

/* y = act(x w^T) of several rows with packed weights, some at a time: as many each time. */
static bool rows_product(ctx *c, const packed_matrix *w, size_t M, const float *x, act_kind kind, float *y) {
  const size_t most = piece_of(M, PRODUCT_ROWS_MAX);
  const arena_mark mark = arena_here(c->memory);
  void *room = arena_alloc(c->memory, packed_room(most, w->K));
  for (size_t at = 0; room && at < M; at += most) {
    const packed_product p = {*w, M - at < most ? M - at : most, x + at * w->K, room, y + at * w->N, kind};
    dtype_is_quant(w->type) ? cpu()->product_quant(&p) : cpu()->product_half(&p);
  }
  arena_release(c->memory, mark);
  return room != NULL;
}

/* y = x w^T + b or (`right`) x w + b; b may be NULL. Then through the activation. */
static bool product(ctx *c, bool right, tensor *x, tensor *w, tensor *b, act_kind kind, tensor *y) {
  const size_t M = (size_t)tensor_rows(x), K = (size_t)tensor_last(x), N = (size_t)tensor_last(y), ldw = right ? N : K;
  const bool packed = dtype_is_packed(w->type);
  const act_kind inside = packed && !b ? kind : ACT_NONE; /* of what the kernel does */
  if (packed) {
    assert(!right && !c->recording);
    const packed_matrix m = packed_of(w);
    if (!(M == 1 ? row_products(c, 1, &x, &w, &inside, &y) : rows_product(c, &m, M, f32(x), inside, f32(y))))
      return false;
  } else if (M <= PRODUCT_FEW)
    cpu()->product_few(right, M, N, K, f32(x), K, f32(w), ldw, f32(y), N);
  else
    sgemm(false, !right, M, N, K, 1, f32(x), K, f32(w), ldw, 0, f32(y), N);
  if (b) cpu()->add_rows(M, N, f32(y), f32(b), f32(y));
  if (kind != inside) cpu()->act_forward(kind, M * N, f32(y), f32(y));
  return true;
}

static tensor *result_of(ctx *c, const tensor *x, const tensor *w, bool right) {
  assert(w->n_dims == 2 && w->dim[right ? 0 : 1] == tensor_last(x));
  return with_last(c, x, w->dim[right ? 1 : 0]);
}

static tensor *linear_any(ctx *c, bool right, act_kind kind, tensor *x, tensor *w, tensor *b) {
  if (!x) return NULL;
  tensor *y = result_of(c, x, w, right);
  if (!y || !product(c, right, x, w, b, kind, y)) return NULL;
  assert(!b || tensor_count(b) == tensor_last(y));
  bool any = x->needs_grad || w->needs_grad || (b && b->needs_grad);
  return track(c, y, any, linear_backward, &(linear_record){x, w, b, y, right}, sizeof(linear_record));
}

tensor *linear(ctx *c, tensor *x, tensor *w, tensor *b) { return linear_any(c, false, ACT_NONE, x, w, b); }
tensor *linear_right(ctx *c, tensor *x, tensor *w) { return linear_any(c, true, ACT_NONE, x, w, NULL); }
tensor *linear_act(ctx *c, act_kind kind, tensor *x, tensor *w, tensor *b) {
  return c->recording && kind ? act(c, kind, linear(c, x, w, b)) : linear_any(c, false, kind, x, w, b);
}

void linear_each(ctx *c, int n, tensor *const *x, tensor *const *w, const act_kind *kind, tensor **y) {
  static const act_kind none[ROW_PRODUCTS] = {ACT_NONE};
  assert(n <= ROW_PRODUCTS);
  if (!kind) kind = none;
  bool single = true, ready = true;
  for (int i = 0; i < n; i++) single = single && x[i] && tensor_rows(x[i]) == 1 && dtype_is_packed(w[i]->type);
  for (int i = 0; i < n; i++) {
    y[i] = single ? result_of(c, x[i], w[i], false) : linear_act(c, kind[i], x[i], w[i], NULL);
    ready = ready && y[i];
  }
  if (single && !(ready && row_products(c, (size_t)n, x, w, kind, y)))
    for (int i = 0; i < n; i++) y[i] = NULL;
}

/* --- rows of a table: embedding and gather_rows share one operator ------------------------------------------------ */

typedef struct {
  tensor *table, *y;
  const int32_t *row;
} rows_record;

static void rows_backward(ctx *c, void *saved) {
  rows_record *s = saved;
  const float *gy = grad_of(s->y);
  float *g = gy ? grad_sum_target(c, s->table) : NULL;
  if (!g) return;
  size_t C = (size_t)tensor_last(s->table), n = (size_t)tensor_rows(s->y);
  for (size_t i = 0; i < n; i++) /* rows may repeat: added in order, so results do not depend on threads */
    cpu()->axpby(C, 1, gy + i * C, 1, g + (size_t)s->row[i] * C, g + (size_t)s->row[i] * C);
}

static tensor *rows_of(ctx *c, tensor *table, const int32_t *row, tensor *y) {
  if (!y) return NULL;
  size_t C = (size_t)tensor_last(table), n = (size_t)tensor_rows(y);
  for (size_t i = 0; i < n; i++) {
    assert(row[i] >= 0 && row[i] < tensor_rows(table));
    if (dtype_is_packed(table->type)) {
      const packed_matrix packed = packed_of(table);
      packed_row_values(&packed, (size_t)row[i], f32(y) + i * C);
      continue;
    }
    memcpy(f32(y) + i * C, f32(table) + (size_t)row[i] * C, C * sizeof(float));
  }
  return track(c, y, table->needs_grad, rows_backward, &(rows_record){table, y, row}, sizeof(rows_record));
}

tensor *gather_rows(ctx *c, tensor *x, int64_t n, const int32_t *row) {
  return x ? rows_of(c, x, row, tensor_2d(c, DTYPE_F32, n, tensor_last(x))) : NULL;
}

tensor *embedding(ctx *c, const tensor *ids, tensor *e) {
  if (!ids) return NULL;
  assert(ids->type == DTYPE_I32 && e->n_dims == 2 && ids->n_dims < TENSOR_DIMS);
  int64_t dim[TENSOR_DIMS];
  memcpy(dim, ids->dim, sizeof dim);
  dim[ids->n_dims] = e->dim[1];
  return rows_of(c, e, i32(ids), tensor_new(c, DTYPE_F32, ids->n_dims + 1, dim));
}
