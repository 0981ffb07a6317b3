/* Attention: the kernels of every instruction set and the operator with its gradients against float64; the transformer
 * block made of it. Spec operators 4, rwkv-clip 11.1. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/transformer.h"
#include "tests/support/gradcheck.h"
#include "tests/support/kernel_check.h"
#include "tests/support/reference64.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- kernels ------------------------------------------------------------------------------------------------------ */

static size_t seen_keys(size_t m, size_t N, size_t first, size_t step) {
  return first + m * step < N ? first + m * step : N;
}

static void weights64(size_t M, size_t N, size_t first, size_t step, double scale, const float *s, double *p,
                      double *lse) {
  for (size_t m = 0; m < M; m++) {
    const size_t n = seen_keys(m, N, first, step);
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) top = fmax(top, scale * s[m * N + i]);
    for (size_t i = 0; i < n; i++) sum += exp(scale * s[m * N + i] - top);
    for (size_t i = 0; i < N; i++) p[m * N + i] = i < n ? exp(scale * s[m * N + i] - top) / sum : 0;
    lse[m] = top + log(sum);
  }
}

static void check_kernels(const cpu_kernels *k, size_t M, size_t N, size_t first, size_t step, float scale) {
  float *s = guarded_random(M * N, 1 + N, -3, 3), *again = guarded_copy(s, M * N), *lse = guarded(M),
        *g = guarded_random(M * N, 5, -1, 1);
  double *p = zeros64(M * N), *want_lse = zeros64(M), *want = zeros64(M * N);
  weights64(M, N, first, step, scale, s, p, want_lse);
  for (size_t m = 0; m < M; m++) {
    double along = 0;
    for (size_t i = 0; i < N; i++) along += p[m * N + i] * (double)g[m * N + i];
    for (size_t i = 0; i < N; i++) want[m * N + i] = (double)scale * p[m * N + i] * ((double)g[m * N + i] - along);
  }
  k->attention_weights(M, N, first, step, scale, s, lse);
  check_close("weights", s, p, M * N, 1e-5, 1e-6);
  for (size_t m = 0; m < M; m++) {
    if (seen_keys(m, N, first, step))
      assert_true(fabs((double)lse[m] - want_lse[m]) < 1e-5 * (1 + fabs(want_lse[m])));
    else
      assert_true(isinf(lse[m]) && lse[m] > 0);
  }
  k->attention_weights_again(M, N, first, step, scale, lse, again);
  check_close("weights again", again, p, M * N, 3e-5, 1e-6);
  k->attention_slopes(M, N, scale, s, g);
  check_close("slopes", g, want, M * N, 1e-5, 0.1);
  guarded_free(s), guarded_free(again), guarded_free(lse), guarded_free(g);
  free(p), free(want_lse), free(want);
}

static void test_kernels_of(const cpu_kernels *k) {
  static const size_t widths[] = {1, 2, 15, 16, 17, 33, 200};
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
    const size_t N = widths[i];
    check_kernels(k, 3, N, N, 0, 0.5f);
    check_kernels(k, N, N, 1, 1, 1.25f);  /* causal */
    check_kernels(k, 4, N, 0, 1, 20);     /* the first row sees nothing; sums of all sizes */
    check_kernels(k, 2, N, N + 5, 1, -1); /* more than there are */
  }
}

static void test_kernels(void **state) {
  (void)state;
  for_each_variant(test_kernels_of);
}

/* --- the operator ------------------------------------------------------------------------------------------------- */

static void run_attention(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = attention(c, in[0], in[1], in[2], k->arg);
}

static void attention64(const attention_opt *o, const int64_t *q_dim, const int64_t *v_dim, const double *q,
                        const double *k, const double *v, double *y) {
  const int64_t B = q_dim[0], Tq = q_dim[1], C = q_dim[2], Tk = v_dim[1], Cv = v_dim[2], N = C / o->heads,
                Nv = Cv / o->heads;
  double *p = zeros64((size_t)Tk);
  for (int64_t b = 0; b < B; b++)
    for (int64_t h = 0; h < o->heads; h++)
      for (int64_t t = 0; t < Tq; t++) {
        int64_t n = o->lengths ? o->lengths[b] : Tk;
        if (o->causal && o->q_pos0 + t + 1 < n) n = o->q_pos0 + t + 1;
        double top = -INFINITY, sum = 0;
        for (int64_t i = 0; i < n; i++) {
          p[i] = 0;
          for (int64_t d = 0; d < N; d++) p[i] += q[(b * Tq + t) * C + h * N + d] * k[(b * Tk + i) * C + h * N + d];
          p[i] *= (double)o->scale;
          top = fmax(top, p[i]);
        }
        for (int64_t i = 0; i < n; i++) sum += p[i] = exp(p[i] - top);
        for (int64_t i = 0; i < n; i++)
          for (int64_t d = 0; d < Nv; d++)
            y[(b * Tq + t) * Cv + h * Nv + d] += p[i] / sum * v[(b * Tk + i) * Cv + h * Nv + d];
      }
  free(p);
}

static void define_attention(const gradcheck_case *k, double *const in[], double *const out[]) {
  attention64(k->arg, k->in[0].dim, k->in[2].dim, in[0], in[1], in[2], out[0]);
}

typedef struct {
  int64_t B, Tq, Tk, N, Nv;
  attention_opt opt;
} attention_case;

static void check_attention(const char *name, const attention_case *a) {
  const int64_t H = a->opt.heads;
  gradcheck(&(gradcheck_case){
      .name = name,
      .n_in = 3,
      .n_out = 1,
      .in = {{.dim = {a->B, a->Tq, H * a->N}}, {.dim = {a->B, a->Tk, H * a->N}}, {.dim = {a->B, a->Tk, H * a->Nv}}},
      .arg = &a->opt,
      .run = run_attention,
      .define = define_attention});
}

static void test_attention(void **state) {
  (void)state;
  static const int32_t lengths[] = {5, 0, 2};
  check_attention("self", &(attention_case){2, 7, 7, 4, 4, {.heads = 3, .scale = 0.5f}});
  check_attention("causal", &(attention_case){2, 9, 9, 5, 5, {.heads = 2, .scale = 0.4f, .causal = true}});
  check_attention("across", &(attention_case){2, 3, 8, 4, 6, {.heads = 2, .scale = 1}});
  check_attention("later queries",
                  &(attention_case){1, 4, 10, 3, 3, {.heads = 1, .scale = 0.7f, .causal = true, .q_pos0 = 6}});
  check_attention("lengths", &(attention_case){3, 4, 6, 3, 2, {.heads = 2, .scale = 0.7f, .lengths = lengths}});
  check_attention("lengths and order",
                  &(attention_case){3, 6, 6, 3, 2, {.heads = 1, .scale = 1, .causal = true, .lengths = lengths}});
  check_attention("sharp", &(attention_case){1, 5, 5, 4, 4, {.heads = 1, .scale = 6}});
  check_attention("one", &(attention_case){1, 1, 1, 1, 1, {.heads = 1, .scale = 1, .causal = true}});
  check_attention("tiles", &(attention_case){1, 70, 67, 2, 2, {.heads = 1, .scale = 1}});
  check_attention("causal tiles", &(attention_case){1, 70, 70, 2, 2, {.heads = 1, .scale = 1, .causal = true}});
}

/* One tensor for all three, as in a block without projections: its gradient is the sum of three. */
static void run_same(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = attention(c, in[0], in[0], in[0], k->arg);
}
static void define_same(const gradcheck_case *k, double *const in[], double *const out[]) {
  attention64(k->arg, k->in[0].dim, k->in[0].dim, in[0], in[0], in[0], out[0]);
}

static void test_shared_operand(void **state) {
  (void)state;
  const attention_opt opt = {.heads = 2, .scale = 1, .causal = true};
  gradcheck(&(gradcheck_case){.name = "q = k = v",
                              .n_in = 1,
                              .n_out = 1,
                              .in = {{.dim = {2, 5, 6}}},
                              .arg = &opt,
                              .run = run_same,
                              .define = define_same});
}

/* What a causal query gives does not depend on later tokens, nor a row on what is beyond its length. */
static void test_what_is_not_seen(void **state) {
  (void)state;
  enum { T = 80, C = 8 };
  static const int32_t lengths[] = {33};
  ctx *c = ctx_new();
  assert_non_null(c);
  tensor *x = random_tensor(c, 3, (int64_t[]){1, T, C}, 3, false);
  tensor *causal = attention(c, x, x, x, &(attention_opt){.heads = 2, .scale = 1, .causal = true});
  tensor *bounded = attention(c, x, x, x, &(attention_opt){.heads = 2, .scale = 1, .lengths = lengths});
  tensor *other = tensor_like(c, x);
  memcpy(other->data, x->data, T * C * sizeof(float));
  for (int i = 33 * C; i < T * C; i++) f32(other)[i] = 1e6f;
  tensor *again = attention(c, x, other, other, &(attention_opt){.heads = 2, .scale = 1, .lengths = lengths});
  assert_memory_equal(bounded->data, again->data, T * C * sizeof(float));
  again = attention(c, x, other, other, &(attention_opt){.heads = 2, .scale = 1, .causal = true});
  assert_memory_equal(causal->data, again->data, 33 * C * sizeof(float));
  assert_null(attention(c, NULL, x, x, &(attention_opt){.heads = 1, .scale = 1}));
  assert_null(attention(c, x, x, NULL, &(attention_opt){.heads = 1, .scale = 1}));
  ctx_free(c);
}

/* --- the block ---------------------------------------------------------------------------------------------------- */

enum { D = 6, F = 10, X, LN1W, LN1B, LN2W, LN2B, INW, INB, OUTW, OUTB, FC1W, FC1B, FC2W, FC2B, INPUTS };
#define INPUT(which) ((which)-X)

typedef struct {
  transformer_opt opt;
  bool apart;
} block_case;

static void run_block(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const block_case *b = k->arg;
  transformer_block p = {
      .ln1_weight = in[INPUT(LN1W)],
      .ln1_bias = in[INPUT(LN1B)],
      .ln2_weight = in[INPUT(LN2W)],
      .ln2_bias = in[INPUT(LN2B)],
      .out_weight = in[INPUT(OUTW)],
      .out_bias = in[INPUT(OUTB)],
      .fc1_weight = in[INPUT(FC1W)],
      .fc1_bias = in[INPUT(FC1B)],
      .fc2_weight = in[INPUT(FC2W)],
      .fc2_bias = in[INPUT(FC2B)],
  };
  if (b->apart) {
    for (int i = 0; i < QKV; i++) {
      p.apart_weight[i] = tensor_window(c, in[INPUT(INW)], i * D * D, 2, (int64_t[]){D, D});
      p.apart_bias[i] = tensor_window(c, in[INPUT(INB)], i * D, 1, (int64_t[]){D});
    }
  } else {
    p.in_weight = in[INPUT(INW)];
    p.in_bias = in[INPUT(INB)];
  }
  out[0] = transformer_block_forward(c, &p, in[0], &b->opt);
}

static void define_block(const gradcheck_case *k, double *const in[], double *const out[]) {
  const block_case *b = k->arg;
  const int64_t *dim = k->in[0].dim;
  const size_t M = (size_t)(dim[0] * dim[1]);
  double *z = zeros64(M * D), *qkv[QKV], *y = zeros64(M * D), *x = zeros64(M * D), *h = zeros64(M * F);
  norm64(M, 1, D, (double)b->opt.eps, in[0], in[INPUT(LN1W)], in[INPUT(LN1B)], z);
  for (size_t i = 0; i < QKV; i++) {
    qkv[i] = zeros64(M * D);
    linear64(M, D, D, false, z, in[INPUT(INW)] + i * D * D, in[INPUT(INB)] + i * D, qkv[i]);
  }
  const attention_opt o = {
      .heads = b->opt.heads, .scale = 1 / sqrtf((float)D / (float)b->opt.heads), .causal = b->opt.causal};
  attention64(&o, dim, dim, qkv[QUERY], qkv[KEY], qkv[VALUE], y);
  linear64(M, D, D, false, y, in[INPUT(OUTW)], in[INPUT(OUTB)], x);
  for (size_t i = 0; i < M * D; i++) x[i] += in[0][i];
  norm64(M, 1, D, (double)b->opt.eps, x, in[INPUT(LN2W)], in[INPUT(LN2B)], z);
  linear64(M, D, F, false, z, in[INPUT(FC1W)], in[INPUT(FC1B)], h);
  for (size_t i = 0; i < M * F; i++) h[i] = act64(b->opt.act, h[i]);
  linear64(M, F, D, false, h, in[INPUT(FC2W)], in[INPUT(FC2B)], out[0]);
  for (size_t i = 0; i < M * D; i++) out[0][i] += x[i];
  for (size_t i = 0; i < QKV; i++) free(qkv[i]);
  free(z), free(y), free(x), free(h);
}

static void test_block(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    const block_case b = {{.heads = 1 + i, .causal = i % 2, .act = i % 2 ? ACT_GELU : ACT_QUICK_GELU, .eps = 1e-5f},
                          i / 2};
    if (D % b.opt.heads) continue;
    gradcheck(&(gradcheck_case){.name = "block",
                                .n_in = INPUT(INPUTS),
                                .n_out = 1,
                                .in = {{.dim = {2, 4, D}},
                                       {.dim = {D}},
                                       {.dim = {D}},
                                       {.dim = {D}},
                                       {.dim = {D}},
                                       {.dim = {3 * D, D}},
                                       {.dim = {3 * D}},
                                       {.dim = {D, D}},
                                       {.dim = {D}},
                                       {.dim = {F, D}},
                                       {.dim = {F}},
                                       {.dim = {D, F}},
                                       {.dim = {D}}},
                                .arg = &b,
                                .run = run_block,
                                .define = define_block});
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kernels),          cmocka_unit_test(test_attention), cmocka_unit_test(test_shared_operand),
      cmocka_unit_test(test_what_is_not_seen), cmocka_unit_test(test_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
