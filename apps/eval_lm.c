/* linnet eval lm: scores of a text model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apps/args.h"
#include "apps/eval.h"
#include "apps/interrupt.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "linnet.h"
#include "train/lm_eval.h"

#define TEXT_FOLDER "build/data/text/"

static const verb self = {
    "eval lm", "scores a text model", NULL,
    "  linnet eval lm -m build/lm/lm.gguf\n"
    "  linnet eval lm -m RWKV-7.pth --vocab rwkv_vocab_v20230424.txt -d wiki.test.raw --context 512\n"
    "  linnet eval lm -m RWKV-6.gguf --task lambada -d lambada_test.jsonl\n"
    "  linnet eval lm -m build/lm/lm.gguf --task position-loss --join --tsv > loss.tsv\n\n"
    "Usage: linnet eval lm [options]\n\n"
    "Tasks: perplexity of texts (lines of JSON with a string \"text\", or a file that is one text);\n"
    "lambada, the last word of passages; multiple-choice, lines with \"context\", \"choices\" and the index\n"
    "\"answer\"; position-loss, what tokens cost at each place of a text. Data are --data, else those of\n"
    "build/data/text (scripts/data text). Figures stand with their standard errors. Ctrl-C ends without a\n"
    "result and with exit code 130.\n"};

enum { POSITIONS = 65536, WINDOW = 256 }; /* by default */

typedef enum { TASK_PERPLEXITY, TASK_LAMBADA, TASK_CHOICES, TASK_POSITIONS, TASKS } task;
static const char *const task_name[TASKS] = {"perplexity", "lambada", "multiple-choice", "position-loss"};
static const char *const task_data[TASKS] = {TEXT_FOLDER "test.jsonl", TEXT_FOLDER "lambada.jsonl",
                                             TEXT_FOLDER "choices.jsonl", TEXT_FOLDER "test.jsonl"};

typedef struct {
  const char *model, *vocabulary, *task_word, *prefix, *series;
  task task;
  int64_t limit, context, positions, window;
  bool stream, join, no_space, json, tsv, quiet;
  lm_eval_options o;
  progress bar;
  double start;
} job;

/* --- results ------------------------------------------------------------------------------------------------------ */

static void add_estimate(json_t *to, const char *name, estimate e) {
  json_object_set_new(to, name, json_pack("{s:o,s:o}", "value", json_number(e.value), "error", json_number(e.error)));
}

static void add_count(json_t *to, const char *name, size_t n) {
  json_object_set_new(to, name, json_integer((json_int_t)n));
}

static void print_count(const char *name, size_t n) { printf("%-18s %12zu\n", name, n); }

static void print_estimate(const char *name, estimate e, double factor, int digits) {
  if (isnan(e.value)) return; /* not defined here */
  printf("%-18s %12.*f", name, digits, factor * e.value);
  if (!isnan(e.error)) printf(" +/- %.*f", digits, factor * e.error);
  putchar('\n');
}

/* A row of a result: a count, or an estimate. */
typedef struct {
  const char *key, *title; /* title NULL: for JSON alone */
  size_t count;
  const estimate *value;
  double factor; /* of what is shown */
  int digits;
} line;

static void print_lines(const job *j, const line *item, size_t n) {
  json_t *all = j->json ? json_pack("{s:s}", "task", task_name[j->task]) : NULL;
  for (size_t i = 0; i < n; i++) {
    const line *one = &item[i];
    if (all && one->value)
      add_estimate(all, one->key, *one->value);
    else if (all)
      add_count(all, one->key, one->count);
    else if (one->title && one->value)
      print_estimate(one->title, *one->value, one->factor, one->digits);
    else if (one->title)
      print_count(one->title, one->count);
  }
  if (all) json_print(all, false);
}

static status run_perplexity(job *j) {
  lm_perplexity_score s;
  const lm_reading reading = j->context ? LM_WINDOWS : j->stream ? LM_STREAM : LM_DOCUMENTS;
  const status result = lm_perplexity(&j->o, reading, (size_t)j->context, &s);
  const line lines[] = {
      {"documents", "documents", s.documents, NULL, 0, 0},
      {"bytes", "bytes", s.bytes, NULL, 0, 0},
      {"words", "words", s.words, NULL, 0, 0},
      {"tokens", "tokens scored", s.tokens, NULL, 0, 0},
      {"nats_per_token", "nats a token", 0, &s.token, 1, 5},
      {"perplexity", "perplexity", 0, &s.perplexity, 1, 4},
      {"nats_per_byte", "nats a byte", 0, &s.byte, 1, 5},
      {"bits_per_byte", "bits a byte", 0, &s.bits_per_byte, 1, 5},
      {"byte_perplexity", "byte perplexity", 0, &s.byte_perplexity, 1, 4},
      {"word_perplexity", "word perplexity", 0, &s.word_perplexity, 1, 4},
  };
  if (!result) print_lines(j, lines, sizeof lines / sizeof *lines);
  return result;
}

static status run_lambada(job *j) {
  lm_lambada_score s;
  const status result = lm_lambada(&j->o, &s);
  const line lines[] = {{"questions", "passages", s.questions, NULL, 0, 0},
                        {"acc", "accuracy %", 0, &s.accuracy, 100, 2},
                        {"perplexity", "perplexity", 0, &s.perplexity, 1, 4}};
  if (!result) print_lines(j, lines, sizeof lines / sizeof *lines);
  return result;
}

static status run_choices(job *j) {
  lm_choices_score s;
  const status result = lm_choices(&j->o, j->no_space, &s);
  const line lines[] = {{"questions", "questions", s.questions, NULL, 0, 0},
                        {"choices", "choices", s.choices, NULL, 0, 0},
                        {"acc", "accuracy %", 0, &s.accuracy, 100, 2},
                        {"acc_norm", "by bytes %", 0, &s.by_bytes, 100, 2}};
  if (!result) print_lines(j, lines, sizeof lines / sizeof *lines);
  return result;
}

/* --- loss against position ---------------------------------------------------------------------------------------- */

static json_t *positions_json(const lm_positions *item, size_t n) {
  json_t *all = json_array();
  for (size_t i = 0; i < n; i++) {
    const estimate e = ratio_of(&item[i].sum);
    json_array_append_new(all, json_pack("{s:I,s:I,s:I,s:I,s:o,s:o}", "from", (json_int_t)item[i].from, "to",
                                         (json_int_t)item[i].to - 1, "rows", (json_int_t)item[i].sum.units, "tokens",
                                         (json_int_t)item[i].sum.n, "nats", json_number(e.value), "error",
                                         json_number(e.error)));
  }
  return all;
}

static void print_curve(const job *j, const lm_position_score *s) {
  fputs("series\tx\ty\terr\n", stdout);
  for (size_t i = 0; i < s->n_points; i++) {
    const lm_positions *p = &s->curve[i];
    const estimate e = ratio_of(&p->sum);
    text_put(stdout, j->series, strlen(j->series));
    printf("\t%zu\t%.6f\t%.6f\n", (p->from + p->to - 1) / 2, e.value, e.error);
  }
}

static void print_buckets(const lm_position_score *s) {
  printf("%zu texts, %zu tokens\n%20s %10s %10s %10s %10s\n", s->rows, s->tokens, "positions", "texts", "tokens",
         "nats", "+/-");
  for (size_t i = 0; i < s->n_buckets; i++) {
    const lm_positions *p = &s->bucket[i];
    const estimate e = ratio_of(&p->sum);
    printf("%9zu %10zu %10zu %10.0f %10.4f ", p->from, p->to - 1, p->sum.units, p->sum.n, e.value);
    if (isnan(e.error))
      printf("%10s\n", "-");
    else
      printf("%10.4f\n", e.error);
  }
}

static status run_positions(job *j) {
  lm_position_score s;
  const status result = lm_position_loss(&j->o, j->join, (size_t)j->positions, (size_t)j->window, &s);
  if (!result && j->json)
    json_print(json_pack("{s:s,s:I,s:I,s:o,s:o}", "task", task_name[j->task], "rows", (json_int_t)s.rows, "tokens",
                         (json_int_t)s.tokens, "buckets", positions_json(s.bucket, s.n_buckets), "curve",
                         positions_json(s.curve, s.n_points)),
               false);
  else if (!result && j->tsv)
    print_curve(j, &s);
  else if (!result)
    print_buckets(&s);
  lm_position_score_free(&s);
  return result;
}

/* --- work --------------------------------------------------------------------------------------------------------- */

static bool on_progress(void *user, const lm_eval_progress *p) {
  job *j = user;
  const double spent = clock_seconds() - j->start, share = (double)p->done / (double)p->all;
  char left[DURATION_TEXT];
  progress_show(&j->bar, share, "%s: %zu of %zu tokens  %.0f/s  %s left", task_name[j->task], p->done, p->all,
                (double)p->done / spent, duration_text(spent / share - spent, left));
  return !interrupted;
}

static status run_task(job *j) {
  switch (j->task) {
  case TASK_LAMBADA:
    return run_lambada(j);
  case TASK_CHOICES:
    return run_choices(j);
  case TASK_POSITIONS:
    return run_positions(j);
  default:
    return run_perplexity(j);
  }
}

static int finish(job *j) {
  watch_interrupts();
  text_model *model = text_model_open(j->model, j->vocabulary);
  if (!model) return failed();
  j->o.model = model;
  j->o.progress = on_progress;
  j->o.user = j;
  j->bar = progress_begin(j->quiet);
  j->start = clock_seconds();
  const status s = run_task(j);
  progress_end(&j->bar);
  text_model_close(model);
  return s ? failed() : EXIT_DONE;
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static bool find_task(job *j) {
  for (int t = 0; t < TASKS; t++)
    if (!strcmp(j->task_word, task_name[t])) {
      j->task = (task)t;
      return true;
    }
  return false;
}

/* An option that belongs to another task than the one at hand; NULL if there is none. */
static const char *foreign_option(const job *j) {
  const struct {
    const char *name;
    bool given;
    task of;
  } options[] = {{"--stream", j->stream, TASK_PERPLEXITY},
                 {"--context", j->context != 0, TASK_PERPLEXITY},
                 {"--join", j->join, TASK_POSITIONS},
                 {"--tsv", j->tsv, TASK_POSITIONS},
                 {"--name", j->series, TASK_POSITIONS},
                 {"--positions", j->positions != POSITIONS, TASK_POSITIONS},
                 {"--window", j->window != WINDOW, TASK_POSITIONS},
                 {"--no-space", j->no_space, TASK_CHOICES}};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    if (options[i].given && options[i].of != j->task) return options[i].name;
  return NULL;
}

/* EXIT_DONE, or another exit code after a sentence. */
static int settle(job *j) {
  if (!find_task(j))
    return misuse(&self, "--task: '%s' is not of perplexity, lambada, multiple-choice, position-loss", j->task_word);
  const char *foreign = foreign_option(j);
  if (foreign) return misuse(&self, "%s does not belong to --task %s", foreign, j->task_word);
  if (strcmp(j->prefix, "0") && strcmp(j->prefix, "newline"))
    return misuse(&self, "--prefix: '%s' is neither 0 nor newline", j->prefix);
  if (j->context == 1 || j->context == 2) return misuse(&self, "--context: a window has at least 3 tokens");
  if (j->context && j->stream) return misuse(&self, "--context and --stream exclude each other");
  if (j->json && j->tsv) return misuse(&self, "--json and --tsv exclude each other");
  if (!(j->model = model_path(j->model, SHIPPED_TEXT))) return failed();
  if (!j->o.data) j->o.data = task_data[j->task];
  if (!j->series) j->series = strrchr(j->model, '/') ? strrchr(j->model, '/') + 1 : j->model;
  j->o.newline = !strcmp(j->prefix, "newline");
  j->o.limit = (size_t)j->limit;
  return EXIT_DONE;
}

int run_eval_lm(int argc, char **argv) {
  job j = {.task_word = task_name[TASK_PERPLEXITY],
           .prefix = "0",
           .positions = POSITIONS,
           .window = WINDOW,
           .o = {.batch = LM_EVAL_BATCH}};
  int threads = 0, at, code;
  const double ever = 1e15;
  const arg list[] = {
      {"task", 0, ARG_TEXT, &j.task_word, 0, 0, "TASK", "perplexity, lambada, multiple-choice or position-loss"},
      ARG_MODEL(&j.model),
      {"vocab", 0, ARG_TEXT, &j.vocabulary, 0, 0, "FILE",
       "its vocabulary (else the one that the model's file carries)"},
      {"data", 'd', ARG_TEXT, &j.o.data, 0, 0, "PATH", "what is asked; - is standard input"},
      {"prefix", 0, ARG_TEXT, &j.prefix, 0, 0, "WHAT", "read before each text: token 0, or newline"},
      {"limit", 'n', ARG_LONG, &j.limit, 0, ever, "N", "documents or questions, the first ones; 0 = all"},
      {"stream", 0, ARG_SWITCH, &j.stream, 0, 0, NULL, "perplexity: all documents as one text, token 0 between them"},
      {"context", 'c', ARG_LONG, &j.context, 0, ever, "N",
       "perplexity: that in windows, second halves count, as llama-perplexity; 0 = whole"},
      {"no-space", 0, ARG_SWITCH, &j.no_space, 0, 0, NULL, "multiple-choice: no space before the choices"},
      {"positions", 0, ARG_LONG, &j.positions, 1, ever, "N", "position-loss: the last position"},
      {"join", 0, ARG_SWITCH, &j.join, 0, 0, NULL, "position-loss: documents one after the other, cut every N tokens"},
      {"window", 0, ARG_LONG, &j.window, 1, ever, "N", "position-loss: positions that the curve is smooth over"},
      {"tsv", 0, ARG_SWITCH, &j.tsv, 0, 0, NULL, "position-loss: the curve as a table for scripts/plot"},
      {"name", 0, ARG_TEXT, &j.series, 0, 0, "TEXT", "position-loss: what --tsv calls it (else the model's file)"},
      {"batch", 'b', ARG_INT, &j.o.batch, 1, 1 << 20, "N", "tokens at a time: speed and memory, not results"},
      ARG_THREADS(&threads),
      ARG_JSON(&j.json),
      ARG_QUIET(&j.quiet),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at > 1)
    return misuse(&self, "eval lm takes no operands, found '%s'; data are given with -d", argv[at + 1]);
  if (settle(&j) != EXIT_DONE) return EXIT_MISUSE;
  linnet_set_threads(threads);
  return finish(&j);
}
