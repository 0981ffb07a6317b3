/* IDX files and labelled pictures: folders, lists and IDX give the same set; damaged and odd input is named. */
#include "data/idx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "data/labelled.h"
#include "tests/support/scratch.h"

#include <cmocka.h>

enum { N = 3, H = 2, W = 4 };
static const uint8_t picture_head[] = {0, 0, 8, 3, 0, 0, 0, N, 0, 0, 0, H, 0, 0, 0, W};
static const uint8_t label_file[] = {0, 0, 8, 1, 0, 0, 0, N, 2, 0, 2};

/* A file of pictures whose values are 0, 1, 2, ... */
static size_t make_pictures(uint8_t out[sizeof picture_head + N * H * W]) {
  memcpy(out, picture_head, sizeof picture_head);
  for (int i = 0; i < N * H * W; i++) out[sizeof picture_head + (size_t)i] = (uint8_t)i;
  return sizeof picture_head + N * H * W;
}

static void write_gzip(const char *path, const void *data, size_t bytes) {
  gzFile file = gzopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(gzwrite(file, data, (unsigned)bytes), bytes);
  assert_int_equal(gzclose(file), Z_OK);
}

/* --- arrays --- */

static void test_arrays(void **state) {
  uint8_t bytes[256];
  const size_t n = make_pictures(bytes);
  char *plain = scratch_path(state, "plain"), *packed = scratch_path(state, "packed");
  scratch_write(plain, bytes, n);
  write_gzip(packed, bytes, n);
  for (int i = 0; i < 2; i++) {
    idx_array a;
    assert_int_equal(idx_read(&a, i ? packed : plain, 3), STATUS_OK);
    assert_int_equal(a.n_dims, 3);
    assert_int_equal(a.dim[0], N);
    assert_int_equal(a.dim[1], H);
    assert_int_equal(a.dim[2], W);
    assert_memory_equal(a.values, bytes + sizeof picture_head, N * H * W);
    idx_free(&a);
  }
  free(plain), free(packed);
}

static void refused(const char *path, const void *bytes, size_t n, status expected, const char *word) {
  idx_array a;
  scratch_write(path, bytes, n);
  const status found = idx_read(&a, path, 3);
  idx_free(&a);
  if (found != expected || !strstr(last_error(), path) || !strstr(last_error(), word))
    fail_msg("%d instead of %d, or not '%s': %s", found, expected, word, last_error());
}

static void test_hostile_arrays(void **state) {
  uint8_t good[256], bad[256];
  const size_t n = make_pictures(good);
  char *path = scratch_path(state, "idx");
  for (size_t cut = 0; cut < n; cut++) refused(path, good, cut, STATUS_FORMAT, "");
  refused(path, good, n + 1, STATUS_FORMAT, "bytes of values");
  const struct {
    size_t at;
    uint8_t value;
    status expected;
    const char *word;
  } changes[] = {
      {0, 1, STATUS_FORMAT, "no IDX"},      {1, 1, STATUS_FORMAT, "no IDX"},
      {2, 9, STATUS_UNSUPPORTED, "type"},   {2, 13, STATUS_UNSUPPORTED, "type"},
      {3, 1, STATUS_FORMAT, "dimensions"},  {3, 200, STATUS_FORMAT, "dimensions"},
      {7, 0, STATUS_FORMAT, "dimension 0"}, {4, 255, STATUS_FORMAT, "dimension"},
      {8, 255, STATUS_FORMAT, "dimension"}, {15, 5, STATUS_FORMAT, "bytes of values"},
  };
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    memcpy(bad, good, n);
    bad[changes[i].at] = changes[i].value;
    refused(path, bad, n, changes[i].expected, changes[i].word);
  }
  memcpy(bad, good, n);
  memset(bad + 4, 255, 12); /* a product beyond 64 bits */
  refused(path, bad, n, STATUS_FORMAT, "dimension");
  write_gzip(path, good, n);
  size_t packed;
  char *bytes = scratch_read(path, &packed);
  refused(path, bytes, packed / 2, STATUS_FORMAT, "gzip");
  free(bytes);
  idx_array a;
  assert_int_equal(idx_read(&a, "no/such/file", 3), STATUS_IO);
  assert_int_equal(idx_read(&a, path, IDX_DIMS + 1), STATUS_ARGUMENT);
  free(path);
}

/* --- sets --- */

/* Where a test keeps a set of every kind; folders are removed again. */
typedef struct {
  char *idx, *labels, *list, *json, *folder, *class[2], *file[N];
} places;
static const char *const class_name[] = {"a cat", "dog"};

static places make_sets(void **state) {
  static const char *const files[N] = {"set/dog/2.png", "set/a cat/1.png", "set/dog/3.png"};
  uint8_t bytes[256];
  places p = {.idx = scratch_path(state, "x-images-idx3-ubyte.gz"),
              .labels = scratch_path(state, "x-labels-idx1-ubyte.gz"),
              .list = scratch_path(state, "list.tsv"),
              .json = scratch_path(state, "list.jsonl"),
              .folder = scratch_path(state, "set"),
              .class = {scratch_path(state, "set/a cat"), scratch_path(state, "set/dog")}};
  write_gzip(p.idx, bytes, make_pictures(bytes));
  scratch_write(p.labels, label_file, sizeof label_file);
  mkdir(p.folder, 0777), mkdir(p.class[0], 0777), mkdir(p.class[1], 0777);
  image *im = image_new(IMAGE_L, W, H);
  for (int i = 0; i < N; i++) {
    p.file[i] = scratch_path(state, files[i]);
    for (int at = 0; at < H * W; at++) ((uint8_t *)im->pixels)[at] = (uint8_t)(i * H * W + at);
    assert_int_equal(image_write_png(p.file[i], im), STATUS_OK);
  }
  image_free(im);
  const char list[] = "# path and label\nset/dog/2.png\tdog\n\nset/a cat/1.png\ta cat\nset/dog/3.png\tdog\n";
  const char json[] = "{\"image\": \"set/dog/2.png\", \"label\": \"dog\"}\n"
                      "{\"label\": \"a cat\", \"image\": \"set/a cat/1.png\"}\n\n"
                      "{\"image\": \"set/dog/3.png\", \"label\": \"dog\"}";
  scratch_write(p.list, list, sizeof list - 1);
  scratch_write(p.json, json, sizeof json - 1);
  return p;
}

static void remove_sets(places *p) {
  for (int i = 0; i < N; i++) unlink(p->file[i]), free(p->file[i]);
  rmdir(p->class[0]), rmdir(p->class[1]), rmdir(p->folder);
  free(p->idx), free(p->labels), free(p->list), free(p->json), free(p->folder), free(p->class[0]), free(p->class[1]);
}

/* The pictures' first values and targets, in the set's order. */
static void check_set(const char *path, const label_names *names, const uint8_t first[N], const int32_t target[N]) {
  labelled *set = labelled_open(path, names);
  if (!set) fail_msg("%s", last_error());
  assert_int_equal(labelled_count(set), N);
  for (size_t i = 0; i < N; i++) {
    assert_int_equal(labelled_target(set, i), target[i]);
    image *im = labelled_picture(set, i);
    if (!im) fail_msg("%s", last_error());
    assert_int_equal(im->width, W);
    assert_int_equal(im->height, H);
    assert_int_equal(*(const uint8_t *)im->pixels, first[i]);
    image_free(im);
  }
  labelled_close(set);
}

static void test_sets(void **state) {
  places p = make_sets(state);
  const uint8_t listed[N] = {0, 8, 16}, sorted[N] = {8, 0, 16};
  check_set(p.idx, NULL, listed, (const int32_t[]){2, 0, 2});
  check_set(p.list, NULL, listed, (const int32_t[]){1, 0, 1});
  check_set(p.json, NULL, listed, (const int32_t[]){1, 0, 1});
  check_set(p.folder, NULL, sorted, (const int32_t[]){0, 1, 1});
  char *other[] = {"dog", "bird", "a cat"};
  const label_names names = {.name = other, .n = 3};
  check_set(p.idx, &names, listed, (const int32_t[]){2, 0, 2});
  check_set(p.list, &names, listed, (const int32_t[]){0, 2, 0});
  check_set(p.folder, &names, sorted, (const int32_t[]){2, 0, 0});
  labelled *set = labelled_open(p.folder, NULL);
  assert_int_equal(labelled_names(set)->n, 2);
  for (int k = 0; k < 2; k++) assert_string_equal(labelled_names(set)->name[k], class_name[k]);
  labelled_close(set);
  set = labelled_open(p.idx, NULL);
  assert_int_equal(labelled_names(set)->n, 3);
  assert_string_equal(labelled_names(set)->name[2], "2");
  labelled_close(set);
  remove_sets(&p);
}

static void no_set(const char *path, const label_names *names, status expected, const char *word) {
  labelled *set = labelled_open(path, names);
  if (set || last_status() != expected || !strstr(last_error(), word))
    fail_msg("expected %d and '%s': %s", expected, word, last_error());
}

static void test_odd_sets(void **state) {
  places p = make_sets(state);
  char *few[] = {"dog", "bird"};
  const label_names names = {.name = few, .n = 2};
  no_set(p.idx, &names, STATUS_FORMAT, "label 2");
  no_set(p.list, &names, STATUS_FORMAT, "'a cat' is not among");
  no_set(p.folder, &names, STATUS_FORMAT, "'a cat' is not among");
  no_set(p.class[0], NULL, STATUS_FORMAT, "no labelled picture");
  no_set("no/such/path", NULL, STATUS_IO, "no/such/path");
  unlink(p.labels);
  no_set(p.idx, NULL, STATUS_IO, "labels-idx1");
  scratch_write(p.labels, (const uint8_t[]){0, 0, 8, 1, 0, 0, 0, 2, 1, 1}, 10);
  no_set(p.idx, NULL, STATUS_FORMAT, "3 pictures, but 2 labels");
  char *alone = scratch_path(state, "alone");
  scratch_write(alone, label_file, sizeof label_file);
  no_set(alone, NULL, STATUS_FORMAT, "dimensions");
  scratch_write(p.list, "one field\n", 10);
  no_set(p.list, NULL, STATUS_FORMAT, "list.tsv");
  const char *const lines[] = {"{\"image\": 3, \"label\": \"dog\"}", "{\"image\": \"x\"}", "{\"image\": \"x\", ",
                               "{\"image\": \"x\", \"label\": \"a\\u0000b\"}",
                               "{\"image\": \"x\", \"label\": \"a\\nb\"}"};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    scratch_write(p.json, lines[i], strlen(lines[i]));
    no_set(p.json, NULL, STATUS_FORMAT, "line 1");
  }
  scratch_write(p.list, "gone.png\tdog\n", 13);
  labelled *set = labelled_open(p.list, NULL);
  assert_null(labelled_picture(set, 0));
  assert_non_null(strstr(last_error(), "gone.png"));
  labelled_close(set);
  free(alone);
  remove_sets(&p);
}

static void test_names(void **state) {
  char *path = scratch_path(state, "names");
  label_names names;
  scratch_write(path, "T-shirt\r\n\nankle boot\n#3", 23);
  assert_int_equal(label_names_read(&names, path), STATUS_OK);
  assert_int_equal(names.n, 3);
  assert_string_equal(names.name[0], "T-shirt");
  assert_string_equal(names.name[2], "#3");
  char *text = label_names_text(&names);
  assert_string_equal(text, "T-shirt\nankle boot\n#3\n");
  label_names_free(&names);
  assert_int_equal(label_names_parse(&names, text, "here"), STATUS_OK);
  assert_int_equal(names.n, 3);
  label_names_free(&names);
  free(text);
  assert_int_equal(label_names_parse(&names, "a\nb\na\n", "here"), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "'a' comes twice"));
  label_names_free(&names);
  assert_int_equal(label_names_parse(&names, "\n", "here"), STATUS_FORMAT);
  label_names_free(&names);
  free(path);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_arrays),   IN_SCRATCH(test_hostile_arrays), IN_SCRATCH(test_sets),
      IN_SCRATCH(test_odd_sets), IN_SCRATCH(test_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
