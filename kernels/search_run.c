/* A pass over a table. Each thread goes through its share of the rows in blocks that stay in its second cache and keeps
 * its own list of the best for every query; the lists are merged at the end.
 *
 * A block is either scored (the table is read once, and few queries cost no more than that) or compared in 8 bits, and
 * what remains is scored row by row. Where much remains, as before the first k rows were found and in tables made for
 * it, the next blocks are scored: the comparison costs little beside that. */
#include "kernels/search_run.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

enum { GROUP = 16, BLOCK_BYTES = 1 << 17, MOST_ROWS = 1020, LEAST_ROWS = 12 };

typedef struct {
  const search_job *job;
  const prepared_queries *queries;
  search_scores *score;
  size_t block;     /* the most rows in one */
  search_hit *hits; /* [n,k] heaps, the worst at the root */
  size_t *count;    /* [n] */
  float *limits;
  filter_queries filter;
  filter_rows rows;
  int8_t *values;
  float *row, *scores;
  uint64_t *alive;
  size_t scored_blocks; /* how many of the next are scored without a comparison */
} worker;

/* Rows that lie together in one part. */
typedef struct {
  const void *rows;
  const float *factor;
  const uint8_t *skip;
  size_t skip_at, n;
  uint64_t first;
} block;

static bool skipped(const block *b, size_t i) {
  const size_t at = b->skip_at + i;
  return b->skip && (b->skip[at / 8] >> at % 8 & 1);
}

/* --- the best of a query ------------------------------------------------------------------------------------------ */

static bool worse(const search_hit *a, const search_hit *b) {
  return a->score < b->score || (a->score == b->score && a->row > b->row);
}

static void sift_up(search_hit *heap, size_t at) {
  const search_hit moving = heap[at];
  for (; at && worse(&moving, &heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = moving;
}

static void sift_down(search_hit *heap, size_t n, size_t at) {
  const search_hit moving = heap[at];
  for (size_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && worse(&heap[child + 1], &heap[child])) child++;
    if (!worse(&heap[child], &moving)) break;
    heap[at] = heap[child];
  }
  heap[at] = moving;
}

static bool is_full(const worker *w, size_t q) { return w->count[q] == w->job->k; }

/* Rows come in rising order: of equal scores the first stays. A score that is not a number is none. */
static void offer(worker *w, size_t q, uint64_t row, float score) {
  const size_t k = w->job->k;
  search_hit *heap = w->hits + q * k;
  if (is_full(w, q)) {
    if (!(score > heap->score)) return;
    *heap = (search_hit){row, score};
    sift_down(heap, k, 0);
  } else {
    if (isnan(score)) return;
    heap[w->count[q]] = (search_hit){row, score};
    sift_up(heap, w->count[q]++);
  }
  if (w->limits && is_full(w, q)) w->limits[q] = queries_limit(w->queries, q, heap->score);
}

static void offer_scores(worker *w, size_t q, const block *b, const float *scores) {
  enum { STEP = 16 };
  const search_hit *worst = w->hits + q * w->job->k;
  for (size_t at = 0; at < b->n; at += STEP) {
    const size_t n = b->n - at < STEP ? b->n - at : STEP;
    if (is_full(w, q) && n == STEP) {
      int better = 0;
      for (size_t i = 0; i < STEP; i++) better |= scores[at + i] > worst->score;
      if (!better) continue;
    }
    for (size_t i = at; i < at + n; i++)
      if (!skipped(b, i)) offer(w, q, b->first + i, scores[i]);
  }
}

/* --- one block ---------------------------------------------------------------------------------------------------- */

static void score_block(worker *w, const block *b) {
  const search_queries *exact = &w->queries->exact;
  for (size_t q = 0; q < w->queries->n; q += GROUP) {
    const size_t m = w->queries->n - q < GROUP ? w->queries->n - q : GROUP;
    w->score(exact, q, m, b->rows, b->factor, b->n, w->scores);
    for (size_t j = 0; j < m; j++) offer_scores(w, q + j, b, w->scores + j * b->n);
  }
}

/* The block in 8 bits. */
static void shrink_block(worker *w, const block *b) {
  const size_t width = w->job->width;
  const cpu_kernels *kernels = w->job->kernels;
  if (w->job->type != VECTOR_I8) {
    kernels->search_shrink(w->job->type == VECTOR_F16, b->n, b->rows, w->row, w->values, &w->rows);
    return;
  }
  for (size_t i = 0; i < b->n; i++) w->rows.factor[i] = b->factor[i];
  w->rows.values = w->values ? w->values : b->rows;
  for (size_t i = 0; w->values && i < b->n; i++)
    for (size_t c = 0; c < width; c++) w->values[i * w->rows.stride + c] = ((const int8_t *)b->rows)[i * width + c];
  kernels->search_measure(b->n, &w->rows);
}

static void filter_block(worker *w, const block *b) {
  const prepared_queries *queries = w->queries;
  const size_t row_bytes = vector_bytes(w->job->type, w->job->width);
  size_t scored = 0;
  shrink_block(w, b);
  for (size_t strip = 0; strip < queries->strips; strip += FILTER_PANEL) {
    const size_t left = queries->strips - strip, first = strip * FILTER_STRIP, n = queries->n - first;
    const uint64_t real = n < 64 ? ((uint64_t)1 << n) - 1 : ~(uint64_t)0;
    w->job->kernels->search_filter(&w->rows, b->n, &w->filter, strip, left < FILTER_PANEL ? left : FILTER_PANEL,
                                   w->alive);
    for (size_t i = 0; i < b->n; i++) {
      for (uint64_t bits = w->alive[i] & real; bits && !skipped(b, i); bits &= bits - 1, scored++) {
        const size_t q = first + (size_t)__builtin_ctzll(bits);
        float score;
        w->score(&queries->exact, q, 1, (const char *)b->rows + i * row_bytes, b->factor ? b->factor + i : NULL, 1,
                 &score);
        offer(w, q, b->first + i, score);
      }
    }
  }
  if (scored > b->n * queries->n / 8) w->scored_blocks = 8;
}

static void search_block(worker *w, const block *b) {
  if (w->job->filtered && !w->scored_blocks) {
    filter_block(w, b);
  } else {
    score_block(w, b);
    if (w->scored_blocks) w->scored_blocks--;
  }
}

/* --- a thread's share --------------------------------------------------------------------------------------------- */

/* The rows from..to - 1, counted through all parts. */
static void search_rows(worker *w, size_t from, size_t to) {
  const size_t row_bytes = vector_bytes(w->job->type, w->job->width);
  size_t base = 0;
  for (size_t p = 0; p < w->job->n_parts && base < to; base += w->job->part[p++].n) {
    const search_part *part = &w->job->part[p];
    if (base + part->n <= from) continue;
    const size_t end = to - base < part->n ? to - base : part->n;
    for (size_t at = from > base ? from - base : 0, n; at < end; at += n) {
      n = end - at < w->block ? end - at : w->block;
      const block b = {.rows = (const char *)part->rows + at * row_bytes,
                       .factor = part->factor ? part->factor + at : NULL,
                       .skip = part->skip,
                       .skip_at = at,
                       .n = n,
                       .first = part->first + at};
      search_block(w, &b);
    }
  }
}

static int best_first(const void *a, const void *b) { return worse(a, b) ? 1 : worse(b, a) ? -1 : 0; }

static void worker_close(worker *w) {
  free(w->hits), free(w->count), free(w->limits), free(w->values), free(w->row), free(w->scores), free(w->alive);
  free(w->rows.factor), free(w->rows.norm), free(w->rows.error), free(w->rows.sum);
}

static status open_filter(worker *w) {
  const size_t width = w->job->width, lanes = w->queries->strips * FILTER_STRIP;
  w->rows.width = width;
  w->rows.stride = (width + 3) / 4 * 4;
  const bool copied = w->job->type != VECTOR_I8 || w->rows.stride != width; /* else the table's own rows serve */
  w->limits = mem_alloc(lanes, sizeof *w->limits);
  w->values = copied ? mem_zero(w->block * w->rows.stride, 1) : NULL;
  w->row = mem_alloc(width, sizeof *w->row);
  w->alive = mem_alloc(w->block, sizeof *w->alive);
  w->rows.factor = mem_alloc(w->block, sizeof *w->rows.factor);
  w->rows.norm = mem_alloc(w->block, sizeof *w->rows.norm);
  w->rows.error = mem_alloc(w->block, sizeof *w->rows.error);
  w->rows.sum = mem_alloc(w->block, sizeof *w->rows.sum);
  if (!w->limits || (copied && !w->values) || !w->row || !w->alive || !w->rows.factor || !w->rows.norm ||
      !w->rows.error || !w->rows.sum)
    return STATUS_MEMORY;
  for (size_t i = 0; i < lanes; i++) w->limits[i] = i < w->queries->n ? -INFINITY : INFINITY;
  w->rows.values = w->values;
  w->filter = w->queries->filter;
  w->filter.limit = w->limits;
  w->scored_blocks = 1;
  return STATUS_OK;
}

static status worker_open(worker *w, const search_job *job, const prepared_queries *queries) {
  const cpu_kernels *k = job->kernels;
  const size_t rows = BLOCK_BYTES / job->width / LEAST_ROWS * LEAST_ROWS;
  w->job = job;
  w->queries = queries;
  w->score = job->type == VECTOR_F32 ? k->search_f32 : job->type == VECTOR_F16 ? k->search_f16 : k->search_i8;
  w->block = rows > MOST_ROWS ? MOST_ROWS : rows < LEAST_ROWS ? LEAST_ROWS : rows;
  w->hits = mem_alloc(queries->n * job->k, sizeof *w->hits);
  w->count = mem_zero(queries->n, sizeof *w->count);
  w->scores = mem_alloc(GROUP * w->block, sizeof *w->scores);
  if (!w->hits || !w->count || !w->scores) return STATUS_MEMORY;
  return job->filtered ? open_filter(w) : STATUS_OK;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* The best of query q from the sorted lists of all threads; `at`: [threads]. */
static size_t merge(const worker *w, int threads, size_t q, size_t k, size_t *at, search_hit *hits) {
  size_t n = 0;
  for (int t = 0; t < threads; t++) at[t] = 0;
  for (; n < k; n++) {
    int best = -1;
    for (int t = 0; t < threads; t++) {
      if (at[t] == w[t].count[q]) continue;
      if (best < 0 || worse(&w[best].hits[q * k + at[best]], &w[t].hits[q * k + at[t]])) best = t;
    }
    if (best < 0) break;
    hits[n] = w[best].hits[q * k + at[best]++];
  }
  return n;
}

status search_run(const search_job *job, const prepared_queries *queries, search_hit *hits, size_t stride,
                  size_t *n_found) {
  const int threads = job->threads;
  worker *workers = mem_zero((size_t)threads, sizeof *workers);
  size_t *at = mem_alloc((size_t)threads, sizeof *at);
  status s = workers && at ? STATUS_OK : STATUS_MEMORY;
  for (int t = 0; !s && t < threads; t++) s = worker_open(&workers[t], job, queries);
  if (!s) {
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int t = 0; t < threads; t++) {
      worker *w = &workers[t];
      const size_t share = job->rows / (size_t)threads, more = job->rows % (size_t)threads, i = (size_t)t;
      search_rows(w, i * share + (i < more ? i : more), (i + 1) * share + (i + 1 < more ? i + 1 : more));
      for (size_t q = 0; q < queries->n; q++) qsort(w->hits + q * job->k, w->count[q], sizeof *w->hits, best_first);
    }
    for (size_t q = 0; q < queries->n; q++) n_found[q] = merge(workers, threads, q, job->k, at, hits + q * stride);
  }
  for (int t = 0; workers && t < threads; t++) worker_close(&workers[t]);
  free(workers);
  free(at);
  return s;
}
