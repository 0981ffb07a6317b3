/* The image half of VisualRWKV v5 to v6.01 as published: CLIP's tower, whose last tokens a projector takes to the width
 * of the language model. Spec visualrwkv sections 3, 4.1 to 4.3, 5. */
#ifndef LINNET_FUSION_VISUALRWKV_CLIP_H
#define LINNET_FUSION_VISUALRWKV_CLIP_H

#include "data/image.h"
#include "vision/clip_vit.h"

typedef struct {
  clip_vit_config tower;
  int width;  /* of the language model */
  bool twice; /* v6.01: the projector sees each token beside the one that is as far from the end */
} visualrwkv_clip_config;

typedef struct {
  visualrwkv_clip_config config;
  clip_vit tower;
  tensor *proj; /* [width, D or 2 D] */
} visualrwkv_clip;

/* From names and shapes; `root` stands before "vit." and "proj.". The activation is the quick one. */
status visualrwkv_clip_config_read(visualrwkv_clip_config *k, const checkpoint *file, const char *root);
status visualrwkv_clip_new(visualrwkv_clip *m, const visualrwkv_clip_config *k, const char *root, param_set *set);
void visualrwkv_clip_free(visualrwkv_clip *m);

/* The picture as the published preprocessing cuts it: RGB, the shorter side scaled to `side`, the middle; NULL with a
 * sentence. image_clip_transform differs in the rounding of odd margins. */
image *visualrwkv_clip_square(const image *im, int side);
/* pixels f32 [B,S,S,3], normalised -> tokens for the language model [B,n,width]: the patches row by row, then the class
 * token. grid -1 (all releases): every patch; 0: none; g: means of squares of side/g patches, rounded down. */
tensor *visualrwkv_clip_tokens(ctx *c, const visualrwkv_clip *m, const tensor *pixels, int grid);

#endif
