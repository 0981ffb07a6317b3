/* linnet bench caption: where the time of one caption goes. */
#include <stdio.h>
#include <stdlib.h>

#include "apps/bench.h"
#include "apps/model.h"
#include "apps/output.h"
#include "fusion/caption.h"
#include "linnet.h"

/* Milliseconds. */
enum { STAGE_DECODE, STAGE_TOWER, STAGE_PROMPT, STAGE_TOKEN, STAGE_CAPTION, STAGES };
static const char *const stage_key[STAGES] = {"decode", "tower", "prompt", "token", "caption"};
static const char *const stage_title[STAGES] = {"decoding and resizing", "image tower", "projector and prompt",
                                                "a token of the answer", "the whole caption"};

typedef struct {
  const visualrwkv *model;
  ctx *c;
  uint8_t *bytes; /* the encoded picture */
  size_t n;
  const char *name;
  float *pixels; /* as the model wants them */
  int tokens;    /* of the caption, the last time */
} subject;

/* --- the picture -------------------------------------------------------------------------------------------------- */

/* A PNM of colour gradients. */
static status make_picture(subject *s) {
  enum { WIDTH = 640, HEIGHT = 480, ROOM = 32 };
  s->name = "a made-up picture";
  s->bytes = mem_alloc(ROOM + WIDTH * HEIGHT * 3, 1);
  if (!s->bytes) return STATUS_MEMORY;
  s->n = (size_t)snprintf((char *)s->bytes, ROOM, "P6\n%d %d\n255\n", WIDTH, HEIGHT);
  for (int y = 0; y < HEIGHT; y++)
    for (int x = 0; x < WIDTH; x++) {
      s->bytes[s->n++] = (uint8_t)(x * 255 / WIDTH);
      s->bytes[s->n++] = (uint8_t)(y * 255 / HEIGHT);
      s->bytes[s->n++] = (uint8_t)(x ^ y);
    }
  return STATUS_OK;
}

static status read_picture(subject *s, const char *path) {
  if (!path) return make_picture(s);
  s->bytes = picture_bytes(path, &s->name, &s->n);
  return s->bytes ? STATUS_OK : last_status();
}

/* --- stages of one picture ---------------------------------------------------------------------------------------- */

static status run_decode(subject *s, double *seconds) {
  const double start = clock_seconds();
  image *im = image_decode(s->bytes, s->n, s->name, NULL);
  status result = im ? visualrwkv_pixels(s->model, im, s->pixels) : last_status();
  image_free(im);
  *seconds = clock_seconds() - start;
  return result;
}

/* Tower, projector and prompt, then some tokens one after the other. The tower runs twice, because the projector is
 * only to be had behind it: the first time is subtracted. */
static status run_network(subject *s, const tensor *pixels, double *tower, double *prompt, double *token) {
  enum { TOKENS = 16 };
  const visualrwkv *m = s->model;
  ctx *c = s->c;
  rwkv_state state;
  status result = rwkv_state_new(&state, &m->config.lm, 1);
  if (result) return result;
  int h, w;
  const double start = clock_seconds();
  tensor *x = image_tower_tokens(c, &m->tower, pixels, &h, &w);
  const double seen = clock_seconds();
  if (x) x = visualrwkv_sequence(c, m, visualrwkv_image_tokens(c, m, pixels, NULL), NULL, &state);
  const double read = clock_seconds();
  for (int i = 0; x && i < TOKENS; i++) {
    ctx_reset(c);
    tensor *ids = tensor_2d(c, DTYPE_I32, 1, 1);
    if (ids) i32(ids)[0] = m->stop;
    x = ids ? rwkv_forward(c, &m->lm, rwkv_embed(c, &m->lm, ids), &(rwkv_input){.state = &state}) : NULL;
    x = rwkv_logits(c, &m->lm, x);
  }
  const double said = clock_seconds();
  ctx_reset(c);
  rwkv_state_free(&state);
  *tower = seen - start;
  *prompt = read - seen > *tower ? read - seen - *tower : 0;
  *token = (said - read) / TOKENS;
  return x ? STATUS_OK : last_status();
}

static status run_caption_once(subject *s, const tensor *pixels, double *seconds) {
  const linnet_caption_options usual = linnet_caption_defaults();
  const caption_options o = {.count = 1, .beam = 1, .max_tokens = usual.max_tokens, .sample = {.top_p = 1}};
  caption found;
  const double start = clock_seconds();
  double decoding;
  status result = run_decode(s, &decoding);
  if (!result) result = caption_pictures(s->c, s->model, pixels, &o, &found);
  *seconds = clock_seconds() - start;
  if (result) return result;
  s->tokens = found.tokens;
  captions_free(&found, 1);
  return STATUS_OK;
}

/* The median of `runs` for every stage, in milliseconds; one run before them warms up. */
static status measure_stages(subject *s, int runs, double *out) {
  double *all = mem_zero((size_t)runs * STAGES, sizeof *all);
  const int64_t side = s->model->config.image_size;
  const tensor pixels = {.type = DTYPE_F32, .n_dims = 4, .dim = {1, side, side, 3}, .data = s->pixels};
  status result = all ? STATUS_OK : STATUS_MEMORY;
  for (int i = -1; !result && i < runs; i++) {
    double one[STAGES];
    result = run_decode(s, &one[STAGE_DECODE]);
    if (!result) result = run_network(s, &pixels, &one[STAGE_TOWER], &one[STAGE_PROMPT], &one[STAGE_TOKEN]);
    if (!result) result = run_caption_once(s, &pixels, &one[STAGE_CAPTION]);
    for (int k = 0; !result && i >= 0 && k < STAGES; k++) all[k * runs + i] = 1e3 * one[k];
  }
  for (int k = 0; !result && k < STAGES; k++) out[k] = median(all + k * runs, runs);
  free(all);
  return result;
}

static status measure_picture(subject *s, const char *model, const char *path, int runs, double *stages) {
  visualrwkv *m = model_open(model);
  if (!m) return last_status();
  s->model = m;
  const size_t side = (size_t)m->config.image_size;
  s->pixels = mem_alloc(side * side * 3, sizeof *s->pixels);
  s->c = ctx_new();
  status result = s->pixels && s->c ? read_picture(s, path) : last_status();
  if (!result) result = measure_stages(s, runs, stages);
  ctx_free(s->c);
  free(s->pixels);
  free(s->bytes);
  visualrwkv_close(m);
  return result;
}

/* --- the part ----------------------------------------------------------------------------------------------------- */

static json_t *report(const subject *s, const double *stages) {
  json_t *all = json_object();
  for (int k = 0; k < STAGES; k++) json_object_set_new(all, stage_key[k], json_number(stages[k]));
  return json_pack("{s:o,s:o,s:i}", "picture", json_text(s->name), "milliseconds", all, "tokens", s->tokens);
}

static json_t *measure(const bench_options *o) {
  subject one = {0};
  double stages[STAGES];
  return measure_picture(&one, o->model, o->file, runs_or(o, 20), stages) ? NULL : report(&one, stages);
}

static void print(const bench_options *o, const json_t *found) {
  (void)o;
  fputs("one picture: ", stdout);
  text_line(text_in(found, "picture"));
  for (int k = 0; k < STAGES; k++)
    printf("  %-24s %9.2f ms\n", stage_title[k], number_in(json_object_get(found, "milliseconds"), stage_key[k]));
  printf("  the caption had %.0f tokens\n", number_in(found, "tokens"));
}

const bench_part bench_caption = {"caption", true, true, measure, print};
