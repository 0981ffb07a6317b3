/* Fuzz target: index files. The input is one without the empty rest of its first pages: 64 bytes of head, 64 of a root,
 * and all from the third page on. Its checksums are made right, since nothing else would pass them. What opens can be
 * read to its end and searched; what also verifies holds what it says, and a writer can add to it. */
#define _GNU_SOURCE /* memfd_create */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/index_forge.h"

enum { PAGES = INDEX_ABOUT - 2 * INDEX_RECORD, ROWS = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const vector_index *x, bool sound) {
  const index_numbers *n = index_numbers_of(x);
  float *vector = malloc(n->facts.width * sizeof *vector);
  size_t live = 0, parts, found;
  search_hit hit[4];
  for (uint64_t row = 0; row < n->rows && (sound || row < ROWS); row++) {
    index_record r;
    uint64_t same;
    const bool deleted = index_deleted(x, row), whole = !index_record_at(x, row, &r),
               has_id = index_row_of(x, index_id_at(x, row), &same);
    if (whole) assert(strlen(r.path) && strlen(r.caption) + strlen(r.metadata) + 1);
    assert(!sound || (whole && has_id == !deleted && (deleted || same == row)));
    index_vector_at(x, row, vector);
    live += !deleted;
  }
  assert(!sound || live == n->live);
  const search_part *part = index_parts(x, &parts);
  for (size_t i = 0; i < n->facts.width; i++) vector[i] = (float)i;
  search_exact(n->facts.type, n->facts.width, part, parts, vector, 1, 4, hit, &found);
  free(vector);
}

static void write_on(const char *path, bool sound) {
  index_writer *w = index_append(path);
  assert(w || !sound);
  if (!w) return;
  float *vector = calloc(index_writer_facts(w)->width, sizeof *vector);
  bool removed;
  vector[0] = 1;
  index_remove(w, "a", &removed);
  const bool written = !index_put(w, vector, &(index_record){"a", "b", "{}"}) && !index_commit(w);
  index_writer_close(w);
  free(vector);
  if (sound && written) assert(!index_verify(path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[64];
  if (size < 2 * INDEX_RECORD || size > 1 << 20) return 0;
  const size_t bytes = size + PAGES;
  uint8_t *file = calloc(bytes, 1);
  memcpy(file, data, INDEX_RECORD);
  memcpy(forge_root(file, data[INDEX_RECORD + 8] % INDEX_SLOTS), data + INDEX_RECORD, INDEX_RECORD);
  memcpy(file + INDEX_ABOUT, data + 2 * INDEX_RECORD, size - 2 * INDEX_RECORD);
  forge_sums(file, bytes);
  const int descriptor = memfd_create("fuzz", MFD_CLOEXEC);
  assert(descriptor >= 0 && pwrite(descriptor, file, bytes, 0) == (ssize_t)bytes);
  free(file);
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  const bool sound = !index_verify(path);
  vector_index *x = index_open(path);
  assert(x || !sound);
  if (x) read_all(x, sound);
  index_close(x);
  write_on(path, sound);
  close(descriptor);
  return 0;
}
