/* Index files as a whole: verified, compacted, merged. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusion/vector_index_layout.h"
#include "kernels/atomic_file.h"
#include "kernels/file.h"

/* --- verifying ---------------------------------------------------------------------------------------------------- */

/* Over the mapping piece by piece, each given back once it is read. */
static uint64_t sum_of(const uint8_t *from, size_t bytes, segment_sum *sum) {
  enum { PIECE = 1 << 20 };
  for (size_t n; bytes; from += n, bytes -= n) {
    n = bytes < PIECE ? bytes : PIECE;
    segment_sum_add(sum, from, n);
    file_forget(from, n);
  }
  return segment_sum_end(sum);
}

static status verify_row(const index_view *v, uint64_t row, float *vector) {
  index_record r;
  double squares = 0;
  if (view_record(v, row, &r)) return last_status();
  const uint64_t id = view_id(v, row);
  if (id >= v->next_id || (row && id <= view_id(v, row - 1)))
    return fail(STATUS_FORMAT, "%s: the id of row %llu is damaged", v->name, (unsigned long long)row);
  view_vector(v, row, vector);
  for (size_t i = 0; i < v->facts.width; i++) squares += (double)vector[i] * vector[i];
  return isfinite(squares)
             ? STATUS_OK
             : fail(STATUS_FORMAT, "%s: the vector of row %llu is damaged", v->name, (unsigned long long)row);
}

static status verify_segment(const index_view *v, const index_segment *s, float *vector) {
  size_t at[INDEX_PARTS + 1];
  segment_sum *sum = segment_sum_new();
  if (!sum) return last_status();
  segment_extent(&v->facts, s->rows, s->text_bytes, at);
  if (sum_of((const uint8_t *)v->data + s->place, at[INDEX_PARTS], sum) != s->sum)
    return fail(STATUS_FORMAT, "%s: the checksum of rows %llu to %llu does not match: they are damaged", v->name,
                (unsigned long long)s->first, (unsigned long long)(s->first + s->rows - 1));
  for (uint64_t row = s->first; row < s->first + s->rows; view_forget(v, row++))
    if (verify_row(v, row, vector)) return last_status();
  return STATUS_OK;
}

/* All that lies in segments. */
static status verify_rows(const index_view *v) {
  float *vector = mem_alloc(v->facts.width, sizeof *vector);
  status s = vector ? STATUS_OK : STATUS_MEMORY;
  for (size_t i = 0; !s && i < v->n; i++) s = verify_segment(v, v->segments + i, vector);
  free(vector);
  return s;
}

static status verify_names(const index_view *v) {
  name_table names = {0};
  status s = names_open(&names, v);
  if (!s && names.used != v->live) s = fail(STATUS_FORMAT, "%s: has more than one row of the same name", v->name);
  names_close(&names);
  return s;
}

status index_verify(const char *path) {
  index_view v;
  const int descriptor = file_open(path);
  if (descriptor < 0) return STATUS_IO;
  status s = view_open(&v, descriptor, path);
  if (!s) {
    s = roots_verify(descriptor, &v);
    if (!s) s = verify_rows(&v);
    if (!s) s = verify_names(&v);
    view_close(&v);
  }
  close(descriptor);
  return s;
}

/* --- writing anew ------------------------------------------------------------------------------------------------- */

static status copy_rows(index_writer *w, const index_view *from, bool same_ids) {
  const bool same_type = from->facts.type == index_writer_facts(w)->type;
  float *vector = mem_alloc(from->facts.width, sizeof *vector);
  status s = vector ? STATUS_OK : STATUS_MEMORY;
  for (uint64_t row = 0; !s && row < from->rows; view_forget(from, row++)) {
    index_record r;
    float factor;
    if (view_deleted(from, row) || (s = view_record(from, row, &r))) continue;
    if (same_type) {
      const void *stored = view_stored(from, row, &factor);
      s = index_put_stored(w, stored, factor, &r, same_ids ? view_id(from, row) : index_writer_view(w)->next_id);
    } else {
      view_vector(from, row, vector);
      s = index_put(w, vector, &r);
    }
  }
  free(vector);
  return s;
}

status index_merge(index_writer *w, const vector_index *from) {
  const index_view *v = index_view_of(from);
  const index_facts *to = index_writer_facts(w);
  if (v->facts.width != to->width)
    return fail(STATUS_ARGUMENT, "%s: its vectors have %zu numbers, those of %s %zu: they cannot be merged", v->name,
                v->facts.width, index_writer_view(w)->name, to->width);
  if (strcmp(v->facts.about, to->about))
    return fail(STATUS_ARGUMENT, "%s: its vectors were made in another way than those of %s: %.500s, not %.500s",
                v->name, index_writer_view(w)->name, v->facts.about, to->about);
  return verify_rows(v) ? last_status() : copy_rows(w, v, false);
}

/* The commit that layout_new() wrote has no rows: nobody should ever be thrown back to it. */
static status forget_first_root(const index_writer *w, int descriptor, uint64_t first) {
  const uint8_t unused[INDEX_PAGE] = {0};
  const index_view *v = index_writer_view(w);
  if (v->number == first) return STATUS_OK;
  return layout_write(descriptor, v->name, unused, sizeof unused, INDEX_PAGE + first % INDEX_SLOTS * INDEX_PAGE);
}

static status write_anew(int descriptor, const index_view *from) {
  if (layout_new(descriptor, from->name, &from->facts, from->number, from->next_id)) return last_status();
  index_writer *w = index_writer_on(descriptor, false, from->name, false);
  if (!w) return last_status();
  status s = copy_rows(w, from, true);
  if (!s) s = index_commit(w);
  if (!s) s = forget_first_root(w, descriptor, from->number);
  index_writer_close(w);
  return s;
}

/* Damage must not get new checksums: everything is verified first. */
static status compact(int descriptor, const index_view *v) {
  struct stat info;
  if (verify_rows(v)) return last_status();
  if (fstat(descriptor, &info)) return fail(STATUS_IO, "%s: cannot read: %s", v->name, strerror(errno));
  atomic_file *f = atomic_file_create(v->name);
  if (!f) return last_status();
  status s = write_anew(atomic_file_descriptor(f), v);
  if (!s && fchmod(atomic_file_descriptor(f), info.st_mode & 07777))
    s = fail(STATUS_IO, "cannot write %s: %s", v->name, strerror(errno));
  if (!s) return atomic_file_commit(f);
  atomic_file_abandon(f);
  return s;
}

status index_compact(const char *path) {
  index_view v;
  const int descriptor = index_lock(path);
  if (descriptor < 0) return STATUS_IO;
  status s = view_open(&v, descriptor, path);
  if (!s) {
    s = compact(descriptor, &v);
    view_close(&v);
  }
  close(descriptor);
  return s;
}
