/* Losses: cross entropy with row weights and L2Wrap, multi-label binary cross entropy. Spec operators 6.1.
 * The gradient of the logits is made in the forward pass, while they are warm, when the context records. */
#include "kernels/ops.h"

typedef struct {
  tensor *logits, *loss;
  float *glogits; /* for an incoming gradient of 1 */
  float l2wrap;
} loss_record;

/* The factor's penalty pulls only the largest logit of a row, whatever the loss's own weight. */
static void add_l2wrap(const loss_record *s, float *g) {
  size_t M = (size_t)tensor_rows(s->logits), V = (size_t)tensor_last(s->logits);
  for (size_t m = 0; m < M; m++) {
    const float *row = f32(s->logits) + m * V;
    size_t top = 0;
    for (size_t v = 1; v < V; v++)
      if (row[v] > row[top]) top = v;
    g[m * V + top] += s->l2wrap * row[top];
  }
}

static void loss_backward(ctx *c, void *saved) {
  loss_record *s = saved;
  const float *gy = grad_of(s->loss);
  bool acc;
  float *g = gy ? grad_target(c, s->logits, &acc) : NULL;
  if (!g) return;
  cpu()->axpby((size_t)tensor_count(s->logits), *gy, s->glogits, acc, acc ? g : NULL, g);
  if (s->l2wrap != 0) add_l2wrap(s, g);
}

/* Room for row losses and, if it will be wanted, the gradient of the logits. */
static bool loss_begin(ctx *c, loss_record *s, tensor *logits, float **row_loss) {
  *row_loss = arena_alloc(c->memory, (size_t)tensor_rows(logits) * sizeof **row_loss);
  *s = (loss_record){.logits = logits, .loss = tensor_1d(c, DTYPE_F32, 1)};
  if (c->recording && logits->needs_grad) {
    s->glogits = arena_alloc(c->memory, (size_t)tensor_count(logits) * sizeof(float));
    if (!s->glogits) return false;
  }
  return *row_loss && s->loss;
}

static tensor *loss_end(ctx *c, loss_record *s, const float *row_loss, const float *weight) {
  double sum = 0;
  for (int64_t m = 0; m < tensor_rows(s->logits); m++)
    if (weight[m] != 0) sum += (double)weight[m] * row_loss[m];
  f32(s->loss)[0] = (float)sum;
  return track(c, s->loss, s->logits->needs_grad, loss_backward, s, sizeof *s);
}

tensor *cross_entropy(ctx *c, tensor *logits, const int32_t *target, const float *weight, float l2wrap) {
  loss_record s;
  float *row_loss;
  if (!logits || !loss_begin(c, &s, logits, &row_loss)) return NULL;
  s.l2wrap = l2wrap;
  cpu()->cross_entropy((size_t)tensor_rows(logits), (size_t)tensor_last(logits), f32(logits), target, weight, row_loss,
                       s.glogits);
  return loss_end(c, &s, row_loss, weight);
}

tensor *bce_with_logits(ctx *c, tensor *logits, const float *target, const float *weight) {
  loss_record s;
  float *row_loss;
  if (!logits || !loss_begin(c, &s, logits, &row_loss)) return NULL;
  cpu()->bce_with_logits((size_t)tensor_rows(logits), (size_t)tensor_last(logits), f32(logits), target, weight,
                         row_loss, s.glogits);
  return loss_end(c, &s, row_loss, weight);
}
