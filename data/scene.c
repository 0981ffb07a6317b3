/* Generated scenes: what is shown (kinds, counts, colours, pictures), where, and how the parts are put together.
 *
 * Everything is drawn from one generator made of (seed, index), so a scene depends on nothing else. A draw that turns
 * out badly (an object hidden, lost on its background, or too faint) is repeated a bounded number of times with the
 * generator's next numbers; the last attempt is kept as it is. */
#include "data/scene.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/scene_parts.h"

enum { SIZE_LEAST = 8, SIZE_MOST = 2048, CONTENTS = 6, DRAWS = 8, ROUNDS = 24, TRIES = 12 };

static const float pi = 3.14159265f;
static const tint tint_none = {false, {0}, 1, 1, 0};

/* A scene before it is drawn. */
typedef struct {
  int n_objects, n_groups;
  scene_group group[SCENE_MAX_OBJECTS];
  figure figure[SCENE_MAX_OBJECTS];
} plan;

scene *scene_new(int size) {
  if (size < SIZE_LEAST || size > SIZE_MOST)
    return fail_null(STATUS_ARGUMENT, "scene size is %d, must be between %d and %d", size, SIZE_LEAST, SIZE_MOST);
  scene *s = mem_zero(1, sizeof *s);
  if (!s) return NULL;
  const size_t pixels = (size_t)size * (size_t)size;
  s->size = size;
  s->rgb = mem_zero(pixels, 3);
  s->owner = mem_zero(pixels, 1);
  s->scratch = mem_zero(1, sizeof *s->scratch);
  if (s->scratch) {
    s->scratch->sprite_side =
        3 * size + 8; /* a sprite is at most twice as fine as the scene, and hardly larger than it */
    s->scratch->sprite = mem_alloc((size_t)s->scratch->sprite_side * (size_t)s->scratch->sprite_side, 4);
    s->scratch->layer = mem_alloc(pixels, 4);
  }
  if (s->rgb && s->owner && s->scratch && s->scratch->sprite && s->scratch->layer) return s;
  scene_free(s);
  return NULL;
}

void scene_free(scene *s) {
  if (!s) return;
  if (s->scratch) {
    free(s->scratch->sprite);
    free(s->scratch->layer);
  }
  free(s->scratch);
  free(s->owner);
  free(s->rgb);
  free(s);
}

/* ---- what is shown ---- */

static bool kind_fits(const object_set *set, const scene_options *o, const plan *p, uint32_t kind) {
  uint32_t n;
  if (object_kind_at(set, kind)->held_out != o->held_out_kinds) return false;
  for (int i = 0; i < p->n_groups; i++)
    if (p->group[i].kind == kind) return false;
  object_pictures_of(set, kind, o->pictures, &n);
  return n > 0;
}

/* Uniform over the kinds that fit; false if there is none. */
static bool kind_draw(rng *g, const object_set *set, const scene_options *o, const plan *p, uint32_t *kind) {
  const uint32_t kinds = object_kinds(set);
  uint32_t fitting = 0;
  for (uint32_t k = 0; k < kinds; k++) fitting += kind_fits(set, o, p, k);
  if (!fitting) return false;
  uint32_t skip = rng_below(g, fitting);
  for (uint32_t k = 0; k < kinds; k++)
    if (kind_fits(set, o, p, k) && !skip--) {
      *kind = k;
      return true;
    }
  return false;
}

/* Numbers of objects for up to three groups, at most `most` in all; returns the number of groups. */
static int counts_draw(rng *g, int most, uint32_t count[3]) {
  const float u = rng_uniform(g);
  count[0] = count[1] = count[2] = 1;
  if (most < 2 || u < 0.35f) return 1;
  if (u < 0.55f) {
    count[0] = 2 + rng_below(g, (uint32_t)most - 1);
    return 1;
  }
  const int groups = u < 0.86f || most < 3 ? 2 : 3;
  for (int spare = most - groups; spare > 0; spare--) /* now and then one more of some group */
    if (chance(g, 0.35f)) count[rng_below(g, (uint32_t)groups)]++;
  return groups;
}

static const struct {
  colour word;
  uint8_t rgb[3];
} paints[] = {
    {COLOUR_RED, {214, 34, 34}},    {COLOUR_ORANGE, {245, 134, 24}}, {COLOUR_YELLOW, {250, 214, 34}},
    {COLOUR_GREEN, {44, 158, 60}},  {COLOUR_BLUE, {40, 94, 214}},    {COLOUR_PURPLE, {134, 58, 174}},
    {COLOUR_PINK, {245, 110, 176}}, {COLOUR_BROWN, {130, 80, 40}},
};

static colour paint_draw(rng *g, tint *t) {
  const uint32_t k = rng_below(g, sizeof paints / sizeof *paints);
  t->paint = true;
  for (int c = 0; c < 3; c++) t->paint_rgb[c] = byte_of(paints[k].rgb[c] + rng_range(g, -12, 12));
  return paints[k].word;
}

/* A further picture for a group: often the same again, else another of the kind with the same colour word. */
static uint32_t sibling_draw(rng *g, const object_set *set, const scene_options *o, uint32_t picture) {
  const object_picture *first = object_picture_at(set, picture);
  uint32_t n;
  const uint32_t *list = object_pictures_of(set, first->kind, o->pictures, &n);
  if (chance(g, 0.5f)) return picture;
  for (int i = 0; i < 8; i++) {
    const uint32_t other = list[rng_below(g, n)];
    if (object_picture_at(set, other)->colour == first->colour) return other;
  }
  return picture;
}

static void tint_jitter(rng *g, tint *t) {
  t->saturation = rng_range(g, 0.85f, 1.15f);
  t->gain = rng_range(g, 0.88f, 1.12f);
  t->offset = rng_range(g, -14, 14);
}

static void group_add(rng *g, const object_set *set, const scene_options *o, uint32_t kind, uint32_t count, bool paint,
                      plan *p) {
  uint32_t n;
  const uint32_t *list = object_pictures_of(set, kind, o->pictures, &n);
  const uint32_t first = list[rng_below(g, n)];
  colour word = (colour)object_picture_at(set, first)->colour;
  tint t = tint_none;
  const bool grey = word == COLOUR_BLACK || word == COLOUR_GREY || word == COLOUR_WHITE;
  if (paint && grey && chance(g, 0.15f)) word = paint_draw(g, &t);

  for (uint32_t i = 0; i < count; i++) {
    figure *f = &p->figure[p->n_objects++];
    memset(f, 0, sizeof *f);
    f->object.kind = kind;
    f->object.picture = i ? sibling_draw(g, set, o, first) : first;
    f->object.colour = word;
    f->object.painted = t.paint;
    f->group = p->n_groups;
    f->tint = t;
    if (!o->augment) continue;
    f->mirror = chance(g, 0.5f);
    f->angle = chance(g, 0.7f) ? rng_range(g, -12, 12) * pi / 180 : 0;
    if (chance(g, 0.6f)) tint_jitter(g, &f->tint);
  }
  p->group[p->n_groups++] = (scene_group){kind, count, word};
}

static bool content_draw(rng *g, const object_set *set, const scene_options *o, bool paint, plan *p) {
  uint32_t count[3], kind;
  const int groups = counts_draw(g, o->max_objects, count);
  p->n_objects = p->n_groups = 0;
  for (int i = 0; i < groups && kind_draw(g, set, o, p, &kind); i++) group_add(g, set, o, kind, count[i], paint, p);
  return p->n_groups > 0;
}

/* ---- where it is ---- */

/* Scales a figure so that its longer side is `share` of the scene's; long thin ones get more, up to `most`. */
static void figure_size(figure *f, const object_picture *picture, float share, float most, float stretch, int size) {
  const float w = picture->width, h = picture->height, longer = fmaxf(w, h), aspect = longer / fminf(w, h);
  share = fminf(fmaxf(share, 0.16f * sqrtf(aspect)), most);
  const float scale = share * (float)size / longer;
  f->sx = scale * sqrtf(stretch);
  f->sy = scale / sqrtf(stretch);
  figure_measure(f, picture);
}

static float stretch_draw(rng *g, const scene_options *o) { return o->augment ? rng_range(g, 0.9f, 1.1f) : 1; }

/* Uniform over the places where the figure lies inside the scene; `loose` is how far it may reach beyond. */
static float centre_draw(rng *g, float half, float loose, float side) {
  const float low = half - loose, high = side - half + loose;
  return low < high ? rng_range(g, low, high) : side / 2;
}

static void place_one(rng *g, const object_set *set, const scene_options *o, bool plain, figure *f) {
  const float side = (float)o->size;
  const bool large = chance(g, plain ? 0.7f : 0.3f), cropped = o->augment && chance(g, 0.1f);
  const float share = large ? rng_range(g, 0.75f, 0.95f) : rng_range(g, 0.26f, 0.85f);
  const float stretch = stretch_draw(g, o);
  figure_size(f, object_picture_at(set, f->object.picture), share, 0.95f, stretch, o->size);
  const float widest = fmaxf(f->half_w, f->half_h) * 2;
  if (!cropped && widest > 0.98f * side) { /* turning made it too wide */
    f->sx *= 0.98f * side / widest;
    f->sy *= 0.98f * side / widest;
    figure_measure(f, object_picture_at(set, f->object.picture));
  }
  f->cx = centre_draw(g, f->half_w, cropped ? 0.24f * f->half_w : 0, side);
  f->cy = centre_draw(g, f->half_h, cropped ? 0.24f * f->half_h : 0, side);
}

/* The part of the smaller box that the two boxes share. */
static float overlap(const figure *a, const figure *b) {
  const float w = fminf(a->cx + a->half_w, b->cx + b->half_w) - fmaxf(a->cx - a->half_w, b->cx - b->half_w);
  const float h = fminf(a->cy + a->half_h, b->cy + b->half_h) - fmaxf(a->cy - a->half_h, b->cy - b->half_h);
  if (w <= 0 || h <= 0) return 0;
  return w * h / (4 * fminf(a->half_w * a->half_h, b->half_w * b->half_h));
}

static bool place_free(rng *g, plan *p, int i, float side) {
  figure *f = &p->figure[i];
  for (int t = 0; t < TRIES; t++) {
    f->cx = centre_draw(g, f->half_w, 0, side);
    f->cy = centre_draw(g, f->half_h, 0, side);
    bool clear = true;
    for (int k = 0; k < i && clear; k++) clear = overlap(f, &p->figure[k]) <= 0.1f;
    if (clear) return true;
  }
  return false;
}

typedef enum { ANYHOW, SIDE_BY_SIDE, ONE_ABOVE } layout;

/* Will the two groups read as beside (above) one another? Every centre on its side, and the boxes' centres well apart
 * in the one direction (the caption's own rule, scene_caption.c, with some room). */
static bool layout_holds(const plan *p, layout wanted) {
  if (wanted == ANYHOW) return true;
  float low[2][2], high[2][2], first[2], last[2]; /* [group][axis]; centres along the wanted axis */
  for (int i = 0; i < 2; i++) {
    low[i][0] = low[i][1] = first[i] = INFINITY;
    high[i][0] = high[i][1] = last[i] = -INFINITY;
  }
  for (int i = 0; i < p->n_objects; i++) {
    const figure *f = &p->figure[i];
    const float centre[2] = {f->cx, f->cy}, half[2] = {f->half_w, f->half_h};
    for (int axis = 0; axis < 2; axis++) {
      low[f->group][axis] = fminf(low[f->group][axis], centre[axis] - half[axis]);
      high[f->group][axis] = fmaxf(high[f->group][axis], centre[axis] + half[axis]);
    }
    first[f->group] = fminf(first[f->group], centre[wanted == ONE_ABOVE]);
    last[f->group] = fmaxf(last[f->group], centre[wanted == ONE_ABOVE]);
  }
  float apart[2];
  for (int axis = 0; axis < 2; axis++)
    apart[axis] = fabsf(low[0][axis] + high[0][axis] - low[1][axis] - high[1][axis]) / 2;
  const int along = wanted == ONE_ABOVE;
  return apart[along] > 1.4f * apart[1 - along] && (last[0] < first[1] || last[1] < first[0]);
}

/* Several objects: random places until nothing overlaps much and the wanted layout holds, smaller with every round; in
 * the end a grid of two by two, which always fits. */
static void place_several(rng *g, const object_set *set, const scene_options *o, float shrink, plan *p) {
  static const float shares[][2] = {{0.38f, 0.58f}, {0.34f, 0.50f}, {0.30f, 0.44f}};
  const float *range = shares[p->n_objects - 2], side = (float)o->size, u = rng_uniform(g);
  const layout wanted = p->n_groups != 2 || u < 0.12f ? ANYHOW : u < 0.56f ? SIDE_BY_SIDE : ONE_ABOVE;
  float share[SCENE_MAX_OBJECTS], stretch[SCENE_MAX_OBJECTS];
  for (int i = 0; i < p->n_objects; i++) {
    const bool again = i && p->figure[i].group == p->figure[i - 1].group; /* things of a kind are of like size */
    share[i] = again ? share[i - 1] * rng_range(g, 0.9f, 1.1f) : rng_range(g, range[0], range[1]);
    stretch[i] = stretch_draw(g, o);
  }
  for (int round = 0; round < ROUNDS; round++, shrink *= 0.97f) {
    bool placed = true;
    for (int i = 0; i < p->n_objects && placed; i++) {
      figure *f = &p->figure[i];
      const float wish = fmaxf(share[i] * shrink, 0.26f);
      figure_size(f, object_picture_at(set, f->object.picture), wish, 0.6f, stretch[i], o->size);
      placed = place_free(g, p, i, side);
    }
    if (placed && layout_holds(p, wanted)) return;
  }
  for (int i = 0; i < p->n_objects; i++) {
    figure *f = &p->figure[i];
    figure_size(f, object_picture_at(set, f->object.picture), 0.4f, 0.42f, 1, o->size);
    f->cx = side * (i & 1 ? 0.75f : 0.25f);
    f->cy = side * (i & 2 ? 0.75f : p->n_objects == 2 ? 0.5f : 0.25f);
  }
}

/* ---- putting it together ---- */

static void finish(const object_set *set, const plan *p, scene *out) {
  out->n_objects = p->n_objects;
  out->n_groups = p->n_groups;
  memset(out->group, 0, sizeof out->group);
  memset(out->object, 0, sizeof out->object);
  memset(out->reference, 0, sizeof out->reference);
  memcpy(out->group, p->group, sizeof *p->group * (size_t)p->n_groups);
  for (int i = 0; i < p->n_objects; i++) out->object[i] = p->figure[i].object;
  scene_describe(set, out);
}

/* Places and draws the plan until it comes out well; false if only other objects could help. */
static bool plan_draw(rng *g, const object_set *set, const scene_options *o, plan *p, scene *out) {
  const bool plain = chance(g, p->n_objects == 1 ? 0.5f : 0.25f);
  float shrink = 1;
  drawn how = DRAWN_HIDDEN;
  for (int i = 0; i < DRAWS; i++) {
    if (how == DRAWN_HIDDEN) {
      if (p->n_objects == 1)
        place_one(g, set, o, plain, &p->figure[0]);
      else
        place_several(g, set, o, shrink, p);
      shrink *= 0.92f;
    }
    if (how == DRAWN_DULL && i > 3)
      background_contrast(g, p->figure, p->n_objects, out);
    else
      background_draw(g, plain && how != DRAWN_DULL, out);
    how = scene_draw(set, p->figure, p->n_objects, out);
    if (how == DRAWN_WELL) return true;
    if (how == DRAWN_FAINT) return false;
  }
  return false;
}

status scene_make(const object_set *set, const scene_options *o, uint64_t seed, uint64_t index, scene *out) {
  if (o->size != out->size)
    return fail(STATUS_ARGUMENT, "scene of %d pixels asked for in a buffer of %d", o->size, out->size);
  if (o->max_objects < 1 || o->max_objects > SCENE_MAX_OBJECTS || (unsigned)o->pictures >= SPLITS)
    return fail(STATUS_ARGUMENT, "scene options: %d objects of split %d, must be 1 to %d of a known split",
                o->max_objects, (int)o->pictures, SCENE_MAX_OBJECTS);
  rng g = rng_make(seed, index);
  plan p;
  for (int i = 0; i < CONTENTS; i++) {
    if (!content_draw(&g, set, o, i + 1 < CONTENTS, &p))
      return fail(STATUS_ARGUMENT, "no %s kind has a picture in the chosen split",
                  o->held_out_kinds ? "held-out" : "ordinary");
    if (plan_draw(&g, set, o, &p, out)) break;
  }
  if (o->augment && chance(&g, 0.08f)) scene_blur(out);
  if (o->augment && chance(&g, 0.10f)) scene_noise(&g, rng_range(&g, 5, 18), out);
  finish(set, &p, out);
  if (o->blank) background_draw(&g, true, out);
  return STATUS_OK;
}

status scene_of_picture(const object_set *set, uint32_t picture, int size, scene *out) {
  if (size != out->size)
    return fail(STATUS_ARGUMENT, "scene of %d pixels asked for in a buffer of %d", size, out->size);
  if (picture >= object_pictures(set))
    return fail(STATUS_ARGUMENT, "picture %u asked for, the set has %u", picture, object_pictures(set));
  const object_picture *source = object_picture_at(set, picture);
  plan p = {.n_objects = 1, .n_groups = 1};
  p.group[0] = (scene_group){source->kind, 1, (colour)source->colour};
  figure *f = &p.figure[0];
  f->object = (scene_object){.kind = source->kind, .picture = picture, .colour = (colour)source->colour};
  f->tint = tint_none;
  figure_size(f, source, 1, 1, 1, size);
  f->cx = f->cy = (float)size / 2;
  background_draw(NULL, true, out);
  scene_draw(set, f, 1, out); /* for the mask and the box; the pixels are those that users' pictures get: */

  const image whole = {
      .mode = IMAGE_RGBA, .width = source->width, .height = source->height, .pixels = (void *)source->rgba};
  image *fitted = image_fit_square(&whole, size);
  if (!fitted) return fail_within("%s", source->name);
  memcpy(out->rgb, fitted->pixels, (size_t)size * (size_t)size * 3);
  image_free(fitted);
  finish(set, &p, out);
  return STATUS_OK;
}
