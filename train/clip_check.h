/* How a pair does while it is trained: on pictures of the validation split, or on a list kept for it. */
#ifndef LINNET_TRAIN_CLIP_CHECK_H
#define LINNET_TRAIN_CLIP_CHECK_H

#include "data/pairs.h"
#include "data/scene.h"
#include "train/clip_eval.h"

typedef struct {
  size_t pictures, texts; /* scenes, or the list's pictures that can be read; their captions */
  retrieval_scores found;
  size_t singles, kinds; /* validation pictures alone, and the kinds to choose from; none of a list */
  double top1, top5;     /* shares of them, in percent, whose kind is the first answer, or among five */
} clip_check;

/* `scenes` scenes of validation pictures, each said in another way, and every validation picture of a known kind alone
 * against "a KIND" of all known kinds. */
status clip_check_scenes(ctx *c, const clip_model *m, const object_set *objects, int scenes, int max_objects,
                         clip_check *out);
/* Every picture of a list against every caption. */
status clip_check_list(ctx *c, const clip_model *m, const pairs *list, clip_check *out);

#endif
