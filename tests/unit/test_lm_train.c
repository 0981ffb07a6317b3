/* Training text models: it learns, a run that was interrupted goes on as if nothing had happened, rows hold the text,
 * and damaged texts and checkpoints are named. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/lm_run.h"
#include "tests/support/scratch.h"
#include "train/lm_data.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- learning ----------------------------------------------------------------------------------------------------- */

/* Every version learns its text by heart; the model file holds all that its use needs. */
static void test_overfits(void **state) {
  lm_place p = lm_place_new(state, "a");
  scratch_write(p.validation, lm_rhyme, strlen(lm_rhyme));
  for (int version = 4; version <= 7; version++) {
    lm_witness first = {0}, last = {0};
    lm_train_options o = lm_small_options(&p);
    o.version = version;
    o.progress = lm_keep_progress;
    o.validated = lm_keep_validation;
    o.user = &first;
    o.eval_every = 0;
    o.run.steps = 1;
    o.run.rate = 1e-9;
    lm_train_to(&o, STATUS_OK);
    assert_int_equal(first.validations, 1);
    assert_true(fabs(first.v.loss - log(300)) < 1.5);
    o.user = &last;
    o.run.steps = 120;
    o.eval_every = 60;
    o.run.rate = 2e-2;
    lm_train_to(&o, STATUS_OK);
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
    tokenizer *words = lm_words_of(p.train, 300, &fresh);
    assert_string_equal(checkpoint_metadata(file, "linnet.vocabulary"), fresh);
    assert_int_equal(k.vocab_size, tokenizer_size(words));
    assert_int_equal(checkpoint_find(file, "head.weight")->dtype, CHECKPOINT_F16);
    checkpoint_close(file);
    tokenizer_free(words);
    free(fresh);
  }
  lm_place_free(&p);
}

static void test_interrupted_is_uninterrupted(void **state) {
  lm_place a = lm_place_new(state, "a"), b = lm_place_new(state, "b");
  lm_train_options whole = lm_small_options(&a), part = lm_small_options(&b);
  lm_train_to(&whole, STATUS_OK);
  part.run.stop_after = 2;
  lm_train_to(&part, STATUS_OK);
  assert_false(same_file(a.checkpoint, b.checkpoint));
  assert_int_equal(lm_train(&part), STATUS_ARGUMENT); /* a run is not overwritten */
  assert_non_null(strstr(last_error(), b.checkpoint));
  volatile sig_atomic_t stop = 1;
  lm_train_options rest = lm_train_defaults(); /* all that matters comes from the file */
  rest.data = b.train;
  rest.run.out = b.out;
  rest.run.resume = true;
  rest.run.stop = &stop;
  lm_train_to(&rest, STATUS_INTERRUPTED);
  assert_non_null(strstr(last_error(), "step 3"));
  stop = 0;
  lm_train_to(&rest, STATUS_OK);
  assert_true(same_file(a.checkpoint, b.checkpoint));
  assert_true(same_file(a.model, b.model));
  unlink(b.model); /* as if killed between the two files */
  lm_train_to(&rest, STATUS_OK);
  assert_true(same_file(a.model, b.model));
  part.run.stop_after = 0;
  part.run.seed = 6;
  lm_train_to(&part, STATUS_OK);
  assert_false(same_file(a.model, b.model));
  scratch_write(b.train, "{\"text\": \"other\"}", 17); /* another text is another run */
  lm_train_to(&rest, STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), b.train));
  lm_place_free(&b), lm_place_free(&a);
}

static void test_init(void **state) {
  lm_place a = lm_place_new(state, "a"), b = lm_place_new(state, "b");
  lm_train_options o = lm_small_options(&a);
  o.version = 7;
  lm_train_to(&o, STATUS_OK);
  lm_train_options warm = lm_small_options(&b);
  warm.init = a.checkpoint;
  warm.run.steps = 1;
  warm.run.warmup = 0;
  warm.run.rate = 1e-12;
  warm.run.rate_final = 0;
  lm_train_to(&warm, STATUS_OK);
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
  lm_place_free(&b), lm_place_free(&a);
}

/* --- states that are carried on ----------------------------------------------------------------------------------- */

/* The mean loss of a run in which nothing moves, of 40 tokens of each row in so many steps. */
static double still_loss(const lm_place *p, const char *init, int steps) {
  lm_witness w = {0};
  lm_train_options o = lm_small_options(p);
  o.init = init;
  o.carry = true;
  o.run.steps = steps;
  o.context = 40 / steps;
  o.run.rate = 1e-20;
  o.run.rate_final = 0;
  o.progress = lm_keep_progress;
  o.user = &w;
  lm_train_to(&o, STATUS_OK);
  return w.sum / steps;
}

/* Rows in pieces whose states are carried on are rows in one piece, and a run goes on with them. */
static void test_carried_states(void **state) {
  for (int version = 4; version <= 7; version++) {
    lm_place p = lm_place_new(state, "c");
    lm_train_options o = lm_small_options(&p);
    o.version = version;
    o.carry = true;
    lm_check_resumed(state, &o);
    char *base = lm_base_model(state, &p, version);
    const double whole = still_loss(&p, base, 1), pieces = still_loss(&p, base, 4);
    if (!(fabs(pieces / whole - 1) < 1e-6)) fail_msg("version %d: %.8g nats, but %.8g", version, pieces, whole);
    checkpoint *file = checkpoint_open(p.checkpoint);
    assert_non_null(file);
    assert_string_equal(checkpoint_metadata(file, "linnet.train.carry"), "1");
    rwkv_config k;
    rwkv_state s;
    assert_int_equal(rwkv_config_read(&k, file, ""), STATUS_OK);
    assert_int_equal(rwkv_state_new(&s, &k, o.run.batch), STATUS_OK);
    const checkpoint_tensor *kept = checkpoint_find(file, "carried.state");
    assert_true(kept && kept->n_dims == 1 && (size_t)kept->dim[0] == rwkv_state_size(&s));
    rwkv_state_free(&s);
    checkpoint_close(file);
    unlink(base), free(base);
    lm_place_free(&p);
  }
}

/* Checkpoints of before these options existed go on. */
static void test_older_checkpoints(void **state) {
  static const char *const later[][2] = {{"\"linnet.train.carry\"", "\"xinnet.train.carry\""},
                                         {"\"linnet.train.rank\"", "\"xinnet.train.rank\""},
                                         {"\"linnet.train.alpha\"", "\"xinnet.train.alpha\""},
                                         {"\"linnet.train.what\"", "\"xinnet.train.what\""}};
  lm_place a = lm_place_new(state, "a"), b = lm_place_new(state, "b");
  lm_train_options whole = lm_small_options(&a), part = lm_small_options(&b);
  lm_train_to(&whole, STATUS_OK);
  part.run.stop_after = 2;
  lm_train_to(&part, STATUS_OK);
  for (size_t i = 0; i < sizeof later / sizeof *later; i++) damage_file(b.checkpoint, later[i][0], later[i][1]);
  part.run.stop_after = 0;
  part.run.resume = true;
  lm_train_to(&part, STATUS_OK);
  assert_true(same_file(a.checkpoint, b.checkpoint));
  assert_true(same_file(a.model, b.model));
  lm_place_free(&b), lm_place_free(&a);
}

/* --- mistakes ----------------------------------------------------------------------------------------------------- */

static void test_damaged_texts(void **state) {
  lm_place p = lm_place_new(state, "a");
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
  const lm_train_options o = lm_small_options(&p);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scratch_write(p.train, cases[i].text, strlen(cases[i].text));
    lm_train_to(&o, STATUS_FORMAT);
    assert_non_null(strstr(last_error(), strstr(cases[i].says, "line") ? p.train : p.data));
    if (!strstr(last_error(), cases[i].says)) fail_msg("'%s' does not say '%s'", last_error(), cases[i].says);
    assert_true(access(p.out, F_OK) != 0); /* nothing was made */
  }
  scratch_write(p.train, lm_rhyme, strlen(lm_rhyme));
  scratch_write(p.validation, "x", 1);
  lm_train_to(&o, STATUS_FORMAT);
  assert_non_null(strstr(last_error(), p.validation));
  unlink(p.validation), unlink(p.train);
  lm_train_to(&o, STATUS_IO);
  assert_non_null(strstr(last_error(), p.data));
  assert_non_null(strstr(last_error(), "train.jsonl"));
  lm_train_options gone = o;
  gone.data = p.train;
  lm_train_to(&gone, STATUS_IO);
  assert_non_null(strstr(last_error(), p.train));
  lm_place_free(&p);
}

static void test_bad_options(void **state) {
  lm_place p = lm_place_new(state, "a");
  const lm_train_options good = lm_small_options(&p);
#define TRY(change)                                                                                                    \
  do {                                                                                                                 \
    lm_train_options o = good;                                                                                         \
    o.change;                                                                                                          \
    assert_true(lm_train(&o) < 0);                                                                                     \
    assert_true(access(p.out, F_OK) != 0); /* nothing was made */                                                      \
  } while (0)
  TRY(run.steps = 0);
  TRY(run.batch = 0);
  TRY(run.batch = 5000);
  TRY(context = 0);
  TRY(context = 1 << 20);
  TRY(run.save_every = 0);
  TRY(eval_every = -1);
  TRY(run.warmup = -1);
  TRY(run.rate = 0);
  TRY(run.rate = (double)NAN);
  TRY(run.rate_final = -1);
  TRY(run.weight_decay = -1);
  TRY(run.clip = (double)NAN);
  TRY(run.beta1 = 1);
  TRY(run.beta2 = -0.1);
  TRY(data = NULL);
  TRY(run.out = NULL);
  TRY(vocabulary = 256);
  TRY(version = 3);
  TRY(head_size = 5);
  TRY(width = 0);
  TRY(layers = -1);
  TRY(init = p.train);
  TRY(vocab = p.train);
  TRY(run.resume = true);
  TRY(what = LM_TRAIN_STATES);
  TRY(what = LM_TRAIN_STATES; o.init = p.out; o.carry = true);
  TRY(what = LM_TRAIN_LORA; o.rank = 2; o.alpha = 2);
  TRY(what = LM_TRAIN_LORA; o.init = p.out);
  TRY(what = LM_TRAIN_LORA; o.init = p.out; o.rank = 2; o.alpha = -1);
  TRY(rank = 1);
  TRY(alpha = 1);
#undef TRY
  lm_place_free(&p);
}

static void test_damaged_checkpoints(void **state) {
  static const char *const changes[][2] = {
      {"\"linnet.train.batch\":\"3\"", "\"linnet.train.batch\":\"0\""},
      {"\"linnet.train.context\":\"20\"", "\"linnet.train.context\":\"x0\""},
      {"\"linnet.train.step\":\"2\"", "\"linnet.train.step\":\"9\""},
      {"\"linnet.train.clip\"", "\"linnet.train.clap\""},
      {"\"linnet.train.carry\":\"1\"", "\"linnet.train.carry\":\"2\""},
      {"\"linnet.train.what\":\"all\"", "\"linnet.train.what\":\"alt\""},
      {"\"linnet.train.rank\":\"0\"", "\"linnet.train.rank\":\"3\""},
      {"\"carried.state\"", "\"carried.stale\""},
      {"\"linnet.vocabulary\"", "\"linnet.vocabularx\""},
      {"\"linnet.train.data\"", "\"linnet.train.date\""},
      {"\"optimizer.second.ln_out.bias\"", "\"optimizer.secant.ln_out.bias\""},
  };
  lm_place p = lm_place_new(state, "a");
  lm_train_options o = lm_small_options(&p);
  o.run.stop_after = 2;
  o.carry = true;
  lm_train_to(&o, STATUS_OK);
  size_t n;
  char *good = scratch_read(p.checkpoint, &n);
  o.run.resume = true;
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    scratch_write(p.checkpoint, good, n);
    damage_file(p.checkpoint, changes[i][0], changes[i][1]);
    if (lm_train(&o) >= 0) fail_msg("%s was taken", changes[i][1]);
    assert_non_null(strstr(last_error(), p.checkpoint));
  }
  free(good);
  lm_place_free(&p);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_overfits),
      IN_SCRATCH(test_interrupted_is_uninterrupted),
      IN_SCRATCH(test_init),
      IN_SCRATCH(test_carried_states),
      IN_SCRATCH(test_older_checkpoints),
      IN_SCRATCH(test_damaged_texts),
      IN_SCRATCH(test_bad_options),
      IN_SCRATCH(test_damaged_checkpoints),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
