#include "kernels/packed.h"

#include <string.h>

#include "kernels/bytes.h"
#include "kernels/half.h"
#include "kernels/packed_layout.h"

enum { ROWS = PACKED_ROWS, HALF_BYTES = 2, BLOCK_BYTES_MAX = 256 };

/* --- sizes -------------------------------------------------------------------------------------------------------- */

static size_t block_bytes(dtype type) {
  return dtype_is_quant(type) ? quant_bytes(dtype_quant(type)) : 2 * (size_t)HALF_BYTES;
}

size_t packed_block(dtype type) { return dtype_is_quant(type) ? quant_block(dtype_quant(type)) : 2; }

size_t packed_panel_bytes(dtype type, size_t K) {
  const size_t block = packed_block(type);
  return (K / block + (K % block != 0)) * block_bytes(type) * ROWS;
}

size_t packed_bytes(dtype type, size_t N, size_t K) {
  return (N / ROWS + (N % ROWS != 0)) * packed_panel_bytes(type, K);
}

size_t packed_row_bytes(dtype type, size_t K) {
  return dtype_is_quant(type) ? K / packed_block(type) * block_bytes(type) : K * HALF_BYTES;
}

size_t packed_room(size_t M, size_t K) {
  enum {
    SPAN = 32,
    SPAN_BYTES = 2 * SPAN + 2 * 16
  };                 /* values in 16 bits at most; steps, sums and what belongs to them */
  enum { PAD = 64 }; /* rows and values that padding may add */
  return (M + PAD) * ((K + PAD) / SPAN + 1) * SPAN_BYTES;
}

/* --- fields ------------------------------------------------------------------------------------------------------- */

/* A run of a block's bytes: `unit` of them at a time go together. */
typedef struct {
  int from, bytes, unit;
  bool bits;     /* single bits, which go together four at a time */
  uint32_t flip; /* bits of a unit that are turned over */
} field;

/* The fields of a type, in packed order; how many. */
static int fields_of(dtype type, field out[5]) {
  if (!dtype_is_quant(type)) {
    out[0] = (field){.bytes = LINE_QUANTS, .unit = LINE_QUANTS};
    return 1;
  }
  const quant_layout *t = &quant_layouts[dtype_quant(type)];
  const int high = layout_high_bytes(t);
  int n = 0;
  out[n++] = (field){.from = t->d, .bytes = HALF_BYTES, .unit = HALF_BYTES};
  if (t->m) out[n++] = (field){.from = t->m, .bytes = HALF_BYTES, .unit = HALF_BYTES};
  if (t->scales) out[n++] = (field){.from = t->scales, .bytes = layout_scale_bytes(t), .unit = 1};
  if (high) out[n++] = (field){.from = t->high, .bytes = high, .unit = LINE_QUANTS, .bits = t->bits == 5};
  out[n++] = (field){
      .from = t->low, .bytes = layout_low_bytes(t), .unit = LINE_QUANTS, .flip = t->bits == 8 ? 0x80808080u : 0};
  return n;
}

/* Units of 16 rows, one of each row after the other. `unit` is a constant where this is called. */
static inline void put_units(size_t unit, const field *f, const uint8_t *const *rows, uint8_t *packed) {
  for (size_t i = 0; i < (size_t)f->bytes; i += unit)
    for (size_t row = 0; row < ROWS; row++, packed += unit) {
      uint32_t word = 0;
      memcpy(&word, rows[row] + (size_t)f->from + i, unit);
      word ^= f->flip;
      memcpy(packed, &word, unit);
    }
}

/* The units of one row, back. */
static inline void get_units(size_t unit, const field *f, const uint8_t *packed, size_t row, uint8_t *block) {
  for (size_t i = 0; i < (size_t)f->bytes; i += unit) {
    uint32_t word = 0;
    memcpy(&word, packed + i * ROWS + row * unit, unit);
    word ^= f->flip;
    memcpy(block + (size_t)f->from + i, &word, unit);
  }
}

/* Single bits (quant.c): those of 32 values are in 4 bytes, in order, or of each value of 32 in a byte of its own, at
 * the place of the group. Four neighbours s..s + 3 to the lowest bits, and back (they are added to what is there). */
static uint32_t four_bits(size_t bytes, const uint8_t *from, size_t group, size_t s) {
  if (bytes == 4) return little32(from) >> s & 15;
  return (little32(from + s) >> group & 0x01010101u) * 0x10204080u >> 28;
}

static void add_four_bits(size_t bytes, uint32_t four, size_t group, size_t s, uint8_t *to) {
  if (bytes == 4)
    put_little(to, little32(to) | four << s, 4);
  else
    put_little(to + s, little32(to + s) | (four * 0x00204081u & 0x01010101u) << group, 4);
}

enum { GROUP = 32, BITS_BYTES = sizeof(uint64_t) }; /* of a line: four of each row */

static void put_bits(const field *f, const uint8_t *const *rows, uint8_t *packed) {
  const size_t bytes = (size_t)f->bytes;
  for (size_t i = 0; i < 8 * bytes; i += LINE_QUANTS, packed += BITS_BYTES) {
    uint64_t word = 0;
    for (size_t row = 0; row < ROWS; row++)
      word |= (uint64_t)four_bits(bytes, rows[row] + f->from, i / GROUP, i % GROUP) << LINE_QUANTS * row;
    put_little(packed, word, BITS_BYTES);
  }
}

static void get_bits(const field *f, const uint8_t *packed, size_t row, uint8_t *block) {
  const size_t bytes = (size_t)f->bytes;
  memset(block + f->from, 0, bytes);
  for (size_t i = 0; i < 8 * bytes; i += LINE_QUANTS, packed += BITS_BYTES) {
    const uint32_t four = little64(packed) >> LINE_QUANTS * row & 15;
    add_four_bits(bytes, four, i / GROUP, i % GROUP, block + f->from);
  }
}

static void put_field(const field *f, const uint8_t *const *rows, uint8_t *packed) {
  if (f->bits)
    put_bits(f, rows, packed);
  else if (f->unit == LINE_QUANTS)
    put_units(LINE_QUANTS, f, rows, packed);
  else if (f->unit == HALF_BYTES)
    put_units(HALF_BYTES, f, rows, packed);
  else
    put_units(1, f, rows, packed);
}

static void get_field(const field *f, const uint8_t *packed, size_t row, uint8_t *block) {
  if (f->bits)
    get_bits(f, packed, row, block);
  else if (f->unit == LINE_QUANTS)
    get_units(LINE_QUANTS, f, packed, row, block);
  else if (f->unit == HALF_BYTES)
    get_units(HALF_BYTES, f, packed, row, block);
  else
    get_units(1, f, packed, row, block);
}

void packed_encode(dtype type, const float *values, size_t n, void *rows) {
  if (dtype_is_quant(type))
    quant_encode(dtype_quant(type), values, n, rows);
  else if (type == DTYPE_BF16)
    f32_to_bf16_array(values, n, rows);
  else
    f32_to_f16_array(values, n, rows);
}

/* --- packing ------------------------------------------------------------------------------------------------------ */

/* `blocks` blocks from each of 16 rows; count fields. */
static void put_blocks(int count, const field *fields, size_t bytes, size_t blocks, const uint8_t **rows,
                       const size_t *step, uint8_t *packed) {
  for (size_t b = 0; b < blocks; b++) {
    for (int f = 0; f < count; f++) {
      put_field(&fields[f], rows, packed);
      packed += fields[f].bytes * ROWS;
    }
    for (size_t row = 0; row < ROWS; row++) rows[row] += step[row] * bytes;
  }
}

/* A panel of n rows; those that are missing stand still at zeros. */
static void put_panel(dtype type, size_t K, size_t n, const uint8_t *from, uint8_t *panel) {
  static const uint8_t zeros[BLOCK_BYTES_MAX];
  const size_t bytes = block_bytes(type), stride = packed_row_bytes(type, K), blocks = K / packed_block(type);
  const uint8_t *rows[ROWS];
  size_t step[ROWS];
  for (size_t row = 0; row < ROWS; row++) {
    step[row] = row < n;
    rows[row] = row < n ? from + row * stride : zeros;
  }
  field fields[5];
  const int count = fields_of(type, fields);
  put_blocks(count, fields, bytes, blocks, rows, step, panel);
  if (blocks * bytes == stride) return;
  uint8_t last[ROWS][2 * HALF_BYTES] = {{0}}; /* of 16 bits, odd K */
  for (size_t row = 0; row < n; row++) memcpy(last[row], rows[row], HALF_BYTES);
  for (size_t row = 0; row < ROWS; row++) rows[row] = last[row];
  put_blocks(count, fields, bytes, 1, rows, step, panel + blocks * bytes * ROWS);
}

void packed_put(dtype type, size_t K, size_t first, size_t n, const void *rows, void *data) {
  const size_t panel = packed_panel_bytes(type, K), row = packed_row_bytes(type, K);
  for (size_t i = 0; i < n; i += ROWS)
    put_panel(type, K, n - i < ROWS ? n - i : ROWS, (const uint8_t *)rows + i * row,
              (uint8_t *)data + (first + i) / ROWS * panel);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static const uint8_t *panel_of(const packed_matrix *w, size_t row) {
  return (const uint8_t *)w->data + row / ROWS * packed_panel_bytes(w->type, w->K);
}

/* Block b of a row, in ggml's order. */
static void get_block(dtype type, const uint8_t *panel, size_t b, size_t row, uint8_t *block) {
  field fields[5];
  const int count = fields_of(type, fields);
  const uint8_t *from = panel + b * block_bytes(type) * ROWS;
  for (int f = 0; f < count; f++) {
    get_field(&fields[f], from, row % ROWS, block);
    from += fields[f].bytes * ROWS;
  }
}

void packed_row(const packed_matrix *w, size_t row, void *out) {
  const size_t bytes = block_bytes(w->type), length = packed_row_bytes(w->type, w->K), whole = length / bytes;
  for (size_t b = 0; b < whole; b++) get_block(w->type, panel_of(w, row), b, row, (uint8_t *)out + b * bytes);
  if (whole * bytes == length) return;
  uint8_t last[2 * HALF_BYTES];
  get_block(w->type, panel_of(w, row), whole, row, last);
  memcpy((uint8_t *)out + whole * bytes, last, HALF_BYTES);
}

void packed_row_values(const packed_matrix *w, size_t row, float *out) {
  const size_t block = packed_block(w->type);
  uint8_t bytes[BLOCK_BYTES_MAX];
  for (size_t k = 0; k < w->K; k += block) {
    get_block(w->type, panel_of(w, row), k / block, row, bytes);
    const size_t n = w->K - k < block ? w->K - k : block;
    if (dtype_is_quant(w->type))
      quant_decode(dtype_quant(w->type), bytes, n, out + k);
    else if (w->type == DTYPE_BF16)
      bf16_to_f32_array(bytes, n, out + k);
    else
      f16_to_f32_array(bytes, n, out + k);
  }
}
