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
#include "data/json_lines.h"
#include "data/lines.h"
#include "kernels/file.h"

enum { DEEPEST = 64 };

/* Takes over what it is given, also on failure. */
static status keep_said(inputs *in, char *path, input_said said) {
  char **list = path ? mem_room(in->path, in->n, &in->capacity, sizeof *list) : NULL;
  input_said *room = NULL;
  if (list) {
    in->path = list;
    room = mem_room(in->said, in->n, &in->said_capacity, sizeof *room);
  }
  if (!room) {
    free(path);
    input_said_free(&said);
    return STATUS_MEMORY;
  }
  in->said = room;
  in->path[in->n] = path;
  in->said[in->n++] = said;
  return STATUS_OK;
}

static status keep(inputs *in, char *path) { return keep_said(in, path, (input_said){0}); }

void input_said_free(input_said *said) {
  free(said->caption);
  json_decref(said->fields);
  *said = (input_said){0};
}

void inputs_free(inputs *in) {
  for (size_t i = 0; i < in->n; i++) {
    free(in->path[i]);
    input_said_free(&in->said[i]);
  }
  free(in->path);
  free(in->said);
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

/* --- lists -------------------------------------------------------------------------------------------------------- */

/* The path that a list's line names; the caller frees it. */
static char *listed_path(const char *list, const char *line) {
  const char *slash = *line == '/' ? NULL : strrchr(list, '/');
  const size_t folder = slash ? (size_t)(slash - list) + 1 : 0, room = folder + strlen(line) + 1;
  char *path = mem_alloc(room, 1);
  if (path) snprintf(path, room, "%.*s%s", (int)folder, list, line);
  return path;
}

/* Whether a file is a list: no picture, and its first line names something that is there, or is an object. */
static bool is_list(const char *path) {
  char begin[PATH_MAX + 1];
  size_t n;
  if (!read_begin(path, begin, sizeof begin - 1, &n) || !n || image_recognised(begin, n)) return false;
  begin[n] = 0;
  if (begin[strspn(begin, " \t\r\n")] == '{') return true;
  begin[strcspn(begin, "\t\r\n")] = 0;
  char *first = *begin ? listed_path(path, begin) : NULL;
  const bool there = first && !access(first, F_OK);
  free(first);
  return there;
}

/* Captions with "; " between, of `text` that has them with tabs between; *joined is NULL if all are empty. */
static status join_captions(const char *text, char **joined) {
  char *out = mem_alloc(2 * strlen(text) + 1, 1);
  size_t n = 0;
  *joined = NULL;
  if (!out) return STATUS_MEMORY;
  while (*text) {
    const size_t length = strcspn(text, "\t");
    if (length && n) out[n++] = ';', out[n++] = ' ';
    memcpy(out + n, text, length);
    n += length;
    text += length + (text[length] == '\t');
  }
  out[n] = 0;
  if (n)
    *joined = out;
  else
    free(out);
  return STATUS_OK;
}

static status keep_row(inputs *in, const char *list, char *line) {
  char *tab = strchr(line, '\t');
  input_said said = {0};
  if (tab) *tab = 0;
  if (!*line) return STATUS_OK;
  const status s = tab ? join_captions(tab + 1, &said.caption) : STATUS_OK;
  return s ? s : keep_said(in, listed_path(list, line), said);
}

/* One caption more behind others, a tab between. */
static status add_caption(char **all, const json_t *one) {
  if (!json_is_string(one)) return fail(STATUS_FORMAT, "no string or list of strings under caption, captions or text");
  const size_t before = *all ? strlen(*all) + 1 : 0, n = json_string_length(one);
  if (strlen(json_string_value(one)) != n) return fail(STATUS_FORMAT, "a caption holds a zero byte");
  char *room = mem_grow(*all, before + n + 1, 1);
  if (!room) return STATUS_MEMORY;
  if (before) room[before - 1] = '\t';
  memcpy(room + before, json_string_value(one), n + 1);
  *all = room;
  return STATUS_OK;
}

static status captions_of(const json_t *said, char **joined) {
  char *all = NULL;
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < json_array_size(said); i++) s = add_caption(&all, json_array_get(said, i));
  if (!json_is_array(said)) s = add_caption(&all, said);
  if (!s && all) s = join_captions(all, joined);
  free(all);
  return s;
}

static bool is_one_of(const char *key, const char *const *names) {
  while (names && *names && strcmp(key, *names)) names++;
  return names && *names;
}

status input_line(const json_t *line, const char *const *left_out, const char **path, input_said *said) {
  static const char *const paths[] = {"image", "file_name", "path", NULL};
  static const char *const captions[] = {"caption", "captions", "text", NULL};
  const char *key, *found = NULL;
  json_t *value, *copy;
  status s = STATUS_OK;
  *said = (input_said){0};
  if (!json_is_object(line)) return fail(STATUS_FORMAT, "not an object");
  if (!(said->fields = json_object())) return fail(STATUS_MEMORY, "out of memory");
  json_object_foreach((json_t *)(uintptr_t)line, key, value) {
    if (is_one_of(key, paths)) {
      if (!found && json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value))
        found = json_string_value(value);
    } else if (is_one_of(key, captions)) {
      if (!s && !said->caption && !json_is_null(value)) s = captions_of(value, &said->caption);
    } else if (!strcmp(key, "metadata") && json_is_object(value)) {
      if (!(copy = json_deep_copy(value)) || json_object_update_missing(said->fields, copy))
        s = fail(STATUS_MEMORY, "out of memory");
      json_decref(copy);
    } else if (!is_one_of(key, left_out) && json_object_set_new(said->fields, key, json_deep_copy(value))) {
      s = fail(STATUS_MEMORY, "out of memory");
    }
  }
  if (path) *path = found && *found ? found : NULL;
  if (s) input_said_free(said);
  return s;
}

typedef struct {
  inputs *in;
  const char *list;
} list_reader;

static status keep_line(void *user, const json_t *value, size_t number) {
  const list_reader *r = user;
  const char *path;
  input_said said;
  (void)number;
  const status s = input_line(value, NULL, &path, &said);
  if (s) return s;
  if (path) return keep_said(r->in, listed_path(r->list, path), said);
  input_said_free(&said);
  return fail(STATUS_FORMAT, "no path of a picture under image, file_name or path");
}

static status gather_list(inputs *in, const char *path) {
  size_t n;
  char *text = file_read(path, LINES_MAX_BYTES, &n);
  if (!text) return last_status();
  if (json_lines_are(path, text, n)) {
    const status s = json_lines(path, text, n, keep_line, &(list_reader){in, path});
    free(text);
    return s;
  }
  lines list;
  status s = lines_parse(&list, text, n, path);
  for (size_t i = 0; !s && i < list.n; i++) s = keep_row(in, path, list.line[i]);
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
