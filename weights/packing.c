#include "weights/packing.h"

#include <stdlib.h>
#include <string.h>

#include "weights/container.h"

enum { PIECE = 1 << 22 }; /* bytes of a file between two looks at how much memory it takes */

bool packed_type(checkpoint_dtype stored, dtype *type) {
  quant_type blocks;
  if (checkpoint_dtype_quant(stored, &blocks))
    *type = dtype_of_quant(blocks);
  else if (stored == CHECKPOINT_F16 || stored == CHECKPOINT_BF16)
    *type = stored == CHECKPOINT_F16 ? DTYPE_F16 : DTYPE_BF16;
  else
    return false;
  return true;
}

/* --- parts of a packed matrix ------------------------------------------------------------------------------------- */

/* A run of values within one row: n of them, the first `skip` values after the beginning of a matrix of 16 rows that
 * lies in the same bytes, since blocks of a panel stand one column after the other. */
typedef struct {
  packed_matrix window;
  size_t row, skip, n;
} run;

/* The run that begins at value `at` and ends before `end`: whole blocks, or a part of one. */
static run run_at(const packed_matrix *w, size_t at, size_t end) {
  const size_t block = packed_block(w->type), column = at % w->K, row = at / w->K;
  const size_t left = end - at < w->K - column ? end - at : w->K - column;
  run r = {.row = row % PACKED_ROWS, .skip = column % block};
  const size_t in_block = left < block - r.skip ? left : block - r.skip;
  r.n = r.skip || left < block ? in_block : left / block * block;
  const uint8_t *panel = (const uint8_t *)w->data + row / PACKED_ROWS * packed_panel_bytes(w->type, w->K);
  r.window = (packed_matrix){w->type, PACKED_ROWS, (r.skip + r.n + block - 1) / block * block,
                             panel + packed_panel_bytes(w->type, column - r.skip)};
  return r;
}

void packed_values(const packed_matrix *w, size_t first, size_t n, float *out) {
  float values[QUANT_BLOCK_MAX];
  run r;
  for (size_t at = first; at < first + n; at += r.n, out += r.n) {
    r = run_at(w, at, first + n);
    const bool whole = r.window.K == r.n;
    packed_row_values(&r.window, r.row, whole ? out : values);
    if (!whole) memcpy(out, values + r.skip, r.n * sizeof *out);
  }
}

void packed_part(const packed_matrix *w, size_t first, size_t n, void *out) {
  uint8_t *to = out, pair[4]; /* of 16-bit values, the only ones whose blocks can be cut */
  run r;
  for (size_t at = first; at < first + n; at += r.n) {
    r = run_at(w, at, first + n);
    const bool whole = r.window.K == r.n;
    const size_t size = packed_row_bytes(w->type, r.n);
    packed_row(&r.window, r.row, whole ? to : pair);
    if (!whole) memcpy(to, pair + packed_row_bytes(w->type, r.skip), size);
    to += size;
  }
}

/* --- packing ------------------------------------------------------------------------------------------------------ */

/* n rows from `first` on, a multiple of 16, from `rows` into their place. False if a value is not finite. */
static bool pack_rows(const checkpoint_tensor *t, dtype type, size_t first, size_t n, const uint8_t *rows,
                      void *packed) {
  const size_t K = (size_t)t->dim[1], row = packed_row_bytes(type, K), units = row / checkpoint_dtype_size(t->dtype);
  bool finite = true;
#pragma omp parallel for schedule(static) reduction(&& : finite)
  for (size_t at = 0; at < n; at += PACKED_ROWS) {
    const size_t here = n - at < PACKED_ROWS ? n - at : PACKED_ROWS;
    finite = finite && checkpoint_units_finite(t->dtype, rows + at * row, here * units);
    packed_put(type, K, first + at, here, rows + at * row, packed);
  }
  return finite;
}

status checkpoint_read_packed(const checkpoint *c, const checkpoint_tensor *t, void *packed) {
  dtype type = DTYPE_F16;
  packed_type(t->dtype, &type);
  if (t->packed) {
    memcpy(packed, t->packed, t->bytes);
    return checkpoint_check_finite(c, t);
  }
  const size_t N = (size_t)t->dim[0], row = packed_row_bytes(type, (size_t)t->dim[1]);
  const size_t most = row < PIECE / PACKED_ROWS ? PIECE / row / PACKED_ROWS * PACKED_ROWS : PACKED_ROWS;
  uint8_t *buffer = t->data ? NULL : mem_alloc(most < N ? most : N, row);
  if (!t->data && !buffer) return STATUS_MEMORY;
  status s = STATUS_OK;
  for (size_t first = 0; !s && first < N; first += most) {
    const size_t n = N - first < most ? N - first : most;
    const uint8_t *rows = t->data ? (const uint8_t *)t->data + first * row : buffer;
    if (!t->data) s = checkpoint_read(c, t, first * row, n * row, buffer);
    if (!s && !pack_rows(t, type, first, n, rows, packed)) s = checkpoint_check_finite(c, t);
    if (t->data) checkpoint_forget(c, rows, n * row);
  }
  free(buffer);
  return s;
}
