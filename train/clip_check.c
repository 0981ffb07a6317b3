#include "train/clip_check.h"

#include <stdlib.h>

static const task_options silent = {0};

static status check_retrieval(const clip_model *m, const object_set *objects, int scenes, int max_objects,
                              retrieval_report *found) {
  const uint64_t seed = 0x76616c6964; /* not a seed that anybody trains with, though the pictures differ anyway */
  const scene_options drawn = {.size = m->side, .pictures = SPLIT_VALIDATION, .max_objects = max_objects};
  scenes_task t;
  status s = scenes_task_new(&t, objects, &drawn, (size_t)scenes, seed);
  if (!s)
    s = retrieval_task(m, &(picture_source){scenes_task_open, &t, t.n}, (const char *const *)t.caption, t.image_of, t.n,
                       "", &silent, found);
  scenes_task_free(&t);
  return s;
}

static status check_kinds(const clip_model *m, const object_set *objects, zero_shot_report *found) {
  kinds_task t;
  zero_shot z = {0};
  status s = kinds_task_new(&t, objects, KINDS_VALIDATION, object_kinds(objects), m->side);
  if (!s) s = kinds_task_classes(&t, &z);
  if (!s) s = zero_shot_task(m, &z, &(picture_source){kinds_task_open, &t, t.n}, t.target, &silent, found);
  zero_shot_free(&z);
  kinds_task_free(&t);
  return s;
}

status clip_check_scenes(const clip_model *m, const object_set *objects, int scenes, int max_objects, clip_check *out) {
  *out = (clip_check){0};
  const status s = check_retrieval(m, objects, scenes, max_objects, &out->found);
  return s ? s : check_kinds(m, objects, &out->kinds);
}

static image *open_pair(void *list, size_t index) { return pairs_picture(list, index); }

status clip_check_list(const clip_model *m, const pairs *list, clip_check *out) {
  const char **texts = mem_alloc(list->n_captions, sizeof *texts);
  int32_t *image_of = mem_alloc(list->n_captions, sizeof *image_of);
  *out = (clip_check){0};
  status s = STATUS_MEMORY;
  if (texts && image_of) {
    const picture_source pictures = {open_pair, (void *)(uintptr_t)list, list->n};
    s = retrieval_task(m, &pictures, texts, image_of, pairs_captions(list, texts, image_of), "", &silent, &out->found);
  }
  free(texts);
  free(image_of);
  return s;
}
