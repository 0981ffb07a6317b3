/* linnet train caption: runs the captioner's training with the options of the command line. */
#include "apps/train.h"

#include <string.h>

#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "linnet.h"
#include "train/caption_train.h"

extern const char train_help[];
const char train_help[] =
    "  linnet train caption --out build/captioner --steps 20000\n"
    "  linnet train caption --out build/captioner --resume\n\n"
    "Usage: linnet train caption [options]\n\n"
    "Trains a captioner on generated scenes. The folder --out receives checkpoint.safetensors, from\n"
    "which --resume goes on (with the options that the file holds), and captioner.gguf, the\n"
    "model for use. Ctrl-C saves the checkpoint and ends with exit code 130; a second one ends at once.\n\n"
    "There is more to train, each with its options (linnet train lm --help):\n"
    "  train lm          a text model\n"
    "  train clip        a pair of towers for pictures and texts\n"
    "  train classifier  an image tower that names what pictures show\n"
    "  train mqar        nothing that is kept: it measures how well a small model recalls\n";

static void show(void *user, const train_progress *p) {
  char left[DURATION_TEXT];
  progress_show(user, p->steps ? (double)p->step / (double)p->steps : 0,
                "step %lld/%lld  loss %.4f  patch %.4f  %.1f samples/s  %.0f GFLOP/s  %s left", (long long)p->step,
                (long long)p->steps, p->loss, p->patch_loss, p->samples_per_second, p->gflops,
                duration_text(p->seconds_left, left));
}

int run_train_caption(const verb *self, int argc, char **argv) {
  caption_train_options o = caption_train_defaults();
  if (!o.objects) o.objects = DEFAULT_OBJECTS;
  bool quiet = false;
  int threads = 0, at, code;
  enum { SIDE = 4096, MANY = 1 << 20 };
  const arg list[] = {
      {"data", 'd', ARG_TEXT, &o.objects, 0, 0, "PATH", "the object pack"},
      {"init", 'i', ARG_TEXT, &o.init, 0, 0, "PATH", "start from the fitting weights of a model"},
      ARG_RUN(&o.run, "scenes"),
      {"patch-weight", 0, ARG_REAL, &o.patch_weight, 0, 1e6, "W", "of the patches' loss"},
      {"max-objects", 0, ARG_INT, &o.max_objects, 1, 4, "N", "most objects in a scene"},
      {"image-size", 0, ARG_INT, &o.image_size, 1, SIDE, "N", "side of a picture in pixels"},
      {"patch", 0, ARG_INT, &o.patch, 1, SIDE, "N", "side of a patch in pixels"},
      {"image-grid", 0, ARG_INT, &o.image_grid, 1, SIDE, "N", "image tokens a side"},
      {"tower-width", 0, ARG_INT, &o.tower_width, 1, MANY, "N", "channels of the image tower"},
      {"tower-depth", 0, ARG_INT, &o.tower_depth, 1, 1024, "N", "blocks of the image tower"},
      {"tower-hidden", 0, ARG_INT, &o.tower_hidden, 1, MANY, "N", "its channel mix's width"},
      {"lm-width", 0, ARG_INT, &o.lm_width, 1, MANY, "N", "channels of the language model"},
      {"lm-depth", 0, ARG_INT, &o.lm_depth, 1, 1024, "N", "blocks of the language model"},
      {"lm-hidden", 0, ARG_INT, &o.lm_hidden, 1, MANY, "N", "its channel mix's width"},
      {"head-size", 0, ARG_INT, &o.head_size, 1, 1024, "N", "channels of a head"},
      {"rank-mix", 0, ARG_INT, &o.rank_mix, 1, MANY, "N", "of the data-dependent mixing"},
      {"rank-decay", 0, ARG_INT, &o.rank_decay, 1, MANY, "N", "of the data-dependent decay"},
      {"vocabulary", 0, ARG_INT, &o.vocabulary, 258, MANY, "N", "most tokens"},
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at == argc || strcmp(argv[at], "caption")) return train_what(self, at < argc ? argv[at] : NULL);
  if (!run_is_sound(self, "caption", &o.run, o.init, argc, argv, at)) return EXIT_MISUSE;
  linnet_set_threads(threads);
  watch_interrupts();
  progress bar = progress_begin(quiet);
  o.progress = show;
  o.user = &bar;
  o.run.stop = &interrupted;
  status s = caption_train(&o);
  progress_end(&bar);
  return s ? failed() : EXIT_DONE;
}
