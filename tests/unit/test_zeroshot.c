/* Labels and templates, from words and files; the classifier that they make, against embeddings computed one by one;
 * the likeliest labels. Spec rwkv-clip 9.1. */
#include "fusion/zeroshot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "tests/support/tiny_clip.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void good(status s) {
  if (s) fail_msg("%s", last_error());
}

static void refused(status s, const char *words) {
  assert_int_not_equal(s, STATUS_OK);
  if (!strstr(last_error(), words)) fail_msg("'%s' does not say '%s'", last_error(), words);
}

static char *written(void **state, const char *name, const char *text) {
  char *path = scratch_path(state, name);
  scratch_write(path, text, strlen(text));
  return path;
}

static void test_labels(void **state) {
  zero_shot z = {0};
  good(zero_shot_add_list(&z, " cat ,a big dog,"
                              "\tbird"));
  good(zero_shot_add(&z, "one, with a comma", NULL, 0));
  char *path = written(state, "labels.txt", "fish\r\n\n  \nwolf\ta grey wolf\t\t wild dog \nsnake");
  good(zero_shot_add_file(&z, path));
  static const char *const want[] = {"cat", "a big dog", "bird", "one, with a comma", "fish", "wolf", "snake"};
  assert_int_equal(z.label.n, 7);
  for (int i = 0; i < 7; i++) assert_string_equal(z.label.item[i], want[i]);
  assert_int_equal(z.prompt.n, 2);
  assert_string_equal(z.prompt.item[0], "a grey wolf");
  assert_string_equal(z.prompt.item[1], "wild dog");
  assert_true(z.prompt_of[0] == 5 && z.prompt_of[1] == 5);
  free(path);

  refused(zero_shot_add_list(&z, "cat,,dog"), "without a name");
  refused(zero_shot_add(&z, " \t", NULL, 0), "without a name");
  path = written(state, "bad.txt", "cat\n\ta prompt of nobody\n");
  refused(zero_shot_add_file(&z, path), "line 2");
  free(path);
  path = written(state, "blank.txt", "\n \n");
  refused(zero_shot_add_file(&z, path), "blank");
  free(path);
  path = scratch_path(state, "binary.txt");
  scratch_write(path, "cat\na\0b", 7);
  refused(zero_shot_add_file(&z, path), "line 2 holds the byte 0");
  free(path);
  refused(zero_shot_add_file(&z, "tests/none.txt"), "tests/none.txt");
  zero_shot_free(&z);
}

static void test_templates(void **state) {
  zero_shot z = {0};
  char *path = written(state, "templates.txt", "a {}\n\nthe {} of all {}s\n");
  good(zero_shot_template_file(&z, path));
  good(zero_shot_template(&z, " {} "));
  assert_int_equal(z.templates.n, 3);
  assert_string_equal(z.templates.item[1], "the {} of all {}s");
  assert_string_equal(z.templates.item[2], "{}");
  refused(zero_shot_template(&z, "a photo of a {c}"), "a photo of a {c}");
  free(path);
  path = written(state, "bad.txt", "a {}\na photo\n");
  refused(zero_shot_template_file(&z, path), "line 2");
  free(path);
  zero_shot_free(&z);
}

/* The direction of the mean of texts' unit vectors, each encoded by itself. */
static void check_row(ctx *c, const clip_model *m, const float *row, const char *const *texts, int n) {
  float one[TINY_CLIP_WIDTH];
  double sum[TINY_CLIP_WIDTH] = {0}, length = 0;
  for (int i = 0; i < n; i++) {
    good(clip_model_texts(c, m, &texts[i], 1, one, NULL));
    for (int d = 0; d < TINY_CLIP_WIDTH; d++) sum[d] += (double)one[d];
  }
  for (int d = 0; d < TINY_CLIP_WIDTH; d++) length += sum[d] * sum[d];
  for (int d = 0; d < TINY_CLIP_WIDTH; d++) assert_true(fabs((double)row[d] - sum[d] / sqrt(length)) < 1e-5);
}

static void test_usual(void **state) {
  clip_model *m = tiny_clip_model(state, 3);
  zero_shot z = {0};
  good(zero_shot_usual(&z, m)); /* its file names none */
  assert_int_equal(z.templates.n, 1);
  assert_string_equal(z.templates.item[0], ZERO_SHOT_USUAL);
  m->templates = strdup("a {}\nan {}");
  good(zero_shot_usual(&z, m)); /* there is one */
  assert_int_equal(z.templates.n, 1);
  zero_shot_free(&z);
  good(zero_shot_usual(&z, m));
  assert_int_equal(z.templates.n, 2);
  assert_string_equal(z.templates.item[1], "an {}");
  zero_shot_free(&z);
  free(m->templates);
  m->templates = strdup("a picture");
  refused(zero_shot_usual(&z, m), "a picture");
  zero_shot_free(&z);
  clip_model_close(m);
}

static void test_encode(void **state) {
  ctx *c = ctx_new();
  clip_model *m = tiny_clip_model(state, 3);
  zero_shot z = {0};
  refused(zero_shot_encode(&z, c, m), "no labels");
  good(zero_shot_add_list(&z, "cat,red disc"));
  static const char *const own[] = {"three white rings", "a blue ring"};
  good(zero_shot_add(&z, "ring", own, 2));
  good(zero_shot_add(&z, "green cross", NULL, 0));
  good(zero_shot_encode(&z, c, m)); /* no templates: the names */
  assert_int_equal(z.width, TINY_CLIP_WIDTH);
  check_row(c, m, z.classifier, (const char *const[]){"cat"}, 1);
  check_row(c, m, z.classifier + 2 * TINY_CLIP_WIDTH, own, 2);

  good(zero_shot_template(&z, "a {}"));
  good(zero_shot_template(&z, "{} on a {}"));
  good(zero_shot_encode(&z, c, m));
  check_row(c, m, z.classifier, (const char *const[]){"a cat", "cat on a cat"}, 2);
  check_row(c, m, z.classifier + TINY_CLIP_WIDTH, (const char *const[]){"a red disc", "red disc on a red disc"}, 2);
  check_row(c, m, z.classifier + 2 * TINY_CLIP_WIDTH, own, 2);
  check_row(c, m, z.classifier + 3 * TINY_CLIP_WIDTH,
            (const char *const[]){"a green cross", "green cross on a green cross"}, 2);
  assert_int_equal(z.n_cut, 0);
  zero_shot_free(&z);
  clip_model_close(m);
  ctx_free(c);
}

/* More prompts than are encoded together: every class still has its own. */
static void test_many(void **state) {
  enum { CLASSES = 700 };
  ctx *c = ctx_new();
  clip_model *m = tiny_clip_model(state, 3);
  zero_shot z = {0};
  for (int i = 0; i < CLASSES; i++) {
    const char name[] = {(char)('a' + i % 26), (char)('a' + i / 26), 0}, *const own[] = {"a cat", name};
    good(zero_shot_add(&z, name, own, i % 7 == 0 ? 2 : 0));
  }
  good(zero_shot_template(&z, "{}"));
  good(zero_shot_template(&z, "a {}"));
  good(zero_shot_encode(&z, c, m));
  for (int i = 0; i < CLASSES; i += 3) {
    char name[] = {(char)('a' + i % 26), (char)('a' + i / 26), 0}, filled[8];
    snprintf(filled, sizeof filled, "a %s", name);
    const char *const texts[] = {name, i % 7 == 0 ? "a cat" : filled};
    check_row(c, m, z.classifier + (size_t)i * TINY_CLIP_WIDTH, texts, 2);
  }
  char long_name[200];
  memset(long_name, 'x', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = 0;
  good(zero_shot_add(&z, long_name, NULL, 0));
  good(zero_shot_encode(&z, c, m));
  assert_int_equal(z.n_cut, 2);
  zero_shot_free(&z);
  clip_model_close(m);
  ctx_free(c);
}

static void test_best(void **state) {
  (void)state;
  enum { K = 6, D = 2 };
  float classifier[K * D] = {1, 0, 0, 1, -1, 0, 0.6f, 0.8f, 0, 1, 0.8f, -0.6f};
  zero_shot z = {.label = {.n = K}, .classifier = classifier, .width = D};
  const float row[D] = {0, 7};
  float cosines[K];
  zero_shot_guess best[K];
  good(zero_shot_best(&z, row, 5, cosines, 4, best));
  static const size_t order[] = {1, 4, 3, 0}; /* of equal ones the first; 0 and 2 are equal */
  static const double cosine[] = {1, 1, 0.8, 0};
  const double sum = exp(0) + 2 * exp(5) + exp(0) + exp(4) + exp(-3);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(best[i].class, order[i]);
    assert_true(fabs((double)best[i].cosine - cosine[i]) < 1e-6);
    assert_true(fabs((double)best[i].probability - exp(5 * cosine[i]) / sum) < 1e-6);
  }
  good(zero_shot_best(&z, row, 5, cosines, K, best));
  assert_int_equal(best[4].class, 2);
  assert_int_equal(best[5].class, 5);
  double all = 0;
  for (int i = 0; i < K; i++) all += (double)best[i].probability;
  assert_true(fabs(all - 1) < 1e-6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_labels, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_templates, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_usual, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_encode, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_many, scratch_setup, scratch_teardown),
      cmocka_unit_test(test_best),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
