/* Sequences of characters that tell of a wrong character set. See badness.h.
 *
 * Characters have classes; a rule is a row of sets of classes and characters, and a text is bad if some rule fits
 * somewhere. The classes and the rules are facts of ftfy 6.2.0. */
#include "data/badness.h"

#include <string.h>
#include <uchar.h>

#include "data/unicode.h"
#include "kernels/utf8.h"

enum {
  COMMON = 1 << 0,   /* punctuation that is common in any text */
  C1 = 1 << 1,       /* controls from U+0080 on */
  BAD = 1 << 2,      /* characters that are hardly ever meant */
  CURRENCY = 1 << 3, /* signs of money */
  OPENS = 1 << 4,    /* punctuation before a word */
  CLOSES = 1 << 5,   /* punctuation behind a word */
  NUMERIC = 1 << 6,  /* what stands by numbers */
  KAOMOJI = 1 << 7,  /* letters that faces are made of */
  UPPER_A = 1 << 8,  /* accented capital letters */
  LOWER_A = 1 << 9,  /* accented small letters */
  UPPER_C = 1 << 10, /* capital letters of other scripts, which end words too */
  LOWER_C = 1 << 11, /* small letters of other scripts */
  BOX = 1 << 12,     /* parts of boxes drawn in text */
  CAPITAL = 1 << 13, /* A-Z */
  SMALL = 1 << 14,   /* a-z */
  BLANK = 1 << 15,   /* white space */
  WORD = 1 << 16,    /* letters, numbers and "_" */
  FOREIGN = 1 << 17, /* all but A-Z and a-z */
  INLINE = 1 << 18,  /* all but a line break */
  START = 1 << 19,   /* no character: the start of the text */

  LATIN = CAPITAL | SMALL,
  ACCENTED = UPPER_A | LOWER_A,
  NAMED = CAPITAL - 1, /* those of the table */
  ODD = ACCENTED | BOX | OPENS | CLOSES | CURRENCY | NUMERIC,
};

static const struct {
  uint16_t first, last, classes;
} ranges[] = {{0x80, 0x9f, C1},
              {0xa0, 0xa0, COMMON},
              {0xa1, 0xa1, OPENS},
              {0xa2, 0xa3, CURRENCY},
              {0xa4, 0xa4, BAD},
              {0xa5, 0xa5, CURRENCY},
              {0xa6, 0xa8, BAD},
              {0xa9, 0xa9, OPENS},
              {0xaa, 0xaa, BAD},
              {0xab, 0xab, OPENS},
              {0xac, 0xac, BAD},
              {0xad, 0xad, COMMON},
              {0xae, 0xae, CLOSES},
              {0xaf, 0xaf, BAD},
              {0xb0, 0xb0, KAOMOJI},
              {0xb1, 0xb3, NUMERIC},
              {0xb4, 0xb4, COMMON},
              {0xb5, 0xb5, NUMERIC},
              {0xb6, 0xb6, BAD},
              {0xb7, 0xb7, COMMON},
              {0xb8, 0xb8, BAD},
              {0xb9, 0xb9, NUMERIC},
              {0xba, 0xba, BAD},
              {0xbb, 0xbb, CLOSES},
              {0xbc, 0xbe, NUMERIC},
              {0xbf, 0xbf, OPENS},
              {0xc0, 0xd1, UPPER_A},
              {0xd2, 0xd6, KAOMOJI},
              {0xd7, 0xd7, NUMERIC},
              {0xd8, 0xd8, UPPER_A},
              {0xd9, 0xdb, KAOMOJI},
              {0xdc, 0xdc, KAOMOJI | UPPER_A},
              {0xdd, 0xdd, UPPER_A},
              {0xde, 0xde, UPPER_C},
              {0xdf, 0xf1, LOWER_A},
              {0xf2, 0xf6, KAOMOJI},
              {0xf7, 0xf7, NUMERIC},
              {0xf8, 0xfb, KAOMOJI},
              {0xfc, 0xfc, KAOMOJI | LOWER_A},
              {0x102, 0x102, UPPER_A},
              {0x103, 0x103, LOWER_A},
              {0x104, 0x104, UPPER_A},
              {0x105, 0x105, LOWER_A},
              {0x106, 0x106, UPPER_A},
              {0x107, 0x107, LOWER_A},
              {0x10c, 0x10c, UPPER_A},
              {0x10d, 0x10d, LOWER_A},
              {0x10e, 0x10e, UPPER_A},
              {0x10f, 0x10f, LOWER_A},
              {0x110, 0x110, UPPER_A},
              {0x111, 0x111, LOWER_A},
              {0x118, 0x118, UPPER_A},
              {0x119, 0x119, LOWER_A},
              {0x11a, 0x11a, UPPER_A},
              {0x11b, 0x11b, LOWER_A},
              {0x11e, 0x11e, UPPER_A},
              {0x11f, 0x11f, LOWER_A},
              {0x130, 0x130, UPPER_A},
              {0x139, 0x139, UPPER_A},
              {0x13a, 0x13a, LOWER_A},
              {0x13d, 0x13d, UPPER_A},
              {0x13e, 0x13e, LOWER_A},
              {0x141, 0x141, UPPER_A},
              {0x142, 0x142, LOWER_A},
              {0x143, 0x143, UPPER_A},
              {0x147, 0x147, UPPER_A},
              {0x150, 0x150, KAOMOJI},
              {0x152, 0x152, UPPER_A},
              {0x153, 0x153, LOWER_A},
              {0x155, 0x155, LOWER_A},
              {0x158, 0x158, UPPER_A},
              {0x15a, 0x15a, UPPER_A},
              {0x15b, 0x15b, LOWER_A},
              {0x15e, 0x15e, UPPER_A},
              {0x15f, 0x15f, LOWER_A},
              {0x160, 0x160, UPPER_A},
              {0x161, 0x161, LOWER_A},
              {0x162, 0x162, UPPER_A},
              {0x164, 0x164, UPPER_A},
              {0x165, 0x165, LOWER_A},
              {0x16e, 0x16e, UPPER_A},
              {0x170, 0x170, UPPER_A},
              {0x178, 0x179, UPPER_A},
              {0x17a, 0x17a, LOWER_A},
              {0x17b, 0x17b, UPPER_A},
              {0x17c, 0x17c, LOWER_A},
              {0x17d, 0x17d, UPPER_A},
              {0x17e, 0x17e, LOWER_A},
              {0x192, 0x192, BAD},
              {0x2c6, 0x2c7, BAD},
              {0x2d8, 0x2d8, BAD},
              {0x2db, 0x2dc, BAD},
              {0x2dd, 0x2dd, CLOSES},
              {0x384, 0x385, OPENS},
              {0x386, 0x386, UPPER_C},
              {0x388, 0x38a, UPPER_C},
              {0x38c, 0x38c, UPPER_C},
              {0x38e, 0x38f, UPPER_C},
              {0x391, 0x3ab, UPPER_C},
              {0x3ac, 0x3c9, LOWER_C},
              {0x401, 0x42f, UPPER_C},
              {0x430, 0x45f, LOWER_C},
              {0x490, 0x490, UPPER_A},
              {0x491, 0x491, LOWER_A},
              {0x2013, 0x2015, COMMON},
              {0x2018, 0x2018, OPENS},
              {0x2019, 0x2019, COMMON},
              {0x201a, 0x201a, OPENS},
              {0x201c, 0x201c, OPENS},
              {0x201d, 0x201d, CLOSES},
              {0x201e, 0x201e, OPENS},
              {0x2020, 0x2021, BAD},
              {0x2022, 0x2022, OPENS},
              {0x2026, 0x2026, COMMON},
              {0x2030, 0x2030, BAD},
              {0x2039, 0x2039, OPENS},
              {0x203a, 0x203a, CLOSES},
              {0x2044, 0x2044, NUMERIC},
              {0x20a7, 0x20a7, CURRENCY},
              {0x20ac, 0x20ac, CURRENCY},
              {0x2116, 0x2116, NUMERIC},
              {0x2122, 0x2122, CLOSES},
              {0x2202, 0x2202, NUMERIC},
              {0x2206, 0x2206, NUMERIC},
              {0x220f, 0x220f, NUMERIC},
              {0x2211, 0x2211, NUMERIC},
              {0x221a, 0x221a, NUMERIC},
              {0x221e, 0x221e, NUMERIC},
              {0x2229, 0x2229, NUMERIC},
              {0x222b, 0x222b, NUMERIC},
              {0x2248, 0x2248, NUMERIC},
              {0x2260, 0x2261, NUMERIC},
              {0x2264, 0x2265, NUMERIC},
              {0x2310, 0x2310, BAD},
              {0x2502, 0x2502, BOX},
              {0x250c, 0x250c, BOX},
              {0x2510, 0x2510, BOX},
              {0x2518, 0x2518, BOX},
              {0x251c, 0x251c, BOX},
              {0x2524, 0x2524, BOX},
              {0x252c, 0x252c, BOX},
              {0x253c, 0x253c, BOX},
              {0x2550, 0x256c, BOX},
              {0x2580, 0x2580, BOX},
              {0x2584, 0x2584, BOX},
              {0x2588, 0x2588, BOX},
              {0x258c, 0x258c, BOX},
              {0x2590, 0x2593, BOX},
              {0x25ca, 0x25ca, BAD},
              {0xf8ff, 0xf8ff, OPENS},
              {0xfb01, 0xfb02, LOWER_A},
              {0xfffd, 0xfffd, BAD}};

static uint32_t classes_of(uint32_t code) {
  if (code < 0x80) {
    const bool small = code >= 'a' && code <= 'z', capital = code >= 'A' && code <= 'Z';
    if (small || capital) return INLINE | WORD | (small ? SMALL : CAPITAL);
    if ((code >= '0' && code <= '9') || code == '_') return INLINE | WORD | FOREIGN;
    const bool blank = code == ' ' || (code >= '\t' && code <= '\r') || (code >= 0x1c && code <= 0x1f);
    return FOREIGN | (blank ? BLANK : 0) | (code == '\n' ? 0 : INLINE);
  }
  const unicode_class class = unicode_class_of(code);
  uint32_t classes = INLINE | FOREIGN | (class == UNICODE_SPACE ? BLANK : class == UNICODE_OTHER ? 0 : WORD);
  for (size_t low = 0, high = sizeof ranges / sizeof *ranges; low < high;) {
    const size_t middle = (low + high) / 2;
    if (code < ranges[middle].first)
      high = middle;
    else if (code > ranges[middle].last)
      low = middle + 1;
    else
      return classes | ranges[middle].classes;
  }
  return classes;
}

typedef struct {
  uint32_t classes;
  const char32_t *also; /* characters that are meant too; NULL: none */
} set;

enum { LONGEST_RULE = 7, FIRST_FOREIGN = 3 }; /* a rule has a character beyond ASCII among its first three */

static const set rules[][LONGEST_RULE] = {
    {{C1, 0}},
    {{BAD | ODD, 0}, {BAD, 0}},
    {{LATIN, 0}, {LOWER_C | UPPER_C, 0}, {BAD, 0}},
    {{BAD, 0}, {ODD, 0}},
    {{LOWER_A | LOWER_C | BOX | CLOSES | CURRENCY | NUMERIC, 0}, {UPPER_A, 0}},
    {{BOX | CLOSES | CURRENCY | NUMERIC, 0}, {LOWER_A, 0}},
    {{LOWER_A | BOX | CLOSES, 0}, {CURRENCY, 0}},
    {{BLANK, 0}, {UPPER_A, 0}, {CURRENCY, 0}},
    {{UPPER_A | BOX, 0}, {NUMERIC, 0}},
    {{ACCENTED | BOX | CURRENCY | CLOSES, 0}, {OPENS, 0}, {NUMERIC, 0}},
    {{ACCENTED | CURRENCY | NUMERIC | BOX, 0}, {CLOSES, 0}, {OPENS, 0}},
    {{CURRENCY | NUMERIC | BOX, 0}, {OPENS, 0}},
    {{SMALL, 0}, {UPPER_A, 0}, {OPENS | CURRENCY, 0}},
    {{BOX, 0}, {KAOMOJI, 0}},
    {{ACCENTED | CURRENCY | NUMERIC | OPENS | CLOSES, 0}, {BOX, 0}},
    {{BOX, 0}, {CLOSES, 0}},
    {{ACCENTED, 0}, {CLOSES, 0}, {WORD, 0}},
    {{0, U"Œœ"}, {FOREIGN, 0}},
    /* Windows-1252 */
    {{0, U"ÂÃÎÐ"}, {OPENS | CLOSES, U"€Šš¢£Ÿž\u00a0\u00ad®©°·»–—´"}},
    {{0, U"×"}, {0, U"²³"}},
    {{0, U"ØÙ"},
     {COMMON | CURRENCY | BAD | NUMERIC | OPENS, U"ŸŠ®°µ»"},
     {0, U"ØÙ"},
     {COMMON | CURRENCY | BAD | NUMERIC | OPENS, U"ŸŠ®°µ»"}},
    {{0, U"à"}, {0, U"²µ¹¼½¾"}},
    /* Mac OS Roman */
    {{0, U"√"}, {0, U"±∂†≠®™´≤≥¥µø"}},
    {{0, U"≈"}, {0, U"°¢"}},
    {{0, U"‚"}, {0, U"Ä"}, {0, U"ìîïòôúùû†°¢π"}},
    {{0, U"‚"}, {0, U"âó"}, {0, U"àä°ê"}},
    /* Windows-1251 */
    {{0, U"в"}, {0, U"Ђ"}},
    {{0, U"ВГРС"}, {C1 | BAD | OPENS | CLOSES | CURRENCY, U"°µ"}, {0, U"ВГРС"}},
    {{0, U"Г"}, {0, U"ў"}, {0, U"В"}, {0, U"Ђ"}, {0, U"В"}, {INLINE, 0}, {LATIN, U" "}},
    /* a with a grave accent, and no-break spaces, in Windows-1252 */
    {{0, U"Ã"}, {0, U"\u00a0¡"}},
    {{SMALL, 0}, {0, U"ÃÂ"}, {0, U" "}},
    {{SMALL, 0}, {BLANK, 0}, {0, U"ÃÂ"}, {0, U" "}},
    {{START, 0}, {0, U"ÃÂ"}, {0, U" "}},
    {{SMALL | CLOSES, U".,?!"}, {0, U"Â"}, {OPENS | CLOSES, U" "}},
    /* Windows-1253 */
    {{0, U"β"}, {0, U"€"}, {0, U"™\u00a0Ά\u00ad®°"}},
    {{0, U"ΒΓΞΟ"}, {C1 | BAD | OPENS | CLOSES | CURRENCY, U"°"}, {0, U"ΒΓΞΟ"}},
};

typedef struct {
  uint32_t code, classes;
} letter;

static bool is_in(const set *s, const letter *l) {
  if (l->classes & s->classes) return true;
  for (const char32_t *also = s->also; also && *also; also++)
    if (*also == l->code) return true;
  return false;
}

/* Whether a rule fits the n letters from the first on. Most rules begin with characters that have a class of their own;
 * that is quick to see of other scripts and of most of ASCII. */
static bool is_bad_start(const letter *letters, size_t n) {
  if (!(letters->classes & (NAMED | LATIN | BLANK | START)) && !is_in(&(set){0, U".,?!"}, letters)) return false;
  for (size_t rule = 0; rule < sizeof rules / sizeof *rules; rule++) {
    const set *s = rules[rule];
    size_t i = 0;
    while (i < LONGEST_RULE && (s[i].classes || s[i].also) && i < n && is_in(s + i, letters + i)) i++;
    if (i == LONGEST_RULE || (!s[i].classes && !s[i].also)) return true;
  }
  return false;
}

/* How many of n bytes are of ASCII and in no rule that begins among them. */
static size_t harmless(const char *text, size_t n) {
  size_t run = 0;
  while (run < n && (uint8_t)text[run] < 0x80) run++;
  return run == n ? n : run > FIRST_FOREIGN - 1 ? run - (FIRST_FOREIGN - 1) : 0;
}

bool is_bad_text(const char *text, size_t n) {
  letter window[LONGEST_RULE] = {{0, START}};
  size_t at = harmless(text, n), filled = at ? 0 : 1; /* the start counts only if it is near */
  for (;;) {
    while (filled < LONGEST_RULE && at < n) {
      uint32_t code;
      at += (size_t)utf8_next(text + at, n - at, &code);
      window[filled++] = (letter){code, classes_of(code)};
    }
    if (filled == 0) return false;
    if (is_bad_start(window, filled)) return true;
    memmove(window, window + 1, --filled * sizeof *window);
    size_t foreign = 0;
    while (foreign < filled && window[foreign].code < 0x80) foreign++;
    if (foreign < filled) continue;
    /* All that is at hand is of ASCII: what follows may let all but the last two of them go. */
    const size_t ahead = harmless(text + at, n - at);
    if (at + ahead == n) return false;
    if (ahead) {
      at += ahead;
      filled = 0;
    }
  }
}
