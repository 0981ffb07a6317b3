#include "fusion/contrastive.h"

#include <assert.h>
#include <math.h>

/* --- cosines ------------------------------------------------------------------------------------------------------ */

typedef struct {
  tensor *x, *log_scale, *y;
} exp_scale_record;

static void exp_scale_backward(ctx *c, void *saved) {
  exp_scale_record *s = saved;
  const float *gy = grad_of(s->y);
  if (!gy) return;
  size_t n = (size_t)tensor_count(s->x);
  bool acc;
  float *gx = grad_target(c, s->x, &acc), *gs = grad_sum_target(c, s->log_scale);
  if (gx) cpu()->axpby(n, expf(*f32(s->log_scale)), gy, acc, acc ? gx : NULL, gx);
  double sum = 0;
  for (size_t i = 0; gs && i < n; i++) sum += (double)gy[i] * (double)f32(s->y)[i];
  if (gs) *gs += (float)sum;
}

/* exp(log_scale) x */
static tensor *exp_scale(ctx *c, tensor *x, tensor *log_scale) {
  if (!x || !log_scale) return NULL;
  assert(tensor_count(log_scale) == 1);
  exp_scale_record s = {x, log_scale, tensor_like(c, x)};
  if (!s.y) return NULL;
  cpu()->axpby((size_t)tensor_count(x), expf(*f32(log_scale)), f32(x), 0, NULL, f32(s.y));
  return track(c, s.y, x->needs_grad || log_scale->needs_grad, exp_scale_backward, &s, sizeof s);
}

tensor *scaled_cosines(ctx *c, tensor *a, tensor *b, tensor *log_scale) {
  return exp_scale(c, linear(c, a, b, NULL), log_scale);
}

/* --- loss --------------------------------------------------------------------------------------------------------- */

/* Takes answers that are not wrong out of the cosines: those of row i and column j, or the other way round. */
static tensor *set_apart(ctx *c, tensor *cosines, const bool *same, bool turned) {
  if (!cosines || !same) return cosines;
  const float far = -1e9f; /* of no weight in a softmax */
  const int64_t B = cosines->dim[0];
  tensor *away = tensor_2d(c, DTYPE_F32, B, B);
  for (int64_t i = 0; away && i < B; i++)
    for (int64_t j = 0; j < B; j++) f32(away)[i * B + j] = i != j && same[turned ? j * B + i : i * B + j] ? far : 0;
  return add(c, cosines, away);
}

tensor *contrastive_loss_apart(ctx *c, tensor *images, tensor *texts, tensor *log_scale, const bool *same) {
  if (!images || !texts) return NULL;
  int64_t B = images->dim[0];
  assert(texts->dim[0] == B);
  int32_t *own = arena_alloc(c->memory, (size_t)B * sizeof *own);
  float *share = arena_alloc(c->memory, (size_t)B * sizeof *share);
  if (!own || !share) return NULL;
  for (int64_t b = 0; b < B; b++) {
    own[b] = (int32_t)b;
    share[b] = 0.5f / (float)B;
  }
  tensor *of_images = set_apart(c, scaled_cosines(c, images, texts, log_scale), same, false);
  tensor *of_texts = set_apart(c, scaled_cosines(c, texts, images, log_scale), same, true);
  return add(c, cross_entropy(c, of_images, own, share, 0), cross_entropy(c, of_texts, own, share, 0));
}

tensor *contrastive_loss(ctx *c, tensor *images, tensor *texts, tensor *log_scale) {
  return contrastive_loss_apart(c, images, texts, log_scale, NULL);
}

void match_probabilities(float *cosines, int64_t M, int64_t K, float scale) {
  for (int64_t m = 0; m < M; m++) {
    float *row = cosines + m * K, top = -INFINITY;
    double sum = 0;
    for (int64_t i = 0; i < K; i++) top = row[i] > top ? row[i] : top;
    for (int64_t i = 0; i < K; i++) sum += row[i] = expf(scale * (row[i] - top));
    for (int64_t i = 0; i < K; i++) row[i] = (float)((double)row[i] / sum);
  }
}
