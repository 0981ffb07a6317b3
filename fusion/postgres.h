/* A retrieval index in PostgreSQL with the extension pgvector: an engine that others keep running, replicate and shard.
 *
 * One table: id bigint, path and caption text, metadata jsonb, embedding vector(D) (halfvec(D) for f16), with an HNSW
 * index for inner products (Malkov and Yashunin 2016) and a GIN index on the metadata; the table's comment is the JSON
 * object about the model. It is written by COPY in binary form into a table of another name, in one transaction, which
 * takes the place of the old one at the end: searchers see the old table or the new one. Texts are UTF-8 there: bytes
 * that are not become U+FFFD, and so does the escape \u0000 in metadata, which jsonb cannot hold. docs/engines.md. */
#ifndef LINNET_FUSION_POSTGRES_H
#define LINNET_FUSION_POSTGRES_H

#include "fusion/vector_index.h"

/* True for "postgres://..." and "postgresql://...". */
bool postgres_named(const char *url);

typedef struct postgres postgres;

/* What libpq takes, a URL or "key=value ...", and in a URL one parameter more, table=NAME (else linnet_index). NULL
 * with a sentence: STATUS_UNSUPPORTED without libpq, STATUS_IO if the server does not answer or refuses. A connection
 * is one thread's. */
postgres *postgres_open(const char *url);
void postgres_close(postgres *p); /* NULL is fine */
const char *postgres_table(const postgres *p);

typedef struct {
  size_t width, n;
  bool half; /* halfvec instead of vector; pgvector 0.7 or newer */
  const char *about;
  /* Row `place` below n, in rising order: its vector [width], its id, at most INT64_MAX, and its texts, which need to
   * hold until the next call. Anything but STATUS_OK ends the export with that, and the old table stays. */
  status (*row)(void *from, size_t place, float *vector, uint64_t *id, index_record *record);
  void *from;
  int links, effort; /* of HNSW: m (0 = 16), ef_construction (0 = 64) */
} postgres_export_plan;

/* Creates the table, or puts a new one in its place. */
status postgres_export(postgres *p, const postgres_export_plan *plan);

/* Of the table: *about is freed by the caller ("{}" if it has no comment). STATUS_ARGUMENT if there is no such table,
 * STATUS_FORMAT if it is none of ours. */
status postgres_facts(postgres *p, size_t *width, vector_type *type, char **about);

typedef struct {
  const float *vector; /* [width], finite */
  size_t width, k;
  bool half;          /* as the table is */
  int effort;         /* ef_search, 1 to 1000; 0 = 40 or k, whichever is more */
  bool exact;         /* reads the whole table instead of the HNSW index */
  const char *filter; /* a JSON object that the metadata must contain; NULL = all rows */
} postgres_query;

typedef struct {
  uint64_t id;
  float score;
  index_record record;
} postgres_hit;

typedef struct {
  postgres_hit *hit; /* best first, of equal scores the lower id */
  size_t n;
  char *texts;
} postgres_hits;

status postgres_search(postgres *p, const postgres_query *query, postgres_hits *hits);
void postgres_hits_free(postgres_hits *hits); /* and zero; zeroed ones are fine */

#endif
