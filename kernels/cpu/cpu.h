/* The table of hot CPU kernels. Every kernel is a plain function on pointers and sizes with no knowledge of tensors.
 *
 * Each family's source is portable C, compiled once for every instruction set (dispatch.c lists them) and chosen once
 * at run time from what processor and operating system say that they have; LINNET_CPU=NAME forces one of those. Values
 * are f32; weights may have other types. Kernels share their work among OpenMP threads themselves; results do not
 * depend on the thread count beyond rounding (reductions over rows are summed per fixed-size block of rows, then over
 * blocks in order).
 *
 * Conventions: M rows, C channels last. `acc` flags: false = write, true = add to what is there. Gradients of
 * parameters (gw, gb, gmu, gu ...) are always added. An output pointer that is NULL is not computed. Buffers never
 * alias unless said.
 */
#ifndef LINNET_KERNELS_CPU_H
#define LINNET_KERNELS_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/packed.h"

/* Activations, spec operators 1.2. */
typedef enum {
  ACT_NONE, /* identity */
  ACT_SIGMOID,
  ACT_TANH,
  ACT_SILU,
  ACT_RELU,
  ACT_RELU2, /* relu(x)^2 */
  ACT_GELU,  /* exact, by erf */
  ACT_QUICK_GELU,
  ACT_EXP,
} act_kind;

/* One direction of the RWKV-6 recurrence for every head; spec operators 2.3, language-models 3.4 and 4.2.
 *   S[i][j], i key, j value; y[t][j] += sum_i r[t][i] S[i][j];  S = diag(exp(-exp(w[t]))) S + k[t] v[t]^T.
 * Tokens are visited in the order step = 0..T-1, token = order ? order[step] : step, backwards when `reverse`. Row b
 * has lengths[b] tokens if lengths is given (visits stop there; y and gradients of later tokens are written as zero).
 * r,k,v,w,y: [B,T,H*N]; w_stride 0 means that w is [H*N], the same for every token. Any N >= 1, T >= 0. */
typedef struct {
  size_t B, T, H, N;
  bool reverse;
  const int32_t *order;   /* [T] a permutation, or NULL */
  const int32_t *lengths; /* [B] or NULL */
  const float *r, *k, *v, *w;
  size_t w_stride;  /* floats between tokens of w: H*N or 0 */
  const float *u;   /* [H,N] bonus, y += (sum_i r_i u_i k_i) v; NULL = none */
  const float *s0;  /* [B,H,N,N] start state, NULL = zero */
  size_t s0_stride; /* floats between batch rows of s0: H*N*N, or 0 when all rows share one */
} wkv6_args;

/* The exponent of an empty state of RWKV-4. */
#define WKV4_EMPTY (-1e38f)

/* The RWKV-4 recurrence of every channel; spec operators 2.1, language-models 3.2 and 4.1. With A = B = 0 at first,
 *   y[t] = (A + e^(u+k) v) / (B + e^(u+k));  A = e^-exp(w) A + e^k v;  B = e^-exp(w) B + e^k.
 * Tokens are visited as by wkv6_args. k may be of any size: the sums are kept as A = a e^p, B = b e^p. */
typedef struct {
  size_t B, T, C;
  const int32_t *order;   /* [T] a permutation, or NULL */
  const int32_t *lengths; /* [B] or NULL */
  const float *k, *v;     /* [B,T,C] */
  const float *w, *u;     /* [C] raw decay, bonus of the token itself */
  const float *s0;        /* [B,3,C] the rows a, b, p; NULL = empty */
} wkv4_args;

/* The decay d of a state, from w. */
typedef enum {
  DECAY_EXP,     /* exp(-exp(w)) */
  DECAY_SIGMOID, /* exp(-e^-0.5 sigmoid(w)), in (0.545, 1) */
} wkv7_decay;

/* The RWKV-7 recurrence of every head; spec operators 2.4, language-models 3.5 and 4.5.
 *   z[j] = sum_i a[t][i] S[i][j];  S[i][j] = d[t][i] S[i][j] + b[t][i] z[j] + k[t][i] v[t][j];
 *   y[t][j] = sum_i r[t][i] S[i][j].
 * Tokens are visited as by wkv6_args. r,w,k,v,a,b: [B,T,H*N]. Any N >= 1, T >= 0. */
typedef struct {
  size_t B, T, H, N;
  wkv7_decay decay;
  const int32_t *order;   /* [T] a permutation, or NULL */
  const int32_t *lengths; /* [B] or NULL */
  const float *r, *w, *k, *v, *a, *b;
  const float *s0;  /* [B,H,N,N] start state, NULL = zero */
  size_t s0_stride; /* floats between batch rows of s0: H*N*N, or 0 when all rows share one */
} wkv7_args;

/* Gradients of a wkv7_args, each in the shape of its operand and each added to; NULL = not wanted. */
typedef struct {
  float *r, *w, *k, *v, *a, *b, *s0;
} wkv7_grads;

/* Queries as an exact search wants them: rows of `padded` numbers, the width and zeros up to a multiple of 64. */
typedef struct {
  size_t width, padded;
  float *values; /* [m,padded]; the rest is for tables of i8 and may else be NULL */
  /* A query is step * wide; wide = 128 high + low, the digits in -127..127 and -64..63. */
  int16_t *wide;  /* [m,padded] */
  int8_t *digits; /* [m,2,padded], high and low */
  int32_t *sum;   /* [m] of wide */
  double *step;   /* [m] */
} search_queries;

/* Scores of n rows [n,width] with the queries first..first + m - 1: out [m,n]. factor [n] is of i8 alone. On the
 * calling thread; bit for bit the same in all variants. */
typedef void search_scores(const search_queries *q, size_t first, size_t m, const void *rows, const float *factor,
                           size_t n, float *out);

/* Rows in 8 bits: row i is factor[i] * values[i] and something of length error[i]. */
typedef struct {
  size_t width, stride;         /* from row to row: the width and zeros up to a multiple of 4 */
  const int8_t *values;         /* [n,stride] */
  float *factor, *norm, *error; /* lengths are never too small; infinite where a row cannot be bounded */
  int32_t *sum;                 /* of values */
} filter_rows;

/* Queries in 8 bits and strips of 16, each in units of its own step. A row is below what a query asks for if
 *   factor * dot + slack * norm + size * error <= limit,
 * with the row's factor, norm and error and the query's slack, size and limit. */
typedef struct {
  size_t fours;                /* of numbers in a row: a quarter of the width, rounded up */
  uint8_t *values;             /* [strips,fours,16,4], each with its upper bit flipped; 0x80 behind the width */
  float *slack, *size, *limit; /* [strips,16] */
} filter_queries;
enum { FILTER_STRIP = 16, FILTER_PANEL = 4 }; /* queries in a strip, the most strips at once */

/* The most rows at once in a product with packed weights, and in product_few. */
enum { PRODUCT_ROWS_MAX = 512, PRODUCT_FEW = 4 };

/* y [M,N] = act(x [M,K] w^T) with w [N,K] packed, M <= PRODUCT_ROWS_MAX. `room` is work space of packed_room(M, K)
 * bytes, aligned to 64. */
typedef struct {
  packed_matrix w;
  size_t M;
  const float *x;
  void *room;
  float *y;
  act_kind act;
} packed_product;
enum { ROW_PRODUCTS = 8 }; /* at once */

/* Arithmetic whose speed can be measured: sums of products of these numbers (integers: in 32 bits). */
typedef enum { PEAK_F32, PEAK_I16, PEAK_I8, PEAK_KINDS } peak_kind;

/* Ways to read memory, of which one or the other is the fastest: from beginning to end, leaving it to the processor or
 * asking for what lies ahead, or four parts side by side. */
typedef enum { READ_PLAIN, READ_AHEAD, READ_PARTS, READ_WAYS } read_way;

typedef struct {
  const char *name; /* "generic", "avx2", ... */
  const char *base; /* of a table that only adds some kernels to another's: that one's name; else NULL */

  /* --- products with weights as files hold them (product_*.c) ----------------------------------------------------- */
  /* With weights of a block type (product_quant) or of 16 bits (product_half). Each output is computed by one thread in
   * an order that does not depend on the number of threads. */
  void (*product_quant)(const packed_product *p);
  void (*product_half)(const packed_product *p);
  /* Some products of one row each, with weights of any types: quicker than one after the other, and the same results.
   */
  void (*product_row)(size_t n, const packed_product *product);
  /* y [M,N] = x [M,K] w for few rows (M <= PRODUCT_FEW), where BLAS is slow: w [N,K] as files hold it, or [K,N] if
   * `right`. ldx, ldw and ldy: floats from row to row. */
  void (*product_few)(bool right, size_t M, size_t N, size_t K, const float *x, size_t ldx, const float *w, size_t ldw,
                      float *y, size_t ldy);

  /* --- elementwise (elementwise.c) ------------------------------------------------------------------------------- */
  /* y = act(x); y may be x. */
  void (*act_forward)(act_kind kind, size_t n, const float *x, float *y);
  /* gx (+)= gy * act'(x) */
  void (*act_backward)(act_kind kind, size_t n, const float *x, const float *gy, float *gx, bool acc);
  /* y = a * act(g). y may alias a. */
  void (*gate_forward)(act_kind kind, size_t n, const float *a, const float *g, float *y);
  void (*gate_backward)(act_kind kind, size_t n, const float *a, const float *g, const float *gy, float *ga, bool acc_a,
                        float *gg, bool acc_g);
  /* z = alpha*x + beta*y (y may be NULL when beta is 0). z may alias x or y. */
  void (*axpby)(size_t n, float alpha, const float *x, float beta, const float *y, float *z);
  /* y[m][c] = x[m][c] + b[c]  (y may alias x) and its reduction gb[c] += sum_m gy[m][c] */
  void (*add_rows)(size_t M, size_t C, const float *x, const float *b, float *y);
  void (*sum_rows)(size_t M, size_t C, const float *gy, float *gb);

  /* --- norms (norm.c): mean and biased variance over each of `groups` spans of n channels in every row ------------ */
  /* layer norm: groups = 1, n = C. group norm per token: groups = heads. w, b: [groups*n], both NULL = no affine.
   * mean, rstd: [M*groups], always written. */
  void (*norm_forward)(size_t M, size_t groups, size_t n, float eps, const float *x, const float *w, const float *b,
                       float *y, float *mean, float *rstd);
  void (*norm_backward)(size_t M, size_t groups, size_t n, const float *x, const float *w, const float *mean,
                        const float *rstd, const float *gy, float *gx, bool acc, float *gw, float *gb);

  /* --- shift and mix (mix.c) -------------------------------------------------------------------------------------- */
  /* Moves spans of channels between tokens: for batch row b, token t and span g (channels c0[g]..c1[g]-1, repeated with
   * `period`): y[b][t][span] = source[g*T+t] >= 0 ? x[b][source[g*T+t]][span] : source == -2 ? carry[b][span] : 0.
   * source -2 reads `carry` [B,C] (NULL: zero). acc adds to y instead of writing. Spans must cover the period exactly.
   */
  void (*shift_rows)(size_t B, size_t T, size_t C, size_t period, size_t n_spans, const int32_t *c0, const int32_t *c1,
                     const int32_t *source, const float *x, const float *carry, float *y, bool acc);
  /* y[k][m][c] = x[m][c] + (s[m][c]-x[m][c]) * (mu[k][c] + token_mu[k][m][c]); mu or token_mu may be NULL (not both).
   */
  void (*mix_forward)(size_t K, size_t M, size_t C, const float *x, const float *s, const float *mu,
                      const float *token_mu, float *y);
  /* The same with token_mu[k] = h[k] w2[k], which exists a few rows at a time: h [M,K*R], w2 [K,R,C], mu [K,C]. */
  void (*mix_low_rank)(size_t K, size_t M, size_t C, size_t R, const float *x, const float *s, const float *mu,
                       const float *h, const float *w2, float *y);
  /* gy: [K,M,C]. gmu [K,C] is added to, gtoken_mu [K,M,C] written. */
  void (*mix_backward)(size_t K, size_t M, size_t C, const float *x, const float *s, const float *mu,
                       const float *token_mu, const float *gy, float *gx, bool acc_x, float *gs, bool acc_s, float *gmu,
                       float *gtoken_mu);

  /* --- wkv6 (wkv6.c) ---------------------------------------------------------------------------------------------- */
  /* y is written, or added to when acc (the second direction of a bidirectional scan). sT [B,H,N,N]: final state or
   * NULL; it may alias s0. Both wkv6 kernels need work space: false with fail()'s sentence if there is no memory for
   * it. */
  bool (*wkv6_forward)(const wkv6_args *a, float *y, bool acc, float *sT);
  /* All gradients of one direction, given gy [B,T,C] and gsT [B,H,N,N] (NULL = zero). gr,gk,gv,gw: [B,T,C] written or
   * added (acc). gw is with respect to the raw w; when w_stride is 0 it is [H*N] and always added. gu [H,N] is added;
   * gs0 as s0's shape: [B,H,N,N] written, or added to one [H,N,N] when s0_stride is 0. Any of them may be NULL.
   * Decay gradient by the running sum of spec operators 2.3, restarted from the states at chunk borders. */
  bool (*wkv6_backward)(const wkv6_args *a, const float *gy, const float *gsT, bool acc, float *gr, float *gk,
                        float *gv, float *gw, float *gu, float *gs0);

  /* --- wkv4 (wkv4.c) ---------------------------------------------------------------------------------------------- */
  /* y is written. sT [B,3,C]: final state or NULL; it may alias s0. */
  void (*wkv4_forward)(const wkv4_args *a, float *y, float *sT);
  /* All gradients, given gy [B,T,C] and gsT [B,3,C] (either NULL = zero); they are added. gk,gv: [B,T,C]; gw (with
   * respect to the raw w), gu: [C]; gs0: [B,3,C]. Any of them may be NULL. p is a constant: its rows of gsT are not
   * read and its rows of gs0 stay as they are. False with fail()'s sentence if there is no memory for work space:
   * 4 T floats for each channel that threads are at. */
  bool (*wkv4_backward)(const wkv4_args *a, const float *gy, const float *gsT, float *gk, float *gv, float *gw,
                        float *gu, float *gs0);

  /* --- wkv7 (wkv7.c) ---------------------------------------------------------------------------------------------- */
  /* y is written. sT [B,H,N,N]: final state or NULL; it may alias s0. Both wkv7 kernels need work space: false with
   * fail()'s sentence if there is no memory for it. */
  bool (*wkv7_forward)(const wkv7_args *a, float *y, float *sT);
  /* All gradients, given gy [B,T,C] and gsT [B,H,N,N] (either NULL = zero). Keeps the state of every 16th token of the
   * heads that threads are at, N*N/16 + N floats a token, and computes the states between anew: any decay, any T. */
  bool (*wkv7_backward)(const wkv7_args *a, const float *gy, const float *gsT, const wkv7_grads *g);

  /* --- attention (attention.c) ------------------------------------------------------------------------------------ */
  /* Products s [M,N] of M queries and N keys become weights, in place: row m is the softmax of scale * s over the keys
   * that its query sees, the first min(N, first + m * step), and zero beyond. lse[m] = log(sum exp(scale s)); infinite
   * for a query that sees nothing. These three run on the calling thread. */
  void (*attention_weights)(size_t M, size_t N, size_t first, size_t step, float scale, float *s, float *lse);
  /* The same weights from the products and lse. */
  void (*attention_weights_again)(size_t M, size_t N, size_t first, size_t step, float scale, const float *lse,
                                  float *s);
  /* From the gradient g [M,N] of weights p to that of the products, in place: g = scale p (g - sum of the row's p g).
   */
  void (*attention_slopes)(size_t M, size_t N, float scale, const float *p, float *g);

  /* --- exact search (search_scores.c, search_filter.c), on the calling thread ------------------------------------- */
  search_scores *search_f32, *search_f16, *search_i8;
  /* n rows of f32 (f16 if half) into `values`, which are those of out, and everything else of out. row: room for
   * `width` floats. */
  void (*search_shrink)(bool half, size_t n, const void *rows, float *row, int8_t *values, const filter_rows *out);
  /* norm, error and sum of n rows that are 8 bits wide already, from their values and factors. */
  void (*search_measure)(size_t n, const filter_rows *rows);
  /* alive[i], bit 16 s + j: query j of strip first + s (of n_strips <= FILTER_PANEL) does not rule out row i. */
  void (*search_filter)(const filter_rows *rows, size_t n, const filter_queries *q, size_t first, size_t n_strips,
                        uint64_t *alive);

  /* --- losses (loss.c) -------------------------------------------------------------------------------------------- */
  /* ce[m] = log(sum_v exp(x[m][v])) - x[m][target[m]]; rows with weight 0 give 0 and may hold any target. glogits (NULL
   * or [M,V]) = weight[m] * (softmax - onehot). Targets must be in range where the weight is not 0. */
  void (*cross_entropy)(size_t M, size_t V, const float *logits, const int32_t *target, const float *weight, float *ce,
                        float *glogits);
  /* Multi-label: loss[m] = sum_v [ max(x,0) - x*t + log1p(exp(-|x|)) ]; glogits = weight[m] * (sigmoid(x) - t). */
  void (*bce_with_logits)(size_t M, size_t V, const float *logits, const float *target, const float *weight,
                          float *loss, float *glogits);

  /* --- optimizer (optim.c) ---------------------------------------------------------------------------------------- */
  /* m = b1 m + (1-b1) s g; v = b2 v + (1-b2) (s g)^2; p -= lr * ( (m*c1) / (sqrt(v*c2) + eps) + decay * p ),
   * where s = grad_scale (clipping), c1 = 1/(1-b1^t), c2 = 1/(1-b2^t). */
  void (*adamw)(size_t n, float lr, float b1, float b2, float eps, float decay, float c1, float c2, float grad_scale,
                const float *g, float *m, float *v, float *p);
  double (*sum_squares)(size_t n, const float *x); /* in double, fixed blocks: independent of the thread count */

  /* --- what the machine can do at most, for benchmarks, on the calling thread (limits.c) -------------------------- */
  /* Works `rounds` times on all it can hold in registers and returns how many multiplications and additions that were;
   * 0 if the instruction set has nothing for such numbers. */
  double (*peak)(peak_kind kind, size_t rounds);
  /* The sum of n bytes' 64-bit words, n being a multiple of 64: reading them is the purpose. */
  uint64_t (*read_sum)(size_t n, const void *from, read_way way);
} cpu_kernels;

/* The table chosen for this machine (see above); never NULL. Thread safe. */
const cpu_kernels *cpu(void);
/* The table of one instruction set, or NULL if this machine (or build) lacks it: for tests. */
const cpu_kernels *cpu_variant(const char *name);
/* The tables that this machine has, from the plainest on: NULL beyond the last. */
const cpu_kernels *cpu_variant_at(int i);
/* "avx512 (of generic, avx2, avx512)": what was chosen among what the machine has. Also notes an unknown LINNET_CPU. */
const char *cpu_report(void);
/* True if the processor and the operating system have AVX-512 F, BW, DQ and VL (for choosing OpenBLAS's core type). */
bool cpu_has_avx512(void);

#endif
