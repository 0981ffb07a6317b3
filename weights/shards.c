/* Models in several files.
 *
 * Safetensors shards as Hugging Face writes them: an index file of JSON
 *   {"metadata": {"total_size": 123, ...}, "weight_map": {"tensor": "model-00001-of-00002.safetensors", ...}}
 * names, for every tensor, the file beside it that holds it. Index and shards must agree about every tensor.
 *
 * GGUF parts as llama.cpp's gguf-split writes them: NAME-00001-of-00003.gguf and so on; the first has all metadata, and
 * each says which it is: split.no (from 0), split.count, split.tensors.count (of all parts).
 *
 * The parts stay open as long as the whole, whose tensors point into them. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/container.h"
#include "weights/safetensors_format.h"

enum { PARTS_MAX = 1024, INDEX_DEPTH = 8 };

/* The file of that name in the folder of the checkpoint's; free() it. */
static char *beside(const checkpoint *c, const char *name) {
  const char *slash = strrchr(c->path, '/');
  const size_t folder = slash ? (size_t)(slash - c->path) + 1 : 0;
  char *path = mem_alloc(folder + strlen(name) + 1, 1);
  if (!path) return NULL;
  memcpy(path, c->path, folder);
  memcpy(path + folder, name, strlen(name) + 1);
  return path;
}

/* Opens the file and adds it to the parts; it must be of the same container. NULL with a sentence. */
static const checkpoint *open_part(checkpoint *c, const char *name) {
  checkpoint **parts = mem_grow(c->parts, c->part_count + 1, sizeof *parts);
  if (!parts) return NULL;
  c->parts = parts;
  char *path = beside(c, name);
  if (!path) return NULL;
  checkpoint *part = checkpoint_open_part(path);
  free(path);
  if (!part) return NULL;
  c->parts[c->part_count++] = part;
  if (strcmp(part->container, c->container))
    return fail_null(STATUS_FORMAT, "%s is a %s file, not %s", name, part->container, c->container);
  for (size_t i = 0; i < part->count; i++)
    if (!part->tensors[i].data)
      return fail_null(STATUS_UNSUPPORTED, "tensor %s of %s does not lie in the file as it is", part->tensors[i].name,
                       name);
  return part;
}

/* --- an index of safetensors shards ------------------------------------------------------------------------------- */

typedef struct {
  checkpoint *c;
  json_t *index;
  json_t *map;         /* borrowed from the index: tensor -> shard */
  json_t *set;         /* the names of the shards, as keys */
  const char **shards; /* the same, sorted; borrowed from the set */
  size_t count;
} shard_index;

/* A plain name: a shard lies beside its index and nowhere else. */
static bool plain_name(const char *name) {
  if (!*name || strlen(name) > CHECKPOINT_NAME_MAX || !strcmp(name, ".") || !strcmp(name, "..")) return false;
  for (const char *p = name; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '/' || *p == '\\') return false;
  return true;
}

static int compare_words(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Which files the map names. */
static status list_shards(shard_index *x) {
  const char *tensor;
  json_t *file;
  if (!(x->set = json_object())) return fail(STATUS_MEMORY, "out of memory for the names of the shards");
  json_object_foreach(x->map, tensor, file) {
    const char *name = json_string_value(file);
    if (!name || !plain_name(name))
      return fail(STATUS_FORMAT, "tensor %.100s is not given the plain name of a file beside the index", tensor);
    if (json_object_set_new(x->set, name, json_null()))
      return fail(STATUS_MEMORY, "out of memory for the names of the shards");
    if (json_object_size(x->set) > PARTS_MAX)
      return fail(STATUS_UNSUPPORTED, "the index names more than %d files", PARTS_MAX);
  }
  if (!(x->shards = mem_alloc(json_object_size(x->set), sizeof *x->shards))) return last_status();
  json_object_foreach(x->set, tensor, file) x->shards[x->count++] = tensor;
  qsort(x->shards, x->count, sizeof *x->shards, compare_words);
  return STATUS_OK;
}

static status add_shard(shard_index *x, const char *name) {
  const checkpoint *part = open_part(x->c, name);
  if (!part) return last_status();
  for (size_t i = 0; i < part->count; i++) {
    const checkpoint_tensor *t = &part->tensors[i];
    const char *where = json_string_value(json_object_get(x->map, t->name));
    if (!where) return fail(STATUS_FORMAT, "tensor %s is in %s, but not in the index", t->name, name);
    if (strcmp(where, name))
      return fail(STATUS_FORMAT, "tensor %s is in %s, but the index says %s", t->name, name, where);
    if (checkpoint_add(x->c, t)) return last_status();
  }
  return STATUS_OK;
}

static status check_complete(const shard_index *x) {
  const char *tensor;
  json_t *file;
  json_object_foreach(x->map, tensor, file) {
    const char *name = json_string_value(file);
    const char **found = bsearch(&name, x->shards, x->count, sizeof *x->shards, compare_words);
    if (!checkpoint_find(x->c->parts[found - x->shards], tensor))
      return fail(STATUS_FORMAT, "tensor %.100s should be in %s, but is not", tensor, name);
  }
  return STATUS_OK;
}

/* A number or a truth value as metadata; others are left out. */
static status add_number(checkpoint *c, const char *key, const json_t *value) {
  metadata_bytes bytes = {0};
  metadata_value v = {METADATA_BOOL, NULL, 1};
  if (json_is_integer(value)) {
    v = (metadata_value){METADATA_I64, NULL, 8};
    metadata_put_number(&bytes, (uint64_t)json_integer_value(value), 8);
  } else if (json_is_real(value)) {
    const double real = json_real_value(value);
    v = (metadata_value){METADATA_F64, NULL, 8};
    metadata_put(&bytes, &real, 8);
  } else if (json_is_boolean(value)) {
    metadata_put_number(&bytes, json_is_true(value), 1);
  } else {
    return STATUS_OK;
  }
  void *kept = bytes.failed ? NULL : checkpoint_own(c, v.size);
  if (kept) v.bytes = memcpy(kept, bytes.bytes, v.size);
  free(bytes.bytes);
  return kept ? checkpoint_add_entry(c, key, &v) : fail(STATUS_MEMORY, "out of memory for metadata");
}

/* What the index says of the whole, then what the first shard carries beside it. A shard's checksum and what says how
 * its texts are to be read are its own. */
static status add_metadata(const shard_index *x) {
  static const char *const own[] = {WRITER_CHECKSUM, WRITER_FORMAT, SAFETENSORS_TYPES};
  json_t *whole = json_object_get(x->index, "metadata"), *value;
  const char *key;
  json_object_foreach(whole, key, value) {
    if (json_is_string(value) ? checkpoint_add_string(x->c, key, json_string_value(value))
                              : add_number(x->c, key, value))
      return last_status();
  }
  const checkpoint *first = x->c->parts[0];
  for (size_t i = 0; i < first->entry_count; i++) {
    const checkpoint_entry *e = &first->entries[i];
    bool skip = json_object_get(whole, e->key) != NULL;
    for (size_t k = 0; k < sizeof own / sizeof *own; k++) skip |= !strcmp(e->key, own[k]);
    if (!skip && checkpoint_add_entry(x->c, e->key, &e->value)) return last_status();
  }
  return STATUS_OK;
}

static status read_index(shard_index *x) {
  const checkpoint *c = x->c;
  if (safetensors_json("the index", (const char *)c->data, c->size, INDEX_DEPTH, 0, &x->index)) return last_status();
  x->map = json_object_get(x->index, "weight_map");
  if (!json_object_size(x->map)) return fail(STATUS_FORMAT, "the index has no weight_map that names tensors");
  if (list_shards(x)) return last_status();
  for (size_t i = 0; i < x->count; i++)
    if (add_shard(x, x->shards[i])) return last_status();
  return check_complete(x) ? last_status() : add_metadata(x);
}

status shards_read(checkpoint *c) {
  shard_index x = {.c = c};
  if (c->part) return fail(STATUS_FORMAT, "is an index of shards, and not a shard");
  if (!c->mapped) return fail(STATUS_UNSUPPORTED, "is an index of shards: they can only be opened from files");
  const status result = read_index(&x);
  json_decref(x.index);
  json_decref(x.set);
  free(x.shards);
  return result;
}

/* --- the parts of a split GGUF file ------------------------------------------------------------------------------- */

typedef struct {
  int64_t number, count, tensors;
} split;

/* An integer of a checkpoint's metadata, before its keys are sorted; `other` if it is not there. */
static int64_t integer_of(const checkpoint *c, const char *key, int64_t other) {
  for (size_t i = 0; i < c->entry_count; i++)
    if (!strcmp(c->entries[i].key, key)) metadata_integer(&c->entries[i].value, &other);
  return other;
}

static split split_of(const checkpoint *c) {
  return (split){integer_of(c, "split.no", 0), integer_of(c, "split.count", 1),
                 integer_of(c, "split.tensors.count", -1)};
}

/* The whole is no part. */
static void drop_split_entries(checkpoint *c) {
  size_t kept = 0;
  for (size_t i = 0; i < c->entry_count; i++) {
    if (!strncmp(c->entries[i].key, "split.", 6)) {
      free((char *)c->entries[i].key);
      free((char *)c->entries[i].text);
    } else {
      c->entries[kept++] = c->entries[i];
    }
  }
  c->entry_count = kept;
}

static status add_split(checkpoint *c, const char *name, split expected) {
  const checkpoint *part = open_part(c, name);
  if (!part) return last_status();
  const split found = split_of(part);
  if (found.number != expected.number || found.count != expected.count)
    return fail(STATUS_FORMAT, "%s says that it is part %lld of %lld", name, (long long)found.number + 1,
                (long long)found.count);
  for (size_t i = 0; i < part->count; i++)
    if (checkpoint_add(c, &part->tensors[i])) return last_status();
  return STATUS_OK;
}

/* "-00002-of-00003.gguf", what the name of a part ends with; numbers up to PARTS_MAX. */
enum { ENDING = sizeof "-00002-of-00003.gguf" - 1 };
static const char *ending(int64_t part, int64_t count, char text[64]) {
  snprintf(text, 64, "-%05d-of-%05d.gguf", (int)part, (int)count);
  return text;
}

/* The parts after the first, whose names differ in their number alone. */
static status add_splits(checkpoint *c, split whole) {
  const char *slash = strrchr(c->path, '/'), *name = slash ? slash + 1 : c->path;
  const size_t length = strlen(name), stem = length < ENDING ? 0 : length - ENDING;
  char text[64];
  if (strcmp(name + stem, ending(1, whole.count, text)))
    return fail(STATUS_FORMAT, "is the first of %lld parts; for the others to be found its name must end with %s",
                (long long)whole.count, text);
  char *other = mem_string(name);
  if (!other) return last_status();
  status result = STATUS_OK;
  for (whole.number = 1; whole.number < whole.count && !result; whole.number++) {
    memcpy(other + stem, ending(whole.number + 1, whole.count, text), ENDING);
    result = add_split(c, other, whole);
  }
  free(other);
  return result;
}

status splits_read(checkpoint *c) {
  const split whole = split_of(c);
  if (c->part || whole.count <= 1) return STATUS_OK;
  if (whole.count > PARTS_MAX)
    return fail(STATUS_UNSUPPORTED, "is one of %lld parts, the most is %d", (long long)whole.count, PARTS_MAX);
  if (whole.number != 0)
    return fail(STATUS_UNSUPPORTED, "is part %lld of %lld: open the first, which finds the others",
                (long long)whole.number + 1, (long long)whole.count);
  if (!c->mapped)
    return fail(STATUS_UNSUPPORTED, "is the first of %lld parts: the others can only be opened from files",
                (long long)whole.count);
  if (add_splits(c, whole)) return last_status();
  if (whole.tensors >= 0 && (uint64_t)whole.tensors != c->count)
    return fail(STATUS_FORMAT, "split.tensors.count is %lld, but the parts hold %zu tensors", (long long)whole.tensors,
                c->count);
  drop_split_entries(c);
  return STATUS_OK;
}
