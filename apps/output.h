/* What the command writes: results on stdout, messages on stderr. Text that came from outside (names of files,
 * metadata, what a model says) passes through text_put or json_text: a terminal never gets its control characters. */
#ifndef LINNET_APPS_OUTPUT_H
#define LINNET_APPS_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "apps/command.h"

/* Writes n bytes; controls, invisible direction marks and bytes that are no UTF-8 become \n, \t, \xHH. */
void text_put(FILE *to, const char *text, size_t n);
void text_line(const char *text); /* a line on stdout */

/* "linnet: SENTENCE" on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same and a hint to the verb's help (of the whole command if NULL); returns EXIT_MISUSE. */
int misuse(const verb *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Complains with last_error() and returns the exit code of last_status(). */
int failed(void);

/* Ends the command with a sentence and EXIT_DATA if the results cannot be written (full disk, closed pipe). */
void output_flush(void);

/* A JSON string; bytes that are no UTF-8 become U+FFFD. */
json_t *json_text(const char *text);
json_t *json_number(double value); /* null for NaN and infinities */
/* Writes a value, on one line or indented, with a newline, and releases it. */
void json_print(json_t *value, bool one_line);

#endif
