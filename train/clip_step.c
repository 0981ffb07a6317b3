#include "train/clip_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/contrastive.h"

/* --- parts of a batch --------------------------------------------------------------------------------------------- */

/* Unit rows [n,D] of the pictures from `at` on. */
static tensor *encode_images(ctx *c, const clip_pair *m, const clip_step_batch *b, int64_t at, int64_t n) {
  const int64_t S = clip_image_side(m);
  int h, w;
  image_tower_drop drop = b->drop;
  drop.first += (uint64_t)at;
  tensor *pixels = tensor_wrap(c, DTYPE_F32, (void *)(b->pixels + at * S * S * 3), 4, (const int64_t[]){n, S, S, 3});
  if (!pixels) return NULL;
  tensor *tokens = image_tower_tokens_drop(c, &m->rwkv_image, pixels, &drop, &h, &w);
  return unit_rows(c, image_tower_pool(c, &m->rwkv_image, tokens));
}

static tensor *encode_texts(ctx *c, const clip_pair *m, const clip_step_batch *b, int64_t at, int64_t n) {
  const int64_t T = clip_text_length(m);
  tensor *ids = tensor_wrap(c, DTYPE_I32, (void *)(b->ids + at * T), 2, (const int64_t[]){n, T});
  return ids ? unit_rows(c, clip_text_features(c, m, ids)) : NULL;
}

typedef tensor *(*encode_fn)(ctx *c, const clip_pair *m, const clip_step_batch *b, int64_t at, int64_t n);

static status loss_of(tensor *loss, double *out) {
  if (!loss) return last_status();
  *out = (double)*f32(loss);
  return isfinite(*out) ? STATUS_OK : fail(STATUS_FORMAT, "the loss is not finite");
}

/* --- direct ------------------------------------------------------------------------------------------------------- */

static status direct(ctx *c, const clip_pair *m, const clip_step_batch *b, double *out) {
  ctx_reset(c);
  c->recording = true;
  tensor *images = encode_images(c, m, b, 0, b->n), *texts = encode_texts(c, m, b, 0, b->n);
  tensor *loss = contrastive_loss_apart(c, images, texts, m->logit_scale, b->same);
  c->recording = false;
  const status s = loss_of(loss, out);
  return s ? s : backward(c, loss);
}

/* --- cached ------------------------------------------------------------------------------------------------------- */

/* Every row [n,D], nothing recorded. */
static status encode_all(ctx *c, const clip_pair *m, const clip_step_batch *b, int chunk, encode_fn encode,
                         float *rows) {
  const int64_t D = clip_width(m);
  for (int64_t at = 0; at < b->n; at += chunk) {
    const int64_t n = b->n - at < chunk ? b->n - at : chunk;
    ctx_reset(c);
    const tensor *part = encode(c, m, b, at, n);
    if (!part) return last_status();
    memcpy(rows + at * D, f32(part), (size_t)(n * D) * sizeof *rows);
  }
  return STATUS_OK;
}

/* Rows as a tensor whose gradient is asked for. */
static tensor *leaf(ctx *c, float *rows, int64_t n, int64_t D) {
  tensor *x = tensor_wrap(c, DTYPE_F32, rows, 2, (const int64_t[]){n, D});
  if (x) x->needs_grad = true;
  return x;
}

/* The loss of all rows; they are replaced by its gradient. */
static status loss_of_rows(ctx *c, const clip_pair *m, const clip_step_batch *b, float *image_rows, float *text_rows,
                           double *out) {
  const int64_t D = clip_width(m);
  ctx_reset(c);
  tensor *images = leaf(c, image_rows, b->n, D), *texts = leaf(c, text_rows, b->n, D);
  c->recording = true;
  tensor *loss = contrastive_loss_apart(c, images, texts, m->logit_scale, b->same);
  c->recording = false;
  status s = loss_of(loss, out);
  if (!s) s = backward(c, loss);
  if (s) return s;
  memcpy(image_rows, grad_of(images), (size_t)(b->n * D) * sizeof *image_rows);
  memcpy(text_rows, grad_of(texts), (size_t)(b->n * D) * sizeof *text_rows);
  return STATUS_OK;
}

/* Encodes again and carries the rows' gradients back: the gradient of their inner product with the rows is theirs. */
static status carry_back(ctx *c, const clip_pair *m, const clip_step_batch *b, int chunk, encode_fn encode,
                         float *gradients) {
  const int64_t D = clip_width(m);
  status s = STATUS_OK;
  for (int64_t at = 0; !s && at < b->n; at += chunk) {
    const int64_t n = b->n - at < chunk ? b->n - at : chunk, shape[] = {1, n * D};
    ctx_reset(c);
    c->recording = true;
    tensor *rows = encode(c, m, b, at, n), *given = tensor_wrap(c, DTYPE_F32, gradients + at * D, 2, shape);
    tensor *inner = rows && given ? linear(c, tensor_view(c, rows, 2, shape), given, NULL) : NULL;
    c->recording = false;
    s = inner ? backward(c, inner) : last_status();
  }
  return s;
}

static status cached(ctx *c, const clip_pair *m, const clip_step_batch *b, int chunk, double *loss) {
  const size_t D = (size_t)clip_width(m);
  float *images = mem_alloc((size_t)b->n, D * sizeof *images), *texts = mem_alloc((size_t)b->n, D * sizeof *texts);
  status s = images && texts ? STATUS_OK : STATUS_MEMORY;
  if (!s) s = encode_all(c, m, b, chunk, encode_images, images);
  if (!s) s = encode_all(c, m, b, chunk, encode_texts, texts);
  if (!s) s = loss_of_rows(c, m, b, images, texts, loss);
  if (!s) s = carry_back(c, m, b, chunk, encode_images, images);
  if (!s) s = carry_back(c, m, b, chunk, encode_texts, texts);
  free(images);
  free(texts);
  return s;
}

status clip_step_gradients(ctx *c, const clip_pair *m, const clip_step_batch *b, int chunk, double *loss) {
  return chunk < 1 || chunk >= b->n ? direct(c, m, b, loss) : cached(c, m, b, chunk, loss);
}
