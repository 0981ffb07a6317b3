/* A table of vectors with what each row is: OUT.npy, a row for every item that gave one, and OUT.jsonl beside it, an
 * object a line for every item, whose "row" says which is its. Both are written under temporary names; the rows appear
 * last, so that where they are, all is. */
#ifndef LINNET_APPS_TABLE_H
#define LINNET_APPS_TABLE_H

#include <jansson.h>

#include "data/npy.h"

/* The length of a name of rows without ".npy", if it ends so. */
size_t table_stem(const char *rows);
/* The name of the lines that belong to rows of this name: ".npy", if it ends so, becomes ".jsonl". free() it. */
char *table_lines_name(const char *rows);

typedef struct table_writer table_writer;

table_writer *table_create(const char *rows, npy_type type, size_t width); /* NULL with a sentence */
/* The next item: its row, or NULL, and what else is to be said of it, which it takes over and adds "row" to. */
status table_write(table_writer *w, const float *row, json_t *about);
/* The two apart: n rows; a line as it is, which it takes over. */
status table_rows(table_writer *w, const float *rows, size_t n);
status table_line(table_writer *w, json_t *line);
status table_commit(table_writer *w); /* frees it in every case */
void table_abandon(table_writer *w);  /* NULL is fine */

#endif
