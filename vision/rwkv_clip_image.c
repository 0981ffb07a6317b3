#include "vision/rwkv_clip_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blocks.h"

#define EPS 1e-5f /* every norm of the tower, ln_x included */

enum { D = 1, F, H, N, MIX5, MIX, DECAY, TOKENS, PATCH, SIZES };

#define ATT(field) offsetof(image_tower_block, att.field)
#define MAA(i) (offsetof(image_tower_block, att.maa) + (i) * sizeof(tensor *))
#define FFN(field) offsetof(image_tower_block, ffn.field)

/* clang-format off */
static const param_spec rows[] = {
    {"pos_embed", offsetof(image_tower, pos_embed), {1, -TOKENS, -D}, PARAM_POSITION, init_constant, 0, 0, 0},
    {"patch_embed.projection.weight", offsetof(image_tower, patch_weight), {-D, 3, -PATCH, -PATCH}, PARAM_MATRIX,
     init_fan_in, 0, 0, LAYOUT_PATCH},
    {"patch_embed.projection.bias", offsetof(image_tower, patch_bias), {-D}, PARAM_BIAS, init_constant, 0, 0, 0},
    {"ln1.weight", offsetof(image_tower, ln1_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"ln1.bias", offsetof(image_tower, ln1_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"layers.%d.ln0.weight", offsetof(image_tower_block, ln0_weight), {-D}, PARAM_NORM, init_constant, 1,
     PARAM_FIRST_BLOCK, 0},
    {"layers.%d.ln0.bias", offsetof(image_tower_block, ln0_bias), {-D}, PARAM_NORM, init_constant, 0,
     PARAM_FIRST_BLOCK, 0},
    {"layers.%d.ln1.weight", offsetof(image_tower_block, ln1_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"layers.%d.ln1.bias", offsetof(image_tower_block, ln1_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"layers.%d.ln2.weight", offsetof(image_tower_block, ln2_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"layers.%d.ln2.bias", offsetof(image_tower_block, ln2_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"layers.%d.att.time_maa_x", ATT(maa_x), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"layers.%d.att.time_maa_w", MAA(MAA_W), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"layers.%d.att.time_maa_k", MAA(MAA_K), {1, 1, -D}, PARAM_MIX, init_maa, 1, 0, 0},
    {"layers.%d.att.time_maa_v", MAA(MAA_V), {1, 1, -D}, PARAM_MIX, init_maa_value, 0, 0, 0},
    {"layers.%d.att.time_maa_r", MAA(MAA_R), {1, 1, -D}, PARAM_MIX, init_maa, 0.5f, 0, 0},
    {"layers.%d.att.time_maa_g", MAA(MAA_G), {1, 1, -D}, PARAM_MIX, init_maa, 0.5f, 0, 0},
    {"layers.%d.att.time_maa_w1", ATT(maa_w1), {-D, -MIX5}, PARAM_LOW_RANK, init_uniform, 1e-4f, 0, 0},
    {"layers.%d.att.time_maa_w2", ATT(maa_w2), {5, -MIX, -D}, PARAM_LOW_RANK, init_uniform, 1e-4f, 0, 0},
    {"layers.%d.att.time_decay", ATT(decay), {1, 1, -D}, PARAM_DECAY, init_decay, 0, 0, 0},
    {"layers.%d.att.time_decay_w1", ATT(decay_w1), {-D, -DECAY}, PARAM_LOW_RANK, init_uniform, 1e-4f, 0, 0},
    {"layers.%d.att.time_decay_w2", ATT(decay_w2), {-DECAY, -D}, PARAM_LOW_RANK, init_uniform, 1e-4f, 0, 0},
    {"layers.%d.att.time_faaaa", ATT(bonus), {-H, -N}, PARAM_BONUS, init_bonus, 0, 0, 0},
    {"layers.%d.att.receptance.weight", ATT(receptance), {-D, -D}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
    {"layers.%d.att.key.weight", ATT(key), {-D, -D}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
    {"layers.%d.att.value.weight", ATT(value), {-D, -D}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
    {"layers.%d.att.gate.weight", ATT(gate), {-D, -D}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
    {"layers.%d.att.output.weight", ATT(output), {-D, -D}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
    {"layers.%d.att.ln_x.weight", ATT(ln_x_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"layers.%d.att.ln_x.bias", ATT(ln_x_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"layers.%d.ffn.spatial_mix_k", FFN(mix_k), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, 0},
    {"layers.%d.ffn.spatial_mix_r", FFN(mix_r), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, 0},
    {"layers.%d.ffn.key.weight", FFN(key), {-F, -D}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
    {"layers.%d.ffn.receptance.weight", FFN(receptance), {-D, -D}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
    {"layers.%d.ffn.value.weight", FFN(value), {-D, -F}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows };
static const param_spec class_row = {
    "cls_token", offsetof(image_tower, class_token), {1, 1, -D}, PARAM_POSITION, init_constant, 0, 0, 0};

status image_tower_config_check(const image_tower_config *k) {
  const int sizes[] = {k->depth,  k->width,  k->hidden,   k->head_size, k->patch,
                       k->grid_h, k->grid_w, k->rank_mix, k->rank_decay};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] < 1 || sizes[i] > 1 << 16) return fail(STATUS_FORMAT, "a size of the image tower is %d", sizes[i]);
  if (k->depth > 1024) return fail(STATUS_FORMAT, "an image tower of %d layers is more than 1024", k->depth);
  if (k->width % k->head_size)
    return fail(STATUS_FORMAT, "image tower width %d is not a multiple of the head size %d", k->width, k->head_size);
  return STATUS_OK;
}

status image_tower_config_read(image_tower_config *config, const checkpoint *file, const char *prefix) {
  int64_t pos[3], patch[4], key[2], bonus[2], w2[3], decay[2];
  status s = checkpoint_shape(file, prefix, "pos_embed", 3, pos);
  if (!s) s = checkpoint_shape(file, prefix, "patch_embed.projection.weight", 4, patch);
  if (!s) s = checkpoint_shape(file, prefix, "layers.0.ffn.key.weight", 2, key);
  if (!s) s = checkpoint_shape(file, prefix, "layers.0.att.time_faaaa", 2, bonus);
  if (!s) s = checkpoint_shape(file, prefix, "layers.0.att.time_maa_w2", 3, w2);
  if (!s) s = checkpoint_shape(file, prefix, "layers.0.att.time_decay_w1", 2, decay);
  if (s) return s;
  int side = 1;
  while ((int64_t)side * side < pos[1]) side++;
  if ((int64_t)side * side != pos[1])
    return fail(STATUS_UNSUPPORTED, "%s: the position table of %lld entries is not square", checkpoint_path(file),
                (long long)pos[1]);
  char class_token[CHECKPOINT_NAME_MAX];
  snprintf(class_token, sizeof class_token, "%scls_token", prefix);
  *config = (image_tower_config){
      .depth = checkpoint_blocks(file, prefix, "layers."),
      .width = (int)pos[2],
      .hidden = (int)key[0],
      .head_size = (int)bonus[1],
      .patch = (int)patch[2],
      .grid_h = side,
      .grid_w = side,
      .rank_mix = (int)w2[1],
      .rank_decay = (int)decay[1],
      .class_token = checkpoint_find(file, class_token) != NULL,
  };
  return image_tower_config_check(config) ? fail_within("%s", checkpoint_path(file)) : STATUS_OK;
}

status image_tower_new(image_tower *m, const image_tower_config *config, const char *prefix, param_set *set) {
  *m = (image_tower){.config = *config};
  status s = image_tower_config_check(config);
  if (s) return s;
  if (!(m->block = mem_zero((size_t)config->depth, sizeof *m->block))) return STATUS_MEMORY;
  const int64_t sizes[SIZES] = {
      [D] = config->width,
      [F] = config->hidden,
      [H] = config->width / config->head_size,
      [N] = config->head_size,
      [MIX5] = 5 * config->rank_mix,
      [MIX] = config->rank_mix,
      [DECAY] = config->rank_decay,
      [TOKENS] = (int64_t)config->grid_h * config->grid_w,
      [PATCH] = config->patch,
  };
  s = params_declare(set, prefix, rows, ROWS, -1, config->depth, sizes, m);
  if (!s && config->class_token) s = params_declare(set, prefix, &class_row, 1, -1, config->depth, sizes, m);
  for (int i = 0; !s && i < config->depth; i++)
    s = params_declare(set, prefix, rows, ROWS, i, config->depth, sizes, &m->block[i]);
  return s;
}

void image_tower_free(image_tower *m) {
  free(m->block);
  m->block = NULL;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

void image_tower_normalise(const uint8_t *rgb, size_t n, float *pixels) {
  static const float mean[] = {0.48145466f, 0.4578275f, 0.40821073f},
                     deviation[] = {0.26862954f, 0.26130258f, 0.27577711f};
  for (size_t i = 0; i < n; i++) pixels[i] = ((float)rgb[i] / 255 - mean[i % 3]) / deviation[i % 3];
}

/* What block i adds to its tokens, at its first place (the time mix) or its second. */
static tensor *dropped(ctx *c, const image_tower *m, int i, int place, tensor *x, const image_tower_drop *drop) {
  if (!x || !drop || !(drop->rate > 0) || !i) return x;
  const float chance = drop->rate * (float)i / (float)(m->config.depth - 1);
  const size_t B = (size_t)x->dim[0];
  float *factor = arena_alloc(c->memory, B * sizeof *factor);
  if (!factor) return NULL;
  for (size_t b = 0; b < B; b++) {
    const uint64_t draw = random_u64(drop->seed, drop->first + b, 2 * (uint64_t)i + (uint64_t)place);
    factor[b] = (float)(draw >> 40) * 0x1p-24f < chance ? 0 : 1 / (1 - chance);
  }
  return scale_samples(c, x, factor);
}

/* One way through the tower. */
typedef struct {
  const image_tower *m;
  shift_plan plan;
  const scan_order *columns;
  const image_tower_drop *drop;
} image_tower_pass;

static tensor *block_forward(ctx *c, const void *model, int i, tensor *x) {
  const image_tower_pass *pass = model;
  const image_tower *m = pass->m;
  const image_tower_block *p = &m->block[i];
  const shift_plan *plan = &pass->plan;
  const wkv6_opt opt = {.heads = m->config.width / m->config.head_size,
                        .direction = WKV_BOTH,
                        .order = m->config.alternate_scan && i % 2 ? pass->columns : NULL};
  if (i == 0) x = seen(c, "ln0", layer_norm(c, x, p->ln0_weight, p->ln0_bias, EPS));
  tensor *z = seen(c, "ln1", layer_norm(c, x, p->ln1_weight, p->ln1_bias, EPS));
  x = add(c, x, dropped(c, m, i, 0, rwkv6_time_mix(c, &p->att, z, plan, &opt, EPS, NULL, NULL), pass->drop));
  z = seen(c, "ln2", layer_norm(c, x, p->ln2_weight, p->ln2_bias, EPS));
  return add(c, x, dropped(c, m, i, 1, rwkv6_channel_mix(c, &p->ffn, z, plan, MIX_KEEP, NULL), pass->drop));
}

tensor *image_tower_tokens(ctx *c, const image_tower *m, const tensor *pixels, int *h, int *w) {
  return image_tower_tokens_drop(c, m, pixels, NULL, h, w);
}

tensor *image_tower_tokens_drop(ctx *c, const image_tower *m, const tensor *pixels, const image_tower_drop *drop,
                                int *h, int *w) {
  const image_tower_config *k = &m->config;
  tensor *x = seen(c, "patch_embed", patch_embed(c, pixels, m->patch_weight, m->patch_bias, k->patch));
  if (!x) return NULL;
  *h = (int)x->dim[1];
  *w = (int)x->dim[2];
  int64_t tokens = (int64_t)*h * *w;
  tensor *positions = resize_positions(c, m->pos_embed, k->grid_h, k->grid_w, *h, *w);
  x = add(c, tensor_view(c, x, 3, (int64_t[]){x->dim[0], tokens, k->width}), positions);
  if (x && m->class_token) {
    x = concat_tokens(c, 2, (tensor *const[]){x, repeat_token(c, m->class_token, x->dim[0])});
    tokens++;
  }
  const image_tower_pass pass = {.m = m,
                                 .plan = shift_quarters(k->head_size, *h, *w),
                                 .columns = scan_order_make(c, SCAN_COLUMNS, tokens, 0, *h, *w),
                                 .drop = drop};
  if (!pass.columns) return NULL;
  /* A draw is that of a sample's place in the whole batch. */
  x = drop ? blocks_forward(c, x, k->depth, block_forward, &pass)
           : blocks_forward_samples(c, x, k->depth, block_forward, &pass);
  return seen(c, "ln_out", layer_norm(c, x, m->ln1_weight, m->ln1_bias, EPS));
}

tensor *image_tower_pool(ctx *c, const image_tower *m, tensor *tokens) {
  if (!tokens || !m->class_token) return mean_tokens(c, tokens);
  int64_t B = tokens->dim[0], T = tokens->dim[1];
  int32_t *last = arena_alloc(c->memory, (size_t)B * sizeof *last);
  for (int64_t b = 0; last && b < B; b++) last[b] = (int32_t)((b + 1) * T - 1);
  return last ? gather_rows(c, tokens, B, last) : NULL;
}
