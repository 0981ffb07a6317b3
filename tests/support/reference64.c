#include "tests/support/reference64.h"

#include "tests/support/kernel_check.h"

#include <math.h>
#include <stdlib.h>

void linear64(size_t M, size_t K, size_t N, bool right, const double *x, const double *w, const double *b, double *y) {
  for (size_t m = 0; m < M; m++)
    for (size_t n = 0; n < N; n++) {
      double sum = b ? b[n] : 0;
      for (size_t k = 0; k < K; k++) sum += x[m * K + k] * (right ? w[k * N + n] : w[n * K + k]);
      y[m * N + n] = sum;
    }
}

void low_rank64(size_t M, size_t K, size_t R, size_t C, const double *h, const double *w2, double *y) {
  for (size_t k = 0; k < K; k++)
    for (size_t m = 0; m < M; m++)
      for (size_t c = 0; c < C; c++) {
        double sum = 0;
        for (size_t r = 0; r < R; r++) sum += h[m * K * R + k * R + r] * w2[(k * R + r) * C + c];
        y[(k * M + m) * C + c] = sum;
      }
}

static double sigmoid64(double x) { return 1 / (1 + exp(-x)); }

double act64(act_kind kind, double x) {
  switch (kind) {
  case ACT_NONE:
    return x;
  case ACT_SIGMOID:
    return sigmoid64(x);
  case ACT_TANH:
    return tanh(x);
  case ACT_SILU:
    return x * sigmoid64(x);
  case ACT_RELU:
    return x > 0 ? x : 0;
  case ACT_RELU2:
    return x > 0 ? x * x : 0;
  case ACT_GELU:
    return x * 0.5 * (1 + erf(x / sqrt(2)));
  case ACT_QUICK_GELU:
    return x * sigmoid64(1.702 * x);
  case ACT_EXP:
    return exp(x);
  }
  return NAN;
}

void norm64(size_t M, size_t groups, size_t n, double eps, const double *x, const double *w, const double *b,
            double *y) {
  for (size_t i = 0; i < M * groups; i++) {
    const double *from = x + i * n;
    double mean = 0, variance = 0;
    for (size_t c = 0; c < n; c++) mean += from[c] / (double)n;
    for (size_t c = 0; c < n; c++) variance += (from[c] - mean) * (from[c] - mean) / (double)n;
    for (size_t c = 0; c < n; c++) {
      size_t channel = i % groups * n + c;
      double value = (from[c] - mean) / sqrt(variance + eps);
      y[i * n + c] = w ? value * w[channel] + b[channel] : value;
    }
  }
}

/* What channel c of the token at place p of the order reads. */
static double shifted(const shift_plan *plan, int64_t p, int64_t T, size_t C, size_t c, const double *x,
                      const double *carry) {
  const int32_t *order = plan->order ? plan->order->token : NULL;
  int64_t token = order ? order[p] : p;
  for (int g = 0; g < plan->n_spans; g++) {
    const shift_span *s = &plan->span[g];
    int inside = (int)(c % (size_t)plan->period);
    if (inside < s->c0 || inside >= s->c1) continue;
    bool behind = s->source == SHIFT_GRID && token >= (int64_t)plan->h * plan->w; /* a class token */
    if (s->source == SHIFT_SELF || behind) return x[(size_t)token * C + c];
    if (s->source == SHIFT_STEP) {
      int64_t from = p - s->step;
      if (from == -1 && s->step == 1) return carry ? carry[c] : 0;
      return from >= 0 && from < T ? x[(size_t)(order ? order[from] : from) * C + c] : 0;
    }
    int64_t column = token % plan->w + s->dx, row = token / plan->w + s->dy;
    bool outside = column < 0 || column >= plan->w || row < 0 || row >= plan->h;
    return outside ? 0 : x[(size_t)(row * plan->w + column) * C + c];
  }
  return NAN;
}

void shift64(const shift_plan *plan, size_t B, size_t T, size_t C, const double *x, const double *carry, double *y) {
  for (size_t b = 0; b < B; b++)
    for (size_t p = 0; p < T; p++)
      for (size_t c = 0; c < C; c++) {
        size_t token = plan->order ? (size_t)plan->order->token[p] : p;
        y[(b * T + token) * C + c] =
            shifted(plan, (int64_t)p, (int64_t)T, C, c, x + b * T * C, carry ? carry + b * C : NULL);
      }
}

void mix64(size_t M, size_t C, mix_kind kind, const double *x, const double *s, const double *m, const double *token_m,
           double *y) {
  for (size_t i = 0; i < M * C; i++) {
    double amount = m[i % C] + (token_m ? token_m[i] : 0);
    y[i] = kind == MIX_KEEP ? x[i] * amount + s[i] * (1 - amount) : x[i] + (s[i] - x[i]) * amount;
  }
}

/* --- recurrence --------------------------------------------------------------------------------------------------- */

/* One direction of one head, added to y; S [N,N] is the state, key first. */
static void scan64(const wkv64 *o, size_t b, size_t h, bool from_end, const double *r, const double *k, const double *v,
                   const double *w, double *S, double *y) {
  size_t N = o->N, C = o->H * N, steps = o->lengths ? (size_t)o->lengths[b] : o->T;
  for (size_t p = 0; p < steps; p++) {
    size_t place = from_end ? steps - 1 - p : p, token = o->order ? (size_t)o->order[place] : place;
    size_t at = (b * o->T + token) * C + h * N;
    for (size_t i = 0; i < N; i++) {
      double decay = exp(-exp(w[o->w_per_token ? at + i : h * N + i]));
      for (size_t j = 0; j < N; j++) {
        double *cell = S + i * N + j;
        y[at + j] += r[at + i] * *cell;
        *cell = decay * *cell + k[at + i] * v[at + j];
      }
    }
  }
}

static void bonus64(const wkv64 *o, size_t b, size_t h, const double *r, const double *k, const double *v,
                    const double *u, double *y) {
  size_t N = o->N, C = o->H * N, steps = o->lengths ? (size_t)o->lengths[b] : o->T;
  for (size_t p = 0; p < steps; p++) {
    size_t token = o->order ? (size_t)o->order[p] : p, at = (b * o->T + token) * C + h * N;
    for (size_t i = 0; i < N; i++)
      for (size_t j = 0; j < N; j++) y[at + j] += r[at + i] * u[h * N + i] * k[at + i] * v[at + j];
  }
}

void wkv6_64(const wkv64 *o, const double *r, const double *k, const double *v, const double *w, const double *u,
             const double *s0, double *y, double *state) {
  size_t N = o->N, matrix = N * N;
  for (size_t i = 0; i < o->B * o->T * o->H * N; i++) y[i] = 0;
  for (size_t b = 0; b < o->B; b++)
    for (size_t h = 0; h < o->H; h++) {
      double *S = zeros64(matrix);
      for (size_t i = 0; s0 && i < matrix; i++) S[i] = s0[((o->s0_per_row ? b * o->H : 0) + h) * matrix + i];
      scan64(o, b, h, false, r, k, v, w, S, y);
      for (size_t i = 0; state && i < matrix; i++) state[(b * o->H + h) * matrix + i] = S[i];
      for (size_t i = 0; i < matrix; i++) S[i] = 0;
      if (o->both) scan64(o, b, h, true, r, k, v, w, S, y);
      if (u) bonus64(o, b, h, r, k, v, u, y);
      free(S);
    }
}

static size_t token64(const wkv64 *o, size_t place) { return o->order ? (size_t)o->order[place] : place; }
static size_t steps64(const wkv64 *o, size_t b) { return o->lengths ? (size_t)o->lengths[b] : o->T; }

void wkv4_64(const wkv64 *o, const double *k, const double *v, const double *w, const double *u, const double *s0,
             double *y, double *sums) {
  size_t C = o->H * o->N;
  for (size_t i = 0; i < o->B * o->T * C; i++) y[i] = 0;
  for (size_t b = 0; b < o->B; b++)
    for (size_t c = 0; c < C; c++) {
      const double *start = s0 ? s0 + b * 3 * C + c : NULL;
      double A = start ? start[0] * exp(start[2 * C]) : 0, B = start ? start[C] * exp(start[2 * C]) : 0;
      for (size_t p = 0; p < steps64(o, b); p++) {
        size_t at = (b * o->T + token64(o, p)) * C + c;
        double own = exp(u[c] + k[at]), decay = exp(-exp(w[c]));
        y[at] = (A + own * v[at]) / (B + own);
        A = decay * A + exp(k[at]) * v[at];
        B = decay * B + exp(k[at]);
      }
      if (sums) sums[b * 2 * C + c] = A, sums[(b * 2 + 1) * C + c] = B;
    }
}

double decay7_64(wkv7_decay kind, double w) { return exp(kind == DECAY_SIGMOID ? -exp(-0.5) * sigmoid64(w) : -exp(w)); }

/* One token of one head; z [N] is scratch. */
static void step7_64(size_t N, wkv7_decay kind, const double *r, const double *w, const double *k, const double *v,
                     const double *a, const double *b, double *S, double *z, double *y) {
  for (size_t j = 0; j < N; j++) {
    z[j] = 0;
    for (size_t i = 0; i < N; i++) z[j] += a[i] * S[i * N + j];
  }
  for (size_t i = 0; i < N; i++)
    for (size_t j = 0; j < N; j++) {
      S[i * N + j] = decay7_64(kind, w[i]) * S[i * N + j] + b[i] * z[j] + k[i] * v[j];
      y[j] += r[i] * S[i * N + j];
    }
}

void wkv7_64(const wkv64 *o, wkv7_decay kind, const double *r, const double *w, const double *k, const double *v,
             const double *a, const double *b, const double *s0, double *y, double *state) {
  size_t N = o->N, matrix = N * N;
  double *S = zeros64(matrix), *z = zeros64(N);
  for (size_t i = 0; i < o->B * o->T * o->H * N; i++) y[i] = 0;
  for (size_t row = 0; row < o->B; row++)
    for (size_t h = 0; h < o->H; h++) {
      for (size_t i = 0; i < matrix; i++) S[i] = s0 ? s0[((o->s0_per_row ? row * o->H : 0) + h) * matrix + i] : 0;
      for (size_t p = 0; p < steps64(o, row); p++) {
        size_t at = ((row * o->T + token64(o, p)) * o->H + h) * N;
        step7_64(N, kind, r + at, w + at, k + at, v + at, a + at, b + at, S, z, y + at);
      }
      for (size_t i = 0; state && i < matrix; i++) state[(row * o->H + h) * matrix + i] = S[i];
    }
  free(S), free(z);
}

/* --- blocks ------------------------------------------------------------------------------------------------------- */

void time_mix64(const time_mix64_options *o, const time_mix64_weights *p, const double *z, const double *carry,
                const double *s0, double *y, double *state) {
  enum { W, K, V, R, G };
  size_t B = o->wkv.B, T = o->wkv.T, D = o->wkv.H * o->wkv.N, M = B * T, n = M * D;
  double *s = zeros64(n), *mixed = zeros64(n), *h = zeros64(M * MAA_ROWS * o->R), *m = zeros64(MAA_ROWS * n);
  double *low = zeros64(M * o->Rd), *wkv = zeros64(n), *x[MAA_ROWS], *projected[MAA_ROWS];
  shift64(o->plan, B, T, D, z, carry, s);
  mix64(M, D, MIX_TOWARD, z, s, p->maa_x, NULL, mixed);
  linear64(M, D, MAA_ROWS * o->R, true, mixed, p->maa_w1, NULL, h);
  for (size_t i = 0; i < M * MAA_ROWS * o->R; i++) h[i] = tanh(h[i]);
  low_rank64(M, MAA_ROWS, o->R, D, h, p->maa_w2, m);
  for (size_t c = 0; c < MAA_ROWS; c++) {
    x[c] = zeros64(n);
    projected[c] = zeros64(n);
    mix64(M, D, MIX_TOWARD, z, s, p->maa[c], m + c * n, x[c]);
  }
  linear64(M, D, o->Rd, true, x[W], p->decay_w1, NULL, low);
  for (size_t i = 0; i < M * o->Rd; i++) low[i] = tanh(low[i]);
  linear64(M, o->Rd, D, true, low, p->decay_w2, p->decay, projected[W]);
  linear64(M, D, D, false, x[K], p->key, NULL, projected[K]);
  linear64(M, D, D, false, x[V], p->value, NULL, projected[V]);
  linear64(M, D, D, false, x[R], p->receptance, NULL, projected[R]);
  linear64(M, D, D, false, x[G], p->gate, NULL, projected[G]);
  wkv6_64(&o->wkv, projected[R], projected[K], projected[V], projected[W], p->bonus, s0, wkv, state);
  norm64(M, o->wkv.H, o->wkv.N, o->eps, wkv, p->ln_w, p->ln_b, mixed);
  for (size_t i = 0; i < n; i++) mixed[i] *= act64(ACT_SILU, projected[G][i]);
  linear64(M, D, D, false, mixed, p->output, NULL, y);
  for (size_t c = 0; c < MAA_ROWS; c++) free(x[c]), free(projected[c]);
  free(s), free(mixed), free(h), free(m), free(low), free(wkv);
}

void channel_mix64(size_t B, size_t T, size_t D, size_t F, const shift_plan *plan, mix_kind kind, const double *mix_k,
                   const double *mix_r, const double *key, const double *receptance, const double *value,
                   const double *z, const double *carry, double *y) {
  size_t M = B * T;
  double *s = zeros64(M * D), *x = zeros64(M * D), *k = zeros64(M * F), *r = zeros64(M * D);
  shift64(plan, B, T, D, z, carry, s);
  mix64(M, D, kind, z, s, mix_k, NULL, x);
  linear64(M, D, F, false, x, key, NULL, k);
  for (size_t i = 0; i < M * F; i++) k[i] = act64(ACT_RELU2, k[i]);
  mix64(M, D, kind, z, s, mix_r, NULL, x);
  linear64(M, D, D, false, x, receptance, NULL, r);
  linear64(M, F, D, false, k, value, NULL, y);
  for (size_t i = 0; i < M * D; i++) y[i] *= sigmoid64(r[i]);
  free(s), free(x), free(k), free(r);
}
