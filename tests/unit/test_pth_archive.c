/* The zip side of PyTorch archives: what they hold beside the tensors, other people's zip files, and the tricks by
 * which one reader of a zip file is shown something else than another one (spec ecosystem section 6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "tests/support/make_pth.h"
#include "tests/support/scratch.h"
#include "weights/checkpoint.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static const float six[] = {0, 1, 2, 3, 4, 5}, other[] = {9, 9, 9, 9, 9, 9};
static const char empty[] = "\x80\x02}.";

static void expect_error(const char *words) {
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
}

static void expect_refused(const char *bytes, size_t size, const char *words) {
  if (checkpoint_parse(bytes, size, "memory")) fail_msg("opened, not refused as \"%s\"", words);
  expect_error(words);
}

static checkpoint *parse(const char *bytes, size_t size) {
  checkpoint *c = checkpoint_parse(bytes, size, "memory");
  if (!c) fail_msg("%s", last_error());
  return c;
}

static void expect_six(const checkpoint *c) {
  float have[6];
  const checkpoint_tensor *t = checkpoint_find(c, "x");
  assert_non_null(t);
  assert_int_equal(checkpoint_read_f32(c, t, have), STATUS_OK);
  assert_memory_equal(have, six, sizeof six);
}

static void put_x(pickle_writer *w) {
  w->size = 0;
  PUT(w, "\x80\x02}(");
  put_six(w, "x");
  PUT(w, "u.");
}

/* The archive of one tensor x, and one more entry. */
static char *make_with(const char *name, const void *bytes, size_t n, size_t *size) {
  pickle_writer w;
  put_x(&w);
  const pth_entry entries[] = {{"a/data.pkl", w.bytes, w.size}, {"a/data/0", six, sizeof six}, {name, bytes, n}};
  return make_zip(entries, 3, ZIP_CM_STORE, size);
}

static void test_other_archives(void **state) {
  (void)state;
  static const char zeros[1 << 21];
  const struct {
    pth_entry entries[2];
    size_t count;
    int method;
    const char *words;
  } archives[] = {
      {{{"a.txt", "text", 4}}, 1, ZIP_CM_STORE, "is a zip file, but not PyTorch's"},
      {{{"data.pkl", empty, 4}}, 1, ZIP_CM_STORE, "is a zip file, but not PyTorch's"},
      {{{"a/data.pkl", empty, 4}, {"b/data.pkl", empty, 4}}, 2, ZIP_CM_STORE, "data.pkl in 2 folders"},
      {{{"a/data.pkl", empty, 4}, {"a/byteorder", "big", 3}}, 2, ZIP_CM_STORE, "big-endian"},
      {{{"a/data.pkl", empty, 4}, {"a/byteorder", "Little", 6}}, 2, ZIP_CM_STORE, "big-endian"},
      {{{"a/data.pkl", empty, 4}}, 1, ZIP_CM_STORE, "holds no dictionary of named tensors"},
      {{{"a/data.pkl", "", 0}}, 1, ZIP_CM_STORE, "does not begin with its protocol"},
      {{{"a/data.pkl", zeros, sizeof zeros}}, 1, ZIP_CM_DEFLATE, "would unpack to 2097152 bytes"},
  };
  for (size_t i = 0; i < sizeof archives / sizeof *archives; i++) {
    size_t size;
    char *bytes = make_zip(archives[i].entries, archives[i].count, archives[i].method, &size);
    expect_refused(bytes, size, archives[i].words);
    free(bytes);
  }
}

/* The formats before 1.6, whose loader in PyTorch ran what it should not (CVE-2025-32434): a bare pickle, and a tar
 * archive. Both are named, not read. */
static void test_legacy(void **state) {
  (void)state;
  char tar[1024] = "pickle";
  static const char magic[] = "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\2M\xe9\3.";
  memcpy(tar + 257, "ustar", 5);
  expect_refused(magic, sizeof magic - 1, "before 1.6");
  expect_refused(tar, sizeof tar, "a tar archive");
}

/* Records that newer versions write, names that lead out of the folder, and programs: none of them is looked at. */
static void test_records_beside(void **state) {
  (void)state;
  static const char *const names[] = {
      "a/.data/serialization_id", "a/.format_version", "a/.storage_alignment", "a/version", "a/code/x.py",
      "../../etc/passwd",         "/etc/passwd",       "a/data/../0",          "a/data/1",  "a/data.pkl/data.pkl"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    size_t size;
    bool checked;
    char *bytes = make_with(names[i], other, sizeof other, &size);
    checkpoint *c = parse(bytes, size);
    expect_six(c);
    assert_int_equal(checkpoint_verify(c, &checked), STATUS_OK);
    checkpoint_close(c);
    free(bytes);
  }
}

/* A storage's key is a name within the archive's data folder. */
static void test_keys(void **state) {
  (void)state;
  static const char *const keys[] = {
      "",     "../data.pkl", "a b",
      "\x7f", "\xc3\xa4",    "0123456789012345678901234567890123456789012345678901234567890123456789"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    pickle_writer w = {.size = 0};
    PUT(&w, "\x80\x02}(");
    put_text(&w, "x");
    put_global(&w, "torch._utils _rebuild_tensor_v2");
    PUT(&w, "(");
    put_storage(&w, "FloatStorage", keys[i], 6);
    put_int(&w, 0);
    put_ints(&w, 1, (int64_t[]){6});
    put_ints(&w, 1, (int64_t[]){1});
    PUT(&w, "tRu.");
    size_t size;
    char *bytes = make_pth(&w, ZIP_CM_STORE, &size);
    expect_refused(bytes, size, "an impossible key");
    free(bytes);
  }
}

/* --- archives whose records were changed by hand ------------------------------------------------------------------ */

enum { LOCAL_NAME = 30, CENTRAL_NAME = 46 };

/* The record of an entry, by the signature that its kind begins with and the place of its name there. */
static char *find_record(char *bytes, size_t size, const char *signature, int name_at, const char *name) {
  const size_t length = strlen(name);
  for (size_t i = 0; i + (size_t)name_at + length <= size; i++)
    if (!memcmp(bytes + i, signature, 4) && !memcmp(bytes + i + name_at, name, length)) return bytes + i;
  fail_msg("no record of %s", name);
  return NULL;
}

static char *find_local(char *bytes, size_t size, const char *name) {
  return find_record(bytes, size, "PK\3\4", LOCAL_NAME, name);
}

static char *find_central(char *bytes, size_t size, const char *name) {
  return find_record(bytes, size, "PK\1\2", CENTRAL_NAME, name);
}

/* Readers disagree on which of the two is meant. */
static void test_names_twice(void **state) {
  (void)state;
  size_t size;
  char *bytes = make_with("a/data/1", other, sizeof other, &size);
  find_central(bytes, size, "a/data/1")[CENTRAL_NAME + 7] = '0';
  find_local(bytes, size, "a/data/1")[LOCAL_NAME + 7] = '0';
  expect_refused(bytes, size, "the archive holds a/data/0 more than once");
  free(bytes);
  bytes = make_with("b/data.pkl", empty, 4, &size);
  find_central(bytes, size, "b/data.pkl")[CENTRAL_NAME] = 'a';
  expect_refused(bytes, size, "the archive holds a/data.pkl more than once");
  free(bytes);
}

/* The central directory says which entry is which, as it does for PyTorch. */
static void test_local_names(void **state) {
  (void)state;
  size_t size;
  char *bytes = make_with("a/data/1", other, sizeof other, &size);
  find_local(bytes, size, "a/data/0")[LOCAL_NAME + 7] = '7';
  find_local(bytes, size, "a/data/1")[LOCAL_NAME + 7] = '0';
  checkpoint *c = parse(bytes, size);
  expect_six(c);
  checkpoint_close(c);
  free(bytes);
}

/* An entry that points at another one's bytes of the same size has not its checksum. */
static void test_other_place(void **state) {
  (void)state;
  float have[6];
  size_t size;
  char *bytes = make_with("a/data/1", other, sizeof other, &size);
  char *to = find_central(bytes, size, "a/data/0");
  memcpy(to + 42, find_central(bytes, size, "a/data/1") + 42, 4);
  checkpoint *c = parse(bytes, size);
  assert_int_equal(checkpoint_read_f32(c, checkpoint_find(c, "x"), have), STATUS_FORMAT);
  expect_error("memory: tensor x: entry a/data/0 of the archive is damaged: CRC error");
  checkpoint_close(c);
  free(bytes);
}

static void test_changed_records(void **state) {
  (void)state;
  static const struct {
    const char *entry;
    size_t at; /* in the central record */
    char value;
    const char *words;
  } changes[] = {
      {"a/data/0", 8, 1, "entry a/data/0 of the archive is encrypted"},
      {"a/data.pkl", 8, 1, "entry a/data.pkl of the archive is encrypted"},
      {"a/data/0", 10, 12, "packed by method 12"},
      {"a/data/0", 24, 23, "its storage a/data/0 has 23 bytes, not 6 of type F32"},
      {"a/data/0", 27, 127, "entry a/data/0 claims"},
      {"a/data.pkl", 16, 0x55, "entry a/data.pkl of the archive is damaged: CRC error"},
      {"a/data.pkl", 24, 10, "entry a/data.pkl of the archive is damaged"},
  };
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    pickle_writer w;
    size_t size;
    put_x(&w);
    const pth_entry entries[] = {{"a/data.pkl", w.bytes, w.size}, {"a/data/0", six, sizeof six}};
    char *bytes = make_zip(entries, 2, ZIP_CM_STORE, &size);
    find_central(bytes, size, changes[i].entry)[changes[i].at] = changes[i].value;
    expect_refused(bytes, size, changes[i].words);
    free(bytes);
  }
}

/* A storage that unpacks to far more than the file holds is refused before anything is unpacked. */
static void test_bomb(void **state) {
  (void)state;
  static const char zeros[1 << 22];
  const int64_t n = sizeof zeros;
  pickle_writer w = {.size = 0};
  PUT(&w, "\x80\x02}(");
  put_tensor(&w, "x", "ByteStorage", n, 0, 1, &n, (int64_t[]){1});
  PUT(&w, "u.");
  const pth_entry entries[] = {{"a/data.pkl", w.bytes, w.size}, {"a/data/0", zeros, sizeof zeros}};
  size_t size;
  char *bytes = make_zip(entries, 2, ZIP_CM_DEFLATE, &size);
  expect_refused(bytes, size, "tensor x: entry a/data/0 would unpack to 4194304 bytes");
  free(bytes);
}

/* A mapped file, larger than the pages that are kept: each of its tensors can be read, again and again. */
static void test_mapped(void **state) {
  const int64_t n = (INT64_C(48) << 20) + 4;
  pickle_writer w = {.size = 0};
  uint8_t *values = malloc((size_t)n), *have = malloc((size_t)n);
  assert_true(values && have);
  for (int64_t i = 0; i < n; i++) values[i] = (uint8_t)((uint64_t)i * 2654435761u >> 24);
  PUT(&w, "\x80\x02}(");
  put_tensor(&w, "x", "ByteStorage", n, 0, 1, &n, (int64_t[]){1});
  put_tensor(&w, "y", "ByteStorage", n, n - 3, 1, (int64_t[]){3}, (int64_t[]){1});
  PUT(&w, "u.");
  const pth_entry entries[] = {{"a/data.pkl", w.bytes, w.size}, {"a/data/0", values, (size_t)n}};
  size_t size;
  char *bytes = make_zip(entries, 2, ZIP_CM_STORE, &size), *path = scratch_path(state, "made.pth");
  scratch_write(path, bytes, size);
  free(bytes);
  checkpoint *c = checkpoint_open(path);
  if (!c) fail_msg("%s", last_error());
  for (int again = 0; again < 3; again++) {
    assert_int_equal(checkpoint_read(c, checkpoint_find(c, "x"), 0, (size_t)n, have), STATUS_OK);
    assert_memory_equal(have, values, n);
    assert_int_equal(checkpoint_read(c, checkpoint_find(c, "y"), 0, 3, have), STATUS_OK);
    assert_memory_equal(have, values + n - 3, 3);
  }
  checkpoint_close(c);
  free(path);
  free(values);
  free(have);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_other_archives),
      cmocka_unit_test(test_legacy),
      cmocka_unit_test(test_records_beside),
      cmocka_unit_test(test_keys),
      cmocka_unit_test(test_names_twice),
      cmocka_unit_test(test_local_names),
      cmocka_unit_test(test_other_place),
      cmocka_unit_test(test_changed_records),
      cmocka_unit_test(test_bomb),
      cmocka_unit_test_setup_teardown(test_mapped, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
