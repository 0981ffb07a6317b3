#include "apps/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/file.h"

/* --- models ------------------------------------------------------------------------------------------------------- */

enum { PATH_ROOM = PATH_MAX + 64 };

/* "<folder of the executable>/../share/linnet/<shipped>"; false if the system does not say where it is. */
static bool beside_executable(char out[PATH_ROOM], const char *shipped) {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0) return false;
  self[n] = 0;
  char *slash = strrchr(self, '/');
  if (!slash) return false;
  *slash = 0;
  int length = snprintf(out, PATH_ROOM, "%s/../share/linnet/%s", self, shipped);
  return length > 0 && length < PATH_ROOM;
}

const char *model_path(const char *given, const char *shipped) {
  static char path[PATH_ROOM], source[PATH_ROOM];
  const char *wish = getenv("LINNET_MODEL");
  if (given) return given;
  if (wish && *wish) return wish;
  const bool known = beside_executable(path, shipped);
  if (known && !access(path, F_OK)) return path;
#ifdef LINNET_WEIGHTS_DIR
  snprintf(source, sizeof source, "%s/%s", LINNET_WEIGHTS_DIR, shipped);
  if (!access(source, F_OK)) return source;
#endif
  return fail_null(STATUS_IO,
                   "no model was found: give one with --model PATH or in the environment variable LINNET_MODEL, or put "
                   "one where it is looked for, at %s%s",
                   known ? path : "share/linnet/", known ? "" : shipped);
}

visualrwkv *model_open(const char *given) {
  const char *path = model_path(given, SHIPPED_CAPTIONER);
  return path ? visualrwkv_open(path) : NULL;
}

clip_model *pair_open(const char *given, const char *vocabulary) {
  const char *path = model_path(given, SHIPPED_PAIR);
  return path ? clip_model_open(path, vocabulary) : NULL;
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
