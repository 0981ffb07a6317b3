/* The pipeline: everything is made once, handed over in order and whole, in no more rooms than there are; failures. */
#include "data/pipeline.h"

#include <omp.h>
#include <stdatomic.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MOST = 1000, ROOMS = 5 };

typedef struct {
  atomic_int owner[ROOMS]; /* 0: nobody; 1: is made; 2: is ready */
  atomic_int takers, makes, wrong, spent;
  size_t first[ROOMS], n[ROOMS];
  size_t rooms, next;          /* the item that is to be taken next */
  size_t fail_make, fail_take; /* the batch that holds this item */
} shop;

static void expect(shop *s, bool good) {
  if (!good) atomic_fetch_add(&s->wrong, 1); /* assertions may not leave a parallel region */
}

static bool holds(size_t first, size_t n, size_t item) { return item >= first && item - first < n; }

static status make(void *user, size_t room, size_t first, size_t n) {
  shop *s = user;
  int free_room = 0;
  expect(s, room < s->rooms && atomic_compare_exchange_strong(&s->owner[room], &free_room, 1));
  atomic_fetch_add(&s->makes, 1);
  for (size_t i = 0; i < first * 7919 % 2000; i++) atomic_fetch_add(&s->spent, 1); /* threads overtake each other */
  s->first[room] = first, s->n[room] = n;
  atomic_store(&s->owner[room], 2);
  return holds(first, n, s->fail_make) ? (fail)(STATUS_FORMAT, "item %zu is bad", s->fail_make) : STATUS_OK;
}

static status take(void *user, size_t room, size_t first, size_t n) {
  shop *s = user;
  expect(s, !atomic_fetch_add(&s->takers, 1));
  expect(s, first == s->next && s->first[room] == first && s->n[room] == n);
  s->next += n;
  atomic_fetch_sub(&s->takers, 1);
  expect(s, atomic_exchange(&s->owner[room], 0) == 2);
  return holds(first, n, s->fail_take) ? (fail)(STATUS_INTERRUPTED, "enough at %zu", s->fail_take) : STATUS_OK;
}

static status run(shop *s, size_t n, size_t batch, int threads) {
  const pipeline p = {s, make, take};
  return pipeline_run(&p, n, batch, s->rooms, threads);
}

static shop shop_new(size_t rooms) { return (shop){.rooms = rooms, .fail_make = SIZE_MAX, .fail_take = SIZE_MAX}; }

static void test_order(void **state) {
  (void)state;
  static const size_t sizes[][2] = {{0, 3}, {1, 3}, {3, 3}, {MOST, 1}, {MOST, 7}, {MOST, MOST}, {10, 1000}};
  for (int threads = 1; threads <= 4; threads++)
    for (size_t rooms = 1; rooms <= ROOMS; rooms += 2)
      for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        shop s = shop_new(rooms);
        assert_int_equal(run(&s, sizes[i][0], sizes[i][1], threads), STATUS_OK);
        assert_int_equal(s.next, sizes[i][0]);
        assert_int_equal(s.makes, (sizes[i][0] + sizes[i][1] - 1) / sizes[i][1]);
        assert_int_equal(s.wrong, 0);
      }
}

static void test_failures(void **state) {
  (void)state;
  for (int threads = 1; threads <= 4; threads++) {
    shop s = shop_new(3);
    s.fail_make = 500;
    assert_int_equal(run(&s, MOST, 4, threads), STATUS_FORMAT);
    assert_string_equal(last_error(), "item 500 is bad");
    assert_int_equal(s.wrong, 0);
    assert_true(s.next <= 500);
    s = shop_new(3);
    s.fail_take = 702;
    assert_int_equal(run(&s, MOST, 4, threads), STATUS_INTERRUPTED);
    assert_string_equal(last_error(), "enough at 702");
    assert_int_equal(s.wrong, 0);
    assert_int_equal(s.next, 704);
  }
}

typedef struct {
  atomic_int inside, taken; /* threads that a loop within gets; batches */
} teams;

static status count_make(void *user, size_t room, size_t first, size_t n) {
  (void)room, (void)first, (void)n;
  int threads = 0;
#pragma omp parallel
#pragma omp single
  threads = omp_get_num_threads();
  ((teams *)user)->inside = threads;
  return STATUS_OK;
}
static status count_take(void *user, size_t room, size_t first, size_t n) {
  (void)room, (void)first, (void)n;
  ((teams *)user)->taken++;
  return STATUS_OK;
}

/* One thread alone leaves the others to the loops of what it calls. */
static void test_alone(void **state) {
  (void)state;
  omp_set_num_threads(3);
  teams t = {0};
  const pipeline p = {&t, count_make, count_take};
  assert_int_equal(pipeline_run(&p, 4, 2, 2, 1), STATUS_OK);
  assert_true(t.inside == 3 && t.taken == 2);
  assert_int_equal(pipeline_run(&p, 4, 2, 2, 2), STATUS_OK);
  assert_int_equal(t.inside, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order),
      cmocka_unit_test(test_failures),
      cmocka_unit_test(test_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
