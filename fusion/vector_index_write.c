/* The writer: rows wait in memory and then behind the last commit; docs/index-format.md has the order of a commit. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusion/vector_index_layout.h"
#include "kernels/atomic_file.h"
#include "kernels/bytes.h"

enum { PIECE = 32 << 20 };

typedef struct {
  uint8_t *bytes;
  size_t size, room;
} block;

struct index_writer {
  int descriptor;
  bool owned, has_names, changed;
  bool rooted;        /* a root may have been written that is not known to have been synced */
  bool buffered;      /* the last segment lies in `part` */
  uint64_t committed; /* where the last commit ends */
  status failed;
  index_view view;
  name_table names;
  block part[INDEX_PARTS];
  size_t piece;
  float *unit; /* [width] */
  void *stored;
};

/* A failure after which the writer can only be closed. */
static status stop(index_writer *w) { return w->failed = last_status(); }

static status stopped(const index_writer *w) {
  return fail(w->failed, "%s: nothing more can be written after an earlier failure", w->view.name);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static status lock(int descriptor, const char *path) {
  while (flock(descriptor, LOCK_EX | LOCK_NB)) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return fail(STATUS_IO, "%s: another process is writing it", path);
    return fail(STATUS_IO, "%s: cannot lock it, as writing needs: %s; not every file system has locks", path,
                strerror(errno));
  }
  return STATUS_OK;
}

int index_lock(const char *path) {
  for (int i = 0; i < 100; i++) {
    struct stat mine, named;
    const int descriptor = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
      fail(STATUS_IO, "cannot open %s for writing: %s", path, strerror(errno));
      return -1;
    }
    /* While we came to the lock, the file may have been compacted: then the name stands for another one. */
    status s = lock(descriptor, path);
    if (!s && (fstat(descriptor, &mine) || stat(path, &named)))
      s = fail(STATUS_IO, "%s: cannot open: %s", path, strerror(errno));
    if (!s && mine.st_ino == named.st_ino && mine.st_dev == named.st_dev) return descriptor;
    close(descriptor);
    if (s) return -1;
  }
  fail(STATUS_IO, "%s: is replaced by other processes all the time", path);
  return -1;
}

index_writer *index_writer_on(int descriptor, bool owned, const char *name, bool names) {
  index_writer *w = mem_zero(1, sizeof *w);
  if (!w) {
    if (owned) close(descriptor);
    return NULL;
  }
  *w = (index_writer){.descriptor = descriptor, .owned = owned, .has_names = names, .piece = PIECE};
  const index_facts *facts = &w->view.facts;
  if (!view_open(&w->view, descriptor, name) && (w->unit = mem_alloc(facts->width, sizeof *w->unit)) &&
      (w->stored = mem_alloc(vector_bytes(facts->type, facts->width), 1)) &&
      (!names || !names_open(&w->names, &w->view))) {
    w->committed = w->view.end;
    return w;
  }
  index_writer_close(w);
  return NULL;
}

index_writer *index_append(const char *path) {
  const int descriptor = index_lock(path);
  return descriptor < 0 ? NULL : index_writer_on(descriptor, true, path, true);
}

index_writer *index_create(const char *path, const index_facts *facts) {
  if (!facts->width || facts->width > VECTOR_WIDTH_MAX || (unsigned)facts->type >= VECTOR_TYPES)
    return fail_null(STATUS_ARGUMENT,
                     "cannot make %s: an index has vectors of 1 to %d numbers of a known type, not %zu", path,
                     VECTOR_WIDTH_MAX, facts->width);
  if (strlen(facts->about) > INDEX_TEXT_MAX)
    return fail_null(STATUS_ARGUMENT, "cannot make %s: what is said of its vectors is over %d bytes", path,
                     INDEX_TEXT_MAX);
  atomic_file *f = atomic_file_create(path);
  if (!f) return NULL;
  if (layout_new(atomic_file_descriptor(f), path, facts, 1, 0)) {
    atomic_file_abandon(f);
    return NULL;
  }
  return atomic_file_commit_new(f) ? NULL : index_append(path);
}

const index_facts *index_writer_facts(const index_writer *w) { return &w->view.facts; }
const index_view *index_writer_view(const index_writer *w) { return &w->view; }
void index_writer_set_piece(index_writer *w, size_t bytes) { w->piece = bytes; }

void index_writer_close(index_writer *w) {
  if (!w) return;
  view_close(&w->view);
  names_close(&w->names);
  for (int p = 0; p < INDEX_PARTS; p++) free(w->part[p].bytes);
  free(w->unit);
  free(w->stored);
  /* Room on the disk that was taken for what was not committed is given back; if that fails, the next writer uses it.
   */
  if (w->committed && (w->changed || w->failed) && !w->rooted && ftruncate(w->descriptor, (off_t)w->committed))
    w->failed = STATUS_IO;
  if (w->owned) close(w->descriptor);
  free(w);
}

/* --- putting and removing ----------------------------------------------------------------------------------------- */

static status append(block *b, const void *data, size_t bytes) {
  size_t wanted;
  if (!size_add(b->size, bytes, &wanted)) return fail(STATUS_MEMORY, "out of memory for rows");
  if (wanted > b->room) {
    const size_t room = wanted + b->room; /* both are far below half of what can be addressed */
    uint8_t *grown = mem_grow(b->bytes, room, 1);
    if (!grown) return last_status();
    b->bytes = grown;
    b->room = room;
  }
  if (bytes && data) memcpy(b->bytes + b->size, data, bytes);
  if (bytes && !data) memset(b->bytes + b->size, 0, bytes);
  b->size = wanted;
  return STATUS_OK;
}

/* The slot of a name whose row is there; NULL if none is. */
static name_slot *find(const index_writer *w, const char *path) {
  if (w->failed) return NULL; /* the rows in memory may have gone */
  name_slot *slot = names_find(&w->names, &w->view, path);
  return slot->row && !view_deleted(&w->view, slot->row - 1) ? slot : NULL;
}

/* Whether a row starts another byte of the marks. */
static bool at_byte(size_t row) { return row % 8 == 0; }
static size_t marks_bytes(size_t rows) { return rows / 8 + !at_byte(rows); }

static status mark_deleted(index_writer *w, uint64_t row) {
  index_segment *s = w->view.segments + (view_segment(&w->view, row) - w->view.segments);
  const size_t at = (size_t)(row - s->first), bytes = marks_bytes(s->rows);
  if (!s->marks) {
    if (!(s->marks = mem_zero(bytes, 1))) return stop(w);
    if (s->skip) memcpy(s->marks, s->skip, bytes);
    s->skip = s->marks;
  }
  s->marks[at / 8] |= (uint8_t)(1 << at % 8);
  s->marks_changed = w->changed = true;
  s->deleted++;
  w->view.live--;
  return STATUS_OK;
}

/* The segment in memory, with room for the marks of a row more. */
static index_segment *buffer(index_writer *w) {
  index_view *v = &w->view;
  if (!w->buffered) {
    index_segment *grown = mem_room(v->segments, v->n, &v->capacity, sizeof *grown);
    if (!grown) return NULL;
    v->segments = grown;
    v->segments[v->n++] = (index_segment){.first = v->rows};
    w->buffered = true;
  }
  index_segment *s = v->segments + v->n - 1;
  if (s->marks && at_byte(s->rows)) {
    uint8_t *grown = mem_grow(s->marks, s->rows / 8 + 1, 1);
    if (!grown) return NULL;
    grown[s->rows / 8] = 0;
    s->skip = s->marks = grown;
  }
  return s;
}

/* Appends to all parts of the segment in memory. */
static status put_parts(index_writer *w, const void *stored, float factor, const index_record *r, uint64_t id) {
  const index_facts *facts = &w->view.facts;
  const char *const text[] = {r->path, r->caption, r->metadata};
  block *part = w->part;
  uint8_t number[8];
  index_segment *s = buffer(w);
  if (!s) return last_status();
  status failed = append(part + PART_VECTORS, stored, vector_bytes(facts->type, facts->width));
  if (!failed && facts->type == VECTOR_I8) failed = append(part + PART_FACTORS, &factor, sizeof factor);
  put_little(number, id, 8);
  if (!failed) failed = append(part + PART_IDS, number, 8);
  for (int i = 0; !failed && i < 3; i++) failed = append(part + PART_TEXTS, text[i], strlen(text[i]) + 1);
  put_little(number, part[PART_TEXTS].size, 8);
  if (!failed) failed = append(part + PART_ENDS, number, 8);
  if (failed) return failed;
  s->rows++;
  s->text_bytes = part[PART_TEXTS].size;
  for (int p = 0; p < INDEX_PARTS; p++) s->part[p] = part[p].size ? part[p].bytes : NULL;
  return STATUS_OK;
}

/* Writes the segment in memory behind what is in the file. */
static status flush(index_writer *w) {
  index_view *v = &w->view;
  index_segment *s = v->segments + v->n - 1;
  size_t at[INDEX_PARTS + 1];
  if (!w->buffered) return STATUS_OK;
  if (!segment_extent(&v->facts, s->rows, s->text_bytes, at))
    return fail(STATUS_MEMORY, "%s: too many rows for one segment", v->name);
  segment_sum *sum = segment_sum_new();
  if (!sum) return last_status();
  status failed = STATUS_OK;
  for (int p = 0; !failed && p < INDEX_PARTS; p++) {
    block *b = w->part + p;
    failed = append(b, NULL, at[p + 1] - at[p] - b->size);
    if (!failed) failed = layout_write(w->descriptor, v->name, b->bytes, b->size, v->end + at[p]);
    segment_sum_add(sum, b->bytes, b->size);
    b->size = 0;
  }
  s->sum = segment_sum_end(sum);
  s->place = v->end;
  v->end += at[INDEX_PARTS];
  w->buffered = false;
  return failed ? failed : view_map(v, w->descriptor);
}

status index_put_stored(index_writer *w, const void *stored, float factor, const index_record *r, uint64_t id) {
  index_view *v = &w->view;
  if (w->failed) return stopped(w);
  if (id == UINT64_MAX) return fail(STATUS_UNSUPPORTED, "%s: has no more ids to give", v->name);
  if (w->has_names && names_room(&w->names, w->names.used + 1)) return stop(w);
  name_slot *old = w->has_names ? find(w, r->path) : NULL;
  if (old && mark_deleted(w, old->row - 1)) return last_status();
  if (put_parts(w, stored, factor, r, id)) return stop(w);
  w->changed = true;
  v->rows++;
  v->live++;
  if (id >= v->next_id) v->next_id = id + 1;
  if (w->has_names) {
    name_slot *slot = names_find(&w->names, v, r->path);
    w->names.used += !slot->row;
    slot->row = v->rows;
  }
  size_t buffered = 0;
  for (int p = 0; p < INDEX_PARTS; p++) buffered += w->part[p].size;
  return buffered >= w->piece && flush(w) ? stop(w) : STATUS_OK;
}

static status check_record(const index_writer *w, const index_record *r) {
  if (!*r->path) return fail(STATUS_ARGUMENT, "%s: a row needs a name", w->view.name);
  if (strlen(r->path) > INDEX_TEXT_MAX || strlen(r->caption) > INDEX_TEXT_MAX || strlen(r->metadata) > INDEX_TEXT_MAX)
    return fail(STATUS_ARGUMENT, "%s: a text of %.200s is over the limit of %d bytes", w->view.name, r->path,
                INDEX_TEXT_MAX);
  return STATUS_OK;
}

status index_put(index_writer *w, const float *vector, const index_record *r) {
  const index_facts *facts = &w->view.facts;
  double squares = 0;
  float factor;
  if (w->failed) return stopped(w);
  if (check_record(w, r)) return last_status();
  for (size_t i = 0; i < facts->width; i++) squares += (double)vector[i] * vector[i];
  if (!(squares > 0) || !isfinite(squares))
    return fail(STATUS_ARGUMENT, "%s: the vector of %s %s", w->view.name, r->path,
                isfinite(squares) ? "is of length 0, and points nowhere" : "has a value that is not finite");
  const double scale = 1 / sqrt(squares);
  for (size_t i = 0; i < facts->width; i++) w->unit[i] = (float)(scale * vector[i]);
  if (vector_encode(facts->type, w->unit, facts->width, w->stored, &factor))
    return fail_within("%s: the vector of %s", w->view.name, r->path);
  return index_put_stored(w, w->stored, factor, r, w->view.next_id);
}

bool index_writer_find(const index_writer *w, const char *path, index_record *r) {
  const name_slot *slot = find(w, path);
  return slot && !view_record(&w->view, slot->row - 1, r);
}

status index_remove(index_writer *w, const char *path, bool *found) {
  if (w->failed) return stopped(w);
  const name_slot *slot = find(w, path);
  *found = slot;
  return slot ? mark_deleted(w, slot->row - 1) : STATUS_OK;
}

/* --- committing --------------------------------------------------------------------------------------------------- */

static status write_marks(index_writer *w) {
  index_view *v = &w->view;
  for (size_t i = 0; i < v->n; i++) {
    index_segment *s = v->segments + i;
    const size_t bytes = marks_bytes(s->rows);
    if (!s->marks_changed) continue;
    if (layout_write(w->descriptor, v->name, s->marks, bytes, v->end)) return last_status();
    s->marks_place = v->end;
    s->marks_sum = layout_sum(s->marks, bytes);
    s->marks_changed = false;
    v->end = layout_round(v->end + bytes);
  }
  return STATUS_OK;
}

static status sync_all(const index_writer *w) {
  return fsync(w->descriptor) ? fail(STATUS_IO, "cannot sync %s to the disk: %s", w->view.name, strerror(errno))
                              : STATUS_OK;
}

/* What the root names must be on the disk before it, and it before anybody hears of success. */
static status write_commit(index_writer *w, const uint8_t *manifest, size_t bytes) {
  index_view *v = &w->view;
  if (layout_write(w->descriptor, v->name, manifest, bytes, v->end) || sync_all(w)) return last_status();
  w->rooted = true;
  if (layout_write_root(w->descriptor, v->name, v->number + 1, v->end, manifest, bytes) || sync_all(w))
    return last_status();
  w->rooted = w->changed = false;
  v->number++;
  w->committed = v->end += bytes;
  return STATUS_OK;
}

status index_commit(index_writer *w) {
  size_t bytes;
  if (w->failed) return stopped(w);
  if (!w->changed) return STATUS_OK;
  if (w->view.number >= INT64_MAX) return fail(STATUS_UNSUPPORTED, "%s: has no more commits to give", w->view.name);
  if (flush(w) || write_marks(w)) return stop(w);
  uint8_t *manifest = layout_manifest(&w->view, w->view.number + 1, &bytes);
  if (!manifest || write_commit(w, manifest, bytes)) stop(w);
  free(manifest);
  return w->failed;
}
