/* Compares Linnet with reference outputs: every folder named on the command line is a case (SYSTEM/CASE), or holds
 * cases. Prints the worst error of each reference tensor against its tolerance and ends with `N passed, N failed`.
 * Exit code 0 if none failed, 1 if some did, 2 if there was nothing to run. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/golden/runner.h"

static const golden_system *const systems[] = {
    &golden_rwkv6,           &golden_rwkv_clip,       &golden_visualrwkv, &golden_vrwkv6,
    &golden_clip_preprocess, &golden_caption_metrics, &golden_tokenizers,
};
enum { SYSTEMS = sizeof systems / sizeof *systems };

/* Systems with reference data that are still to come: their checkpoints must not be taken for another's. */
static const char *const to_come[] = {
    "clip-bpe", "diffusion-rwkv", "goldfinch", "mqar",  "openai-clip", "point-rwkv", "restore-rwkv", "rwkv-clip-eval",
    "rwkv-sam", "rwkv4",          "rwkv5",     "rwkv7", "sam-decoder", "sdunet",     "vrwkv",        "vrwkv-upernet"};
enum { TO_COME = sizeof to_come / sizeof *to_come };

static const golden_system *system_named(const char *name) {
  for (size_t i = 0; i < SYSTEMS; i++)
    if (!strcmp(systems[i]->name, name)) return systems[i];
  return NULL;
}

/* By what the folder's checkpoint holds. */
static const golden_system *system_of_model(const char *folder) {
  char path[4096];
  snprintf(path, sizeof path, "%s/model.pth", folder);
  checkpoint *file = checkpoint_open(path);
  const golden_system *found = NULL;
  for (size_t i = 0; file && !found && i < SYSTEMS; i++) {
    const char *const *t = systems[i]->tensors;
    if (t[0] && golden_holds(file, t[0]) && (!t[1] || golden_holds(file, t[1]))) found = systems[i];
  }
  checkpoint_close(file);
  return found;
}

/* The last two parts of a path. */
static void split_path(const char *path, char **parent, char **name) {
  char *whole = realpath(path, NULL);
  char *at = whole ? strrchr(whole, '/') : NULL;
  *name = mem_string(at ? at + 1 : path);
  if (at) *at = 0;
  at = whole ? strrchr(whole, '/') : NULL;
  *parent = mem_string(at ? at + 1 : "");
  free(whole);
}

static void run_case(const char *folder, golden_score *score) {
  char *parent, *name, title[512];
  split_path(folder, &parent, &name);
  if (!parent || !name) exit(2);
  snprintf(title, sizeof title, "%s/%s", parent, name);
  const golden_system *system = system_named(parent);
  bool later = false;
  for (size_t i = 0; i < TO_COME; i++) later |= !strcmp(to_come[i], parent);
  if (!system && !later) system = system_of_model(folder);
  if (system) {
    golden_run(folder, title, system, score);
  } else {
    score->failed++;
    printf("%s\n  FAIL  %s\n", title,
           later ? "this system is not built yet" : "neither the folder nor its model.pth says of which system it is");
  }
  free(parent);
  free(name);
}

typedef struct {
  bool files, folders;
} contents;

static contents look(const char *folder) {
  contents found = {false, false};
  struct dirent **list;
  int n = scandir(folder, &list, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char path[4096];
    struct stat s;
    snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
    if (list[i]->d_name[0] != '.' && !stat(path, &s)) {
      found.folders |= S_ISDIR(s.st_mode);
      found.files |= S_ISREG(s.st_mode);
    }
    free(list[i]);
  }
  if (n >= 0) free(list);
  return found;
}

static void run_folder(const char *folder, int depth, golden_score *score) {
  contents found = look(folder);
  if (!found.files && found.folders && depth) {
    struct dirent **list;
    int n = scandir(folder, &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
      char path[4096];
      snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
      if (list[i]->d_name[0] != '.') run_folder(path, depth - 1, score);
      free(list[i]);
    }
    if (n >= 0) free(list);
  } else if (found.files) {
    run_case(folder, score);
  } else {
    score->failed++;
    printf("%s\n  FAIL  no such folder, or nothing in it\n", folder);
  }
}

int main(int argc, char **argv) {
  golden_score score = {0};
  if (argc < 2) {
    fprintf(stderr, "usage: %s DIR...\n", argv[0]);
    return 2;
  }
  for (int i = 1; i < argc; i++) run_folder(argv[i], 2, &score);
  if (score.skipped) printf("%zu not compared: they need what is named beside them\n", score.skipped);
  printf("%zu passed, %zu failed\n", score.passed, score.failed);
  return score.failed ? 1 : 0;
}
