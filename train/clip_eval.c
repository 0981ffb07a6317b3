#include "train/clip_eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas.h"

/* --- zero-shot classification ------------------------------------------------------------------------------------- */

void zero_shot_truncate(float *logits, size_t n) {
  for (size_t i = 0; i < n; i++) logits[i] = truncf(logits[i]);
}

/* How many of n values come before the one at `index`: larger ones, and equal ones that stand earlier. `step` floats
 * lie between them. */
static size_t rank_of(const float *x, size_t n, size_t step, size_t index) {
  const float own = x[index * step];
  size_t rank = 0;
  for (size_t i = 0; i < n; i++) rank += x[i * step] > own || (x[i * step] == own && i < index);
  return rank;
}

typedef struct {
  size_t all, right;
} tally;

interval wilson_interval(size_t right, size_t n) {
  const double z = 1.959963984540054, N = (double)n, p = (double)right / N;
  const double middle = (p + z * z / (2 * N)) / (1 + z * z / N);
  const double half = z / (1 + z * z / N) * sqrt(p * (1 - p) / N + z * z / (4 * N * N));
  return (interval){100 * fmax(middle - half, 0), 100 * fmin(middle + half, 1)};
}

/* What there is to count: of each class, and of all. */
static status count_ranks(const float *logits, size_t M, size_t K, const int32_t *targets, tally *class, size_t *right,
                          size_t *near) {
  for (size_t m = 0; m < M; m++) {
    if (targets[m] < 0 || (size_t)targets[m] >= K)
      return fail(STATUS_ARGUMENT, "a picture is of class %d of %zu", (int)targets[m], K);
    const size_t rank = rank_of(logits + m * K, K, 1, (size_t)targets[m]);
    class[targets[m]].all++;
    class[targets[m]].right += rank == 0;
    *right += rank == 0;
    *near += rank < 5;
  }
  return STATUS_OK;
}

status class_scores_of(const float *logits, size_t M, size_t K, const int32_t *targets, class_scores *scores) {
  tally *class = mem_zero(K, sizeof *class);
  if (!class) return STATUS_MEMORY;
  size_t right = 0, near = 0, classes = 0, most = 0;
  double shares = 0;
  status s = M ? STATUS_OK : fail(STATUS_ARGUMENT, "there are no pictures to score");
  if (!s) s = count_ranks(logits, M, K, targets, class, &right, &near);
  for (size_t k = 0; !s && k < K; k++) {
    if (!class[k].all) continue;
    classes++;
    shares += (double)class[k].right / (double)class[k].all;
    if (class[k].all > most) most = class[k].all;
  }
  free(class);
  if (s) return s;
  *scores = (class_scores){
      .top1 = 100 * (double)right / (double)M,
      .top5 = 100 * (double)near / (double)M,
      .top1_within = wilson_interval(right, M),
      .top5_within = wilson_interval(near, M),
      .mean_per_class = 100 * shares / (double)classes,
      .chance = 100 / (double)K,
      .frequent = 100 * (double)most / (double)M,
  };
  return STATUS_OK;
}

/* --- retrieval ---------------------------------------------------------------------------------------------------- */

const int recall_at[RECALLS] = {1, 5, 10};

/* Counts a rank for every k that it is within. */
static void count_rank(size_t rank, size_t count[RECALLS]) {
  for (int i = 0; i < RECALLS; i++) count[i] += rank < (size_t)recall_at[i];
}

typedef struct {
  const float *images, *texts;
  size_t I, T, D;
  const int32_t *image_of;
  float *products; /* [ROWS,T] of the pictures at hand */
  float *own;      /* [T] each text's product with its picture */
  size_t *rank;    /* [T] pictures before it */
  size_t images_right[RECALLS], texts_right[RECALLS];
} retrieval;
enum { ROWS = 64 };

/* The rank of a picture's best caption; false if it has none. */
static bool best_caption(const retrieval *r, size_t i, const float *row, size_t *rank) {
  size_t best = r->T;
  for (size_t t = 0; t < r->T; t++)
    if ((size_t)r->image_of[t] == i && (best == r->T || row[t] > row[best])) best = t;
  if (best == r->T) return false;
  *rank = rank_of(row, r->T, 1, best);
  return true;
}

/* Pictures first..first+n-1, for their own ranks and to learn what texts' ranks are counted against. */
static status first_pass(retrieval *r, size_t first, size_t n) {
  for (size_t i = 0; i < n; i++) {
    size_t rank;
    if (!best_caption(r, first + i, r->products + i * r->T, &rank))
      return fail(STATUS_ARGUMENT, "picture %zu has no caption", first + i);
    count_rank(rank, r->images_right);
  }
  for (size_t t = 0; t < r->T; t++) {
    const size_t i = (size_t)r->image_of[t];
    if (i >= first && i < first + n) r->own[t] = r->products[(i - first) * r->T + t];
  }
  return STATUS_OK;
}

static void second_pass(retrieval *r, size_t first, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (size_t t = 0; t < r->T; t++) {
      const float x = r->products[i * r->T + t];
      r->rank[t] += x > r->own[t] || (x == r->own[t] && first + i < (size_t)r->image_of[t]);
    }
}

static status run(retrieval *r) {
  for (size_t t = 0; t < r->T; t++)
    if (r->image_of[t] < 0 || (size_t)r->image_of[t] >= r->I)
      return fail(STATUS_ARGUMENT, "text %zu is a caption of picture %d of %zu", t, (int)r->image_of[t], r->I);
  for (int pass = 0; pass < 2; pass++)
    for (size_t first = 0; first < r->I; first += ROWS) {
      const size_t n = r->I - first < ROWS ? r->I - first : ROWS;
      sgemm(false, true, n, r->T, r->D, 1, r->images + first * r->D, r->D, r->texts, r->D, 0, r->products, r->T);
      if (pass) {
        second_pass(r, first, n);
        continue;
      }
      const status s = first_pass(r, first, n);
      if (s) return s;
    }
  for (size_t t = 0; t < r->T; t++) count_rank(r->rank[t], r->texts_right);
  return STATUS_OK;
}

status retrieval_recall(const float *images, size_t I, const float *texts, size_t T, size_t D, const int32_t *image_of,
                        retrieval_scores *scores) {
  status s = I && T ? blas_open() : fail(STATUS_ARGUMENT, "retrieval wants pictures and texts");
  if (s) return s;
  retrieval r = {.images = images, .texts = texts, .I = I, .T = T, .D = D, .image_of = image_of};
  r.products = mem_alloc(ROWS * T, sizeof *r.products);
  r.own = mem_alloc(T, sizeof *r.own);
  r.rank = mem_zero(T, sizeof *r.rank);
  s = r.products && r.own && r.rank ? run(&r) : STATUS_MEMORY;
  free(r.products), free(r.own), free(r.rank);
  for (int i = 0; !s && i < RECALLS; i++) {
    scores->image_to_text[i] = 100 * (double)r.images_right[i] / (double)I;
    scores->text_to_image[i] = 100 * (double)r.texts_right[i] / (double)T;
  }
  return s;
}
