/* Training a classifier of pictures: its loss is what its options say, it learns, it goes on where it was stopped; what
 * pictures are changed by; the score. */
#include "train/classifier_train.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "tests/support/weights_check.h"

#include <cmocka.h>

enum { SIDE = 8, PICTURES = 24, CLASSES = 3 };

/* An IDX set of stripes that lie, stand, or lean, on noise. */
static char *make_data(void **state) {
  char *pictures = scratch_path(state, "t-images-idx3"), *labels = scratch_path(state, "t-labels-idx1");
  uint8_t p[16 + PICTURES * SIDE * SIDE] = {0, 0, 8, 3, 0, 0, 0, PICTURES, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
  uint8_t l[8 + PICTURES] = {0, 0, 8, 1, 0, 0, 0, PICTURES};
  rng g = rng_make(3, 0);
  for (int i = 0; i < PICTURES; i++) {
    l[8 + i] = (uint8_t)(i % CLASSES);
    for (int y = 0; y < SIDE; y++)
      for (int x = 0; x < SIDE; x++) {
        const int at = i % CLASSES == 0 ? y : i % CLASSES == 1 ? x : x + y;
        p[16 + (i * SIDE + y) * SIDE + x] = (uint8_t)((at / 2 % 2 ? 200 : 20) + (int)rng_below(&g, 50));
      }
  }
  scratch_write(pictures, p, sizeof p);
  scratch_write(labels, l, sizeof l);
  free(labels);
  return pictures;
}

static classifier_train_options small_options(const char *data, const char *out) {
  classifier_train_options o = classifier_train_defaults();
  o.data = data;
  o.run.out = out;
  o.run.steps = 6; /* nothing of what a checkpoint must keep is as by default */
  o.run.batch = 5;
  o.run.rate = 4e-3;
  o.run.rate_final = 1e-3;
  o.run.warmup = 2;
  o.run.weight_decay = 0.1;
  o.run.clip = 0.5;
  o.run.beta1 = 0.8;
  o.run.beta2 = 0.95;
  o.run.seed = 5;
  o.run.save_every = 1000;
  o.hold = 6;
  o.change = (augmentation){.shift = 1, .flip = false, .erase = 0.3};
  o.smoothing = 0.2;
  o.mixup = 0.4;
  o.drop_path = 0.2;
  o.image_size = SIDE;
  o.patch = 4;
  o.width = 16;
  o.depth = 2;
  o.hidden = 24;
  o.head_size = 8;
  o.rank_mix = o.rank_decay = 4;
  return o;
}

/* Files of a run; scratch_teardown does not enter folders. */
typedef struct {
  char *out, *checkpoint, *model;
} place;

static place place_new(void **state, const char *folder) {
  char name[64];
  place p = {.out = scratch_path(state, folder)};
  snprintf(name, sizeof name, "%s/checkpoint.safetensors", folder);
  p.checkpoint = scratch_path(state, name);
  snprintf(name, sizeof name, "%s/classifier.gguf", folder);
  p.model = scratch_path(state, name);
  return p;
}

static void place_free(place *p) {
  unlink(p->checkpoint), unlink(p->model), rmdir(p->out);
  free(p->out), free(p->checkpoint), free(p->model);
}

static void train(const classifier_train_options *o, status expected) {
  const status s = classifier_train(o);
  if (s != expected) fail_msg("training ended with %d instead of %d: %s", s, expected, last_error());
}

typedef struct {
  double first_loss, last_loss;
  classifier_report check;
  int64_t checked_at;
  int checks;
} heard;

static void keep_progress(void *user, const classifier_progress *p) {
  heard *h = user;
  if (p->step == p->steps) h->last_loss = p->loss;
}

static void keep_check(void *user, int64_t step, const classifier_report *r) {
  heard *h = user;
  h->check = *r;
  h->checked_at = step;
  h->checks++;
}

/* --- the loss --- */

/* The logits of the fresh model that the options describe, of pictures that nothing changed. */
static void fresh_logits(const classifier_train_options *o, const labelled *set, float logits[PICTURES][CLASSES]) {
  image_classifier m;
  const image_classifier_config config = {.image_size = SIDE,
                                          .tower = {.depth = o->depth,
                                                    .width = o->width,
                                                    .hidden = o->hidden,
                                                    .head_size = o->head_size,
                                                    .patch = o->patch,
                                                    .grid_h = 2,
                                                    .grid_w = 2,
                                                    .rank_mix = o->rank_mix,
                                                    .rank_decay = o->rank_decay,
                                                    .alternate_scan = true}};
  assert_int_equal(image_classifier_declare(&m, &config, labelled_names(set)), STATUS_OK);
  assert_int_equal(params_allocate(&m.params), STATUS_OK);
  params_init(&m.params, o->run.seed);
  float *pixels = malloc(sizeof(float[PICTURES][SIDE * SIDE * 3]));
  for (size_t i = 0; i < PICTURES; i++) {
    uint8_t rgb[SIDE * SIDE * 3];
    image *im = labelled_picture(set, i);
    assert_int_equal(image_classifier_picture(&m, im, rgb), STATUS_OK);
    assert_int_equal(rgb[2], *(const uint8_t *)im->pixels); /* grey stays as it is */
    image_tower_normalise(rgb, sizeof rgb, pixels + i * sizeof rgb);
    image_free(im);
  }
  ctx *c = ctx_new();
  const tensor *x = tensor_wrap(c, DTYPE_F32, pixels, 4, (int64_t[]){PICTURES, SIDE, SIDE, 3});
  const tensor *y = image_classifier_logits(c, &m, x, NULL);
  assert_non_null(y);
  memcpy(logits, f32(y), sizeof(float[PICTURES][CLASSES]));
  ctx_free(c);
  free(pixels);
  image_classifier_free(&m);
}

/* One step on all pictures at once: -sum q log p with q = 0.8 of the label + 0.2 of all. */
static void test_smoothed_loss(void **state) {
  char *data = make_data(state);
  place p = place_new(state, "run");
  heard h = {0};
  float logits[PICTURES][CLASSES];
  classifier_train_options o = small_options(data, p.out);
  o.run.steps = 1;
  o.run.batch = PICTURES;
  o.hold = 0;
  o.change = (augmentation){0};
  o.mixup = o.drop_path = 0;
  o.progress = keep_progress;
  o.user = &h;
  train(&o, STATUS_OK);
  labelled *set = labelled_open(data, NULL);
  fresh_logits(&o, set, logits);
  double want = 0;
  for (int i = 0; i < PICTURES; i++) {
    double sum = 0;
    for (int k = 0; k < CLASSES; k++) sum += exp((double)logits[i][k]);
    for (int k = 0; k < CLASSES; k++)
      want -= ((k == i % CLASSES ? 0.8 : 0) + 0.2 / CLASSES) * ((double)logits[i][k] - log(sum)) / PICTURES;
  }
  if (fabs(h.last_loss - want) > 1e-5) fail_msg("the loss is %.7f instead of %.7f", h.last_loss, want);
  labelled_close(set);
  place_free(&p);
  free(data);
}

/* --- runs --- */

static void test_it_learns(void **state) {
  char *data = make_data(state);
  place p = place_new(state, "run");
  heard h = {0};
  classifier_train_options o = small_options(data, p.out);
  o.run.steps = 120;
  o.run.clip = 1;
  o.run.rate = 1e-2;
  o.change = (augmentation){.shift = 1};
  o.mixup = o.drop_path = 0;
  o.check_every = 60;
  o.checked = keep_check;
  o.user = &h;
  train(&o, STATUS_OK);
  assert_int_equal(h.checks, 2);
  assert_int_equal(h.checked_at, 120);
  assert_int_equal(h.check.pictures, 6);
  if (h.check.scores.top1 < 99) fail_msg("%.1f %% of what was held back", h.check.scores.top1);

  image_classifier *m = image_classifier_open(p.model); /* 16-bit */
  if (!m) fail_msg("%s", last_error());
  assert_int_equal(m->names.n, CLASSES);
  labelled *set = labelled_open(data, &m->names);
  classifier_report r;
  assert_int_equal(classifier_task(m, set, PICTURES - 6, 6, &(task_options){.batch = 4}, &r), STATUS_OK);
  assert_int_equal(r.pictures, 6);
  assert_true(fabs(r.loss - h.check.loss) < 1e-2);
  assert_true(r.scores.top1 > 99);
  labelled_close(set);
  image_classifier_close(m);
  place_free(&p);
  free(data);
}

static void resumes(void **state, bool one_cycle) {
  char *data = make_data(state);
  place whole = place_new(state, "whole"), parts = place_new(state, "parts");
  classifier_train_options o = small_options(data, whole.out);
  o.one_cycle = one_cycle;
  train(&o, STATUS_OK);
  o.run.out = parts.out;
  o.run.stop_after = 4; /* within the second pass */
  train(&o, STATUS_OK);
  train(&o, STATUS_ARGUMENT); /* a run is there already */
  classifier_train_options again = classifier_train_defaults();
  again.data = data;
  again.run.out = parts.out;
  again.run.resume = true;
  train(&again, STATUS_OK);
  check_same_files(whole.checkpoint, parts.checkpoint);
  check_same_files(whole.model, parts.model);
  place_free(&whole), place_free(&parts);
  free(data);
}

static void test_interrupted_is_uninterrupted(void **state) { resumes(state, false); }
static void test_one_cycle_is_resumed(void **state) { resumes(state, true); }

static void test_stop_flag(void **state) {
  char *data = make_data(state);
  place p = place_new(state, "run");
  const volatile sig_atomic_t stop = 1;
  classifier_train_options o = small_options(data, p.out);
  o.run.stop = &stop;
  train(&o, STATUS_INTERRUPTED);
  assert_int_equal(access(p.checkpoint, F_OK), 0);
  place_free(&p);
  free(data);
}

/* Each option changes the run. */
static void test_options_count(void **state) {
  char *data = make_data(state);
  place base = place_new(state, "base");
  classifier_train_options o = small_options(data, base.out);
  train(&o, STATUS_OK);
  size_t n, m;
  char *one = scratch_read(base.model, &n);
  for (int i = 0; i < 8; i++) {
    place p = place_new(state, "other");
    classifier_train_options other = o;
    other.run.out = p.out;
    if (i == 0) other.smoothing = 0.1;
    if (i == 1) other.mixup = 0;
    if (i == 2) other.drop_path = 0;
    if (i == 3) other.change.shift = 2;
    if (i == 4) other.change.flip = true;
    if (i == 5) other.change.erase = 0;
    if (i == 6) other.one_cycle = true;
    if (i == 7) other.hold = 12;
    train(&other, STATUS_OK);
    char *text = scratch_read(p.model, &m);
    /* what differs is not only what the metadata say: the weights stand at the end */
    assert_true(n >= 2048 && m >= 2048);
    if (!memcmp(one + n - 2048, text + m - 2048, 2048 - 64)) fail_msg("option %d does not matter", i);
    free(text);
    place_free(&p);
  }
  free(one);
  place_free(&base);
  free(data);
}

static void test_bad_options(void **state) {
  char *data = make_data(state);
  place p = place_new(state, "run");
  for (int i = 0; i < 12; i++) {
    classifier_train_options o = small_options(data, p.out);
    if (i == 0) o.data = NULL;
    if (i == 1) o.smoothing = 1;
    if (i == 2) o.drop_path = 1;
    if (i == 3) o.mixup = NAN;
    if (i == 4) o.hold = PICTURES;
    if (i == 5) o.hold = -1;
    if (i == 6) o.change.shift = SIDE;
    if (i == 7) o.change.erase = 2;
    if (i == 8) o.depth = 1;
    if (i == 9) o.run.batch = 0;
    if (i == 10) o.check_every = -1;
    if (i == 11) o.smoothing = NAN;
    train(&o, STATUS_ARGUMENT);
  }
  classifier_train_options o = small_options(data, p.out);
  o.head_size = 7;
  train(&o, STATUS_FORMAT);
  o = small_options("no/such/data", p.out);
  train(&o, STATUS_IO);
  place_free(&p);
  free(data);
}

/* A checkpoint of other classes, and none. */
static void test_bad_resumes(void **state) {
  char *data = make_data(state), *names = scratch_path(state, "names");
  place p = place_new(state, "run");
  classifier_train_options o = small_options(data, p.out);
  o.run.resume = true;
  train(&o, STATUS_IO);
  o.run.resume = false;
  train(&o, STATUS_OK);
  scratch_write(names, "a\nb\nc\n", 6);
  o.run.resume = true;
  o.labels = names;
  train(&o, STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "its classes"));
  place_free(&p);
  free(data), free(names);
}

/* --- scores --- */

static status count_steps(void *user, const char *error) {
  int *n = user;
  n[0]++;
  n[1] += error != NULL;
  return n[0] == 4 ? (fail)(STATUS_INTERRUPTED, "enough") : STATUS_OK;
}

static void test_broken_pictures(void **state) {
  char *data = make_data(state), *list = scratch_path(state, "list"), *png = scratch_path(state, "x.png");
  place p = place_new(state, "run");
  classifier_train_options o = small_options(data, p.out);
  o.run.steps = 1;
  train(&o, STATUS_OK);
  image *im = image_new(IMAGE_RGB, 20, 10);
  assert_int_equal(image_write_png(png, im), STATUS_OK);
  image_free(im);
  image_classifier *m = image_classifier_open(p.model);
  const char text[] = "x.png\t1\ngone.png\t1\nx.png\t0\n";
  scratch_write(list, text, sizeof text - 1);
  labelled *set = labelled_open(list, &m->names);
  int steps[2] = {0};
  classifier_report r;
  const task_options how = {.batch = 2, .step = count_steps, .user = steps};
  assert_int_equal(classifier_task(m, set, 0, 3, &how, &r), STATUS_OK);
  assert_int_equal(steps[0], 3);
  assert_int_equal(steps[1], 1);
  assert_int_equal(r.pictures, 2);
  assert_int_equal(r.skipped, 1);
  assert_int_equal(classifier_task(m, set, 0, 3, &how, &r), STATUS_INTERRUPTED);
  assert_int_equal(classifier_task(m, set, 1, 1, &(task_options){0}, &r), STATUS_ARGUMENT); /* nothing to score */
  labelled_close(set);
  image_classifier_close(m);
  assert_null(image_classifier_open("weights/captioner.gguf"));
  assert_int_equal(last_status(), STATUS_UNSUPPORTED);
  place_free(&p);
  free(data), free(list), free(png);
}

/* --- changes --- */

static void test_changes(void **state) {
  (void)state;
  enum { S = 16, BYTES = S * S * 3 };
  uint8_t in[BYTES], out[BYTES];
  for (int i = 0; i < BYTES; i++) in[i] = (uint8_t)(i / 3 % S * 16 + i % 3); /* x * 16 + channel */
  rng g = rng_make(1, 0);
  augment(&(augmentation){0}, S, in, &g, out);
  assert_memory_equal(in, out, BYTES);
  int mirrored = 0, erased = 0, seen[5] = {0};
  for (int i = 0; i < 200; i++) {
    augment(&(augmentation){.flip = true}, S, in, &g, out);
    mirrored += out[0] == 15 * 16;
    for (int at = 0; at < BYTES; at++) assert_int_equal(out[at], out[0] ? (15 - at / 3 % S) * 16 + at % 3 : in[at]);
    augment(&(augmentation){.shift = 2}, S, in, &g, out);
    const int dx = (out[3 * (S / 2)] / 16) - S / 2;
    assert_true(dx >= -2 && dx <= 2);
    seen[dx + 2]++;
    for (int x = 0; x < S; x++) {
      const int from = x + dx < 0 ? 0 : x + dx >= S ? S - 1 : x + dx;
      assert_int_equal(out[3 * x], from * 16);
    }
    augment(&(augmentation){.erase = 0.5}, S, in, &g, out);
    int changed = 0;
    for (int at = 0; at < S * S; at++) changed += memcmp(in + 3 * at, out + 3 * at, 3) != 0;
    erased += changed > 0;
    assert_true(changed <= S * S * 4 / 10);
  }
  assert_true(mirrored > 60 && mirrored < 140);
  assert_true(erased > 60 && erased < 140);
  for (int i = 0; i < 5; i++) assert_true(seen[i] > 15);
  assert_int_equal(augmentation_check(&(augmentation){.shift = S}, S), STATUS_ARGUMENT);
  assert_int_equal(augmentation_check(&(augmentation){.erase = NAN}, S), STATUS_ARGUMENT);
}

int main(void) {
  omp_set_num_threads(1); /* the same bits whatever the machine */
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_smoothed_loss),
      IN_SCRATCH(test_it_learns),
      IN_SCRATCH(test_interrupted_is_uninterrupted),
      IN_SCRATCH(test_one_cycle_is_resumed),
      IN_SCRATCH(test_stop_flag),
      IN_SCRATCH(test_options_count),
      IN_SCRATCH(test_bad_options),
      IN_SCRATCH(test_bad_resumes),
      IN_SCRATCH(test_broken_pictures),
      cmocka_unit_test(test_changes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
