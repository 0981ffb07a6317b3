/* linnet train lm: runs a text model's training with the options of the command line. */
#include <stdio.h>

#include "apps/args.h"
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
    "Trains an RWKV model on documents: lines of JSON, each an object with a string \"text\". The folder\n"
    "--out receives checkpoint.safetensors, from which --resume goes on (with the options that the file\n"
    "holds, on the same text), and lm.gguf, the model for use. Scores of the validation text go to\n"
    "stderr. Ctrl-C saves the checkpoint and ends with exit code 130; a second one ends at once.\n"};

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
  o.data = DEFAULT_TEXT;
  bool quiet = false;
  int threads = 0, at, code;
  enum { MANY = 1 << 20 };
  const double ever = 1e12;
  const arg list[] = {
      {"data", 'd', ARG_TEXT, &o.data, 0, 0, "PATH", "texts, or a folder with {train,validation}.jsonl"},
      {"out", 'o', ARG_TEXT, &o.out, 0, 0, "FOLDER", "for the two files; made if absent"},
      {"init", 'i', ARG_TEXT, &o.init, 0, 0, "PATH", "start from the weights of a model"},
      {"vocab", 0, ARG_TEXT, &o.vocab, 0, 0, "PATH", "vocabulary file (else that of --init, else a new one)"},
      {"resume", 'r', ARG_SWITCH, &o.resume, 0, 0, NULL, "go on from the checkpoint in --out"},
      {"steps", 0, ARG_LONG, &o.steps, 1, ever, "N", "optimizer steps in all"},
      {"stop-after", 0, ARG_LONG, &o.stop_after, 0, ever, "N", "end early at this step; 0 = never"},
      {"batch", 'b', ARG_INT, &o.batch, 1, 4096, "N", "rows a step"},
      {"context", 'c', ARG_INT, &o.context, 1, 1 << 16, "N", "tokens a row"},
      {"rate", 0, ARG_REAL, &o.rate, 0, 10, "R", "learning rate after the warm-up"},
      {"rate-final", 0, ARG_REAL, &o.rate_final, 0, 10, "R", "learning rate at the end of the cosine"},
      {"warmup", 0, ARG_LONG, &o.warmup, 0, ever, "N", "steps of rising rate"},
      {"weight-decay", 0, ARG_REAL, &o.weight_decay, 0, 10, "W", "of the weights that decay"},
      {"clip", 0, ARG_REAL, &o.clip, 0, 1e6, "C", "longest gradient"},
      {"beta1", 0, ARG_REAL, &o.beta1, 0, 0.9999999, "B", "of AdamW"},
      {"beta2", 0, ARG_REAL, &o.beta2, 0, 0.9999999, "B", "of AdamW"},
      {"seed", 's', ARG_SEED, &o.seed, 0, 0, "S", "of weights and the order of rows"},
      {"save-every", 0, ARG_LONG, &o.save_every, 1, ever, "N", "steps between checkpoints"},
      {"eval-every", 0, ARG_LONG, &o.eval_every, 0, ever, "N", "steps between validations; 0 = at the end only"},
      {"version", 0, ARG_INT, &o.version, 4, 7, "N", "of RWKV: 4, 5 (5.2), 6 or 7"},
      {"width", 0, ARG_INT, &o.width, 1, MANY, "N", "channels"},
      {"layers", 0, ARG_INT, &o.layers, 1, 1024, "N", "blocks"},
      {"hidden", 0, ARG_INT, &o.hidden, 0, MANY, "N", "the channel mix's width; 0 = 3.5 or 4 times --width"},
      {"head-size", 0, ARG_INT, &o.head_size, 1, 1024, "N", "channels of a head"},
      {"vocabulary", 0, ARG_INT, &o.vocabulary, 257, MANY, "N", "most tokens of a new vocabulary"},
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at > 1) return misuse(&self, "train lm takes no operands, found '%s'", argv[at + 1]);
  if (!o.out) return misuse(&self, "train lm needs --out FOLDER");
  if (o.resume && o.init) return misuse(&self, "--init and --resume exclude each other");
  if (o.resume && o.vocab) return misuse(&self, "--vocab and --resume exclude each other");
  linnet_set_threads(threads);
  watch_interrupts();
  progress bar = progress_begin(quiet);
  o.progress = show;
  o.validated = show_validation;
  o.user = &bar;
  o.stop = &interrupted;
  const status s = lm_train(&o);
  progress_end(&bar);
  return s ? failed() : EXIT_DONE;
}
