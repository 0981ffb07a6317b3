/* Embeddings of many pictures and texts: each the same as alone, whatever the batch and the threads; broken pictures;
 * the ends of texts that are too long; ends by the one who is told. */
#include "fusion/embed.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "tests/support/tiny_clip.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PICTURES = 53, D = TINY_CLIP_WIDTH };

static void good(status s) {
  if (s) fail_msg("%s", last_error());
}

/* Picture i: noise of a size of its own; every ninth cannot be had. */
static image *noise(void *user, size_t i) {
  (void)user;
  if (i % 9 == 4) return fail_null(STATUS_FORMAT, "picture %zu is broken", i);
  image *im = image_new(IMAGE_RGB, 10 + (int)i, 40 - (int)i / 2);
  rng g = rng_make(8, i);
  for (size_t k = 0; im && k < (size_t)im->width * (size_t)im->height * 3; k++)
    ((uint8_t *)im->pixels)[k] = (uint8_t)rng_below(&g, 256);
  return im;
}

typedef struct {
  size_t next, stop;
  int wrong;
  float row[PICTURES][D];
  bool there[PICTURES], cut[PICTURES];
} table;

static status note(void *user, const embedded *e) {
  table *t = user;
  char sentence[64];
  t->wrong += e->index != t->next++ || !e->row == !e->error;
  t->there[e->index] = e->row != NULL;
  t->cut[e->index] = e->cut;
  if (e->row) memcpy(t->row[e->index], e->row, sizeof t->row[0]);
  snprintf(sentence, sizeof sentence, "picture %zu is broken", e->index);
  if (e->error) t->wrong += strcmp(e->error, sentence) != 0 || e->width || e->height;
  return t->next == t->stop ? (fail)(STATUS_INTERRUPTED, "enough") : STATUS_OK;
}

static status note_picture(void *user, const embedded *e) {
  table *t = user;
  if (e->row) t->wrong += e->width != 10 + (int)e->index || e->height != 40 - (int)e->index / 2;
  return note(user, e);
}

/* One picture by the tower's own function; `raw`: not of length 1. */
static void plain(ctx *c, const clip_model *m, size_t i, bool raw, float *row) {
  float pixels[TINY_CLIP_SIDE * TINY_CLIP_SIDE * 3];
  image *im = noise(NULL, i);
  good(clip_model_pixels(m, im, pixels));
  image_free(im);
  const tensor x = {.type = DTYPE_F32, .n_dims = 4, .dim = {1, TINY_CLIP_SIDE, TINY_CLIP_SIDE, 3}, .data = pixels};
  if (!raw) {
    good(clip_encode_images(c, &m->pair, &x, row));
    return;
  }
  memcpy(row, clip_image_features(c, &m->pair, &x)->data, D * sizeof *row);
  ctx_reset(c);
}

static void check_pictures(ctx *c, const clip_model *m, const embed_options *o) {
  static table t;
  memset(&t, 0, sizeof t);
  good(embed_pictures(m, noise, NULL, PICTURES, o, note_picture, &t));
  assert_int_equal(t.next, PICTURES);
  assert_int_equal(t.wrong, 0);
  double longest = 0;
  for (size_t i = 0; i < PICTURES; i++) {
    float want[D];
    double length = 0;
    assert_int_equal(t.there[i], i % 9 != 4);
    if (!t.there[i]) continue;
    plain(c, m, i, o->raw, want);
    for (int d = 0; d < D; d++) {
      assert_true(fabs((double)t.row[i][d] - (double)want[d]) < 1e-5);
      length += (double)want[d] * (double)want[d];
    }
    longest = fmax(longest, fabs(sqrt(length) - 1));
  }
  assert_int_equal(longest > 1e-3, o->raw);
}

static void test_pictures(void **state) {
  static const int batches[] = {0, 1, 5, 100}, threads[] = {1, 2, 3};
  ctx *c = ctx_new();
  clip_model *m = tiny_clip_model(state, 5);
  for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
    for (size_t n = 0; n < sizeof threads / sizeof *threads; n++) {
      omp_set_num_threads(threads[n]);
      check_pictures(c, m, &(embed_options){.batch = batches[b], .raw = (b + n) % 2});
    }
  good(embed_pictures(m, noise, NULL, 0, &(embed_options){0}, note, NULL)); /* none */
  clip_model_close(m);
  ctx_free(c);
}

static void test_texts(void **state) {
  enum { N = 40 };
  static char room[N][64];
  static table t;
  const char *text[N];
  ctx *c = ctx_new();
  clip_model *m = tiny_clip_model(state, 5);
  for (int i = 0; i < N; i++) {
    snprintf(room[i], sizeof room[i], i % 5 ? "a red disc %d" : "number %d is a text that the tower cannot hold", i);
    text[i] = room[i];
  }
  text[3] = "";
  for (int threads = 1; threads <= 3; threads++)
    for (int raw = 0; raw < 2; raw++) {
      memset(&t, 0, sizeof t);
      omp_set_num_threads(threads);
      good(embed_texts(m, text, N, &(embed_options){.batch = 3 * threads, .raw = raw}, note, &t));
      assert_true(t.next == N && !t.wrong);
      for (int i = 0; i < N; i++) {
        float want[D];
        double length = 0;
        assert_int_equal(t.cut[i], i % 5 == 0);
        good(clip_model_texts(c, m, &text[i], 1, want, NULL));
        for (int d = 0; d < D; d++) length += (double)t.row[i][d] * (double)t.row[i][d];
        length = sqrt(length);
        assert_int_equal(fabs(length - 1) > 1e-3, raw);
        for (int d = 0; d < D; d++) assert_true(fabs((double)t.row[i][d] / length - (double)want[d]) < 1e-5);
      }
    }
  clip_model_close(m);
  ctx_free(c);
}

static void test_ends(void **state) {
  static table t;
  clip_model *m = tiny_clip_model(state, 5);
  omp_set_num_threads(2);
  memset(&t, 0, sizeof t);
  t.stop = 20;
  assert_int_equal(embed_pictures(m, noise, NULL, PICTURES, &(embed_options){.batch = 3}, note, &t),
                   STATUS_INTERRUPTED);
  assert_string_equal(last_error(), "enough");
  assert_int_equal(t.next, 20);
  m->pair.config.has_image = false;
  assert_int_equal(embed_pictures(m, noise, NULL, 1, &(embed_options){0}, note, &t), STATUS_UNSUPPORTED);
  m->pair.config.has_image = true, m->pair.config.has_text = false;
  assert_int_equal(embed_texts(m, (const char *const[]){"a"}, 1, &(embed_options){0}, note, &t), STATUS_UNSUPPORTED);
  m->pair.config.has_text = true;
  tokenizer *words = m->words.words;
  m->words.words = NULL;
  assert_int_equal(embed_texts(m, (const char *const[]){"a"}, 1, &(embed_options){0}, note, &t), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), "--vocab"));
  m->words.words = words;
  clip_model_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_pictures, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_texts, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_ends, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
