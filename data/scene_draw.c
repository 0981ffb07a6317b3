/* Drawing figures: reduction by a whole factor, recolouring, antialiased affine sampling, compositing (scene_parts.h).
 */
#include <math.h>
#include <string.h>

#include "data/scene_parts.h"

/* An object must keep this share of its mask, ... */
static const float visible_share = 0.75f;
/* ... and this share of its outline must differ from what lies beneath by that distance in RGB. */
static const float clear_share = 0.6f;
static const float clear_distance = 60;

void figure_measure(figure *f, const object_picture *picture) {
  const float w = (float)picture->width * f->sx, h = (float)picture->height * f->sy;
  const float c = fabsf(cosf(f->angle)), s = fabsf(sinf(f->angle));
  f->half_w = (w * c + h * s) / 2;
  f->half_h = (w * s + h * c) / 2;
}

/* One sprite pixel: the mean of step x step picture pixels from (x, y), those outside counting as transparent. */
static void average(const object_picture *p, int x, int y, int step, uint8_t out[4]) {
  const int right = x + step < p->width ? x + step : p->width, bottom = y + step < p->height ? y + step : p->height;
  uint64_t sum[4] = {0};
  for (int row = y; row < bottom; row++) {
    const uint8_t *in = p->rgba + 4 * ((size_t)row * p->width + (size_t)x);
    for (int column = x; column < right; column++, in += 4) {
      const uint32_t a = in[3];
      sum[0] += in[0] * a;
      sum[1] += in[1] * a;
      sum[2] += in[2] * a;
      sum[3] += a;
    }
  }
  const uint64_t n = (uint64_t)step * (uint64_t)step;
  for (int c = 0; c < 3; c++) out[c] = (uint8_t)((sum[c] + 255 * n / 2) / (255 * n));
  out[3] = (uint8_t)((sum[3] + n / 2) / n);
}

static void sprite_load(struct scene_scratch *s, const object_picture *p, float scale) {
  int step = scale < 1 ? (int)(1 / scale) : 1;
  const int longer = p->width > p->height ? p->width : p->height, most = s->sprite_side - 2;
  if ((longer + step - 1) / step > most) step = (longer + most - 1) / most;
  s->sprite_step = step;
  s->sprite_width = (p->width + step - 1) / step;
  s->sprite_height = (p->height + step - 1) / step;

  const size_t pitch = 4 * (size_t)(s->sprite_width + 2);
  memset(s->sprite, 0, pitch);
  for (int y = 0; y < s->sprite_height; y++) {
    uint8_t *out = s->sprite + (size_t)(y + 1) * pitch;
    memset(out, 0, 4);
    for (int x = 0; x < s->sprite_width; x++) average(p, x * step, y * step, step, out + 4 * (x + 1));
    memset(out + 4 * (s->sprite_width + 1), 0, 4);
  }
  memset(s->sprite + (size_t)(s->sprite_height + 1) * pitch, 0, pitch);
}

static float luma_of(const float *rgb) { return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2]; }

/* Shades of the paint: the picture's dominant tone becomes the paint itself. A black picture keeps its light details
 * white, a grey or white one keeps its dark details black. */
static void paint_pixel(float rgb[3], float a, const uint8_t paint[3], bool black, float mean_luma) {
  const float luma = luma_of(rgb);
  const float share = mean_luma > 0 ? fminf(a, luma * 255 / mean_luma) : a;
  for (int c = 0; c < 3; c++) {
    const float p = paint[c] / 255.0f;
    rgb[c] = black ? a * p + (1 - p) * luma : share * p;
  }
}

static size_t sprite_pixels(const struct scene_scratch *s) {
  return (size_t)(s->sprite_width + 2) * (size_t)(s->sprite_height + 2);
}

static float sprite_mean_luma(const struct scene_scratch *s) {
  double sum = 0, alpha = 0;
  const uint8_t *p = s->sprite;
  for (size_t i = sprite_pixels(s); i; i--, p += 4) {
    sum += luma_of((float[3]){p[0], p[1], p[2]});
    alpha += p[3];
  }
  return alpha > 0 ? (float)(255 * sum / alpha) : 0;
}

/* Recolours the premultiplied sprite; premultiplication commutes with every step but the clamp. */
static void sprite_tint(struct scene_scratch *s, const tint *t, colour from) {
  const bool plain = t->saturation == 1 && t->gain == 1 && t->offset == 0;
  if (plain && !t->paint) return;
  const float mean = t->paint ? sprite_mean_luma(s) : 0;
  uint8_t *p = s->sprite;
  for (size_t i = sprite_pixels(s); i; i--, p += 4) {
    if (!p[3]) continue;
    const float a = p[3];
    float rgb[3] = {p[0], p[1], p[2]};
    if (t->paint) paint_pixel(rgb, a, t->paint_rgb, from == COLOUR_BLACK, mean);
    const float luma = luma_of(rgb), base = luma * (1 - t->saturation) * t->gain + t->offset * a / 255;
    for (int c = 0; c < 3; c++) p[c] = byte_of(fminf(rgb[c] * t->saturation * t->gain + base, a));
  }
}

/* The colour word of the sprite, voted by at most 1024 evenly spread pixels. */
static colour sprite_colour(const struct scene_scratch *s) {
  uint8_t sample[1024][4];
  const size_t n = sprite_pixels(s), stride = (n + 1023) / 1024;
  size_t kept = 0;
  for (size_t i = 0; i < n; i += stride) {
    const uint8_t *p = s->sprite + 4 * i;
    if (p[3] < 128) continue;
    for (int c = 0; c < 3; c++) sample[kept][c] = (uint8_t)((p[c] * 255 + p[3] / 2) / p[3]);
    sample[kept++][3] = 255;
  }
  return colour_of_picture(sample[0], kept);
}

/* Adds the sprite at (x, y), in 1/256 pixel with sprite pixel i's centre at i * 256, bilinear, transparent outside. */
static void sample_add(const struct scene_scratch *s, int x, int y, uint32_t sum[4]) {
  const int left = x >> 8, top = y >> 8;
  if (left < -1 || top < -1 || left >= s->sprite_width || top >= s->sprite_height) return;
  const uint32_t fx = (uint32_t)(x & 255), fy = (uint32_t)(y & 255);
  const size_t pitch = 4 * (size_t)(s->sprite_width + 2);
  const uint8_t *p = s->sprite + (size_t)(top + 1) * pitch + 4 * (size_t)(left + 1), *q = p + pitch;
  const uint32_t w00 = (256 - fx) * (256 - fy), w10 = fx * (256 - fy), w01 = (256 - fx) * fy, w11 = fx * fy;
  for (int c = 0; c < 4; c++) sum[c] += w00 * p[c] + w10 * p[c + 4] + w01 * q[c] + w11 * q[c + 4];
}

static int clamp(float v, int low, int high) { return v < (float)low ? low : v > (float)high ? high : (int)v; }

/* Samples the sprite into the layer: four samples a pixel, through the inverse of (scale, mirror, turn, move). */
static void layer_draw(const figure *f, const object_picture *picture, int size, struct scene_scratch *s) {
  s->box.left = clamp(floorf(f->cx - f->half_w - 1), 0, size);
  s->box.top = clamp(floorf(f->cy - f->half_h - 1), 0, size);
  s->box.right = clamp(ceilf(f->cx + f->half_w + 1), 0, size);
  s->box.bottom = clamp(ceilf(f->cy + f->half_h + 1), 0, size);

  const float c = cosf(f->angle), sn = sinf(f->angle), step = (float)s->sprite_step;
  const float kx = 256 / (f->sx * step) * (f->mirror ? -1 : 1), ky = 256 / (f->sy * step);
  const float mid_x = 256 * ((float)picture->width / (2 * step) - 0.5f);
  const float mid_y = 256 * ((float)picture->height / (2 * step) - 0.5f);
  for (int y = s->box.top; y < s->box.bottom; y++) {
    uint8_t *out = s->layer + 4 * ((size_t)y * (size_t)size + (size_t)s->box.left);
    for (int x = s->box.left; x < s->box.right; x++, out += 4) {
      uint32_t sum[4] = {0};
      for (int k = 0; k < 4; k++) { /* the sum is at most 4 * 65536 * 255 */
        const float dx = (float)x + 0.25f + 0.5f * (float)(k & 1) - f->cx;
        const float dy = (float)y + 0.25f + 0.5f * (float)(k >> 1) - f->cy;
        sample_add(s, (int)floorf((c * dx + sn * dy) * kx + mid_x), (int)floorf((c * dy - sn * dx) * ky + mid_y), sum);
      }
      for (int i = 0; i < 4; i++) out[i] = (uint8_t)((sum[i] + 131072) >> 18);
    }
  }
}

static bool layer_covers(const struct scene_scratch *s, int size, int x, int y) {
  if (x < s->box.left || x >= s->box.right || y < s->box.top || y >= s->box.bottom) return false;
  return s->layer[4 * ((size_t)y * (size_t)size + (size_t)x) + 3] >= 128;
}

/* On the outline: covered, with an uncovered neighbour inside the picture. */
static bool layer_outline(const struct scene_scratch *s, int size, int x, int y) {
  return (x > 0 && !layer_covers(s, size, x - 1, y)) || (x + 1 < size && !layer_covers(s, size, x + 1, y)) ||
         (y > 0 && !layer_covers(s, size, x, y - 1)) || (y + 1 < size && !layer_covers(s, size, x, y + 1));
}

/* Does the layer stand out from out->rgb, on which it will be laid? Leaves the outline's mean colour in f->edge. */
static bool layer_clear(figure *f, const scene *out) {
  const struct scene_scratch *s = out->scratch;
  int outline = 0, distinct = 0;
  float sum[3] = {0};
  for (int y = s->box.top; y < s->box.bottom; y++)
    for (int x = s->box.left; x < s->box.right; x++) {
      if (!layer_covers(s, out->size, x, y) || !layer_outline(s, out->size, x, y)) continue;
      const size_t at = (size_t)y * (size_t)out->size + (size_t)x;
      const uint8_t *p = s->layer + 4 * at, *below = out->rgb + 3 * at;
      float square = 0;
      for (int c = 0; c < 3; c++) {
        const float own = (float)p[c] * 255 / (float)p[3], difference = own - (float)below[c];
        sum[c] += own;
        square += difference * difference;
      }
      outline++;
      distinct += square >= clear_distance * clear_distance;
    }
  for (int c = 0; c < 3; c++) f->edge[c] = outline ? sum[c] / (float)outline : 0;
  return (float)distinct >= clear_share * (float)outline;
}

/* Lays the layer on the picture as figure `index`; sets its box and counts and takes what it hides from the others. */
static void layer_lay(figure *figures, int index, scene *out) {
  figure *f = &figures[index];
  const struct scene_scratch *s = out->scratch;
  span box = {out->size, out->size, 0, 0};
  f->full = 0;
  for (int y = s->box.top; y < s->box.bottom; y++)
    for (int x = s->box.left; x < s->box.right; x++) {
      const size_t at = (size_t)y * (size_t)out->size + (size_t)x;
      const uint8_t *p = s->layer + 4 * at;
      uint8_t *rgb = out->rgb + 3 * at;
      const int rest = 255 - p[3];
      for (int c = 0; c < 3; c++) {
        const int v = p[c] + (rgb[c] * rest + 127) / 255;
        rgb[c] = (uint8_t)(v < 255 ? v : 255);
      }
      if (p[3] < 128) continue;
      if (out->owner[at]) figures[out->owner[at] - 1].visible--;
      out->owner[at] = (uint8_t)(index + 1);
      f->full++;
      if (x < box.left) box.left = x;
      if (y < box.top) box.top = y;
      if (x >= box.right) box.right = x + 1;
      if (y >= box.bottom) box.bottom = y + 1;
    }
  f->visible = f->full;
  if (!f->full) box = s->box; /* nothing to be seen: the place where it should be */
  f->object.x0 = (float)box.left;
  f->object.y0 = (float)box.top;
  f->object.x1 = (float)box.right;
  f->object.y1 = (float)box.bottom;
}

drawn scene_draw(const object_set *set, figure *figures, int n, scene *out) {
  struct scene_scratch *s = out->scratch;
  const int least = 6 + out->size * out->size / 256; /* pixels that an object must have to be recognised at all */
  bool faint = false, dull = false, hidden = false;
  memset(out->owner, 0, (size_t)out->size * (size_t)out->size);
  for (int i = 0; i < n; i++) {
    figure *f = &figures[i];
    const object_picture *picture = object_picture_at(set, f->object.picture);
    const float scale = fmaxf(f->sx, f->sy);
    sprite_load(s, picture, scale);
    sprite_tint(s, &f->tint, (colour)picture->colour);
    if (f->object.colour && sprite_colour(s) != f->object.colour) {
      f->tint.saturation = f->tint.gain = 1; /* the said word must stay true: no jitter then */
      f->tint.offset = 0;
      sprite_load(s, picture, scale);
      sprite_tint(s, &f->tint, (colour)picture->colour);
      faint |= f->tint.paint && sprite_colour(s) != f->object.colour;
    }
    layer_draw(f, picture, out->size, s);
    dull |= !layer_clear(f, out);
    layer_lay(figures, i, out);
    faint |= f->full < least;
  }
  for (int i = 0; i < n; i++) hidden |= (float)figures[i].visible < visible_share * (float)figures[i].full;
  return faint ? DRAWN_FAINT : hidden ? DRAWN_HIDDEN : dull ? DRAWN_DULL : DRAWN_WELL;
}
