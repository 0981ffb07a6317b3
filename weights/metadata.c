/* Metadata values in GGUF's encoding: sizes, reading, building, JSON (GGUF specification, "gguf_metadata_value_t"). */
#include "weights/metadata.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "kernels/utf8.h"

#define TEXT_HEAD 8   /* length */
#define ARRAY_HEAD 12 /* items' type, number of items */

/* `size`: bytes of a value of fixed size; 0 if it depends on the value. `least`: bytes that any value takes. */
static const struct {
  const char *name;
  uint8_t size, least;
} types[METADATA_TYPES] = {
    [METADATA_U8] = {"u8", 1, 1},
    [METADATA_I8] = {"i8", 1, 1},
    [METADATA_U16] = {"u16", 2, 2},
    [METADATA_I16] = {"i16", 2, 2},
    [METADATA_U32] = {"u32", 4, 4},
    [METADATA_I32] = {"i32", 4, 4},
    [METADATA_F32] = {"f32", 4, 4},
    [METADATA_BOOL] = {"bool", 1, 1},
    [METADATA_U64] = {"u64", 8, 8},
    [METADATA_I64] = {"i64", 8, 8},
    [METADATA_F64] = {"f64", 8, 8},
    [METADATA_STRING] = {"str", 0, TEXT_HEAD},
    [METADATA_ARRAY] = {"array", 0, ARRAY_HEAD},
};

static bool is_type(metadata_type type) { return (unsigned)type < METADATA_TYPES; }

const char *metadata_type_name(metadata_type type) { return is_type(type) ? types[type].name : "?"; }

static status value_size(metadata_type type, const uint8_t *bytes, size_t room, int depth, size_t *size);

/* As value_size() of an array whose head is there. Items take at least a byte each, so that the loops end with the
 * room. */
static status array_size(const uint8_t *bytes, size_t room, int depth, size_t *size) {
  const uint32_t word = little32(bytes);
  const uint64_t count = little64(bytes + 4);
  const metadata_type items = (metadata_type)word;
  if (word >= METADATA_TYPES)
    return fail(STATUS_FORMAT, "the array's items are of the unknown type %u", (unsigned)word);
  if (depth == METADATA_DEPTH)
    return fail(STATUS_UNSUPPORTED, "arrays are nested deeper than %d levels", METADATA_DEPTH);
  if (count > (room - ARRAY_HEAD) / types[items].least)
    return fail(STATUS_FORMAT, "the array claims %llu items (%s), but only %zu bytes follow", (unsigned long long)count,
                types[items].name, room - ARRAY_HEAD);
  size_t at = ARRAY_HEAD;
  if (types[items].size && items != METADATA_BOOL) {
    *size = at + (size_t)count * types[items].size;
    return STATUS_OK;
  }
  for (uint64_t i = 0; i < count; i++) {
    size_t item = 0;
    if (value_size(items, bytes + at, room - at, depth + 1, &item)) return last_status();
    at += item;
  }
  *size = at;
  return STATUS_OK;
}

/* depth: how many arrays are around it */
static status value_size(metadata_type type, const uint8_t *bytes, size_t room, int depth, size_t *size) {
  if (!is_type(type)) return fail(STATUS_FORMAT, "the value is of the unknown type %u", (unsigned)type);
  if (room < types[type].least)
    return fail(STATUS_FORMAT, "the value (%s) goes beyond the end of the file", types[type].name);
  switch (type) {
  case METADATA_STRING:
    if (little64(bytes) > room - TEXT_HEAD)
      return fail(STATUS_FORMAT, "the text claims %llu bytes, but only %zu follow", (unsigned long long)little64(bytes),
                  room - TEXT_HEAD);
    *size = TEXT_HEAD + (size_t)little64(bytes);
    return STATUS_OK;
  case METADATA_ARRAY:
    return array_size(bytes, room, depth, size);
  case METADATA_BOOL:
    if (*bytes > 1) return fail(STATUS_FORMAT, "the bool is %u, neither 0 nor 1", *bytes);
    break;
  default:
    break;
  }
  *size = types[type].size;
  return STATUS_OK;
}

status metadata_size(metadata_type type, const uint8_t *bytes, size_t room, size_t *size) {
  return value_size(type, bytes, room, 0, size);
}

bool metadata_integer(const metadata_value *v, int64_t *out) {
  uint64_t u64;
  switch (v->type) {
  case METADATA_U8:
    return *out = v->bytes[0], true;
  case METADATA_I8:
    return *out = (int8_t)v->bytes[0], true;
  case METADATA_U16:
    return *out = little16(v->bytes), true;
  case METADATA_I16:
    return *out = (int16_t)little16(v->bytes), true;
  case METADATA_U32:
    return *out = little32(v->bytes), true;
  case METADATA_I32:
    return *out = (int32_t)little32(v->bytes), true;
  case METADATA_U64:
  case METADATA_I64:
    u64 = little64(v->bytes);
    if (v->type == METADATA_U64 && u64 > INT64_MAX) return false;
    return *out = (int64_t)u64, true;
  default:
    return false;
  }
}

static float load_f32(const uint8_t *bytes) {
  const uint32_t bits = little32(bytes);
  float value;
  return memcpy(&value, &bits, sizeof value), value;
}

static double load_f64(const uint8_t *bytes) {
  const uint64_t bits = little64(bytes);
  double value;
  return memcpy(&value, &bits, sizeof value), value;
}

bool metadata_real(const metadata_value *v, double *out) {
  int64_t integer;
  if (v->type == METADATA_F32)
    *out = (double)load_f32(v->bytes);
  else if (v->type == METADATA_F64)
    *out = load_f64(v->bytes);
  else if (v->type == METADATA_U64)
    *out = (double)little64(v->bytes);
  else if (metadata_integer(v, &integer))
    *out = (double)integer;
  else
    return false;
  return true;
}

bool metadata_truth(const metadata_value *v, bool *out) {
  if (v->type != METADATA_BOOL) return false;
  *out = *v->bytes != 0;
  return true;
}

bool metadata_text(const metadata_value *v, const char **text, size_t *length) {
  if (v->type != METADATA_STRING) return false;
  *text = (const char *)v->bytes + TEXT_HEAD;
  *length = v->size - TEXT_HEAD;
  return true;
}

bool metadata_array(const metadata_value *v, metadata_type *items, size_t *count) {
  if (v->type != METADATA_ARRAY) return false;
  *items = (metadata_type)little32(v->bytes);
  *count = (size_t)little64(v->bytes + 4);
  return true;
}

metadata_cursor metadata_items(const metadata_value *v) {
  metadata_cursor at = {0};
  if (!metadata_array(v, &at.type, &at.left)) return at;
  at.bytes = v->bytes + ARRAY_HEAD;
  at.end = v->bytes + v->size;
  return at;
}

bool metadata_next(metadata_cursor *at, metadata_value *item) {
  size_t size = 0;
  if (!at->left || metadata_size(at->type, at->bytes, (size_t)(at->end - at->bytes), &size)) return false;
  *item = (metadata_value){at->type, at->bytes, size};
  at->bytes += size;
  at->left--;
  return true;
}

/* Doubles, so that many small pieces are cheap. */
static bool make_room(metadata_bytes *to, size_t more) {
  size_t needed;
  if (!size_add(to->size, more, &needed) || needed > PTRDIFF_MAX / 2)
    return fail(STATUS_MEMORY, "metadata of more than %zu bytes", (size_t)PTRDIFF_MAX / 2), false;
  if (needed <= to->capacity) return true;
  const size_t twice = to->capacity ? 2 * to->capacity : 64, capacity = needed < twice ? twice : needed;
  uint8_t *grown = mem_grow(to->bytes, capacity, 1);
  if (!grown) return false;
  to->bytes = grown;
  to->capacity = capacity;
  return true;
}

void metadata_put(metadata_bytes *to, const void *bytes, size_t size) {
  to->failed = to->failed || !make_room(to, size);
  if (to->failed || !size) return;
  memcpy(to->bytes + to->size, bytes, size);
  to->size += size;
}

void metadata_put_number(metadata_bytes *to, uint64_t value, int bytes) {
  uint8_t number[8];
  put_little(number, value, bytes);
  metadata_put(to, number, (size_t)bytes);
}

void metadata_put_text(metadata_bytes *to, const char *text, size_t length) {
  metadata_put_number(to, length, TEXT_HEAD);
  metadata_put(to, text, length);
}

void metadata_put_array(metadata_bytes *to, metadata_type items, size_t count) {
  metadata_put_number(to, (uint64_t)items, 4);
  metadata_put_number(to, count, 8);
}

const char *metadata_type_text(const metadata_value *v, char *text) {
  metadata_value inner = *v;
  int depth = 0;
  for (metadata_cursor at; inner.type == METADATA_ARRAY && depth < METADATA_DEPTH; depth++) {
    at = metadata_items(&inner);
    inner.type = at.type;
    if (inner.type == METADATA_ARRAY && !metadata_next(&at, &inner)) {
      depth++;
      break;
    }
  }
  snprintf(text, METADATA_TYPE_TEXT, "%.*s%s%.*s", depth, "[[[[[[[[", metadata_type_name(inner.type), depth,
           "]]]]]]]]");
  return text;
}

_Static_assert(2 * METADATA_DEPTH + sizeof "array" <= METADATA_TYPE_TEXT && METADATA_DEPTH <= 8, "room for brackets");

/* {"hex": "..."} */
static json_t *hex_json(const uint8_t *bytes, size_t size) {
  static const char digits[] = "0123456789abcdef";
  char *hex = mem_alloc(size, 2);
  if (!hex) return NULL;
  for (size_t i = 0; i < size; i++) {
    hex[2 * i] = digits[bytes[i] >> 4];
    hex[2 * i + 1] = digits[bytes[i] & 15];
  }
  json_t *object = json_pack("{s:s%}", "hex", hex, 2 * size);
  free(hex);
  return object;
}

/* An f32 becomes the shortest decimal number that reads back as the same f32: 0.1, not 0.10000000149011612. */
static json_t *real_json(const metadata_value *v) {
  double value;
  metadata_real(v, &value);
  if (isnan(value)) return json_string("NaN");
  if (isinf(value)) return json_string(value < 0 ? "-Infinity" : "Infinity");
  for (int digits = 6; v->type == METADATA_F32 && digits <= 9; digits++) {
    char text[32];
    snprintf(text, sizeof text, "%.*g", digits, value);
    const double read = strtod(text, NULL);
    if ((float)read == (float)value) return json_real(read);
  }
  return json_real(value);
}

static json_t *scalar_json(const metadata_value *v) {
  int64_t integer;
  bool truth;
  const char *text;
  size_t length;
  if (metadata_integer(v, &integer)) return json_integer(integer);
  if (metadata_truth(v, &truth)) return json_boolean(truth);
  if (metadata_text(v, &text, &length))
    return utf8_valid(text, length) ? json_stringn_nocheck(text, length) : hex_json((const uint8_t *)text, length);
  if (v->type != METADATA_U64) return real_json(v);
  char digits[24]; /* above 2^63 */
  snprintf(digits, sizeof digits, "%llu", (unsigned long long)little64(v->bytes));
  return json_string(digits);
}

/* Calls itself for arrays in arrays, METADATA_DEPTH deep. */
static json_t *value_json(const metadata_value *v, size_t most) {
  if (v->type != METADATA_ARRAY) return scalar_json(v);
  json_t *array = json_array();
  metadata_cursor at = metadata_items(v);
  for (metadata_value item; array && (!most || json_array_size(array) < most) && metadata_next(&at, &item);) {
    if (!json_array_append_new(array, value_json(&item, most))) continue; /* refuses NULL */
    json_decref(array);
    return NULL;
  }
  return array;
}

json_t *metadata_json(const metadata_value *v, size_t most) {
  json_t *json = value_json(v, most);
  return json ? json : fail_null(STATUS_MEMORY, "out of memory while writing metadata as JSON");
}

/* The parser seldom says that memory was short: it calls the text wrong, or goes on with a part of a string. malloc()
 * says it. */
status metadata_parse_json(const char *what, const char *text, size_t length, size_t flags, json_t **json) {
  json_error_t error;
  errno = 0;
  *json = json_loadb(text, length, JSON_REJECT_DUPLICATES | flags, &error);
  if (*json && errno != ENOMEM) return STATUS_OK;
  json_decref(*json);
  *json = NULL;
  if (errno == ENOMEM) return fail(STATUS_MEMORY, "out of memory while reading %s of %zu bytes", what, length);
  return fail(STATUS_FORMAT, "%s is not valid JSON: %s (byte %d)", what, error.text, error.position);
}

/* As the parser, the printer goes on when memory is short, and leaves words out. */
char *metadata_json_text(const json_t *json, size_t flags) {
  errno = 0;
  char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | flags);
  if (text && errno != ENOMEM) return text;
  free(text);
  return fail_null(STATUS_MEMORY, "out of memory while writing JSON");
}
