#include "train/clip_check.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 };

/* --- pictures, one after the other, as unit rows ------------------------------------------------------------------ */

typedef struct {
  ctx *c;
  const clip_model *m;
  float *pixels, *rows; /* [CHUNK,S,S,3], [capacity,D] */
  size_t n, capacity;   /* pictures given */
} encoder;

static status encoder_new(encoder *e, ctx *c, const clip_model *m, size_t capacity) {
  const size_t floats = (size_t)m->side * (size_t)m->side * 3, D = (size_t)clip_width(&m->pair);
  *e = (encoder){.c = c, .m = m, .capacity = capacity};
  e->pixels = mem_alloc(CHUNK, floats * sizeof *e->pixels);
  e->rows = mem_alloc(capacity, D * sizeof *e->rows);
  return e->pixels && e->rows ? STATUS_OK : STATUS_MEMORY;
}

static void encoder_free(encoder *e) {
  free(e->pixels);
  free(e->rows);
}

/* Where the next picture's pixels go. */
static float *encoder_room(const encoder *e) {
  return e->pixels + e->n % CHUNK * (size_t)e->m->side * (size_t)e->m->side * 3;
}

/* The rows of the last n pictures. */
static status encode(const encoder *e, size_t n) {
  const int64_t S = e->m->side, shape[] = {(int64_t)n, S, S, 3};
  if (!n) return STATUS_OK;
  ctx_reset(e->c);
  const tensor *pixels = tensor_wrap(e->c, DTYPE_F32, e->pixels, 4, shape);
  if (!pixels) return last_status();
  return clip_encode_images(e->c, &e->m->pair, pixels, e->rows + (e->n - n) * (size_t)clip_width(&e->m->pair));
}

/* The room is filled. */
static status encoder_next(encoder *e) { return ++e->n % CHUNK ? STATUS_OK : encode(e, CHUNK); }

static status encoder_end(encoder *e) { return encode(e, e->n % CHUNK); }

/* --- retrieval ---------------------------------------------------------------------------------------------------- */

static status retrieve(const encoder *e, const char *const *texts, const int32_t *image_of, size_t n, clip_check *out) {
  const size_t D = (size_t)clip_width(&e->m->pair);
  float *rows = mem_alloc(n, D * sizeof *rows);
  status s = rows ? clip_model_texts(e->c, e->m, texts, n, rows, NULL) : STATUS_MEMORY;
  if (!s) s = retrieval_recall(e->rows, e->n, rows, n, D, image_of, &out->found);
  free(rows);
  out->pictures = e->n;
  out->texts = n;
  return s;
}

/* --- scenes ------------------------------------------------------------------------------------------------------- */

static bool said_before(char *const *said, size_t n, const char *caption) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(said[i], caption)) return true;
  return false;
}

/* Scenes of different captions, until there are enough or no more come. */
static status draw_scenes(encoder *e, const object_set *objects, int max_objects, char **said) {
  enum { TRIES = 20 };
  const uint64_t seed = 0x76616c6964; /* not a seed that anybody trains with, though the pictures differ anyway */
  const scene_options options = {.size = e->m->side, .pictures = SPLIT_VALIDATION, .max_objects = max_objects};
  scene *drawn = scene_new(options.size);
  status s = drawn ? STATUS_OK : last_status();
  for (uint64_t i = 0; !s && e->n < e->capacity && i < TRIES * (uint64_t)e->capacity; i++) {
    s = scene_make(objects, &options, seed, i, drawn);
    if (s || said_before(said, e->n, drawn->caption)) continue;
    if (!(said[e->n] = mem_string(drawn->caption))) s = STATUS_MEMORY;
    clip_model_normalise(e->m, drawn->rgb, encoder_room(e));
    if (!s) s = encoder_next(e);
  }
  scene_free(drawn);
  return s ? s : encoder_end(e);
}

static status check_retrieval(ctx *c, const clip_model *m, const object_set *objects, int scenes, int max_objects,
                              clip_check *out) {
  const size_t N = (size_t)scenes;
  encoder e;
  char **said = mem_zero(N, sizeof *said);
  int32_t *image_of = mem_alloc(N, sizeof *image_of);
  status s = encoder_new(&e, c, m, N);
  if (!said || !image_of) s = STATUS_MEMORY;
  if (!s) s = draw_scenes(&e, objects, max_objects, said);
  for (size_t i = 0; !s && i < e.n; i++) image_of[i] = (int32_t)i;
  if (!s) s = retrieve(&e, (const char *const *)said, image_of, e.n, out);
  for (size_t i = 0; said && i < N; i++) free(said[i]);
  free(said);
  free(image_of);
  encoder_free(&e);
  return s;
}

/* --- kinds -------------------------------------------------------------------------------------------------------- */

/* The class of each kind, -1 of those held out, and the classes' texts, which the caller frees. */
static status name_kinds(const object_set *objects, int32_t *class_of, char **text, size_t *n) {
  *n = 0;
  for (uint32_t k = 0; k < object_kinds(objects); k++) {
    char phrase[SCENE_MAX_CAPTION];
    class_of[k] = object_kind_at(objects, k)->held_out ? -1 : (int32_t)*n;
    if (class_of[k] < 0) continue;
    scene_phrase(objects, &(scene_group){.kind = k, .count = 1, .colour = COLOUR_NONE}, phrase, sizeof phrase);
    if (!(text[(*n)++] = mem_string(phrase))) return STATUS_MEMORY;
  }
  return STATUS_OK;
}

static status draw_singles(encoder *e, const object_set *objects, const uint32_t *pictures, const int32_t *class_of,
                           int32_t *targets) {
  scene *drawn = scene_new(e->m->side);
  status s = drawn ? STATUS_OK : last_status();
  for (size_t i = 0; !s && i < e->capacity; i++) {
    const int32_t class = class_of[object_picture_at(objects, pictures[i])->kind];
    if (class < 0) continue;
    s = scene_of_picture(objects, pictures[i], e->m->side, drawn);
    if (s) break;
    targets[e->n] = class;
    clip_model_normalise(e->m, drawn->rgb, encoder_room(e));
    s = encoder_next(e);
  }
  scene_free(drawn);
  return s ? s : encoder_end(e);
}

static status score_singles(const encoder *e, const char *const *text, size_t n, const int32_t *targets,
                            clip_check *out) {
  const size_t D = (size_t)clip_width(&e->m->pair);
  float *rows = mem_alloc(n, D * sizeof *rows), *logits = mem_alloc(e->n, n * sizeof *logits);
  class_scores scores;
  status s = rows && logits ? clip_model_texts(e->c, e->m, text, n, rows, NULL) : STATUS_MEMORY;
  if (!s) s = zero_shot_logits(e->rows, e->n, rows, n, D, 100, logits);
  if (!s) s = class_scores_of(logits, e->n, n, targets, &scores);
  if (!s) out->top1 = scores.top1, out->top5 = scores.top5;
  free(rows);
  free(logits);
  out->singles = e->n;
  out->kinds = n;
  return s;
}

static status check_kinds(ctx *c, const clip_model *m, const object_set *objects, clip_check *out) {
  uint32_t N;
  const uint32_t *pictures = object_pictures_in(objects, SPLIT_VALIDATION, &N), K = object_kinds(objects);
  size_t n = 0;
  encoder e;
  int32_t *class_of = mem_alloc(K, sizeof *class_of), *targets = mem_alloc(N, sizeof *targets);
  char **text = mem_zero(K, sizeof *text);
  status s = encoder_new(&e, c, m, N);
  if (!class_of || !targets || !text) s = STATUS_MEMORY;
  if (!s) s = name_kinds(objects, class_of, text, &n);
  if (!s) s = draw_singles(&e, objects, pictures, class_of, targets);
  if (!s && e.n) s = score_singles(&e, (const char *const *)text, n, targets, out);
  for (size_t i = 0; text && i < K; i++) free(text[i]);
  free(text);
  free(class_of);
  free(targets);
  encoder_free(&e);
  return s;
}

status clip_check_scenes(ctx *c, const clip_model *m, const object_set *objects, int scenes, int max_objects,
                         clip_check *out) {
  *out = (clip_check){0};
  const status s = check_retrieval(c, m, objects, scenes, max_objects, out);
  return s ? s : check_kinds(c, m, objects, out);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

status clip_check_list(ctx *c, const clip_model *m, const pairs *list, clip_check *out) {
  encoder e;
  const char **text = mem_alloc(list->n_captions, sizeof *text);
  int32_t *image_of = mem_alloc(list->n_captions, sizeof *image_of);
  size_t n = 0;
  *out = (clip_check){0};
  status s = encoder_new(&e, c, m, list->n);
  if (!text || !image_of) s = STATUS_MEMORY;
  for (size_t i = 0; !s && i < list->n; i++) {
    image *im = pairs_picture(list, i);
    const bool whole = im && !clip_model_pixels(m, im, encoder_room(&e));
    image_free(im);
    if (!whole) continue;
    for (uint32_t k = 0; k < list->entry[i].n; k++) {
      text[n] = pairs_caption(list, i, k);
      image_of[n++] = (int32_t)e.n;
    }
    s = encoder_next(&e);
  }
  if (!s && !e.n) s = fail(STATUS_IO, "no picture of the list to validate with can be read: %s", last_error());
  if (!s) s = encoder_end(&e);
  if (!s) s = retrieve(&e, text, image_of, n, out);
  free(text);
  free(image_of);
  encoder_free(&e);
  return s;
}
