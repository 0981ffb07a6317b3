/* The project's pictures of things: one file ("object pack") with every cut-out picture, its kind, colour and split.
 *
 * Made by `linnet-data` (scripts/data) from OpenClipart, Noto Color Emoji and CLDR; read here by memory map. Kinds are
 * numbered 0..n_kinds-1 in the order of the committed table data/kinds.tsv. The split is made once, by whole groups of
 * identical, near-identical and sibling pictures (docs/data.md states the rule). */
#ifndef LINNET_DATA_OBJECTS_H
#define LINNET_DATA_OBJECTS_H

#include <stdint.h>

#include "data/colour.h"
#include "kernels/base.h"

typedef enum { SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST, SPLITS } split;
typedef enum { SOURCE_CLIPART, SOURCE_EMOJI } object_source;

typedef struct {
  const char *singular, *plural, *article; /* "apple", "apples", "an" */
  bool held_out; /* no picture of this kind is in training: all of its pictures are test ("unseen kind") */
} object_kind;

typedef struct {
  uint32_t kind;
  uint8_t split;          /* split */
  uint8_t colour;         /* colour, by the rule of colour.h */
  uint8_t source;         /* object_source */
  uint16_t width, height; /* longer side is at most the pack's `side` */
  const uint8_t *rgba;    /* width*height*4, cropped to its opaque box, alpha not premultiplied */
  const char *name;       /* where it came from: package-relative path or "emoji U+1F34E" */
} object_picture;

typedef struct object_set object_set;

/* Opens a pack; every size and offset is checked against the file. NULL with a sentence on failure. */
object_set *object_set_open(const char *path);
void object_set_close(object_set *set);

uint32_t object_kinds(const object_set *set);
const object_kind *object_kind_at(const object_set *set, uint32_t kind);
uint32_t object_pictures(const object_set *set);
const object_picture *object_picture_at(const object_set *set, uint32_t index);
/* The pictures of one kind and split: a list of indices into the set, valid until close. */
const uint32_t *object_pictures_of(const object_set *set, uint32_t kind, split which, uint32_t *n);
/* All pictures of one split. */
const uint32_t *object_pictures_in(const object_set *set, split which, uint32_t *n);

/* Writing, for linnet-data: kinds and pictures are copied out at once. Pictures stand as they shall be numbered. The
 * file appears whole or not at all (atomic_file.h). */
status object_pack_write(const char *path, const object_kind *kinds, uint32_t n_kinds, const object_picture *pictures,
                         uint32_t n_pictures);

#endif
