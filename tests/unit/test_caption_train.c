/* Training a captioner: it learns, and a run that was interrupted or killed goes on as if nothing had happened. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/kernel_check.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_captioner.h"
#include "tests/support/tiny_pack.h"
#include "tests/support/weights_check.h"
#include "train/caption_batch.h"
#include "train/caption_train.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A small model on 16-pixel scenes of the pack `objects`, writing to `out`. */
static caption_train_options small_options(const char *objects, const char *out) {
  caption_train_options o = caption_train_defaults();
  o.objects = objects;
  o.run.out = out;
  o.run.steps = 6;
  o.run.batch = 3;
  o.run.rate = 4e-3; /* nothing of what a checkpoint must keep is as by default */
  o.run.rate_final = 1e-3;
  o.run.warmup = 2;
  o.run.weight_decay = 0.1;
  o.run.clip = 0.5;
  o.run.beta1 = 0.8;
  o.run.beta2 = 0.95;
  o.patch_weight = 0.3;
  o.max_objects = 2;
  o.run.seed = 5;
  o.run.save_every = 1000;
  o.image_size = 16;
  o.patch = 8;
  o.image_grid = 2;
  o.tower_width = o.lm_width = 16;
  o.tower_depth = o.lm_depth = 2;
  o.tower_hidden = o.lm_hidden = 32;
  o.head_size = 8;
  o.rank_mix = o.rank_decay = 4;
  o.vocabulary = 400;
  return o;
}

/* Files of a test: the pack, and folders beside it. */
typedef struct {
  char *pack, *out, *checkpoint, *model;
} place;

static place place_new(void **state, const char *folder) {
  char name[64];
  place p;
  p.pack = scratch_path(state, "pack");
  if (access(p.pack, F_OK)) tiny_pack_write(p.pack, TINY_KINDS);
  p.out = scratch_path(state, folder);
  snprintf(name, sizeof name, "%s/checkpoint.safetensors", folder);
  p.checkpoint = scratch_path(state, name);
  snprintf(name, sizeof name, "%s/captioner.gguf", folder);
  p.model = scratch_path(state, name);
  return p;
}

static void place_free(place *p) { /* scratch_teardown does not enter folders */
  unlink(p->checkpoint), unlink(p->model), rmdir(p->out);
  free(p->pack), free(p->out), free(p->checkpoint), free(p->model);
}

/* A fresh run makes room for itself: it would refuse a folder with a run in it (test_a_run_is_not_overwritten). */
static void train(const caption_train_options *o, status expected) {
  char old[4096];
  snprintf(old, sizeof old, "%s/checkpoint.safetensors", o->run.out ? o->run.out : "");
  if (!o->run.resume) unlink(old);
  status s = caption_train(o);
  if (s != expected) fail_msg("training ended with %d instead of %d: %s", s, expected, last_error());
}

static int64_t step_of(const char *path) {
  checkpoint *file = checkpoint_open(path);
  if (!file) return -1;
  int64_t step = strtoll(checkpoint_metadata(file, "linnet.train.step"), NULL, 10);
  checkpoint_close(file);
  return step;
}

static void test_a_run_is_not_overwritten(void **state) {
  place p = place_new(state, "kept");
  caption_train_options o = small_options(p.pack, p.out);
  o.run.steps = 2;
  train(&o, STATUS_OK);
  assert_int_equal(caption_train(&o), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), p.checkpoint));
  assert_int_equal(step_of(p.checkpoint), 2);
  place_free(&p);
}

/* --- learning --- */

static void keep_progress(void *user, const train_progress *p) { *(train_progress *)user = *p; }

static void test_loss_falls(void **state) {
  place p = place_new(state, "run");
  train_progress first = {0}, last = {0};
  caption_train_options o = small_options(p.pack, p.out);
  o.progress = keep_progress;
  o.run.steps = 1;
  o.user = &first;
  train(&o, STATUS_OK);
  assert_int_equal(first.step, 1);
  assert_true(first.loss > 4 && first.loss < 7); /* about the logarithm of the number of tokens */
  o.run.steps = 60;
  o.run.batch = 6;
  o.run.rate = 1e-2;
  o.user = &last;
  train(&o, STATUS_OK);
  assert_int_equal(last.step, 60);
  assert_int_equal(last.steps, 60);
  assert_true(last.loss < 0.8 * first.loss); /* the mean of at least the last second, usually of the whole run */
  assert_true(last.patch_loss < 0.8 * first.patch_loss || last.patch_loss < first.patch_loss - 0.3);
  assert_true(last.grad_norm > 0 && last.rate > 0 && last.samples_per_second > 0 && last.gflops > 0);

  visualrwkv *m = visualrwkv_open(p.model);
  if (!m) fail_msg("%s", last_error());
  assert_int_equal(m->config.image_size, 16);
  assert_true(m->config.bidirectional && m->config.tower.alternate_scan);
  int32_t ids[8]; /* the words of ordinary kinds and the prompt's parts are tokens, a held-out kind's are not */
  assert_int_equal(tokenizer_encode(m->words, " squares", 8, ids, 8), 1);
  assert_int_equal(tokenizer_encode(m->words, "\n\nAssistant:", 12, ids, 8), 1);
  assert_true(tokenizer_encode(m->words, " rings", 6, ids, 8) > 1);
  visualrwkv_close(m);
  checkpoint *file = checkpoint_open(p.model);
  assert_null(checkpoint_find(file, "patch_labels.weight"));
  assert_null(checkpoint_find(file, "optimizer.first.proj.weight"));
  assert_int_equal(checkpoint_find(file, "proj.weight")->dtype, CHECKPOINT_F16);
  checkpoint_close(file);
  place_free(&p);
}

/* Every step has scenes of its own: where nothing is learnt, the mean loss of two steps is not that of the first. */
static void test_scenes_go_on(void **state) {
  place p = place_new(state, "run");
  train_progress one = {0}, two = {0};
  caption_train_options o = small_options(p.pack, p.out);
  o.progress = keep_progress;
  o.run.rate = o.run.rate_final = 1e-12;
  o.run.steps = 1;
  o.user = &one;
  train(&o, STATUS_OK);
  o.run.steps = 2;
  o.user = &two;
  train(&o, STATUS_OK);
  assert_true(fabs(two.patch_loss - one.patch_loss) > 1e-3);
  o.run.batch = 6; /* the scenes of two steps at once; all weigh the same in the patches' loss */
  o.run.steps = 1;
  o.user = &one;
  train(&o, STATUS_OK);
  assert_true(fabs(two.patch_loss - one.patch_loss) < 1e-5 * one.patch_loss);
  place_free(&p);
}

/* --- interrupted runs --------------------------------------------------------------------------------------------- */

static void test_interrupted_is_uninterrupted(void **state) {
  place a = place_new(state, "a"), b = place_new(state, "b");
  caption_train_options whole = small_options(a.pack, a.out), part = small_options(b.pack, b.out);
  train(&whole, STATUS_OK);
  part.run.stop_after = 2;
  train(&part, STATUS_OK);
  assert_int_equal(step_of(b.checkpoint), 2);
  assert_int_equal(access(b.model, F_OK), 0);
  caption_train_options rest = caption_train_defaults(); /* all that matters comes from the file */
  rest.objects = b.pack;
  rest.run.out = b.out;
  rest.run.resume = true;
  rest.run.stop_after = 4;
  train(&rest, STATUS_OK);
  assert_int_equal(step_of(b.checkpoint), 4);
  rest.run.stop_after = 0;
  train(&rest, STATUS_OK);
  assert_int_equal(step_of(b.checkpoint), 6);
  check_same_files(a.checkpoint, b.checkpoint);
  check_same_files(a.model, b.model);

  unlink(b.model);         /* as if killed between the two files */
  train(&rest, STATUS_OK); /* nothing is left to learn */
  check_same_files(a.checkpoint, b.checkpoint);
  check_same_files(a.model, b.model);
  part.run.stop_after = 0;
  part.run.seed = 6;
  train(&part, STATUS_OK); /* another seed is another run */
  size_t n, m;
  char *x = scratch_read(a.model, &n), *y = scratch_read(b.model, &m);
  assert_true(n != m || memcmp(x, y, n));
  free(x), free(y);
  place_free(&a), place_free(&b);
}

static void test_stop_flag(void **state) {
  place a = place_new(state, "a"), b = place_new(state, "b");
  caption_train_options whole = small_options(a.pack, a.out), part = small_options(b.pack, b.out);
  train(&whole, STATUS_OK);
  volatile sig_atomic_t stop = 1;
  part.run.stop = &stop;
  train(&part, STATUS_INTERRUPTED);
  assert_non_null(strstr(last_error(), "step 1"));
  assert_non_null(strstr(last_error(), b.checkpoint));
  assert_int_equal(step_of(b.checkpoint), 1);
  stop = 0;
  part.run.resume = true;
  train(&part, STATUS_OK);
  check_same_files(a.checkpoint, b.checkpoint);
  place_free(&a), place_free(&b);
}

enum { MANY = 1000000 };

static caption_train_options endless(const char *pack, const char *out) {
  caption_train_options o = small_options(pack, out);
  o.run.steps = MANY;
  o.run.save_every = 1;
  return o;
}

static void test_killed_run_goes_on(void **state) {
  place a = place_new(state, "a"), b = place_new(state, "b");
  pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "test", "--train", b.pack, b.out, (char *)NULL); /* OpenMP does not survive a fork */
    _exit(127);
  }
  assert_true(child > 0);
  const struct timespec nap = {.tv_nsec = 2000000};
  for (int i = 0; i < 10000 && step_of(b.checkpoint) < 2; i++) nanosleep(&nap, NULL);
  kill(child, SIGKILL);
  int how;
  assert_int_equal(waitpid(child, &how, 0), child);
  assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);

  int64_t step = step_of(b.checkpoint);
  assert_true(step >= 2);
  caption_train_options rest = endless(b.pack, b.out), whole = endless(a.pack, a.out);
  rest.run.resume = true;
  rest.run.stop_after = whole.run.stop_after = step + 2;
  whole.run.save_every = MANY;
  train(&rest, STATUS_OK);
  train(&whole, STATUS_OK);
  check_same_files(a.checkpoint, b.checkpoint);
  char name[64]; /* a kill while writing leaves a file of another name, which nobody reads */
  snprintf(name, sizeof name, "b/checkpoint.safetensors.%ld-0.tmp", (long)child);
  char *rubbish = scratch_path(state, name);
  unlink(rubbish);
  free(rubbish);
  place_free(&a), place_free(&b);
}

/* --- warm starts -------------------------------------------------------------------------------------------------- */

static void test_init(void **state) {
  place a = place_new(state, "a");
  char *given = scratch_path(state, "given.safetensors"), *small_pack = scratch_path(state, "pack2");
  visualrwkv m;
  tiny_captioner(&m, 3, TINY_TIDY); /* another vocabulary and other sizes than the options name */
  assert_int_equal(visualrwkv_save(&m, given, &(params_file){.type = CHECKPOINT_F32}), STATUS_OK);
  caption_train_options o = small_options(a.pack, a.out);
  o.init = given;
  o.run.steps = 1;
  o.run.warmup = 0;
  o.run.rate = 1e-7;
  o.run.rate_final = 0;
  train(&o, STATUS_OK);
  visualrwkv *got = visualrwkv_open(a.model);
  if (!got) fail_msg("%s", last_error());
  assert_int_equal(got->config.lm.vocab_size, TINY_VOCABULARY);
  assert_string_equal(got->vocabulary, m.vocabulary);
  assert_string_equal(got->before, m.before);
  assert_int_equal(got->params.n, m.params.n);
  for (size_t i = 0; i < m.params.n; i++) {
    const param *p = &m.params.item[i], *q = &got->params.item[i];
    const size_t n = (size_t)tensor_count(p->value);
    float *values = guarded_fill(n, 0);
    param_values(q->value, 0, n, values);
    for (size_t k = 0; k < n; k++) {
      double x = f32(p->value)[k], y = values[k];
      if (!(fabs(x - y) <= 1e-6 + 1e-3 * fabs(x))) fail_msg("%s[%zu] is %g instead of %g", p->name, k, y, x);
    }
    guarded_free(values);
  }
  visualrwkv_close(got);
  visualrwkv_free(&m);

  /* From a checkpoint whose pack has other kinds: the head of the patch labels does not fit and starts afresh. */
  place b = place_new(state, "b");
  tiny_pack_write(small_pack, 2);
  o.init = a.checkpoint;
  o.objects = small_pack;
  o.run.out = b.out;
  train(&o, STATUS_OK);
  checkpoint *file = checkpoint_open(b.checkpoint);
  int64_t dim[2];
  assert_int_equal(checkpoint_shape(file, "", "patch_labels.weight", 2, dim), STATUS_OK);
  assert_int_equal(dim[0], 2 + COLOURS - 1);
  checkpoint_close(file);
  o.run.resume = true; /* but a resumed run needs the pack it began with */
  o.objects = a.pack;
  train(&o, STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "patch_labels.weight"));
  place_free(&a), place_free(&b);
  free(given), free(small_pack);
}

/* --- mistakes ----------------------------------------------------------------------------------------------------- */

static void test_bad_options(void **state) {
  place p = place_new(state, "a");
  const caption_train_options good = small_options(p.pack, p.out);
#define TRY(change)                                                                                                    \
  do {                                                                                                                 \
    caption_train_options o = good;                                                                                    \
    o.change;                                                                                                          \
    assert_int_equal(caption_train(&o), STATUS_ARGUMENT);                                                              \
    assert_true(access(p.out, F_OK) != 0); /* nothing was made */                                                      \
  } while (0)
  TRY(run.steps = 0);
  TRY(run.batch = 0);
  TRY(run.batch = 5000);
  TRY(run.save_every = 0);
  TRY(run.warmup = -1);
  TRY(run.rate = 0);
  TRY(run.rate = (double)NAN);
  TRY(run.rate_final = -1);
  TRY(run.weight_decay = -1);
  TRY(run.clip = (double)NAN);
  TRY(patch_weight = -0.1);
  TRY(run.beta1 = 1);
  TRY(run.beta2 = -0.1);
  TRY(max_objects = 0);
  TRY(max_objects = 5);
  TRY(objects = NULL);
  TRY(run.out = NULL);
#undef TRY
  caption_train_options o = good;
  o.head_size = 5; /* sizes of the model are looked at when it is made */
  assert_true(caption_train(&o) < 0);
  o = good;
  o.patch = 0;
  assert_true(caption_train(&o) < 0);
  o = good;
  o.image_size = 4;
  assert_true(caption_train(&o) < 0);
  o = good;
  o.vocabulary = 200;
  assert_true(caption_train(&o) < 0);
  place_free(&p);
}

static void test_bad_files(void **state) {
  place p = place_new(state, "a");
  caption_train_options o = small_options(p.pack, p.out);
  char *under_a_file = scratch_path(state, "pack/out");
  o.run.out = under_a_file;
  train(&o, STATUS_IO);
  assert_non_null(strstr(last_error(), under_a_file));
  o.run.out = p.pack; /* a file, not a folder: said before any work */
  train(&o, STATUS_IO);
  assert_non_null(strstr(last_error(), p.pack));
  o.run.out = "";
  train(&o, STATUS_IO);
  o = small_options(under_a_file, p.out);
  train(&o, STATUS_IO);
  o = small_options(p.pack, p.out);
  o.run.resume = true;
  train(&o, STATUS_IO); /* nothing to go on from */
  o.run.resume = false;
  o.init = p.pack;
  train(&o, STATUS_FORMAT);
  assert_non_null(strstr(last_error(), p.pack));
  if (geteuid() != 0) { /* the superuser may write anywhere */
    assert_int_equal(chmod(p.out, 0500), 0);
    o.init = NULL;
    train(&o, STATUS_IO);
    chmod(p.out, 0700);
  }
  free(under_a_file);
  place_free(&p);
}

/* Replaces the first occurrence of `from` in a file by as many bytes. */
static void patch_file(const char *path, const char *from, const char *to) {
  size_t n, length = strlen(from);
  char *bytes = scratch_read(path, &n);
  assert_int_equal(length, strlen(to));
  for (size_t i = 0; i + length <= n; i++)
    if (!memcmp(bytes + i, from, length)) {
      memcpy(bytes + i, to, length);
      scratch_write(path, bytes, n);
      free(bytes);
      return;
    }
  fail_msg("%s holds no %s", path, from);
}

static void test_damaged_checkpoints(void **state) {
  static const char *const changes[][2] = {
      {"\"linnet.train.batch\":\"3\"", "\"linnet.train.batch\":\"0\""},
      {"\"linnet.train.batch\":\"3\"", "\"linnet.train.batch\":\"x\""},
      {"\"linnet.train.max_objects\":\"2\"", "\"linnet.train.max_objects\":\"9\""},
      {"\"linnet.train.beta1\":\"0", "\"linnet.train.beta1\":\"9"},
      {"\"linnet.train.step\":\"2\"", "\"linnet.train.step\":\"9\""},
      {"\"linnet.train.step\":\"2\"", "\"linnet.train.step\":\"-\""},
      {"\"linnet.train.step\"", "\"linnet.train.stop\""},
      {"\"linnet.train.warmup\"", "\"linnet.train.warmth\""},
      {"optimizer.second.proj.weight", "optimizer.second.proj.weighs"},
  };
  place p = place_new(state, "a");
  caption_train_options o = small_options(p.pack, p.out);
  o.run.stop_after = 2;
  train(&o, STATUS_OK);
  o.run.resume = true;
  size_t n;
  char *good = scratch_read(p.checkpoint, &n);
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    patch_file(p.checkpoint, changes[i][0], changes[i][1]);
    status s = caption_train(&o);
    if (s != STATUS_FORMAT && s != STATUS_ARGUMENT) fail_msg("%s gave %d: %s", changes[i][1], s, last_error());
    assert_non_null(strstr(last_error(), p.checkpoint));
    scratch_write(p.checkpoint, good, n);
  }
  o.run.stop_after = 3;
  train(&o, STATUS_OK);
  free(good);
  place_free(&p);
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

static void check_row(const caption_batch *b, const visualrwkv *m, int i, int first, int n) {
  int prompt = m->n_before + visualrwkv_image_tokens_count(m) + m->n_after, length = prompt + b->answer_length;
  char *text;
  size_t size;
  assert_int_equal(b->target[first + n - 1], m->stop);
  assert_int_equal(tokenizer_decode(m->words, b->target + first, (size_t)n - 1, &text, &size), STATUS_OK);
  assert_int_equal(text[0], ' ');
  assert_string_equal(text + 1, b->scene[i]->caption);
  free(text);
  for (int t = 0; t < n; t++) {
    assert_int_equal(b->row[first + t], i * length + prompt - 1 + t); /* the position before the token that it says */
    assert_true(fabs(b->weight[first + t] * (float)(b->batch * n) - 1) < 1e-5);
    if (t < n - 1) assert_int_equal(b->answer[i * b->answer_length + t], b->target[first + t]);
  }
  for (int t = n - 1; t < b->answer_length; t++) assert_int_equal(b->answer[i * b->answer_length + t], 0);
}

static void test_batches(void **state) {
  enum { B = 5, KINDS = TINY_KINDS, LABELS = KINDS + COLOURS - 1, SIDE = 3 }; /* 20 pixels: the last patches are cut */
  place p = place_new(state, "a");
  object_set *objects = object_set_open(p.pack);
  visualrwkv m;
  tiny_captioner(&m, 4, TINY_TIDY);
  caption_batch b;
  assert_int_equal(caption_batch_new(&b, &m, LABELS, B), STATUS_OK);
  const scene_options options = {.size = TINY_IMAGE, .pictures = SPLIT_TRAIN, .max_objects = 3, .augment = true};
  assert_int_equal(caption_batch_make(&b, &m, objects, &options, 7, 100), STATUS_OK);
  int first = 0, longest = 0, labelled = 0;
  for (int i = 0; i < B; i++) {
    int n = 1;
    while (b.target[first + n - 1] != m.stop) n++;
    check_row(&b, &m, i, first, n);
    first += n;
    if (n - 1 > longest) longest = n - 1;
    const scene *s = b.scene[i];
    for (int at = 0; at < TINY_IMAGE * TINY_IMAGE * 3; at++)
      assert_true(fabs(b.pixels[i * TINY_IMAGE * TINY_IMAGE * 3 + at] - (s->rgb[at] / 127.5 - 1)) < 1e-6);
    for (int patch = 0; patch < SIDE * SIDE; patch++)
      for (int label = 0; label < LABELS; label++) {
        float got = b.patch_target[(i * SIDE * SIDE + patch) * LABELS + label];
        bool want = false; /* some object with the label covers a quarter of the patch */
        for (int k = 0; k < s->n_objects; k++) {
          bool has =
              label < KINDS ? s->object[k].kind == (uint32_t)label : (int)s->object[k].colour == label - KINDS + 1;
          int covered = 0;
          for (int y = 0; y < TINY_IMAGE; y++)
            for (int x = 0; x < TINY_IMAGE; x++)
              covered += y / 8 * SIDE + x / 8 == patch && s->owner[y * TINY_IMAGE + x] == k + 1;
          want |= has && covered >= 16;
        }
        assert_true(got == (want ? 1 : 0));
        labelled += want;
      }
  }
  assert_int_equal(first, b.rows);
  assert_int_equal(longest, b.answer_length);
  assert_true(labelled > 10);

  scene *again = scene_new(TINY_IMAGE); /* scene 102 is scene 102 in any batch */
  assert_int_equal(scene_make(objects, &options, 7, 102, again), STATUS_OK);
  assert_string_equal(again->caption, b.scene[2]->caption);
  assert_memory_equal(again->rgb, b.scene[2]->rgb, TINY_IMAGE * TINY_IMAGE * 3);
  scene_free(again);
  const scene_options none = {.size = TINY_IMAGE, .pictures = SPLIT_TRAIN, .max_objects = 3, .held_out_kinds = true};
  assert_int_equal(caption_batch_make(&b, &m, objects, &none, 7, 100), STATUS_FORMAT);
  caption_batch_free(&b);
  visualrwkv_free(&m);
  object_set_close(objects);
  place_free(&p);
}

int main(int argc, char **argv) {
  omp_set_num_threads(1); /* the same bits whatever the machine */
  if (argc == 4 && !strcmp(argv[1], "--train")) {
    const caption_train_options o = endless(argv[2], argv[3]);
    return caption_train(&o) ? 1 : 0;
  }
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_a_run_is_not_overwritten),
      IN_SCRATCH(test_loss_falls),
      IN_SCRATCH(test_scenes_go_on),
      IN_SCRATCH(test_interrupted_is_uninterrupted),
      IN_SCRATCH(test_stop_flag),
      IN_SCRATCH(test_killed_run_goes_on),
      IN_SCRATCH(test_init),
      IN_SCRATCH(test_bad_options),
      IN_SCRATCH(test_bad_files),
      IN_SCRATCH(test_damaged_checkpoints),
      IN_SCRATCH(test_batches),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
