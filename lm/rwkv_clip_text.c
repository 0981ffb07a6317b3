#include "lm/rwkv_clip_text.h"

#include <stdlib.h>

#include "kernels/blocks.h"

#define EPS 1e-5f
#define LN_X_EPS 64e-5f /* 1e-5 head_size_divisor^2, whatever the head size is */

enum { D = 1, F, H, N, MIX5, MIX, DECAY, V, SIZES };

#define ATT(field) offsetof(rwkv_clip_text_block, att.field)
#define MAA(i) (offsetof(rwkv_clip_text_block, att.maa) + (i) * sizeof(tensor *))
#define FFN(field) offsetof(rwkv_clip_text_block, ffn.field)
#define OWN(field) offsetof(rwkv_clip_text_block, field)

/* clang-format off */
static const param_spec rows[] = {
    {"emb.weight", offsetof(rwkv_clip_text, emb), {-V, -D}, PARAM_EMBEDDING, init_uniform, 1e-4f, 0, 0},
    {"ln_out.weight", offsetof(rwkv_clip_text, ln_out_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"ln_out.bias", offsetof(rwkv_clip_text, ln_out_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ln0.weight", OWN(ln0_weight), {-D}, PARAM_NORM, init_constant, 1, PARAM_FIRST_BLOCK, 0},
    {"blocks.%d.ln0.bias", OWN(ln0_bias), {-D}, PARAM_NORM, init_constant, 0, PARAM_FIRST_BLOCK, 0},
    {"blocks.%d.ln1.weight", OWN(ln1_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"blocks.%d.ln1.bias", OWN(ln1_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ln2.weight", OWN(ln2_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"blocks.%d.ln2.bias", OWN(ln2_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.att.time_maa_x", ATT(maa_x), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"blocks.%d.att.time_maa_w", MAA(MAA_W), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"blocks.%d.att.time_maa_k", MAA(MAA_K), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"blocks.%d.att.time_maa_v", MAA(MAA_V), {1, 1, -D}, PARAM_MIX, init_maa_value, 0, 0, 0},
    {"blocks.%d.att.time_maa_r", MAA(MAA_R), {1, 1, -D}, PARAM_MIX, init_maa, 0.5f, 0, 0},
    {"blocks.%d.att.time_maa_g", MAA(MAA_G), {1, 1, -D}, PARAM_MIX, init_maa, 0.5f, 0, 0},
    {"blocks.%d.att.time_maa_w1", ATT(maa_w1), {-D, -MIX5}, PARAM_LOW_RANK, init_constant, 0, 0, 0},
    {"blocks.%d.att.time_maa_w2", ATT(maa_w2), {5, -MIX, -D}, PARAM_LOW_RANK, init_uniform, 0.01f, 0, 0},
    {"blocks.%d.att.time_decay", ATT(decay), {1, 1, -D}, PARAM_DECAY, init_decay, 0, 0, 0},
    {"blocks.%d.att.time_decay_w1", ATT(decay_w1), {-D, -DECAY}, PARAM_LOW_RANK, init_constant, 0, 0, 0},
    {"blocks.%d.att.time_decay_w2", ATT(decay_w2), {-DECAY, -D}, PARAM_LOW_RANK, init_uniform, 0.01f, 0, 0},
    {"blocks.%d.att.time_faaaa", ATT(bonus), {-H, -N}, PARAM_BONUS, init_bonus, 0, 0, 0},
    {"blocks.%d.att.receptance.weight", ATT(receptance), {-D, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.key.weight", ATT(key), {-D, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, 0, 0},
    {"blocks.%d.att.value.weight", ATT(value), {-D, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.gate.weight", ATT(gate), {-D, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, 0, 0},
    {"blocks.%d.att.output.weight", ATT(output), {-D, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.att.ln_x.weight", ATT(ln_x_weight), {-D}, PARAM_NORM, init_depth_norm, 0, 0, 0},
    {"blocks.%d.att.ln_x.bias", ATT(ln_x_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.time_maa_k", FFN(mix_k), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"blocks.%d.ffn.time_maa_r", FFN(mix_r), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"blocks.%d.ffn.key.weight", FFN(key), {-F, -D}, PARAM_MATRIX, init_orthogonal_tall, 0.5f, 0, 0},
    {"blocks.%d.ffn.receptance.weight", FFN(receptance), {-D, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.value.weight", FFN(value), {-D, -F}, PARAM_MATRIX, init_constant, 0, 0, 0},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows };

static status config_check(const rwkv_clip_text_config *k) {
  const int sizes[] = {k->depth, k->width, k->hidden, k->head_size, k->rank_mix, k->rank_decay};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] < 1 || sizes[i] > 1 << 16) return fail(STATUS_FORMAT, "a size of the text tower is %d", sizes[i]);
  if (k->depth > 1024) return fail(STATUS_FORMAT, "a text tower of %d layers is more than 1024", k->depth);
  if (k->vocab_size < 1 || k->vocab_size > 1 << 24)
    return fail(STATUS_FORMAT, "a text tower of %d tokens", k->vocab_size);
  if (k->width % k->head_size)
    return fail(STATUS_FORMAT, "text tower width %d is not a multiple of the head size %d", k->width, k->head_size);
  return STATUS_OK;
}

status rwkv_clip_text_config_read(rwkv_clip_text_config *config, const checkpoint *file, const char *prefix) {
  int64_t emb[2], key[2], bonus[2], mix[3], decay[2];
  status s = checkpoint_shape(file, prefix, "emb.weight", 2, emb);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.ffn.key.weight", 2, key);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_faaaa", 2, bonus);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_maa_w2", 3, mix);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_decay_w1", 2, decay);
  if (s) return s;
  *config = (rwkv_clip_text_config){.depth = checkpoint_blocks(file, prefix, "blocks."),
                                    .width = (int)emb[1],
                                    .hidden = (int)key[0],
                                    .head_size = (int)bonus[1],
                                    .vocab_size = (int)emb[0],
                                    .rank_mix = (int)mix[1],
                                    .rank_decay = (int)decay[1]};
  return STATUS_OK;
}

status rwkv_clip_text_new(rwkv_clip_text *m, const rwkv_clip_text_config *config, const char *prefix, param_set *set) {
  *m = (rwkv_clip_text){.config = *config};
  status s = config_check(config);
  if (s) return s;
  if (!(m->block = mem_zero((size_t)config->depth, sizeof *m->block))) return STATUS_MEMORY;
  const int64_t sizes[SIZES] = {
      [D] = config->width,          [F] = config->hidden,          [H] = config->width / config->head_size,
      [N] = config->head_size,      [MIX5] = 5 * config->rank_mix, [MIX] = config->rank_mix,
      [DECAY] = config->rank_decay, [V] = config->vocab_size,
  };
  s = params_declare(set, prefix, rows, ROWS, -1, config->depth, sizes, m);
  for (int i = 0; !s && i < config->depth; i++)
    s = params_declare(set, prefix, rows, ROWS, i, config->depth, sizes, &m->block[i]);
  return s;
}

void rwkv_clip_text_free(rwkv_clip_text *m) {
  free(m->block);
  m->block = NULL;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

static tensor *block_forward(ctx *c, const void *model, int i, tensor *x) {
  const rwkv_clip_text *m = model;
  const rwkv_clip_text_block *p = &m->block[i];
  const shift_plan plan = shift_halves(m->config.head_size);
  const wkv6_opt opt = {.heads = m->config.width / m->config.head_size, .direction = WKV_BOTH};
  if (i == 0) x = seen(c, "ln0", layer_norm(c, x, p->ln0_weight, p->ln0_bias, EPS));
  tensor *z = seen(c, "ln1", layer_norm(c, x, p->ln1_weight, p->ln1_bias, EPS));
  x = add(c, x, rwkv6_time_mix(c, &p->att, z, &plan, &opt, LN_X_EPS, NULL, NULL));
  z = seen(c, "ln2", layer_norm(c, x, p->ln2_weight, p->ln2_bias, EPS));
  return add(c, x, rwkv6_channel_mix(c, &p->ffn, z, &plan, MIX_TOWARD, NULL));
}

tensor *rwkv_clip_text_tokens(ctx *c, const rwkv_clip_text *m, const tensor *ids) {
  tensor *x = seen(c, "emb", embedding(c, ids, m->emb));
  x = blocks_forward_samples(c, x, m->config.depth, block_forward, m);
  return seen(c, "ln_out", layer_norm(c, x, m->ln_out_weight, m->ln_out_bias, EPS));
}

tensor *rwkv_clip_text_pool(ctx *c, tensor *tokens) { return mean_tokens(c, unit_rows(c, tokens)); }
