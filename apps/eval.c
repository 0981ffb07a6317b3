/* linnet eval: the word says what. */
#include "apps/eval.h"

#include <string.h>

int run_eval(const verb *self, int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "lm")) return run_eval_lm(argc, argv);
  return run_eval_caption(self, argc, argv);
}
