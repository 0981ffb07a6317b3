/* A long table that is written in parts, by one process or by several that share a folder: OUT.npy with a row for every
 * item that gave one, OUT.jsonl with a line for every item.
 *
 *   OUT.plan.json              how many items there are, how they are cut, and a fingerprint of what is computed
 *   OUT.part-00000.npy, .jsonl part 0: its first line repeats the fingerprint, then comes a line an item
 *
 * A part appears whole or not at all, so that work that was ended goes on with the parts that are missing. When all are
 * there, whoever sees it joins them and removes them. */
#ifndef LINNET_APPS_PARTS_H
#define LINNET_APPS_PARTS_H

#include "apps/table.h"
#include "weights/checksum.h"

typedef struct {
  char *stem;                /* OUT */
  size_t items, size, count; /* size: items a part, but the last; count: parts */
  size_t width;              /* of a row */
  npy_type type;
  char fingerprint[CHECKSUM_DIGITS + 1];
} parts_plan;

/* `out` is OUT.npy. items, width, type and fingerprint are given; a size of 0 is a good one for so many processes. The
 * plan is written, or, if there is one, followed; STATUS_ARGUMENT if that one is for other work. */
status parts_begin(parts_plan *p, const char *out, int processes);
/* Only follows one: STATUS_IO if there is none. */
status parts_find(parts_plan *p, const char *out);
void parts_free(parts_plan *p);

/* Whether a part is there; of one of other work nothing remains. */
bool part_there(const parts_plan *p, size_t part);

/* --- writing a part ----------------------------------------------------------------------------------------------- */

/* To be written and committed as a table; NULL with a sentence. */
table_writer *part_create(const parts_plan *p, size_t part);

/* --- joining ------------------------------------------------------------------------------------------------------ */

typedef struct {
  bool joined;         /* false: another process is joining, or has */
  size_t rows, failed; /* items with and without one */
} parts_joined;

/* How many parts are missing; none if the plan is gone, since they were joined then. */
size_t parts_missing(const parts_plan *p);
/* Makes OUT.npy and OUT.jsonl of all parts, whose lines then say in "row" which is theirs, and removes the parts and
 * the plan. Only one process does, whoever comes first. */
status parts_join(const parts_plan *p, parts_joined *found);

#endif
