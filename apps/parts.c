#include "apps/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "data/json_lines.h"
#include "kernels/atomic_file.h"
#include "kernels/file.h"

static const char end_npy[] = ".npy", end_lines[] = ".jsonl", end_plan[] = ".plan.json";
static const char key_row[] = "row", key_fingerprint[] = "fingerprint";
enum { USUAL_SIZE = 1024, PLAN_BYTES = 1 << 16 };
#define LINES_BYTES ((uint64_t)1 << 32)

/* --- names -------------------------------------------------------------------------------------------------------- */

/* STEM + end, or STEM.part-00000 + end; the caller frees it. */
static char *name_of(const parts_plan *p, const char *end) {
  const size_t room = strlen(p->stem) + strlen(end) + 1;
  char *name = mem_alloc(room, 1);
  if (name) snprintf(name, room, "%s%s", p->stem, end);
  return name;
}

static char *part_name(const parts_plan *p, size_t part, const char *end) {
  char whole[64];
  snprintf(whole, sizeof whole, ".part-%05zu%s", part, end);
  return name_of(p, whole);
}

static void remove_name(char *name) {
  if (name) unlink(name);
  free(name);
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

static void count_parts(parts_plan *p) { p->count = p->items / p->size + (p->items % p->size != 0); }

static status write_text(const char *path, const char *text) {
  atomic_file *f = atomic_file_create(path);
  if (!f) return last_status();
  atomic_file_write(f, text, strlen(text)); /* commit says if that failed */
  return atomic_file_commit(f);
}

static status write_plan(const parts_plan *p, const char *path) {
  json_t *plan =
      json_pack("{s:I,s:I,s:I,s:s,s:s}", "items", (json_int_t)p->items, "part", (json_int_t)p->size, "width",
                (json_int_t)p->width, "type", p->type == NPY_F32 ? "f32" : "f16", key_fingerprint, p->fingerprint);
  char *text = plan ? json_dumps(plan, JSON_INDENT(2)) : NULL;
  const status s = text ? write_text(path, text) : fail(STATUS_MEMORY, "out of memory");
  json_decref(plan);
  free(text);
  return s;
}

/* What the plan in a file says. */
static status read_plan(parts_plan *p, const char *path) {
  size_t n;
  json_int_t items, size, width;
  const char *type, *fingerprint;
  char *text = file_read(path, PLAN_BYTES, &n);
  if (!text) return last_status();
  json_t *plan = json_loadb(text, n, 0, NULL);
  const bool good = !json_unpack(plan, "{s:I,s:I,s:I,s:s,s:s}", "items", &items, "part", &size, "width", &width, "type",
                                 &type, key_fingerprint, &fingerprint) &&
                    items >= 0 && size > 0 && width > 0 && strlen(fingerprint) == CHECKSUM_DIGITS &&
                    (!strcmp(type, "f32") || !strcmp(type, "f16"));
  if (good) {
    p->items = (size_t)items, p->size = (size_t)size, p->width = (size_t)width;
    p->type = strcmp(type, "f16") ? NPY_F32 : NPY_F16;
    memcpy(p->fingerprint, fingerprint, sizeof p->fingerprint);
    count_parts(p);
  }
  json_decref(plan);
  free(text);
  return good ? STATUS_OK : fail(STATUS_FORMAT, "%s: this is no plan of parts; remove it", path);
}

/* Without its ending, if it has that. */
static status take_stem(parts_plan *p, const char *out) {
  if (!(p->stem = mem_string(out))) return STATUS_MEMORY;
  p->stem[table_stem(out)] = 0;
  return STATUS_OK;
}

/* That there is `found` already: whether it is for the same work. */
static status follow(parts_plan *p, const parts_plan *found, const char *path) {
  if (strcmp(found->fingerprint, p->fingerprint) != 0 || found->items != p->items || found->width != p->width ||
      found->type != p->type)
    return fail(STATUS_ARGUMENT,
                "%s belongs to other work (other items, another model, another type): write to another file, or remove "
                "it to begin anew",
                path);
  p->size = found->size;
  count_parts(p);
  return STATUS_OK;
}

status parts_begin(parts_plan *p, const char *out, int processes) {
  status s = take_stem(p, out);
  char *path = s ? NULL : name_of(p, end_plan);
  if (!path) return last_status();
  if (!p->size) {
    const size_t share = p->items / (size_t)processes + (p->items % (size_t)processes != 0);
    p->size = share < USUAL_SIZE ? share + !share : USUAL_SIZE;
  }
  count_parts(p);
  parts_plan found = {0};
  if (access(path, F_OK))
    s = write_plan(p, path);
  else if (!(s = read_plan(&found, path)))
    s = follow(p, &found, path);
  free(path);
  return s;
}

status parts_find(parts_plan *p, const char *out) {
  status s = take_stem(p, out);
  char *path = s ? NULL : name_of(p, end_plan);
  s = path ? read_plan(p, path) : last_status();
  free(path);
  return s;
}

void parts_free(parts_plan *p) {
  free(p->stem);
  *p = (parts_plan){0};
}

/* --- parts -------------------------------------------------------------------------------------------------------- */

/* Whether the file's first line has the plan's fingerprint. */
static bool is_ours(const parts_plan *p, const char *path) {
  char line[256];
  FILE *file = path ? fopen(path, "rb") : NULL;
  const char *said = NULL;
  json_t *value = file && fgets(line, sizeof line, file) ? json_loads(line, 0, NULL) : NULL;
  if (value) said = json_string_value(json_object_get(value, key_fingerprint));
  const bool ours = said && !strcmp(said, p->fingerprint);
  json_decref(value);
  if (file) fclose(file);
  return ours;
}

bool part_there(const parts_plan *p, size_t part) {
  char *rows = part_name(p, part, end_npy), *text = part_name(p, part, end_lines);
  const bool there = rows && !access(rows, F_OK), ours = is_ours(p, text);
  if (there && !ours) unlink(rows); /* or it would seem to belong to the lines that are written before it */
  free(rows);
  free(text);
  return there && ours;
}

table_writer *part_create(const parts_plan *p, size_t part) {
  char *rows = part_name(p, part, end_npy);
  table_writer *w = rows ? table_create(rows, p->type, p->width) : NULL;
  free(rows);
  if (!w || !table_line(w, json_pack("{s:I,s:s}", "part", (json_int_t)part, key_fingerprint, p->fingerprint))) return w;
  table_abandon(w);
  return NULL;
}

/* --- joining ------------------------------------------------------------------------------------------------------ */

size_t parts_missing(const parts_plan *p) {
  size_t n = 0;
  for (size_t i = 0; i < p->count; i++) n += !part_there(p, i);
  char *plan = n ? name_of(p, end_plan) : NULL;
  if (plan && access(plan, F_OK)) n = 0;
  free(plan);
  return n;
}

typedef struct {
  const parts_plan *plan;
  table_writer *table;
  size_t first, here; /* rows of the parts before, and of this one */
  parts_joined *found;
} joiner;

/* A part's rows, a few at a time. */
static status join_rows(joiner *j, const char *path) {
  enum { ROWS = 256 };
  const size_t width = j->plan->width;
  npy a;
  float *room = mem_alloc(ROWS * width, sizeof *room);
  status s = room ? npy_open(&a, path) : STATUS_MEMORY;
  if (!room) return s;
  if (!s && (a.n_dims != 2 || a.dim[1] != width))
    s = fail(STATUS_FORMAT, "%s: its rows are not of %zu numbers; remove it to have it made again", path, width);
  for (size_t at = 0; !s && at < a.dim[0]; at += ROWS) {
    const size_t n = a.dim[0] - at < ROWS ? a.dim[0] - at : ROWS;
    npy_read(&a, at * width, n * width, room);
    s = table_rows(j->table, room, n);
  }
  j->here = s ? 0 : a.dim[0];
  npy_close(&a);
  free(room);
  return s;
}

static status join_line(void *user, const json_t *value, size_t line) {
  joiner *j = user;
  if (line == 1) return STATUS_OK; /* the fingerprint */
  json_t *copy = json_copy((json_t *)(uintptr_t)value), *row = json_object_get(copy, key_row);
  if (row) {
    json_object_set_new(copy, key_row, json_integer(json_integer_value(row) + (json_int_t)j->first));
    j->found->rows++;
  } else {
    j->found->failed++;
  }
  return table_line(j->table, copy);
}

static status join_part(joiner *j, size_t part) {
  size_t n;
  char *rows = part_name(j->plan, part, end_npy), *path = part_name(j->plan, part, end_lines);
  char *text = rows && path ? file_read(path, LINES_BYTES, &n) : NULL;
  status s = text ? join_rows(j, rows) : last_status();
  if (!s) s = json_lines(path, text, n, join_line, j);
  j->first += j->here;
  if (!s && j->found->rows != j->first)
    s = fail(STATUS_FORMAT, "%s: it has %zu rows, but its lines tell of others; remove it to have it made again", rows,
             j->here);
  free(rows);
  free(path);
  free(text);
  return s;
}

static status join_all(const parts_plan *p, parts_joined *found) {
  char *rows = name_of(p, end_npy);
  joiner j = {.plan = p, .table = rows ? table_create(rows, p->type, p->width) : NULL, .found = found};
  status s = j.table ? STATUS_OK : last_status();
  free(rows);
  for (size_t i = 0; !s && i < p->count; i++) s = join_part(&j, i);
  if (!s) return table_commit(j.table);
  table_abandon(j.table);
  return s;
}

/* The plan goes last: until then the work can be taken up. */
static void remove_all(const parts_plan *p) {
  for (size_t i = 0; i < p->count; i++) {
    remove_name(part_name(p, i, end_npy));
    remove_name(part_name(p, i, end_lines));
  }
  remove_name(name_of(p, end_plan));
}

status parts_join(const parts_plan *p, parts_joined *found) {
  char *path = name_of(p, end_plan);
  *found = (parts_joined){0};
  if (!path) return STATUS_MEMORY;
  const int lock = open(path, O_RDONLY | O_CLOEXEC);
  const bool gone = lock < 0 && errno == ENOENT; /* whoever joined them has removed it */
  status s = lock >= 0 || gone ? STATUS_OK : fail(STATUS_IO, "%s: cannot be opened: %s", path, strerror(errno));
  /* A file that was removed can still be locked, by those who had opened it. */
  if (lock >= 0 && !flock(lock, LOCK_EX | LOCK_NB) && !access(path, F_OK)) {
    s = join_all(p, found);
    found->joined = !s;
    if (!s) remove_all(p);
  }
  if (lock >= 0) close(lock);
  free(path);
  return s;
}
