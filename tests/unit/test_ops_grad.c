/* Every position-wise operator, forward and backward, against its definition in float64 (tests/support/gradcheck.h).
 * Sizes are odd on purpose: one token, widths that are no multiple of a vector, batches of 1 to 3. Shift, mix and
 * recurrence are in test_ops_scan.c, blocks in test_ops_block.c. */
#include "tests/support/gradcheck.h"
#include "tests/support/kernel_check.h"
#include "tests/support/reference64.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- products ----------------------------------------------------------------------------------------------------- */

static void run_linear(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = linear(c, in[0], in[1], k->n_in == 3 ? in[2] : NULL);
}
static void define_linear(const gradcheck_case *k, double *const in[], double *const out[]) {
  linear64(check_rows(&k->in[0]), check_last(&k->in[0]), (size_t)k->in[1].dim[0], false, in[0], in[1],
           k->n_in == 3 ? in[2] : NULL, out[0]);
}
static void run_linear_right(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  out[0] = linear_right(c, in[0], in[1]);
}
static void define_linear_right(const gradcheck_case *k, double *const in[], double *const out[]) {
  linear64(check_rows(&k->in[0]), check_last(&k->in[0]), check_last(&k->in[1]), true, in[0], in[1], NULL, out[0]);
}
static void test_products(void **state) {
  (void)state;
  const gradcheck_case cases[] = {
      {.name = "linear", .n_in = 2, .n_out = 1, .in = {{.dim = {3, 5, 19}}, {.dim = {7, 19}}}},
      {.name = "linear with bias", .n_in = 3, .n_out = 1, .in = {{.dim = {3, 5, 19}}, {.dim = {7, 19}}, {.dim = {7}}}},
      {.name = "linear of one token",
       .n_in = 3,
       .n_out = 1,
       .in = {{.dim = {1, 1, 6}}, {.dim = {33, 6}}, {.dim = {33}}}},
      {.name = "linear to one channel", .n_in = 3, .n_out = 1, .in = {{.dim = {4, 6}}, {.dim = {1, 6}}, {.dim = {1}}}},
  };
  const gradcheck_case right[] = {
      {.name = "linear_right", .n_in = 2, .n_out = 1, .in = {{.dim = {3, 5, 19}}, {.dim = {19, 7}}}},
      {.name = "linear_right of one token", .n_in = 2, .n_out = 1, .in = {{.dim = {1, 1, 6}}, {.dim = {6, 33}}}},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    gradcheck_case k = cases[i];
    k.run = run_linear, k.define = define_linear;
    gradcheck(&k);
  }
  for (size_t i = 0; i < COUNT(right); i++) {
    gradcheck_case k = right[i];
    k.run = run_linear_right, k.define = define_linear_right;
    gradcheck(&k);
  }
}

/* Ids and rows that repeat, and ones that nothing reads. */
static const int32_t picked[] = {4, 0, 4, 4, 1, 0, 8, 4};

static void run_embedding(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  static int32_t ids[COUNT(picked)];
  memcpy(ids, picked, sizeof ids);
  tensor *table = tensor_wrap(c, DTYPE_I32, ids, 2, (int64_t[]){2, 4});
  out[0] = embedding(c, table, in[0]);
  assert_int_equal(out[0]->n_dims, 3);
  assert_int_equal(out[0]->dim[1], 4);
}
static void run_gather(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  out[0] = gather_rows(c, in[0], COUNT(picked), picked);
}
static void define_rows(const gradcheck_case *k, double *const in[], double *const out[]) {
  size_t C = check_last(&k->in[0]);
  for (size_t i = 0; i < COUNT(picked); i++)
    for (size_t n = 0; n < C; n++) out[0][i * C + n] = in[0][(size_t)picked[i] * C + n];
}

static void test_rows(void **state) {
  (void)state;
  gradcheck(&(gradcheck_case){.name = "embedding",
                              .n_in = 1,
                              .n_out = 1,
                              .in = {{.dim = {9, 19}}},
                              .run = run_embedding,
                              .define = define_rows});
  gradcheck(&(gradcheck_case){.name = "gather_rows",
                              .n_in = 1,
                              .n_out = 1,
                              .in = {{.dim = {3, 3, 7}}},
                              .run = run_gather,
                              .define = define_rows});
}

/* --- elementwise -------------------------------------------------------------------------------------------------- */

static void run_add(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = add(c, in[0], in[k->n_in - 1]);
}
static void define_add(const gradcheck_case *k, double *const in[], double *const out[]) {
  size_t span = check_count(&k->in[k->n_in - 1]);
  for (size_t i = 0; i < check_count(&k->in[0]); i++) out[0][i] = in[0][i] + in[k->n_in - 1][i % span];
}
static void run_scale(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = scale(c, in[0], *(const float *)k->arg);
}
static void define_scale(const gradcheck_case *k, double *const in[], double *const out[]) {
  for (size_t i = 0; i < check_count(&k->in[0]); i++) out[0][i] = in[0][i] * (double)*(const float *)k->arg;
}

static const float sample_factors[] = {0, 1.25f, -3};
static void run_scale_samples(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = scale_samples(c, in[0], k->arg);
}
static void define_scale_samples(const gradcheck_case *k, double *const in[], double *const out[]) {
  const size_t n = check_count(&k->in[0]), sample = n / (size_t)k->in[0].dim[0];
  for (size_t i = 0; i < n; i++) out[0][i] = in[0][i] * (double)((const float *)k->arg)[i / sample];
}

static void test_add_and_scale(void **state) {
  (void)state;
  const gradcheck_case cases[] = {
      {.name = "add, same shape", .n_in = 2, .n_out = 1, .in = {{.dim = {3, 5, 19}}, {.dim = {3, 5, 19}}}},
      {.name = "add [C]", .n_in = 2, .n_out = 1, .in = {{.dim = {3, 5, 19}}, {.dim = {19}}}},
      {.name = "add [1,1,C]", .n_in = 2, .n_out = 1, .in = {{.dim = {3, 5, 19}}, {.dim = {1, 1, 19}}}},
      {.name = "add [T,C]", .n_in = 2, .n_out = 1, .in = {{.dim = {3, 5, 19}}, {.dim = {5, 19}}}},
      {.name = "add [C] to one token", .n_in = 2, .n_out = 1, .in = {{.dim = {1, 1, 19}}, {.dim = {19}}}},
      {.name = "add to itself", .n_in = 1, .n_out = 1, .in = {{.dim = {1, 2, 19}}}},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    gradcheck_case k = cases[i];
    k.run = run_add, k.define = define_add;
    gradcheck(&k);
  }
  const float factors[] = {-1.7f, 0.0f, 1.0f};
  for (size_t i = 0; i < COUNT(factors); i++)
    gradcheck(&(gradcheck_case){.name = "scale",
                                .n_in = 1,
                                .n_out = 1,
                                .in = {{.dim = {3, 7}}},
                                .arg = &factors[i],
                                .run = run_scale,
                                .define = define_scale});
  gradcheck(&(gradcheck_case){.name = "scale_samples",
                              .n_in = 1,
                              .n_out = 1,
                              .in = {{.dim = {3, 5, 7}}},
                              .arg = sample_factors,
                              .run = run_scale_samples,
                              .define = define_scale_samples});
}

static void run_act(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = act(c, *(const act_kind *)k->arg, in[0]);
}
static void define_act(const gradcheck_case *k, double *const in[], double *const out[]) {
  for (size_t i = 0; i < check_count(&k->in[0]); i++) out[0][i] = act64(*(const act_kind *)k->arg, in[0][i]);
}
static void run_gate(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = gate(c, in[0], *(const act_kind *)k->arg, in[k->n_in - 1]);
}
static void define_gate(const gradcheck_case *k, double *const in[], double *const out[]) {
  const double *g = in[k->n_in - 1];
  for (size_t i = 0; i < check_count(&k->in[0]); i++) out[0][i] = in[0][i] * act64(*(const act_kind *)k->arg, g[i]);
}

static void test_activations(void **state) {
  (void)state;
  const check_input wide = {.dim = {3, 5, 37}, .low = -6, .high = 6, .margin = 0.01};
  for (act_kind kind = ACT_NONE; kind <= ACT_EXP; kind++) {
    gradcheck(&(gradcheck_case){
        .name = "act", .n_in = 1, .n_out = 1, .in = {wide}, .arg = &kind, .run = run_act, .define = define_act});
    gradcheck(&(gradcheck_case){.name = "gate",
                                .n_in = 2,
                                .n_out = 1,
                                .in = {wide, wide},
                                .arg = &kind,
                                .run = run_gate,
                                .define = define_gate});
    gradcheck(&(gradcheck_case){.name = "gate by itself",
                                .n_in = 1,
                                .n_out = 1,
                                .in = {wide},
                                .arg = &kind,
                                .run = run_gate,
                                .define = define_gate});
  }
}

/* --- norms -------------------------------------------------------------------------------------------------------- */

typedef struct {
  int heads; /* 0: layer norm */
  float eps;
} norm_arg;

static void run_norm(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const norm_arg *a = k->arg;
  tensor *w = k->n_in == 3 ? in[1] : NULL, *b = k->n_in == 3 ? in[2] : NULL;
  out[0] = a->heads ? group_norm(c, in[0], a->heads, w, b, a->eps) : layer_norm(c, in[0], w, b, a->eps);
}
static void define_norm(const gradcheck_case *k, double *const in[], double *const out[]) {
  const norm_arg *a = k->arg;
  size_t groups = a->heads ? (size_t)a->heads : 1;
  norm64(check_rows(&k->in[0]), groups, check_last(&k->in[0]) / groups, (double)a->eps, in[0],
         k->n_in == 3 ? in[1] : NULL, k->n_in == 3 ? in[2] : NULL, out[0]);
}

static void test_norms(void **state) {
  (void)state;
  const norm_arg layer = {0, 1e-5f}, layer6 = {0, 1e-6f}, heads3 = {3, 64e-5f}, heads2 = {2, 1e-5f},
                 single = {5, 1e-5f};
  const gradcheck_case cases[] = {
      {.name = "layer_norm",
       .n_in = 3,
       .n_out = 1,
       .arg = &layer,
       .in = {{.dim = {3, 5, 19}}, {.dim = {19}}, {.dim = {19}}}},
      {.name = "layer_norm without affine", .n_in = 1, .n_out = 1, .arg = &layer6, .in = {{.dim = {3, 5, 19}}}},
      {.name = "layer_norm, far from zero",
       .n_in = 3,
       .n_out = 1,
       .arg = &layer,
       .in = {{.dim = {1, 1, 70}, .low = 4, .high = 6}, {.dim = {70}}, {.dim = {70}}}},
      {.name = "group_norm",
       .n_in = 3,
       .n_out = 1,
       .arg = &heads3,
       .in = {{.dim = {3, 5, 18}}, {.dim = {18}}, {.dim = {18}}}},
      {.name = "group_norm, wide heads",
       .n_in = 3,
       .n_out = 1,
       .arg = &heads2,
       .in = {{.dim = {1, 2, 74}}, {.dim = {74}}, {.dim = {74}}}},
      {.name = "group_norm, one channel a head",
       .n_in = 3,
       .n_out = 1,
       .gradient_tolerance = 1e-3, /* the variance is 0: rounding comes out 1/sqrt(eps) = 316 times as large */
       .arg = &single,
       .in = {{.dim = {3, 2, 5}}, {.dim = {5}}, {.dim = {5}}}},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    gradcheck_case k = cases[i];
    k.run = run_norm, k.define = define_norm;
    gradcheck(&k);
  }
}

/* --- pictures and tokens ------------------------------------------------------------------------------------------ */

enum { PATCH = 4 };

static void run_patch(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = patch_embed(c, in[0], in[1], k->n_in == 3 ? in[2] : NULL, PATCH);
}
static void define_patch(const gradcheck_case *k, double *const in[], double *const out[]) {
  size_t B = (size_t)k->in[0].dim[0], H = (size_t)k->in[0].dim[1], W = (size_t)k->in[0].dim[2];
  size_t D = (size_t)k->in[1].dim[0], h = (H + PATCH - 1) / PATCH, w = (W + PATCH - 1) / PATCH;
  for (size_t i = 0; i < B * h * w * D; i++) {
    size_t d = i % D, column = i / D % w, row = i / D / w % h, b = i / D / w / h;
    double sum = k->n_in == 3 ? in[2][d] : 0;
    for (size_t y = row * PATCH; y < (row + 1) * PATCH && y < H; y++)
      for (size_t x = column * PATCH; x < (column + 1) * PATCH && x < W; x++)
        for (size_t ch = 0; ch < 3; ch++)
          sum += in[0][((b * H + y) * W + x) * 3 + ch] *
                 in[1][d * PATCH * PATCH * 3 + ((y % PATCH) * PATCH + x % PATCH) * 3 + ch];
    out[0][i] = sum;
  }
}

static void test_patch_embed(void **state) {
  (void)state;
  const int64_t sizes[][3] = {{3, 7, 10}, {1, 8, 4}, {1, 1, 3}, {2, 4, 5}};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    const check_input pixels = {.dim = {sizes[i][0], sizes[i][1], sizes[i][2], 3}, .constant = true};
    const check_input w = {.dim = {5, PATCH * PATCH * 3}}, b = {.dim = {5}};
    gradcheck(&(gradcheck_case){
        .name = "patch_embed", .n_in = 3, .n_out = 1, .in = {pixels, w, b}, .run = run_patch, .define = define_patch});
    gradcheck(&(gradcheck_case){.name = "patch_embed without bias",
                                .n_in = 2,
                                .n_out = 1,
                                .in = {pixels, w},
                                .run = run_patch,
                                .define = define_patch});
  }
}

typedef struct {
  bool pool;
  int rows, columns;
} resample_arg;

static void run_resample(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const resample_arg *a = k->arg;
  int h = (int)k->in[0].dim[1], w = (int)k->in[0].dim[2];
  out[0] = a->pool ? resample(c, in[0], resample_pool(c, h, a->rows), resample_pool(c, w, a->columns))
                   : resample(c, in[0], resample_bicubic(c, h, a->rows), resample_bicubic(c, w, a->columns));
}

/* PyTorch's bicubic: the four cells around (o + 1/2) in/out - 1/2, Keys' kernel with a = -3/4, cells clamped. */
static double bicubic_weight(double t) {
  t = fabs(t);
  if (t <= 1) return 1.25 * t * t * t - 2.25 * t * t + 1;
  return t < 2 ? -0.75 * (t * t * t - 5 * t * t + 8 * t - 4) : 0;
}
/* The weight of input cell i in output cell o. */
static double axis_weight(bool pool, int n_in, int n_out, int o, int i) {
  if (pool) {
    int window = n_in / n_out;
    return i / window == o ? 1.0 / window : 0;
  }
  double at = (o + 0.5) * n_in / n_out - 0.5, sum = 0;
  for (int cell = (int)floor(at) - 1; cell <= (int)floor(at) + 2; cell++) {
    int clamped = cell < 0 ? 0 : cell >= n_in ? n_in - 1 : cell;
    if (clamped == i) sum += bicubic_weight(at - cell);
  }
  return sum;
}
static void define_resample(const gradcheck_case *k, double *const in[], double *const out[]) {
  const resample_arg *a = k->arg;
  int h = (int)k->in[0].dim[1], w = (int)k->in[0].dim[2];
  size_t B = (size_t)k->in[0].dim[0], C = check_last(&k->in[0]), rows = (size_t)a->rows, columns = (size_t)a->columns;
  for (size_t o = 0; o < B * rows * columns; o++)
    for (int y = 0; y < h; y++)
      for (int x = 0; x < w; x++) {
        double weight = axis_weight(a->pool, h, a->rows, (int)(o / columns % rows), y) *
                        axis_weight(a->pool, w, a->columns, (int)(o % columns), x);
        size_t from = (o / columns / rows * (size_t)h + (size_t)y) * (size_t)w + (size_t)x;
        for (size_t ch = 0; ch < C; ch++) out[0][o * C + ch] += weight * in[0][from * C + ch];
      }
}

static void test_resample(void **state) {
  (void)state;
  const struct {
    int h, w;
    resample_arg arg;
  } cases[] = {{5, 7, {false, 8, 4}}, {3, 2, {false, 3, 2}}, {4, 4, {false, 9, 1}}, {1, 2, {false, 3, 5}},
               {6, 4, {true, 3, 2}},  {7, 5, {true, 2, 5}},  {3, 3, {true, 1, 1}}};
  for (size_t i = 0; i < COUNT(cases); i++)
    gradcheck(&(gradcheck_case){.name = cases[i].arg.pool ? "pool" : "bicubic",
                                .n_in = 1,
                                .n_out = 1,
                                .in = {{.dim = {3, cases[i].h, cases[i].w, 5}}},
                                .arg = &cases[i].arg,
                                .run = run_resample,
                                .define = define_resample});
}

static void run_mean(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  out[0] = mean_tokens(c, in[0]);
}
static void define_mean(const gradcheck_case *k, double *const in[], double *const out[]) {
  size_t T = (size_t)k->in[0].dim[1], C = check_last(&k->in[0]);
  for (size_t i = 0; i < check_count(&k->in[0]); i++) out[0][i / C / T * C + i % C] += in[0][i] / (double)T;
}
static void run_concat(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  if (k->n_in == 1)
    out[0] = concat_tokens(c, 2, (tensor *const[]){in[0], in[0]});
  else
    out[0] = concat_tokens(c, k->n_in, in);
}
static void define_concat(const gradcheck_case *k, double *const in[], double *const out[]) {
  size_t B = (size_t)k->in[0].dim[0], C = check_last(&k->in[0]), at = 0;
  for (size_t b = 0; b < B; b++)
    for (int i = 0; i < (k->n_in == 1 ? 2 : k->n_in); i++) {
      const int part = k->n_in == 1 ? 0 : i;
      for (size_t e = 0; e < (size_t)k->in[part].dim[1] * C; e++)
        out[0][at++] = in[part][b * (size_t)k->in[part].dim[1] * C + e];
    }
}

static void test_tokens(void **state) {
  (void)state;
  gradcheck(&(gradcheck_case){.name = "mean_tokens",
                              .n_in = 1,
                              .n_out = 1,
                              .in = {{.dim = {3, 5, 19}}},
                              .run = run_mean,
                              .define = define_mean});
  gradcheck(&(gradcheck_case){.name = "mean of one token",
                              .n_in = 1,
                              .n_out = 1,
                              .in = {{.dim = {1, 1, 7}}},
                              .run = run_mean,
                              .define = define_mean});
  gradcheck(&(gradcheck_case){.name = "concat_tokens",
                              .n_in = 3,
                              .n_out = 1,
                              .in = {{.dim = {3, 2, 7}}, {.dim = {3, 1, 7}}, {.dim = {3, 4, 7}}},
                              .run = run_concat,
                              .define = define_concat});
  gradcheck(&(gradcheck_case){.name = "concat_tokens of the same twice",
                              .n_in = 1,
                              .n_out = 1,
                              .in = {{.dim = {3, 2, 7}}},
                              .run = run_concat,
                              .define = define_concat});
}

/* --- losses ------------------------------------------------------------------------------------------------------- */

enum { LOSS_ROWS = 6, LOSS_WIDTH = 11 };
static const int32_t loss_target[LOSS_ROWS] = {3, 0, 10, -100, 5, 5}; /* the fourth row weighs nothing */
static const float loss_weight[LOSS_ROWS] = {0.25f, 1.5f, 0.5f, 0, 0.125f, 1};

static void run_cross_entropy(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  out[0] = cross_entropy(c, in[0], loss_target, loss_weight, 0);
}
static void define_cross_entropy(const gradcheck_case *k, double *const in[], double *const out[]) {
  (void)k;
  for (size_t m = 0; m < LOSS_ROWS; m++) {
    const double *row = in[0] + m * LOSS_WIDTH;
    double sum = 0;
    for (size_t v = 0; v < LOSS_WIDTH; v++) sum += exp(row[v]);
    if (loss_target[m] >= 0) out[0][0] += (double)loss_weight[m] * (log(sum) - row[loss_target[m]]);
  }
}

static float soft_target(size_t i) { return (float)(i * 7 % 11) / 10; }

static void run_bce(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  static float target[LOSS_ROWS * LOSS_WIDTH];
  for (size_t i = 0; i < COUNT(target); i++) target[i] = soft_target(i);
  out[0] = bce_with_logits(c, in[0], target, loss_weight);
}
static void define_bce(const gradcheck_case *k, double *const in[], double *const out[]) {
  (void)k;
  for (size_t i = 0; i < LOSS_ROWS * LOSS_WIDTH; i++) {
    double p = 1 / (1 + exp(-in[0][i])), t = (double)soft_target(i);
    out[0][0] -= (double)loss_weight[i / LOSS_WIDTH] * (t * log(p) + (1 - t) * log(1 - p));
  }
}

static void test_losses(void **state) {
  (void)state;
  const check_input logits = {.dim = {2, 3, LOSS_WIDTH}, .low = -5, .high = 5};
  gradcheck(&(gradcheck_case){.name = "cross_entropy",
                              .n_in = 1,
                              .n_out = 1,
                              .in = {logits},
                              .run = run_cross_entropy,
                              .define = define_cross_entropy});
  gradcheck(&(gradcheck_case){
      .name = "bce_with_logits", .n_in = 1, .n_out = 1, .in = {logits}, .run = run_bce, .define = define_bce});
}

/* L2Wrap is not the derivative of the loss: the loss stays as it is, and every row, whatever its weight, has factor *
 * its largest logit added to the gradient of that logit, whatever gradient comes in. */
static void test_l2wrap(void **state) {
  (void)state;
  const float factor = 0.125f, up = 2.5f;
  ctx *c = ctx_new();
  assert_non_null(c);
  c->recording = true;
  float gradient[2][LOSS_ROWS * LOSS_WIDTH], loss[2];
  size_t top[LOSS_ROWS] = {0};
  float largest[LOSS_ROWS];
  for (int wrapped = 0; wrapped < 2; wrapped++) {
    ctx_reset(c);
    tensor *x = random_tensor(c, 2, (int64_t[]){LOSS_ROWS, LOSS_WIDTH}, 5, true);
    tensor *l = cross_entropy(c, x, loss_target, loss_weight, wrapped ? factor : 0);
    loss[wrapped] = f32(l)[0];
    assert_int_equal(backward(c, scale(c, l, up)), STATUS_OK);
    memcpy(gradient[wrapped], x->grad->data, sizeof gradient[wrapped]);
    for (size_t m = 0; m < LOSS_ROWS; m++) {
      const float *row = f32(x) + m * LOSS_WIDTH;
      for (size_t v = 0; v < LOSS_WIDTH; v++)
        if (row[v] > row[top[m]]) top[m] = v;
      largest[m] = row[top[m]];
    }
  }
  assert_float_equal(loss[0], loss[1], 0);
  for (size_t m = 0; m < LOSS_ROWS; m++)
    for (size_t v = 0; v < LOSS_WIDTH; v++) {
      float extra = v == top[m] ? factor * largest[m] : 0;
      assert_float_equal(gradient[1][m * LOSS_WIDTH + v], gradient[0][m * LOSS_WIDTH + v] + extra, 1e-6);
    }
  ctx_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_products),    cmocka_unit_test(test_rows),   cmocka_unit_test(test_add_and_scale),
      cmocka_unit_test(test_activations), cmocka_unit_test(test_norms),  cmocka_unit_test(test_patch_embed),
      cmocka_unit_test(test_resample),    cmocka_unit_test(test_tokens), cmocka_unit_test(test_losses),
      cmocka_unit_test(test_l2wrap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
