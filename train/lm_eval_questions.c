/* LAMBADA and multiple choice (train/lm_eval.h). */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "train/lm_eval_parts.h"

/* --- LAMBADA ------------------------------------------------------------------------------------------------------ */

typedef struct {
  size_t from, left, n; /* its tokens; `left` of them before the last word */
} passage;

typedef struct {
  const lm_eval_options *o;
  token_list tokens;
  passage *item;
  size_t n, capacity;
} passages;

static status add_passage(void *user, const json_t *line, size_t number) {
  (void)number;
  passages *p = user;
  const tokenizer *words = p->o->model->words;
  if (p->o->limit && p->n == p->o->limit) return STATUS_OK;
  const json_t *member = text_member(line, "text");
  if (!member) return last_status();
  const char *text = json_string_value(member);
  const size_t n = text_spaces_of(text, json_string_length(member)).trimmed;
  size_t split = n;
  while (split && text[split - 1] != ' ') split--;
  if (!split) return fail(STATUS_FORMAT, "no space in its text, and so no last word");
  split--; /* the space belongs to the word */
  passage *item = mem_room(p->item, p->n, &p->capacity, sizeof *item);
  if (!item) return STATUS_MEMORY;
  p->item = item;
  passage *one = &item[p->n];
  *one = (passage){.from = p->tokens.n};
  status s = token_list_encode(&p->tokens, words, text, split);
  one->left = p->tokens.n - one->from;
  if (!s) s = token_list_encode(&p->tokens, words, text + split, n - split);
  one->n = p->tokens.n - one->from;
  if (!s && one->n == one->left) s = fail(STATUS_FORMAT, "its last word has no tokens");
  if (!s) p->n++;
  return s;
}

static status score_passages(const passages *p, eval_work *w, lm_lambada_score *score) {
  ratio_sum hits = {0}, nats = {0};
  lm_row *row = mem_zero(p->n, sizeof *row);
  float *each = mem_alloc(p->tokens.n, sizeof *each);
  bool *likeliest = mem_alloc(p->tokens.n, sizeof *likeliest);
  status s = row && each && likeliest ? STATUS_OK : STATUS_MEMORY;
  for (size_t i = 0; !s && i < p->n; i++) {
    const passage *one = &p->item[i];
    row[i] = (lm_row){.prefix = w->prefix.ids,
                      .n_prefix = w->prefix.n,
                      .ids = p->tokens.ids + one->from,
                      .n = one->n,
                      .first = one->left,
                      .nats = each + one->from + one->left,
                      .likeliest = likeliest + one->from + one->left};
    w->p.all += lm_row_reads(&row[i]);
  }
  if (!s) s = eval_score(w, row, p->n);
  for (size_t i = 0; !s && i < p->n; i++) {
    bool hit = true;
    double sum = 0;
    for (size_t k = 0; k < row[i].n - row[i].first; k++) {
      hit = hit && row[i].likeliest[k];
      sum += (double)row[i].nats[k];
    }
    ratio_add(&hits, 1, hit);
    ratio_add(&nats, 1, sum);
  }
  free(row), free(each), free(likeliest);
  *score =
      (lm_lambada_score){.questions = p->n, .accuracy = ratio_of(&hits), .perplexity = estimate_exp(ratio_of(&nats))};
  return s;
}

/* Reads the lines of a file of questions. */
static status read_questions(const lm_eval_options *o, json_line_fn each, void *user, const size_t *n) {
  eval_file f;
  status s = eval_file_open(&f, o->data);
  if (s) return s;
  s = json_lines(f.name, f.bytes, f.n, each, user);
  if (!s && !*n) s = fail(STATUS_FORMAT, "%s: there is no question in it", f.name);
  eval_file_close(&f);
  return s;
}

status lm_lambada(const lm_eval_options *o, lm_lambada_score *score) {
  passages p = {.o = o};
  eval_work w;
  status s = eval_begin(&w, o);
  if (!s) s = read_questions(o, add_passage, &p, &p.n);
  if (!s) s = score_passages(&p, &w, score);
  free(p.tokens.ids);
  free(p.item);
  eval_end(&w);
  return s;
}

/* --- multiple choice ---------------------------------------------------------------------------------------------- */

typedef struct {
  size_t from, n; /* its tokens, and before them the last one of the context */
  size_t bytes;   /* of the choice's text */
} choice;

typedef struct {
  size_t from, n; /* the context's tokens */
  size_t choice, n_choices, answer;
} question;

typedef struct {
  const lm_eval_options *o;
  const token_list *prefix;
  bool no_space;
  token_list tokens;
  question *item;
  choice *choice;
  size_t n, capacity, n_choices, choices_capacity;
} questions;

/* The context's last token, the prefix's if it has none, and what the whole has beyond the context's tokens. */
static status add_continuation(questions *q, const question *of, choice *c, const char *whole, size_t n) {
  int32_t *ids;
  size_t count;
  status s = tokenizer_ids(q->o->model->words, whole, n, &ids, &count);
  if (s) return s;
  c->from = q->tokens.n;
  const int32_t last = of->n ? q->tokens.ids[of->from + of->n - 1] : q->prefix->ids[q->prefix->n - 1];
  if (count <= of->n) s = fail(STATUS_FORMAT, "a choice adds no token to the context's %zu", of->n);
  if (!s) s = token_list_push(&q->tokens, &last, 1);
  if (!s) s = token_list_push(&q->tokens, ids + of->n, count - of->n);
  c->n = q->tokens.n - c->from;
  free(ids);
  return s;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static status add_choice(questions *q, const question *of, const json_t *context, const json_t *text) {
  if (!json_is_string(text) || !json_string_length(text)) return fail(STATUS_FORMAT, "a choice is no string, or empty");
  choice *item = mem_room(q->choice, q->n_choices, &q->choices_capacity, sizeof *item);
  if (!item) return STATUS_MEMORY;
  q->choice = item;
  const char *before = json_string_value(context), *after = json_string_value(text);
  const size_t n = json_string_length(context), m = json_string_length(text);
  const bool space = !q->no_space && n && !is_space(before[n - 1]) && !is_space(*after);
  char *whole = mem_alloc(n + m + 1, 1);
  if (!whole) return STATUS_MEMORY;
  memcpy(whole, before, n);
  if (space) whole[n] = ' ';
  memcpy(whole + n + space, after, m);
  choice *c = &item[q->n_choices];
  *c = (choice){.bytes = m};
  const status s = add_continuation(q, of, c, whole, n + m + space);
  free(whole);
  if (!s) q->n_choices++;
  return s;
}

/* The first of two names that an object has. */
static const json_t *either(const json_t *line, const char *name, const char *other) {
  const json_t *value = json_object_get(line, name);
  return value ? value : json_object_get(line, other);
}

static status add_question(void *user, const json_t *line, size_t number) {
  (void)number;
  questions *q = user;
  if (q->o->limit && q->n == q->o->limit) return STATUS_OK;
  const json_t *context = either(line, "context", "query"), *answer = either(line, "answer", "gold"),
               *list = json_object_get(line, "choices");
  if (!json_is_string(context)) return fail(STATUS_FORMAT, "no object with a string \"context\" (or \"query\")");
  const size_t n = json_array_size(list); /* 0 of what is no array */
  if (n < 2) return fail(STATUS_FORMAT, "no array \"choices\" of at least two");
  if (!json_is_integer(answer)) return fail(STATUS_FORMAT, "no whole number \"answer\" (or \"gold\")");
  const json_int_t which = json_integer_value(answer);
  if (which < 0 || (size_t)which >= n)
    return fail(STATUS_FORMAT, "the answer is number %lld of %zu choices, counted from 0", (long long)which, n);
  question *item = mem_room(q->item, q->n, &q->capacity, sizeof *item);
  if (!item) return STATUS_MEMORY;
  q->item = item;
  question *one = &item[q->n];
  *one = (question){.from = q->tokens.n, .choice = q->n_choices, .n_choices = n, .answer = (size_t)which};
  const size_t bytes = text_spaces_of(json_string_value(context), json_string_length(context)).trimmed;
  status s = token_list_encode(&q->tokens, q->o->model->words, json_string_value(context), bytes);
  one->n = q->tokens.n - one->from;
  for (size_t i = 0; !s && i < n; i++) s = add_choice(q, one, context, json_array_get(list, i));
  if (!s) q->n++;
  return s;
}

static lm_row context_row(const questions *q, const question *one, rwkv_state *to, int row) {
  return (lm_row){.prefix = q->prefix->ids,
                  .n_prefix = q->prefix->n,
                  .ids = q->tokens.ids + one->from,
                  .n = one->n,
                  .first = one->n,
                  .to = to,
                  .to_row = row};
}

static lm_row choice_row(const questions *q, const choice *c, const rwkv_state *from, int row, float *nats) {
  return (lm_row){
      .ids = q->tokens.ids + c->from, .n = c->n, .first = 1, .nats = nats + c->from + 1, .from = from, .from_row = row};
}

/* Reads n contexts from question `first` on, once each, and then the choices of each from a copy of its state. */
static status score_some(const questions *q, eval_work *w, size_t first, size_t n, float *nats, lm_row *row) {
  rwkv_state state;
  status s = rwkv_state_new(&state, &q->o->model->lm.config, (int)n);
  if (s) return s;
  for (size_t i = 0; i < n; i++) row[i] = context_row(q, &q->item[first + i], &state, (int)i);
  s = eval_score(w, row, n);
  size_t rows = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < q->item[first + i].n_choices; k++)
      row[rows++] = choice_row(q, &q->choice[q->item[first + i].choice + k], &state, (int)i, nats);
  if (!s) s = eval_score(w, row, rows);
  rwkv_state_free(&state);
  return s;
}

static void judge(const questions *q, const float *nats, lm_choices_score *score) {
  ratio_sum hits = {0}, hits_by_bytes = {0};
  for (size_t i = 0; i < q->n; i++) {
    const question *one = &q->item[i];
    size_t best = 0, best_by_bytes = 0;
    double least = DBL_MAX, least_by_bytes = DBL_MAX;
    for (size_t k = 0; k < one->n_choices; k++) {
      const choice *c = &q->choice[one->choice + k];
      double sum = 0;
      for (size_t t = 1; t < c->n; t++) sum += (double)nats[c->from + t];
      const double by_bytes = sum / (double)c->bytes;
      if (sum < least) best = k;
      if (by_bytes < least_by_bytes) best_by_bytes = k;
      least = sum < least ? sum : least;
      least_by_bytes = by_bytes < least_by_bytes ? by_bytes : least_by_bytes;
    }
    ratio_add(&hits, 1, best == one->answer);
    ratio_add(&hits_by_bytes, 1, best_by_bytes == one->answer);
  }
  *score = (lm_choices_score){
      .questions = q->n, .choices = q->n_choices, .accuracy = ratio_of(&hits), .by_bytes = ratio_of(&hits_by_bytes)};
}

static status score_questions(const questions *q, eval_work *w, lm_choices_score *score) {
  enum { TOKENS = 32 }; /* of a question, about: so many questions' states are kept at a time */
  const size_t some = (size_t)q->o->batch / TOKENS + 1;
  lm_row *row = mem_alloc(q->n + q->n_choices, sizeof *row);
  float *nats = mem_alloc(q->tokens.n, sizeof *nats);
  status s = row && nats ? STATUS_OK : STATUS_MEMORY;
  for (size_t i = 0; i < q->n; i++) w->p.all += w->prefix.n + q->item[i].n - 1;
  for (size_t i = 0; i < q->n_choices; i++) w->p.all += q->choice[i].n - 1;
  for (size_t i = 0; !s && i < q->n; i += some) s = score_some(q, w, i, q->n - i < some ? q->n - i : some, nats, row);
  if (!s) judge(q, nats, score);
  free(row), free(nats);
  return s;
}

status lm_choices(const lm_eval_options *o, bool no_space, lm_choices_score *score) {
  eval_work w;
  questions q = {.o = o, .prefix = &w.prefix, .no_space = no_space};
  *score = (lm_choices_score){0};
  status s = eval_begin(&w, o);
  if (!s) s = read_questions(o, add_question, &q, &q.n);
  if (!s) s = score_questions(&q, &w, score);
  free(q.tokens.ids), free(q.item), free(q.choice);
  eval_end(&w);
  return s;
}
