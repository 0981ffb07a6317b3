/* Matrices of weights as products want them: packed, so that they are read from beginning to end, sixteen rows at a
 * time, one row a lane, and so that no value has to change lanes.
 *
 * A matrix [N,K] is cut into panels of 16 rows; if the last one has fewer, rows of zeros fill it up. A panel holds, for
 * one column of its blocks after the other, the blocks of its 16 rows, field by field:
 *
 *   F16, BF16   a "block" is two values: [16 rows][2]; an odd K is filled up with a zero
 *   block types the fields of ggml's block (quant_layout.h) in the order of quant_layout.h's d, m, scales, high, low:
 *     d, m      f16 [16]
 *     scales    [its bytes][16]
 *     low       the quants' bytes, four at a time: [bytes / 4][16][4]. Byte j of line s is byte 4 s + j of ggml's;
 *               of Q8_0 with its upper bit flipped, so that it holds the quant + 128
 *     high      of Q6_K (two bits a value) as `low`; else (one bit a value) [block / 4] 64-bit little-endian words: bit
 *               4 r + j of word s belongs to value 4 s + j of row r
 *
 * A panel has exactly the bytes of its rows in ggml's order (the types of 16 bits: of K rounded up to even). Packing
 * changes no bit of a value, and packed_row() undoes it. */
#ifndef LINNET_KERNELS_PACKED_H
#define LINNET_KERNELS_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"

enum { PACKED_ROWS = 16 };

typedef struct {
  dtype type; /* one that dtype_is_packed */
  size_t N, K;
  const void *data; /* packed_bytes(); best aligned to 64 bytes */
} packed_matrix;

size_t packed_block(dtype type);                 /* values of a row in a block; K must be a multiple (16-bit: any) */
size_t packed_panel_bytes(dtype type, size_t K); /* of 16 rows */
size_t packed_bytes(dtype type, size_t N, size_t K); /* the caller knows that it does not overflow */
size_t packed_row_bytes(dtype type, size_t K);       /* of a row in ggml's order, which for 16-bit types is plain */

/* n values, whole blocks of a block type, as rows have them: rounded to nearest, of block types as quant_encode(). */
void packed_encode(dtype type, const float *values, size_t n, void *rows);
/* Packs rows first..first + n - 1 of a matrix, first and n being multiples of 16 (n: or up to the last row), from
 * `rows` [n, packed_row_bytes] into their place in `data`, the whole matrix. Any number of threads may work on
 * different panels. */
void packed_put(dtype type, size_t K, size_t first, size_t n, const void *rows, void *data);
/* One row in ggml's order again. */
void packed_row(const packed_matrix *w, size_t row, void *out);
/* One row's values [K], exact. */
void packed_row_values(const packed_matrix *w, size_t row, float *out);

/* Bytes of work space that a product of M rows with such a matrix wants (cpu.h): for the rows in 8 or 16 bits, their
 * steps and sums. */
size_t packed_room(size_t M, size_t K);

#endif
