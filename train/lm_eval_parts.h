/* What the evaluation tasks share: reading their files, tokens, and scoring with progress. */
#ifndef LINNET_TRAIN_LM_EVAL_PARTS_H
#define LINNET_TRAIN_LM_EVAL_PARTS_H

#include "data/json_lines.h"
#include "train/lm_eval.h"
#include "train/lm_score.h"

/* A file's bytes, or those of standard input. */
typedef struct {
  const char *name, *bytes;
  size_t n;
  bool mapped;
} eval_file;
status eval_file_open(eval_file *f, const char *path);
void eval_file_close(eval_file *f);

/* Tokens one after the other. Start with zeros, free `ids`. */
typedef struct {
  int32_t *ids;
  size_t n, capacity;
} token_list;
status token_list_push(token_list *t, const int32_t *ids, size_t n);
status token_list_encode(token_list *t, const tokenizer *words, const char *text, size_t n);

/* What there is to know of a text's white space. */
typedef struct {
  size_t words;   /* runs of white space + 1 */
  size_t trimmed; /* bytes before what is at its end */
} text_spaces;
text_spaces text_spaces_of(const char *text, size_t n);

/* A member of an object that is a string, not an empty one; NULL with a sentence otherwise. */
const json_t *text_member(const json_t *line, const char *name);

/* A task under way: the prefix's tokens, and rows to be scored in one go or several. */
typedef struct {
  const lm_eval_options *o;
  token_list prefix;
  ctx *c;
  lm_eval_progress p;
} eval_work;
status eval_begin(eval_work *w, const lm_eval_options *o);
void eval_end(eval_work *w);
status eval_score(eval_work *w, const lm_row *rows, size_t n);

#endif
