/* `linnet-data tasks`: questions on the held-out texts, for `linnet eval lm` (docs/data.md).
 *
 * lambada.jsonl: passages of the Bibles and dictionaries whose last word can be told from what stands well before it,
 * as those of LAMBADA (Paperno et al., 2016). choices.jsonl: words of WordNet's conversations, each with its definition
 * among three others. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/build/build.h"
#include "data/build/text.h"
#include "data/json_lines.h"
#include "kernels/atomic_file.h"
#include "kernels/file.h"

#define MAX_FILE_BYTES ((uint64_t)1 << 30)
static const uint64_t TASK_SEED = 7;

/* A piece of a string. */
typedef struct {
  const char *at;
  size_t n;
} piece;

static bool same(piece a, piece b) { return a.n == b.n && memcmp(a.at, b.at, a.n) == 0; }

/* Writes an object on a line of its own and releases it. */
static status put_line(text_buffer *to, json_t *object) {
  char *line = object != NULL ? json_dumps(object, 0) : NULL;
  json_decref(object);
  if (line == NULL) return fail(STATUS_MEMORY, "a question could not be made into JSON");
  text_puts(to, line);
  text_puts(to, "\n");
  free(line);
  return to->status;
}

/* ---- passages ---- */

enum { PASSAGE_LEAST = 40, PASSAGE_MOST = 160, TARGET_LEAST = 5 }; /* words; letters of the last one */

static size_t count_words(const char *from, const char *to) {
  size_t n = 0;
  for (const char *at = from; at < to; at++)
    n += !isspace((unsigned char)*at) && (at == from || isspace((unsigned char)at[-1]));
  return n;
}

static bool is_letter(char c) { return isalpha((unsigned char)c) != 0; }

/* Does the word stand in [from, to), alone? */
static bool occurs(piece word, const char *from, const char *to) {
  for (const char *at = from; at + word.n <= to; at++) {
    if (memcmp(at, word.at, word.n) != 0) continue;
    if ((at == from || !is_letter(at[-1])) && (at + word.n == to || !is_letter(at[word.n]))) return true;
  }
  return false;
}

/* The word of letters that ends at `end`, if a space stands before it and it is long enough; else an empty one. */
static piece last_word(const char *begin, const char *end) {
  const char *at = end;
  while (at > begin && is_letter(at[-1])) at--;
  const bool good = at > begin && at[-1] == ' ' && end - at >= TARGET_LEAST;
  return (piece){at, good ? (size_t)(end - at) : 0};
}

/* The mark that ends the sentence that `at` stands in; the end of the text if there is none. */
static const char *sentence_end(const char *at, const char *end) {
  while (at < end && (strchr(".?!", *at) == NULL || !(at + 1 == end || isspace((unsigned char)at[1])))) at++;
  return at;
}

static const char *skip_mark(const char *mark, const char *end) {
  if (mark < end) mark++;
  while (mark < end && isspace((unsigned char)*mark)) mark++;
  return mark;
}

static status put_passages(text_buffer *to, const char *text, size_t n, const char *source, size_t *count) {
  const char *end = text + n, *begin = text; /* of the passage */
  status s = STATUS_OK;
  for (const char *sentence = text, *mark; s == STATUS_OK && sentence < end; sentence = skip_mark(mark, end)) {
    mark = sentence_end(sentence, end);
    while (begin < sentence && count_words(begin, mark) > PASSAGE_MOST)
      begin = skip_mark(sentence_end(begin, end), end);
    const size_t words = count_words(begin, mark);
    const piece word = last_word(begin, mark);
    if (word.n == 0 || words < PASSAGE_LEAST || words > PASSAGE_MOST || !occurs(word, begin, sentence)) continue;
    s = put_line(to, json_pack("{s:s%, s:s}", "text", begin, (size_t)(mark - begin), "source", source));
    begin = skip_mark(mark, end);
    (*count)++;
  }
  return s;
}

/* ---- definitions ---- */

typedef enum { CLASS_NOUN, CLASS_VERB, CLASSES } word_class;

/* A conversation that begins with what a word means; its class is known for certain. */
typedef struct {
  piece question, definition; /* the question ends with "Assistant:" */
  word_class class;
} definition;

typedef struct {
  text_buffer passages, questions;
  task_counts counts;
  definition *item; /* pieces of `kept` values */
  json_t *kept;
  size_t n, room;
} tasks;

static bool begins(piece text, const char *with) {
  return text.n >= strlen(with) && memcmp(text.at, with, strlen(with)) == 0;
}

static const char *find(piece in, const char *word) {
  const size_t n = strlen(word);
  for (size_t at = 0; at + n <= in.n; at++) {
    if (memcmp(in.at + at, word, n) == 0) return in.at + at;
  }
  return NULL;
}

static bool parse_definition(piece text, definition *d) {
  static const char answer[] = "\n\nAssistant: ", next[] = "\n\nUser: ";
  const bool verb = begins(text, "User: What does it mean to ");
  if (!verb && !begins(text, "User: What is ") && find(text, "\n\nUser: A kind of what?") == NULL) return false;
  const char *at = find(text, answer);
  if (!begins(text, "User: ") || at == NULL) return false;
  const char *from = at + strlen(answer);
  const piece rest = {from, (size_t)(text.at + text.n - from)};
  const char *to = find(rest, next);
  *d = (definition){.question = {text.at, (size_t)(from - text.at) - 1},
                    .definition = {from, to != NULL ? (size_t)(to - from) : rest.n},
                    .class = verb ? CLASS_VERB : CLASS_NOUN};
  return d->definition.n > 0;
}

enum { CHOICES = 4 };

/* Others of the same class in a drawn order; false if there are too few that differ. */
static bool draw_choices(const tasks *t, size_t which, rng *g, uint32_t *order, piece choice[CHOICES]) {
  const definition *d = &t->item[which];
  size_t n = 0, found = 1;
  for (size_t i = 0; i < t->n; i++) {
    if (t->item[i].class == d->class) order[n++] = (uint32_t)i;
  }
  rng_shuffle(g, order, n);
  choice[0] = d->definition;
  for (size_t i = 0; i < n && found < CHOICES; i++) {
    const piece other = t->item[order[i]].definition;
    bool known = false;
    for (size_t k = 0; k < found; k++) known |= same(other, choice[k]);
    if (!known) choice[found++] = other;
  }
  return found == CHOICES;
}

static status put_question(tasks *t, size_t which, uint32_t *order) {
  rng g = rng_make(TASK_SEED, which);
  piece choice[CHOICES];
  if (!draw_choices(t, which, &g, order, choice)) return STATUS_OK;
  const size_t answer = rng_below(&g, CHOICES);
  const piece right = choice[0], question = t->item[which].question;
  choice[0] = choice[answer];
  choice[answer] = right;
  json_t *list = json_array();
  for (int k = 0; k < CHOICES; k++) json_array_append_new(list, json_stringn(choice[k].at, choice[k].n));
  t->counts.questions++;
  return put_line(&t->questions, json_pack("{s:s%, s:o, s:i}", "context", question.at, question.n, "choices", list,
                                           "answer", (int)answer));
}

/* ---- all of it ---- */

static status take_text(void *user, const json_t *line, size_t number) {
  tasks *t = user;
  (void)number;
  json_t *text = json_object_get(line, "text");
  const char *source = json_string_value(json_object_get(line, "source"));
  if (!json_is_string(text) || source == NULL) return fail(STATUS_FORMAT, "no object with a text and a source");
  const piece all = {json_string_value(text), json_string_length(text)};
  if (strcmp(source, text_source_name[TEXT_WORDNET]) != 0) {
    return put_passages(&t->passages, all.at, all.n, source, &t->counts.passages);
  }
  definition found;
  if (!parse_definition(all, &found)) return STATUS_OK;
  definition *item = mem_room(t->item, t->n, &t->room, sizeof *item);
  if (item == NULL) return last_status();
  t->item = item;
  if (json_array_append(t->kept, text) != 0) return fail(STATUS_MEMORY, "a text could not be kept");
  item[t->n++] = found;
  return STATUS_OK;
}

static status write_task(const char *folder, const char *name, const text_buffer *content) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  atomic_file *file = atomic_file_create(path);
  if (file == NULL) return last_status();
  atomic_file_write(file, content->bytes != NULL ? content->bytes : "", content->n);
  return atomic_file_commit(file);
}

static status make_tasks(tasks *t, const char *folder, const char *path, const char *bytes, size_t n) {
  status s = json_lines(path, bytes, n, take_text, t);
  uint32_t *order = mem_alloc(t->n, sizeof *order);
  if (s == STATUS_OK && order == NULL) s = last_status();
  for (size_t i = 0; i < t->n && s == STATUS_OK; i++) s = put_question(t, i, order);
  if (s == STATUS_OK) s = write_task(folder, "lambada.jsonl", &t->passages);
  if (s == STATUS_OK) s = write_task(folder, "choices.jsonl", &t->questions);
  free(order);
  return s;
}

status tasks_make(const char *folder, task_counts *counts) {
  char path[1024];
  size_t n;
  tasks t = {.kept = json_array()};
  snprintf(path, sizeof path, "%s/test.jsonl", folder);
  char *bytes = file_read(path, MAX_FILE_BYTES, &n);
  const status s = bytes != NULL ? make_tasks(&t, folder, path, bytes, n) : last_status();
  *counts = t.counts;
  free(bytes);
  json_decref(t.kept);
  free(t.item);
  free(t.passages.bytes);
  free(t.questions.bytes);
  return s;
}
