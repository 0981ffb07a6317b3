/* Captions of pictures by a VisualRWKV model: greedy, sampled, or by beam search (spec visualrwkv 4.7,
 * language-models 7). */
#ifndef LINNET_FUSION_CAPTION_H
#define LINNET_FUSION_CAPTION_H

#include "fusion/visualrwkv.h"
#include "lm/sample.h"

typedef struct {
  int count, beam, max_tokens; /* all >= 1 */
  sample_options sample;
  uint64_t seed; /* caption j of picture i draws from stream i * count + j */
  /* For one picture, one caption, no beam; NULL = none. */
  bool (*on_token)(void *user, const char *text, size_t n);
  void *user;
} caption_options;

typedef struct {
  char *text; /* valid UTF-8 up to the first blank line, trimmed; damaged bytes are U+FFFD */
  double log_probability;
  int tokens; /* the stop token included */
} caption;

/* Whether answers are searched with a beam (of `beam` or `count` hypotheses, whichever is more): also for several
 * captions without a temperature, which would otherwise all be the same. */
bool caption_searches(const caption_options *options);

/* Captions B pictures: pixels f32 [B,S,S,3], not in the context's arena. out: B*count captions, those of a picture
 * together and best first; free the texts with captions_free. Uses the context's arena and resets it. */
status caption_pictures(ctx *c, const visualrwkv *m, const tensor *pixels, const caption_options *options,
                        caption *out);
void captions_free(caption *list, size_t n);

#endif
