/* Encoding of ggml's block types with small squared error; docs/quantization.md says how small.
 *
 * A group of values x gets a grid, scale * l + min with l in low..high: for a given grid the best l are the nearest,
 * for given l the best scale and minimum are those of a linear regression of x on l. Some grids near the one that just
 * covers the values are regressed, and the one that leaves the smallest error is taken. What a block can store is
 * coarser (f16, and integers times f16): there the neighbours are compared by their true error, and the l are the
 * nearest to what is stored. The Lloyd-Max conditions, restricted to uniform grids: Lloyd, "Least squares quantization
 * in PCM", 1982. */
#include <float.h>
#include <math.h>

#include "kernels/half.h"
#include "kernels/quant.h"
#include "kernels/quant_layout.h"

typedef struct {
  float scale, min;
} grid;

/* The numbers l of a type's grids. */
typedef struct {
  float low, high;
} levels;

/* Beyond any type's reach (65504 * 128 * 32 at most), and small enough that no sum of squares overflows. */
#define LARGEST 0x1p30f
/* Every stored value is a multiple of 2^-24; what is far below is 0, and no quotient overflows. */
#define SMALLEST 0x1p-40f

static void load(size_t n, const float *values, float *restrict x) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    const float v = values[i], size = fabsf(v);
    const float kept = size >= SMALLEST ? v : 0.0f; /* NaN too becomes 0 */
    x[i] = kept > LARGEST ? LARGEST : kept < -LARGEST ? -LARGEST : kept;
  }
}

/* f16, to nearest, never infinite. */
static uint16_t finite_f16(float v) { return f32_to_f16(v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v); }

/* The same for a scale, which does not vanish: with 2^-24 the nearest l are never worse than with 0. */
static uint16_t scale_f16(float v) {
  const uint16_t half = finite_f16(v);
  return v != 0.0f && (half & 0x7fff) == 0 ? (uint16_t)(half | 1) : half;
}

/* In two steps, each of which is one instruction of a vector unit. */
static inline float clamp(float v, float low, float high) {
  const float above = v > low ? v : low;
  return above < high ? above : high;
}

/* The nearest l, ties to even: adding 1.5 * 2^23 leaves no bits of a fraction. */
static inline float level(float v, levels r) { return (clamp(v, r.low, r.high) + 0x1.8p23f) - 0x1.8p23f; }

static inline float reciprocal(float scale) { return scale != 0.0f ? 1.0f / scale : 0.0f; }

/* Sum of squares of x - (scale * l + min) with the nearest l. */
static inline float error_of(int n, const float *x, grid g, levels r) {
  const float inverse = reciprocal(g.scale);
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; i++) {
    const float off = x[i] - (g.scale * level((x[i] - g.min) * inverse, r) + g.min);
    sum += off * off;
  }
  return sum;
}

static inline void store(int n, const float *x, grid g, levels r, int zero, uint8_t *q) {
  const float inverse = reciprocal(g.scale);
  for (int i = 0; i < n; i++) q[i] = (uint8_t)((int)level((x[i] - g.min) * inverse, r) + zero);
}

/* Sums and extremes by lane: compilers turn the loop over lanes into vectors, and the order of a sum is fixed. */
enum { LANES = 8 };

typedef struct {
  float low, high, mean;
} span;

static inline span span_of(int n, const float *x) {
  float low[LANES], high[LANES], sum[LANES];
  for (int k = 0; k < LANES; k++) {
    float l = x[k], h = x[k], s = x[k];
    for (int i = k + LANES; i < n; i += LANES) {
      l = x[i] < l ? x[i] : l;
      h = x[i] > h ? x[i] : h;
      s += x[i];
    }
    low[k] = l, high[k] = h, sum[k] = s;
  }
  for (int k = 1; k < LANES; k++) {
    low[0] = low[k] < low[0] ? low[k] : low[0];
    high[0] = high[k] > high[0] ? high[k] : high[0];
    sum[0] += sum[k];
  }
  return (span){low[0], high[0], sum[0] / (float)n};
}

/* The value of largest size, with its sign. */
static inline float peak_of(int n, const float *x) {
  const span s = span_of(n, x);
  return s.high > -s.low ? s.high : s.low;
}

/* Regression of x - min on l through the origin, l being the nearest to (x - min) * inverse: the scale, 0 if all l are
 * 0. */
static inline float regress_scale(int n, const float *x, float min, float inverse, levels r) {
  float xl = 0.0f, ll = 0.0f;
#pragma omp simd reduction(+ : xl, ll)
  for (int i = 0; i < n; i++) {
    const float l = level((x[i] - min) * inverse, r);
    xl += (x[i] - min) * l;
    ll += l * l;
  }
  return ll > 0.0f ? xl / ll : 0.0f;
}

/* The grids that a search begins with, each in its lane of a vector. */
enum { TRIES = LANES };

/* The first of those that are equal up to rounding: equal values shall not be stored with odd numbers. */
static inline int best_of(const float *gain) {
  int best = 0;
  for (int k = 1; k < TRIES; k++)
    if (gain[k] > gain[best] * 1.000002f) best = k;
  return best;
}

/* The best found scale of a grid without minimum. The value farthest from 0 begins near an end of the grid. */
static inline float fit_scale(int n, const float *x, levels r) {
  static const float off[TRIES] = {0.0f, -0.8f, -0.4f, 0.4f, 0.0f, -0.4f, 0.4f, 0.8f};
  const float peak = peak_of(n, x);
  float inverse[TRIES], scale[TRIES], gain[TRIES]; /* by how much the sum of squares is less than that of x */
  if (peak == 0.0f) return 0.0f;
  for (int k = 0; k < TRIES; k++) inverse[k] = ((k < TRIES / 2 && r.low < 0.0f ? r.low : r.high) + off[k]) / peak;
  for (int k = 0; k < TRIES; k++) {
    float xl = 0.0f, ll = 0.0f;
    for (int i = 0; i < n; i++) {
      const float l = level(x[i] * inverse[k], r);
      xl += x[i] * l;
      ll += l * l;
    }
    scale[k] = xl / ll; /* the peak's l is not 0 */
    gain[k] = scale[k] * xl;
  }
  return scale[best_of(gain)];
}

/* The best found grid; scale 0 if all values are equal. The first grids begin and end a little outside or inside of the
 * values. Sums are of x - mean: they stay small. */
static inline grid fit_grid(int n, const float *x, span s, levels r) {
  static const float begin[TRIES] = {0.0f, 0.0f, 0.0f, -0.4f, -0.4f, -0.4f, 0.4f, 0.4f};
  static const float end[TRIES] = {0.0f, 0.4f, -0.4f, 0.0f, 0.4f, -0.4f, 0.0f, 0.4f};
  float inverse[TRIES], min[TRIES], scale[TRIES], gain[TRIES];
  if (s.low == s.high) return (grid){0.0f, s.low};
  const float step = (s.high - s.low) / r.high;
  for (int k = 0; k < TRIES; k++) {
    min[k] = s.low + begin[k] * step;
    inverse[k] = r.high / (s.high + end[k] * step - min[k]);
  }
  for (int k = 0; k < TRIES; k++) {
    float xl = 0.0f, ll = 0.0f, sum = 0.0f;
    for (int i = 0; i < n; i++) {
      const float l = level((x[i] - min[k]) * inverse[k], r);
      xl += (x[i] - s.mean) * l;
      ll += l * l;
      sum += l;
    }
    scale[k] = xl / (ll - sum * sum / (float)n); /* the l of the ends differ */
    gain[k] = scale[k] * xl;
    min[k] = s.mean - scale[k] * sum / (float)n;
  }
  const int k = best_of(gain);
  return (grid){scale[k], min[k]};
}

/* With f16 scale and minimum: the minimum first, then the scale that is best with it. */
static void encode_with_minimum(const float *x, levels r, quant_fields *f) {
  enum { N = 32 };
  const span s = span_of(N, x);
  const grid fit = fit_grid(N, x, s, r);
  float least = FLT_MAX;
  for (int k = 0; k < 2; k++) {
    const uint16_t m = finite_f16(k == 0 ? s.low : fit.min);
    const float min = f16_to_f32(m), above = s.high - min, below = s.low - min;
    /* First the grid that ends at the value farthest from the minimum: exact, or nearly, if all values are equal. */
    const float wanted =
        k == 0 ? (above > -below ? above : below) / r.high : regress_scale(N, x, min, reciprocal(fit.scale), r);
    const uint16_t d = scale_f16(wanted);
    const float error = error_of(N, x, (grid){f16_to_f32(d), min}, r);
    if (error < least) least = error, f->d = d, f->m = m;
  }
  store(N, x, (grid){f16_to_f32(f->d), f16_to_f32(f->m)}, r, 0, f->q);
}

/* With 8 bits the grid that just covers the values is nearly the best. */
static void encode_without_minimum(const float *x, levels r, int zero, bool fine, quant_fields *f) {
  enum { N = 32 };
  f->d = scale_f16(fine ? fabsf(peak_of(N, x)) / r.high : fit_scale(N, x, r));
  store(N, x, (grid){f16_to_f32(f->d), 0.0f}, r, zero, f->q);
}

/* The integers that serve a real number best are the two around it. */
static inline int floor_between(float v, float low, float high) { return (int)floorf(clamp(v, low, high)); }

/* Q4_K, Q5_K: groups' scales d * (0..63), minima -m * (0..63), with the largest of either at `parts`. Chooses d, m and
 * the integers, and returns the sum of squared errors. */
static float choose_super_minimum(const float *x, const span *s, const grid *fit, float sign, float parts, levels r,
                                  quant_fields *f) {
  enum { N = 32, GROUPS = 8 };
  float scale = 0.0f, depth = 0.0f, sum = 0.0f;
  for (int g = 0; g < GROUPS; g++) {
    scale = fit[g].scale > scale ? fit[g].scale : scale;
    depth = fabsf(fit[g].min) > depth ? fabsf(fit[g].min) : depth;
  }
  f->d = scale_f16(scale / parts);
  f->m = scale_f16(-sign * depth / parts);
  const float d = f16_to_f32(f->d), m = f16_to_f32(f->m), per_d = reciprocal(d), per_m = reciprocal(m);
  for (int g = 0; g < GROUPS; g++) {
    const float *const at = x + N * g;
    const int i0 = floor_between(-fit[g].min * per_m, 0.0f, 63.0f);
    float least = FLT_MAX;
    for (int i = i0; i <= i0 + 1 && i <= 63; i++) {
      const float min = -(m * (float)i);
      const float wanted =
          fit[g].scale > 0.0f ? regress_scale(N, at, min, 1.0f / fit[g].scale, r) : (s[g].high - min) / r.high;
      const int j0 = floor_between(wanted * per_d, 0.0f, 63.0f);
      for (int j = j0; j <= j0 + 1 && j <= 63; j++) {
        const float error = error_of(N, at, (grid){d * (float)j, min}, r);
        if (error < least) least = error, f->scale[g] = (int8_t)j, f->min[g] = (int8_t)i;
      }
    }
    sum += least;
  }
  return sum;
}

/* With parts 63 all 6 bits are used; the other number gives another rounding of d and m. */
static void encode_super_minimum(const float *x, levels r, quant_fields *f) {
  enum { N = 32, GROUPS = 8 };
  span s[GROUPS];
  grid fit[GROUPS];
  float low = FLT_MAX;
  for (int g = 0; g < GROUPS; g++) {
    s[g] = span_of(N, x + N * g);
    fit[g] = fit_grid(N, x + N * g, s[g], r);
    low = s[g].low < low ? s[g].low : low;
  }
  /* All minima have the sign of -m: with a positive one no value could be negative. Groups of the other sign begin at
   * 0. */
  const float sign = low > 0.0f ? 1.0f : -1.0f;
  for (int g = 0; g < GROUPS; g++)
    if (fit[g].min * sign < 0.0f) fit[g] = (grid){fit_scale(N, x + N * g, r), 0.0f};
  quant_fields other = *f;
  const float error = choose_super_minimum(x, s, fit, sign, 63.0f, r, f);
  if (choose_super_minimum(x, s, fit, sign, 61.0f, r, &other) < error) *f = other;
  const float d = f16_to_f32(f->d), m = f16_to_f32(f->m);
  for (int g = 0; g < GROUPS; g++)
    store(N, x + N * g, (grid){d * (float)f->scale[g], -(m * (float)f->min[g])}, r, 0, f->q + N * g);
}

/* Q6_K: groups' scales d * (-128..127), the largest at `parts`. As above. */
static float choose_super(const float *x, const float *fit, float parts, levels r, quant_fields *f) {
  enum { N = 16, GROUPS = 16 };
  f->d = scale_f16(peak_of(GROUPS, fit) / parts);
  const float d = f16_to_f32(f->d), per_d = reciprocal(d);
  float sum = 0.0f;
  for (int g = 0; g < GROUPS; g++) {
    const int j0 = floor_between(fit[g] * per_d, -128.0f, 127.0f);
    float least = FLT_MAX;
    for (int j = j0; j <= j0 + 1 && j <= 127; j++) {
      const float error = error_of(N, x + N * g, (grid){d * (float)j, 0.0f}, r);
      if (error < least) least = error, f->scale[g] = (int8_t)j;
    }
    sum += least;
  }
  return sum;
}

static void encode_super(const float *x, levels r, int zero, quant_fields *f) {
  enum { N = 16, GROUPS = 16 };
  float fit[GROUPS];
  for (int g = 0; g < GROUPS; g++) fit[g] = fit_scale(N, x + N * g, r);
  quant_fields other = *f;
  const float error = choose_super(x, fit, -128.0f, r, f);
  if (choose_super(x, fit, -125.0f, r, &other) < error) *f = other;
  const float d = f16_to_f32(f->d);
  for (int g = 0; g < GROUPS; g++) store(N, x + N * g, (grid){d * (float)f->scale[g], 0.0f}, r, zero, f->q + N * g);
}

void quant_encode(quant_type type, const float *values, size_t n, void *blocks) {
  const quant_layout *t = &quant_layouts[type];
  const bool bytes = t->bits == 8;
  /* Q8_0 leaves -128 out, as everybody does, so that products of two bytes fit. */
  const levels r = {bytes ? -127.0f : (float)-t->zero, bytes ? 127.0f : (float)((1 << t->bits) - 1 - t->zero)};
  uint8_t *block = blocks;
  for (size_t i = 0; i < n; i += (size_t)t->block, block += t->bytes) {
    float x[QUANT_BLOCK_MAX];
    quant_fields f = {0};
    load((size_t)t->block, values + i, x);
    if (t->scales && t->m)
      encode_super_minimum(x, r, &f);
    else if (t->scales)
      encode_super(x, r, t->zero, &f);
    else if (t->m)
      encode_with_minimum(x, r, &f);
    else
      encode_without_minimum(x, r, t->zero, bytes, &f);
    quant_pack(t, &f, block);
  }
}
