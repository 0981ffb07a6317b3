/* Character classes, normalisation form C, small and capital letters on the tables of utf8proc. See unicode.h.
 *
 * Text is normalised a stretch at a time: a stretch begins at a character that never joins the one before it. Almost
 * all stretches are one character that stays what it is, and those are copied as they are. */
#include "data/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "kernels/utf8.h"

unicode_class unicode_class_of(uint32_t code) {
  switch (utf8proc_category((utf8proc_int32_t)code)) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
    return UNICODE_LETTER;
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_NO:
    return UNICODE_NUMBER;
  case UTF8PROC_CATEGORY_ZS:
  case UTF8PROC_CATEGORY_ZL:
  case UTF8PROC_CATEGORY_ZP:
    return UNICODE_SPACE;
  default: /* of the controls, White_Space has U+0009 to U+000D and U+0085 */
    return (code >= 9 && code <= 13) || code == 0x85 ? UNICODE_SPACE : UNICODE_OTHER;
  }
}

unicode_class unicode_class_at(const char *text, size_t n, size_t *length) {
  const uint8_t byte = (uint8_t)*text;
  if (byte >= 0x80) {
    uint32_t code;
    *length = (size_t)utf8_next(text, n, &code);
    return unicode_class_of(code);
  }
  *length = 1;
  if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') return UNICODE_LETTER;
  if (byte >= '0' && byte <= '9') return UNICODE_NUMBER;
  return byte == ' ' || (byte >= '\t' && byte <= '\r') ? UNICODE_SPACE : UNICODE_OTHER;
}

status unicode_repair(const char *text, size_t n, char **out, size_t *size) {
  *out = NULL;
  *size = n;
  if (utf8_valid(text, n)) return STATUS_OK;
  utf8_stream stream = {.damage = UTF8_REPLACE};
  if (!(*out = mem_alloc(UTF8_STREAM_ROOM(n) + UTF8_STREAM_ROOM(0), 1))) return STATUS_MEMORY;
  *size = utf8_stream_push(&stream, text, n, *out);
  *size += utf8_stream_finish(&stream, *out + *size);
  return STATUS_OK;
}

/* -- Normalisation form C ------------------------------------------------------------------------------------------ */

typedef enum {
  PLAIN,  /* begins a stretch and is its own normal form */
  BEGINS, /* begins a stretch and may change */
  JOINS,  /* may join the characters before it, or change places with them */
} nfc_role;

static nfc_role role_of(uint32_t code) {
  if (code < 0x300) return PLAIN; /* the first mark, and before the first character that always changes */
  const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)code);
  bool mark = p->category == UTF8PROC_CATEGORY_MN || p->category == UTF8PROC_CATEGORY_MC ||
              p->category == UTF8PROC_CATEGORY_ME || p->combining_class != 0;
  /* Vowels and final consonants of Hangul. U+11A7 before them is none, but utf8proc 2.8 lets a syllable swallow it: it
   * begins a stretch of its own. */
  bool jamo = (code >= 0x1161 && code <= 0x1175) || (code >= 0x11a8 && code <= 0x11c2);
  if (mark || jamo) return JOINS;
  return p->decomp_seqindex == UINT16_MAX ? PLAIN : BEGINS; /* Hangul syllables have none: they are computed */
}

typedef struct {
  utf8proc_int32_t code;
  uint64_t order; /* the combining class, then the place */
} mark;

static int compare_marks(const void *a, const void *b) {
  const mark *x = a, *y = b;
  return x->order < y->order ? -1 : x->order > y->order;
}

/* The buffers of a normalisation; they grow to the longest stretch. */
typedef struct {
  char *out;
  size_t size;
  utf8proc_int32_t *code;
  mark *marks;
  size_t n_codes, room, marks_room;
} nfc;

#define MOST_PARTS 4 /* characters that one decomposes to */

static status add_decomposed(nfc *s, uint32_t code) {
  while (s->room < s->n_codes + MOST_PARTS) {
    size_t room = s->room ? 2 * s->room : 64;
    utf8proc_int32_t *grown = mem_grow(s->code, room, sizeof *grown);
    if (!grown) return STATUS_MEMORY;
    s->code = grown;
    s->room = room;
  }
  int ignored = 0;
  utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code, s->code + s->n_codes,
                                               (utf8proc_ssize_t)(s->room - s->n_codes), UTF8PROC_DECOMPOSE, &ignored);
  if (n < 0 || n > MOST_PARTS) return fail(STATUS_FORMAT, "U+%04X cannot be decomposed", (unsigned)code);
  s->n_codes += (size_t)n;
  return STATUS_OK;
}

/* Sorts each run of marks by combining class and leaves equal ones in their order. (utf8proc's own functions swap
 * neighbours, which takes hours for a hostile text of a few million marks.) */
static status order_marks(nfc *s) {
  for (size_t i = 0, end; i < s->n_codes; i = end) {
    bool sorted = true;
    for (end = i; end < s->n_codes; end++) {
      int class = utf8proc_get_property(s->code[end])->combining_class;
      if (class == 0) break;
      sorted = sorted && (end == i || utf8proc_get_property(s->code[end - 1])->combining_class <= class);
    }
    if (!sorted) {
      const size_t n = end - i;
      if (n > s->marks_room) {
        mark *grown = mem_grow(s->marks, n, sizeof *grown);
        if (!grown) return STATUS_MEMORY;
        s->marks = grown;
        s->marks_room = n;
      }
      for (size_t k = 0; k < n; k++)
        s->marks[k] =
            (mark){s->code[i + k], (uint64_t)utf8proc_get_property(s->code[i + k])->combining_class << 56 | k};
      qsort(s->marks, n, sizeof *s->marks, compare_marks);
      for (size_t k = 0; k < n; k++) s->code[i + k] = s->marks[k].code;
    }
    end += end == i; /* a character of class 0 */
  }
  return STATUS_OK;
}

/* Appends the normal form of the stretch in s->code. */
static status put_stretch(nfc *s) {
  status code = order_marks(s);
  if (code) return code;
  utf8proc_ssize_t n =
      utf8proc_normalize_utf32(s->code, (utf8proc_ssize_t)s->n_codes, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  if (n < 0) return fail(STATUS_FORMAT, "the text cannot be normalised: %s", utf8proc_errmsg(n));
  for (utf8proc_ssize_t i = 0; i < n; i++) s->size += (size_t)utf8_put((uint32_t)s->code[i], s->out + s->size);
  return STATUS_OK;
}

static nfc_role next_role(const char *text, size_t n, int *length) {
  uint32_t code;
  *length = utf8_next(text, n, &code);
  return role_of(code);
}

/* The bytes at the start of the text, which begins a stretch, whose stretches are one plain character each. */
static size_t plain_run(const char *text, size_t n) {
  size_t last = 0, at = 0; /* the last character's stretch may go on */
  while (at < n) {
    int length = 1;
    nfc_role role = (uint8_t)text[at] < 0x80 ? PLAIN : next_role(text + at, n - at, &length);
    if (role == JOINS) return last;
    last = at;
    if (role == BEGINS) return last;
    at += (size_t)length;
  }
  return n;
}

/* Appends the normal form of the text's first stretch, and says how long that was. */
static status put_first(nfc *s, const char *text, size_t n, size_t *used) {
  size_t at = 0;
  s->n_codes = 0;
  do {
    uint32_t character;
    int length = utf8_next(text + at, n - at, &character);
    if (at && role_of(character) != JOINS) break;
    status code = add_decomposed(s, character);
    if (code) return code;
    at += (size_t)length;
  } while (at < n);
  *used = at;
  return put_stretch(s);
}

static status normalise(nfc *s, const char *text, size_t n) {
  for (size_t at = 0, used; at < n; at += used) {
    const size_t plain = plain_run(text + at, n - at);
    memcpy(s->out + s->size, text + at, plain);
    s->size += plain;
    at += plain;
    if (at == n) break;
    status code = put_first(s, text + at, n - at, &used);
    if (code) return code;
  }
  return STATUS_OK;
}

status unicode_nfc(const char *text, size_t n, char **out, size_t *size) {
  const size_t same = plain_run(text, n);
  *out = NULL;
  *size = n;
  if (same == n) return STATUS_OK;
  size_t room;
  if (!size_mul(n, UNICODE_NFC_GROWTH, &room)) return fail(STATUS_MEMORY, "a text of %zu bytes is too long", n);
  nfc s = {.out = mem_alloc(room, 1), .size = same};
  if (!s.out) return STATUS_MEMORY;
  memcpy(s.out, text, same);
  status code = normalise(&s, text + same, n - same);
  free(s.code), free(s.marks);
  if (code) return free(s.out), code;
  *out = s.out;
  *size = s.size;
  return STATUS_OK;
}

/* -- Small and capital letters ------------------------------------------------------------------------------------- */

typedef struct {
  uint32_t first, last;
} range;

static bool is_within(const range *ranges, size_t n, uint32_t code) {
  for (size_t i = 0; i < n; i++)
    if (code >= ranges[i].first && code <= ranges[i].last) return true;
  return false;
}

/* The property Cased, but for modifier letters, which are also Case_Ignorable and never asked for. */
static bool is_cased(uint32_t code) {
  static const range others[] = {{0xaa, 0xaa},       {0xba, 0xba},       {0x2160, 0x217f},  {0x24b6, 0x24e9},
                                 {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
  const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT ||
         is_within(others, sizeof others / sizeof *others, code);
}

/* The property Case_Ignorable: marks, modifiers, formats, and the dots and quotes that words may have inside. */
static bool is_case_ignorable(uint32_t code) {
  static const uint32_t others[] = {'\'',   '.',    ':',    0xb7,   0x387,  0x55f,  0x5f4,  0x2018, 0x2019,
                                    0x2024, 0x2027, 0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (code == others[i]) return true;
  const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_LM || category == UTF8PROC_CATEGORY_SK;
}

/* Whether text[at] is behind a cased character, and text[end] is not in front of one. */
static bool ends_word(const char *text, size_t n, size_t at, size_t end) {
  uint32_t code = 0;
  bool ignorable = true;
  while (at && ignorable) {
    do at--;
    while (at && ((uint8_t)text[at] & 0xc0) == 0x80);
    utf8_next(text + at, n - at, &code);
    ignorable = is_case_ignorable(code);
  }
  if (ignorable || !is_cased(code)) return false;
  for (; end < n; end += (size_t)utf8_next(text + end, n - end, &code)) {
    utf8_next(text + end, n - end, &code);
    if (!is_case_ignorable(code)) return !is_cased(code);
  }
  return true;
}

size_t unicode_lower(const char *text, size_t n, char *out) {
  enum { DOTTED_I = 0x130, DOT_ABOVE = 0x307, CAPITAL_SIGMA = 0x3a3, SIGMA = 0x3c3, FINAL_SIGMA = 0x3c2 };
  size_t size = 0;
  for (size_t at = 0, length; at < n; at += length) {
    const char c = text[at];
    length = 1;
    if ((uint8_t)c < 0x80) {
      out[size++] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
      continue;
    }
    uint32_t code;
    length = (size_t)utf8_next(text + at, n - at, &code);
    if (code == CAPITAL_SIGMA) {
      code = ends_word(text, n, at, at + length) ? FINAL_SIGMA : SIGMA;
    } else if (code == DOTTED_I) {
      out[size++] = 'i';
      code = DOT_ABOVE;
    } else {
      code = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    }
    size += (size_t)utf8_put(code, out + size);
  }
  return size;
}

uint32_t unicode_upper(uint32_t code) { return (uint32_t)utf8proc_toupper((utf8proc_int32_t)code); }
