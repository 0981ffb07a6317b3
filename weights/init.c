/* Initial values of parameters, as weights/params.h states them. */
#include <math.h>

#include "weights/params.h"

static double depth(const init_site *s) { return s->n_layers > 1 ? (double)s->layer / (s->n_layers - 1) : 0; }
static double height(const init_site *s) { return 1 - (double)s->layer / s->n_layers; }
/* c / (C-1), and 0 when there is only one channel. */
static double along(int64_t c, int64_t n) { return n > 1 ? (double)c / (double)(n - 1) : 0; }

void init_constant(init_site *s, float *d, int64_t n) {
  for (int64_t i = 0; i < n; i++) d[i] = s->gain;
}

void init_uniform(init_site *s, float *d, int64_t n) {
  for (int64_t i = 0; i < n; i++) d[i] = rng_range(&s->random, -s->gain, s->gain);
}

void init_normal(init_site *s, float *d, int64_t n) {
  for (int64_t i = 0; i < n; i++) d[i] = s->gain * rng_normal(&s->random);
}

/* N(0, gain^2 / n) */
static void normal_over(init_site *s, double over, float *d, int64_t n) {
  s->gain /= (float)sqrt(over);
  init_normal(s, d, n);
}

void init_normal_in(init_site *s, float *d, int64_t n) { normal_over(s, (double)s->dim[s->n_dims - 1], d, n); }
void init_normal_out(init_site *s, float *d, int64_t n) { normal_over(s, (double)s->dim[0], d, n); }
void init_residual(init_site *s, float *d, int64_t n) { normal_over(s, 2.0 * (double)s->dim[0] * s->n_layers, d, n); }

void init_fan_in(init_site *s, float *d, int64_t n) {
  double fan = 1;
  for (int i = 1; i < s->n_dims; i++) fan *= (double)s->dim[i];
  float bound = (float)(1 / sqrt(fan));
  for (int64_t i = 0; i < n; i++) d[i] = rng_range(&s->random, -bound, bound);
}

/* Gram-Schmidt, applied twice for accuracy, to the shorter side's vectors of a Gaussian matrix: row i starts at i*step
 * and its elements lie `stride` apart. The result is the Q whose R has a positive diagonal. */
static void orthonormalise(float *d, int64_t rows, int64_t length, int64_t step, int64_t stride) {
  for (int64_t i = 0; i < rows; i++) {
    float *v = d + i * step;
    for (int pass = 0; pass < 2; pass++)
      for (int64_t j = 0; j < i; j++) {
        const float *u = d + j * step;
        double dot = 0;
        for (int64_t e = 0; e < length; e++) dot += (double)u[e * stride] * v[e * stride];
        for (int64_t e = 0; e < length; e++) v[e * stride] -= (float)(dot * u[e * stride]);
      }
    double norm = 0;
    for (int64_t e = 0; e < length; e++) norm += (double)v[e * stride] * v[e * stride];
    float inverse = (float)(1 / sqrt(norm));
    for (int64_t e = 0; e < length; e++) v[e * stride] *= inverse;
  }
}

void init_orthogonal(init_site *s, float *d, int64_t n) {
  int64_t out = s->dim[0], in = n / out;
  for (int64_t i = 0; i < n; i++) d[i] = rng_normal(&s->random);
  if (out <= in)
    orthonormalise(d, out, in, in, 1);
  else
    orthonormalise(d, in, out, 1, in);
  for (int64_t i = 0; i < n; i++) d[i] *= s->gain;
}

void init_orthogonal_tall(init_site *s, float *d, int64_t n) {
  const double out = (double)s->dim[0], in = (double)n / out;
  if (out > in) s->gain *= (float)sqrt(out / in);
  init_orthogonal(s, d, n);
}

void init_maa(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(1 - pow((double)c / (double)n, s->gain * height(s)));
}

void init_maa_value(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(1 - (pow((double)c / (double)n, height(s)) + 0.3 * depth(s)));
}

void init_maa_ffn(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(1 - pow((double)c / (double)n, pow(height(s), s->gain)));
}

void init_keep(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)pow((double)c / (double)n, s->gain * height(s));
}

void init_keep_value(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(pow((double)c / (double)n, height(s)) + 0.3 * depth(s));
}

void init_decay(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(-6 + 5 * pow(along(c, n), 0.7 + 1.3 * depth(s)));
}

void init_decay4(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(-5 + 8 * pow(along(c, n), 0.7 + 1.3 * depth(s)));
}

void init_bonus(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(depth(s) * (1 - along(c, n)) + 0.1 * (double)((c + 1) % 3 - 1));
}

void init_bonus4(init_site *s, float *d, int64_t n) {
  (void)s;
  for (int64_t c = 0; c < n; c++) d[c] = (float)(log(0.3) + 0.5 * (double)((c + 1) % 3 - 1));
}

void init_bonus_heads(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(depth(s) * (1 - along(c, n)));
}

void init_depth_norm(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)pow((1.0 + s->layer) / s->n_layers, 0.7);
}

/* -1 to 1 within every head of `gain` channels, flat in its middle. */
static double zigzag(const init_site *s, int64_t c) {
  const int64_t N = (int64_t)s->gain;
  const double q = N > 1 ? 2 * along(c % N, N) - 1 : 0;
  return q * fabs(q);
}

void init_decay7(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++)
    d[c] = (float)(-5.5 + 6 * pow(along(c, n), 1 + pow(depth(s), 0.3)) + 2.5 * zigzag(s, c));
}

void init_rate7(init_site *s, float *d, int64_t n) {
  for (int64_t c = 0; c < n; c++) d[c] = (float)(-0.19 + 0.3 * zigzag(s, c) + 0.4 * (along(c, n) - 0.5));
}

void init_value7(init_site *s, float *d, int64_t n) {
  (void)s;
  for (int64_t c = 0; c < n; c++) d[c] = (float)(0.73 - 0.4 * (along(c, n) - 0.5));
}

void init_key_scale7(init_site *s, float *d, int64_t n) {
  (void)s;
  for (int64_t c = 0; c < n; c++) d[c] = (float)(0.71 - 0.1 * (along(c, n) - 0.5));
}
