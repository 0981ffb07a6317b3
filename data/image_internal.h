/* What the files of the picture decoder share; not for others. */
#ifndef LINNET_DATA_IMAGE_INTERNAL_H
#define LINNET_DATA_IMAGE_INTERNAL_H

#include "data/image.h"
#include "kernels/bytes.h"

/* An encoded picture in memory, and what its decoder may spend. */
typedef struct {
  const uint8_t *bytes;
  size_t n;
  const char *name;
  uint64_t max_pixels;
} image_source;

/* Each decoder gives a picture as stored; `orientation` is set to EXIF's 1..8 if the file has one (preset to 1). */
image *png_decode(const image_source *source, int *orientation);
image *jpeg_decode(const image_source *source, int *orientation);
image *pnm_decode(const image_source *source);
image *bmp_decode(const image_source *source);
image *gif_decode(const image_source *source);
image *tga_decode(const image_source *source);
/* How stb_image's channels become one of our modes. */
typedef enum {
  STB_AS_STORED,
  STB_OPAQUE,  /* drop a fourth channel: it is no alpha */
  STB_PALETTE, /* IMAGE_P if at most 256 colours occur */
  STB_GREY,    /* IMAGE_L if every pixel is grey and opaque, else as STB_PALETTE */
} stb_layout;
/* BMP without a palette, GIF or TGA by stb_image; `format` is the word for sentences. */
image *stb_decode(const image_source *source, const char *format, stb_layout layout);
bool tga_plausible(const uint8_t *bytes, size_t n);

/* Checks a header's size against the cap; call it before anything proportional to the size is allocated. */
status image_check_size(const image_source *source, uint64_t width, uint64_t height);

/* The orientation in a TIFF block as EXIF holds it; 1 if there is none or it makes no sense. */
int exif_orientation(const uint8_t *tiff, size_t n);
/* Turns and mirrors so that a picture stored with EXIF's `orientation` is upright. Frees `im` and gives the new
 * picture. */
image *image_orient(image *im, int orientation);

/* A picture of another size with the mode, palette and transparent colour of `like`. */
image *image_new_like(const image *like, int width, int height);

/* The window (left, top, width, height) of image_resize(im, full_width, full_height, filter), without computing the
 * rest. */
image *image_resize_window(const image *im, int full_width, int full_height, int left, int top, int width, int height,
                           image_filter filter);

static inline uint8_t *image_row(const image *im, int y) {
  return (uint8_t *)im->pixels + (size_t)y * (size_t)im->width * image_pixel_size(im->mode);
}

#endif
