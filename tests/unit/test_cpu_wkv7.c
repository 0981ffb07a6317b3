/* The RWKV-7 kernels of every instruction set against a float64 loop that follows the definition (spec operators 2.4,
 * language-models 4.5), and that loop's gradients against finite differences. */
#include "tests/support/kernel_check.h"
#include "tests/support/reference64.h"

#include "kernels/base.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- cases -------------------------------------------------------------------------------------------------------- */

enum { R, W, K, V, A, B, S0, OPERANDS };
static const char *const names[OPERANDS] = {"r", "w", "k", "v", "a", "b", "s0"};

typedef enum { NO_STATE, OWN_STATE, SHARED_STATE } start_kind;

typedef struct {
  size_t B, T, H, N;
  wkv7_decay decay;
  bool order, lengths, strong; /* strong: decays down to 0 */
  start_kind start;
} shape;

typedef struct {
  wkv7_args a;
  float *x[OPERANDS], *gy, *gsT;
  int32_t *order, *lengths;
} problem;

static size_t tokens(const wkv7_args *a) { return a->B * a->T * a->H * a->N; }
static size_t states(const wkv7_args *a) { return a->B * a->H * a->N * a->N; }
static size_t size_of(const wkv7_args *a, int i) {
  return i < S0 ? tokens(a) : a->s0_stride ? states(a) : a->H * a->N * a->N;
}

/* a and b as a model has them: minus a unit vector of each head, and the vector times a rate. Anything else would let
 * states grow without bound. */
static void draw_removal(const problem *p, uint64_t seed) {
  const size_t N = p->a.N;
  rng g = rng_make(seed, 8);
  for (size_t i = 0; i < tokens(&p->a) / N; i++) {
    float *a = p->x[A] + i * N, *b = p->x[B] + i * N, size = 0.0f;
    for (size_t n = 0; n < N; n++) size += a[n] * a[n];
    for (size_t n = 0; n < N; n++) a[n] /= sqrtf(size) + 1e-6f, b[n] = -a[n] * rng_range(&g, 0, 1);
  }
}

static problem problem_new(shape s, uint64_t seed) {
  problem p = {.a = {.B = s.B, .T = s.T, .H = s.H, .N = s.N, .decay = s.decay}};
  wkv7_args *a = &p.a;
  a->s0_stride = s.start == SHARED_STATE ? 0 : s.H * s.N * s.N;
  for (int i = 0; i < S0; i++) p.x[i] = guarded_random(tokens(a), seed + (uint64_t)i, -1, 1);
  guarded_free(p.x[W]);
  p.x[W] = guarded_random(tokens(a), seed + 20, -6, s.strong ? 6 : s.decay == DECAY_EXP ? -0.5f : 4);
  if (s.strong && tokens(a) > 2) p.x[W][0] = 95.0f, p.x[W][1] = INFINITY; /* exp(w) infinite: d is 0, harmless */
  draw_removal(&p, seed);
  p.gy = guarded_random(tokens(a), seed + 21, -1, 1);
  p.x[S0] = s.start ? guarded_random(size_of(a, S0), seed + 22, -1, 1) : NULL;
  p.gsT = s.start ? guarded_random(states(a), seed + 23, -1, 1) : NULL;
  rng g = rng_make(seed, 9);
  if (s.order) {
    p.order = mem_alloc(s.T, sizeof *p.order);
    for (size_t t = 0; t < s.T; t++) p.order[t] = (int32_t)t;
    rng_shuffle(&g, (uint32_t *)p.order, s.T);
  }
  if (s.lengths) {
    p.lengths = mem_alloc(s.B, sizeof *p.lengths);
    for (size_t b = 0; b < s.B; b++) p.lengths[b] = (int32_t)rng_below(&g, (uint32_t)s.T + 1);
  }
  a->r = p.x[R], a->w = p.x[W], a->k = p.x[K], a->v = p.x[V], a->a = p.x[A], a->b = p.x[B], a->s0 = p.x[S0];
  a->order = p.order, a->lengths = p.lengths;
  return p;
}

static void problem_free(problem *p) {
  for (int i = 0; i < OPERANDS; i++) guarded_free(p->x[i]);
  guarded_free(p->gy);
  guarded_free(p->gsT);
  free(p->order);
  free(p->lengths);
}

/* --- the definition ----------------------------------------------------------------------------------------------- */

typedef struct {
  double *y, *sT, *g[OPERANDS];
} truth;

static void define_forward(const problem *p, truth *z) {
  const wkv7_args *a = &p->a;
  const wkv64 o = {.B = a->B,
                   .T = a->T,
                   .H = a->H,
                   .N = a->N,
                   .s0_per_row = a->s0_stride > 0,
                   .order = a->order,
                   .lengths = a->lengths};
  double *x[OPERANDS] = {NULL};
  for (int i = 0; i < OPERANDS; i++) {
    if (!p->x[i]) continue;
    x[i] = zeros64(size_of(a, i));
    for (size_t e = 0; e < size_of(a, i); e++) x[i][e] = (double)p->x[i][e];
  }
  wkv7_64(&o, a->decay, x[R], x[W], x[K], x[V], x[A], x[B], x[S0], z->y, z->sT);
  for (int i = 0; i < OPERANDS; i++) free(x[i]);
}

static double decay_slope(wkv7_decay kind, double w) { /* d decay / d w */
  const double sigmoid = 1 / (1 + exp(-w)), d = decay7_64(kind, w);
  if (d == 0.0) return 0.0;
  return -d * (kind == DECAY_SIGMOID ? exp(-0.5) * sigmoid * (1 - sigmoid) : exp(w));
}

static size_t place(const wkv7_args *a, size_t b, size_t h, size_t t) {
  return ((b * a->T + (a->order ? (size_t)a->order[t] : t)) * a->H + h) * a->N;
}

/* One head: S[t] is the state before step t, z[t] what is read of it; then back, D the cotangent after the step. */
static void define_head(const problem *p, size_t b, size_t h, truth *out) {
  const wkv7_args *a = &p->a;
  const size_t N = a->N, M = N * N, steps = a->lengths ? (size_t)a->lengths[b] : a->T, state = (b * a->H + h) * M;
  double *S = zeros64((steps + 1) * M), *z = zeros64(steps * N), *D = zeros64(M), *gz = zeros64(N), **g = out->g;
  for (size_t i = 0; a->s0 && i < M; i++) S[i] = (double)a->s0[b * a->s0_stride + h * M + i];
  for (size_t t = 0; t < steps; t++) {
    const size_t at = place(a, b, h, t);
    for (size_t i = 0; i < M; i++) z[t * N + i % N] += (double)p->x[A][at + i / N] * S[t * M + i];
    for (size_t i = 0; i < M; i++) {
      const size_t key = at + i / N;
      S[(t + 1) * M + i] = decay7_64(a->decay, (double)p->x[W][key]) * S[t * M + i] +
                           (double)p->x[B][key] * z[t * N + i % N] + (double)p->x[K][key] * (double)p->x[V][at + i % N];
    }
  }
  for (size_t i = 0; p->gsT && i < M; i++) D[i] = (double)p->gsT[state + i];
  for (size_t t = steps; t-- > 0;) {
    const size_t at = place(a, b, h, t);
    const double *before = S + t * M, *after = before + M;
    memset(gz, 0, N * sizeof *gz);
    for (size_t i = 0; i < M; i++) {
      const size_t key = at + i / N, value = at + i % N;
      D[i] += (double)p->x[R][key] * (double)p->gy[value];
      g[R][key] += after[i] * (double)p->gy[value];
      g[K][key] += D[i] * (double)p->x[V][value];
      g[V][value] += D[i] * (double)p->x[K][key];
      g[B][key] += D[i] * z[t * N + i % N];
      g[W][key] += D[i] * before[i] * decay_slope(a->decay, (double)p->x[W][key]);
      gz[i % N] += D[i] * (double)p->x[B][key];
    }
    for (size_t i = 0; i < M; i++) {
      const size_t key = at + i / N;
      g[A][key] += before[i] * gz[i % N];
      D[i] = decay7_64(a->decay, (double)p->x[W][key]) * D[i] + (double)p->x[A][key] * gz[i % N];
    }
  }
  for (size_t i = 0; i < M; i++) g[S0][(a->s0_stride ? state : h * M) + i] += D[i];
  free(S), free(z), free(D), free(gz);
}

static truth truth_of(const problem *p) {
  truth z = {.y = zeros64(tokens(&p->a)), .sT = zeros64(states(&p->a))};
  for (int i = 0; i < OPERANDS; i++) z.g[i] = zeros64(size_of(&p->a, i));
  define_forward(p, &z);
  for (size_t b = 0; b < p->a.B; b++) {
    for (size_t h = 0; h < p->a.H; h++) define_head(p, b, h, &z);
  }
  return z;
}

static void truth_free(truth *z) {
  free(z->y), free(z->sT);
  for (int i = 0; i < OPERANDS; i++) free(z->g[i]);
}

/* --- kernels against the definition ------------------------------------------------------------------------------- */

/* L2, relative to the values or, where they cancel, to terms of size 0.1. */
static const double y_tolerance = 3e-6, g_tolerance = 1e-5;

static void check_forward(const cpu_kernels *k, const problem *p, const truth *z) {
  const wkv7_args *a = &p->a;
  float *y = guarded(tokens(a)), *sT = guarded(states(a)), *alone = guarded(tokens(a));
  assert_true(k->wkv7_forward(a, y, sT));
  check_l2("y", y, z->y, tokens(a), y_tolerance, 0.1);
  check_l2("sT", sT, z->sT, states(a), y_tolerance, 0.1);
  assert_true(k->wkv7_forward(a, alone, NULL));
  assert_memory_equal(alone, y, tokens(a) * sizeof *y);
  if (p->x[S0] && (a->s0_stride || a->B == 1)) { /* in place */
    float *state = guarded_copy(p->x[S0], states(a));
    wkv7_args in_place = *a;
    in_place.s0 = state;
    assert_true(k->wkv7_forward(&in_place, alone, state));
    assert_memory_equal(state, sT, states(a) * sizeof *sT);
    assert_memory_equal(alone, y, tokens(a) * sizeof *y);
    guarded_free(state);
  }
  guarded_free(y);
  guarded_free(sT);
  guarded_free(alone);
}

static bool run_backward(const cpu_kernels *k, const problem *p, float *const g[]) {
  const wkv7_grads to = {.r = g[R], .w = g[W], .k = g[K], .v = g[V], .a = g[A], .b = g[B], .s0 = g[S0]};
  return k->wkv7_backward(&p->a, p->gy, p->gsT, &to);
}

static void check_backward(const cpu_kernels *k, const problem *p, truth *z) {
  const wkv7_args *a = &p->a;
  const float before = 0.25f;
  float *g[OPERANDS];
  for (int i = 0; i < OPERANDS; i++) g[i] = p->x[i] ? guarded_fill(size_of(a, i), before) : NULL;
  assert_true(run_backward(k, p, g));
  for (int i = 0; i < OPERANDS; i++) {
    if (!g[i]) continue;
    char what[32];
    snprintf(what, sizeof what, "gradient of %s", names[i]);
    for (size_t e = 0; e < size_of(a, i); e++) z->g[i][e] += (double)before;
    check_l2(what, g[i], z->g[i], size_of(a, i), g_tolerance, 0.1);
  }
  for (int only = 0; only < OPERANDS; only++) { /* each alone comes out the same */
    if (!g[only]) continue;
    float *one[OPERANDS] = {NULL};
    one[only] = guarded_fill(size_of(a, only), before);
    assert_true(run_backward(k, p, one));
    assert_memory_equal(one[only], g[only], size_of(a, only) * sizeof(float));
    guarded_free(one[only]);
  }
  for (int i = 0; i < OPERANDS; i++) guarded_free(g[i]);
}

static void check_shape(const cpu_kernels *k, shape s, uint64_t seed) {
  problem p = problem_new(s, seed);
  truth z = truth_of(&p);
  check_forward(k, &p, &z);
  check_backward(k, &p, &z);
  truth_free(&z);
  problem_free(&p);
}

/* Every head size and length with options drawn by chance; several draws each. */
static void all_shapes(const cpu_kernels *k) {
  static const size_t sizes[] = {1, 5, 6, 16, 20, 32, 64, 80}, lengths[] = {0, 1, 2, 15, 16, 17, 50};
  rng g = rng_make(77, 0);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
      for (int draw = 0; draw < (sizes[i] * lengths[j] > 1000 ? 2 : 4); draw++) {
        const uint64_t bits = rng_u64(&g);
        const shape s = {.B = bits & 1 ? 3 : 1,
                         .T = lengths[j],
                         .H = bits & 2 ? 2 : 1,
                         .N = sizes[i],
                         .decay = bits >> 2 & 1 ? DECAY_SIGMOID : DECAY_EXP,
                         .order = bits >> 3 & 1,
                         .lengths = bits >> 4 & 1,
                         .strong = bits >> 5 & 1,
                         .start = (start_kind)((bits >> 8) % 3)};
        check_shape(k, s, bits);
      }
    }
  }
}

static void test_against_the_definition(void **state) {
  (void)state;
  for_each_variant(all_shapes);
}

/* Cotangents that are not given are zero. */
static void missing_cotangents(const cpu_kernels *k) {
  problem p = problem_new((shape){.B = 2, .T = 20, .H = 1, .N = 5, .start = OWN_STATE}, 8);
  const size_t n = tokens(&p.a);
  float *zero_y = guarded_fill(n, 0), *zero_s = guarded_fill(states(&p.a), 0);
  for (int missing = 0; missing < 2; missing++) {
    float *got = guarded_fill(n, 0), *want = guarded_fill(n, 0);
    const float *gy = missing ? p.gy : NULL, *gsT = missing ? NULL : p.gsT;
    assert_true(k->wkv7_backward(&p.a, gy, gsT, &(wkv7_grads){.k = got}));
    assert_true(k->wkv7_backward(&p.a, gy ? gy : zero_y, gsT ? gsT : zero_s, &(wkv7_grads){.k = want}));
    assert_memory_equal(got, want, n * sizeof *got);
    guarded_free(got);
    guarded_free(want);
  }
  guarded_free(zero_y);
  guarded_free(zero_s);
  problem_free(&p);
}

static void test_missing_cotangents(void **state) {
  (void)state;
  for_each_variant(missing_cotangents);
}

/* --- the definition against finite differences -------------------------------------------------------------------- */

static double loss_of(const problem *p) {
  truth z = {.y = zeros64(tokens(&p->a)), .sT = zeros64(states(&p->a))};
  define_forward(p, &z);
  double loss = 0.0;
  for (size_t i = 0; i < tokens(&p->a); i++) loss += z.y[i] * (double)p->gy[i];
  for (size_t i = 0; i < states(&p->a); i++) loss += z.sT[i] * (double)p->gsT[i];
  free(z.y), free(z.sT);
  return loss;
}

static void check_slopes(const problem *p, int i, const double *slope) {
  const float step = 0.0009765625f; /* a power of two: x +- step is exact enough in f32 */
  for (size_t e = 0; e < size_of(&p->a, i); e++) {
    float *x = p->x[i] + e;
    const float old = *x;
    *x = old + step;
    const double up = loss_of(p), high = (double)*x;
    *x = old - step;
    const double down = loss_of(p), low = (double)*x;
    *x = old;
    const double want = (up - down) / (high - low);
    if (!(fabs(slope[e] - want) <= 1e-5 * (fabs(want) + 0.1))) {
      fail_msg("%s[%zu]: gradient %.9g, finite difference %.9g", names[i], e, slope[e], want);
    }
  }
}

static void test_definition_against_differences(void **state) {
  (void)state;
  const shape shapes[] = {
      {.B = 2, .T = 5, .H = 2, .N = 3, .start = OWN_STATE},
      {.B = 2, .T = 6, .H = 1, .N = 4, .decay = DECAY_SIGMOID, .order = true, .start = SHARED_STATE},
      {.B = 3, .T = 4, .H = 2, .N = 2, .lengths = true, .start = OWN_STATE},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    problem p = problem_new(shapes[i], 100 + i);
    truth z = truth_of(&p);
    for (int operand = 0; operand < OPERANDS; operand++) check_slopes(&p, operand, z.g[operand]);
    truth_free(&z);
    problem_free(&p);
  }
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

/* Every head is one thread's work and sums over the batch have a fixed order: results are equal to the last bit. */
static void same_with_any_threads(const cpu_kernels *k) {
  const int usual = omp_get_max_threads();
  problem p = problem_new((shape){.B = 5, .T = 40, .H = 3, .N = 32, .start = SHARED_STATE}, 5);
  const size_t n = tokens(&p.a), total = 7 * n + size_of(&p.a, S0);
  float *first = NULL;
  for (int threads = 1; threads <= 3; threads++) {
    omp_set_num_threads(threads);
    float *all = guarded_fill(total, 0.0f), *g[OPERANDS];
    for (int i = 0; i < OPERANDS; i++) g[i] = all + ((size_t)i + 1) * n;
    assert_true(k->wkv7_forward(&p.a, all, NULL));
    assert_true(run_backward(k, &p, g));
    if (first) {
      assert_memory_equal(all, first, total * sizeof *all);
      guarded_free(all);
    } else {
      first = all;
    }
  }
  omp_set_num_threads(usual);
  guarded_free(first);
  problem_free(&p);
}

static void test_threads(void **state) {
  (void)state;
  for_each_variant(same_with_any_threads);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_definition_against_differences),
      cmocka_unit_test(test_against_the_definition),
      cmocka_unit_test(test_missing_cotangents),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
