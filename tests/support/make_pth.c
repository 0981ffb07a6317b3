#include "tests/support/make_pth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include <cmocka.h> /* last: it defines fail() as a macro */

void put(pickle_writer *w, const void *bytes, size_t n) {
  assert_true(w->size + n <= sizeof w->bytes);
  memcpy(w->bytes + w->size, bytes, n);
  w->size += n;
}

void put_text(pickle_writer *w, const char *text) {
  const size_t length = strlen(text);
  const char head[] = {'X', (char)length, (char)(length >> 8), 0, 0};
  put(w, head, sizeof head);
  put(w, text, length);
}

void put_int(pickle_writer *w, int64_t value) {
  PUT(w, "\x8a\x08");
  put(w, &value, sizeof value);
}

void put_ints(pickle_writer *w, int n, const int64_t *values) {
  PUT(w, "(");
  for (int i = 0; i < n; i++) put_int(w, values[i]);
  PUT(w, "t");
}

void put_global(pickle_writer *w, const char *module_space_name) {
  const char *space = strchr(module_space_name, ' ');
  assert_non_null(space);
  PUT(w, "c");
  put(w, module_space_name, (size_t)(space - module_space_name));
  PUT(w, "\n");
  put(w, space + 1, strlen(space + 1));
  PUT(w, "\n");
}

void put_storage(pickle_writer *w, const char *class, const char *key, int64_t elements) {
  char global[100] = "torch ";
  PUT(w, "(");
  put_text(w, "storage");
  put_global(w, strncat(global, class, 80));
  put_text(w, key);
  put_text(w, "cpu");
  put_int(w, elements);
  PUT(w, "tQ");
}

void put_value(pickle_writer *w, const char *class, int64_t elements, int64_t offset, int n_dims, const int64_t *dims,
               const int64_t *strides) {
  put_global(w, "torch._utils _rebuild_tensor_v2");
  PUT(w, "(");
  put_storage(w, class, "0", elements);
  put_int(w, offset);
  put_ints(w, n_dims, dims);
  put_ints(w, n_dims, strides);
  PUT(w, "\x89");
  put_global(w, "collections OrderedDict");
  PUT(w, ")RtR");
}

void put_tensor(pickle_writer *w, const char *name, const char *class, int64_t elements, int64_t offset, int n_dims,
                const int64_t *dims, const int64_t *strides) {
  put_text(w, name);
  put_value(w, class, elements, offset, n_dims, dims, strides);
}

void put_six(pickle_writer *w, const char *name) {
  put_tensor(w, name, "FloatStorage", 6, 0, 1, (int64_t[]){6}, (int64_t[]){1});
}

char *make_zip(const pth_entry *entries, size_t n, int method, size_t *size) {
  zip_source_t *memory = zip_source_buffer_create(NULL, 0, 0, NULL);
  assert_non_null(memory);
  zip_t *zip = zip_open_from_source(memory, ZIP_TRUNCATE, NULL);
  assert_non_null(zip);
  zip_source_keep(memory);
  for (size_t i = 0; i < n; i++) {
    zip_source_t *source = zip_source_buffer(zip, entries[i].bytes, entries[i].size, 0);
    const zip_int64_t index = zip_file_add(zip, entries[i].name, source, 0);
    assert_true(index >= 0);
    assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index, method, 0), 0);
  }
  zip_stat_t info;
  assert_int_equal(zip_close(zip), 0);
  assert_int_equal(zip_source_stat(memory, &info), 0);
  char *bytes = malloc(*size = (size_t)info.size);
  assert_non_null(bytes);
  assert_int_equal(zip_source_open(memory), 0);
  assert_int_equal(zip_source_read(memory, bytes, info.size), info.size);
  zip_source_close(memory);
  zip_source_free(memory);
  return bytes;
}

char *make_pth(const pickle_writer *w, int method, size_t *size) {
  static const float values[] = {0, 1, 2, 3, 4, 5};
  const pth_entry entries[] = {{"made/data.pkl", w->bytes, w->size}, {"made/data/0", values, sizeof values}};
  return make_zip(entries, 2, method, size);
}
