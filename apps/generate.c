/* linnet generate: goes on with a text, or with many. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/generation.h"
#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "apps/prompts.h"
#include "data/tokenizer_stream.h"

extern const char generate_help[];
const char generate_help[] =
    "  linnet generate -m RWKV-6.gguf -p 'The Eiffel tower is'\n"
    "  linnet generate -m RWKV-7.pth --vocab rwkv_vocab_v20230424.txt -f prompt.txt -n 100 --temp 0\n"
    "  linnet generate -m RWKV-6.gguf -f book.txt -n 0 --state-save book.state\n"
    "  linnet generate -m RWKV-6.gguf --state-load book.state -p 'Question: who did it?'\n"
    "  linnet generate -m RWKV-6.gguf --prompts questions.jsonl --batch-size 16 > answers.jsonl\n\n"
    "Usage: linnet generate [options] < PROMPT\n\n"
    "Reads a prompt and writes what an RWKV language model (versions 4 to 7) goes on with, as it is\n"
    "found. The prompt is --prompt, or a --file, or standard input; with --state-load there need be\n"
    "none. The text ends after --n-predict tokens, at a --stop text, or where the model ends it.\n"
    "--prompts reads a JSON string, or an object {\"prompt\": TEXT, \"seed\": NUMBER}, from every line of\n"
    "a file, and writes a line of JSON for each in their order; --batch-size of them go on together.\n"
    "Draws: biases are added, what was said is penalised, the likeliest tokens up to --top-p are kept,\n"
    "of them --top-k, of them those of --min-p, and --temp applies last, as the models' authors do it.\n";

typedef struct {
  generation_args args;
  const char *prompt, *file, *prompts;
  int batch;
  arg_texts stop;
  size_t prompt_tokens;
  uint64_t done, next, size; /* bytes of the prompt: before its current piece, after it, in all if that is known */
  said said;                 /* for JSON: all of it */
  char last;                 /* byte of the text */
  progress bar;
  double start;
} job;

/* --- results ------------------------------------------------------------------------------------------------------ */

static bool on_text(void *user, const char *text, size_t n) {
  job *j = user;
  if (j->args.json) {
    said_keep(&j->said, text, n);
  } else if (n) {
    said_put(text, n);
    output_flush();
    j->last = text[n - 1];
  }
  return !interrupted && !j->said.failed;
}

static void report(const job *j, const generate_result *r) {
  if (j->args.json)
    json_print(said_json(&j->said, j->prompt_tokens, r), false);
  else if (j->last && j->last != '\n')
    putchar('\n');
}

/* --- the prompt, in pieces ---------------------------------------------------------------------------------------- */

static bool on_prompt(void *user, size_t done, size_t n) {
  job *j = user;
  const double spent = clock_seconds() - j->start,
               at = (double)j->done + (double)(j->next - j->done) * (double)done / (double)n,
               share = j->size ? at / (double)j->size : 0;
  char left[DURATION_TEXT];
  progress_show(&j->bar, share, "%zu prompt tokens  %.0f/s  %s left", j->prompt_tokens + done,
                (double)(j->prompt_tokens + done) / spent, duration_text(spent / share - spent, left));
  return !interrupted;
}

/* Reads ids that stand for the prompt's bytes up to `next`. */
static status read_ids(job *j, generation *g, const int32_t *ids, size_t n, uint64_t next) {
  j->next = next;
  const status s = generation_read(g, ids, n);
  j->done = next;
  j->prompt_tokens += n;
  return s;
}

static status read_pieces(job *j, generation *g, tokenizer_stream *stream, int descriptor, const char *name) {
  char piece[4096];
  for (;;) {
    const int32_t *ids;
    size_t count;
    const ssize_t n = read(descriptor, piece, sizeof piece);
    if (n < 0 && errno == EINTR) return fail(STATUS_INTERRUPTED, "interrupted while the prompt was read");
    if (n < 0) return fail(STATUS_IO, "%s: cannot read: %s", name, strerror(errno));
    status s =
        n ? tokenizer_stream_push(stream, piece, (size_t)n, &ids, &count) : tokenizer_stream_end(stream, &ids, &count);
    if (s) return fail_within("%s", name);
    s = read_ids(j, g, ids, count, stream->done);
    if (s || !n) return s;
  }
}

static status read_descriptor(job *j, generation *g, int descriptor, const char *name) {
  struct stat info;
  if (!fstat(descriptor, &info) && S_ISREG(info.st_mode)) j->size = (uint64_t)info.st_size;
  tokenizer_stream stream = tokenizer_stream_of(g->model->words);
  const status s = read_pieces(j, g, &stream, descriptor, name);
  tokenizer_stream_free(&stream);
  return s;
}

static status read_file(job *j, generation *g) {
  const int descriptor = open(j->file, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail(STATUS_IO, "%s: cannot open: %s", j->file, strerror(errno));
  const status s = read_descriptor(j, g, descriptor, j->file);
  close(descriptor);
  return s;
}

static status read_prompt(job *j, generation *g) {
  if (j->prompt) {
    j->size = j->next = strlen(j->prompt);
    return generation_read_text(g, j->prompt, j->size, &j->prompt_tokens);
  }
  if (j->file && strcmp(j->file, "-")) return read_file(j, g);
  return j->file || !j->args.load ? read_descriptor(j, g, STDIN_FILENO, "standard input") : STATUS_OK;
}

/* --- work --------------------------------------------------------------------------------------------------------- */

/* An interrupted text is saved like any other; one whose prompt was not read is not. */
static status work(void *user, generation *g) {
  job *j = user;
  generate_result r;
  g->progress = on_prompt;
  g->progress_user = j;
  j->start = clock_seconds();
  j->bar = progress_begin(j->args.quiet);
  status s = read_prompt(j, g);
  if (!s && !j->args.options.max_tokens) s = generation_settle(g); /* all of the prompt, before the bar goes */
  progress_end(&j->bar);
  if (!s) s = generate(g, &j->args.options, &r);
  if (!s && j->said.failed) s = fail(STATUS_MEMORY, "out of memory for the text");
  if (!s) report(j, &r);
  return s;
}

static int run_prompts(const verb *self, const job *j) {
  if (j->prompt || j->file) return misuse(self, "--prompts excludes --prompt and --file");
  if (j->args.save) return misuse(self, "--state-save is for one text; --prompts gives several");
  prompts_job many = {&j->args, j->prompts, j->batch};
  return generation_run(&j->args, prompts_run, &many);
}

static int run_one(const verb *self, job *j) {
  if (j->prompt && j->file) return misuse(self, "--prompt and --file exclude each other");
  if (!j->prompt && !j->file && !j->args.load && isatty(STDIN_FILENO))
    return misuse(self, "there is no prompt; give one with --prompt, --file or on standard input");
  j->args.options.on_text = on_text;
  j->args.options.user = j;
  const int code = generation_run(&j->args, work, j);
  said_free(&j->said);
  return code;
}

int run_generate(const verb *self, int argc, char **argv) {
  job j = {.args.options = {.draw = generation_draw_defaults(), .max_tokens = 256}, .batch = 8};
  int at, code;
  const arg list[] = {
      {"prompt", 'p', ARG_TEXT, &j.prompt, 0, 0, "TEXT", "the text to go on with"},
      {"file", 'f', ARG_TEXT, &j.file, 0, 0, "PATH", "a file that holds it; - is standard input"},
      {"prompts", 0, ARG_TEXT, &j.prompts, 0, 0, "PATH", "a file of many, JSON Lines; - is standard input"},
      {"batch-size", 'b', ARG_INT, &j.batch, 1, 1024, "N", "of --prompts: how many go on together"},
      {"stop", 0, ARG_TEXTS, &j.stop, 0, 0, "TEXT", "end where the model says this; may be given several times"},
      GENERATION_ARGS(j.args),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at < argc) return misuse(self, "generate takes no operands, found '%s'; a prompt is given with -p", argv[at]);
  if ((code = generation_args_check(self, &j.args)) >= 0) return code;
  j.args.options.stop = j.stop.item;
  j.args.options.n_stop = j.stop.n;
  return j.prompts ? run_prompts(self, &j) : run_one(self, &j);
}
