#include "apps/work.h"

#include <stdio.h>
#include <sys/resource.h>

#include "apps/interrupt.h"
#include "apps/output.h"

static double seconds_of(struct timeval t) { return (double)t.tv_sec + 1e-6 * (double)t.tv_usec; }

work work_begin(const char *what, size_t all, bool quiet) {
  struct rusage used;
  watch_interrupts();
  getrusage(RUSAGE_SELF, &used);
  return (work){.what = what,
                .all = all,
                .started = clock_seconds(),
                .user = seconds_of(used.ru_utime),
                .system = seconds_of(used.ru_stime),
                .bar = progress_begin(quiet)};
}

status work_step(work *w, const char *error) {
  char left[DURATION_TEXT];
  w->done++;
  if (error) {
    progress_end(&w->bar); /* or the sentence would stand behind it */
    complain("%s", error);
    w->failed++;
  }
  const double done = (double)w->done, rate = done / (clock_seconds() - w->started);
  progress_show(&w->bar, done / (double)w->all, "%zu of %zu %s  %.1f/s  %s left", w->done, w->all, w->what, rate,
                duration_text(((double)w->all - done) / rate, left));
  return interrupted ? fail(STATUS_INTERRUPTED, "interrupted after %zu of %zu %s", w->done, w->all, w->what)
                     : STATUS_OK;
}

void work_end(work *w) {
  progress_end(&w->bar);
  if (w->failed && w->all > 1) complain("%zu of %zu %s failed", w->failed, w->done, w->what);
}

json_t *work_json(const work *w) {
  char rate[64];
  struct rusage used;
  const double seconds = clock_seconds() - w->started;
  getrusage(RUSAGE_SELF, &used);
  snprintf(rate, sizeof rate, "%s_per_second", w->what);
  return json_pack("{s:I,s:I,s:o,s:o,s:o,s:o}", w->what, (json_int_t)w->done, "failed", (json_int_t)w->failed,
                   "seconds", json_number(seconds), rate, json_number((double)w->done / seconds), "user_seconds",
                   json_number(seconds_of(used.ru_utime) - w->user), "system_seconds",
                   json_number(seconds_of(used.ru_stime) - w->system));
}
