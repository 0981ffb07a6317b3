/* Rows of tokens scored in batches against a plain computation (tests/support/plain_score.h). */
#include "linnet.h"
#include "tests/support/plain_score.h"
#include "train/lm_score.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { ROWS = 7 };
static const size_t row_prefix[ROWS] = {1, 0, 2, 1, 0, 1, 1}, row_n[ROWS] = {9, 1, 40, 1, 620, 0, 260},
                    row_first[ROWS] = {0, 1, 5, 0, 300, 0, 0};

static void check_rows(const subject *s, int32_t ids[ROWS][MOST], double nats[ROWS][MOST], bool best[ROWS][MOST],
                       int batch) {
  float got[ROWS][MOST];
  bool likeliest[ROWS][MOST];
  lm_row row[ROWS];
  size_t reads = 0;
  for (int r = 0; r < ROWS; r++) {
    row[r] = (lm_row){.prefix = ids[r],
                      .n_prefix = row_prefix[r],
                      .ids = ids[r] + row_prefix[r],
                      .n = row_n[r],
                      .first = row_first[r],
                      .nats = got[r],
                      .likeliest = r % 2 ? NULL : likeliest[r]};
    reads += lm_row_reads(&row[r]);
  }
  assert_int_equal(reads, 9 + 0 + 41 + 1 + 619 + 0 + 260);
  const lm_scorer scorer = {.model = &s->model.lm, .c = s->c, .batch = batch};
  assert_int_equal(lm_score(&scorer, row, ROWS), STATUS_OK);
  for (int r = 0; r < ROWS; r++)
    for (size_t i = row_first[r]; i < row_n[r]; i++) {
      near("a token", (double)got[r][i - row_first[r]], nats[r][row_prefix[r] + i]);
      if (r % 2 == 0) assert_int_equal(likeliest[r][i - row_first[r]], best[r][row_prefix[r] + i]);
    }
}

/* Rows of all lengths, prefixes and first tokens, in batches of any size, by any number of threads. */
static void test_rows(void **state) {
  (void)state;
  static const int forms[] = {0, 3, TINY_RWKV_6, TINY_RWKV_7};
  static int32_t ids[ROWS][MOST];
  static double nats[ROWS][MOST];
  static bool best[ROWS][MOST];
  for (int f = 0; f < 4; f++) {
    subject s = subject_new(forms[f]);
    rng g = rng_make(8, (uint64_t)f);
    int hits = 0;
    for (int r = 0; r < ROWS; r++) {
      const size_t n = row_prefix[r] + row_n[r];
      for (size_t i = 0; i < n; i++) ids[r][i] = (int32_t)rng_below(&g, VOCABULARY);
      plain(&s, ids[r], n, nats[r], best[r]);
      for (size_t i = 1; i < n; i++) hits += best[r][i];
    }
    assert_true(hits > 0);
    for (int b = 0; b < BATCHES; b++) check_rows(&s, ids, nats, best, batches[b]);
    for (int threads = 1; threads <= 3; threads += 2) {
      linnet_set_threads(threads);
      check_rows(&s, ids, nats, best, 64);
    }
    linnet_set_threads(0);
    subject_free(&s);
  }
}

/* A text that is read in two parts costs what it costs in one, wherever it is parted. */
static void test_parted_rows(void **state) {
  (void)state;
  enum { N = 30, PARTS = 6 };
  static const size_t part[PARTS] = {0, 1, 2, 15, 28, 29}; /* the last token of the first part */
  subject s = subject_new(TINY_RWKV_7);
  int32_t ids[N];
  double nats[N];
  for (int i = 0; i < N; i++) ids[i] = (i * 37 + 5) % VOCABULARY;
  plain(&s, ids, N, nats, NULL);
  for (int b = 0; b < BATCHES; b++) {
    rwkv_state middle;
    float got[PARTS][N];
    lm_row row[PARTS];
    const lm_scorer scorer = {.model = &s.model.lm, .c = s.c, .batch = batches[b]};
    assert_int_equal(rwkv_state_new(&middle, &s.model.lm.config, PARTS), STATUS_OK);
    for (int p = 0; p < PARTS; p++)
      row[p] = (lm_row){
          .prefix = ids, .n_prefix = 1, .ids = ids + 1, .n = part[p], .first = part[p], .to = &middle, .to_row = p};
    assert_int_equal(lm_score(&scorer, row, PARTS), STATUS_OK);
    for (int p = 0; p < PARTS; p++)
      row[p] = (lm_row){.ids = ids + part[p],
                        .n = N - part[p],
                        .first = 1,
                        .nats = got[p] + part[p] + 1,
                        .from = &middle,
                        .from_row = p};
    assert_int_equal(lm_score(&scorer, row, PARTS), STATUS_OK);
    for (int p = 0; p < PARTS; p++)
      for (size_t i = part[p] + 1; i < N; i++) near("a token after a break", (double)got[p][i], nats[i]);
    rwkv_state_free(&middle);
  }
  subject_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows),
      cmocka_unit_test(test_parted_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
