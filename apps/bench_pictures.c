/* linnet bench pictures: pictures a second through the image tower of RWKV-CLIP
 * B/16 (12 x 640, heads of 80, 224 pixels: 196 tokens a picture) with random
 * weights, and the arithmetic of its products beside the largest f32 product of
 * the same minutes. Weights of 16 bits are those of the same products, packed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/bench.h"
#include "apps/limits.h"
#include "apps/output.h"
#include "apps/random_model.h"
#include "kernels/half.h"
#include "vision/rwkv_clip_image.h"

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
  uint8_t *packed; /* all matrices of 16 bits, each aligned to 64 bytes */
  float *pixels;
  ctx *c;
} subject;

static const struct {
  const char *name;
  dtype type;
} types[] = {{"F32", DTYPE_F32}, {"F16", DTYPE_F16}, {"BF16", DTYPE_BF16}};

static status find_type(const char *name, dtype *type) {
  *type = DTYPE_F32;
  for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
    if (!strcmp(name, types[i].name)) {
      *type = types[i].type;
      return STATUS_OK;
    }
  return name ? fail(STATUS_ARGUMENT,
                     "--type: pictures are measured with F32, F16 or BF16, "
                     "found '%s'",
                     name)
              : STATUS_OK;
}

/* Matrices that linear() multiplies by: all but the patches', which is its own
 * operator's. */
static bool can_pack(const subject *s, const param *p) {
  return p->spec->class == PARAM_MATRIX && p->value != s->tower.patch_weight;
}

static size_t room_of(dtype type, const tensor *t) {
  enum { ALIGNED = 64 };
  return (packed_bytes(type, (size_t)t->dim[0], (size_t)t->dim[1]) + ALIGNED - 1) / ALIGNED * ALIGNED;
}

/* t's values in 16 bits at `to`, where its data then are. */
static status pack_tensor(dtype type, tensor *t, uint8_t *to) {
  const size_t n = (size_t)tensor_count(t);
  void *rows = mem_alloc(n, sizeof(uint16_t));
  if (!rows) return STATUS_MEMORY;
  (type == DTYPE_F16 ? f32_to_f16_array : f32_to_bf16_array)(f32(t), n, rows);
  packed_put(type, (size_t)t->dim[1], 0, (size_t)t->dim[0], rows, to);
  free(rows);
  t->type = type;
  t->data = to;
  return STATUS_OK;
}

static status pack_matrices(subject *s, dtype type) {
  size_t bytes = 0;
  for (size_t i = 0; i < s->params.n; i++)
    if (can_pack(s, &s->params.item[i])) bytes += room_of(type, s->params.item[i].value);
  if (!(s->packed = aligned_alloc(64, bytes))) return fail(STATUS_MEMORY, "no memory for %zu bytes of weights", bytes);
  uint8_t *to = s->packed;
  status result = STATUS_OK;
  for (size_t i = 0; !result && i < s->params.n; i++) {
    tensor *t = s->params.item[i].value;
    if (!can_pack(s, &s->params.item[i])) continue;
    const size_t room = room_of(type, t);
    result = pack_tensor(type, t, to);
    to += room;
  }
  return result;
}

static status begin(subject *s, dtype type, int batch) {
  const size_t n = (size_t)batch * SIDE * SIDE * 3;
  status result = image_tower_new(&s->tower, &shape, "", &s->params);
  if (!result) result = params_allocate(&s->params);
  if (result) return result;
  random_weights(&s->params);
  if (type != DTYPE_F32 && (result = pack_matrices(s, type))) return result;
  if (!(s->c = ctx_new()) || !(s->pixels = mem_alloc(n, sizeof *s->pixels))) return last_status();
  rng random = rng_make(2, 0);
  for (size_t i = 0; i < n; i++) s->pixels[i] = rng_range(&random, -2, 2);
  return STATUS_OK;
}

static void end(subject *s) {
  ctx_free(s->c);
  free(s->pixels);
  free(s->packed);
  params_free(&s->params);
  image_tower_free(&s->tower);
}

/* Seconds of one batch. */
static status run_once(subject *s, int batch, double *seconds) {
  int h, w;
  const tensor pixels = {.type = DTYPE_F32, .n_dims = 4, .dim = {batch, SIDE, SIDE, 3}, .data = s->pixels};
  const double start = clock_seconds();
  const tensor *y = image_tower_pool(s->c, &s->tower, image_tower_tokens(s->c, &s->tower, &pixels, &h, &w));
  *seconds = clock_seconds() - start;
  ctx_reset(s->c);
  return y ? STATUS_OK : last_status();
}

/* Pictures a second of each round, the first of which only warms up; the
 * largest product before and after them. */
static status measure_rounds(subject *s, int batch, int runs, double *rate, double *most) {
  double before, after;
  status result = limit_sgemm(&before);
  for (int i = -1; !result && i < runs; i++) {
    double seconds;
    result = run_once(s, batch, &seconds);
    if (!result && i >= 0) rate[i] = batch / seconds;
  }
  if (!result) result = limit_sgemm(&after);
  if (!result) *most = before > after ? before : after;
  return result;
}

static json_t *report(const bench_options *o, int batch, int runs, double flops, double *rate, double most) {
  json_t *rounds = json_rounds(rate, runs);
  const double pictures = median(rate, runs), gflops = 1e-9 * flops * pictures;
  return json_pack("{s:s,s:i,s:o,s:o,s:o,s:o,s:o}", "type", o->type ? o->type : "F32", "batch", batch,
                   "pictures_per_second", json_number(pictures), "gflops", json_number(gflops), "sgemm_gflops",
                   json_number(most), "share", json_number(gflops / most), "rounds", rounds);
}

static json_t *measure(const bench_options *o) {
  const int batch = o->batch ? o->batch : BATCH, runs = runs_or(o, RUNS);
  dtype type;
  if (find_type(o->type, &type)) return NULL;
  double most, *rate = mem_alloc((size_t)runs, sizeof *rate);
  subject s = {0};
  status result = rate ? begin(&s, type, batch) : STATUS_MEMORY;
  if (!result) result = measure_rounds(&s, batch, runs, rate, &most);
  const double flops = result ? 0 : 2 * weights_of_products(&s.params, NULL) * GRID * GRID;
  json_t *found = result ? NULL : report(o, batch, runs, flops, rate, most);
  end(&s);
  free(rate);
  return found;
}

static void print(const bench_options *o, const json_t *found) {
  (void)o;
  printf("the image tower of RWKV-CLIP B/16, %.0f pictures at once, weights in "
         "%s\n",
         number_in(found, "batch"), text_in(found, "type"));
  printf("  %-24s %9.2f /s\n", "pictures", number_in(found, "pictures_per_second"));
  printf("  %-24s %9.1f GFLOP/s\n", "their matrix products", number_in(found, "gflops"));
  printf("  %-24s %9.1f GFLOP/s\n", "largest f32 product", number_in(found, "sgemm_gflops"));
  printf("  %-24s %9.1f %%\n", "share reached", 100 * number_in(found, "share"));
}

const bench_part bench_pictures = {"pictures", false, false, measure, print};
