/* Scores of captioners whose answers are known: one that always says the same, one that says nothing; and the sets. */
#include "train/caption_eval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "tests/support/tiny_captioner.h"
#include "tests/support/tiny_pack.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MOST = 64 };

/* What an evaluation showed. */
typedef struct {
  int n, calls, done, all;
  char truth[MOST][SCENE_MAX_CAPTION], said[MOST][SCENE_MAX_CAPTION];
} record;

static void keep(void *user, const char *truth, const char *said) {
  record *r = user;
  assert_true(r->n < MOST);
  snprintf(r->truth[r->n], SCENE_MAX_CAPTION, "%s", truth);
  snprintf(r->said[r->n++], SCENE_MAX_CAPTION, "%s", said);
}

static void count(void *user, int done, int all) {
  record *r = user;
  assert_true(done > r->done && done <= all);
  r->done = done;
  r->all = all;
  r->calls++;
}

static eval_report evaluate(const visualrwkv *m, const char *pack, eval_set set, int limit, record *r) {
  eval_report report;
  memset(r, 0, sizeof *r);
  const eval_options o = {
      .objects = pack, .set = set, .limit = limit, .seed = 3, .batch = 5, .each = keep, .progress = count, .user = r};
  if (caption_eval(m, &o, &report)) fail_msg("%s", last_error());
  assert_int_equal(report.set, set);
  assert_int_equal(report.scenes, r->n);
  assert_int_equal(r->all, 2 * r->n); /* the model and the blank baseline */
  assert_int_equal(r->done, r->all);
  assert_int_equal(r->calls, 2 * ((r->n + 4) / 5));
  return report;
}

static void near(double got, double want) {
  if (!(fabs(got - want) <= 1e-6)) fail_msg("%.9g instead of %.9g", got, want);
}

static void near_scores(const eval_scores *s, double recall, double precision, double hue, double number) {
  near(s->recall, recall);
  near(s->precision, precision);
  near(s->colour, hue);
  near(s->count, number);
}

/* A pack whose training scenes show red discs only: mostly "a red disc". */
static void red_discs(const char *path, const tiny_shape *test, int n) {
  tiny_shape shapes[MOST] = {{0, SPLIT_TRAIN, COLOUR_RED}};
  memcpy(shapes + 1, test, (size_t)n * sizeof *test);
  tiny_pack_write_shapes(path, TINY_KINDS, shapes, n + 1);
}

static const char *const red_disc[] = {"a", " red", " disc"};

static void test_perfect_answers(void **state) {
  static const tiny_shape test[] = {
      {0, SPLIT_TEST, COLOUR_RED}, {0, SPLIT_TEST, COLOUR_RED}, {0, SPLIT_TEST, COLOUR_RED}};
  char *pack = scratch_path(state, "pack");
  visualrwkv m;
  record r;
  red_discs(pack, test, 3);
  tiny_script(&m, red_disc, 3, true);
  eval_report report = evaluate(&m, pack, EVAL_UNSEEN, 0, &r);
  assert_int_equal(report.scenes, 3);
  for (int i = 0; i < 3; i++) {
    assert_string_equal(r.truth[i], "a red disc");
    assert_string_equal(r.said[i], "a red disc");
  }
  assert_string_equal(report.frequent_caption, "a red disc");
  const eval_scores *all[] = {&report.model, &report.blank, &report.frequent}; /* the script does not look */
  for (int i = 0; i < 3; i++) {
    near_scores(all[i], 1, 1, 1, 1);
    near(all[i]->rouge, 1);
    near(all[i]->cider, 0); /* words that every reference has weigh nothing */
    assert_int_equal(all[i]->colours, 3);
    assert_int_equal(all[i]->counts, 3);
  }
  visualrwkv_free(&m);
  free(pack);
}

/* Half of the pictures are what is said; of the others one is of another colour, one of another kind. */
static void test_partly_right_answers(void **state) {
  static const tiny_shape test[] = {{0, SPLIT_TEST, COLOUR_RED},
                                    {0, SPLIT_TEST, COLOUR_RED},
                                    {0, SPLIT_TEST, COLOUR_BLUE},
                                    {1, SPLIT_TEST, COLOUR_RED}};
  char *pack = scratch_path(state, "pack");
  visualrwkv m;
  record r;
  red_discs(pack, test, 4);
  tiny_script(&m, red_disc, 3, true);
  eval_report report = evaluate(&m, pack, EVAL_UNSEEN, 0, &r);
  near_scores(&report.model, 0.75, 0.75, 2.0 / 3, 1);
  assert_int_equal(report.model.colours, 3);
  near(report.model.rouge, (1 + 1 + 2.0 / 3 + 2.0 / 3) / 4); /* P = R = 2/3 where one word of three is wrong */
  assert_true(report.model.cider > 0);
  visualrwkv_free(&m);
  free(pack);
}

static void test_nonsense_and_silence(void **state) {
  static const tiny_shape test[] = {{1, SPLIT_TEST, COLOUR_BLUE}, {1, SPLIT_TEST, COLOUR_GREEN}};
  static const char *const wrong[] = {"two", " rings"};
  char *pack = scratch_path(state, "pack");
  visualrwkv m;
  record r;
  red_discs(pack, test, 2);
  tiny_script(&m, wrong, 2, true);
  eval_report report = evaluate(&m, pack, EVAL_UNSEEN, 0, &r);
  near(report.frequent.recall, 0); /* "a red disc" */
  near(report.frequent.precision, 0);
  near(report.model.recall, 0);
  near(report.model.precision, 0);
  assert_true(isnan(report.model.colour) && isnan(report.model.count)); /* nothing to judge */
  assert_int_equal(report.model.colours + report.model.counts, 0);
  near(report.model.rouge, 0);
  visualrwkv_free(&m);

  tiny_script(&m, NULL, 0, true);
  report = evaluate(&m, pack, EVAL_UNSEEN, 0, &r);
  assert_string_equal(r.said[0], "");
  near(report.model.recall, 0);
  near(report.model.precision, 0);
  assert_true(isnan(report.model.colour));
  assert_true(report.model.bleu4 < 1e-6);
  visualrwkv_free(&m);
  free(pack);
}

/* --- sets --------------------------------------------------------------------------------------------------------- */

static bool has(const char *text, const char *word) { return strstr(text, word) != NULL; }

static void test_sets(void **state) {
  char *pack = scratch_path(state, "pack");
  visualrwkv m;
  record r;
  tiny_pack_write(pack, TINY_KINDS);
  tiny_captioner(&m, 2, TINY_TIDY);

  eval_report report = evaluate(&m, pack, EVAL_UNSEEN, 0, &r);
  assert_int_equal(report.scenes, 6); /* two test pictures of each of three kinds: one thing, red or green */
  int discs = 0;
  for (int i = 0; i < r.n; i++) {
    assert_true(!strncmp(r.truth[i], "a red ", 6) || !strncmp(r.truth[i], "a green ", 8));
    assert_false(has(r.truth[i], "ring"));
    discs += has(r.truth[i], "disc");
  }
  assert_int_equal(discs, 2);

  report = evaluate(&m, pack, EVAL_VALIDATION, 0, &r);
  assert_int_equal(report.scenes, 3);
  for (int i = 0; i < r.n; i++) assert_true(!strncmp(r.truth[i], "a blue ", 7));

  report = evaluate(&m, pack, EVAL_KINDS, 0, &r);
  assert_int_equal(report.scenes, 2);
  for (int i = 0; i < r.n; i++) assert_true(has(r.truth[i], " ring"));

  report = evaluate(&m, pack, EVAL_SCENES, 23, &r);
  assert_int_equal(report.scenes, 23);
  int different = 0, several = 0;
  for (int i = 0; i < r.n; i++) {
    assert_false(has(r.truth[i], "ring"));
    different += strcmp(r.truth[i], r.truth[0]) != 0;
    several +=
        has(r.truth[i], " and ") || has(r.truth[i], "two ") || has(r.truth[i], "of a") || has(r.truth[i], "above");
  }
  assert_true(different > 0 && several > 0);

  assert_int_equal(evaluate(&m, pack, EVAL_UNSEEN, 4, &r).scenes, 4);
  assert_int_equal(evaluate(&m, pack, EVAL_UNSEEN, 50, &r).scenes, 6);
  assert_int_equal(evaluate(&m, pack, EVAL_KINDS, -1, &r).scenes, 2);
  static const char *const names[EVAL_SETS] = {"scenes", "unseen", "kinds", "validation"};
  for (int i = 0; i < EVAL_SETS; i++) assert_string_equal(eval_set_name((eval_set)i), names[i]);
  visualrwkv_free(&m);
  free(pack);
}

static void same_scores(const eval_scores *a, const eval_scores *b) {
  near(a->recall, b->recall), near(a->precision, b->precision), near(a->bleu4, b->bleu4);
  near(a->cider, b->cider), near(a->rouge, b->rouge);
  assert_int_equal(a->colours, b->colours);
  assert_int_equal(a->counts, b->counts);
}

static void test_deterministic(void **state) {
  char *pack = scratch_path(state, "pack");
  visualrwkv m;
  record r, again;
  tiny_pack_write(pack, TINY_KINDS);
  tiny_captioner(&m, 2, TINY_TIDY);
  eval_report a = evaluate(&m, pack, EVAL_SCENES, 12, &r), b = evaluate(&m, pack, EVAL_SCENES, 12, &again);
  same_scores(&a.model, &b.model);
  same_scores(&a.blank, &b.blank);
  same_scores(&a.frequent, &b.frequent);
  assert_string_equal(a.frequent_caption, b.frequent_caption);
  assert_true(strlen(a.frequent_caption) > 5);
  for (int i = 0; i < r.n; i++) {
    assert_string_equal(r.truth[i], again.truth[i]);
    assert_string_equal(r.said[i], again.said[i]);
  }
  int other = 0;
  eval_options o = {.objects = pack, .set = EVAL_SCENES, .limit = 12, .seed = 4, .each = keep, .user = &again};
  again.n = 0;
  assert_int_equal(caption_eval(&m, &o, &b),
                   STATUS_OK); /* another seed: other scenes; the batch's size does not matter */
  for (int i = 0; i < r.n; i++) other += strcmp(r.truth[i], again.truth[i]) != 0;
  assert_true(other > 0);
  o.seed = 3;
  o.batch = 1;
  again.n = 0;
  assert_int_equal(caption_eval(&m, &o, &b), STATUS_OK);
  for (int i = 0; i < r.n; i++) {
    assert_string_equal(r.truth[i], again.truth[i]);
    assert_string_equal(r.said[i], again.said[i]);
  }
  visualrwkv_free(&m);
  free(pack);
}

/* The blank baseline is what the model says of white pictures. */
static void test_blank_pictures(void **state) {
  char *pack = scratch_path(state, "pack");
  bool looked = false;
  tiny_pack_write(pack, TINY_KINDS);
  for (uint64_t seed = 1; seed <= 6; seed++) {
    visualrwkv m;
    record r;
    tiny_captioner(&m, seed, TINY_TIDY);
    eval_report report = evaluate(&m, pack, EVAL_UNSEEN, 0, &r);
    float *white = malloc(TINY_IMAGE * TINY_IMAGE * 3 * sizeof *white);
    for (int i = 0; i < TINY_IMAGE * TINY_IMAGE * 3; i++) white[i] = 1;
    const tensor x = {.type = DTYPE_F32, .n_dims = 4, .dim = {1, TINY_IMAGE, TINY_IMAGE, 3}, .data = white};
    const caption_options greedy = {.count = 1, .beam = 1, .max_tokens = 64};
    caption said;
    ctx *c = ctx_new();
    assert_int_equal(caption_pictures(c, &m, &x, &greedy, &said), STATUS_OK);
    double named = 0; /* recall: the share of pictures whose kind the fixed answer names */
    for (int i = 0; i < r.n; i++) {
      const char *kind = strrchr(r.truth[i], ' ');
      named += has(said.text, kind + 1) / (double)r.n;
      looked |= strcmp(r.said[i], said.text) != 0;
    }
    near(report.blank.recall, named);
    captions_free(&said, 1);
    ctx_free(c);
    free(white);
    visualrwkv_free(&m);
  }
  assert_true(looked);
  free(pack);
}

static void test_mistakes(void **state) {
  char *pack = scratch_path(state, "pack"), *absent = scratch_path(state, "absent");
  visualrwkv m;
  eval_report report;
  tiny_captioner(&m, 2, TINY_TIDY);
  eval_options o = {.objects = absent, .set = EVAL_SCENES, .limit = 3};
  assert_int_equal(caption_eval(&m, &o, &report), STATUS_IO);
  assert_non_null(strstr(last_error(), absent));
  tiny_pack_write(pack, 2); /* no held-out kind */
  o.objects = pack;
  o.set = EVAL_KINDS;
  assert_int_equal(caption_eval(&m, &o, &report), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "kinds"));
  assert_non_null(strstr(last_error(), pack));
  visualrwkv_free(&m);
  free(pack), free(absent);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_perfect_answers),
      IN_SCRATCH(test_partly_right_answers),
      IN_SCRATCH(test_nonsense_and_silence),
      IN_SCRATCH(test_sets),
      IN_SCRATCH(test_deterministic),
      IN_SCRATCH(test_blank_pictures),
      IN_SCRATCH(test_mistakes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
