/* linnet inspect: what a model file is and holds. Everything is gathered into one JSON object, which --json prints as
 * it is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "apps/args.h"
#include "apps/output.h"
#include "fusion/visualrwkv.h"
#include "weights/checkpoint.h"

extern const char inspect_help[];
const char inspect_help[] = "  linnet inspect captioner.safetensors\n"
                            "  linnet inspect --tensors --json captioner.safetensors\n\n"
                            "Usage: linnet inspect [options] FILE\n\n"
                            "Says what a model file is: its container, the system and its sizes, parameters and bytes\n"
                            "of each part, types of numbers, metadata. Nothing is computed.\n";

enum { MOST_PARTS = 32, LONGEST_VALUE = 60 };

/* --- parts of a model --------------------------------------------------------------------------------------------- */

typedef struct {
  char name[CHECKPOINT_NAME_MAX + 1];
  int64_t parameters, bytes, tensors;
} part;

/* A part is what stands before the first dot of a name; files with very many have the rest under "others". */
static part *part_of(part *parts, size_t *n, const char *tensor_name) {
  const size_t length = strcspn(tensor_name, ".");
  size_t i = 0;
  while (i < *n && (strlen(parts[i].name) != length || memcmp(parts[i].name, tensor_name, length))) i++;
  if (i == MOST_PARTS) return &parts[MOST_PARTS - 1];
  if (i < *n) return &parts[i];
  const bool last = i == MOST_PARTS - 1;
  parts[i] = (part){0};
  if (last)
    strcpy(parts[i].name, "(others)");
  else
    memcpy(parts[i].name, tensor_name, length);
  ++*n;
  return &parts[i];
}

static const char *part_title(const char *name) {
  static const char *const title[][2] = {{"rwkv", "language model"}, {"vit", "image tower"}, {"proj", "projector"}};
  for (size_t i = 0; i < sizeof title / sizeof *title; i++)
    if (!strcmp(name, title[i][0])) return title[i][1];
  return name;
}

static json_t *parts_json(const checkpoint *file, bool known) {
  part parts[MOST_PARTS];
  size_t n = 0;
  for (size_t i = 0; i < checkpoint_count(file); i++) {
    const checkpoint_tensor *t = checkpoint_at(file, i);
    part *p = part_of(parts, &n, t->name);
    p->parameters += checkpoint_elements(t);
    p->bytes += (int64_t)t->bytes;
    p->tensors++;
  }
  json_t *array = json_array();
  for (size_t i = 0; i < n; i++)
    json_array_append_new(array,
                          json_pack("{s:s,s:I,s:I,s:I}", "part", known ? part_title(parts[i].name) : parts[i].name,
                                    "parameters", (json_int_t)parts[i].parameters, "bytes", (json_int_t)parts[i].bytes,
                                    "tensors", (json_int_t)parts[i].tensors));
  return array;
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

static json_t *types_json(const checkpoint *file) {
  json_int_t count[CHECKPOINT_DTYPES] = {0};
  for (size_t i = 0; i < checkpoint_count(file); i++) count[checkpoint_at(file, i)->dtype]++;
  json_t *types = json_object();
  for (int d = 0; d < CHECKPOINT_DTYPES; d++)
    if (count[d]) json_object_set_new(types, checkpoint_dtype_name((checkpoint_dtype)d), json_integer(count[d]));
  return types;
}

static json_t *tensors_json(const checkpoint *file) {
  json_t *array = json_array();
  for (size_t i = 0; i < checkpoint_count(file); i++) {
    const checkpoint_tensor *t = checkpoint_at(file, i);
    json_t *shape = json_array();
    for (int d = 0; d < t->n_dims; d++) json_array_append_new(shape, json_integer(t->dim[d]));
    json_array_append_new(array, json_pack("{s:o,s:s,s:o}", "name", json_text(t->name), "dtype",
                                           checkpoint_dtype_name(t->dtype), "shape", shape));
  }
  return array;
}

static json_t *config_json(const visualrwkv_config *k) {
  json_t *lm = json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "layers", k->lm.n_layer, "width", k->lm.n_embd, "hidden",
                         k->lm.dim_ffn, "head_size", k->lm.head_size, "vocabulary", k->lm.vocab_size, "rank_mix",
                         k->lm.rank_mix, "rank_decay", k->lm.rank_decay);
  json_t *tower = json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:s}", "layers", k->tower.depth, "width", k->tower.width,
                            "hidden", k->tower.hidden, "head_size", k->tower.head_size, "patch", k->tower.patch,
                            "rank_mix", k->tower.rank_mix, "rank_decay", k->tower.rank_decay, "scan",
                            k->tower.alternate_scan ? "alternate" : "rows");
  json_t *picture = json_pack("{s:i,s:i,s:s}", "size", k->image_size, "grid", k->image_grid, "scan",
                              k->bidirectional ? "bidirection" : "unidirection");
  return json_pack("{s:o,s:o,s:o}", "language model", lm, "image tower", tower, "picture", picture);
}

/* Long values (a vocabulary has thousands of lines) are cut: the report is for reading. */
static json_t *metadata_json(const checkpoint *file) {
  json_t *all = json_object();
  for (size_t i = 0; i < checkpoint_metadata_count(file); i++) {
    const char *key, *value;
    checkpoint_metadata_at(file, i, &key, &value);
    const size_t n = strlen(value);
    if (n <= LONGEST_VALUE) {
      json_object_set_new(all, key, json_text(value));
      continue;
    }
    size_t end = LONGEST_VALUE;
    while (end && ((unsigned char)value[end] & 0xc0) == 0x80) end--; /* not inside a character */
    char cut[LONGEST_VALUE + 40];
    snprintf(cut, sizeof cut, "%.*s... (%zu bytes)", (int)end, value, n);
    json_object_set_new(all, key, json_text(cut));
  }
  return all;
}

static json_int_t sum(const json_t *array, const char *field) {
  json_int_t total = 0;
  for (size_t i = 0; i < json_array_size(array); i++)
    total += json_integer_value(json_object_get(json_array_get(array, i), field));
  return total;
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static void print_scalar(const json_t *value) {
  if (json_is_string(value))
    text_put(stdout, json_string_value(value), json_string_length(value));
  else if (json_is_integer(value))
    printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
}

static void print_line(const char *name, const char *text) {
  printf("%-12s ", name);
  text_line(text);
}

static void print_pairs(json_t *object) {
  const char *key;
  json_t *value;
  size_t at = 0;
  json_object_foreach(object, key, value) {
    printf("%s%s ", at++ ? ", " : "", key);
    print_scalar(value);
  }
  putchar('\n');
}

static void print_config(json_t *config) {
  const char *key;
  json_t *value;
  puts("\nconfig");
  json_object_foreach(config, key, value) {
    printf("  %-16s ", key);
    print_pairs(value);
  }
}

static void print_metadata(json_t *all) {
  const char *key;
  json_t *value;
  if (!json_object_size(all)) return;
  puts("\nmetadata");
  json_object_foreach(all, key, value) {
    fputs("  ", stdout);
    text_put(stdout, key, strlen(key));
    for (size_t n = strlen(key); n < 24; n++) putchar(' ');
    putchar(' ');
    print_scalar(value);
    putchar('\n');
  }
}

static void print_parts(const json_t *array) {
  printf("\n%-24s %14s %14s %8s\n", "part", "parameters", "bytes", "tensors");
  for (size_t i = 0; i < json_array_size(array); i++) {
    const json_t *p = json_array_get(array, i);
    const char *name = json_string_value(json_object_get(p, "part"));
    text_put(stdout, name, strlen(name));
    for (size_t n = strlen(name); n < 24; n++) putchar(' ');
    printf(" %14" JSON_INTEGER_FORMAT " %14" JSON_INTEGER_FORMAT " %8" JSON_INTEGER_FORMAT "\n",
           json_integer_value(json_object_get(p, "parameters")), json_integer_value(json_object_get(p, "bytes")),
           json_integer_value(json_object_get(p, "tensors")));
  }
}

static void print_tensors(const json_t *array) {
  putchar('\n');
  for (size_t i = 0; i < json_array_size(array); i++) {
    const json_t *t = json_array_get(array, i), *shape = json_object_get(t, "shape");
    const char *name = json_string_value(json_object_get(t, "name"));
    text_put(stdout, name, strlen(name));
    printf("\t%s\t[", json_string_value(json_object_get(t, "dtype")));
    for (size_t d = 0; d < json_array_size(shape); d++)
      printf("%s%" JSON_INTEGER_FORMAT, d ? "," : "", json_integer_value(json_array_get(shape, d)));
    puts("]");
  }
}

static void print_report(json_t *report) {
  json_t *config = json_object_get(report, "config"), *tensors = json_object_get(report, "tensors");
  print_line("file", json_string_value(json_object_get(report, "file")));
  print_line("container", json_string_value(json_object_get(report, "container")));
  print_line("system", json_string_value(json_object_get(report, "system")));
  printf("%-12s %" JSON_INTEGER_FORMAT " in %" JSON_INTEGER_FORMAT " tensors, %" JSON_INTEGER_FORMAT " bytes\n",
         "parameters", json_integer_value(json_object_get(report, "parameters")),
         sum(json_object_get(report, "parts"), "tensors"), json_integer_value(json_object_get(report, "bytes")));
  printf("%-12s ", "types");
  print_pairs(json_object_get(report, "types"));
  print_parts(json_object_get(report, "parts"));
  if (config) print_config(config);
  print_metadata(json_object_get(report, "metadata"));
  if (tensors) print_tensors(tensors);
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

/* The report of a file; NULL with a sentence if it claims to be a model that this program knows and is none. */
static json_t *inspect(const checkpoint *file, bool tensors) {
  const char *system = checkpoint_metadata(file, "linnet.system");
  const bool known = system && !strcmp(system, VISUALRWKV_SYSTEM);
  json_t *config = NULL;
  if (known) {
    visualrwkv m;
    status s = visualrwkv_declare_like(&m, file);
    if (!s) config = config_json(&m.config);
    visualrwkv_free(&m);
    if (s) return NULL;
  }
  json_t *parts = parts_json(file, known);
  json_t *report =
      json_pack("{s:o,s:s,s:o,s:I,s:I,s:o,s:o}", "file", json_text(checkpoint_path(file)), "container",
                checkpoint_container(file), "system", json_text(system ? system : "unknown"), "parameters",
                sum(parts, "parameters"), "bytes", sum(parts, "bytes"), "types", types_json(file), "parts", parts);
  if (config) json_object_set_new(report, "config", config);
  json_object_set_new(report, "metadata", metadata_json(file));
  if (tensors) json_object_set_new(report, "tensors", tensors_json(file));
  if (!report) fail(STATUS_MEMORY, "out of memory");
  return report;
}

int run_inspect(const verb *self, int argc, char **argv) {
  bool tensors = false, json = false;
  int at, code;
  const arg list[] = {
      {"tensors", 0, ARG_SWITCH, &tensors, 0, 0, NULL, "also every tensor: name, type, shape"},
      ARG_JSON(&json),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at != 1) return misuse(self, "expected one file, found %d", argc - at);
  checkpoint *file = checkpoint_open(argv[at]);
  json_t *report = file ? inspect(file, tensors) : NULL;
  if (!report)
    code = failed();
  else
    code = EXIT_DONE;
  checkpoint_close(file);
  if (!report) return code;
  if (json) {
    json_print(report, false);
  } else {
    print_report(report);
    json_decref(report);
  }
  return code;
}
