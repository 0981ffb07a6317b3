#include "apps/prompts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "data/json_lines.h"
#include "kernels/file.h"

enum { PROMPTS_MOST = 1 << 28 }; /* bytes of the file */

/* A text that is on its way. */
typedef struct {
  generation g;
  generate_text text;
} active;

typedef struct {
  char *prompt;
  size_t n, prompt_tokens;
  uint64_t seed;
  active *active; /* or NULL: before and after */
  bool ended;     /* with a result */
  generate_result result;
  said said;
} item;

typedef struct {
  const prompts_job *job;
  const generation *start;
  item *item; /* [n] */
  size_t n, room;
  size_t begun, ended, printed;
  int64_t tokens;
  double since;
  progress bar;
} run;

/* --- the file ----------------------------------------------------------------------------------------------------- */

static status add_item(void *user, const json_t *value, size_t line) {
  run *r = user;
  (void)line;
  const json_t *prompt = json_is_object(value) ? json_object_get(value, "prompt") : value,
               *seed = json_object_get(value, "seed"); /* NULL of what is no object */
  if (!json_is_string(prompt)) return fail(STATUS_FORMAT, "neither a string nor an object with a string \"prompt\"");
  if (seed && !(json_is_integer(seed) && json_integer_value(seed) >= 0))
    return fail(STATUS_FORMAT, "\"seed\" is no whole number from 0 up");
  item *all = mem_room(r->item, r->n, &r->room, sizeof *all);
  if (!all) return STATUS_MEMORY;
  r->item = all;
  const size_t n = json_string_length(prompt);
  char *copy = mem_alloc(n + 1, 1);
  if (!copy) return STATUS_MEMORY;
  memcpy(copy, json_string_value(prompt), n);
  const uint64_t usual = r->job->args->options.draw.seed;
  r->item[r->n++] = (item){.prompt = copy, .n = n, .seed = seed ? (uint64_t)json_integer_value(seed) : usual};
  return STATUS_OK;
}

static status read_items(run *r) {
  const bool is_stdin = !strcmp(r->job->path, "-");
  const char *name = is_stdin ? "standard input" : r->job->path;
  size_t n;
  char *bytes = is_stdin ? file_read_open(STDIN_FILENO, name, PROMPTS_MOST, &n) : file_read(name, PROMPTS_MOST, &n);
  const status s = bytes ? json_lines(name, bytes, n, add_item, r) : last_status();
  free(bytes);
  return s;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static void print_item(item *it) {
  json_t *line = json_pack("{s:o}", "prompt", json_stringn(it->prompt, it->n)),
         *rest = said_json(&it->said, it->prompt_tokens, &it->result);
  if (!line || json_object_update(line, rest)) line = (json_decref(line), NULL);
  json_decref(rest);
  json_print(line, true);
  said_free(&it->said);
}

/* Writes the results that stand, up to the first one missing, or `all` of them. */
static void print_items(run *r, bool all) {
  for (; r->printed < r->n && (all || r->item[r->printed].ended); r->printed++)
    if (r->item[r->printed].ended) print_item(&r->item[r->printed]);
  output_flush();
}

/* --- work --------------------------------------------------------------------------------------------------------- */

static bool on_text(void *user, const char *text, size_t n) {
  item *it = user;
  return said_keep(&it->said, text, n) && !interrupted;
}

static void release(item *it) {
  if (it->active) generation_free(&it->active->g);
  free(it->active);
  it->active = NULL;
}

/* Once the list is read, items stay where they are. */
static status next_item(void *user, generate_text **text) {
  run *r = user;
  *text = NULL;
  if (interrupted || r->begun == r->n) return STATUS_OK;
  item *it = &r->item[r->begun++];
  active *a = mem_zero(1, sizeof *a);
  status s = a ? generation_fork(&a->g, r->start) : STATUS_MEMORY;
  if (s) return free(a), s;
  it->active = a;
  a->text = (generate_text){.g = &a->g, .options = r->job->args->options};
  a->text.options.draw.seed = it->seed;
  a->text.options.on_text = on_text;
  a->text.options.user = it;
  *text = &a->text;
  return generation_read_text(&a->g, it->prompt, it->n, &it->prompt_tokens);
}

static void item_ended(void *user, generate_text *text) {
  run *r = user;
  item *it = text->options.user;
  it->result = text->result;
  it->ended = it->result.finish != GENERATE_INTERRUPTED; /* or its text is a part of one */
  release(it);
  if (!it->ended) return;
  r->ended++;
  r->tokens += it->result.tokens;
  print_items(r, false);
  char left[DURATION_TEXT];
  const double spent = clock_seconds() - r->since, share = (double)r->ended / (double)r->n;
  progress_show(&r->bar, share, "%zu of %zu texts  %.0f tokens/s  %s left", r->ended, r->n, (double)r->tokens / spent,
                duration_text(spent / share - spent, left));
}

static status go_on(run *r) {
  status s = read_items(r);
  if (s) return s;
  r->since = clock_seconds();
  r->bar = progress_begin(r->job->args->quiet || isatty(STDOUT_FILENO));
  s = generate_many(r->job->batch, &(generate_source){next_item, item_ended, r});
  progress_end(&r->bar);
  print_items(r, true); /* whatever came to an end stands */
  for (size_t i = 0; !s && i < r->n; i++)
    if (r->item[i].said.failed) s = fail(STATUS_MEMORY, "out of memory for the text of prompt %zu", i + 1);
  return s;
}

status prompts_run(void *user, generation *start) {
  run r = {.job = user, .start = start};
  const status s = go_on(&r);
  for (size_t i = 0; i < r.n; i++) {
    release(&r.item[i]);
    said_free(&r.item[i].said);
    free(r.item[i].prompt);
  }
  free(r.item);
  return s;
}
