#include "tests/support/plain_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

const int batches[BATCHES] = {1, 3, 50, 300, 4096};
const char *const pieces[PIECES] = {" cat", " dog", "the", "ab", "abc", " x", "\n\n", "dog"};

subject subject_new(int form) {
  subject s = {0};
  rwkv_config config = tiny_rwkv_forms[form].config;
  config.vocab_size = VOCABULARY + 3; /* wider than the vocabulary */
  tiny_rwkv_new(&s.tiny, &config, 31);
  for (int64_t i = 0; i < tensor_count(s.tiny.lm.head); i++) f32(s.tiny.lm.head)[i] *= 3; /* far from uniform */
  vocabulary_entry entry[VOCABULARY - 1];
  char bytes[BYTES], *text;
  size_t n;
  for (int i = 0; i < BYTES; i++) {
    bytes[i] = (char)i;
    entry[i] = (vocabulary_entry){bytes + i, 1};
  }
  for (int i = 0; i < PIECES; i++) entry[BYTES + i] = (vocabulary_entry){pieces[i], strlen(pieces[i])};
  assert_int_equal(vocabulary_text(entry, VOCABULARY - 1, &text, &n), STATUS_OK);
  s.model = (text_model){.lm = s.tiny.lm, .words = tokenizer_parse(text, n, "test")};
  assert_non_null(s.model.words);
  free(text);
  s.c = tiny_context();
  return s;
}

void subject_free(subject *s) {
  tokenizer_free(s->model.words);
  tiny_rwkv_free(&s->tiny);
  ctx_free(s->c);
}

void plain(const subject *s, const int32_t *ids, size_t n, double *nats, bool *best) {
  const int V = s->model.lm.config.vocab_size;
  float *logits = mem_alloc((size_t)V, sizeof *logits);
  rwkv_state state;
  assert_non_null(logits);
  assert_int_equal(rwkv_state_new(&state, &s->model.lm.config, 1), STATUS_OK);
  for (size_t i = 0; i + 1 < n; i++) {
    assert_int_equal(rwkv_read(s->c, &s->model.lm, ids + i, 1, NULL, 1, &state, logits), STATUS_OK);
    double sum = 0;
    int top = 0;
    for (int v = 0; v < V; v++) {
      sum += exp((double)logits[v]);
      if (logits[v] > logits[top]) top = v;
    }
    nats[i + 1] = log(sum) - (double)logits[ids[i + 1]];
    if (best) best[i + 1] = top == ids[i + 1];
  }
  rwkv_state_free(&state);
  free(logits);
}

void say(sentence *to, const subject *s, const char *text) {
  to->n += tokenizer_encode(s->model.words, text, strlen(text), to->ids + to->n, MOST - to->n);
  assert_true(to->n < MOST);
}

double cost(sentence *of, const subject *s, size_t first) {
  double sum = 0;
  plain(s, of->ids, of->n, of->nats, of->best);
  for (size_t i = first; i < of->n; i++) sum += of->nats[i];
  return sum;
}

void near(const char *what, double got, double want) {
  if (!(fabs(got - want) <= 2e-5 * (1 + fabs(want)))) fail_msg("%s: %.9g instead of %.9g", what, got, want);
}

estimate two_passes(const double *s, const double *n, size_t units) {
  double sum = 0, size = 0, squares = 0;
  for (size_t i = 0; i < units; i++) sum += s[i], size += n[i];
  for (size_t i = 0; i < units; i++) squares += pow(s[i] - sum / size * n[i], 2);
  return (estimate){sum / size, sqrt(squares / (double)(units - 1) * (double)units) / size};
}

void near_estimate(const char *what, estimate got, estimate want) {
  near(what, got.value, want.value);
  if (isnan(want.error))
    assert_true(isnan(got.error));
  else
    near(what, got.error, want.error);
}
