/* Times each hot CPU kernel at the shapes of training (M rows of C channels) for every instruction set of this machine:
 * bench_kernels [M [C]]. Prints milliseconds and GB/s of arrays read and written once, or GFLOP/s for the
 * recurrences of matrices.
 */
#include "kernels/base.h"
#include "kernels/cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>

enum { MIXES = 5, HEAD = 64, SEQUENCE = 64, VOCABULARY = 1500 };

typedef struct {
  size_t M, C;
  float *a, *b, *c, *d, *e, *f, *little, *wide[4], *small[4]; /* [M,C] each; [K,M,C] or [M,V]; [max(M*C/64, K*C)] */
  int32_t *target, *source;
} arrays;

static float *random_array(size_t n) {
  float *p = mem_alloc(n, sizeof *p);
  rng g = rng_make(1, n);
  for (size_t i = 0; p && i < n; i++) p[i] = rng_range(&g, -1, 1);
  return p;
}

typedef void run(const cpu_kernels *k, const arrays *x);

static void silu(const cpu_kernels *k, const arrays *x) { k->act_forward(ACT_SILU, x->M * x->C, x->a, x->b); }
static void tanh_(const cpu_kernels *k, const arrays *x) { k->act_forward(ACT_TANH, x->M * x->C, x->a, x->b); }
static void gelu(const cpu_kernels *k, const arrays *x) { k->act_forward(ACT_GELU, x->M * x->C, x->a, x->b); }
static void relu2(const cpu_kernels *k, const arrays *x) {
  k->act_backward(ACT_RELU2, x->M * x->C, x->a, x->b, x->c, false);
}
static void gate(const cpu_kernels *k, const arrays *x) { k->gate_forward(ACT_SILU, x->M * x->C, x->a, x->b, x->c); }
static void gate_back(const cpu_kernels *k, const arrays *x) {
  k->gate_backward(ACT_SILU, x->M * x->C, x->a, x->b, x->c, x->d, false, x->e, false);
}
static void axpby(const cpu_kernels *k, const arrays *x) { k->axpby(x->M * x->C, 0.5f, x->a, 0.5f, x->b, x->c); }
static void sum_rows(const cpu_kernels *k, const arrays *x) { k->sum_rows(x->M, x->C, x->a, x->small[0]); }
static void norm(const cpu_kernels *k, const arrays *x) {
  k->norm_forward(x->M, 1, x->C, 1e-5f, x->a, x->small[0], x->small[1], x->b, x->small[2], x->small[3]);
}
static void norm_back(const cpu_kernels *k, const arrays *x) {
  k->norm_backward(x->M, 1, x->C, x->a, x->small[0], x->small[2], x->small[3], x->c, x->d, false, x->small[1],
                   x->small[1]);
}
static void group_norm_back(const cpu_kernels *k, const arrays *x) {
  k->norm_backward(x->M, x->C / HEAD, HEAD, x->a, x->small[0], x->small[2], x->small[3], x->c, x->d, false, x->small[1],
                   x->small[1]);
}
static void shift(const cpu_kernels *k, const arrays *x) {
  const int32_t c0[] = {0, 16, 32, 48}, c1[] = {16, 32, 48, 64};
  k->shift_rows(x->M / SEQUENCE, SEQUENCE, x->C, HEAD, 4, c0, c1, x->source, x->a, NULL, x->b, false);
}
static void mix(const cpu_kernels *k, const arrays *x) {
  k->mix_forward(MIXES, x->M, x->C, x->a, x->b, x->small[0], x->wide[0], x->wide[1]);
}
static void mix_back(const cpu_kernels *k, const arrays *x) {
  k->mix_backward(MIXES, x->M, x->C, x->a, x->b, x->small[0], x->wide[0], x->wide[1], x->c, false, x->d, false,
                  x->small[1], x->wide[2]);
}
static wkv6_args recurrence(const arrays *x) {
  return (wkv6_args){.B = x->M / SEQUENCE,
                     .T = SEQUENCE,
                     .H = x->C / HEAD,
                     .N = HEAD,
                     .r = x->a,
                     .k = x->b,
                     .v = x->c,
                     .w = x->d,
                     .w_stride = x->C,
                     .u = x->small[0]};
}
static void wkv6(const cpu_kernels *k, const arrays *x) {
  const wkv6_args a = recurrence(x);
  if (!k->wkv6_forward(&a, x->e, false, NULL)) abort();
}
static void wkv6_back(const cpu_kernels *k, const arrays *x) {
  const wkv6_args a = recurrence(x);
  if (!k->wkv6_backward(&a, x->f, NULL, false, x->e, x->wide[0], x->wide[1], x->wide[2], x->small[1], NULL)) abort();
}
static wkv4_args average(const arrays *x) {
  return (wkv4_args){
      .B = x->M / SEQUENCE, .T = SEQUENCE, .C = x->C, .k = x->b, .v = x->c, .w = x->small[2], .u = x->small[3]};
}
static void wkv4(const cpu_kernels *k, const arrays *x) {
  const wkv4_args a = average(x);
  k->wkv4_forward(&a, x->e, NULL);
}
static void wkv4_back(const cpu_kernels *k, const arrays *x) {
  const wkv4_args a = average(x);
  if (!k->wkv4_backward(&a, x->f, NULL, x->wide[0], x->wide[1], x->small[0], x->small[1], NULL)) abort();
}
/* a and b are too small to blow the state up: entries of size 1/HEAD. */
static wkv7_args replacement(const arrays *x) {
  return (wkv7_args){.B = x->M / SEQUENCE,
                     .T = SEQUENCE,
                     .H = x->C / HEAD,
                     .N = HEAD,
                     .r = x->a,
                     .w = x->d,
                     .k = x->b,
                     .v = x->c,
                     .a = x->little,
                     .b = x->little};
}
static void wkv7(const cpu_kernels *k, const arrays *x) {
  const wkv7_args a = replacement(x);
  if (!k->wkv7_forward(&a, x->e, NULL)) abort();
}
static void wkv7_back(const cpu_kernels *k, const arrays *x) {
  const wkv7_args a = replacement(x);
  const size_t n = x->M * x->C;
  const wkv7_grads g = {
      .r = x->wide[0], .w = x->wide[0] + n, .k = x->wide[1], .v = x->wide[1] + n, .a = x->wide[2], .b = x->wide[2] + n};
  if (!k->wkv7_backward(&a, x->f, NULL, &g)) abort();
}
static void entropy(const cpu_kernels *k, const arrays *x) {
  k->cross_entropy(x->M, VOCABULARY, x->wide[0], x->target, x->wide[3], x->small[2], x->wide[1]);
}
static void adamw(const cpu_kernels *k, const arrays *x) {
  k->adamw(x->M * x->C, 1e-6f, 0.9f, 0.99f, 1e-8f, 0.1f, 1.0f, 1.0f, 1.0f, x->a, x->b, x->wide[3], x->c);
}
static void squares(const cpu_kernels *k, const arrays *x) {
  volatile double sum = k->sum_squares(x->M * x->C, x->a);
  (void)sum;
}

/* Best of several runs of about 50 ms in all. */
static double seconds_of(run *f, const cpu_kernels *k, const arrays *x) {
  double best = 1e9, end = clock_seconds() + 0.05;
  f(k, x);
  for (int i = 0; i < 3 || clock_seconds() < end; i++) {
    const double start = clock_seconds();
    f(k, x);
    const double took = clock_seconds() - start;
    if (took < best) best = took;
  }
  return best;
}

int main(int argc, char **argv) {
  arrays x = {.M = argc > 1 ? strtoul(argv[1], NULL, 10) : 2048, .C = argc > 2 ? strtoul(argv[2], NULL, 10) : 192};
  if (x.M < SEQUENCE || x.C < HEAD || x.M % SEQUENCE || x.C % HEAD) {
    fprintf(stderr, "bench_kernels: M must be a multiple of %d and C of %d\n", SEQUENCE, HEAD);
    return 2;
  }
  const size_t n = x.M * x.C, wide = n * MIXES > x.M * VOCABULARY ? n * MIXES : x.M * VOCABULARY;
  float **flat[] = {&x.a, &x.b, &x.c, &x.d, &x.e, &x.f, &x.little};
  for (size_t i = 0; i < sizeof flat / sizeof *flat; i++) *flat[i] = random_array(n);
  for (int i = 0; i < 4; i++) x.wide[i] = random_array(wide), x.small[i] = random_array(n);
  for (size_t i = 0; i < n; i++) x.little[i] /= HEAD;
  x.target = mem_zero(x.M, sizeof *x.target);
  x.source = mem_zero(4 * SEQUENCE, sizeof *x.source);
  for (size_t i = 0; i < wide; i++) x.wide[3][i] = 0.5f;
  for (int i = 0; i < 4 * SEQUENCE; i++) x.source[i] = i % SEQUENCE - 1;

  const double floats = (double)n, state = floats * HEAD;
  const struct {
    const char *name;
    run *f;
    double work; /* floats moved, or operations */
    const char *unit;
  } all[] = {{"silu", silu, 2 * floats, "GB/s"},
             {"tanh", tanh_, 2 * floats, "GB/s"},
             {"gelu", gelu, 2 * floats, "GB/s"},
             {"relu2 backward", relu2, 3 * floats, "GB/s"},
             {"gate silu", gate, 3 * floats, "GB/s"},
             {"gate silu backward", gate_back, 5 * floats, "GB/s"},
             {"axpby", axpby, 3 * floats, "GB/s"},
             {"sum_rows", sum_rows, floats, "GB/s"},
             {"layer norm", norm, 2 * floats, "GB/s"},
             {"layer norm backward", norm_back, 3 * floats, "GB/s"},
             {"group norm backward", group_norm_back, 3 * floats, "GB/s"},
             {"shift", shift, 2 * floats, "GB/s"},
             {"mix K=5", mix, (2 + 2 * MIXES) * floats, "GB/s"},
             {"mix K=5 backward", mix_back, (4 + 3 * MIXES) * floats, "GB/s"},
             {"wkv4", wkv4, 3 * floats, "GB/s"},
             {"wkv4 backward", wkv4_back, 7 * floats, "GB/s"},
             {"wkv6 N=64", wkv6, 5 * state, "GFLOP/s"},
             {"wkv6 N=64 backward", wkv6_back, 15 * state, "GFLOP/s"},
             {"wkv7 N=64", wkv7, 9 * state, "GFLOP/s"},
             {"wkv7 N=64 backward", wkv7_back, 36 * state, "GFLOP/s"},
             {"cross entropy V=1500", entropy, 2.0 * VOCABULARY * (double)x.M, "GB/s"},
             {"adamw", adamw, 7 * floats, "GB/s"},
             {"sum_squares", squares, floats, "GB/s"}};
  const char *variants[] = {"generic", "avx2", "avx512"};
  printf("M = %zu, C = %zu, T = %d; %s\n%-22s", x.M, x.C, SEQUENCE, cpu_report(), "");
  for (int v = 0; v < 3; v++) printf("%10s", cpu_variant(variants[v]) ? variants[v] : "-");
  printf("  ms, and the last column's rate\n");
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    double seconds = 0.0;
    printf("%-22s", all[i].name);
    for (int v = 0; v < 3; v++) {
      const cpu_kernels *k = cpu_variant(variants[v]);
      if (k) printf("%10.3f", 1e3 * (seconds = seconds_of(all[i].f, k, &x)));
    }
    printf("  %8.1f %s\n", all[i].work * (all[i].unit[1] == 'B' ? 4 : 1) / seconds * 1e-9, all[i].unit);
  }
  for (size_t i = 0; i < sizeof flat / sizeof *flat; i++) free(*flat[i]);
  for (int i = 0; i < 4; i++) free(x.wide[i]), free(x.small[i]);
  free(x.target);
  free(x.source);
  return 0;
}
