/* Types, shapes and values of stored tensors. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/file.h"
#include "kernels/half.h"
#include "weights/container.h"
#include "weights/interleaved.h"

static const struct {
  const char *name;
  size_t size, block;
  quant_type quant; /* of block types */
} dtypes[CHECKPOINT_DTYPES] = {
    [CHECKPOINT_F64] = {"F64", 8, 1, 0},
    [CHECKPOINT_F32] = {"F32", 4, 1, 0},
    [CHECKPOINT_F16] = {"F16", 2, 1, 0},
    [CHECKPOINT_BF16] = {"BF16", 2, 1, 0},
    [CHECKPOINT_I64] = {"I64", 8, 1, 0},
    [CHECKPOINT_I32] = {"I32", 4, 1, 0},
    [CHECKPOINT_I16] = {"I16", 2, 1, 0},
    [CHECKPOINT_I8] = {"I8", 1, 1, 0},
    [CHECKPOINT_U64] = {"U64", 8, 1, 0},
    [CHECKPOINT_U32] = {"U32", 4, 1, 0},
    [CHECKPOINT_U16] = {"U16", 2, 1, 0},
    [CHECKPOINT_U8] = {"U8", 1, 1, 0},
    [CHECKPOINT_BOOL] = {"BOOL", 1, 1, 0},
    [CHECKPOINT_Q8_0] = {"Q8_0", 34, 32, QUANT_Q8_0},
    [CHECKPOINT_Q4_0] = {"Q4_0", 18, 32, QUANT_Q4_0},
    [CHECKPOINT_Q4_1] = {"Q4_1", 20, 32, QUANT_Q4_1},
    [CHECKPOINT_Q5_0] = {"Q5_0", 22, 32, QUANT_Q5_0},
    [CHECKPOINT_Q5_1] = {"Q5_1", 24, 32, QUANT_Q5_1},
    [CHECKPOINT_Q4_K] = {"Q4_K", 144, 256, QUANT_Q4_K},
    [CHECKPOINT_Q5_K] = {"Q5_K", 176, 256, QUANT_Q5_K},
    [CHECKPOINT_Q6_K] = {"Q6_K", 210, 256, QUANT_Q6_K},
};

enum { BLOCK_MAX = 256 };

size_t checkpoint_dtype_size(checkpoint_dtype dtype) { return dtypes[dtype].size; }
size_t checkpoint_dtype_block(checkpoint_dtype dtype) { return dtypes[dtype].block; }
const char *checkpoint_dtype_name(checkpoint_dtype dtype) { return dtypes[dtype].name; }

bool checkpoint_dtype_quant(checkpoint_dtype dtype, quant_type *type) {
  if (dtypes[dtype].block == 1) return false;
  *type = dtypes[dtype].quant;
  return true;
}

bool checkpoint_dtype_parse(const char *word, checkpoint_dtype *dtype) {
  for (int i = 0; i < CHECKPOINT_DTYPES; i++)
    if (!strcmp(word, dtypes[i].name)) {
      *dtype = (checkpoint_dtype)i;
      return true;
    }
  return false;
}

bool checkpoint_shape_bytes(checkpoint_dtype dtype, int n_dims, const int64_t *dim, size_t *bytes) {
  const size_t block = dtypes[dtype].block;
  bool empty = false;
  size_t product = dtypes[dtype].size;
  if (n_dims < 0 || n_dims > CHECKPOINT_DIMS) return false;
  if (block > 1 && (n_dims == 0 || dim[n_dims - 1] % (int64_t)block)) return false;
  for (int i = 0; i < n_dims; i++) {
    if (dim[i] < 0 || (uint64_t)dim[i] > SIZE_MAX) return false;
    const size_t units = (size_t)dim[i] / (i == n_dims - 1 ? block : 1);
    if (units == 0)
      empty = true;
    else if (!size_mul(product, units, &product) || product > PTRDIFF_MAX / BLOCK_MAX)
      return false;
  }
  *bytes = empty ? 0 : product;
  return true;
}

status checkpoint_shape_parse(const json_t *list, checkpoint_tensor *t) {
  if (!json_is_array(list)) return fail(STATUS_FORMAT, "has no shape");
  if (json_array_size(list) > CHECKPOINT_DIMS)
    return fail(STATUS_FORMAT, "has %zu dimensions, the most is %d", json_array_size(list), CHECKPOINT_DIMS);
  t->n_dims = (int)json_array_size(list);
  for (int i = 0; i < t->n_dims; i++) {
    const json_t *dim = json_array_get(list, (size_t)i);
    if (!json_is_integer(dim) || json_integer_value(dim) < 0)
      return fail(STATUS_FORMAT, "has a dimension that is not a whole number from 0 up");
    t->dim[i] = json_integer_value(dim);
  }
  return STATUS_OK;
}

const char *checkpoint_shape_text(int n_dims, const int64_t *dim, char *text) {
  size_t used = 0;
  text[used++] = '[';
  for (int i = 0; i < n_dims; i++)
    used += (size_t)snprintf(text + used, CHECKPOINT_SHAPE_TEXT - used, "%s%lld", i ? "," : "", (long long)dim[i]);
  memcpy(text + used, "]", 2);
  return text;
}

int64_t checkpoint_elements(const checkpoint_tensor *t) {
  return (int64_t)(t->bytes / dtypes[t->dtype].size * dtypes[t->dtype].block);
}

/* Where an element stands, as an index: "[2,0,3]". */
static const char *place_text(const checkpoint_tensor *t, int64_t element, char *text) {
  int64_t place[CHECKPOINT_DIMS];
  for (int i = t->n_dims - 1; i >= 0; i--) {
    place[i] = element % t->dim[i];
    element /= t->dim[i];
  }
  return checkpoint_shape_text(t->n_dims, place, text);
}

static status refuse_value(const checkpoint *c, const checkpoint_tensor *t, int64_t i, status code, const char *why) {
  char place[CHECKPOINT_SHAPE_TEXT];
  return fail(code, "%s: tensor %s (%s) %s at %s", checkpoint_path(c), t->name, dtypes[t->dtype].name, why,
              place_text(t, i, place));
}

/* --- pieces of a tensor's bytes ----------------------------------------------------------------------------------- */

void checkpoint_forget(const checkpoint *c, const uint8_t *bytes, size_t size) {
  if (c->mapped && bytes >= c->data && bytes < c->data + c->size) file_forget(bytes, size);
  for (size_t i = 0; i < c->part_count; i++) checkpoint_forget(c->parts[i], bytes, size);
}

enum { FORGET = 1 << 18 }; /* bytes, at a time */

/* Forgets the panels of an interleaved tensor that a read from its beginning to its end has passed. */
static void forget_panels(const checkpoint *c, const checkpoint_tensor *t, size_t offset, size_t end) {
  const size_t panel = interleaved_panel_bytes(t->dtype, t->dim), first = offset / panel * panel,
               last = end / panel * panel;
  if (first < last) checkpoint_forget(c, (const uint8_t *)t->packed + first, last - first);
}

status checkpoint_read(const checkpoint *c, const checkpoint_tensor *t, size_t offset, size_t bytes, void *out) {
  assert(offset <= t->bytes && bytes <= t->bytes - offset);
  assert(offset % dtypes[t->dtype].size == 0 && bytes % dtypes[t->dtype].size == 0);
  if (bytes == 0) return STATUS_OK;
  if (t->packed) {
    interleaved_read(t, offset, bytes, out);
    forget_panels(c, t, offset, offset + bytes);
    return STATUS_OK;
  }
  if (t->data) {
    memcpy(out, (const uint8_t *)t->data + offset, bytes);
    if (bytes >= FORGET) checkpoint_forget(c, (const uint8_t *)t->data + offset, bytes);
    return STATUS_OK;
  }
  if (c->reader.read(c->reader.self, t, offset, bytes, out))
    return fail_within("%s: tensor %s", checkpoint_path(c), t->name);
  return STATUS_OK;
}

enum { PIECE = 1 << 14 }; /* bytes, or f32 values: on the stack */

/* The units first to first + n: where they lie, or copied into `buffer`. */
static status piece(const checkpoint *c, const checkpoint_tensor *t, size_t first, size_t n, uint8_t *buffer,
                    const uint8_t **bytes) {
  const size_t size = dtypes[t->dtype].size;
  *bytes = t->data ? (const uint8_t *)t->data + first * size : buffer;
  return t->data ? STATUS_OK : checkpoint_read(c, t, first * size, n * size, buffer);
}

/* How many units a piece has: of block types the values bound it too. */
static size_t piece_units(checkpoint_dtype dtype) {
  const size_t units = PIECE / dtypes[dtype].size, blocks = PIECE / dtypes[dtype].block;
  return units < blocks ? units : blocks;
}

/* --- values as f32 ------------------------------------------------------------------------------------------------ */

/* An integer of any type: its magnitude and sign, since U64 and I64 have no common type. */
static uint64_t load_integer(checkpoint_dtype dtype, const uint8_t *at, bool *negative) {
  const size_t size = dtypes[dtype].size;
  uint64_t bits = 0;
  memcpy(&bits, at, size);
  const bool has_sign =
      dtype == CHECKPOINT_I64 || dtype == CHECKPOINT_I32 || dtype == CHECKPOINT_I16 || dtype == CHECKPOINT_I8;
  *negative = has_sign && bits >> (8 * size - 1);
  if (!*negative) return bits;
  return (size < 8 ? UINT64_C(1) << 8 * size : 0) - bits;
}

static status read_integers(const checkpoint *c, const checkpoint_tensor *t, int64_t first, const uint8_t *in, size_t n,
                            float *out) {
  const size_t size = dtypes[t->dtype].size;
  for (size_t i = 0; i < n; i++) {
    bool negative;
    const uint64_t value = load_integer(t->dtype, in + i * size, &negative);
    if (t->dtype == CHECKPOINT_BOOL && value > 1)
      return refuse_value(c, t, first + (int64_t)i, STATUS_FORMAT, "holds a byte that is neither 0 nor 1");
    const float rounded = (float)value;
    /* rounding may have reached 2^64, which does not convert back */
    if (rounded >= 0x1p64f || (uint64_t)rounded != value)
      return refuse_value(c, t, first + (int64_t)i, STATUS_UNSUPPORTED,
                          "holds an integer that f32 cannot hold exactly");
    out[i] = negative ? -rounded : rounded;
  }
  return STATUS_OK;
}

static status read_doubles(const checkpoint *c, const checkpoint_tensor *t, int64_t first, const uint8_t *in, size_t n,
                           float *out) {
  for (size_t i = 0; i < n; i++) {
    double value;
    memcpy(&value, in + 8 * i, 8);
    /* halfway between the largest f32 and 2^128: from here on rounding gives infinity */
    if (isfinite(value) && fabs(value) >= 0x1.ffffffp127)
      return refuse_value(c, t, first + (int64_t)i, STATUS_UNSUPPORTED, "holds a number beyond the range of f32");
    out[i] = (float)value;
  }
  return STATUS_OK;
}

/* n units of a type, as f32; `first` is the place of the first value, for sentences. */
static status widen(const checkpoint *c, const checkpoint_tensor *t, int64_t first, const uint8_t *in, size_t n,
                    float *out) {
  switch (t->dtype) {
  case CHECKPOINT_F32:
    memcpy(out, in, 4 * n);
    return STATUS_OK;
  case CHECKPOINT_F16:
    f16_to_f32_array(in, n, out);
    return STATUS_OK;
  case CHECKPOINT_BF16:
    bf16_to_f32_array(in, n, out);
    return STATUS_OK;
  case CHECKPOINT_F64:
    return read_doubles(c, t, first, in, n, out);
  default:
    if (dtypes[t->dtype].block == 1) return read_integers(c, t, first, in, n, out);
    quant_decode(dtypes[t->dtype].quant, in, n * dtypes[t->dtype].block, out);
    return STATUS_OK;
  }
}

status checkpoint_read_f32_part(const checkpoint *c, const checkpoint_tensor *t, int64_t first, int64_t n, float *out) {
  const size_t block = dtypes[t->dtype].block, most = piece_units(t->dtype);
  const size_t begin = (size_t)first / block, end = begin + (size_t)n / block, size = dtypes[t->dtype].size;
  size_t kept = begin;
  uint8_t buffer[PIECE];
  const uint8_t *in;
  assert(first >= 0 && n >= 0 && first <= checkpoint_elements(t) - n);
  assert((size_t)first % block == 0 && (size_t)n % block == 0);
  for (size_t at = begin, units; at < end; at += units) {
    units = end - at < most ? end - at : most;
    if (piece(c, t, at, units, buffer, &in)) return last_status();
    if (widen(c, t, (int64_t)(at * block), in, units, out + (at - begin) * block)) return last_status();
    if (!t->data || (at + units - kept) * size < FORGET) continue;
    checkpoint_forget(c, (const uint8_t *)t->data + kept * size, (at + units - kept) * size);
    kept = at + units;
  }
  return STATUS_OK;
}

status checkpoint_read_f32(const checkpoint *c, const checkpoint_tensor *t, float *out) {
  return checkpoint_read_f32_part(c, t, 0, checkpoint_elements(t), out);
}

/* --- NaN and infinity --------------------------------------------------------------------------------------------- */

/* One loop for each width, so that the compiler can vectorise it: NaN and infinity have all exponent bits set. */
static size_t nonfinite_16(const uint8_t *in, size_t n, uint16_t exponent) {
  size_t found = 0;
  for (size_t i = 0; i < n; i++) {
    uint16_t bits;
    memcpy(&bits, in + 2 * i, 2);
    found += (bits & exponent) == exponent;
  }
  return found;
}

static size_t nonfinite_32(const uint8_t *in, size_t n) {
  size_t found = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, in + 4 * i, 4);
    found += (bits & 0x7f800000u) == 0x7f800000u;
  }
  return found;
}

static size_t nonfinite_64(const uint8_t *in, size_t n) {
  const uint64_t exponent = (uint64_t)0x7ff << 52;
  size_t found = 0;
  for (size_t i = 0; i < n; i++) {
    uint64_t bits;
    memcpy(&bits, in + 8 * i, 8);
    found += (bits & exponent) == exponent;
  }
  return found;
}

bool checkpoint_units_finite(checkpoint_dtype dtype, const uint8_t *in, size_t n) {
  switch (dtype) {
  case CHECKPOINT_F64:
    return !nonfinite_64(in, n);
  case CHECKPOINT_F32:
    return !nonfinite_32(in, n);
  case CHECKPOINT_F16:
    return !nonfinite_16(in, n, 0x7c00);
  case CHECKPOINT_BF16:
    return !nonfinite_16(in, n, 0x7f80);
  default:
    return dtypes[dtype].block == 1 || quant_finite(dtypes[dtype].quant, in, n);
  }
}

/* The first value of a unit that is not finite. */
static status place_in_unit(const checkpoint *c, const checkpoint_tensor *t, size_t unit, int64_t *index) {
  const size_t block = dtypes[t->dtype].block;
  float values[BLOCK_MAX];
  if (checkpoint_read_f32_part(c, t, (int64_t)(unit * block), (int64_t)block, values)) return last_status();
  size_t i = 0;
  while (i + 1 < block && isfinite(values[i])) i++;
  *index = (int64_t)(unit * block + i);
  return STATUS_OK;
}

status checkpoint_first_nonfinite(const checkpoint *c, const checkpoint_tensor *t, int64_t *index) {
  const size_t size = dtypes[t->dtype].size, n = t->bytes / size, most = piece_units(t->dtype);
  uint8_t buffer[PIECE];
  const uint8_t *in;
  *index = -1;
  for (size_t at = 0, units; at < n; at += units) {
    units = n - at < most ? n - at : most;
    if (piece(c, t, at, units, buffer, &in)) return last_status();
    if (checkpoint_units_finite(t->dtype, in, units)) continue;
    while (checkpoint_units_finite(t->dtype, in, 1)) {
      in += size;
      at++;
    }
    return place_in_unit(c, t, at, index);
  }
  return STATUS_OK;
}

status checkpoint_check_finite(const checkpoint *c, const checkpoint_tensor *t) {
  int64_t at;
  float values[BLOCK_MAX];
  if (checkpoint_first_nonfinite(c, t, &at)) return last_status();
  if (at < 0) return STATUS_OK;
  const int64_t block = (int64_t)dtypes[t->dtype].block;
  if (checkpoint_read_f32_part(c, t, at / block * block, block, values)) return last_status();
  return refuse_value(c, t, at, STATUS_FORMAT, isnan(values[at % block]) ? "holds NaN" : "holds an infinite value");
}
