#include "train/ratio.h"

#include <math.h>

void ratio_add(ratio_sum *r, double n, double s) {
  r->units++;
  r->n += n;
  r->s += s;
  r->nn += n * n;
  r->ns += n * s;
  r->ss += s * s;
}

estimate ratio_of(const ratio_sum *r) {
  if (!(r->n > 0)) return (estimate){NAN, NAN};
  const double mean = r->s / r->n;
  if (r->units < 2) return (estimate){mean, NAN};
  const double squares = r->ss - 2 * mean * r->ns + mean * mean * r->nn, units = (double)r->units;
  return (estimate){mean, sqrt(fmax(squares, 0) * units / (units - 1)) / r->n};
}

estimate estimate_scaled(estimate e, double factor) { return (estimate){factor * e.value, fabs(factor) * e.error}; }

estimate estimate_exp(estimate e) { return (estimate){exp(e.value), exp(e.value) * e.error}; }
