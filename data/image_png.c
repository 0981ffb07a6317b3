/* PNG by libpng's row functions, with the modes that Pillow would give (spec rwkv-clip section 8, item 3): palette
 * pictures stay indices, 16-bit grey stays 16 bits, 16-bit colour keeps its high byte.
 *
 * libpng leaves by longjmp. Everything that must outlive the jump is in the structures below, which belong to the
 * function that does not call setjmp. */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_internal.h"
#include "kernels/atomic_file.h"

typedef struct {
  const image_source *source;
  size_t at;
  char message[160];
  png_structp png;
  png_infop info;
  image *im;
  int orientation;
} png_reader;

static void keep_message(char *message, size_t capacity, const char *text) { snprintf(message, capacity, "%s", text); }

static void on_read_error(png_structp png, png_const_charp text) {
  png_reader *r = png_get_error_ptr(png);
  keep_message(r->message, sizeof r->message, text);
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) { /* a library does not print */
  (void)png;
  (void)text;
}

static void read_bytes(png_structp png, png_bytep out, size_t n) {
  png_reader *r = png_get_io_ptr(png);
  if (n > r->source->n - r->at) png_error(png, "the file ends early");
  memcpy(out, r->source->bytes + r->at, n);
  r->at += n;
}

/* Mode and transformations of a stored colour type and bit depth. */
static image_mode choose_mode(png_structp png, int depth, int colour) {
  if (depth == 16 && colour != PNG_COLOR_TYPE_GRAY) png_set_strip_16(png);
  switch (colour) {
  case PNG_COLOR_TYPE_PALETTE:
    png_set_packing(png);
    return IMAGE_P;
  case PNG_COLOR_TYPE_RGB:
    return IMAGE_RGB;
  case PNG_COLOR_TYPE_RGB_ALPHA:
    return IMAGE_RGBA;
  case PNG_COLOR_TYPE_GRAY_ALPHA:
    return IMAGE_LA;
  default:
    break;
  }
  if (depth < 8) png_set_expand_gray_1_2_4_to_8(png);
  return depth == 16 ? IMAGE_I : depth == 1 ? IMAGE_1 : IMAGE_L;
}

static void read_palette(png_reader *r) {
  png_colorp colours;
  png_bytep alpha;
  int n_colours = 0, n_alpha = 0;
  png_get_PLTE(r->png, r->info, &colours, &n_colours);
  if (!png_get_tRNS(r->png, r->info, &alpha, &n_alpha, NULL)) n_alpha = 0;
  for (int i = 0; i < 256; i++) {
    uint8_t *entry = r->im->palette[i];
    if (i < n_colours) memcpy(entry, (uint8_t[3]){colours[i].red, colours[i].green, colours[i].blue}, 3);
    entry[3] = i < n_alpha ? alpha[i] : 255;
  }
}

/* The transparent colour of pictures without alpha, scaled as their samples are. */
static void read_key(png_reader *r, int depth) {
  png_color_16p key;
  if (!png_get_tRNS(r->png, r->info, NULL, NULL, &key) || !key) return;
  image *im = r->im;
  im->keyed = true;
  if (im->mode == IMAGE_RGB) {
    const int shift = depth == 16 ? 8 : 0;
    memcpy(im->key, (int32_t[3]){key->red >> shift, key->green >> shift, key->blue >> shift}, sizeof im->key);
  } else {
    const int factor = depth < 8 ? 255 / ((1 << depth) - 1) : 1;
    im->key[0] = im->key[1] = im->key[2] = key->gray * factor;
  }
}

/* 16-bit rows were read, big-endian, into the first half of each row of int32: spread them, last to first. */
static void widen_grey16(image *im) {
  for (int y = 0; y < im->height; y++) {
    const uint8_t *in = image_row(im, y);
    int32_t *out = (int32_t *)(void *)image_row(im, y);
    for (int x = im->width - 1; x >= 0; x--) out[x] = in[2 * (size_t)x] << 8 | in[2 * (size_t)x + 1];
  }
}

/* The size stands at a fixed place of the first chunk, which libpng reads only together with what follows it. */
static status check_header(const image_source *s) {
  const uint8_t *b = s->bytes;
  if (s->n < 33) return fail(STATUS_FORMAT, "%s: cannot read this PNG: the file ends early", s->name);
  if (memcmp(b + 12, "IHDR", 4)) return fail(STATUS_FORMAT, "%s: cannot read this PNG: it has no header", s->name);
  return image_check_size(s, png_get_uint_32(b + 16), png_get_uint_32(b + 20));
}

static status read_picture(png_reader *r) {
  if (setjmp(png_jmpbuf(r->png)))
    return fail(STATUS_FORMAT, "%s: cannot read this PNG: %s", r->source->name, r->message);
  /* Sizes were checked; text and colour profiles are not wanted and could be bombs of their own. */
  static const png_byte unwanted[] = "iCCP\0tEXt\0zTXt\0iTXt\0sPLT";
  png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, unwanted, 5);
  png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_chunk_malloc_max(r->png, 1 << 20);
  png_set_read_fn(r->png, r, read_bytes);
  png_read_info(r->png, r->info);
  png_uint_32 width, height;
  int depth, colour;
  png_get_IHDR(r->png, r->info, &width, &height, &depth, &colour, NULL, NULL, NULL);
  r->im = image_new(choose_mode(r->png, depth, colour), (int)width, (int)height);
  if (!r->im) return last_status();
  if (colour == PNG_COLOR_TYPE_PALETTE)
    read_palette(r);
  else if (!(colour & PNG_COLOR_MASK_ALPHA))
    read_key(r, depth);
  for (int passes = png_set_interlace_handling(r->png); passes > 0; passes--)
    for (int y = 0; y < r->im->height; y++) png_read_row(r->png, image_row(r->im, y), NULL);
  png_read_end(r->png, r->info);
  if (r->im->mode == IMAGE_I) widen_grey16(r->im);
  png_bytep exif;
  png_uint_32 n;
  if (png_get_eXIf_1(r->png, r->info, &n, &exif)) r->orientation = exif_orientation(exif, n);
  return STATUS_OK;
}

image *png_decode(const image_source *source, int *orientation) {
  png_reader r = {.source = source, .orientation = 1};
  if (check_header(source)) return NULL;
  status code = STATUS_MEMORY;
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_read_error, on_warning);
  r.info = r.png ? png_create_info_struct(r.png) : NULL;
  if (r.info)
    code = read_picture(&r);
  else
    fail(STATUS_MEMORY, "%s: out of memory for the PNG decoder", source->name);
  png_destroy_read_struct(&r.png, &r.info, NULL);
  if (code) {
    image_free(r.im);
    return NULL;
  }
  *orientation = r.orientation;
  return r.im;
}

/* ---- writing ---- */

typedef struct {
  const char *name;  /* for sentences */
  atomic_file *file; /* where it goes; NULL: to these bytes */
  unsigned char *bytes;
  size_t n, room;
  status failed; /* of the file or of memory, not of libpng */
  char message[160];
  png_structp png;
  png_infop info;
} png_writer;

static void on_write_error(png_structp png, png_const_charp text) {
  png_writer *w = png_get_error_ptr(png);
  keep_message(w->message, sizeof w->message, text);
  png_longjmp(png, 1);
}

static status append_bytes(png_writer *w, const void *bytes, size_t n) {
  size_t room = w->room;
  while (room - w->n < n)
    if (!size_mul(room, 2, &room)) return fail(STATUS_MEMORY, "the PNG is too large");
  unsigned char *more = room > w->room ? mem_grow(w->bytes, room, 1) : w->bytes;
  if (!more) return STATUS_MEMORY;
  w->bytes = more;
  w->room = room;
  memcpy(w->bytes + w->n, bytes, n);
  w->n += n;
  return STATUS_OK;
}

static void write_bytes(png_structp png, png_bytep bytes, size_t n) {
  png_writer *w = png_get_io_ptr(png);
  w->failed = w->file ? atomic_file_write(w->file, bytes, n) : append_bytes(w, bytes, n);
  if (w->failed) png_error(png, "the file cannot be written");
}

static void on_flush(png_structp png) { (void)png; } /* the commit does it */

static status write_picture(png_writer *w, const image *im, int colour) {
  if (setjmp(png_jmpbuf(w->png)))
    return w->failed ? w->failed : fail(STATUS_IO, "%s: cannot write this PNG: %s", w->name, w->message);
  png_set_user_limits(w->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_write_fn(w->png, w, write_bytes, on_flush);
  png_set_IHDR(w->png, w->info, (png_uint_32)im->width, (png_uint_32)im->height, 8, colour, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(w->png, w->info);
  for (int y = 0; y < im->height; y++) png_write_row(w->png, image_row(im, y));
  png_write_end(w->png, w->info);
  return STATUS_OK;
}

static int png_colour_type(image_mode mode) {
  switch (mode) {
  case IMAGE_L:
    return PNG_COLOR_TYPE_GRAY;
  case IMAGE_LA:
    return PNG_COLOR_TYPE_GRAY_ALPHA;
  case IMAGE_RGB:
    return PNG_COLOR_TYPE_RGB;
  case IMAGE_RGBA:
    return PNG_COLOR_TYPE_RGB_ALPHA;
  case IMAGE_P:
  case IMAGE_1:
  case IMAGE_I:
    break;
  }
  return -1;
}

static status encode(png_writer *w, const image *im) {
  const int colour = png_colour_type(im->mode);
  if (colour < 0) return fail(STATUS_ARGUMENT, "%s: only L, LA, RGB and RGBA pictures can be written", w->name);
  w->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, w, on_write_error, on_warning);
  w->info = w->png ? png_create_info_struct(w->png) : NULL;
  const status code =
      w->info ? write_picture(w, im, colour) : fail(STATUS_MEMORY, "%s: out of memory for the PNG encoder", w->name);
  png_destroy_write_struct(&w->png, &w->info);
  return code;
}

status image_write_png(const char *path, const image *im) {
  png_writer w = {.name = path, .file = atomic_file_create(path)};
  const status code = w.file ? encode(&w, im) : last_status();
  if (!code) return atomic_file_commit(w.file);
  atomic_file_abandon(w.file);
  return code;
}

status image_encode_png(const image *im, void **bytes, size_t *n) {
  enum { ROOM = 1 << 12 };
  png_writer w = {.name = "the picture", .bytes = mem_alloc(ROOM, 1), .room = ROOM};
  const status code = w.bytes ? encode(&w, im) : STATUS_MEMORY;
  if (code) free(w.bytes);
  *bytes = code ? NULL : w.bytes;
  *n = code ? 0 : w.n;
  return code;
}
