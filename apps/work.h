/* Work on many things of one kind, one result after the other: progress, what failed, and what it took. */
#ifndef LINNET_APPS_WORK_H
#define LINNET_APPS_WORK_H

#include <jansson.h>

#include "apps/progress.h"
#include "kernels/base.h"

typedef struct {
  const char *what;             /* "pictures" */
  size_t all, done, failed;     /* failed ones are among those that are done */
  double started, user, system; /* seconds: the clock's, and what this process had taken of the processors */
  progress bar;
} work;

/* From here on Ctrl-C ends the work (interrupt.h). */
work work_begin(const char *what, size_t all, bool quiet);
/* One more is done; with `error`, a sentence, it failed, which is said on stderr. STATUS_INTERRUPTED after Ctrl-C. */
status work_step(work *w, const char *error);
/* Takes the bar away and says how many failed. */
void work_end(work *w);
/* {"pictures", "failed", "seconds", "pictures_per_second", "user_seconds", "system_seconds"} */
json_t *work_json(const work *w);

#endif
