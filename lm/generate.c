#include "lm/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/atomic_file.h"
#include "kernels/bytes.h"
#include "kernels/file.h"
#include "kernels/utf8.h"

enum { NONE = -1 };

static size_t logits_of(const generation *g) { return (size_t)g->model->lm.config.vocab_size; }

status generation_new(generation *g, ctx *c, const text_model *m) {
  *g = (generation){.model = m, .c = c, .pending = NONE};
  const size_t V = logits_of(g);
  status s = rwkv_state_new(&g->state, &m->lm.config, 1);
  if (!s) s = spoken_new(&g->said, (int)V);
  g->logits = s ? NULL : mem_zero(V, sizeof *g->logits);
  g->scratch = g->logits ? mem_alloc(3 * V, sizeof *g->scratch) : NULL;
  if (g->scratch) {
    rwkv_state_start(&g->state, &m->lm);
    return STATUS_OK;
  }
  generation_free(g);
  return STATUS_MEMORY;
}

void generation_free(generation *g) {
  rwkv_state_free(&g->state);
  spoken_free(&g->said);
  free(g->logits);
  free(g->scratch);
  *g = (generation){.pending = NONE};
}

/* --- reading and drawing ------------------------------------------------------------------------------------------ */

static status read_ids(generation *g, const int32_t *ids, size_t n) {
  status s = rwkv_read(g->c, &g->model->lm, ids, (int64_t)n, NULL, RWKV_CHUNK, &g->state, g->logits);
  if (s) return s;
  for (size_t i = 0; i < logits_of(g); i++)
    if (isnan(g->logits[i]))
      return fail(STATUS_FORMAT, "after %lld tokens the model computes NaN: its weights are damaged or out of range",
                  (long long)g->state.tokens[0]);
  return STATUS_OK;
}

/* After it the logits are those of the next token, if anything was drawn or read before. */
static status read_pending(generation *g) {
  const int32_t id = g->pending;
  g->pending = NONE;
  return id == NONE ? STATUS_OK : read_ids(g, &id, 1);
}

status generation_read(generation *g, const int32_t *ids, size_t n, generation_progress progress, void *user) {
  status s = read_pending(g);
  for (int i = 0; n && i < g->said.n; i++) g->said.count[i] = NONE;
  for (size_t at = 0; !s && at < n; at += RWKV_CHUNK) {
    if (progress && !progress(user, at, n)) return fail(STATUS_INTERRUPTED, "interrupted while the prompt was read");
    s = read_ids(g, ids + at, n - at < RWKV_CHUNK ? n - at : RWKV_CHUNK);
  }
  return s;
}

generation_draw generation_draw_defaults(void) {
  return (generation_draw){.sample = {.temperature = 1, .top_p = 0.85f},
                           .penalty = {.presence = 0.2f, .frequency = 0.2f, .decay = 0.996f}};
}

status generation_next(generation *g, const generation_draw *draw, int32_t *id) {
  const size_t V = logits_of(g);
  if (g->pending == NONE && g->state.tokens[0] == 0) g->pending = TOKENIZER_END;
  status s = read_pending(g);
  if (s) return s;
  memcpy(g->scratch, g->logits, V * sizeof *g->logits);
  spoken_penalise(&g->said, &draw->penalty, g->scratch);
  rng random = rng_make(draw->seed, (uint64_t)g->state.tokens[0]);
  *id = sample_token(g->scratch, (int)V, &draw->sample, &random, g->scratch + V, NULL);
  if (*id == TOKENIZER_END) return STATUS_OK;
  size_t n;
  const char *bytes = tokenizer_bytes(g->model->words, *id, &n);
  spoken_add(&g->said, &draw->penalty, *id, spoken_weight(bytes, n));
  g->pending = *id;
  return STATUS_OK;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

/* Bytes on their way out. Those that may begin a stop text wait. */
typedef struct {
  const generate_options *options;
  utf8_stream stream;
  char *held, *shown;
  size_t n, room; /* of held */
} outlet;

/* Where the first stop text in the held bytes begins; n if there is none. */
static size_t find_stop(const outlet *o) {
  for (size_t at = 0; at < o->n; at++)
    for (int i = 0; i < o->options->n_stop; i++) {
      const size_t length = strlen(o->options->stop[i]);
      if (length <= o->n - at && !memcmp(o->held + at, o->options->stop[i], length)) return at;
    }
  return o->n;
}

/* Where the bytes begin that may become one. */
static size_t find_begun(const outlet *o) {
  for (size_t at = 0; at < o->n; at++)
    for (int i = 0; i < o->options->n_stop; i++)
      if (!strncmp(o->options->stop[i], o->held + at, o->n - at)) return at; /* no whole one is left: find_stop */
  return o->n;
}

/* Gives out the first n held bytes, at the end also a character that never became whole. */
static bool let_out(outlet *o, size_t n, bool ends) {
  size_t length = utf8_stream_push(&o->stream, o->held, n, o->shown);
  if (ends) length += utf8_stream_finish(&o->stream, o->shown + length);
  memmove(o->held, o->held + n, o->n - n);
  o->n -= n;
  return !o->options->on_text || o->options->on_text(o->options->user, o->shown, length);
}

static status take_in(outlet *o, const char *bytes, size_t n) {
  if (o->n + n > o->room || !o->room) {
    const size_t room = 2 * (o->n + n) + 64; /* a token is at most TOKENIZER_MAX_TEXT */
    char *held = mem_grow(o->held, room, 1), *shown = NULL;
    if (held) o->held = held;
    if (held) shown = mem_grow(o->shown, UTF8_STREAM_ROOM(room) + UTF8_STREAM_ROOM(0), 1);
    if (!shown) return STATUS_MEMORY;
    o->shown = shown;
    o->room = room;
  }
  if (n) memcpy(o->held + o->n, bytes, n);
  o->n += n;
  return STATUS_OK;
}

static status draw_all(generation *g, outlet *o, generate_result *r) {
  const generate_options *options = o->options;
  status s = take_in(o, NULL, 0);
  while (!s && (options->max_tokens < 0 || r->tokens < options->max_tokens)) {
    int32_t id;
    if ((s = generation_next(g, &options->draw, &id))) break;
    r->finish = GENERATE_END;
    if (id == TOKENIZER_END) break;
    r->tokens++;
    size_t n;
    const char *bytes = tokenizer_bytes(g->model->words, id, &n);
    if ((s = take_in(o, bytes, n))) break;
    const size_t stop = find_stop(o);
    r->finish = GENERATE_STOP;
    if (stop < o->n) {
      o->n = stop;
      break;
    }
    r->finish = GENERATE_INTERRUPTED;
    if (!let_out(o, find_begun(o), false)) break;
    r->finish = GENERATE_LENGTH;
  }
  if (!s && !let_out(o, o->n, true)) r->finish = GENERATE_INTERRUPTED;
  return s;
}

status generate(generation *g, const generate_options *options, generate_result *result) {
  *result = (generate_result){.finish = GENERATE_LENGTH};
  for (int i = 0; i < options->n_stop; i++)
    if (!*options->stop[i]) return fail(STATUS_ARGUMENT, "a stop text is empty");
  outlet o = {.options = options, .stream = {.damage = UTF8_REPLACE}};
  status s = draw_all(g, &o, result);
  free(o.held);
  free(o.shown);
  return s;
}

const char *generate_finish_name(generate_finish finish) {
  static const char *const names[] = {"length", "end", "stop", "interrupted"};
  return names[finish];
}

/* --- as a file: a header, the logits, the counts, the state as rwkv_state_save writes it ---------------------------
 */

static const char magic[8] = "rwkvtext";
enum { SIZE_AT = 8, HEADER = 12 };

static void put_floats(uint8_t *to, const float *from, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, from + i, sizeof bits);
    put_little(to + 4 * i, bits, 4);
  }
}

static void get_floats(float *to, const uint8_t *from, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const uint32_t bits = little32(from + 4 * i);
    memcpy(to + i, &bits, sizeof bits);
  }
}

status generation_save(generation *g, const char *path) {
  status s = read_pending(g);
  if (s) return s;
  const size_t V = logits_of(g), before = HEADER + 8 * V, n = before + rwkv_state_bytes(&g->state.config);
  uint8_t *bytes = mem_alloc(n, 1);
  if (!bytes) return STATUS_MEMORY;
  memcpy(bytes, magic, sizeof magic);
  put_little(bytes + SIZE_AT, V, 4);
  put_floats(bytes + HEADER, g->logits, V);
  put_floats(bytes + HEADER + 4 * V, g->said.count, V);
  rwkv_state_save(&g->state, 0, &g->model->lm, bytes + before);
  atomic_file *f = atomic_file_create(path);
  s = f ? STATUS_OK : last_status();
  if (f) {
    atomic_file_write(f, bytes, n); /* commit fails if it did */
    s = atomic_file_commit(f);
  }
  free(bytes);
  return s;
}

static status take_bytes(generation *g, const uint8_t *bytes, size_t n, const char *path) {
  const size_t V = logits_of(g), before = HEADER + 8 * V;
  if (n < HEADER || memcmp(bytes, magic, sizeof magic)) return fail(STATUS_FORMAT, "%s: not a saved text", path);
  if (little32(bytes + SIZE_AT) != V)
    return fail(STATUS_FORMAT, "%s: the saved text is of a model of %u tokens, this one knows %zu", path,
                little32(bytes + SIZE_AT), V);
  if (n < before) return fail(STATUS_FORMAT, "%s: the saved text is cut short", path);
  get_floats(g->scratch, bytes + HEADER, 2 * V);
  for (size_t i = 0; i < V; i++)
    if (isnan(g->scratch[i]) || !isfinite(g->scratch[V + i]))
      return fail(STATUS_FORMAT, "%s: the saved text holds NaN or infinity", path);
  status s = rwkv_state_load(&g->state, 0, &g->model->lm, bytes + before, n - before, path);
  if (s) return s;
  memcpy(g->logits, g->scratch, V * sizeof *g->logits);
  memcpy(g->said.count, g->scratch + V, V * sizeof *g->said.count);
  g->pending = NONE;
  return STATUS_OK;
}

status generation_load(generation *g, const char *path) {
  const void *bytes;
  size_t n;
  status s = file_map(path, &bytes, &n);
  if (s) return s;
  s = take_bytes(g, bytes, n, path);
  file_unmap(bytes, n);
  return s;
}
