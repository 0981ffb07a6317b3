/* linnet train: the word says what. */
#include "apps/train.h"

#include <string.h>

#include "apps/output.h"

int run_train(const verb *self, int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "lm")) return run_train_lm(argc, argv);
  if (argc > 1 && !strcmp(argv[1], "mqar")) return run_train_mqar(argc, argv);
  return run_train_caption(self, argc, argv);
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
