/* linnet eval caption: scores of a captioner beside its baselines. */
#include "apps/eval.h"

#include <math.h>
#include <string.h>

#include "apps/args.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "linnet.h"
#include "train/caption_eval.h"

extern const char eval_help[];
const char eval_help[] =
    "  linnet eval caption --set unseen\n\n"
    "Usage: linnet eval caption [options]\n\n"
    "Scores a captioner on pictures that it never saw, beside the same model shown blank pictures and\n"
    "beside the fixed answer made of the most frequent words. Sets: scenes (new scenes of training\n"
    "pictures), unseen (unseen pictures of known kinds), kinds (pictures of held-out kinds), validation.\n\n"
    "There is more to score, each with its options (linnet eval lm --help):\n"
    "  eval lm            a text model\n"
    "  eval zeroshot      a pair of towers, as a classifier that was never trained\n"
    "  eval retrieval     a pair of towers, at finding pictures and captions\n"
    "  eval linear-probe  what an image tower's features tell\n"
    "  eval classifier    a classifier of pictures\n";

typedef struct {
  progress bar;
  const char *set;
  double started;
  json_t *pairs; /* NULL = printed at once */
} report;

/* --- callbacks ---------------------------------------------------------------------------------------------------- */

static void show(void *user, int done, int all) {
  report *r = user;
  char left[DURATION_TEXT];
  const double rate = done / (clock_seconds() - r->started);
  progress_show(&r->bar, all ? (double)done / all : 1, "%s: %d of %d  %.1f/s  %s left", r->set, done, all, rate,
                duration_text((all - done) / rate, left));
}

static void keep_pair(void *user, const char *truth, const char *said) {
  report *r = user;
  if (r->pairs) {
    json_array_append_new(r->pairs, json_pack("{s:o,s:o}", "truth", json_text(truth), "said", json_text(said)));
    return;
  }
  progress_end(&r->bar); /* or the pair would stand behind it */
  text_put(stdout, truth, strlen(truth));
  putchar('\t');
  text_line(said);
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static json_t *scores_json(const eval_scores *s) {
  return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:i,s:i}", "recall", json_number(s->recall), "precision",
                   json_number(s->precision), "colour", json_number(s->colour), "count", json_number(s->count), "cider",
                   json_number(s->cider), "bleu4", json_number(s->bleu4), "rouge", json_number(s->rouge), "colours",
                   s->colours, "counts", s->counts);
}

static json_t *report_json(const eval_report *e, json_t *pairs) {
  json_t *frequent = scores_json(&e->frequent);
  json_object_set_new(frequent, "caption", json_text(e->frequent_caption));
  json_t *one = json_pack("{s:s,s:i,s:o,s:o,s:o}", "set", eval_set_name(e->set), "scenes", e->scenes, "model",
                          scores_json(&e->model), "blank", scores_json(&e->blank), "frequent", frequent);
  if (pairs) json_object_set_new(one, "pairs", pairs);
  return one;
}

static void print_cell(double value, double factor) {
  if (isnan(value))
    printf(" %9s", "-");
  else
    printf(" %9.*f", factor > 1 ? 1 : 3, factor * value);
}

static void print_scores(const char *who, const eval_scores *s) {
  printf("  %-10s", who);
  print_cell(s->recall, 100);
  print_cell(s->precision, 100);
  print_cell(s->colour, 100);
  print_cell(s->count, 100);
  print_cell(s->cider, 1);
  print_cell(s->bleu4, 1);
  print_cell(s->rouge, 1);
  putchar('\n');
}

static void print_report(const eval_report *e) {
  printf("%s: %d pictures\n", eval_set_name(e->set), e->scenes);
  printf("  %-10s %9s %9s %9s %9s %9s %9s %9s\n", "", "recall %", "precis. %", "colour %", "count %", "CIDEr-D",
         "BLEU-4", "ROUGE-L");
  print_scores("model", &e->model);
  print_scores("blank", &e->blank);
  print_scores("frequent", &e->frequent);
  printf("  blank: the model shown white pictures; frequent: always \"");
  text_put(stdout, e->frequent_caption, strlen(e->frequent_caption));
  printf("\"\n  colour: of %d cases; count: of %d cases\n", e->model.colours, e->model.counts);
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

/* "scenes,unseen" -> which; false if a word is none of the sets. */
static bool parse_sets(const char *text, bool which[EVAL_SETS]) {
  memset(which, 0, EVAL_SETS * sizeof *which);
  for (const char *at = text;; at++) {
    const size_t n = strcspn(at, ",");
    int set = 0;
    while (set < EVAL_SETS &&
           (strlen(eval_set_name((eval_set)set)) != n || memcmp(at, eval_set_name((eval_set)set), n)))
      set++;
    if (set == EVAL_SETS) return false;
    which[set] = true;
    if (!*(at += n)) return true;
  }
}

static status run_sets(const visualrwkv *m, eval_options *o, const bool which[EVAL_SETS], report *r, bool pairs,
                       json_t *all) {
  o->progress = show;
  o->each = pairs ? keep_pair : NULL;
  o->user = r;
  for (int set = 0; set < EVAL_SETS; set++) {
    if (!which[set]) continue;
    eval_report e;
    o->set = (eval_set)set;
    r->set = eval_set_name(o->set);
    r->started = clock_seconds();
    r->pairs = pairs && all ? json_array() : NULL;
    status s = caption_eval(m, o, &e);
    progress_end(&r->bar);
    if (s) {
      json_decref(r->pairs);
      return s;
    }
    if (all)
      json_array_append_new(all, report_json(&e, r->pairs));
    else
      print_report(&e);
    output_flush();
  }
  return STATUS_OK;
}

int run_eval_caption(const verb *self, int argc, char **argv) {
  eval_options o = {.objects = DEFAULT_OBJECTS, .batch = 32};
  const char *model = NULL, *sets = "scenes,unseen,kinds";
  bool pairs = false, json = false, quiet = false, which[EVAL_SETS];
  int threads = 0, at, code;
  const arg list[] = {
      ARG_MODEL(&model),
      {"set", 0, ARG_TEXT, &sets, 0, 0, "SETS", "what is shown, with commas between"},
      {"limit", 'n', ARG_INT, &o.limit, 0, 1e9, "N", "most pictures of a set; 0 = all (scenes: 1000)"},
      {"seed", 's', ARG_SEED, &o.seed, 0, 0, "S", "of the scenes"},
      {"batch", 'b', ARG_INT, &o.batch, 1, 4096, "N", "pictures at a time"},
      {"data", 'd', ARG_TEXT, &o.objects, 0, 0, "PATH", "the object pack"},
      {"pairs", 0, ARG_SWITCH, &pairs, 0, 0, NULL, "also every true caption and what the model said"},
      ARG_JSON(&json),
      ARG_THREADS(&threads),
      ARG_QUIET(&quiet),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at == argc || strcmp(argv[at], "caption")) return eval_what(self, at < argc ? argv[at] : NULL);
  if (argc - at > 1) return misuse(self, "eval caption takes no operands, found '%s'", argv[at + 1]);
  if (!parse_sets(sets, which)) return misuse(self, "--set: '%s' is not of scenes, unseen, kinds, validation", sets);
  linnet_set_threads(threads);
  visualrwkv *m = model_open(model);
  if (!m) return failed();
  report r = {.bar = progress_begin(quiet)};
  json_t *all = json ? json_array() : NULL;
  status s = run_sets(m, &o, which, &r, pairs, all);
  code = s ? failed() : EXIT_DONE;
  if (json && !s)
    json_print(all, false);
  else
    json_decref(all);
  visualrwkv_close(m);
  return code;
}
