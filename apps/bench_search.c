/* linnet bench search: exact search beside the speed of memory and beside an index of FAISS, on vectors that are made
 * up. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/bench.h"
#include "apps/interrupt.h"
#include "apps/limits.h"
#include "apps/output.h"
#include "fusion/approximate.h"
#include "kernels/search_run.h"

/* --- vectors ------------------------------------------------------------------------------------------------------ */

/* As vectors of pictures do, they lie in clusters: a centre of length 1 and noise of about the same length. */
enum { CENTRES = 4096, STREAM_CENTRES, STREAM_ROWS, STREAM_QUERIES };
static const char made_up[] = "4096 clusters, cosine 0.5 between two vectors of one";

static void to_unit(float *x, size_t width) {
  double squares = 0;
  for (size_t c = 0; c < width; c++) squares += (double)x[c] * (double)x[c];
  const float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 1;
  for (size_t c = 0; c < width; c++) x[c] *= scale;
}

static void draw(const float *centres, size_t width, uint64_t stream, size_t i, float *x) {
  rng g = rng_make(stream, i);
  const float *centre = centres ? centres + (size_t)rng_below(&g, CENTRES) * width : NULL;
  for (size_t c = 0; c < width; c++) x[c] = rng_normal(&g) / sqrtf((float)width) + (centre ? centre[c] : 0);
  to_unit(x, width);
}

typedef struct {
  uint8_t *rows;
  float *factor;
  search_part part;
} table;

typedef struct {
  size_t rows, width, queries, k;
  int runs;
  const char *faiss,
      *effort; /* of FAISS's index: factory string (NULL = Flat, if there is FAISS), settings (or NULL) */
} search_bench;

typedef struct {
  search_bench what;
  table table[VECTOR_TYPES];
  float *centres, *queries;
  approximate *faiss;
  double build_seconds;
  const char *no_faiss; /* why there is none */
} bench;

static status make_vectors(bench *b) {
  const size_t n = b->what.rows, width = b->what.width;
  b->centres = mem_alloc(CENTRES, width * sizeof *b->centres);
  b->queries = mem_alloc(b->what.queries, width * sizeof *b->queries);
  if (!b->centres || !b->queries) return STATUS_MEMORY;
  for (size_t i = 0; i < CENTRES; i++) draw(NULL, width, STREAM_CENTRES, i, b->centres + i * width);
  for (size_t i = 0; i < b->what.queries; i++) draw(b->centres, width, STREAM_QUERIES, i, b->queries + i * width);
  for (int type = 0; type < VECTOR_TYPES; type++) {
    table *t = &b->table[type];
    t->rows = mem_alloc(n, vector_bytes((vector_type)type, width));
    t->factor = mem_alloc(n, sizeof *t->factor);
    if (!t->rows || !t->factor) return STATUS_MEMORY;
    t->part = (search_part){.rows = t->rows, .factor = type == VECTOR_I8 ? t->factor : NULL, .n = n};
  }
  float *rows = (float *)b->table[VECTOR_F32].rows;
  int failures = 0;
#pragma omp parallel for schedule(static) reduction(+ : failures)
  for (size_t i = 0; i < n; i++) {
    draw(b->centres, width, STREAM_ROWS, i, rows + i * width);
    for (int type = 0; type < VECTOR_TYPES; type++) {
      table *t = &b->table[type];
      uint8_t *to = t->rows + i * vector_bytes((vector_type)type, width);
      if (type == VECTOR_F32)
        t->factor[i] = 1;
      else if (vector_encode((vector_type)type, rows + i * width, width, to, &t->factor[i]))
        failures++;
    }
  }
  return failures ? fail(STATUS_ARGUMENT, "%d made-up vectors cannot be stored", failures) : STATUS_OK;
}

/* --- what is measured --------------------------------------------------------------------------------------------- */

/* Of one type, a value a round: seconds. */
typedef struct {
  double *reading, *one, *bound, *many; /* bound: one query's time / that of reading the table */
  search_hit *hits;                     /* of all queries */
  size_t *n_found;
} series;

static status search_seconds(const bench *b, int type, size_t n_queries, search_hit *hits, size_t *n_found,
                             double *seconds) {
  const double start = clock_seconds();
  const status s = search_exact((vector_type)type, b->what.width, &b->table[type].part, 1, b->queries, n_queries,
                                b->what.k, hits, n_found);
  *seconds = clock_seconds() - start;
  return s;
}

static status measure_type(const bench *b, int type, series *m, int round) {
  const size_t bytes = b->what.rows * vector_bytes((vector_type)type, b->what.width);
  double reading = limit_read_seconds(b->table[type].rows, bytes), one, many;
  status s = search_seconds(b, type, 1, m->hits, m->n_found, &one);
  if (!s) s = search_seconds(b, type, b->what.queries, m->hits, m->n_found, &many);
  if (s || round < 0) return s; /* the first one warms up */
  m->reading[round] = 1e-9 * (double)bytes / reading;
  m->one[round] = 1e3 * one;
  m->bound[round] = one / reading;
  m->many[round] = (double)b->what.queries / many;
  return STATUS_OK;
}

static status series_open(series *m, const search_bench *what) {
  m->reading = mem_alloc(4 * (size_t)what->runs, sizeof *m->reading);
  m->hits = mem_alloc(what->queries, what->k * sizeof *m->hits);
  m->n_found = mem_alloc(what->queries, sizeof *m->n_found);
  if (!m->reading || !m->hits || !m->n_found) return STATUS_MEMORY;
  m->one = m->reading + what->runs;
  m->bound = m->one + what->runs;
  m->many = m->bound + what->runs;
  return STATUS_OK;
}

static void series_close(series *m) { free(m->reading), free(m->hits), free(m->n_found); }

/* The share of f32's rows that a type finds too. */
static double recall(const bench *b, const series *f32, const series *m) {
  size_t found = 0, all = 0;
  for (size_t q = 0; q < b->what.queries; q++) {
    const search_hit *want = f32->hits + q * b->what.k, *got = m->hits + q * b->what.k;
    for (size_t i = 0; i < f32->n_found[q]; i++, all++)
      for (size_t j = 0; j < m->n_found[q]; j++)
        if (want[i].row == got[j].row) {
          found++;
          break;
        }
  }
  return all ? (double)found / (double)all : 1;
}

/* Whether every instruction set that this machine has gives the same bits with one thread and with all of them for the
 * first queries, which are few and so not filtered. */
static status all_equal(const bench *b, const series *all, bool *equal) {
  static const char *const names[] = {"generic", "avx2", "avx512"};
  enum { FEW = 4 };
  const int usual = omp_get_max_threads();
  const size_t n = b->what.queries < FEW ? b->what.queries : FEW, k = b->what.k;
  size_t n_found[FEW];
  search_hit *hits = mem_alloc(n, k * sizeof *hits);
  status s = hits ? STATUS_OK : STATUS_MEMORY;
  *equal = true;
  for (size_t v = 0; v < sizeof names / sizeof *names * VECTOR_TYPES * 2 && !s; v++) {
    const cpu_kernels *kernels = cpu_variant(names[v / VECTOR_TYPES / 2]);
    const int type = (int)(v / 2 % VECTOR_TYPES);
    if (!kernels) continue;
    omp_set_num_threads(v % 2 ? usual : 1);
    s = search_exact_by(kernels, SEARCH_USUAL, (vector_type)type, b->what.width, &b->table[type].part, 1, b->queries, n,
                        k, hits, n_found);
    for (size_t q = 0; !s && q < n; q++) {
      *equal = *equal && n_found[q] == all[type].n_found[q];
      for (size_t j = 0; *equal && j < n_found[q]; j++) {
        const search_hit *x = &hits[q * k + j], *y = &all[type].hits[q * k + j];
        *equal = x->row == y->row && memcmp(&x->score, &y->score, sizeof x->score) == 0;
      }
    }
  }
  omp_set_num_threads(usual);
  free(hits);
  return s;
}

/* --- FAISS -------------------------------------------------------------------------------------------------------- */

static status give_row(void *from, size_t place, float *vector, uint64_t *id) {
  const bench *b = from;
  memcpy(vector, (const float *)b->table[VECTOR_F32].rows + place * b->what.width, b->what.width * sizeof *vector);
  *id = place;
  return interrupted ? fail(STATUS_INTERRUPTED, "stopped") : STATUS_OK;
}

static const char *factory_of(const bench *b) { return b->what.faiss ? b->what.faiss : "Flat"; }

static status open_faiss(bench *b) {
  const double start = clock_seconds();
  const approximate_plan plan = {
      .factory = factory_of(b), .width = b->what.width, .n = b->what.rows, .vector = give_row, .from = b};
  b->faiss = approximate_build(&plan);
  if (!b->faiss && !b->what.faiss && last_status() == STATUS_UNSUPPORTED) {
    b->no_faiss = mem_string(last_error());
    return b->no_faiss ? STATUS_OK : STATUS_MEMORY;
  }
  b->build_seconds = clock_seconds() - start;
  return !b->faiss ? last_status() : b->what.effort ? approximate_effort(b->faiss, b->what.effort) : STATUS_OK;
}

static status measure_faiss(const bench *b, series *m, int round) {
  if (!b->faiss) return STATUS_OK;
  const double start = clock_seconds();
  status s = approximate_search(b->faiss, b->queries, 1, b->what.k, m->hits, m->n_found);
  const double one = clock_seconds() - start;
  if (!s) s = approximate_search(b->faiss, b->queries, b->what.queries, b->what.k, m->hits, m->n_found);
  if (s || round < 0) return s;
  m->one[round] = 1e3 * one;
  m->many[round] = (double)b->what.queries / (clock_seconds() - start - one);
  return STATUS_OK;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static json_t *type_json(const bench *b, int type, series *all) {
  series *m = &all[type];
  const int runs = b->what.runs;
  const size_t row = vector_bytes((vector_type)type, b->what.width);
  return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "gigabytes", 1e-9 * (double)(row * b->what.rows), "read_gb_s",
                   median(m->reading, runs), "one_query_ms", median(m->one, runs), "times_reading",
                   median(m->bound, runs), "queries_per_second", median(m->many, runs), "recall",
                   recall(b, &all[VECTOR_F32], m));
}

static json_t *report(const bench *b, series *all, series *faiss, bool equal) {
  json_t *types = json_object();
  for (int type = 0; type < VECTOR_TYPES; type++)
    json_object_set_new(types, vector_type_name((vector_type)type), type_json(b, type, all));
  json_t *other;
  if (b->faiss) {
    const double rate = median(faiss->many, b->what.runs);
    other = json_pack("{s:o,s:o,s:o,s:f,s:f,s:f,s:f,s:f}", "engine",
                      json_text(approximate_numbers_of(b->faiss)->engine), "index", json_text(factory_of(b)), "effort",
                      json_text(b->what.effort ? b->what.effort : ""), "build_seconds", b->build_seconds,
                      "one_query_ms", median(faiss->one, b->what.runs), "queries_per_second", rate, "ratio",
                      median(all[VECTOR_F32].many, b->what.runs) / rate, "recall", recall(b, &all[VECTOR_F32], faiss));
  } else {
    other = json_pack("{s:o}", "missing", json_text(b->no_faiss));
  }
  return json_pack("{s:I,s:I,s:I,s:I,s:i,s:s,s:s,s:b,s:o,s:o}", "rows", (json_int_t)b->what.rows, "width",
                   (json_int_t)b->what.width, "queries", (json_int_t)b->what.queries, "k", (json_int_t)b->what.k,
                   "threads", omp_get_max_threads(), "kernels", cpu()->name, "vectors", made_up, "variants_equal",
                   equal, "types", types, "faiss", other);
}

static status measure_all(bench *b, series *all, series *faiss, bool *equal) {
  status s = make_vectors(b);
  if (!s) s = open_faiss(b);
  for (int type = 0; !s && type < VECTOR_TYPES; type++) s = series_open(&all[type], &b->what);
  if (!s) s = series_open(faiss, &b->what);
  for (int round = -1; !s && round < b->what.runs; round++) {
    for (int type = 0; !s && type < VECTOR_TYPES; type++) s = measure_type(b, type, &all[type], round);
    if (!s) s = measure_faiss(b, faiss, round);
    if (!s && interrupted) s = fail(STATUS_INTERRUPTED, "stopped");
  }
  return s ? s : all_equal(b, all, equal);
}

static json_t *measure(const bench_options *o) {
  bench b = {.what = {.rows = (size_t)o->rows,
                      .width = (size_t)o->width,
                      .queries = (size_t)o->queries,
                      .k = (size_t)o->k,
                      .runs = runs_or(o, 20),
                      .faiss = o->faiss,
                      .effort = o->effort}};
  series all[VECTOR_TYPES] = {0}, faiss = {0};
  bool equal = false;
  watch_interrupts();
  json_t *found = measure_all(&b, all, &faiss, &equal) ? NULL : report(&b, all, &faiss, equal);
  for (int type = 0; type < VECTOR_TYPES; type++) {
    series_close(&all[type]);
    free(b.table[type].rows), free(b.table[type].factor);
  }
  series_close(&faiss);
  approximate_close(b.faiss);
  free(b.centres), free(b.queries), free((void *)b.no_faiss);
  return found;
}

static void print(const bench_options *o, const json_t *found) {
  const json_t *types = json_object_get(found, "types"), *faiss = json_object_get(found, "faiss");
  (void)o;
  printf("exact search, %.0f vectors of width %.0f (%s), %.0f threads, %s\n", number_in(found, "rows"),
         number_in(found, "width"), made_up, number_in(found, "threads"), text_in(found, "kernels"));
  printf("  %-6s%12s%12s%14s%16s%10s\n", "type", "read GB/s", "one query", "x reading", "queries/s", "recall");
  for (int type = 0; type < VECTOR_TYPES; type++) {
    const json_t *t = json_object_get(types, vector_type_name((vector_type)type));
    printf("  %-6s%12.2f%9.2f ms%14.2f%16.1f%10.4f\n", vector_type_name((vector_type)type), number_in(t, "read_gb_s"),
           number_in(t, "one_query_ms"), number_in(t, "times_reading"), number_in(t, "queries_per_second"),
           number_in(t, "recall"));
  }
  printf("  queries/s with %.0f at once, the best %.0f of each; recall of the rows that f32 finds\n",
         number_in(found, "queries"), number_in(found, "k"));
  printf("  the same bits from all instruction sets and thread counts: %s\n",
         json_is_true(json_object_get(found, "variants_equal")) ? "yes" : "no");
  if (json_object_get(faiss, "missing")) {
    fputs("  FAISS was not measured: ", stdout);
    text_line(text_in(faiss, "missing"));
  } else {
    printf("  %s ", text_in(faiss, "engine"));
    text_put(stdout, json_string_value(json_object_get(faiss, "index")),
             json_string_length(json_object_get(faiss, "index")));
    printf(", built in %.1f s: one query %.2f ms, %.1f queries/s, recall %.4f; f32 here is %.2f times as fast\n",
           number_in(faiss, "build_seconds"), number_in(faiss, "one_query_ms"), number_in(faiss, "queries_per_second"),
           number_in(faiss, "recall"), number_in(faiss, "ratio"));
  }
}

const bench_part bench_search = {"search", false, false, measure, print};
