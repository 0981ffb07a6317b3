/* The table of llama_layout.h, between the files that read and write the layout. */
#ifndef LINNET_WEIGHTS_LLAMA_LAYOUT_ROWS_H
#define LINNET_WEIGHTS_LLAMA_LAYOUT_ROWS_H

#include "weights/llama_layout.h"

/* From the official tensor to llama.cpp's. */
typedef enum {
  LLAMA_SAME,       /* same shape */
  LLAMA_VECTOR,     /* [1,1,D] -> [D] */
  LLAMA_HEADS,      /* [H,N], the same */
  LLAMA_HEADS_FLAT, /* [H,N] -> [D] */
  LLAMA_TRANSPOSED, /* the last two dimensions change places */
  LLAMA_FUSED,      /* [1,1,D] -> one of the rows of [parts,1,1,D] */
  LLAMA_DIVIDED,    /* same shape, divided by 2^(layer / rescale_every) */
} llama_change;

/* What llama.cpp can hold it in. */
typedef enum {
  LLAMA_F32,
  LLAMA_FLOAT, /* F32, F16, BF16 */
  LLAMA_ANY,   /* and block types */
} llama_types;

typedef struct {
  const char *official, *llama; /* what follows blocks.N. and blk.N. */
  llama_change change;
  llama_types types;
  int part;          /* of LLAMA_FUSED */
  const char *first; /* the official tensor that block 0 has in its place: llama.cpp wants one, and does not use it */
  bool old;          /* of files of 2024, which had the fused vectors apart; not written */
} llama_row;

typedef struct {
  const char *architecture;
  const char *mark; /* an official tensor of block 0 that no other architecture has */
  const llama_row *rows;
  size_t n_rows;
  int parts; /* fused vectors */
} llama_layout;

/* Tensors outside the blocks, the same of both: names in full. */
extern const llama_row llama_outer[];
extern const size_t llama_outer_count;
extern const llama_layout llama_layouts[];
extern const size_t llama_layout_count;

/* "rwkv6.block_count" and the like in a buffer of LLAMA_KEY bytes; returns it. */
#define LLAMA_KEY 64
const char *llama_key(const llama_layout *layout, const char *what, char *buffer);

/* Multiplies values in place by 2^exponent: `bytes` bytes of the given type, whole blocks of block types, whose scales
 * alone are multiplied. Exact unless a result is too small (rounded to nearest) or too large: false, if a finite one
 * would become infinite. Of the types for which llama_scales() only: F32, F16, BF16 and the block types. */
bool llama_scales(checkpoint_dtype dtype);
bool llama_scale(checkpoint_dtype dtype, void *values, size_t bytes, int exponent);

/* Everything before the tensors (llama_layout_metadata.c). */
status llama_layout_describe(const checkpoint *in, writer *w, const llama_layout_options *o, const llama_layout *layout,
                             int blocks, uint32_t file_type);

#endif
