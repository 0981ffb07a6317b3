#include "train/lm_eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/lm_eval_parts.h"

/* --- texts -------------------------------------------------------------------------------------------------------- */

typedef struct {
  size_t from, n; /* among the tokens */
  size_t bytes, words;
} document;

typedef struct {
  const lm_eval_options *o;
  token_list tokens; /* of all documents, with token 0 between them */
  document *item;
  size_t n, capacity;
} texts;

static void texts_free(texts *t) {
  free(t->tokens.ids);
  free(t->item);
}

static status add_text(texts *t, const char *text, size_t n) {
  static const int32_t between = TOKENIZER_END;
  if (!n || (t->o->limit && t->n == t->o->limit)) return STATUS_OK;
  document *item = mem_room(t->item, t->n, &t->capacity, sizeof *item);
  if (!item) return STATUS_MEMORY;
  t->item = item;
  status s = t->n ? token_list_push(&t->tokens, &between, 1) : STATUS_OK;
  document *d = &item[t->n];
  *d = (document){.from = t->tokens.n, .bytes = n, .words = text_spaces_of(text, n).words};
  if (!s) s = token_list_encode(&t->tokens, t->o->model->words, text, n);
  d->n = t->tokens.n - d->from;
  if (!s) t->n++;
  return s;
}

static status add_line(void *user, const json_t *line, size_t number) {
  (void)number;
  const json_t *text = json_object_get(line, "text");
  if (!json_is_string(text)) return fail(STATUS_FORMAT, "no object with a string \"text\"");
  return add_text(user, json_string_value(text), json_string_length(text));
}

static status texts_read(texts *t, const lm_eval_options *o) {
  eval_file f;
  *t = (texts){.o = o};
  status s = eval_file_open(&f, o->data);
  if (s) return s;
  if (json_lines_are(f.name, f.bytes, f.n))
    s = json_lines(f.name, f.bytes, f.n, add_line, t);
  else
    s = add_text(t, f.bytes, f.n);
  if (!s && !t->tokens.n) s = fail(STATUS_FORMAT, "%s: there is no text in it", f.name);
  eval_file_close(&f);
  return s;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

/* Stretches of the texts' tokens to be read and scored, and what came of it. */
typedef struct {
  lm_row *row;
  size_t n, capacity;
  float *nats; /* of the token of the same number, if it was scored */
} stretches;

static void stretches_free(stretches *all) {
  free(all->row);
  free(all->nats);
}

static status add_stretch(stretches *all, const texts *t, size_t from, size_t n, size_t first,
                          const token_list *prefix) {
  lm_row *row = mem_room(all->row, all->n, &all->capacity, sizeof *row);
  if (!row) return STATUS_MEMORY;
  all->row = row;
  row[all->n++] = (lm_row){.prefix = prefix ? prefix->ids : NULL,
                           .n_prefix = prefix ? prefix->n : 0,
                           .ids = t->tokens.ids + from,
                           .n = n,
                           .first = first};
  return STATUS_OK;
}

static status score_stretches(eval_work *w, stretches *all, const texts *t) {
  if (!(all->nats = mem_alloc(t->tokens.n, sizeof *all->nats))) return STATUS_MEMORY;
  for (size_t i = 0; i < all->n; i++) {
    lm_row *row = &all->row[i];
    row->nats = all->nats + (row->ids - t->tokens.ids) + row->first;
    w->p.all += lm_row_reads(row);
  }
  return eval_score(w, all->row, all->n);
}

/* The stream in parts of `width` tokens: scored from `first` on, the last one whole or, if `rest`, as it is. */
static status cut_stream(stretches *all, const texts *t, size_t width, size_t first, bool rest,
                         const token_list *prefix) {
  status s = STATUS_OK;
  for (size_t at = 0, left; !s && (left = t->tokens.n - at) > 0; at += left < width ? left : width)
    if (rest || left >= width) s = add_stretch(all, t, at, left < width ? left : width, first, prefix);
  return s;
}

static status each_document(stretches *all, const texts *t, size_t most, const token_list *prefix) {
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < t->n; i++) {
    const document *d = &t->item[i];
    s = add_stretch(all, t, d->from, d->n < most ? d->n : most, 0, prefix);
  }
  return s;
}

/* --- perplexity --------------------------------------------------------------------------------------------------- */

static void sum_up(const stretches *all, const texts *t, lm_reading reading, lm_perplexity_score *score) {
  ratio_sum tokens = {0}, bytes = {0}, words = {0};
  const document whole = {.bytes = score->bytes, .words = score->words};
  for (size_t i = 0; i < all->n; i++) {
    const lm_row *row = &all->row[i];
    double nats = 0;
    for (size_t k = 0; k < row->n - row->first; k++) {
      ratio_add(&tokens, 1, (double)row->nats[k]);
      nats += (double)row->nats[k];
    }
    score->tokens += row->n - row->first;
    score->nats += nats;
    if (reading == LM_WINDOWS) continue;
    const document *d = reading == LM_DOCUMENTS ? &t->item[i] : &whole;
    ratio_add(&bytes, (double)d->bytes, nats);
    ratio_add(&words, (double)d->words, nats);
  }
  score->token = ratio_of(&tokens);
  score->perplexity = estimate_exp(score->token);
  score->byte = ratio_of(&bytes);
  score->word = ratio_of(&words);
  score->bits_per_byte = estimate_scaled(score->byte, 1 / log(2));
  score->byte_perplexity = estimate_exp(score->byte);
  score->word_perplexity = estimate_exp(score->word);
}

static status perplexity_rows(stretches *all, const texts *t, lm_reading reading, size_t context,
                              const token_list *prefix) {
  if (reading == LM_DOCUMENTS) return each_document(all, t, SIZE_MAX, prefix);
  if (reading == LM_STREAM) return cut_stream(all, t, SIZE_MAX, 0, true, prefix);
  if (context < 3) return fail(STATUS_ARGUMENT, "windows of %zu tokens: at least 3 are needed", context);
  if (t->tokens.n < context)
    return fail(STATUS_ARGUMENT, "%s: %zu tokens are less than a window of %zu", t->o->data, t->tokens.n, context);
  return cut_stream(all, t, context, context / 2 + 1, false, NULL);
}

status lm_perplexity(const lm_eval_options *o, lm_reading reading, size_t context, lm_perplexity_score *score) {
  texts t = {0};
  stretches all = {0};
  eval_work w;
  *score = (lm_perplexity_score){0};
  status s = eval_begin(&w, o);
  if (!s) s = texts_read(&t, o);
  if (!s) s = perplexity_rows(&all, &t, reading, context, &w.prefix);
  if (!s) s = score_stretches(&w, &all, &t);
  score->documents = t.n;
  for (size_t i = 0; i < t.n; i++) {
    score->bytes += t.item[i].bytes;
    score->words += t.item[i].words;
  }
  if (!s) sum_up(&all, &t, reading, score);
  stretches_free(&all);
  texts_free(&t);
  eval_end(&w);
  return s;
}

/* --- loss against position ---------------------------------------------------------------------------------------- */

static status add_positions(lm_positions **list, size_t *n, size_t *capacity, size_t from, size_t to) {
  lm_positions *item = mem_room(*list, *n, capacity, sizeof *item);
  if (!item) return STATUS_MEMORY;
  *list = item;
  item[(*n)++] = (lm_positions){.from = from, .to = to};
  return STATUS_OK;
}

/* Buckets and the curve's windows for positions 1 to `most`. */
static status choose_positions(lm_position_score *score, size_t most, size_t window) {
  size_t buckets = 0, points = 0;
  status s = STATUS_OK;
  for (size_t from = 1; !s && from <= most; from *= 2) {
    s = add_positions(&score->bucket, &score->n_buckets, &buckets, from, 2 * from);
    if (from > SIZE_MAX / 2) break;
  }
  for (size_t at = 1; !s && at <= most; at += at / 200 + 1) {
    size_t half = (window - 1) / 2;
    if (half > at - 1) half = at - 1;
    if (half > most - at) half = most - at;
    s = add_positions(&score->curve, &score->n_points, &points, at - half, at + half + 1);
  }
  return s;
}

/* before[k]: nats of the row's first k tokens, of which there are n. */
static void note_row(lm_positions *list, size_t n_list, const double *before, size_t n) {
  for (size_t i = 0; i < n_list; i++) {
    const size_t from = list[i].from - 1 < n ? list[i].from - 1 : n, to = list[i].to - 1 < n ? list[i].to - 1 : n;
    if (from < to) ratio_add(&list[i].sum, (double)(to - from), before[to] - before[from]);
  }
}

static status sum_positions(const stretches *all, size_t window, lm_position_score *score) {
  size_t most = 0;
  for (size_t i = 0; i < all->n; i++)
    if (all->row[i].n > most) most = all->row[i].n;
  double *before = mem_alloc(most + 1, sizeof *before);
  status s = before ? choose_positions(score, most, window) : STATUS_MEMORY;
  for (size_t i = 0; !s && i < all->n; i++) {
    const lm_row *row = &all->row[i];
    before[0] = 0;
    for (size_t k = 0; k < row->n; k++) before[k + 1] = before[k] + (double)row->nats[k];
    note_row(score->bucket, score->n_buckets, before, row->n);
    note_row(score->curve, score->n_points, before, row->n);
    score->tokens += row->n;
  }
  score->rows = all->n;
  free(before);
  return s;
}

status lm_position_loss(const lm_eval_options *o, bool join, size_t positions, size_t window,
                        lm_position_score *score) {
  texts t = {0};
  stretches all = {0};
  eval_work w;
  *score = (lm_position_score){0};
  status s = eval_begin(&w, o);
  if (!s && (positions < 1 || window < 1))
    s = fail(STATUS_ARGUMENT, "%zu positions in windows of %zu: at least 1 is needed", positions, window);
  if (!s) s = texts_read(&t, o);
  if (!s)
    s = join ? cut_stream(&all, &t, positions, 0, true, &w.prefix) : each_document(&all, &t, positions, &w.prefix);
  if (!s) s = score_stretches(&w, &all, &t);
  if (!s) s = sum_positions(&all, window, score);
  stretches_free(&all);
  texts_free(&t);
  eval_end(&w);
  return s;
}

void lm_position_score_free(lm_position_score *score) {
  free(score->bucket);
  free(score->curve);
}
