#include "fusion/postgres.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/postgres_session.h"
#include "kernels/half.h"
#include "kernels/utf8.h"

/* --- statements --------------------------------------------------------------------------------------------------- */

char *pg_format(const char *format, ...) {
  va_list list;
  va_start(list, format);
  const int n = vsnprintf(NULL, 0, format, list);
  va_end(list);
  char *text = n < 0 ? NULL : mem_alloc((size_t)n + 1, 1);
  if (!text) return NULL;
  va_start(list, format);
  vsnprintf(text, (size_t)n + 1, format, list);
  va_end(list);
  return text;
}

/* The server's words are a line and often more (details, hints, the place in the statement): the first one says it. */
status pg_fail(const postgres *p, const PGresult *r, status code, const char *doing) {
  const char *words = r ? p->pq->resultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
  if (!words) words = p->pq->errorMessage(p->connection);
  if (!words || !*words) words = "no reason was given";
  int n = (int)strcspn(words, "\n");
  if (n > 300) n = 300;
  return fail(code, "PostgreSQL, %s: %.*s", doing, n, words);
}

status pg_do(postgres *p, char *sql, const char *doing) {
  if (!sql) return STATUS_MEMORY;
  PGresult *r = p->pq->exec(p->connection, sql);
  const int state = p->pq->resultStatus(r);
  const status s = state == PGRES_COMMAND_OK || state == PGRES_TUPLES_OK ? STATUS_OK : pg_fail(p, r, STATUS_IO, doing);
  p->pq->clear(r);
  free(sql);
  return s;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

void pg_add(pg_bytes *b, const void *data, size_t n) {
  size_t need;
  if (b->bad) return;
  if (!size_add(b->n, n, &need) || need > SIZE_MAX / 2) {
    b->bad = fail(STATUS_MEMORY, "a row is too large for PostgreSQL");
    return;
  }
  if (need > b->room) {
    char *grown = mem_grow(b->bytes, 2 * need, 1);
    if (!grown) {
      b->bad = STATUS_MEMORY;
      return;
    }
    b->bytes = grown;
    b->room = 2 * need;
  }
  if (n) memcpy(b->bytes + b->n, data, n);
  b->n = need;
}

void pg_number(pg_bytes *b, uint64_t value, int bytes) {
  uint8_t big[8];
  for (int i = 0; i < bytes; i++) big[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
  pg_add(b, big, (size_t)bytes);
}

void pg_vector(pg_bytes *b, const float *vector, size_t width, bool half) {
  pg_number(b, width, 2);
  pg_number(b, 0, 2);
  for (size_t i = 0; i < width; i++) {
    uint32_t bits;
    memcpy(&bits, vector + i, sizeof bits);
    pg_number(b, half ? f32_to_f16(vector[i]) : bits, half ? 2 : 4);
  }
}

void pg_text(pg_bytes *b, const char *text, bool json) {
  const size_t start = b->n, n = strlen(text);
  char out[UTF8_STREAM_ROOM(256)];
  utf8_stream stream = {.damage = UTF8_REPLACE};
  for (size_t i = 0; i < n; i += 256)
    pg_add(b, out, utf8_stream_push(&stream, text + i, n - i < 256 ? n - i : 256, out));
  pg_add(b, out, utf8_stream_finish(&stream, out));
  if (!json || b->bad) return;
  /* A backslash takes the next character with it, so that "\\u0000" is a backslash and some letters. */
  for (size_t i = start; i + 6 <= b->n; i += b->bytes[i] == '\\' ? 2 : 1)
    if (!memcmp(b->bytes + i, "\\u0000", 6)) memcpy(b->bytes + i, "\\ufffd", 6);
}

/* --- the connection ----------------------------------------------------------------------------------------------- */

bool postgres_named(const char *url) { return !strncmp(url, "postgres://", 11) || !strncmp(url, "postgresql://", 13); }

static int hex(char c) { return isdigit((unsigned char)c) ? c - '0' : (tolower((unsigned char)c) - 'a') + 10; }

/* %41 and its like; false if what follows a % is no number, or it is that of the zero byte. */
static bool decode(char *text) {
  char *to = text;
  for (const char *from = text; *from; to++) {
    if (*from != '%') {
      *to = *from++;
      continue;
    }
    if (!isxdigit((unsigned char)from[1]) || !isxdigit((unsigned char)from[2])) return false;
    *to = (char)(hex(from[1]) << 4 | hex(from[2]));
    if (!*to) return false;
    from += 3;
  }
  *to = 0;
  return true;
}

/* Takes table=NAME out of a URL's parameters; *table stays NULL if it has none. */
static status take_table(char *url, char **table) {
  char *question = postgres_named(url) ? strchr(url, '?') : NULL;
  if (!question) return STATUS_OK;
  char *to = question + 1;
  for (char *from = to; *from;) {
    const size_t n = strcspn(from, "&");
    char *next = from + n + (from[n] == '&');
    if (strncmp(from, "table=", 6)) {
      if (to > question + 1) *to++ = '&';
      memmove(to, from, n);
      to += n;
    } else {
      if (*table) return fail(STATUS_ARGUMENT, "the URL names two tables");
      if (!(*table = mem_alloc(n - 6 + 1, 1))) return STATUS_MEMORY;
      memcpy(*table, from + 6, n - 6);
      (*table)[n - 6] = 0;
    }
    from = next;
  }
  *(to > question + 1 ? to : question) = 0;
  return STATUS_OK;
}

static status choose_table(postgres *p, char *url) {
  const status s = take_table(url, &p->table);
  if (s) return s;
  if (!p->table) return (p->table = mem_string("linnet_index")) ? STATUS_OK : STATUS_MEMORY;
  if (!decode(p->table) || !*p->table || strlen(p->table) > POSTGRES_NAME_MAX ||
      !utf8_valid(p->table, strlen(p->table)))
    return fail(STATUS_ARGUMENT, "the table in the URL needs a name of 1 to %d bytes", POSTGRES_NAME_MAX);
  return STATUS_OK;
}

/* The server's notices ("extension exists already") would go to standard error. */
static void drop_notice(void *arg, const PGresult *r) {
  (void)arg;
  (void)r;
}

static status quote(postgres *p, const char *after, char **quoted) {
  char *name = pg_format("%s%s", p->table, after);
  if (!name) return STATUS_MEMORY;
  char *escaped = p->pq->escapeIdentifier(p->connection, name, strlen(name));
  free(name);
  if (!escaped) return pg_fail(p, NULL, STATUS_ARGUMENT, "naming the table");
  *quoted = mem_string(escaped);
  p->pq->freemem(escaped);
  return *quoted ? STATUS_OK : STATUS_MEMORY;
}

static status connect(postgres *p, const char *url) {
  p->connection = p->pq->connectdb(url);
  if (!p->connection) return fail(STATUS_MEMORY, "out of memory while connecting to PostgreSQL");
  if (p->pq->status(p->connection) != CONNECTION_OK) return pg_fail(p, NULL, STATUS_IO, "connecting");
  p->pq->setNoticeReceiver(p->connection, drop_notice, NULL);
  if (p->pq->setClientEncoding(p->connection, "UTF8")) return pg_fail(p, NULL, STATUS_IO, "choosing UTF-8");
  const status s = quote(p, "", &p->quoted);
  return s ? s : quote(p, "_new", &p->quoted_next);
}

postgres *postgres_open(const char *given) {
  const libpq *pq = libpq_open();
  if (!pq) return NULL;
  postgres *p = mem_zero(1, sizeof *p);
  char *url = mem_string(given);
  bool open = false;
  if (p && url) {
    p->pq = pq;
    open = !choose_table(p, url) && !connect(p, url);
  }
  free(url);
  if (open) return p;
  postgres_close(p);
  return NULL;
}

void postgres_close(postgres *p) {
  if (!p) return;
  if (p->connection) p->pq->finish(p->connection);
  free(p->table);
  free(p->quoted);
  free(p->quoted_next);
  free(p);
}

const char *postgres_table(const postgres *p) { return p->table; }
