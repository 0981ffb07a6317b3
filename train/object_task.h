/* The project's own test of a pair of towers: pictures that training never showed, among kinds, and scenes among
 * captions (docs/data.md has the split). */
#ifndef LINNET_TRAIN_OBJECT_TASK_H
#define LINNET_TRAIN_OBJECT_TASK_H

#include "data/scene.h"
#include "train/clip_tasks.h"

/* --- kinds -------------------------------------------------------------------------------------------------------- */

typedef enum {
  KINDS_UNSEEN,     /* unseen pictures (test split) of known kinds */
  KINDS_HELD_OUT,   /* pictures of kinds that no training picture shows */
  KINDS_VALIDATION, /* as KINDS_UNSEEN with the validation split: for choices during development */
  KINDS_SETS
} kinds_set;
extern const char *const kinds_set_name[KINDS_SETS]; /* "unseen", "kinds", "validation" */

/* Pictures one at a time, and the kinds that they are to be told among. All kinds have an order that depends on their
 * names alone (a hash). The labels are the first `labels` kinds that the set has pictures of; if those are fewer, the
 * first other kinds that training knows fill up the number. Pictures of kinds that are no label are left out. */
typedef struct {
  const object_set *objects;
  int side;       /* of the pictures it opens */
  uint32_t *kind; /* [labels] */
  size_t labels;
  uint32_t *picture; /* [n] indices into the set */
  int32_t *target;   /* [n] which label */
  size_t n;
} kinds_task;

/* Free also after a failure. */
status kinds_task_new(kinds_task *t, const object_set *objects, kinds_set which, size_t labels, int side);
void kinds_task_free(kinds_task *t);
image *kinds_task_open(void *task, size_t index); /* a picture_fn: whole, on a white square */
/* The labels as classes. Without templates (z has none yet) a kind's prompts are "an apple" and, with every colour, "a
 * red apple"; else templates are filled with its name. */
status kinds_task_classes(const kinds_task *t, zero_shot *z);

/* --- scenes ------------------------------------------------------------------------------------------------------- */

/* New scenes. No wording that is true of one scene is true of another. */
typedef struct {
  const object_set *objects;
  scene_options drawn;
  uint64_t seed, *index; /* of each scene in the stream that the seed begins */
  char **caption;
  int32_t *image_of; /* caption i belongs to picture i */
  size_t n;
} scenes_task;

/* n scenes, or fewer if the objects have no more to say; at least one. Free also after a failure. */
status scenes_task_new(scenes_task *t, const object_set *objects, const scene_options *drawn, size_t n, uint64_t seed);
void scenes_task_free(scenes_task *t);
image *scenes_task_open(void *task, size_t index);

#endif
