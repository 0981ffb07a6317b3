/* Reading captions for their content and judging it. See caption_score.h for the rules. */
#include "train/caption_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/intern.h"

/* All words live in one table; what a word can mean is kept by its number there. */
typedef struct {
  uint32_t colour; /* 0: none */
  uint32_t count;  /* 0: none */
  bool breaks;     /* begins a new phrase */
  bool mark;       /* in a sentence: punctuation stands before it */
} word_meaning;

struct caption_lexicon {
  intern *words;
  word_meaning *meaning; /* [words when the lexicon was finished] */
  intern *phrases;       /* a kind's singular or plural: the numbers of its words as bytes */
  caption_mention *kind; /* [phrases]: the kind, and count 1 for a singular, 0 for a plural */
  size_t kind_room;
  size_t longest; /* words of the longest phrase */
};

/* -- Words of a text ----------------------------------------------------------------------------------------------- */

#define WORD_MAX 64 /* longer ones are cut: no word of the tables is nearly as long */

/* The next word of *text in lower case, moving *text behind it; its length, 0 at the end. *mark: punctuation before it.
 */
static size_t next_word(const char **text, char word[WORD_MAX], bool *mark) {
  const char *p = *text;
  size_t n = 0;
  *mark = false;
  for (;; p++) {
    const uint8_t c = (uint8_t)*p;
    const bool upper = c >= 'A' && c <= 'Z',
               letter = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;
    if (letter || (n && (c == '\'' || c == '-'))) {
      if (n < WORD_MAX) word[n++] = (char)(upper ? c + 'a' - 'A' : c);
      continue;
    }
    if (n || !c) break;
    *mark = *mark || !strchr(" \t\n\v\f\r", c);
  }
  *text = p;
  while (n && (word[n - 1] == '\'' || word[n - 1] == '-')) n--;
  return n;
}

/* Digits as a number, at most six of them; 0 if the word is none. */
static uint32_t number_of(const char *word, size_t n) {
  uint32_t value = 0;
  if (n > 6) return 0;
  for (size_t i = 0; i < n; i++) {
    if (word[i] < '0' || word[i] > '9') return 0;
    value = value * 10 + (uint32_t)(word[i] - '0');
  }
  return value;
}

/* -- The lexicon --------------------------------------------------------------------------------------------------- */

/* Words after which a count or colour said before no longer applies. */
static const char *const breaking[] = {"and",    "or",    "but",     "with", "without", "of",      "on",      "in",
                                       "at",     "by",    "to",      "for",  "from",    "over",    "under",   "behind",
                                       "beside", "above", "below",   "near", "next",    "between", "beneath", "against",
                                       "around", "into",  "through", "is",   "are",     "while",   "that",    "which"};

void caption_lexicon_free(caption_lexicon *lexicon) {
  if (!lexicon) return;
  intern_free(lexicon->words);
  intern_free(lexicon->phrases);
  free(lexicon->meaning);
  free(lexicon->kind);
  free(lexicon);
}

/* Adds a kind's words; *id gets the number of the phrase, *is_new whether it was unknown. */
static status add_phrase(caption_lexicon *lexicon, const char *text, uint32_t *id, bool *is_new) {
  char word[WORD_MAX];
  bool mark;
  size_t n = 0, length, room = strlen(text) + 1;
  const char *rest = text;
  uint32_t *numbers = mem_alloc(room, sizeof *numbers);
  status code = numbers ? STATUS_OK : STATUS_MEMORY;
  while (!code && (length = next_word(&rest, word, &mark)))
    code = intern_add(lexicon->words, word, length, &numbers[n++]);
  if (!code && !n) code = fail(STATUS_ARGUMENT, "\"%s\" is no name of a kind: it has no word", text);
  if (!code) {
    *is_new = intern_find(lexicon->phrases, numbers, n * sizeof *numbers) == INTERN_NONE;
    code = intern_add(lexicon->phrases, numbers, n * sizeof *numbers, id);
    if (n > lexicon->longest) lexicon->longest = n;
  }
  free(numbers);
  return code;
}

/* All singulars first, so that they win over plurals. */
static status add_kinds(caption_lexicon *lexicon, const kind_words *kinds, uint32_t n) {
  lexicon->kind = mem_alloc((size_t)n * 2, sizeof *lexicon->kind);
  if (!lexicon->kind) return STATUS_MEMORY;
  for (int plural = 0; plural < 2; plural++) {
    for (uint32_t k = 0; k < n; k++) {
      const char *text = plural ? kinds[k].plural : kinds[k].singular;
      uint32_t id;
      bool is_new;
      status code = add_phrase(lexicon, text, &id, &is_new);
      if (code) return code;
      if (!is_new && !plural)
        return fail(STATUS_ARGUMENT, "kinds %u and %u are both called \"%s\"", lexicon->kind[id].kind, k, text);
      if (is_new) lexicon->kind[id] = (caption_mention){.kind = k, .count = plural ? 0 : 1};
    }
  }
  return STATUS_OK;
}

typedef enum { COLOUR_WORD, COUNT_WORD, BREAKING_WORD } word_role;

/* Gives words[i] the meaning i in a role. The table of meanings has room for every word that can come. */
static status add_words(caption_lexicon *lexicon, const char *const *words, uint32_t n, word_role role) {
  for (uint32_t i = role == BREAKING_WORD ? 0 : 1; i < n; i++) {
    uint32_t id;
    status code = intern_add(lexicon->words, words[i], strlen(words[i]), &id);
    if (code) return code;
    word_meaning *m = lexicon->meaning + id;
    if (role == COLOUR_WORD) {
      m->colour = i;
    } else if (role == COUNT_WORD) {
      m->count = i;
    } else {
      m->breaks = true;
    }
  }
  return STATUS_OK;
}

caption_lexicon *caption_lexicon_new(const kind_words *kinds, uint32_t n_kinds, const char *const *colours,
                                     uint32_t n_colours, const char *const *numbers, uint32_t n_numbers) {
  static const char *const one[] = {"", "a"}, *const one_too[] = {"", "an"};
  const uint32_t n_breaking = sizeof breaking / sizeof *breaking;
  caption_lexicon *lexicon = mem_zero(1, sizeof *lexicon);
  if (!lexicon) return NULL;
  lexicon->words = intern_new();
  lexicon->phrases = intern_new();
  if (!lexicon->words || !lexicon->phrases || add_kinds(lexicon, kinds, n_kinds)) goto failed;
  size_t room = (size_t)intern_count(lexicon->words) + n_colours + n_numbers + n_breaking + 2;
  lexicon->meaning = mem_zero(room, sizeof *lexicon->meaning);
  if (!lexicon->meaning || add_words(lexicon, colours, n_colours, COLOUR_WORD) ||
      add_words(lexicon, numbers, n_numbers, COUNT_WORD) || add_words(lexicon, one, 2, COUNT_WORD) ||
      add_words(lexicon, one_too, 2, COUNT_WORD) || add_words(lexicon, breaking, n_breaking, BREAKING_WORD))
    goto failed;
  return lexicon;
failed:
  caption_lexicon_free(lexicon);
  return NULL;
}

/* -- Reading ------------------------------------------------------------------------------------------------------- */

typedef struct {
  uint32_t *word; /* numbers in the lexicon, INTERN_NONE for an unknown word */
  word_meaning *meaning;
  size_t n;
} sentence;

static status read_words(const caption_lexicon *lexicon, const char *text, sentence *s) {
  char word[WORD_MAX];
  size_t length, room = strlen(text) + 1;
  bool mark;
  s->word = mem_alloc(room, sizeof *s->word);
  s->meaning = mem_zero(room, sizeof *s->meaning);
  if (!s->word || !s->meaning) return STATUS_MEMORY;
  for (; (length = next_word(&text, word, &mark)); s->n++) {
    const uint32_t id = s->word[s->n] = intern_find(lexicon->words, word, length);
    word_meaning *m = s->meaning + s->n;
    if (id != INTERN_NONE) *m = lexicon->meaning[id];
    if (!m->count) m->count = number_of(word, length);
    m->mark = mark;
  }
  return STATUS_OK;
}

/* The longest kind that begins at word i: its number of words, 0 if there is none. */
static size_t kind_at(const caption_lexicon *lexicon, const sentence *s, size_t i, caption_mention *kind) {
  size_t end = i; /* a breaking word may be part of a kind ("jack in the box"), punctuation may not */
  while (end < s->n && end - i < lexicon->longest && s->word[end] != INTERN_NONE && (end == i || !s->meaning[end].mark))
    end++;
  for (size_t n = end - i; n > 0; n--) {
    uint32_t id = intern_find(lexicon->phrases, s->word + i, n * sizeof *s->word);
    if (id == INTERN_NONE) continue;
    *kind = lexicon->kind[id];
    return n;
  }
  return 0;
}

static void add_mention(caption_mention *list, size_t *n, caption_mention m) {
  for (size_t i = 0; i < *n; i++)
    if (list[i].kind == m.kind && list[i].count == m.count && list[i].colour == m.colour) return;
  list[(*n)++] = m;
}

/* list: room for s->n. */
static size_t read_mentions(const caption_lexicon *lexicon, const sentence *s, caption_mention *list) {
  size_t n = 0;
  uint32_t count = 0, colour = 0; /* said, and waiting for their kind */
  for (size_t i = 0, step; i < s->n; i += step) {
    const word_meaning *m = s->meaning + i;
    caption_mention kind, following;
    size_t words = kind_at(lexicon, s, i, &kind);
    step = 1;
    if (m->breaks || m->mark) count = colour = 0;
    if (words == 1 && m->colour && i + 1 < s->n && !m[1].mark &&
        (m[1].colour || kind_at(lexicon, s, i + 1, &following)))
      words = 0; /* "orange" before another kind or colour */
    if (words) {
      add_mention(list, &n, (caption_mention){kind.kind, count ? count : kind.count, colour});
      count = colour = 0;
      step = words;
    } else if (m->count) {
      count = m->count;
      colour = 0;
    } else if (m->colour) {
      colour = m->colour;
    }
  }
  return n;
}

status caption_read(const caption_lexicon *lexicon, const char *caption, caption_mention **mentions, size_t *n) {
  sentence s = {.n = 0};
  status code = read_words(lexicon, caption, &s);
  caption_mention *list = code ? NULL : mem_alloc(s.n, sizeof *list);
  if (list) {
    *n = read_mentions(lexicon, &s, list);
    *mentions = list;
  }
  free(s.word);
  free(s.meaning);
  return list ? STATUS_OK : STATUS_MEMORY;
}

/* -- Judging ------------------------------------------------------------------------------------------------------- */

static bool has_kind(const caption_mention *list, size_t n, uint32_t kind) {
  for (size_t i = 0; i < n; i++)
    if (list[i].kind == kind) return true;
  return false;
}

/* How many distinct kinds a list has, and how many of them the other list has too. */
static size_t count_kinds(const caption_mention *list, size_t n, const caption_mention *other, size_t n_other,
                          size_t *both) {
  size_t kinds = 0;
  *both = 0;
  for (size_t i = 0; i < n; i++) {
    if (has_kind(list, i, list[i].kind)) continue;
    kinds++;
    *both += has_kind(other, n_other, list[i].kind);
  }
  return kinds;
}

/* Matches the groups of one kind with as many first mentions of it. Taking pairs in the order of what agrees (both,
 * colour, count, nothing) makes most colours right: any pairing inside one colour is as good as another. */
static void judge_kind(caption_tally *tally, uint32_t kind, const caption_mention *groups, size_t n, bool *judged,
                       const caption_mention *said, size_t n_said, bool *used) {
  size_t n_groups = 0, last = 0, taken = 0;
  for (size_t g = 0; g < n; g++) n_groups += groups[g].kind == kind;
  for (; last < n_said && taken < n_groups; last++) taken += said[last].kind == kind;
  for (int needed = 3; needed >= 0; needed--) {
    for (size_t g = 0; g < n; g++) {
      for (size_t i = 0; i < last && groups[g].kind == kind && !judged[g]; i++) {
        const bool colour = said[i].colour == groups[g].colour, count = said[i].count == groups[g].count;
        if (said[i].kind != kind || used[i] || colour * 2 + count < needed) continue;
        judged[g] = used[i] = true;
        tally->colours_right += colour && groups[g].colour;
        tally->counts_right += count;
      }
    }
  }
  for (size_t g = 0; g < n; g++) {
    if (groups[g].kind != kind) continue;
    judged[g] = true;
    tally->counts++;
    tally->colours += groups[g].colour != 0;
  }
}

status caption_tally_add(caption_tally *tally, const caption_lexicon *lexicon, const char *caption,
                         const caption_mention *groups, size_t n) {
  if (!n) return fail(STATUS_ARGUMENT, "a scene without anything in it cannot be judged");
  caption_mention *said;
  size_t n_said, both;
  status code = caption_read(lexicon, caption, &said, &n_said);
  if (code) return code;
  bool *judged = mem_zero(n, sizeof *judged), *used = mem_zero(n_said, sizeof *used);
  if (judged && used) {
    tally->scenes++;
    size_t kinds = count_kinds(groups, n, said, n_said, &both);
    tally->recall += (double)both / (double)kinds;
    kinds = count_kinds(said, n_said, groups, n, &both);
    tally->precision += kinds ? (double)both / (double)kinds : 0;
    for (size_t g = 0; g < n; g++)
      if (!judged[g] && has_kind(said, n_said, groups[g].kind))
        judge_kind(tally, groups[g].kind, groups, n, judged, said, n_said, used);
  }
  code = judged && used ? STATUS_OK : STATUS_MEMORY;
  free(judged);
  free(used);
  free(said);
  return code;
}

static double share(double part, uint64_t whole) { return whole ? part / (double)whole : NAN; }

caption_content caption_tally_scores(const caption_tally *t) {
  return (caption_content){.recall = share(t->recall, t->scenes),
                           .precision = share(t->precision, t->scenes),
                           .colour_accuracy = share((double)t->colours_right, t->colours),
                           .count_accuracy = share((double)t->counts_right, t->counts)};
}
