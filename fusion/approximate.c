#include "fusion/approximate.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/faiss_file.h"
#include "fusion/plugins/faiss.h"
#include "kernels/atomic_file.h"
#include "kernels/blas.h"
#include "kernels/file.h"

struct approximate {
  const faiss_table *faiss;
  void *index;
  faiss_file_facts facts;
  approximate_numbers numbers;
};

/* What is held at once of vectors: while adding, and of the sample at most. */
#define BLOCK_BYTES ((size_t)64 << 20)
#define SAMPLE_BYTES ((size_t)4 << 30)
enum { FACTORY_MAX = 128, FACTORY_NUMBER_MAX = 1 << 24, CODE_BITS_MAX = 16, EFFORT_MAX = 1 << 20 };

/* The module needs OpenBLAS, and must find the one that is open, with its core type. */
static approximate *open_empty(void) {
  if (blas_open()) return NULL;
  const plugin_head *head = plugin_open("faiss", FAISS_PLUGIN_VERSION, "libfaiss-dev");
  if (!head) return NULL;
  approximate *a = mem_zero(1, sizeof *a);
  if (a) a->faiss = (const faiss_table *)head;
  return a;
}

void approximate_close(approximate *a) {
  if (!a) return;
  if (a->index) a->faiss->close(a->index);
  free(a);
}

const approximate_numbers *approximate_numbers_of(const approximate *a) { return &a->numbers; }

static void set_numbers(approximate *a) {
  a->numbers = (approximate_numbers){.width = a->facts.width,
                                     .count = a->faiss->count(a->index),
                                     .by_distance = a->facts.by_distance,
                                     .kind = a->facts.kind,
                                     .engine = a->faiss->head.engine};
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static status to_file(void *to, const void *data, size_t bytes) { return atomic_file_write(to, data, bytes); }

status approximate_write(const approximate *a, const char *path) {
  atomic_file *f = atomic_file_create(path);
  if (!f) return last_status();
  if (!a->faiss->write(a->index, to_file, f)) return atomic_file_commit(f);
  atomic_file_abandon(f);
  return fail_within("%s", path);
}

approximate *approximate_read(const char *path) {
  const void *data;
  size_t size;
  if (file_map(path, &data, &size)) return NULL;
  faiss_file_facts facts;
  approximate *a = NULL;
  if (faiss_file_check(data, size, &facts))
    fail_within("%s", path);
  else if (!facts.trained)
    fail(STATUS_FORMAT, "%s: the index is not trained", path);
  else if ((a = open_empty())) {
    a->facts = facts;
    a->index = a->faiss->read(data, size);
    if (a->index) {
      set_numbers(a);
    } else {
      fail_within("%s", path);
      approximate_close(a);
      a = NULL;
    }
  }
  file_unmap(data, size);
  return a;
}

/* --- building ----------------------------------------------------------------------------------------------------- */

typedef struct {
  uint8_t *bytes;
  size_t n, room;
} memory;

static status to_memory(void *to, const void *data, size_t bytes) {
  memory *m = to;
  size_t need;
  if (!size_add(m->n, bytes, &need)) return fail(STATUS_MEMORY, "the index is too large");
  if (need > m->room) {
    uint8_t *grown = mem_grow(m->bytes, 2 * need, 1);
    if (!grown) return STATUS_MEMORY;
    m->bytes = grown;
    m->room = 2 * need;
  }
  memcpy(m->bytes + m->n, data, bytes);
  m->n = need;
  return STATUS_OK;
}

/* What cannot be read again should not be built: the empty index is written and looked at. */
static status check_kind(approximate *a) {
  memory m = {0};
  status s = a->faiss->write(a->index, to_memory, &m);
  if (!s) s = faiss_file_check(m.bytes, m.n, &a->facts);
  free(m.bytes);
  return s;
}

/* FAISS divides by the numbers of a factory string and allocates by them. */
static status check_factory(const char *factory) {
  const size_t length = strlen(factory);
  if (!length || length > FACTORY_MAX)
    return fail(STATUS_ARGUMENT, "what FAISS is to build needs 1 to %d characters, as \"IVF1024,Flat\"", FACTORY_MAX);
  for (const char *p = factory; *p;) {
    if (!isdigit((unsigned char)*p)) {
      p++;
      continue;
    }
    char *end;
    const bool bits = p > factory && p[-1] == 'x';
    const unsigned long number = strtoul(p, &end, 10), most = bits ? CODE_BITS_MAX : FACTORY_NUMBER_MAX;
    if (number < 1 || number > most)
      return fail(STATUS_ARGUMENT, "\"%s\": the number %.*s is not within 1 and %lu", factory, (int)(end - p), p, most);
    p = end;
  }
  return STATUS_OK;
}

/* One vector from the caller, as the index needs it. */
static status fetch(const approximate_plan *plan, size_t place, float *vector, int64_t *id) {
  uint64_t given = 0;
  const status s = plan->vector(plan->from, place, vector, &given);
  if (s) return s;
  if (given > INT64_MAX) return fail(STATUS_ARGUMENT, "the id %llu is too large for FAISS", (unsigned long long)given);
  for (size_t i = 0; i < plan->width; i++)
    if (!isfinite(vector[i])) return fail(STATUS_ARGUMENT, "vector %zu is not finite", place);
  *id = (int64_t)given;
  return STATUS_OK;
}

/* Trains on `wanted` of the vectors, each set of so many as likely as any other (Knuth, The Art of Computer
 * Programming, volume 2, algorithm 3.4.2 S). */
static status train(approximate *a, const approximate_plan *plan, size_t wanted) {
  float *sample = mem_alloc(wanted, plan->width * sizeof(float));
  if (!sample) return STATUS_MEMORY;
  rng g = rng_make(plan->seed, 0);
  size_t n = 0;
  status s = STATUS_OK;
  for (size_t place = 0; place < plan->n && n < wanted && !s; place++) {
    if (rng_u64(&g) % (plan->n - place) >= wanted - n) continue;
    int64_t id;
    s = fetch(plan, place, sample + n++ * plan->width, &id);
  }
  if (!s) s = a->faiss->train(a->index, sample, n);
  free(sample);
  return s;
}

static status train_if_needed(approximate *a, const approximate_plan *plan) {
  size_t wanted = a->faiss->sample(a->index);
  if (!wanted) return STATUS_OK;
  if (plan->sample) wanted = plan->sample;
  if (wanted > plan->n) wanted = plan->n;
  const size_t most = SAMPLE_BYTES / (plan->width * sizeof(float));
  if (wanted > most) wanted = most;
  if (!wanted) return fail(STATUS_ARGUMENT, "%s needs vectors to be trained on, and there are none", plan->factory);
  return train(a, plan, wanted);
}

static status add_all(approximate *a, const approximate_plan *plan) {
  size_t block = BLOCK_BYTES / (plan->width * sizeof(float));
  if (block > plan->n) block = plan->n;
  float *vectors = mem_alloc(block, plan->width * sizeof(float));
  int64_t *ids = mem_alloc(block, sizeof *ids);
  status s = vectors && ids ? STATUS_OK : STATUS_MEMORY;
  for (size_t place = 0; place < plan->n && !s;) {
    size_t n = 0;
    while (n < block && place < plan->n && !s) {
      s = fetch(plan, place++, vectors + n * plan->width, ids + n);
      n++;
    }
    if (!s) s = a->faiss->add(a->index, vectors, ids, n);
  }
  free(vectors);
  free(ids);
  return s;
}

approximate *approximate_build(const approximate_plan *plan) {
  if (!plan->width || plan->width > VECTOR_WIDTH_MAX)
    return fail_null(STATUS_ARGUMENT, "a vector has 1 to %d numbers, and not %zu", VECTOR_WIDTH_MAX, plan->width);
  if (check_factory(plan->factory)) return NULL;
  approximate *a = open_empty();
  if (!a) return NULL;
  a->index = a->faiss->make(plan->factory, plan->width);
  if (!a->index || check_kind(a) || train_if_needed(a, plan) || add_all(a, plan)) {
    if (last_status() != STATUS_INTERRUPTED) fail_within("FAISS index \"%s\"", plan->factory);
    approximate_close(a);
    return NULL;
  }
  set_numbers(a);
  return a;
}

/* --- searching ---------------------------------------------------------------------------------------------------- */

status approximate_effort(approximate *a, const char *settings) {
  for (const char *p = settings; *p;) {
    char name[32];
    int used = 0;
    double value = 0;
    if (sscanf(p, "%31[A-Za-z_]=%lf%n", name, &value, &used) != 2 || !used || (p[used] && p[used] != ',') ||
        !(value >= 1 && value <= EFFORT_MAX))
      return fail(STATUS_ARGUMENT, "\"%s\" is not a list of settings from 1 to %d, as \"nprobe=16,efSearch=64\"",
                  settings, EFFORT_MAX);
    const status s = a->faiss->set(a->index, name, value);
    if (s) return s;
    p += used;
    p += *p == ',';
  }
  return STATUS_OK;
}

/* Of equal scores the lower id first, as everywhere; FAISS leaves that open. They come nearly in order. */
static void sort_hits(search_hit *hits, size_t n) {
  for (size_t i = 1; i < n; i++) {
    const search_hit one = hits[i];
    size_t at = i;
    for (; at && (hits[at - 1].score < one.score || (hits[at - 1].score == one.score && hits[at - 1].row > one.row));
         at--)
      hits[at] = hits[at - 1];
    hits[at] = one;
  }
}

static size_t collect(const float *scores, const int64_t *ids, size_t n, search_hit *hits) {
  size_t found = 0;
  for (size_t i = 0; i < n; i++)
    if (ids[i] >= 0) hits[found++] = (search_hit){.row = (uint64_t)ids[i], .score = scores[i]};
  sort_hits(hits, found);
  return found;
}

status approximate_search(const approximate *a, const float *queries, size_t n_queries, size_t k, search_hit *hits,
                          size_t *n_found) {
  const size_t width = a->numbers.width, most = k < a->numbers.count ? k : a->numbers.count;
  for (size_t i = 0; i < n_queries * width; i++)
    if (!isfinite(queries[i])) return fail(STATUS_ARGUMENT, "query %zu is not finite", i / width);
  memset(n_found, 0, n_queries * sizeof *n_found);
  size_t n;
  if (!most || !n_queries) return STATUS_OK;
  if (!size_mul(n_queries, most, &n)) return fail(STATUS_MEMORY, "too many results were asked for");
  float *scores = mem_alloc(n, sizeof *scores);
  int64_t *ids = mem_alloc(n, sizeof *ids);
  status s = scores && ids ? STATUS_OK : STATUS_MEMORY;
  if (!s) s = a->faiss->search(a->index, queries, n_queries, most, scores, ids);
  for (size_t q = 0; q < n_queries && !s; q++)
    n_found[q] = collect(scores + q * most, ids + q * most, most, hits + q * k);
  free(scores);
  free(ids);
  return s;
}

status approximate_vectors(approximate *a, size_t first, size_t n, float *vectors, uint64_t *ids) {
  assert(first <= a->numbers.count && n <= a->numbers.count - first);
  int64_t *given = mem_alloc(n, sizeof *given);
  if (!given) return STATUS_MEMORY;
  const status s = a->faiss->vectors(a->index, first, n, vectors, given);
  for (size_t i = 0; i < n && !s; i++) ids[i] = (uint64_t)given[i];
  free(given);
  return s;
}
