/* Writing a file of tensors, streaming: declare everything, then hand over the data in any pieces; nothing is kept in
 * memory but the header. The same calls give the same bytes.
 *
 *   writer *w = writer_create("model.gguf", NULL);
 *   if (!w) return last_status();
 *   writer_string(w, "general.architecture", "rwkv6");
 *   writer_declare(w, "emb.weight", CHECKPOINT_BF16, 2, dims);
 *   writer_put_f32(w, "emb.weight", values, count);
 *   return writer_finish(w);
 *
 * Each call returns its status, but need not be checked: after a failure the later calls return it again, and
 * writer_finish() does. The file appears under its name only when everything is there (atomic_file.h).
 *
 * Containers. GGUF version 3, data aligned to 32 bytes, holds every type. What its readers do not expect is put so that
 * they can still read the rest: a name beyond 63 bytes, a shape of no or more than 4 dimensions and types that GGUF
 * lacks (U8, BOOL, ...) go under a substitute, and metadata says what it stands for (gguf_format.h); checkpoint_open()
 * gives the original back. Safetensors holds no block types (STATUS_UNSUPPORTED); metadata that is no text is written
 * as JSON, with its type noted so that it returns as it was.
 *
 * A matrix for a GGUF file may be declared interleaved (interleaved.h): it is given as any other and stored so that it
 * need not be touched when a model is opened, but only this library can read it. The data of such a file are aligned to
 * 64 bytes whatever the metadata asks for.
 *
 * Every file carries two metadata of the writer's own. "linnet.checksum" is XXH3-128 of all its bytes, in 32
 * hexadecimal digits which count as '0' themselves; checkpoint_verify() tests it. "linnet.format" is "1": who reads it
 * may expect the conventions above, and the checksum; so no single bit can be changed unnoticed, not even one of the
 * key "linnet.checksum". Neither they nor the notes that the conventions need can be given by the caller. */
#ifndef LINNET_WEIGHTS_WRITER_H
#define LINNET_WEIGHTS_WRITER_H

#include "weights/checkpoint.h"

#define WRITER_CHECKSUM "linnet.checksum"
#define WRITER_FORMAT "linnet.format"

typedef struct writer writer;

/* `container` is "gguf" or "safetensors"; NULL takes it from the end of the name, STATUS_ARGUMENT if that is neither.
 * NULL with a sentence if the file cannot be created. */
writer *writer_create(const char *path, const char *container);
const char *writer_container(const writer *w); /* "gguf", "safetensors" */
/* Before any data. Keys keep the order of the calls and must differ; keys, and the text of writer_string(), must be
 * UTF-8. GGUF's own "general.alignment" (u32, a power of two) is obeyed in a GGUF file. */
status writer_metadata(writer *w, const char *key, const metadata_value *value);
status writer_string(writer *w, const char *key, const char *text);
/* Keys that only the writer writes (WRITER_CHECKSUM, ...). */
bool writer_owns(const char *key);
/* All of a file's metadata but those, and but the alignment of an interleaved file. */
status writer_copy_metadata(writer *w, const checkpoint *from);
/* Before any data. Names keep the order of the calls and must differ. A block type needs rows (last dimension) of whole
 * blocks. */
status writer_declare(writer *w, const char *name, checkpoint_dtype dtype, int n_dims, const int64_t *dim);
/* The same for a matrix that is to be stored interleaved. STATUS_ARGUMENT unless interleaved_fits() and it is a GGUF
 * file. */
status writer_declare_interleaved(writer *w, const char *name, checkpoint_dtype dtype, int n_dims, const int64_t *dim);
/* The next bytes of a tensor. Tensors come in the order of their declaration, each complete before the next; the name
 * is there so that a mistake is found. Empty tensors are skipped by themselves. */
status writer_put(writer *w, const char *name, const void *data, size_t bytes);
/* n values as a tensor of type F32, F16, BF16 or a block type (n whole blocks) holds them, for writer_put(). */
void writer_encode(checkpoint_dtype dtype, const float *values, size_t n, uint8_t *out);
/* The next n values of a tensor that was declared F32, F16, BF16 (rounded to nearest even) or a block type (n whole
 * blocks; quant_encode). STATUS_ARGUMENT for others. STATUS_UNSUPPORTED for a finite value that rounding makes
 * infinite, since no loader would take the file; for block types, which keep their scales as f16, for all of 65520 and
 * more, and for NaN. */
status writer_put_f32(writer *w, const char *name, const float *values, size_t n);
/* Syncs and renames. Frees w in every case; on failure nothing is left on the disk. */
status writer_finish(writer *w);
void writer_abandon(writer *w); /* gives up; NULL is fine */

#endif
