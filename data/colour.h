/* The colour words of captions and the rule that assigns them.
 *
 * Rule (area-dominant hue): every pixel with alpha >= 128 votes for one of the eleven basic colour words by its HSV
 * value (the table in colour.c; beige tones, which no basic word names, count as votes for none); a picture has the
 * colour that holds at least COLOUR_SHARE of the votes, else COLOUR_NONE. */
#ifndef LINNET_DATA_COLOUR_H
#define LINNET_DATA_COLOUR_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
  COLOUR_NONE = 0,
  COLOUR_BLACK,
  COLOUR_GREY,
  COLOUR_WHITE,
  COLOUR_RED,
  COLOUR_ORANGE,
  COLOUR_YELLOW,
  COLOUR_GREEN,
  COLOUR_BLUE,
  COLOUR_PURPLE,
  COLOUR_PINK,
  COLOUR_BROWN,
  COLOURS
} colour;

#define COLOUR_SHARE 0.6

const char *colour_name(colour c); /* "red"; "" for COLOUR_NONE */
colour colour_of_pixel(uint8_t r, uint8_t g, uint8_t b);
/* rgba: n pixels of 4 bytes, alpha not premultiplied. */
colour colour_of_picture(const uint8_t *rgba, size_t n);

#endif
