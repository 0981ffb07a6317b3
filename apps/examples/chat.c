/* Answers the lines of standard input:  chat MODEL
 *
 *   cc chat.c -llinnet ... (docs/library.md) */
#include <stdio.h>
#include <string.h>

#include "linnet.h"

static bool print(void *user, const char *text, size_t n) {
  (void)user;
  fwrite(text, 1, n, stdout);
  return fflush(stdout) == 0;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s MODEL\n", argv[0]);
    return 2;
  }
  linnet_text_model *model = linnet_text_open(argv[1], NULL);
  linnet_text *text = model ? linnet_text_new(model) : NULL;
  linnet_text_options options = linnet_chat_defaults();
  options.on_token = print;
  char line[4096];
  bool failed = !text;
  while (!failed && fgets(line, sizeof line, stdin)) {
    failed = !linnet_chat_ask(text, line, strlen(line), &options);
    putchar('\n');
  }
  if (failed) fprintf(stderr, "%s\n", linnet_error());
  linnet_text_free(text);
  linnet_text_close(model);
  return failed;
}
