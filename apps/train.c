/* linnet train: the word says what. */
#include "apps/train.h"

#include <string.h>

int run_train(const verb *self, int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "lm")) return run_train_lm(argc, argv);
  return run_train_caption(self, argc, argv);
}
