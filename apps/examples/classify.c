/* Says which of some words a picture goes with:  classify MODEL PICTURE LABEL...
 *
 *   cc classify.c -llinnet ... (docs/library.md) */
#include <stdio.h>
#include <stdlib.h>

#include "linnet.h"

static int classify(const linnet_pair *pair, const char *picture, const char *const *labels, size_t n) {
  linnet_classes *classes = linnet_classes_new(pair, labels, n, NULL, 0);
  float *row = malloc((size_t)linnet_pair_width(pair) * sizeof *row), *shares = malloc(n * sizeof *shares);
  const int found =
      classes && row && shares && !linnet_embed_file(pair, picture, row) && !linnet_classify(classes, row, shares);
  for (size_t i = 0; found && i < n; i++) printf("%5.1f %%  %s\n", 100 * (double)shares[i], labels[i]);
  free(shares);
  free(row);
  linnet_classes_free(classes);
  return found;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s MODEL PICTURE LABEL...\n", argv[0]);
    return 2;
  }
  linnet_pair *pair = linnet_pair_open(argv[1], NULL);
  const int found = pair && classify(pair, argv[2], (const char *const *)argv + 3, (size_t)argc - 3);
  if (!found) fprintf(stderr, "%s\n", linnet_error());
  linnet_pair_close(pair);
  return found ? 0 : 1;
}
