/* Queries as kernels want them: padded; for tables of i8 in about 15 bits, as two digits; for the comparison in 8 bits
 * packed 16 queries at a time, with the error bounds of each. */
#include "kernels/search_queries.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_WIDE = 127 * 128, STEPS_FILTER = 127, ALIGNMENT = 64 };

static size_t padded_width(size_t width) { return (width + 63) / 64 * 64; }
static size_t fours_of(size_t width) { return (width + 3) / 4; }

/* --- one memory for all arrays ------------------------------------------------------------------------------------ */

/* Arrays one behind the other, each at a multiple of ALIGNMENT: first with no memory, to learn its size. */
typedef struct {
  char *base;
  size_t used;
  bool too_large;
} arrays;

static void *take(arrays *a, size_t n, size_t size) {
  size_t bytes;
  void *here = a->base ? a->base + a->used : NULL;
  if (!size_mul(n, size, &bytes) || !size_add(bytes, ALIGNMENT - 1, &bytes) ||
      !size_add(a->used, bytes / ALIGNMENT * ALIGNMENT, &a->used))
    a->too_large = true;
  return here;
}

static void lay_out(prepared_queries *p, arrays *a, vector_type type, bool filtered) {
  const size_t lanes = p->strips * FILTER_STRIP, padded = p->exact.padded;
  if (type == VECTOR_I8) {
    p->exact.wide = take(a, p->n, padded * sizeof *p->exact.wide);
    p->exact.digits = take(a, p->n, 2 * padded);
    p->exact.sum = take(a, p->n, sizeof *p->exact.sum);
    p->exact.step = take(a, p->n, sizeof *p->exact.step);
  } else {
    p->exact.values = take(a, p->n, padded * sizeof *p->exact.values);
  }
  if (!filtered) return;
  p->filter.values = take(a, lanes, 4 * p->filter.fours);
  p->filter.slack = take(a, lanes, sizeof(float));
  p->filter.size = take(a, lanes, sizeof(float));
  p->unit = take(a, lanes, sizeof(float));
}

size_t queries_bytes(size_t width) { return 5 * padded_width(width) + 64; }

/* --- one query ---------------------------------------------------------------------------------------------------- */

static double largest(const float *x, size_t n) {
  double max = 0;
  for (size_t i = 0; i < n; i++) max = fmax(max, fabs((double)x[i]));
  return max;
}

/* x / step to the nearest integer, which is at most `most`. */
static int steps_of(double x, double step, int most) {
  const double steps = step > 0 ? nearbyint(x / step) : 0;
  return steps > most ? most : steps < -most ? -most : (int)steps;
}

static void put_integers(prepared_queries *p, size_t q, const float *x) {
  const size_t padded = p->exact.padded;
  int16_t *wide = p->exact.wide + q * padded;
  int8_t *high = p->exact.digits + 2 * q * padded, *low = high + padded;
  const double step = largest(x, p->exact.width) / STEPS_WIDE;
  int32_t sum = 0;
  for (size_t i = 0; i < p->exact.width; i++) {
    const int value = steps_of((double)x[i], step, STEPS_WIDE);
    const int digit = (value + STEPS_WIDE + 64) / 128 - STEPS_FILTER; /* of 128, so that -64..63 remain */
    wide[i] = (int16_t)value;
    high[i] = (int8_t)digit;
    low[i] = (int8_t)(value - 128 * digit);
    sum += value;
  }
  p->exact.sum[q] = sum;
  p->exact.step[q] = step;
}

/* Lengths for which no sum of squares or product of two overflows, or loses what counts. */
static bool bounded(double length) { return length >= 1e-10 && length <= 1e10; }

/* What the bound of search_filter.c needs of query q, in units of its step. A score's own rounding is at most
 * (width / 16 + 5) 2^-24 of the product of the two lengths, as is, with a few 2^-24 instead of 5, that of the bound and
 * of the row's lengths: twice that and more is allowed for. What cannot be bounded never rules out. */
static void put_filter(prepared_queries *p, size_t q, const float *x) {
  const size_t width = p->exact.width, fours = p->filter.fours, strip = q / FILTER_STRIP, lane = q % FILTER_STRIP;
  const double rounding = ((double)width / 16 + 32) * 0x1p-23, more = 1 + 1e-6;
  uint8_t *to = p->filter.values + (strip * fours * FILTER_STRIP + lane) * 4;
  double step = largest(x, width) / STEPS_FILTER, errors = 0, squares = 0, size = 0;
  for (size_t i = 0; i < width; i++) squares += (double)x[i] * (double)x[i];
  const bool usable = bounded(sqrt(squares));
  if (!usable) step = 1;
  for (size_t i = 0; i < width; i++) {
    const int value = usable ? steps_of((double)x[i], step, STEPS_FILTER) : 0;
    const double error = (double)x[i] - step * value;
    errors += error * error;
    size += (double)value * value;
    to[i / 4 * FILTER_STRIP * 4 + i % 4] = (uint8_t)(value ^ 0x80);
  }
  const double slack = usable ? (sqrt(errors) + rounding * sqrt(squares)) / step * more : (double)INFINITY;
  p->filter.slack[q] = (float)slack;
  p->filter.size[q] = (float)(sqrt(size) * more);
  p->unit[q] = (float)step;
}

/* A query as tables of i8 see it. */
static void as_stored(const prepared_queries *p, size_t q, float *x) {
  for (size_t i = 0; i < p->exact.width; i++) x[i] = (float)(p->exact.step[q] * p->exact.wide[q * p->exact.padded + i]);
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

static void put_all(prepared_queries *p, const float *queries, bool filtered, float *one) {
  const size_t width = p->exact.width;
  if (filtered) memset(p->filter.values, 0x80, p->strips * FILTER_STRIP * 4 * p->filter.fours);
  for (size_t q = 0; q < p->n; q++) {
    memcpy(one, queries + q * width, width * sizeof *one);
    if (p->exact.wide) {
      put_integers(p, q, one);
      as_stored(p, q, one);
    } else {
      memcpy(p->exact.values + q * p->exact.padded, one, width * sizeof *one);
    }
    if (filtered) put_filter(p, q, one);
  }
}

status queries_prepare(prepared_queries *p, vector_type type, size_t width, const float *queries, size_t n,
                       bool filtered) {
  *p = (prepared_queries){.n = n,
                          .strips = (n + FILTER_STRIP - 1) / FILTER_STRIP,
                          .exact = {.width = width, .padded = padded_width(width)},
                          .filter = {.fours = fours_of(width)}};
  arrays a = {0};
  lay_out(p, &a, type, filtered);
  float *one = mem_alloc(width, sizeof *one);
  if (!one) return STATUS_MEMORY;
  p->memory = a.too_large ? NULL : mem_zero(a.used + ALIGNMENT, 1);
  if (!p->memory) {
    free(one);
    return a.too_large ? fail(STATUS_MEMORY, "%zu queries of width %zu are too many at once", n, width) : STATUS_MEMORY;
  }
  const size_t behind = (uintptr_t)p->memory % ALIGNMENT;
  a = (arrays){.base = (char *)p->memory + (ALIGNMENT - behind)};
  lay_out(p, &a, type, filtered);
  put_all(p, queries, filtered, one);
  free(one);
  return STATUS_OK;
}

void queries_free(prepared_queries *p) { free(p->memory); }

float queries_limit(const prepared_queries *p, size_t q, float score) {
  return nextafterf(score / p->unit[q], -INFINITY);
}
