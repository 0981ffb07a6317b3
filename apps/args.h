/* Command lines: one table per verb states each option once, with its range, its variable and its help. The variable's
 * value when parsing begins is the default that the help shows. */
#ifndef LINNET_APPS_ARGS_H
#define LINNET_APPS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/command.h"

/* What the variable is. */
typedef enum {
  ARG_SWITCH, /* bool; the option takes no value */
  ARG_TEXT,   /* const char * */
  ARG_TEXTS,  /* arg_texts; the option may be given several times */
  ARG_INT,    /* int */
  ARG_LONG,   /* int64_t */
  ARG_SEED,   /* uint64_t, of any value */
  ARG_FLOAT,  /* float */
  ARG_REAL,   /* double */
} arg_kind;

enum { ARG_MOST_TEXTS = 32 };
typedef struct {
  const char *item[ARG_MOST_TEXTS];
  int n;
} arg_texts;

typedef struct {
  const char *name; /* "max-tokens" */
  char letter;      /* 0 = only the long name */
  arg_kind kind;
  void *value;
  double low, high;  /* bounds of a number, both allowed */
  const char *shown; /* what the help calls the value: "N", "PATH" */
  const char *help;
} arg;

/* The options that several verbs have. */
#define ARG_MODEL(variable)                                                                                            \
  { "model", 'm', ARG_TEXT, variable, 0, 0, "PATH", "the model (else $LINNET_MODEL, else the one that is installed)" }
#define ARG_THREADS(variable)                                                                                          \
  { "threads", 't', ARG_INT, variable, 0, 1024, "N", "threads to compute with; 0 = all" }
#define ARG_JSON(variable)                                                                                             \
  { "json", 0, ARG_SWITCH, variable, 0, 0, NULL, "results as JSON" }
#define ARG_CHOICE(variable)                                                                                           \
  { "dict", 0, ARG_TEXT, variable, 0, 0, "NAME", "the dictionary of a .pth that has several: model, ema, ..." }
#define ARG_QUIET(variable)                                                                                            \
  { "quiet", 'q', ARG_SWITCH, variable, 0, 0, NULL, "no progress on stderr" }

/* Sorts argv into options, whose values are stored, and operands, which begin at argv[*operands]. Returns false if the
 * verb is to end at once with *code: after --help (which every verb has), or after a mistake, which was named on
 * stderr. */
bool args_parse(const verb *self, const arg *list, size_t n, int argc, char **argv, int *operands, int *code);

/* A whole number or a real one that is all of `text` and within the bounds; otherwise false. NaN is never within. */
bool number_whole(const char *text, int64_t low, int64_t high, int64_t *out);
bool number_real(const char *text, double low, double high, double *out);

#endif
