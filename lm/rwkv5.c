/* RWKV-5 "Eagle" in its three forms: 5.0, 5.1 with a gate, 5.2 with a decay and a bonus for every channel. Spec
 * language-models 3.3. */
#include "lm/rwkv_version.h"

#define ATT(field) offsetof(rwkv_block, att.v5.field)
#define FFN(field) offsetof(rwkv_block, ffn.field)
#define GATED WITH(RWKV5_GATE)
#define OF_CHANNELS WITH(RWKV5_CHANNELS)
#define OF_HEADS WITHOUT(RWKV5_CHANNELS)
#define IN_LOG WITH(RWKV5_LOG_BONUS)
#define PLAIN WITHOUT(RWKV5_LOG_BONUS)

/* clang-format off */
static const param_spec rows[] = {
    {"blocks.%d.att.time_mix_k", ATT(mix_k), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, 0},
    {"blocks.%d.att.time_mix_v", ATT(mix_v), {1, 1, -D}, PARAM_MIX, init_keep_value, 0, 0, 0},
    {"blocks.%d.att.time_mix_r", ATT(mix_r), {1, 1, -D}, PARAM_MIX, init_keep, 0.5f, 0, 0},
    {"blocks.%d.att.time_mix_g", ATT(mix_g), {1, 1, -D}, PARAM_MIX, init_keep, 0.5f, GATED, 0},
    {"blocks.%d.att.time_decay", ATT(decay), {-H, -N}, PARAM_DECAY, init_decay, 0, OF_CHANNELS, 0},
    {"blocks.%d.att.time_decay", ATT(decay), {-H}, PARAM_DECAY, init_decay, 0, OF_HEADS, 0},
    {"blocks.%d.att.time_faaaa", ATT(bonus), {-H, -N}, PARAM_BONUS, init_bonus, 0, OF_CHANNELS | PLAIN, 0},
    {"blocks.%d.att.time_faaaa", ATT(bonus), {-H}, PARAM_BONUS, init_bonus_heads, 0, OF_HEADS | PLAIN, 0},
    {"blocks.%d.att.time_first", ATT(bonus), {-H, -N}, PARAM_LOG_BONUS, init_constant, -3, OF_CHANNELS | IN_LOG, 0},
    {"blocks.%d.att.time_first", ATT(bonus), {-H}, PARAM_LOG_BONUS, init_constant, -3, OF_HEADS | IN_LOG, 0},
    {"blocks.%d.att.receptance.weight", ATT(receptance), {-A, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.key.weight", ATT(key), {-A, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, 0, 0},
    {"blocks.%d.att.value.weight", ATT(value), {-A, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.gate.weight", ATT(gate), {-A, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, GATED, 0},
    {"blocks.%d.att.output.weight", ATT(output), {-D, -A}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.att.ln_x.weight", ATT(ln_x_weight), {-A}, PARAM_NORM, init_depth_norm, 0, 0, 0},
    {"blocks.%d.att.ln_x.bias", ATT(ln_x_bias), {-A}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.time_mix_k", FFN(mix_k), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, 0},
    {"blocks.%d.ffn.time_mix_r", FFN(mix_r), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, 0},
    {"blocks.%d.ffn.key.weight", FFN(key), {-F, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.ffn.receptance.weight", FFN(receptance), {-D, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.value.weight", FFN(value), {-D, -F}, PARAM_MATRIX, init_constant, 0, 0, 0},
};
/* clang-format on */

static status config_read(rwkv_config *k, const checkpoint *file, const char *prefix) {
  int64_t decay[2] = {0, 1};
  if (rwkv_has(file, prefix, "blocks.0.att.gate.weight")) k->parts |= RWKV5_GATE;
  if (rwkv_has(file, prefix, "blocks.0.att.time_first")) k->parts |= RWKV5_LOG_BONUS;
  status s = checkpoint_shape(file, prefix, "blocks.0.att.time_decay", 2, decay);
  if (!s) k->parts |= RWKV5_CHANNELS;
  if (s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_decay", 1, decay);
  if (!s) k->head_size = k->dim_att / (int)decay[0];
  return s;
}

/* A number of each head, or of each channel, as [A]. */
static tensor *of_channels(ctx *c, tensor *x, const rwkv_config *k) {
  if (!x || k->parts & RWKV5_CHANNELS) return x;
  int32_t *head = arena_alloc(c->memory, (size_t)k->dim_att * sizeof *head);
  for (int i = 0; head && i < k->dim_att; i++) head[i] = i / k->head_size;
  tensor *column = tensor_view(c, x, 2, (int64_t[]){tensor_count(x), 1});
  return head ? gather_rows(c, column, k->dim_att, head) : NULL;
}

static tensor *time_mix(ctx *c, const rwkv_pass *p, tensor *z) {
  const rwkv_config *config = &p->m->config;
  const rwkv5_att *w = &p->block->att.v5;
  const bool gated = config->parts & RWKV5_GATE;
  const int mixes = gated ? 4 : 3;
  const wkv6_opt opt = {
      .heads = config->dim_att / config->head_size, .order = p->order, .lengths = p->lengths, .into = p->kept.wkv};

  tensor *s = seen(c, "att.shift", shift(c, z, &p->plan, p->carry.att_x));
  tensor *kvrg[4];
  tensor *x = shift_mix(c, z, s, MIX_KEEP, mixes, (tensor *const[]){w->mix_k, w->mix_v, w->mix_r, w->mix_g}, NULL);
  mix_linear(c, x, mixes, (const int[]){0, 1, 2, 3}, (tensor *const[]){w->key, w->value, w->receptance, w->gate}, NULL,
             kvrg);
  tensor *k = seen(c, "att.k", kvrg[0]), *v = seen(c, "att.v", kvrg[1]), *r = seen(c, "att.r", kvrg[2]);

  tensor *u = config->parts & RWKV5_LOG_BONUS ? act(c, ACT_EXP, w->bonus) : w->bonus;
  tensor *decay = of_channels(c, w->decay, config);
  tensor *y = decay ? wkv6(c, r, k, v, decay, of_channels(c, u, config), p->carry.wkv, &opt, NULL) : NULL;
  tensor *o = group_norm(c, seen(c, "att.wkv", y), opt.heads, w->ln_x_weight, w->ln_x_bias, RWKV_LN_X_EPS);
  if (gated) o = gate(c, o, ACT_SILU, seen(c, "att.g", kvrg[3]));
  return seen(c, "att", linear(c, seen(c, "att.ln_x", o), w->output, NULL));
}

const rwkv_version rwkv_5 = {
    .number = 5,
    .mark = "blocks.0.att.ln_x.weight",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .config_read = config_read,
    .time_mix = time_mix,
    .channel_mix = rwkv_channel_mix,
    .mix = MIX_KEEP,
    .has_start = true,
};
