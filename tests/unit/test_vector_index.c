/* Index files in peace: what is put is found, by every commit's reader as it was then; rows that are replaced, removed,
 * compacted and merged; who may write, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusion/vector_index_layout.h"
#include "tests/support/index_items.h"
#include "tests/support/scratch.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum { ITEMS = 200 };
typedef uint8_t versions[ITEMS];
static const char about[] = "{\"model\": \"none\"}";

static void good(status s) {
  if (s) fail_msg("%s", last_error());
}

static void expect_sentence(status code, const char *path, const char *why) {
  assert_int_equal(last_status(), code);
  if (!strstr(last_error(), path) || !strstr(last_error(), why))
    fail_msg("\"%s\" does not say \"%s\" of %s", last_error(), why, path);
}

static index_writer *create(const char *path, vector_type type) {
  index_writer *w = index_create(path, &(index_facts){.width = ITEM_WIDTH, .type = type, .about = about});
  if (!w) fail_msg("%s", last_error());
  return w;
}

static index_writer *append(const char *path) {
  index_writer *w = index_append(path);
  if (!w) fail_msg("%s", last_error());
  return w;
}

static vector_index *open_index(const char *path) {
  vector_index *x = index_open(path);
  if (!x) fail_msg("%s", last_error());
  return x;
}

/* Items [from,to) in a version, and the commit. */
static void put(index_writer *w, versions v, unsigned from, unsigned to, unsigned version) {
  for (unsigned i = from; i < to; i++) {
    good(index_item_put(w, i, version));
    v[i] = (uint8_t)version;
  }
  good(index_commit(w));
}

static void expect_rounded(const vector_index *x, vector_type coarsest, const versions v) {
  const char *wrong = index_items_wrong(x, coarsest, v, ITEMS);
  if (wrong) fail_msg("%s", wrong);
}

static void expect_items(const vector_index *x, const versions v) {
  expect_rounded(x, index_numbers_of(x)->facts.type, v);
}

static void expect_file(const char *path, const versions v) {
  good(index_verify(path));
  vector_index *x = open_index(path);
  expect_items(x, v);
  index_close(x);
}

static uint64_t size_of(const char *path) {
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  return (uint64_t)info.st_size;
}

/* --- reading and writing ------------------------------------------------------------------------------------------ */

static void test_what_is_put_is_found(void **state) {
  for (vector_type type = 0; type < VECTOR_TYPES; type++) {
    char *path = scratch_path(state, vector_type_name(type));
    versions v = {0};
    size_t n;
    index_writer *w = create(path, type);
    expect_file(path, v); /* empty, but there */
    put(w, v, 0, 70, 1);
    put(w, v, 70, 75, 1);
    index_writer_close(w);
    expect_file(path, v);
    vector_index *x = open_index(path);
    const index_numbers *numbers = index_numbers_of(x);
    assert_int_equal(numbers->facts.type, type);
    assert_string_equal(numbers->facts.about, about);
    assert_int_equal(numbers->rows, 75);
    assert_int_equal(numbers->live, 75);
    assert_int_equal(numbers->segments, 2);
    assert_int_equal(numbers->commits, 3);
    assert_int_equal(numbers->bytes, size_of(path));
    assert_true(numbers->used < numbers->bytes);
    const search_part *part = index_parts(x, &n);
    assert_int_equal(n, 2);
    assert_int_equal(part[1].first, 70);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal((uintptr_t)part[i].rows % 64, 0);
      assert_true(type == VECTOR_I8 ? part[i].factor && (uintptr_t)part[i].factor % 64 == 0 : !part[i].factor);
      assert_null(part[i].skip);
    }
    for (uint64_t row = 0; row < 75; row++) assert_int_equal(index_id_at(x, row), row);
    index_close(x);
    free(path);
  }
}

static void test_vectors_become_of_length_one(void **state) {
  char *path = scratch_path(state, "x");
  index_writer *w = create(path, VECTOR_F32);
  float vector[ITEM_WIDTH] = {0, 3e30f, 0, -4e30f}, tiny[ITEM_WIDTH] = {1e-40f}, found[ITEM_WIDTH];
  good(index_put(w, vector, &(index_record){"a", "", "{}"}));
  good(index_put(w, tiny, &(index_record){"b", "", "{}"}));
  good(index_commit(w));
  index_writer_close(w);
  vector_index *x = open_index(path);
  index_vector_at(x, 0, found);
  assert_true(fabsf(found[1] - 0.6f) < 1e-6f && fabsf(found[3] + 0.8f) < 1e-6f && found[0] == 0);
  index_vector_at(x, 1, found);
  assert_true(fabsf(found[0] - 1) < 1e-6f);
  index_close(x);
  free(path);
}

/* Each reader keeps the commit that it opened. */
static void test_readers_keep_their_commit(void **state) {
  enum { COMMITS = 12 };
  char *path = scratch_path(state, "x");
  versions v[COMMITS] = {{0}};
  vector_index *x[COMMITS];
  index_writer *w = create(path, VECTOR_F16);
  for (unsigned c = 0; c < COMMITS; c++) {
    if (c) memcpy(v[c], v[c - 1], sizeof *v);
    if (c == 5) { /* another process takes over */
      index_writer_close(w);
      w = append(path);
    }
    for (unsigned i = 1; c && i < 10 * c; i += c) {
      assert_int_equal(index_item_remove(w, i), v[c][i] != 0);
      v[c][i] = 0;
    }
    put(w, v[c], 7 * c, 7 * c + 20, c + 1);
    x[c] = open_index(path);
    if (c == 8) {
      index_writer_close(w);
      good(index_compact(path));
      w = append(path);
    }
  }
  index_writer_close(w);
  for (unsigned c = 0; c < COMMITS; c++) {
    expect_items(x[c], v[c]);
    index_close(x[c]);
  }
  good(index_verify(path));
  free(path);
}

static void test_the_last_of_a_name_wins(void **state) {
  char *path = scratch_path(state, "x");
  for (size_t piece = 1; piece < 1 << 20; piece <<= 18) { /* every row in a segment of its own, and all in memory */
    unlink(path);
    versions v = {0};
    index_writer *w = create(path, VECTOR_I8);
    index_writer_set_piece(w, piece);
    put(w, v, 0, 30, 1);
    for (unsigned i = 5; i < 40; i++) good(index_item_put(w, i, 2));
    for (unsigned i = 10; i < 35; i++) good(index_item_put(w, i, 3));
    for (unsigned i = 12; i < 20; i++) assert_true(index_item_remove(w, i));
    for (unsigned i = 12; i < 20; i++) assert_false(index_item_remove(w, i));
    good(index_item_put(w, 15, 4));
    vector_index *x = open_index(path);
    expect_items(x, v); /* nobody sees what is not committed */
    index_close(x);
    for (unsigned i = 5; i < 40; i++) v[i] = i < 10 || i >= 35 ? 2 : i >= 12 && i < 20 ? 0 : 3;
    v[15] = 4;
    good(index_commit(w));
    expect_file(path, v);
    index_writer_close(w);
    w = append(path); /* who reads the names anew */
    assert_false(index_item_remove(w, 13));
    assert_true(index_item_remove(w, 15));
    put(w, v, 16, 18, 5);
    v[15] = 0;
    index_writer_close(w);
    expect_file(path, v);
  }
  free(path);
}

static void test_a_writer_finds_names(void **state) {
  char *path = scratch_path(state, "x");
  index_writer *w = create(path, VECTOR_F32);
  index_record r;
  const float vector[ITEM_WIDTH] = {1};
  assert_false(index_writer_find(w, "a", &r));
  good(index_put(w, vector, &(index_record){"a", "one", "{\"n\": 1}"}));
  assert_true(index_writer_find(w, "a", &r));
  assert_string_equal(r.caption, "one");
  good(index_commit(w));
  good(index_put(w, vector, &(index_record){"a", "two", "{\"n\": 2}"}));
  assert_true(index_writer_find(w, "a", &r));
  assert_string_equal(r.metadata, "{\"n\": 2}");
  assert_false(index_writer_find(w, "", &r));
  bool found;
  good(index_remove(w, "a", &found));
  assert_true(found);
  assert_false(index_writer_find(w, "a", &r));
  assert_int_equal(index_writer_facts(w)->width, ITEM_WIDTH);
  assert_string_equal(index_writer_facts(w)->about, about);
  index_writer_close(w);
  free(path);
}

/* So many that the table of names grows several times, with a long text among them. */
static void test_many_names(void **state) {
  enum { MANY = 5000, WIDTH = 2 };
  char *path = scratch_path(state, "x"), name[32];
  char *text = malloc(INDEX_TEXT_MAX + 1);
  memset(text, 't', INDEX_TEXT_MAX);
  text[INDEX_TEXT_MAX] = 0;
  index_writer *w = index_create(path, &(index_facts){.width = WIDTH, .type = VECTOR_F32, .about = ""});
  assert_non_null(w);
  index_writer_set_piece(w, 10000);
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < MANY; i++) {
      snprintf(name, sizeof name, "%d", i);
      good(index_put(w, (float[]){1, (float)i}, &(index_record){name, i == 77 ? text : "", "{}"}));
      if (i == MANY / 2) good(index_commit(w));
    }
  good(index_commit(w));
  index_writer_close(w);
  good(index_verify(path));
  vector_index *x = open_index(path);
  index_record r;
  assert_int_equal(index_numbers_of(x)->rows, 2 * MANY);
  assert_int_equal(index_numbers_of(x)->live, MANY);
  for (uint64_t row = 0; row < 2 * MANY; row++) {
    assert_int_equal(index_deleted(x, row), row < MANY);
    good(index_record_at(x, row, &r));
    assert_int_equal(atoi(r.path), row % MANY);
  }
  good(index_record_at(x, MANY + 77, &r));
  assert_string_equal(r.caption, text);
  index_close(x);
  free(text);
  free(path);
}

static void test_nothing_new_is_not_written(void **state) {
  char *path = scratch_path(state, "x");
  versions v = {0};
  index_writer *w = create(path, VECTOR_F32);
  put(w, v, 0, 10, 1);
  const uint64_t bytes = size_of(path);
  good(index_commit(w));
  assert_false(index_item_remove(w, 20));
  good(index_commit(w));
  assert_int_equal(size_of(path), bytes);
  index_writer_set_piece(w, 1);
  good(index_item_put(w, 11, 1));
  assert_true(size_of(path) > bytes);
  index_writer_close(w); /* without a commit: the room is given back */
  assert_int_equal(size_of(path), bytes);
  expect_file(path, v);
  free(path);
}

/* --- refusing ----------------------------------------------------------------------------------------------------- */

static void test_arguments(void **state) {
  char *path = scratch_path(state, "x"), *missing = scratch_path(state, "no/x"), *text = malloc(INDEX_TEXT_MAX + 2);
  versions v = {0};
  memset(text, 't', INDEX_TEXT_MAX + 1);
  text[INDEX_TEXT_MAX + 1] = 0;
  assert_null(index_create(path, &(index_facts){.width = 0, .about = about}));
  expect_sentence(STATUS_ARGUMENT, path, "vectors of 1 to");
  assert_null(index_create(path, &(index_facts){.width = VECTOR_WIDTH_MAX + 1, .about = about}));
  assert_null(index_create(path, &(index_facts){.width = 1, .type = VECTOR_TYPES, .about = about}));
  assert_null(index_create(path, &(index_facts){.width = 1, .about = text}));
  expect_sentence(STATUS_ARGUMENT, path, "over");
  assert_null(index_create(missing, &(index_facts){.width = 1, .about = about}));
  expect_sentence(STATUS_IO, missing, "no such folder");
  assert_null(index_create(*state, &(index_facts){.width = 1, .about = about}));
  expect_sentence(STATUS_IO, *state, "is a folder");
  assert_null(index_append(missing));
  expect_sentence(STATUS_IO, missing, "for writing");
  assert_null(index_open(missing));
  assert_int_equal(index_compact(missing), STATUS_IO);
  assert_int_equal(index_verify(missing), STATUS_IO);
  assert_int_equal(scratch_entries(state), 0);

  index_writer *w = create(path, VECTOR_F16);
  put(w, v, 0, 3, 1);
  float vector[ITEM_WIDTH] = {0};
  assert_int_equal(index_put(w, vector, &(index_record){"a", "", "{}"}), STATUS_ARGUMENT);
  expect_sentence(STATUS_ARGUMENT, path, "length 0");
  vector[3] = INFINITY;
  assert_int_equal(index_put(w, vector, &(index_record){"a", "", "{}"}), STATUS_ARGUMENT);
  expect_sentence(STATUS_ARGUMENT, path, "finite");
  vector[3] = 1;
  assert_int_equal(index_put(w, vector, &(index_record){"", "", "{}"}), STATUS_ARGUMENT);
  expect_sentence(STATUS_ARGUMENT, path, "name");
  for (int i = 0; i < 3; i++) {
    const char *r[3] = {"a", "", "{}"};
    r[i] = text;
    assert_int_equal(index_put(w, vector, &(index_record){r[0], r[1], r[2]}), STATUS_ARGUMENT);
  }
  expect_sentence(STATUS_ARGUMENT, path, "over the limit");
  put(w, v, 3, 5, 1); /* all of this did no harm */
  index_writer_close(w);
  index_writer_close(NULL);
  index_close(NULL);
  expect_file(path, v);
  assert_null(index_create(path, &(index_facts){.width = 1, .about = about}));
  expect_sentence(STATUS_ARGUMENT, path, "has that name already");
  expect_file(path, v);
  assert_int_equal(scratch_entries(state), 1);
  free(text);
  free(missing);
  free(path);
}

static void test_one_writer_at_a_time(void **state) {
  char *path = scratch_path(state, "x");
  versions v = {0};
  index_writer *w = create(path, VECTOR_F32);
  assert_null(index_append(path));
  expect_sentence(STATUS_IO, path, "another process is writing it");
  assert_int_equal(index_compact(path), STATUS_IO);
  expect_sentence(STATUS_IO, path, "another process is writing it");
  put(w, v, 0, 5, 1);
  index_writer_close(w);
  w = append(path);
  put(w, v, 5, 9, 1);
  index_writer_close(w);
  expect_file(path, v);
  free(path);
}

/* --- whole files -------------------------------------------------------------------------------------------------- */

static void test_compact(void **state) {
  for (vector_type type = 0; type < VECTOR_TYPES; type++) {
    char *path = scratch_path(state, vector_type_name(type)), *link = scratch_path(state, "link");
    versions v = {0};
    index_writer *w = create(path, type);
    index_writer_set_piece(w, 2000);
    put(w, v, 0, 60, 1);
    put(w, v, 20, 80, 2);
    for (unsigned i = 50; i < 80; i++) v[i] = !index_item_remove(w, i);
    good(index_commit(w));
    index_writer_close(w);
    assert_int_equal(chmod(path, 0640), 0);
    vector_index *before = open_index(path);
    unlink(link);
    assert_int_equal(symlink(path, link), 0);
    good(index_compact(link));
    struct stat info;
    assert_true(!lstat(link, &info) && S_ISLNK(info.st_mode));
    assert_true(!stat(path, &info) && (info.st_mode & 07777) == 0640);
    expect_items(before, v); /* who had it open sees no difference */
    expect_file(path, v);
    vector_index *after = open_index(path);
    const index_numbers *old = index_numbers_of(before), *new = index_numbers_of(after);
    assert_int_equal(new->rows, 50);
    assert_int_equal(new->live, 50);
    assert_int_equal(new->segments, 1);
    assert_true(new->commits > old->commits &&new->bytes < old->bytes &&new->bytes - new->used < 256);
    for (uint64_t row = 0, was; row < 50; row++) {
      float a[ITEM_WIDTH], b[ITEM_WIDTH];
      assert_true(index_row_of(before, index_id_at(after, row), &was));
      index_vector_at(before, was, a);
      index_vector_at(after, row, b);
      assert_memory_equal(a, b, sizeof a);
    }
    w = append(path); /* ids of rows that went with the compaction are not given again */
    put(w, v, 100, 101, 1);
    index_writer_close(w);
    vector_index *later = open_index(path);
    assert_int_equal(index_id_at(later, 50), 120);
    index_close(before);
    index_close(after);
    index_close(later);
    expect_file(path, v);
    free(link);
    free(path);
  }
}

static void test_compact_to_nothing(void **state) {
  char *path = scratch_path(state, "x");
  versions v = {0};
  index_writer *w = create(path, VECTOR_I8);
  put(w, v, 0, 10, 1);
  for (unsigned i = 0; i < 10; i++) v[i] = !index_item_remove(w, i);
  good(index_commit(w));
  index_writer_close(w);
  good(index_compact(path));
  good(index_compact(path));
  expect_file(path, v);
  w = append(path);
  put(w, v, 3, 4, 1);
  index_writer_close(w);
  vector_index *x = open_index(path);
  assert_int_equal(index_numbers_of(x)->rows, 1);
  assert_int_equal(index_id_at(x, 0), 10);
  index_close(x);
  expect_file(path, v);
  free(path);
}

/* A file of each type into one of each type, where some names are there already. */
static void test_merge(void **state) {
  for (vector_type from = 0; from < VECTOR_TYPES; from++)
    for (vector_type to = 0; to < VECTOR_TYPES; to++) {
      char *one = scratch_path(state, "one"), *other = scratch_path(state, "other");
      versions v = {0}, ignored;
      unlink(one);
      unlink(other);
      index_writer *w = create(other, from);
      put(w, ignored, 10, 40, 3);
      assert_true(index_item_remove(w, 15));
      put(w, ignored, 40, 41, 4);
      index_writer_close(w);
      w = create(one, to);
      put(w, v, 0, 20, 1);
      vector_index *part = open_index(other);
      good(index_merge(w, part));
      for (unsigned i = 10; i < 41; i++) v[i] = i == 15 ? 1 : i == 40 ? 4 : 3;
      good(index_commit(w));
      index_writer_close(w);
      good(index_verify(one));
      vector_index *x = open_index(one);
      expect_rounded(x, from > to ? from : to, v);
      for (uint64_t row = 20, was = 0; row < 50; row++, was++) {
        float a[ITEM_WIDTH], b[ITEM_WIDTH];
        was += was == 5; /* the deleted one */
        index_vector_at(part, was, a);
        index_vector_at(x, row, b);
        assert_int_equal(index_id_at(x, row), row);
        if (from == to) assert_memory_equal(a, b, sizeof a);
      }
      index_close(x);
      index_close(part);
      free(one);
      free(other);
    }
}

static void test_merge_refuses(void **state) {
  char *one = scratch_path(state, "one"), *other = scratch_path(state, "other"),
       *narrow = scratch_path(state, "narrow");
  versions v = {0}, ignored;
  index_writer *w = index_create(narrow, &(index_facts){.width = 3, .type = VECTOR_F32, .about = about});
  index_writer_close(w);
  w = index_create(other, &(index_facts){.width = ITEM_WIDTH, .type = VECTOR_F32, .about = "{\"model\": \"other\"}"});
  index_writer_close(w);
  w = create(one, VECTOR_F32);
  put(w, v, 0, 4, 1);
  vector_index *x = open_index(narrow);
  assert_int_equal(index_merge(w, x), STATUS_ARGUMENT);
  expect_sentence(STATUS_ARGUMENT, narrow, "24");
  index_close(x);
  x = open_index(other);
  assert_int_equal(index_merge(w, x), STATUS_ARGUMENT);
  expect_sentence(STATUS_ARGUMENT, other, "in another way");
  index_close(x);
  unlink(other); /* damaged in a vector: nothing of it is taken */
  index_writer *damaged = create(other, VECTOR_F32);
  put(damaged, ignored, 10, 20, 1);
  index_writer_close(damaged);
  size_t bytes;
  char *file = scratch_read(other, &bytes);
  x = open_index(other);
  size_t n;
  const search_part *part = index_parts(x, &n);
  char *at = NULL;
  for (size_t i = 0; i + 64 < bytes && !at; i += 64)
    if (!memcmp(file + i, part->rows, 64)) at = file + i;
  assert_non_null(at);
  index_close(x);
  at[5 * 4 * ITEM_WIDTH] ^= 1;
  scratch_write(other, file, bytes);
  x = open_index(other);
  assert_int_equal(index_merge(w, x), STATUS_FORMAT);
  expect_sentence(STATUS_FORMAT, other, "rows 0 to 9");
  index_close(x);
  assert_int_equal(index_compact(other), STATUS_FORMAT);
  put(w, v, 4, 6, 1);
  index_writer_close(w);
  expect_file(one, v);
  assert_int_equal(scratch_entries(state), 3);
  free(file);
  free(one);
  free(other);
  free(narrow);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {TEST(test_what_is_put_is_found),
                                     TEST(test_vectors_become_of_length_one),
                                     TEST(test_readers_keep_their_commit),
                                     TEST(test_the_last_of_a_name_wins),
                                     TEST(test_a_writer_finds_names),
                                     TEST(test_many_names),
                                     TEST(test_nothing_new_is_not_written),
                                     TEST(test_arguments),
                                     TEST(test_one_writer_at_a_time),
                                     TEST(test_compact),
                                     TEST(test_compact_to_nothing),
                                     TEST(test_merge),
                                     TEST(test_merge_refuses)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
