/* A picture's class: RWKV-CLIP's image tower (spec rwkv-clip sections 2, 4 and 10.3) with a linear head on the mean of
 * its tokens, as Vision-RWKV and other Vision RWKVs are trained under supervision (spec vision-rwkv).
 *
 *   logits = mean over tokens (tower(pixels)) W^T + b
 *
 * A file carries the weights, `tower.` and `head.`, and in its metadata the side of its pictures, the scan and the
 * names of the classes. */
#ifndef LINNET_VISION_IMAGE_CLASSIFIER_H
#define LINNET_VISION_IMAGE_CLASSIFIER_H

#include "data/labelled.h"
#include "vision/rwkv_clip_image.h"

#define IMAGE_CLASSIFIER_SYSTEM "image-classifier"

typedef struct {
  image_tower_config tower;
  int image_size; /* pixels a side */
} image_classifier_config;

typedef struct {
  image_classifier_config config;
  label_names names;
  param_set params;
  image_tower tower;
  tensor *weight, *bias; /* [classes,width], [classes] */
} image_classifier;

/* Declares a model with the classes of these names, not yet allocated. Free also after a failure. */
status image_classifier_declare(image_classifier *m, const image_classifier_config *config, const label_names *names);
status image_classifier_declare_like(image_classifier *m, const checkpoint *file);
status image_classifier_load(image_classifier *m, const checkpoint *file);
image_classifier *image_classifier_open(const char *path); /* NULL with a sentence */
void image_classifier_free(image_classifier *m);           /* the contents */
void image_classifier_close(image_classifier *m);          /* what image_classifier_open gave */
/* Writes the model: what->metadata is added to its own. */
status image_classifier_save(const image_classifier *m, const char *path, const params_file *what);

/* A picture as the model wants it before it is normalised: on white, fitted into a square. rgb: side*side*3 bytes. */
status image_classifier_picture(const image_classifier *m, const image *im, uint8_t *rgb);
/* pixels f32 [B,S,S,3], normalised as image_tower_normalise has it -> logits [B,classes]. `drop`
 * as image_tower_tokens_drop has it; NULL for use. */
tensor *image_classifier_logits(ctx *c, const image_classifier *m, const tensor *pixels, const image_tower_drop *drop);

#endif
