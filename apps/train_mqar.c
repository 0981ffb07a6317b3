/* linnet train mqar: trains a small model to recall, and says how well it does. */
#include <stdio.h>

#include "apps/args.h"
#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "apps/train.h"
#include "linnet.h"
#include "train/mqar.h"

static const verb self = {
    "train mqar", "measures how well a small model recalls", NULL,
    "  linnet train mqar --version 6 --length 64 --pairs 4 --width 64\n\n"
    "Usage: linnet train mqar [options]\n\n"
    "Trains an RWKV model from nothing on multi-query associative recall: pairs of a key and a value,\n"
    "then the keys again, each of which wants its value. Every step has new examples; the run ends early\n"
    "when the model can do it. The share of values recalled in examples never seen goes to stdout, checks\n"
    "on the way go to stderr. No model is kept.\n"};

static void show(void *user, const mqar_progress *p) {
  char left[DURATION_TEXT];
  progress_show(user, p->steps ? (double)p->step / (double)p->steps : 0,
                "step %lld/%lld  loss %.4f  accuracy %.3f  %.0f tokens/s  %s left", (long long)p->step,
                (long long)p->steps, p->loss, p->accuracy, p->tokens_per_second, duration_text(p->seconds_left, left));
}

static void show_check(void *user, const mqar_score *s) {
  progress *bar = user;
  if (bar->quiet) return;
  progress_end(bar); /* the line stays where the bar was */
  fprintf(stderr, "step %lld: loss %.4f, accuracy %.4f\n", (long long)s->step, s->loss, s->accuracy);
}

/* What was run and what came of it, so that lines of several runs can stand in one file. */
static void print(const mqar_train_options *o, const mqar_train_result *r, bool json) {
  const mqar_score *s = &r->score;
  const double tokens = (double)s->step * o->run.batch * o->task.length;
  if (!json) {
    printf("RWKV-%d, width %d, %d pairs in %d tokens: accuracy %.4f, loss %.4f after %lld steps\n", o->version,
           o->width, o->task.pairs, o->task.length, s->accuracy, s->loss, (long long)s->step);
    return;
  }
  const int head_size = o->version == 4 ? 1 : o->head_size;
  json_t *one = json_pack("{s:i,s:i,s:i,s:i,s:I}", "version", o->version, "length", o->task.length, "pairs",
                          o->task.pairs, "width", o->width, "seed", (json_int_t)o->run.seed);
  json_t *how = json_pack("{s:i,s:i,s:b,s:i,s:o,s:I,s:I}", "layers", o->layers, "head_size", head_size, "random_filler",
                          (int)o->task.random_filler, "batch", o->run.batch, "rate", json_number(o->run.rate),
                          "most_steps", (json_int_t)o->run.steps, "parameters", (json_int_t)r->parameters);
  json_t *what = json_pack("{s:I,s:o,s:o,s:i,s:o,s:o}", "steps", (json_int_t)s->step, "accuracy",
                           json_number(s->accuracy), "loss", json_number(s->loss), "test", s->examples, "seconds",
                           json_number(r->seconds), "tokens_per_second", json_number(tokens / r->seconds));
  json_object_update(one, how);
  json_object_update(one, what);
  json_decref(how);
  json_decref(what);
  json_print(one, true);
}

int run_train_mqar(int argc, char **argv) {
  mqar_train_options o = mqar_train_defaults();
  bool quiet = false, json = false;
  int threads = 0, at, code;
  enum { MANY = 1 << 20 };
  const double ever = 1e12;
  const arg list[] = {
      {"version", 0, ARG_INT, &o.version, 4, 7, "N", "of RWKV: 4, 5 (5.2), 6 or 7"},
      {"length", 0, ARG_INT, &o.task.length, 4, 1 << 16, "N", "tokens of an example; even"},
      {"pairs", 0, ARG_INT, &o.task.pairs, 1, 1 << 14, "N", "of key and value; at most a quarter of --length"},
      {"random-filler", 0, ARG_SWITCH, &o.task.random_filler, 0, 0, NULL, "other tokens are random instead of 0"},
      {"width", 0, ARG_INT, &o.width, 1, MANY, "N", "channels"},
      {"layers", 0, ARG_INT, &o.layers, 1, 1024, "N", "blocks"},
      {"head-size", 0, ARG_INT, &o.head_size, 1, 1024, "N", "channels of a head"},
      {"steps", 0, ARG_LONG, &o.run.steps, 1, ever, "N", "optimizer steps, at most"},
      {"batch", 'b', ARG_INT, &o.run.batch, 1, 4096, "N", "examples a step"},
      ARG_OPTIMIZER(&o.run),
      {"seed", 's', ARG_SEED, &o.run.seed, 0, 0, "S", "of weights and examples"},
      {"check-every", 0, ARG_LONG, &o.check_every, 0, ever, "N", "steps between checks; 0 = none"},
      {"check", 0, ARG_INT, &o.check, 1, MANY, "N", "examples of a check"},
      {"enough", 0, ARG_REAL, &o.enough, 0, 2, "A", "accuracy of a check that ends the run; above 1 = never"},
      {"test", 0, ARG_INT, &o.test, 1, MANY, "N", "examples of the final score"},
      ARG_JSON(&json),
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at > 1) return misuse(&self, "train mqar takes no operands, found '%s'", argv[at + 1]);
  linnet_set_threads(threads);
  watch_interrupts();
  progress bar = progress_begin(quiet);
  o.progress = show;
  o.checked = show_check;
  o.user = &bar;
  o.run.stop = &interrupted;
  mqar_train_result result;
  const status s = mqar_train(&o, &result);
  progress_end(&bar);
  if (s) return failed();
  print(&o, &result, json);
  return EXIT_DONE;
}
