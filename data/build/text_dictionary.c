/* Dictionaries in dictd's format as prose: NAME.index says where each entry of NAME.dict.dz (gzip with an index of its
 * own, which is not needed here) begins and how long it is. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/build/text.h"
#include "kernels/file.h"

enum { MAX_TEXT_BYTES = 64 << 20, DISPLAY_INDENT = 4, MAX_HEAD = 256, MAX_PART = 12 };

/* ---- reading ---- */

typedef struct {
  uint32_t at, n;
} extent;

/* Base 64 as dictd writes numbers: most significant digit first. */
static bool parse_base64(const char *digits, size_t n, uint32_t *value) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  uint64_t v = 0;
  for (size_t i = 0; i < n && v <= UINT32_MAX; i++) {
    const char *found = memchr(alphabet, digits[i], 64);
    if (found == NULL) return false;
    v = v * 64 + (uint64_t)(found - alphabet);
  }
  *value = (uint32_t)v;
  return n > 0 && v <= UINT32_MAX;
}

/* A line is: headword, tab, offset, tab, length. Entries about the database itself begin with "00". */
static bool parse_index_line(const char *line, size_t n, extent *out) {
  const char *first = memchr(line, '\t', n);
  const char *second = first != NULL ? memchr(first + 1, '\t', n - (size_t)(first + 1 - line)) : NULL;
  return second != NULL && parse_base64(first + 1, (size_t)(second - first - 1), &out->at) &&
         parse_base64(second + 1, n - (size_t)(second + 1 - line), &out->n);
}

static int by_place(const void *a, const void *b) {
  const extent *x = a, *y = b;
  return x->at != y->at ? (x->at < y->at ? -1 : 1) : (x->n > y->n) - (x->n < y->n);
}

/* The entries in the order of the text, each once; *entries must be freed. */
static status read_index(const char *path, extent **entries, size_t *count) {
  size_t size, room = 0;
  char *text = file_read(path, MAX_TEXT_BYTES, &size);
  if (text == NULL) return last_status();
  status s = STATUS_OK;
  for (char *line = text, *stop; s == STATUS_OK && line < text + size; line = stop + 1) {
    stop = memchr(line, '\n', (size_t)(text + size - line));
    if (stop == NULL) stop = text + size;
    extent e;
    if (strncmp(line, "00database", 10) == 0 || strncmp(line, "00-database", 11) == 0) continue;
    extent *grown = mem_room(*entries, *count, &room, sizeof e);
    if (grown != NULL) *entries = grown;
    if (grown == NULL) {
      s = last_status();
    } else if (!parse_index_line(line, (size_t)(stop - line), &e)) {
      s = fail(STATUS_FORMAT, "%s: the line at byte %zu is not a headword and a place", path, (size_t)(line - text));
    } else {
      grown[(*count)++] = e;
    }
  }
  free(text);
  if (s != STATUS_OK) return s;
  qsort(*entries, *count, sizeof **entries, by_place);
  size_t kept = 0;
  for (size_t i = 0; i < *count; i++) {
    if (kept == 0 || by_place(&(*entries)[kept - 1], &(*entries)[i]) != 0) (*entries)[kept++] = (*entries)[i];
  }
  *count = kept;
  return STATUS_OK;
}

static status read_gzip(const char *path, text_buffer *out) {
  char block[65536];
  int n = 0;
  gzFile file = gzopen(path, "rb");
  if (file == NULL) return fail(STATUS_IO, "cannot open %s", path);
  while (out->status == STATUS_OK && out->n <= MAX_TEXT_BYTES && (n = gzread(file, block, sizeof block)) > 0) {
    text_put(out, block, (size_t)n);
  }
  int closed = gzclose(file);
  if (out->status != STATUS_OK) return out->status;
  if (n < 0 || closed != Z_OK) return fail(STATUS_FORMAT, "%s is damaged or cut short", path);
  return out->n <= MAX_TEXT_BYTES ? STATUS_OK : fail(STATUS_MEMORY, "%s is too long", path);
}

/* ---- an entry's head ---- */

/* The first part of speech that an abbreviation names; NULL if there is none. */
static const char *part_of_speech(const char *words) {
  static const struct {
    const char *abbreviation, *word;
  } parts[] = {{"n.pl.", "plural noun"},
               {"pl.n.", "plural noun"},
               {"n.", "noun"},
               {"n", "noun"},
               {"adj.", "adjective"},
               {"adv.", "adverb"},
               {"v.t.", "verb"},
               {"v.i.", "verb"},
               {"v.", "verb"},
               {"vt.", "verb"},
               {"vi.", "verb"},
               {"pp.", "participle"},
               {"p.p.", "participle"},
               {"pron.", "pronoun"},
               {"pro.", "pronoun"},
               {"interj.", "interjection"},
               {"excl.", "interjection"},
               {"pref.", "prefix"},
               {"suff.", "suffix"},
               {"imp.", "imperative"},
               {"quant.", "quantifier"},
               {"prep.", "preposition"},
               {"abbrev.", "abbreviation"}};
  while (*words != 0) {
    size_t n = strcspn(words, " ,");
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
      if (strlen(parts[p].abbreviation) == n && memcmp(parts[p].abbreviation, words, n) == 0) return parts[p].word;
    }
    words += n;
    words += strspn(words, " ,");
  }
  return NULL;
}

/* Leaves out what stands between slashes: pronunciations. */
static void without_slashes(const char *line, size_t n, char out[MAX_HEAD]) {
  size_t kept = 0;
  bool inside = false;
  for (size_t i = 0; i < n && kept + 1 < MAX_HEAD; i++) {
    if (line[i] == '/') {
      inside = !inside;
    } else if (!inside) {
      out[kept++] = line[i];
    }
  }
  out[kept] = 0;
}

static void put_head(text_buffer *to, const char *word, size_t n, const char *part) {
  text_put(to, word, n);
  if (part != NULL) {
    text_puts(to, " (");
    text_puts(to, part);
    text_puts(to, ")");
  }
  text_puts(to, ": ");
}

/* Jargon: the headword on a line of its own, then " /pronunciation/, n." Returns the bytes taken. */
static size_t take_jargon_head(const char *entry, size_t n, text_buffer *to) {
  char rest[MAX_HEAD] = "";
  const char *end = memchr(entry, '\n', n);
  size_t word = end != NULL ? (size_t)(end - entry) : n, taken = word + (end != NULL);
  if (taken < n && entry[taken] == ' ') {
    end = memchr(entry + taken, '\n', n - taken);
    size_t line = end != NULL ? (size_t)(end - entry) - taken : n - taken;
    without_slashes(entry + taken, line, rest);
    taken += line;
  }
  put_head(to, entry, word, part_of_speech(rest));
  return taken;
}

/* Devil: "APRIL FOOL, n.  The March fool ..." or "ABRACADABRA." The word as in running text: "April fool". An entry
 * that begins otherwise ("W (double U) has, of all the letters ...") is taken as it stands. */
static size_t take_devil_head(const char *entry, size_t n, text_buffer *to) {
  char word[MAX_HEAD], rest[MAX_HEAD];
  size_t length = 0, taken = 0;
  while (length < n && length + 1 < MAX_HEAD && !islower((unsigned char)entry[length]) &&
         strchr(",.(\n", entry[length]) == NULL) {
    word[length] = (char)(length == 0 ? entry[0] : tolower((unsigned char)entry[length]));
    length++;
  }
  const char *part = NULL;
  if (length + 1 < n && entry[length] == '.' && isspace((unsigned char)entry[length + 1])) taken = length + 1;
  for (size_t i = length + 1; length < n && entry[length] == ',' && i < n && i - length < MAX_PART; i++) {
    if (entry[i] != '.' || (i + 1 < n && !isspace((unsigned char)entry[i + 1]))) continue;
    snprintf(rest, sizeof rest, "%.*s", (int)(i - length), entry + length + 1);
    part = part_of_speech(rest);
    if (part != NULL) taken = i + 1;
    break;
  }
  if (taken > 0) put_head(to, word, length, part);
  return taken;
}

/* ---- an entry's body ---- */

/* Lines of a paragraph that is prose or verse, not a drawing, a table or a program. */
static bool is_prose(const char *text, size_t n) {
  size_t letters = 0, marks = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)text[i];
    letters += isalpha(c) != 0;
    marks += c < 0x80 && !isspace(c) && !isalpha(c);
    /* U+2500 to U+257F draw boxes */
    if (i + 1 < n && c == 0xe2 && ((unsigned char)text[i + 1] == 0x94 || (unsigned char)text[i + 1] == 0x95))
      return false;
  }
  return letters >= 3 && marks * 3 <= letters;
}

static size_t indent_of(const char *line, size_t n) {
  size_t i = 0;
  while (i < n && line[i] == ' ') i++;
  return i;
}

/* Two lines of a paragraph are joined by a space, but not behind a hyphen or what opens or before what closes. */
static bool joins_closely(const text_buffer *to, const char *next) {
  static const char *const opening[] = {"\u201c", "\u2018", "{", "("};
  static const char *const closing[] = {"\u201d", "}", ")", ",", ".", ";"};
  char last = to->bytes[to->n - 1];
  if (last == '/' || (last == '-' && to->n > 1 && isalpha((unsigned char)to->bytes[to->n - 2]))) return true;
  for (size_t o = 0; o < sizeof opening / sizeof *opening; o++) {
    size_t n = strlen(opening[o]);
    if (to->n >= n && memcmp(to->bytes + to->n - n, opening[o], n) == 0) return true;
  }
  for (size_t c = 0; c < sizeof closing / sizeof *closing; c++) {
    if (strncmp(next, closing[c], strlen(closing[c])) == 0) return true;
  }
  return false;
}

/* The marks of a cross reference ({bit bucket}) and of emphasis (_word_) are left out. */
static void put_line(text_buffer *to, const char *line, size_t n) {
  for (size_t i = 0; i < n; i++) {
    bool left = i > 0 && isalnum((unsigned char)line[i - 1]), right = i + 1 < n && isalnum((unsigned char)line[i + 1]);
    if (line[i] == '{' || line[i] == '}' || (line[i] == '_' && !(left && right))) continue;
    text_put(to, line + i, 1);
  }
}

/* Prose stands at `indent` and flows; what stands DISPLAY_INDENT further in keeps its lines. */
static void put_paragraph(text_buffer *to, const char *text, size_t n, size_t indent) {
  text_buffer flat = {0};
  for (size_t at = 0, next; at < n; at = next) {
    const char *end = memchr(text + at, '\n', n - at);
    size_t length = end != NULL ? (size_t)(end - text) - at : n - at, inside = indent_of(text + at, length);
    next = at + length + 1;
    const char *line = text + at + inside;
    if (flat.n > 0) {
      bool closely = joins_closely(&flat, line);
      if (inside >= indent + DISPLAY_INDENT) {
        text_puts(&flat, "\n");
      } else if (!closely) {
        text_puts(&flat, " ");
      }
    }
    text_put(&flat, line, length - inside);
  }
  if (flat.n > 0) put_line(to, flat.bytes, flat.n);
  if (flat.status != STATUS_OK) to->status = flat.status;
  text_puts(to, "\n");
  free(flat.bytes);
}

/* Paragraphs are separated by empty lines. Returns how many were taken. */
static unsigned put_body(text_buffer *to, const char *text, size_t n, size_t indent) {
  unsigned taken = 0;
  for (size_t at = 0; at < n;) {
    if (text[at] == '\n') {
      at++;
      continue;
    }
    size_t end = at;
    while (end < n && !(text[end] == '\n' && (end + 1 == n || text[end + 1] == '\n'))) end++;
    if (is_prose(text + at, end - at)) {
      put_paragraph(to, text + at, end - at, indent);
      taken++;
    }
    at = end;
  }
  return taken;
}

status text_collect_dictionary(const char *folder, const char *name, text_source source, text_list *list) {
  char index_path[1024], path[1024];
  snprintf(index_path, sizeof index_path, "%s/%s.index", folder, name);
  snprintf(path, sizeof path, "%s/%s.dict.dz", folder, name);
  extent *entry = NULL;
  size_t entries = 0;
  text_buffer all = {0}, text = {0};
  status s = read_index(index_path, &entry, &entries);
  if (s == STATUS_OK) s = read_gzip(path, &all);
  for (size_t i = 0; i < entries && s == STATUS_OK; i++) {
    if (entry[i].at > all.n || entry[i].n > all.n - entry[i].at) {
      s = fail(STATUS_FORMAT, "%s: entry %zu lies outside of %s", index_path, i, path);
      break;
    }
    const char *from = all.bytes + entry[i].at;
    size_t n = entry[i].n;
    text.n = 0;
    size_t head = source == TEXT_JARGON ? take_jargon_head(from, n, &text) : take_devil_head(from, n, &text);
    if (put_body(&text, from + head, n - head, source == TEXT_JARGON ? 4 : 0) > 0) {
      s = text_list_add(list, source, from, head, &text);
    }
  }
  free(entry);
  free(all.bytes);
  free(text.bytes);
  return s;
}
