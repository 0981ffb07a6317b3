/* linnet inspect: what a model file is and holds. Everything is gathered into one JSON object, which --json prints as
 * it is. */
#include <stdlib.h>
#include <string.h>

#include "apps/args.h"
#include "apps/output.h"
#include "weights/checkpoint.h"
#include "weights/identify.h"
#include "weights/statistics.h"

extern const char inspect_help[];
const char inspect_help[] =
    "  linnet inspect model.pth\n"
    "  linnet inspect --stats model.gguf\n"
    "  linnet inspect --verify model.gguf\n\n"
    "Usage: linnet inspect [options] FILE\n\n"
    "Says what a model file is: its container, the system, version and sizes (recognised from the\n"
    "tensors), parameters and bytes of each part, types of numbers, metadata. --stats and --verify read\n"
    "the whole file: --stats for what each tensor's values are like, --verify to test its checksums.\n";

enum { MOST_PARTS = 32, LONGEST_VALUE = 60, LONGEST_ARRAY = 16 };

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

static json_int_t count_interleaved(const checkpoint *file) {
  json_int_t n = 0;
  for (size_t i = 0; i < checkpoint_count(file); i++) n += checkpoint_at(file, i)->packed != NULL;
  return n;
}

/* null where the values cannot be read as numbers (an integer beyond 2^24, a damaged entry): the sentence is told. */
static json_t *statistics_json(const checkpoint *file, const checkpoint_tensor *t, bool *damaged) {
  tensor_statistics s;
  if (tensor_statistics_read(file, t, &s)) {
    complain("%s", last_error());
    *damaged |= last_status() != STATUS_UNSUPPORTED;
    return json_null();
  }
  return json_pack("{s:o,s:o,s:o,s:o,s:I,s:I,s:I}", "min", json_number(s.min), "max", json_number(s.max), "mean",
                   json_number(s.mean), "deviation", json_number(s.deviation), "zeros", (json_int_t)s.zeros, "nan",
                   (json_int_t)s.nans, "infinite", (json_int_t)s.infinities);
}

static json_t *tensors_json(const checkpoint *file, bool stats, bool *damaged) {
  json_t *array = json_array();
  for (size_t i = 0; i < checkpoint_count(file); i++) {
    const checkpoint_tensor *t = checkpoint_at(file, i);
    json_t *shape = json_array();
    for (int d = 0; d < t->n_dims; d++) json_array_append_new(shape, json_integer(t->dim[d]));
    json_t *one = json_pack("{s:o,s:s,s:o}", "name", json_text(t->name), "dtype", checkpoint_dtype_name(t->dtype),
                            "shape", shape);
    if (t->packed) json_object_set_new(one, "interleaved", json_true());
    if (stats) json_object_set_new(one, "stats", statistics_json(file, t, damaged));
    json_array_append_new(array, one);
  }
  return array;
}

static json_t *sizes_json(const identity *id) {
  json_t *parts = json_object();
  for (int i = 0; i < id->n_sizes; i++) {
    const identity_size *size = &id->size[i];
    const char *name = *size->part ? size->part : "model";
    json_t *sizes = json_object_get(parts, name);
    if (!sizes) json_object_set_new(parts, name, sizes = json_object());
    json_object_set_new(sizes, size->name, json_integer(size->value));
  }
  return parts;
}

/* Long values (a vocabulary has thousands of tokens) are cut: the report is for reading. */
static json_t *text_json(const char *value) {
  const size_t n = strlen(value);
  if (n <= LONGEST_VALUE) return json_text(value);
  size_t end = LONGEST_VALUE;
  while (end && ((unsigned char)value[end] & 0xc0) == 0x80) end--; /* not inside a character */
  char cut[LONGEST_VALUE + 40];
  snprintf(cut, sizeof cut, "%.*s... (%zu bytes)", (int)end, value, n);
  return json_text(cut);
}

static json_t *array_json(const metadata_value *value, metadata_type items, size_t count) {
  char text[40];
  snprintf(text, sizeof text, "[%s] of %zu", metadata_type_name(items), count);
  return count > LONGEST_ARRAY ? json_string(text) : metadata_json(value, 0);
}

static json_t *entry_json(const checkpoint_entry *e) {
  metadata_type items;
  size_t count;
  if (e->text) return text_json(e->text);
  if (metadata_array(&e->value, &items, &count)) return array_json(&e->value, items, count);
  return metadata_json(&e->value, 0);
}

static json_t *entries_json(const checkpoint *file) {
  json_t *all = json_object();
  for (size_t i = 0; i < checkpoint_metadata_count(file); i++) {
    const checkpoint_entry *e = checkpoint_metadata_at(file, i);
    json_object_set_new(all, e->key, entry_json(e));
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

static void print_value(const json_t *value) {
  if (json_is_string(value)) {
    text_put(stdout, json_string_value(value), json_string_length(value));
    return;
  }
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
  if (text) text_put(stdout, text, strlen(text));
  free(text);
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
    print_value(value);
  }
  putchar('\n');
}

static void print_sizes(json_t *sizes) {
  const char *key;
  json_t *value;
  if (!json_object_size(sizes)) return;
  puts("\nsizes");
  json_object_foreach(sizes, key, value) {
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
    print_value(value);
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

static void print_statistics(const json_t *stats) {
  static const char *const counts[] = {"zeros", "nan", "infinite"};
  static const char *const reals[] = {"min", "max", "mean", "deviation"};
  for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
    printf("\t%s %.6g", reals[i], json_number_value(json_object_get(stats, reals[i])));
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    const json_int_t n = json_integer_value(json_object_get(stats, counts[i]));
    if (n) printf("\t%" JSON_INTEGER_FORMAT " %s", n, counts[i]);
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
    putchar(']');
    if (json_object_get(t, "interleaved")) fputs("\tinterleaved", stdout);
    const json_t *stats = json_object_get(t, "stats");
    if (json_is_object(stats)) print_statistics(stats);
    putchar('\n');
  }
}

/* A line, if the report has the field. */
static void print_field(const json_t *report, const char *field) {
  const char *text = json_string_value(json_object_get(report, field));
  if (text && *text) print_line(field, text);
}

static void print_report(json_t *report) {
  static const char *const fields[] = {"file",    "container", "prefix", "choices", "system",
                                       "version", "title",     "why",    "refusal"};
  json_t *sizes = json_object_get(report, "sizes"), *tensors = json_object_get(report, "tensors");
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) print_field(report, fields[i]);
  printf("%-12s %" JSON_INTEGER_FORMAT " in %" JSON_INTEGER_FORMAT " tensors, %" JSON_INTEGER_FORMAT " bytes\n",
         "parameters", json_integer_value(json_object_get(report, "parameters")),
         sum(json_object_get(report, "parts"), "tensors"), json_integer_value(json_object_get(report, "bytes")));
  printf("%-12s ", "types");
  print_pairs(json_object_get(report, "types"));
  const json_int_t interleaved = json_integer_value(json_object_get(report, "interleaved"));
  if (interleaved)
    printf("%-12s %" JSON_INTEGER_FORMAT " tensors, for use where they lie\n", "interleaved", interleaved);
  print_field(report, "verified");
  print_parts(json_object_get(report, "parts"));
  if (sizes) print_sizes(sizes);
  print_metadata(json_object_get(report, "metadata"));
  if (tensors) print_tensors(tensors);
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

typedef struct {
  bool tensors, stats, verify;
  bool damaged; /* found by the way: the report is there, but not all of it */
} wanted;

static void add_text(json_t *report, const char *field, const char *text) {
  if (text && *text) json_object_set_new(report, field, json_text(text));
}

static void add_identity(json_t *report, const identity *id) {
  add_text(report, "system", id->system);
  add_text(report, "version", id->version);
  add_text(report, "title", id->title);
  add_text(report, "why", id->why);
  add_text(report, "refusal", id->refusal);
  json_object_set_new(report, "sizes", sizes_json(id));
}

/* The report of a file; NULL with a sentence if it is damaged. */
static json_t *inspect(const checkpoint *file, wanted *w) {
  identity id;
  bool has_checksum = false;
  if (w->verify && checkpoint_verify(file, &has_checksum)) return NULL;
  const bool known = identify(file, &id);
  json_t *report = json_object(), *parts = parts_json(file, known && !strcmp(id.system, "visualrwkv"));
  add_text(report, "file", checkpoint_path(file));
  add_text(report, "container", checkpoint_container(file));
  add_text(report, "prefix", checkpoint_prefix(file));
  if (strcmp(checkpoint_choices(file), ".")) add_text(report, "choices", checkpoint_choices(file));
  if (known)
    add_identity(report, &id);
  else
    add_text(report, "system", "unknown");
  if (w->verify)
    add_text(report, "verified", has_checksum ? "the checksums are right" : "the file carries no checksum");
  json_object_set_new(report, "parameters", json_integer(sum(parts, "parameters")));
  json_object_set_new(report, "bytes", json_integer(sum(parts, "bytes")));
  json_object_set_new(report, "types", types_json(file));
  json_object_set_new(report, "interleaved", json_integer(count_interleaved(file)));
  json_object_set_new(report, "parts", parts);
  json_object_set_new(report, "metadata", entries_json(file));
  if (w->tensors || w->stats) json_object_set_new(report, "tensors", tensors_json(file, w->stats, &w->damaged));
  return report;
}

int run_inspect(const verb *self, int argc, char **argv) {
  wanted w = {0};
  const char *choice = NULL;
  bool json = false;
  int at, code;
  const arg list[] = {
      {"tensors", 0, ARG_SWITCH, &w.tensors, 0, 0, NULL, "also every tensor: name, type, shape"},
      {"stats", 0, ARG_SWITCH, &w.stats, 0, 0, NULL, "and what its values are like"},
      {"verify", 0, ARG_SWITCH, &w.verify, 0, 0, NULL, "test the file's checksums"},
      ARG_CHOICE(&choice),
      ARG_JSON(&json),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at != 1) return misuse(self, "expected one file, found %d", argc - at);
  checkpoint *file = checkpoint_open_choice(argv[at], choice);
  json_t *report = file ? inspect(file, &w) : NULL;
  code = !report ? failed() : w.damaged ? EXIT_DATA : EXIT_DONE;
  checkpoint_close(file);
  if (report && json) {
    json_print(report, false);
  } else if (report) {
    print_report(report);
    json_decref(report);
  }
  return code;
}
