#include "kernels/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static status cannot_open(const char *path) {
  return *path ? fail(STATUS_IO, "%s: cannot open: %s", path, strerror(errno))
               : fail(STATUS_IO, "cannot open a file without a name");
}
static status cannot_read(const char *name) { return fail(STATUS_IO, "%s: cannot read: %s", name, strerror(errno)); }

/* An interrupted call is not repeated: who catches a signal and wants to read on asks for SA_RESTART. */
static status read_all(int descriptor, const char *name, uint64_t most, char **bytes, size_t *size) {
  for (size_t room = 1 << 16;; room *= 2) { /* memory is short long before this overflows */
    char *grown = mem_grow(*bytes, room, 1);
    if (!grown) return last_status();
    *bytes = grown;
    while (*size < room) {
      const ssize_t n = read(descriptor, *bytes + *size, room - *size);
      if (n < 0) return cannot_read(name);
      if (n == 0) {
        (*bytes)[*size] = 0;
        return STATUS_OK;
      }
      *size += (size_t)n;
      if (*size > most)
        return fail(STATUS_MEMORY, "%s: the file is over the limit of %llu bytes", name, (unsigned long long)most);
    }
  }
}

void *file_read_open(int descriptor, const char *name, uint64_t most, size_t *size) {
  char *bytes = NULL;
  *size = 0;
  if (!read_all(descriptor, name, most, &bytes, size)) return bytes;
  free(bytes);
  return NULL;
}

void *file_read(const char *path, uint64_t most, size_t *size) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    cannot_open(path);
    return NULL;
  }
  void *bytes = file_read_open(descriptor, path, most, size);
  close(descriptor);
  return bytes;
}

status file_map_open(int descriptor, const char *name, const void **data, size_t *size) {
  struct stat info;
  if (fstat(descriptor, &info)) return cannot_read(name);
  if (S_ISDIR(info.st_mode)) return fail(STATUS_IO, "%s: is a folder, not a file", name);
  if (!S_ISREG(info.st_mode)) return fail(STATUS_IO, "%s: is not a regular file", name);
  if ((uintmax_t)info.st_size > PTRDIFF_MAX) return fail(STATUS_MEMORY, "%s: is too large to be mapped", name);
  const size_t bytes = (size_t)info.st_size;
  void *mapping = bytes ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0) : ""; /* mmap takes no empty ones */
  if (mapping == MAP_FAILED) return fail(STATUS_IO, "%s: cannot map: %s", name, strerror(errno));
  /* Many small pages take time when they are first touched and when memory is read fast. A hint: that it fails is no
   * harm. */
  if (bytes) madvise(mapping, bytes, MADV_HUGEPAGE);
  *data = mapping;
  *size = bytes;
  return STATUS_OK;
}

int file_open(const char *path) {
  /* O_NONBLOCK: opening a FIFO must not wait for a writer before it can be refused. */
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) cannot_open(path);
  return descriptor;
}

status file_map(const char *path, const void **data, size_t *size) {
  const int descriptor = file_open(path);
  if (descriptor < 0) return STATUS_IO;
  const status result = file_map_open(descriptor, path, data, size);
  close(descriptor);
  return result;
}

void file_unmap(const void *data, size_t size) {
  if (size) munmap((void *)(uintptr_t)data, size);
}

void file_forget(const void *data, size_t size) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
  const uintptr_t begin = at / page * page, end = (at + size) / page * page; /* what follows is yet to be read */
  if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);       /* a hint: that it fails is no harm */
}
