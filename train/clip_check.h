/* How a pair does while it is trained: on pictures of the validation split, or on a list kept for it. */
#ifndef LINNET_TRAIN_CLIP_CHECK_H
#define LINNET_TRAIN_CLIP_CHECK_H

#include "data/pairs.h"
#include "train/object_task.h"

typedef struct {
  retrieval_report found;
  zero_shot_report kinds; /* of scenes' check; no pictures otherwise */
} clip_check;

/* At most `scenes` scenes of validation pictures, each said in another way, and every validation picture of a known
 * kind alone among all known kinds. */
status clip_check_scenes(const clip_model *m, const object_set *objects, int scenes, int max_objects, clip_check *out);
/* Every picture of a list against every caption. */
status clip_check_list(const clip_model *m, const pairs *list, clip_check *out);

#endif
