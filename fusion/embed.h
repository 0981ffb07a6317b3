/* Embeddings of many pictures and texts. Each thread decodes, resizes and encodes batches of its own, so that every
 * core is busy whichever of these costs most; what is found is handed over in order. */
#ifndef LINNET_FUSION_EMBED_H
#define LINNET_FUSION_EMBED_H

#include "fusion/clip_model.h"

typedef struct {
  int batch; /* pictures or texts at a time, a thread; 0 = a good number */
  bool raw;  /* as the tower gives them, not of length 1 */
} embed_options;

/* What became of one picture or text. */
typedef struct {
  size_t index;
  const float *row;  /* [clip_width]; NULL if there is none */
  const char *error; /* why: a sentence; else NULL */
  int width, height; /* of the picture, 0 if it could not be decoded */
  bool cut;          /* the text was too long, and its end was left out */
} embedded;

/* Receives them one after the other in the order of their indices, on any thread; another status than STATUS_OK ends
 * the work. What it is shown holds until it returns. */
typedef status (*embedded_fn)(void *user, const embedded *e);
/* A picture, decoded now, by any number of threads at a time; NULL with a sentence. */
typedef image *(*picture_fn)(void *user, size_t index);

/* n pictures; one that cannot be had is an embedding without a row, and does not end the work. Threads are as many as
 * OpenMP would use. Nothing is handed over if the pair lacks the tower: STATUS_UNSUPPORTED. */
status embed_pictures(const clip_model *m, picture_fn open, void *from, size_t n, const embed_options *options,
                      embedded_fn each, void *user);
status embed_texts(const clip_model *m, const char *const *texts, size_t n, const embed_options *options,
                   embedded_fn each, void *user);

#endif
