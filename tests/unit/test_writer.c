/* Writing files of tensors: what is written is what is read, byte for byte and in either container; the exact layout;
 * conversion; mistakes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "kernels/quant.h"
#include "tests/support/scratch.h"
#include "tests/support/weights_check.h"
#include "weights/container.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

/* --- tensors of every type, shape and name ------------------------------------------------------------------------ */

typedef struct {
  char name[CHECKPOINT_NAME_MAX + 1];
  checkpoint_dtype dtype;
  int n_dims;
  int64_t dim[CHECKPOINT_DIMS];
} sample;

/* One of every type, first bytes so that all others lie askew; then shapes that GGUF lacks, empty ones, names of all
 * lengths around its limit, and names like its substitutes. */
enum { ODD = 15, SAMPLES = CHECKPOINT_DTYPES + ODD };

static int make_samples(sample s[SAMPLES], int container) {
  static const sample odd[ODD] = {
      {"scalar", CHECKPOINT_F32, 0, {0}},
      {"empty", CHECKPOINT_BF16, 3, {4, 0, 5}},
      {"none", CHECKPOINT_U16, 1, {0}},
      {"none of many", CHECKPOINT_F32, 6, {2, 3, 0, 3, 0, 2}},
      {"deep", CHECKPOINT_I16, 8, {1, 2, 1, 2, 1, 1, 2, 1}},
      {"five", CHECKPOINT_BOOL, 5, {2, 3, 1, 2, 5}},
      {"four", CHECKPOINT_U64, 4, {2, 3, 1, 2}},
      {"byte scalar", CHECKPOINT_U8, 0, {0}},
      {"linnet.tensor.0", CHECKPOINT_F32, 1, {2}},
      {"linnet.tensor.", CHECKPOINT_F32, 1, {1}},
      {"\xf0\x9f\x90\xa6/\"\\\xc3\xa9 \xe2\x82\xac\xef\xbf\xbf", CHECKPOINT_F16, 2, {1, 7}},
      {"x", CHECKPOINT_F32, 1, {1}}, /* names of 62, 63, 64 and 256 bytes */
      {"x", CHECKPOINT_U32, 1, {1}},
      {"x", CHECKPOINT_F32, 1, {1}},
      {"x", CHECKPOINT_U32, 2, {1, 1}},
  };
  static const int lengths[] = {62, 63, 64, CHECKPOINT_NAME_MAX};
  int n = 0;
  for (int i = CHECKPOINT_DTYPES - 1; i >= 0; i--) {
    const int64_t block = (int64_t)checkpoint_dtype_block((checkpoint_dtype)i);
    if (block > 1 && container == SAFETENSORS) continue;
    s[n] = (sample){"", (checkpoint_dtype)i, 2, {3, block}};
    snprintf(s[n].name, sizeof s[n].name, "blocks.%d.\u00e9\"\\", i);
    n++;
  }
  for (int i = 0; i < ODD; i++) s[n + i] = odd[i];
  for (int i = 0; i < 4; i++) memset(s[n + ODD - 4 + i].name, 'a' + i, (size_t)lengths[i]);
  snprintf(s[n + 8].name, sizeof s->name, "linnet.tensor.%d", n + ODD - 1); /* the substitute of the last one */
  return n + ODD;
}

static size_t sample_bytes(const sample *s) {
  size_t bytes;
  assert_true(checkpoint_shape_bytes(s->dtype, s->n_dims, s->dim, &bytes));
  return bytes;
}

/* A counter for all bytes but of BOOL, in pieces of `piece` bytes. */
static uint8_t sample_byte(const sample *s, uint8_t *counter) {
  return s->dtype == CHECKPOINT_BOOL ? ++*counter & 1 : ++*counter;
}

static status write_samples(const char *path, int container, size_t piece) {
  static sample s[SAMPLES];
  const int n = make_samples(s, container);
  writer *w = writer_into(path, container);
  writer_string(w, "family", "rwkv6");
  writer_string(w, "a key", "line\nbreak, \"quotes\" and \u20ac");
  for (int i = 0; i < n; i++) writer_declare(w, s[i].name, s[i].dtype, s[i].n_dims, s[i].dim);
  uint8_t counter = 0;
  for (int i = 0; i < n; i++)
    for (size_t left = sample_bytes(&s[i]), part; left; left -= part) {
      uint8_t data[64];
      part = left < piece ? left : piece;
      for (size_t k = 0; k < part; k++) data[k] = sample_byte(&s[i], &counter);
      writer_put(w, s[i].name, data, part);
    }
  return writer_finish(w);
}

static void test_round_trip(void **state) {
  char *path = scratch_path(state, "model");
  static sample s[SAMPLES];
  for (int container = 0; container < CONTAINERS; container++) {
    const int n = make_samples(s, container);
    assert_int_equal(write_samples(path, container, 5), STATUS_OK);
    checkpoint *c = opened(path);
    assert_string_equal(checkpoint_container(c), container_names[container]);
    assert_int_equal(checkpoint_count(c), n);
    uint8_t counter = 0;
    for (int i = 0; i < n; i++) {
      const checkpoint_tensor *t = checkpoint_find(c, s[i].name);
      if (!t) fail_msg("%s", last_error());
      assert_int_equal(t->dtype, s[i].dtype);
      assert_int_equal(t->n_dims, s[i].n_dims);
      for (int d = 0; d < t->n_dims; d++) assert_int_equal(t->dim[d], s[i].dim[d]);
      assert_int_equal(t->bytes, sample_bytes(&s[i]));
      for (size_t k = 0; k < t->bytes; k++)
        assert_int_equal(((const uint8_t *)t->data)[k], sample_byte(&s[i], &counter));
    }
    assert_string_equal(checkpoint_metadata(c, "family"), "rwkv6");
    assert_string_equal(checkpoint_metadata(c, "a key"), "line\nbreak, \"quotes\" and \u20ac");
    check_intact(c);
    checkpoint_close(c);
  }
  free(path);
}

/* The same calls give the same file; pieces do not matter; so does writing what was read, also by way of the other
 * container. */
static void test_same_bytes(void **state) {
  char *first = scratch_path(state, "1"), *second = scratch_path(state, "2"), *other = scratch_path(state, "3");
  for (int container = 0; container < CONTAINERS; container++) {
    assert_int_equal(write_samples(first, container, 64), STATUS_OK);
    assert_int_equal(write_samples(second, container, 1), STATUS_OK);
    check_same_files(first, second);
    copy_weights(first, second, container);
    check_same_files(first, second);
  }
  assert_int_equal(write_samples(first, SAFETENSORS, 64), STATUS_OK);
  copy_weights(first, other, GGUF);
  copy_weights(other, second, SAFETENSORS);
  check_same_files(first, second);
  copy_weights(second, first, GGUF);
  check_same_files(first, other);
  free(first);
  free(second);
  free(other);
}

/* --- layout ------------------------------------------------------------------------------------------------------- */

static status write_small(const char *path, int container) {
  writer *w = writer_into(path, container);
  writer_declare(w, "a", CHECKPOINT_F32, 2, (int64_t[]){1, 2});
  writer_declare(w, "b", CHECKPOINT_U8, 1, (int64_t[]){1});
  writer_declare(w, "e", CHECKPOINT_F16, 2, (int64_t[]){2, 0});
  writer_string(w, "k", "v");
  writer_metadata(w, "n", &(metadata_value){METADATA_U16, (const uint8_t *)"\x02\x01", 2});
  writer_put_f32(w, "a", (float[]){1, -2}, 2);
  writer_put(w, "b", "\x07", 1);
  return writer_finish(w);
}

/* The checksum of a file whose digits stand at `digits`, by the library's other interface. */
static void expect_checksum(char *bytes, size_t size, size_t digits) {
  char found[33] = "", want[33];
  memcpy(found, bytes + digits, 32);
  memset(bytes + digits, '0', 32);
  const XXH128_hash_t hash = XXH3_128bits(bytes, size);
  snprintf(want, sizeof want, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
  assert_string_equal(found, want);
}

/* The exact file, as the format's description wants it. */
static void test_layout_of_safetensors(void **state) {
  char *path = scratch_path(state, "file");
  assert_int_equal(write_small(path, SAFETENSORS), STATUS_OK);
  const char header[] =
      "{\"__metadata__\":{\"linnet.checksum\":\"00000000000000000000000000000000\",\"linnet.format\":\"1\","
      "\"k\":\"v\",\"n\":\"258\",\"linnet.types\":\"{\\\"n\\\":\\\"u16\\\"}\"},"
      "\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]},"
      "\"e\":{\"dtype\":\"F16\",\"shape\":[2,0],\"data_offsets\":[9,9]}}";
  const size_t length = strlen(header), padded = (length + 7) / 8 * 8;
  size_t size;
  char *bytes = scratch_read(path, &size);
  assert_int_equal(size, 8 + padded + 9);
  expect_checksum(bytes, size, 8 + strlen("{\"__metadata__\":{\"linnet.checksum\":\""));
  assert_memory_equal(bytes, ((uint8_t[]){(uint8_t)padded, (uint8_t)(padded >> 8), 0, 0, 0, 0, 0, 0}), 8);
  assert_memory_equal(bytes + 8, header, length);
  for (size_t i = length; i < padded; i++) assert_int_equal(bytes[8 + i], ' ');
  assert_memory_equal(bytes + 8 + padded, "\0\0\x80\x3f\0\0\0\xc0\x07", 9);
  free(bytes);
  free(path);
}

static const char *take(const char *at, const char *want, size_t n) {
  assert_memory_equal(at, want, n);
  return at + n;
}
#define TAKE(at, literal) take(at, literal, sizeof literal - 1)
#define U32(n) n "\0\0\0"
#define U64(n) n "\0\0\0\0\0\0\0"
#define TEXT(n, text) U64(n) text

static void test_layout_of_gguf(void **state) {
  char *path = scratch_path(state, "file");
  assert_int_equal(write_small(path, GGUF), STATUS_OK);
  size_t size;
  char *bytes = scratch_read(path, &size);
  const char *at = TAKE(bytes, "GGUF" U32("\3") U64("\3") U64("\5"));
  at = TAKE(at, TEXT("\1", "k") U32("\10") TEXT("\1", "v"));
  at = TAKE(at, TEXT("\1", "n") U32("\2") "\2\1");
  at = TAKE(at, TEXT("\x0e", "linnet.tensors") U32("\10")
                    TEXT("\x28", "{\"b\":{\"dtype\":\"U8\"},\"e\":{\"shape\":[2,0]}}"));
  at = TAKE(at, TEXT("\x0d", "linnet.format") U32("\10") TEXT("\1", "1"));
  at = TAKE(at, TEXT("\x0f", "linnet.checksum") U32("\10") U64("\x20"));
  const size_t digits = (size_t)(at - bytes);
  at += 32;
  at = TAKE(at, TEXT("\1", "a") U32("\2") U64("\2") U64("\1") U32("\0") U64("\0"));
  at = TAKE(at, TEXT("\1", "b") U32("\1") U64("\1") U32("\x18") U64("\x20"));
  at = TAKE(at, TEXT("\1", "e") U32("\1") U64("\0") U32("\1") U64("\x40"));
  while ((at - bytes) % 32) at = TAKE(at, "\0");
  at = TAKE(at, "\0\0\x80\x3f\0\0\0\xc0"
                "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
  at = TAKE(at, "\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
  assert_int_equal(at - bytes, size);
  expect_checksum(bytes, size, digits);
  free(bytes);
  free(path);
}

/* Nothing at all is a file too. */
static void test_nothing(void **state) {
  char *path = scratch_path(state, "file");
  for (int container = 0; container < CONTAINERS; container++) {
    assert_int_equal(writer_finish(writer_into(path, container)), STATUS_OK);
    checkpoint *c = opened(path);
    assert_int_equal(checkpoint_count(c), 0);
    assert_null(checkpoint_find(c, "a"));
    check_intact(c);
    checkpoint_close(c);
  }
  free(path);
}

static void test_container_by_name(void **state) {
  static const char *const names[] = {"model.safetensors", "model.gguf"};
  for (int i = 0; i < CONTAINERS; i++) {
    char *path = scratch_path(state, names[i]);
    writer *w = writer_create(path, NULL);
    assert_string_equal(writer_container(w), container_names[i]);
    writer_abandon(w);
    free(path);
  }
  char *path = scratch_path(state, "model.bin");
  assert_null(writer_create(path, NULL));
  check_error(last_status(), STATUS_ARGUMENT, "ends neither in .gguf nor in .safetensors");
  assert_null(writer_create(path, "zip"));
  check_error(last_status(), STATUS_ARGUMENT, "'zip' is neither");
  assert_int_equal(scratch_entries(state), 0);
  free(path);
}

/* GGUF's alignment is obeyed, kept on the way through safetensors, and refused if it makes no sense. */
static void test_alignment(void **state) {
  char *path = scratch_path(state, "1"), *other = scratch_path(state, "2"), *again = scratch_path(state, "3");
  for (int alignment = 8; alignment <= 128; alignment *= 2) {
    writer *w = writer_into(path, GGUF);
    writer_metadata(w, "general.alignment",
                    &(metadata_value){METADATA_U32, (uint8_t[]){(uint8_t)alignment, 0, 0, 0}, 4});
    for (int i = 0; i < 3; i++)
      writer_declare(w, (char[]){(char)('a' + i), 0}, CHECKPOINT_I8, 1, (int64_t[]){i == 1 ? 0 : 3});
    writer_put(w, "a", "abc", 3);
    writer_put(w, "c", "def", 3);
    assert_int_equal(writer_finish(w), STATUS_OK);
    checkpoint *c = opened(path);
    assert_int_equal(c->size % alignment, 0);
    for (size_t i = 0; i < 3; i++)
      assert_int_equal(((const uint8_t *)checkpoint_at(c, i)->data - c->data) % alignment, 0);
    assert_memory_equal(checkpoint_find(c, "c")->data, "def", 3);
    checkpoint_close(c);
    copy_weights(path, other, SAFETENSORS);
    copy_weights(other, again, GGUF);
    check_same_files(path, again);
  }
  static const struct {
    metadata_type type;
    const char *bytes;
  } bad[] = {{METADATA_U32, "\0\0\0\0"},
             {METADATA_U32, "\x30\0\0\0"},
             {METADATA_U32, "\4\0\0\0"},
             {METADATA_U32, "\0\0\0\x80"},
             {METADATA_I32, "\x20\0\0\0"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    writer *w = writer_into(path, GGUF);
    writer_metadata(w, "general.alignment", &(metadata_value){bad[i].type, (const uint8_t *)bad[i].bytes, 4});
    check_error(writer_finish(w), STATUS_ARGUMENT, "general.alignment is no u32");
  }
  free(path);
  free(other);
  free(again);
}

/* What would make of the file one of several, which checkpoint_open() then looks for. */
static void test_part_of_several(void **state) {
  char *path = scratch_path(state, "file");
  writer *w = writer_into(path, GGUF);
  writer_metadata(w, "split.count", &(metadata_value){METADATA_U16, (const uint8_t *)"\3\0", 2});
  check_error(writer_finish(w), STATUS_ARGUMENT, "one of 3 parts");
  assert_int_equal(scratch_entries(state), 0);
  free(path);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static void test_narrowing(void **state) {
  enum { N = 10240 };
  static float values[N], found[N];
  char *path = scratch_path(state, "file");
  for (int i = 0; i < N; i++) values[i] = (float)(i - 5000); /* |x| < 8192 needs 13 bits */
  const checkpoint_dtype types[] = {CHECKPOINT_F32, CHECKPOINT_F16, CHECKPOINT_BF16};
  const double steps[] = {0, 0x1p-11, 0x1p-8};
  for (int container = 0; container < CONTAINERS; container++) {
    writer *w = writer_into(path, container);
    for (int i = 0; i < 3; i++) writer_declare(w, (char[]){(char)('a' + i), 0}, types[i], 1, (int64_t[]){N});
    for (int i = 0; i < 3; i++) {
      writer_put_f32(w, (char[]){(char)('a' + i), 0}, values, 4097); /* in two pieces */
      writer_put_f32(w, (char[]){(char)('a' + i), 0}, values + 4097, N - 4097);
    }
    assert_int_equal(writer_finish(w), STATUS_OK);
    checkpoint *c = opened(path);
    for (int i = 0; i < 3; i++) {
      assert_int_equal(checkpoint_read_f32(c, checkpoint_find(c, (char[]){(char)('a' + i), 0}), found), STATUS_OK);
      for (int k = 0; k < N; k++) {
        assert_true(fabs((double)found[k] - values[k]) <= steps[i] * fabs((double)values[k]));
        if (abs(k - 5000) <= 256) assert_true(found[k] == values[k]); /* few enough bits for each type */
      }
    }
    checkpoint_close(c);
  }
  free(path);
}

/* The bytes are quant_encode()'s, in pieces as in one. */
static void test_block_types(void **state) {
  enum { N = 40 * 256 };
  static float values[N];
  static uint8_t blocks[2 * N];
  char *path = scratch_path(state, "file");
  for (int i = 0; i < N; i++) values[i] = sinf((float)i * 0.7f) * (float)(i % 11);
  writer *w = writer_into(path, GGUF);
  for (int type = CHECKPOINT_Q8_0; type < CHECKPOINT_DTYPES; type++)
    writer_declare(w, checkpoint_dtype_name((checkpoint_dtype)type), (checkpoint_dtype)type, 2, (int64_t[]){40, 256});
  for (int type = CHECKPOINT_Q8_0; type < CHECKPOINT_DTYPES; type++) {
    writer_put_f32(w, checkpoint_dtype_name((checkpoint_dtype)type), values, 768);
    writer_put_f32(w, checkpoint_dtype_name((checkpoint_dtype)type), values + 768, N - 768);
  }
  if (writer_finish(w)) fail_msg("%s", last_error());
  checkpoint *c = opened(path);
  check_intact(c);
  for (size_t i = 0; i < checkpoint_count(c); i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    quant_type type;
    assert_true(checkpoint_dtype_quant(t->dtype, &type));
    assert_string_equal(t->name, checkpoint_dtype_name(t->dtype));
    assert_true(t->bytes <= sizeof blocks);
    quant_encode(type, values, N, blocks);
    assert_memory_equal(t->data, blocks, t->bytes);
  }
  checkpoint_close(c);
  free(path);
}

/* What would be infinite in the file is refused; what is infinite already stays so, but not in block types. */
static void test_values_beyond(void **state) {
  static const struct {
    checkpoint_dtype dtype;
    float value;
    bool refused;
  } cases[] = {
      {CHECKPOINT_F16, 65519, false},        {CHECKPOINT_F16, -65520, true},
      {CHECKPOINT_F16, -INFINITY, false},    {CHECKPOINT_F16, NAN, false},
      {CHECKPOINT_BF16, 1e38f, false},       {CHECKPOINT_BF16, 0x1.fefffep127f, false},
      {CHECKPOINT_BF16, -0x1.ffp127f, true}, {CHECKPOINT_BF16, NAN, false},
      {CHECKPOINT_BF16, INFINITY, false},    {CHECKPOINT_F32, 0x1.fffffep127f, false},
      {CHECKPOINT_F32, NAN, false},          {CHECKPOINT_Q8_0, 60000, false},
      {CHECKPOINT_Q8_0, 1e9f, true},         {CHECKPOINT_Q4_K, NAN, true},
      {CHECKPOINT_Q4_0, -INFINITY, true},
  };
  char *path = scratch_path(state, "file");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    float values[256] = {0}, found[256];
    values[17] = cases[i].value;
    writer *w = writer_into(path, GGUF);
    writer_declare(w, "head.weight", cases[i].dtype, 1, (int64_t[]){256});
    writer_put_f32(w, "head.weight", values, 256);
    if (cases[i].refused) {
      check_error(writer_finish(w), STATUS_UNSUPPORTED, "tensor head.weight holds ");
      assert_non_null(strstr(last_error(), path));
      assert_int_equal(scratch_entries(state), 0);
      continue;
    }
    if (writer_finish(w)) fail_msg("%zu: %s", i, last_error());
    checkpoint *c = opened(path);
    assert_int_equal(checkpoint_read_f32(c, checkpoint_at(c, 0), found), STATUS_OK);
    assert_true(isnan(found[17]) == isnan(cases[i].value) && isinf(found[17]) == isinf(cases[i].value));
    checkpoint_close(c);
    unlink(path);
  }
  free(path);
}

/* --- mistakes ----------------------------------------------------------------------------------------------------- */

static void do_mistake(writer *w, int i) {
  static const int64_t two[] = {2}, negative[] = {-1}, huge[] = {INT64_MAX, 2}, large[] = {INT64_MAX / 512};
  char long_name[CHECKPOINT_NAME_MAX + 2];
  memset(long_name, 'x', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = 0;
  if (i == 0) writer_declare(w, "a", CHECKPOINT_F16, 1, two);
  if (i == 1) writer_declare(w, "b", CHECKPOINT_F16, 1, negative);
  if (i == 2) writer_declare(w, "b", CHECKPOINT_F16, 2, huge);
  if (i == 3) writer_declare(w, "b", CHECKPOINT_F16, 9, (int64_t[9]){0});
  if (i == 4) writer_declare(w, "", CHECKPOINT_F16, 1, two);
  if (i == 5) writer_declare(w, long_name, CHECKPOINT_F16, 1, two);
  if (i == 6) writer_declare(w, "\033[2J", CHECKPOINT_F16, 1, two);
  if (i == 7) writer_declare(w, "\xff", CHECKPOINT_F16, 1, two);
  if (i == 8) writer_declare(w, "b", CHECKPOINT_Q8_0, 2, (int64_t[]){32, 33});
  if (i == 9) writer_string(w, "k", "1"), writer_string(w, "k", "2");
  if (i == 10) writer_string(w, "k", "\xc3");
  if (i == 11) writer_put(w, "b", "1234", 4);
  if (i == 12) writer_put(w, "a", "12345", 5);
  if (i == 13) writer_put_f32(w, "a", (float[]){1, 2, 3}, 3);
  if (i == 14) writer_put(w, "a", "1", 1);
  if (i == 16) writer_put(w, "a", "1234", 4), writer_declare(w, "b", CHECKPOINT_U8, 1, two);
  if (i == 17) writer_put(w, "a", "1234", 4), writer_string(w, "k", "v");
  if (i == 18) writer_put_f32(w, "a", (float[]){1, 2}, 2);
  if (i == 19) writer_put(w, "a", "1234", 4), writer_put(w, "a", "1", 1);
  if (i == 20) writer_string(w, "\xc3", "v");
  if (i == 21) writer_string(w, "linnet.checksum", "v");
  if (i == 22) writer_string(w, "linnet.types", "v");
  if (i == 23) writer_metadata(w, "k", &(metadata_value){METADATA_U32, (const uint8_t *)"1234", 3});
  if (i == 24) writer_metadata(w, "k", &(metadata_value){METADATA_U32, (const uint8_t *)"12345", 5});
  for (int n = 0; i == 25 && n < 512; n++) {
    char name[16];
    snprintf(name, sizeof name, "t%d", n);
    writer_declare(w, name, CHECKPOINT_U8, 1, large);
  }
}

/* Every mistake is told with the file's name, later calls fail too, and nothing stays on the disk. */
static void test_misuse(void **state) {
  char *path = scratch_path(state, "file");
  static const char *const words[] = {"declared twice",
                                      "impossible shape",
                                      "impossible shape",
                                      "impossible shape",
                                      "empty name",
                                      "257 bytes",
                                      "control character 0x1b",
                                      "not UTF-8",
                                      "impossible shape",
                                      "given twice",
                                      "not valid UTF-8",
                                      "tensor a is expected",
                                      "more are given",
                                      "more are given",
                                      "only 1 were given",
                                      "only 0 were given",
                                      "after data",
                                      "after data",
                                      "is declared U8",
                                      "after the last tensor",
                                      "not valid UTF-8",
                                      "the writer's own",
                                      "the writer's own",
                                      "metadata k: ",
                                      "bytes after its value",
                                      "beyond the end of any"};
  for (int container = 0; container < CONTAINERS; container++)
    for (int i = 0; i < (int)(sizeof words / sizeof *words); i++) {
      writer *w = writer_into(path, container);
      writer_declare(w, "a", i == 18 ? CHECKPOINT_U8 : CHECKPOINT_F16, 1, (int64_t[]){2});
      do_mistake(w, i);
      if (i != 14 && i != 15) assert_true(writer_put(w, "a", "1", 1) < 0); /* the failure stays */
      assert_true(writer_finish(w) < 0);
      if (!strstr(last_error(), words[i]) || !strstr(last_error(), path))
        fail_msg("%d: \"%s\" does not say \"%s\"", i, last_error(), words[i]);
      assert_int_equal(scratch_entries(state), 0);
    }
  writer *w = writer_into(path, GGUF);
  writer_abandon(w);
  writer_abandon(NULL);
  assert_int_equal(scratch_entries(state), 0);
  char *missing = scratch_path(state, "no/file");
  assert_null(writer_create(missing, "gguf"));
  check_error(last_status(), STATUS_IO, "no such folder");
  free(missing);
  free(path);
}

/* What only one container cannot hold. */
static void test_not_in_this_container(void **state) {
  char *path = scratch_path(state, "file");
  writer *w = writer_into(path, SAFETENSORS);
  writer_declare(w, "b", CHECKPOINT_Q8_0, 1, (int64_t[]){32});
  check_error(writer_put(w, "b", "", 1), STATUS_UNSUPPORTED, "is Q8_0, which safetensors cannot hold");
  check_error(writer_finish(w), STATUS_UNSUPPORTED, path);
  w = writer_into(path, SAFETENSORS);
  writer_declare(w, "__metadata__", CHECKPOINT_F16, 1, (int64_t[]){0});
  check_error(writer_finish(w), STATUS_ARGUMENT, "cannot be named __metadata__");
  w = writer_into(path, GGUF);
  writer_string(w, "", "empty");
  check_error(writer_finish(w), STATUS_ARGUMENT, "key of 0 bytes");
  w = writer_into(path, GGUF);
  writer_string(w, "a\nb", "v");
  check_error(writer_finish(w), STATUS_ARGUMENT, "control character");
  w = writer_into(path, GGUF);
  writer_declare(w, "b", CHECKPOINT_Q8_0, 1, (int64_t[]){64});
  writer_put_f32(w, "b", (float[40]){0}, 40);
  check_error(writer_finish(w), STATUS_ARGUMENT, "whole blocks of 32 values, but 40");
  assert_int_equal(scratch_entries(state), 0);
  free(path);
}

/* --- many --------------------------------------------------------------------------------------------------------- */

static void test_many_tensors(void **state) {
  enum { N = 100000, STEP = 7919 };
  char *path = scratch_path(state, "file"), name[32];
  for (int container = 0; container < CONTAINERS; container++) {
    writer *w = writer_into(path, container);
    for (int i = 0; i < N; i++) {
      snprintf(name, sizeof name, "t%d", (int)((int64_t)i * STEP % N));
      writer_declare(w, name, CHECKPOINT_I32, 1, (int64_t[]){1});
    }
    for (int i = 0; i < N; i++) {
      snprintf(name, sizeof name, "t%d", (int)((int64_t)i * STEP % N));
      writer_put(w, name, &i, 4);
    }
    if (writer_finish(w)) fail_msg("%s", last_error());
    checkpoint *c = opened(path);
    check_intact(c);
    assert_int_equal(checkpoint_count(c), N);
    for (int i = 0; i < N; i++) {
      snprintf(name, sizeof name, "t%d", (int)((int64_t)i * STEP % N));
      const checkpoint_tensor *t = checkpoint_find(c, name);
      assert_non_null(t);
      assert_memory_equal(t->data, &(int){(int)(t - checkpoint_at(c, 0))}, 4);
    }
    checkpoint_close(c);
  }
  free(path);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_round_trip),
      IN_SCRATCH(test_same_bytes),
      IN_SCRATCH(test_layout_of_safetensors),
      IN_SCRATCH(test_layout_of_gguf),
      IN_SCRATCH(test_nothing),
      IN_SCRATCH(test_container_by_name),
      IN_SCRATCH(test_alignment),
      IN_SCRATCH(test_part_of_several),
      IN_SCRATCH(test_narrowing),
      IN_SCRATCH(test_block_types),
      IN_SCRATCH(test_values_beyond),
      IN_SCRATCH(test_misuse),
      IN_SCRATCH(test_not_in_this_container),
      IN_SCRATCH(test_many_tensors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
