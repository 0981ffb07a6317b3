#include "tests/support/weights_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"

#include <cmocka.h>

const char *const container_names[CONTAINERS] = {"safetensors", "gguf"};

writer *writer_into(const char *path, int container) {
  writer *w = writer_create(path, container_names[container]);
  if (!w) fail_msg("%s", last_error());
  assert_string_equal(writer_container(w), container_names[container]);
  return w;
}

checkpoint *opened(const char *path) {
  checkpoint *c = checkpoint_open(path);
  if (!c) fail_msg("%s", last_error());
  return c;
}

void copy_weights(const char *from, const char *to, int container) {
  checkpoint *c = opened(from);
  writer *w = writer_into(to, container);
  writer_copy_metadata(w, c);
  for (size_t i = 0; i < checkpoint_count(c); i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    writer_declare(w, t->name, t->dtype, t->n_dims, t->dim);
  }
  for (size_t i = 0; i < checkpoint_count(c); i++)
    writer_put(w, checkpoint_at(c, i)->name, checkpoint_at(c, i)->data, checkpoint_at(c, i)->bytes);
  if (writer_finish(w)) fail_msg("%s", last_error());
  checkpoint_close(c);
}

void check_error(status got, status code, const char *words) {
  if (got != code || last_status() != code) fail_msg("%d, not %d: %s", (int)got, (int)code, last_error());
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
}

void check_same_files(const char *a, const char *b) {
  size_t n, m;
  char *x = scratch_read(a, &n), *y = scratch_read(b, &m);
  assert_non_null(x);
  assert_non_null(y);
  assert_int_equal(n, m);
  assert_memory_equal(x, y, n);
  free(x);
  free(y);
}

void check_intact(const checkpoint *c) {
  bool has_checksum = false;
  if (checkpoint_verify(c, &has_checksum)) fail_msg("%s", last_error());
  assert_true(has_checksum);
}

const checkpoint_tensor *check_stored(const checkpoint *c, const char *name, checkpoint_dtype dtype, int n_dims,
                                      const int64_t *dim) {
  const checkpoint_tensor *t = checkpoint_find(c, name);
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(t->dtype, dtype);
  assert_int_equal(t->n_dims, n_dims);
  for (int i = 0; i < n_dims; i++) assert_int_equal(t->dim[i], dim[i]);
  return t;
}
