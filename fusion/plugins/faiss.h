/* The table of functions of the module liblinnet-faiss.so (fusion/plugin.h): indexes of FAISS, behind plain C.
 *
 * What arrives here has been checked (fusion/approximate.c): sizes, finite numbers, and files by fusion/faiss_file.h.
 * FAISS is written for numbers of 64 bits with a sign: ids are such. */
#ifndef LINNET_FUSION_PLUGINS_FAISS_H
#define LINNET_FUSION_PLUGINS_FAISS_H

#include "fusion/plugin.h"

enum { FAISS_PLUGIN_VERSION = 1 };

/* Takes the next bytes of a file; anything but STATUS_OK ends the writing. */
typedef status faiss_sink(void *to, const void *data, size_t bytes);

typedef struct {
  plugin_head head;
  /* An index with ids, by inner product, from a description of FAISS's index_factory; NULL with a sentence. */
  void *(*make)(const char *factory, size_t width);
  void (*close)(void *index);
  /* How many vectors its training can use; 0 if it needs none. */
  size_t (*sample)(const void *index);
  status (*train)(void *index, const float *vectors, size_t n);
  status (*add)(void *index, const float *vectors, const int64_t *ids, size_t n);
  /* A parameter that FAISS knows for this kind of index: nprobe, efSearch, k_factor_rf... */
  status (*set)(void *index, const char *name, double value);
  /* scores, ids: [n,k]; where fewer were found the id is -1. */
  status (*search)(const void *index, const float *queries, size_t n, size_t k, float *scores, int64_t *ids);
  size_t (*count)(const void *index);
  /* The vectors (as far as the index keeps them) and ids of the n places from `first`. */
  status (*vectors)(void *index, size_t first, size_t n, float *vectors, int64_t *ids);
  status (*write)(const void *index, faiss_sink *sink, void *to);
  void *(*read)(const void *data, size_t size);
} faiss_table;

#endif
