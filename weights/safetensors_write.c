/* The header is the one that safetensors.c describes: compact JSON, padded with spaces so that the data begins at a
 * multiple of 8 bytes, as the official library does. */
#include "weights/safetensors_write.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/atomic_file.h"
#include "kernels/bytes.h"
#include "weights/container.h"
#include "kernels/half.h"
#include "weights/safetensors_format.h"

typedef struct {
  char *name;
  checkpoint_dtype dtype;
  size_t bytes;
} declared;

struct safetensors_writer {
  atomic_file *file;
  char *path;
  status failed;
  json_t *header, *metadata; /* the second is the first's "__metadata__", its first entry as in official files */
  declared *tensors;
  size_t count, capacity;
  size_t data_bytes;      /* of everything declared */
  bool sealed;            /* the header is written: no more declarations */
  size_t current, filled; /* the tensor being written, and how many of its bytes are there */
};

safetensors_writer *safetensors_create(const char *path) {
  safetensors_writer *w = mem_zero(1, sizeof *w);
  if (!w) return NULL;
  w->path = mem_string(path);
  w->header = json_object();
  w->metadata = json_object();
  const bool ready = w->path && !json_object_set(w->header, "__metadata__", w->metadata);
  if (ready && (w->file = atomic_file_create(path))) return w;
  if (!ready) fail(STATUS_MEMORY, "%s: out of memory", path);
  safetensors_abandon(w);
  return NULL;
}

void safetensors_abandon(safetensors_writer *w) {
  if (!w) return;
  atomic_file_abandon(w->file);
  for (size_t i = 0; i < w->count; i++) free(w->tensors[i].name);
  free(w->tensors);
  json_decref(w->header);
  json_decref(w->metadata);
  free(w->path);
  free(w);
}

/* Remembers a failure, with the file's name before its sentence; atomic_file's, all STATUS_IO, have it already. */
static status failed(safetensors_writer *w) {
  return w->failed = last_status() == STATUS_IO ? STATUS_IO : fail_within("%s", w->path);
}

static status add_metadata(safetensors_writer *w, const char *key, const char *value) {
  if (w->sealed) return fail(STATUS_ARGUMENT, "metadata %s comes after data", key);
  if (json_object_get(w->metadata, key)) return fail(STATUS_ARGUMENT, "metadata %s is given twice", key);
  json_t *text = json_string(value); /* NULL for invalid UTF-8 */
  if (!text || json_object_set_new(w->metadata, key, text))
    return fail(STATUS_ARGUMENT, "metadata %s is not valid UTF-8", key);
  return STATUS_OK;
}

status safetensors_metadata(safetensors_writer *w, const char *key, const char *value) {
  if (w->failed) return w->failed;
  return add_metadata(w, key, value) ? failed(w) : STATUS_OK;
}

static json_t *json_shape(int n_dims, const int64_t *dim) {
  json_t *shape = json_array();
  for (int i = 0; i < n_dims; i++) json_array_append_new(shape, json_integer(dim[i]));
  return shape;
}

static status add_tensor(safetensors_writer *w, const char *name, checkpoint_dtype dtype, int n_dims,
                         const int64_t *dim) {
  size_t bytes, end;
  if (checkpoint_check_name(name)) return last_status();
  if (w->sealed) return fail(STATUS_ARGUMENT, "tensor %s is declared after data", name);
  if (!strcmp(name, "__metadata__")) return fail(STATUS_ARGUMENT, "a tensor cannot be named %s", name);
  if (json_object_get(w->header, name)) return fail(STATUS_ARGUMENT, "tensor %s is declared twice", name);
  if (!checkpoint_shape_bytes(dtype, n_dims, dim, &bytes) || !size_add(w->data_bytes, bytes, &end) || end > INT64_MAX)
    return fail(STATUS_ARGUMENT, "tensor %s has an impossible shape", name);
  declared *tensors = mem_room(w->tensors, w->count, &w->capacity, sizeof *tensors);
  if (!tensors) return last_status();
  w->tensors = tensors;
  char *copy = mem_string(name);
  if (!copy) return last_status();
  w->tensors[w->count++] = (declared){copy, dtype, bytes};
  json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", checkpoint_dtype_name(dtype), "shape",
                            json_shape(n_dims, dim), "data_offsets", (json_int_t)w->data_bytes, (json_int_t)end);
  if (!entry || json_array_size(json_object_get(entry, "shape")) != (size_t)n_dims) {
    json_decref(entry);
    return fail(STATUS_MEMORY, "out of memory");
  }
  if (json_object_set_new(w->header, name, entry)) return fail(STATUS_ARGUMENT, "tensor %s is not valid UTF-8", name);
  w->data_bytes = end;
  return STATUS_OK;
}

status safetensors_declare(safetensors_writer *w, const char *name, checkpoint_dtype dtype, int n_dims,
                           const int64_t *dim) {
  if (w->failed) return w->failed;
  return add_tensor(w, name, dtype, n_dims, dim) ? failed(w) : STATUS_OK;
}

static status write_header(safetensors_writer *w) {
  if (json_object_size(w->metadata) == 0) json_object_del(w->header, "__metadata__");
  char *text = json_dumps(w->header, JSON_COMPACT); /* keeps the order of insertion */
  if (!text) return fail(STATUS_MEMORY, "out of memory");
  const size_t length = strlen(text), padded = (length + 7) / 8 * 8;
  uint8_t prefix[8];
  put_little(prefix, padded, 8);
  status result = STATUS_OK;
  if (padded > SAFETENSORS_HEADER_MAX)
    result =
        fail(STATUS_UNSUPPORTED, "the header would have %zu bytes, the most is %d", padded, SAFETENSORS_HEADER_MAX);
  if (!result) result = atomic_file_write(w->file, prefix, 8);
  if (!result) result = atomic_file_write(w->file, text, length);
  if (!result) result = atomic_file_write(w->file, "       ", padded - length);
  free(text);
  return result;
}

/* Writes the header before the first data, and moves on past tensors that are complete. */
static status seal(safetensors_writer *w) {
  if (!w->sealed && write_header(w)) return last_status();
  w->sealed = true;
  while (w->current < w->count && w->filled == w->tensors[w->current].bytes) {
    w->current++;
    w->filled = 0;
  }
  return STATUS_OK;
}

/* The tensor whose turn it is; NULL unless it is `name` and has room for that many bytes. */
static const declared *expect(safetensors_writer *w, const char *name, size_t bytes) {
  if (seal(w)) return NULL;
  const declared *t = w->current < w->count ? &w->tensors[w->current] : NULL;
  if (!t) return fail_null(STATUS_ARGUMENT, "data of tensor %s comes after the last tensor", name);
  if (strcmp(t->name, name))
    return fail_null(STATUS_ARGUMENT, "data of tensor %s comes where tensor %s is expected", name, t->name);
  if (bytes > t->bytes - w->filled)
    return fail_null(STATUS_ARGUMENT, "tensor %s has %zu bytes, but more are given", name, t->bytes);
  return t;
}

static status put(safetensors_writer *w, const void *data, size_t bytes) {
  w->filled += bytes;
  return atomic_file_write(w->file, data, bytes);
}

status safetensors_put(safetensors_writer *w, const char *name, const void *data, size_t bytes) {
  if (w->failed || bytes == 0) return w->failed;
  return !expect(w, name, bytes) || put(w, data, bytes) ? failed(w) : STATUS_OK;
}

static status put_halves(safetensors_writer *w, checkpoint_dtype dtype, const float *values, size_t n) {
  uint16_t halves[4096];
  const size_t most = sizeof halves / sizeof *halves;
  for (size_t done = 0, part; done < n; done += part) {
    part = n - done < most ? n - done : most;
    if (dtype == CHECKPOINT_F16)
      f32_to_f16_array(values + done, part, halves);
    else
      f32_to_bf16_array(values + done, part, halves);
    if (put(w, halves, 2 * part)) return last_status();
  }
  return STATUS_OK;
}

static status put_values(safetensors_writer *w, const char *name, const float *values, size_t n) {
  const declared *t = expect(w, name, 0);
  size_t bytes;
  if (!t) return last_status();
  if (t->dtype != CHECKPOINT_F32 && t->dtype != CHECKPOINT_F16 && t->dtype != CHECKPOINT_BF16)
    return fail(STATUS_ARGUMENT, "tensor %s is declared %s, which f32 values are not turned into", name,
                checkpoint_dtype_name(t->dtype));
  if (!size_mul(n, checkpoint_dtype_size(t->dtype), &bytes)) bytes = SIZE_MAX;
  if (!expect(w, name, bytes)) return last_status();
  return t->dtype == CHECKPOINT_F32 ? put(w, values, bytes) : put_halves(w, t->dtype, values, n);
}

status safetensors_put_f32(safetensors_writer *w, const char *name, const float *values, size_t n) {
  if (w->failed || n == 0) return w->failed;
  return put_values(w, name, values, n) ? failed(w) : STATUS_OK;
}

status safetensors_finish(safetensors_writer *w) {
  status result = w->failed;
  if (!result && seal(w)) result = failed(w);
  if (!result && w->current < w->count) {
    const declared *t = &w->tensors[w->current];
    result = fail(STATUS_ARGUMENT, "%s: tensor %s has %zu bytes, but only %zu were given", w->path, t->name, t->bytes,
                  w->filled);
  }
  if (!result) {
    result = atomic_file_commit(w->file);
    w->file = NULL;
  }
  safetensors_abandon(w);
  return result;
}
