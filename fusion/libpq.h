/* libpq, the client library of PostgreSQL, opened at run time: the functions of it that are used, under their names.
 *
 * Its binary interface has been libpq.so.5's since PostgreSQL 8.2, so that nothing of it is needed to build. */
#ifndef LINNET_FUSION_LIBPQ_H
#define LINNET_FUSION_LIBPQ_H

#include "kernels/base.h"

typedef struct pg_conn PGconn;
typedef struct pg_result PGresult;
typedef void pg_notice_receiver(void *arg, const PGresult *result);

/* The numbers of libpq-fe.h that are needed. */
enum { CONNECTION_OK = 0 };
enum { PGRES_COMMAND_OK = 1, PGRES_TUPLES_OK = 2, PGRES_COPY_IN = 4 };
enum { PG_DIAG_MESSAGE_PRIMARY = 'M' };

typedef struct {
  PGconn *(*connectdb)(const char *conninfo);
  void (*finish)(PGconn *c);
  int (*status)(const PGconn *c);
  char *(*errorMessage)(const PGconn *c);
  int (*setClientEncoding)(PGconn *c, const char *encoding);
  void *(*setNoticeReceiver)(PGconn *c, pg_notice_receiver *receiver, void *arg);
  PGresult *(*execParams)(PGconn *c, const char *command, int n, const unsigned *types, const char *const *values,
                          const int *lengths, const int *formats, int result_format);
  PGresult *(*exec)(PGconn *c, const char *query);
  int (*resultStatus)(const PGresult *r);
  char *(*resultErrorField)(const PGresult *r, int field);
  void (*clear)(PGresult *r);
  int (*ntuples)(const PGresult *r);
  int (*nfields)(const PGresult *r);
  int (*getisnull)(const PGresult *r, int row, int field);
  int (*getlength)(const PGresult *r, int row, int field);
  char *(*getvalue)(const PGresult *r, int row, int field);
  char *(*cmdTuples)(PGresult *r);
  int (*putCopyData)(PGconn *c, const char *buffer, int bytes);
  int (*putCopyEnd)(PGconn *c, const char *error);
  PGresult *(*getResult)(PGconn *c);
  char *(*escapeIdentifier)(PGconn *c, const char *text, size_t bytes);
  char *(*escapeLiteral)(PGconn *c, const char *text, size_t bytes);
  void (*freemem)(void *p);
} libpq;

/* NULL with STATUS_UNSUPPORTED and a sentence if the library is not installed. Further calls are cheap. */
const libpq *libpq_open(void);

#endif
