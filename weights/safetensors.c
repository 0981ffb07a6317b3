/* Reading safetensors: 8 bytes little-endian length N, N bytes of JSON
 *   {"__metadata__": {string: string}, name: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ...}
 * then the data, which the offsets count from. Rules: spec ecosystem section 6. The ranges must tile the data section:
 * no hole, no overlap, nothing after the last, so that no byte of the file is unaccounted for. */
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "weights/container.h"
#include "weights/safetensors_format.h"

/* One tensor's entry in the header. */
typedef struct {
  const char *name; /* owned by the JSON header */
  size_t order;     /* place in the header */
  uint64_t begin, end;
  checkpoint_tensor tensor;
} entry;

/* Malformed text is left to the parser. */
static status bound_json(const char *what, const char *text, size_t length, int most) {
  int depth = 0;
  size_t values = 0;
  bool in_string = false;
  for (size_t i = 0; i < length; i++) {
    const char ch = text[i];
    if (in_string) {
      if (ch == '\\')
        i++;
      else if (ch == '"')
        in_string = false;
      continue;
    }
    if (ch == '"')
      in_string = true;
    else if (ch == '}' || ch == ']')
      depth--;
    else if (ch == '{' || ch == '[' || ch == ',')
      values++;
    if ((ch == '{' || ch == '[') && ++depth > most)
      return fail(STATUS_FORMAT, "%s is nested deeper than %d levels at byte %zu", what, most, i);
    if (values > SAFETENSORS_VALUES_MAX)
      return fail(STATUS_FORMAT, "%s holds more than %d values", what, SAFETENSORS_VALUES_MAX);
  }
  return STATUS_OK;
}

status safetensors_json(const char *what, const char *text, size_t length, int depth, size_t flags, json_t **json) {
  if (bound_json(what, text, length, depth)) return last_status();
  return metadata_parse_json(what, text, length, flags, json);
}

/* Finds and parses the header. *data_start: where the data section begins. */
static status read_header(const checkpoint *c, json_t **header, size_t *data_start) {
  if (c->size < 8) return fail(STATUS_FORMAT, "%zu bytes are too few for a safetensors file", c->size);
  const uint64_t length = little64(c->data);
  if (length > SAFETENSORS_HEADER_MAX)
    return fail(STATUS_FORMAT, "the header claims %llu bytes, the most is %d", (unsigned long long)length,
                SAFETENSORS_HEADER_MAX);
  if (length > c->size - 8)
    return fail(STATUS_FORMAT, "the header claims %llu bytes, but only %zu follow: is the file cut short?",
                (unsigned long long)length, c->size - 8);
  const char *text = (const char *)c->data + 8;
  if (length == 0 || text[0] != '{') return fail(STATUS_FORMAT, "the header does not begin with '{'");
  if (safetensors_json("the header", text, (size_t)length, SAFETENSORS_DEPTH, 0, header)) return last_status();
  *data_start = 8 + (size_t)length;
  return STATUS_OK;
}

/* One entry of the metadata; `type` is what SAFETENSORS_TYPES says of it, NULL if nothing. */
static status read_metadatum(checkpoint *c, const char *key, const json_t *text, const json_t *type) {
  if (!json_is_string(text)) return fail(STATUS_FORMAT, "__metadata__ holds a value that is not a string");
  if (!type) return checkpoint_add_string(c, key, json_string_value(text));
  if (!json_is_string(type)) return fail(STATUS_FORMAT, SAFETENSORS_TYPES " holds a value that is not a string");
  metadata_value value;
  metadata_bytes bytes = {0};
  status result = safetensors_value_parse(json_string_value(text), json_string_length(text), json_string_value(type),
                                          &bytes, &value);
  if (result) result = fail_within("metadata %s", key);
  uint8_t *owned = result ? NULL : checkpoint_own(c, value.size);
  if (owned) {
    value.bytes = memcpy(owned, value.bytes, value.size);
    result = checkpoint_add_entry(c, key, &value);
  } else if (!result) {
    result = last_status();
  }
  free(bytes.bytes);
  return result;
}

static status read_metadata(checkpoint *c, json_t *map) {
  const char *key;
  json_t *value, *types = NULL;
  if (!json_is_object(map)) return fail(STATUS_FORMAT, "__metadata__ is not an object");
  const json_t *notes = json_object_get(map, SAFETENSORS_TYPES);
  if (json_is_string(notes) &&
      safetensors_json(SAFETENSORS_TYPES, json_string_value(notes), json_string_length(notes), 1, 0, &types))
    return last_status();
  status result =
      notes && !json_is_object(types) ? fail(STATUS_FORMAT, SAFETENSORS_TYPES " is not an object") : STATUS_OK;
  json_object_foreach(map, key, value) {
    if (!result && value != notes) result = read_metadatum(c, key, value, json_object_get(types, key));
  }
  json_decref(types);
  return result;
}

static status read_dtype(json_t *word, checkpoint_tensor *t) {
  if (!json_is_string(word)) return fail(STATUS_FORMAT, "has no dtype");
  if (checkpoint_dtype_parse(json_string_value(word), &t->dtype) && checkpoint_dtype_block(t->dtype) == 1)
    return STATUS_OK;
  return fail(STATUS_UNSUPPORTED, "type %.23s is not read by this version", json_string_value(word));
}

/* Also holds the range against the shape and the size of the data section. */
static status read_offsets(json_t *offsets, size_t data_size, entry *e) {
  const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  checkpoint_tensor *t = &e->tensor;
  if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
      json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
    return fail(STATUS_FORMAT, "has data_offsets that are not two whole numbers in order");
  e->begin = (uint64_t)json_integer_value(begin);
  e->end = (uint64_t)json_integer_value(end);
  if (e->end > data_size)
    return fail(STATUS_FORMAT, "ends at byte %llu of the data, which has only %zu: is the file cut short?",
                (unsigned long long)e->end, data_size);
  char shape[CHECKPOINT_SHAPE_TEXT];
  checkpoint_shape_text(t->n_dims, t->dim, shape);
  if (!checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &t->bytes))
    return fail(STATUS_FORMAT, "has the impossible shape %s", shape);
  if (t->bytes != e->end - e->begin)
    return fail(STATUS_FORMAT, "is %s %s = %zu bytes, but its data_offsets span %llu", checkpoint_dtype_name(t->dtype),
                shape, t->bytes, (unsigned long long)(e->end - e->begin));
  return STATUS_OK;
}

static status read_entry(json_t *object, size_t data_size, entry *e) {
  if (!json_is_object(object)) return fail(STATUS_FORMAT, "is not described by an object");
  if (read_dtype(json_object_get(object, "dtype"), &e->tensor)) return last_status();
  if (checkpoint_shape_parse(json_object_get(object, "shape"), &e->tensor)) return last_status();
  if (read_offsets(json_object_get(object, "data_offsets"), data_size, e)) return last_status();
  if (json_object_size(object) != 3) return fail(STATUS_FORMAT, "has entries beside dtype, shape and data_offsets");
  return STATUS_OK;
}

static status read_entries(checkpoint *c, json_t *header, size_t data_size, entry *entries, size_t *count) {
  const char *name;
  json_t *object;
  json_object_foreach(header, name, object) {
    if (!strcmp(name, "__metadata__")) {
      if (read_metadata(c, object)) return last_status();
      continue;
    }
    entry *e = &entries[*count];
    *e = (entry){.name = name, .order = *count};
    ++*count;
    if (checkpoint_check_name(name)) return last_status();
    if (read_entry(object, data_size, e)) return fail_within("tensor %s", name);
  }
  return STATUS_OK;
}

/* By data; empty tensors before what begins at the same byte; then as in the header. */
static int compare_entries(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  if (x->end != y->end) return x->end < y->end ? -1 : 1;
  return x->order < y->order ? -1 : x->order > y->order;
}

/* The sorted ranges must tile the data section. */
static status check_tiling(const entry *entries, size_t count, size_t data_size) {
  uint64_t at = 0;
  for (size_t i = 0; i < count; i++) {
    const entry *e = &entries[i];
    if (e->begin < at)
      return fail(STATUS_FORMAT, "tensor %s begins at byte %llu of the data, inside tensor %s which ends at %llu",
                  e->name, (unsigned long long)e->begin, entries[i - 1].name, (unsigned long long)at);
    if (e->begin > at)
      return fail(STATUS_FORMAT, "bytes %llu to %llu of the data, before tensor %s, belong to no tensor",
                  (unsigned long long)at, (unsigned long long)e->begin, e->name);
    at = e->end;
  }
  if (at != data_size)
    return fail(STATUS_FORMAT, "the tensors end at byte %llu of the data, but it has %zu", (unsigned long long)at,
                data_size);
  return STATUS_OK;
}

static status add_all(checkpoint *c, json_t *header, size_t data_start) {
  size_t count = 0;
  entry *entries = mem_alloc(json_object_size(header), sizeof *entries);
  status result = entries ? read_entries(c, header, c->size - data_start, entries, &count) : last_status();
  if (!result) {
    qsort(entries, count, sizeof *entries, compare_entries);
    result = check_tiling(entries, count, c->size - data_start);
  }
  for (size_t i = 0; i < count && !result; i++) {
    entries[i].tensor.name = entries[i].name;
    entries[i].tensor.data = c->data + data_start + entries[i].begin;
    result = checkpoint_add(c, &entries[i].tensor);
  }
  free(entries);
  return result;
}

status safetensors_read(checkpoint *c) {
  json_t *header = NULL;
  size_t data_start = 0;
  status result = read_header(c, &header, &data_start);
  if (!result) result = add_all(c, header, data_start);
  json_decref(header);
  return result;
}
