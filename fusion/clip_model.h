/* A pair of towers ready for use: with its vocabulary and the way it wants its pictures. What verbs open.
 *
 *   clip_model *m = clip_model_open("clip.gguf", NULL);
 *   clip_model_pixels(m, picture, pixels);                      // [side,side,3]
 *   clip_encode_images(c, &m->pair, batch_of_pixels, images);   // unit rows [B,clip_width]
 *   clip_model_texts(c, m, texts, n, rows, NULL);               // unit rows [n,clip_width]
 *
 * It does not change once it is open, and threads may share it. */
#ifndef LINNET_FUSION_CLIP_MODEL_H
#define LINNET_FUSION_CLIP_MODEL_H

#include "fusion/clip_words.h"

/* The metadata under which a file says how its pair is best asked for a class (fusion/zeroshot.h): a template a line.
 */
#define CLIP_TEMPLATES "linnet.templates"

typedef struct {
  clip_pair pair;
  clip_words words; /* words.words is NULL if there is no vocabulary: then only texts are refused */
  int side;         /* of the pictures it is given, in pixels */
  char *templates;  /* of its file, CLIP_TEMPLATES; NULL if it names none */
} clip_model;

/* `vocabulary`: a file for tokenizer_open; NULL takes what the model's file carries. NULL with a sentence on failure.
 * Nothing of the file stays open. */
clip_model *clip_model_open(const char *path, const char *vocabulary);
/* The same from a file that is open. */
clip_model *clip_model_load(const checkpoint *file, const char *vocabulary);
void clip_model_close(clip_model *m); /* NULL is fine */

/* A picture of any mode and size -> pixels [side,side,3]: CLIP's transform, or, for a pair that was trained so
 * (clip_config.fit), the whole picture on a white square. */
status clip_model_pixels(const clip_model *m, const image *im, float *pixels);
/* The same of RGB pixels [side,side,3] that are already in place. */
void clip_model_normalise(const clip_model *m, const uint8_t *rgb, float *pixels);
/* Strings -> unit rows [n,clip_width], a few at a time; *n_cut (may be NULL): how many texts were too long and cut. */
status clip_model_texts(ctx *c, const clip_model *m, const char *const *texts, size_t n, float *rows, size_t *n_cut);

#endif
