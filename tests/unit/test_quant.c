/* Block types: every bit of every field against a second description of the layouts, encoding against its bounds and
 * against the errors of ggml's encoders, and both directions on hostile bits. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base.h"
#include "kernels/half.h"
#include "kernels/quant.h"
#include "tests/support/quant_data.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum { BYTES_MAX = 210 };

/* A type in the words of its specification: bits of a quant, what is taken from it, and where the f16s are. */
static const struct {
  const char *name;
  size_t block, bytes;
  int bits, zero, d, m;
} specified[QUANT_TYPES] = {
    [QUANT_Q8_0] = {"Q8_0", 32, 34, 8, 0, 0, -1},  [QUANT_Q4_0] = {"Q4_0", 32, 18, 4, 8, 0, -1},
    [QUANT_Q4_1] = {"Q4_1", 32, 20, 4, 0, 0, 2},   [QUANT_Q5_0] = {"Q5_0", 32, 22, 5, 16, 0, -1},
    [QUANT_Q5_1] = {"Q5_1", 32, 24, 5, 0, 0, 2},   [QUANT_Q4_K] = {"Q4_K", 256, 144, 4, 0, 0, 2},
    [QUANT_Q5_K] = {"Q5_K", 256, 176, 5, 0, 0, 2}, [QUANT_Q6_K] = {"Q6_K", 256, 210, 6, 32, 208, -1},
};

/* Bit `bit` of value i: the byte that holds it and its place there. */
static size_t bit_place(quant_type type, size_t i, int bit, int *shift) {
  const size_t in64 = i % 64, half = i / 128, in128 = i % 128;
  switch (type) {
  case QUANT_Q8_0:
    *shift = bit;
    return 2 + i;
  case QUANT_Q4_0:
  case QUANT_Q4_1:
  case QUANT_Q5_0:
  case QUANT_Q5_1: {
    const size_t head = specified[type].m < 0 ? 2 : 4, high = specified[type].bits == 5 ? 4 : 0;
    *shift = bit == 4 ? (int)(i % 8) : bit + (i >= 16 ? 4 : 0);
    return bit == 4 ? head + i / 8 : head + high + i % 16;
  }
  case QUANT_Q4_K:
  case QUANT_Q5_K:
    *shift = bit == 4 ? (int)(i / 32) : bit + (in64 >= 32 ? 4 : 0);
    return bit == 4 ? 16 + i % 32 : (type == QUANT_Q5_K ? 48u : 16u) + i / 64 * 32 + i % 32;
  default: /* Q6_K */
    *shift = bit >= 4 ? bit - 4 + 2 * (int)(in128 / 32) : bit + (in128 >= 64 ? 4 : 0);
    return bit >= 4 ? 128 + half * 32 + i % 32 : half * 64 + i % 64;
  }
}

static void put_quant(quant_type type, uint8_t *block, size_t i, int q) {
  for (int bit = 0; bit < specified[type].bits; bit++) {
    int shift;
    uint8_t *byte = block + bit_place(type, i, bit, &shift);
    *byte = (uint8_t)((*byte & ~(1 << shift)) | (q >> bit & 1) << shift);
  }
}

static void put_f16(uint8_t *at, float v) {
  const uint16_t half = f32_to_f16(v);
  at[0] = (uint8_t)half;
  at[1] = (uint8_t)(half >> 8);
}

/* The 6-bit numbers of Q4_K and Q5_K: bit `bit` of scale or minimum g. */
static void put_six_bits(uint8_t *p, int g, bool minimum, int bit) {
  const int lower = g < 4 ? g : g - 4;
  if (g < 4)
    p[lower + (minimum ? 4 : 0)] |= (uint8_t)(1 << bit);
  else if (bit < 4)
    p[8 + lower] |= (uint8_t)(1 << (bit + (minimum ? 4 : 0)));
  else
    p[lower + (minimum ? 4 : 0)] |= (uint8_t)(1 << (6 + bit - 4));
}

/* All integer scales 1, minima 0. */
static void unit_scales(quant_type type, uint8_t *block) {
  if (type == QUANT_Q6_K) memset(block + 192, 1, 16);
  if (type == QUANT_Q4_K || type == QUANT_Q5_K)
    for (int g = 0; g < 8; g++) put_six_bits(block + 4, g, false, 0);
}

static void test_names(void **state) {
  (void)state;
  quant_type type;
  for (int t = 0; t < QUANT_TYPES; t++) {
    assert_string_equal(quant_name((quant_type)t), specified[t].name);
    assert_int_equal(quant_block((quant_type)t), specified[t].block);
    assert_int_equal(quant_bytes((quant_type)t), specified[t].bytes);
    assert_true(quant_parse(specified[t].name, &type));
    assert_int_equal(type, t);
    assert_false(quant_fits((quant_type)t, 0));
    assert_false(quant_fits((quant_type)t, specified[t].block - 1));
    assert_true(quant_fits((quant_type)t, 3 * specified[t].block));
  }
  assert_true(quant_parse("q4_k", &type));
  assert_int_equal(type, QUANT_Q4_K);
  assert_false(quant_parse("Q4_K_M", &type));
  assert_false(quant_parse("", &type));
}

/* Each bit of each value alone, in a block whose other quants are 0. */
static void test_every_bit_of_every_value(void **state) {
  (void)state;
  for (int t = 0; t < QUANT_TYPES; t++) {
    const quant_type type = (quant_type)t;
    for (size_t i = 0; i < specified[t].block; i++)
      for (int bit = 0; bit < specified[t].bits; bit++) {
        uint8_t block[BYTES_MAX] = {0};
        float out[QUANT_BLOCK_MAX];
        put_f16(block + specified[t].d, 0.5f);
        unit_scales(type, block);
        put_quant(type, block, i, 1 << bit);
        quant_decode(type, block, specified[t].block, out);
        const int q = type == QUANT_Q8_0 && bit == 7 ? -128 : 1 << bit;
        for (size_t k = 0; k < specified[t].block; k++)
          assert_true(out[k] == 0.5f * (float)((k == i ? q : 0) - specified[t].zero));
      }
  }
}

static void test_scales_and_minima(void **state) {
  (void)state;
  uint8_t block[BYTES_MAX];
  float out[QUANT_BLOCK_MAX];
  for (int t = QUANT_Q4_K; t <= QUANT_Q5_K; t++)
    for (int g = 0; g < 8; g++)
      for (int bit = 0; bit < 6; bit++)
        for (int minimum = 0; minimum < 2; minimum++) {
          memset(block, 0, sizeof block);
          put_f16(block, 0.25f);
          put_f16(block + 2, 2.0f);
          put_six_bits(block + 4, g, minimum, bit);
          for (size_t i = 0; i < 256; i++) put_quant((quant_type)t, block, i, 3);
          quant_decode((quant_type)t, block, 256, out);
          for (int i = 0; i < 256; i++)
            assert_true(out[i] == (i / 32 != g ? 0.0f : (float)(1 << bit) * (minimum ? -2.0f : 0.75f)));
        }
  for (int g = 0; g < 16; g++) {
    memset(block, 0, sizeof block);
    put_f16(block + 208, -0.25f);
    block[192 + g] = 0x80; /* -128 */
    quant_decode(QUANT_Q6_K, block, 256, out);
    for (int i = 0; i < 256; i++) assert_true(out[i] == (i / 16 == g ? -0.25f * -128.0f * -32.0f : 0.0f));
  }
  for (int t = QUANT_Q4_1; t <= QUANT_Q5_1; t += QUANT_Q5_1 - QUANT_Q4_1) {
    memset(block, 0, sizeof block);
    put_f16(block, 0.5f);
    put_f16(block + 2, -3.0f);
    put_quant((quant_type)t, block, 17, 5);
    quant_decode((quant_type)t, block, 32, out);
    for (int i = 0; i < 32; i++) assert_true(out[i] == (i == 17 ? -0.5f : -3.0f));
  }
}

/* Written out by hand: 1.0 is 0x3c00, 2.0 is 0x4000. */
static void test_literal_blocks(void **state) {
  (void)state;
  float out[32];
  const uint8_t q4_0[18] = {0x00, 0x3c, 0x80, 0xf1, 0x7e};
  quant_decode(QUANT_Q4_0, q4_0, 32, out);
  assert_true(out[0] == -8 && out[16] == 0 && out[1] == -7 && out[17] == 7 && out[2] == 6 && out[18] == -1);
  const uint8_t q5_1[24] = {0x00, 0x40, 0x00, 0x3c, 0x01, 0x00, 0x00, 0x80, 0x2f, [23] = 0x90};
  quant_decode(QUANT_Q5_1, q5_1, 32, out);
  assert_true(out[0] == 2 * 31 + 1 && out[16] == 2 * 2 + 1 && out[15] == 1 && out[31] == 2 * 25 + 1);
  const uint8_t q8_0[34] = {0x00, 0x40, 0x7f, 0x81, [33] = 0xff};
  quant_decode(QUANT_Q8_0, q8_0, 32, out);
  assert_true(out[0] == 254 && out[1] == -254 && out[2] == 0 && out[31] == -2);
}

/* No other quant would be nearer to a value, by comparison with the grid that the block's own scales make. */
static void test_values_become_the_nearest(void **state) {
  (void)state;
  static float x[QUANT_DATA_VALUES];
  for (int set = 0; set < QUANT_DATA_SETS; set++) {
    quant_data_fill(set, x);
    for (int t = 0; t < QUANT_TYPES; t++) {
      const quant_type type = (quant_type)t;
      const size_t n = specified[t].block;
      uint8_t block[BYTES_MAX];
      float out[QUANT_BLOCK_MAX], other[QUANT_BLOCK_MAX];
      for (size_t at = 0; at < 4 * n; at += n) {
        quant_encode(type, x + at, n, block);
        quant_decode(type, block, n, out);
        for (int q = 0; q < 1 << specified[t].bits; q++) {
          if (type == QUANT_Q8_0 && q == 0x80) continue; /* -128 is never used */
          for (size_t i = 0; i < n; i++) put_quant(type, block, i, q);
          quant_decode(type, block, n, other);
          for (size_t i = 0; i < n; i++)
            assert_true(fabsf(x[at + i] - out[i]) <= fabsf(x[at + i] - other[i]) + 1e-6f * fabsf(x[at + i]));
        }
      }
    }
  }
}

/* Half a step, which is the f16 nearest to the largest value / 127. */
static void test_q8_0_half_a_step(void **state) {
  (void)state;
  static float x[QUANT_DATA_VALUES];
  for (int set = 0; set < QUANT_DATA_SETS; set++) {
    quant_data_fill(set, x);
    for (size_t at = 0; at < QUANT_DATA_VALUES; at += 32) {
      uint8_t block[34];
      float out[32], largest = 0.0f;
      quant_encode(QUANT_Q8_0, x + at, 32, block);
      quant_decode(QUANT_Q8_0, block, 32, out);
      for (int i = 0; i < 32; i++) largest = fmaxf(largest, fabsf(x[at + i]));
      const float step = fmaxf(largest / 127.0f, 0x1p-24f);
      /* The f16 scale may be short by 1 part in 2^11, and 127 steps by 127 times that. */
      for (int i = 0; i < 32; i++) assert_true(fabsf(x[at + i] - out[i]) <= step * (0.5f + 127.0f / 2048.0f));
    }
  }
}

/* What ggml-org/ggml at d99724f2b141fed9e1a9f402213506c081433465 makes of the same values, with quantize_row_*_ref as
 * with ggml_quantize_chunk (without importances the two are one): errors in units of the values' root mean square. From
 * tests/bench/bench_quant.c built with BENCH_GGML. Columns as in quant_type. */
static const double ggml_error[QUANT_DATA_SETS][QUANT_TYPES] = {
    {5.374e-03, 8.617e-02, 7.837e-02, 4.306e-02, 3.804e-02, 7.152e-02, 3.626e-02, 1.789e-02}, /* normal */
    {8.550e-03, 1.292e-01, 1.011e-01, 6.690e-02, 4.875e-02, 9.264e-02, 4.724e-02, 2.627e-02}, /* heavy-tailed */
    {3.772e-03, 6.512e-02, 6.058e-02, 3.125e-02, 2.949e-02, 5.463e-02, 2.768e-02, 1.326e-02}, /* uniform */
    {2.198e-04, 2.055e-04, 2.055e-04, 2.055e-04, 2.055e-04, 2.115e-04, 2.213e-04, 2.033e-04}, /* constant */
    {2.081e-04, 2.031e-04, 2.031e-04, 2.031e-04, 2.031e-04, 6.019e-03, 5.828e-03, 3.587e-03}, /* steps */
    {2.515e-03, 4.084e-02, 1.042e-01, 2.013e-02, 4.875e-02, 4.687e-02, 3.532e-02, 6.567e-03}, /* mostly zero */
    {3.582e-03, 5.716e-02, 3.056e-02, 2.857e-02, 1.480e-02, 2.760e-02, 1.399e-02, 1.170e-02}, /* half zero */
    {1.248e-02, 1.304e-01, 1.167e-01, 8.900e-02, 5.333e-02, 9.653e-02, 5.171e-02, 3.478e-02}, /* one outlier */
    {2.887e-03, 4.589e-02, 1.144e-02, 2.304e-02, 5.558e-03, 2.207e-02, 1.101e-02, 9.836e-03}, /* positive */
    {1.000e+00, 8.963e-01, 2.171e+00, 9.999e-01, 2.342e+00, 1.000e+00, 1.000e+00, 1.000e+00}, /* tiny, 1e-7 */
    {5.352e-03, 8.581e-02, 7.852e-02, 4.277e-02, 3.791e-02, 7.162e-02, 3.626e-02, 1.776e-02}, /* huge, 1e4 */
};

static void test_errors_are_not_above_ggml(void **state) {
  (void)state;
  static float x[QUANT_DATA_VALUES], out[QUANT_DATA_VALUES];
  static uint8_t blocks[2 * QUANT_DATA_VALUES];
  for (int set = 0; set < QUANT_DATA_SETS; set++) {
    quant_data_fill(set, x);
    for (int t = 0; t < QUANT_TYPES; t++) {
      quant_encode((quant_type)t, x, QUANT_DATA_VALUES, blocks);
      quant_decode((quant_type)t, blocks, QUANT_DATA_VALUES, out);
      const quant_error e = quant_error_of(QUANT_DATA_VALUES, x, out);
      if (e.rms > 1.02 * ggml_error[set][t])
        fail_msg("%s, %s: %.4e, ggml %.4e", quant_data_name(set), quant_name((quant_type)t), e.rms, ggml_error[set][t]);
    }
  }
}

/* The bits of a block depend on its values alone: together, one by one, by several threads, again. */
static void test_deterministic(void **state) {
  (void)state;
  static float x[QUANT_DATA_VALUES];
  static uint8_t all[2 * QUANT_DATA_VALUES], each[2 * QUANT_DATA_VALUES];
  quant_data_fill(1, x);
  for (int t = 0; t < QUANT_TYPES; t++) {
    const quant_type type = (quant_type)t;
    const size_t n = quant_block(type), bytes = quant_bytes(type), blocks = QUANT_DATA_VALUES / n;
    memset(all, 0x55, sizeof all);
    memset(each, 0xaa, sizeof each);
    quant_encode(type, x, QUANT_DATA_VALUES, all);
#pragma omp parallel for schedule(dynamic) num_threads(3)
    for (size_t b = 0; b < blocks; b++) quant_encode(type, x + b * n, n, each + b * bytes);
    assert_memory_equal(all, each, blocks * bytes);
    assert_true(all[blocks * bytes] == 0x55); /* and nothing beyond */
  }
}

/* Whatever the bits are, at an odd address: no undefined behaviour (sanitizers watch), NaN and infinity from the scale.
 */
static void test_decodes_any_bits(void **state) {
  (void)state;
  enum { BLOCKS = 64 };
  uint8_t bytes[BLOCKS * BYTES_MAX + 1];
  float out[BLOCKS * QUANT_BLOCK_MAX];
  rng g = rng_make(7, 0);
  for (int t = 0; t < QUANT_TYPES; t++) {
    const quant_type type = (quant_type)t;
    const size_t n = quant_block(type);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)rng_u64(&g);
    quant_decode(type, bytes + 1, BLOCKS * n, out);
    memset(bytes, 0xff, sizeof bytes);
    quant_decode(type, bytes + 1, BLOCKS * n, out);
    for (size_t i = 0; i < BLOCKS * n; i++) assert_true(isnan(out[i]));
    uint8_t *block = bytes + 1;
    memset(block, 0, quant_bytes(type));
    put_f16(block + specified[t].d, INFINITY);
    unit_scales(type, block);
    for (size_t i = 0; i < n; i++) put_quant(type, block, i, specified[t].zero + 1);
    quant_decode(type, block, n, out);
    for (size_t i = 0; i < n; i++) assert_true(isinf(out[i]) && out[i] > 0);
  }
}

static void test_encodes_any_bits(void **state) {
  (void)state;
  enum { N = 4096 };
  static float x[N], out[N];
  static uint8_t blocks[2 * N], again[2 * N];
  rng g = rng_make(8, 0);
  for (int kind = 0; kind < 3; kind++) {
    for (int i = 0; i < N; i++) {
      uint32_t bits = (uint32_t)rng_u64(&g);
      if (kind == 1 && i % 3) bits = (bits & 0x807fffff) | 0x7f800000; /* NaN, now and then infinite */
      if (kind == 2) bits &= 0x807fffff;                               /* subnormal */
      memcpy(x + i, &bits, 4);
      if (kind == 1 && i % 5 == 0) x[i] = copysignf(INFINITY, x[i]);
    }
    for (int t = 0; t < QUANT_TYPES; t++) {
      const quant_type type = (quant_type)t;
      quant_encode(type, x, N, blocks);
      quant_encode(type, x, N, again);
      assert_memory_equal(blocks, again, N / quant_block(type) * quant_bytes(type));
      quant_decode(type, blocks, N, out);
      for (int i = 0; i < N; i++) {
        assert_true(isfinite(out[i]));
        if (kind == 2) assert_true(out[i] == 0.0f);
      }
    }
  }
}

/* Beyond the reach of the largest f16 a value becomes, nearly, the largest of its type. */
static void test_saturates(void **state) {
  (void)state;
  static const float size[] = {1e9f, 1e30f, FLT_MAX, INFINITY};
  static const struct {
    float up, down;
  } reach[QUANT_TYPES] = {{127, 127}, {8, 8}, {16, 16}, {16, 16}, {32, 32}, {63 * 15, 63}, {63 * 31, 63}, {4096, 4096}};
  for (int t = 0; t < QUANT_TYPES; t++) {
    const quant_type type = (quant_type)t;
    for (size_t k = 0; k < 2 * sizeof size / sizeof *size; k++) {
      uint8_t block[BYTES_MAX];
      float x[QUANT_BLOCK_MAX], out[QUANT_BLOCK_MAX];
      for (int i = 0; i < QUANT_BLOCK_MAX; i++) x[i] = i % 16 == 5 ? (k % 2 ? -size[k / 2] : size[k / 2]) : 1.0f;
      quant_encode(type, x, quant_block(type), block);
      quant_decode(type, block, quant_block(type), out);
      for (size_t i = 5; i < quant_block(type); i += 16) {
        const float reached = k % 2 ? -out[i] / reach[t].down : out[i] / reach[t].up;
        assert_true(isfinite(out[i]) && reached >= 0.8f * 65504.0f && reached <= 65504.0f);
      }
    }
  }
}

/* At the other end: scales below the smallest f16 are that one, so that values of its size are kept. */
static void test_small_values(void **state) {
  (void)state;
  for (int t = 0; t < QUANT_TYPES; t++) {
    uint8_t block[BYTES_MAX];
    float x[QUANT_BLOCK_MAX], out[QUANT_BLOCK_MAX];
    for (int i = 0; i < QUANT_BLOCK_MAX; i++) x[i] = (float)(i % 3 - 1) * 0x1p-24f;
    quant_encode((quant_type)t, x, quant_block((quant_type)t), block);
    quant_decode((quant_type)t, block, quant_block((quant_type)t), out);
    for (size_t i = 0; i < quant_block((quant_type)t); i++) assert_true(out[i] == x[i]);
    for (int i = 0; i < QUANT_BLOCK_MAX; i++) x[i] = (float)(i % 3 - 1) * 1e-9f;
    quant_encode((quant_type)t, x, quant_block((quant_type)t), block);
    quant_decode((quant_type)t, block, quant_block((quant_type)t), out);
    for (size_t i = 0; i < quant_block((quant_type)t); i++) assert_true(out[i] == 0.0f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_names),
                                     cmocka_unit_test(test_every_bit_of_every_value),
                                     cmocka_unit_test(test_scales_and_minima),
                                     cmocka_unit_test(test_literal_blocks),
                                     cmocka_unit_test(test_values_become_the_nearest),
                                     cmocka_unit_test(test_q8_0_half_a_step),
                                     cmocka_unit_test(test_errors_are_not_above_ggml),
                                     cmocka_unit_test(test_deterministic),
                                     cmocka_unit_test(test_decodes_any_bits),
                                     cmocka_unit_test(test_encodes_any_bits),
                                     cmocka_unit_test(test_saturates),
                                     cmocka_unit_test(test_small_values)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
