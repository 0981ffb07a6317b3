/* The public API (linnet.h): what it refuses, and that every way in gives the same captions, from any number of
 * threads. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "linnet.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static const char picture[] = "tests/goldens/clip-preprocess/public/gradient_97x61.png";

static linnet_model *open_tiny(void **state, uint64_t seed) {
  char *path = scratch_path(state, "tiny.safetensors");
  assert_int_equal(tiny_model_write(path, seed), 0);
  linnet_model *model = linnet_open(path);
  if (!model) fail_msg("%s", linnet_error());
  free(path);
  return model;
}

static void test_open(void **state) {
  assert_null(linnet_open(NULL));
  assert_int_equal(linnet_last_status(), LINNET_ERROR_ARGUMENT);
  char *path = scratch_path(state, "none.safetensors");
  assert_null(linnet_open(path));
  assert_int_equal(linnet_last_status(), LINNET_ERROR_IO);
  assert_non_null(strstr(linnet_error(), "none.safetensors"));
  free(path);
  assert_null(linnet_open(picture));
  assert_int_equal(linnet_last_status(), LINNET_ERROR_FORMAT);
  linnet_close(NULL);
  linnet_captions_free(NULL);
  assert_int_equal(linnet_captions_count(NULL), 0);
}

static void refuse(const linnet_model *model, linnet_caption_options o) {
  assert_null(linnet_caption_file(model, picture, &o));
  assert_int_equal(linnet_last_status(), LINNET_ERROR_ARGUMENT);
}

static bool go_on(void *user, const char *text, size_t n) {
  (void)user;
  return text && n;
}

static void test_options(void **state) {
  linnet_model *model = open_tiny(state, 1);
  const linnet_caption_options usual = linnet_caption_defaults();
  linnet_caption_options o;
#define REFUSE(field, bad) (o = usual, o.field = (bad), refuse(model, o))
  REFUSE(count, 0);
  REFUSE(count, 257);
  REFUSE(beam, 0);
  REFUSE(beam, -1);
  REFUSE(max_tokens, 0);
  REFUSE(max_tokens, 4097);
  REFUSE(temperature, -1.0f);
  REFUSE(temperature, NAN);
  REFUSE(temperature, INFINITY);
  REFUSE(top_p, 0.0f);
  REFUSE(top_p, NAN);
#undef REFUSE
  o = usual;
  o.on_token = go_on;
  o.beam = 2;
  refuse(model, o);
  assert_null(linnet_caption_file(NULL, picture, NULL));
  assert_null(linnet_caption_file(model, NULL, NULL));
  assert_null(linnet_caption_memory(model, NULL, 5, NULL));
  assert_null(linnet_caption_memory(model, "", 0, NULL));
  assert_int_equal(linnet_last_status(), LINNET_ERROR_FORMAT);
  const uint8_t rgb[3] = {0};
  assert_null(linnet_caption_pixels(model, rgb, 0, 1, NULL));
  assert_null(linnet_caption_pixels(model, rgb, 1, -1, NULL));
  assert_null(linnet_caption_pixels(model, rgb, 1 << 20, 1 << 20, NULL));
  linnet_close(model);
}

/* The same picture as a file, as its bytes, and as pixels. */
static void test_ways_in(void **state) {
  linnet_model *model = open_tiny(state, 1);
  linnet_caption_options o = linnet_caption_defaults();
  o.count = 2;
  o.temperature = 1;
  o.seed = 9;
  uint8_t rgb[7 * 5 * 3];
  for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i * 37);
  char pnm[32 + sizeof rgb] = "P6\n7 5\n255\n";
  const size_t head = strlen(pnm), n = head + sizeof rgb;
  memcpy(pnm + head, rgb, sizeof rgb);
  char *path = scratch_path(state, "seven.ppm");
  scratch_write(path, pnm, n);

  linnet_captions *found[3] = {linnet_caption_file(model, path, &o), linnet_caption_memory(model, pnm, n, &o),
                               linnet_caption_pixels(model, rgb, 7, 5, &o)};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(linnet_captions_count(found[i]), 2);
    for (int j = 0; j < 2; j++) {
      assert_string_equal(linnet_caption_text(found[i], j), linnet_caption_text(found[0], j));
      assert_true(linnet_caption_log_probability(found[i], j) < 0);
      assert_in_range(linnet_caption_tokens(found[i], j), 1, o.max_tokens);
    }
    assert_null(linnet_caption_text(found[i], 2));
    assert_null(linnet_caption_text(found[i], -1));
  }
  for (int i = 0; i < 3; i++) linnet_captions_free(found[i]);
  free(path);
  linnet_close(model);
}

typedef struct {
  char text[4096];
  size_t n;
  int calls, stop_at;
} listener;

static bool listen(void *user, const char *text, size_t n) {
  listener *l = user;
  assert_true(n > 0 && l->n + n < sizeof l->text);
  memcpy(l->text + l->n, text, n);
  l->text[l->n += n] = 0;
  return ++l->calls != l->stop_at;
}

/* What is streamed is the caption, and the listener can end it. */
static void test_streaming(void **state) {
  linnet_model *model = open_tiny(state, 1);
  listener all = {.stop_at = 0}, some = {.stop_at = 2};
  linnet_caption_options o = linnet_caption_defaults();
  o.on_token = listen;
  o.user = &all;
  linnet_captions *found = linnet_caption_file(model, picture, &o);
  assert_non_null(found);
  assert_true(all.calls > 2);
  assert_string_equal(linnet_caption_text(found, 0), all.text);
  linnet_captions_free(found);
  o.user = &some;
  assert_null(linnet_caption_file(model, picture, &o));
  assert_int_equal(linnet_last_status(), LINNET_ERROR_INTERRUPTED);
  assert_int_equal(some.calls, 2);
  assert_int_equal(strncmp(all.text, some.text, some.n), 0);
  linnet_close(model);
}

static void *caption_again(void *model) {
  char *text = NULL;
  for (int i = 0; i < 5; i++) {
    linnet_captions *found = linnet_caption_file(model, picture, NULL);
    free(text);
    text = found ? strdup(linnet_caption_text(found, 0)) : NULL;
    linnet_captions_free(found);
  }
  return text;
}

/* One model, several threads at once. */
static void test_threads(void **state) {
  enum { THREADS = 4 };
  linnet_model *model = open_tiny(state, 1);
  linnet_set_threads(1);
  char *alone = caption_again(model), *said;
  assert_non_null(alone);
  pthread_t thread[THREADS];
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, caption_again, model), 0);
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(thread[i], &result);
    said = result;
    assert_non_null(said);
    assert_string_equal(said, alone);
    free(said);
  }
  free(alone);
  linnet_set_threads(0);
  assert_non_null(strstr(linnet_devices(), "threads: "));
  linnet_close(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_open, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_options, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_ways_in, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_streaming, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_threads, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
