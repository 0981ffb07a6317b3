/* Metadata values: sizes of good and bad bytes, what they read as, building, JSON. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weights/metadata.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static uint64_t f64_bits(double value) {
  uint64_t bits;
  return memcpy(&bits, &value, sizeof bits), bits;
}

static uint32_t f32_bits(float value) {
  uint32_t bits;
  return memcpy(&bits, &value, sizeof bits), bits;
}

/* The built bytes as a value, in a block of exactly their size so that reading past them is seen. Checks its size, and
 * that nothing shorter is taken for it. free() the bytes. */
static metadata_value value_of(metadata_type type, metadata_bytes built) {
  size_t size;
  assert_false(built.failed);
  uint8_t *exact = malloc(built.size);
  assert_non_null(exact);
  memcpy(exact, built.bytes, built.size);
  free(built.bytes);
  assert_int_equal(metadata_size(type, exact, built.size, &size), STATUS_OK);
  assert_int_equal(size, built.size);
  for (size_t n = 0; n < built.size; n++) {
    uint8_t *shorter = malloc(n ? n : 1);
    assert_non_null(shorter);
    memcpy(shorter, exact, n);
    assert_int_equal(metadata_size(type, shorter, n, &size), STATUS_FORMAT);
    free(shorter);
  }
  return (metadata_value){type, exact, built.size};
}

static metadata_value number(metadata_type type, uint64_t value, int bytes) {
  metadata_bytes built = {0};
  metadata_put_number(&built, value, bytes);
  return value_of(type, built);
}

static metadata_value text(const char *bytes, size_t length) {
  metadata_bytes built = {0};
  metadata_put_text(&built, bytes, length);
  return value_of(METADATA_STRING, built);
}

/* Takes the bytes. */
static void expect_json(metadata_value v, size_t most, const char *expected) {
  json_t *json = metadata_json(&v, most);
  assert_non_null(json);
  char *dump = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
  assert_non_null(dump);
  assert_string_equal(dump, expected);
  free(dump);
  json_decref(json);
  free((void *)v.bytes);
}

static void test_scalars(void **state) {
  (void)state;
  static const struct {
    metadata_type type;
    int bytes;
    uint64_t bits;
    bool is_integer;
    int64_t integer;
    double real;
    const char *name, *json;
  } cases[] = {
      {METADATA_U8, 1, 0xff, true, 255, 255, "u8", "255"},
      {METADATA_I8, 1, 0x80, true, -128, -128, "i8", "-128"},
      {METADATA_U16, 2, 0xfffe, true, 65534, 65534, "u16", "65534"},
      {METADATA_I16, 2, 0xfffe, true, -2, -2, "i16", "-2"},
      {METADATA_U32, 4, 0xfffffffd, true, 4294967293, 4294967293.0, "u32", "4294967293"},
      {METADATA_I32, 4, 0xfffffffd, true, -3, -3, "i32", "-3"},
      {METADATA_U64, 8, INT64_MAX, true, INT64_MAX, 0x1p63, "u64", "9223372036854775807"},
      {METADATA_U64, 8, (uint64_t)1 << 63, false, 0, 0x1p63, "u64", "\"9223372036854775808\""},
      {METADATA_I64, 8, (uint64_t)1 << 63, true, INT64_MIN, -0x1p63, "i64", "-9223372036854775808"},
      {METADATA_F32, 4, 0x3f000000, false, 0, 0.5, "f32", "0.5"},
      {METADATA_F64, 8, 0xbfe0000000000000, false, 0, -0.5, "f64", "-0.5"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const metadata_value v = number(cases[i].type, cases[i].bits, cases[i].bytes);
    int64_t integer = 77;
    double real = 77;
    bool truth;
    const char *words;
    size_t length;
    metadata_type items;
    char name[METADATA_TYPE_TEXT];
    assert_int_equal(metadata_integer(&v, &integer), cases[i].is_integer);
    assert_true(integer == (cases[i].is_integer ? cases[i].integer : 77));
    assert_true(metadata_real(&v, &real) && real == cases[i].real);
    assert_false(metadata_truth(&v, &truth));
    assert_false(metadata_text(&v, &words, &length));
    assert_false(metadata_array(&v, &items, &length));
    metadata_cursor at = metadata_items(&v);
    metadata_value item;
    assert_false(metadata_next(&at, &item));
    assert_string_equal(metadata_type_name(v.type), cases[i].name);
    assert_string_equal(metadata_type_text(&v, name), cases[i].name);
    expect_json(v, 0, cases[i].json);
  }
  assert_string_equal(metadata_type_name(METADATA_TYPES), "?");
  assert_string_equal(metadata_type_name((metadata_type)-1), "?");
}

static void test_truth(void **state) {
  (void)state;
  for (unsigned i = 0; i < 2; i++) {
    const metadata_value v = number(METADATA_BOOL, i, 1);
    bool truth;
    int64_t integer;
    double real;
    assert_true(metadata_truth(&v, &truth) && truth == (i == 1));
    assert_false(metadata_integer(&v, &integer) || metadata_real(&v, &real));
    assert_string_equal(metadata_type_name(v.type), "bool");
    expect_json(v, 0, i ? "true" : "false");
  }
  size_t size;
  assert_int_equal(metadata_size(METADATA_BOOL, (const uint8_t *)"\2", 1, &size), STATUS_FORMAT);
  assert_string_equal(last_error(), "the bool is 2, neither 0 nor 1");
}

static void test_numbers_that_json_lacks(void **state) {
  (void)state;
  expect_json(number(METADATA_F32, f32_bits(NAN), 4), 0, "\"NaN\"");
  expect_json(number(METADATA_F32, f32_bits(-INFINITY), 4), 0, "\"-Infinity\"");
  expect_json(number(METADATA_F64, f64_bits(INFINITY), 8), 0, "\"Infinity\"");
  expect_json(number(METADATA_U64, UINT64_MAX, 8), 0, "\"18446744073709551615\"");
}

/* An f32 is written shortly, and reads back as itself. */
static void test_short_floats(void **state) {
  (void)state;
  static const float values[] = {0.1f,    1e-5f,   3.4028235e38f, 1.17549435e-38f, 1e-45f, 16777216.0f,
                                 1 / 3.f, -64e-5f, 0.0f,          8.589973e9f,     1.1f};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    const metadata_value v = number(METADATA_F32, f32_bits(values[i]), 4);
    json_t *json = metadata_json(&v, 0);
    assert_true(json_is_real(json) && (float)json_real_value(json) == values[i]);
    json_decref(json);
    free((void *)v.bytes);
  }
  const metadata_value tenth = number(METADATA_F32, f32_bits(0.1f), 4);
  json_t *json = metadata_json(&tenth, 0);
  assert_true(json_real_value(json) == 0.1);
  json_decref(json);
  free((void *)tenth.bytes);
  const metadata_value exact = number(METADATA_F64, f64_bits(0.1 + DBL_EPSILON), 8);
  json = metadata_json(&exact, 0);
  assert_true(json_real_value(json) == 0.1 + DBL_EPSILON);
  json_decref(json);
  free((void *)exact.bytes);
}

static void test_texts(void **state) {
  (void)state;
  const char *words;
  size_t length;
  const metadata_value v = text("z\303\274rich\0!", 9);
  assert_true(metadata_text(&v, &words, &length));
  assert_int_equal(length, 9);
  assert_memory_equal(words, "z\303\274rich\0!", 9);
  assert_string_equal(metadata_type_name(v.type), "str");
  expect_json(v, 0, "\"z\303\274rich\\u0000!\"");
  expect_json(text("", 0), 0, "\"\"");
  expect_json(text("\377\0ab", 4), 0, "{\"hex\":\"ff006162\"}");   /* no UTF-8 */
  expect_json(text("\303", 1), 0, "{\"hex\":\"c3\"}");             /* half a character */
  expect_json(text("\355\240\200", 3), 0, "{\"hex\":\"eda080\"}"); /* half a surrogate pair */
  expect_json(text("\300\257", 2), 0, "{\"hex\":\"c0af\"}");       /* overlong */
}

static void test_arrays(void **state) {
  (void)state;
  metadata_bytes built = {0};
  metadata_put_array(&built, METADATA_I16, 3);
  for (int i = -1; i < 2; i++) metadata_put_number(&built, (uint64_t)(int64_t)i, 2);
  metadata_value v = value_of(METADATA_ARRAY, built), item;
  metadata_type items;
  size_t count, n = 0;
  int64_t integer;
  char name[METADATA_TYPE_TEXT];
  assert_true(metadata_array(&v, &items, &count) && items == METADATA_I16 && count == 3);
  assert_false(metadata_integer(&v, &integer));
  for (metadata_cursor at = metadata_items(&v); metadata_next(&at, &item); n++) {
    assert_true(metadata_integer(&item, &integer));
    assert_int_equal(integer, (int64_t)n - 1);
    assert_int_equal(item.size, 2);
  }
  assert_int_equal(n, 3);
  assert_string_equal(metadata_type_text(&v, name), "[i16]");
  assert_string_equal(metadata_type_name(v.type), "array");
  expect_json(v, 0, "[-1,0,1]");

  built = (metadata_bytes){0};
  metadata_put_array(&built, METADATA_STRING, 3);
  metadata_put_text(&built, "", 0);
  metadata_put_text(&built, "\n", 1);
  metadata_put_text(&built, "\200", 1);
  v = value_of(METADATA_ARRAY, built);
  metadata_cursor at = metadata_items(&v);
  const char *words;
  for (size_t i = 0; i < 3; i++) {
    assert_true(metadata_next(&at, &item) && metadata_text(&item, &words, &count));
    assert_int_equal(count, i ? 1 : 0);
  }
  assert_false(metadata_next(&at, &item));
  assert_string_equal(metadata_type_text(&v, name), "[str]");
  json_t *two = metadata_json(&v, 2);
  assert_int_equal(json_array_size(two), 2);
  json_decref(two);
  expect_json(v, 4, "[\"\",\"\\n\",{\"hex\":\"80\"}]");

  built = (metadata_bytes){0};
  metadata_put_array(&built, METADATA_BOOL, 2);
  metadata_put(&built, "\1\0", 2);
  v = value_of(METADATA_ARRAY, built);
  expect_json(v, 0, "[true,false]");
  built = (metadata_bytes){0};
  metadata_put_array(&built, METADATA_F64, 0);
  v = value_of(METADATA_ARRAY, built);
  assert_string_equal(metadata_type_text(&v, name), "[f64]");
  expect_json(v, 0, "[]");
}

/* Arrays in arrays, with items of different types and lengths. */
static void test_nested_arrays(void **state) {
  (void)state;
  metadata_bytes built = {0};
  char name[METADATA_TYPE_TEXT];
  metadata_put_array(&built, METADATA_ARRAY, 3);
  metadata_put_array(&built, METADATA_U8, 2);
  metadata_put(&built, "\1\2", 2);
  metadata_put_array(&built, METADATA_STRING, 1);
  metadata_put_text(&built, "x", 1);
  metadata_put_array(&built, METADATA_ARRAY, 1);
  metadata_put_array(&built, METADATA_ARRAY, 1);
  metadata_put_array(&built, METADATA_U8, 4);
  built.failed |= METADATA_DEPTH != 4;
  metadata_put(&built, "\3\4\5\6", 4);
  metadata_value v = value_of(METADATA_ARRAY, built);
  assert_string_equal(metadata_type_text(&v, name), "[[u8]]");
  json_t *cut = metadata_json(&v, 2);
  assert_int_equal(json_array_size(cut), 2);
  json_decref(cut);
  expect_json(v, 3, "[[1,2],[\"x\"],[[[3,4,5]]]]");
  built = (metadata_bytes){0};
  metadata_put_array(&built, METADATA_ARRAY, 0);
  v = value_of(METADATA_ARRAY, built);
  assert_string_equal(metadata_type_text(&v, name), "[array]");
  expect_json(v, 0, "[]");
}

static void expect_refused(metadata_type type, metadata_bytes built, status code, const char *words) {
  size_t size;
  assert_false(built.failed);
  assert_int_equal(metadata_size(type, built.bytes, built.size, &size), code);
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
  free(built.bytes);
}

static void test_limits(void **state) {
  (void)state;
  metadata_bytes built = {0};
  for (int i = 0; i < METADATA_DEPTH; i++) metadata_put_array(&built, METADATA_ARRAY, 1);
  metadata_put_array(&built, METADATA_U8, 0);
  expect_refused(METADATA_ARRAY, built, STATUS_UNSUPPORTED, "nested deeper than 4 levels");
  built = (metadata_bytes){0};
  metadata_put_array(&built, METADATA_ARRAY, 2); /* the second is too deep */
  metadata_put_array(&built, METADATA_U8, 0);
  for (int i = 0; i < METADATA_DEPTH; i++) metadata_put_array(&built, METADATA_ARRAY, 1);
  expect_refused(METADATA_ARRAY, built, STATUS_UNSUPPORTED, "nested deeper");

  static const struct {
    metadata_type items;
    uint64_t count;
    const char *words;
  } arrays[] = {
      {METADATA_U8, 17, "claims 17 items (u8), but only 16 bytes follow"},
      {METADATA_BOOL, 17, "claims 17 items (bool)"},
      {METADATA_F64, 3, "claims 3 items (f64)"},
      {METADATA_F64, (uint64_t)1 << 61, "claims 2305843009213693952 items"}, /* times 8 is 0 */
      {METADATA_U32, ((uint64_t)1 << 62) + 1, "items (u32)"},
      {METADATA_STRING, UINT64_MAX, "claims 18446744073709551615 items (str)"},
      {METADATA_STRING, 3, "claims 3 items (str)"},
      {METADATA_ARRAY, 2, "claims 2 items (array)"},
      {METADATA_TYPES, 1, "items are of the unknown type 13"},
      {(metadata_type)0xffffffff, 1, "items are of the unknown type 4294967295"},
  };
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
    built = (metadata_bytes){0};
    metadata_put_array(&built, arrays[i].items, arrays[i].count);
    metadata_put(&built, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    expect_refused(METADATA_ARRAY, built, STATUS_FORMAT, arrays[i].words);
  }
  for (int i = 0; i < 4; i++) { /* lengths that wrap when 8 is added, that are negative, that look like an int's -1 */
    static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, INT64_MAX, 0xffffffff};
    built = (metadata_bytes){0};
    metadata_put_number(&built, lengths[i], 8);
    metadata_put(&built, "abc", 3);
    expect_refused(METADATA_STRING, built, STATUS_FORMAT, "bytes, but only 3 follow");
  }
  built = (metadata_bytes){0};
  metadata_put_array(&built, METADATA_BOOL, 2);
  metadata_put(&built, "\1\3", 2);
  expect_refused(METADATA_ARRAY, built, STATUS_FORMAT, "the bool is 3");
  built = (metadata_bytes){0};
  metadata_put(&built, "abcdefgh", 8);
  expect_refused(METADATA_TYPES, built, STATUS_FORMAT, "unknown type 13");
}

/* Many pieces of growing sizes: everything arrives in order. */
static void test_building(void **state) {
  (void)state;
  metadata_bytes built = {0};
  uint8_t piece[300];
  for (unsigned i = 0; i < sizeof piece; i++) {
    memset(piece, (int)i & 0xff, sizeof piece);
    metadata_put(&built, piece, i);
  }
  assert_false(built.failed);
  assert_int_equal(built.size, 299 * 300 / 2);
  size_t at = 0;
  for (unsigned i = 0; i < sizeof piece; i++)
    for (unsigned k = 0; k < i; k++) assert_int_equal(built.bytes[at++], i & 0xff);
  const size_t size = built.size;
  metadata_put(&built, piece, SIZE_MAX - 10); /* no memory is that large: the failure stays */
  assert_true(built.failed);
  metadata_put(&built, piece, 1);
  assert_int_equal(built.size, size);
  free(built.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scalars),
      cmocka_unit_test(test_truth),
      cmocka_unit_test(test_numbers_that_json_lacks),
      cmocka_unit_test(test_short_floats),
      cmocka_unit_test(test_texts),
      cmocka_unit_test(test_arrays),
      cmocka_unit_test(test_nested_arrays),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_building),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
