/* Learning-rate schedules against their formulas (spec operators 6.4, language-models 5.3). */
#include "train/schedule.h"

#include <math.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void near(double got, double want) {
  if (!(fabs(got - want) <= 1e-12)) fail_msg("%.15g instead of %.15g", got, want);
}

static void test_cosine(void **state) {
  (void)state;
  near(schedule_cosine(0, 10, 110, 2, 1), 0.2); /* the first step learns already */
  near(schedule_cosine(4, 10, 110, 2, 1), 1);
  near(schedule_cosine(9, 10, 110, 2, 1), 2);
  near(schedule_cosine(10, 10, 110, 2, 1), 2);
  near(schedule_cosine(60, 10, 110, 2, 1), 1.5);
  near(schedule_cosine(35, 10, 110, 2, 1), 1.5 + 0.5 * sqrt(0.5));
  near(schedule_cosine(110, 10, 110, 2, 1), 1);
  near(schedule_cosine(100000, 10, 110, 2, 1), 1);
  near(schedule_cosine(0, 0, 4, 3, 0), 3); /* no warm-up */
  near(schedule_cosine(2, 0, 4, 3, 0), 1.5);
  near(schedule_cosine(3, 8, 5, 1, 0), 0.5); /* warm-up longer than the run */
  near(schedule_cosine(8, 8, 5, 1, 0), 1);
  for (int step = 10; step < 110; step++)
    assert_true(schedule_cosine(step + 1, 10, 110, 2, 1) < schedule_cosine(step, 10, 110, 2, 1));
}

static const rwkv_schedule plan = {
    .first = 6e-4, .last = 1e-5, .warmup = 4, .warmup_from = 0.01, .steps = 100, .step_tokens = 512};

/* Without a number of tokens: from the end of the warm-up every step multiplies by the same. */
static void test_exponential(void **state) {
  (void)state;
  near(schedule_rwkv(&plan, 3, -1000), 6e-4);
  near(schedule_rwkv(&plan, 99, -1000), 1e-5);
  near(schedule_rwkv(&plan, 5000, -1000), 1e-5);
  for (int step = 4; step < 98; step++)
    near(schedule_rwkv(&plan, step + 1, -1000) / schedule_rwkv(&plan, step, -1000), pow(1e-5 / 6e-4, 1.0 / 96));
  rwkv_schedule to_zero = plan; /* which no factor reaches: a line */
  to_zero.last = 0;
  near(schedule_rwkv(&to_zero, 51, -1000), 3e-4);
  near(schedule_rwkv(&to_zero, 99, -1000), 0);
}

static void test_tokens(void **state) {
  (void)state;
  rwkv_schedule s = plan;
  s.exit_tokens = 104 * 512;
  near(schedule_rwkv(&s, 4, -1000), 6e-4);
  near(schedule_rwkv(&s, 54, -1000), (6e-4 + 1e-5) / 2);
  near(schedule_rwkv(&s, 29, -1000), (6e-4 + 1e-5) / 2 + (6e-4 - 1e-5) / 2 * sqrt(0.5));
  near(schedule_rwkv(&s, 104, -1000), 1e-5);
  near(schedule_rwkv(&s, 1000, -1000), 1e-5);
  const double cosine = schedule_rwkv(&s, 40, -1000), falling = schedule_rwkv(&plan, 40, -1000);
  s.exit_tokens *= -1;
  near(schedule_rwkv(&s, 40, -1000), (cosine + falling) / 2);
}

/* The warm-up is of a launch, not of the run. */
static void test_warmup(void **state) {
  (void)state;
  const double share[] = {0.01, 0.2575, 0.505, 0.7525, 1, 1};
  for (int launch = 0; launch < 60; launch += 50)
    for (int step = 0; step < 6; step++)
      near(schedule_rwkv(&plan, launch + step, launch), share[step] * schedule_rwkv(&plan, launch + step, -1000));
  rwkv_schedule none = plan;
  none.warmup = 0;
  near(schedule_rwkv(&none, 0, 0), schedule_rwkv(&none, 0, -1000));
}

/* Up until a tenth of the steps, down to nearly nothing at the last, beta1 the other way. */
static void test_one_cycle(void **state) {
  (void)state;
  enum { STEPS = 100, TURN = 9 };
  near(schedule_one_cycle(0, STEPS, 1e-3).rate, 4e-5);
  near(schedule_one_cycle(0, STEPS, 1e-3).beta1, 0.95);
  near(schedule_one_cycle(TURN, STEPS, 1e-3).rate, 1e-3);
  near(schedule_one_cycle(TURN, STEPS, 1e-3).beta1, 0.85);
  near(schedule_one_cycle(TURN + 45, STEPS, 1e-3).rate, (1e-3 + 4e-9) / 2);
  near(schedule_one_cycle(TURN + 45, STEPS, 1e-3).beta1, 0.9);
  near(schedule_one_cycle(STEPS - 1, STEPS, 1e-3).rate, 4e-9);
  near(schedule_one_cycle(STEPS - 1, STEPS, 1e-3).beta1, 0.95);
  for (int step = 0; step < STEPS - 1; step++) {
    const one_cycle a = schedule_one_cycle(step, STEPS, 1), b = schedule_one_cycle(step + 1, STEPS, 1);
    assert_true(step < TURN ? b.rate > a.rate && b.beta1 < a.beta1 : b.rate < a.rate && b.beta1 > a.beta1);
  }
  near(schedule_one_cycle(0, 1, 1).rate, 1.0 / 25 / 1e4); /* nothing is divided by zero */
  near(schedule_one_cycle(0, 10, 1).rate, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cosine), cmocka_unit_test(test_exponential), cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_warmup), cmocka_unit_test(test_one_cycle),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
