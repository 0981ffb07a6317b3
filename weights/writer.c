/* Order, sizes, conversion and checksum are the same for every container; what differs is the header (writer_parts.h).
 * Nothing goes to the disk before the first data, when the header is made. */
#include "weights/writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/atomic_file.h"
#include "kernels/utf8.h"
#include "weights/container.h"
#include "weights/gguf_format.h"
#include "weights/interleaved.h"
#include "weights/packing.h"
#include "weights/safetensors_format.h"
#include "weights/writer_parts.h"

static const struct container {
  const char *name, *ending;
  status (*header)(writer_content *content, writer_header *header);
} containers[] = {
    {"gguf", ".gguf", gguf_header},
    {"safetensors", ".safetensors", safetensors_header},
};

struct writer {
  const struct container *container;
  atomic_file *file;
  checksum *sum;
  char *path;
  status failed;
  json_t *keys, *names; /* those in use: members of objects, found fast */
  writer_content content;
  bool sealed; /* the header is written: no more declarations */
  size_t digits, alignment;
  size_t current, filled; /* the tensor being written, and how many of its bytes are there */
  uint8_t *panel;         /* of an interleaved tensor: the rows that are there, and behind them what they become */
  size_t panel_room;
};

/* --- life --------------------------------------------------------------------------------------------------------- */

static const struct container *find_container(const char *path, const char *name) {
  for (size_t i = 0; i < sizeof containers / sizeof *containers; i++)
    if (name ? !strcmp(name, containers[i].name) : text_ends_with(path, containers[i].ending)) return &containers[i];
  if (name) return fail_null(STATUS_ARGUMENT, "cannot write %s: '%s' is neither gguf nor safetensors", path, name);
  return fail_null(STATUS_ARGUMENT, "cannot write %s: its name ends neither in .gguf nor in .safetensors", path);
}

writer *writer_create(const char *path, const char *container) {
  const struct container *kind = find_container(path, container);
  writer *w = kind ? mem_zero(1, sizeof *w) : NULL;
  if (!w) return NULL;
  w->container = kind;
  w->path = mem_string(path);
  w->sum = checksum_new();
  w->keys = json_object();
  w->names = json_object();
  const bool ready = w->path && w->sum && w->keys && w->names;
  if (!ready) fail(STATUS_MEMORY, "%s: out of memory", path);
  if (ready && (w->file = atomic_file_create(path))) return w;
  writer_abandon(w);
  return NULL;
}

void writer_abandon(writer *w) {
  if (!w) return;
  atomic_file_abandon(w->file);
  checksum_free(w->sum);
  for (size_t i = 0; i < w->content.entry_count; i++) {
    free(w->content.entries[i].key);
    free((uint8_t *)w->content.entries[i].value.bytes);
  }
  for (size_t i = 0; i < w->content.count; i++) free(w->content.tensors[i].name);
  free(w->content.entries);
  free(w->content.tensors);
  json_decref(w->keys);
  json_decref(w->names);
  free(w->panel);
  free(w->path);
  free(w);
}

const char *writer_container(const writer *w) { return w->container->name; }

/* Remembers a failure, with the file's name before its sentence; atomic_file's, all STATUS_IO, have it already. */
static status failed(writer *w) {
  return w->failed = last_status() == STATUS_IO ? STATUS_IO : fail_within("%s", w->path);
}

/* --- metadata ----------------------------------------------------------------------------------------------------- */

bool writer_owns(const char *key) {
  static const char *const own[] = {WRITER_CHECKSUM, WRITER_FORMAT, GGUF_ORIGINALS, SAFETENSORS_TYPES};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (!strcmp(key, own[i])) return true;
  return false;
}

static status check_metadata(const writer *w, const char *key, const metadata_value *value) {
  size_t size = 0;
  if (w->sealed) return fail(STATUS_ARGUMENT, "metadata %s comes after data", key);
  if (writer_owns(key)) return fail(STATUS_ARGUMENT, "metadata %s is the writer's own", key);
  if (json_object_get(w->keys, key)) return fail(STATUS_ARGUMENT, "metadata %s is given twice", key);
  if (metadata_size(value->type, value->bytes, value->size, &size)) return fail_within("metadata %s", key);
  if (size != value->size) return fail(STATUS_ARGUMENT, "metadata %s has bytes after its value", key);
  return STATUS_OK;
}

static status add_metadata(writer *w, const char *key, const metadata_value *value) {
  writer_content *content = &w->content;
  if (check_metadata(w, key, value)) return last_status();
  if (!utf8_valid(key, strlen(key))) return fail(STATUS_ARGUMENT, "the key of metadata %s is not valid UTF-8", key);
  if (json_object_set_new(w->keys, key, json_null())) return fail(STATUS_MEMORY, "out of memory for metadata %s", key);
  writer_entry *entries = mem_room(content->entries, content->entry_count, &content->entry_capacity, sizeof *entries);
  if (!entries) return last_status();
  content->entries = entries;
  char *copy = mem_string(key);
  uint8_t *bytes = mem_alloc(value->size, 1);
  entries[content->entry_count++] = (writer_entry){copy, {value->type, bytes, value->size}};
  if (!copy || !bytes) return last_status();
  memcpy(bytes, value->bytes, value->size);
  return STATUS_OK;
}

status writer_metadata(writer *w, const char *key, const metadata_value *value) {
  if (w->failed) return w->failed;
  return add_metadata(w, key, value) ? failed(w) : STATUS_OK;
}

static status add_string(writer *w, const char *key, const char *text) {
  metadata_bytes bytes = {0};
  if (!utf8_valid(text, strlen(text))) return fail(STATUS_ARGUMENT, "metadata %s is not valid UTF-8", key);
  metadata_put_text(&bytes, text, strlen(text));
  const metadata_value value = {METADATA_STRING, bytes.bytes, bytes.size};
  const status result = bytes.failed ? last_status() : add_metadata(w, key, &value);
  free(bytes.bytes);
  return result;
}

status writer_string(writer *w, const char *key, const char *text) {
  if (w->failed) return w->failed;
  return add_string(w, key, text) ? failed(w) : STATUS_OK;
}

status writer_copy_metadata(writer *w, const checkpoint *from) {
  status result = w->failed;
  const bool aligned = checkpoint_is_interleaved(from);
  for (size_t i = 0; !result && i < checkpoint_metadata_count(from); i++) {
    const checkpoint_entry *e = checkpoint_metadata_at(from, i);
    const bool own = writer_owns(e->key) || (aligned && !strcmp(e->key, GGUF_ALIGNMENT_KEY));
    if (!own) result = writer_metadata(w, e->key, &e->value);
  }
  return result;
}

/* --- tensors ------------------------------------------------------------------------------------------------------ */

static status add_tensor(writer *w, const char *name, checkpoint_dtype stored, bool interleaved, int n_dims,
                         const int64_t *dim) {
  writer_content *content = &w->content;
  writer_tensor t = {.dtype = stored, .interleaved = interleaved, .n_dims = n_dims};
  if (checkpoint_check_name(name)) return last_status();
  if (w->sealed) return fail(STATUS_ARGUMENT, "tensor %s is declared after data", name);
  if (json_object_get(w->names, name)) return fail(STATUS_ARGUMENT, "tensor %s is declared twice", name);
  if (!checkpoint_shape_bytes(stored, n_dims, dim, &t.bytes))
    return fail(STATUS_ARGUMENT, "tensor %s (%s) has an impossible shape", name, checkpoint_dtype_name(stored));
  if (interleaved && (strcmp(w->container->name, "gguf") || !interleaved_fits(stored, n_dims, dim)))
    return fail(STATUS_ARGUMENT, "tensor %s (%s) cannot be interleaved", name, checkpoint_dtype_name(stored));
  if (json_object_set_new(w->names, name, json_null())) return fail(STATUS_MEMORY, "out of memory for tensor %s", name);
  writer_tensor *tensors = mem_room(content->tensors, content->count, &content->capacity, sizeof *tensors);
  if (!tensors) return last_status();
  content->tensors = tensors;
  if (n_dims) memcpy(t.dim, dim, (size_t)n_dims * sizeof *dim);
  if (!(t.name = mem_string(name))) return last_status();
  tensors[content->count++] = t;
  return STATUS_OK;
}

status writer_declare(writer *w, const char *name, checkpoint_dtype stored, int n_dims, const int64_t *dim) {
  if (w->failed) return w->failed;
  return add_tensor(w, name, stored, false, n_dims, dim) ? failed(w) : STATUS_OK;
}

status writer_declare_interleaved(writer *w, const char *name, checkpoint_dtype stored, int n_dims,
                                  const int64_t *dim) {
  if (w->failed) return w->failed;
  return add_tensor(w, name, stored, true, n_dims, dim) ? failed(w) : STATUS_OK;
}

static size_t padding(size_t bytes, size_t alignment) { return (alignment - bytes % alignment) % alignment; }

status writer_place(writer_content *content, size_t alignment) {
  size_t at = 0;
  for (size_t i = 0; i < content->count; i++) {
    writer_tensor *t = &content->tensors[i];
    t->begin = at;
    if (!size_add(at, t->bytes, &at) || !size_add(at, padding(t->bytes, alignment), &at) || at > INT64_MAX / 2)
      return fail(STATUS_UNSUPPORTED, "tensor %s lies beyond the end of any file", t->name);
  }
  return STATUS_OK;
}

json_t *writer_shape(int n_dims, const int64_t *dim) {
  json_t *shape = json_array();
  for (int i = 0; i < n_dims; i++)
    if (json_array_append_new(shape, json_integer(dim[i]))) { /* takes no NULL */
      json_decref(shape);
      return NULL;
    }
  return shape;
}

/* --- data --------------------------------------------------------------------------------------------------------- */

static status emit(writer *w, const void *data, size_t bytes) {
  checksum_add(w->sum, data, bytes);
  return atomic_file_write(w->file, data, bytes);
}

static status emit_zeros(writer *w, size_t bytes) {
  static const uint8_t zeros[256];
  for (size_t part; bytes; bytes -= part) {
    part = bytes < sizeof zeros ? bytes : sizeof zeros;
    if (emit(w, zeros, part)) return last_status();
  }
  return STATUS_OK;
}

static status write_header(writer *w) {
  writer_header header = {0};
  status result = w->container->header(&w->content, &header);
  if (!result && header.bytes.failed) result = fail(STATUS_MEMORY, "out of memory for the header");
  if (!result) result = emit(w, header.bytes.bytes, header.bytes.size);
  w->digits = header.digits;
  w->alignment = header.alignment;
  free(header.bytes.bytes);
  return result;
}

/* Writes the header before the first data, and moves on past tensors that are complete. */
static status seal(writer *w) {
  if (!w->sealed && write_header(w)) return last_status();
  w->sealed = true;
  for (; w->current < w->content.count && w->filled == w->content.tensors[w->current].bytes; w->current++) {
    if (emit_zeros(w, padding(w->filled, w->alignment))) return last_status();
    w->filled = 0;
  }
  return STATUS_OK;
}

/* The tensor whose turn it is; NULL unless it is `name` and has room for that many bytes. */
static const writer_tensor *expect(writer *w, const char *name, size_t bytes) {
  if (seal(w)) return NULL;
  const writer_tensor *t = w->current < w->content.count ? &w->content.tensors[w->current] : NULL;
  if (!t) return fail_null(STATUS_ARGUMENT, "data of tensor %s comes after the last tensor", name);
  if (strcmp(t->name, name))
    return fail_null(STATUS_ARGUMENT, "data of tensor %s comes where tensor %s is expected", name, t->name);
  if (bytes > t->bytes - w->filled)
    return fail_null(STATUS_ARGUMENT, "tensor %s has %zu bytes, but more are given", name, t->bytes);
  return t;
}

/* Collects the rows of a panel and puts it when they are all there. */
static status put_rows(writer *w, const writer_tensor *t, const uint8_t *data, size_t bytes) {
  const size_t panel = interleaved_panel_bytes(t->dtype, t->dim);
  if (w->panel_room < panel) {
    uint8_t *grown = mem_grow(w->panel, 2 * panel, 1);
    if (!grown) return last_status();
    w->panel = grown;
    w->panel_room = panel;
  }
  for (size_t n; bytes; data += n, bytes -= n) {
    const size_t there = w->filled % panel;
    n = bytes < panel - there ? bytes : panel - there;
    memcpy(w->panel + there, data, n);
    w->filled += n;
    if (w->filled % panel) continue;
    interleaved_panel(t->dtype, t->dim, w->panel, w->panel + panel);
    if (emit(w, w->panel + panel, panel)) return last_status();
  }
  return STATUS_OK;
}

static status put(writer *w, const writer_tensor *t, const void *data, size_t bytes) {
  if (t->interleaved) return put_rows(w, t, data, bytes);
  w->filled += bytes;
  return emit(w, data, bytes);
}

status writer_put(writer *w, const char *name, const void *data, size_t bytes) {
  if (w->failed || bytes == 0) return w->failed;
  const writer_tensor *t = expect(w, name, bytes);
  return !t || put(w, t, data, bytes) ? failed(w) : STATUS_OK;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

/* What rounding would make infinite. Block types hold scales and offsets as f16, and none of what is not finite. */
static status check_range(const writer_tensor *t, const float *values, size_t n) {
  const bool blocks = checkpoint_dtype_block(t->dtype) > 1;
  const float beyond = t->dtype == CHECKPOINT_BF16 ? 0x1.ffp127f : 65520;
  size_t beyond_it = 0; /* first without a way out, so that the compiler can vectorise it */
  for (size_t i = 0; i < n; i++) beyond_it += !(fabsf(values[i]) < beyond);
  for (size_t i = 0; beyond_it && i < n; i++)
    if (!(fabsf(values[i]) < beyond) && (blocks || isfinite(values[i])))
      return fail(STATUS_UNSUPPORTED, "tensor %s holds %g, which %s cannot hold: write BF16 or F32", t->name,
                  (double)values[i], checkpoint_dtype_name(t->dtype));
  return STATUS_OK;
}

static void narrow_slice(checkpoint_dtype stored, const float *values, size_t n, void *out) {
  dtype type;
  if (packed_type(stored, &type))
    packed_encode(type, values, n, out);
  else
    memcpy(out, values, n * sizeof *values);
}

/* On all threads: encoding a block type is a search. */
void writer_encode(checkpoint_dtype stored, const float *values, size_t n, uint8_t *out) {
  enum { SLICE = 2048 }; /* values: whole blocks of each type */
  const size_t block = checkpoint_dtype_block(stored), size = checkpoint_dtype_size(stored);
#pragma omp parallel for schedule(static) if (block > 1 && n > SLICE)
  for (size_t at = 0; at < n; at += SLICE)
    narrow_slice(stored, values + at, n - at < SLICE ? n - at : SLICE, out + at / block * size);
}

static status put_narrowed(writer *w, const writer_tensor *t, const float *values, size_t n) {
  enum { PART = 1 << 15 }; /* values: whole blocks of each type, none of which takes more than two bytes a value */
  uint16_t out[PART];
  for (size_t done = 0, part; done < n; done += part) {
    part = n - done < PART ? n - done : PART;
    if (check_range(t, values + done, part)) return last_status();
    writer_encode(t->dtype, values + done, part, (uint8_t *)out);
    if (put(w, t, out, part / checkpoint_dtype_block(t->dtype) * checkpoint_dtype_size(t->dtype))) return last_status();
  }
  return STATUS_OK;
}

static status put_values(writer *w, const char *name, const float *values, size_t n) {
  const writer_tensor *t = expect(w, name, 0);
  if (!t) return last_status();
  const size_t block = checkpoint_dtype_block(t->dtype);
  size_t bytes;
  if (block == 1 && t->dtype != CHECKPOINT_F32 && t->dtype != CHECKPOINT_F16 && t->dtype != CHECKPOINT_BF16)
    return fail(STATUS_ARGUMENT, "tensor %s is declared %s, which f32 values are not turned into", name,
                checkpoint_dtype_name(t->dtype));
  if (n % block)
    return fail(STATUS_ARGUMENT, "tensor %s (%s) takes whole blocks of %zu values, but %zu are given", name,
                checkpoint_dtype_name(t->dtype), block, n);
  if (!size_mul(n / block, checkpoint_dtype_size(t->dtype), &bytes)) bytes = SIZE_MAX;
  if (!expect(w, name, bytes)) return last_status();
  return t->dtype == CHECKPOINT_F32 ? put(w, t, values, bytes) : put_narrowed(w, t, values, n);
}

status writer_put_f32(writer *w, const char *name, const float *values, size_t n) {
  if (w->failed || n == 0) return w->failed;
  return put_values(w, name, values, n) ? failed(w) : STATUS_OK;
}

/* --- end ---------------------------------------------------------------------------------------------------------- */

static status complete(writer *w) {
  if (seal(w)) return failed(w);
  if (w->current < w->content.count) {
    const writer_tensor *t = &w->content.tensors[w->current];
    return fail(STATUS_ARGUMENT, "%s: tensor %s has %zu bytes, but only %zu were given", w->path, t->name, t->bytes,
                w->filled);
  }
  char digits[CHECKSUM_DIGITS + 1];
  checksum_text(w->sum, digits);
  return atomic_file_patch(w->file, w->digits, digits, CHECKSUM_DIGITS);
}

status writer_finish(writer *w) {
  status result = w->failed;
  if (!result) result = complete(w);
  if (!result) {
    result = atomic_file_commit(w->file);
    w->file = NULL;
  }
  writer_abandon(w);
  return result;
}
