/* What the parts of fusion/postgres*.c share: the connection, statements with their errors, and bytes for the server.
 */
#ifndef LINNET_FUSION_POSTGRES_SESSION_H
#define LINNET_FUSION_POSTGRES_SESSION_H

#include "fusion/libpq.h"
#include "fusion/postgres.h"

struct postgres {
  const libpq *pq;
  PGconn *connection;
  char *table;
  char *quoted;      /* the table's name as SQL */
  char *quoted_next; /* the name under which a new one is made */
};

enum { POSTGRES_NAME_MAX = 55 }; /* bytes of a table's name, so that longer ones made of it are not cut at 63 */

/* Bytes that grow; `bad` is set by the first failure, after which nothing is added. Numbers are big-endian. */
typedef struct {
  char *bytes;
  size_t n, room;
  status bad;
} pg_bytes;
void pg_add(pg_bytes *b, const void *data, size_t n);
void pg_number(pg_bytes *b, uint64_t value, int bytes);
/* As pgvector receives them: int16 width, int16 0, then f32, or f16 for a halfvec. */
void pg_vector(pg_bytes *b, const float *vector, size_t width, bool half);
/* UTF-8, damaged bytes replaced; `json` replaces \u0000 too. */
void pg_text(pg_bytes *b, const char *text, bool json);

/* "SELECT ..." made with printf's rules; free() it. NULL is STATUS_MEMORY. */
char *pg_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A sentence about what the server said of a statement (NULL: of the connection); returns `code`. */
status pg_fail(const postgres *p, const PGresult *r, status code, const char *doing);
/* Sends `sql` and drops it with free(); fails unless it is carried out. */
status pg_do(postgres *p, char *sql, const char *doing);

#endif
