/* The RWKV-6 recurrence, forward and backward; spec operators 2.3, language-models 3.4, 4.2 and 4.3.
 *
 * Everything here is one scan over a matrix X: read it, then decay it and add an outer product,
 *   out[n] = sum_m q[m] X[m][n],   X[m][n] = d X[m][n] + a[m] b[n],
 * with n contiguous. The decay d of a key channel belongs to the rows m when X is [key][value] and to the lanes n when
 * X is [value][key], so that no sum ever runs across lanes:
 * - y, by rows, onward: X = S, q = r, a = k, b = v
 * - gr, by lanes, onward: X = S^T, q = gy, a = v, b = k
 * - gk, by lanes, back: X = D^T (D is the state's cotangent), q = v, a = gy, b = r
 * - gv, by rows, back: X = D, q = k, a = r, b = gy
 *
 * Steps are taken in chunks; threads share the pairs (batch row, head).
 *
 * Decay gradients: with C = sum_j S[i][j] D[i][j] at a border between two tokens, a = r gr' and b = k gk' (primes:
 * without the bonus), G_t = C_{t+1} - b_t and C_t = G_t + a_t; gw = -exp(w) G. C is computed afresh at the end of every
 * chunk, which keeps rounding errors from growing with T, and G is exactly 0 where d underflows. Nothing is divided by
 * d. */
#include "kernels/cpu/recurrence.h"
#include "kernels/cpu/vecmath.h"

enum {
  CHUNK = 64,   /* steps from one border to the next */
  ROW_TILE = 4, /* rows of X taken together */
};

/* Decays below this leave nothing of a state that matters beside one new token (f32 keeps 24 bits). */
static const float FAINT_DECAY = 1e-9f;

/* One chunk's worth of steps of one head, in the order in which they are taken. */
typedef struct {
  size_t steps, N;
  const size_t *at;       /* [steps] where the token's head starts in q, a, b */
  const float *q, *a, *b; /* [B,T,C] each */
  const float *d;         /* the first step's decays; the next step's are d_stride floats on */
  ptrdiff_t d_stride;
  float *x;   /* [N][padded N] */
  float *out; /* [steps][padded N], written */
} scan;

/* `rows` rows of X for one step, by rows or by lanes. */
static inline __attribute__((always_inline)) void scan_rows_of(size_t N, size_t rows, bool by_lanes, float *restrict x,
                                                               size_t stride, const float *restrict q,
                                                               const float *restrict a, const float *restrict b,
                                                               const float *restrict d, float *restrict out) {
  if (rows == ROW_TILE) {
    float *restrict x0 = x, *restrict x1 = x + stride, *restrict x2 = x1 + stride, *restrict x3 = x2 + stride;
    const float q0 = q[0], q1 = q[1], q2 = q[2], q3 = q[3], a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    if (by_lanes) {
#pragma omp simd
      for (size_t n = 0; n < N; n++) {
        const float s0 = x0[n], s1 = x1[n], s2 = x2[n], s3 = x3[n];
        out[n] += (q0 * s0 + q1 * s1) + (q2 * s2 + q3 * s3);
        x0[n] = d[n] * s0 + a0 * b[n];
        x1[n] = d[n] * s1 + a1 * b[n];
        x2[n] = d[n] * s2 + a2 * b[n];
        x3[n] = d[n] * s3 + a3 * b[n];
      }
    } else {
      const float d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
#pragma omp simd
      for (size_t n = 0; n < N; n++) {
        const float s0 = x0[n], s1 = x1[n], s2 = x2[n], s3 = x3[n];
        out[n] += (q0 * s0 + q1 * s1) + (q2 * s2 + q3 * s3);
        x0[n] = d0 * s0 + a0 * b[n];
        x1[n] = d1 * s1 + a1 * b[n];
        x2[n] = d2 * s2 + a2 * b[n];
        x3[n] = d3 * s3 + a3 * b[n];
      }
    }
  } else {
    for (size_t m = 0; m < rows; m++) {
      float *restrict row = x + m * stride;
      const float qm = q[m], am = a[m];
#pragma omp simd
      for (size_t n = 0; n < N; n++) {
        out[n] += qm * row[n];
        row[n] = d[by_lanes ? n : m] * row[n] + am * b[n];
      }
    }
  }
}

static inline __attribute__((always_inline)) void scan_steps(const scan *p, size_t N, bool by_lanes) {
  const size_t stride = padded(N);
  for (size_t t = 0; t < p->steps; t++) {
    const float *q = p->q + p->at[t], *a = p->a + p->at[t], *b = p->b + p->at[t];
    const float *d = p->d + (ptrdiff_t)t * p->d_stride;
    float *out = p->out + t * stride;
    memset(out, 0, N * sizeof *out);
    size_t m = 0;
    for (; m + ROW_TILE <= N; m += ROW_TILE) {
      scan_rows_of(N, ROW_TILE, by_lanes, p->x + m * stride, stride, q + m, a + m, b, by_lanes ? d : d + m, out);
    }
    if (m < N) scan_rows_of(N, N - m, by_lanes, p->x + m * stride, stride, q + m, a + m, b, by_lanes ? d : d + m, out);
  }
}

/* The usual head sizes get code of their own, where the compiler knows the trip counts. */
static void scan_by_rows(const scan *p) {
  switch (p->N) {
  case 64:
    scan_steps(p, 64, false);
    break;
  case 32:
    scan_steps(p, 32, false);
    break;
  default:
    scan_steps(p, p->N, false);
  }
}

static void scan_by_lanes(const scan *p) {
  switch (p->N) {
  case 64:
    scan_steps(p, 64, true);
    break;
  case 32:
    scan_steps(p, 32, true);
    break;
  default:
    scan_steps(p, p->N, true);
  }
}

/* --- what forward and backward share ------------------------------------------------------------------------------ */

static size_t channels(const wkv6_args *a) { return a->H * a->N; }

/* The token visited at `step` of `steps` (of the order, or from its end when reversed). */
static size_t visited(const wkv6_args *a, size_t step, size_t steps) {
  return token_at(a->order, a->reverse ? steps - 1 - step : step);
}

/* Where the tokens of `count` steps from `first` on are in a [B,T,C] array, for head h; `at` in visiting order. */
static void locate(const wkv6_args *a, size_t b, size_t h, size_t first, size_t count, size_t steps, size_t *at) {
  for (size_t t = 0; t < count; t++) {
    at[t] = (b * a->T + visited(a, first + t, steps)) * channels(a) + h * a->N;
  }
}

/* Decay of each step, exp(-exp(w)), packed to [count][padded N] (or one row if w does not depend on the token). */
static void decays(const wkv6_args *a, size_t h, const size_t *at, size_t count, float *d) {
  const size_t N = a->N, stride = padded(N);
  for (size_t t = 0; t < (a->w_stride ? count : smaller(count, 1)); t++) {
    const float *w = a->w + (a->w_stride ? at[t] : h * N);
    float *row = d + t * stride;
#pragma omp simd
    for (size_t n = 0; n < N; n++) row[n] = vec_exp(-vec_exp(w[n]));
  }
}

static void load_transposed(size_t N, const float *from, float *x) {
  if (!from) {
    load_matrix(N, NULL, x);
    return;
  }
  for (size_t m = 0; m < N; m++) {
    for (size_t n = 0; n < N; n++) x[m * padded(N) + n] = from[n * N + m];
  }
}

static const float *start_state(const wkv6_args *a, size_t b, size_t h) {
  return a->s0 ? a->s0 + b * a->s0_stride + h * a->N * a->N : NULL;
}

/* The rows of tokens that are never visited. */
static void clear_unvisited(const wkv6_args *a, size_t b, size_t h, size_t steps, float *y) {
  for (size_t place = steps; y && place < a->T; place++) {
    memset(y + (b * a->T + token_at(a->order, place)) * channels(a) + h * a->N, 0, a->N * sizeof *y);
  }
}

static float dot(size_t n, const float *x, const float *y) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

static float dot3(size_t n, const float *x, const float *y, const float *z) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += x[i] * y[i] * z[i];
  return sum;
}

static bool worth_threads(const wkv6_args *a) { return a->B * a->H * a->T * a->N * a->N >= 4 * CPU_PARALLEL_MIN; }

/* --- forward ------------------------------------------------------------------------------------------------------ */

/* y (+)= out + (sum_i r u k) v */
static void write_y(const wkv6_args *a, size_t h, const scan *p, float *y, bool acc) {
  const size_t N = a->N;
  for (size_t t = 0; t < p->steps; t++) {
    const size_t at = p->at[t];
    const float *v = a->v + at, *out = p->out + t * padded(N);
    const float bonus = a->u ? dot3(N, a->r + at, a->u + h * N, a->k + at) : 0.0f;
    float *to = y + at;
#pragma omp simd
    for (size_t n = 0; n < N; n++) to[n] = (acc ? to[n] : 0.0f) + (out[n] + bonus * v[n]);
  }
}

static void forward_head(const wkv6_args *a, size_t b, size_t h, float *y, bool acc, float *sT, float *work) {
  const size_t N = a->N, stride = padded(N), steps = row_length(a->lengths, a->T, b);
  float *x = work, *d = x + N * stride, *out = d + CHUNK * stride;
  size_t at[CHUNK];
  load_matrix(N, start_state(a, b, h), x);
  for (size_t first = 0; first < steps; first += CHUNK) {
    const size_t count = smaller(CHUNK, steps - first);
    locate(a, b, h, first, count, steps, at);
    decays(a, h, at, count, d);
    const scan s = {.steps = count,
                    .N = N,
                    .at = at,
                    .q = a->r,
                    .a = a->k,
                    .b = a->v,
                    .d = d,
                    .d_stride = a->w_stride ? (ptrdiff_t)stride : 0,
                    .x = x,
                    .out = out};
    scan_by_rows(&s);
    write_y(a, h, &s, y, acc);
  }
  if (sT) store_matrix(N, x, sT + (b * a->H + h) * N * N);
  if (!acc) clear_unvisited(a, b, h, steps, y);
}

static bool wkv6_forward(const wkv6_args *a, float *y, bool acc, float *sT) {
  const size_t N = a->N;
  workspace space;
  if (!workspace_open(&space, (N + 2 * CHUNK) * padded(N), 0)) return false;
#pragma omp parallel for schedule(dynamic, 1) if (worth_threads(a))
  for (size_t task = 0; task < a->B * a->H; task++) {
    forward_head(a, task / a->H, task % a->H, y, acc, sT, workspace_mine(&space, 0));
  }
  free(space.block);
  return true;
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

typedef struct {
  const wkv6_args *a;
  const float *gy, *gsT;
  bool acc;
  float *gr, *gk, *gv, *gw, *gs0; /* gs0: [B,H,N,N] */
  float *gu, *gw_shared;          /* [B,H,N] partial sums, or NULL */
} wkv6_grad;

/* One thread's work space, for a head with `chunks` chunks. */
typedef struct {
  float *lanes, *rows; /* S^T, then D^T; D */
  float *out;          /* a scan's output */
  float *d;            /* decays of every step, or of one if they are all the same */
  float *a_sums;       /* a_t of every step */
  float *borders;      /* S^T at the start of each chunk and at the very end */
  float *sum;          /* C of write_gw */
} head_work;

static size_t head_work_floats(const wkv6_args *a) {
  const size_t stride = padded(a->N), chunks = (a->T + CHUNK - 1) / CHUNK;
  return 2 * a->N * stride + (1 + 2 * chunks) * CHUNK * stride + (chunks + 1) * a->N * stride + stride;
}

static head_work head_work_make(const wkv6_args *a, float *at) {
  const size_t stride = padded(a->N), matrix = a->N * stride, chunks = (a->T + CHUNK - 1) / CHUNK;
  head_work w;
  w.lanes = at;
  w.rows = w.lanes + matrix;
  w.out = w.rows + matrix;
  w.d = w.out + CHUNK * stride;
  w.a_sums = w.d + chunks * CHUNK * stride;
  w.borders = w.a_sums + chunks * CHUNK * stride;
  w.sum = w.borders + (chunks + 1) * matrix;
  return w;
}

static ptrdiff_t decay_stride(const wkv6_args *a) { return a->w_stride ? (ptrdiff_t)padded(a->N) : 0; }

/* gr (+)= out + u k (v.gy), gu += r k (v.gy), a_t = r out, for one chunk of the onward scan. */
static void write_gr(const wkv6_grad *p, size_t h, size_t task, const scan *s, float *a_sums) {
  const wkv6_args *a = p->a;
  const size_t N = a->N;
  const float *u = a->u ? a->u + h * N : NULL;
  float *gu = p->gu ? p->gu + task * N : NULL;
  for (size_t t = 0; t < s->steps; t++) {
    const size_t at = s->at[t];
    const float *r = a->r + at, *k = a->k + at, *out = s->out + t * padded(N);
    const float vg = u || gu ? dot(N, a->v + at, p->gy + at) : 0.0f;
    float *sums = a_sums + t * padded(N);
#pragma omp simd
    for (size_t n = 0; n < N; n++) sums[n] = r[n] * out[n];
    if (gu) {
#pragma omp simd
      for (size_t n = 0; n < N; n++) gu[n] += r[n] * k[n] * vg;
    }
    if (p->gr) {
      float *gr = p->gr + at;
#pragma omp simd
      for (size_t n = 0; n < N; n++) gr[n] = (p->acc ? gr[n] : 0.0f) + (out[n] + (u ? u[n] * k[n] * vg : 0.0f));
    }
  }
}

static void sweep_onward(const wkv6_grad *p, size_t b, size_t h, size_t steps, const head_work *w) {
  const wkv6_args *a = p->a;
  const size_t N = a->N, stride = padded(N), matrix = N * stride;
  size_t at[CHUNK];
  load_transposed(N, start_state(a, b, h), w->lanes);
  for (size_t first = 0; first < steps; first += CHUNK) {
    const size_t count = smaller(CHUNK, steps - first);
    locate(a, b, h, first, count, steps, at);
    const scan s = {.steps = count,
                    .N = N,
                    .at = at,
                    .q = p->gy,
                    .a = a->v,
                    .b = a->k,
                    .d = w->d + (decay_stride(a) ? first * stride : 0),
                    .d_stride = decay_stride(a),
                    .x = w->lanes,
                    .out = w->out};
    memcpy(w->borders + first / CHUNK * matrix, w->lanes, matrix * sizeof(float));
    scan_by_lanes(&s);
    write_gr(p, h, b * a->H + h, &s, w->a_sums + first * stride);
  }
  memcpy(w->borders + (steps + CHUNK - 1) / CHUNK * matrix, w->lanes, matrix * sizeof(float));
}

/* gk (+)= out + u r (v.gy) for one chunk of the backward scan by lanes. */
static void write_gk(const wkv6_grad *p, size_t h, const scan *s) {
  const wkv6_args *a = p->a;
  const size_t N = a->N;
  const float *u = a->u ? a->u + h * N : NULL;
  for (size_t t = 0; t < s->steps; t++) {
    const size_t at = s->at[t];
    const float *r = a->r + at, *out = s->out + t * padded(N);
    const float vg = u ? dot(N, a->v + at, p->gy + at) : 0.0f;
    float *gk = p->gk + at;
#pragma omp simd
    for (size_t n = 0; n < N; n++) gk[n] = (p->acc ? gk[n] : 0.0f) + (out[n] + (u ? u[n] * r[n] * vg : 0.0f));
  }
}

/* gw of one chunk, from its last step to its first. `sum` is C after the chunk; a_sums are those of the last step, the
 * steps before it lie before. `from_zero`: the state before the chunk is zero, and so is the first step's gradient. */
static void write_gw(const wkv6_grad *p, size_t h, size_t task, const scan *s, const float *a_sums, float *sum,
                     bool from_zero) {
  const wkv6_args *a = p->a;
  const size_t N = a->N, stride = padded(N);
  for (size_t t = 0; t < s->steps; t++) {
    const size_t at = s->at[t];
    const float *k = a->k + at, *out = s->out + t * stride, *d = s->d + (ptrdiff_t)t * s->d_stride;
    const float *a_t = a_sums - t * stride, *w = a->w + (a->w_stride ? at : h * N);
    const bool none = from_zero && t + 1 == s->steps, add = p->acc || !a->w_stride;
    float *gw = a->w_stride ? p->gw + at : p->gw_shared + task * N;
#pragma omp simd
    for (size_t n = 0; n < N; n++) {
      const bool faint = none || d[n] < FAINT_DECAY; /* exp(w) may even be infinite there */
      const float g = faint ? 0.0f : sum[n] - k[n] * out[n], slope = faint ? 0.0f : -vec_exp(w[n]) * g;
      sum[n] = g + a_t[n];
      gw[n] = (add ? gw[n] : 0.0f) + slope;
    }
  }
}

/* gv (+)= out + (sum_i u r k) gy for one chunk of the backward scan by rows. */
static void write_gv(const wkv6_grad *p, size_t h, const scan *s) {
  const wkv6_args *a = p->a;
  const size_t N = a->N;
  for (size_t t = 0; t < s->steps; t++) {
    const size_t at = s->at[t];
    const float *out = s->out + t * padded(N), *gy = p->gy + at;
    const float bonus = a->u ? dot3(N, a->r + at, a->u + h * N, a->k + at) : 0.0f;
    float *gv = p->gv + at;
#pragma omp simd
    for (size_t n = 0; n < N; n++) gv[n] = (p->acc ? gv[n] : 0.0f) + (out[n] + bonus * gy[n]);
  }
}

/* sum[n] = sum_m x[m][n] y[m][n] */
static void column_dots(size_t N, const float *x, const float *y, float *sum) {
  memset(sum, 0, N * sizeof *sum);
  for (size_t m = 0; m < N; m++) {
    const float *row = x + m * padded(N), *other = y + m * padded(N);
#pragma omp simd
    for (size_t n = 0; n < N; n++) sum[n] += row[n] * other[n];
  }
}

static void sweep_back(const wkv6_grad *p, size_t b, size_t h, size_t steps, const head_work *w) {
  const wkv6_args *a = p->a;
  const size_t N = a->N, stride = padded(N), matrix = N * stride, task = b * a->H + h;
  const float *gsT = p->gsT ? p->gsT + task * N * N : NULL;
  const bool wants_w = p->gw || p->gw_shared;
  load_transposed(N, gsT, w->lanes);
  load_matrix(N, gsT, w->rows);
  for (size_t chunk = (steps + CHUNK - 1) / CHUNK; chunk-- > 0;) {
    const size_t first = chunk * CHUNK, count = smaller(CHUNK, steps - first), last = first + count - 1;
    size_t onward[CHUNK], at[CHUNK];
    locate(a, b, h, first, count, steps, onward);
    for (size_t t = 0; t < count; t++) at[t] = onward[count - 1 - t];
    scan s = {.steps = count,
              .N = N,
              .at = at,
              .q = a->v,
              .a = p->gy,
              .b = a->r,
              .d = w->d + (decay_stride(a) ? last * stride : 0),
              .d_stride = -decay_stride(a),
              .x = w->lanes,
              .out = w->out};
    if (wants_w) column_dots(N, w->borders + (chunk + 1) * matrix, w->lanes, w->sum);
    if (wants_w || p->gk) scan_by_lanes(&s);
    if (p->gk) write_gk(p, h, &s);
    if (wants_w) write_gw(p, h, task, &s, w->a_sums + last * stride, w->sum, !a->s0 && first == 0);
    if (!p->gv && !p->gs0) continue;
    s.q = a->k, s.a = a->r, s.b = p->gy, s.x = w->rows;
    scan_by_rows(&s);
    if (p->gv) write_gv(p, h, &s);
  }
  if (p->gs0) store_matrix(N, w->rows, p->gs0 + task * N * N);
}

static void backward_head(const wkv6_grad *p, size_t b, size_t h, const head_work *w) {
  const wkv6_args *a = p->a;
  const size_t steps = row_length(a->lengths, a->T, b);
  size_t at[CHUNK];
  for (size_t first = 0; first < steps; first += CHUNK) {
    const size_t count = smaller(CHUNK, steps - first);
    locate(a, b, h, first, count, steps, at);
    decays(a, h, at, count, w->d + (decay_stride(a) ? first * padded(a->N) : 0));
  }
  if (p->gr || p->gu || p->gw || p->gw_shared) sweep_onward(p, b, h, steps, w);
  sweep_back(p, b, h, steps, w);
  if (p->acc) return;
  clear_unvisited(a, b, h, steps, p->gr);
  clear_unvisited(a, b, h, steps, p->gk);
  clear_unvisited(a, b, h, steps, p->gv);
  clear_unvisited(a, b, h, steps, p->gw);
}

static bool wkv6_backward(const wkv6_args *a, const float *gy, const float *gsT, bool acc, float *gr, float *gk,
                          float *gv, float *gw, float *gu, float *gs0) {
  const size_t C = channels(a), states = C * a->N;
  const bool shared_w = gw && !a->w_stride, shared_s0 = gs0 && !a->s0_stride;
  const size_t u_parts = gu ? a->B * C : 0, w_parts = shared_w ? a->B * C : 0, s0_parts = shared_s0 ? a->B * states : 0;
  const size_t common = u_parts + w_parts + s0_parts;
  workspace space;
  if (!workspace_open(&space, head_work_floats(a), common)) return false;
  memset(space.common, 0, common * sizeof(float));
  float *u_sums = space.common, *w_sums = u_sums + u_parts, *s0_sums = w_sums + w_parts;
  const wkv6_grad p = {.a = a,
                       .gy = gy,
                       .gsT = gsT,
                       .acc = acc,
                       .gr = gr,
                       .gk = gk,
                       .gv = gv,
                       .gw = shared_w ? NULL : gw,
                       .gs0 = shared_s0 ? s0_sums : gs0,
                       .gu = gu ? u_sums : NULL,
                       .gw_shared = shared_w ? w_sums : NULL};
#pragma omp parallel for schedule(dynamic, 1) if (worth_threads(a))
  for (size_t task = 0; task < a->B * a->H; task++) {
    const head_work w = head_work_make(a, workspace_mine(&space, common));
    backward_head(&p, task / a->H, task % a->H, &w);
  }
  if (gu) add_parts(a->B, C, u_sums, gu);
  if (shared_w) add_parts(a->B, C, w_sums, gw);
  if (shared_s0) add_parts(a->B, states, s0_sums, gs0);
  free(space.block);
  return true;
}

void CPU_FAMILY(wkv6)(cpu_kernels *table);
void CPU_FAMILY(wkv6)(cpu_kernels *table) {
  table->wkv6_forward = wkv6_forward;
  table->wkv6_backward = wkv6_backward;
}
