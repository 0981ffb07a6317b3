/* linnet chat: a conversation. */
#include "lm/chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/generation.h"
#include "apps/interrupt.h"
#include "apps/output.h"

extern const char chat_help[];
const char chat_help[] =
    "  linnet chat -m RWKV-6.gguf\n"
    "  linnet chat -m RWKV-6.gguf --system 'Answer in one sentence.' --state-save talk.state\n"
    "  linnet chat -m RWKV-6.gguf --state-load talk.state --state-save talk.state\n"
    "  printf 'What is a linnet?\\nAnd what does it eat?\\n' | linnet chat -m RWKV-6.gguf --json\n\n"
    "Usage: linnet chat [options]\n\n"
    "Answers every line of standard input, in the conversation format of the World models:\n"
    "'User: LINE', a blank line, 'Assistant:', and the model's words up to a blank line. All that was\n"
    "said before counts, however long ago, and memory does not grow with it. The end of the input\n"
    "(Ctrl-D) ends the conversation, and so does Ctrl-C.\n";

enum { LINE_MOST = 16 << 20 }; /* bytes */

typedef struct {
  generation_args args;
  const char *system;
  said said; /* for JSON: the reply */
  bool asks; /* a terminal is on the other side */
} job;

/* --- lines -------------------------------------------------------------------------------------------------------- */

typedef struct {
  char *bytes;
  size_t at, n, room; /* bytes[at..n) were not taken yet */
  size_t number;
} lines;

/* More bytes of standard input behind those that are there; *more is 0 at its end. */
static status refill(lines *in, size_t *more) {
  if (in->at) memmove(in->bytes, in->bytes + in->at, in->n - in->at);
  in->n -= in->at;
  in->at = 0;
  if (in->n > LINE_MOST)
    return fail(STATUS_FORMAT, "standard input: line %zu is longer than %d bytes", in->number, LINE_MOST);
  if (in->n == in->room) {
    const size_t room = in->room ? 2 * in->room : 4096;
    char *bytes = mem_grow(in->bytes, room, 1);
    if (!bytes) return STATUS_MEMORY;
    in->bytes = bytes;
    in->room = room;
  }
  const ssize_t n = read(STDIN_FILENO, in->bytes + in->n, in->room - in->n);
  *more = n > 0 ? (size_t)n : 0;
  in->n += *more;
  if (n < 0 && errno != EINTR) return fail(STATUS_IO, "standard input: cannot read: %s", strerror(errno));
  return STATUS_OK;
}

/* The next line, without its end; NULL when there is none, or an interrupt. It stands until the next call. */
static status next_line(lines *in, char **line, size_t *n) {
  in->number++;
  *line = NULL;
  size_t seen = 0, more = 1; /* bytes of the line in which no end is */
  char *end = NULL;
  while (more && !interrupted) {
    if (in->n > in->at + seen && (end = memchr(in->bytes + in->at + seen, '\n', in->n - in->at - seen))) break;
    seen = in->n - in->at;
    const status s = refill(in, &more);
    if (s) return s;
  }
  if (interrupted || (!end && in->at == in->n)) return STATUS_OK;
  *line = in->bytes + in->at;
  *n = end ? (size_t)(end - *line) : in->n - in->at;
  in->at += *n + (end != NULL);
  return STATUS_OK;
}

/* --- turns -------------------------------------------------------------------------------------------------------- */

static bool on_text(void *user, const char *text, size_t n) {
  job *j = user;
  if (j->args.json) {
    said_keep(&j->said, text, n);
  } else if (n) {
    said_put(text, n);
    output_flush();
  }
  return !interrupted && !j->said.failed;
}

static bool on_prompt(void *user, size_t done, size_t n) {
  (void)user, (void)done, (void)n;
  return !interrupted;
}

static status answer(job *j, generation *g, const char *line, size_t n) {
  generate_result r;
  size_t tokens;
  status s = chat_ask(g, line, n, &tokens);
  if (!s) s = chat_reply(g, &j->args.options, &r);
  if (!s && j->said.failed) s = fail(STATUS_MEMORY, "out of memory for the reply");
  if (s) return s;
  if (j->args.json)
    json_print(said_json(&j->said, tokens, &r), true);
  else
    putchar('\n');
  output_flush();
  j->said.n = 0;
  return STATUS_OK;
}

static status converse(job *j, generation *g, lines *in) {
  for (;;) {
    char *line;
    size_t n;
    if (j->asks) fputs("> ", stderr);
    const status s = next_line(in, &line, &n);
    if (s) return s;
    if (!line) break;
    n = chat_clean(line, n);
    const status answered = n ? answer(j, g, line, n) : STATUS_OK; /* blank lines are nobody's turn */
    if (answered || interrupted) return answered;
  }
  if (j->asks) fputs("\n", stderr);
  return STATUS_OK;
}

static status work(void *user, generation *g) {
  job *j = user;
  lines in = {0};
  g->progress = on_prompt;
  status s = j->system ? chat_system(g, j->system, strlen(j->system)) : STATUS_OK;
  if (!s) s = converse(j, g, &in);
  free(in.bytes);
  return s;
}

int run_chat(const verb *self, int argc, char **argv) {
  job j = {.args.options = {.draw = chat_draw_defaults(), .max_tokens = 1024}};
  int at, code;
  const arg list[] = {
      {"system", 0, ARG_TEXT, &j.system, 0, 0, "TEXT", "what the conversation is to follow; at its beginning only"},
      GENERATION_ARGS(j.args),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at < argc) return misuse(self, "chat takes no operands, found '%s'; it answers standard input", argv[at]);
  if ((code = generation_args_check(self, &j.args)) >= 0) return code;
  j.asks = isatty(STDIN_FILENO) && !j.args.quiet;
  j.args.options.on_text = on_text;
  j.args.options.user = &j;
  code = generation_run(&j.args, work, &j);
  said_free(&j.said);
  return code;
}
