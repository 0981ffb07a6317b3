/* Opening, recognising and looking things up, for every container. */
#include "weights/checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/bytes.h"
#include "kernels/file.h"
#include "kernels/utf8.h"
#include "weights/checksum.h"
#include "weights/container.h"
#include "weights/llama_layout.h"
#include "weights/recognise.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor data is used as it lies in the file");

static int compare_names(const void *a, const void *b) {
  return strcmp((*(const checkpoint_tensor *const *)a)->name, (*(const checkpoint_tensor *const *)b)->name);
}

static int compare_keys(const void *a, const void *b) {
  return strcmp((*(const checkpoint_entry *const *)a)->key, (*(const checkpoint_entry *const *)b)->key);
}

/* Sorts names and keys; two equal ones would make lookups depend on chance. */
static status index_names(checkpoint *c) {
  c->by_name = mem_alloc(c->count, sizeof *c->by_name);
  c->by_key = mem_alloc(c->entry_count, sizeof *c->by_key);
  if (!c->by_name || !c->by_key) return last_status();
  for (size_t i = 0; i < c->count; i++) c->by_name[i] = &c->tensors[i];
  for (size_t i = 0; i < c->entry_count; i++) c->by_key[i] = &c->entries[i];
  qsort(c->by_name, c->count, sizeof *c->by_name, compare_names);
  qsort(c->by_key, c->entry_count, sizeof *c->by_key, compare_keys);
  for (size_t i = 1; i < c->count; i++)
    if (!compare_names(&c->by_name[i - 1], &c->by_name[i]))
      return fail(STATUS_FORMAT, "tensor %s is there twice", c->by_name[i]->name);
  for (size_t i = 1; i < c->entry_count; i++)
    if (!compare_keys(&c->by_key[i - 1], &c->by_key[i]))
      return fail(STATUS_FORMAT, "metadata %s is there twice", c->by_key[i]->key);
  return STATUS_OK;
}

static status read_container(checkpoint *c) {
  static const struct {
    bool (*recognise)(const void *data, size_t size);
    const char *container;
    status (*read)(checkpoint *c);
  } readers[] = {
      {recognise_gguf, "gguf", gguf_read},
      {recognise_ggmf, "rwkv.cpp", rwkvcpp_read},
      {recognise_zip, "pth", pth_read},
      {recognise_shards, "safetensors", shards_read},
      {recognise_safetensors, "safetensors", safetensors_read},
  };
  for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
    if (readers[i].recognise(c->data, c->size)) {
      c->container = readers[i].container;
      return readers[i].read(c);
    }
  return fail(STATUS_FORMAT,
              "%s; this version reads .gguf, .safetensors, rwkv.cpp's .bin and the .pth files that PyTorch writes "
              "since 1.6",
              recognise(c->data, c->size));
}

/* What wrappers of training put before every name. */
static const char *wrapper_prefix(const checkpoint *c) {
  static const char *const prefixes[] = {"module.", "_orig_mod.", "_forward_module."};
  for (size_t p = 0; c->count && p < sizeof prefixes / sizeof *prefixes; p++) {
    const size_t length = strlen(prefixes[p]);
    size_t i = 0;
    while (i < c->count && !strncmp(c->tensors[i].name, prefixes[p], length) && c->tensors[i].name[length]) i++;
    if (i == c->count) return prefixes[p];
  }
  return NULL;
}

static status take_off_prefixes(checkpoint *c) {
  size_t length = 0;
  for (const char *prefix; (prefix = wrapper_prefix(c)); length += strlen(prefix)) {
    char *all = mem_grow(c->prefix, length + strlen(prefix) + 1, 1);
    if (!all) return last_status();
    c->prefix = strcpy(all + length, prefix) - length;
    for (size_t i = 0; i < c->count; i++) {
      char *name = (char *)c->tensors[i].name;
      memmove(name, name + strlen(prefix), strlen(name + strlen(prefix)) + 1);
    }
  }
  return STATUS_OK;
}

/* Shards keep their names as they are: what belongs to a whole file is done for the whole. */
typedef enum { WHOLE_FILE, SHARD } extent;

static checkpoint *parse(const void *data, size_t bytes, const char *name, const char *choice, extent e, bool mapped) {
  checkpoint *c = mem_zero(1, sizeof *c);
  if (!c) {
    if (mapped) file_unmap(data, bytes);
    return NULL;
  }
  c->data = data;
  c->size = bytes;
  c->mapped = mapped;
  c->part = e == SHARD;
  c->choice = choice;
  status s = (c->path = mem_string(name)) ? read_container(c) : last_status();
  if (!s && choice && !c->choices)
    s = fail(STATUS_ARGUMENT, "a %s file has no dictionaries to choose from", c->container);
  if (!s && !strcmp(c->container, "gguf")) s = splits_read(c);
  if (!s && e == WHOLE_FILE) s = take_off_prefixes(c);
  if (!s && e == WHOLE_FILE && !strcmp(c->container, "gguf")) s = llama_layout_apply(c);
  if (!s && !index_names(c)) {
    c->choice = NULL;
    return c;
  }
  fail_within("%s", name);
  checkpoint_close(c);
  return NULL;
}

static checkpoint *open_file(const char *path, const char *choice, extent e) {
  const void *data;
  size_t size;
  if (file_map(path, &data, &size)) return NULL;
  return parse(data, size, path, choice, e, true);
}

/* What a folder of a published model is opened by: the index of its shards, or its only file. */
static checkpoint *open_folder(const char *path, const char *choice) {
  static const char *const names[] = {"model.safetensors.index.json", "model.safetensors"};
  struct stat info;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char *file = mem_alloc(strlen(path) + strlen(names[i]) + 2, 1);
    if (!file) return NULL;
    strcat(strcat(strcpy(file, path), "/"), names[i]);
    const bool there = !stat(file, &info);
    checkpoint *c = there ? open_file(file, choice, WHOLE_FILE) : NULL;
    free(file);
    if (there) return c;
  }
  return fail_null(STATUS_IO, "%s: is a folder with neither %s nor %s in it", path, names[0], names[1]);
}

checkpoint *checkpoint_open_choice(const char *path, const char *choice) {
  struct stat info;
  if (!stat(path, &info) && S_ISDIR(info.st_mode)) return open_folder(path, choice);
  return open_file(path, choice, WHOLE_FILE);
}

checkpoint *checkpoint_open(const char *path) { return checkpoint_open_choice(path, NULL); }
checkpoint *checkpoint_open_part(const char *path) { return open_file(path, NULL, SHARD); }

checkpoint *checkpoint_parse_choice(const void *data, size_t bytes, const char *name, const char *choice) {
  return parse(data, bytes, name, choice, WHOLE_FILE, false);
}

checkpoint *checkpoint_parse(const void *data, size_t bytes, const char *name) {
  return checkpoint_parse_choice(data, bytes, name, NULL);
}

checkpoint *checkpoint_share(const checkpoint *c) {
  if (!c->mapped) return NULL;
  checkpoint *own = (checkpoint *)(uintptr_t)c; /* who shares it changes nothing that a reader sees */
  atomic_fetch_add(&own->shares, 1);
  return own;
}

void checkpoint_close(checkpoint *c) {
  if (!c || atomic_fetch_sub(&c->shares, 1)) return; /* 0: this was the last owner */
  if (c->reader.close) c->reader.close(c->reader.self);
  for (size_t i = 0; i < c->count; i++) free((char *)c->tensors[i].name);
  for (size_t i = 0; i < c->entry_count; i++) {
    free((char *)c->entries[i].key);
    free((char *)c->entries[i].text);
  }
  for (size_t i = 0; i < c->owned_count; i++) free(c->owned[i]);
  for (size_t i = 0; i < c->part_count; i++) checkpoint_close(c->parts[i]);
  if (c->mapped) file_unmap(c->data, c->size);
  free(c->parts);
  free(c->owned);
  free(c->tensors);
  free(c->by_name);
  free(c->entries);
  free(c->by_key);
  free(c->choices);
  free(c->prefix);
  free(c->path);
  free(c);
}

status checkpoint_check_name(const char *name) {
  const size_t length = strlen(name);
  if (length == 0) return fail(STATUS_FORMAT, "a tensor has an empty name");
  if (length > CHECKPOINT_NAME_MAX)
    return fail(STATUS_FORMAT, "a tensor's name has %zu bytes, the most is %d: %.40s...", length, CHECKPOINT_NAME_MAX,
                name);
  if (!utf8_valid(name, length)) return fail(STATUS_FORMAT, "a tensor's name is not UTF-8");
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

/* The text of a text, copied; NULL for other values and for texts with a zero byte, which C would take for the end. */
static status entry_text(const metadata_value *value, char **copy) {
  const char *text;
  size_t length;
  *copy = NULL;
  if (!metadata_text(value, &text, &length) || memchr(text, 0, length)) return STATUS_OK;
  if (!(*copy = mem_alloc(length + 1, 1))) return last_status();
  memcpy(*copy, text, length);
  (*copy)[length] = 0;
  return STATUS_OK;
}

status checkpoint_add_entry(checkpoint *c, const char *key, const metadata_value *value) {
  checkpoint_entry *entries = mem_room(c->entries, c->entry_count, &c->entry_capacity, sizeof *entries);
  if (!entries) return last_status();
  c->entries = entries;
  char *text, *copy = mem_string(key);
  if (!copy || entry_text(value, &text)) {
    free(copy);
    return last_status();
  }
  c->entries[c->entry_count++] = (checkpoint_entry){copy, *value, text};
  return STATUS_OK;
}

status checkpoint_add_string(checkpoint *c, const char *key, const char *text) {
  const size_t length = strlen(text);
  uint8_t *bytes = checkpoint_own(c, 8 + length);
  if (!bytes) return last_status();
  put_little(bytes, length, 8);
  memcpy(bytes + 8, text, length);
  return checkpoint_add_entry(c, key, &(metadata_value){METADATA_STRING, bytes, 8 + length});
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
const char *checkpoint_part_path(const checkpoint *c, size_t i) { return i < c->part_count ? c->parts[i]->path : NULL; }
const char *checkpoint_container(const checkpoint *c) { return c->container; }
const char *checkpoint_choices(const checkpoint *c) { return c->choices ? c->choices : ""; }
const char *checkpoint_prefix(const checkpoint *c) { return c->prefix ? c->prefix : ""; }
size_t checkpoint_count(const checkpoint *c) { return c->count; }

bool checkpoint_is_interleaved(const checkpoint *c) {
  for (size_t i = 0; i < c->count; i++)
    if (c->tensors[i].packed) return true;
  return false;
}

const checkpoint_tensor *checkpoint_at(const checkpoint *c, size_t index) {
  return index < c->count ? &c->tensors[index] : NULL;
}

const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name) {
  const checkpoint_tensor key = {.name = name}, *wanted = &key;
  const checkpoint_tensor **found = bsearch(&wanted, c->by_name, c->count, sizeof *c->by_name, compare_names);
  return found ? *found : fail_null(STATUS_FORMAT, "%s: there is no tensor %s", c->path, name);
}

size_t checkpoint_metadata_count(const checkpoint *c) { return c->entry_count; }

const checkpoint_entry *checkpoint_metadata_at(const checkpoint *c, size_t index) {
  return index < c->entry_count ? &c->entries[index] : NULL;
}

const checkpoint_entry *checkpoint_metadata_find(const checkpoint *c, const char *key) {
  const checkpoint_entry like = {.key = key}, *wanted = &like;
  const checkpoint_entry **found = bsearch(&wanted, c->by_key, c->entry_count, sizeof *c->by_key, compare_keys);
  return found ? *found : NULL;
}

const char *checkpoint_metadata(const checkpoint *c, const char *key) {
  const checkpoint_entry *e = checkpoint_metadata_find(c, key);
  return e ? e->text : NULL;
}

static status verify(const checkpoint *c, bool *has_checksum) {
  bool some = false;
  if (checkpoint_checksum_verify(c, &some)) return last_status();
  *has_checksum |= some || c->reader.verify;
  if (c->reader.verify && c->reader.verify(c->reader.self)) return last_status();
  for (size_t i = 0; i < c->part_count; i++)
    if (checkpoint_verify(c->parts[i], &some))
      return last_status();
    else
      *has_checksum |= some;
  return STATUS_OK;
}

status checkpoint_verify(const checkpoint *c, bool *has_checksum) {
  *has_checksum = false;
  return verify(c, has_checksum) ? fail_within("%s", c->path) : STATUS_OK;
}
