/* The RWKV-6 backbone, RWKV-CLIP's image tower and the captioner made of them: against float64, in pieces, in batches,
 * and their gradients against differences of the loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/visualrwkv.h"
#include "tests/support/kernel_check.h"
#include "tests/support/model64.h"
#include "tests/support/reference64.h"
#include "tests/support/tiny_captioner.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static ctx *context(void) {
  ctx *c = ctx_new();
  if (!c) fail_msg("%s", last_error());
  return c;
}

static const rwkv6_config small = {
    .n_layer = 4, .n_embd = 24, .dim_ffn = 40, .head_size = 8, .vocab_size = 50, .rank_mix = 3, .rank_decay = 5};

typedef struct {
  param_set set;
  rwkv6 lm;
} text_model;

static void text_model_new(text_model *m, const rwkv6_config *config, uint64_t seed) {
  memset(m, 0, sizeof *m);
  assert_int_equal(rwkv6_new(&m->lm, config, "t.", &m->set), STATUS_OK);
  assert_int_equal(params_allocate(&m->set), STATUS_OK);
  tiny_disturb(&m->set, seed);
}

static void text_model_free(text_model *m) {
  rwkv6_free(&m->lm);
  params_free(&m->set);
}

static tensor *random_rows(ctx *c, int64_t B, int64_t T, int64_t D, uint64_t seed) {
  tensor *x = tensor_3d(c, DTYPE_F32, B, T, D);
  rng g = rng_make(seed, 1);
  assert_non_null(x);
  for (int64_t i = 0; i < tensor_count(x); i++) f32(x)[i] = rng_normal(&g);
  return x;
}

static double *widened(const float *x, size_t n) {
  double *y = zeros64(n);
  for (size_t i = 0; i < n; i++) y[i] = x[i];
  return y;
}

/* Tokens [from, from+n) of every row. */
static tensor *tokens_of(ctx *c, const tensor *x, int64_t from, int64_t n) {
  int64_t B = x->dim[0], T = x->dim[1], D = x->dim[2];
  tensor *y = tensor_3d(c, DTYPE_F32, B, n, D);
  for (int64_t b = 0; b < B; b++)
    memcpy(f32(y) + b * n * D, f32(x) + (b * T + from) * D, (size_t)(n * D) * sizeof(float));
  return y;
}

/* --- the text backbone -------------------------------------------------------------------------------------------- */

static void test_backbone(void **state) {
  (void)state;
  enum { B = 2, T = 7, D = 24 };
  text_model m;
  text_model_new(&m, &small, 1);
  ctx *c = context();
  tensor *ids = tensor_2d(c, DTYPE_I32, B, T);
  double *x = zeros64(B * T * D), *emb = param64(&m.set, "t.", "emb.weight");
  for (int i = 0; i < B * T; i++) {
    i32(ids)[i] = i * 17 % small.vocab_size;
    memcpy(x + i * D, emb + i32(ids)[i] * D, D * sizeof *x);
  }
  rwkv6_state kept;
  assert_int_equal(rwkv6_state_new(&kept, &small, B), STATUS_OK);
  tensor *hidden = rwkv6_forward(c, &m.lm, rwkv6_embed(c, &m.lm, ids), NULL, &kept);
  tensor *logits = rwkv6_logits(c, &m.lm, hidden);
  assert_non_null(logits);
  double *want = zeros64(B * T * (size_t)small.vocab_size), *wkv = zeros64(4 * B * D * 8);
  rwkv6_64(&m.set, "t.", &small, B, T, NULL, x, wkv);
  rwkv6_logits64(&m.set, "t.", &small, B * T, x, want);
  check_l2("hidden", f32(hidden), x, B * T * D, 1e-5, 0);
  check_l2("logits", f32(logits), want, B * T * (size_t)small.vocab_size, 1e-5, 0);
  size_t layer = rwkv6_state_size(&kept) / 4, shifts = 2 * B * D; /* the recurrence's states end each layer's part */
  for (size_t i = 0; i < 4; i++)
    check_l2("state", kept.memory + i * layer + shifts, wkv + i * B * D * 8, B * D * 8, 1e-5, 0);
  free(x), free(emb), free(want), free(wkv);
  rwkv6_state_free(&kept);
  ctx_free(c);
  text_model_free(&m);
}

static void test_scan_order_of_layers(void **state) {
  (void)state;
  enum { B = 2, T = 9, D = 24 };
  text_model m;
  text_model_new(&m, &small, 2);
  ctx *c = context();
  const scan_order *back = scan_order_make(c, SCAN_REVERSE, T, 2, 2, 3);
  const scan_order *const order[4] = {NULL, back, NULL, back};
  tensor *x = random_rows(c, B, T, D, 5);
  double *want = widened(f32(x), B * T * D);
  rwkv6_64(&m.set, "t.", &small, B, T, order, want, NULL);
  tensor *y = rwkv6_forward(c, &m.lm, x, order, NULL);
  check_l2("bidirectional", f32(y), want, B * T * D, 1e-5, 0);
  free(want);
  ctx_free(c);
  text_model_free(&m);
}

/* An order is the same as moving the tokens of the range, running as stored, and moving them back. */
static void test_scan_order_is_a_permutation(void **state) {
  (void)state;
  enum { B = 2, T = 9, D = 24, FIRST = 2, LAST = 7 };
  rwkv6_config one = small;
  one.n_layer = 1;
  text_model m;
  text_model_new(&m, &one, 3);
  ctx *c = context();
  const scan_order *back = scan_order_make(c, SCAN_REVERSE, T, FIRST, 2, 3);
  tensor *x = random_rows(c, B, T, D, 6), *moved = tensor_like(c, x);
  int from[T];
  for (int t = 0; t < T; t++) from[t] = t < FIRST || t > LAST ? t : FIRST + LAST - t;
  for (int b = 0; b < B; b++)
    for (int t = 0; t < T; t++) memcpy(f32(moved) + (b * T + t) * D, f32(x) + (b * T + from[t]) * D, D * sizeof(float));
  tensor *y = rwkv6_forward(c, &m.lm, x, &back, NULL), *z = rwkv6_forward(c, &m.lm, moved, NULL, NULL);
  for (int b = 0; b < B; b++)
    for (int t = 0; t < T; t++) {
      double *want = widened(f32(z) + (b * T + t) * D, D);
      check_l2("token", f32(y) + (b * T + from[t]) * D, want, D, 1e-6, 0);
      free(want);
    }
  ctx_free(c);
  text_model_free(&m);
}

/* The prompt's range is read backwards in odd layers; what follows it continues from the state. */
static void test_sequences_in_pieces(void **state) {
  (void)state;
  enum { B = 2, T = 11, D = 24, PROMPT = 6 };
  text_model m;
  text_model_new(&m, &small, 4);
  ctx *c = context();
  tensor *x = random_rows(c, B, T, D, 7);
  const scan_order *whole_back = scan_order_make(c, SCAN_REVERSE, T, 1, 2, 2);
  const scan_order *back = scan_order_make(c, SCAN_REVERSE, PROMPT, 1, 2, 2);
  const scan_order *const whole_order[4] = {NULL, whole_back, NULL, whole_back}, *const order[4] = {NULL, back, NULL,
                                                                                                    back};
  static const int pieces[][6] = {{5}, {3, 2}, {1, 1, 1, 1, 1}, {1, 4}};
  for (int bidirectional = 0; bidirectional < 2; bidirectional++) {
    rwkv6_state all;
    assert_int_equal(rwkv6_state_new(&all, &small, B), STATUS_OK);
    tensor *whole = rwkv6_forward(c, &m.lm, x, bidirectional ? whole_order : NULL, &all);
    double *end = widened(all.memory, rwkv6_state_size(&all));
    for (size_t way = 0; way < sizeof pieces / sizeof *pieces; way++) {
      rwkv6_state kept;
      assert_int_equal(rwkv6_state_new(&kept, &small, B), STATUS_OK);
      int64_t at = 0, n = PROMPT;
      for (int piece = -1; at < T; piece++, at += n) {
        n = piece < 0 ? PROMPT : pieces[way][piece];
        const scan_order *const *o = piece < 0 && bidirectional ? order : NULL;
        tensor *y = rwkv6_forward(c, &m.lm, tokens_of(c, x, at, n), o, &kept);
        double *want = widened(f32(tokens_of(c, whole, at, n)), (size_t)(B * n * D));
        check_l2("piece", f32(y), want, (size_t)(B * n * D), 1e-5, 0);
        free(want);
      }
      assert_int_equal(at, T);
      check_l2("state", kept.memory, end, rwkv6_state_size(&all), 1e-5, 0);
      rwkv6_state_free(&kept);
    }
    free(end);
    rwkv6_state_free(&all);
  }
  ctx_free(c);
  text_model_free(&m);
}

static void test_state_rows(void **state) {
  (void)state;
  enum { B = 3, D = 24 };
  text_model m;
  text_model_new(&m, &small, 5);
  ctx *c = context();
  rwkv6_state from, to;
  assert_int_equal(rwkv6_state_new(&from, &small, B), STATUS_OK);
  assert_int_equal(rwkv6_state_new(&to, &small, B + 1), STATUS_OK);
  for (size_t i = 0; i < rwkv6_state_size(&to); i++) assert_true(to.memory[i] == 0);
  tensor *next = random_rows(c, B, 1, D, 9);
  rwkv6_forward(c, &m.lm, random_rows(c, B, 5, D, 8), NULL, &from);
  rwkv6_state_copy_row(&to, 0, &from, 2);
  rwkv6_state_copy_row(&to, 1, &from, 0);
  rwkv6_state_copy_row(&to, 3, &from, 2); /* row 2 stays a fresh start */
  tensor *wide = tensor_3d(c, DTYPE_F32, B + 1, 1, D);
  static const int source[B + 1] = {2, 0, 1, 2};
  for (int r = 0; r <= B; r++) memcpy(f32(wide) + r * D, f32(next) + source[r] * D, D * sizeof(float));
  tensor *fresh = rwkv6_forward(c, &m.lm, tensor_window(c, next, D, 3, (int64_t[]){1, 1, D}), NULL, NULL);
  tensor *y = rwkv6_forward(c, &m.lm, wide, NULL, &to), *z = rwkv6_forward(c, &m.lm, next, NULL, &from);
  for (int r = 0; r <= B; r++) {
    double *want = widened(r == 2 ? f32(fresh) : f32(z) + source[r] * D, D);
    check_l2("row", f32(y) + r * D, want, D, 1e-5, 0);
    free(want);
  }
  rwkv6_state_free(&from), rwkv6_state_free(&to);
  ctx_free(c);
  text_model_free(&m);
}

/* A trained initial state: transposed in files, where a sequence starts that has no state, and what a state starts
 * with; every row of a batch starts from it. */
static void test_trained_start(void **state) {
  (void)state;
  enum { B = 2, T = 5, D = 24, N = 8 };
  text_model m;
  text_model_new(&m, &small, 12);
  param_set set = {0};
  assert_int_equal(rwkv6_declare_start(&m.lm, "t.", &set), STATUS_OK);
  assert_int_equal(params_allocate(&set), STATUS_OK);
  assert_int_equal(set.n, small.n_layer);
  assert_string_equal(set.item[1].name, "t.blocks.1.att.time_state");
  ctx *c = context();
  tensor *x = random_rows(c, B, T, D, 13), *zero = rwkv6_forward(c, &m.lm, x, NULL, NULL);
  rng g = rng_make(3, 3);
  float file[D * N];
  for (size_t i = 0; i < set.n; i++) {
    for (int k = 0; k < D * N; k++) file[k] = rng_normal(&g);
    param_import(&set.item[i], file, f32(set.item[i].value));
    const float *memory = f32(m.lm.block[i].start);
    for (int h = 0; h < D / N; h++)
      for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) assert_true(memory[(h * N + a) * N + b] == file[(h * N + b) * N + a]);
    float back[D * N];
    param_export(&set.item[i], memory, back);
    assert_memory_equal(back, file, sizeof file);
  }
  rwkv6_state kept;
  assert_int_equal(rwkv6_state_new(&kept, &small, B), STATUS_OK);
  rwkv6_state_start(&kept, &m.lm);
  tensor *y = rwkv6_forward(c, &m.lm, x, NULL, NULL), *z = rwkv6_forward(c, &m.lm, x, NULL, &kept);
  double *want = widened(f32(y), B * T * D);
  check_l2("from the start in a state", f32(z), want, B * T * D, 1e-6, 0);
  assert_memory_not_equal(y->data, zero->data, B * T * D * sizeof(float));
  free(want);
  rwkv6_state_free(&kept);
  ctx_free(c);
  params_free(&set);
  text_model_free(&m);
}

/* What an observer is shown: every block's results with its number, and nothing when there is none. */
typedef struct {
  int outs, last, outside;
} witness;

static void look(void *user, int block, const char *name, const tensor *t) {
  witness *w = user;
  assert_non_null(t->data);
  if (block < 0) w->outside++;
  if (strcmp(name, "out")) return;
  assert_int_equal(block, w->last + 1);
  w->last = block;
  w->outs++;
}

static void test_observer(void **state) {
  (void)state;
  text_model m;
  text_model_new(&m, &small, 14);
  ctx *c = context();
  witness w = {.last = -1};
  c->observe = look;
  c->observer = &w;
  tensor *seen_logits = rwkv6_logits(c, &m.lm, rwkv6_forward(c, &m.lm, random_rows(c, 1, 4, 24, 1), NULL, NULL));
  assert_int_equal(w.outs, small.n_layer);
  assert_int_equal(w.outside, 1); /* ln_out */
  c->observe = NULL;
  tensor *logits = rwkv6_logits(c, &m.lm, rwkv6_forward(c, &m.lm, random_rows(c, 1, 4, 24, 1), NULL, NULL));
  assert_memory_equal(logits->data, seen_logits->data, (size_t)tensor_count(logits) * sizeof(float));
  ctx_free(c);
  text_model_free(&m);
}

static void test_config_of_text(void **state) {
  (void)state;
  assert_int_equal(rwkv6_config_check(&small), STATUS_OK);
  static const size_t fields[] = {offsetof(rwkv6_config, n_layer),    offsetof(rwkv6_config, n_embd),
                                  offsetof(rwkv6_config, dim_ffn),    offsetof(rwkv6_config, head_size),
                                  offsetof(rwkv6_config, vocab_size), offsetof(rwkv6_config, rank_mix),
                                  offsetof(rwkv6_config, rank_decay)};
  static const int bad[] = {0, -1, (1 << 20) + 1, INT32_MAX};
  for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
    for (size_t v = 0; v < sizeof bad / sizeof *bad; v++) {
      rwkv6_config k = small;
      memcpy((char *)&k + fields[f], &bad[v], sizeof bad[v]);
      assert_int_equal(rwkv6_config_check(&k), STATUS_FORMAT);
      rwkv6 m;
      param_set set = {0};
      assert_int_equal(rwkv6_new(&m, &k, "", &set), STATUS_FORMAT);
      rwkv6_free(&m);
      params_free(&set);
    }
  rwkv6_config k = small;
  k.head_size = 7;
  assert_int_equal(rwkv6_config_check(&k), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "24"));
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

static size_t text_peak(int layers, bool stateful) {
  rwkv6_config config = small;
  config.n_layer = layers;
  text_model m;
  text_model_new(&m, &config, 1);
  ctx *c = context();
  rwkv6_state kept = {0};
  if (stateful) assert_int_equal(rwkv6_state_new(&kept, &config, 2), STATUS_OK);
  assert_non_null(rwkv6_forward(c, &m.lm, random_rows(c, 2, 9, 24, 1), NULL, stateful ? &kept : NULL));
  size_t peak = arena_peak(c->memory);
  rwkv6_state_free(&kept);
  ctx_free(c);
  text_model_free(&m);
  return peak;
}

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
  assert_int_equal(text_peak(2, false), text_peak(12, false));
  assert_int_equal(text_peak(2, true), text_peak(12, true));
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
  tensor *logits = rwkv6_logits(c, &m->lm, visualrwkv_sequence(c, m, tokens, ids, NULL));
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
  const rwkv6_config *k = &m.config.lm;
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
      cmocka_unit_test(test_backbone),
      cmocka_unit_test(test_scan_order_of_layers),
      cmocka_unit_test(test_scan_order_is_a_permutation),
      cmocka_unit_test(test_sequences_in_pieces),
      cmocka_unit_test(test_state_rows),
      cmocka_unit_test(test_trained_start),
      cmocka_unit_test(test_observer),
      cmocka_unit_test(test_config_of_text),
      cmocka_unit_test(test_tower),
      cmocka_unit_test(test_config_of_tower),
      cmocka_unit_test(test_memory_does_not_grow_with_depth),
      cmocka_unit_test(test_captioner_wants_a_grid),
      cmocka_unit_test(test_captioner_in_float64),
      cmocka_unit_test(test_rows_of_a_batch_do_not_mix),
      cmocka_unit_test(test_gradients_of_the_whole),
      cmocka_unit_test(test_recording_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
