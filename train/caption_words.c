/* Penn Treebank tokens of captions. See caption_words.h; rules: spec visualrwkv section 10.1. */
#include "train/caption_words.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/utf8.h"

/* The caption as code points, and the tokens written so far. */
typedef struct {
  uint32_t *c;
  size_t n;
  char *out;
  size_t used;
} scanner;

static uint32_t at(const scanner *s, size_t i) { return i < s->n ? s->c[i] : 0; }

static bool between(uint32_t c, uint32_t low, uint32_t high) { return c >= low && c <= high; }
static bool is_digit(uint32_t c) { return between(c, '0', '9'); }
static bool is_upper(uint32_t c) { return between(c, 'A', 'Z'); }
static bool is_space(uint32_t c) { return c == ' ' || between(c, '\t', '\r') || c == 0xa0 || c == 0x3000; }
/* Punctuation, signs, arrows, pictographs: each a token of its own. */
static bool is_symbol(uint32_t c) {
  return (between(c, 0xa1, 0xbf) && c != 0xaa && c != 0xb5 && c != 0xba) || c == 0xd7 || c == 0xf7 ||
         between(c, 0x2010, 0x2bff) || between(c, 0x3001, 0x303f) || between(c, 0x1f000, 0x1faff);
}
static bool is_letter(uint32_t c) {
  return between(c, 'a', 'z') || is_upper(c) || (c >= 0x80 && !is_space(c) && !is_symbol(c));
}
static bool is_word(uint32_t c) { return is_letter(c) || is_digit(c); }

static uint32_t lower(uint32_t c) {
  if (is_upper(c) || (between(c, 0xc0, 0xde) && c != 0xd7)) return c + 0x20;
  if (between(c, 0x391, 0x3a9) || between(c, 0x410, 0x42f)) return c + 0x20;
  return between(c, 0x400, 0x40f) ? c + 0x50 : c;
}

/* Typographic forms that the tokenizer takes for plain ones. */
static uint32_t plain(uint32_t c) {
  switch (c) {
  case 0x2018:
    return '`';
  case 0x2019:
    return '\'';
  case 0x201c:
  case 0x201d:
  case 0xab:
  case 0xbb:
    return '"';
  case 0x2010:
  case 0x2011:
    return '-';
  }
  return is_space(c) ? ' ' : c;
}

/* -- Writing tokens ------------------------------------------------------------------------------------------------ */

static bool is_dropped(const char *token) {
  static const char *const dropped[] = {"''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".",
                                        "?",  "!", ",",  ":", "-",     "--",    "...",   ";"};
  for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
    if (!strcmp(token, dropped[i])) return true;
  return false;
}

/* Ends the token that begins at `from` (after its space): takes it back if it is one that is dropped. */
static void finish_token(scanner *s, size_t start) {
  s->out[s->used] = '\0';
  if (is_dropped(s->out + start + (start != 0))) s->used = start;
}

static void put_text(scanner *s, const char *token) {
  size_t start = s->used, n = strlen(token);
  if (start) s->out[s->used++] = ' ';
  memcpy(s->out + s->used, token, n);
  s->used += n;
  finish_token(s, start);
}

static void put(scanner *s, size_t from, size_t to) {
  size_t start = s->used;
  if (start) s->out[s->used++] = ' ';
  for (size_t i = from; i < to; i++) s->used += (size_t)utf8_put(lower(s->c[i]), s->out + s->used);
  finish_token(s, start);
}

/* True if the code points [from, to) are `word` when in lower case. */
static bool equals(const scanner *s, size_t from, size_t to, const char *word) {
  for (; from < to && *word; from++, word++)
    if (lower(s->c[from]) != (uint8_t)*word) return false;
  return from == to && !*word;
}

static bool one_of(const scanner *s, size_t from, size_t to, const char *const *words) {
  for (; *words; words++)
    if (equals(s, from, to, *words)) return true;
  return false;
}

/* -- Words --------------------------------------------------------------------------------------------------------- */

static size_t letters_end(const scanner *s, size_t i) {
  while (is_letter(at(s, i))) i++;
  return i;
}

/* The end of the clitic that begins with the apostrophe at i ('s, 're, 've, 'll, 'd, 'm), or 0. */
static size_t clitic_end(const scanner *s, size_t i) {
  static const char *const clitics[] = {"s", "re", "ve", "ll", "d", "m", NULL};
  size_t end = letters_end(s, i + 1);
  return at(s, i) == '\'' && !is_digit(at(s, end)) && one_of(s, i + 1, end, clitics) ? end : 0;
}

/* True if the apostrophe at i is that of n't, after at least one letter of the word that begins at `from`. */
static bool is_not(const scanner *s, size_t from, size_t i) {
  return i >= from + 2 && lower(at(s, i - 1)) == 'n' && lower(at(s, i + 1)) == 't' && !is_word(at(s, i + 2));
}

/* True if the character at i, after a word character, goes on with the word that begins at `from`. */
static bool joins(const scanner *s, size_t from, size_t i) {
  const uint32_t before = at(s, i - 1), next = at(s, i + 1);
  switch (at(s, i)) {
  case '-':
  case '_':
  case '/':
    return is_word(next);
  case '.':
    if (is_digit(before) && is_digit(next)) return true;
    return is_letter(s->c[from]) && is_letter(next);
  case ',':
  case ':':
    return is_digit(before) && is_digit(next);
  case '!':
  case '?':
    return is_letter(s->c[from]) && is_letter(next);
  case '&':
    return is_upper(before) && is_upper(next);
  case '\'':
    return is_letter(next) && !clitic_end(s, i) && !is_not(s, from, i);
  }
  return false;
}

/* True if the period at `end` belongs to the token [from, end): an abbreviation or initials. */
static bool keeps_period(const scanner *s, size_t from, size_t end) {
  static const char *const abbreviations[] = {
      "jan", "feb",  "mar",  "apr",    "jun",  "jul",   "aug",  "sep",  "sept", "oct", "nov",  "dec",
      "mon", "tue",  "tues", "wed",    "thu",  "thurs", "fri",  "inc",  "co",   "cos", "corp", "ltd",
      "plc", "univ", "est",  "ext",    "sq",   "jr",    "sr",   "bros", "esq",  "etc", "bldg", "orig",
      "mr",  "mrs",  "ms",   "dr",     "drs",  "prof",  "sen",  "rep",  "lt",   "col", "gen",  "gov",
      "adm", "rev",  "maj",  "sgt",    "cpl",  "pvt",   "capt", "st",   "ste",  "ave", "pres", "hon",
      "mt",  "ft",   "asst", "messrs", "dept", "blvd",  "rd",   "natl", "vs",   "wm",  "cf",   NULL};
  static const char *const before_numbers[] = {"no", "nos", "vol", "vols", "fig", "figs",
                                               "ch", "pp",  "apt", "ca",   NULL};
  size_t next = end + 1;
  while (at(s, next) == ' ') next++;
  if (one_of(s, from, end, abbreviations)) return true;
  if (one_of(s, from, end, before_numbers)) return is_digit(at(s, next));
  for (size_t i = from; i < end; i++) /* initials: single letters with periods between */
    if ((i - from) % 2 ? s->c[i] != '.' : !is_letter(s->c[i]) || s->c[i] >= 0x80) return false;
  if ((end - from) % 2 == 0) return false;
  return end - from > 1 || !is_upper(at(s, next)); /* a lone letter before a new sentence ends the old one */
}

/* Two words that are written as one: how many characters the first has, or 0. */
static size_t first_half(const scanner *s, size_t from, size_t end) {
  static const struct {
    const char *word;
    size_t first;
  } joined[] = {{"cannot", 3}, {"gonna", 3}, {"gotta", 3}, {"wanna", 3}, {"lemme", 3}, {"gimme", 3}};
  for (size_t i = 0; i < sizeof joined / sizeof *joined; i++)
    if (equals(s, from, end, joined[i].word)) return joined[i].first;
  return 0;
}

/* Writes the token or tokens of the word at `from`, whose first character may be a sign or a decimal point. */
static size_t scan_word(scanner *s, size_t from) {
  size_t end = from + 1;
  while (is_word(at(s, end)) || joins(s, from, end)) end++;
  if (at(s, end) == '\'' && is_not(s, from, end)) {
    put(s, from, end - 1);
    put(s, end - 1, end + 2);
    return end + 2;
  }
  size_t clitic = clitic_end(s, end), first = first_half(s, from, end);
  if (clitic) {
    put(s, from, end);
    put(s, end, clitic);
    return clitic;
  }
  if (at(s, end) == '.' && at(s, end + 1) != '.' && keeps_period(s, from, end)) end++;
  if (first) put(s, from, from + first);
  put(s, from + first, end);
  return end;
}

/* -- Everything else ----------------------------------------------------------------------------------------------- */

static size_t run_end(const scanner *s, size_t i, const char *set) {
  while (at(s, i) && at(s, i) < 0x80 && strchr(set, (int)at(s, i))) i++;
  return i;
}

/* An apostrophe that does not continue a word: a clitic on its own, 'tis, a decade, or a quote. */
static size_t scan_apostrophe(scanner *s, size_t i) {
  static const char *const contracted[] = {"tis", "twas", NULL}, *const words[] = {"em",    "til", "till",
                                                                                   "cause", "n",   NULL};
  size_t end = clitic_end(s, i), letters = letters_end(s, i + 1);
  if (!end && one_of(s, i + 1, letters, words)) end = letters;
  if (!end && is_digit(at(s, i + 1)) && at(s, i + 2) == '0' && lower(at(s, i + 3)) == 's' && !is_word(at(s, i + 4)))
    end = i + 4;
  if (end) return put(s, i, end), end;
  if (one_of(s, i + 1, letters, contracted)) {
    put(s, i, i + 2);
    put(s, i + 2, letters);
    return letters;
  }
  return i + 1;
}

static size_t scan_mark(scanner *s, size_t i) {
  static const char *const brackets[] = {"(-lrb-", ")-rrb-", "[-lsb-", "]-rsb-", "{-lcb-", "}-rcb-"};
  const uint32_t c = at(s, i);
  size_t end = i + 1;
  for (size_t k = 0; k < 6; k++) {
    if (c == (uint8_t)*brackets[k]) return put_text(s, brackets[k] + 1), end;
  }
  switch (c) {
  case '"':
    return end; /* a double quote becomes `` or '', both dropped */
  case '\'':
    return scan_apostrophe(s, i);
  case '.':
  case 0x2026:
  case '-':
  case 0x2012:
  case 0x2013:
  case 0x2014:
  case 0x2015:
    return end; /* periods, ellipses and dashes of any length are dropped */
  case '!':
  case '?':
    end = run_end(s, i, "!?");
    break;
  case '*':
  case '#':
  case '@':
  case '_':
    end = run_end(s, i, (const char[]){(char)c, '\0'});
    break;
  }
  put(s, i, end);
  return end;
}

static size_t scan_token(scanner *s, size_t i) {
  const uint32_t c = at(s, i), next = at(s, i + 1);
  if (c == ' ') return i + 1;
  const bool fresh = i == 0 || at(s, i - 1) == ' ';
  const bool number = is_digit(next) && (c == '.' || (fresh && (c == '-' || c == '+')));
  return is_word(c) || number ? scan_word(s, i) : scan_mark(s, i);
}

char *caption_words(const char *caption) {
  const size_t n = strlen(caption);
  /* A token is at most a space longer than its characters; a bracket becomes five, and an unreadable byte three. */
  scanner s = {.c = mem_alloc(n, sizeof *s.c), .out = mem_alloc(n + 1, 8)};
  if (!s.c || !s.out) {
    free(s.c);
    free(s.out);
    return NULL;
  }
  for (size_t i = 0; i < n;) {
    uint32_t code;
    int length = utf8_next(caption + i, n - i, &code);
    s.c[s.n++] = length > 0 ? plain(code) : 0xfffd;
    i += length > 0 ? (size_t)length : 1;
  }
  for (size_t i = 0; i < s.n;) i = scan_token(&s, i);
  s.out[s.used] = '\0';
  free(s.c);
  return s.out;
}
