/* Batches of pictures with what is said of them, for contrastive training: generated scenes, or lists (data/pairs.h).
 *
 * Item number i of a run is a pure function of the source, its options and i. A scene is said in one of several ways,
 * all true: with or without its colours, in any order that its caption allows, within a frame such as "a picture of
 * ..."; texts that are true of other pictures of the batch are told apart (`same`). An item of a list is a picture
 * varied as RWKV-CLIP does (data/image_vary.h) with one of its captions; each round has another order. */
#ifndef LINNET_TRAIN_CLIP_BATCH_H
#define LINNET_TRAIN_CLIP_BATCH_H

#include "data/pairs.h"
#include "data/scene.h"
#include "data/vocabulary.h"
#include "fusion/clip_model.h"

typedef struct {
  const object_set *objects; /* one of these */
  const pairs *list;
  uint64_t seed;
  int max_objects; /* in a scene */
  double singles;  /* share of the scenes that show one thing, besides those that happen to */
  uint32_t *order; /* of a list, in this round */
  uint64_t round;
} clip_source;
/* Fills in the order; free it. */
status clip_source_new(clip_source *s);
void clip_source_free(clip_source *s);
/* Counts the words of what the source may say. */
status clip_source_words(const clip_source *s, vocabulary_builder *v);

enum { CLIP_SAID = SCENE_MAX_CAPTION + 32 };
typedef struct {
  char full[SCENE_MAX_CAPTION], bare[SCENE_MAX_CAPTION]; /* a scene's caption, and without colours */
  char room[CLIP_SAID];
  const char *said;  /* the text: room, or a list's */
  const char *meant; /* the caption that it stands for: full, bare, or a list's */
} clip_item;

typedef struct {
  int batch;
  clip_item *item;   /* [batch] */
  const char **said; /* [batch] */
  float *pixels;     /* [batch,S,S,3] */
  int32_t *ids;      /* [batch,T] */
  bool *same;        /* [batch,batch]: text j is true of picture i */
  size_t broken;     /* pictures of a list that could not be read so far; the next one of the list stood in */
  char problem[512]; /* a sentence about the last of them */
} clip_batch;

status clip_batch_new(clip_batch *b, const clip_model *m, int batch);
void clip_batch_free(clip_batch *b);
/* The items first .. first+batch-1. A list of which nothing can be read is STATUS_IO. */
status clip_batch_make(clip_batch *b, const clip_model *m, clip_source *source, uint64_t first);

#endif
