/* Small tables as committed text: one row a line, fields separated by tabs. Empty lines and lines that begin with '#'
 * are left out. */
#ifndef LINNET_DATA_TSV_H
#define LINNET_DATA_TSV_H

#include "kernels/base.h"

typedef struct {
  size_t rows, columns;
  char **field;   /* [rows][columns], pointing into text */
  uint32_t *line; /* [rows]: the line number of each row, for error sentences */
  char *text;
} tsv;

#define TSV_MAX_BYTES ((size_t)64 << 20)

/* Every row must have exactly `columns` fields. NULL with a sentence on failure; free with tsv_free. */
tsv *tsv_read(const char *path, size_t columns);
void tsv_free(tsv *table);
static inline const char *tsv_field(const tsv *table, size_t row, size_t column) {
  return table->field[row * table->columns + column];
}

#endif
