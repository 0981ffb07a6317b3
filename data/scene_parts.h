/* The parts that scene.c is made of, shared by the scene_*.c files only: figures, backgrounds, captions.
 *
 * A figure is one object picture with its place. Drawing works in two steps: the picture is reduced by a whole factor
 * into the scratch sprite (premultiplied, recoloured), and the sprite is sampled through the inverse affine map into
 * the scratch layer, which is then laid on the picture. Together the two steps are an area filter at every scale. */
#ifndef LINNET_DATA_SCENE_PARTS_H
#define LINNET_DATA_SCENE_PARTS_H

#include "data/scene.h"

/* Change of colour, in this order: mix towards luma (saturation), multiply, add. Identity is {false, {0}, 1, 1, 0}. */
typedef struct {
  bool paint; /* first replace the colours by shades of `paint_rgb` */
  uint8_t paint_rgb[3];
  float saturation, gain, offset; /* offset in units of 0..255 */
} tint;

typedef struct {
  scene_object object;
  int group;
  float cx, cy; /* centre, in pixels of the scene; pixel centres lie at halves */
  float sx, sy; /* scene pixels per pixel of the object picture */
  float angle;  /* radians, clockwise as seen */
  bool mirror;
  tint tint;
  float half_w, half_h; /* half the upright box of the turned picture */
  int visible;          /* pixels where it is topmost, counted while drawing */
  int full;             /* pixels of its mask, hidden ones included */
  float edge[3];        /* mean colour along its outline */
} figure;

typedef struct {
  int left, top, right, bottom; /* right and bottom are exclusive */
} span;

struct scene_scratch {
  int sprite_side; /* capacity: sprites are at most this wide and high, with a transparent border of one pixel */
  int sprite_width, sprite_height, sprite_step; /* step: object-picture pixels per sprite pixel */
  uint8_t *sprite;                              /* premultiplied RGBA, (width + 2) x (height + 2) */
  uint8_t *layer;                               /* premultiplied RGBA, size x size; valid inside `box` */
  span box;
};

typedef enum {
  DRAWN_WELL,
  DRAWN_HIDDEN, /* an object hides too much of another: place anew */
  DRAWN_DULL,   /* an object does not stand out: another background */
  DRAWN_FAINT,  /* an object has too few pixels or paint that its word does not fit: other objects */
} drawn;

/* Draws the figures in order onto out->rgb, and fills out->owner (figure index + 1), counts and boxes. */
drawn scene_draw(const object_set *set, figure *figures, int n, scene *out);
/* Sets half_w and half_h from scale, angle and the picture's size. */
void figure_measure(figure *f, const object_picture *picture);

/* Fills out->rgb. `plain`: white. Otherwise one of several kinds of backgrounds. */
void background_draw(rng *g, bool plain, scene *out);
/* One colour chosen to be far from the outlines of the figures. */
void background_contrast(rng *g, const figure *figures, int n, scene *out);
/* Slight blur, or noise of at most +-amplitude (0..255), over the finished picture. */
void scene_blur(scene *out);
void scene_noise(rng *g, float amplitude, scene *out);

/* Orders the groups (and objects, owners) as the caption names them; writes the caption and the references. */
void scene_describe(const object_set *set, scene *out);

static inline bool chance(rng *g, float p) { return rng_uniform(g) < p; }
static inline uint8_t byte_of(float v) { return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)(v + 0.5f); }

#endif
