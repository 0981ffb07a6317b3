/* What the reader and the writer of safetensors share: limits (spec ecosystem section 6; the first is the official
 * one), and how metadata that is no plain text becomes text and returns. */
#ifndef LINNET_WEIGHTS_SAFETENSORS_FORMAT_H
#define LINNET_WEIGHTS_SAFETENSORS_FORMAT_H

#include "weights/metadata.h"
#include "weights/writer.h"

#define SAFETENSORS_HEADER_MAX 100000000 /* bytes of JSON */
#define SAFETENSORS_VALUES_MAX (4 << 20) /* JSON values; a tensor takes about ten */
#define SAFETENSORS_DEPTH 3              /* header, tensor, shape */

/* How the header of our own files begins; the checksum's digits follow. */
#define SAFETENSORS_BEGIN "{\"__metadata__\":{\"" WRITER_CHECKSUM "\":\""

/* Parses JSON from a file (new reference; further flags of the parser's), bounding nesting and values
 * (SAFETENSORS_VALUES_MAX) before the parser, whose values take far more memory than their text, builds any. `what` is
 * it, for sentences: STATUS_FORMAT, STATUS_MEMORY. */
status safetensors_json(const char *what, const char *text, size_t length, int depth, size_t flags, json_t **json);

/* Typed metadata. The texts of a safetensors file's __metadata__ are JSON for the keys that its entry
 * SAFETENSORS_TYPES, a JSON text {"key": "u32", "other key": "[str]", ...}, gives a type: numbers, true and false,
 * strings, lists of them; {"hex": "00ff"} for text that is no UTF-8; "0x7fc00000", an IEEE pattern, for NaN and
 * infinities; digits in a string for integers beyond 63 bits. The type of an array of arrays is "[array]" and its items
 * say theirs: {"u32": [1, 2]}. Texts without a type are plain texts. A type that is unknown and a text that is not of
 * its type are errors; a type for a key that is absent (another program may have dropped it) is not. */
#define SAFETENSORS_TYPES "linnet.types"
/* The text for a value, with a zero byte, into an empty buffer. *type, of METADATA_TYPE_TEXT bytes, becomes "" if it is
 * a plain text. */
status safetensors_value_text(const metadata_value *value, metadata_bytes *text, char *type);
/* The value of a text, whose bytes are put into an empty buffer. */
status safetensors_value_parse(const char *text, size_t length, const char *type, metadata_bytes *bytes,
                               metadata_value *value);

#endif
