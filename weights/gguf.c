/* Reading GGUF, versions 2 and 3 (which differ in nothing but that 3 has a big-endian form too; GGUF specification):
 *   "GGUF", version u32, number of tensors u64, number of key-value pairs u64
 *   pairs:   key (length u64, bytes), type u32, value (metadata.h)
 *   tensors: name (length u64, bytes), number of dimensions u32, dimensions u64 innermost first, type u32, offset u64
 *   padding up to a multiple of the alignment; data, which the offsets count from
 * Whole files of big-endian machines are recognised before they come here (recognise.h).
 * Rules as strict as those for safetensors (spec ecosystem section 6): each tensor begins where the one before ends,
 * padded to the alignment (so does ggml ask), and after the last one's padding nothing follows, so that no byte of the
 * file is unaccounted for. That last padding may be missing; what the padding holds does not matter. A tensor without
 * dimensions is a scalar, as it is for ggml.
 *
 * The header is read once from its beginning to its end; values and data stay where they are in the file. */
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "kernels/utf8.h"
#include "weights/container.h"
#include "weights/gguf_format.h"
#include "weights/interleaved.h"

#define HEADER_BYTES 24
/* What a pair and a tensor take at least: lengths, one letter, types, numbers. */
#define PAIR_LEAST (8 + 1 + 4 + 1)
#define TENSOR_LEAST (8 + 1 + 4 + 4 + 8)

typedef struct {
  checkpoint *c;
  size_t tensors, pairs; /* how many the header claims */
  size_t at;             /* how far it has been read */
  size_t alignment;
  size_t data_end;   /* where the last tensor so far ends, counted from the beginning of the data */
  char *text;        /* the key or name that was read last */
  json_t *originals; /* of GGUF_ORIGINALS; NULL if there is none */
  size_t restored;   /* how many of them have been met */
} reader;

static size_t padded(const reader *r, size_t size) { return (size + r->alignment - 1) & ~(r->alignment - 1); }

/* The next n bytes of the header; NULL with a sentence if there are fewer. */
static const uint8_t *take(reader *r, size_t n, const char *what) {
  if (n > r->c->size - r->at) return fail_null(STATUS_FORMAT, "ends inside %s: is the file cut short?", what);
  r->at += n;
  return r->c->data + r->at - n;
}

/* A key or a name into r->text: UTF-8 without control characters, since it is printed to terminals. */
static status take_text(reader *r, size_t most, const char *what) {
  const uint8_t *bytes = take(r, 8, what);
  if (!bytes) return last_status();
  const uint64_t length = little64(bytes);
  if (length == 0) return fail(STATUS_FORMAT, "%s is empty", what);
  if (length > most)
    return fail(STATUS_FORMAT, "%s claims %llu bytes, the most is %zu", what, (unsigned long long)length, most);
  if (!(bytes = take(r, (size_t)length, what))) return last_status();
  if (!utf8_valid(bytes, (size_t)length)) return fail(STATUS_FORMAT, "%s is not UTF-8", what);
  for (size_t i = 0; i < length; i++)
    if (bytes[i] < 0x20 || bytes[i] == 0x7f)
      return fail(STATUS_FORMAT, "%s holds the control character 0x%02x", what, bytes[i]);
  memcpy(r->text, bytes, (size_t)length);
  r->text[length] = 0;
  return STATUS_OK;
}

static status read_header(reader *r) {
  const uint8_t *header = take(r, HEADER_BYTES, "its first numbers");
  if (!header) return last_status();
  const uint32_t version = little32(header + 4);
  if (version != 2 && version != GGUF_VERSION)
    return fail(STATUS_UNSUPPORTED, "is of GGUF version %u; this version reads 2 and %d", (unsigned)version,
                GGUF_VERSION);
  const uint64_t n_tensors = little64(header + 8), n_pairs = little64(header + 16);
  const size_t left = r->c->size - HEADER_BYTES;
  if (n_pairs > GGUF_KEYS_MAX || n_pairs > left / PAIR_LEAST)
    return fail(STATUS_FORMAT, "claims %llu metadata keys in %zu bytes; the most is %d", (unsigned long long)n_pairs,
                left, GGUF_KEYS_MAX);
  if (n_tensors > GGUF_TENSORS_MAX || n_tensors > left / TENSOR_LEAST)
    return fail(STATUS_FORMAT, "claims %llu tensors in %zu bytes; the most is %d", (unsigned long long)n_tensors, left,
                GGUF_TENSORS_MAX);
  r->tensors = (size_t)n_tensors;
  r->pairs = (size_t)n_pairs;
  return STATUS_OK;
}

static status set_alignment(reader *r, const metadata_value *v) {
  int64_t alignment;
  if (v->type != METADATA_U32) return fail(STATUS_FORMAT, "is of type %s, not u32", metadata_type_name(v->type));
  if (!metadata_integer(v, &alignment) || alignment < GGUF_ALIGNMENT_MIN || alignment > GGUF_ALIGNMENT_MAX ||
      alignment & (alignment - 1))
    return fail(STATUS_FORMAT, "is %lld, not a power of two from %d to %d", (long long)alignment, GGUF_ALIGNMENT_MIN,
                GGUF_ALIGNMENT_MAX);
  r->alignment = (size_t)alignment;
  return STATUS_OK;
}

static status parse_originals(reader *r, const metadata_value *v) {
  const char *text;
  size_t length;
  if (r->originals) return fail(STATUS_FORMAT, "is there twice");
  if (!metadata_text(v, &text, &length))
    return fail(STATUS_FORMAT, "is of type %s, not str", metadata_type_name(v->type));
  if (length > GGUF_ORIGINALS_MAX)
    return fail(STATUS_FORMAT, "has %zu bytes, the most is %d", length, GGUF_ORIGINALS_MAX);
  if (metadata_parse_json("the text", text, length, 0, &r->originals)) return last_status();
  return json_is_object(r->originals) ? STATUS_OK : fail(STATUS_FORMAT, "is not a JSON object");
}

/* The value of the key in r->text. */
static status read_value(reader *r) {
  const uint8_t *type = take(r, 4, "its type");
  if (!type) return last_status();
  metadata_value v = {(metadata_type)little32(type), r->c->data + r->at, 0};
  if (metadata_size(v.type, v.bytes, r->c->size - r->at, &v.size)) return last_status();
  r->at += v.size;
  if (!strcmp(r->text, GGUF_ALIGNMENT_KEY) && set_alignment(r, &v)) return last_status();
  if (!strcmp(r->text, GGUF_ORIGINALS) && parse_originals(r, &v)) return last_status();
  return checkpoint_add_entry(r->c, r->text, &v);
}

static status read_pairs(reader *r) {
  for (size_t i = 0; i < r->pairs; i++) {
    if (take_text(r, GGUF_KEY_MAX, "the key")) return fail_within("metadata %zu of %zu", i + 1, r->pairs);
    if (read_value(r)) return fail_within("metadata %.100s", r->text);
  }
  return STATUS_OK;
}

static status read_shape(reader *r, checkpoint_tensor *t) {
  const uint8_t *number = take(r, 4, "its shape");
  if (!number) return last_status();
  if (little32(number) > GGUF_DIMS)
    return fail(STATUS_FORMAT, "has %u dimensions, the most is %d", (unsigned)little32(number), GGUF_DIMS);
  t->n_dims = (int)little32(number);
  const uint8_t *dims = take(r, 8 * (size_t)t->n_dims, "its shape");
  if (!dims) return last_status();
  for (int i = 0; i < t->n_dims; i++) {
    const uint64_t dim = little64(dims + 8 * i);
    if (dim > INT64_MAX) return fail(STATUS_FORMAT, "has a dimension of %llu", (unsigned long long)dim);
    t->dim[t->n_dims - 1 - i] = (int64_t)dim;
  }
  return STATUS_OK;
}

/* An interleaved tensor gets a place in `packed`, which is not yet the right one. */
static status read_type(reader *r, checkpoint_tensor *t) {
  const uint8_t *bytes = take(r, 4, "its type");
  if (!bytes) return last_status();
  const uint32_t all = little32(bytes);
  const bool ours = (all & 0xffff0000) == GGUF_INTERLEAVED;
  const uint32_t number = ours ? all - GGUF_INTERLEAVED : all;
  t->packed = ours ? r->c->data : NULL;
  if (gguf_type_parse(number, &t->dtype)) return STATUS_OK;
  const char *name = gguf_type_name(number);
  if (!name || ours) return fail(STATUS_FORMAT, "is of the unknown type %u", (unsigned)all);
  return fail(STATUS_UNSUPPORTED,
              "has type %s; this version reads F64, F32, F16, BF16, I64, I32, I16, I8, Q8_0, Q6_K, Q5_K, Q4_K, Q5_1, "
              "Q5_0, Q4_1 and Q4_0",
              name);
}

static status refuse_shape(const checkpoint_tensor *t) {
  char shape[CHECKPOINT_SHAPE_TEXT];
  return fail(STATUS_FORMAT, "cannot be %s %s", checkpoint_dtype_name(t->dtype),
              checkpoint_shape_text(t->n_dims, t->dim, shape));
}

static status check_interleaved(const reader *r, const checkpoint_tensor *t) {
  char shape[CHECKPOINT_SHAPE_TEXT];
  if (!t->packed) return STATUS_OK;
  if (r->alignment % INTERLEAVED_ALIGNMENT)
    return fail(STATUS_FORMAT, "is interleaved, but the file's data are aligned to %zu bytes instead of %d",
                r->alignment, INTERLEAVED_ALIGNMENT);
  return interleaved_fits(t->dtype, t->n_dims, t->dim)
             ? STATUS_OK
             : fail(STATUS_FORMAT, "cannot be interleaved %s %s", checkpoint_dtype_name(t->dtype),
                    checkpoint_shape_text(t->n_dims, t->dim, shape));
}

/* Its place must be the next one. What lies behind the end of the file is found in place_data(); this keeps the sum
 * from overflowing. */
static status read_offset(reader *r, checkpoint_tensor *t) {
  const uint8_t *number = take(r, 8, "its offset");
  if (!number) return last_status();
  const uint64_t offset = little64(number);
  const size_t expected = padded(r, r->data_end);
  if (offset != expected)
    return fail(STATUS_FORMAT, "begins at byte %llu of the data, but the tensor before it ends at %zu, padded %zu",
                (unsigned long long)offset, r->data_end, expected);
  if (!size_add(expected, t->bytes, &r->data_end) || r->data_end > r->c->size)
    return fail(STATUS_FORMAT,
                "has %zu bytes from byte %zu of the data on, but the file has only %zu: is it cut short?", t->bytes,
                expected, r->c->size);
  t->source = expected;
  return STATUS_OK;
}

/* What a tensor was before it was written under a substitute: the same bytes with another name, shape or type; of an
 * interleaved one, which depends on both, with another name. */
static status restore_original(json_t *original, checkpoint_tensor *t) {
  const char *member;
  json_t *value;
  size_t bytes;
  if (!json_is_object(original)) return fail(STATUS_FORMAT, "is not an object");
  json_object_foreach(original, member, value) {
    const char *word = json_string_value(value); /* NULL if it is no string */
    if (!strcmp(member, "name") && word) {
      if (checkpoint_check_name(word)) return last_status();
      t->name = word;
    } else if (t->packed) {
      return fail(STATUS_FORMAT, "it is interleaved, and cannot have another %.40s", member);
    } else if (!strcmp(member, "shape")) {
      if (checkpoint_shape_parse(value, t)) return last_status();
    } else if (strcmp(member, "dtype") || !word || !checkpoint_dtype_parse(word, &t->dtype)) {
      return fail(STATUS_FORMAT, "its %.40s is none", member);
    }
  }
  if (!checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &bytes)) return refuse_shape(t);
  if (bytes != t->bytes) return fail(STATUS_FORMAT, "would have %zu bytes, but %zu are there", bytes, t->bytes);
  return STATUS_OK;
}

/* The tensor whose name is in r->text. */
static status read_tensor(reader *r) {
  checkpoint_tensor t = {.name = r->text};
  if (read_shape(r, &t) || read_type(r, &t)) return last_status();
  if (!checkpoint_shape_bytes(t.dtype, t.n_dims, t.dim, &t.bytes)) return refuse_shape(&t);
  if (check_interleaved(r, &t) || read_offset(r, &t)) return last_status();
  json_t *original = json_object_get(r->originals, r->text);
  r->restored += original != NULL;
  if (original && restore_original(original, &t)) return fail_within("its entry in " GGUF_ORIGINALS);
  return checkpoint_add(r->c, &t);
}

static status read_tensors(reader *r) {
  for (size_t i = 0; i < r->tensors; i++) {
    if (take_text(r, CHECKPOINT_NAME_MAX, "the name")) return fail_within("tensor %zu of %zu", i + 1, r->tensors);
    if (read_tensor(r)) return fail_within("tensor %s", r->text);
  }
  if (r->restored != json_object_size(r->originals))
    return fail(STATUS_FORMAT, "metadata " GGUF_ORIGINALS " tells of %zu tensors that are not there",
                json_object_size(r->originals) - r->restored);
  return STATUS_OK;
}

/* Where the data lie, now that the end of the header is known. */
static status place_data(reader *r) {
  checkpoint *c = r->c;
  const size_t start = padded(r, r->at), end = c->count ? start + r->data_end : r->at;
  if (end > c->size)
    return fail(STATUS_FORMAT, "the tensors' data end at byte %zu, but the file has only %zu: is it cut short?", end,
                c->size);
  const size_t all = start + padded(r, r->data_end);
  if (c->size > all)
    return fail(STATUS_FORMAT, "the tensors' data and padding end at byte %zu, but the file has %zu", all, c->size);
  for (size_t i = 0; i < c->count; i++) {
    checkpoint_tensor *t = &c->tensors[i];
    *(t->packed ? &t->packed : &t->data) = c->data + start + t->source;
  }
  return STATUS_OK;
}

static status read_all(reader *r) {
  if (!(r->text = mem_alloc(GGUF_KEY_MAX + 1, 1))) return last_status();
  if (read_header(r)) return last_status();
  if (read_pairs(r) || read_tensors(r)) return last_status();
  return place_data(r);
}

status gguf_read(checkpoint *c) {
  reader r = {.c = c, .alignment = GGUF_ALIGNMENT};
  const status result = read_all(&r);
  json_decref(r.originals);
  free(r.text);
  return result;
}
