/* UTF-8 that was read as something else. See mojibake.h.
 *
 * A text that looks bad is written in each single-byte set that has all its characters, in their order; the first whose
 * bytes are UTF-8 is taken for the one that it was misread in. Two kinds of damage are undone on the way, by rows of
 * sets of bytes: a no-break space (0xa0) that became a space, and bytes that were lost to U+FFFD or "?". If no set
 * does, the parts of the text that look like UTF-8 are repaired each on its own. */
#include "data/mojibake.h"

#include <stdlib.h>
#include <string.h>

#include "data/badness.h"
#include "data/codepage.h"
#include "kernels/utf8.h"

/* Texts are repaired until they stay the same, and parts of them likewise; nothing that anybody wrote takes more turns
 * than this, and what does is left as it is then. */
enum { MOST_TURNS = 64, MOST_DEPTH = 16 };

/* -- Rows of sets of bytes ----------------------------------------------------------------------------------------- */

enum {
  SPACE = 1 << 0,     /* 20 */
  LOST = 1 << 1,      /* 1a: a byte that is not known any more */
  ASK = 1 << 2,       /* ?: likewise */
  CONTINUES = 1 << 3, /* 80-bf */
  SAFE = 1 << 4,      /* of these all but 85 and a0, which are spaces too */
  HIGH = 1 << 5,      /* a0-af */
  LOW = 1 << 6,       /* b0-bf */
  LEADS_2 = 1 << 7,   /* c2-df */
  LEADS_3 = 1 << 8,   /* e0-ef */
  LEADS_4 = 1 << 9,   /* f0-f4 */
  OF_2 = 1 << 10,     /* c2 c3 c5 ce d0 d9: of two bytes, the second of which may well have been a0 */
  ASKED_2 = 1 << 11,  /* c2 c3 */
  OF_3 = 1 << 12,     /* e2 e3 */
  ANY_OF_3 = 1 << 13, /* e0-e3 */
  F0 = 1 << 14,
  ED = 1 << 15,
};

static uint32_t sets_of(uint8_t b) {
  if (b < 0x80) return b == ' ' ? SPACE : b == 0x1a ? LOST : b == '?' ? ASK : 0;
  if (b < 0xc0) return CONTINUES | (b == 0x85 || b == 0xa0 ? 0 : SAFE) | (b < 0xa0 ? 0 : b < 0xb0 ? HIGH : LOW);
  if (b >= 0xc2 && b <= 0xdf) {
    const bool often = memchr("\xc2\xc3\xc5\xce\xd0\xd9", b, 6);
    return LEADS_2 | (often ? OF_2 : 0) | (b <= 0xc3 ? ASKED_2 : 0);
  }
  if (b >= 0xe0 && b <= 0xef)
    return LEADS_3 | (b <= 0xe3 ? ANY_OF_3 : 0) | (b == 0xe2 || b == 0xe3 ? OF_3 : 0) | (b == 0xed ? ED : 0);
  return b >= 0xf0 && b <= 0xf4 ? LEADS_4 | (b == 0xf0 ? F0 : 0) : 0;
}

enum { LONGEST_ROW = 6 };
typedef uint32_t row[LONGEST_ROW];

/* The length of the first row that the bytes begin with; 0 if none fits. */
static size_t match(const row *rows, size_t n_rows, const uint8_t *bytes, size_t n) {
  for (size_t r = 0; r < n_rows; r++) {
    size_t i = 0;
    while (i < LONGEST_ROW && rows[r][i] && i < n && sets_of(bytes[i]) & rows[r][i]) i++;
    if (i == LONGEST_ROW || !rows[r][i]) return i;
  }
  return 0;
}

/* UTF-8 in which 0xa0 became a space. */
static const row spaced[] = {{OF_2, SPACE},
                             {OF_3, SPACE, SAFE},
                             {ANY_OF_3, SAFE, SPACE},
                             {F0, SPACE, CONTINUES, CONTINUES},
                             {F0, CONTINUES, SPACE, CONTINUES},
                             {F0, CONTINUES, CONTINUES, SPACE}};

/* UTF-8 of which a byte was lost. */
static const row lossy[] = {{LEADS_2, LOST},
                            {ASKED_2, ASK},
                            {ED, HIGH, LOST | ASK, ED, LOW, LOST | ASK | CONTINUES},
                            {ED, HIGH, LOST | ASK | CONTINUES, ED, LOW, LOST | ASK},
                            {LEADS_3, LOST | ASK, LOST | CONTINUES},
                            {LEADS_3, LOST | CONTINUES, LOST | ASK},
                            {LEADS_4, LOST | ASK, LOST | CONTINUES, LOST | CONTINUES},
                            {LEADS_4, LOST | CONTINUES, LOST | ASK, LOST | CONTINUES},
                            {LEADS_4, LOST | CONTINUES, LOST | CONTINUES, LOST | ASK},
                            {LOST}};

enum { SPACED = sizeof spaced / sizeof *spaced, LOSSY = sizeof lossy / sizeof *lossy };

/* -- Bytes --------------------------------------------------------------------------------------------------------- */

typedef struct {
  uint8_t *bytes;
  size_t n;
} string;

/* Whether 0xc3 and a space are an a with a grave accent that is a word, not the beginning of one. The words that begin
 * so are Portuguese. */
static bool is_word_a_grave(const uint8_t *bytes, size_t n) {
  static const char *const begun[] = {" ", "quele", "quela", "quilo", "s "};
  if (n < 2 || bytes[0] != 0xc3 || bytes[1] != ' ') return false;
  for (size_t i = 0; i < sizeof begun / sizeof *begun; i++)
    if (n - 2 >= strlen(begun[i]) && !memcmp(bytes + 2, begun[i], strlen(begun[i]))) return false;
  return true;
}

/* Puts back the 0xa0 of words of one letter, then all others; at most half as many bytes more. */
static status restore_a0(string *s) {
  bool found = false;
  for (size_t at = 0; at < s->n && !found; at++) found = match(spaced, SPACED, s->bytes + at, s->n - at) != 0;
  if (!found) return STATUS_OK;
  uint8_t *out = mem_alloc(s->n + s->n / 2, 1);
  if (!out) return STATUS_MEMORY;
  size_t size = 0;
  for (size_t at = 0; at < s->n; at++) {
    out[size++] = s->bytes[at];
    if (is_word_a_grave(s->bytes + at, s->n - at)) out[size++] = 0xa0;
  }
  for (size_t at = 0, length; at < size; at += length) {
    length = match(spaced, SPACED, out + at, size - at);
    for (size_t i = 0; i < length; i++)
      if (out[at + i] == ' ') out[at + i] = 0xa0;
    length += !length;
  }
  free(s->bytes);
  *s = (string){out, size};
  return STATUS_OK;
}

/* Sequences with lost bytes become U+FFFD. */
static status replace_lossy(string *s) {
  uint8_t *out = mem_alloc(s->n, 3);
  if (!out) return STATUS_MEMORY;
  size_t size = 0;
  for (size_t at = 0, length; at < s->n; at += length) {
    length = match(lossy, LOSSY, s->bytes + at, s->n - at);
    if (length) {
      size += (size_t)utf8_put(0xfffd, (char *)out + size);
    } else {
      out[size++] = s->bytes[at];
      length = 1;
    }
  }
  free(s->bytes);
  *s = (string){out, size};
  return STATUS_OK;
}

/* The length of a sequence at the start of the bytes that is no UTF-8 but often written for it: a character beyond
 * U+FFFF as two surrogates (CESU-8), or 0 in two bytes (Java). 0 if there is none. At the very end a line break may
 * stand for the last byte: ftfy takes it so. */
static size_t variant(const uint8_t *b, size_t n, uint32_t *code) {
  if (n >= 2 && b[0] == 0xc0 && (b[1] == 0x80 || (b[1] == '\n' && n == 2))) return *code = 0, 2;
  if (n < 6 || b[0] != 0xed || b[3] != 0xed || !(sets_of(b[1]) & HIGH) || !(sets_of(b[4]) & LOW)) return 0;
  if (!(sets_of(b[2]) & CONTINUES) || !(sets_of(b[5]) & CONTINUES || (b[5] == '\n' && n == 6))) return 0;
  *code = 0x10000u + ((b[1] & 0xfu) << 16 | (b[2] & 0x3fu) << 10 | (b[4] & 0xfu) << 6 | (b[5] & 0x3fu));
  return 6;
}

/* Reads the bytes as UTF-8, in place. False, with the bytes spoilt, if they are none. */
static bool read_utf8(string *s) {
  size_t size = 0;
  for (size_t at = 0; at < s->n;) {
    uint32_t code;
    const size_t other = variant(s->bytes + at, s->n - at, &code);
    const int length = other ? 0 : utf8_next(s->bytes + at, s->n - at, &code);
    if (!other && length <= 0) return false;
    size += (size_t)utf8_put(code, (char *)s->bytes + size);
    at += other + (size_t)length;
  }
  s->n = size;
  return true;
}

/* -- Whole texts --------------------------------------------------------------------------------------------------- */

/* The text in a single-byte set; false if it lacks a character. `bytes` has room for n. */
static bool write_in(codepage page, const char *text, size_t n, string *out) {
  out->n = 0;
  for (size_t at = 0; at < n;) {
    uint32_t code;
    at += (size_t)utf8_next(text + at, n - at, &code);
    const int byte = codepage_byte(page, code);
    if (byte < 0) return false;
    out->bytes[out->n++] = (uint8_t)byte;
  }
  return true;
}

/* Whether the text was misread in this set; then *out is what it should have been. */
static status try_page(codepage page, const char *text, size_t n, string *out, bool *done) {
  *done = false;
  if (!(out->bytes = mem_alloc(n, 1))) return STATUS_MEMORY;
  status code = STATUS_OK;
  if (write_in(page, text, n, out)) {
    if (page != CODEPAGE_MAC_ROMAN) code = restore_a0(out); /* there it would be an en dash before a space */
    if (!code && codepage_is_windows(page)) code = replace_lossy(out);
    *done = !code && read_utf8(out);
  }
  if (!*done) free(out->bytes);
  return code;
}

size_t mojibake_fix_c1(const char *text, size_t n, char *out) {
  size_t size = 0;
  for (size_t at = 0; at < n;) {
    uint32_t code;
    const size_t length = (size_t)utf8_next(text + at, n - at, &code);
    if (code >= 0x80 && code <= 0x9f) code = codepage_1252(code);
    size += (size_t)utf8_put(code, out + size);
    at += length;
  }
  return size;
}

/* -- Parts of texts ------------------------------------------------------------------------------------------------ */

enum { FIRST_OF_2 = 1, FIRST_OF_3 = 2, FIRST_OF_4 = 4, LATER = 8, SURELY_LATER = 16 };

/* What bytes of UTF-8 a character may have been: those that it is in Latin-1 and the Windows sets. */
static unsigned clues(uint32_t code) {
  unsigned found = code == ' ' ? LATER : 0;
  if (code < 0x80) return found;
  for (codepage page = CODEPAGE_LATIN_1; page <= CODEPAGE_1254; page++) {
    const int byte = codepage_byte(page, code);
    if (byte >= 0x80 && byte <= 0xbf) found |= LATER | SURELY_LATER;
    if (byte >= 0xc2 && byte <= 0xdf) found |= FIRST_OF_2;
    if (byte >= 0xe0 && byte <= 0xef) found |= FIRST_OF_3;
    if (byte == 0xf0 || byte == 0xf3) found |= FIRST_OF_4;
  }
  /* Dashes, quotes and the ellipsis stand before anything. */
  const bool common = (code >= 0x2013 && code <= 0x2015) || (code >= 0x2018 && code <= 0x201e) || code == 0x2026;
  return common ? found & ~(unsigned)SURELY_LATER : found;
}

/* The bytes of the text's first character and of those that would make a character of UTF-8 with it; 0 if they do not.
 * *last gets the clues of the last one. */
static size_t looks_utf8(const char *text, size_t n, unsigned *last) {
  uint32_t code;
  size_t at = (size_t)utf8_next(text, n, &code);
  const unsigned first = clues(code);
  int more = first & FIRST_OF_2 ? 1 : first & FIRST_OF_3 ? 2 : first & FIRST_OF_4 ? 3 : 0;
  if (!more) return 0;
  for (; more && at < n; more--) {
    at += (size_t)utf8_next(text + at, n - at, &code);
    *last = clues(code);
    if (!(*last & LATER)) return 0;
  }
  return more ? 0 : at;
}

/* The bytes of the run of such sequences that the text begins with; *last gets the clues of its last character. */
static size_t run_length(const char *text, size_t n, unsigned *last) {
  size_t length = 0, more;
  unsigned clue;
  while (length < n && (more = looks_utf8(text + length, n - length, &clue))) {
    length += more;
    *last = clue;
  }
  return length;
}

/* The first run: where it begins, and its bytes; 0 if there is none. *before: the clues of the character in front of
 * the text, and then of the last of the run. */
static size_t find_run(const char *text, size_t n, size_t *start, unsigned *before) {
  for (*start = 0; *start < n;) {
    const size_t length = *before & SURELY_LATER ? 0 : run_length(text + *start, n - *start, before);
    if (length) return length;
    uint32_t code;
    *start += (size_t)utf8_next(text + *start, n - *start, &code);
    *before = clues(code);
  }
  return 0;
}

static status repair(const char *text, size_t n, int depth, string *out);

/* Repairs the runs of a text that are shorter than itself and bad. `out` has room for 3 n / 2 bytes. */
static status repair_runs(const char *text, size_t n, int depth, string *out) {
  out->n = 0;
  unsigned before = 0;
  for (size_t at = 0, start, length; at < n; at += start + length) {
    length = find_run(text + at, n - at, &start, &before);
    const char *run = text + at + start;
    string fixed = {NULL, length};
    if (length && length < n && depth < MOST_DEPTH && is_bad_text(run, length)) {
      status code = repair(run, length, depth + 1, &fixed);
      if (code) return code;
    }
    memcpy(out->bytes + out->n, text + at, start);
    memcpy(out->bytes + out->n + start, fixed.bytes ? (char *)fixed.bytes : run, fixed.n);
    out->n += start + fixed.n;
    free(fixed.bytes);
  }
  return STATUS_OK;
}

/* -- The method ---------------------------------------------------------------------------------------------------- */

static bool is_same(const string *s, const char *text, size_t n) { return s->n == n && !memcmp(s->bytes, text, n); }

/* One turn. out->bytes is NULL if nothing changes. */
static status turn(const char *text, size_t n, int depth, string *out) {
  *out = (string){NULL, n};
  if (!is_bad_text(text, n)) return STATUS_OK;
  for (codepage page = CODEPAGE_LATIN_1; page < CODEPAGES; page++) {
    bool done;
    status code = try_page(page, text, n, out, &done);
    if (code || done) return code;
  }
  if (!(out->bytes = mem_alloc(n + n / 2, 1))) return STATUS_MEMORY;
  status code = repair_runs(text, n, depth, out);
  if (!code && is_same(out, text, n)) out->n = mojibake_fix_c1(text, n, (char *)out->bytes);
  if (code) free(out->bytes);
  return code;
}

/* *out is NULL, and then not more, if nothing changed. */
static status repair(const char *text, size_t n, int depth, string *out) {
  string now = {NULL, n}, next;
  for (int turns = 0; turns < MOST_TURNS; turns++) {
    const char *old = now.bytes ? (const char *)now.bytes : text;
    status code = turn(old, now.n, depth, &next);
    if (code) return free(now.bytes), code;
    const bool same = !next.bytes || is_same(&next, old, now.n);
    if (same) {
      free(next.bytes);
      break;
    }
    free(now.bytes);
    now = next;
  }
  *out = now;
  return STATUS_OK;
}

status mojibake_repair(const char *text, size_t n, char **out, size_t *size) {
  string repaired;
  status code = repair(text, n, 0, &repaired);
  if (code) return code;
  *out = (char *)repaired.bytes;
  *size = repaired.n;
  return STATUS_OK;
}
