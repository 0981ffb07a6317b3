/* GGUF as the reader (gguf.c) and the writer (gguf_write.c) share it: version 3 of the specification, whose numbers are
 * ggml's. A file is: magic, version, counts, key-value pairs, tensor table, padding, tensor data, each tensor's padded
 * to the alignment. Dimensions stand innermost first, in reverse of ours.
 *
 * GGUF's tensors have 1 to 4 dimensions, names below 64 bytes and no unsigned or truth types. What does not fit is
 * written as the nearest that does (a long name as GGUF_SUBSTITUTE and its number, a scalar as [1], further outer
 * dimensions multiplied into the fourth, U8 and BOOL as I8, U16 as I16, ...), and the metadata GGUF_ORIGINALS says what
 * it was: a JSON text {"name in the file": {"name": ..., "shape": [...], "dtype": "..."}, ...} with the members that
 * differ.
 *
 * Interleaved tensors (kernels/packed.h) are ours alone: their types are GGUF_INTERLEAVED and ggml's number, far from
 * all that ggml gives out, so that no other program takes them for what they are not. Such a file's data are aligned to
 * INTERLEAVED_ALIGNMENT, and general.alignment, which says so, is the writer's own. */
#ifndef LINNET_WEIGHTS_GGUF_FORMAT_H
#define LINNET_WEIGHTS_GGUF_FORMAT_H

#include "weights/checkpoint.h"

#define GGUF_VERSION 3
#define GGUF_ALIGNMENT 32    /* unless general.alignment says otherwise */
#define GGUF_ALIGNMENT_MIN 8 /* what a file may say: powers of two; ours is the upper bound */
#define GGUF_ALIGNMENT_MAX (1 << 20)
#define GGUF_ALIGNMENT_KEY "general.alignment"
#define GGUF_KEY_MAX 65535 /* bytes, by the specification */
#define GGUF_KEYS_MAX (1 << 16)
#define GGUF_TENSORS_MAX (1 << 18)
#define GGUF_DIMS 4
#define GGUF_NAME_MAX 63
#define GGUF_ORIGINALS "linnet.tensors"
#define GGUF_ORIGINALS_MAX (4 << 20) /* bytes of that text */
#define GGUF_SUBSTITUTE "linnet.tensor."
#define GGUF_INTERLEAVED UINT32_C(0x4c4e0000) /* "LN" before 16 bits of ggml's */

/* ggml's number of a type; false if it has none, or a number of none that we read. */
bool gguf_type_number(checkpoint_dtype dtype, uint32_t *number);
bool gguf_type_parse(uint32_t number, checkpoint_dtype *dtype);
/* "Q2_K", ... of every number that ggml gave out; NULL for others: for sentences about types that are not read */
const char *gguf_type_name(uint32_t number);

#endif
