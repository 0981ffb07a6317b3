/* safetensors: 8 bytes little-endian length of a JSON header {name: {dtype, shape, data_offsets}}, then the data. */
#include "tests/support/golden.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base.h"

typedef struct {
  const char *name, *dtype; /* owned by the JSON header */
  int n_dims;
  int64_t dims[8];
  void *data;
} golden_tensor;

struct golden {
  json_t *header;
  size_t count;
  golden_tensor *tensors;
};

static int64_t dtype_size(const char *dtype) {
  static const struct {
    const char *name;
    int64_t size;
  } sizes[] = {{"F64", 8}, {"I64", 8}, {"U64", 8},  {"F32", 4}, {"I32", 4}, {"U32", 4}, {"F16", 2},
               {"I16", 2}, {"U16", 2}, {"BF16", 2}, {"U8", 1},  {"I8", 1},  {"BOOL", 1}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (!strcmp(dtype, sizes[i].name)) return sizes[i].size;
  return 0;
}

/* Reads one entry of the header and its bytes; the data section starts at `base`. */
static bool read_tensor(FILE *file, long base, const char *name, json_t *entry, golden_tensor *t) {
  json_int_t begin, end;
  json_t *shape;
  if (json_unpack(entry, "{s:s, s:o, s:[I,I]}", "dtype", &t->dtype, "shape", &shape, "data_offsets", &begin, &end))
    return false;
  int64_t bytes = dtype_size(t->dtype);
  if (!bytes || !json_is_array(shape) || json_array_size(shape) > 8 || begin < 0 || end < begin) return false;
  t->name = name;
  t->n_dims = (int)json_array_size(shape);
  for (int i = 0; i < t->n_dims; i++) {
    t->dims[i] = json_integer_value(json_array_get(shape, (size_t)i));
    if (t->dims[i] < 0 || (t->dims[i] && bytes > INT64_MAX / t->dims[i])) return false;
    bytes *= t->dims[i];
  }
  if (bytes != end - begin || !(t->data = mem_alloc((size_t)bytes, 1))) return false;
  return !fseek(file, base + (long)begin, SEEK_SET) && fread(t->data, 1, (size_t)bytes, file) == (size_t)bytes;
}

static bool read_all(FILE *file, golden *g) {
  uint8_t length[8];
  uint64_t n = 0;
  if (fread(length, 1, 8, file) != 8) return false;
  for (int i = 7; i >= 0; i--) n = n << 8 | length[i];
  if (n > (64 << 20)) return false;
  char *text = mem_alloc((size_t)n, 1);
  if (text && fread(text, 1, (size_t)n, file) == n) g->header = json_loadb(text, (size_t)n, 0, NULL);
  free(text);
  if (!json_is_object(g->header) || !(g->tensors = mem_zero(json_object_size(g->header), sizeof *g->tensors)))
    return false;
  const char *name;
  json_t *entry;
  json_object_foreach(g->header, name, entry) {
    if (strcmp(name, "__metadata__") && !read_tensor(file, (long)(8 + n), name, entry, &g->tensors[g->count++]))
      return false;
  }
  return true;
}

golden *golden_open(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return fail_null(STATUS_IO, "cannot open %s", path);
  golden *g = mem_zero(1, sizeof *g);
  bool ok = g && read_all(file, g);
  fclose(file);
  if (ok) return g;
  golden_close(g);
  return fail_null(STATUS_FORMAT, "%s is not a readable safetensors file", path);
}

void golden_close(golden *g) {
  if (!g) return;
  for (size_t i = 0; i < g->count; i++) free(g->tensors[i].data);
  free(g->tensors);
  json_decref(g->header);
  free(g);
}

static const golden_tensor *find(const golden *g, const char *name) {
  for (size_t i = 0; i < g->count; i++)
    if (!strcmp(g->tensors[i].name, name)) return &g->tensors[i];
  return fail_null(STATUS_ARGUMENT, "there is no tensor %s", name);
}

const void *golden_get(const golden *g, const char *name, const char *expected_dtype, int *n_dims, int64_t dims[8]) {
  const golden_tensor *t = find(g, name);
  if (!t) return NULL;
  if (expected_dtype && strcmp(t->dtype, expected_dtype))
    return fail_null(STATUS_FORMAT, "%s has type %s, not %s", name, t->dtype, expected_dtype);
  if (n_dims) *n_dims = t->n_dims;
  if (dims) memcpy(dims, t->dims, sizeof t->dims);
  return t->data;
}

const float *golden_f32(const golden *g, const char *name, size_t *n) {
  int n_dims;
  int64_t dims[8];
  const float *data = golden_get(g, name, "F32", &n_dims, dims);
  if (data && n) {
    *n = 1;
    for (int i = 0; i < n_dims; i++) *n *= (size_t)dims[i];
  }
  return data;
}

size_t golden_count(const golden *g) { return g->count; }
const char *golden_name(const golden *g, size_t index) { return g->tensors[index].name; }

const char *golden_dtype(const golden *g, const char *name) {
  const golden_tensor *t = find(g, name);
  return t ? t->dtype : NULL;
}

const char *golden_metadata(const golden *g, const char *key) {
  return json_string_value(json_object_get(json_object_get(g->header, "__metadata__"), key));
}
