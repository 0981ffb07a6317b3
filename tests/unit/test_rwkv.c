/* Text models of every version: in pieces, in batches of unequal lengths, read in other orders, their gradients against
 * differences of the loss, their configs from files; version 6 also against float64. (The others' numbers are checked
 * by the golden cases.) */
#include "lm/rwkv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/kernel_check.h"
#include "tests/support/model64.h"
#include "tests/support/reference64.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_rwkv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WIDTH = 24 };

/* --- against float64 ---------------------------------------------------------------------------------------------- */

static const rwkv_config *const six = &tiny_rwkv_forms[TINY_RWKV_6].config;

static void test_backbone(void **state) {
  (void)state;
  enum { B = 2, T = 7, N = 8 };
  const size_t V = TINY_RWKV_VOCABULARY;
  tiny_rwkv m;
  tiny_rwkv_new(&m, six, 1);
  ctx *c = tiny_context();
  tensor *ids = tiny_ids(c, B, T, 1);
  double *x = zeros64(B * T * WIDTH), *emb = param64(&m.set, "t.", "emb.weight");
  for (int i = 0; i < B * T; i++) memcpy(x + i * WIDTH, emb + i32(ids)[i] * WIDTH, WIDTH * sizeof *x);
  rwkv_state kept;
  assert_int_equal(rwkv_state_new(&kept, six, B), STATUS_OK);
  tensor *hidden = rwkv_forward(c, &m.lm, rwkv_embed(c, &m.lm, ids), &(rwkv_input){.state = &kept});
  tensor *logits = rwkv_logits(c, &m.lm, hidden);
  assert_non_null(logits);
  double *want = zeros64(B * T * V), *wkv = zeros64(4 * B * WIDTH * N);
  rwkv6_64(&m.set, "t.", six, B, T, NULL, x, wkv);
  rwkv6_logits64(&m.set, "t.", six, B * T, x, want);
  check_l2("hidden", f32(hidden), x, B * T * WIDTH, 1e-5, 0);
  check_l2("logits", f32(logits), want, B * T * V, 1e-5, 0);
  for (int i = 0; i < 4; i++)
    check_l2("state", f32(rwkv_state_layer(c, &kept, i).wkv), wkv + i * B * WIDTH * N, B * WIDTH * N, 1e-5, 0);
  free(x), free(emb), free(want), free(wkv);
  rwkv_state_free(&kept);
  ctx_free(c);
  tiny_rwkv_free(&m);
}

static void test_scan_order_of_layers(void **state) {
  (void)state;
  enum { B = 2, T = 9 };
  tiny_rwkv m;
  tiny_rwkv_new(&m, six, 2);
  ctx *c = tiny_context();
  const scan_order *back = scan_order_make(c, SCAN_REVERSE, T, 2, 2, 3);
  const scan_order *const order[4] = {NULL, back, NULL, back};
  tensor *x = tiny_rows(c, B, T, WIDTH, 5);
  double *want = zeros64(B * T * WIDTH);
  for (int i = 0; i < B * T * WIDTH; i++) want[i] = f32(x)[i];
  rwkv6_64(&m.set, "t.", six, B, T, order, want, NULL);
  tensor *y = rwkv_forward(c, &m.lm, x, &(rwkv_input){.order = order});
  check_l2("bidirectional", f32(y), want, B * T * WIDTH, 1e-5, 0);
  free(want);
  ctx_free(c);
  tiny_rwkv_free(&m);
}

/* --- every version ------------------------------------------------------------------------------------------------ */

static void for_each_form(void (*test)(ctx *c, const tiny_rwkv *m)) {
  for (int i = 0; i < TINY_RWKV_FORMS; i++) {
    tiny_rwkv m;
    tiny_rwkv_new(&m, &tiny_rwkv_forms[i].config, 30 + (uint64_t)i);
    ctx *c = tiny_context();
    print_message("  version %s\n", tiny_rwkv_forms[i].name);
    test(c, &m);
    ctx_free(c);
    tiny_rwkv_free(&m);
  }
}

/* An order is the same as moving the tokens of the range, running as stored, and moving them back. Of one block. */
static void order_is_a_permutation(ctx *c, const tiny_rwkv *many) {
  enum { B = 2, T = 9, FIRST = 2, LAST = 7 };
  rwkv_config one = many->lm.config;
  one.n_layer = 1;
  tiny_rwkv m;
  tiny_rwkv_new(&m, &one, 3);
  const scan_order *back = scan_order_make(c, SCAN_REVERSE, T, FIRST, 2, 3);
  tensor *x = tiny_rows(c, B, T, WIDTH, 6), *moved = tensor_like(c, x);
  int from[T];
  for (int t = 0; t < T; t++) from[t] = t < FIRST || t > LAST ? t : FIRST + LAST - t;
  for (int b = 0; b < B; b++)
    for (int t = 0; t < T; t++)
      memcpy(f32(moved) + (b * T + t) * WIDTH, f32(x) + (b * T + from[t]) * WIDTH, WIDTH * sizeof(float));
  tensor *y = rwkv_forward(c, &m.lm, x, &(rwkv_input){.order = &back}), *z = rwkv_forward(c, &m.lm, moved, NULL);
  for (int b = 0; b < B; b++)
    for (int t = 0; t < T; t++)
      tiny_same("token", f32(y) + (b * T + from[t]) * WIDTH, f32(z) + (b * T + t) * WIDTH, WIDTH, 1e-6);
  tiny_rwkv_free(&m);
}
static void test_scan_order_is_a_permutation(void **state) { (void)state, for_each_form(order_is_a_permutation); }

/* The prompt's range is read backwards in odd layers; what follows it continues from the state. */
static void pieces(ctx *c, const tiny_rwkv *m) {
  enum { B = 2, T = 11, PROMPT = 6 };
  static const int ways[][6] = {{5}, {3, 2}, {1, 1, 1, 1, 1}, {1, 4}};
  tensor *x = tiny_rows(c, B, T, WIDTH, 7);
  const scan_order *whole_back = scan_order_make(c, SCAN_REVERSE, T, 1, 2, 2);
  const scan_order *back = scan_order_make(c, SCAN_REVERSE, PROMPT, 1, 2, 2);
  const scan_order *const whole_order[4] = {NULL, whole_back, NULL, whole_back};
  const scan_order *const order[4] = {NULL, back, NULL, back};
  for (int both = 0; both < 2; both++) {
    rwkv_state all, kept;
    assert_int_equal(rwkv_state_new(&all, &m->lm.config, B), STATUS_OK);
    tensor *whole = rwkv_forward(c, &m->lm, x, &(rwkv_input){.state = &all, .order = both ? whole_order : NULL});
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
      assert_int_equal(rwkv_state_new(&kept, &m->lm.config, B), STATUS_OK);
      int64_t at = 0, n = PROMPT;
      for (int piece = -1; at < T; piece++, at += n) {
        n = piece < 0 ? PROMPT : ways[way][piece];
        const rwkv_input in = {.state = &kept, .order = piece < 0 && both ? order : NULL};
        tensor *y = rwkv_forward(c, &m->lm, tiny_columns(c, x, at, n), &in);
        assert_non_null(y);
        tiny_same("piece", f32(y), f32(tiny_columns(c, whole, at, n)), (size_t)(B * n * WIDTH), 1e-5);
        assert_int_equal(kept.tokens[1], at + n);
      }
      assert_int_equal(at, T);
      tiny_same("state", kept.memory, all.memory, rwkv_state_size(&all), 1e-5);
      rwkv_state_free(&kept);
    }
    rwkv_state_free(&all);
  }
}
static void test_sequences_in_pieces(void **state) { (void)state, for_each_form(pieces); }

/* Rows of a batch as in calls of their own, whatever the padding; a row of no tokens keeps its state. */
static void unequal_lengths(ctx *c, const tiny_rwkv *m) {
  enum { B = 4, T = 8, BEFORE = 3 };
  const int32_t lengths[B] = {8, 3, 0, 5}, before[B] = {BEFORE, 1, 2, 0};
  tensor *first = tiny_rows(c, B, BEFORE, WIDTH, 10), *x = tiny_rows(c, B, T, WIDTH, 11);
  rwkv_state all, one;
  assert_int_equal(rwkv_state_new(&all, &m->lm.config, B), STATUS_OK);
  assert_non_null(rwkv_forward(c, &m->lm, first, &(rwkv_input){.state = &all, .lengths = before}));
  tensor *y = rwkv_forward(c, &m->lm, x, &(rwkv_input){.state = &all, .lengths = lengths});
  tensor *last = rwkv_last(c, y, lengths);
  assert_non_null(last);
  for (int b = 0; b < B; b++) {
    assert_int_equal(rwkv_state_new(&one, &m->lm.config, 1), STATUS_OK);
    tensor *parts[2] = {first, x}, *alone = NULL;
    const int32_t n[2] = {before[b], lengths[b]};
    for (int i = 0; i < 2; i++) {
      const int64_t dim[3] = {1, n[i], WIDTH};
      tensor *row = tensor_window(c, parts[i], b * parts[i]->dim[1] * WIDTH, 3, dim);
      if (n[i]) assert_non_null(alone = rwkv_forward(c, &m->lm, row, &(rwkv_input){.state = &one}));
    }
    assert_int_equal(all.tokens[b], one.tokens[0]);
    if (n[1]) {
      tiny_same("row", f32(y) + b * T * WIDTH, f32(alone), (size_t)(n[1] * WIDTH), 1e-5);
      tiny_same("last", f32(last) + b * WIDTH, f32(alone) + (n[1] - 1) * WIDTH, WIDTH, 1e-5);
    }
    rwkv_state got;
    assert_int_equal(rwkv_state_new(&got, &m->lm.config, 1), STATUS_OK);
    rwkv_state_copy_row(&got, 0, &all, b);
    tiny_same("state", got.memory, one.memory, rwkv_state_size(&one), 1e-5);
    rwkv_state_free(&got), rwkv_state_free(&one);
  }
  rwkv_state_free(&all);
}
static void test_unequal_lengths(void **state) { (void)state, for_each_form(unequal_lengths); }

/* Texts in chunks of any size give the logits and states of one call; the arena is as before. */
static void reading(ctx *c, const tiny_rwkv *m) {
  enum { B = 3, T = 10, V = TINY_RWKV_VOCABULARY };
  const int32_t lengths[B] = {4, 10, 7};
  static const int64_t chunks[] = {1, 3, 4, 10, 256};
  tensor *ids = tiny_ids(c, B, T, 12);
  rwkv_state whole, kept;
  assert_int_equal(rwkv_state_new(&whole, &m->lm.config, B), STATUS_OK);
  tensor *x = rwkv_forward(c, &m->lm, rwkv_embed(c, &m->lm, ids), &(rwkv_input){.state = &whole, .lengths = lengths});
  tensor *want = rwkv_logits(c, &m->lm, rwkv_last(c, x, lengths));
  assert_non_null(want);
  for (int64_t t = lengths[0]; t < T; t++) i32(ids)[t] = -5; /* padding is not looked at */
  for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
    float got[B * V];
    const arena_mark mark = arena_here(c->memory);
    assert_int_equal(rwkv_state_new(&kept, &m->lm.config, B), STATUS_OK);
    assert_int_equal(rwkv_read(c, &m->lm, i32(ids), T, lengths, chunks[i], &kept, got), STATUS_OK);
    tiny_same("logits", got, f32(want), B * V, 1e-5);
    tiny_same("state", kept.memory, whole.memory, rwkv_state_size(&whole), 1e-5);
    assert_memory_equal(kept.tokens, whole.tokens, B * sizeof *kept.tokens);
    const arena_mark now = arena_here(c->memory);
    assert_true(now.chunk == mark.chunk && now.used == mark.used);
    rwkv_state_free(&kept);
  }
  rwkv_state_free(&whole);
}
static void test_reading(void **state) { (void)state, for_each_form(reading); }

/* Heads of the official size over long texts of unequal lengths: token by token, in chunks, and all at once. */
static void long_texts(const rwkv_config *k, uint64_t seed) {
  enum { B = 2, T = 1000, V = TINY_RWKV_VOCABULARY };
  const int32_t lengths[B] = {T, 777};
  static const int64_t chunks[] = {1, 100, RWKV_CHUNK};
  tiny_rwkv m;
  tiny_rwkv_new(&m, k, seed);
  ctx *c = tiny_context();
  tensor *ids = tiny_ids(c, B, T, seed);
  rwkv_state whole, kept;
  assert_int_equal(rwkv_state_new(&whole, k, B), STATUS_OK);
  tensor *x = rwkv_forward(c, &m.lm, rwkv_embed(c, &m.lm, ids), &(rwkv_input){.state = &whole, .lengths = lengths});
  tensor *want = rwkv_logits(c, &m.lm, rwkv_last(c, x, lengths));
  assert_non_null(want);
  for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
    float got[B * V];
    assert_int_equal(rwkv_state_new(&kept, k, B), STATUS_OK);
    assert_int_equal(rwkv_read(c, &m.lm, i32(ids), T, lengths, chunks[i], &kept, got), STATUS_OK);
    tiny_same("logits", got, f32(want), B * V, 1e-5);
    tiny_same("state", kept.memory, whole.memory, rwkv_state_size(&whole), 1e-5);
    rwkv_state_free(&kept);
  }
  rwkv_state_free(&whole);
  ctx_free(c);
  tiny_rwkv_free(&m);
}

static void test_long_texts(void **state) {
  (void)state;
  static const int forms[] = {0, TINY_RWKV_5 + 2, TINY_RWKV_6, TINY_RWKV_7};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    rwkv_config k = tiny_rwkv_forms[forms[i]].config;
    print_message("  version %s\n", tiny_rwkv_forms[forms[i]].name);
    k.n_layer = 2;
    k.n_embd = k.dim_att = 128;
    if (k.version > 4) k.head_size = 64;
    long_texts(&k, 60 + i);
  }
}

static void test_what_cannot_be_read(void **state) {
  (void)state;
  tiny_rwkv m;
  tiny_rwkv_new(&m, six, 1);
  ctx *c = tiny_context();
  rwkv_state kept;
  float logits[TINY_RWKV_VOCABULARY];
  int32_t ids[3] = {1, 2, TINY_RWKV_VOCABULARY};
  assert_int_equal(rwkv_state_new(&kept, six, 1), STATUS_OK);
  assert_int_equal(rwkv_read(c, &m.lm, ids, 3, NULL, RWKV_CHUNK, &kept, logits), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), "token 50"));
  assert_int_equal(rwkv_read(c, &m.lm, ids, 3, (int32_t[]){2}, RWKV_CHUNK, &kept, logits), STATUS_OK);
  assert_int_equal(rwkv_read(c, &m.lm, ids, 0, NULL, RWKV_CHUNK, &kept, logits), STATUS_ARGUMENT);
  assert_int_equal(rwkv_read(c, &m.lm, ids, 3, (int32_t[]){4}, RWKV_CHUNK, &kept, logits), STATUS_ARGUMENT);
  ids[1] = -1;
  assert_int_equal(rwkv_read(c, &m.lm, ids, 2, NULL, RWKV_CHUNK, &kept, logits), STATUS_ARGUMENT);
  assert_int_equal(kept.tokens[0], 2);
  rwkv_state_free(&kept);
  ctx_free(c);
  tiny_rwkv_free(&m);
}

/* --- observers and memory ----------------------------------------------------------------------------------------- */

/* What an observer is shown: every block's results with its number, and nothing when there is none. */
typedef struct {
  int outs, last, outside, halves;
} witness;

static void look(void *user, int block, const char *name, const tensor *t) {
  witness *w = user;
  assert_non_null(t->data);
  if (block < 0) w->outside++;
  w->halves += !strcmp(name, "att") || !strcmp(name, "ffn") || !strcmp(name, "att.wkv");
  if (strcmp(name, "out")) return;
  assert_int_equal(block, w->last + 1);
  w->last = block;
  w->outs++;
}

static void observed(ctx *c, const tiny_rwkv *m) {
  witness w = {.last = -1};
  c->observe = look;
  c->observer = &w;
  tensor *seen_logits = rwkv_logits(c, &m->lm, rwkv_forward(c, &m->lm, tiny_rows(c, 1, 4, WIDTH, 1), NULL));
  assert_int_equal(w.outs, m->lm.config.n_layer);
  assert_int_equal(w.halves, 3 * m->lm.config.n_layer);
  assert_int_equal(w.outside, 1); /* ln_out */
  c->observe = NULL;
  tensor *logits = rwkv_logits(c, &m->lm, rwkv_forward(c, &m->lm, tiny_rows(c, 1, 4, WIDTH, 1), NULL));
  assert_memory_equal(logits->data, seen_logits->data, (size_t)tensor_count(logits) * sizeof(float));
}
static void test_observer(void **state) { (void)state, for_each_form(observed); }

static size_t peak(const rwkv_config *form, int layers, bool stateful) {
  rwkv_config config = *form;
  config.n_layer = layers;
  tiny_rwkv m;
  tiny_rwkv_new(&m, &config, 1);
  ctx *c = tiny_context();
  rwkv_state kept = {0};
  if (stateful) assert_int_equal(rwkv_state_new(&kept, &config, 2), STATUS_OK);
  tensor *x = tiny_rows(c, 2, 9, WIDTH, 1);
  assert_non_null(rwkv_forward(c, &m.lm, x, &(rwkv_input){.state = stateful ? &kept : NULL}));
  size_t most = arena_peak(c->memory);
  rwkv_state_free(&kept);
  ctx_free(c);
  tiny_rwkv_free(&m);
  return most;
}

static void test_memory_does_not_grow_with_depth(void **state) {
  (void)state;
  for (int i = 0; i < TINY_RWKV_FORMS; i++)
    for (int stateful = 0; stateful < 2; stateful++)
      assert_int_equal(peak(&tiny_rwkv_forms[i].config, 3, stateful), peak(&tiny_rwkv_forms[i].config, 12, stateful));
}

/* --- gradients ---------------------------------------------------------------------------------------------------- */

enum { ROWS = 2, LENGTH = 7, POSITIONS = ROWS * LENGTH };
static const int32_t lengths_of_rows[ROWS] = {LENGTH, 4};

/* Next-token cross entropy of two texts, the second shorter, the first of them read partly backwards in odd layers. */
typedef struct {
  const rwkv *lm;
  tensor *ids;
  const rwkv_state *start; /* NULL = none */
  const scan_order *order[4];
  int32_t target[POSITIONS];
  float weight[POSITIONS];
} problem;

static tensor *logits_of(ctx *c, const problem *p) {
  rwkv_state state = {0};
  if (p->start) assert_int_equal(rwkv_state_clone(&state, p->start), STATUS_OK);
  const rwkv_input in = {.lengths = lengths_of_rows, .order = p->order, .state = p->start ? &state : NULL};
  tensor *y = rwkv_logits(c, p->lm, rwkv_forward(c, p->lm, rwkv_embed(c, p->lm, p->ids), &in));
  assert_non_null(y);
  if (p->start) memset(state.memory, 255, rwkv_state_size(&state) * sizeof(float)); /* backward needs it no more */
  rwkv_state_free(&state);
  return y;
}

/* Summed in double from the f32 logits, so that small differences survive. */
static double loss_of(ctx *c, const problem *p) {
  const arena_mark mark = arena_here(c->memory);
  const float *logits = f32(logits_of(c, p));
  double loss = 0;
  for (int i = 0; i < POSITIONS; i++) {
    const float *x = logits + i * TINY_RWKV_VOCABULARY;
    double sum = 0;
    for (int v = 0; v < TINY_RWKV_VOCABULARY; v++) sum += exp((double)x[v] - (double)x[0]);
    loss += (double)p->weight[i] * (log(sum) + (double)x[0] - (double)x[p->target[i]]);
  }
  arena_release(c->memory, mark);
  return loss;
}

/* The slope of the loss along a direction: a central difference. */
static double slope(ctx *c, const problem *p, const param *which, const float *direction, double h) {
  const size_t n = (size_t)tensor_count(which->value);
  float *value = f32(which->value), *kept = guarded_copy(value, n);
  double at[2];
  for (int s = 0; s < 2; s++) {
    for (size_t i = 0; i < n; i++) value[i] = (float)((double)kept[i] + (s ? h : -h) * (double)direction[i]);
    at[s] = loss_of(c, p);
  }
  memcpy(value, kept, n * sizeof *value);
  guarded_free(kept);
  return (at[1] - at[0]) / (2 * h);
}

static void problem_of(ctx *c, const rwkv *lm, problem *p) {
  memset(p, 0, sizeof *p);
  p->lm = lm;
  p->ids = tiny_ids(c, ROWS, LENGTH, 4);
  p->order[1] = p->order[3] = scan_order_make(c, SCAN_REVERSE, LENGTH, 1, 1, 3);
  for (int i = 0; i < POSITIONS; i++) {
    p->target[i] = (i * 7 + 3) % TINY_RWKV_VOCABULARY;
    p->weight[i] = i % LENGTH < lengths_of_rows[i / LENGTH] ? 0.05f + 0.02f * (float)i : 0;
  }
}

/* For every parameter: a direction that is half its gradient's, half random. Its slope must be what the gradient says,
 * within 2 % and the rounding of the loss (about 1e-7, divided by the step). */
static void gradients_from(ctx *c, const tiny_rwkv *m, const rwkv_state *start) {
  param_set set = m->set; /* its gradients are ours */
  problem p;
  problem_of(c, &m->lm, &p);
  p.start = start;
  assert_int_equal(params_want_grads(&set, true), STATUS_OK);
  c->recording = true;
  tensor *loss = cross_entropy(c, logits_of(c, &p), p.target, p.weight, 0);
  c->recording = false;
  assert_non_null(loss);
  const double value = (double)*f32(loss);
  assert_int_equal(backward(c, loss), STATUS_OK);
  float *grads = guarded_copy(set.grads, set.count);
  assert_int_equal(params_want_grads(&set, false), STATUS_OK);
  assert_true(fabs(loss_of(c, &p) / value - 1) < 1e-5);
  size_t resolved = 0;
  for (size_t i = 0; i < set.n; i++) {
    const param *w = &set.item[i];
    const size_t n = (size_t)tensor_count(w->value);
    const float *g = grads + w->first;
    double length = 0, random_length = 0, along = 0;
    float *direction = guarded_random(n, i, -1, 1);
    for (size_t k = 0; k < n; k++) {
      length += (double)g[k] * (double)g[k];
      random_length += (double)direction[k] * (double)direction[k];
    }
    length = sqrt(length), random_length = sqrt(random_length);
    if (!(length > 1e-7)) fail_msg("%s has no gradient (%g)", w->name, length);
    for (size_t k = 0; k < n; k++) {
      direction[k] = (float)((double)g[k] / length + (double)direction[k] / random_length);
      along += (double)g[k] * (double)direction[k];
    }
    const double h = fmin(0.01, 1e-3 / length), rounding = 2e-7 / h, found = slope(c, &p, w, direction, h);
    if (!(fabs(found - along) <= 0.02 * length + rounding))
      fail_msg("%s: slope %.6g, the gradient says %.6g", w->name, found, along);
    resolved += rounding < 0.1 * length;
    guarded_free(direction);
  }
  assert_true(resolved > set.n * 3 / 4); /* most were not lost in rounding */
  guarded_free(grads);
}
static void gradients(ctx *c, const tiny_rwkv *m) { gradients_from(c, m, NULL); }
static void test_gradients(void **state) { (void)state, for_each_form(gradients); }

/* Trained initial states, which all rows share, among the parameters. */
static void test_gradients_of_starts(void **state) {
  (void)state;
  for (int i = 0; i < TINY_RWKV_FORMS; i++) {
    rwkv_config k = tiny_rwkv_forms[i].config;
    if (k.version == 4) continue; /* has none */
    k.parts |= RWKV_START;
    print_message("  version %s\n", tiny_rwkv_forms[i].name);
    tiny_rwkv m;
    tiny_rwkv_new(&m, &k, 50);
    ctx *c = tiny_context();
    gradients(c, &m);
    ctx_free(c);
    tiny_rwkv_free(&m);
  }
}

/* Sequences that go on: where they come from is a constant, also to the differences. The state is the same as after a
 * pass that does not record. */
static void gradients_going_on(ctx *c, const tiny_rwkv *m) {
  rwkv_state start, after, recorded;
  assert_int_equal(rwkv_state_new(&start, &m->lm.config, ROWS), STATUS_OK);
  assert_non_null(rwkv_forward(c, &m->lm, tiny_rows(c, ROWS, 5, WIDTH, 14), &(rwkv_input){.state = &start}));
  gradients_from(c, m, &start);
  assert_int_equal(rwkv_state_clone(&after, &start), STATUS_OK);
  assert_int_equal(rwkv_state_clone(&recorded, &start), STATUS_OK);
  param_set set = m->set;
  tensor *x = tiny_rows(c, ROWS, LENGTH, WIDTH, 15);
  tensor *y = rwkv_forward(c, &m->lm, x, &(rwkv_input){.state = &after, .lengths = lengths_of_rows});
  assert_int_equal(params_want_grads(&set, true), STATUS_OK);
  c->recording = true;
  tensor *z = rwkv_forward(c, &m->lm, x, &(rwkv_input){.state = &recorded, .lengths = lengths_of_rows});
  c->recording = false;
  assert_true(y && z);
  tiny_same("recorded", f32(z), f32(y), ROWS * LENGTH * WIDTH, 1e-6);
  tiny_same("state", recorded.memory, after.memory, rwkv_state_size(&after), 1e-6);
  assert_memory_equal(recorded.tokens, after.tokens, ROWS * sizeof *after.tokens);
  assert_int_equal(params_want_grads(&set, false), STATUS_OK);
  rwkv_state_free(&start), rwkv_state_free(&after), rwkv_state_free(&recorded);
}
static void test_gradients_going_on(void **state) { (void)state, for_each_form(gradients_going_on); }

/* --- configs ------------------------------------------------------------------------------------------------------ */

static void test_config_check(void **state) {
  (void)state;
  static const size_t common[] = {offsetof(rwkv_config, n_layer),   offsetof(rwkv_config, n_embd),
                                  offsetof(rwkv_config, dim_att),   offsetof(rwkv_config, dim_ffn),
                                  offsetof(rwkv_config, head_size), offsetof(rwkv_config, vocab_size)};
  static const size_t ranks[] = {offsetof(rwkv_config, rank_mix), offsetof(rwkv_config, rank_decay),
                                 offsetof(rwkv_config, rank_rate), offsetof(rwkv_config, rank_value),
                                 offsetof(rwkv_config, rank_gate)};
  static const int bad[] = {0, -1, (1 << 20) + 1, INT32_MAX};
  enum { COMMON = sizeof common / sizeof *common, RANKS = sizeof ranks / sizeof *ranks };
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    const rwkv_config *good = &tiny_rwkv_forms[form].config;
    assert_int_equal(rwkv_config_check(good), STATUS_OK);
    for (size_t f = 0; f < COMMON + RANKS; f++)
      for (size_t v = 0; v < sizeof bad / sizeof *bad; v++) {
        rwkv_config k = *good;
        int *field = (int *)((char *)&k + (f < COMMON ? common[f] : ranks[f - COMMON]));
        if (!*field) continue; /* a rank that the version does not have */
        *field = bad[v];
        assert_int_equal(rwkv_config_check(&k), STATUS_FORMAT);
        rwkv m;
        param_set set = {0};
        assert_int_equal(rwkv_new(&m, &k, "", &set), STATUS_FORMAT);
        rwkv_free(&m);
        params_free(&set);
      }
  }
  rwkv_config k = *six;
  k.head_size = 7;
  assert_int_equal(rwkv_config_check(&k), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "24"));
  k.version = 3;
  assert_int_equal(rwkv_config_check(&k), STATUS_UNSUPPORTED);
  k = tiny_rwkv_forms[TINY_RWKV_7].config;
  k.dim_att = 32;
  assert_int_equal(rwkv_config_check(&k), STATUS_FORMAT);
  k = tiny_rwkv_forms[0].config;
  k.parts = RWKV_START;
  assert_int_equal(rwkv_config_check(&k), STATUS_UNSUPPORTED);
}

/* Every form, written and recognised again, with any number of layers and with a trained start where there is one. */
static void test_config_of_a_file(void **state) {
  const params_file what = {.type = CHECKPOINT_F32};
  char *path = scratch_path(state, "model.safetensors");
  for (int form = 0; form < TINY_RWKV_FORMS; form++)
    for (int way = 0; way < 4; way++) {
      rwkv_config k = tiny_rwkv_forms[form].config, got;
      k.n_layer = way & 1 ? 1 : 3;
      if (way & 2 && k.version > 4) k.parts |= RWKV_START;
      if (k.n_layer == 1) k.rank_value = 0;
      tiny_rwkv m;
      tiny_rwkv_new(&m, &k, 1);
      assert_int_equal(params_save(&m.set, path, &what), STATUS_OK);
      checkpoint *file = checkpoint_open(path);
      assert_non_null(file);
      assert_int_equal(rwkv_config_read(&got, file, ""), STATUS_FORMAT); /* the names begin with "t." */
      if (rwkv_config_read(&got, file, "t.")) fail_msg("%s", last_error());
      assert_memory_equal(&got, &k, sizeof k);
      rwkv again;
      param_set set = {0};
      assert_int_equal(rwkv_new(&again, &got, "t.", &set), STATUS_OK);
      assert_int_equal(params_check(&set, file), STATUS_OK);
      assert_int_equal(set.n, checkpoint_count(file));
      checkpoint_close(file);
      rwkv_free(&again);
      params_free(&set);
      tiny_rwkv_free(&m);
    }
  free(path);
}

/* RWKV-7's initial curves know the head size; the first block has no share of the first block's values. */
static void test_initial_values(void **state) {
  (void)state;
  const rwkv_config *k = &tiny_rwkv_forms[TINY_RWKV_7].config;
  rwkv m;
  param_set set = {0};
  assert_int_equal(rwkv_new(&m, k, "", &set), STATUS_OK);
  assert_int_equal(params_allocate(&set), STATUS_OK);
  params_init(&set, 1);
  assert_null(m.block[0].att.v7.v1);
  for (int c = 0; c < WIDTH; c++) {
    const double q = (c % 8 - 3.5) / 3.5, z = q * fabs(q), e = c / 23.0 - 0.5;
    const double decay = -5.5 + 6 * pow(c / 23.0, 1 + pow(2 / 3.0, 0.3)) + 2.5 * z;
    assert_true(fabs((double)f32(m.block[2].att.v7.w0)[c] - decay) < 1e-5);
    assert_true(fabs((double)f32(m.block[2].att.v7.a0)[c] - (-0.19 + 0.3 * z + 0.4 * e)) < 1e-6);
    assert_true(fabs((double)f32(m.block[2].att.v7.v0)[c] - (0.73 - 0.4 * e)) < 1e-6);
    assert_true(fabs((double)f32(m.block[2].att.v7.k_k)[c] - (0.71 - 0.1 * e)) < 1e-6);
    assert_true(fabs((double)f32(m.block[1].ffn.mix_k)[c] - (1 - pow(c / 24.0, pow(0.75, 4)))) < 1e-6);
  }
  rwkv_free(&m);
  params_free(&set);
}

/* What versions 4 and 5 begin with that version 6 does not. */
static void test_initial_values_of_old_versions(void **state) {
  (void)state;
  enum { BLOCK = 2 }; /* of four: 2/3 of the way down, half of the height left */
  const double down = 2 / 3.0, left = 0.5;
  for (int form = 0; form <= 2; form++) {
    rwkv m;
    param_set set = {0};
    assert_int_equal(rwkv_new(&m, &tiny_rwkv_forms[form].config, "", &set), STATUS_OK);
    assert_int_equal(params_allocate(&set), STATUS_OK);
    params_init(&set, 1);
    const rwkv4_att *four = &m.block[BLOCK].att.v4;
    const rwkv5_att *five = &m.block[BLOCK].att.v5;
    for (int c = 0; c < WIDTH; c++) {
      const double zigzag = (c + 1) % 3 - 1, mix_v = pow(c / 24.0, left) + 0.3 * down;
      assert_true(fabs((double)f32(form ? five->mix_v : four->mix_v)[c] - mix_v) < 1e-6);
      if (form) continue;
      assert_true(fabs((double)f32(four->decay)[c] - (-5 + 8 * pow(c / 23.0, 0.7 + 1.3 * down))) < 1e-5);
      assert_true(fabs((double)f32(four->bonus)[c] - (log(0.3) + 0.5 * zigzag)) < 1e-6);
    }
    for (int h = 0; form && h < 3; h++) {
      assert_true(fabs((double)f32(five->decay)[h] - (-6 + 5 * pow(h / 2.0, 0.7 + 1.3 * down))) < 1e-5);
      assert_true(fabs((double)f32(five->bonus)[h] - (form == 1 ? -3 : down * (1 - h / 2.0))) < 1e-6);
    }
    const float *key = f32(m.block[0].ffn.key); /* columns of unit length, of version 4 times sqrt(40/24) */
    double length = 0;
    for (int row = 0; row < 40; row++) length += pow((double)key[row * WIDTH], 2);
    assert_true(fabs(length - (form ? 1 : 40 / 24.0)) < 1e-5);
    rwkv_free(&m);
    params_free(&set);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_backbone),
      cmocka_unit_test(test_scan_order_of_layers),
      cmocka_unit_test(test_scan_order_is_a_permutation),
      cmocka_unit_test(test_sequences_in_pieces),
      cmocka_unit_test(test_unequal_lengths),
      cmocka_unit_test(test_reading),
      cmocka_unit_test(test_long_texts),
      cmocka_unit_test(test_what_cannot_be_read),
      cmocka_unit_test(test_observer),
      cmocka_unit_test(test_memory_does_not_grow_with_depth),
      cmocka_unit_test(test_gradients),
      cmocka_unit_test(test_gradients_of_starts),
      cmocka_unit_test(test_gradients_going_on),
      cmocka_unit_test(test_config_check),
      cmocka_unit_test_setup_teardown(test_config_of_a_file, scratch_setup, scratch_teardown),
      cmocka_unit_test(test_initial_values),
      cmocka_unit_test(test_initial_values_of_old_versions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
