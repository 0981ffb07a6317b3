#include "data/labelled.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/idx.h"
#include "data/json_lines.h"
#include "data/lines.h"
#include "data/tsv.h"
#include "kernels/file.h"

#define MOST_PICTURES ((size_t)1 << 28)

typedef struct {
  char *path, *label; /* the label only until all are known */
  int32_t target;
} entry;

struct labelled {
  char *path;
  label_names names;
  entry *item; /* of a folder or a list */
  size_t n, capacity;
  idx_array pictures, labels; /* of IDX files */
};

/* --- names -------------------------------------------------------------------------------------------------------- */

void label_names_free(label_names *names) {
  for (size_t i = 0; i < names->n; i++) free(names->name[i]);
  free(names->name);
  *names = (label_names){0};
}

static status add_name(label_names *names, const char *text, size_t length) {
  char **list = mem_room(names->name, names->n, &names->capacity, sizeof *list);
  if (!list) return STATUS_MEMORY;
  names->name = list;
  char *name = mem_alloc(length + 1, 1);
  if (!name) return STATUS_MEMORY;
  memcpy(name, text, length);
  name[length] = 0;
  names->name[names->n++] = name;
  return STATUS_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* STATUS_FORMAT if there is no name or one comes twice. */
static status check_names(const label_names *names, const char *where) {
  if (!names->n) return fail(STATUS_FORMAT, "%s: there is no name of a class", where);
  char **sorted = mem_alloc(names->n, sizeof *sorted);
  if (!sorted) return STATUS_MEMORY;
  memcpy(sorted, names->name, names->n * sizeof *sorted);
  qsort(sorted, names->n, sizeof *sorted, by_text);
  status s = STATUS_OK;
  for (size_t i = 1; !s && i < names->n; i++)
    if (!strcmp(sorted[i - 1], sorted[i])) s = fail(STATUS_FORMAT, "%s: '%.60s' comes twice", where, sorted[i]);
  free(sorted);
  return s;
}

status label_names_parse(label_names *names, const char *text, const char *where) {
  *names = (label_names){0};
  status s = STATUS_OK;
  for (const char *at = text; !s && *at;) {
    const size_t length = strcspn(at, "\n");
    if (length) s = add_name(names, at, length);
    at += length + (at[length] == '\n');
  }
  return s ? s : check_names(names, where);
}

status label_names_read(label_names *names, const char *path) {
  *names = (label_names){0};
  lines file;
  status s = lines_read(&file, path);
  for (size_t i = 0; !s && i < file.n; i++)
    if (*file.line[i]) s = add_name(names, file.line[i], strlen(file.line[i]));
  lines_free(&file);
  return s ? s : check_names(names, path);
}

char *label_names_text(const label_names *names) {
  size_t room = 1;
  for (size_t i = 0; i < names->n; i++) room += strlen(names->name[i]) + 1;
  char *text = mem_alloc(room, 1), *at = text;
  for (size_t i = 0; text && i < names->n; i++) at += sprintf(at, "%s\n", names->name[i]);
  if (text) *at = 0;
  return text;
}

/* --- gathering ---------------------------------------------------------------------------------------------------- */

/* Takes the path, also on failure. */
static status keep(labelled *set, char *path, const char *label) {
  char *own = path ? mem_string(label) : NULL;
  entry *list = own ? mem_room(set->item, set->n, &set->capacity, sizeof *list) : NULL;
  if (list) set->item = list;
  if (list && set->n < MOST_PICTURES) {
    set->item[set->n++] = (entry){.path = path, .label = own};
    return STATUS_OK;
  }
  free(path), free(own);
  return list ? fail(STATUS_MEMORY, "%s: more than %zu pictures", set->path, MOST_PICTURES) : STATUS_MEMORY;
}

/* "folder/name"; a name that begins at the root stays. NULL with a sentence. */
static char *path_in(const char *folder, size_t length, const char *name) {
  if (*name == '/' || !length) return mem_string(name);
  const size_t room = length + strlen(name) + 2;
  char *path = mem_alloc(room, 1);
  if (path) snprintf(path, room, "%.*s/%s", (int)length, folder, name);
  return path;
}

/* Visits what a folder holds in the order of names. */
typedef status (*visit_fn)(labelled *set, const char *path, const char *name, const char *label);
static status each_in(labelled *set, const char *folder, const char *label, visit_fn visit) {
  DIR *open = opendir(folder);
  if (!open) return fail(STATUS_IO, "%s: cannot read the folder: %s", folder, strerror(errno));
  label_names found = {0};
  status s = STATUS_OK;
  for (struct dirent *e; !s && (e = readdir(open));)
    if (e->d_name[0] != '.') s = add_name(&found, e->d_name, strlen(e->d_name));
  closedir(open);
  if (found.n) qsort(found.name, found.n, sizeof *found.name, by_text);
  for (size_t i = 0; !s && i < found.n; i++) {
    char *path = path_in(folder, strlen(folder), found.name[i]);
    s = path ? visit(set, path, found.name[i], label) : STATUS_MEMORY;
    free(path);
  }
  label_names_free(&found);
  return s;
}

/* A file that begins like a picture. One that cannot be read is kept: decoding it says why not. */
static status visit_file(labelled *set, const char *path, const char *name, const char *label) {
  (void)name;
  struct stat info;
  if (stat(path, &info) || !S_ISREG(info.st_mode)) return STATUS_OK;
  char begin[512];
  FILE *file = fopen(path, "rb");
  const size_t n = file ? fread(begin, 1, sizeof begin, file) : 0;
  const bool other = file && !ferror(file) && !(n && image_recognised(begin, n));
  if (file) fclose(file);
  return other ? STATUS_OK : keep(set, mem_string(path), label);
}

static status visit_class(labelled *set, const char *path, const char *name, const char *label) {
  (void)label;
  struct stat info;
  if (stat(path, &info) || !S_ISDIR(info.st_mode)) return STATUS_OK;
  if (strchr(name, '\n')) return fail(STATUS_FORMAT, "%s: the name of a class cannot have a line break", path);
  return each_in(set, path, name, visit_file);
}

static size_t folder_length(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) : 0;
}

static status take_json(void *user, const json_t *value, size_t line) {
  (void)line;
  labelled *set = user;
  const json_t *path = json_object_get(value, "image"), *label = json_object_get(value, "label");
  if (!json_is_string(path) || !json_is_string(label))
    return fail(STATUS_FORMAT, "expected {\"image\": \"path\", \"label\": \"name\"}");
  if (strlen(json_string_value(path)) != json_string_length(path) ||
      strcspn(json_string_value(label), "\n") != json_string_length(label))
    return fail(STATUS_FORMAT, "a path or a label with a zero byte or a line break");
  return keep(set, path_in(set->path, folder_length(set->path), json_string_value(path)), json_string_value(label));
}

static status gather_list(labelled *set) {
  size_t n;
  char *text = file_read(set->path, (uint64_t)1 << 30, &n);
  if (!text) return last_status();
  if (json_lines_are(set->path, text, n)) {
    const status s = json_lines(set->path, text, n, take_json, set);
    free(text);
    return s;
  }
  free(text);
  tsv *table = tsv_read(set->path, 2);
  status s = table ? STATUS_OK : last_status();
  for (size_t i = 0; !s && i < table->rows; i++)
    s = keep(set, path_in(set->path, folder_length(set->path), tsv_field(table, i, 0)), tsv_field(table, i, 1));
  tsv_free(table);
  return s;
}

/* --- targets ------------------------------------------------------------------------------------------------------ */

/* A name and which it is, in the order of names. */
typedef struct {
  const char *name;
  int32_t index;
} place;
static int by_place(const void *a, const void *b) { return strcmp(((const place *)a)->name, ((const place *)b)->name); }

static status own_names(labelled *set) {
  const char **all = mem_alloc(set->n, sizeof *all);
  if (!all) return STATUS_MEMORY;
  for (size_t i = 0; i < set->n; i++) all[i] = set->item[i].label;
  if (set->n) qsort(all, set->n, sizeof *all, by_text);
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < set->n; i++)
    if (!i || strcmp(all[i - 1], all[i])) s = add_name(&set->names, all[i], strlen(all[i]));
  free(all);
  return s;
}

static status set_targets(labelled *set) {
  const size_t K = set->names.n;
  place *sorted = mem_alloc(K, sizeof *sorted);
  if (!sorted) return STATUS_MEMORY;
  for (size_t k = 0; k < K; k++) sorted[k] = (place){set->names.name[k], (int32_t)k};
  if (K) qsort(sorted, K, sizeof *sorted, by_place);
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < set->n; i++) {
    entry *e = &set->item[i];
    const place *found = bsearch(&(place){e->label, 0}, sorted, K, sizeof *sorted, by_place);
    if (!found) s = fail(STATUS_FORMAT, "%s: its label '%.60s' is not among the %zu names", e->path, e->label, K);
    e->target = found ? found->index : 0;
    free(e->label);
    e->label = NULL;
  }
  free(sorted);
  return s;
}

/* --- IDX ---------------------------------------------------------------------------------------------------------- */

static status open_labels(labelled *set) {
  static const char pictures[] = "images-idx3", labels[] = "labels-idx1";
  char *path = mem_string(set->path);
  if (!path) return STATUS_MEMORY;
  char *at = strstr(path + folder_length(path), pictures);
  if (at) memcpy(at, labels, sizeof labels - 1);
  const status s = at ? idx_read(&set->labels, path, 1)
                      : fail(STATUS_ARGUMENT, "%s: the labels' file is looked for beside a file named like '%s'",
                             set->path, pictures);
  free(path);
  return s;
}

static status number_names(labelled *set) {
  size_t most = 0;
  for (size_t i = 0; i < set->n; i++)
    if (set->labels.values[i] > most) most = set->labels.values[i];
  status s = STATUS_OK;
  for (size_t k = 0; !s && k <= most; k++) {
    char name[8];
    const int n = snprintf(name, sizeof name, "%zu", k);
    s = add_name(&set->names, name, (size_t)n);
  }
  return s;
}

static status open_idx(labelled *set) {
  status s = idx_read(&set->pictures, set->path, 3);
  if (!s) s = open_labels(set);
  if (s) return s;
  set->n = set->pictures.dim[0];
  if (set->pictures.dim[1] > 1 << 15 || set->pictures.dim[2] > 1 << 15)
    return fail(STATUS_FORMAT, "%s: pictures of %zu x %zu pixels", set->path, set->pictures.dim[2],
                set->pictures.dim[1]);
  if (set->labels.dim[0] != set->n)
    return fail(STATUS_FORMAT, "%s: %zu pictures, but %zu labels", set->path, set->n, set->labels.dim[0]);
  if (!set->names.n) return number_names(set);
  for (size_t i = 0; i < set->n; i++)
    if (set->labels.values[i] >= set->names.n)
      return fail(STATUS_FORMAT, "%s: picture %zu has label %d, but there are %zu names", set->path, i,
                  set->labels.values[i], set->names.n);
  return STATUS_OK;
}

/* --- the set ------------------------------------------------------------------------------------------------------ */

static status open_files(labelled *set, bool folder) {
  status s = folder ? each_in(set, set->path, NULL, visit_class) : gather_list(set);
  if (!s && !set->n) s = fail(STATUS_FORMAT, "%s: there is no labelled picture", set->path);
  if (!s && !set->names.n) s = own_names(set);
  return s ? s : set_targets(set);
}

static status open_set(labelled *set, const label_names *names) {
  struct stat info;
  status s = STATUS_OK;
  for (size_t k = 0; !s && names && k < names->n; k++)
    s = add_name(&set->names, names->name[k], strlen(names->name[k]));
  if (s) return s;
  if (stat(set->path, &info)) return fail(STATUS_IO, "%s: %s", set->path, strerror(errno));
  if (S_ISDIR(info.st_mode)) return open_files(set, true);
  FILE *file = fopen(set->path, "rb");
  if (!file) return fail(STATUS_IO, "%s: %s", set->path, strerror(errno));
  char begin[2];
  const size_t n = fread(begin, 1, sizeof begin, file);
  fclose(file);
  return idx_may_be(begin, n) ? open_idx(set) : open_files(set, false);
}

labelled *labelled_open(const char *path, const label_names *names) {
  labelled *set = mem_zero(1, sizeof *set);
  if (!set) return NULL;
  if (!(set->path = mem_string(path)) || open_set(set, names)) {
    labelled_close(set);
    return NULL;
  }
  return set;
}

void labelled_close(labelled *set) {
  if (!set) return;
  for (size_t i = 0; set->item && i < set->n; i++) free(set->item[i].path), free(set->item[i].label);
  free(set->item);
  label_names_free(&set->names);
  idx_free(&set->pictures);
  idx_free(&set->labels);
  free(set->path);
  free(set);
}

const label_names *labelled_names(const labelled *set) { return &set->names; }
size_t labelled_count(const labelled *set) { return set->n; }
int32_t labelled_target(const labelled *set, size_t i) {
  return set->item ? set->item[i].target : set->labels.values[i];
}

image *labelled_picture(const labelled *set, size_t i) {
  if (set->item) return image_open(set->item[i].path, NULL);
  const size_t h = set->pictures.dim[1], w = set->pictures.dim[2];
  image *im = image_new(IMAGE_L, (int)w, (int)h);
  if (im) memcpy(im->pixels, set->pictures.values + i * h * w, h * w);
  return im;
}
