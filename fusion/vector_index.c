/* Index files for readers: one commit, mapped. */
#include <stdlib.h>
#include <unistd.h>

#include "fusion/vector_index_layout.h"
#include "kernels/file.h"

struct vector_index {
  index_view view;
  index_numbers numbers;
  search_part *parts;
};

static status take(vector_index *x, int descriptor, const char *path) {
  const index_view *v = &x->view;
  if (view_open(&x->view, descriptor, path)) return last_status();
  if (!(x->parts = mem_alloc(v->n, sizeof *x->parts))) return STATUS_MEMORY;
  for (size_t i = 0; i < v->n; i++) {
    const index_segment *s = v->segments + i;
    x->parts[i] = (search_part){.rows = s->part[PART_VECTORS],
                                .factor = (const float *)(const void *)s->part[PART_FACTORS],
                                .skip = s->skip,
                                .n = s->rows,
                                .first = s->first};
  }
  x->numbers = (index_numbers){.facts = v->facts,
                               .commits = v->number,
                               .rows = v->rows,
                               .live = v->live,
                               .segments = v->n,
                               .bytes = v->end,
                               .used = v->used};
  return STATUS_OK;
}

vector_index *index_open(const char *path) {
  const int descriptor = file_open(path);
  if (descriptor < 0) return NULL;
  vector_index *x = mem_zero(1, sizeof *x);
  if (x && take(x, descriptor, path)) {
    index_close(x);
    x = NULL;
  }
  close(descriptor);
  return x;
}

void index_close(vector_index *x) {
  if (!x) return;
  view_close(&x->view);
  free(x->parts);
  free(x);
}

const index_view *index_view_of(const vector_index *x) { return &x->view; }
const index_numbers *index_numbers_of(const vector_index *x) { return &x->numbers; }

const search_part *index_parts(const vector_index *x, size_t *n) {
  *n = x->view.n;
  return x->parts;
}

status index_record_at(const vector_index *x, uint64_t row, index_record *r) { return view_record(&x->view, row, r); }
uint64_t index_id_at(const vector_index *x, uint64_t row) { return view_id(&x->view, row); }
bool index_deleted(const vector_index *x, uint64_t row) { return view_deleted(&x->view, row); }
void index_vector_at(const vector_index *x, uint64_t row, float *vector) { view_vector(&x->view, row, vector); }

bool index_row_of(const vector_index *x, uint64_t id, uint64_t *row) {
  uint64_t low = 0, high = x->view.rows; /* rows before `low` have lower ids, those from `high` on higher ones */
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2, found = view_id(&x->view, middle);
    if (found == id) {
      *row = middle;
      return !view_deleted(&x->view, middle);
    }
    if (found < id)
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}
