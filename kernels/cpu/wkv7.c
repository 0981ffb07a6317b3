/* The RWKV-7 recurrence, forward and backward; spec operators 2.4, language-models 3.5 and 4.5.
 *
 * Everything but the gradients by key is one step over a matrix X with rows m (keys) and lanes n (values), so that no
 * sum runs across lanes:
 *   X[m][n] = d[m] X[m][n] + p[m] z[n] + k[m] v[n];   z'[n] = sum_m p'[m] X[m][n];   out[n] = sum_m q[m] X[m][n].
 * - onward, X = S: d, p = b, z, k, v of token t; p' = a of token t+1; q = r, out = y
 * - back, X = E, the cotangent of the state after token t, y's share included: d, p = a, z = Z of token t+1; k = r,
 *   v = gy of token t; p' = b, z' = Z, the cotangent of token t's z; q = k, out = gv
 * One pass over X takes a token, because the next token's z is read while this one's X is at hand.
 *
 * Once z and Z are known, each value j is a problem of its own: row j of S onward, row j of E back. Lanes are keys
 * there, X is [value][key]:
 *   gr = sum_j S' gy;   gk = sum_j E v;   gb = sum_j E z;   ga = sum_j S Z;   gd = sum_j S E   (S' after the token)
 * This goes by chunks of tokens, from the last to the first, each from the state at its start, which the sweep onward
 * kept; the states inside a chunk exist for a few values at a time. Nothing is divided by d.
 *
 * Threads share the pairs (batch row, head). */
#include "kernels/cpu/recurrence.h"
#include "kernels/cpu/vecmath.h"

enum {
  CHUNK = 16,   /* steps from one kept state to the next */
  ROW_TILE = 4, /* rows of a matrix taken together */
};

/* --- a step ------------------------------------------------------------------------------------------------------- */

/* Vectors of the update and of both read-outs, see above; `out` is NULL if the second is not wanted. Those by value are
 * rows of work space, those by key may lie anywhere. */
typedef struct {
  const float *d, *p, *z, *k, *v;
  const float *next_p, *q;
  float *next_z, *out; /* written */
} step;

/* `wide` registers of lanes from n on. */
static inline __attribute__((always_inline)) void step_lanes(size_t N, size_t wide, bool reads, size_t n, float *x,
                                                             const step *s) {
  vec z[2], v[2], z_sum[2] = {{0}, {0}}, out_sum[2] = {{0}, {0}};
  for (size_t l = 0; l < wide; l++) z[l] = load(s->z + n + l * VEC), v[l] = load(s->v + n + l * VEC);
  for (size_t m = 0; m < N; m++) {
    for (size_t l = 0; l < wide; l++) {
      float *at = x + m * padded(N) + n + l * VEC;
      const vec now = s->d[m] * load(at) + (s->p[m] * z[l] + s->k[m] * v[l]);
      store(now, at);
      z_sum[l] += s->next_p[m] * now;
      if (reads) out_sum[l] += s->q[m] * now;
    }
  }
  for (size_t l = 0; l < wide; l++) {
    store(z_sum[l], s->next_z + n + l * VEC);
    if (reads) store(out_sum[l], s->out + n + l * VEC);
  }
}

static inline __attribute__((always_inline)) void step_matrix(size_t N, size_t wide, bool reads, float *x,
                                                              const step *s) {
  for (size_t n = 0; n < padded(N); n += wide * VEC) step_lanes(N, wide, reads, n, x, s);
}

/* The usual head size gets code of its own, where the compiler knows the trip counts. */
static void take_step(size_t N, float *x, const step *s) {
  if (N == 64) {
    if (s->out) {
      step_matrix(64, 2, true, x, s);
    } else {
      step_matrix(64, 2, false, x, s);
    }
  } else if (s->out) {
    step_matrix(N, 1, true, x, s);
  } else {
    step_matrix(N, 1, false, x, s);
  }
}

/* z[n] = sum_m p[m] X[m][n]: the first z, before any step. */
static void read_out(size_t N, const float *x, const float *p, float *restrict z) {
  memset(z, 0, padded(N) * sizeof *z);
  for (size_t m = 0; m < N; m++) {
    const float *row = x + m * padded(N), pm = p[m];
#pragma omp simd
    for (size_t n = 0; n < N; n++) z[n] += pm * row[n];
  }
}

/* --- what forward and backward share ------------------------------------------------------------------------------ */

static size_t channels(const wkv7_args *a) { return a->H * a->N; }

/* Where the token of a step starts in a [B,T,C] array, for head h. */
static size_t place(const wkv7_args *a, size_t b, size_t h, size_t t) {
  return (b * a->T + token_at(a->order, t)) * channels(a) + h * a->N;
}

/* The decay is e^-rate. */
static const float most_rate = 0.60653066f; /* e^-0.5 */

static void decay_row(const wkv7_args *a, const float *w, float *restrict d) {
  if (a->decay == DECAY_SIGMOID) {
#pragma omp simd
    for (size_t n = 0; n < a->N; n++) d[n] = vec_exp(-most_rate * vec_sigmoid(w[n]));
  } else {
#pragma omp simd
    for (size_t n = 0; n < a->N; n++) d[n] = vec_exp(-vec_exp(w[n]));
  }
}

static const float *start_state(const wkv7_args *a, size_t b, size_t h) {
  return a->s0 ? a->s0 + b * a->s0_stride + h * a->N * a->N : NULL;
}

static bool worth_threads(const wkv7_args *a) { return a->B * a->H * a->T * a->N * a->N >= 4 * CPU_PARALLEL_MIN; }

/* --- forward ------------------------------------------------------------------------------------------------------ */

static void forward_head(const wkv7_args *a, size_t b, size_t h, float *y, float *sT, float *work) {
  const size_t N = a->N, stride = padded(N), steps = row_length(a->lengths, a->T, b);
  float *x = work, *d = x + N * stride, *none = d + stride, *v = none + stride, *out = v + stride;
  float *z = out + stride, *next_z = z + stride;
  memset(none, 0, 2 * stride * sizeof *none); /* and v */
  load_matrix(N, start_state(a, b, h), x);
  if (steps) read_out(N, x, a->a + place(a, b, h, 0), z);
  for (size_t t = 0; t < a->T; t++) {
    const size_t at = place(a, b, h, t);
    if (t >= steps) {
      memset(y + at, 0, N * sizeof *y);
      continue;
    }
    decay_row(a, a->w + at, d);
    memcpy(v, a->v + at, N * sizeof *v);
    take_step(N, x,
              &(step){.d = d,
                      .p = a->b + at,
                      .z = z,
                      .k = a->k + at,
                      .v = v,
                      .next_p = t + 1 < steps ? a->a + place(a, b, h, t + 1) : none,
                      .next_z = next_z,
                      .q = a->r + at,
                      .out = out});
    memcpy(y + at, out, N * sizeof *y);
    float *used = z;
    z = next_z, next_z = used;
  }
  if (sT) store_matrix(N, x, sT + (b * a->H + h) * N * N);
}

static bool wkv7_forward(const wkv7_args *a, float *y, float *sT) {
  workspace space;
  if (!workspace_open(&space, (a->N + 6) * padded(a->N), 0)) return false;
#pragma omp parallel for schedule(dynamic, 1) if (worth_threads(a))
  for (size_t task = 0; task < a->B * a->H; task++) {
    forward_head(a, task / a->H, task % a->H, y, sT, workspace_mine(&space, 0));
  }
  free(space.block);
  return true;
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

typedef struct {
  const wkv7_args *a;
  const float *gy, *gsT;
  wkv7_grads to; /* s0: [B,H,N,N] */
} wkv7_grad;

/* What the part by lanes takes and gives for each token of a chunk, packed into rows: vectors by key and their
 * gradients, vectors by value. Beyond N rows are 0. One token more: the one after the chunk. */
enum { KEY_D, KEY_A, KEY_R, KEY_K, KEY_B, GRAD_D, GRAD_A, GRAD_R, GRAD_K, GRAD_B, KEY_ROWS };
enum { VALUE_V, VALUE_GY, VALUE_z, VALUE_Z, VALUE_ROWS };

/* One thread's work space. Rows are padded N floats, matrices N rows; those by value have whole tiles of rows, and what
 * is beyond N is 0. */
typedef struct {
  float *rows;    /* S, then E, [key][value] */
  float *lanes;   /* E, [value][key] */
  float *borders; /* S at the start of each chunk, [value][key] */
  float *z;       /* rows of every step; one more that is written only */
  float *none;    /* a row of zeros */
  float *one;     /* and of ones */
  float *d, *v;   /* rows of a step */
  float *gv;      /* [CHUNK] rows */
  float *keys;    /* [CHUNK+1][KEY_ROWS] rows */
  float *values;  /* [CHUNK+1][VALUE_ROWS] rows */
} head_work;

static size_t chunks_of(size_t steps) { return (steps + CHUNK - 1) / CHUNK; }
static size_t value_rows(size_t N) { return (N + ROW_TILE - 1) / ROW_TILE * ROW_TILE; }

static size_t head_work_floats(const wkv7_args *a) {
  const size_t matrices = a->N + (1 + chunks_of(a->T)) * value_rows(a->N);
  const size_t rows = (a->T + 1) + 4 + CHUNK + (CHUNK + 1) * (KEY_ROWS + VALUE_ROWS);
  return (matrices + rows) * padded(a->N);
}

static head_work head_work_make(const wkv7_args *a, float *at) {
  const size_t stride = padded(a->N), by_value = value_rows(a->N) * stride;
  head_work w;
  w.rows = at;
  w.lanes = w.rows + a->N * stride;
  w.borders = w.lanes + by_value;
  w.z = w.borders + chunks_of(a->T) * by_value;
  w.none = w.z + (a->T + 1) * stride;
  w.one = w.none + stride;
  w.d = w.one + stride;
  w.v = w.d + stride;
  w.gv = w.v + stride;
  w.keys = w.gv + CHUNK * stride;
  w.values = w.keys + (CHUNK + 1) * KEY_ROWS * stride;
  for (size_t n = 0; n < stride; n++) w.none[n] = w.v[n] = 0.0f, w.one[n] = 1.0f;
  memset(w.keys, 0, (CHUNK + 1) * (KEY_ROWS + VALUE_ROWS) * stride * sizeof(float));
  if (a->N < stride) memset(w.lanes, 0, (1 + chunks_of(a->T)) * by_value * sizeof(float));
  return w;
}

/* z of every step, and the state at the start of every chunk. */
static void sweep_onward(const wkv7_args *a, size_t b, size_t h, size_t steps, const head_work *w) {
  const size_t N = a->N, stride = padded(N);
  float *x = w->rows;
  load_matrix(N, start_state(a, b, h), x);
  if (steps) read_out(N, x, a->a + place(a, b, h, 0), w->z);
  for (size_t t = 0; t < steps; t++) {
    const size_t at = place(a, b, h, t);
    if (t % CHUNK == 0) transpose_matrix(N, x, w->borders + t / CHUNK * value_rows(N) * stride);
    decay_row(a, a->w + at, w->d);
    memcpy(w->v, a->v + at, N * sizeof(float));
    take_step(N, x,
              &(step){.d = w->d,
                      .p = a->b + at,
                      .z = w->z + t * stride,
                      .k = a->k + at,
                      .v = w->v,
                      .next_p = t + 1 < steps ? a->a + place(a, b, h, t + 1) : w->none,
                      .next_z = w->z + (t + 1) * stride});
  }
}

/* Packs a chunk's tokens. */
static void pack_chunk(const wkv7_grad *g, size_t b, size_t h, size_t first, size_t count, const head_work *w) {
  const wkv7_args *a = g->a;
  const size_t N = a->N, stride = padded(N), row = N * sizeof(float);
  for (size_t t = 0; t < count; t++) {
    const size_t at = place(a, b, h, first + t);
    float *key = w->keys + t * KEY_ROWS * stride, *value = w->values + t * VALUE_ROWS * stride;
    decay_row(a, a->w + at, key + KEY_D * stride);
    memcpy(key + KEY_A * stride, a->a + at, row);
    memcpy(key + KEY_R * stride, a->r + at, row);
    memcpy(key + KEY_K * stride, a->k + at, row);
    memcpy(key + KEY_B * stride, a->b + at, row);
    memset(key + GRAD_D * stride, 0, (KEY_ROWS - GRAD_D) * stride * sizeof(float));
    memcpy(value + VALUE_V * stride, a->v + at, row);
    memcpy(value + VALUE_GY * stride, g->gy ? g->gy + at : w->none, row);
    memcpy(value + VALUE_z * stride, w->z + (first + t) * stride, row);
  }
}

/* The chunk's first token becomes the one after the chunk before, which has `count` tokens. */
static void hand_on(size_t N, size_t count, const head_work *w) {
  const size_t stride = padded(N);
  float *key = w->keys + count * KEY_ROWS * stride, *value = w->values + count * VALUE_ROWS * stride;
  memcpy(key + KEY_D * stride, w->keys + KEY_D * stride, stride * sizeof *key);
  memcpy(key + KEY_A * stride, w->keys + KEY_A * stride, stride * sizeof *key);
  memcpy(value + VALUE_Z * stride, w->values + VALUE_Z * stride, stride * sizeof *value);
}

/* E by rows, back over a chunk: Z and gv of its tokens. */
static void back_by_rows(size_t N, size_t count, const head_work *w) {
  const size_t stride = padded(N);
  for (size_t t = count; t-- > 0;) {
    const float *key = w->keys + t * KEY_ROWS * stride, *later = key + KEY_ROWS * stride;
    float *value = w->values + t * VALUE_ROWS * stride, *after = value + VALUE_ROWS * stride;
    take_step(N, w->rows,
              &(step){.d = later + KEY_D * stride,
                      .p = later + KEY_A * stride,
                      .z = after + VALUE_Z * stride,
                      .k = key + KEY_R * stride,
                      .v = value + VALUE_GY * stride,
                      .next_p = key + KEY_B * stride,
                      .next_z = value + VALUE_Z * stride,
                      .q = key + KEY_K * stride,
                      .out = w->gv + t * stride});
  }
}

/* A tile of values j.. and `wide` registers of keys n.. through a chunk: S onward from the border, then E back. `key`
 * and `value` are the packed rows at n and j, s and e the tile's first rows at n. */
static inline __attribute__((always_inline)) void
tile_by_lanes(size_t stride, size_t wide, size_t count, const float *s, float *e, float *key, const float *value) {
  vec before[CHUNK][ROW_TILE][2], x[ROW_TILE][2];
  for (size_t i = 0; i < ROW_TILE; i++) {
    for (size_t l = 0; l < wide; l++) x[i][l] = load(s + i * stride + l * VEC);
  }
  for (size_t t = 0; t < count; t++, key += KEY_ROWS * stride, value += VALUE_ROWS * stride) {
    const float *v = value + VALUE_V * stride, *gy = value + VALUE_GY * stride, *z = value + VALUE_z * stride;
    for (size_t l = 0; l < wide; l++) {
      float *at = key + l * VEC;
      const vec d = load(at + KEY_D * stride), b = load(at + KEY_B * stride), k = load(at + KEY_K * stride);
      vec r_sum = {0};
      for (size_t i = 0; i < ROW_TILE; i++) {
        before[t][i][l] = x[i][l];
        x[i][l] = d * x[i][l] + (b * z[i] + k * v[i]);
        r_sum += x[i][l] * gy[i];
      }
      store(load(at + GRAD_R * stride) + r_sum, at + GRAD_R * stride);
    }
  }
  for (size_t i = 0; i < ROW_TILE; i++) {
    for (size_t l = 0; l < wide; l++) x[i][l] = load(e + i * stride + l * VEC);
  }
  for (size_t t = count; t-- > 0;) {
    const float *after = value + VALUE_Z * stride;
    value -= VALUE_ROWS * stride, key -= KEY_ROWS * stride;
    const float *v = value + VALUE_V * stride, *gy = value + VALUE_GY * stride, *z = value + VALUE_z * stride;
    const float *Z = value + VALUE_Z * stride;
    for (size_t l = 0; l < wide; l++) {
      float *at = key + l * VEC;
      const vec d = load(at + (KEY_ROWS + KEY_D) * stride), a = load(at + (KEY_ROWS + KEY_A) * stride);
      const vec r = load(at + KEY_R * stride);
      vec k_sum = {0}, b_sum = {0}, d_sum = {0}, a_sum = {0};
      for (size_t i = 0; i < ROW_TILE; i++) {
        x[i][l] = d * x[i][l] + (a * after[i] + r * gy[i]);
        k_sum += x[i][l] * v[i];
        b_sum += x[i][l] * z[i];
        d_sum += x[i][l] * before[t][i][l];
        a_sum += before[t][i][l] * Z[i];
      }
      store(load(at + GRAD_K * stride) + k_sum, at + GRAD_K * stride);
      store(load(at + GRAD_B * stride) + b_sum, at + GRAD_B * stride);
      store(load(at + GRAD_D * stride) + d_sum, at + GRAD_D * stride);
      store(load(at + GRAD_A * stride) + a_sum, at + GRAD_A * stride);
    }
  }
  for (size_t i = 0; i < ROW_TILE; i++) {
    for (size_t l = 0; l < wide; l++) store(x[i][l], e + i * stride + l * VEC);
  }
}

static inline __attribute__((always_inline)) void chunk_by_lanes(size_t N, size_t wide, size_t count,
                                                                 const float *border, const head_work *w) {
  const size_t stride = padded(N);
  for (size_t n = 0; n < stride; n += wide * VEC) {
    for (size_t j = 0; j < N; j += ROW_TILE) {
      tile_by_lanes(stride, wide, count, border + j * stride + n, w->lanes + j * stride + n, w->keys + n,
                    w->values + j);
    }
  }
}

/* gw from the gradient of the decay: d' = -rate' d. */
static void add_gw(const wkv7_args *a, const float *w, const float *d, const float *gd, float *to) {
  if (a->decay == DECAY_SIGMOID) {
#pragma omp simd
    for (size_t n = 0; n < a->N; n++) to[n] -= most_rate * vec_sigmoid(w[n]) * vec_sigmoid(-w[n]) * d[n] * gd[n];
  } else {
#pragma omp simd
    for (size_t n = 0; n < a->N; n++) {
      const float slope = vec_exp(w[n]) * d[n] * gd[n]; /* exp(w) may be infinite where d is 0 */
      to[n] -= d[n] == 0.0f ? 0.0f : slope;
    }
  }
}

static void add_gradients(const wkv7_grad *g, size_t b, size_t h, size_t first, size_t count, const head_work *w) {
  const wkv7_args *a = g->a;
  const size_t N = a->N, stride = padded(N);
  for (size_t t = 0; t < count; t++) {
    const size_t at = place(a, b, h, first + t);
    const float *key = w->keys + t * KEY_ROWS * stride;
    if (g->to.r) add_row(N, key + GRAD_R * stride, g->to.r + at);
    if (g->to.w) add_gw(a, a->w + at, key + KEY_D * stride, key + GRAD_D * stride, g->to.w + at);
    if (g->to.k) add_row(N, key + GRAD_K * stride, g->to.k + at);
    if (g->to.v) add_row(N, w->gv + t * stride, g->to.v + at);
    if (g->to.a) add_row(N, key + GRAD_A * stride, g->to.a + at);
    if (g->to.b) add_row(N, key + GRAD_B * stride, g->to.b + at);
  }
}

static void backward_head(const wkv7_grad *g, size_t b, size_t h, const head_work *w) {
  const wkv7_args *a = g->a;
  const size_t N = a->N, stride = padded(N), steps = row_length(a->lengths, a->T, b), state = (b * a->H + h) * N * N;
  sweep_onward(a, b, h, steps, w);
  load_matrix(N, g->gsT ? g->gsT + state : NULL, w->rows);
  transpose_matrix(N, w->rows, w->lanes);
  /* The token after the last one does nothing: d = 1, a = 0, Z = 0. */
  memcpy(w->keys + KEY_D * stride, w->one, N * sizeof(float));
  for (size_t i = chunks_of(steps); i-- > 0;) {
    const size_t first = i * CHUNK, count = smaller(CHUNK, steps - first);
    const float *border = w->borders + i * value_rows(N) * stride;
    hand_on(N, count, w);
    pack_chunk(g, b, h, first, count, w);
    back_by_rows(N, count, w);
    if (N == 64) {
      chunk_by_lanes(64, 2, count, border, w);
    } else {
      chunk_by_lanes(N, 1, count, border, w);
    }
    add_gradients(g, b, h, first, count, w);
  }
  const float *d = w->keys + KEY_D * stride, *p = w->keys + KEY_A * stride, *Z = w->values + VALUE_Z * stride;
  for (size_t m = 0; g->to.s0 && m < N; m++) { /* what E of the first token still lacks */
    for (size_t n = 0; n < N; n++) g->to.s0[state + m * N + n] += d[m] * w->rows[m * stride + n] + p[m] * Z[n];
  }
}

static bool wkv7_backward(const wkv7_args *a, const float *gy, const float *gsT, const wkv7_grads *g) {
  const size_t states = channels(a) * a->N;
  const bool shared_s0 = g->s0 && !a->s0_stride;
  const size_t common = shared_s0 ? a->B * states : 0;
  workspace space;
  if (!workspace_open(&space, head_work_floats(a), common)) return false;
  memset(space.common, 0, common * sizeof(float));
  wkv7_grad grad = {.a = a, .gy = gy, .gsT = gsT, .to = *g};
  if (shared_s0) grad.to.s0 = space.common;
#pragma omp parallel for schedule(dynamic, 1) if (worth_threads(a))
  for (size_t task = 0; task < a->B * a->H; task++) {
    const head_work w = head_work_make(a, workspace_mine(&space, common));
    backward_head(&grad, task / a->H, task % a->H, &w);
  }
  if (shared_s0) add_parts(a->B, states, space.common, g->s0);
  free(space.block);
  return true;
}

void CPU_FAMILY(wkv7)(cpu_kernels *table);
void CPU_FAMILY(wkv7)(cpu_kernels *table) {
  table->wkv7_forward = wkv7_forward;
  table->wkv7_backward = wkv7_backward;
}
