/* Pictures and positions: patch embedding, separable resampling, pooling, joining and picking tokens.
 * Spec operators 1.5, 5.2, 5.3. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/ops.h"

/* --- patch embedding: patches as rows, then a linear layer -------------------------------------------------------- */

tensor *patch_embed(ctx *c, const tensor *pixels, tensor *w, tensor *b, int patch) {
  if (!pixels) return NULL;
  assert(pixels->n_dims == 4 && pixels->dim[3] == 3 && w->dim[1] == (int64_t)patch * patch * 3);
  int64_t B = pixels->dim[0], H = pixels->dim[1], W = pixels->dim[2];
  int64_t h = (H + patch - 1) / patch, wide = (W + patch - 1) / patch;
  tensor *rows = tensor_4d(c, DTYPE_F32, B, h, wide, (int64_t)patch * patch * 3);
  if (!rows) return NULL;
  bool padded = h * patch != H || wide * patch != W;
  if (padded) memset(rows->data, 0, (size_t)tensor_count(rows) * sizeof(float));
  for (int64_t bi = 0; bi < B; bi++)
    for (int64_t y = 0; y < H; y++)
      for (int64_t gx = 0; gx < wide; gx++) {
        int64_t x0 = gx * patch, n = x0 + patch <= W ? patch : W - x0;
        const float *from = f32(pixels) + ((bi * H + y) * W + x0) * 3;
        float *to = f32(rows) + (((bi * h + y / patch) * wide + gx) * patch + y % patch) * patch * 3;
        memcpy(to, from, (size_t)n * 3 * sizeof *to);
      }
  return linear(c, rows, w, b);
}

/* --- resampling by tables ----------------------------------------------------------------------------------------- */

static resample_axis *axis_new(ctx *c, int n_in, int n_out, int width, int32_t **start, int32_t **count,
                               float **weight) {
  resample_axis *a = arena_alloc(c->memory, sizeof *a);
  *start = arena_alloc(c->memory, (size_t)n_out * sizeof **start);
  *count = arena_alloc(c->memory, (size_t)n_out * sizeof **count);
  *weight = arena_alloc(c->memory, (size_t)n_out * (size_t)width * sizeof **weight);
  if (!a || !*start || !*count || !*weight) return NULL;
  *a = (resample_axis){n_in, n_out, width, *start, *count, *weight};
  return a;
}

static double cubic(double t) { /* Keys' kernel with a = -0.75, as PyTorch's interpolate has it */
  const double a = -0.75;
  t = fabs(t);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return 0;
}

const resample_axis *resample_bicubic(ctx *c, int n_in, int n_out) {
  int32_t *start, *count;
  float *weight;
  enum { TAPS = 4 };
  resample_axis *axis = axis_new(c, n_in, n_out, TAPS, &start, &count, &weight);
  if (!axis) return NULL;
  for (int o = 0; o < n_out; o++) {
    double at = (o + 0.5) * n_in / n_out - 0.5, floor_at = floor(at);
    int first = (int)floor_at - 1;
    int low = first < 0 ? 0 : first > n_in - 1 ? n_in - 1 : first;
    float *row = weight + o * TAPS;
    memset(row, 0, TAPS * sizeof *row);
    start[o] = low;
    count[o] = 1;
    for (int i = 0; i < TAPS; i++) { /* taps beyond the border fall on the border cell */
      int cell = first + i < 0 ? 0 : first + i > n_in - 1 ? n_in - 1 : first + i;
      row[cell - low] += (float)cubic(at - (floor_at - 1 + i));
      if (cell - low + 1 > count[o]) count[o] = cell - low + 1;
    }
  }
  return axis;
}

const resample_axis *resample_pool(ctx *c, int n_in, int n_out) {
  assert(n_out >= 1 && n_in >= n_out);
  int32_t *start, *count;
  float *weight;
  int window = n_in / n_out;
  resample_axis *axis = axis_new(c, n_in, n_out, window, &start, &count, &weight);
  if (!axis) return NULL;
  for (int o = 0; o < n_out; o++) {
    start[o] = o * window;
    count[o] = window;
    for (int i = 0; i < window; i++) weight[o * window + i] = 1.0f / (float)window;
  }
  return axis;
}

typedef struct {
  tensor *x, *y;
  const resample_axis *rows, *columns;
} resample_record;

/* to += weight * from over C channels: rows are too short for a call of a kernel each. */
static void add_scaled(int64_t C, float weight, const float *restrict from, float *restrict to) {
  for (int64_t i = 0; i < C; i++) to[i] += weight * from[i];
}

/* Forward: y += table * x. Backward: x += table^T * y, from each output cell back to its inputs. Threads share the
 * pictures, so that sums have one order. */
static void resample_pass(const resample_record *s, float *x, float *y, bool backward_pass) {
  int64_t B = s->x->dim[0], h = s->x->dim[1], w = s->x->dim[2], C = s->x->dim[3];
  const resample_axis *R = s->rows, *K = s->columns;
#pragma omp parallel for schedule(static) if (B > 1)
  for (int64_t b = 0; b < B; b++)
    for (int64_t o = 0; o < (int64_t)R->n_out * K->n_out; o++) {
      int64_t oy = o / K->n_out, ox = o % K->n_out;
      float *out = y + (b * R->n_out * K->n_out + o) * C;
      for (int i = 0; i < R->count[oy]; i++)
        for (int j = 0; j < K->count[ox]; j++) {
          float weight = R->weight[oy * R->width + i] * K->weight[ox * K->width + j];
          float *in = x + ((b * h + R->start[oy] + i) * w + K->start[ox] + j) * C;
          add_scaled(C, weight, backward_pass ? out : in, backward_pass ? in : out);
        }
    }
}

static void resample_backward(ctx *c, void *saved) {
  resample_record *s = saved;
  const float *gy = grad_of(s->y);
  float *gx = gy ? grad_sum_target(c, s->x) : NULL;
  if (gx) resample_pass(s, gx, (float *)gy, true);
}

tensor *resample(ctx *c, tensor *x, const resample_axis *rows, const resample_axis *columns) {
  if (!x || !rows || !columns) return NULL;
  assert(x->n_dims == 4 && rows->n_in == x->dim[1] && columns->n_in == x->dim[2]);
  resample_record s = {x, tensor_4d(c, DTYPE_F32, x->dim[0], rows->n_out, columns->n_out, x->dim[3]), rows, columns};
  if (!s.y) return NULL;
  memset(s.y->data, 0, (size_t)tensor_count(s.y) * sizeof(float));
  resample_pass(&s, f32(x), f32(s.y), false);
  return track(c, s.y, x->needs_grad, resample_backward, &s, sizeof s);
}

tensor *resize_positions(ctx *c, tensor *table, int h0, int w0, int h, int w) {
  if (!table) return NULL;
  const int64_t C = tensor_last(table);
  assert(tensor_count(table) == (int64_t)h0 * w0 * C);
  if (h != h0 || w != w0) {
    table = tensor_view(c, table, 4, (int64_t[]){1, h0, w0, C});
    table = resample(c, table, resample_bicubic(c, h0, h), resample_bicubic(c, w0, w));
  }
  return tensor_view(c, table, 2, (int64_t[]){(int64_t)h * w, C});
}

/* --- tokens: mean, repeat, concat --------------------------------------------------------------------------------- */

typedef struct {
  tensor *x, *y;
} mean_record;

static void mean_backward(ctx *c, void *saved) {
  mean_record *s = saved;
  const float *gy = grad_of(s->y);
  float *gx = gy ? grad_sum_target(c, s->x) : NULL;
  if (!gx) return;
  int64_t B = s->x->dim[0], T = s->x->dim[1], C = s->x->dim[2];
#pragma omp parallel for schedule(static) if (B > 1)
  for (int64_t b = 0; b < B; b++)
    for (int64_t t = 0; t < T; t++) add_scaled(C, 1.0f / (float)T, gy + b * C, gx + (b * T + t) * C);
}

tensor *mean_tokens(ctx *c, tensor *x) {
  if (!x) return NULL;
  assert(x->n_dims == 3 && x->dim[1] > 0);
  size_t B = (size_t)x->dim[0], T = (size_t)x->dim[1], C = (size_t)x->dim[2];
  mean_record s = {x, tensor_2d(c, DTYPE_F32, x->dim[0], x->dim[2])};
  if (!s.y) return NULL;
  memset(s.y->data, 0, B * C * sizeof(float));
  for (size_t b = 0; b < B; b++) cpu()->sum_rows(T, C, f32(x) + b * T * C, f32(s.y) + b * C);
  cpu()->axpby(B * C, 1.0f / (float)T, f32(s.y), 0, NULL, f32(s.y));
  return track(c, s.y, x->needs_grad, mean_backward, &s, sizeof s);
}

tensor *repeat_token(ctx *c, tensor *row, int64_t B) {
  tensor *table = row ? tensor_view(c, row, 2, (int64_t[]){1, tensor_count(row)}) : NULL;
  tensor *first = table ? tensor_2d(c, DTYPE_I32, B, 1) : NULL;
  if (!first) return NULL;
  memset(first->data, 0, (size_t)B * sizeof(int32_t));
  return embedding(c, first, table);
}

enum { PARTS = 8 };

typedef struct {
  tensor *part[PARTS], *y;
  int n;
} concat_record;

static void concat_backward(ctx *c, void *saved) {
  concat_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  int64_t B = s->y->dim[0], T = s->y->dim[1], C = s->y->dim[2], at = 0;
  for (int i = 0; i < s->n; i++) {
    int64_t Ti = s->part[i]->dim[1];
    bool acc;
    float *g = grad_target(c, s->part[i], &acc);
    for (int64_t b = 0; g && b < B; b++) {
      float *to = g + b * Ti * C;
      cpu()->axpby((size_t)(Ti * C), 1, gy + (b * T + at) * C, acc, acc ? to : NULL, to);
    }
    at += Ti;
  }
}

tensor *concat_tokens(ctx *c, int n, tensor *const parts[]) {
  assert(n >= 1 && n <= PARTS);
  concat_record s = {.n = n};
  int64_t T = 0;
  bool any = false;
  for (int i = 0; i < n; i++) {
    if (!parts[i]) return NULL;
    assert(parts[i]->n_dims == 3 && parts[i]->dim[0] == parts[0]->dim[0] && parts[i]->dim[2] == parts[0]->dim[2]);
    s.part[i] = parts[i];
    T += parts[i]->dim[1];
    any |= parts[i]->needs_grad;
  }
  int64_t B = parts[0]->dim[0], C = parts[0]->dim[2], at = 0;
  s.y = tensor_3d(c, DTYPE_F32, B, T, C);
  if (!s.y) return NULL;
  for (int i = 0; i < n; i++) {
    int64_t span = parts[i]->dim[1] * C;
    for (int64_t b = 0; b < B; b++)
      memcpy(f32(s.y) + b * T * C + at, f32(parts[i]) + b * span, (size_t)span * sizeof(float));
    at += span;
  }
  return track(c, s.y, any, concat_backward, &s, sizeof s);
}
