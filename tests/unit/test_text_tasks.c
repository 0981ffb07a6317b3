/* Questions on held-out texts (`linnet-data tasks`): which passages and definitions they are made of. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/build/build.h"
#include "data/json_lines.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Forty words and more, in sentences without a word of five letters at their ends. */
#define FILLER                                                                                                         \
  "In the days of old it was so. And he went up to the top of it, and sat on it by day and by dark. " /* 25 words */   \
  "So say all of us. She had a cow and an ox and an old cat, and so on. "                             /* 19 words */

static status keep_line(void *user, const json_t *value, size_t line) {
  (void)line;
  return json_array_append(user, (json_t *)value) ? STATUS_MEMORY : STATUS_OK;
}

/* The lines of a file in the folder. */
static json_t *lines_of(void **state, const char *name) {
  char *path = scratch_path(state, name);
  size_t n;
  char *bytes = scratch_read(path, &n);
  json_t *all = json_array();
  assert_non_null(bytes);
  assert_int_equal(json_lines(path, bytes, n, keep_line, all), STATUS_OK);
  free(bytes), free(path);
  return all;
}

static task_counts make(void **state, const char *lines) {
  char *path = scratch_path(state, "test.jsonl");
  task_counts counts;
  scratch_write(path, lines, strlen(lines));
  if (tasks_make(*state, &counts)) fail_msg("%s", last_error());
  free(path);
  return counts;
}

static void check_passages(void **state, const char *text, size_t n, const char *const *ends) {
  char line[4096];
  snprintf(line, sizeof line, "{\"text\": \"%s\", \"source\": \"bible-kjv-text\"}\n", text);
  assert_int_equal(make(state, line).passages, n);
  json_t *all = lines_of(state, "lambada.jsonl");
  assert_int_equal(json_array_size(all), n);
  for (size_t i = 0; i < n; i++) {
    const char *passage = json_string_value(json_object_get(json_array_get(all, i), "text"));
    assert_non_null(passage);
    assert_non_null(strstr(text, passage));
    assert_true(strlen(passage) > strlen(ends[i]));
    assert_string_equal(passage + strlen(passage) - strlen(ends[i]), ends[i]);
  }
  json_decref(all);
}

static void passages_end_with_a_word_that_was_there(void **state) {
  static const char *const king[] = {"so said the king Solomon"}, *const both[] = {"it is of Israel", "a man of Judah"};
  check_passages(state, "Of Solomon. " FILLER "And so said the king Solomon. The end.", 1, king);
  check_passages(state, "Of Solomon. " FILLER "And so said the king Solomon", 1, king); /* the text's end is one */
  check_passages(state, "Of Israel. " FILLER "And it is of Israel! Of Judah, too. " FILLER "Is he a man of Judah?", 2,
                 both);
  check_passages(state, FILLER "And so said the king Solomon.", 0, NULL);                 /* never before */
  check_passages(state, FILLER "And Solomon it is, the king Solomon.", 0, NULL);          /* in its own sentence */
  check_passages(state, "Of Solomons. " FILLER "And so said the king Solomon.", 0, NULL); /* in a longer word */
  check_passages(state, "Of Solomon. And so said the king Solomon.", 0, NULL);            /* too short a passage */
  check_passages(state, "Of Saul. " FILLER "And so said the king Saul.", 0, NULL);        /* too short a word */
  check_passages(state, "Of Solomon. " FILLER "So said the king (Solomon.", 0, NULL);     /* no space before it */
  check_passages(state, "Of Solomon. " FILLER FILLER FILLER FILLER "And so said the king Solomon.", 0,
                 NULL); /* too far */
}

#define TALK(question, definition)                                                                                     \
  "{\"text\": \"User: " question "?\\n\\nAssistant: " definition "\", \"source\": \"wordnet-base\"}\n"

static const char talks[] = TALK("What is a cat", "A small beast.\\n\\nUser: A kind of what?\\n\\nAssistant: Beast.")
    TALK("What is a dog", "A loyal beast.") TALK("What is an ox", "A strong beast.")
        TALK("What does \\\"cow\\\" mean", "A milky beast.\\n\\nUser: A kind of what?\\n\\nAssistant: Beast.")
            TALK("What is a kitten", "A small beast.")  /* the same words */
    TALK("What does it mean to run", "Go fast.")        /* one of too few */
    TALK("What does \\\"quick\\\" mean", "Going fast.") /* of no certain class */
    "{\"text\": \"ox (noun): a strong beast.\", \"source\": \"wordnet-base\"}\n";

static void choices_are_of_one_class(void **state) {
  static const char *const right[] = {"A small beast.", "A loyal beast.", "A strong beast.", "A milky beast.",
                                      "A small beast."};
  const task_counts counts = make(state, talks);
  assert_int_equal(counts.questions, 5);
  assert_int_equal(counts.passages, 0);
  json_t *all = lines_of(state, "choices.jsonl");
  assert_int_equal(json_array_size(all), 5);
  for (size_t i = 0; i < 5; i++) {
    json_t *one = json_array_get(all, i), *choices = json_object_get(one, "choices");
    const size_t answer = (size_t)json_integer_value(json_object_get(one, "answer"));
    assert_int_equal(json_array_size(choices), 4);
    assert_string_equal(json_string_value(json_array_get(choices, answer)), right[i]);
    for (size_t a = 0; a < 4; a++)
      for (size_t b = 0; b < a; b++)
        assert_string_not_equal(json_string_value(json_array_get(choices, a)),
                                json_string_value(json_array_get(choices, b)));
  }
  assert_string_equal(json_string_value(json_object_get(json_array_get(all, 0), "context")),
                      "User: What is a cat?\n\nAssistant:");
  json_decref(all);
}

/* Twice the same; answers at every place. */
static void questions_are_drawn_once(void **state) {
  char *lines = calloc(1, 100 * 200), *path = scratch_path(state, "choices.jsonl");
  size_t n, m, place[4] = {0};
  assert_non_null(lines);
  for (int i = 0; i < 100; i++)
    sprintf(lines + strlen(lines), TALK("What is a thing of number %d", "Number %d."), i, i);
  assert_int_equal(make(state, lines).questions, 100);
  char *first = scratch_read(path, &n);
  make(state, lines);
  char *second = scratch_read(path, &m);
  assert_int_equal(n, m);
  assert_memory_equal(first, second, n);
  json_t *all = lines_of(state, "choices.jsonl");
  for (size_t i = 0; i < 100; i++) place[json_integer_value(json_object_get(json_array_get(all, i), "answer"))]++;
  for (int k = 0; k < 4; k++) assert_true(place[k] > 10);
  json_decref(all);
  free(first), free(second), free(lines), free(path);
}

static void what_is_no_text_is_named(void **state) {
  char *path = scratch_path(state, "test.jsonl");
  task_counts counts;
  assert_int_equal(tasks_make(*state, &counts), STATUS_IO);
  scratch_write(path, "{\"text\": \"a\"}\n", 14);
  assert_int_equal(tasks_make(*state, &counts), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "test.jsonl: line 1"));
  assert_int_equal(scratch_entries(state), 1);
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(passages_end_with_a_word_that_was_there, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(choices_are_of_one_class, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(questions_are_drawn_once, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(what_is_no_text_is_named, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
