#include "weights/clip_names.h"

#include <stdio.h>

enum { D = 1, D3, F, SIZES };

#define AT(field) offsetof(transformer_block, field)
#define APART(which, kind) (AT(apart_##kind) + (which) * sizeof(tensor *))

/* clang-format off */
#define OPENAI "transformer.resblocks."
static const param_spec openai_rows[] = {
    {OPENAI "%d.attn.in_proj_weight", AT(in_weight), {-D3, -D}, PARAM_MATRIX, init_normal_in, 1, PARAM_CUT, 0},
    {OPENAI "%d.attn.in_proj_bias", AT(in_bias), {-D3}, PARAM_BIAS, init_constant, 0, 0, 0},
    {OPENAI "%d.attn.out_proj.weight", AT(out_weight), {-D, -D}, PARAM_MATRIX, init_residual, 1, 0, 0},
    {OPENAI "%d.attn.out_proj.bias", AT(out_bias), {-D}, PARAM_BIAS, init_constant, 0, 0, 0},
    {OPENAI "%d.ln_1.weight", AT(ln1_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {OPENAI "%d.ln_1.bias", AT(ln1_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {OPENAI "%d.mlp.c_fc.weight", AT(fc1_weight), {-F, -D}, PARAM_MATRIX, init_normal_in, 0.70710678f, 0, 0},
    {OPENAI "%d.mlp.c_fc.bias", AT(fc1_bias), {-F}, PARAM_BIAS, init_constant, 0, 0, 0},
    {OPENAI "%d.mlp.c_proj.weight", AT(fc2_weight), {-D, -F}, PARAM_MATRIX, init_residual, 1, 0, 0},
    {OPENAI "%d.mlp.c_proj.bias", AT(fc2_bias), {-D}, PARAM_BIAS, init_constant, 0, 0, 0},
    {OPENAI "%d.ln_2.weight", AT(ln2_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {OPENAI "%d.ln_2.bias", AT(ln2_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
};

#define HF "encoder.layers."
static const param_spec hf_rows[] = {
    {HF "%d.self_attn.q_proj.weight", APART(QUERY, weight), {-D, -D}, PARAM_MATRIX, init_normal_in, 1, 0, 0},
    {HF "%d.self_attn.q_proj.bias", APART(QUERY, bias), {-D}, PARAM_BIAS, init_constant, 0, 0, 0},
    {HF "%d.self_attn.k_proj.weight", APART(KEY, weight), {-D, -D}, PARAM_MATRIX, init_normal_in, 1, 0, 0},
    {HF "%d.self_attn.k_proj.bias", APART(KEY, bias), {-D}, PARAM_BIAS, init_constant, 0, 0, 0},
    {HF "%d.self_attn.v_proj.weight", APART(VALUE, weight), {-D, -D}, PARAM_MATRIX, init_normal_in, 1, 0, 0},
    {HF "%d.self_attn.v_proj.bias", APART(VALUE, bias), {-D}, PARAM_BIAS, init_constant, 0, 0, 0},
    {HF "%d.self_attn.out_proj.weight", AT(out_weight), {-D, -D}, PARAM_MATRIX, init_residual, 1, 0, 0},
    {HF "%d.self_attn.out_proj.bias", AT(out_bias), {-D}, PARAM_BIAS, init_constant, 0, 0, 0},
    {HF "%d.layer_norm1.weight", AT(ln1_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {HF "%d.layer_norm1.bias", AT(ln1_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {HF "%d.mlp.fc1.weight", AT(fc1_weight), {-F, -D}, PARAM_MATRIX, init_normal_in, 0.70710678f, 0, 0},
    {HF "%d.mlp.fc1.bias", AT(fc1_bias), {-F}, PARAM_BIAS, init_constant, 0, 0, 0},
    {HF "%d.mlp.fc2.weight", AT(fc2_weight), {-D, -F}, PARAM_MATRIX, init_residual, 1, 0, 0},
    {HF "%d.mlp.fc2.bias", AT(fc2_bias), {-D}, PARAM_BIAS, init_constant, 0, 0, 0},
    {HF "%d.layer_norm2.weight", AT(ln2_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {HF "%d.layer_norm2.bias", AT(ln2_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
};
/* clang-format on */

static const struct {
  const param_spec *rows;
  size_t n;
  const char *stem, *hidden; /* of the blocks' names; a matrix that gives the hidden width */
  int embed_axis;            /* of projections */
} namings[CLIP_NAMINGS] = {
    [CLIP_OPENAI] = {openai_rows, sizeof openai_rows / sizeof *openai_rows, OPENAI, OPENAI "0.mlp.c_fc.weight", 1},
    [CLIP_HUGGING_FACE] = {hf_rows, sizeof hf_rows / sizeof *hf_rows, HF, HF "0.mlp.fc1.weight", 0},
};

typedef struct {
  char text[CHECKPOINT_NAME_MAX];
} name;
static name joined(const char *a, const char *b) {
  name n;
  snprintf(n.text, sizeof n.text, "%s%s", a, b);
  return n;
}

status clip_tower_config_read(clip_tower_config *k, const checkpoint *file, const char *root, const char *part,
                              const char *proj, int head_size) {
  int64_t hidden[2], embed[2];
  const name blocks = joined(root, part);
  status s = checkpoint_shape(file, blocks.text, namings[k->naming].hidden, 2, hidden);
  const bool projects = !s && checkpoint_find(file, joined(root, proj).text);
  if (projects) s = checkpoint_shape(file, root, proj, 2, embed);
  if (s) return s;
  k->depth = checkpoint_blocks(file, blocks.text, namings[k->naming].stem);
  k->hidden = (int)hidden[0];
  k->heads = k->width % head_size ? 0 : k->width / head_size;
  k->embed = projects ? (int)embed[namings[k->naming].embed_axis] : 0;
  return STATUS_OK;
}

status clip_tower_config_check(const clip_tower_config *k) {
  const int sizes[] = {k->depth, k->width, k->hidden};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] < 1 || sizes[i] > 1 << 16) return fail(STATUS_FORMAT, "a size of a CLIP tower is %d", sizes[i]);
  if (k->depth > 1024) return fail(STATUS_FORMAT, "a CLIP tower of %d layers is more than 1024", k->depth);
  if (k->embed < 0 || k->embed > 1 << 16) return fail(STATUS_FORMAT, "CLIP embeddings of %d channels", k->embed);
  if (!k->heads)
    return fail(STATUS_UNSUPPORTED, "names and shapes do not tell the heads of a CLIP tower of width %d", k->width);
  if (k->heads < 0 || k->width % k->heads)
    return fail(STATUS_FORMAT, "a CLIP tower of width %d cannot be cut into %d heads", k->width, k->heads);
  return STATUS_OK;
}

status clip_blocks_declare(param_set *set, const clip_tower_config *k, const char *root, const char *part,
                           transformer_block **blocks) {
  const int64_t sizes[SIZES] = {[D] = k->width, [D3] = 3 * (int64_t)k->width, [F] = k->hidden};
  const name prefix = joined(root, part);
  if (!(*blocks = mem_zero((size_t)k->depth, sizeof **blocks))) return STATUS_MEMORY;
  status s = STATUS_OK;
  for (int i = 0; !s && i < k->depth; i++)
    s = params_declare(set, prefix.text, namings[k->naming].rows, namings[k->naming].n, i, k->depth, sizes,
                       &(*blocks)[i]);
  return s;
}

transformer_opt clip_block_opt(const clip_tower_config *k, bool causal) {
  return (transformer_opt){
      .heads = k->heads, .causal = causal, .act = k->quick_gelu ? ACT_QUICK_GELU : ACT_GELU, .eps = 1e-5f};
}
