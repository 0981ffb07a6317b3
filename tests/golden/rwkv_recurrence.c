/* The recurrences of RWKV-4 to 7 alone, from zero and (keys "s_...") from and to a state, with all gradients. Spec
 * language-models 4. */
#include <stdio.h>
#include <string.h>

#include "tests/golden/rwkv.h"
#include "tests/support/gradcheck.h"

static const golden_rule rules[] = {
    {"io/[rkvwuab]", GIVEN, 0, 0, NULL}, {"io/gy", GIVEN, 0, 0, NULL},          {"io/s_s0", GIVEN, 0, 0, NULL},
    {"io/s_gsT", GIVEN, 0, 0, NULL},     {"io/s_[ab]0", GIVEN, 0, 0, NULL},     {"io/s_g[ab]", GIVEN, 0, 0, NULL},
    {"io/*grad_w", L2, 1e-3, 0, NULL},   {"io/*grad_*", L2, 1e-4, 0, NULL},     {"io/*y", L2, 1e-5, 0, NULL},
    {"io/*sT", L2, 1e-5, 0, NULL},       {"io/*[abp][abp]", L2, 1e-5, 0, NULL}, {NULL, GIVEN, 0, 0, NULL},
};

enum { OPERANDS = 6 };

/* The operands, by their names' letters; false if one is missing or does not fit. Those of "wu" may be one for all
 * tokens. */
static bool operands(golden_case *k, const char *names, tensor *in[OPERANDS], const tensor *gy) {
  bool ok = gy && gy->n_dims == 3;
  for (int i = 0; ok && names[i]; i++) {
    in[i] = golden_tensor(k, (char[]){'i', 'o', '/', names[i], 0});
    if (!in[i]) return false;
    in[i]->needs_grad = true;
    const bool whole = in[i]->n_dims == 3 && tensor_count(in[i]) == tensor_count(gy) && in[i]->dim[2] == gy->dim[2];
    ok = ok && (whole || (strchr("wu", names[i]) && tensor_count(in[i]) == gy->dim[2]));
  }
  if (!ok) golden_check(k, false, "the inputs of the recurrence do not fit together");
  return ok;
}

static void offer_grads(golden_case *k, const char *names, tensor *const in[OPERANDS], const char *prefix) {
  for (int i = 0; names[i]; i++) golden_offer_tensor(k, in[i]->grad, "io/%sgrad_%c", prefix, names[i]);
}

/* The loss of the case: what comes out times its given gradients. */
static void run_backward(golden_case *k, tensor *y, const tensor *gy, tensor *state, const tensor *gsT) {
  ctx *c = golden_ctx(k);
  tensor *loss = weighted_sum(c, y, f32(gy));
  if (gsT) loss = add(c, loss, weighted_sum(c, state, f32(gsT)));
  if (backward(c, loss)) golden_error(k);
  c->recording = false;
}

/* --- RWKV-5, 6 and 7: states [B,H,N,N], of version 7 value by key ------------------------------------------------- */

tensor *golden_exchanged(ctx *c, const tensor *s) {
  tensor *y = s ? tensor_like(c, s) : NULL;
  if (!y) return NULL;
  const int64_t N = tensor_last(s);
  for (int64_t i = 0; i < tensor_count(s); i++) f32(y)[i / (N * N) * N * N + i % N * N + i / N % N] = f32(s)[i];
  return y;
}

static void offer_matrices(golden_case *k, bool exchange, const tensor *s, const char *prefix, const char *name) {
  golden_offer_tensor(k, exchange ? golden_exchanged(golden_ctx(k), s) : s, "io/%s%s", prefix, name);
}

static bool is_states(const tensor *s, int64_t heads, const tensor *gy) {
  return s && s->n_dims == 4 && s->dim[0] == gy->dim[0] && s->dim[1] == heads && s->dim[2] == s->dim[3] &&
         heads * s->dim[2] == gy->dim[2];
}

static void run_matrices(golden_case *k, bool seven, const char *prefix) {
  ctx *c = golden_ctx(k);
  const char *names = seven ? "rwkvab" : "rkvwu";
  const bool stateful = *prefix;
  golden_shape shape;
  tensor *in[OPERANDS], *gy = golden_tensor(k, "io/gy"), *state = NULL;
  tensor *s0 = stateful ? golden_tensor(k, "io/s_s0") : NULL, *gsT = stateful ? golden_tensor(k, "io/s_gsT") : NULL;
  if (!operands(k, names, in, gy) || !golden_shape_of(k, "io/sT", &shape)) return;
  const int64_t heads = shape.n_dims == 4 && shape.dim[1] > 0 ? shape.dim[1] : 1;
  if (gy->dim[2] % heads || (stateful && (!is_states(s0, heads, gy) || !is_states(gsT, heads, gy)))) {
    golden_check(k, false, "the states of the recurrence do not fit its inputs");
    return;
  }
  if (stateful && seven) s0 = golden_exchanged(c, s0), gsT = golden_exchanged(c, gsT);
  if (s0) s0->needs_grad = true;
  c->recording = true;
  tensor *y = seven ? wkv7(c, in[0], in[1], in[2], in[3], in[4], in[5], s0,
                           &(wkv7_opt){.heads = (int)heads, .decay = DECAY_EXP}, &state)
                    : wkv6(c, in[0], in[1], in[2], in[3], in[4], s0, &(wkv6_opt){.heads = (int)heads}, &state);
  golden_offer_tensor(k, y, "io/%sy", prefix);
  offer_matrices(k, seven, state, prefix, "sT");
  run_backward(k, y, gy, state, gsT);
  offer_grads(k, names, in, prefix);
  if (s0) offer_matrices(k, seven, s0->grad, prefix, "grad_s0");
  ctx_reset(c);
}

/* --- RWKV-4: states a, b, p, each [B,C] --------------------------------------------------------------------------- */

/* a and b of the keys, beside zeros: a state [B,3,C], or what of one enters the loss. NULL if they do not fit. */
static tensor *sums_of(golden_case *k, const char *a_key, const char *b_key, const tensor *gy) {
  tensor *part[2] = {golden_tensor(k, a_key), golden_tensor(k, b_key)};
  const int64_t B = gy->dim[0], C = gy->dim[2];
  tensor *s = tensor_3d(golden_ctx(k), DTYPE_F32, B, 3, C);
  if (!s || !part[0] || !part[1]) return NULL;
  memset(s->data, 0, (size_t)tensor_count(s) * sizeof(float));
  for (int i = 0; i < 2; i++) {
    if (tensor_count(part[i]) != B * C) {
      golden_check(k, false, "%s and %s must be [B,C]", a_key, b_key);
      return NULL;
    }
    for (int64_t b = 0; b < B; b++) memcpy(f32(s) + (b * 3 + i) * C, f32(part[i]) + b * C, (size_t)C * sizeof(float));
  }
  return s;
}

/* Row i of every state [B,3,C]. */
static void offer_sum(golden_case *k, const tensor *s, int i, const char *prefix, const char *name) {
  const int64_t B = s ? s->dim[0] : 0, C = s ? s->dim[2] : 0;
  tensor *row = s ? tensor_2d(golden_ctx(k), DTYPE_F32, B, C) : NULL;
  for (int64_t b = 0; row && b < B; b++) memcpy(f32(row) + b * C, f32(s) + (b * 3 + i) * C, (size_t)C * sizeof(float));
  golden_offer_tensor(k, row, "io/%s%s", prefix, name);
}

static void run_sums(golden_case *k, const char *prefix) {
  static const char names[] = "kvwu", *const rows[] = {"aa", "bb", "pp"}, *const grads[] = {"grad_a0", "grad_b0"};
  ctx *c = golden_ctx(k);
  const bool stateful = *prefix;
  tensor *in[OPERANDS], *gy = golden_tensor(k, "io/gy"), *state = NULL, *s0 = NULL, *gsT = NULL;
  if (!operands(k, names, in, gy)) return;
  if (stateful && (!(s0 = sums_of(k, "io/s_a0", "io/s_b0", gy)) || !(gsT = sums_of(k, "io/s_ga", "io/s_gb", gy))))
    return;
  if (s0) s0->needs_grad = true;
  c->recording = true;
  tensor *y = wkv4(c, in[0], in[1], in[2], in[3], s0, NULL, &state);
  golden_offer_tensor(k, y, "io/%sy", prefix);
  for (int i = 0; i < 3; i++) offer_sum(k, state, i, prefix, rows[i]);
  run_backward(k, y, gy, state, gsT);
  offer_grads(k, names, in, prefix);
  for (int i = 0; s0 && i < 2; i++) offer_sum(k, s0->grad, i, prefix, grads[i]);
  ctx_reset(c);
}

void golden_run_recurrence(golden_case *k) {
  golden_rules(k, rules);
  const bool four = !golden_has(k, "io/r"), seven = golden_has(k, "io/b");
  for (int stateful = 0; stateful < 2; stateful++) {
    const char *prefix = stateful ? "s_" : "";
    if (stateful && !golden_has(k, "io/s_y")) continue;
    if (four)
      run_sums(k, prefix);
    else
      run_matrices(k, seven, prefix);
  }
}
