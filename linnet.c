/* The public API (linnet.h): a thin layer that checks what callers hand in and gives every call a context of its own.
 */
#include "linnet.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/image.h"
#include "fusion/caption.h"
#include "fusion/visualrwkv.h"
#include "kernels/base.h"
#include "kernels/blas.h"
#include "kernels/cpu/cpu.h"

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
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads_count());
  status s = found->list ? compute(model->network, im, o, found->list) : STATUS_MEMORY;
  omp_set_num_threads(before);
  if (!s) return found;
  linnet_captions_free(found);
  return NULL;
}

linnet_captions *linnet_caption_file(const linnet_model *model, const char *path,
                                     const linnet_caption_options *options) {
  if (!model || !path) return fail_null(STATUS_ARGUMENT, "linnet_caption_file: there is no model or no path");
  image *im = image_open(path, NULL);
  linnet_captions *found = caption_image(model, im, options);
  image_free(im);
  return found;
}

linnet_captions *linnet_caption_memory(const linnet_model *model, const void *bytes, size_t n,
                                       const linnet_caption_options *options) {
  if (!model || !bytes) return fail_null(STATUS_ARGUMENT, "linnet_caption_memory: there is no model or no picture");
  image *im = image_decode(bytes, n, "the picture in memory", NULL);
  linnet_captions *found = caption_image(model, im, options);
  image_free(im);
  return found;
}

linnet_captions *linnet_caption_pixels(const linnet_model *model, const uint8_t *rgb, int width, int height,
                                       const linnet_caption_options *options) {
  if (!model || !rgb) return fail_null(STATUS_ARGUMENT, "linnet_caption_pixels: there is no model or no picture");
  if (width < 1 || height < 1 || (uint64_t)width * (uint64_t)height > IMAGE_MAX_PIXELS)
    return fail_null(STATUS_ARGUMENT, "a picture of %d x %d pixels is not possible (at most %llu pixels)", width,
                     height, (unsigned long long)IMAGE_MAX_PIXELS);
  const image im = {.mode = IMAGE_RGB, .width = width, .height = height, .pixels = (void *)rgb}; /* only read */
  return caption_image(model, &im, options);
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
