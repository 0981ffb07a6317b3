/* Values of checkpoints: of every type, in parts, not finite; files of the official library. */
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
#include "tests/support/weights_check.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

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
    check_error(result, last_status(), words);
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
  expect_read("U16", 2, 2, (uint16_t[]){0, 65535}, (float[]){0, 65535}, NULL);
  expect_read("U32", 2, 4, (uint32_t[]){1, UINT32_C(1) << 31}, (float[]){1, 0x1p31f}, NULL);
  expect_read("U64", 2, 8, (uint64_t[]){1, UINT64_C(1) << 63}, (float[]){1, 0x1p63f}, NULL);
  expect_read("U64", 2, 8, (uint64_t[]){1, UINT64_MAX}, NULL, "cannot hold exactly at [1]");
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

/* Any part of a tensor is the same as that part of the whole. */
static void test_parts(void **state) {
  enum { N = 20480 };
  static const checkpoint_dtype types[] = {CHECKPOINT_F32, CHECKPOINT_BF16, CHECKPOINT_Q8_0, CHECKPOINT_Q6_K};
  static const int64_t cuts[] = {0, 256, 512, 8192, 16384, 16640, N};
  static float values[N], whole[N], part[N];
  static uint8_t bytes[4 * N];
  char *path = scratch_path(state, "file");
  for (int i = 0; i < N; i++) values[i] = sinf((float)i);
  for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
    writer *w = writer_into(path, GGUF);
    writer_declare(w, "x", types[k], 2, (int64_t[]){N / 512, 512});
    writer_put_f32(w, "x", values, N);
    assert_int_equal(writer_finish(w), STATUS_OK);
    checkpoint *c = opened(path);
    const checkpoint_tensor *t = checkpoint_at(c, 0);
    const size_t size = checkpoint_dtype_size(t->dtype);
    assert_int_equal(checkpoint_elements(t), N);
    assert_int_equal(checkpoint_read_f32(c, t, whole), STATUS_OK);
    for (int i = 0; i < N; i++) assert_true(fabsf(whole[i] - values[i]) < 0.05f);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
      for (size_t j = i; j < sizeof cuts / sizeof *cuts; j++) {
        const int64_t n = cuts[j] - cuts[i];
        assert_int_equal(checkpoint_read_f32_part(c, t, cuts[i], n, part), STATUS_OK);
        assert_memory_equal(part, whole + cuts[i], (size_t)n * sizeof *part);
      }
    assert_int_equal(checkpoint_read(c, t, size, t->bytes - 2 * size, bytes), STATUS_OK);
    assert_memory_equal(bytes, (const uint8_t *)t->data + size, t->bytes - 2 * size);
    checkpoint_close(c);
  }
  free(path);
}

/* The first NaN or infinity of 10000 values, in each place where the search could slip. */
static int64_t first_nonfinite(const checkpoint *c) {
  int64_t index = -2;
  assert_int_equal(checkpoint_first_nonfinite(c, checkpoint_at(c, 0), &index), STATUS_OK);
  return index;
}

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
    assert_int_equal(first_nonfinite(c), -1);
    assert_int_equal(checkpoint_check_finite(c, t), STATUS_OK);
    for (int p = sizeof places / sizeof *places - 1; p >= 0; p--) { /* later ones stay */
      const bool nan = p % 2;
      memcpy((char *)t->data + (size_t)places[p] * types[k].size, nan ? &types[k].nan : &types[k].infinite,
             types[k].size);
      assert_int_equal(first_nonfinite(c), places[p]);
      char words[64];
      snprintf(words, sizeof words, "holds %s at [%lld]", nan ? "NaN" : "an infinite value", (long long)places[p]);
      check_error(checkpoint_check_finite(c, t), STATUS_FORMAT, words);
      check_error(checkpoint_check_finite(c, t), STATUS_FORMAT, "memory: tensor x (");
    }
    checkpoint_close(c);
    free(bytes);
  }
  char *bytes;
  checkpoint *c = one_tensor("I32", 1, 4, (int32_t[]){0x7f800000}, &bytes);
  assert_int_equal(first_nonfinite(c), -1);
  checkpoint_close(c);
  free(bytes);
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
      cmocka_unit_test(test_read_f32),
      IN_SCRATCH(test_parts),
      cmocka_unit_test(test_nonfinite),
      cmocka_unit_test(test_official_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
