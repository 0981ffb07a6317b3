/* RWKV-6 "Finch": the halves of kernels/rwkv6.c on text. Spec language-models 3.4. */
#include "lm/rwkv_version.h"

#define ATT(field) offsetof(rwkv_block, att.v6.field)
#define MAA(i) (offsetof(rwkv_block, att.v6.maa) + (i) * sizeof(tensor *))
#define FFN(field) offsetof(rwkv_block, ffn.field)

/* clang-format off */
static const param_spec rows[] = {
    {"blocks.%d.att.time_maa_x", ATT(maa_x), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"blocks.%d.att.time_maa_w", MAA(MAA_W), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"blocks.%d.att.time_maa_k", MAA(MAA_K), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"blocks.%d.att.time_maa_v", MAA(MAA_V), {1, 1, -D}, PARAM_MIX, init_maa_value, 0, 0, 0},
    {"blocks.%d.att.time_maa_r", MAA(MAA_R), {1, 1, -D}, PARAM_MIX, init_maa, 0.5f, 0, 0},
    {"blocks.%d.att.time_maa_g", MAA(MAA_G), {1, 1, -D}, PARAM_MIX, init_maa, 0.5f, 0, 0},
    {"blocks.%d.att.time_maa_w1", ATT(maa_w1), {-D, -MIX5}, PARAM_LOW_RANK, init_constant, 0, 0, 0},
    {"blocks.%d.att.time_maa_w2", ATT(maa_w2), {5, -MIX, -D}, PARAM_LOW_RANK, init_uniform, 0.01f, 0, 0},
    {"blocks.%d.att.time_decay", ATT(decay), {1, 1, -A}, PARAM_DECAY, init_decay, 0, 0, 0},
    {"blocks.%d.att.time_decay_w1", ATT(decay_w1), {-D, -DECAY}, PARAM_LOW_RANK, init_constant, 0, 0, 0},
    {"blocks.%d.att.time_decay_w2", ATT(decay_w2), {-DECAY, -A}, PARAM_LOW_RANK, init_uniform, 0.01f, 0, 0},
    {"blocks.%d.att.time_faaaa", ATT(bonus), {-H, -N}, PARAM_BONUS, init_bonus, 0, 0, 0},
    {"blocks.%d.att.receptance.weight", ATT(receptance), {-A, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.key.weight", ATT(key), {-A, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, 0, 0},
    {"blocks.%d.att.value.weight", ATT(value), {-A, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.gate.weight", ATT(gate), {-A, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, 0, 0},
    {"blocks.%d.att.output.weight", ATT(output), {-D, -A}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.att.ln_x.weight", ATT(ln_x_weight), {-A}, PARAM_NORM, init_depth_norm, 0, 0, 0},
    {"blocks.%d.att.ln_x.bias", ATT(ln_x_bias), {-A}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.time_maa_k", FFN(mix_k), {1, 1, -D}, PARAM_MIX, init_maa_ffn, 3, 0, 0},
    {"blocks.%d.ffn.time_maa_r", FFN(mix_r), {1, 1, -D}, PARAM_MIX, init_maa_ffn, 3, 0, 0},
    {"blocks.%d.ffn.key.weight", FFN(key), {-F, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.ffn.receptance.weight", FFN(receptance), {-D, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.value.weight", FFN(value), {-D, -F}, PARAM_MATRIX, init_constant, 0, 0, 0},
};
/* clang-format on */

static status config_read(rwkv_config *k, const checkpoint *file, const char *prefix) {
  int64_t bonus[2], mix[3], decay[2];
  status s = checkpoint_shape(file, prefix, "blocks.0.att.time_faaaa", 2, bonus);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_maa_w2", 3, mix);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_decay_w1", 2, decay);
  if (s) return s;
  k->head_size = (int)bonus[1];
  k->rank_mix = (int)mix[1];
  k->rank_decay = (int)decay[1];
  return STATUS_OK;
}

static tensor *time_mix(ctx *c, const rwkv_pass *p, tensor *z) {
  const rwkv_config *k = &p->m->config;
  const wkv6_opt opt = {
      .heads = k->dim_att / k->head_size, .order = p->order, .lengths = p->lengths, .into = p->kept.wkv};
  return rwkv6_time_mix(c, &p->block->att.v6, z, &p->plan, &opt, RWKV_LN_X_EPS, &p->carry, NULL);
}

const rwkv_version rwkv_6 = {
    .number = 6,
    .mark = "blocks.0.att.time_maa_x",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .rank = {offsetof(rwkv_config, rank_mix), offsetof(rwkv_config, rank_decay)},
    .config_read = config_read,
    .time_mix = time_mix,
    .channel_mix = rwkv_channel_mix,
    .mix = MIX_TOWARD,
    .has_start = true,
};
