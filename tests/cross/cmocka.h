/* What the kernels' tests use of cmocka, for a machine that there is no cmocka for: Debian's would need the other
 * machine's whole C library, as packages of a second architecture. Names and meanings are cmocka's. The first failure
 * ends a test, but not the program. */
#ifndef LINNET_TESTS_CROSS_CMOCKA_H
#define LINNET_TESTS_CROSS_CMOCKA_H

#include <stddef.h>
#include <stdint.h>

struct CMUnitTest {
  const char *name;
  void (*test)(void **state);
};
#define cmocka_unit_test(test)                                                                                         \
  { #test, test }

/* Runs every test, or those that the environment variable TESTS names; returns how many failed. */
int check_run(const struct CMUnitTest *tests, size_t n, int (*setup)(void **state), int (*teardown)(void **state));
#define cmocka_run_group_tests(tests, setup, teardown)                                                                 \
  check_run(tests, sizeof(tests) / sizeof *(tests), setup, teardown)

/* Says why and ends the running test. */
_Noreturn void check_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
void check_equal(const char *file, int line, const char *what, uintmax_t got, uintmax_t want);
void check_text(const char *file, int line, const char *what, const char *got, const char *want);
void check_bytes(const char *file, int line, const char *what, const void *got, const void *want, size_t n);

#define fail_msg(...) check_failed(__FILE__, __LINE__, __VA_ARGS__)
#define assert_true(x)                                                                                                 \
  do {                                                                                                                 \
    if (!(x)) fail_msg("not so: %s", #x);                                                                              \
  } while (0)
#define assert_false(x) assert_true(!(x))
#define assert_non_null(x) assert_true((x) != NULL)
#define assert_null(x) assert_true((x) == NULL)
#define assert_ptr_equal(x, y) assert_true((const void *)(x) == (const void *)(y))
#define assert_int_equal(x, y) check_equal(__FILE__, __LINE__, #x, (uintmax_t)(x), (uintmax_t)(y))
#define assert_string_equal(x, y) check_text(__FILE__, __LINE__, #x, x, y)
#define assert_memory_equal(x, y, n) check_bytes(__FILE__, __LINE__, #x, x, y, n)

#endif
