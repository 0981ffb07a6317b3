#include "kernels/scan_order.h"

#include <assert.h>

/* The grid position (row-major index) visited at step i of a scan over an h x w grid. */
static int64_t visited(scan_kind kind, int64_t i, int64_t h, int64_t w) {
  int64_t from_end = h * w - 1 - i;
  switch (kind) {
  case SCAN_FORWARD:
    return i;
  case SCAN_REVERSE:
    return from_end;
  case SCAN_COLUMNS:
    return i % h * w + i / h;
  case SCAN_COLUMNS_REVERSE:
    return from_end % h * w + from_end / h;
  }
  return i;
}

const scan_order *scan_order_make(ctx *c, scan_kind kind, int64_t n, int64_t begin, int64_t h, int64_t w) {
  assert(begin >= 0 && h >= 0 && w >= 0 && begin + h * w <= n);
  scan_order *order = arena_alloc(c->memory, sizeof *order);
  int32_t *token = arena_alloc(c->memory, (size_t)n * sizeof *token);
  int32_t *step = arena_alloc(c->memory, (size_t)n * sizeof *step);
  if (!order || !token || !step) return NULL;
  for (int64_t i = 0; i < n; i++) {
    bool inside = i >= begin && i < begin + h * w;
    token[i] = (int32_t)(inside ? begin + visited(kind, i - begin, h, w) : i);
    step[token[i]] = (int32_t)i;
  }
  *order = (scan_order){n, token, step};
  return order;
}
