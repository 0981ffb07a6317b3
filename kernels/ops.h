/* The operators that models are written with. Each checks shapes (assert), allocates its result in the context,
 * computes at once, and, if the context records and an input wants a gradient, notes its backward step.
 *
 * Shapes are written [..., C]: any leading dimensions, channels last; M is the product of the leading ones. Required
 * inputs that are NULL (memory ran out earlier) give NULL. Formulas: spec operators, section given at each.
 * Arithmetic is f32; recurrence states, norm statistics, softmax and losses always are. */
#ifndef LINNET_KERNELS_OPS_H
#define LINNET_KERNELS_OPS_H

#include "kernels/cpu/cpu.h"
#include "kernels/scan_order.h"
#include "kernels/tensor.h"

/* --- products (1.1) ----------------------------------------------------------------------------------------------- */

/* y = x w^T + b. x [...,K], w [N,K] as files hold it or packed (packed.h; then not while recording), b [N] or NULL ->
 * [...,N]. */
tensor *linear(ctx *c, tensor *x, tensor *w, tensor *b);
/* act(kind, linear()), which are then one where nothing is recorded. */
tensor *linear_act(ctx *c, act_kind kind, tensor *x, tensor *w, tensor *b);
/* y[i] = x[i] w[i]^T, through the activation kind[i] if `kind` is given, for i < n (at most 8): the same as
 * linear_act() of each, and quicker where they are single rows with packed weights, which are then shared out as one
 * product. A y[i] that there is no memory for is NULL. */
void linear_each(ctx *c, int n, tensor *const *x, tensor *const *w, const act_kind *kind, tensor **y);
/* y = x w with the factor on the right: x [...,K], w [K,N] -> [...,N]. */
tensor *linear_right(ctx *c, tensor *x, tensor *w);
/* Rows of a table: ids i32 [...], e [V,C], packed or not -> [...,C]. Every id must be in 0..V-1 (asserted: callers
 * check tokens). */
tensor *embedding(ctx *c, const tensor *ids, tensor *e);

/* --- elementwise (1.2) -------------------------------------------------------------------------------------------- */

tensor *add(ctx *c, tensor *a, tensor *b); /* same shape; or b [C] or [T,C] repeated over a's leading dimensions */
tensor *scale(ctx *c, tensor *x, float factor);
tensor *act(ctx *c, act_kind kind, tensor *x);
/* a * act(g), same shapes: silu for RWKV-6's output gate, sigmoid for channel mixes. */
tensor *gate(ctx *c, tensor *a, act_kind kind, tensor *g);
/* Sample b of x [B,...] times factor[b], which is copied. */
tensor *scale_samples(ctx *c, tensor *x, const float *factor);

/* --- norms (1.3): biased variance; eps has no default because systems differ -------------------------------------- */

tensor *layer_norm(ctx *c, tensor *x, tensor *w, tensor *b, float eps); /* over C; w and b [C] or both NULL */
/* Over each head's C/heads channels of one token; w and b [C]. */
tensor *group_norm(ctx *c, tensor *x, int heads, tensor *w, tensor *b, float eps);
/* x w, each head's channels of a token divided by their length (at least 1e-12). w [C], or NULL. */
tensor *l2_normalise(ctx *c, tensor *x, tensor *w, int heads);
/* Every row divided by its length: embeddings before they are compared. */
static inline tensor *unit_rows(ctx *c, tensor *x) { return l2_normalise(c, x, NULL, 1); }
/* (sum of r k u within the head) v: RWKV-7's bonus. r,k,v [...,C]; u [C]. */
tensor *head_bonus(ctx *c, tensor *r, tensor *k, tensor *u, tensor *v, int heads);

/* --- shift and mix (3) -------------------------------------------------------------------------------------------- */

/* Where a span of channels comes from. */
typedef enum {
  SHIFT_SELF,
  SHIFT_STEP, /* the token `step` places earlier in the scan order (negative: later) */
  SHIFT_GRID, /* the neighbour at column + dx, row + dy of the h x w grid */
} shift_source;

typedef struct {
  int c0, c1; /* channels within the period */
  shift_source source;
  int step, dx, dy;
} shift_span;

enum { SHIFT_SPANS = 5 };

/* A shift: spans of channels that cover `period` channels (the model width, or the head size: then spans repeat in
 * every head). Outside the sequence or the grid is zero; tokens that follow the grid (a class token) stay themselves.
 * `order` may be NULL. */
typedef struct {
  int period, n_spans;
  int h, w; /* the grid, for SHIFT_GRID */
  shift_span span[SHIFT_SPANS];
  const scan_order *order;
} shift_plan;

/* RWKV's token shift: every channel from the previous token of the order. */
shift_plan shift_previous(int channels, const scan_order *order);
/* q-shift inside every head: quarters from the left, right, upper, lower neighbour; bounds trunc(N*j/4). */
shift_plan shift_quarters(int head_size, int h, int w);
/* Inside every head the first half from the previous token, the rest from the next. */
shift_plan shift_halves(int head_size);

/* x [B,T,C] -> [B,T,C]. `carry` [B,C] or NULL stands before the first token for spans of step 1. */
tensor *shift(ctx *c, tensor *x, const shift_plan *plan, tensor *carry);

/* The two senses of published mixing vectors. */
typedef enum {
  MIX_TOWARD, /* x + (s - x) m */
  MIX_KEEP,   /* x m + s (1 - m) */
} mix_kind;

/* K mixes at once of x and its shift s [B,T,C]: mu[k] holds C values; token_mu [K,B,T,C] or NULL is added to mu per
 * token -> [K,B,T,C]. */
tensor *shift_mix(ctx *c, tensor *x, tensor *s, mix_kind kind, int K, tensor *const mu[], tensor *token_mu);

/* RWKV-6's data-dependent mix: shift_mix toward s by mu and the amounts tanh((x + (s-x) maa_x) w1) w2, which are not
 * kept -> [K,B,T,C]. w1 [C,K*R], w2 [K,R,C]. */
tensor *ddlerp(ctx *c, tensor *x, tensor *s, int K, tensor *const mu[], tensor *maa_x, tensor *w1, tensor *w2);

/* --- recurrences (2.1, 2.3, 2.4) ---------------------------------------------------------------------------------- */

typedef enum {
  WKV_FORWARD,
  WKV_BOTH, /* the scan from both ends, the bonus counted once */
} wkv_direction;

typedef struct {
  int heads;
  wkv_direction direction;
  const scan_order *order; /* NULL = as stored */
  const int32_t *lengths;  /* [B] real tokens of each row, or NULL; must outlive backward */
  tensor *into;            /* as wkv4_opt's */
} wkv6_opt;

/* r,k,v [B,T,C]; w [B,T,C] raw (decay = exp(-exp(w))) or [C], the same for every token (RWKV-5); u [heads,N] or NULL;
 * s0 [B,H,N,N] or [H,N,N] shared, or NULL -> y [B,T,C]. State is [key][value]. *state (may be NULL) receives the final
 * state [B,H,N,N]; WKV_BOTH has no state in or out. */
tensor *wkv6(ctx *c, tensor *r, tensor *k, tensor *v, tensor *w, tensor *u, tensor *s0, const wkv6_opt *opt,
             tensor **state);

typedef struct {
  const scan_order *order; /* NULL = as stored */
  const int32_t *lengths;  /* [B] real tokens of each row, or NULL; must outlive backward */
  tensor *into; /* instead of *state, receives the final state, out of gradients' reach; may be s0 unless recording */
} wkv4_opt;

/* RWKV-4 (2.1): the average of past values weighted by their keys. k,v [B,T,C]; w [C] the raw time_decay (weights fall
 * by exp(-exp(w)) a token); u [C] time_first, in the log domain; s0 [B,3,C] or NULL -> y [B,T,C]. A state is the rows
 * a, b, p of each batch row, the sums being a e^p and b e^p; NULL starts from a = b = 0, p = WKV4_EMPTY. p is a
 * constant to gradients: that of s0 has zeros in its row, and what arrives in *state's is not looked at. *state (may be
 * NULL) receives the final state. opt may be NULL. */
tensor *wkv4(ctx *c, tensor *k, tensor *v, tensor *w, tensor *u, tensor *s0, const wkv4_opt *opt, tensor **state);

typedef struct {
  int heads;
  wkv7_decay decay;        /* what w is */
  const scan_order *order; /* NULL = as stored */
  const int32_t *lengths;  /* [B] real tokens of each row, or NULL; must outlive backward */
  tensor *into;            /* as wkv4_opt's */
} wkv7_opt;

/* RWKV-7 (2.4): S = diag(d) S + b (a S) + k v^T, y = r S after the update. r,w,k,v,a,b [B,T,C]; the decay d is
 * exp(-exp(w)) (DECAY_EXP) or exp(-e^-0.5 sigmoid(w)) (DECAY_SIGMOID: w is what the low-rank projection gives). The
 * model's removal key kk and rate in (0,1) come in as a = -kk, b = kk * rate. s0 and *state as for wkv6. */
tensor *wkv7(ctx *c, tensor *r, tensor *w, tensor *k, tensor *v, tensor *a, tensor *b, tensor *s0, const wkv7_opt *opt,
             tensor **state);

/* --- attention (4) ------------------------------------------------------------------------------------------------ */

typedef struct {
  int heads;
  float scale;            /* of the products of queries and keys; mostly 1 / sqrt(channels of a head) */
  bool causal;            /* query i sees the keys 0..q_pos0+i */
  int64_t q_pos0;         /* where the queries stand among the keys */
  const int32_t *lengths; /* [B] keys of each row that are seen at all, or NULL; must outlive backward */
} attention_opt;

/* Per head softmax(scale q k^T) v: q [B,Tq,H*N], k [B,Tk,H*N], v [B,Tk,H*Nv] -> [B,Tq,H*Nv]. A query that sees no key
 * gives zeros. Never holds more than a tile of the products. */
tensor *attention(ctx *c, tensor *q, tensor *k, tensor *v, const attention_opt *opt);

/* --- pictures and positions (1.5, 5.2, 5.3) ----------------------------------------------------------------------- */

/* Convolution P x P of stride P: pixels f32 [B,H,W,3], w [D,P*P*3] in (row, column, channel) order, b [D] -> [B,h,w,D]
 * with h = ceil(H/P); the picture is zero-padded on the right and below. No gradient to the pixels. */
tensor *patch_embed(ctx *c, const tensor *pixels, tensor *w, tensor *b, int patch);

/* One axis of a separable resampling: output o = sum over i < count[o] of weight[o*width+i] * input[start[o]+i]. */
typedef struct {
  int n_in, n_out, width;
  const int32_t *start, *count;
  const float *weight;
} resample_axis;

/* PyTorch's bicubic without antialiasing (a = -0.75, half-pixel centres, borders clamped): resized position tables. */
const resample_axis *resample_bicubic(ctx *c, int n_in, int n_out);
/* Mean over windows of n_in / n_out cells, the remainder unused: avg_pool2d with stride = kernel. */
const resample_axis *resample_pool(ctx *c, int n_in, int n_out);
/* x [B,h,w,C] -> [B,rows->n_out,columns->n_out,C]. */
tensor *resample(ctx *c, tensor *x, const resample_axis *rows, const resample_axis *columns);
/* A table of positions of an h0 x w0 grid, [h0*w0,C] in whatever shape, for a grid of h x w: as it is, or resized by
 * resample_bicubic -> [h*w,C]. */
tensor *resize_positions(ctx *c, tensor *table, int h0, int w0, int h, int w);

tensor *mean_tokens(ctx *c, tensor *x);                                /* [B,T,C] -> [B,C] */
tensor *repeat_token(ctx *c, tensor *row, int64_t B);                  /* [C] in whatever shape -> [B,1,C] */
tensor *concat_tokens(ctx *c, int n, tensor *const parts[]);           /* [B,Ti,C] -> [B,sum Ti,C] */
tensor *gather_rows(ctx *c, tensor *x, int64_t n, const int32_t *row); /* [...,C] -> [n,C]; row must outlive backward */

/* --- losses (6.1): sum over rows of weight[m] * loss[m] -> one element -------------------------------------------- */

/* logits [...,V]; target and weight have M entries and must outlive backward. l2wrap: factor on the largest logit of
 * every row, in the gradient only (0 = off); it is not scaled by the incoming gradient, as the reference has it. */
tensor *cross_entropy(ctx *c, tensor *logits, const int32_t *target, const float *weight, float l2wrap);
/* Multi-label: target [M,V] in 0..1, loss[m] = sum over labels. */
tensor *bce_with_logits(ctx *c, tensor *logits, const float *target, const float *weight);

#endif
