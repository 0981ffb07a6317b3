#include "data/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/atomic_file.h"
#include "kernels/bytes.h"
#include "kernels/file.h"
#include "kernels/half.h"

static const char magic[] = "\x93NUMPY";
enum { MAGIC = sizeof magic - 1, ALIGNMENT = 64 };

static size_t value_size(npy_type type) { return type == NPY_F32 ? 4 : 2; }

/* --- the header --------------------------------------------------------------------------------------------------- */

/* What is left of the dictionary. */
typedef struct {
  const char *at, *end;
} cursor;

static void skip_blanks(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t')) c->at++;
}

static bool take(cursor *c, char what) {
  skip_blanks(c);
  const bool there = c->at < c->end && *c->at == what;
  c->at += there;
  return there;
}

static bool take_word(cursor *c, const char *word) {
  const size_t n = strlen(word);
  skip_blanks(c);
  const bool there = (size_t)(c->end - c->at) >= n && !memcmp(c->at, word, n);
  c->at += there ? n : 0;
  return there;
}

/* A string in quotes of either kind, without escapes. */
static bool take_string(cursor *c, char *out, size_t room) {
  skip_blanks(c);
  if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
  const char *stop = memchr(c->at + 1, *c->at, (size_t)(c->end - c->at - 1));
  if (!stop || (size_t)(stop - c->at) > room) return false;
  const size_t n = (size_t)(stop - c->at - 1);
  memcpy(out, c->at + 1, n);
  out[n] = 0;
  c->at = stop + 1;
  return true;
}

static bool take_number(cursor *c, size_t *out) {
  skip_blanks(c);
  const char *first = c->at;
  *out = 0;
  for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
    if (!size_mul(*out, 10, out) || !size_add(*out, (size_t)(*c->at - '0'), out)) return false;
  return c->at > first;
}

/* "(3, 4)", "(3,)", "()" */
static bool take_shape(npy *a, cursor *c) {
  if (!take(c, '(')) return false;
  for (a->n_dims = 0; !take(c, ')');) {
    if (a->n_dims == NPY_DIMS || !take_number(c, &a->dim[a->n_dims++])) return false;
    if (take(c, ',')) continue;
    return take(c, ')');
  }
  return true;
}

typedef struct {
  char type[16];
  bool has_type, has_order, has_shape, by_columns;
} header;

static bool take_entry(npy *a, header *h, cursor *c) {
  char key[16];
  if (!take_string(c, key, sizeof key) || !take(c, ':')) return false;
  if (!strcmp(key, "descr")) return !h->has_type && (h->has_type = take_string(c, h->type, sizeof h->type));
  if (!strcmp(key, "shape")) return !h->has_shape && (h->has_shape = take_shape(a, c));
  if (strcmp(key, "fortran_order") != 0 || h->has_order) return false;
  h->by_columns = take_word(c, "True");
  return h->has_order = h->by_columns || take_word(c, "False");
}

static bool take_header(npy *a, header *h, cursor c) {
  if (!take(&c, '{')) return false;
  while (!take(&c, '}')) {
    if (!take_entry(a, h, &c)) return false;
    if (take(&c, ',')) continue;
    if (!take(&c, '}')) return false;
    break;
  }
  skip_blanks(&c);
  return c.at == c.end && h->has_type && h->has_order && h->has_shape;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static status settle_type(npy *a, const header *h, const char *path) {
  if (strcmp(h->type, "<f4") != 0 && strcmp(h->type, "<f2") != 0)
    return fail(STATUS_UNSUPPORTED, "%s: values of type '%s'; '<f4' and '<f2' can be read", path, h->type);
  a->type = strcmp(h->type, "<f4") ? NPY_F16 : NPY_F32;
  if (h->by_columns && a->n_dims > 1)
    return fail(STATUS_UNSUPPORTED, "%s: the array is stored by columns; save numpy.ascontiguousarray of it", path);
  return STATUS_OK;
}

static status settle_size(npy *a, size_t there, const char *path) {
  size_t bytes;
  a->count = 1;
  bool fits = true;
  for (int i = 0; i < a->n_dims; i++) fits = fits && size_mul(a->count, a->dim[i], &a->count);
  if (!fits || !size_mul(a->count, value_size(a->type), &bytes) || bytes != there)
    return fail(STATUS_FORMAT, "%s: its shape does not go with its %zu bytes of values: the file is damaged", path,
                there);
  return STATUS_OK;
}

status npy_parse(npy *a, const void *bytes, size_t n, const char *name) {
  header h = {.has_type = false};
  const uint8_t *b = bytes;
  *a = (npy){.n_dims = 0};
  if (n < MAGIC + 6 || memcmp(b, magic, MAGIC) != 0) return fail(STATUS_FORMAT, "%s: no .npy file", name);
  const int major = b[MAGIC];
  if (major < 1 || major > 3) return fail(STATUS_UNSUPPORTED, "%s: version %d of the .npy format", name, major);
  const size_t begin = MAGIC + (major == 1 ? 4 : 6);
  const size_t length = major == 1 ? little16(b + MAGIC + 2) : little32(b + MAGIC + 2);
  if (length > n - begin) return fail(STATUS_FORMAT, "%s: the file ends inside its header", name);
  const char *text = (const char *)b + begin;
  if (!take_header(a, &h, (cursor){text, text + length}))
    return fail(STATUS_FORMAT, "%s: its header is not that of a .npy file", name);
  a->values = b + begin + length;
  const status s = settle_type(a, &h, name);
  return s ? s : settle_size(a, n - begin - length, name);
}

status npy_open(npy *a, const char *path) {
  const void *mapped = NULL;
  size_t n = 0;
  *a = (npy){.n_dims = 0};
  status s = file_map(path, &mapped, &n);
  if (!s) s = npy_parse(a, mapped, n, path);
  a->mapped = mapped;
  a->n_mapped = n;
  return s;
}

void npy_close(npy *a) {
  file_unmap(a->mapped, a->n_mapped);
  *a = (npy){.n_dims = 0};
}

void npy_read(const npy *a, size_t first, size_t n, float *out) {
  const unsigned char *from = a->values + first * value_size(a->type);
  if (a->type == NPY_F16)
    f16_to_f32_array(from, n, out);
  else if (n)
    memcpy(out, from, n * sizeof *out);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

enum { HEADER = 2 * ALIGNMENT }; /* room for two numbers of any size */

struct npy_writer {
  atomic_file *file;
  npy_type type;
  size_t columns, rows;
  uint16_t *half; /* a row */
  char *path;
};

/* Version 1.0's header, as long whatever the number of rows, so that it can be written last. */
static void make_header(const npy_writer *w, char out[HEADER + 1]) {
  enum { BEGIN = MAGIC + 4 };
  memcpy(out, magic, MAGIC);
  memcpy(out + MAGIC, (const char[]){1, 0, HEADER - BEGIN, 0}, 4);
  const int n = snprintf(out + BEGIN, HEADER - BEGIN, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu, %zu), }",
                         w->type == NPY_F32 ? "<f4" : "<f2", w->rows, w->columns);
  memset(out + BEGIN + n, ' ', (size_t)(HEADER - BEGIN - n));
  out[HEADER - 1] = '\n';
}

static void writer_free(npy_writer *w) {
  free(w->half);
  free(w->path);
  free(w);
}

npy_writer *npy_create(const char *path, npy_type type, size_t columns) {
  char head[HEADER + 1];
  npy_writer *w = mem_zero(1, sizeof *w);
  if (!w) return NULL;
  *w = (npy_writer){.type = type, .columns = columns};
  w->half = mem_alloc(type == NPY_F16 ? columns : 0, sizeof *w->half);
  w->path = mem_string(path);
  w->file = w->half && w->path ? atomic_file_create(path) : NULL;
  make_header(w, head);
  if (w->file && !atomic_file_write(w->file, head, HEADER)) return w;
  npy_abandon(w);
  return NULL;
}

static status write_half(npy_writer *w, const float *row) {
  f32_to_f16_array(row, w->columns, w->half);
  for (size_t i = 0; i < w->columns; i++)
    if (isfinite(row[i]) && (w->half[i] & 0x7fff) == 0x7c00)
      return fail(STATUS_ARGUMENT, "%s: %g does not fit into 16 bits; write 32", w->path, (double)row[i]);
  return atomic_file_write(w->file, w->half, w->columns * sizeof *w->half);
}

status npy_write(npy_writer *w, const float *rows, size_t n_rows) {
  status s = STATUS_OK;
  if (w->type == NPY_F32) s = atomic_file_write(w->file, rows, n_rows * w->columns * sizeof *rows);
  for (size_t i = 0; w->type == NPY_F16 && !s && i < n_rows; i++) s = write_half(w, rows + i * w->columns);
  w->rows += n_rows;
  return s;
}

status npy_commit(npy_writer *w) {
  char head[HEADER + 1];
  make_header(w, head);
  atomic_file_patch(w->file, 0, head, HEADER); /* commit says if that failed */
  const status s = atomic_file_commit(w->file);
  writer_free(w);
  return s;
}

void npy_abandon(npy_writer *w) {
  if (!w) return;
  atomic_file_abandon(w->file);
  writer_free(w);
}
