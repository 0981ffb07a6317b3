/* The recurrences of RWKV-4 and RWKV-7 as operators, forward and backward, against their definitions in float64
 * (tests/support/gradcheck.h, reference64.h); in pieces, the state handed on, against the whole. */
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

/* Tokens first..first+n-1 of one sequence [1,T,C], at no cost. */
static tensor *span_of(ctx *c, tensor *x, int64_t first, int64_t n) {
  return tensor_window(c, x, first * x->dim[2], 3, (int64_t[]){1, n, x->dim[2]});
}

/* --- RWKV-4 ------------------------------------------------------------------------------------------------------- */

typedef struct {
  int64_t B, T, C;
  bool state_in, state_out;
  const scan_order *order;
  const int32_t *lengths;
  double *exponents; /* [B,C] of the final state, written by the first definition: constants to gradients */
  bool *known;
} wkv4_arg;

enum { K4, V4, W4, U4, A4, B4, P4 }; /* a, b and p of the start are inputs of their own, as p takes no gradient */

/* Rows a and b of a state [B,3,C]. */
static tensor *sums_of(ctx *c, tensor *state) {
  int64_t B = state->dim[0];
  int32_t *rows = arena_alloc(c->memory, (size_t)(2 * B) * sizeof *rows);
  for (int64_t i = 0; i < 2 * B; i++) rows[i] = (int32_t)(i / 2 * 3 + i % 2);
  return gather_rows(c, state, 2 * B, rows);
}

static void run_wkv4(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const wkv4_arg *a = k->arg;
  const wkv4_opt opt = {.order = a->order, .lengths = a->lengths};
  tensor *s0 = a->state_in ? concat_tokens(c, 3, in + A4) : NULL, *state;
  bool plain = !a->order && !a->lengths;
  out[0] = wkv4(c, in[K4], in[V4], in[W4], in[U4], s0, plain ? NULL : &opt, a->state_out ? &state : NULL);
  if (a->state_out) out[1] = sums_of(c, state);
}

/* p of the final state: every step takes it down by the decay, no lower than the key. */
static void find_exponents(const wkv4_arg *a, double *const in[]) {
  for (int64_t i = 0; i < a->B * a->C; i++) {
    int64_t b = i / a->C, c = i % a->C, steps = a->lengths ? a->lengths[b] : a->T;
    double p = a->state_in ? in[P4][i] : (double)WKV4_EMPTY;
    for (int64_t t = 0; t < steps; t++) {
      int64_t token = a->order ? a->order->token[t] : t;
      p = fmax(p - exp(in[W4][c]), in[K4][(b * a->T + token) * a->C + c]);
    }
    a->exponents[i] = p;
  }
}

static void define_wkv4(const gradcheck_case *k, double *const in[], double *const out[]) {
  const wkv4_arg *a = k->arg;
  size_t B = (size_t)a->B, C = (size_t)a->C;
  const wkv64 o = {
      .B = B, .T = (size_t)a->T, .H = 1, .N = C, .order = a->order ? a->order->token : NULL, .lengths = a->lengths};
  double *s0 = a->state_in ? zeros64(B * 3 * C) : NULL;
  for (size_t i = 0; s0 && i < B * 3 * C; i++) s0[i] = in[A4 + i / C % 3][i / (3 * C) * C + i % C];
  wkv4_64(&o, in[K4], in[V4], in[W4], in[U4], s0, out[0], a->state_out ? out[1] : NULL);
  if (!*a->known) find_exponents(a, in);
  *a->known = true;
  for (size_t i = 0; a->state_out && i < B * 2 * C; i++) {
    double sum = out[1][i];
    out[1][i] = sum == 0 ? 0 : sum * exp(-a->exponents[i / (2 * C) * C + i % C]);
  }
  free(s0);
}

static void check_wkv4(const char *name, wkv4_arg a) {
  const check_input sequence = {.dim = {a.B, a.T, a.C}}, row = {.dim = {a.B, 1, a.C}};
  bool known = false;
  a.known = &known;
  a.exponents = zeros64((size_t)(a.B * a.C));
  gradcheck_case k = {.name = name,
                      .n_in = a.state_in ? 7 : 4,
                      .n_out = a.state_out ? 2 : 1,
                      .in = {sequence, sequence, {.dim = {a.C}}, {.dim = {a.C}}, row, row, row},
                      .arg = &a,
                      .run = run_wkv4,
                      .define = define_wkv4};
  k.in[K4].low = -3, k.in[K4].high = 3;
  k.in[W4].low = -4, k.in[W4].high = 1;
  k.in[B4].low = 0.5, k.in[B4].high = 2;
  k.in[P4].constant = true;
  gradcheck(&k);
  free(a.exponents);
}

static void test_wkv4(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  const scan_order *order = scan_order_make(c, SCAN_COLUMNS_REVERSE, 8, 1, 2, 3);
  static const int32_t lengths[] = {5, 1, 8};
  wkv4_arg a = {.B = 3, .T = 8, .C = 7};
  check_wkv4("wkv4", a);
  a.order = order;
  check_wkv4("wkv4 in an order", a);
  a.lengths = lengths;
  check_wkv4("wkv4 in an order with lengths", a);
  a.state_in = a.state_out = true;
  check_wkv4("wkv4 with everything", a);
  a.order = NULL, a.lengths = NULL;
  check_wkv4("wkv4 with states", a);
  a.state_in = false;
  check_wkv4("wkv4 with its final state", a);
  a.state_in = true, a.state_out = false;
  check_wkv4("wkv4 from a state", a);
  check_wkv4("wkv4 of one token", (wkv4_arg){.B = 1, .T = 1, .C = 5});
  check_wkv4("wkv4 of one token and states", (wkv4_arg){.B = 2, .T = 1, .C = 3, .state_in = true, .state_out = true});
  check_wkv4("wkv4 of many channels", (wkv4_arg){.B = 1, .T = 3, .C = 37, .state_in = true, .state_out = true});
  ctx_free(c);
}

/* Whole, in two pieces, and token by token; gradients run through the handed state as through the whole. */
static void test_wkv4_pieces(void **state) {
  (void)state;
  enum { T = 30, C = 9 };
  const int64_t dim[] = {1, T, C};
  ctx *c = ctx_new();
  assert_non_null(c);
  tensor *k = random_tensor(c, 3, dim, 1, true), *v = random_tensor(c, 3, dim, 2, true);
  tensor *w = random_tensor(c, 1, (int64_t[]){C}, 3, false), *u = random_tensor(c, 1, (int64_t[]){C}, 4, false);
  for (int i = 0; i < T * C; i++) f32(k)[i] *= 20;
  float gy[T * C];
  rng g = rng_make(6, 0);
  for (int i = 0; i < T * C; i++) gy[i] = rng_range(&g, -1, 1);
  tensor *want[2] = {NULL, NULL};
  const int pieces[] = {1, 2, T};
  c->recording = true;
  tensor *whole = NULL, *whole_state = NULL;
  for (size_t i = 0; i < COUNT(pieces); i++) {
    tensor *s = NULL, *loss = NULL;
    k->grad = v->grad = NULL;
    for (int part = 0; part < pieces[i]; part++) {
      const int64_t first = T * part / pieces[i], n = T * (part + 1) / pieces[i] - first;
      tensor *y = wkv4(c, span_of(c, k, first, n), span_of(c, v, first, n), w, u, s, NULL, &s);
      if (!whole) whole = y;
      check_same("a piece", y, span_of(c, whole, first, n));
      tensor *share = weighted_sum(c, y, gy + first * C);
      loss = loss ? add(c, loss, share) : share;
    }
    if (!whole_state) whole_state = s;
    check_same("state after the pieces", s, whole_state);
    assert_int_equal(backward(c, loss), STATUS_OK);
    if (i == 0) want[0] = k->grad, want[1] = v->grad;
    double *wide = zeros64(T * C);
    for (int j = 0; j < 2; j++) {
      for (int e = 0; e < T * C; e++) wide[e] = (double)f32(want[j])[e];
      check_l2(j ? "gradient of v" : "gradient of k", f32((j ? v : k)->grad), wide, T * C, 1e-5, 0.1);
    }
    free(wide);
  }
  ctx_free(c);
}

/* --- RWKV-7 ------------------------------------------------------------------------------------------------------- */

enum { S0_NONE, S0_SHARED, S0_PER_ROW };

typedef struct {
  int64_t B, T, H, N;
  wkv7_decay decay;
  int s0;
  bool state_out;
  const scan_order *order;
  const int32_t *lengths;
} wkv7_arg;

static void run_wkv7(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const wkv7_arg *a = k->arg;
  const wkv7_opt opt = {.heads = (int)a->H, .decay = a->decay, .order = a->order, .lengths = a->lengths};
  out[0] = wkv7(c, in[0], in[1], in[2], in[3], in[4], in[5], a->s0 ? in[6] : NULL, &opt, a->state_out ? &out[1] : NULL);
}
static void define_wkv7(const gradcheck_case *k, double *const in[], double *const out[]) {
  const wkv7_arg *a = k->arg;
  const wkv64 o = {.B = (size_t)a->B,
                   .T = (size_t)a->T,
                   .H = (size_t)a->H,
                   .N = (size_t)a->N,
                   .s0_per_row = a->s0 == S0_PER_ROW,
                   .order = a->order ? a->order->token : NULL,
                   .lengths = a->lengths};
  wkv7_64(&o, a->decay, in[0], in[1], in[2], in[3], in[4], in[5], a->s0 ? in[6] : NULL, out[0],
          a->state_out ? out[1] : NULL);
}

static void check_wkv7(const char *name, wkv7_arg a) {
  const double most = 1 / sqrt((double)a.N); /* of entries of a and b: states must not grow */
  const check_input sequence = {.dim = {a.B, a.T, a.H * a.N}},
                    removal = {.dim = {a.B, a.T, a.H * a.N}, .low = -most, .high = most};
  gradcheck_case k = {.name = name,
                      .n_in = a.s0 ? 7 : 6,
                      .n_out = a.state_out ? 2 : 1,
                      .in = {sequence, sequence, sequence, sequence, removal, removal},
                      .arg = &a,
                      .run = run_wkv7,
                      .define = define_wkv7};
  k.in[1].low = -5, k.in[1].high = a.decay == DECAY_EXP ? 1 : 5;
  if (a.s0 == S0_SHARED) k.in[6] = (check_input){.dim = {a.H, a.N, a.N}};
  if (a.s0 == S0_PER_ROW) k.in[6] = (check_input){.dim = {a.B, a.H, a.N, a.N}};
  gradcheck(&k);
}

static void test_wkv7(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  const scan_order *order = scan_order_make(c, SCAN_COLUMNS_REVERSE, 8, 1, 2, 3);
  static const int32_t lengths[] = {5, 0, 8};
  const wkv7_arg small = {.B = 3, .T = 8, .H = 2, .N = 6};
  wkv7_arg a = small;
  check_wkv7("wkv7", a);
  a.decay = DECAY_SIGMOID;
  check_wkv7("wkv7 with sigmoid decay", a);
  a.order = order;
  check_wkv7("wkv7 in an order", a);
  a.lengths = lengths;
  check_wkv7("wkv7 in an order with lengths", a);
  a.s0 = S0_PER_ROW, a.state_out = true;
  check_wkv7("wkv7 with everything", a);
  a = small, a.s0 = S0_SHARED, a.state_out = true;
  check_wkv7("wkv7 from one state for all rows", a);
  a = small, a.state_out = true;
  check_wkv7("wkv7 with its final state", a);
  check_wkv7("wkv7 of one token", (wkv7_arg){.B = 3, .T = 1, .H = 1, .N = 5});
  check_wkv7("wkv7 of one token and states",
             (wkv7_arg){.B = 1, .T = 1, .H = 2, .N = 3, .s0 = S0_PER_ROW, .state_out = true});
  check_wkv7("wkv7 over several chunks",
             (wkv7_arg){.B = 1, .T = 37, .H = 1, .N = 3, .s0 = S0_SHARED, .state_out = true});
  check_wkv7("wkv7 with heads of 16", (wkv7_arg){.B = 1, .T = 4, .H = 2, .N = 16, .s0 = S0_PER_ROW, .state_out = true});
  ctx_free(c);
}

/* The operands as windows of one tensor, r also as k and a also as b: gradients meet in one buffer. */
static void run_windows(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  (void)k;
  const int64_t *d = in[0]->dim, n = d[1] * d[2] * d[3];
  tensor *row[4];
  for (int i = 0; i < 4; i++) row[i] = tensor_window(c, in[0], i * n, 3, d + 1);
  out[0] = wkv7(c, row[0], row[1], row[0], row[2], row[3], row[3], NULL, &(wkv7_opt){.heads = 2}, NULL);
  out[1] = wkv4(c, row[0], row[1], in[1], in[1], NULL, NULL, NULL);
}
static void define_windows(const gradcheck_case *k, double *const in[], double *const out[]) {
  const int64_t *d = k->in[0].dim;
  size_t n = (size_t)(d[1] * d[2] * d[3]);
  const wkv64 o = {.B = (size_t)d[1], .T = (size_t)d[2], .H = 2, .N = (size_t)d[3] / 2};
  const double *x = in[0];
  wkv7_64(&o, DECAY_EXP, x, x + n, x, x + 2 * n, x + 3 * n, x + 3 * n, NULL, out[0], NULL);
  wkv4_64(&o, x, x + n, in[1], in[1], NULL, out[1], NULL);
}

static void test_windows(void **state) {
  (void)state;
  gradcheck(&(gradcheck_case){.name = "wkv7 and wkv4 of windows",
                              .n_in = 2,
                              .n_out = 2,
                              .in = {{.dim = {4, 2, 5, 6}}, {.dim = {6}}},
                              .run = run_windows,
                              .define = define_windows});
}

/* Whole, in two pieces, and token by token. */
static void test_wkv7_pieces(void **state) {
  (void)state;
  enum { T = 40, H = 2, N = 6 };
  const int64_t dim[] = {1, T, H * N};
  const int pieces[] = {2, 3, T};
  ctx *c = ctx_new();
  assert_non_null(c);
  tensor *x[6], *state0 = random_tensor(c, 4, (int64_t[]){1, H, N, N}, 10, false), *whole_state;
  for (int i = 0; i < 6; i++) {
    x[i] = random_tensor(c, 3, dim, (uint64_t)i, false);
    for (int e = 0; i >= 4 && e < T * H * N; e++) f32(x[i])[e] *= 0.4f;
  }
  const wkv7_opt opt = {.heads = H, .decay = DECAY_SIGMOID};
  tensor *whole = wkv7(c, x[0], x[1], x[2], x[3], x[4], x[5], state0, &opt, &whole_state);
  for (size_t i = 0; i < COUNT(pieces); i++) {
    tensor *s = state0;
    for (int part = 0; part < pieces[i]; part++) {
      const int64_t first = T * part / pieces[i], n = T * (part + 1) / pieces[i] - first;
      tensor *p[6];
      for (int j = 0; j < 6; j++) p[j] = span_of(c, x[j], first, n);
      check_same("a piece", wkv7(c, p[0], p[1], p[2], p[3], p[4], p[5], s, &opt, &s), span_of(c, whole, first, n));
    }
    check_same("state after the pieces", s, whole_state);
  }
  ctx_free(c);
}

/* What is missing because memory ran out earlier makes the result missing. */
static void test_missing_inputs(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  tensor *x = random_tensor(c, 3, (int64_t[]){1, 2, 4}, 1, false), *w = random_tensor(c, 1, (int64_t[]){4}, 2, false);
  for (int missing = 0; missing < 4; missing++) {
    tensor *in[4] = {x, x, w, w}, *s = x;
    in[missing] = NULL;
    assert_null(wkv4(c, in[0], in[1], in[2], in[3], NULL, NULL, &s));
    assert_null(s);
  }
  for (int missing = 0; missing < 6; missing++) {
    tensor *in[6] = {x, x, x, x, x, x}, *s = x;
    in[missing] = NULL;
    assert_null(wkv7(c, in[0], in[1], in[2], in[3], in[4], in[5], NULL, &(wkv7_opt){.heads = 2}, &s));
    assert_null(s);
  }
  ctx_free(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_wkv4),    cmocka_unit_test(test_wkv4_pieces), cmocka_unit_test(test_wkv7),
      cmocka_unit_test(test_windows), cmocka_unit_test(test_wkv7_pieces), cmocka_unit_test(test_missing_inputs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
