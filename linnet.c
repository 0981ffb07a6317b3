/* The public API (linnet.h): a thin layer that checks what callers hand in and gives every call a context of its own.
 */
#include "linnet.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"
#include "fusion/caption.h"
#include "fusion/visualrwkv.h"
#include "fusion/zeroshot.h"
#include "kernels/base.h"
#include "kernels/blas.h"
#include "kernels/cpu/cpu.h"
#include "lm/chat.h"

_Static_assert((int)LINNET_OK == (int)STATUS_OK, "status values");
_Static_assert((int)LINNET_ERROR_ARGUMENT == (int)STATUS_ARGUMENT, "status values");
_Static_assert((int)LINNET_ERROR_IO == (int)STATUS_IO, "status values");
_Static_assert((int)LINNET_ERROR_FORMAT == (int)STATUS_FORMAT, "status values");
_Static_assert((int)LINNET_ERROR_UNSUPPORTED == (int)STATUS_UNSUPPORTED, "status values");
_Static_assert((int)LINNET_ERROR_MEMORY == (int)STATUS_MEMORY, "status values");
_Static_assert((int)LINNET_ERROR_INTERRUPTED == (int)STATUS_INTERRUPTED, "status values");

struct linnet_model {
  visualrwkv *network;
};

struct linnet_captions {
  int count;
  caption *list;
};

const char *linnet_error(void) { return last_error(); }
linnet_status linnet_last_status(void) { return (linnet_status)last_status(); }

/* --- threads ------------------------------------------------------------------------------------------------------ */

/* OpenMP keeps the number of threads per calling thread, so that a call has to set it again in whatever thread it is
 * made. */
static atomic_int threads_wanted;

/* OMP_NUM_THREADS is asked here because OpenMP no longer tells it once its own number was set. */
static int threads_count(void) {
  enum { MOST = 1024 }; /* OpenMP ends the process when the system refuses a thread */
  long wanted = atomic_load(&threads_wanted);
  const char *told = wanted ? NULL : getenv("OMP_NUM_THREADS");
  if (told) wanted = strtol(told, NULL, 10); /* "4,2": nested levels follow */
  if (wanted <= 0) wanted = omp_get_num_procs();
  return wanted < MOST ? (int)wanted : MOST;
}

/* Every call that computes begins with it and ends by setting what it returned. */
static int threads_begin(void) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads_count());
  return before;
}

void linnet_set_threads(int threads) {
  atomic_store(&threads_wanted, threads > 0 ? threads : 0);
  omp_set_num_threads(threads_count());
}

const char *linnet_devices(void) {
  static _Thread_local char text[1024];
  snprintf(text, sizeof text, "cpu: %s\nblas: %s\nthreads: %d of %d\n", cpu_report(), blas_report(), threads_count(),
           omp_get_num_procs());
  return text;
}

/* --- models ------------------------------------------------------------------------------------------------------- */

linnet_model *linnet_open(const char *path) {
  if (!path) return fail_null(STATUS_ARGUMENT, "linnet_open: there is no path");
  visualrwkv *network = visualrwkv_open(path);
  linnet_model *model = network ? mem_zero(1, sizeof *model) : NULL;
  if (model)
    model->network = network;
  else
    visualrwkv_close(network);
  return model;
}

void linnet_close(linnet_model *model) {
  if (!model) return;
  visualrwkv_close(model->network);
  free(model);
}

/* --- pictures ----------------------------------------------------------------------------------------------------- */

static image *picture_of_file(const char *path) {
  return path ? image_open(path, NULL) : fail_null(STATUS_ARGUMENT, "there is no path of a picture");
}

static image *picture_of_memory(const void *bytes, size_t n) {
  return bytes ? image_decode(bytes, n, "the picture in memory", NULL)
               : fail_null(STATUS_ARGUMENT, "there is no picture");
}

/* *im shows the caller's pixels, which are only read. */
static status picture_of_pixels(const uint8_t *rgb, int width, int height, image *im) {
  if (!rgb) return fail(STATUS_ARGUMENT, "there is no picture");
  if (width < 1 || height < 1 || (uint64_t)width * (uint64_t)height > IMAGE_MAX_PIXELS)
    return fail(STATUS_ARGUMENT, "a picture of %d x %d pixels is not possible (at most %llu pixels)", width, height,
                (unsigned long long)IMAGE_MAX_PIXELS);
  *im = (image){.mode = IMAGE_RGB, .width = width, .height = height, .pixels = (void *)(uintptr_t)rgb};
  return STATUS_OK;
}

/* --- captions ----------------------------------------------------------------------------------------------------- */

linnet_caption_options linnet_caption_defaults(void) {
  return (linnet_caption_options){.count = 1, .beam = 1, .top_p = 1, .max_tokens = 48};
}

static status check_options(const linnet_caption_options *o) {
  enum { MOST = 256, LONGEST = 4096 };
  if (o->count < 1 || o->count > MOST)
    return fail(STATUS_ARGUMENT, "a picture can have 1 to %d captions, not %d", MOST, o->count);
  if (o->beam < 1 || o->beam > MOST)
    return fail(STATUS_ARGUMENT, "a beam has 1 to %d hypotheses, not %d", MOST, o->beam);
  if (o->max_tokens < 1 || o->max_tokens > LONGEST)
    return fail(STATUS_ARGUMENT, "a caption can have 1 to %d tokens, not %d", LONGEST, o->max_tokens);
  if (!(o->temperature >= 0) || isinf(o->temperature))
    return fail(STATUS_ARGUMENT, "the temperature must be 0 or more, not %g", (double)o->temperature);
  if (!(o->top_p > 0)) return fail(STATUS_ARGUMENT, "top_p must be more than 0, not %g", (double)o->top_p);
  if (o->on_token && (o->count > 1 || o->beam > 1))
    return fail(STATUS_ARGUMENT, "on_token needs one caption and no beam");
  return STATUS_OK;
}

/* The network's work on one picture, whose options are checked. */
static status compute(const visualrwkv *m, const image *im, const linnet_caption_options *o, caption *out) {
  const size_t side = (size_t)m->config.image_size;
  const caption_options inner = {.count = o->count,
                                 .beam = o->beam,
                                 .max_tokens = o->max_tokens,
                                 .sample = {.temperature = o->temperature, .top_p = o->top_p},
                                 .seed = o->seed,
                                 .on_token = o->on_token,
                                 .user = o->user};
  ctx *c = ctx_new();
  float *values = mem_alloc(side * side * 3, sizeof *values);
  status s = c && values ? visualrwkv_pixels(m, im, values) : last_status();
  if (!s) {
    const tensor pixels = {.type = DTYPE_F32, .n_dims = 4, .dim = {1, (int64_t)side, (int64_t)side, 3}, .data = values};
    s = caption_pictures(c, m, &pixels, &inner, out);
  }
  free(values);
  ctx_free(c);
  return s;
}

/* Captions a decoded picture; NULL (decoding failed, its sentence stands) gives NULL. */
static linnet_captions *caption_image(const linnet_model *model, const image *im, const linnet_caption_options *o) {
  const linnet_caption_options usual = linnet_caption_defaults();
  if (!o) o = &usual;
  if (!im || check_options(o)) return NULL;
  linnet_captions *found = mem_zero(1, sizeof *found);
  if (!found) return NULL;
  found->count = o->count;
  found->list = mem_zero((size_t)o->count, sizeof *found->list);
  const int before = threads_begin();
  status s = found->list ? compute(model->network, im, o, found->list) : STATUS_MEMORY;
  omp_set_num_threads(before);
  if (!s) return found;
  linnet_captions_free(found);
  return NULL;
}

linnet_captions *linnet_caption_file(const linnet_model *model, const char *path,
                                     const linnet_caption_options *options) {
  if (!model) return fail_null(STATUS_ARGUMENT, "linnet_caption_file: there is no model");
  image *im = picture_of_file(path);
  linnet_captions *found = caption_image(model, im, options);
  image_free(im);
  return found;
}

linnet_captions *linnet_caption_memory(const linnet_model *model, const void *bytes, size_t n,
                                       const linnet_caption_options *options) {
  if (!model) return fail_null(STATUS_ARGUMENT, "linnet_caption_memory: there is no model");
  image *im = picture_of_memory(bytes, n);
  linnet_captions *found = caption_image(model, im, options);
  image_free(im);
  return found;
}

linnet_captions *linnet_caption_pixels(const linnet_model *model, const uint8_t *rgb, int width, int height,
                                       const linnet_caption_options *options) {
  if (!model) return fail_null(STATUS_ARGUMENT, "linnet_caption_pixels: there is no model");
  image im;
  return picture_of_pixels(rgb, width, height, &im) ? NULL : caption_image(model, &im, options);
}

static const caption *caption_at(const linnet_captions *found, int index) {
  return found && index >= 0 && index < found->count ? &found->list[index] : NULL;
}

int linnet_captions_count(const linnet_captions *found) { return found ? found->count : 0; }

const char *linnet_caption_text(const linnet_captions *found, int index) {
  const caption *one = caption_at(found, index);
  return one ? one->text : NULL;
}

double linnet_caption_log_probability(const linnet_captions *found, int index) {
  const caption *one = caption_at(found, index);
  return one ? one->log_probability : -INFINITY;
}

int linnet_caption_tokens(const linnet_captions *found, int index) {
  const caption *one = caption_at(found, index);
  return one ? one->tokens : 0;
}

void linnet_captions_free(linnet_captions *found) {
  if (!found) return;
  captions_free(found->list, (size_t)found->count);
  free(found->list);
  free(found);
}

/* --- pictures and words in one space ------------------------------------------------------------------------------ */

struct linnet_pair {
  clip_model *model;
};

struct linnet_classes {
  zero_shot z;
  float scale;
};

linnet_pair *linnet_pair_open(const char *path, const char *vocabulary) {
  if (!path) return fail_null(STATUS_ARGUMENT, "linnet_pair_open: there is no path");
  clip_model *inner = clip_model_open(path, vocabulary);
  linnet_pair *pair = inner ? mem_zero(1, sizeof *pair) : NULL;
  if (pair)
    pair->model = inner;
  else
    clip_model_close(inner);
  return pair;
}

void linnet_pair_close(linnet_pair *pair) {
  if (!pair) return;
  clip_model_close(pair->model);
  free(pair);
}

int linnet_pair_width(const linnet_pair *pair) { return pair ? clip_width(&pair->model->pair) : 0; }

/* NULL (decoding failed, its sentence stands) is a failure. */
static linnet_status embed_image(const linnet_pair *pair, const image *im, float *row) {
  if (!im) return linnet_last_status();
  if (!pair || !row) return (linnet_status)fail(STATUS_ARGUMENT, "linnet_embed: there is no pair or no row");
  const clip_model *m = pair->model;
  const int64_t side = m->side;
  const int before = threads_begin();
  ctx *c = ctx_new();
  float *values = mem_alloc((size_t)(side * side) * 3, sizeof *values);
  status s = c && values ? clip_model_pixels(m, im, values) : last_status();
  if (!s) {
    const tensor pixels = {.type = DTYPE_F32, .n_dims = 4, .dim = {1, side, side, 3}, .data = values};
    s = clip_encode_images(c, &m->pair, &pixels, row);
  }
  free(values);
  ctx_free(c);
  omp_set_num_threads(before);
  return (linnet_status)s;
}

linnet_status linnet_embed_file(const linnet_pair *pair, const char *path, float *row) {
  image *im = picture_of_file(path);
  const linnet_status s = embed_image(pair, im, row);
  image_free(im);
  return s;
}

linnet_status linnet_embed_memory(const linnet_pair *pair, const void *bytes, size_t n, float *row) {
  image *im = picture_of_memory(bytes, n);
  const linnet_status s = embed_image(pair, im, row);
  image_free(im);
  return s;
}

linnet_status linnet_embed_pixels(const linnet_pair *pair, const uint8_t *rgb, int width, int height, float *row) {
  image im;
  const status s = picture_of_pixels(rgb, width, height, &im);
  return s ? (linnet_status)s : embed_image(pair, &im, row);
}

linnet_status linnet_embed_text(const linnet_pair *pair, const char *text, float *row) {
  if (!pair || !text || !row)
    return (linnet_status)fail(STATUS_ARGUMENT, "linnet_embed_text: there is no pair, no text or no row");
  const int before = threads_begin();
  ctx *c = ctx_new();
  const status s = c ? clip_model_texts(c, pair->model, &text, 1, row, NULL) : last_status();
  ctx_free(c);
  omp_set_num_threads(before);
  return (linnet_status)s;
}

linnet_classes *linnet_classes_new(const linnet_pair *pair, const char *const *labels, size_t n,
                                   const char *const *templates, size_t n_templates) {
  if (!pair || !labels || !n || (n_templates && !templates))
    return fail_null(STATUS_ARGUMENT, "linnet_classes_new: there is no pair or no label");
  const int before = threads_begin();
  ctx *c = ctx_new();
  linnet_classes *classes = mem_zero(1, sizeof *classes);
  status s = c && classes ? STATUS_OK : last_status();
  for (size_t i = 0; !s && i < n; i++) s = zero_shot_add(&classes->z, labels[i], NULL, 0);
  for (size_t i = 0; !s && i < n_templates; i++) s = zero_shot_template(&classes->z, templates[i]);
  if (!s) s = zero_shot_usual(&classes->z, pair->model);
  if (!s) s = zero_shot_encode(&classes->z, c, pair->model);
  ctx_free(c);
  omp_set_num_threads(before);
  if (!s) {
    classes->scale = clip_scale(&pair->model->pair);
    return classes;
  }
  linnet_classes_free(classes);
  return NULL;
}

linnet_status linnet_classify(const linnet_classes *classes, const float *row, float *probabilities) {
  if (!classes || !row || !probabilities)
    return (linnet_status)fail(STATUS_ARGUMENT, "linnet_classify: there are no classes, no row or no room");
  const zero_shot *z = &classes->z;
  const size_t n = z->label.n;
  zero_shot_guess *best = mem_alloc(n, sizeof *best);
  status s = best ? zero_shot_best(z, row, classes->scale, probabilities, n, best) : STATUS_MEMORY;
  for (size_t i = 0; !s && i < n; i++) probabilities[best[i].class] = best[i].probability;
  free(best);
  return (linnet_status)s;
}

void linnet_classes_free(linnet_classes *classes) {
  if (!classes) return;
  zero_shot_free(&classes->z);
  free(classes);
}

/* --- text --------------------------------------------------------------------------------------------------------- */

struct linnet_text_model {
  text_model *model;
};

struct linnet_text {
  generation g;
  ctx *c;
  char *said; /* terminated once anything is in it */
  size_t n, room;
  bool short_of_memory;
  linnet_token_callback on_token; /* of the call that is under way, until it asks for the end */
  void *user;
  generate_result result;
};

_Static_assert((int)LINNET_ENDED_BY_LENGTH == (int)GENERATE_LENGTH, "ends");
_Static_assert((int)LINNET_ENDED_BY_MODEL == (int)GENERATE_END, "ends");
_Static_assert((int)LINNET_ENDED_BY_STOP == (int)GENERATE_STOP, "ends");
_Static_assert((int)LINNET_ENDED_BY_CALLBACK == (int)GENERATE_INTERRUPTED, "ends");

linnet_text_model *linnet_text_open(const char *path, const char *vocabulary) {
  if (!path) return fail_null(STATUS_ARGUMENT, "linnet_text_open: there is no path");
  text_model *inner = text_model_open(path, vocabulary);
  linnet_text_model *model = inner ? mem_zero(1, sizeof *model) : NULL;
  if (model)
    model->model = inner;
  else
    text_model_close(inner);
  return model;
}

linnet_status linnet_text_start(linnet_text_model *model, const char *states) {
  if (!model || !states) return (linnet_status)fail(STATUS_ARGUMENT, "linnet_text_start: there is no model or no file");
  return (linnet_status)text_model_start(model->model, states);
}

void linnet_text_close(linnet_text_model *model) {
  if (!model) return;
  text_model_close(model->model);
  free(model);
}

/* `from` NULL: a text of which there is nothing yet. */
static linnet_text *text_new(const text_model *model, const generation *from) {
  linnet_text *text = mem_zero(1, sizeof *text);
  if (!text) return NULL;
  text->c = ctx_new();
  status s = last_status();
  if (text->c) s = from ? generation_fork(&text->g, from) : generation_new(&text->g, text->c, model);
  if (text->c && !s) {
    text->g.c = text->c;
    return text;
  }
  ctx_free(text->c);
  free(text);
  return NULL;
}

linnet_text *linnet_text_new(const linnet_text_model *model) {
  if (!model) return fail_null(STATUS_ARGUMENT, "linnet_text_new: there is no model");
  return text_new(model->model, NULL);
}

linnet_text *linnet_text_fork(const linnet_text *text) {
  if (!text) return fail_null(STATUS_ARGUMENT, "linnet_text_fork: there is no text");
  return text_new(NULL, &text->g);
}

void linnet_text_free(linnet_text *text) {
  if (!text) return;
  generation_free(&text->g);
  ctx_free(text->c);
  free(text->said);
  free(text);
}

linnet_status linnet_text_save(linnet_text *text, const char *path) {
  if (!text || !path) return (linnet_status)fail(STATUS_ARGUMENT, "linnet_text_save: there is no text or no path");
  const int before = threads_begin();
  const status s = generation_save(&text->g, path);
  omp_set_num_threads(before);
  return (linnet_status)s;
}

linnet_status linnet_text_load(linnet_text *text, const char *path) {
  if (!text || !path) return (linnet_status)fail(STATUS_ARGUMENT, "linnet_text_load: there is no text or no path");
  return (linnet_status)generation_load(&text->g, path);
}

/* What a turn or a prompt is read by. */
typedef status (*reader)(generation *g, const char *bytes, size_t n, size_t *tokens);

static status read_with(reader read, linnet_text *text, const char *bytes, size_t n, const char *caller) {
  if (!text || (!bytes && n)) return fail(STATUS_ARGUMENT, "%s: there is no text or nothing to read", caller);
  size_t tokens;
  const int before = threads_begin();
  const status s = read(&text->g, bytes ? bytes : "", n, &tokens);
  omp_set_num_threads(before);
  return s;
}

linnet_status linnet_text_read(linnet_text *text, const char *bytes, size_t n) {
  return (linnet_status)read_with(generation_read_text, text, bytes, n, "linnet_text_read");
}

static linnet_text_options text_options(generation_draw draw) {
  return (linnet_text_options){.max_tokens = 256,
                               .temperature = draw.sample.temperature,
                               .top_p = draw.sample.top_p,
                               .top_k = draw.sample.top_k,
                               .min_p = draw.sample.min_p,
                               .presence_penalty = draw.penalty.presence,
                               .frequency_penalty = draw.penalty.frequency,
                               .penalty_decay = draw.penalty.decay};
}

linnet_text_options linnet_text_defaults(void) { return text_options(generation_draw_defaults()); }
linnet_text_options linnet_chat_defaults(void) { return text_options(chat_draw_defaults()); }

static status check_text_options(const linnet_text_options *o) {
  if (!(o->temperature >= 0) || isinf(o->temperature))
    return fail(STATUS_ARGUMENT, "the temperature must be 0 or more, not %g", (double)o->temperature);
  if (!(o->top_p > 0)) return fail(STATUS_ARGUMENT, "top_p must be more than 0, not %g", (double)o->top_p);
  if (o->top_k < 0) return fail(STATUS_ARGUMENT, "top_k must be 0 or more, not %d", o->top_k);
  if (!(o->min_p >= 0 && o->min_p <= 1))
    return fail(STATUS_ARGUMENT, "min_p must be between 0 and 1, not %g", (double)o->min_p);
  if (!isfinite(o->presence_penalty) || !isfinite(o->frequency_penalty))
    return fail(STATUS_ARGUMENT, "a penalty must be a number");
  if (!(o->penalty_decay >= 0 && o->penalty_decay <= 1))
    return fail(STATUS_ARGUMENT, "the penalties' decay must be between 0 and 1, not %g", (double)o->penalty_decay);
  if (o->stops < 0 || (o->stops && !o->stop))
    return fail(STATUS_ARGUMENT, "there are no stop texts, or fewer than none");
  for (int i = 0; i < o->stops; i++)
    if (!o->stop[i] || !*o->stop[i]) return fail(STATUS_ARGUMENT, "stop text %d is empty", i);
  return STATUS_OK;
}

/* Keeps what is said and hands it on. */
static bool say(void *user, const char *bytes, size_t n) {
  linnet_text *text = user;
  if (n >= text->room - text->n) {
    const size_t room = 2 * (text->n + n + 1);
    char *more = mem_grow(text->said, room, 1);
    if (!more) return !(text->short_of_memory = true);
    text->said = more;
    text->room = room;
  }
  memcpy(text->said + text->n, bytes, n);
  text->n += n;
  text->said[text->n] = 0;
  if (!text->on_token || text->on_token(text->user, bytes, n)) return true;
  text->on_token = NULL; /* what is left of a character still comes */
  return false;
}

typedef status (*speaker)(generation *g, const generate_options *options, generate_result *result);

static const char *speak_with(speaker speak, linnet_text *text, const linnet_text_options *o) {
  const generate_options inner = {
      .draw = {.sample = {.temperature = o->temperature, .top_p = o->top_p, .top_k = o->top_k, .min_p = o->min_p},
               .penalty = {o->presence_penalty, o->frequency_penalty, o->penalty_decay},
               .seed = o->seed},
      .max_tokens = o->max_tokens,
      .stop = o->stop,
      .n_stop = o->stops,
      .on_text = say,
      .user = text};
  text->n = 0;
  text->on_token = o->on_token;
  text->user = o->user;
  const int before = threads_begin();
  const status s = speak(&text->g, &inner, &text->result);
  omp_set_num_threads(before);
  if (s || text->short_of_memory) {
    text->short_of_memory = false;
    return NULL;
  }
  return text->n ? text->said : "";
}

const char *linnet_text_generate(linnet_text *text, const linnet_text_options *options) {
  const linnet_text_options usual = linnet_text_defaults();
  if (!options) options = &usual;
  if (!text) return fail_null(STATUS_ARGUMENT, "linnet_text_generate: there is no text");
  return check_text_options(options) ? NULL : speak_with(generate, text, options);
}

static status read_system(generation *g, const char *bytes, size_t n, size_t *tokens) {
  *tokens = 0;
  return chat_system(g, bytes, n);
}

linnet_status linnet_chat_system(linnet_text *text, const char *rule, size_t n) {
  return (linnet_status)read_with(read_system, text, rule, n, "linnet_chat_system");
}

const char *linnet_chat_ask(linnet_text *text, const char *question, size_t n, const linnet_text_options *options) {
  const linnet_text_options usual = linnet_chat_defaults();
  if (!options) options = &usual;
  if (check_text_options(options) || read_with(chat_ask, text, question, n, "linnet_chat_ask")) return NULL;
  return speak_with(chat_reply, text, options);
}

int64_t linnet_text_tokens(const linnet_text *text) { return text ? text->result.tokens : 0; }

linnet_text_end linnet_text_ended_by(const linnet_text *text) {
  return text ? (linnet_text_end)text->result.finish : LINNET_ENDED_BY_LENGTH;
}
