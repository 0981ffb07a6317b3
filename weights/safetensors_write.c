/* The bytes of a safetensors file before its data: the header that safetensors.c describes, as compact JSON, padded
 * with spaces so that the data begins at a multiple of 8 bytes, as the official library does. The text is put together
 * member by member, so that memory holds it once. */
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "weights/safetensors_format.h"
#include "weights/writer_parts.h"

static void put_literal(metadata_bytes *out, const char *text) { metadata_put(out, text, strlen(text)); }

/* Any JSON value, which is released. NULL counts as a failed allocation. */
static void put_json(metadata_bytes *out, json_t *value) {
  char *text = metadata_json_text(value, 0);
  if (text) put_literal(out, text);
  out->failed |= !text;
  free(text);
  json_decref(value);
}

/* ,"key":"text" */
static void put_entry(metadata_bytes *out, const char *key, const char *text) {
  put_literal(out, ",");
  put_json(out, json_string(key));
  put_literal(out, ":");
  put_json(out, json_string(text));
}

static status put_metadata(const writer_content *content, metadata_bytes *out) {
  json_t *types = json_object();
  status result = types ? STATUS_OK : fail(STATUS_MEMORY, "out of memory for the header");
  for (size_t i = 0; !result && i < content->entry_count; i++) {
    const writer_entry *e = &content->entries[i];
    char type[METADATA_TYPE_TEXT];
    metadata_bytes text = {0};
    result = safetensors_value_text(&e->value, &text, type);
    if (result) fail_within("metadata %s", e->key);
    if (!result) put_entry(out, e->key, (const char *)text.bytes);
    if (!result && *type && json_object_set_new(types, e->key, json_string(type))) out->failed = true;
    free(text.bytes);
  }
  char *notes = !result && json_object_size(types) ? metadata_json_text(types, 0) : NULL;
  if (notes) put_entry(out, SAFETENSORS_TYPES, notes);
  out->failed |= !notes && json_object_size(types);
  free(notes);
  json_decref(types);
  return result;
}

static status put_tensor(const writer_tensor *t, metadata_bytes *out) {
  if (checkpoint_dtype_block(t->dtype) > 1)
    return fail(STATUS_UNSUPPORTED, "tensor %s is %s, which safetensors cannot hold: write a .gguf file", t->name,
                checkpoint_dtype_name(t->dtype));
  if (!strcmp(t->name, "__metadata__"))
    return fail(STATUS_ARGUMENT, "a tensor of a safetensors file cannot be named %s", t->name);
  put_literal(out, ",");
  put_json(out, json_string(t->name));
  put_literal(out, ":");
  put_json(out, json_pack("{s:s, s:o, s:[I,I]}", "dtype", checkpoint_dtype_name(t->dtype), "shape",
                          writer_shape(t->n_dims, t->dim), "data_offsets", (json_int_t)t->begin,
                          (json_int_t)(t->begin + t->bytes)));
  return STATUS_OK;
}

status safetensors_header(writer_content *content, writer_header *header) {
  metadata_bytes *out = &header->bytes;
  header->alignment = 1;
  header->digits = 8 + strlen(SAFETENSORS_BEGIN);
  if (writer_place(content, header->alignment)) return last_status();
  metadata_put_number(out, 0, 8); /* the length, when it is known */
  put_literal(out, SAFETENSORS_BEGIN CHECKSUM_ZERO "\"");
  put_entry(out, WRITER_FORMAT, "1");
  if (put_metadata(content, out)) return last_status();
  put_literal(out, "}");
  for (size_t i = 0; i < content->count; i++)
    if (put_tensor(&content->tensors[i], out)) return last_status();
  put_literal(out, "}");
  while (!out->failed && out->size % 8) put_literal(out, " ");
  if (out->failed) return STATUS_OK; /* the caller tells */
  if (out->size - 8 > SAFETENSORS_HEADER_MAX)
    return fail(STATUS_UNSUPPORTED, "the header would have %zu bytes, the most is %d", out->size - 8,
                SAFETENSORS_HEADER_MAX);
  put_little(out->bytes, out->size - 8, 8);
  return STATUS_OK;
}
