/* Which kind a title, file name or emoji name says: its head noun, looked up in the table of kinds and synonyms.
 *
 * The head of an English name is its last words before a preposition ("a glass of milk": glass); trailing words that
 * say nothing (colours, numbers, "icon") are dropped. Longer phrases win ("hot dog" before "dog"). A plural is another
 * word and says nothing: the picture would show several. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/build/build.h"

enum { MAX_NAME = 256, MAX_WORDS = 24, MAX_PHRASE = 5 };

typedef struct {
  char *phrase;
  const char *where; /* "-", "emoji", "first" or a folder */
  int64_t kind;      /* or NAME_REJECTED */
} name_entry;

struct name_table {
  tsv *synonyms;
  name_entry *entry;
  size_t n;
};

static const char *const PREPOSITIONS[] = {"with", "of",  "in",  "on",    "at", "for",   "from",    "by",  "and", "to",
                                           "near", "or",  "di",  "da",    "de", "del",   "della",   "con", "per", "su",
                                           "und",  "les", "the", "under", "au", "drawn", "against", "che", "e",   NULL};
static const char *const SAY_NOTHING[] = {
    "icon",    "clipart",     "art",          "simple",  "outline", "silhouette", "bw",     "b",
    "w",       "color",       "colour",       "sketch",  "contour", "i",          "ii",     "iii",
    "v",       "a",           "one",          "two",     "three",   "black",      "white",  "red",
    "green",   "blue",        "yellow",       "orange",  "purple",  "pink",       "brown",  "grey",
    "gray",    "face",        "drawing",      "svg",     "md",      "aj",         "r",      "s",
    "x",       "alt",         "illustration", "another", "clip",    "new",        "vector", "copy",
    "cartoon", "transparent", "small",        "big",     "large",   "up",         NULL};

static bool is_among(const char *word, const char *const *list) {
  for (; *list != NULL; list++) {
    if (strcmp(word, *list) == 0) return true;
  }
  return false;
}

void normal_words(const char *text, char *out, size_t capacity) {
  size_t n = 0;
  int depth = 0;
  bool was_lower = false;
  for (const unsigned char *p = (const unsigned char *)text; *p != 0 && n + 2 < capacity; p++) {
    if (*p == '(') depth++;
    if (*p == ')' && depth > 0) depth--;
    bool apostrophe = *p == '\'' || (p[0] == 0xe2 && p[1] == 0x80 && p[2] == 0x99);
    if (apostrophe) {
      if (*p != '\'') p += 2;
      continue;
    }
    bool letter = depth == 0 && (isalpha(*p) || *p >= 0x80);
    bool hump = isupper(*p) && was_lower; /* aziendaVendite */
    if ((!letter || hump) && n > 0 && out[n - 1] != ' ') out[n++] = ' ';
    if (letter) out[n++] = (char)tolower(*p);
    was_lower = islower(*p);
  }
  while (n > 0 && out[n - 1] == ' ') n--;
  out[n] = 0;
}

/* ---- the table ---- */

static int compare_entry(const void *a, const void *b) {
  const name_entry *x = a, *y = b;
  int order = strcmp(x->phrase, y->phrase);
  return order != 0 ? order : strcmp(x->where, y->where);
}

static status add_entry(name_table *names, const char *name, const char *where, int64_t kind) {
  char words[MAX_NAME];
  normal_words(name, words, sizeof words);
  name_entry e = {mem_string(words), where, kind};
  if (e.phrase == NULL) return last_status();
  names->entry[names->n++] = e;
  return STATUS_OK;
}

static status fill(name_table *names, const char *path, const kind_table *kinds) {
  names->entry = mem_alloc(names->synonyms->rows + kinds->n, sizeof *names->entry);
  if (names->entry == NULL) return last_status();
  status s = STATUS_OK;
  for (uint32_t k = 0; s == STATUS_OK && k < kinds->n; k++) s = add_entry(names, kinds->kind[k].singular, "-", k);
  for (size_t r = 0; s == STATUS_OK && r < names->synonyms->rows; r++) {
    const char *singular = tsv_field(names->synonyms, r, 1);
    uint32_t kind = kind_table_find(kinds, singular);
    if (kind == UINT32_MAX && strcmp(singular, "-") != 0) {
      return fail(STATUS_FORMAT, "%s, line %u: '%s' is not in the table of kinds", path, names->synonyms->line[r],
                  singular);
    }
    s = add_entry(names, tsv_field(names->synonyms, r, 0), tsv_field(names->synonyms, r, 2),
                  kind == UINT32_MAX ? NAME_REJECTED : (int64_t)kind);
  }
  if (s != STATUS_OK) return s;
  qsort(names->entry, names->n, sizeof *names->entry, compare_entry);
  for (size_t i = 1; i < names->n; i++) {
    if (compare_entry(&names->entry[i - 1], &names->entry[i]) == 0) {
      return fail(STATUS_FORMAT, "%s: '%s' is said twice, or is itself a kind", path, names->entry[i].phrase);
    }
  }
  return STATUS_OK;
}

name_table *name_table_read(const char *synonyms_path, const kind_table *kinds) {
  name_table *names = mem_zero(1, sizeof *names);
  if (names == NULL) return NULL;
  names->synonyms = tsv_read(synonyms_path, 3);
  if (names->synonyms == NULL || fill(names, synonyms_path, kinds) != STATUS_OK) {
    name_table_free(names);
    return NULL;
  }
  return names;
}

void name_table_free(name_table *names) {
  if (names == NULL) return;
  for (size_t i = 0; i < names->n; i++) free(names->entry[i].phrase);
  free(names->entry);
  tsv_free(names->synonyms);
  free(names);
}

/* How well an entry's place fits: 0 not at all, then anywhere, then the more particular. */
static size_t place_fit(const char *where, const char *place, bool at_beginning) {
  if (strcmp(where, "first") == 0) return strcmp(place, "emoji") != 0;
  if (at_beginning) return 0;
  if (strcmp(where, "-") == 0) return 1;
  size_t n = strlen(where);
  return strncmp(place, where, n) == 0 && (place[n] == 0 || place[n] == '/') ? 1 + n : 0;
}

static int64_t look_up(const name_table *names, const char *phrase, const char *place, bool at_beginning) {
  size_t low = 0, high = names->n, best = 0;
  int64_t kind = NAME_UNKNOWN;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (strcmp(names->entry[middle].phrase, phrase) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (; low < names->n && strcmp(names->entry[low].phrase, phrase) == 0; low++) {
    size_t fit = place_fit(names->entry[low].where, place, at_beginning);
    if (fit > best) {
      best = fit;
      kind = names->entry[low].kind;
    }
  }
  return kind;
}

/* Looks up words[from..to) joined by spaces. */
static int64_t look_up_words(const name_table *names, char **words, int from, int to, const char *place,
                             bool at_beginning) {
  char phrase[MAX_NAME];
  size_t n = 0;
  for (int i = from; i < to && n < sizeof phrase; i++) {
    n += (size_t)snprintf(phrase + n, sizeof phrase - n, "%s%s", i > from ? " " : "", words[i]);
  }
  return look_up(names, phrase, place, at_beginning);
}

static int64_t kind_of_words(const name_table *names, char **words, int n, const char *place) {
  int head = 1;
  int64_t kind = NAME_UNKNOWN;
  while (head < n && !is_among(words[head], PREPOSITIONS)) head++;
  for (int end = head; end > 0 && kind == NAME_UNKNOWN; end--) {
    for (int from = end > MAX_PHRASE ? end - MAX_PHRASE : 0; from < end && kind == NAME_UNKNOWN; from++) {
      kind = look_up_words(names, words, from, end, place, false);
    }
    if (!is_among(words[end - 1], SAY_NOTHING)) break;
  }
  for (int to = n < MAX_PHRASE ? n : MAX_PHRASE; to > 0 && kind == NAME_UNKNOWN; to--) {
    kind = look_up_words(names, words, 0, to, place, true);
  }
  return kind;
}

int64_t kind_of_name(const name_table *names, const char *text, const char *place) {
  char normal[MAX_NAME];
  char *words[MAX_WORDS];
  int n = 0;
  normal_words(text, normal, sizeof normal);
  int64_t kind = look_up(names, normal, place, false);
  if (kind != NAME_UNKNOWN) return kind;
  const char *remark = strstr(text, " - "); /* "tree - RPG map elements" */
  if (remark != NULL) {
    char before[MAX_NAME];
    snprintf(before, sizeof before, "%.*s", (int)(remark - text < MAX_NAME ? remark - text : MAX_NAME), text);
    normal_words(before, normal, sizeof normal);
  }
  char *rest = normal;
  for (char *word = strtok_r(normal, " ", &rest); word != NULL && n < MAX_WORDS; word = strtok_r(NULL, " ", &rest)) {
    words[n++] = word;
  }
  return n > 0 ? kind_of_words(names, words, n, place) : NAME_UNKNOWN;
}
