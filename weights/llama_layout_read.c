/* Showing llama.cpp's RWKV tensors as the official ones: see llama_layout.h. */
#include "weights/llama_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/container.h"
#include "weights/llama_layout_rows.h"

/* A tensor that does not lie in the file as it is shown. */
typedef struct {
  const uint8_t *data;
  int64_t rows, columns; /* of the matrices stored, if they are to be transposed; else 0 */
  int exponent;          /* values are to be multiplied by 2^exponent */
} view;

typedef struct {
  view *views; /* checkpoint_tensor.source is the index */
  size_t count, capacity;
} view_list;

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The n elements from `first` on of transposed matrices, in the order of their rows. */
static void gather(const view *v, size_t size, size_t first, size_t n, uint8_t *out) {
  const size_t rows = (size_t)v->rows, columns = (size_t)v->columns, all = rows * columns;
  size_t row = first % all / rows, column = first % rows;
  const uint8_t *matrix = v->data + first / all * all * size;
  for (size_t i = 0; i < n; i++, out += size) {
    memcpy(out, matrix + (column * columns + row) * size, size);
    if (++column < rows) continue;
    column = 0;
    if (++row < columns) continue;
    row = 0;
    matrix += all * size;
  }
}

static status read_view(void *self, const checkpoint_tensor *t, size_t offset, size_t bytes, void *out) {
  const view *v = &((const view_list *)self)->views[t->source];
  const size_t size = checkpoint_dtype_size(t->dtype);
  if (v->rows) {
    gather(v, size, offset / size, bytes / size, out);
    return STATUS_OK;
  }
  memcpy(out, v->data + offset, bytes);
  if (llama_scale(t->dtype, out, bytes, v->exponent)) return STATUS_OK;
  return fail(STATUS_UNSUPPORTED,
              "tensor %s: multiplied by 2^%d, as the file's rescale_every_n_layers asks, values go beyond %s", t->name,
              v->exponent, checkpoint_dtype_name(t->dtype));
}

static void close_views(void *self) {
  free(((view_list *)self)->views);
  free(self);
}

/* --- one tensor --------------------------------------------------------------------------------------------------- */

typedef struct {
  checkpoint *c;
  const llama_layout *layout;
  view_list *views;
  int64_t head_size, rescale_every;
} context;

static status add_view(context *x, checkpoint_tensor *t, const view *v) {
  view *views = mem_room(x->views->views, x->views->count, &x->views->capacity, sizeof *views);
  if (!views) return last_status();
  x->views->views = views;
  views[x->views->count] = *v;
  t->data = NULL;
  t->source = x->views->count++;
  return checkpoint_add(x->c, t);
}

static status refuse(const checkpoint_tensor *stored, const char *what) {
  char shape[CHECKPOINT_SHAPE_TEXT];
  return fail(STATUS_FORMAT, "tensor %s is %s: %s", stored->name,
              checkpoint_shape_text(stored->n_dims, stored->dim, shape), what);
}

static status set_shape(checkpoint_tensor *t, int n_dims, int64_t a, int64_t b, int64_t c) {
  t->n_dims = n_dims;
  t->dim[0] = a;
  t->dim[1] = b;
  t->dim[2] = c;
  if (checkpoint_shape_bytes(t->dtype, n_dims, t->dim, &t->bytes)) return STATUS_OK;
  char shape[CHECKPOINT_SHAPE_TEXT];
  return fail(STATUS_UNSUPPORTED, "tensor %s cannot be %s %s", t->name, checkpoint_dtype_name(t->dtype),
              checkpoint_shape_text(n_dims, t->dim, shape));
}

static status add_heads(context *x, checkpoint_tensor *t, const checkpoint_tensor *stored) {
  const int64_t n = checkpoint_elements(stored);
  if (n % x->head_size) return refuse(stored, "no multiple of the head size in the metadata");
  return set_shape(t, 2, n / x->head_size, x->head_size, 0) ? last_status() : checkpoint_add(x->c, t);
}

static status add_fused(context *x, checkpoint_tensor *t, const checkpoint_tensor *stored, int part) {
  const int64_t n = checkpoint_elements(stored), parts = x->layout->parts;
  if (stored->n_dims == 0 || stored->dim[0] != parts) {
    char what[64];
    snprintf(what, sizeof what, "%lld vectors were expected", (long long)parts);
    return refuse(stored, what);
  }
  if (set_shape(t, 3, 1, 1, n / parts)) return last_status();
  t->data = (const uint8_t *)stored->data + (size_t)part * t->bytes;
  return checkpoint_add(x->c, t);
}

static status add_transposed(context *x, checkpoint_tensor *t, const checkpoint_tensor *stored) {
  if (checkpoint_dtype_block(t->dtype) > 1)
    return fail(STATUS_UNSUPPORTED, "tensor %s is of type %s, in which a matrix cannot be transposed", stored->name,
                checkpoint_dtype_name(t->dtype));
  if (stored->n_dims == 0) return refuse(stored, "a matrix was expected");
  if (t->n_dims == 1) { /* GGUF's writers leave an outermost dimension of 1 out */
    t->n_dims = 2;
    t->dim[1] = t->dim[0];
    t->dim[0] = 1;
  }
  int64_t *last = &t->dim[t->n_dims - 2];
  const view v = {.data = stored->data, .rows = last[0], .columns = last[1]};
  last[0] = v.columns;
  last[1] = v.rows;
  return t->bytes ? add_view(x, t, &v) : checkpoint_add(x->c, t);
}

/* The official tensor of a row. */
static status add_official(context *x, const llama_row *row, const char *name, int block,
                           const checkpoint_tensor *stored) {
  checkpoint_tensor t = *stored;
  const int64_t exponent = x->rescale_every ? block / x->rescale_every : 0;
  t.name = name;
  switch (row->change) {
  case LLAMA_VECTOR:
    return set_shape(&t, 3, 1, 1, checkpoint_elements(stored)) ? last_status() : checkpoint_add(x->c, &t);
  case LLAMA_HEADS:
  case LLAMA_HEADS_FLAT:
    return add_heads(x, &t, stored);
  case LLAMA_TRANSPOSED:
    return add_transposed(x, &t, stored);
  case LLAMA_FUSED:
    return add_fused(x, &t, stored, row->part);
  case LLAMA_DIVIDED:
    if (!exponent || !t.bytes) break;
    if (!llama_scales(t.dtype))
      return fail(STATUS_UNSUPPORTED, "tensor %s is of type %s, which is not rescaled", stored->name,
                  checkpoint_dtype_name(t.dtype));
    return add_view(x, &t, &(view){.data = stored->data, .exponent = (int)exponent});
  case LLAMA_SAME:
    break;
  }
  return checkpoint_add(x->c, &t);
}

/* "blk.12.time_mix_key.weight": 12 and where the rest begins; NULL if it is no such name. */
static const char *block_stem(const char *name, int *block) {
  enum { DIGITS = 6 };
  if (strncmp(name, "blk.", 4)) return NULL;
  const size_t digits = strspn(name += 4, "0123456789");
  if (digits == 0 || digits > DIGITS || name[digits] != '.') return NULL;
  *block = atoi(name);
  return name + digits + 1;
}

/* Every official tensor that a stored one holds; itself, if there is none. */
static status add_stored(context *x, const checkpoint_tensor *stored) {
  int block = 0;
  const char *stem = block_stem(stored->name, &block);
  const llama_row *rows = stem ? x->layout->rows : llama_outer;
  const size_t n = stem ? x->layout->n_rows : llama_outer_count;
  bool found = false;
  if (stored->packed)
    return fail(STATUS_FORMAT, "tensor %s is interleaved, which a file in llama.cpp's layout cannot be", stored->name);
  for (size_t i = 0; i < n; i++) {
    char name[CHECKPOINT_NAME_MAX];
    if (strcmp(rows[i].llama, stem ? stem : stored->name)) continue;
    found = true;
    if (rows[i].first && block == 0) continue;
    if (stem)
      snprintf(name, sizeof name, "blocks.%d.%s", block, rows[i].official);
    else
      snprintf(name, sizeof name, "%s", rows[i].official);
    if (add_official(x, &rows[i], name, block, stored)) return last_status();
  }
  return found ? STATUS_OK : checkpoint_add(x->c, stored);
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

/* Keys are not sorted yet. */
static const checkpoint_entry *find_entry(const checkpoint *c, const char *key) {
  for (size_t i = 0; i < c->entry_count; i++)
    if (!strcmp(c->entries[i].key, key)) return &c->entries[i];
  return NULL;
}

static bool has_tensor(const checkpoint *c, const char *name) {
  for (size_t i = 0; i < c->count; i++)
    if (!strcmp(c->tensors[i].name, name)) return true;
  return false;
}

static const llama_layout *find_layout(const checkpoint *c) {
  const checkpoint_entry *e = find_entry(c, "general.architecture");
  if (!e || !e->text || !has_tensor(c, llama_outer[0].llama)) return NULL;
  for (size_t i = 0; i < llama_layout_count; i++)
    if (!strcmp(llama_layouts[i].architecture, e->text)) return &llama_layouts[i];
  return NULL;
}

/* A number of layers or channels. */
static status read_count(const context *x, const char *what, int64_t least, int64_t absent, int64_t *out) {
  char key[LLAMA_KEY];
  const checkpoint_entry *e = find_entry(x->c, llama_key(x->layout, what, key));
  *out = absent;
  if (!e && absent >= least) return STATUS_OK;
  if (!e) return fail(STATUS_FORMAT, "metadata %s is missing", key);
  if (metadata_integer(&e->value, out) && *out >= least && *out <= INT32_MAX) return STATUS_OK;
  return fail(STATUS_FORMAT, "metadata %s is no number from %lld up", key, (long long)least);
}

status llama_layout_apply(checkpoint *c) {
  context x = {.c = c, .layout = find_layout(c)};
  if (!x.layout) return STATUS_OK;
  if (read_count(&x, "wkv.head_size", 1, -1, &x.head_size) ||
      read_count(&x, "rescale_every_n_layers", 0, 0, &x.rescale_every))
    return last_status();
  if (!(x.views = mem_zero(1, sizeof *x.views))) return last_status();
  c->reader = (checkpoint_reader){.read = read_view, .close = close_views, .self = x.views};
  checkpoint_tensor *stored = c->tensors;
  const size_t count = c->count;
  c->tensors = NULL;
  c->count = c->capacity = 0;
  status s = STATUS_OK;
  for (size_t i = 0; i < count && !s; i++) s = add_stored(&x, &stored[i]);
  for (size_t i = 0; i < count; i++) free((char *)stored[i].name);
  free(stored);
  return s;
}
