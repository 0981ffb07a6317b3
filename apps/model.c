#include "apps/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/file.h"

#define MODEL_FILE "captioner.gguf"

/* --- models ------------------------------------------------------------------------------------------------------- */

/* "<folder of the executable>/../share/linnet/captioner.gguf"; false if the system does not say where it is. */
static bool beside_executable(char *out, size_t room) {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0) return false;
  self[n] = 0;
  char *slash = strrchr(self, '/');
  if (!slash) return false;
  *slash = 0;
  int length = snprintf(out, room, "%s/../share/linnet/%s", self, MODEL_FILE);
  return length > 0 && (size_t)length < room;
}

visualrwkv *model_open(const char *given) {
  char path[PATH_MAX + 64];
  const char *wish = getenv("LINNET_MODEL");
  if (given) return visualrwkv_open(given);
  if (wish && *wish) return visualrwkv_open(wish);
  if (beside_executable(path, sizeof path) && !access(path, F_OK)) return visualrwkv_open(path);
#ifdef LINNET_WEIGHTS_DIR
  if (!access(LINNET_WEIGHTS_DIR "/" MODEL_FILE, F_OK)) return visualrwkv_open(LINNET_WEIGHTS_DIR "/" MODEL_FILE);
#endif
  return fail_null(STATUS_IO,
                   "no model was found: give one with --model PATH or in the environment variable LINNET_MODEL, or put "
                   "one where it is looked for, at %s",
                   beside_executable(path, sizeof path) ? path : "share/linnet/" MODEL_FILE);
}

/* --- pictures ----------------------------------------------------------------------------------------------------- */

uint8_t *picture_bytes(const char *path, const char **name, size_t *n) {
  const bool is_stdin = !strcmp(path, "-");
  *name = is_stdin ? "standard input" : path;
  return is_stdin ? file_read_open(STDIN_FILENO, *name, IMAGE_MAX_BYTES, n) : file_read(path, IMAGE_MAX_BYTES, n);
}

image *picture_open(const char *path) {
  if (strcmp(path, "-")) return image_open(path, NULL);
  const char *name;
  size_t n;
  uint8_t *bytes = picture_bytes(path, &name, &n);
  image *im = bytes ? image_decode(bytes, n, name, NULL) : NULL;
  free(bytes);
  return im;
}
