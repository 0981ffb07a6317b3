#include "data/pairs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "data/json_lines.h"
#include "data/tar.h"
#include "kernels/file.h"

/* --- entries ------------------------------------------------------------------------------------------------------ */

/* Begins an entry, whose captions follow; it counts once it is finished. */
static status begin(pairs *p, char *name, uint32_t archive, size_t offset, size_t size) {
  pair_entry *list = name ? mem_room(p->entry, p->n, &p->capacity, sizeof *list) : NULL;
  if (!list) {
    free(name);
    return STATUS_MEMORY;
  }
  p->entry = list;
  list[p->n] = (pair_entry){.name = name, .archive = archive, .offset = offset, .size = size, .first = p->n_captions};
  return STATUS_OK;
}

static void take_back(pairs *p) {
  pair_entry *e = &p->entry[p->n];
  while (p->n_captions > e->first) free(p->caption[--p->n_captions]);
  free(e->name);
}

static bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* A caption of the entry that was begun, without the white space around it; none if that is all there is. */
static status say(pairs *p, const char *text, size_t n) {
  while (n && blank(text[n - 1])) n--;
  while (n && blank(*text)) text++, n--;
  if (!n) return STATUS_OK;
  if (memchr(text, 0, n)) return fail(STATUS_FORMAT, "a caption holds a zero byte");
  if (p->entry[p->n].n == UINT32_MAX) return fail(STATUS_FORMAT, "too many captions");
  char **list = mem_room(p->caption, p->n_captions, &p->caption_capacity, sizeof *list);
  if (!list) return STATUS_MEMORY;
  p->caption = list;
  char *copy = mem_alloc(n + 1, 1);
  if (!copy) return STATUS_MEMORY;
  memcpy(copy, text, n);
  copy[n] = 0;
  p->caption[p->n_captions++] = copy;
  p->entry[p->n].n++;
  return STATUS_OK;
}

/* A caption on every line. */
static status say_lines(pairs *p, const char *text, size_t n) {
  status s = STATUS_OK;
  for (size_t at = 0, next; !s && at < n; at = next + 1) {
    const char *end = memchr(text + at, '\n', n - at);
    next = end ? (size_t)(end - text) : n;
    s = say(p, text + at, next - at);
  }
  return s;
}

/* The member of an object that has one of three names. */
static const json_t *member_of(const json_t *value, const char *const names[3]) {
  const json_t *found = NULL;
  for (int i = 0; !found && i < 3; i++) found = json_object_get(value, names[i]);
  return found;
}

static status say_json(pairs *p, const json_t *value) {
  static const char *const names[] = {"caption", "captions", "text"};
  const json_t *said = member_of(value, names);
  const size_t n = json_is_array(said) ? json_array_size(said) : 1;
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < n; i++) {
    const json_t *one = json_is_array(said) ? json_array_get(said, i) : said;
    s = json_is_string(one) ? say(p, json_string_value(one), json_string_length(one))
                            : fail(STATUS_FORMAT, "no string or list of strings under caption, captions or text");
  }
  return s;
}

static bool finish(pairs *p) {
  if (p->entry[p->n].n) {
    p->n++;
    return true;
  }
  take_back(p);
  return false;
}

void pairs_free(pairs *p) {
  for (size_t i = 0; i < p->n; i++) free(p->entry[i].name);
  for (size_t i = 0; i < p->n_captions; i++) free(p->caption[i]);
  for (size_t i = 0; i < p->n_archives; i++) {
    file_unmap(p->archive[i].data, p->archive[i].size);
    free(p->archive[i].path);
  }
  free(p->entry);
  free(p->caption);
  free(p->archive);
  *p = (pairs){0};
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

/* n bytes of a picture's path as a list at `list` means them; the caller frees it. */
static char *resolve(const char *list, const char *path, size_t n) {
  const char *slash = n && *path != '/' ? strrchr(list, '/') : NULL;
  const size_t before = slash ? (size_t)(slash - list) + 1 : 0;
  char *whole = mem_alloc(before + n + 1, 1);
  if (!whole) return NULL;
  memcpy(whole, list, before);
  memcpy(whole + before, path, n);
  whole[before + n] = 0;
  return whole;
}

static status no_caption(void) { return fail(STATUS_FORMAT, "no caption"); }

static status take_row(pairs *p, const char *list, const char *line, size_t n) {
  const char *tab = memchr(line, '\t', n);
  if (!tab || tab == line) return fail(STATUS_FORMAT, "expected a picture's path, a tab and a caption");
  if (memchr(line, 0, n)) return fail(STATUS_FORMAT, "a zero byte: this is not text");
  status s = begin(p, resolve(list, line, (size_t)(tab - line)), PAIRS_NO_ARCHIVE, 0, 0);
  if (s) return s;
  for (size_t at = (size_t)(tab - line) + 1, next; !s && at < n; at = next + 1) {
    tab = memchr(line + at, '\t', n - at);
    next = tab ? (size_t)(tab - line) : n;
    s = say(p, line + at, next - at);
  }
  if (s) take_back(p);
  return s ? s : finish(p) ? STATUS_OK : no_caption();
}

static status read_rows(pairs *p, const char *path, const char *text, size_t n) {
  size_t number = 0;
  for (size_t at = 0, next; at < n; at = next + 1) {
    const char *end = memchr(text + at, '\n', n - at);
    next = end ? (size_t)(end - text) : n;
    size_t length = next - at;
    number++;
    if (length && text[next - 1] == '\r') length--;
    if (!length || text[at] == '#') continue;
    if (take_row(p, path, text + at, length)) return fail_within("%s: line %zu", path, number);
  }
  return STATUS_OK;
}

typedef struct {
  pairs *p;
  const char *path;
} reader;

static status take_object(void *user, const json_t *value, size_t line) {
  static const char *const names[] = {"image", "file_name", "path"};
  const reader *r = user;
  (void)line;
  const json_t *name = member_of(value, names);
  if (!json_is_string(name) || !json_string_length(name) || strlen(json_string_value(name)) != json_string_length(name))
    return fail(STATUS_FORMAT, "no path of a picture under image, file_name or path");
  status s = begin(r->p, resolve(r->path, json_string_value(name), json_string_length(name)), PAIRS_NO_ARCHIVE, 0, 0);
  if (s) return s;
  s = say_json(r->p, value);
  if (s) take_back(r->p);
  return s ? s : finish(r->p) ? STATUS_OK : no_caption();
}

static status read_list(pairs *p, const char *path) {
  size_t n;
  char *text = file_read(path, PAIRS_MAX_BYTES, &n);
  if (!text) return last_status();
  const status s = json_lines_are(path, text, n) ? json_lines(path, text, n, take_object, &(reader){p, path})
                                                 : read_rows(p, path, text, n);
  free(text);
  return s;
}

/* --- archives ----------------------------------------------------------------------------------------------------- */

/* The sample whose members are coming. */
typedef struct {
  pairs *p;
  uint32_t archive;
  char key[TAR_NAME];
  size_t picture[2], text[2], json[2]; /* offset, size: 0 bytes is none */
  char *picture_name;
} shard;

/* How many bytes of a member's name are its sample's: up to the first dot after the last slash. */
static size_t key_length(const char *name) {
  const char *slash = strrchr(name, '/'), *dot = strchr(slash ? slash : name, '.');
  return dot ? (size_t)(dot - name) : strlen(name);
}

static bool ends_in(const char *name, const char *end) {
  const size_t n = strlen(name), m = strlen(end);
  return n >= m && !strcasecmp(name + n - m, end);
}

static status json_of_sample(pairs *p, const char *bytes, size_t n) {
  json_error_t wrong;
  json_t *value = json_loadb(bytes, n, JSON_ALLOW_NUL, &wrong);
  const status s = value ? say_json(p, value) : fail(STATUS_FORMAT, "not JSON: %s", wrong.text);
  json_decref(value);
  return s;
}

static status sample_end(shard *h) {
  const char *bytes = h->p->archive[h->archive].data;
  status s = STATUS_OK;
  if (h->picture[1] && (h->text[1] || h->json[1])) {
    s = begin(h->p, h->picture_name, h->archive, h->picture[0], h->picture[1]);
    h->picture_name = NULL;
    if (s) return s;
    s = h->text[1] ? say_lines(h->p, bytes + h->text[0], h->text[1])
                   : json_of_sample(h->p, bytes + h->json[0], h->json[1]);
    if (s) take_back(h->p);
    if (s) return fail_within("%s: %s", h->p->archive[h->archive].path, h->key);
    if (!finish(h->p)) h->p->unpaired++;
  } else if (*h->key) {
    h->p->unpaired++;
  }
  free(h->picture_name);
  *h = (shard){.p = h->p, .archive = h->archive};
  return STATUS_OK;
}

static status take_member(void *user, const char *name, size_t offset, size_t size) {
  shard *h = user;
  const size_t n = key_length(name);
  if (strncmp(h->key, name, n) || h->key[n]) {
    const status s = sample_end(h);
    if (s) return s;
    memcpy(h->key, name, n);
    h->key[n] = 0;
  }
  size_t *place = NULL;
  if (ends_in(name, ".txt"))
    place = h->text;
  else if (ends_in(name, ".json"))
    place = h->json;
  else if (!h->picture_name && image_recognised((const char *)h->p->archive[h->archive].data + offset, size)) {
    place = h->picture;
    if (!(h->picture_name = mem_string(name))) return STATUS_MEMORY;
  }
  if (place) place[0] = offset, place[1] = size;
  return STATUS_OK;
}

/* Adds a mapped archive, which belongs to the list from here on. */
static status read_archive(pairs *p, const char *path, const void *data, size_t size) {
  pair_archive *list = mem_room(p->archive, p->n_archives, &p->archive_capacity, sizeof *list);
  if (list) p->archive = list;
  char *copy = list ? mem_string(path) : NULL;
  if (!copy) {
    file_unmap(data, size);
    return STATUS_MEMORY;
  }
  list[p->n_archives++] = (pair_archive){copy, data, size};
  shard h = {.p = p, .archive = (uint32_t)(p->n_archives - 1)};
  status s = tar_members(path, data, size, take_member, &h);
  if (!s) s = sample_end(&h);
  free(h.picture_name);
  return s;
}

/* --- folders ------------------------------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

typedef struct {
  char **name;
  size_t n, capacity;
} names;

static status list_folder(names *list, const char *folder) {
  DIR *open = opendir(folder);
  if (!open) return fail(STATUS_IO, "%s: cannot read the folder: %s", folder, strerror(errno));
  status s = STATUS_OK;
  for (struct dirent *entry; !s && (entry = readdir(open));) {
    char **room = mem_room(list->name, list->n, &list->capacity, sizeof *room), *copy = NULL;
    if (room) list->name = room;
    if (!room || !(copy = mem_string(entry->d_name))) s = STATUS_MEMORY;
    if (!s) list->name[list->n++] = copy;
  }
  closedir(open);
  if (list->n) qsort(list->name, list->n, sizeof *list->name, by_name);
  return s;
}

/* Whether a file begins like a picture; one that cannot be read may be one, and opening it will say why not. */
static bool is_picture(const char *path) {
  char first[512];
  FILE *file = fopen(path, "rb");
  if (!file) return true;
  const size_t n = fread(first, 1, sizeof first, file);
  fclose(file);
  return n && image_recognised(first, n);
}

/* The picture beside the text list->name[t]: the first file of that name with another end. *path may become NULL. */
static status beside(const names *list, size_t t, const char *inside, char **path) {
  const size_t stem = strlen(list->name[t]) - (sizeof ".txt" - 1);
  *path = NULL;
  for (size_t i = 0; i < list->n; i++) {
    const char *name = list->name[i];
    if (i == t || strncmp(name, list->name[t], stem) || name[stem] != '.' || strchr(name + stem + 1, '.')) continue;
    if (!(*path = resolve(inside, name, strlen(name)))) return STATUS_MEMORY;
    if (is_picture(*path)) return STATUS_OK;
    free(*path);
    *path = NULL;
  }
  return STATUS_OK;
}

static status take_text(pairs *p, const names *list, size_t t, const char *inside) {
  char *picture, *path = resolve(inside, list->name[t], strlen(list->name[t]));
  size_t n;
  status s = path ? beside(list, t, inside, &picture) : STATUS_MEMORY;
  char *text = s || !picture ? NULL : file_read(path, PAIRS_MAX_BYTES, &n);
  if (!s && picture && !text) {
    free(picture);
    s = last_status();
  } else if (text) {
    s = begin(p, picture, PAIRS_NO_ARCHIVE, 0, 0);
    if (!s && (s = say_lines(p, text, n))) {
      take_back(p);
      s = fail_within("%s", path);
    } else if (!s && !finish(p)) {
      p->unpaired++;
    }
  } else if (!s) {
    p->unpaired++;
  }
  free(text);
  free(path);
  return s;
}

static status read_file(pairs *p, const char *path);

static status read_folder(pairs *p, const char *folder) {
  names list = {0};
  status s = list_folder(&list, folder);
  const size_t length = strlen(folder);
  char *inside = mem_alloc(length + 2, 1); /* what names are resolved against */
  if (!inside) s = STATUS_MEMORY;
  if (inside) snprintf(inside, length + 2, "%s%s", folder, length && folder[length - 1] == '/' ? "" : "/");
  for (size_t i = 0; !s && i < list.n; i++) {
    if (ends_in(list.name[i], ".txt")) s = take_text(p, &list, i, inside);
    if (!ends_in(list.name[i], ".tar")) continue;
    char *path = resolve(inside, list.name[i], strlen(list.name[i]));
    s = path ? read_file(p, path) : STATUS_MEMORY;
    free(path);
  }
  for (size_t i = 0; i < list.n; i++) free(list.name[i]);
  free(list.name);
  free(inside);
  return s;
}

/* --- anything ----------------------------------------------------------------------------------------------------- */

static status read_file(pairs *p, const char *path) {
  const void *data;
  size_t size;
  if (!file_map(path, &data, &size)) {
    if (tar_is(data, size)) return read_archive(p, path, data, size);
    file_unmap(data, size);
  }
  return ends_in(path, ".tar") ? fail(STATUS_FORMAT, "%s: not a tar archive", path) : read_list(p, path);
}

status pairs_read(pairs *p, const char *path) {
  struct stat info;
  const size_t before = p->n;
  const bool folder = !stat(path, &info) && S_ISDIR(info.st_mode);
  const status s = folder ? read_folder(p, path) : read_file(p, path);
  if (s) return s;
  return p->n > before ? STATUS_OK : fail(STATUS_FORMAT, "%s: there is no picture with a caption in it", path);
}

image *pairs_picture(const pairs *p, size_t i) {
  const pair_entry *e = &p->entry[i];
  if (e->archive == PAIRS_NO_ARCHIVE) return image_open(e->name, NULL);
  const pair_archive *a = &p->archive[e->archive];
  image *im = image_decode((const char *)a->data + e->offset, e->size, e->name, NULL);
  if (!im) fail_within("%s", a->path);
  return im;
}

/* FNV-1a of a text and the zero byte after it. */
static uint64_t mixed(uint64_t h, const char *text) {
  do h = (h ^ (uint8_t)*text) * 0x100000001b3;
  while (*text++);
  return h;
}

size_t pairs_captions(const pairs *p, const char **texts, int32_t *entry_of) {
  size_t n = 0;
  for (size_t i = 0; i < p->n; i++)
    for (uint32_t k = 0; k < p->entry[i].n; k++) {
      texts[n] = pairs_caption(p, i, k);
      entry_of[n++] = (int32_t)i;
    }
  return n;
}

uint64_t pairs_digest(const pairs *p) {
  uint64_t h = 0xcbf29ce484222325;
  for (size_t i = 0; i < p->n; i++) {
    const char *slash = strrchr(p->entry[i].name, '/'); /* the list may be moved */
    h = mixed(h, slash ? slash + 1 : p->entry[i].name);
    for (uint32_t k = 0; k < p->entry[i].n; k++) h = mixed(h, pairs_caption(p, i, k));
  }
  return h;
}
