/* Metadata of every type in either container: the same bytes return, in the same order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "tests/support/weights_check.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static void put_texts(metadata_bytes *b) {
  metadata_put_array(b, METADATA_STRING, 4);
  metadata_put_text(b, "", 0);
  metadata_put_text(b, "\xe2\x82\xac \"\\\n\x01", 7);
  metadata_put_text(b, "a\0b", 3);
  metadata_put_text(b, "\xff\xfe", 2);
}

/* Arrays in arrays of several types, empty ones too, four levels deep. */
static void put_nested(metadata_bytes *b) {
  metadata_put_array(b, METADATA_ARRAY, 4);
  metadata_put_array(b, METADATA_U8, 2);
  metadata_put(b, "\x00\xff", 2);
  put_texts(b);
  metadata_put_array(b, METADATA_F64, 0);
  metadata_put_array(b, METADATA_ARRAY, 2);
  metadata_put_array(b, METADATA_ARRAY, 1);
  metadata_put_array(b, METADATA_BOOL, 2);
  metadata_put(b, "\1\0", 2);
  metadata_put_array(b, METADATA_ARRAY, 0);
}

static const uint64_t patterns[] = {
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fffffff,
    0x80000000, /* as f32: the smallest numbers, -0 */
    0x3dcccccd, /* 0.1f */
    0x412000cd, /* needs nine digits */
    0x7f7fffff,
    0x7f800000, /* infinite */
    0xff800000,
    0x7fc00000, /* NaN */
    0x7f800001, /* signalling */
    0xffc12345,
    0xffffffff,
    0x7fffffffffffffff,
    0x8000000000000000, /* as f64: -0 */
    0x8000000000000001,
    0x3fb999999999999a, /* 0.1 */
    0x7fefffffffffffff,
    0x7ff0000000000000,
    0xfff0000000000000,
    0x7ff8000000000000,
    0x7ff0000000000001,
    0xfff8123456789abc,
    0xffffffffffffffff,
};
enum { PATTERNS = sizeof patterns / sizeof *patterns };

typedef struct {
  char key[48];
  metadata_value value;
} given;

static int make_numbers(given *g) {
  static const struct {
    metadata_type type;
    int bytes;
  } types[] = {{METADATA_U8, 1},  {METADATA_I8, 1},  {METADATA_U16, 2}, {METADATA_I16, 2}, {METADATA_U32, 4},
               {METADATA_I32, 4}, {METADATA_F32, 4}, {METADATA_U64, 8}, {METADATA_I64, 8}, {METADATA_F64, 8}};
  int n = 0;
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    metadata_bytes all = {0};
    metadata_put_array(&all, types[t].type, PATTERNS);
    for (int i = 0; i < PATTERNS; i++, n++) {
      metadata_bytes one = {0};
      metadata_put_number(&all, patterns[i], types[t].bytes);
      metadata_put_number(&one, patterns[i], types[t].bytes);
      snprintf(g[n].key, sizeof g[n].key, "%s.%d", metadata_type_name(types[t].type), i);
      g[n].value = (metadata_value){types[t].type, one.bytes, one.size};
    }
    snprintf(g[n].key, sizeof g[n].key, "all.%s", metadata_type_name(types[t].type));
    g[n++].value = (metadata_value){METADATA_ARRAY, all.bytes, all.size};
  }
  return n;
}

static int make_texts(given *g) {
  static const struct {
    const char *text;
    size_t length;
  } texts[] = {{"", 0}, {"{\"u32\":[1]}", 11}, {"258", 3}, {"a\0b", 3}, {"\0", 1}, {"\xc3", 1}, {"[\xed\xa0\x80]", 5}};
  int n = 0;
  for (; n < (int)(sizeof texts / sizeof *texts); n++) {
    metadata_bytes b = {0};
    metadata_put_text(&b, texts[n].text, texts[n].length);
    snprintf(g[n].key, sizeof g[n].key, "text \u00e9\"%d", n);
    g[n].value = (metadata_value){METADATA_STRING, b.bytes, b.size};
  }
  metadata_bytes b[5] = {{0}};
  put_texts(&b[0]);
  put_nested(&b[1]);
  metadata_put_array(&b[2], METADATA_STRING, 0);
  metadata_put_array(&b[3], METADATA_ARRAY, 0);
  metadata_put_array(&b[4], METADATA_BOOL, 3);
  metadata_put(&b[4], "\0\1\0", 3);
  for (int i = 0; i < 5; i++, n++) {
    snprintf(g[n].key, sizeof g[n].key, "array %d", i);
    g[n].value = (metadata_value){METADATA_ARRAY, b[i].bytes, b[i].size};
  }
  metadata_bytes bit = {0};
  metadata_put(&bit, "\1", 1);
  snprintf(g[n].key, sizeof g[n].key, "truth");
  g[n++].value = (metadata_value){METADATA_BOOL, bit.bytes, bit.size};
  return n;
}

static void test_metadata_of_every_type(void **state) {
  static given g[400];
  char *first = scratch_path(state, "1"), *second = scratch_path(state, "2"), *third = scratch_path(state, "3");
  int n = make_texts(g);
  n += make_numbers(g + n);
  for (int container = 0; container < CONTAINERS; container++) {
    writer *w = writer_into(first, container);
    for (int i = 0; i < n; i++) writer_metadata(w, g[i].key, &g[i].value);
    if (writer_finish(w)) fail_msg("%s", last_error());
    checkpoint *c = opened(first);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
      while (!strncmp(checkpoint_metadata_at(c, at)->key, "linnet.", 7)) at++; /* the order stays */
      const checkpoint_entry *e = checkpoint_metadata_at(c, at++);
      assert_string_equal(e->key, g[i].key);
      if (e->value.type != g[i].value.type || e->value.size != g[i].value.size ||
          memcmp(e->value.bytes, g[i].value.bytes, e->value.size))
        fail_msg("%s: %s differs", container_names[container], e->key);
    }
    check_intact(c);
    checkpoint_close(c);
    copy_weights(first, second, !container);
    copy_weights(second, third, container);
    check_same_files(first, third);
  }
  for (int i = 0; i < n; i++) free((uint8_t *)g[i].value.bytes);
  free(first);
  free(second);
  free(third);
}

/* What other programs see of typed values in a safetensors file. */
static void test_texts_of_values(void **state) {
  char *path = scratch_path(state, "file");
  metadata_bytes nested = {0};
  put_nested(&nested);
  writer *w = writer_into(path, SAFETENSORS);
  writer_metadata(w, "f", &(metadata_value){METADATA_F32, (const uint8_t *)"\xcd\xcc\xcc\x3d", 4});
  writer_metadata(w, "nan", &(metadata_value){METADATA_F32, (const uint8_t *)"\x45\x23\xc1\xff", 4});
  writer_metadata(w, "big", &(metadata_value){METADATA_U64, (const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff", 8});
  writer_metadata(w, "nested", &(metadata_value){METADATA_ARRAY, nested.bytes, nested.size});
  assert_int_equal(writer_finish(w), STATUS_OK);
  char *bytes = scratch_read(path, NULL);
  static const char *const parts[] = {
      "\"f\":\"0.1\"",
      "\"nan\":\"\\\"0xffc12345\\\"\"",
      "\"big\":\"\\\"18446744073709551615\\\"\"",
      "\"nested\":\"[{\\\"u8\\\":[0,255]},{\\\"str\\\":[",
      "{\\\"f64\\\":[]},{\\\"array\\\":[{\\\"array\\\":[{\\\"bool\\\":[true,false]}]},{\\\"array\\\":[]}]}]\"",
      "{\\\"f\\\":\\\"f32\\\",\\\"nan\\\":\\\"f32\\\",\\\"big\\\":\\\"u64\\\",\\\"nested\\\":\\\"[array]\\\"}",
  };
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strstr(bytes + 8, parts[i])) fail_msg("%s is not in %s", parts[i], bytes + 8);
  free(nested.bytes);
  free(bytes);
  free(path);
}

/* A safetensors file without tensors whose metadata `key` has this text and type (JSON, as in the file). */
static checkpoint *parse_typed(const char *text, const char *types, char **block) {
  const size_t room = strlen(text) + strlen(types) + 100;
  *block = calloc(room, 1);
  assert_non_null(*block);
  const int length = snprintf(*block + 8, room - 8, "{\"__metadata__\":{\"key\":%s,\"linnet.types\":%s}}", text, types);
  (*block)[0] = (char)length;
  (*block)[1] = (char)(length >> 8);
  return checkpoint_parse(*block, 8 + (size_t)length, "memory");
}

#define TYPE(type) "\"{\\\"key\\\":\\\"" type "\\\"}\""

/* Other programs may have changed a value, so any way of writing one will do. */
static void test_changed_values(void **state) {
  (void)state;
  static const struct {
    const char *text, *types, *bytes;
    size_t size;
  } cases[] = {
      {"\" 24 \"", TYPE("u32"), "\x18\0\0\0", 4},
      {"\"-1\"", TYPE("i16"), "\xff\xff", 2},
      {"\"\\\"7\\\"\"", TYPE("u64"), "\7\0\0\0\0\0\0\0", 8},
      {"\"1\"", TYPE("f32"), "\0\0\x80\x3f", 4},
      {"\"0.1\"", TYPE("f64"), "\x9a\x99\x99\x99\x99\x99\xb9\x3f", 8},
      {"\"[ ]\"", TYPE("[i8]"), "\1\0\0\0\0\0\0\0\0\0\0\0", 12},
      {"\"{\\\"hex\\\":\\\"00ff\\\"}\"", TYPE("str"), "\2\0\0\0\0\0\0\0\0\xff", 10},
      {"\"v\"", "\"{}\"", "\1\0\0\0\0\0\0\0v", 9},
      {"\"v\"", "\"{\\\"dropped\\\":\\\"u8\\\"}\"", "\1\0\0\0\0\0\0\0v", 9},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *block;
    checkpoint *c = parse_typed(cases[i].text, cases[i].types, &block);
    if (!c) fail_msg("%zu: %s", i, last_error());
    assert_int_equal(checkpoint_metadata_count(c), 1);
    const checkpoint_entry *e = checkpoint_metadata_find(c, "key");
    assert_int_equal(e->value.size, cases[i].size);
    assert_memory_equal(e->value.bytes, cases[i].bytes, cases[i].size);
    checkpoint_close(c);
    free(block);
  }
}

static void test_bad_values(void **state) {
  (void)state;
  static const struct {
    const char *text, *types, *words;
  } cases[] = {
      {"\"v\"", "\"\"", "linnet.types is not valid JSON"},
      {"\"v\"", "\"[]\"", "linnet.types is not an object"},
      {"\"v\"", "7", "linnet.types is not an object"},
      {"\"v\"", "\"{\\\"key\\\":1}\"", "linnet.types holds a value that is not a string"},
      {"\"v\"", "\"{\\\"key\\\":{\\\"a\\\":1}}\"", "linnet.types is nested deeper"},
      {"\"v\"", "\"{\\\"key\\\":\\\"u8\\\",\\\"key\\\":\\\"u8\\\"}\"", "linnet.types is not valid JSON: duplicate"},
      {"\"1\"", TYPE("u9"), "metadata key: has the unknown type 'u9'"},
      {"\"1\"", TYPE(""), "unknown type"},
      {"\"1\"", TYPE("["), "unknown type"},
      {"\"1\"", TYPE("[]"), "unknown type"},
      {"\"1\"", TYPE("[u8"), "unknown type"},
      {"\"[[1]]\"", TYPE("[[u8]]"), "unknown type"},
      {"\"[]\"", TYPE("array"), "unknown type"},
      {"\"\"", TYPE("u8"), "metadata key: the text is not valid JSON"},
      {"\"abc\"", TYPE("u8"), "the text is not valid JSON"},
      {"\"1 2\"", TYPE("u8"), "the text is not valid JSON"},
      {"\"256\"", TYPE("u8"), "metadata key: is '256', which is no value of its type u8"},
      {"\"-1\"", TYPE("u8"), "no value of"},
      {"\"128\"", TYPE("i8"), "no value of"},
      {"\"-129\"", TYPE("i8"), "no value of"},
      {"\"1.0\"", TYPE("i32"), "no value of"},
      {"\"4294967296\"", TYPE("u32"), "no value of"},
      {"\"9223372036854775808\"", TYPE("i64"), "the text is not valid JSON"},
      {"\"\\\"18446744073709551616\\\"\"", TYPE("u64"), "no value of"},
      {"\"\\\"-1\\\"\"", TYPE("u64"), "no value of"},
      {"\"\\\" 1\\\"\"", TYPE("u64"), "no value of"},
      {"\"\\\"\\\"\"", TYPE("u64"), "no value of"},
      {"\"-1\"", TYPE("u64"), "no value of"},
      {"\"1e39\"", TYPE("f32"), "no value of"},
      {"\"1e999\"", TYPE("f64"), "the text is not valid JSON"},
      {"\"\\\"NaN\\\"\"", TYPE("f32"), "no value of"},
      {"\"\\\"0x7fc0000\\\"\"", TYPE("f32"), "no value of"},
      {"\"\\\"0x7fc0000g\\\"\"", TYPE("f32"), "no value of"},
      {"\"\\\"0x7fc00000\\\"\"", TYPE("f64"), "no value of"},
      {"\"true\"", TYPE("f32"), "no value of"},
      {"\"1\"", TYPE("bool"), "no value of"},
      {"\"1\"", TYPE("str"), "no value of"},
      {"\"{\\\"hex\\\":\\\"0\\\"}\"", TYPE("str"), "no value of"},
      {"\"{\\\"hex\\\":\\\"0g\\\"}\"", TYPE("str"), "no value of"},
      {"\"{\\\"hex\\\":\\\"00\\\",\\\"a\\\":1}\"", TYPE("str"), "no value of"},
      {"\"{}\"", TYPE("str"), "no value of"},
      {"\"1\"", TYPE("[u8]"), "no value of"},
      {"\"[1,256]\"", TYPE("[u8]"), "no value of"},
      {"\"[1]\"", TYPE("[array]"), "no value of"},
      {"\"[{}]\"", TYPE("[array]"), "no value of"},
      {"\"[{\\\"u9\\\":[]}]\"", TYPE("[array]"), "no value of"},
      {"\"[{\\\"u8\\\":1}]\"", TYPE("[array]"), "no value of"},
      {"\"[{\\\"array\\\":[{\\\"array\\\":[{\\\"array\\\":[{\\\"u8\\\":[]}]}]}]}]\"", TYPE("[array]"), "nested deeper"},
      {"\"[[[[[[[[[[]]]]]]]]]]\"", TYPE("[array]"), "nested deeper"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *block;
    if (parse_typed(cases[i].text, cases[i].types, &block)) fail_msg("%s was accepted", cases[i].text);
    if (!strstr(last_error(), cases[i].words) || !strstr(last_error(), "memory: "))
      fail_msg("%s as %s: \"%s\" does not say \"%s\"", cases[i].text, cases[i].types, last_error(), cases[i].words);
    free(block);
  }
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_metadata_of_every_type),
      IN_SCRATCH(test_texts_of_values),
      cmocka_unit_test(test_changed_values),
      cmocka_unit_test(test_bad_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
