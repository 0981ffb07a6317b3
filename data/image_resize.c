/* Resizing, bit for bit as Pillow's Image.resize: spec rwkv-clip section 8, items 2 and 3.
 *
 * 8-bit channels: weights in fixed point with 22 fractional bits, a horizontal pass rounded to 8 bits, then a vertical
 * one; a pass that changes nothing is skipped. 32-bit grey: weights in double, each pass rounded half away from zero.
 * Alpha is premultiplied before and divided out after. Palette and bilevel pictures take the nearest pixel. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_internal.h"

#define FRACTION_BITS 22

/* ---- weights of one axis ---- */

/* Output o takes inputs first[o] .. first[o]+count[o]-1; its weights begin at o*taps. */
typedef struct {
  int n_out;
  size_t taps;
  int *first, *count;
  int32_t *fixed; /* for 8-bit channels */
  double *exact;  /* for 32-bit grey */
} axis;

static double filter_support(image_filter filter) {
  return filter == FILTER_BOX ? 0.5 : filter == FILTER_BILINEAR ? 1 : 2;
}

static double filter_value(image_filter filter, double x) {
  if (filter == FILTER_BOX) return x > -0.5 && x <= 0.5 ? 1 : 0;
  x = fabs(x);
  if (filter == FILTER_BILINEAR) return x < 1 ? 1 - x : 0;
  const double a = -0.5; /* Keys' cubic convolution */
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

static void axis_free(axis *a) {
  free(a->first);
  free(a->count);
  free(a->fixed);
  free(a->exact);
}

/* Weights for outputs offset .. offset+n_out-1 of n_in -> n_full. */
static status axis_make(axis *a, int n_in, int n_full, int offset, int n_out, image_filter filter, bool exact) {
  const double scale = (double)n_in / n_full, stretch = scale < 1 ? 1 : scale;
  const double support = filter_support(filter) * stretch, step = 1 / stretch;
  const double widest = ceil(support) * 2 + 1;
  *a = (axis){.n_out = n_out, .taps = widest < n_in ? (size_t)widest : (size_t)n_in};
  size_t total;
  if (!size_mul(a->taps, (size_t)n_out, &total))
    return fail(STATUS_MEMORY, "a resize to %d pixels needs too much memory", n_full);
  a->first = mem_alloc((size_t)n_out, sizeof *a->first);
  a->count = mem_alloc((size_t)n_out, sizeof *a->count);
  a->exact = mem_alloc(exact ? total : a->taps, sizeof *a->exact);
  if (!exact) a->fixed = mem_alloc(total, sizeof *a->fixed);
  if (!a->first || !a->count || !a->exact || (!exact && !a->fixed)) return STATUS_MEMORY;
  for (int o = 0; o < n_out; o++) {
    const double center = ((double)offset + o + 0.5) * scale, low = center - support + 0.5,
                 high = center + support + 0.5;
    const int first = low < 0 ? 0 : (int)low, last = high > n_in ? n_in : (int)high;
    double *w = a->exact + (exact ? (size_t)o * a->taps : 0), sum = 0;
    for (int i = 0; i < last - first; i++) sum += w[i] = filter_value(filter, (i + first - center + 0.5) * step);
    for (int i = 0; i < last - first; i++) {
      if (sum != 0) w[i] /= sum;
      if (exact) continue;
      a->fixed[(size_t)o * a->taps + (size_t)i] = (int32_t)(w[i] * (1 << FRACTION_BITS) + (w[i] < 0 ? -0.5 : 0.5));
    }
    a->first[o] = first;
    a->count[o] = last - first;
  }
  return STATUS_OK;
}

/* ---- the passes ---- */

static inline uint8_t from_fixed(int32_t v) {
  v >>= FRACTION_BITS;
  return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static inline int32_t round_away(double v) { return (int32_t)(v >= 0 ? floor(v + 0.5) : -floor(0.5 - v)); }

/* One row; `channels` is a constant at each call, so that the inner loops unroll. */
static inline __attribute__((always_inline)) void across8(const axis *a, const uint8_t *in, uint8_t *out,
                                                          const int channels) {
  for (int o = 0; o < a->n_out; o++) {
    const int32_t *w = a->fixed + (size_t)o * a->taps;
    const uint8_t *p = in + (size_t)a->first[o] * (size_t)channels;
    int32_t sum[4];
    for (int c = 0; c < channels; c++) sum[c] = 1 << (FRACTION_BITS - 1);
    for (int i = 0; i < a->count[o]; i++, p += channels)
      for (int c = 0; c < channels; c++) sum[c] += w[i] * p[c];
    for (int c = 0; c < channels; c++) *out++ = from_fixed(sum[c]);
  }
}

static void across32(const axis *a, const int32_t *in, int32_t *out) {
  for (int o = 0; o < a->n_out; o++) {
    const double *w = a->exact + (size_t)o * a->taps;
    double sum = 0;
    for (int i = 0; i < a->count[o]; i++) sum += in[a->first[o] + i] * w[i];
    out[o] = round_away(sum);
  }
}

static void across(const axis *a, image_mode mode, const void *in, void *out) {
  switch (mode) {
  case IMAGE_I:
    across32(a, in, out);
    break;
  case IMAGE_RGBA:
    across8(a, in, out, 4);
    break;
  case IMAGE_RGB:
    across8(a, in, out, 3);
    break;
  case IMAGE_LA:
    across8(a, in, out, 2);
    break;
  case IMAGE_L:
  case IMAGE_P:
  case IMAGE_1:
    across8(a, in, out, 1);
    break;
  }
}

/* Output row o from `rows` of n values, the first of which is input row `base`; in blocks that stay in the cache. */
static void down8(const axis *a, int o, const uint8_t *rows, int base, size_t n, uint8_t *out) {
  enum { BLOCK = 1024 };
  int32_t sum[BLOCK];
  const int32_t *w = a->fixed + (size_t)o * a->taps;
  rows += (size_t)(a->first[o] - base) * n;
  for (size_t at = 0; at < n; at += BLOCK) {
    const size_t m = n - at < BLOCK ? n - at : BLOCK;
    for (size_t j = 0; j < m; j++) sum[j] = 1 << (FRACTION_BITS - 1);
    for (int i = 0; i < a->count[o]; i++) {
      const uint8_t *p = rows + (size_t)i * n + at;
      const int32_t weight = w[i];
      for (size_t j = 0; j < m; j++) sum[j] += weight * p[j];
    }
    for (size_t j = 0; j < m; j++) out[at + j] = from_fixed(sum[j]);
  }
}

static void down32(const axis *a, int o, const int32_t *rows, int base, size_t n, int32_t *out) {
  const double *w = a->exact + (size_t)o * a->taps;
  rows += (size_t)(a->first[o] - base) * n;
  for (size_t j = 0; j < n; j++) {
    double sum = 0;
    for (int i = 0; i < a->count[o]; i++) sum += rows[(size_t)i * n + j] * w[i];
    out[j] = round_away(sum);
  }
}

/* ---- alpha ---- */

static void premultiply(const uint8_t *in, uint8_t *out, size_t pixels, int channels) {
  for (; pixels--; in += channels, out += channels) {
    const unsigned alpha = in[channels - 1];
    for (int c = 0; c < channels - 1; c++) {
      const unsigned t = in[c] * alpha + 128;
      out[c] = (uint8_t)(((t >> 8) + t) >> 8);
    }
    out[channels - 1] = (uint8_t)alpha;
  }
}

static void divide_alpha(uint8_t *p, size_t pixels, int channels) {
  for (; pixels--; p += channels) {
    const unsigned alpha = p[channels - 1];
    if (alpha == 0 || alpha == 255) continue;
    for (int c = 0; c < channels - 1; c++) {
      const unsigned v = 255u * p[c] / alpha;
      p[c] = (uint8_t)(v > 255 ? 255 : v);
    }
  }
}

/* ---- putting it together ---- */

/* Rows first .. first+n-1 of `im`, premultiplied if there is alpha, then through the horizontal pass (if `a` is not
 * NULL), columns left .. of the result. `rows` receives n rows of the window's width. */
static status all_across(const image *im, const axis *a, int left, int first, int n, image *rows) {
  const size_t size = image_pixel_size(im->mode);
  const bool alpha = im->mode == IMAGE_LA || im->mode == IMAGE_RGBA;
  uint8_t *plain = alpha ? mem_alloc((size_t)im->width, size) : NULL;
  if (alpha && !plain) return STATUS_MEMORY;
  for (int y = 0; y < n; y++) {
    const uint8_t *in = image_row(im, first + y);
    if (alpha) {
      premultiply(in, plain, (size_t)im->width, (int)size);
      in = plain;
    }
    if (a)
      across(a, im->mode, in, image_row(rows, y));
    else
      memcpy(image_row(rows, y), in + (size_t)left * size, (size_t)rows->width * size);
  }
  free(plain);
  return STATUS_OK;
}

/* x and y: NULL if that axis keeps its size. */
static image *resample(const image *im, const axis *x, const axis *y, int left, int top, int width, int height) {
  int first = top, end = top + height;
  if (y) { /* only the rows that the vertical pass reads */
    first = y->first[0];
    end = y->first[height - 1] + y->count[height - 1];
  }
  image *rows = image_new(im->mode, width, end - first);
  if (!rows) return NULL;
  if (all_across(im, x, left, first, end - first, rows)) {
    image_free(rows);
    return NULL;
  }
  image *out = rows;
  if (y && (out = image_new(im->mode, width, height))) {
    const size_t values = (size_t)width * (im->mode == IMAGE_I ? 1 : image_pixel_size(im->mode));
    for (int o = 0; o < height; o++) {
      if (im->mode == IMAGE_I)
        down32(y, o, rows->pixels, first, values, (int32_t *)(void *)image_row(out, o));
      else
        down8(y, o, rows->pixels, first, values, image_row(out, o));
    }
  }
  if (out != rows) image_free(rows);
  if (out && (im->mode == IMAGE_LA || im->mode == IMAGE_RGBA))
    divide_alpha(out->pixels, (size_t)width * (size_t)height, (int)image_pixel_size(im->mode));
  return out;
}

/* The nearest input of each output; positions are summed up, not multiplied, as Pillow does: the rounding shows. */
static int *nearest_inputs(int n_in, int n_full, int offset, int n_out) {
  int *index = mem_alloc((size_t)n_out, sizeof *index);
  const double scale = (double)n_in / n_full;
  double at = scale * 0.5;
  for (int o = 0; index && o < offset + n_out; o++, at += scale)
    if (o >= offset) index[o - offset] = at < n_in ? (int)at : n_in - 1;
  return index;
}

static image *nearest(const image *im, int full_width, int full_height, int left, int top, int width, int height) {
  int *xs = nearest_inputs(im->width, full_width, left, width),
      *ys = nearest_inputs(im->height, full_height, top, height);
  image *out = xs && ys ? image_new_like(im, width, height) : NULL;
  const size_t size = image_pixel_size(im->mode);
  for (int y = 0; out && y < height; y++) {
    const uint8_t *in = image_row(im, ys[y]);
    uint8_t *to = image_row(out, y);
    for (int x = 0; x < width; x++) memcpy(to + (size_t)x * size, in + (size_t)xs[x] * size, size);
  }
  free(xs);
  free(ys);
  return out;
}

image *image_resize_window(const image *im, int full_width, int full_height, int left, int top, int width, int height,
                           image_filter filter) {
  if (full_width < 1 || full_height < 1 || left < 0 || top < 0 || width < 1 || height < 1 ||
      width > full_width - left || height > full_height - top)
    return fail_null(STATUS_ARGUMENT, "a picture cannot be resized to %d x %d pixels", full_width, full_height);
  if (full_width == im->width && full_height == im->height) return image_crop(im, left, top, width, height);
  if (filter == FILTER_NEAREST || im->mode == IMAGE_P || im->mode == IMAGE_1)
    return nearest(im, full_width, full_height, left, top, width, height);
  const bool exact = im->mode == IMAGE_I, wider = full_width != im->width, taller = full_height != im->height;
  axis x = {0}, y = {0};
  image *out = NULL;
  if ((!wider || !axis_make(&x, im->width, full_width, left, width, filter, exact)) &&
      (!taller || !axis_make(&y, im->height, full_height, top, height, filter, exact)))
    out = resample(im, wider ? &x : NULL, taller ? &y : NULL, left, top, width, height);
  axis_free(&x);
  axis_free(&y);
  return out;
}

image *image_resize(const image *im, int width, int height, image_filter filter) {
  return image_resize_window(im, width, height, 0, 0, width, height, filter);
}
