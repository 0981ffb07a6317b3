/* PyTorch archives: the values of real ones, types, strides, offsets and shared storages, read whole and in pieces; and
 * damaged and hostile ones: every one gives one clear sentence or tensors, never a crash (run under ASan). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "tests/support/make_pth.h"
#include "tests/support/scratch.h"
#include "weights/checkpoint.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static const char tiny[] = "tests/goldens/rwkv6/tiny-fp32/model.pth";

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

static checkpoint *parse(const char *bytes, size_t size) {
  checkpoint *c = checkpoint_parse(bytes, size, "memory");
  if (!c) fail_msg("%s", last_error());
  return c;
}

static void expect_refused(const pickle_writer *w, const char *words) {
  size_t size;
  char *bytes = make_pth(w, ZIP_CM_STORE, &size);
  if (checkpoint_parse(bytes, size, "memory")) fail_msg("accepted, not refused as \"%s\"", words);
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
  assert_memory_equal(last_error(), "memory: ", 8);
  free(bytes);
}

static void test_views(void **state) {
  (void)state;
  for (int method = ZIP_CM_STORE; method <= ZIP_CM_DEFLATE; method += ZIP_CM_DEFLATE) {
    pickle_writer w = {.size = 0};
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
    char *bytes = make_pth(&w, method, &size);
    checkpoint *c = parse(bytes, size);
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
  (void)state;
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
    pickle_writer w = {.size = 0};
    PUT(&w, "\x80\x02}(");
    put_tensor(&w, "x", types[i].class, types[i].elements, 0, 1, &types[i].elements, (int64_t[]){1});
    PUT(&w, "u.");
    size_t size;
    char *bytes = make_pth(&w, ZIP_CM_STORE, &size);
    checkpoint *c = parse(bytes, size);
    assert_int_equal(checkpoint_at(c, 0)->dtype, types[i].dtype);
    assert_int_equal(checkpoint_at(c, 0)->bytes, 24);
    checkpoint_close(c);
    free(bytes);
  }
}

/* The types that have no storage class of their own are named in the tensor; its storage is of bytes. */
static void put_tensor_v3(pickle_writer *w, const char *name, const char *storage, int64_t bytes, int64_t offset,
                          int64_t elements, const char *type) {
  put_text(w, name);
  put_global(w, "torch._utils _rebuild_tensor_v3");
  PUT(w, "((");
  put_text(w, "storage");
  put_global(w, storage);
  put_text(w, "0");
  put_text(w, "cpu");
  put_int(w, bytes);
  PUT(w, "tQ");
  put_int(w, offset);
  put_ints(w, 1, &elements);
  put_ints(w, 1, (int64_t[]){1});
  PUT(w, "\x89N");
  put_global(w, type);
  PUT(w, "tR");
}

static void test_named_types(void **state) {
  (void)state;
  pickle_writer w = {.size = 0};
  PUT(&w, "\x80\x02}(");
  put_tensor_v3(&w, "u16", "torch.storage UntypedStorage", 24, 2, 10, "torch uint16");
  put_tensor_v3(&w, "u32", "torch UntypedStorage", 24, 0, 6, "torch uint32");
  put_tensor_v3(&w, "u64", "torch UntypedStorage", 24, 1, 2, "torch uint64");
  put_tensor_v3(&w, "f32", "torch UntypedStorage", 24, 4, 2, "torch float32");
  PUT(&w, "u.");
  size_t size;
  char *bytes = make_pth(&w, ZIP_CM_STORE, &size);
  checkpoint *c = parse(bytes, size);
  assert_int_equal(checkpoint_find(c, "u16")->dtype, CHECKPOINT_U16);
  assert_int_equal(checkpoint_find(c, "u32")->dtype, CHECKPOINT_U32);
  assert_int_equal(checkpoint_find(c, "u64")->dtype, CHECKPOINT_U64);
  expect_values(c, "f32", 1, VALUES(4, 5));
  uint16_t u16[10];
  assert_int_equal(checkpoint_read(c, checkpoint_find(c, "u16"), 0, sizeof u16, u16), STATUS_OK);
  assert_int_equal(u16[1], 0x3f80); /* the upper half of 1.0f */
  checkpoint_close(c);
  free(bytes);
  static const struct {
    int64_t bytes, offset, elements;
    const char *type, *words;
  } wrong[] = {{24, 3, 10, "torch uint16", "reaches beyond its storage of 12 elements"},
               {24, 0, 4, "torch uint64", "reaches beyond its storage of 3 elements"},
               {12, 0, 4, "torch uint16", "has 24 bytes, not 12"},
               {24, 0, 4, "torch float8_e4m3fn", "tensor x is of type torch.float8_e4m3fn"},
               {24, 0, 4, "torch bits8", "does not read: x (torch.bits8)"},
               {24, 0, 4, "os system", "a tensor is not described"}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    w.size = 0;
    PUT(&w, "\x80\x02}(");
    put_tensor_v3(&w, "x", "torch UntypedStorage", wrong[i].bytes, wrong[i].offset, wrong[i].elements, wrong[i].type);
    PUT(&w, "u.");
    expect_refused(&w, wrong[i].words);
  }
}

/* Parameters, buffers and tensors with attributes are their tensors. */
static void test_wrapped_tensors(void **state) {
  (void)state;
  pickle_writer w = {.size = 0};
  const int64_t six[] = {6}, one[] = {1};
  PUT(&w, "\x80\x02}(");
  put_text(&w, "parameter");
  put_global(&w, "torch._utils _rebuild_parameter");
  PUT(&w, "(");
  put_value(&w, "FloatStorage", 6, 0, 1, six, one);
  PUT(&w, "\x88N");
  PUT(&w, "tR");
  put_text(&w, "with state");
  put_global(&w, "torch._utils _rebuild_parameter_with_state");
  PUT(&w, "(");
  put_value(&w, "FloatStorage", 6, 0, 1, six, one);
  PUT(&w, "\x88N}tR");
  put_text(&w, "subclass");
  put_global(&w, "torch._tensor _rebuild_from_type_v2");
  PUT(&w, "(");
  put_global(&w, "torch._utils _rebuild_tensor_v2");
  put_global(&w, "torch.nn.parameter Buffer");
  PUT(&w, "(");
  put_storage(&w, "FloatStorage", "0", 6);
  put_int(&w, 0);
  put_ints(&w, 1, six);
  put_ints(&w, 1, one);
  PUT(&w, "\x89NtNtR}b");
  PUT(&w, "u.");
  size_t size;
  char *bytes = make_pth(&w, ZIP_CM_STORE, &size);
  checkpoint *c = parse(bytes, size);
  assert_int_equal(checkpoint_count(c), 3);
  for (size_t i = 0; i < 3; i++) expect_values(c, checkpoint_at(c, i)->name, 1, VALUES(0, 1, 2, 3, 4, 5));
  checkpoint_close(c);
  free(bytes);
  /* Tensor.__setstate__ would give it other bytes (CVE-2026-24747), and so would an item */
  w.size = 0;
  PUT(&w, "\x80\x02}(");
  put_six(&w, "x");
  PUT(&w, "(NK\0))tbu.");
  expect_refused(&w, "the pickle changes a tensor after it was made");
  w.size = 0;
  PUT(&w, "\x80\x02}(");
  put_six(&w, "x");
  PUT(&w, "K\0K\1su.");
  expect_refused(&w, "fills something that takes no items");
}

/* Tensors of other layouts beside those that are read. */
static void test_skipped_tensors(void **state) {
  (void)state;
  pickle_writer w = {.size = 0};
  PUT(&w, "\x80\x02}(");
  put_text(&w, "sparse");
  put_global(&w, "torch._utils _rebuild_sparse_tensor");
  PUT(&w, "NN\x86R");
  put_tensor(&w, "complex", "ComplexFloatStorage", 3, 0, 1, (int64_t[]){3}, (int64_t[]){1});
  put_six(&w, "x");
  PUT(&w, "u.");
  size_t size;
  char *bytes = make_pth(&w, ZIP_CM_STORE, &size);
  checkpoint *c = parse(bytes, size);
  assert_int_equal(checkpoint_count(c), 1);
  expect_values(c, "x", 1, VALUES(0, 1, 2, 3, 4, 5));
  checkpoint_close(c);
  free(bytes);
  w.size = 0;
  PUT(&w, "\x80\x02}(");
  put_text(&w, "q");
  put_global(&w, "torch._utils _rebuild_qtensor");
  PUT(&w, ")R");
  put_tensor(&w, "complex", "ComplexFloatStorage", 3, 0, 1, (int64_t[]){3}, (int64_t[]){1});
  PUT(&w, "u.");
  expect_refused(&w, "does not read: q (torch._utils._rebuild_qtensor), complex (torch.ComplexFloatStorage)");
}

/* --- reading in pieces -------------------------------------------------------------------------------------------- */

enum { ROWS = 130, COLUMNS = 257, BIG = ROWS * COLUMNS };

/* An archive with a matrix and its transpose over one storage; *values is what it holds. */
static char *make_big(int method, int32_t *values, size_t *size) {
  pickle_writer w = {.size = 0};
  for (int i = 0; i < BIG; i++) values[i] = i;
  PUT(&w, "\x80\x02}(");
  put_tensor(&w, "matrix", "IntStorage", BIG, 0, 2, (int64_t[]){ROWS, COLUMNS}, (int64_t[]){COLUMNS, 1});
  put_tensor(&w, "transpose", "IntStorage", BIG, 0, 2, (int64_t[]){COLUMNS, ROWS}, (int64_t[]){1, COLUMNS});
  put_tensor(&w, "row", "IntStorage", BIG, 100 * COLUMNS, 1, (int64_t[]){COLUMNS}, (int64_t[]){1});
  PUT(&w, "u.");
  const pth_entry entries[] = {{"made/data.pkl", w.bytes, w.size}, {"made/data/0", values, BIG * sizeof *values}};
  return make_zip(entries, 2, method, size);
}

/* Every element, read in pieces of `step` elements, forwards or backwards. */
static void expect_pieces(const checkpoint *c, const char *name, size_t step, bool backwards) {
  const checkpoint_tensor *t = checkpoint_find(c, name);
  assert_non_null(t);
  assert_null(t->data);
  int32_t *out = malloc(t->bytes);
  assert_non_null(out);
  const size_t n = t->bytes / 4, pieces = (n + step - 1) / step;
  for (size_t i = 0; i < pieces; i++) {
    const size_t first = (backwards ? pieces - 1 - i : i) * step, count = n - first < step ? n - first : step;
    assert_int_equal(checkpoint_read(c, t, first * 4, count * 4, out + first), STATUS_OK);
  }
  const bool transposed = t->dim[0] == COLUMNS && t->n_dims == 2;
  const int32_t base = t->n_dims == 1 ? 100 * COLUMNS : 0;
  for (int32_t i = 0; i < (int32_t)n; i++)
    assert_int_equal(out[i], transposed ? i % ROWS * COLUMNS + i / ROWS : base + i);
  free(out);
}

static void test_pieces(void **state) {
  (void)state;
  static int32_t values[BIG];
  static const size_t steps[] = {1, 7, 257, 4096, BIG};
  for (int method = ZIP_CM_STORE; method <= ZIP_CM_DEFLATE; method += ZIP_CM_DEFLATE) {
    size_t size;
    bool checked;
    char *bytes = make_big(method, values, &size);
    checkpoint *c = parse(bytes, size);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
      for (int backwards = 0; backwards < 2; backwards++) {
        expect_pieces(c, "matrix", steps[i], backwards);
        expect_pieces(c, "transpose", steps[i], backwards);
        expect_pieces(c, "row", steps[i], backwards);
      }
    assert_int_equal(checkpoint_verify(c, &checked), STATUS_OK);
    assert_true(checked);
    checkpoint_close(c);
    free(bytes);
  }
}

/* Changes a value of the storage, which lies between its neighbours. */
static void damage(char *bytes, size_t size, int32_t value) {
  const int32_t run[] = {value - 1, value, value + 1};
  size_t at = 0;
  while (at + sizeof run <= size && memcmp(bytes + at, run, sizeof run)) at++;
  assert_true(at + sizeof run <= size);
  bytes[at + 4] ^= 1;
}

/* What PyTorch does not notice: a byte that changed on its way. */
static void test_checksum(void **state) {
  (void)state;
  static int32_t values[BIG], out[BIG];
  size_t size;
  bool checked;
  char *bytes = make_big(ZIP_CM_STORE, values, &size);
  damage(bytes, size, 20000);
  checkpoint *c = parse(bytes, size);
  const checkpoint_tensor *t = checkpoint_find(c, "matrix"), *row = checkpoint_find(c, "row");
  for (int again = 0; again < 2; again++) {
    assert_int_equal(checkpoint_read(c, t, 0, t->bytes, out), STATUS_FORMAT);
    assert_string_equal(last_error(), "memory: tensor matrix: entry made/data/0 of the archive is damaged: CRC error");
    assert_int_equal(checkpoint_verify(c, &checked), STATUS_FORMAT);
    assert_non_null(strstr(last_error(), "memory: entry made/data/0 of the archive is damaged"));
    assert_int_equal(checkpoint_read(c, row, 0, row->bytes, out), STATUS_OK); /* not all of it: not seen */
  }
  assert_int_equal(checkpoint_read(c, checkpoint_find(c, "transpose"), 0, t->bytes, out), STATUS_FORMAT);
  checkpoint_close(c);
  free(bytes);
}

typedef struct {
  const checkpoint *c;
  const char *name;
  bool good;
} reading;

static void *read_again_and_again(void *context) {
  reading *r = context;
  const checkpoint_tensor *t = checkpoint_find(r->c, r->name);
  int32_t *whole = malloc(t->bytes), *parts = malloc(t->bytes);
  r->good = whole && parts && !checkpoint_read(r->c, t, 0, t->bytes, whole);
  for (size_t step = 4; r->good && step < t->bytes; step *= 5)
    for (size_t at = 0; r->good && at < t->bytes; at += step)
      r->good = !checkpoint_read(r->c, t, at, t->bytes - at < step ? t->bytes - at : step, (char *)parts + at);
  r->good = r->good && !memcmp(whole, parts, t->bytes);
  free(whole);
  free(parts);
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  static int32_t values[BIG];
  size_t size;
  char *bytes = make_big(ZIP_CM_STORE, values, &size);
  checkpoint *c = parse(bytes, size);
  reading readings[] = {{c, "matrix", false}, {c, "transpose", false}, {c, "row", false}, {c, "matrix", false}};
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, read_again_and_again, &readings[i]), 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 4; i++) assert_true(readings[i].good);
  checkpoint_close(c);
  free(bytes);
}

/* --- damaged and hostile ------------------------------------------------------------------------------------------ */

static void test_impossible_tensors(void **state) {
  (void)state;
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
      {"SystemStorageX", 6, 0, {2, 3}, {3, 1}, "a storage is of class torch.SystemStorageX"},
  };
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
    pickle_writer w = {.size = 0};
    PUT(&w, "\x80\x02}(");
    put_tensor(&w, "x", tensors[i].class, tensors[i].elements, tensors[i].offset, 2, tensors[i].dim, tensors[i].stride);
    PUT(&w, "u.");
    expect_refused(&w, tensors[i].words);
  }
}

static void test_impossible_names(void **state) {
  (void)state;
  static const char *const names[][2] = {
      {"", "an empty name"}, {"a\nb", "control character 0x0a"}, {"\xff", "not UTF-8"}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    pickle_writer w = {.size = 0};
    PUT(&w, "\x80\x02}(");
    put_tensor(&w, names[i][0], "FloatStorage", 6, 0, 0, NULL, NULL);
    PUT(&w, "u.");
    expect_refused(&w, names[i][1]);
  }
}

/* Each tensor may be read or be found damaged. */
static void read_everything(const checkpoint *c) {
  bool checked;
  for (size_t i = 0; i < checkpoint_count(c); i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    char *bytes = malloc(t->bytes + 1);
    assert_non_null(bytes);
    if (checkpoint_read(c, t, 0, t->bytes, bytes)) assert_memory_equal(last_error(), "memory: ", 8);
    free(bytes);
  }
  if (checkpoint_verify(c, &checked)) assert_memory_equal(last_error(), "memory: ", 8);
}

/* The bytes in a block of exactly their size, so that reading past them is seen. */
static void try_exactly(const char *bytes, size_t size) {
  char *block = malloc(size ? size : 1);
  assert_non_null(block);
  memcpy(block, bytes, size);
  checkpoint *c = checkpoint_parse(block, size, "memory");
  if (c)
    read_everything(c);
  else
    assert_memory_equal(last_error(), "memory: ", 8);
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
  (void)state;
  pickle_writer w = {.size = 0};
  PUT(&w, "\x80\x02}q\1(");
  put_tensor(&w, "a", "FloatStorage", 6, 0, 2, (int64_t[]){3, 2}, (int64_t[]){1, 3});
  put_tensor(&w, "b", "FloatStorage", 6, 2, 1, (int64_t[]){4}, (int64_t[]){1});
  PUT(&w, "u.");
  size_t size, parsed = 0;
  for (size_t i = 0; i < w.size; i++)
    for (int flip = 0; flip < 9; flip++) {
      pickle_writer changed = w;
      changed.bytes[i] ^= (char)(flip < 8 ? 1 << flip : 0xff);
      char *bytes = make_pth(&changed, ZIP_CM_STORE, &size);
      checkpoint *c = checkpoint_parse(bytes, size, "memory");
      parsed += c != NULL;
      if (c) read_everything(c);
      checkpoint_close(c);
      free(bytes);
    }
  assert_true(parsed > 0); /* a changed letter of a name, for one */
  char *bytes = make_pth(&w, ZIP_CM_STORE, &size);
  for (size_t i = 0; i < size; i++) {
    bytes[i] ^= (char)0xff;
    try_exactly(bytes, size);
    bytes[i] ^= (char)0xff;
  }
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_views),
      cmocka_unit_test(test_types),
      cmocka_unit_test(test_named_types),
      cmocka_unit_test(test_wrapped_tensors),
      cmocka_unit_test(test_skipped_tensors),
      cmocka_unit_test(test_pieces),
      cmocka_unit_test(test_checksum),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_impossible_tensors),
      cmocka_unit_test(test_impossible_names),
      cmocka_unit_test(test_real_and_truncated),
      cmocka_unit_test(test_every_byte_flipped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
