#include "data/image_vary.h"

#include <math.h>
#include <string.h>

/* A rectangle within the picture: area and aspect are drawn until it fits; else the largest one of an aspect that is
 * allowed. Aspects are those of the part, or, if it shall be fitted, against the picture's own. */
static void draw_part(const image *im, const image_variation *how, rng *g, int *w, int *h) {
  enum { TRIES = 10 };
  const float W = (float)im->width, H = (float)im->height, own = how->fit ? W / H : 1, bend = logf(how->aspect);
  for (int i = 0; i < TRIES; i++) {
    const float part = W * H * rng_range(g, how->area, 1), aspect = own * expf(rng_range(g, -bend, bend));
    *w = (int)lroundf(sqrtf(part * aspect));
    *h = (int)lroundf(sqrtf(part / aspect));
    if (*w > 0 && *h > 0 && *w <= im->width && *h <= im->height) return;
  }
  const float most = own * how->aspect, least = own / how->aspect;
  *w = W > H * most ? (int)fmaxf(H * most, 1) : im->width;
  *h = W < H * least ? (int)fmaxf(W / least, 1) : im->height;
}

static void mirror(image *im) {
  for (int y = 0; y < im->height; y++) {
    uint8_t *row = (uint8_t *)im->pixels + (size_t)y * (size_t)im->width * 3;
    for (int a = 0, b = im->width - 1; a < b; a++, b--)
      for (int c = 0; c < 3; c++) {
        const uint8_t swap = row[3 * a + c];
        row[3 * a + c] = row[3 * b + c];
        row[3 * b + c] = swap;
      }
  }
}

image *image_vary(const image *im, const image_variation *how, int side, rng *g) {
  int w, h;
  draw_part(im, how, g, &w, &h);
  const int left = (int)rng_below(g, (uint32_t)(im->width - w) + 1),
            top = (int)rng_below(g, (uint32_t)(im->height - h) + 1);
  const bool turned = how->flip && rng_u64(g) >> 63;
  image *colours = how->fit ? image_on_white(im) : image_to_rgb(im);
  image *part = colours ? image_crop(colours, left, top, w, h) : NULL;
  image *square = !part      ? NULL
                  : how->fit ? image_fit_square(part, side)
                             : image_resize(part, side, side, FILTER_BILINEAR);
  if (square && turned) mirror(square);
  image_free(colours);
  image_free(part);
  return square;
}
