/* Searching a table that postgres_export.c has made. What the server answers is checked as a file would be. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/postgres_session.h"
#include "kernels/utf8.h"

enum { EFFORT = 40, EFFORT_MAX = 1000, BINARY = 1 };

/* A text field, which ends with a zero byte in libpq's memory; NULL with a sentence unless it is UTF-8 without one. */
static const char *text_at(const postgres *p, const PGresult *r, int row, int field) {
  const int n = p->pq->getlength(r, row, field);
  const char *text = p->pq->getvalue(r, row, field);
  if (p->pq->getisnull(r, row, field) || n < 0 || n > INDEX_TEXT_MAX || !text || memchr(text, 0, (size_t)n) ||
      !utf8_valid(text, (size_t)n))
    return fail_null(STATUS_FORMAT, "the table %s holds a text that is not one", p->table);
  return text;
}

/* A number of 8 bytes. */
static status number_at(const postgres *p, const PGresult *r, int row, int field, uint64_t *number) {
  if (p->pq->getisnull(r, row, field) || p->pq->getlength(r, row, field) != 8)
    return fail(STATUS_FORMAT, "the table %s holds a number that is not one", p->table);
  const uint8_t *b = (const uint8_t *)p->pq->getvalue(r, row, field);
  *number = 0;
  for (int i = 0; i < 8; i++) *number = *number << 8 | b[i];
  return STATUS_OK;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static status read_facts(postgres *p, const PGresult *r, size_t *width, vector_type *type, char **about) {
  if (p->pq->ntuples(r) != 1 || p->pq->nfields(r) != 3)
    return fail(STATUS_ARGUMENT, "there is no table %s with vectors: write it with `linnet index export`", p->table);
  const char *kind = text_at(p, r, 0, 0), *size = kind ? text_at(p, r, 0, 1) : NULL;
  const char *comment = size ? text_at(p, r, 0, 2) : NULL;
  if (!comment) return last_status();
  char *end;
  const unsigned long n = strtoul(size, &end, 10);
  const bool half = !strcmp(kind, "halfvec");
  if ((!half && strcmp(kind, "vector")) || !*size || *end || !n || n > INT16_MAX)
    return fail(STATUS_FORMAT, "the vectors of the table %s are of type %s(%s)", p->table, kind, size);
  *width = n;
  *type = half ? VECTOR_F16 : VECTOR_F32;
  *about = mem_string(comment);
  return *about ? STATUS_OK : STATUS_MEMORY;
}

status postgres_facts(postgres *p, size_t *width, vector_type *type, char **about) {
  static const char sql[] = "SELECT t.typname::text, a.atttypmod::text, coalesce(obj_description(c.oid, 'pg_class'), "
                            "'{}') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = "
                            "a.atttypid WHERE c.oid = to_regclass($1) AND a.attname = 'embedding' AND NOT "
                            "a.attisdropped";
  const char *const values[] = {p->quoted};
  PGresult *r = p->pq->execParams(p->connection, sql, 1, NULL, values, NULL, NULL, 0);
  status s = STATUS_OK;
  if (p->pq->resultStatus(r) != PGRES_TUPLES_OK) s = pg_fail(p, r, STATUS_IO, "looking for the table");
  if (!s) s = read_facts(p, r, width, type, about);
  p->pq->clear(r);
  return s;
}

/* --- searching ---------------------------------------------------------------------------------------------------- */

/* For this statement's transaction: candidates of the index, whether it is used, and, where pgvector can (0.8), to go
 * on looking until a filter has let enough through. Its settings exist once its code is loaded. */
static status set_effort(postgres *p, const postgres_query *q) {
  int effort = q->effort ? q->effort : q->k > EFFORT ? (int)(q->k < EFFORT_MAX ? q->k : EFFORT_MAX) : EFFORT;
  status s = pg_do(p, mem_string("SELECT '[1]'::vector"), "looking for the extension pgvector");
  if (!s) s = pg_do(p, pg_format("SELECT set_config('hnsw.ef_search', '%d', true)", effort), "setting hnsw.ef_search");
  if (!s)
    s = pg_do(p,
              mem_string("SELECT set_config(name, 'strict_order', true) FROM pg_settings WHERE name = "
                         "'hnsw.iterative_scan'"),
              "setting hnsw.iterative_scan");
  if (!s && q->exact) s = pg_do(p, mem_string("SET LOCAL enable_indexscan = off"), "choosing the exact search");
  return s;
}

static int compare_hits(const void *a, const void *b) {
  const postgres_hit *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return x->id < y->id ? -1 : x->id > y->id;
}

/* One row -> *hit, whose texts are copied to *texts. */
static status read_hit(const postgres *p, const PGresult *r, int row, postgres_hit *hit, char **texts) {
  uint64_t bits = 0;
  double score;
  status s = number_at(p, r, row, 0, &hit->id);
  if (!s) s = number_at(p, r, row, 1, &bits);
  if (s) return s;
  memcpy(&score, &bits, sizeof score);
  if (hit->id > INT64_MAX || !isfinite(score) || fabs(score) > 1e30)
    return fail(STATUS_FORMAT, "the table %s holds a number that is not one", p->table);
  hit->score = (float)score;
  const char **const to[] = {&hit->record.path, &hit->record.caption, &hit->record.metadata};
  for (int i = 0; i < 3; i++) {
    const char *text = text_at(p, r, row, 2 + i);
    if (!text) return last_status();
    const size_t n = strlen(text) + 1;
    *to[i] = memcpy(*texts, text, n);
    *texts += n;
  }
  return STATUS_OK;
}

static status read_hits(const postgres *p, const PGresult *r, size_t k, postgres_hits *hits) {
  const int n = p->pq->ntuples(r);
  if (n < 0 || (size_t)n > k || p->pq->nfields(r) != 5)
    return fail(STATUS_FORMAT, "PostgreSQL answered with other rows than were asked for");
  size_t bytes = 1;
  for (int row = 0; row < n; row++)
    for (int field = 2; field < 5; field++) {
      const int length = p->pq->getlength(r, row, field);
      if (length < 0 || !size_add(bytes, (size_t)length + 1, &bytes))
        return fail(STATUS_FORMAT, "PostgreSQL answered with a text without a length");
    }
  hits->hit = mem_zero((size_t)n, sizeof *hits->hit);
  hits->texts = mem_alloc(bytes, 1);
  if (!hits->hit || !hits->texts) return STATUS_MEMORY;
  char *texts = hits->texts;
  for (int row = 0; row < n; row++) {
    const status s = read_hit(p, r, row, hits->hit + row, &texts);
    if (s) return s;
    hits->n++;
  }
  qsort(hits->hit, hits->n, sizeof *hits->hit, compare_hits);
  return STATUS_OK;
}

static status ask(postgres *p, const postgres_query *q, const pg_bytes *vector, const pg_bytes *filter,
                  postgres_hits *hits) {
  const char *type = q->half ? "halfvec" : "vector";
  char *sql = pg_format("SELECT id, -(embedding <#> $1::%s), path, caption, metadata::text FROM %s%s ORDER BY "
                        "embedding <#> $1::%s LIMIT $2::text::bigint",
                        type, p->quoted, q->filter ? " WHERE metadata @> $3::jsonb" : "", type);
  if (!sql) return STATUS_MEMORY;
  char k[24];
  snprintf(k, sizeof k, "%zu", q->k);
  const char *const values[] = {vector->bytes, k, filter->bytes};
  const int lengths[] = {(int)vector->n, 0, (int)filter->n}, formats[] = {BINARY, 0, 0};
  PGresult *r = p->pq->execParams(p->connection, sql, q->filter ? 3 : 2, NULL, values, lengths, formats, BINARY);
  free(sql);
  status s = STATUS_OK;
  if (p->pq->resultStatus(r) != PGRES_TUPLES_OK) s = pg_fail(p, r, STATUS_IO, "searching");
  if (!s) s = read_hits(p, r, q->k, hits);
  p->pq->clear(r);
  return s;
}

static status check_query(const postgres_query *q) {
  if (!q->width || q->width > INT16_MAX || q->k > INT_MAX)
    return fail(STATUS_ARGUMENT, "PostgreSQL holds vectors of 1 to %d numbers, and not %zu", INT16_MAX, q->width);
  if (q->effort < 0 || q->effort > EFFORT_MAX)
    return fail(STATUS_ARGUMENT, "the effort of pgvector's HNSW is 1 to %d, and not %d", EFFORT_MAX, q->effort);
  for (size_t i = 0; i < q->width; i++)
    if (!isfinite(q->vector[i])) return fail(STATUS_ARGUMENT, "the query is not finite");
  return STATUS_OK;
}

status postgres_search(postgres *p, const postgres_query *q, postgres_hits *hits) {
  *hits = (postgres_hits){0};
  status s = check_query(q);
  if (s || !q->k) return s;
  pg_bytes vector = {0}, filter = {0};
  pg_vector(&vector, q->vector, q->width, q->half);
  if (q->filter) pg_text(&filter, q->filter, true);
  pg_number(&filter, 0, 1); /* as a text it ends with a zero byte */
  s = vector.bad ? vector.bad : filter.bad;
  if (!s) s = pg_do(p, mem_string("BEGIN READ ONLY"), "beginning");
  if (!s) {
    s = set_effort(p, q);
    if (!s) s = ask(p, q, &vector, &filter, hits);
    p->pq->clear(p->pq->exec(p->connection, "ROLLBACK"));
  }
  free(vector.bytes);
  free(filter.bytes);
  if (s) postgres_hits_free(hits);
  return s;
}

void postgres_hits_free(postgres_hits *hits) {
  free(hits->hit);
  free(hits->texts);
  *hits = (postgres_hits){0};
}
