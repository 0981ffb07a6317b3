/* WordNet as prose and as conversations: one document for each set of synonyms (format: wndb(5WN)).
 *
 *   bank (noun): a financial institution that ... . For example: "he cashed a check at the bank". Also depository
 *   financial institution, banking company. A kind of financial institution.
 *
 *   User: What is a bank?
 *
 *   Assistant: A financial institution that ... .
 *
 *   User: Give me an example.
 *
 *   Assistant: He cashed a check at the bank. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "data/build/text.h"
#include "kernels/file.h"

enum { NOUN, VERB, ADJECTIVE, ADVERB, FILES };
static const char *const file_name[FILES] = {"data.noun", "data.verb", "data.adj", "data.adv"};
static const char *const part_of_speech[FILES] = {"noun", "verb", "adjective", "adverb"};

enum { MAX_WORDS = 255, MAX_RELATED = 3, OFFSET_DIGITS = 8 };
#define MAX_FILE_BYTES ((uint64_t)256 << 20)

typedef struct {
  char *text[FILES];
  size_t size[FILES];
} wordnet;

typedef struct {
  const char *at;
  size_t n;
} span;

typedef struct {
  span word[MAX_WORDS];
  unsigned words, pointers;
  span pointer_fields, gloss; /* what follows the number of pointers; what follows " | " */
} synset;

/* Takes the next word of a line off its rest; empty at the end. */
static span next_field(span *rest) {
  while (rest->n > 0 && *rest->at == ' ') rest->at++, rest->n--;
  span field = {rest->at, 0};
  while (field.n < rest->n && field.at[field.n] != ' ') field.n++;
  rest->at += field.n;
  rest->n -= field.n;
  return field;
}

static bool next_number(span *rest, unsigned base, unsigned long *value) {
  span field = next_field(rest);
  *value = 0;
  for (size_t i = 0; i < field.n; i++) {
    const char *digits = "0123456789abcdef", *found = memchr(digits, field.at[i] | 0x20, base > 10 ? 16 : base);
    if (base <= 10) found = memchr(digits, field.at[i], base);
    if (found == NULL) return false;
    *value = *value * base + (unsigned long)(found - digits);
  }
  return field.n > 0 && field.n <= OFFSET_DIGITS;
}

static bool is(span field, const char *word) { return field.n == strlen(word) && memcmp(field.at, word, field.n) == 0; }

static int file_of(span type) {
  static const char letters[] = "nvarn";
  if (is(type, "s")) return ADJECTIVE; /* a satellite: an adjective that is similar to another */
  for (int f = 0; f < FILES; f++) {
    if (type.n == 1 && *type.at == letters[f]) return f;
  }
  return -1;
}

/* Adjectives say where they stand: "on_tap(p)". */
static span without_marker(span word) {
  const char *open = memchr(word.at, '(', word.n);
  if (open != NULL && open > word.at && word.at[word.n - 1] == ')') word.n = (size_t)(open - word.at);
  return word;
}

/* The line that begins at an offset of a file, without its end; empty if there is none. */
static span line_at(const wordnet *w, int file, size_t offset) {
  span line = {NULL, 0};
  if (offset >= w->size[file] || (offset > 0 && w->text[file][offset - 1] != '\n')) return line;
  line.at = w->text[file] + offset;
  const char *end = memchr(line.at, '\n', w->size[file] - offset);
  line.n = end != NULL ? (size_t)(end - line.at) : w->size[file] - offset;
  return line;
}

static bool parse_synset(const wordnet *w, int file, size_t offset, synset *s) {
  unsigned long number;
  span line = line_at(w, file, offset), rest = line;
  if (!next_number(&rest, 10, &number) || number != offset) return false;
  next_field(&rest); /* the lexicographer's file */
  if (file_of(next_field(&rest)) != file || !next_number(&rest, 16, &number)) return false;
  if (number < 1 || number > MAX_WORDS) return false;
  s->words = (unsigned)number;
  for (unsigned i = 0; i < s->words; i++) {
    s->word[i] = without_marker(next_field(&rest));
    next_field(&rest); /* which sense in the lexicographer's file */
  }
  if (!next_number(&rest, 10, &number)) return false;
  s->pointers = (unsigned)number;
  s->pointer_fields = rest;
  const char *bar = memchr(rest.at, '|', rest.n);
  if (bar == NULL) return false;
  s->gloss = (span){bar + 1, rest.n - (size_t)(bar + 1 - rest.at)};
  return true;
}

/* ---- from a synset to prose ---- */

static void put_span(text_buffer *to, span s) { text_put(to, s.at, s.n); }

static void put_word(text_buffer *to, span word) {
  for (size_t i = 0; i < word.n; i++) text_put(to, word.at[i] == '_' ? " " : word.at + i, 1);
}

static span trimmed(span s) {
  while (s.n > 0 && memchr(" ;", *s.at, 2) != NULL) s.at++, s.n--;
  while (s.n > 0 && memchr(" ;", s.at[s.n - 1], 2) != NULL) s.n--;
  return s;
}

static void end_sentence(text_buffer *to) {
  if (to->n > 0 && strchr(".!?", to->bytes[to->n - 1]) == NULL) text_puts(to, ".");
}

/* A gloss is a definition, then examples in quotation marks, each perhaps with its author: "..."- W.B.Yeats. */
static span definition_of(span gloss) {
  size_t n = 0;
  while (n < gloss.n && !(gloss.at[n] == '"' && (n < 2 || memcmp(gloss.at + n - 2, "; ", 2) == 0))) n++;
  return trimmed((span){gloss.at, n});
}

/* Takes the next example off the rest of a gloss; `by` is its author, or empty. */
static bool next_example(span *rest, span *example, span *by) {
  const char *at = rest->at, *end = rest->at + rest->n;
  *example = (span){NULL, 0};
  while (example->n == 0 && (at = memchr(at, '"', (size_t)(end - at))) != NULL) {
    const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
    *example = trimmed((span){at + 1, (size_t)((close != NULL ? close : end) - at - 1)});
    at = close != NULL ? close + 1 : end;
    const char *next = memchr(at, '"', (size_t)(end - at));
    *by = trimmed((span){at, (size_t)((next != NULL ? next : end) - at)});
    *by = by->n > 1 && *by->at == '-' ? trimmed((span){by->at + 1, by->n - 1}) : (span){NULL, 0};
    *rest = (span){at, (size_t)(end - at)};
  }
  return example->n > 0;
}

static span examples_of(span gloss) {
  span definition = definition_of(gloss);
  const char *at = definition.at + definition.n;
  return (span){at, (size_t)(gloss.at + gloss.n - at)};
}

static void put_examples(text_buffer *to, span gloss) {
  span rest = examples_of(gloss), example, by;
  unsigned examples = 0;
  while (next_example(&rest, &example, &by)) {
    text_puts(to, examples++ == 0 ? " For example: \"" : "; \"");
    put_span(to, example);
    text_puts(to, "\"");
    if (by.n == 0) continue;
    text_puts(to, " (");
    put_span(to, by);
    text_puts(to, ")");
  }
  if (examples > 0) text_puts(to, ".");
}

/* The words that the first pointers of a kind lead to, each once. Lexical pointers lead to one word of a synset, others
 * to all of it, for which its first word stands. */
static unsigned related(const wordnet *w, const synset *s, const char *symbol, span found[MAX_RELATED]) {
  synset *target = mem_alloc(1, sizeof *target);
  span rest = s->pointer_fields;
  unsigned n = 0;
  for (unsigned p = 0; target != NULL && p < s->pointers && n < MAX_RELATED; p++) {
    unsigned long offset, words;
    bool wanted = is(next_field(&rest), symbol);
    if (!next_number(&rest, 10, &offset)) break;
    int file = file_of(next_field(&rest));
    if (!next_number(&rest, 16, &words) || file < 0) break;
    if (!wanted || !parse_synset(w, file, offset, target)) continue;
    unsigned which = (unsigned)(words & 0xff);
    span word = target->word[which > 0 && which <= target->words ? which - 1 : 0];
    bool known = false;
    for (unsigned i = 0; i < n; i++) known |= found[i].n == word.n && memcmp(found[i].at, word.at, word.n) == 0;
    if (!known) found[n++] = word;
  }
  free(target);
  return n;
}

static void put_list(text_buffer *to, const char *lead, const span *word, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    text_puts(to, i == 0 ? lead : i + 1 == n ? " and " : ", ");
    put_word(to, word[i]);
  }
  if (n > 0) end_sentence(to);
}

static void put_relations(text_buffer *to, const wordnet *w, int file, const synset *s) {
  static const struct {
    int file;
    const char *symbol, *lead;
  } relations[] = {{NOUN, "@", " A kind of "},
                   {NOUN, "@i", " An instance of "},
                   {NOUN, "#p", " Part of "},
                   {VERB, "@", " A way to "},
                   {ADJECTIVE, "&", " Similar to "},
                   {ADJECTIVE, "\\", " Relating to "},
                   {ADVERB, "\\", " From the adjective "}};
  span found[MAX_RELATED];
  for (size_t r = 0; r < sizeof relations / sizeof *relations; r++) {
    if (relations[r].file == file) put_list(to, relations[r].lead, found, related(w, s, relations[r].symbol, found));
  }
  put_list(to, " The opposite of ", found, related(w, s, "!", found));
}

static void put_prose(text_buffer *to, const wordnet *w, int file, const synset *s) {
  put_word(to, s->word[0]);
  text_puts(to, " (");
  text_puts(to, part_of_speech[file]);
  text_puts(to, "): ");
  put_span(to, definition_of(s->gloss));
  end_sentence(to);
  put_examples(to, s->gloss);
  if (s->words > 1) put_list(to, " Also ", s->word + 1, s->words - 1);
  put_relations(to, w, file, s);
}

/* ---- from a synset to a conversation ----
 * What is the same in all of them never makes eight words in a row: two conversations are not near copies for it. */

/* Writes what `from` on was written as a sentence: with a capital letter. */
static void begin_sentence(text_buffer *to, size_t from) {
  if (from < to->n) to->bytes[from] = (char)toupper((unsigned char)to->bytes[from]);
  end_sentence(to);
}

static void put_question(text_buffer *to, int file, span word, bool in_quotes) {
  if (file == NOUN && !in_quotes) {
    bool name = isupper((unsigned char)*word.at), vowel = strchr("aeiou", *word.at) != NULL;
    text_puts(to, name ? "User: What is " : vowel ? "User: What is an " : "User: What is a ");
    put_word(to, word);
    text_puts(to, "?");
  } else if (file == VERB && !in_quotes) {
    text_puts(to, "User: What does it mean to ");
    put_word(to, word);
    text_puts(to, "?");
  } else {
    text_puts(to, "User: What does \"");
    put_word(to, word);
    text_puts(to, "\" mean?");
  }
}

static size_t put_turn(text_buffer *to, const char *question) {
  text_puts(to, question);
  text_puts(to, "\n\nAssistant: ");
  return to->n;
}

static void put_list_turn(text_buffer *to, const char *question, const span *word, unsigned n) {
  if (n == 0) return;
  size_t from = put_turn(to, question);
  put_list(to, "", word, n);
  begin_sentence(to, from);
}

static void put_conversation(text_buffer *to, const wordnet *w, int file, const synset *s, bool in_quotes) {
  span found[MAX_RELATED], rest = examples_of(s->gloss), example, by;
  put_question(to, file, s->word[0], in_quotes);
  size_t from = put_turn(to, "");
  put_span(to, definition_of(s->gloss));
  begin_sentence(to, from);
  if (next_example(&rest, &example, &by)) {
    from = put_turn(to, "\n\nUser: Give me an example.");
    put_span(to, example);
    begin_sentence(to, from);
  }
  put_list_turn(to, "\n\nUser: Another word for it?", s->word + 1, s->words - 1);
  if (file == NOUN) put_list_turn(to, "\n\nUser: A kind of what?", found, related(w, s, "@", found));
  put_list_turn(to, "\n\nUser: And the opposite?", found, related(w, s, "!", found));
}

/* A third of the sets become conversations: the definition's own words say which. */
static status add_synset(const wordnet *w, int file, const synset *s, text_buffer *text, text_list *list) {
  span definition = definition_of(s->gloss);
  uint64_t draw = XXH3_64bits(definition.at, definition.n) % 6;
  text->n = 0;
  if (draw < 2) {
    put_conversation(text, w, file, s, draw == 1);
  } else {
    put_prose(text, w, file, s);
  }
  return text_list_add(list, TEXT_WORDNET, definition.at, definition.n, text);
}

/* The file begins with its licence, in lines that begin with two spaces. */
static status collect_file(const wordnet *w, int file, text_list *list) {
  text_buffer text = {0};
  synset *s = mem_alloc(1, sizeof *s);
  status result = s != NULL ? STATUS_OK : last_status();
  size_t next;
  for (size_t at = 0; result == STATUS_OK && at < w->size[file]; at = next) {
    span line = line_at(w, file, at);
    next = at + line.n + 1;
    if (line.n == 0 || *line.at == ' ') continue;
    if (parse_synset(w, file, at, s)) {
      result = add_synset(w, file, s, &text, list);
    } else {
      result = fail(STATUS_FORMAT, "%s: the line at byte %zu is not a set of synonyms", file_name[file], at);
    }
  }
  free(s);
  free(text.bytes);
  return result;
}

status text_collect_wordnet(const char *folder, text_list *list) {
  wordnet w = {0};
  status s = STATUS_OK;
  for (int f = 0; f < FILES && s == STATUS_OK; f++) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, file_name[f]);
    w.text[f] = file_read(path, MAX_FILE_BYTES, &w.size[f]);
    if (w.text[f] == NULL) s = last_status();
  }
  for (int f = 0; f < FILES && s == STATUS_OK; f++) s = collect_file(&w, f, list);
  for (int f = 0; f < FILES; f++) free(w.text[f]);
  return s;
}
