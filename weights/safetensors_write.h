/* Writing safetensors, streaming: declare everything, then hand over the data in any pieces; nothing is kept in memory
 * but the header. The same calls give the same bytes.
 *
 *   safetensors_writer *w = safetensors_create("model.safetensors");
 *   if (!w) return last_status();
 *   safetensors_metadata(w, "family", "rwkv6");
 *   safetensors_declare(w, "emb.weight", CHECKPOINT_BF16, 2, dims);
 *   safetensors_put_f32(w, "emb.weight", values, count);
 *   return safetensors_finish(w);
 *
 * Each call returns its status, but need not be checked: after a failure the later calls return it again, and
 * safetensors_finish() does. The file appears under its name only when everything is there (atomic_file.h). */
#ifndef LINNET_WEIGHTS_SAFETENSORS_WRITE_H
#define LINNET_WEIGHTS_SAFETENSORS_WRITE_H

#include "weights/checkpoint.h"

typedef struct safetensors_writer safetensors_writer;

/* NULL with a sentence if the file cannot be created. */
safetensors_writer *safetensors_create(const char *path);
/* Before any data. Keys and names keep the order of the calls, must differ, and must be UTF-8. */
status safetensors_metadata(safetensors_writer *w, const char *key, const char *value);
status safetensors_declare(safetensors_writer *w, const char *name, checkpoint_dtype dtype, int n_dims,
                           const int64_t *dim);
/* The next bytes of a tensor. Tensors come in the order of their declaration, each complete before the next; the name
 * is there so that a mistake is found. Empty tensors are skipped by themselves. */
status safetensors_put(safetensors_writer *w, const char *name, const void *data, size_t bytes);
/* The next n values of a tensor that was declared F32, F16 or BF16 (rounded to nearest even). */
status safetensors_put_f32(safetensors_writer *w, const char *name, const float *values, size_t n);
/* Syncs and renames. Frees w in every case; on failure nothing is left on the disk. */
status safetensors_finish(safetensors_writer *w);
void safetensors_abandon(safetensors_writer *w); /* gives up; NULL is fine */

#endif
