/* Packed matrices: every bit against the description of the layout in packed.h, written down a second time; there and
 * back; values. */
#include <stdlib.h>
#include <string.h>

#include "kernels/base.h"
#include "kernels/half.h"
#include "kernels/packed.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { BYTES_MAX = 210, ROWS = PACKED_ROWS };

/* Fields of ggml's blocks in packed order: where they start, their bytes, the bytes of a row that stay together, and
 * where the single bits are, which have another rule. */
typedef struct {
  int from, bytes, unit;
} part;
enum { BITS = 0 };
static const part parts[QUANT_TYPES][5] = {
    [QUANT_Q8_0] = {{0, 2, 2}, {2, 32, 4}},
    [QUANT_Q4_0] = {{0, 2, 2}, {2, 16, 4}},
    [QUANT_Q4_1] = {{0, 2, 2}, {2, 2, 2}, {4, 16, 4}},
    [QUANT_Q5_0] = {{0, 2, 2}, {2, 4, BITS}, {6, 16, 4}},
    [QUANT_Q5_1] = {{0, 2, 2}, {2, 2, 2}, {4, 4, BITS}, {8, 16, 4}},
    [QUANT_Q4_K] = {{0, 2, 2}, {2, 2, 2}, {4, 12, 1}, {16, 128, 4}},
    [QUANT_Q5_K] = {{0, 2, 2}, {2, 2, 2}, {4, 12, 1}, {16, 32, BITS}, {48, 128, 4}},
    [QUANT_Q6_K] = {{208, 2, 2}, {192, 16, 1}, {128, 64, 4}, {0, 128, 4}},
};

/* Bit `bit` of a block of row `row` in a packed block: its byte there, and its place in the byte. */
static size_t place_of(quant_type type, size_t row, size_t bit, size_t *shift) {
  const size_t byte = bit / 8;
  size_t start = 0;
  for (const part *p = parts[type];; start += (size_t)p->bytes * ROWS, p++) {
    if (byte < (size_t)p->from || byte >= (size_t)(p->from + p->bytes)) continue;
    const size_t i = byte - (size_t)p->from;
    *shift = bit % 8;
    if (p->unit != BITS) {
      const size_t unit = (size_t)p->unit;
      return start + i / unit * unit * ROWS + row * unit + i % unit;
    }
    /* of which value: in blocks of 32 in order, else one of each 32 in a byte */
    const size_t value = p->bytes == 4 ? 8 * i + bit % 8 : i + 32 * (bit % 8), at = 4 * row + value % 4;
    *shift = at % 8;
    return start + value / 4 * 8 + at / 8;
  }
}

static uint8_t *random_bytes(size_t n, uint64_t seed) {
  uint8_t *p = malloc(n + 1);
  assert_non_null(p);
  for (size_t i = 0; i < n; i++) p[i] = (uint8_t)random_u64(seed, 0, i);
  return p;
}

static uint8_t *guarded_bytes(size_t n) {
  uint8_t *p = malloc(n + 8);
  assert_non_null(p);
  memset(p, 0x5a, n + 8);
  return p;
}

static void check_guard(const uint8_t *p, size_t n) {
  for (size_t i = 0; i < 8; i++) assert_int_equal(p[n + i], 0x5a);
}

static void check_bits(quant_type type, size_t N, size_t blocks, const uint8_t *rows, const uint8_t *packed) {
  const size_t bytes = quant_bytes(type), panel = blocks * bytes * ROWS;
  for (size_t n = 0; n < (N + ROWS - 1) / ROWS * ROWS; n++)
    for (size_t b = 0; b < blocks; b++)
      for (size_t bit = 0; bit < bytes * 8; bit++) {
        size_t shift;
        const size_t at = n / ROWS * panel + b * bytes * ROWS + place_of(type, n % ROWS, bit, &shift);
        int want = n < N ? rows[(n * blocks + b) * bytes + bit / 8] >> bit % 8 & 1 : 0;
        if (type == QUANT_Q8_0 && bit >= 16 && bit % 8 == 7) want ^= 1;
        assert_int_equal(packed[at] >> shift & 1, want);
      }
}

static void check_rows(const packed_matrix *w, const uint8_t *rows) {
  const size_t row = packed_row_bytes(w->type, w->K);
  uint8_t *back = guarded_bytes(row);
  float *values = malloc((w->K + 1) * sizeof *values), *want = malloc((w->K + 1) * sizeof *want);
  assert_true(values && want);
  for (size_t n = 0; n < w->N; n++) {
    packed_row(w, n, back);
    assert_memory_equal(back, rows + n * row, row);
    values[w->K] = 42.0f;
    packed_row_values(w, n, values);
    assert_true(values[w->K] == 42.0f);
    if (dtype_is_quant(w->type))
      quant_decode(dtype_quant(w->type), rows + n * row, w->K, want);
    else if (w->type == DTYPE_BF16)
      bf16_to_f32_array(rows + n * row, w->K, want);
    else
      f16_to_f32_array(rows + n * row, w->K, want);
    assert_memory_equal(values, want, w->K * sizeof *want);
  }
  check_guard(back, row);
  free(back);
  free(values);
  free(want);
}

static void test_blocks(void **state) {
  (void)state;
  static const size_t N[] = {1, 15, 16, 17, 48, 50};
  for (int i = 0; i < QUANT_TYPES; i++) {
    const quant_type type = (quant_type)i;
    for (size_t n = 0; n < sizeof N / sizeof *N; n++)
      for (size_t blocks = 1; blocks <= 3; blocks++) {
        const dtype packed_type = dtype_of_quant(type);
        const size_t K = blocks * quant_block(type), bytes = packed_bytes(packed_type, N[n], K);
        assert_int_equal(packed_block(packed_type), quant_block(type));
        assert_int_equal(packed_row_bytes(packed_type, K), blocks * quant_bytes(type));
        assert_int_equal(packed_panel_bytes(packed_type, K), blocks * quant_bytes(type) * ROWS);
        assert_int_equal(bytes, (N[n] + ROWS - 1) / ROWS * ROWS * blocks * quant_bytes(type));
        uint8_t *rows = random_bytes(N[n] * blocks * quant_bytes(type), N[n] + blocks), *packed = guarded_bytes(bytes);
        packed_put(packed_type, K, 0, N[n], rows, packed);
        check_guard(packed, bytes);
        check_bits(type, N[n], blocks, rows, packed);
        check_rows(&(packed_matrix){packed_type, N[n], K, packed}, rows);
        free(rows);
        free(packed);
      }
  }
}

static void test_halves(void **state) {
  (void)state;
  static const size_t N[] = {1, 16, 19, 40};
  for (int t = 0; t < 2; t++)
    for (size_t n = 0; n < sizeof N / sizeof *N; n++)
      for (size_t K = 1; K <= 9; K++) {
        const dtype type = t ? DTYPE_BF16 : DTYPE_F16;
        const size_t bytes = packed_bytes(type, N[n], K), even = K + K % 2, whole = (N[n] + ROWS - 1) / ROWS * ROWS;
        assert_int_equal(bytes, whole * even * 2);
        uint8_t *rows = random_bytes(N[n] * K * 2, K), *packed = guarded_bytes(bytes);
        packed_put(type, K, 0, N[n], rows, packed);
        check_guard(packed, bytes);
        for (size_t row = 0; row < whole; row++)
          for (size_t k = 0; k < even; k++) {
            const uint8_t *at = packed + row / ROWS * even * ROWS * 2 + ((k / 2 * ROWS + row % ROWS) * 2 + k % 2) * 2;
            const uint8_t zeros[2] = {0, 0};
            assert_memory_equal(at, row < N[n] && k < K ? rows + (row * K + k) * 2 : zeros, 2);
          }
        check_rows(&(packed_matrix){type, N[n], K, packed}, rows);
        free(rows);
        free(packed);
      }
}

/* Piece by piece, in any order, as a reader does it: the same bytes. */
static void test_pieces(void **state) {
  (void)state;
  enum { N = 70, K = 512 };
  for (int type = DTYPE_F16; type < DTYPES; type++) {
    const size_t row = packed_row_bytes((dtype)type, K), bytes = packed_bytes((dtype)type, N, K);
    uint8_t *rows = random_bytes(N * row, (uint64_t)type), *whole = guarded_bytes(bytes),
            *pieces = guarded_bytes(bytes);
    packed_put((dtype)type, K, 0, N, rows, whole);
    packed_put((dtype)type, K, 64, 6, rows + 64 * row, pieces);
    packed_put((dtype)type, K, 0, 16, rows, pieces);
    packed_put((dtype)type, K, 16, 48, rows + 16 * row, pieces);
    assert_memory_equal(whole, pieces, bytes + 8);
    free(rows);
    free(whole);
    free(pieces);
  }
}

/* Work space: enough for a product's rows in 16 bits and their sums, and never less for more. */
static void test_room(void **state) {
  (void)state;
  for (size_t K = 1; K < 600; K += 7)
    for (size_t M = 1; M < 40; M++) {
      assert_true(packed_room(M, K) >= 2 * M * (K + 32) + K / 32 * M * 20);
      assert_true(packed_room(M + 1, K) > packed_room(M, K) && packed_room(M, K + 1) >= packed_room(M, K));
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blocks),
      cmocka_unit_test(test_halves),
      cmocka_unit_test(test_pieces),
      cmocka_unit_test(test_room),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
