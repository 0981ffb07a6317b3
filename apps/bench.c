/* linnet bench: its options, the table of its parts (one file each) and the report. */
#include "apps/bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/args.h"
#include "apps/output.h"
#include "kernels/search.h"
#include "linnet.h"
#include "lm/rwkv.h"

extern const char bench_help[];
const char bench_help[] =
    "  linnet bench lm model.gguf\n"
    "  linnet bench lm --synthetic rwkv6-1b6 --type Q4_K -p 512,2048 -n 128 -o csv\n"
    "  linnet bench caption --json photo.jpg\n"
    "  linnet bench search --rows 200000 --runs 7\n\n"
    "Usage: linnet bench [options] [lm|caption|training|lm-training|pictures|files|search] [FILE]\n\n"
    "lm: tokens a second of a text model, prompts (pp512) and answers (tg128), beside what memory and\n"
    "arithmetic allow in the same minutes. The model is a FILE, or made up for the time being (--synthetic).\n"
    "caption: one picture's way to its caption, stage by stage (the median of --runs); the picture is made\n"
    "up, unless a FILE is given. training: a training step of the default model beside the largest matrix\n"
    "product of the same run; lm-training: of an RWKV-6 of 100 million parameters; pictures: the image tower\n"
    "of RWKV-CLIP B/16 beside the same. files: opening a model FILE, and reading it, beside a plain read; without\n"
    "FILE a GGUF file of --size gigabytes is made for the time being, in $TMPDIR or /tmp. search: exact search\n"
    "in --rows made-up vectors, one query and --queries at once, beside the speed of memory and, where its\n"
    "module is installed, FAISS. Without a word: caption and training.\n";

static const bench_part *const parts[] = {
    &bench_lm, &bench_caption, &bench_training, &bench_lm_training, &bench_pictures, &bench_files, &bench_search,
};
enum { PARTS = sizeof parts / sizeof *parts };

/* --- what parts share --------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, by_value);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double mean(const double *values, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += values[i];
  return sum / n;
}

double deviation(const double *values, int n) {
  const double middle = mean(values, n);
  double sum = 0;
  for (int i = 0; i < n; i++) sum += (values[i] - middle) * (values[i] - middle);
  return n > 1 ? sqrt(sum / (n - 1)) : 0;
}

json_t *json_rounds(const double *values, int n) {
  json_t *all = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(all, json_number(values[i]));
  return all;
}

double number_in(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }
const char *text_in(const json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }

void print_products(const char *whose, const json_t *found) {
  printf("  %-24s %9.1f GFLOP/s\n", whose, number_in(found, "gflops"));
  printf("  %-24s %9.1f GFLOP/s\n", "largest product alone", number_in(found, "sgemm_gflops"));
  printf("  %-24s %9.1f %%\n", "share reached", 100 * number_in(found, "share"));
}

status make_folder(char *path, size_t room) {
  const char *tmp = getenv("TMPDIR");
  const int n = snprintf(path, room, "%s/linnet-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (n < 0 || (size_t)n >= room) return fail(STATUS_ARGUMENT, "TMPDIR is too long");
  return mkdtemp(path) ? STATUS_OK : fail(STATUS_IO, "cannot make the folder %s: %s", path, strerror(errno));
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static const bench_part *find_part(const char *word) {
  for (size_t i = 0; i < PARTS; i++)
    if (!strcmp(word, parts[i]->word)) return parts[i];
  return NULL;
}

/* "bench what? Expected caption, training ... or search, found 'moon'" */
static int misused_word(const verb *self, const char *word) {
  char words[200] = "";
  for (size_t i = 0, at = 0; i < PARTS; i++)
    at += (size_t)snprintf(words + at, sizeof words - at, "%s%s",
                           !i              ? ""
                           : i + 1 < PARTS ? ", "
                                           : " or ",
                           parts[i]->word);
  return misuse(self, "bench what? Expected %s, found '%s'", words, word);
}

/* Measures the part named, or else those that are usual. */
static int run_parts(const bench_options *o, const bench_part *only) {
  const bool json = o->output && !strcmp(o->output, "json");
  json_t *report = json_object();
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < PARTS; i++) {
    if (only ? parts[i] != only : !parts[i]->usual) continue;
    json_t *found = parts[i]->measure(o);
    s = found ? STATUS_OK : last_status();
    if (found && !json) parts[i]->print(o, found);
    if (found) json_object_set_new(report, parts[i]->word, found);
    output_flush();
  }
  if (!s && o->save && json_dump_file(report, o->save, JSON_INDENT(2)))
    s = fail(STATUS_IO, "%s: cannot be written", o->save);
  const int code = s ? failed() : EXIT_DONE;
  if (json && !s)
    json_print(report, false);
  else
    json_decref(report);
  return code;
}

int run_bench(const verb *self, int argc, char **argv) {
  bench_options o = {.steps = 5,
                     .size = 3,
                     .rows = 1000000,
                     .width = 512,
                     .queries = 1000,
                     .k = 10,
                     .prompts = "512",
                     .answers = "128",
                     .chunk = RWKV_CHUNK};
  bool json = false;
  int at, code;
  const arg list[] = {
      ARG_MODEL(&o.model),
      {"runs", 'r', ARG_INT, &o.runs, 0, 10000, "N", "times that each thing is measured; 0 = 20, of lm 7"},
      {"prompt", 'p', ARG_TEXT, &o.prompts, 0, 0, "N,...", "tokens of prompts that lm measures; 0 = none"},
      {"gen", 'n', ARG_TEXT, &o.answers, 0, 0, "N,...", "tokens of answers that lm measures; 0 = none"},
      {"chunk", 0, ARG_INT, &o.chunk, 1, 65536, "N", "most tokens of a prompt that are read at once"},
      {"synthetic", 0, ARG_TEXT, &o.synthetic, 0, 0, "SHAPE",
       "a made-up RWKV-6: rwkv6-100m, rwkv6-1b6, rwkv6-3b or "
       "LAYERSxWIDTH[xFFN[xVOCABULARY]]"},
      {"type", 0, ARG_TEXT, &o.type, 0, 0, "TYPE", "of its matrices (Q8_0)"},
      {"layout", 0, ARG_TEXT, &o.layout, 0, 0, "LAYOUT", "of its file: official (the default) or llama"},
      {"keep", 0, ARG_TEXT, &o.keep, 0, 0, "PATH", "where its file is to stay"},
      {"vocab", 0, ARG_TEXT, &o.vocabulary, 0, 0, "FILE", "the vocabulary of a FILE that has none"},
      {"output", 'o', ARG_TEXT, &o.output, 0, 0, "FORMAT", "of lm: md (the default), csv or json"},
      {"batch", 'b', ARG_INT, &o.batch, 0, 4096, "N", "scenes a training step; 0 = as training does"},
      {"steps", 0, ARG_INT, &o.steps, 1, 10000, "N", "training steps measured"},
      {"size", 0, ARG_REAL, &o.size, 0.6, 1000, "GB", "of the file that is made up"},
      {"rows", 0, ARG_INT, &o.rows, 1, 1e9, "N", "vectors that are searched"},
      {"width", 0, ARG_INT, &o.width, 1, VECTOR_WIDTH_MAX, "N", "numbers in one of them"},
      {"queries", 0, ARG_INT, &o.queries, 1, 1e6, "N", "queries at once"},
      {"k", 'k', ARG_INT, &o.k, 1, 1e6, "N", "how many each one finds"},
      {"faiss", 0, ARG_TEXT, &o.faiss, 0, 0, "SPEC",
       "what FAISS makes of the vectors, to stand beside: IVF1024,Flat (else Flat)"},
      {"effort", 0, ARG_TEXT, &o.effort, 0, 0, "LIST", "how hard FAISS looks: nprobe=16, efSearch=64"},
      {"save", 0, ARG_TEXT, &o.save, 0, 0, "PATH", "a file for the results as JSON, all rounds of lm among them"},
      ARG_JSON(&json),
      ARG_THREADS(&o.threads),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  const bench_part *only = at < argc ? find_part(argv[at]) : NULL;
  if (at < argc && !only) return misused_word(self, argv[at]);
  if (argc - at > 2) return misuse(self, "expected one file at most, found %d", argc - at - 1);
  if (argc - at == 2) o.file = argv[at + 1];
  if (o.file && !only->takes_file) return misuse(self, "%s takes no file, found '%s'", argv[at], o.file);
  if (json) o.output = "json";
  if (o.output && strcmp(o.output, "md") && strcmp(o.output, "csv") && strcmp(o.output, "json"))
    return misuse(self, "--output: expected md, csv or json, found '%s'", o.output);
  linnet_set_threads(o.threads);
  return run_parts(&o, only);
}
