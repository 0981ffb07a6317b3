/* The order in which a recurrence and its token shift read the tokens: a permutation, spec operators 2.5.
 *
 * Everything but shift and recurrence is position-wise, so a block run on permuted tokens is the same block with the
 * same order handed to both of its shifts and to its recurrence. */
#ifndef LINNET_KERNELS_SCAN_ORDER_H
#define LINNET_KERNELS_SCAN_ORDER_H

#include "kernels/tensor.h"

typedef enum {
  SCAN_FORWARD,         /* as stored */
  SCAN_REVERSE,         /* backwards */
  SCAN_COLUMNS,         /* column by column, each from the top */
  SCAN_COLUMNS_REVERSE, /* the reverse of that */
} scan_kind;

typedef struct {
  int64_t n;
  const int32_t *token; /* [n] token visited at each step */
  const int32_t *step;  /* [n] its inverse */
} scan_order;

/* An order over n tokens in the context's arena: `kind` acts on the row-major grid of h*w tokens from `begin`, all
 * others stay where they are. NULL when memory runs out. SCAN_FORWARD gives the identity. */
const scan_order *scan_order_make(ctx *c, scan_kind kind, int64_t n, int64_t begin, int64_t h, int64_t w);

#endif
