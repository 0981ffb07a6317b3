/* What `linnet train` can train, one file each. */
#ifndef LINNET_APPS_TRAIN_H
#define LINNET_APPS_TRAIN_H

#include "apps/command.h"

int run_train_caption(const verb *self, int argc, char **argv); /* argv[1..]: options, and the word "caption" */
int run_train_lm(int argc, char **argv);                        /* argv[1] is "lm" */

#endif
