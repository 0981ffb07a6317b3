/* EXIF orientation: finding it (TIFF 6.0 section 2, tag 274 of the first directory) and turning the picture by it. */
#include <string.h>

#include "data/image_internal.h"

static uint32_t read16(const uint8_t *p, bool big) { return big ? (uint32_t)p[0] << 8 | p[1] : little16(p); }

static uint32_t read32(const uint8_t *p, bool big) {
  return big ? read16(p, true) << 16 | read16(p + 2, true) : little32(p);
}

int exif_orientation(const uint8_t *tiff, size_t n) {
  enum { TAG = 274, SHORT = 3, ENTRY = 12 };
  if (n < 8 || (memcmp(tiff, "II*\0", 4) && memcmp(tiff, "MM\0*", 4))) return 1;
  const bool big = tiff[0] == 'M';
  const size_t at = read32(tiff + 4, big);
  if (at > n - 2) return 1;
  size_t entries = read16(tiff + at, big);
  if (entries > (n - at - 2) / ENTRY) entries = (n - at - 2) / ENTRY;
  for (const uint8_t *e = tiff + at + 2; entries; entries--, e += ENTRY) {
    if (read16(e, big) != TAG || read16(e + 2, big) != SHORT || read32(e + 4, big) != 1) continue;
    const uint32_t value = read16(e + 8, big);
    return value >= 1 && value <= 8 ? (int)value : 1;
  }
  return 1;
}

image *image_orient(image *im, int orientation) {
  if (orientation < 2 || orientation > 8) return im;
  /* Where each orientation's upright pixel (x, y) is stored: axes swapped from 5 on, then mirrored. */
  const bool swap = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  image *out = image_new_like(im, swap ? im->height : im->width, swap ? im->width : im->height);
  const size_t size = image_pixel_size(im->mode);
  for (int y = 0; out && y < out->height; y++) {
    uint8_t *to = image_row(out, y);
    for (int x = 0; x < out->width; x++, to += size) {
      int sx = swap ? y : x, sy = swap ? x : y;
      if (flip_x) sx = im->width - 1 - sx;
      if (flip_y) sy = im->height - 1 - sy;
      memcpy(to, image_row(im, sy) + (size_t)sx * size, size);
    }
  }
  image_free(im);
  return out;
}
