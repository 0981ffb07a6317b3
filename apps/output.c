#include "apps/output.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base.h"
#include "kernels/utf8.h"

/* --- text --------------------------------------------------------------------------------------------------------- */

static bool is_visible(uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  if (code == 0x2028 || code == 0x2029 || code == 0xfeff) return false;
  if (code == 0x61c || code == 0x200e || code == 0x200f) return false; /* these and the next turn the line around */
  return !(code >= 0x202a && code <= 0x202e) && !(code >= 0x2066 && code <= 0x2069);
}

static void put_escaped(FILE *to, unsigned char byte) {
  if (byte == '\n')
    fputs("\\n", to);
  else if (byte == '\t')
    fputs("\\t", to);
  else
    fprintf(to, "\\x%02x", byte);
}

void text_put(FILE *to, const char *text, size_t n) {
  while (n) {
    uint32_t code;
    int length = utf8_next(text, n, &code);
    size_t taken = length > 0 ? (size_t)length : 1;
    if (length > 0 && is_visible(code))
      fwrite(text, 1, taken, to);
    else
      for (size_t i = 0; i < taken; i++) put_escaped(to, (unsigned char)text[i]);
    text += taken;
    n -= taken;
  }
}

void text_line(const char *text) {
  text_put(stdout, text, strlen(text));
  putchar('\n');
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static void say(const char *format, va_list args) {
  char text[2048];
  vsnprintf(text, sizeof text, format, args);
  fputs("linnet: ", stderr);
  text_put(stderr, text, strlen(text));
  fputc('\n', stderr);
}

void complain(const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(format, args);
  va_end(args);
}

int misuse(const verb *self, const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(format, args);
  va_end(args);
  fprintf(stderr, "Try: linnet help%s%s\n", self ? " " : "", self ? self->name : "");
  return EXIT_MISUSE;
}

int failed(void) {
  complain("%s", last_error());
  return last_status() == STATUS_INTERRUPTED ? EXIT_INTERRUPTED : EXIT_DATA;
}

void output_flush(void) {
  errno = 0;
  if (!fflush(stdout) && !ferror(stdout)) return;
  complain("the results could not be written%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
  exit(EXIT_DATA);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

json_t *json_text(const char *text) {
  size_t n = strlen(text);
  if (utf8_valid(text, n)) return json_stringn(text, n);
  char *clean = mem_alloc(UTF8_STREAM_ROOM(n) + UTF8_STREAM_ROOM(0), 1);
  if (!clean) return NULL;
  utf8_stream stream = {.damage = UTF8_REPLACE};
  size_t length = utf8_stream_push(&stream, text, n, clean);
  length += utf8_stream_finish(&stream, clean + length);
  json_t *value = json_stringn(clean, length);
  free(clean);
  return value;
}

json_t *json_number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

void json_print(json_t *value, bool one_line) {
  if (!value || json_dumpf(value, stdout, JSON_REAL_PRECISION(9) | (one_line ? JSON_COMPACT : JSON_INDENT(2)))) {
    output_flush(); /* says why if it was the disk */
    complain("the results could not be made into JSON: out of memory");
    exit(EXIT_DATA);
  }
  putchar('\n');
  json_decref(value);
}
