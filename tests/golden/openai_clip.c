/* CLIP's transformers as OpenAI publishes them. Spec rwkv-clip section 11. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/clip.h"

static const golden_rule rules[] = {
    {"io/in.*", GIVEN, 0, 0, NULL},
    {"io/out.logits*", CLOSE, 1e-3, 0, NULL},
    {"io/*", CLOSE, 1e-4, 0, NULL},
    {NULL, GIVEN, 0, 0, NULL},
};

typedef struct {
  golden_case *k;
  const char *tower;
  int depth; /* of the image tower; 0 while the text tower is watched */
} watch;

/* The patches [B,h,w,D] as the case holds them, [B,D,h,w]. */
static void offer_patches(golden_case *k, const tensor *t) {
  const int64_t n = t->dim[1] * t->dim[2], D = t->dim[3];
  float *planes = mem_alloc((size_t)tensor_count(t), sizeof *planes);
  for (int64_t i = 0; planes && i < tensor_count(t); i++)
    planes[i / (n * D) * n * D + i % D * n + i / D % n] = f32(t)[i];
  if (planes) golden_offer(k, planes, (size_t)tensor_count(t), "io/mid.img.conv1");
  free(planes);
}

static void offer_seen(void *user, int block, const char *name, const tensor *t) {
  const watch *w = user;
  if (!strcmp(name, "conv1"))
    offer_patches(w->k, t);
  else if (block < 0)
    golden_offer_tensor(w->k, t, "io/mid.%s.%s", w->tower, name);
  else if (strcmp(name, "out"))
    golden_offer_tensor(w->k, t, "io/mid.%s.block%d.%s", w->tower, block, name);
  else
    golden_offer_tensor(w->k, t, "io/mid.%s.block%d", w->tower, block);
  /* Hugging Face's names of the same. */
  if (block >= 0 && block == w->depth - 2 && !strcmp(name, "out"))
    golden_offer_tensor(w->k, t, "io/hf.penultimate_hidden_state");
  if (block >= 0 && block == w->depth - 1 && !strcmp(name, "out"))
    golden_offer_tensor(w->k, t, "io/hf.last_hidden_state");
  if (!strcmp(name, "ln_post")) golden_offer_tensor(w->k, t, "io/hf.pooler_output");
}

/* The embeddings that a search takes, which reads texts up to their ends only, against the features' unit rows. */
static void check_encoding(golden_case *k, const clip_pair *m, const tensor *pixels, const tensor *ids) {
  ctx *c = golden_ctx(k);
  const size_t width = (size_t)clip_width(m), n_images = (size_t)pixels->dim[0] * width,
               n_texts = (size_t)ids->dim[0] * width;
  float *images = mem_alloc(n_images, sizeof *images), *texts = mem_alloc(n_texts, sizeof *texts);
  if (!images || !texts || clip_encode_images(c, m, pixels, images) ||
      clip_encode_texts(c, m, i32(ids), ids->dim[0], ids->dim[1], texts)) {
    golden_error(k);
  } else {
    golden_offer(k, images, n_images, "io/out.image_norm");
    golden_offer(k, texts, n_texts, "io/out.text_norm");
  }
  free(images), free(texts);
}

/* Pictures and texts as the reference had them when it noted its intermediate values. */
typedef struct {
  tensor *pixels, *ids;
} batch;

/* Whether the patches of the given pictures are those that the case holds. */
static bool has_patches_of(golden_case *k, const clip_pair *m, const tensor *pixels) {
  ctx *c = golden_ctx(k);
  golden_shape s;
  const float *want = golden_floats(k, "io/mid.img.conv1", &s);
  const tensor *got = patch_embed(c, pixels, m->image.patch_weight, NULL, m->config.image.patch);
  if (!want || !got || s.n != (size_t)tensor_count(got)) return true; /* to be compared, and to fail */
  const int64_t n = got->dim[1] * got->dim[2], D = got->dim[3];
  for (int64_t i = 0; i < tensor_count(got); i++)
    if (!(fabsf(f32(got)[i] - want[i / (n * D) * n * D + i % D * n + i / D % n]) < 1e-3f)) return false;
  return true;
}

/* The published cases' intermediate values are not those of their inputs: they were noted after two checks of the
 * reference, of which one adds 1 to the first pixel of every picture, and the other puts id 5 in the last place of the
 * first text, where a causal tower's feature cannot see it. */
static batch as_noted(golden_case *k, const clip_pair *m, tensor *pixels, tensor *ids) {
  ctx *c = golden_ctx(k);
  batch given = {pixels, ids}, noted = {tensor_like(c, pixels), tensor_like(c, ids)};
  if (!golden_has(k, "io/mid.img.conv1") || has_patches_of(k, m, pixels)) return given;
  if (!noted.pixels || !noted.ids) {
    golden_error(k);
    return given;
  }
  memcpy(noted.pixels->data, pixels->data, (size_t)tensor_count(pixels) * sizeof(float));
  memcpy(noted.ids->data, ids->data, (size_t)tensor_count(ids) * sizeof(int32_t));
  const int64_t picture = tensor_count(pixels) / pixels->dim[0];
  for (int64_t b = 0; b < pixels->dim[0]; b++)
    for (int i = 0; i < 3; i++) f32(noted.pixels)[b * picture + i] += 1;
  i32(noted.ids)[ids->dim[1] - 1] = 5;
  return noted;
}

static void run_towers(golden_case *k, const clip_pair *m, tensor *pixels, tensor *ids) {
  ctx *c = golden_ctx(k);
  const batch noted = as_noted(k, m, pixels, ids);
  watch w = {k, "img", m->config.image.tower.depth};
  c->observe = offer_seen;
  c->observer = &w;
  if (!clip_image_features(c, m, noted.pixels)) golden_error(k);
  w = (watch){k, "txt", 0};
  if (!clip_text_features(c, m, noted.ids)) golden_error(k);
  c->observe = NULL;
  tensor *images = clip_image_features(c, m, pixels), *texts = clip_text_features(c, m, ids);
  golden_offer_tensor(k, images, "io/out.image_features");
  golden_offer_tensor(k, texts, "io/out.text_features");
  golden_offer_scores(k, m, unit_rows(c, images), unit_rows(c, texts));
  check_encoding(k, m, pixels, ids);
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  clip_pair m;
  if (golden_clip_open(k, &m, CLIP_GELU_QUICK)) {
    tensor *pixels = golden_pixels(k, "io/in.image"), *ids = golden_texts(k, &m, "io/in.text_ids");
    if (pixels && ids) run_towers(k, &m, pixels, ids);
  }
  clip_free(&m);
}

const golden_system golden_openai_clip = {"openai-clip", run};
