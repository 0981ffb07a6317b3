/* linnet index build, add: pictures and texts become rows of an index. What is there already and has not changed is
 * passed over, and what was done is committed every so often, so that interrupted work goes on where it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apps/index.h"
#include "apps/inputs.h"
#include "apps/interrupt.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/work.h"
#include "data/lines.h"
#include "fusion/embed.h"
#include "kernels/file.h"
#include "linnet.h"
#include "weights/metadata.h"

typedef struct {
  const char *index, *model, *vocabulary, *type;
  arg_texts images, text;
  int batch, threads;
  int64_t commit_rows;
  bool recursive, flat, json, quiet;
} settings;

typedef struct {
  const settings *o;
  index_writer *w;
  const clip_model *m;
  inputs in;         /* pictures; or the lines of one text file: their names, and the texts as captions */
  size_t *todo;      /* those that are to be embedded */
  bool *known;       /* of these: whether a row is replaced */
  struct stat *file; /* of these, as they were when they were decoded */
  size_t n;
  const char **text; /* of these, if they are texts */
  bool texts;
  work progress;
  size_t uncommitted;
  double committed;
  size_t added, replaced, unchanged, failed, n_cut;
} job;

/* --- what is known of a picture ----------------------------------------------------------------------------------- */

/* 2026-11-21T20:17:29.123Z: such texts sort as the times do. */
static json_t *time_json(const struct stat *file) {
  char day[64], text[96];
  struct tm parts;
  if (!gmtime_r(&file->st_mtim.tv_sec, &parts)) return json_null();
  strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text, sizeof text, "%s.%03ldZ", day, file->st_mtim.tv_nsec / 1000000);
  return json_string(text);
}

/* What the file system says joins what the list said. */
static void put_file(json_t *fields, const struct stat *file) {
  json_object_set_new(fields, "bytes", json_integer((json_int_t)file->st_size));
  json_object_set_new(fields, "modified", time_json(file));
}

static void drop_measured(json_t *fields) {
  for (const char *const *name = measured_fields; *name; name++) json_object_del(fields, *name);
}

/* A source that says nothing of a picture leaves what is known of it. */
static status inherit(input_said *said, const index_record *old, const json_t *old_fields) {
  if (!said->caption && *old->caption && !(said->caption = mem_string(old->caption))) return STATUS_MEMORY;
  if (said->fields) return STATUS_OK;
  if (!(said->fields = json_deep_copy(old_fields))) return fail(STATUS_MEMORY, "out of memory");
  drop_measured(said->fields);
  return STATUS_OK;
}

static bool same_caption(const input_said *said, const index_record *old) {
  return !strcmp(said->caption ? said->caption : "", old->caption);
}

/* Whether the row of a file says what a new one would, but for width and height, which follow from its bytes. */
static bool same_picture(const input_said *said, const index_record *old, const json_t *old_fields,
                         const struct stat *file) {
  json_t *now = json_deep_copy(said->fields), *before = json_deep_copy(old_fields);
  if (now && before) put_file(now, file);
  json_object_del(before, "width");
  json_object_del(before, "height");
  const bool same = now && before && json_equal(now, before) && same_caption(said, old);
  json_decref(now);
  json_decref(before);
  return same;
}

/* The caption beside a picture: NAME.txt's lines, with "; " between. */
static status read_sidecar(const char *picture, char **caption) {
  const char *slash = strrchr(picture, '/'), *dot = strrchr(slash ? slash : picture, '.');
  const size_t stem = dot ? (size_t)(dot - picture) : strlen(picture), room = stem + sizeof ".txt";
  char *path = mem_alloc(room, 1);
  if (!path) return STATUS_MEMORY;
  snprintf(path, room, "%.*s.txt", (int)stem, picture);
  lines list = {0};
  status s = STATUS_OK;
  if (strcmp(path, picture) != 0 && !access(path, F_OK)) s = lines_read(&list, path);
  size_t n = 0;
  for (size_t i = 0; !s && i < list.n; i++) {
    const char *line = line_trim(list.line[i]);
    const size_t length = strlen(line);
    char *whole = length ? mem_grow(*caption, n + length + sizeof "; ", 1) : NULL;
    if (!length) continue;
    if (!whole) s = STATUS_MEMORY;
    if (!s) n += (size_t)snprintf(whole + n, length + sizeof "; ", "%s%s", n ? "; " : "", line);
    if (whole) *caption = whole;
  }
  lines_free(&list);
  free(path);
  return s;
}

/* --- what there is to do ------------------------------------------------------------------------------------------ */

/* Whether item i is in the index as it is; *known: whether it is at all. */
static status look_up(job *j, size_t i, bool *known, bool *same) {
  input_said *said = &j->in.said[i];
  struct stat file;
  index_record old;
  status s = STATUS_OK;
  if (!j->texts && !said->caption) s = read_sidecar(j->in.path[i], &said->caption);
  if (said->fields) drop_measured(said->fields);
  *known = index_writer_find(j->w, j->in.path[i], &old);
  *same = false;
  if (s || !*known) return s;
  json_t *fields = record_metadata(&old);
  if (!fields) return fail(STATUS_MEMORY, "out of memory");
  if (j->texts)
    *same = same_caption(said, &old);
  else if (!(s = inherit(said, &old, fields)))
    *same = !stat(j->in.path[i], &file) && same_picture(said, &old, fields, &file);
  json_decref(fields);
  return s;
}

static status choose(job *j) {
  j->n = 0;
  j->todo = mem_alloc(j->in.n, sizeof *j->todo);
  j->known = mem_alloc(j->in.n, sizeof *j->known);
  status s = j->todo && j->known ? STATUS_OK : STATUS_MEMORY;
  for (size_t i = 0; !s && i < j->in.n; i++) {
    bool known = false, same = false;
    s = interrupted ? fail(STATUS_INTERRUPTED, "interrupted") : look_up(j, i, &known, &same);
    if (s) break;
    j->unchanged += same;
    j->known[j->n] = known;
    if (!same) j->todo[j->n++] = i;
  }
  return s;
}

/* --- work --------------------------------------------------------------------------------------------------------- */

static image *open_picture(void *user, size_t place) {
  job *j = user;
  const char *path = j->in.path[j->todo[place]];
  if (stat(path, &j->file[place])) j->file[place] = (struct stat){0}; /* opening it says why */
  return picture_open(path);
}

/* The metadata of a new row; the caller frees it. */
static char *fields_text(const job *j, const embedded *e) {
  const input_said *said = &j->in.said[j->todo[e->index]];
  json_t *fields = said->fields ? json_incref(said->fields) : json_object();
  if (fields && !j->texts) {
    json_object_set_new(fields, FIELD_WIDTH, json_integer(e->width));
    json_object_set_new(fields, "height", json_integer(e->height));
    put_file(fields, &j->file[e->index]);
  }
  char *text = metadata_json_text(fields, JSON_COMPACT);
  json_decref(fields);
  return text;
}

/* Commits if there is much to lose, or time has passed. */
static status commit_at_times(job *j) {
  const double every = 30; /* seconds */
  if (j->o->commit_rows ? j->uncommitted < (size_t)j->o->commit_rows : clock_seconds() - j->committed < every)
    return STATUS_OK;
  const status s = index_commit(j->w);
  j->uncommitted = 0;
  j->committed = clock_seconds();
  return s;
}

static status put(job *j, const embedded *e) {
  const size_t item = j->todo[e->index];
  const char *caption = j->in.said[item].caption;
  char *metadata = fields_text(j, e);
  if (!metadata) return last_status();
  const index_record r = {j->in.path[item], caption ? caption : "", metadata};
  const status s = index_put(j->w, e->row, &r);
  free(metadata);
  if (s == STATUS_ARGUMENT) { /* a text that is too long: the others go on */
    complain("%s", last_error());
    j->failed++;
  }
  if (s) return s == STATUS_ARGUMENT ? STATUS_OK : s;
  j->known[e->index] ? j->replaced++ : j->added++;
  j->n_cut += e->cut;
  j->uncommitted++;
  return commit_at_times(j);
}

static status keep(void *user, const embedded *e) {
  job *j = user;
  const status s = e->error ? STATUS_OK : put(j, e);
  return s ? s : work_step(&j->progress, e->error);
}

static status embed_chosen(job *j) {
  const embed_options options = {.batch = j->o->batch};
  status s = STATUS_OK;
  j->progress = work_begin(j->texts ? "texts" : "pictures", j->n, j->o->quiet);
  j->committed = clock_seconds();
  if (j->texts) {
    j->text = mem_alloc(j->n, sizeof *j->text);
    for (size_t i = 0; j->text && i < j->n; i++) j->text[i] = j->in.said[j->todo[i]].caption;
    s = j->text ? embed_texts(j->m, j->text, j->n, &options, keep, j) : STATUS_MEMORY;
  } else {
    j->file = mem_zero(j->n, sizeof *j->file);
    s = j->file ? embed_pictures(j->m, open_picture, j, j->n, &options, keep, j) : STATUS_MEMORY;
  }
  work_end(&j->progress);
  j->failed += j->progress.failed;
  return s;
}

/* What was done before Ctrl-C is kept. */
static status commit_all(job *j, status s) {
  if (s && s != STATUS_INTERRUPTED) return s;
  const status end = index_commit(j->w);
  if (end || !s) return end;
  return fail(s, "interrupted; %zu rows are in the index, and the same command goes on", j->added + j->replaced);
}

static status add_gathered(job *j) {
  status s = choose(j);
  if (!s && j->n) s = commit_all(j, embed_chosen(j));
  inputs_free(&j->in);
  free(j->todo);
  free(j->known);
  free(j->file);
  free(j->text);
  j->todo = NULL, j->known = NULL, j->file = NULL, j->text = NULL;
  return s;
}

/* --- sources ------------------------------------------------------------------------------------------------------ */

static status add_pictures(job *j, char *const *operand, size_t n) {
  char **all = mem_alloc((size_t)j->o->images.n + n, sizeof *all);
  if (!all) return STATUS_MEMORY;
  size_t count = 0;
  for (int i = 0; i < j->o->images.n; i++) all[count++] = (char *)(uintptr_t)j->o->images.item[i];
  for (size_t i = 0; i < n; i++) all[count++] = operand[i];
  status s = inputs_gather(&j->in, all, count, !j->o->flat);
  for (size_t i = 0; !s && i < j->in.n; i++)
    if (!strcmp(j->in.path[i], "-"))
      s = fail(STATUS_ARGUMENT, "an index takes no picture from standard input, which would have no path");
  j->failed += j->in.failed;
  free(all);
  return s ? s : add_gathered(j);
}

/* Line `number` of a file of texts, under the name FILE:NUMBER. */
static status gather_line(inputs *in, const char *file, size_t number, const char *line) {
  const size_t room = strlen(file) + 32;
  char *name = mem_alloc(room, 1);
  char *text = name ? mem_string(line) : NULL;
  char **path = text ? mem_room(in->path, in->n, &in->capacity, sizeof *path) : NULL;
  if (path) in->path = path;
  input_said *said = path ? mem_room(in->said, in->n, &in->said_capacity, sizeof *said) : NULL;
  if (!said) {
    free(name);
    free(text);
    return STATUS_MEMORY;
  }
  in->said = said;
  snprintf(name, room, "%s:%zu", file, number);
  in->path[in->n] = name;
  in->said[in->n++] = (input_said){.caption = text};
  return STATUS_OK;
}

static status add_texts(job *j, const char *path) {
  lines list;
  const bool is_stdin = !strcmp(path, "-");
  size_t n;
  char *bytes = is_stdin ? file_read_open(STDIN_FILENO, "standard input", LINES_MAX_BYTES, &n)
                         : file_read(path, LINES_MAX_BYTES, &n);
  status s = bytes ? lines_parse(&list, bytes, n, path) : last_status();
  if (!bytes) return s;
  j->texts = true;
  for (size_t i = 0; !s && i < list.n; i++) {
    const char *line = line_trim(list.line[i]);
    if (*line) s = gather_line(&j->in, path, i + 1, line);
  }
  lines_free(&list);
  if (!s) s = add_gathered(j);
  j->texts = false;
  return s;
}

/* --- the verbs ---------------------------------------------------------------------------------------------------- */

/* The file that is there, or, to build one, a new one. */
static status open_index(job *j, bool build, const char *model) {
  const settings *o = j->o;
  index_facts facts = {.width = (size_t)clip_width(&j->m->pair), .type = VECTOR_F32};
  if (o->type && !vector_type_named(o->type, &facts.type))
    return fail(STATUS_ARGUMENT, "--type is f32, f16 or i8, found '%s'", o->type);
  if (build && access(o->index, F_OK)) {
    char *about = about_pair(j->m, model);
    facts.about = about;
    j->w = about ? index_create(o->index, &facts) : NULL;
    free(about);
    return j->w ? STATUS_OK : last_status();
  }
  if (!(j->w = index_append(o->index))) return last_status();
  const index_facts *found = index_writer_facts(j->w);
  if (o->type && found->type != facts.type)
    return fail(STATUS_ARGUMENT, "%s is of type %s, which stays: merge it into a new one to have another", o->index,
                vector_type_name(found->type));
  return about_check(o->index, found, j->m, model);
}

static void show_summary(const job *j) {
  if (j->o->json)
    json_print(json_pack("{s:o,s:I,s:I,s:I,s:I}", "path", json_text(j->o->index), "added", (json_int_t)j->added,
                         "replaced", (json_int_t)j->replaced, "unchanged", (json_int_t)j->unchanged, "failed",
                         (json_int_t)j->failed),
               false);
  else
    printf("%zu added, %zu replaced, %zu unchanged, %zu failed\n", j->added, j->replaced, j->unchanged, j->failed);
}

static int run_job(const settings *o, bool build, char *const *operand, size_t n) {
  job j = {.o = o};
  watch_interrupts();
  const char *model = model_path(o->model, SHIPPED_PAIR);
  clip_model *m = model ? clip_model_open(model, o->vocabulary) : NULL;
  j.m = m;
  status s = m ? open_index(&j, build, model) : last_status();
  if (!s && (n || o->images.n)) s = add_pictures(&j, operand, n);
  for (int i = 0; !s && i < o->text.n; i++) s = add_texts(&j, o->text.item[i]);
  if (s) failed();
  inputs_free(&j.in);
  index_writer_close(j.w);
  clip_model_close(m);
  if (j.n_cut) complain("%zu texts are too long for the model: their ends are cut", j.n_cut);
  if (!s || s == STATUS_INTERRUPTED) show_summary(&j);
  return s == STATUS_INTERRUPTED ? EXIT_INTERRUPTED : s || j.failed ? EXIT_DATA : EXIT_DONE;
}

#define ARGS_OF_ADDING(o)                                                                                              \
  ARG_MODEL(&(o)->model),                                                                                              \
      {"vocab", 0, ARG_TEXT, &(o)->vocabulary, 0, 0, "FILE", "the vocabulary of a pair whose file carries none"},      \
      {"images", 'i', ARG_TEXTS, &(o)->images, 0, 0, "WHERE", "pictures, folders, lists; operands are the same"},      \
      {"text", 0, ARG_TEXTS, &(o)->text, 0, 0, "FILE", "texts as well, one a line; - is standard input"},              \
      {"recursive", 'r', ARG_SWITCH, &(o)->recursive, 0, 0, NULL, "also the folders in folders, as is usual here"},    \
      {"flat", 0, ARG_SWITCH, &(o)->flat, 0, 0, NULL, "not the folders in folders"},                                   \
      {"commit-rows", 0, ARG_LONG, &(o)->commit_rows, 0, 1e12, "N", "rows between commits; 0 = every half minute"},    \
      {"batch", 'b', ARG_INT, &(o)->batch, 0, 4096, "N", "pictures or texts at a time, a thread; 0 = a good number"},  \
      ARG_JSON(&(o)->json), ARG_THREADS(&(o)->threads), ARG_QUIET(&(o)->quiet)

int run_index_build(int argc, char **argv) {
  static const verb self = {
      "index build", "makes an index of pictures and texts", NULL,
      "  linnet index build pictures/ -o photos.lidx\n"
      "  linnet index build /data/photos -o photos.lidx --type i8\n"
      "  linnet index build captions.jsonl --text titles.txt -o all.lidx\n\n"
      "Usage: linnet index build [options] PICTURE|FOLDER|LIST... -o INDEX\n\n"
      "A LIST has a path a line, perhaps with captions after tabs, or is JSON Lines (path, caption, and\n"
      "whatever else is to be kept); the text of NAME.txt beside NAME.png is its caption. A picture that\n"
      "cannot be read is named on stderr, and the exit code is 1. What was done is committed every so\n"
      "often: the same command goes on after an interruption, and takes in what has changed since.\n"};
  settings o = {0};
  int at, code;
  const arg list[] = {
      {"out", 'o', ARG_TEXT, &o.index, 0, 0, "INDEX", "the index; goes on with the one that is there"},
      {"type", 0, ARG_TEXT, &o.type, 0, 0, "TYPE", "of the vectors: f32, f16 or i8 (else f32)"},
      ARGS_OF_ADDING(&o),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (!o.index) return misuse(&self, "there is no --out to write to");
  if (at == argc && !o.images.n && !o.text.n) return misuse(&self, "there is nothing to build an index of");
  linnet_set_threads(o.threads);
  return run_job(&o, true, argv + at, (size_t)(argc - at));
}

int run_index_add(int argc, char **argv) {
  static const verb self = {
      "index add", "adds pictures and texts to an index", NULL,
      "  linnet index add photos.lidx new/ more/*.png\n"
      "  linnet index add photos.lidx --text titles.txt\n\n"
      "Usage: linnet index add [options] INDEX PICTURE|FOLDER|LIST...\n\n"
      "As linnet index build. A picture that is there, with the same path, size, time and caption,\n"
      "is passed over; one that has changed replaces its row.\n"};
  settings o = {0};
  int at, code;
  const arg list[] = {ARGS_OF_ADDING(&o)};
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at == argc) return misuse(&self, "which index? give the path of its file");
  o.index = argv[at++];
  if (at == argc && !o.images.n && !o.text.n) return misuse(&self, "there is nothing to add");
  linnet_set_threads(o.threads);
  return run_job(&o, false, argv + at, (size_t)(argc - at));
}
