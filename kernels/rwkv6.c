#include "kernels/rwkv6.h"

tensor *mix_row(ctx *c, tensor *x, int k) {
  return x ? tensor_window(c, x, k * x->dim[1] * x->dim[2] * x->dim[3], 3, x->dim + 1) : NULL;
}

void mix_linear(ctx *c, tensor *x, int n, const int *k, tensor *const *w, const act_kind *kind, tensor **y) {
  tensor *row[ROW_PRODUCTS];
  for (int i = 0; i < n; i++) row[i] = mix_row(c, x, k[i]);
  linear_each(c, n, row, w, kind, y);
}

tensor *rwkv6_time_mix(ctx *c, const rwkv6_att *p, tensor *z, const shift_plan *plan, const wkv6_opt *opt,
                       float ln_x_eps, const rwkv6_carry *in, tensor **state) {
  tensor *s = seen(c, "att.shift", shift(c, z, plan, in ? in->att_x : NULL));
  tensor *x = ddlerp(c, z, s, MAA_ROWS, p->maa, p->maa_x, p->maa_w1, p->maa_w2);

  tensor *rkvg[4];
  mix_linear(c, x, 4, (const int[]){MAA_R, MAA_K, MAA_V, MAA_G},
             (tensor *const[]){p->receptance, p->key, p->value, p->gate}, NULL, rkvg);
  tensor *r = seen(c, "att.r", rkvg[0]), *k = seen(c, "att.k", rkvg[1]), *v = seen(c, "att.v", rkvg[2]),
         *g = seen(c, "att.g", rkvg[3]);
  tensor *low = act(c, ACT_TANH, linear_right(c, mix_row(c, x, MAA_W), p->decay_w1));
  tensor *w = seen(c, "att.w", add(c, linear_right(c, low, p->decay_w2), p->decay));

  tensor *y = seen(c, "att.wkv", wkv6(c, r, k, v, w, p->bonus, in ? in->wkv : NULL, opt, state));
  tensor *o = seen(c, "att.ln_x", group_norm(c, y, opt->heads, p->ln_x_weight, p->ln_x_bias, ln_x_eps));
  return seen(c, "att", linear(c, gate(c, o, ACT_SILU, g), p->output, NULL));
}

tensor *rwkv6_channel_mix(ctx *c, const rwkv6_ffn *p, tensor *z, const shift_plan *plan, mix_kind kind,
                          const rwkv6_carry *in) {
  tensor *s = shift(c, z, plan, in ? in->ffn_x : NULL);
  tensor *x = shift_mix(c, z, s, kind, 2, (tensor *const[]){p->mix_k, p->mix_r}, NULL);
  tensor *kr[2];
  mix_linear(c, x, 2, (const int[]){0, 1}, (tensor *const[]){p->key, p->receptance},
             (const act_kind[]){ACT_RELU2, ACT_NONE}, kr);
  return seen(c, "ffn", gate(c, linear(c, kr[0], p->value, NULL), ACT_SIGMOID, kr[1]));
}
