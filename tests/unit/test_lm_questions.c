/* LAMBADA and multiple choice on questions made here, against a plain computation (tests/support/plain_score.h), and
 * bad files of every task. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/plain_score.h"
#include "tests/support/scratch.h"
#include "train/lm_eval.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static lm_eval_options options_of(const subject *s, const char *path) {
  return (lm_eval_options){.model = &s->model, .data = path, .batch = 64};
}

/* --- LAMBADA ------------------------------------------------------------------------------------------------------ */

/* What comes before the last word, and the word with its space. */
static const char *const last_words[][2] = {{"the cat and the", " dog"},
                                            {"ab c", " abcx"},
                                            {"", " x"},
                                            {"two lines\nor  ", " three"},
                                            {"the\n\nthe cat", " cat"}};
static const char lambada_lines[] = "{\"text\": \"the cat and the dog\"}\n{\"text\": \"ab c abcx\"}\n"
                                    "{\"text\": \" x\"}\n{\"text\": \"two lines\\nor   three \\n\"}\n"
                                    "{\"text\": \"the\\n\\nthe cat cat\"}\n";
enum { LAST_WORDS = 5 };

static void test_lambada(void **state) {
  char *path = scratch_path(state, "lambada.jsonl");
  scratch_write(path, lambada_lines, sizeof lambada_lines - 1);
  for (int form = 0; form < TINY_RWKV_FORMS; form += 4) {
    subject s = subject_new(form);
    for (int newline = 0; newline < 2; newline++) {
      double nats[LAST_WORDS], hit[LAST_WORDS], one[LAST_WORDS];
      for (int q = 0; q < LAST_WORDS; q++) {
        sentence t = {.ids = {newline ? '\n' + 1 : 0}, .n = 1};
        say(&t, &s, last_words[q][0]);
        const size_t first = t.n;
        say(&t, &s, last_words[q][1]);
        nats[q] = cost(&t, &s, first);
        one[q] = hit[q] = 1;
        for (size_t i = first; i < t.n; i++) hit[q] = hit[q] && t.best[i];
      }
      for (int b = 0; b < BATCHES; b++) {
        lm_lambada_score score;
        lm_eval_options o = options_of(&s, path);
        o.newline = newline;
        o.batch = batches[b];
        assert_int_equal(lm_lambada(&o, &score), STATUS_OK);
        assert_int_equal(score.questions, LAST_WORDS);
        near_estimate("accuracy", score.accuracy, two_passes(hit, one, LAST_WORDS));
        const estimate mean = two_passes(nats, one, LAST_WORDS);
        near("perplexity a word", score.perplexity.value, exp(mean.value));
        near("its error", score.perplexity.error, exp(mean.value) * mean.error);
      }
    }
    subject_free(&s);
  }
  free(path);
}

/* A model for which one token is always the likeliest. */
static void always(subject *s, int32_t id) {
  rwkv *lm = &s->model.lm;
  const int64_t D = tensor_last(lm->head);
  for (int64_t i = 0; i < D; i++) {
    f32(lm->ln_out_weight)[i] = 0;
    f32(lm->ln_out_bias)[i] = 1; /* logits are the sums of the head's rows */
  }
  memset(lm->head->data, 0, (size_t)tensor_count(lm->head) * sizeof(float));
  for (int64_t i = 0; i < D; i++) f32(lm->head)[id * D + i] = 1;
}

/* A word of several tokens counts only if each of them is the likeliest. */
static void test_lambada_hits(void **state) {
  char *path = scratch_path(state, "lambada.jsonl");
  const char lines[] = "{\"text\": \"ab cat\"}\n{\"text\": \"ab cat!\"}\n{\"text\": \"the dog\"}\n";
  scratch_write(path, lines, sizeof lines - 1);
  subject s = subject_new(TINY_RWKV_6);
  lm_lambada_score score;
  const lm_eval_options o = options_of(&s, path);
  always(&s, BYTES + 1); /* " cat" */
  assert_int_equal(lm_lambada(&o, &score), STATUS_OK);
  near("one of three", score.accuracy.value, 1.0 / 3);
  near("its error", score.accuracy.error, sqrt(1.0 / 3 * 2 / 3 / 2));
  always(&s, '!' + 1); /* only a part of a word */
  assert_int_equal(lm_lambada(&o, &score), STATUS_OK);
  near("none", score.accuracy.value, 0);
  subject_free(&s);
  free(path);
}

/* --- multiple choice ---------------------------------------------------------------------------------------------- */

/* A question as it is tokenised: the context's tokens, then what the whole has beyond as many. */
typedef struct {
  const char *line, *trimmed, *whole[3];
  size_t size[3]; /* bytes of the choices */
  int n, answer;
} case_of_choice;

static const case_of_choice cases[] = {
    {"{\"context\": \"the cat\", \"choices\": [\"dog\", \"x\", \"cat dog\"], \"answer\": 2}",
     "the cat",
     {"the cat dog", "the cat x", "the cat cat dog"},
     {3, 1, 7},
     3,
     2},
    {"{\"query\": \"the cat  \", \"choices\": [\"dog\", \"x\"], \"gold\": 0}",
     "the cat",
     {"the cat  dog", "the cat  x"},
     {3, 1},
     2,
     0},
    {"{\"context\": \"ab\\n\\n\", \"choices\": [\"cat\", \" cat\"], \"answer\": 1}",
     "ab",
     {"ab\n\ncat", "ab\n\n cat"},
     {3, 4},
     2,
     1},
    {"{\"context\": \"zx\", \"choices\": [\" dog\", \"\\tdog\", \"abcab\"], \"answer\": 0}",
     "zx",
     {"zx dog", "zx\tdog", "zx abcab"},
     {4, 4, 5},
     3,
     0},
    {"{\"context\": \"\", \"choices\": [\"the cat\", \"\\u00fcber\"], \"answer\": 1}",
     "",
     {"the cat", "\303\274ber"},
     {7, 5},
     2,
     1},
    {"{\"context\": \" \\u00a0\", \"choices\": [\"x\", \"the\"], \"answer\": 1}",
     "",
     {" \302\240 x", " \302\240 the"},
     {1, 3},
     2,
     1},
};
enum { CASES = sizeof cases / sizeof *cases };

/* The log-likelihood of the harness's pair of context and continuation, negative. */
static double pair_cost(const subject *s, const char *trimmed, const char *whole, bool newline) {
  sentence t = {.ids = {newline ? '\n' + 1 : 0}, .n = 1}, all = {.n = 0};
  say(&t, s, trimmed);
  say(&all, s, whole);
  const size_t first = t.n, context = t.n - 1;
  assert_true(all.n > context);
  memcpy(t.ids + t.n, all.ids + context, (all.n - context) * sizeof *t.ids);
  t.n += all.n - context;
  return cost(&t, s, first);
}

static void test_choices(void **state) {
  char *path = scratch_path(state, "choices.jsonl"), lines[4096] = "";
  for (int q = 0; q < CASES; q++) strcat(strcat(lines, cases[q].line), "\n");
  scratch_write(path, lines, strlen(lines));
  for (int form = 3; form < TINY_RWKV_7 + 1; form++) {
    subject s = subject_new(form);
    for (int newline = 0; newline < 2; newline++) {
      double hit[CASES], by_bytes[CASES], one[CASES];
      for (int q = 0; q < CASES; q++) {
        int best = 0, best_by_bytes = 0;
        double nats[3];
        for (int k = 0; k < cases[q].n; k++) {
          nats[k] = pair_cost(&s, cases[q].trimmed, cases[q].whole[k], newline);
          if (nats[k] < nats[best]) best = k;
          if (nats[k] / (double)cases[q].size[k] < nats[best_by_bytes] / (double)cases[q].size[best_by_bytes])
            best_by_bytes = k;
        }
        one[q] = 1;
        hit[q] = best == cases[q].answer;
        by_bytes[q] = best_by_bytes == cases[q].answer;
      }
      for (int b = 0; b < BATCHES; b++) {
        lm_choices_score score;
        lm_eval_options o = options_of(&s, path);
        o.newline = newline;
        o.batch = batches[b];
        assert_int_equal(lm_choices(&o, false, &score), STATUS_OK);
        assert_int_equal(score.questions, CASES);
        assert_int_equal(score.choices, 14);
        near_estimate("accuracy", score.accuracy, two_passes(hit, one, CASES));
        near_estimate("accuracy by bytes", score.by_bytes, two_passes(by_bytes, one, CASES));
      }
    }
    subject_free(&s);
  }
  free(path);
}

/* Many questions whose answers are the plainly likeliest: all are found. */
static void test_many_choices(void **state) {
  enum { QUESTIONS = 60 };
  static const char *const word[] = {"ab", "the", "cat", "dog", "x", "abc"};
  char *path = scratch_path(state, "choices.jsonl"), lines[QUESTIONS * 160] = "";
  subject s = subject_new(TINY_RWKV_6);
  rng g = rng_make(4, 4);
  for (int q = 0; q < QUESTIONS; q++) {
    char context[64] = "the", whole[128];
    int best = 0;
    double nats[6];
    for (uint32_t n = rng_below(&g, 6); n; n--) strcat(strcat(context, " "), word[rng_below(&g, 6)]);
    for (int k = 0; k < 6; k++) {
      snprintf(whole, sizeof whole, "%s %s", context, word[k]);
      nats[k] = pair_cost(&s, context, whole, false);
      if (nats[k] < nats[best]) best = k;
    }
    snprintf(lines + strlen(lines), 160,
             "{\"context\": \"%s\", \"choices\": [\"ab\", \"the\", \"cat\", \"dog\", \"x\", \"abc\"], "
             "\"answer\": %d}\n",
             context, best);
  }
  scratch_write(path, lines, strlen(lines));
  for (int b = 0; b < BATCHES; b++) {
    lm_choices_score score;
    lm_eval_options o = options_of(&s, path);
    o.batch = batches[b];
    assert_int_equal(lm_choices(&o, false, &score), STATUS_OK);
    assert_int_equal(score.questions, QUESTIONS);
    assert_true(score.accuracy.value == 1);
  }
  subject_free(&s);
  free(path);
}

/* Each choice of one question in turn as the only answer: exactly the plainly likeliest one is right. */
static void check_judgement(void **state, const char *context, const char *trimmed, const char *const choice[3],
                            const char *const whole[3], bool no_space) {
  char *path = scratch_path(state, "choices.jsonl"), line[512];
  subject s = subject_new(TINY_RWKV_7);
  double nats[3];
  for (int k = 0; k < 3; k++) nats[k] = pair_cost(&s, trimmed, whole[k], false);
  for (int answer = 0; answer < 3; answer++) {
    bool best = true, best_by_bytes = true;
    for (int k = 0; k < 3; k++) {
      best = best && nats[answer] <= nats[k];
      best_by_bytes =
          best_by_bytes && nats[answer] / (double)strlen(choice[answer]) <= nats[k] / (double)strlen(choice[k]);
    }
    snprintf(line, sizeof line, "{\"context\": \"%s\", \"choices\": [\"%s\", \"%s\", \"%s\"], \"answer\": %d}", context,
             choice[0], choice[1], choice[2], answer);
    scratch_write(path, line, strlen(line));
    lm_choices_score score;
    const lm_eval_options o = options_of(&s, path);
    assert_int_equal(lm_choices(&o, no_space, &score), STATUS_OK);
    assert_true(score.accuracy.value == (double)best);
    assert_true(score.by_bytes.value == (double)best_by_bytes);
    assert_true(isnan(score.accuracy.error));
  }
  subject_free(&s);
  free(path);
}

static void test_judgement(void **state) {
  static const char *const plain_choice[] = {"dog", "the cat", "x!"},
                           *const spaced[] = {"ab dog", "ab the cat", "ab x!"},
                           *const joined[] = {"zabcd", "zabcde", "zab dog"}, *const tails[] = {"bcd", "bcde", "b dog"};
  check_judgement(state, "ab", "ab", plain_choice, spaced, false);
  check_judgement(state, "ab ", "ab", plain_choice, spaced, false);
  /* "za" has two tokens; of "zabcd", whose second is "abc", what is beyond two is "d" */
  check_judgement(state, "za", "za", tails, joined, true);
}

/* --- what is refused ---------------------------------------------------------------------------------------------- */

typedef struct {
  const char *bytes, *says;
} bad_file;

static void check_bad(const subject *s, const char *path, char which, const bad_file *bad) {
  const lm_eval_options o = options_of(s, path);
  lm_perplexity_score p;
  lm_lambada_score l;
  lm_choices_score c;
  scratch_write(path, bad->bytes, strlen(bad->bytes));
  const status got = which == 'p'   ? lm_perplexity(&o, LM_DOCUMENTS, 0, &p)
                     : which == 'l' ? lm_lambada(&o, &l)
                                    : lm_choices(&o, which == 'n', &c);
  if (got != STATUS_FORMAT || !strstr(last_error(), bad->says) || !strstr(last_error(), path))
    fail_msg("%d, '%s' instead of '%s' for %s", got, last_error(), bad->says, bad->bytes);
}

static void test_bad_files(void **state) {
  char *path = scratch_path(state, "bad.jsonl");
  subject s = subject_new(TINY_RWKV_6);
  static const bad_file texts[] = {{"", "no text"},
                                   {"{\"text\": \"a\"}\n{\"text\": 1}\n", "line 2"},
                                   {"\n\n{\"text\": \"a\"\n", "line 3: not JSON"},
                                   {"{\"text\": \"a\"} x\n", "line 1: not JSON"},
                                   {"{\"text\": \"\377\"}\n", "line 1: not JSON"},
                                   {"[]", "line 1"},
                                   {"{\"text\": \"\"}", "no text"}};
  static const bad_file passages[] = {{"", "no question"},
                                      {"{\"text\": \"alone\"}", "line 1: no space"},
                                      {"{\"text\": \"\"}", "line 1: its \"text\" is empty"},
                                      {"{\"text\": \" \\n \"}", "line 1: no space"},
                                      {"{\"texts\": 1}", "line 1"},
                                      {"17", "line 1"}};
  static const bad_file questions[] = {
      {"", "no question"},
      {"{\"choices\": [\"a\", \"b\"], \"answer\": 0}", "line 1: no object with a string \"context\""},
      {"{\"context\": \"a\", \"answer\": 0}", "line 1: no array"},
      {"{\"context\": \"a\", \"choices\": [], \"answer\": 0}", "line 1: no array"},
      {"{\"context\": \"a\", \"choices\": [\"b\"], \"answer\": 0}", "line 1: no array"},
      {"{\"context\": \"a\", \"choices\": \"bc\", \"answer\": 0}", "line 1: no array"},
      {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"]}", "line 1: no whole number"},
      {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"answer\": \"0\"}", "line 1: no whole number"},
      {"\n{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"answer\": 2}", "line 2: the answer is number 2 of 2"},
      {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"answer\": -1}", "line 1: the answer"},
      {"{\"context\": \"a\", \"choices\": [\"a\", \"\"], \"answer\": 0}", "line 1: a choice"},
      {"{\"context\": \"a\", \"choices\": [\"a\", 5], \"answer\": 0}", "line 1: a choice"}};
  static const bad_file swallowed = {"{\"context\": \"za\", \"choices\": [\"bc\", \"b\"], \"answer\": 0}",
                                     "line 1: a choice adds no token"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_bad(&s, path, 'p', &texts[i]);
  for (size_t i = 0; i < sizeof passages / sizeof *passages; i++) check_bad(&s, path, 'l', &passages[i]);
  for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) check_bad(&s, path, 'c', &questions[i]);
  check_bad(&s, path, 'n', &swallowed);
  lm_perplexity_score score;
  lm_eval_options o = options_of(&s, "no such file");
  assert_int_equal(lm_perplexity(&o, LM_DOCUMENTS, 0, &score), STATUS_IO);
  o.data = path;
  o.batch = 0;
  assert_int_equal(lm_perplexity(&o, LM_DOCUMENTS, 0, &score), STATUS_ARGUMENT);
  subject_free(&s);
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_lambada, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_lambada_hits, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_choices, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_many_choices, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_judgement, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_bad_files, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
