#include "lm/rwkv.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/half.h"
#include "lm/rwkv_version.h"

/* In this order a file's version is the first whose mark it has. */
static const rwkv_version *const versions[] = {&rwkv_7, &rwkv_6, &rwkv_5, &rwkv_4};
enum { VERSIONS = sizeof versions / sizeof *versions };

static const rwkv_version *version_numbered(int number) {
  for (size_t i = 0; i < VERSIONS; i++)
    if (versions[i]->number == number) return versions[i];
  return NULL;
}

const rwkv_version *rwkv_version_of(const rwkv_config *k) {
  const rwkv_version *v = version_numbered(k->version);
  assert(v);
  return v;
}

/* --- parameters --------------------------------------------------------------------------------------------------- */

/* What all versions share; the head's gain does not grow with the vocabulary. */
static const param_spec outside[] = {
    {"emb.weight", offsetof(rwkv, emb), {-V, -D}, PARAM_EMBEDDING, init_uniform, 1e-4f, 0, 0},
    {"ln_out.weight", offsetof(rwkv, ln_out_weight), {-D}, PARAM_NORM, init_constant, 1, 0, 0},
    {"ln_out.bias", offsetof(rwkv, ln_out_bias), {-D}, PARAM_NORM, init_constant, 0, 0, 0},
    {"head.weight", offsetof(rwkv, head), {-V, -D}, PARAM_MATRIX, init_orthogonal, 0.5f, WITHOUT(RWKV_TIED), 0},
};
enum { OUTSIDE = sizeof outside / sizeof *outside };

#define NORM(name, field, value, flags)                                                                                \
  { "blocks.%d." name, offsetof(rwkv_block, field), {-D}, PARAM_NORM, init_constant, value, flags, 0 }
static const param_spec norms[] = {
    NORM("ln0.weight", ln0_weight, 1, PARAM_FIRST_BLOCK),
    NORM("ln0.bias", ln0_bias, 0, PARAM_FIRST_BLOCK),
    NORM("ln1.weight", ln1_weight, 1, 0),
    NORM("ln1.bias", ln1_bias, 0, 0),
    NORM("ln2.weight", ln2_weight, 1, 0),
    NORM("ln2.bias", ln2_bias, 0, 0),
};
enum { NORMS = sizeof norms / sizeof *norms };

static const param_spec start_row = {
    "blocks.%d.att.time_state", offsetof(rwkv_block, start), {-H, -N, -N}, PARAM_STATE, init_constant, 0, 0,
    LAYOUT_TRANSPOSED};

static int rank_of(const rwkv_config *k, size_t field) { return *(const int *)((const char *)k + field); }

static status check_size(const rwkv_config *k, int size) {
  return size >= 1 && size <= 1 << 20 ? STATUS_OK
                                      : fail(STATUS_FORMAT, "a size of the RWKV-%d model is %d", k->version, size);
}

status rwkv_config_check(const rwkv_config *k) {
  const rwkv_version *v = version_numbered(k->version);
  if (!v) return fail(STATUS_UNSUPPORTED, "there is no version %d of RWKV", k->version);
  const int sizes[] = {k->n_layer, k->n_embd, k->dim_att, k->dim_ffn, k->head_size, k->vocab_size};
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < sizeof sizes / sizeof *sizes; i++) s = check_size(k, sizes[i]);
  for (size_t i = 0; !s && v->rank[i]; i++) s = check_size(k, rank_of(k, v->rank[i]));
  if (s) return s;
  if (k->n_layer > 1024)
    return fail(STATUS_FORMAT, "an RWKV-%d model of %d layers is more than 1024", k->version, k->n_layer);
  if (k->head_size > 1024)
    return fail(STATUS_FORMAT, "RWKV-%d with heads of %d channels is more than 1024", k->version, k->head_size);
  if (k->dim_att % k->head_size)
    return fail(STATUS_FORMAT, "RWKV-%d width %d is not a multiple of the head size %d", k->version, k->dim_att,
                k->head_size);
  if (k->parts & RWKV_START && !v->has_start)
    return fail(STATUS_UNSUPPORTED, "initial states of RWKV-%d are not trained", k->version);
  return v->config_check ? v->config_check(k) : STATUS_OK;
}

static bool wanted(const param_spec *row, const rwkv_config *k) {
  const unsigned with = row->flags >> 8 & 0xff, without = row->flags >> 16 & 0xff;
  return (with & ~k->parts) == 0 && (without & k->parts) == 0;
}

/* Declares a table's rows, those outside of blocks or those of one. */
static status declare(const rwkv *m, const char *prefix, const param_spec *rows, size_t n, int block, void *owner,
                      param_set *set) {
  const rwkv_config *k = &m->config;
  const int64_t sizes[SIZES] = {[V] = k->vocab_size,
                                [D] = k->n_embd,
                                [A] = k->dim_att,
                                [F] = k->dim_ffn,
                                [H] = k->dim_att / k->head_size,
                                [N] = k->head_size,
                                [MIX] = k->rank_mix,
                                [MIX5] = 5 * k->rank_mix,
                                [DECAY] = k->rank_decay,
                                [RATE] = k->rank_rate,
                                [VALUE] = k->rank_value,
                                [GATE] = k->rank_gate};
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < n; i++) {
    const size_t before = set->n;
    if (wanted(&rows[i], k)) s = params_declare(set, prefix, &rows[i], 1, block, k->n_layer, sizes, owner);
    if (rows[i].flags & GAIN_IS_HEAD_SIZE && set->n > before) set->item[before].gain = (float)k->head_size;
  }
  return s;
}

status rwkv_new(rwkv *m, const rwkv_config *config, const char *prefix, param_set *set) {
  *m = (rwkv){.config = *config};
  status s = rwkv_config_check(config);
  if (s) return s;
  const rwkv_version *v = rwkv_version_of(config);
  if (!(m->block = mem_zero((size_t)config->n_layer, sizeof *m->block))) return STATUS_MEMORY;
  s = declare(m, prefix, outside, OUTSIDE, -1, m, set);
  for (int i = 0; !s && i < config->n_layer; i++) {
    s = declare(m, prefix, norms, NORMS, i, &m->block[i], set);
    if (!s) s = declare(m, prefix, v->rows, v->n_rows, i, &m->block[i], set);
  }
  return !s && config->parts & RWKV_START ? rwkv_declare_start(m, prefix, set) : s;
}

status rwkv_declare_start(rwkv *m, const char *prefix, param_set *set) {
  if (!rwkv_version_of(&m->config)->has_start)
    return fail(STATUS_UNSUPPORTED, "initial states of RWKV-%d are not trained", m->config.version);
  status s = STATUS_OK;
  for (int i = 0; !s && i < m->config.n_layer; i++) s = declare(m, prefix, &start_row, 1, i, &m->block[i], set);
  return s;
}

void rwkv_free(rwkv *m) {
  free(m->block);
  m->block = NULL;
}

/* --- configs from files ------------------------------------------------------------------------------------------- */

bool rwkv_has(const checkpoint *file, const char *prefix, const char *name) {
  const size_t n = strlen(prefix);
  for (size_t i = 0; i < checkpoint_count(file); i++) {
    const char *whole = checkpoint_at(file, i)->name;
    if (!strncmp(whole, prefix, n) && !strcmp(whole + n, name)) return true;
  }
  return false;
}

status rwkv_config_read(rwkv_config *k, const checkpoint *file, const char *prefix) {
  int64_t emb[2], key[2], ffn[2];
  status s = checkpoint_shape(file, prefix, "emb.weight", 2, emb);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.att.key.weight", 2, key);
  if (!s) s = checkpoint_shape(file, prefix, "blocks.0.ffn.key.weight", 2, ffn);
  if (s) return s;
  size_t i = 0;
  while (i < VERSIONS - 1 && !rwkv_has(file, prefix, versions[i]->mark)) i++;
  *k = (rwkv_config){
      .version = versions[i]->number,
      .n_layer = checkpoint_blocks(file, prefix, "blocks."),
      .n_embd = (int)emb[1],
      .dim_att = (int)key[0],
      .dim_ffn = (int)ffn[0],
      .vocab_size = (int)emb[0],
  };
  if ((s = versions[i]->config_read(k, file, prefix))) return s;
  if (rwkv_has(file, prefix, "blocks.0.att.time_state")) k->parts |= RWKV_START;
  return rwkv_config_check(k) ? fail_within("%s", checkpoint_path(file)) : STATUS_OK;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

/* ln0(x) as the nearest bf16 values. In float64, since a value beside the middle of two would fall to either side with
 * the last bit of its sum, and 1/256 of it is more than all other rounding. */
static tensor *rounded_ln0(ctx *c, const tensor *x, const rwkv_block *p) {
  assert(!c->recording);
  tensor *y = x ? tensor_like(c, x) : NULL;
  int64_t width = x ? tensor_last(x) : 0, n = y ? tensor_count(y) : 0;
  for (int64_t row = 0; row < n; row += width) {
    const float *in = f32(x) + row;
    double mean = 0, variance = 0;
    for (int64_t d = 0; d < width; d++) mean += (double)in[d] / (double)width;
    for (int64_t d = 0; d < width; d++) variance += (in[d] - mean) * (in[d] - mean) / (double)width;
    const double scale = 1 / sqrt(variance + (double)RWKV_LN_EPS);
    for (int64_t d = 0; d < width; d++) {
      float value = (float)((in[d] - mean) * scale * f32(p->ln0_weight)[d] + f32(p->ln0_bias)[d]);
      f32(y)[row + d] = bf16_to_f32(f32_to_bf16(value));
    }
  }
  return y;
}

/* Where a row's last token lies among T; -1 if it has none. */
static int64_t last_token(int64_t T, const int32_t *lengths, int64_t b, const scan_order *order) {
  const int64_t step = (lengths ? lengths[b] : T) - 1;
  return order && step >= 0 ? order->token[step] : step;
}

/* Keeps the last visited tokens of z [B,T,D] as the next call's carry. */
static void keep_last(tensor *carry, const tensor *z, const rwkv_pass *p) {
  const int64_t B = z->dim[0], T = z->dim[1], width = z->dim[2];
  for (int64_t b = 0; b < B; b++) {
    const int64_t last = last_token(T, p->lengths, b, p->order);
    if (last >= 0) memcpy(f32(carry) + b * width, f32(z) + (b * T + last) * width, (size_t)width * sizeof(float));
  }
}

tensor *rwkv_channel_mix(ctx *c, const rwkv_pass *p, tensor *z) {
  return rwkv6_channel_mix(c, &p->block->ffn, z, &p->plan, rwkv_version_of(&p->m->config)->mix, &p->carry);
}

static tensor *layer_forward(ctx *c, const rwkv_pass *p, tensor *x) {
  const bool keep = p->kept.wkv != NULL;
  const rwkv_block *w = p->block;
  const rwkv_version *v = rwkv_version_of(&p->m->config);
  if (p->layer == 0) {
    x = p->m->ln0_bf16 ? rounded_ln0(c, x, w) : layer_norm(c, x, w->ln0_weight, w->ln0_bias, RWKV_LN_EPS);
    seen(c, "ln0", x);
  }
  tensor *z = seen(c, "ln1", layer_norm(c, x, w->ln1_weight, w->ln1_bias, RWKV_LN_EPS));
  x = add(c, x, v->time_mix(c, p, z));
  if (keep && x) keep_last(p->kept.att_x, z, p);
  z = seen(c, "ln2", layer_norm(c, x, w->ln2_weight, w->ln2_bias, RWKV_LN_EPS));
  x = add(c, x, v->channel_mix(c, p, z));
  if (keep && x) keep_last(p->kept.ffn_x, z, p);
  return x;
}

/* Where a layer's sequences start: as they ended, but while recording the recurrence's state is a copy, since its
 * backward step looks at it when the state has long gone on. What lacks memory is NULL. */
static rwkv6_carry start_of(ctx *c, rwkv6_carry kept) {
  if (!c->recording || !kept.wkv) return kept;
  tensor *copy = tensor_like(c, kept.wkv);
  if (copy) memcpy(copy->data, kept.wkv->data, (size_t)tensor_count(copy) * sizeof(float));
  kept.wkv = copy;
  return kept;
}

static void count_tokens(rwkv_state *state, int64_t T, const int32_t *lengths) {
  for (int b = 0; b < state->batch; b++) state->tokens[b] += lengths ? lengths[b] : T;
}

/* One way through the model. */
typedef struct {
  const rwkv *m;
  const rwkv_input *in;
  tensor **first;
} rwkv_way;

static tensor *block_forward(ctx *c, const void *model, int i, tensor *x) {
  const rwkv_way *way = model;
  const rwkv *m = way->m;
  const scan_order *order = way->in->order ? way->in->order[i] : NULL;
  rwkv_pass pass = {.m = m,
                    .block = &m->block[i],
                    .layer = i,
                    .plan = shift_previous(m->config.n_embd, order),
                    .order = order,
                    .lengths = way->in->lengths,
                    .carry = {.wkv = m->block[i].start},
                    .first = way->first};
  if (way->in->state) {
    pass.carry = start_of(c, pass.kept = rwkv_state_layer(c, way->in->state, i));
    if (!pass.carry.att_x || !pass.carry.ffn_x || !pass.carry.wkv) return NULL; /* would mean a start from zero */
  }
  return layer_forward(c, &pass, x);
}

tensor *rwkv_forward(ctx *c, const rwkv *m, tensor *x, const rwkv_input *in) {
  if (!x) return NULL;
  const bool keeps_first = rwkv_version_of(&m->config)->keeps_first && !c->recording;
  tensor *first = keeps_first ? tensor_3d(c, DTYPE_F32, x->dim[0], x->dim[1], m->config.dim_att) : NULL;
  if (keeps_first && !first) return NULL;
  const rwkv_way way = {m, in ? in : &(rwkv_input){0}, &first};
  rwkv_state *state = way.in->state;
  assert(!state || state->batch == x->dim[0]);
  x = blocks_forward(c, x, m->config.n_layer, block_forward, &way);
  if (state && x) count_tokens(state, x->dim[1], way.in->lengths);
  return x;
}

tensor *rwkv_embed(ctx *c, const rwkv *m, const tensor *ids) { return embedding(c, ids, m->emb); }

tensor *rwkv_last(ctx *c, tensor *x, const int32_t *lengths) {
  if (!x) return NULL;
  const int64_t B = x->dim[0], T = x->dim[1];
  int32_t *row = arena_alloc(c->memory, (size_t)B * sizeof *row);
  for (int64_t b = 0; row && b < B; b++) {
    const int64_t last = last_token(T, lengths, b, NULL);
    row[b] = (int32_t)(b * T + (last < 0 ? 0 : last));
  }
  return row ? gather_rows(c, x, B, row) : NULL;
}

tensor *rwkv_logits(ctx *c, const rwkv *m, tensor *x) {
  x = seen(c, "ln_out", layer_norm(c, x, m->ln_out_weight, m->ln_out_bias, RWKV_LN_EPS));
  return linear(c, x, m->head, NULL);
}

/* --- reading long texts ------------------------------------------------------------------------------------------- */

static status check_ids(const rwkv *m, const int32_t *ids, int64_t B, int64_t T, const int32_t *lengths) {
  for (int64_t b = 0; b < B; b++) {
    const int64_t n = lengths ? lengths[b] : T;
    if (n < 1 || n > T)
      return fail(STATUS_ARGUMENT, "a text of %lld tokens, expected 1 to %lld", (long long)n, (long long)T);
    for (int64_t t = 0; t < n; t++)
      if (ids[b * T + t] < 0 || ids[b * T + t] >= m->config.vocab_size)
        return fail(STATUS_ARGUMENT, "token %d is not in the model's vocabulary of %d", (int)ids[b * T + t],
                    m->config.vocab_size);
  }
  return STATUS_OK;
}

/* One chunk of n tokens from `at` on: rows that end in it leave their last token in `last` [B,D]. */
static bool read_chunk(ctx *c, const rwkv *m, const int32_t *ids, int64_t T, int64_t at, int64_t n,
                       const int32_t *lengths, rwkv_state *state, float *last) {
  const int64_t B = state->batch, width = m->config.n_embd;
  tensor *part = tensor_2d(c, DTYPE_I32, B, n);
  int32_t *here = arena_alloc(c->memory, (size_t)B * sizeof *here);
  if (!part || !here) return false;
  for (int64_t b = 0; b < B; b++) {
    const int64_t left = (lengths ? lengths[b] : T) - at;
    here[b] = (int32_t)(left < 0 ? 0 : left > n ? n : left);
    memset(i32(part) + b * n, 0, (size_t)n * sizeof(int32_t)); /* padding is a token like any other */
    memcpy(i32(part) + b * n, ids + b * T + at, (size_t)here[b] * sizeof(int32_t));
  }
  tensor *x = rwkv_forward(c, m, rwkv_embed(c, m, part), &(rwkv_input){.state = state, .lengths = here});
  if (!(x = rwkv_last(c, x, here))) return false;
  for (int64_t b = 0; b < B; b++)
    if (here[b]) memcpy(last + b * width, f32(x) + b * width, (size_t)width * sizeof(float));
  return true;
}

status rwkv_read(ctx *c, const rwkv *m, const int32_t *ids, int64_t T, const int32_t *lengths, int64_t chunk,
                 rwkv_state *state, float *logits) {
  const int64_t B = state->batch;
  status s = check_ids(m, ids, B, T, lengths);
  if (s) return s;
  const int64_t some = (int64_t)piece_of((size_t)T, (size_t)chunk);
  const arena_mark start = arena_here(c->memory);
  tensor *last = tensor_2d(c, DTYPE_F32, B, m->config.n_embd);
  bool ok = last != NULL;
  for (int64_t at = 0; ok && at < T; at += some) {
    const arena_mark mark = arena_here(c->memory);
    ok = read_chunk(c, m, ids, T, at, T - at < some ? T - at : some, lengths, state, f32(last));
    arena_release(c->memory, mark);
  }
  tensor *y = ok ? rwkv_logits(c, m, last) : NULL;
  if (y) memcpy(logits, y->data, (size_t)tensor_count(y) * sizeof(float));
  s = y ? STATUS_OK : last_status();
  arena_release(c->memory, start);
  return s;
}
