/* Perplexity and loss against position, against a plain computation (tests/support/plain_score.h), and what is refused.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/plain_score.h"
#include "tests/support/scratch.h"
#include "train/lm_eval.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- perplexity --------------------------------------------------------------------------------------------------- */

static const char *const documents[] = {"the cat sat\n\non the dog ", "x", "\302\240 abcab  ab", "the the the the the"};
enum { DOCUMENTS = 4 };
static const char document_lines[] = "{\"text\": \"the cat sat\\n\\non the dog \", \"source\": 1}\n"
                                     "\n  \r\n"
                                     "{\"text\": \"x\"}\r\n"
                                     "{\"text\": \"\"}\n"
                                     "{\"text\": \"\\u00a0 abcab  ab\"}\n"
                                     "{\"text\": \"the the the the the\"}";
static const size_t words[DOCUMENTS] = {7, 1, 3, 5}, bytes[DOCUMENTS] = {24, 1, 12, 19};

static lm_eval_options options_of(const subject *s, const char *path) {
  return (lm_eval_options){.model = &s->model, .data = path, .batch = 64};
}

static void test_perplexity_of_documents(void **state) {
  char *path = scratch_path(state, "texts");
  scratch_write(path, document_lines, sizeof document_lines - 1);
  subject s = subject_new(TINY_RWKV_6);
  for (int newline = 0; newline < 2; newline++) {
    double total[DOCUMENTS], size[DOCUMENTS], word[DOCUMENTS], each[MOST], one[MOST], nats = 0;
    size_t tokens = 0;
    for (int d = 0; d < DOCUMENTS; d++) {
      sentence t = {.ids = {0}, .n = 1};
      if (newline) t.ids[0] = '\n' + 1;
      say(&t, &s, documents[d]);
      nats += total[d] = cost(&t, &s, 1);
      size[d] = (double)bytes[d], word[d] = (double)words[d];
      for (size_t i = 1; i < t.n; i++) each[tokens] = t.nats[i], one[tokens++] = 1;
    }
    for (int b = 0; b < BATCHES; b++) {
      lm_perplexity_score score;
      lm_eval_options o = options_of(&s, path);
      o.newline = newline;
      o.batch = batches[b];
      assert_int_equal(lm_perplexity(&o, LM_DOCUMENTS, 0, &score), STATUS_OK);
      assert_int_equal(score.documents, DOCUMENTS);
      assert_int_equal(score.bytes, 24 + 1 + 12 + 19);
      assert_int_equal(score.words, 7 + 1 + 3 + 5);
      assert_int_equal(score.tokens, tokens);
      near("nats", score.nats, nats);
      near_estimate("a token", score.token, two_passes(each, one, tokens));
      near_estimate("a byte", score.byte, two_passes(total, size, DOCUMENTS));
      near_estimate("a word", score.word, two_passes(total, word, DOCUMENTS));
      near("perplexity", score.perplexity.value, exp(nats / (double)tokens));
      near("its error", score.perplexity.error, score.perplexity.value * score.token.error);
      near("bits a byte", score.bits_per_byte.value, nats / 56 / log(2));
      near("byte perplexity", score.byte_perplexity.value, exp(nats / 56));
      near("word perplexity", score.word_perplexity.value, exp(nats / 16));
    }
  }
  lm_perplexity_score first;
  lm_eval_options o = options_of(&s, path);
  o.limit = 2;
  assert_int_equal(lm_perplexity(&o, LM_DOCUMENTS, 0, &first), STATUS_OK);
  assert_int_equal(first.documents, 2);
  assert_int_equal(first.bytes, 25);
  subject_free(&s);
  free(path);
}

static void test_perplexity_of_one_text(void **state) {
  char *path = scratch_path(state, "text");
  const char text[] = "{ the cat\0 \377\376 is no JSON }\nthe dog";
  scratch_write(path, text, sizeof text - 1);
  subject s = subject_new(TINY_RWKV_6);
  sentence t = {.n = 1};
  t.n += tokenizer_encode(s.model.words, text, sizeof text - 1, t.ids + 1, MOST - 1);
  const lm_eval_options o = options_of(&s, path);
  lm_perplexity_score whole, stream;
  assert_int_equal(lm_perplexity(&o, LM_DOCUMENTS, 0, &whole), STATUS_OK);
  near("the text", whole.nats, cost(&t, &s, 1));
  assert_int_equal(whole.documents, 1);
  assert_int_equal(whole.bytes, sizeof text - 1);
  assert_true(isnan(whole.byte.error)); /* of one document nothing can be said */
  assert_int_equal(lm_perplexity(&o, LM_STREAM, 0, &stream), STATUS_OK);
  assert_true(stream.nats == whole.nats);
  subject_free(&s);
  free(path);
}

/* The documents with token 0 between them. */
static void say_stream(sentence *t, const subject *s) {
  for (int d = 0; d < DOCUMENTS; d++) {
    if (d) t->ids[t->n++] = 0;
    say(t, s, documents[d]);
  }
}

static void test_perplexity_of_a_stream(void **state) {
  char *path = scratch_path(state, "texts");
  scratch_write(path, document_lines, sizeof document_lines - 1);
  subject s = subject_new(TINY_RWKV_6);
  sentence t = {.n = 1};
  say_stream(&t, &s);
  const double nats = cost(&t, &s, 1);
  lm_perplexity_score score;
  lm_eval_options o = options_of(&s, path);
  assert_int_equal(lm_perplexity(&o, LM_STREAM, 0, &score), STATUS_OK);
  assert_int_equal(score.tokens, t.n - 1);
  near("a stream", score.nats, nats);
  near("bits a byte", score.bits_per_byte.value, nats / 56 / log(2));
  for (size_t window = 3; window <= 12; window++) {
    double sum = 0;
    size_t tokens = 0;
    const size_t first = window / 2;
    for (size_t at = 1; at + window <= t.n; at += window) {
      double nats_here[MOST];
      plain(&s, t.ids + at, window, nats_here, NULL);
      for (size_t i = first; i + 1 < window; i++, tokens++) sum += nats_here[i + 1];
    }
    assert_int_equal(lm_perplexity(&o, LM_WINDOWS, window, &score), STATUS_OK);
    assert_int_equal(score.tokens, tokens);
    near("windows", score.nats, sum);
    near("their perplexity", score.perplexity.value, exp(sum / (double)tokens));
    assert_true(isnan(score.byte.value) && isnan(score.word.value));
  }
  assert_int_equal(lm_perplexity(&o, LM_WINDOWS, t.n, &score), STATUS_ARGUMENT); /* more than there are */
  assert_int_equal(lm_perplexity(&o, LM_WINDOWS, t.n - 1, &score), STATUS_OK);
  assert_int_equal(lm_perplexity(&o, LM_WINDOWS, 2, &score), STATUS_ARGUMENT);
  subject_free(&s);
  free(path);
}

/* --- loss against position ---------------------------------------------------------------------------------------- */

/* Nats and tokens at positions [from, to) of rows that are kept one after the other, row r beginning at start[r]. */
static void check_positions(const lm_positions *item, size_t n, const double *nats, const size_t *start, size_t rows) {
  for (size_t i = 0; i < n; i++) {
    double sum[MOST], size[MOST];
    size_t units = 0;
    for (size_t r = 0; r < rows; r++) {
      sum[units] = size[units] = 0;
      for (size_t p = item[i].from; p < item[i].to && start[r] + p - 1 < start[r + 1]; p++) {
        sum[units] += nats[start[r] + p - 1];
        size[units]++;
      }
      units += size[units] > 0;
    }
    assert_int_equal(item[i].sum.units, units);
    const estimate got = ratio_of(&item[i].sum);
    if (units > 1) near_estimate("positions", got, two_passes(sum, size, units));
    if (units == 1) near("a text alone", got.value, sum[0] / size[0]);
  }
}

static void test_positions_of_documents(void **state) {
  char *path = scratch_path(state, "texts");
  scratch_write(path, document_lines, sizeof document_lines - 1);
  subject s = subject_new(TINY_RWKV_6);
  for (size_t most = 1; most < 20; most += 6) {
    double nats[MOST];
    size_t start[DOCUMENTS + 1] = {0}, n = 0;
    for (int d = 0; d < DOCUMENTS; d++) {
      sentence t = {.n = 1};
      say(&t, &s, documents[d]);
      cost(&t, &s, 1);
      for (size_t i = 1; i < t.n && i <= most; i++) nats[n++] = t.nats[i];
      start[d + 1] = n;
    }
    const lm_eval_options o = options_of(&s, path);
    lm_position_score score;
    assert_int_equal(lm_position_loss(&o, false, most, 5, &score), STATUS_OK);
    assert_int_equal(score.rows, DOCUMENTS);
    assert_int_equal(score.tokens, n);
    check_positions(score.bucket, score.n_buckets, nats, start, DOCUMENTS);
    check_positions(score.curve, score.n_points, nats, start, DOCUMENTS);
    lm_position_score_free(&score);
  }
  subject_free(&s);
  free(path);
}

static void test_positions_of_a_stream(void **state) {
  char *path = scratch_path(state, "texts");
  scratch_write(path, document_lines, sizeof document_lines - 1);
  subject s = subject_new(TINY_RWKV_6);
  const lm_eval_options o = options_of(&s, path);
  lm_position_score score;
  lm_perplexity_score whole;
  sentence t = {.n = 1};
  say_stream(&t, &s);
  assert_int_equal(lm_perplexity(&o, LM_STREAM, 0, &whole), STATUS_OK);
  assert_int_equal(lm_position_loss(&o, true, 1000, 7, &score), STATUS_OK);
  double nats = 0, tokens = 0;
  for (size_t i = 0; i < score.n_buckets; i++) {
    assert_int_equal(score.bucket[i].from, (size_t)1 << i);
    nats += score.bucket[i].sum.s;
    tokens += score.bucket[i].sum.n;
  }
  assert_true(score.bucket[score.n_buckets - 1].to > t.n - 1);
  assert_true(tokens == (double)whole.tokens);
  near("all buckets", nats, whole.nats);
  assert_int_equal(score.n_points, t.n - 1); /* at few positions, a point at each */
  for (size_t i = 0; i < score.n_points; i++) {
    const size_t at = i + 1, ends = t.n - 1 - at, half = i < 3 ? i : ends < 3 ? ends : 3;
    assert_int_equal(score.curve[i].from, at - half);
    assert_int_equal(score.curve[i].to, at + half + 1);
  }
  lm_position_score_free(&score);
  double cut[MOST]; /* and in parts, each read after the prefix */
  size_t start[MOST] = {0}, rows = 0;
  for (size_t at = 1; at < t.n; at += 9) {
    sentence part = {.n = 1};
    while (part.n <= 9 && at + part.n - 1 < t.n) part.ids[part.n] = t.ids[at + part.n - 1], part.n++;
    cost(&part, &s, 1);
    memcpy(cut + start[rows], part.nats + 1, (part.n - 1) * sizeof *cut);
    start[rows + 1] = start[rows] + part.n - 1;
    rows++;
  }
  assert_int_equal(lm_position_loss(&o, true, 9, 3, &score), STATUS_OK);
  assert_int_equal(score.rows, rows);
  check_positions(score.bucket, score.n_buckets, cut, start, rows);
  check_positions(score.curve, score.n_points, cut, start, rows);
  lm_position_score_free(&score);
  assert_int_equal(lm_position_loss(&o, true, 0, 3, &score), STATUS_ARGUMENT);
  lm_position_score_free(&score);
  subject_free(&s);
  free(path);
}

/* --- progress ----------------------------------------------------------------------------------------------------- */

static bool stop_soon(void *user, const lm_eval_progress *p) {
  *(lm_eval_progress *)user = *p;
  return p->done < 10;
}

static bool go_on(void *user, const lm_eval_progress *p) {
  *(lm_eval_progress *)user = *p;
  return true;
}

static void test_progress(void **state) {
  char *path = scratch_path(state, "texts.jsonl");
  scratch_write(path, document_lines, sizeof document_lines - 1);
  subject s = subject_new(TINY_RWKV_6);
  lm_eval_progress p = {0};
  lm_perplexity_score score;
  lm_eval_options o = options_of(&s, path);
  o.batch = 1;
  o.user = &p;
  o.progress = go_on;
  assert_int_equal(lm_perplexity(&o, LM_DOCUMENTS, 0, &score), STATUS_OK);
  assert_int_equal(p.done, p.all);
  assert_int_equal(p.all, score.tokens);
  o.progress = stop_soon;
  assert_int_equal(lm_perplexity(&o, LM_DOCUMENTS, 0, &score), STATUS_INTERRUPTED);
  assert_int_equal(p.done, 10);
  assert_non_null(strstr(last_error(), "10 of"));
  f32(s.model.lm.head)[5] = NAN;
  o.progress = NULL;
  assert_int_equal(lm_perplexity(&o, LM_DOCUMENTS, 0, &score), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "NaN"));
  subject_free(&s);
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_perplexity_of_documents, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_perplexity_of_one_text, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_perplexity_of_a_stream, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_positions_of_documents, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_positions_of_a_stream, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_progress, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
