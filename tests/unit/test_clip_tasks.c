/* The evaluations of a pair of towers against plain loops over its embeddings; the project's own pictures and scenes.
 */
#include "train/clip_tasks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "tests/support/tiny_clip.h"
#include "tests/support/tiny_pack.h"
#include "train/object_task.h"

#include <cmocka.h>

enum { N = 13, BROKEN = 4, D = TINY_CLIP_WIDTH };

/* Pictures of plain colours; one of them cannot be had. */
static image *plain(void *from, size_t index) {
  const bool *broken = from;
  if (*broken && index == BROKEN) return fail_null(STATUS_FORMAT, "picture %zu is broken", index);
  image *im = image_new(IMAGE_RGB, 5 + (int)index, 9);
  for (int i = 0; im && i < im->width * im->height * 3; i++)
    ((uint8_t *)im->pixels)[i] = (uint8_t)(i % 3 == 0 ? 20 * index : i % 3 == 1 ? 255 - 19 * index : 7 * index * index);
  return im;
}

static void rows_of(const clip_model *m, float rows[N][D], bool raw) {
  ctx *c = ctx_new();
  float pixels[TINY_CLIP_SIDE * TINY_CLIP_SIDE * 3];
  const bool whole = false;
  for (size_t i = 0; i < N; i++) {
    image *im = plain((void *)(uintptr_t)&whole, i);
    assert_int_equal(clip_model_pixels(m, im, pixels), STATUS_OK);
    image_free(im);
    ctx_reset(c);
    const tensor *x = tensor_wrap(c, DTYPE_F32, pixels, 4, (int64_t[]){1, TINY_CLIP_SIDE, TINY_CLIP_SIDE, 3});
    if (raw)
      memcpy(rows[i], f32(clip_image_features(c, &m->pair, x)), sizeof rows[i]);
    else
      assert_int_equal(clip_encode_images(c, &m->pair, x, rows[i]), STATUS_OK);
  }
  ctx_free(c);
}

typedef struct {
  int steps, errors, most;
} count;

static status count_step(void *user, const char *error) {
  count *n = user;
  n->steps++;
  if (error) {
    n->errors++;
    assert_non_null(strstr(error, "picture 4 is broken"));
  }
  return n->steps == n->most ? (fail)(STATUS_INTERRUPTED, "enough") : STATUS_OK;
}

static float product(const float *a, const float *b) {
  double sum = 0;
  for (int d = 0; d < D; d++) sum += (double)a[d] * (double)b[d];
  return (float)sum;
}

/* --- zero-shot --- */

static const char *const names[] = {"dog", "red disc", "ring"};

static void test_zero_shot(void **state) {
  clip_model *m = tiny_clip_model(state, 3);
  float rows[N][D];
  int32_t targets[N];
  bool broken = true;
  count n = {0};
  zero_shot z = {0};
  zero_shot_report r;
  rows_of(m, rows, false);
  for (int i = 0; i < N; i++) targets[i] = i % 3;
  for (int k = 0; k < 3; k++) assert_int_equal(zero_shot_add(&z, names[k], NULL, 0), STATUS_OK);
  assert_int_equal(zero_shot_template(&z, "a {}"), STATUS_OK);
  assert_int_equal(zero_shot_template(&z, "two {}s"), STATUS_OK);
  const picture_source pictures = {plain, &broken, N};
  const task_options o = {.batch = 5, .step = count_step, .user = &n};
  assert_int_equal(zero_shot_task(m, &z, &pictures, targets, &o, &r), STATUS_OK);
  assert_int_equal(n.steps, N);
  assert_int_equal(n.errors, 1);
  assert_int_equal(r.pictures, N - 1);
  assert_int_equal(r.skipped, 1);
  assert_int_equal(r.classes, 3);
  int right = 0;
  for (int i = 0; i < N; i++) {
    int best = 0;
    for (int k = 1; k < 3; k++)
      if (product(rows[i], z.classifier + k * D) > product(rows[i], z.classifier + best * D)) best = k;
    right += i != BROKEN && best == targets[i];
  }
  assert_true(fabs(r.scores.top1 - 100.0 * right / (N - 1)) < 1e-9);
  assert_true(fabs(r.scores.top5 - 100) < 1e-9);
  n = (count){.most = 7};
  assert_int_equal(zero_shot_task(m, &z, &pictures, targets, &o, &r), STATUS_INTERRUPTED);
  n = (count){0};
  assert_int_equal(zero_shot_task(m, &z, &(picture_source){plain, &broken, 0}, targets, &o, &r), STATUS_FORMAT);
  zero_shot_free(&z);
  clip_model_close(m);
}

/* --- retrieval --- */

static void test_retrieval(void **state) {
  enum { T = 20 };
  clip_model *m = tiny_clip_model(state, 3);
  float rows[N][D], texts[T][D];
  char text[T][32], said[T][64];
  const char *list[T], *said_list[T];
  int32_t image_of[T];
  bool broken = true;
  count n = {0};
  retrieval_report r;
  rows_of(m, rows, false);
  for (int t = 0; t < T; t++) {
    image_of[t] = (7 * t) % N;
    list[t] = text[t];
    said_list[t] = said[t];
    snprintf(text[t], sizeof text[t], "%s %c", names[t % 3], 'a' + t);
    snprintf(said[t], sizeof said[t], "a %s", text[t]);
  }
  ctx *c = ctx_new();
  assert_int_equal(clip_model_texts(c, m, said_list, T, &texts[0][0], NULL), STATUS_OK);
  ctx_free(c);
  const task_options o = {.batch = 4, .step = count_step, .user = &n};
  const picture_source pictures = {plain, &broken, N};
  assert_int_equal(retrieval_task(m, &pictures, list, image_of, T, "a ", &o, &r), STATUS_OK);
  int of_images[RECALLS] = {0}, of_texts[RECALLS] = {0}, kept = 0;
  for (int i = 0; i < N; i++) {
    int best = T;
    for (int t = 0; t < T; t++) {
      if (image_of[t] != i || i == BROKEN) continue;
      int rank = 0;
      for (int other = 0; other < T; other++)
        rank += image_of[other] != BROKEN && product(rows[i], texts[other]) > product(rows[i], texts[t]);
      if (rank < best) best = rank;
      int of_pictures = 0;
      for (int other = 0; other < N; other++)
        of_pictures += other != BROKEN && product(rows[other], texts[t]) > product(rows[i], texts[t]);
      for (int k = 0; k < RECALLS; k++) of_texts[k] += of_pictures < recall_at[k];
      kept++;
    }
    for (int k = 0; k < RECALLS; k++) of_images[k] += best < recall_at[k];
  }
  assert_int_equal(r.pictures, N - 1);
  assert_int_equal(r.skipped, 1);
  assert_int_equal(r.texts, kept);
  assert_int_equal(r.cut, 0);
  for (int k = 0; k < RECALLS; k++) {
    assert_true(fabs(r.scores.image_to_text[k] - 100.0 * of_images[k] / (N - 1)) < 1e-9);
    assert_true(fabs(r.scores.text_to_image[k] - 100.0 * of_texts[k] / kept) < 1e-9);
  }
  image_of[3] = N;
  assert_int_equal(retrieval_task(m, &pictures, list, image_of, T, "", &o, &r), STATUS_ARGUMENT);
  clip_model_close(m);
}

/* --- linear probes --- */

static void test_probe(void **state) {
  clip_model *m = tiny_clip_model(state, 3);
  float rows[N][D], logits[N][2];
  int32_t targets[N];
  bool broken = false;
  probe_report r;
  rows_of(m, rows, true);
  for (int i = 0; i < N; i++) targets[i] = i > N / 2;
  const probe_part all = {{plain, &broken, N}, targets}, none = {{plain, &broken, 0}, targets};
  const task_options o = {.batch = 5};
  assert_int_equal(probe_task(m, &all, &none, &all, 2, 2.5, &o, &r), STATUS_OK);
  linear_probe p;
  const probe_data data = {.n = N, .D = D, .classes = 2, .features = &rows[0][0], .targets = targets};
  assert_int_equal(linear_probe_fit(&p, &data, &(probe_options){2.5, 1000, 1e-4}), STATUS_OK);
  assert_int_equal(linear_probe_logits(&p, &rows[0][0], N, &logits[0][0]), STATUS_OK);
  class_scores want;
  assert_int_equal(class_scores_of(&logits[0][0], N, 2, targets, &want), STATUS_OK);
  linear_probe_free(&p);
  assert_true(fabs(r.scores.top1 - want.top1) < 1e-9);
  assert_true(r.C == 2.5 && isnan(r.valid_top1) && r.converged);
  assert_int_equal(r.train, N);
  assert_int_equal(r.valid, 0);
  assert_int_equal(r.test, N);

  broken = true; /* the sweep, on what could be read */
  assert_int_equal(probe_task(m, &all, &all, &all, 2, 0, &o, &r), STATUS_OK);
  assert_int_equal(r.train, N - 1);
  assert_int_equal(r.valid, N - 1);
  assert_int_equal(r.skipped, 3);
  assert_true(r.C >= 1e-6 && r.C <= 1e6 && r.valid_top1 >= want.frequent);
  assert_int_equal(probe_task(m, &all, &none, &all, 2, 0, &o, &r), STATUS_ARGUMENT);
  clip_model_close(m);
}

/* --- the project's own --- */

static object_set *open_pack(void **state) {
  char *path = scratch_path(state, "pack");
  tiny_pack_write(path, TINY_KINDS);
  object_set *set = object_set_open(path);
  assert_non_null(set);
  free(path);
  return set;
}

static void test_kinds(void **state) {
  object_set *set = open_pack(state);
  kinds_task t;
  for (int which = 0; which < KINDS_SETS; which++) {
    assert_int_equal(kinds_task_new(&t, set, (kinds_set)which, TINY_KINDS, TINY_CLIP_SIDE), STATUS_OK);
    /* a held-out kind is only a label where it is asked about */
    assert_int_equal(t.labels, which == KINDS_HELD_OUT ? TINY_KINDS : TINY_KINDS - 1);
    uint32_t expected = 0;
    for (uint32_t i = 0; i < object_pictures(set); i++) {
      const object_picture *p = object_picture_at(set, i);
      expected += p->split == (which == KINDS_VALIDATION ? SPLIT_VALIDATION : SPLIT_TEST) &&
                  (p->kind == TINY_HELD_OUT) == (which == KINDS_HELD_OUT);
    }
    assert_int_equal(t.n, expected);
    for (size_t i = 0; i < t.n; i++) {
      assert_int_equal(object_picture_at(set, t.picture[i])->kind, t.kind[t.target[i]]);
      image *im = kinds_task_open(&t, i);
      assert_non_null(im);
      assert_int_equal(im->width, TINY_CLIP_SIDE);
      image_free(im);
    }
    if (which == KINDS_HELD_OUT) assert_int_equal(t.kind[0], TINY_HELD_OUT); /* the asked ones come first */
    zero_shot z = {0};
    assert_int_equal(kinds_task_classes(&t, &z), STATUS_OK);
    assert_int_equal(z.label.n, t.labels);
    assert_int_equal(z.prompt.n, t.labels * COLOURS);
    assert_string_equal(z.label.item[0], object_kind_at(set, t.kind[0])->singular);
    const char *red = z.prompt.item[COLOUR_RED];
    assert_non_null(strstr(red, "red"));
    assert_non_null(strstr(red, z.label.item[0]));
    zero_shot_free(&z);
    kinds_task_free(&t);
  }
  assert_int_equal(kinds_task_new(&t, set, KINDS_UNSEEN, 2, TINY_CLIP_SIDE), STATUS_OK); /* fewer labels than kinds */
  assert_int_equal(t.labels, 2);
  assert_int_equal(t.n, 4);
  kinds_task_free(&t);
  object_set_close(set);
}

static void test_scenes(void **state) {
  enum { SCENES = 40 };
  object_set *set = open_pack(state);
  const scene_options options = {.size = TINY_CLIP_SIDE, .pictures = SPLIT_TRAIN, .max_objects = SCENE_MAX_OBJECTS};
  scenes_task t, again;
  assert_int_equal(scenes_task_new(&t, set, &options, SCENES, 1), STATUS_OK);
  assert_int_equal(scenes_task_new(&again, set, &options, SCENES, 1), STATUS_OK);
  assert_int_equal(t.n, SCENES);
  scene *s = scene_new(TINY_CLIP_SIDE);
  for (size_t i = 0; i < SCENES; i++) {
    assert_string_equal(t.caption[i], again.caption[i]);
    assert_int_equal(t.image_of[i], i);
    assert_int_equal(scene_make(set, &options, t.seed, t.index[i], s), STATUS_OK);
    assert_string_equal(s->caption, t.caption[i]);
    for (size_t other = 0; other < SCENES; other++)
      for (int r = 0; r < s->n_references; r++)
        assert_true(other == i || strcmp(s->reference[r], t.caption[other]) != 0);
    image *im = scenes_task_open(&t, i);
    assert_memory_equal(im->pixels, s->rgb, TINY_CLIP_SIDE * TINY_CLIP_SIDE * 3);
    image_free(im);
  }
  scene_free(s);
  scenes_task_free(&t), scenes_task_free(&again);
  assert_int_equal(scenes_task_new(&t, set, &options, 0, 1), STATUS_ARGUMENT);
  scenes_task_free(&t);
  object_set_close(set);
  char *path = scratch_path(state, "pack");
  tiny_pack_write(path, 1); /* of which little can be said */
  set = object_set_open(path);
  assert_int_equal(scenes_task_new(&t, set, &options, 1000, 1), STATUS_OK);
  assert_true(t.n > 0 && t.n < 1000);
  scenes_task_free(&t);
  object_set_close(set);
  free(path);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_zero_shot), IN_SCRATCH(test_retrieval), IN_SCRATCH(test_probe),
      IN_SCRATCH(test_kinds),     IN_SCRATCH(test_scenes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
