/* The command `linnet`: the table of verbs, `help`, `devices`, and what holds for all of them. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apps/args.h"
#include "apps/output.h"
#include "kernels/base.h"
#include "linnet.h"

static const char devices_help[] = "  linnet devices\n\n"
                                   "Prints what computation runs on: the kernels that were chosen for this processor\n"
                                   "(LINNET_CPU=generic|avx2|avx512 forces others), the BLAS library, the threads.\n";
static const char help_help[] = "  linnet help caption\n\n"
                                "Prints the help of a verb, or the list of verbs.\n";

extern const char caption_help[], classify_help[], embed_help[], index_help[], search_help[], generate_help[],
    chat_help[], convert_help[], quantize_help[], inspect_help[], train_help[], eval_help[], bench_help[];

const verb verbs[] = {
    {"caption", "says what pictures show", run_caption, caption_help},
    {"classify", "says which of your labels pictures go with", run_classify, classify_help},
    {"embed", "turns pictures or texts into vectors", run_embed, embed_help},
    {"index", "keeps pictures and texts to search in", run_index, index_help},
    {"search", "finds pictures in an index by texts or pictures", run_search, search_help},
    {"generate", "goes on with a text", run_generate, generate_help},
    {"chat", "answers in a conversation", run_chat, chat_help},
    {"inspect", "says what is in a model file", run_inspect, inspect_help},
    {"convert", "writes a model in another format or layout", run_convert, convert_help},
    {"quantize", "writes a model with smaller types of numbers", run_quantize, quantize_help},
    {"train", "trains a model", run_train, train_help},
    {"eval", "scores a model", run_eval, eval_help},
    {"bench", "measures the speed of a model on this machine", run_bench, bench_help},
    {"devices", "says what computation runs on", run_devices, devices_help},
    {"help", "explains a verb", run_help, help_help},
    {0},
};

static const verb *find_verb(const char *name) {
  const verb *v = verbs;
  while (v->name && strcmp(v->name, name)) v++;
  return v->name ? v : NULL;
}

static void print_verbs(FILE *to) {
  fputs("  linnet caption photo.jpg\n\n"
        "Usage: linnet VERB [options] [operands]\n\nVerbs:\n",
        to);
  for (const verb *v = verbs; v->name; v++) fprintf(to, "  %-10s %s\n", v->name, v->summary);
  fputs("\nlinnet help VERB explains a verb; linnet --version prints the version.\n"
        "Exit codes: 0 done, 1 failed on the data, 2 misused, 130 interrupted.\n",
        to);
}

int run_help(const verb *self, int argc, char **argv) {
  int at, code;
  if (!args_parse(self, NULL, 0, argc, argv, &at, &code)) return code;
  if (at == argc) {
    print_verbs(stdout);
    return EXIT_DONE;
  }
  const verb *v = find_verb(argv[at]);
  if (!v) return misuse(NULL, "there is no verb '%s'", argv[at]);
  const int most = v->run == run_train || v->run == run_eval || v->run == run_index ? 2 : 1; /* help train lm */
  if (argc - at > most) return misuse(self, "help explains one verb at a time, found also '%s'", argv[at + most]);
  char help[] = "--help", *words[] = {argv[at], argc - at > 1 ? argv[at + 1] : help, help, NULL};
  return v->run(v, 1 + argc - at, words);
}

int run_devices(const verb *self, int argc, char **argv) {
  int at, code;
  if (!args_parse(self, NULL, 0, argc, argv, &at, &code)) return code;
  if (at < argc) return misuse(self, "devices takes no operands, found '%s'", argv[at]);
  fputs(linnet_devices(), stdout);
  return EXIT_DONE;
}

static int dispatch(int argc, char **argv) {
  if (argc < 2) {
    print_verbs(stderr);
    return EXIT_MISUSE;
  }
  const char *word = argv[1];
  if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
    puts("linnet " LINNET_VERSION);
    return EXIT_DONE;
  }
  if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
    print_verbs(stdout);
    return EXIT_DONE;
  }
  const verb *v = find_verb(word);
  return v ? v->run(v, argc - 1, argv + 1) : misuse(NULL, "there is no verb '%s'", word);
}

/* A standard stream that the caller closed would otherwise be the next file that is opened. In its place stands one
 * that cannot be used for what it is there for, so that the failure shows. */
static void occupy_streams(void) {
  for (int fd = 0; fd < 3; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 1 ? O_RDONLY : O_WRONLY) < 0) return;
}

/* Model files are mapped: one that another program cuts short while it is read ends the process. */
static void on_bus_error(int number) {
  static const char sentence[] = "linnet: a file was cut short while it was read\n";
  (void)number;
  (void)!write(STDERR_FILENO, sentence, sizeof sentence - 1);
  _exit(EXIT_DATA);
}

int main(int argc, char **argv) {
  occupy_streams();
  signal(SIGBUS, on_bus_error);
  signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, which is reported */
  signal(SIGXFSZ, SIG_IGN); /* and so is a file beyond the limit of ulimit -f */
  int code = dispatch(argc, argv);
  output_flush();
  return code;
}
