/* Finding and opening the model that a verb computes with. */
#ifndef LINNET_APPS_MODEL_H
#define LINNET_APPS_MODEL_H

#include "fusion/clip_model.h"
#include "fusion/visualrwkv.h"

/* The models that ship. */
#define SHIPPED_CAPTIONER "captioner.gguf"
#define SHIPPED_TEXT "text.gguf"
#define SHIPPED_PAIR "clip.gguf"

/* Where a model is: at `given`; if that is NULL at $LINNET_MODEL, else where the one that ships was installed, else in
 * the source tree. NULL with a sentence; valid until the next call. */
const char *model_path(const char *given, const char *shipped);
/* The captioner that is there. NULL with a sentence. */
visualrwkv *model_open(const char *given);
/* The same of a pair of towers. `vocabulary` as in clip_model_open. */
clip_model *pair_open(const char *given, const char *vocabulary);

/* A picture from a file, or from standard input if the path is "-". NULL with a sentence. */
image *picture_open(const char *path);
/* Its encoded bytes and the name that sentences give it; free() them. NULL with a sentence. */
uint8_t *picture_bytes(const char *path, const char **name, size_t *n);

#endif
