/* Checkpoints: what is written is what is read, byte for byte; values of every type; files of the official library. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/golden.h"
#include "tests/support/scratch.h"
#include "weights/checkpoint.h"
#include "weights/safetensors_write.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static void expect_error(status got, status code, const char *words) {
  assert_int_equal(got, code);
  assert_int_equal(last_status(), code);
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
}

/* A file with one tensor of every type, [3], first a byte so that all others lie askew; then a scalar, an empty one,
 * one with 8 dimensions. Data is a counter. */
enum { SPECIAL = 3, TENSORS = CHECKPOINT_DTYPES + SPECIAL };
typedef struct {
  char name[24];
  checkpoint_dtype dtype;
  int n_dims;
  int64_t dim[8];
} sample;

static void make_samples(sample s[TENSORS]) {
  for (int i = 0; i < CHECKPOINT_DTYPES; i++) {
    s[i] = (sample){"", (checkpoint_dtype)(CHECKPOINT_DTYPES - 1 - i), 1, {3}};
    snprintf(s[i].name, sizeof s[i].name, "blocks.%d.\u00e9\"\\", i);
  }
  s[CHECKPOINT_DTYPES] = (sample){"scalar", CHECKPOINT_F32, 0, {0}};
  s[CHECKPOINT_DTYPES + 1] = (sample){"empty", CHECKPOINT_BF16, 3, {4, 0, 5}};
  s[CHECKPOINT_DTYPES + 2] = (sample){"deep", CHECKPOINT_I16, 8, {1, 2, 1, 2, 1, 1, 2, 1}};
}

static size_t sample_bytes(const sample *s) {
  size_t bytes;
  assert_true(checkpoint_shape_bytes(s->dtype, s->n_dims, s->dim, &bytes));
  return bytes;
}

/* Data goes in pieces of `piece` bytes. */
static status write_samples(const char *path, size_t piece) {
  sample s[TENSORS];
  make_samples(s);
  safetensors_writer *w = safetensors_create(path);
  assert_non_null(w);
  safetensors_metadata(w, "family", "rwkv6");
  safetensors_metadata(w, "a key", "line\nbreak, \"quotes\" and \u20ac");
  for (int i = 0; i < TENSORS; i++) safetensors_declare(w, s[i].name, s[i].dtype, s[i].n_dims, s[i].dim);
  uint8_t counter = 1;
  for (int i = 0; i < TENSORS; i++)
    for (size_t left = sample_bytes(&s[i]), n; left; left -= n) {
      uint8_t data[64];
      n = left < piece ? left : piece;
      for (size_t k = 0; k < n; k++) data[k] = counter++;
      safetensors_put(w, s[i].name, data, n);
    }
  return safetensors_finish(w);
}

static void test_round_trip(void **state) {
  char *path = scratch_path(state, "model.safetensors");
  sample s[TENSORS];
  make_samples(s);
  assert_int_equal(write_samples(path, 5), STATUS_OK);
  checkpoint *c = checkpoint_open(path);
  assert_non_null(c);
  assert_string_equal(checkpoint_path(c), path);
  assert_string_equal(checkpoint_container(c), "safetensors");
  assert_int_equal(checkpoint_count(c), TENSORS);
  uint8_t counter = 1;
  for (int i = 0; i < TENSORS; i++) {
    const checkpoint_tensor *t = checkpoint_find(c, s[i].name);
    assert_non_null(t);
    assert_ptr_equal(t, checkpoint_at(c, (size_t)i));
    assert_int_equal(t->dtype, s[i].dtype);
    assert_int_equal(t->n_dims, s[i].n_dims);
    for (int d = 0; d < t->n_dims; d++) assert_int_equal(t->dim[d], s[i].dim[d]);
    assert_int_equal(t->bytes, sample_bytes(&s[i]));
    assert_int_equal(checkpoint_elements(t) * (int64_t)checkpoint_dtype_size(t->dtype), t->bytes);
    for (size_t k = 0; k < t->bytes; k++) assert_int_equal(((const uint8_t *)t->data)[k], counter++);
  }
  assert_null(checkpoint_at(c, TENSORS));
  assert_null(checkpoint_find(c, "head.weight"));
  expect_error(last_status(), STATUS_FORMAT, "no tensor head.weight");
  assert_int_equal(checkpoint_metadata_count(c), 2);
  assert_string_equal(checkpoint_metadata(c, "family"), "rwkv6");
  assert_string_equal(checkpoint_metadata(c, "a key"), "line\nbreak, \"quotes\" and \u20ac");
  assert_null(checkpoint_metadata(c, "version"));
  const char *key, *value;
  checkpoint_metadata_at(c, 1, &key, &value);
  assert_string_equal(key, "a key");
  checkpoint_close(c);
  checkpoint_close(NULL);
  free(path);
}

/* The same calls give the same file; so does writing what was read; pieces do not matter. */
static void test_same_bytes(void **state) {
  char *first = scratch_path(state, "1"), *second = scratch_path(state, "2");
  assert_int_equal(write_samples(first, 64), STATUS_OK);
  assert_int_equal(write_samples(second, 1), STATUS_OK);
  size_t n1, n2;
  char *bytes1 = scratch_read(first, &n1), *bytes2 = scratch_read(second, &n2);
  assert_int_equal(n1, n2);
  assert_memory_equal(bytes1, bytes2, n1);
  free(bytes2);

  checkpoint *c = checkpoint_open(first);
  assert_non_null(c);
  safetensors_writer *w = safetensors_create(second);
  assert_non_null(w);
  for (size_t i = 0; i < checkpoint_metadata_count(c); i++) {
    const char *key, *value;
    checkpoint_metadata_at(c, i, &key, &value);
    safetensors_metadata(w, key, value);
  }
  for (size_t i = 0; i < checkpoint_count(c); i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    safetensors_declare(w, t->name, t->dtype, t->n_dims, t->dim);
  }
  for (size_t i = 0; i < checkpoint_count(c); i++)
    safetensors_put(w, checkpoint_at(c, i)->name, checkpoint_at(c, i)->data, checkpoint_at(c, i)->bytes);
  assert_int_equal(safetensors_finish(w), STATUS_OK);
  checkpoint_close(c);
  bytes2 = scratch_read(second, &n2);
  assert_int_equal(n1, n2);
  assert_memory_equal(bytes1, bytes2, n1);
  free(bytes1);
  free(bytes2);
  free(first);
  free(second);
}

/* The exact file, as the format's description wants it. */
static void test_layout(void **state) {
  char *path = scratch_path(state, "file");
  safetensors_writer *w = safetensors_create(path);
  assert_non_null(w);
  safetensors_declare(w, "a", CHECKPOINT_F32, 2, (int64_t[]){1, 2});
  safetensors_declare(w, "b", CHECKPOINT_U8, 1, (int64_t[]){1});
  safetensors_metadata(w, "k", "v");
  safetensors_put_f32(w, "a", (float[]){1, -2}, 2);
  safetensors_put(w, "b", "\x07", 1);
  assert_int_equal(safetensors_finish(w), STATUS_OK);
  const char header[] =
      "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}}";
  const size_t length = strlen(header), padded = (length + 7) / 8 * 8;
  size_t size;
  char *bytes = scratch_read(path, &size);
  assert_int_equal(size, 8 + padded + 9);
  assert_memory_equal(bytes, ((uint8_t[]){(uint8_t)padded, 0, 0, 0, 0, 0, 0, 0}), 8);
  assert_memory_equal(bytes + 8, header, length);
  for (size_t i = length; i < padded; i++) assert_int_equal(bytes[8 + i], ' ');
  assert_memory_equal(bytes + 8 + padded, "\0\0\x80\x3f\0\0\0\xc0\x07", 9);
  free(bytes);

  w = safetensors_create(path); /* nothing at all is a file too */
  assert_int_equal(safetensors_finish(w), STATUS_OK);
  bytes = scratch_read(path, &size);
  assert_int_equal(size, 16);
  assert_memory_equal(bytes, "\x08\0\0\0\0\0\0\0{}      ", 16);
  checkpoint *c = checkpoint_open(path);
  assert_non_null(c);
  assert_int_equal(checkpoint_count(c), 0);
  assert_null(checkpoint_find(c, "a"));
  checkpoint_close(c);
  free(bytes);
  free(path);
}

static void test_narrowing_writer(void **state) {
  enum { N = 10000 };
  static float values[N], found[N];
  char *path = scratch_path(state, "file");
  for (int i = 0; i < N; i++) values[i] = (float)(i - 5000); /* |x| <= 5000 needs 13 bits */
  safetensors_writer *w = safetensors_create(path);
  assert_non_null(w);
  const checkpoint_dtype types[] = {CHECKPOINT_F32, CHECKPOINT_F16, CHECKPOINT_BF16};
  const double steps[] = {0, 0x1p-11, 0x1p-8};
  for (int i = 0; i < 3; i++) safetensors_declare(w, (char[]){(char)('a' + i), 0}, types[i], 1, (int64_t[]){N});
  for (int i = 0; i < 3; i++) {
    safetensors_put_f32(w, (char[]){(char)('a' + i), 0}, values, 4097); /* in two pieces */
    safetensors_put_f32(w, (char[]){(char)('a' + i), 0}, values + 4097, N - 4097);
  }
  assert_int_equal(safetensors_finish(w), STATUS_OK);
  checkpoint *c = checkpoint_open(path);
  assert_non_null(c);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(checkpoint_read_f32(c, checkpoint_find(c, (char[]){(char)('a' + i), 0}), found), STATUS_OK);
    for (int k = 0; k < N; k++) {
      assert_true(fabs((double)found[k] - values[k]) <= steps[i] * fabs((double)values[k]));
      if (abs(k - 5000) <= 256) assert_true(found[k] == values[k]); /* few enough bits for each type */
    }
  }
  checkpoint_close(c);
  free(path);
}

/* Every mistake is told with the file's name, later calls fail too, and nothing stays on the disk. */
static void test_writer_misuse(void **state) {
  char *path = scratch_path(state, "file");
  const int64_t two[] = {2}, negative[] = {-1}, huge[] = {INT64_MAX, 2};
  char long_name[CHECKPOINT_NAME_MAX + 2];
  memset(long_name, 'x', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = 0;
  const char *words[] = {"declared twice",  "impossible shape", "impossible shape",       "impossible shape",
                         "empty name",      "257 bytes",        "control character 0x1b", "not valid UTF-8",
                         "cannot be named", "given twice",      "not valid UTF-8",        "tensor a is expected",
                         "more are given",  "more are given",   "only 1 were given",      "only 0 were given",
                         "after data",      "after data",       "is declared U8",         "after the last tensor"};
  for (int i = 0; i < (int)(sizeof words / sizeof *words); i++) {
    safetensors_writer *w = safetensors_create(path);
    assert_non_null(w);
    safetensors_declare(w, "a", i == 18 ? CHECKPOINT_U8 : CHECKPOINT_F16, 1, two);
    if (i == 0) safetensors_declare(w, "a", CHECKPOINT_F16, 1, two);
    if (i == 1) safetensors_declare(w, "b", CHECKPOINT_F16, 1, negative);
    if (i == 2) safetensors_declare(w, "b", CHECKPOINT_F16, 2, huge);
    if (i == 3) safetensors_declare(w, "b", CHECKPOINT_F16, 9, (int64_t[9]){0});
    if (i == 4) safetensors_declare(w, "", CHECKPOINT_F16, 1, two);
    if (i == 5) safetensors_declare(w, long_name, CHECKPOINT_F16, 1, two);
    if (i == 6) safetensors_declare(w, "\033[2J", CHECKPOINT_F16, 1, two);
    if (i == 7) safetensors_declare(w, "\xff", CHECKPOINT_F16, 1, two);
    if (i == 8) safetensors_declare(w, "__metadata__", CHECKPOINT_F16, 1, two);
    if (i == 9) safetensors_metadata(w, "k", "1"), safetensors_metadata(w, "k", "2");
    if (i == 10) safetensors_metadata(w, "k", "\xc3");
    if (i == 11) safetensors_put(w, "b", "1234", 4);
    if (i == 12) safetensors_put(w, "a", "12345", 5);
    if (i == 13) safetensors_put_f32(w, "a", (float[]){1, 2, 3}, 3);
    if (i == 14) safetensors_put(w, "a", "1", 1);
    if (i == 16) safetensors_put(w, "a", "1234", 4), safetensors_declare(w, "b", CHECKPOINT_U8, 1, two);
    if (i == 17) safetensors_put(w, "a", "1234", 4), safetensors_metadata(w, "k", "v");
    if (i == 18) safetensors_put_f32(w, "a", (float[]){1, 2}, 2);
    if (i == 19) safetensors_put(w, "a", "1234", 4), safetensors_put(w, "a", "1", 1);
    if (i != 14 && i != 15) assert_true(safetensors_put(w, "a", "1", 1) < 0); /* the failure stays */
    assert_true(safetensors_finish(w) < 0);
    if (!strstr(last_error(), words[i]) || !strstr(last_error(), path))
      fail_msg("%d: \"%s\" does not say \"%s\"", i, last_error(), words[i]);
    assert_int_equal(scratch_entries(state), 0);
  }
  safetensors_writer *w = safetensors_create(path);
  safetensors_abandon(w);
  safetensors_abandon(NULL);
  assert_int_equal(scratch_entries(state), 0);
  char *missing = scratch_path(state, "no/file");
  assert_null(safetensors_create(missing));
  expect_error(last_status(), STATUS_IO, "no such folder");
  free(missing);
  free(path);
}

/* One tensor of n numbers, parsed from memory. *bytes is freed by the caller after closing. */
static checkpoint *one_tensor(const char *dtype, int64_t n, size_t size, const void *data, char **bytes) {
  const size_t used = (size_t)n * size, room = 200 + used;
  *bytes = malloc(room);
  assert_non_null(*bytes);
  memset(*bytes, 0, 8);
  const int length =
      snprintf(*bytes + 8, room - 8, "{\"x\":{\"dtype\":\"%s\",\"shape\":[%lld],\"data_offsets\":[0,%zu]}}", dtype,
               (long long)n, used);
  (*bytes)[0] = (char)length;
  memcpy(*bytes + 8 + length, data, used);
  checkpoint *c = checkpoint_parse(*bytes, 8 + (size_t)length + used, "memory");
  if (!c) fail_msg("%s", last_error());
  return c;
}

/* Reads `data` as f32; expects `want`, or if that is NULL an error with these words. */
static void expect_read(const char *dtype, int64_t n, size_t size, const void *data, const float *want,
                        const char *words) {
  char *bytes;
  float out[8];
  checkpoint *c = one_tensor(dtype, n, size, data, &bytes);
  const checkpoint_tensor *t = checkpoint_at(c, 0);
  const status result = checkpoint_read_f32(c, t, out);
  if (want) {
    assert_int_equal(result, STATUS_OK);
    assert_memory_equal(out, want, (size_t)n * sizeof *want);
  } else {
    assert_true(result < 0);
    expect_error(result, last_status(), words);
    assert_non_null(strstr(last_error(), "memory: tensor x ("));
  }
  checkpoint_close(c);
  free(bytes);
}

static void test_read_f32(void **state) {
  (void)state;
  const float five[] = {0, 1, -1, 127, -128};
  expect_read("I8", 5, 1, (int8_t[]){0, 1, -1, 127, -128}, five, NULL);
  expect_read("I16", 5, 2, (int16_t[]){0, 1, -1, 127, -128}, five, NULL);
  expect_read("I32", 5, 4, (int32_t[]){0, 1, -1, 127, -128}, five, NULL);
  expect_read("I64", 5, 8, (int64_t[]){0, 1, -1, 127, -128}, five, NULL);
  expect_read("F32", 5, 4, five, five, NULL);
  expect_read("F64", 5, 8, (double[]){0, 1, -1, 127, -128}, five, NULL);
  expect_read("F16", 5, 2, (uint16_t[]){0, 0x3c00, 0xbc00, 0x57f0, 0xd800}, five, NULL);
  expect_read("BF16", 5, 2, (uint16_t[]){0, 0x3f80, 0xbf80, 0x42fe, 0xc300}, five, NULL);
  expect_read("U8", 2, 1, (uint8_t[]){0, 255}, (float[]){0, 255}, NULL);
  expect_read("BOOL", 2, 1, (uint8_t[]){0, 1}, (float[]){0, 1}, NULL);
  expect_read("BOOL", 3, 1, (uint8_t[]){0, 1, 2}, NULL, "neither 0 nor 1 at [2]");
  expect_read("I32", 2, 4, (int32_t[]){1 << 24, -(1 << 25)}, (float[]){0x1p24f, -0x1p25f}, NULL);
  expect_read("I32", 2, 4, (int32_t[]){1 << 24, (1 << 24) + 1}, NULL, "cannot hold exactly at [1]");
  expect_read("I64", 1, 8, (int64_t[]){INT64_MIN}, (float[]){-0x1p63f}, NULL);
  expect_read("I64", 1, 8, (int64_t[]){INT64_MAX}, NULL, "cannot hold exactly at [0]");
  expect_read("F64", 1, 8, (double[]){1 + 0x1p-25}, (float[]){1}, NULL);
  expect_read("F64", 2, 8, (double[]){0x1.fffffefffffffp127, -INFINITY}, (float[]){0x1.fffffep127f, -INFINITY}, NULL);
  expect_read("F64", 2, 8, (double[]){0, -0x1.ffffffp127}, NULL, "beyond the range of f32 at [1]");
}

/* The first NaN or infinity of 10000 values, in each place where the search could slip. */
static void test_nonfinite(void **state) {
  (void)state;
  enum { N = 10000 };
  static const struct {
    const char *dtype;
    size_t size;
    uint64_t nan, infinite, largest;
  } types[] = {{"F64", 8, 0xfff8000000000001, 0x7ff0000000000000, 0x7fefffffffffffff},
               {"F32", 4, 0x7f800001, 0xff800000, 0xff7fffff},
               {"F16", 2, 0xfc01, 0x7c00, 0x7bff},
               {"BF16", 2, 0x7fc0, 0xff80, 0x7f7f}};
  static const int64_t places[] = {0, 1, 4095, 4096, 8191, 8192, N - 1};
  static char data[N * 8];
  for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
    for (size_t i = 0; i < N; i++) memcpy(data + i * types[k].size, &types[k].largest, types[k].size);
    char *bytes;
    checkpoint *c = one_tensor(types[k].dtype, N, types[k].size, data, &bytes);
    const checkpoint_tensor *t = checkpoint_at(c, 0);
    assert_int_equal(checkpoint_first_nonfinite(t), -1);
    assert_int_equal(checkpoint_check_finite(c, t), STATUS_OK);
    for (int p = sizeof places / sizeof *places - 1; p >= 0; p--) { /* later ones stay */
      const bool nan = p % 2;
      memcpy((char *)t->data + (size_t)places[p] * types[k].size, nan ? &types[k].nan : &types[k].infinite,
             types[k].size);
      assert_int_equal(checkpoint_first_nonfinite(t), places[p]);
      char words[64];
      snprintf(words, sizeof words, "holds %s at [%lld]", nan ? "NaN" : "an infinite value", (long long)places[p]);
      expect_error(checkpoint_check_finite(c, t), STATUS_FORMAT, words);
      expect_error(checkpoint_check_finite(c, t), STATUS_FORMAT, "memory: tensor x (");
    }
    checkpoint_close(c);
    free(bytes);
  }
  char *bytes;
  checkpoint *c = one_tensor("I32", 1, 4, (int32_t[]){0x7f800000}, &bytes);
  assert_int_equal(checkpoint_first_nonfinite(checkpoint_at(c, 0)), -1);
  checkpoint_close(c);
  free(bytes);
}

static void test_many_names(void **state) {
  enum { N = 2000 };
  char *path = scratch_path(state, "file"), name[32];
  safetensors_writer *w = safetensors_create(path);
  for (int i = 0; i < N; i++) {
    snprintf(name, sizeof name, "t%d", i * 7919 % N);
    assert_int_equal(safetensors_declare(w, name, CHECKPOINT_I32, 0, NULL), STATUS_OK);
  }
  for (int i = 0; i < N; i++) {
    snprintf(name, sizeof name, "t%d", i * 7919 % N);
    assert_int_equal(safetensors_put(w, name, &i, 4), STATUS_OK);
  }
  assert_int_equal(safetensors_finish(w), STATUS_OK);
  checkpoint *c = checkpoint_open(path);
  assert_non_null(c);
  for (int i = 0; i < N; i++) {
    snprintf(name, sizeof name, "t%d", i * 7919 % N);
    const checkpoint_tensor *t = checkpoint_find(c, name);
    assert_ptr_equal(t, checkpoint_at(c, (size_t)i));
    assert_memory_equal(t->data, &i, 4);
  }
  checkpoint_close(c);
  free(path);
}

/* Files of the official library, against the tests' own reader. */
static void test_official_files(void **state) {
  (void)state;
  const char *paths[] = {"tests/goldens/rwkv6/kernel/io.safetensors",
                         "tests/goldens/vrwkv6/op-wkv6-bidir/io.safetensors"};
  for (size_t k = 0; k < sizeof paths / sizeof *paths; k++) {
    checkpoint *c = checkpoint_open(paths[k]);
    golden *g = golden_open(paths[k]);
    if (!c || !g) fail_msg("%s", last_error());
    assert_true(checkpoint_count(c) > 10);
    assert_int_equal(checkpoint_count(c), golden_count(g));
    for (size_t i = 0; i < checkpoint_count(c); i++) {
      const checkpoint_tensor *t = checkpoint_at(c, i);
      int n_dims;
      int64_t dims[8];
      const void *data = golden_get(g, t->name, checkpoint_dtype_name(t->dtype), &n_dims, dims);
      assert_non_null(data);
      assert_int_equal(t->n_dims, n_dims);
      assert_memory_equal(t->dim, dims, (size_t)n_dims * sizeof *dims);
      assert_memory_equal(t->data, data, t->bytes);
    }
    golden_close(g);
    checkpoint_close(c);
  }
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_round_trip),       IN_SCRATCH(test_same_bytes),    IN_SCRATCH(test_layout),
      IN_SCRATCH(test_narrowing_writer), IN_SCRATCH(test_writer_misuse), cmocka_unit_test(test_read_f32),
      cmocka_unit_test(test_nonfinite),  IN_SCRATCH(test_many_names),    cmocka_unit_test(test_official_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
