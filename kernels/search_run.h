/* One pass of an exact search over a table. Of search.c and its tests. */
#ifndef LINNET_KERNELS_SEARCH_RUN_H
#define LINNET_KERNELS_SEARCH_RUN_H

#include "kernels/search_queries.h"

typedef enum {
  SEARCH_USUAL,    /* what is faster */
  SEARCH_SCORED,   /* every row is scored */
  SEARCH_FILTERED, /* rows are compared in 8 bits first */
} search_way;

/* search_exact with the kernels of an instruction set and in a given way. */
status search_exact_by(const cpu_kernels *kernels, search_way way, vector_type type, size_t width,
                       const search_part *part, size_t n_parts, const float *queries, size_t n_queries, size_t k,
                       search_hit *hits, size_t *n_found);

typedef struct {
  const cpu_kernels *kernels;
  vector_type type;
  size_t width;
  const search_part *part;
  size_t n_parts, rows; /* rows of all parts */
  size_t k;             /* 1..rows */
  int threads;
  bool filtered;
} search_job;

/* Hits of the n prepared queries, those of one `stride` hits after those of the one before. */
status search_run(const search_job *job, const prepared_queries *queries, search_hit *hits, size_t stride,
                  size_t *n_found);

#endif
