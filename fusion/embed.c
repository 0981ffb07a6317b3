#include "fusion/embed.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "data/pipeline.h"

/* Where one batch is. */
typedef struct {
  ctx *c;
  float *pixels, *rows; /* of those that have some, one after the other */
  embedded *found;
  char **error;
} room;

typedef struct {
  const clip_model *model;
  picture_fn open; /* NULL: texts */
  void *from;
  const char *const *texts;
  bool raw;
  size_t batch, n_rooms, width;
  room *rooms;
  embedded_fn each;
  void *user;
} job;

/* --- rooms -------------------------------------------------------------------------------------------------------- */

static size_t picture_floats(const job *j) { return (size_t)j->model->side * (size_t)j->model->side * 3; }

static status room_open(const job *j, room *r) {
  size_t floats;
  if (!size_mul(j->batch, j->open ? picture_floats(j) : 0, &floats))
    return fail(STATUS_MEMORY, "the batch is too large");
  r->c = ctx_new();
  r->pixels = mem_alloc(floats, sizeof *r->pixels);
  r->rows = mem_alloc(j->batch * j->width, sizeof *r->rows);
  r->found = mem_alloc(j->batch, sizeof *r->found);
  r->error = mem_zero(j->batch, sizeof *r->error);
  return r->c && r->pixels && r->rows && r->found && r->error ? STATUS_OK : last_status();
}

static void room_empty(room *r, size_t n) {
  for (size_t i = 0; r->error && i < n; i++) {
    free(r->error[i]);
    r->error[i] = NULL;
  }
}

static void room_close(const job *j, room *r) {
  room_empty(r, j->batch);
  ctx_free(r->c);
  free(r->pixels);
  free(r->rows);
  free(r->found);
  free(r->error);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

/* Features as the tower gives them; the context is then as before. */
static status keep_rows(room *r, arena_mark start, const tensor *features) {
  if (features) memcpy(r->rows, features->data, (size_t)tensor_count(features) * sizeof *r->rows);
  arena_release(r->c->memory, start);
  return features ? STATUS_OK : last_status();
}

/* Decodes a batch and encodes what could be decoded. */
static status make_pictures(void *user, size_t number, size_t first, size_t n) {
  const job *j = user;
  room *r = &j->rooms[number];
  int64_t good = 0;
  for (size_t i = 0; i < n; i++) {
    embedded *e = &r->found[i];
    *e = (embedded){.index = first + i};
    image *im = j->open(j->from, e->index);
    if (im && !clip_model_pixels(j->model, im, r->pixels + (size_t)good * picture_floats(j)))
      e->row = r->rows + (size_t)good++ * j->width;
    else if (!(e->error = r->error[i] = mem_string(last_error())))
      e->error = "out of memory";
    if (im) e->width = im->width, e->height = im->height;
    image_free(im);
  }
  if (!good) return STATUS_OK;
  const int64_t side = j->model->side;
  const tensor pixels = {.type = DTYPE_F32, .n_dims = 4, .dim = {good, side, side, 3}, .data = r->pixels};
  if (!j->raw) return clip_encode_images(r->c, &j->model->pair, &pixels, r->rows);
  const arena_mark start = arena_here(r->c->memory);
  return keep_rows(r, start, clip_image_features(r->c, &j->model->pair, &pixels));
}

static status make_texts(void *user, size_t number, size_t first, size_t n) {
  const job *j = user;
  room *r = &j->rooms[number];
  const arena_mark start = arena_here(r->c->memory);
  const int64_t length = j->model->words.length;
  tensor *ids = tensor_2d(r->c, DTYPE_I32, (int64_t)n, length);
  status s = ids ? STATUS_OK : STATUS_MEMORY;
  for (size_t i = 0; !s && i < n; i++) {
    size_t cut;
    s = clip_words_ids(&j->model->words, j->texts + first + i, 1, i32(ids) + i * (size_t)length, &cut);
    r->found[i] = (embedded){.index = first + i, .row = r->rows + i * j->width, .cut = !s && cut};
  }
  if (!s && j->raw) s = clip_check_ids(&j->model->pair, i32(ids), (int64_t)n, length);
  if (!s && j->raw) return keep_rows(r, start, clip_text_features(r->c, &j->model->pair, ids));
  if (!s) s = clip_encode_texts(r->c, &j->model->pair, i32(ids), (int64_t)n, length, r->rows);
  arena_release(r->c->memory, start);
  return s;
}

static status take(void *user, size_t number, size_t first, size_t n) {
  const job *j = user;
  room *r = &j->rooms[number];
  status s = STATUS_OK;
  (void)first;
  for (size_t i = 0; !s && i < n; i++) s = j->each(j->user, &r->found[i]);
  room_empty(r, n);
  return s;
}

/* --- work --------------------------------------------------------------------------------------------------------- */

/* Batches are no larger than lets every thread have one; a picture alone is for all threads together. */
static status run(job *j, size_t n, int batch) {
  enum { USUAL = 16 };
  const size_t most = (size_t)omp_get_max_threads(), share = n / most + (n % most != 0);
  if (!n) return STATUS_OK;
  j->batch = batch > 0 ? (size_t)batch : USUAL;
  if (j->batch > share) j->batch = share;
  const size_t batches = n / j->batch + (n % j->batch != 0), threads = batches < most ? batches : most;
  j->width = (size_t)clip_width(&j->model->pair);
  j->n_rooms = threads + (batches > threads); /* one more, so that nobody waits for who hands over */
  status s = (j->rooms = mem_zero(j->n_rooms, sizeof *j->rooms)) ? STATUS_OK : STATUS_MEMORY;
  for (size_t i = 0; !s && i < j->n_rooms; i++) s = room_open(j, &j->rooms[i]);
  const pipeline p = {j, j->open ? make_pictures : make_texts, take};
  if (!s) s = pipeline_run(&p, n, j->batch, j->n_rooms, (int)threads);
  for (size_t i = 0; j->rooms && i < j->n_rooms; i++) room_close(j, &j->rooms[i]);
  free(j->rooms);
  return s;
}

status embed_pictures(const clip_model *m, picture_fn open, void *from, size_t n, const embed_options *options,
                      embedded_fn each, void *user) {
  job j = {.model = m, .open = open, .from = from, .raw = options->raw, .each = each, .user = user};
  if (!m->pair.config.has_image) return fail(STATUS_UNSUPPORTED, "the model has a text tower only");
  return run(&j, n, options->batch);
}

status embed_texts(const clip_model *m, const char *const *texts, size_t n, const embed_options *options,
                   embedded_fn each, void *user) {
  job j = {.model = m, .texts = texts, .raw = options->raw, .each = each, .user = user};
  if (!m->pair.config.has_text) return fail(STATUS_UNSUPPORTED, "the model has an image tower only");
  return run(&j, n, options->batch);
}
