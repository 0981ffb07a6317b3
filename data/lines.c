#include "data/lines.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/file.h"

static status keep(lines *l, size_t *capacity, char *line) {
  char **list = mem_room(l->line, l->n, capacity, sizeof *list);
  if (!list) return STATUS_MEMORY;
  l->line = list;
  l->line[l->n++] = line;
  return STATUS_OK;
}

status lines_parse(lines *l, char *text, size_t n, const char *name) {
  size_t capacity = 0;
  status s = STATUS_OK;
  *l = (lines){.text = text};
  for (char *at = text, *end = text + n; !s && at < end;) {
    char *stop = memchr(at, '\n', (size_t)(end - at));
    if (!stop) stop = end;
    if (memchr(at, 0, (size_t)(stop - at)))
      return fail(STATUS_FORMAT, "%s: line %zu holds the byte 0: this is no list of lines", name, l->n + 1);
    *(stop > at && stop[-1] == '\r' ? stop - 1 : stop) = 0;
    s = keep(l, &capacity, at);
    at = stop + 1;
  }
  return s;
}

status lines_read(lines *l, const char *path) {
  size_t n;
  *l = (lines){0};
  char *text = file_read(path, LINES_MAX_BYTES, &n);
  return text ? lines_parse(l, text, n, path) : last_status();
}

void lines_free(lines *l) {
  free(l->line);
  free(l->text);
  *l = (lines){0};
}

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

char *line_trim(char *line) {
  while (blank(*line)) line++;
  size_t n = strlen(line);
  while (n && blank(line[n - 1])) n--;
  line[n] = 0;
  return line;
}
