/* A pair of towers that put pictures and texts into one space: RWKV-CLIP, or CLIP's transformers as OpenAI, OpenCLIP
 * and Hugging Face publish them. Spec rwkv-clip sections 2, 6 and 11. A file may hold one tower alone.
 *
 *   clip_pair *m = clip_open("model.pt", CLIP_GELU_BY_FILE);
 *   clip_encode_images(c, m, pixels, images);        // unit rows [B,clip_width(m)]
 *   clip_encode_texts(c, m, ids, n, T, texts);
 *   cosine = sum of images * texts;  logit = clip_scale(m) * cosine */
#ifndef LINNET_FUSION_CLIP_H
#define LINNET_FUSION_CLIP_H

#include "data/image.h"
#include "lm/clip_text.h"
#include "lm/rwkv_clip_text.h"
#include "vision/clip_vit.h"
#include "vision/rwkv_clip_image.h"

typedef struct {
  bool rwkv; /* which pair: the first two configs are in use, or the last two */
  bool has_image, has_text, has_scale;
  image_tower_config rwkv_image;
  rwkv_clip_text_config rwkv_text;
  clip_vit_config image;
  clip_text_config text;
  int context; /* of RWKV-CLIP, whose names and shapes do not tell: tokens of a text; 0 is the published 77 */
  bool fit;    /* pictures are put whole on a white square (image_fit_square), not cropped: our own pairs */
} clip_config;

typedef struct {
  clip_config config;
  param_set params;
  image_tower rwkv_image;
  rwkv_clip_text rwkv_text;
  clip_vit image;
  clip_text text;
  tensor *logit_scale; /* one element; NULL if the file has none */
} clip_pair;

/* The activation of transformers, which names and shapes do not tell. By file: what our own metadata, Hugging Face's
 * config.json or OpenCLIP's open_clip_config.json beside it say; else the quick one for OpenAI's own files (TorchScript
 * archives, those with OpenAI's integers or 16-bit patches) and in Hugging Face's naming, the exact one otherwise. */
typedef enum { CLIP_GELU_BY_FILE, CLIP_GELU_QUICK, CLIP_GELU_EXACT } clip_gelu;

/* --- files -------------------------------------------------------------------------------------------------------- */

status clip_config_read(clip_config *k, const checkpoint *file, clip_gelu gelu);
/* Declares the parameters under their official names; for training from initial values. */
status clip_declare(clip_pair *m, const clip_config *k);
/* Declares, allocates and reads. */
status clip_load(clip_pair *m, const checkpoint *file, clip_gelu gelu, params_purpose purpose);
clip_pair *clip_open(const char *path, clip_gelu gelu); /* for use; NULL with a sentence */
void clip_free(clip_pair *m);                           /* leaves nothing allocated */
void clip_close(clip_pair *m);                          /* of clip_open; NULL is fine */
/* Writes the towers with what their names do not tell, beside what is asked for. */
status clip_save(const clip_pair *m, const char *path, const params_file *what);

/* --- sizes -------------------------------------------------------------------------------------------------------- */

int clip_width(const clip_pair *m);       /* of embeddings */
int clip_image_side(const clip_pair *m);  /* of the pictures that the tower was trained on: its grid's larger side */
int clip_text_length(const clip_pair *m); /* most tokens of a text */
int clip_vocabulary(const clip_pair *m);  /* ids are below it */
float clip_scale(const clip_pair *m);     /* what cosines are multiplied with: exp(logit_scale); 1 if there is none */

/* --- embeddings --------------------------------------------------------------------------------------------------- */

/* The published evaluation transform: pixels [side,side,3]. */
status clip_pixels(const image *im, int side, float *pixels);

/* As the towers give them, not normalised; for training. The pair must have the tower. pixels f32 [B,H,W,3],
 * normalised; ids i32 [B,T], checked (clip_check_ids). -> [B,clip_width] */
tensor *clip_image_features(ctx *c, const clip_pair *m, const tensor *pixels);
tensor *clip_text_features(ctx *c, const clip_pair *m, const tensor *ids);

/* STATUS_ARGUMENT for a text that is too long, or an id that is not in the vocabulary. */
status clip_check_ids(const clip_pair *m, const int32_t *ids, int64_t B, int64_t T);
/* Unit rows [B,clip_width]. RWKV-CLIP wants texts that are filled up to the context with id 0, since it pools all of
 * it; of a CLIP text nothing after the end token is read. They use the context's arena and leave it as it was. A pair
 * that lacks the tower is STATUS_UNSUPPORTED. */
status clip_encode_images(ctx *c, const clip_pair *m, const tensor *pixels, float *rows);
status clip_encode_texts(ctx *c, const clip_pair *m, const int32_t *ids, int64_t B, int64_t T, float *rows);

#endif
