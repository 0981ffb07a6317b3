/* The bytes of an index file, between its reader, its writer and the checks of whole files (docs/index-format.md). Not
 * for others. */
#ifndef LINNET_FUSION_VECTOR_INDEX_LAYOUT_H
#define LINNET_FUSION_VECTOR_INDEX_LAYOUT_H

#include "fusion/vector_index.h"

enum {
  INDEX_VERSION = 1,
  INDEX_ALIGNMENT = 64, /* of every block: that of the widest vector registers, and of a line of the cache */
  INDEX_RECORD = 64,    /* bytes of the head, of a copy of a root, and of the manifest's head and each of its entries */
  INDEX_PAGE = 4096,    /* the head and each root slot have one of their own, so that no write touches two of them */
  INDEX_SLOTS = 2,
  INDEX_COPY = INDEX_PAGE / 2, /* where the second copy of a root begins: in another sector */
  INDEX_ABOUT = (1 + INDEX_SLOTS) * INDEX_PAGE
};

/* Rows that were written in one go. The parts of a segment follow one another, each from a multiple of 64 on: */
enum { PART_VECTORS, PART_FACTORS, PART_IDS, PART_ENDS, PART_TEXTS, INDEX_PARTS };

typedef struct {
  uint64_t place; /* in the file; what follows is in the manifest too */
  size_t rows, text_bytes, deleted;
  uint64_t sum;                    /* of all bytes of the segment */
  uint64_t marks_place, marks_sum; /* of the marks of deleted rows, a bit a row; 0 if none is */

  uint64_t first;                   /* the number of its first row */
  const uint8_t *part[INDEX_PARTS]; /* where they lie now */
  const uint8_t *skip;              /* the marks; NULL if there are none */
  uint8_t *marks;                   /* a writer's own, which `skip` then is */
  bool marks_changed;
} index_segment;

/* One commit, or what a writer has put since. */
typedef struct {
  char *name; /* of the file, for sentences */
  index_facts facts;
  const void *data; /* the mapping */
  size_t size;
  index_segment *segments;
  size_t n, capacity;
  uint64_t number, next_id, end; /* the next commit begins behind `end` */
  uint64_t used;
  size_t rows, live;
} index_view;

/* Opens the newest root of a file. The name is copied. Closing leaves the descriptor alone. */
status view_open(index_view *v, int descriptor, const char *name);
/* Maps the file as it is now, and finds the parts of the segments again. */
status view_map(index_view *v, int descriptor);
void view_close(index_view *v);

/* A segment of so many rows: where its parts begin, counted from its own beginning, and its length, which is that of
 * the last one's end. False if it is beyond what can be addressed. */
bool segment_extent(const index_facts *facts, size_t rows, size_t text_bytes, size_t at[INDEX_PARTS + 1]);
size_t part_bytes(const index_facts *facts, int part, size_t rows, size_t text_bytes); /* without padding */

const index_segment *view_segment(const index_view *v, uint64_t row);
status view_record(const index_view *v, uint64_t row, index_record *r);
uint64_t view_id(const index_view *v, uint64_t row);
bool view_deleted(const index_view *v, uint64_t row);
const void *view_stored(const index_view *v, uint64_t row, float *factor);
void view_vector(const index_view *v, uint64_t row, float *vector);
/* Rows up to this one have been read, and will not be soon: gives back their memory from time to time. All of the view
 * must lie in its file. */
void view_forget(const index_view *v, uint64_t row);
const index_view *index_view_of(const vector_index *x);

/* free() it. */
uint8_t *layout_manifest(const index_view *v, uint64_t number, size_t *bytes);
uint64_t layout_round(uint64_t place); /* up to the alignment */
uint64_t layout_sum(const void *data, size_t bytes);

/* The same sum over bytes that come in pieces. */
typedef struct XXH3_state_s segment_sum;
segment_sum *segment_sum_new(void);
void segment_sum_add(segment_sum *sum, const void *data, size_t bytes);
uint64_t segment_sum_end(segment_sum *sum); /* frees it */

/* Whether the newest root is as it was written: opening makes do with its second copy. */
status roots_verify(int descriptor, const index_view *v);

/* Writes an index without rows into an empty file, as commit `number`, for index_writer_on() to go on with. */
status layout_new(int descriptor, const char *name, const index_facts *facts, uint64_t number, uint64_t next_id);
/* Writes all of it at a place, however many calls that takes. */
status layout_write(int descriptor, const char *name, const void *data, size_t bytes, uint64_t place);
/* Writes the root of a manifest into its slot. */
status layout_write_root(int descriptor, const char *name, uint64_t number, uint64_t place, const uint8_t *manifest,
                         size_t bytes);

/* --- the writer, for who writes whole files ----------------------------------------------------------------------- */

/* A writer on an open descriptor of a file, which it closes if `owned`; with or without looking up names. */
index_writer *index_writer_on(int descriptor, bool owned, const char *name, bool names);
/* An open descriptor that has the file's lock and is the file of that name; -1 with a sentence. */
int index_lock(const char *path);
const index_view *index_writer_view(const index_writer *w);
/* A row as it is stored, under an id that is above those of all rows. */
status index_put_stored(index_writer *w, const void *stored, float factor, const index_record *r, uint64_t id);
/* Rows that are not committed lie in memory up to this many bytes, and then in the file (default 32 MiB). */
void index_writer_set_piece(index_writer *w, size_t bytes);

/* --- the writer's names ------------------------------------------------------------------------------------------- */

/* The last row of each name, deleted or not, by open addressing: 16 bytes a slot, three quarters of them filled at
 * most. */
typedef struct {
  uint64_t hash, row; /* the row's number + 1; 0: a free slot */
} name_slot;
typedef struct {
  name_slot *slots;
  size_t used, capacity; /* a power of two, or 0 */
} name_table;
status names_open(name_table *t, const index_view *v); /* of all rows that are not deleted */
status names_room(name_table *t, size_t names);        /* for so many in all */
/* The slot of a name, or the free one where it belongs, with its hash filled in. There must be room. */
name_slot *names_find(const name_table *t, const index_view *v, const char *path);
void names_close(name_table *t);

#endif
