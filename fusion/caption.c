#include "fusion/caption.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/utf8.h"

/* One answer being written. */
typedef struct {
  int32_t *ids; /* max_tokens */
  int n;
  double log_probability;
  bool done;
} hypothesis;

/* Rows of answers that advance in step, with their language model state. */
typedef struct {
  ctx *c;
  const visualrwkv *m;
  const caption_options *o;
  int rows, vocabulary;
  hypothesis *row;
  rwkv_state state;
  float *logits;  /* [rows, vocabulary], of the next token */
  float *scratch; /* 2 * vocabulary */
} decoder;

static void decoder_free(decoder *d) {
  for (int i = 0; d->row && i < d->rows; i++) free(d->row[i].ids);
  free(d->row);
  free(d->logits);
  free(d->scratch);
  rwkv_state_free(&d->state);
}

static status decoder_new(decoder *d, ctx *c, const visualrwkv *m, const caption_options *o, int rows) {
  *d = (decoder){.c = c, .m = m, .o = o, .rows = rows, .vocabulary = m->config.lm.vocab_size};
  d->row = mem_zero((size_t)rows, sizeof *d->row);
  d->logits = mem_alloc((size_t)rows * (size_t)d->vocabulary, sizeof *d->logits);
  d->scratch = mem_alloc(2 * (size_t)d->vocabulary, sizeof *d->scratch);
  if (!d->row || !d->logits || !d->scratch) return STATUS_MEMORY;
  for (int i = 0; i < rows; i++)
    if (!(d->row[i].ids = mem_alloc((size_t)o->max_tokens, sizeof(int32_t)))) return STATUS_MEMORY;
  return rwkv_state_new(&d->state, &m->config.lm, rows);
}

/* Reads the prompt of B pictures; row i of the decoder starts from picture i / copies. */
static status read_pictures(decoder *d, const tensor *pixels, int copies) {
  const visualrwkv *m = d->m;
  int64_t B = pixels->dim[0];
  size_t V = (size_t)d->vocabulary;
  rwkv_state state;
  status s = rwkv_state_new(&state, &m->config.lm, (int)B);
  if (s) return s;
  rwkv_state_start(&state, &m->lm);
  tensor *x = visualrwkv_sequence(d->c, m, visualrwkv_image_tokens(d->c, m, pixels, NULL), NULL, &state);
  tensor *logits = rwkv_logits(d->c, &m->lm, rwkv_last(d->c, x, NULL));
  for (int i = 0; logits && i < d->rows; i++) {
    memcpy(d->logits + (size_t)i * V, f32(logits) + (size_t)(i / copies) * V, V * sizeof(float));
    rwkv_state_copy_row(&d->state, i, &state, i / copies);
  }
  rwkv_state_free(&state);
  ctx_reset(d->c);
  return logits ? params_check_result(d->logits, (size_t)d->rows * V) : last_status();
}

/* Feeds its last token to every row (finished rows too; what they say is ignored). */
static status advance(decoder *d) {
  ctx *c = d->c;
  ctx_reset(c);
  tensor *ids = tensor_2d(c, DTYPE_I32, d->rows, 1);
  for (int i = 0; ids && i < d->rows; i++) i32(ids)[i] = d->row[i].ids[d->row[i].n - 1];
  tensor *x = rwkv_forward(c, &d->m->lm, rwkv_embed(c, &d->m->lm, ids), &(rwkv_input){.state = &d->state});
  tensor *logits = rwkv_logits(c, &d->m->lm, x);
  if (!logits) return last_status();
  const size_t n = (size_t)d->rows * (size_t)d->vocabulary;
  memcpy(d->logits, logits->data, n * sizeof(float));
  return params_check_result(d->logits, n);
}

static bool all_done(const decoder *d) {
  for (int i = 0; i < d->rows; i++)
    if (!d->row[i].done) return false;
  return true;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

/* An answer's text as it grows: valid UTF-8, nothing from a blank line on, no blanks at either end. */
typedef struct {
  utf8_stream stream;
  char *text;      /* from the first byte that is not blank */
  size_t n, solid; /* bytes; up to and with the last that is not blank */
  size_t shown;    /* handed to on_token */
  char last;
  bool closed; /* by a blank line */
} writing;

static bool is_blank(char byte) { return byte && strchr(" \t\r\n", byte); }

/* Adds a token's text, or with id -1 what is left at the end. */
static status write_token(writing *w, const visualrwkv *m, int32_t id) {
  size_t n = 0;
  const char *bytes = id >= 0 ? tokenizer_bytes(m->words, id, &n) : NULL;
  char *text = mem_grow(w->text, w->n + UTF8_STREAM_ROOM(n) + 1, 1);
  if (!text) return STATUS_MEMORY;
  w->text = text;
  const char *ready = text + w->n;
  size_t n_ready =
      id >= 0 ? utf8_stream_push(&w->stream, bytes, n, text + w->n) : utf8_stream_finish(&w->stream, text + w->n);
  for (size_t i = 0; i < n_ready && !w->closed; i++) {
    char byte = ready[i];
    w->closed = byte == '\n' && w->last == '\n';
    w->last = byte;
    if (!byte || (!w->n && is_blank(byte))) continue; /* a zero byte would end the text for its readers */
    text[w->n++] = byte;
    if (!is_blank(byte)) w->solid = w->n;
  }
  return STATUS_OK;
}

/* Hands on what is new and cannot be a blank at the end. */
static status show(writing *w, const caption_options *o) {
  size_t from = w->shown;
  w->shown = w->solid;
  return from == w->solid || o->on_token(o->user, w->text + from, w->solid - from)
             ? STATUS_OK
             : fail(STATUS_INTERRUPTED, "the caption was stopped by its reader");
}

/* --- greedy and sampled ------------------------------------------------------------------------------------------- */

static bool is_end(const decoder *d, int32_t id) { return id == d->m->stop || id == TOKENIZER_END; }

static status stream_token(const decoder *d, writing *w, int32_t id) {
  status s = write_token(w, d->m, id);
  return s ? s : show(w, d->o);
}

static status sample_rows(decoder *d) {
  writing w = {.stream = {.damage = UTF8_REPLACE}};
  status s = STATUS_OK;
  rng *random = mem_alloc((size_t)d->rows, sizeof *random);
  if (!random) return STATUS_MEMORY;
  for (int i = 0; i < d->rows; i++) random[i] = rng_make(d->o->seed, (uint64_t)i);
  while (!s) {
    for (int i = 0; i < d->rows && !s; i++) {
      hypothesis *h = &d->row[i];
      if (h->done) continue;
      double log_probability;
      int32_t id = sample_token(d->logits + (size_t)i * (size_t)d->vocabulary, d->vocabulary, &d->o->sample, &random[i],
                                d->scratch, &log_probability);
      h->ids[h->n++] = id;
      h->log_probability += log_probability;
      h->done = is_end(d, id) || h->n == d->o->max_tokens;
      if (d->o->on_token && !is_end(d, id)) s = stream_token(d, &w, id);
    }
    if (s || all_done(d)) break;
    s = advance(d);
  }
  if (!s && d->o->on_token) s = stream_token(d, &w, -1);
  free(w.text);
  free(random);
  return s;
}

/* --- beam search (one picture; the rows are the beam) ------------------------------------------------------------- */

typedef struct {
  int from;     /* row it continues */
  int32_t id;   /* -1: a finished hypothesis kept as it is */
  double score; /* total log probability */
} candidate;

/* Mean log probability a token: longer answers are not punished for their length. */
static double final_score(const hypothesis *h) { return h->log_probability / (h->n ? h->n : 1); }
static double rank_of(const decoder *d, const candidate *a) {
  const hypothesis *h = &d->row[a->from];
  return a->score / (h->n + (a->id >= 0 ? 1 : 0));
}

/* Puts a candidate into the list of the best, kept in descending order. */
static void keep_best(const decoder *d, candidate *best, int *n, candidate x) {
  int at = *n;
  while (at > 0 && rank_of(d, &best[at - 1]) < rank_of(d, &x)) at--;
  if (at == d->rows) return;
  if (*n < d->rows) ++*n;
  memmove(best + at + 1, best + at, (size_t)(*n - 1 - at) * sizeof *best);
  best[at] = x;
}

static int best_continuations(const decoder *d, bool first, candidate *best) {
  int n = 0;
  for (int i = 0; i < (first ? 1 : d->rows); i++) { /* at first all rows are the same */
    const hypothesis *h = &d->row[i];
    if (h->done) {
      keep_best(d, best, &n, (candidate){i, -1, h->log_probability});
      continue;
    }
    const float *logits = d->logits + (size_t)i * (size_t)d->vocabulary;
    double total = log_sum_exp(logits, d->vocabulary);
    for (int32_t v = 0; v < d->vocabulary; v++)
      keep_best(d, best, &n, (candidate){i, v, h->log_probability + logits[v] - total});
  }
  return n;
}

/* Rearranges rows and states so that row j continues best[j]. */
static void take(decoder *d, decoder *old, const candidate *best, int n) {
  for (int j = 0; j < d->rows; j++) {
    const candidate *x = &best[j < n ? j : n - 1];
    const hypothesis *from = &d->row[x->from];
    hypothesis *to = &old->row[j];
    memcpy(to->ids, from->ids, (size_t)from->n * sizeof *to->ids);
    to->n = from->n;
    to->log_probability = x->score;
    to->done = from->done;
    if (x->id >= 0) {
      to->ids[to->n++] = x->id;
      to->done = is_end(d, x->id) || to->n == d->o->max_tokens;
    }
    rwkv_state_copy_row(&old->state, j, &d->state, x->from);
  }
  decoder swap = *d;
  d->row = old->row;
  d->state = old->state;
  old->row = swap.row;
  old->state = swap.state;
}

static status search_beam(decoder *d) {
  decoder old;
  candidate *best = mem_alloc((size_t)d->rows + 1, sizeof *best);
  status s = decoder_new(&old, d->c, d->m, d->o, d->rows);
  if (!best) s = STATUS_MEMORY;
  for (bool first = true; !s; first = false) {
    int n = best_continuations(d, first, best);
    take(d, &old, best, n);
    if (all_done(d)) break;
    s = advance(d);
  }
  decoder_free(&old);
  free(best);
  return s;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static status finish(const decoder *d, const hypothesis *h, caption *out) {
  int n = h->n;
  if (n && is_end(d, h->ids[n - 1])) n--;
  writing w = {.stream = {.damage = UTF8_REPLACE}};
  status s = STATUS_OK;
  for (int i = 0; !s && i <= n; i++) s = write_token(&w, d->m, i < n ? h->ids[i] : -1);
  if (!s) w.text[w.solid] = 0;
  *out = (caption){.text = w.text, .log_probability = h->log_probability, .tokens = h->n};
  return s;
}

static int better(const void *a, const void *b) {
  double x = final_score(a), y = final_score(b);
  return (x < y) - (x > y);
}

void captions_free(caption *list, size_t n) {
  for (size_t i = 0; list && i < n; i++) {
    free(list[i].text);
    list[i].text = NULL;
  }
}

/* `rows` answers a picture, of which the best `count` are given; a search is of one picture. */
static status caption_some(ctx *c, const visualrwkv *m, const tensor *pixels, const caption_options *o, int rows,
                           bool search, caption *out) {
  int B = (int)pixels->dim[0];
  decoder d;
  status s = decoder_new(&d, c, m, o, B * rows);
  if (!s) s = read_pictures(&d, pixels, rows);
  if (!s) s = search ? search_beam(&d) : sample_rows(&d);
  for (int b = 0; !s && b < B; b++) {
    qsort(d.row + b * rows, (size_t)rows, sizeof *d.row, better);
    for (int j = 0; !s && j < o->count; j++) s = finish(&d, &d.row[b * rows + j], &out[b * o->count + j]);
  }
  decoder_free(&d);
  return s;
}

bool caption_searches(const caption_options *o) {
  return o->beam > 1 || (o->count > 1 && !(o->sample.temperature > 0));
}

status caption_pictures(ctx *c, const visualrwkv *m, const tensor *pixels, const caption_options *o, caption *out) {
  size_t B = (size_t)pixels->dim[0], picture = (size_t)tensor_count(pixels) / (B ? B : 1);
  memset(out, 0, B * (size_t)o->count * sizeof *out);
  status s = STATUS_OK;
  if (!caption_searches(o)) {
    s = caption_some(c, m, pixels, o, o->count, false, out);
  } else {
    int rows = o->beam > o->count ? o->beam : o->count;
    for (size_t b = 0; !s && b < B; b++) {
      tensor one = *pixels;
      one.dim[0] = 1;
      one.data = f32(pixels) + b * picture;
      s = caption_some(c, m, &one, o, rows, true, out + b * (size_t)o->count);
    }
  }
  if (s) captions_free(out, B * (size_t)o->count);
  ctx_reset(c);
  return s;
}
