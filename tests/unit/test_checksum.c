/* Files that are damaged, and disks that fail while one is written: every bit that changes is noticed, and nothing is
 * left of a file that could not be finished. System calls are replaced by this program's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/scratch.h"
#include "tests/support/weights_check.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static int failing_call; /* which of the calls below fails, counted from 1; 0: none */

static bool fails(void) {
  if (!failing_call || --failing_call) return false;
  errno = ENOSPC;
  return true;
}

ssize_t write(int fd, const void *data, size_t n) { return fails() ? -1 : syscall(SYS_write, fd, data, n); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
  return fails() ? -1 : syscall(SYS_pwrite64, fd, data, n, at);
}
int fsync(int fd) { return fails() ? -1 : (int)syscall(SYS_fsync, fd); }
int rename(const char *from, const char *to) {
  return fails() ? -1 : (int)syscall(SYS_renameat2, -100 /* AT_FDCWD */, from, -100, to, 0);
}

enum { SMALL = 1, LARGE = 5 << 20 }; /* the latter does not go to the disk at once */

/* With text and number metadata, substitutes, an empty tensor and padding; tensor b has `bytes` bytes. */
static status write_file(const char *path, int container, size_t bytes) {
  static const uint8_t values[LARGE] = {7};
  writer *w = writer_into(path, container);
  writer_string(w, "k", "v");
  writer_metadata(w, "n", &(metadata_value){METADATA_U16, (const uint8_t *)"\x02\x01", 2});
  writer_declare(w, "a", CHECKPOINT_F32, 2, (int64_t[]){1, 2});
  writer_declare(w, "b", CHECKPOINT_U8, 1, (int64_t[]){(int64_t)bytes});
  writer_declare(w, "e", CHECKPOINT_F16, 2, (int64_t[]){2, 0});
  writer_put_f32(w, "a", (float[]){1, -2}, 2);
  writer_put(w, "b", values, bytes);
  return writer_finish(w);
}

/* Every bit of a file: opening or checkpoint_verify() notices. */
static void expect_every_bit(const char *path) {
  size_t size;
  char *bytes = scratch_read(path, &size);
  for (size_t bit = 0; bit < 8 * size; bit++) {
    bool has_checksum;
    bytes[bit / 8] ^= (char)(1 << bit % 8);
    checkpoint *c = checkpoint_parse(bytes, size, "memory");
    if (c && !checkpoint_verify(c, &has_checksum)) fail_msg("bit %zu of byte %zu: nobody noticed", bit % 8, bit / 8);
    if (last_status() != STATUS_FORMAT && last_status() != STATUS_UNSUPPORTED) fail_msg("%s", last_error());
    assert_non_null(strstr(last_error(), "memory: "));
    checkpoint_close(c);
    bytes[bit / 8] ^= (char)(1 << bit % 8);
  }
  checkpoint *c = checkpoint_parse(bytes, size, "memory");
  assert_non_null(c);
  check_intact(c);
  checkpoint_close(c);
  free(bytes);
}

static void test_every_bit(void **state) {
  char *path = scratch_path(state, "file");
  for (int container = 0; container < CONTAINERS; container++) {
    assert_int_equal(write_file(path, container, SMALL), STATUS_OK);
    expect_every_bit(path);
    assert_int_equal(writer_finish(writer_into(path, container)), STATUS_OK);
    expect_every_bit(path);
    writer *w = writer_into(path, container); /* four pairs */
    writer_string(w, "k", "v");
    writer_string(w, "l", "v");
    assert_int_equal(writer_finish(w), STATUS_OK);
    expect_every_bit(path);
  }
  free(path);
}

/* Files that others changed or made up: a sentence, or no checksum at all. */
static void expect_verify(const char *header, const char *words) {
  const size_t length = strlen(header);
  char *bytes = calloc(8 + length, 1);
  assert_non_null(bytes);
  bytes[0] = (char)length;
  bytes[1] = (char)(length >> 8);
  memcpy(bytes + 8, header, length);
  checkpoint *c = checkpoint_parse(bytes, 8 + length, "memory");
  if (!c) fail_msg("%s", last_error());
  bool has_checksum = true;
  const status result = checkpoint_verify(c, &has_checksum);
  if (words) {
    check_error(result, STATUS_FORMAT, words);
    assert_non_null(strstr(last_error(), "memory: "));
  } else {
    assert_int_equal(result, STATUS_OK);
    assert_false(has_checksum);
  }
  checkpoint_close(c);
  free(bytes);
}

#define DIGITS "0123456789abcdef0123456789abcdef"
static void test_made_up_checksums(void **state) {
  (void)state;
  expect_verify("{}", NULL);
  expect_verify("{\"__metadata__\":{\"k\":\"\\\"linnet.checksum\\\":\\\"" DIGITS "\"}}", NULL);
  expect_verify("{\"__metadata__\":{\"linnet.checksum\":\"" DIGITS "\"}}", "does not match");
  expect_verify("{\"__metadata__\":{\"linnet.checksum\":\"\"}}", "not where it was written");
  expect_verify("{\"__metadata__\":{\"linnet.checksum\":\"" DIGITS "0\"}}", "not where it was written");
  expect_verify("{\"__metadata__\":{\"k\":\"v\",\"linnet.checksum\":\"" DIGITS "\"}}", "not where it was written");
  expect_verify("{ \"__metadata__\":{\"linnet.checksum\":\"" DIGITS "\"}}", "not where it was written");
  expect_verify(
      "{\"__metadata__\":{\"linnet.checksum\":\"1\",\"linnet.types\":\"{\\\"linnet.checksum\\\":\\\"u8\\\"}\"}}",
      "not where it was written");
  expect_verify("{\"__metadata__\":{\"linnet.format\":\"1\"}}", "not the checksum that belongs to it");
}

/* Each call that can fail, failing once: nothing is left on the disk. How many there are. */
static int fail_each_call(void **state, int container, size_t bytes) {
  char *path = scratch_path(state, "file");
  int n = 1;
  for (;; n++) {
    failing_call = n;
    const status result = write_file(path, container, bytes);
    const bool reached = failing_call == 0;
    failing_call = 0;
    if (!reached) {
      assert_int_equal(result, STATUS_OK);
      break;
    }
    check_error(result, STATUS_IO, strerror(ENOSPC));
    assert_non_null(strstr(last_error(), path));
    const bool after_rename = strstr(last_error(), "folder"); /* the last sync, when all is there */
    assert_int_equal(scratch_entries(state), after_rename);
    if (after_rename && bytes == SMALL) expect_every_bit(path);
    unlink(path);
  }
  unlink(path);
  free(path);
  return n - 1;
}

static void test_failing_disk(void **state) {
  for (int container = 0; container < CONTAINERS; container++) {
    assert_int_equal(fail_each_call(state, container, SMALL), 5); /* bytes, checksum, file, name, folder */
    assert_int_equal(fail_each_call(state, container, LARGE), 7); /* bytes in three pieces */
  }
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_every_bit),
      cmocka_unit_test(test_made_up_checksums),
      IN_SCRATCH(test_failing_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
