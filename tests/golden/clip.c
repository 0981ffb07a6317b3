#include "tests/golden/clip.h"

#include "fusion/contrastive.h"

bool golden_clip_open(golden_case *k, clip_pair *m, clip_gelu gelu) {
  checkpoint *file = golden_model(k, NULL);
  *m = (clip_pair){.config = {0}};
  if (!file) return false; /* noted */
  const bool ok = !clip_load(m, file, gelu, PARAMS_FOR_TRAINING);
  if (!ok) golden_error(k);
  checkpoint_close(file);
  return ok;
}

tensor *golden_pixels(golden_case *k, const char *key) {
  ctx *c = golden_ctx(k);
  const tensor *file = golden_tensor(k, key);
  if (!file) return NULL;
  if (file->n_dims != 4 || file->dim[1] != 3) {
    golden_check(k, false, "%s: expected [B,3,H,W]", key);
    return NULL;
  }
  const int64_t B = file->dim[0], n = file->dim[2] * file->dim[3];
  tensor *pixels = tensor_4d(c, DTYPE_F32, B, file->dim[2], file->dim[3], 3);
  if (!pixels) golden_error(k);
  for (int64_t b = 0; pixels && b < B; b++)
    for (int64_t i = 0; i < 3 * n; i++) f32(pixels)[b * 3 * n + i] = f32(file)[b * 3 * n + i % 3 * n + i / 3];
  return pixels;
}

tensor *golden_texts(golden_case *k, const clip_pair *m, const char *key) {
  tensor *ids = golden_ids(k, key);
  if (!ids) return NULL; /* noted */
  if (ids->n_dims == 2 && !clip_check_ids(m, i32(ids), ids->dim[0], ids->dim[1])) return ids;
  golden_check(k, false, "%s: expected [B,T] of ids in the vocabulary", key);
  return NULL;
}

void golden_offer_scores(golden_case *k, const clip_pair *m, tensor *images, tensor *texts) {
  ctx *c = golden_ctx(k);
  const float scale = clip_scale(m);
  golden_offer(k, &scale, 1, "io/out.logit_scale_exp");
  golden_offer_tensor(k, images, "io/out.image_norm");
  golden_offer_tensor(k, texts, "io/out.text_norm");
  golden_offer_tensor(k, scaled_cosines(c, images, texts, m->logit_scale), "io/out.logits_per_image");
  golden_offer_tensor(k, scaled_cosines(c, texts, images, m->logit_scale), "io/out.logits_per_text");
  tensor *cosine = linear(c, images, texts, NULL);
  golden_offer_tensor(k, cosine, "io/out.cosine");
  if (cosine) match_probabilities(f32(cosine), cosine->dim[0], cosine->dim[1], 100);
  golden_offer_tensor(k, cosine, "io/out.zeroshot_probs_100");
}
