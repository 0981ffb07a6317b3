#include "train/lbfgs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double dot(size_t n, const double *a, const double *b) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void add_scaled(size_t n, double factor, const double *x, double *to) {
  for (size_t i = 0; i < n; i++) to[i] += factor * x[i];
}

static double largest(size_t n, const double *x) {
  double most = 0;
  for (size_t i = 0; i < n; i++) most = fmax(most, fabs(x[i]));
  return most;
}

typedef struct {
  lbfgs_function f;
  void *user;
  size_t n;
  const double *x, *direction; /* where the search begins, and where to */
  double *at, *g;              /* the point that was looked at last, and the gradient there */
} line;

typedef struct {
  double step, value, slope;
} point;

static point look(const line *l, double step) {
  memcpy(l->at, l->x, l->n * sizeof *l->at);
  add_scaled(l->n, step, l->direction, l->at);
  const double value = l->f(l->user, l->at, l->g);
  return (point){step, value, dot(l->n, l->g, l->direction)};
}

static const double enough = 1e-4, flat = 0.9; /* the Wolfe conditions' constants */

static bool falls_enough(const point *zero, const point *p) {
  return p->value <= zero->value + enough * p->step * zero->slope;
}
static bool is_flat(const point *zero, const point *p) { return fabs(p->slope) <= -flat * zero->slope; }

/* Where the parabola through low, with its slope, and high has its minimum; well inside the two. */
static double between(const point *low, const point *high) {
  const double width = high->step - low->step, bend = high->value - low->value - low->slope * width;
  double share = bend > 0 ? -low->slope * width / (2 * bend) : 0.5;
  if (!(share > 0.1)) share = 0.1;
  if (share > 0.9) share = 0.9;
  return low->step + share * width;
}

/* A point between two that fulfils both conditions; the best one found if rounding hides it. */
static point zoom(const line *l, const point *zero, point low, point high) {
  for (int i = 0; i < 30; i++) {
    const point p = look(l, between(&low, &high));
    if (!falls_enough(zero, &p) || p.value >= low.value) {
      high = p;
      continue;
    }
    if (is_flat(zero, &p)) return p;
    if (p.slope * (high.step - low.step) >= 0) high = low;
    low = p;
  }
  return low.step > 0 ? look(l, low.step) : low;
}

/* A step that lowers the value; step 0 if there is none. */
static point search(const line *l, const point *zero, double first) {
  point before = *zero;
  double step = first;
  for (int i = 0; i < 30; i++, step *= 2) {
    const point p = look(l, step);
    if (!falls_enough(zero, &p) || (i && p.value >= before.value)) return zoom(l, zero, before, p);
    if (is_flat(zero, &p)) return p;
    if (p.slope >= 0) return zoom(l, zero, p, before);
    before = p;
  }
  return before;
}

/* What is remembered: steps s and changes of the gradient y, in a ring. */
typedef struct {
  size_t n;
  int room, count, next;
  double *s, *y, *rho, *alpha;
} memory;

/* direction = - (approximate inverse Hessian) g */
static void choose_direction(memory *m, const double *g, double *direction) {
  const size_t n = m->n;
  for (size_t i = 0; i < n; i++) direction[i] = -g[i];
  for (int i = 1; i <= m->count; i++) {
    const int k = (m->next - i + m->room) % m->room;
    m->alpha[k] = m->rho[k] * dot(n, m->s + (size_t)k * n, direction);
    add_scaled(n, -m->alpha[k], m->y + (size_t)k * n, direction);
  }
  if (m->count) {
    const int last = (m->next - 1 + m->room) % m->room;
    const double *y = m->y + (size_t)last * n, scale = 1 / (m->rho[last] * dot(n, y, y));
    for (size_t i = 0; i < n; i++) direction[i] *= scale;
  }
  for (int i = m->count; i >= 1; i--) {
    const int k = (m->next - i + m->room) % m->room;
    const double beta = m->rho[k] * dot(n, m->y + (size_t)k * n, direction);
    add_scaled(n, m->alpha[k] - beta, m->s + (size_t)k * n, direction);
  }
}

/* Notes the step from x, g to at, g_at. */
static void remember(memory *m, const double *x, const double *g, const double *at, const double *g_at) {
  double *s = m->s + (size_t)m->next * m->n, *y = m->y + (size_t)m->next * m->n;
  for (size_t i = 0; i < m->n; i++) s[i] = at[i] - x[i], y[i] = g_at[i] - g[i];
  const double curvature = dot(m->n, s, y);
  if (!(curvature > 1e-300)) return;
  m->rho[m->next] = 1 / curvature;
  m->next = (m->next + 1) % m->room;
  if (m->count < m->room) m->count++;
}

status lbfgs(lbfgs_function f, void *user, size_t n, double *x, const lbfgs_options *o, lbfgs_report *report) {
  enum { VECTORS = 4 };
  const size_t room = (size_t)o->memory;
  memory m = {.n = n, .room = o->memory};
  size_t floats;
  if (o->memory < 1 || !size_mul(n, 2 * room + VECTORS, &floats))
    return fail(STATUS_ARGUMENT, "L-BFGS with a memory of %d steps", o->memory);
  double *all = mem_alloc(floats, sizeof *all), *numbers = mem_alloc(2 * room, sizeof *numbers);
  status s = all && numbers ? STATUS_OK : STATUS_MEMORY;
  *report = (lbfgs_report){0};
  if (!s) {
    m.s = all, m.y = all + room * n, m.rho = numbers, m.alpha = numbers + room;
    double *g = m.y + room * n, *direction = g + n, *at = direction + n, *g_at = at + n;
    point here = {0, f(user, x, g), 0};
    if (!isfinite(here.value)) s = fail(STATUS_FORMAT, "the function to minimise is not finite where it begins");
    while (!s && !(report->converged = largest(n, g) <= o->tolerance) && report->iterations < o->max_iterations) {
      choose_direction(&m, g, direction);
      here.slope = dot(n, g, direction);
      const line l = {f, user, n, x, direction, at, g_at};
      const point found = search(&l, &here, m.count ? 1 : fmin(1, 1 / sqrt(-here.slope)));
      if (found.step > 0 && found.value < here.value) {
        remember(&m, x, g, at, g_at);
        memcpy(x, at, n * sizeof *x);
        memcpy(g, g_at, n * sizeof *g);
        here = (point){0, found.value, 0};
        report->iterations++;
      } else if (m.count) {
        m.count = 0; /* once more along the gradient itself */
      } else {
        report->converged = true;
        break;
      }
    }
    report->value = here.value;
  }
  free(all), free(numbers);
  return s;
}
