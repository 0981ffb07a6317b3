#include "data/mqar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

mqar_task mqar_task_of(int length, int pairs) {
  return (mqar_task){.vocabulary = 8192, .length = length, .pairs = pairs, .power = 0.01};
}

status mqar_check(const mqar_task *k) {
  enum { LONGEST = 1 << 16, MOST_TOKENS = 1 << 20 };
  if (k->pairs < 1 || k->length < 4 || k->length > LONGEST || k->length % 2 || k->pairs > k->length / 4)
    return fail(STATUS_ARGUMENT, "%d pairs in %d tokens: the length must be even, at most %d and at least 4 a pair",
                k->pairs, k->length, (int)LONGEST);
  if (k->vocabulary <= k->length || k->vocabulary > MOST_TOKENS)
    return fail(STATUS_ARGUMENT, "a vocabulary of %d: expected more than the %d tokens of an example, at most %d",
                k->vocabulary, k->length, (int)MOST_TOKENS);
  return k->power >= -8 && k->power <= 8 ? STATUS_OK : fail(STATUS_ARGUMENT, "the power of the places must be -8 to 8");
}

status mqar_new(mqar *m, const mqar_task *task, uint64_t seed) {
  *m = (mqar){.task = *task, .seed = seed};
  status s = mqar_check(task);
  if (s) return s;
  m->slots = task->length / 2 - task->pairs;
  const int32_t values = task->vocabulary - task->vocabulary / 2; /* at least as many as keys */
  m->weight = mem_alloc((size_t)m->slots, sizeof *m->weight);
  m->left = mem_alloc((size_t)m->slots, sizeof *m->left);
  m->pool = mem_alloc((size_t)values, sizeof *m->pool);
  if (!m->weight || !m->left || !m->pool) return STATUS_MEMORY;
  for (int t = 0; t < m->slots; t++) m->weight[t] = pow(t + 1, task->power - 1);
  for (int32_t i = 0; i < values; i++) m->pool[i] = i;
  return STATUS_OK;
}

void mqar_free(mqar *m) {
  free(m->weight), free(m->left), free(m->pool);
  *m = (mqar){0};
}

/* `pairs` different numbers first..first+n-1 at every other place of ids: a shuffle's beginning, taken back in the end
 * so that an example does not depend on those made before it. `swapped` is room for as many numbers. */
static void draw_tokens(mqar *m, rng *g, int32_t first, int32_t n, int32_t *ids, int32_t *swapped) {
  int32_t *pool = m->pool;
  for (int i = 0; i < m->task.pairs; i++) {
    const int32_t j = swapped[i] = i + (int32_t)rng_below(g, (uint32_t)(n - i)), token = pool[j];
    pool[j] = pool[i];
    pool[i] = token;
    ids[2 * i] = first + token;
  }
  for (int i = m->task.pairs - 1; i >= 0; i--) {
    const int32_t j = swapped[i], token = pool[j];
    pool[j] = pool[i];
    pool[i] = token;
  }
}

/* A slot that is left, with probability proportional to its weight; it is left no more. */
static int draw_slot(mqar *m, rng *g) {
  double total = 0;
  for (int t = 0; t < m->slots; t++) total += m->left[t];
  double u = (double)(rng_u64(g) >> 11) * 0x1p-53 * total;
  int slot = -1;
  for (int t = 0; t < m->slots; t++) {
    if (m->left[t] <= 0) continue;
    slot = t; /* the last one if rounding lets u outlive them all */
    if ((u -= m->left[t]) < 0) break;
  }
  m->left[slot] = 0;
  return slot;
}

void mqar_make(mqar *m, uint64_t number, int32_t *ids, int32_t *at, int32_t *value) {
  const mqar_task *k = &m->task;
  const int half = k->vocabulary / 2, context = 2 * k->pairs;
  rng g = rng_make(m->seed, number);
  draw_tokens(m, &g, 1, half - 1, ids, at);
  draw_tokens(m, &g, half, k->vocabulary - half, ids + 1, at);
  for (int t = context; t < k->length; t++)
    ids[t] = k->random_filler ? (int32_t)rng_below(&g, (uint32_t)k->vocabulary) : 0;
  memcpy(m->left, m->weight, (size_t)m->slots * sizeof *m->left);
  for (int i = 0; i < k->pairs; i++) {
    at[i] = context + 2 * draw_slot(m, &g);
    value[i] = ids[2 * i + 1];
    ids[at[i]] = ids[2 * i];
  }
}
