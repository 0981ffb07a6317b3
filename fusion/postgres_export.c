/* Rows into a table of PostgreSQL, by COPY in its binary form (PostgreSQL's manual, COPY, "Binary Format"). */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/postgres_session.h"

enum { COLUMNS = 5, BLOCK = 1 << 20 };

/* A field of a row: its bytes, once they are known, come after their number. */
static size_t begin_field(pg_bytes *b) {
  pg_number(b, 0, 4);
  return b->n;
}

static void end_field(pg_bytes *b, size_t start) {
  if (b->bad) return;
  const size_t end = b->n;
  b->n = start - 4;
  pg_number(b, end - start, 4);
  b->n = end;
}

static void add_text(pg_bytes *b, const char *text) {
  const size_t start = begin_field(b);
  pg_text(b, text, false);
  end_field(b, start);
}

/* jsonb: a version, 1, and the text. */
static void add_json(pg_bytes *b, const char *text) {
  const size_t start = begin_field(b);
  pg_number(b, 1, 1);
  pg_text(b, text, true);
  end_field(b, start);
}

static status add_row(pg_bytes *b, const postgres_export_plan *plan, size_t place, float *vector) {
  uint64_t id = 0;
  index_record r = {.path = "", .caption = "", .metadata = "{}"};
  const status s = plan->row(plan->from, place, vector, &id, &r);
  if (s) return s;
  if (id > INT64_MAX) return fail(STATUS_ARGUMENT, "the id %" PRIu64 " is too large for PostgreSQL", id);
  for (size_t i = 0; i < plan->width; i++)
    if (!isfinite(vector[i])) return fail(STATUS_ARGUMENT, "the vector of row %zu is not finite", place);
  pg_number(b, COLUMNS, 2);
  pg_number(b, 8, 4);
  pg_number(b, id, 8);
  add_text(b, r.path);
  add_text(b, r.caption);
  add_json(b, r.metadata);
  const size_t start = begin_field(b);
  pg_vector(b, vector, plan->width, plan->half);
  end_field(b, start);
  return b->bad;
}

static status send(postgres *p, pg_bytes *b) {
  if (b->bad) return b->bad;
  const bool sent = p->pq->putCopyData(p->connection, b->bytes, (int)b->n) == 1;
  b->n = 0;
  return sent ? STATUS_OK : pg_fail(p, NULL, STATUS_IO, "sending rows");
}

static status send_rows(postgres *p, const postgres_export_plan *plan) {
  static const char head[] = "PGCOPY\n\377\r\n"; /* with the zero byte at its end */
  pg_bytes b = {0};
  float *vector = mem_alloc(plan->width, sizeof *vector);
  status s = vector ? STATUS_OK : STATUS_MEMORY;
  pg_add(&b, head, sizeof head);
  pg_number(&b, 0, 8);
  for (size_t place = 0; place < plan->n && !s; place++) {
    s = add_row(&b, plan, place, vector);
    if (!s && b.n >= BLOCK) s = send(p, &b);
  }
  pg_number(&b, UINT16_MAX, 2); /* no row has -1 columns: it was the last */
  if (!s) s = send(p, &b);
  free(vector);
  free(b.bytes);
  return s;
}

/* Ends COPY in either case, since the connection takes nothing else before. The first sentence is the one to show. */
static status copy(postgres *p, const postgres_export_plan *plan) {
  char *sql = pg_format("COPY %s FROM STDIN (FORMAT binary)", p->quoted_next);
  if (!sql) return STATUS_MEMORY;
  PGresult *r = p->pq->exec(p->connection, sql);
  free(sql);
  const bool begun = p->pq->resultStatus(r) == PGRES_COPY_IN;
  status s = begun ? STATUS_OK : pg_fail(p, r, STATUS_IO, "beginning to copy");
  p->pq->clear(r);
  if (!begun) return s;
  s = send_rows(p, plan);
  const bool ended = p->pq->putCopyEnd(p->connection, s ? "given up" : NULL) == 1;
  if (!s && !ended) s = pg_fail(p, NULL, STATUS_IO, "ending the copy");
  while ((r = p->pq->getResult(p->connection))) {
    if (!s && p->pq->resultStatus(r) != PGRES_COMMAND_OK) s = pg_fail(p, r, STATUS_IO, "copying rows");
    if (!s && strtoull(p->pq->cmdTuples(r), NULL, 10) != plan->n)
      s = fail(STATUS_IO, "PostgreSQL took %.20s rows of %zu", p->pq->cmdTuples(r), plan->n);
    p->pq->clear(r);
  }
  return s;
}

static status comment(postgres *p, const char *about) {
  pg_bytes text = {0};
  pg_text(&text, about, false);
  char *literal = text.bad ? NULL : p->pq->escapeLiteral(p->connection, text.bytes, text.n);
  free(text.bytes);
  if (!literal) return text.bad ? text.bad : pg_fail(p, NULL, STATUS_ARGUMENT, "quoting the comment");
  const status s = pg_do(p, pg_format("COMMENT ON TABLE %s IS %s", p->quoted_next, literal), "commenting the table");
  p->pq->freemem(literal);
  return s;
}

static status make_table(postgres *p, const postgres_export_plan *plan) {
  const char *type = plan->half ? "halfvec" : "vector";
  status s = pg_do(p, mem_string("CREATE EXTENSION IF NOT EXISTS vector"), "looking for the extension pgvector");
  if (!s)
    s = pg_do(p,
              pg_format("CREATE TABLE %s (id bigint PRIMARY KEY, path text NOT NULL, caption text NOT NULL, "
                        "metadata jsonb NOT NULL, embedding %s(%zu) NOT NULL)",
                        p->quoted_next, type, plan->width),
              "creating the table");
  if (!s) s = copy(p, plan);
  if (!s)
    s = pg_do(p,
              pg_format("CREATE INDEX ON %s USING hnsw (embedding %s_ip_ops) WITH (m = %d, ef_construction = %d)",
                        p->quoted_next, type, plan->links ? plan->links : 16, plan->effort ? plan->effort : 64),
              "building the HNSW index");
  if (!s)
    s = pg_do(p, pg_format("CREATE INDEX ON %s USING gin (metadata jsonb_path_ops)", p->quoted_next),
              "indexing the metadata");
  if (!s) s = comment(p, plan->about);
  if (!s) s = pg_do(p, pg_format("ANALYZE %s", p->quoted_next), "counting rows");
  return s;
}

/* The old table is locked against readers only here. */
static status swap_tables(postgres *p) {
  status s = pg_do(p, pg_format("DROP TABLE IF EXISTS %s", p->quoted), "dropping the old table");
  if (!s)
    s = pg_do(p, pg_format("ALTER TABLE %s RENAME TO %s", p->quoted_next, p->quoted), "putting the table in its place");
  return s ? s : pg_do(p, mem_string("COMMIT"), "committing");
}

/* Undoes all of it, and keeps the sentence that says why. */
static void roll_back(postgres *p) { p->pq->clear(p->pq->exec(p->connection, "ROLLBACK")); }

status postgres_export(postgres *p, const postgres_export_plan *plan) {
  if (!plan->width || plan->width > INT16_MAX)
    return fail(STATUS_ARGUMENT, "PostgreSQL holds vectors of 1 to %d numbers, and not %zu", INT16_MAX, plan->width);
  status s = pg_do(p, mem_string("BEGIN"), "beginning");
  if (s) return s;
  s = make_table(p, plan);
  if (!s) s = swap_tables(p);
  if (s) roll_back(p);
  return s;
}
