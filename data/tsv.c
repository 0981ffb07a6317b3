/* Reading tab-separated tables (data/tsv.h). */
#include "data/tsv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The whole file with a zero byte after it. */
static char *read_text(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) return fail_null(STATUS_IO, "cannot open %s: %s", path, strerror(errno));
  size_t used = 0, room = 0;
  char *text = NULL;
  bool more = true;
  while (more) {
    room = room == 0 ? 1 << 16 : room * 2;
    char *grown = room > TSV_MAX_BYTES ? fail_null(STATUS_MEMORY, "%s is too long for a table", path)
                                       : mem_grow(text, room + 1, 1);
    if (grown == NULL) break;
    text = grown;
    size_t n = fread(text + used, 1, room - used, file);
    used += n;
    more = used == room;
  }
  bool damaged = ferror(file) != 0;
  fclose(file);
  if (more || damaged) {
    if (damaged) fail(STATUS_IO, "cannot read %s", path);
    free(text);
    return NULL;
  }
  text[used] = 0;
  if (strlen(text) != used) {
    free(text);
    return fail_null(STATUS_FORMAT, "%s is not text: it holds a zero byte", path);
  }
  *size = used;
  return text;
}

/* Splits one line in place; false if it does not have exactly `columns` fields. */
static bool split_line(char *line, size_t columns, char **field) {
  for (size_t c = 0; c < columns; c++) {
    field[c] = line;
    char *tab = strchr(line, '\t');
    if (tab == NULL) return c + 1 == columns;
    *tab = 0;
    line = tab + 1;
  }
  return false;
}

static status parse(tsv *table, size_t lines, const char *path) {
  size_t cells;
  if (!size_mul(lines, table->columns, &cells)) return fail(STATUS_MEMORY, "%s is too long for a table", path);
  table->field = mem_alloc(cells, sizeof *table->field);
  table->line = mem_alloc(lines, sizeof *table->line);
  if (table->field == NULL || table->line == NULL) return last_status();
  uint32_t number = 0;
  for (char *line = table->text, *next; line != NULL; line = next) {
    char *end = strchr(line, '\n');
    next = end != NULL ? end + 1 : NULL;
    if (end != NULL) *end = 0;
    number++;
    if (*line == 0 || *line == '#') continue;
    if (!split_line(line, table->columns, table->field + table->rows * table->columns)) {
      return fail(STATUS_FORMAT, "%s, line %u: expected %zu fields separated by tabs", path, number, table->columns);
    }
    table->line[table->rows++] = number;
  }
  return STATUS_OK;
}

tsv *tsv_read(const char *path, size_t columns) {
  tsv *table = mem_zero(1, sizeof *table);
  if (table == NULL) return NULL;
  table->columns = columns;
  size_t size = 0, lines = 1;
  table->text = read_text(path, &size);
  for (size_t i = 0; i < size; i++) lines += table->text[i] == '\n';
  if (table->text == NULL || parse(table, lines, path) != STATUS_OK) {
    tsv_free(table);
    return NULL;
  }
  return table;
}

void tsv_free(tsv *table) {
  if (table == NULL) return;
  free(table->field);
  free(table->line);
  free(table->text);
  free(table);
}
