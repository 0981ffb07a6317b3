/* Types, shapes and values of stored tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "weights/checkpoint.h"
#include "kernels/half.h"

static const struct {
  const char *name;
  size_t size;
} dtypes[CHECKPOINT_DTYPES] = {
    [CHECKPOINT_F64] = {"F64", 8},   [CHECKPOINT_F32] = {"F32", 4}, [CHECKPOINT_F16] = {"F16", 2},
    [CHECKPOINT_BF16] = {"BF16", 2}, [CHECKPOINT_I64] = {"I64", 8}, [CHECKPOINT_I32] = {"I32", 4},
    [CHECKPOINT_I16] = {"I16", 2},   [CHECKPOINT_I8] = {"I8", 1},   [CHECKPOINT_U8] = {"U8", 1},
    [CHECKPOINT_BOOL] = {"BOOL", 1},
};

size_t checkpoint_dtype_size(checkpoint_dtype dtype) { return dtypes[dtype].size; }
const char *checkpoint_dtype_name(checkpoint_dtype dtype) { return dtypes[dtype].name; }

bool checkpoint_dtype_parse(const char *word, checkpoint_dtype *dtype) {
  for (int i = 0; i < CHECKPOINT_DTYPES; i++)
    if (!strcmp(word, dtypes[i].name)) {
      *dtype = (checkpoint_dtype)i;
      return true;
    }
  return false;
}

bool checkpoint_shape_bytes(checkpoint_dtype dtype, int n_dims, const int64_t *dim, size_t *bytes) {
  bool empty = false;
  size_t product = dtypes[dtype].size;
  if (n_dims < 0 || n_dims > CHECKPOINT_DIMS) return false;
  for (int i = 0; i < n_dims; i++) {
    if (dim[i] < 0 || (uint64_t)dim[i] > SIZE_MAX) return false;
    if (dim[i] == 0)
      empty = true;
    else if (!size_mul(product, (size_t)dim[i], &product) || product > PTRDIFF_MAX)
      return false;
  }
  *bytes = empty ? 0 : product;
  return true;
}

const char *checkpoint_shape_text(int n_dims, const int64_t *dim, char *text) {
  size_t used = 0;
  text[used++] = '[';
  for (int i = 0; i < n_dims; i++)
    used += (size_t)snprintf(text + used, CHECKPOINT_SHAPE_TEXT - used, "%s%lld", i ? "," : "", (long long)dim[i]);
  memcpy(text + used, "]", 2);
  return text;
}

int64_t checkpoint_elements(const checkpoint_tensor *t) { return (int64_t)(t->bytes / dtypes[t->dtype].size); }

/* Where an element stands, as an index: "[2,0,3]". */
static const char *place_text(const checkpoint_tensor *t, int64_t element, char *text) {
  int64_t place[CHECKPOINT_DIMS];
  for (int i = t->n_dims - 1; i >= 0; i--) {
    place[i] = element % t->dim[i];
    element /= t->dim[i];
  }
  return checkpoint_shape_text(t->n_dims, place, text);
}

static int64_t load_integer(checkpoint_dtype dtype, const uint8_t *at) {
  int64_t i64;
  int32_t i32;
  int16_t i16;
  switch (dtype) {
  case CHECKPOINT_I64:
    return memcpy(&i64, at, 8), i64;
  case CHECKPOINT_I32:
    return memcpy(&i32, at, 4), i32;
  case CHECKPOINT_I16:
    return memcpy(&i16, at, 2), i16;
  case CHECKPOINT_I8:
    return (int8_t)*at;
  default:
    return *at;
  }
}

static status refuse_value(const checkpoint *c, const checkpoint_tensor *t, int64_t i, status code, const char *why) {
  char place[CHECKPOINT_SHAPE_TEXT];
  return fail(code, "%s: tensor %s (%s) %s at %s", checkpoint_path(c), t->name, dtypes[t->dtype].name, why,
              place_text(t, i, place));
}

static status read_integers(const checkpoint *c, const checkpoint_tensor *t, float *out) {
  const uint8_t *in = t->data;
  const int64_t n = checkpoint_elements(t);
  const size_t size = dtypes[t->dtype].size;
  for (int64_t i = 0; i < n; i++) {
    const int64_t value = load_integer(t->dtype, in + (size_t)i * size);
    if (t->dtype == CHECKPOINT_BOOL && value > 1)
      return refuse_value(c, t, i, STATUS_FORMAT, "holds a byte that is neither 0 nor 1");
    out[i] = (float)value;
    /* rounding may have reached 2^63, which does not convert back */
    if (out[i] >= 0x1p63f || (int64_t)out[i] != value)
      return refuse_value(c, t, i, STATUS_UNSUPPORTED, "holds an integer that f32 cannot hold exactly");
  }
  return STATUS_OK;
}

static status read_doubles(const checkpoint *c, const checkpoint_tensor *t, float *out) {
  const uint8_t *in = t->data;
  const int64_t n = checkpoint_elements(t);
  for (int64_t i = 0; i < n; i++) {
    double value;
    memcpy(&value, in + 8 * (size_t)i, 8);
    /* halfway between the largest f32 and 2^128: from here on rounding gives infinity */
    if (isfinite(value) && fabs(value) >= 0x1.ffffffp127)
      return refuse_value(c, t, i, STATUS_UNSUPPORTED, "holds a number beyond the range of f32");
    out[i] = (float)value;
  }
  return STATUS_OK;
}

status checkpoint_read_f32(const checkpoint *c, const checkpoint_tensor *t, float *out) {
  const size_t n = (size_t)checkpoint_elements(t);
  if (n == 0) return STATUS_OK;
  switch (t->dtype) {
  case CHECKPOINT_F32:
    memcpy(out, t->data, t->bytes);
    return STATUS_OK;
  case CHECKPOINT_F16:
    f16_to_f32_array(t->data, n, out);
    return STATUS_OK;
  case CHECKPOINT_BF16:
    bf16_to_f32_array(t->data, n, out);
    return STATUS_OK;
  case CHECKPOINT_F64:
    return read_doubles(c, t, out);
  default:
    return read_integers(c, t, out);
  }
}

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

static size_t nonfinite(checkpoint_dtype dtype, const uint8_t *in, size_t n) {
  switch (dtype) {
  case CHECKPOINT_F64:
    return nonfinite_64(in, n);
  case CHECKPOINT_F32:
    return nonfinite_32(in, n);
  case CHECKPOINT_F16:
    return nonfinite_16(in, n, 0x7c00);
  case CHECKPOINT_BF16:
    return nonfinite_16(in, n, 0x7f80);
  default:
    return 0;
  }
}

int64_t checkpoint_first_nonfinite(const checkpoint_tensor *t) {
  const size_t n = (size_t)checkpoint_elements(t), size = dtypes[t->dtype].size, block = 4096;
  for (size_t i = 0; i < n; i += block) {
    const uint8_t *in = (const uint8_t *)t->data + i * size;
    if (!nonfinite(t->dtype, in, n - i < block ? n - i : block)) continue;
    while (!nonfinite(t->dtype, in, 1)) {
      in += size;
      i++;
    }
    return (int64_t)i;
  }
  return -1;
}

status checkpoint_check_finite(const checkpoint *c, const checkpoint_tensor *t) {
  const int64_t i = checkpoint_first_nonfinite(t);
  if (i < 0) return STATUS_OK;
  checkpoint_tensor one = *t; /* a window on that element */
  double wide;
  float value;
  one.bytes = dtypes[t->dtype].size;
  one.data = (const uint8_t *)t->data + (size_t)i * one.bytes;
  if (t->dtype == CHECKPOINT_F64)
    memcpy(&wide, one.data, 8);
  else
    wide = checkpoint_read_f32(c, &one, &value) ? 0 : (double)value;
  return refuse_value(c, t, i, STATUS_FORMAT, isnan(wide) ? "holds NaN" : "holds an infinite value");
}
