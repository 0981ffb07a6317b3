#include "tests/cross/cmocka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf end_of_test;

void check_failed(const char *file, int line, const char *format, ...) {
  va_list list;
  va_start(list, format);
  fprintf(stderr, "%s:%d: ", file, line);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  va_end(list);
  longjmp(end_of_test, 1);
}

void check_equal(const char *file, int line, const char *what, uintmax_t got, uintmax_t want) {
  if (got != want)
    check_failed(file, line, "%s is %jd (0x%jx) instead of %jd (0x%jx)", what, (intmax_t)got, got, (intmax_t)want,
                 want);
}

void check_text(const char *file, int line, const char *what, const char *got, const char *want) {
  if (strcmp(got, want) != 0) check_failed(file, line, "%s is \"%s\" instead of \"%s\"", what, got, want);
}

void check_bytes(const char *file, int line, const char *what, const void *got, const void *want, size_t n) {
  const unsigned char *a = got, *b = want;
  for (size_t i = 0; i < n; i++)
    if (a[i] != b[i])
      check_failed(file, line, "%s: byte %zu of %zu is 0x%02x instead of 0x%02x", what, i, n, a[i], b[i]);
}

/* True if `name` is one of the words of `wanted`, or nothing is wanted in particular. */
static bool is_wanted(const char *name, const char *wanted) {
  const size_t length = strlen(name);
  if (!wanted || !*wanted) return true;
  for (const char *at = wanted; (at = strstr(at, name)); at += length)
    if ((at == wanted || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0)) return true;
  return false;
}

static bool passes(const struct CMUnitTest *test, void *state) {
  if (setjmp(end_of_test)) return false;
  test->test(&state);
  return true;
}

int check_run(const struct CMUnitTest *tests, size_t n, int (*setup)(void **state), int (*teardown)(void **state)) {
  void *state = NULL;
  int failed = 0, ran = 0;
  if (setup && setup(&state)) return (int)n;
  for (size_t i = 0; i < n; i++) {
    if (!is_wanted(tests[i].name, getenv("TESTS"))) continue;
    const bool passed = passes(&tests[i], state);
    fprintf(stderr, "%s %s\n", passed ? "passed" : "FAILED", tests[i].name);
    failed += !passed;
    ran++;
  }
  if (ran == 0) fprintf(stderr, "there is no such test\n");
  return failed + (ran == 0) + (teardown && teardown(&state));
}
