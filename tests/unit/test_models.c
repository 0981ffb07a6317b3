/* RWKV-CLIP's image tower and the captioner made of it and a text backbone: against float64, in batches, and their
 * gradients against differences of the loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/visualrwkv.h"
#include "tests/support/kernel_check.h"
#include "tests/support/model64.h"
#include "tests/support/reference64.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_captioner.h"
#include "tests/support/tiny_rwkv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static ctx *context(void) {
  ctx *c = ctx_new();
  if (!c) fail_msg("%s", last_error());
  return c;
}

static double *widened(const float *x, size_t n) {
  double *y = zeros64(n);
  for (size_t i = 0; i < n; i++) y[i] = x[i];
  return y;
}

/* --- the image tower ---------------------------------------------------------------------------------------------- */

typedef struct {
  param_set set;
  image_tower tower;
} picture_model;

static const image_tower_config tower_small = {.depth = 3,
                                               .width = 16,
                                               .hidden = 24,
                                               .head_size = 8,
                                               .patch = 4,
                                               .grid_h = 2,
                                               .grid_w = 3,
                                               .rank_mix = 3,
                                               .rank_decay = 4};

static void picture_model_new(picture_model *m, const image_tower_config *config, uint64_t seed) {
  memset(m, 0, sizeof *m);
  assert_int_equal(image_tower_new(&m->tower, config, "v.", &m->set), STATUS_OK);
  assert_int_equal(params_allocate(&m->set), STATUS_OK);
  tiny_disturb(&m->set, seed);
}

static void picture_model_free(picture_model *m) {
  image_tower_free(&m->tower);
  params_free(&m->set);
}

static tensor *random_pictures(ctx *c, int64_t B, int64_t height, int64_t width, uint64_t seed) {
  tensor *x = tensor_4d(c, DTYPE_F32, B, height, width, 3);
  rng g = rng_make(seed, 2);
  for (int64_t i = 0; i < tensor_count(x); i++) f32(x)[i] = rng_range(&g, -1, 1);
  return x;
}

static void test_tower(void **state) {
  (void)state;
  static const int sizes[][2] = {
      {8, 12}, {11, 15}, {5, 21}, {4, 4}}; /* as stored; padded and resized; a row; one token */
  ctx *c = context();
  for (int alternate = 0; alternate < 2; alternate++) {
    image_tower_config config = tower_small;
    config.alternate_scan = alternate;
    picture_model m;
    picture_model_new(&m, &config, 6);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      int height = sizes[i][0], width = sizes[i][1], h, w;
      tensor *pixels = random_pictures(c, 2, height, width, i);
      tensor *got = image_tower_tokens(c, &m.tower, pixels, &h, &w);
      assert_non_null(got);
      assert_int_equal(h, (height + 3) / 4);
      assert_int_equal(w, (width + 3) / 4);
      assert_int_equal(got->dim[1], h * w);
      double *want = image_tower64(&m.set, "v.", &config, 2, (size_t)height, (size_t)width, f32(pixels));
      check_l2("tokens", f32(got), want, (size_t)tensor_count(got), 1e-5, 0);
      free(want);
    }
    picture_model_free(&m);
  }
  ctx_free(c);
}

static void test_config_of_tower(void **state) {
  (void)state;
  assert_int_equal(image_tower_config_check(&tower_small), STATUS_OK);
  image_tower_config k = tower_small;
  k.head_size = 5;
  assert_int_equal(image_tower_config_check(&k), STATUS_FORMAT);
  k = tower_small;
  k.grid_w = 0;
  assert_int_equal(image_tower_config_check(&k), STATUS_FORMAT);
  k = tower_small;
  k.depth = 1025;
  assert_int_equal(image_tower_config_check(&k), STATUS_FORMAT);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static size_t tower_peak(int layers) {
  image_tower_config config = tower_small;
  config.depth = layers;
  config.alternate_scan = true;
  picture_model m;
  picture_model_new(&m, &config, 1);
  ctx *c = context();
  int h, w;
  assert_non_null(image_tower_tokens(c, &m.tower, random_pictures(c, 2, 12, 12, 1), &h, &w));
  size_t peak = arena_peak(c->memory);
  ctx_free(c);
  picture_model_free(&m);
  return peak;
}

static void test_memory_does_not_grow_with_depth(void **state) {
  (void)state;
  assert_int_equal(tower_peak(2), tower_peak(12));
}

/* --- the captioner ------------------------------------------------------------------------------------------------ */

enum { ANSWER = 4, CLASSES = 5 };
static const int32_t answer[3][ANSWER] = {{270, 300 - 1, 12, 257}, {40, 258, 258, 1}, {0, 260, 280, 99}};

/* Logits of every position [B,all,V] for pictures first..first+B-1 and their answers. */
static tensor *captioner_logits(ctx *c, const visualrwkv *m, float *pixels, int first, int B, tensor **patches) {
  size_t floats = TINY_IMAGE * TINY_IMAGE * 3;
  tensor *x = tensor_wrap(c, DTYPE_F32, pixels + (size_t)first * floats, 4, (int64_t[]){B, TINY_IMAGE, TINY_IMAGE, 3});
  tensor *ids = tensor_2d(c, DTYPE_I32, B, ANSWER);
  memcpy(ids->data, answer[first], (size_t)B * sizeof *answer);
  tensor *tokens = visualrwkv_image_tokens(c, m, x, patches);
  tensor *logits = rwkv_logits(c, &m->lm, visualrwkv_sequence(c, m, tokens, ids, NULL));
  if (!logits) fail_msg("%s", last_error());
  return logits;
}

static void test_captioner_wants_a_grid(void **state) {
  (void)state;
  visualrwkv_config config = tiny_captioner_config();
  config.tower.class_token = true;
  char *vocabulary = tiny_captioner_vocabulary();
  visualrwkv m;
  assert_int_equal(visualrwkv_declare(&m, &config, vocabulary, "", ""), STATUS_UNSUPPORTED);
  assert_non_null(strstr(last_error(), "class token"));
  visualrwkv_free(&m);
  free(vocabulary);
}

static void test_captioner_in_float64(void **state) {
  (void)state;
  visualrwkv m;
  tiny_captioner(&m, 8, TINY_WILD);
  ctx *c = context();
  float *pixels = tiny_pictures(1, 3);
  const rwkv_config *k = &m.config.lm;
  const size_t D = (size_t)k->n_embd, W = (size_t)m.config.tower.width, V = (size_t)k->vocab_size;
  tensor *got = captioner_logits(c, &m, pixels, 0, 1, NULL);

  double *tower = image_tower64(&m.params, "vit.image_model.", &m.config.tower, 1, TINY_IMAGE, TINY_IMAGE, pixels);
  double *pooled = zeros64(4 * W), *proj = param64(&m.params, "", "proj.weight");
  for (size_t g = 0; g < 4; g++) /* 3 x 3 patches: windows of one, the third row and column unused */
    memcpy(pooled + g * W, tower + (g / 2 * 3 + g % 2) * W, W * sizeof *pooled);
  size_t before = (size_t)m.n_before, T = before + 4 + (size_t)m.n_after + ANSWER;
  double *x = zeros64(T * D), *emb = param64(&m.params, "rwkv.", "emb.weight"), *want = zeros64(T * V);
  for (size_t t = 0; t < T; t++) {
    size_t text = t < before ? t : t - before - 4;
    if (t >= before && t < before + 4) {
      linear64(1, W, D, false, pooled + (t - before) * W, proj, NULL, x + t * D);
      continue;
    }
    int32_t id = t < before                 ? m.before_ids[t]
                 : text < (size_t)m.n_after ? m.after_ids[text]
                                            : answer[0][text - (size_t)m.n_after];
    memcpy(x + t * D, emb + (size_t)id * D, D * sizeof *x);
  }
  const scan_order *back = scan_order_make(c, SCAN_REVERSE, (int64_t)T, m.n_before, 2, 2);
  const scan_order *const order[3] = {NULL, back, NULL};
  rwkv6_64(&m.params, "rwkv.", k, 1, T, order, x, NULL);
  rwkv6_logits64(&m.params, "rwkv.", k, T, x, want);
  check_l2("logits", f32(got), want, T * V, 2e-5, 0);
  free(tower), free(pooled), free(proj), free(x), free(emb), free(want), free(pixels);
  ctx_free(c);
  visualrwkv_free(&m);
}

static void test_rows_of_a_batch_do_not_mix(void **state) {
  (void)state;
  visualrwkv m;
  tiny_captioner(&m, 9, TINY_WILD);
  ctx *c = context();
  float *pixels = tiny_pictures(3, 4);
  tensor *all = captioner_logits(c, &m, pixels, 0, 3, NULL);
  size_t row = (size_t)tensor_count(all) / 3;
  for (int b = 0; b < 3; b++) {
    double *want = widened(f32(captioner_logits(c, &m, pixels, b, 1, NULL)), row);
    check_l2("row", f32(all) + (size_t)b * row, want, row, 1e-5, 0);
    free(want);
  }
  free(pixels);
  ctx_free(c);
  visualrwkv_free(&m);
}

/* Any version of RWKV can be the language model: in a batch, from a file, and word by word. */
static void test_captioner_on_every_version(void **state) {
  char *path = scratch_path(state, "captioner.safetensors"), *vocabulary = tiny_captioner_vocabulary();
  float *pixels = tiny_pictures(2, 7);
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    visualrwkv_config config = tiny_captioner_config();
    config.lm = tiny_rwkv_forms[form].config;
    config.lm.vocab_size = TINY_VOCABULARY;
    visualrwkv m, again = {0};
    if (visualrwkv_declare(&m, &config, vocabulary, "a", "\n") || params_allocate(&m.params))
      fail_msg("%s", last_error());
    tiny_disturb(&m.params, (uint64_t)form);
    assert_int_equal(visualrwkv_save(&m, path, &(params_file){.type = CHECKPOINT_F32}), STATUS_OK);
    checkpoint *file = checkpoint_open(path);
    if (!file || visualrwkv_load(&again, file)) fail_msg("%s", last_error());
    assert_memory_equal(&again.config.lm, &config.lm, sizeof config.lm);
    ctx *c = context();
    tensor *all = captioner_logits(c, &m, pixels, 0, 2, NULL);
    const size_t row = (size_t)tensor_count(all) / 2, T = (size_t)all->dim[1];
    tiny_same("from a file", f32(captioner_logits(c, &again, pixels, 0, 1, NULL)), f32(all), row, 1e-5);
    rwkv_state kept;
    assert_int_equal(rwkv_state_new(&kept, &m.config.lm, 1), STATUS_OK);
    tensor *x = tensor_wrap(c, DTYPE_F32, pixels, 4, (int64_t[]){1, TINY_IMAGE, TINY_IMAGE, 3});
    tensor *y = visualrwkv_sequence(c, &m, visualrwkv_image_tokens(c, &m, x, NULL), NULL, &kept);
    for (size_t t = 0; t < ANSWER; t++) {
      tensor *word = tensor_2d(c, DTYPE_I32, 1, 1);
      *i32(word) = answer[0][t];
      y = rwkv_logits(c, &m.lm, rwkv_forward(c, &m.lm, rwkv_embed(c, &m.lm, word), &(rwkv_input){.state = &kept}));
      assert_non_null(y);
      const float *want = f32(all) + (T - ANSWER + t) * TINY_VOCABULARY;
      tiny_same("word by word", f32(y), want, TINY_VOCABULARY, 1e-5);
    }
    rwkv_state_free(&kept);
    ctx_free(c);
    checkpoint_close(file);
    visualrwkv_free(&m), visualrwkv_free(&again);
  }
  free(path), free(vocabulary), free(pixels);
}

/* --- gradients of the whole --------------------------------------------------------------------------------------- */

/* The training loss: captions' cross entropy, and labels read off the patches by a fixed head. */
typedef struct {
  visualrwkv m;
  float *pixels, *head, *labels, *label_weight;
  int32_t row[2 * (ANSWER + 1)], target[2 * (ANSWER + 1)];
  float weight[2 * (ANSWER + 1)];
  int patches;
} problem;

static void problem_new(problem *p) {
  memset(p, 0, sizeof *p);
  tiny_captioner(&p->m, 10, TINY_WILD);
  p->patches = 2 * 9;
  p->pixels = tiny_pictures(2, 5);
  int W = p->m.config.tower.width;
  p->head = guarded_random((size_t)(CLASSES * W), 1, -1, 1);
  p->labels = guarded_random((size_t)(p->patches * CLASSES), 2, 0, 1);
  p->label_weight = guarded_fill((size_t)p->patches, 0.3f / (float)p->patches);
  int prompt = p->m.n_before + 4 + p->m.n_after, length = prompt + ANSWER;
  for (int i = 0; i < 2 * (ANSWER + 1); i++) {
    int b = i / (ANSWER + 1), t = i % (ANSWER + 1);
    p->row[i] = b * length + prompt - 1 + t;
    p->target[i] = t < ANSWER ? answer[b][t] : p->m.stop;
    p->weight[i] = 0.05f + 0.02f * (float)i;
  }
}

static void problem_free(problem *p) {
  visualrwkv_free(&p->m);
  guarded_free(p->head), guarded_free(p->labels), guarded_free(p->label_weight);
  free(p->pixels);
}

/* The logits that the loss is of, and, if recording, the loss. */
static tensor *problem_run(ctx *c, problem *p, tensor **said, tensor **seen) {
  tensor *patches;
  tensor *all = captioner_logits(c, &p->m, p->pixels, 0, 2, &patches);
  tensor *head = tensor_wrap(c, DTYPE_F32, p->head, 2, (int64_t[]){CLASSES, p->m.config.tower.width});
  *said = gather_rows(c, all, 2 * (ANSWER + 1), p->row);
  *seen = linear(c, patches, head, NULL);
  if (!c->recording) return NULL;
  return add(c, cross_entropy(c, *said, p->target, p->weight, 0),
             bce_with_logits(c, *seen, p->labels, p->label_weight));
}

/* The same loss from the same f32 logits, summed in double so that small differences survive. */
static double problem_loss(ctx *c, problem *p) {
  tensor *said, *seen;
  ctx_reset(c);
  problem_run(c, p, &said, &seen);
  double loss = 0;
  for (int i = 0; i < 2 * (ANSWER + 1); i++) {
    const float *x = f32(said) + (size_t)i * TINY_VOCABULARY;
    double sum = 0;
    for (int v = 0; v < TINY_VOCABULARY; v++) sum += exp((double)x[v] - x[0]);
    loss += p->weight[i] * (log(sum) + x[0] - x[p->target[i]]);
  }
  for (int i = 0; i < p->patches; i++)
    for (int k = 0; k < CLASSES; k++) {
      double z = f32(seen)[i * CLASSES + k];
      loss += p->label_weight[i] * (log1p(exp(z)) - p->labels[i * CLASSES + k] * z);
    }
  return loss;
}

/* The slope of the loss along `direction`: a central difference. */
static double slope(ctx *c, problem *p, const param *which, const float *direction, double h) {
  size_t n = (size_t)tensor_count(which->value);
  float *value = f32(which->value), *kept = guarded_copy(value, n);
  double at[2];
  for (int s = 0; s < 2; s++) {
    for (size_t i = 0; i < n; i++) value[i] = (float)(kept[i] + (s ? h : -h) * direction[i]);
    at[s] = problem_loss(c, p);
  }
  memcpy(value, kept, n * sizeof *value);
  guarded_free(kept);
  return (at[1] - at[0]) / (2 * h);
}

/* For every parameter: a direction that is half its gradient's, half random. Its slope must be what the gradient says,
 * within 2 % and the rounding of the loss (about 1e-7, divided by the step). */
static void test_gradients_of_the_whole(void **state) {
  (void)state;
  problem p;
  problem_new(&p);
  ctx *c = context();
  tensor *said, *seen;
  param_set *set = &p.m.params;
  assert_int_equal(params_want_grads(set, true), STATUS_OK);
  c->recording = true;
  tensor *loss = problem_run(c, &p, &said, &seen);
  c->recording = false;
  assert_non_null(loss);
  double value = f32(loss)[0];
  assert_int_equal(backward(c, loss), STATUS_OK);
  float *grads = guarded_copy(set->grads, set->count);
  assert_int_equal(params_want_grads(set, false), STATUS_OK);
  assert_true(fabs(problem_loss(c, &p) / value - 1) < 1e-5);

  int resolved = 0;
  for (size_t i = 0; i < set->n; i++) {
    const param *w = &set->item[i];
    size_t n = (size_t)tensor_count(w->value);
    const float *g = grads + w->first;
    double length = 0, random_length = 0, along = 0;
    float *direction = guarded_random(n, i, -1, 1);
    for (size_t k = 0; k < n; k++) length += (double)g[k] * g[k], random_length += (double)direction[k] * direction[k];
    length = sqrt(length), random_length = sqrt(random_length);
    if (!(length > 1e-7)) fail_msg("%s has no gradient (%g)", w->name, length);
    for (size_t k = 0; k < n; k++) {
      direction[k] = (float)(g[k] / length + direction[k] / random_length);
      along += (double)g[k] * direction[k];
    }
    double h = fmin(0.02, 2e-3 / length), rounding = 2e-7 / h;
    double found = slope(c, &p, w, direction, h);
    if (!(fabs(found - along) <= 0.02 * length + rounding))
      fail_msg("%s: slope %.6g, the gradient says %.6g", w->name, found, along);
    resolved += rounding < 0.1 * length;
    guarded_free(direction);
  }
  assert_true(resolved > (int)set->n * 3 / 4); /* most were not lost in rounding */
  guarded_free(grads);
  ctx_free(c);
  problem_free(&p);
}

/* Recording keeps everything; not recording gives the same numbers. */
static void test_recording_changes_nothing(void **state) {
  (void)state;
  visualrwkv m;
  tiny_captioner(&m, 11, TINY_WILD);
  float *pixels = tiny_pictures(1, 6);
  ctx *a = context(), *b = context();
  assert_int_equal(params_want_grads(&m.params, true), STATUS_OK);
  a->recording = true;
  tensor *x = captioner_logits(a, &m, pixels, 0, 1, NULL), *y = captioner_logits(b, &m, pixels, 0, 1, NULL);
  assert_memory_equal(x->data, y->data, (size_t)tensor_count(x) * sizeof(float));
  assert_true(a->n_tape > 0);
  assert_int_equal(b->n_tape, 0);
  ctx_free(a), ctx_free(b);
  free(pixels);
  visualrwkv_free(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tower),
      cmocka_unit_test(test_config_of_tower),
      cmocka_unit_test(test_memory_does_not_grow_with_depth),
      cmocka_unit_test(test_captioner_wants_a_grid),
      cmocka_unit_test(test_captioner_in_float64),
      cmocka_unit_test(test_rows_of_a_batch_do_not_mix),
      cmocka_unit_test_setup_teardown(test_captioner_on_every_version, scratch_setup, scratch_teardown),
      cmocka_unit_test(test_gradients_of_the_whole),
      cmocka_unit_test(test_recording_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
