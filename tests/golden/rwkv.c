/* RWKV-4 to 7: inference in three ways, training, state tuning. Spec language-models. */
#include "tests/golden/rwkv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/optimizer.h"
#include "train/schedule.h"

static const golden_rule of_models[] = {
    {"io/tokens", GIVEN, 0, 0, NULL},
    {"io/logits_bf16", ALIKE, 0.3, 0.999, NULL},
    {"io/logits*", CLOSE, 2e-4, 0, NULL},
    {"io/state.*", CLOSE, 2e-4, 0, NULL},
    {"io/act.*", CLOSE, 2e-4, 0, NULL},
    {"state/idx", GIVEN, 0, 0, NULL},
    {"state/targets", GIVEN, 0, 0, NULL},
    {"state/grad.*", L2, 1e-3, 0, NULL},
    {"state/*", CLOSE, 2e-4, 0, NULL},
    {"train/idx", GIVEN, 0, 0, NULL},
    {"train/targets", GIVEN, 0, 0, NULL},
    {"train/loss*", CLOSE, 1e-4, 0, NULL},
    {"train/grad.*", L2, 1e-3, 0, NULL},
    {"train/grad_norm", CLOSE, 1e-4, 1e-4, NULL},
    {"train/lr", CLOSE, 1e-7, 0, NULL},
    {"train/schedule.lr", CLOSE, 1e-7, 0, NULL},
    {"train/after*", MOSTLY, 2e-4, 0.97, NULL}, /* signs of gradients that are nearly zero are anybody's */
    {NULL, GIVEN, 0, 0, NULL},
};

/* --- models ------------------------------------------------------------------------------------------------------- */

bool golden_lm_open(golden_case *k, golden_lm *m) {
  memset(m, 0, sizeof *m);
  checkpoint *file = golden_model(k, NULL);
  const char *prefix = file ? golden_prefix(k, file, "emb.weight") : NULL;
  bool ok = false;
  if (prefix) {
    rwkv_config config;
    snprintf(m->prefix, sizeof m->prefix, "%s", prefix);
    if (rwkv_config_read(&config, file, prefix) || rwkv_new(&m->lm, &config, m->prefix, &m->set))
      golden_error(k);
    else
      ok = golden_load(k, &m->set, file);
  }
  checkpoint_close(file);
  return ok;
}

void golden_lm_close(golden_lm *m) {
  rwkv_free(&m->lm);
  params_free(&m->set);
}

bool golden_ids_in(golden_case *k, const tensor *ids, int vocabulary) {
  if (!ids) return false;
  for (int64_t i = 0; i < tensor_count(ids); i++)
    if (i32(ids)[i] < 0 || i32(ids)[i] >= vocabulary) {
      golden_check(k, false, "token %d is not in the vocabulary of %d", (int)i32(ids)[i], vocabulary);
      return false;
    }
  return true;
}

tensor *golden_columns(ctx *c, const tensor *ids, int64_t from, int64_t n) {
  int64_t B = ids->dim[0], T = ids->dim[1];
  tensor *t = tensor_2d(c, DTYPE_I32, B, n);
  for (int64_t b = 0; t && b < B; b++) memcpy(i32(t) + b * n, i32(ids) + b * T + from, (size_t)n * sizeof(int32_t));
  return t;
}

/* ids [T] or [B,T] as [B,T]. */
static tensor *as_rows(ctx *c, tensor *ids) {
  if (!ids || ids->n_dims == 2) return ids;
  return tensor_view(c, ids, 2, (int64_t[]){1, tensor_count(ids)});
}

static tensor *logits_of(ctx *c, const rwkv *lm, const tensor *ids, rwkv_state *state) {
  return rwkv_logits(c, lm, rwkv_forward(c, lm, rwkv_embed(c, lm, ids), &(rwkv_input){.state = state}));
}

/* --- inference ---------------------------------------------------------------------------------------------------- */

/* What version 7 calls w: the decay is exp(-exp(w)). */
static void offer_decay7(golden_case *k, const tensor *t, int block) {
  ctx *c = golden_ctx(k);
  const arena_mark mark = arena_here(c->memory);
  tensor *w = tensor_like(c, t);
  for (int64_t i = 0; w && i < tensor_count(t); i++) f32(w)[i] = -log1pf(expf(-f32(t)[i])) - 0.5f;
  golden_offer_tensor(k, w, "io/act.%d.w", block);
  arena_release(c->memory, mark);
}

typedef struct {
  golden_case *k;
  int version;
} witness;

/* Our names of what a model computes, and the case's. */
static void offer_seen(void *user, int block, const char *name, const tensor *t) {
  static const char *const names[][2] = {{"att", "att"}, {"ffn", "ffn"},        {"out", "x"},   {"att.wkv", "wkv"},
                                         {"att.r", "r"}, {"att.k", "k"},        {"att.v", "v"}, {"att.w", "w"},
                                         {"att.a", "a"}, {"att.b", "b"},        {"ln1", "ln1"}, {"ln2", "ln2"},
                                         {"att.g", "g"}, {"att.shift", "shift"}};
  const witness *w = user;
  if (block < 0 || !strcmp(name, "ln0")) {
    golden_offer_tensor(w->k, t, "io/act.%s", name);
    return;
  }
  if (w->version == 7 && !strcmp(name, "att.w")) {
    offer_decay7(w->k, t, block);
    return;
  }
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(name, names[i][0])) golden_offer_tensor(w->k, t, "io/act.%d.%s", block, names[i][1]);
}

/* In the inference package's layout. */
static void offer_state(golden_case *k, const rwkv_state *state, const char *prefix) {
  static const char *const sums[] = {"aa", "bb", "pp"};
  ctx *c = golden_ctx(k);
  const int version = state->config.version;
  for (int i = 0; i < state->config.n_layer; i++) {
    rwkv6_carry layer = rwkv_state_layer(c, state, i);
    golden_offer_tensor(k, layer.att_x, "%s.%d.att_x", prefix, i);
    golden_offer_tensor(k, layer.ffn_x, "%s.%d.ffn_x", prefix, i);
    if (version > 4)
      golden_offer_tensor(k, version == 7 ? golden_exchanged(c, layer.wkv) : layer.wkv, "%s.%d.att_kv", prefix, i);
    for (int j = 0; version == 4 && layer.wkv && j < 3; j++)
      golden_offer_tensor(k, tensor_window(c, layer.wkv, j * layer.wkv->dim[2], 1, layer.wkv->dim + 2), "%s.%d.att_%s",
                          prefix, i, sums[j]);
  }
}

/* ids [B,T] in pieces of n, n+growth, n+2 growth... tokens from `state`; logits as `logits`. */
static void run_pieces(golden_case *k, const rwkv *lm, const tensor *ids, int64_t n, int growth, rwkv_state *state,
                       const char *logits) {
  ctx *c = golden_ctx(k);
  int64_t B = ids->dim[0], T = ids->dim[1], V = lm->config.vocab_size;
  tensor *all = tensor_3d(c, DTYPE_F32, B, T, V);
  for (int64_t at = 0; all && at < T; at += n, n += growth) {
    if (n > T - at) n = T - at;
    arena_mark mark = arena_here(c->memory);
    tensor *y = logits_of(c, lm, golden_columns(c, ids, at, n), state);
    if (!y) all = NULL;
    for (int64_t b = 0; y && b < B; b++)
      memcpy(f32(all) + (b * T + at) * V, f32(y) + b * n * V, (size_t)(n * V) * sizeof(float));
    arena_release(c->memory, mark);
  }
  golden_offer_tensor(k, all, "%s", logits);
}

static void check_argmax(golden_case *k, const tensor *logits) {
  golden_shape s;
  const float *want = golden_floats(k, golden_has(k, "io/logits") ? "io/logits" : "io/logits_rnn", &s);
  if (!want || !logits || s.n != (size_t)tensor_count(logits)) return;
  size_t V = (size_t)tensor_last(logits), differ = 0;
  for (size_t row = 0; row < s.n; row += V) {
    size_t a = 0, b = 0;
    for (size_t v = 1; v < V; v++) {
      if (want[row + v] > want[row + a]) a = v;
      if (f32(logits)[row + v] > f32(logits)[row + b]) b = v;
    }
    differ += a != b;
  }
  golden_check(k, differ == 0, "%-44s %zu of %zu positions differ", "the likeliest token", differ, s.n / V);
}

static void run_inference(golden_case *k, golden_lm *m) {
  ctx *c = golden_ctx(k);
  const rwkv_config *config = &m->lm.config;
  tensor *ids = as_rows(c, golden_ids(k, "io/tokens"));
  if (!golden_ids_in(k, ids, config->vocab_size)) return;
  witness w = {k, config->version};
  c->observe = offer_seen;
  c->observer = &w;
  tensor *logits = logits_of(c, &m->lm, ids, NULL);
  c->observe = NULL;
  golden_offer_tensor(k, logits, "io/logits");
  golden_offer_tensor(k, logits, "io/logits_bf16");
  check_argmax(k, logits);
  m->lm.ln0_bf16 = true;
  golden_offer_tensor(k, logits_of(c, &m->lm, ids, NULL), "io/logits_ln0round");
  m->lm.ln0_bf16 = false;

  const struct {
    int64_t first;
    int growth;
    const char *logits;
  } ways[] = {
      {1, 0, "io/logits_rnn"}, {1, 1, "io/logits_seq"}, {7, 5, "io/logits_seq"}, {ids->dim[1], 0, "io/logits_seq"}};
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    rwkv_state state;
    if (rwkv_state_new(&state, config, (int)ids->dim[0])) {
      golden_error(k);
      return;
    }
    run_pieces(k, &m->lm, ids, ways[i].first, ways[i].growth, &state, ways[i].logits);
    offer_state(k, &state, "io/state");
    rwkv_state_free(&state);
  }
  ctx_reset(c);
}

/* --- training ----------------------------------------------------------------------------------------------------- */

/* Mean cross entropy over ids [B,T] with L2Wrap in its gradient; NULL with the failure noted. */
static tensor *loss_of(golden_case *k, const rwkv *lm, const tensor *ids, const tensor *targets, tensor **logits) {
  ctx *c = golden_ctx(k);
  int64_t n = tensor_count(ids);
  float *weight = arena_alloc(c->memory, (size_t)n * sizeof *weight);
  for (int64_t i = 0; weight && i < n; i++) weight[i] = 1 / (float)n;
  *logits = logits_of(c, lm, ids, NULL);
  tensor *loss = weight ? cross_entropy(c, *logits, i32(targets), weight, 1e-4f / (float)n) : NULL;
  if (!loss) golden_error(k);
  return loss;
}

/* Row `step` of ids [steps,B,T]. */
static tensor *batch(ctx *c, tensor *ids, int64_t step) {
  return tensor_window(c, ids, step * ids->dim[1] * ids->dim[2], 2, ids->dim + 1);
}

static void train_steps(golden_case *k, golden_lm *m, adamw *optimizer, tensor *idx, tensor *targets,
                        const rwkv_schedule *schedule) {
  ctx *c = golden_ctx(k);
  int64_t steps = idx->dim[0];
  float *record = arena_alloc(c->memory, 3 * (size_t)steps * sizeof *record);
  if (!record) {
    golden_error(k);
    return;
  }
  tensor *logits;
  for (int64_t step = 0; step < steps; step++) {
    arena_mark mark = arena_here(c->memory);
    c->recording = true;
    tensor *loss = loss_of(k, &m->lm, batch(c, idx, step), batch(c, targets, step), &logits);
    params_zero_grads(&m->set);
    if (backward(c, loss)) golden_error(k);
    c->recording = false;
    double norm = 0, rate = schedule_rwkv(schedule, step, 0);
    if (step == 0) golden_offer_grads(k, &m->set, "train/grad.", m->prefix);
    if (loss) record[step] = *f32(loss);
    if (adamw_step(optimizer, rate, &norm)) golden_error(k);
    record[steps + step] = (float)norm;
    record[2 * steps + step] = (float)rate;
    arena_release(c->memory, mark);
  }
  golden_offer(k, record, (size_t)steps, "train/loss");
  golden_offer(k, record + steps, (size_t)steps, "train/grad_norm");
  golden_offer(k, record + 2 * steps, (size_t)steps, "train/lr");
  char prefix[40];
  snprintf(prefix, sizeof prefix, "train/after%d.", (int)steps);
  golden_offer_values(k, &m->set, prefix, m->prefix);
  golden_offer_tensor(k, loss_of(k, &m->lm, batch(c, idx, 0), batch(c, targets, 0), &logits), "train/loss_after");
}

/* The recipe of these cases, where the case itself does not say another. */
static void run_training(golden_case *k, golden_lm *m) {
  ctx *c = golden_ctx(k);
  tensor *idx = golden_ids(k, "train/idx"), *targets = golden_ids(k, "train/targets");
  if (!golden_ids_in(k, idx, m->lm.config.vocab_size) || !golden_ids_in(k, targets, m->lm.config.vocab_size)) return;
  if (idx->n_dims != 3 || tensor_count(targets) != tensor_count(idx)) {
    golden_check(k, false, "train/idx and train/targets must be [steps,B,T]");
    return;
  }
  golden_shape shape = {.n = 20};
  if (golden_has(k, "train/schedule.lr")) golden_floats(k, "train/schedule.lr", &shape);
  int64_t tokens = idx->dim[1] * idx->dim[2];
  const rwkv_schedule schedule = {
      .first = golden_note(k, "lr_init", 2e-3),
      .last = golden_note(k, "lr_final", 2e-4),
      .warmup = (int64_t)golden_note(k, "warmup_steps", 2),
      .warmup_from = golden_note(k, "warm-up factor", 0.01),
      .steps = (int64_t)shape.n,
      .exit_tokens = (int64_t)golden_note(k, "my_exit_tokens", (double)(int64_t)shape.n * (double)tokens),
      .step_tokens = tokens,
  };
  const adamw_options options = {.beta1 = 0.9,
                                 .beta2 = 0.99,
                                 .eps = golden_note(k, ", eps", 1e-18),
                                 .weight_decay = golden_note(k, "weight decay", 0.1),
                                 .clip = 1,
                                 .recipe = &recipe_rwkv};
  double *rates = mem_alloc(shape.n, sizeof *rates);
  for (size_t i = 0; rates && i < shape.n; i++) rates[i] = schedule_rwkv(&schedule, (int64_t)i, 0);
  if (rates) golden_offer_doubles(k, rates, shape.n, "train/schedule.lr");
  free(rates);
  adamw optimizer = {0};
  if (params_want_grads(&m->set, true) || adamw_new(&optimizer, &m->set, &options))
    golden_error(k);
  else
    train_steps(k, m, &optimizer, idx, targets, &schedule);
  adamw_free(&optimizer);
  params_want_grads(&m->set, false);
  ctx_reset(c);
}

/* --- a trained initial state -------------------------------------------------------------------------------------- */

/* The gradient of the state alone: the model itself wants none. */
static void tune_state(golden_case *k, golden_lm *m, param_set *start) {
  ctx *c = golden_ctx(k);
  const rwkv_config *config = &m->lm.config;
  tensor *idx = golden_ids(k, "state/idx"), *targets = golden_ids(k, "state/targets"), *logits;
  if (!golden_ids_in(k, idx, config->vocab_size) || !golden_ids_in(k, targets, config->vocab_size)) return;
  if (params_want_grads(start, true)) {
    golden_error(k);
    return;
  }
  c->recording = true;
  tensor *loss = loss_of(k, &m->lm, idx, targets, &logits);
  golden_offer_tensor(k, loss, "state/loss");
  golden_offer_tensor(k, logits, "state/logits");
  if (backward(c, loss)) golden_error(k);
  c->recording = false;
  golden_offer_grads(k, start, "state/grad.", m->prefix);
  params_want_grads(start, false);

  rwkv_state state;
  if (rwkv_state_new(&state, config, 1)) {
    golden_error(k);
    return;
  }
  rwkv_state_start(&state, &m->lm);
  const tensor *row = tensor_window(c, idx, 0, 2, (int64_t[]){1, idx->dim[1]});
  run_pieces(k, &m->lm, row, 1, 0, &state, "state/logits_rnn_row0");
  offer_state(k, &state, "state/state_row0");
  rwkv_state_free(&state);
}

static void run_state(golden_case *k, golden_lm *m) {
  checkpoint *file = golden_model(k, "state.pth");
  param_set start = {0};
  const char *prefix = file ? golden_prefix(k, file, "blocks.0.att.time_state") : NULL;
  if (prefix && rwkv_declare_start(&m->lm, prefix, &start))
    golden_error(k);
  else if (prefix && golden_load(k, &start, file))
    tune_state(k, m, &start);
  checkpoint_close(file);
  params_free(&start);
  for (int i = 0; i < m->lm.config.n_layer; i++) m->lm.block[i].start = NULL;
  ctx_reset(golden_ctx(k));
}

static void run_model(golden_case *k) {
  golden_lm m;
  if (golden_lm_open(k, &m)) {
    if (golden_has(k, "io/tokens")) run_inference(k, &m);
    if (golden_has(k, "state/idx")) run_state(k, &m);
    if (golden_has(k, "train/idx")) run_training(k, &m); /* last: it changes the weights */
  }
  golden_lm_close(&m);
}

static void run(golden_case *k) {
  if (golden_has(k, "io/config") || golden_has(k, "io/table")) {
    golden_run_sampling(k);
  } else if (golden_has(k, "io/gy")) {
    golden_run_recurrence(k);
  } else {
    golden_rules(k, of_models);
    run_model(k);
  }
}

const golden_system golden_rwkv4 = {"rwkv4", run}, golden_rwkv5 = {"rwkv5", run}, golden_rwkv6 = {"rwkv6", run},
                    golden_rwkv7 = {"rwkv7", run};
