/* make_tiny_objects FILE: an object pack of plain shapes in plain colours, with pictures in every split and one kind
 * held out, for the tests of `linnet train` and `linnet eval`. */
#include <stdio.h>
#include <string.h>

#include "data/objects.h"

enum { SIDE = 24, KINDS = 4, COLOURS_SHOWN = 4, EACH = 2, PICTURES = KINDS * COLOURS_SHOWN * EACH };

/* The kinds in the order of the table: box, cross, diamond, disc. */
static bool inside(int kind, int x, int y) {
  const int u = 2 * x + 1 - SIDE, v = 2 * y + 1 - SIDE, p = u < 0 ? -u : u, q = v < 0 ? -v : v;
  switch (kind) {
  case 0:
    return true;
  case 1:
    return p < SIDE / 3 || q < SIDE / 3;
  case 2:
    return p + q < SIDE;
  default:
    return p * p + q * q < SIDE * SIDE;
  }
}

static void draw(int kind, const uint8_t ink[3], uint8_t *rgba) {
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++, rgba += 4) {
      memcpy(rgba, ink, 3);
      rgba[3] = inside(kind, x, y) ? 255 : 0;
    }
}

int main(int argc, char **argv) {
  static const object_kind kinds[KINDS] = {{"box", "boxes", "a", false},
                                           {"cross", "crosses", "a", false},
                                           {"diamond", "diamonds", "a", true},
                                           {"disc", "discs", "a", false}};
  static const uint8_t ink[COLOURS_SHOWN][3] = {{214, 30, 30}, {40, 150, 60}, {40, 90, 210}, {250, 215, 40}};
  static const split turn[COLOURS_SHOWN] = {SPLIT_TRAIN, SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST};
  static uint8_t pixels[PICTURES][SIDE * SIDE * 4];
  static object_picture pictures[PICTURES];
  if (argc != 2) {
    fprintf(stderr, "usage: %s FILE\n", argv[0]);
    return 2;
  }
  for (int i = 0; i < PICTURES; i++) {
    const int kind = i / (COLOURS_SHOWN * EACH), shade = i / EACH % COLOURS_SHOWN;
    draw(kind, ink[shade], pixels[i]);
    pictures[i] = (object_picture){.kind = (uint32_t)kind,
                                   .split = (uint8_t)(kinds[kind].held_out ? SPLIT_TEST : turn[shade]),
                                   .colour = (uint8_t)colour_of_picture(pixels[i], SIDE * SIDE),
                                   .source = SOURCE_CLIPART,
                                   .width = SIDE,
                                   .height = SIDE,
                                   .rgba = pixels[i],
                                   .name = "shape"};
  }
  if (!object_pack_write(argv[1], kinds, KINDS, pictures, PICTURES)) return 0;
  fprintf(stderr, "%s\n", last_error());
  return 1;
}
