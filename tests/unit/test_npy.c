/* .npy files: there and back, the bytes of the header, what NumPy may write otherwise, damaged ones. */
#include "data/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void good(status s) {
  if (s) fail_msg("%s", last_error());
}

static void refused(status got, status code, const char *words) {
  assert_int_equal(got, code);
  if (!strstr(last_error(), words)) fail_msg("'%s' does not say '%s'", last_error(), words);
}

/* --- there and back ----------------------------------------------------------------------------------------------- */

static void check_round(void **state, npy_type type) {
  enum { ROWS = 37, COLUMNS = 5 };
  float x[ROWS * COLUMNS], y[ROWS * COLUMNS];
  rng g = rng_make(4, 0);
  for (int i = 0; i < ROWS * COLUMNS; i++)
    x[i] = type == NPY_F16 ? f16_to_f32(f32_to_f16(rng_normal(&g))) : rng_normal(&g);
  x[3] = INFINITY; /* is what it is */
  char *path = scratch_path(state, "a.npy");
  npy_writer *w = npy_create(path, type, COLUMNS);
  assert_non_null(w);
  good(npy_write(w, x, 30));
  good(npy_write(w, x, 0));
  good(npy_write(w, x + 30 * COLUMNS, 7));
  good(npy_commit(w));
  npy a;
  good(npy_open(&a, path));
  assert_true(a.type == type && a.n_dims == 2 && a.dim[0] == ROWS && a.dim[1] == COLUMNS && a.count == ROWS * COLUMNS);
  npy_read(&a, 0, a.count, y);
  assert_memory_equal(x, y, sizeof x);
  npy_read(&a, 11, 4, y);
  assert_memory_equal(x + 11, y, 4 * sizeof *y);
  npy_close(&a);
  free(path);
}

static void test_round(void **state) {
  check_round(state, NPY_F32);
  check_round(state, NPY_F16);
}

/* Byte for byte what NumPy 1.24 writes for numpy.zeros((2, 3), 'f4'), but for more blanks. */
static void test_bytes(void **state) {
  const float zero[6] = {0};
  char *path = scratch_path(state, "a.npy");
  npy_writer *w = npy_create(path, NPY_F32, 3);
  good(npy_write(w, zero, 2));
  good(npy_commit(w));
  size_t n;
  char *bytes = scratch_read(path, &n), want[128];
  assert_int_equal(n, 128 + 24);
  memset(want, ' ', sizeof want);
  static const char head[] = "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  memcpy(want, head, sizeof head - 1);
  want[127] = '\n';
  assert_memory_equal(bytes, want, sizeof want);
  free(bytes);
  free(path);
}

static void test_abandoned(void **state) {
  const float big[2] = {1, 65520}; /* the least that rounds to infinity */
  char *path = scratch_path(state, "a.npy");
  npy_writer *w = npy_create(path, NPY_F16, 2);
  refused(npy_write(w, big, 1), STATUS_ARGUMENT, "65520 does not fit");
  npy_abandon(w);
  npy_abandon(NULL);
  assert_int_equal(scratch_entries(state), 0);
  assert_null(npy_create("tests/none/a.npy", NPY_F32, 2));
  free(path);
}

/* --- other writers, and damage ------------------------------------------------------------------------------------ */

/* A file of that version with the header and so many zero bytes of values. */
static status parse_into(npy *a, int version, const char *head, size_t values) {
  static unsigned char bytes[4096];
  const size_t n = strlen(head), begin = version == 1 ? 10 : 12;
  memset(bytes, 0, sizeof bytes);
  memcpy(bytes, "\x93NUMPY", 6);
  bytes[6] = (unsigned char)version;
  bytes[8] = (unsigned char)(n & 255), bytes[9] = (unsigned char)(n >> 8);
  memcpy(bytes + begin, head, n);
  return npy_parse(a, bytes, begin + n + values, "it");
}

static void test_others(void **state) {
  (void)state;
  npy a;
  good(parse_into(&a, 2, "{\"shape\": (4,), \"descr\": \"<f2\", 'fortran_order': True}\n", 8));
  assert_true(a.type == NPY_F16 && a.n_dims == 1 && a.dim[0] == 4);
  good(parse_into(&a, 3, "{'shape':(),'fortran_order':False,'descr':'<f4',}", 4));
  assert_true(a.n_dims == 0 && a.count == 1);
  good(parse_into(&a, 1, "{'shape': (3, 0, 2), 'fortran_order': False, 'descr': '<f4'}", 0));
  assert_true(a.n_dims == 3 && a.count == 0);
  good(parse_into(&a, 1, "{'shape': (1,1,1,1,1,1,1,2), 'fortran_order': False, 'descr': '<f4'}", 8));
  assert_true(a.n_dims == 8 && a.dim[7] == 2);
}

static void test_damaged(void **state) {
  (void)state;
  npy a;
  const char usual[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  good(parse_into(&a, 1, usual, 24));
  refused(parse_into(&a, 1, usual, 23), STATUS_FORMAT, "23 bytes");
  refused(parse_into(&a, 1, usual, 25), STATUS_FORMAT, "shape");
  refused(parse_into(&a, 4, usual, 24), STATUS_UNSUPPORTED, "version 4");
  refused(parse_into(&a, 1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", 24), STATUS_UNSUPPORTED,
          "'<f8'");
  refused(parse_into(&a, 1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24), STATUS_UNSUPPORTED,
          "by columns");
  static const char *const heads[] = {
      "",
      "{",
      "{}",
      "{'descr': '<f4', 'fortran_order': False}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } x",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 99999999999999999999999), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6), }",
      "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3), }",
      "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
      "{'descr': '<f4, 'fortran_order': False, 'shape': (2, 3), }",
      "{'descr': '<f4444444444444444444444', 'fortran_order': False, 'shape': (2, 3), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}",
      "{'descr' '<f4', 'fortran_order': False, 'shape': (2, 3), }",
  };
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
    refused(parse_into(&a, 1, heads[i], 24), STATUS_FORMAT, "header");
  refused(parse_into(&a, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 24),
          STATUS_FORMAT, "shape");
  refused(npy_parse(&a, "\x93NUMPX\x01\x00\x00\x00{}", 12, "it"), STATUS_FORMAT, "no .npy file");
  refused(npy_parse(&a, "\x93NUMPY\x01\x00\xff\xff{}  ", 14, "it"), STATUS_FORMAT, "inside its header");
  for (size_t n = 0; n < 12; n++)
    refused(npy_parse(&a, "\x93NUMPY\x02\x00\x00\x00\x00\x00", n, "it"), STATUS_FORMAT, "no .npy");
  refused(npy_open(&a, "tests/none.npy"), STATUS_IO, "none.npy");
  npy_close(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_round, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_bytes, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_abandoned, scratch_setup, scratch_teardown),
      cmocka_unit_test(test_others),
      cmocka_unit_test(test_damaged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
