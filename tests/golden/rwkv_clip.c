/* RWKV-CLIP: both towers, their loss and its gradients, the first steps of training. Spec rwkv-clip. */
#include <math.h>
#include <string.h>

#include "fusion/contrastive.h"
#include "kernels/cpu/cpu.h"
#include "tests/golden/clip.h"
#include "train/optimizer.h"
#include "train/schedule.h"

static const golden_rule rules[] = {
    {"io/in.*", GIVEN, 0, 0, NULL},
    {"io/mid.*.wkv_out", NEAR, 3e-6, 2e-5, NULL}, /* sums that reach hundreds, before their norm */
    {"io/mid.*", CLOSE, 2e-5, 0, NULL},
    {"io/out.*_features*", CLOSE, 2e-5, 0, NULL},
    {"io/out.*_norm", CLOSE, 2e-5, 0, NULL},
    {"io/out.cosine", CLOSE, 2e-5, 0, NULL},
    {"io/out.logit_scale_exp", CLOSE, 0, 1e-5, NULL},
    {"io/out.logits_per_image", CLOSE, 2e-5, 2e-5, NULL},
    {"io/out.zeroshot_probs_100", CLOSE, 2e-5, 0, NULL},
    {"io/out.loss", CLOSE, 1e-5, 0, NULL},
    {"io/grad.*", NEAR, 1e-4, 0, NULL},
    {"io/train.lr", CLOSE, 0, 1e-6, NULL},
    {"io/train.beta1", CLOSE, 1e-6, 0, NULL},
    {"io/train.loss", CLOSE, 1e-4, 0, NULL},
    {"io/train.grad_norm", CLOSE, 0, 1e-3, NULL},
    {"io/train.logit_scale", CLOSE, 1e-4, 0, NULL},
    {"io/train.final_*", CLOSE, 1e-3, 0, NULL},
    {NULL, GIVEN, 0, 0, NULL},
};

/* Our names of what the towers compute, and the cases'. */
typedef struct {
  golden_case *k;
  const char *tower, *block; /* "img", "layer" */
  const char *shift, *norm;  /* the cases' names of the shift and of the last norm */
} watch;

static void offer_seen(void *user, int block, const char *name, const tensor *t) {
  const watch *w = user;
  const char *const renamed[][2] = {
      {"att.g", "att.gate_lin"}, {"att.wkv", "att.wkv_out"}, {"att.shift", w->shift}, {"ln_out", w->norm}};
  for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++)
    if (!strcmp(name, renamed[i][0])) name = renamed[i][1];
  if (block < 0)
    golden_offer_tensor(w->k, t, "io/mid.%s.%s", w->tower, name);
  else if (!strcmp(name, "out"))
    golden_offer_tensor(w->k, t, "io/mid.%s.%s%d", w->tower, w->block, block);
  else
    golden_offer_tensor(w->k, t, "io/mid.%s.%s%d.%s", w->tower, w->block, block, name);
}

/* A case's batch. */
typedef struct {
  tensor *pixels, *ids;
} batch;

/* Pictures of other sizes: in.image_SIZE gives out.image_features_SIZE. */
static void run_sizes(golden_case *k, const clip_pair *m) {
  static const char stem[] = "io/in.image_";
  for (size_t i = 0; golden_key(k, i); i++) {
    const char *key = golden_key(k, i);
    if (strncmp(key, stem, sizeof stem - 1)) continue;
    const tensor *pixels = golden_pixels(k, key);
    if (pixels)
      golden_offer_tensor(k, clip_image_features(golden_ctx(k), m, pixels), "io/out.image_features_%s",
                          key + sizeof stem - 1);
  }
}

/* The loss, recorded; the features where they are wanted. */
static tensor *loss_of(ctx *c, const clip_pair *m, const batch *in, tensor **images, tensor **texts) {
  *images = clip_image_features(c, m, in->pixels);
  *texts = clip_text_features(c, m, in->ids);
  return contrastive_loss(c, unit_rows(c, *images), unit_rows(c, *texts), m->logit_scale);
}

static void run_forward(golden_case *k, const clip_pair *m, const batch *in) {
  ctx *c = golden_ctx(k);
  watch w = {k, "img", "layer", "qshift", "ln1"};
  c->observe = offer_seen;
  c->observer = &w;
  tensor *images = clip_image_features(c, m, in->pixels);
  w = (watch){k, "txt", "block", "shift", "ln_out"};
  tensor *texts = clip_text_features(c, m, in->ids);
  c->observe = NULL;
  golden_offer_tensor(k, images, "io/out.image_features");
  golden_offer_tensor(k, texts, "io/out.text_features");
  golden_offer_scores(k, m, unit_rows(c, images), unit_rows(c, texts));
}

static void run_backward(golden_case *k, clip_pair *m, const batch *in) {
  ctx *c = golden_ctx(k);
  tensor *images, *texts;
  c->recording = true;
  tensor *loss = loss_of(c, m, in, &images, &texts);
  golden_offer_tensor(k, loss, "io/out.loss");
  if (backward(c, loss)) golden_error(k);
  c->recording = false;
  golden_offer_grads(k, &m->params, "io/grad.", "");
  const double length = sqrt(cpu()->sum_squares(m->params.count, m->params.grads));
  golden_offer_doubles(k, &length, 1, "io/out.grad_norm");
}

enum { MOST_STEPS = 64 };

/* Steps on the same batch, as many as the case gives rates for; the recipe's numbers stand in its README. */
static void run_training(golden_case *k, clip_pair *m, const batch *in) {
  ctx *c = golden_ctx(k);
  golden_shape rates;
  if (!golden_has(k, "io/train.lr") || !golden_shape_of(k, "io/train.lr", &rates) || rates.n > MOST_STEPS) return;
  const int64_t n = (int64_t)rates.n, steps = (int64_t)golden_note(k, "max_lr 1e-3, ", 20);
  const double peak = golden_note(k, "max_lr ", 1e-3);
  double loss[MOST_STEPS + 1], norm[MOST_STEPS], rate[MOST_STEPS], beta1[MOST_STEPS], scale[MOST_STEPS];
  adamw o;
  tensor *images = NULL, *texts = NULL;
  const adamw_options options = {.beta2 = 0.98, .eps = 1e-8, .weight_decay = 0.2, .clip = 1, .recipe = &recipe_clip};
  status s = adamw_new(&o, &m->params, &options);
  for (int64_t i = 0; !s && i <= n; i++) {
    const arena_mark mark = arena_here(c->memory);
    params_zero_grads(&m->params);
    c->recording = i < n;
    tensor *now = loss_of(c, m, in, &images, &texts);
    if (!now) break;
    loss[i] = (double)*f32(now);
    if (i == n) break;
    s = backward(c, now);
    const one_cycle at = schedule_one_cycle(i, steps, peak);
    o.options.beta1 = beta1[i] = at.beta1;
    rate[i] = at.rate;
    if (!s) s = adamw_step(&o, at.rate, &norm[i]);
    float *log_scale = f32(m->logit_scale);
    *log_scale = fminf(fmaxf(*log_scale, 0), logf(100));
    scale[i] = (double)*log_scale;
    arena_release(c->memory, mark);
  }
  c->recording = false;
  adamw_free(&o);
  if (s) golden_error(k);
  if (s || !images || !texts) return;
  golden_offer_doubles(k, loss, (size_t)n + 1, "io/train.loss");
  golden_offer_doubles(k, norm, (size_t)n, "io/train.grad_norm");
  golden_offer_doubles(k, rate, (size_t)n, "io/train.lr");
  golden_offer_doubles(k, beta1, (size_t)n, "io/train.beta1");
  golden_offer_doubles(k, scale, (size_t)n, "io/train.logit_scale");
  golden_offer_tensor(k, images, "io/train.final_image_features");
  golden_offer_tensor(k, texts, "io/train.final_text_features");
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  clip_pair m;
  if (golden_clip_open(k, &m, CLIP_GELU_BY_FILE)) {
    const batch in = {golden_pixels(k, "io/in.image"), golden_texts(k, &m, "io/in.text_ids")};
    if (in.pixels && in.ids) {
      run_forward(k, &m, &in);
      run_sizes(k, &m);
      if (params_want_grads(&m.params, true)) golden_error(k);
      run_backward(k, &m, &in);
      run_training(k, &m, &in);
    }
  }
  clip_free(&m);
}

const golden_system golden_rwkv_clip = {"rwkv-clip", run};
