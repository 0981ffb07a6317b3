#include "train/clip_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_vary.h"

/* --- source ------------------------------------------------------------------------------------------------------- */

enum { STREAM_ORDER = 1, STREAM_ITEM }; /* of random numbers, beside those of scenes */

static rng item_random(const clip_source *s, uint64_t number, uint64_t stream) {
  return rng_make(random_u64(s->seed, stream, 0), number);
}

static void shuffle(clip_source *s, uint64_t round) {
  rng g = item_random(s, round, STREAM_ORDER);
  const uint32_t n = (uint32_t)s->list->n;
  for (uint32_t i = 0; i < n; i++) s->order[i] = i;
  rng_shuffle(&g, s->order, n);
  s->round = round;
}

status clip_source_new(clip_source *s) {
  if (!s->list) return STATUS_OK;
  if (s->list->n > UINT32_MAX) return fail(STATUS_ARGUMENT, "a list of %zu pictures is too long", s->list->n);
  if (!(s->order = mem_alloc(s->list->n, sizeof *s->order))) return STATUS_MEMORY;
  shuffle(s, 0);
  return STATUS_OK;
}

void clip_source_free(clip_source *s) {
  free(s->order);
  s->order = NULL;
}

/* --- what is said of a scene -------------------------------------------------------------------------------------- */

static const char *const frames[] = {"a picture of ", "a photo of ", "an image of ", "a drawing of ",
                                     "clip art of ",  "an icon of ", "a cartoon of "};
enum { FRAMES = sizeof frames / sizeof *frames };

/* One of the scene's wordings as it stands, perhaps one thing by its name alone ("red apple"), perhaps in a frame. */
static void say(const object_set *objects, const scene *s, rng *g, char out[CLIP_SAID]) {
  const char *reference = s->reference[rng_below(g, (uint32_t)s->n_references)];
  const float way = rng_uniform(g);
  const char *frame = way < 0.4f ? frames[rng_below(g, FRAMES)] : "";
  if (s->n_objects == 1 && way > 0.8f) {
    const char *word = colour_name(s->group[0].colour), *gap = *word ? " " : "";
    snprintf(out, CLIP_SAID, "%s%s%s", word, gap, object_kind_at(objects, s->group[0].kind)->singular);
  } else {
    snprintf(out, CLIP_SAID, "%s%s", frame, reference);
  }
}

/* Leaves the scene without its colours. */
static void say_scene(const object_set *objects, scene *s, rng *g, clip_item *it) {
  const bool coloured = rng_uniform(g) < 0.65f;
  memcpy(it->full, s->caption, sizeof it->full);
  if (coloured) say(objects, s, g, it->room);
  scene_forget_colours(objects, s);
  memcpy(it->bare, s->caption, sizeof it->bare);
  if (!coloured) say(objects, s, g, it->room);
  it->said = it->room;
  it->meant = coloured ? it->full : it->bare;
}

/* --- vocabulary --------------------------------------------------------------------------------------------------- */

/* A text as the tokenizer will see it. */
static status add_text(void *vocabulary, const char *text, size_t n) {
  char *plain;
  size_t size;
  if (clip_words_plain(text, n, &plain, &size)) return last_status();
  const status s = vocabulary_add_text(vocabulary, plain, size);
  free(plain);
  return s;
}

status clip_source_words(const clip_source *s, vocabulary_builder *v) {
  status code = STATUS_OK;
  const pairs *list = s->list;
  for (size_t i = 0; !code && list && i < list->n_captions; i++)
    code = add_text(v, list->caption[i], strlen(list->caption[i]));
  for (int i = 0; !code && !list && i < FRAMES; i++) code = add_text(v, frames[i], strlen(frames[i]));
  return code || list ? code : scene_texts(s->objects, s->max_objects, s->seed, add_text, v);
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

status clip_batch_new(clip_batch *b, const clip_model *m, int batch) {
  const size_t B = (size_t)batch, S = (size_t)m->side, T = (size_t)m->words.length;
  *b = (clip_batch){.batch = batch};
  b->item = mem_zero(B, sizeof *b->item);
  b->said = mem_zero(B, sizeof *b->said);
  b->pixels = mem_alloc(B, S * S * 3 * sizeof *b->pixels);
  b->ids = mem_alloc(B, T * sizeof *b->ids);
  b->same = mem_alloc(B, B * sizeof *b->same);
  return b->item && b->said && b->pixels && b->ids && b->same ? STATUS_OK : STATUS_MEMORY;
}

void clip_batch_free(clip_batch *b) {
  free(b->item);
  free(b->said);
  free(b->pixels);
  free(b->ids);
  free(b->same);
  *b = (clip_batch){0};
}

static status make_scene(clip_item *it, const clip_model *m, const clip_source *source, uint64_t number, scene *s,
                         float *pixels) {
  rng g = item_random(source, number, STREAM_ITEM);
  const scene_options options = {.size = m->side,
                                 .pictures = SPLIT_TRAIN,
                                 .max_objects = (double)rng_uniform(&g) < source->singles ? 1 : source->max_objects,
                                 .augment = true};
  const status code = scene_make(source->objects, &options, source->seed, number, s);
  if (code) return code;
  clip_model_normalise(m, s->rgb, pixels);
  say_scene(source->objects, s, &g, it);
  return STATUS_OK;
}

static status make_scenes(clip_batch *b, const clip_model *m, const clip_source *source, uint64_t first) {
  const size_t floats = (size_t)m->side * (size_t)m->side * 3;
  failure failed = {0};
#pragma omp parallel
  {
    scene *s = scene_new(m->side);
    if (!s) failure_keep(&failed);
#pragma omp for schedule(dynamic)
    for (int i = 0; i < b->batch; i++)
      if (s && make_scene(&b->item[i], m, source, first + (uint64_t)i, s, b->pixels + (size_t)i * floats))
        failure_keep(&failed);
    scene_free(s);
  }
  return failure_say(&failed);
}

/* Entry e of a list, in this item's variation. */
static status make_pair(clip_item *it, const clip_model *m, const pairs *list, size_t e, rng g, float *pixels) {
  image_variation how = IMAGE_VARIATION_CLIP;
  how.fit = m->pair.config.fit;
  it->said = it->meant = pairs_caption(list, e, rng_below(&g, list->entry[e].n));
  image *im = pairs_picture(list, e), *varied = im ? image_vary(im, &how, m->side, &g) : NULL;
  image_free(im);
  if (!varied) return last_status();
  clip_model_normalise(m, varied->pixels, pixels);
  image_free(varied);
  return STATUS_OK;
}

/* The entries of the items, which may lie in two rounds. */
static void choose(clip_source *source, uint64_t first, int n, uint32_t *entry) {
  for (int i = 0; i < n; i++) {
    const uint64_t number = first + (uint64_t)i, round = number / source->list->n;
    if (round != source->round) shuffle(source, round);
    entry[i] = source->order[number % source->list->n];
  }
}

/* For a picture that cannot be read the next of the list stands in. */
static status make_pairs(clip_batch *b, const clip_model *m, clip_source *source, uint64_t first) {
  const size_t floats = (size_t)m->side * (size_t)m->side * 3, N = source->list->n;
  uint32_t *entry = mem_alloc((size_t)b->batch, sizeof *entry);
  if (!entry) return STATUS_MEMORY;
  choose(source, first, b->batch, entry);
  failure failed = {0};
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < b->batch; i++) {
    const rng g = item_random(source, first + (uint64_t)i, STREAM_ITEM);
    status s = STATUS_IO;
    for (size_t t = 0; s && t < N; t++) {
      s = make_pair(&b->item[i], m, source->list, (entry[i] + t) % N, g, b->pixels + (size_t)i * floats);
      if (!s) break;
#pragma omp critical
      {
        b->broken++;
        snprintf(b->problem, sizeof b->problem, "%s", last_error());
      }
    }
    if (s) failure_keep(&failed);
  }
  free(entry);
  return failure_say(&failed) ? fail_within("no picture of the list can be read") : STATUS_OK;
}

static void find_same(clip_batch *b) {
  const size_t B = (size_t)b->batch;
  for (size_t i = 0; i < B; i++) {
    const clip_item *shown = &b->item[i];
    for (size_t j = 0; j < B; j++) {
      const char *meant = b->item[j].meant;
      b->same[i * B + j] = shown->said == shown->room ? !strcmp(meant, shown->full) || !strcmp(meant, shown->bare)
                                                      : !strcmp(meant, shown->meant);
    }
  }
}

status clip_batch_make(clip_batch *b, const clip_model *m, clip_source *source, uint64_t first) {
  status s = source->list ? make_pairs(b, m, source, first) : make_scenes(b, m, source, first);
  if (s) return s;
  find_same(b);
  for (int i = 0; i < b->batch; i++) b->said[i] = b->item[i].said;
  return clip_words_ids(&m->words, b->said, (size_t)b->batch, b->ids, NULL);
}
