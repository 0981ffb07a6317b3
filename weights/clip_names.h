/* CLIP under its two sets of names: OpenAI's, which OpenCLIP shares (query, key and value in one matrix), and Hugging
 * Face's (apart). The blocks are the same in both towers and are declared here; what stands around them is in
 * vision/clip_vit.c and lm/clip_text.c. Spec rwkv-clip 11.1, 11.2. */
#ifndef LINNET_WEIGHTS_CLIP_NAMES_H
#define LINNET_WEIGHTS_CLIP_NAMES_H

#include "kernels/transformer.h"
#include "weights/params.h"

typedef enum { CLIP_OPENAI, CLIP_HUGGING_FACE, CLIP_NAMINGS } clip_naming;

/* What both towers have. */
typedef struct {
  clip_naming naming;
  int depth, width, hidden, heads;
  int embed;       /* of the space that both towers share; 0: no projection into it */
  bool quick_gelu; /* x sigmoid(1.702 x), which OpenAI's models have, and not the exact one; not in names or shapes */
} clip_tower_config;

/* `root` stands before the official names; `part` is what the tower's blocks have after it ("visual."). */

/* Depth and hidden width from names and shapes, heads of head_size channels (0 heads if the width is no multiple), and
 * the width that the matrix `proj`, if the file has it, projects to; the naming and the width are set already. */
status clip_tower_config_read(clip_tower_config *k, const checkpoint *file, const char *root, const char *part,
                              const char *proj, int head_size);
status clip_tower_config_check(const clip_tower_config *k);
/* Allocates the blocks and declares their parameters. */
status clip_blocks_declare(param_set *set, const clip_tower_config *k, const char *root, const char *part,
                           transformer_block **blocks);
transformer_opt clip_block_opt(const clip_tower_config *k, bool causal);

#endif
