/* linnet index merge: rows of other files join an index. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/index.h"
#include "apps/inputs.h"
#include "apps/interrupt.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/table.h"
#include "data/json_lines.h"
#include "data/npy.h"
#include "fusion/approximate.h"
#include "kernels/file.h"
#include "weights/metadata.h"

#define LINES_BYTES ((uint64_t)1 << 32)

/* --- vectors of linnet embed -------------------------------------------------------------------------------------- */

typedef struct {
  index_writer *w;
  const char *path; /* of the vectors */
  npy rows;
  float *row;
  size_t put;
} npy_part;

static status put_row(npy_part *p, size_t row, const index_record *r) {
  npy_read(&p->rows, row * p->rows.dim[1], p->rows.dim[1], p->row);
  const status s = index_put(p->w, p->row, r);
  p->put += !s;
  return s ? fail_within("row %zu", row) : interrupted ? fail(STATUS_INTERRUPTED, "interrupted") : STATUS_OK;
}

/* A row that nothing names is called FILE:ROW. */
static status put_nameless(npy_part *p, size_t row, const char *caption, const char *metadata) {
  const size_t room = strlen(p->path) + 32;
  char *name = mem_alloc(room, 1);
  if (!name) return STATUS_MEMORY;
  snprintf(name, room, "%s:%zu", p->path, row);
  const status s = put_row(p, row, &(index_record){name, caption, metadata});
  free(name);
  return s;
}

static status put_line(void *user, const json_t *line, size_t number) {
  static const char *const ours[] = {"row", "id", "error", "cut", NULL};
  npy_part *p = user;
  const json_t *row = json_object_get(line, "row");
  const char *path;
  input_said said;
  (void)number;
  if (json_is_object(line) && !row) return STATUS_OK; /* it could not be embedded */
  if (!json_is_integer(row) || json_integer_value(row) < 0 || (uint64_t)json_integer_value(row) >= p->rows.dim[0])
    return fail(STATUS_FORMAT, "\"row\" is none of the %zu rows", p->rows.dim[0]);
  status s = input_line(line, ours, &path, &said);
  char *metadata = s ? NULL : metadata_json_text(said.fields, JSON_COMPACT);
  const char *caption = said.caption ? said.caption : "";
  const size_t at = (size_t)json_integer_value(row);
  if (!s && !metadata) s = last_status();
  if (!s) s = path ? put_row(p, at, &(index_record){path, caption, metadata}) : put_nameless(p, at, caption, metadata);
  free(metadata);
  input_said_free(&said);
  return s;
}

static status put_named(npy_part *p, const char *list) {
  size_t n;
  char *text = file_read(list, LINES_BYTES, &n);
  const status s = text ? json_lines(list, text, n, put_line, p) : last_status();
  free(text);
  return s;
}

static status put_all_nameless(npy_part *p) {
  status s = STATUS_OK;
  for (size_t row = 0; !s && row < p->rows.dim[0]; row++) s = put_nameless(p, row, "", "{}");
  return s;
}

static status merge_npy(index_writer *w, const char *path, size_t *put) {
  const size_t width = index_writer_facts(w)->width;
  npy_part p = {.w = w, .path = path};
  char *list = table_lines_name(path);
  status s = npy_open(&p.rows, path);
  if (!s && (p.rows.n_dims != 2 || p.rows.dim[1] != width))
    s = fail(STATUS_ARGUMENT, "%s: expected rows of %zu numbers, as the index has", path, width);
  p.row = mem_alloc(width, sizeof *p.row);
  if (!s && (!list || !p.row)) s = STATUS_MEMORY;
  if (!s) s = access(list, F_OK) ? put_all_nameless(&p) : put_named(&p, list);
  *put = p.put;
  npy_close(&p.rows);
  free(p.row);
  free(list);
  return s;
}

/* --- files of FAISS ----------------------------------------------------------------------------------------------- */

/* Rows get the names FILE:ID: FAISS keeps nothing else. */
static status put_faiss_rows(index_writer *w, approximate *a, const char *path, float *rows, uint64_t *ids,
                             size_t block, size_t *put) {
  const approximate_numbers *numbers = approximate_numbers_of(a);
  const size_t room = strlen(path) + 32;
  char *name = mem_alloc(room, 1);
  status s = name ? STATUS_OK : STATUS_MEMORY;
  for (size_t at = 0; !s && at < numbers->count; at += block) {
    const size_t n = numbers->count - at < block ? numbers->count - at : block;
    s = approximate_vectors(a, at, n, rows, ids);
    for (size_t i = 0; !s && i < n; i++) {
      snprintf(name, room, "%s:%" PRIu64, path, ids[i]);
      s = index_put(w, rows + i * numbers->width, &(index_record){name, "", "{}"});
      *put += !s;
    }
    if (!s && interrupted) s = fail(STATUS_INTERRUPTED, "interrupted");
  }
  free(name);
  return s;
}

static status merge_faiss(index_writer *w, const char *path, size_t *put) {
  enum { BLOCK = 1024 };
  const size_t width = index_writer_facts(w)->width;
  approximate *a = approximate_read(path);
  if (!a) return last_status();
  float *rows = mem_alloc(BLOCK * width, sizeof *rows);
  uint64_t *ids = mem_alloc(BLOCK, sizeof *ids);
  status s = rows && ids ? STATUS_OK : STATUS_MEMORY;
  if (!s && approximate_numbers_of(a)->width != width)
    s = fail(STATUS_ARGUMENT, "%s: its vectors are of %zu numbers, those of the index of %zu", path,
             approximate_numbers_of(a)->width, width);
  if (!s) s = put_faiss_rows(w, a, path, rows, ids, BLOCK, put);
  approximate_close(a);
  free(rows);
  free(ids);
  return s;
}

/* --- merge -------------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *model, *vocabulary, *type, *out;
  bool json, quiet;
} merge_settings;

/* Rows whose index names the same model otherwise, one by one. */
static status copy_rows(index_writer *w, const vector_index *x) {
  const index_numbers *numbers = index_numbers_of(x);
  float *vector = mem_alloc(numbers->facts.width, sizeof *vector);
  status s = vector ? STATUS_OK : STATUS_MEMORY;
  for (uint64_t row = 0; !s && row < numbers->rows; row++) {
    index_record r;
    if (index_deleted(x, row)) continue;
    index_vector_at(x, row, vector);
    s = index_record_at(x, row, &r);
    if (!s) s = index_put(w, vector, &r);
  }
  free(vector);
  return s;
}

static status merge_index(index_writer *w, const char *path, size_t *put) {
  vector_index *x = index_open(path);
  if (!x) return last_status();
  const index_facts *to = index_writer_facts(w), *from = &index_numbers_of(x)->facts;
  const bool renamed = to->width == from->width && strcmp(to->about, from->about) && about_same(to->about, from->about);
  const status s = renamed ? copy_rows(w, x) : index_merge(w, x);
  *put = s ? 0 : index_numbers_of(x)->live;
  index_close(x);
  return s;
}

static bool is_npy(const char *path) { return text_ends_with(path, ".npy"); }

static status merge_part(index_writer *w, const char *path, size_t *put) {
  return is_npy(path)          ? merge_npy(w, path, put)
         : is_faiss_name(path) ? merge_faiss(w, path, put)
                               : merge_index(w, path, put);
}

/* A new index as its first part is one. */
static status create_alike(const merge_settings *o, const char *part, index_writer **w) {
  vector_index *x = index_open(part);
  if (!x) return last_status();
  index_facts facts = index_numbers_of(x)->facts;
  status s = o->type && !vector_type_named(o->type, &facts.type)
                 ? fail(STATUS_ARGUMENT, "--type is f32, f16 or i8, found '%s'", o->type)
                 : STATUS_OK;
  if (!s && !(*w = index_create(o->out, &facts))) s = last_status();
  index_close(x);
  return s;
}

/* A new index for vectors in a file that does not say which model made them: the one that all verbs take. */
static status create_for_model(const merge_settings *o, index_writer **w) {
  const char *path = model_path(o->model, SHIPPED_PAIR);
  clip_model *m = path ? clip_model_open(path, o->vocabulary) : NULL;
  index_facts facts = {.type = VECTOR_F32};
  char *about = m ? about_pair(m, path) : NULL;
  status s = about ? STATUS_OK : last_status();
  if (!s && o->type && !vector_type_named(o->type, &facts.type))
    s = fail(STATUS_ARGUMENT, "--type is f32, f16 or i8, found '%s'", o->type);
  facts.about = about;
  facts.width = m ? (size_t)clip_width(&m->pair) : 0;
  if (!s && !(*w = index_create(o->out, &facts))) s = last_status();
  free(about);
  clip_model_close(m);
  return s;
}

static status open_target(const merge_settings *o, const char *part, index_writer **w) {
  if (!access(o->out, F_OK)) return (*w = index_append(o->out)) ? STATUS_OK : last_status();
  return is_npy(part) || is_faiss_name(part) ? create_for_model(o, w) : create_alike(o, part, w);
}

static int merge_all(const merge_settings *o, char *const *part, size_t n) {
  index_writer *w = NULL;
  size_t all = 0;
  watch_interrupts();
  const bool made = access(o->out, F_OK) != 0;
  status s = open_target(o, part[0], &w);
  for (size_t i = 0; !s && i < n; i++) {
    size_t put = 0;
    s = merge_part(w, part[i], &put);
    all += put;
    if (!s && !o->quiet) complain("%s: %zu rows", part[i], put);
  }
  if (!s) s = index_commit(w);        /* all of it, or nothing */
  if (s && made && w) unlink(o->out); /* while it is locked */
  index_writer_close(w);
  if (s) return failed();
  if (o->json)
    json_print(json_pack("{s:o,s:I,s:I}", "path", json_text(o->out), "parts", (json_int_t)n, "rows", (json_int_t)all),
               false);
  else
    printf("%zu rows of %zu parts\n", all, n);
  return EXIT_DONE;
}

int run_index_merge(int argc, char **argv) {
  static const verb self = {
      "index merge", "joins indexes and files of vectors", NULL,
      "  linnet index merge all.lidx monday.lidx tuesday.lidx\n"
      "  linnet index merge photos.lidx photos.npy\n\n"
      "Usage: linnet index merge [options] INDEX PART...\n\n"
      "Puts the rows of all parts into INDEX, which is made if it is not there. A part is another\n"
      "index; vectors of `linnet embed` (OUT.npy, with OUT.jsonl beside it), made by as many\n"
      "processes and machines as one likes. A row of a path that is there replaces it. Either all\n"
      "parts are in it afterwards, or none.\n"};
  merge_settings o = {0};
  int at, code;
  const arg list[] = {
      ARG_MODEL(&o.model),
      {"vocab", 0, ARG_TEXT, &o.vocabulary, 0, 0, "FILE", "the vocabulary of a pair whose file carries none"},
      {"type", 0, ARG_TEXT, &o.type, 0, 0, "TYPE", "of a new index: f32, f16 or i8 (else its first part's)"},
      ARG_JSON(&o.json),
      ARG_QUIET(&o.quiet),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at == argc) return misuse(&self, "which index? give the path of its file");
  o.out = argv[at++];
  if (at == argc) return misuse(&self, "there is nothing to merge into %s", o.out);
  return merge_all(&o, argv + at, (size_t)(argc - at));
}
