#include "train/lm_eval_parts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/unicode.h"
#include "kernels/file.h"
#include "kernels/utf8.h"

static const uint64_t STANDARD_INPUT_MOST = (uint64_t)1 << 30; /* bytes */

status eval_file_open(eval_file *f, const char *path) {
  *f = (eval_file){.name = path, .mapped = strcmp(path, "-") != 0};
  const void *bytes;
  if (f->mapped) {
    const status s = file_map(path, &bytes, &f->n);
    if (!s) f->bytes = bytes;
    return s;
  }
  f->name = "standard input";
  f->bytes = file_read_open(STDIN_FILENO, f->name, STANDARD_INPUT_MOST, &f->n);
  return f->bytes ? STATUS_OK : last_status();
}

void eval_file_close(eval_file *f) {
  if (f->mapped)
    file_unmap(f->bytes, f->n);
  else
    free((void *)f->bytes);
}

status token_list_push(token_list *t, const int32_t *ids, size_t n) {
  size_t need, twice;
  if (!size_add(t->n, n, &need)) return fail(STATUS_MEMORY, "the texts have too many tokens");
  if (need > t->capacity) {
    const size_t room = size_mul(t->capacity, 2, &twice) && twice > need ? twice : need;
    int32_t *more = mem_grow(t->ids, room, sizeof *more);
    if (!more) return STATUS_MEMORY;
    t->ids = more;
    t->capacity = room;
  }
  if (n) memcpy(t->ids + t->n, ids, n * sizeof *ids);
  t->n = need;
  return STATUS_OK;
}

status token_list_encode(token_list *t, const tokenizer *words, const char *text, size_t n) {
  int32_t *ids;
  size_t count;
  status s = tokenizer_ids(words, text, n, &ids, &count);
  if (s) return s;
  s = token_list_push(t, ids, count);
  free(ids);
  return s;
}

text_spaces text_spaces_of(const char *text, size_t n) {
  text_spaces found = {.words = 1};
  bool inside = false; /* of a run */
  for (size_t at = 0; at < n;) {
    uint32_t code;
    const int length = utf8_next(text + at, n - at, &code);
    at += length > 0 ? (size_t)length : 1;
    const bool space = length > 0 && unicode_class_of(code) == UNICODE_SPACE;
    if (space && !inside) found.words++;
    if (!space) found.trimmed = at;
    inside = space;
  }
  return found;
}

const json_t *text_member(const json_t *line, const char *name) {
  const json_t *text = json_object_get(line, name); /* NULL of what is no object */
  if (!json_is_string(text)) return fail_null(STATUS_FORMAT, "no object with a string \"%s\"", name);
  return json_string_length(text) ? text : fail_null(STATUS_FORMAT, "its \"%s\" is empty", name);
}

/* --- work --------------------------------------------------------------------------------------------------------- */

status eval_begin(eval_work *w, const lm_eval_options *o) {
  static const int32_t end = TOKENIZER_END;
  *w = (eval_work){.o = o};
  if (o->batch < 1) return fail(STATUS_ARGUMENT, "a batch of %d tokens: at least 1 is needed", o->batch);
  if (!(w->c = ctx_new())) return last_status();
  status s =
      o->newline ? token_list_encode(&w->prefix, o->model->words, "\n", 1) : token_list_push(&w->prefix, &end, 1);
  if (!s && !w->prefix.n) s = fail(STATUS_ARGUMENT, "the vocabulary has no line feed to begin with");
  return s;
}

void eval_end(eval_work *w) {
  ctx_free(w->c);
  free(w->prefix.ids);
}

static bool more_done(void *user, size_t tokens) {
  eval_work *w = user;
  w->p.done += tokens;
  return !w->o->progress || w->o->progress(w->o->user, &w->p);
}

status eval_score(eval_work *w, const lm_row *rows, size_t n) {
  const lm_scorer scorer = {
      .model = &w->o->model->lm, .c = w->c, .batch = w->o->batch, .progress = more_done, .user = w};
  const status s = lm_score(&scorer, rows, n);
  return s == STATUS_INTERRUPTED
             ? fail(s, "interrupted after %zu of %zu tokens: there is no result", w->p.done, w->p.all)
             : s;
}
