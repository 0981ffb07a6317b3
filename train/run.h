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
  enum { RUN_INTEGER, RUN_LONG, RUN_NUMBER } type;
} run_option;
#define RUN_OPTION(options, name, type)                                                                                \
  { "linnet.train." #name, offsetof(options, name), type }

/* The metadata of a file: the options, the step, and what else the caller adds with run_metadata_add. */
enum { RUN_PAIRS = 24, RUN_OPTION_TEXT = 40 };
typedef struct {
  char text[RUN_PAIRS][RUN_OPTION_TEXT];
  const char *pair[RUN_PAIRS][2];
  size_t n;
} run_metadata;
void run_metadata_make(run_metadata *m, const void *options, const run_option *rows, int n_rows, int64_t step);
void run_metadata_add(run_metadata *m, const char *key, const char *text); /* the text must stay */
/* The options that the file holds, into the struct; STATUS_FORMAT if one is missing or no number. */
status run_options_read(void *options, const run_option *rows, int n_rows, const checkpoint *file);
/* The step at which the file was written, at most `steps`. */
status run_step_read(int64_t *step, int64_t steps, const checkpoint *file);

/* --- steps -------------------------------------------------------------------------------------------------------- */

typedef struct {
  int64_t *step, steps, stop_after, save_every; /* stop_after: 0 = never */
  const volatile sig_atomic_t *stop;            /* NULL = none; set: save and return STATUS_INTERRUPTED */
  const char *file;                             /* the checkpoint's path */
  status (*advance)(void *trainer);             /* one step: *step becomes one more */
  status (*save_checkpoint)(void *trainer), (*save_model)(void *trainer);
  void *trainer;
} run_plan;
/* Steps until the end, saving on the way. A run that was killed after its last step only writes the model. */
status run_steps(const run_plan *plan);

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
