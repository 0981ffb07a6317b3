#include "data/json_lines.h"

#include <string.h>

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static status take_line(const char *line, size_t n, size_t number, json_line_fn each, void *user) {
  if (n > JSON_LINE_MOST) return fail(STATUS_FORMAT, "longer than %d bytes", JSON_LINE_MOST);
  json_error_t wrong;
  json_t *value = json_loadb(line, n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &wrong);
  const status s = value ? each(user, value, number) : fail(STATUS_FORMAT, "not JSON: %s", wrong.text);
  json_decref(value);
  return s;
}

status json_lines(const char *name, const char *bytes, size_t n, json_line_fn each, void *user) {
  size_t number = 0;
  for (size_t at = 0, next; at < n; at = next + 1) {
    const char *end = memchr(bytes + at, '\n', n - at);
    next = end ? (size_t)(end - bytes) : n;
    number++;
    while (at < next && blank(bytes[at])) at++;
    if (at < next && take_line(bytes + at, next - at, number, each, user))
      return fail_within("%s: line %zu", name, number);
  }
  return STATUS_OK;
}

static status look_at_first(void *user, const json_t *value, size_t line) {
  (void)line;
  *(bool *)user = json_is_object(value);
  return STATUS_INTERRUPTED;
}

bool json_lines_are(const char *name, const char *bytes, size_t n) {
  static const char end[] = ".jsonl";
  const size_t length = strlen(name);
  bool object = false;
  if (length >= sizeof end - 1 && !strcmp(name + length - (sizeof end - 1), end)) return true;
  json_lines(name, bytes, n, look_at_first, &object);
  return object;
}
