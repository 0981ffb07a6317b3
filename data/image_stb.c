/* GIF (first frame), TGA and BMP without a palette, by stb_image.
 *
 * stb_image takes missing bytes for zeros. It is therefore fed through callbacks that notice when it asks for more than
 * there is: such a file is damaged, whatever came out. Its header check runs first, so that the size is known before
 * anything is allocated. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_internal.h"

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_JPEG
#define STBI_NO_PNG
#define STBI_NO_PSD
#define STBI_NO_PIC
#define STBI_NO_PNM
#define STBI_MAX_DIMENSIONS 65536
#define STBI_ASSERT(x) ((void)0)                   /* its asserts can be reached by damaged files; none guards memory */
#pragma GCC diagnostic ignored "-Wunused-function" /* gcc looks for unused ones at the end of the file only */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <stb_image.h>
#pragma GCC diagnostic pop

typedef struct {
  const image_source *source;
  size_t at;
  bool past_end, gif;
} feed;

static int feed_read(void *user, char *out, int n) {
  feed *f = user;
  enum { GIF_BACKGROUND = 11 };
  const size_t left = f->source->n - f->at, m = (size_t)n < left ? (size_t)n : left;
  if (!m) f->past_end = true;
  memcpy(out, f->source->bytes + f->at, m);
  /* stb paints what a frame leaves open in the background colour; everyone else leaves it transparent, as 0 does here.
   */
  if (f->gif && f->at <= GIF_BACKGROUND && GIF_BACKGROUND < f->at + m) out[GIF_BACKGROUND - f->at] = 0;
  f->at += m;
  return (int)m;
}

static void feed_skip(void *user, int n) {
  feed *f = user;
  const size_t left = f->source->n - f->at;
  if (n > 0) f->at += (size_t)n < left ? (size_t)n : left;
}

static int feed_eof(void *user) {
  const feed *f = user;
  return f->at >= f->source->n;
}

/* Index of a colour in the palette of `n` so far, adding it; -1 if the palette is full. `slots` hashes colours to
 * indices. */
static int palette_index(image *im, int16_t slots[1024], int *n, const uint8_t colour[4]) {
  uint32_t h = (little32(colour) * 2654435761u) >> 22;
  for (; slots[h] >= 0; h = (h + 1) % 1024)
    if (!memcmp(im->palette[slots[h]], colour, 4)) return slots[h];
  if (*n == 256) return -1;
  memcpy(im->palette[*n], colour, 4);
  slots[h] = (int16_t)*n;
  return (*n)++;
}

/* IMAGE_P of the same colours: which index a colour had in the file does not show in any result. NULL without a
 * sentence if there are more than 256. */
static image *with_palette(const uint8_t *pixels, int channels, int width, int height) {
  image *im = image_new(IMAGE_P, width, height);
  int16_t slots[1024];
  memset(slots, 255, sizeof slots);
  int n = 0;
  const size_t count = im ? (size_t)width * (size_t)height : 0;
  for (size_t i = 0; i < count; i++, pixels += channels) {
    const uint8_t colour[4] = {pixels[0], pixels[1], pixels[2], channels == 4 ? pixels[3] : 255};
    const int index = palette_index(im, slots, &n, colour);
    if (index < 0) {
      image_free(im);
      return NULL;
    }
    ((uint8_t *)im->pixels)[i] = (uint8_t)index;
  }
  return im;
}

/* IMAGE_L of the same pixels; NULL without a sentence if one is coloured or transparent. */
static image *with_grey(const uint8_t *pixels, int channels, int width, int height) {
  image *im = image_new(IMAGE_L, width, height);
  const size_t count = im ? (size_t)width * (size_t)height : 0;
  for (size_t i = 0; i < count; i++, pixels += channels) {
    if (pixels[0] != pixels[1] || pixels[0] != pixels[2] || (channels == 4 && pixels[3] != 255)) {
      image_free(im);
      return NULL;
    }
    ((uint8_t *)im->pixels)[i] = pixels[0];
  }
  return im;
}

static image *from_channels(const uint8_t *pixels, int channels, int width, int height, stb_layout layout) {
  static const image_mode modes[] = {IMAGE_L, IMAGE_LA, IMAGE_RGB, IMAGE_RGBA};
  image *im = NULL;
  if (layout == STB_GREY && channels >= 3) im = with_grey(pixels, channels, width, height);
  if (!im && (layout == STB_GREY || layout == STB_PALETTE) && channels >= 3)
    im = with_palette(pixels, channels, width, height);
  if (!im && (im = image_new(modes[channels - 1], width, height)))
    memcpy(im->pixels, pixels, (size_t)width * (size_t)height * (size_t)channels);
  return im;
}

/* stb_image's header check, then ours, before anything is allocated. */
static status check_header(const image_source *source, const char *format) {
  int width, height, channels;
  if (source->n > INT_MAX) return fail(STATUS_MEMORY, "%s: this %s is too large a file", source->name, format);
  if (!stbi_info_from_memory(source->bytes, (int)source->n, &width, &height, &channels))
    return fail(STATUS_FORMAT, "%s: cannot read this %s: its header is damaged or of an unknown kind", source->name,
                format);
  const int64_t rows = height; /* negative in BMP: from top to bottom */
  return image_check_size(source, width < 0 ? 0 : (uint64_t)width, (uint64_t)(rows < 0 ? -rows : rows));
}

image *stb_decode(const image_source *source, const char *format, stb_layout layout) {
  static const stbi_io_callbacks callbacks = {feed_read, feed_skip, feed_eof};
  int width, height, channels;
  if (check_header(source, format)) return NULL;
  feed f = {.source = source, .gif = !strcmp(format, "GIF")};
  const int wanted = f.gif ? 4 : layout == STB_OPAQUE ? 3 : 0;
  uint8_t *pixels = stbi_load_from_callbacks(&callbacks, &f, &width, &height, &channels, wanted);
  if (!pixels)
    return fail_null(STATUS_FORMAT, "%s: cannot read this %s: %s", source->name, format, stbi_failure_reason());
  image *im = NULL;
  if (f.past_end)
    fail(STATUS_FORMAT, "%s: cannot read this %s: the file ends early", source->name, format);
  else
    im = from_channels(pixels, wanted ? wanted : channels, width, height, layout);
  stbi_image_free(pixels);
  return im;
}

/* Pillow opens a GIF as grey if its palette is the grey ramp, else as a palette picture. */
image *gif_decode(const image_source *source) {
  const uint8_t *b = source->bytes;
  enum { FLAGS = 10, TABLE = 13 };
  if (source->n < TABLE) return fail_null(STATUS_FORMAT, "%s: cannot read this GIF: the file ends early", source->name);
  const size_t colours = b[FLAGS] & 0x80 ? (size_t)2 << (b[FLAGS] & 7) : 0;
  bool ramp = colours > 0 && source->n - TABLE >= 3 * colours;
  for (size_t i = 0; ramp && i < 3 * colours; i++) ramp = b[TABLE + i] == i / 3;
  return stb_decode(source, "GIF", ramp ? STB_GREY : STB_PALETTE);
}

/* TGA has no signature, so every field of the header must make sense. */
bool tga_plausible(const uint8_t *b, size_t n) {
  enum {
    PALETTE_TYPE = 1,
    KIND = 2,
    PALETTE_FIRST = 3,
    PALETTE_COUNT = 5,
    PALETTE_BITS = 7,
    WIDTH = 12,
    HEIGHT = 14,
    BITS = 16
  };
  if (n < 18 || b[PALETTE_TYPE] > 1 || !little16(b + WIDTH) || !little16(b + HEIGHT)) return false;
  const uint8_t kind = b[KIND] & 7, bits = b[BITS], palette_bits = b[PALETTE_BITS], flags = b[17];
  if ((b[KIND] & ~8) != kind || kind < 1 || kind > 3) return false; /* palette, colour, grey; with 8: run lengths */
  if ((flags & 15) > 8 || flags & 0xd0) return false;
  if (kind == 1)
    return b[PALETTE_TYPE] == 1 && bits == 8 && !little16(b + PALETTE_FIRST) && little16(b + PALETTE_COUNT) > 0 &&
           little16(b + PALETTE_COUNT) <= 256 && (palette_bits == 16 || palette_bits == 24 || palette_bits == 32);
  if (b[PALETTE_TYPE] || little16(b + PALETTE_FIRST) || little16(b + PALETTE_COUNT)) return false;
  return kind == 3 ? bits == 8 || bits == 16 : bits == 15 || bits == 16 || bits == 24 || bits == 32;
}

image *tga_decode(const image_source *source) {
  return stb_decode(source, "TGA", (source->bytes[2] & 7) == 1 ? STB_PALETTE : STB_AS_STORED);
}
