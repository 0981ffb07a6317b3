/* A captioner's file: written and opened again, without its metadata or with absurd ones, cut off anywhere. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/caption.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_captioner.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check_same_captions(const visualrwkv *a, const visualrwkv *b) {
  enum { PICTURES = 4 };
  ctx *c = ctx_new();
  float *pixels = tiny_pictures(PICTURES, 1);
  caption ours[PICTURES], theirs[PICTURES];
  const tensor x = {.type = DTYPE_F32, .n_dims = 4, .dim = {PICTURES, TINY_IMAGE, TINY_IMAGE, 3}, .data = pixels};
  const caption_options greedy = {.count = 1, .beam = 1, .max_tokens = 12};
  assert_int_equal(caption_pictures(c, a, &x, &greedy, ours), STATUS_OK);
  assert_int_equal(caption_pictures(c, b, &x, &greedy, theirs), STATUS_OK);
  for (int i = 0; i < PICTURES; i++) {
    assert_string_equal(ours[i].text, theirs[i].text);
    assert_true(ours[i].log_probability == theirs[i].log_probability);
  }
  captions_free(ours, PICTURES), captions_free(theirs, PICTURES);
  free(pixels);
  ctx_free(c);
}

static void test_saved_and_opened(void **state) {
  char *path = scratch_path(state, "m.safetensors");
  visualrwkv m;
  tiny_captioner(&m, 60, TINY_TIDY);
  static const char *const provenance[1][2] = {{"made.by", "a test"}};
  const params_file what = {.type = CHECKPOINT_F32, .n_metadata = 1, .metadata = provenance};
  assert_int_equal(visualrwkv_save(&m, path, &what), STATUS_OK);
  visualrwkv *again = visualrwkv_open(path);
  if (!again) fail_msg("%s", last_error());
  visualrwkv_config a = m.config, b = again->config;
  assert_memory_equal(&a.lm, &b.lm, sizeof a.lm);
  assert_int_equal(a.tower.depth, b.tower.depth);
  assert_int_equal(a.tower.grid_w, b.tower.grid_w);
  assert_int_equal(a.tower.alternate_scan, b.tower.alternate_scan);
  assert_int_equal(a.image_size, b.image_size);
  assert_int_equal(a.image_grid, b.image_grid);
  assert_int_equal(a.bidirectional, b.bidirectional);
  assert_string_equal(m.before, again->before);
  assert_string_equal(m.after, again->after);
  assert_string_equal(m.vocabulary, again->vocabulary);
  assert_int_equal(m.stop, again->stop);
  check_same_captions(&m, again);
  visualrwkv_close(again);

  m.config.bidirectional = m.config.tower.alternate_scan = false; /* the other of both choices, in 16 bits */
  assert_int_equal(visualrwkv_save(&m, path, &(params_file){.type = CHECKPOINT_F16}), STATUS_OK);
  again = visualrwkv_open(path);
  assert_non_null(again);
  assert_false(again->config.bidirectional || again->config.tower.alternate_scan);
  visualrwkv_close(again);
  visualrwkv_close(NULL);
  visualrwkv_free(&m);
  free(path);
}

static void test_vocabulary_must_fit(void **state) {
  (void)state;
  visualrwkv m;
  visualrwkv_config config = tiny_captioner_config();
  char *vocabulary = tiny_captioner_vocabulary();
  config.lm.vocab_size = 260;
  assert_int_equal(visualrwkv_declare(&m, &config, vocabulary, "", ""), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "260"));
  visualrwkv_free(&m);
  config = tiny_captioner_config();
  assert_int_equal(visualrwkv_declare(&m, &config, "nonsense", "", ""), STATUS_FORMAT);
  visualrwkv_free(&m);
  static const int grids[][2] = {{20, 0}, {20, 4}, {0, 1}, {5000, 2}, {2056, 2}, {INT_MAX, 1}, {-4, 1}};
  for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
    config.image_size = grids[i][0];
    config.image_grid = grids[i][1];
    assert_int_equal(visualrwkv_declare(&m, &config, vocabulary, "", ""), STATUS_FORMAT);
    visualrwkv_free(&m);
  }
  free(vocabulary);
}

/* One sentence: some words, no line breaks, and the file's name in it. */
static void check_refused(const char *path) {
  visualrwkv *m = visualrwkv_open(path);
  assert_null(m);
  assert_true(last_status() < 0);
  const char *text = last_error();
  if (!strstr(text, path) || strpbrk(text, "\n\033") || strlen(text) < strlen(path) + 10) fail_msg("'%s'", text);
}

enum { KEYS = 8 };
static const char *const keys[KEYS] = {"linnet.system",        "linnet.image_size",  "linnet.image_grid",
                                       "linnet.scan",          "linnet.tower_scan",  "linnet.vocabulary",
                                       "linnet.prompt_before", "linnet.prompt_after"};

/* Writes the model with the metadata of a good file, but `key` left out or of another value. */
static void save_with(const visualrwkv *m, const checkpoint *good, const char *path, const char *key,
                      const char *value) {
  const char *pairs[KEYS][2];
  size_t n = 0;
  for (int i = 0; i < KEYS; i++) {
    const char *text = !strcmp(keys[i], key) ? value : checkpoint_metadata(good, keys[i]);
    if (!text) continue;
    pairs[n][0] = keys[i];
    pairs[n++][1] = text;
  }
  const params_file what = {.type = CHECKPOINT_F16, .n_metadata = n, .metadata = (const char *const(*)[2])pairs};
  assert_int_equal(params_save(&m->params, path, &what), STATUS_OK);
}

static void test_bad_metadata(void **state) {
  static const struct {
    int key;
    const char *value;
  } absurd[] = {
      {0, "other"},
      {0, ""},
      {0, "a\n\033[31mline"},
      {1, ""},
      {1, "abc"},
      {1, "0"},
      {1, "-20"},
      {1, "99999999999999999999"},
      {1, "20x"},
      {1, "5000"},
      {2, "4"},
      {2, "2.5"},
      {2, "0"},
      {3, "spiral"},
      {3, ""},
      {4, "both"},
      {5, ""},
      {5, "1 'a' 1\n"},
      {5, "x"},
      {5, "2 'a' 1"},
  };
  char *path = scratch_path(state, "good.safetensors"), *bad = scratch_path(state, "bad.safetensors");
  visualrwkv m;
  tiny_captioner(&m, 61, TINY_TIDY);
  assert_int_equal(visualrwkv_save(&m, path, &(params_file){.type = CHECKPOINT_F16}), STATUS_OK);
  checkpoint *good = checkpoint_open(path);
  assert_non_null(good);
  for (int i = 0; i < KEYS; i++) {
    save_with(&m, good, bad, keys[i], NULL);
    check_refused(bad);
    assert_non_null(strstr(last_error(), keys[i]));
  }
  for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
    save_with(&m, good, bad, keys[absurd[i].key], absurd[i].value);
    check_refused(bad);
  }
  enum { LONG = 1 << 17 };
  char *prompt = malloc(LONG + 1);
  assert_non_null(prompt);
  memset(prompt, 'a', LONG);
  prompt[LONG] = 0;
  save_with(&m, good, bad, keys[6], prompt);
  check_refused(bad);
  assert_non_null(strstr(last_error(), "prompt"));
  free(prompt);
  char *longer = malloc(strlen(m.vocabulary) + 4096), *end = longer; /* as many words as the model has rows, and more */
  assert_non_null(longer);
  end += sprintf(end, "%s", m.vocabulary);
  for (int id = (int)tokenizer_size(m.words); id <= TINY_VOCABULARY; id++)
    end += sprintf(end, "%d 'w%d' %d\n", id, id, 4);
  save_with(&m, good, bad, keys[5], longer);
  check_refused(bad);
  free(longer);
  save_with(&m, good, bad, "nothing", NULL); /* the way of writing itself is sound */
  visualrwkv *again = visualrwkv_open(bad);
  assert_non_null(again);
  visualrwkv_close(again);
  checkpoint_close(good);
  visualrwkv_free(&m);
  free(path), free(bad);
}

/* The config follows one tensor; the others must fit it. */
static void test_shapes_that_do_not_fit(void **state) {
  char *path = scratch_path(state, "good.safetensors"), *bad = scratch_path(state, "bad.safetensors");
  visualrwkv m;
  tiny_captioner(&m, 62, TINY_TIDY);
  assert_int_equal(visualrwkv_save(&m, path, &(params_file){.type = CHECKPOINT_F16}), STATUS_OK);
  checkpoint *good = checkpoint_open(path);
  static const char *const names[] = {"rwkv.blocks.0.ffn.key.weight",    "vit.image_model.layers.0.ffn.key.weight",
                                      "rwkv.blocks.0.att.time_decay_w1", "rwkv.emb.weight",
                                      "vit.image_model.pos_embed",       "proj.weight"};
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    param odd = {0};
    int64_t dim[PARAM_DIMS];
    param *p = NULL;
    for (size_t i = 0; i < m.params.n; i++)
      if (!strcmp(m.params.item[i].name, names[k])) p = &m.params.item[i];
    assert_non_null(p);
    odd = *p; /* the same number of values, as one long row or column */
    memcpy(dim, p->dim, sizeof dim);
    int long_one = k == 2 ? 1 : k == 4 ? 2 : 0;
    int64_t all = tensor_count(p->value);
    for (int i = 0; i < p->n_dims; i++) p->dim[i] = i == long_one ? all : 1;
    save_with(&m, good, bad, "nothing", NULL);
    check_refused(bad);
    memcpy(p->dim, odd.dim, sizeof dim);
  }
  checkpoint_close(good);
  visualrwkv_free(&m);
  free(path), free(bad);
}

static void test_cut_files(void **state) {
  char *path = scratch_path(state, "whole.safetensors"), *cut = scratch_path(state, "cut.safetensors");
  visualrwkv m;
  tiny_captioner(&m, 63, TINY_TIDY);
  assert_int_equal(visualrwkv_save(&m, path, &(params_file){.type = CHECKPOINT_F16}), STATUS_OK);
  visualrwkv_free(&m);
  size_t n;
  char *bytes = scratch_read(path, &n);
  rng g = rng_make(1, 1);
  for (int i = 0; i < 90; i++) {
    size_t length = i < 20 ? (size_t)i : i < 30 ? n - (size_t)(i - 19) : rng_below(&g, (uint32_t)n);
    scratch_write(cut, bytes, length);
    check_refused(cut);
  }
  scratch_write(cut, bytes, n);
  visualrwkv *again = visualrwkv_open(cut);
  assert_non_null(again);
  visualrwkv_close(again);
  free(bytes);
  free(path), free(cut);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_saved_and_opened), cmocka_unit_test(test_vocabulary_must_fit),
      IN_SCRATCH(test_bad_metadata),     IN_SCRATCH(test_shapes_that_do_not_fit),
      IN_SCRATCH(test_cut_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
