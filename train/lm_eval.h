/* Scores of text models as the field reports them (spec language-models section 8, goldfinch sections 7.1 and 7.3):
 * perplexity, LAMBADA, multiple choice, and loss against position.
 *
 * Every text begins after a prefix: token 0, which ends texts, or a line feed as some adapters have it. It is read,
 * never scored. Standard errors take documents and questions as drawn independently, but perplexity a token takes
 * tokens so. */
#ifndef LINNET_TRAIN_LM_EVAL_H
#define LINNET_TRAIN_LM_EVAL_H

#include "lm/text.h"
#include "train/ratio.h"

typedef struct {
  size_t done, all; /* tokens to be read */
} lm_eval_progress;

typedef struct {
  const text_model *model;
  const char *data;                                        /* a file's path, or "-" for standard input */
  bool newline;                                            /* the prefix is a line feed, and not token 0 */
  size_t limit;                                            /* documents or questions, the first ones; 0 = all */
  int batch;                                               /* tokens to compute at a time */
  bool (*progress)(void *user, const lm_eval_progress *p); /* false stops with STATUS_INTERRUPTED; NULL = none */
  void *user;
} lm_eval_options;

enum { LM_EVAL_BATCH = 2048 };

/* --- perplexity: a file is lines of JSON {"text": ...}, or one text (json_lines_are) ------------------------------ */

typedef enum {
  LM_DOCUMENTS, /* each by itself, however long: the rolling log-likelihood of lm-evaluation-harness */
  LM_STREAM,    /* all as one, with token 0 between them */
  LM_WINDOWS,   /* that cut into windows, each read without a prefix or a memory; tokens of their second halves are
                   scored, and a last part of a window is left out: as llama.cpp's llama-perplexity -c N */
} lm_reading;

typedef struct {
  size_t documents, bytes, words, tokens; /* words: runs of white space + 1, as the harness counts; tokens: scored */
  double nats;                            /* of all of them */
  estimate token;                         /* nats a token */
  estimate perplexity;                    /* a token: e to that */
  estimate byte, word;                    /* nats; NaN of windows, which score parts of texts */
  estimate bits_per_byte, byte_perplexity, word_perplexity;
} lm_perplexity_score;
/* context: tokens of a window, at least 3. */
status lm_perplexity(const lm_eval_options *o, lm_reading reading, size_t context, lm_perplexity_score *score);

/* --- loss against position ---------------------------------------------------------------------------------------- */

/* Positions [from, to) of a text's tokens, of which the first is 1. */
typedef struct {
  size_t from, to;
  ratio_sum sum; /* of tokens and nats, a unit a document */
} lm_positions;

typedef struct {
  size_t rows, tokens;
  lm_positions *bucket; /* [n_buckets]: [2^k, 2^(k+1)) */
  size_t n_buckets;
  lm_positions *curve; /* [n_points]: a window around each position, positions being about half a percent apart */
  size_t n_points;
} lm_position_score;

/* The first `positions` tokens of each document, or with `join` of all as one stream, cut after as many tokens and each
 * part read after the prefix. Windows of the curve are `window` positions wide, less near the start. Free `score`. */
status lm_position_loss(const lm_eval_options *o, bool join, size_t positions, size_t window, lm_position_score *score);
void lm_position_score_free(lm_position_score *score);

/* --- questions ---------------------------------------------------------------------------------------------------- */

typedef struct {
  size_t questions;
  estimate accuracy;   /* the likeliest token at every token of the word */
  estimate perplexity; /* a word */
} lm_lambada_score;
/* Lines {"text": ...}, each split at its last space; the last word, with that space, is predicted. White space after it
 * is left out. */
status lm_lambada(const lm_eval_options *o, lm_lambada_score *score);

typedef struct {
  size_t questions, choices;
  estimate accuracy; /* the choice of the largest log-likelihood is the answer */
  estimate by_bytes; /* that of the largest log-likelihood a byte of the choice: acc_norm */
} lm_choices_score;
/* Lines {"context": ..., "choices": [...], "answer": index}, or "query" and "gold". A space stands between context and
 * choice, unless one of them has white space there or `no_space`. Tokens: those of the context without white space at
 * its end, then what the whole has beyond as many. */
status lm_choices(const lm_eval_options *o, bool no_space, lm_choices_score *score);

#endif
