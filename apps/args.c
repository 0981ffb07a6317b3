#include "apps/args.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/output.h"
#include "kernels/base.h"

/* --- numbers ------------------------------------------------------------------------------------------------------ */

/* strtol and strtod skip white space first; a number on a command line has none. */
static bool begins_number(const char *text) { return *text && !isspace((unsigned char)*text); }

bool number_whole(const char *text, int64_t low, int64_t high, int64_t *out) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (!begins_number(text) || end == text || *end || errno || value < low || value > high) return false;
  *out = value;
  return true;
}

bool number_real(const char *text, double low, double high, double *out) {
  char *end;
  double value = strtod(text, &end);
  if (!begins_number(text) || end == text || *end || !(value >= low && value <= high)) return false;
  *out = value;
  return true;
}

static bool number_seed(const char *text, uint64_t *out) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (!isdigit((unsigned char)*text) || *end || errno) return false;
  *out = value;
  return true;
}

/* --- storing ------------------------------------------------------------------------------------------------------ */

static bool store_number(const arg *a, const char *text) {
  int64_t whole;
  double real;
  switch (a->kind) {
  case ARG_INT:
    if (!number_whole(text, (int64_t)a->low, (int64_t)a->high, &whole)) return false;
    *(int *)a->value = (int)whole;
    return true;
  case ARG_LONG:
    return number_whole(text, (int64_t)a->low, (int64_t)a->high, a->value);
  case ARG_SEED:
    return number_seed(text, a->value);
  case ARG_FLOAT:
    if (!number_real(text, a->low, a->high, &real)) return false;
    *(float *)a->value = (float)real;
    return true;
  default:
    return number_real(text, a->low, a->high, a->value);
  }
}

/* EXIT_DONE or EXIT_MISUSE. */
static int store(const verb *self, const arg *a, const char *text) {
  if (a->kind == ARG_SWITCH) {
    *(bool *)a->value = true;
  } else if (a->kind == ARG_TEXT || a->kind == ARG_TEXTS) {
    arg_texts *list = a->value;
    if (!*text) return misuse(self, "--%s: the value is empty", a->name);
    if (a->kind == ARG_TEXT)
      *(const char **)a->value = text;
    else if (list->n == ARG_MOST_TEXTS)
      return misuse(self, "--%s: more than %d of them", a->name, ARG_MOST_TEXTS);
    else
      list->item[list->n++] = text;
  } else if (!store_number(a, text)) {
    if (a->kind == ARG_SEED) return misuse(self, "--%s: expected a whole number from 0 up, found '%s'", a->name, text);
    bool whole = a->kind == ARG_INT || a->kind == ARG_LONG;
    return misuse(self, "--%s: expected a%s number from %.10g to %.10g, found '%s'", a->name, whole ? " whole" : "",
                  a->low, a->high, text);
  }
  return EXIT_DONE;
}

/* --- help --------------------------------------------------------------------------------------------------------- */

static void print_default(const arg *a) {
  switch (a->kind) {
  case ARG_TEXT:
    if (*(const char **)a->value) printf(" (default %s)", *(const char **)a->value);
    break;
  case ARG_INT:
    printf(" (default %d)", *(int *)a->value);
    break;
  case ARG_LONG:
    printf(" (default %" PRId64 ")", *(int64_t *)a->value);
    break;
  case ARG_SEED:
    printf(" (default %" PRIu64 ")", *(uint64_t *)a->value);
    break;
  case ARG_FLOAT:
    printf(" (default %g)", (double)*(float *)a->value);
    break;
  case ARG_REAL:
    printf(" (default %g)", *(double *)a->value);
    break;
  case ARG_SWITCH:
  case ARG_TEXTS:
    break;
  }
}

static void print_option(char letter, const char *name, const char *shown, const char *help) {
  char left[64];
  const char begin[] = {letter ? '-' : ' ', letter ? letter : ' ', letter ? ',' : ' ', 0};
  snprintf(left, sizeof left, "%s --%s%s%s", begin, name, shown ? " " : "", shown ? shown : "");
  printf("  %-26s %s", left, help);
}

static void print_help(const verb *self, const arg *list, size_t n) {
  printf("linnet %s - %s\n\n%s\nOptions:\n", self->name, self->summary, self->help);
  for (size_t i = 0; i < n; i++) {
    print_option(list[i].letter, list[i].name, list[i].shown, list[i].help);
    print_default(&list[i]);
    putchar('\n');
  }
  print_option('h', "help", NULL, "this text\n");
}

/* --- parsing ------------------------------------------------------------------------------------------------------ */

enum { FIRST = 256 }; /* getopt_long's value of the first option without a letter: beyond any letter */

static int option_value(const arg *list, size_t i) { return list[i].letter ? list[i].letter : FIRST + (int)i; }

/* What getopt_long wants to know: n + 2 options, 2n + 3 letters. */
static void describe(const arg *list, size_t n, struct option *options, char *letters) {
  *letters++ = ':'; /* a missing value is told apart from an unknown option */
  *letters++ = 'h';
  for (size_t i = 0; i < n; i++) {
    const bool takes = list[i].kind != ARG_SWITCH;
    options[i] = (struct option){list[i].name, takes ? required_argument : no_argument, NULL, option_value(list, i)};
    if (!list[i].letter) continue;
    *letters++ = list[i].letter;
    if (takes) *letters++ = ':';
  }
  options[n] = (struct option){"help", no_argument, NULL, 'h'};
}

/* The option with getopt_long's value; NULL if there is none (--help has no row). */
static const arg *find_option(const arg *list, size_t n, int value) {
  for (size_t i = 0; i < n; i++)
    if (option_value(list, i) == value) return &list[i];
  return NULL;
}

/* One option as getopt_long found it; `word` is the last word that it read. -1 to go on, else the exit code. */
static int take(const verb *self, const arg *list, size_t n, int found, const char *word) {
  const bool wrong = found == ':' || found == '?'; /* optopt then says which option, 0 if no name fits */
  const arg *a = find_option(list, n, wrong ? optopt : found);
  if (found == 'h') {
    print_help(self, list, n);
    return EXIT_DONE;
  }
  if (found == ':') return misuse(self, "--%s needs a value", a ? a->name : "help");
  if (wrong && (a || optopt == 'h')) return misuse(self, "--%s takes no value", a ? a->name : "help");
  if (wrong && optopt) return misuse(self, "there is no option -%c", optopt);
  if (wrong) return misuse(self, "%s: no option has this name, or several begin so", word);
  int code = store(self, a, optarg);
  return code == EXIT_DONE ? -1 : code;
}

bool args_parse(const verb *self, const arg *list, size_t n, int argc, char **argv, int *operands, int *code) {
  struct option *options = mem_zero(n + 2, sizeof *options);
  char *letters = mem_zero(2 * n + 4, 1);
  *code = options && letters ? -1 : failed();
  if (*code < 0) describe(list, n, options, letters);
  opterr = 0;
  optind = 1;
  while (*code < 0) {
    const int found = getopt_long(argc, argv, letters, options, NULL);
    if (found < 0) break;
    *code = take(self, list, n, found, argv[optind - 1]);
  }
  free(options);
  free(letters);
  *operands = optind;
  return *code < 0;
}
