/* Colour words of pictures: a table over hue, saturation and value, and a vote of the opaque pixels (rule in colour.h).
 *
 * With max and min the largest and smallest channel (0..255), chroma = max - min, saturation = chroma / max and hue in
 * degrees (0 red, 120 green, 240 blue), the first line that fits decides:
 *
 *   black     max < 45, or max < 80 and chroma < 32
 *   (pale)    chroma < 24 or saturation < 0.13, or a cool grey: hue 180..260, saturation < 0.26, max < 205:
 *             white if max >= 225, else grey
 *   hue 345..15 (red side):   pink if max >= 190 and saturation < 0.6; brown if hue >= 5 (below 15), saturation < 0.65
 *                             and max < 160; else red
 *   hue 15..45 (orange side): brown if max < 170, or max < 215 and saturation < 0.6; no word if saturation < 0.45
 *                             (beige and skin, which people name in many ways); else orange
 *   hue 45..70:               below max 150: brown up to hue 52, green beyond (olive); else yellow
 *   hue 70..170 green, 170..258 blue, 258..310 purple
 *   hue 310..345:             if max < 150 purple up to hue 332 and red beyond; else pink
 *
 * Every bound belongs to the range that it opens. */
#include "data/colour.h"

#include <stdbool.h>

static const char *const names[COLOURS] = {"",       "black", "grey", "white",  "red",  "orange",
                                           "yellow", "green", "blue", "purple", "pink", "brown"};

const char *colour_name(colour c) { return (unsigned)c < COLOURS ? names[c] : ""; }

/* Degrees in [0, 360) of a pixel whose channels differ. */
static float hue_of(int r, int g, int b, int max, int chroma) {
  float h;
  if (max == r)
    h = (float)(g - b) / (float)chroma;
  else if (max == g)
    h = 2 + (float)(b - r) / (float)chroma;
  else
    h = 4 + (float)(r - g) / (float)chroma;
  return 60 * (h < 0 ? h + 6 : h);
}

colour colour_of_pixel(uint8_t r, uint8_t g, uint8_t b) {
  const int max = r > g ? (r > b ? r : b) : (g > b ? g : b);
  const int min = r < g ? (r < b ? r : b) : (g < b ? g : b);
  const int chroma = max - min;
  if (max < 45 || (max < 80 && chroma < 32)) return COLOUR_BLACK;

  const float saturation = (float)chroma / (float)max;
  const float hue = chroma ? hue_of(r, g, b, max, chroma) : 0;
  const bool cool_grey = hue >= 180 && hue < 260 && saturation < 0.26f && max < 205;
  if (chroma < 24 || saturation < 0.13f || cool_grey) return max >= 225 ? COLOUR_WHITE : COLOUR_GREY;

  if (hue >= 345 || hue < 15) {
    if (max >= 190 && saturation < 0.6f) return COLOUR_PINK;
    return hue >= 5 && hue < 15 && saturation < 0.65f && max < 160 ? COLOUR_BROWN : COLOUR_RED;
  }
  if (hue < 45) {
    if (max < 170 || (max < 215 && saturation < 0.6f)) return COLOUR_BROWN;
    return saturation < 0.45f ? COLOUR_NONE : COLOUR_ORANGE;
  }
  if (hue < 70) return max >= 150 ? COLOUR_YELLOW : hue < 52 ? COLOUR_BROWN : COLOUR_GREEN;
  if (hue < 170) return COLOUR_GREEN;
  if (hue < 258) return COLOUR_BLUE;
  if (hue < 310) return COLOUR_PURPLE;
  return max >= 150 ? COLOUR_PINK : hue < 332 ? COLOUR_PURPLE : COLOUR_RED;
}

colour colour_of_picture(const uint8_t *rgba, size_t n) {
  size_t votes[COLOURS] = {0}, opaque = 0;
  for (size_t i = 0; i < n; i++, rgba += 4) {
    if (rgba[3] < 128) continue;
    votes[colour_of_pixel(rgba[0], rgba[1], rgba[2])]++;
    opaque++;
  }
  for (int c = COLOUR_BLACK; c < COLOURS; c++)
    if (opaque && (double)votes[c] >= COLOUR_SHARE * (double)opaque) return (colour)c;
  return COLOUR_NONE;
}
