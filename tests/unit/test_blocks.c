/* A model's blocks on the samples of a batch (kernels/blocks.h): side by side by any number of threads they give what
 * they give one after another, in the same order for each sample; memory does not grow with depth; who records or looks
 * has everything in one place; and what goes wrong in one thread is said by all. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/ops.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { T = 160, C = 6, BLOCKS = 5, MOST_SAMPLES = 9, MOST_THREADS = 4 };

/* What blocks do and note. */
typedef struct {
  int fails_in;      /* the block in which a sample with a negative first value fails; -1: none */
  int most_together; /* samples that a block was handed at once */
} model;

/* Doubles what it sees and adds the block's number: no other order of blocks gives the same. */
static tensor *step(ctx *c, const void *user, int i, tensor *x) {
  model *m = (model *)(uintptr_t)user;
  assert(c->block == i);
#pragma omp critical(note)
  if (x->dim[0] > m->most_together) m->most_together = (int)x->dim[0];
  for (int64_t b = 0; i == m->fails_in && b < x->dim[0]; b++)
    if (f32(x)[b * T * C] < 0) return fail_null(STATUS_FORMAT, "a sample below zero");
  tensor *two = tensor_1d(c, DTYPE_F32, C), *number = two ? tensor_like(c, two) : NULL;
  if (!number) return NULL;
  for (int k = 0; k < C; k++) f32(number)[k] = (float)i;
  return add(c, add(c, x, x), number);
}

static tensor *samples_new(ctx *c, int64_t B) {
  tensor *x = tensor_3d(c, DTYPE_F32, B, T, C);
  assert_non_null(x);
  for (int64_t i = 0; i < tensor_count(x); i++) f32(x)[i] = (float)(i % 1009);
  return x;
}

/* 2^BLOCKS x + 2^(BLOCKS-1) 0 + ... + (BLOCKS-1): exact. */
static void check(const tensor *x, const tensor *y) {
  float more = 0;
  for (int i = 0; i < BLOCKS; i++) more = 2 * more + (float)i;
  assert_int_equal(tensor_count(x), tensor_count(y));
  for (int64_t i = 0; i < tensor_count(x); i++) assert_true(f32(y)[i] == (float)(1 << BLOCKS) * f32(x)[i] + more);
}

static void test_any_share(void **state) {
  (void)state;
  ctx *c = ctx_new();
  assert_non_null(c);
  for (int threads = 1; threads <= MOST_THREADS; threads++)
    for (int64_t B = 1; B <= MOST_SAMPLES; B++) {
      omp_set_num_threads(threads);
      model m = {.fails_in = -1};
      tensor *x = samples_new(c, B);
      check(x, blocks_forward_samples(c, x, BLOCKS, step, &m));
      const int64_t share = B / threads, rest = B % threads;
      assert_int_equal(m.most_together, share == 0 ? B : share > rest ? share : rest);
      ctx_reset(c);
    }
  ctx_free(c);
}

/* Few tokens would only have the weights read more often. */
static void test_few_tokens_stay_together(void **state) {
  (void)state;
  ctx *c = ctx_new();
  model m = {.fails_in = -1};
  omp_set_num_threads(2);
  tensor *x = samples_new(c, 2), *few = tensor_window(c, x, 0, 3, (int64_t[]){4, 60, C});
  check(few, blocks_forward_samples(c, few, BLOCKS, step, &m));
  assert_int_equal(m.most_together, 4);
  ctx_free(c);
}

static void look(void *user, int block, const char *name, const tensor *t) {
  int *outs = user;
  assert_string_equal(name, "out");
  assert_int_equal(block, *outs);
  assert_int_equal(t->dim[0], 4);
  ++*outs;
}

static tensor *sum(ctx *c, tensor *x) {
  const int64_t n = tensor_count(x);
  tensor *ones = tensor_2d(c, DTYPE_F32, 1, n);
  for (int64_t i = 0; i < n; i++) f32(ones)[i] = 1;
  return linear(c, tensor_view(c, x, 2, (int64_t[]){1, n}), ones, NULL);
}

static void test_observed_and_recorded_samples_stay_together(void **state) {
  (void)state;
  ctx *c = ctx_new();
  model m = {.fails_in = -1};
  int outs = 0;
  omp_set_num_threads(2);
  tensor *x = samples_new(c, 4);
  c->observe = look;
  c->observer = &outs;
  check(x, blocks_forward_samples(c, x, BLOCKS, step, &m));
  assert_int_equal(outs, BLOCKS);
  c->observe = NULL;

  c->recording = true;
  x->needs_grad = true;
  tensor *y = blocks_forward_samples(c, x, BLOCKS, step, &m);
  check(x, y);
  assert_int_equal(m.most_together, 4);
  assert_int_equal(backward(c, sum(c, y)), STATUS_OK);
  for (int64_t i = 0; i < tensor_count(x); i++) assert_true(f32(x->grad)[i] == 1 << BLOCKS);
  ctx_free(c);
}

static void test_memory_does_not_grow_with_depth(void **state) {
  (void)state;
  size_t peak[2];
  for (int i = 0; i < 2; i++) {
    ctx *c = ctx_new();
    model m = {.fails_in = -1};
    omp_set_num_threads(2);
    tensor *x = samples_new(c, 4);
    assert_non_null(blocks_forward_samples(c, x, i ? 10 * BLOCKS : BLOCKS, step, &m));
    assert_int_equal(c->n_others, 1);
    peak[i] = arena_peak(c->memory) + arena_peak(c->other[0]->memory);
    ctx_free(c);
  }
  assert_int_equal(peak[0], peak[1]);
}

static void test_a_failure_of_any_thread_is_said(void **state) {
  (void)state;
  for (int64_t bad = 0; bad < 5; bad++) {
    ctx *c = ctx_new();
    model m = {.fails_in = 3};
    omp_set_num_threads(2);
    tensor *x = samples_new(c, 5);
    for (int64_t b = 0; b < 5; b++) f32(x)[b * T * C] = b == bad ? -1e6f : 1;
    assert_null(blocks_forward_samples(c, x, BLOCKS, step, &m));
    assert_int_equal(last_status(), STATUS_FORMAT);
    assert_string_equal(last_error(), "a sample below zero");
    m.fails_in = -1; /* and all is as before */
    check(x, blocks_forward_samples(c, x, BLOCKS, step, &m));
    ctx_free(c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_any_share),
      cmocka_unit_test(test_few_tokens_stay_together),
      cmocka_unit_test(test_observed_and_recorded_samples_stay_together),
      cmocka_unit_test(test_memory_does_not_grow_with_depth),
      cmocka_unit_test(test_a_failure_of_any_thread_is_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
