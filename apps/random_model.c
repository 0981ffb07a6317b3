#include "apps/random_model.h"

#include "kernels/cpu/cpu.h"

typedef struct {
  float low, high;
} bounds;

/* PARAM_CLASSES of them; norms: see random_weights. */
static bounds bounds_of(param_class class) {
  switch (class) {
  case PARAM_MIX:
    return (bounds){0.2f, 0.8f};
  case PARAM_DECAY:
    return (bounds){-6, 0};
  case PARAM_BONUS:
    return (bounds){-1, 1};
  default:
    return (bounds){-0.02f, 0.02f};
  }
}

void random_weights(param_set *set) {
  for (size_t i = 0; i < set->n; i++) {
    const param *p = &set->item[i];
    const size_t n = (size_t)tensor_count(p->value);
    const bounds b = bounds_of(p->spec->class);
    rng random = rng_make(1, i);
    float *values = f32(p->value);
    for (size_t k = 0; k < n; k++)
      values[k] =
          p->spec->class == PARAM_NORM ? (float)text_ends_with(p->name, "weight") : rng_range(&random, b.low, b.high);
  }
}

double weights_of_products(const param_set *set, const tensor *table) {
  double sum = 0;
  for (size_t i = 0; i < set->n; i++) {
    const param *p = &set->item[i];
    const param_class class = p->spec->class;
    const bool multiplies = class == PARAM_MATRIX || class == PARAM_LOW_RANK || class == PARAM_EMBEDDING;
    if (multiplies && p->value != table) sum += (double)tensor_count(p->value);
  }
  return sum;
}
