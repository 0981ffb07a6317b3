#include "vision/clip_vit.h"

#include <stdlib.h>

#include "kernels/blocks.h"

#define EPS 1e-5f

enum { D = 1, E, TOKENS, PATCH, SIZES };

/* clang-format off */
static const param_spec openai_rows[] = {
    {"visual.class_embedding", offsetof(clip_vit, class_token), {-D}, PARAM_POSITION, init_normal_in, 1, 0, 0},
    {"visual.positional_embedding", offsetof(clip_vit, positions), {-TOKENS, -D}, PARAM_POSITION, init_normal_in, 1, 0,
     0},
    {"visual.conv1.weight", offsetof(clip_vit, patch_weight), {-D, 3, -PATCH, -PATCH}, PARAM_MATRIX, init_fan_in, 0, 0,
     LAYOUT_PATCH},
    {"visual.ln_pre.weight", offsetof(clip_vit, ln_pre_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"visual.ln_pre.bias", offsetof(clip_vit, ln_pre_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"visual.ln_post.weight", offsetof(clip_vit, ln_post_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"visual.ln_post.bias", offsetof(clip_vit, ln_post_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
};
static const param_spec openai_proj = {
    "visual.proj", offsetof(clip_vit, proj), {-D, -E}, PARAM_MATRIX, init_normal_out, 1, 0, LAYOUT_TRANSPOSED};

#define HF "vision_model."
static const param_spec hf_rows[] = {
    {HF "embeddings.class_embedding", offsetof(clip_vit, class_token), {-D}, PARAM_POSITION, init_normal_in, 1, 0, 0},
    {HF "embeddings.position_embedding.weight", offsetof(clip_vit, positions), {-TOKENS, -D}, PARAM_POSITION,
     init_normal_in, 1, 0, 0},
    {HF "embeddings.patch_embedding.weight", offsetof(clip_vit, patch_weight), {-D, 3, -PATCH, -PATCH}, PARAM_MATRIX,
     init_fan_in, 0, 0, LAYOUT_PATCH},
    {HF "pre_layrnorm.weight", offsetof(clip_vit, ln_pre_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {HF "pre_layrnorm.bias", offsetof(clip_vit, ln_pre_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {HF "post_layernorm.weight", offsetof(clip_vit, ln_post_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {HF "post_layernorm.bias", offsetof(clip_vit, ln_post_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
};
static const param_spec hf_proj = {
    "visual_projection.weight", offsetof(clip_vit, proj), {-E, -D}, PARAM_MATRIX, init_normal_in, 1, 0, 0};
/* clang-format on */
enum { ROWS = sizeof openai_rows / sizeof *openai_rows };
_Static_assert(sizeof hf_rows == sizeof openai_rows, "the two namings have the same parameters");

static const struct {
  const param_spec *rows, *proj;
  const char *blocks, *patch, *positions; /* what stands before the blocks' names; what sizes are read from */
} namings[CLIP_NAMINGS] = {
    [CLIP_OPENAI] = {openai_rows, &openai_proj, "visual.", "visual.conv1.weight", "visual.positional_embedding"},
    [CLIP_HUGGING_FACE] = {hf_rows, &hf_proj, HF, HF "embeddings.patch_embedding.weight",
                           HF "embeddings.position_embedding.weight"},
};

/* OpenCLIP's towers of these widths have heads of their own size. */
static int head_size_of(int width) {
  switch (width) {
  case 1280:
    return 80; /* H/14 */
  case 1408:
    return 88; /* g/14 */
  case 1664:
    return 104; /* G/14 */
  default:
    return 64;
  }
}

status clip_vit_config_read(clip_vit_config *config, const checkpoint *file, const char *root, clip_naming naming) {
  int64_t patch[4], positions[2];
  status s = checkpoint_shape(file, root, namings[naming].patch, 4, patch);
  if (!s) s = checkpoint_shape(file, root, namings[naming].positions, 2, positions);
  if (s) return s;
  int side = 1;
  while ((int64_t)side * side < positions[0] - 1) side++;
  if ((int64_t)side * side != positions[0] - 1)
    return fail(STATUS_UNSUPPORTED, "%s: the positions of %lld tokens are no class token and a square",
                checkpoint_path(file), (long long)positions[0]);
  *config = (clip_vit_config){
      .tower = {.naming = naming, .width = (int)patch[0]}, .patch = (int)patch[2], .grid_h = side, .grid_w = side};
  return clip_tower_config_read(&config->tower, file, root, namings[naming].blocks, namings[naming].proj->name,
                                head_size_of((int)patch[0]));
}

static status config_check(const clip_vit_config *k) {
  const int sizes[] = {k->patch, k->grid_h, k->grid_w};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] < 1 || sizes[i] > 1 << 12) return fail(STATUS_FORMAT, "a size of CLIP's image tower is %d", sizes[i]);
  return clip_tower_config_check(&k->tower);
}

status clip_vit_new(clip_vit *m, const clip_vit_config *config, const char *root, param_set *set) {
  *m = (clip_vit){.config = *config};
  status s = config_check(config);
  if (s) return s;
  const clip_tower_config *k = &config->tower;
  const int64_t sizes[SIZES] = {
      [D] = k->width, [E] = k->embed, [TOKENS] = 1 + (int64_t)config->grid_h * config->grid_w, [PATCH] = config->patch};
  s = params_declare(set, root, namings[k->naming].rows, ROWS, -1, k->depth, sizes, m);
  if (!s && k->embed) s = params_declare(set, root, namings[k->naming].proj, 1, -1, k->depth, sizes, m);
  return s ? s : clip_blocks_declare(set, k, root, namings[k->naming].blocks, &m->block);
}

void clip_vit_free(clip_vit *m) {
  free(m->block);
  m->block = NULL;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

/* The table of positions for patches of h x w: the class token's row as it is, the grid's resized. */
static tensor *positions_for(ctx *c, const clip_vit *m, int h, int w) {
  const clip_vit_config *k = &m->config;
  const int64_t width = k->tower.width;
  if (h == k->grid_h && w == k->grid_w) return m->positions;
  tensor *class_row = tensor_window(c, m->positions, 0, 3, (int64_t[]){1, 1, width});
  tensor *grid = tensor_window(c, m->positions, width, 2, (int64_t[]){(int64_t)k->grid_h * k->grid_w, width});
  grid = resize_positions(c, grid, k->grid_h, k->grid_w, h, w);
  if (grid) grid = tensor_view(c, grid, 3, (int64_t[]){1, (int64_t)h * w, width});
  tensor *both = grid ? concat_tokens(c, 2, (tensor *const[]){class_row, grid}) : NULL;
  return both ? tensor_view(c, both, 2, (int64_t[]){1 + (int64_t)h * w, width}) : NULL;
}

static tensor *block_forward(ctx *c, const void *model, int i, tensor *x) {
  const clip_vit *m = model;
  const transformer_opt opt = clip_block_opt(&m->config.tower, false);
  return transformer_block_forward(c, &m->block[i], x, &opt);
}

tensor *clip_vit_tokens(ctx *c, const clip_vit *m, const tensor *pixels, int blocks) {
  const clip_vit_config *k = &m->config;
  tensor *x = seen(c, "conv1", patch_embed(c, pixels, m->patch_weight, NULL, k->patch));
  if (!x) return NULL;
  const int64_t B = x->dim[0], width = k->tower.width;
  const int h = (int)x->dim[1], w = (int)x->dim[2];
  x = tensor_view(c, x, 3, (int64_t[]){B, (int64_t)h * w, width});
  x = x ? concat_tokens(c, 2, (tensor *const[]){repeat_token(c, m->class_token, B), x}) : NULL;
  x = seen(c, "embeddings", add(c, x, positions_for(c, m, h, w)));
  x = seen(c, "ln_pre", layer_norm(c, x, m->ln_pre_weight, m->ln_pre_bias, EPS));
  return blocks_forward_samples(c, x, blocks, block_forward, m);
}

tensor *clip_vit_pool(ctx *c, const clip_vit *m, tensor *tokens) {
  if (!tokens) return NULL;
  const int64_t B = tokens->dim[0], T = tokens->dim[1];
  int32_t *first = arena_alloc(c->memory, (size_t)B * sizeof *first);
  for (int64_t b = 0; first && b < B; b++) first[b] = (int32_t)(b * T);
  tensor *x = first ? gather_rows(c, tokens, B, first) : NULL;
  x = seen(c, "ln_post", layer_norm(c, x, m->ln_post_weight, m->ln_post_bias, EPS));
  return m->proj ? linear(c, x, m->proj, NULL) : x;
}
