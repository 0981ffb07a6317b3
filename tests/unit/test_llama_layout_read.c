/* Reading files of llama.cpp's layout that are made by hand: shapes that vary, what is left alone, values that were
 * divided, vocabularies, and files that do not fit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"
#include "kernels/quant.h"
#include "tests/support/scratch.h"
#include "tests/support/weights_check.h"
#include "weights/container.h"
#include "weights/llama_layout_rows.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

/* --- files by hand ------------------------------------------------------------------------------------------------ */

/* A file of llama.cpp: the embedding, and one tensor more. */
typedef struct {
  const char *architecture;
  uint32_t head_size, rescale; /* 0: not said */
  const char *name;
  checkpoint_dtype dtype;
  int n_dims;
  int64_t dim[4];
} hand;

static char *make_hand(void **state, const hand *h, const float *values, size_t n) {
  static const float embedding[4] = {1, 2, 3, 4};
  char key[64], *path = scratch_path(state, "hand.gguf");
  writer *w = writer_create(path, NULL);
  assert_non_null(w);
  writer_string(w, "general.architecture", h->architecture);
  const struct {
    const char *what;
    uint32_t value;
  } numbers[] = {{"wkv.head_size", h->head_size}, {"rescale_every_n_layers", h->rescale}};
  for (size_t i = 0; i < 2; i++) {
    snprintf(key, sizeof key, "%s.%s", h->architecture, numbers[i].what);
    if (numbers[i].value)
      writer_metadata(w, key, &(metadata_value){METADATA_U32, (const uint8_t *)&numbers[i].value, 4});
  }
  writer_declare(w, "token_embd.weight", CHECKPOINT_F32, 2, (int64_t[]){2, 2});
  if (h->name) writer_declare(w, h->name, h->dtype, h->n_dims, h->dim);
  writer_put_f32(w, "token_embd.weight", embedding, 4);
  if (h->name) writer_put_f32(w, h->name, values, n);
  if (writer_finish(w)) fail_msg("%s", last_error());
  return path;
}

static checkpoint *open_hand(void **state, const hand *h, const float *values, size_t n) {
  char *path = make_hand(state, h, values, n);
  checkpoint *c = opened(path);
  free(path);
  return c;
}

static void check_hand_refused(void **state, const hand *h, const float *values, size_t n, status code,
                               const char *words) {
  char *path = make_hand(state, h, values, n);
  checkpoint *c = checkpoint_open(path);
  assert_null(c);
  check_error(last_status(), code, words);
  free(path);
}

static void test_by_hand(void **state) {
  float values[12], out[12];
  for (int i = 0; i < 12; i++) values[i] = (float)i;
  /* separate vectors, as of 2024 */
  checkpoint *c =
      open_hand(state, &(hand){"rwkv6", 2, 0, "blk.7.time_mix_lerp_r.weight", CHECKPOINT_F32, 1, {4}}, values, 4);
  const checkpoint_tensor *t = check_stored(c, "blocks.7.att.time_maa_r", CHECKPOINT_F32, 3, (int64_t[]){1, 1, 4});
  assert_non_null(t->data);
  assert_null(checkpoint_find(c, "blk.7.time_mix_lerp_r.weight"));
  check_stored(c, "emb.weight", CHECKPOINT_F32, 2, (int64_t[]){2, 2});
  checkpoint_close(c);
  /* a bonus whose outermost dimension of 1 was left out */
  c = open_hand(state, &(hand){"rwkv6", 4, 0, "blk.0.time_mix_first.weight", CHECKPOINT_F32, 1, {4}}, values, 4);
  check_stored(c, "blocks.0.att.time_faaaa", CHECKPOINT_F32, 2, (int64_t[]){1, 4});
  checkpoint_close(c);
  /* a low rank of 1, the same */
  c = open_hand(state, &(hand){"rwkv7", 4, 0, "blk.1.time_mix_w1.weight", CHECKPOINT_F16, 1, {12}}, values, 12);
  t = check_stored(c, "blocks.1.att.w1", CHECKPOINT_F16, 2, (int64_t[]){12, 1});
  assert_int_equal(checkpoint_read_f32(c, t, out), STATUS_OK);
  assert_memory_equal(out, values, sizeof out);
  checkpoint_close(c);
  /* a transposed matrix, in every piece */
  c = open_hand(state, &(hand){"rwkv6", 4, 0, "blk.0.time_mix_w2.weight", CHECKPOINT_F32, 3, {2, 3, 2}}, values, 12);
  t = check_stored(c, "blocks.0.att.time_maa_w2", CHECKPOINT_F32, 3, (int64_t[]){2, 2, 3});
  static const float expected[] = {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};
  for (size_t from = 0; from <= 12; from++)
    for (size_t n = 0; from + n <= 12; n++) {
      out[n < 12 ? n : 0] = -1;
      assert_int_equal(checkpoint_read(c, t, 4 * from, 4 * n, out), STATUS_OK);
      assert_memory_equal(out, expected + from, 4 * n);
      if (n < 12) assert_float_equal(out[n], -1, 0);
    }
  checkpoint_close(c);
  /* what has no official name */
  c = open_hand(state, &(hand){"rwkv6", 4, 0, "blk.0.time_mix_key.scale", CHECKPOINT_F32, 1, {1}}, values, 1);
  check_stored(c, "blk.0.time_mix_key.scale", CHECKPOINT_F32, 1, (int64_t[]){1});
  checkpoint_close(c);
}

static void test_left_alone(void **state) {
  static const float values[4] = {1, 2, 3, 4};
  static const char *const others[] = {"rwkv6qwen2", "arwkv7", "llama"};
  for (size_t i = 0; i < 3; i++) {
    checkpoint *c =
        open_hand(state, &(hand){others[i], 0, 0, "blk.0.time_mix_key.weight", CHECKPOINT_F32, 2, {2, 2}}, values, 4);
    check_stored(c, "token_embd.weight", CHECKPOINT_F32, 2, (int64_t[]){2, 2});
    check_stored(c, "blk.0.time_mix_key.weight", CHECKPOINT_F32, 2, (int64_t[]){2, 2});
    checkpoint_close(c);
  }
  char *path = scratch_path(state, "named.gguf"); /* official names in a GGUF file */
  writer *w = writer_create(path, NULL);
  writer_string(w, "general.architecture", "rwkv6");
  writer_declare(w, "emb.weight", CHECKPOINT_F32, 2, (int64_t[]){2, 2});
  writer_put_f32(w, "emb.weight", values, 4);
  assert_int_equal(writer_finish(w), STATUS_OK);
  checkpoint *c = opened(path);
  check_stored(c, "emb.weight", CHECKPOINT_F32, 2, (int64_t[]){2, 2});
  checkpoint_close(c);
  free(path);
}

static void test_refused_reading(void **state) {
  static const float values[64] = {1};
  check_hand_refused(state, &(hand){"rwkv6", 0, 0, NULL, 0, 0, {0}}, NULL, 0, STATUS_FORMAT,
                     "rwkv6.wkv.head_size is missing");
  check_hand_refused(state, &(hand){"rwkv6", UINT32_MAX, 0, NULL, 0, 0, {0}}, NULL, 0, STATUS_FORMAT, "head_size");
  check_hand_refused(state, &(hand){"rwkv6", 3, 0, "blk.0.time_mix_first.weight", CHECKPOINT_F32, 2, {2, 2}}, values, 4,
                     STATUS_FORMAT, "no multiple of the head size");
  check_hand_refused(state, &(hand){"rwkv6", 4, 0, "blk.0.time_mix_lerp_fused.weight", CHECKPOINT_F32, 2, {6, 2}},
                     values, 12, STATUS_FORMAT, "5 vectors");
  check_hand_refused(state, &(hand){"rwkv7", 4, 0, "blk.1.time_mix_a1.weight", CHECKPOINT_Q8_0, 2, {2, 32}}, values, 64,
                     STATUS_UNSUPPORTED, "cannot be transposed");
  /* the same official tensor twice: fused, and apart */
  check_hand_refused(state, &(hand){"rwkv6", 4, 0, "emb.weight", CHECKPOINT_F32, 1, {4}}, values, 4, STATUS_FORMAT,
                     "there twice");
}

/* --- division ----------------------------------------------------------------------------------------------------- */

static void test_scales(void **state) {
  (void)state;
  enum { VALUES = 512 };
  float values[VALUES], before[VALUES], after[VALUES];
  uint8_t bytes[4 * VALUES];
  rng g = rng_make(1, 2);
  for (int i = 0; i < VALUES; i++) values[i] = rng_range(&g, -2, 2);
  for (int q = 0; q < QUANT_TYPES; q++) {
    checkpoint_dtype dtype;
    assert_true(checkpoint_dtype_parse(quant_name((quant_type)q), &dtype));
    assert_true(llama_scales(dtype));
    const size_t size = VALUES / quant_block((quant_type)q) * quant_bytes((quant_type)q);
    quant_encode((quant_type)q, values, VALUES, bytes);
    quant_decode((quant_type)q, bytes, VALUES, before);
    assert_true(llama_scale(dtype, bytes, size, 5));
    quant_decode((quant_type)q, bytes, VALUES, after);
    for (int i = 0; i < VALUES; i++) assert_float_equal(after[i], 32 * before[i], 0);
    assert_true(llama_scale(dtype, bytes, size, -5));
    quant_decode((quant_type)q, bytes, VALUES, after);
    assert_memory_equal(after, before, sizeof after);
    assert_false(llama_scale(dtype, bytes, size, 30));
  }
  assert_false(llama_scales(CHECKPOINT_I32));
  assert_false(llama_scales(CHECKPOINT_F64));
  float numbers[] = {1.5f, -0.0f, INFINITY, 0x1p-149f};
  assert_true(llama_scale(CHECKPOINT_F32, numbers, sizeof numbers, 3));
  assert_float_equal(numbers[0], 12, 0);
  assert_true(signbit(numbers[1]) && isinf(numbers[2]));
  assert_float_equal(numbers[3], 0x1p-146f, 0);
  assert_false(llama_scale(CHECKPOINT_F32, numbers, sizeof numbers, 126));
  uint16_t halves[] = {f32_to_f16(1.25f), f32_to_f16(65504)};
  assert_true(llama_scale(CHECKPOINT_F16, halves, 2, 15));
  assert_false(llama_scale(CHECKPOINT_F16, halves + 1, 2, 1));
  assert_float_equal(f16_to_f32(halves[0]), 40960, 0);
  halves[0] = f32_to_bf16(1.25f);
  assert_true(llama_scale(CHECKPOINT_BF16, halves, 2, -100));
  assert_float_equal(bf16_to_f32(halves[0]), 1.25 * 0x1p-100, 0);
}

/* llama.cpp's own files hold output and value matrices divided: they are shown as they were, in every type. */
static void test_divided(void **state) {
  float values[512], out[512];
  rng g = rng_make(3, 4);
  for (int i = 0; i < 512; i++) values[i] = rng_range(&g, -1, 1);
  static const checkpoint_dtype types[] = {CHECKPOINT_F32,  CHECKPOINT_F16,  CHECKPOINT_BF16, CHECKPOINT_Q8_0,
                                           CHECKPOINT_Q4_0, CHECKPOINT_Q5_1, CHECKPOINT_Q4_K, CHECKPOINT_Q6_K};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    const hand h = {"rwkv6", 64, 3, "blk.7.time_mix_output.weight", types[i], 2, {2, 256}}; /* 7 / 3 = 2 */
    checkpoint *c = open_hand(state, &h, values, 512), *raw;
    char *path = scratch_path(state, "hand.gguf");
    assert_non_null(raw = checkpoint_open_part(path));
    const checkpoint_tensor *t = check_stored(c, "blocks.7.att.output.weight", types[i], 2, (int64_t[]){2, 256});
    assert_int_equal(checkpoint_read_f32(raw, checkpoint_find(raw, h.name), values), STATUS_OK);
    assert_int_equal(checkpoint_read_f32(c, t, out), STATUS_OK);
    for (int j = 0; j < 512; j++) assert_float_equal(out[j], 4 * values[j], 0);
    checkpoint_close(c);
    checkpoint_close(raw);
    free(path);
  }
  const float large[] = {30000};
  checkpoint *c =
      open_hand(state, &(hand){"rwkv6", 64, 1, "blk.2.channel_mix_value.weight", CHECKPOINT_F16, 2, {1, 1}}, large, 1);
  check_error(checkpoint_read_f32(c, checkpoint_find(c, "blocks.2.ffn.value.weight"), out), STATUS_UNSUPPORTED,
              "multiplied by 2^2");
  checkpoint_close(c);
}

/* --- vocabularies ------------------------------------------------------------------------------------------------- */

/* A file with nothing but a vocabulary. */
static status read_words(void **state, const char *kind, const char *const *tokens, const int32_t *types, size_t n,
                         size_t n_types, char **text) {
  size_t size;
  char *path = scratch_path(state, "words.gguf");
  metadata_bytes list = {0}, numbers = {0};
  metadata_put_array(&list, METADATA_STRING, n);
  for (size_t i = 0; i < n; i++) metadata_put_text(&list, tokens[i], strlen(tokens[i]));
  metadata_put_array(&numbers, METADATA_I32, n_types);
  for (size_t i = 0; i < n_types; i++) metadata_put_number(&numbers, (uint32_t)types[i], 4);
  writer *w = writer_create(path, NULL);
  if (kind) writer_string(w, "tokenizer.ggml.model", kind);
  writer_metadata(w, "tokenizer.ggml.tokens", &(metadata_value){METADATA_ARRAY, list.bytes, list.size});
  if (types)
    writer_metadata(w, "tokenizer.ggml.token_type", &(metadata_value){METADATA_ARRAY, numbers.bytes, numbers.size});
  if (writer_finish(w)) fail_msg("%s", last_error());
  checkpoint *c = opened(path);
  const status s = llama_layout_vocabulary(c, text, &size);
  checkpoint_close(c);
  free(list.bytes);
  free(numbers.bytes);
  free(path);
  return s;
}

static void test_vocabulary_by_hand(void **state) {
  static const int32_t gap[] = {3, 1, 5, 1}, normal[] = {3, 1, 1, 1};
  char *text;
  const char *const good[] = {"<s>", "\\q\\x4A", "\\\\x41", "b"};
  assert_int_equal(read_words(state, "rwkv", good, NULL, 4, 0, &text), STATUS_OK);
  assert_string_equal(text, "1 b'qJ' 2\n2 b'\\x5cx41' 4\n3 b'b' 1\n");
  free(text);
  check_error(read_words(state, "rwkv", good, gap, 4, 4, &text), STATUS_FORMAT, "follows the unused token 2");
  check_error(read_words(state, "rwkv", good, normal, 4, 3, &text), STATUS_FORMAT, "no number for token 3");
  check_error(read_words(state, "llama", good, NULL, 4, 0, &text), STATUS_FORMAT, "is llama");
  check_error(read_words(state, NULL, good, NULL, 4, 0, &text), STATUS_FORMAT, "is missing");
  check_error(read_words(state, "rwkv", good, NULL, 1, 0, &text), STATUS_FORMAT, "is empty");
  static const char *const damaged[] = {"a\\", "\\x4", "\\x4g", "\\x", ""};
  for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++)
    check_error(read_words(state, "rwkv", (const char *const[]){"<s>", damaged[i]}, NULL, 2, 0, &text), STATUS_FORMAT,
                "token 1 is empty or has a damaged escape");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_by_hand), TEST(test_left_alone),         TEST(test_refused_reading), cmocka_unit_test(test_scales),
      TEST(test_divided), TEST(test_vocabulary_by_hand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
