#include "lm/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double log_sum_exp(const float *logits, int n) {
  float top = logits[0];
  for (int i = 1; i < n; i++)
    if (logits[i] > top) top = logits[i];
  double sum = 0;
  for (int i = 0; i < n && top > -INFINITY; i++) sum += exp((double)logits[i] - top);
  return top + log(sum);
}

static int largest(const float *x, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

static int descending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x < y) - (x > y);
}

/* The probability below which top-p, top-k and min-p cut; ties at the cut stay. Tokens below 1/2n of what top-p leaves
 * out are together at most half of that, so that no cut lies among them: only the others are sorted, a few of a large
 * vocabulary. */
static float cut_of(const float *p, int n, float top, const sample_options *o, float *sorted) {
  const bool by_share = o->top_p<1, by_rank = o->top_k> 0 && o->top_k < n;
  float cut = o->min_p * top;
  if (!by_share && !by_rank) return cut;
  const float least = fmaxf(cut, by_share ? 0.5f * (1 - o->top_p) / (float)n : 0);
  int kept = 0;
  for (int i = 0; i < n; i++)
    if (p[i] >= least) sorted[kept++] = p[i];
  qsort(sorted, (size_t)kept, sizeof *sorted, descending);
  double sum = 0;
  for (int i = 0; i < kept && by_share; i++) {
    sum += sorted[i];
    if (sum < o->top_p) continue;
    cut = sorted[i];
    break;
  }
  if (by_rank && o->top_k <= kept && sorted[o->top_k - 1] > cut) cut = sorted[o->top_k - 1];
  return cut;
}

double sample_weights(const float *logits, int n, const sample_options *o, float *p, float *scratch) {
  const bool greedy = !(o->temperature > 0);
  const double total = log_sum_exp(logits, n), power = greedy ? 1 : 1 / (double)o->temperature;
  for (int i = 0; i < n; i++) p[i] = (float)exp(logits[i] - total);
  double sum = 0, top = p[largest(logits, n)]; /* powers of the ratio to it do not vanish at low temperatures */
  float cut = greedy ? (float)top : cut_of(p, n, (float)top, o, scratch);
  for (int i = 0; i < n; i++) {
    p[i] = p[i] < cut ? 0 : (float)pow(p[i] / top, power);
    sum += p[i];
  }
  return sum;
}

int32_t sample_token(const float *logits, int n, const sample_options *o, rng *random, float *scratch,
                     double *log_probability) {
  int chosen = largest(logits, n);
  if (o->temperature > 0) {
    float *p = scratch;
    double sum = sample_weights(logits, n, o, p, scratch + n);
    double at = rng_uniform(random) * sum;
    for (int i = 0; i < n && sum > 0; i++) {
      if (p[i] <= 0) continue;
      chosen = i;
      if ((at -= p[i]) < 0) break;
    }
  }
  if (log_probability) *log_probability = logits[chosen] - log_sum_exp(logits, n);
  return chosen;
}

/* --- repetition --------------------------------------------------------------------------------------------------- */

status spoken_new(spoken *s, int n) {
  *s = (spoken){.n = n, .count = mem_alloc((size_t)n, sizeof *s->count)};
  for (int i = 0; s->count && i < n; i++) s->count[i] = -1;
  return s->count ? STATUS_OK : STATUS_MEMORY;
}

void spoken_free(spoken *s) {
  free(s->count);
  s->count = NULL;
}

void spoken_penalise(const spoken *s, const penalty_options *o, float *logits) {
  for (int i = 0; i < s->n; i++)
    if (s->count[i] >= 0) logits[i] -= o->presence + s->count[i] * o->frequency;
}

void spoken_add(spoken *s, const penalty_options *o, int32_t id, float weight) {
  for (int i = 0; i < s->n; i++)
    if (s->count[i] > 0) s->count[i] *= o->decay;
  s->count[id] = (s->count[id] < 0 ? 0 : s->count[id]) + weight;
}

float spoken_weight(const char *text, size_t n) {
  static const char uncounted[] = " \t0123456789";
  for (size_t at = 0; at + n < sizeof uncounted; at++)
    if (!memcmp(uncounted + at, text, n)) return 0;
  return 1;
}
