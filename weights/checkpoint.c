/* Opening, recognising and looking things up, for every container. */
#include "weights/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/file.h"
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
  if (recognise_zip(c->data, c->size)) {
    c->container = "pth";
    return pth_read(c);
  }
  if (recognise_safetensors(c->data, c->size)) {
    c->container = "safetensors";
    return safetensors_read(c);
  }
  return fail(STATUS_FORMAT, "%s; this version reads .safetensors and the .pth files that PyTorch writes since 1.6",
              recognise(c->data, c->size));
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

checkpoint *checkpoint_open(const char *path) {
  const void *data;
  size_t size;
  if (file_map(path, &data, &size)) return NULL;
  checkpoint *c = checkpoint_parse(data, size, path);
  if (c)
    c->mapped = true;
  else
    file_unmap(data, size);
  return c;
}

void checkpoint_close(checkpoint *c) {
  if (!c) return;
  for (size_t i = 0; i < c->count; i++) free((char *)c->tensors[i].name);
  for (size_t i = 0; i < c->string_count; i++) {
    free(c->strings[i].key);
    free(c->strings[i].value);
  }
  for (size_t i = 0; i < c->owned_count; i++) free(c->owned[i]);
  free(c->owned);
  if (c->mapped) file_unmap(c->data, c->size);
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

status checkpoint_add(checkpoint *c, const checkpoint_tensor *t) {
  if (checkpoint_check_name(t->name)) return last_status();
  checkpoint_tensor *tensors = mem_room(c->tensors, c->count, &c->capacity, sizeof *tensors);
  if (!tensors) return last_status();
  c->tensors = tensors;
  char *name = mem_string(t->name);
  if (!name) return last_status();
  c->tensors[c->count] = *t;
  c->tensors[c->count++].name = name;
  return STATUS_OK;
}

status checkpoint_add_metadata(checkpoint *c, const char *key, const char *value) {
  checkpoint_string *strings = mem_room(c->strings, c->string_count, &c->string_capacity, sizeof *strings);
  if (!strings) return last_status();
  c->strings = strings;
  checkpoint_string *s = &c->strings[c->string_count++]; /* closed with the checkpoint, even half made */
  s->value = NULL;
  return (s->key = mem_string(key)) && (s->value = mem_string(value)) ? STATUS_OK : last_status();
}

void *checkpoint_own(checkpoint *c, size_t bytes) {
  void **owned = mem_room(c->owned, c->owned_count, &c->owned_capacity, sizeof *owned);
  if (!owned) return NULL;
  c->owned = owned;
  void *block = mem_alloc(bytes, 1);
  if (block) c->owned[c->owned_count++] = block;
  return block;
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
