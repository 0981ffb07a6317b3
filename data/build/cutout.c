/* Cutting the object out: transparent surroundings, or a white page flooded from its edges, are taken away. */
#include <stdlib.h>
#include <string.h>

#include "data/build/build.h"

/* PAGE_WHITE: darkest channel of a white page. OPAQUE: alpha from which a pixel belongs to the object. A picture of
 * which less than 1 / LEAST_SHARE is opaque shows nothing; one at least this narrow is a rule or a border, not a thing.
 */
enum { PAGE_WHITE = 246, OPAQUE = 16, LEAST_SHARE = 25, MOST_NARROW = 12, PAGE_EDGE_PERCENT = 98 };

static bool is_page(const uint8_t *p) { return p[0] >= PAGE_WHITE && p[1] >= PAGE_WHITE && p[2] >= PAGE_WHITE; }

static bool has_transparency(const image *im) {
  const uint8_t *p = im->pixels;
  size_t n = (size_t)im->width * (size_t)im->height, clear = 0;
  for (size_t i = 0; i < n; i++) clear += p[4 * i + 3] < OPAQUE;
  return clear * 200 > n;
}

/* True if nearly all of the picture's edge is white. */
static bool edge_is_page(const image *im) {
  const uint8_t *p = im->pixels;
  size_t w = (size_t)im->width, h = (size_t)im->height, white = 0, all = 2 * (w + h);
  for (size_t x = 0; x < w; x++) white += is_page(p + 4 * x) + is_page(p + 4 * ((h - 1) * w + x));
  for (size_t y = 0; y < h; y++) white += is_page(p + 4 * y * w) + is_page(p + 4 * (y * w + w - 1));
  return white * 100 >= all * PAGE_EDGE_PERCENT;
}

/* Pixels to be spread from; each enters once, so that room for all of them suffices. */
typedef struct {
  uint8_t *rgba;
  uint32_t *waiting;
  size_t n;
} flood;

/* Takes pixel i away if it is still there and white. */
static void wash(flood *f, size_t i) {
  uint8_t *p = f->rgba + 4 * i;
  if (p[3] == 0 || !is_page(p)) return;
  p[3] = 0;
  f->waiting[f->n++] = (uint32_t)i;
}

/* Makes every white pixel transparent that is connected with the edge by white pixels (4 neighbours). */
static status flood_page(image *im) {
  size_t w = (size_t)im->width, h = (size_t)im->height;
  flood f = {im->pixels, mem_alloc(w * h, sizeof *f.waiting), 0};
  if (f.waiting == NULL) return last_status();
  for (size_t x = 0; x < w; x++) {
    wash(&f, x);
    wash(&f, (h - 1) * w + x);
  }
  for (size_t y = 0; y < h; y++) {
    wash(&f, y * w);
    wash(&f, y * w + w - 1);
  }
  while (f.n > 0) {
    size_t i = f.waiting[--f.n], x = i % w;
    if (x > 0) wash(&f, i - 1);
    if (x + 1 < w) wash(&f, i + 1);
    if (i >= w) wash(&f, i - w);
    if (i + w < w * h) wash(&f, i + w);
  }
  free(f.waiting);
  return STATUS_OK;
}

/* The opaque box; false if nothing is opaque. */
static bool opaque_box(const image *im, int *left, int *top, int *width, int *height, size_t *opaque) {
  int x0 = im->width, y0 = im->height, x1 = -1, y1 = -1;
  const uint8_t *p = im->pixels;
  *opaque = 0;
  for (int y = 0; y < im->height; y++) {
    for (int x = 0; x < im->width; x++, p += 4) {
      if (p[3] < OPAQUE) continue;
      ++*opaque;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      y1 = y;
    }
  }
  *left = x0;
  *top = y0;
  *width = x1 - x0 + 1;
  *height = y1 - y0 + 1;
  return x1 >= 0;
}

/* At most PICTURE_SIDE, antialiased, premultiplied; colours under alpha 0 are black, so that equal looks are equal
 * bytes. */
static image *shrink(image *im) {
  int longer = im->width > im->height ? im->width : im->height;
  if (longer > PICTURE_SIDE) {
    int w = (im->width * PICTURE_SIDE + longer / 2) / longer, h = (im->height * PICTURE_SIDE + longer / 2) / longer;
    image *small = image_resize(im, w > 0 ? w : 1, h > 0 ? h : 1, FILTER_BICUBIC);
    image_free(im);
    if (small == NULL) return NULL;
    im = small;
  }
  uint8_t *p = im->pixels;
  for (size_t i = 0; i < (size_t)im->width * (size_t)im->height; i++) {
    if (p[4 * i + 3] == 0) memset(p + 4 * i, 0, 4);
  }
  return im;
}

static image *crop_to_object(image *im) {
  int left, top, width, height;
  size_t opaque;
  bool any = opaque_box(im, &left, &top, &width, &height, &opaque);
  int longer = width > height ? width : height, shorter = width > height ? height : width;
  if (!any || longer < PICTURE_LEAST || shorter * MOST_NARROW < longer ||
      opaque * LEAST_SHARE < (size_t)width * (size_t)height) {
    return fail_null(STATUS_UNSUPPORTED, "there is nothing to cut out: too small, too thin or nearly empty");
  }
  return image_crop(im, left, top, width, height);
}

image *cut_out(const image *whole) {
  image *im = image_to_rgba(whole);
  if (im == NULL) return NULL;
  if (!has_transparency(im) && edge_is_page(im) && flood_page(im) != STATUS_OK) {
    image_free(im);
    return NULL;
  }
  image *object = crop_to_object(im);
  image_free(im);
  if (object == NULL) return NULL;
  object = shrink(object);
  if (object != NULL && (object->width < 4 || object->height < 4)) {
    image_free(object);
    return fail_null(STATUS_UNSUPPORTED, "there is nothing to cut out: too thin");
  }
  return object;
}
