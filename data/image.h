/* Pictures in memory: decoding, Pillow-exact conversion and resizing, writing PNG.
 *
 * Facts and formulas: spec rwkv-clip section 8 (resize, palette, 16-bit, JPEG parity). Rows are top to bottom, pixels
 * left to right, channels interleaved, no padding. Functions that return an image give the caller ownership (free with
 * image_free) or NULL with a sentence in last_error() that names the file. */
#ifndef LINNET_DATA_IMAGE_H
#define LINNET_DATA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base.h"

/* How a picture is held; the names and meanings are Pillow's. */
typedef enum {
  IMAGE_L,    /* 8-bit grey, 1 byte a pixel */
  IMAGE_LA,   /* grey and alpha, 2 bytes */
  IMAGE_RGB,  /* 3 bytes */
  IMAGE_RGBA, /* 4 bytes, alpha not premultiplied */
  IMAGE_P,    /* palette index, 1 byte; colours in `palette` */
  IMAGE_1,    /* bilevel, 1 byte a pixel holding 0 or 255 */
  IMAGE_I,    /* 16-bit grey, held as int32_t a pixel */
} image_mode;

typedef struct {
  image_mode mode;
  int width, height;
  void *pixels;            /* uint8_t, or int32_t for IMAGE_I */
  uint8_t palette[256][4]; /* IMAGE_P only: RGBA */
  bool keyed;              /* a PNG of mode L, RGB, 1 or I that names one colour as transparent: */
  int32_t key[3];          /* that colour. Decoding sets it; a filtered resize forgets it */
} image;

typedef struct {
  uint64_t max_pixels;   /* cap on width * height, checked before anything is allocated; 0 = the default below */
  uint64_t max_bytes;    /* cap on the encoded file's size; 0 = the default */
  bool keep_orientation; /* leave EXIF orientation unapplied, as published preprocessing does */
} image_limits;
#define IMAGE_MAX_PIXELS ((uint64_t)48 << 20)
#define IMAGE_MAX_BYTES ((uint64_t)256 << 20)

/* Opens PNG (libpng rows), JPEG (libjpeg-turbo), BMP, GIF (first frame), TGA, PNM (stb_image), recognised by content,
 * never by name. Modes as Pillow would open the file. 16-bit RGB(A) keeps the high byte. `name` is used in error
 * sentences. `limits` may be NULL. */
image *image_open(const char *path, const image_limits *limits);
image *image_decode(const void *bytes, size_t n, const char *name, const image_limits *limits);
/* True if the bytes begin like a picture that image_decode knows (for choosing files of a folder). */
bool image_recognised(const void *bytes, size_t n);

image *image_new(image_mode mode, int width, int height); /* zeroed */
void image_free(image *im);
size_t image_pixel_size(image_mode mode);

/* Pillow's convert("RGB"): palette looked up, alpha dropped, IMAGE_I clamped to 0..255. */
image *image_to_rgb(const image *im);
/* RGBA with the palette's or LA's alpha kept; opaque sources get alpha 255. */
image *image_to_rgba(const image *im);
/* Composited on white, as our own models want it: RGB. 16-bit grey is scaled (v / 257, rounded), not clamped. */
image *image_on_white(const image *im);

typedef enum { FILTER_NEAREST, FILTER_BOX, FILTER_BILINEAR, FILTER_BICUBIC } image_filter;
/* Pillow's Image.resize(.., reducing_gap=None), bit for bit, in the image's own mode (palette and bilevel always
 * nearest, RGBA and LA premultiplied, IMAGE_I in double). */
image *image_resize(const image *im, int width, int height, image_filter filter);
/* A copy of the given rectangle; parts outside the image are zero. */
image *image_crop(const image *im, int left, int top, int width, int height);

/* CLIP's evaluation transform up to the u8 picture: shorter side to `size` (bicubic), centre crop, RGB. */
image *image_clip_transform(const image *im, int size);

/* Our own models' picture: composited on white, scaled with bicubic so that the longer side is `size`, centred on a
 * white square. RGB, size x size. */
image *image_fit_square(const image *im, int size);

/* Writes an 8-bit PNG (L, LA, RGB, RGBA), whole or not at all (atomic_file.h). */
status image_write_png(const char *path, const image *im);
/* The same into memory: *bytes of *n, which the caller frees. */
status image_encode_png(const image *im, void **bytes, size_t *n);

#endif
