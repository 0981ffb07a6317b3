/* Classification without training: classes are told by words, and a picture is of the class whose words it lies next
 * to. A class is the mean of the directions of its prompts, which templates make of its name (spec rwkv-clip 9.1).
 *
 *   zero_shot z = {0};
 *   zero_shot_add_list(&z, "cat,dog");
 *   zero_shot_template(&z, "a photo of a {}");
 *   zero_shot_encode(&z, c, model);
 *   zero_shot_logits(images, M, z.classifier, z.n, z.width, scale, logits); */
#ifndef LINNET_FUSION_ZEROSHOT_H
#define LINNET_FUSION_ZEROSHOT_H

#include "fusion/clip_model.h"

/* --- vectors ------------------------------------------------------------------------------------------------------ */

/* One vector a class from its prompts' embeddings: prompts [n,D] of any length, prompt i about class_of[i] ->
 * classifier [K,D] of length 1, the direction of the mean of a class's unit prompts. STATUS_ARGUMENT if a class has no
 * prompt. */
status zero_shot_classifier(const float *prompts, size_t n, const int32_t *class_of, size_t K, size_t D,
                            float *classifier);
/* scale * cosine of pictures [M,D] of any length with the classes -> logits [M,K]. The protocols' scale is 100. */
status zero_shot_logits(const float *images, size_t M, const float *classifier, size_t K, size_t D, float scale,
                        float *logits);

/* --- words -------------------------------------------------------------------------------------------------------- */

enum { ZERO_SHOT_CLASSES = 1 << 20, ZERO_SHOT_TEMPLATES = 1 << 12 }; /* the most of each */

#define ZERO_SHOT_USUAL "a photo of a {}"

/* Text that is kept. */
typedef struct {
  char **item;
  size_t n, capacity;
} zero_shot_texts;

typedef struct {
  zero_shot_texts label;  /* the classes' names */
  zero_shot_texts prompt; /* those that classes came with: whole texts, which stand in for the templates */
  int32_t *prompt_of;     /* the class of each */
  size_t prompt_capacity;
  zero_shot_texts templates; /* without one, a class's prompt is its name */
  float *classifier;         /* [label.n, width], after zero_shot_encode */
  size_t width, n_cut;       /* n_cut: prompts that were too long for the text tower and lost their end */
} zero_shot;

/* Start with zeros; free in every case. Names are trimmed; an empty one is STATUS_ARGUMENT. */
void zero_shot_free(zero_shot *z);
/* A class; with n_prompts > 0 its own prompts. */
status zero_shot_add(zero_shot *z, const char *name, const char *const *prompts, size_t n_prompts);
/* Classes of "cat, dog". */
status zero_shot_add_list(zero_shot *z, const char *names);
/* A class a line of a file that is not blank: its name, or its name and its prompts with tabs between. */
status zero_shot_add_file(zero_shot *z, const char *path);
/* A text in which every "{}" stands for the class's name; it must have one. */
status zero_shot_template(zero_shot *z, const char *text);
/* The same, one a line of a file that is not blank. */
status zero_shot_template_file(zero_shot *z, const char *path);
/* If there is no template yet, those that the pair's file names, else ZERO_SHOT_USUAL. */
status zero_shot_usual(zero_shot *z, const clip_model *m);
/* Makes the classifier. There must be a class. */
status zero_shot_encode(zero_shot *z, ctx *c, const clip_model *m);

/* --- answers ------------------------------------------------------------------------------------------------------ */

typedef struct {
  size_t class;
  float cosine, probability;
} zero_shot_guess;

/* The k likeliest classes of a picture, best first (of equal ones the first), k at most label.n: probabilities are
 * softmax(scale * cosine) over all classes. row [width] of any length; cosines [label.n] is room. */
status zero_shot_best(const zero_shot *z, const float *row, float scale, float *cosines, size_t k,
                      zero_shot_guess *best);

#endif
