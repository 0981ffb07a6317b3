/* What FAISS's own reader of .index files does not check.
 *
 * FAISS takes the sizes, numbers of neighbours and ids of a file as they are: a damaged one makes it allocate without
 * bound, divide by zero or read beyond its tables. So a file is walked here first, in the layout of FAISS's
 * impl/index_read.cpp (which is stable since 1.0; numbers are little-endian), and every size is held against the bytes
 * that are there, every place against what it points into. Kinds that this does not know are refused.
 *
 * Known are: Flat, SQ, PQ, IVF with each of these, HNSW with Flat or SQ, IDMap and IDMap2 around them, linear
 * transforms (PCA, OPQ, random rotation) and normalisation before them, a second look (RFlat, Refine) behind them. */
#ifndef LINNET_FUSION_FAISS_FILE_H
#define LINNET_FUSION_FAISS_FILE_H

#include "kernels/base.h"

typedef struct {
  size_t width, count;
  bool trained;     /* all of its parts */
  bool by_distance; /* L2 instead of the inner product */
  char kind[96];    /* "IDMap2,IVF1024,PQ64" as index_factory would say it */
} faiss_file_facts;

/* STATUS_FORMAT with a sentence if the bytes are not a whole index, STATUS_UNSUPPORTED if it is of another kind. */
status faiss_file_check(const void *data, size_t size, faiss_file_facts *facts);

#endif
