/* What all operators share: the tape (tensors used twice, views and windows, outputs nobody used, recording off), the
 * arena, failing memory; and scan orders and resampling tables by their properties. */
#include "tests/support/gradcheck.h"
#include "tests/support/kernel_check.h"

#include "kernels/rwkv6.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int open_context(void **state) {
  ctx *c = ctx_new();
  if (!c) return -1;
  c->recording = true;
  *state = c;
  return 0;
}

static int close_context(void **state) {
  ctx_free(*state);
  return 0;
}

static tensor *leaf(ctx *c, int64_t rows, int64_t columns, uint64_t seed) {
  return random_tensor(c, 2, (int64_t[]){rows, columns}, seed, true);
}

static float *weights_of(ctx *c, int64_t n) { return f32(random_tensor(c, 1, &n, 77, false)); }

/* --- tape --------------------------------------------------------------------------------------------------------- */

/* y = 3 x + x + silu(x) x, read by two losses: every use adds. */
static void test_shared_tensor(void **state) {
  ctx *c = *state;
  tensor *x = leaf(c, 3, 7, 1);
  const float *gy = weights_of(c, 21);
  tensor *y = add(c, add(c, scale(c, x, 3), x), gate(c, x, ACT_SILU, x));
  tensor *loss = add(c, weighted_sum(c, y, gy), weighted_sum(c, x, gy));
  assert_int_equal(backward(c, loss), STATUS_OK);
  for (int i = 0; i < 21; i++) {
    double v = (double)f32(x)[i], s = 1 / (1 + exp(-v));
    double slope = 5 + 2 * v * s + v * v * s * (1 - s); /* x silu(x) = x^2 s */
    assert_float_equal(f32(x->grad)[i], (double)gy[i] * slope, 1e-5);
  }
}

/* Windows of one output: gradients add up where windows overlap, and are zero where there is none. */
static void test_windows(void **state) {
  ctx *c = *state;
  const int64_t dim[] = {3, 2, 2, 5}, n = 20;
  tensor *x = random_tensor(c, 4, dim, 1, true);
  tensor *y = scale(c, x, 2);
  tensor *second = tensor_window(c, y, n, 3, dim + 1);
  tensor *inner = tensor_window(c, second, 5, 2, (int64_t[]){2, 5}); /* a window of a window */
  tensor *flat = tensor_view(c, second, 1, (int64_t[]){20});
  const float *g = weights_of(c, n);
  tensor *loss = add(c, weighted_sum(c, second, g), weighted_sum(c, inner, g));
  loss = add(c, loss, weighted_sum(c, flat, g));
  assert_int_equal(backward(c, loss), STATUS_OK);
  for (int64_t i = 0; i < 3 * n; i++) {
    float want = 0;
    if (i >= n && i < 2 * n) want = 2 * g[i - n];
    if (i >= n + 5 && i < n + 15) want += g[i - n - 5];
    assert_float_equal(f32(x->grad)[i], 2 * want, 1e-5);
  }
  assert_ptr_equal(f32(second), f32(y) + n);
  assert_ptr_equal(f32(inner), f32(y) + n + 5);
}

/* A view of a leaf, and a view that fills its base. */
static void test_views_of_leaves(void **state) {
  ctx *c = *state;
  tensor *x = leaf(c, 4, 6, 1);
  tensor *v = tensor_view(c, x, 3, (int64_t[]){2, 2, 6});
  tensor *w = tensor_window(c, x, 6, 1, (int64_t[]){6});
  const float *g = weights_of(c, 24);
  assert_int_equal(backward(c, weighted_sum(c, add(c, v, w), g)), STATUS_OK);
  for (int i = 0; i < 24; i++) {
    float want = g[i];
    for (int row = 0; row < 4 && i / 6 == 1; row++) want += g[row * 6 + i % 6];
    assert_float_equal(f32(x->grad)[i], want, 1e-5);
  }
}

static void test_unused_output(void **state) {
  ctx *c = *state;
  const int64_t dim[] = {1, 3, 4};
  tensor *x[4], *u = random_tensor(c, 2, (int64_t[]){2, 2}, 9, true), *final;
  for (int i = 0; i < 4; i++) x[i] = random_tensor(c, 3, dim, (uint64_t)i, true);
  tensor *aside = leaf(c, 2, 3, 20), *unused = act(c, ACT_TANH, aside);
  tensor *y = wkv6(c, x[0], x[1], x[2], x[3], u, NULL, &(wkv6_opt){.heads = 2}, &final);
  assert_non_null(unused);
  assert_true(y->needs_grad && final->needs_grad);
  /* Only the final state is used: r and u do not matter, k and v do. */
  assert_int_equal(backward(c, weighted_sum(c, final, weights_of(c, 8))), STATUS_OK);
  assert_null(aside->grad);
  float sizes[4] = {0};
  for (int i = 0; i < 4; i++)
    for (int e = 0; x[i]->grad && e < 12; e++) sizes[i] += fabsf(f32(x[i]->grad)[e]);
  assert_float_equal(sizes[0], 0, 0);
  assert_true(sizes[1] > 0.1f && sizes[2] > 0.1f && sizes[3] > 0.01f);
  for (int e = 0; e < 4; e++) assert_float_equal(f32(u->grad)[e], 0, 0);
}

static void test_not_recording(void **state) {
  ctx *c = *state;
  tensor *x = leaf(c, 3, 7, 1), *w = leaf(c, 5, 7, 2);
  c->recording = false;
  tensor *y = act(c, ACT_SILU, linear(c, x, w, NULL));
  assert_non_null(y);
  assert_int_equal(c->n_tape, 0);
  assert_false(y->needs_grad);
  c->recording = true;
  tensor *frozen = random_tensor(c, 2, (int64_t[]){3, 5}, 3, false);
  assert_non_null(add(c, y, frozen));
  assert_int_equal(c->n_tape, 0); /* nobody wants a gradient */
  tensor *loss = weighted_sum(c, y, weights_of(c, 15));
  assert_int_equal(backward(c, loss), STATUS_OK);
  assert_null(x->grad);
  assert_null(w->grad);
}

/* linear_act() is act() of linear(), to the bit: values and gradients, with a bias and without, of rows and of one. */
static void test_linear_act(void **state) {
  ctx *c = *state;
  const int64_t rows[] = {1, 3, 70};
  for (size_t i = 0; i < COUNT(rows); i++)
    for (int bias = 0; bias < 2; bias++) {
      tensor *x[2], *w[2], *b[2], *y[2];
      const float *g = weights_of(c, rows[i] * 5);
      for (int one = 0; one < 2; one++) {
        x[one] = leaf(c, rows[i], 7, 1), w[one] = leaf(c, 5, 7, 2);
        b[one] = bias ? random_tensor(c, 1, (int64_t[]){5}, 3, true) : NULL;
        y[one] = one ? linear_act(c, ACT_QUICK_GELU, x[one], w[one], b[one])
                     : act(c, ACT_QUICK_GELU, linear(c, x[one], w[one], b[one]));
        assert_int_equal(backward(c, weighted_sum(c, y[one], g)), STATUS_OK);
      }
      const size_t bytes = (size_t)tensor_count(y[0]) * sizeof(float);
      assert_memory_equal(f32(y[0]), f32(y[1]), bytes);
      assert_memory_equal(f32(x[0]->grad), f32(x[1]->grad), (size_t)tensor_count(x[0]) * sizeof(float));
      assert_memory_equal(f32(w[0]->grad), f32(w[1]->grad), (size_t)tensor_count(w[0]) * sizeof(float));
      c->recording = false;
      assert_memory_equal(f32(linear_act(c, ACT_QUICK_GELU, x[0], w[0], b[0])), f32(y[0]), bytes);
      c->recording = true;
    }
  assert_null(linear_act(c, ACT_RELU, NULL, leaf(c, 5, 7, 2), NULL));
}

/* Parameters keep what earlier passes left; the tape is used up by each. */
static void test_gradients_accumulate_over_passes(void **state) {
  ctx *c = *state;
  tensor *x = leaf(c, 2, 3, 1);
  const float *g = weights_of(c, 6);
  for (int pass = 1; pass <= 3; pass++) {
    assert_int_equal(backward(c, weighted_sum(c, scale(c, x, 2), g)), STATUS_OK);
    assert_int_equal(c->n_tape, 0);
    for (int i = 0; i < 6; i++) assert_float_equal(f32(x->grad)[i], 2 * (float)pass * g[i], 1e-5);
  }
}

static void test_reset_forgets_the_tape(void **state) {
  ctx *c = *state;
  assert_non_null(scale(c, leaf(c, 2, 3, 1), 2));
  assert_int_equal(c->n_tape, 1);
  ctx_reset(c);
  assert_int_equal(c->n_tape, 0);
  tensor *x = leaf(c, 2, 3, 1);
  assert_int_equal(backward(c, weighted_sum(c, x, weights_of(c, 6))), STATUS_OK);
}

/* A loss that nothing leads to uses up the tape as well. */
static void test_backward_from_nothing(void **state) {
  ctx *c = *state;
  tensor *x = leaf(c, 2, 3, 1);
  assert_non_null(scale(c, x, 2));
  assert_int_equal(c->n_tape, 1);
  tensor *constant = random_tensor(c, 1, (int64_t[]){1}, 2, false);
  assert_int_equal(backward(c, constant), STATUS_OK);
  assert_int_equal(c->n_tape, 0);
  assert_null(x->grad);
  assert_int_equal(backward(c, NULL), STATUS_MEMORY);
}

/* --- arena -------------------------------------------------------------------------------------------------------- */

static void one_step(ctx *c, float *weight, tensor *gradient) {
  tensor *w = tensor_wrap(c, DTYPE_F32, weight, 2, (int64_t[]){96, 96});
  w->needs_grad = true;
  w->grad = gradient;
  tensor *x = random_tensor(c, 3, (int64_t[]){4, 50, 96}, 1, false);
  for (int layer = 0; layer < 6; layer++) x = add(c, x, act(c, ACT_TANH, linear(c, x, w, NULL)));
  assert_int_equal(backward(c, weighted_sum(c, x, weights_of(c, 4 * 50 * 96))), STATUS_OK);
}

static void test_arena_does_not_grow(void **state) {
  ctx *c = *state;
  float *memory = calloc((size_t)2 * 96 * 96, sizeof *memory);
  assert_non_null(memory);
  for (int i = 0; i < 96 * 96; i++) memory[i] = (float)(i * 37 % 101 - 50) * 1e-3f;
  tensor gradient = {.type = DTYPE_F32, .n_dims = 2, .dim = {96, 96}, .data = memory + 96 * 96};
  one_step(c, memory, &gradient);
  const size_t peak = arena_peak(c->memory), tape = c->cap_tape;
  assert_true(peak > 12 * 4 * 50 * 96 * sizeof(float));
  for (int i = 0; i < 10; i++) {
    ctx_reset(c);
    one_step(c, memory, &gradient);
    assert_int_equal(arena_peak(c->memory), peak);
  }
  assert_int_equal(c->cap_tape, tape);
  free(memory);
}

static void test_arena_marks(void **state) {
  (void)state;
  arena *a = arena_new();
  assert_non_null(a);
  const size_t sizes[] = {1, 63, 64, 65, 100000, 3 << 20, 0, 7};
  char *first[COUNT(sizes)];
  arena_mark start = arena_here(a);
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < COUNT(sizes); i++) {
      char *p = arena_alloc(a, sizes[i]);
      assert_non_null(p);
      assert_int_equal((uintptr_t)p % 64, 0);
      memset(p, (int)i, sizes[i]);
      if (round) assert_ptr_equal(p, first[i]); /* the same place every time */
      first[i] = p;
    }
    for (size_t i = 0; i < COUNT(sizes); i++)
      for (size_t e = 0; e < sizes[i]; e += 999) assert_int_equal(first[i][e], i); /* nothing overlaps */
    arena_release(a, start);
  }
  arena_free(a);
}

/* --- failing memory ----------------------------------------------------------------------------------------------- */

/* Tokens of one channel that no machine has memory for; operators must fail before they read them. Even four bytes a
 * token are more than half of the address space, which no allocator is asked for. */
static tensor *absurd(ctx *c) {
  tensor *t = tensor_wrap(c, DTYPE_F32, NULL, 3, (int64_t[]){1, (int64_t)1 << 61, 1});
  assert_non_null(t);
  return t;
}

/* The result is NULL and the sentence says so; then forgets the sentence for the next one. cmocka has a macro `fail`.
 */
static void fails(const void *result) {
  assert_null(result);
  assert_int_equal(last_status(), STATUS_MEMORY);
  assert_non_null(strstr(last_error(), "memory"));
  (fail)(STATUS_OK, "none");
}

static void test_no_memory(void **state) {
  ctx *c = *state;
  tensor *huge = absurd(c), *final = huge, *w = leaf(c, 4, 1, 1), *right = leaf(c, 1, 4, 1), *b = leaf(c, 1, 1, 2);
  tensor *w2 = random_tensor(c, 3, (int64_t[]){1, 1, 1}, 3, true);
  shift_plan plan = shift_previous(1, NULL);
  (fail)(STATUS_OK, "none");
  fails(linear(c, huge, w, NULL));
  fails(linear_right(c, huge, right));
  fails(add(c, huge, b));
  fails(scale(c, huge, 2));
  fails(act(c, ACT_SILU, huge));
  fails(gate(c, huge, ACT_SILU, huge));
  fails(layer_norm(c, huge, b, b, 1e-5f));
  fails(shift(c, huge, &plan, NULL));
  fails(shift_mix(c, huge, huge, MIX_KEEP, 1, &b, NULL));
  fails(ddlerp(c, huge, huge, 1, &b, b, b, w2));
  fails(wkv6(c, huge, huge, huge, huge, NULL, NULL, &(wkv6_opt){.heads = 1}, &final));
  assert_null(final);
  fails(concat_tokens(c, 2, (tensor *const[]){huge, huge}));
  fails(tensor_new(c, DTYPE_F32, 2, (int64_t[]){INT64_MAX, INT64_MAX}));
  fails(tensor_new(c, DTYPE_I32, 2, (int64_t[]){3, -1}));
  fails(scan_order_make(c, SCAN_REVERSE, (int64_t)1 << 61, 0, 1, 1));
  assert_int_equal(c->n_tape, 0);
  /* The context still works. */
  assert_int_equal(backward(c, weighted_sum(c, linear(c, b, w, NULL), weights_of(c, 4))), STATUS_OK);
  assert_non_null(w->grad);
}

/* NULL for any required input gives NULL, through whole blocks. */
static void test_null_runs_through(void **state) {
  ctx *c = *state;
  tensor *w = leaf(c, 4, 4, 1), *b = random_tensor(c, 1, (int64_t[]){4}, 2, true), *final = w;
  tensor *x = random_tensor(c, 3, (int64_t[]){1, 2, 4}, 3, true);
  shift_plan plan = shift_previous(4, NULL);
  const wkv6_opt opt = {.heads = 2};
  assert_null(linear(c, NULL, w, b));
  assert_null(linear_right(c, NULL, w));
  assert_null(embedding(c, NULL, w));
  assert_null(add(c, NULL, x));
  assert_null(add(c, x, NULL));
  assert_null(scale(c, NULL, 1));
  assert_null(act(c, ACT_RELU, NULL));
  assert_null(gate(c, x, ACT_RELU, NULL));
  assert_null(gate(c, NULL, ACT_RELU, x));
  assert_null(layer_norm(c, NULL, b, b, 1e-5f));
  assert_null(group_norm(c, NULL, 2, b, b, 1e-5f));
  assert_null(shift(c, NULL, &plan, NULL));
  assert_null(shift_mix(c, NULL, x, MIX_KEEP, 1, &b, NULL));
  assert_null(shift_mix(c, x, NULL, MIX_KEEP, 1, &b, NULL));
  assert_null(ddlerp(c, NULL, NULL, 1, &b, b, w, x));
  assert_null(wkv6(c, x, x, NULL, x, NULL, NULL, &opt, &final));
  assert_null(final);
  assert_null(patch_embed(c, NULL, w, b, 2));
  assert_null(resample(c, NULL, NULL, NULL));
  assert_null(mean_tokens(c, NULL));
  assert_null(concat_tokens(c, 2, (tensor *const[]){x, NULL}));
  assert_null(gather_rows(c, NULL, 0, NULL));
  assert_null(cross_entropy(c, NULL, NULL, NULL, 0));
  assert_null(bce_with_logits(c, NULL, NULL, NULL));
  assert_null(tensor_view(c, NULL, 0, NULL));
  final = w;
  assert_null(rwkv6_time_mix(c, &(rwkv6_att){.decay = b}, NULL, &plan, &opt, 1e-5f, NULL, &final));
  assert_null(final);
  assert_null(rwkv6_channel_mix(c, &(rwkv6_ffn){.mix_k = b, .mix_r = b}, NULL, &plan, MIX_KEEP, NULL));
  assert_int_equal(c->n_tape, 0);
}

/* --- scan orders -------------------------------------------------------------------------------------------------- */

static void test_scan_orders(void **state) {
  ctx *c = *state;
  /* The grid 2 x 3 from token 2 of 9. */
  static const int32_t want[4][9] = {{0, 1, 2, 3, 4, 5, 6, 7, 8},
                                     {0, 1, 7, 6, 5, 4, 3, 2, 8},
                                     {0, 1, 2, 5, 3, 6, 4, 7, 8},
                                     {0, 1, 7, 4, 6, 3, 5, 2, 8}};
  for (scan_kind kind = SCAN_FORWARD; kind <= SCAN_COLUMNS_REVERSE; kind++) {
    const scan_order *o = scan_order_make(c, kind, 9, 2, 2, 3);
    assert_non_null(o);
    assert_memory_equal(o->token, want[kind], sizeof want[kind]);
  }
  const int64_t grids[][4] = {{1, 0, 1, 1},  {20, 0, 4, 5}, {20, 3, 5, 3}, {7, 7, 0, 3},
                              {12, 2, 1, 9}, {12, 0, 9, 1}, {0, 0, 0, 0}};
  for (size_t i = 0; i < COUNT(grids); i++)
    for (scan_kind kind = SCAN_FORWARD; kind <= SCAN_COLUMNS_REVERSE; kind++) {
      const int64_t *g = grids[i];
      const scan_order *o = scan_order_make(c, kind, g[0], g[1], g[2], g[3]);
      assert_non_null(o);
      bool seen[20] = {false};
      for (int64_t t = 0; t < g[0]; t++) {
        bool inside = t >= g[1] && t < g[1] + g[2] * g[3];
        assert_in_range(o->token[t], 0, g[0] - 1);
        assert_false(seen[o->token[t]]);
        seen[o->token[t]] = true;
        assert_int_equal(o->step[o->token[t]], t);
        if (!inside) assert_int_equal(o->token[t], t);
        if (inside) assert_in_range(o->token[t], g[1], g[1] + g[2] * g[3] - 1);
      }
    }
}

/* --- resampling tables -------------------------------------------------------------------------------------------- */

static void check_axis(const resample_axis *a) {
  assert_non_null(a);
  for (int o = 0; o < a->n_out; o++) {
    double sum = 0;
    assert_true(a->start[o] >= 0 && a->count[o] >= 1 && a->count[o] <= a->width);
    assert_true(a->start[o] + a->count[o] <= a->n_in);
    for (int i = 0; i < a->count[o]; i++) sum += (double)a->weight[o * a->width + i];
    assert_float_equal(sum, 1, 1e-6);
  }
}

static void test_resample_tables(void **state) {
  ctx *c = *state;
  for (int n_in = 1; n_in <= 9; n_in++)
    for (int n_out = 1; n_out <= 20; n_out++) {
      check_axis(resample_bicubic(c, n_in, n_out));
      if (n_out <= n_in) check_axis(resample_pool(c, n_in, n_out));
    }
  /* The same size is the identity, exactly. */
  tensor *x = random_tensor(c, 4, (int64_t[]){2, 5, 3, 7}, 1, false);
  tensor *y = resample(c, x, resample_bicubic(c, 5, 5), resample_bicubic(c, 3, 3));
  assert_memory_equal(y->data, x->data, (size_t)tensor_count(x) * sizeof(float));
  y = resample(c, x, resample_pool(c, 5, 5), resample_pool(c, 3, 3));
  assert_memory_equal(y->data, x->data, (size_t)tensor_count(x) * sizeof(float));
}

#define WITH_CONTEXT(test) cmocka_unit_test_setup_teardown(test, open_context, close_context)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_CONTEXT(test_shared_tensor),
      WITH_CONTEXT(test_windows),
      WITH_CONTEXT(test_views_of_leaves),
      WITH_CONTEXT(test_unused_output),
      WITH_CONTEXT(test_not_recording),
      WITH_CONTEXT(test_linear_act),
      WITH_CONTEXT(test_gradients_accumulate_over_passes),
      WITH_CONTEXT(test_reset_forgets_the_tape),
      WITH_CONTEXT(test_backward_from_nothing),
      WITH_CONTEXT(test_arena_does_not_grow),
      cmocka_unit_test(test_arena_marks),
      WITH_CONTEXT(test_no_memory),
      WITH_CONTEXT(test_null_runs_through),
      WITH_CONTEXT(test_scan_orders),
      WITH_CONTEXT(test_resample_tables),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
