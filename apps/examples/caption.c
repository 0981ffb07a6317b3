/* Says what pictures show:  caption MODEL PICTURE...
 *
 *   cc caption.c -llinnet ... (docs/library.md) */
#include <stdio.h>

#include "linnet.h"

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s MODEL PICTURE...\n", argv[0]);
    return 2;
  }
  linnet_model *model = linnet_open(argv[1]);
  if (!model) {
    fprintf(stderr, "%s\n", linnet_error());
    return 1;
  }
  int failures = 0;
  for (int i = 2; i < argc; i++) {
    linnet_captions *found = linnet_caption_file(model, argv[i], NULL);
    if (found)
      printf("%s\n", linnet_caption_text(found, 0));
    else
      fprintf(stderr, "%s\n", linnet_error());
    failures += !found;
    linnet_captions_free(found);
  }
  linnet_close(model);
  return failures ? 1 : 0;
}
