/* linnet bench: where the time of one caption goes, how near a training step comes to the machine's matrix products,
 * what opening a model file costs (bench_files.c), and how fast exact search is (bench_search.c). */
#include <stdlib.h>
#include <string.h>

#include "apps/args.h"
#include "apps/bench.h"
#include "apps/model.h"
#include "apps/output.h"
#include "fusion/caption.h"
#include "kernels/blas.h"
#include "kernels/search.h"
#include "linnet.h"
#include "train/caption_train.h"

extern const char bench_help[];
const char bench_help[] =
    "  linnet bench caption --json photo.jpg\n"
    "  linnet bench training --threads 1\n"
    "  linnet bench files model.gguf\n"
    "  linnet bench search --rows 200000 --runs 7\n\n"
    "Usage: linnet bench [options] [caption|training|files|search] [FILE]\n\n"
    "caption: one picture's way to its caption, stage by stage (the median of --runs); the picture is made\n"
    "up, unless a FILE is given. training: a training step of the default model beside the largest matrix\n"
    "product of the same run. files: opening a model FILE, and reading it, beside a plain read; without\n"
    "FILE a GGUF file of --size gigabytes is made for the time being, in $TMPDIR or /tmp. search: exact search\n"
    "in --rows made-up vectors, one query and --queries at once, beside the speed of memory and, where its\n"
    "module is installed, FAISS. Without a word: caption and training.\n";

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

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, by_value);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

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

/* --- training ----------------------------------------------------------------------------------------------------- */

/* The most GFLOP/s that matrix products reach here: the best time of a few shapes. */
static status measure_peak(double *gflops) {
  static const size_t shape[][3] = {{512, 512, 512}, {1024, 1024, 1024}, {2048, 1024, 512}, {2048, 2048, 1024}};
  enum { MOST = 2048 * 2048, TIMES = 5 };
  status s = blas_open();
  if (s) return s;
  float *memory = mem_alloc(3 * (size_t)MOST, sizeof *memory);
  if (!memory) return STATUS_MEMORY;
  for (size_t i = 0; i < 2 * (size_t)MOST; i++) memory[i] = (float)(i % 251) / 251 - 0.5f;
  *gflops = 0;
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
    for (int k = 0; k < TIMES; k++) {
      const size_t *d = shape[i];
      const double start = clock_seconds();
      sgemm(false, true, d[0], d[1], d[2], 1, memory, d[2], memory + MOST, d[2], 0, memory + 2 * MOST, d[1]);
      const double rate = 2e-9 * (double)(d[0] * d[1] * d[2]) / (clock_seconds() - start);
      if (rate > *gflops) *gflops = rate;
    }
  free(memory);
  return STATUS_OK;
}

typedef struct {
  double samples_per_second, gflops, peak;
} training_speed;

static status measure_training(int batch, int steps, training_speed *out) {
  status s = measure_peak(&out->peak);
  return s ? s : caption_train_bench(batch, steps, &out->samples_per_second, &out->gflops);
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static json_t *picture_json(const subject *s, const double *stages) {
  json_t *all = json_object();
  for (int k = 0; k < STAGES; k++) json_object_set_new(all, stage_key[k], json_number(stages[k]));
  return json_pack("{s:o,s:o,s:i}", "picture", json_text(s->name), "milliseconds", all, "tokens", s->tokens);
}

static json_t *training_json(const training_speed *t, int batch) {
  return json_pack("{s:i,s:o,s:o,s:o,s:o}", "batch", batch, "samples_per_second", json_number(t->samples_per_second),
                   "gflops", json_number(t->gflops), "sgemm_gflops", json_number(t->peak), "share",
                   json_number(t->gflops / t->peak));
}

static void print_picture(const subject *s, const double *stages) {
  fputs("one picture: ", stdout);
  text_line(s->name);
  for (int k = 0; k < STAGES; k++) printf("  %-24s %9.2f ms\n", stage_title[k], stages[k]);
  printf("  the caption had %d tokens\n", s->tokens);
}

static void print_training(const training_speed *t, int batch) {
  printf("training, %d scenes a step\n", batch);
  printf("  %-24s %9.1f /s\n", "scenes", t->samples_per_second);
  printf("  %-24s %9.1f GFLOP/s\n", "matrix products of a step", t->gflops);
  printf("  %-24s %9.1f GFLOP/s\n", "largest product alone", t->peak);
  printf("  %-24s %9.1f %%\n", "share reached", 100 * t->gflops / t->peak);
}

/* What is measured, and with which options. */
typedef struct {
  const char *model, *file, *faiss, *effort;
  bool json;
  int runs, batch, steps, rows, width, queries, k;
  double size;
} bench_options;

static status run_caption_part(const bench_options *o, json_t *report) {
  subject one = {0};
  double stages[STAGES];
  if (measure_picture(&one, o->model, o->file, o->runs, stages)) return last_status();
  if (o->json)
    json_object_set_new(report, "caption", picture_json(&one, stages));
  else
    print_picture(&one, stages);
  return STATUS_OK;
}

static status run_training_part(const bench_options *o, json_t *report) {
  training_speed speed = {0};
  if (measure_training(o->batch, o->steps, &speed)) return last_status();
  if (o->json)
    json_object_set_new(report, "training", training_json(&speed, o->batch));
  else
    print_training(&speed, o->batch);
  return STATUS_OK;
}

static status run_files_part(const bench_options *o, json_t *report) {
  json_t *found = bench_files(o->file, o->size, o->runs);
  if (!found) return last_status();
  if (!o->json) bench_files_print(found);
  json_object_set_new(report, "files", found);
  return STATUS_OK;
}

static status run_search_part(const bench_options *o, json_t *report) {
  json_t *found = bench_search(&(search_bench){.rows = (size_t)o->rows,
                                               .width = (size_t)o->width,
                                               .queries = (size_t)o->queries,
                                               .k = (size_t)o->k,
                                               .runs = o->runs,
                                               .faiss = o->faiss,
                                               .effort = o->effort});
  if (!found) return last_status();
  if (!o->json) bench_search_print(found);
  json_object_set_new(report, "search", found);
  return STATUS_OK;
}

static const struct {
  const char *word;
  bool usual, takes_file;
  status (*run)(const bench_options *o, json_t *report);
} parts[] = {{"caption", true, true, run_caption_part},
             {"training", true, false, run_training_part},
             {"files", false, true, run_files_part},
             {"search", false, false, run_search_part}};
enum { PARTS = sizeof parts / sizeof *parts };

/* The part named `word`; PARTS if there is none. */
static size_t find_part(const char *word) {
  size_t i = 0;
  while (i < PARTS && strcmp(word, parts[i].word)) i++;
  return i;
}

int run_bench(const verb *self, int argc, char **argv) {
  bench_options o = {.runs = 20,
                     .batch = caption_train_defaults().run.batch,
                     .steps = 5,
                     .size = 3,
                     .rows = 1000000,
                     .width = 512,
                     .queries = 1000,
                     .k = 10};
  int threads = 0, at, code;
  const arg list[] = {
      ARG_MODEL(&o.model),
      {"runs", 'n', ARG_INT, &o.runs, 1, 10000, "N", "times that a picture, a file or a search is measured"},
      {"batch", 'b', ARG_INT, &o.batch, 1, 4096, "N", "scenes a training step"},
      {"steps", 0, ARG_INT, &o.steps, 1, 10000, "N", "training steps measured"},
      {"size", 0, ARG_REAL, &o.size, 0.6, 1000, "GB", "of the file that is made up"},
      {"rows", 0, ARG_INT, &o.rows, 1, 1e9, "N", "vectors that are searched"},
      {"width", 0, ARG_INT, &o.width, 1, VECTOR_WIDTH_MAX, "N", "numbers in one of them"},
      {"queries", 0, ARG_INT, &o.queries, 1, 1e6, "N", "queries at once"},
      {"k", 'k', ARG_INT, &o.k, 1, 1e6, "N", "how many each one finds"},
      {"faiss", 0, ARG_TEXT, &o.faiss, 0, 0, "SPEC",
       "what FAISS makes of the vectors, to stand beside: IVF1024,Flat (else Flat)"},
      {"effort", 0, ARG_TEXT, &o.effort, 0, 0, "LIST", "how hard FAISS looks: nprobe=16, efSearch=64"},
      ARG_JSON(&o.json),
      ARG_THREADS(&threads),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  const size_t only = at < argc ? find_part(argv[at]) : PARTS;
  if (at < argc && only == PARTS)
    return misuse(self, "bench what? Expected caption, training, files or search, found '%s'", argv[at]);
  if (argc - at > 2) return misuse(self, "expected one file at most, found %d", argc - at - 1);
  if (argc - at == 2) o.file = argv[at + 1];
  if (o.file && !parts[only].takes_file) return misuse(self, "%s takes no file, found '%s'", argv[at], o.file);
  linnet_set_threads(threads);

  json_t *report = json_object();
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < PARTS; i++) {
    if (only == PARTS ? !parts[i].usual : i != only) continue;
    s = parts[i].run(&o, report);
    output_flush();
  }
  code = s ? failed() : EXIT_DONE;
  if (o.json && !s)
    json_print(report, false);
  else
    json_decref(report);
  return code;
}
