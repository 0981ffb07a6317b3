/* Copying a file of tensors into another container or other types of numbers, streaming: a piece of one tensor is in
 * memory at a time, whatever the size of the file.
 *
 * Which tensors a block type is for, by name and shape alone (spec ecosystem 3.2): matrices of two dimensions whose
 * name ends in "weight", with at least 32 rows, and no table of positions. Norms, biases, mixes, decays, bonuses and
 * low-rank matrices keep the type they have. Where rows are no multiple of a type's block the next type that fits is
 * taken: Q4_K gives way to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0, and those to F16.
 *
 * In GGUF files of the official layout the same matrices, if they are of a block type or of 16 bits and if it costs no
 * byte (interleaved_fits()), are written interleaved, so that a model is used where it lies in the file. */
#ifndef LINNET_WEIGHTS_CONVERT_H
#define LINNET_WEIGHTS_CONVERT_H

#include "weights/checkpoint.h"
#include "weights/llama_layout.h"

/* "f16" or "Q4_K", in any case; false if it is no type that tensors can be converted to. */
bool convert_type_parse(const char *word, checkpoint_dtype *type);
/* The block type is for this tensor. */
bool convert_quantizable(const checkpoint_tensor *t);
/* The type that takes the place of `wanted` for rows of this length. */
checkpoint_dtype convert_fall_back(checkpoint_dtype wanted, int64_t row);

/* The type of one tensor, by the first pattern that its name matches: * and ? as in file names. */
typedef struct {
  const char *pattern;
  bool keep; /* as it is, whatever `type` says */
  checkpoint_dtype type;
} convert_rule;

typedef struct {
  const char *container;             /* "gguf" or "safetensors"; NULL: by the end of the name */
  const llama_layout_options *llama; /* llama.cpp's layout (llama_layout.h; the types are chosen here), else NULL: the
                                        official one */
  const checkpoint_dtype *type; /* F32, F16, BF16: for all floating-point tensors; a block type: for the matrices that
                                   it is for; NULL: as they are, but of a block type that the container lacks F32 */
  const convert_rule *rules;    /* before `type` */
  size_t n_rules;
  bool plain; /* no matrix interleaved */
  /* Called between pieces; false stops with STATUS_INTERRUPTED. May be NULL. */
  bool (*progress)(void *data, uint64_t done, uint64_t total); /* bytes of the input's tensors */
  void *progress_data;
} convert_options;

typedef struct {
  size_t tensors, changed; /* of another type than before */
  size_t interleaved;
  size_t fell_back;                   /* for which the wanted block type did not fit */
  uint64_t bytes_before, bytes_after; /* of tensors */
} convert_report;

/* The type that a tensor will have. */
checkpoint_dtype convert_dtype(const convert_options *o, const char *container, const checkpoint_tensor *t);

/* Whether it will be interleaved. */
bool convert_interleaves(const convert_options *o, const char *container, const checkpoint_tensor *t);

/* Writes the file, whole or not at all. Same input, same options: same bytes. Of metadata everything is kept;
 * GGUF files get general.architecture, the word of identify.h, unless they have one. Values that a type cannot hold are
 * refused (writer.h). STATUS_ARGUMENT for a rule
 * that matches nothing or asks what a tensor cannot be. */
status convert(const checkpoint *in, const char *path, const convert_options *o, convert_report *report);

#endif
