/* Reading and writing Python string literals. See literal.h. */
#include "data/literal.h"

#include <stdio.h>
#include <string.h>

#include "kernels/utf8.h"

/* The value of n hexadecimal digits, or -1. */
static int32_t hex_value(const char *digits, size_t n) {
  int32_t value = 0;
  for (size_t i = 0; i < n; i++) {
    char c = digits[i];
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/* Reads the escape after a backslash at text[0..n), appends to out, moves *size; returns the characters read or 0. */
static size_t read_escape(const char *text, size_t n, bool bytes, char *out, size_t *size) {
  static const char names[] = "ntr\\'\"", values[] = "\n\t\r\\'\"";
  const char *name = n && *text ? strchr(names, *text) : NULL;
  if (name) {
    out[(*size)++] = values[name - names];
    return 1;
  }
  size_t digits = n && *text == 'x' ? 2 : n && *text == 'u' && !bytes ? 4 : 0;
  if (!digits || n < 1 + digits) return fail(STATUS_FORMAT, "there is an unknown or cut-off escape"), 0;
  int32_t code = hex_value(text + 1, digits);
  if (code < 0) return fail(STATUS_FORMAT, "the digits of \\%c are not hexadecimal", *text), 0;
  if (code >= 0xd800 && code < 0xe000)
    return fail(STATUS_FORMAT, "\\u%04x is half a surrogate pair", (unsigned)code), 0;
  if (bytes) {
    out[(*size)++] = (char)code;
  } else {
    *size += (size_t)utf8_put((uint32_t)code, out + *size);
  }
  return 1 + digits;
}

status literal_read(const char *text, size_t n, char *out, size_t *size) {
  bool bytes = n && *text == 'b';
  size_t at = bytes, end = n - 1, written = 0;
  if (n < at + 2 || (text[at] != '\'' && text[at] != '"') || text[end] != text[at])
    return fail(STATUS_FORMAT, "a quoted string such as 'a', \"it's\" or b'\\xff' was expected");
  const char quote = text[at++];
  while (at < end) {
    if (text[at] == quote) return fail(STATUS_FORMAT, "the string has an unescaped quote inside");
    if (text[at] == '\\') {
      size_t used = read_escape(text + at + 1, end - at - 1, bytes, out, &written);
      if (!used) return last_status();
      at += 1 + used;
      continue;
    }
    uint32_t code;
    int length = utf8_next(text + at, end - at, &code);
    if (length <= 0) return fail(STATUS_FORMAT, "the string is not valid UTF-8");
    if (bytes && length > 1) return fail(STATUS_FORMAT, "a b'' string may hold ASCII only");
    memcpy(out + written, text + at, (size_t)length);
    written += (size_t)length;
    at += (size_t)length;
  }
  *size = written;
  return STATUS_OK;
}

/* Characters that repr() escapes: controls, blanks other than the space, format characters and private ones, as far as
 * they have at most four hexadecimal digits (the rest passes as it is: it reads back the same). */
static bool must_escape(uint32_t code) {
  static const struct {
    uint16_t first, last;
  } hidden[] = {{0, 0x1f},        {0x7f, 0xa0},     {0xad, 0xad},     {0x600, 0x605},
                {0x61c, 0x61c},   {0x6dd, 0x6dd},   {0x70f, 0x70f},   {0x1680, 0x1680},
                {0x180e, 0x180e}, {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f},
                {0x3000, 0x3000}, {0xe000, 0xf8ff}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}};
  for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
    if (code >= hidden[i].first && code <= hidden[i].last) return true;
  return false;
}

static size_t write_escape(uint32_t code, char *out) {
  switch (code) {
  case '\n':
    return memcpy(out, "\\n", 2), 2;
  case '\t':
    return memcpy(out, "\\t", 2), 2;
  case '\r':
    return memcpy(out, "\\r", 2), 2;
  }
  static const char digits[] = "0123456789abcdef";
  size_t n = 2 + (code < 0x100 ? 2 : 4);
  out[0] = '\\';
  out[1] = code < 0x100 ? 'x' : 'u';
  for (size_t i = n - 1; i >= 2; i--, code >>= 4) out[i] = digits[code & 15];
  return n;
}

size_t literal_write(const char *bytes, size_t n, char *out) {
  const bool text = utf8_valid(bytes, n);
  const char quote = memchr(bytes, '\'', n) && !memchr(bytes, '"', n) ? '"' : '\'';
  size_t at = 0, written = 0;
  if (!text) out[written++] = 'b';
  out[written++] = quote;
  while (at < n) {
    uint32_t code = (uint8_t)bytes[at];
    int length = text ? utf8_next(bytes + at, n - at, &code) : 1;
    if (code == (uint8_t)quote || code == '\\') {
      out[written++] = '\\';
      out[written++] = (char)code;
    } else if (must_escape(code) || (!text && code >= 0x80)) {
      written += write_escape(code, out + written);
    } else {
      memcpy(out + written, bytes + at, (size_t)length);
      written += (size_t)length;
    }
    at += (size_t)length;
  }
  out[written++] = quote;
  return written;
}
