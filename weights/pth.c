/* Reading PyTorch's zip archives (.pth, .pt since 1.6): NAME/data.pkl, a pickle that describes the tensors, and
 * NAME/data/KEY, the raw numbers that they share; and TorchScript's, whose pickle describes a program's objects.
 * Rules: spec ecosystem section 6, language-models "Container", rwkv-clip section 11.1.
 *
 * Opening reads the pickle only. A tensor is read from its storage when it is asked for, in any pieces; read in order
 * to the end of its storage, the storage's checksum is compared (PyTorch itself ignores checksums).
 *
 * Memory: the pickle while the file is opened, and then nothing but one piece of one storage (pth_archive.h), for
 * tensors that do not lie there in row-major order: from the first to the last element of such a tensor. So the most is
 * the largest storage of a transposed tensor, or of a deflated archive. The pages of a mapped file are given back as
 * reading goes on. A tensor that repeats its storage (stride 0) may still be larger than the file: all that do
 * together are held to ARCHIVE_TIMES its size. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/file.h"
#include "weights/container.h"
#include "weights/pickle.h"
#include "weights/pth_archive.h"
#include "weights/pth_choose.h"
#include "weights/torchscript.h"

#define KEY_MAX 64
#define FORGET_EVERY (1 << 26) /* bytes read of a mapped file until its pages are given back */
#define SKIPPED_BYTES 256      /* of the text that lists tensors which are not read */

/* Where a tensor lies in its storage, in bytes; its strides in elements. */
typedef struct {
  size_t entry, offset;
  size_t span; /* from its first to its last element, inclusive */
  bool row_major;
  size_t stride[CHECKPOINT_DIMS];
} view;

typedef struct {
  checkpoint *c;
  archive *zip;
  char prefix[ARCHIVE_NAME_MAX]; /* "NAME/" */
  view *views;                   /* by checkpoint_tensor.source */
  size_t view_count, view_capacity;
  size_t budget;               /* bytes that tensors in another order than their storage may still have */
  char skipped[SKIPPED_BYTES]; /* tensors that are not read */
  pthread_mutex_t lock;        /* of zip and what follows */
  size_t since_forgotten;      /* bytes read */
} pth;

/* --- the reader --------------------------------------------------------------------------------------------------- */

/* Copies n elements of a tensor in row-major order, from the element of number `first` on. */
static void gather(const checkpoint_tensor *t, const view *v, const uint8_t *from, size_t first, size_t n,
                   uint8_t *out) {
  const size_t size = checkpoint_dtype_size(t->dtype);
  size_t at[CHECKPOINT_DIMS] = {0}, place = 0; /* wraps where a dimension of 1 has a giant stride, and back */
  for (int i = t->n_dims; i-- > 0; first /= (size_t)t->dim[i]) {
    at[i] = first % (size_t)t->dim[i];
    place += at[i] * v->stride[i];
  }
  for (uint8_t *end = out + n * size; out < end; out += size) {
    memcpy(out, from + place * size, size);
    for (int i = t->n_dims; i-- > 0;) {
      place += v->stride[i];
      if (++at[i] < (size_t)t->dim[i]) break;
      place -= v->stride[i] * (size_t)t->dim[i];
      at[i] = 0;
    }
  }
}

static status read_view(pth *f, const checkpoint_tensor *t, size_t offset, size_t bytes, void *out) {
  const view *v = &f->views[t->source];
  const size_t size = checkpoint_dtype_size(t->dtype);
  if (v->row_major) return archive_read(f->zip, v->entry, v->offset + offset, bytes, out);
  const uint8_t *from = archive_piece(f->zip, v->entry, v->offset, v->span);
  if (!from) return last_status();
  gather(t, v, from, offset / size, bytes / size, out);
  return STATUS_OK;
}

static void forget_pages(pth *f, size_t bytes) {
  f->since_forgotten += bytes;
  if (f->since_forgotten < FORGET_EVERY || !f->c->mapped) return;
  file_forget(f->c->data, f->c->size);
  f->since_forgotten = 0;
}

static status read_locked(void *self, const checkpoint_tensor *t, size_t offset, size_t bytes, void *out) {
  pth *f = self;
  pthread_mutex_lock(&f->lock);
  const status s = read_view(f, t, offset, bytes, out);
  forget_pages(f, bytes);
  pthread_mutex_unlock(&f->lock);
  return s;
}

static status verify_locked(void *self) {
  pth *f = self;
  pthread_mutex_lock(&f->lock);
  const status s = archive_verify(f->zip);
  pthread_mutex_unlock(&f->lock);
  return s;
}

static void close_file(void *self) {
  pth *f = self;
  archive_close(f->zip);
  pthread_mutex_destroy(&f->lock);
  free(f->views);
  free(f);
}

/* --- the archive's records ---------------------------------------------------------------------------------------- */

/* Finds the one NAME/data.pkl. */
static status find_root(pth *f, size_t *root) {
  size_t found = 0;
  for (size_t i = 0; i < archive_count(f->zip); i++) {
    const char *name = archive_name(f->zip, i), *slash = strchr(name, '/');
    if (!slash || strcmp(slash, "/data.pkl")) continue;
    const size_t length = (size_t)(slash - name) + 1;
    memcpy(f->prefix, name, length);
    f->prefix[length] = 0;
    *root = i;
    found++;
  }
  if (found == 1) return STATUS_OK;
  return fail(STATUS_FORMAT,
              found ? "the archive holds data.pkl in %zu folders; one is expected"
                    : "is a zip file, but not PyTorch's: it holds %zu files data.pkl",
              found);
}

/* A record by its name below the archive's folder. */
static bool find_record(const pth *f, const char *folder, const char *name, size_t length, size_t *index) {
  char path[ARCHIVE_NAME_MAX + KEY_MAX + 16];
  strcat(strcpy(path, f->prefix), folder);
  strncat(path, name, length);
  return archive_find(f->zip, path, index);
}

/* Numbers of another byte order would be read wrongly. */
static status check_byte_order(pth *f) {
  size_t index, size;
  char word[6];
  if (!find_record(f, "", "byteorder", 9, &index)) return STATUS_OK;
  if (archive_size(f->zip, index, &size)) return last_status();
  if (size == sizeof word) {
    if (archive_read(f->zip, index, 0, size, word)) return last_status();
    if (!memcmp(word, "little", size)) return STATUS_OK;
  }
  return fail(STATUS_UNSUPPORTED, "was written on a big-endian machine; this version reads little-endian files");
}

/* Finds the entry of a storage, which must have exactly the bytes that the pickle says. */
static status find_storage(const pth *f, const pickle_value *storage, size_t *entry) {
  size_t needed, size;
  if (!storage->count || storage->count > KEY_MAX) return fail(STATUS_FORMAT, "its storage has an impossible key");
  for (const char *at = storage->text; at < storage->text + storage->count; at++)
    if (*at <= 0x20 || *at >= 0x7f || *at == '/') return fail(STATUS_FORMAT, "its storage has an impossible key");
  if (!find_record(f, "data/", storage->text, storage->count, entry))
    return fail(STATUS_FORMAT, "the archive lacks its storage %sdata/%.*s", f->prefix, pickle_quoted(storage),
                storage->text);
  if (archive_size(f->zip, *entry, &size)) return last_status();
  if (size_mul((size_t)storage->integer, checkpoint_dtype_size(storage->dtype), &needed) && size == needed)
    return STATUS_OK;
  return fail(STATUS_FORMAT, "its storage %s has %zu bytes, not %lld of type %s", archive_name(f->zip, *entry), size,
              (long long)storage->integer, checkpoint_dtype_name(storage->dtype));
}

/* --- tensors ------------------------------------------------------------------------------------------------------ */

static status read_shape(const pickle_value *tensor, checkpoint_tensor *t, view *v) {
  const pickle_value *dims = tensor->items[2], *strides = tensor->items[3];
  if (dims->count > CHECKPOINT_DIMS)
    return fail(STATUS_UNSUPPORTED, "has %zu dimensions, the most is %d", dims->count, CHECKPOINT_DIMS);
  t->dtype = tensor->dtype;
  t->n_dims = (int)dims->count;
  for (int i = 0; i < t->n_dims; i++) {
    t->dim[i] = dims->items[i]->integer;
    if (strides->items[i]->integer < 0) return fail(STATUS_FORMAT, "has a negative stride");
    v->stride[i] = (size_t)strides->items[i]->integer;
  }
  char text[CHECKPOINT_SHAPE_TEXT];
  if (checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &t->bytes)) return STATUS_OK;
  return fail(STATUS_FORMAT, "has the impossible shape %s", checkpoint_shape_text(t->n_dims, t->dim, text));
}

/* The place of the last element, counted from the first: false if it does not fit. */
static bool last_element(const checkpoint_tensor *t, const view *v, size_t *last) {
  size_t span;
  *last = 0;
  for (int i = 0; i < t->n_dims; i++)
    if (!size_mul((size_t)t->dim[i] - 1, v->stride[i], &span) || !size_add(*last, span, last)) return false;
  return true;
}

static bool row_major(const checkpoint_tensor *t, const view *v) {
  size_t expected = 1;
  for (int i = t->n_dims; i-- > 0;) {
    if (t->dim[i] != 1 && v->stride[i] != expected) return false;
    expected *= (size_t)t->dim[i]; /* fits: checkpoint_shape_bytes() */
  }
  return true;
}

/* The view of a tensor with elements, every one of them within its storage. */
static status place_view(pth *f, const pickle_value *tensor, const checkpoint_tensor *t, view *v) {
  const pickle_value *storage = tensor->items[0];
  const int64_t offset = tensor->items[1]->integer;
  const size_t size = checkpoint_dtype_size(t->dtype);
  size_t last, held;
  if (storage->dtype == CHECKPOINT_DTYPES)
    return fail(STATUS_UNSUPPORTED, "its storage is of class %.*s", pickle_quoted(storage->items[0]),
                storage->items[0]->text);
  if (find_storage(f, storage, &v->entry)) return last_status();
  held = (size_t)storage->integer * checkpoint_dtype_size(storage->dtype) / size; /* elements; fits: find_storage() */
  if (offset < 0 || !last_element(t, v, &last) || (size_t)offset >= held || last >= held - (size_t)offset)
    return fail(STATUS_FORMAT, "reaches beyond its storage of %zu elements", held);
  v->offset = (size_t)offset * size;
  v->span = (last + 1) * size;
  v->row_major = row_major(t, v);
  if (v->row_major) return STATUS_OK;
  if (t->bytes > f->budget)
    return fail(STATUS_UNSUPPORTED, "the tensors would take more than %d times the size of the file", ARCHIVE_TIMES);
  f->budget -= t->bytes;
  return STATUS_OK;
}

static status read_tensor(pth *f, const pickle_value *tensor, checkpoint_tensor *t) {
  view v = {.entry = 0};
  if (read_shape(tensor, t, &v)) return last_status();
  if (!t->bytes) {
    t->data = f->c->data; /* any address will do */
    return STATUS_OK;
  }
  view *views = mem_room(f->views, f->view_count, &f->view_capacity, sizeof *views);
  if (!views) return last_status();
  f->views = views;
  if (place_view(f, tensor, t, &v)) return last_status();
  t->source = f->view_count;
  f->views[f->view_count++] = v;
  return STATUS_OK;
}

/* A tensor of another kind is left out, and named if nothing else is there: files hold complex or sparse ones beside
 * the weights. Those of 8-bit floats are the weights themselves. */
static status skip_tensor(pth *f, const char *name, const pickle_value *v) {
  if (v->count > 12 && !memcmp(v->text, "torch.float8", 12))
    return fail(STATUS_UNSUPPORTED, "tensor %s is of type %.*s, which this version does not read: save it as bfloat16",
                name, pickle_quoted(v), v->text);
  const size_t used = strlen(f->skipped);
  if (used + strlen(name) + (size_t)pickle_quoted(v) + sizeof ",  ()" <= sizeof f->skipped)
    snprintf(f->skipped + used, sizeof f->skipped - used, "%s%s (%.*s)", used ? ", " : "", name, pickle_quoted(v),
             v->text);
  return STATUS_OK;
}

static status add_tensor(void *self, const char *key, size_t length, const pickle_value *v) {
  char name[CHECKPOINT_NAME_MAX + 1];
  if (length > CHECKPOINT_NAME_MAX || memchr(key, 0, length))
    return fail(STATUS_FORMAT, "a tensor's name has %zu bytes, or a zero among them; the most is %d", length,
                CHECKPOINT_NAME_MAX);
  memcpy(name, key, length);
  name[length] = 0;
  checkpoint_tensor t = {.name = name};
  if (checkpoint_check_name(name)) return last_status();
  if (v->kind == PICKLE_UNREAD) return skip_tensor(self, name, v);
  if (read_tensor(self, v, &t)) return fail_within("tensor %s", name);
  return checkpoint_add(((pth *)self)->c, &t);
}

static status add_dictionary(pth *f, const pickle_value *root) {
  const pickle_value *dict = pth_choose(root, f->c->choice, &f->c->choices);
  if (!dict) return last_status();
  for (size_t i = 0; i < dict->count; i += 2) {
    const pickle_value *key = dict->items[i], *v = dict->items[i + 1];
    if (key->kind != PICKLE_STRING || (v->kind != PICKLE_TENSOR && v->kind != PICKLE_UNREAD)) continue;
    if (add_tensor(f, key->text, key->count, v)) return last_status();
  }
  return STATUS_OK;
}

static status add_tensors(pth *f, const pickle_value *root) {
  const bool script = root->kind == PICKLE_OBJECT;
  if (script) f->c->container = "torchscript";
  if (script ? torchscript_walk(root, add_tensor, f) : add_dictionary(f, root)) return last_status();
  if (f->c->count) return STATUS_OK;
  if (!*f->skipped) return fail(STATUS_UNSUPPORTED, "holds no tensors");
  return fail(STATUS_UNSUPPORTED, "holds only tensors that this version does not read: %s", f->skipped);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static pickle *read_pickle(pth *f, size_t entry, uint8_t **bytes) {
  size_t size;
  if (archive_size(f->zip, entry, &size)) return NULL;
  if (size > PICKLE_BYTES_MAX)
    return fail_null(STATUS_UNSUPPORTED, "the pickle has %zu bytes, the most is %d", size, PICKLE_BYTES_MAX);
  if (!(*bytes = mem_alloc(size, 1)) || archive_read(f->zip, entry, 0, size, *bytes)) return NULL;
  return pickle_parse(*bytes, size);
}

static status read_archive(pth *f) {
  size_t root = 0;
  uint8_t *bytes = NULL;
  if (!(f->zip = archive_open(f->c->data, f->c->size)) || find_root(f, &root) || check_byte_order(f))
    return last_status();
  pickle *p = read_pickle(f, root, &bytes);
  const status s = p ? add_tensors(f, pickle_root(p)) : last_status();
  pickle_free(p);
  free(bytes);
  return s;
}

status pth_read(checkpoint *c) {
  pth *f = mem_zero(1, sizeof *f);
  if (!f) return last_status();
  f->c = c;
  if (!size_mul(c->size, ARCHIVE_TIMES, &f->budget) || !size_add(f->budget, ARCHIVE_LEAST, &f->budget))
    f->budget = SIZE_MAX;
  if (pthread_mutex_init(&f->lock, NULL)) {
    free(f);
    return fail(STATUS_MEMORY, "no lock can be made");
  }
  c->reader = (checkpoint_reader){read_locked, verify_locked, close_file, f};
  return read_archive(f);
}
