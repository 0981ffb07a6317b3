/* A text model as a file holds it: a backbone with its weights, and the vocabulary that its tokens are of. Any
 * container and any name prefix; a captioner's file gives its text half. */
#ifndef LINNET_LM_TEXT_H
#define LINNET_LM_TEXT_H

#include "data/tokenizer.h"
#include "lm/rwkv.h"

#define TEXT_VOCABULARY "linnet.vocabulary" /* the metadata under which our own files carry theirs */

typedef struct {
  param_set params, start; /* the second is empty without text_model_start */
  rwkv lm;
  tokenizer *words; /* at most lm.config.vocab_size ids */
} text_model;

/* `vocabulary`: a file for tokenizer_open. NULL takes what the model's file carries: TEXT_VOCABULARY, or what
 * llama.cpp's files have. NULL with a sentence on failure. Weights that the file holds interleaved stay in its mapping
 * (params_open). The model does not change and may be shared by threads. */
text_model *text_model_open(const char *path, const char *vocabulary);
/* The same from a file that is open. */
text_model *text_model_load(const checkpoint *file, const char *vocabulary);
/* Sequences begin from the trained initial states (state tuning, blocks.i.att.time_state) of a file that has perhaps
 * nothing else, and that must be for a model of these sizes; any that the model had count no more. For a model that
 * nobody shares yet, once; after a failure it can only be closed. */
status text_model_start(text_model *m, const char *path);
void text_model_close(text_model *m); /* NULL is fine */
/* The vocabulary that a model's file carries, which the caller frees; *words is NULL if it carries none. */
status text_vocabulary(const checkpoint *file, tokenizer **words);

#endif
