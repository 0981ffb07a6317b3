/* linnet index: retrieval indexes, made and looked after. The word says what; the small ones are here. */
#include "apps/index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/output.h"
#include "fusion/filter.h"

extern const char index_help[];
const char index_help[] = "  linnet index build pictures/ -o photos.lidx\n"
                          "  linnet search photos.lidx 'a red car'\n\n"
                          "Usage: linnet index WHAT [options] [operands]\n\n"
                          "What:\n"
                          "  build    makes an index of pictures and texts, or goes on with one\n"
                          "  add      adds pictures and texts; changed ones are replaced\n"
                          "  delete   deletes pictures by path, by a filter, or those that are gone\n"
                          "  stats    says what is in an index\n"
                          "  verify   compares all checksums\n"
                          "  compact  gives back the room of deleted rows\n"
                          "  merge    joins indexes, vectors of linnet embed, FAISS's files\n"
                          "  export   writes an index as .npy, as FAISS's .index, or into PostgreSQL\n\n"
                          "linnet help index WHAT explains one of them.\n";

static const struct {
  const char *word;
  int (*run)(int argc, char **argv);
} whats[] = {{"build", run_index_build}, {"add", run_index_add},       {"delete", run_index_delete},
             {"stats", run_index_stats}, {"verify", run_index_verify}, {"compact", run_index_compact},
             {"merge", run_index_merge}, {"export", run_index_export}};
enum { WHATS = sizeof whats / sizeof *whats };

int run_index(const verb *self, int argc, char **argv) {
  for (int i = 0; argc > 1 && i < WHATS; i++)
    if (!strcmp(argv[1], whats[i].word)) return whats[i].run(argc - 1, argv + 1);
  if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
    printf("linnet %s - %s\n\n%s", self->name, self->summary, self->help);
    return EXIT_DONE;
  }
  static const char there_are[] = "there are: build, add, delete, stats, verify, compact, merge, export";
  return argc > 1 ? misuse(self, "'%s' cannot be done with an index; %s", argv[1], there_are)
                  : misuse(self, "do what? %s", there_are);
}

/* The one operand that most of them have; NULL after naming the mistake. */
static const char *the_index(const verb *self, int argc, char **argv, int at) {
  if (at == argc) misuse(self, "which index? give the path of its file");
  if (argc - at > 1) misuse(self, "one index at a time, found also '%s'", argv[at + 1]);
  return argc - at == 1 ? argv[at] : NULL;
}

/* --- delete ------------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *index, *filter;
  bool missing, json;
} deletion;

static status remove_one(index_writer *w, const char *path, size_t *removed) {
  bool found;
  const status s = index_remove(w, path, &found);
  *removed += !s && found;
  return s;
}

/* Whether a row is of a picture whose file is gone. */
static bool is_gone(const deletion *d, const index_record *r) {
  json_t *metadata = record_metadata(r);
  const bool picture = is_picture(metadata);
  char *file = picture ? picture_file(r->path, d->index) : NULL;
  json_decref(metadata);
  free(file);
  return picture && !file;
}

/* Those of the last commit, which nobody else changes while the writer has its lock. */
static status remove_chosen(const deletion *d, index_writer *w, size_t *removed) {
  vector_index *x = index_open(d->index);
  filter *f = d->filter ? filter_parse(d->filter) : NULL;
  status s = x && (f || !d->filter) ? STATUS_OK : last_status();
  const size_t rows = x ? index_numbers_of(x)->rows : 0;
  for (uint64_t row = 0; !s && row < rows; row++) {
    index_record r;
    bool yes = true;
    if (index_deleted(x, row)) continue;
    s = index_record_at(x, row, &r);
    if (!s && f) s = filter_matches(f, index_id_at(x, row), &r, &yes);
    if (!s && yes && (!d->missing || is_gone(d, &r))) s = remove_one(w, r.path, removed);
  }
  filter_free(f);
  index_close(x);
  return s;
}

static int delete_rows(const deletion *d, char *const *path, size_t n) {
  size_t removed = 0, unknown = 0;
  index_writer *w = index_append(d->index);
  status s = w ? STATUS_OK : last_status();
  if (!s && (d->filter || d->missing)) s = remove_chosen(d, w, &removed);
  for (size_t i = 0; !s && i < n; i++) {
    const size_t before = removed;
    s = remove_one(w, path[i], &removed);
    if (s || removed > before) continue;
    complain("%s: there is no row of the name %s", d->index, path[i]);
    unknown++;
  }
  if (!s) s = index_commit(w);
  index_writer_close(w);
  if (s) return failed();
  if (d->json)
    json_print(json_pack("{s:I,s:I}", "deleted", (json_int_t)removed, "unknown", (json_int_t)unknown), false);
  else
    printf("%zu deleted\n", removed);
  return unknown ? EXIT_DATA : EXIT_DONE;
}

int run_index_delete(int argc, char **argv) {
  static const verb self = {
      "index delete", "deletes rows of an index", NULL,
      "  linnet index delete photos.lidx pictures/car.png\n"
      "  linnet index delete photos.lidx --filter 'width < 64 or path ~ \"thumbs/\"'\n"
      "  linnet index delete photos.lidx --missing\n\n"
      "Usage: linnet index delete [options] INDEX [PATH...]\n\n"
      "Rows are named by the paths that they were added with. A name that the index does not have\n"
      "is told, and the exit code is 1. --filter and --missing together take what both fit. The\n"
      "room comes back with `linnet index compact`.\n"};
  deletion d = {0};
  int at, code;
  const arg list[] = {
      {"filter", 'f', ARG_TEXT, &d.filter, 0, 0, "QUESTION", "what it fits (docs/indexes.md)"},
      {"missing", 0, ARG_SWITCH, &d.missing, 0, 0, NULL, "pictures whose files are gone"},
      ARG_JSON(&d.json),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at == argc) return misuse(&self, "which index? give the path of its file");
  d.index = argv[at++];
  if (at == argc && !d.filter && !d.missing)
    return misuse(&self, "there is nothing to delete: give paths, --filter or --missing");
  return delete_rows(&d, argv + at, (size_t)(argc - at));
}

/* --- stats -------------------------------------------------------------------------------------------------------- */

static json_t *numbers_json(const char *path, const index_numbers *n) {
  json_t *about = json_loads(n->facts.about, 0, NULL);
  return json_pack("{s:o,s:I,s:I,s:I,s:I,s:s,s:I,s:I,s:I,s:o}", "path", json_text(path), "rows", (json_int_t)n->live,
                   "deleted", (json_int_t)(n->rows - n->live), "segments", (json_int_t)n->segments, "width",
                   (json_int_t)n->facts.width, "type", vector_type_name(n->facts.type), "commits",
                   (json_int_t)n->commits, "bytes", (json_int_t)n->bytes, "used", (json_int_t)n->used, "about",
                   about ? about : json_null());
}

static void show_numbers(const char *path, const index_numbers *n) {
  json_t *name = about_name(n->facts.about);
  text_line(path);
  printf("  rows      %zu, and %zu deleted\n", n->live, n->rows - n->live);
  printf("  vectors   %zu numbers, %s\n", n->facts.width, vector_type_name(n->facts.type));
  fputs("  model     ", stdout);
  text_line(json_is_string(name) ? json_string_value(name) : "unknown");
  printf("  segments  %zu, commit %" PRIu64 "\n", n->segments, n->commits);
  printf("  bytes     %" PRIu64 ", of them %" PRIu64 " in use\n", n->bytes, n->used);
  json_decref(name);
}

int run_index_stats(int argc, char **argv) {
  static const verb self = {"index stats", "says what is in an index", NULL,
                            "  linnet index stats photos.lidx\n\n"
                            "Usage: linnet index stats [options] INDEX\n"};
  bool json = false;
  int at, code;
  const arg list[] = {ARG_JSON(&json)};
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  const char *path = the_index(&self, argc, argv, at);
  if (!path) return EXIT_MISUSE;
  vector_index *x = index_open(path);
  if (!x) return failed();
  if (json)
    json_print(numbers_json(path, index_numbers_of(x)), false);
  else
    show_numbers(path, index_numbers_of(x));
  index_close(x);
  return EXIT_DONE;
}

/* --- verify, compact ---------------------------------------------------------------------------------------------- */

int run_index_verify(int argc, char **argv) {
  static const verb self = {
      "index verify", "compares all checksums of an index", NULL,
      "  linnet index verify photos.lidx\n\n"
      "Usage: linnet index verify INDEX\n\n"
      "Reads every byte that counts. The exit code is 1, with a sentence, if one is not what was\n"
      "written.\n"};
  int at, code;
  if (!args_parse(&self, NULL, 0, argc, argv, &at, &code)) return code;
  const char *path = the_index(&self, argc, argv, at);
  if (!path) return EXIT_MISUSE;
  if (index_verify(path)) return failed();
  text_put(stdout, path, strlen(path));
  puts(": sound");
  return EXIT_DONE;
}

int run_index_compact(int argc, char **argv) {
  static const verb self = {
      "index compact", "gives back the room of deleted rows", NULL,
      "  linnet index compact photos.lidx\n\n"
      "Usage: linnet index compact INDEX\n\n"
      "Writes what is not deleted anew as one segment, beside the file, and puts that in its place.\n"
      "Ids stay. Searches that have the old file open end with it.\n"};
  int at, code;
  if (!args_parse(&self, NULL, 0, argc, argv, &at, &code)) return code;
  const char *path = the_index(&self, argc, argv, at);
  if (!path) return EXIT_MISUSE;
  return index_compact(path) ? failed() : EXIT_DONE;
}
