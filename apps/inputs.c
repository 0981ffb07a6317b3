#include "apps/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/output.h"
#include "data/image.h"
#include "data/lines.h"

enum { DEEPEST = 64 };

static status keep(inputs *in, char *path) {
  if (!path) return STATUS_MEMORY;
  char **list = mem_room(in->path, in->n, &in->capacity, sizeof *list);
  if (!list) {
    free(path);
    return STATUS_MEMORY;
  }
  in->path = list;
  in->path[in->n++] = path;
  return STATUS_OK;
}

void inputs_free(inputs *in) {
  for (size_t i = 0; i < in->n; i++) free(in->path[i]);
  free(in->path);
  *in = (inputs){0};
}

/* The first bytes of a file; false if it cannot be read. */
static bool read_begin(const char *path, char *begin, size_t room, size_t *n) {
  FILE *file = fopen(path, "rb");
  if (!file) return false;
  *n = fread(begin, 1, room, file);
  const bool good = !ferror(file);
  fclose(file);
  return good;
}

/* Whether a file of a folder begins like a picture. One that cannot be read may be one: opening it will say why not. */
static bool may_be_picture(const char *path) {
  char begin[512];
  size_t n;
  return !read_begin(path, begin, sizeof begin, &n) || (n && image_recognised(begin, n));
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The paths of everything in a folder, sorted; a folder that cannot be read is named and has none. */
static status list_folder(inputs *names, const char *folder) {
  DIR *open = opendir(folder);
  if (!open) {
    complain("%s: cannot read the folder: %s", folder, strerror(errno));
    names->failed = true;
    return STATUS_OK;
  }
  status s = STATUS_OK;
  const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
  for (struct dirent *entry; !s && (entry = readdir(open));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    const size_t room = strlen(folder) + strlen(entry->d_name) + 2;
    char *path = mem_alloc(room, 1);
    if (path) snprintf(path, room, "%s%s%s", folder, slash, entry->d_name);
    s = keep(names, path);
  }
  closedir(open);
  if (names->n) qsort(names->path, names->n, sizeof *names->path, by_name);
  return s;
}

static status gather_folder(inputs *in, const char *folder, int depth) {
  inputs names = {0};
  status s = list_folder(&names, folder);
  in->failed |= names.failed;
  for (size_t i = 0; !s && i < names.n; i++) {
    struct stat info, link;
    const char *path = names.path[i];
    const bool missing = stat(path, &info) || lstat(path, &link); /* a link that leads nowhere */
    if (missing || (S_ISREG(info.st_mode) && may_be_picture(path)))
      s = keep(in, mem_string(path));
    else if (S_ISDIR(link.st_mode) && depth > 0)
      s = gather_folder(in, path, depth - 1);
  }
  inputs_free(&names);
  return s;
}

/* A folder that was asked for must hold a picture. */
static status gather_operand(inputs *in, const char *folder, int depth) {
  const size_t before = in->n;
  const bool failed_before = in->failed;
  in->failed = false;
  status s = gather_folder(in, folder, depth);
  if (!s && in->n == before && !in->failed) {
    complain("%s: there is no picture in this folder", folder);
    in->failed = true;
  }
  in->failed |= failed_before;
  return s;
}

/* The path that a list's line names; the caller frees it. */
static char *listed_path(const char *list, const char *line) {
  const char *slash = *line == '/' ? NULL : strrchr(list, '/');
  const size_t folder = slash ? (size_t)(slash - list) + 1 : 0, room = folder + strlen(line) + 1;
  char *path = mem_alloc(room, 1);
  if (path) snprintf(path, room, "%.*s%s", (int)folder, list, line);
  return path;
}

/* Whether a file is a list: no picture, and its first line names something that is there. */
static bool is_list(const char *path) {
  char begin[PATH_MAX + 1];
  size_t n;
  if (!read_begin(path, begin, sizeof begin - 1, &n) || !n || image_recognised(begin, n)) return false;
  begin[n] = 0;
  begin[strcspn(begin, "\r\n")] = 0;
  char *first = *begin ? listed_path(path, begin) : NULL;
  const bool there = first && !access(first, F_OK);
  free(first);
  return there;
}

static status gather_list(inputs *in, const char *path) {
  lines list;
  status s = lines_read(&list, path);
  for (size_t i = 0; !s && i < list.n; i++)
    if (*list.line[i]) s = keep(in, listed_path(path, list.line[i]));
  lines_free(&list);
  return s;
}

status inputs_gather(inputs *in, char *const *operand, size_t n, bool recursive) {
  status s = STATUS_OK;
  in->named_one = n == 1;
  for (size_t i = 0; !s && i < n; i++) {
    struct stat info;
    const bool there = !stat(operand[i], &info), folder = there && S_ISDIR(info.st_mode);
    const bool list = there && S_ISREG(info.st_mode) && is_list(operand[i]);
    in->named_one &= !folder && !list;
    s = folder ? gather_operand(in, operand[i], recursive ? DEEPEST : 0)
        : list ? gather_list(in, operand[i])
               : keep(in, mem_string(operand[i]));
  }
  return s;
}
