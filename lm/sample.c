#include "lm/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double log_sum_exp(const float *logits, int n) {
  float top = logits[0];
  for (int i = 1; i < n; i++)
    if (logits[i] > top) top = logits[i];
  double sum = 0;
  for (int i = 0; i < n; i++) sum += exp((double)logits[i] - top);
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

/* The probability below which top-p and top-k cut; ties at the cut stay. */
static float cut_of(const float *p, int n, const sample_options *o, float *sorted) {
  memcpy(sorted, p, (size_t)n * sizeof *p);
  qsort(sorted, (size_t)n, sizeof *sorted, descending);
  float cut = 0;
  double sum = 0;
  for (int i = 0; i < n && o->top_p < 1; i++) {
    sum += sorted[i];
    if (sum < o->top_p) continue;
    cut = sorted[i];
    break;
  }
  if (o->top_k > 0 && o->top_k < n && sorted[o->top_k - 1] > cut) cut = sorted[o->top_k - 1];
  return cut;
}

int32_t sample_token(const float *logits, int n, const sample_options *o, rng *random, float *scratch,
                     double *log_probability) {
  double total = log_sum_exp(logits, n);
  int chosen = largest(logits, n);
  if (o->temperature > 0) {
    float *p = scratch;
    for (int i = 0; i < n; i++) p[i] = (float)exp(logits[i] - total);
    float cut = cut_of(p, n, o, scratch + n);
    double sum = 0, top = p[chosen]; /* powers of the ratio to it do not vanish at low temperatures */
    for (int i = 0; i < n; i++) {
      p[i] = p[i] < cut ? 0 : (float)pow(p[i] / top, 1 / (double)o->temperature);
      sum += p[i];
    }
    double at = rng_uniform(random) * sum;
    for (int i = 0; i < n && sum > 0; i++) {
      if (p[i] <= 0) continue;
      chosen = i;
      if ((at -= p[i]) < 0) break;
    }
  }
  if (log_probability) *log_probability = logits[chosen] - total;
  return chosen;
}
