/* The split of the object pictures: made once, pinned by committed tables, checked by an audit.
 *
 * Pictures belong together if they have the same pixels (content hash), nearly the same look (near-duplicate hash) or
 * the same author and kind (siblings); the split is made by whole groups of pictures that belong together, directly or
 * through others. docs/data.md states the rule. data/kinds.tsv holds the kinds, data/objects.tsv (the manifest) the
 * pictures. */
#ifndef LINNET_DATA_SPLIT_H
#define LINNET_DATA_SPLIT_H

#include <stdio.h>

#include "data/objects.h"
#include "data/tsv.h"

/* data/kinds.tsv: singular, plural, article, held out (0 or 1); sorted by singular. */
typedef struct {
  tsv *table;
  object_kind *kind;
  uint32_t n;
} kind_table;
kind_table *kind_table_read(const char *path);
void kind_table_free(kind_table *kinds);
/* The number of a kind by its singular; UINT32_MAX if there is none. */
uint32_t kind_table_find(const kind_table *kinds, const char *singular);

/* The look of a picture in 128 bits: is it brighter than its neighbour, on a coarse grid, along rows and along columns.
 */
typedef struct {
  uint64_t rows, columns;
} look_hash;

typedef struct {
  const char *name, *author; /* the author in normal form; siblings are pictures of one author and kind */
  uint32_t kind, group;
  uint8_t split, colour;
  uint16_t width, height;
  uint64_t content;
  look_hash look;
} manifest_entry;

/* data/objects.tsv: one line a picture, in the order of the pack. */
typedef struct {
  tsv *table;
  manifest_entry *entry;
  uint32_t n;
} manifest;
manifest *manifest_read(const char *path, const kind_table *kinds);
void manifest_free(manifest *m);
status manifest_write(FILE *to, const manifest_entry *entry, uint32_t n, const kind_table *kinds);

uint64_t content_hash(const uint8_t *rgba, int width, int height);
look_hash look_hash_of(const uint8_t *rgba, int width, int height);
bool look_is_near(const manifest_entry *a, const manifest_entry *b);
bool is_sibling(const manifest_entry *a, const manifest_entry *b);

/* Whether the split's seed holds a kind out: true for one kind in twenty, by its name alone. */
bool kind_is_held_out(const char *singular);

/* Sets `group` and `split` of every entry from the other fields. Fails if a kind that is not held out can have no
 * training picture. */
status split_make(manifest_entry *entry, uint32_t n, const kind_table *kinds);

/* What an audit counts; every violation is a pair of pictures in two different splits, or a picture or kind in none. */
typedef struct {
  uint32_t pictures[SPLITS];
  uint32_t kinds_held_out;
  uint32_t copies, near_copies, siblings; /* pairs across splits */
  uint32_t held_out_seen;                 /* pictures of held-out kinds outside the test split */
  uint32_t kinds_untrained;               /* kinds that are not held out and have no training picture */
  uint32_t wrong_flags;                   /* kinds whose held-out flag is not the seed's */
  uint32_t mismatches;                    /* manifest lines that say something else than the pack */
  char first[512];                        /* one sentence about the first violation; "" if there is none */
} split_audit;

/* Looks at every pair of pictures, never at groups. */
void split_audit_manifest(const manifest *m, const kind_table *kinds, split_audit *out);
/* The same with every hash, colour, kind and split taken from the pack and its pixels; only authors come from the
 * manifest. Differences between the two are counted too. */
status split_audit_pack(const object_set *set, const manifest *m, const kind_table *kinds, split_audit *out);
uint32_t split_audit_violations(const split_audit *audit);

extern const char *const split_name[SPLITS];

#endif
