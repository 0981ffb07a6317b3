#include "train/mqar.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/ops.h"
#include "train/optimizer.h"
#include "train/run.h"
#include "train/schedule.h"

mqar_train_options mqar_train_defaults(void) {
  return (mqar_train_options){
      .run = {.out = "",
              .steps = 2000,
              .batch = 32,
              .rate = 3e-3,
              .rate_final = 1e-4,
              .warmup = 50,
              .clip = 1,
              .beta1 = 0.9,
              .beta2 = 0.99,
              .save_every = 1},
      .task = mqar_task_of(64, 4),
      .version = 6,
      .width = 64,
      .layers = 2,
      .head_size = 64,
      .check_every = 100,
      .check = 500,
      .test = 3000,
      .enough = 0.999,
  };
}

/* Whose examples: no two of a run's seeds are the same. */
typedef enum { TO_LEARN, TO_CHECK, TO_TEST, PARTS } part;

typedef struct {
  mqar_train_options o;
  mqar source[PARTS];
  param_set params;
  rwkv lm;
  adamw optimizer;
  ctx *c;
  int32_t *ids;          /* [batch,length] */
  int32_t *place, *want; /* [batch*pairs] labelled rows of [batch*length], and their labels */
  float *weight;         /* [batch*pairs] */
  int64_t step;
} trainer;

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static status check_options(const mqar_train_options *o) {
  const status s = run_settings_check(&o->run);
  if (s) return s;
  if (o->check_every < 0 || o->check < 1 || o->test < 1)
    return fail(STATUS_ARGUMENT, "scores need at least one example; check-every must be at least 0");
  return o->width >= 1 && o->width <= 1 << 20
             ? STATUS_OK
             : fail(STATUS_ARGUMENT, "a model of %d channels: expected 1 to 1048576", o->width);
}

static status declare(trainer *t) {
  const mqar_train_options *o = &t->o;
  lm_train_options sizes = lm_train_defaults();
  sizes.version = o->version;
  sizes.width = o->width;
  sizes.layers = o->layers;
  sizes.head_size = o->head_size;
  rwkv_config config = lm_config(&sizes, o->task.vocabulary);
  config.parts |= RWKV_TIED;
  const status s = rwkv_new(&t->lm, &config, "", &t->params);
  for (size_t i = 0; !s && i < t->params.n; i++)
    if (t->params.item[i].slot == &t->lm.emb) t->params.item[i].gain = sqrtf(3 / (float)o->width); /* of init_uniform */
  return s;
}

static status make_model(trainer *t) {
  const run_settings *r = &t->o.run;
  status s = declare(t);
  if (!s) s = params_allocate(&t->params);
  if (s) return s;
  t->lm.head = t->lm.emb;
  params_init(&t->params, r->seed);
  return adamw_of_run(&t->optimizer, &t->params, r, 1e-18, &recipe_rwkv);
}

static status begin(trainer *t) {
  const mqar_train_options *o = &t->o;
  status s = check_options(o);
  for (int i = 0; !s && i < PARTS; i++) s = mqar_new(&t->source[i], &o->task, random_u64(o->run.seed, (uint64_t)i, 1));
  if (s) return s;
  if (!(t->c = ctx_new())) return last_status();
  const size_t labels = (size_t)o->run.batch * (size_t)o->task.pairs;
  t->ids = mem_alloc((size_t)o->run.batch * (size_t)o->task.length, sizeof *t->ids);
  t->place = mem_alloc(labels, sizeof *t->place);
  t->want = mem_alloc(labels, sizeof *t->want);
  t->weight = mem_alloc(labels, sizeof *t->weight);
  return t->ids && t->place && t->want && t->weight ? make_model(t) : STATUS_MEMORY;
}

static void end(trainer *t) {
  free(t->ids), free(t->place), free(t->want), free(t->weight);
  adamw_free(&t->optimizer);
  rwkv_free(&t->lm);
  params_free(&t->params);
  ctx_free(t->c);
  for (int i = 0; i < PARTS; i++) mqar_free(&t->source[i]);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

/* Examples first, first+1, ... of a part through the model: logits of their labelled places [n*pairs,V]. */
static tensor *logits_of(trainer *t, part p, uint64_t first, int n) {
  const int T = t->o.task.length, pairs = t->o.task.pairs;
  ctx *c = t->c;
  for (int b = 0; b < n; b++) {
    int32_t *place = t->place + b * pairs;
    mqar_make(&t->source[p], first + (uint64_t)b, t->ids + b * T, place, t->want + b * pairs);
    for (int i = 0; i < pairs; i++) place[i] += b * T;
  }
  tensor *ids = tensor_wrap(c, DTYPE_I32, t->ids, 2, (int64_t[]){n, T});
  if (!ids) return NULL;
  tensor *x = rwkv_forward(c, &t->lm, rwkv_embed(c, &t->lm, ids), NULL);
  return rwkv_logits(c, &t->lm, gather_rows(c, x, (int64_t)n * pairs, t->place));
}

/* How many rows' first largest logit is the label's. */
static int hits(const tensor *logits, const int32_t *want) {
  const int64_t V = tensor_last(logits), n = tensor_rows(logits);
  int right = 0;
  for (int64_t i = 0; i < n; i++) {
    const float *row = f32(logits) + i * V;
    int64_t best = 0;
    for (int64_t v = 1; v < V; v++)
      if (row[v] > row[best]) best = v;
    right += best == want[i];
  }
  return right;
}

static status learn(trainer *t, mqar_progress *p) {
  const mqar_train_options *o = &t->o;
  const int labels = o->run.batch * o->task.pairs;
  for (int i = 0; i < labels; i++) t->weight[i] = 1 / (float)labels;
  params_zero_grads(&t->params);
  ctx_reset(t->c);
  t->c->recording = true;
  tensor *logits = logits_of(t, TO_LEARN, (uint64_t)t->step * (uint64_t)o->run.batch, o->run.batch);
  tensor *loss = cross_entropy(t->c, logits, t->want, t->weight, 0);
  t->c->recording = false;
  if (!loss) return last_status();
  p->loss = f32(loss)[0];
  p->accuracy = hits(logits, t->want) / (double)labels;
  if (!isfinite(p->loss)) return fail(STATUS_FORMAT, "the loss is not finite at step %lld", (long long)t->step);
  status s = backward(t->c, loss);
  p->rate = schedule_cosine(t->step, o->run.warmup, o->run.steps, o->run.rate, o->run.rate_final);
  if (!s) s = adamw_step(&t->optimizer, p->rate, &p->grad_norm);
  if (!s) t->step++;
  return s;
}

/* The first `examples` of a part. */
static status score(trainer *t, part p, int examples, mqar_score *out) {
  const int pairs = t->o.task.pairs;
  double nats = 0, right = 0;
  for (int first = 0, n; first < examples; first += n) {
    n = examples - first < t->o.run.batch ? examples - first : t->o.run.batch;
    for (int i = 0; i < n * pairs; i++) t->weight[i] = 1;
    ctx_reset(t->c);
    tensor *logits = logits_of(t, p, (uint64_t)first, n);
    const tensor *loss = cross_entropy(t->c, logits, t->want, t->weight, 0);
    if (!loss) return last_status();
    nats += (double)f32(loss)[0];
    right += hits(logits, t->want);
  }
  const double labels = (double)examples * pairs;
  *out = (mqar_score){.step = t->step, .examples = examples, .loss = nats / labels, .accuracy = right / labels};
  return STATUS_OK;
}

static void report(const trainer *t, run_tally *sum, const mqar_progress *last) {
  run_report r;
  if (!run_tally_add(sum, (const double[RUN_LOSSES]){last->loss, last->accuracy}, 0, t->step, t->o.run.steps, &r) ||
      !t->o.progress)
    return;
  mqar_progress p = *last;
  p.step = t->step;
  p.steps = t->o.run.steps;
  p.loss = r.loss[0];
  p.accuracy = r.loss[1];
  p.tokens_per_second = r.steps_per_second * t->o.run.batch * t->o.task.length;
  p.seconds_left = r.seconds_left;
  t->o.progress(t->o.user, &p);
}

/* *done: a check was accurate enough. */
static status check(trainer *t, bool *done) {
  mqar_score s;
  if (!t->o.check_every || t->step % t->o.check_every) return STATUS_OK;
  const status failed = score(t, TO_CHECK, t->o.check, &s);
  if (failed) return failed;
  if (t->o.checked) t->o.checked(t->o.user, &s);
  *done = s.accuracy >= t->o.enough;
  return STATUS_OK;
}

static status run(trainer *t, mqar_train_result *result) {
  run_tally sum = run_tally_begin(0);
  bool done = false;
  status s = STATUS_OK;
  while (!s && !done && t->step < t->o.run.steps) {
    mqar_progress p = {0};
    const double begun = clock_seconds();
    if ((s = learn(t, &p))) break;
    result->seconds += clock_seconds() - begun;
    report(t, &sum, &p);
    s = check(t, &done);
    if (!s && t->o.run.stop && *t->o.run.stop) s = fail(STATUS_INTERRUPTED, "stopped at step %lld", (long long)t->step);
  }
  return s ? s : score(t, TO_TEST, t->o.test, &result->score);
}

status mqar_train(const mqar_train_options *options, mqar_train_result *result) {
  trainer t = {.o = *options};
  *result = (mqar_train_result){0};
  status s = begin(&t);
  if (!s) s = run(&t, result);
  result->parameters = (int64_t)t.params.count;
  end(&t);
  return s;
}
