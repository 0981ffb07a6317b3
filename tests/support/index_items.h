/* Rows of an index that can be told from their number: an item has a name, and each of its versions a vector, a caption
 * and metadata of its own. What an index should hold is then a version for each item, 0 for none. */
#ifndef LINNET_TESTS_INDEX_ITEMS_H
#define LINNET_TESTS_INDEX_ITEMS_H

#include "fusion/vector_index.h"

enum { ITEM_WIDTH = 24 };

typedef struct {
  char path[32], caption[600], metadata[64];
  index_record record;      /* of these */
  float vector[ITEM_WIDTH]; /* not of length 1 */
} index_item;
void index_item_make(index_item *t, unsigned item, unsigned version);
status index_item_put(index_writer *w, unsigned item, unsigned version);
bool index_item_remove(index_writer *w, unsigned item); /* whether it was there, and is not any more */

/* NULL if the index holds exactly these n items, each with its vector and texts and found by its id; else what is
 * wrong. Vectors have
 * been through this type. Allocates nothing. */
const char *index_items_wrong(const vector_index *x, vector_type coarsest, const uint8_t *version, unsigned n);

#endif
