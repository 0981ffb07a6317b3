/* JSON Lines: a JSON value on every line of a file that is not blank. */
#ifndef LINNET_DATA_JSON_LINES_H
#define LINNET_DATA_JSON_LINES_H

#include <jansson.h>

#include "kernels/base.h"

enum { JSON_LINE_MOST = 1 << 28 }; /* bytes of a line */

/* Receives the values in order, each with the number of its line, until one returns another status than STATUS_OK. What
 * it says in a sentence is prefixed with the file's name and the line's number. */
typedef status (*json_line_fn)(void *user, const json_t *value, size_t line);

/* Reads n bytes, which sentences call `name`. Strings may hold the byte 0. */
status json_lines(const char *name, const char *bytes, size_t n, json_line_fn each, void *user);

/* Is it such a file, and not a plain text? Its name ends in ".jsonl", or its first line that is not blank is an object.
 */
bool json_lines_are(const char *name, const char *bytes, size_t n);

#endif
