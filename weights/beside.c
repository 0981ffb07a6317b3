#include "weights/beside.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/file.h"

enum { MOST_BYTES = 1 << 20 };

/* Owned by the caller; NULL if there is none. A checkpoint that was read from memory has nothing beside it. */
static char *path_beside(const checkpoint *file, const char *name) {
  const char *path = checkpoint_path(file), *slash = strrchr(path, '/');
  struct stat s;
  if (stat(path, &s)) return NULL;
  const bool folder = S_ISDIR(s.st_mode);
  const size_t length = folder ? strlen(path) : slash ? (size_t)(slash - path) : 0;
  const size_t room = length + strlen(name) + 2;
  char *out = mem_alloc(room, 1);
  if (out) snprintf(out, room, "%.*s%s%s", (int)length, path, folder || slash ? "/" : "", name);
  return out;
}

static json_t *json_beside(const checkpoint *file, const char *name) {
  char *path = path_beside(file, name);
  struct stat s;
  size_t size;
  char *text = path && !stat(path, &s) && S_ISREG(s.st_mode) ? file_read(path, MOST_BYTES, &size) : NULL;
  json_t *json = text ? json_loadb(text, size, 0, NULL) : NULL;
  free(text);
  free(path);
  return json;
}

/* Borrowed; NULL if it is not there. */
static const json_t *value_at(const json_t *json, const char *keys) {
  char key[64];
  while (json && *keys) {
    const size_t n = strcspn(keys, ".");
    if (n >= sizeof key) return NULL;
    memcpy(key, keys, n);
    key[n] = 0;
    json = json_object_get(json, key);
    keys += n + (keys[n] == '.');
  }
  return json;
}

bool beside_text(const checkpoint *file, const char *name, const char *keys, char *text, size_t room) {
  json_t *json = json_beside(file, name);
  const char *value = json_string_value(value_at(json, keys));
  const bool found = value && strlen(value) < room;
  if (found) strcpy(text, value);
  json_decref(json);
  return found;
}

bool beside_integer(const checkpoint *file, const char *name, const char *keys, int64_t *value) {
  json_t *json = json_beside(file, name);
  const json_t *at = value_at(json, keys);
  const bool found = json_is_integer(at);
  if (found) *value = json_integer_value(at);
  json_decref(json);
  return found;
}

bool beside_switch(const checkpoint *file, const char *name, const char *keys, bool *value) {
  json_t *json = json_beside(file, name);
  const json_t *at = value_at(json, keys);
  const bool found = json_is_boolean(at);
  if (found) *value = json_is_true(at);
  json_decref(json);
  return found;
}
