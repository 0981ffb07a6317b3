/* linnet train clip: runs the training of a pair of towers with the options of the command line. */
#include <stdio.h>
#include <string.h>

#include "apps/args.h"
#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "apps/train.h"
#include "linnet.h"
#include "train/clip_train.h"

static const verb self = {
    "train clip", "trains a pair of towers for pictures and texts", NULL,
    "  linnet train clip --out build/clip --init-image weights/captioner.gguf --steps 2000\n"
    "  linnet train clip --out build/mine --list train.tsv --list shards/ --validation valid.jsonl\n"
    "  linnet train clip --out build/clip --resume\n\n"
    "Usage: linnet train clip [options]\n\n"
    "Trains an RWKV-CLIP on generated scenes, or on lists: TSV, JSON Lines, folders of pictures with\n"
    "texts beside them, web data set shards (.tar). The folder --out receives checkpoint.safetensors, from\n"
    "which --resume goes on (with the options that the file holds, and the same data), and clip.gguf, the\n"
    "pair for use with its vocabulary. Checks on the way go to stderr. Ctrl-C saves the checkpoint and ends\n"
    "with exit code 130; a second one ends at once.\n"};

static void show(void *user, const clip_train_progress *p) {
  char left[DURATION_TEXT];
  progress_show(user, p->steps ? (double)p->step / (double)p->steps : 0,
                "step %lld/%lld  loss %.4f  scale %.1f  %.1f pairs/s  %s left", (long long)p->step, (long long)p->steps,
                p->loss, p->scale, p->samples_per_second, duration_text(p->seconds_left, left));
}

static void show_check(void *user, int64_t step, const clip_check *s) {
  progress *bar = user;
  if (bar->quiet) return;
  progress_end(bar); /* the line stays where the bar was */
  const double *texts = s->found.scores.image_to_text, *pictures = s->found.scores.text_to_image;
  fprintf(stderr, "step %lld: of %zu pictures R@1/5/10 to texts %.1f/%.1f/%.1f, to pictures %.1f/%.1f/%.1f",
          (long long)step, s->found.pictures, texts[0], texts[1], texts[2], pictures[0], pictures[1], pictures[2]);
  if (s->kinds.pictures)
    fprintf(stderr, "; of %zu alone, %zu kinds: top-1 %.1f, top-5 %.1f", s->kinds.pictures, s->kinds.classes,
            s->kinds.scores.top1, s->kinds.scores.top5);
  fputc('\n', stderr);
}

static void show_broken(void *user, size_t n, const char *problem) {
  progress_end(user);
  complain("%s (%zu pictures could not be read so far; others stood in)", problem, n);
}

int run_train_clip(int argc, char **argv) {
  clip_train_options o = clip_train_defaults();
  o.objects = DEFAULT_OBJECTS;
  arg_texts lists = {.n = 0};
  run_settings *r = &o.run;
  bool quiet = false;
  int threads = 0, at, code;
  enum { SIDE = 4096, MANY = 1 << 20, DEEP = 1024 };
  const double ever = 1e12;
  const arg list[] = {
      {"data", 'd', ARG_TEXT, &o.objects, 0, 0, "PATH", "the object pack, for scenes"},
      {"list", 'l', ARG_TEXTS, &lists, 0, 0, "PATH", "learn from pictures with captions instead"},
      {"validation", 0, ARG_TEXT, &o.validation, 0, 0, "PATH", "a list to check on"},
      {"init", 'i', ARG_TEXT, &o.init, 0, 0, "PATH", "start from a pair"},
      {"init-image", 0, ARG_TEXT, &o.init_image, 0, 0, "PATH", "start the image tower from a captioner's or a pair's"},
      {"vocab", 0, ARG_TEXT, &o.vocabulary, 0, 0, "PATH", "the vocabulary; else one of the data's words"},
      {"out", 'o', ARG_TEXT, &r->out, 0, 0, "FOLDER", "for the run's files; made if absent"},
      {"resume", 'r', ARG_SWITCH, &r->resume, 0, 0, NULL, "go on from the checkpoint in --out"},
      {"steps", 0, ARG_LONG, &r->steps, 1, ever, "N", "optimizer steps in all"},
      {"stop-after", 0, ARG_LONG, &r->stop_after, 0, ever, "N", "end early at this step; 0 = never"},
      {"batch", 'b', ARG_INT, &r->batch, 2, 4096, "N", "pairs a step"},
      {"chunk", 0, ARG_INT, &o.chunk, 0, 4096, "N", "pairs in memory at a time; 0 = the batch"},
      {"rate", 0, ARG_REAL, &r->rate, 0, 10, "R", "highest learning rate of the cycle"},
      {"weight-decay", 0, ARG_REAL, &r->weight_decay, 0, 10, "W", "of every parameter"},
      {"clip", 0, ARG_REAL, &r->clip, 0, 1e6, "C", "longest gradient"},
      {"beta2", 0, ARG_REAL, &r->beta2, 0, 0.9999999, "B", "of AdamW; beta1 goes with the cycle"},
      {"drop-path", 0, ARG_REAL, &o.drop_path, 0, 0.99, "P", "chance that the image tower's last block is left out"},
      {"seed", 's', ARG_SEED, &r->seed, 0, 0, "S", "of initial weights and the order of pairs"},
      {"save-every", 0, ARG_LONG, &r->save_every, 1, ever, "N", "steps between checkpoints"},
      {"check-every", 0, ARG_LONG, &o.check_every, 0, ever, "N", "steps between checks; 0 = at the end alone"},
      {"check", 0, ARG_INT, &o.check, 0, MANY, "N", "scenes of a check; 0 = no checks"},
      {"max-objects", 0, ARG_INT, &o.max_objects, 1, 4, "N", "most objects in a scene"},
      {"singles", 0, ARG_REAL, &o.singles, 0, 1, "P", "share of scenes that show one thing"},
      {"crop", 0, ARG_SWITCH, &o.crop, 0, 0, NULL, "crop pictures as CLIP does, not whole on white"},
      {"image-size", 0, ARG_INT, &o.image_size, 1, SIDE, "N", "side of a picture in pixels"},
      {"patch", 0, ARG_INT, &o.patch, 1, SIDE, "N", "side of a patch in pixels"},
      {"image-width", 0, ARG_INT, &o.image_width, 1, MANY, "N", "channels of the image tower"},
      {"image-depth", 0, ARG_INT, &o.image_depth, 2, DEEP, "N", "its blocks"},
      {"image-hidden", 0, ARG_INT, &o.image_hidden, 1, MANY, "N", "its channel mix's width"},
      {"text-width", 0, ARG_INT, &o.text_width, 1, MANY, "N", "channels of the text tower, as many"},
      {"text-depth", 0, ARG_INT, &o.text_depth, 2, DEEP, "N", "its blocks"},
      {"text-hidden", 0, ARG_INT, &o.text_hidden, 1, MANY, "N", "its channel mix's width"},
      {"context", 0, ARG_INT, &o.context, 2, SIDE, "N", "tokens of a text"},
      {"vocabulary", 0, ARG_INT, &o.words, 258, MANY, "N", "most tokens, where it is made"},
      {"head-size", 0, ARG_INT, &o.head_size, 1, 1024, "N", "channels of a head"},
      {"rank-mix", 0, ARG_INT, &o.rank_mix, 1, MANY, "N", "of the data-dependent mixing"},
      {"rank-decay", 0, ARG_INT, &o.rank_decay, 1, MANY, "N", "of the data-dependent decay"},
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (!run_is_sound(&self, "clip", r, o.init, argc, argv, at)) return EXIT_MISUSE;
  if (o.init_image && (o.init || r->resume))
    return misuse(&self, "--init-image excludes --init and --resume, which give both towers");
  o.n_lists = lists.n;
  memcpy(o.list, lists.item, sizeof o.list);
  linnet_set_threads(threads);
  watch_interrupts();
  progress bar = progress_begin(quiet);
  o.progress = show;
  o.checked = show_check;
  o.broken = show_broken;
  o.user = &bar;
  r->stop = &interrupted;
  const status s = clip_train(&o);
  progress_end(&bar);
  return s ? failed() : EXIT_DONE;
}
