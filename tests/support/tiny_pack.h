/* A small object pack of coloured shapes, drawn on the spot. Mistakes end the running cmocka test. */
#ifndef LINNET_TESTS_TINY_PACK_H
#define LINNET_TESTS_TINY_PACK_H

#include "data/objects.h"

/* The first `kinds` of: disc, square, cross, ring (held out: all its pictures are test). Each of the others has
 * training pictures in red, green and blue, one validation picture (blue) and two test pictures (red, green). */
enum { TINY_KINDS = 4, TINY_HELD_OUT = 3 };
void tiny_pack_write(const char *path, int kinds);

/* Pictures of plain shapes of one colour: shape 0..TINY_KINDS-1, as listed above. */
typedef struct {
  int shape;
  split split;
  colour colour; /* red, green or blue */
} tiny_shape;
void tiny_pack_write_shapes(const char *path, int kinds, const tiny_shape *shapes, int n);

#endif
