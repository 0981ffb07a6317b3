/* Pictures of OpenClipart: which files, what they show, who made them. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/build/build.h"
#include "kernels/file.h"

enum { MAX_PATH_BYTES = 1024, MAX_TEXT = 256, MAX_DEPTH = 16 };

/* ---- all PNG files below a folder, sorted ---- */

typedef struct {
  char **path; /* relative to the root */
  size_t n, room;
} path_list;

static void path_list_free(path_list *list) {
  for (size_t i = 0; i < list->n; i++) free(list->path[i]);
  free(list->path);
}

static status path_list_add(path_list *list, const char *path) {
  char **paths = mem_room(list->path, list->n, &list->room, sizeof *paths);
  if (paths == NULL) return last_status();
  list->path = paths;
  list->path[list->n] = mem_string(path);
  return list->path[list->n++] != NULL ? STATUS_OK : last_status();
}

static bool ends_in_png(const char *name) {
  size_t n = strlen(name);
  return n > 4 && strcmp(name + n - 4, ".png") == 0;
}

static status list_folder(const char *root, const char *below, int depth, path_list *out) {
  char path[MAX_PATH_BYTES];
  snprintf(path, sizeof path, "%s/%s", root, below);
  DIR *folder = opendir(path);
  if (folder == NULL) {
    return fail(STATUS_IO, "cannot open the folder %s: %s; scripts/data installs the package", path, strerror(errno));
  }
  status s = STATUS_OK;
  for (struct dirent *e = readdir(folder); s == STATUS_OK && e != NULL; e = readdir(folder)) {
    char inner[MAX_PATH_BYTES];
    struct stat info;
    if (e->d_name[0] == '.') continue;
    int n = snprintf(inner, sizeof inner, "%s%s%s", below, *below != 0 ? "/" : "", e->d_name);
    int m = snprintf(path, sizeof path, "%s/%s", root, inner);
    if (n >= MAX_PATH_BYTES || m >= MAX_PATH_BYTES || stat(path, &info) != 0) continue;
    if (S_ISDIR(info.st_mode) && depth < MAX_DEPTH) s = list_folder(root, inner, depth + 1, out);
    if (S_ISREG(info.st_mode) && ends_in_png(e->d_name)) s = path_list_add(out, inner);
  }
  closedir(folder);
  return s;
}

static int compare_paths(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* ---- what a PNG file says about itself ---- */

typedef struct {
  uint8_t *bytes;
  size_t n;
  uint32_t width, height;
  char title[MAX_TEXT], author[MAX_TEXT];
} png_file;

static uint32_t big32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A tEXt chunk: keyword, zero byte, Latin-1 text without a zero byte. */
static void take_text(png_file *png, const uint8_t *data, size_t n) {
  const uint8_t *zero = memchr(data, 0, n);
  if (zero == NULL) return;
  char *to = strcmp((const char *)data, "Title") == 0    ? png->title
             : strcmp((const char *)data, "Author") == 0 ? png->author
                                                         : NULL;
  size_t length = n - (size_t)(zero - data) - 1;
  if (to != NULL) snprintf(to, MAX_TEXT, "%.*s", (int)(length < MAX_TEXT ? length : MAX_TEXT), (const char *)zero + 1);
}

static void read_chunks(png_file *png) {
  size_t at = 8;
  if (png->n < 33) return;
  png->width = big32(png->bytes + 16);
  png->height = big32(png->bytes + 20);
  while (png->n - at >= 12) {
    size_t length = big32(png->bytes + at);
    if (length > png->n - at - 12) return;
    if (memcmp(png->bytes + at + 4, "tEXt", 4) == 0) take_text(png, png->bytes + at + 8, length);
    at += 12 + length;
  }
}

static status read_file(const char *path, png_file *png) {
  png->bytes = file_read(path, IMAGE_MAX_BYTES, &png->n);
  if (png->bytes == NULL) return last_status();
  read_chunks(png);
  return STATUS_OK;
}

/* ---- names and authors ---- */

typedef struct {
  const char *png_root, *svg_root;
  tsv *exclude, *authors;
  const name_table *names;
  candidate_list *out;
  source_counts *counts;
} collection;

static bool is_excluded(const collection *c, const char *path) {
  for (size_t r = 0; r < c->exclude->rows; r++) {
    const char *prefix = tsv_field(c->exclude, r, 0);
    if (strncmp(path, prefix, strlen(prefix)) == 0) return true;
  }
  return false;
}

/* Lower-case words without e-mail addresses; one name for a person who signs in several ways (authors.tsv). */
static void normal_author(const collection *c, const char *signature, char *author) {
  char plain[MAX_TEXT];
  snprintf(plain, sizeof plain, "%s", signature);
  char *address = strpbrk(plain, "[<,");
  if (address != NULL) *address = 0;
  for (char *p = plain; *p != 0; p++) {
    if ((unsigned char)*p >= 0x80) *p = '\''; /* accents come in several encodings: leave them out */
  }
  normal_words(plain, author, MAX_TEXT);
  for (size_t r = 0; r < c->authors->rows; r++) {
    if (strcmp(author, tsv_field(c->authors, r, 0)) == 0) snprintf(author, MAX_TEXT, "%s", tsv_field(c->authors, r, 1));
  }
  if (*author == 0) snprintf(author, MAX_TEXT, "unknown");
}

/* File names are made of title and author, cut off: "cavallo_architetto_franc_01". Leaves the part before the author.
 */
static void cut_author(char *name, const char *author) {
  char words[MAX_TEXT], *rest = words;
  snprintf(words, sizeof words, "%s", author);
  for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
    char *start = strlen(word) >= 3 ? strchr(name, ' ') : NULL;
    for (; start != NULL; start = strchr(start + 1, ' ')) {
      size_t n = strcspn(start + 1, " ");
      if (n >= 3 && n <= strlen(word) && strncmp(start + 1, word, n) == 0) *start = 0;
    }
  }
}

/* The kind that the only fitting keyword says; none if several fit. Only animals: elsewhere keywords tell what a
 * picture is about rather than what it shows. */
static int64_t kind_of_keywords(const collection *c, const char *path, const char *place) {
  if (strncmp(place, "animals", strlen("animals")) != 0) return NAME_UNKNOWN;
  char svg[MAX_PATH_BYTES];
  snprintf(svg, sizeof svg, "%s/%.*s.svg", c->svg_root, (int)(strlen(path) - 4), path);
  char *words = svg_keywords(svg), *rest = words;
  int64_t kind = NAME_UNKNOWN;
  if (words == NULL) return NAME_UNKNOWN;
  for (char *word = strtok_r(words, "\n", &rest); word != NULL; word = strtok_r(NULL, "\n", &rest)) {
    int64_t said = kind_of_name(c->names, word, place);
    if (said < 0 || said == kind) continue;
    kind = kind == NAME_UNKNOWN ? said : NAME_REJECTED;
  }
  free(words);
  return kind;
}

static int64_t kind_of_file(const collection *c, const char *path, const png_file *png, const char *author) {
  char place[MAX_PATH_BYTES], name[MAX_TEXT];
  const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
  snprintf(place, sizeof place, "%.*s", slash != NULL ? (int)(slash - path) : 0, path);
  int64_t kind = kind_of_name(c->names, png->title, place);
  if (kind != NAME_UNKNOWN) return kind;
  char stem[MAX_TEXT], signature[MAX_TEXT];
  snprintf(stem, sizeof stem, "%.*s", (int)(strlen(base) - 4), base);
  normal_words(stem, name, sizeof name);
  normal_words(png->author, signature, sizeof signature);
  cut_author(name, signature);
  cut_author(name, author);
  kind = kind_of_name(c->names, name, place);
  return kind != NAME_UNKNOWN ? kind : kind_of_keywords(c, path, place);
}

/* ---- one file ---- */

static status take_object(collection *c, const char *path, const png_file *png, const char *author, uint32_t kind) {
  image *whole = image_decode(png->bytes, png->n, path, NULL);
  if (whole == NULL) {
    c->counts->damaged++;
    fprintf(stderr, "left out: %s\n", last_error());
    return STATUS_OK;
  }
  image *object = cut_out(whole);
  image_free(whole);
  if (object == NULL) {
    if (last_status() != STATUS_UNSUPPORTED) return last_status();
    c->counts->without_object++;
    return STATUS_OK;
  }
  bool copy;
  status s = candidate_add(c->out, path, author, kind, SOURCE_CLIPART, object, &copy);
  c->counts->copies += copy;
  return s;
}

static status take_png(collection *c, const char *path, const png_file *png) {
  char author[MAX_TEXT];
  normal_author(c, png->author, author);
  int64_t kind = kind_of_file(c, path, png, author);
  if (kind < 0) {
    c->counts->unnamed += kind == NAME_UNKNOWN;
    c->counts->rejected += kind == NAME_REJECTED;
    return STATUS_OK;
  }
  if ((uint64_t)png->width * png->height > IMAGE_MAX_PIXELS) {
    c->counts->too_large++;
    fprintf(stderr, "left out: %s has %u x %u pixels\n", path, png->width, png->height);
    return STATUS_OK;
  }
  return take_object(c, path, png, author, (uint32_t)kind);
}

static status take_file(collection *c, const char *path) {
  char full[MAX_PATH_BYTES];
  png_file png = {0};
  c->counts->files++;
  if (is_excluded(c, path)) {
    c->counts->excluded++;
    return STATUS_OK;
  }
  snprintf(full, sizeof full, "%s/%s", c->png_root, path);
  status s = read_file(full, &png);
  if (s == STATUS_OK) s = take_png(c, path, &png);
  free(png.bytes);
  return s;
}

status clipart_collect(const char *png_root, const char *svg_root, const char *tables, const name_table *names,
                       candidate_list *out, source_counts *counts) {
  char path[MAX_PATH_BYTES];
  path_list files = {0};
  collection c = {.png_root = png_root, .svg_root = svg_root, .names = names, .out = out, .counts = counts};
  snprintf(path, sizeof path, "%s/exclude.tsv", tables);
  c.exclude = tsv_read(path, 2);
  snprintf(path, sizeof path, "%s/authors.tsv", tables);
  c.authors = tsv_read(path, 2);
  status s = c.exclude == NULL || c.authors == NULL ? last_status() : list_folder(png_root, "", 0, &files);
  if (s == STATUS_OK) qsort(files.path, files.n, sizeof *files.path, compare_paths);
  for (size_t i = 0; s == STATUS_OK && i < files.n; i++) s = take_file(&c, files.path[i]);
  path_list_free(&files);
  tsv_free(c.exclude);
  tsv_free(c.authors);
  return s;
}
