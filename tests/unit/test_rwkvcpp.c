/* rwkv.cpp's .bin files: what its converter does to a model is done here by hand, and must come back undone. Damaged
 * files give one clear sentence or tensors that can be read (run under ASan). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "kernels/half.h"
#include "kernels/quant.h"
#include "tests/support/scratch.h"
#include "weights/checkpoint.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum { FP32 = 0, FP16 = 1, Q4_0 = 2, Q4_2 = 5, Q5_1 = 8, Q8_0 = 9, Q2_K = 11 };

/* --- making files ------------------------------------------------------------------------------------------------- */

typedef struct {
  uint8_t bytes[1 << 15];
  size_t size;
} bin;

static void put(bin *b, const void *data, size_t bytes) {
  assert_true(b->size + bytes <= sizeof b->bytes);
  if (bytes) memcpy(b->bytes + b->size, data, bytes);
  b->size += bytes;
}

static void put32(bin *b, uint32_t value) {
  uint8_t bytes[4];
  put_little(bytes, value, 4);
  put(b, bytes, 4);
}

static void begin(bin *b, uint32_t version, uint32_t vocabulary, uint32_t width, uint32_t layers, uint32_t type) {
  b->size = 0;
  put32(b, 0x67676d66);
  put32(b, version);
  put32(b, vocabulary);
  put32(b, width);
  put32(b, layers);
  put32(b, type);
}

/* `dims`: outermost first, one character each; a letter for 10 and more ("a" is 10, "w" 32), "-" for -1 and "!" for the
 * largest. */
static size_t parse_dims(const char *dims, int32_t dim[8]) {
  const size_t n = strlen(dims);
  for (size_t i = 0; i < n; i++)
    dim[i] = dims[i] == '-' ? -1 : dims[i] == '!' ? INT32_MAX : dims[i] <= '9' ? dims[i] - '0' : dims[i] - 'a' + 10;
  return n;
}

static void put_head(bin *b, const char *name, uint32_t type, const char *dims) {
  int32_t dim[8];
  const size_t n = parse_dims(dims, dim);
  put32(b, (uint32_t)n);
  put32(b, (uint32_t)strlen(name));
  put32(b, type);
  for (size_t i = n; i-- > 0;) put32(b, (uint32_t)dim[i]);
  put(b, name, strlen(name));
}

static size_t elements(const char *dims) {
  int32_t dim[8];
  size_t n = parse_dims(dims, dim), product = 1;
  for (size_t i = 0; i < n; i++) product *= (size_t)dim[i];
  return product;
}

/* A tensor of FP32, FP16 or Q8_0, of these values. */
static void put_values(bin *b, const char *name, uint32_t type, const char *dims, const float *values) {
  const size_t n = elements(dims);
  uint8_t stored[4096];
  assert_true(n * 4 <= sizeof stored);
  put_head(b, name, type, dims);
  if (type == FP32) put(b, values, 4 * n);
  if (type == FP16) {
    f32_to_f16_array(values, n, stored);
    put(b, stored, 2 * n);
  }
  if (type == Q8_0) {
    quant_encode(QUANT_Q8_0, values, n, stored);
    put(b, stored, n / 32 * 34);
  }
}

/* The values that tests give tensors: small, different everywhere, exact in F16. */
static float value(size_t i, int salt) { return (float)((int)((i * 37 + (size_t)salt * 11) % 251) - 125) / 64; }

static const float *values(const char *dims, int salt) {
  static float out[1024];
  const size_t n = elements(dims);
  assert_true(n <= 1024);
  for (size_t i = 0; i < n; i++) out[i] = value(i, salt);
  return out;
}

static void put_plain(bin *b, const char *name, uint32_t type, const char *dims, int salt) {
  put_values(b, name, type, dims, values(dims, salt));
}

static void put_ends(bin *b) {
  put_plain(b, "emb.weight", FP32, "38", 1);
  put_plain(b, "head.weight", FP32, "38", 2);
}

/* --- looking at them ---------------------------------------------------------------------------------------------- */

/* Opens the bytes in a block of exactly their size, so that reading past them is seen. */
static checkpoint *parse(const bin *b, size_t size, uint8_t **block) {
  *block = malloc(size ? size : 1);
  assert_non_null(*block);
  memcpy(*block, b->bytes, size);
  return checkpoint_parse(*block, size, "memory");
}

static checkpoint *opened(const bin *b, uint8_t **block) {
  checkpoint *c = parse(b, b->size, block);
  if (!c) fail_msg("%s", last_error());
  assert_string_equal(checkpoint_container(c), "rwkv.cpp");
  return c;
}

/* The tensor's values in the test's own buffer; type and shape are as said. Reading it in pieces of any size must give
 * the same bytes. */
static const float *read_tensor(const checkpoint *c, const char *name, checkpoint_dtype dtype, const char *dims) {
  static float out[1024];
  int32_t dim[8];
  const size_t n_dims = parse_dims(dims, dim);
  const checkpoint_tensor *t = checkpoint_find(c, name);
  if (!t) fail_msg("%s", last_error());
  assert_string_equal(checkpoint_dtype_name(t->dtype), checkpoint_dtype_name(dtype));
  char text[CHECKPOINT_SHAPE_TEXT];
  bool same = (size_t)t->n_dims == n_dims;
  for (size_t i = 0; i < n_dims && same; i++) same = t->dim[i] == dim[i];
  if (!same) fail_msg("%s is %s, not %s", name, checkpoint_shape_text(t->n_dims, t->dim, text), dims);
  assert_int_equal(checkpoint_elements(t), elements(dims));
  assert_int_equal(checkpoint_read_f32(c, t, out), STATUS_OK);
  uint8_t whole[4096], parts[4096];
  const size_t size = checkpoint_dtype_size(t->dtype);
  assert_true(t->bytes <= sizeof whole);
  assert_int_equal(checkpoint_read(c, t, 0, t->bytes, whole), STATUS_OK);
  for (size_t step = size; step < 8 * size; step += size) {
    for (size_t at = 0; at < t->bytes; at += step)
      assert_int_equal(checkpoint_read(c, t, at, step < t->bytes - at ? step : t->bytes - at, parts + at), STATUS_OK);
    assert_memory_equal(whole, parts, t->bytes);
  }
  return out;
}

static void expect_same(const checkpoint *c, const char *name, checkpoint_dtype dtype, const char *dims, int salt) {
  const float *found = read_tensor(c, name, dtype, dims);
  for (size_t i = 0; i < elements(dims); i++)
    if (found[i] != value(i, salt))
      fail_msg("%s[%zu] is %g, not %g", name, i, (double)found[i], (double)value(i, salt));
}

/* What was stored as [.., columns, rows] comes as [.., rows, columns]. */
static void expect_turned(const checkpoint *c, const char *name, checkpoint_dtype dtype, const char *dims, int salt,
                          float tolerance) {
  int32_t dim[8];
  const size_t n = parse_dims(dims, dim), rows = (size_t)dim[n - 2], columns = (size_t)dim[n - 1];
  const float *found = read_tensor(c, name, dtype, dims);
  for (size_t i = 0; i < elements(dims); i++) {
    const size_t matrix = i / (rows * columns), row = i / columns % rows, column = i % columns;
    const float expected = value((matrix * columns + column) * rows + row, salt);
    if (!(fabsf(found[i] - expected) <= tolerance))
      fail_msg("%s[%zu] is %g, not %g", name, i, (double)found[i], (double)expected);
  }
}

static void finish(checkpoint *c, uint8_t *block) {
  checkpoint_close(c);
  free(block);
}

/* --- what the converter did, undone ------------------------------------------------------------------------------- */

typedef float (*forward)(float);
static float minus_exp(float x) { return -expf(x); }
static float exp_minus_exp(float x) { return expf(-expf(x)); }
static float plain_exp(float x) { return expf(x); }

/* Stores f(x) and expects x to within `tolerance`, and f of it to within two units in the last place. */
static void check_inverse(const char *block_names[], size_t n_names, forward f, const char *name, const char *stored,
                          const char *official, const float *x, const double *tolerance) {
  static bin b;
  uint8_t *block;
  float changed[64];
  const size_t n = elements(stored);
  for (size_t i = 0; i < n; i++) changed[i] = f(x[i]);
  begin(&b, 101, 3, 8, 1, FP32);
  put_ends(&b);
  for (size_t i = 0; i < n_names; i++) put_plain(&b, block_names[i], FP32, "8", 0);
  put_values(&b, name, FP32, stored, changed);
  checkpoint *c = opened(&b, &block);
  const float *found = read_tensor(c, name, CHECKPOINT_F32, official);
  for (size_t i = 0; i < n; i++) {
    if (!(fabs((double)found[i] - (double)x[i]) <= tolerance[i]))
      fail_msg("%s: %g came back as %.9g", name, (double)x[i], (double)found[i]);
    const float again = f(found[i]);
    assert_true(fabsf(again - changed[i]) <= 4 * 6e-8f * fabsf(changed[i]));
  }
  finish(c, block);
}

static void test_rwkv4(void **state) {
  (void)state;
  static bin b;
  uint8_t *block;
  const float x[8] = {-6, -5, -1, 0, 0.5f, 1, 2.5f, 3};
  const double near[8] = {1e-6, 1e-6, 2e-7, 1e-7, 1e-7, 2e-7, 4e-7, 4e-7};
  check_inverse(NULL, 0, minus_exp, "blocks.0.att.time_decay", "8", "8", x, near);
  begin(&b, 100, 3, 8, 2, FP16);
  put_plain(&b, "emb.weight", FP16, "38", 1);
  put_plain(&b, "blocks.0.ln0.weight", FP32, "8", 3);
  put_plain(&b, "blocks.1.att.time_mix_k", FP32, "8", 4);
  put_plain(&b, "blocks.1.ffn.time_mix_r", FP32, "8", 5);
  put_plain(&b, "blocks.1.att.time_first", FP32, "8", 6);
  put_plain(&b, "blocks.1.ffn.key.weight", FP16, "g8", 7);
  put_plain(&b, "head.weight", FP16, "38", 2);
  checkpoint *c = opened(&b, &block);
  assert_int_equal(checkpoint_count(c), 7);
  assert_string_equal(checkpoint_at(c, 0)->name, "emb.weight"); /* the order of the file */
  assert_string_equal(checkpoint_at(c, 6)->name, "head.weight");
  expect_same(c, "emb.weight", CHECKPOINT_F16, "38", 1);
  expect_same(c, "blocks.0.ln0.weight", CHECKPOINT_F32, "8", 3);
  expect_same(c, "blocks.1.att.time_mix_k", CHECKPOINT_F32, "118", 4);
  expect_same(c, "blocks.1.ffn.time_mix_r", CHECKPOINT_F32, "118", 5);
  expect_same(c, "blocks.1.att.time_first", CHECKPOINT_F32, "8", 6); /* of RWKV-4 it is stored as it is */
  expect_same(c, "blocks.1.ffn.key.weight", CHECKPOINT_F16, "g8", 7);
  for (size_t i = 0; i < checkpoint_count(c); i++) /* used where they lie */
    assert_in_range((uintptr_t)checkpoint_at(c, i)->data, (uintptr_t)block, (uintptr_t)block + b.size);
  finish(c, block);
}

static void test_rwkv5(void **state) {
  (void)state;
  const char *names[] = {"blocks.0.att.ln_x.weight", "blocks.0.att.ln_x.bias"};
  const float x[8] = {-9, -7, -5, -2, 0, 0.5f, 1, 2};
  /* a decay close to 1 has lost digits of exp(x) */
  const double decay[8] = {1e-3, 2e-4, 2e-5, 2e-6, 1e-6, 1e-6, 1e-6, 1e-6};
  const double near[8] = {2e-6, 2e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6};
  check_inverse(names, 2, exp_minus_exp, "blocks.0.att.time_decay", "811", "8", x, decay);  /* 5.0 */
  check_inverse(names, 2, exp_minus_exp, "blocks.0.att.time_decay", "421", "42", x, decay); /* 5.2 */
  check_inverse(names, 2, exp_minus_exp, "blocks.0.att.time_decay", "81", "18", x, decay);  /* one head of eight */
  check_inverse(names, 2, exp_minus_exp, "blocks.0.att.time_decay", "41", "4", x, decay);   /* 5.1: four heads */
  check_inverse(names, 2, plain_exp, "blocks.0.att.time_first", "811", "8", x, near);
  static bin b;
  uint8_t *block;
  begin(&b, 101, 3, 8, 1, FP32);
  put_ends(&b);
  put_plain(&b, "blocks.0.att.ln_x.weight", FP32, "8", 3);
  put_plain(&b, "blocks.0.att.time_faaaa", FP32, "421", 4);
  put_plain(&b, "blocks.0.att.time_mix_g", FP32, "8", 5);
  checkpoint *c = opened(&b, &block);
  expect_same(c, "blocks.0.att.time_faaaa", CHECKPOINT_F32, "42", 4);
  expect_same(c, "blocks.0.att.time_mix_g", CHECKPOINT_F32, "118", 5);
  finish(c, block);
}

/* Decays and bonuses that f32 could not tell from 0 or 1 get a finite value that gives them again. */
static void test_vanished(void **state) {
  (void)state;
  const char *names[] = {"blocks.0.att.ln_x.weight"};
  const float decay[8] = {-17.5f, -30, -80, 4.7f, 5, 8, -18, 20},
              first[8] = {-104, -110, -150, -104, -104, -104, -104, -104};
  const double any[8] = {100, 100, 100, 100, 100, 100, 100, 100};
  check_inverse(names, 1, exp_minus_exp, "blocks.0.att.time_decay", "811", "8", decay, any);
  check_inverse(names, 1, plain_exp, "blocks.0.att.time_first", "811", "8", first, any);
  check_inverse(NULL, 0, minus_exp, "blocks.0.att.time_decay", "8", "8", first, any);
}

/* What no model stores: a loader must learn of it. */
static void test_impossible_values(void **state) {
  (void)state;
  static bin b;
  const float bad[] = {1.5f, -0.25f, NAN, INFINITY};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    float stored[8] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
    uint8_t *block;
    int64_t at;
    stored[6] = bad[i];
    begin(&b, 101, 3, 8, 1, FP32);
    put_ends(&b);
    put_plain(&b, "blocks.0.att.ln_x.weight", FP32, "8", 3);
    put_values(&b, "blocks.0.att.time_decay", FP32, "811", stored);
    checkpoint *c = opened(&b, &block);
    const checkpoint_tensor *t = checkpoint_find(c, "blocks.0.att.time_decay");
    assert_int_equal(checkpoint_first_nonfinite(c, t, &at), STATUS_OK);
    assert_int_equal(at, 6);
    assert_int_equal(checkpoint_check_finite(c, t), STATUS_FORMAT);
    finish(c, block);
  }
}

static void test_rwkv6(void **state) {
  (void)state;
  static bin b;
  uint8_t *block;
  for (int quantized = 0; quantized < 2; quantized++) {
    const uint32_t low = quantized ? Q8_0 : FP32;
    const float tolerance = quantized ? 0.01f : 0;
    begin(&b, 101, 3, 32, 1, quantized ? Q8_0 : FP32);
    put_plain(&b, "emb.weight", FP32, "3w", 1);
    put_plain(&b, "head.weight", FP32, "3w", 2);
    put_plain(&b, "blocks.0.att.ln_x.weight", FP32, "w", 3);
    put_plain(&b, "blocks.0.att.time_maa_x", FP32, "w", 4);
    put_plain(&b, "blocks.0.ffn.time_maa_k", FP32, "w", 5);
    put_plain(&b, "blocks.0.att.time_decay", FP32, "841", 6);
    put_plain(&b, "blocks.0.att.time_faaaa", FP32, "841", 7);
    put_plain(&b, "blocks.0.att.time_maa_w1", low, "aw", 8);
    put_plain(&b, "blocks.0.att.time_maa_w2", FP32, "5w2", 9);
    put_plain(&b, "blocks.0.att.time_decay_w1", low, "6w", 10);
    put_plain(&b, "blocks.0.att.time_state", FP32, "844", 11);
    checkpoint *c = opened(&b, &block);
    expect_same(c, "blocks.0.att.time_maa_x", CHECKPOINT_F32, "11w", 4);
    expect_same(c, "blocks.0.ffn.time_maa_k", CHECKPOINT_F32, "11w", 5);
    expect_same(c, "blocks.0.att.time_decay", CHECKPOINT_F32, "11w", 6);
    expect_same(c, "blocks.0.att.time_faaaa", CHECKPOINT_F32, "84", 7);
    expect_turned(c, "blocks.0.att.time_maa_w1", CHECKPOINT_F32, "wa", 8, tolerance);
    expect_turned(c, "blocks.0.att.time_maa_w2", CHECKPOINT_F32, "52w", 9, 0);
    expect_turned(c, "blocks.0.att.time_decay_w1", CHECKPOINT_F32, "w6", 10, tolerance);
    expect_same(c, "blocks.0.att.time_state", CHECKPOINT_F32, "844", 11); /* not the converter's business */
    finish(c, block);
  }
}

/* Several matrices of blocks, of more than one block a column. */
static void test_turned_blocks(void **state) {
  (void)state;
  static bin b;
  uint8_t *block;
  begin(&b, 101, 3, 32, 1, Q8_0);
  put_plain(&b, "emb.weight", FP32, "3w", 1);
  put_plain(&b, "head.weight", FP32, "3w", 2);
  put_plain(&b, "blocks.0.att.time_maa_w2", Q8_0, "53w", 3);
  checkpoint *c = opened(&b, &block);
  expect_turned(c, "blocks.0.att.time_maa_w2", CHECKPOINT_F32, "5w3", 3, 0.01f);
  finish(c, block);
  float all[5 * 64];
  for (size_t i = 0; i < 5 * 64; i++) all[i] = value(i, 4);
  begin(&b, 101, 3, 32, 1, Q8_0);
  put_plain(&b, "emb.weight", FP32, "3w", 1);
  put_plain(&b, "head.weight", FP32, "3w", 2);
  put_plain(&b, "blocks.0.att.time_maa_x", FP32, "w", 3);
  put32(&b, 2); /* [5,64], whose dimensions have no letter */
  put32(&b, 24);
  put32(&b, Q8_0);
  put32(&b, 64);
  put32(&b, 5);
  put(&b, "blocks.0.att.time_maa_w1", 24);
  uint8_t stored[5 * 68];
  quant_encode(QUANT_Q8_0, all, 5 * 64, stored);
  put(&b, stored, sizeof stored);
  c = opened(&b, &block);
  const checkpoint_tensor *t = checkpoint_find(c, "blocks.0.att.time_maa_w1");
  assert_non_null(t);
  float found[5 * 64], decoded[5 * 64];
  quant_decode(QUANT_Q8_0, stored, 5 * 64, decoded);
  assert_int_equal(checkpoint_read_f32(c, t, found), STATUS_OK);
  for (size_t i = 0; i < 5 * 64; i++) assert_true(found[i] == decoded[i % 5 * 64 + i / 5]); /* exactly */
  finish(c, block);
}

static void test_rwkv7(void **state) {
  (void)state;
  static bin b;
  uint8_t *block;
  const char letters[] = "rwkvag", *const low[] = {"w1", "w2", "a1", "a2", "v1", "v2", "g1", "g2"};
  char name[] = "blocks.0.att.x_r";
  begin(&b, 101, 3, 8, 1, FP16);
  put_plain(&b, "emb.weight", FP16, "38", 1);
  put_plain(&b, "blocks.0.att.x_rwkvag", FP32, "618", 3);
  for (size_t i = 0; i < 8; i++) {
    memcpy(name + 13, low[i], 3);
    put_plain(&b, name, FP16, i % 2 ? "82" : "28", 10 + (int)i);
  }
  put_plain(&b, "blocks.0.att.w0", FP32, "118", 4);
  put_plain(&b, "blocks.0.att.r_k", FP32, "24", 5);
  put_plain(&b, "blocks.0.ffn.x_k", FP32, "118", 6);
  put_plain(&b, "head.weight", FP16, "38", 2);
  checkpoint *c = opened(&b, &block);
  assert_int_equal(checkpoint_count(c), 1 + 6 + 8 + 4);
  for (size_t i = 0; letters[i]; i++) {
    memcpy(name + 13, "x_r", 4);
    name[15] = letters[i];
    assert_string_equal(checkpoint_at(c, 1 + i)->name, name); /* in the place of what they were cut from */
    const float *found = read_tensor(c, name, CHECKPOINT_F32, "118");
    for (size_t k = 0; k < 8; k++) assert_true(found[k] == value(8 * i + k, 3));
  }
  for (size_t i = 0; i < 8; i++) {
    memcpy(name + 13, low[i], 3);
    expect_turned(c, name, CHECKPOINT_F16, i % 2 ? "28" : "82", 10 + (int)i, 0);
  }
  expect_same(c, "blocks.0.att.w0", CHECKPOINT_F32, "118", 4);
  expect_same(c, "blocks.0.att.r_k", CHECKPOINT_F32, "24", 5);
  expect_same(c, "blocks.0.ffn.x_k", CHECKPOINT_F32, "118", 6);
  finish(c, block);
}

/* Quantized matrices that lie right stay as they are. */
static void test_quantized(void **state) {
  static bin b;
  begin(&b, 101, 3, 8, 1, Q8_0);
  put_ends(&b);
  put_plain(&b, "blocks.0.att.key.weight", Q8_0, "2w", 3);
  char *path = scratch_path(state, "model.bin");
  scratch_write(path, b.bytes, b.size);
  checkpoint *c = checkpoint_open(path);
  assert_non_null(c);
  const checkpoint_tensor *t = checkpoint_find(c, "blocks.0.att.key.weight");
  assert_non_null(t);
  assert_int_equal(t->dtype, CHECKPOINT_Q8_0);
  assert_int_equal(t->bytes, 2 * 34);
  assert_memory_equal(t->data, b.bytes + b.size - 2 * 34, 2 * 34);
  checkpoint_close(c);
  free(path);
}

/* --- damaged files ------------------------------------------------------------------------------------------------ */

static void expect_refused(checkpoint *c, const char *what, status code, const char *words) {
  if (c) fail_msg("%s was accepted", what);
  if (!strstr(last_error(), words)) fail_msg("%s: \"%s\" does not say \"%s\"", what, last_error(), words);
  if (strncmp(last_error(), "memory: ", 8)) fail_msg("%s: \"%s\" does not name the file", what, last_error());
  assert_int_equal(last_status(), code);
}

/* Everything that the walks over damaged bytes look at: each kind of change, FP32, FP16 and blocks. */
static void good_file(bin *b, int version) {
  begin(b, version == 4 ? 100 : 101, 3, 8, 1, version == 6 ? Q8_0 : FP16);
  put_plain(b, "emb.weight", FP16, "38", 1);
  if (version == 4) {
    put_plain(b, "blocks.0.att.time_decay", FP32, "8", 3);
    put_plain(b, "blocks.0.att.time_mix_k", FP32, "8", 3);
  } else if (version == 5) {
    put_plain(b, "blocks.0.att.ln_x.bias", FP32, "8", 3);
    put_plain(b, "blocks.0.att.time_decay", FP32, "421", 3);
    put_plain(b, "blocks.0.att.time_first", FP32, "811", 3);
  } else if (version == 6) {
    put_plain(b, "blocks.0.att.time_maa_x", FP32, "8", 3);
    put_plain(b, "blocks.0.att.time_maa_w1", Q8_0, "2w", 3);
    put_plain(b, "blocks.0.att.time_maa_w2", FP32, "523", 3);
  } else {
    put_plain(b, "blocks.0.att.x_rwkvag", FP32, "612", 3);
    put_plain(b, "blocks.0.att.w1", FP16, "28", 3);
    put_plain(b, "blocks.0.att.r_k", FP32, "24", 3);
  }
  put_plain(b, "head.weight", FP16, "38", 2);
}

static void test_truncated_everywhere(void **state) {
  (void)state;
  static bin b;
  uint8_t *block;
  for (int version = 4; version <= 7; version++) {
    good_file(&b, version);
    for (size_t n = 1; n < b.size; n++) {
      expect_refused(parse(&b, n, &block), "a truncated file", STATUS_FORMAT, " ");
      if (n >= 24 && !strstr(last_error(), "cut short")) fail_msg("%zu bytes: %s", n, last_error());
      free(block);
    }
    for (int tail = 0; tail < 2; tail++) {
      put(&b, &tail, 1);
      expect_refused(parse(&b, b.size, &block), "a byte too many", STATUS_FORMAT, "only");
      free(block);
    }
  }
}

/* Whatever opens can be read to its last byte. */
static void read_everything(const checkpoint *c) {
  for (size_t i = 0; i < checkpoint_count(c); i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    size_t bytes;
    int64_t bad;
    assert_true(checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &bytes) && bytes == t->bytes);
    float *out = malloc((size_t)checkpoint_elements(t) * sizeof *out);
    assert_non_null(out);
    assert_int_equal(checkpoint_read_f32(c, t, out), STATUS_OK);
    assert_int_equal(checkpoint_first_nonfinite(c, t, &bad), STATUS_OK);
    free(out);
  }
}

static void test_every_bit(void **state) {
  (void)state;
  static bin b;
  uint8_t *block;
  for (int version = 4; version <= 7; version++) {
    int accepted = 0, refused = 0;
    good_file(&b, version);
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
      b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
      checkpoint *c = parse(&b, b.size, &block);
      b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
      if (c) {
        accepted++;
        read_everything(c);
      } else {
        refused++;
        assert_true(strlen(last_error()) > 10);
      }
      checkpoint_close(c);
      free(block);
    }
    assert_true(accepted > 0 && refused > 24 * 8 / 2); /* nothing protects data; nearly everything the header */
  }
}

/* A header, both matrices and one more tensor that is described by hand. In names a '%' stands for a zero byte. */
typedef struct {
  const char *what;
  uint32_t version, file_type, type;
  const char *dims, *name;
  uint32_t claim; /* of the name's length, unless 0 */
  size_t data;
  const char *words; /* of the error, after '?' if it is STATUS_UNSUPPORTED; NULL if the file is good */
} hand_made;

static checkpoint *parse_hand_made(const hand_made *h, uint8_t **block) {
  static bin b;
  const uint8_t zeros[64] = {0};
  begin(&b, h->version, 3, 8, 1, h->file_type);
  put_ends(&b);
  const size_t start = b.size, length = strlen(h->name);
  put_head(&b, h->name, h->type, h->dims);
  if (h->claim) put_little(b.bytes + start + 4, h->claim, 4);
  for (size_t i = 0; i < length; i++)
    if (h->name[i] == '%') b.bytes[b.size - length + i] = 0;
  put(&b, zeros, h->data);
  return parse(&b, b.size, block);
}

#define A "blocks.0.a"
#define FAR "blocks.99999999999999999999"
static const hand_made hand_made_files[] = {
    {"a plain one", 101, FP32, FP32, "22", A, 0, 16, NULL},
    {"a block", 101, Q4_0, Q4_0, "w", A, 0, 18, NULL},
    {"no dimensions", 101, FP32, FP32, "", A, 0, 4, "0 dimensions, not 1 to 3"},
    {"many dimensions", 101, FP32, FP32, "1111", A, 0, 4, "4 dimensions, not 1 to 3"},
    {"no name", 101, FP32, FP32, "1", "", 0, 4, "a name of 0 bytes"},
    {"a long name", 101, FP32, FP32, "1", A, 257, 64, "a name of 257 bytes"},
    {"a name of 4 GB", 101, FP32, FP32, "1", A, UINT32_MAX, 64, "a name of 4294967295 bytes"},
    {"a name beyond the end", 101, FP32, FP32, "1", A, 256, 4, "a tensor takes 272 bytes, but only 30 follow"},
    {"a zero byte", 101, FP32, FP32, "1", "blocks%.0a", 0, 4, "zero byte in its name"},
    {"a control character", 101, FP32, FP32, "1", "blocks\033.0a", 0, 4, "control character"},
    {"no UTF-8", 101, FP32, FP32, "1", "blocks\377.0a", 0, 4, "not UTF-8"},
    {"an empty dimension", 101, FP32, FP32, "20", A, 0, 0, "a dimension of 0"},
    {"a negative one", 101, FP32, FP32, "-", A, 0, 4, "a dimension of -1"},
    {"a huge shape", 101, FP32, FP32, "!!!", A, 0, 4, "impossible"},
    {"too little data", 101, FP32, FP32, "22", A, 0, 15, "takes 16 bytes, but only 15 follow"},
    {"an unknown type", 101, FP32, 17, "1", A, 0, 4, "data type 17"},
    {"a type that was given up", 101, FP32, Q4_2, "w", A, 0, 32, "?quantized as Q4_2"},
    {"a type that is not read", 101, FP32, Q2_K, "w", A, 0, 64, "?quantized as Q2_K"},
    {"blocks of version 100", 100, FP32, Q4_0, "w", A, 0, 18, "?Q4_0 blocks of file version 100"},
    {"a version 100 that claims blocks", 100, Q5_1, FP32, "1", A, 0, 4, "?the file holds Q5_1"},
    {"blocks that the header denies", 101, FP16, Q4_0, "w", A, 0, 18, "is Q4_0, but the header says FP16"},
    {"half a block", 101, Q4_0, Q4_0, "g", A, 0, 9, "[16], which is impossible for Q4_0"},
    {"an old llama.cpp file", 1, FP32, FP32, "1", A, 0, 4, "?llama.cpp file of before May 2023"},
    {"a later version", 102, FP32, FP32, "1", A, 0, 4, "?file version 102"},
    {"another block", 101, FP32, FP32, "1", "blocks.1.a", 0, 4, "says 1 layers, but the tensors make 2"},
    {"no block", 101, FP32, FP32, "1", "blocks_0.a", 0, 4, "says 1 layers, but the tensors make 0"},
    {"a block without a name", 101, FP32, FP32, "1", FAR, 0, 4, "the tensors make 0"},
    {"a block far away", 101, FP32, FP32, "1", FAR ".a", 0, 4, "the tensors make 2147483647"},
    {"few mixes", 101, FP32, FP32, "215", "blocks.0.att.x_rwkvag", 0, 40, "the shape [6,1,D]"},
    {"a flat low rank", 101, FP32, FP32, "4", "blocks.0.att.time_maa_w1", 0, 16, "1 dimension, not 2 or 3"},
    {"a decay in blocks", 101, Q4_0, Q4_0, "w", "blocks.0.att.time_decay", 0, 18, "?stored as Q4_0, which"},
};

static void test_hand_made(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof hand_made_files / sizeof *hand_made_files; i++) {
    const hand_made *h = &hand_made_files[i];
    uint8_t *block;
    checkpoint *c = parse_hand_made(h, &block);
    if (!h->words && !c) fail_msg("%s: %s", h->what, last_error());
    if (h->words && *h->words == '?') expect_refused(c, h->what, STATUS_UNSUPPORTED, h->words + 1);
    if (h->words && *h->words != '?') expect_refused(c, h->what, STATUS_FORMAT, h->words);
    finish(c, block);
  }
}

static void test_header_against_tensors(void **state) {
  (void)state;
  static bin b;
  uint8_t *block;
  static const struct {
    uint32_t vocabulary, width, layers;
    const char *words;
  } cases[] = {{4, 8, 0, "4 tokens of width 8, but emb.weight is [3,8]"},
               {3, 9, 0, "3 tokens of width 9, but emb.weight is [3,8]"},
               {3, 8, 1, "says 1 layers, but the tensors make 0"},
               {3, 8, UINT32_MAX, "says 4294967295 layers"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    begin(&b, 101, cases[i].vocabulary, cases[i].width, cases[i].layers, FP32);
    put_ends(&b);
    expect_refused(parse(&b, b.size, &block), cases[i].words, STATUS_FORMAT, cases[i].words);
    free(block);
  }
  begin(&b, 101, 3, 8, 0, FP32);
  put_ends(&b);
  put_plain(&b, "emb.weight", FP32, "38", 1);
  expect_refused(parse(&b, b.size, &block), "a second emb.weight", STATUS_FORMAT, "emb.weight is there twice");
  free(block);
  begin(&b, 101, 3, 8, 0, Q2_K);
  expect_refused(parse(&b, b.size, &block), "a file of Q2_K", STATUS_UNSUPPORTED, "the file is quantized as Q2_K");
  free(block);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rwkv4),
      cmocka_unit_test(test_rwkv5),
      cmocka_unit_test(test_vanished),
      cmocka_unit_test(test_impossible_values),
      cmocka_unit_test(test_rwkv6),
      cmocka_unit_test(test_turned_blocks),
      cmocka_unit_test(test_rwkv7),
      IN_SCRATCH(test_quantized),
      cmocka_unit_test(test_truncated_everywhere),
      cmocka_unit_test(test_every_bit),
      cmocka_unit_test(test_hand_made),
      cmocka_unit_test(test_header_against_tensors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
