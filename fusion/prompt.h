/* Conversations about a picture as VisualRWKV reads them: text, token ids, and the labels that training scores. Spec
 * visualrwkv section 6.
 *
 *   User: {text}\n\nAssistant: {text}\n\n ...        an empty text, to be answered, ends at "Assistant:"
 *
 * "<image>" in a turn says that it speaks of the picture; where the picture then stands is the prompt's form. */
#ifndef LINNET_FUSION_PROMPT_H
#define LINNET_FUSION_PROMPT_H

#include "data/tokenizer.h"

#define PROMPT_IMAGE (-200)   /* the id that stands for a picture's tokens */
#define PROMPT_IGNORED (-100) /* the label of a token that is not scored */

typedef enum { PROMPT_HUMAN, PROMPT_MODEL } prompt_speaker;

typedef struct {
  prompt_speaker from;
  const char *text; /* UTF-8 */
} prompt_turn;

typedef enum {
  PROMPT_FIRST,    /* picture, then text */
  PROMPT_SANDWICH, /* all questions, picture, the turn's text: what released v6.0 models were tuned with */
  PROMPT_LAST,     /* text, then picture */
} prompt_form;

/* The whole conversation as one text, the picture as "<image>". The caller frees it; NULL only for memory. */
char *prompt_text(const prompt_turn *turns, size_t n, prompt_form form);

typedef struct {
  int32_t *ids, *labels;
  size_t n;
} prompt_tokens;

/* Ids, with PROMPT_IMAGE for the picture, and labels: what the model says and the end of its turn, else
 * PROMPT_IGNORED. `length`, if not 0, cuts or pads (id 0, ignored) to that many. Free with prompt_tokens_free, also
 * after a failure, which is only for memory. */
status prompt_encode(const tokenizer *words, const prompt_turn *turns, size_t n, prompt_form form, size_t length,
                     prompt_tokens *out);
void prompt_tokens_free(prompt_tokens *t);

#endif
