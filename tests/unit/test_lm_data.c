/* Text for language models: documents of every kind of file, rows in random order, streams, rows for scoring. */
#include "train/lm_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/lm_run.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char last_text[] = "\303\274ber\0 \360\237\220\246";

static void test_documents(void **state) {
  lm_place p = lm_place_new(state, "a");
  char *vocabulary, *back;
  tokenizer *words = lm_words_of(p.train, 270, &vocabulary);
  assert_int_equal(tokenizer_size(words), 270);
  lm_text t = {0};
  assert_int_equal(lm_text_read(&t, p.train, words), STATUS_OK);
  assert_int_equal(t.documents, 3); /* without the empty one */
  assert_int_equal(t.bytes, 47 + 58 + sizeof last_text - 1);
  assert_int_equal(t.ids[t.n - 1], 0);
  size_t last = t.n - 1, size, ends = 0;
  while (t.ids[last - 1]) last--;
  assert_int_equal(tokenizer_decode(words, t.ids + last, t.n - 1 - last, &back, &size), STATUS_OK);
  assert_int_equal(size, sizeof last_text - 1);
  assert_memory_equal(back, last_text, size);
  for (size_t i = 0; i < t.n; i++) ends += t.ids[i] == 0;
  assert_int_equal(ends, 3);
  assert_true(t.n < t.bytes);                       /* words are tokens */
  const double bits = lm_bits_per_byte(&t, log(2)); /* a bit a token */
  assert_true(fabs(bits - (double)t.n / (double)t.bytes) < 1e-12);
  free(back), free(vocabulary);
  lm_text_free(&t);
  tokenizer_free(words);
  lm_place_free(&p);
}

static lm_text read_text(const char *path, const tokenizer *words) {
  lm_text t = {0};
  if (lm_text_read(&t, path, words)) fail_msg("%s", last_error());
  return t;
}

static char *decoded(const tokenizer *words, const lm_text *t, size_t *n) {
  char *back;
  assert_int_equal(tokenizer_decode(words, t->ids, t->n, &back, n), STATUS_OK); /* ends have no bytes */
  return back;
}

/* Files of any bytes are one document; in a folder without train.jsonl, every *.txt but validation.txt. */
static void test_plain_texts(void **state) {
  static const char bytes[] = "{ no JSON }\n\377\0\300\nend", story[] = "Once upon a time.\n\nThe end.";
  lm_place p = lm_place_new(state, "a");
  char *vocabulary, *validation, *texts[4], *back;
  size_t n;
  static const char *const names[4] = {"texts/10.txt", "texts/9.txt", "texts/validation.txt", "texts/notes.md"};
  for (int i = 0; i < 4; i++) texts[i] = scratch_path(state, names[i]);
  scratch_write(texts[0], story, sizeof story - 1);
  scratch_write(texts[1], bytes, sizeof bytes - 1);
  scratch_write(texts[2], "later", 5);
  scratch_write(texts[3], lm_rhyme, strlen(lm_rhyme));
  tokenizer *words = lm_words_of(texts[1], 300, &vocabulary);
  lm_text t = read_text(texts[1], words);
  assert_int_equal(t.documents, 1);
  assert_int_equal(t.bytes, sizeof bytes - 1);
  back = decoded(words, &t, &n);
  assert_int_equal(n, sizeof bytes - 1);
  assert_memory_equal(back, bytes, n);
  free(back), lm_text_free(&t);

  t = read_text(texts[3], words); /* the first line tells that it is lines of JSON */
  assert_int_equal(t.documents, 3);
  lm_text_free(&t);

  t = read_text(p.data, words); /* train.jsonl goes first */
  assert_int_equal(t.documents, 3);
  lm_text_free(&t);
  assert_int_equal(lm_validation_file(p.data, &validation), STATUS_OK);
  assert_null(validation);

  unlink(p.train);
  t = read_text(p.data, words);
  assert_int_equal(t.documents, 2);
  back = decoded(words, &t, &n);
  assert_int_equal(n, sizeof story - 1 + sizeof bytes - 1);
  assert_memory_equal(back, story, sizeof story - 1); /* "1" comes before "9" */
  assert_memory_equal(back + sizeof story - 1, bytes, sizeof bytes - 1);
  free(back), lm_text_free(&t);
  assert_int_equal(lm_validation_file(p.data, &validation), STATUS_OK);
  assert_string_equal(validation, texts[2]);
  free(validation);
  assert_int_equal(lm_validation_file(texts[1], &validation), STATUS_OK);
  assert_null(validation);

  lm_train_options o = lm_small_options(&p);
  o.run.steps = 1;
  lm_train_to(&o, STATUS_OK);
  for (int i = 0; i < 4; i++) unlink(texts[i]), free(texts[i]);
  tokenizer_free(words);
  free(vocabulary);
  lm_place_free(&p);
}

/* A text whose ids are their own places. */
static lm_text counting(int32_t *ids, int n) {
  for (int i = 0; i < n; i++) ids[i] = i;
  return (lm_text){.ids = ids, .n = (size_t)n, .documents = 1, .bytes = (size_t)n};
}

static void test_rows(void **state) {
  (void)state;
  enum { N = 103, T = 10, ROWS = 10, ROUNDS = 4 };
  int32_t places[N], ids[ROUNDS * ROWS * T], next[ROUNDS * ROWS * T], again[3 * T], follow[3 * T];
  const lm_text t = counting(places, N);
  lm_rows r;
  assert_int_equal(lm_rows_new(&r, &t, T, 7), STATUS_OK);
  assert_int_equal(r.n, ROWS);
  lm_rows_make(&r, 0, ROUNDS * ROWS, ids, next);
  bool in_order = true, alike = true;
  for (int i = 0; i < ROUNDS * ROWS * T; i++) {
    assert_int_equal(next[i], (ids[i] + 1) % N);
    if (i % T) assert_int_equal(ids[i], next[i - 1]);
    if (i % T == 0 && i && i < ROWS * T && ids[i] != next[i - 1]) in_order = false;
    if (i >= ROWS * T && ids[i] != ids[i - ROWS * T]) alike = false;
  }
  assert_false(in_order);
  assert_false(alike);
  for (int round = 0; round < ROUNDS; round++) { /* no token twice in a round */
    int seen[N] = {0};
    for (int i = 0; i < ROWS * T; i++) assert_int_equal(seen[ids[round * ROWS * T + i]]++, 0);
  }
  lm_rows_make(&r, 9, 3, again, follow); /* going back, over the border of two rounds */
  assert_memory_equal(again, ids + 9 * T, sizeof again);
  lm_rows_free(&r);
  assert_int_equal(lm_rows_new(&r, &t, T, 8), STATUS_OK);
  lm_rows_make(&r, 9, 3, again, follow);
  assert_memory_not_equal(again, ids + 9 * T, sizeof again);
  lm_rows_free(&r);
  const lm_text small = counting(places, 3); /* shorter than a row: it repeats */
  assert_int_equal(lm_rows_new(&r, &small, T, 8), STATUS_OK);
  lm_rows_make(&r, 1000, 1, ids, next);
  for (int i = 1; i < T; i++) assert_int_equal(ids[i], (ids[i - 1] + 1) % 3);
  lm_rows_free(&r);
}

static void test_streams(void **state) {
  (void)state;
  enum { N = 103, T = 10, ROWS = 3, STEPS = 40 };
  int32_t places[N], ids[ROWS * T], next[ROWS * T], other[ROWS * T], follow[ROWS], seen[ROWS][N] = {{0}};
  const lm_text t = counting(places, N);
  for (int step = 0; step < STEPS; step++) {
    lm_streams_make(&t, 7, (uint64_t)step, ROWS, T, ids, next);
    for (int i = 0; i < ROWS * T; i++) {
      assert_int_equal(next[i], (ids[i] + 1) % N);
      if (i % T) assert_int_equal(ids[i], next[i - 1]);
      if (i % T == 0 && step) assert_int_equal(ids[i], follow[i / T]);
      seen[i / T][ids[i]]++;
    }
    for (int b = 0; b < ROWS; b++) follow[b] = next[b * T + T - 1];
    if (step == 0)
      for (int b = 1; b < ROWS; b++) assert_int_equal((ids[b * T] - ids[(b - 1) * T] + N) % N, N / ROWS);
  }
  for (int b = 0; b < ROWS; b++) /* every stream goes around the whole text */
    for (int i = 0; i < N; i++) assert_true(seen[b][i] >= STEPS * T / N);
  lm_streams_make(&t, 8, STEPS - 1, ROWS, T, other, next);
  assert_memory_not_equal(other, ids, sizeof ids);
}

static void test_rows_in_order(void **state) {
  (void)state;
  enum { N = 23, T = 10 };
  int32_t places[N], ids[T], next[T];
  const lm_text t = counting(places, N);
  for (int row = 0, at = 0; row < 4; row++) {
    const int n = lm_text_row(&t, T, (size_t)row, ids, next);
    assert_int_equal(n, row < 2 ? T : row == 2 ? 3 : 0);
    for (int i = 0; i < n; i++, at++) {
      assert_int_equal(next[i], at);
      assert_int_equal(ids[i], at ? at - 1 : 0);
    }
    for (int i = n; i < T; i++) assert_true(ids[i] == 0 && next[i] == 0);
  }
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_documents), IN_SCRATCH(test_plain_texts),   IN_SCRATCH(test_rows),
      IN_SCRATCH(test_streams),   IN_SCRATCH(test_rows_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
