/* linnet bench lm-training: a training step (forward, backward, AdamW) of an RWKV-6 of 100 million parameters (12 x
 * 768, 2048 tokens) on rows of 512 tokens, and the arithmetic of its products beside the largest product of the same
 * minutes. Counted are two operations a weight and token forward and four backward, the head included and the table of
 * embeddings not. */
#include <stdio.h>
#include <stdlib.h>

#include "apps/bench.h"
#include "apps/limits.h"
#include "apps/output.h"
#include "apps/random_model.h"
#include "lm/rwkv.h"
#include "train/optimizer.h"

enum { BATCH = 8, CONTEXT = 512, VOCABULARY = 2048 };

static const rwkv_config shape = {.version = 6,
                                  .n_layer = 12,
                                  .n_embd = 768,
                                  .dim_att = 768,
                                  .dim_ffn = 2688,
                                  .vocab_size = VOCABULARY,
                                  .head_size = 64,
                                  .rank_mix = 32,
                                  .rank_decay = 64};

typedef struct {
  rwkv lm;
  param_set params;
  adamw optimizer;
  ctx *c;
  int32_t *next; /* [batch,CONTEXT] */
  float *weight;
  int64_t batch;
} subject;

static status begin(subject *s) {
  const adamw_options usual = {
      .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .recipe = &recipe_rwkv};
  const size_t n = (size_t)s->batch * CONTEXT;
  status result = rwkv_new(&s->lm, &shape, "", &s->params);
  if (!result) result = params_allocate(&s->params);
  if (result) return result;
  random_weights(&s->params);
  if ((result = params_want_grads(&s->params, true))) return result;
  if ((result = adamw_new(&s->optimizer, &s->params, &usual))) return result;
  s->next = mem_alloc(n, sizeof *s->next);
  s->weight = mem_alloc(n, sizeof *s->weight);
  if (!s->next || !s->weight || !(s->c = ctx_new())) return last_status();
  s->c->recording = true;
  for (size_t i = 0; i < n; i++) {
    s->next[i] = (int32_t)(random_u64(1, 2, i) % VOCABULARY);
    s->weight[i] = 1 / (float)n;
  }
  return STATUS_OK;
}

static void end(subject *s) {
  ctx_free(s->c);
  free(s->next);
  free(s->weight);
  adamw_free(&s->optimizer);
  params_free(&s->params);
  rwkv_free(&s->lm);
}

/* Tokens a second of one step. */
static status step(void *user, double *rate) {
  subject *s = user;
  ctx *c = s->c;
  const double start = clock_seconds();
  ctx_reset(c);
  params_zero_grads(&s->params);
  tensor *ids = tensor_2d(c, DTYPE_I32, s->batch, CONTEXT);
  for (int64_t i = 0; ids && i < s->batch * CONTEXT; i++)
    i32(ids)[i] = (int32_t)(random_u64(1, 1, (uint64_t)i) % VOCABULARY);
  tensor *x = ids ? rwkv_forward(c, &s->lm, rwkv_embed(c, &s->lm, ids), NULL) : NULL;
  status result = backward(c, cross_entropy(c, rwkv_logits(c, &s->lm, x), s->next, s->weight, 0));
  double norm;
  if (!result) result = adamw_step(&s->optimizer, 1e-4, &norm);
  *rate = (double)(s->batch * CONTEXT) / (clock_seconds() - start);
  return result;
}

static json_t *report(const subject *s, int steps, double *rate, double most) {
  json_t *rounds = json_rounds(rate, steps);
  const double flops = 6 * weights_of_products(&s->params, s->lm.emb), tokens = median(rate, steps);
  const double gflops = 1e-9 * flops * tokens;
  return json_pack("{s:o,s:I,s:i,s:o,s:o,s:o,s:o,s:o}", "parameters", json_number((double)s->params.count), "batch",
                   (json_int_t)s->batch, "context", CONTEXT, "tokens_per_second", json_number(tokens), "gflops",
                   json_number(gflops), "sgemm_gflops", json_number(most), "share", json_number(gflops / most),
                   "rounds", rounds);
}

static json_t *measure(const bench_options *o) {
  subject s = {.batch = o->batch ? o->batch : BATCH};
  double most, *rate = mem_alloc((size_t)o->steps, sizeof *rate);
  status result = rate ? begin(&s) : STATUS_MEMORY;
  if (!result) result = limit_sgemm_beside(o->steps, step, &s, rate, &most);
  json_t *found = result ? NULL : report(&s, o->steps, rate, most);
  end(&s);
  free(rate);
  return found;
}

static void print(const bench_options *o, const json_t *found) {
  (void)o;
  printf("training an RWKV-6 of %.1f million parameters, %.0f rows of %.0f tokens a step\n",
         1e-6 * number_in(found, "parameters"), number_in(found, "batch"), number_in(found, "context"));
  printf("  %-24s %9.1f /s\n", "tokens", number_in(found, "tokens_per_second"));
  print_products("matrix products of a step", found);
}

const bench_part bench_lm_training = {"lm-training", false, false, measure, print};
