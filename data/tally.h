/* How often each byte string was added. */
#ifndef LINNET_DATA_TALLY_H
#define LINNET_DATA_TALLY_H

#include "data/intern.h"

typedef struct {
  intern *words;
  uint64_t *count; /* [intern_count(words)], by id */
  size_t room;
} tally;

status tally_new(tally *t); /* free in every case */
void tally_free(tally *t);
status tally_add(tally *t, const void *bytes, size_t n); /* fails only for memory */

#endif
