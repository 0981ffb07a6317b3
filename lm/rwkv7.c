/* RWKV-7 "Goose": the state is corrected by what it already says of a key. Spec language-models 3.5. */
#include <string.h>

#include "lm/rwkv_version.h"

#define ATT(field) offsetof(rwkv_block, att.v7.field)
#define X(i) (offsetof(rwkv_block, att.v7.mix) + (i) * sizeof(tensor *))
#define FFN(field) offsetof(rwkv_block, ffn.field)
enum { LATER = PARAM_LATER_BLOCKS };

/* clang-format off */
static const param_spec rows[] = {
    {"blocks.%d.att.x_r", X(RWKV7_R), {1, 1, -D}, PARAM_MIX, init_maa, 0.2f, 0, 0},
    {"blocks.%d.att.x_w", X(RWKV7_W), {1, 1, -D}, PARAM_MIX, init_maa, 0.9f, 0, 0},
    {"blocks.%d.att.x_k", X(RWKV7_K), {1, 1, -D}, PARAM_MIX, init_maa, 0.7f, 0, 0},
    {"blocks.%d.att.x_v", X(RWKV7_V), {1, 1, -D}, PARAM_MIX, init_maa, 0.7f, 0, 0},
    {"blocks.%d.att.x_a", X(RWKV7_A), {1, 1, -D}, PARAM_MIX, init_maa, 0.9f, 0, 0},
    {"blocks.%d.att.x_g", X(RWKV7_G), {1, 1, -D}, PARAM_MIX, init_maa, 0.2f, 0, 0},
    {"blocks.%d.att.w0", ATT(w0), {1, 1, -D}, PARAM_DECAY, init_decay7, 0, GAIN_IS_HEAD_SIZE, 0},
    {"blocks.%d.att.w1", ATT(w1), {-D, -DECAY}, PARAM_LOW_RANK, init_constant, 0, 0, 0},
    {"blocks.%d.att.w2", ATT(w2), {-DECAY, -D}, PARAM_LOW_RANK, init_orthogonal_tall, 0.1f, 0, 0},
    {"blocks.%d.att.a0", ATT(a0), {1, 1, -D}, PARAM_BIAS, init_rate7, 0, GAIN_IS_HEAD_SIZE, 0},
    {"blocks.%d.att.a1", ATT(a1), {-D, -RATE}, PARAM_LOW_RANK, init_constant, 0, 0, 0},
    {"blocks.%d.att.a2", ATT(a2), {-RATE, -D}, PARAM_LOW_RANK, init_orthogonal_tall, 0.1f, 0, 0},
    {"blocks.%d.att.v0", ATT(v0), {1, 1, -D}, PARAM_BIAS, init_value7, 0, LATER, 0},
    {"blocks.%d.att.v1", ATT(v1), {-D, -VALUE}, PARAM_LOW_RANK, init_constant, 0, LATER, 0},
    {"blocks.%d.att.v2", ATT(v2), {-VALUE, -D}, PARAM_LOW_RANK, init_orthogonal_tall, 0.1f, LATER, 0},
    {"blocks.%d.att.g1", ATT(g1), {-D, -GATE}, PARAM_LOW_RANK, init_constant, 0, 0, 0},
    {"blocks.%d.att.g2", ATT(g2), {-GATE, -D}, PARAM_LOW_RANK, init_orthogonal_tall, 0.1f, 0, 0},
    {"blocks.%d.att.k_k", ATT(k_k), {1, 1, -D}, PARAM_MIX, init_key_scale7, 0, 0, 0},
    {"blocks.%d.att.k_a", ATT(k_a), {1, 1, -D}, PARAM_MIX, init_constant, 1.02f, 0, 0},
    {"blocks.%d.att.r_k", ATT(r_k), {-H, -N}, PARAM_BONUS, init_constant, -0.04f, 0, 0},
    {"blocks.%d.att.receptance.weight", ATT(receptance), {-D, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.key.weight", ATT(key), {-D, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, 0, 0},
    {"blocks.%d.att.value.weight", ATT(value), {-D, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.output.weight", ATT(output), {-D, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.att.ln_x.weight", ATT(ln_x_weight), {-D}, PARAM_NORM, init_depth_norm, 0, 0, 0},
    {"blocks.%d.att.ln_x.bias", ATT(ln_x_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.x_k", FFN(mix_k), {1, 1, -D}, PARAM_MIX, init_maa_ffn, 4, 0, 0},
    {"blocks.%d.ffn.key.weight", FFN(key), {-F, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.ffn.value.weight", FFN(value), {-D, -F}, PARAM_MATRIX, init_constant, 0, 0, 0},
};
/* clang-format on */

/* The first block needs no v1, so that a model of one block has no rank of it. */
static status config_read(rwkv_config *k, const checkpoint *file, const char *prefix) {
  int64_t bonus[2], decay[2], rate[2], value[2] = {0, 0}, gate_rank[2];
  status s = checkpoint_shape(file, prefix, "blocks.0.att.r_k", 2, bonus);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.w1", 2, decay);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.a1", 2, rate);
  if (!s && k->n_layer > 1) s = checkpoint_shape(file, prefix, "blocks.1.att.v1", 2, value);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.g1", 2, gate_rank);
  if (s) return s;
  k->head_size = (int)bonus[1];
  k->rank_decay = (int)decay[1];
  k->rank_rate = (int)rate[1];
  k->rank_value = (int)value[1];
  k->rank_gate = (int)gate_rank[1];
  return STATUS_OK;
}

static status config_check(const rwkv_config *k) {
  if (k->dim_att != k->n_embd)
    return fail(STATUS_FORMAT, "RWKV-7 of width %d with attention of width %d", k->n_embd, k->dim_att);
  if (k->n_layer > 1 && (k->rank_value < 1 || k->rank_value > 1 << 20))
    return fail(STATUS_FORMAT, "a size of the RWKV-7 model is %d", k->rank_value);
  return STATUS_OK;
}

/* x w1 w2, with an activation between the factors. */
static tensor *low_rank(ctx *c, tensor *x, tensor *w1, act_kind kind, tensor *w2) {
  tensor *h = linear_right(c, x, w1);
  return linear_right(c, kind == ACT_NONE ? h : act(c, kind, h), w2);
}

/* Leads v towards the first block's values; there, keeps them for the others. */
static tensor *led_values(ctx *c, const rwkv_pass *p, tensor *v, tensor *x) {
  const rwkv7_att *w = &p->block->att.v7;
  if (p->layer == 0) {
    if (c->recording)
      *p->first = v;
    else if (v)
      memcpy((*p->first)->data, v->data, (size_t)tensor_count(v) * sizeof(float));
    return v;
  }
  tensor *share = add(c, low_rank(c, x, w->v1, ACT_NONE, w->v2), w->v0);
  return add(c, v, gate(c, add(c, *p->first, scale(c, v, -1)), ACT_SIGMOID, share));
}

static tensor *time_mix(ctx *c, const rwkv_pass *p, tensor *z) {
  const rwkv7_att *m = &p->block->att.v7;
  const int heads = p->m->config.dim_att / p->m->config.head_size;
  const wkv7_opt opt = {
      .heads = heads, .decay = DECAY_SIGMOID, .order = p->order, .lengths = p->lengths, .into = p->kept.wkv};

  tensor *s = seen(c, "att.shift", shift(c, z, &p->plan, p->carry.att_x));
  tensor *x = shift_mix(c, z, s, MIX_TOWARD, RWKV7_MIXES, m->mix, NULL);
  tensor *rkv[3];
  mix_linear(c, x, 3, (const int[]){RWKV7_R, RWKV7_K, RWKV7_V}, (tensor *const[]){m->receptance, m->key, m->value},
             NULL, rkv);
  tensor *r = seen(c, "att.r", rkv[0]), *key = rkv[1];
  tensor *v = seen(c, "att.v", led_values(c, p, rkv[2], mix_row(c, x, RWKV7_V)));
  tensor *w = add(c, low_rank(c, mix_row(c, x, RWKV7_W), m->w1, ACT_TANH, m->w2), m->w0);
  tensor *rate = add(c, low_rank(c, mix_row(c, x, RWKV7_A), m->a1, ACT_NONE, m->a2), m->a0); /* before its sigmoid */
  tensor *g = low_rank(c, mix_row(c, x, RWKV7_G), m->g1, ACT_SIGMOID, m->g2);

  tensor *removed = l2_normalise(c, key, m->k_k, heads); /* kk */
  tensor *a = seen(c, "att.a", scale(c, removed, -1));
  tensor *b = seen(c, "att.b", gate(c, removed, ACT_SIGMOID, rate));
  tensor *learned = gate(c, key, ACT_SIGMOID, rate);
  tensor *k = shift_mix(c, key, learned, MIX_TOWARD, 1, &m->k_a, NULL); /* key (1 + (sigmoid(rate) - 1) k_a) */
  k = seen(c, "att.k", mix_row(c, k, 0));
  seen(c, "att.w", w);

  tensor *y = seen(c, "att.wkv", wkv7(c, r, w, k, v, a, b, p->carry.wkv, &opt, NULL));
  tensor *o = seen(c, "att.ln_x", group_norm(c, y, heads, m->ln_x_weight, m->ln_x_bias, RWKV_LN_X_EPS));
  o = add(c, o, head_bonus(c, r, k, m->r_k, v, heads));
  return seen(c, "att", linear(c, gate(c, o, ACT_NONE, g), m->output, NULL));
}

static tensor *channel_mix(ctx *c, const rwkv_pass *p, tensor *z) {
  const rwkv6_ffn *w = &p->block->ffn;
  tensor *x = shift_mix(c, z, shift(c, z, &p->plan, p->carry.ffn_x), MIX_TOWARD, 1, &w->mix_k, NULL);
  tensor *k = linear_act(c, ACT_RELU2, mix_row(c, x, 0), w->key, NULL);
  return seen(c, "ffn", linear(c, k, w->value, NULL));
}

const rwkv_version rwkv_7 = {
    .number = 7,
    .mark = "blocks.0.att.r_k",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .rank = {offsetof(rwkv_config, rank_decay), offsetof(rwkv_config, rank_rate), offsetof(rwkv_config, rank_gate)},
    .config_read = config_read,
    .config_check = config_check,
    .time_mix = time_mix,
    .channel_mix = channel_mix,
    .value_by_key = true,
    .keeps_first = true,
    .has_start = true,
};
