#include "tests/support/tiny_pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SIDE = 24 };

static const object_kind all[TINY_KINDS] = {
    {"disc", "discs", "a", false},
    {"square", "squares", "a", false},
    {"cross", "crosses", "a", false},
    {"ring", "rings", "a", true},
};

static void draw(const tiny_shape *shape, uint8_t *rgba) {
  static const uint8_t red[] = {214, 30, 30}, green[] = {40, 150, 60}, blue[] = {40, 90, 210};
  const uint8_t *ink = shape->colour == COLOUR_RED ? red : shape->colour == COLOUR_GREEN ? green : blue;
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++, rgba += 4) {
      double u = (2 * x + 1.0) / SIDE - 1, v = (2 * y + 1.0) / SIDE - 1, r = sqrt(u * u + v * v);
      const bool inside[TINY_KINDS] = {r < 1, true, fabs(u) < 0.4 || fabs(v) < 0.4, r < 1 && r > 0.5};
      memcpy(rgba, ink, 3);
      rgba[3] = inside[shape->shape] ? 255 : 0;
    }
}

void tiny_pack_write_shapes(const char *path, int kinds, const tiny_shape *shapes, int n) {
  object_picture *pictures = calloc((size_t)n, sizeof *pictures);
  uint8_t *pixels = calloc((size_t)n, SIDE * SIDE * 4);
  assert_non_null(pictures);
  assert_non_null(pixels);
  for (int i = 0; i < n; i++) {
    uint8_t *rgba = pixels + (size_t)i * SIDE * SIDE * 4;
    draw(&shapes[i], rgba);
    pictures[i] = (object_picture){.kind = (uint32_t)shapes[i].shape,
                                   .split = (uint8_t)shapes[i].split,
                                   .colour = (uint8_t)shapes[i].colour,
                                   .width = SIDE,
                                   .height = SIDE,
                                   .rgba = rgba,
                                   .name = "shape"};
    assert_int_equal(colour_of_picture(rgba, SIDE * SIDE), shapes[i].colour);
  }
  if (object_pack_write(path, all, (uint32_t)kinds, pictures, (uint32_t)n)) fail_msg("%s", last_error());
  free(pixels);
  free(pictures);
}

void tiny_pack_write(const char *path, int kinds) {
  static const tiny_shape one[] = {
      {0, SPLIT_TRAIN, COLOUR_RED},       {0, SPLIT_TRAIN, COLOUR_GREEN}, {0, SPLIT_TRAIN, COLOUR_BLUE},
      {0, SPLIT_VALIDATION, COLOUR_BLUE}, {0, SPLIT_TEST, COLOUR_RED},    {0, SPLIT_TEST, COLOUR_GREEN},
  };
  enum { EACH = sizeof one / sizeof *one };
  tiny_shape shapes[TINY_KINDS * EACH];
  int n = 0;
  for (int k = 0; k < kinds; k++)
    for (int i = 0; i < EACH; i++) {
      if (k == TINY_HELD_OUT && one[i].split != SPLIT_TEST) continue;
      shapes[n] = one[i];
      shapes[n++].shape = k;
    }
  tiny_pack_write_shapes(path, kinds, shapes, n);
}
