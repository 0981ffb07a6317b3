#include "kernels/blas.h"

#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* The C interface of BLAS, by its numbers: row-major 101, no transpose 111, transpose 112. */
typedef void (*cblas_sgemm_fn)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                               const float *b, int ldb, float beta, float *c, int ldc);
typedef char *(*text_fn)(void);

static struct {
  cblas_sgemm_fn sgemm;
  status state;
  char report[512], error[256];
} blas;

/* A function pointer out of dlsym's object pointer, as POSIX promises it works. */
static void find(void *library, const char *name, void *fn) {
  void *symbol = dlsym(library, name);
  memcpy(fn, &symbol, sizeof symbol);
}

static void open_library(void) {
  static const char *const paths[] = {
      "/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so.0",
      "/usr/lib/aarch64-linux-gnu/openblas-openmp/libopenblas.so.0",
      "libopenblas.so.0",
  };
  if (cpu_has_avx512()) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
  void *library = NULL;
  const char *path = NULL;
  for (size_t i = 0; i < sizeof paths / sizeof *paths && !library; i++)
    library = dlopen(path = paths[i], RTLD_NOW | RTLD_LOCAL);
  if (library) find(library, "cblas_sgemm", &blas.sgemm);
  if (!blas.sgemm) {
    snprintf(blas.error, sizeof blas.error, "OpenBLAS was not found: install Debian's libopenblas0-openmp");
    blas.state = STATUS_UNSUPPORTED;
    return;
  }
  text_fn config = NULL, core = NULL;
  find(library, "openblas_get_config", &config);
  find(library, "openblas_get_corename", &core);
  snprintf(blas.report, sizeof blas.report, "%s, core type %s, from %s", config ? config() : "a BLAS without a name",
           core ? core() : "unknown", path);
}

status blas_open(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  return blas.state ? fail(blas.state, "%s", blas.error) : STATUS_OK;
}

const char *blas_report(void) { return blas_open() ? blas.error : blas.report; }

void sgemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
           const float *b, size_t ldb, float beta, float *c, size_t ldc) {
  enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
  if (!m || !n) return;
  assert((m | n | k | lda | ldb | ldc) <= INT_MAX);
  blas.sgemm(ROW_MAJOR, transpose_a ? TRANSPOSE : NO_TRANSPOSE, transpose_b ? TRANSPOSE : NO_TRANSPOSE, (int)m, (int)n,
             (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}
