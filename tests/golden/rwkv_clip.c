/* RWKV-CLIP: the image tower, and the loss against given text features. Spec rwkv-clip. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fusion/contrastive.h"
#include "tests/golden/runner.h"
#include "vision/rwkv_clip_image.h"

static const char text_tower[] = "the text tower";

static const golden_rule rules[] = {
    {"io/in.image*", GIVEN, 0, 0, NULL},
    {"io/out.text_features", GIVEN, 0, 0, NULL}, /* until there is a text tower to make them */
    {"io/in.text_ids", NOT_BUILT, 0, 0, text_tower},
    {"io/mid.txt.*", NOT_BUILT, 0, 0, text_tower},
    {"io/grad.text_model.*", NOT_BUILT, 0, 0, text_tower},
    {"io/out.grad_norm", NOT_BUILT, 0, 0, text_tower},
    {"io/train.*", NOT_BUILT, 0, 0, text_tower},
    {"io/mid.*.wkv_out", NEAR, 1e-6, 2e-5, NULL}, /* sums that reach 80, before their norm */
    {"io/mid.img.*", CLOSE, 2e-5, 0, NULL},
    {"io/out.image_features*", CLOSE, 2e-5, 0, NULL},
    {"io/out.*_norm", CLOSE, 2e-5, 0, NULL},
    {"io/out.cosine", CLOSE, 2e-5, 0, NULL},
    {"io/out.logit_scale_exp", CLOSE, 0, 1e-5, NULL},
    {"io/out.logits_per_image", CLOSE, 2e-5, 2e-5, NULL},
    {"io/out.zeroshot_probs_100", CLOSE, 2e-5, 0, NULL},
    {"io/out.loss", CLOSE, 1e-5, 0, NULL},
    {"io/grad.*", NEAR, 1e-4, 0, NULL},
    {NULL, GIVEN, 0, 0, NULL},
};

/* The half of the model that is here: the tower and the scale of the cosines. */
typedef struct {
  param_set set;
  image_tower tower;
  tensor *logit_scale;
  char prefix[CHECKPOINT_NAME_MAX];
} half_model;

static const param_spec scale_rows[] = {
    {"logit_scale", offsetof(half_model, logit_scale), {0}, PARAM_BIAS, init_constant, 2.6592600f, 0, 0},
};

static bool open_model(golden_case *k, half_model *m) {
  memset(m, 0, sizeof *m);
  checkpoint *file = golden_model(k, NULL);
  const char *prefix = file ? golden_prefix(k, file, "image_model.pos_embed") : NULL;
  bool ok = false;
  if (prefix) {
    char tower[CHECKPOINT_NAME_MAX];
    image_tower_config config;
    snprintf(m->prefix, sizeof m->prefix, "%s", prefix);
    snprintf(tower, sizeof tower, "%simage_model.", prefix);
    status s = image_tower_config_read(&config, file, tower);
    if (!s) s = image_tower_new(&m->tower, &config, tower, &m->set);
    if (!s) s = params_declare(&m->set, m->prefix, scale_rows, 1, -1, 1, NULL, m);
    if (s)
      golden_error(k);
    else
      ok = golden_load(k, &m->set, file);
  }
  checkpoint_close(file);
  return ok;
}

/* Our names of what the tower computes, and the case's. */
static void offer_seen(void *user, int block, const char *name, const tensor *t) {
  static const char *const renamed[][2] = {
      {"att.g", "att.gate_lin"}, {"att.wkv", "att.wkv_out"}, {"att.shift", "qshift"}, {"ln_out", "ln1"}};
  golden_case *k = user;
  for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++)
    if (!strcmp(name, renamed[i][0])) name = renamed[i][1];
  if (block < 0)
    golden_offer_tensor(k, t, "io/mid.img.%s", name);
  else if (!strcmp(name, "out"))
    golden_offer_tensor(k, t, "io/mid.img.layer%d", block);
  else
    golden_offer_tensor(k, t, "io/mid.img.layer%d.%s", block, name);
}

/* The features of a picture file [B,3,H,W]; NULL with the failure noted. */
static tensor *features_of(golden_case *k, const half_model *m, const char *key) {
  ctx *c = golden_ctx(k);
  const tensor *file = golden_tensor(k, key);
  if (!file) return NULL;
  if (file->n_dims != 4 || file->dim[1] != 3) {
    golden_check(k, false, "%s: expected [B,3,H,W]", key);
    return NULL;
  }
  int64_t B = file->dim[0], n = file->dim[2] * file->dim[3];
  tensor *pixels = tensor_4d(c, DTYPE_F32, B, file->dim[2], file->dim[3], 3);
  for (int64_t b = 0; pixels && b < B; b++)
    for (int64_t i = 0; i < 3 * n; i++) f32(pixels)[b * 3 * n + i] = f32(file)[b * 3 * n + i % 3 * n + i / 3];
  int h, w;
  tensor *f = image_tower_pool(c, &m->tower, pixels ? image_tower_tokens(c, &m->tower, pixels, &h, &w) : NULL);
  if (!f) golden_error(k);
  return f;
}

/* Pictures of other sizes: in.image_SIZE gives out.image_features_SIZE. */
static void run_sizes(golden_case *k, const half_model *m) {
  static const char stem[] = "io/in.image_";
  for (size_t i = 0; golden_key(k, i); i++) {
    const char *key = golden_key(k, i);
    if (strncmp(key, stem, sizeof stem - 1)) continue;
    golden_offer_tensor(k, features_of(k, m, key), "io/out.image_features_%s", key + sizeof stem - 1);
  }
}

static void run_scores(golden_case *k, const half_model *m, tensor *images, tensor *texts) {
  ctx *c = golden_ctx(k);
  const float scale = expf(*f32(m->logit_scale));
  golden_offer(k, &scale, 1, "io/out.logit_scale_exp");
  golden_offer_tensor(k, images, "io/out.image_norm");
  golden_offer_tensor(k, texts, "io/out.text_norm");
  tensor *cosine = linear(c, images, texts, NULL);
  golden_offer_tensor(k, cosine, "io/out.cosine");
  golden_offer_tensor(k, scaled_cosines(c, images, texts, m->logit_scale), "io/out.logits_per_image");
  if (cosine) match_probabilities(f32(cosine), cosine->dim[0], cosine->dim[1], 100);
  golden_offer_tensor(k, cosine, "io/out.zeroshot_probs_100");
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  ctx *c = golden_ctx(k);
  half_model m;
  if (open_model(k, &m)) {
    if (params_want_grads(&m.set, true)) golden_error(k);
    c->observe = offer_seen;
    c->observer = k;
    c->recording = true;
    tensor *features = features_of(k, &m, "io/in.image"), *given = golden_tensor(k, "io/out.text_features");
    c->observe = NULL;
    golden_offer_tensor(k, features, "io/out.image_features");
    if (features && given && tensor_count(given) == tensor_count(features)) {
      tensor *images = unit_rows(c, features), *texts = unit_rows(c, given);
      tensor *loss = contrastive_loss(c, images, texts, m.logit_scale);
      golden_offer_tensor(k, loss, "io/out.loss");
      if (backward(c, loss)) golden_error(k);
      golden_offer_grads(k, &m.set, "io/grad.", m.prefix);
      c->recording = false;
      run_scores(k, &m, images, texts);
    }
    c->recording = false;
    run_sizes(k, &m);
  }
  image_tower_free(&m.tower);
  params_free(&m.set);
}

const golden_system golden_rwkv_clip = {"rwkv-clip", run};
