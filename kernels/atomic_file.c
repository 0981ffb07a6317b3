#include "kernels/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux keeps a file in memory in pieces as large as those it was written in, up to its large pages; who maps it later
 * reads faster from large ones, and is there sooner. */
enum { PIECE = 2 << 20 };

struct atomic_file {
  int fd; /* -1 once closed */
  status failed;
  char *path, *temporary;
  char *piece; /* what waits to be written: at the end of the file, which is a multiple of PIECE until the last one */
  size_t waiting;
};

/* The name to replace: where a symbolic link leads if there is something there, else the name itself. */
static char *resolve(const char *path) {
  struct stat info;
  if (!*path) return fail_null(STATUS_IO, "cannot write to a file without a name");
  if (stat(path, &info))
    return errno == ENOENT ? mem_string(path) : fail_null(STATUS_IO, "cannot write %s: %s", path, strerror(errno));
  if (S_ISDIR(info.st_mode)) return fail_null(STATUS_IO, "cannot write %s: it is a folder", path);
  if (!S_ISREG(info.st_mode)) return fail_null(STATUS_IO, "cannot write %s: it is not a regular file", path);
  char *real = realpath(path, NULL);
  return real ? real
              : fail_null(errno == ENOMEM ? STATUS_MEMORY : STATUS_IO, "cannot write %s: %s", path, strerror(errno));
}

/* A name that nobody uses; O_EXCL decides. Unlike mkstemp this keeps the permissions that the user's umask asks for. A
 * long name is cut, so that its temporary is not longer than file systems allow. */
static status open_temporary(atomic_file *f) {
  enum { KEPT = 200 };
  const char *slash = strrchr(f->path, '/'), *name = slash ? slash + 1 : f->path;
  const size_t kept = (size_t)(name - f->path) + strnlen(name, KEPT), room = kept + 64;
  if (!(f->temporary = mem_alloc(room, 1))) return last_status();
  for (int n = 0; n < 1000; n++) {
    snprintf(f->temporary, room, "%.*s.%ld-%d.tmp", (int)kept, f->path, (long)getpid(), n);
    f->fd = open(f->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (f->fd >= 0) return STATUS_OK;
    if (errno != EEXIST) break;
  }
  return fail(STATUS_IO, "cannot write %s: %s", f->path, errno == ENOENT ? "there is no such folder" : strerror(errno));
}

static void release(atomic_file *f) {
  free(f->piece);
  free(f->path);
  free(f->temporary);
  free(f);
}

atomic_file *atomic_file_create(const char *path) {
  atomic_file *f = mem_zero(1, sizeof *f);
  if (!f) return NULL;
  f->fd = -1;
  if ((f->path = resolve(path)) && !open_temporary(f)) return f;
  release(f);
  return NULL;
}

/* Writes at the end (place < 0) or at a place. */
static status put(atomic_file *f, off_t place, const char *at, size_t bytes) {
  while (bytes && !f->failed) {
    /* Fewer bytes than asked are no failure. */
    const ssize_t written = place < 0 ? write(f->fd, at, bytes) : pwrite(f->fd, at, bytes, place);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      return f->failed = fail(STATUS_IO, "cannot write %s: %s", f->path, written ? strerror(errno) : "no space left");
    at += written;
    bytes -= (size_t)written;
    if (place >= 0) place += written;
  }
  return f->failed;
}

static status put_piece(atomic_file *f) {
  const size_t bytes = f->waiting;
  f->waiting = 0;
  return put(f, -1, f->piece, bytes);
}

status atomic_file_write(atomic_file *f, const void *data, size_t bytes) {
  const char *at = data;
  if (!f->piece && !f->failed && !(f->piece = mem_alloc(PIECE, 1))) f->failed = last_status();
  for (size_t n; bytes && !f->failed; at += n, bytes -= n) {
    n = bytes < PIECE - f->waiting ? bytes : PIECE - f->waiting;
    memcpy(f->piece + f->waiting, at, n);
    f->waiting += n;
    if (f->waiting == PIECE) put_piece(f);
  }
  return f->failed;
}

status atomic_file_patch(atomic_file *f, size_t offset, const void *data, size_t bytes) {
  put_piece(f); /* which may hold them; if it fails, so does what follows */
  return put(f, (off_t)offset, data, bytes);
}

/* Makes the new name durable. Some file systems cannot sync a folder (EINVAL); there the rename has to do. Nothing is
 * allocated, since the file has its name: the temporary's, in the same folder, has served and is cut down to it. */
static status sync_folder(atomic_file *f) {
  char *folder = f->temporary, *slash = strrchr(folder, '/');
  if (!slash)
    strcpy(folder, "."); /* a path without a slash has at least one byte */
  else
    slash[slash == folder] = 0; /* the root keeps its slash */
  const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  /* A folder that may be written but not listed cannot be opened, and so not be synced either. */
  const bool ok = fd < 0 ? errno == EACCES : !fsync(fd) || errno == EINVAL;
  const status result = ok ? STATUS_OK
                           : fail(STATUS_IO, "%s is written, but its folder %s could not be synced: %s", f->path,
                                  folder, strerror(errno));
  if (fd >= 0) close(fd);
  return result;
}

int atomic_file_descriptor(const atomic_file *f) { return f->fd; }

/* A link, unlike a renaming, fails if the name is taken. Where there are no links, looking first has to do. */
static status take_name(atomic_file *f) {
  struct stat info;
  int error = link(f->temporary, f->path) ? errno : 0;
  if (error && error != EEXIST) error = !lstat(f->path, &info) ? EEXIST : rename(f->temporary, f->path) ? errno : 0;
  if (error == EEXIST) return fail(STATUS_ARGUMENT, "cannot make %s: something has that name already", f->path);
  if (error) return fail(STATUS_IO, "cannot rename %s to %s: %s", f->temporary, f->path, strerror(error));
  unlink(f->temporary); /* it is left only where it was linked */
  return STATUS_OK;
}

static status replace_name(atomic_file *f) {
  return rename(f->temporary, f->path)
             ? fail(STATUS_IO, "cannot rename %s to %s: %s", f->temporary, f->path, strerror(errno))
             : STATUS_OK;
}

static status commit(atomic_file *f, status (*name)(atomic_file *f)) {
  status result = put_piece(f);
  if (!result && fsync(f->fd)) result = fail(STATUS_IO, "cannot sync %s to the disk: %s", f->path, strerror(errno));
  const int fd = f->fd;
  f->fd = -1;
  if (close(fd) && !result) result = fail(STATUS_IO, "cannot write %s: %s", f->path, strerror(errno));
  if (!result) result = name(f);
  if (result) {
    unlink(f->temporary);
  } else {
    result = sync_folder(f);
  }
  release(f);
  return result;
}

status atomic_file_commit(atomic_file *f) { return commit(f, replace_name); }
status atomic_file_commit_new(atomic_file *f) { return commit(f, take_name); }

void atomic_file_abandon(atomic_file *f) {
  if (!f) return;
  if (f->fd >= 0) close(f->fd);
  unlink(f->temporary);
  release(f);
}
