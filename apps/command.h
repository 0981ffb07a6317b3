/* What the verbs of the command share: their table, exit codes and default paths. */
#ifndef LINNET_APPS_COMMAND_H
#define LINNET_APPS_COMMAND_H

/* What the command returns. */
enum { EXIT_DONE = 0, EXIT_DATA = 1, EXIT_MISUSE = 2, EXIT_INTERRUPTED = 130 };

typedef struct verb verb;
struct verb {
  const char *name, *summary;
  int (*run)(const verb *self, int argc, char **argv); /* argv[0] is the verb's name; returns an exit code */
  const char *help; /* an example first; the options follow from the verb's table of arguments */
};

extern const verb verbs[]; /* ends with a row of NULLs */

int run_caption(const verb *self, int argc, char **argv);
int run_classify(const verb *self, int argc, char **argv);
int run_embed(const verb *self, int argc, char **argv);
int run_index(const verb *self, int argc, char **argv);
int run_search(const verb *self, int argc, char **argv);
int run_generate(const verb *self, int argc, char **argv);
int run_chat(const verb *self, int argc, char **argv);
int run_convert(const verb *self, int argc, char **argv);
int run_quantize(const verb *self, int argc, char **argv);
int run_inspect(const verb *self, int argc, char **argv);
int run_train(const verb *self, int argc, char **argv);
int run_eval(const verb *self, int argc, char **argv);
int run_bench(const verb *self, int argc, char **argv);
int run_devices(const verb *self, int argc, char **argv);
int run_help(const verb *self, int argc, char **argv);

#define DEFAULT_OBJECTS "build/data/objects.pack"

#endif
