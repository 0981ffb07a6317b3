/* Files as a whole: read into memory up to a limit, mapped, and each thing that is no such file. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/file.h"
#include "tests/support/scratch.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum { ROOM = 1 << 16 }; /* where the buffer first grows */

static void expect_sentence(status code, const char *path, const char *why) {
  assert_int_equal(last_status(), code);
  assert_ptr_equal(strstr(last_error(), path), last_error());
  assert_non_null(strstr(last_error(), why));
}

static void expect_unread(const char *path, uint64_t most, status code, const char *why) {
  size_t n;
  assert_null(file_read(path, most, &n));
  expect_sentence(code, path, why);
}

static void expect_unmapped(const char *path, const char *why) {
  const void *data;
  size_t n;
  assert_int_equal(file_map(path, &data, &n), STATUS_IO);
  expect_sentence(STATUS_IO, path, why);
}

/* Lengths round those at which the buffer grows; with the last byte over the limit, and just within it. */
static void test_reads_and_maps_every_byte(void **state) {
  static const size_t lengths[] = {0, 1, ROOM - 1, ROOM, ROOM + 1, 2 * ROOM, 5 * ROOM + 3};
  char *path = scratch_path(state, "file"), *made = malloc(6 * ROOM);
  for (size_t i = 0; i < 6 * ROOM; i++) made[i] = (char)(i * 7 + i / 251);
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    const size_t length = lengths[i];
    size_t n = 1;
    const void *data;
    scratch_write(path, made, length);
    char *bytes = file_read(path, length, &n);
    assert_non_null(bytes);
    assert_int_equal(n, length);
    assert_memory_equal(bytes, made, length);
    assert_int_equal(bytes[length], 0);
    free(bytes);
    if (length) expect_unread(path, length - 1, STATUS_MEMORY, "over the limit of");
    assert_int_equal(file_map(path, &data, &n), STATUS_OK);
    assert_int_equal(n, length);
    if (length) assert_memory_equal(data, made, length);
    file_unmap(data, n);
  }
  free(made);
  free(path);
}

/* A pipe has no size, and gives its bytes in pieces. */
static void test_reads_a_pipe(void **state) {
  int ends[2];
  size_t n;
  (void)state;
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], "in two ", 7), 7);
  assert_int_equal(write(ends[1], "pieces", 6), 6);
  close(ends[1]);
  char *text = file_read_open(ends[0], "standard input", 100, &n);
  close(ends[0]);
  assert_non_null(text);
  assert_string_equal(text, "in two pieces");
  assert_int_equal(n, 13);
  free(text);
  assert_null(file_read_open(-1, "standard input", 100, &n));
  expect_sentence(STATUS_IO, "standard input", strerror(EBADF));
}

static void test_endless(void **state) {
  (void)state;
  if (access("/dev/zero", R_OK)) skip();
  expect_unread("/dev/zero", 3 * ROOM, STATUS_MEMORY, "limit of 196608 bytes");
}

static void test_refused(void **state) {
  char *missing = scratch_path(state, "missing"), *fifo = scratch_path(state, "fifo"),
       *secret = scratch_path(state, "secret");
  expect_unread(missing, 9, STATUS_IO, strerror(ENOENT));
  expect_unmapped(missing, strerror(ENOENT));
  expect_unread(*state, 9, STATUS_IO, strerror(EISDIR));
  expect_unmapped(*state, "is a folder");
  assert_int_equal(mkfifo(fifo, 0600), 0);
  expect_unmapped(fifo, "not a regular file");
  expect_unmapped("/dev/null", "not a regular file");
  scratch_write(secret, "x", 1);
  assert_int_equal(chmod(secret, 0), 0);
  if (geteuid() != 0) { /* the superuser may read anything */
    expect_unread(secret, 9, STATUS_IO, "cannot open");
    expect_unmapped(secret, "cannot open");
  }
  free(missing);
  free(fifo);
  free(secret);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_reads_and_maps_every_byte),
      cmocka_unit_test(test_reads_a_pipe),
      cmocka_unit_test(test_endless),
      IN_SCRATCH(test_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
