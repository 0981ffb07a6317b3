/* linnet train lm: runs a text model's training with the options of the command line. */
#include <stdio.h>

#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "apps/train.h"
#include "linnet.h"
#include "train/lm_train.h"

#define DEFAULT_TEXT "build/data/text"

static const verb self = {
    "train lm", "trains a text model", NULL,
    "  linnet train lm --out build/lm --width 256 --layers 6 --steps 10000\n"
    "  linnet train lm --out build/lm --resume\n\n"
    "Usage: linnet train lm [options]\n\n"
    "Trains an RWKV model on documents: lines of JSON, each an object with a string \"text\", or plain\n"
    "text. The folder --out receives checkpoint.safetensors, from which --resume goes on (with the\n"
    "options that the file holds, on the same text), and lm.gguf, the model for use. Scores of the\n"
    "validation text go to stderr. Ctrl-C saves the checkpoint and ends with exit code 130; a second one\n"
    "ends at once.\n\n"
    "--train states and --train lora leave the model --init as it is. The first gives states.gguf,\n"
    "initial states for its sequences, by rates of 1 to 0.01; the second lora.safetensors, factors of\n"
    "low rank, and lm.gguf, the model with them merged in, by rates of 0.0002 to 0.00002. Both have, if\n"
    "nothing else is said, 1000 steps, 10 of them warm-up, and no weight decay.\n"};

static void show(void *user, const lm_progress *p) {
  char left[DURATION_TEXT];
  progress_show(user, p->steps ? (double)p->step / (double)p->steps : 0,
                "step %lld/%lld  loss %.4f  %.3f bits/byte  %.0f tokens/s  %.0f GFLOP/s  %s left", (long long)p->step,
                (long long)p->steps, p->loss, p->bits_per_byte, p->tokens_per_second, p->gflops,
                duration_text(p->seconds_left, left));
}

static void show_validation(void *user, const lm_validation *v) {
  progress *bar = user;
  if (bar->quiet) return;
  progress_end(bar); /* the line stays where the bar was */
  fprintf(stderr, "step %lld: validation loss %.4f, %.4f bits/byte\n", (long long)v->step, v->loss, v->bits_per_byte);
}

int run_train_lm(int argc, char **argv) {
  lm_train_options o = lm_train_defaults();
  const char *what = "all";
  bool quiet = false;
  int threads = 0, at, code;
  enum { MANY = 1 << 20 };
  const arg list[] = {
      {"data", 'd', ARG_TEXT, &o.data, 0, 0, "PATH", "texts: a file, or a folder with train.jsonl or *.txt"},
      {"init", 'i', ARG_TEXT, &o.init, 0, 0, "PATH", "start from the weights of a model"},
      {"vocab", 0, ARG_TEXT, &o.vocab, 0, 0, "PATH", "vocabulary file (else that of --init, else a new one)"},
      {"train", 0, ARG_TEXT, &what, 0, 0, "WHAT", "all; or, of a frozen --init: states, lora"},
      {"rank", 0, ARG_INT, &o.rank, 0, 1 << 16, "R", "of LoRA's factors (8 if they are trained)"},
      {"alpha", 0, ARG_REAL, &o.alpha, 0, 1e6, "A", "they count alpha / rank (16 if they are trained)"},
      ARG_RUN(&o.run, "rows"),
      {"context", 'c', ARG_INT, &o.context, 1, 1 << 16, "N", "tokens a row"},
      {"carry", 0, ARG_SWITCH, &o.carry, 0, 0, NULL, "rows go on from the states of those of the step before"},
      {"eval-every", 0, ARG_LONG, &o.eval_every, 0, 1e12, "N", "steps between validations; 0 = at the end only"},
      {"version", 0, ARG_INT, &o.version, 4, 7, "N", "of RWKV: 4, 5 (5.2), 6 or 7"},
      {"width", 0, ARG_INT, &o.width, 1, MANY, "N", "channels"},
      {"layers", 0, ARG_INT, &o.layers, 1, 1024, "N", "blocks"},
      {"hidden", 0, ARG_INT, &o.hidden, 0, MANY, "N", "the channel mix's width; 0 = 3.5 or 4 times --width"},
      {"head-size", 0, ARG_INT, &o.head_size, 1, 1024, "N", "channels of a head"},
      {"vocabulary", 0, ARG_INT, &o.vocabulary, 257, MANY, "N", "most tokens of a new vocabulary"},
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  /* Read twice: what is trained decides the defaults of the rest. */
  for (int pass = 0; pass < 2; pass++) {
    lm_trained which;
    if (lm_trained_named(what, &which)) return misuse(&self, "--train: %s", last_error());
    o = lm_train_defaults_for(which);
    o.data = DEFAULT_TEXT;
    if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  }
  if (!run_is_sound(&self, "lm", &o.run, o.init, argc, argv, at)) return EXIT_MISUSE;
  if (o.run.resume && o.vocab) return misuse(&self, "--vocab and --resume exclude each other");
  linnet_set_threads(threads);
  watch_interrupts();
  progress bar = progress_begin(quiet);
  o.progress = show;
  o.validated = show_validation;
  o.user = &bar;
  o.run.stop = &interrupted;
  const status s = lm_train(&o);
  progress_end(&bar);
  return s ? failed() : EXIT_DONE;
}
