/* Writing RWKV-6 and RWKV-7 in llama.cpp's layout: what the file holds, that it reads back as the official model, and
 * models that cannot be written. Files made by hand: test_llama_layout_read.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "tests/support/weights_check.h"
#include "weights/container.h"
#include "weights/llama_layout.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum { D = 32, N = 16, F = 64, V = 48, BLOCKS = 3 };

/* --- official models ---------------------------------------------------------------------------------------------- */

/* An official tensor of a model of those sizes: its name after "blocks.N.", or in full, and its shape, 0 ends. */
typedef struct {
  const char *name;
  int64_t dim[3];
} shape;

static const shape outer[] = {{"emb.weight", {V, D}},  {"ln_out.weight", {D}},       {"ln_out.bias", {D}},
                              {"head.weight", {V, D}}, {"blocks.0.ln0.weight", {D}}, {"blocks.0.ln0.bias", {D}}};
static const shape six[] = {{"ln1.weight", {D}},
                            {"ln1.bias", {D}},
                            {"ln2.weight", {D}},
                            {"ln2.bias", {D}},
                            {"att.time_maa_x", {1, 1, D}},
                            {"att.time_maa_w", {1, 1, D}},
                            {"att.time_maa_k", {1, 1, D}},
                            {"att.time_maa_v", {1, 1, D}},
                            {"att.time_maa_r", {1, 1, D}},
                            {"att.time_maa_g", {1, 1, D}},
                            {"att.time_maa_w1", {D, 20}},
                            {"att.time_maa_w2", {5, 4, D}},
                            {"att.time_decay", {1, 1, D}},
                            {"att.time_decay_w1", {D, 6}},
                            {"att.time_decay_w2", {6, D}},
                            {"att.time_faaaa", {D / N, N}},
                            {"att.receptance.weight", {D, D}},
                            {"att.key.weight", {D, D}},
                            {"att.value.weight", {D, D}},
                            {"att.output.weight", {D, D}},
                            {"att.gate.weight", {D, D}},
                            {"att.ln_x.weight", {D}},
                            {"att.ln_x.bias", {D}},
                            {"ffn.time_maa_k", {1, 1, D}},
                            {"ffn.time_maa_r", {1, 1, D}},
                            {"ffn.key.weight", {F, D}},
                            {"ffn.receptance.weight", {D, D}},
                            {"ffn.value.weight", {D, F}}};
static const shape seven[] = {{"ln1.weight", {D}},
                              {"ln1.bias", {D}},
                              {"ln2.weight", {D}},
                              {"ln2.bias", {D}},
                              {"att.x_r", {1, 1, D}},
                              {"att.x_w", {1, 1, D}},
                              {"att.x_k", {1, 1, D}},
                              {"att.x_v", {1, 1, D}},
                              {"att.x_a", {1, 1, D}},
                              {"att.x_g", {1, 1, D}},
                              {"att.w0", {1, 1, D}},
                              {"att.w1", {D, 5}},
                              {"att.w2", {5, D}},
                              {"att.a0", {1, 1, D}},
                              {"att.a1", {D, 6}},
                              {"att.a2", {6, D}},
                              {"att.v0", {1, 1, D}},
                              {"att.v1", {D, 3}},
                              {"att.v2", {3, D}},
                              {"att.g1", {D, 7}},
                              {"att.g2", {7, D}},
                              {"att.k_k", {1, 1, D}},
                              {"att.k_a", {1, 1, D}},
                              {"att.r_k", {D / N, N}},
                              {"att.key.weight", {D, D}},
                              {"att.value.weight", {D, D}},
                              {"att.receptance.weight", {D, D}},
                              {"att.output.weight", {D, D}},
                              {"att.ln_x.weight", {D}},
                              {"att.ln_x.bias", {D}},
                              {"ffn.x_k", {1, 1, D}},
                              {"ffn.key.weight", {F, D}},
                              {"ffn.value.weight", {D, F}}};

typedef struct {
  const shape *shapes;
  size_t n;
  checkpoint_dtype dtype;
  const char *without, *beside; /* a tensor left out, one put in */
  const char *key, *text;       /* metadata */
  int blocks;
  const char *odd; /* a tensor whose first value is odd_value */
  float odd_value;
} model;

static const model rwkv6_model = {six, sizeof six / sizeof *six, CHECKPOINT_BF16, .blocks = BLOCKS};
static const model rwkv7_model = {seven, sizeof seven / sizeof *seven, CHECKPOINT_F16, .blocks = BLOCKS};

static size_t count_of(const shape *s, int *n_dims) {
  size_t n = 1;
  for (*n_dims = 0; *n_dims < 3 && s->dim[*n_dims]; ++*n_dims) n *= (size_t)s->dim[*n_dims];
  return n;
}

/* Value i of a tensor: sixty-fourths below 1, which every type holds exactly, also after some halvings. */
static float value_of(const char *name, size_t i) {
  uint64_t stream = 0;
  for (const char *c = name; *c; c++) stream = stream * 131 + (uint8_t)*c;
  return (float)((int)(random_u64(5, stream, i) % 127) - 63) / 64;
}

typedef void (*each)(const model *m, writer *w, const char *name, const shape *s);

static void declare(const model *m, writer *w, const char *name, const shape *s) {
  int n_dims;
  count_of(s, &n_dims);
  writer_declare(w, name, m->dtype, n_dims, s->dim);
}

static void put(const model *m, writer *w, const char *name, const shape *s) {
  int n_dims;
  float values[V * F];
  const size_t n = count_of(s, &n_dims);
  assert_true(n <= sizeof values / sizeof *values);
  for (size_t i = 0; i < n; i++) values[i] = value_of(name, i);
  if (m->odd && !strcmp(name, m->odd)) values[0] = m->odd_value;
  writer_put_f32(w, name, values, n);
}

static void for_each(const model *m, writer *w, each call) {
  char name[CHECKPOINT_NAME_MAX];
  for (size_t i = 0; i < sizeof outer / sizeof *outer; i++) call(m, w, outer[i].name, &outer[i]);
  for (int b = 0; b < m->blocks; b++)
    for (size_t i = 0; i < m->n; i++) {
      snprintf(name, sizeof name, "blocks.%d.%s", b, m->shapes[i].name);
      if (!m->without || strcmp(name, m->without)) call(m, w, name, &m->shapes[i]);
    }
  if (m->beside) call(m, w, m->beside, &outer[1]);
}

/* The model as a file of official names. */
static checkpoint *official(void **state, const model *m) {
  char *path = scratch_path(state, "official.safetensors");
  writer *w = writer_create(path, NULL);
  assert_non_null(w);
  if (m->key) writer_string(w, m->key, m->text);
  for_each(m, w, declare);
  for_each(m, w, put);
  if (writer_finish(w)) fail_msg("%s", last_error());
  checkpoint *c = opened(path);
  free(path);
  return c;
}

static status write_layout(void **state, const checkpoint *in, const llama_layout_options *o, char **path) {
  *path = scratch_path(state, "llama.gguf");
  writer *w = writer_create(*path, NULL);
  assert_non_null(w);
  const status s = llama_layout_write(in, w, o);
  if (s)
    writer_abandon(w);
  else if (writer_finish(w))
    fail_msg("%s", last_error());
  return s;
}

static char *written(void **state, const model *m, const llama_layout_options *o) {
  char *path;
  checkpoint *in = official(state, m);
  if (write_layout(state, in, o, &path)) fail_msg("%s", last_error());
  checkpoint_close(in);
  return path;
}

static void check_refused(void **state, const model *m, const llama_layout_options *o, status code, const char *words) {
  char *path;
  checkpoint *in = official(state, m);
  check_error(write_layout(state, in, o, &path), code, words);
  checkpoint_close(in);
  free(path);
}

/* A tensor has this shape and the values of `name`, times `scale`. */
static void check_tensor(const checkpoint *c, const char *name, const shape *s, float scale) {
  int n_dims;
  float values[V * F];
  const size_t n = count_of(s, &n_dims);
  const checkpoint_tensor *t = checkpoint_find(c, name);
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(t->n_dims, n_dims);
  for (int i = 0; i < n_dims; i++) assert_int_equal(t->dim[i], s->dim[i]);
  assert_int_equal(checkpoint_elements(t), n);
  if (checkpoint_read_f32(c, t, values)) fail_msg("%s", last_error());
  for (size_t i = 0; i < n; i++)
    if (values[i] != scale * value_of(name, i)) fail_msg("%s: value %zu is %g", name, i, (double)values[i]);
}

static void check_official(const model *m, const char *path) {
  char name[CHECKPOINT_NAME_MAX];
  checkpoint *c = opened(path);
  size_t expected = sizeof outer / sizeof *outer;
  for (size_t i = 0; i < sizeof outer / sizeof *outer; i++) check_tensor(c, outer[i].name, &outer[i], 1);
  for (int b = 0; b < BLOCKS; b++)
    for (size_t i = 0; i < m->n; i++) {
      snprintf(name, sizeof name, "blocks.%d.%s", b, m->shapes[i].name);
      if (b == 0 && !strncmp(m->shapes[i].name, "att.v", 5) && strlen(m->shapes[i].name) == 6) continue;
      check_tensor(c, name, &m->shapes[i], 1);
      expected++;
    }
  assert_int_equal(checkpoint_count(c), expected);
  bool has_checksum;
  assert_int_equal(checkpoint_verify(c, &has_checksum), STATUS_OK);
  assert_true(has_checksum);
  checkpoint_close(c);
}

static void test_there_and_back(void **state) {
  for (int rescale = 0; rescale <= 2; rescale++) {
    const llama_layout_options o = {.rescale_every = rescale};
    for (int i = 0; i < 2; i++) {
      const model *m = i ? &rwkv7_model : &rwkv6_model;
      char *path = written(state, m, &o);
      check_official(m, path);
      free(path);
    }
  }
}

/* --- what the file holds ------------------------------------------------------------------------------------------ */

static void check_number(const checkpoint *c, const char *key, int64_t expected) {
  int64_t number;
  const checkpoint_entry *e = checkpoint_metadata_find(c, key);
  if (!e) fail_msg("%s is missing", key);
  assert_int_equal(e->value.type, METADATA_U32);
  assert_true(metadata_integer(&e->value, &number));
  assert_int_equal(number, expected);
}

static void test_stored_six(void **state) {
  float values[V * F];
  char *path = written(state, &rwkv6_model, &(llama_layout_options){.rescale_every = 1});
  checkpoint *c = checkpoint_open_part(path); /* as it is */
  assert_non_null(c);
  assert_int_equal(checkpoint_count(c), 6 + BLOCKS * (28 - 4));
  const checkpoint_tensor *t =
      check_stored(c, "blk.1.time_mix_lerp_fused.weight", CHECKPOINT_F32, 4, (int64_t[]){5, 1, 1, D});
  assert_int_equal(checkpoint_read_f32(c, t, values), STATUS_OK);
  for (size_t i = 0; i < 5 * D; i++) {
    char name[] = "blocks.1.att.time_maa_?";
    name[strlen(name) - 1] = "wkvrg"[i / D];
    assert_float_equal(values[i], value_of(name, i % D), 0);
  }
  t = check_stored(c, "blk.2.time_mix_w2.weight", CHECKPOINT_F32, 3, (int64_t[]){5, D, 4});
  assert_int_equal(checkpoint_read_f32(c, t, values), STATUS_OK);
  for (size_t p = 0; p < 5; p++)
    for (size_t d = 0; d < D; d++)
      for (size_t r = 0; r < 4; r++)
        assert_float_equal(values[(p * D + d) * 4 + r], value_of("blocks.2.att.time_maa_w2", (p * 4 + r) * D + d), 0);
  t = check_stored(c, "blk.2.channel_mix_value.weight", CHECKPOINT_BF16, 2, (int64_t[]){D, F});
  assert_int_equal(checkpoint_read_f32(c, t, values), STATUS_OK);
  for (size_t i = 0; i < D * F; i++) assert_float_equal(values[i], value_of("blocks.2.ffn.value.weight", i) / 4, 0);
  check_stored(c, "blk.0.time_mix_w1.weight", CHECKPOINT_F32, 2, (int64_t[]){20, D});
  check_stored(c, "blk.0.time_mix_decay_w2.weight", CHECKPOINT_F32, 2, (int64_t[]){D, 6});
  check_stored(c, "blk.0.time_mix_first.weight", CHECKPOINT_F32, 2, (int64_t[]){D / N, N});
  check_stored(c, "blk.0.time_mix_decay.weight", CHECKPOINT_F32, 1, (int64_t[]){D});
  check_stored(c, "token_embd_norm.bias", CHECKPOINT_F32, 1, (int64_t[]){D});
  check_stored(c, "token_embd.weight", CHECKPOINT_BF16, 2, (int64_t[]){V, D});
  static const struct {
    const char *key;
    int64_t value;
  } numbers[] = {{"general.file_type", 32},
                 {"rwkv6.context_length", 1 << 20},
                 {"rwkv6.embedding_length", D},
                 {"rwkv6.block_count", BLOCKS},
                 {"rwkv6.feed_forward_length", F},
                 {"rwkv6.wkv.head_size", N},
                 {"rwkv6.attention.head_count", 0},
                 {"rwkv6.time_mix_extra_dim", 4},
                 {"rwkv6.time_decay_extra_dim", 6},
                 {"rwkv6.rescale_every_n_layers", 1},
                 {"rwkv6.vocab_size", V}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) check_number(c, numbers[i].key, numbers[i].value);
  assert_string_equal(checkpoint_metadata(c, "general.architecture"), "rwkv6");
  assert_string_equal(checkpoint_metadata(c, "tokenizer.ggml.model"), "no_vocab");
  const checkpoint_entry *eps = checkpoint_metadata_find(c, "rwkv6.attention.layer_norm_epsilon");
  double real = 0;
  assert_true(eps && eps->value.type == METADATA_F32 && metadata_real(&eps->value, &real));
  assert_float_equal(real, 1e-5, 1e-12);
  checkpoint_close(c);
  free(path);
}

static void test_stored_seven(void **state) {
  float values[V * F];
  model m = rwkv7_model;
  m.without = "blocks.0.att.v1"; /* published files have it, or not */
  m.key = "general.name";
  m.text = "Goose";
  char *path = written(state, &m, &(llama_layout_options){0});
  checkpoint *c = checkpoint_open_part(path);
  assert_non_null(c);
  const checkpoint_tensor *t = check_stored(c, "blk.0.time_mix_v1.weight", CHECKPOINT_F16, 2, (int64_t[]){6, D});
  assert_int_equal(checkpoint_read_f32(c, t, values), STATUS_OK);
  for (size_t i = 0; i < 6 * D; i++) assert_float_equal(values[i], value_of("blocks.0.att.a1", i % D * 6 + i / D), 0);
  check_stored(c, "blk.1.time_mix_v1.weight", CHECKPOINT_F16, 2, (int64_t[]){3, D});
  check_stored(c, "blk.1.time_mix_w1.weight", CHECKPOINT_F32, 2, (int64_t[]){5, D});
  check_stored(c, "blk.1.time_mix_r_k.weight", CHECKPOINT_F32, 1, (int64_t[]){D});
  check_stored(c, "blk.1.time_mix_lerp_fused.weight", CHECKPOINT_F32, 4, (int64_t[]){6, 1, 1, D});
  check_number(c, "general.file_type", 1);
  check_number(c, "rwkv7.attention.decay_lora_rank", 5);
  check_number(c, "rwkv7.attention.iclr_lora_rank", 6);
  check_number(c, "rwkv7.attention.value_residual_mix_lora_rank", 3);
  check_number(c, "rwkv7.attention.gate_lora_rank", 7);
  assert_null(checkpoint_metadata_find(c, "rwkv7.rescale_every_n_layers"));
  assert_string_equal(checkpoint_metadata(c, "general.name"), "Goose");
  checkpoint_close(c);
  free(path);
  m.blocks = 1; /* no value residual at all: the rank of what stands in its place */
  path = written(state, &m, &(llama_layout_options){0});
  c = opened(path);
  check_number(c, "rwkv7.attention.value_residual_mix_lora_rank", 6);
  checkpoint_close(c);
  free(path);
}

static checkpoint_dtype always(void *self, const checkpoint_tensor *t) {
  (void)t;
  return *(const checkpoint_dtype *)self;
}

static void test_types(void **state) {
  checkpoint_dtype wanted[] = {CHECKPOINT_Q8_0, CHECKPOINT_Q4_K, CHECKPOINT_U8, CHECKPOINT_F16};
  const checkpoint_dtype matrix[] = {CHECKPOINT_Q8_0, CHECKPOINT_BF16, CHECKPOINT_BF16, CHECKPOINT_F16};
  for (size_t i = 0; i < 4; i++) {
    model m = rwkv7_model;
    m.dtype = CHECKPOINT_BF16;
    char *path = written(state, &m, &(llama_layout_options){.type = always, .type_self = &wanted[i]});
    checkpoint *c = opened(path);
    assert_int_equal(checkpoint_find(c, "blocks.1.ffn.value.weight")->dtype, matrix[i]);
    assert_int_equal(checkpoint_find(c, "head.weight")->dtype, matrix[i]);
    assert_int_equal(checkpoint_find(c, "blocks.1.att.g1")->dtype, i == 3 ? CHECKPOINT_F16 : CHECKPOINT_BF16);
    assert_int_equal(checkpoint_find(c, "blocks.1.att.w1")->dtype, CHECKPOINT_F32);
    assert_int_equal(checkpoint_find(c, "blocks.1.ln1.bias")->dtype, CHECKPOINT_F32);
    check_number(c, "general.file_type", i == 0 ? 7 : i == 3 ? 1 : 32);
    checkpoint_close(c);
    free(path);
  }
}

static bool stop(void *self, const checkpoint_tensor *t, checkpoint_dtype type, size_t bytes) {
  size_t *left = self;
  assert_true(type < CHECKPOINT_DTYPES && bytes <= t->bytes);
  *left -= bytes < *left ? bytes : *left;
  return *left > 0;
}

static bool add_up(void *self, const checkpoint_tensor *t, checkpoint_dtype type, size_t bytes) {
  (void)t;
  (void)type;
  *(size_t *)self += bytes;
  return true;
}

/* Every byte of the input counts once, but for those that have no use. */
static void test_progress(void **state) {
  size_t done = 0, all = 0;
  checkpoint *in = official(state, &rwkv7_model);
  for (size_t i = 0; i < checkpoint_count(in); i++)
    if (strncmp(checkpoint_at(in, i)->name, "blocks.0.att.v", 14) || strlen(checkpoint_at(in, i)->name) > 15)
      all += checkpoint_at(in, i)->bytes;
  char *path;
  const llama_layout_options o = {.progress = add_up, .progress_self = &done};
  assert_int_equal(write_layout(state, in, &o, &path), STATUS_OK);
  assert_int_equal(done, all);
  checkpoint_close(in);
  free(path);
}

static void test_refused_writing(void **state) {
  model m = rwkv6_model;
  m.without = "blocks.1.att.key.weight";
  check_refused(state, &m, &(llama_layout_options){0}, STATUS_FORMAT, "blocks.1.att.key.weight");
  m.without = "blocks.2.att.time_maa_r";
  check_refused(state, &m, &(llama_layout_options){0}, STATUS_FORMAT, "blocks.2.att.time_maa_r");
  m.without = NULL;
  m.beside = "blocks.1.att.time_state";
  check_refused(state, &m, &(llama_layout_options){0}, STATUS_UNSUPPORTED,
                "no place for tensor blocks.1.att.time_state");
  check_refused(state, &rwkv6_model, &(llama_layout_options){.rescale_every = -1}, STATUS_ARGUMENT, "every -1 layers");
  m.beside = NULL;
  checkpoint_dtype half = CHECKPOINT_F16;
  const llama_layout_options narrow = {.type = always, .type_self = &half};
  m.odd = "blocks.1.att.key.weight";
  m.odd_value = 70000;
  check_refused(state, &m, &narrow, STATUS_UNSUPPORTED, "F16 cannot hold");
  m.odd_value = NAN;
  check_refused(state, &m, &narrow, STATUS_FORMAT, "holds NaN");
  m.odd = "blocks.0.att.time_decay_w1";
  m.odd_value = INFINITY;
  check_refused(state, &m, &(llama_layout_options){0}, STATUS_FORMAT, "infinite");
  size_t left = 5000;
  check_refused(state, &rwkv6_model, &(llama_layout_options){.progress = stop, .progress_self = &left},
                STATUS_INTERRUPTED, "stopped");
  const model neither = {seven, 4, CHECKPOINT_F32, .blocks = 1};
  check_refused(state, &neither, &(llama_layout_options){0}, STATUS_UNSUPPORTED, "neither");
}

/* --- vocabularies ------------------------------------------------------------------------------------------------- */

static const char *const words[] = {"",   "\n\n",   "it's",     "\"",           "'\"",
                                    "\\", "\t\r\n", "\xff\x01", "\xe4\xbd\xa0", "~\x7f"};
enum { WORDS = sizeof words / sizeof *words };

static const char *word(const void *self, int32_t id, size_t *n) {
  const char *text = id < WORDS ? ((const char *const *)self)[id] : "";
  *n = strlen(text);
  return text;
}

static void test_vocabulary(void **state) {
  /* what Python prints of those bytes, between the quotes */
  static const char *const escaped[] = {"<s>",        "\\n\\n",          "it's",  "\"", "\\'\"", "\\\\", "\\t\\r\\n",
                                        "\\xff\\x01", "\\xe4\\xbd\\xa0", "~\\x7f"};
  static const char text[] = "1 b'\\x0a\\x0a' 2\n2 b'it\\x27s' 4\n3 b'\"' 1\n4 b'\\x27\"' 2\n5 b'\\x5c' 1\n"
                             "6 b'\\x09\\x0d\\x0a' 3\n7 b'\\xff\\x01' 2\n8 b'\\xe4\\xbd\\xa0' 3\n9 b'~\\x7f' 2\n";
  const llama_layout_options o = {.token = word, .token_self = words, .tokens = V - 8};
  char *path = written(state, &rwkv6_model, &o), *got;
  size_t n, id = 0;
  checkpoint *c = opened(path);
  assert_string_equal(checkpoint_metadata(c, "tokenizer.ggml.model"), "rwkv");
  check_number(c, "tokenizer.ggml.eot_token_id", 1);
  check_number(c, "tokenizer.ggml.eos_token_id", 0);
  assert_non_null(strstr(checkpoint_metadata(c, "tokenizer.chat_template"), "rwkv-world"));
  metadata_cursor at = metadata_items(&checkpoint_metadata_find(c, "tokenizer.ggml.tokens")->value);
  metadata_cursor kinds = metadata_items(&checkpoint_metadata_find(c, "tokenizer.ggml.token_type")->value);
  for (metadata_value item, kind; metadata_next(&at, &item); id++) {
    const char *token;
    int64_t number = 0;
    assert_true(metadata_text(&item, &token, &n));
    assert_true(metadata_next(&kinds, &kind) && metadata_integer(&kind, &number));
    assert_int_equal(number, id == 0 ? 3 : id < WORDS ? 1 : 5);
    if (id >= WORDS) continue;
    assert_int_equal(n, strlen(escaped[id]));
    assert_memory_equal(token, escaped[id], n);
  }
  assert_int_equal(id, V);
  if (llama_layout_vocabulary(c, &got, &n)) fail_msg("%s", last_error());
  assert_string_equal(got, text);
  assert_int_equal(n, strlen(text));
  free(got);
  /* once more from that file: its vocabulary comes along */
  char *again;
  if (write_layout(state, c, &(llama_layout_options){0}, &again)) fail_msg("%s", last_error());
  checkpoint *second = opened(again);
  assert_int_equal(llama_layout_vocabulary(second, &got, &n), STATUS_OK);
  assert_string_equal(got, text);
  free(got);
  free(again);
  checkpoint_close(second);
  checkpoint_close(c);
  free(path);
  llama_layout_options many = o;
  many.tokens = V + 1;
  check_refused(state, &rwkv6_model, &many, STATUS_ARGUMENT, "has 49 tokens, but the model has 48");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_there_and_back),  TEST(test_stored_six), TEST(test_stored_seven), TEST(test_types),
      TEST(test_refused_writing), TEST(test_vocabulary), TEST(test_progress),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
