/* What `linnet train` can train, one file each. */
#ifndef LINNET_APPS_TRAIN_H
#define LINNET_APPS_TRAIN_H

#include "apps/args.h"
#include "train/run.h"

int run_train_caption(const verb *self, int argc, char **argv); /* argv[1..]: options, and the word "caption" */
int run_train_lm(int argc, char **argv);                        /* argv[1] is "lm" */
int run_train_mqar(int argc, char **argv);                      /* argv[1] is "mqar" */
int run_train_clip(int argc, char **argv);                      /* argv[1] is "clip" */
int run_train_classifier(int argc, char **argv);                /* argv[1] is "classifier" */
/* Names the mistake of a word that is not "caption", or of none (NULL). */
int train_what(const verb *self, const char *word);

/* The options of a struct with these members, as run_settings is one. */
#define ARG_OPTIMIZER(o)                                                                                               \
  {"rate", 0, ARG_REAL, &(o)->rate, 0, 10, "R", "learning rate after the warm-up"},                                    \
      {"rate-final", 0, ARG_REAL, &(o)->rate_final, 0, 10, "R", "learning rate at the end of the cosine"},             \
      {"warmup", 0, ARG_LONG, &(o)->warmup, 0, 1e12, "N", "steps of rising rate"},                                     \
      {"weight-decay", 0, ARG_REAL, &(o)->weight_decay, 0, 10, "W", "of the weights that decay"},                      \
      {"clip", 0, ARG_REAL, &(o)->clip, 0, 1e6, "C", "longest gradient"},                                              \
      {"beta1", 0, ARG_REAL, &(o)->beta1, 0, 0.9999999, "B", "of AdamW"}, {                                            \
    "beta2", 0, ARG_REAL, &(o)->beta2, 0, 0.9999999, "B", "of AdamW"                                                   \
  }
/* The run_settings; `what` a batch has: "scenes". */
#define ARG_RUN(r, what)                                                                                               \
  {"out", 'o', ARG_TEXT, &(r)->out, 0, 0, "FOLDER", "for the run's files; made if absent"},                            \
      {"resume", 'r', ARG_SWITCH, &(r)->resume, 0, 0, NULL, "go on from the checkpoint in --out"},                     \
      {"steps", 0, ARG_LONG, &(r)->steps, 1, 1e12, "N", "optimizer steps in all"},                                     \
      {"stop-after", 0, ARG_LONG, &(r)->stop_after, 0, 1e12, "N", "end early at this step; 0 = never"},                \
      {"batch", 'b', ARG_INT, &(r)->batch, 1, 4096, "N", what " a step"}, ARG_OPTIMIZER(r),                            \
      {"seed", 's', ARG_SEED, &(r)->seed, 0, 0, "S", "of initial weights and the order of " what}, {                   \
    "save-every", 0, ARG_LONG, &(r)->save_every, 1, 1e12, "N", "steps between checkpoints"                             \
  }
/* Whether settings and operands (argv[at], the word, and none after it) can be a run of `word`; otherwise the mistake
 * was named on stderr. `init` may be NULL. */
bool run_is_sound(const verb *self, const char *word, const run_settings *r, const char *init, int argc, char **argv,
                  int at);

#endif
