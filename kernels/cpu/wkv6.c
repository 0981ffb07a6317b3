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
 * Steps are taken in chunks, whose vectors are packed into rows first. A tile of X stays in registers for a whole
 * chunk; threads share the pairs (batch row, head).
 *
 * Decay gradients: with C = sum_j S[i][j] D[i][j] at a border between two tokens, a = r gr' and b = k gk' (primes:
 * without the bonus), G_t = C_{t+1} - b_t and C_t = G_t + a_t; gw = -exp(w) G. C is computed afresh at the end of every
 * chunk, which keeps rounding errors from growing with T, and G is exactly 0 where d underflows. Nothing is divided by
 * d. */
#include "kernels/cpu/recurrence.h"
#include "kernels/cpu/vecmath.h"

enum {
  CHUNK = 32, /* steps from one border to the next; their rows fit into the first cache */
#if defined(__AVX512F__)
  TILE_ROWS = 8, /* of X, in registers; a divisor of LANES */
#else
  TILE_ROWS = 4,
#endif
  TILE_WIDTH = 2, /* registers of lanes */
};

/* Decays below this leave nothing of a state that matters beside one new token (f32 keeps 24 bits). */
static const float FAINT_DECAY = 1e-9f;

/* One chunk's worth of steps of one head, in the order in which they are taken. Rows and X are [padded N] wide and X
 * has as many rows; of q, a and b what is beyond N is zero. */
typedef struct {
  size_t steps, stride;   /* stride: padded N */
  const float *q, *a, *b; /* the first step's rows; the next step's are `along` floats on */
  ptrdiff_t along;
  const float *d; /* decays of the first step; the next step's are d_along floats on */
  ptrdiff_t d_along;
  const float *from; /* X before the steps, NULL = zero */
  float *to;         /* X after them; may be `from` */
  float *out;        /* [steps] rows, written */
} scan;

/* The tile of X from row m and lane n on, `wide` registers. */
static inline __attribute__((always_inline)) void scan_tile(const scan *p, size_t wide, bool by_lanes, size_t m,
                                                            size_t n) {
  vec x[TILE_ROWS][TILE_WIDTH];
  for (size_t i = 0; i < TILE_ROWS; i++) {
    for (size_t l = 0; l < wide; l++) {
      x[i][l] = p->from ? load(p->from + (m + i) * p->stride + n + l * VEC) : (vec){0};
    }
  }
  for (size_t t = 0; t < p->steps; t++) {
    const ptrdiff_t at = (ptrdiff_t)t * p->along;
    const float *q = p->q + at + m, *a = p->a + at + m, *b = p->b + at + n;
    const float *d = p->d + (ptrdiff_t)t * p->d_along + (by_lanes ? n : m);
    float *out = p->out + t * p->stride + n;
    vec sum[TILE_WIDTH], add[TILE_WIDTH], decay[TILE_WIDTH];
    for (size_t l = 0; l < wide; l++) {
      sum[l] = m ? load(out + l * VEC) : (vec){0};
      add[l] = load(b + l * VEC);
      if (by_lanes) decay[l] = load(d + l * VEC);
    }
    for (size_t i = 0; i < TILE_ROWS; i++) {
      for (size_t l = 0; l < wide; l++) {
        sum[l] += q[i] * x[i][l];
        x[i][l] = (by_lanes ? decay[l] * x[i][l] : d[i] * x[i][l]) + a[i] * add[l];
      }
    }
    for (size_t l = 0; l < wide; l++) store(sum[l], out + l * VEC);
  }
  for (size_t i = 0; i < TILE_ROWS; i++) {
    for (size_t l = 0; l < wide; l++) store(x[i][l], p->to + (m + i) * p->stride + n + l * VEC);
  }
}

/* Row t of its q, a, b, or of another array like them. */
static inline const float *row_of(const scan *s, const float *rows, size_t t) { return rows + (ptrdiff_t)t * s->along; }

static inline __attribute__((always_inline)) void scan_matrix(const scan *p, bool by_lanes) {
  size_t n = 0;
  for (; n + TILE_WIDTH * VEC <= p->stride; n += TILE_WIDTH * VEC) {
    for (size_t m = 0; m < p->stride; m += TILE_ROWS) scan_tile(p, TILE_WIDTH, by_lanes, m, n);
  }
  for (; n < p->stride; n += VEC) {
    for (size_t m = 0; m < p->stride; m += TILE_ROWS) scan_tile(p, 1, by_lanes, m, n);
  }
}

static void scan_by_rows(const scan *p) { scan_matrix(p, false); }
static void scan_by_lanes(const scan *p) { scan_matrix(p, true); }

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
    for (size_t n = N; n < stride; n++) row[n] = 0.0f;
  }
}

/* The rows of x at these places, with zeros beyond N. */
static void pack(size_t N, const float *x, const size_t *at, size_t count, float *rows) {
  for (size_t t = 0; t < count; t++) {
    float *row = rows + t * padded(N);
    memcpy(row, x + at[t], N * sizeof *row);
    for (size_t n = N; n < padded(N); n++) row[n] = 0.0f;
  }
}

/* Asks for the rows of x at these places: they lie far apart, which no processor foresees. */
static void expect(size_t N, const float *x, const size_t *at, size_t count) {
  for (size_t t = 0; t < count; t++) {
    for (size_t n = 0; n < N; n += LANES) __builtin_prefetch(x + at[t] + n);
  }
}

static size_t matrix_floats(size_t N) { return padded(N) * padded(N); }

/* From a state [N][N] (NULL = zero), as it is; beyond N zero. */
static void load_rows(size_t N, const float *from, float *x) {
  const size_t stride = padded(N);
  memset(x, 0, matrix_floats(N) * sizeof *x);
  for (size_t m = 0; from && m < N; m++) memcpy(x + m * stride, from + m * N, N * sizeof *x);
}

static void load_transposed(size_t N, const float *from, float *x) {
  memset(x, 0, matrix_floats(N) * sizeof *x);
  for (size_t m = 0; from && m < N; m++) {
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
static void write_y(const wkv6_args *a, size_t h, const size_t *at, const scan *s, float *y, bool acc) {
  const size_t N = a->N;
  for (size_t t = 0; t < s->steps; t++) {
    const float *r = row_of(s, s->q, t), *k = row_of(s, s->a, t), *v = row_of(s, s->b, t);
    const float *out = s->out + t * s->stride, bonus = a->u ? dot3(N, r, a->u + h * N, k) : 0.0f;
    float *to = y + at[t];
#pragma omp simd
    for (size_t n = 0; n < N; n++) to[n] = (acc ? to[n] : 0.0f) + (out[n] + bonus * v[n]);
  }
}

/* Of a head: S, rows of a chunk. */
enum { FORWARD_ROWS = 5 };
static size_t forward_floats(size_t N) { return matrix_floats(N) + FORWARD_ROWS * CHUNK * padded(N); }

/* States without padding are read where they are before the first chunk and written where they go after the last. */
static void forward_head(const wkv6_args *a, size_t b, size_t h, float *y, bool acc, float *sT, float *work) {
  const size_t N = a->N, stride = padded(N), rows = CHUNK * stride, steps = row_length(a->lengths, a->T, b);
  const bool in_place = stride == N && steps;
  const float *start = start_state(a, b, h);
  float *x = work, *r = x + matrix_floats(N), *k = r + rows, *v = k + rows, *d = v + rows, *out = d + rows;
  float *end = sT ? sT + (b * a->H + h) * N * N : NULL;
  size_t at[CHUNK], next[CHUNK];
  if (!in_place) load_rows(N, start, x);
  for (size_t first = 0; first < steps; first += CHUNK) {
    const size_t count = smaller(CHUNK, steps - first), later = smaller(CHUNK, steps - first - count);
    locate(a, b, h, first, count, steps, at);
    locate(a, b, h, first + count, later, steps, next);
    decays(a, h, at, count, d);
    pack(N, a->r, at, count, r);
    pack(N, a->k, at, count, k);
    pack(N, a->v, at, count, v);
    const scan s = {.steps = count,
                    .stride = stride,
                    .q = r,
                    .a = k,
                    .b = v,
                    .along = (ptrdiff_t)stride,
                    .d = d,
                    .d_along = a->w_stride ? (ptrdiff_t)stride : 0,
                    .from = in_place && !first ? start : x,
                    .to = in_place && end && first + count == steps ? end : x,
                    .out = out};
    expect(N, a->r, next, later);
    expect(N, a->k, next, later);
    expect(N, a->v, next, later);
    if (a->w_stride) expect(N, a->w, next, later);
    scan_by_rows(&s);
    write_y(a, h, at, &s, y, acc);
  }
  if (end && !in_place) store_matrix(N, x, end);
  if (!acc) clear_unvisited(a, b, h, steps, y);
}

/* The usual head sizes need no more than this, which a stack has. */
enum { STACK_FLOATS = 128 * (128 + FORWARD_ROWS * CHUNK) };

static void forward_head_on_stack(const wkv6_args *a, size_t b, size_t h, float *y, bool acc, float *sT) {
  _Alignas(64) float work[STACK_FLOATS];
  forward_head(a, b, h, y, acc, sT, work);
}

static bool wkv6_forward(const wkv6_args *a, float *y, bool acc, float *sT) {
  const size_t each = forward_floats(a->N);
  const bool on_stack = each <= STACK_FLOATS;
  workspace space = {0};
  if (!on_stack && !workspace_open(&space, each, 0)) return false;
#pragma omp parallel for schedule(dynamic, 1) if (worth_threads(a))
  for (size_t task = 0; task < a->B * a->H; task++) {
    if (on_stack) {
      forward_head_on_stack(a, task / a->H, task % a->H, y, acc, sT);
    } else {
      forward_head(a, task / a->H, task % a->H, y, acc, sT, workspace_mine(&space, 0));
    }
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

/* Rows of a chunk. */
enum { ROWS_R, ROWS_K, ROWS_V, ROWS_GY, ROWS_OUT, ROWS };

/* One thread's work space. */
typedef struct {
  float *lanes, *rows; /* S^T, then D^T; D */
  float *of[ROWS];     /* the chunk at hand, in the order of its steps, and a scan's output */
  float *d;            /* decays of every step, or of one if they are all the same */
  float *a_sums;       /* a_t of every step */
  float *borders;      /* S^T at the start of each chunk and at the very end */
  float *sum;          /* C of write_gw */
} head_work;

static size_t chunks_of(size_t steps) { return (steps + CHUNK - 1) / CHUNK; }

static size_t head_work_floats(const wkv6_args *a) {
  const size_t rows = CHUNK * padded(a->N), chunks = chunks_of(a->T);
  return (3 + chunks) * matrix_floats(a->N) + (ROWS + 2 * chunks) * rows + padded(a->N);
}

static head_work head_work_make(const wkv6_args *a, float *at) {
  const size_t rows = CHUNK * padded(a->N), matrix = matrix_floats(a->N), chunks = chunks_of(a->T);
  head_work w;
  w.lanes = at;
  w.rows = w.lanes + matrix;
  w.of[0] = w.rows + matrix;
  for (int i = 1; i < ROWS; i++) w.of[i] = w.of[i - 1] + rows;
  w.d = w.of[ROWS - 1] + rows;
  w.a_sums = w.d + chunks * rows;
  w.borders = w.a_sums + chunks * rows;
  w.sum = w.borders + (chunks + 1) * matrix;
  return w;
}

static void pack_chunk(const wkv6_grad *p, const size_t *at, size_t count, const head_work *w) {
  pack(p->a->N, p->a->r, at, count, w->of[ROWS_R]);
  pack(p->a->N, p->a->k, at, count, w->of[ROWS_K]);
  pack(p->a->N, p->a->v, at, count, w->of[ROWS_V]);
  pack(p->a->N, p->gy, at, count, w->of[ROWS_GY]);
}

static ptrdiff_t decay_stride(const wkv6_args *a) { return a->w_stride ? (ptrdiff_t)padded(a->N) : 0; }

/* gr (+)= out + u k (v.gy), gu += r k (v.gy), a_t = r out, for one chunk of the onward scan. */
static void write_gr(const wkv6_grad *p, size_t h, size_t task, const size_t *places, const float *r_rows,
                     const scan *s, float *a_sums) {
  const wkv6_args *a = p->a;
  const size_t N = a->N;
  const float *u = a->u ? a->u + h * N : NULL;
  float *gu = p->gu ? p->gu + task * N : NULL;
  for (size_t t = 0; t < s->steps; t++) {
    const size_t at = places[t];
    const float *r = row_of(s, r_rows, t), *k = row_of(s, s->b, t), *out = s->out + t * s->stride;
    const float vg = u || gu ? dot(N, row_of(s, s->a, t), row_of(s, s->q, t)) : 0.0f;
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
  const size_t N = a->N, stride = padded(N), matrix = matrix_floats(N);
  size_t at[CHUNK];
  load_transposed(N, start_state(a, b, h), w->borders);
  for (size_t chunk = 0; chunk < chunks_of(steps); chunk++) {
    const size_t first = chunk * CHUNK, count = smaller(CHUNK, steps - first);
    locate(a, b, h, first, count, steps, at);
    pack_chunk(p, at, count, w);
    const scan s = {.steps = count,
                    .stride = stride,
                    .q = w->of[ROWS_GY],
                    .a = w->of[ROWS_V],
                    .b = w->of[ROWS_K],
                    .along = (ptrdiff_t)stride,
                    .d = w->d + (decay_stride(a) ? first * stride : 0),
                    .d_along = decay_stride(a),
                    .from = w->borders + chunk * matrix,
                    .to = w->borders + (chunk + 1) * matrix,
                    .out = w->of[ROWS_OUT]};
    scan_by_lanes(&s);
    write_gr(p, h, b * a->H + h, at, w->of[ROWS_R], &s, w->a_sums + first * stride);
  }
}

/* gk (+)= out + u r (v.gy) for one chunk of the backward scan by lanes. */
static void write_gk(const wkv6_grad *p, size_t h, const size_t *places, const scan *s) {
  const wkv6_args *a = p->a;
  const size_t N = a->N;
  const float *u = a->u ? a->u + h * N : NULL;
  for (size_t t = 0; t < s->steps; t++) {
    const size_t at = places[t];
    const float *r = row_of(s, s->b, t), *out = s->out + t * s->stride;
    const float vg = u ? dot(N, row_of(s, s->q, t), row_of(s, s->a, t)) : 0.0f;
    float *gk = p->gk + at;
#pragma omp simd
    for (size_t n = 0; n < N; n++) gk[n] = (p->acc ? gk[n] : 0.0f) + (out[n] + (u ? u[n] * r[n] * vg : 0.0f));
  }
}

/* gw of one chunk, from its last step to its first. `sum` is C after the chunk; a_sums are those of the last step, the
 * steps before it lie before. `from_zero`: the state before the chunk is zero, and so is the first step's gradient. */
static void write_gw(const wkv6_grad *p, size_t h, size_t task, const size_t *places, const float *k_rows,
                     const scan *s, const float *a_sums, float *sum, bool from_zero) {
  const wkv6_args *a = p->a;
  const size_t N = a->N, stride = padded(N);
  for (size_t t = 0; t < s->steps; t++) {
    const size_t at = places[t];
    const float *k = row_of(s, k_rows, t), *out = s->out + t * stride, *d = s->d + (ptrdiff_t)t * s->d_along;
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
static void write_gv(const wkv6_grad *p, size_t h, const size_t *places, const scan *s) {
  const wkv6_args *a = p->a;
  const size_t N = a->N;
  for (size_t t = 0; t < s->steps; t++) {
    const size_t at = places[t];
    const float *r = row_of(s, s->a, t), *k = row_of(s, s->q, t), *gy = row_of(s, s->b, t);
    const float *out = s->out + t * s->stride;
    const float bonus = a->u ? dot3(N, r, a->u + h * N, k) : 0.0f;
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
  const size_t N = a->N, stride = padded(N), matrix = matrix_floats(N), task = b * a->H + h;
  const float *gsT = p->gsT ? p->gsT + task * N * N : NULL;
  const bool wants_w = p->gw || p->gw_shared;
  load_transposed(N, gsT, w->lanes);
  load_rows(N, gsT, w->rows);
  for (size_t chunk = chunks_of(steps); chunk-- > 0;) {
    const size_t first = chunk * CHUNK, count = smaller(CHUNK, steps - first), last = first + count - 1;
    size_t onward[CHUNK], at[CHUNK];
    locate(a, b, h, first, count, steps, onward);
    for (size_t t = 0; t < count; t++) at[t] = onward[count - 1 - t];
    pack_chunk(p, onward, count, w);
    const size_t end = (count - 1) * stride;
    const float *r = w->of[ROWS_R] + end, *k = w->of[ROWS_K] + end, *v = w->of[ROWS_V] + end,
                *gy = w->of[ROWS_GY] + end;
    scan s = {.steps = count,
              .stride = stride,
              .q = v,
              .a = gy,
              .b = r,
              .along = -(ptrdiff_t)stride,
              .d = w->d + (decay_stride(a) ? last * stride : 0),
              .d_along = -decay_stride(a),
              .from = w->lanes,
              .to = w->lanes,
              .out = w->of[ROWS_OUT]};
    if (wants_w) column_dots(N, w->borders + (chunk + 1) * matrix, w->lanes, w->sum);
    if (wants_w || p->gk) scan_by_lanes(&s);
    if (p->gk) write_gk(p, h, at, &s);
    if (wants_w) write_gw(p, h, task, at, k, &s, w->a_sums + last * stride, w->sum, !a->s0 && first == 0);
    if (!p->gv && !p->gs0) continue;
    s.q = k, s.a = r, s.b = gy, s.from = s.to = w->rows;
    scan_by_rows(&s);
    if (p->gv) write_gv(p, h, at, &s);
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
