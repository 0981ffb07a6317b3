/* Repairs of text. See fix_text.h. */
#include "data/fix_text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/html.h"
#include "data/mojibake.h"
#include "data/unicode.h"
#include "kernels/utf8.h"

enum {
  MOST_CHARACTERS = 1000000, /* of a segment */
  MOST_TURNS = 64,           /* a line that still changes then, such as "&amp;amp;amp;...", is left as it is */
};

/* -- Characters ---------------------------------------------------------------------------------------------------- */

/* The letters of a ligature, by their range. Of the quote-like letter of U+0149 the straight quote is what is left. */
static const char *letters_of(uint32_t code) {
  static const char *const dutch[] = {"IJ", "ij"};
  static const char *const croatian[] = {"D\xc5\xbd", "D\xc5\xbe", "d\xc5\xbe", "LJ", "Lj", "lj", "NJ", "Nj", "nj"};
  static const char *const digraphs[] = {"DZ", "Dz", "dz"};
  static const char *const typographic[] = {"ff", "fi", "fl", "ffi", "ffl", "\xc5\xbft", "st"};
  if (code == 0x132 || code == 0x133) return dutch[code - 0x132];
  if (code == 0x149) return "'n";
  if (code >= 0x1c4 && code <= 0x1cc) return croatian[code - 0x1c4];
  if (code >= 0x1f1 && code <= 0x1f3) return digraphs[code - 0x1f1];
  if (code >= 0xfb00 && code <= 0xfb06) return typographic[code - 0xfb00];
  return NULL;
}

/* What the half-width and full-width forms U+FF01 to U+FFEF are compatible to, in normal form KC. */
static size_t put_usual_width(uint32_t code, char *out) {
  utf8proc_int32_t parts[4];
  int ignored = 0;
  utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code, parts, 4,
                                               UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STABLE, &ignored);
  size_t size = 0;
  for (utf8proc_ssize_t i = 0; i < n && n <= 4; i++) size += (size_t)utf8_put((uint32_t)parts[i], out + size);
  return size ? size : (size_t)utf8_put(code, out);
}

/* Writes what one character beyond ASCII becomes; at most half as many bytes more. */
static size_t put_fixed(uint32_t code, char *out) {
  const char *letters = letters_of(code);
  if (letters) {
    const size_t n = strlen(letters);
    memcpy(out, letters, n);
    return n;
  }
  if (code >= 0xff01 && code <= 0xffef) return put_usual_width(code, out);
  if (code >= 0x201c && code <= 0x201f) code = '"';
  if (code == 0x2bc || (code >= 0x2018 && code <= 0x201b)) code = '\'';
  if (code == 0x3000) code = ' ';
  if (code == 0x2028 || code == 0x2029) code = '\n';
  return (size_t)utf8_put(code, out);
}

/* Characters, one at a time; of ASCII only the line breaks change. */
static size_t fix_characters(const char *text, size_t n, char *out) {
  size_t size = 0;
  for (size_t at = 0, length; at < n; at += length) {
    uint32_t code;
    length = (size_t)utf8_next(text + at, n - at, &code);
    if (code == '\r') {
      if (at + 1 < n && text[at + 1] == '\n') continue;
      code = '\n';
    }
    if (code < 0x80)
      out[size++] = (char)code;
    else
      size += put_fixed(code, out + size);
  }
  return size;
}

/* -- Controls ------------------------------------------------------------------------------------------------------ */

/* The length of a terminal escape, as "\33[31m", at the start of the text; 0 if there is none. Digits of all scripts
 * count as digits. */
static size_t escape_length(const char *text, size_t n) {
  if (n < 2 || text[0] != '\033' || text[1] != '[') return 0;
  for (size_t at = 2; at < n;) {
    uint32_t code;
    const size_t length = (size_t)utf8_next(text + at, n - at, &code);
    if ((code | 0x20) >= 'a' && (code | 0x20) <= 'z') return at + 1;
    if (code != ';' && utf8proc_category((utf8proc_int32_t)code) != UTF8PROC_CATEGORY_ND) return 0;
    at += length;
  }
  return 0;
}

/* Controls of ASCII but white space; deprecated formats; annotations; the byte order mark. */
static bool is_control(uint32_t code) {
  return code < 9 || code == 0xb || (code >= 0xe && code < 0x20) || code == 0x7f ||
         (code >= 0x206a && code <= 0x206f) || code == 0xfeff || (code >= 0xfff9 && code <= 0xfffc);
}

/* In place: `out` may be the text. */
static size_t remove_controls(const char *text, size_t n, char *out) {
  size_t size = 0;
  for (size_t at = 0, length; at < n; at += length) {
    if ((length = escape_length(text + at, n - at))) continue;
    uint32_t code;
    length = (size_t)utf8_next(text + at, n - at, &code);
    if (is_control(code)) continue;
    memmove(out + size, text + at, length);
    size += length;
  }
  return size;
}

/* -- Lines --------------------------------------------------------------------------------------------------------- */

typedef struct {
  char *bytes;
  size_t n;
} string;

/* Puts a new string in its place; NULL keeps the old one. */
static void replace(string *s, char *bytes, size_t n) {
  if (!bytes) return;
  free(s->bytes);
  *s = (string){bytes, n};
}

static status decode_html(string *s) {
  if (!memchr(s->bytes, '&', s->n)) return STATUS_OK;
  char *out = mem_alloc(HTML_ROOM(s->n), 1);
  if (!out) return STATUS_MEMORY;
  replace(s, out, html_unescape(s->bytes, s->n, HTML_CAREFUL, out));
  return STATUS_OK;
}

/* One turn of a line. */
static status fix_once(string *s, bool html) {
  char *out;
  size_t size;
  status code = html ? decode_html(s) : STATUS_OK;
  if (!code) code = mojibake_repair(s->bytes, s->n, &out, &size);
  if (code) return code;
  replace(s, out, size);
  if (!(out = mem_alloc(MOJIBAKE_C1_ROOM(s->n), 1))) return STATUS_MEMORY;
  replace(s, out, mojibake_fix_c1(s->bytes, s->n, out));
  if (!(out = mem_alloc(s->n + s->n / 2, 1))) return STATUS_MEMORY;
  size = fix_characters(s->bytes, s->n, out);
  replace(s, out, remove_controls(out, size, out));
  code = unicode_nfc(s->bytes, s->n, &out, &size);
  if (!code) replace(s, out, size);
  return code;
}

/* The repaired line, which the caller frees. */
static status fix_line(const char *text, size_t n, bool html, string *line) {
  if (!(line->bytes = mem_alloc(n, 1))) return STATUS_MEMORY;
  memcpy(line->bytes, text, n);
  line->n = n;
  status code = STATUS_OK;
  string before = {NULL, 0};
  for (int turns = 0; turns < MOST_TURNS && !code; turns++) {
    free(before.bytes);
    if (!(before.bytes = mem_alloc(line->n, 1))) {
      code = STATUS_MEMORY;
      break;
    }
    memcpy(before.bytes, line->bytes, before.n = line->n);
    code = fix_once(line, html);
    if (!code && line->n == before.n && !memcmp(line->bytes, before.bytes, before.n)) break;
  }
  free(before.bytes);
  if (code) free(line->bytes);
  return code;
}

/* -- Texts --------------------------------------------------------------------------------------------------------- */

/* The bytes at the start of the text that no repair changes: of ASCII, no control, no reference. */
static size_t plain_run(const char *text, size_t n) {
  size_t at = 0;
  while (at < n && (uint8_t)text[at] < 0x7f && text[at] != '&' &&
         ((uint8_t)text[at] >= 0x20 || text[at] == '\n' || text[at] == '\t' || text[at] == '\f'))
    at++;
  return at;
}

/* The bytes of the next segment: a line with its break, or the most characters. */
static size_t segment_length(const char *text, size_t n) {
  const char *end = memchr(text, '\n', n);
  if (end) n = (size_t)(end - text) + 1;
  if (n <= MOST_CHARACTERS) return n;
  size_t at = 0;
  for (size_t characters = 0; at < n; at++)
    if (((uint8_t)text[at] & 0xc0) != 0x80 && characters++ == MOST_CHARACTERS) break;
  return at;
}

static status append(string *s, size_t *room, const char *bytes, size_t n) {
  if (*room - s->n < n) {
    size_t most;
    if (!size_add(s->n, n, &most) || !size_mul(most, 2, room))
      return fail(STATUS_MEMORY, "a text of %zu bytes is too long", n);
    char *grown = mem_grow(s->bytes, *room, 1);
    if (!grown) return STATUS_MEMORY;
    s->bytes = grown;
  }
  memcpy(s->bytes + s->n, bytes, n);
  s->n += n;
  return STATUS_OK;
}

status fix_text(const char *text, size_t n, char **out, size_t *size) {
  *out = NULL;
  *size = n;
  if (plain_run(text, n) == n) return STATUS_OK;
  size_t room = n;
  string all = {mem_alloc(n, 1), 0};
  status code = all.bytes ? STATUS_OK : STATUS_MEMORY;
  bool html = true;
  for (size_t at = 0, length; at < n && !code; at += length) {
    length = segment_length(text + at, n - at);
    html = html && !memchr(text + at, '<', length);
    string line;
    if (plain_run(text + at, length) == length) {
      code = append(&all, &room, text + at, length);
    } else if (!(code = fix_line(text + at, length, html, &line))) {
      code = append(&all, &room, line.bytes, line.n);
      free(line.bytes);
    }
  }
  if (code || (all.n == n && !memcmp(all.bytes, text, n))) return free(all.bytes), code;
  *out = all.bytes;
  *size = all.n;
  return STATUS_OK;
}
