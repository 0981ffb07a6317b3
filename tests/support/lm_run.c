#include "tests/support/lm_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "train/lm_data.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

const char lm_rhyme[] =
    "{\"text\": \"The cat sat on the mat. The dog sat on the log.\", \"source\": \"x\"}\n"
    "\n"
    "{\"text\": \"One, two, buckle my shoe; three, four, knock at the door.\\n\"}\n"
    "{\"text\": \"\"}\r\n"
    "{\"other\": [1, {}], \"text\": \"\\u00fcber\\u0000 \\ud83d\\udc26\"}"; /* the last line needs no end */

static char *path_in(void **state, const char *folder, const char *name) {
  char both[64];
  snprintf(both, sizeof both, "%s/%s", folder, name);
  return scratch_path(state, both);
}

lm_place lm_place_new(void **state, const char *folder) {
  const lm_place p = {.data = scratch_path(state, "texts"),
                      .train = scratch_path(state, "texts/train.jsonl"),
                      .validation = scratch_path(state, "texts/validation.jsonl"),
                      .out = scratch_path(state, folder),
                      .checkpoint = path_in(state, folder, "checkpoint.safetensors"),
                      .model = path_in(state, folder, "lm.gguf"),
                      .states = path_in(state, folder, "states.gguf"),
                      .factors = path_in(state, folder, "lora.safetensors")};
  mkdir(p.data, 0777);
  if (access(p.train, F_OK)) scratch_write(p.train, lm_rhyme, sizeof lm_rhyme - 1);
  return p;
}

void lm_place_leave(lm_place *p) {
  unlink(p->checkpoint), unlink(p->model), unlink(p->states), unlink(p->factors), rmdir(p->out);
  free(p->data), free(p->train), free(p->validation), free(p->out);
  free(p->checkpoint), free(p->model), free(p->states), free(p->factors);
}

void lm_place_free(lm_place *p) {
  unlink(p->train), unlink(p->validation), rmdir(p->data);
  lm_place_leave(p);
}

lm_train_options lm_small_options(const lm_place *p) {
  lm_train_options o = lm_train_defaults();
  o.data = p->data;
  o.run.out = p->out;
  o.run.steps = 6; /* nothing of what a checkpoint must keep is as by default */
  o.run.batch = 3;
  o.context = 20;
  o.run.rate = 4e-3;
  o.run.rate_final = 1e-3;
  o.run.warmup = 2;
  o.run.weight_decay = 0.05;
  o.run.clip = 0.5;
  o.run.beta1 = 0.8;
  o.run.beta2 = 0.95;
  o.run.seed = 5;
  o.run.save_every = 1000;
  o.width = 16;
  o.layers = 2;
  o.head_size = 8;
  o.hidden = 24;
  o.vocabulary = 300;
  return o;
}

void lm_train_to(const lm_train_options *o, status expected) {
  char old[4096];
  snprintf(old, sizeof old, "%s/checkpoint.safetensors", o->run.out ? o->run.out : "");
  if (!o->run.resume) unlink(old);
  const status s = lm_train(o);
  if (s != expected) fail_msg("training ended with %d instead of %d: %s", s, expected, last_error());
}

void damage_file(const char *path, const char *old, const char *new) {
  size_t n, at = 0;
  const size_t length = strlen(old);
  assert_int_equal(length, strlen(new));
  char *bytes = scratch_read(path, &n);
  assert_non_null(bytes);
  while (at + length <= n && memcmp(bytes + at, old, length)) at++;
  if (at + length > n) fail_msg("no %s", old);
  memcpy(bytes + at, new, length);
  scratch_write(path, bytes, n);
  free(bytes);
}

bool same_file(const char *a, const char *b) {
  size_t n, m;
  char *x = scratch_read(a, &n), *y = scratch_read(b, &m);
  assert_non_null(x);
  assert_non_null(y);
  const bool same = n == m && !memcmp(x, y, n);
  free(x), free(y);
  return same;
}

void lm_keep_progress(void *user, const lm_progress *p) {
  lm_witness *w = user;
  w->sum += p->loss * (double)(p->step - w->p.step);
  w->p = *p;
}

void lm_keep_validation(void *user, const lm_validation *v) {
  lm_witness *w = user;
  w->v = *v;
  w->validations++;
}

static void check_same_if_there(const char *a, const char *b) {
  assert_int_equal(access(a, F_OK), access(b, F_OK));
  if (!access(a, F_OK)) assert_true(same_file(a, b));
}

void lm_check_resumed(void **state, const lm_train_options *given) {
  lm_place a = lm_place_new(state, "a"), b = lm_place_new(state, "b");
  lm_train_options whole = *given, part = *given, rest = lm_train_defaults(); /* the rest is in the checkpoint */
  whole.run.out = a.out;
  part.run.out = rest.run.out = b.out;
  part.run.stop_after = 2;
  rest.data = given->data;
  rest.run.resume = true;
  lm_train_to(&whole, STATUS_OK);
  lm_train_to(&part, STATUS_OK);
  assert_false(same_file(a.checkpoint, b.checkpoint));
  lm_train_to(&rest, STATUS_OK);
  assert_true(same_file(a.checkpoint, b.checkpoint));
  check_same_if_there(a.model, b.model);
  check_same_if_there(a.states, b.states);
  check_same_if_there(a.factors, b.factors);
  lm_place_leave(&b), lm_place_leave(&a);
}

char *lm_base_model(void **state, const lm_place *p, int version) {
  char *path = scratch_path(state, "base.gguf");
  lm_train_options o = lm_small_options(p);
  o.version = version;
  o.run.steps = 150;
  o.run.rate = 2e-2;
  lm_train_to(&o, STATUS_OK);
  if (rename(p->model, path)) fail_msg("cannot rename %s", p->model);
  unlink(p->checkpoint);
  return path;
}

tokenizer *lm_words_of(const char *path, int tokens, char **text) {
  if (lm_vocabulary(path, tokens, text)) fail_msg("%s", last_error());
  tokenizer *words = tokenizer_parse(*text, strlen(*text), "test");
  assert_non_null(words);
  return words;
}
