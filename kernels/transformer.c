#include "kernels/transformer.h"

#include <math.h>

/* Query, key or value of normed tokens: by its own matrix, or by its rows of the common one. */
static tensor *project(ctx *c, const transformer_block *p, int which, tensor *z) {
  tensor *w = p->apart_weight[which], *b = p->apart_bias[which];
  if (z && p->in_weight) {
    const int64_t D = p->in_weight->dim[1];
    w = tensor_window(c, p->in_weight, which * D * D, 2, (int64_t[]){D, D});
    b = tensor_window(c, p->in_bias, which * D, 1, (int64_t[]){D});
    if (!w || !b) return NULL;
  }
  return linear(c, z, w, b);
}

tensor *transformer_block_forward(ctx *c, const transformer_block *p, tensor *x, const transformer_opt *opt) {
  if (!x) return NULL;
  const attention_opt heads = {
      .heads = opt->heads, .scale = 1 / sqrtf((float)tensor_last(x) / (float)opt->heads), .causal = opt->causal};
  tensor *z = seen(c, "ln_1", layer_norm(c, x, p->ln1_weight, p->ln1_bias, opt->eps));
  tensor *y = attention(c, project(c, p, QUERY, z), project(c, p, KEY, z), project(c, p, VALUE, z), &heads);
  x = add(c, x, seen(c, "attn", linear(c, y, p->out_weight, p->out_bias)));
  z = seen(c, "ln_2", layer_norm(c, x, p->ln2_weight, p->ln2_bias, opt->eps));
  y = linear_act(c, opt->act, z, p->fc1_weight, p->fc1_bias);
  return add(c, x, seen(c, "mlp", linear(c, y, p->fc2_weight, p->fc2_bias)));
}
