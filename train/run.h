/* What every training run shares: the folder with its two files, the options and the position that a checkpoint keeps,
 * the loop around the steps, and its speed. A run is a pure function of its options, its data and the thread count. */
#ifndef LINNET_TRAIN_RUN_H
#define LINNET_TRAIN_RUN_H

#include <signal.h>

#include "weights/checkpoint.h"

/* --- files -------------------------------------------------------------------------------------------------------- */

#define RUN_CHECKPOINT "checkpoint.safetensors"
/* out/NAME, which the caller frees; NULL with a sentence. */
char *run_path(const char *out, const char *name);
/* Makes the folder if need be; what could not be written at the end is said at once. */
status run_folder(const char *out);
/* Refuses to begin where the checkpoint of another run lies. */
status run_not_there(const char *checkpoint_path);

/* --- options that decide a run's course, by name ------------------------------------------------------------------ */

typedef struct {
  const char *name; /* the key in metadata */
  size_t field;     /* offset in the struct of options */
  enum { RUN_INTEGER, RUN_LONG, RUN_NUMBER, RUN_SWITCH } type;
  bool later; /* files older than the option lack it: 0 */
} run_option;
#define RUN_OPTION(options, name, type)                                                                                \
  { "linnet.train." #name, offsetof(options, name), type, false }
#define RUN_LATER_OPTION(options, name, type)                                                                          \
  { "linnet.train." #name, offsetof(options, name), type, true }

/* What every training has. */
typedef struct {
  const char *out;         /* folder for the files; made if absent; a fresh run refuses one with a checkpoint */
  bool resume;             /* go on from out/checkpoint.safetensors, whose options are taken from the file */
  int64_t steps;           /* optimizer steps in all */
  int64_t stop_after;      /* end this run early at that step, leaving a checkpoint (0 = never): for tests and shifts */
  int batch;               /* rows, or scenes, a step */
  double rate, rate_final; /* learning rate after warm-up and at the end of the cosine */
  int64_t warmup;          /* steps */
  double weight_decay, clip, beta1, beta2;
  uint64_t seed;
  int64_t save_every;                /* steps between checkpoints */
  const volatile sig_atomic_t *stop; /* set: save a checkpoint and return STATUS_INTERRUPTED; NULL = none */
} run_settings;
/* STATUS_ARGUMENT with a sentence if one is out of bounds. */
status run_settings_check(const run_settings *r);
/* The rows of those that decide a run's course, in a struct that has them as its member `run`. */
#define RUN_SETTING(options, name, type)                                                                               \
  { "linnet.train." #name, offsetof(options, run.name), type, false }
#define RUN_SETTINGS(options)                                                                                          \
  RUN_SETTING(options, steps, RUN_LONG), RUN_SETTING(options, batch, RUN_INTEGER),                                     \
      RUN_SETTING(options, rate, RUN_NUMBER), RUN_SETTING(options, rate_final, RUN_NUMBER),                            \
      RUN_SETTING(options, warmup, RUN_LONG), RUN_SETTING(options, weight_decay, RUN_NUMBER),                          \
      RUN_SETTING(options, clip, RUN_NUMBER), RUN_SETTING(options, beta1, RUN_NUMBER),                                 \
      RUN_SETTING(options, beta2, RUN_NUMBER), RUN_SETTING(options, seed, RUN_LONG)

/* The metadata of a file: the options, the step, and what else the caller adds with run_metadata_add. */
enum { RUN_PAIRS = 32, RUN_OPTION_TEXT = 40 };
typedef struct {
  char text[RUN_PAIRS][RUN_OPTION_TEXT];
  const char *pair[RUN_PAIRS][2];
  size_t n;
} run_metadata;
void run_metadata_make(run_metadata *m, const void *options, const run_option *rows, int n_rows, int64_t step);
void run_metadata_add(run_metadata *m, const char *key, const char *text); /* the text must stay */
/* The options that the file holds, into the struct; STATUS_FORMAT if one is missing (but a later one) or no number. */
status run_options_read(void *options, const run_option *rows, int n_rows, const checkpoint *file);
/* The step at which the file was written, at most `steps`. */
status run_step_read(int64_t *step, int64_t steps, const checkpoint *file);

/* --- steps -------------------------------------------------------------------------------------------------------- */

typedef struct {
  int64_t *step;
  const char *file;                 /* the checkpoint's path */
  status (*advance)(void *trainer); /* one step: *step becomes one more */
  status (*save_checkpoint)(void *trainer), (*save_model)(void *trainer);
  void *trainer;
} run_work;
/* Steps until the end, saving on the way. A run that was killed after its last step only writes the model. */
status run_steps(const run_settings *r, const run_work *work);

/* Sums since the last report, which is due about once a second and at the end. */
enum { RUN_LOSSES = 2 };
typedef struct {
  double begun, at, flops, loss[RUN_LOSSES];
  int64_t steps, first_step;
} run_tally;
typedef struct {
  double loss[RUN_LOSSES]; /* means */
  double steps_per_second, seconds_left, gflops;
} run_report;
run_tally run_tally_begin(int64_t step);
/* Counts the step before `step`; true if a report is due, and then begins anew. */
bool run_tally_add(run_tally *t, const double loss[RUN_LOSSES], double flops, int64_t step, int64_t steps,
                   run_report *report);

#endif
