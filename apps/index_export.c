/* linnet index export: the rows of an index in other forms. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/index.h"
#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/table.h"
#include "fusion/approximate.h"
#include "fusion/postgres.h"

typedef struct {
  const char *type, *factory;
  bool json;
} export_settings;

static bool is_half(const export_settings *o) { return o->type && !strcmp(o->type, "f16"); }

/* --- .npy --------------------------------------------------------------------------------------------------------- */

/* {"id", "path", "caption", "metadata", "row"}: what `linnet index merge` reads. */
static json_t *line_of(uint64_t id, const index_record *r) {
  json_t *line = json_pack("{s:I,s:o}", "id", (json_int_t)id, "path", json_text(r->path));
  if (line && *r->caption) json_object_set_new(line, "caption", json_text(r->caption));
  if (line) json_object_set_new(line, "metadata", record_metadata(r));
  return line;
}

static status write_rows(table_writer *table, const vector_index *x, float *vector, size_t *n) {
  const size_t rows = index_numbers_of(x)->rows;
  status s = STATUS_OK;
  for (uint64_t row = 0; !s && row < rows; row++) {
    index_record r;
    if (index_deleted(x, row)) continue;
    index_vector_at(x, row, vector);
    s = index_record_at(x, row, &r);
    if (!s) s = table_write(table, vector, line_of(index_id_at(x, row), &r));
    if (!s) ++*n;
    if (!s && interrupted) s = fail(STATUS_INTERRUPTED, "interrupted");
  }
  return s;
}

static status export_npy(const export_settings *o, const vector_index *x, const char *path, size_t *n) {
  const size_t width = index_numbers_of(x)->facts.width;
  float *vector = mem_alloc(width, sizeof *vector);
  table_writer *table = vector ? table_create(path, is_half(o) ? NPY_F16 : NPY_F32, width) : NULL;
  status s = table ? write_rows(table, x, vector, n) : last_status();
  free(vector);
  if (!s) return table_commit(table);
  table_abandon(table);
  return s;
}

/* --- engines ------------------------------------------------------------------------------------------------------ */

/* The rows that are not deleted. */
typedef struct {
  const vector_index *x;
  uint64_t *row;
  size_t n;
} live_rows;

static status live_rows_of(live_rows *l, const vector_index *x) {
  const size_t rows = index_numbers_of(x)->rows;
  *l = (live_rows){.x = x, .row = mem_alloc(rows, sizeof *l->row)};
  for (uint64_t row = 0; l->row && row < rows; row++)
    if (!index_deleted(x, row)) l->row[l->n++] = row;
  return l->row ? STATUS_OK : STATUS_MEMORY;
}

static status give_vector(void *from, size_t place, float *vector, uint64_t *id) {
  const live_rows *l = from;
  index_vector_at(l->x, l->row[place], vector);
  *id = index_id_at(l->x, l->row[place]);
  return interrupted ? fail(STATUS_INTERRUPTED, "interrupted") : STATUS_OK;
}

static status give_row(void *from, size_t place, float *vector, uint64_t *id, index_record *record) {
  const live_rows *l = from;
  const status s = give_vector(from, place, vector, id);
  return s ? s : index_record_at(l->x, l->row[place], record);
}

static status export_faiss(const export_settings *o, live_rows *l, const char *path) {
  const approximate_plan plan = {.factory = o->factory ? o->factory : "HNSW32",
                                 .width = index_numbers_of(l->x)->facts.width,
                                 .n = l->n,
                                 .vector = give_vector,
                                 .from = l};
  approximate *a = approximate_build(&plan);
  const status s = a ? approximate_write(a, path) : last_status();
  approximate_close(a);
  return s;
}

static status export_postgres(const export_settings *o, live_rows *l, const char *url) {
  const index_facts *facts = &index_numbers_of(l->x)->facts;
  const postgres_export_plan plan = {
      .width = facts->width, .n = l->n, .half = is_half(o), .about = facts->about, .row = give_row, .from = l};
  postgres *p = postgres_open(url);
  const status s = p ? postgres_export(p, &plan) : last_status();
  postgres_close(p);
  return s;
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static status export_rows(const export_settings *o, const vector_index *x, const char *to, size_t *n) {
  live_rows l = {0};
  if (text_ends_with(to, ".npy")) return export_npy(o, x, to, n);
  status s = live_rows_of(&l, x);
  if (!s) s = postgres_named(to) ? export_postgres(o, &l, to) : export_faiss(o, &l, to);
  *n = l.n;
  free(l.row);
  return s;
}

static int export_to(const export_settings *o, const char *index, const char *to) {
  size_t n = 0;
  watch_interrupts();
  vector_index *x = index_open(index);
  status s = x ? STATUS_OK : last_status();
  if (!s) s = export_rows(o, x, to, &n);
  index_close(x);
  if (s) return failed();
  if (o->json)
    json_print(json_pack("{s:I}", "rows", (json_int_t)n), false);
  else
    printf("%zu rows\n", n);
  return EXIT_DONE;
}

int run_index_export(int argc, char **argv) {
  static const verb self = {
      "index export", "writes an index in another form", NULL,
      "  linnet index export photos.lidx photos.npy\n"
      "  linnet index export photos.lidx photos.index --faiss IVF1024,Flat\n"
      "  linnet index export photos.lidx 'postgres://me@host/pictures?table=photos'\n\n"
      "Usage: linnet index export [options] INDEX WHERE\n\n"
      "WHERE is OUT.npy: vectors as NumPy reads them, and what they are in OUT.jsonl, which `linnet index merge` "
      "takes\n"
      "back; or OUT.index: vectors for FAISS under the ids of the index (linnet search --approximate); or a database "
      "of\n"
      "PostgreSQL with pgvector, which linnet search takes in place of an index.\n"};
  export_settings o = {0};
  int at, code;
  const arg list[] = {
      {"type", 0, ARG_TEXT, &o.type, 0, 0, "TYPE", "of the numbers of a .npy or a table: f32 or f16 (else f32)"},
      {"faiss", 0, ARG_TEXT, &o.factory, 0, 0, "SPEC",
       "what FAISS makes of them: Flat, IVF1024,PQ64, ... (else HNSW32)"},
      ARG_JSON(&o.json),
  };
  if (!args_parse(&self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at != 2) return misuse(&self, "expected an index and where it goes");
  const char *to = argv[at + 1];
  if (o.type && strcmp(o.type, "f32") != 0 && strcmp(o.type, "f16") != 0)
    return misuse(&self, "--type is f32 or f16, found '%s'", o.type);
  const bool on_server = postgres_named(to);
  if (!on_server && !text_ends_with(to, ".npy") && !is_faiss_name(to))
    return misuse(&self, "'%s' is neither .npy, .index nor postgres://...", to);
  if (o.factory && (on_server || !is_faiss_name(to))) return misuse(&self, "--faiss goes with a file .index");
  return export_to(&o, argv[at], to);
}
