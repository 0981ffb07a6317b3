/* States of sequences: what they hold, copying, and as bytes. Spec language-models 3.6. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "lm/rwkv_version.h"

size_t rwkv_wkv_floats(const rwkv_config *k) {
  const int per_head = rwkv_version_of(k)->state_per_head;
  const size_t size = (size_t)k->head_size;
  return (size_t)k->dim_att / size * (per_head ? (size_t)per_head : size * size);
}

/* Floats of one row of one layer. */
static size_t row_floats(const rwkv_config *k) { return 2 * (size_t)k->n_embd + rwkv_wkv_floats(k); }

size_t rwkv_state_size(const rwkv_state *s) {
  return (size_t)s->config.n_layer * (size_t)s->batch * row_floats(&s->config);
}

/* The parts of a layer lie one after the other, each with the rows of the batch. */
enum { ATT_X, FFN_X, WKV, PARTS };

/* Where a part's rows start and how many floats each has. */
static float *part_of(const rwkv_state *s, int layer, int part, size_t *row) {
  const size_t width = (size_t)s->config.n_embd, B = (size_t)s->batch;
  *row = part == WKV ? rwkv_wkv_floats(&s->config) : width;
  return s->memory + (size_t)layer * B * row_floats(&s->config) + (size_t)part * B * width;
}

static void empty(rwkv_state *s) {
  const rwkv_version *v = rwkv_version_of(&s->config);
  memset(s->memory, 0, rwkv_state_size(s) * sizeof *s->memory);
  memset(s->tokens, 0, (size_t)s->batch * sizeof *s->tokens);
  for (int layer = 0; v->empty && layer < s->config.n_layer; layer++) {
    size_t n;
    float *wkv = part_of(s, layer, WKV, &n);
    for (int b = 0; b < s->batch; b++) v->empty(&s->config, wkv + (size_t)b * n);
  }
}

status rwkv_state_new(rwkv_state *s, const rwkv_config *config, int batch) {
  *s = (rwkv_state){.config = *config, .batch = batch};
  s->memory = mem_zero(rwkv_state_size(s), sizeof *s->memory);
  s->tokens = mem_zero((size_t)batch, sizeof *s->tokens);
  if (!s->memory || !s->tokens) {
    rwkv_state_free(s);
    return STATUS_MEMORY;
  }
  empty(s);
  return STATUS_OK;
}

void rwkv_state_free(rwkv_state *s) {
  free(s->memory);
  free(s->tokens);
  s->memory = NULL;
  s->tokens = NULL;
}

status rwkv_state_clone(rwkv_state *to, const rwkv_state *from) {
  status s = rwkv_state_new(to, &from->config, from->batch);
  for (int b = 0; !s && b < from->batch; b++) rwkv_state_copy_row(to, b, from, b);
  return s;
}

void rwkv_state_copy_row(rwkv_state *to, int to_row, const rwkv_state *from, int from_row) {
  to->tokens[to_row] = from->tokens[from_row];
  for (int layer = 0; layer < to->config.n_layer; layer++)
    for (int part = 0; part < PARTS; part++) {
      size_t n;
      float *a = part_of(to, layer, part, &n);
      const float *b = part_of(from, layer, part, &n);
      memmove(a + (size_t)to_row * n, b + (size_t)from_row * n, n * sizeof *a);
    }
}

void rwkv_state_start(rwkv_state *s, const rwkv *m) {
  empty(s);
  for (int layer = 0; layer < s->config.n_layer; layer++) {
    size_t n;
    float *wkv = part_of(s, layer, WKV, &n);
    const tensor *start = m->block[layer].start;
    for (int b = 0; start && b < s->batch; b++) memcpy(wkv + (size_t)b * n, start->data, n * sizeof *wkv);
  }
}

rwkv6_carry rwkv_state_layer(ctx *c, const rwkv_state *s, int layer) {
  size_t n;
  const rwkv_config *k = &s->config;
  const int64_t B = s->batch, size = k->head_size, per_head = rwkv_version_of(k)->state_per_head;
  const int64_t x[2] = {B, k->n_embd}, heads[4] = {B, k->dim_att / size, size, size},
                sums[3] = {B, per_head, k->dim_att};
  return (rwkv6_carry){
      .att_x = tensor_wrap(c, DTYPE_F32, part_of(s, layer, ATT_X, &n), 2, x),
      .ffn_x = tensor_wrap(c, DTYPE_F32, part_of(s, layer, FFN_X, &n), 2, x),
      .wkv = tensor_wrap(c, DTYPE_F32, part_of(s, layer, WKV, &n), per_head ? 3 : 4, per_head ? sums : heads)};
}

/* --- as bytes: a header, then every layer's att_x, recurrence and ffn_x as the inference package orders them ------ */

static const char magic[8] = "rwkvstat";
enum { FORMAT = 1, SIZES_AT = 8, N_SIZES = 8, IDENTITY_AT = SIZES_AT + 4 * N_SIZES, TOKENS_AT = IDENTITY_AT + 8 };
enum { HEADER = TOKENS_AT + 8 };
static const char *const size_names[N_SIZES] = {"format", "version",   "layers",          "width",
                                                "heads",  "head size", "attention width", "parts"};

static void sizes_of(const rwkv_config *k, uint32_t size[N_SIZES]) {
  const int all[N_SIZES] = {FORMAT,       k->version, k->n_layer,   k->n_embd, k->dim_att / k->head_size,
                            k->head_size, k->dim_att, (int)k->parts};
  for (int i = 0; i < N_SIZES; i++) size[i] = (uint32_t)all[i];
}

size_t rwkv_state_bytes(const rwkv_config *k) { return HEADER + 4 * (size_t)k->n_layer * row_floats(k); }

/* The number of a part in files' order, and the place in that order of its element i. */
static const int file_order[PARTS] = {ATT_X, WKV, FFN_X};
static size_t file_place(const rwkv_config *k, int part, size_t i) {
  if (part != WKV || !rwkv_version_of(k)->value_by_key) return i;
  const size_t size = (size_t)k->head_size, head = i / (size * size), row = i / size % size, column = i % size;
  return (head * size + column) * size + row;
}

static void put_float(uint8_t *p, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  put_little(p, bits, 4);
}

static float get_float(const uint8_t *p) {
  const uint32_t bits = little32(p);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

void rwkv_state_save(const rwkv_state *s, int row, const rwkv *m, uint8_t *bytes) {
  uint32_t size[N_SIZES];
  sizes_of(&s->config, size);
  memcpy(bytes, magic, sizeof magic);
  for (int i = 0; i < N_SIZES; i++) put_little(bytes + SIZES_AT + 4 * i, size[i], 4);
  put_little(bytes + IDENTITY_AT, rwkv_identity(m), 8);
  put_little(bytes + TOKENS_AT, (uint64_t)s->tokens[row], 8);
  uint8_t *p = bytes + HEADER;
  for (int layer = 0; layer < s->config.n_layer; layer++)
    for (int i = 0; i < PARTS; i++) {
      size_t n;
      const float *from = part_of(s, layer, file_order[i], &n);
      from += (size_t)row * n;
      for (size_t e = 0; e < n; e++) put_float(p + 4 * file_place(&s->config, file_order[i], e), from[e]);
      p += 4 * n;
    }
}

static status check_header(const rwkv_config *k, const rwkv *m, const uint8_t *bytes, size_t n, const char *name) {
  uint32_t size[N_SIZES];
  sizes_of(k, size);
  if (n < HEADER || memcmp(bytes, magic, sizeof magic)) return fail(STATUS_FORMAT, "%s: not a saved state", name);
  for (int i = 0; i < N_SIZES; i++) {
    const uint32_t found = little32(bytes + SIZES_AT + 4 * i);
    if (found != size[i])
      return fail(STATUS_FORMAT, "%s: the state's %s is %u, the model's %u", name, size_names[i], found, size[i]);
  }
  if (little64(bytes + IDENTITY_AT) != rwkv_identity(m))
    return fail(STATUS_FORMAT, "%s: the state of another model of the same sizes", name);
  if (n != rwkv_state_bytes(k))
    return fail(STATUS_FORMAT, "%s: a state of %zu bytes, expected %zu", name, n, rwkv_state_bytes(k));
  if (little64(bytes + TOKENS_AT) > INT64_MAX / 2) /* no number of further tokens overflows it */
    return fail(STATUS_FORMAT, "%s: the state's token count is damaged", name);
  for (size_t at = HEADER; at < n; at += 4)
    if (!isfinite(get_float(bytes + at))) return fail(STATUS_FORMAT, "%s: the state holds NaN or infinity", name);
  return STATUS_OK;
}

status rwkv_state_load(rwkv_state *s, int row, const rwkv *m, const uint8_t *bytes, size_t n, const char *name) {
  status result = check_header(&s->config, m, bytes, n, name);
  if (result) return result;
  s->tokens[row] = (int64_t)little64(bytes + TOKENS_AT);
  const uint8_t *p = bytes + HEADER;
  for (int layer = 0; layer < s->config.n_layer; layer++)
    for (int i = 0; i < PARTS; i++) {
      size_t floats;
      float *to = part_of(s, layer, file_order[i], &floats);
      to += (size_t)row * floats;
      for (size_t e = 0; e < floats; e++) to[e] = get_float(p + 4 * file_place(&s->config, file_order[i], e));
      p += 4 * floats;
    }
  return STATUS_OK;
}

/* --- identity ----------------------------------------------------------------------------------------------------- */

/* Mixes up to 256 values from all over a tensor into h. */
static uint64_t mix_tensor(uint64_t h, const tensor *t) {
  enum { SAMPLES = 256 };
  if (!t) return h;
  const int64_t n = tensor_count(t), step = n / SAMPLES + 1;
  for (int64_t i = 0; i < n; i += step) {
    float value;
    uint32_t bits;
    param_values(t, (size_t)i, 1, &value);
    memcpy(&bits, &value, sizeof bits);
    h = random_u64(h, (uint64_t)i, bits);
  }
  return h;
}

uint64_t rwkv_identity(const rwkv *m) {
  const rwkv_version *v = rwkv_version_of(&m->config);
  uint64_t h = random_u64((uint64_t)m->config.version, (uint64_t)m->config.vocab_size, (uint64_t)m->config.dim_ffn);
  h = mix_tensor(mix_tensor(h, m->emb), m->head);
  for (int i = 0; i < m->config.n_layer; i++)
    for (size_t r = 0; r < v->n_rows; r++) /* rows that share a field give it twice, always */
      h = mix_tensor(h, *(tensor *const *)((const char *)&m->block[i] + v->rows[r].field));
  return h;
}
