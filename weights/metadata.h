/* Typed values that a file carries beside its tensors: numbers, truth values, texts and arrays of them, with GGUF's
 * thirteen types (GGUF specification, "metadata"). A safetensors file has texts only, so its values are all of type
 * METADATA_STRING.
 *
 * A value is kept as GGUF stores it: little-endian bytes at any alignment, a text as a 64-bit length and its bytes, an
 * array as its items' type (32 bits), their number (64 bits) and the items. Values from a file have been checked by
 * metadata_size() when it was opened, so that the functions that read them cannot fail on their bytes. */
#ifndef LINNET_WEIGHTS_METADATA_H
#define LINNET_WEIGHTS_METADATA_H

#include <jansson.h>

#include "kernels/base.h"

/* The numbers are GGUF's. */
typedef enum {
  METADATA_U8,
  METADATA_I8,
  METADATA_U16,
  METADATA_I16,
  METADATA_U32,
  METADATA_I32,
  METADATA_F32,
  METADATA_BOOL,
  METADATA_STRING,
  METADATA_ARRAY,
  METADATA_U64,
  METADATA_I64,
  METADATA_F64,
  METADATA_TYPES /* how many there are */
} metadata_type;

typedef struct {
  metadata_type type;
  const uint8_t *bytes;
  size_t size;
} metadata_value;

#define METADATA_DEPTH 4 /* arrays within arrays */

/* How many of the `room` bytes a value of this type takes. STATUS_FORMAT or STATUS_UNSUPPORTED with a sentence that
 * begins with what is wrong if they hold none: cut short, an unknown type, a BOOL that is neither 0 nor 1, arrays
 * deeper than METADATA_DEPTH. */
status metadata_size(metadata_type type, const uint8_t *bytes, size_t room, size_t *size);

/* What a value is; false if it is of another kind (or, for an integer, does not fit). */
bool metadata_integer(const metadata_value *v, int64_t *out); /* any integer type */
bool metadata_real(const metadata_value *v, double *out);     /* any number */
bool metadata_truth(const metadata_value *v, bool *out);      /* a BOOL */
bool metadata_text(const metadata_value *v, const char **text, size_t *length);
bool metadata_array(const metadata_value *v, metadata_type *items, size_t *count);

/* The items of an array, one after the other:
 *   metadata_cursor at = metadata_items(v);
 *   for (metadata_value item; metadata_next(&at, &item);) ... */
typedef struct {
  metadata_type type;
  size_t left;
  const uint8_t *bytes, *end;
} metadata_cursor;
metadata_cursor metadata_items(const metadata_value *v); /* none, if it is no array */
bool metadata_next(metadata_cursor *at, metadata_value *item);

/* Building values: bytes appended to a growing buffer that free() releases. A failure (STATUS_MEMORY) stays in
 * `failed`, so that only the end need be checked. */
typedef struct {
  uint8_t *bytes;
  size_t size, capacity;
  bool failed;
} metadata_bytes;
void metadata_put(metadata_bytes *to, const void *bytes, size_t size);
void metadata_put_number(metadata_bytes *to, uint64_t value, int bytes); /* little-endian, 1 to 8 bytes */
void metadata_put_text(metadata_bytes *to, const char *text, size_t length);
void metadata_put_array(metadata_bytes *to, metadata_type items, size_t count); /* its head; the items follow */

/* The word of a type: "u32", "str", ..., "array"; "?" for a number that is none. */
const char *metadata_type_name(metadata_type type);
/* The word of a value's type, where an array is its items' in brackets: "u32", "[str]", "[[f32]]" (by its first item;
 * "[array]" if it has none), into a buffer of METADATA_TYPE_TEXT bytes; returns it. */
#define METADATA_TYPE_TEXT 32
const char *metadata_type_text(const metadata_value *v, char *text);

/* The value as JSON (new reference): numbers, true or false, strings, arrays. Text that is no UTF-8 becomes an object
 * {"hex": "..."}, a number that JSON lacks (NaN, infinity, integers beyond 63 bits) a string. An array's items beyond
 * the first `most` (0: no bound) are left out. NULL with a STATUS_MEMORY sentence. */
json_t *metadata_json(const metadata_value *v, size_t most);

/* Parses JSON text (new reference; flags are the parser's). `what` is it, for sentences: STATUS_FORMAT, STATUS_MEMORY.
 */
status metadata_parse_json(const char *what, const char *text, size_t length, size_t flags, json_t **json);
/* JSON as compact text; free() it. NULL with a STATUS_MEMORY sentence, also for a `json` of NULL, which stands for one
 * that could not be made. */
char *metadata_json_text(const json_t *json, size_t flags);

#endif
