/* linnet embed: the vectors of pictures or texts, as a .npy file and lines that say what each row is; in parts, so that
 * it can be interrupted, and shared by processes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/args.h"
#include "apps/inputs.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/parts.h"
#include "apps/work.h"
#include "data/lines.h"
#include "fusion/embed.h"
#include "kernels/file.h"
#include "linnet.h"

extern const char embed_help[];
const char embed_help[] =
    "  linnet embed --images pictures/ -o pictures.npy\n"
    "  linnet embed --text captions.txt -o captions.npy --type f16\n"
    "  mpirun -n 4 linnet embed --images pictures/ -r -o pictures.npy\n\n"
    "Usage: linnet embed [options] --images PICTURE|FOLDER|LIST... -o OUT.npy\n"
    "       linnet embed [options] --text FILE -o OUT.npy\n"
    "       linnet embed --join OUT.npy\n\n"
    "Writes the vectors that a pair of towers (RWKV-CLIP, CLIP) makes of pictures, or of the lines of a text file, "
    "and\n"
    "OUT.jsonl with a line for each: which row it has, path or text, width and height, or why it has none. A picture\n"
    "that cannot be read is named on stderr, and the exit code is 1. The same command goes on after an interruption;\n"
    "given --rank and --world-size (or started by mpirun or srun) it does its share, and the last one joins the "
    "parts.\n";

typedef struct {
  const char *model, *vocabulary, *out, *text, *type, *join;
  arg_texts images;
  int rank, world, part_size, batch, threads;
  bool raw, recursive, json, quiet;
} settings;

typedef struct {
  const settings *o;
  inputs pictures;
  lines texts;
  const char *const *item; /* paths or texts, n of them */
  size_t n;
  parts_plan plan;
  size_t *part, n_parts; /* that are to be done, in order */
  table_writer *writer;  /* of the part that is being done, or NULL */
  size_t n_cut;          /* texts */
  work progress;
  parts_joined joined;
} job;

/* --- what there is to do ------------------------------------------------------------------------------------------ */

static status gather_texts(job *j) {
  const bool is_stdin = !strcmp(j->o->text, "-");
  const char *name = is_stdin ? "standard input" : j->o->text;
  size_t n;
  char *text =
      is_stdin ? file_read_open(STDIN_FILENO, name, LINES_MAX_BYTES, &n) : file_read(name, LINES_MAX_BYTES, &n);
  status s = text ? lines_parse(&j->texts, text, n, name) : last_status();
  j->item = (const char *const *)j->texts.line;
  j->n = j->texts.n;
  return s || j->n ? s : fail(STATUS_FORMAT, "%s: there is no text in this file", name);
}

/* Those that were given with --images come first. */
static status gather_pictures(job *j, char *const *operand, size_t n) {
  char **all = mem_alloc((size_t)j->o->images.n + n, sizeof *all);
  if (!all) return STATUS_MEMORY;
  size_t count = 0;
  for (int i = 0; i < j->o->images.n; i++) all[count++] = (char *)(uintptr_t)j->o->images.item[i];
  for (size_t i = 0; i < n; i++) all[count++] = operand[i];
  status s = inputs_gather(&j->pictures, all, count, j->o->recursive);
  for (size_t i = 0; !s && i < j->pictures.n; i++)
    if (!strcmp(j->pictures.path[i], "-"))
      s = fail(STATUS_ARGUMENT, "embed takes no picture from standard input: what was done could not be told again");
  j->item = (const char *const *)j->pictures.path;
  j->n = j->pictures.n;
  free(all);
  return s || j->n ? s : fail(STATUS_ARGUMENT, "there is no picture to embed");
}

/* Of everything that the rows depend on; pictures count by their paths. */
static status make_fingerprint(job *j, const clip_model *m) {
  const settings *o = j->o;
  checksum *sum = checksum_new();
  if (!sum) return STATUS_MEMORY;
  char kind[64];
  snprintf(kind, sizeof kind, "%s %d %d", o->text ? "texts" : "pictures", o->raw, m->side);
  checksum_add(sum, kind, strlen(kind) + 1);
  for (size_t i = 0; i < j->n; i++) checksum_add(sum, j->item[i], strlen(j->item[i]) + 1);
  if (o->vocabulary) checksum_add(sum, o->vocabulary, strlen(o->vocabulary) + 1);
  params_each_value(&m->pair.params, checksum_values, sum);
  checksum_text(sum, j->plan.fingerprint);
  checksum_free(sum);
  return STATUS_OK;
}

/* This process's parts that are missing. */
static status choose_parts(job *j) {
  if (!(j->part = mem_alloc(j->plan.count, sizeof *j->part))) return STATUS_MEMORY;
  for (size_t i = (size_t)j->o->rank; i < j->plan.count; i += (size_t)j->o->world)
    if (!part_there(&j->plan, i)) j->part[j->n_parts++] = i;
  return STATUS_OK;
}

/* The item at a place in those parts: all but the table's last part, which comes last, are of one size. */
static size_t item_at(const job *j, size_t place) {
  return j->part[place / j->plan.size] * j->plan.size + place % j->plan.size;
}

static size_t places(const job *j) {
  size_t n = 0;
  for (size_t i = 0; i < j->n_parts; i++) {
    const size_t left = j->n - j->part[i] * j->plan.size;
    n += left < j->plan.size ? left : j->plan.size;
  }
  return n;
}

/* --- work --------------------------------------------------------------------------------------------------------- */

static image *open_picture(void *user, size_t place) {
  const job *j = user;
  return picture_open(j->item[item_at(j, place)]);
}

static json_t *about(const job *j, const embedded *e) {
  const char *item = j->item[item_at(j, e->index)];
  if (e->error) return json_pack("{s:o,s:o}", "path", json_text(item), "error", json_text(e->error));
  if (!j->o->text) return json_pack("{s:o,s:i,s:i}", "path", json_text(item), "width", e->width, "height", e->height);
  json_t *line = json_pack("{s:o}", "text", json_text(item));
  if (line && e->cut) json_object_set_new(line, "cut", json_true());
  return line;
}

static status keep(void *user, const embedded *e) {
  job *j = user;
  const size_t part = e->index / j->plan.size;
  status s = STATUS_OK;
  if (!j->writer && !(j->writer = part_create(&j->plan, j->part[part]))) s = last_status();
  if (!s) s = table_write(j->writer, e->row, about(j, e));
  j->n_cut += e->cut;
  if (!s && (e->index + 1 == j->progress.all || (e->index + 1) / j->plan.size > part)) {
    table_writer *done = j->writer;
    j->writer = NULL;
    s = table_commit(done);
  }
  return s ? s : work_step(&j->progress, e->error);
}

static status embed_all(job *j, const clip_model *m) {
  const embed_options o = {.batch = j->o->batch, .raw = j->o->raw};
  const size_t n = places(j);
  status s = STATUS_OK;
  j->progress = work_begin(j->o->text ? "texts" : "pictures", n, j->o->quiet);
  if (j->o->text) {
    const char **text = mem_alloc(n, sizeof *text);
    for (size_t i = 0; text && i < n; i++) text[i] = j->item[item_at(j, i)];
    s = text ? embed_texts(m, text, n, &o, keep, j) : STATUS_MEMORY;
    free(text);
  } else {
    s = embed_pictures(m, open_picture, j, n, &o, keep, j);
  }
  table_abandon(j->writer);
  work_end(&j->progress);
  if (!s && j->n_cut) complain("%zu texts are too long for the model: their ends are cut", j->n_cut);
  return s;
}

/* --- joining ------------------------------------------------------------------------------------------------------ */

/* Joins if everything is there, and says otherwise what is not. */
static status join(job *j, bool must) {
  const size_t missing = parts_missing(&j->plan);
  if (!missing) return parts_join(&j->plan, &j->joined);
  if (must) return fail(STATUS_ARGUMENT, "%s: %zu of %zu parts are missing", j->plan.stem, missing, j->plan.count);
  if (!j->o->quiet) complain("%zu of %zu parts are yet to be made by other processes", missing, j->plan.count);
  return STATUS_OK;
}

static void show_summary(const job *j) {
  json_t *value = work_json(&j->progress);
  json_object_set_new(value, "joined", json_boolean(j->joined.joined));
  if (j->joined.joined) json_object_set_new(value, "rows", json_integer((json_int_t)j->joined.rows));
  json_print(value, false);
}

static int finish(const job *j) {
  const size_t before = j->joined.failed > j->progress.failed ? j->joined.failed - j->progress.failed : 0;
  if (before)
    complain("%zu items that were done earlier or elsewhere have no row: %s.jsonl says why", before, j->plan.stem);
  return j->joined.failed || j->progress.failed || j->pictures.failed ? EXIT_DATA : EXIT_DONE;
}

static int run_join(job *j) {
  status s = parts_find(&j->plan, j->o->join);
  if (!s) s = join(j, true);
  return s ? failed() : finish(j);
}

static int run_job(job *j, char *const *operand, size_t n) {
  const settings *o = j->o;
  clip_model *m = NULL;
  status s = o->text ? gather_texts(j) : gather_pictures(j, operand, n);
  if (!s && !(m = pair_open(o->model, o->vocabulary))) s = last_status();
  if (!s) s = make_fingerprint(j, m);
  if (!s) {
    j->plan.items = j->n, j->plan.size = (size_t)o->part_size, j->plan.width = (size_t)clip_width(&m->pair);
    j->plan.type = strcmp(o->type, "f16") ? NPY_F32 : NPY_F16;
    s = parts_begin(&j->plan, o->out, o->world);
  }
  if (!s) s = choose_parts(j);
  if (!s) s = embed_all(j, m);
  clip_model_close(m);
  if (!s) s = join(j, false);
  if (s) return failed();
  if (o->json) show_summary(j);
  return finish(j);
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

/* Rank and number of processes as whoever started this one tells them; false if nobody did. */
static bool told_by(const char *rank_name, const char *world_name, int *rank, int *world) {
  enum { MOST = 1 << 20 };
  const char *rank_text = getenv(rank_name), *world_text = getenv(world_name);
  int64_t r, w;
  if (!rank_text || !world_text || !number_whole(world_text, 1, MOST, &w) || !number_whole(rank_text, 0, w - 1, &r))
    return false;
  *rank = (int)r, *world = (int)w;
  return true;
}

static void ask_environment(settings *o) {
  if (told_by("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", &o->rank, &o->world)) return;
  if (told_by("PMI_RANK", "PMI_SIZE", &o->rank, &o->world)) return;
  told_by("SLURM_PROCID", "SLURM_NTASKS", &o->rank, &o->world);
}

/* EXIT_DONE to go on. */
static int check(const verb *self, const settings *o, int operands) {
  const bool pictures = o->images.n || operands;
  if (o->join) {
    if (o->text || pictures || o->out) return misuse(self, "--join stands alone");
    return EXIT_DONE;
  }
  if (o->text && pictures) return misuse(self, "--text and pictures exclude each other");
  if (!o->text && !pictures) return misuse(self, "there is nothing to embed: give --images or --text");
  if (!o->out || !*o->out) return misuse(self, "there is no --out to write to");
  if (strcmp(o->type, "f32") != 0 && strcmp(o->type, "f16") != 0)
    return misuse(self, "--type is f32 or f16, found '%s'", o->type);
  if (o->rank >= o->world) return misuse(self, "--rank %d is not below --world-size %d", o->rank, o->world);
  return EXIT_DONE;
}

int run_embed(const verb *self, int argc, char **argv) {
  settings o = {.type = "f32", .world = 1};
  int at, code;
  ask_environment(&o);
  const arg list[] = {
      ARG_MODEL(&o.model),
      {"vocab", 0, ARG_TEXT, &o.vocabulary, 0, 0, "FILE", "the vocabulary of a pair whose file carries none"},
      {"images", 'i', ARG_TEXTS, &o.images, 0, 0, "WHERE", "pictures, folders, lists; operands are the same"},
      {"text", 0, ARG_TEXT, &o.text, 0, 0, "FILE", "a text a line; - is standard input"},
      {"out", 'o', ARG_TEXT, &o.out, 0, 0, "OUT.npy", "where the rows go; what they are goes to OUT.jsonl"},
      {"type", 0, ARG_TEXT, &o.type, 0, 0, "TYPE", "of the numbers: f32 or f16"},
      {"raw", 0, ARG_SWITCH, &o.raw, 0, 0, NULL, "as the tower gives them, not of length 1"},
      {"recursive", 'r', ARG_SWITCH, &o.recursive, 0, 0, NULL, "also the folders in folders"},
      {"part-size", 0, ARG_INT, &o.part_size, 0, 1 << 24, "N", "items a part; 0 = a good number"},
      {"rank", 0, ARG_INT, &o.rank, 0, 1 << 20, "R", "which of the processes this is, from 0"},
      {"world-size", 0, ARG_INT, &o.world, 1, 1 << 20, "W", "processes that share the work"},
      {"join", 0, ARG_TEXT, &o.join, 0, 0, "OUT.npy", "joins the parts that are there, and no more"},
      {"batch", 'b', ARG_INT, &o.batch, 0, 4096, "N", "pictures or texts at a time, a thread; 0 = a good number"},
      ARG_JSON(&o.json),
      ARG_THREADS(&o.threads),
      ARG_QUIET(&o.quiet),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if ((code = check(self, &o, argc - at))) return code;
  linnet_set_threads(o.threads);
  job j = {.o = &o};
  code = o.join ? run_join(&j) : run_job(&j, argv + at, (size_t)(argc - at));
  free(j.part);
  parts_free(&j.plan);
  lines_free(&j.texts);
  inputs_free(&j.pictures);
  return code;
}
