/* Text for language models: documents as token ids, cut into rows.
 *
 * A file whose name ends in ".jsonl", or whose first line that is not blank is a JSON object, is JSON Lines: every line
 * that is not blank is an object with a string "text"; other members are not looked at. Any other file, of any bytes,
 * is one document. A folder is its train.jsonl; without one, all its files *.txt but validation.txt, in the order of
 * their names' bytes, each taken as a file is. Documents without a byte are left out. */
#ifndef LINNET_TRAIN_LM_DATA_H
#define LINNET_TRAIN_LM_DATA_H

#include "data/tokenizer.h"

/* What a folder has to validate with: its validation.jsonl beside train.jsonl, else its validation.txt. *file, which
 * the caller frees, is NULL if there is none, or `path` is no folder. */
status lm_validation_file(const char *path, char **file);

/* The vocabulary (World format) of the texts of a file or folder: `tokens` ids at most, id 0 included. The caller frees
 * *text. */
status lm_vocabulary(const char *path, int tokens, char **text);

/* Every document, followed by id 0. */
typedef struct {
  int32_t *ids;
  size_t n, capacity, documents;
  size_t bytes; /* of the documents' text */
} lm_text;
/* Fails if there is no text at all. Start with zeros; free in every case. */
status lm_text_read(lm_text *t, const char *path, const tokenizer *words);
void lm_text_free(lm_text *t);
/* Nats a token as bits a byte of text: the ends of documents are tokens too, but no bytes. */
double lm_bits_per_byte(const lm_text *t, double nats_per_token);
enum { LM_DIGEST_TEXT = 17 };
void lm_text_digest(const lm_text *t, char text[LM_DIGEST_TEXT]); /* tells texts apart */

/* Rows of `context` tokens to learn from. The text is a ring; each time around, it is cut at other places, and the rows
 * come in another order: all of it a pure function of (seed, number of the row). */
typedef struct {
  const lm_text *text;
  int context;
  uint64_t seed, round; /* `order` and `first` are those of this round */
  size_t first;         /* where the round's first row begins */
  uint32_t *order, n;   /* rows of a round */
} lm_rows;
status lm_rows_new(lm_rows *r, const lm_text *text, int context, uint64_t seed);
void lm_rows_free(lm_rows *r);
/* The rows number .. number+n-1: ids and what follows each of them, both [n,context]. */
void lm_rows_make(lm_rows *r, uint64_t number, int n, int32_t *ids, int32_t *next);

/* The rows of step `step`, each of which goes on where the same row of the step before ended: `n` streams that begin
 * evenly apart on the ring, from a place that the seed chooses. */
void lm_streams_make(const lm_text *text, uint64_t seed, uint64_t step, int n, int context, int32_t *ids,
                     int32_t *next);

/* Row `number` of the text in its order, for scoring: the first begins after an imagined end of a document. Returns how
 * many of its tokens there are, 0 beyond the end; what follows them is 0. */
int lm_text_row(const lm_text *t, int context, size_t number, int32_t *ids, int32_t *next);

#endif
