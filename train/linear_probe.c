#include "train/linear_probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas.h"
#include "kernels/cpu/cpu.h"
#include "train/clip_eval.h"
#include "train/lbfgs.h"

const probe_options probe_published = {0.316, 1000, 1e-4};

enum { ROWS = 1024 }; /* examples at a time */

/* The mean loss of the data with C's penalty, both divided by C n, so that the tolerance is of one size. */
typedef struct {
  const probe_data *data;
  double penalty;                         /* 1 / (C n) */
  float *weights, *gradient;              /* [classes,D], then [classes] */
  float *logits, *slopes, *loss, *weight; /* of ROWS examples */
} problem;

static size_t parameters(size_t D, size_t classes) { return classes * (D + 1); }

/* logits[rows,classes] = x w^T + bias */
static void logits_of(const float *weights, size_t D, size_t classes, const float *x, size_t rows, float *logits) {
  sgemm(false, true, rows, classes, D, 1, x, D, weights, D, 0, logits, classes);
  cpu()->add_rows(rows, classes, logits, weights + classes * D, logits);
}

static double objective(void *user, const double *x, double *g) {
  problem *p = user;
  const probe_data *d = p->data;
  const size_t D = d->D, K = d->classes, n = parameters(D, K);
  double loss = 0, square = 0;
  for (size_t i = 0; i < n; i++) p->weights[i] = (float)x[i];
  memset(p->gradient, 0, n * sizeof *p->gradient);
  for (size_t first = 0; first < d->n; first += ROWS) {
    const size_t rows = d->n - first < ROWS ? d->n - first : ROWS;
    const float *features = d->features + first * D;
    logits_of(p->weights, D, K, features, rows, p->logits);
    cpu()->cross_entropy(rows, K, p->logits, d->targets + first, p->weight, p->loss, p->slopes);
    for (size_t i = 0; i < rows; i++) loss += (double)p->loss[i];
    sgemm(true, false, K, D, rows, 1, p->slopes, K, features, D, 1, p->gradient, D);
    cpu()->sum_rows(rows, K, p->slopes, p->gradient + K * D);
  }
  for (size_t i = 0; i < n; i++) {
    const double pull = i < K * D ? p->penalty * x[i] : 0;
    g[i] = (double)p->gradient[i] + pull;
    square += pull * x[i];
  }
  return loss / (double)d->n + square / 2;
}

static status check(const probe_data *d) {
  if (!d->n || !d->D || d->classes < 2)
    return fail(STATUS_ARGUMENT, "a probe of %zu examples with %zu features of %zu classes", d->n, d->D, d->classes);
  for (size_t i = 0; i < d->n; i++)
    if (d->targets[i] < 0 || (size_t)d->targets[i] >= d->classes)
      return fail(STATUS_ARGUMENT, "an example is of class %d of %zu", (int)d->targets[i], d->classes);
  return STATUS_OK;
}

static void problem_free(problem *p) {
  free(p->weights), free(p->gradient), free(p->logits), free(p->slopes), free(p->loss), free(p->weight);
}

static status problem_new(problem *p, const probe_data *d, double C) {
  const size_t n = parameters(d->D, d->classes);
  *p = (problem){.data = d, .penalty = 1 / (C * (double)d->n)};
  p->weights = mem_alloc(n, sizeof *p->weights);
  p->gradient = mem_alloc(n, sizeof *p->gradient);
  p->logits = mem_alloc(ROWS * d->classes, sizeof *p->logits);
  p->slopes = mem_alloc(ROWS * d->classes, sizeof *p->slopes);
  p->loss = mem_alloc(ROWS, sizeof *p->loss);
  p->weight = mem_alloc(ROWS, sizeof *p->weight);
  if (!p->weights || !p->gradient || !p->logits || !p->slopes || !p->loss || !p->weight) return STATUS_MEMORY;
  for (size_t i = 0; i < ROWS; i++) p->weight[i] = 1 / (float)d->n;
  return STATUS_OK;
}

/* From the weights that p has. */
static status fit(linear_probe *p, const probe_data *train, const probe_options *o) {
  problem q;
  if (!(o->C > 0)) return fail(STATUS_ARGUMENT, "a probe with C %g, expected a positive number", o->C);
  status s = blas_open();
  if (s) return s;
  lbfgs_report report = {0};
  const lbfgs_options search = {.memory = 10, .max_iterations = o->max_iterations, .tolerance = o->tolerance};
  s = problem_new(&q, train, o->C);
  if (!s) s = lbfgs(objective, &q, parameters(train->D, train->classes), p->weights, &search, &report);
  problem_free(&q);
  p->iterations = report.iterations;
  p->converged = report.converged;
  return s;
}

status linear_probe_fit(linear_probe *p, const probe_data *train, const probe_options *options) {
  *p = (linear_probe){.D = train->D, .classes = train->classes};
  const status s = check(train);
  if (s) return s;
  p->weights = mem_zero(parameters(train->D, train->classes), sizeof *p->weights);
  return p->weights ? fit(p, train, options) : STATUS_MEMORY;
}

void linear_probe_free(linear_probe *p) {
  free(p->weights);
  p->weights = NULL;
}

status linear_probe_logits(const linear_probe *p, const float *features, size_t n, float *logits) {
  status s = blas_open();
  if (s) return s;
  const size_t count = parameters(p->D, p->classes);
  float *weights = mem_alloc(count, sizeof *weights);
  if (!weights) return STATUS_MEMORY;
  for (size_t i = 0; i < count; i++) weights[i] = (float)p->weights[i];
  logits_of(weights, p->D, p->classes, features, n, logits);
  free(weights);
  return STATUS_OK;
}

/* --- sweep -------------------------------------------------------------------------------------------------------- */

enum { PER_DECADE = 8, DECADES = 12, PLACES = PER_DECADE * DECADES + 1, COARSE = 2 * PER_DECADE };

typedef struct {
  const probe_data *train, *valid;
  const probe_options *options;
  float *logits;
  double accuracy[PLACES]; /* by place on the scale of C; negative: not tried */
} sweep;

static double C_at(int place) { return pow(10, (double)place / PER_DECADE - DECADES / 2); }

static status try_place(sweep *w, int place) {
  if (place < 0 || place >= PLACES || w->accuracy[place] >= 0) return STATUS_OK;
  probe_options o = *w->options;
  o.C = C_at(place);
  linear_probe p;
  class_scores scores;
  status s = linear_probe_fit(&p, w->train, &o);
  if (!s) s = linear_probe_logits(&p, w->valid->features, w->valid->n, w->logits);
  if (!s) s = class_scores_of(w->logits, w->valid->n, w->valid->classes, w->valid->targets, &scores);
  if (!s) w->accuracy[place] = scores.top1;
  linear_probe_free(&p);
  return s;
}

static int best_place(const sweep *w) {
  int best = 0;
  for (int i = 1; i < PLACES; i++)
    if (w->accuracy[i] > w->accuracy[best]) best = i;
  return best;
}

status linear_probe_sweep(const probe_data *train, const probe_data *valid, const probe_options *options, double *C,
                          double *accuracy) {
  sweep w = {train, valid, options, NULL, {0}};
  status s = check(valid);
  if (s) return s;
  if (valid->D != train->D || valid->classes != train->classes)
    return fail(STATUS_ARGUMENT, "a probe is tried on %zu features of %zu classes, but fitted to %zu of %zu", valid->D,
                valid->classes, train->D, train->classes);
  if (!(w.logits = mem_alloc(valid->n, valid->classes * sizeof *w.logits))) return STATUS_MEMORY;
  for (int i = 0; i < PLACES; i++) w.accuracy[i] = -1;
  for (int i = 0; !s && i < PLACES; i += COARSE) s = try_place(&w, i);
  for (int step = COARSE / 2; !s && step; step /= 2) {
    const int best = best_place(&w);
    s = try_place(&w, best - step);
    if (!s) s = try_place(&w, best + step);
  }
  free(w.logits);
  if (s) return s;
  *C = C_at(best_place(&w));
  *accuracy = w.accuracy[best_place(&w)];
  return STATUS_OK;
}
