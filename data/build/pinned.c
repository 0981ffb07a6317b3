/* Manifests (data/build/pinned.h). */
#include "data/build/pinned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/tsv.h"
#include "kernels/atomic_file.h"
#include "kernels/file.h"

/* The first line at which two texts (zero-terminated, no other zero byte) differ; 0 if they do not. */
static unsigned first_difference(const char *a, const char *b) {
  unsigned line = 1;
  for (; *a == *b; a++, b++) {
    if (*a == 0) return 0;
    line += *a == '\n';
  }
  return line;
}

status pinned_check(const char *path, const char *fresh) {
  size_t n;
  char *pinned = file_read(path, TSV_MAX_BYTES, &n);
  if (pinned == NULL) return last_status();
  unsigned line = first_difference(pinned, fresh);
  free(pinned);
  if (line == 0) return STATUS_OK;
  return fail(STATUS_FORMAT,
              "what was built is not what %s pins: the first difference is in line %u. The sources or the rules have "
              "changed; use --renew to make a new split",
              path, line);
}

status pinned_settle(const char *path, bool renew, const char *fresh, size_t bytes) {
  if (!renew && access(path, F_OK) == 0) return pinned_check(path, fresh);
  atomic_file *file = atomic_file_create(path);
  if (file == NULL) return last_status();
  atomic_file_write(file, fresh, bytes);
  return atomic_file_commit(file);
}

/* Creates the folders that lead to a file. */
void folders_make(const char *path) {
  char folder[1024];
  snprintf(folder, sizeof folder, "%s", path);
  for (char *slash = strchr(folder + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(folder, 0777);
    *slash = '/';
  }
}
