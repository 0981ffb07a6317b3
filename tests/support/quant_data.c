#include "tests/support/quant_data.h"

#include <math.h>

#include "kernels/base.h"

/* Student's t with three degrees of freedom: tails like those of trained weights with outliers, and more. */
static float heavy(rng *g) {
  const float top = rng_normal(g);
  float chi = 0.0f;
  for (int i = 0; i < 3; i++) {
    const float z = rng_normal(g);
    chi += z * z;
  }
  return top / sqrtf(chi / 3.0f);
}

typedef float draw(rng *g, size_t i);

static float normal(rng *g, size_t i) { return (void)i, rng_normal(g); }
static float student(rng *g, size_t i) { return (void)i, heavy(g); }
static float uniform(rng *g, size_t i) { return (void)i, rng_range(g, -1.0f, 1.0f); }
/* One number for each 256. */
static float constant(rng *g, size_t i) {
  (void)g;
  rng own = rng_make(2, i / 256);
  return rng_normal(&own);
}
/* One number of either sign for each 32: groups of one block whose minima differ in sign. */
static float steps(rng *g, size_t i) {
  (void)g;
  rng own = rng_make(3, i / 32);
  return rng_normal(&own);
}
static float mostly_zero(rng *g, size_t i) { return (void)i, rng_below(g, 16) == 0 ? rng_normal(g) : 0.0f; }
/* One of each 32 is 30 times as large. */
static float outlier(rng *g, size_t i) { return rng_normal(g) * (i % 32 == i / 32 % 32 ? 30.0f : 1.0f); }
static float positive(rng *g, size_t i) { return (void)i, 1.0f + rng_uniform(g); }
static float half_zero(rng *g, size_t i) { return (void)i, fmaxf(rng_range(g, -1.0f, 1.0f), 0.0f); }
static float tiny(rng *g, size_t i) { return (void)i, 1e-7f * rng_normal(g); }
static float huge(rng *g, size_t i) { return (void)i, 1e4f * rng_normal(g); }

static const struct {
  const char *name;
  draw *draw;
} sets[QUANT_DATA_SETS] = {
    {"normal", normal},     {"heavy-tailed", student},    {"uniform", uniform},     {"constant", constant},
    {"steps", steps},       {"mostly zero", mostly_zero}, {"half zero", half_zero}, {"one outlier", outlier},
    {"positive", positive}, {"tiny, 1e-7", tiny},         {"huge, 1e4", huge},
};

const char *quant_data_name(int set) { return sets[set].name; }

void quant_data_fill(int set, float x[QUANT_DATA_VALUES]) {
  rng g = rng_make(1, (uint64_t)set);
  for (size_t i = 0; i < QUANT_DATA_VALUES; i++) x[i] = sets[set].draw(&g, i);
}

quant_error quant_error_of(size_t n, const float *x, const float *decoded) {
  double squares = 0.0, errors = 0.0, worst = 0.0;
  for (size_t i = 0; i < n; i++) {
    const double off = fabs((double)x[i] - (double)decoded[i]);
    squares += (double)x[i] * (double)x[i];
    errors += off * off;
    if (off > worst) worst = off;
  }
  return (quant_error){sqrt(errors / squares), worst / sqrt(squares / (double)n)};
}
