/* Text that goes on: a prompt is read, tokens are drawn and read in turn. Memory does not depend on the length of
 * either (but for the prompt's own ids). Spec language-models section 7.
 *
 *   generation g;
 *   if (generation_new(&g, c, model)) ...
 *   generation_read(&g, ids, n, NULL, NULL);
 *   generate(&g, &options, &result);
 *
 * A generation can be saved and continued: in the other process, the same draws follow as would have here. */
#ifndef LINNET_LM_GENERATE_H
#define LINNET_LM_GENERATE_H

#include "lm/sample.h"
#include "lm/text.h"

typedef struct {
  const text_model *model;
  ctx *c;           /* the caller's */
  rwkv_state state; /* one row */
  float *logits;    /* [V] after the last token that was read; of no meaning before the first */
  int32_t pending;  /* a token that was drawn and not read yet (then the logits are those before it), or -1 */
  spoken said;      /* since the last prompt */
  float *scratch;   /* [3V] */
} generation;

/* A text of which nothing is read yet. Model and context must outlive it. */
status generation_new(generation *g, ctx *c, const text_model *m);
void generation_free(generation *g);

/* Called before each piece of a prompt; false stops. */
typedef bool (*generation_progress)(void *user, size_t done, size_t n);
/* Reads a prompt. What was said before it is not penalised any more, if n > 0. STATUS_INTERRUPTED if `progress` (may be
 * NULL) stops it: a part was read then. */
status generation_read(generation *g, const int32_t *ids, size_t n, generation_progress progress, void *user);

typedef struct {
  sample_options sample;
  penalty_options penalty;
  uint64_t seed; /* a draw depends on it and on the number of tokens before */
} generation_draw;
generation_draw generation_draw_defaults(void); /* the reference's */
/* Draws the next token, which may be TOKENIZER_END: that one is not taken into the text. A text that begins without a
 * prompt begins after TOKENIZER_END. */
status generation_next(generation *g, const generation_draw *draw, int32_t *id);

typedef struct {
  generation_draw draw;
  int64_t max_tokens;      /* below 0: no bound */
  const char *const *stop; /* texts at which to end, none of them empty; they are not given out */
  int n_stop;
  /* Receives the text as it is found, valid UTF-8 whatever the model says (utf8_stream), once a token: n may be 0.
   * False stops. */
  bool (*on_text)(void *user, const char *text, size_t n);
  void *user;
} generate_options;

/* Why a text ended. */
typedef enum { GENERATE_LENGTH, GENERATE_END, GENERATE_STOP, GENERATE_INTERRUPTED } generate_finish;
const char *generate_finish_name(generate_finish finish); /* "length", "end", "stop", "interrupted" */

typedef struct {
  int64_t tokens; /* drawn, without TOKENIZER_END */
  generate_finish finish;
} generate_result;

/* Draws until the text ends. A stop text is a part of what the generation has read all the same. */
status generate(generation *g, const generate_options *options, generate_result *result);

/* A generation as a file, which appears whole or not at all; loading refuses other models' and damaged ones by a
 * sentence, and then leaves g as it was. */
status generation_save(generation *g, const char *path);
status generation_load(generation *g, const char *path);

#endif
