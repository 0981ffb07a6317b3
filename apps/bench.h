/* The parts of linnet bench, one file each: they measure, and either print or return JSON. */
#ifndef LINNET_APPS_BENCH_H
#define LINNET_APPS_BENCH_H

#include <jansson.h>

#include "kernels/base.h"

/* The middle one of n values, which are sorted. */
double median(double *values, int n);

/* Opening and reading a model file beside a plain read of it; with no path a GGUF file of about `gigabytes` is made for
 * the time being, in $TMPDIR or /tmp. NULL with a sentence. */
json_t *bench_files(const char *path, double gigabytes, int runs);
void bench_files_print(const json_t *found);

/* Exact search in made-up vectors beside the speed of memory and FAISS. NULL with a sentence. */
typedef struct {
  size_t rows, width, queries, k;
  int runs;
  const char *faiss,
      *effort; /* of FAISS's index: factory string (NULL = Flat, if there is FAISS), settings (or NULL) */
} search_bench;
json_t *bench_search(const search_bench *what);
void bench_search_print(const json_t *found);

#endif
