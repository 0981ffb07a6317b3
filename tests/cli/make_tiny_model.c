/* make_tiny_model FILE SEED: the model that the tests of the command caption with. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/tiny_model.h"

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s FILE SEED\n", argv[0]);
    return 2;
  }
  if (!tiny_model_write(argv[1], strtoull(argv[2], NULL, 10))) return 0;
  fprintf(stderr, "%s\n", last_error());
  return 1;
}
