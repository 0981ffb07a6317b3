/* The queries of an exact search as its kernels want them (kernels/cpu/cpu.h). Of search.c and its tests. */
#ifndef LINNET_KERNELS_SEARCH_QUERIES_H
#define LINNET_KERNELS_SEARCH_QUERIES_H

#include "kernels/cpu/cpu.h"
#include "kernels/search.h"

typedef struct {
  size_t n, strips;
  search_queries exact;
  filter_queries filter; /* without limits: each thread has its own */
  float *unit;           /* [strips*16] a limit is a score / unit */
  void *memory;
} prepared_queries;

/* Of n queries [n,width]. Without `filtered` filter and unit are empty. */
status queries_prepare(prepared_queries *p, vector_type type, size_t width, const float *queries, size_t n,
                       bool filtered);
void queries_free(prepared_queries *p);
size_t queries_bytes(size_t width); /* that one query takes, about */

/* The limit of query q whose k-th score is `score`: rounded down. */
float queries_limit(const prepared_queries *p, size_t q, float score);

#endif
