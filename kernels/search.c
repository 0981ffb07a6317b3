/* How rows are stored, and a search as a whole: its queries are checked and taken as many at once as memory allows
 * (search_queries.c), and each lot goes through the table once (search_run.c). */
#include "kernels/search.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/half.h"
#include "kernels/search_run.h"

/* --- rows --------------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  size_t bytes;
} types[VECTOR_TYPES] = {{"f32", 4}, {"f16", 2}, {"i8", 1}};

const char *vector_type_name(vector_type type) { return types[type].name; }
size_t vector_bytes(vector_type type, size_t width) { return types[type].bytes * width; }

bool vector_type_named(const char *name, vector_type *type) {
  for (int i = 0; i < VECTOR_TYPES; i++) {
    if (strcmp(name, types[i].name) != 0) continue;
    *type = (vector_type)i;
    return true;
  }
  return false;
}

/* The largest magnitude, in *largest. */
static status measure_row(const float *row, size_t width, float *largest) {
  *largest = 0;
  for (size_t i = 0; i < width; i++) {
    if (!isfinite(row[i])) return fail(STATUS_ARGUMENT, "a vector's number %zu is not finite", i + 1);
    *largest = fmaxf(*largest, fabsf(row[i]));
  }
  return STATUS_OK;
}

/* Numbers that are so small that their 127th part is nothing become 0. */
static void encode_i8(const float *row, size_t width, float largest, int8_t *to, float *factor) {
  *factor = largest / 127;
  for (size_t i = 0; i < width; i++) {
    const float steps = *factor > 0 ? nearbyintf(row[i] / *factor) : 0;
    to[i] = (int8_t)(steps > 127 ? 127 : steps < -127 ? -127 : steps);
  }
}

status vector_encode(vector_type type, const float *row, size_t width, void *stored, float *factor) {
  const float first_infinite = 65520; /* of f16: halfway between the largest number and what would come next */
  float largest;
  const status s = measure_row(row, width, &largest);
  if (s) return s;
  *factor = 1;
  if (type == VECTOR_F32) {
    memcpy(stored, row, width * sizeof *row);
  } else if (type == VECTOR_F16) {
    if (largest >= first_infinite)
      return fail(STATUS_ARGUMENT, "a vector's number of size %g is beyond f16, which ends at 65504", (double)largest);
    f32_to_f16_array(row, width, stored);
  } else {
    encode_i8(row, width, largest, stored, factor);
  }
  return STATUS_OK;
}

void vector_decode(vector_type type, const void *stored, float factor, size_t width, float *row) {
  if (type == VECTOR_F32) {
    memcpy(row, stored, width * sizeof *row);
  } else if (type == VECTOR_F16) {
    f16_to_f32_array(stored, width, row);
  } else {
    for (size_t i = 0; i < width; i++) row[i] = factor * ((const int8_t *)stored)[i];
  }
}

/* --- searching ---------------------------------------------------------------------------------------------------- */

static status check_queries(size_t width, const float *queries, size_t n) {
  if (!width || width > VECTOR_WIDTH_MAX)
    return fail(STATUS_ARGUMENT, "a search in vectors of width %zu: expected 1 to %d", width, VECTOR_WIDTH_MAX);
  for (size_t q = 0; q < n; q++)
    for (size_t i = 0; i < width; i++)
      if (!isfinite(queries[q * width + i]))
        return fail(STATUS_ARGUMENT, "number %zu of query %zu is not finite", i + 1, q + 1);
  return STATUS_OK;
}

/* Below this many multiplications waking other threads costs more than it saves. */
static int threads_for(size_t rows, size_t width, size_t n_queries) {
  const double work = (double)rows * (double)width * (double)n_queries, least = 1 << 17;
  const int most = omp_get_max_threads();
  return work < 2 * least ? 1 : work / least < most ? (int)(work / least) : most;
}

/* As many queries at once as their lists and themselves take little memory for. */
static size_t queries_at_once(const search_job *job, size_t n) {
  const double most = 1 << 28;
  const double each =
      (double)queries_bytes(job->width) + (double)job->k * (double)job->threads * (double)sizeof(search_hit);
  const double fit = most / each;
  return fit >= (double)n ? n : fit < 1 ? 1 : (size_t)fit;
}

/* From so many queries on comparing in 8 bits is faster than scoring, unless many rows are wanted. */
static bool worth_filtering(const search_job *job, size_t n_queries) {
  enum { LEAST_QUERIES = 16, LEAST_ROWS_A_HIT = 16 };
  return n_queries >= LEAST_QUERIES && job->rows / LEAST_ROWS_A_HIT >= job->k;
}

status search_exact_by(const cpu_kernels *kernels, search_way way, vector_type type, size_t width,
                       const search_part *part, size_t n_parts, const float *queries, size_t n_queries, size_t k,
                       search_hit *hits, size_t *n_found) {
  status s = check_queries(width, queries, n_queries);
  if (s) return s;
  search_job job = {.kernels = kernels, .type = type, .width = width, .part = part, .n_parts = n_parts};
  for (size_t p = 0; p < n_parts; p++) job.rows += part[p].n;
  job.k = k < job.rows ? k : job.rows;
  for (size_t q = 0; q < n_queries; q++) n_found[q] = 0;
  if (!job.k || !n_queries) return STATUS_OK;
  job.threads = threads_for(job.rows, width, n_queries);
  job.filtered = way == SEARCH_USUAL ? worth_filtering(&job, n_queries) : way == SEARCH_FILTERED;
  const size_t most = queries_at_once(&job, n_queries);
  for (size_t q = 0, n; !s && q < n_queries; q += n) {
    prepared_queries p;
    n = n_queries - q < most ? n_queries - q : most;
    s = queries_prepare(&p, type, width, queries + q * width, n, job.filtered);
    if (s) return s;
    s = search_run(&job, &p, hits + q * k, k, n_found + q);
    queries_free(&p);
  }
  return s;
}

status search_exact(vector_type type, size_t width, const search_part *part, size_t n_parts, const float *queries,
                    size_t n_queries, size_t k, search_hit *hits, size_t *n_found) {
  return search_exact_by(cpu(), SEARCH_USUAL, type, width, part, n_parts, queries, n_queries, k, hits, n_found);
}
