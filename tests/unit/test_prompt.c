/* Conversations as VisualRWKV reads them: their text and cleaning, ids and labels (spec visualrwkv section 6). The
 * published cases are golden ones: scripts/golden. */
#include "fusion/prompt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "data/vocabulary.h"

#include <cmocka.h>

static void expect(const prompt_turn *turns, size_t n, prompt_form form, const char *want) {
  char *text = prompt_text(turns, n, form);
  assert_non_null(text);
  if (strcmp(text, want)) fail_msg("\"%s\", expected \"%s\"", text, want);
  free(text);
}

static void expect_turn(const char *said, const char *want) {
  char whole[200];
  strcat(strcat(strcpy(whole, "User: "), want), "\n\n");
  expect(&(prompt_turn){PROMPT_HUMAN, said}, 1, PROMPT_FIRST, *want ? whole : "User:");
}

static void test_cleaning(void **state) {
  (void)state;
  static const char *const pairs[][2] = {
      {"plain", "plain"},
      {"", ""},
      {" \n\t ", ""},
      {"  two  words \n", "two  words"},
      {"a\nb", "a\nb"},
      {"a\n\nb", "a\nb"},
      {"a\n \t\n\n  b", "a\n  b"},
      {"a  \n\nb", "a  \nb"},
      {"a\r\n\r\nb", "a\r\nb"},
      {"a\n  b", "a\n  b"},
      {"\n\na\n\n", "a"},
      {"\xc2\xa0"
       "a\xe3\x80\x80",
       "a"},                          /* no-break and ideographic spaces */
      {"a\n\xe2\x80\x83\nb", "a\nb"}, /* an em space between the lines */
      {"\xe2\x80\x8b"
       "a",
       "\xe2\x80\x8b"
       "a"},                          /* zero width: no white space */
      {"\xff a \xc3", "\xff a \xc3"}, /* damaged bytes stay */
      {"a\x1c\n\x1f\nb", "a\x1c\nb"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) expect_turn(pairs[i][0], pairs[i][1]);
}

static void test_forms(void **state) {
  (void)state;
  const prompt_turn turns[] = {
      {PROMPT_HUMAN, "<image>\nWhat is it?\nAnswer the question using a single word or phrase."},
      {PROMPT_MODEL, " A bee. "},
      {PROMPT_HUMAN, " Is it\n\nsmall? "},
      {PROMPT_MODEL, ""},
  };
  expect(turns, 4, PROMPT_FIRST,
         "User: <image>\nWhat is it?\nAnswer the question using a single word or phrase.\n\nAssistant: A bee.\n\n"
         "User: Is it\nsmall?\n\nAssistant:");
  expect(turns, 4, PROMPT_LAST,
         "User: What is it?\nAnswer the question using a single word or phrase.\n<image>\n\nAssistant: A bee.\n\n"
         "User: Is it\nsmall?\n\nAssistant:");
  expect(turns, 4, PROMPT_SANDWICH,
         "User: What is it?\nIs it\n\nsmall?\n<image>\nWhat is it?\nAnswer the question using a single word or "
         "phrase.\n\nAssistant: A bee.\n\nUser: Is it\nsmall?\n\nAssistant:");
  expect(turns, 0, PROMPT_FIRST, "");
}

/* Bytes, and four words: ids of single bytes are the byte + 1. */
static tokenizer *few_words(void) {
  static const char *const pieces[] = {"\n\n", "Assistant", "User", " bee"};
  vocabulary_builder *v = vocabulary_builder_new();
  char *text;
  size_t n;
  assert_non_null(v);
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
    assert_int_equal(vocabulary_add_piece(v, pieces[i], strlen(pieces[i])), STATUS_OK);
  assert_int_equal(vocabulary_write(v, 300, &text, &n), STATUS_OK);
  vocabulary_builder_free(v);
  tokenizer *t = tokenizer_parse(text, n, "words");
  free(text);
  assert_non_null(t);
  return t;
}

static int32_t id_of(const tokenizer *t, const char *text) {
  int32_t id;
  assert_int_equal(tokenizer_encode(t, text, strlen(text), &id, 1), 1);
  return id;
}

static void test_labels(void **state) {
  (void)state;
  tokenizer *t = few_words();
  const prompt_turn turns[] = {{PROMPT_HUMAN, "<image>?"}, {PROMPT_MODEL, "bee"}};
  const int32_t I = PROMPT_IGNORED, stop = id_of(t, "\n\n"), bee = id_of(t, " bee"), colon = id_of(t, ":");
  const int32_t ids[] = {id_of(t, "User"),
                         colon,
                         id_of(t, " "),
                         PROMPT_IMAGE,
                         id_of(t, "\n"),
                         id_of(t, "?"),
                         stop,
                         id_of(t, "Assistant"),
                         colon,
                         bee,
                         stop,
                         0,
                         0};
  const int32_t labels[] = {I, I, I, I, I, I, I, I, I, bee, stop, I, I};
  static const size_t lengths[] = {0, 13, 11, 10, 3};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    prompt_tokens got;
    assert_int_equal(prompt_encode(t, turns, 2, PROMPT_FIRST, lengths[i], &got), STATUS_OK);
    assert_int_equal(got.n, lengths[i] ? lengths[i] : 11);
    assert_memory_equal(got.ids, ids, got.n * sizeof *ids);
    assert_memory_equal(got.labels, labels, got.n * sizeof *labels);
    prompt_tokens_free(&got);
  }
  prompt_tokens none;
  assert_int_equal(prompt_encode(t, turns, 0, PROMPT_FIRST, 2, &none), STATUS_OK);
  assert_int_equal(none.n, 2);
  assert_true(none.ids[1] == 0 && none.labels[1] == I);
  prompt_tokens_free(&none);
  tokenizer_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cleaning),
      cmocka_unit_test(test_forms),
      cmocka_unit_test(test_labels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
