/* The bytes of a GGUF file before its data (gguf_format.h), in the order and with the padding of ggml's own writer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/gguf_format.h"
#include "weights/interleaved.h"
#include "weights/writer_parts.h"

static bool is_interleaved(const writer_content *content) {
  for (size_t i = 0; i < content->count; i++)
    if (content->tensors[i].interleaved) return true;
  return false;
}

/* The alignment that the metadata asks for, or that interleaved tensors need. */
static status find_alignment(const writer_content *content, size_t *alignment) {
  *alignment = GGUF_ALIGNMENT;
  for (size_t i = 0; i < content->entry_count; i++) {
    const writer_entry *e = &content->entries[i];
    int64_t value = 0;
    if (strcmp(e->key, GGUF_ALIGNMENT_KEY)) continue;
    if (e->value.type != METADATA_U32 || !metadata_integer(&e->value, &value) || value < GGUF_ALIGNMENT_MIN ||
        value > GGUF_ALIGNMENT_MAX || value & (value - 1))
      return fail(STATUS_ARGUMENT, "metadata " GGUF_ALIGNMENT_KEY " is no u32 that is a power of two from %d to %d",
                  GGUF_ALIGNMENT_MIN, GGUF_ALIGNMENT_MAX);
    *alignment = (size_t)value;
  }
  if (is_interleaved(content)) *alignment = INTERLEAVED_ALIGNMENT;
  return STATUS_OK;
}

/* What gguf.c would refuse. */
static status check_counts(const writer_content *content) {
  enum { OWN_KEYS = 4 };
  if (content->count > GGUF_TENSORS_MAX || content->entry_count + OWN_KEYS > GGUF_KEYS_MAX)
    return fail(STATUS_UNSUPPORTED, "%zu tensors and %zu metadata keys are more than the %d and %d that are read back",
                content->count, content->entry_count, GGUF_TENSORS_MAX, GGUF_KEYS_MAX - OWN_KEYS);
  return STATUS_OK;
}

static status check_keys(const writer_content *content) {
  for (size_t i = 0; i < content->entry_count; i++) {
    const char *key = content->entries[i].key;
    const size_t length = strlen(key);
    int64_t parts;
    if (!strcmp(key, "split.count") && metadata_integer(&content->entries[i].value, &parts) && parts > 1)
      return fail(STATUS_ARGUMENT, "metadata %s says that the file is one of %lld parts", key, (long long)parts);
    if (!length || length > GGUF_KEY_MAX)
      return fail(STATUS_ARGUMENT, "metadata %.40s has a key of %zu bytes; GGUF wants 1 to %d", key, length,
                  GGUF_KEY_MAX);
    for (const char *p = key; *p; p++)
      if ((unsigned char)*p < 0x20 || *p == 0x7f)
        return fail(STATUS_ARGUMENT, "metadata %s has a control character in its key", key);
  }
  return STATUS_OK;
}

/* A tensor as the file shows it. */
typedef struct {
  char name[GGUF_NAME_MAX + 1];
  uint32_t type;
  int n_dims;
  int64_t dim[GGUF_DIMS];
} shown;

/* GGUF's type for a dtype; of those that it lacks, the integer of the same size. */
static uint32_t shown_type(checkpoint_dtype dtype) {
  static const checkpoint_dtype by_size[] = {
      [1] = CHECKPOINT_I8, [2] = CHECKPOINT_I16, [4] = CHECKPOINT_I32, [8] = CHECKPOINT_I64};
  uint32_t number;
  if (!gguf_type_number(dtype, &number)) gguf_type_number(by_size[checkpoint_dtype_size(dtype)], &number);
  return number;
}

/* The shape in file order of dimensions as ours. Of an empty tensor only [0] is safe from readers that divide by a
 * dimension. */
static void shown_shape(const writer_tensor *t, shown *s) {
  const int folded = t->n_dims > GGUF_DIMS ? t->n_dims - GGUF_DIMS : 0; /* outer dimensions */
  s->n_dims = t->n_dims - folded;
  memcpy(s->dim, t->dim + folded, (size_t)s->n_dims * sizeof *s->dim);
  for (int i = 0; i < folded; i++) s->dim[0] *= t->dim[i];
  if (t->n_dims == 0 || t->bytes == 0) {
    s->n_dims = 1;
    s->dim[0] = t->bytes != 0;
  }
}

/* What differs between a tensor and what is shown, as a member of `originals`. */
static status note_original(const writer_tensor *t, const shown *s, json_t *originals) {
  checkpoint_dtype dtype;
  const bool same_name = !strcmp(t->name, s->name);
  const bool same_shape = t->n_dims == s->n_dims && !memcmp(t->dim, s->dim, (size_t)s->n_dims * sizeof *s->dim);
  const bool same_type = gguf_type_parse(s->type, &dtype) && dtype == t->dtype;
  if (same_name && same_shape && same_type) return STATUS_OK;
  json_t *note = json_object();
  bool ok = note != NULL;
  if (!same_name) ok &= !json_object_set_new(note, "name", json_string(t->name));
  if (!same_shape) ok &= !json_object_set_new(note, "shape", writer_shape(t->n_dims, t->dim));
  if (!same_type) ok &= !json_object_set_new(note, "dtype", json_string(checkpoint_dtype_name(t->dtype)));
  ok &= !json_object_set_new(originals, s->name, note);
  return ok ? STATUS_OK : fail(STATUS_MEMORY, "out of memory for the header");
}

static status put_tensor(const writer_tensor *t, size_t index, metadata_bytes *table, json_t *originals) {
  shown s = {.type = shown_type(t->dtype)};
  shown_shape(t, &s);
  /* A name that looks like a substitute gets one too, so that no two names in the file are the same. */
  if (strlen(t->name) > GGUF_NAME_MAX || !strncmp(t->name, GGUF_SUBSTITUTE, strlen(GGUF_SUBSTITUTE)))
    snprintf(s.name, sizeof s.name, GGUF_SUBSTITUTE "%zu", index);
  else
    strcpy(s.name, t->name);
  metadata_put_text(table, s.name, strlen(s.name));
  metadata_put_number(table, (uint64_t)s.n_dims, 4);
  for (int i = s.n_dims - 1; i >= 0; i--) metadata_put_number(table, (uint64_t)s.dim[i], 8);
  metadata_put_number(table, s.type + (t->interleaved ? GGUF_INTERLEAVED : 0), 4);
  metadata_put_number(table, t->begin, 8);
  return note_original(t, &s, originals);
}

static void put_key(metadata_bytes *out, const char *key, metadata_type type) {
  metadata_put_text(out, key, strlen(key));
  metadata_put_number(out, (uint64_t)type, 4);
}

static void put_string(metadata_bytes *out, const char *key, const char *text) {
  put_key(out, key, METADATA_STRING);
  metadata_put_text(out, text, strlen(text));
}

/* The alignment of interleaved files stands at one place, so that such a file made plain and interleaved again is the
 * same. originals: a JSON text, or NULL if there are none. */
static void put_all(const writer_content *content, const char *originals, const metadata_bytes *table,
                    writer_header *header) {
  metadata_bytes *out = &header->bytes;
  const bool interleaved = is_interleaved(content);
  size_t keys = 2 + (originals != NULL) + interleaved;
  for (size_t i = 0; i < content->entry_count; i++)
    keys += !(interleaved && !strcmp(content->entries[i].key, GGUF_ALIGNMENT_KEY));
  metadata_put(out, "GGUF", 4);
  metadata_put_number(out, GGUF_VERSION, 4);
  metadata_put_number(out, content->count, 8);
  metadata_put_number(out, keys, 8);
  for (size_t i = 0; i < content->entry_count; i++) {
    const writer_entry *e = &content->entries[i];
    if (interleaved && !strcmp(e->key, GGUF_ALIGNMENT_KEY)) continue;
    put_key(out, e->key, e->value.type);
    metadata_put(out, e->value.bytes, e->value.size);
  }
  if (interleaved) {
    put_key(out, GGUF_ALIGNMENT_KEY, METADATA_U32);
    metadata_put_number(out, INTERLEAVED_ALIGNMENT, 4);
  }
  if (originals) put_string(out, GGUF_ORIGINALS, originals);
  put_string(out, WRITER_FORMAT, "1");
  put_string(out, WRITER_CHECKSUM, CHECKSUM_ZERO);
  header->digits = out->size - CHECKSUM_DIGITS;
  metadata_put(out, table->bytes, table->size);
  while (!out->failed && out->size % header->alignment) metadata_put(out, "", 1);
  out->failed |= table->failed;
}

status gguf_header(writer_content *content, writer_header *header) {
  metadata_bytes table = {0};
  status result = check_counts(content);
  if (!result) result = check_keys(content);
  if (!result) result = find_alignment(content, &header->alignment);
  if (!result) result = writer_place(content, header->alignment);
  json_t *originals = json_object();
  if (!result && !originals) result = fail(STATUS_MEMORY, "out of memory for the header");
  for (size_t i = 0; !result && i < content->count; i++)
    result = put_tensor(&content->tensors[i], i, &table, originals);
  char *text = json_object_size(originals) ? metadata_json_text(originals, 0) : NULL;
  if (!result && !text && json_object_size(originals)) result = last_status();
  if (!result && text && strlen(text) > GGUF_ORIGINALS_MAX)
    result =
        fail(STATUS_UNSUPPORTED, "%zu tensors have names, shapes or types that GGUF lacks, too many for its header",
             json_object_size(originals));
  if (!result) put_all(content, text, &table, header);
  free(text);
  free(table.bytes);
  json_decref(originals);
  return result;
}
