/* The public API for pictures and words (linnet.h): what it refuses, that every way in gives the same row, which is
 * that of the towers, and classes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/file.h"
#include "linnet.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_clip.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum { D = TINY_CLIP_WIDTH };
static const char picture[] = "tests/goldens/clip-preprocess/public/gradient_97x61.png";

static void good(linnet_status s) {
  if (s) fail_msg("%s", linnet_error());
}

static linnet_pair *open_tiny(void **state, clip_model **inner) {
  char *path = scratch_path(state, "pair.gguf");
  assert_int_equal(tiny_clip_write(path, 3), STATUS_OK);
  linnet_pair *pair = linnet_pair_open(path, NULL);
  if (!pair) fail_msg("%s", linnet_error());
  if (inner) assert_non_null(*inner = clip_model_open(path, NULL));
  free(path);
  return pair;
}

static void test_misuse(void **state) {
  float row[D];
  const uint8_t rgb[3] = {0};
  assert_null(linnet_pair_open(NULL, NULL));
  assert_int_equal(linnet_last_status(), LINNET_ERROR_ARGUMENT);
  assert_null(linnet_pair_open(picture, NULL));
  assert_int_equal(linnet_last_status(), LINNET_ERROR_FORMAT);
  linnet_pair_close(NULL);
  linnet_classes_free(NULL);
  assert_int_equal(linnet_pair_width(NULL), 0);
  linnet_pair *pair = open_tiny(state, NULL);
  assert_int_equal(linnet_pair_width(pair), D);
  assert_int_equal(linnet_embed_file(NULL, picture, row), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_embed_file(pair, picture, NULL), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_embed_file(pair, NULL, row), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_embed_file(pair, "tests/none.png", row), LINNET_ERROR_IO);
  assert_non_null(strstr(linnet_error(), "none.png"));
  assert_int_equal(linnet_embed_memory(pair, NULL, 3, row), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_embed_memory(pair, "GIF89a", 6, row), LINNET_ERROR_FORMAT);
  assert_int_equal(linnet_embed_pixels(pair, NULL, 1, 1, row), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_embed_pixels(pair, rgb, 0, 1, row), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_embed_text(NULL, "a cat", row), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_embed_text(pair, NULL, row), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_embed_text(pair, "a cat", NULL), LINNET_ERROR_ARGUMENT);
  const char *labels[] = {"cat", " "}, *none = "a cat";
  assert_null(linnet_classes_new(NULL, labels, 1, NULL, 0));
  assert_null(linnet_classes_new(pair, labels, 0, NULL, 0));
  assert_null(linnet_classes_new(pair, labels, 2, NULL, 0)); /* a label without a name */
  assert_null(linnet_classes_new(pair, labels, 1, &none, 1));
  assert_non_null(strstr(linnet_error(), "{}"));
  linnet_pair_close(pair);
}

static void check_unit(const float *row) {
  double sum = 0;
  for (int i = 0; i < D; i++) sum += (double)row[i] * (double)row[i];
  assert_true(fabs(sum - 1) < 1e-5);
}

static void test_rows(void **state) {
  clip_model *inner;
  linnet_pair *pair = open_tiny(state, &inner);
  float by_file[D], by_memory[D], by_pixels[D], text[D], expected[D];
  size_t n;
  void *bytes = file_read(picture, 1 << 20, &n);
  image *im = image_open(picture, NULL);
  assert_true(bytes && im && im->mode == IMAGE_RGB);
  good(linnet_embed_file(pair, picture, by_file));
  good(linnet_embed_memory(pair, bytes, n, by_memory));
  good(linnet_embed_pixels(pair, im->pixels, im->width, im->height, by_pixels));
  assert_memory_equal(by_file, by_memory, sizeof by_file);
  assert_memory_equal(by_file, by_pixels, sizeof by_file);
  check_unit(by_file);
  const int64_t shape[] = {1, TINY_CLIP_SIDE, TINY_CLIP_SIDE, 3};
  float pixels[TINY_CLIP_SIDE * TINY_CLIP_SIDE * 3];
  ctx *c = ctx_new();
  assert_int_equal(clip_model_pixels(inner, im, pixels), STATUS_OK);
  const tensor *given = tensor_wrap(c, DTYPE_F32, pixels, 4, shape);
  assert_int_equal(clip_encode_images(c, &inner->pair, given, expected), STATUS_OK);
  for (int i = 0; i < D; i++) assert_true(fabsf(expected[i] - by_file[i]) < 1e-6f);
  const char *said = "a red cat";
  good(linnet_embed_text(pair, said, text));
  check_unit(text);
  assert_int_equal(clip_model_texts(c, inner, &said, 1, expected, NULL), STATUS_OK);
  for (int i = 0; i < D; i++) assert_true(fabsf(expected[i] - text[i]) < 1e-6f);
  ctx_free(c);
  image_free(im);
  free(bytes);
  clip_model_close(inner);
  linnet_pair_close(pair);
}

static void test_classes(void **state) {
  linnet_pair *pair = open_tiny(state, NULL);
  const char *labels[] = {"cat", "dog", "red bird"}, *templates[] = {"a {}", "two {}s"};
  float row[D], alone[3], asked[3], texts[3][D], sum = 0;
  good(linnet_embed_file(pair, picture, row));
  linnet_classes *plain = linnet_classes_new(pair, labels, 3, NULL, 0);
  linnet_classes *filled = linnet_classes_new(pair, labels, 3, templates, 2);
  assert_true(plain && filled);
  for (int k = 0; k < 3; k++) good(linnet_embed_text(pair, labels[k], texts[k]));
  linnet_pair_close(pair); /* they do not need it */
  assert_int_equal(linnet_classify(NULL, row, alone), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_classify(plain, NULL, alone), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_classify(plain, row, NULL), LINNET_ERROR_ARGUMENT);
  good(linnet_classify(plain, row, alone));
  good(linnet_classify(filled, row, asked));
  for (int k = 0; k < 3; k++) sum += alone[k];
  assert_true(fabsf(sum - 1) < 1e-5f);
  assert_memory_not_equal(alone, asked, sizeof alone);
  for (int a = 0; a < 3; a++)
    for (int b = 0; b < 3; b++) { /* the nearer text is the likelier class */
      float near = 0;
      for (int i = 0; i < D; i++) near += row[i] * (texts[a][i] - texts[b][i]);
      assert_true(near < 1e-6f || alone[a] > alone[b]);
    }
  linnet_classes_free(plain);
  linnet_classes_free(filled);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {IN_SCRATCH(test_misuse), IN_SCRATCH(test_rows), IN_SCRATCH(test_classes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
