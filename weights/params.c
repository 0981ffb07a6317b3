#include "weights/params.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/packing.h"
#include "weights/writer.h"

enum { LINE = 64 }; /* bytes: each parameter starts on a cache line */

/* --- declaration -------------------------------------------------------------------------------------------------- */

/* `prefix` + the row's name with its block number. Owned by the caller. */
static char *full_name(const char *prefix, const char *name, int block) {
  const char *mark = strstr(name, "%d");
  size_t room = strlen(prefix) + strlen(name) + 12;
  char *out = mem_alloc(room, 1);
  if (!out) return NULL;
  if (mark)
    snprintf(out, room, "%s%.*s%d%s", prefix, (int)(mark - name), name, block, mark + 2);
  else
    snprintf(out, room, "%s%s", prefix, name);
  return out;
}

/* The place of `size` units behind `*end`, which begins on a cache line of `line` units. */
static bool take_place(size_t *end, size_t size, size_t line, size_t *place) {
  size_t padded;
  *place = *end;
  return size_add(size, line - 1, &padded) && size_add(*end, padded / line * line, end);
}

static status declare_one(param_set *set, const char *prefix, const param_spec *row, int block, int n_blocks,
                          const int64_t *sizes, void *owner) {
  param *items = mem_room(set->item, set->n, &set->capacity, sizeof *items);
  if (!items) return STATUS_MEMORY;
  set->item = items;
  param p = {.spec = row,
             .layer = block < 0 ? 0 : block,
             .n_layers = n_blocks,
             .gain = row->gain,
             .slot = (tensor **)((char *)owner + row->field)};
  size_t count = 1;
  for (; p.n_dims < PARAM_DIMS && row->dim[p.n_dims]; p.n_dims++) {
    int d = row->dim[p.n_dims];
    p.dim[p.n_dims] = d > 0 ? d : sizes[-d];
    if (!size_mul(count, (size_t)p.dim[p.n_dims], &count)) return fail(STATUS_MEMORY, "a parameter is too large");
  }
  if (!take_place(&set->count, count, LINE / sizeof(float), &p.first))
    return fail(STATUS_MEMORY, "the model is too large");
  if (!(p.name = full_name(prefix, row->name, block))) return STATUS_MEMORY;
  set->item[set->n++] = p;
  return STATUS_OK;
}

status params_declare(param_set *set, const char *prefix, const param_spec *rows, size_t n_rows, int block,
                      int n_blocks, const int64_t *sizes, void *owner) {
  for (size_t i = 0; i < n_rows; i++) {
    bool in_block = strstr(rows[i].name, "%d") != NULL;
    if (in_block != (block >= 0) || ((rows[i].flags & PARAM_FIRST_BLOCK) && block > 0) ||
        ((rows[i].flags & PARAM_LATER_BLOCKS) && block == 0))
      continue;
    status s = declare_one(set, prefix, &rows[i], block, n_blocks, sizes, owner);
    if (s) return s;
  }
  return STATUS_OK;
}

static float *buffer_new(size_t count) {
  size_t bytes;
  if (!size_mul(count, sizeof(float), &bytes)) return fail_null(STATUS_MEMORY, "the model is too large");
  float *p = mem_aligned(bytes);
  if (p) memset(p, 0, bytes);
  return p;
}

static void *place_of(const param_set *set, const param *p) {
  if (p->mapped) return (void *)(uintptr_t)p->mapped; /* read only: no operator writes to what is for use */
  return dtype_is_packed(p->type) ? (void *)(set->packed + p->first) : set->values + p->first;
}

status params_allocate(param_set *set) {
  set->values = buffer_new(set->count);
  set->packed = set->packed_bytes ? mem_aligned(set->packed_bytes) : NULL;
  set->tensors = mem_zero(2 * set->n, sizeof *set->tensors); /* values, then gradients */
  if (!set->values || !set->tensors || (set->packed_bytes && !set->packed)) return STATUS_MEMORY;
  for (size_t i = 0; i < set->n; i++) {
    param *p = &set->item[i];
    tensor *t = &set->tensors[i];
    *t = (tensor){.type = p->type, .n_dims = p->n_dims, .data = place_of(set, p)};
    memcpy(t->dim, p->dim, sizeof p->dim);
    if (p->spec->layout == LAYOUT_PATCH) {
      t->n_dims = 2;
      t->dim[1] = p->dim[1] * p->dim[2] * p->dim[3];
    }
    if (p->spec->layout == LAYOUT_TRANSPOSED) {
      t->dim[t->n_dims - 2] = p->dim[p->n_dims - 1];
      t->dim[t->n_dims - 1] = p->dim[p->n_dims - 2];
    }
    *p->slot = p->value = t;
  }
  return STATUS_OK;
}

void params_free(param_set *set) {
  for (size_t i = 0; i < set->n; i++) free(set->item[i].name);
  free(set->item);
  free(set->tensors);
  free(set->values);
  free(set->packed);
  free(set->grads);
  checkpoint_close(set->file);
  *set = (param_set){0};
}

status params_want_grads(param_set *set, bool want) {
  assert(!set->packed && !set->file);
  if (want && !set->grads && !(set->grads = buffer_new(set->count))) return STATUS_MEMORY;
  if (!want) {
    free(set->grads);
    set->grads = NULL;
  }
  for (size_t i = 0; i < set->n; i++) {
    tensor *t = &set->tensors[i], *g = &set->tensors[set->n + i];
    t->needs_grad = want;
    t->grad = want ? g : NULL;
    *g = (tensor){.type = DTYPE_F32, .n_dims = t->n_dims, .data = want ? set->grads + set->item[i].first : NULL};
    memcpy(g->dim, t->dim, sizeof t->dim);
  }
  return STATUS_OK;
}

void params_zero_grads(param_set *set) { memset(set->grads, 0, set->count * sizeof(float)); }

/* --- initial values ----------------------------------------------------------------------------------------------- */

static uint64_t hash_name(const char *name) { /* FNV-1a: the stream of a parameter's random numbers */
  uint64_t h = 0xcbf29ce484222325u;
  for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001b3u;
  return h;
}

void params_init(param_set *set, uint64_t seed) {
  for (size_t i = 0; i < set->n; i++) {
    param *p = &set->item[i];
    init_site site = {p->dim, p->n_dims, p->layer, p->n_layers, p->gain, rng_make(seed, hash_name(p->name))};
    p->spec->init(&site, f32(p->value), tensor_count(p->value));
  }
}

/* --- files -------------------------------------------------------------------------------------------------------- */

/* Moves a patch convolution between [D,3,P,P] and [D,(row,column,channel)]. */
static void permute_patch(const param *p, const float *from, float *to, bool to_memory) {
  int64_t D = p->dim[0], K = p->dim[1], P = p->dim[2];
  for (int64_t d = 0; d < D; d++)
    for (int64_t k = 0; k < K; k++)
      for (int64_t yx = 0; yx < P * P; yx++) {
        int64_t file = (d * K + k) * P * P + yx, memory = (d * P * P + yx) * K + k;
        to[to_memory ? memory : file] = from[to_memory ? file : memory];
      }
}

/* [..,rows,columns] -> [..,columns,rows] */
static void transpose(int64_t n, int64_t rows, int64_t columns, const float *from, float *to) {
  for (int64_t i = 0; i < n; i += rows * columns)
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < columns; c++) to[i + c * rows + r] = from[i + r * columns + c];
}

void param_import(const param *p, const float *file, float *memory) {
  if (p->spec->layout == LAYOUT_PATCH)
    permute_patch(p, file, memory, true);
  else if (p->spec->layout == LAYOUT_TRANSPOSED)
    transpose(tensor_count(p->value), p->dim[p->n_dims - 2], p->dim[p->n_dims - 1], file, memory);
  else
    memcpy(memory, file, (size_t)tensor_count(p->value) * sizeof *memory);
}

void param_export(const param *p, const float *memory, float *out) {
  if (p->spec->layout == LAYOUT_PATCH)
    permute_patch(p, memory, out, false);
  else if (p->spec->layout == LAYOUT_TRANSPOSED)
    transpose(tensor_count(p->value), p->dim[p->n_dims - 1], p->dim[p->n_dims - 2], memory, out);
  else
    memcpy(out, memory, (size_t)tensor_count(p->value) * sizeof *out);
}

static bool same_shape(const param *p, const checkpoint_tensor *t) {
  return t->n_dims == p->n_dims && !memcmp(t->dim, p->dim, (size_t)p->n_dims * sizeof *p->dim);
}

static status wrong_shape(const param *p, const checkpoint *file, const checkpoint_tensor *t) {
  char expected[CHECKPOINT_SHAPE_TEXT], found[CHECKPOINT_SHAPE_TEXT];
  return fail(STATUS_FORMAT, "%s: tensor %s has shape %s, expected %s", checkpoint_path(file), t->name,
              checkpoint_shape_text(t->n_dims, t->dim, found), checkpoint_shape_text(p->n_dims, p->dim, expected));
}

/* The tensor's values, which must be finite and of p's shape, in memory layout. */
static status load_one(const param *p, const checkpoint *file, const checkpoint_tensor *t, float *memory) {
  status s = checkpoint_check_finite(file, t);
  if (s) return s;
  if (p->spec->layout == LAYOUT_SAME) return checkpoint_read_f32(file, t, memory);
  float *values = mem_alloc((size_t)tensor_count(p->value), sizeof *values);
  if (!values) return STATUS_MEMORY;
  s = checkpoint_read_f32(file, t, values);
  if (!s) param_import(p, values, memory);
  free(values);
  return s;
}

/* The file's tensor for p; NULL without a failure if p is to keep its values. */
static status find_one(const param *p, const checkpoint *file, bool partial, const checkpoint_tensor **found) {
  const checkpoint_tensor *t = checkpoint_find(file, p->name);
  *found = t && same_shape(p, t) ? t : NULL;
  if (*found || partial || (!t && (p->spec->flags & PARAM_TRAINING))) return STATUS_OK;
  return t ? wrong_shape(p, file, t) : last_status();
}

status params_check(const param_set *set, const checkpoint *file) {
  status s = STATUS_OK;
  const checkpoint_tensor *t;
  for (size_t i = 0; !s && i < set->n; i++) s = find_one(&set->item[i], file, false, &t);
  return s;
}

status params_load(param_set *set, const checkpoint *file, bool partial, size_t *n_loaded) {
  size_t loaded = 0;
  for (size_t i = 0; i < set->n; i++) {
    param *p = &set->item[i];
    const checkpoint_tensor *t;
    status s = find_one(p, file, partial, &t);
    if (!s && t && !p->mapped)
      s = dtype_is_packed(p->type) ? checkpoint_read_packed(file, t, p->value->data)
                                   : load_one(p, file, t, f32(p->value));
    if (s) return s;
    loaded += t != NULL;
  }
  if (n_loaded) *n_loaded = loaded;
  return STATUS_OK;
}

/* --- for use ------------------------------------------------------------------------------------------------------ */

/* Matrices and tables go through linear() and embedding() alone; few rows are not worth filling up to a panel. */
static bool keeps_type(const param *p, const checkpoint_tensor *t) {
  return (p->spec->class == PARAM_MATRIX || p->spec->class == PARAM_EMBEDDING) && p->spec->layout == LAYOUT_SAME &&
         !(p->spec->flags & PARAM_CUT) && p->n_dims == 2 && p->dim[0] >= PACKED_ROWS && p->dim[1] > 0 &&
         packed_type(t->dtype, &(dtype){0});
}

/* Where an interleaved file has the values as they are to lie in memory; NULL where it does not. */
static const void *place_in_file(const param *p, const checkpoint_tensor *t) {
  if (dtype_is_packed(p->type)) return t->packed;
  const bool as_is = t->dtype == CHECKPOINT_F32 && p->spec->layout == LAYOUT_SAME && (uintptr_t)t->data % LINE == 0;
  return as_is ? t->data : NULL;
}

/* Gives every parameter its type and place. */
static status keep_types(param_set *set, const checkpoint *file) {
  checkpoint *share = checkpoint_is_interleaved(file) ? checkpoint_share(file) : NULL;
  set->count = 0;
  set->file = share;
  for (size_t i = 0; i < set->n; i++) {
    param *p = &set->item[i];
    const checkpoint_tensor *t = checkpoint_find(file, p->name);
    size_t count = 1;
    for (int d = 0; d < p->n_dims; d++) count *= (size_t)p->dim[d]; /* did not overflow before */
    bool ok = true;
    if (t && keeps_type(p, t)) packed_type(t->dtype, &p->type);
    p->mapped = t && share ? place_in_file(p, t) : NULL;
    if (p->mapped) continue;
    if (!dtype_is_packed(p->type))
      ok = take_place(&set->count, count, LINE / sizeof(float), &p->first);
    else
      ok = take_place(&set->packed_bytes, packed_bytes(p->type, (size_t)p->dim[0], (size_t)p->dim[1]), LINE, &p->first);
    if (!ok) return fail(STATUS_MEMORY, "the model is too large");
  }
  return STATUS_OK;
}

status params_open(param_set *set, const checkpoint *file, params_purpose purpose) {
  status s = params_check(set, file);
  if (!s && purpose == PARAMS_FOR_USE) s = keep_types(set, file);
  if (!s) s = params_allocate(set);
  return s ? s : params_load(set, file, false, NULL);
}

void param_values(const tensor *value, size_t first, size_t n, float *out) {
  if (dtype_is_packed(value->type))
    packed_values(&(packed_matrix){value->type, (size_t)value->dim[0], (size_t)value->dim[1], value->data}, first, n,
                  out);
  else
    memcpy(out, f32(value) + first, n * sizeof *out);
}

status params_check_result(const float *values, size_t n) {
  size_t found = 0, at = 0; /* first without a way out, so that the compiler can vectorise it */
  for (size_t i = 0; i < n; i++) found += !isfinite(values[i]);
  if (!found) return STATUS_OK;
  while (isfinite(values[at])) at++;
  return fail(STATUS_FORMAT, "the model computes %s: its weights are damaged or out of range",
              isnan(values[at]) ? "NaN" : "infinity");
}

/* Pieces of a parameter's values, those of a packed one taken out by all threads. */
static void each_value(const tensor *value, size_t count, void (*take)(void *user, const float *values, size_t n),
                       void *user) {
  enum { PART = 1 << 10, PARTS = 1 << 4 };
  float piece[PART * PARTS];
  if (!dtype_is_packed(value->type)) {
    take(user, f32(value), count);
    return;
  }
  for (size_t at = 0, n; at < count; at += n) {
    n = count - at < PART * PARTS ? count - at : PART * PARTS;
#pragma omp parallel for schedule(static)
    for (size_t part = 0; part < n; part += PART)
      param_values(value, at + part, n - part < PART ? n - part : PART, piece + part);
    take(user, piece, n);
  }
}

void params_each_value(const param_set *set, void (*take)(void *user, const float *values, size_t n), void *user) {
  enum { FLOATS = LINE / sizeof(float) };
  static const float zeros[FLOATS];
  for (size_t i = 0; i < set->n; i++) {
    const tensor *value = set->item[i].value;
    const size_t count = (size_t)tensor_count(value);
    each_value(value, count, take, user);
    if (count % FLOATS) take(user, zeros, FLOATS - count % FLOATS);
  }
}

/* prefix + the parameter's name, owned by the caller. */
static char *buffer_name(const param_buffer *buffer, const param *p) { return full_name(buffer->prefix, p->name, 0); }

status params_load_buffer(const param_set *set, const checkpoint *file, const param_buffer *buffer) {
  for (size_t i = 0; i < set->n; i++) {
    const param *p = &set->item[i];
    char *name = buffer_name(buffer, p);
    if (!name) return STATUS_MEMORY;
    const checkpoint_tensor *t = checkpoint_find(file, name);
    free(name);
    status s = !t ? last_status() : same_shape(p, t) ? STATUS_OK : wrong_shape(p, file, t);
    if (!s) s = load_one(p, file, t, buffer->values + p->first);
    if (s) return s;
  }
  return STATUS_OK;
}

status params_load_extra(const checkpoint *file, const char *name, float *values, size_t n) {
  const checkpoint_tensor *t = checkpoint_find(file, name);
  if (!t) return last_status();
  if (t->n_dims != 1 || (uint64_t)t->dim[0] != n) {
    char found[CHECKPOINT_SHAPE_TEXT];
    return fail(STATUS_FORMAT, "%s: tensor %s has shape %s, expected %zu values", checkpoint_path(file), name,
                checkpoint_shape_text(t->n_dims, t->dim, found), n);
  }
  const status s = checkpoint_check_finite(file, t);
  return s ? s : checkpoint_read_f32(file, t, values);
}

static bool is_written(const param *p, const params_file *what) {
  return what->training || !(p->spec->flags & PARAM_TRAINING);
}

/* Declares (put = false) or writes every parameter, then every buffer's, then what is beside the set. */
static status each_tensor(const param_set *set, const params_file *what, writer *w, bool put, float *scratch) {
  status s = STATUS_OK;
  for (size_t b = 0; b <= what->n_buffers; b++)
    for (size_t i = 0; !s && i < set->n; i++) {
      const param *p = &set->item[i];
      const param_buffer *buffer = b ? &what->buffers[b - 1] : &(param_buffer){"", set->values};
      if (!is_written(p, what)) continue;
      char *name = buffer_name(buffer, p);
      if (!name) return STATUS_MEMORY;
      if (put) {
        if (dtype_is_packed(p->type))
          param_values(p->value, 0, (size_t)tensor_count(p->value), scratch); /* in either layout the same */
        else
          param_export(p, p->mapped ? p->mapped : buffer->values + p->first, scratch);
        s = writer_put_f32(w, name, scratch, (size_t)tensor_count(p->value));
      } else {
        s = writer_declare(w, name, b ? CHECKPOINT_F32 : what->type, p->n_dims, p->dim);
      }
      free(name);
    }
  for (size_t i = 0; !s && i < what->n_extra; i++) {
    const param_extra *e = &what->extra[i];
    s = put ? writer_put_f32(w, e->name, e->values, e->n)
            : writer_declare(w, e->name, CHECKPOINT_F32, 1, (int64_t[]){(int64_t)e->n});
  }
  return s;
}

status params_save(const param_set *set, const char *path, const params_file *what) {
  size_t largest = 0;
  for (size_t i = 0; i < set->n; i++)
    if ((size_t)tensor_count(set->item[i].value) > largest) largest = (size_t)tensor_count(set->item[i].value);
  float *scratch = mem_alloc(largest, sizeof *scratch);
  writer *w = scratch ? writer_create(path, NULL) : NULL;
  status s = w ? STATUS_OK : last_status();
  for (size_t i = 0; !s && i < what->n_metadata; i++) s = writer_string(w, what->metadata[i][0], what->metadata[i][1]);
  if (!s) s = each_tensor(set, what, w, false, scratch);
  if (!s) s = each_tensor(set, what, w, true, scratch);
  free(scratch);
  if (!s) return writer_finish(w);
  writer_abandon(w);
  return s;
}

/* --- configs from files ------------------------------------------------------------------------------------------- */

status checkpoint_shape(const checkpoint *file, const char *prefix, const char *name, int n_dims, int64_t *dim) {
  char *whole = full_name(prefix, name, 0);
  if (!whole) return STATUS_MEMORY;
  const checkpoint_tensor *t = checkpoint_find(file, whole);
  free(whole);
  if (!t) return last_status();
  if (t->n_dims != n_dims)
    return fail(STATUS_FORMAT, "%s: tensor %s has %d dimensions, expected %d", checkpoint_path(file), t->name,
                t->n_dims, n_dims);
  for (int i = 0; i < n_dims; i++) {
    if (t->dim[i] < 1 || t->dim[i] > INT32_MAX)
      return fail(STATUS_FORMAT, "%s: tensor %s has a dimension of %lld", checkpoint_path(file), t->name,
                  (long long)t->dim[i]);
    dim[i] = t->dim[i];
  }
  return STATUS_OK;
}

int checkpoint_blocks(const checkpoint *file, const char *prefix, const char *stem) {
  size_t n_prefix = strlen(prefix), n_stem = strlen(stem);
  long most = -1;
  for (size_t i = 0; i < checkpoint_count(file); i++) {
    const char *name = checkpoint_at(file, i)->name;
    if (strncmp(name, prefix, n_prefix) || strncmp(name + n_prefix, stem, n_stem)) continue;
    char *end;
    long block = strtol(name + n_prefix + n_stem, &end, 10);
    if (end != name + n_prefix + n_stem && *end == '.' && block > most && block < 1 << 20) most = block;
  }
  return (int)most + 1;
}
