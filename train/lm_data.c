#include "train/lm_data.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/subwords.h"
#include "kernels/file.h"

/* --- documents ---------------------------------------------------------------------------------------------------- */

typedef status (*document_fn)(void *user, const char *text, size_t n);

static bool blank(const char *line, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') return false;
  return true;
}

static status read_line(const char *path, size_t number, const char *line, size_t n, document_fn each, void *user) {
  json_error_t wrong;
  json_t *value = json_loadb(line, n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &wrong);
  const json_t *text = json_object_get(value, "text"); /* NULL of what is no object */
  status s;
  if (!value)
    s = fail(STATUS_FORMAT, "%s: line %zu is not JSON: %s", path, number, wrong.text);
  else if (!json_is_string(text))
    s = fail(STATUS_FORMAT, "%s: line %zu is no object with a string \"text\"", path, number);
  else
    s = json_string_length(text) ? each(user, json_string_value(text), json_string_length(text)) : STATUS_OK;
  json_decref(value);
  return s;
}

static status each_document(const char *path, document_fn each, void *user) {
  const void *data;
  size_t size, number = 0;
  status s = file_map(path, &data, &size);
  if (s) return s;
  for (const char *line = data, *end = line + size; !s && line < end;) {
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    if (!stop) stop = end;
    const size_t n = (size_t)(stop - line);
    number++;
    if (!blank(line, n)) s = read_line(path, number, line, n, each, user);
    line = stop + 1;
  }
  file_unmap(data, size);
  return s;
}

static status count_pieces(void *user, const char *text, size_t n) { return subwords_count(user, text, n); }

status lm_vocabulary(const char *path, int tokens, char **text) {
  tally pieces;
  size_t size;
  status s = tally_new(&pieces);
  if (!s) s = each_document(path, count_pieces, &pieces);
  if (!s) s = subwords_write(&pieces, (uint32_t)tokens - 1, text, &size);
  tally_free(&pieces);
  return s;
}

/* --- token ids ---------------------------------------------------------------------------------------------------- */

typedef struct {
  lm_text *text;
  const tokenizer *words;
} reader;

/* Room for n ids more, doubling. */
static status make_room(lm_text *t, size_t n) {
  size_t need, twice;
  if (!size_add(t->n, n, &need)) return fail(STATUS_MEMORY, "the text has too many tokens");
  if (need <= t->capacity) return STATUS_OK;
  if (size_mul(t->capacity, 2, &twice) && twice > need) need = twice;
  int32_t *more = mem_grow(t->ids, need, sizeof *more);
  if (!more) return STATUS_MEMORY;
  t->ids = more;
  t->capacity = need;
  return STATUS_OK;
}

static status add_document(void *user, const char *text, size_t n) {
  const reader *r = user;
  lm_text *t = r->text;
  const size_t most = tokenizer_room(r->words, n);
  status s = most == SIZE_MAX ? fail(STATUS_MEMORY, "a text of %zu bytes is too long", n) : make_room(t, most + 1);
  if (s) return s;
  const size_t found = tokenizer_encode(r->words, text, n, t->ids + t->n, most);
  if (found == TOKENIZER_FAILED) return STATUS_MEMORY;
  t->n += found;
  t->ids[t->n++] = TOKENIZER_END;
  t->bytes += n;
  t->documents++;
  return STATUS_OK;
}

status lm_text_read(lm_text *t, const char *path, const tokenizer *words) {
  const status s = each_document(path, add_document, &(reader){t, words});
  return !s && !t->bytes ? fail(STATUS_FORMAT, "%s: there is no text in it", path) : s;
}

void lm_text_free(lm_text *t) {
  free(t->ids);
  *t = (lm_text){0};
}

double lm_bits_per_byte(const lm_text *t, double nats) { return nats * (double)t->n / (double)t->bytes / log(2); }

void lm_text_digest(const lm_text *t, char text[LM_DIGEST_TEXT]) {
  uint64_t h = t->n;
  for (size_t i = 0; i < t->n; i++) h = random_u64(h, (uint64_t)t->ids[i], i);
  snprintf(text, LM_DIGEST_TEXT, "%016" PRIx64, h);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static void begin_round(lm_rows *r, uint64_t round) {
  rng g = rng_make(r->seed, round);
  r->round = round;
  r->first = (size_t)rng_below(&g, (uint32_t)r->context);
  for (uint32_t i = 0; i < r->n; i++) r->order[i] = i;
  rng_shuffle(&g, r->order, r->n);
}

status lm_rows_new(lm_rows *r, const lm_text *text, int context, uint64_t seed) {
  const size_t rows = text->n < (size_t)context ? 1 : text->n / (size_t)context;
  *r = (lm_rows){.text = text, .context = context, .seed = seed, .n = (uint32_t)rows};
  if (rows > UINT32_MAX) return fail(STATUS_UNSUPPORTED, "the text gives %zu rows, more than 2^32", rows);
  if (!(r->order = mem_alloc(rows, sizeof *r->order))) return STATUS_MEMORY;
  begin_round(r, 0);
  return STATUS_OK;
}

void lm_rows_free(lm_rows *r) {
  free(r->order);
  *r = (lm_rows){0};
}

void lm_rows_make(lm_rows *r, uint64_t number, int n, int32_t *ids, int32_t *next) {
  const lm_text *text = r->text;
  for (int b = 0; b < n; b++) {
    const uint64_t round = (number + (uint64_t)b) / r->n;
    if (round != r->round) begin_round(r, round);
    size_t at = r->first + (size_t)r->order[(number + (uint64_t)b) % r->n] * (size_t)r->context;
    for (int i = 0; i < r->context; i++, at++) {
      *ids++ = text->ids[at % text->n];
      *next++ = text->ids[(at + 1) % text->n];
    }
  }
}

int lm_text_row(const lm_text *t, int context, size_t number, int32_t *ids, int32_t *next) {
  const size_t width = (size_t)context, from = number * width;
  const size_t n = from >= t->n ? 0 : t->n - from < width ? t->n - from : width;
  memset(ids, 0, width * sizeof *ids);
  memset(next, 0, width * sizeof *next);
  for (size_t i = 0; i < n; i++) {
    ids[i] = from + i ? t->ids[from + i - 1] : TOKENIZER_END;
    next[i] = t->ids[from + i];
  }
  return (int)n;
}
