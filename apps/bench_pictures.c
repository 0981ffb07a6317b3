/* linnet bench pictures: pictures a second through the image tower of RWKV-CLIP B/16 (12 x 640, heads of 80, 224
 * pixels: 196 tokens a picture) with random weights, and the arithmetic of its products beside the largest f32 product
 * of the same minutes. Its file is made up, and opened as any other. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "apps/bench.h"
#include "apps/limits.h"
#include "apps/output.h"
#include "apps/random_model.h"
#include "vision/rwkv_clip_image.h"
#include "weights/convert.h"

enum { SIDE = 224, PATCH = 16, GRID = SIDE / PATCH, BATCH = 8, RUNS = 20 };

static const image_tower_config shape = {.depth = 12,
                                         .width = 640,
                                         .hidden = 3200,
                                         .head_size = 80,
                                         .patch = PATCH,
                                         .grid_h = GRID,
                                         .grid_w = GRID,
                                         .rank_mix = 32,
                                         .rank_decay = 64};

typedef struct {
  image_tower tower;
  param_set params;
  float *pixels;
  ctx *c;
  int batch;
} subject;

static status find_type(const char *name, checkpoint_dtype *type) {
  *type = CHECKPOINT_F32;
  return !name || (convert_type_parse(name, type) && checkpoint_dtype_block(*type) == 1)
             ? STATUS_OK
             : fail(STATUS_ARGUMENT, "--type: pictures are measured with F32, F16 or BF16, found '%s'", name);
}

static status write_tower(checkpoint_dtype type, const char *path) {
  image_tower tower;
  param_set params = {0};
  status s = image_tower_new(&tower, &shape, "", &params);
  if (!s) s = params_allocate(&params);
  if (!s) random_weights(&params);
  if (!s) s = params_save(&params, path, &(params_file){.type = type});
  params_free(&params);
  image_tower_free(&tower);
  return s;
}

static status open_tower(subject *s, const char *path) {
  checkpoint *file = checkpoint_open(path);
  status result = file ? image_tower_new(&s->tower, &shape, "", &s->params) : last_status();
  if (!result) result = params_open(&s->params, file, PARAMS_FOR_USE);
  checkpoint_close(file);
  return result;
}

static status make_tower(subject *s, checkpoint_dtype type) {
  char folder[4096], path[4096 + 16];
  if (make_folder(folder, sizeof folder)) return last_status();
  snprintf(path, sizeof path, "%s/tower.gguf", folder);
  status result = write_tower(type, path);
  if (!result) result = open_tower(s, path);
  unlink(path);
  rmdir(folder);
  return result;
}

static status begin(subject *s, checkpoint_dtype type) {
  const size_t n = (size_t)s->batch * SIDE * SIDE * 3;
  status result = make_tower(s, type);
  if (result) return result;
  if (!(s->c = ctx_new()) || !(s->pixels = mem_alloc(n, sizeof *s->pixels))) return last_status();
  rng random = rng_make(2, 0);
  for (size_t i = 0; i < n; i++) s->pixels[i] = rng_range(&random, -2, 2);
  return STATUS_OK;
}

static void end(subject *s) {
  ctx_free(s->c);
  free(s->pixels);
  params_free(&s->params);
  image_tower_free(&s->tower);
}

/* Pictures a second of one batch. */
static status run_once(void *user, double *rate) {
  subject *s = user;
  int h, w;
  const tensor pixels = {.type = DTYPE_F32, .n_dims = 4, .dim = {s->batch, SIDE, SIDE, 3}, .data = s->pixels};
  const double start = clock_seconds();
  const tensor *y = image_tower_pool(s->c, &s->tower, image_tower_tokens(s->c, &s->tower, &pixels, &h, &w));
  *rate = s->batch / (clock_seconds() - start);
  ctx_reset(s->c);
  return y ? STATUS_OK : last_status();
}

static json_t *report(const subject *s, checkpoint_dtype type, int runs, double *rate, double most) {
  json_t *rounds = json_rounds(rate, runs);
  const double flops = 2 * weights_of_products(&s->params, NULL) * GRID * GRID;
  const double pictures = median(rate, runs), gflops = 1e-9 * flops * pictures;
  return json_pack("{s:s,s:i,s:o,s:o,s:o,s:o,s:o}", "type", checkpoint_dtype_name(type), "batch", s->batch,
                   "pictures_per_second", json_number(pictures), "gflops", json_number(gflops), "sgemm_gflops",
                   json_number(most), "share", json_number(gflops / most), "rounds", rounds);
}

static json_t *measure(const bench_options *o) {
  const int runs = runs_or(o, RUNS);
  subject s = {.batch = o->batch ? o->batch : BATCH};
  checkpoint_dtype type;
  if (find_type(o->type, &type)) return NULL;
  double most, *rate = mem_alloc((size_t)runs, sizeof *rate);
  status result = rate ? begin(&s, type) : STATUS_MEMORY;
  if (!result) result = limit_sgemm_beside(runs, run_once, &s, rate, &most);
  json_t *found = result ? NULL : report(&s, type, runs, rate, most);
  end(&s);
  free(rate);
  return found;
}

static void print(const bench_options *o, const json_t *found) {
  (void)o;
  printf("the image tower of RWKV-CLIP B/16, %.0f pictures at once, weights in %s\n", number_in(found, "batch"),
         text_in(found, "type"));
  printf("  %-24s %9.2f /s\n", "pictures", number_in(found, "pictures_per_second"));
  print_products("their matrix products", found);
}

const bench_part bench_pictures = {"pictures", false, false, measure, print};
