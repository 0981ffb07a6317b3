/* The picture code against files made here, and against damage. (Pillow's own results are golden cases:
 * scripts/golden.) */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/image.h" /* before cmocka.h, which takes the name fail */
#include "tests/support/scratch.h"

#include <cmocka.h>
#include <jpeglib.h>
#include <png.h>

#define GOLDENS "tests/goldens/clip-preprocess/public/"

/* ---- files made here ---- */

typedef struct {
  uint8_t *bytes;
  size_t n;
} blob;

static void blob_png_write(png_structp png, png_bytep data, size_t n) {
  blob *b = png_get_io_ptr(png);
  b->bytes = realloc(b->bytes, b->n + n);
  memcpy(b->bytes + b->n, data, n);
  b->n += n;
}

static void blob_png_flush(png_structp png) { (void)png; }

typedef struct {
  int width, height, depth, colour, interlace;
  const uint8_t *rows; /* packed as PNG packs them; NULL: only the header is written */
  png_color *palette;
  int n_palette;
  uint8_t *alpha; /* of palette entries */
  int n_alpha;
  png_color_16 *key;
  uint8_t *exif;
  int n_exif;
} png_recipe;

static blob make_png(const png_recipe *r) {
  blob b = {0};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_write_fn(png, &b, blob_png_write, blob_png_flush);
  png_set_IHDR(png, info, (png_uint_32)r->width, (png_uint_32)r->height, r->depth, r->colour, r->interlace, 0, 0);
  if (r->palette) png_set_PLTE(png, info, r->palette, r->n_palette);
  if (r->alpha || r->key) png_set_tRNS(png, info, r->alpha, r->n_alpha, r->key);
  if (r->exif) png_set_eXIf_1(png, info, (png_uint_32)r->n_exif, r->exif);
  png_write_info(png, info);
  if (r->rows) {
    const size_t stride = png_get_rowbytes(png, info);
    for (int passes = png_set_interlace_handling(png); passes > 0; passes--)
      for (int y = 0; y < r->height; y++) png_write_row(png, r->rows + stride * (size_t)y);
    png_write_end(png, info);
  }
  png_destroy_write_struct(&png, &info);
  return b;
}

static image *decode(blob b) {
  image *im = image_decode(b.bytes, b.n, "made", NULL);
  free(b.bytes);
  return im;
}

static void check_pixels(const image *im, image_mode mode, int width, int height, const void *pixels) {
  assert_non_null(im);
  assert_int_equal(im->mode, mode);
  assert_int_equal(im->width, width);
  assert_int_equal(im->height, height);
  assert_memory_equal(im->pixels, pixels, (size_t)width * (size_t)height * image_pixel_size(mode));
}

/* An EXIF block whose first directory has an unrelated entry and then the orientation. */
static size_t make_exif(uint8_t out[64], int orientation, bool big) {
  const uint16_t words[] = {42, 0, 8, 2, 256, 3, 0, 1, 7, 0, 274, 3, 0, 1, (uint16_t)orientation, 0};
  const uint8_t wide[] = {1, 6, 12}; /* where a 32-bit number's high word stands */
  uint16_t ordered[16];
  memcpy(ordered, words, sizeof words);
  if (!big)
    for (size_t i = 0; i < sizeof wide; i++) {
      ordered[wide[i]] = words[wide[i] + 1];
      ordered[wide[i] + 1] = words[wide[i]];
    }
  memcpy(out, big ? "MM" : "II", 2);
  for (size_t i = 0; i < 16; i++) {
    out[2 + 2 * i] = (uint8_t)(big ? ordered[i] >> 8 : ordered[i]);
    out[3 + 2 * i] = (uint8_t)(big ? ordered[i] : ordered[i] >> 8);
  }
  return 34;
}

/* Grey 24 x 16 of six flat blocks: 10 50 90 / 130 170 210. */
static uint8_t block_grey(int bx, int by) { return (uint8_t)(10 + 40 * bx + 120 * by); }

static blob make_jpeg(const uint8_t *exif, size_t n_exif) {
  struct jpeg_compress_struct c;
  struct jpeg_error_mgr errors;
  unsigned char *bytes = NULL;
  unsigned long n = 0;
  c.err = jpeg_std_error(&errors);
  jpeg_create_compress(&c);
  jpeg_mem_dest(&c, &bytes, &n);
  c.image_width = 24;
  c.image_height = 16;
  c.input_components = 1;
  c.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, 100, TRUE);
  jpeg_start_compress(&c, TRUE);
  if (exif) {
    uint8_t marker[80] = "Exif\0";
    memcpy(marker + 6, exif, n_exif);
    jpeg_write_marker(&c, JPEG_APP0 + 1, marker, (unsigned)(n_exif + 6));
  }
  for (int y = 0; y < 16; y++) {
    uint8_t row[24];
    JSAMPROW rows[1] = {row};
    for (int x = 0; x < 24; x++) row[x] = block_grey(x / 8, y / 8);
    jpeg_write_scanlines(&c, rows, 1);
  }
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
  return (blob){bytes, n};
}

static void orientation_of_jpeg(void **state) {
  (void)state;
  /* The stored blocks a b c / d e f as they appear upright, from the definitions in the EXIF standard: 6, for example,
   * means that the stored first row is the right-hand side. */
  static const char *upright[9] = {"", "abcdef", "cbafed", "fedcba", "defabc", "adbecf", "daebfc", "fcebda", "cfbead"};
  for (int big = 0; big < 2; big++)
    for (int o = 0; o <= 9; o++) { /* 0 and 9 are not orientations: as stored */
      uint8_t exif[64];
      const size_t n = make_exif(exif, o, big);
      blob b = make_jpeg(exif, n);
      const bool turned = o >= 5 && o <= 8;
      image *kept = image_decode(b.bytes, b.n, "kept", &(image_limits){.keep_orientation = true}), *im = decode(b);
      assert_non_null(im);
      assert_int_equal(kept->width, 24);
      assert_int_equal(im->width, turned ? 16 : 24);
      assert_int_equal(im->height, turned ? 24 : 16);
      const char *expected = upright[o >= 1 && o <= 8 ? o : 1];
      for (int i = 0; i < 6; i++) {
        const int columns = turned ? 2 : 3, x = i % columns * 8 + 4, y = i / columns * 8 + 4,
                  stored = expected[i] - 'a';
        assert_int_equal(((uint8_t *)im->pixels)[y * im->width + x], block_grey(stored % 3, stored / 3));
      }
      image_free(kept);
      image_free(im);
    }
  uint8_t exif[64];
  const size_t n = make_exif(exif, 6, true);
  for (size_t cut = 0; cut < n; cut++) { /* a directory that leaves its block */
    image *im = decode(make_jpeg(exif, cut));
    assert_non_null(im);
    assert_true(im->width == 24 || cut >= 32);
    image_free(im);
  }
}

static void png_kinds(void **state) {
  (void)state;
  const uint8_t packed[] = {0x40, 0xb0}; /* 2 bits a pixel: 1 0, then 2 3 */
  image *im =
      decode(make_png(&(png_recipe){2, 2, 2, PNG_COLOR_TYPE_GRAY, 0, packed, .key = &(png_color_16){.gray = 2}}));
  check_pixels(im, IMAGE_L, 2, 2, (uint8_t[]){85, 0, 170, 255});
  image *white = image_on_white(im); /* the transparent grey 2 of 3 is 170 */
  check_pixels(white, IMAGE_RGB, 2, 2, (uint8_t[]){85, 85, 85, 0, 0, 0, 255, 255, 255, 255, 255, 255});
  image_free(white);
  image_free(im);

  im = decode(make_png(&(png_recipe){3, 1, 1, PNG_COLOR_TYPE_GRAY, .rows = (uint8_t[]){0xa0}}));
  check_pixels(im, IMAGE_1, 3, 1, (uint8_t[]){255, 0, 255});
  image_free(im);

  png_color colours[3] = {{1, 2, 3}, {40, 50, 60}, {7, 8, 9}};
  im = decode(make_png(&(png_recipe){3, 1, 4, PNG_COLOR_TYPE_PALETTE, .rows = (uint8_t[]){0x01, 0x20},
                                     .palette = colours, .n_palette = 3, .alpha = (uint8_t[]){255, 51}, .n_alpha = 2}));
  check_pixels(im, IMAGE_P, 3, 1, (uint8_t[]){0, 1, 2});
  image *rgba = image_to_rgba(im), *rgb = image_to_rgb(im);
  white = image_on_white(im);
  check_pixels(rgba, IMAGE_RGBA, 3, 1, (uint8_t[]){1, 2, 3, 255, 40, 50, 60, 51, 7, 8, 9, 255});
  check_pixels(rgb, IMAGE_RGB, 3, 1, (uint8_t[]){1, 2, 3, 40, 50, 60, 7, 8, 9});
  check_pixels(white, IMAGE_RGB, 3, 1, (uint8_t[]){1, 2, 3, 212, 214, 216, 7, 8, 9}); /* one fifth of it */
  image_free(white);
  image_free(rgba);
  image_free(rgb);
  image_free(im);

  const uint8_t deep[] = {0x12, 0x34, 0x00, 0xff, 0xff, 0xff, 0x01, 0x00, 0x80, 0x80, 0x7f, 0x7f};
  for (int interlace = 0; interlace < 2; interlace++) {
    im = decode(make_png(&(png_recipe){2, 3, 16, PNG_COLOR_TYPE_GRAY, interlace, .rows = deep}));
    check_pixels(im, IMAGE_I, 2, 3, (int32_t[]){0x1234, 0xff, 0xffff, 0x100, 0x8080, 0x7f7f});
    rgb = image_to_rgb(im);
    white = image_on_white(im);
    assert_int_equal(((uint8_t *)rgb->pixels)[0], 255);  /* clamped, as Pillow does */
    assert_int_equal(((uint8_t *)white->pixels)[0], 18); /* scaled */
    assert_int_equal(((uint8_t *)white->pixels)[12], 128);
    image_free(white);
    image_free(rgb);
    image_free(im);
    im = decode(make_png(&(png_recipe){2, 1, 16, PNG_COLOR_TYPE_RGB, interlace, .rows = deep}));
    check_pixels(im, IMAGE_RGB, 2, 1, (uint8_t[]){0x12, 0x00, 0xff, 0x01, 0x80, 0x7f});
    image_free(im);
    im = decode(make_png(&(png_recipe){3, 1, 16, PNG_COLOR_TYPE_GRAY_ALPHA, interlace, .rows = deep}));
    check_pixels(im, IMAGE_LA, 3, 1, (uint8_t[]){0x12, 0x00, 0xff, 0x01, 0x80, 0x7f});
    image_free(im);
  }
  uint8_t exif[64];
  const size_t n = make_exif(exif, 6, false);
  im = decode(
      make_png(&(png_recipe){2, 1, 8, PNG_COLOR_TYPE_GRAY, 0, (uint8_t[]){3, 4}, .exif = exif, .n_exif = (int)n}));
  check_pixels(im, IMAGE_L, 1, 2, (uint8_t[]){3, 4}); /* turned clockwise: left becomes top */
  image_free(im);
}

static image *decode_bytes(const void *bytes, size_t n) { return image_decode(bytes, n, "made", NULL); }

static void plain_formats(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t n;
    image_mode mode;
    int32_t pixels[3];
  } pnm[] = {
      {"P2\n# a comment\n3 1\n100\n0 50 100\n", 0, IMAGE_L, {0, 128, 255}},
      {"P2 3 1 65535 0 300 65535", 0, IMAGE_I, {0, 300, 65535}},
      {"P1 3 1 101", 0, IMAGE_1, {0, 255, 0}},
      {"P4 3 1 \xa0", 0, IMAGE_1, {0, 255, 0}},
      {"P5 3 1 255 abc", 0, IMAGE_L, {'a', 'b', 'c'}},
      {"P5 3 1 1000 \0\0\1\xf4\3\xe8", 18, IMAGE_I, {0, 32768, 65535}},
      {"P6 1 1 255\nabc", 0, IMAGE_RGB, {'a', 'b', 'c'}},
  };
  for (size_t i = 0; i < sizeof pnm / sizeof *pnm; i++) {
    image *im = decode_bytes(pnm[i].text, pnm[i].n ? pnm[i].n : strlen(pnm[i].text));
    assert_non_null(im);
    assert_int_equal(im->mode, pnm[i].mode);
    for (int k = 0; k < 3; k++)
      assert_int_equal(im->mode == IMAGE_I ? ((int32_t *)im->pixels)[k] : ((uint8_t *)im->pixels)[k], pnm[i].pixels[k]);
    image_free(im);
  }
  static const char *bad[] = {"P2 3 1 100 0 50 101", "P5 3 1 255 ab", "P5 3 1 0 abc", "P6 0 1 255 abc",
                              "P5 9999999 1 255 a",  "P5 3",          "P1 3 1 102",   "P5 1000000 1000000 255 a"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_null(decode_bytes(bad[i], strlen(bad[i])));

  /* BMP, 4 bits, 3 x 2, bottom row first, rows padded to 4 bytes */
  uint8_t bmp[54 + 8 + 8] = {'B', 'M', [10] = 62, [14] = 40, [18] = 3, [22] = 2, [26] = 1, [28] = 4};
  memcpy(bmp + 54, (uint8_t[]){1, 2, 3, 0, 4, 5, 6, 0, 0x01, 0x10, 0, 0, 0x00, 0x10, 0, 0}, 16);
  image *im = decode_bytes(bmp, sizeof bmp);
  check_pixels(im, IMAGE_P, 3, 2, (uint8_t[]){0, 0, 1, 0, 1, 1});
  assert_memory_equal(im->palette[1], ((uint8_t[]){6, 5, 4, 255}), 4);
  image_free(im);
  memcpy(bmp + 22, (uint8_t[]){0xfe, 0xff, 0xff, 0xff}, 4); /* height -2: top row first */
  im = decode_bytes(bmp, sizeof bmp);
  check_pixels(im, IMAGE_P, 3, 2, (uint8_t[]){0, 1, 1, 0, 0, 1});
  image_free(im);
  memcpy(bmp + 22, (uint8_t[]){0, 0, 0, 0x80}, 4); /* the height that has no negative */
  assert_null(decode_bytes(bmp, sizeof bmp));

  /* GIF, 2 x 2 of which the frame covers the upper row; its second colour is transparent */
  const uint8_t gif[] =
      "GIF89a\2\0\2\0\x80\1\0\x0a\x14\x1e\x28\x32\x3c!\xf9\4\1\0\0\1\0,\0\0\0\0\2\0\1\0\0\2\2\x44\x0a\0;";
  im = decode_bytes(gif, sizeof gif - 1);
  assert_non_null(im);
  assert_int_equal(im->mode, IMAGE_P);
  image *rgba = image_to_rgba(im);
  assert_memory_equal(rgba->pixels, ((uint8_t[]){10, 20, 30, 255}), 4);
  for (int i = 1; i < 4; i++) assert_int_equal(((uint8_t *)rgba->pixels)[4 * i + 3], 0);
  image_free(rgba);
  image_free(im);

  /* TGA, run lengths, 3 x 1, one run of two and one raw */
  const uint8_t tga[] = {0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 24, 0x20, 0x81, 3, 2, 1, 0x00, 6, 5, 4};
  im = decode_bytes(tga, sizeof tga);
  check_pixels(im, IMAGE_RGB, 3, 1, (uint8_t[]){1, 2, 3, 1, 2, 3, 4, 5, 6});
  image_free(im);
}

/* ---- damage ---- */

static uint8_t *read_file(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  uint8_t *bytes = malloc(1 << 20);
  *n = fread(bytes, 1, 1 << 20, f);
  fclose(f);
  return bytes;
}

static void expect_sentence(const image *im, status code, const char *part) {
  assert_null(im);
  assert_int_equal(last_status(), code);
  if (!strstr(last_error(), part)) fail_msg("\"%s\" does not say \"%s\"", last_error(), part);
  assert_null(strchr(last_error(), '\n'));
}

/* Cuts the file everywhere. Each piece stands in its own block of memory, so that ASan sees a read past its end. */
static void cut_everywhere(const uint8_t *bytes, size_t n, bool must_fail) {
  for (size_t cut = 0; cut < n; cut++) {
    uint8_t *piece = malloc(cut ? cut : 1);
    memcpy(piece, bytes, cut);
    image *im = image_decode(piece, cut, "cut.png", NULL);
    free(piece);
    if (must_fail || !im) expect_sentence(im, last_status(), "cut.png: ");
    image_free(im);
  }
}

/* Changes each byte in several ways: anything but a crash or a failure without a sentence. */
static void spoil_everywhere(const uint8_t *bytes, size_t n) {
  static const uint8_t changes[] = {0x01, 0x80, 0xff, 0x5a};
  uint8_t *piece = malloc(n);
  memcpy(piece, bytes, n);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < sizeof changes; k++) {
      piece[i] ^= changes[k];
      image *im = image_decode(piece, n, "spoilt", &(image_limits){.max_pixels = 1 << 16});
      if (!im) assert_non_null(strstr(last_error(), "spoilt: "));
      image_free(im);
      piece[i] ^= changes[k];
    }
  free(piece);
}

static void damaged_files(void **state) {
  (void)state;
  size_t n;
  uint8_t *png = read_file(GOLDENS "gradient_97x61.png", &n);
  cut_everywhere(png, n, true);
  spoil_everywhere(png, n);
  free(png);
  blob jpeg = make_jpeg(NULL, 0);
  cut_everywhere(jpeg.bytes, jpeg.n, true);
  spoil_everywhere(jpeg.bytes, jpeg.n);
  free(jpeg.bytes);
  uint8_t *photo = read_file(GOLDENS "noise_120x90_q75_420.jpg", &n);
  for (size_t cut = 0; cut < n; cut += 97)
    expect_sentence(image_decode(photo, cut, "photo", NULL), STATUS_FORMAT, "photo: ");
  free(photo);

  uint8_t bmp[54 + 4 * 12] = {'B', 'M', [10] = 54, [14] = 40, [18] = 3, [22] = 4, [26] = 1, [28] = 24};
  image_free(image_decode(bmp, sizeof bmp, "whole", NULL));
  cut_everywhere(bmp, 54 + 4 * 12 - 3, true); /* the last row's padding is not missed */
  spoil_everywhere(bmp, sizeof bmp);
  const uint8_t gif[] =
      "GIF89a\2\0\2\0\x80\1\0\x0a\x14\x1e\x28\x32\x3c!\xf9\4\1\0\0\1\0,\0\0\0\0\2\0\1\0\0\2\2\x44\x0a\0;";
  cut_everywhere(gif, sizeof gif - 3, true);
  spoil_everywhere(gif, sizeof gif - 1);
  const uint8_t tga[] = {0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 24, 0x20, 0x81, 3, 2, 1, 0x00, 6, 5, 4};
  cut_everywhere(tga, sizeof tga, true);
  spoil_everywhere(tga, sizeof tga);
}

static void not_pictures(void **state) {
  char *path = scratch_path(state, "picture");
  scratch_write(path, "", 0);
  expect_sentence(image_open(path, NULL), STATUS_FORMAT, "the file is empty");
  scratch_write(path, "Dear reader, this is no picture.\n", 33);
  expect_sentence(image_open(path, NULL), STATUS_FORMAT, "not a picture");
  expect_sentence(image_open(path, NULL), STATUS_FORMAT, path);
  expect_sentence(image_open(path, &(image_limits){.max_bytes = 32}), STATUS_MEMORY, "limit of 32 bytes");
  if (geteuid() != 0) { /* the superuser may read anything */
    chmod(path, 0);
    expect_sentence(image_open(path, NULL), STATUS_IO, "cannot open");
  }
  unlink(path);
  expect_sentence(image_open(path, NULL), STATUS_IO, "No such file");
  free(path);
  expect_sentence(image_open("tests", NULL), STATUS_IO, "directory");
  static const char *texts[] = {"",           "P",   "BMW builds cars, among other things.",
                                "Plain text", "GIF", "{\"json\": true, \"a\": 1}"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) assert_false(image_recognised(texts[i], strlen(texts[i])));
  uint8_t zeros[64] = {0};
  assert_false(image_recognised(zeros, sizeof zeros));
  assert_true(image_recognised("\x89PNG\r\n\x1a\n", 8));
  assert_true(image_recognised("\xff\xd8\xff\xe0", 4));
}

static void limits(void **state) {
  (void)state;
  blob bomb = make_png(&(png_recipe){60000, 60000, 8, PNG_COLOR_TYPE_RGB_ALPHA, .interlace = PNG_INTERLACE_ADAM7});
  expect_sentence(image_decode(bomb.bytes, bomb.n, "bomb", NULL), STATUS_MEMORY,
                  "60000 x 60000 pixels is over the limit");
  free(bomb.bytes);
  blob small = make_png(&(png_recipe){3, 1, 8, PNG_COLOR_TYPE_GRAY, .rows = (uint8_t[]){1, 2, 3}});
  expect_sentence(image_decode(small.bytes, small.n, "small", &(image_limits){.max_pixels = 2}), STATUS_MEMORY,
                  "limit of 2");
  image *im = image_decode(small.bytes, small.n, "small", &(image_limits){.max_pixels = 3});
  check_pixels(im, IMAGE_L, 3, 1, (uint8_t[]){1, 2, 3});
  image_free(im);
  memset(small.bytes + 16, 0, 4); /* width 0 */
  expect_sentence(decode(small), STATUS_FORMAT, "0 x 1 pixels");
  uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0xff, 0x00, 0xff, 0x00, 1, 1,
                    0x11, 0,    0xff, 0xda, 0, 8,  1, 1,    0,    0,    63,   0};
  expect_sentence(decode_bytes(jpeg, sizeof jpeg), STATUS_MEMORY, "65280 x 65280");
  const uint8_t tga[18] = {0, 0, 2, [12] = 0xff, 0xff, 0xff, 0xff, 24, 0};
  expect_sentence(decode_bytes(tga, sizeof tga), STATUS_MEMORY, "65535 x 65535");
  const uint8_t gif[13] = "GIF89a\xff\xff\xff\xff";
  expect_sentence(decode_bytes(gif, sizeof gif), STATUS_MEMORY, "65535 x 65535");
  assert_null(image_new(IMAGE_L, 0, 1));
  assert_null(image_new(IMAGE_L, 1, -1));
}

/* ---- geometry ---- */

static image *ramp(image_mode mode, int width, int height) {
  image *im = image_new(mode, width, height);
  const size_t n = (size_t)width * (size_t)height * image_pixel_size(mode);
  for (size_t i = 0; i < n; i++) ((uint8_t *)im->pixels)[i] = (uint8_t)(i * 37 + i / 7);
  return im;
}

static void cropping(void **state) {
  (void)state;
  image *im = image_new(IMAGE_L, 3, 2);
  memcpy(im->pixels, (uint8_t[]){1, 2, 3, 4, 5, 6}, 6);
  image *inside = image_crop(im, 1, 0, 2, 2), *across = image_crop(im, -1, 1, 3, 2),
        *outside = image_crop(im, 3, 0, 1, 1);
  check_pixels(inside, IMAGE_L, 2, 2, (uint8_t[]){2, 3, 5, 6});
  check_pixels(across, IMAGE_L, 3, 2, (uint8_t[]){0, 4, 5, 0, 0, 0});
  check_pixels(outside, IMAGE_L, 1, 1, (uint8_t[]){0});
  assert_null(image_crop(im, 0, 0, 0, 1));
  image_free(inside);
  image_free(across);
  image_free(outside);
  image_free(im);
}

/* The transform computes only what it keeps; that must be what cropping the whole resized picture gives. */
static void clip_transform_is_resize_and_crop(void **state) {
  (void)state;
  static const image_mode modes[] = {IMAGE_L, IMAGE_LA, IMAGE_RGB, IMAGE_RGBA, IMAGE_P, IMAGE_1};
  for (size_t m = 0; m < 6; m++) {
    image *im = ramp(modes[m], 41, 13), *whole = image_resize(im, 63, 20, FILTER_BICUBIC); /* 20*41/13 = 63.08 */
    image *crop = image_crop(whole, 22, 0, 20, 20), *expected = image_to_rgb(crop);        /* 43/2 = 21.5 -> 22 */
    image *got = image_clip_transform(im, 20);
    check_pixels(got, IMAGE_RGB, 20, 20, expected->pixels);
    image_free(im);
    image_free(whole);
    image_free(crop);
    image_free(expected);
    image_free(got);
  }
  image *narrow = image_new(IMAGE_L, 1, 200000),
        *got = image_clip_transform(narrow, 32); /* 6.4 million rows, never made */
  assert_non_null(got);
  image_free(got);
  got = image_clip_transform(narrow, 20000);
  expect_sentence(got, STATUS_UNSUPPORTED, "too narrow");
  image_free(narrow);
}

static void filters(void **state) {
  (void)state;
  image *im = image_new(IMAGE_L, 4, 1);
  memcpy(im->pixels, (uint8_t[]){0, 100, 200, 255}, 4);
  image *box = image_resize(im, 2, 1, FILTER_BOX), *near = image_resize(im, 2, 1, FILTER_NEAREST);
  image *twice = image_resize(im, 8, 1, FILTER_BILINEAR), *same = image_resize(im, 4, 1, FILTER_BICUBIC);
  check_pixels(box, IMAGE_L, 2, 1, (uint8_t[]){50, 228});
  check_pixels(near, IMAGE_L, 2, 1, (uint8_t[]){100, 255});
  check_pixels(twice, IMAGE_L, 8, 1, (uint8_t[]){0, 25, 75, 125, 175, 214, 241, 255});
  check_pixels(same, IMAGE_L, 4, 1, im->pixels);
  assert_null(image_resize(im, 0, 1, FILTER_BOX));
  image *all[] = {im, box, near, twice, same};
  for (size_t i = 0; i < 5; i++) image_free(all[i]);
  /* a colour under full transparency must not bleed into its neighbour */
  image *alpha = image_new(IMAGE_RGBA, 2, 1);
  memcpy(alpha->pixels, (uint8_t[]){200, 10, 20, 255, 0, 255, 0, 0}, 8);
  image *one = image_resize(alpha, 1, 1, FILTER_BOX);
  check_pixels(one, IMAGE_RGBA, 1, 1, (uint8_t[]){199, 9, 19, 128}); /* 100 5 10 over 128 */
  image_free(one);
  image_free(alpha);
}

static void fit_square(void **state) {
  (void)state;
  image *im = image_new(IMAGE_RGBA, 40, 20);
  for (int i = 0; i < 800; i++) memcpy((uint8_t *)im->pixels + 4 * i, (uint8_t[]){200, 0, 0, i % 40 < 20 ? 255 : 0}, 4);
  image *fit = image_fit_square(im, 20);
  assert_non_null(fit);
  const uint8_t *p = fit->pixels;
  assert_int_equal(fit->width, 20);
  assert_int_equal(fit->height, 20);
  assert_memory_equal(p + 3 * (4 * 20 + 2), ((uint8_t[]){255, 255, 255}), 3); /* the margin above */
  assert_memory_equal(p + 3 * (5 * 20 + 2), ((uint8_t[]){200, 0, 0}), 3);
  assert_memory_equal(p + 3 * (14 * 20 + 2), ((uint8_t[]){200, 0, 0}), 3);
  assert_memory_equal(p + 3 * (15 * 20 + 2), ((uint8_t[]){255, 255, 255}), 3);  /* and below */
  assert_memory_equal(p + 3 * (10 * 20 + 17), ((uint8_t[]){255, 255, 255}), 3); /* transparent on white */
  image_free(fit);
  image_free(im);
  im = image_new(IMAGE_L, 1, 1000);
  fit = image_fit_square(im, 10); /* a hundredth of a pixel wide: still seen */
  assert_int_equal(((uint8_t *)fit->pixels)[3 * (5 * 10 + 4)], 0);
  image_free(fit);
  image_free(im);
}

/* ---- writing ---- */

/* The disk is full, as far as the writer can tell: the old picture stays, and no temporary file. */
static void full_disk(const char *path, const image *im) {
  struct rlimit before;
  struct stat old, now;
  assert_int_equal(image_write_png(path, im), STATUS_OK);
  assert_int_equal(stat(path, &old), 0);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, SIG_IGN); /* writes beyond the limit then fail with EFBIG */
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){100, before.rlim_max});
  const status code = image_write_png(path, im);
  setrlimit(RLIMIT_FSIZE, &before);
  assert_int_equal(code, STATUS_IO);
  assert_non_null(strstr(last_error(), path));
  assert_non_null(strstr(last_error(), strerror(EFBIG)));
  assert_int_equal(stat(path, &now), 0);
  assert_true(old.st_ino == now.st_ino && old.st_size == now.st_size && old.st_size > 100);
}

static void writing(void **state) {
  static const image_mode modes[] = {IMAGE_L, IMAGE_LA, IMAGE_RGB, IMAGE_RGBA};
  char *path = scratch_path(state, "picture.png");
  for (size_t i = 0; i < 4; i++) {
    image *im = ramp(modes[i], 13, 7);
    assert_int_equal(image_write_png(path, im), STATUS_OK);
    image *back = image_open(path, NULL);
    check_pixels(back, modes[i], 13, 7, im->pixels);
    image_free(back);
    void *bytes;
    size_t n;
    assert_int_equal(image_encode_png(im, &bytes, &n), STATUS_OK);
    back = image_decode(bytes, n, "encoded", NULL);
    check_pixels(back, modes[i], 13, 7, im->pixels);
    image_free(back);
    free(bytes);
    image_free(im);
  }
  image *im = ramp(IMAGE_RGB, 300, 300);
  full_disk(path, im);
  image_free(im);
  unlink(path);
  im = ramp(IMAGE_P, 2, 2);
  assert_int_equal(image_write_png(path, im), STATUS_ARGUMENT);
  void *bytes;
  size_t n;
  assert_int_equal(image_encode_png(im, &bytes, &n), STATUS_ARGUMENT);
  assert_null(bytes);
  im->mode = IMAGE_L;
  assert_int_equal(image_write_png("no/such/folder/picture.png", im), STATUS_IO);
  assert_non_null(strstr(last_error(), "no/such/folder/picture.png"));
  image_free(im);
  if (!access("/dev/full", W_OK)) {
    im = ramp(IMAGE_RGB, 300, 300);
    assert_int_equal(image_write_png("/dev/full", im), STATUS_IO);
    assert_int_equal(access("/dev/full", F_OK), 0);
    image_free(im);
  }
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(orientation_of_jpeg),
      cmocka_unit_test(png_kinds),
      cmocka_unit_test(plain_formats),
      cmocka_unit_test(damaged_files),
      cmocka_unit_test_setup_teardown(not_pictures, scratch_setup, scratch_teardown),
      cmocka_unit_test(limits),
      cmocka_unit_test(cropping),
      cmocka_unit_test(filters),
      cmocka_unit_test(clip_transform_is_resize_and_crop),
      cmocka_unit_test(fit_square),
      cmocka_unit_test_setup_teardown(writing, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
