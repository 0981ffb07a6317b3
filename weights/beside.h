/* What the JSON files say that are published beside a model's: Hugging Face's config.json, OpenCLIP's
 * open_clip_config.json. For what names and shapes of tensors do not tell. */
#ifndef LINNET_WEIGHTS_BESIDE_H
#define LINNET_WEIGHTS_BESIDE_H

#include "weights/checkpoint.h"

/* The value under `keys` (names of nested objects, joined by dots) in the JSON file `name` beside the checkpoint's
 * file, or in the folder that was opened. false, without a sentence, if there is no such file or value, or it is of
 * another type. */
bool beside_text(const checkpoint *file, const char *name, const char *keys, char *text, size_t room);
bool beside_integer(const checkpoint *file, const char *name, const char *keys, int64_t *value);
bool beside_switch(const checkpoint *file, const char *name, const char *keys, bool *value);

#endif
