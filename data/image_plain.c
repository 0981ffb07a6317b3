/* The formats that are hardly more than a header: PNM (P1 to P6) and BMP with a palette. Both are read here rather than
 * by stb_image because it drops what Pillow keeps: PNM's maximum value, its plain and bilevel kinds, BMP's indices. */
#include <math.h>
#include <string.h>

#include "data/image_internal.h"

/* ---- PNM ---- */

typedef struct {
  const uint8_t *at, *end;
} cursor;

static void skip_space(cursor *c) {
  while (c->at < c->end) {
    if (*c->at == '#')
      while (c->at < c->end && *c->at != '\n' && *c->at != '\r') c->at++;
    else if (*c->at == ' ' || (*c->at >= '\t' && *c->at <= '\r'))
      c->at++;
    else
      return;
  }
}

/* The next decimal number; -1 if there is none or it is over a million. */
static int32_t number(cursor *c) {
  skip_space(c);
  int32_t v = -1;
  for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
    v = (v < 0 ? 0 : v) * 10 + (*c->at - '0');
    if (v > 1000000) return -1;
  }
  return v;
}

typedef struct {
  int kind; /* 1..6 */
  int32_t width, height, maximum;
  bool plain; /* numbers as text */
} pnm_header;

static int32_t sample(cursor *c, const pnm_header *h) {
  if (h->kind == 1) { /* bits as text need no space between them */
    skip_space(c);
    return c->at < c->end && (*c->at == '0' || *c->at == '1') ? *c->at++ - '0' : -1;
  }
  if (h->plain) return number(c);
  const size_t size = h->maximum > 255 ? 2 : 1;
  if ((size_t)(c->end - c->at) < size) return -1;
  const int32_t v = size == 2 ? c->at[0] << 8 | c->at[1] : c->at[0];
  c->at += size;
  return v;
}

/* Reads the samples, scaled from the file's maximum to the mode's as Pillow scales them. */
static bool read_samples(cursor *c, const pnm_header *h, image *im) {
  const size_t per_row = (size_t)im->width * (im->mode == IMAGE_RGB ? 3 : 1);
  const int32_t top = im->mode == IMAGE_I ? 65535 : 255;
  for (int y = 0; y < im->height; y++) {
    uint8_t *row = image_row(im, y);
    unsigned bits = 0;
    for (size_t i = 0; i < per_row; i++) {
      int32_t v;
      if (h->kind == 4) {
        if (i % 8 == 0) {
          if (c->at >= c->end) return false;
          bits = *c->at++;
        }
        v = (bits >> (7 - i % 8)) & 1;
      } else
        v = sample(c, h);
      if (v < 0 || (h->plain && v > h->maximum)) return false;
      if (im->mode == IMAGE_1)
        v = v ? 0 : 255; /* 1 is black */
      else if (h->maximum != top)
        v = (int32_t)fmin(top, rint((double)v / h->maximum * top));
      if (im->mode == IMAGE_I)
        ((int32_t *)(void *)row)[i] = v;
      else
        row[i] = (uint8_t)v;
    }
  }
  return true;
}

image *pnm_decode(const image_source *source) {
  cursor c = {source->bytes + 2, source->bytes + source->n};
  pnm_header h = {.kind = source->bytes[1] - '0', .maximum = 1};
  h.plain = h.kind <= 3;
  const bool bilevel = h.kind == 1 || h.kind == 4, colour = h.kind == 3 || h.kind == 6;
  h.width = number(&c);
  h.height = number(&c);
  if (!bilevel) h.maximum = number(&c);
  if (h.width < 0 || h.height < 0 || h.maximum < 1 || h.maximum > 65535 || c.at == c.end)
    return fail_null(STATUS_FORMAT, "%s: cannot read this PNM: its header is damaged", source->name);
  c.at++; /* the one white space after the header */
  if (image_check_size(source, (uint64_t)h.width, (uint64_t)h.height)) return NULL;
  const uint64_t samples = (uint64_t)h.width * (uint64_t)h.height * (colour ? 3 : 1);
  const uint64_t least = h.kind == 4                   ? ((uint64_t)h.width + 7) / 8 * (uint64_t)h.height
                         : !h.plain && h.maximum > 255 ? samples * 2
                                                       : samples;
  image *im = NULL;
  if ((uint64_t)(c.end - c.at) >= least) {
    im = image_new(bilevel ? IMAGE_1 : colour ? IMAGE_RGB : h.maximum > 255 ? IMAGE_I : IMAGE_L, h.width, h.height);
    if (!im || read_samples(&c, &h, im)) return im;
  }
  image_free(im);
  return fail_null(STATUS_FORMAT, "%s: cannot read this PNM: the file ends early or holds a sample out of range",
                   source->name);
}

/* ---- BMP ---- */

typedef struct {
  size_t pixels, header, entry; /* where pixels begin, the header's length, bytes of a palette entry */
  int64_t width, height;        /* height < 0: rows from top to bottom */
  int bits;
  uint32_t compression;
} bmp_header;

static int32_t signed32(const uint8_t *p) {
  const uint32_t v = little32(p);
  return v < 0x80000000u ? (int32_t)v : (int32_t)(v - 0x80000000u) - INT32_MAX - 1;
}

static bool read_bmp_header(const image_source *s, bmp_header *h) {
  const uint8_t *b = s->bytes;
  if (s->n < 26) return false;
  *h = (bmp_header){.pixels = little32(b + 10), .header = little32(b + 14)};
  if (h->header == 12) { /* OS/2 */
    h->entry = 3;
    h->width = little16(b + 18);
    h->height = little16(b + 20);
    h->bits = (int)little16(b + 24);
    return true;
  }
  if (s->n < 54) return false;
  h->entry = 4;
  h->width = signed32(b + 18);
  h->height = signed32(b + 22);
  h->bits = (int)little16(b + 28);
  h->compression = little32(b + 30);
  return true;
}

/* Fills the palette and chooses the mode: Pillow calls a palette that is the grey ramp grey, black and white bilevel.
 */
static image_mode read_bmp_palette(const image_source *s, const bmp_header *h, size_t colours,
                                   uint8_t palette[256][4]) {
  bool ramp = colours == 2 || colours == 256;
  for (size_t i = 0; i < colours; i++) {
    const uint8_t *e = s->bytes + 14 + h->header + i * h->entry;
    memcpy(palette[i], (uint8_t[4]){e[2], e[1], e[0], 255}, 4);
    const uint8_t grey = (uint8_t)(colours == 2 ? 255 * i : i);
    ramp = ramp && e[0] == grey && e[1] == grey && e[2] == grey;
  }
  return !ramp ? IMAGE_P : colours == 2 ? IMAGE_1 : IMAGE_L;
}

static image *read_bmp_indices(const image_source *s, const bmp_header *h) {
  const size_t stride = ((size_t)h->width * (size_t)h->bits + 31) / 32 * 4,
               used = ((size_t)h->width * (size_t)h->bits + 7) / 8;
  const size_t rows = (size_t)(h->height < 0 ? -h->height : h->height);
  const size_t table = 14 + h->header;
  size_t body, colours = (size_t)1 << h->bits;
  if (!size_mul(stride, rows - 1, &body) || !size_add(body, used, &body) || h->pixels > s->n || body > s->n - h->pixels)
    return fail_null(STATUS_FORMAT, "%s: cannot read this BMP: the file ends early", s->name);
  if (h->pixels < table || h->pixels - table < h->entry)
    return fail_null(STATUS_FORMAT, "%s: cannot read this BMP: it has no palette", s->name);
  if ((h->pixels - table) / h->entry < colours) colours = (h->pixels - table) / h->entry;
  image *im = image_new(IMAGE_P, (int)h->width, (int)rows);
  if (!im) return NULL;
  im->mode = read_bmp_palette(s, h, colours, im->palette); /* all three modes have one byte a pixel */
  for (size_t y = 0; y < rows; y++) {
    const uint8_t *in = s->bytes + h->pixels + y * stride;
    uint8_t *out = image_row(im, (int)(h->height < 0 ? y : rows - 1 - y));
    for (size_t x = 0; x < (size_t)h->width; x++) {
      const size_t bit = x * (size_t)h->bits;
      out[x] = (uint8_t)((in[bit / 8] >> (8 - (size_t)h->bits - bit % 8)) & ((1 << h->bits) - 1));
      if (im->mode == IMAGE_1) out[x] = out[x] ? 255 : 0;
    }
  }
  return im;
}

image *bmp_decode(const image_source *source) {
  bmp_header h;
  if (!read_bmp_header(source, &h))
    return fail_null(STATUS_FORMAT, "%s: cannot read this BMP: the file ends early", source->name);
  if (image_check_size(source, h.width < 0 ? 0 : (uint64_t)h.width, (uint64_t)(h.height < 0 ? -h.height : h.height)))
    return NULL;
  if (h.bits != 1 && h.bits != 4 && h.bits != 8) {
    const bool unused = h.bits == 32 && !h.compression; /* the fourth byte is reserved, not alpha */
    return stb_decode(source, "BMP", unused ? STB_OPAQUE : STB_AS_STORED);
  }
  if (h.compression) return fail_null(STATUS_UNSUPPORTED, "%s: compressed BMP files are not supported", source->name);
  return read_bmp_indices(source, &h);
}
