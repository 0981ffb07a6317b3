/* Exact search: of all rows of a table those with the largest inner products with a query.
 *
 * A table is stored as f32, f16 or int8 with a factor a row. The score of a row is one well-defined f32 whatever
 * computes it (kernels/cpu/search_scores.c): results are the same for every instruction set, number of threads, batch
 * of queries and division of the table into parts. Few queries read the table once, at the speed of memory; many are
 * first compared in 8-bit integers, and only rows that the error bound of that comparison cannot rule out are scored.
 */
#ifndef LINNET_KERNELS_SEARCH_H
#define LINNET_KERNELS_SEARCH_H

#include "kernels/base.h"

typedef enum { VECTOR_F32, VECTOR_F16, VECTOR_I8, VECTOR_TYPES } vector_type;

const char *vector_type_name(vector_type type);              /* "f32", "f16", "i8" */
bool vector_type_named(const char *name, vector_type *type); /* false if none has that name */
size_t vector_bytes(vector_type type, size_t width);         /* of a row, its factor not counted */
enum { VECTOR_WIDTH_MAX = 1 << 16 };

/* One row from f32 [width] to what is stored, and back. *factor is 1 but for i8: the largest magnitude / 127. A value
 * that is not finite, or beyond f16 there, is STATUS_ARGUMENT. */
status vector_encode(vector_type type, const float *row, size_t width, void *stored, float *factor);
void vector_decode(vector_type type, const void *stored, float factor, size_t width, float *row);

/* Rows that lie one behind the other, [n,width]; they need no alignment. */
typedef struct {
  const void *rows;
  const float *factor; /* [n] of VECTOR_I8; else NULL */
  const uint8_t *skip; /* a bit a row, the lowest first: 1 = is not found; NULL = all are */
  size_t n;
  uint64_t first; /* the number of row 0: hits name rows by first + place */
} search_part;

typedef struct {
  uint64_t row;
  float score;
} search_hit;

/* For each of n_queries [n_queries,width] its k best rows, best first, of equal scores the one with the lower number:
 * hits [n_queries,k], of which n_found[q] are filled. Rows may hold any bits; one whose score is not a number is not
 * found. Parts are in rising order of `first` and do not overlap. Threads are as many as OpenMP would use. A query that
 * is not finite, or a width of 0 or beyond VECTOR_WIDTH_MAX, is STATUS_ARGUMENT. */
status search_exact(vector_type type, size_t width, const search_part *part, size_t n_parts, const float *queries,
                    size_t n_queries, size_t k, search_hit *hits, size_t *n_found);

#endif
