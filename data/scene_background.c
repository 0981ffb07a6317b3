/* Backgrounds of generated scenes, and the blur and noise that may go over the finished picture. */
#include <math.h>
#include <string.h>

#include "data/scene_parts.h"

typedef struct {
  float c[3];
} shade;

/* Hue in degrees, saturation and value in 0..1. */
static shade shade_hsv(float hue, float saturation, float value) {
  shade out;
  for (int i = 0; i < 3; i++) { /* red, green, blue are the same curve, a third of the circle apart */
    const float k = fmodf((float)(5 - 2 * i) + hue / 60, 6);
    out.c[i] = 255 * value * (1 - saturation * fmaxf(0, fminf(1, fminf(k, 4 - k))));
  }
  return out;
}

static shade shade_random(rng *g) {
  static const struct {
    float share, saturation[2], value[2];
  } family[] = {
      {0.40f, {0.00f, 0.35f}, {0.80f, 1.00f}}, /* light */
      {0.20f, {0.00f, 0.80f}, {0.05f, 0.35f}}, /* dark */
      {0.20f, {0.50f, 1.00f}, {0.50f, 1.00f}}, /* saturated */
      {0.20f, {0.05f, 0.40f}, {0.35f, 0.80f}}, /* dull */
  };
  size_t k = 0;
  for (float u = rng_uniform(g); k < 3 && u >= family[k].share; k++) u -= family[k].share;
  const float hue = rng_range(g, 0, 360);
  const float saturation = rng_range(g, family[k].saturation[0], family[k].saturation[1]);
  return shade_hsv(hue, saturation, rng_range(g, family[k].value[0], family[k].value[1]));
}

/* A second shade not too far from the first, so that a pattern does not drown what lies on it. */
static shade shade_near(rng *g, shade a, float reach) {
  const float lift = rng_range(g, -reach, reach);
  for (int c = 0; c < 3; c++) a.c[c] = fmaxf(0, fminf(255, a.c[c] + lift + rng_range(g, -reach, reach) / 2));
  return a;
}

static void put_mix(uint8_t *rgb, const shade *a, const shade *b, float t) {
  for (int c = 0; c < 3; c++) rgb[c] = byte_of(a->c[c] + (b->c[c] - a->c[c]) * t);
}

static void fill(scene *out, shade a) {
  uint8_t *rgb = out->rgb;
  for (size_t i = (size_t)out->size * (size_t)out->size; i; i--, rgb += 3) put_mix(rgb, &a, &a, 0);
}

static void gradient(rng *g, scene *out, shade a, shade b) {
  const float angle = rng_range(g, 0, 6.2831853f), dx = cosf(angle), dy = sinf(angle);
  const float reach = fabsf(dx) + fabsf(dy), side = (float)out->size;
  uint8_t *rgb = out->rgb;
  for (int y = 0; y < out->size; y++)
    for (int x = 0; x < out->size; x++, rgb += 3)
      put_mix(rgb, &a, &b, 0.5f + (dx * ((float)x / side - 0.5f) + dy * ((float)y / side - 0.5f)) / reach);
}

/* Smooth noise: random values on a lattice of 3..12 cells a side, joined by smoothsteps. */
static void clouds(rng *g, scene *out, shade a, shade b) {
  enum { MOST = 13 };
  float lattice[MOST][MOST];
  const int cells = 3 + (int)rng_below(g, MOST - 3);
  for (int y = 0; y <= cells; y++)
    for (int x = 0; x <= cells; x++) lattice[y][x] = rng_uniform(g);
  const float scale = (float)cells / (float)out->size;
  uint8_t *rgb = out->rgb;
  for (int y = 0; y < out->size; y++) {
    const float v = (float)y * scale, fy = v - floorf(v), wy = fy * fy * (3 - 2 * fy);
    const int row = (int)v;
    for (int x = 0; x < out->size; x++, rgb += 3) {
      const float u = (float)x * scale, fx = u - floorf(u), wx = fx * fx * (3 - 2 * fx);
      const float *top = &lattice[row][(int)u], *below = &lattice[row + 1][(int)u];
      const float t = top[0] + (top[1] - top[0]) * wx, e = below[0] + (below[1] - below[0]) * wx;
      put_mix(rgb, &a, &b, t + (e - t) * wy);
    }
  }
}

/* Stripes of any direction, or checks: a triangle wave of the distance, sharpened to edges one pixel soft. */
static void stripes(rng *g, scene *out, shade a, shade b, bool checks) {
  const float angle = rng_range(g, 0, 3.1415927f), dx = cosf(angle), dy = sinf(angle);
  const float period = (float)out->size * rng_range(g, 0.12f, 0.5f), phase = rng_uniform(g), sharp = period / 2;
  uint8_t *rgb = out->rgb;
  for (int y = 0; y < out->size; y++)
    for (int x = 0; x < out->size; x++, rgb += 3) {
      const float u = ((float)x * dx + (float)y * dy) / period + phase, v = ((float)y * dx - (float)x * dy) / period;
      const float wave_u = fmaxf(-1, fminf(1, (4 * fabsf(u - floorf(u) - 0.5f) - 1) * sharp));
      const float wave_v = fmaxf(-1, fminf(1, (4 * fabsf(v - floorf(v) - 0.5f) - 1) * sharp));
      put_mix(rgb, &a, &b, 0.5f + (checks ? wave_u * wave_v : wave_u) / 2);
    }
}

/* Sky and ground: two shades, each with a slight vertical gradient, meeting at a level line. */
static void horizon(rng *g, scene *out, shade sky, shade ground) {
  const float line = (float)out->size * rng_range(g, 0.35f, 0.75f);
  const shade sky_end = shade_near(g, sky, 30), ground_end = shade_near(g, ground, 30);
  uint8_t *rgb = out->rgb;
  for (int y = 0; y < out->size; y++) {
    const bool above = (float)y < line;
    const float t = above ? (float)y / line : ((float)y - line) / ((float)out->size - line);
    for (int x = 0; x < out->size; x++, rgb += 3)
      put_mix(rgb, above ? &sky : &ground, above ? &sky_end : &ground_end, t);
  }
}

void background_draw(rng *g, bool plain, scene *out) {
  if (plain) {
    memset(out->rgb, 255, (size_t)out->size * (size_t)out->size * 3);
    return;
  }
  const shade a = shade_random(g);
  switch (rng_below(g, 10)) {
  case 0:
  case 1:
  case 2:
    fill(out, a);
    break;
  case 3:
    gradient(g, out, a, shade_near(g, a, 80));
    break;
  case 4:
    gradient(g, out, a, shade_random(g));
    break;
  case 5:
  case 6:
    clouds(g, out, a, shade_near(g, a, 60));
    break;
  case 7:
    stripes(g, out, a, shade_near(g, a, 50), false);
    break;
  case 8:
    stripes(g, out, a, shade_near(g, a, 50), true);
    break;
  default:
    horizon(g, out, a, shade_random(g));
    break;
  }
}

void background_contrast(rng *g, const figure *figures, int n, scene *out) {
  shade best = {{255, 255, 255}};
  float best_distance = -1;
  for (int k = 0; k < 24; k++) {
    const shade a = shade_random(g);
    float nearest = 1e9f;
    for (int i = 0; i < n; i++) {
      float square = 0;
      for (int c = 0; c < 3; c++) square += (a.c[c] - figures[i].edge[c]) * (a.c[c] - figures[i].edge[c]);
      nearest = fminf(nearest, square);
    }
    if (nearest > best_distance) best_distance = nearest, best = a;
  }
  fill(out, best);
}

/* 1 2 1 along rows (pitch 3) and columns (pitch 3 * size), in place; the border keeps its outer neighbour. */
static void blur_line(uint8_t *first, int n, size_t pitch) {
  uint8_t before = *first;
  for (int i = 0; i < n; i++, first += pitch) {
    const uint8_t here = *first, after = i + 1 < n ? first[pitch] : here;
    *first = (uint8_t)((before + 2 * here + after + 2) / 4);
    before = here;
  }
}

void scene_blur(scene *out) {
  const size_t row = 3 * (size_t)out->size;
  for (size_t i = 0; i < (size_t)out->size; i++)
    for (size_t c = 0; c < 3; c++) blur_line(out->rgb + i * row + c, out->size, 3);
  for (size_t i = 0; i < row; i++) blur_line(out->rgb + i, out->size, row);
}

void scene_noise(rng *g, float amplitude, scene *out) {
  const size_t n = (size_t)out->size * (size_t)out->size * 3;
  const int strength = (int)(amplitude * 256);
  uint64_t bits = 0;
  for (size_t i = 0; i < n; i++) { /* the sum of two bytes: a triangular distribution */
    if (i % 4 == 0) bits = rng_u64(g);
    const int value = out->rgb[i] + ((int)(bits & 255) - (int)(bits >> 8 & 255)) * strength / 65536;
    bits >>= 16;
    out->rgb[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}
