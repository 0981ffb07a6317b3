#include "fusion/libpq.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static struct {
  libpq functions;
  bool open;
} the;

/* Each field of the table is one function pointer, in the order of these names. */
static const char *const names[] = {
    "PQconnectdb",
    "PQfinish",
    "PQstatus",
    "PQerrorMessage",
    "PQsetClientEncoding",
    "PQsetNoticeReceiver",
    "PQexecParams",
    "PQexec",
    "PQresultStatus",
    "PQresultErrorField",
    "PQclear",
    "PQntuples",
    "PQnfields",
    "PQgetisnull",
    "PQgetlength",
    "PQgetvalue",
    "PQcmdTuples",
    "PQputCopyData",
    "PQputCopyEnd",
    "PQgetResult",
    "PQescapeIdentifier",
    "PQescapeLiteral",
    "PQfreemem",
};
enum { FUNCTIONS = sizeof names / sizeof *names };

static void find_all(void) {
  _Static_assert(sizeof(libpq) == FUNCTIONS * sizeof(void *), "a name for each function");
  void *library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  void *found[FUNCTIONS];
  for (int i = 0; i < FUNCTIONS; i++)
    if (!(found[i] = dlsym(library, names[i]))) return;
  memcpy(&the.functions, found, sizeof found);
  the.open = true;
}

const libpq *libpq_open(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_all);
  if (the.open) return &the.functions;
  return fail_null(STATUS_UNSUPPORTED, "PostgreSQL's client library libpq.so.5 was not found: install Debian's libpq5");
}
