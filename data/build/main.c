/* linnet-data: makes, checks and shows the project's training data: pictures of things, and text (docs/data.md). Run it
 * in the source tree. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/build/build.h"
#include "data/build/text.h"

static const char PACK[] = "build/data/objects.pack";
static const char MANIFEST[] = "data/objects.tsv";
static const char KINDS[] = "data/kinds.tsv";
static const char TEXT[] = "build/data/text";
static const char TEXT_MANIFEST[] = "data/text.tsv";

static const char USAGE[] =
    "linnet-data build [-o PACK] [--manifest FILE] [--renew]\n"
    "  Makes the pack (build/data/objects.pack) from the installed Debian packages. The manifest (data/objects.tsv) "
    "pins\n"
    "  the result: the build fails if it would differ, unless --renew writes a new one.\n"
    "linnet-data audit [PACK] [--manifest FILE] [--kinds FILE]\n"
    "  Proves that nothing outside the training split occurs in it; of the manifest alone if there is no PACK.\n"
    "linnet-data sheet -o FILE.png [--split train|validation|test] [--kind KIND] [--from N] [--count N] [PACK]\n"
    "  Draws a contact sheet, sorted by kind, 16 pictures a row.\n"
    "linnet-data text [--out FOLDER] [--manifest FILE] [--renew | --audit]\n"
    "  Makes train.jsonl, validation.jsonl and test.jsonl in build/data/text from the installed Debian packages, as\n"
    "  data/text.tsv pins them; --audit reads them back and proves that no held-out document can be read in another "
    "split.\n"
    "linnet-data tasks [--out FOLDER]\n"
    "  Makes lambada.jsonl and choices.jsonl, questions for `linnet eval lm`, from test.jsonl, as `text` does too.\n";

/* What the command line says; NULL where it says nothing. */
typedef struct {
  const char *out, *manifest, *kinds, *split, *kind, *from, *count, *pack;
  bool renew, audit;
} arguments;

static int misused(const char *sentence, const char *what) {
  fprintf(stderr, "linnet-data: %s%s\n%s", sentence, what, USAGE);
  return 2;
}

static bool parse(int argc, char **argv, arguments *a) {
  struct {
    const char *name;
    const char **value;
  } options[] = {{"-o", &a->out},        {"--out", &a->out},   {"--manifest", &a->manifest}, {"--kinds", &a->kinds},
                 {"--split", &a->split}, {"--kind", &a->kind}, {"--from", &a->from},         {"--count", &a->count}};
  for (int i = 2; i < argc; i++) {
    const char **value = NULL;
    for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
      if (strcmp(argv[i], options[o].name) == 0) value = options[o].value;
    }
    if (strcmp(argv[i], "--renew") == 0) {
      a->renew = true;
    } else if (strcmp(argv[i], "--audit") == 0) {
      a->audit = true;
    } else if (value != NULL && i + 1 < argc) {
      *value = argv[++i];
    } else if (value == NULL && argv[i][0] != '-' && a->pack == NULL) {
      a->pack = argv[i];
    } else {
      return false;
    }
  }
  return true;
}

static int failed(void) {
  fprintf(stderr, "linnet-data: %s\n", last_error());
  return 1;
}

static int run_build(const arguments *a) {
  const char *pack = a->out != NULL ? a->out : PACK, *pinned = a->manifest != NULL ? a->manifest : MANIFEST;
  return dataset_build(pack, pinned, a->renew) == STATUS_OK ? 0 : failed();
}

/* ---- audit ---- */

static int print_audit(const split_audit *a, const char *of) {
  printf("audit of %s\n", of);
  printf("pictures: %u train, %u validation, %u test; kinds held out: %u\n", a->pictures[SPLIT_TRAIN],
         a->pictures[SPLIT_VALIDATION], a->pictures[SPLIT_TEST], a->kinds_held_out);
  printf("across splits: %u copies, %u near copies, %u siblings\n", a->copies, a->near_copies, a->siblings);
  printf("pictures of held-out kinds outside test: %u; kinds without a training picture: %u\n", a->held_out_seen,
         a->kinds_untrained);
  printf("wrong held-out flags: %u; differences between pack and manifest: %u\n", a->wrong_flags, a->mismatches);
  if (split_audit_violations(a) == 0) {
    printf("passed\n");
    return 0;
  }
  printf("FAILED: %u violations; the first: %s\n", split_audit_violations(a), a->first);
  return 1;
}

static int audit_with(const arguments *a, const kind_table *kinds, const manifest *m) {
  split_audit result;
  const char *pack = a->pack != NULL ? a->pack : access(PACK, R_OK) == 0 && a->manifest == NULL ? PACK : NULL;
  if (pack == NULL) {
    split_audit_manifest(m, kinds, &result);
    return print_audit(&result, a->manifest != NULL ? a->manifest : MANIFEST);
  }
  object_set *set = object_set_open(pack);
  int code =
      set != NULL && split_audit_pack(set, m, kinds, &result) == STATUS_OK ? print_audit(&result, pack) : failed();
  object_set_close(set);
  return code;
}

static int run_audit(const arguments *a) {
  kind_table *kinds = kind_table_read(a->kinds != NULL ? a->kinds : KINDS);
  manifest *m = kinds != NULL ? manifest_read(a->manifest != NULL ? a->manifest : MANIFEST, kinds) : NULL;
  int code = m != NULL ? audit_with(a, kinds, m) : failed();
  manifest_free(m);
  kind_table_free(kinds);
  return code;
}

/* ---- sheet ---- */

static int64_t find_kind(const object_set *set, const char *singular) {
  for (uint32_t k = 0; k < object_kinds(set); k++) {
    if (strcmp(object_kind_at(set, k)->singular, singular) == 0) return k;
  }
  return -1;
}

static int sheet_of(const arguments *a, const object_set *set) {
  int which = -1;
  int64_t kind = a->kind != NULL ? find_kind(set, a->kind) : -1;
  uint32_t from = a->from != NULL ? (uint32_t)strtoul(a->from, NULL, 10) : 0;
  uint32_t count = a->count != NULL ? (uint32_t)strtoul(a->count, NULL, 10) : 4096;
  for (int s = 0; a->split != NULL && s < SPLITS; s++) {
    if (strcmp(a->split, split_name[s]) == 0) which = s;
  }
  if (a->kind != NULL && kind < 0) return misused("the pack has no such kind: ", a->kind);
  if (a->split != NULL && which < 0) return misused("there is no such split: ", a->split);
  if (sheet_write(set, a->out, which, kind, from, count, 16) != STATUS_OK) return failed();
  for (uint32_t k = 0; k < object_kinds(set) && a->kind != NULL; k++) {
    for (uint32_t i = 0; k == kind && i < object_pictures(set); i++) {
      const object_picture *p = object_picture_at(set, i);
      if (p->kind == k && (which < 0 || p->split == which)) printf("%s\t%s\n", p->name, split_name[p->split]);
    }
  }
  return 0;
}

static int run_sheet(const arguments *a) {
  if (a->out == NULL) return misused("sheet needs -o FILE.png", "");
  object_set *set = object_set_open(a->pack != NULL ? a->pack : PACK);
  int code = set != NULL ? sheet_of(a, set) : failed();
  object_set_close(set);
  return code;
}

/* ---- text ---- */

static int audit_text(const char *folder, const char *pinned) {
  text_audit a;
  if (text_corpus_audit(folder, pinned, &a) != STATUS_OK) return failed();
  printf("audit of %s\n", folder);
  printf("documents: %zu train, %zu validation, %zu test\n", a.documents[SPLIT_TRAIN], a.documents[SPLIT_VALIDATION],
         a.documents[SPLIT_TEST]);
  printf("copies: %zu; held-out documents that can be read in another split: %zu; not clean: %zu; %s\n", a.copies,
         a.overlaps, a.unclean, a.as_pinned ? "as the manifest says" : "not as the manifest says");
  if (text_audit_violations(&a) == 0) {
    printf("passed\n");
    return 0;
  }
  printf("FAILED: %zu violations; the first: %s\n", text_audit_violations(&a), a.first);
  return 1;
}

static int run_tasks(const arguments *a) {
  task_counts c;
  const char *folder = a->out != NULL ? a->out : TEXT;
  if (tasks_make(folder, &c) != STATUS_OK) return failed();
  printf("%s: %zu passages in lambada.jsonl, %zu questions in choices.jsonl\n", folder, c.passages, c.questions);
  return 0;
}

static int run_text(const arguments *a) {
  text_counts c;
  const char *folder = a->out != NULL ? a->out : TEXT, *pinned = a->manifest != NULL ? a->manifest : TEXT_MANIFEST;
  if (a->audit) return audit_text(folder, pinned);
  if (text_corpus_make(&text_installed, folder, pinned, a->renew, &c) != STATUS_OK) return failed();
  printf("%s: %zu documents; %zu of %zu were near copies; %zu held-out ones went to training for their overlap\n",
         folder, c.kept, c.copies, c.collected, c.moved);
  return run_tasks(a);
}

int main(int argc, char **argv) {
  arguments a = {0};
  if (argc < 2) return misused("what shall be done?", "");
  if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0) return fputs(USAGE, stdout) < 0;
  if (!parse(argc, argv, &a)) return misused("these arguments make no sense", "");
  if (strcmp(argv[1], "build") == 0) return run_build(&a);
  if (strcmp(argv[1], "audit") == 0) return run_audit(&a);
  if (strcmp(argv[1], "sheet") == 0) return run_sheet(&a);
  if (strcmp(argv[1], "text") == 0) return run_text(&a);
  if (strcmp(argv[1], "tasks") == 0) return run_tasks(&a);
  return misused("there is no such verb: ", argv[1]);
}
