/* Reading GGUF files that are as they should be: hand-made ones, and one that another program wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/gguf_build.h"
#include "tests/support/scratch.h"
#include "weights/checkpoint.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static uint32_t type_of(checkpoint_dtype dtype) {
  uint32_t number;
  assert_true(gguf_type_number(dtype, &number));
  return number;
}

/* Takes the builder; *bytes must live until the checkpoint is closed. */
static checkpoint *open_built(gguf_build *b, uint8_t **bytes) {
  size_t size;
  *bytes = gguf_build_finish(b, &size);
  checkpoint *c = checkpoint_parse(*bytes, size, "memory");
  if (!c) fail_msg("%s", last_error());
  assert_string_equal(checkpoint_container(c), "gguf");
  return c;
}

static void close_built(checkpoint *c, uint8_t *bytes) {
  checkpoint_close(c);
  free(bytes);
}

static void test_types(void **state) {
  (void)state;
  static const struct {
    uint32_t number;
    checkpoint_dtype dtype;
  } known[] = {{0, CHECKPOINT_F32},   {1, CHECKPOINT_F16},   {2, CHECKPOINT_Q4_0}, {3, CHECKPOINT_Q4_1},
               {6, CHECKPOINT_Q5_0},  {7, CHECKPOINT_Q5_1},  {8, CHECKPOINT_Q8_0}, {12, CHECKPOINT_Q4_K},
               {13, CHECKPOINT_Q5_K}, {14, CHECKPOINT_Q6_K}, {24, CHECKPOINT_I8},  {25, CHECKPOINT_I16},
               {26, CHECKPOINT_I32},  {27, CHECKPOINT_I64},  {28, CHECKPOINT_F64}, {30, CHECKPOINT_BF16}};
  const size_t n = sizeof known / sizeof *known;
  uint32_t number;
  checkpoint_dtype dtype;
  size_t read = 0;
  for (size_t i = 0; i < n; i++) {
    assert_true(gguf_type_number(known[i].dtype, &number));
    assert_int_equal(number, known[i].number);
    assert_true(gguf_type_parse(number, &dtype));
    assert_int_equal(dtype, known[i].dtype);
    assert_string_equal(gguf_type_name(number), checkpoint_dtype_name(dtype));
  }
  for (uint32_t i = 0; i < 100; i++) {
    read += gguf_type_parse(i, &dtype);
    assert_true((gguf_type_name(i) != NULL) == (i < 43));
  }
  assert_int_equal(read, n);
  assert_string_equal(gguf_type_name(10), "Q2_K");
  assert_string_equal(gguf_type_name(39), "MXFP4");
  assert_null(gguf_type_name(UINT32_MAX));
  assert_false(gguf_type_parse(UINT32_MAX, &dtype));
  const checkpoint_dtype lacking[] = {CHECKPOINT_U64, CHECKPOINT_U32,  CHECKPOINT_U16,
                                      CHECKPOINT_U8,  CHECKPOINT_BOOL, CHECKPOINT_DTYPES};
  for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++) assert_false(gguf_type_number(lacking[i], &number));
}

static void test_tensors(void **state) {
  (void)state;
  for (uint32_t version = 2; version <= 3; version++) {
    static const float values[] = {1, 2, 3, 4, 5, 6};
    static const int32_t fives[] = {5, -5};
    gguf_build b = {.version = version, .alignment = 32};
    gguf_build_tensor(&b, "emb", type_of(CHECKPOINT_F32), 2, (int64_t[]){3, 2}, values, 24);
    gguf_build_tensor(&b, "none", type_of(CHECKPOINT_F16), 2, (int64_t[]){0, 7}, NULL, 0);
    gguf_build_tensor(&b, "scalar", type_of(CHECKPOINT_I32), 0, NULL, &fives[1], 4);
    gguf_build_tensor(&b, "four", type_of(CHECKPOINT_I32), 4, (int64_t[]){1, 2, 1, 1}, fives, 8);
    uint8_t *bytes;
    checkpoint *c = open_built(&b, &bytes);
    assert_int_equal(checkpoint_count(c), 4);
    const checkpoint_tensor *t = checkpoint_at(c, 0);
    assert_string_equal(t->name, "emb");
    assert_true(t->n_dims == 2 && t->dim[0] == 2 && t->dim[1] == 3 && t->dtype == CHECKPOINT_F32 && t->bytes == 24);
    assert_memory_equal(t->data, values, 24);
    assert_int_equal(((const uint8_t *)t->data - bytes) % 32, 0); /* in the file itself */
    t = checkpoint_find(c, "none");
    assert_true(t && t->n_dims == 2 && t->dim[0] == 7 && t->dim[1] == 0 && t->bytes == 0);
    t = checkpoint_find(c, "scalar");
    assert_true(t && t->n_dims == 0 && t->bytes == 4 && checkpoint_elements(t) == 1);
    assert_memory_equal(t->data, &fives[1], 4);
    t = checkpoint_find(c, "four");
    assert_true(t && t->n_dims == 4 && t->dim[0] == 1 && t->dim[2] == 2 && t->dim[3] == 1);
    float read[2];
    assert_int_equal(checkpoint_read_f32(c, t, read), STATUS_OK);
    assert_true(read[0] == 5 && read[1] == -5);
    close_built(c, bytes);
  }
}

/* Every type that is read, two rows of one block each, at its size. */
static void test_every_type(void **state) {
  (void)state;
  static const size_t sizes[] = {
      [2] = 18, [3] = 20, [6] = 22, [7] = 24, [8] = 34, [12] = 144, [13] = 176, [14] = 210, [24] = 1, [30] = 2};
  uint8_t data[1024] = {0};
  gguf_build b = {.version = 3, .alignment = 32};
  for (int i = 0; i < CHECKPOINT_DTYPES; i++) {
    uint32_t number;
    const checkpoint_dtype dtype = (checkpoint_dtype)i;
    const int64_t block = (int64_t)checkpoint_dtype_block(dtype);
    if (!gguf_type_number(dtype, &number)) continue;
    if (number < sizeof sizes / sizeof *sizes && sizes[number])
      assert_int_equal(sizes[number], checkpoint_dtype_size(dtype));
    data[0] = (uint8_t)i;
    gguf_build_tensor(&b, checkpoint_dtype_name(dtype), number, 2, (int64_t[]){block, 2}, data,
                      2 * checkpoint_dtype_size(dtype));
  }
  uint8_t *bytes;
  checkpoint *c = open_built(&b, &bytes);
  assert_int_equal(checkpoint_count(c), 16);
  for (size_t i = 0; i < 16; i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    assert_string_equal(t->name, checkpoint_dtype_name(t->dtype));
    assert_int_equal(*(const uint8_t *)t->data, t->dtype);
    assert_int_equal(t->bytes, 2 * checkpoint_dtype_size(t->dtype));
  }
  close_built(c, bytes);
}

static void test_metadata(void **state) {
  (void)state;
  gguf_build b = {.version = 3, .alignment = 32};
  metadata_bytes tokens = {0};
  metadata_put_array(&tokens, METADATA_STRING, 2);
  metadata_put_text(&tokens, "\300\377", 2); /* no UTF-8: bytes of a token */
  metadata_put_text(&tokens, "the", 3);
  gguf_build_text(&b, "general.architecture", "bird");
  gguf_build_number(&b, "bird.block_count", METADATA_U32, 12);
  gguf_build_pair(&b, "tokenizer.ggml.tokens", METADATA_ARRAY, tokens.bytes, tokens.size);
  gguf_build_number(&b, "bird.sings", METADATA_BOOL, 1);
  gguf_build_number(&b, "key\303\274", METADATA_F64, 0x4000000000000000);
  gguf_build_text(&b, "empty", "");
  free(tokens.bytes);
  uint8_t *bytes;
  checkpoint *c = open_built(&b, &bytes);
  assert_int_equal(checkpoint_count(c), 0);
  assert_int_equal(checkpoint_metadata_count(c), 6);
  assert_string_equal(checkpoint_metadata_at(c, 0)->key, "general.architecture");
  assert_string_equal(checkpoint_metadata(c, "general.architecture"), "bird");
  assert_string_equal(checkpoint_metadata(c, "empty"), "");
  assert_null(checkpoint_metadata(c, "bird.block_count"));
  assert_null(checkpoint_metadata_find(c, "absent"));
  int64_t blocks;
  double two;
  bool sings;
  assert_true(metadata_integer(&checkpoint_metadata_find(c, "bird.block_count")->value, &blocks) && blocks == 12);
  assert_true(metadata_real(&checkpoint_metadata_find(c, "key\303\274")->value, &two) && two == 2);
  assert_true(metadata_truth(&checkpoint_metadata_find(c, "bird.sings")->value, &sings) && sings);
  const checkpoint_entry *e = checkpoint_metadata_find(c, "tokenizer.ggml.tokens");
  assert_true(e->value.bytes > bytes && e->value.size == 12 + 8 + 2 + 8 + 3);
  close_built(c, bytes);
}

static void test_alignment(void **state) {
  (void)state;
  for (uint32_t alignment = 8; alignment <= 4096; alignment *= 2) {
    gguf_build b = {.version = 3, .alignment = alignment};
    gguf_build_number(&b, GGUF_ALIGNMENT_KEY, METADATA_U32, alignment);
    gguf_build_tensor(&b, "a", 24, 1, (int64_t[]){3}, "abc", 3);
    gguf_build_tensor(&b, "b", 24, 1, (int64_t[]){2}, "de", 2);
    uint8_t *bytes;
    checkpoint *c = open_built(&b, &bytes);
    assert_memory_equal(checkpoint_find(c, "a")->data, "abc", 3);
    assert_memory_equal(checkpoint_find(c, "b")->data, "de", 2);
    assert_int_equal((const uint8_t *)checkpoint_find(c, "b")->data - (const uint8_t *)checkpoint_find(c, "a")->data,
                     alignment);
    close_built(c, bytes);
  }
}

static void test_originals(void **state) {
  (void)state;
  char longest[CHECKPOINT_NAME_MAX + 1];
  memset(longest, 'n', CHECKPOINT_NAME_MAX);
  longest[CHECKPOINT_NAME_MAX] = 0;
  char text[1024];
  snprintf(text, sizeof text,
           "{\"linnet.tensor.0\":{\"name\":\"%s\"},\"scalar\":{\"shape\":[]},\"five\":{\"shape\":[1,1,2,1,3]},"
           "\"mask\":{\"dtype\":\"BOOL\"},\"all\":{\"name\":\"a\303\274\",\"dtype\":\"U64\",\"shape\":[1,0,4]}}",
           longest);
  gguf_build b = {.version = 3, .alignment = 32};
  gguf_build_text(&b, GGUF_ORIGINALS, text);
  gguf_build_tensor(&b, "linnet.tensor.0", 24, 1, (int64_t[]){3}, "abc", 3);
  gguf_build_tensor(&b, "scalar", 24, 1, (int64_t[]){1}, "x", 1);
  gguf_build_tensor(&b, "five", 24, 4, (int64_t[]){3, 1, 2, 1}, "123456", 6);
  gguf_build_tensor(&b, "mask", 24, 1, (int64_t[]){2}, "\1\0", 2);
  gguf_build_tensor(&b, "all", 27, 1, (int64_t[]){0}, "", 0);
  gguf_build_tensor(&b, "plain", 24, 1, (int64_t[]){1}, "p", 1);
  uint8_t *bytes;
  checkpoint *c = open_built(&b, &bytes);
  assert_int_equal(checkpoint_count(c), 6);
  assert_memory_equal(checkpoint_find(c, longest)->data, "abc", 3);
  assert_int_equal(checkpoint_find(c, "scalar")->n_dims, 0);
  const checkpoint_tensor *t = checkpoint_find(c, "five");
  assert_true(t->n_dims == 5 && t->dim[2] == 2 && t->dim[4] == 3 && t->dtype == CHECKPOINT_I8);
  assert_int_equal(checkpoint_find(c, "mask")->dtype, CHECKPOINT_BOOL);
  t = checkpoint_find(c, "a\303\274");
  assert_true(t && t->dtype == CHECKPOINT_U64 && t->n_dims == 3 && t->dim[1] == 0 && t->bytes == 0);
  assert_non_null(checkpoint_find(c, "plain"));
  assert_null(checkpoint_find(c, "linnet.tensor.0"));
  assert_non_null(checkpoint_metadata(c, GGUF_ORIGINALS));
  close_built(c, bytes);
}

/* The smallest file; a file without tensors may be padded; the last tensor's padding may be there, in part too, and
 * hold anything. */
static void test_ends(void **state) {
  (void)state;
  for (size_t extra = 0; extra < 64; extra++) {
    for (int tensors = 0; tensors < 2; tensors++) {
      gguf_build b = {.version = 3, .alignment = 32};
      size_t size;
      if (tensors) gguf_build_tensor(&b, "a", 24, 1, (int64_t[]){3}, "abc", 3);
      uint8_t *bytes = gguf_build_finish(&b, &size), *longer = malloc(size + extra);
      assert_non_null(longer);
      memcpy(longer, bytes, size);
      memset(longer + size, 0xee, extra);
      checkpoint *c = checkpoint_parse(longer, size + extra, "memory");
      assert_true((c != NULL) == ((size + extra + 31) / 32 == (size + 31) / 32));
      if (!c) assert_non_null(strstr(last_error(), "memory: the tensors' data and padding end at byte "));
      checkpoint_close(c);
      free(longer);
      free(bytes);
    }
  }
}

/* From a file: mapped, and found by its content whatever its name. */
static void test_mapped(void **state) {
  gguf_build b = {.version = 3, .alignment = 32};
  size_t size;
  gguf_build_tensor(&b, "a", 24, 1, (int64_t[]){3}, "abc", 3);
  uint8_t *bytes = gguf_build_finish(&b, &size);
  char *path = scratch_path(state, "model.bin");
  scratch_write(path, bytes, size);
  checkpoint *c = checkpoint_open(path);
  assert_non_null(c);
  assert_memory_equal(checkpoint_find(c, "a")->data, "abc", 3);
  close_built(c, bytes);
  free(path);
}

/* All metadata types and some tensors, written by the Python package gguf 0.19.0 (GGUFWriter). */
static void test_other_hand(void **state) {
  (void)state;
  static const char *const values[][2] = {
      {"general.architecture", "\"bird\""},
      {"bird.u8", "200"},
      {"bird.i8", "-100"},
      {"bird.u16", "60000"},
      {"bird.i16", "-30000"},
      {"bird.u32", "4000000000"},
      {"bird.i32", "-2000000000"},
      {"bird.f32", "0.1"},
      {"bird.u64", "\"18000000000000000000\""},
      {"bird.i64", "-9000000000000000000"},
      {"bird.f64", "0.1"},
      {"bird.bool", "true"},
      {"bird.text", "\"na\303\257ve\""},
      {"bird.integers", "[1,-2,3]"},
      {"bird.reals", "[0.5,0.25]"},
      {"bird.texts", "[\"a\",\"\",\"\303\274\"]"},
      {"bird.flags", "[true,false]"},
      {"bird.nested", "[[1,2],[3]]"},
  };
  const size_t n = sizeof values / sizeof *values;
  checkpoint *c = checkpoint_open("tests/fuzz/corpus/gguf/python.gguf");
  if (!c) fail_msg("%s", last_error());
  assert_int_equal(checkpoint_metadata_count(c), n);
  for (size_t i = 0; i < n; i++) {
    const checkpoint_entry *e = checkpoint_metadata_find(c, values[i][0]);
    assert_non_null(e);
    json_t *json = metadata_json(&e->value, 0), *expected = json_loads(values[i][1], JSON_DECODE_ANY, NULL);
    assert_true(json && expected);
    if (!json_equal(json, expected)) fail_msg("%s is not %s", values[i][0], values[i][1]);
    json_decref(json);
    json_decref(expected);
  }
  assert_int_equal(checkpoint_count(c), 5);
  static const struct {
    const char *name;
    checkpoint_dtype dtype;
    int64_t rows, columns;
  } tensors[] = {{"f32", CHECKPOINT_F32, 2, 3},
                 {"f16", CHECKPOINT_F16, 3, 2},
                 {"bf16", CHECKPOINT_BF16, 1, 4},
                 {"i32", CHECKPOINT_I32, 2, 2},
                 {"q8_0", CHECKPOINT_Q8_0, 2, 32}};
  for (size_t i = 0; i < 5; i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    float read[64];
    assert_string_equal(t->name, tensors[i].name);
    assert_int_equal(t->dtype, tensors[i].dtype);
    assert_true(t->n_dims == 2 && t->dim[0] == tensors[i].rows && t->dim[1] == tensors[i].columns);
    assert_int_equal(checkpoint_read_f32(c, t, read), STATUS_OK);
    for (int64_t k = 0; k < checkpoint_elements(t); k++) assert_true(read[k] == (float)(k - 2));
  }
  checkpoint_close(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_types),      cmocka_unit_test(test_tensors),
      cmocka_unit_test(test_every_type), cmocka_unit_test(test_metadata),
      cmocka_unit_test(test_alignment),  cmocka_unit_test(test_originals),
      cmocka_unit_test(test_ends),       cmocka_unit_test_setup_teardown(test_mapped, scratch_setup, scratch_teardown),
      cmocka_unit_test(test_other_hand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
