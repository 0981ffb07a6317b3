#include "lm/rwkv6.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"

#define LN_EPS 1e-5f
#define LN_X_EPS 64e-5f /* whatever the head size is */

enum { V = 1, D, F, H, N, MIX5, MIX, DECAY, SIZES }; /* what a negative dimension in the table means */

#define ATT(field) offsetof(rwkv6_block, att.field)
#define MAA(i) (offsetof(rwkv6_block, att.maa) + (i) * sizeof(tensor *))
#define FFN(field) offsetof(rwkv6_block, ffn.field)

/* clang-format off */
static const param_spec rows[] = {
    {"emb.weight", offsetof(rwkv6, emb), {-V, -D}, PARAM_EMBEDDING, init_uniform, 1e-4f, 0, 0},
    {"ln_out.weight", offsetof(rwkv6, ln_out_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"ln_out.bias", offsetof(rwkv6, ln_out_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"head.weight", offsetof(rwkv6, head), {-V, -D}, PARAM_MATRIX, init_orthogonal, 0.5f, 0, 0},
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
    {"blocks.%d.att.receptance.weight", ATT(receptance), {-D, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.key.weight", ATT(key), {-D, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, 0, 0},
    {"blocks.%d.att.value.weight", ATT(value), {-D, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.att.gate.weight", ATT(gate), {-D, -D}, PARAM_MATRIX, init_orthogonal, 0.1f, 0, 0},
    {"blocks.%d.att.output.weight", ATT(output), {-D, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.att.ln_x.weight", ATT(ln_x_weight), {-D}, PARAM_NORM, init_depth_norm, 0, 0, 0},
    {"blocks.%d.att.ln_x.bias", ATT(ln_x_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.time_maa_k", FFN(mix_k), {1, 1, -D}, PARAM_MIX, init_maa_ffn, 0, 0, 0},
    {"blocks.%d.ffn.time_maa_r", FFN(mix_r), {1, 1, -D}, PARAM_MIX, init_maa_ffn, 0, 0, 0},
    {"blocks.%d.ffn.key.weight", FFN(key), {-F, -D}, PARAM_MATRIX, init_orthogonal, 1, 0, 0},
    {"blocks.%d.ffn.receptance.weight", FFN(receptance), {-D, -D}, PARAM_MATRIX, init_constant, 0, 0, 0},
    {"blocks.%d.ffn.value.weight", FFN(value), {-D, -F}, PARAM_MATRIX, init_constant, 0, 0, 0},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows };

static const param_spec start_row = {
    "blocks.%d.att.time_state", offsetof(rwkv6_block, start), {-H, -N, -N}, PARAM_STATE, init_constant, 0, 0,
    LAYOUT_TRANSPOSED};

status rwkv6_config_check(const rwkv6_config *k) {
  const int sizes[] = {k->n_layer, k->n_embd, k->dim_ffn, k->head_size, k->vocab_size, k->rank_mix, k->rank_decay};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] < 1 || sizes[i] > 1 << 20) return fail(STATUS_FORMAT, "a size of the RWKV-6 model is %d", sizes[i]);
  if (k->n_layer > 1024) return fail(STATUS_FORMAT, "an RWKV-6 model of %d layers is more than 1024", k->n_layer);
  if (k->n_embd % k->head_size)
    return fail(STATUS_FORMAT, "RWKV-6 width %d is not a multiple of the head size %d", k->n_embd, k->head_size);
  return STATUS_OK;
}

/* Declares a table: what is outside blocks, then every block. */
static status declare(rwkv6 *m, const char *prefix, const param_spec *table, size_t n, param_set *set) {
  const rwkv6_config *k = &m->config;
  const int64_t sizes[SIZES] = {
      [V] = k->vocab_size, [D] = k->n_embd,          [F] = k->dim_ffn,    [H] = k->n_embd / k->head_size,
      [N] = k->head_size,  [MIX5] = 5 * k->rank_mix, [MIX] = k->rank_mix, [DECAY] = k->rank_decay};
  status s = params_declare(set, prefix, table, n, -1, k->n_layer, sizes, m);
  for (int i = 0; !s && i < k->n_layer; i++)
    s = params_declare(set, prefix, table, n, i, k->n_layer, sizes, &m->block[i]);
  return s;
}

status rwkv6_new(rwkv6 *m, const rwkv6_config *config, const char *prefix, param_set *set) {
  *m = (rwkv6){.config = *config};
  status s = rwkv6_config_check(config);
  if (s) return s;
  if (!(m->block = mem_zero((size_t)config->n_layer, sizeof *m->block))) return STATUS_MEMORY;
  return declare(m, prefix, rows, ROWS, set);
}

status rwkv6_declare_start(rwkv6 *m, const char *prefix, param_set *set) {
  return declare(m, prefix, &start_row, 1, set);
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

void rwkv6_state_start(rwkv6_state *s, const rwkv6 *m) {
  memset(s->memory, 0, rwkv6_state_size(s) * sizeof *s->memory);
  for (int layer = 0; layer < s->n_layer; layer++) {
    size_t n;
    float *wkv = state_part(s, layer, 2, &n);
    const tensor *start = m->block[layer].start;
    for (int b = 0; start && b < s->batch; b++) memcpy(wkv + (size_t)b * n, start->data, n * sizeof *wkv);
  }
}

rwkv6_carry rwkv6_state_layer(ctx *c, const rwkv6_state *s, int layer) {
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

/* ln0(x) as the nearest bf16 values. In float64, since a value beside the middle of two would fall to either side with
 * the last bit of its sum, and 1/256 of it is more than all other rounding. */
static tensor *rounded_ln0(ctx *c, const tensor *x, const rwkv6_block *p) {
  assert(!c->recording);
  tensor *y = x ? tensor_like(c, x) : NULL;
  int64_t width = x ? tensor_last(x) : 0, n = y ? tensor_count(y) : 0;
  for (int64_t row = 0; row < n; row += width) {
    const float *in = f32(x) + row;
    double mean = 0, variance = 0;
    for (int64_t d = 0; d < width; d++) mean += (double)in[d] / (double)width;
    for (int64_t d = 0; d < width; d++) variance += (in[d] - mean) * (in[d] - mean) / (double)width;
    const double scale = 1 / sqrt(variance + (double)LN_EPS);
    for (int64_t d = 0; d < width; d++) {
      float value = (float)((in[d] - mean) * scale * f32(p->ln0_weight)[d] + f32(p->ln0_bias)[d]);
      f32(y)[row + d] = bf16_to_f32(f32_to_bf16(value));
    }
  }
  return y;
}

/* `carry` is where the sequence starts; with `keep` also where it ends. */
static tensor *block_forward(ctx *c, const rwkv6 *m, int i, tensor *x, const scan_order *order,
                             const rwkv6_carry *carry, bool keep) {
  const rwkv6_block *p = &m->block[i];
  const shift_plan plan = shift_previous(m->config.n_embd, order);
  const wkv6_opt opt = {.heads = m->config.n_embd / m->config.head_size, .direction = WKV_FORWARD, .order = order};
  if (i == 0) x = m->ln0_bf16 ? rounded_ln0(c, x, p) : layer_norm(c, x, p->ln0_weight, p->ln0_bias, LN_EPS);
  if (i == 0) seen(c, "ln0", x);

  tensor *state = NULL;
  tensor *z = seen(c, "ln1", layer_norm(c, x, p->ln1_weight, p->ln1_bias, LN_EPS));
  x = add(c, x, rwkv6_time_mix(c, &p->att, z, &plan, &opt, LN_X_EPS, carry, keep ? &state : NULL));
  if (keep && z && state) {
    keep_last(carry->att_x, z, order);
    memcpy(carry->wkv->data, state->data, (size_t)tensor_count(state) * sizeof(float));
  }
  z = seen(c, "ln2", layer_norm(c, x, p->ln2_weight, p->ln2_bias, LN_EPS));
  x = add(c, x, rwkv6_channel_mix(c, &p->ffn, z, &plan, MIX_TOWARD, carry));
  if (keep && z) keep_last(carry->ffn_x, z, order);
  return x;
}

tensor *rwkv6_forward(ctx *c, const rwkv6 *m, tensor *x, const scan_order *const *order, rwkv6_state *state) {
  assert(!state || !x || (!c->recording && state->batch == x->dim[0]));
  tensor *room = block_room(c, x);
  for (int i = 0; x && i < m->config.n_layer; i++) {
    arena_mark mark = block_begin(c, i);
    rwkv6_carry carry = {.wkv = m->block[i].start};
    if (state) carry = rwkv6_state_layer(c, state, i);
    if (state && (!carry.att_x || !carry.ffn_x || !carry.wkv)) return NULL; /* NULL would mean a zero start */
    x = block_end(c, block_forward(c, m, i, x, order ? order[i] : NULL, &carry, state != NULL), room, mark);
  }
  return x;
}

tensor *rwkv6_embed(ctx *c, const rwkv6 *m, const tensor *ids) { return embedding(c, ids, m->emb); }

tensor *rwkv6_logits(ctx *c, const rwkv6 *m, tensor *x) {
  x = seen(c, "ln_out", layer_norm(c, x, m->ln_out_weight, m->ln_out_bias, LN_EPS));
  return linear(c, x, m->head, NULL);
}
