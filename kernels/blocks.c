#include "kernels/blocks.h"

#include <omp.h>
#include <string.h>

/* A share smaller than this would read the weights more often than is worth it. */
enum { SHARE_TOKENS = 128 };

/* Into y, or if y is NULL into tensors of its own, which all stay. */
static tensor *run(ctx *c, tensor *x, int n, block_fn block, const void *model, tensor *y) {
  for (int i = 0; x && i < n; i++) {
    const arena_mark mark = arena_here(c->memory);
    c->block = i;
    x = seen(c, "out", block(c, model, i, x));
    c->block = -1;
    if (!x || !y) continue;
    memcpy(y->data, x->data, (size_t)tensor_count(y) * sizeof(float));
    arena_release(c->memory, mark);
    x = y;
  }
  return x;
}

tensor *blocks_forward(ctx *c, tensor *x, int n, block_fn block, const void *model) {
  if (!x) return NULL;
  tensor *y = c->recording ? NULL : tensor_like(c, x);
  return y || c->recording ? run(c, x, n, block, model, y) : NULL;
}

/* Samples from..from + count - 1. */
static tensor *samples(ctx *c, tensor *x, int64_t from, int64_t count) {
  int64_t dim[TENSOR_DIMS];
  memcpy(dim, x->dim, sizeof dim);
  dim[0] = count;
  return tensor_window(c, x, from * (tensor_count(x) / x->dim[0]), x->n_dims, dim);
}

static bool run_samples(ctx *c, tensor *x, int64_t from, int64_t count, int n, block_fn block, const void *model,
                        tensor *y) {
  const arena_mark mark = arena_here(c->memory);
  tensor *in = samples(c, x, from, count), *out = samples(c, y, from, count);
  const bool done = in && out && run(c, in, n, block, model, out);
  arena_release(c->memory, mark);
  return done;
}

/* Samples that each of the threads takes at once; 0: all together. */
static int64_t share_of(const ctx *c, const tensor *x, int threads) {
  const int64_t share = x->dim[0] / threads;
  const bool apart = threads > 1 && share && !c->recording && !c->observe && !omp_in_parallel();
  return apart && share * (tensor_rows(x) / x->dim[0]) >= SHARE_TOKENS ? share : 0;
}

tensor *blocks_forward_samples(ctx *c, tensor *x, int n, block_fn block, const void *model) {
  const int threads = omp_get_max_threads();
  const int64_t share = x ? share_of(c, x, threads) : 0;
  if (!share) return blocks_forward(c, x, n, block, model);
  tensor *y = tensor_like(c, x);
  if (!y || !ctx_make_others(c, threads - 1)) return NULL;
  failure failed = {0};
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int i = 0; i < threads; i++) {
    const int me = omp_get_thread_num();
    if (!run_samples(me ? c->other[me - 1] : c, x, i * share, share, n, block, model, y)) failure_keep(&failed);
  }
  const int64_t rest = x->dim[0] - threads * share;
  if (failure_say(&failed)) return NULL;
  return !rest || run_samples(c, x, threads * share, rest, n, block, model, y) ? y : NULL;
}
