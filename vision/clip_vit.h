/* CLIP's image tower: a vision transformer, in the naming of OpenAI or of Hugging Face. Spec rwkv-clip 11.
 *
 *   x = [class; patches] + positions;  x = ln_pre(x);  blocks;  feature = ln_post(x's class token) proj
 *
 * The class token is the first. For a picture of another size than the tower was trained on the table of positions is
 * resized, but for the class token's row. */
#ifndef LINNET_VISION_CLIP_VIT_H
#define LINNET_VISION_CLIP_VIT_H

#include "weights/clip_names.h"

typedef struct {
  clip_tower_config tower;
  int patch, grid_h, grid_w; /* grid: of the stored positions */
} clip_vit_config;

typedef struct {
  clip_vit_config config;
  tensor *patch_weight;            /* no bias */
  tensor *class_token, *positions; /* [D], [1+h*w,D] */
  tensor *ln_pre_weight, *ln_pre_bias, *ln_post_weight, *ln_post_bias;
  tensor *proj; /* [embed,D], or NULL */
  transformer_block *block;
} clip_vit;

/* From names and shapes; a square grid is assumed, 64 channels a head (for the widths of OpenCLIP's large towers
 * theirs), and the exact activation. `root` stands before the official names. */
status clip_vit_config_read(clip_vit_config *config, const checkpoint *file, const char *root, clip_naming naming);
status clip_vit_new(clip_vit *m, const clip_vit_config *config, const char *root, param_set *set);
void clip_vit_free(clip_vit *m);

/* pixels f32 [B,H,W,3], normalised -> tokens [B,1+h*w,D] after the first `blocks` blocks (all: config.tower.depth; a
 * captioner may take one less), the class token first. */
tensor *clip_vit_tokens(ctx *c, const clip_vit *m, const tensor *pixels, int blocks);
/* The picture's embedding, not normalised, from the tokens after all blocks: [B,embed], or [B,D] without a projection.
 */
tensor *clip_vit_pool(ctx *c, const clip_vit *m, tensor *tokens);

#endif
