/* json_check [--lines] PATH...: reads JSON from standard input, fails with a sentence if it is none, and prints the
 * value at each path ("0.captions.1.text") on a line: strings and numbers as they are, "array 3", "object 2", "true",
 * "null". A path that leads nowhere fails. With --lines the input is one value a line; together they are an array. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *read_lines(void) {
  json_t *all = json_array();
  char *line = NULL;
  size_t room = 0;
  json_error_t error;
  while (getline(&line, &room, stdin) > 0) {
    json_t *one = json_loads(line, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!one) {
      fprintf(stderr, "line %zu is no JSON: %s\n", json_array_size(all) + 1, error.text);
      exit(1);
    }
    json_array_append_new(all, one);
  }
  free(line);
  return all;
}

static const json_t *follow(const json_t *value, const char *path) {
  while (value && *path) {
    char step[256];
    const size_t n = strcspn(path, ".");
    snprintf(step, sizeof step, "%.*s", (int)n, path);
    value = json_is_array(value) ? json_array_get(value, strtoull(step, NULL, 10)) : json_object_get(value, step);
    path += n + (path[n] == '.');
  }
  return value;
}

static void print_value(const json_t *value) {
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    printf("object %zu\n", json_object_size(value));
    break;
  case JSON_ARRAY:
    printf("array %zu\n", json_array_size(value));
    break;
  case JSON_STRING:
    puts(json_string_value(value));
    break;
  case JSON_INTEGER:
    printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
    break;
  case JSON_REAL:
    printf("%g\n", json_real_value(value));
    break;
  case JSON_TRUE:
    puts("true");
    break;
  case JSON_FALSE:
    puts("false");
    break;
  case JSON_NULL:
    puts("null");
    break;
  }
}

int main(int argc, char **argv) {
  const int lines = argc > 1 && !strcmp(argv[1], "--lines");
  json_error_t error;
  json_t *all =
      lines ? read_lines() : json_loadf(stdin, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
  if (!all) {
    fprintf(stderr, "no JSON: line %d: %s\n", error.line, error.text);
    return 1;
  }
  for (int i = 1 + lines; i < argc; i++) {
    const json_t *value = follow(all, argv[i]);
    if (!value) {
      fprintf(stderr, "there is nothing at %s\n", argv[i]);
      return 1;
    }
    print_value(value);
  }
  json_decref(all);
  return 0;
}
