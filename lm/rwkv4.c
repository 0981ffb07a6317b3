/* RWKV-4 "Dove": a weighted average of past values in every channel. Spec language-models 3.2. */
#include "lm/rwkv_version.h"

#define ATT(field) offsetof(rwkv_block, att.v4.field)
#define FFN(field) offsetof(rwkv_block, ffn.field)

/* clang-format off */
static const param_spec rows[] = {
    {"blocks.%d.att.time_decay", ATT(decay), {-A}, PARAM_DECAY, init_decay4, 0, 0, 0},
    {"blocks.%d.att.time_first", ATT(bonus), {-A}, PARAM_LOG_BONUS, init_bonus4, 0, 0, 0},
    {"blocks.%d.att.time_mix_k", ATT(mix_k), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, 0},
    {"blocks.%d.att.time_mix_v", ATT(mix_v), {1, 1, -D}, PARAM_MIX, init_keep_value, 0, 0, 0},
    {"blocks.%d.att.time_mix_r", ATT(mix_r), {1, 1, -D}, PARAM_MIX, init_keep, 0.5f, 0, 0},
    {"blocks.%d.att.key.weight", ATT(key), {-A, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.att.value.weight", ATT(value), {-A, -D}, PARAM_MATRIX, init_orthogonal_tall, 1, 0, 0},
    {"blocks.%d.att.receptance.weight", ATT(receptance), {-A, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.att.output.weight", ATT(output), {-D, -A}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.time_mix_k", FFN(mix_k), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, 0},
    {"blocks.%d.ffn.time_mix_r", FFN(mix_r), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, 0},
    {"blocks.%d.ffn.key.weight", FFN(key), {-F, -D}, PARAM_MATRIX, init_orthogonal_tall, 1, 0, 0},
    {"blocks.%d.ffn.receptance.weight", FFN(receptance), {-D, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.value.weight", FFN(value), {-D, -F}, PARAM_MATRIX, init_constant, 0, 0, 0},
};
/* clang-format on */

enum { SUMS = 3 }; /* a state's rows: a, b and the exponent p of both */

static status config_read(rwkv_config *k, const checkpoint *file, const char *prefix) {
  (void)file, (void)prefix;
  k->head_size = 1;
  return STATUS_OK;
}

static status config_check(const rwkv_config *k) {
  return k->head_size == 1 ? STATUS_OK : fail(STATUS_FORMAT, "RWKV-4 has no heads of %d channels", k->head_size);
}

static void empty(const rwkv_config *k, float *wkv) {
  for (int i = 0; i < k->dim_att; i++) wkv[(SUMS - 1) * k->dim_att + i] = WKV4_EMPTY;
}

static tensor *time_mix(ctx *c, const rwkv_pass *p, tensor *z) {
  const rwkv4_att *w = &p->block->att.v4;
  const wkv4_opt opt = {.order = p->order, .lengths = p->lengths, .into = p->kept.wkv};

  tensor *s = seen(c, "att.shift", shift(c, z, &p->plan, p->carry.att_x));
  tensor *x = shift_mix(c, z, s, MIX_KEEP, 3, (tensor *const[]){w->mix_k, w->mix_v, w->mix_r}, NULL);
  tensor *kvr[3];
  mix_linear(c, x, 3, (const int[]){0, 1, 2}, (tensor *const[]){w->key, w->value, w->receptance}, NULL, kvr);
  tensor *k = seen(c, "att.k", kvr[0]), *v = seen(c, "att.v", kvr[1]), *r = seen(c, "att.r", kvr[2]);
  tensor *y = seen(c, "att.wkv", wkv4(c, k, v, w->decay, w->bonus, p->carry.wkv, &opt, NULL));
  return seen(c, "att", linear(c, gate(c, y, ACT_SIGMOID, r), w->output, NULL));
}

const rwkv_version rwkv_4 = {
    .number = 4,
    .mark = "blocks.0.att.time_first",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .config_read = config_read,
    .config_check = config_check,
    .time_mix = time_mix,
    .channel_mix = rwkv_channel_mix,
    .mix = MIX_KEEP,
    .state_per_head = SUMS,
    .empty = empty,
};
