/* linnet caption: pictures from files, folders and standard input, in batches; each batch is decoded by all threads. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/args.h"
#include "apps/inputs.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "fusion/caption.h"
#include "linnet.h"

extern const char caption_help[];
const char caption_help[] =
    "  linnet caption photo.jpg\n"
    "  linnet caption --json *.png pictures/\n"
    "  wget -qO- https://example.org/a.png | linnet caption -\n\n"
    "Usage: linnet caption [options] FILE...\n\n"
    "Says what each picture shows. A FILE is a picture (PNG, JPEG, GIF, BMP, TGA, PNM, recognised by\n"
    "content), a folder (its pictures, sorted), or - for a picture's bytes on standard input. One\n"
    "picture gives its captions, several give lines of path, tab, caption. A picture that cannot be\n"
    "read is named on stderr, the others are captioned, and the exit code is 1.\n";

enum { BATCH = 16 };
typedef enum { PLAIN_ONE, PLAIN_MANY, ONE_ARRAY, LINES } layout;

typedef struct {
  const visualrwkv *model;
  ctx *c;
  caption_options options;
  uint64_t seed;
  layout show;
  bool failed;    /* a picture could not be captioned */
  json_t *array;  /* ONE_ARRAY: what was found so far */
  size_t batch;   /* pictures at a time */
  float *pixels;  /* of a batch */
  caption *found; /* of a batch */
  progress bar;
  char *error[BATCH];
} job;

/* --- results ------------------------------------------------------------------------------------------------------ */

static json_t *captions_json(const caption *list, int n) {
  json_t *array = json_array();
  for (int i = 0; i < n; i++)
    json_array_append_new(array, json_pack("{s:o,s:o,s:i}", "text", json_text(list[i].text), "log_probability",
                                           json_number(list[i].log_probability), "tokens", list[i].tokens));
  return array;
}

/* One picture's captions, or why there are none. */
static void show_picture(job *j, const char *path, const caption *list, const char *error) {
  if (error) {
    progress_end(&j->bar); /* or the sentence would stand behind it */
    complain("%s", error);
    j->failed = true;
  }
  if (j->show == ONE_ARRAY || j->show == LINES) {
    json_t *one =
        error ? json_pack("{s:o,s:o}", "picture", json_text(path), "error", json_text(error))
              : json_pack("{s:o,s:o}", "picture", json_text(path), "captions", captions_json(list, j->options.count));
    if (j->show == LINES)
      json_print(one, true);
    else
      json_array_append_new(j->array, one);
    return;
  }
  for (int i = 0; !error && i < j->options.count; i++) {
    if (j->show == PLAIN_MANY) {
      text_put(stdout, path, strlen(path));
      putchar('\t');
    }
    text_line(j->options.on_token ? "" : list[i].text); /* the streamed one is written already */
  }
}

/* Writes a caption as it is found; its line is ended when it is done. */
static bool stream(void *user, const char *text, size_t n) {
  (void)user;
  text_put(stdout, text, n);
  output_flush();
  return true;
}

/* --- work --------------------------------------------------------------------------------------------------------- */

static size_t picture_floats(const job *j) {
  return (size_t)j->model->config.image_size * (size_t)j->model->config.image_size * 3;
}

/* Decodes a batch, one picture a thread; sentences are kept, because they belong to the thread that failed. */
static void decode(job *j, char *const *path, size_t n) {
#pragma omp parallel for schedule(dynamic, 1)
  for (size_t i = 0; i < n; i++) {
    image *im = picture_open(path[i]);
    const bool good = im && !visualrwkv_pixels(j->model, im, j->pixels + i * picture_floats(j));
    j->error[i] = good ? NULL : mem_string(last_error());
    if (!good && !j->error[i]) j->error[i] = mem_string("out of memory");
    image_free(im);
  }
}

/* Captions the pictures of a batch that could be decoded. */
static status caption_batch(job *j, size_t n) {
  size_t good = 0;
  const size_t floats = picture_floats(j);
  for (size_t i = 0; i < n; i++) {
    if (j->error[i]) continue;
    if (good < i) memcpy(j->pixels + good * floats, j->pixels + i * floats, floats * sizeof(float));
    good++;
  }
  if (!good) return STATUS_OK;
  const int64_t side = j->model->config.image_size;
  const tensor pixels = {.type = DTYPE_F32, .n_dims = 4, .dim = {(int64_t)good, side, side, 3}, .data = j->pixels};
  return caption_pictures(j->c, j->model, &pixels, &j->options, j->found);
}

static status run_batch(job *j, char *const *path, size_t n) {
  decode(j, path, n);
  status s = caption_batch(j, n);
  size_t good = 0;
  const size_t count = (size_t)j->options.count;
  for (size_t i = 0; i < n; i++) {
    if (!s) show_picture(j, path[i], j->error[i] ? NULL : j->found + count * good, j->error[i]);
    if (!j->error[i]) good++;
    free(j->error[i]);
  }
  if (!s) captions_free(j->found, good * count);
  return s;
}

static status run_all(job *j, const inputs *in, bool quiet) {
  const double started = clock_seconds();
  j->bar = progress_begin(quiet || in->n <= j->batch || isatty(STDOUT_FILENO));
  status s = STATUS_OK;
  for (size_t first = 0; !s && first < in->n; first += j->batch) {
    const size_t n = in->n - first < j->batch ? in->n - first : j->batch;
    j->options.seed = j->seed + first / j->batch; /* or every batch would have the same draws */
    s = run_batch(j, in->path + first, n);
    output_flush();
    char left[DURATION_TEXT];
    const double done = (double)(first + n), rate = done / (clock_seconds() - started);
    progress_show(&j->bar, done / (double)in->n, "%zu of %zu pictures  %.1f/s  %s left", first + n, in->n, rate,
                  duration_text(((double)in->n - done) / rate, left));
  }
  progress_end(&j->bar);
  return s;
}

static int run_job(job *j, const inputs *in, bool quiet) {
  j->batch = j->model->config.image_size <= 512 ? BATCH : 1; /* memory grows with pictures and their size */
  j->pixels = mem_alloc(j->batch * picture_floats(j), sizeof *j->pixels);
  j->found = mem_zero(j->batch * (size_t)j->options.count, sizeof *j->found);
  j->array = json_array();
  j->c = ctx_new();
  status s = j->pixels && j->found && j->c ? run_all(j, in, quiet) : last_status();
  int code = s ? failed() : j->failed ? EXIT_DATA : EXIT_DONE;
  if (j->show == ONE_ARRAY && !s)
    json_print(j->array, false);
  else
    json_decref(j->array);
  ctx_free(j->c);
  free(j->pixels);
  free(j->found);
  return code;
}

int run_caption(const verb *self, int argc, char **argv) {
  const linnet_caption_options usual = linnet_caption_defaults();
  job j = {.options = {.count = usual.count,
                       .beam = usual.beam,
                       .max_tokens = usual.max_tokens,
                       .sample = {.temperature = usual.temperature, .top_p = usual.top_p}}};
  bool json = false, lines = false, recursive = false, quiet = false;
  const char *model = NULL;
  int threads = 0, at, code;
  const arg list[] = {
      ARG_MODEL(&model),
      {"num", 'n', ARG_INT, &j.options.count, 1, 256, "N", "captions a picture, best first"},
      {"beam", 'b', ARG_INT, &j.options.beam, 1, 256, "N", "hypotheses of a beam search; 1 = none"},
      {"temp", 0, ARG_FLOAT, &j.options.sample.temperature, 0, 100, "T",
       "0 = the likeliest word each time; more = varied"},
      {"top-p", 0, ARG_FLOAT, &j.options.sample.top_p, 1e-6, 1, "P", "draw from the likeliest words up to this share"},
      {"seed", 's', ARG_SEED, &j.seed, 0, 0, "S", "of the draws when --temp is not 0"},
      {"max-tokens", 0, ARG_INT, &j.options.max_tokens, 1, 4096, "N", "longest caption"},
      {"recursive", 'r', ARG_SWITCH, &recursive, 0, 0, NULL, "also the folders in folders"},
      ARG_JSON(&json),
      {"jsonl", 0, ARG_SWITCH, &lines, 0, 0, NULL, "results as JSON, a line a picture"},
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at == argc) return misuse(self, "there is no picture to caption");
  int stdins = 0;
  for (int i = at; i < argc; i++) stdins += !strcmp(argv[i], "-");
  if (stdins > 1) return misuse(self, "standard input (-) can be read once only");
  if (json && lines) return misuse(self, "--json and --jsonl exclude each other");
  linnet_set_threads(threads);

  inputs in = {0};
  visualrwkv *network = NULL;
  if (inputs_gather(&in, argv + at, (size_t)(argc - at), recursive) || !(network = model_open(model))) {
    code = failed();
  } else {
    j.model = network;
    j.failed = in.failed;
    j.show = json ? ONE_ARRAY : lines ? LINES : in.named_one ? PLAIN_ONE : PLAIN_MANY;
    if (j.show == PLAIN_ONE && j.options.count == 1 && j.options.beam == 1) j.options.on_token = stream;
    code = run_job(&j, &in, quiet);
  }
  visualrwkv_close(network);
  inputs_free(&in);
  return code;
}
