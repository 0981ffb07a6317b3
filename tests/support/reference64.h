/* The operators' definitions in float64, written from the formulas of spec operators (sections at each) without a
 * thought for speed. Tests compare operators with them and take their differences. */
#ifndef LINNET_TESTS_REFERENCE64_H
#define LINNET_TESTS_REFERENCE64_H

#include "kernels/ops.h"
#include "kernels/rwkv6.h"

#include <stddef.h>

/* y[M,N] = x[M,K] w[N,K]^T + b; `right`: w is [K,N]. b may be NULL. 1.1 */
void linear64(size_t M, size_t K, size_t N, bool right, const double *x, const double *w, const double *b, double *y);
/* h [M,K*R], w2 [K,R,C] -> y [K,M,C]. 1.1 */
void low_rank64(size_t M, size_t K, size_t R, size_t C, const double *h, const double *w2, double *y);
double act64(act_kind kind, double x); /* 1.2 */
void norm64(size_t M, size_t groups, size_t n, double eps, const double *x, const double *w, const double *b,
            double *y); /* 1.3 */
/* Section 3. carry may be NULL. */
void shift64(const shift_plan *plan, size_t B, size_t T, size_t C, const double *x, const double *carry, double *y);
/* One mix: m [C], per token too if token_m [M,C] is given. */
void mix64(size_t M, size_t C, mix_kind kind, const double *x, const double *s, const double *m, const double *token_m,
           double *y);

typedef struct {
  size_t B, T, H, N;
  bool both, w_per_token, s0_per_row;
  const int32_t *order, *lengths;
} wkv64;

/* 2.3. u, s0, state may be NULL. */
void wkv6_64(const wkv64 *o, const double *r, const double *k, const double *v, const double *w, const double *u,
             const double *s0, double *y, double *state);

/* 2.1, C = H*N channels: w the raw decay [C]. s0 [B,3,C] the rows a, b, p, or NULL; sums [B,2,C] or NULL receives the
 * sums themselves at the end, A and B. Their exponents must stay in the range of a double. */
void wkv4_64(const wkv64 *o, const double *k, const double *v, const double *w, const double *u, const double *s0,
             double *y, double *sums);
/* 2.4. s0, state may be NULL. */
double decay7_64(wkv7_decay kind, double w);
void wkv7_64(const wkv64 *o, wkv7_decay kind, const double *r, const double *w, const double *k, const double *v,
             const double *a, const double *b, const double *s0, double *y, double *state);

/* The halves of an RWKV-6 block (language-models 3.4, rwkv-clip 4.2 and 4.3). Arrays in the order of their parameters.
 */
typedef struct {
  wkv64 wkv;
  size_t R, Rd; /* ranks of the mixes and of the decay */
  double eps;
  const shift_plan *plan;
} time_mix64_options;

typedef struct {
  const double *maa_x, *maa[MAA_ROWS], *maa_w1, *maa_w2, *decay, *decay_w1, *decay_w2, *bonus;
  const double *receptance, *key, *value, *gate, *output, *ln_w, *ln_b;
} time_mix64_weights;

void time_mix64(const time_mix64_options *o, const time_mix64_weights *p, const double *z, const double *carry,
                const double *s0, double *y, double *state);
void channel_mix64(size_t B, size_t T, size_t D, size_t F, const shift_plan *plan, mix_kind kind, const double *mix_k,
                   const double *mix_r, const double *key, const double *receptance, const double *value,
                   const double *z, const double *carry, double *y);

#endif
