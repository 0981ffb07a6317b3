/* Atomic files when system calls fail, stop half way, or the process dies: the final name holds the old file or the new
 * one, and nothing else stays behind. The calls under test are replaced by this program's own definitions. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/atomic_file.h"
#include "tests/support/scratch.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum call { NO_CALL, WRITE, PWRITE, FSYNC, RENAME };
static struct {
  enum call call;
  int countdown; /* the call of that kind which fails: 1 = the next */
  int error;     /* errno; 0 kills the process instead */
  bool trickle;  /* every write takes one byte, and each second one is interrupted first */
  int writes;
} fault;
static size_t lengths[4]; /* of the last writes, oldest first */

/* True if this call has to fail (with errno set). */
static bool fails(enum call call) {
  if (fault.call != call || --fault.countdown) return false;
  if (!fault.error) kill(getpid(), SIGKILL);
  errno = fault.error;
  return true;
}

ssize_t write(int fd, const void *data, size_t n) {
  if (fails(WRITE)) return -1;
  memmove(lengths, lengths + 1, sizeof lengths - sizeof *lengths);
  lengths[3] = n;
  if (fault.trickle && n && ++fault.writes % 2) {
    errno = EINTR;
    return -1;
  }
  return syscall(SYS_write, fd, data, fault.trickle && n ? (size_t)1 : n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t place) {
  if (fails(PWRITE)) return -1;
  if (fault.trickle && n && ++fault.writes % 2) {
    errno = EINTR;
    return -1;
  }
  return syscall(SYS_pwrite64, fd, data, fault.trickle && n ? (size_t)1 : n, place);
}

int fsync(int fd) { return fails(FSYNC) ? -1 : (int)syscall(SYS_fsync, fd); }

int rename(const char *from, const char *to) {
  return fails(RENAME) ? -1 : (int)syscall(SYS_renameat2, -100 /* AT_FDCWD */, from, -100, to, 0);
}

enum { PATCHED = 3, PIECE = 2 << 20, STEP = 99991, LONG = 2 * PIECE + PIECE / 2 };
static const char old_text[] = "the old file", new_text[] = "the new, longer file";

/* Writes new_text and, a step at a time, as many zeros, with a mistake that is put right at the end. */
static status replace_long(const char *path, size_t zeros) {
  static const char nothing[STEP];
  atomic_file *f = atomic_file_create(path);
  if (!f) return last_status();
  atomic_file_write(f, "the ???", 7);
  atomic_file_write(f, new_text + 7, strlen(new_text) - 7);
  for (size_t n; zeros; zeros -= n) {
    n = zeros < STEP ? zeros : STEP;
    atomic_file_write(f, nothing, n);
  }
  atomic_file_patch(f, 4, new_text + 4, PATCHED);
  return atomic_file_commit(f);
}

static status replace(const char *path) { return replace_long(path, 0); }

static void expect_file(const char *path, const char *text) {
  char *found = scratch_read(path, NULL);
  assert_non_null(found);
  assert_string_equal(found, text);
  free(found);
}

static void test_creates_and_replaces(void **state) {
  char *path = scratch_path(state, "file");
  assert_int_equal(replace(path), STATUS_OK);
  expect_file(path, new_text);
  scratch_write(path, old_text, strlen(old_text));
  assert_int_equal(replace(path), STATUS_OK);
  expect_file(path, new_text);
  assert_int_equal(scratch_entries(state), 1);
  free(path);
}

/* Large pieces at multiples of their size: such a file is mapped in large pages. */
static void test_pieces(void **state) {
  char *path = scratch_path(state, "file");
  const size_t size = strlen(new_text) + LONG;
  assert_int_equal(replace_long(path, LONG), STATUS_OK);
  assert_int_equal(lengths[1], PIECE);
  assert_int_equal(lengths[2], PIECE);
  assert_int_equal(lengths[3], size - 2 * PIECE);
  size_t found_size;
  char *found = scratch_read(path, &found_size), *expected = calloc(size, 1);
  memcpy(expected, new_text, strlen(new_text));
  assert_int_equal(found_size, size);
  assert_memory_equal(found, expected, size);
  free(found);
  free(expected);
  free(path);
}

static void test_permissions_follow_umask(void **state) {
  char *path = scratch_path(state, "file");
  struct stat info;
  const mode_t before = umask(027);
  assert_int_equal(replace(path), STATUS_OK);
  umask(before);
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0640);
  free(path);
}

static void test_short_and_interrupted_writes(void **state) {
  char *path = scratch_path(state, "file");
  fault.trickle = true;
  const status result = replace(path);
  const int writes = fault.writes;
  memset(&fault, 0, sizeof fault);
  assert_int_equal(result, STATUS_OK);
  assert_int_equal(writes, 2 * (strlen(new_text) + PATCHED));
  expect_file(path, new_text);
  free(path);
}

static void test_failing_calls(void **state) {
  static const struct {
    enum call call;
    int countdown, error;
  } cases[] = {{WRITE, 1, ENOSPC}, {WRITE, 2, EIO}, {WRITE, 2, EDQUOT},
               {PWRITE, 1, EIO},   {FSYNC, 1, EIO}, {RENAME, 1, EXDEV}};
  char *path = scratch_path(state, "file");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int existing = 0; existing <= 1; existing++) {
      unlink(path);
      if (existing) scratch_write(path, old_text, strlen(old_text));
      fault.call = cases[i].call;
      fault.countdown = cases[i].countdown;
      fault.error = cases[i].error;
      const status result = replace_long(path, LONG);
      memset(&fault, 0, sizeof fault);
      assert_int_equal(result, STATUS_IO);
      assert_non_null(strstr(last_error(), path));
      assert_non_null(strstr(last_error(), strerror(cases[i].error)));
      if (existing) expect_file(path, old_text);
      assert_int_equal(scratch_entries(state), existing);
    }
  free(path);
}

/* The folder's own sync comes after the rename: the file is there, and the failure is told. */
static void test_failing_folder_sync(void **state) {
  char *path = scratch_path(state, "file");
  fault.call = FSYNC;
  fault.countdown = 2;
  fault.error = EIO;
  assert_int_equal(replace(path), STATUS_IO);
  memset(&fault, 0, sizeof fault);
  assert_non_null(strstr(last_error(), "folder"));
  expect_file(path, new_text);
  assert_int_equal(scratch_entries(state), 1);
  free(path);
}

/* Killed at the second write, at the patch, at the sync, and just before the rename: the old file is whole. The next
 * writer is not disturbed by what the dead one left. */
static void test_killed(void **state) {
  static const struct {
    enum call call;
    int countdown;
  } cases[] = {{WRITE, 2}, {PWRITE, 1}, {FSYNC, 1}, {RENAME, 1}};
  char *path = scratch_path(state, "file");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scratch_write(path, old_text, strlen(old_text));
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      fault.call = cases[i].call;
      fault.countdown = cases[i].countdown;
      replace_long(path, LONG);
      _exit(0);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    expect_file(path, old_text);
  }
  assert_int_equal(replace(path), STATUS_OK);
  expect_file(path, new_text);
  free(path);
}

/* A temporary of the same process number, left by one that was killed, is passed over. */
static void test_name_taken(void **state) {
  char *path = scratch_path(state, "file"), name[64];
  snprintf(name, sizeof name, "file.%ld-0.tmp", (long)getpid());
  char *taken = scratch_path(state, name);
  scratch_write(taken, old_text, strlen(old_text));
  assert_int_equal(replace(path), STATUS_OK);
  expect_file(path, new_text);
  expect_file(taken, old_text);
  assert_int_equal(scratch_entries(state), 2);
  free(path);
  free(taken);
}

/* The longest name that a file may have leaves no room for the temporary's ending. */
static void test_longest_name(void **state) {
  char name[256];
  memset(name, 'n', 255);
  name[255] = 0;
  char *path = scratch_path(state, name);
  assert_int_equal(replace(path), STATUS_OK);
  expect_file(path, new_text);
  assert_int_equal(scratch_entries(state), 1);
  free(path);
}

/* A new name is taken only if nobody has it by then; a folder, a dead link, whatever it is, stays. */
static void test_new_name(void **state) {
  char *path = scratch_path(state, "file");
  for (int taken = 0; taken < 3; taken++) {
    atomic_file *f = atomic_file_create(path);
    assert_non_null(f);
    assert_int_equal(pwrite(atomic_file_descriptor(f), new_text, strlen(new_text), 0), strlen(new_text));
    if (taken == 1) scratch_write(path, old_text, strlen(old_text));
    if (taken == 2) assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(atomic_file_commit_new(f), taken ? STATUS_ARGUMENT : STATUS_OK);
    assert_int_equal(scratch_entries(state), 1);
    if (taken) assert_non_null(strstr(last_error(), "has that name already"));
    if (taken < 2) expect_file(path, taken ? old_text : new_text);
    unlink(path);
  }
  free(path);
}

static void test_abandoned(void **state) {
  char *path = scratch_path(state, "file");
  scratch_write(path, old_text, strlen(old_text));
  atomic_file *f = atomic_file_create(path);
  assert_non_null(f);
  assert_int_equal(scratch_entries(state), 2);
  assert_int_equal(atomic_file_write(f, new_text, 5), STATUS_OK);
  atomic_file_abandon(f);
  atomic_file_abandon(NULL);
  expect_file(path, old_text);
  assert_int_equal(scratch_entries(state), 1);
  free(path);
}

static void expect_refused(const char *path, const char *why) {
  assert_null(atomic_file_create(path));
  assert_int_equal(last_status(), STATUS_IO);
  assert_non_null(strstr(last_error(), why));
}

static void test_refused_places(void **state) {
  char *path = scratch_path(state, "file"), *missing = scratch_path(state, "no/file"),
       *under = scratch_path(state, "file/x");
  expect_refused("", "without a name");
  expect_refused(missing, "no such folder");
  scratch_write(path, old_text, strlen(old_text));
  expect_refused(under, strerror(ENOTDIR));
  expect_refused(*state, "is a folder");
  expect_refused("/dev/null", "not a regular file");
  assert_int_equal(scratch_entries(state), 1);
  expect_file(path, old_text);
  free(path);
  free(missing);
  free(under);
}

/* As a user who may not write there: the superuser may write anywhere, so it steps down first. */
static void test_unwritable_folder(void **state) {
  char *path = scratch_path(state, "file");
  const uid_t user = geteuid();
  assert_int_equal(chmod(*state, 0555), 0);
  if (user == 0) assert_int_equal(seteuid(65534), 0);
  atomic_file *f = atomic_file_create(path);
  if (user == 0) assert_int_equal(seteuid(user), 0);
  assert_int_equal(chmod(*state, 0755), 0);
  assert_null(f);
  assert_int_equal(last_status(), STATUS_IO);
  assert_non_null(strstr(last_error(), strerror(EACCES)));
  assert_int_equal(scratch_entries(state), 0);
  free(path);
}

static void test_symbolic_link(void **state) {
  char *path = scratch_path(state, "file"), *link = scratch_path(state, "link");
  struct stat info;
  scratch_write(path, old_text, strlen(old_text));
  assert_int_equal(symlink("file", link), 0);
  assert_int_equal(replace(link), STATUS_OK);
  assert_int_equal(lstat(link, &info), 0);
  assert_true(S_ISLNK(info.st_mode));
  expect_file(path, new_text);
  assert_int_equal(scratch_entries(state), 2);
  free(path);
  free(link);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_creates_and_replaces),
      IN_SCRATCH(test_pieces),
      IN_SCRATCH(test_permissions_follow_umask),
      IN_SCRATCH(test_short_and_interrupted_writes),
      IN_SCRATCH(test_failing_calls),
      IN_SCRATCH(test_failing_folder_sync),
      IN_SCRATCH(test_killed),
      IN_SCRATCH(test_name_taken),
      IN_SCRATCH(test_longest_name),
      IN_SCRATCH(test_new_name),
      IN_SCRATCH(test_abandoned),
      IN_SCRATCH(test_refused_places),
      IN_SCRATCH(test_unwritable_folder),
      IN_SCRATCH(test_symbolic_link),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
