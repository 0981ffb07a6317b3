/* Training text models: it learns, a run that was interrupted goes on as if nothing had happened, rows hold the text,
 * and damaged texts and checkpoints are named. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "train/lm_data.h"
#include "train/lm_train.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char rhyme[] =
    "{\"text\": \"The cat sat on the mat. The dog sat on the log.\", \"source\": \"x\"}\n"
    "\n"
    "{\"text\": \"One, two, buckle my shoe; three, four, knock at the door.\\n\"}\n"
    "{\"text\": \"\"}\r\n"
    "{\"other\": [1, {}], \"text\": \"\\u00fcber\\u0000 \\ud83d\\udc26\"}"; /* the last line needs no end */
static const char last_text[] = "\303\274ber\0 \360\237\220\246";

typedef struct {
  char *data, *train, *validation, *out, *checkpoint, *model;
} place;

static place place_new(void **state, const char *folder) {
  char name[64];
  place p;
  p.data = scratch_path(state, "texts");
  p.train = scratch_path(state, "texts/train.jsonl");
  p.validation = scratch_path(state, "texts/validation.jsonl");
  mkdir(p.data, 0777);
  scratch_write(p.train, rhyme, sizeof rhyme - 1);
  p.out = scratch_path(state, folder);
  snprintf(name, sizeof name, "%s/checkpoint.safetensors", folder);
  p.checkpoint = scratch_path(state, name);
  snprintf(name, sizeof name, "%s/lm.gguf", folder);
  p.model = scratch_path(state, name);
  return p;
}

static void place_free(place *p) {
  unlink(p->checkpoint), unlink(p->model), rmdir(p->out);
  unlink(p->train), unlink(p->validation), rmdir(p->data);
  free(p->data), free(p->train), free(p->validation), free(p->out), free(p->checkpoint), free(p->model);
}

static lm_train_options small_options(const place *p) {
  lm_train_options o = lm_train_defaults();
  o.data = p->data;
  o.out = p->out;
  o.steps = 6; /* nothing of what a checkpoint must keep is as by default */
  o.batch = 3;
  o.context = 20;
  o.rate = 4e-3;
  o.rate_final = 1e-3;
  o.warmup = 2;
  o.weight_decay = 0.05;
  o.clip = 0.5;
  o.beta1 = 0.8;
  o.beta2 = 0.95;
  o.seed = 5;
  o.save_every = 1000;
  o.width = 16;
  o.layers = 2;
  o.head_size = 8;
  o.hidden = 24;
  o.vocabulary = 300;
  return o;
}

static void train(const lm_train_options *o, status expected) {
  char old[4096];
  snprintf(old, sizeof old, "%s/checkpoint.safetensors", o->out ? o->out : "");
  if (!o->resume) unlink(old);
  const status s = lm_train(o);
  if (s != expected) fail_msg("training ended with %d instead of %d: %s", s, expected, last_error());
}

static bool same_file(const char *a, const char *b) {
  size_t n, m;
  char *x = scratch_read(a, &n), *y = scratch_read(b, &m);
  assert_non_null(x);
  assert_non_null(y);
  const bool same = n == m && !memcmp(x, y, n);
  free(x), free(y);
  return same;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static tokenizer *words_of(const char *path, int tokens, char **text) {
  if (lm_vocabulary(path, tokens, text)) fail_msg("%s", last_error());
  tokenizer *words = tokenizer_parse(*text, strlen(*text), "test");
  assert_non_null(words);
  return words;
}

static void test_documents(void **state) {
  place p = place_new(state, "a");
  char *vocabulary, *back;
  tokenizer *words = words_of(p.train, 270, &vocabulary);
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
  place_free(&p);
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

/* --- learning ----------------------------------------------------------------------------------------------------- */

typedef struct {
  lm_progress p;
  lm_validation v;
  int validations;
} witness;
static void keep_progress(void *user, const lm_progress *p) { ((witness *)user)->p = *p; }
static void keep_validation(void *user, const lm_validation *v) {
  witness *w = user;
  w->v = *v;
  w->validations++;
}

/* Every version learns its text by heart; the model file holds all that its use needs. */
static void test_overfits(void **state) {
  place p = place_new(state, "a");
  scratch_write(p.validation, rhyme, sizeof rhyme - 1);
  for (int version = 4; version <= 7; version++) {
    witness first = {0}, last = {0};
    lm_train_options o = small_options(&p);
    o.version = version;
    o.progress = keep_progress;
    o.validated = keep_validation;
    o.user = &first;
    o.eval_every = 0;
    o.steps = 1;
    o.rate = 1e-9;
    train(&o, STATUS_OK);
    assert_int_equal(first.validations, 1);
    assert_true(fabs(first.v.loss - log(300)) < 1.5);
    o.user = &last;
    o.steps = 120;
    o.eval_every = 60;
    o.rate = 2e-2;
    train(&o, STATUS_OK);
    assert_int_equal(last.p.step, 120);
    assert_int_equal(last.validations, 2);
    assert_int_equal(last.v.step, 120);
    if (!(last.v.loss < 0.35 * first.v.loss))
      fail_msg("version %d: from %g to %g nats only", version, first.v.loss, last.v.loss);
    assert_true(last.v.bits_per_byte > 0 && last.v.bits_per_byte < first.v.bits_per_byte);
    assert_true(last.p.grad_norm > 0 && last.p.tokens_per_second > 0 && last.p.gflops > 0);

    checkpoint *file = checkpoint_open(p.model);
    if (!file) fail_msg("%s", last_error());
    rwkv_config k;
    assert_int_equal(rwkv_config_read(&k, file, ""), STATUS_OK);
    assert_int_equal(k.version, version);
    assert_string_equal(checkpoint_metadata(file, "linnet.system"), LM_SYSTEM);
    char *fresh;
    tokenizer *words = words_of(p.train, 300, &fresh);
    assert_string_equal(checkpoint_metadata(file, "linnet.vocabulary"), fresh);
    assert_int_equal(k.vocab_size, tokenizer_size(words));
    assert_int_equal(checkpoint_find(file, "head.weight")->dtype, CHECKPOINT_F16);
    checkpoint_close(file);
    tokenizer_free(words);
    free(fresh);
  }
  place_free(&p);
}

static void test_interrupted_is_uninterrupted(void **state) {
  place a = place_new(state, "a"), b = place_new(state, "b");
  lm_train_options whole = small_options(&a), part = small_options(&b);
  train(&whole, STATUS_OK);
  part.stop_after = 2;
  train(&part, STATUS_OK);
  assert_false(same_file(a.checkpoint, b.checkpoint));
  assert_int_equal(lm_train(&part), STATUS_ARGUMENT); /* a run is not overwritten */
  assert_non_null(strstr(last_error(), b.checkpoint));
  volatile sig_atomic_t stop = 1;
  lm_train_options rest = lm_train_defaults(); /* all that matters comes from the file */
  rest.data = b.train;
  rest.out = b.out;
  rest.resume = true;
  rest.stop = &stop;
  train(&rest, STATUS_INTERRUPTED);
  assert_non_null(strstr(last_error(), "step 3"));
  stop = 0;
  train(&rest, STATUS_OK);
  assert_true(same_file(a.checkpoint, b.checkpoint));
  assert_true(same_file(a.model, b.model));
  unlink(b.model); /* as if killed between the two files */
  train(&rest, STATUS_OK);
  assert_true(same_file(a.model, b.model));
  part.stop_after = 0;
  part.seed = 6;
  train(&part, STATUS_OK);
  assert_false(same_file(a.model, b.model));
  scratch_write(b.train, "{\"text\": \"other\"}", 17); /* another text is another run */
  train(&rest, STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), b.train));
  place_free(&b), place_free(&a);
}

static void test_init(void **state) {
  place a = place_new(state, "a"), b = place_new(state, "b");
  lm_train_options o = small_options(&a);
  o.version = 7;
  train(&o, STATUS_OK);
  lm_train_options warm = small_options(&b);
  warm.init = a.checkpoint;
  warm.steps = 1;
  warm.warmup = 0;
  warm.rate = 1e-12;
  warm.rate_final = 0;
  train(&warm, STATUS_OK);
  checkpoint *x = checkpoint_open(a.checkpoint), *y = checkpoint_open(b.checkpoint);
  assert_non_null(x);
  assert_non_null(y);
  float one[16], two[16];
  assert_int_equal(checkpoint_read_f32(x, checkpoint_find(x, "ln_out.weight"), one), STATUS_OK);
  assert_int_equal(checkpoint_read_f32(y, checkpoint_find(y, "ln_out.weight"), two), STATUS_OK);
  for (int i = 0; i < 16; i++) assert_true(fabsf(one[i] - two[i]) < 1e-6f);
  assert_string_equal(checkpoint_metadata(x, "linnet.vocabulary"), checkpoint_metadata(y, "linnet.vocabulary"));
  checkpoint_close(x), checkpoint_close(y);
  char *vocab = scratch_path(state, "vocab.txt"); /* more tokens than the model knows */
  char *text = calloc(400 * 16, 1);
  size_t n = 0;
  for (int i = 1; i < 400; i++) n += (size_t)sprintf(text + n, "%d 'w%04d' 5\n", i, i);
  scratch_write(vocab, text, n);
  warm.vocab = vocab;
  assert_true(lm_train(&warm) < 0);
  free(text), free(vocab);
  place_free(&b), place_free(&a);
}

/* --- mistakes ----------------------------------------------------------------------------------------------------- */

static void test_damaged_texts(void **state) {
  place p = place_new(state, "a");
  const struct {
    const char *text, *says;
  } cases[] = {
      {"", "no text"},
      {"\n \n{\"text\": \"\"}\n", "no text"},
      {"{\"text\": \"a\"}\n{\"text\": \"b\n", "line 2"},
      {"{\"text\": \"a\"}\n\n[1]\n", "line 3"},
      {"{\"text\": 5}\n", "line 1"},
      {"{\"txet\": \"a\"}\n", "line 1"},
      {"\"text\"\n", "line 1"},
      {"{\"text\": \"\\ud800\"}\n", "line 1"},
      {"{\"text\": \"a\"} {\"text\": \"b\"}\n", "line 1"},
      {"plain words\n", "line 1"},
  };
  const lm_train_options o = small_options(&p);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scratch_write(p.train, cases[i].text, strlen(cases[i].text));
    train(&o, STATUS_FORMAT);
    assert_non_null(strstr(last_error(), p.train));
    if (!strstr(last_error(), cases[i].says)) fail_msg("'%s' does not say '%s'", last_error(), cases[i].says);
    assert_true(access(p.out, F_OK) != 0); /* nothing was made */
  }
  scratch_write(p.train, rhyme, sizeof rhyme - 1);
  scratch_write(p.validation, "x", 1);
  train(&o, STATUS_FORMAT);
  assert_non_null(strstr(last_error(), p.validation));
  unlink(p.validation), unlink(p.train);
  train(&o, STATUS_IO);
  assert_non_null(strstr(last_error(), p.train));
  place_free(&p);
}

static void test_bad_options(void **state) {
  place p = place_new(state, "a");
  const lm_train_options good = small_options(&p);
#define TRY(change)                                                                                                    \
  do {                                                                                                                 \
    lm_train_options o = good;                                                                                         \
    o.change;                                                                                                          \
    assert_true(lm_train(&o) < 0);                                                                                     \
    assert_true(access(p.out, F_OK) != 0); /* nothing was made */                                                      \
  } while (0)
  TRY(steps = 0);
  TRY(batch = 0);
  TRY(batch = 5000);
  TRY(context = 0);
  TRY(context = 1 << 20);
  TRY(save_every = 0);
  TRY(eval_every = -1);
  TRY(warmup = -1);
  TRY(rate = 0);
  TRY(rate = (double)NAN);
  TRY(rate_final = -1);
  TRY(weight_decay = -1);
  TRY(clip = (double)NAN);
  TRY(beta1 = 1);
  TRY(beta2 = -0.1);
  TRY(data = NULL);
  TRY(out = NULL);
  TRY(vocabulary = 256);
  TRY(version = 3);
  TRY(head_size = 5);
  TRY(width = 0);
  TRY(layers = -1);
  TRY(init = p.train);
  TRY(vocab = p.train);
  TRY(resume = true);
#undef TRY
  place_free(&p);
}

static void test_damaged_checkpoints(void **state) {
  static const char *const changes[][2] = {
      {"\"linnet.train.batch\":\"3\"", "\"linnet.train.batch\":\"0\""},
      {"\"linnet.train.context\":\"20\"", "\"linnet.train.context\":\"x0\""},
      {"\"linnet.train.step\":\"2\"", "\"linnet.train.step\":\"9\""},
      {"\"linnet.train.clip\"", "\"linnet.train.clap\""},
      {"\"linnet.vocabulary\"", "\"linnet.vocabularx\""},
      {"\"linnet.train.data\"", "\"linnet.train.date\""},
      {"\"optimizer.second.ln_out.bias\"", "\"optimizer.secant.ln_out.bias\""},
  };
  place p = place_new(state, "a");
  lm_train_options o = small_options(&p);
  o.stop_after = 2;
  train(&o, STATUS_OK);
  size_t n;
  char *good = scratch_read(p.checkpoint, &n);
  o.resume = true;
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    const size_t length = strlen(changes[i][0]);
    assert_int_equal(length, strlen(changes[i][1]));
    char *bad = malloc(n), *at = NULL;
    memcpy(bad, good, n);
    for (size_t k = 0; !at && k + length <= n; k++)
      if (!memcmp(bad + k, changes[i][0], length)) at = bad + k;
    if (!at) fail_msg("no %s", changes[i][0]);
    memcpy(at, changes[i][1], length);
    scratch_write(p.checkpoint, bad, n);
    free(bad);
    if (lm_train(&o) >= 0) fail_msg("%s was taken", changes[i][1]);
    assert_non_null(strstr(last_error(), p.checkpoint));
  }
  free(good);
  place_free(&p);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_documents),
      IN_SCRATCH(test_rows),
      IN_SCRATCH(test_rows_in_order),
      IN_SCRATCH(test_overfits),
      IN_SCRATCH(test_interrupted_is_uninterrupted),
      IN_SCRATCH(test_init),
      IN_SCRATCH(test_damaged_texts),
      IN_SCRATCH(test_bad_options),
      IN_SCRATCH(test_damaged_checkpoints),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
