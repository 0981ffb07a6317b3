/* What is said of a scene: noun phrases, the relation of two groups, and every equally true wording.
 *
 *   scene  = group | group relation group | group "and" group ["and" group]
 *   group  = article [colour] singular | number [colour] plural        number = "two" | "three" | "four"
 *   relation = "to the left of" | "to the right of" | "above" | "below"
 *
 * Two groups stand beside (or above) one another if the centres of their boxes differ by more in that direction
 * than 1.2 times the difference in the other; else they are joined by "and". The caption names the left (upper) one
 * first. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/scene_parts.h"

static const char *const numbers[] = {"no", "one", "two", "three", "four"};

int scene_phrase(const object_set *set, const scene_group *group, char *out, size_t capacity) {
  const object_kind *kind = object_kind_at(set, group->kind);
  const char *word = colour_name(group->colour), *gap = *word ? " " : "";
  if (group->count > 1) {
    const uint32_t last = sizeof numbers / sizeof *numbers - 1;
    const char *number = numbers[group->count < last ? group->count : last];
    return snprintf(out, capacity, "%s %s%s%s", number, word, gap, kind->plural);
  }
  const char *article = !*word ? kind->article : strchr("aeiou", *word) ? "an" : "a"; /* it follows the next word */
  return snprintf(out, capacity, "%s %s%s%s", article, word, gap, kind->singular);
}

typedef struct {
  float x, y;
} point;

static void group_centres(const scene *s, point centre[SCENE_MAX_OBJECTS]) {
  int first = 0;
  for (int i = 0; i < s->n_groups; i++) {
    const scene_object *o = &s->object[first];
    float x0 = o->x0, y0 = o->y0, x1 = o->x1, y1 = o->y1;
    for (uint32_t k = 1; k < s->group[i].count; k++) {
      x0 = fminf(x0, o[k].x0), y0 = fminf(y0, o[k].y0);
      x1 = fmaxf(x1, o[k].x1), y1 = fmaxf(y1, o[k].y1);
    }
    centre[i] = (point){(x0 + x1) / 2, (y0 + y1) / 2};
    first += (int)s->group[i].count;
  }
}

typedef enum { BESIDE, ABOVE, AND } relation;

static relation relation_of(point a, point b) {
  const float dx = fabsf(a.x - b.x), dy = fabsf(a.y - b.y);
  return dx > 1.2f * dy ? BESIDE : dy > 1.2f * dx ? ABOVE : AND;
}

/* Puts the groups into the given order, with their objects and the mask's numbers. */
static void reorder(scene *s, const int order[SCENE_MAX_OBJECTS]) {
  scene_group group[SCENE_MAX_OBJECTS];
  scene_object object[SCENE_MAX_OBJECTS];
  int start[SCENE_MAX_OBJECTS], n = 0;
  uint8_t owner[SCENE_MAX_OBJECTS + 1] = {0};
  for (int i = 0, at = 0; i < s->n_groups; i++) {
    start[i] = at;
    at += (int)s->group[i].count;
  }
  for (int i = 0; i < s->n_groups; i++) {
    group[i] = s->group[order[i]];
    for (uint32_t k = 0; k < group[i].count; k++) {
      const int from = start[order[i]] + (int)k;
      object[n] = s->object[from];
      owner[from + 1] = (uint8_t)++n;
    }
  }
  memcpy(s->group, group, sizeof *group * (size_t)s->n_groups);
  memcpy(s->object, object, sizeof *object * (size_t)n);
  for (size_t i = (size_t)s->size * (size_t)s->size; i; i--) s->owner[i - 1] = owner[s->owner[i - 1]];
}

static void refer(scene *s, const char *a, const char *join, const char *b, const char *join_c, const char *c) {
  if (s->n_references < SCENE_MAX_REFERENCES)
    snprintf(s->reference[s->n_references++], SCENE_MAX_CAPTION, "%s%s%s%s%s", a, join, b, join_c, c);
}

void scene_describe(const object_set *set, scene *out) {
  enum { PHRASE = (SCENE_MAX_CAPTION - 32) / 3 }; /* three and their joints fit; a longer kind name is cut */
  point centre[SCENE_MAX_OBJECTS];
  group_centres(out, centre);
  const int n = out->n_groups;
  const relation r = n == 2 ? relation_of(centre[0], centre[1]) : AND;

  int order[SCENE_MAX_OBJECTS] = {0, 1, 2, 3};
  for (int i = 1; i < n; i++) /* insertion sort by x (or y), the other coordinate deciding between equals */
    for (int k = i; k > 0; k--) {
      const point p = centre[order[k]], q = centre[order[k - 1]];
      const bool first = r == ABOVE ? p.y < q.y : p.x < q.x || (p.x == q.x && p.y < q.y);
      if (!first) break;
      const int swap = order[k];
      order[k] = order[k - 1];
      order[k - 1] = swap;
    }
  reorder(out, order);

  char phrase[SCENE_MAX_OBJECTS][PHRASE] = {{0}};
  for (int i = 0; i < n; i++) scene_phrase(set, &out->group[i], phrase[i], PHRASE);
  const char *a = phrase[0], *b = phrase[1], *c = phrase[2];
  out->n_references = 0;
  if (n == 1) {
    refer(out, a, "", "", "", "");
  } else if (n == 2) {
    static const char *const forward[] = {" to the left of ", " above ", " and "};
    static const char *const inverse[] = {" to the right of ", " below ", " and "};
    refer(out, a, forward[r], b, "", "");
    refer(out, b, inverse[r], a, "", "");
  } else {
    refer(out, a, " and ", b, " and ", c);
    refer(out, a, " and ", c, " and ", b);
    refer(out, b, " and ", a, " and ", c);
    refer(out, b, " and ", c, " and ", a);
  }
  memcpy(out->caption, out->reference[0], SCENE_MAX_CAPTION);
}

void scene_forget_colours(const object_set *set, scene *s) {
  for (int i = 0; i < s->n_groups; i++) s->group[i].colour = COLOUR_NONE;
  for (int i = 0; i < s->n_objects; i++) s->object[i].colour = COLOUR_NONE;
  scene_describe(set, s);
}

status scene_texts(const object_set *set, int max_objects, uint64_t seed, scene_text_fn each, void *user) {
  enum { CAPTIONS = 4000 };
  const scene_options options = {.size = 16, .pictures = SPLIT_TRAIN, .max_objects = max_objects};
  char text[SCENE_MAX_CAPTION + 1];
  status s = STATUS_OK;
  for (uint32_t k = 0; !s && k < object_kinds(set); k++) {
    const object_kind *kind = object_kind_at(set, k);
    const int n = snprintf(text, sizeof text, "a %s, two %s", kind->singular, kind->plural);
    if (!kind->held_out) s = each(user, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
  }
  scene *shown = s ? NULL : scene_new(options.size);
  if (!s && !shown) s = last_status();
  for (uint64_t i = 0; !s && i < CAPTIONS; i++) {
    s = scene_make(set, &options, seed, i, shown);
    const int n = snprintf(text, sizeof text, " %s", shown->caption);
    if (!s) s = each(user, text, (size_t)n);
  }
  scene_free(shown);
  return s;
}
