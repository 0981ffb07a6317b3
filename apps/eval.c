/* linnet eval: the word says what. */
#include "apps/eval.h"

#include <string.h>

#include "apps/output.h"

static const struct {
  const char *word;
  int (*run)(int argc, char **argv);
} others[] = {
    {"lm", run_eval_lm},
    {"zeroshot", run_eval_zeroshot},
    {"retrieval", run_eval_retrieval},
    {"linear-probe", run_eval_linear_probe},
    {"classifier", run_eval_classifier},
};
enum { OTHERS = sizeof others / sizeof *others };

int run_eval(const verb *self, int argc, char **argv) {
  for (int i = 0; argc > 1 && i < OTHERS; i++)
    if (!strcmp(argv[1], others[i].word)) return others[i].run(argc, argv);
  return run_eval_caption(self, argc, argv);
}

int eval_what(const verb *self, const char *word) {
  static const char there_are[] = "there are: caption, classifier, linear-probe, lm, retrieval, zeroshot";
  for (int i = 0; word && i < OTHERS; i++)
    if (!strcmp(word, others[i].word))
      return misuse(self, "'%s' comes before its options: linnet eval %s ...", word, word);
  return word ? misuse(self, "'%s' cannot be scored; %s", word, there_are) : misuse(self, "score what? %s", there_are);
}
