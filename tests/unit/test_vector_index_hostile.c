/* Index files that are damaged, cut, foreign, or made to mislead: one sentence each, and no change to the file. Of
 * every byte that the last commit needs a flip is noticed by index_verify; of the others none changes what is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/index_forge.h"
#include "tests/support/scratch.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum { WIDTH = 5, SIZE_MAX_HERE = 1 << 16 };

/* --- a small index ------------------------------------------------------------------------------------------------ */

static void put(index_writer *w, const char *name, float x) {
  const float vector[WIDTH] = {x, 1, -2, 0.5f, x * x};
  const index_record r = {name, "a caption", "{\"width\": 32}"};
  if (index_put(w, vector, &r)) fail_msg("%s", last_error());
}

static void commit(index_writer *w) {
  if (index_commit(w)) fail_msg("%s", last_error());
}

/* Two segments, the first with a deleted row; written in three commits. */
static uint8_t *make_small(const char *path, vector_type type, size_t *size) {
  const index_facts facts = {.width = WIDTH, .type = type, .about = "{\"model\": \"none\"}"};
  static const char *const names[] = {"a.png", "b.png", "c.png", "d.png", "e.png"};
  bool found;
  unlink(path);
  index_writer *w = index_create(path, &facts);
  if (!w) fail_msg("%s", last_error());
  for (int i = 0; i < 3; i++) put(w, names[i], (float)i);
  commit(w);
  for (int i = 3; i < 5; i++) put(w, names[i], (float)i);
  commit(w);
  assert_int_equal(index_remove(w, "b.png", &found), STATUS_OK);
  commit(w);
  index_writer_close(w);
  return (uint8_t *)scratch_read(path, size);
}

static const uint8_t *newest(const uint8_t *file) {
  const uint8_t *a = file + INDEX_PAGE, *b = a + INDEX_PAGE;
  return little64(a + 8) > little64(b + 8) ? a : b;
}

static uint8_t *manifest_of(uint8_t *file) { return file + little64(newest(file) + 16); }
static uint8_t *entry_of(uint8_t *file, int i) { return manifest_of(file) + (size_t)(i + 1) * INDEX_RECORD; }

/* --- using whatever opens ----------------------------------------------------------------------------------------- */

static void note(uint64_t *sum, const void *bytes, size_t n) { /* FNV-1a */
  for (size_t i = 0; i < n; i++) *sum = (*sum ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
}

static void note_row(uint64_t *sum, const vector_index *x, uint64_t row) {
  float vector[64];
  index_record r;
  uint64_t found = 0;
  const bool deleted = index_deleted(x, row);
  const uint64_t id = index_id_at(x, row);
  note(sum, &deleted, sizeof deleted);
  note(sum, &id, sizeof id);
  index_row_of(x, id, &found);
  note(sum, &found, sizeof found);
  if (!index_record_at(x, row, &r)) {
    note(sum, r.path, strlen(r.path) + 1);
    note(sum, r.caption, strlen(r.caption) + 1);
    note(sum, r.metadata, strlen(r.metadata) + 1);
  }
  if (index_numbers_of(x)->facts.width > 64) return;
  index_vector_at(x, row, vector);
  note(sum, vector, index_numbers_of(x)->facts.width * sizeof *vector);
}

/* Reads everything that an index gives; a number that tells whether it is the same as another's. */
static uint64_t contents(const vector_index *x) {
  uint64_t sum = 0xcbf29ce484222325u;
  const index_numbers *n = index_numbers_of(x);
  size_t parts;
  const search_part *part = index_parts(x, &parts);
  note(&sum, &n->rows, sizeof n->rows);
  note(&sum, &n->live, sizeof n->live);
  note(&sum, n->facts.about, strlen(n->facts.about));
  for (size_t i = 0; i < parts; i++) note(&sum, &part[i].n, sizeof part[i].n);
  for (uint64_t row = 0; row < n->rows; row++) note_row(&sum, x, row);
  return sum;
}

static void expect_sentence(const char *path, long where) {
  const status s = last_status();
  if ((s != STATUS_FORMAT && s != STATUS_UNSUPPORTED && s != STATUS_IO && s != STATUS_MEMORY) ||
      !strstr(last_error(), path) || strlen(last_error()) < strlen(path) + 12)
    fail_msg("byte %ld: status %d, \"%s\"", where, (int)s, last_error());
}

/* Opens, reads and verifies a file of these bytes: whether it verifies. *sum is then what it holds. */
static bool passes(const char *path, const void *file, size_t size, long where, uint64_t *sum) {
  scratch_write(path, file, size);
  const bool sound = !index_verify(path);
  if (!sound) expect_sentence(path, where);
  vector_index *x = index_open(path);
  if (!x) expect_sentence(path, where);
  if (!x && sound) fail_msg("byte %ld: verifies, but does not open", where);
  if (x) *sum = contents(x);
  index_close(x);
  return sound;
}

static void expect_unchanged(const char *path, const void *file, size_t size) {
  size_t n;
  char *have = scratch_read(path, &n);
  assert_int_equal(n, size);
  assert_memory_equal(have, file, size);
  free(have);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

/* The bytes that the last commit needs: the head and what is said of the vectors, the root's first copy, the manifest,
 * segments and marks. */
static void mark_needed(uint8_t *file, const index_facts *facts, uint8_t needed[SIZE_MAX_HERE]) {
  const uint8_t *root = newest(file), *manifest = manifest_of(file);
  memset(needed, 1, INDEX_RECORD);
  memset(needed + INDEX_ABOUT, 1, little64(file + 24) + 1);
  memset(needed + (root - file), 1, INDEX_RECORD);
  memset(needed + (manifest - file), 1, little64(root + 24));
  for (uint64_t i = 0; i < little64(manifest + 16); i++) {
    const uint8_t *entry = entry_of(file, (int)i);
    size_t at[INDEX_PARTS + 1];
    assert_true(segment_extent(facts, little64(entry + 8), little64(entry + 16), at));
    memset(needed + little64(entry), 1, at[INDEX_PARTS]);
    if (little64(entry + 32)) memset(needed + little64(entry + 32), 1, (little64(entry + 8) + 7) / 8);
  }
  assert_int_equal(little64(manifest + 16), 2);
}

static void test_every_byte_flipped(void **state) {
  char *path = scratch_path(state, "x");
  for (vector_type type = 0; type < VECTOR_TYPES; type++) {
    static uint8_t needed[SIZE_MAX_HERE];
    size_t size;
    uint64_t want = 0, sum;
    uint8_t *file = make_small(path, type, &size);
    assert_true(size <= sizeof needed && passes(path, file, size, -1, &want));
    memset(needed, 0, sizeof needed);
    mark_needed(file, &(index_facts){.width = WIDTH, .type = type}, needed);
    for (size_t i = 0; i < size; i++) {
      if (type != VECTOR_I8 && i < INDEX_ABOUT && i % INDEX_COPY >= INDEX_RECORD)
        continue; /* the rest of pages: once */
      file[i] ^= i % 2 ? 0xff : (uint8_t)(1 << i / 2 % 8);
      const bool sound = passes(path, file, size, (long)i, &sum);
      if (sound && needed[i]) fail_msg("the flip of byte %zu, which is needed, is not noticed", i);
      if (sound && sum != want) fail_msg("the flip of byte %zu changes what is found", i);
      if (!sound && !needed[i]) fail_msg("the flip of byte %zu, which nobody needs, is refused", i);
      file[i] ^= i % 2 ? 0xff : (uint8_t)(1 << i / 2 % 8);
    }
    free(file);
  }
  free(path);
}

/* Each copy of a root serves alone; when both of the newest are gone, verifying says so. */
static void test_roots(void **state) {
  char *path = scratch_path(state, "x");
  size_t size;
  uint64_t want = 0, sum = 0;
  uint8_t *file = make_small(path, VECTOR_F32, &size), *copy = malloc(size);
  assert_true(passes(path, file, size, -1, &want));
  const size_t root = (size_t)(newest(file) - file);
  memcpy(copy, file, size);
  copy[root + 20] ^= 1;
  assert_false(passes(path, copy, size, (long)root, &sum));
  assert_int_equal(sum, want); /* the second copy of the same root */
  copy[root + INDEX_COPY + 20] ^= 1;
  assert_false(passes(path, copy, size, (long)root, &sum));
  assert_non_null(strstr(last_error(), "root"));
  assert_int_not_equal(sum, want); /* the commit before */
  copy[INDEX_PAGE + 8] ^= 64;
  copy[2 * INDEX_PAGE + 8] ^= 64;
  copy[INDEX_PAGE + INDEX_COPY + 8] ^= 64;
  copy[2 * INDEX_PAGE + INDEX_COPY + 8] ^= 64;
  scratch_write(path, copy, size);
  assert_null(index_open(path));
  assert_non_null(strstr(last_error(), "both roots"));
  free(copy);
  free(file);
  free(path);
}

/* A compacted file has no commit before its own: least of all an empty one that damage would lead back to. */
static void test_the_root_of_a_compaction(void **state) {
  char *path = scratch_path(state, "x");
  size_t size;
  free(make_small(path, VECTOR_F32, &size));
  assert_int_equal(index_compact(path), STATUS_OK);
  uint8_t *file = (uint8_t *)scratch_read(path, &size);
  const size_t root = (size_t)(newest(file) - file);
  file[root + 20] ^= 1;
  file[root + INDEX_COPY + 20] ^= 1;
  scratch_write(path, file, size);
  assert_null(index_open(path));
  assert_non_null(strstr(last_error(), "both roots"));
  free(file);
  free(path);
}

static void test_every_length(void **state) {
  char *path = scratch_path(state, "x");
  size_t size;
  uint64_t want = 0, sum = 0;
  uint8_t *file = make_small(path, VECTOR_I8, &size);
  uint8_t *longer = calloc(size + 999, 1);
  memcpy(longer, file, size);
  memset(longer + size, 0xab, 999);
  assert_true(passes(path, file, size, -1, &want));
  assert_true(passes(path, longer, size + 999, -1, &sum)); /* what a killed writer leaves */
  assert_int_equal(sum, want);
  for (size_t n = 0; n < size; n += n < INDEX_ABOUT - 8 && n > 80 ? 7 : 1) {
    if (passes(path, file, n, (long)n, &sum)) fail_msg("cut to %zu bytes it verifies", n);
    assert_null(index_open(path));
    assert_null(index_append(path));
    assert_int_not_equal(index_compact(path), STATUS_OK);
    expect_unchanged(path, file, n);
  }
  assert_int_equal(scratch_entries(state), 1);
  free(longer);
  free(file);
  free(path);
}

static void expect_refused(const char *path, status code, const char *why) {
  assert_null(index_open(path));
  assert_int_equal(last_status(), code);
  if (!strstr(last_error(), why)) fail_msg("\"%s\" does not say \"%s\"", last_error(), why);
  assert_int_equal(index_verify(path), code);
  assert_null(index_append(path));
  expect_sentence(path, 0);
  assert_true(index_compact(path) < 0);
  expect_sentence(path, 0);
}

static void test_foreign_things(void **state) {
  static const char zeros[1 << 14];
  char *path = scratch_path(state, "x"), *pipe = scratch_path(state, "pipe");
  scratch_write(path, "", 0);
  expect_refused(path, STATUS_FORMAT, "is not an index: the file is empty");
  scratch_write(path, zeros, sizeof zeros);
  expect_refused(path, STATUS_FORMAT, "is not an index");
  scratch_write(path, "LINNETIX", 8);
  expect_refused(path, STATUS_FORMAT, "is cut");
  expect_refused("tests/unit/test_vector_index_hostile.c", STATUS_FORMAT, "is not an index");
  expect_refused("weights/captioner.gguf", STATUS_FORMAT, "is not an index");
  expect_refused(*state, STATUS_IO, "is a folder");
  assert_int_equal(mkfifo(pipe, 0600), 0);
  expect_refused(pipe, STATUS_IO, "is not a regular file");
  expect_refused("/dev/null", STATUS_IO, "is not a regular file");
  size_t size;
  uint8_t *file = make_small(path, VECTOR_F16, &size);
  file[8]++;
  scratch_write(path, file, size);
  expect_refused(path, STATUS_UNSUPPORTED, "version 2");
  free(file);
  free(pipe);
  free(path);
}

/* Goes through everything with a forged file: nothing may crash, and what does not pass has a sentence. */
static bool use_forged(const char *path, uint8_t *file, size_t size, long where) {
  uint64_t sum;
  search_hit hit[3];
  size_t parts, found;
  bool there;
  float query[64] = {1, 2, 3};
  forge_sums(file, size);
  const bool sound = passes(path, file, size, where, &sum);
  vector_index *x = index_open(path);
  if (x && index_numbers_of(x)->facts.width <= 64) {
    const search_part *part = index_parts(x, &parts);
    const index_facts *facts = &index_numbers_of(x)->facts;
    search_exact(facts->type, facts->width, part, parts, query, 1, 3, hit, &found);
  }
  if (index_compact(path) && sound) fail_msg("byte %ld: verifies, but cannot be compacted: %s", where, last_error());
  scratch_write(path, file, size);
  index_writer *w = index_append(path);
  if (!w) expect_sentence(path, where);
  if (w && index_writer_facts(w)->width <= 64 &&
      (index_remove(w, "c.png", &there) || index_put(w, query, &(index_record){"f.png", "", "{}"}) ||
       (x && index_merge(w, x)) || index_commit(w)))
    expect_sentence(path, where);
  index_writer_close(w);
  index_close(x);
  return sound;
}

/* Every number in the head, the root, the manifest and a segment's ids and ends, made anything. */
static void test_forged_numbers(void **state) {
  char *path = scratch_path(state, "x");
  size_t size;
  uint8_t *file = make_small(path, VECTOR_I8, &size), *forged = malloc(size);
  const size_t root = (size_t)(newest(file) - file), manifest = (size_t)(manifest_of(file) - file);
  const uint64_t values[] = {0,
                             1,
                             2,
                             7,
                             64,
                             INDEX_ABOUT,
                             manifest,
                             root,
                             size,
                             size - 64,
                             UINT32_MAX,
                             1ull << 32,
                             INT64_MAX,
                             1ull << 63,
                             1ull << 61,
                             UINT64_MAX,
                             0 - 64ull,
                             0 - 128ull,
                             manifest - 64,
                             1ull << 16,
                             255};
  size_t field[64], n = 0;
  const index_facts facts = {.width = WIDTH, .type = VECTOR_I8};
  size_t at[INDEX_PARTS + 1];
  const uint8_t *first = entry_of(file, 0);
  assert_true(segment_extent(&facts, little64(first + 8), little64(first + 16), at));
  for (size_t i = 16; i < 32; i += 8) field[n++] = i;
  for (size_t i = 8; i < 32; i += 8) field[n++] = root + i;
  for (size_t i = 8; i < 48; i += 8) field[n++] = manifest + i;
  for (size_t i = 0; i < 56; i += 8) field[n++] = manifest + INDEX_RECORD + i;
  for (size_t i = 0; i < 56; i += 8) field[n++] = manifest + 2 * INDEX_RECORD + i;
  for (size_t i = 0; i < 24; i += 8) field[n++] = little64(first) + at[PART_IDS] + i;
  for (size_t i = 0; i < 24; i += 8) field[n++] = little64(first) + at[PART_ENDS] + i;
  for (size_t f = 0; f < n; f++)
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      memcpy(forged, file, size);
      put_little(forged + field[f], values[v], 8);
      use_forged(path, forged, size, (long)field[f]);
    }
  for (size_t f = 0; f < n; f++)
    for (int by = -128; by <= 128; by += 64) { /* a little off; and one that looks right is right */
      memcpy(forged, file, size);
      put_little(forged + field[f], little64(file + field[f]) + (uint64_t)by, 8);
      const bool sound = use_forged(path, forged, size, (long)field[f]);
      if (!by) assert_true(sound);
    }
  free(forged);
  free(file);
  free(path);
}

static void expect_forged(const char *path, uint8_t *file, size_t size, const char *why) {
  forge_sums(file, size);
  scratch_write(path, file, size);
  assert_int_equal(index_verify(path), STATUS_FORMAT);
  if (!strstr(last_error(), why)) fail_msg("\"%s\" does not say \"%s\"", last_error(), why);
}

static void test_forged_structures(void **state) {
  char *path = scratch_path(state, "x");
  size_t size, at[INDEX_PARTS + 1];
  const index_facts facts = {.width = WIDTH, .type = VECTOR_F32};
  for (int trick = 0; trick < 10; trick++) {
    uint8_t *file = make_small(path, VECTOR_F32, &size), *first = entry_of(file, 0), *second = entry_of(file, 1);
    uint8_t *root = file + (newest(file) - file), *manifest = manifest_of(file);
    assert_true(segment_extent(&facts, little64(first + 8), little64(first + 16), at));
    uint8_t *segment = file + little64(first), *marks = file + little64(first + 32);
    const char *why = "the manifest of commit 4 is damaged";
    switch (trick) {
    case 0:
      memcpy(second, first, INDEX_RECORD);
      break; /* a segment twice */
    case 1:
      put_little(second, little64(root + 16), 8);
      break; /* one that is the manifest */
    case 2:
      put_little(root + 16, INDEX_PAGE, 8);
      break; /* a manifest among the roots */
    case 3:
      put_little(first + 32, little64(second), 8);
      break; /* marks that are vectors */
    case 4:
      put_little(manifest + 40, 5, 8);
      break; /* more rows than are left */
    case 5:
      *marks |= 1 << 3;
      break; /* a mark behind the last row */
    case 6:
      put_little(segment + at[PART_IDS], 1, 8), why = "the id of row 1";
      break; /* an id twice */
    case 7:
      segment[at[PART_TEXTS]] = 0, why = "the record of row 0";
      break; /* a row without a name */
    case 8:
      segment[at[PART_TEXTS]] = 'c', why = "more than one row of the same name";
      break;
    case 9:
      memset(segment + 40, 0xff, 4), why = "the vector of row 2";
      break; /* not a number */
    }
    expect_forged(path, file, size, why);
    free(file);
  }
  free(path);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {TEST(test_every_byte_flipped),       TEST(test_roots),
                                     TEST(test_the_root_of_a_compaction), TEST(test_every_length),
                                     TEST(test_foreign_things),           TEST(test_forged_numbers),
                                     TEST(test_forged_structures)};
  scratch_in_memory();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
