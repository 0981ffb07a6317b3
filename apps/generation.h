/* What the verbs that make text share: their options, the model and the text that it goes on with, results. */
#ifndef LINNET_APPS_GENERATION_H
#define LINNET_APPS_GENERATION_H

#include <jansson.h>

#include "apps/args.h"
#include "lm/generate.h"

typedef struct {
  const char *model, *vocabulary, *states, *load, *save;
  arg_texts bias_texts;
  logit_bias bias[ARG_MOST_TEXTS];
  generate_options options;
  int threads;
  bool json, quiet;
} generation_args;

/* Their rows of the table of arguments; `g` is a generation_args. */
#define GENERATION_ARGS(g)                                                                                              \
  ARG_MODEL(&(g).model), {"vocab", 0, ARG_TEXT, &(g).vocabulary,                                                        \
                          0,       0, "FILE",   "its vocabulary (else the one that the model's file carries)"},         \
      {"states", 0, ARG_TEXT, &(g).states, 0, 0, "FILE", "begin from the trained states of `train lm --train states`"}, \
      {"n-predict", 'n', ARG_LONG, &(g).options.max_tokens, -1, 1e15, "N", "most tokens; -1 = no bound"},               \
      {"temp", 0,   ARG_FLOAT, &(g).options.draw.sample.temperature,                                                    \
       0,      100, "T",       "0 = the likeliest token each time; more = varied"},                                     \
      {"top-p", 0, ARG_FLOAT, &(g).options.draw.sample.top_p,                                                           \
       1e-6,    1, "P",       "draw from the likeliest tokens up to this share"},                                       \
      {"top-k", 0, ARG_INT, &(g).options.draw.sample.top_k, 0, INT32_MAX, "K", "draw from so many tokens; 0 = all"},    \
      {"min-p", 0, ARG_FLOAT, &(g).options.draw.sample.min_p,                                                           \
       0,       1, "P",       "draw from tokens of at least this share of the likeliest one's"},                        \
      {"presence-penalty",                                                                                              \
       0,                                                                                                               \
       ARG_FLOAT,                                                                                                       \
       &(g).options.draw.penalty.presence,                                                                              \
       -100,                                                                                                            \
       100,                                                                                                             \
       "X",                                                                                                             \
       "off the logit of what was said"},                                                                               \
      {"frequency-penalty", 0, ARG_FLOAT, &(g).options.draw.penalty.frequency, -100, 100, "X", "and for each time"},    \
      {"penalty-decay", 0, ARG_FLOAT, &(g).options.draw.penalty.decay, 0, 1, "X", "of those times, a token"},           \
      {"logit-bias",                                                                                                    \
       0,                                                                                                               \
       ARG_TEXTS,                                                                                                       \
       &(g).bias_texts,                                                                                                 \
       0,                                                                                                               \
       0,                                                                                                               \
       "ID+X",                                                                                                          \
       "or ID-X: onto the logit of a token, ID-inf forbids it; may be given several times"},                            \
      {"seed", 's', ARG_SEED, &(g).options.draw.seed, 0, 0, "S", "of the draws"},                                       \
      {"state-load", 0, ARG_TEXT, &(g).load, 0, 0, "FILE", "go on from a saved text"},                                  \
      {"state-save", 0, ARG_TEXT, &(g).save, 0, 0, "FILE", "save what was read and said, to go on from"},               \
      ARG_THREADS(&(g).threads), ARG_JSON(&(g).json), ARG_QUIET(&(g).quiet)

/* After parsing: checks, biases, the model's name. -1 to go on, else the exit code. */
int generation_args_check(const verb *self, generation_args *a);

/* Opens the model and a text on it, that of --state-load if it is given; does the work; saves the text for
 * --state-save, if the work did not fail. Returns the exit code, which says so if there was an interrupt. */
typedef status (*generation_work)(void *user, generation *g);
int generation_run(const generation_args *a, generation_work work, void *user);

/* Writes text of several lines: its line ends and tabs are meant, other controls are not. */
void said_put(const char *text, size_t n);

/* Text that is kept until it is whole. */
typedef struct {
  char *bytes;
  size_t n, room;
  bool failed; /* memory was short */
} said;
bool said_keep(said *s, const char *text, size_t n); /* false if memory is short */
void said_free(said *s);
/* "text", "prompt_tokens", "tokens" and "finish" */
json_t *said_json(const said *s, size_t tokens_read, const generate_result *r);

#endif
