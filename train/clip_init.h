/* An image tower to begin with: that of a pair, or of a captioner whose tower is RWKV-CLIP's. */
#ifndef LINNET_TRAIN_CLIP_INIT_H
#define LINNET_TRAIN_CLIP_INIT_H

#include "fusion/clip.h"
#include "fusion/visualrwkv.h"

typedef struct {
  visualrwkv *captioner; /* one of these */
  clip_pair *pair;
  const image_tower *tower; /* its */
} clip_image_init;

/* Start with zeros; free in every case. */
status clip_image_init_open(clip_image_init *from, const char *path);
void clip_image_init_free(clip_image_init *from);
/* Copies the tower into a pair that was declared with its config. A captioner's patches are for other pixels: they are
 * converted, so that the tower gives the same tokens for the same picture. */
status clip_image_init_copy(const clip_image_init *from, clip_pair *to);

#endif
