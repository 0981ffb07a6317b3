#include "train/run.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- files -------------------------------------------------------------------------------------------------------- */

char *run_path(const char *out, const char *name) {
  const size_t room = strlen(out) + strlen(name) + 2;
  char *path = mem_alloc(room, 1);
  if (path) snprintf(path, room, "%s/%s", out, name);
  return path;
}

status run_folder(const char *out) {
  struct stat info;
  if (mkdir(out, 0777) && errno != EEXIST)
    return fail(STATUS_IO, "%s: cannot make this folder: %s", out, strerror(errno));
  if (stat(out, &info) || !S_ISDIR(info.st_mode)) return fail(STATUS_IO, "%s: this is not a folder", out);
  return access(out, W_OK | X_OK) ? fail(STATUS_IO, "%s: cannot write here: %s", out, strerror(errno)) : STATUS_OK;
}

status run_not_there(const char *path) {
  return access(path, F_OK)
             ? STATUS_OK
             : fail(STATUS_ARGUMENT, "%s: a run is there already: resume it, or choose another folder", path);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

status run_settings_check(const run_settings *r) {
  if (!r->out) return fail(STATUS_ARGUMENT, "training needs an output folder");
  if (r->steps < 1 || r->batch < 1 || r->batch > 4096 || r->warmup < 0 || r->save_every < 1)
    return fail(STATUS_ARGUMENT,
                "steps, batch and save-every must be at least 1, the batch at most 4096; warmup at least 0");
  if (!(r->rate > 0) || !(r->rate_final >= 0) || !(r->weight_decay >= 0) || !(r->clip >= 0))
    return fail(STATUS_ARGUMENT, "the learning rate must be above 0; its end, weight decay and clip not below");
  if (!(r->beta1 >= 0 && r->beta1 < 1 && r->beta2 >= 0 && r->beta2 < 1))
    return fail(STATUS_ARGUMENT, "beta1 and beta2 must be at least 0 and below 1");
  return STATUS_OK;
}

static const char key_step[] = "linnet.train.step";

static void option_text(const void *options, const run_option *row, char *text) {
  const char *field = (const char *)options + row->field;
  if (row->type == RUN_INTEGER) snprintf(text, RUN_OPTION_TEXT, "%d", *(const int *)(const void *)field);
  if (row->type == RUN_SWITCH) snprintf(text, RUN_OPTION_TEXT, "%d", *(const bool *)(const void *)field);
  if (row->type == RUN_LONG) snprintf(text, RUN_OPTION_TEXT, "%lld", (long long)*(const int64_t *)(const void *)field);
  if (row->type == RUN_NUMBER) snprintf(text, RUN_OPTION_TEXT, "%.17g", *(const double *)(const void *)field);
}

static status option_parse(void *options, const run_option *row, const checkpoint *file) {
  const char *text = checkpoint_metadata(file, row->name);
  if (!text && row->later) text = "0";
  if (!text)
    return fail(STATUS_FORMAT, "%s: no '%s' in it: not a training checkpoint", checkpoint_path(file), row->name);
  char *field = (char *)options + row->field, *end;
  if (row->type == RUN_NUMBER) {
    *(double *)(void *)field = strtod(text, &end);
  } else {
    long long value = strtoll(text, &end, 10);
    if (row->type == RUN_LONG) *(int64_t *)(void *)field = value;
    if (row->type == RUN_INTEGER) *(int *)(void *)field = (int)value;
    if (row->type == RUN_INTEGER && (value < INT_MIN || value > INT_MAX)) end = (char *)text;
    if (row->type == RUN_SWITCH) *(bool *)(void *)field = value != 0;
    if (row->type == RUN_SWITCH && (value < 0 || value > 1)) end = (char *)text;
  }
  return *end || end == text ? fail(STATUS_FORMAT, "%s: '%s' is '%.30s'", checkpoint_path(file), row->name, text)
                             : STATUS_OK;
}

void run_metadata_make(run_metadata *m, const void *options, const run_option *rows, int n_rows, int64_t step) {
  m->n = 0;
  for (int i = 0; i < n_rows; i++) {
    option_text(options, &rows[i], m->text[i]);
    run_metadata_add(m, rows[i].name, m->text[i]);
  }
  snprintf(m->text[n_rows], RUN_OPTION_TEXT, "%lld", (long long)step);
  run_metadata_add(m, key_step, m->text[n_rows]);
}

void run_metadata_add(run_metadata *m, const char *key, const char *text) {
  assert(m->n < RUN_PAIRS);
  m->pair[m->n][0] = key;
  m->pair[m->n++][1] = text;
}

status run_options_read(void *options, const run_option *rows, int n_rows, const checkpoint *file) {
  status s = STATUS_OK;
  for (int i = 0; !s && i < n_rows; i++) s = option_parse(options, &rows[i], file);
  return s;
}

status run_step_read(int64_t *step, int64_t steps, const checkpoint *file) {
  const char *text = checkpoint_metadata(file, key_step);
  char *end = NULL;
  *step = text ? strtoll(text, &end, 10) : -1;
  return text && end != text && !*end && *step >= 0 && *step <= steps
             ? STATUS_OK
             : fail(STATUS_FORMAT, "%s: '%s' is '%.30s', expected a number up to %lld", checkpoint_path(file), key_step,
                    text ? text : "", (long long)steps);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

status run_steps(const run_settings *r, const run_work *w) {
  status s = STATUS_OK;
  if (*w->step == r->steps) s = w->save_model(w->trainer);
  while (!s && *w->step < r->steps) {
    if ((s = w->advance(w->trainer))) break;
    const int64_t step = *w->step;
    const bool asked = r->stop && *r->stop; /* looked at once: whoever asks later is heard after the next step */
    const bool stop = asked || (r->stop_after && step >= r->stop_after);
    if (stop || step % r->save_every == 0 || step == r->steps) s = w->save_checkpoint(w->trainer);
    if (!s && (stop || step == r->steps)) s = w->save_model(w->trainer);
    if (!s && asked)
      s = fail(STATUS_INTERRUPTED, "stopped at step %lld; --resume goes on from %s", (long long)step, w->file);
    if (stop) break;
  }
  return s;
}

run_tally run_tally_begin(int64_t step) {
  const double now = clock_seconds();
  return (run_tally){.begun = now, .at = now, .first_step = step};
}

bool run_tally_add(run_tally *t, const double loss[RUN_LOSSES], double flops, int64_t step, int64_t steps,
                   run_report *report) {
  const double now = clock_seconds();
  for (int i = 0; i < RUN_LOSSES; i++) t->loss[i] += loss[i];
  t->flops += flops;
  t->steps++;
  if (now - t->at < 1 && step < steps) return false;
  const double seconds = now - t->at, rate = (double)(step - t->first_step) / (now - t->begun);
  for (int i = 0; i < RUN_LOSSES; i++) report->loss[i] = t->loss[i] / (double)t->steps;
  report->steps_per_second = (double)t->steps / seconds;
  report->seconds_left = (double)(steps - step) / rate;
  report->gflops = t->flops / seconds * 1e-9;
  *t = (run_tally){.begun = t->begun, .first_step = t->first_step, .at = now};
  return true;
}
