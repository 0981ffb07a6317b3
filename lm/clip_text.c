#include "lm/clip_text.h"

#include <assert.h>
#include <stdlib.h>

#include "kernels/blocks.h"

#define EPS 1e-5f

enum { D = 1, E, V, CONTEXT, SIZES };

/* clang-format off */
static const param_spec openai_rows[] = {
    {"token_embedding.weight", offsetof(clip_text, emb), {-V, -D}, PARAM_EMBEDDING, init_normal, 0.02f, 0, 0},
    {"positional_embedding", offsetof(clip_text, positions), {-CONTEXT, -D}, PARAM_POSITION, init_normal, 0.01f, 0, 0},
    {"ln_final.weight", offsetof(clip_text, ln_final_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"ln_final.bias", offsetof(clip_text, ln_final_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
};
static const param_spec openai_proj = {
    "text_projection", offsetof(clip_text, proj), {-D, -E}, PARAM_MATRIX, init_normal_out, 1, 0, LAYOUT_TRANSPOSED};

#define HF "text_model."
static const param_spec hf_rows[] = {
    {HF "embeddings.token_embedding.weight", offsetof(clip_text, emb), {-V, -D}, PARAM_EMBEDDING, init_normal, 0.02f, 0,
     0},
    {HF "embeddings.position_embedding.weight", offsetof(clip_text, positions), {-CONTEXT, -D}, PARAM_POSITION,
     init_normal, 0.01f, 0, 0},
    {HF "final_layer_norm.weight", offsetof(clip_text, ln_final_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {HF "final_layer_norm.bias", offsetof(clip_text, ln_final_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
};
static const param_spec hf_proj = {
    "text_projection.weight", offsetof(clip_text, proj), {-E, -D}, PARAM_MATRIX, init_normal_in, 1, 0, 0};
/* clang-format on */
enum { ROWS = sizeof openai_rows / sizeof *openai_rows };
_Static_assert(sizeof hf_rows == sizeof openai_rows, "the two namings have the same parameters");

static const struct {
  const param_spec *rows, *proj;
  const char *blocks; /* what stands before the blocks' names */
} namings[CLIP_NAMINGS] = {
    [CLIP_OPENAI] = {openai_rows, &openai_proj, ""},
    [CLIP_HUGGING_FACE] = {hf_rows, &hf_proj, HF},
};

status clip_text_config_read(clip_text_config *config, const checkpoint *file, const char *root, clip_naming naming) {
  enum { HEAD = 64 };
  int64_t emb[2], positions[2];
  status s = checkpoint_shape(file, root, namings[naming].rows[0].name, 2, emb);
  if (!s) s = checkpoint_shape(file, root, namings[naming].rows[1].name, 2, positions);
  if (s) return s;
  *config = (clip_text_config){
      .tower = {.naming = naming, .width = (int)emb[1]}, .vocab_size = (int)emb[0], .context = (int)positions[0]};
  return clip_tower_config_read(&config->tower, file, root, namings[naming].blocks, namings[naming].proj->name, HEAD);
}

static status config_check(const clip_text_config *k) {
  if (k->vocab_size < 1 || k->vocab_size > 1 << 24 || k->context < 1 || k->context > 1 << 16)
    return fail(STATUS_FORMAT, "a CLIP text tower of %d words and %d tokens of context", k->vocab_size, k->context);
  return clip_tower_config_check(&k->tower);
}

status clip_text_new(clip_text *m, const clip_text_config *config, const char *root, param_set *set) {
  *m = (clip_text){.config = *config};
  status s = config_check(config);
  if (s) return s;
  const clip_tower_config *k = &config->tower;
  const int64_t sizes[SIZES] = {[D] = k->width, [E] = k->embed, [V] = config->vocab_size, [CONTEXT] = config->context};
  s = params_declare(set, root, namings[k->naming].rows, ROWS, -1, k->depth, sizes, m);
  if (!s && k->embed) s = params_declare(set, root, namings[k->naming].proj, 1, -1, k->depth, sizes, m);
  return s ? s : clip_blocks_declare(set, k, root, namings[k->naming].blocks, &m->block);
}

void clip_text_free(clip_text *m) {
  free(m->block);
  m->block = NULL;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

static tensor *block_forward(ctx *c, const void *model, int i, tensor *x) {
  const clip_text *m = model;
  const transformer_opt opt = clip_block_opt(&m->config.tower, true);
  return transformer_block_forward(c, &m->block[i], x, &opt);
}

tensor *clip_text_tokens(ctx *c, const clip_text *m, const tensor *ids) {
  const int64_t T = ids->dim[1], width = m->config.tower.width;
  assert(ids->n_dims == 2 && T >= 1 && T <= m->config.context);
  tensor *x = seen(c, "emb", embedding(c, ids, m->emb));
  x = add(c, x, tensor_window(c, m->positions, 0, 2, (int64_t[]){T, width}));
  x = blocks_forward_samples(c, x, m->config.tower.depth, block_forward, m);
  return seen(c, "ln_final", layer_norm(c, x, m->ln_final_weight, m->ln_final_bias, EPS));
}

int64_t clip_text_end(const int32_t *ids, int64_t T) {
  int64_t end = 0;
  for (int64_t t = 1; t < T; t++)
    if (ids[t] > ids[end]) end = t;
  return end;
}

tensor *clip_text_pool(ctx *c, const clip_text *m, const tensor *ids, tensor *tokens) {
  if (!tokens) return NULL;
  const int64_t B = ids->dim[0], T = ids->dim[1];
  int32_t *end = arena_alloc(c->memory, (size_t)B * sizeof *end);
  for (int64_t b = 0; end && b < B; b++) end[b] = (int32_t)(b * T + clip_text_end(i32(ids) + b * T, T));
  tensor *x = end ? gather_rows(c, tokens, B, end) : NULL;
  return m->proj ? linear(c, x, m->proj, NULL) : x;
}
