#include "kernels/rwkv6.h"

tensor *mix_row(ctx *c, tensor *x, int k) {
  return x ? tensor_window(c, x, k * x->dim[1] * x->dim[2] * x->dim[3], 3, x->dim + 1) : NULL;
}

tensor *rwkv6_time_mix(ctx *c, const rwkv6_att *p, tensor *z, const shift_plan *plan, const wkv6_opt *opt,
                       float ln_x_eps, const rwkv6_carry *in, tensor **state) {
  tensor *s = seen(c, "att.shift", shift(c, z, plan, in ? in->att_x : NULL));
  tensor *x = ddlerp(c, z, s, MAA_ROWS, p->maa, p->maa_x, p->maa_w1, p->maa_w2);

  tensor *r = seen(c, "att.r", linear(c, mix_row(c, x, MAA_R), p->receptance, NULL));
  tensor *k = seen(c, "att.k", linear(c, mix_row(c, x, MAA_K), p->key, NULL));
  tensor *v = seen(c, "att.v", linear(c, mix_row(c, x, MAA_V), p->value, NULL));
  tensor *g = seen(c, "att.g", linear(c, mix_row(c, x, MAA_G), p->gate, NULL));
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
  tensor *k = act(c, ACT_RELU2, linear(c, mix_row(c, x, 0), p->key, NULL));
  tensor *r = linear(c, mix_row(c, x, 1), p->receptance, NULL);
  return seen(c, "ffn", gate(c, linear(c, k, p->value, NULL), ACT_SIGMOID, r));
}
