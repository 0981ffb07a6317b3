/* Reading captions for their content, and the scores, on cases worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/colour.h"
#include "data/tsv.h"
#include "train/caption_score.h"

#include <cmocka.h> /* after our own: it makes a macro of fail() */

enum { APPLE, DOG, HOT_DOG, ORANGE, ORANGE_JUICE, SHEEP, GLASS, GLASSES, T_SHIRT, JACK, KNIFE, KINDS };
static const kind_words kinds[KINDS] = {
    [APPLE] = {"apple", "apples"},
    [DOG] = {"dog", "dogs"},
    [HOT_DOG] = {"hot dog", "hot dogs"},
    [ORANGE] = {"orange", "oranges"},
    [ORANGE_JUICE] = {"orange juice", "orange juices"},
    [SHEEP] = {"sheep", "sheep"},
    [GLASS] = {"glass", "glasses"},
    [GLASSES] = {"glasses", "pairs of glasses"},
    [T_SHIRT] = {"T-shirt", "T-shirts"},
    [JACK] = {"jack in the box", "jacks in the box"},
    [KNIFE] = {"knife", "knives"},
};
enum { NONE, RED, GREEN, ORANGE_COLOUR, TEST_COLOURS };
static const char *const colours[TEST_COLOURS] = {"", "red", "green", "orange"};
static const char *const numbers[] = {"no", "one", "two", "three", "four"};

static caption_lexicon *lexicon_of_tests(void) {
  caption_lexicon *lexicon = caption_lexicon_new(kinds, KINDS, colours, TEST_COLOURS, numbers, 5);
  assert_non_null(lexicon);
  return lexicon;
}

typedef struct {
  const char *caption;
  caption_mention mentions[4]; /* up to the first with count 9 */
} reading;
#define END                                                                                                            \
  { 0, 9, 0 }

static void test_reading(void **state) {
  (void)state;
  static const reading readings[] = {
      {"", {END}},
      {"nothing to see", {END}},
      {"a red apple", {{APPLE, 1, RED}, END}},
      {"A RED Apple.", {{APPLE, 1, RED}, END}},
      {"two dogs", {{DOG, 2, NONE}, END}},
      {"3 red apples and 12 dogs", {{APPLE, 3, RED}, {DOG, 12, NONE}, END}},
      {"an apple to the left of two green dogs", {{APPLE, 1, NONE}, {DOG, 2, GREEN}, END}},
      {"two small shiny red toy apples", {{APPLE, 2, RED}, END}},
      {"dogs", {{DOG, 0, NONE}, END}},
      {"the dog", {{DOG, 1, NONE}, END}},
      {"a hot dog and a dog", {{HOT_DOG, 1, NONE}, {DOG, 1, NONE}, END}},
      {"a hot red dog", {{DOG, 1, RED}, END}},
      {"three hot dogs", {{HOT_DOG, 3, NONE}, END}},
      {"an orange", {{ORANGE, 1, NONE}, END}},
      {"an orange dog", {{DOG, 1, ORANGE_COLOUR}, END}},
      {"an orange orange", {{ORANGE, 1, ORANGE_COLOUR}, END}},
      {"an orange, dogs", {{ORANGE, 1, NONE}, {DOG, 0, NONE}, END}},
      {"a green orange and a dog", {{ORANGE, 1, GREEN}, {DOG, 1, NONE}, END}},
      {"an orange juice", {{ORANGE_JUICE, 1, NONE}, END}},
      {"an orange, juice", {{ORANGE, 1, NONE}, END}},
      {"two sheep and a sheep", {{SHEEP, 2, NONE}, {SHEEP, 1, NONE}, END}},
      {"a glass", {{GLASS, 1, NONE}, END}},
      {"red glasses", {{GLASSES, 1, RED}, END}},
      {"two pairs of glasses", {{GLASSES, 2, NONE}, END}},
      {"a red t-shirt", {{T_SHIRT, 1, RED}, END}},
      {"a green jack in the box", {{JACK, 1, GREEN}, END}},
      {"two jacks in the box", {{JACK, 2, NONE}, END}},
      {"a man in red with an apple", {{APPLE, 1, NONE}, END}},
      {"red and apples", {{APPLE, 0, NONE}, END}},
      {"red. apples", {{APPLE, 0, NONE}, END}},
      {"a red green apple", {{APPLE, 1, GREEN}, END}},
      {"a dog's red bowl", {END}},
      {"a dog and a dog and a dog", {{DOG, 1, NONE}, END}},
      {"a red apple and a green apple", {{APPLE, 1, RED}, {APPLE, 1, GREEN}, END}},
      {"dog apple", {{DOG, 1, NONE}, {APPLE, 1, NONE}, END}},
      {"pineapple", {END}},
      {"a knife, three knives", {{KNIFE, 1, NONE}, {KNIFE, 3, NONE}, END}},
  };
  caption_lexicon *lexicon = lexicon_of_tests();
  for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
    caption_mention *found;
    size_t n, expected = 0;
    assert_int_equal(caption_read(lexicon, readings[i].caption, &found, &n), STATUS_OK);
    while (readings[i].mentions[expected].count != 9) expected++;
    if (n != expected) fail_msg("\"%s\": %zu mentions, expected %zu", readings[i].caption, n, expected);
    for (size_t k = 0; k < n; k++) {
      const caption_mention *a = found + k, *b = readings[i].mentions + k;
      if (a->kind != b->kind || a->count != b->count || a->colour != b->colour)
        fail_msg("\"%s\": mention %zu is kind %u, count %u, colour %u", readings[i].caption, k, a->kind, a->count,
                 a->colour);
    }
    free(found);
  }
  caption_lexicon_free(lexicon);
}

/* One caption of one scene and all that the tally must say of it. */
static void expect_tally(const char *caption, const caption_mention *groups, size_t n, caption_tally expected) {
  caption_lexicon *lexicon = lexicon_of_tests();
  caption_tally t = {0};
  assert_int_equal(caption_tally_add(&t, lexicon, caption, groups, n), STATUS_OK);
  if (t.scenes != 1 || fabs(t.recall - expected.recall) > 1e-15 || fabs(t.precision - expected.precision) > 1e-15 ||
      t.colours != expected.colours || t.colours_right != expected.colours_right || t.counts != expected.counts ||
      t.counts_right != expected.counts_right)
    fail_msg("\"%s\": recall %g, precision %g, colours %d/%d, counts %d/%d", caption, t.recall, t.precision,
             (int)t.colours_right, (int)t.colours, (int)t.counts_right, (int)t.counts);
  caption_lexicon_free(lexicon);
}

#define TALLY(r, p, c_right, c, n_right, n)                                                                            \
  (caption_tally) {                                                                                                    \
    .recall = r, .precision = p, .colours = c, .colours_right = c_right, .counts = n, .counts_right = n_right          \
  }

static void test_judging(void **state) {
  (void)state;
  const caption_mention scene[] = {{APPLE, 2, RED}, {DOG, 1, NONE}};
  expect_tally("two red apples and a dog", scene, 2, TALLY(1, 1, 1, 1, 2, 2));
  expect_tally("a dog and two red apples", scene, 2, TALLY(1, 1, 1, 1, 2, 2));
  expect_tally("two green apples and a red dog", scene, 2, TALLY(1, 1, 0, 1, 2, 2));
  expect_tally("two apples and three dogs", scene, 2, TALLY(1, 1, 0, 1, 1, 2));
  expect_tally("red apples", scene, 2, TALLY(0.5, 1, 1, 1, 0, 1));
  expect_tally("a dog", scene, 2, TALLY(0.5, 1, 0, 0, 1, 1));
  expect_tally("a sheep and a knife and a dog", scene, 2, TALLY(0.5, 1.0 / 3, 0, 0, 1, 1));
  expect_tally("a sheep", scene, 2, TALLY(0, 0, 0, 0, 0, 0));
  expect_tally("", scene, 2, TALLY(0, 0, 0, 0, 0, 0));
  expect_tally("a dog and two dogs and red apples and a green apple", scene, 2, TALLY(1, 1, 1, 1, 1, 2));
}

static void test_hedging(void **state) {
  (void)state;
  const caption_mention red[] = {{APPLE, 1, RED}}, green[] = {{APPLE, 1, GREEN}};
  const char *both = "a red apple and a green apple"; /* only the first mention can be meant: there is one group */
  expect_tally(both, red, 1, TALLY(1, 1, 1, 1, 1, 1));
  expect_tally(both, green, 1, TALLY(1, 1, 0, 1, 1, 1));
}

static void test_groups_of_one_kind(void **state) {
  (void)state;
  const caption_mention two[] = {{APPLE, 1, GREEN}, {APPLE, 2, RED}};
  expect_tally("two red apples and a green apple", two, 2, TALLY(1, 1, 2, 2, 2, 2));
  expect_tally("a red apple and two green apples", two, 2, TALLY(1, 1, 2, 2, 0, 2));
  expect_tally("two apples and a red apple", two, 2, TALLY(1, 1, 1, 2, 0, 2));
  expect_tally("three red apples", two, 2, TALLY(1, 1, 1, 2, 0, 2)); /* the other group is left over */
  expect_tally("a dog", two, 2, TALLY(0, 0, 0, 0, 0, 0));
}

static void test_corpus(void **state) {
  (void)state;
  caption_lexicon *lexicon = lexicon_of_tests();
  caption_tally t = {0};
  caption_content c = caption_tally_scores(&t);
  assert_true(isnan(c.recall) && isnan(c.precision) && isnan(c.colour_accuracy) && isnan(c.count_accuracy));
  const caption_mention one[] = {{APPLE, 1, RED}}, two[] = {{DOG, 3, GREEN}, {KNIFE, 1, NONE}};
  assert_int_equal(caption_tally_add(&t, lexicon, "a red apple and a dog", one, 1), STATUS_OK);
  assert_int_equal(caption_tally_add(&t, lexicon, "three dogs", two, 2), STATUS_OK);
  assert_int_equal(caption_tally_add(&t, lexicon, "", two, 2), STATUS_OK);
  assert_int_equal(caption_tally_add(&t, lexicon, "two green dogs and a knife", two, 2), STATUS_OK);
  assert_int_equal(caption_tally_add(&t, lexicon, "a dog", two, 0), STATUS_ARGUMENT);
  c = caption_tally_scores(&t);
  assert_int_equal(t.scenes, 4);
  assert_true(fabs(c.recall - (1 + 0.5 + 0 + 1) / 4) < 1e-15);
  assert_true(fabs(c.precision - (0.5 + 1 + 0 + 1) / 4) < 1e-15);
  assert_true(fabs(c.colour_accuracy - 2.0 / 3) < 1e-15);
  assert_true(fabs(c.count_accuracy - 3.0 / 4) < 1e-15);
  caption_lexicon_free(lexicon);
}

static void test_lexicon_refuses(void **state) {
  (void)state;
  const kind_words twice[] = {{"dog", "dogs"}, {"Dog", "doggies"}}, empty[] = {{"dog", " - "}};
  assert_null(caption_lexicon_new(twice, 2, colours, TEST_COLOURS, numbers, 5));
  assert_int_equal(last_status(), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), "kinds 0 and 1"));
  assert_null(caption_lexicon_new(empty, 1, colours, TEST_COLOURS, numbers, 5));
  assert_int_equal(last_status(), STATUS_ARGUMENT);
}

static void expect_one(const caption_lexicon *lexicon, const char *text, caption_mention expected) {
  caption_mention *found;
  size_t n;
  assert_int_equal(caption_read(lexicon, text, &found, &n), STATUS_OK);
  if (n != 1 || found->kind != expected.kind || found->count != expected.count || found->colour != expected.colour)
    fail_msg("\"%s\": %zu mentions", text, n);
  free(found);
}

/* The project's own kinds and colours: every name reads back, with and without a colour and a number. */
static void test_own_kinds(void **state) {
  (void)state;
  tsv *table = tsv_read("data/kinds.tsv", 4);
  if (!table) fail_msg("%s", last_error());
  const char *names[COLOURS];
  for (int c = 0; c < COLOURS; c++) names[c] = colour_name((colour)c);
  kind_words *own = calloc(table->rows, sizeof *own);
  for (size_t k = 0; k < table->rows; k++) own[k] = (kind_words){tsv_field(table, k, 0), tsv_field(table, k, 1)};
  caption_lexicon *lexicon = caption_lexicon_new(own, (uint32_t)table->rows, names, COLOURS, numbers, 5);
  if (!lexicon) fail_msg("%s", last_error());
  for (uint32_t k = 0; k < table->rows; k++) {
    char text[256];
    snprintf(text, sizeof text, "%s %s", tsv_field(table, k, 2), own[k].singular);
    expect_one(lexicon, text, (caption_mention){k, 1, COLOUR_NONE});
    snprintf(text, sizeof text, "three %s", own[k].plural);
    expect_one(lexicon, text, (caption_mention){k, 3, COLOUR_NONE});
    for (uint32_t c = 1; c < COLOURS; c++) {
      snprintf(text, sizeof text, "a %s %s", names[c], own[k].singular);
      expect_one(lexicon, text, (caption_mention){k, 1, c});
      snprintf(text, sizeof text, "two %s %s", names[c], own[k].plural);
      expect_one(lexicon, text, (caption_mention){k, 2, c});
    }
  }
  caption_lexicon_free(lexicon);
  free(own);
  tsv_free(table);
}

static void test_noise(void **state) {
  (void)state;
  static const char *const words[] = {"a",   "two", "red", "orange", "hot",     "dog", "dogs",  "jack", "in", "the",
                                      "box", ",",   ".",   "99",     "glasses", "of",  "pairs", "and",  "x",  "'"};
  caption_lexicon *lexicon = lexicon_of_tests();
  rng g = rng_make(5, 0);
  for (int round = 0; round < 5000; round++) {
    char text[512] = "";
    for (uint32_t i = 0, n = rng_below(&g, 30); i < n; i++) {
      strcat(text, words[rng_below(&g, 20)]);
      strcat(text, rng_below(&g, 5) ? " " : "");
    }
    caption_mention *found;
    size_t n;
    assert_int_equal(caption_read(lexicon, text, &found, &n), STATUS_OK);
    for (size_t i = 0; i < n; i++) {
      assert_true(found[i].kind < KINDS && found[i].colour < TEST_COLOURS);
      for (size_t k = 0; k < i; k++) assert_memory_not_equal(found + i, found + k, sizeof *found);
    }
    free(found);
  }
  caption_lexicon_free(lexicon);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reading),
      cmocka_unit_test(test_judging),
      cmocka_unit_test(test_hedging),
      cmocka_unit_test(test_corpus),
      cmocka_unit_test(test_groups_of_one_kind),
      cmocka_unit_test(test_lexicon_refuses),
      cmocka_unit_test(test_own_kinds),
      cmocka_unit_test(test_noise),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
