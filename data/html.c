/* Character references. See html.h. */
#include "data/html.h"

#include <stdlib.h>
#include <string.h>

#include "data/codepage.h"
#include "data/unicode.h"
#include "kernels/utf8.h"

#define REPLACEMENT 0xfffd
enum { LONGEST_NAME = 32, LONGEST_CAREFUL = 24 }; /* characters that a reference is looked for in */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
static bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }

/* -- By name ------------------------------------------------------------------------------------------------------- */

/* Compares n characters with the name that an entity begins with. */
static int compare_name(const char *name, size_t n, const char *entity) {
  const size_t length = strcspn(entity, "; "), common = n < length ? n : length;
  const int order = memcmp(name, entity, common);
  return order ? order : (n > length) - (n < length);
}

/* The entity of that name, or NULL. Those that need their semicolon count only if it is there. */
static const char *find_entity(const char *name, size_t n, bool semicolon) {
  size_t low = 0, high = n_html_entities;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    const char *entity = html_entities[middle];
    const int order = compare_name(name, n, entity);
    if (order == 0) return semicolon || entity[n] != ';' ? entity : NULL;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

/* Writes an entity's characters; returns their bytes. */
static size_t put_entity(const char *entity, char *out) {
  size_t size = 0;
  for (const char *at = strchr(entity, ' '); at && *at;) {
    char *end;
    size += (size_t)utf8_put((uint32_t)strtoul(at, &end, 16), out + size);
    at = end;
  }
  return size;
}

/* The longest of the names that need no semicolon, of two characters or more, that n characters begin with. */
static const char *find_beginning(const char *name, size_t n, size_t *length) {
  for (*length = n; *length >= 2; --*length) {
    const char *entity = find_entity(name, *length, false);
    if (entity) return entity;
  }
  return NULL;
}

/* Capitals of a letter that has no single one are several (Unicode's SpecialCasing). */
static size_t put_capital(uint32_t code, char *out) {
  static const struct {
    uint32_t code;
    const char *capitals;
  } several[] = {{0xdf, "SS"},   {0x149, "\xca\xbcN"}, {0xfb00, "FF"}, {0xfb01, "FI"},
                 {0xfb02, "FL"}, {0xfb03, "FFI"},      {0xfb04, "FFL"}};
  for (size_t i = 0; i < sizeof several / sizeof *several; i++)
    if (several[i].code == code) return strlen(memcpy(out, several[i].capitals, strlen(several[i].capitals) + 1));
  return (size_t)utf8_put(unicode_upper(code), out);
}

/* A name in capitals that is none itself, of a reference that is written in small letters: "EACUTE" for U+00C9. Where
 * the standard would read its beginning, as of "LTX", it is none. */
static size_t put_capitals(const char *name, size_t n, char *out) {
  char small[LONGEST_CAREFUL];
  for (size_t i = 0; i < n; i++) {
    if (!is_capital(name[i]) && !is_digit(name[i])) return 0;
    small[i] = is_capital(name[i]) ? (char)(name[i] | 0x20) : name[i];
  }
  size_t length;
  const char *entity = find_entity(small, n, true);
  if (!entity || find_beginning(name, n, &length)) return 0;
  size_t size = 0;
  for (const char *at = strchr(entity, ' '); at && *at;) {
    char *end;
    size += put_capital((uint32_t)strtoul(at, &end, 16), out + size);
    at = end;
  }
  return size;
}

/* -- By number ----------------------------------------------------------------------------------------------------- */

/* The length of "#233" or "#xe9" at the start of n characters, without a semicolon, and the number, which stays beyond
 * all characters once it is; 0 if there is none. */
static size_t read_number(const char *text, size_t n, uint32_t *number) {
  if (n < 2 || *text != '#') return 0;
  const bool hexadecimal = (text[1] | 0x20) == 'x';
  const size_t start = hexadecimal ? 2 : 1;
  size_t at = start;
  for (*number = 0; at < n; at++) {
    const char c = text[at];
    if (!is_digit(c) && !(hexadecimal && is_letter(c) && (c | 0x20) <= 'f')) break;
    const uint32_t digit = (uint32_t)(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    if (*number <= 0x10ffff) *number = *number * (hexadecimal ? 16 : 10) + digit;
  }
  return at > start ? at : 0;
}

/* What a number stands for: bytes 0x80 to 0x9f are Windows-1252's; what can be no character is U+FFFD; controls and
 * noncharacters are nothing. */
static size_t put_number(uint32_t number, char *out) {
  if (number >= 0x80 && number <= 0x9f) return (size_t)utf8_put(codepage_1252(number), out);
  if (number == 0 || number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff))
    return (size_t)utf8_put(REPLACEMENT, out);
  const bool control =
      (number < 0x20 && number != '\t' && number != '\n' && number != '\f' && number != '\r') || number == 0x7f;
  if (control || (number >= 0xfdd0 && number <= 0xfdef) || (number & 0xfffe) == 0xfffe) return 0;
  return (size_t)utf8_put(number, out);
}

/* -- In a text ----------------------------------------------------------------------------------------------------- */

/* What begins with "&" at text: the bytes that it takes, and those that it gives; 0 if it stays as it is. */
static size_t read_standard(const char *text, size_t n, char *out, size_t *size) {
  uint32_t number;
  size_t length = read_number(text + 1, n - 1, &number);
  if (length) {
    *size = put_number(number, out);
    return 1 + length + (1 + length < n && text[1 + length] == ';');
  }
  size_t at = 1;
  for (int characters = 0; at < n && !strchr("\t\n\f <&#;", text[at] ? text[at] : 'a'); at++) {
    if (((uint8_t)text[at] & 0xc0) != 0x80 && characters++ == LONGEST_NAME) break;
  }
  const bool semicolon = at < n && text[at] == ';';
  const char *entity = find_entity(text + 1, at - 1, semicolon);
  if (entity) return *size = put_entity(entity, out), at + semicolon;
  entity = find_beginning(text + 1, at - 1, &length);
  return entity ? *size = put_entity(entity, out), 1 + length : 0;
}

static size_t read_careful(const char *text, size_t n, char *out, size_t *size) {
  const size_t start = n > 1 && text[1] == '#' ? 2 : 1;
  size_t at = start;
  while (at < n && at - start < LONGEST_CAREFUL && (is_letter(text[at]) || is_digit(text[at]))) at++;
  if (at == start || at == n || text[at] != ';') return 0;
  if (start == 2) {
    uint32_t number;
    const bool whole = read_number(text + 1, at - 1, &number) == at - 1;
    *size = whole ? put_number(number, out) : 0;
    return whole && number != ';' ? at + 1 : 0; /* what would leave a semicolon behind counts as not read */
  }
  const char *entity = find_entity(text + 1, at - 1, true);
  *size = entity ? put_entity(entity, out) : put_capitals(text + 1, at - 1, out);
  return *size ? at + 1 : 0;
}

size_t html_unescape(const char *text, size_t n, html_reading reading, char *out) {
  size_t size = 0;
  for (size_t at = 0, taken, given; at < n; at += taken) {
    const char *found = memchr(text + at, '&', n - at);
    const size_t before = found ? (size_t)(found - (text + at)) : n - at;
    memmove(out + size, text + at, before);
    size += before;
    at += before;
    if (at == n) break;
    char character[16];
    taken = (reading == HTML_CAREFUL ? read_careful : read_standard)(text + at, n - at, character, &given);
    if (!taken) {
      taken = given = 1;
      *character = '&';
    }
    memcpy(out + size, character, given);
    size += given;
  }
  return size;
}
