/* RWKV-6 and RWKV-7 as llama.cpp keeps them in GGUF files (general.architecture "rwkv6", "rwkv7"), and back.
 *
 * llama.cpp's tensors are not plain copies of the official ones. The vectors by which a layer mixes in the previous
 * token lie in one tensor, low-rank matrices are transposed, vectors of shape [1,1,D] have one dimension, and a file
 * may hold the matrices that write to the residual stream divided by 2^(layer / rescale_every) (they are then to be
 * used with a stream that is halved after every rescale_every layers). llama_layout_rows.h has the table of it all;
 * facts: llama.cpp's converter and model loader, docs/llama.md. */
#ifndef LINNET_WEIGHTS_LLAMA_LAYOUT_H
#define LINNET_WEIGHTS_LLAMA_LAYOUT_H

#include "weights/checkpoint.h"
#include "weights/writer.h"

/* Shows the tensors of a GGUF file of these two architectures under their official names, with official shapes and
 * values; tensors that have no official name keep theirs. Does nothing to any other file, such as one whose tensors
 * have official names already. For the GGUF reader, when all metadata and tensors have been added and lie in memory.
 * Slices stay where they lie; what is transposed or divided is put right when it is read. STATUS_FORMAT if shapes or
 * metadata do not fit together, STATUS_UNSUPPORTED if a matrix to transpose is of a block type. */
status llama_layout_apply(checkpoint *c);

typedef struct {
  /* The type to write a matrix in; NULL keeps each one's own. Asked for what llama.cpp can hold in other types than
   * F32 only; an answer that does not fit (rows that are not whole blocks, a block type for a matrix that llama.cpp
   * wants unquantized, a type that GGUF lacks) becomes the tensor's own type, or F32. */
  checkpoint_dtype (*type)(void *self, const checkpoint_tensor *t);
  void *type_self;
  /* The bytes of the tokens 1 to tokens-1 of a World vocabulary; token 0 ends a text. NULL: the file gets the
   * vocabulary of the input's metadata if that has one for llama.cpp, else none: llama.cpp then runs on token ids. */
  const char *(*token)(const void *self, int32_t id, size_t *n);
  const void *token_self;
  uint32_t tokens;   /* ids; one without bytes is unused. Not more than the model has */
  int rescale_every; /* layers; 0: no matrix is divided, so that values stay as they are */
  /* Called after each piece with so many of the tensor's bytes; false stops with STATUS_INTERRUPTED. May be NULL. */
  bool (*progress)(void *self, const checkpoint_tensor *t, checkpoint_dtype written, size_t bytes);
  void *progress_self;
} llama_layout_options;

/* Writes a checkpoint with official names in this layout: metadata, then tensors, streaming. Metadata beyond what
 * llama.cpp needs (general.name, ...) may be written before. The caller finishes or abandons the writer. STATUS_FORMAT
 * if a tensor is missing or of another shape, STATUS_UNSUPPORTED if the model is neither RWKV-6 nor RWKV-7 or has
 * tensors that llama.cpp has no place for, else as the reader and the writer. */
status llama_layout_write(const checkpoint *in, writer *w, const llama_layout_options *options);

/* The vocabulary in a file's metadata (tokenizer.ggml.*, model "rwkv") as the text of a World vocabulary: lines `ID
 * b'BYTES' LENGTH` from id 1 on, LF after each; terminated, the caller frees *text. Unused tokens at the end are left
 * out. STATUS_FORMAT if there is none, or not of this kind, or it is damaged. */
status llama_layout_vocabulary(const checkpoint *c, char **text, size_t *n);

#endif
