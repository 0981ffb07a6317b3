/* Opening, recognising and looking things up, for every container. */
#include "weights/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weights/container.h"
#include "weights/recognise.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor data is used as it lies in the file");

static int compare_names(const void *a, const void *b) {
  return strcmp((*(const checkpoint_tensor *const *)a)->name, (*(const checkpoint_tensor *const *)b)->name);
}

/* Sorts the names; two equal ones would make lookups depend on chance. */
static status index_names(checkpoint *c) {
  if (!(c->by_name = mem_alloc(c->count, sizeof *c->by_name))) return last_status();
  for (size_t i = 0; i < c->count; i++) c->by_name[i] = &c->tensors[i];
  qsort(c->by_name, c->count, sizeof *c->by_name, compare_names);
  for (size_t i = 1; i < c->count; i++)
    if (!strcmp(c->by_name[i - 1]->name, c->by_name[i]->name))
      return fail(STATUS_FORMAT, "tensor %s is there twice", c->by_name[i]->name);
  return STATUS_OK;
}

static status read_container(checkpoint *c) {
  if (!recognise_safetensors(c->data, c->size)) {
    const char *kind = recognise(c->data, c->size);
    return fail(STATUS_FORMAT, "%s; this version reads .safetensors", kind);
  }
  c->container = "safetensors";
  return safetensors_read(c);
}

checkpoint *checkpoint_parse(const void *data, size_t bytes, const char *name) {
  checkpoint *c = mem_zero(1, sizeof *c);
  if (!c) return NULL;
  c->data = data;
  c->size = bytes;
  if ((c->path = mem_string(name)) && !read_container(c) && !index_names(c)) return c;
  fail_within("%s", name);
  checkpoint_close(c);
  return NULL;
}

/* Maps a regular file. O_NONBLOCK: opening a FIFO must not wait for a writer before it can be refused. */
static status map_file(const char *path, void **mapping, size_t *size) {
  struct stat info;
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail(STATUS_IO, "cannot open %s: %s", path, strerror(errno));
  status result = STATUS_OK;
  if (fstat(fd, &info))
    result = fail(STATUS_IO, "cannot read %s: %s", path, strerror(errno));
  else if (S_ISDIR(info.st_mode))
    result = fail(STATUS_IO, "%s is a folder, not a model file", path);
  else if (!S_ISREG(info.st_mode))
    result = fail(STATUS_IO, "%s is not a regular file", path);
  else if (info.st_size == 0)
    result = fail(STATUS_FORMAT, "%s is empty; this version reads .safetensors", path);
  else if ((uintmax_t)info.st_size > PTRDIFF_MAX)
    result = fail(STATUS_MEMORY, "%s is too large to be mapped", path);
  else {
    *size = (size_t)info.st_size;
    *mapping = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (*mapping == MAP_FAILED) result = fail(STATUS_IO, "cannot map %s: %s", path, strerror(errno));
  }
  close(fd);
  return result;
}

checkpoint *checkpoint_open(const char *path) {
  void *mapping = NULL;
  size_t size = 0;
  if (map_file(path, &mapping, &size)) return NULL;
  checkpoint *c = checkpoint_parse(mapping, size, path);
  if (c)
    c->mapping = mapping;
  else
    munmap(mapping, size);
  return c;
}

void checkpoint_close(checkpoint *c) {
  if (!c) return;
  for (size_t i = 0; i < c->count; i++) free((char *)c->tensors[i].name);
  for (size_t i = 0; i < c->string_count; i++) {
    free(c->strings[i].key);
    free(c->strings[i].value);
  }
  if (c->mapping) munmap(c->mapping, c->size);
  free(c->tensors);
  free(c->by_name);
  free(c->strings);
  free(c->path);
  free(c);
}

status checkpoint_check_name(const char *name) {
  const size_t length = strlen(name);
  if (length == 0) return fail(STATUS_FORMAT, "a tensor has an empty name");
  if (length > CHECKPOINT_NAME_MAX)
    return fail(STATUS_FORMAT, "a tensor's name has %zu bytes, the most is %d: %.40s...", length, CHECKPOINT_NAME_MAX,
                name);
  for (const char *p = name; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      return fail(STATUS_FORMAT, "a tensor's name holds the control character 0x%02x", (unsigned char)*p);
  return STATUS_OK;
}

/* Room for one item more in an array that doubles. */
static bool make_room(void **items, size_t count, size_t *capacity, size_t size) {
  if (count < *capacity) return true;
  const size_t wanted = *capacity ? 2 * *capacity : 64;
  void *grown = mem_grow(*items, wanted, size);
  if (!grown) return false;
  *items = grown;
  *capacity = wanted;
  return true;
}

status checkpoint_add(checkpoint *c, const checkpoint_tensor *t) {
  if (checkpoint_check_name(t->name)) return last_status();
  void *items = c->tensors;
  const bool room = make_room(&items, c->count, &c->capacity, sizeof *c->tensors);
  c->tensors = items;
  char *name = room ? mem_string(t->name) : NULL;
  if (!name) return last_status();
  c->tensors[c->count] = *t;
  c->tensors[c->count++].name = name;
  return STATUS_OK;
}

status checkpoint_add_metadata(checkpoint *c, const char *key, const char *value) {
  void *items = c->strings;
  const bool room = make_room(&items, c->string_count, &c->string_capacity, sizeof *c->strings);
  c->strings = items;
  if (!room) return last_status();
  checkpoint_string *s = &c->strings[c->string_count++]; /* closed with the checkpoint, even half made */
  s->value = NULL;
  return (s->key = mem_string(key)) && (s->value = mem_string(value)) ? STATUS_OK : last_status();
}

const char *checkpoint_path(const checkpoint *c) { return c->path; }
const char *checkpoint_container(const checkpoint *c) { return c->container; }
size_t checkpoint_count(const checkpoint *c) { return c->count; }

const checkpoint_tensor *checkpoint_at(const checkpoint *c, size_t index) {
  return index < c->count ? &c->tensors[index] : NULL;
}

const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name) {
  const checkpoint_tensor key = {.name = name}, *wanted = &key;
  const checkpoint_tensor **found = bsearch(&wanted, c->by_name, c->count, sizeof *c->by_name, compare_names);
  return found ? *found : fail_null(STATUS_FORMAT, "%s: there is no tensor %s", c->path, name);
}

const char *checkpoint_metadata(const checkpoint *c, const char *key) {
  for (size_t i = 0; i < c->string_count; i++)
    if (!strcmp(c->strings[i].key, key)) return c->strings[i].value;
  return NULL;
}

size_t checkpoint_metadata_count(const checkpoint *c) { return c->string_count; }

void checkpoint_metadata_at(const checkpoint *c, size_t index, const char **key, const char **value) {
  *key = index < c->string_count ? c->strings[index].key : NULL;
  *value = index < c->string_count ? c->strings[index].value : NULL;
}
