/* linnet generate: goes on with a text. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/args.h"
#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "kernels/file.h"
#include "linnet.h"
#include "lm/generate.h"

extern const char generate_help[];
const char generate_help[] =
    "  linnet generate -m RWKV-6.gguf -p 'The Eiffel tower is'\n"
    "  linnet generate -m RWKV-7.pth --vocab rwkv_vocab_v20230424.txt -f prompt.txt -n 100 --temp 0\n"
    "  linnet generate -m RWKV-6.gguf -f book.txt -n 0 --state-save book.state\n"
    "  linnet generate -m RWKV-6.gguf --state-load book.state -p 'Question: who did it?'\n\n"
    "Usage: linnet generate [options] < PROMPT\n\n"
    "Reads a prompt and writes what an RWKV language model (versions 4 to 7) goes on with, as it is\n"
    "found. The prompt is --prompt, or a --file, or standard input; with --state-load there need be\n"
    "none. The text ends after --n-predict tokens, at a --stop text, or where the model ends it.\n"
    "Draws: what was said is penalised, the likeliest tokens up to --top-p are kept, of them --top-k,\n"
    "and --temp applies to those, as the models' authors do it.\n";

enum { PROMPT_MOST = 1 << 28 }; /* bytes */

typedef struct {
  const char *model, *vocabulary, *prompt, *file, *load, *save;
  arg_texts stop;
  generate_options options;
  bool json, quiet;
  size_t prompt_tokens;
  char *said; /* for JSON: all of it */
  size_t n_said, room;
  char last; /* byte of the text */
  bool short_of_memory;
  progress bar;
  double start;
} job;

/* --- results ------------------------------------------------------------------------------------------------------ */

/* Text of several lines: its line ends and tabs are meant, other controls are not. */
static void put_lines(const char *text, size_t n) {
  for (size_t at = 0; at < n;) {
    size_t plain = 0;
    while (at + plain < n && text[at + plain] != '\n' && text[at + plain] != '\t') plain++;
    text_put(stdout, text + at, plain);
    at += plain;
    if (at < n) putchar(text[at++]);
  }
}

static bool keep(job *j, const char *text, size_t n) {
  if (n > j->room - j->n_said) {
    const size_t room = 2 * (j->n_said + n);
    char *said = mem_grow(j->said, room, 1);
    if (!said) return false;
    j->said = said;
    j->room = room;
  }
  memcpy(j->said + j->n_said, text, n);
  j->n_said += n;
  return true;
}

static bool on_text(void *user, const char *text, size_t n) {
  job *j = user;
  if (n && j->json) {
    j->short_of_memory = j->short_of_memory || !keep(j, text, n);
  } else if (n) {
    put_lines(text, n);
    output_flush();
    j->last = text[n - 1];
  }
  return !interrupted && !j->short_of_memory;
}

static void report(const job *j, const generate_result *r) {
  if (j->json)
    json_print(json_pack("{s:o,s:I,s:I,s:s}", "text", json_stringn(j->said ? j->said : "", j->n_said), "prompt_tokens",
                         (json_int_t)j->prompt_tokens, "tokens", (json_int_t)r->tokens, "finish",
                         generate_finish_name(r->finish)),
               false);
  else if (j->last && j->last != '\n')
    putchar('\n');
}

/* --- work --------------------------------------------------------------------------------------------------------- */

static bool on_prompt(void *user, size_t done, size_t n) {
  job *j = user;
  const double spent = clock_seconds() - j->start, share = (double)done / (double)n;
  char left[DURATION_TEXT];
  if (done)
    progress_show(&j->bar, share, "%zu of %zu prompt tokens  %.0f/s  %s left", done, n, (double)done / spent,
                  duration_text(spent / share - spent, left));
  return !interrupted;
}

/* The prompt's bytes. NULL with a sentence on failure. */
static char *prompt_text(const job *j, size_t *n) {
  if (j->prompt || (!j->file && j->load)) {
    *n = j->prompt ? strlen(j->prompt) : 0;
    return mem_string(j->prompt ? j->prompt : "");
  }
  if (j->file && strcmp(j->file, "-")) return file_read(j->file, PROMPT_MOST, n);
  return file_read_open(STDIN_FILENO, "standard input", PROMPT_MOST, n);
}

static status read_prompt(job *j, generation *g) {
  size_t n;
  int32_t *ids = NULL;
  char *text = prompt_text(j, &n);
  status s = text ? tokenizer_ids(g->model->words, text, n, &ids, &j->prompt_tokens) : last_status();
  free(text);
  j->start = clock_seconds();
  j->bar = progress_begin(j->quiet || j->prompt_tokens <= RWKV_CHUNK);
  if (!s) s = generation_read(g, ids, j->prompt_tokens, on_prompt, j);
  progress_end(&j->bar);
  free(ids);
  return s;
}

/* The exit code. An interrupted text is saved like any other; one whose prompt was not read is not. */
static int run_job(job *j, const text_model *model) {
  generation g;
  generate_result r = {0};
  ctx *c = ctx_new();
  status s = c ? generation_new(&g, c, model) : last_status();
  if (!s) {
    if (j->load) s = generation_load(&g, j->load);
    if (!s) s = read_prompt(j, &g);
    if (!s) s = generate(&g, &j->options, &r);
    if (!s && j->short_of_memory) s = STATUS_MEMORY;
    if (!s) report(j, &r);
    if (!s && j->save) s = generation_save(&g, j->save);
    generation_free(&g);
  }
  ctx_free(c);
  if (s) {
    output_flush(); /* what was said stands before the sentence */
    return failed();
  }
  return r.finish == GENERATE_INTERRUPTED ? EXIT_INTERRUPTED : EXIT_DONE;
}

static int finish(const verb *self, job *j) {
  const char *wish = getenv("LINNET_MODEL");
  if (!j->model) j->model = wish && *wish ? wish : NULL;
  if (!j->model) return misuse(self, "there is no model; give one with --model PATH or in $LINNET_MODEL");
  if (j->prompt && j->file) return misuse(self, "--prompt and --file exclude each other");
  if (!j->prompt && !j->file && !j->load && isatty(STDIN_FILENO))
    return misuse(self, "there is no prompt; give one with --prompt, --file or on standard input");
  j->options.stop = j->stop.item;
  j->options.n_stop = j->stop.n;
  j->options.on_text = on_text;
  j->options.user = j;
  watch_interrupts();
  text_model *model = text_model_open(j->model, j->vocabulary);
  const int code = model ? run_job(j, model) : failed();
  text_model_close(model);
  free(j->said);
  return code;
}

int run_generate(const verb *self, int argc, char **argv) {
  job j = {.options = {.draw = generation_draw_defaults(), .max_tokens = 256}};
  generation_draw *draw = &j.options.draw;
  int threads = 0, at, code;
  const arg list[] = {
      {"model", 'm', ARG_TEXT, &j.model, 0, 0, "PATH", "the model (else $LINNET_MODEL)"},
      {"vocab", 0, ARG_TEXT, &j.vocabulary, 0, 0, "FILE",
       "its vocabulary (else the one that the model's file carries)"},
      {"prompt", 'p', ARG_TEXT, &j.prompt, 0, 0, "TEXT", "the text to go on with"},
      {"file", 'f', ARG_TEXT, &j.file, 0, 0, "PATH", "a file that holds it; - is standard input"},
      {"n-predict", 'n', ARG_LONG, &j.options.max_tokens, -1, 1e15, "N", "most tokens; -1 = no bound"},
      {"stop", 0, ARG_TEXTS, &j.stop, 0, 0, "TEXT", "end where the model says this; may be given several times"},
      {"temp", 0, ARG_FLOAT, &draw->sample.temperature, 0, 100, "T",
       "0 = the likeliest token each time; more = varied"},
      {"top-p", 0, ARG_FLOAT, &draw->sample.top_p, 1e-6, 1, "P", "draw from the likeliest tokens up to this share"},
      {"top-k", 0, ARG_INT, &draw->sample.top_k, 0, INT32_MAX, "K", "draw from so many tokens; 0 = all"},
      {"presence-penalty", 0, ARG_FLOAT, &draw->penalty.presence, -100, 100, "X", "off the logit of what was said"},
      {"frequency-penalty", 0, ARG_FLOAT, &draw->penalty.frequency, -100, 100, "X", "and for each time"},
      {"penalty-decay", 0, ARG_FLOAT, &draw->penalty.decay, 0, 1, "X", "of those times, a token"},
      {"seed", 's', ARG_SEED, &draw->seed, 0, 0, "S", "of the draws"},
      {"state-load", 0, ARG_TEXT, &j.load, 0, 0, "FILE", "go on from a saved text"},
      {"state-save", 0, ARG_TEXT, &j.save, 0, 0, "FILE", "save what was read and said, to go on from"},
      ARG_THREADS(&threads),
      ARG_JSON(&j.json),
      ARG_QUIET(&j.quiet),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at < argc) return misuse(self, "generate takes no operands, found '%s'; a prompt is given with -p", argv[at]);
  linnet_set_threads(threads);
  return finish(self, &j);
}
