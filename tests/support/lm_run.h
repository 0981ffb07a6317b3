/* Small runs of text models' training in a scratch folder. Mistakes end the running cmocka test. */
#ifndef LINNET_TESTS_LM_RUN_H
#define LINNET_TESTS_LM_RUN_H

#include "data/tokenizer.h"
#include "train/lm_train.h"

extern const char lm_rhyme[]; /* three documents as lines of JSON, and one without a byte */

typedef struct {
  char *data, *train, *validation; /* the folder texts with train.jsonl, and where a validation text would be */
  char *out, *checkpoint;          /* a run's folder, and its files */
  char *model, *states, *factors;  /* ... for use */
} lm_place;
lm_place lm_place_new(void **state, const char *folder); /* writes the text, if none is there */
void lm_place_leave(lm_place *p);                        /* removes the run's files, not the text */
void lm_place_free(lm_place *p);                         /* and the text */

lm_train_options lm_small_options(const lm_place *p);
/* Runs from the beginning, if it is not to be resumed. */
void lm_train_to(const lm_train_options *o, status expected);
/* A run in two parts is the run in one, and so are its files for use. The folders a and b come and go. */
void lm_check_resumed(void **state, const lm_train_options *o);
/* A model that knows the text a little, as base.gguf in the scratch folder; free() the path. */
char *lm_base_model(void **state, const lm_place *p, int version);

/* What a run reported last. */
typedef struct {
  lm_progress p;
  double sum; /* of all steps' losses */
  lm_validation v;
  int validations;
} lm_witness;
void lm_keep_progress(void *witness, const lm_progress *p);
void lm_keep_validation(void *witness, const lm_validation *v);

bool same_file(const char *a, const char *b);
/* Puts other bytes, as many, where the file has some. */
void damage_file(const char *path, const char *old, const char *new);
/* The vocabulary of a file's texts. */
tokenizer *lm_words_of(const char *path, int tokens, char **text);

#endif
