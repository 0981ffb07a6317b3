#include "weights/interleaved.h"

#include "weights/packing.h"

bool interleaved_fits(checkpoint_dtype type, int n_dims, const int64_t *dim) {
  enum { PANEL_MAX = 1 << 24 }; /* bytes: writers keep one in memory */
  dtype packed;
  size_t bytes;
  if (!packed_type(type, &packed) || n_dims != 2 || !checkpoint_shape_bytes(type, n_dims, dim, &bytes)) return false;
  return bytes > 0 && dim[0] % PACKED_ROWS == 0 && dim[1] % (int64_t)packed_block(packed) == 0 &&
         interleaved_panel_bytes(type, dim) <= PANEL_MAX;
}

/* The matrix of a tensor that fits. */
static packed_matrix matrix_of(checkpoint_dtype type, const int64_t *dim, const void *data) {
  packed_matrix w = {DTYPE_F16, (size_t)dim[0], (size_t)dim[1], data};
  packed_type(type, &w.type);
  return w;
}

size_t interleaved_panel_bytes(checkpoint_dtype type, const int64_t *dim) {
  const packed_matrix w = matrix_of(type, dim, NULL);
  return packed_panel_bytes(w.type, w.K);
}

void interleaved_panel(checkpoint_dtype type, const int64_t *dim, const void *rows, void *panel) {
  const packed_matrix w = matrix_of(type, dim, panel);
  packed_put(w.type, w.K, 0, PACKED_ROWS, rows, panel);
}

void interleaved_read(const checkpoint_tensor *t, size_t offset, size_t bytes, void *out) {
  const packed_matrix w = matrix_of(t->dtype, t->dim, t->packed);
  const size_t unit = checkpoint_dtype_size(t->dtype), values = checkpoint_dtype_block(t->dtype);
  packed_part(&w, offset / unit * values, bytes / unit * values, out);
}
