#include "tests/support/gradcheck.h"

#include "tests/support/kernel_check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A gradient may be a sum that cancels: errors count against this size at least (kernel_check.h). */
static const double floor_size = 1e-2;
static const double step = 1e-5, prefill = 0.75;

int check_dims(const check_input *in) {
  int n = 0;
  while (n < TENSOR_DIMS && in->dim[n]) n++;
  return n;
}

size_t check_count(const check_input *in) {
  size_t n = 1;
  for (int i = 0; i < check_dims(in); i++) n *= (size_t)in->dim[i];
  return n;
}

size_t check_last(const check_input *in) { return (size_t)in->dim[check_dims(in) - 1]; }
size_t check_rows(const check_input *in) { return check_count(in) / check_last(in); }

/* --- a loss ------------------------------------------------------------------------------------------------------- */

typedef struct {
  tensor *y, *loss;
  const float *gy;
} sum_record;

static void sum_backward(ctx *c, void *saved) {
  const sum_record *s = saved;
  const float *up = grad_of(s->loss);
  bool acc;
  float *g = up ? grad_target(c, s->y, &acc) : NULL;
  for (int64_t i = 0; g && i < tensor_count(s->y); i++) g[i] = (acc ? g[i] : 0) + *up * s->gy[i];
}

tensor *weighted_sum(ctx *c, tensor *y, const float *gy) {
  sum_record s = {y, y ? tensor_1d(c, DTYPE_F32, 1) : NULL, gy};
  if (!s.loss) return NULL;
  double sum = 0;
  for (int64_t i = 0; i < tensor_count(y); i++) sum += (double)f32(y)[i] * (double)gy[i];
  f32(s.loss)[0] = (float)sum;
  return track(c, s.loss, y->needs_grad, sum_backward, &s, sizeof s);
}

tensor *random_tensor(ctx *c, int n_dims, const int64_t *dim, uint64_t seed, bool needs_grad) {
  tensor *t = tensor_new(c, DTYPE_F32, n_dims, dim);
  assert_non_null(t);
  rng g = rng_make(seed, 7);
  for (int64_t i = 0; i < tensor_count(t); i++) f32(t)[i] = rng_range(&g, -1, 1);
  t->needs_grad = needs_grad;
  return t;
}

void check_same(const char *what, const tensor *got, const tensor *want) {
  size_t n = (size_t)tensor_count(want);
  double *w = zeros64(n);
  assert_int_equal(tensor_count(got), n);
  for (size_t i = 0; i < n; i++) w[i] = (double)f32(want)[i];
  check_l2(what, f32(got), w, n, 1e-6, 0.1);
  free(w);
}

/* --- one case ----------------------------------------------------------------------------------------------------- */

typedef struct {
  const gradcheck_case *k;
  ctx *c;
  double *in[CHECK_INPUTS];       /* f32 values, widened */
  double *gradient[CHECK_INPUTS]; /* by differences */
  size_t n_out[CHECK_OUTPUTS];
  double *out[CHECK_OUTPUTS];
  float *gy[CHECK_OUTPUTS];
} check;

static void draw(const check_input *spec, uint64_t seed, double *x) {
  double low = spec->low, high = spec->high;
  if (low == 0 && high == 0) low = -1, high = 1;
  rng g = rng_make(seed, 1);
  for (size_t i = 0; i < check_count(spec); i++) {
    double v = low + (high - low) * (double)rng_uniform(&g);
    if (fabs(v) < spec->margin) v = v < 0 ? -spec->margin : spec->margin;
    x[i] = (double)(float)v;
  }
}

/* The inputs as tensors; bit i of `wanted` gives input i a gradient, of `filled` a gradient that holds something. */
static void place(const check *s, unsigned wanted, unsigned filled, tensor *in[]) {
  for (int i = 0; i < s->k->n_in; i++) {
    const check_input *spec = &s->k->in[i];
    in[i] = tensor_new(s->c, DTYPE_F32, check_dims(spec), spec->dim);
    assert_non_null(in[i]);
    for (size_t e = 0; e < check_count(spec); e++) f32(in[i])[e] = (float)s->in[i][e];
    in[i]->needs_grad = !spec->constant && (wanted >> i & 1);
    if (!in[i]->needs_grad || !(filled >> i & 1)) continue;
    assert_non_null(in[i]->grad = tensor_like(s->c, in[i]));
    for (size_t e = 0; e < check_count(spec); e++) f32(in[i]->grad)[e] = (float)prefill;
  }
}

static void check_forward(check *s) {
  tensor *in[CHECK_INPUTS], *out[CHECK_OUTPUTS] = {0};
  place(s, 0, 0, in);
  s->c->recording = false;
  s->k->run(s->c, s->k, in, out);
  for (int o = 0; o < s->k->n_out; o++) {
    if (!out[o]) fail_msg("%s: no output %d: %s", s->k->name, o, last_error());
    s->n_out[o] = (size_t)tensor_count(out[o]);
    s->out[o] = zeros64(s->n_out[o]);
    assert_non_null(s->gy[o] = malloc(s->n_out[o] * sizeof(float)));
    rng g = rng_make(99, (uint64_t)o);
    for (size_t e = 0; e < s->n_out[o]; e++) s->gy[o][e] = rng_range(&g, -1, 1);
  }
  s->k->define(s->k, s->in, s->out);
  for (int o = 0; o < s->k->n_out; o++) {
    double tolerance = s->k->forward_tolerance > 0 ? s->k->forward_tolerance : 1e-5;
    check_l2(s->k->name, f32(out[o]), s->out[o], s->n_out[o], tolerance, floor_size);
  }
  assert_int_equal(s->c->n_tape, 0);
}

static double loss_of(const check *s) {
  for (int o = 0; o < s->k->n_out; o++) memset(s->out[o], 0, s->n_out[o] * sizeof(double));
  s->k->define(s->k, s->in, s->out);
  double sum = 0;
  for (int o = 0; o < s->k->n_out; o++)
    for (size_t e = 0; e < s->n_out[o]; e++) sum += s->out[o][e] * (double)s->gy[o][e];
  return sum;
}

static void differences(check *s) {
  for (int i = 0; i < s->k->n_in; i++) {
    size_t n = check_count(&s->k->in[i]);
    s->gradient[i] = zeros64(n);
    for (size_t e = 0; e < n && !s->k->in[i].constant; e++) {
      double x = s->in[i][e];
      s->in[i][e] = x + step;
      double above = loss_of(s);
      s->in[i][e] = x - step;
      double below = loss_of(s);
      s->in[i][e] = x;
      s->gradient[i][e] = (above - below) / (2 * step);
    }
  }
}

static void check_backward(check *s, unsigned wanted, unsigned filled) {
  tensor *in[CHECK_INPUTS], *out[CHECK_OUTPUTS] = {0}, *loss = NULL;
  ctx_reset(s->c);
  place(s, wanted, filled, in);
  s->c->recording = true;
  s->k->run(s->c, s->k, in, out);
  for (int o = 0; o < s->k->n_out; o++) {
    tensor *part = weighted_sum(s->c, out[o], s->gy[o]);
    loss = loss ? add(s->c, loss, part) : part;
  }
  assert_non_null(loss);
  assert_int_equal(backward(s->c, loss), STATUS_OK);
  assert_int_equal(s->c->n_tape, 0);
  for (int i = 0; i < s->k->n_in; i++) {
    if (!in[i]->needs_grad) {
      assert_null(in[i]->grad);
      continue;
    }
    char what[160];
    snprintf(what, sizeof what, "%s: gradient of input %d (wanted %x, held something %x)", s->k->name, i, wanted,
             filled);
    if (!in[i]->grad) fail_msg("%s: none", what);
    size_t n = check_count(&s->k->in[i]);
    double *want = zeros64(n);
    for (size_t e = 0; e < n; e++) want[e] = s->gradient[i][e] + (filled >> i & 1 ? prefill : 0);
    double tolerance = s->k->gradient_tolerance > 0 ? s->k->gradient_tolerance : 1e-4;
    check_l2(what, f32(in[i]->grad), want, n, tolerance, floor_size);
    free(want);
  }
}

void gradcheck(const gradcheck_case *k) {
  check s = {.k = k, .c = ctx_new()};
  if (!s.c) fail_msg("%s", last_error());
  for (int i = 0; i < k->n_in; i++) {
    s.in[i] = zeros64(check_count(&k->in[i]));
    draw(&k->in[i], (uint64_t)i + 1, s.in[i]);
  }
  check_forward(&s);
  differences(&s);
  const unsigned all = ~0u, even = 0x55555555u;
  check_backward(&s, all, 0);
  check_backward(&s, all, all);
  check_backward(&s, all, even);
  check_backward(&s, all, ~even);
  for (int i = 0; i < k->n_in; i++)
    if (!k->in[i].constant) check_backward(&s, 1u << i, 0);
  for (int i = 0; i < k->n_in; i++) free(s.in[i]), free(s.gradient[i]);
  for (int o = 0; o < k->n_out; o++) free(s.out[o]), free(s.gy[o]);
  ctx_free(s.c);
}
