#include "train/schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static double between(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

double schedule_cosine(int64_t step, int64_t warmup, int64_t steps, double peak, double final) {
  if (step < warmup) return peak * (double)(step + 1) / (double)warmup;
  double span = (double)(steps > warmup ? steps - warmup : 1);
  double progress = (double)(step - warmup) / span;
  if (progress > 1) progress = 1;
  return final + (peak - final) * 0.5 * (1 + cos(pi * progress));
}

/* From a to b along half a cosine. */
static double bent(double a, double b, double p) { return b + 0.5 * (a - b) * (1 + cos(pi * p)); }

one_cycle schedule_one_cycle(int64_t step, int64_t steps, double peak) {
  const double first = peak / 25, last = first / 1e4, turn = 0.1 * (double)steps - 1, at = (double)step;
  if (at <= turn) {
    const double p = turn > 0 ? at / turn : 1;
    return (one_cycle){bent(first, peak, p), bent(0.95, 0.85, p)};
  }
  const double end = (double)(steps - 1), p = end > turn ? between((at - turn) / (end - turn)) : 1;
  return (one_cycle){bent(peak, last, p), bent(0.85, 0.95, p)};
}

/* How far the run is: (at - from) / (to - from) within 0..1. */
static double progress_of(double at, double from, double to) {
  return to > from ? between((at - from) / (to - from)) : 1;
}

static double falling(const rwkv_schedule *s, int64_t step) {
  double p = progress_of((double)(step + 1), (double)s->warmup, (double)s->steps);
  if (s->first > 0 && s->last > 0) return s->first * pow(s->last / s->first, p);
  return s->first + (s->last - s->first) * p;
}

static double cosine(const rwkv_schedule *s, int64_t step) {
  double tokens = (double)s->step_tokens;
  double p = progress_of((double)step * tokens, (double)s->warmup * tokens, fabs((double)s->exit_tokens));
  return 0.5 * (s->first + s->last) + 0.5 * (s->first - s->last) * cos(pi * p);
}

double schedule_rwkv(const rwkv_schedule *s, int64_t step, int64_t launched) {
  double rate = s->exit_tokens > 0    ? cosine(s, step)
                : s->exit_tokens == 0 ? falling(s, step)
                                      : 0.5 * (falling(s, step) + cosine(s, step));
  int64_t run = step - launched;
  if (run >= s->warmup) return rate;
  return rate * (s->warmup_from + (1 - s->warmup_from) * (double)run / (double)s->warmup);
}
