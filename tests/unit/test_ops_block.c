/* The two halves of an RWKV-6 block, forward and backward, against the formulas of spec language-models 3.4 and
 * rwkv-clip 4.2 and 4.3 in float64 (tests/support/gradcheck.h, reference64.h); and whole blocks in a scan order against
 * gathering, running as stored and scattering (rule 7 of spec operators 2.5). */
#include "tests/support/gradcheck.h"
#include "tests/support/reference64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- blocks ------------------------------------------------------------------------------------------------------- */

enum { D = 12, HEADS = 2, RANK = 2, DECAY_RANK = 3, HIDDEN = 17 };

typedef struct {
  int64_t B, T;
  shift_plan plan;
  bool both, carry, state_out;
  float eps;
  mix_kind kind; /* of the channel mix */
} block_arg;

/* The weights of a time mix in the order in which the record holds them, then z, then the carry. */
enum {
  P_MAA_X,
  P_MAA,
  P_W1 = P_MAA + MAA_ROWS,
  P_W2,
  P_DECAY,
  P_DECAY_W1,
  P_DECAY_W2,
  P_BONUS,
  P_R,
  P_K,
  P_V,
  P_G,
  P_O,
  P_LN_W,
  P_LN_B,
  P_Z,
  P_CARRY,
  P_STATE
};

static const check_input time_mix_inputs[P_Z] = {
    [P_MAA_X] = {.dim = {1, 1, D}},
    [P_MAA] = {.dim = {1, 1, D}},
    [P_MAA + 1] = {.dim = {1, 1, D}},
    [P_MAA + 2] = {.dim = {1, 1, D}},
    [P_MAA + 3] = {.dim = {1, 1, D}},
    [P_MAA + 4] = {.dim = {1, 1, D}},
    [P_W1] = {.dim = {D, MAA_ROWS *RANK}},
    [P_W2] = {.dim = {MAA_ROWS, RANK, D}},
    [P_DECAY] = {.dim = {1, 1, D}, .low = -4, .high = 0},
    [P_DECAY_W1] = {.dim = {D, DECAY_RANK}},
    [P_DECAY_W2] = {.dim = {DECAY_RANK, D}},
    [P_BONUS] = {.dim = {HEADS, D / HEADS}},
    [P_R] = {.dim = {D, D}},
    [P_K] = {.dim = {D, D}},
    [P_V] = {.dim = {D, D}},
    [P_G] = {.dim = {D, D}},
    [P_O] = {.dim = {D, D}},
    [P_LN_W] = {.dim = {D}},
    [P_LN_B] = {.dim = {D}},
};

static rwkv6_att att_of(tensor *const in[]) {
  rwkv6_att p = {.maa_x = in[P_MAA_X],
                 .maa_w1 = in[P_W1],
                 .maa_w2 = in[P_W2],
                 .decay = in[P_DECAY],
                 .decay_w1 = in[P_DECAY_W1],
                 .decay_w2 = in[P_DECAY_W2],
                 .bonus = in[P_BONUS],
                 .receptance = in[P_R],
                 .key = in[P_K],
                 .value = in[P_V],
                 .gate = in[P_G],
                 .output = in[P_O],
                 .ln_x_weight = in[P_LN_W],
                 .ln_x_bias = in[P_LN_B]};
  memcpy(p.maa, in + P_MAA, sizeof p.maa);
  return p;
}

static void run_time_mix(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const block_arg *a = k->arg;
  const rwkv6_att p = att_of(in);
  const wkv6_opt opt = {.heads = HEADS, .direction = a->both ? WKV_BOTH : WKV_FORWARD, .order = a->plan.order};
  const rwkv6_carry carry = {.att_x = a->carry ? in[P_CARRY] : NULL, .wkv = a->carry ? in[P_STATE] : NULL};
  out[0] =
      rwkv6_time_mix(c, &p, in[P_Z], &a->plan, &opt, a->eps, a->carry ? &carry : NULL, a->state_out ? &out[1] : NULL);
}
static void define_time_mix(const gradcheck_case *k, double *const in[], double *const out[]) {
  const block_arg *a = k->arg;
  const time_mix64_options o = {.wkv = {.B = (size_t)a->B,
                                        .T = (size_t)a->T,
                                        .H = HEADS,
                                        .N = D / HEADS,
                                        .both = a->both,
                                        .w_per_token = true,
                                        .s0_per_row = true,
                                        .order = a->plan.order ? a->plan.order->token : NULL},
                                .R = RANK,
                                .Rd = DECAY_RANK,
                                .eps = (double)a->eps,
                                .plan = &a->plan};
  time_mix64_weights p = {.maa_x = in[P_MAA_X],
                          .maa_w1 = in[P_W1],
                          .maa_w2 = in[P_W2],
                          .decay = in[P_DECAY],
                          .decay_w1 = in[P_DECAY_W1],
                          .decay_w2 = in[P_DECAY_W2],
                          .bonus = in[P_BONUS],
                          .receptance = in[P_R],
                          .key = in[P_K],
                          .value = in[P_V],
                          .gate = in[P_G],
                          .output = in[P_O],
                          .ln_w = in[P_LN_W],
                          .ln_b = in[P_LN_B]};
  for (int i = 0; i < MAA_ROWS; i++) p.maa[i] = in[P_MAA + i];
  time_mix64(&o, &p, in[P_Z], a->carry ? in[P_CARRY] : NULL, a->carry ? in[P_STATE] : NULL, out[0],
             a->state_out ? out[1] : NULL);
}

static void check_time_mix(const char *name, block_arg a) {
  gradcheck_case k = {.name = name,
                      .n_in = a.carry ? P_STATE + 1 : P_Z + 1,
                      .n_out = a.state_out ? 2 : 1,
                      .arg = &a,
                      .run = run_time_mix,
                      .define = define_time_mix};
  memcpy(k.in, time_mix_inputs, sizeof time_mix_inputs);
  k.in[P_Z] = (check_input){.dim = {a.B, a.T, D}};
  k.in[P_CARRY] = (check_input){.dim = {a.B, D}};
  k.in[P_STATE] = (check_input){.dim = {a.B, HEADS, D / HEADS, D / HEADS}};
  gradcheck(&k);
}

static void test_time_mix(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  const scan_order *odd = scan_order_make(c, SCAN_REVERSE, 6, 1, 2, 2);
  const shift_plan previous = shift_previous(D, NULL), quarters = shift_quarters(D / HEADS, 2, 3);
  check_time_mix("text block, start", (block_arg){.B = 2, .T = 4, .plan = previous, .eps = 64e-5f});
  check_time_mix("text block, continued",
                 (block_arg){.B = 3, .T = 3, .plan = previous, .eps = 64e-5f, .carry = true, .state_out = true});
  check_time_mix("text block, one token",
                 (block_arg){.B = 1, .T = 1, .plan = previous, .eps = 64e-5f, .carry = true, .state_out = true});
  check_time_mix(
      "text block, odd",
      (block_arg){.B = 1, .T = 6, .plan = shift_previous(D, odd), .eps = 64e-5f, .carry = true, .state_out = true});
  check_time_mix("picture block", (block_arg){.B = 1, .T = 6, .plan = quarters, .eps = 1e-5f, .both = true});
  ctx_free(c);
}

enum { F_K, F_R, F_KEY, F_RECEPTANCE, F_VALUE, F_Z, F_CARRY };

static void run_channel_mix(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  const block_arg *a = k->arg;
  const rwkv6_ffn p = {in[F_K], in[F_R], in[F_KEY], in[F_RECEPTANCE], in[F_VALUE]};
  const rwkv6_carry carry = {.ffn_x = a->carry ? in[F_CARRY] : NULL};
  out[0] = rwkv6_channel_mix(c, &p, in[F_Z], &a->plan, a->kind, a->carry ? &carry : NULL);
}
static void define_channel_mix(const gradcheck_case *k, double *const in[], double *const out[]) {
  const block_arg *a = k->arg;
  channel_mix64((size_t)a->B, (size_t)a->T, D, HIDDEN, &a->plan, a->kind, in[F_K], in[F_R], in[F_KEY], in[F_RECEPTANCE],
                in[F_VALUE], in[F_Z], a->carry ? in[F_CARRY] : NULL, out[0]);
}

static void check_channel_mix(const char *name, block_arg a) {
  const check_input mix = {.dim = {1, 1, D}};
  gradcheck_case k = {.name = name,
                      .n_in = a.carry ? F_CARRY + 1 : F_Z + 1,
                      .n_out = 1,
                      .arg = &a,
                      .run = run_channel_mix,
                      .define = define_channel_mix,
                      .in = {mix,
                             mix,
                             {.dim = {HIDDEN, D}},
                             {.dim = {D, D}},
                             {.dim = {D, HIDDEN}},
                             {.dim = {a.B, a.T, D}},
                             {.dim = {a.B, D}}}};
  gradcheck(&k);
}

static void test_channel_mix(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  const scan_order *odd = scan_order_make(c, SCAN_COLUMNS, 7, 1, 2, 3);
  const shift_plan previous = shift_previous(D, NULL), quarters = shift_quarters(D / HEADS, 2, 3);
  check_channel_mix("text channel mix", (block_arg){.B = 3, .T = 5, .plan = previous, .kind = MIX_TOWARD});
  check_channel_mix("text channel mix, continued",
                    (block_arg){.B = 3, .T = 1, .plan = previous, .kind = MIX_TOWARD, .carry = true});
  check_channel_mix("text channel mix, odd",
                    (block_arg){.B = 1, .T = 7, .plan = shift_previous(D, odd), .kind = MIX_TOWARD, .carry = true});
  check_channel_mix("picture channel mix", (block_arg){.B = 2, .T = 6, .plan = quarters, .kind = MIX_KEEP});
  ctx_free(c);
}

/* --- scan orders: gather, run as stored, scatter ------------------------------------------------------------------ */

/* x [B,T,D] with token list[t] of every row at place t. */
static tensor *reordered(ctx *c, tensor *x, const int32_t *list) {
  int64_t B = x->dim[0], T = x->dim[1];
  int32_t *row = arena_alloc(c->memory, (size_t)(B * T) * sizeof *row);
  assert_non_null(row);
  for (int64_t i = 0; i < B * T; i++) row[i] = (int32_t)(i / T * T) + list[i % T];
  return tensor_view(c, gather_rows(c, x, B * T, row), 3, x->dim);
}

/* A whole block on z, its weights from the list: residual branches added as a model does. */
static tensor *block(ctx *c, tensor *const att[], tensor *const ffn[], tensor *z, const scan_order *order, bool both,
                     tensor **state) {
  const rwkv6_att p = att_of(att);
  const rwkv6_ffn q = {ffn[F_K], ffn[F_R], ffn[F_KEY], ffn[F_RECEPTANCE], ffn[F_VALUE]};
  const shift_plan plan = shift_previous(D, order);
  const wkv6_opt opt = {.heads = HEADS, .direction = both ? WKV_BOTH : WKV_FORWARD, .order = order};
  tensor *x = add(c, z, rwkv6_time_mix(c, &p, z, &plan, &opt, 64e-5f, NULL, state));
  return add(c, x, rwkv6_channel_mix(c, &q, x, &plan, MIX_TOWARD, NULL));
}

static void compare_order(scan_kind kind, bool both) {
  enum { B = 2, T = 9, WEIGHTS = P_Z };
  static const check_input ffn_inputs[F_Z] = {
      {.dim = {1, 1, D}}, {.dim = {1, 1, D}}, {.dim = {HIDDEN, D}}, {.dim = {D, D}}, {.dim = {D, HIDDEN}}};
  ctx *c = ctx_new();
  assert_non_null(c);
  const scan_order *order = scan_order_make(c, kind, T, 2, 2, 3);
  float gy[B * T * D], gs[B * D * D / HEADS];
  rng g = rng_make(3, 3);
  for (size_t i = 0; i < COUNT(gy); i++) gy[i] = rng_range(&g, -1, 1);
  for (size_t i = 0; i < COUNT(gs); i++) gs[i] = rng_range(&g, -1, 1);
  tensor *in[2][WEIGHTS + F_Z + 1], *y[2], *state[2];
  c->recording = true;
  for (int way = 0; way < 2; way++) { /* 0: the order inside the operators; 1: gather, stored order, scatter */
    for (int i = 0; i < WEIGHTS; i++)
      in[way][i] = random_tensor(c, check_dims(&time_mix_inputs[i]), time_mix_inputs[i].dim, (uint64_t)i, true);
    for (int i = 0; i < F_Z; i++)
      in[way][WEIGHTS + i] = random_tensor(c, check_dims(&ffn_inputs[i]), ffn_inputs[i].dim, 50 + (uint64_t)i, true);
    tensor *z = in[way][WEIGHTS + F_Z] = random_tensor(c, 3, (int64_t[]){B, T, D}, 99, true);
    tensor *moved = way ? reordered(c, z, order->token) : z;
    y[way] = block(c, in[way], in[way] + WEIGHTS, moved, way ? NULL : order, both, both ? NULL : &state[way]);
    if (way) y[way] = reordered(c, y[way], order->step);
    tensor *loss = weighted_sum(c, y[way], gy);
    if (!both) loss = add(c, loss, weighted_sum(c, state[way], gs));
    assert_int_equal(backward(c, loss), STATUS_OK);
  }
  check_same("output", y[0], y[1]);
  if (!both) check_same("state", state[0], state[1]);
  for (int i = 0; i <= WEIGHTS + F_Z; i++) {
    char what[64];
    snprintf(what, sizeof what, "gradient of %d in order %d", i, (int)kind);
    check_same(what, in[0][i]->grad, in[1][i]->grad);
  }
  ctx_free(c);
}

static void test_orders(void **state) {
  (void)state;
  for (scan_kind kind = SCAN_FORWARD; kind <= SCAN_COLUMNS_REVERSE; kind++) {
    compare_order(kind, false);
    compare_order(kind, true);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_time_mix),
      cmocka_unit_test(test_channel_mix),
      cmocka_unit_test(test_orders),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
