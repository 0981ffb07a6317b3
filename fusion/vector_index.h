/* A retrieval index: vectors of pictures (or texts) with what is known of each, in one file that is mapped into memory.
 *
 * The file only grows. A commit appends a segment (rows, ids, records), new marks of deleted rows where there are any,
 * and a manifest that names all segments; it syncs them, and then writes one of two root slots, which names the
 * manifest, and syncs again. Whoever opens the file takes the valid root with the highest number. So a process that is
 * killed at any moment leaves the last commit; readers go on with the root they opened while others write, and a
 * failed write leaves what was there. Everything but the bytes of rows and records is checked when a file is opened;
 * these have checksums that index_verify compares. Numbers are little-endian. docs/index-format.md has the layout.
 *
 * Vectors are of length 1 when they are stored, so that a score (kernels/search.h) is a cosine. */
#ifndef LINNET_FUSION_VECTOR_INDEX_H
#define LINNET_FUSION_VECTOR_INDEX_H

#include "kernels/search.h"

/* What is known of a row, as text that ends with a zero byte. */
typedef struct {
  const char *path;     /* its name: at most one row that is not deleted has it */
  const char *caption;  /* "" if there is none */
  const char *metadata; /* a JSON object; "{}" if there is nothing */
} index_record;
enum { INDEX_TEXT_MAX = 1 << 20 }; /* bytes of each of these */

/* What holds for a file as long as it exists. */
typedef struct {
  size_t width; /* of its vectors */
  vector_type type;
  const char *about; /* a JSON object: the model that made them, and what else searches must know */
} index_facts;

/* --- reading ------------------------------------------------------------------------------------------------------ */

typedef struct vector_index vector_index;

/* The file as its last commit left it; it does not change afterwards, whoever writes or compacts meanwhile. NULL with a
 * sentence: STATUS_IO, or STATUS_FORMAT if it is not an index or damaged. Threads may share it. */
vector_index *index_open(const char *path);
void index_close(vector_index *x); /* NULL is fine */

typedef struct {
  index_facts facts;
  uint64_t commits;  /* the number of the root */
  size_t rows, live; /* with deleted ones, without */
  size_t segments;
  uint64_t bytes, used; /* of the file up to this commit; of them what this commit needs */
} index_numbers;
const index_numbers *index_numbers_of(const vector_index *x);

/* For search_exact: the segments, deleted rows marked in `skip`. Rows are numbered from 0 through all segments. */
const search_part *index_parts(const vector_index *x, size_t *n);
/* Row `row` below numbers.rows. Texts lie in the mapping; STATUS_FORMAT if the file is damaged there. */
status index_record_at(const vector_index *x, uint64_t row, index_record *r);
/* Ids rise with rows, never change and are never given again. */
uint64_t index_id_at(const vector_index *x, uint64_t row);
bool index_row_of(const vector_index *x, uint64_t id, uint64_t *row); /* false: there is no such row, or no more */
bool index_deleted(const vector_index *x, uint64_t row);
void index_vector_at(const vector_index *x, uint64_t row, float *vector); /* [width] */

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* One process at a time may write a file (a lock, flock(2), that ends with the process); the others are told so. A
 * writer takes memory for the names of rows, 22 to 43 bytes a row that is not deleted, and some tens of megabytes. */
typedef struct index_writer index_writer;

/* A new file, which appears here, whole and without rows, so that what a killed process has committed can be gone on
 * with by index_append; STATUS_ARGUMENT if the name is taken. */
index_writer *index_create(const char *path, const index_facts *facts);
index_writer *index_append(const char *path);
const index_facts *index_writer_facts(const index_writer *w);

/* The row that has a name, with what was committed or put; false if there is none. The record holds until the next
 * call with this writer begins. */
bool index_writer_find(const index_writer *w, const char *path, index_record *r);
/* A vector [width] of any length but 0 -> a new row. A row of the same name is deleted with the same commit. What is
 * STATUS_ARGUMENT changes nothing, and the writer can go on. Rows wait in memory, and beyond some tens of megabytes in
 * the file, where nobody sees them yet. */
status index_put(index_writer *w, const float *vector, const index_record *r);
/* *found: whether there was a row of that name. */
status index_remove(index_writer *w, const char *path, bool *found);
/* Makes all of it lasting, or nothing: afterwards readers that open the file see it. Without changes nothing is
 * written. After a failure the writer can only be closed. */
status index_commit(index_writer *w);
void index_writer_close(index_writer *w); /* drops what was not committed; NULL is fine */

/* --- whole files -------------------------------------------------------------------------------------------------- */

/* Compares all checksums and reads all records; STATUS_FORMAT says what is wrong where. */
status index_verify(const char *path);
/* Verifies the rows and writes those that are not deleted anew, in as few segments as there can be, with their ids;
 * then that file takes the place of the old one, which readers keep. */
status index_compact(const char *path);
/* Verifies all rows of another index and puts them into a writer's, in their order (new ids; a row of a name that is
 * there replaces it). STATUS_ARGUMENT if width or `about` differ. Rows of the same type are copied bit for bit. */
status index_merge(index_writer *w, const vector_index *from);

#endif
