/* Reading tab-separated tables (data/tsv.h). */
#include "data/tsv.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/file.h"

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

static status parse(tsv *table, size_t size, const char *path) {
  size_t cells, lines = 1;
  if (strlen(table->text) != size) return fail(STATUS_FORMAT, "%s is not text: it holds a zero byte", path);
  for (size_t i = 0; i < size; i++) lines += table->text[i] == '\n';
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
  size_t size = 0;
  table->text = file_read(path, TSV_MAX_BYTES, &size);
  if (table->text == NULL || parse(table, size, path) != STATUS_OK) {
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
