/* Times products with packed weights: bench_products [-m M,..] [-s NxK,..] [-t TYPE,..] [-z SHARE] [-v VARIANT]. For
 * each type, shape and number of rows, of whose values the share is zero, it prints microseconds, the GB/s at which
 * weights are read (of as many matrices as no cache holds, one after the other) and 10^9 multiplications and additions
 * a second; at the top, what the machine can do: a read by as many threads, and integer and f32 products in registers
 * (apps/limits.h). */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/limits.h"
#include "kernels/base.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/kernel_check.h"

enum { LIST = 16 };
static const size_t pool_bytes = (size_t)768 << 20;
static const double least_seconds = 0.4;

/* --- limits ------------------------------------------------------------------------------------------------------- */

static void print_limits(const char *pool) {
  printf("%s\nread %.1f GB/s", cpu_report(), 1e-9 * (double)pool_bytes / limit_read_seconds(pool, pool_bytes));
  for (peak_kind kind = 0; kind < PEAK_KINDS; kind++)
    printf(", %s %.0f Gop/s", limit_peak_name(kind), 1e-9 * limit_peak(kind));
  printf(" (%d threads)\n", omp_get_max_threads());
}

/* --- products ----------------------------------------------------------------------------------------------------- */

static const char *type_name(dtype type) {
  return type == DTYPE_F16 ? "F16" : type == DTYPE_BF16 ? "BF16" : quant_name(dtype_quant(type));
}

/* Fills the pool with panels of random weights, the same 16 rows again and again. */
static bool fill(dtype type, size_t K, char *pool) {
  const size_t panel = packed_panel_bytes(type, K), row = packed_row_bytes(type, K);
  float *values = mem_alloc(PACKED_ROWS * K, sizeof *values);
  char *rows = mem_alloc(PACKED_ROWS, row);
  rng g = rng_make(1, K);
  for (size_t i = 0; values && i < PACKED_ROWS * K; i++) values[i] = rng_normal(&g);
  if (values && rows) {
    packed_encode(type, values, PACKED_ROWS * K, rows);
    packed_put(type, K, 0, PACKED_ROWS, rows, pool);
    for (size_t at = panel; at + panel <= pool_bytes; at += panel) memcpy(pool + at, pool, panel);
  }
  const bool done = values && rows;
  free(values), free(rows);
  return done;
}

/* Seconds of one product: of the matrices that fill the pool in turn if M is small, of the first if not, because then
 * reading it does not matter. The best of some rounds. */
static double seconds_of(const cpu_kernels *k, dtype type, size_t N, size_t K, size_t M, const char *pool,
                         const float *x, void *room, float *y) {
  const size_t bytes = packed_bytes(type, N, K), matrices = M >= 64 ? 1 : pool_bytes / bytes;
  double best = 1e9;
  const double end = clock_seconds() + least_seconds;
  for (int round = 0; round < 3 || clock_seconds() < end; round++) {
    const double start = clock_seconds();
    for (size_t i = 0; i < matrices; i++) {
      const packed_product p = {{type, N, K, pool + i * bytes}, M, x, room, y, ACT_NONE};
      packed_product_run(k, &p);
    }
    const double took = (clock_seconds() - start) / (double)matrices;
    if (took < best) best = took;
  }
  return best;
}

static bool bench(const cpu_kernels *k, dtype type, size_t N, size_t K, size_t M, float zeros, const char *pool) {
  float *x = mem_aligned(M * K * sizeof *x), *y = mem_aligned(M * N * sizeof *y);
  void *room = mem_aligned(packed_room(M, K));
  rng g = rng_make(2, K);
  for (size_t i = 0; x && i < M * K; i++) x[i] = rng_uniform(&g) < zeros ? 0 : rng_normal(&g);
  const bool ready = x && y && room;
  if (ready) {
    const double seconds = seconds_of(k, type, N, K, M, pool, x, room, y);
    printf("%-5s %6zu x %-6zu M %-4zu %10.1f us %8.1f GB/s %8.0f Gop/s\n", type_name(type), N, K, M, seconds * 1e6,
           (double)packed_bytes(type, N, K) / seconds * 1e-9, 2.0 * (double)M * (double)N * (double)K / seconds * 1e-9);
    fflush(stdout);
  }
  free(x), free(y), free(room);
  return ready;
}

/* --- options ------------------------------------------------------------------------------------------------------ */

typedef struct {
  size_t M[LIST], N[LIST], K[LIST];
  int n_M, n_shapes;
  char types[200];
  float zeros;
  const cpu_kernels *kernels;
} options;

static bool listed(const char *list, const char *name) {
  const size_t n = strlen(name);
  for (const char *at = list; (at = strstr(at, name)); at += n)
    if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n])) return true;
  return false;
}

static bool parse(int argc, char **argv, options *o) {
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-' || i + 1 == argc) return false;
    const char *value = argv[++i];
    char *end;
    switch (argv[i - 1][1]) {
    case 'm':
      for (o->n_M = 0; *value && o->n_M < LIST; value = *end ? end + 1 : end) o->M[o->n_M++] = strtoul(value, &end, 10);
      break;
    case 's':
      for (o->n_shapes = 0; *value && o->n_shapes < LIST; value = *end ? end + 1 : end) {
        o->N[o->n_shapes] = strtoul(value, &end, 10);
        if (*end != 'x') return false;
        o->K[o->n_shapes++] = strtoul(end + 1, &end, 10);
      }
      break;
    case 't':
      snprintf(o->types, sizeof o->types, "%s", value);
      break;
    case 'z':
      o->zeros = strtof(value, &end);
      break;
    case 'v':
      o->kernels = cpu_variant(value);
      break;
    default:
      return false;
    }
  }
  for (int i = 0; i < o->n_M; i++)
    if (o->M[i] < 1 || o->M[i] > PRODUCT_ROWS_MAX) return false;
  for (int i = 0; i < o->n_shapes; i++)
    if (o->N[i] < 1 || o->K[i] < 1 || o->K[i] % QUANT_BLOCK_MAX || o->N[i] * o->K[i] > pool_bytes / 2) return false;
  return o->kernels != NULL;
}

int main(int argc, char **argv) {
  options o = {.M = {1, 4, 16, 512}, .n_M = 4, .N = {2048, 7168, 2048}, .K = {2048, 2048, 7168}, .n_shapes = 3};
  o.kernels = cpu();
  if (!parse(argc, argv, &o)) {
    fprintf(
        stderr,
        "bench_products [-m M,..] [-s NxK,..] [-t TYPE,..] [-z SHARE] [-v VARIANT]: M up to %d, K a multiple of %d\n",
        PRODUCT_ROWS_MAX, QUANT_BLOCK_MAX);
    return 2;
  }
  char *pool = aligned_alloc(64, pool_bytes + 8192); /* what is read ahead stays inside */
  if (!pool) return 1;
  memset(pool, 0, pool_bytes + 8192);
  print_limits(pool);
  printf("kernels %s\n", o.kernels->name);
  bool done = true;
  for (int type = DTYPE_F16; type < DTYPES; type++) {
    if (o.types[0] && !listed(o.types, type_name((dtype)type))) continue;
    for (int s = 0; s < o.n_shapes; s++) {
      done = done && fill((dtype)type, o.K[s], pool);
      for (int m = 0; done && m < o.n_M; m++)
        done = bench(o.kernels, (dtype)type, o.N[s], o.K[s], o.M[m], o.zeros, pool);
    }
  }
  free(pool);
  if (!done) fprintf(stderr, "bench_products: %s\n", last_error());
  return done ? 0 : 1;
}
