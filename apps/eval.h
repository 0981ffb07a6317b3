/* What `linnet eval` can score, one file each. */
#ifndef LINNET_APPS_EVAL_H
#define LINNET_APPS_EVAL_H

#include <jansson.h>

#include "apps/command.h"
#include "train/classifier_task.h"

int run_eval_caption(const verb *self, int argc, char **argv); /* argv[1..]: options, and the word "caption" */
int run_eval_lm(int argc, char **argv);                        /* argv[1] is "lm" */
int run_eval_zeroshot(int argc, char **argv);                  /* argv[1] is the word, as in all that follow */
int run_eval_retrieval(int argc, char **argv);
int run_eval_linear_probe(int argc, char **argv);
int run_eval_classifier(int argc, char **argv);
/* The operand that is no word to begin with (NULL: there is none) is misuse. */
int eval_what(const verb *self, const char *word);

/* What the scores of a classification have in common. */
void print_class_scores(const char *name, size_t pictures, size_t classes, const class_scores *s);
json_t *class_scores_json(const char *name, size_t pictures, size_t skipped, size_t classes, const class_scores *s);
/* A labelled set as the tasks want it: at most `limit` (0 = all) of the pictures first .. first+n-1, evenly spaced. */
typedef struct {
  labelled *set;
  size_t first, n, of; /* n of `of` pictures */
  int32_t *targets;    /* [n] */
} labelled_part;
status labelled_part_new(labelled_part *p, labelled *set, size_t first, size_t n, int64_t limit);
void labelled_part_free(labelled_part *p);
image *labelled_part_open(void *part, size_t index); /* a picture_fn */
/* A task_options.step: counts on a `work`. */
status step_work(void *work, const char *error);

#endif
