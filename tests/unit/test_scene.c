/* Generated scenes: the same again from the same numbers, captions that parse back into what was drawn, true masks and
 * colours, splits kept apart. The pictures are shapes drawn here and packed into a temporary file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/scene.h"
#include "data/scene_parts.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SIZE = 64, SCENES = 600, KINDS = 12, SPRITE = 96 };

static const object_kind kinds[KINDS] = {
    {"apple", "apples", "an", false},
    {"cat", "cats", "a", false},
    {"hot dog", "hot dogs", "a", false},
    {"clock", "clocks", "a", false},
    {"umbrella", "umbrellas", "an", false},
    {"box", "boxes", "a", false},
    {"wolf", "wolves", "a", false},
    {"sheep", "sheep", "a", false}, /* the same in the plural */
    {"star", "stars", "a", false},
    {"key", "keys", "a", true},
    {"eye", "eyes", "an", true},
    {"empty", "empties", "an", false}, /* without pictures */
};

static const uint8_t inks[][3] = {{214, 30, 30},   {40, 150, 60},  {40, 90, 210},   {15, 15, 15},
                                  {250, 250, 250}, {245, 140, 20}, {128, 128, 128}, {250, 215, 40}};
enum { INKS = sizeof inks / sizeof *inks };

static object_set *set;

/* A disc, ring, box, cross or diamond, of one ink or (every fifth) two. */
static void draw_shape(uint8_t *rgba, int w, int h, int n) {
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++, rgba += 4) {
      const float u = 2 * ((float)x + 0.5f) / (float)w - 1, v = 2 * ((float)y + 0.5f) / (float)h - 1;
      const float r = sqrtf(u * u + v * v);
      const bool inside[] = {r < 1, r < 1 && r > 0.5f, true, fabsf(u) < 0.4f || fabsf(v) < 0.4f,
                             fabsf(u) + fabsf(v) < 1};
      const uint8_t *ink = n % 5 == 4 && u > 0 ? inks[(n + 3) % INKS] : inks[n % INKS];
      memcpy(rgba, ink, 3);
      rgba[3] = inside[(n / 7) % 5] ? 255 : 0;
    }
}

static int set_up(void **state) {
  enum { EACH = 24, MOST = KINDS * EACH };
  static object_picture pictures[MOST];
  uint32_t n = 0;
  for (uint32_t k = 0; k + 1 < KINDS; k++)
    for (int i = 0; i < EACH; i++) {
      object_picture *p = &pictures[n];
      p->kind = k;
      p->split = kinds[k].held_out ? SPLIT_TEST
                                   : (uint8_t)(i < 16   ? SPLIT_TRAIN
                                               : i < 20 ? SPLIT_VALIDATION
                                                        : SPLIT_TEST);
      p->width = (uint16_t)(i % 3 == 1 ? SPRITE / 4 : SPRITE);
      p->height = (uint16_t)(i % 3 == 2 ? SPRITE / 3 : SPRITE);
      uint8_t *rgba = malloc((size_t)p->width * p->height * 4);
      if (!rgba) return -1;
      draw_shape(rgba, p->width, p->height, (int)k * 5 + i);
      p->rgba = rgba;
      p->colour = (uint8_t)colour_of_picture(rgba, (size_t)p->width * p->height);
      p->source = SOURCE_CLIPART;
      p->name = "shape";
      n++;
    }
  if (scratch_setup(state)) return -1;
  char *path = scratch_path(state, "objects");
  const status written = object_pack_write(path, kinds, KINDS, pictures, n);
  for (uint32_t i = 0; i < n; i++) free((void *)pictures[i].rgba);
  if (written == STATUS_OK) set = object_set_open(path);
  free(path);
  if (!set) print_error("%s\n", last_error());
  return set ? 0 : -1;
}

static int tear_down(void **state) {
  object_set_close(set);
  return scratch_teardown(state);
}

static scene_options options_of(split which, int most, bool held_out, bool augment) {
  return (scene_options){
      .size = SIZE, .pictures = which, .max_objects = most, .held_out_kinds = held_out, .augment = augment};
}

static scene *make(const scene_options *o, uint64_t seed, uint64_t index) {
  scene *s = scene_new(o->size);
  assert_non_null(s);
  assert_int_equal(scene_make(set, o, seed, index, s), STATUS_OK);
  return s;
}

static bool same(const scene *a, const scene *b) {
  const size_t pixels = (size_t)a->size * (size_t)a->size;
  bool equal = a->n_objects == b->n_objects && a->n_groups == b->n_groups && a->n_references == b->n_references &&
               !memcmp(a->rgb, b->rgb, pixels * 3) && !memcmp(a->owner, b->owner, pixels) &&
               !strcmp(a->caption, b->caption);
  for (int i = 0; equal && i < a->n_objects; i++) {
    const scene_object *p = &a->object[i], *q = &b->object[i];
    equal = p->kind == q->kind && p->picture == q->picture && p->colour == q->colour && p->x0 == q->x0 &&
            p->y0 == q->y0 && p->x1 == q->x1 && p->y1 == q->y1;
  }
  return equal;
}

static void test_pure_function(void **state) {
  (void)state;
  const scene_options o = options_of(SPLIT_TRAIN, 4, false, true);
  scene *again = scene_new(SIZE), *first[32];
  assert_non_null(again);
  for (uint64_t i = 0; i < 32; i++) first[i] = make(&o, 7, i);
  for (uint64_t i = 32; i-- > 0;) { /* the other way round, in one buffer */
    assert_int_equal(scene_make(set, &o, 7, i, again), STATUS_OK);
    assert_true(same(first[i], again));
  }
  int differing = 0;
  for (uint64_t i = 0; i < 32; i++) {
    assert_int_equal(scene_make(set, &o, 8, i, again), STATUS_OK);
    differing += !same(first[i], again);
    if (i) assert_false(same(first[i], first[i - 1]));
  }
  assert_int_equal(differing, 32);
  for (int i = 0; i < 32; i++) scene_free(first[i]);
  scene_free(again);
}

/* ---- reading captions back ---- */

typedef enum { LEFT, RIGHT, OVER, UNDER, AND } word_relation;

typedef struct {
  int n;
  scene_group group[SCENE_MAX_OBJECTS];
  word_relation relation;
} reading;

static bool eat(const char **at, const char *word) {
  const size_t n = strlen(word);
  if (strncmp(*at, word, n) || ((*at)[n] && (*at)[n] != ' ')) return false;
  *at += n + ((*at)[n] == ' ');
  return true;
}

static bool read_group(const char **at, scene_group *group) {
  static const char *const numbers[] = {"two", "three", "four"};
  const char *article = "";
  *group = (scene_group){.count = 1};
  for (uint32_t i = 0; i < 3; i++)
    if (eat(at, numbers[i])) group->count = i + 2;
  if (group->count == 1) article = eat(at, "an") ? "an" : eat(at, "a") ? "a" : "";
  const char next = **at;
  for (int c = COLOUR_BLACK; c < COLOURS; c++)
    if (eat(at, colour_name((colour)c))) {
      group->colour = (colour)c;
      break;
    }
  for (uint32_t k = 0; k < KINDS; k++) {
    const char *noun = group->count > 1 ? kinds[k].plural : kinds[k].singular;
    if (!eat(at, noun)) continue;
    group->kind = k;
    if (group->count > 1) return true;
    return !strcmp(article, strchr("aeiou", next) ? "an" : "a");
  }
  return false;
}

static bool read_caption(const char *text, reading *out) {
  static const char *const relations[] = {"to the left of", "to the right of", "above", "below", "and"};
  out->n = 0;
  out->relation = AND;
  if (!read_group(&text, &out->group[out->n++])) return false;
  while (*text) {
    int r = LEFT;
    while (r <= AND && !eat(&text, relations[r])) r++;
    if (r > AND || out->n >= SCENE_MAX_OBJECTS || (out->n > 1 && r != AND)) return false;
    out->relation = (word_relation)r;
    if (!read_group(&text, &out->group[out->n++])) return false;
  }
  return true;
}

static bool group_equal(const scene_group *a, const scene_group *b) {
  return a->kind == b->kind && a->count == b->count && a->colour == b->colour;
}

/* The scene's group that the phrase names; its box's centre in x, y. */
static int find_group(const scene *s, const scene_group *wanted, float *x, float *y) {
  int found = -1, at = 0;
  for (int i = 0; i < s->n_groups; at += (int)s->group[i++].count) {
    if (!group_equal(&s->group[i], wanted)) continue;
    assert_int_equal(found, -1); /* no phrase fits two groups */
    found = i;
    float x0 = SIZE, y0 = SIZE, x1 = 0, y1 = 0;
    for (int k = at; k < at + (int)s->group[i].count; k++) {
      x0 = fminf(x0, s->object[k].x0), y0 = fminf(y0, s->object[k].y0);
      x1 = fmaxf(x1, s->object[k].x1), y1 = fmaxf(y1, s->object[k].y1);
    }
    *x = (x0 + x1) / 2;
    *y = (y0 + y1) / 2;
  }
  return found;
}

static void check_relation(const reading *r, const float x[], const float y[], bool canonical) {
  const float dx = x[1] - x[0], dy = y[1] - y[0];
  switch (r->relation) {
  case LEFT:
    assert_true(dx > 1.2f * fabsf(dy));
    break;
  case RIGHT:
    assert_true(-dx > 1.2f * fabsf(dy));
    break;
  case OVER:
    assert_true(dy > 1.2f * fabsf(dx));
    break;
  case UNDER:
    assert_true(-dy > 1.2f * fabsf(dx));
    break;
  case AND:
    if (r->n == 2) assert_true(fabsf(dx) <= 1.2f * fabsf(dy) && fabsf(dy) <= 1.2f * fabsf(dx));
    for (int i = 1; canonical && i < r->n; i++) assert_true(x[i - 1] <= x[i]);
    break;
  }
  if (canonical) assert_true(r->relation != RIGHT && r->relation != UNDER);
}

static void check_caption(const scene *s) {
  int objects = 0;
  for (int i = 0; i < s->n_groups; i++)
    for (uint32_t k = 0; k < s->group[i].count; k++, objects++) {
      assert_int_equal(s->object[objects].kind, s->group[i].kind);
      assert_int_equal(s->object[objects].colour, s->group[i].colour);
    }
  assert_int_equal(objects, s->n_objects);
  assert_string_equal(s->caption, s->reference[0]);
  static const int references[] = {0, 1, 2, 4};
  assert_int_equal(s->n_references, references[s->n_groups]);
  for (int i = 0; i < s->n_references; i++) {
    reading r;
    float x[SCENE_MAX_OBJECTS], y[SCENE_MAX_OBJECTS];
    if (!read_caption(s->reference[i], &r)) fail_msg("cannot read \"%s\"", s->reference[i]);
    assert_int_equal(r.n, s->n_groups);
    for (int k = 0; k < r.n; k++) {
      const int group = find_group(s, &r.group[k], &x[k], &y[k]);
      assert_true(group >= 0);
      if (i == 0) assert_int_equal(group, k); /* groups stand in the caption's order */
    }
    check_relation(&r, x, y, i == 0);
    for (int k = 0; k < i; k++) assert_string_not_equal(s->reference[i], s->reference[k]);
  }
}

static void test_captions(void **state) {
  (void)state;
  int groups[4] = {0}, relations[AND + 1] = {0}, singles = 0;
  for (int augment = 0; augment < 2; augment++) {
    const scene_options o = options_of(SPLIT_TRAIN, 4, false, augment);
    scene *s = scene_new(SIZE);
    for (uint64_t i = 0; i < SCENES; i++) {
      reading r;
      assert_int_equal(scene_make(set, &o, 1, i, s), STATUS_OK);
      check_caption(s);
      groups[s->n_groups]++;
      singles += s->n_objects == 1;
      if (s->n_groups == 2 && read_caption(s->caption, &r)) relations[r.relation]++;
    }
    scene_free(s);
  }
  assert_in_range(singles, SCENES / 2, SCENES);
  assert_true(groups[1] && groups[2] && groups[3]);
  assert_true(relations[LEFT] > relations[AND] && relations[OVER] > relations[AND] && relations[AND] > 0);
}

/* ---- what is drawn ---- */

static void check_mask(const scene *s) {
  int pixels[SCENE_MAX_OBJECTS] = {0};
  for (int y = 0; y < SIZE; y++)
    for (int x = 0; x < SIZE; x++) {
      const int owner = s->owner[y * SIZE + x];
      assert_in_range(owner, 0, s->n_objects);
      if (!owner) continue;
      const scene_object *o = &s->object[owner - 1];
      pixels[owner - 1]++;
      assert_true((float)x >= o->x0 && (float)x + 1 <= o->x1 && (float)y >= o->y0 && (float)y + 1 <= o->y1);
    }
  for (int i = 0; i < s->n_objects; i++) {
    const scene_object *o = &s->object[i];
    assert_true(pixels[i] >= 16);
    assert_true(0 <= o->x0 && o->x0 < o->x1 && o->x1 <= SIZE && 0 <= o->y0 && o->y0 < o->y1 && o->y1 <= SIZE);
    assert_true(fmaxf(o->x1 - o->x0, o->y1 - o->y0) >= 0.2f * SIZE);
  }
}

/* Share of the object's visible pixels whose word is the said one. */
static float share_of_word(const scene *s, int object) {
  int pixels = 0, true_ones = 0;
  for (int i = 0; i < SIZE * SIZE; i++)
    if (s->owner[i] == object + 1) {
      pixels++;
      true_ones += colour_of_pixel(s->rgb[3 * i], s->rgb[3 * i + 1], s->rgb[3 * i + 2]) == s->object[object].colour;
    }
  return pixels ? (float)true_ones / (float)pixels : 0;
}

static void test_masks_and_colours(void **state) {
  (void)state;
  const scene_options o = options_of(SPLIT_TRAIN, 4, false, true);
  scene *s = scene_new(SIZE);
  int painted = 0, said = 0, shown = 0, seen[KINDS] = {0};
  for (uint64_t i = 0; i < SCENES; i++) {
    assert_int_equal(scene_make(set, &o, 2, i, s), STATUS_OK);
    check_mask(s);
    for (int k = 0; k < s->n_objects; k++) {
      const scene_object *p = &s->object[k];
      const colour own = (colour)object_picture_at(set, p->picture)->colour;
      seen[p->kind]++;
      painted += p->painted;
      if (!p->painted) assert_int_equal(p->colour, own);
      if (p->painted) assert_true(own == COLOUR_BLACK || own == COLOUR_GREY || own == COLOUR_WHITE);
      if (p->painted) assert_true(p->colour >= COLOUR_RED);
      if (!p->colour) continue;
      said++;
      shown += share_of_word(s, k) >= 0.6f;
    }
  }
  assert_true(painted > 0);
  assert_true(shown >= said * 97 / 100); /* noise and thin strokes may cost a few */
  for (uint32_t k = 0; k < KINDS; k++)
    assert_true(kinds[k].held_out || k == KINDS - 1 ? !seen[k] : seen[k] > SCENES / 50);
  scene_free(s);
}

static figure figure_at(uint32_t picture, float share, float cx, float cy) {
  const object_picture *p = object_picture_at(set, picture);
  figure f = {.object = {.kind = p->kind, .picture = picture, .colour = (colour)p->colour}, .cx = cx, .cy = cy};
  f.tint = (tint){.saturation = 1, .gain = 1};
  f.sx = f.sy = share * SIZE / fmaxf(p->width, p->height);
  figure_measure(&f, p);
  return f;
}

static void background(scene *s, int value) { memset(s->rgb, value, SIZE * SIZE * 3); }

/* Drawing notices what would make a bad scene. */
static void test_verdicts(void **state) {
  (void)state;
  uint32_t red = 0; /* the first full square disc of red, which differs from white and black */
  while (object_picture_at(set, red)->colour != COLOUR_RED || object_picture_at(set, red)->width != SPRITE ||
         object_picture_at(set, red)->height != SPRITE)
    red++;
  scene *s = scene_new(SIZE);
  figure two[2] = {figure_at(red, 0.4f, 16, 32), figure_at(red, 0.4f, 48, 32)};
  background(s, 255);
  assert_int_equal(scene_draw(set, two, 2, s), DRAWN_WELL);
  assert_true(two[0].full > 300 && two[0].visible == two[0].full && two[1].visible == two[0].full);
  assert_true(fabsf(two[0].object.x0 - 3.2f) <= 1 && fabsf(two[0].object.x1 - 28.8f) <= 1);

  two[1].cx = 20; /* the later one hides most of the earlier one */
  background(s, 255);
  assert_int_equal(scene_draw(set, two, 2, s), DRAWN_HIDDEN);
  int seen = 0;
  for (int i = 0; i < SIZE * SIZE; i++) seen += s->owner[i] == 1;
  assert_int_equal(two[0].visible, seen);
  assert_true(two[0].visible < two[0].full / 2 && two[1].visible == two[1].full);

  for (int i = 0; i < SIZE * SIZE; i++) memcpy(s->rgb + 3 * i, inks[0], 3); /* red on red */
  two[1].cx = 48;
  assert_int_equal(scene_draw(set, two, 2, s), DRAWN_DULL);
  background_contrast(&(rng){1, 1}, two, 2, s);
  assert_int_equal(scene_draw(set, two, 2, s), DRAWN_WELL);

  two[0] = figure_at(red, 0.05f, 16, 32);
  background(s, 255);
  assert_int_equal(scene_draw(set, two, 2, s), DRAWN_FAINT);
  two[0] = figure_at(red, 0.5f, 32, 32);
  two[0].tint = (tint){true, {40, 90, 210}, 1, 1, 0}; /* blue paint, but red is what would be said */
  background(s, 255);
  assert_int_equal(scene_draw(set, two, 1, s), DRAWN_FAINT);
  scene_free(s);
}

/* A turned, mirrored, stretched figure covers the pixels that the map says: a disc becomes an ellipse of the same area.
 */
static void test_geometry(void **state) {
  (void)state;
  uint32_t disc = 0; /* inside[0] of draw_shape on a square picture */
  while (object_picture_at(set, disc)->width != SPRITE || object_picture_at(set, disc)->height != SPRITE) disc++;
  const uint8_t *corner = object_picture_at(set, disc)->rgba;
  assert_int_equal(corner[3], 0);
  scene *s = scene_new(SIZE);
  for (int k = 0; k < 8; k++) {
    figure f = figure_at(disc, 0.3f + 0.05f * (float)k, 30.25f, 33.5f);
    f.sx *= 1.2f;
    f.angle = 0.2f * (float)k;
    f.mirror = k % 2;
    figure_measure(&f, object_picture_at(set, disc));
    background(s, 255);
    scene_draw(set, &f, 1, s);
    const float a = f.sx * SPRITE / 2, b = f.sy * SPRITE / 2, area = 3.14159265f * a * b;
    assert_true(fabsf((float)f.full - area) < 0.03f * area + 4);
    double x = 0, y = 0;
    for (int i = 0; i < SIZE * SIZE; i++)
      if (s->owner[i]) x += i % SIZE + 0.5, y += i / SIZE + 0.5;
    assert_true(fabs(x / f.full - f.cx) < 0.25 && fabs(y / f.full - f.cy) < 0.25);
  }
  scene_free(s);
}

/* The objects stand out: pixels on either side of the mask's border differ. */
static void test_distinct(void **state) {
  (void)state;
  const scene_options o = options_of(SPLIT_TRAIN, 1, false, false);
  scene *s = scene_new(SIZE);
  for (uint64_t i = 0; i < SCENES; i++) {
    assert_int_equal(scene_make(set, &o, 3, i, s), STATUS_OK);
    long border = 0, different = 0;
    for (int y = 2; y < SIZE - 2; y++)
      for (int x = 2; x + 4 < SIZE; x++) {
        if (s->owner[y * SIZE + x] || !s->owner[y * SIZE + x + 1]) continue;
        if (s->owner[y * SIZE + x - 1] || !s->owner[y * SIZE + x + 2]) continue;
        const uint8_t *a = s->rgb + 3 * (y * SIZE + x - 1), *b = a + 9; /* one off the border, antialiasing left out */
        border++;
        different += abs(a[0] - b[0]) + abs(a[1] - b[1]) + abs(a[2] - b[2]) >= 50;
      }
    assert_true(different * 2 >= border);
  }
  scene_free(s);
}

static void test_splits(void **state) {
  (void)state;
  static const struct {
    split which;
    bool held_out;
  } cases[] = {{SPLIT_TRAIN, false}, {SPLIT_VALIDATION, false}, {SPLIT_TEST, false}, {SPLIT_TEST, true}};
  scene *s = scene_new(SIZE);
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
    for (int most = 1; most <= SCENE_MAX_OBJECTS; most++) {
      const scene_options o = options_of(cases[c].which, most, cases[c].held_out, true);
      for (uint64_t i = 0; i < 60; i++) {
        assert_int_equal(scene_make(set, &o, 4, i, s), STATUS_OK);
        assert_in_range(s->n_objects, 1, most);
        for (int k = 0; k < s->n_objects; k++) {
          const object_picture *p = object_picture_at(set, s->object[k].picture);
          assert_int_equal(p->split, cases[c].which);
          assert_int_equal(p->kind, s->object[k].kind);
          assert_int_equal(kinds[p->kind].held_out, cases[c].held_out);
        }
      }
    }
  scene_free(s);
}

static void test_blank(void **state) {
  (void)state;
  const scene_options usual = options_of(SPLIT_TEST, 4, false, true);
  scene_options empty = usual;
  empty.blank = true;
  for (uint64_t i = 0; i < 20; i++) {
    scene *a = make(&usual, 5, i), *b = make(&empty, 5, i);
    for (int k = 0; k < SIZE * SIZE * 3; k++) assert_int_equal(b->rgb[k], 255);
    assert_int_equal(memcmp(a->owner, b->owner, SIZE * SIZE), 0);
    memcpy(b->rgb, a->rgb, SIZE * SIZE * 3);
    assert_true(same(a, b)); /* all the rest is equal */
    scene_free(a);
    scene_free(b);
  }
}

static void test_sizes(void **state) {
  (void)state;
  static const int sizes[] = {8, 33, 96, 224};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    scene_options o = options_of(SPLIT_TRAIN, 4, false, true);
    o.size = sizes[k];
    for (uint64_t i = 0; i < 20; i++) scene_free(make(&o, 6, i));
  }
}

static void test_refusals(void **state) {
  (void)state;
  scene *s = scene_new(SIZE);
  scene_options o = options_of(SPLIT_TRAIN, 4, true, true); /* held-out kinds have no training pictures */
  assert_int_equal(scene_make(set, &o, 1, 1, s), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), "held-out"));
  o = options_of(SPLIT_TRAIN, 5, false, true);
  assert_int_equal(scene_make(set, &o, 1, 1, s), STATUS_ARGUMENT);
  o = options_of(SPLIT_TRAIN, 0, false, true);
  assert_int_equal(scene_make(set, &o, 1, 1, s), STATUS_ARGUMENT);
  o = options_of(SPLITS, 4, false, true);
  assert_int_equal(scene_make(set, &o, 1, 1, s), STATUS_ARGUMENT);
  o = options_of(SPLIT_TRAIN, 4, false, true);
  o.size = SIZE + 1;
  assert_int_equal(scene_make(set, &o, 1, 1, s), STATUS_ARGUMENT);
  assert_int_equal(scene_of_picture(set, object_pictures(set), SIZE, s), STATUS_ARGUMENT);
  assert_int_equal(scene_of_picture(set, 0, SIZE + 1, s), STATUS_ARGUMENT);
  assert_null(scene_new(0));
  assert_null(scene_new(1 << 20));
  scene_free(NULL);
  scene_free(s);
}

static void test_whole_picture(void **state) {
  (void)state;
  scene *s = scene_new(SIZE);
  for (uint32_t i = 0; i < object_pictures(set); i += 5) {
    const object_picture *p = object_picture_at(set, i);
    assert_int_equal(scene_of_picture(set, i, SIZE, s), STATUS_OK);
    check_caption(s);
    assert_int_equal(s->object[0].picture, i);
    assert_int_equal(s->group[0].colour, p->colour);
    const float longer = fmaxf(p->width, p->height), w = SIZE * p->width / longer, h = SIZE * p->height / longer;
    const float box_w = s->object[0].x1 - s->object[0].x0, box_h = s->object[0].y1 - s->object[0].y0;
    assert_true(box_w <= w + 2 && box_w >= 0.85f * w - 2); /* tips thinner than a pixel are not in the mask */
    assert_true(box_h <= h + 2 && box_h >= 0.85f * h - 2);
    if (p->colour && p->colour != COLOUR_WHITE) assert_true(share_of_word(s, 0) > 0.6f);
    for (int k = 0; k < SIZE * SIZE; k++) { /* away from the object all is white */
      const int x = k % SIZE, y = k / SIZE;
      if (fabsf((float)x + 0.5f - SIZE / 2) > w / 2 + 3 || fabsf((float)y + 0.5f - SIZE / 2) > h / 2 + 3)
        assert_true(!s->owner[k] && s->rgb[3 * k] == 255 && s->rgb[3 * k + 1] == 255 && s->rgb[3 * k + 2] == 255);
    }
  }
  scene_free(s);
}

static void test_phrases(void **state) {
  (void)state;
  static const struct {
    scene_group group;
    const char *words;
  } cases[] = {
      {{0, 1, COLOUR_NONE}, "an apple"},      {{0, 1, COLOUR_RED}, "a red apple"},
      {{0, 2, COLOUR_RED}, "two red apples"}, {{1, 1, COLOUR_ORANGE}, "an orange cat"},
      {{1, 3, COLOUR_NONE}, "three cats"},    {{6, 4, COLOUR_GREY}, "four grey wolves"},
      {{7, 3, COLOUR_NONE}, "three sheep"},   {{7, 1, COLOUR_WHITE}, "a white sheep"},
  };
  char text[64];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(scene_phrase(set, &cases[i].group, text, sizeof text), strlen(cases[i].words));
    assert_string_equal(text, cases[i].words);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pure_function), cmocka_unit_test(test_captions), cmocka_unit_test(test_masks_and_colours),
      cmocka_unit_test(test_verdicts),      cmocka_unit_test(test_geometry), cmocka_unit_test(test_distinct),
      cmocka_unit_test(test_splits),        cmocka_unit_test(test_blank),    cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_whole_picture), cmocka_unit_test(test_refusals), cmocka_unit_test(test_phrases),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
