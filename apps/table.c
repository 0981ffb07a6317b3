#include "apps/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/atomic_file.h"
#include "weights/metadata.h"

struct table_writer {
  npy_writer *rows;
  atomic_file *lines;
  size_t n; /* rows */
};

size_t table_stem(const char *rows) {
  static const char npy_end[] = ".npy";
  const size_t n = strlen(rows), end = sizeof npy_end - 1;
  return n > end && text_ends_with(rows, npy_end) ? n - end : n;
}

char *table_lines_name(const char *rows) {
  const size_t stem = table_stem(rows), room = stem + sizeof ".jsonl";
  char *name = mem_alloc(room, 1);
  if (name) snprintf(name, room, "%.*s.jsonl", (int)stem, rows);
  return name;
}

table_writer *table_create(const char *rows, npy_type type, size_t width) {
  char *lines = table_lines_name(rows);
  table_writer *w = lines ? mem_zero(1, sizeof *w) : NULL;
  const bool whole =
      w && (w->rows = npy_create(rows, type, width)) && (w->lines = atomic_file_create(lines)); /* in this order */
  free(lines);
  if (whole) return w;
  table_abandon(w);
  return NULL;
}

status table_rows(table_writer *w, const float *rows, size_t n) {
  const status s = npy_write(w->rows, rows, n);
  if (!s) w->n += n;
  return s;
}

status table_line(table_writer *w, json_t *line) {
  char *text = metadata_json_text(line, JSON_COMPACT);
  status s = text ? atomic_file_write(w->lines, text, strlen(text)) : last_status();
  if (!s) s = atomic_file_write(w->lines, "\n", 1);
  free(text);
  json_decref(line);
  return s;
}

status table_write(table_writer *w, const float *row, json_t *about) {
  if (row && about) json_object_set_new(about, "row", json_integer((json_int_t)w->n));
  const status s = row ? table_rows(w, row, 1) : STATUS_OK;
  if (!s) return table_line(w, about);
  json_decref(about);
  return s;
}

status table_commit(table_writer *w) {
  status s = atomic_file_commit(w->lines);
  w->lines = NULL;
  if (!s) {
    s = npy_commit(w->rows);
    w->rows = NULL;
  }
  table_abandon(w);
  return s;
}

void table_abandon(table_writer *w) {
  if (!w) return;
  npy_abandon(w->rows);
  atomic_file_abandon(w->lines);
  free(w);
}
