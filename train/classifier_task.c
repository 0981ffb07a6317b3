#include "train/classifier_task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64 };

typedef struct {
  const image_classifier *m;
  ctx *c;
  uint8_t *rgb;     /* one picture */
  float *pixels;    /* [batch,S,S,3] */
  float *logits;    /* [pictures,classes] */
  int32_t *targets; /* [pictures] */
  size_t waiting, n;
} job;

/* The logits of the pictures at hand. */
static status classify(job *j) {
  const int64_t S = j->m->config.image_size;
  const size_t K = j->m->names.n;
  const tensor input = {.type = DTYPE_F32, .n_dims = 4, .dim = {(int64_t)j->waiting, S, S, 3}, .data = j->pixels};
  if (!j->waiting) return STATUS_OK;
  ctx_reset(j->c);
  const tensor *found = image_classifier_logits(j->c, j->m, &input, NULL);
  if (!found) return last_status();
  memcpy(j->logits + j->n * K, f32(found), j->waiting * K * sizeof *j->logits);
  const status s = params_check_result(j->logits + j->n * K, j->waiting * K);
  j->n += j->waiting;
  j->waiting = 0;
  return s;
}

static status take(job *j, const labelled *set, size_t index) {
  const size_t S = (size_t)j->m->config.image_size, picture = S * S * 3;
  image *im = labelled_picture(set, index);
  const status s = im ? image_classifier_picture(j->m, im, j->rgb) : last_status();
  image_free(im);
  if (s) return s;
  image_tower_normalise(j->rgb, picture, j->pixels + j->waiting * picture);
  j->targets[j->n + j->waiting++] = labelled_target(set, index);
  return STATUS_OK;
}

static status classify_all(job *j, const labelled *set, size_t first, size_t n, const task_options *o) {
  const size_t batch = o->batch > 0 ? (size_t)o->batch : BATCH;
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < n; i++) {
    s = take(j, set, first + i);
    const bool broken = s && s != STATUS_MEMORY;
    if (broken) s = STATUS_OK;
    if (!s && j->waiting == batch) s = classify(j);
    if (!s && o->step) s = o->step(o->user, broken ? last_error() : NULL);
  }
  return s ? s : classify(j);
}

static double loss_of(const float *logits, size_t K, size_t target) {
  double most = (double)logits[0], sum = 0;
  for (size_t k = 1; k < K; k++) most = fmax(most, (double)logits[k]);
  for (size_t k = 0; k < K; k++) sum += exp((double)logits[k] - most);
  return log(sum) + most - (double)logits[target];
}

status classifier_task(const image_classifier *m, const labelled *set, size_t first, size_t n,
                       const task_options *options, classifier_report *r) {
  const size_t batch = options->batch > 0 ? (size_t)options->batch : BATCH, K = m->names.n;
  const size_t S = (size_t)m->config.image_size, picture = S * S * 3;
  job j = {.m = m, .c = ctx_new()};
  j.rgb = mem_alloc(picture, 1);
  j.pixels = mem_alloc(batch, picture * sizeof *j.pixels);
  j.logits = mem_alloc(n, K * sizeof *j.logits);
  j.targets = mem_alloc(n, sizeof *j.targets);
  *r = (classifier_report){.classes = K};
  status s = j.c && j.rgb && j.pixels && j.logits && j.targets ? STATUS_OK : last_status();
  if (!s) s = classify_all(&j, set, first, n, options);
  for (size_t i = 0; !s && i < j.n; i++) r->loss += loss_of(j.logits + i * K, K, (size_t)j.targets[i]) / (double)j.n;
  if (!s) s = class_scores_of(j.logits, j.n, K, j.targets, &r->scores);
  r->pictures = j.n;
  r->skipped = n - j.n;
  free(j.rgb), free(j.pixels), free(j.logits), free(j.targets);
  ctx_free(j.c);
  return s;
}
