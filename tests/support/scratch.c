#include "tests/support/scratch.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int scratch_setup(void **state) {
  const char *where = getenv("TMPDIR");
  char folder[512];
  snprintf(folder, sizeof folder, "%s/linnet-test-XXXXXX", where && *where ? where : "/tmp");
  if (!mkdtemp(folder)) return -1;
  *state = strdup(folder);
  return *state ? 0 : -1;
}

void scratch_in_memory(void) {
  if (!access("/dev/shm", R_OK | W_OK | X_OK)) setenv("TMPDIR", "/dev/shm", 0);
}

char *scratch_path(void **state, const char *name) {
  const size_t room = strlen(*state) + strlen(name) + 2;
  char *path = malloc(room);
  assert_non_null(path);
  snprintf(path, room, "%s/%s", (const char *)*state, name);
  return path;
}

/* Counts the entries and, if asked, removes them. */
static int visit(void **state, int remove_them) {
  DIR *folder = opendir(*state);
  int n = 0;
  if (!folder) return -1;
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    n++;
    if (!remove_them) continue;
    char *path = scratch_path(state, entry->d_name);
    unlink(path);
    free(path);
  }
  closedir(folder);
  return n;
}

int scratch_entries(void **state) { return visit(state, 0); }

int scratch_teardown(void **state) {
  visit(state, 1);
  const int result = rmdir(*state);
  free(*state);
  return result;
}

char *scratch_read(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  const long size = ftell(file);
  assert_true(size >= 0);
  rewind(file);
  char *data = malloc((size_t)size + 1);
  assert_non_null(data);
  assert_int_equal(fread(data, 1, (size_t)size, file), size);
  fclose(file);
  data[size] = 0;
  if (bytes) *bytes = (size_t)size;
  return data;
}

void scratch_write(const char *path, const void *data, size_t bytes) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
}
