/* Shifts, mixes and the recurrence, forward and backward, against their definitions in float64
 * (tests/support/gradcheck.h, reference64.h); the recurrence in pieces, its state handed on, against the whole. Blocks
 * made of them, and scan orders of whole blocks, are in test_ops_block.c. */
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

/* --- shift -------------------------------------------------------------------------------------------------------- */

static void run_shift(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = shift(c, in[0], k->arg, k->n_in == 2 ? in[1] : NULL);
}
static void define_shift(const gradcheck_case *k, double *const in[], double *const out[]) {
  const int64_t *d = k->in[0].dim;
  shift64(k->arg, (size_t)d[0], (size_t)d[1], (size_t)d[2], in[0], k->n_in == 2 ? in[1] : NULL, out[0]);
}

static void check_shift(const char *name, shift_plan plan, int64_t B, int64_t T, int64_t C, bool carry) {
  gradcheck(&(gradcheck_case){.name = name,
                              .n_in = carry ? 2 : 1,
                              .n_out = 1,
                              .in = {{.dim = {B, T, C}}, {.dim = {B, C}}},
                              .arg = &plan,
                              .run = run_shift,
                              .define = define_shift});
}

static void test_shift(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  const scan_order *whole = scan_order_make(c, SCAN_REVERSE, 6, 0, 2, 3);
  const scan_order *inside = scan_order_make(c, SCAN_COLUMNS, 9, 2, 2, 3);
  for (int carry = 0; carry < 2; carry++) {
    check_shift("previous", shift_previous(19, NULL), 3, 5, 19, carry);
    check_shift("previous, one token", shift_previous(7, NULL), 1, 1, 7, carry);
    check_shift("previous of a reversed order", shift_previous(6, whole), 3, 6, 6, carry);
    check_shift("previous of an order inside", shift_previous(5, inside), 1, 9, 5, carry);
  }
  check_shift("quarters, heads of 6", shift_quarters(6, 3, 2), 3, 6, 12, false);
  check_shift("quarters, heads of 16", shift_quarters(16, 2, 4), 1, 8, 32, false);
  check_shift("quarters, heads of 2", shift_quarters(2, 2, 2), 1, 4, 2, false);
  check_shift("quarters and a class token", shift_quarters(6, 3, 2), 2, 7, 12, false);
  check_shift("quarters, one token", shift_quarters(6, 1, 1), 3, 1, 6, false);
  shift_plan mixed = {.period = 7,
                      .n_spans = 5,
                      .h = 3,
                      .w = 3,
                      .order = inside,
                      .span = {{.c0 = 0, .c1 = 1, .source = SHIFT_SELF},
                               {.c0 = 1, .c1 = 3, .source = SHIFT_STEP, .step = -1},
                               {.c0 = 3, .c1 = 4, .source = SHIFT_STEP, .step = 2},
                               {.c0 = 4, .c1 = 6, .source = SHIFT_GRID, .dx = 1, .dy = -1},
                               {.c0 = 6, .c1 = 7, .source = SHIFT_STEP, .step = 1}}};
  check_shift("every kind of span", mixed, 3, 9, 14, false);
  ctx_free(c);
}

/* Left, right, above, below, by the picture: 2 rows of 3, one channel a quarter. */
static void test_quarters_by_hand(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  tensor *x = tensor_3d(c, DTYPE_F32, 1, 6, 4);
  for (int i = 0; i < 24; i++) f32(x)[i] = (float)(i / 4 + 1); /* token t holds t+1 in each channel */
  shift_plan plan = shift_quarters(4, 2, 3);
  tensor *y = shift(c, x, &plan, NULL);
  const float want[6][4] = {{0, 2, 0, 4}, {1, 3, 0, 5}, {2, 0, 0, 6}, {0, 5, 1, 0}, {4, 6, 2, 0}, {5, 0, 3, 0}};
  assert_memory_equal(y->data, want, sizeof want);
  shift_plan six = shift_quarters(6, 2, 3); /* bounds trunc(6 j / 4) */
  const int bounds[] = {0, 1, 3, 4, 6};
  for (int j = 0; j < 4; j++) {
    assert_int_equal(six.span[j].c0, bounds[j]);
    assert_int_equal(six.span[j].c1, bounds[j + 1]);
  }
  ctx_free(c);
}

/* --- mix ---------------------------------------------------------------------------------------------------------- */

typedef struct {
  mix_kind kind;
  int K;
  bool token_mu, same; /* same: x is its own shift */
} mix_arg;

static int mix_shifted(const mix_arg *a) { return a->same ? 0 : 1; }

static void run_mix(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const mix_arg *a = k->arg;
  int first = mix_shifted(a) + 1;
  out[0] = shift_mix(c, in[0], in[mix_shifted(a)], a->kind, a->K, in + first, a->token_mu ? in[first + a->K] : NULL);
}
static void define_mix(const gradcheck_case *k, double *const in[], double *const out[]) {
  const mix_arg *a = k->arg;
  int first = mix_shifted(a) + 1;
  size_t M = check_rows(&k->in[0]), C = check_last(&k->in[0]);
  for (int j = 0; j < a->K; j++) {
    size_t at = (size_t)j * M * C;
    mix64(M, C, a->kind, in[0], in[mix_shifted(a)], in[first + j], a->token_mu ? in[first + a->K] + at : NULL,
          out[0] + at);
  }
}

static void check_mix(int64_t B, int64_t T, int64_t C, mix_arg a) {
  gradcheck_case k = {.name = a.kind == MIX_KEEP ? "shift_mix keep" : "shift_mix toward",
                      .n_out = 1,
                      .arg = &a,
                      .run = run_mix,
                      .define = define_mix};
  for (int i = 0; i <= mix_shifted(&a); i++) k.in[k.n_in++] = (check_input){.dim = {B, T, C}};
  for (int i = 0; i < a.K; i++) k.in[k.n_in++] = (check_input){.dim = {1, 1, C}};
  if (a.token_mu) k.in[k.n_in++] = (check_input){.dim = {a.K, B, T, C}};
  gradcheck(&k);
}

static void test_mix(void **state) {
  (void)state;
  const int rows[] = {1, 2, 5};
  for (mix_kind kind = MIX_TOWARD; kind <= MIX_KEEP; kind++)
    for (size_t i = 0; i < COUNT(rows); i++)
      for (int token_mu = 0; token_mu < 2; token_mu++) {
        check_mix(3, 5, 19, (mix_arg){kind, rows[i], token_mu, false});
        check_mix(1, 1, 35, (mix_arg){kind, rows[i], token_mu, false});
        check_mix(1, 2, 7, (mix_arg){kind, rows[i], token_mu, true});
      }
}

/* --- recurrence --------------------------------------------------------------------------------------------------- */

enum { S0_NONE, S0_SHARED, S0_PER_ROW };

typedef struct {
  int64_t B, T, H, N;
  bool both, w_constant, bonus, state_out;
  int s0;
  const scan_order *order;
  const int32_t *lengths;
} wkv_arg;

static void run_wkv(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const wkv_arg *a = k->arg;
  const wkv6_opt opt = {
      .heads = (int)a->H, .direction = a->both ? WKV_BOTH : WKV_FORWARD, .order = a->order, .lengths = a->lengths};
  out[0] = wkv6(c, in[0], in[1], in[2], in[3], a->bonus ? in[4] : NULL, a->s0 ? in[4 + a->bonus] : NULL, &opt,
                a->state_out ? &out[1] : NULL);
}
static void define_wkv(const gradcheck_case *k, double *const in[], double *const out[]) {
  const wkv_arg *a = k->arg;
  const wkv64 o = {.B = (size_t)a->B,
                   .T = (size_t)a->T,
                   .H = (size_t)a->H,
                   .N = (size_t)a->N,
                   .both = a->both,
                   .w_per_token = !a->w_constant,
                   .s0_per_row = a->s0 == S0_PER_ROW,
                   .order = a->order ? a->order->token : NULL,
                   .lengths = a->lengths};
  wkv6_64(&o, in[0], in[1], in[2], in[3], a->bonus ? in[4] : NULL, a->s0 ? in[4 + a->bonus] : NULL, out[0],
          a->state_out ? out[1] : NULL);
}

static void check_wkv(const char *name, wkv_arg a) {
  const check_input sequence = {.dim = {a.B, a.T, a.H * a.N}};
  gradcheck_case k = {.name = name,
                      .n_in = 4,
                      .n_out = a.state_out ? 2 : 1,
                      .in = {sequence, sequence, sequence, sequence},
                      .arg = &a,
                      .run = run_wkv,
                      .define = define_wkv};
  k.in[3].low = -5, k.in[3].high = 1; /* decays from 0.07 to 0.993 */
  if (a.w_constant) k.in[3] = (check_input){.dim = {a.H * a.N}, .low = -5, .high = 1};
  if (a.bonus) k.in[k.n_in++] = (check_input){.dim = {a.H, a.N}};
  if (a.s0 == S0_SHARED) k.in[k.n_in++] = (check_input){.dim = {a.H, a.N, a.N}};
  if (a.s0 == S0_PER_ROW) k.in[k.n_in++] = (check_input){.dim = {a.B, a.H, a.N, a.N}};
  gradcheck(&k);
}

static void test_wkv6(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  const scan_order *order = scan_order_make(c, SCAN_COLUMNS_REVERSE, 8, 1, 2, 3);
  static const int32_t lengths[] = {5, 0, 8};
  const wkv_arg small = {.B = 3, .T = 8, .H = 2, .N = 6, .bonus = true};
  wkv_arg a = small;
  check_wkv("wkv6", a);
  a.order = order;
  check_wkv("wkv6 in an order", a);
  a.lengths = lengths;
  check_wkv("wkv6 in an order with lengths", a);
  a.s0 = S0_PER_ROW, a.state_out = true;
  check_wkv("wkv6 with everything", a);
  a.order = NULL;
  check_wkv("wkv6 with lengths and states", a);
  a = small, a.s0 = S0_SHARED, a.state_out = true;
  check_wkv("wkv6 from one state for all rows", a);
  a.w_constant = true;
  check_wkv("wkv6 with constant decay and states", a);
  a = small, a.w_constant = true, a.bonus = false;
  check_wkv("wkv6 with constant decay, no bonus", a);
  a = small, a.state_out = true, a.bonus = false;
  check_wkv("wkv6 with its final state", a);
  a = small, a.both = true;
  check_wkv("wkv6 from both ends", a);
  a.lengths = lengths;
  check_wkv("wkv6 from both ends with lengths", a);
  a.order = order, a.w_constant = true;
  check_wkv("wkv6 from both ends in an order with constant decay", a);
  check_wkv("wkv6 of one token", (wkv_arg){.B = 3, .T = 1, .H = 1, .N = 5, .bonus = true});
  check_wkv("wkv6 of one token from both ends", (wkv_arg){.B = 1, .T = 1, .H = 2, .N = 5, .bonus = true, .both = true});
  check_wkv("wkv6 of one token and states",
            (wkv_arg){.B = 1, .T = 1, .H = 2, .N = 3, .s0 = S0_PER_ROW, .state_out = true});
  check_wkv("wkv6 of one token, constant decay",
            (wkv_arg){.B = 1, .T = 1, .H = 2, .N = 3, .s0 = S0_SHARED, .w_constant = true});
  check_wkv("wkv6 over several chunks",
            (wkv_arg){.B = 1, .T = 131, .H = 1, .N = 3, .bonus = true, .s0 = S0_SHARED, .state_out = true});
  check_wkv("wkv6 over several chunks, both ends",
            (wkv_arg){.B = 1, .T = 67, .H = 1, .N = 2, .bonus = true, .both = true});
  check_wkv("wkv6 with heads of 16",
            (wkv_arg){.B = 1, .T = 4, .H = 2, .N = 16, .bonus = true, .s0 = S0_PER_ROW, .state_out = true});
  ctx_free(c);
}

/* The operands as windows of one tensor, r also as k: gradients meet in one buffer. */
static void run_wkv_windows(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  const int64_t *d = in[0]->dim, n = d[1] * d[2] * d[3];
  tensor *row[3];
  for (int i = 0; i < 3; i++) row[i] = tensor_window(c, in[0], i * n, 3, d + 1);
  out[0] = wkv6(c, row[0], row[0], row[1], row[2], in[1], NULL, &(wkv6_opt){.heads = 2}, NULL);
}
static void define_wkv_windows(const gradcheck_case *k, double *const in[], double *const out[]) {
  const int64_t *d = k->in[0].dim;
  size_t n = (size_t)(d[1] * d[2] * d[3]);
  wkv6_64(&(wkv64){.B = (size_t)d[1], .T = (size_t)d[2], .H = 2, .N = (size_t)d[3] / 2, .w_per_token = true}, in[0],
          in[0], in[0] + n, in[0] + 2 * n, in[1], NULL, out[0], NULL);
}

static void test_wkv6_windows(void **state) {
  (void)state;
  gradcheck(&(gradcheck_case){.name = "wkv6 of windows, r = k",
                              .n_in = 2,
                              .n_out = 1,
                              .in = {{.dim = {3, 2, 5, 6}}, {.dim = {2, 3}}},
                              .run = run_wkv_windows,
                              .define = define_wkv_windows});
}

/* Tokens first..first+n-1 of one sequence [1,T,C], at no cost. */
static tensor *span_of(ctx *c, tensor *x, int64_t first, int64_t n) {
  return tensor_window(c, x, first * x->dim[2], 3, (int64_t[]){1, n, x->dim[2]});
}

/* Whole, in two pieces, and token by token. */
static void test_wkv6_pieces(void **state) {
  (void)state;
  enum { T = 70, H = 2, N = 6 };
  const int64_t dim[] = {1, T, H * N};
  const int cuts[][3] = {{0, 41, T}, {0, 64, T}, {0, 1, T}};
  ctx *c = ctx_new();
  assert_non_null(c);
  tensor *x[4], *u = random_tensor(c, 2, (int64_t[]){H, N}, 9, false), *state0, *whole_state;
  for (int i = 0; i < 4; i++) x[i] = random_tensor(c, 3, dim, (uint64_t)i, false);
  state0 = random_tensor(c, 4, (int64_t[]){1, H, N, N}, 10, false);
  const wkv6_opt opt = {.heads = H};
  tensor *whole = wkv6(c, x[0], x[1], x[2], x[3], u, state0, &opt, &whole_state);
  for (size_t i = 0; i < COUNT(cuts); i++) {
    tensor *s = state0;
    for (int part = 0; part < 2; part++) {
      int64_t first = cuts[i][part], n = cuts[i][part + 1] - first;
      tensor *y = wkv6(c, span_of(c, x[0], first, n), span_of(c, x[1], first, n), span_of(c, x[2], first, n),
                       span_of(c, x[3], first, n), u, s, &opt, &s);
      check_same("a piece", y, span_of(c, whole, first, n));
    }
    check_same("state after two pieces", s, whole_state);
  }
  tensor *s = state0;
  for (int64_t t = 0; t < T; t++) {
    tensor *y = wkv6(c, span_of(c, x[0], t, 1), span_of(c, x[1], t, 1), span_of(c, x[2], t, 1), span_of(c, x[3], t, 1),
                     u, s, &opt, &s);
    check_same("a token", y, span_of(c, whole, t, 1));
  }
  check_same("state after single tokens", s, whole_state);
  ctx_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shift), cmocka_unit_test(test_quarters_by_hand), cmocka_unit_test(test_mix),
      cmocka_unit_test(test_wkv6),  cmocka_unit_test(test_wkv6_windows),     cmocka_unit_test(test_wkv6_pieces),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
