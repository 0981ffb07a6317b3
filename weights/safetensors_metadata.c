/* Typed metadata as texts (safetensors_format.h). What returns is the same value bit for bit. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "kernels/utf8.h"
#include "weights/safetensors_format.h"

/* Nesting of a value's JSON: each array within arrays has an object around it; a text may be an object. */
#define VALUE_DEPTH (2 * METADATA_DEPTH)

/* --- value -> text ------------------------------------------------------------------------------------------------ */

static json_t *value_json(const metadata_value *v);

static json_t *items_json(const metadata_value *array) {
  json_t *list = json_array();
  metadata_cursor at = metadata_items(array);
  for (metadata_value item; list && metadata_next(&at, &item);) {
    if (!json_array_append_new(list, value_json(&item))) continue; /* refuses NULL */
    json_decref(list);
    return NULL;
  }
  return list;
}

/* An array's items and their type; calls itself, METADATA_DEPTH deep. */
static json_t *array_json(const metadata_value *v) {
  metadata_type items;
  size_t count;
  metadata_array(v, &items, &count);
  return json_pack("{s:o}", metadata_type_name(items), items_json(v));
}

static json_t *value_json(const metadata_value *v) {
  double real;
  const bool is_real = v->type == METADATA_F32 || v->type == METADATA_F64;
  if (v->type == METADATA_ARRAY) return array_json(v);
  if (!is_real || !metadata_real(v, &real) || isfinite(real)) return metadata_json(v, 0);
  return v->type == METADATA_F32 ? json_sprintf("0x%08lx", (unsigned long)little32(v->bytes))
                                 : json_sprintf("0x%016llx", (unsigned long long)little64(v->bytes));
}

status safetensors_value_text(const metadata_value *value, metadata_bytes *text, char *type) {
  const char *plain;
  size_t length;
  metadata_type items;
  *type = 0;
  if (metadata_text(value, &plain, &length) && utf8_valid(plain, length) && !memchr(plain, 0, length)) {
    metadata_put(text, plain, length);
    metadata_put(text, "", 1);
    return text->failed ? STATUS_MEMORY : STATUS_OK;
  }
  const bool is_array = metadata_array(value, &items, &length);
  snprintf(type, METADATA_TYPE_TEXT, is_array ? "[%s]" : "%s", metadata_type_name(is_array ? items : value->type));
  const bool narrow = (is_array ? items : value->type) == METADATA_F32; /* nine digits tell any two apart */
  json_t *json = is_array ? items_json(value) : value_json(value);
  char *dumped = metadata_json_text(json, JSON_REAL_PRECISION(narrow ? 9 : 17));
  if (dumped) metadata_put(text, dumped, strlen(dumped) + 1);
  const bool ok = dumped && !text->failed;
  free(dumped);
  json_decref(json);
  return ok ? STATUS_OK : fail(STATUS_MEMORY, "out of memory for the text of a value");
}

/* --- text -> value ------------------------------------------------------------------------------------------------ */

static bool parse_type(const char *word, size_t length, metadata_type *type) {
  for (int i = 0; i < METADATA_TYPES; i++) {
    const char *name = metadata_type_name((metadata_type)i);
    if (strlen(name) != length || memcmp(name, word, length)) continue;
    *type = (metadata_type)i;
    return true;
  }
  return false;
}

static bool put_hex(const char *hex, size_t length, metadata_bytes *out) {
  if (length % 2 || strspn(hex, "0123456789abcdef") != length) return false;
  metadata_put_number(out, length / 2, 8);
  for (size_t i = 0; i < length; i += 2) {
    const char pair[] = {hex[i], hex[i + 1], 0};
    metadata_put_number(out, strtoul(pair, NULL, 16), 1);
  }
  return true;
}

static bool put_string(const json_t *json, metadata_bytes *out) {
  const json_t *hex = json_object_get(json, "hex");
  if (json_is_string(hex) && json_object_size(json) == 1)
    return put_hex(json_string_value(hex), json_string_length(hex), out);
  if (!json_is_string(json)) return false;
  metadata_put_text(out, json_string_value(json), json_string_length(json));
  return true;
}

/* The bytes of a number type, and whether it has a sign. */
static int number_bytes(metadata_type type, bool *has_sign) {
  *has_sign = type == METADATA_I8 || type == METADATA_I16 || type == METADATA_I32 || type == METADATA_I64;
  switch (type) {
  case METADATA_U8:
  case METADATA_I8:
    return 1;
  case METADATA_U16:
  case METADATA_I16:
    return 2;
  case METADATA_U32:
  case METADATA_I32:
  case METADATA_F32:
    return 4;
  default:
    return 8;
  }
}

static bool put_integer(metadata_type type, const json_t *json, metadata_bytes *out) {
  bool has_sign;
  const int bytes = number_bytes(type, &has_sign), bits = 8 * bytes - has_sign;
  const char *digits = json_string_value(json);
  if (type == METADATA_U64 && digits) { /* beyond 63 bits */
    errno = 0;
    const unsigned long long value = strtoull(digits, NULL, 10);
    if (errno || !*digits || strspn(digits, "0123456789") != json_string_length(json)) return false;
    metadata_put_number(out, value, bytes);
    return true;
  }
  if (!json_is_integer(json)) return false;
  const json_int_t value = json_integer_value(json);
  const uint64_t size = (uint64_t)(value < 0 ? ~value : value); /* ~x = -x - 1: -128 takes as many bits as 127 */
  if ((value < 0 && !has_sign) || (bits < 64 && size >> bits)) return false;
  metadata_put_number(out, (uint64_t)value, bytes);
  return true;
}

static bool put_real(metadata_type type, const json_t *json, metadata_bytes *out) {
  const int bytes = type == METADATA_F32 ? 4 : 8;
  const double value = json_number_value(json);
  const bool has_f32 = fabs(value) < 0x1.ffffffp127; /* halfway from the largest to infinity */
  const float narrow = has_f32 ? (float)value : 0;
  const char *pattern = json_string_value(json);
  if (pattern) {
    if (json_string_length(json) != 2 + 2 * (size_t)bytes || memcmp(pattern, "0x", 2) ||
        strspn(pattern + 2, "0123456789abcdef") != 2 * (size_t)bytes)
      return false;
    metadata_put_number(out, strtoull(pattern, NULL, 16), bytes);
    return true;
  }
  if (!json_is_number(json) || (type == METADATA_F32 && !has_f32)) return false;
  metadata_put(out, type == METADATA_F32 ? (const void *)&narrow : &value, (size_t)bytes);
  return true;
}

static bool put_items(metadata_type items, const json_t *list, int depth, metadata_bytes *out);

/* depth: how many arrays are around it */
static bool put_value(metadata_type type, json_t *json, int depth, metadata_bytes *out) {
  void *member;
  metadata_type items;
  switch (type) {
  case METADATA_BOOL:
    metadata_put_number(out, json_is_true(json), 1);
    return json_is_boolean(json);
  case METADATA_STRING:
    return put_string(json, out);
  case METADATA_F32:
  case METADATA_F64:
    return put_real(type, json, out);
  case METADATA_ARRAY:
    member = json_object_iter(json); /* NULL for what is no object or an empty one */
    return member && json_object_size(json) == 1 &&
           parse_type(json_object_iter_key(member), strlen(json_object_iter_key(member)), &items) &&
           put_items(items, json_object_iter_value(member), depth, out);
  default:
    return put_integer(type, json, out);
  }
}

static bool put_items(metadata_type items, const json_t *list, int depth, metadata_bytes *out) {
  if (!json_is_array(list) || depth == METADATA_DEPTH) return false;
  metadata_put_array(out, items, json_array_size(list));
  for (size_t i = 0; i < json_array_size(list); i++)
    if (!put_value(items, json_array_get(list, i), depth + 1, out)) return false;
  return true;
}

status safetensors_value_parse(const char *text, size_t length, const char *type, metadata_bytes *bytes,
                               metadata_value *value) {
  const size_t word = strlen(type);
  const bool is_array = word > 2 && type[0] == '[' && type[word - 1] == ']';
  metadata_type items;
  json_t *json;
  if (!parse_type(type + is_array, word - 2 * (size_t)is_array, &items) || (items == METADATA_ARRAY && !is_array))
    return fail(STATUS_FORMAT, "has the unknown type '%.32s'", type);
  if (safetensors_json("the text", text, length, VALUE_DEPTH, JSON_DECODE_ANY | JSON_ALLOW_NUL, &json))
    return last_status();
  const bool fits = is_array ? put_items(items, json, 0, bytes) : put_value(items, json, 0, bytes);
  json_decref(json);
  if (!fits) return fail(STATUS_FORMAT, "is '%.40s', which is no value of its type %s", text, type);
  if (bytes->failed) return fail(STATUS_MEMORY, "out of memory for a value");
  *value = (metadata_value){is_array ? METADATA_ARRAY : items, bytes->bytes, bytes->size};
  return STATUS_OK;
}
