#include "lm/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/atomic_file.h"
#include "kernels/bytes.h"
#include "kernels/file.h"
#include "kernels/utf8.h"

static size_t logits_of(const generation *g) { return (size_t)g->model->lm.config.vocab_size; }

status generation_new(generation *g, ctx *c, const text_model *m) {
  *g = (generation){.model = m, .c = c};
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

status generation_fork(generation *to, const generation *from) {
  status s = generation_new(to, from->c, from->model);
  if (s) return s;
  const size_t V = logits_of(from);
  rwkv_state_copy_row(&to->state, 0, &from->state, 0);
  memcpy(to->logits, from->logits, V * sizeof *to->logits);
  memcpy(to->waiting, from->waiting, sizeof to->waiting);
  memcpy(to->said.count, from->said.count, V * sizeof *to->said.count);
  to->n_waiting = from->n_waiting;
  to->progress = from->progress;
  to->progress_user = from->progress_user;
  return STATUS_OK;
}

void generation_free(generation *g) {
  rwkv_state_free(&g->state);
  spoken_free(&g->said);
  free(g->logits);
  free(g->scratch);
  *g = (generation){0};
}

/* --- reading and drawing ------------------------------------------------------------------------------------------ */

/* What n texts have after rows of `state` were read for them: logits [n,V], and their lengths. */
static status take_logits(generation *const *g, int n, const rwkv_state *state, const float *logits) {
  for (int i = 0; i < n; i++) {
    const size_t V = logits_of(g[i]);
    g[i]->state.tokens[0] = state->tokens[i];
    memcpy(g[i]->logits, logits + (size_t)i * V, V * sizeof *logits);
    if (params_check_result(g[i]->logits, V)) return fail_within("after %lld tokens", (long long)g[i]->state.tokens[0]);
  }
  return STATUS_OK;
}

/* Reads in one pass what waits of n texts (something does), whose states are the rows of `state`. */
static status read_waiting(generation *const *g, int n, rwkv_state *state) {
  ctx *c = g[0]->c;
  const text_model *m = g[0]->model;
  const arena_mark mark = arena_here(c->memory);
  size_t T = 0;
  for (int i = 0; i < n; i++)
    if ((size_t)g[i]->n_waiting > T) T = (size_t)g[i]->n_waiting;
  int32_t *ids = arena_alloc(c->memory, (size_t)n * T * sizeof *ids),
          *lengths = arena_alloc(c->memory, (size_t)n * sizeof *lengths);
  float *logits = arena_alloc(c->memory, (size_t)n * logits_of(g[0]) * sizeof *logits);
  status s = ids && lengths && logits ? STATUS_OK : last_status();
  for (int i = 0; !s && i < n; i++) {
    memcpy(ids + (size_t)i * T, g[i]->waiting, (size_t)g[i]->n_waiting * sizeof *ids);
    lengths[i] = g[i]->n_waiting;
    g[i]->n_waiting = 0;
  }
  if (!s) s = rwkv_read(c, &m->lm, ids, (int64_t)T, lengths, RWKV_CHUNK, state, logits);
  if (!s) s = take_logits(g, n, state, logits);
  arena_release(c->memory, mark);
  return s;
}

status generation_settle(generation *g) { return g->n_waiting ? read_waiting(&g, 1, &g->state) : STATUS_OK; }
bool generation_fresh(const generation *g) { return !g->n_waiting && !g->state.tokens[0]; }

status generation_read(generation *g, const int32_t *ids, size_t n) {
  status s = STATUS_OK;
  for (int i = 0; n && i < g->said.n; i++) g->said.count[i] = -1;
  for (size_t at = 0; !s && at < n; at++) {
    const bool full = g->n_waiting == RWKV_CHUNK;
    if (full && g->progress && !g->progress(g->progress_user, at, n))
      return fail(STATUS_INTERRUPTED, "interrupted while the prompt was read");
    if (full) s = generation_settle(g);
    if (!s) g->waiting[g->n_waiting++] = ids[at];
  }
  return s;
}

status generation_read_text(generation *g, const char *text, size_t n, size_t *tokens) {
  int32_t *ids;
  status s = tokenizer_ids(g->model->words, text, n, &ids, tokens);
  if (s) return s;
  s = generation_read(g, ids, *tokens);
  free(ids);
  return s;
}

generation_draw generation_draw_defaults(void) {
  return (generation_draw){.sample = {.temperature = 1, .top_p = 0.85f},
                           .penalty = {.presence = 0.2f, .frequency = 0.2f, .decay = 0.996f}};
}

static status check_draw(const generation *g, const generation_draw *draw) {
  for (int i = 0; i < draw->n_bias; i++) {
    const logit_bias *b = draw->bias + i;
    if (b->id < 0 || (size_t)b->id >= logits_of(g))
      return fail(STATUS_ARGUMENT, "a bias is for token %d, but the model knows tokens 0 to %zu", (int)b->id,
                  logits_of(g) - 1);
    if (!(b->add < INFINITY)) return fail(STATUS_ARGUMENT, "the bias of token %d is no number", (int)b->id);
  }
  return STATUS_OK;
}

/* A text without a prompt begins after the token that ends one. */
static void begin_text(generation *g) {
  if (generation_fresh(g)) g->waiting[g->n_waiting++] = TOKENIZER_END;
}

/* As generation_next; nothing waits. */
static status draw_token(generation *g, const generation_draw *draw, int32_t *id) {
  const size_t V = logits_of(g);
  memcpy(g->scratch, g->logits, V * sizeof *g->logits);
  for (int i = 0; i < draw->n_bias; i++) g->scratch[draw->bias[i].id] += draw->bias[i].add;
  spoken_penalise(&g->said, &draw->penalty, g->scratch);
  rng random = rng_make(draw->seed, (uint64_t)g->state.tokens[0]);
  *id = sample_token(g->scratch, (int)V, &draw->sample, &random, g->scratch + V, NULL);
  if (g->scratch[*id] == -INFINITY) return fail(STATUS_ARGUMENT, "every token is forbidden");
  if (*id == TOKENIZER_END) return STATUS_OK;
  size_t n;
  const char *bytes = tokenizer_bytes(g->model->words, *id, &n);
  spoken_add(&g->said, &draw->penalty, *id, spoken_weight(bytes, n));
  g->waiting[g->n_waiting++] = *id;
  return STATUS_OK;
}

status generation_next(generation *g, const generation_draw *draw, int32_t *id) {
  status s = check_draw(g, draw);
  if (s) return s;
  begin_text(g);
  s = generation_settle(g);
  return s ? s : draw_token(g, draw, id);
}

/* --- text --------------------------------------------------------------------------------------------------------- */

/* Bytes on their way out. Those that may begin a stop text wait. */
typedef struct {
  const generate_options *options;
  utf8_stream stream;
  char *held, *shown;
  size_t n, room; /* of held */
} outlet;

/* Where the first stop text in the held bytes begins, and its length; n if there is none. */
static size_t find_stop(const outlet *o, size_t *length) {
  for (size_t at = 0; at < o->n; at++)
    for (int i = 0; i < o->options->n_stop; i++) {
      *length = strlen(o->options->stop[i]);
      if (*length <= o->n - at && !memcmp(o->held + at, o->options->stop[i], *length)) return at;
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

/* The end of the text: gives out what is held. Nobody can stop it any more. */
static void close_outlet(outlet *o) {
  let_out(o, o->n, true);
  free(o->held);
  free(o->shown);
}

/* --- several texts ------------------------------------------------------------------------------------------------ */

typedef struct {
  generate_text *text;
  outlet out;
  bool ended;
} rider;

typedef struct {
  const generate_source *source;
  rider *rider; /* [n] of `most` */
  int n, most;
  generation **g;   /* [most] a list for the time being */
  rwkv_state seats; /* if seated, its rows are the riders' states; of their own, only the lengths are up to date */
  bool seated;
} batch;

static bool full(const generate_text *t) {
  return t->options.max_tokens >= 0 && t->result.tokens >= t->options.max_tokens;
}

/* One token more of a text of which nothing waits. */
static status advance(rider *r) {
  generate_text *t = r->text;
  outlet *o = &r->out;
  int32_t id;
  size_t n, length;
  status s = draw_token(t->g, &t->options.draw, &id);
  if (s) return s;
  r->ended = true;
  t->result.finish = GENERATE_END;
  if (id == TOKENIZER_END) return STATUS_OK;
  t->result.tokens++;
  const char *bytes = tokenizer_bytes(t->g->model->words, id, &n);
  if ((s = take_in(o, bytes, n))) return s;
  const size_t stop = find_stop(o, &length);
  t->result.finish = GENERATE_STOP;
  if (stop < o->n) {
    t->result.beyond = o->n - stop - length;
    o->n = stop;
    return STATUS_OK;
  }
  t->result.finish = GENERATE_INTERRUPTED;
  if (!let_out(o, find_begun(o), false)) return STATUS_OK;
  t->result.finish = GENERATE_LENGTH;
  r->ended = full(t);
  return STATUS_OK;
}

static status seat(rwkv_state *seats, generation *const *g, int n) {
  status s = rwkv_state_new(seats, &g[0]->state.config, n);
  for (int i = 0; !s && i < n; i++) rwkv_state_copy_row(seats, i, &g[i]->state, 0);
  return s;
}

static void unseat(rwkv_state *seats, generation *const *g, int n) {
  for (int i = 0; i < n; i++) rwkv_state_copy_row(&g[i]->state, 0, seats, i);
  rwkv_state_free(seats);
}

static generation *const *all_of(batch *b) {
  for (int i = 0; i < b->n; i++) b->g[i] = b->rider[i].text->g;
  return b->g;
}

static void leave_seats(batch *b) {
  if (b->seated) unseat(&b->seats, all_of(b), b->n);
  b->seated = false;
}

/* Reads what waits of the texts of which `least` to `most` tokens do. */
static status read_some(batch *b, int least, int most) {
  int n = 0;
  for (int i = 0; i < b->n; i++) {
    generation *g = b->rider[i].text->g;
    if (g->n_waiting >= least && g->n_waiting <= most) b->g[n++] = g;
  }
  rwkv_state seats;
  status s = n ? seat(&seats, b->g, n) : STATUS_OK;
  if (s || !n) return s;
  s = read_waiting(b->g, n, &seats);
  unseat(&seats, b->g, n);
  return s;
}

/* Reads what waits. Prompts are read together and apart from single tokens, which would have to be filled up to the
 * length of a prompt. */
static status read_all(batch *b) {
  if (b->seated) return read_waiting(all_of(b), b->n, &b->seats);
  status s = read_some(b, 2, RWKV_CHUNK);
  if (!s) s = read_some(b, 1, 1);
  if (!s) s = seat(&b->seats, all_of(b), b->n);
  b->seated = !s;
  return s;
}

static status check_text(const generate_text *t) {
  for (int i = 0; i < t->options.n_stop; i++)
    if (!*t->options.stop[i]) return fail(STATUS_ARGUMENT, "a stop text is empty");
  return check_draw(t->g, &t->options.draw);
}

/* Takes texts in while there are places. */
static status board(batch *b) {
  while (b->n < b->most) {
    generate_text *t = NULL;
    status s = b->source->next(b->source->user, &t);
    if (s || !t) return s;
    if ((s = check_text(t))) return s;
    leave_seats(b);
    t->result = (generate_result){.finish = GENERATE_LENGTH};
    rider *r = &b->rider[b->n++];
    *r = (rider){.text = t, .out = {.options = &t->options, .stream = {.damage = UTF8_REPLACE}}, .ended = full(t)};
    if ((s = take_in(&r->out, NULL, 0))) return s;
    if (!r->ended) begin_text(t->g);
  }
  return STATUS_OK;
}

/* Those that have ended make room. */
static void alight(batch *b) {
  int kept = 0;
  for (int i = 0; i < b->n && !b->rider[i].ended; i++) kept++;
  if (kept == b->n) return;
  leave_seats(b);
  for (int i = kept; i < b->n; i++) {
    rider *r = &b->rider[i];
    if (r->ended) {
      close_outlet(&r->out);
      if (b->source->ended) b->source->ended(b->source->user, r->text);
    } else {
      b->rider[kept++] = *r;
    }
  }
  b->n = kept;
}

static status run(batch *b) {
  for (;;) {
    status s = board(b);
    if (s || !b->n) return s;
    alight(b); /* who wanted no token */
    if (b->n) s = read_all(b);
    for (int i = 0; !s && i < b->n; i++) s = advance(&b->rider[i]);
    if (s) return s;
    alight(b);
  }
}

status generate_many(int most, const generate_source *source) {
  batch b = {.source = source, .most = most};
  b.rider = mem_zero((size_t)most, sizeof *b.rider);
  b.g = b.rider ? mem_zero((size_t)most, sizeof(generation *)) : NULL;
  const status s = b.g ? run(&b) : STATUS_MEMORY;
  leave_seats(&b);
  for (int i = 0; i < b.n; i++) {
    free(b.rider[i].out.held);
    free(b.rider[i].out.shown);
  }
  free(b.rider);
  free(b.g);
  return s;
}

static status only_text(void *user, generate_text **text) {
  generate_text **one = user;
  *text = *one;
  *one = NULL;
  return STATUS_OK;
}

status generate(generation *g, const generate_options *options, generate_result *result) {
  generate_text one = {.g = g, .options = *options}, *next = &one;
  const status s = generate_many(1, &(generate_source){.next = only_text, .user = &next});
  *result = one.result;
  return s;
}

const char *generate_finish_name(generate_finish finish) {
  static const char *const names[] = {"length", "end", "stop", "interrupted"};
  return names[finish];
}

/* --- as a file: a header, the logits, the counts, the state as rwkv_state_save writes it -------------------------- */

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
  status s = generation_settle(g);
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
  g->n_waiting = 0;
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
