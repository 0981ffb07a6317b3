#include "apps/generation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/interrupt.h"
#include "apps/model.h"
#include "apps/output.h"
#include "linnet.h"

/* --- options ------------------------------------------------------------------------------------------------------ */

/* "ID+X" or "ID-X". */
static bool read_bias(const char *text, logit_bias *b) {
  char number[16];
  int64_t id;
  double add;
  const size_t n = strcspn(text, "+-");
  if (n >= sizeof number || !text[n]) return false;
  memcpy(number, text, n);
  number[n] = 0;
  if (!number_whole(number, 0, INT32_MAX, &id) || !number_real(text + n, -INFINITY, 1e30, &add)) return false;
  *b = (logit_bias){.id = (int32_t)id, .add = add < -1e30 ? -INFINITY : (float)add};
  return true;
}

int generation_args_check(const verb *self, generation_args *a) {
  for (int i = 0; i < a->bias_texts.n; i++)
    if (!read_bias(a->bias_texts.item[i], &a->bias[i]))
      return misuse(self,
                    "--logit-bias: expected a token's number, + or -, and a number or inf (15-1.5, 0-inf), found '%s'",
                    a->bias_texts.item[i]);
  a->options.draw.bias = a->bias;
  a->options.draw.n_bias = a->bias_texts.n;
  linnet_set_threads(a->threads);
  return -1;
}

/* --- work --------------------------------------------------------------------------------------------------------- */

static status run_with(const generation_args *a, const text_model *model, ctx *c, generation_work work, void *user) {
  generation g;
  status s = generation_new(&g, c, model);
  if (s) return s;
  if (a->load) s = generation_load(&g, a->load);
  if (!s) s = work(user, &g);
  if (!s && a->save) s = generation_save(&g, a->save);
  generation_free(&g);
  return s;
}

int generation_run(const generation_args *a, generation_work work, void *user) {
  watch_interrupts();
  const char *path = model_path(a->model, SHIPPED_TEXT);
  text_model *model = path ? text_model_open(path, a->vocabulary) : NULL;
  ctx *c = model && (!a->states || !text_model_start(model, a->states)) ? ctx_new() : NULL;
  const status s = c ? run_with(a, model, c, work, user) : last_status();
  ctx_free(c);
  text_model_close(model);
  output_flush(); /* what was said stands before a sentence */
  return s ? failed() : interrupted ? EXIT_INTERRUPTED : EXIT_DONE;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

void said_put(const char *text, size_t n) {
  for (size_t at = 0; at < n;) {
    size_t plain = 0;
    while (at + plain < n && text[at + plain] != '\n' && text[at + plain] != '\t') plain++;
    text_put(stdout, text + at, plain);
    at += plain;
    if (at < n) putchar(text[at++]);
  }
}

bool said_keep(said *s, const char *text, size_t n) {
  if (n > s->room - s->n) {
    const size_t room = 2 * (s->n + n);
    char *bytes = mem_grow(s->bytes, room, 1);
    s->failed = s->failed || !bytes;
    if (!bytes) return false;
    s->bytes = bytes;
    s->room = room;
  }
  if (n) memcpy(s->bytes + s->n, text, n);
  s->n += n;
  return true;
}

void said_free(said *s) {
  free(s->bytes);
  *s = (said){0};
}

json_t *said_json(const said *s, size_t tokens_read, const generate_result *r) {
  return json_pack("{s:o,s:I,s:I,s:s}", "text", json_stringn(s->n ? s->bytes : "", s->n), "prompt_tokens",
                   (json_int_t)tokens_read, "tokens", (json_int_t)r->tokens, "finish", generate_finish_name(r->finish));
}
