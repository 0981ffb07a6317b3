#include "kernels/base.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static _Thread_local char error_text[8192]; /* room for a path of the longest kind, and what is wrong with it */
static _Thread_local status error_code;

static void set_error(status code, const char *format, va_list args) {
  char text[sizeof error_text];
  vsnprintf(text, sizeof text, format, args);
  for (char *p = text; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
  memcpy(error_text, text, sizeof text); /* through a copy: an argument may be the old sentence */
  error_code = code;
}

status fail(status code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  set_error(code, format, args);
  va_end(args);
  return code;
}

void *fail_null(status code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  set_error(code, format, args);
  va_end(args);
  return NULL;
}

status fail_within(const char *format, ...) {
  char context[sizeof error_text], old[sizeof error_text];
  va_list args;
  va_start(args, format);
  vsnprintf(context, sizeof context, format, args);
  va_end(args);
  memcpy(old, error_text, sizeof old);
  return fail(error_code, "%s: %s", context, old);
}

const char *last_error(void) { return error_text; }
status last_status(void) { return error_code; }

void failure_keep(failure *f) {
#pragma omp critical(failure)
  if (!f->code) {
    f->sentence = strdup(error_text);
#pragma omp atomic write
    f->code = error_code ? error_code : STATUS_MEMORY; /* to fail without a sentence is still to fail */
  }
}

bool failure_kept(const failure *f) {
  int code;
#pragma omp atomic read
  code = f->code;
  return code != STATUS_OK;
}

status failure_say(failure *f) {
  const status code = (status)f->code;
  if (code) fail(code, "%s", f->sentence ? f->sentence : "out of memory");
  free(f->sentence);
  *f = (failure){0};
  return code;
}

bool size_add(size_t a, size_t b, size_t *out) {
  if (b > SIZE_MAX - a) return false;
  *out = a + b;
  return true;
}

bool size_mul(size_t a, size_t b, size_t *out) {
  if (a && b > SIZE_MAX / a) return false;
  *out = a * b;
  return true;
}

void *mem_grow(void *old, size_t n, size_t size) {
  size_t bytes;
  if (!size_mul(n, size, &bytes)) return fail_null(STATUS_MEMORY, "cannot allocate %zu items of %zu bytes", n, size);
  void *p = realloc(old, bytes ? bytes : 1);
  if (!p) fail(STATUS_MEMORY, "out of memory: %zu bytes were needed", bytes);
  return p;
}

void *mem_alloc(size_t n, size_t size) { return mem_grow(NULL, n, size); }

void *mem_zero(size_t n, size_t size) {
  void *p = mem_alloc(n, size);
  if (p) memset(p, 0, n * size);
  return p;
}

void *mem_aligned(size_t bytes) {
  enum { LINE = 64, LARGE = 1 << 21 };
  const size_t line = bytes < LARGE ? LINE : LARGE;
  size_t padded;
  void *p = size_add(bytes, line - 1, &padded) ? aligned_alloc(line, padded / line * line + (bytes ? 0 : line)) : NULL;
  if (!p) return fail_null(STATUS_MEMORY, "out of memory: %zu bytes were needed", bytes);
  if (line == LARGE) madvise(p, bytes, MADV_HUGEPAGE); /* a hint: that it fails is no harm */
  return p;
}

char *mem_string(const char *text) {
  size_t n = strlen(text) + 1;
  char *copy = mem_alloc(n, 1);
  if (copy) memcpy(copy, text, n);
  return copy;
}

bool text_ends_with(const char *text, const char *ending) {
  const size_t n = strlen(text), m = strlen(ending);
  return n >= m && !strcmp(text + n - m, ending);
}

void *mem_room(void *items, size_t count, size_t *capacity, size_t size) {
  if (count < *capacity) return items;
  const size_t wanted = *capacity ? 2 * *capacity : 64;
  void *grown = mem_grow(items, wanted, size);
  if (grown) *capacity = wanted;
  return grown;
}

static uint64_t mix64(uint64_t x) { /* the finaliser of SplitMix64 */
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t random_u64(uint64_t seed, uint64_t stream, uint64_t index) {
  const uint64_t golden = 0x9e3779b97f4a7c15u;
  uint64_t key = mix64(seed + golden) ^ mix64(stream * golden + 0x632be59bd9b4e019u);
  return mix64(mix64(key + index * golden) + key);
}

rng rng_make(uint64_t seed, uint64_t stream) { return (rng){random_u64(seed, stream, 0), 0}; }
uint64_t rng_u64(rng *g) { return random_u64(g->key, 0, ++g->counter); }

uint32_t rng_below(rng *g, uint32_t n) {
  const uint32_t reject = (uint32_t)(-n) % n; /* 2^32 mod n low values would be drawn once too often */
  for (;;) {
    uint64_t product = (uint64_t)(uint32_t)(rng_u64(g) >> 32) * n;
    if ((uint32_t)product >= reject) return (uint32_t)(product >> 32);
  }
}

float rng_uniform(rng *g) { return (float)(rng_u64(g) >> 40) * 0x1p-24f; }
float rng_range(rng *g, float low, float high) { return low + (high - low) * rng_uniform(g); }

float rng_normal(rng *g) { /* Box-Muller, one value a call */
  double u = ((double)(rng_u64(g) >> 11) + 1) * 0x1p-53, v = (double)(rng_u64(g) >> 11) * 0x1p-53;
  return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

void rng_shuffle(rng *g, uint32_t *items, size_t n) {
  for (size_t i = n; i > 1; i--) {
    size_t j = rng_below(g, (uint32_t)i);
    uint32_t t = items[i - 1];
    items[i - 1] = items[j];
    items[j] = t;
  }
}

double clock_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
