/* Compares Linnet with reference outputs: every folder named on the command line is a case (SYSTEM/CASE), or holds
 * cases. Prints the worst error of each reference tensor against its tolerance and ends with `N passed, N failed`.
 * Exit code 0 if none failed, 1 if some did, 2 if there was nothing to run. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/golden/runner.h"
#include "weights/identify.h"

static const golden_system *const systems[] = {
    &golden_rwkv4,      &golden_rwkv5,  &golden_rwkv6,           &golden_rwkv7,           &golden_rwkv_clip,
    &golden_visualrwkv, &golden_vrwkv6, &golden_clip_preprocess, &golden_caption_metrics, &golden_tokenizers,
    &golden_clip_bpe,   &golden_mqar,   &golden_openai_clip,     &golden_rwkv_clip_eval,
};
enum { SYSTEMS = sizeof systems / sizeof *systems };

/* Systems with reference data that are still to come: their checkpoints must not be taken for another's. */
static const char *const to_come[] = {"diffusion-rwkv", "goldfinch", "point-rwkv", "restore-rwkv", "rwkv-sam",
                                      "sam-decoder",    "sdunet",    "vrwkv",      "vrwkv-upernet"};
enum { TO_COME = sizeof to_come / sizeof *to_come };

static bool is_to_come(const char *name) {
  for (size_t i = 0; i < TO_COME; i++)
    if (!strcmp(to_come[i], name)) return true;
  return false;
}

static const golden_system *system_named(const char *name) {
  for (size_t i = 0; i < SYSTEMS; i++)
    if (!strcmp(systems[i]->name, name)) return systems[i];
  return NULL;
}

/* The name of the system whose checkpoint the folder holds; "" if none is known. */
static void name_of_model(const char *folder, char *name, size_t room) {
  identity id;
  checkpoint *file = golden_folder_model(folder);
  const bool known = file && identify(file, &id);
  const int generation = known && !strcmp(id.system, "rwkv"); /* each has its folder: of "5.2" the first digit */
  const char *system = known && !strcmp(id.system, "clip") ? "openai-clip" : known ? id.system : "";
  snprintf(name, room, "%s%.*s", system, generation, known ? id.version : "");
  checkpoint_close(file);
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

/* In a process of its own: a case whose inputs break an assertion has failed, and the others still run. */
static void run_apart(const char *folder, const char *title, const golden_system *system, golden_score *score) {
  golden_score own = {0};
  int ends[2], how = 0;
  fflush(stdout);
  const pid_t child = pipe(ends) ? -1 : fork();
  if (child < 0) {
    perror("golden");
    exit(2);
  }
  if (child == 0) {
    golden_run(folder, title, system, &own);
    exit(write(ends[1], &own, sizeof own) == sizeof own ? 0 : 1);
  }
  close(ends[1]);
  const bool finished = read(ends[0], &own, sizeof own) == sizeof own;
  close(ends[0]);
  if (waitpid(child, &how, 0) < 0 || !finished || !WIFEXITED(how) || WEXITSTATUS(how)) {
    own.failed++;
    printf("  FAIL  the run of this case broke off\n");
  }
  score->passed += own.passed;
  score->failed += own.failed;
  score->skipped += own.skipped;
}

static void run_case(const char *folder, golden_score *score) {
  char *parent, *name, title[512], model[64] = "";
  split_path(folder, &parent, &name);
  if (!parent || !name) exit(2);
  snprintf(title, sizeof title, "%s/%s", parent, name);
  const golden_system *system = system_named(parent);
  if (!system && !is_to_come(parent)) {
    name_of_model(folder, model, sizeof model);
    system = system_named(model);
  }
  if (system) {
    run_apart(folder, title, system, score);
  } else {
    score->failed++;
    printf("%s\n  FAIL  %s\n", title,
           is_to_come(parent) || *model ? "this system is not built yet"
                                        : "neither the folder's name nor a model in it says of which system it is");
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
