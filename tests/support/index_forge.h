/* Makes the checksums of an index file right again after its bytes were changed, as far as what they cover lies in the
 * file: so that what a reader does with impossible numbers can be tried. In a header: the fuzz target uses it too. */
#ifndef LINNET_TESTS_INDEX_FORGE_H
#define LINNET_TESTS_INDEX_FORGE_H

#include <string.h>

#include "fusion/vector_index_layout.h"
#include "kernels/bytes.h"

enum { FORGE_SUM = INDEX_RECORD - 8 }; /* where the head and the roots have their own */

static inline uint8_t *forge_root(uint8_t *file, unsigned slot) { return file + INDEX_PAGE + slot * INDEX_PAGE; }

/* Whether [place,place+bytes) lies in the file. */
static inline bool forge_within(size_t size, uint64_t place, uint64_t bytes) {
  return place <= size && bytes <= size - place;
}

static inline void forge_entry(uint8_t *file, size_t size, const index_facts *facts, uint8_t *entry) {
  const uint64_t place = little64(entry), rows = little64(entry + 8), marks = little64(entry + 32);
  size_t at[INDEX_PARTS + 1];
  if (segment_extent(facts, rows, little64(entry + 16), at) && forge_within(size, place, at[INDEX_PARTS]))
    put_little(entry + 24, layout_sum(file + place, at[INDEX_PARTS]), 8);
  if (marks && forge_within(size, marks, rows / 8 + (rows % 8 != 0)))
    put_little(entry + 40, layout_sum(file + marks, rows / 8 + (rows % 8 != 0)), 8);
}

/* All sums that the root in a slot leads to, and its own, in both copies. */
static inline void forge_slot(uint8_t *file, size_t size, unsigned slot) {
  uint8_t *root = forge_root(file, slot);
  const index_facts facts = {.width = little64(file + 16), .type = (vector_type)(little32(file + 12) % VECTOR_TYPES)};
  const uint64_t place = little64(root + 16), bytes = little64(root + 24);
  if (forge_within(size, place, bytes)) {
    for (uint64_t at = INDEX_RECORD; facts.width <= VECTOR_WIDTH_MAX && at + INDEX_RECORD <= bytes; at += INDEX_RECORD)
      forge_entry(file, size, &facts, file + place + at);
    put_little(root + 32, layout_sum(file + place, bytes), 8);
  }
  put_little(root + FORGE_SUM, layout_sum(root, FORGE_SUM), 8);
  memcpy(root + INDEX_COPY, root, INDEX_RECORD);
}

/* A file of at least INDEX_ABOUT bytes. */
static inline void forge_sums(uint8_t *file, size_t size) {
  const uint64_t about = little64(file + 24);
  if (forge_within(size, INDEX_ABOUT, about)) put_little(file + 32, layout_sum(file + INDEX_ABOUT, about), 8);
  put_little(file + FORGE_SUM, layout_sum(file, FORGE_SUM), 8);
  for (unsigned slot = 0; slot < INDEX_SLOTS; slot++) forge_slot(file, size, slot);
}

#endif
