/* Damaged and hand-made files: every one gives one clear sentence or the same tensors, never a crash (run under ASan).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/scratch.h"
#include "tests/support/weights_check.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static void expect_refused(checkpoint *c, const char *what, const char *name, const char *words) {
  if (c) fail_msg("%s was accepted", what);
  if (!strstr(last_error(), words)) fail_msg("%s: \"%s\" does not say \"%s\"", what, last_error(), words);
  if (!strstr(last_error(), name)) fail_msg("%s: \"%s\" does not name the file", what, last_error());
}

/* A good small file with metadata, an empty tensor and several types. */
static char *good_file(void **state, size_t *size) {
  char *path = scratch_path(state, "good");
  writer *w = writer_into(path, SAFETENSORS);
  writer_string(w, "family", "rwkv6");
  writer_declare(w, "emb", CHECKPOINT_F32, 2, (int64_t[]){2, 3});
  writer_declare(w, "none", CHECKPOINT_I64, 1, (int64_t[]){0});
  writer_declare(w, "head", CHECKPOINT_BF16, 1, (int64_t[]){5});
  writer_put_f32(w, "emb", (float[]){1, 2, 3, 4, 5, 6}, 6);
  writer_put_f32(w, "head", (float[]){1, 2, 3, 4, 5}, 5);
  assert_int_equal(writer_finish(w), STATUS_OK);
  char *bytes = scratch_read(path, size);
  free(path);
  return bytes;
}

/* The bytes in a block of exactly their size, so that reading past them is seen. */
static checkpoint *parse_exactly(const char *bytes, size_t size, char **block) {
  *block = malloc(size ? size : 1);
  assert_non_null(*block);
  memcpy(*block, bytes, size);
  return checkpoint_parse(*block, size, "memory");
}

static void test_truncated_everywhere(void **state) {
  size_t size;
  char *bytes = good_file(state, &size), *path = scratch_path(state, "short"), *block;
  for (size_t n = 0; n < size; n++) {
    expect_refused(parse_exactly(bytes, n, &block), "a truncated file", "memory", " ");
    assert_int_equal(last_status(), STATUS_FORMAT);
    free(block);
    scratch_write(path, bytes, n);
    expect_refused(checkpoint_open(path), "a truncated file", path, n ? " " : "is empty");
  }
  checkpoint *c = parse_exactly(bytes, size, &block);
  assert_non_null(c);
  checkpoint_close(c);
  free(block);
  char *longer = malloc(size + 1);
  assert_non_null(longer);
  memcpy(longer, bytes, size);
  longer[size] = 0;
  expect_refused(parse_exactly(longer, size + 1, &block), "a byte too many", "memory", "but it has");
  free(block);
  free(longer);
  free(path);
  free(bytes);
}

/* Nothing in the format protects the letters of names and metadata, nor the dimensions of an empty tensor; everything
 * else must be an error or the same tensor. Returns how many names differ. */
static int compare_tensors(const checkpoint *a, const checkpoint *b) {
  int renamed = 0;
  assert_int_equal(checkpoint_count(a), checkpoint_count(b));
  for (size_t i = 0; i < checkpoint_count(a); i++) {
    const checkpoint_tensor *s = checkpoint_at(a, i), *t = checkpoint_at(b, i);
    renamed += strcmp(s->name, t->name) != 0;
    assert_int_equal(s->dtype, t->dtype);
    assert_int_equal(s->n_dims, t->n_dims);
    assert_int_equal(s->bytes, t->bytes);
    assert_memory_equal(s->dim, t->dim, sizeof s->dim);
    if (s->bytes) assert_memory_equal(s->data, t->data, s->bytes);
  }
  return renamed;
}

static void test_every_bit_of_the_header(void **state) {
  size_t size;
  char *bytes = good_file(state, &size), *block, *whole_block;
  const size_t header = 8 + (size_t)(unsigned char)bytes[0] + 256 * (size_t)(unsigned char)bytes[1];
  checkpoint *whole = parse_exactly(bytes, size, &whole_block);
  assert_non_null(whole);
  int accepted = 0, refused = 0;
  for (size_t bit = 0; bit < 8 * header; bit++) {
    bytes[bit / 8] ^= (char)(1 << bit % 8);
    checkpoint *c = parse_exactly(bytes, size, &block);
    bytes[bit / 8] ^= (char)(1 << bit % 8);
    if (c) {
      accepted++;
      assert_true(compare_tensors(whole, c) <= 1);
    } else {
      refused++;
      assert_true(strlen(last_error()) > 10);
    }
    checkpoint_close(c);
    free(block);
  }
  assert_true(accepted > 0 && refused > accepted); /* the letters of names, and all the rest */
  checkpoint_close(whole);
  free(whole_block);
  free(bytes);
}

/* A header and that many bytes of data. `claim` replaces the header's length if not 0. */
static checkpoint *parse_header(const char *header, size_t length, size_t data, uint64_t claim, char **block) {
  if (!claim) claim = length;
  *block = calloc(8 + length + data, 1);
  assert_non_null(*block);
  for (int i = 0; i < 8; i++) (*block)[i] = (char)(claim >> 8 * i);
  memcpy(*block + 8, header, length);
  return checkpoint_parse(*block, 8 + length + data, "memory");
}

#define F32_2(begin, end) "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" begin "," end "]}"
#define F32_SHAPE(shape) "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[0,8]}}"
#define OFFSETS(offsets) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" offsets "}}"
static const struct {
  const char *what, *header;
  size_t data;
  const char *words; /* of the error; NULL if the file is good */
} hand_made[] = {
    {"a plain file", "{\"a\":" F32_2("0", "8") "}", 8, NULL},
    {"tensors in another order than their data", "{\"b\":" F32_2("8", "16") ",\"a\":" F32_2("0", "8") "}", 16, NULL},
    {"padding after the header", "{\"a\":" F32_2("0", "8") "}   \n", 8, NULL},
    {"overlap", "{\"a\":" F32_2("0", "8") ",\"b\":" F32_2("4", "12") "}", 12,
     "b begins at byte 4 of the data, inside tensor a"},
    {"shared data", "{\"a\":" F32_2("0", "8") ",\"b\":" F32_2("0", "8") "}", 8, "inside tensor"},
    {"a hole", "{\"a\":" F32_2("0", "8") ",\"b\":" F32_2("12", "20") "}", 20,
     "bytes 8 to 12 of the data, before tensor b"},
    {"a hole at the start", "{\"a\":" F32_2("4", "12") "}", 12, "bytes 0 to 4 of the data, before tensor a"},
    {"data of nobody", "{\"a\":" F32_2("0", "8") "}", 9, "end at byte 8 of the data, but it has 9"},
    {"data without tensors", "{}", 1, "end at byte 0 of the data, but it has 1"},
    {"an empty tensor inside another",
     "{\"a\":" F32_2("0", "8") ",\"b\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[4,4]}}", 8, "inside tensor a"},
    {"an end beyond the file", "{\"a\":" F32_2("0", "8") "}", 7,
     "tensor a: ends at byte 8 of the data, which has only 7"},
    {"offsets backwards", OFFSETS("[8,0]"), 8, "data_offsets"},
    {"negative offsets", OFFSETS("[-8,0]"), 8, "data_offsets"},
    {"one offset", OFFSETS("[8]"), 8, "data_offsets"},
    {"three offsets", OFFSETS("[0,8,8]"), 8, "data_offsets"},
    {"offsets as text", OFFSETS("[\"0\",\"8\"]"), 8, "data_offsets"},
    {"offsets with fractions", OFFSETS("[0.0,8.0]"), 8, "data_offsets"},
    {"offsets that are no list", OFFSETS("8"), 8, "data_offsets"},
    {"an offset beyond 64 bits", OFFSETS("[0,18446744073709551624]"), 8, "not valid JSON"},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets"},
    {"a wrong shape", F32_SHAPE("[3]"), 8, "tensor a: is F32 [3] = 12 bytes, but its data_offsets span 8"},
    {"a negative dimension", F32_SHAPE("[-2]"), 8, "dimension"},
    {"two negative dimensions", F32_SHAPE("[-1,-2]"), 8, "dimension"},
    {"a dimension with a fraction", F32_SHAPE("[2.0]"), 8, "dimension"},
    {"a dimension as text", F32_SHAPE("[\"2\"]"), 8, "dimension"},
    {"an overflowing shape", F32_SHAPE("[4611686018427387906]"), 8, "impossible shape [4611686018427387906]"},
    {"a shape beyond any address", F32_SHAPE("[2305843009213693953]"), 8, "impossible shape"},
    {"an overflowing product", F32_SHAPE("[4294967296,4294967296,2]"), 8, "impossible shape"},
    {"an overflow hidden by a zero",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "impossible shape"},
    {"nine dimensions", F32_SHAPE("[1,1,1,1,1,1,1,1,2]"), 8, "has 9 dimensions, the most is 8"},
    {"a shape that is no list", F32_SHAPE("2"), 8, "has no shape"},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "has no shape"},
    {"no dtype", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "has no dtype"},
    {"an unknown dtype", "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8,
     "tensor a: type F8_E4M3 is not read by this version"},
    {"a dtype for terminals", "{\"a\":{\"dtype\":\"\\u001b[2J\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8,
     "type ?[2J is not read"},
    {"a block type", "{\"a\":{\"dtype\":\"Q8_0\",\"shape\":[32],\"data_offsets\":[0,34]}}", 34,
     "type Q8_0 is not read"},
    {"an entry too many", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"c\":1}}", 8,
     "entries beside"},
    {"a tensor that is a number", "{\"a\":1}", 0, "tensor a: is not described by an object"},
    {"a duplicate name", "{\"a\":" F32_2("0", "8") ",\"a\":" F32_2("8", "16") "}", 16, "duplicate"},
    {"a duplicate in disguise", "{\"a\":" F32_2("0", "8") ",\"\\u0061\":" F32_2("8", "16") "}", 16, "duplicate"},
    {"a duplicate key", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
     "duplicate"},
    {"an empty name", "{\"\":" F32_2("0", "8") "}", 8, "empty name"},
    {"a name for terminals", "{\"\\u001b]0;x\\u0007\":" F32_2("0", "8") "}", 8, "control character 0x1b"},
    {"a name with a zero byte", "{\"a\\u0000b\":" F32_2("0", "8") "}", 8, "not valid JSON"},
    {"a name that is not UTF-8", "{\"\xff\":" F32_2("0", "8") "}", 8, "not valid JSON: unable to decode byte 0xff"},
    {"an overlong UTF-8 name", "{\"\xc0\xaf\":" F32_2("0", "8") "}", 8, "not valid JSON"},
    {"half a surrogate pair", "{\"\\ud800\":" F32_2("0", "8") "}", 8, "not valid JSON"},
    {"metadata that is a list", "{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
    {"metadata with a number", "{\"__metadata__\":{\"a\":1}}", 0, "not a string"},
    {"deep nesting", "{\"a\":{\"shape\":[[[[]]]]}}", 0, "nested deeper than 3"},
    {"something after the JSON", "{} {}", 0, "not valid JSON"},
    {"JSON that breaks off", "{\"a\":", 0, "not valid JSON"},
    {"no opening brace", " {}", 0, "of no known kind"},
};

static void test_hand_made(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof hand_made / sizeof *hand_made; i++) {
    char *block;
    checkpoint *c = parse_header(hand_made[i].header, strlen(hand_made[i].header), hand_made[i].data, 0, &block);
    if (hand_made[i].words)
      expect_refused(c, hand_made[i].what, "memory: ", hand_made[i].words);
    else if (!c)
      fail_msg("%s: %s", hand_made[i].what, last_error());
    checkpoint_close(c);
    free(block);
  }
}

/* Order is that of the data, whatever the header's; empty tensors may share a border. */
static void test_order_and_empty(void **state) {
  (void)state;
  const char header[] =
      "{\"z\":" F32_2("8", "16") ",\"y\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[8,8]},\"x\":"
                                 "{\"dtype\":\"I8\",\"shape\":[2,0],\"data_offsets\":[8,8]},\"w\":" F32_2("0", "8") "}";
  const char *order[] = {"w", "y", "x", "z"};
  char *block;
  checkpoint *c = parse_header(header, strlen(header), 16, 0, &block);
  assert_non_null(c);
  for (size_t i = 0; i < 4; i++) assert_string_equal(checkpoint_at(c, i)->name, order[i]);
  const checkpoint_tensor *x = checkpoint_find(c, "x");
  assert_int_equal(checkpoint_elements(x), 0);
  assert_int_equal(checkpoint_read_f32(c, x, NULL), STATUS_OK);
  int64_t index;
  assert_int_equal(checkpoint_first_nonfinite(c, x, &index), STATUS_OK);
  assert_int_equal(index, -1);
  checkpoint_close(c);
  free(block);
}

/* Lengths of headers that lie, and headers that would cost a parser far more memory than they have bytes. */
static void test_huge_headers(void **state) {
  (void)state;
  char *block;
  const char *wrong[] = {"claims 3 bytes, but only 2", "claims 100000000 bytes, but only 2",
                         "claims 100000001 bytes, the most is 100000000",
                         "claims 18446744073709551615 bytes, the most"};
  const uint64_t claims[] = {3, 100000000, 100000001, UINT64_MAX};
  for (int i = 0; i < 4; i++) {
    expect_refused(parse_header("{}", 2, 0, claims[i], &block), "a lying header", "memory", wrong[i]);
    free(block);
  }
  const size_t n = 9 << 20;
  char *header = malloc(n + 1);
  assert_non_null(header);
  memset(header, '[', n); /* a stack's worth of nesting */
  header[0] = '{';
  expect_refused(parse_header(header, n, 0, 0, &block), "nesting", "memory", "nested deeper");
  free(block);
  memcpy(header, "{\"a\":[", 6); /* millions of values in few bytes */
  for (size_t i = 6; i < n; i++) header[i] = i % 2 ? ',' : '1';
  expect_refused(parse_header(header, n, 0, 0, &block), "many values", "memory", "more than 4194304 values");
  free(block);
  memset(header, 'x', n); /* a name as long as the file */
  memcpy(header, "{\"", 2);
  memcpy(header + n - 4, "\":1}", 4);
  expect_refused(parse_header(header, n, 0, 0, &block), "a long name", "memory", "the most is 256");
  assert_true(strlen(last_error()) < 300);
  free(block);
  free(header);
}

#define BYTES(text) text, sizeof text - 1

static void test_other_kinds(void **state) {
  static const struct {
    const char *bytes;
    size_t size;
    const char *words;
  } kinds[] = {
      {BYTES("PK\5\6\0\0\0\0\0\0\0\0"), "is an empty zip file"},
      {BYTES("\200\2\212\nl\374\234F\371"), "is a PyTorch .pth of before 1.6"},
      {BYTES("\211PNG\r\n\32\n\0\0\0\rIHDR"), "is a picture (PNG)"},
      {BYTES("\377\330\377\340\0\20JFIF\0"), "is a picture (JPEG)"},
      {BYTES("RIFF\0\0\0\0WEBPVP8 "), "is a picture (WebP)"},
      {BYTES("<!DOCTYPE html><html>"), "is HTML or XML text"},
      {BYTES("\357\273\277 \n<?xml version"), "is HTML or XML text"},
      {BYTES("version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer"},
      {BYTES("{\"model\": 1}"), "is JSON text"},
      {BYTES("0123456 {\"json\": \"at the ninth byte\"}"), "is text"},
      {BYTES("A read me.\n"), "is text"},
      {BYTES("gr\303\274n und wei\303\237"), "is text"},
      {BYTES("\0\1\2"), "is too short"},
      {BYTES("\0\1\2\3\4\5\6\7\10\11\12"), "is of no known kind"},
      {BYTES(" \n"), "is blank text"},
  };
  char *path = scratch_path(state, "file");
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    scratch_write(path, kinds[i].bytes, kinds[i].size);
    expect_refused(checkpoint_open(path), kinds[i].words, path, kinds[i].words);
    assert_non_null(strstr(last_error(), "this version reads .gguf, .safetensors"));
    assert_int_equal(last_status(), STATUS_FORMAT);
  }
  scratch_write(path, "", 0);
  expect_refused(checkpoint_open(path), "an empty file", path, "is empty");
  expect_refused(checkpoint_parse("", 0, "memory"), "nothing", "memory", "is empty");
  free(path);
}

static void test_not_files(void **state) {
  char *missing = scratch_path(state, "missing"), *fifo = scratch_path(state, "fifo");
  expect_refused(checkpoint_open(missing), "a missing file", missing, "No such file");
  expect_refused(checkpoint_open(*state), "a folder", *state, "is a folder");
  assert_int_equal(mkfifo(fifo, 0600), 0);
  expect_refused(checkpoint_open(fifo), "a FIFO without a writer", fifo, "not a regular file");
  expect_refused(checkpoint_open("/dev/zero"), "a device", "/dev/zero", "not a regular file");
  assert_int_equal(last_status(), STATUS_IO);
  free(missing);
  free(fifo);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_truncated_everywhere),
      IN_SCRATCH(test_every_bit_of_the_header),
      cmocka_unit_test(test_hand_made),
      cmocka_unit_test(test_order_and_empty),
      cmocka_unit_test(test_huge_headers),
      IN_SCRATCH(test_other_kinds),
      IN_SCRATCH(test_not_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
