#include "tests/support/index_items.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void index_item_make(index_item *t, unsigned item, unsigned version) {
  rng g = rng_make(item, version);
  snprintf(t->path, sizeof t->path, "pictures/%u.png", item);
  const unsigned length = rng_below(&g, sizeof t->caption);
  memset(t->caption, 'a' + (int)(version % 26), length);
  t->caption[length] = 0;
  snprintf(t->metadata, sizeof t->metadata, "{\"item\": %u, \"version\": %u}", item, version);
  for (int i = 0; i < ITEM_WIDTH; i++) t->vector[i] = 3 * rng_normal(&g);
  t->record = (index_record){t->path, t->caption, t->metadata};
}

status index_item_put(index_writer *w, unsigned item, unsigned version) {
  index_item t;
  index_item_make(&t, item, version);
  return index_put(w, t.vector, &t.record);
}

bool index_item_remove(index_writer *w, unsigned item) {
  index_item t;
  bool found = false;
  index_item_make(&t, item, 1);
  return !index_remove(w, t.path, &found) && found;
}

/* Each type's rounding of a vector of length 1. */
static double tolerance(vector_type type) { return type == VECTOR_F32 ? 1e-6 : type == VECTOR_F16 ? 1e-3 : 6e-3; }

static bool vector_is(const vector_index *x, vector_type coarsest, uint64_t row, const float *vector) {
  float found[ITEM_WIDTH];
  double squares = 0, worst = 0;
  index_vector_at(x, row, found);
  for (int i = 0; i < ITEM_WIDTH; i++) squares += (double)vector[i] * vector[i];
  for (int i = 0; i < ITEM_WIDTH; i++) worst = fmax(worst, fabs(found[i] - vector[i] / sqrt(squares)));
  return worst <= tolerance(coarsest);
}

/* The item of a row, whose version and texts and vector must be right; -1 if something is not. */
static long item_at(const vector_index *x, vector_type coarsest, uint64_t row, const uint8_t *version, unsigned n) {
  index_record r;
  index_item t;
  unsigned item;
  uint64_t found;
  if (index_record_at(x, row, &r) || sscanf(r.path, "pictures/%u.png", &item) != 1 || item >= n || !version[item])
    return -1;
  index_item_make(&t, item, version[item]);
  const bool same = !strcmp(r.path, t.path) && !strcmp(r.caption, t.caption) && !strcmp(r.metadata, t.metadata);
  return same && vector_is(x, coarsest, row, t.vector) && index_row_of(x, index_id_at(x, row), &found) && found == row
             ? (long)item
             : -1;
}

const char *index_items_wrong(const vector_index *x, vector_type coarsest, const uint8_t *version, unsigned n) {
  const index_numbers *numbers = index_numbers_of(x);
  uint8_t seen[256] = {0};
  size_t wanted = 0, found = 0;
  if (n > sizeof seen || numbers->facts.width != ITEM_WIDTH) return "not an index of these items";
  for (unsigned i = 0; i < n; i++) wanted += version[i] != 0;
  for (uint64_t row = 0; row < numbers->rows; row++) {
    uint64_t other;
    if (index_deleted(x, row)) {
      if (index_row_of(x, index_id_at(x, row), &other)) return "a deleted row is found by its id";
      continue;
    }
    const long item = item_at(x, coarsest, row, version, n);
    if (item < 0) return "a row is not what was put";
    if (seen[item]++) return "an item is there twice";
    found++;
  }
  return found != wanted ? "an item is missing" : found != numbers->live ? "the count of rows is wrong" : NULL;
}
