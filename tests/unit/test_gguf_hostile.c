/* Damaged and hand-made GGUF files: every one gives one clear sentence or harmless tensors, never a crash (run under
 * ASan). Many of these kinds of damage have brought down other readers (spec ecosystem section 6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/gguf_build.h"
#include "weights/checkpoint.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

/* The bytes in a block of exactly their size, so that reading past them is seen. */
static checkpoint *parse_exactly(const uint8_t *bytes, size_t size, uint8_t **block) {
  *block = malloc(size ? size : 1);
  assert_non_null(*block);
  memcpy(*block, bytes, size);
  return checkpoint_parse(*block, size, "memory");
}

static void expect_refused(const uint8_t *bytes, size_t size, const char *what, const char *words) {
  uint8_t *block;
  if (parse_exactly(bytes, size, &block)) fail_msg("%s: was accepted", what);
  if (!strstr(last_error(), words)) fail_msg("%s: \"%s\" does not say \"%s\"", what, last_error(), words);
  if (strncmp(last_error(), "memory: ", 8)) fail_msg("%s: \"%s\" does not name the file", what, last_error());
  assert_true(strlen(last_error()) < 500 && last_status() < 0);
  free(block);
}

/* The same, or with no words that the file is good. */
static void expect(const uint8_t *bytes, size_t size, const char *what, const char *words) {
  uint8_t *block;
  if (words) {
    expect_refused(bytes, size, what, words);
    return;
  }
  checkpoint *c = parse_exactly(bytes, size, &block);
  if (!c) fail_msg("%s: %s", what, last_error());
  checkpoint_close(c);
  free(block);
}

/* A good small file with most features. The data begin at a multiple of 32, so that the last byte is data. */
static uint8_t *good_file(size_t *size, size_t *data_size) {
  static const float emb[] = {1, 2, 3, 4, 5, 6};
  gguf_build b = {.version = 3, .alignment = 32};
  metadata_bytes nested = {0};
  metadata_put_array(&nested, METADATA_ARRAY, 2);
  metadata_put_array(&nested, METADATA_STRING, 1);
  metadata_put_text(&nested, "the", 3);
  metadata_put_array(&nested, METADATA_BOOL, 1);
  metadata_put(&nested, "\1", 1);
  gguf_build_text(&b, "general.architecture", "bird");
  gguf_build_number(&b, GGUF_ALIGNMENT_KEY, METADATA_U32, 32);
  gguf_build_pair(&b, "a", METADATA_ARRAY, nested.bytes, nested.size);
  gguf_build_text(&b, GGUF_ORIGINALS, "{\"x\":{\"name\":\"mask\",\"dtype\":\"BOOL\",\"shape\":[1,2]}}");
  gguf_build_tensor(&b, "emb", 0, 2, (int64_t[]){3, 2}, emb, 24);
  gguf_build_tensor(&b, "none", 1, 1, (int64_t[]){0}, NULL, 0);
  gguf_build_tensor(&b, "x", 24, 1, (int64_t[]){2}, "\1\0", 2);
  gguf_build_tensor(&b, "q", 8, 1, (int64_t[]){32}, "\0\74aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 34);
  free(nested.bytes);
  *data_size = b.data.size;
  return gguf_build_finish(&b, size);
}

static void test_truncated_everywhere(void **state) {
  (void)state;
  size_t size, data;
  uint8_t *bytes = good_file(&size, &data), *block;
  for (size_t n = 0; n < size; n++) expect_refused(bytes, n, "a truncated file", n ? " " : "is empty");
  checkpoint *c = parse_exactly(bytes, size, &block);
  assert_non_null(c);
  assert_int_equal(checkpoint_count(c), 4);
  checkpoint_close(c);
  free(block);
  free(bytes);
}

/* Uses a tensor, and compares it with a good one. */
static bool is_same(const checkpoint *c, const checkpoint_tensor *good, const checkpoint_tensor *t) {
  float values[64];
  int64_t bad;
  size_t bytes;
  assert_true(checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &bytes) && bytes == t->bytes && bytes <= 64);
  checkpoint_read_f32(c, t, values);
  assert_int_equal(checkpoint_first_nonfinite(c, t, &bad), STATUS_OK);
  return !strcmp(good->name, t->name) && good->dtype == t->dtype && good->n_dims == t->n_dims &&
         !memcmp(good->dim, t->dim, sizeof t->dim) && (!t->bytes || !memcmp(good->data, t->data, t->bytes));
}

/* Nothing in the format protects letters, values of metadata, types and dimensions whose data take the same room, and
 * padding: at most one tensor is another for it. All the rest must be found. */
static void test_every_bit(void **state) {
  (void)state;
  size_t size, data;
  uint8_t *bytes = good_file(&size, &data), *block, *good_block;
  checkpoint *good = parse_exactly(bytes, size, &good_block);
  assert_non_null(good);
  int accepted = 0, refused = 0;
  for (size_t bit = 0; bit < 8 * size; bit++) {
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    checkpoint *c = parse_exactly(bytes, size, &block);
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    if (c) {
      int differ = 0;
      accepted++;
      assert_int_equal(checkpoint_count(c), checkpoint_count(good));
      assert_int_equal(checkpoint_metadata_count(c), checkpoint_metadata_count(good));
      for (size_t i = 0; i < 4; i++) differ += !is_same(c, checkpoint_at(good, i), checkpoint_at(c, i));
      for (size_t i = 0; i < checkpoint_metadata_count(c); i++)
        json_decref(metadata_json(&checkpoint_metadata_at(c, i)->value, 0));
      if (differ > 1) fail_msg("bit %zu changes %d tensors", bit, differ);
    } else {
      refused++;
      if (bit / 8 >= size - data) fail_msg("bit %zu of the data: %s", bit, last_error());
      assert_true(strlen(last_error()) > 10);
    }
    checkpoint_close(c);
    free(block);
  }
  assert_true(accepted > 8 * (int)data && refused > 1000);
  checkpoint_close(good);
  free(good_block);
  free(bytes);
}

/* Little-endian numbers as parts of texts. */
#define U32(low) low "\0\0\0"
#define U64(low) low "\0\0\0\0\0\0\0"
#define MINUS_32 "\377\377\377\377"
#define MINUS_64 MINUS_32 MINUS_32
#define BYTES(text) text, sizeof text - 1
/* An entry of the tensor table: of one dimension, of any; its type and offset follow. */
#define NAME_A U64("\1") "a"
#define NAME_B U64("\1") "b"
#define ONE_DIM(dim) U32("\1") dim
#define I8 U32("\30")
#define GOOD_A NAME_A ONE_DIM(U64("\5")) I8 U64("\0")
#define KEY_K U64("\1") "k"
#define ALIGNMENT(type) U64("\21") "general.alignment" type
#define ORIGINALS(length, json) U64("\16") "linnet.tensors" U32("\10") U64(length) json
#define HUGE_64 "\0\0\0\0\0\0\0\100" /* 2^62 */

static const struct {
  const char *what;
  uint64_t n_pairs;
  const char *pairs;
  size_t pairs_size;
  uint64_t n_tensors;
  const char *table;
  size_t table_size, data;
  const char *words; /* of the error; NULL if the file is good */
} hand_made[] = {
    {"a plain file", 1, BYTES(KEY_K U32("\0") "\5"), 1, BYTES(GOOD_A), 5, NULL},

    {"more pairs than memory", UINT64_MAX, BYTES(""), 0, BYTES(""), 0, "claims 18446744073709551615 metadata keys"},
    {"pairs whose size wraps", ((uint64_t)1 << 61) + 1, BYTES(KEY_K U32("\0") "\5"), 0, BYTES(""), 0, "metadata keys"},
    {"more pairs than bytes", 3, BYTES(KEY_K U32("\0") "\5" KEY_K U32("\0") "\5"), 0, BYTES(""), 0,
     "claims 3 metadata keys in 28 bytes"},
    {"a pair too many", 2, BYTES(KEY_K U32("\12") U64("\5")), 1, BYTES(GOOD_A), 5, "tensor 1 of 1: the name claims"},
    {"more tensors than memory", 0, BYTES(""), UINT64_MAX, BYTES(""), 0, "claims 18446744073709551615 tensors"},
    {"tensors whose size wraps", 0, BYTES(""), ((uint64_t)1 << 58) + 1, BYTES(GOOD_A), 5, "tensors in"},
    {"a tensor too many", 0, BYTES(""), 2, BYTES(GOOD_A), 69, "tensor 2 of 2: the name is empty"},

    {"an empty key", 1, BYTES(U64("\0") U32("\0") "\5xx"), 0, BYTES(""), 0, "metadata 1 of 1: the key is empty"},
    {"a key beyond the file", 1, BYTES(U64("\100") "k" U32("\0") "\5"), 0, BYTES(""), 0, "ends inside the key"},
    {"a key of -1 bytes", 1, BYTES(MINUS_64 "k" U32("\0") "\5"), 0, BYTES(""), 0,
     "the key claims 18446744073709551615 bytes, the most is 65535"},
    {"a key of -1 bytes of an int", 1, BYTES(MINUS_32 "\0\0\0\0k" U32("\0") "\5"), 0, BYTES(""), 0,
     "the key claims 4294967295 bytes"},
    {"a key that is not UTF-8", 1, BYTES(U64("\1") "\377" U32("\0") "\5"), 0, BYTES(""), 0, "the key is not UTF-8"},
    {"a key for terminals", 1, BYTES(U64("\1") "\33" U32("\0") "\5"), 0, BYTES(""), 0, "control character 0x1b"},
    {"a key with a zero byte", 1, BYTES(U64("\3") "a\0b" U32("\0") "\5"), 0, BYTES(""), 0, "control character 0x00"},
    {"a key twice", 2, BYTES(KEY_K U32("\0") "\5" KEY_K U32("\7") "\1"), 0, BYTES(""), 0, "metadata k is there twice"},
    {"a value without a type", 1, BYTES(U64("\6") "kkkkkk"), 0, BYTES(""), 0, "metadata kkkkkk: ends inside its type"},
    {"a value of no type", 1, BYTES(KEY_K U32("\15") "\5"), 0, BYTES(""), 0, "metadata k: the value is of the unknown"},
    {"a value of type -1", 1, BYTES(KEY_K MINUS_32 "\5"), 0, BYTES(""), 0, "unknown type 4294967295"},
    {"a bool of 2", 1, BYTES(KEY_K U32("\7") "\2"), 0, BYTES(""), 0, "metadata k: the bool is 2"},
    {"half a number", 1, BYTES(KEY_K U32("\12") U32("\5")), 0, BYTES(""), 0, "the value (u64) goes beyond the end"},
    {"a text beyond the file", 1, BYTES(KEY_K U32("\10") U64("\4") "abc"), 0, BYTES(""), 0,
     "the text claims 4 bytes, but only 3 follow"},
    {"a text of -1 bytes", 1, BYTES(KEY_K U32("\10") MINUS_64 "abc"), 0, BYTES(""), 0, "claims 18446744073709551615"},
    {"a text whose end wraps", 1,
     BYTES(KEY_K U32("\10") "\370"
                            "\377\377\377" MINUS_32 "abc"),
     0, BYTES(""), 0, "the text claims 18446744073709551608 bytes"},
    {"a token as long as no int", 1,
     BYTES(KEY_K U32("\11") U32("\10") U64("\1") "\0\0\0\200\0\0\0\0"
                                                 "a"),
     0, BYTES(""), 0, "the text claims 2147483648 bytes, but only 1 follow"},
    {"an array beyond the file", 1, BYTES(KEY_K U32("\11") U32("\0") U64("\4") "abc"), 0, BYTES(""), 0,
     "the array claims 4 items (u8), but only 3 bytes follow"},
    {"an array whose size wraps", 1, BYTES(KEY_K U32("\11") U32("\12") "\0\0\0\0\0\0\0\40"), 0, BYTES(""), 0,
     "the array claims 2305843009213693952 items (u64)"},
    {"an array of -1 texts", 1, BYTES(KEY_K U32("\11") U32("\10") MINUS_64), 0, BYTES(""), 0, "items (str)"},
    {"an array of no type", 1, BYTES(KEY_K U32("\11") U32("\15") U64("\1") "\0"), 0, BYTES(""), 0, "unknown type 13"},
    {"deep arrays", 1,
     BYTES(KEY_K U32("\11") U32("\11") U64("\1") U32("\11") U64("\1") U32("\11") U64("\1") U32("\11") U64("\1")
               U32("\0") U64("\0")),
     0, BYTES(""), 0, "nested deeper than 4 levels"},
    {"arrays of many levels", 1, BYTES(KEY_K U32("\11") U32("\11") U64("\1") U32("\11") U64("\0")), 0, BYTES(""), 0,
     NULL},

    {"alignment 0", 1, BYTES(ALIGNMENT(U32("\4")) U32("\0")), 1, BYTES(GOOD_A), 5,
     "metadata general.alignment: is 0, not a power of two from 8 to 1048576"},
    {"alignment 1", 1, BYTES(ALIGNMENT(U32("\4")) U32("\1")), 1, BYTES(GOOD_A), 5, "is 1, not a power"},
    {"alignment 4", 1, BYTES(ALIGNMENT(U32("\4")) U32("\4")), 1, BYTES(GOOD_A), 5, "is 4, not a power"},
    {"alignment 24", 1, BYTES(ALIGNMENT(U32("\4")) U32("\30")), 1, BYTES(GOOD_A), 5, "is 24, not a power"},
    {"alignment 2^31", 1, BYTES(ALIGNMENT(U32("\4")) "\0\0\0\200"), 1, BYTES(GOOD_A), 5, "is 2147483648, not"},
    {"alignment 2^32-1", 1, BYTES(ALIGNMENT(U32("\4")) MINUS_32), 1, BYTES(GOOD_A), 5, "is 4294967295, not"},
    {"an alignment that is an int", 1, BYTES(ALIGNMENT(U32("\5")) U32("\40")), 1, BYTES(GOOD_A), 5,
     "is of type i32, not u32"},
    {"an alignment that is a text", 1, BYTES(ALIGNMENT(U32("\10")) U64("\2") "32"), 1, BYTES(GOOD_A), 5,
     "is of type str, not u32"},
    {"an alignment that is an array", 1, BYTES(ALIGNMENT(U32("\11")) U32("\4") U64("\1") U32("\40")), 1, BYTES(GOOD_A),
     5, "is of type array, not u32"},
    {"an alignment twice", 2, BYTES(ALIGNMENT(U32("\4")) U32("\40") ALIGNMENT(U32("\4")) U32("\40")), 1, BYTES(GOOD_A),
     5, "metadata general.alignment is there twice"},
    {"an alignment beyond the data", 1, BYTES(ALIGNMENT(U32("\4")) "\0\1\0\0"), 1, BYTES(GOOD_A), 5,
     "the tensors' data end at byte 261, but the file has only"},

    {"an empty name", 0, BYTES(""), 1, BYTES(U64("\0") ONE_DIM(U64("\5")) I8 U64("\0") "x"), 5,
     "tensor 1 of 1: the name is empty"},
    {"a name beyond the file", 0, BYTES(""), 1, BYTES(U64("\310") "a" ONE_DIM(U64("\5")) I8 U64("\0")), 5,
     "ends inside the name"},
    {"a name of -1 bytes", 0, BYTES(""), 1, BYTES(MINUS_64 "a" ONE_DIM(U64("\5")) I8 U64("\0")), 5,
     "the name claims 18446744073709551615 bytes, the most is 256"},
    {"a name that is not UTF-8", 0, BYTES(""), 1, BYTES(U64("\1") "\300" ONE_DIM(U64("\5")) I8 U64("\0")), 5,
     "the name is not UTF-8"},
    {"a name for terminals", 0, BYTES(""), 1, BYTES(U64("\1") "\33" ONE_DIM(U64("\5")) I8 U64("\0")), 5,
     "control character 0x1b"},
    {"a name with a zero byte", 0, BYTES(""), 1, BYTES(U64("\2") "a\0" ONE_DIM(U64("\5")) I8 U64("\0")), 5,
     "control character 0x00"},
    {"a name twice", 0, BYTES(""), 2, BYTES(GOOD_A NAME_A ONE_DIM(U64("\5")) I8 U64("\40")), 37,
     "tensor a is there twice"},

    {"five dimensions", 0, BYTES(""), 1,
     BYTES(NAME_A U32("\5") U64("\1") U64("\1") U64("\1") U64("\1") U64("\5") I8 U64("\0")), 5,
     "tensor a: has 5 dimensions, the most is 4"},
    {"-1 dimensions", 0, BYTES(""), 1, BYTES(NAME_A MINUS_32 U64("\5") I8 U64("\0")), 5, "has 4294967295 dimensions"},
    {"a shape beyond the file", 0, BYTES(""), 1, BYTES(NAME_A U32("\4") U64("\1") U64("\1")), 0,
     "ends inside its shape"},
    {"a negative dimension", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(MINUS_64) I8 U64("\0")), 5,
     "has a dimension of 18446744073709551615"},
    {"the smallest dimension", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM("\0\0\0\0\0\0\0\200") I8 U64("\0")), 5,
     "has a dimension of 9223372036854775808"},
    {"a product of 2^64", 0, BYTES(""), 1,
     BYTES(NAME_A U32("\2") "\0\0\0\0\1\0\0\0"
                            "\0\0\0\0\1\0\0\0" I8 U64("\0")),
     5, "tensor a: cannot be I8 [4294967296,4294967296]"},
    {"a product of 2^64 + 2^32", 0, BYTES(""), 1,
     BYTES(NAME_A U32("\2") "\0\0\0\0\1\0\0\0"
                            "\1\0\0\0\1\0\0\0" I8 U64("\0")),
     5, "cannot be I8"},
    {"a size in bytes of 2^64", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(HUGE_64) U32("\0") U64("\0")), 5,
     "cannot be F32 [4611686018427387904]"},
    {"an overflow hidden by a zero", 0, BYTES(""), 1, BYTES(NAME_A U32("\3") HUGE_64 HUGE_64 U64("\0") I8 U64("\0")), 0,
     "cannot be I8 [0,4611686018427387904"},
    {"empty in the innermost dimension", 0, BYTES(""), 2,
     BYTES(NAME_A U32("\2") U64("\0") U64("\3") I8 U64("\0") NAME_B ONE_DIM(U64("\1")) I8 U64("\0")), 1, NULL},
    {"no dimensions", 0, BYTES(""), 1, BYTES(NAME_A U32("\0") I8 U64("\0")), 1, NULL},
    {"a block without dimensions", 0, BYTES(""), 1, BYTES(NAME_A U32("\0") U32("\10") U64("\0")), 34,
     "tensor a: cannot be Q8_0 []"},
    {"half a block", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(U64("\20")) U32("\10") U64("\0")), 34,
     "cannot be Q8_0 [16]"},
    {"blocks across rows", 0, BYTES(""), 1, BYTES(NAME_A U32("\2") U64("\20") U64("\2") U32("\10") U64("\0")), 34,
     "cannot be Q8_0 [2,16]"},

    {"no type", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(U64("\5")) U32("\53") U64("\0")), 5, "of the unknown type 43"},
    {"type -1", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(U64("\5")) MINUS_32 U64("\0")), 5, "unknown type 4294967295"},
    {"type 2^31", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(U64("\5")) "\0\0\0\200" U64("\0")), 5,
     "unknown type 2147483648"},

    {"an offset that is not 0", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(U64("\5")) I8 U64("\40")), 37,
     "tensor a: begins at byte 32 of the data, but the tensor before it ends at 0, padded 0"},
    {"an offset of -1", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(U64("\5")) I8 MINUS_64), 5,
     "begins at byte 18446744073709551615"},
    {"an offset off the alignment", 0, BYTES(""), 2, BYTES(GOOD_A NAME_B ONE_DIM(U64("\5")) I8 U64("\10")), 13,
     "tensor b: begins at byte 8 of the data, but the tensor before it ends at 5, padded 32"},
    {"shared data", 0, BYTES(""), 2, BYTES(GOOD_A NAME_B ONE_DIM(U64("\5")) I8 U64("\0")), 5, "b: begins at byte 0"},
    {"a hole", 0, BYTES(""), 2, BYTES(GOOD_A NAME_B ONE_DIM(U64("\5")) I8 U64("\100")), 69, "b: begins at byte 64"},
    {"another order", 0, BYTES(""), 2, BYTES(NAME_B ONE_DIM(U64("\5")) I8 U64("\40") GOOD_A), 37,
     "b: begins at byte 32"},
    {"more data than the file has", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM(U64("\6")) I8 U64("\0")), 5,
     "data end at byte 70, but the file has only 69"},
    {"far more data than the file has", 0, BYTES(""), 1, BYTES(NAME_A ONE_DIM("\0\0\0\0\20\0\0\0") I8 U64("\0")), 5,
     "tensor a: has 68719476736 bytes from byte 0 of the data on, but the file has only 69"},
    {"sizes whose sum wraps", 0, BYTES(""), 2,
     BYTES(NAME_A ONE_DIM("\340\377\377\377\377\377\177\0") I8 U64("\0")
               NAME_B ONE_DIM("\340\377\377\377\377\377\177\0") I8 "\340\377\377\377\377\377\177\0"),
     5, "tensor a: has 36028797018963936 bytes"},
    {"no data at all", 0, BYTES(""), 1, BYTES(GOOD_A), 0, "but the file has only 64"},
    {"data of nobody", 0, BYTES(""), 1, BYTES(GOOD_A), 33, "padding end at byte 96, but the file has 97"},
    {"data without tensors", 1, BYTES(KEY_K U32("\0") "\5"), 0, BYTES(""), 27,
     "padding end at byte 64, but the file has 91"},

    {"originals that are a number", 1, BYTES(U64("\16") "linnet.tensors" U32("\0") "\1"), 1, BYTES(GOOD_A), 5,
     "metadata linnet.tensors: is of type u8, not str"},
    {"originals twice", 2, BYTES(ORIGINALS("\2", "{}") ORIGINALS("\2", "{}")), 1, BYTES(GOOD_A), 5, "is there twice"},
};

static void test_hand_made(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof hand_made / sizeof *hand_made; i++) {
    gguf_build b = {.version = 3, .alignment = 32};
    size_t size;
    metadata_put(&b.pairs, hand_made[i].pairs, hand_made[i].pairs_size);
    metadata_put(&b.table, hand_made[i].table, hand_made[i].table_size);
    b.n_pairs = hand_made[i].n_pairs;
    b.n_tensors = hand_made[i].n_tensors;
    if (hand_made[i].data) { /* zeros, where data would begin */
      while ((24 + b.pairs.size + b.table.size) % 32) metadata_put(&b.table, "", 1);
      for (size_t k = 0; k < hand_made[i].data; k++) metadata_put(&b.data, "", 1);
    }
    uint8_t *bytes = gguf_build_finish(&b, &size);
    expect(bytes, size, hand_made[i].what, hand_made[i].words);
    free(bytes);
  }
}

/* What GGUF_ORIGINALS may not say about a file with the I8 tensors a and b of five elements each. */
static const struct {
  const char *what, *json, *words;
} originals[] = {
    {"no JSON", "{", "metadata linnet.tensors: the text is not valid JSON: "},
    {"nothing", "", "is not valid JSON: "},
    {"a list", "[]", "metadata linnet.tensors: is not a JSON object"},
    {"no originals", "{}", NULL},
    {"one that is a number", "{\"a\":1}", "tensor a: its entry in linnet.tensors: is not an object"},
    {"one of nothing", "{\"c\":{}}", "linnet.tensors tells of 1 tensors that are not there"},
    {"one that is there twice", "{\"a\":{},\"a\":{}}", "is not valid JSON: duplicate"},
    {"an unknown member", "{\"a\":{\"x\":1}}", "its x is none"},
    {"an empty name", "{\"a\":{\"name\":\"\"}}", "a tensor has an empty name"},
    {"a name that is a number", "{\"a\":{\"name\":1}}", "its name is none"},
    {"a name with a zero byte", "{\"a\":{\"name\":\"\\u0000\"}}", "is not valid JSON: "},
    {"a name for terminals", "{\"a\":{\"name\":\"\\u001b\"}}", "control character 0x1b"},
    {"a name that another has", "{\"a\":{\"name\":\"b\"}}", "tensor b is there twice"},
    {"names in exchange", "{\"a\":{\"name\":\"b\"},\"b\":{\"name\":\"a\"}}", NULL},
    {"another size", "{\"a\":{\"shape\":[4]}}", "would have 4 bytes, but 5 are there"},
    {"the same size", "{\"a\":{\"shape\":[1,5,1]},\"b\":{\"dtype\":\"U8\"}}", NULL},
    {"a wider type", "{\"a\":{\"dtype\":\"F32\"}}", "would have 20 bytes, but 5 are there"},
    {"no type", "{\"a\":{\"dtype\":\"F9\"}}", "its dtype is none"},
    {"a type that is a number", "{\"a\":{\"dtype\":24}}", "its dtype is none"},
    {"a shape that is a number", "{\"a\":{\"shape\":5}}", "has no shape"},
    {"a negative dimension", "{\"a\":{\"shape\":[-5]}}", "whole number from 0 up"},
    {"a broken dimension", "{\"a\":{\"shape\":[5.0]}}", "whole number from 0 up"},
    {"nine dimensions", "{\"a\":{\"shape\":[1,1,1,1,1,1,1,1,5]}}", "has 9 dimensions, the most is 8"},
    {"a product that wraps", "{\"a\":{\"shape\":[4294967296,4294967296,5]}}", "cannot be I8 [4294967296,4294967296,5]"},
    {"half a block", "{\"a\":{\"dtype\":\"Q8_0\"}}", "cannot be Q8_0 [5]"},
};

static void test_originals(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof originals / sizeof *originals; i++) {
    gguf_build b = {.version = 3, .alignment = 32};
    size_t size;
    gguf_build_text(&b, GGUF_ORIGINALS, originals[i].json);
    gguf_build_tensor(&b, "a", 24, 1, (int64_t[]){5}, "aaaaa", 5);
    gguf_build_tensor(&b, "b", 24, 1, (int64_t[]){5}, "bbbbb", 5);
    uint8_t *bytes = gguf_build_finish(&b, &size);
    expect(bytes, size, originals[i].what, originals[i].words);
    free(bytes);
  }
}

/* What an interleaved tensor may be: of those types and shapes, in an aligned file, with no other type or shape behind
 * it, and not under one of llama.cpp's names. */
static void test_interleaved(void **state) {
  (void)state;
  static const struct {
    const char *what;
    uint32_t type;
    int n_dims;
    int64_t dim[3]; /* innermost first */
    size_t alignment, bytes;
    const char *architecture, *originals, *words;
  } cases[] = {
      {"BF16", GGUF_INTERLEAVED + 30, 2, {2, 16}, 64, 64, "bird", NULL, NULL},
      {"Q8_0", GGUF_INTERLEAVED + 8, 2, {32, 32}, 128, 32 * 34, "bird", NULL, NULL},
      {"another name", GGUF_INTERLEAVED + 1, 2, {2, 16}, 64, 64, "bird", "{\"a\":{\"name\":\"b\"}}", NULL},
      {"F32", GGUF_INTERLEAVED, 2, {1, 16}, 64, 64, "bird", NULL, "cannot be interleaved F32 [16,1]"},
      {"I8", GGUF_INTERLEAVED + 24, 2, {4, 16}, 64, 64, "bird", NULL, "cannot be interleaved I8 [16,4]"},
      {"a type that is not read", GGUF_INTERLEAVED + 10, 2, {256, 16}, 64, 64, "bird", NULL, "unknown type 1280180234"},
      {"no type of ggml's", GGUF_INTERLEAVED + 99, 2, {2, 16}, 64, 64, "bird", NULL, "unknown type 1280180323"},
      {"a number below", GGUF_INTERLEAVED - 1, 2, {2, 16}, 64, 64, "bird", NULL, "unknown type 1280180223"},
      {"rows that fill no panel", GGUF_INTERLEAVED + 30, 2, {4, 8}, 64, 64, "bird", NULL, "cannot be interleaved BF16"},
      {"odd columns", GGUF_INTERLEAVED + 30, 2, {1, 32}, 64, 64, "bird", NULL, "cannot be interleaved BF16 [32,1]"},
      {"half a block", GGUF_INTERLEAVED + 8, 2, {16, 16}, 64, 272, "bird", NULL, "cannot be Q8_0 [16,16]"},
      {"one dimension", GGUF_INTERLEAVED + 30, 1, {32}, 64, 64, "bird", NULL, "cannot be interleaved BF16 [32]"},
      {"three dimensions", GGUF_INTERLEAVED + 30, 3, {2, 16, 1}, 64, 64, "bird", NULL, "interleaved BF16 [1,16,2]"},
      {"nothing", GGUF_INTERLEAVED + 30, 2, {0, 16}, 64, 0, "bird", NULL, "cannot be interleaved BF16 [16,0]"},
      {"a panel beyond bounds", GGUF_INTERLEAVED + 30, 2, {1 << 20, 16}, 64, 64, "bird", NULL, "cannot be interleaved"},
      {"data askew", GGUF_INTERLEAVED + 30, 2, {2, 16}, 32, 64, "bird", NULL, "aligned to 32 bytes instead of 64"},
      {"another type",
       GGUF_INTERLEAVED + 30,
       2,
       {2, 16},
       64,
       64,
       "bird",
       "{\"a\":{\"dtype\":\"F16\"}}",
       "it is interleaved, and cannot have another dtype"},
      {"another shape",
       GGUF_INTERLEAVED + 30,
       2,
       {2, 16},
       64,
       64,
       "bird",
       "{\"a\":{\"shape\":[32]}}",
       "it is interleaved, and cannot have another shape"},
      {"data that are cut short", GGUF_INTERLEAVED + 30, 2, {2, 16}, 64, 63, "bird", NULL, "is it cut short?"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    static const uint8_t zeros[32 * 34];
    gguf_build b = {.version = 3, .alignment = cases[i].alignment};
    size_t size;
    gguf_build_number(&b, GGUF_ALIGNMENT_KEY, METADATA_U32, cases[i].alignment);
    gguf_build_text(&b, "general.architecture", cases[i].architecture);
    if (cases[i].originals) gguf_build_text(&b, GGUF_ORIGINALS, cases[i].originals);
    gguf_build_tensor(&b, "a", cases[i].type, cases[i].n_dims, cases[i].dim, zeros, cases[i].bytes);
    uint8_t *bytes = gguf_build_finish(&b, &size);
    expect(bytes, size, cases[i].what, cases[i].words);
    free(bytes);
  }
}

/* llama.cpp's layout turns matrices, which cannot be done to interleaved ones. */
static void test_interleaved_layout(void **state) {
  (void)state;
  static const uint8_t zeros[64];
  gguf_build b = {.version = 3, .alignment = 64};
  size_t size;
  gguf_build_number(&b, GGUF_ALIGNMENT_KEY, METADATA_U32, 64);
  gguf_build_text(&b, "general.architecture", "rwkv6");
  gguf_build_number(&b, "rwkv6.wkv.head_size", METADATA_U32, 2);
  gguf_build_number(&b, "rwkv6.rescale_every_n_layers", METADATA_U32, 0);
  gguf_build_tensor(&b, "token_embd.weight", GGUF_INTERLEAVED + 30, 2, (int64_t[]){2, 16}, zeros, 64);
  uint8_t *bytes = gguf_build_finish(&b, &size);
  expect(bytes, size, "an interleaved table", "tensor token_embd.weight is interleaved, which a file in llama.cpp's");
  free(bytes);
}

static void test_versions(void **state) {
  (void)state;
  static const struct {
    uint32_t version;
    const char *words;
  } cases[] = {{0, "is of GGUF version 0; this version reads 2 and 3"},
               {1, "is of GGUF version 1"},
               {4, "is of GGUF version 4"},
               {UINT32_MAX, "is of GGUF version 4294967295"},
               {0x03000000, "of a big-endian machine"},
               {0x02000000, "of a big-endian machine"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    gguf_build b = {.version = cases[i].version, .alignment = 32};
    size_t size;
    gguf_build_tensor(&b, "a", 24, 1, (int64_t[]){3}, "abc", 3);
    uint8_t *bytes = gguf_build_finish(&b, &size);
    expect_refused(bytes, size, cases[i].words, cases[i].words);
    free(bytes);
  }
}

/* Types that ggml has or had are refused by their names. */
static void test_types_not_read(void **state) {
  (void)state;
  int refused = 0;
  checkpoint_dtype dtype;
  for (uint32_t i = 0; gguf_type_name(i); i++) {
    gguf_build b = {.version = 3, .alignment = 32};
    size_t size;
    char words[64];
    if (gguf_type_parse(i, &dtype)) continue;
    gguf_build_tensor(&b, "a", i, 1, (int64_t[]){256}, "abc", 3);
    uint8_t *bytes = gguf_build_finish(&b, &size);
    snprintf(words, sizeof words, "tensor a: has type %s; this version reads F64", gguf_type_name(i));
    expect_refused(bytes, size, words, words);
    assert_int_equal(last_status(), STATUS_UNSUPPORTED);
    free(bytes);
    refused++;
  }
  assert_int_equal(refused, 27);
}

/* Long names and keys, good and too long: sentences stay short. */
static void test_long_names(void **state) {
  (void)state;
  static char name[70000];
  static const struct {
    size_t key, name;
    const char *words;
  } cases[] = {{65535, 256, NULL},
               {65536, 256, "the key claims 65536 bytes, the most is 65535"},
               {10, 257, "the name claims 257 bytes, the most is 256"}};
  for (size_t i = 0; i < 3; i++) {
    gguf_build b = {.version = 3, .alignment = 32};
    size_t size;
    memset(name, 'k', sizeof name);
    name[cases[i].key] = 0;
    gguf_build_number(&b, name, METADATA_U8, 1);
    name[cases[i].key] = 'k';
    name[cases[i].name] = 0;
    gguf_build_tensor(&b, name, 24, 1, (int64_t[]){3}, "abc", 3);
    uint8_t *bytes = gguf_build_finish(&b, &size);
    expect(bytes, size, "a long name", cases[i].words);
    free(bytes);
  }
  gguf_build b = {.version = 3, .alignment = 32}; /* a long key in a sentence */
  size_t size;
  memset(name, 'k', 60000);
  name[60000] = 0;
  gguf_build_number(&b, name, METADATA_BOOL, 3);
  uint8_t *bytes = gguf_build_finish(&b, &size);
  expect_refused(bytes, size, "a long key", "the bool is 3");
  free(bytes);
}

/* More than the caps, in files that are large enough for it. */
static void test_counts(void **state) {
  (void)state;
  size_t size = 9 << 20;
  uint8_t *bytes = calloc(size, 1);
  assert_non_null(bytes);
  memcpy(bytes, "GGUF\3", 5);
  memcpy(bytes + 16, "\1\0\1", 3);
  expect_refused(bytes, size, "many keys", "claims 65537 metadata keys in 9437160 bytes; the most is 65536");
  memcpy(bytes + 16, "\0\0\0", 3);
  memcpy(bytes + 8, "\1\0\4", 3);
  expect_refused(bytes, size, "many tensors", "claims 262145 tensors in 9437160 bytes; the most is 262144");
  free(bytes);
  gguf_build b = {.version = 3, .alignment = 32}; /* and JSON that would cost a parser far more memory than its bytes */
  char *json = malloc(GGUF_ORIGINALS_MAX + 2);
  assert_non_null(json);
  memset(json, ' ', GGUF_ORIGINALS_MAX + 1);
  json[GGUF_ORIGINALS_MAX + 1] = 0;
  gguf_build_text(&b, GGUF_ORIGINALS, json);
  bytes = gguf_build_finish(&b, &size);
  expect_refused(bytes, size, "long originals", "linnet.tensors: has 4194305 bytes, the most is 4194304");
  free(bytes);
  free(json);
}

/* The vocabulary as another type than texts (arrays taken for what they are not): the reader of it is told so. */
static void test_array_of_another_type(void **state) {
  (void)state;
  gguf_build b = {.version = 3, .alignment = 32};
  metadata_bytes tokens = {0};
  metadata_put_array(&tokens, METADATA_U64, 2);
  metadata_put_number(&tokens, UINT64_MAX, 8);
  metadata_put_number(&tokens, 0x4141414141414141, 8);
  gguf_build_pair(&b, "tokenizer.ggml.tokens", METADATA_ARRAY, tokens.bytes, tokens.size);
  gguf_build_number(&b, "tokenizer.ggml.scores", METADATA_U32, 7);
  free(tokens.bytes);
  size_t size, count;
  uint8_t *bytes = gguf_build_finish(&b, &size), *block;
  checkpoint *c = parse_exactly(bytes, size, &block);
  assert_non_null(c);
  metadata_cursor at = metadata_items(&checkpoint_metadata_find(c, "tokenizer.ggml.tokens")->value);
  metadata_value item;
  const char *text;
  metadata_type type;
  int items = 0;
  for (; metadata_next(&at, &item); items++) assert_false(metadata_text(&item, &text, &count));
  assert_int_equal(items, 2);
  const metadata_value *scores = &checkpoint_metadata_find(c, "tokenizer.ggml.scores")->value;
  assert_false(metadata_array(scores, &type, &count));
  at = metadata_items(scores);
  assert_false(metadata_next(&at, &item));
  assert_null(checkpoint_metadata(c, "tokenizer.ggml.scores"));
  checkpoint_close(c);
  free(block);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_truncated_everywhere),
      cmocka_unit_test(test_every_bit),
      cmocka_unit_test(test_hand_made),
      cmocka_unit_test(test_originals),
      cmocka_unit_test(test_interleaved),
      cmocka_unit_test(test_interleaved_layout),
      cmocka_unit_test(test_versions),
      cmocka_unit_test(test_types_not_read),
      cmocka_unit_test(test_long_names),
      cmocka_unit_test(test_counts),
      cmocka_unit_test(test_array_of_another_type),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
