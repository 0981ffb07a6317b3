/* Approximate search through FAISS: IVF, HNSW, PQ and their combinations, by its factory strings, in its own files.
 *
 * FAISS is in a module that is opened at run time (fusion/plugin.h). Vectors are compared by inner product; they should
 * be of length 1. An index holds vectors under ids and nothing else of what is known of them: the ids of a retrieval
 * index (index_id_at) lead back to it. Same input, same seed and one thread give the same index; with more threads HNSW
 * connects its graph in the order in which they come. docs/engines.md says when it is worth it. */
#ifndef LINNET_FUSION_APPROXIMATE_H
#define LINNET_FUSION_APPROXIMATE_H

#include "kernels/search.h"

typedef struct approximate approximate;

typedef struct {
  const char *factory; /* "IVF1024,Flat", "HNSW32", "IVF4096,PQ64", "Flat" */
  size_t width, n;
  uint64_t seed; /* chooses the sample that is trained on */
  size_t sample; /* how many vectors that is; 0 = as many as help */
  /* The vector [width] at a place below n and its id, at most INT64_MAX. Asked for in rising order: first the sample's,
   * then all. Anything but STATUS_OK ends the building with that. */
  status (*vector)(void *from, size_t place, float *vector, uint64_t *id);
  void *from;
} approximate_plan;

/* NULL with a sentence: no module, a factory string that FAISS does not know or approximate_read() would not read, too
 * few vectors to train on, or what `vector` said. */
approximate *approximate_build(const approximate_plan *plan);
void approximate_close(approximate *a); /* NULL is fine */

/* Files of FAISS, .index, also of its other users. Whatever is checked of them: fusion/faiss_file.h. */
approximate *approximate_read(const char *path);
status approximate_write(const approximate *a, const char *path);

typedef struct {
  size_t width, count;
  bool by_distance;   /* it compares by distance: scores are then 1 - d^2 / 2, the cosine of vectors of length 1 */
  const char *kind;   /* as a factory string */
  const char *engine; /* "FAISS 1.7.3" */
} approximate_numbers;
const approximate_numbers *approximate_numbers_of(const approximate *a);

/* How hard it looks, "nprobe=16" (cells of IVF), "efSearch=64" (candidates of HNSW), "k_factor_rf=4" (of a refinement),
 * several with commas. STATUS_ARGUMENT if that is no such list, STATUS_UNSUPPORTED if the index has no such setting. */
status approximate_effort(approximate *a, const char *settings);

/* As search_exact(), but `row` of a hit is its id, and what is not looked at is not found. */
status approximate_search(const approximate *a, const float *queries, size_t n_queries, size_t k, search_hit *hits,
                          size_t *n_found);

/* The n vectors [n,width] from place `first` as far as the index keeps them (PQ: an approximation), and their ids. Not
 * beside other calls with this index. */
status approximate_vectors(approximate *a, size_t first, size_t n, float *vectors, uint64_t *ids);

#endif
