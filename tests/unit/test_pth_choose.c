/* Which dictionary of tensors a PyTorch file is taken for: the usual names, nested ones, the only one, an optimizer's,
 * and what `choice` names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "tests/support/make_pth.h"
#include "weights/checkpoint.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

/* Writes nested dictionaries from a line of words: "model{ a b{ c } } ema{ d }" are two, of which each word alone is a
 * tensor; "-x" is the scalar x, and "#" a tensor under the key 0. The braces of the root are left out. */
static void put_tree(pickle_writer *w, const char *line) {
  char words[500];
  assert_true(strlen(line) < sizeof words);
  strcpy(words, line);
  PUT(w, "\x80\x02}(");
  for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
    const size_t length = strlen(word);
    if (!strcmp(word, "}")) {
      PUT(w, "u");
    } else if (!strcmp(word, "#")) {
      PUT(w, "K\0");
      put_value(w, "FloatStorage", 6, 0, 1, (int64_t[]){6}, (int64_t[]){1});
    } else if (word[0] == '-') {
      put_tensor(w, word + 1, "FloatStorage", 6, 0, 0, NULL, NULL);
    } else if (word[length - 1] == '{') {
      word[length - 1] = 0;
      put_text(w, word);
      PUT(w, "}(");
    } else {
      put_six(w, word);
    }
  }
  PUT(w, "u.");
}

static checkpoint *open_tree(const char *line, const char *choice, char **bytes) {
  pickle_writer w = {.size = 0};
  size_t size;
  put_tree(&w, line);
  *bytes = make_pth(&w, ZIP_CM_STORE, &size);
  return checkpoint_parse_choice(*bytes, size, "memory", choice);
}

/* The names of the tensors that are there, joined by a blank, and the dictionaries to choose from. */
static void expect_tensors(const char *line, const char *choice, const char *names, const char *choices) {
  char *bytes, have[200] = "";
  checkpoint *c = open_tree(line, choice, &bytes);
  if (!c) fail_msg("%s: %s", line, last_error());
  for (size_t i = 0; i < checkpoint_count(c); i++) strcat(strcat(have, i ? " " : ""), checkpoint_at(c, i)->name);
  assert_string_equal(have, names);
  assert_string_equal(checkpoint_choices(c), choices);
  checkpoint_close(c);
  free(bytes);
}

static void expect_refused(const char *line, const char *choice, status s, const char *words) {
  char *bytes;
  if (open_tree(line, choice, &bytes)) fail_msg("%s: opened, not refused as \"%s\"", line, words);
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
  assert_int_equal(last_status(), s);
  free(bytes);
}

static void test_usual(void **state) {
  (void)state;
  expect_tensors("a b", NULL, "a b", ".");
  expect_tensors("ema{ e } model{ m } x", NULL, "m", "model, ., ema");
  expect_tensors("model{ m } state_dict{ s }", NULL, "s", "state_dict, model");
  expect_tensors("meta{ } state_dict{ s } optimizer{ state{ # } }", NULL, "s", "state_dict");
  expect_tensors("ema{ e }", NULL, "e", "ema");
  expect_tensors("base_model{ b } epoch{ }", NULL, "b", "base_model");
}

static void test_nested(void **state) {
  (void)state;
  expect_tensors("model{ state_dict{ a } }", NULL, "a", "model.state_dict");
  expect_tensors("checkpoint{ a }", NULL, "a", "checkpoint");
  expect_tensors("model{ m module{ a } }", NULL, "a", "model.module, model");
  expect_tensors("a{ b{ c{ d } } }", NULL, "d", "a.b.c");
  expect_refused("a{ b{ c{ d{ e } } } }", NULL, STATUS_UNSUPPORTED, "holds no dictionary of named tensors");
}

static void test_unusual(void **state) {
  (void)state;
  expect_tensors("mine{ a } epoch{ }", NULL, "a", "mine");
  expect_refused("student{ a } teacher{ b }", NULL, STATUS_UNSUPPORTED, "name one of: student, teacher");
  expect_tensors("student{ a } teacher{ b }", "teacher", "b", "teacher, student");
  expect_tensors("random mine{ a b }", NULL, "a b", "mine, .");
  expect_tensors("x mine{ a }", NULL, "x", "., mine");
  expect_refused("random student{ a b } teacher{ b a }", NULL, STATUS_UNSUPPORTED, "name one of: ., student, teacher");
  expect_tensors("x optimizer{ y }", NULL, "x", "., optimizer");
}

static void test_optimizer(void **state) {
  (void)state;
  expect_refused("optimizer{ state{ exp_avg } }", NULL, STATUS_UNSUPPORTED,
                 "no dictionary of named tensors but an optimizer's: optimizer.state");
  expect_refused("optim_g{ model{ a } }", NULL, STATUS_UNSUPPORTED, "but an optimizer's: optim_g.model");
  expect_tensors("optimizer{ model{ a } } mine{ b }", NULL, "b", "mine, optimizer.model");
  expect_tensors("optimizer{ model{ a } } mine{ b }", "optimizer.model", "a", "optimizer.model, mine");
  expect_refused("optimizer{ state{ # } }", NULL, STATUS_UNSUPPORTED, "holds no dictionary of named tensors");
}

/* A scalar beside other records (a best score) does not make a dictionary of weights, but where nothing else is. */
static void test_scalars(void **state) {
  (void)state;
  expect_tensors("-best mine{ a -scale }", NULL, "a scale", "mine");
  expect_tensors("-best", NULL, "best", ".");
}

static void test_choice(void **state) {
  (void)state;
  expect_tensors("model{ m } ema{ e } x", "ema", "e", "ema, ., model");
  expect_tensors("model{ m } ema{ e } x", ".", "x", "., model, ema");
  expect_tensors("model{ state_dict{ a } ema{ b } }", "model.ema", "b", "model.ema, model.state_dict");
  expect_refused("model{ m } ema{ e }", "emma", STATUS_ARGUMENT,
                 "memory: holds no dictionary of tensors named emma; there is: model, ema");
  expect_refused("model{ m }", "", STATUS_ARGUMENT, "there is: model");
  expect_refused("model{ }", "model", STATUS_UNSUPPORTED, "holds no dictionary of named tensors");
}

/* What the dictionary holds beside its tensors is left out: numbered tensors, lists, numbers. */
static void test_mixture(void **state) {
  (void)state;
  expect_tensors("a # b inner{ }", NULL, "a b", ".");
  expect_refused("#", NULL, STATUS_UNSUPPORTED, "holds no dictionary of named tensors");
}

/* Dictionaries that hold themselves, and ever more of each other, end all the same. */
static void test_cycles(void **state) {
  (void)state;
  pickle_writer w = {.size = 0};
  size_t size;
  PUT(&w, "\x80\x02}q\1(");
  put_text(&w, "model");
  PUT(&w, "h\1");
  put_text(&w, "ema");
  PUT(&w, "h\1");
  put_six(&w, "x");
  PUT(&w, "u.");
  char *bytes = make_pth(&w, ZIP_CM_STORE, &size);
  checkpoint *c = checkpoint_parse(bytes, size, "memory");
  if (!c) fail_msg("%s", last_error());
  assert_int_equal(checkpoint_count(c), 1);
  assert_memory_equal(checkpoint_choices(c), "model.model.model, ., model,", 28);
  checkpoint_close(c);
  free(bytes);

  /* one dictionary that holds itself under a thousand keys: a thousand million paths */
  w.size = 0;
  PUT(&w, "\x80\x02}q\1(");
  for (int i = 0; i < 1000; i++) {
    const char item[] = {'U', 2, (char)('A' + i / 32), (char)('A' + i % 32), 'h', 1};
    put(&w, item, sizeof item);
  }
  PUT(&w, "u.");
  bytes = make_pth(&w, ZIP_CM_STORE, &size);
  assert_null(checkpoint_parse(bytes, size, "memory"));
  assert_non_null(strstr(last_error(), "holds no dictionary of named tensors"));
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_usual),     cmocka_unit_test(test_nested),  cmocka_unit_test(test_unusual),
      cmocka_unit_test(test_optimizer), cmocka_unit_test(test_scalars), cmocka_unit_test(test_choice),
      cmocka_unit_test(test_mixture),   cmocka_unit_test(test_cycles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
