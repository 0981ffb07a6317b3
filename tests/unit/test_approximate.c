/* FAISS through its module: what is found against a plain scan, files that come back the same, damaged files, and that
 * no second OpenBLAS comes in with it. What needs the module is skipped where it was not built. */
#include "fusion/approximate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusion/faiss_file.h"
#include "fusion/plugin.h"
#include "kernels/blas.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WIDTH = 32, ROWS = 2200, QUERIES = 20, K = 10 };

static float rows[ROWS * WIDTH], queries[QUERIES * WIDTH];

/* Ids have gaps, as those of an index in which rows were deleted, and one is the largest that there can be. */
static uint64_t id_of(size_t place) { return place == 7 ? (uint64_t)INT64_MAX : 5 + 3 * (uint64_t)place; }

static size_t place_of(uint64_t id) { return id == (uint64_t)INT64_MAX ? 7 : (size_t)(id - 5) / 3; }

/* Around 40 centres, as embeddings lie. */
static void make_vectors(float *v, size_t n, uint64_t stream) {
  for (size_t i = 0; i < n; i++) {
    rng g = rng_make(11, stream + i), centre = rng_make(12, rng_below(&g, 40));
    double sum = 0;
    for (int j = 0; j < WIDTH; j++) {
      v[i * WIDTH + j] = rng_normal(&centre) + 0.7F * rng_normal(&g);
      sum += (double)v[i * WIDTH + j] * v[i * WIDTH + j];
    }
    for (int j = 0; j < WIDTH; j++) v[i * WIDTH + j] /= (float)sqrt(sum);
  }
}

static double dot(const float *a, const float *b) {
  double sum = 0;
  for (int j = 0; j < WIDTH; j++) sum += (double)a[j] * b[j];
  return sum;
}

static status give(void *from, size_t place, float *vector, uint64_t *id) {
  size_t *asked = from;
  if (asked) ++*asked;
  memcpy(vector, rows + place * WIDTH, WIDTH * sizeof *vector);
  *id = id_of(place);
  return STATUS_OK;
}

static approximate_plan plan_of(const char *factory) {
  return (approximate_plan){.factory = factory, .width = WIDTH, .n = ROWS, .seed = 3, .vector = give};
}

static approximate *built(const char *factory) {
  const approximate_plan plan = plan_of(factory);
  approximate *a = approximate_build(&plan);
  if (!a) fail_msg("%s: %s", factory, last_error());
  return a;
}

static void good(status s) {
  if (s) fail_msg("%s", last_error());
}

static void says(const char *words) {
  if (!strstr(last_error(), words)) fail_msg("'%s' does not say '%s'", last_error(), words);
}

/* The share of each query's K best rows that were found; scores are checked where they are exact. */
static double recall(const approximate *a, bool exact) {
  static search_hit hits[QUERIES * K];
  size_t n_found[QUERIES], right = 0;
  good(approximate_search(a, queries, QUERIES, K, hits, n_found));
  for (int q = 0; q < QUERIES; q++) {
    const float *query = queries + q * WIDTH;
    for (size_t i = 0; i < n_found[q]; i++) {
      const search_hit hit = hits[q * K + (int)i];
      const double score = dot(query, rows + place_of(hit.row) * WIDTH);
      assert_true(place_of(hit.row) < ROWS && id_of(place_of(hit.row)) == hit.row);
      if (exact) assert_true(fabs(score - hit.score) < 1e-5);
      if (i) assert_true(hit.score <= hits[q * K + (int)i - 1].score);
      size_t better = 0;
      for (int r = 0; r < ROWS; r++) better += dot(query, rows + r * WIDTH) > score + 1e-9;
      right += better < K;
    }
  }
  return (double)right / (QUERIES * K);
}

/* --- with and without the module ---------------------------------------------------------------------------------- */

static void without_module(void **state) {
  char *kept = mem_string(getenv("LINNET_PLUGIN_DIR") ? getenv("LINNET_PLUGIN_DIR") : "");
  char *folder = scratch_path(state, "."), *module = scratch_path(state, "liblinnet-faiss.so");
  assert_int_equal(setenv("LINNET_PLUGIN_DIR", folder, 1), 0);
  const approximate_plan plan = plan_of("Flat");
  if (blas_open()) skip();
  assert_null(approximate_build(&plan));
  assert_int_equal(last_status(), STATUS_UNSUPPORTED);
  says("liblinnet-faiss.so was not found at");
  says("libfaiss-dev");
  scratch_write(module, "no library", 10);
  assert_null(plugin_open("faiss", 1, "libfaiss-dev"));
  says("cannot be opened");
  assert_int_equal(unlink(module), 0);
  if (!symlink("/lib/x86_64-linux-gnu/libm.so.6", module) && !access(module, F_OK)) {
    assert_null(plugin_open("faiss", 1, "libfaiss-dev"));
    says("is not a plug-in");
  }
  if (*kept)
    setenv("LINNET_PLUGIN_DIR", kept, 1);
  else
    unsetenv("LINNET_PLUGIN_DIR");
  free(kept);
  free(folder);
  free(module);
}

static void need_module(void) {
#ifndef BUILT_PLUGINS
  print_message("skipped: the plug-in for FAISS was not built (libfaiss-dev)\n");
  skip();
#else
  setenv("LINNET_PLUGIN_DIR", BUILT_PLUGINS, 0);
#endif
}

static void version_differs(void **state) {
  (void)state;
  need_module();
  good(blas_open());
  assert_null(plugin_open("faiss", 999, "libfaiss-dev"));
  says("needs version 999");
}

/* How many different files with `part` in their name this process has mapped. */
static int mapped(const char *part) {
  char line[4096], last[4096] = "";
  int n = 0;
  FILE *f = fopen("/proc/self/maps", "r");
  if (!f) skip();
  while (fgets(line, sizeof line, f)) {
    const char *name = strchr(line, '/');
    if (!name || !strstr(name, part) || !strcmp(name, last)) continue;
    snprintf(last, sizeof last, "%s", name);
    n++;
  }
  fclose(f);
  return n;
}

static void one_blas(void **state) {
  (void)state;
  need_module();
  approximate *a = built("Flat");
  recall(a, true);
  assert_int_equal(mapped("openblas"), 1);
  assert_int_equal(mapped("libblas"), 0);
#ifndef __clang__
  assert_int_equal(mapped("libgomp") + mapped("libomp"), 1);
#endif
  approximate_close(a);
}

/* --- what is found ------------------------------------------------------------------------------------------------ */

static const struct {
  const char *factory, *kind, *effort;
  double recall;
  bool exact;
} kinds[] = {
    {"Flat", "IDMap2,Flat", "", 1, true},
    {"SQ8", "IDMap2,SQ8", "", 0.95, false},
    {"SQfp16", "IDMap2,SQfp16", "", 0.98, false},
    {"PQ8", "IDMap2,PQ8", "", 0.4, false},
    {"IVF16,Flat", "IDMap2,IVF16,Flat", "nprobe=16", 1, true},
    {"IVF16,Flat", "IDMap2,IVF16,Flat", "nprobe=4", 0.7, true},
    {"IVF16,SQ8", "IDMap2,IVF16,SQ8", "nprobe=16", 0.95, false},
    {"IVF16,PQ8", "IDMap2,IVF16,PQ8", "nprobe=16", 0.4, false},
    {"IVF16,PQ16x6", "IDMap2,IVF16,PQ16x6", "nprobe=16", 0.4, false},
    {"IVF32_HNSW8,Flat", "IDMap2,IVF32HNSW8_Flat,Flat", "nprobe=32,quantizer_efSearch=64", 0.98, true},
    {"HNSW16", "IDMap2,HNSW16_Flat", "efSearch=200", 0.95, true},
    {"HNSW16_SQ8", "IDMap2,HNSW16_SQ8", "efSearch=200", 0.9, false},
    {"PCA16,Flat", "IDMap2,PCA16,Flat", "", 0.3, false},
    {"OPQ8_32,IVF16,PQ8", "IDMap2,Linear32,IVF16,PQ8", "nprobe=16", 0.4, false},
    {"L2norm,Flat", "IDMap2,L2norm,Flat", "", 1, true},
    {"PQ8,RFlat", "IDMap2,PQ8,Refine(Flat)", "k_factor_rf=20", 0.95, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void compare_hits(const approximate *a, const approximate *b) {
  static search_hit one[QUERIES * K], other[QUERIES * K];
  size_t n_one[QUERIES], n_other[QUERIES];
  good(approximate_search(a, queries, QUERIES, K, one, n_one));
  good(approximate_search(b, queries, QUERIES, K, other, n_other));
  assert_memory_equal(n_one, n_other, sizeof n_one);
  for (int q = 0; q < QUERIES; q++)
    for (size_t i = 0; i < n_one[q]; i++) {
      assert_true(one[q * K + (int)i].row == other[q * K + (int)i].row);
      assert_true(one[q * K + (int)i].score == other[q * K + (int)i].score);
    }
}

static void kinds_find(void **state) {
  need_module();
  char *path = scratch_path(state, "a.index");
  for (int i = 0; i < KINDS; i++) {
    approximate *a = built(kinds[i].factory);
    const approximate_numbers *n = approximate_numbers_of(a);
    assert_int_equal(n->width, WIDTH);
    assert_int_equal(n->count, ROWS);
    assert_string_equal(n->kind, kinds[i].kind);
    assert_memory_equal(n->engine, "FAISS ", 6);
    good(approximate_effort(a, kinds[i].effort));
    const double share = recall(a, kinds[i].exact);
    if (share < kinds[i].recall) fail_msg("%s: recall %.3f", kinds[i].factory, share);
    good(approximate_write(a, path));
    approximate *b = approximate_read(path);
    if (!b) fail_msg("%s", last_error());
    assert_int_equal(approximate_numbers_of(b)->count, ROWS);
    assert_string_equal(approximate_numbers_of(b)->kind, kinds[i].kind);
    good(approximate_effort(b, kinds[i].effort));
    compare_hits(a, b);
    approximate_close(a);
    approximate_close(b);
  }
  free(path);
}

static void vectors_come_back(void **state) {
  need_module();
  static float back[ROWS * WIDTH];
  static uint64_t ids[ROWS];
  static const struct {
    const char *factory;
    double error;
  } ways[] = {{"Flat", 0}, {"IVF16,Flat", 0}, {"HNSW8", 0}, {"IVF16,SQ8", 0.02}, {"PQ16", 0.7}};
  char *path = scratch_path(state, "a.index");
  for (int w = 0; w < 5; w++) {
    approximate *a = built(ways[w].factory);
    good(approximate_vectors(a, 0, ROWS / 3, back, ids));
    good(approximate_vectors(a, ROWS / 3, ROWS - ROWS / 3, back + ROWS / 3 * WIDTH, ids + ROWS / 3));
    for (int r = 0; r < ROWS; r++) {
      assert_true(ids[r] == id_of((size_t)r));
      double worst = 0;
      for (int j = 0; j < WIDTH; j++) worst = fmax(worst, fabs(back[r * WIDTH + j] - rows[r * WIDTH + j]));
      if (worst > ways[w].error) fail_msg("%s: row %d differs by %g", ways[w].factory, r, worst);
    }
    good(approximate_write(a, path)); /* and afterwards it is still one that is read */
    approximate *b = approximate_read(path);
    if (!b) fail_msg("%s", last_error());
    compare_hits(a, b);
    approximate_close(a);
    approximate_close(b);
  }
  free(path);
}

/* A file of another program: no ids around the lists, which hold them, and distances instead of products. */
static void others_files(void **state) {
  need_module();
  char *path = scratch_path(state, "a.index");
  size_t size;
  approximate *a = built("IVF16,Flat");
  good(approximate_write(a, path));
  char *bytes = scratch_read(path, &size);
  /* IDMap2's head is the first 37 bytes, its ids are the last 8 + 8 n; within, ids are places. */
  const size_t head = 4 + 33, inner = size - head - 8 - 8 * (size_t)ROWS;
  int32_t metric = 1;
  memcpy(bytes + head + 4 + 29, &metric, 4);
  scratch_write(path, bytes + head, inner);
  free(bytes);
  approximate_close(a);
  a = approximate_read(path);
  if (!a) fail_msg("%s", last_error());
  assert_true(approximate_numbers_of(a)->by_distance);
  assert_string_equal(approximate_numbers_of(a)->kind, "IVF16,Flat");
  good(approximate_effort(a, "nprobe=16"));
  search_hit hit;
  size_t found;
  static float back[ROWS * WIDTH];
  static uint64_t ids[ROWS];
  good(approximate_vectors(a, 0, ROWS, back, ids));
  for (size_t r = 0; r < ROWS; r++) assert_memory_equal(back + r * WIDTH, rows + ids[r] * WIDTH, WIDTH * sizeof *back);
  for (int r = 0; r < ROWS; r += 100) {
    good(approximate_search(a, rows + r * WIDTH, 1, 1, &hit, &found));
    assert_true(found == 1 && hit.row == (uint64_t)r && fabs(hit.score - 1) < 1e-5);
  }
  approximate_close(a);
  free(path);
}

static void same_again(void **state) {
  (void)state;
  need_module();
  size_t asked = 0;
  approximate_plan plan = plan_of("IVF16,PQ8");
  plan.sample = 700;
  plan.from = &asked;
  approximate *a = approximate_build(&plan), *b = approximate_build(&plan);
  if (!a || !b) fail_msg("%s", last_error());
  assert_int_equal(asked, 2 * (700 + ROWS)); /* the sample, then all */
  compare_hits(a, b);
  approximate_close(a);
  approximate_close(b);
}

/* --- mistakes ----------------------------------------------------------------------------------------------------- */

static status give_badly(void *from, size_t place, float *vector, uint64_t *id) {
  const int mistake = *(int *)from;
  give(NULL, place, vector, id);
  if (place != 2000) return STATUS_OK;
  if (mistake == 0) vector[3] = NAN;
  if (mistake == 1) *id = (uint64_t)INT64_MAX + 1;
  return mistake == 2 ? (fail)(STATUS_INTERRUPTED, "enough") : STATUS_OK;
}

static void refuses(void **state) {
  (void)state;
  need_module();
  static const struct {
    const char *factory, *words;
  } bad[] = {{"", "1 to 128"},
             {"Nonsense", "could not parse"},
             {"PQ0", "the number 0"},
             {"IVF0,Flat", "the number 0"},
             {"HNSW99999999999", "is not within"},
             {"PQ8x40", "is not within"},
             {"PQ7", "multiple of the number of subquantizers"},
             {"IVF5000,Flat", "should be at least as large"},
             {"NSG16", "kind that is not read"},
             {"IVF16,PQ8x4fs", "kind that is not read"},
             {"((((", "FAISS"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const approximate_plan plan = plan_of(bad[i].factory);
    approximate *a = approximate_build(&plan);
    if (a) fail_msg("%s was built", bad[i].factory);
    says(bad[i].words);
  }
  static const char *const words[] = {"vector 2000 is not finite", "too large for FAISS", "enough"};
  for (int i = 0; i < 3; i++) {
    approximate_plan plan = plan_of("Flat");
    plan.vector = give_badly;
    plan.from = &i;
    assert_null(approximate_build(&plan));
    says(words[i]);
  }
  assert_int_equal(last_status(), STATUS_INTERRUPTED);

  approximate *a = built("Flat");
  search_hit hits[2];
  size_t found;
  float query[WIDTH] = {NAN};
  assert_int_equal(approximate_search(a, query, 1, 2, hits, &found), STATUS_ARGUMENT);
  assert_int_equal(approximate_effort(a, "nprobe=4"), STATUS_UNSUPPORTED);
  says("nprobe");
  static const char *const settings[] = {"nprobe", "nprobe=", "nprobe=0", "nprobe=4;efSearch=3", "=4", "nprobe=nan"};
  for (int i = 0; i < 6; i++) {
    assert_int_equal(approximate_effort(a, settings[i]), STATUS_ARGUMENT);
    says("is not a list of settings");
  }
  approximate_close(a);
}

static void empty_and_few(void **state) {
  need_module();
  search_hit hits[2 * 5];
  size_t found[2] = {9, 9};
  char *path = scratch_path(state, "a.index");
  for (size_t n = 0; n < 4; n += 3) {
    approximate_plan plan = plan_of("HNSW8");
    plan.n = n;
    approximate *a = approximate_build(&plan);
    if (!a) fail_msg("%s", last_error());
    good(approximate_write(a, path));
    approximate_close(a);
    a = approximate_read(path);
    if (!a) fail_msg("%s", last_error());
    good(approximate_search(a, queries, 2, 5, hits, found));
    assert_true(found[0] == n && found[1] == n);
    approximate_close(a);
  }
  approximate_plan plan = plan_of("IVF16,Flat");
  plan.n = 0;
  assert_null(approximate_build(&plan));
  says("there are none");
  free(path);
}

/* Cut anywhere it is refused; with a bit changed it is refused, or searched without harm. */
static void damaged_files(void **state) {
  need_module();
  static const char *const which[] = {"Flat",      "IVF8,SQ8", "IVF8,PQ4x4",  "HNSW4",
                                      "HNSW4_SQ8", "PCA8,SQ4", "PQ4x4,RFlat", "PQ4x4"};
  char *path = scratch_path(state, "a.index");
  for (int w = 0; w < 8; w++) {
    approximate_plan plan = plan_of(which[w]);
    plan.n = 64;
    approximate *a = approximate_build(&plan);
    if (!a) fail_msg("%s", last_error());
    good(approximate_write(a, path));
    approximate_close(a);
    size_t size;
    char *bytes = scratch_read(path, &size);
    faiss_file_facts facts;
    for (size_t cut = 0; cut < size; cut++) assert_int_not_equal(faiss_file_check(bytes, cut, &facts), STATUS_OK);
    assert_int_not_equal(faiss_file_check(bytes, size + 1, &facts), STATUS_OK);
    says("more than an index");
    rng g = rng_make(5, (uint64_t)w);
    for (int i = 0; i < 400; i++) {
      /* Half of the changes go to the first bytes, where sizes are. */
      const size_t at = rng_below(&g, (uint32_t)(i % 2 || size < 400 ? size : 400));
      const char before = bytes[at];
      bytes[at] = (char)(before ^ 1 << rng_below(&g, 8));
      scratch_write(path, bytes, size);
      bytes[at] = before;
      a = approximate_read(path);
      if (!a) {
        assert_true(*last_error());
        continue;
      }
      static search_hit hits[4 * K];
      static float wide[4 * 1024];
      size_t found[4];
      memset(wide, 0, sizeof wide);
      assert_true(approximate_numbers_of(a)->width <= 1024);
      approximate_search(a, wide, 4, K, hits, found);
      memcpy(wide, queries, 4 * WIDTH * sizeof *wide);
      approximate_search(a, wide, 4, K, hits, found);
      approximate_close(a);
    }
    free(bytes);
  }
  free(path);
}

int main(void) {
  make_vectors(rows, ROWS, 0);
  make_vectors(queries, QUERIES, 1 << 20);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(without_module, scratch_setup, scratch_teardown),
      cmocka_unit_test(version_differs),
      cmocka_unit_test(one_blas),
      cmocka_unit_test_setup_teardown(kinds_find, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(vectors_come_back, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(others_files, scratch_setup, scratch_teardown),
      cmocka_unit_test(same_again),
      cmocka_unit_test(refuses),
      cmocka_unit_test_setup_teardown(empty_and_few, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(damaged_files, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
