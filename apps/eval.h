/* What `linnet eval` can score, one file each. */
#ifndef LINNET_APPS_EVAL_H
#define LINNET_APPS_EVAL_H

#include "apps/command.h"

int run_eval_caption(const verb *self, int argc, char **argv); /* argv[1..]: options, and the word "caption" */
int run_eval_lm(int argc, char **argv);                        /* argv[1] is "lm" */

#endif
