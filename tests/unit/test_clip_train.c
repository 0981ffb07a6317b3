/* Training a pair: cached gradients are the direct ones, it learns, and a run that was interrupted goes on as if
 * nothing had happened. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "tests/support/tiny_captioner.h"
#include "tests/support/tiny_pack.h"
#include "tests/support/weights_check.h"
#include "train/clip_batch.h"
#include "train/clip_init.h"
#include "train/clip_step.h"
#include "train/clip_train.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- gradients ---------------------------------------------------------------------------------------------------- */

enum { PAIRS = 7, SIDE = 16, CONTEXT = 5, TOKENS = 20 };

/* A random pair, every parameter of which matters. */
static void random_pair(clip_pair *m) {
  const clip_config k = {
      .rwkv = true,
      .has_image = true,
      .has_text = true,
      .has_scale = true,
      .context = CONTEXT,
      .fit = true,
      .rwkv_image = {.depth = 3,
                     .width = 16,
                     .hidden = 24,
                     .head_size = 8,
                     .patch = 8,
                     .grid_h = 2,
                     .grid_w = 2,
                     .rank_mix = 3,
                     .rank_decay = 4,
                     .alternate_scan = true},
      .rwkv_text = {
          .depth = 2, .width = 16, .hidden = 24, .head_size = 8, .vocab_size = TOKENS, .rank_mix = 3, .rank_decay = 4}};
  assert_int_equal(clip_declare(m, &k), STATUS_OK);
  assert_int_equal(params_allocate(&m->params), STATUS_OK);
  params_init(&m->params, 1);
  tiny_disturb(&m->params, 2);
  *f32(m->logit_scale) = 2;
  assert_int_equal(params_want_grads(&m->params, true), STATUS_OK);
}

typedef struct {
  float pixels[PAIRS * SIDE * SIDE * 3];
  int32_t ids[PAIRS * CONTEXT];
  bool same[PAIRS * PAIRS];
  clip_step_batch batch;
} problem;

static void random_problem(problem *p) {
  rng g = rng_make(3, 0);
  for (size_t i = 0; i < sizeof p->pixels / sizeof *p->pixels; i++) p->pixels[i] = rng_normal(&g);
  for (size_t i = 0; i < sizeof p->ids / sizeof *p->ids; i++) p->ids[i] = (int32_t)rng_below(&g, TOKENS);
  for (size_t i = 0; i < sizeof p->same; i++) p->same[i] = rng_below(&g, 5) == 0;
  p->batch = (clip_step_batch){
      .n = PAIRS, .pixels = p->pixels, .ids = p->ids, .same = p->same, .drop = {.rate = 0.4f, .seed = 5, .first = 100}};
}

/* |a - b| / |b| */
static double difference(const float *a, const float *b, size_t n) {
  double apart = 0, length = 0;
  for (size_t i = 0; i < n; i++) {
    apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    length += (double)b[i] * (double)b[i];
  }
  return sqrt(apart / length);
}

static float *gradients(ctx *c, clip_pair *m, const clip_step_batch *b, int chunk, double *loss) {
  params_zero_grads(&m->params);
  if (clip_step_gradients(c, m, b, chunk, loss)) fail_msg("%s", last_error());
  float *copy = malloc(m->params.count * sizeof *copy);
  memcpy(copy, m->params.grads, m->params.count * sizeof *copy);
  return copy;
}

static void test_cached_gradients_are_the_direct_ones(void **state) {
  (void)state;
  static problem p;
  ctx *c = ctx_new();
  clip_pair m;
  double loss, other;
  random_pair(&m);
  random_problem(&p);
  float *direct = gradients(c, &m, &p.batch, 0, &loss);
  assert_true(loss > 0.1);
  for (size_t i = 0; i < m.params.n; i++) { /* each parameter has one: none could be forgotten unseen */
    const param *q = &m.params.item[i];
    double sum = 0;
    for (int64_t k = 0; k < tensor_count(q->value); k++) sum += fabs((double)direct[q->first + (size_t)k]);
    if (!(sum > 0)) fail_msg("%s has no gradient", q->name);
  }
  static const int chunks[] = {1, 2, 3, PAIRS - 1};
  for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
    float *cached = gradients(c, &m, &p.batch, chunks[i], &other);
    assert_true(fabs(other - loss) < 1e-6 * loss);
    for (size_t k = 0; k < m.params.n; k++) {
      const param *q = &m.params.item[k];
      const double apart = difference(cached + q->first, direct + q->first, (size_t)tensor_count(q->value));
      if (!(apart < 1e-5)) fail_msg("chunk %d: %s is %g off", chunks[i], q->name, apart);
    }
    free(cached);
  }
  ctx *small = ctx_new(); /* and needs less memory */
  free(gradients(small, &m, &p.batch, 1, &other));
  assert_true(arena_peak(small->memory) * 4 < arena_peak(c->memory));
  ctx_free(small);
  float *whole = gradients(c, &m, &p.batch, PAIRS, &other); /* a chunk that holds all is the direct way */
  assert_memory_equal(whole, direct, m.params.count * sizeof *direct);
  free(whole);

  clip_step_batch changed = p.batch; /* what is left out, and what is told apart, matters */
  changed.drop.seed++;
  free(gradients(c, &m, &changed, 2, &other));
  assert_true(fabs(other - loss) > 1e-4);
  changed = p.batch;
  changed.same = NULL;
  free(gradients(c, &m, &changed, 2, &other));
  assert_true(fabs(other - loss) > 1e-4);
  free(direct);
  clip_free(&m);
  ctx_free(c);
}

/* The loss falls along the gradient as it should: by step * |g|^2. */
static void test_gradients_are_slopes(void **state) {
  (void)state;
  static problem p;
  ctx *c = ctx_new();
  clip_pair m;
  double loss, low, high, slope = 0;
  random_pair(&m);
  random_problem(&p);
  float *g = gradients(c, &m, &p.batch, 3, &loss);
  for (size_t i = 0; i < m.params.count; i++) slope += (double)g[i] * (double)g[i];
  const double step = 2e-3 / sqrt(slope);
  for (size_t i = 0; i < m.params.count; i++) m.params.values[i] += (float)(step * (double)g[i]);
  free(gradients(c, &m, &p.batch, 0, &high));
  for (size_t i = 0; i < m.params.count; i++) m.params.values[i] -= (float)(2 * step * (double)g[i]);
  free(gradients(c, &m, &p.batch, 0, &low));
  if (!(fabs((high - low) / (2 * step * slope) - 1) < 0.01)) fail_msg("%g", (high - low) / (2 * step * slope));
  free(g);
  clip_free(&m);
  ctx_free(c);
}

/* Without drop path the tower is the one for use; with it, samples lose blocks by their numbers. */
static void test_drop_path(void **state) {
  (void)state;
  static problem p;
  ctx *c = ctx_new();
  clip_pair m;
  int h, w;
  random_pair(&m);
  random_problem(&p);
  tensor *pixels = tensor_wrap(c, DTYPE_F32, p.pixels, 4, (const int64_t[]){PAIRS, SIDE, SIDE, 3});
  const size_t n = (size_t)(2 * 2 * 16);
  const image_tower_drop none = {0}, some = {.rate = 0.5f, .seed = 1, .first = 10};
  const float *plain = f32(image_tower_tokens(c, &m.rwkv_image, pixels, &h, &w)),
              *kept = f32(image_tower_tokens_drop(c, &m.rwkv_image, pixels, &none, &h, &w)),
              *dropped = f32(image_tower_tokens_drop(c, &m.rwkv_image, pixels, &some, &h, &w));
  assert_memory_equal(plain, kept, PAIRS * n * sizeof *plain);
  for (size_t b = 0; b < PAIRS; b++) assert_true(difference(dropped + b * n, plain + b * n, n) > 1e-3);
  tensor *last =
      tensor_wrap(c, DTYPE_F32, p.pixels + (PAIRS - 2) * SIDE * SIDE * 3, 4, (const int64_t[]){2, SIDE, SIDE, 3});
  const image_tower_drop later = {.rate = 0.5f, .seed = 1, .first = 10 + PAIRS - 2};
  const float *again = f32(image_tower_tokens_drop(c, &m.rwkv_image, last, &later, &h, &w));
  assert_true(difference(again, dropped + (PAIRS - 2) * n, 2 * n) < 1e-6);
  clip_free(&m);
  ctx_free(c);
}

/* --- runs --------------------------------------------------------------------------------------------------------- */

typedef struct {
  char *pack, *out, *checkpoint, *model;
} place;

static place place_new(void **state, const char *folder) {
  char name[64];
  place p = {.pack = scratch_path(state, "pack"), .out = scratch_path(state, folder)};
  if (access(p.pack, F_OK)) tiny_pack_write(p.pack, TINY_KINDS);
  snprintf(name, sizeof name, "%s/%s", folder, RUN_CHECKPOINT);
  p.checkpoint = scratch_path(state, name);
  snprintf(name, sizeof name, "%s/%s", folder, CLIP_TRAIN_MODEL);
  p.model = scratch_path(state, name);
  return p;
}

static void place_free(place *p) { /* scratch_teardown does not enter folders */
  unlink(p->checkpoint), unlink(p->model), rmdir(p->out);
  free(p->pack), free(p->out), free(p->checkpoint), free(p->model);
}

static clip_train_options small_options(const place *p) {
  clip_train_options o = clip_train_defaults();
  o.objects = p->pack;
  o.run.out = p->out;
  o.run.steps = 6;
  o.run.batch = 5;
  o.run.rate = 3e-3; /* nothing of what a checkpoint must keep is as by default */
  o.run.weight_decay = 0.1;
  o.run.clip = 0.5;
  o.run.beta2 = 0.95;
  o.run.seed = 5;
  o.run.save_every = 1000;
  o.chunk = 2;
  o.drop_path = 0.3;
  o.singles = 0.6;
  o.max_objects = 2;
  o.image_size = SIDE;
  o.patch = 8;
  o.image_width = o.text_width = 16;
  o.image_depth = o.text_depth = 2;
  o.image_hidden = o.text_hidden = 32;
  o.context = 10;
  o.words = 400;
  o.head_size = 8;
  o.rank_mix = o.rank_decay = 4;
  o.check = 0;
  return o;
}

static void train(const clip_train_options *o, status expected) {
  const status s = clip_train(o);
  if (s != expected) fail_msg("training ended with %d instead of %d: %s", s, expected, last_error());
}

/* Two runs of the same options, one of them interrupted twice, leave the same files. */
static void check_resumes(place *a, place *b, const clip_train_options *options) {
  clip_train_options whole = *options, part = *options, rest = clip_train_defaults();
  whole.run.out = a->out;
  train(&whole, STATUS_OK);
  part.run.out = b->out;
  part.run.stop_after = 2;
  train(&part, STATUS_OK);
  assert_int_equal(access(b->model, F_OK), 0);
  train(&part, STATUS_ARGUMENT);   /* a run is not overwritten */
  rest.objects = options->objects; /* all else that matters comes from the file */
  rest.n_lists = options->n_lists;
  memcpy(rest.list, options->list, sizeof rest.list);
  rest.run.out = b->out;
  rest.run.resume = true;
  rest.check = 0;
  rest.run.stop_after = 4;
  train(&rest, STATUS_OK);
  rest.run.stop_after = 0;
  train(&rest, STATUS_OK);
  check_same_files(a->checkpoint, b->checkpoint);
  check_same_files(a->model, b->model);
  unlink(b->model); /* as if killed between the two files */
  train(&rest, STATUS_OK);
  check_same_files(a->model, b->model);
}

static void test_interrupted_is_uninterrupted(void **state) {
  place a = place_new(state, "a"), b = place_new(state, "b");
  clip_train_options o = small_options(&a);
  check_resumes(&a, &b, &o);
  clip_model *m = clip_model_open(a.model, NULL);
  if (!m) fail_msg("%s", last_error());
  assert_int_equal(m->side, SIDE);
  assert_int_equal(m->words.length, 10);
  assert_true(m->pair.config.fit && m->pair.config.rwkv_image.alternate_scan);
  int32_t ids[2 * 10];
  const char *const texts[] = {"A  red Square", "squares"};
  assert_int_equal(clip_words_ids(&m->words, texts, 2, ids, NULL), STATUS_OK);
  assert_true(ids[2] > 256 && !ids[3]); /* three words */
  assert_true(ids[10] > 256 && !ids[11]);
  clip_model_close(m);
  place_free(&a), place_free(&b);
}

static void test_stop_flag(void **state) {
  place a = place_new(state, "a");
  clip_train_options o = small_options(&a);
  const volatile sig_atomic_t stop = 1;
  o.run.stop = &stop;
  train(&o, STATUS_INTERRUPTED);
  assert_int_equal(access(a.checkpoint, F_OK), 0);
  place_free(&a);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

enum { LISTED = 16 };
/* Pictures that differ in the colours of their two halves, a list of them, and their captions. */
static char *write_list(void **state) {
  static const char *const words[] = {"red", "green", "blue", "white"};
  static const uint8_t colours[][3] = {{220, 20, 20}, {20, 200, 20}, {30, 30, 220}, {250, 250, 250}};
  char text[LISTED * 64] = "";
  for (int i = 0; i < LISTED; i++) {
    image *im = image_new(IMAGE_RGB, 12, 12);
    for (int k = 0; k < 144; k++) memcpy((uint8_t *)im->pixels + 3 * k, colours[k < 72 ? i % 4 : i / 4], 3);
    char name[32], line[64];
    snprintf(name, sizeof name, "%d.png", i);
    snprintf(line, sizeof line, "%s\t%s above %s\n", name, words[i % 4], words[i / 4]);
    char *path = scratch_path(state, name);
    assert_int_equal(image_write_png(path, im), STATUS_OK);
    strcat(text, line);
    free(path);
    image_free(im);
  }
  char *path = scratch_path(state, "list.tsv");
  scratch_write(path, text, strlen(text));
  return path;
}

typedef struct {
  clip_check last;
  int64_t step, checks;
  clip_train_progress progress;
  size_t broken;
  char problem[512];
} seen_by;

static void keep_check(void *user, int64_t step, const clip_check *scores) {
  seen_by *seen = user;
  seen->last = *scores;
  seen->step = step;
  seen->checks++;
}
static void keep_progress(void *user, const clip_train_progress *p) { ((seen_by *)user)->progress = *p; }
static void keep_broken(void *user, size_t n, const char *what) {
  seen_by *seen = user;
  seen->broken = n;
  snprintf(seen->problem, sizeof seen->problem, "%s", what);
}

static void test_it_learns_sixteen_pairs(void **state) {
  place a = place_new(state, "a");
  char *list = write_list(state);
  seen_by seen = {.step = 0};
  clip_train_options o = small_options(&a);
  o.list[0] = o.validation = list;
  o.n_lists = 1;
  o.run.steps = 120;
  o.run.batch = LISTED;
  o.run.rate = 1e-2;
  o.run.clip = 1;
  o.chunk = 8;
  o.drop_path = 0;
  o.check = 1;
  o.check_every = 60;
  o.user = &seen;
  o.checked = keep_check;
  o.progress = keep_progress;
  train(&o, STATUS_OK);
  assert_int_equal(seen.checks, 2);
  assert_int_equal(seen.step, 120);
  assert_int_equal(seen.last.found.pictures, LISTED);
  assert_int_equal(seen.last.kinds.pictures, 0);
  if (seen.last.found.scores.image_to_text[0] < 100 || seen.last.found.scores.text_to_image[0] < 100)
    fail_msg("R@1 is %g and %g", seen.last.found.scores.image_to_text[0], seen.last.found.scores.text_to_image[0]);
  assert_int_equal(seen.progress.step, 120);
  assert_true(seen.progress.loss < 1.5); /* of ln 16 = 2.77; the mean of the last second, or of the whole run */
  assert_true(seen.progress.scale >= 1 && seen.progress.scale <= 100 && seen.progress.samples_per_second > 0);
  place_free(&a);
  free(list);
}

static void test_lists_resume(void **state) {
  place a = place_new(state, "a"), b = place_new(state, "b");
  char *list = write_list(state);
  clip_train_options o = small_options(&a);
  o.list[0] = list;
  o.n_lists = 1;
  o.run.batch = 7; /* rounds end within batches */
  check_resumes(&a, &b, &o);
  clip_train_options other = o;
  scratch_write(list, "0.png\tsomething else\n", 21);
  other.run.out = b.out;
  other.run.resume = true;
  train(&other, STATUS_ARGUMENT); /* not what the run learnt from */
  assert_non_null(strstr(last_error(), b.checkpoint));
  place_free(&a), place_free(&b);
  free(list);
}

static void test_broken_pictures(void **state) {
  place a = place_new(state, "a");
  char *list = write_list(state), *broken = scratch_path(state, "3.png");
  seen_by seen = {.step = 0};
  clip_train_options o = small_options(&a);
  o.list[0] = list;
  o.n_lists = 1;
  o.run.steps = 4;
  o.run.batch = LISTED;
  o.user = &seen;
  o.broken = keep_broken;
  scratch_write(broken, "\x89PNG\r\n\x1a\n and no more", 20);
  train(&o, STATUS_OK); /* once a round, and a neighbour stands in */
  assert_int_equal(seen.broken, 4);
  assert_non_null(strstr(seen.problem, broken));
  place_free(&a);
  scratch_write(list, "3.png\tx\nnone.png\ty\n", 19);
  place b = place_new(state, "b");
  o.run.out = b.out;
  assert_true(clip_train(&o) < 0);
  assert_non_null(strstr(last_error(), "no picture of the list can be read"));
  place_free(&b);
  free(list), free(broken);
}

/* --- scenes ------------------------------------------------------------------------------------------------------- */

static void test_scenes_and_checks(void **state) {
  place a = place_new(state, "a");
  seen_by seen = {.step = 0};
  clip_train_options o = small_options(&a);
  o.run.steps = 2;
  o.check = 12;
  o.check_every = 0;
  o.user = &seen;
  o.checked = keep_check;
  train(&o, STATUS_OK);
  assert_int_equal(seen.checks, 1);
  assert_int_equal(seen.step, 2);
  const retrieval_report *found = &seen.last.found;
  const zero_shot_report *kinds = &seen.last.kinds;
  assert_true(found->pictures > 2 && found->pictures <= 12 && found->texts == found->pictures);
  assert_int_equal(kinds->classes, TINY_KINDS - 1); /* the held-out kind is no answer */
  assert_int_equal(kinds->pictures, TINY_KINDS - 1);
  assert_true(kinds->scores.top5 == 100); /* of three kinds */
  assert_true(kinds->scores.top1 >= 0 && kinds->scores.top1 <= 100);
  place_free(&a);
}

/* Items are functions of their numbers; what is said is true, and true twice where it says so. */
static void test_batches(void **state) {
  enum { BATCH = 24 };
  place a = place_new(state, "a");
  clip_train_options o = small_options(&a);
  o.run.steps = 1;
  train(&o, STATUS_OK);
  clip_model *m = clip_model_open(a.model, NULL);
  object_set *objects = object_set_open(a.pack);
  clip_source source = {.objects = objects, .seed = 3, .max_objects = 2, .singles = 0.5};
  clip_batch b, later;
  assert_int_equal(clip_source_new(&source), STATUS_OK);
  assert_int_equal(clip_batch_new(&b, m, BATCH), STATUS_OK);
  assert_int_equal(clip_batch_new(&later, m, BATCH), STATUS_OK);
  assert_int_equal(clip_batch_make(&b, m, &source, 40), STATUS_OK);
  assert_int_equal(clip_batch_make(&later, m, &source, 44), STATUS_OK);
  const size_t floats = SIDE * SIDE * 3, T = 10;
  assert_memory_equal(b.pixels + 4 * floats, later.pixels, (BATCH - 4) * floats * sizeof(float));
  assert_memory_equal(b.ids + 4 * T, later.ids, (BATCH - 4) * T * sizeof(int32_t));
  int bare = 0, framed = 0, named = 0, twice = 0;
  for (int i = 0; i < BATCH; i++) {
    const clip_item *it = &b.item[i];
    assert_true(b.same[i * BATCH + i]);
    assert_true(it->meant == it->full || it->meant == it->bare);
    bare += it->meant == it->bare && strcmp(it->bare, it->full) != 0;
    framed += strstr(it->said, " of ") != NULL;
    for (int k = COLOUR_NONE + 1; k < COLOURS; k++) {
      char word[32];
      snprintf(word, sizeof word, " %s ", colour_name((colour)k));
      assert_null(strstr(it->bare, word));
    }
    named += strncmp(it->said, "a ", 2) && strncmp(it->said, "t", 1) && !strstr(it->said, " of ");
    for (int j = 0; j < BATCH; j++) {
      const char *meant = b.item[j].meant;
      assert_int_equal(b.same[i * BATCH + j], !strcmp(meant, it->full) || !strcmp(meant, it->bare));
      twice += i != j && b.same[i * BATCH + j];
    }
  }
  assert_true(bare > 0 && framed > 0 && named > 0 && twice > 0);
  clip_batch_free(&b), clip_batch_free(&later);
  clip_source_free(&source);
  object_set_close(objects);
  clip_model_close(m);
  place_free(&a);
}

/* --- warm starts -------------------------------------------------------------------------------------------------- */

/* A captioner's tower gives the same tokens for a picture, though the pair sees other pixels. */
static void test_image_of_a_captioner(void **state) {
  enum { FLOATS = TINY_IMAGE * TINY_IMAGE * 3 };
  char *given = scratch_path(state, "given.safetensors");
  visualrwkv captioner;
  tiny_captioner(&captioner, 3, TINY_WILD);
  assert_int_equal(visualrwkv_save(&captioner, given, &(params_file){.type = CHECKPOINT_F32}), STATUS_OK);
  clip_image_init from = {0};
  if (clip_image_init_open(&from, given)) fail_msg("%s", last_error());
  clip_pair m;
  clip_config k = {.rwkv = true, .has_image = true, .rwkv_image = from.tower->config};
  assert_int_equal(clip_declare(&m, &k), STATUS_OK);
  assert_int_equal(params_allocate(&m.params), STATUS_OK);
  if (clip_image_init_copy(&from, &m)) fail_msg("%s", last_error());
  uint8_t rgb[FLOATS];
  float theirs[FLOATS], ours[FLOATS];
  rng g = rng_make(1, 1);
  for (int i = 0; i < FLOATS; i++) rgb[i] = (uint8_t)rng_below(&g, 256);
  visualrwkv_normalise(rgb, FLOATS, theirs);
  image_tower_normalise(rgb, FLOATS, ours);
  ctx *c = ctx_new();
  int h, w;
  const int64_t shape[] = {1, TINY_IMAGE - 4, TINY_IMAGE - 4, 3}; /* whole patches: padding is no pixel */
  tensor *want = image_tower_tokens(c, &captioner.tower, tensor_wrap(c, DTYPE_F32, theirs, 4, shape), &h, &w);
  tensor *got = image_tower_tokens(c, &m.rwkv_image, tensor_wrap(c, DTYPE_F32, ours, 4, shape), &h, &w);
  const double apart = difference(f32(got), f32(want), (size_t)tensor_count(want));
  if (!(apart < 1e-4)) fail_msg("%g", apart);
  ctx_free(c);
  clip_image_init_free(&from);
  clip_free(&m);
  visualrwkv_free(&captioner);

  place a = place_new(state, "a"), b = place_new(state, "b");
  clip_train_options o = small_options(&a);
  o.init_image = given;
  o.run.steps = 1;
  o.text_width = 8;
  train(&o, STATUS_FORMAT); /* its embeddings are wider than the texts' */
  assert_non_null(strstr(last_error(), "channels"));
  o.text_width = 16;
  o.init_image = a.pack;
  train(&o, STATUS_FORMAT);
  o.init_image = NULL;
  train(&o, STATUS_OK);
  o.init = a.model; /* a pair goes on as a pair */
  o.run.out = b.out;
  o.run.rate = 1e-9;
  o.run.weight_decay = 0;
  train(&o, STATUS_OK);
  clip_model *x = clip_model_open(a.model, NULL), *y = clip_model_open(b.model, NULL);
  assert_non_null(x);
  assert_non_null(y);
  assert_true(difference(y->pair.params.values, x->pair.params.values, x->pair.params.count) < 1e-3);
  clip_model_close(x), clip_model_close(y);
  place_free(&a), place_free(&b);
  free(given);
}

/* --- mistakes ----------------------------------------------------------------------------------------------------- */

static void test_bad_options(void **state) {
  place p = place_new(state, "a");
  const clip_train_options good = small_options(&p);
#define TRY(change)                                                                                                    \
  do {                                                                                                                 \
    clip_train_options o = good;                                                                                       \
    o.change;                                                                                                          \
    assert_int_equal(clip_train(&o), STATUS_ARGUMENT);                                                                 \
    assert_true(access(p.out, F_OK) != 0); /* nothing was made */                                                      \
  } while (0)
  TRY(run.batch = 1);
  TRY(run.steps = 0);
  TRY(run.out = NULL);
  TRY(chunk = -1);
  TRY(check = -1);
  TRY(check_every = -1);
  TRY(drop_path = 1);
  TRY(drop_path = (double)NAN);
  TRY(singles = 1.5);
  TRY(max_objects = 5);
  TRY(context = 1);
  TRY(objects = NULL);
  TRY(n_lists = CLIP_TRAIN_LISTS + 1);
#undef TRY
  clip_train_options o = good;
  o.patch = 0;
  assert_true(clip_train(&o) < 0);
  o = good;
  o.head_size = 5;
  assert_true(clip_train(&o) < 0);
  o = good;
  o.words = 200;
  assert_true(clip_train(&o) < 0);
  o = good;
  o.run.resume = true; /* nothing to go on from */
  assert_true(clip_train(&o) < 0);
  place_free(&p);
}

int main(void) {
  omp_set_num_threads(1); /* the same bits whatever the machine */
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cached_gradients_are_the_direct_ones),
      cmocka_unit_test(test_gradients_are_slopes),
      cmocka_unit_test(test_drop_path),
      IN_SCRATCH(test_interrupted_is_uninterrupted),
      IN_SCRATCH(test_stop_flag),
      IN_SCRATCH(test_it_learns_sixteen_pairs),
      IN_SCRATCH(test_lists_resume),
      IN_SCRATCH(test_broken_pictures),
      IN_SCRATCH(test_scenes_and_checks),
      IN_SCRATCH(test_batches),
      IN_SCRATCH(test_image_of_a_captioner),
      IN_SCRATCH(test_bad_options),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
