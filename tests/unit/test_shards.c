/* Models in several files: an index of safetensors shards, and the parts of a split GGUF file. Whatever disagrees is
 * refused with a sentence that names it; nothing outside the folder is ever opened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/bytes.h"
#include "tests/support/scratch.h"
#include "weights/checkpoint.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

/* --- making files ------------------------------------------------------------------------------------------------- */

/* A safetensors file of tensors [2] with the values 10 n, 10 n + 1, n counting from `first`. `names` are joined by
 * blanks. */
static void write_shard(void **state, const char *file, const char *metadata, const char *names, int first) {
  char header[2048], text[256], *path = scratch_path(state, file);
  uint8_t bytes[4096];
  size_t used = (size_t)snprintf(header, sizeof header, "{\"__metadata__\":{%s}", metadata), n = 0;
  snprintf(text, sizeof text, "%s", names);
  for (char *name = strtok(text, " "); name; name = strtok(NULL, " "), n++)
    used += (size_t)snprintf(header + used, sizeof header - used,
                             ",\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[%zu,%zu]}", name, 8 * n,
                             8 * n + 8);
  used += (size_t)snprintf(header + used, sizeof header - used, "}");
  assert_true(used < sizeof header && 8 + used + 8 * n <= sizeof bytes);
  put_little(bytes, used, 8);
  memcpy(bytes + 8, header, used);
  for (size_t i = 0; i < 2 * n; i++) {
    const float value = (float)(10 * (first + (int)(i / 2)) + (int)(i % 2));
    memcpy(bytes + 8 + used + 4 * i, &value, 4);
  }
  scratch_write(path, bytes, 8 + used + 8 * n);
  free(path);
}

static char *write_text(void **state, const char *file, const char *text) {
  char *path = scratch_path(state, file);
  scratch_write(path, text, strlen(text));
  return path;
}

#define FIRST "model-00001-of-00002.safetensors"
#define SECOND "model-00002-of-00002.safetensors"
#define MAP "\"z\":\"" FIRST "\",\"a\":\"" SECOND "\",\"m\":\"" FIRST "\""

/* z and m in the first file, a in the second. */
static void write_shards(void **state) {
  write_shard(state, FIRST, "\"format\":\"pt\",\"note\":\"of the shard\"", "z m", 1);
  write_shard(state, SECOND, "\"format\":\"other\"", "a", 3);
}

static void expect_pair(const checkpoint *c, const char *name, float value) {
  float found[2];
  const checkpoint_tensor *t = checkpoint_find(c, name);
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(t->bytes, 8);
  assert_int_equal(checkpoint_read_f32(c, t, found), STATUS_OK);
  assert_true(found[0] == value && found[1] == value + 1);
}

static void expect_refused(checkpoint *c, const char *path, const char *what, status code, const char *words) {
  if (c) fail_msg("%s was accepted", what);
  if (!strstr(last_error(), words)) fail_msg("%s: \"%s\" does not say \"%s\"", what, last_error(), words);
  if (strncmp(last_error(), path, strlen(path))) fail_msg("%s: \"%s\" does not name the file", what, last_error());
  assert_int_equal(last_status(), code);
}

/* --- an index ----------------------------------------------------------------------------------------------------- */

static void test_index(void **state) {
  write_shards(state);
  char *path = write_text(state, "model.safetensors.index.json",
                          "{\"metadata\":{\"total_size\":24,\"share\":0.5,\"tied\":false,\"note\":\"of the whole\","
                          "\"more\":{\"deep\":[1]},\"none\":null},\n\"weight_map\":{" MAP "}}");
  bool has_checksum;
  int64_t integer;
  double real;
  for (int folder = 0; folder < 2; folder++) { /* by the index, and by the folder that it lies in */
    checkpoint *c = checkpoint_open(folder ? *state : path);
    if (!c) fail_msg("%s", last_error());
    assert_string_equal(checkpoint_container(c), "safetensors");
    assert_string_equal(checkpoint_path(c), path);
    const char *order[] = {"z", "m", "a"};
    assert_int_equal(checkpoint_count(c), 3);
    for (size_t i = 0; i < 3; i++) {
      assert_string_equal(checkpoint_at(c, i)->name, order[i]);
      expect_pair(c, order[i], (float)(10 + 10 * i));
    }
    assert_int_equal(checkpoint_metadata_count(c), 5);
    assert_true(metadata_integer(&checkpoint_metadata_find(c, "total_size")->value, &integer) && integer == 24);
    assert_true(metadata_real(&checkpoint_metadata_find(c, "share")->value, &real) && real == 0.5);
    assert_int_equal(checkpoint_metadata_find(c, "tied")->value.type, METADATA_BOOL);
    assert_int_equal(*checkpoint_metadata_find(c, "tied")->value.bytes, 0);
    assert_string_equal(checkpoint_metadata(c, "note"), "of the whole");
    assert_string_equal(checkpoint_metadata(c, "format"), "pt");
    assert_int_equal(checkpoint_verify(c, &has_checksum), STATUS_OK);
    assert_false(has_checksum);
    checkpoint_close(c);
  }
  free(path);
}

/* Training wrappers' prefixes are taken off the whole, not off its shards. */
static void test_prefix(void **state) {
  write_shard(state, FIRST, "", "module.z", 1);
  write_shard(state, SECOND, "", "module.a", 2);
  char *path = write_text(state, "x.json", "{\"weight_map\":{\"module.z\":\"" FIRST "\",\"module.a\":\"" SECOND "\"}}");
  checkpoint *c = checkpoint_open(path);
  if (!c) fail_msg("%s", last_error());
  assert_string_equal(checkpoint_prefix(c), "module.");
  expect_pair(c, "z", 10);
  expect_pair(c, "a", 20);
  checkpoint_close(c);
  free(path);
}

#define IN(file) "{\"weight_map\":{\"a\":" file "}}"
static void test_bad_indexes(void **state) {
  static const struct {
    const char *what, *index;
    status code;
    const char *words;
  } cases[] = {
      {"an empty map", "{\"weight_map\":{}}", STATUS_FORMAT, "no weight_map that names tensors"},
      {"a map that is a list", "{\"weight_map\":[\"a\"]}", STATUS_FORMAT, "no weight_map that names tensors"},
      {"only the word", "{\"metadata\":\"weight_map\", \"weight_map\":1}", STATUS_FORMAT, "no weight_map"},
      {"text behind it", "{\"weight_map\":{" MAP "}} more", STATUS_FORMAT, "the index"},
      {"a tensor twice", "{\"weight_map\":{\"a\":\"" SECOND "\",\"a\":\"" SECOND "\"}}", STATUS_FORMAT, "the index"},
      {"a number", IN("1"), STATUS_FORMAT, "tensor a is not given the plain name"},
      {"no name", IN("\"\""), STATUS_FORMAT, "tensor a is not given the plain name"},
      {"a folder", IN("\"..\""), STATUS_FORMAT, "tensor a is not given the plain name"},
      {"another folder", IN("\"../" FIRST "\""), STATUS_FORMAT, "tensor a is not given the plain name"},
      {"from the root", IN("\"/etc/passwd\""), STATUS_FORMAT, "tensor a is not given the plain name"},
      {"a backslash", IN("\"..\\\\x\""), STATUS_FORMAT, "tensor a is not given the plain name"},
      {"a line end", IN("\"x\\n\""), STATUS_FORMAT, "tensor a is not given the plain name"},
      {"a zero byte", IN("\"x\\u0000y\""), STATUS_FORMAT, "the index"},
      {"no such file", IN("\"missing\""), STATUS_IO, "missing: cannot open"},
      {"the index itself", IN("\"index.json\""), STATUS_FORMAT, "is an index of shards, and not a shard"},
      {"something else", IN("\"text\""), STATUS_FORMAT, "is text"},
      {"another container", IN("\"part.gguf\""), STATUS_FORMAT, "part.gguf is a gguf file, not safetensors"},
      {"a tensor less in the map", "{\"weight_map\":{\"z\":\"" FIRST "\",\"a\":\"" SECOND "\"}}", STATUS_FORMAT,
       "tensor m is in " FIRST ", but not in the index"},
      {"a tensor more in the map", "{\"weight_map\":{" MAP ",\"q\":\"" SECOND "\"}}", STATUS_FORMAT,
       "tensor q should be in " SECOND ", but is not"},
      {"a tensor elsewhere", "{\"weight_map\":{\"z\":\"" FIRST "\",\"m\":\"" SECOND "\",\"a\":\"" SECOND "\"}}",
       STATUS_FORMAT, "tensor m is in " FIRST ", but the index says " SECOND},
      {"a tensor in two files", "{\"weight_map\":{" MAP ",\"b\":\"again\"}}", STATUS_FORMAT,
       "tensor z is in again, but the index says " FIRST},
  };
  write_shards(state);
  write_shard(state, "again", "", "z b", 5);
  free(write_text(state, "text", "A read me.\n"));
  char *gguf = scratch_path(state, "part.gguf"), *path = scratch_path(state, "index.json");
  scratch_write(gguf, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scratch_write(path, cases[i].index, strlen(cases[i].index));
    expect_refused(checkpoint_open(path), path, cases[i].what, cases[i].code, cases[i].words);
  }
  free(gguf);
  free(path);
}

/* Bytes in memory have no folder: nothing is opened for them. */
static void test_from_memory(void **state) {
  write_shards(state);
  const char index[] = "{\"weight_map\":{" MAP "}}";
  char *path = scratch_path(state, "index.json");
  expect_refused(checkpoint_parse(index, sizeof index - 1, path), path, "memory", STATUS_UNSUPPORTED,
                 "can only be opened from files");
  free(path);
}

static void test_many_files(void **state) {
  char *index = malloc(1 << 16);
  assert_non_null(index);
  size_t used = (size_t)sprintf(index, "{\"weight_map\":{");
  for (int i = 0; i < 1025; i++) used += (size_t)sprintf(index + used, "%s\"t%d\":\"file%d\"", i ? "," : "", i, i);
  sprintf(index + used, "}}");
  char *path = write_text(state, "index.json", index);
  expect_refused(checkpoint_open(path), path, "1025 files", STATUS_UNSUPPORTED, "more than 1024 files");
  free(path);
  free(index);
}

/* Every index that still opens gives tensors that can be read; every other one a sentence. */
static void use(checkpoint *c) {
  float values[2];
  for (size_t i = 0; c && i < checkpoint_count(c); i++)
    assert_int_equal(checkpoint_read_f32(c, checkpoint_at(c, i), values), STATUS_OK);
  if (!c) assert_true(strlen(last_error()) > 10);
  checkpoint_close(c);
}

static void test_damaged_index(void **state) {
  char index[] = "{\"metadata\":{\"total_size\":24},\"weight_map\":{\"z\":\"1.st\",\"a\":\"2.st\"}}";
  const size_t size = sizeof index - 1;
  write_shard(state, "1.st", "", "z", 1);
  write_shard(state, "2.st", "", "a", 2);
  char *path = scratch_path(state, "index.json");
  for (size_t n = 0; n < size; n++) {
    scratch_write(path, index, n);
    expect_refused(checkpoint_open(path), path, "a truncated index", STATUS_FORMAT, " ");
  }
  for (size_t bit = 0; bit < 8 * size; bit++) {
    index[bit / 8] ^= (char)(1 << bit % 8);
    scratch_write(path, index, size);
    use(checkpoint_open(path));
    index[bit / 8] ^= (char)(1 << bit % 8);
  }
  scratch_write(path, index, size);
  checkpoint *c = checkpoint_open(path);
  assert_non_null(c);
  use(c);
  char *shard = scratch_path(state, "2.st");
  size_t bytes;
  char *good = scratch_read(shard, &bytes);
  for (size_t n = 0; n < bytes; n++) {
    scratch_write(shard, good, n);
    expect_refused(checkpoint_open(path), path, "a truncated shard", STATUS_FORMAT, "2.st: ");
  }
  free(good);
  free(shard);
  free(path);
}

/* --- split GGUF --------------------------------------------------------------------------------------------------- */

typedef struct {
  uint8_t bytes[1024];
  size_t size;
} buffer;

static void put(buffer *b, const void *data, size_t n) {
  assert_true(b->size + n <= sizeof b->bytes);
  memcpy(b->bytes + b->size, data, n);
  b->size += n;
}

static void put_number(buffer *b, uint64_t value, int bytes) {
  uint8_t little[8];
  put_little(little, value, bytes);
  put(b, little, (size_t)bytes);
}

static void put_text(buffer *b, const char *text) {
  put_number(b, strlen(text), 8);
  put(b, text, strlen(text));
}

/* One tensor of two f32 and what gguf-split says of a part; `count` 0: nothing. */
static void write_part(void **state, const char *file, const char *tensor, float value, int number, int count,
                       int tensors) {
  buffer b = {.size = 0};
  const float values[2] = {value, value + 1};
  char *path = scratch_path(state, file);
  put(&b, "GGUF\3\0\0\0", 8);
  put_number(&b, 1, 8);
  put_number(&b, count ? 4 : 1, 8);
  put_text(&b, "note");
  put_number(&b, METADATA_STRING, 4);
  put_text(&b, tensor);
  if (count) {
    put_text(&b, "split.no");
    put_number(&b, METADATA_U16, 4);
    put_number(&b, (uint64_t)number, 2);
    put_text(&b, "split.count");
    put_number(&b, METADATA_U16, 4);
    put_number(&b, (uint64_t)count, 2);
    put_text(&b, "split.tensors.count");
    put_number(&b, METADATA_I32, 4);
    put_number(&b, (uint64_t)tensors, 4);
  }
  put_text(&b, tensor);
  put_number(&b, 1, 4); /* dimensions */
  put_number(&b, 2, 8);
  put_number(&b, 0, 4); /* F32 */
  put_number(&b, 0, 8); /* offset */
  while (b.size % 32) put_number(&b, 0, 1);
  put(&b, values, 8);
  while (b.size % 32) put_number(&b, 0, 1);
  scratch_write(path, b.bytes, b.size);
  free(path);
}

static void write_split(void **state) {
  write_part(state, "m-00001-of-00003.gguf", "one", 1, 0, 3, 3);
  write_part(state, "m-00002-of-00003.gguf", "two", 2, 1, 3, 3);
  write_part(state, "m-00003-of-00003.gguf", "three", 3, 2, 3, 3);
}

static void test_split(void **state) {
  write_split(state);
  char *path = scratch_path(state, "m-00001-of-00003.gguf");
  checkpoint *c = checkpoint_open(path);
  if (!c) fail_msg("%s", last_error());
  assert_string_equal(checkpoint_container(c), "gguf");
  assert_int_equal(checkpoint_count(c), 3);
  assert_string_equal(checkpoint_at(c, 2)->name, "three");
  expect_pair(c, "one", 1);
  expect_pair(c, "two", 2);
  expect_pair(c, "three", 3);
  assert_int_equal(checkpoint_metadata_count(c), 1); /* the whole is not split */
  assert_string_equal(checkpoint_metadata(c, "note"), "one");
  checkpoint_close(c);
  write_part(state, "m-00001-of-00003.gguf", "one", 1, 0, 1, 1); /* the only part of one */
  assert_non_null(c = checkpoint_open(path));
  assert_int_equal(checkpoint_count(c), 1);
  checkpoint_close(c);
  free(path);
}

static void expect_split_refused(void **state, const char *file, const char *what, status code, const char *words) {
  char *path = scratch_path(state, file);
  expect_refused(checkpoint_open(path), path, what, code, words);
  free(path);
}

static void test_bad_splits(void **state) {
  const char *first = "m-00001-of-00003.gguf", *last = "m-00003-of-00003.gguf";
  write_split(state);
  expect_split_refused(state, last, "the last", STATUS_UNSUPPORTED, "is part 3 of 3: open the first");
  write_part(state, last, "three", 3, 1, 3, 3);
  expect_split_refused(state, first, "a part twice", STATUS_FORMAT, "says that it is part 2 of 3");
  write_part(state, last, "three", 3, 2, 4, 3);
  expect_split_refused(state, first, "a part of another", STATUS_FORMAT, "says that it is part 3 of 4");
  write_part(state, last, "three", 3, 0, 0, 0);
  expect_split_refused(state, first, "no part at all", STATUS_FORMAT, "says that it is part 1 of 1");
  write_part(state, last, "two", 3, 2, 3, 3);
  expect_split_refused(state, first, "a tensor twice", STATUS_FORMAT, "tensor two is there twice");
  write_shard(state, last, "", "three", 1);
  expect_split_refused(state, first, "another container", STATUS_FORMAT, "is a safetensors file, not gguf");
  char *path = scratch_path(state, last);
  remove(path);
  expect_split_refused(state, first, "a missing part", STATUS_IO, "m-00003-of-00003.gguf: cannot open");
  free(path);
  write_split(state);
  write_part(state, first, "one", 1, 0, 3, 4);
  expect_split_refused(state, first, "a wrong total", STATUS_FORMAT, "split.tensors.count is 4, but the parts hold 3");
  write_part(state, first, "one", 1, 0, 2000, 3);
  expect_split_refused(state, first, "many parts", STATUS_UNSUPPORTED, "is one of 2000 parts");
  write_part(state, "renamed.gguf", "one", 1, 0, 3, 3);
  expect_split_refused(state, "renamed.gguf", "a renamed part", STATUS_FORMAT, "must end with -00001-of-00003.gguf");
  write_part(state, "x", "one", 1, 0, 3, 3);
  expect_split_refused(state, "x", "a short name", STATUS_FORMAT, "must end with -00001-of-00003.gguf");
  size_t size;
  char *whole = scratch_path(state, "renamed.gguf"), *bytes = scratch_read(whole, &size);
  expect_refused(checkpoint_parse(bytes, size, whole), whole, "memory", STATUS_UNSUPPORTED,
                 "only be opened from files");
  free(bytes);
  free(whole);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_index),       IN_SCRATCH(test_prefix),     IN_SCRATCH(test_bad_indexes),
      IN_SCRATCH(test_from_memory), IN_SCRATCH(test_many_files), IN_SCRATCH(test_damaged_index),
      IN_SCRATCH(test_split),       IN_SCRATCH(test_bad_splits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
