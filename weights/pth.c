/* Reading PyTorch's zip archives (.pth, .pt since 1.6): NAME/data.pkl, a pickle that describes the tensors, and
 * NAME/data/KEY, the raw numbers that they share. Rules: spec ecosystem section 6, language-models "Container".
 *
 * Bounds: a stored entry is no larger than the file, and all that is unpacked or laid out anew, at most UNPACKED_TIMES
 * the file's size (a tensor of stride 0 or a packed entry may be far larger than what it takes in the file). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "weights/container.h"
#include "weights/pickle.h"

#define UNPACKED_TIMES 16
#define UNPACKED_LEAST (1 << 20) /* what even the smallest file may take */
#define ENTRY_NAME_MAX 512
#define KEY_MAX 64

typedef struct {
  checkpoint *c;
  zip_t *zip;
  char prefix[ENTRY_NAME_MAX]; /* "NAME/" */
  const uint8_t **storages;    /* by entry; NULL if not read yet */
  size_t entries;
  size_t budget; /* bytes that may still be allocated */
} archive;

static status zip_failure(archive *a, const char *name) {
  return fail(STATUS_FORMAT, "entry %s of the archive is damaged: %s", name, zip_strerror(a->zip));
}

static status open_archive(archive *a) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t *source = zip_source_buffer_create(a->c->data, a->c->size, 0, &error);
  if (source && !(a->zip = zip_open_from_source(source, ZIP_RDONLY, &error))) zip_source_free(source);
  status s = STATUS_OK;
  if (!a->zip)
    s = fail(zip_error_code_zip(&error) == ZIP_ER_MEMORY ? STATUS_MEMORY : STATUS_FORMAT,
             "the zip archive cannot be read (%s): is the file cut short?", zip_error_strerror(&error));
  zip_error_fini(&error);
  if (s) return s;
  a->entries = (size_t)zip_get_num_entries(a->zip, 0);
  a->storages = mem_zero(a->entries, sizeof *a->storages);
  return a->storages ? STATUS_OK : last_status();
}

/* Finds the one NAME/data.pkl. */
static status find_root(archive *a, size_t *root) {
  static const char end[] = "/data.pkl";
  size_t found = 0;
  for (size_t i = 0; i < a->entries; i++) {
    const char *name = zip_get_name(a->zip, i, ZIP_FL_ENC_RAW), *slash = name ? strchr(name, '/') : NULL;
    if (!slash) continue;
    if (!strcmp(slash, "/constants.pkl") || !strncmp(slash, "/code/__torch__", 15))
      return fail(STATUS_UNSUPPORTED, "is a TorchScript archive, which holds a program; save its state_dict() with "
                                      "torch.save instead");
    if (strcmp(slash, end)) continue;
    const size_t length = (size_t)(slash - name) + 1;
    if (length >= sizeof a->prefix)
      return fail(STATUS_FORMAT, "an entry of the archive has a name of %zu bytes", length);
    memcpy(a->prefix, name, length);
    a->prefix[length] = 0;
    *root = i;
    found++;
  }
  if (found == 1) return STATUS_OK;
  return fail(STATUS_FORMAT,
              found ? "the archive holds data.pkl in %zu folders; one is expected"
                    : "is a zip file, but not PyTorch's: it holds %zu files data.pkl",
              found);
}

/* The size of an entry once its way of packing is known to be one that is read. */
static status entry_size(archive *a, size_t index, const char *name, size_t *size) {
  const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  zip_stat_t info;
  if (zip_stat_index(a->zip, index, 0, &info) || (info.valid & needed) != needed) return zip_failure(a, name);
  if (info.encryption_method != ZIP_EM_NONE)
    return fail(STATUS_UNSUPPORTED, "entry %s of the archive is encrypted", name);
  if (info.comp_method != ZIP_CM_STORE && info.comp_method != ZIP_CM_DEFLATE)
    return fail(STATUS_UNSUPPORTED, "entry %s of the archive is packed by method %d; stored and deflated ones are read",
                name, info.comp_method);
  if (info.comp_method == ZIP_CM_STORE && info.size > a->c->size)
    return fail(STATUS_FORMAT, "entry %s claims %llu bytes, the file has only %zu", name, (unsigned long long)info.size,
                a->c->size);
  if (info.size > a->budget)
    return fail(STATUS_UNSUPPORTED,
                "entry %s would unpack to %llu bytes: all of the file together may take at most %d "
                "times its size",
                name, (unsigned long long)info.size, UNPACKED_TIMES);
  *size = (size_t)info.size;
  return STATUS_OK;
}

/* Memory within the budget, for as long as the checkpoint is open. */
static void *budgeted(archive *a, size_t bytes) {
  if (bytes > a->budget)
    return fail_null(STATUS_UNSUPPORTED, "the tensors would take more than %d times the size of the file",
                     UNPACKED_TIMES);
  void *block = checkpoint_own(a->c, bytes);
  if (block) a->budget -= bytes;
  return block;
}

static status read_into(archive *a, size_t index, const char *name, uint8_t *out, size_t size) {
  zip_file_t *file = zip_fopen_index(a->zip, index, 0);
  if (!file) return zip_failure(a, name);
  size_t have = 0;
  zip_int64_t n = 1;
  while (have < size && (n = zip_fread(file, out + have, size - have)) > 0) have += (size_t)n;
  char more;
  if (n > 0) n = zip_fread(file, &more, 1); /* at the end the checksum is compared */
  const bool good = have == size && n == 0;
  status s = good ? STATUS_OK
                  : fail(STATUS_FORMAT, "entry %s of the archive is damaged: %s", name,
                         n < 0 ? zip_file_strerror(file) : "its size is not as claimed");
  zip_fclose(file);
  return s;
}

/* The whole entry; owned by the checkpoint. */
static const uint8_t *read_entry(archive *a, size_t index, const char *name, size_t *size) {
  if (entry_size(a, index, name, size)) return NULL;
  uint8_t *out = budgeted(a, *size);
  return out && !read_into(a, index, name, out, *size) ? out : NULL;
}

/* Numbers of another byte order would be read wrongly. */
static status check_byte_order(archive *a) {
  char name[ENTRY_NAME_MAX + KEY_MAX + 16];
  strcpy(name, a->prefix);
  strcat(name, "byteorder");
  const zip_int64_t index = zip_name_locate(a->zip, name, ZIP_FL_ENC_RAW);
  size_t size;
  if (index < 0) return STATUS_OK;
  const uint8_t *word = read_entry(a, (size_t)index, name, &size);
  if (!word) return last_status();
  if (size == 6 && !memcmp(word, "little", 6)) return STATUS_OK;
  return fail(STATUS_UNSUPPORTED, "was written on a big-endian machine; this version reads little-endian files");
}

/* Tensors. */

static const uint8_t *read_storage(archive *a, const pickle_value *storage) {
  char name[ENTRY_NAME_MAX + KEY_MAX + 16];
  if (!storage->count || storage->count > KEY_MAX || memchr(storage->text, 0, storage->count))
    return fail_null(STATUS_FORMAT, "its storage has an impossible key");
  strcpy(name, a->prefix);
  strcat(name, "data/");
  strncat(name, storage->text, storage->count);
  const zip_int64_t index = zip_name_locate(a->zip, name, ZIP_FL_ENC_RAW);
  if (index < 0 || (size_t)index >= a->entries)
    return fail_null(STATUS_FORMAT, "the archive lacks its storage %s", name);
  zip_stat_t info;
  size_t needed;
  if (zip_stat_index(a->zip, (zip_uint64_t)index, 0, &info) || !(info.valid & ZIP_STAT_SIZE)) {
    zip_failure(a, name);
    return NULL;
  }
  if (!size_mul((size_t)storage->integer, checkpoint_dtype_size(storage->dtype), &needed) || info.size != needed)
    return fail_null(STATUS_FORMAT, "its storage %s has %llu bytes, not %lld of type %s", name,
                     (unsigned long long)info.size, (long long)storage->integer, checkpoint_dtype_name(storage->dtype));
  if (!a->storages[index]) a->storages[index] = read_entry(a, (size_t)index, name, &needed);
  return a->storages[index];
}

/* Whether the tensor's last element, and so every one, lies within its storage. */
static bool within_storage(const checkpoint_tensor *t, const int64_t *stride, int64_t offset, int64_t elements) {
  size_t last = (size_t)offset, span;
  for (int i = 0; i < t->n_dims; i++)
    if (!size_mul((size_t)t->dim[i] - 1, (size_t)stride[i], &span) || !size_add(last, span, &last)) return false;
  return last < (size_t)elements;
}

static bool row_major(const checkpoint_tensor *t, const int64_t *stride) {
  int64_t expected = 1;
  for (int i = t->n_dims; i-- > 0;) {
    if (t->dim[i] != 1 && stride[i] != expected) return false;
    expected *= t->dim[i]; /* fits: checkpoint_shape_bytes() */
  }
  return true;
}

/* Copies the elements in row-major order. */
static void gather(const checkpoint_tensor *t, const int64_t *stride, const uint8_t *from, uint8_t *out) {
  const size_t size = checkpoint_dtype_size(t->dtype);
  int64_t at[CHECKPOINT_DIMS] = {0};
  size_t place = 0; /* wraps where a dimension of 1 has a giant stride, and back */
  for (uint8_t *end = out + t->bytes; out < end; out += size) {
    memcpy(out, from + place * size, size);
    for (int i = t->n_dims; i-- > 0;) {
      place += (size_t)stride[i];
      if (++at[i] < t->dim[i]) break;
      place -= (size_t)stride[i] * (size_t)t->dim[i];
      at[i] = 0;
    }
  }
}

static status read_shape(const pickle_value *v, checkpoint_tensor *t, int64_t *stride) {
  const pickle_value *dims = v->items[2], *strides = v->items[3];
  if (dims->count > CHECKPOINT_DIMS)
    return fail(STATUS_UNSUPPORTED, "has %zu dimensions, the most is %d", dims->count, CHECKPOINT_DIMS);
  t->n_dims = (int)dims->count;
  for (int i = 0; i < t->n_dims; i++) {
    t->dim[i] = dims->items[i]->integer;
    stride[i] = strides->items[i]->integer;
    if (stride[i] < 0) return fail(STATUS_FORMAT, "has a negative stride");
  }
  char text[CHECKPOINT_SHAPE_TEXT];
  if (checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &t->bytes)) return STATUS_OK;
  return fail(STATUS_FORMAT, "has the impossible shape %s", checkpoint_shape_text(t->n_dims, t->dim, text));
}

static status read_tensor(archive *a, const pickle_value *v, checkpoint_tensor *t) {
  const pickle_value *storage = v->items[0];
  const int64_t offset = v->items[1]->integer;
  int64_t stride[CHECKPOINT_DIMS];
  t->dtype = storage->dtype;
  t->data = a->c->data; /* of an empty tensor: any address will do */
  if (read_shape(v, t, stride)) return last_status();
  if (!t->bytes) return STATUS_OK;
  if (offset < 0 || !within_storage(t, stride, offset, storage->integer))
    return fail(STATUS_FORMAT, "reaches beyond its storage of %lld elements", (long long)storage->integer);
  const uint8_t *from = read_storage(a, storage);
  if (!from) return last_status();
  from += (size_t)offset * checkpoint_dtype_size(t->dtype);
  t->data = from;
  if (row_major(t, stride)) return STATUS_OK;
  uint8_t *out = budgeted(a, t->bytes);
  if (!out) return last_status();
  gather(t, stride, from, out);
  t->data = out;
  return STATUS_OK;
}

/* By the JSON library, which takes no other text. */
static bool is_utf8(const char *text, size_t length) {
  json_t *string = json_stringn(text, length);
  json_decref(string);
  return string != NULL;
}

static status add_tensor(archive *a, const pickle_value *key, const pickle_value *v) {
  char name[CHECKPOINT_NAME_MAX + 1];
  if (key->kind != PICKLE_STRING) return fail(STATUS_FORMAT, "a tensor's name is no text");
  if (key->count > CHECKPOINT_NAME_MAX || memchr(key->text, 0, key->count))
    return fail(STATUS_FORMAT, "a tensor's name has %zu bytes, or a zero among them; the most is %d", key->count,
                CHECKPOINT_NAME_MAX);
  if (!is_utf8(key->text, key->count)) return fail(STATUS_FORMAT, "a tensor's name is not UTF-8");
  memcpy(name, key->text, key->count);
  name[key->count] = 0;
  checkpoint_tensor t = {.name = name};
  if (checkpoint_check_name(name)) return last_status();
  if (read_tensor(a, v, &t)) return fail_within("tensor %s", name);
  return checkpoint_add(a->c, &t);
}

static bool holds_tensors(const pickle_value *v) {
  for (size_t i = 0; v && v->kind == PICKLE_DICT && i < v->count; i += 2)
    if (v->items[i + 1]->kind == PICKLE_TENSOR) return true;
  return false;
}

/* The dictionary of tensors: one of the usual names in what was saved, else what was saved. */
static const pickle_value *find_tensors(const pickle_value *root) {
  static const char *const names[] = {"state_dict", "model", "module", "model_ema", "ema"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const pickle_value *inner = pickle_find(root, names[i]);
    if (holds_tensors(inner)) return inner;
  }
  if (holds_tensors(root)) return root;
  return fail_null(STATUS_UNSUPPORTED, "holds no dictionary of tensors, neither at its root nor as state_dict, model, "
                                       "module, model_ema or ema");
}

static status add_tensors(archive *a, const pickle_value *root) {
  const pickle_value *dict = find_tensors(root);
  if (!dict) return last_status();
  for (size_t i = 0; i < dict->count; i += 2)
    if (dict->items[i + 1]->kind == PICKLE_TENSOR && add_tensor(a, dict->items[i], dict->items[i + 1]))
      return last_status();
  return STATUS_OK;
}

static status read_archive(archive *a) {
  size_t index = 0, size = 0;
  if (open_archive(a) || find_root(a, &index) || check_byte_order(a)) return last_status();
  const uint8_t *bytes = read_entry(a, index, "data.pkl", &size);
  pickle *p = bytes ? pickle_parse(bytes, size) : NULL;
  if (!p) return last_status();
  const status s = add_tensors(a, pickle_root(p));
  pickle_free(p);
  return s;
}

status pth_read(checkpoint *c) {
  archive a = {.c = c};
  if (!size_mul(c->size, UNPACKED_TIMES, &a.budget) || !size_add(a.budget, UNPACKED_LEAST, &a.budget))
    a.budget = SIZE_MAX;
  const status s = read_archive(&a);
  free(a.storages);
  if (a.zip) zip_discard(a.zip);
  return s;
}
