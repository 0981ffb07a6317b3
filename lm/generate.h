/* Text that goes on: a prompt is read, tokens are drawn and read in turn. Memory does not depend on the length of
 * either. Spec language-models section 7.
 *
 *   generation g;
 *   if (generation_new(&g, c, model)) ...
 *   generation_read(&g, ids, n);
 *   generate(&g, &options, &result);
 *
 * Several texts can go on together, each as it would alone. A generation can be saved and continued: in the other
 * process, the same draws follow as would have here. */
#ifndef LINNET_LM_GENERATE_H
#define LINNET_LM_GENERATE_H

#include "lm/sample.h"
#include "lm/text.h"

/* Called now and then while a prompt is read; false stops. */
typedef bool (*generation_progress)(void *user, size_t done, size_t n);

typedef struct {
  const text_model *model;
  ctx *c;                      /* the caller's */
  rwkv_state state;            /* one row */
  float *logits;               /* [V] after the last token that was read; of no meaning before the first */
  int32_t waiting[RWKV_CHUNK]; /* the text's last tokens, which were not read yet: that is done when it must be */
  int n_waiting;
  spoken said;                  /* since the last prompt */
  float *scratch;               /* [3V] */
  generation_progress progress; /* the caller's to set; NULL = none */
  void *progress_user;
} generation;

/* A text of which nothing is read yet. Model and context must outlive it. */
status generation_new(generation *g, ctx *c, const text_model *m);
/* Another text that begins as `from` stands. */
status generation_fork(generation *to, const generation *from);
void generation_free(generation *g);

/* Reads a prompt, or one more part of it; up to RWKV_CHUNK tokens wait. What was said before it is not penalised any
 * more, if n > 0. STATUS_INTERRUPTED if g->progress stops it: a part was read then. */
status generation_read(generation *g, const int32_t *ids, size_t n);
/* The same of a text, of *tokens tokens. */
status generation_read_text(generation *g, const char *text, size_t n, size_t *tokens);
/* Nothing waits after it: state and logits are those of the whole text. */
status generation_settle(generation *g);
bool generation_fresh(const generation *g); /* nothing is in it yet */

typedef struct {
  sample_options sample;
  penalty_options penalty;
  const logit_bias *bias; /* [n_bias], the caller's; applied first */
  int n_bias;
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
  size_t beyond; /* bytes that the last token has after the stop text */
} generate_result;

/* Draws until the text ends. A stop text is a part of the generation all the same: its last token is the last that
 * waits. */
status generate(generation *g, const generate_options *options, generate_result *result);

/* --- several texts ------------------------------------------------------------------------------------------------ */

typedef struct {
  generation *g; /* of the same model and context as the others; its prompt was given to generation_read */
  generate_options options;
  generate_result result;
} generate_text;

typedef struct {
  /* There is a place: sets *text to the next one, or to NULL if there is none now. Called again after every token for
   * every free place; a failure ends all. */
  status (*next)(void *user, generate_text **text);
  /* A text has its result and is the caller's again; may be NULL. */
  void (*ended)(void *user, generate_text *text);
  void *user;
} generate_source;

/* Goes on with up to `most` texts at a time, with a token of each in one pass over the weights; a text that ends leaves
 * its place to the next. Each becomes what it would become alone: draws depend on its own seed and length, and products
 * of several rows differ from those of one by rounding only. Returns when there is no text left. After a failure, texts
 * that were not handed back are the caller's too, and somewhere on their way. */
status generate_many(int most, const generate_source *source);

/* --- files -------------------------------------------------------------------------------------------------------- */

/* A generation as a file, which appears whole or not at all; loading refuses other models' and damaged ones by a
 * sentence, and then leaves g as it was. */
status generation_save(generation *g, const char *path);
status generation_load(generation *g, const char *path);

#endif
