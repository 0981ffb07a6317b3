/* Exact search: every instruction set, way, number of threads, batch and division into parts gives the bits of a plain
 * computation; hostile tables; encoding. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"
#include "kernels/search_run.h"
#include "tests/support/kernel_check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- a table and its plain scores --------------------------------------------------------------------------------- */

typedef struct {
  vector_type type;
  size_t width, n;
  uint8_t *rows; /* at an odd address, and as long as it must be */
  uint8_t *memory;
  float *factor;
} table;

static table table_new(vector_type type, size_t width, size_t n) {
  table t = {.type = type, .width = width, .n = n};
  t.memory = malloc(1 + n * vector_bytes(type, width));
  t.factor = calloc(n + 1, sizeof *t.factor);
  assert_true(t.memory && t.factor);
  t.rows = t.memory + 1;
  return t;
}

static void table_free(table *t) {
  free(t->memory);
  free(t->factor);
}

static void table_put(table *t, size_t i, const float *row) {
  uint8_t *to = t->rows + i * vector_bytes(t->type, t->width);
  assert_int_equal(vector_encode(t->type, row, t->width, to, &t->factor[i]), STATUS_OK);
}

/* Clusters: rows near one of `centres` directions, of about length 1. */
static void draw(rng *g, size_t width, unsigned centres, float *row) {
  const uint32_t centre = rng_below(g, centres);
  for (size_t c = 0; c < width; c++) {
    rng at = rng_make(99 + centre, c);
    row[c] = (rng_normal(&at) + 0.5f * rng_normal(g)) / sqrtf((float)width);
  }
}

static table table_drawn(vector_type type, size_t width, size_t n, unsigned centres) {
  table t = table_new(type, width, n);
  float *row = malloc(width * sizeof *row);
  rng g = rng_make(7, width);
  for (size_t i = 0; i < n; i++) {
    draw(&g, width, centres, row);
    table_put(&t, i, row);
  }
  free(row);
  return t;
}

static float *queries_drawn(size_t width, size_t n, unsigned centres) {
  float *q = malloc((n * width + 1) * sizeof *q);
  rng g = rng_make(8, width);
  for (size_t i = 0; i < n; i++) draw(&g, width, centres, q + i * width);
  return q;
}

/* The definition of a score in search_scores.c, as plainly as it can be written. */
static float plain_float(const table *t, size_t i, const float *query) {
  float lane[16] = {0};
  for (size_t c = 0; c < t->width; c++) {
    float x;
    uint16_t half;
    if (t->type == VECTOR_F32) {
      memcpy(&x, t->rows + (i * t->width + c) * 4, 4);
    } else {
      memcpy(&half, t->rows + (i * t->width + c) * 2, 2);
      x = f16_to_f32(half);
    }
    const float product = x * query[c];
    lane[c % 16] += product;
  }
  for (int half = 8; half; half /= 2)
    for (int j = 0; j < half; j++) lane[j] += lane[j + half];
  return lane[0];
}

static float plain_integer(const table *t, size_t i, const float *query) {
  double largest = 0;
  int64_t sum = 0;
  for (size_t c = 0; c < t->width; c++) largest = fmax(largest, fabs((double)query[c]));
  const double step = largest / (127 * 128);
  for (size_t c = 0; c < t->width; c++)
    sum += (int64_t)(step > 0 ? nearbyint((double)query[c] / step) : 0) * (int8_t)t->rows[i * t->width + c];
  return (float)((double)sum * ((double)t->factor[i] * step));
}

static float plain_score(const table *t, size_t i, const float *query) {
  return t->type == VECTOR_I8 ? plain_integer(t, i, query) : plain_float(t, i, query);
}

static int best_first(const void *a, const void *b) {
  const search_hit *x = a, *y = b;
  if (x->score != y->score) return x->score < y->score ? 1 : -1;
  return (x->row > y->row) - (x->row < y->row);
}

/* --- what is compared --------------------------------------------------------------------------------------------- */

enum { FIRST = 5, GAP = 1000 }; /* the first row's number, and what each part leaves out before the next */

typedef struct {
  const table *t;
  const float *queries;
  size_t n_queries, k;
  const uint8_t *skip; /* by row of the table */
  search_part *part;
  size_t n_parts;
  uint8_t **part_skip;
  search_hit *want;
  size_t *n_want;
} trial;

/* Cuts the table into parts that end after about every n / parts rows. */
static void cut(trial *x, size_t parts) {
  x->part = calloc(parts + 1, sizeof *x->part);
  x->part_skip = calloc(parts + 1, sizeof *x->part_skip);
  for (size_t p = 0, at = 0; p < parts; p++) {
    const size_t end = p + 1 == parts ? x->t->n : at + (x->t->n - at) / (parts - p) + (p % 3 == 1 && at < x->t->n / 2);
    uint8_t *skip = calloc((end - at) / 8 + 1, 1);
    for (size_t i = at; x->skip && i < end; i++)
      skip[(i - at) / 8] |= (uint8_t)((x->skip[i / 8] >> i % 8 & 1) << (i - at) % 8);
    x->part_skip[p] = skip;
    x->part[p] = (search_part){.rows = x->t->rows + at * vector_bytes(x->t->type, x->t->width),
                               .factor = x->t->type == VECTOR_I8 ? x->t->factor + at : NULL,
                               .skip = x->skip ? skip : NULL,
                               .n = end - at,
                               .first = FIRST + p * GAP + at};
    at = end;
  }
  x->n_parts = parts;
}

static void uncut(trial *x) {
  for (size_t p = 0; p < x->n_parts; p++) free(x->part_skip[p]);
  free(x->part_skip);
  free(x->part);
}

static void work_out(trial *x) {
  search_hit *all = malloc((x->t->n + 1) * sizeof *all);
  x->want = calloc(x->n_queries * x->k + 1, sizeof *x->want);
  x->n_want = calloc(x->n_queries + 1, sizeof *x->n_want);
  for (size_t q = 0; q < x->n_queries; q++) {
    size_t n = 0;
    for (size_t i = 0; i < x->t->n; i++) {
      if (x->skip && (x->skip[i / 8] >> i % 8 & 1)) continue;
      const float score = plain_score(x->t, i, x->queries + q * x->t->width);
      if (!isnan(score)) all[n++] = (search_hit){i, score};
    }
    qsort(all, n, sizeof *all, best_first);
    x->n_want[q] = n < x->k ? n : x->k;
    memcpy(x->want + q * x->k, all, x->n_want[q] * sizeof *all);
  }
  free(all);
}

static uint64_t numbered(const trial *x, uint64_t row) {
  size_t p = 0;
  for (uint64_t at = 0; p < x->n_parts && at + x->part[p].n <= row; p++) at += x->part[p].n;
  return FIRST + p * GAP + row;
}

static void compare(const trial *x, const search_hit *hits, const size_t *n_found, size_t from, size_t n) {
  for (size_t q = 0; q < n; q++) {
    assert_int_equal(n_found[q], x->n_want[from + q]);
    for (size_t j = 0; j < n_found[q]; j++) {
      const search_hit *want = &x->want[(from + q) * x->k + j], *got = &hits[q * x->k + j];
      if (got->row != numbered(x, want->row) || memcmp(&got->score, &want->score, sizeof want->score) != 0)
        fail_msg("%s, width %zu, query %zu, place %zu: expected row %llu with %.9g, found row %llu with %.9g",
                 vector_type_name(x->t->type), x->t->width, from + q, j, (unsigned long long)numbered(x, want->row),
                 (double)want->score, (unsigned long long)got->row, (double)got->score);
    }
  }
}

/* `batch` queries at a time. */
static void check_way(const trial *x, const cpu_kernels *kernels, search_way way, size_t batch) {
  search_hit *hits = malloc((batch * x->k + 1) * sizeof *hits);
  size_t *n_found = malloc((batch + 1) * sizeof *n_found);
  for (size_t q = 0, n; q < x->n_queries; q += n) {
    n = x->n_queries - q < batch ? x->n_queries - q : batch;
    assert_int_equal(search_exact_by(kernels, way, x->t->type, x->t->width, x->part, x->n_parts,
                                     x->queries + q * x->t->width, n, x->k, hits, n_found),
                     STATUS_OK);
    compare(x, hits, n_found, q, n);
  }
  free(hits);
  free(n_found);
}

static trial current;

static void check_variant(const cpu_kernels *kernels) {
  const int usual = omp_get_max_threads();
  for (int threads = 1; threads <= 2; threads++) {
    omp_set_num_threads(threads);
    check_way(&current, kernels, SEARCH_SCORED, current.n_queries);
    check_way(&current, kernels, SEARCH_FILTERED, current.n_queries);
    check_way(&current, kernels, SEARCH_USUAL, threads == 1 ? 1 : 21);
  }
  omp_set_num_threads(usual);
}

/* All variants, ways, threads and batches, with the table in one part and in several. */
static void check_all(const table *t, const float *queries, size_t n_queries, size_t k, const uint8_t *skip) {
  static const size_t parts[] = {1, 7};
  current = (trial){.t = t, .queries = queries, .n_queries = n_queries, .k = k, .skip = skip};
  work_out(&current);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    cut(&current, parts[i]);
    for_each_table(check_variant);
    uncut(&current);
  }
  free(current.want);
  free(current.n_want);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_widths(void **state) {
  (void)state;
  static const size_t widths[] = {1, 3, 16, 17, 63, 100, 512, 513, 768};
  for (int type = 0; type < VECTOR_TYPES; type++)
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
      enum { QUERIES = 19 };
      table t = table_drawn((vector_type)type, widths[i], 403, 20);
      float *q = queries_drawn(widths[i], QUERIES, 20);
      check_all(&t, q, QUERIES, 10, NULL);
      free(q);
      table_free(&t);
    }
}

/* More rows than a block, so that the comparison in 8 bits has thresholds, and more queries than a panel. */
static void test_blocks(void **state) {
  (void)state;
  for (int type = 0; type < VECTOR_TYPES; type++) {
    enum { QUERIES = 150, ROWS = 3000, WIDTH = 96 };
    table t = table_drawn((vector_type)type, WIDTH, ROWS, 50);
    float *q = queries_drawn(WIDTH, QUERIES, 50);
    check_all(&t, q, QUERIES, 3, NULL);
    free(q);
    table_free(&t);
  }
}

static void test_skipped_rows(void **state) {
  (void)state;
  enum { WIDTH = 48, ROWS = 900, QUERIES = 30 };
  uint8_t skip[ROWS / 8 + 1] = {0};
  rng g = rng_make(3, 0);
  for (size_t i = 0; i < ROWS; i++) skip[i / 8] |= (uint8_t)((rng_below(&g, 3) > 0) << i % 8);
  for (int type = 0; type < VECTOR_TYPES; type++) {
    table t = table_drawn((vector_type)type, WIDTH, ROWS, 9);
    float *q = queries_drawn(WIDTH, QUERIES, 9);
    check_all(&t, q, QUERIES, 12, skip);
    memset(skip, 0xff, sizeof skip);
    check_all(&t, q, 3, 12, skip);
    memset(skip, 0x5a, sizeof skip);
    free(q);
    table_free(&t);
  }
}

/* Many equal rows, opposite ones and zeros; queries that are zero, tiny and huge. */
static void test_ties(void **state) {
  (void)state;
  enum { WIDTH = 20, ROWS = 2500, QUERIES = 24 };
  for (int type = 0; type < VECTOR_TYPES; type++) {
    table t = table_new((vector_type)type, WIDTH, ROWS);
    float row[WIDTH];
    for (size_t i = 0; i < ROWS; i++) {
      for (size_t c = 0; c < WIDTH; c++) row[c] = i % 5 == 4 ? 0.0f : (i % 2 ? -1.0f : 1.0f) * (float)((c + i % 3) % 4);
      table_put(&t, i, row);
    }
    float *q = queries_drawn(WIDTH, QUERIES, 4);
    memset(q, 0, WIDTH * sizeof *q);
    for (size_t c = 0; c < WIDTH; c++) {
      q[WIDTH + c] = 1;
      q[2 * WIDTH + c] *= 1e-36f;
      q[3 * WIDTH + c] *= 1e36f;
      q[4 * WIDTH + c] = c ? 1e-44f : 0.0f;
    }
    check_all(&t, q, QUERIES, 700, NULL);
    check_all(&t, q, QUERIES, 5, NULL);
    free(q);
    table_free(&t);
  }
}

static void test_counts(void **state) {
  (void)state;
  enum { WIDTH = 33, QUERIES = 18 };
  float *q = queries_drawn(WIDTH, QUERIES, 4);
  for (int type = 0; type < VECTOR_TYPES; type++) {
    static const size_t rows[] = {0, 1, 5, 40};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      table t = table_drawn((vector_type)type, WIDTH, rows[i], 4);
      check_all(&t, q, QUERIES, 0, NULL);
      check_all(&t, q, QUERIES, 1, NULL);
      check_all(&t, q, QUERIES, 40, NULL);
      check_all(&t, q, QUERIES, 1000, NULL);
      check_all(&t, q, 0, 3, NULL);
      table_free(&t);
    }
  }
  free(q);
}

/* Any bits may stand in a file: infinities, NaN, subnormals, factors that are none; and each query must still find what
 * the definition says. */
static void test_hostile_tables(void **state) {
  (void)state;
  enum { WIDTH = 24, ROWS = 2200, QUERIES = 40 };
  static const float odd[] = {INFINITY, -INFINITY, NAN, 1e-42f, -3e38f, 1e30f, -1e-25f, 0.0f};
  for (int type = 0; type < VECTOR_TYPES; type++) {
    table t = table_drawn((vector_type)type, WIDTH, ROWS, 6);
    rng g = rng_make(11, (uint64_t)type);
    for (size_t i = 0; i < ROWS; i += 1 + rng_below(&g, 6)) {
      const size_t c = rng_below(&g, WIDTH);
      const uint32_t which = rng_below(&g, 9);
      const uint16_t half = (uint16_t)rng_u64(&g);
      if (type == VECTOR_F32) {
        const uint32_t bits = (uint32_t)rng_u64(&g);
        memcpy(t.rows + (i * WIDTH + c) * 4, which < 8 ? (const void *)&odd[which] : (const void *)&bits, 4);
      } else if (type == VECTOR_F16) {
        memcpy(t.rows + (i * WIDTH + c) * 2, &half, 2);
      } else {
        memset(t.rows + i * WIDTH, (int)rng_below(&g, 256), WIDTH);
        t.factor[i] = which < 8 ? odd[which] : -1;
      }
    }
    float *q = queries_drawn(WIDTH, QUERIES, 6);
    check_all(&t, q, QUERIES, 6, NULL);
    check_all(&t, q, QUERIES, 2100, NULL);
    free(q);
    table_free(&t);
  }
}

/* Each row is a little better than all before it, and the first ones are long: the comparison rules nothing out. */
static void test_rising_scores(void **state) {
  (void)state;
  enum { WIDTH = 64, ROWS = 2300, QUERIES = 20 };
  for (int type = 0; type < VECTOR_TYPES; type++) {
    table t = table_new((vector_type)type, WIDTH, ROWS);
    float row[WIDTH];
    for (size_t i = 0; i < ROWS; i++) {
      for (size_t c = 0; c < WIDTH; c++) row[c] = (c % 2 ? 1.0f : 3.0f) * (1 + (float)i * 1e-6f);
      table_put(&t, i, row);
    }
    float *q = queries_drawn(WIDTH, QUERIES, 3);
    check_all(&t, q, QUERIES, 4, NULL);
    free(q);
    table_free(&t);
  }
}

/* The largest width with the largest numbers: sums of integers come close to their ends. */
static void test_largest_width(void **state) {
  (void)state;
  enum { ROWS = 14, QUERIES = 17 };
  const size_t width = VECTOR_WIDTH_MAX;
  for (int type = 0; type < VECTOR_TYPES; type++) {
    table t = table_drawn((vector_type)type, width, ROWS, 3);
    float *q = queries_drawn(width, QUERIES, 3);
    for (size_t i = 0; type == VECTOR_I8 && i < 4; i++) {
      memset(t.rows + i * width, (int)(uint8_t[]){127, 0x81, 0x80, 0x80}[i], width);
      for (size_t c = 0; c < width; c++) q[i * width + c] = i % 2 ? -1.0f : 1.0f;
    }
    check_all(&t, q, QUERIES, 5, NULL);
    free(q);
    table_free(&t);
  }
}

/* Whatever the rows, the comparison in 8 bits keeps those that reach the limit: all queries against all rows, each
 * with the row's own score as its limit, from which the bound may never be away. */
static void check_bounds(const cpu_kernels *kernels) {
  enum { ROWS = 60, QUERIES = 16, WIDTH = 77 };
  for (int type = 0; type < VECTOR_TYPES; type++)
    for (int wide = 0; wide < 2; wide++) {
      table t = table_drawn((vector_type)type, WIDTH, ROWS, 5);
      float *q = queries_drawn(WIDTH, QUERIES, 5);
      q[3] *= wide ? 1e4f : 1;
      prepared_queries p;
      assert_int_equal(queries_prepare(&p, t.type, WIDTH, q, QUERIES, true), STATUS_OK);
      float factor, norm, error, row[WIDTH], limit[QUERIES];
      int8_t values[WIDTH + 3] = {0};
      int32_t sum;
      uint64_t alive;
      const filter_rows one = {WIDTH, WIDTH + 3, values, &factor, &norm, &error, &sum};
      p.filter.limit = limit;
      for (size_t i = 0; i < ROWS; i++) {
        const uint8_t *stored = t.rows + i * vector_bytes(t.type, WIDTH);
        if (type == VECTOR_I8) {
          factor = t.factor[i];
          memcpy(values, stored, WIDTH);
          kernels->search_measure(1, &one);
        } else {
          kernels->search_shrink(type == VECTOR_F16, 1, stored, row, values, &one);
        }
        for (size_t j = 0; j < QUERIES; j++)
          limit[j] = queries_limit(&p, j, nextafterf(plain_score(&t, i, q + j * WIDTH), -INFINITY));
        kernels->search_filter(&one, 1, &p.filter, 0, 1, &alive);
        assert_int_equal(alive, 0xffff);
        for (size_t j = 0; j < QUERIES; j++) limit[j] += (fabsf(limit[j]) + 127 * 127) * 0.6f;
        kernels->search_filter(&one, 1, &p.filter, 0, 1, &alive);
        assert_int_equal(alive, 0); /* and it does rule out */
      }
      queries_free(&p);
      free(q);
      table_free(&t);
    }
}

static void test_bounds(void **state) {
  (void)state;
  for_each_table(check_bounds);
}

static void test_encoding(void **state) {
  (void)state;
  enum { WIDTH = 50 };
  float row[WIDTH], back[WIDTH], factor;
  uint8_t stored[4 * WIDTH];
  rng g = rng_make(5, 5);
  for (size_t c = 0; c < WIDTH; c++) row[c] = rng_normal(&g);
  row[7] = -4.5f; /* the largest */
  static const float error[VECTOR_TYPES] = {0, 0x1p-9f, 4.5f / 127 / 2 * 1.0001f};
  for (int type = 0; type < VECTOR_TYPES; type++) {
    vector_type named;
    assert_true(vector_type_named(vector_type_name((vector_type)type), &named));
    assert_int_equal(named, type);
    assert_int_equal(vector_encode(named, row, WIDTH, stored, &factor), STATUS_OK);
    assert_true(type == VECTOR_I8 ? factor == 4.5f / 127 : factor == 1);
    vector_decode(named, stored, factor, WIDTH, back);
    for (size_t c = 0; c < WIDTH; c++) assert_true(fabsf(back[c] - row[c]) <= error[type]);
    row[3] = INFINITY;
    assert_int_equal(vector_encode(named, row, WIDTH, stored, &factor), STATUS_ARGUMENT);
    row[3] = NAN;
    assert_int_equal(vector_encode(named, row, WIDTH, stored, &factor), STATUS_ARGUMENT);
    row[3] = 0.5f;
  }
  assert_false(vector_type_named("f64", &(vector_type){VECTOR_F32}));
  row[0] = 65520;
  assert_int_equal(vector_encode(VECTOR_F16, row, WIDTH, stored, &factor), STATUS_ARGUMENT);
  row[0] = 65519;
  assert_int_equal(vector_encode(VECTOR_F16, row, WIDTH, stored, &factor), STATUS_OK);
  memset(row, 0, sizeof row);
  assert_int_equal(vector_encode(VECTOR_I8, row, WIDTH, stored, &factor), STATUS_OK);
  vector_decode(VECTOR_I8, stored, factor, WIDTH, back);
  assert_memory_equal(row, back, sizeof row);
  row[9] = 1e-45f; /* too small to have a 127th part */
  assert_int_equal(vector_encode(VECTOR_I8, row, WIDTH, stored, &factor), STATUS_OK);
}

static void test_arguments(void **state) {
  (void)state;
  float q[4] = {1, 2, NAN, 4};
  size_t n_found;
  search_hit hit;
  assert_int_equal(search_exact(VECTOR_F32, 4, NULL, 0, q, 1, 1, &hit, &n_found), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), "number 3 of query 1"));
  assert_int_equal(search_exact(VECTOR_F32, 0, NULL, 0, q, 1, 1, &hit, &n_found), STATUS_ARGUMENT);
  assert_int_equal(search_exact(VECTOR_F32, VECTOR_WIDTH_MAX + 1, NULL, 0, q, 1, 1, &hit, &n_found), STATUS_ARGUMENT);
  assert_int_equal(search_exact(VECTOR_F32, 2, NULL, 0, q, 1, 1, &hit, &n_found), STATUS_OK);
  assert_int_equal(n_found, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_widths),        cmocka_unit_test(test_blocks),        cmocka_unit_test(test_skipped_rows),
      cmocka_unit_test(test_ties),          cmocka_unit_test(test_counts),        cmocka_unit_test(test_hostile_tables),
      cmocka_unit_test(test_rising_scores), cmocka_unit_test(test_largest_width), cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_encoding),      cmocka_unit_test(test_arguments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
