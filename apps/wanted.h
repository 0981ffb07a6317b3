/* What a search looks for: texts and pictures, more of this and less of that, as vectors. */
#ifndef LINNET_APPS_WANTED_H
#define LINNET_APPS_WANTED_H

#include "apps/args.h"
#include "fusion/clip_model.h"

typedef struct {
  char *const *texts;
  size_t n_texts;
  const char *file; /* NULL, or texts, one a line; - is standard input */
  arg_texts images, plus, minus, templates;
  double weight; /* of plus and minus */
} wanted_words;

typedef struct {
  char **label;  /* what is shown of each */
  float *vector; /* [n,width], of length 1 */
  size_t n;
} wanted;

/* Texts first, then pictures. Each is unit(unit(query) + weight * (sum of unit(plus) - sum of unit(minus))), and a
 * text's vector is the mean of its templates' as zero_shot has it. Texts that are cut are told. Free it in every case.
 */
status wanted_make(wanted *q, const wanted_words *words, const clip_model *m);
void wanted_free(wanted *q);

#endif
