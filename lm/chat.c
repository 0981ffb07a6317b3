#include "lm/chat.h"

#include <stdlib.h>
#include <string.h>

static const char blank_line[] = "\n\n";

generation_draw chat_draw_defaults(void) {
  return (generation_draw){.sample = {.temperature = 1, .top_p = 0.3f},
                           .penalty = {.presence = 0.5f, .frequency = 0.5f, .decay = 0.996f}};
}

/* --- the user's turn ---------------------------------------------------------------------------------------------- */

static bool is_blank(char byte) { return byte && memchr(" \t\n\v\f\r", byte, 6); }

size_t chat_clean(char *text, size_t n) {
  size_t from = 0, to = 0;
  while (n && is_blank(text[n - 1])) n--;
  while (from < n && is_blank(text[from])) from++;
  for (; from < n; from++) {
    if (text[from] == '\r' && text[from + 1] == '\n') continue; /* the last byte is not blank */
    if (text[from] == '\n' && text[to - 1] == '\n') continue;   /* nor is the first */
    text[to++] = text[from];
  }
  return to;
}

/* Reads before + cleaned text + after. */
static status read_turn(generation *g, const char *before, const char *text, size_t n, const char *after,
                        size_t *tokens) {
  const size_t front = strlen(before), back = strlen(after);
  size_t room;
  if (!size_add(n, front + back, &room)) return fail(STATUS_MEMORY, "a turn is too long");
  char *turn = mem_alloc(room, 1);
  if (!turn) return STATUS_MEMORY;
  memcpy(turn, before, front);
  if (n) memcpy(turn + front, text, n);
  const size_t cleaned = chat_clean(turn + front, n);
  memcpy(turn + front + cleaned, after, back);
  const status s = generation_read_text(g, turn, front + cleaned + back, tokens);
  free(turn);
  return s;
}

status chat_system(generation *g, const char *text, size_t n) {
  if (!generation_fresh(g))
    return fail(STATUS_ARGUMENT, "a system text stands at the beginning of a conversation, and this one has begun");
  size_t tokens;
  return read_turn(g, "System: ", text, n, blank_line, &tokens);
}

status chat_ask(generation *g, const char *text, size_t n, size_t *tokens) {
  return read_turn(g, "User: ", text, n, "\n\nAssistant:", tokens);
}

/* --- the model's turn --------------------------------------------------------------------------------------------- */

/* Leaves out the blanks that a reply begins with. */
typedef struct {
  const generate_options *options;
  bool begun;
} trimmer;

static bool trim(void *user, const char *text, size_t n) {
  trimmer *t = user;
  while (n && !t->begun && is_blank(*text)) text++, n--;
  t->begun = t->begun || n;
  return !t->options->on_text || t->options->on_text(t->options->user, text, n);
}

/* A token may hold the blank line and more: then the bytes up to its end stand for it. */
static status cut_after(generation *g, size_t beyond) {
  size_t n, tokens;
  const char *bytes = tokenizer_bytes(g->model->words, g->waiting[--g->n_waiting], &n);
  return generation_read_text(g, bytes, n - beyond, &tokens);
}

status chat_reply(generation *g, const generate_options *options, generate_result *result) {
  const char *const stop = blank_line;
  generate_options o = *options;
  trimmer t = {.options = options};
  o.stop = &stop;
  o.n_stop = 1;
  o.on_text = trim;
  o.user = &t;
  size_t tokens;
  const status s = generate(g, &o, result);
  if (s) return s;
  if (result->finish != GENERATE_STOP) return generation_read_text(g, blank_line, strlen(blank_line), &tokens);
  return result->beyond ? cut_after(g, result->beyond) : STATUS_OK;
}
