#include "train/object_task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The picture of a scene, which it frees. */
static image *picture_of(scene *drawn, bool whole) {
  image *im = drawn && whole ? image_new(IMAGE_RGB, drawn->size, drawn->size) : NULL;
  if (im) memcpy(im->pixels, drawn->rgb, (size_t)drawn->size * (size_t)drawn->size * 3);
  scene_free(drawn);
  return im;
}

/* --- kinds -------------------------------------------------------------------------------------------------------- */

const char *const kinds_set_name[KINDS_SETS] = {"unseen", "kinds", "validation"};

static uint64_t text_hash(const char *text) {
  uint64_t hash = 0;
  while (*text) hash = random_u64(hash, (uint8_t)*text++, 0);
  return hash;
}

typedef struct {
  uint64_t hash;
  uint32_t kind;
} place;

static int by_hash(const void *a, const void *b) {
  const place *x = a, *y = b;
  return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : (x->kind > y->kind) - (x->kind < y->kind);
}

/* Whether the set may show the kind, and how many pictures it has of it. */
static bool pictures_of(const object_set *objects, kinds_set which, uint32_t kind, const uint32_t **list, uint32_t *n) {
  *list = object_pictures_of(objects, kind, which == KINDS_VALIDATION ? SPLIT_VALIDATION : SPLIT_TEST, n);
  return object_kind_at(objects, kind)->held_out == (which == KINDS_HELD_OUT) && *n > 0;
}

/* First those that the set has pictures of, then others that are known. */
static void choose_labels(kinds_task *t, kinds_set which, const place *order, uint32_t K, size_t most) {
  for (int others = 0; others < 2; others++)
    for (uint32_t i = 0; i < K && t->labels < most; i++) {
      const uint32_t *list, kind = order[i].kind;
      uint32_t n, n_train;
      const bool shown = pictures_of(t->objects, which, kind, &list, &n);
      object_pictures_of(t->objects, kind, SPLIT_TRAIN, &n_train);
      if (others ? !shown && n_train > 0 : shown) t->kind[t->labels++] = kind;
    }
}

static void choose_pictures(kinds_task *t, kinds_set which) {
  for (size_t k = 0; k < t->labels; k++) {
    const uint32_t *list;
    uint32_t n;
    if (!pictures_of(t->objects, which, t->kind[k], &list, &n)) continue;
    for (uint32_t i = 0; i < n; i++) {
      t->picture[t->n] = list[i];
      t->target[t->n++] = (int32_t)k;
    }
  }
}

status kinds_task_new(kinds_task *t, const object_set *objects, kinds_set which, size_t labels, int side) {
  const uint32_t K = object_kinds(objects), all = object_pictures(objects);
  *t = (kinds_task){.objects = objects, .side = side};
  place *order = mem_alloc(K, sizeof *order);
  t->kind = mem_alloc(K, sizeof *t->kind);
  t->picture = mem_alloc(all, sizeof *t->picture);
  t->target = mem_alloc(all, sizeof *t->target);
  status s = order && t->kind && t->picture && t->target ? STATUS_OK : STATUS_MEMORY;
  for (uint32_t k = 0; !s && k < K; k++) order[k] = (place){text_hash(object_kind_at(objects, k)->singular), k};
  if (!s) {
    qsort(order, K, sizeof *order, by_hash);
    choose_labels(t, which, order, K, labels);
    choose_pictures(t, which);
  }
  free(order);
  return s || t->n ? s : fail(STATUS_FORMAT, "the object pack has no picture for the set '%s'", kinds_set_name[which]);
}

void kinds_task_free(kinds_task *t) {
  free(t->kind), free(t->picture), free(t->target);
  *t = (kinds_task){0};
}

image *kinds_task_open(void *task, size_t index) {
  const kinds_task *t = task;
  scene *drawn = scene_new(t->side);
  return picture_of(drawn, drawn && !scene_of_picture(t->objects, t->picture[index], t->side, drawn));
}

status kinds_task_classes(const kinds_task *t, zero_shot *z) {
  char prompt[COLOURS][SCENE_MAX_CAPTION];
  const char *prompts[COLOURS];
  status s = STATUS_OK;
  for (size_t k = 0; !s && k < t->labels; k++) {
    for (int i = 0; i < COLOURS; i++) {
      const scene_group one = {.kind = t->kind[k], .count = 1, .colour = (colour)i};
      scene_phrase(t->objects, &one, prompt[i], sizeof prompt[i]);
      prompts[i] = prompt[i];
    }
    s = zero_shot_add(z, object_kind_at(t->objects, t->kind[k])->singular, prompts, z->templates.n ? 0 : COLOURS);
  }
  return s;
}

/* --- scenes ------------------------------------------------------------------------------------------------------- */

/* Texts that can be found again. */
typedef struct {
  char **slot;
  size_t n, slots; /* a power of two, more than twice n */
} text_set;

static char **find(const text_set *set, const char *text) {
  size_t at = (size_t)text_hash(text) & (set->slots - 1);
  while (set->slot[at] && strcmp(set->slot[at], text)) at = (at + 1) & (set->slots - 1);
  return &set->slot[at];
}

static bool any_said(const text_set *said, const scene *s) {
  for (int r = 0; r < s->n_references; r++)
    if (*find(said, s->reference[r])) return true;
  return false;
}

static status remember(text_set *said, const scene *s) {
  for (int r = 0; r < s->n_references; r++) {
    char **slot = find(said, s->reference[r]);
    if (!*slot && !(*slot = mem_string(s->reference[r]))) return STATUS_MEMORY;
  }
  return STATUS_OK;
}

static status draw(scenes_task *t, size_t n, text_set *said, scene *drawn) {
  enum { PATIENCE = 2000 }; /* scenes that say nothing new, one after the other */
  for (uint64_t i = 0, idle = 0; t->n < n && idle < PATIENCE; i++, idle++) {
    status s = scene_make(t->objects, &t->drawn, t->seed, i, drawn);
    if (!s && any_said(said, drawn)) continue;
    if (!s) s = remember(said, drawn);
    if (!s && !(t->caption[t->n] = mem_string(drawn->caption))) s = STATUS_MEMORY;
    if (s) return s;
    idle = 0;
    t->index[t->n] = i;
    t->image_of[t->n] = (int32_t)t->n;
    t->n++;
  }
  return t->n ? STATUS_OK : fail(STATUS_FORMAT, "the object pack has nothing to make a scene of");
}

status scenes_task_new(scenes_task *t, const object_set *objects, const scene_options *drawn, size_t n, uint64_t seed) {
  enum { MOST = 1 << 20 };
  *t = (scenes_task){.objects = objects, .drawn = *drawn, .seed = random_u64(seed, 0x7363656e65, 0)};
  if (n < 1 || n > MOST) return fail(STATUS_ARGUMENT, "%zu scenes, expected 1 to %d", n, MOST);
  text_set said = {.slots = 1};
  while (said.slots <= 2 * n * SCENE_MAX_REFERENCES) said.slots *= 2;
  scene *room = scene_new(drawn->size);
  said.slot = mem_zero(said.slots, sizeof *said.slot);
  t->index = mem_alloc(n, sizeof *t->index);
  t->caption = mem_zero(n, sizeof *t->caption);
  t->image_of = mem_alloc(n, sizeof *t->image_of);
  status s = room && said.slot && t->index && t->caption && t->image_of ? STATUS_OK : last_status();
  if (!s) s = draw(t, n, &said, room);
  for (size_t i = 0; said.slot && i < said.slots; i++) free(said.slot[i]);
  free(said.slot);
  scene_free(room);
  return s;
}

void scenes_task_free(scenes_task *t) {
  for (size_t i = 0; t->caption && i < t->n; i++) free(t->caption[i]);
  free(t->caption), free(t->index), free(t->image_of);
  *t = (scenes_task){0};
}

image *scenes_task_open(void *task, size_t index) {
  const scenes_task *t = task;
  scene *drawn = scene_new(t->drawn.size);
  return picture_of(drawn, drawn && !scene_make(t->objects, &t->drawn, t->seed, t->index[index], drawn));
}
