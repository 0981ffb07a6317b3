/* The lines of a text file: lists of names, templates, paths, texts. A line ends with LF or CR LF, the last one perhaps
 * with nothing. */
#ifndef LINNET_DATA_LINES_H
#define LINNET_DATA_LINES_H

#include "kernels/base.h"

#define LINES_MAX_BYTES ((uint64_t)1 << 30)

typedef struct {
  char **line; /* strings in `text` */
  size_t n;
  char *text;
} lines;

/* Free with lines_free, also after a failure. A line that holds the byte 0 is refused, by its number. */
status lines_read(lines *l, const char *path);
/* The same of n bytes with a zero byte after them, which it takes over, also on failure; `name` is for sentences. */
status lines_parse(lines *l, char *text, size_t n, const char *name);
void lines_free(lines *l);

/* Where the line's first and last byte that is no blank are: cuts the end off and returns the beginning. */
char *line_trim(char *line);

#endif
