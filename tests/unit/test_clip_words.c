/* A pair's texts as rows of ids, and the pair as verbs open it: vocabulary and pictures. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusion/clip_model.h"
#include "lm/text.h"
#include "tests/support/clip_skeleton.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_clip.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { T = TINY_CLIP_CONTEXT, D = TINY_CLIP_WIDTH, S = TINY_CLIP_SIDE };

static clip_model *opened(const char *path, const char *vocabulary) {
  clip_model *m = clip_model_open(path, vocabulary);
  if (!m) fail_msg("%s", last_error());
  return m;
}

static int length_of(const int32_t *row) {
  int n = 0;
  while (n < T && row[n]) n++;
  for (int t = n; t < T; t++) assert_int_equal(row[t], 0);
  return n;
}

static void test_rows_of_an_own_vocabulary(void **state) {
  clip_model *m = tiny_clip_model(state, 1);
  static const char *const texts[] = {"a red disc", "  A\tRED &quot; disc\n", "",
                                      "a cat a cat a cat a cat a cat a cat a"};
  int32_t ids[4 * T];
  size_t cut = 99;
  assert_int_equal(m->words.length, T);
  assert_int_equal(clip_words_ids(&m->words, texts, 4, ids, &cut), STATUS_OK);
  assert_int_equal(length_of(ids), 3);
  assert_true(ids[0] > 256 && ids[1] > 256 && ids[2] > 256);
  assert_int_equal(length_of(ids + T), 5); /* repaired, in small letters; the quote is a space and itself */
  assert_int_equal(ids[T], ids[0]);
  assert_int_equal(ids[T + 1], ids[1]);
  assert_int_equal(ids[T + 4], ids[2]);
  assert_int_equal(length_of(ids + 2 * T), 1); /* a space */
  assert_int_equal(length_of(ids + 3 * T), T - 1);
  assert_int_equal(cut, 1);
  assert_int_equal(clip_words_ids(&m->words, texts, 1, ids + T, NULL), STATUS_OK);
  assert_memory_equal(ids, ids + T, T * sizeof *ids);

  /* many texts at once are as they are alone */
  enum { MANY = 150 };
  const char *many[MANY];
  float *rows = malloc(MANY * D * sizeof *rows), alone[D];
  for (int i = 0; i < MANY; i++) many[i] = texts[i % 4];
  ctx *c = ctx_new();
  assert_int_equal(clip_model_texts(c, m, many, MANY, rows, &cut), STATUS_OK);
  assert_int_equal(cut, MANY / 4);
  for (int i = 0; i < MANY; i += 49) {
    double length = 0;
    assert_int_equal(clip_model_texts(c, m, many + i, 1, alone, NULL), STATUS_OK);
    for (int d = 0; d < D; d++) {
      assert_true(fabs((double)alone[d] - (double)rows[i * D + d]) < 1e-5);
      length += (double)alone[d] * (double)alone[d];
    }
    assert_true(fabs(length - 1) < 1e-5);
  }
  assert_int_equal(clip_model_texts(c, m, many, 0, rows, &cut), STATUS_OK);
  assert_int_equal(cut, 0);
  free(rows);
  ctx_free(c);
  clip_model_close(m);
}

static void test_rows_of_clip(void **state) {
  (void)state;
  clip_pair m = {.config = tiny_clip_config()};
  m.config.rwkv_text.vocab_size = CLIP_SKELETON_END + 1;
  clip_words w;
  tokenizer *merges = tokenizer_parse(CLIP_SKELETON, strlen(CLIP_SKELETON), "skeleton");
  assert_int_equal(clip_words_take(&w, &m, merges), STATUS_OK);
  static const char *const texts[] = {"The cat", "<end_of_text>"};
  int32_t ids[2 * T];
  assert_int_equal(clip_words_ids(&w, texts, 2, ids, NULL), STATUS_OK);
  assert_int_equal(ids[0], CLIP_SKELETON_START);
  assert_int_equal(ids[3], CLIP_SKELETON_END);
  assert_int_equal(ids[T + 1], CLIP_SKELETON_END); /* as RWKV-CLIP spells it */
  clip_words_free(&w);
  m.config.rwkv_text.vocab_size--;
  merges = tokenizer_parse(CLIP_SKELETON, strlen(CLIP_SKELETON), "skeleton");
  assert_int_equal(clip_words_take(&w, &m, merges), STATUS_ARGUMENT);
  clip_words_free(&w);
  m.config.context = 1;
  merges = tokenizer_parse(CLIP_SKELETON, strlen(CLIP_SKELETON), "skeleton");
  assert_int_equal(clip_words_take(&w, &m, merges), STATUS_ARGUMENT);
  clip_words_free(&w);
}

static void test_vocabularies(void **state) {
  char *path = scratch_path(state, "pair.gguf"), *bare = scratch_path(state, "bare.safetensors"),
       *file = scratch_path(state, "vocabulary"), *merges = scratch_path(state, "merges"),
       *own = tiny_clip_vocabulary();
  const char *const text = "a red disc";
  int32_t ids[T], same[T];
  assert_int_equal(tiny_clip_write(path, 1), STATUS_OK);
  clip_model *m = opened(path, NULL);
  assert_int_equal(clip_words_ids(&m->words, &text, 1, ids, NULL), STATUS_OK);
  assert_int_equal(clip_save(&m->pair, bare, &(params_file){.type = CHECKPOINT_F32}), STATUS_OK);
  clip_model_close(m);

  m = opened(bare, NULL); /* pictures need no words */
  ctx *c = ctx_new();
  float row[D];
  assert_int_equal(clip_model_texts(c, m, &text, 1, row, NULL), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), "--vocab"));
  clip_model_close(m);
  scratch_write(file, own, strlen(own));
  m = opened(bare, file);
  assert_int_equal(clip_words_ids(&m->words, &text, 1, same, NULL), STATUS_OK);
  assert_memory_equal(ids, same, sizeof ids);
  clip_model_close(m);
  scratch_write(merges, CLIP_SKELETON, strlen(CLIP_SKELETON));
  assert_null(clip_model_open(bare, merges)); /* more tokens than the tower */
  assert_non_null(strstr(last_error(), merges));
  assert_non_null(strstr(last_error(), "not this pair's"));
  unlink(file);
  assert_null(clip_model_open(bare, file));
  assert_null(clip_model_open(file, NULL));
  ctx_free(c);
  free(path), free(bare), free(file), free(merges), free(own);
}

/* What a file says of its pictures and texts comes back, and decides how pictures are made to fit. */
static void test_pictures(void **state) {
  char *path = scratch_path(state, "pair.safetensors");
  clip_model *m = tiny_clip_model(state, 1);
  image *wide = image_new(IMAGE_RGB, 40, 20);
  for (int i = 0; i < 40 * 20 * 3; i++) ((uint8_t *)wide->pixels)[i] = (uint8_t)(i * 7);
  float got[S * S * 3], want[S * S * 3];
  image *fitted = image_fit_square(wide, S);
  clip_model_normalise(m, fitted->pixels, want);
  assert_true(m->pair.config.fit);
  assert_int_equal(clip_model_pixels(m, wide, got), STATUS_OK);
  assert_memory_equal(got, want, sizeof got);

  m->pair.config.fit = false;
  m->pair.config.context = 0;
  assert_int_equal(clip_save(&m->pair, path, &(params_file){.type = CHECKPOINT_F32}), STATUS_OK);
  clip_model_close(m);
  m = opened(path, NULL);
  assert_false(m->pair.config.fit);
  assert_int_equal(clip_text_length(&m->pair), RWKV_CLIP_CONTEXT);
  assert_int_equal(clip_model_pixels(m, wide, got), STATUS_OK);
  assert_int_equal(clip_pixels(wide, S, want), STATUS_OK);
  assert_memory_equal(got, want, sizeof got);
  clip_model_close(m);
  image_free(wide), image_free(fitted);
  free(path);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_rows_of_an_own_vocabulary),
      cmocka_unit_test(test_rows_of_clip),
      IN_SCRATCH(test_vocabularies),
      IN_SCRATCH(test_pictures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
