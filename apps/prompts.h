/* linnet generate --prompts: many texts in one run. */
#ifndef LINNET_APPS_PROMPTS_H
#define LINNET_APPS_PROMPTS_H

#include "apps/generation.h"

typedef struct {
  const generation_args *args;
  const char *path; /* JSON Lines: strings, or objects with "prompt" and perhaps "seed"; "-" is standard input */
  int batch;        /* texts at a time */
} prompts_job;

/* Goes on with every prompt after what `start` holds, `user` being a prompts_job: a generation_work. Results are
 * written in the order of the prompts as soon as they stand, as JSON Lines. */
status prompts_run(void *user, generation *start);

#endif
