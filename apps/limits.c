#include "apps/limits.h"

#include <omp.h>
#include <stdlib.h>

#include "kernels/blas.h"

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* Each thread reads a part of its own. */
static double read_once(const uint8_t *from, size_t n, read_way way) {
  enum { UNIT = 4096 };
  const size_t units = n / UNIT;
  uint64_t sum = 0;
  const double start = clock_seconds();
#pragma omp parallel reduction(+ : sum)
  {
    const size_t threads = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
    const size_t first = units * i / threads, end = units * (i + 1) / threads;
    sum += cpu()->read_sum((end - first) * UNIT, from + first * UNIT, way);
  }
  const double seconds = clock_seconds() - start;
  volatile uint64_t kept = sum; /* the reading must not be left out */
  (void)kept;
  return seconds;
}

double limit_read_seconds(const void *from, size_t n) {
  double best = read_once(from, n, READ_PLAIN);
  for (read_way way = READ_PLAIN + 1; way < READ_WAYS; way++) {
    const double seconds = read_once(from, n, way);
    if (seconds < best) best = seconds;
  }
  return best;
}

status limit_buffer_new(limit_buffer *b, size_t n) {
  *b = (limit_buffer){.n = n};
  if (!(b->memory = mem_aligned(n))) return STATUS_MEMORY;
  uint8_t *bytes = b->memory;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)i;
  return STATUS_OK;
}

void limit_buffer_free(limit_buffer *b) {
  free(b->memory);
  *b = (limit_buffer){0};
}

double limit_read_rate(const limit_buffer *b) { return (double)b->n / limit_read_seconds(b->memory, b->n); }

/* --- arithmetic --------------------------------------------------------------------------------------------------- */

static double peak_once(peak_kind kind, size_t rounds) {
  double operations = 0;
  const double start = clock_seconds();
#pragma omp parallel reduction(+ : operations)
  operations += cpu()->peak(kind, rounds);
  return operations / (clock_seconds() - start);
}

double limit_peak(peak_kind kind) {
  enum { TIMES = 5, ROUNDS = 200000 };
  double best = 0;
  for (int i = 0; i < TIMES; i++) {
    const double rate = peak_once(kind, ROUNDS);
    if (rate > best) best = rate;
  }
  return best;
}

const char *limit_peak_name(peak_kind kind) {
  static const char *const names[PEAK_KINDS] = {[PEAK_F32] = "f32", [PEAK_I16] = "int16", [PEAK_I8] = "int8"};
  return names[kind];
}

peak_kind limit_kind(dtype weights) {
  const peak_kind kind = !dtype_is_packed(weights) ? PEAK_F32 : dtype_is_quant(weights) ? PEAK_I8 : PEAK_I16;
  return cpu()->peak(kind, 1) > 0 ? kind : PEAK_F32;
}

status limit_sgemm(double *gflops) {
  static const size_t shape[][3] = {{512, 512, 512}, {1024, 1024, 1024}, {2048, 1024, 512}, {2048, 2048, 1024}};
  enum { MOST = 2048 * 2048, TIMES = 5 };
  status s = blas_open();
  if (s) return s;
  float *memory = mem_alloc(3 * (size_t)MOST, sizeof *memory);
  if (!memory) return STATUS_MEMORY;
  for (size_t i = 0; i < 2 * (size_t)MOST; i++) memory[i] = (float)(i % 251) / 251 - 0.5f;
  *gflops = 0;
  for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
    for (int k = 0; k < TIMES; k++) {
      const size_t *d = shape[i];
      const double start = clock_seconds();
      sgemm(false, true, d[0], d[1], d[2], 1, memory, d[2], memory + MOST, d[2], 0, memory + 2 * MOST, d[1]);
      const double rate = 2e-9 * (double)(d[0] * d[1] * d[2]) / (clock_seconds() - start);
      if (rate > *gflops) *gflops = rate;
    }
  free(memory);
  return STATUS_OK;
}

status limit_sgemm_beside(int runs, status (*round)(void *user, double *rate), void *user, double *rates,
                          double *gflops) {
  double before = 0, after = 0;
  status s = limit_sgemm(&before);
  for (int i = -1; !s && i < runs; i++) {
    double rate;
    s = round(user, &rate);
    if (!s && i >= 0) rates[i] = rate;
  }
  if (!s) s = limit_sgemm(&after);
  *gflops = before > after ? before : after;
  return s;
}
