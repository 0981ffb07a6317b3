/* linnet classify: which of the labels that one gives a picture goes with, by a pair of towers; spec rwkv-clip 9.1. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/args.h"
#include "apps/inputs.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/work.h"
#include "fusion/embed.h"
#include "fusion/zeroshot.h"
#include "linnet.h"

extern const char classify_help[];
const char classify_help[] =
    "  linnet classify --labels 'cat, dog, bird' photo.jpg\n"
    "  linnet classify --labels-file kinds.txt --top-k 3 --jsonl pictures/ > kinds.jsonl\n"
    "  linnet classify --labels 'cat, dog' --template 'a photo of a {}' --template 'a drawing of a {}' *.png\n\n"
    "Usage: linnet classify [options] PICTURE|FOLDER|LIST...\n\n"
    "Says which of your labels each picture goes with: path, tab, label, tab, probability. Nothing is trained; a pair "
    "of\n"
    "towers (RWKV-CLIP, CLIP) compares the picture with texts that templates make of the labels. A LIST is a text "
    "file\n"
    "with a path a line; - is a picture's bytes on standard input. A picture that cannot be read is named on stderr "
    "and\n"
    "left out, and the exit code is 1.\n";

typedef struct {
  const char *model, *vocabulary, *labels, *labels_file, *templates_file;
  arg_texts label, template;
  int top, batch, threads;
  double threshold;
  bool recursive, json, jsonl, quiet;
} settings;

typedef struct {
  const settings *o;
  zero_shot classes;
  inputs pictures;
  float scale, *cosines; /* [labels] */
  zero_shot_guess *best; /* [top] */
  size_t top;
  work progress;
  json_t *array; /* with --json, what was found so far */
} job;

/* --- results ------------------------------------------------------------------------------------------------------ */

/* How many of the guesses are likely enough. */
static size_t likely(const job *j) {
  size_t n = 0;
  while (n < j->top && (double)j->best[n].probability >= j->o->threshold) n++;
  return n;
}

static void put_lines(const job *j, const char *path) {
  for (size_t i = 0; i < likely(j); i++) {
    const char *label = j->classes.label.item[j->best[i].class];
    text_put(stdout, path, strlen(path));
    putchar('\t');
    text_put(stdout, label, strlen(label));
    printf("\t%.4f\n", (double)j->best[i].probability);
  }
}

static json_t *guesses_json(const job *j) {
  json_t *array = json_array();
  for (size_t i = 0; i < likely(j); i++)
    json_array_append_new(array, json_pack("{s:o,s:o,s:o}", "label", json_text(j->classes.label.item[j->best[i].class]),
                                           "probability", json_number((double)j->best[i].probability), "cosine",
                                           json_number((double)j->best[i].cosine)));
  return array;
}

static void put_json(job *j, const char *path, const char *error) {
  json_t *one = error ? json_pack("{s:o,s:o}", "picture", json_text(path), "error", json_text(error))
                      : json_pack("{s:o,s:o}", "picture", json_text(path), "labels", guesses_json(j));
  if (j->o->jsonl)
    json_print(one, true);
  else
    json_array_append_new(j->array, one);
}

static status show(void *user, const embedded *e) {
  job *j = user;
  const char *path = j->pictures.path[e->index];
  status s = e->error ? STATUS_OK : zero_shot_best(&j->classes, e->row, j->scale, j->cosines, j->top, j->best);
  if (s) return s;
  if (j->o->json || j->o->jsonl)
    put_json(j, path, e->error);
  else if (!e->error)
    put_lines(j, path);
  if (fflush(stdout)) return fail(STATUS_IO, "the results could not be written"); /* output_flush says why */
  return work_step(&j->progress, e->error);
}

/* --- work --------------------------------------------------------------------------------------------------------- */

static status gather_classes(zero_shot *z, const settings *o) {
  status s = o->labels ? zero_shot_add_list(z, o->labels) : STATUS_OK;
  for (int i = 0; !s && i < o->label.n; i++) s = zero_shot_add(z, o->label.item[i], NULL, 0);
  if (!s && o->labels_file) s = zero_shot_add_file(z, o->labels_file);
  for (int i = 0; !s && i < o->template.n; i++) s = zero_shot_template(z, o->template.item[i]);
  if (!s && o->templates_file) s = zero_shot_template_file(z, o->templates_file);
  return s;
}

static status encode_classes(job *j, const clip_model *m) {
  ctx *c = ctx_new();
  status s = c ? zero_shot_usual(&j->classes, m) : STATUS_MEMORY;
  if (!s) s = zero_shot_encode(&j->classes, c, m);
  ctx_free(c);
  if (!s && j->classes.n_cut) complain("%zu prompts are too long for the model: their ends are cut", j->classes.n_cut);
  return s;
}

static image *open_picture(void *user, size_t index) { return picture_open(((const inputs *)user)->path[index]); }

static status classify(job *j, const clip_model *m) {
  const settings *o = j->o;
  const size_t labels = j->classes.label.n;
  status s = encode_classes(j, m);
  j->scale = clip_scale(&m->pair);
  j->top = (size_t)o->top < labels ? (size_t)o->top : labels;
  j->cosines = mem_alloc(labels, sizeof *j->cosines);
  j->best = mem_alloc(j->top, sizeof *j->best);
  if (!s && (!j->cosines || !j->best)) s = STATUS_MEMORY;
  if (s) return s;
  j->progress = work_begin("pictures", j->pictures.n, o->quiet || (!o->json && isatty(STDOUT_FILENO)));
  s = embed_pictures(m, open_picture, &j->pictures, j->pictures.n, &(embed_options){.batch = o->batch}, show, j);
  work_end(&j->progress);
  output_flush();
  return s;
}

static int run_job(job *j, char *const *operand, size_t n) {
  clip_model *m = NULL;
  status s = gather_classes(&j->classes, j->o);
  if (!s) s = inputs_gather(&j->pictures, operand, n, j->o->recursive);
  if (!s && !(m = pair_open(j->o->model, j->o->vocabulary))) s = last_status();
  if (!s) s = classify(j, m);
  int code = s ? failed() : j->progress.failed || j->pictures.failed ? EXIT_DATA : EXIT_DONE;
  if (!s && j->o->json)
    json_print(json_pack("{s:O,s:o}", "results", j->array, "summary", work_json(&j->progress)), false);
  clip_model_close(m);
  return code;
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

/* EXIT_DONE to go on. */
static int check(const verb *self, const settings *o, int n, char **operand) {
  int stdins = 0;
  for (int i = 0; i < n; i++) stdins += !strcmp(operand[i], "-");
  if (!n) return misuse(self, "there is no picture to classify");
  if (stdins > 1) return misuse(self, "standard input (-) can be read once only");
  if (!o->labels && !o->labels_file && !o->label.n)
    return misuse(self, "there are no labels to choose from: give --labels, --label or --labels-file");
  if (o->json && o->jsonl) return misuse(self, "--json and --jsonl exclude each other");
  return EXIT_DONE;
}

int run_classify(const verb *self, int argc, char **argv) {
  settings o = {.top = 1};
  int at, code;
  const arg list[] = {
      ARG_MODEL(&o.model),
      {"vocab", 0, ARG_TEXT, &o.vocabulary, 0, 0, "FILE", "the vocabulary of a pair whose file carries none"},
      {"labels", 'l', ARG_TEXT, &o.labels, 0, 0, "NAMES", "labels with commas between"},
      {"label", 0, ARG_TEXTS, &o.label, 0, 0, "NAME", "one label, which may have commas; may be given several times"},
      {"labels-file", 0, ARG_TEXT, &o.labels_file, 0, 0, "FILE", "a label a line, perhaps with prompts after tabs"},
      {"template", 0, ARG_TEXTS, &o.template, 0, 0, "TEXT",
       "what to say of a picture of {} (else what the model's file says, or '" ZERO_SHOT_USUAL
       "'); several are averaged"},
      {"templates-file", 0, ARG_TEXT, &o.templates_file, 0, 0, "FILE", "a template a line"},
      {"top-k", 'k', ARG_INT, &o.top, 1, 1 << 20, "N", "labels a picture, the likeliest first"},
      {"threshold", 0, ARG_REAL, &o.threshold, 0, 1, "P", "only labels of at least this probability"},
      {"recursive", 'r', ARG_SWITCH, &o.recursive, 0, 0, NULL, "also the folders in folders"},
      {"batch", 'b', ARG_INT, &o.batch, 0, 4096, "N", "pictures at a time, a thread; 0 = a good number"},
      ARG_JSON(&o.json),
      {"jsonl", 0, ARG_SWITCH, &o.jsonl, 0, 0, NULL, "results as JSON, a line a picture"},
      ARG_THREADS(&o.threads),
      ARG_QUIET(&o.quiet),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if ((code = check(self, &o, argc - at, argv + at))) return code;
  linnet_set_threads(o.threads);
  job j = {.o = &o, .array = json_array()};
  code = run_job(&j, argv + at, (size_t)(argc - at));
  json_decref(j.array);
  free(j.cosines);
  free(j.best);
  inputs_free(&j.pictures);
  zero_shot_free(&j.classes);
  return code;
}
