/* Filters: what fits, what does not, what makes no sense and where it stops to; random questions against a plain
 * reading of the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/filter.h"
#include "tests/support/scratch.h"

#include <cmocka.h>

static const index_record car = {
    "photos/car.png", "A Red Car; \xc3\x84rger",
    "{\"width\":640,\"height\":480,\"modified\":\"2024-05-01T10:00:00.000Z\",\"tags\":[\"vehicle\",\"red\",7],"
    "\"exif\":{\"iso\":400,\"lens "
    "mm\":50},\"draft\":false,\"rated\":true,\"note\":null,\"empty\":\"\",\"path\":\"own\","
    "\"share\":0.25}"};

static bool fits(const char *question) {
  bool yes = false;
  filter *f = filter_parse(question);
  if (!f) fail_msg("%s: %s", question, last_error());
  if (filter_matches(f, 12, &car, &yes)) fail_msg("%s: %s", question, last_error());
  filter_free(f);
  return yes;
}

static void test_comparisons(void **state) {
  (void)state;
  static const char *const right[] = {"width = 640",
                                      "width == 640.0",
                                      "width != 641",
                                      "width > 639",
                                      "width >= 640",
                                      "width < 1e3",
                                      "width <= 640",
                                      "share = 0.25",
                                      "share > -1",
                                      "id = 12",
                                      "id < 13",
                                      "path = 'photos/car.png'",
                                      "path ~ 'CAR'",
                                      "caption ~ \"red car\"",
                                      "caption ~ '\xc3\xa4RGER'",
                                      "caption = \"A Red Car; \xc3\x84rger\"",
                                      "modified >= '2024-05-01'",
                                      "modified < \"2024-06\"",
                                      "exif.iso = 400",
                                      "exif.'lens mm' = 50",
                                      "tags = 'red'",
                                      "tags = 7",
                                      "tags ~ 'VEHIC'",
                                      "tags != 'blue'",
                                      "tags > 6",
                                      "draft = false",
                                      "rated = true",
                                      "note = null",
                                      "note != 1",
                                      "rated",
                                      "tags",
                                      "not draft",
                                      "not note",
                                      "not empty",
                                      "not missing",
                                      "metadata.path = 'own'",
                                      "'path' = 'own'",
                                      "metadata.exif.iso = 400",
                                      "empty = ''",
                                      "width != 'wide'",
                                      "path ~ ''",
                                      "caption"};
  static const char *const wrong[] = {"width = 641",
                                      "width = '640'",
                                      "width < 640",
                                      "width ~ '6'",
                                      "missing = 1",
                                      "missing != 1",
                                      "missing ~ 'a'",
                                      "missing < 1",
                                      "missing = null",
                                      "missing",
                                      "draft",
                                      "note",
                                      "empty",
                                      "tags = 'blue'",
                                      "tags != 'red'",
                                      "tags > 7",
                                      "exif = 400",
                                      "exif.none = 1",
                                      "exif.iso.deep = 1",
                                      "width.deep",
                                      "rated = false",
                                      "rated > 0",
                                      "note = false",
                                      "caption ~ 'blue'",
                                      "path = 'own'",
                                      "caption = 'a red car'",
                                      "draft = 0"};
  for (size_t i = 0; i < sizeof right / sizeof *right; i++)
    if (!fits(right[i])) fail_msg("it should fit: %s", right[i]);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    if (fits(wrong[i])) fail_msg("it should not fit: %s", wrong[i]);
}

static void test_binding(void **state) {
  (void)state;
  assert_true(fits("rated or draft and draft")); /* and binds tighter */
  assert_false(fits("(rated or draft) and draft"));
  assert_true(fits("not draft and rated")); /* not tighter still */
  assert_false(fits("not (rated or draft)"));
  assert_true(fits("NOT draft AND width=640"));
  assert_true(fits("not not rated"));
  assert_true(fits(" \t\n( ( rated ) ) "));
  assert_true(fits("caption ~ 'red' and(width>1)"));
}

/* Where it says that it makes no sense. */
static void refused(const char *question, size_t place) {
  char where[64];
  filter *f = filter_parse(question);
  if (f) fail_msg("it should be refused: %s", question);
  assert_int_equal(last_status(), STATUS_ARGUMENT);
  snprintf(where, sizeof where, "at character %zu:", place);
  if (!strstr(last_error(), where)) fail_msg("%s: expected '%s' in: %s", question, where, last_error());
}

static void test_nonsense(void **state) {
  (void)state;
  refused("", 1);
  refused("   ", 4);
  refused("width >", 8);
  refused("width > > 3", 9);
  refused("width = red", 9);
  refused("width 640", 7);
  refused("(width = 640", 13);
  refused("width = 640)", 12);
  refused("width = 640 and", 16);
  refused("and", 1);
  refused("rated or OR = 1", 10);
  refused("width = 640 640", 13);
  refused("width ~ 6", 9);
  refused("caption = \"red", 11);
  refused("exif. = 3", 7);
  refused("width = 3x", 9);
  refused("width = -", 9);
  refused("width = -inf", 9);
  refused("share = .25", 9);
  refused("# = 3", 1);
  refused("not", 4);
  refused("3 = 3", 1);
}

static void test_and_is_a_word(void **state) {
  (void)state;
  bool yes;
  const index_record r = {"p", "", "{\"and\":1,\"true\":2}"};
  filter *f = filter_parse("'and' = 1 and true = 2");
  assert_non_null(f);
  assert_int_equal(filter_matches(f, 0, &r, &yes), STATUS_OK);
  assert_true(yes);
  filter_free(f);
}

static void test_depth_and_length(void **state) {
  (void)state;
  enum { MANY = 5000 };
  char *text = malloc(FILTER_MOST_BYTES + 2);
  assert_non_null(text);
  for (int deep = FILTER_DEPTH; deep <= FILTER_DEPTH + 1; deep++) {
    memset(text, '(', (size_t)deep);
    strcpy(text + deep, "rated");
    memset(text + deep + 5, ')', (size_t)deep);
    text[2 * deep + 5] = 0;
    filter *f = filter_parse(text);
    assert_true((f != NULL) == (deep == FILTER_DEPTH));
    filter_free(f);
  }
  /* the deepest stack: each parenthesis leaves an answer of "or" and one of "and" behind */
  char *to = text;
  for (int i = 0; i < FILTER_DEPTH; i++) to += sprintf(to, "draft or rated and (");
  to += sprintf(to, "draft or rated and rated");
  for (int i = 0; i < FILTER_DEPTH; i++) *to++ = ')';
  *to = 0;
  assert_true(fits(text));
  to = text;
  for (int i = 0; i < MANY; i++) to += sprintf(to, "draft or ");
  sprintf(to, "rated");
  assert_true(fits(text));
  memset(text, 'a', FILTER_MOST_BYTES + 1);
  text[FILTER_MOST_BYTES + 1] = 0;
  assert_null(filter_parse(text));
  text[FILTER_MOST_BYTES] = 0;
  filter *f = filter_parse(text);
  assert_non_null(f);
  filter_free(f);
  free(text);
}

static void test_broken_metadata(void **state) {
  (void)state;
  bool yes;
  const index_record broken = {"b.png", "x", "{\"width\":"}, list = {"l.png", "x", "[1]"};
  filter *f = filter_parse("width = 1");
  assert_int_equal(filter_matches(f, 0, &broken, &yes), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "b.png"));
  assert_int_equal(filter_matches(f, 0, &list, &yes), STATUS_FORMAT);
  filter_free(f);
  f = filter_parse("caption = 'x'"); /* does not read them */
  assert_int_equal(filter_matches(f, 0, &broken, &yes), STATUS_OK);
  assert_true(yes);
  filter_free(f);
}

/* --- random questions --------------------------------------------------------------------------------------------- */

/* Writes a random question over `rated` (true) and `draft` (false), and says what it comes to. */
static bool random_question(rng *g, int depth, char **to) {
  const uint32_t kind = rng_below(g, depth ? 5 : 1);
  if (kind == 0) {
    const bool yes = rng_below(g, 2);
    *to += sprintf(*to, "%s", yes ? "rated" : "draft");
    return yes;
  }
  if (kind == 1) {
    *to += sprintf(*to, "not ");
    *to += sprintf(*to, "(");
    const bool yes = random_question(g, depth - 1, to);
    *to += sprintf(*to, ")");
    return !yes;
  }
  *to += sprintf(*to, "(");
  const bool one = random_question(g, depth - 1, to);
  *to += sprintf(*to, kind & 1 ? ") and (" : ") or (");
  const bool other = random_question(g, depth - 1, to);
  *to += sprintf(*to, ")");
  return kind & 1 ? one && other : one || other;
}

static void test_random_questions(void **state) {
  (void)state;
  rng g = rng_make(5, 0);
  char *text = malloc(1 << 16);
  assert_non_null(text);
  for (int i = 0; i < 2000; i++) {
    char *end = text;
    const bool yes = random_question(&g, 5, &end);
    if (fits(text) != yes) fail_msg("%s should be %d", text, yes);
  }
  free(text);
}

/* Pieces of questions in any order are read or refused, and nothing worse. */
static void test_random_pieces(void **state) {
  (void)state;
  static const char *const piece[] = {"width", "=", "!=", "640", "'",   "\"a\"", "(",    ")",    "and",  "or", "not",
                                      ".",     "~", "<=", "-",   "1e9", "\\",    "\xff", "\xc3", "null", " ",  "tags"};
  rng g = rng_make(6, 0);
  size_t read = 0, refusals = 0;
  for (int i = 0; i < 20000; i++) {
    char text[256] = "";
    bool yes;
    for (uint32_t n = 1 + rng_below(&g, 9); n; n--) strcat(text, piece[rng_below(&g, sizeof piece / sizeof *piece)]);
    filter *f = filter_parse(text);
    f ? read++ : refusals++;
    if (f) assert_int_equal(filter_matches(f, 1, &car, &yes), STATUS_OK);
    filter_free(f);
  }
  assert_true(read > 100 && refusals > 100);
}

/* --- a whole index ------------------------------------------------------------------------------------------------ */

enum { ROWS = 1000, FIRST = 300 };

/* Row i's width is i; of two segments, and every seventh is deleted afterwards. */
static void write_index(const char *path, int broken) {
  const index_facts facts = {.width = 2, .type = VECTOR_F32, .about = "{}"};
  index_writer *w = index_create(path, &facts);
  assert_non_null(w);
  for (int i = 0; i < ROWS; i++) {
    char name[32], metadata[64];
    snprintf(name, sizeof name, "%d.png", i);
    snprintf(metadata, sizeof metadata, i == broken ? "[%d]" : "{\"width\":%d}", i);
    const float vector[] = {1, (float)i};
    if (index_put(w, vector, &(index_record){name, "", metadata})) fail_msg("%s", last_error());
    if (i == FIRST - 1) assert_int_equal(index_commit(w), STATUS_OK);
  }
  assert_int_equal(index_commit(w), STATUS_OK);
  for (int i = 0; i < ROWS; i += 7) {
    char name[32];
    bool found;
    snprintf(name, sizeof name, "%d.png", i);
    assert_int_equal(index_remove(w, name, &found), STATUS_OK);
    assert_true(found);
  }
  assert_int_equal(index_commit(w), STATUS_OK);
  index_writer_close(w);
}

static void test_parts(void **state) {
  char *path = scratch_path(state, "a.lidx");
  write_index(path, -1);
  vector_index *x = index_open(path);
  filter *f = filter_parse("width >= 150 and width < 900");
  filtered_parts parts;
  assert_non_null(x);
  assert_non_null(f);
  assert_int_equal(filter_parts(f, x, &parts), STATUS_OK);
  size_t rows = 0, matching = 0;
  for (size_t p = 0; p < parts.n; p++)
    for (size_t i = 0; i < parts.part[p].n; i++, rows++) {
      const uint64_t row = parts.part[p].first + i;
      const bool skipped = parts.part[p].skip[i / 8] >> (i % 8) & 1;
      assert_int_equal(skipped, row % 7 == 0 || row < 150 || row >= 900);
      matching += !skipped;
    }
  assert_int_equal(rows, ROWS);
  assert_int_equal(matching, parts.matching);
  filtered_parts_free(&parts);
  filter_free(f);
  index_close(x);
  free(path);
}

/* Metadata that are no object are told, with the row's name, whichever thread meets them; if nobody asks, nobody minds.
 */
static void test_parts_of_broken_metadata(void **state) {
  char *path = scratch_path(state, "b.lidx");
  write_index(path, 555);
  vector_index *x = index_open(path);
  filter *f = filter_parse("width > 3");
  filtered_parts parts;
  assert_non_null(x);
  assert_int_equal(filter_parts(f, x, &parts), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "555.png"));
  filtered_parts_free(&parts);
  filter_free(f);
  f = filter_parse("path ~ '.png'");
  assert_int_equal(filter_parts(f, x, &parts), STATUS_OK);
  filtered_parts_free(&parts);
  filter_free(f);
  index_close(x);
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_comparisons),
      cmocka_unit_test(test_binding),
      cmocka_unit_test(test_nonsense),
      cmocka_unit_test(test_and_is_a_word),
      cmocka_unit_test(test_depth_and_length),
      cmocka_unit_test(test_broken_metadata),
      cmocka_unit_test(test_random_questions),
      cmocka_unit_test(test_random_pieces),
      cmocka_unit_test_setup_teardown(test_parts, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_parts_of_broken_metadata, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
