/* Products within heads, against their definitions and differences. */
#include <math.h>
#include <string.h>

#include "tests/support/gradcheck.h"
#include "tests/support/kernel_check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int heads_of(const gradcheck_case *k) { return *(const int *)k->arg; }

static void run_unit(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = l2_normalise(c, in[0], in[1], heads_of(k));
}

static void define_unit(const gradcheck_case *k, double *const in[], double *const out[]) {
  const size_t C = check_last(&k->in[0]), N = C / (size_t)heads_of(k);
  for (size_t head = 0; head < check_count(&k->in[0]); head += N) {
    double sum = 0;
    for (size_t i = head; i < head + N; i++) sum += pow(in[0][i] * in[1][i % C], 2);
    for (size_t i = head; i < head + N; i++) out[0][i] = in[0][i] * in[1][i % C] / fmax(sqrt(sum), 1e-12);
  }
}

static void test_unit_length(void **state) {
  (void)state;
  static const int heads[] = {1, 3, 7, 21};
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
    gradcheck(&(gradcheck_case){.name = "l2_normalise",
                                .n_in = 2,
                                .n_out = 1,
                                .in = {{.dim = {2, 5, 42}, .margin = 0.2}, {.dim = {42}, .margin = 0.2}},
                                .arg = &heads[i],
                                .run = run_unit,
                                .define = define_unit});
}

/* A head of zeros stays zeros, and its gradient finite. */
static void test_no_length(void **state) {
  (void)state;
  enum { C = 6 };
  ctx *c = ctx_new();
  assert_non_null(c);
  tensor *x = random_tensor(c, 2, (int64_t[]){2, C}, 1, true), *w = random_tensor(c, 1, (int64_t[]){C}, 2, true);
  memset(x->data, 0, 3 * sizeof(float));
  c->recording = true;
  tensor *y = l2_normalise(c, x, w, 2);
  float gy[2 * C] = {0};
  for (int i = 3; i < 2 * C; i++) gy[i] = 1;
  tensor *loss = weighted_sum(c, y, gy);
  assert_int_equal(backward(c, loss), STATUS_OK);
  for (int i = 0; i < 3; i++) assert_true(f32(y)[i] == 0 && f32(x->grad)[i] == 0);
  for (int i = 0; i < 2 * C; i++) assert_true(isfinite(f32(y)[i]) && isfinite(f32(x->grad)[i]));
  assert_null(l2_normalise(c, NULL, w, 2));
  ctx_free(c);
}

static void run_bonus(ctx *c, const gradcheck_case *k, tensor *const in[], tensor *out[]) {
  out[0] = head_bonus(c, in[0], in[1], in[2], in[3], heads_of(k));
}

static void define_bonus(const gradcheck_case *k, double *const in[], double *const out[]) {
  const size_t C = check_last(&k->in[0]), N = C / (size_t)heads_of(k);
  for (size_t head = 0; head < check_count(&k->in[0]); head += N) {
    double sum = 0;
    for (size_t i = head; i < head + N; i++) sum += in[0][i] * in[1][i] * in[2][i % C];
    for (size_t i = head; i < head + N; i++) out[0][i] = sum * in[3][i];
  }
}

static void test_bonus(void **state) {
  (void)state;
  static const int heads[] = {1, 2, 5, 30};
  const check_input x = {.dim = {3, 4, 30}};
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
    gradcheck(&(gradcheck_case){.name = "head_bonus",
                                .n_in = 4,
                                .n_out = 1,
                                .in = {x, x, {.dim = {heads[i], 30 / heads[i]}}, x},
                                .arg = &heads[i],
                                .run = run_bonus,
                                .define = define_bonus});
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unit_length),
      cmocka_unit_test(test_no_length),
      cmocka_unit_test(test_bonus),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
