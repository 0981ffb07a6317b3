/* linnet eval classifier: scores of a classifier of pictures; and what all scores of classifications share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/args.h"
#include "apps/eval.h"
#include "apps/output.h"
#include "apps/work.h"
#include "linnet.h"

/* --- shared ------------------------------------------------------------------------------------------------------- */

void print_class_scores(const char *name, size_t pictures, size_t classes, const class_scores *s) {
  text_put(stdout, name, strlen(name));
  printf(": %zu pictures of %zu classes\n", pictures, classes);
  printf("  %-16s %6.2f %%  (95 %%: %.2f to %.2f)\n", "top-1", s->top1, s->top1_within.low, s->top1_within.high);
  printf("  %-16s %6.2f %%  (95 %%: %.2f to %.2f)\n", "top-5", s->top5, s->top5_within.low, s->top5_within.high);
  printf("  %-16s %6.2f %%\n", "mean per class", s->mean_per_class);
  printf("  %-16s %6.2f %%\n", "by chance", s->chance);
  printf("  %-16s %6.2f %%\n", "commonest class", s->frequent);
}

json_t *class_scores_json(const char *name, size_t pictures, size_t skipped, size_t classes, const class_scores *s) {
  json_t *one = json_pack("{s:o,s:I,s:I,s:I}", "set", json_text(name), "pictures", (json_int_t)pictures, "skipped",
                          (json_int_t)skipped, "classes", (json_int_t)classes);
  const struct {
    const char *key;
    double value;
  } figures[] = {
      {"top1", s->top1},
      {"top1_low", s->top1_within.low},
      {"top1_high", s->top1_within.high},
      {"top5", s->top5},
      {"top5_low", s->top5_within.low},
      {"top5_high", s->top5_within.high},
      {"mean_per_class", s->mean_per_class},
      {"chance", s->chance},
      {"frequent", s->frequent},
  };
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
    json_object_set_new(one, figures[i].key, json_number(figures[i].value));
  return one;
}

status labelled_part_new(labelled_part *p, labelled *set, size_t first, size_t n, int64_t limit) {
  *p = (labelled_part){.set = set, .first = first, .of = n, .n = limit > 0 && (uint64_t)limit < n ? (size_t)limit : n};
  if (!(p->targets = mem_alloc(p->n, sizeof *p->targets))) return STATUS_MEMORY;
  for (size_t i = 0; i < p->n; i++) p->targets[i] = labelled_target(set, first + i * p->of / p->n);
  return STATUS_OK;
}

void labelled_part_free(labelled_part *p) { free(p->targets); }

image *labelled_part_open(void *part, size_t index) {
  const labelled_part *p = part;
  return labelled_picture(p->set, p->first + index * p->of / p->n);
}

status step_work(void *user, const char *error) { return work_step(user, error); }

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static const verb self = {
    "eval classifier", "scores a classifier of pictures", NULL,
    "  linnet eval classifier -m build/classifier/classifier.gguf --data pictures/\n\n"
    "Usage: linnet eval classifier -m MODEL --data PATH [options]\n\n"
    "Scores what `linnet train classifier` trained on labelled pictures: a folder that has a folder of\n"
    "pictures for every class, a list (lines of path TAB label, or JSON Lines of image and label), or an\n"
    "IDX file of pictures, with its labels beside it. A picture that cannot be read is named on stderr and\n"
    "left out, and the exit code is 1.\n"};

static status score(const image_classifier *m, const char *data, int batch, bool quiet, size_t *failed_ones,
                    classifier_report *r) {
  labelled *set = labelled_open(data, &m->names);
  if (!set) return last_status();
  work done = work_begin("pictures", labelled_count(set), quiet);
  const task_options o = {.batch = batch, .step = step_work, .user = &done};
  const status s = classifier_task(m, set, 0, labelled_count(set), &o, r);
  work_end(&done);
  *failed_ones = done.failed;
  labelled_close(set);
  return s;
}

int run_eval_classifier(int argc, char **argv) {
  const char *model = NULL, *data = NULL;
  bool json = false, quiet = false;
  int threads = 0, batch = 64, at, code;
  const arg list[] = {
      {"model", 'm', ARG_TEXT, &model, 0, 0, "PATH", "the classifier"},
      {"data", 'd', ARG_TEXT, &data, 0, 0, "PATH", "labelled pictures"},
      {"batch", 'b', ARG_INT, &batch, 1, 4096, "N", "pictures at a time"},
      ARG_JSON(&json),
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at > 1) return misuse(&self, "eval classifier takes no operands, found '%s'", argv[at + 1]);
  if (!model || !data) return misuse(&self, "eval classifier needs --model PATH and --data PATH");
  linnet_set_threads(threads);
  image_classifier *m = image_classifier_open(model);
  classifier_report r;
  size_t failed_ones = 0;
  const status s = m ? score(m, data, batch, quiet, &failed_ones, &r) : last_status();
  image_classifier_close(m);
  if (s) return failed();
  if (json) {
    json_t *one = class_scores_json(data, r.pictures, r.skipped, r.classes, &r.scores);
    json_object_set_new(one, "loss", json_number(r.loss));
    json_print(one, false);
  } else {
    print_class_scores(data, r.pictures, r.classes, &r.scores);
    printf("  %-16s %6.4f nats\n", "loss", r.loss);
  }
  return failed_ones ? EXIT_DATA : EXIT_DONE;
}
