/* Pictures: the container, recognising and opening files, conversion between modes, cropping and fitting.
 *
 * Spec rwkv-clip section 8: what Pillow's convert("RGB") does to each mode (item 3), torchvision's sizes and crop
 * offsets (items 1 and 4). */
#include "data/image.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_internal.h"
#include "kernels/file.h"

/* ---- container ---- */

size_t image_pixel_size(image_mode mode) {
  switch (mode) {
  case IMAGE_LA:
    return 2;
  case IMAGE_RGB:
    return 3;
  case IMAGE_RGBA:
  case IMAGE_I:
    return 4;
  case IMAGE_L:
  case IMAGE_P:
  case IMAGE_1:
    break;
  }
  return 1;
}

image *image_new(image_mode mode, int width, int height) {
  if (width < 1 || height < 1)
    return fail_null(STATUS_ARGUMENT, "a picture of %d x %d pixels is not possible", width, height);
  size_t pixels;
  if (!size_mul((size_t)width, (size_t)height, &pixels) || pixels > SIZE_MAX / 8)
    return fail_null(STATUS_MEMORY, "a picture of %d x %d pixels does not fit into memory", width, height);
  image *im = mem_zero(1, sizeof *im);
  if (!im) return NULL;
  im->mode = mode;
  im->width = width;
  im->height = height;
  im->pixels = mem_zero(pixels, image_pixel_size(mode));
  if (im->pixels) return im;
  free(im);
  return NULL;
}

image *image_new_like(const image *like, int width, int height) {
  image *im = image_new(like->mode, width, height);
  if (!im) return NULL;
  memcpy(im->palette, like->palette, sizeof im->palette);
  im->keyed = like->keyed;
  memcpy(im->key, like->key, sizeof im->key);
  return im;
}

void image_free(image *im) {
  if (!im) return;
  free(im->pixels);
  free(im);
}

/* ---- opening ---- */

typedef enum { FORMAT_UNKNOWN, FORMAT_PNG, FORMAT_JPEG, FORMAT_GIF, FORMAT_BMP, FORMAT_PNM, FORMAT_TGA } image_format;

static image_format recognise(const uint8_t *b, size_t n) {
  if (n >= 8 && !memcmp(b, "\x89PNG\r\n\x1a\n", 8)) return FORMAT_PNG;
  if (n >= 3 && !memcmp(b, "\xff\xd8\xff", 3)) return FORMAT_JPEG;
  if (n >= 6 && (!memcmp(b, "GIF87a", 6) || !memcmp(b, "GIF89a", 6))) return FORMAT_GIF;
  if (n >= 18 && !memcmp(b, "BM", 2)) { /* "BM" alone also begins a sentence about a car */
    uint32_t header = little32(b + 14);
    if (header == 12 || (header >= 40 && header <= 124)) return FORMAT_BMP;
  }
  if (n >= 3 && b[0] == 'P' && b[1] >= '1' && b[1] <= '6' &&
      (b[2] == '#' || b[2] == ' ' || (b[2] >= '\t' && b[2] <= '\r')))
    return FORMAT_PNM;
  return tga_plausible(b, n) ? FORMAT_TGA : FORMAT_UNKNOWN;
}

bool image_recognised(const void *bytes, size_t n) { return recognise(bytes, n) != FORMAT_UNKNOWN; }

status image_check_size(const image_source *source, uint64_t width, uint64_t height) {
  if (!width || !height || width > INT_MAX || height > INT_MAX)
    return fail(STATUS_FORMAT, "%s: the header gives an impossible size of %llu x %llu pixels", source->name,
                (unsigned long long)width, (unsigned long long)height);
  if (width * height > source->max_pixels)
    return fail(STATUS_MEMORY, "%s: a picture of %llu x %llu pixels is over the limit of %llu pixels", source->name,
                (unsigned long long)width, (unsigned long long)height, (unsigned long long)source->max_pixels);
  return STATUS_OK;
}

image *image_decode(const void *bytes, size_t n, const char *name, const image_limits *limits) {
  const image_limits none = {0};
  if (!limits) limits = &none;
  const uint64_t max_bytes = limits->max_bytes ? limits->max_bytes : IMAGE_MAX_BYTES;
  const image_source source = {bytes, n, name, limits->max_pixels ? limits->max_pixels : IMAGE_MAX_PIXELS};
  if (!n) return fail_null(STATUS_FORMAT, "%s: the file is empty", name);
  if (n > max_bytes)
    return fail_null(STATUS_MEMORY, "%s: the file is over the limit of %llu bytes", name,
                     (unsigned long long)max_bytes);
  int orientation = 1;
  image *im = NULL;
  switch (recognise(bytes, n)) {
  case FORMAT_PNG:
    im = png_decode(&source, &orientation);
    break;
  case FORMAT_JPEG:
    im = jpeg_decode(&source, &orientation);
    break;
  case FORMAT_GIF:
    im = gif_decode(&source);
    break;
  case FORMAT_BMP:
    im = bmp_decode(&source);
    break;
  case FORMAT_PNM:
    im = pnm_decode(&source);
    break;
  case FORMAT_TGA:
    im = tga_decode(&source);
    break;
  case FORMAT_UNKNOWN:
    return fail_null(STATUS_FORMAT, "%s: this is not a picture of a known kind (PNG, JPEG, GIF, BMP, PNM or TGA)",
                     name);
  }
  return im && !limits->keep_orientation ? image_orient(im, orientation) : im;
}

image *image_open(const char *path, const image_limits *limits) {
  size_t n;
  void *bytes = file_read(path, limits && limits->max_bytes ? limits->max_bytes : IMAGE_MAX_BYTES, &n);
  image *im = bytes ? image_decode(bytes, n, path, limits) : NULL;
  free(bytes);
  return im;
}

/* ---- conversion ---- */

typedef enum { GREY16_CLAMP, GREY16_SCALE } grey16_rule;

static uint8_t grey16_to_8(int32_t v, grey16_rule rule) {
  if (rule == GREY16_SCALE) v = v < 0 ? 0 : v > 65535 ? 255 : (v + 128) / 257;
  return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row as RGBA; every conversion goes through here, so that each mode's meaning stands in one place. */
static void row_to_rgba(const image *im, int y, uint8_t *out, grey16_rule rule) {
  const uint8_t *in = image_row(im, y);
  for (int x = 0; x < im->width; x++, out += 4) {
    int32_t v[3] = {0};
    out[3] = 255;
    switch (im->mode) {
    case IMAGE_P:
      memcpy(out, im->palette[in[x]], 4);
      continue;
    case IMAGE_RGBA:
      memcpy(out, in + 4 * (size_t)x, 4);
      continue;
    case IMAGE_LA:
      out[0] = out[1] = out[2] = in[2 * (size_t)x];
      out[3] = in[2 * (size_t)x + 1];
      continue;
    case IMAGE_RGB:
      for (int c = 0; c < 3; c++) v[c] = out[c] = in[3 * (size_t)x + (size_t)c];
      break;
    case IMAGE_I:
      v[0] = v[1] = v[2] = ((const int32_t *)(const void *)in)[x];
      out[0] = out[1] = out[2] = grey16_to_8(v[0], rule);
      break;
    case IMAGE_L:
    case IMAGE_1:
      v[0] = v[1] = v[2] = out[0] = out[1] = out[2] = in[x];
      break;
    }
    if (im->keyed && v[0] == im->key[0] && v[1] == im->key[1] && v[2] == im->key[2]) out[3] = 0;
  }
}

/* Converts row by row; `white` composites on white where the target has no alpha, else alpha is dropped. */
static image *convert(const image *im, image_mode mode, grey16_rule rule, bool white) {
  image *out = image_new(mode, im->width, im->height);
  uint8_t *row = mem_alloc((size_t)im->width, 4);
  for (int y = 0; out && row && y < im->height; y++) {
    uint8_t *to = image_row(out, y);
    if (mode == IMAGE_RGBA) {
      row_to_rgba(im, y, to, rule);
      continue;
    }
    row_to_rgba(im, y, row, rule);
    const uint8_t *from = row;
    for (int x = 0; x < im->width; x++, from += 4, to += 3) {
      const unsigned alpha = white ? from[3] : 255, rest = 255 * (255 - alpha) + 127;
      for (int c = 0; c < 3; c++) to[c] = (uint8_t)((from[c] * alpha + rest) / 255);
    }
  }
  if (!row) {
    image_free(out);
    out = NULL;
  }
  free(row);
  return out;
}

image *image_to_rgb(const image *im) { return convert(im, IMAGE_RGB, GREY16_CLAMP, false); }
image *image_to_rgba(const image *im) { return convert(im, IMAGE_RGBA, GREY16_CLAMP, false); }
image *image_on_white(const image *im) { return convert(im, IMAGE_RGB, GREY16_SCALE, true); }

/* ---- cropping and fitting ---- */

image *image_crop(const image *im, int left, int top, int width, int height) {
  image *out = image_new_like(im, width, height);
  if (!out) return NULL;
  const size_t size = image_pixel_size(im->mode);
  const int64_t x0 = left > 0 ? left : 0, x1 = (int64_t)left + width < im->width ? (int64_t)left + width : im->width;
  const int64_t y0 = top > 0 ? top : 0, y1 = (int64_t)top + height < im->height ? (int64_t)top + height : im->height;
  if (x1 <= x0) return out;
  for (int64_t y = y0; y < y1; y++)
    memcpy(image_row(out, (int)(y - top)) + (size_t)(x0 - left) * size, image_row(im, (int)y) + (size_t)x0 * size,
           (size_t)(x1 - x0) * size);
  return out;
}

/* Half of the excess, rounded half to even, as Python's round() does in torchvision's centre crop. */
static int crop_offset(int64_t excess) { return (int)(excess / 2 + ((excess & 1) && (excess / 2) % 2)); }

image *image_clip_transform(const image *im, int size) {
  if (size < 1) return fail_null(STATUS_ARGUMENT, "a picture cannot be made %d pixels wide", size);
  const int shorter = im->width < im->height ? im->width : im->height;
  const int longer = im->width < im->height ? im->height : im->width;
  const double other = trunc((double)size * longer / shorter);
  if (other > INT_MAX)
    return fail_null(STATUS_UNSUPPORTED, "a picture of %d x %d pixels is too narrow", im->width, im->height);
  const int full_width = im->width <= im->height ? size : (int)other;
  const int full_height = im->width <= im->height ? (int)other : size;
  image *crop = image_resize_window(im, full_width, full_height, crop_offset(full_width - size),
                                    crop_offset(full_height - size), size, size, FILTER_BICUBIC);
  image *rgb = crop ? image_to_rgb(crop) : NULL;
  image_free(crop);
  return rgb;
}

image *image_fit_square(const image *im, int size) {
  image *out = image_new(IMAGE_RGB, size, size);
  if (!out) return NULL;
  const int longer = im->width < im->height ? im->height : im->width;
  int width = (int)lrint((double)im->width * size / longer), height = (int)lrint((double)im->height * size / longer);
  if (width < 1) width = 1;
  if (height < 1) height = 1;
  image *white = image_on_white(im);
  image *small = white ? image_resize(white, width, height, FILTER_BICUBIC) : NULL;
  image_free(white);
  if (!small) {
    image_free(out);
    return NULL;
  }
  memset(out->pixels, 255, (size_t)size * (size_t)size * 3);
  const size_t left = (size_t)(size - width) / 2;
  for (int y = 0; y < height; y++)
    memcpy(image_row(out, (size - height) / 2 + y) + 3 * left, image_row(small, y), 3 * (size_t)width);
  image_free(small);
  return out;
}
