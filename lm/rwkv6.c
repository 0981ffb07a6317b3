#include "lm/rwkv6.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LN_EPS 1e-5f
#define LN_X_EPS 64e-5f /* whatever the head size is */

enum { V = 1, D, F, H, N, MIX5, MIX, DECAY, SIZES }; /* what a negative dimension in the table means */

#define ATT(field) offsetof(rwkv6_block, att.field)
#define MAA(i) (offsetof(rwkv6_block, att.maa) + (i) * sizeof(tensor *))
#define FFN(field) offsetof(rwkv6_block, ffn.field)

/* clang-format off */
static const param_spec rows[] = {
    {"emb.weight", offsetof(rwkv6, emb), {-V, -D}, PARAM_EMBEDDING, init_uniform, 1e-4f, PARAM_QUANTIZABLE, 0},
    {"ln_out.weight", offsetof(rwkv6, ln_out_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"ln_out.bias", offsetof(rwkv6, ln_out_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"head.weight", offsetof(rwkv6, head), {-V, -D}, PARAM_MATRIX, init_orthogonal, 0.5f, PARAM_QUANTIZABLE, 0},
    {"blocks.%d.ln0.weight", offsetof(rwkv6_block, ln0_weight), {-D}, PARAM_NORM, init_constant, 1,
     PARAM_FIRST_BLOCK, 0},
    {"blocks.%d.ln0.bias", offsetof(rwkv6_block, ln0_bias), {-D}, PARAM_NORM, init_constant, 0, PARAM_FIRST_BLOCK, 0},
    {"blocks.%d.ln1.weight", offsetof(rwkv6_block, ln1_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"blocks.%d.ln1.bias", offsetof(rwkv6_block, ln1_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ln2.weight", offsetof(rwkv6_block, ln2_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"blocks.%d.ln2.bias", offsetof(rwkv6_block, ln2_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
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
    {"blocks.%d.att.receptance.weight", ATT(receptance), {-D, -D}, PARAM_MATRIX, init_orthogonal, 1,
     PARAM_QUANTIZABLE, 0},
    {"blocks.%d.att.key.weight", ATT(key), {-D, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, PARAM_QUANTIZABLE, 0},
    {"blocks.%d.att.value.weight", ATT(value), {-D, -D}, PARAM_MATRIX, init_orthogonal, 1, PARAM_QUANTIZABLE, 0},
    {"blocks.%d.att.gate.weight", ATT(gate), {-D, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, PARAM_QUANTIZABLE, 0},
    {"blocks.%d.att.output.weight", ATT(output), {-D, -D}, PARAM_MATRIX, init_constant, 0, PARAM_QUANTIZABLE, 0},
    {"blocks.%d.att.ln_x.weight", ATT(ln_x_weight), {-D}, PARAM_NORM, init_depth_norm, 0, 0, 0},
    {"blocks.%d.att.ln_x.bias", ATT(ln_x_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.time_maa_k", FFN(mix_k), {1, 1, -D}, PARAM_MIX, init_maa_ffn, 0, 0, 0},
    {"blocks.%d.ffn.time_maa_r", FFN(mix_r), {1, 1, -D}, PARAM_MIX, init_maa_ffn, 0, 0, 0},
    {"blocks.%d.ffn.key.weight", FFN(key), {-F, -D}, PARAM_MATRIX, init_orthogonal, 1, PARAM_QUANTIZABLE, 0},
    {"blocks.%d.ffn.receptance.weight", FFN(receptance), {-D, -D}, PARAM_MATRIX, init_constant, 0,
     PARAM_QUANTIZABLE, 0},
    {"blocks.%d.ffn.value.weight", FFN(value), {-D, -F}, PARAM_MATRIX, init_constant, 0, PARAM_QUANTIZABLE, 0},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows };

status rwkv6_config_check(const rwkv6_config *k) {
  const int sizes[] = {k->n_layer, k->n_embd, k->dim_ffn, k->head_size, k->vocab_size, k->rank_mix, k->rank_decay};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] < 1 || sizes[i] > 1 << 20) return fail(STATUS_FORMAT, "a size of the RWKV-6 model is %d", sizes[i]);
  if (k->n_layer > 1024) return fail(STATUS_FORMAT, "an RWKV-6 model of %d layers is more than 1024", k->n_layer);
  if (k->n_embd % k->head_size)
    return fail(STATUS_FORMAT, "RWKV-6 width %d is not a multiple of the head size %d", k->n_embd, k->head_size);
  return STATUS_OK;
}

status rwkv6_new(rwkv6 *m, const rwkv6_config *config, const char *prefix, param_set *set) {
  *m = (rwkv6){.config = *config};
  status s = rwkv6_config_check(config);
  if (s) return s;
  if (!(m->block = mem_zero((size_t)config->n_layer, sizeof *m->block))) return STATUS_MEMORY;
  const int64_t sizes[SIZES] = {[V] = config->vocab_size, [D] = config->n_embd,
                                [F] = config->dim_ffn,    [H] = config->n_embd / config->head_size,
                                [N] = config->head_size,  [MIX5] = 5 * config->rank_mix,
                                [MIX] = config->rank_mix, [DECAY] = config->rank_decay};
  s = params_declare(set, prefix, rows, ROWS, -1, config->n_layer, sizes, m);
  for (int i = 0; !s && i < config->n_layer; i++)
    s = params_declare(set, prefix, rows, ROWS, i, config->n_layer, sizes, &m->block[i]);
  return s;
}

void rwkv6_free(rwkv6 *m) {
  free(m->block);
  m->block = NULL;
}

status rwkv6_config_read(rwkv6_config *config, const checkpoint *file, const char *prefix) {
  int64_t emb[2], key[2], bonus[2], w2[3], decay[2];
  status s = checkpoint_shape(file, prefix, "emb.weight", 2, emb);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.ffn.key.weight", 2, key);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_faaaa", 2, bonus);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_maa_w2", 3, w2);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.time_decay_w1", 2, decay);
  if (s) return s;
  *config = (rwkv6_config){
      .n_layer = checkpoint_blocks(file, prefix, "blocks."),
      .n_embd = (int)emb[1],
      .dim_ffn = (int)key[0],
      .head_size = (int)bonus[1],
      .vocab_size = (int)emb[0],
      .rank_mix = (int)w2[1],
      .rank_decay = (int)decay[1],
  };
  return rwkv6_config_check(config) ? fail_within("%s", checkpoint_path(file)) : STATUS_OK;
}

/* --- state -------------------------------------------------------------------------------------------------------- */

/* Memory: per layer att_x [B,D], ffn_x [B,D], wkv [B,H,N,N]. */
static size_t layer_floats(const rwkv6_state *s) {
  size_t row = 2 * (size_t)s->n_embd + (size_t)s->heads * (size_t)s->head_size * (size_t)s->head_size;
  return (size_t)s->batch * row;
}

size_t rwkv6_state_size(const rwkv6_state *s) { return (size_t)s->n_layer * layer_floats(s); }

status rwkv6_state_new(rwkv6_state *s, const rwkv6_config *config, int batch) {
  *s = (rwkv6_state){
      .n_layer = config->n_layer,
      .batch = batch,
      .n_embd = config->n_embd,
      .heads = config->n_embd / config->head_size,
      .head_size = config->head_size,
  };
  s->memory = mem_zero(rwkv6_state_size(s), sizeof *s->memory);
  return s->memory ? STATUS_OK : STATUS_MEMORY;
}

void rwkv6_state_free(rwkv6_state *s) {
  free(s->memory);
  s->memory = NULL;
}

/* The three parts of a layer: where they start and how many floats each row of the batch has. */
static float *state_part(const rwkv6_state *s, int layer, int part, size_t *row) {
  size_t width = (size_t)s->n_embd, B = (size_t)s->batch;
  *row = part < 2 ? width : width * (size_t)s->head_size;
  return s->memory + (size_t)layer * layer_floats(s) + (size_t)part * B * width;
}

void rwkv6_state_copy_row(rwkv6_state *to, int to_row, const rwkv6_state *from, int from_row) {
  for (int layer = 0; layer < to->n_layer; layer++)
    for (int part = 0; part < 3; part++) {
      size_t n;
      float *a = state_part(to, layer, part, &n);
      const float *b = state_part(from, layer, part, &n);
      memmove(a + (size_t)to_row * n, b + (size_t)from_row * n, n * sizeof *a);
    }
}

static rwkv6_carry state_layer(ctx *c, const rwkv6_state *s, int layer) {
  size_t n;
  const int64_t B = s->batch, wkv[4] = {B, s->heads, s->head_size, s->head_size};
  return (rwkv6_carry){.att_x = tensor_wrap(c, DTYPE_F32, state_part(s, layer, 0, &n), 2, (int64_t[]){B, s->n_embd}),
                       .ffn_x = tensor_wrap(c, DTYPE_F32, state_part(s, layer, 1, &n), 2, (int64_t[]){B, s->n_embd}),
                       .wkv = tensor_wrap(c, DTYPE_F32, state_part(s, layer, 2, &n), 4, wkv)};
}

/* Keeps the last visited token's row of z [B,T,D] as the next call's carry. */
static void keep_last(tensor *carry, const tensor *z, const scan_order *order) {
  size_t B = (size_t)z->dim[0], T = (size_t)z->dim[1], width = (size_t)z->dim[2];
  size_t last = order ? (size_t)order->token[T - 1] : T - 1;
  for (size_t b = 0; b < B; b++) memcpy(f32(carry) + b * width, f32(z) + (b * T + last) * width, width * sizeof(float));
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

static tensor *block_forward(ctx *c, const rwkv6 *m, int i, tensor *x, const scan_order *order, rwkv6_carry *carry) {
  const rwkv6_block *p = &m->block[i];
  const shift_plan plan = shift_previous(m->config.n_embd, order);
  const wkv6_opt opt = {.heads = m->config.n_embd / m->config.head_size, .direction = WKV_FORWARD, .order = order};
  if (i == 0) x = layer_norm(c, x, p->ln0_weight, p->ln0_bias, LN_EPS);

  tensor *state = NULL;
  tensor *z = layer_norm(c, x, p->ln1_weight, p->ln1_bias, LN_EPS);
  x = add(c, x, rwkv6_time_mix(c, &p->att, z, &plan, &opt, LN_X_EPS, carry, carry ? &state : NULL));
  if (carry && z && state) {
    keep_last(carry->att_x, z, order);
    memcpy(carry->wkv->data, state->data, (size_t)tensor_count(state) * sizeof(float));
  }
  z = layer_norm(c, x, p->ln2_weight, p->ln2_bias, LN_EPS);
  x = add(c, x, rwkv6_channel_mix(c, &p->ffn, z, &plan, MIX_TOWARD, carry));
  if (carry && z) keep_last(carry->ffn_x, z, order);
  return x;
}

tensor *rwkv6_forward(ctx *c, const rwkv6 *m, tensor *x, const scan_order *const *order, rwkv6_state *state) {
  assert(!state || !x || (!c->recording && state->batch == x->dim[0]));
  tensor *room = block_room(c, x);
  for (int i = 0; x && i < m->config.n_layer; i++) {
    arena_mark mark = arena_here(c->memory);
    rwkv6_carry carry;
    if (state) carry = state_layer(c, state, i);
    if (state && (!carry.att_x || !carry.ffn_x || !carry.wkv)) return NULL; /* NULL would mean a zero start */
    x = block_end(c, block_forward(c, m, i, x, order ? order[i] : NULL, state ? &carry : NULL), room, mark);
  }
  return x;
}

tensor *rwkv6_embed(ctx *c, const rwkv6 *m, const tensor *ids) { return embedding(c, ids, m->emb); }

tensor *rwkv6_logits(ctx *c, const rwkv6 *m, tensor *x) {
  return linear(c, layer_norm(c, x, m->ln_out_weight, m->ln_out_bias, LN_EPS), m->head, NULL);
}
