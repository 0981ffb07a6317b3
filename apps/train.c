/* linnet train: the word says what. */
#include "apps/train.h"

#include <string.h>

#include "apps/output.h"

static const struct {
  const char *word;
  int (*run)(int argc, char **argv);
} others[] = {
    {"classifier", run_train_classifier}, {"clip", run_train_clip}, {"lm", run_train_lm}, {"mqar", run_train_mqar}};
enum { OTHERS = sizeof others / sizeof *others };

int run_train(const verb *self, int argc, char **argv) {
  for (int i = 0; argc > 1 && i < OTHERS; i++)
    if (!strcmp(argv[1], others[i].word)) return others[i].run(argc, argv);
  return run_train_caption(self, argc, argv);
}

int train_what(const verb *self, const char *word) {
  static const char there_are[] = "there are: caption, classifier, clip, lm, mqar";
  for (int i = 0; word && i < OTHERS; i++)
    if (!strcmp(word, others[i].word))
      return misuse(self, "'%s' comes before its options: linnet train %s ...", word, word);
  return word ? misuse(self, "'%s' cannot be trained; %s", word, there_are) : misuse(self, "train what? %s", there_are);
}

bool run_is_sound(const verb *self, const char *word, const run_settings *r, const char *init, int argc, char **argv,
                  int at) {
  if (argc - at > 1)
    misuse(self, "train %s takes no operands, found '%s'", word, argv[at + 1]);
  else if (!r->out)
    misuse(self, "train %s needs --out FOLDER", word);
  else if (r->resume && init)
    misuse(self, "--init and --resume exclude each other");
  else
    return true;
  return false;
}
