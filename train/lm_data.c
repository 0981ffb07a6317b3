#include "train/lm_data.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/json_lines.h"
#include "data/subwords.h"
#include "kernels/file.h"
#include "train/run.h"

/* --- documents ---------------------------------------------------------------------------------------------------- */

typedef status (*document_fn)(void *user, const char *text, size_t n);

typedef struct {
  document_fn each;
  void *user;
} listener;

static status tell_line(void *user, const json_t *value, size_t number) {
  (void)number;
  const listener *l = user;
  const json_t *text = json_object_get(value, "text"); /* NULL of what is no object */
  if (!json_is_string(text)) return fail(STATUS_FORMAT, "no object with a string \"text\"");
  const size_t n = json_string_length(text);
  return n ? l->each(l->user, json_string_value(text), n) : STATUS_OK;
}

static status each_of_file(const char *path, document_fn each, void *user) {
  const void *text;
  size_t n;
  status s = file_map(path, &text, &n);
  if (s || !n) return s;
  s = json_lines_are(path, text, n) ? json_lines(path, text, n, tell_line, &(listener){each, user})
                                    : each(user, text, n);
  file_unmap(text, n);
  return s;
}

static bool ends_in(const char *name, const char *end) {
  const size_t n = strlen(name), m = strlen(end);
  return n >= m && !strcmp(name + n - m, end);
}

static const char train_lines[] = "train.jsonl", validation_lines[] = "validation.jsonl";
static const char validation_text[] = "validation.txt";

static int is_text(const struct dirent *entry) {
  return ends_in(entry->d_name, ".txt") && strcmp(entry->d_name, validation_text);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static status each_text(const char *folder, document_fn each, void *user) {
  struct dirent **entry;
  const int n = scandir(folder, &entry, is_text, by_name);
  if (n < 0) return fail(STATUS_IO, "%s: cannot read this folder: %s", folder, strerror(errno));
  status s = n ? STATUS_OK : fail(STATUS_IO, "%s: there is neither %s nor a *.txt in this folder", folder, train_lines);
  for (int i = 0; i < n; i++) {
    char *file = s ? NULL : run_path(folder, entry[i]->d_name);
    if (!s) s = file ? each_of_file(file, each, user) : STATUS_MEMORY;
    free(file);
    free(entry[i]);
  }
  free(entry);
  return s;
}

static bool is_folder(const char *path) {
  struct stat info;
  return !stat(path, &info) && S_ISDIR(info.st_mode);
}

/* folder/name, which the caller frees; NULL if there is none. */
static status file_in(const char *folder, const char *name, char **file) {
  if (!(*file = run_path(folder, name))) return STATUS_MEMORY;
  if (access(*file, F_OK)) {
    free(*file);
    *file = NULL;
  }
  return STATUS_OK;
}

static status each_document(const char *path, document_fn each, void *user) {
  if (!is_folder(path)) return each_of_file(path, each, user);
  char *lines;
  status s = file_in(path, train_lines, &lines);
  if (!s) s = lines ? each_of_file(lines, each, user) : each_text(path, each, user);
  free(lines);
  return s;
}

status lm_validation_file(const char *path, char **file) {
  *file = NULL;
  if (!is_folder(path)) return STATUS_OK;
  char *lines;
  status s = file_in(path, train_lines, &lines);
  if (!s) s = file_in(path, lines ? validation_lines : validation_text, file);
  free(lines);
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

void lm_streams_make(const lm_text *text, uint64_t seed, uint64_t step, int n, int context, int32_t *ids,
                     int32_t *next) {
  const uint64_t size = text->n, first = random_u64(seed, 0, 0) % size;
  for (uint64_t b = 0; b < (uint64_t)n; b++) {
    uint64_t at = (first + size / (uint64_t)n * b + step % size * (uint64_t)context) % size;
    for (int i = 0; i < context; i++) {
      *ids++ = text->ids[at];
      *next++ = text->ids[at = (at + 1) % size];
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
