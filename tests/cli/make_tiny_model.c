/* make_tiny_model FILE SEED [pair]: the model that the tests of the command caption with, or a pair of towers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/tiny_clip.h"
#include "tests/support/tiny_model.h"

int main(int argc, char **argv) {
  if (argc < 3 || argc > 4 || (argc == 4 && strcmp(argv[3], "pair") != 0)) {
    fprintf(stderr, "usage: %s FILE SEED [pair]\n", argv[0]);
    return 2;
  }
  const uint64_t seed = strtoull(argv[2], NULL, 10);
  if (!(argc == 4 ? tiny_clip_write(argv[1], seed) : tiny_model_write(argv[1], seed))) return 0;
  fprintf(stderr, "%s\n", last_error());
  return 1;
}
