/* RWKV-CLIP's image tower: patches, position table, RWKV-6 blocks that read from both ends with q-shift per head.
 * Spec rwkv-clip sections 2 (names), 4 (maths), 10.3 (initial values).
 *
 *   x = patches + pos;  block 0: x = ln0(x);  per block: x += att(ln1(x)); x += ffn(ln2(x));  tokens = ln1(x)
 *
 * A file may hold a class token: it follows the patches, the shift leaves it where it is, and the recurrence reads it.
 * Our own towers may alternate the scan by layer (rows, then columns), which the published tower does not. */
#ifndef LINNET_VISION_RWKV_CLIP_IMAGE_H
#define LINNET_VISION_RWKV_CLIP_IMAGE_H

#include "kernels/rwkv6.h"
#include "weights/params.h"

typedef struct {
  int depth, width, hidden, head_size, patch;
  int grid_h, grid_w; /* of the stored position table */
  int rank_mix, rank_decay;
  bool class_token;    /* after the patches; it is then the picture's embedding */
  bool alternate_scan; /* odd layers read column by column; not in names or shapes: metadata */
} image_tower_config;

typedef struct {
  tensor *ln0_weight, *ln0_bias; /* block 0 only */
  tensor *ln1_weight, *ln1_bias, *ln2_weight, *ln2_bias;
  rwkv6_att att;
  rwkv6_ffn ffn;
} image_tower_block;

typedef struct {
  image_tower_config config;
  tensor *pos_embed, *patch_weight, *patch_bias, *ln1_weight, *ln1_bias;
  tensor *class_token; /* [1,1,D], or NULL */
  image_tower_block *block;
} image_tower;

status image_tower_config_check(const image_tower_config *config);
/* From names and shapes; a square position table is assumed. alternate_scan is left false. */
status image_tower_config_read(image_tower_config *config, const checkpoint *file, const char *prefix);
status image_tower_new(image_tower *m, const image_tower_config *config, const char *prefix, param_set *set);
void image_tower_free(image_tower *m);

/* n values of RGB pixels as CLIP's published preprocessing normalises them (spec rwkv-clip 8). */
void image_tower_normalise(const uint8_t *rgb, size_t n, float *pixels);
/* pixels f32 [B,H,W,3], normalised -> tokens [B,h*w,width], row-major, then the class token if there is one;
 * *h = ceil(H/patch) and *w receive the grid. */
tensor *image_tower_tokens(ctx *c, const image_tower *m, const tensor *pixels, int *h, int *w);
/* Drop path (G. Huang et al., "Deep networks with stochastic depth", 2016): what a block adds to a picture's tokens is
 * left out with a chance that rises evenly from 0 in the first block to `rate`, below 1, in the last one, and is made
 * larger by 1/(1 - chance) where it stays. What is left out is a function of seed and the picture's number alone. */
typedef struct {
  float rate;
  uint64_t seed, first; /* the batch's pictures are the numbers from `first` on */
} image_tower_drop;
/* image_tower_tokens for training; no drop path if `drop` is NULL. */
tensor *image_tower_tokens_drop(ctx *c, const image_tower *m, const tensor *pixels, const image_tower_drop *drop,
                                int *h, int *w);
/* The picture's embedding, not normalised: the mean of those tokens, or their class token. -> [B,width] */
tensor *image_tower_pool(ctx *c, const image_tower *m, tensor *tokens);

#endif
