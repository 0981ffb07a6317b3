#include "tests/support/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zip.h>

#include "kernels/base.h"

static _Thread_local volatile bool on; /* calls to the C library are not expected to come back here */
static _Thread_local inject_plan plan;
static _Thread_local inject_report report;
static _Thread_local bool interrupted; /* the last write was */
static void lose_power(uint64_t seed);

/* Whether the call that now begins is to fail. */
static bool strikes(unsigned kind, int error) {
  if (!on || !(plan.kinds & kind)) return false;
  report.calls++;
  if (!plan.first || report.calls < plan.first || (report.calls > plan.first && !plan.all_later)) return false;
  if (plan.kills) {
    on = false;
    if (plan.lost) lose_power(plan.lost);
    raise(SIGKILL);
  }
  if (plan.before) {
    const inject_report counted_so_far = report;
    on = false;
    plan.before(plan.user);
    report = counted_so_far;
    on = true;
    return false;
  }
  errno = error;
  return true;
}

/* --- allocations -------------------------------------------------------------------------------------------------- */

#ifdef INJECT_WRAPS_ALLOCATIONS
#define ALLOCATOR(name) __wrap_##name
#define REAL(name) __real_##name
#define REAL_ALIGNED __real_aligned_alloc
#define REAL_FREE free
#else
#define ALLOCATOR(name) name
#define REAL(name) __libc_##name
#define REAL_ALIGNED __libc_memalign
#define REAL_FREE __libc_free
#endif

void REAL_FREE(void *block);
void *REAL(malloc)(size_t bytes);
void *REAL(calloc)(size_t n, size_t bytes);
void *REAL(realloc)(void *old, size_t bytes);
void *REAL_ALIGNED(size_t alignment, size_t bytes);
void *ALLOCATOR(malloc)(size_t bytes);
void *ALLOCATOR(calloc)(size_t n, size_t bytes);
void *ALLOCATOR(realloc)(void *old, size_t bytes);
void *ALLOCATOR(aligned_alloc)(size_t alignment, size_t bytes);

static void *counted(void *block) {
#ifndef INJECT_WRAPS_ALLOCATIONS
  report.blocks += on && block;
#endif
  return block;
}

void *ALLOCATOR(malloc)(size_t bytes) { return strikes(INJECT_MEMORY, ENOMEM) ? NULL : counted(REAL(malloc)(bytes)); }

void *ALLOCATOR(calloc)(size_t n, size_t bytes) {
  return strikes(INJECT_MEMORY, ENOMEM) ? NULL : counted(REAL(calloc)(n, bytes));
}

void *ALLOCATOR(aligned_alloc)(size_t alignment, size_t bytes) {
  return strikes(INJECT_MEMORY, ENOMEM) ? NULL : counted(REAL_ALIGNED(alignment, bytes));
}

void *ALLOCATOR(realloc)(void *old, size_t bytes) {
  if (strikes(INJECT_MEMORY, ENOMEM)) return NULL;
  void *block = REAL(realloc)(old, bytes);
  return old ? block : counted(block);
}

#ifndef INJECT_WRAPS_ALLOCATIONS
void free(void *block) {
  report.blocks -= on && block;
  __libc_free(block);
}

/* libzip asks for local times: what the C library keeps of time zones is no concern of ours. */
time_t mktime(struct tm *when) {
  const bool was_on = on;
  on = false;
  const time_t result = timelocal(when); /* another name of the library's own */
  on = was_on;
  return result;
}
#endif

/* When an allocation of libgomp's own fails, it ends the program. */
void __real_GOMP_parallel(void (*body)(void *data), void *data, unsigned threads, unsigned flags);
void __wrap_GOMP_parallel(void (*body)(void *data), void *data, unsigned threads, unsigned flags);

void __wrap_GOMP_parallel(void (*body)(void *data), void *data, unsigned threads, unsigned flags) {
  const bool was_on = on;
  on = false;
  __real_GOMP_parallel(body, data, threads, flags);
  on = was_on;
}

/* Two calls count as one allocation each, since what they do when one of their own fails cannot be helped from outside.
 * The lexer of jansson 2.14 ignores that its buffer cannot grow, and later reads on behind its end; libzip 1.7 loses a
 * block when a layer of an entry's source cannot be made. */
json_t *__real_json_loadb(const char *text, size_t length, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *text, size_t length, size_t flags, json_error_t *error);
zip_file_t *__real_zip_fopen_index(zip_t *archive, zip_uint64_t index, zip_flags_t flags);
zip_file_t *__wrap_zip_fopen_index(zip_t *archive, zip_uint64_t index, zip_flags_t flags);

json_t *__wrap_json_loadb(const char *text, size_t length, size_t flags, json_error_t *error) {
  if (strikes(INJECT_MEMORY, ENOMEM)) {
    *error = (json_error_t){.text = "invalid token", .position = 1}; /* as it says when memory is short */
    return NULL;
  }
  const unsigned kinds = plan.kinds;
  plan.kinds &= ~(unsigned)INJECT_MEMORY;
  json_t *json = __real_json_loadb(text, length, flags, error);
  plan.kinds = kinds;
  return json;
}

zip_file_t *__wrap_zip_fopen_index(zip_t *archive, zip_uint64_t index, zip_flags_t flags) {
  if (strikes(INJECT_MEMORY, ENOMEM)) return NULL;
  const unsigned kinds = plan.kinds;
  plan.kinds &= ~(unsigned)INJECT_MEMORY;
  zip_file_t *file = __real_zip_fopen_index(archive, index, flags);
  plan.kinds = kinds;
  return file;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

int __real_open(const char *path, int flags, mode_t mode);
int __real_close(int descriptor);
int __real_stat(const char *path, struct stat *info);
int __real_fstat(int descriptor, struct stat *info);
ssize_t __real_read(int descriptor, void *data, size_t bytes);
ssize_t __real_pread(int descriptor, void *data, size_t bytes, off_t place);
ssize_t __real_write(int descriptor, const void *data, size_t bytes);
ssize_t __real_pwrite(int descriptor, const void *data, size_t bytes, off_t place);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
char *__real_realpath(const char *path, char *resolved);
void *__real_mmap(void *at, size_t bytes, int protection, int flags, int descriptor, off_t place);
int __real_munmap(void *at, size_t bytes);
int __real_fsync(int descriptor);
int __real_flock(int descriptor, int operation);
int __real_ftruncate(int descriptor, off_t bytes);
int __real_link(const char *from, const char *to);

int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int descriptor);
int __wrap_stat(const char *path, struct stat *info);
int __wrap_fstat(int descriptor, struct stat *info);
ssize_t __wrap_read(int descriptor, void *data, size_t bytes);
ssize_t __wrap_pread(int descriptor, void *data, size_t bytes, off_t place);
ssize_t __wrap_write(int descriptor, const void *data, size_t bytes);
ssize_t __wrap_pwrite(int descriptor, const void *data, size_t bytes, off_t place);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
char *__wrap_realpath(const char *path, char *resolved);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int descriptor, off_t place);
int __wrap_munmap(void *at, size_t bytes);
int __wrap_fsync(int descriptor);
int __wrap_flock(int descriptor, int operation);
int __wrap_ftruncate(int descriptor, off_t bytes);
int __wrap_link(const char *from, const char *to);

int __wrap_open(const char *path, int flags, ...) {
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  if (strikes(INJECT_FILES, EMFILE)) return -1;
  const int descriptor = __real_open(path, flags, mode);
  report.descriptors += on && descriptor >= 0;
  return descriptor;
}

/* As on Linux: a descriptor is gone even if closing it fails. */
int __wrap_close(int descriptor) {
  const bool failing = strikes(INJECT_FILES, EIO);
  const int result = __real_close(descriptor);
  report.descriptors -= on;
  if (failing) errno = EIO;
  return failing ? -1 : result;
}

int __wrap_stat(const char *path, struct stat *info) {
  return strikes(INJECT_FILES, EIO) ? -1 : __real_stat(path, info);
}

int __wrap_fstat(int descriptor, struct stat *info) {
  return strikes(INJECT_FILES, EIO) ? -1 : __real_fstat(descriptor, info);
}

int __wrap_rename(const char *from, const char *to) {
  if (strikes(INJECT_FILES, EIO)) return -1;
  const int result = __real_rename(from, to);
  report.renames += on && !result;
  return result;
}

int __wrap_unlink(const char *path) {
  if (!strikes(INJECT_FILES, EIO)) return __real_unlink(path);
  report.kept++;
  return -1;
}

char *__wrap_realpath(const char *path, char *resolved) {
  return strikes(INJECT_FILES, EIO) ? NULL : __real_realpath(path, resolved);
}

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int descriptor, off_t place) {
  if (strikes(INJECT_FILES, ENODEV)) return MAP_FAILED;
  void *mapping = __real_mmap(at, bytes, protection, flags, descriptor, place);
  report.mappings += on && mapping != MAP_FAILED;
  return mapping;
}

int __wrap_munmap(void *at, size_t bytes) {
  report.mappings -= on;
  return __real_munmap(at, bytes);
}

/* What has been written since the last sync, for a power failure: the bytes that were there before. */
enum { UNSYNCED = 256 };
static struct {
  int descriptor;
  off_t place;
  size_t bytes;
  uint8_t *before;
} unsynced[UNSYNCED];
static int n_unsynced;

static void remember(int descriptor, size_t bytes, off_t place) {
  uint8_t *before = REAL(malloc)(bytes + 1);
  if (!before || n_unsynced == UNSYNCED) abort();
  const ssize_t there = __real_pread(descriptor, before, bytes, place);
  for (size_t i = there < 0 ? 0 : (size_t)there; i < bytes; i++)
    before[i] = 0; /* the file grows before its bytes come */
  unsynced[n_unsynced].descriptor = descriptor;
  unsynced[n_unsynced].place = place;
  unsynced[n_unsynced].bytes = bytes;
  unsynced[n_unsynced++].before = before;
}

static void lose_power(uint64_t seed) {
  for (int i = n_unsynced; i-- > 0;)
    if (random_u64(seed, 0, (uint64_t)i) & 1 &&
        __real_pwrite(unsynced[i].descriptor, unsynced[i].before, unsynced[i].bytes, unsynced[i].place) < 0)
      abort();
}

/* Nothing is synced: no test pulls the plug, and the disk's wear and time are saved. */
int __wrap_fsync(int descriptor) {
  if (!on) return __real_fsync(descriptor);
  if (strikes(INJECT_FILES, EIO)) {
    report.unsynced++;
    return -1;
  }
  for (; n_unsynced; n_unsynced--) REAL_FREE(unsynced[n_unsynced - 1].before);
  return 0;
}

int __wrap_flock(int descriptor, int operation) {
  return strikes(INJECT_FILES, ENOLCK) ? -1 : __real_flock(descriptor, operation);
}

int __wrap_ftruncate(int descriptor, off_t bytes) {
  return strikes(INJECT_FILES, EIO) ? -1 : __real_ftruncate(descriptor, bytes);
}

int __wrap_link(const char *from, const char *to) {
  if (strikes(INJECT_FILES, EPERM)) return -1;
  const int result = __real_link(from, to);
  report.renames += on && !result;
  return result;
}

ssize_t __wrap_read(int descriptor, void *data, size_t bytes) {
  if (strikes(INJECT_FILES, EIO)) return -1;
  return __real_read(descriptor, data, on && plan.in_pieces ? (bytes + 2) / 3 : bytes);
}

ssize_t __wrap_pread(int descriptor, void *data, size_t bytes, off_t place) {
  if (strikes(INJECT_FILES, EIO)) return -1;
  return __real_pread(descriptor, data, on && plan.in_pieces ? (bytes + 2) / 3 : bytes, place);
}

/* How many of the bytes a write may take; -1 if it fails. */
static ssize_t allowance(size_t bytes) {
  if (strikes(INJECT_FILES, ENOSPC)) return -1;
  if (on && plan.in_pieces && (interrupted = !interrupted)) {
    errno = EINTR;
    return -1;
  }
  if (on && plan.in_pieces) bytes = (bytes + 2) / 3;
  if (!on || !plan.bounded || report.written + (long)bytes <= plan.room) return (ssize_t)bytes;
  errno = ENOSPC;
  return report.written < plan.room ? plan.room - report.written : -1;
}

static ssize_t wrote(ssize_t bytes) {
  if (on && bytes > 0) report.written += bytes;
  return bytes;
}

ssize_t __wrap_write(int descriptor, const void *data, size_t bytes) {
  const ssize_t most = allowance(bytes);
  return most < 0 ? -1 : wrote(__real_write(descriptor, data, (size_t)most));
}

ssize_t __wrap_pwrite(int descriptor, const void *data, size_t bytes, off_t place) {
  const ssize_t most = allowance(bytes);
  if (most > 0 && on && plan.lost) remember(descriptor, (size_t)most, place);
  return most < 0 ? -1 : wrote(__real_pwrite(descriptor, data, (size_t)most, place));
}

/* --- control ------------------------------------------------------------------------------------------------------ */

void inject_begin(const inject_plan *wanted) {
  json_set_alloc_funcs(ALLOCATOR(malloc), free);
  plan = *wanted;
  report = (inject_report){0};
  interrupted = false;
  on = true;
}

inject_report inject_end(void) {
  on = false;
  return report;
}
