/* linnet train classifier: an image tower with a linear head, under supervision. */
#include <stdio.h>

#include "apps/args.h"
#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "apps/train.h"
#include "linnet.h"
#include "train/classifier_train.h"

static const verb self = {
    "train classifier", "trains a classifier of pictures", NULL,
    "  linnet train classifier --data pictures/ --hold 500 --out build/classifier\n"
    "  linnet train classifier --data pictures/ --out build/classifier --resume\n\n"
    "Usage: linnet train classifier --data PATH --out FOLDER [options]\n\n"
    "Trains an image tower with a linear head on labelled pictures: a folder that has a folder of\n"
    "pictures for every class, a list (lines of path TAB label, or JSON Lines of image and label), or an\n"
    "IDX file of pictures as MNIST's, with its labels beside it. The folder --out receives\n"
    "checkpoint.safetensors, from which --resume goes on (with the options that the file holds), and\n"
    "classifier.gguf, the model for use: linnet eval classifier scores it. Ctrl-C saves the checkpoint\n"
    "and ends with exit code 130; a second one ends at once.\n"};

static void show(void *user, const classifier_progress *p) {
  char left[DURATION_TEXT];
  progress_show(user, p->steps ? (double)p->step / (double)p->steps : 0,
                "step %lld/%lld  loss %.4f  %.1f pictures/s  %.0f GFLOP/s  %s left", (long long)p->step,
                (long long)p->steps, p->loss, p->pictures_per_second, p->gflops, duration_text(p->seconds_left, left));
}

static void show_check(void *user, int64_t step, const classifier_report *r) {
  progress *bar = user;
  if (bar->quiet) return;
  progress_end(bar); /* the line stays where the bar was */
  fprintf(stderr, "step %lld: loss %.4f, accuracy %.2f %% of %zu pictures held back\n", (long long)step, r->loss,
          r->scores.top1, r->pictures);
}

int run_train_classifier(int argc, char **argv) {
  classifier_train_options o = classifier_train_defaults();
  bool quiet = false, no_flip = false;
  int threads = 0, at, code;
  enum { SIDE = 4096, MANY = 1 << 20 };
  const arg list[] = {
      {"data", 'd', ARG_TEXT, &o.data, 0, 0, "PATH", "labelled pictures"},
      {"labels", 0, ARG_TEXT, &o.labels, 0, 0, "FILE", "names of the classes, one a line; else the data's own"},
      {"hold", 0, ARG_LONG, &o.hold, 0, 1e12, "N", "last pictures that are held back for checks"},
      {"check-every", 0, ARG_LONG, &o.check_every, 0, 1e12, "N", "steps between checks; 0 = none"},
      ARG_RUN(&o.run, "pictures"),
      {"one-cycle", 0, ARG_SWITCH, &o.one_cycle, 0, 0, NULL, "RWKV-CLIP's schedule, instead of warm-up and cosine"},
      {"shift", 0, ARG_INT, &o.change.shift, 0, SIDE, "N", "most pixels a picture is shifted by"},
      {"no-flip", 0, ARG_SWITCH, &no_flip, 0, 0, NULL, "pictures are not mirrored"},
      {"erase", 0, ARG_REAL, &o.change.erase, 0, 1, "P", "probability of a rectangle of noise"},
      {"smoothing", 0, ARG_REAL, &o.smoothing, 0, 0.999, "S", "share of a label that all classes have"},
      {"mixup", 0, ARG_REAL, &o.mixup, 0, 100, "A", "alpha of mixing two pictures; 0 = none"},
      {"drop-path", 0, ARG_REAL, &o.drop_path, 0, 0.999, "P", "chance that the last block is left out"},
      {"image-size", 0, ARG_INT, &o.image_size, 1, SIDE, "N", "side of a picture in pixels"},
      {"patch", 0, ARG_INT, &o.patch, 1, SIDE, "N", "side of a patch in pixels"},
      {"width", 0, ARG_INT, &o.width, 1, MANY, "N", "channels"},
      {"depth", 0, ARG_INT, &o.depth, 2, 1024, "N", "blocks"},
      {"hidden", 0, ARG_INT, &o.hidden, 1, MANY, "N", "the channel mix's width"},
      {"head-size", 0, ARG_INT, &o.head_size, 1, 1024, "N", "channels of a head"},
      {"rank-mix", 0, ARG_INT, &o.rank_mix, 1, MANY, "N", "of the data-dependent mixing"},
      {"rank-decay", 0, ARG_INT, &o.rank_decay, 1, MANY, "N", "of the data-dependent decay"},
      {"rows-only", 0, ARG_SWITCH, &o.rows_only, 0, 0, NULL, "no layer reads by columns"},
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (!run_is_sound(&self, "classifier", &o.run, NULL, argc, argv, at)) return EXIT_MISUSE;
  if (!o.data) return misuse(&self, "train classifier needs --data PATH");
  o.change.flip = !no_flip;
  linnet_set_threads(threads);
  watch_interrupts();
  progress bar = progress_begin(quiet);
  o.progress = show;
  o.checked = show_check;
  o.user = &bar;
  o.run.stop = &interrupted;
  const status s = classifier_train(&o);
  progress_end(&bar);
  return s ? failed() : EXIT_DONE;
}
