/* Generated scenes: 1 to 4 object pictures on a background, with a caption, the objects' boxes and a mask.
 *
 * A scene is a pure function of (object set, options, seed, index): any scene can be made again at any time. */
#ifndef LINNET_DATA_SCENE_H
#define LINNET_DATA_SCENE_H

#include "data/image.h"
#include "data/objects.h"

#define SCENE_MAX_OBJECTS 4
#define SCENE_MAX_CAPTION 256
#define SCENE_MAX_REFERENCES 4

typedef struct {
  uint32_t kind, picture; /* indices into the object set */
  colour colour;          /* the word said in the caption for its group; COLOUR_NONE = not said */
  bool painted;           /* a black, grey or white picture that was recoloured to `colour` */
  float x0, y0, x1, y1;   /* box in pixels, occluded parts included, clipped to the picture */
} scene_object;

/* A group is what one noun phrase names: "two red apples". Groups stand in the order in which the caption names them;
 * the objects of a group are consecutive in `object`. */
typedef struct {
  uint32_t kind, count;
  colour colour;
} scene_group;

typedef struct {
  int size;       /* side in pixels */
  uint8_t *rgb;   /* size*size*3, owned by the caller of scene_make (scene_new allocates) */
  uint8_t *owner; /* size*size mask: 0 = background, i+1 = object i is the topmost there */
  int n_objects, n_groups;
  scene_object object[SCENE_MAX_OBJECTS];
  scene_group group[SCENE_MAX_OBJECTS];
  char caption[SCENE_MAX_CAPTION]; /* the caption to train on */
  int n_references;
  char reference[SCENE_MAX_REFERENCES][SCENE_MAX_CAPTION]; /* every equally true wording, the caption first */
  struct scene_scratch *scratch;                           /* working memory, so that scene_make allocates nothing */
} scene;

typedef struct {
  int size;            /* side of the picture in pixels, e.g. 64 */
  split pictures;      /* which split the pictures come from */
  int max_objects;     /* 1..SCENE_MAX_OBJECTS */
  bool held_out_kinds; /* true: only kinds that no training picture shows; false: only the other kinds */
  bool augment;        /* mirror, small rotations, crops of single objects, brightness */
  bool blank; /* true: objects, boxes and mask as always, but the picture is plain white (the blank baseline) */
} scene_options;

scene *scene_new(int size); /* NULL on failure */
void scene_free(scene *s);
/* Fails only if the options leave no picture to draw. */
status scene_make(const object_set *set, const scene_options *options, uint64_t seed, uint64_t index, scene *out);

/* One whole object picture as users show it: alone, filling a white square of options->size; caption as for a scene of
 * one. */
status scene_of_picture(const object_set *set, uint32_t picture, int size, scene *out);

/* Says it all again without colours, which is as true: caption and references change, the picture does not. */
void scene_forget_colours(const object_set *set, scene *s);

/* Shows the texts that a vocabulary of captions is made of, until one is refused: the words of every kind that is not
 * held out, and captions of scenes of training pictures, with a space before. */
typedef status (*scene_text_fn)(void *user, const char *text, size_t n);
status scene_texts(const object_set *set, int max_objects, uint64_t seed, scene_text_fn each, void *user);

/* "a red apple", "two dogs": writes the noun phrase of a group and returns its length. */
int scene_phrase(const object_set *set, const scene_group *group, char *out, size_t capacity);

#endif
