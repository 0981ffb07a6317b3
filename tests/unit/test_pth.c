/* PyTorch archives: the values of real ones, strides, offsets and shared storages, and hostile ones: every one gives
 * one clear sentence or tensors, never a crash (run under ASan), and nothing that a pickle asks for is ever called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "tests/support/scratch.h"
#include "weights/checkpoint.h"
#include "weights/pickle.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static const char tiny[] = "tests/goldens/rwkv6/tiny-fp32/model.pth";

/* A pickle under construction. */
typedef struct {
  char bytes[8192];
  size_t size;
} writer;

static void put(writer *w, const void *bytes, size_t n) {
  assert_true(w->size + n <= sizeof w->bytes);
  memcpy(w->bytes + w->size, bytes, n);
  w->size += n;
}
#define PUT(w, text) put(w, text, sizeof(text) - 1)

static void put_text(writer *w, const char *text) {
  const char head[] = {'X', (char)strlen(text), 0, 0, 0};
  put(w, head, sizeof head);
  put(w, text, strlen(text));
}

static void put_int(writer *w, int64_t value) { /* LONG1 of eight bytes */
  PUT(w, "\x8a\x08");
  put(w, &value, sizeof value);
}

static void put_ints(writer *w, int n, const int64_t *values) {
  PUT(w, "(");
  for (int i = 0; i < n; i++) put_int(w, values[i]);
  PUT(w, "t");
}

/* A dictionary's entry: a tensor over storage "0" of `elements` values. */
static void put_tensor(writer *w, const char *name, const char *class, int64_t elements, int64_t offset, int n_dims,
                       const int64_t *dims, const int64_t *strides) {
  put_text(w, name);
  PUT(w, "ctorch._utils\n_rebuild_tensor_v2\n((");
  put_text(w, "storage");
  PUT(w, "ctorch\n");
  put(w, class, strlen(class));
  PUT(w, "\n");
  put_text(w, "0");
  put_text(w, "cpu");
  put_int(w, elements);
  PUT(w, "tQ");
  put_int(w, offset);
  put_ints(w, n_dims, dims);
  put_ints(w, n_dims, strides);
  PUT(w, "\x89"
         "ccollections\nOrderedDict\n)RtR");
}

typedef struct {
  const char *name;
  const void *bytes;
  size_t size;
} entry;

/* A zip archive of the entries as bytes; free() it. */
static char *make_zip(void **state, const entry *entries, size_t n, int method, size_t *size) {
  char *path = scratch_path(state, "made.pth");
  zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
  assert_non_null(zip);
  for (size_t i = 0; i < n; i++) {
    zip_source_t *source = zip_source_buffer(zip, entries[i].bytes, entries[i].size, 0);
    const zip_int64_t index = zip_file_add(zip, entries[i].name, source, 0);
    assert_true(index >= 0);
    assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index, method, 0), 0);
  }
  assert_int_equal(zip_close(zip), 0);
  char *bytes = scratch_read(path, size);
  free(path);
  return bytes;
}

/* An archive of a pickle and of storage 0 with six f32 values 0..5. */
static char *make_pth(void **state, const writer *w, int method, size_t *size) {
  static const float values[] = {0, 1, 2, 3, 4, 5};
  const entry entries[] = {{"made/data.pkl", w->bytes, w->size}, {"made/data/0", values, sizeof values}};
  return make_zip(state, entries, 2, method, size);
}

static void expect_values(const checkpoint *c, const char *name, int n_dims, size_t n, const float *want) {
  float have[16];
  const checkpoint_tensor *t = checkpoint_find(c, name);
  assert_non_null(t);
  assert_int_equal(t->n_dims, n_dims);
  assert_int_equal(checkpoint_elements(t), n);
  assert_int_equal(checkpoint_read_f32(c, t, have), STATUS_OK);
  for (size_t i = 0; i < n; i++) assert_float_equal(have[i], want[i], 0);
}
#define VALUES(...)                                                                                                    \
  sizeof((float[]){__VA_ARGS__}) / sizeof(float), (float[]) { __VA_ARGS__ }

static void expect_refused(void **state, const writer *w, const char *words) {
  size_t size;
  char *bytes = make_pth(state, w, ZIP_CM_STORE, &size);
  if (checkpoint_parse(bytes, size, "memory")) fail_msg("accepted, not refused as \"%s\"", words);
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
  assert_memory_equal(last_error(), "memory: ", 8);
  free(bytes);
}

static void test_views(void **state) {
  for (int method = ZIP_CM_STORE; method <= ZIP_CM_DEFLATE; method += ZIP_CM_DEFLATE) {
    writer w = {.size = 0};
    PUT(&w, "\x80\x02}(");
    put_tensor(&w, "all", "FloatStorage", 6, 0, 2, (int64_t[]){2, 3}, (int64_t[]){3, 1});
    put_tensor(&w, "transposed", "FloatStorage", 6, 0, 2, (int64_t[]){3, 2}, (int64_t[]){1, 3});
    put_tensor(&w, "offset", "FloatStorage", 6, 4, 1, (int64_t[]){2}, (int64_t[]){1});
    put_tensor(&w, "every second", "FloatStorage", 6, 1, 1, (int64_t[]){3}, (int64_t[]){2});
    put_tensor(&w, "expanded", "FloatStorage", 6, 5, 2, (int64_t[]){2, 2}, (int64_t[]){0, 0});
    put_tensor(&w, "scalar", "FloatStorage", 6, 3, 0, NULL, NULL);
    put_tensor(&w, "empty", "FloatStorage", 6, 0, 2, (int64_t[]){0, 3}, (int64_t[]){3, 1});
    put_tensor(&w, "one", "FloatStorage", 6, 0, 3, (int64_t[]){2, 1, 2}, (int64_t[]){1, INT64_MAX, 2});
    put_text(&w, "epoch");
    PUT(&w, "K\x07u.");
    size_t size;
    char *bytes = make_pth(state, &w, method, &size);
    checkpoint *c = checkpoint_parse(bytes, size, "memory");
    if (!c) fail_msg("%s", last_error());
    assert_string_equal(checkpoint_container(c), "pth");
    assert_int_equal(checkpoint_count(c), 8);
    assert_string_equal(checkpoint_at(c, 0)->name, "all");
    expect_values(c, "all", 2, VALUES(0, 1, 2, 3, 4, 5));
    expect_values(c, "transposed", 2, VALUES(0, 3, 1, 4, 2, 5));
    expect_values(c, "offset", 1, VALUES(4, 5));
    expect_values(c, "every second", 1, VALUES(1, 3, 5));
    expect_values(c, "expanded", 2, VALUES(5, 5, 5, 5));
    expect_values(c, "scalar", 0, VALUES(3));
    expect_values(c, "one", 3, VALUES(0, 2, 1, 3));
    assert_int_equal(checkpoint_find(c, "empty")->bytes, 0);
    checkpoint_close(c);
    free(bytes);
  }
}

static void test_types(void **state) {
  static const struct {
    const char *class;
    checkpoint_dtype dtype;
    int64_t elements;
  } types[] = {
      {"DoubleStorage", CHECKPOINT_F64, 3}, {"FloatStorage", CHECKPOINT_F32, 6},
      {"HalfStorage", CHECKPOINT_F16, 12},  {"BFloat16Storage", CHECKPOINT_BF16, 12},
      {"LongStorage", CHECKPOINT_I64, 3},   {"IntStorage", CHECKPOINT_I32, 6},
      {"ShortStorage", CHECKPOINT_I16, 12}, {"CharStorage", CHECKPOINT_I8, 24},
      {"ByteStorage", CHECKPOINT_U8, 24},   {"BoolStorage", CHECKPOINT_BOOL, 24},
  };
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    writer w = {.size = 0};
    PUT(&w, "\x80\x02}(");
    put_tensor(&w, "x", types[i].class, types[i].elements, 0, 1, &types[i].elements, (int64_t[]){1});
    PUT(&w, "u.");
    size_t size;
    char *bytes = make_pth(state, &w, ZIP_CM_STORE, &size);
    checkpoint *c = checkpoint_parse(bytes, size, "memory");
    if (!c) fail_msg("%s", last_error());
    assert_int_equal(checkpoint_at(c, 0)->dtype, types[i].dtype);
    assert_int_equal(checkpoint_at(c, 0)->bytes, 24);
    checkpoint_close(c);
    free(bytes);
  }
}

/* {"epoch": 7, "model": {..."m"}, "ema": {..."e"}}: the model; the record beside it is not looked into. */
static void test_nested(void **state) {
  writer w = {.size = 0};
  PUT(&w, "\x80\x02}(");
  put_text(&w, "ema");
  PUT(&w, "}(");
  put_tensor(&w, "e", "FloatStorage", 6, 0, 1, (int64_t[]){6}, (int64_t[]){1});
  PUT(&w, "u");
  put_text(&w, "args");
  PUT(&w, "cargparse\nNamespace\n)\x81}X\x02\0\0\0lrG\0\0\0\0\0\0\0\0sb");
  put_text(&w, "model");
  PUT(&w, "ccollections\nOrderedDict\n)R(");
  put_tensor(&w, "m", "FloatStorage", 6, 0, 1, (int64_t[]){6}, (int64_t[]){1});
  PUT(&w, "u}X\x09\0\0\0_metadata}sbu.");
  size_t size;
  char *bytes = make_pth(state, &w, ZIP_CM_STORE, &size);
  checkpoint *c = checkpoint_parse(bytes, size, "memory");
  if (!c) fail_msg("%s", last_error());
  assert_int_equal(checkpoint_count(c), 1);
  expect_values(c, "m", 1, VALUES(0, 1, 2, 3, 4, 5));
  checkpoint_close(c);
  free(bytes);
}

static void test_calls_are_refused(void **state) {
  static const struct {
    const char *pickle;
    const char *words;
  } pickles[] = {
      {"\x80\x02"
       "cos\nsystem\nX\x04\1\1\1true\x85R.",
       "ends within"},
      {"\x80\x02"
       "cos\nsystem\nU\x04true\x85R.",
       "the pickle calls os.system"},
      {"\x80\x02"
       "cbuiltins\neval\n)\x81.",
       "the pickle calls builtins.eval"},
      {"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", "the pickle calls posix.system"},
      {"\x80\x04\x8c\x05posix\x8c\x06system\x93)}\x92.", "the pickle calls posix.system"},
      {"\x80\x02"
       "ctorch\nnn\n}b.",
       "the pickle changes torch.nn"},
      {"\x80\x02"
       "ctorch\nFloatStorage\n)R.",
       "the pickle calls torch.FloatStorage"},
      {"\x80\x02"
       "ctorch._utils\n_rebuild_tensor_v2\n)R.",
       "a tensor is not described"},
      {"\x80\x02"
       "ctorch._utils\n_rebuild_parameter\n)R.",
       "a parameter is made of"},
      {"\x80\x02"
       "cos\nsystem\n.",
       "holds no dictionary of tensors"},
      {"\x80\x02"
       "(ios\nsystem\n.",
       "unknown instruction 0x69"},
      {"\x80\x02"
       ")Q.",
       "a storage is not described"},
      {"\x80\x02"
       "h\x09.",
       "nothing at place 9"},
      {"\x80\x02"
       ".",
       "takes a value where there is none"},
      {"\x80\x02"
       "}Ns.",
       "ends within"},
      {"\x80\x02"
       "}(Nu.",
       "a key without a value"},
      {"\x80\x02"
       "NNa.",
       "takes no items"},
      {"\x80\x02"
       "t.",
       "a mark that is not there"},
      {"\x80\x02"
       "]q\1h\1a",
       "ends within"},
      {"\x80\x05"
       "N.",
       "protocol 5"},
      {"N.", "does not begin"},
  };
  for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
    writer w = {.size = 0};
    /* pickles hold no zero bytes but by their lengths, which are all short here */
    put(&w, pickles[i].pickle, strlen(pickles[i].pickle));
    expect_refused(state, &w, pickles[i].words);
  }
}

static void test_impossible_tensors(void **state) {
  static const struct {
    const char *class;
    int64_t elements, offset, dim[2], stride[2];
    const char *words;
  } tensors[] = {
      {"FloatStorage", 6, 1, {2, 3}, {3, 1}, "tensor x: reaches beyond its storage"},
      {"FloatStorage", 6, -1, {2, 3}, {3, 1}, "reaches beyond"},
      {"FloatStorage", 6, INT64_MAX, {2, 3}, {3, 1}, "reaches beyond"},
      {"FloatStorage", 6, 0, {2, 3}, {INT64_MAX, INT64_MAX}, "reaches beyond"},
      {"FloatStorage", 6, 0, {2, 3}, {3, -1}, "negative stride"},
      {"FloatStorage", 6, 0, {-2, 3}, {3, 1}, "impossible shape"},
      {"FloatStorage", 6, 0, {INT64_MAX, INT64_MAX}, {0, 0}, "impossible shape"},
      {"FloatStorage", 6, 0, {1 << 30, 1 << 20}, {0, 0}, "16 times the size"},
      {"FloatStorage", 7, 0, {2, 3}, {3, 1}, "has 24 bytes, not 7"},
      {"FloatStorage", INT64_MAX, 0, {2, 3}, {3, 1}, "has 24 bytes"},
      {"FloatStorage", -6, 0, {2, 3}, {3, 1}, "a storage is not described"},
      {"ComplexFloatStorage", 3, 0, {1, 3}, {3, 1}, "class torch.ComplexFloatStorage"},
  };
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
    writer w = {.size = 0};
    PUT(&w, "\x80\x02}(");
    put_tensor(&w, "x", tensors[i].class, tensors[i].elements, tensors[i].offset, 2, tensors[i].dim, tensors[i].stride);
    PUT(&w, "u.");
    expect_refused(state, &w, tensors[i].words);
  }
}

static void test_impossible_names(void **state) {
  static const char *const names[][2] = {
      {"", "an empty name"}, {"a\nb", "control character 0x0a"}, {"\xff", "not UTF-8"}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    writer w = {.size = 0};
    PUT(&w, "\x80\x02}(");
    put_tensor(&w, names[i][0], "FloatStorage", 6, 0, 0, NULL, NULL);
    PUT(&w, "u.");
    expect_refused(state, &w, names[i][1]);
  }
}

static void test_other_archives(void **state) {
  static const char ones[] = "\x80\x02}.", zeros[1 << 21];
  const struct {
    entry entries[2];
    size_t count;
    int method;
    const char *words;
  } archives[] = {
      {{{"a.txt", "text", 4}}, 1, ZIP_CM_STORE, "is a zip file, but not PyTorch's"},
      {{{"a/constants.pkl", ones, 4}, {"a/data.pkl", ones, 4}}, 2, ZIP_CM_STORE, "is a TorchScript archive"},
      {{{"a/data.pkl", ones, 4}, {"b/data.pkl", ones, 4}}, 2, ZIP_CM_STORE, "data.pkl in 2 folders"},
      {{{"a/data.pkl", ones, 4}, {"a/byteorder", "big", 3}}, 2, ZIP_CM_STORE, "big-endian"},
      {{{"a/data.pkl", zeros, sizeof zeros}}, 1, ZIP_CM_DEFLATE, "would unpack to 2097152 bytes"},
  };
  for (size_t i = 0; i < sizeof archives / sizeof *archives; i++) {
    size_t size;
    char *bytes = make_zip(state, archives[i].entries, archives[i].count, archives[i].method, &size);
    assert_null(checkpoint_parse(bytes, size, "memory"));
    if (!strstr(last_error(), archives[i].words))
      fail_msg("\"%s\" does not say \"%s\"", last_error(), archives[i].words);
    free(bytes);
  }
}

/* The bytes in a block of exactly their size, so that reading past them is seen. */
static void try_exactly(const char *bytes, size_t size) {
  char *block = malloc(size ? size : 1);
  assert_non_null(block);
  memcpy(block, bytes, size);
  checkpoint *c = checkpoint_parse(block, size, "memory");
  if (!c) assert_memory_equal(last_error(), "memory: ", 8);
  checkpoint_close(c);
  free(block);
}

static void test_real_and_truncated(void **state) {
  (void)state;
  checkpoint *c = checkpoint_open(tiny);
  if (!c) fail_msg("%s", last_error());
  const checkpoint_tensor *t = checkpoint_find(c, "emb.weight");
  assert_non_null(t);
  assert_int_equal(t->dtype, CHECKPOINT_F32);
  for (size_t i = 0; i < checkpoint_count(c); i++)
    assert_int_equal(checkpoint_check_finite(c, checkpoint_at(c, i)), STATUS_OK);
  checkpoint_close(c);
  size_t size;
  char *bytes = scratch_read(tiny, &size);
  for (size_t n = 0; n < size; n += 1 + size / 97) {
    assert_null(checkpoint_parse(bytes, n, "memory"));
    try_exactly(bytes, n);
  }
  for (size_t n = size - 40; n < size; n++) try_exactly(bytes, n);
  free(bytes);
}

/* Every byte of a small archive and of its pickle alone, where no checksum guards it. */
static void test_every_byte_flipped(void **state) {
  writer w = {.size = 0};
  PUT(&w, "\x80\x02}q\1(");
  put_tensor(&w, "a", "FloatStorage", 6, 0, 2, (int64_t[]){3, 2}, (int64_t[]){1, 3});
  put_tensor(&w, "b", "FloatStorage", 6, 2, 1, (int64_t[]){4}, (int64_t[]){1});
  PUT(&w, "u.");
  size_t size, parsed = 0;
  for (size_t i = 0; i < w.size; i++)
    for (int flip = 0; flip < 9; flip++) {
      writer changed = w;
      changed.bytes[i] ^= (char)(flip < 8 ? 1 << flip : 0xff);
      char *bytes = make_pth(state, &changed, ZIP_CM_STORE, &size);
      checkpoint *c = checkpoint_parse(bytes, size, "memory");
      parsed += c != NULL;
      for (size_t k = 0; c && k < checkpoint_count(c); k++) checkpoint_first_nonfinite(checkpoint_at(c, k));
      checkpoint_close(c);
      free(bytes);
    }
  assert_true(parsed > 0); /* a changed letter of a name, for one */
  char *bytes = make_pth(state, &w, ZIP_CM_STORE, &size);
  for (size_t i = 0; i < size; i++) {
    bytes[i] ^= (char)0xff;
    try_exactly(bytes, size);
    bytes[i] ^= (char)0xff;
  }
  free(bytes);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_views),
      IN_SCRATCH(test_types),
      IN_SCRATCH(test_nested),
      IN_SCRATCH(test_calls_are_refused),
      IN_SCRATCH(test_impossible_tensors),
      IN_SCRATCH(test_impossible_names),
      IN_SCRATCH(test_other_archives),
      cmocka_unit_test(test_real_and_truncated),
      IN_SCRATCH(test_every_byte_flipped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
