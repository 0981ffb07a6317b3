/* What is known of a row of an index as a question with the answer yes or no: `linnet search --filter`.
 *
 *   width >= 512 and (caption ~ "car" or tags = "vehicle") and not draft
 *
 *   question   = step { "or" step }
 *   step       = term { "and" term }
 *   term       = "not" term | "(" question ")" | field | field operator value
 *   operator   = "=" "!=" "<" "<=" ">" ">=" "~"
 *   field      = part { "." part },  a part is a word or a "string"
 *   value      = a number, a "string" or 'string', true, false, null
 *
 * path, caption and id are the record's; any other field is the metadata's, where dots lead into objects;
 * "metadata.path" is the metadata's own. Of a field that is not there every comparison is false, != too. Numbers
 * compare with numbers, strings with strings byte by byte (which orders dates of ISO 8601); values of different kinds
 * differ and have no order. ~ says that a string holds another one, capital and small letters alike. A list is any of
 * its items (and != says that none is equal). A field alone says that it is there and not false, null, 0, "", [] or {}.
 */
#ifndef LINNET_FUSION_FILTER_H
#define LINNET_FUSION_FILTER_H

#include "fusion/vector_index.h"

enum { FILTER_MOST_BYTES = 1 << 16, FILTER_DEPTH = 64 }; /* of a question; parentheses and nots in each other */

typedef struct filter filter;

/* NULL with a sentence that says where it stops making sense: STATUS_ARGUMENT. */
filter *filter_parse(const char *text);
void filter_free(filter *f); /* NULL is fine */

/* STATUS_FORMAT if the record's metadata are no JSON object. */
status filter_matches(const filter *f, uint64_t id, const index_record *r, bool *yes);

/* The parts of an index for search_exact in which rows that do not match are skipped, beside those that are deleted. */
typedef struct {
  search_part *part;
  size_t n;
  uint8_t *marks;  /* what their `skip` point into */
  size_t matching; /* rows that can be found */
} filtered_parts;

/* Threads are as many as OpenMP would use. Free it, also after a failure. */
status filter_parts(const filter *f, const vector_index *x, filtered_parts *out);
void filtered_parts_free(filtered_parts *p);

#endif
