#include "train/clip_init.h"

#include <string.h>

status clip_image_init_open(clip_image_init *from, const char *path) {
  checkpoint *file = checkpoint_open(path);
  if (!file) return last_status();
  const char *system = checkpoint_metadata(file, CHECKPOINT_SYSTEM);
  const bool captioner = system && !strcmp(system, VISUALRWKV_SYSTEM);
  checkpoint_close(file);
  if (captioner) {
    if (!(from->captioner = visualrwkv_open(path))) return last_status();
    from->tower = &from->captioner->tower;
    return STATUS_OK;
  }
  if (!(from->pair = clip_open(path, CLIP_GELU_BY_FILE))) return last_status();
  if (!from->pair->config.rwkv || !from->pair->config.has_image)
    return fail(STATUS_UNSUPPORTED, "%s: it has no image tower of RWKV-CLIP's", path);
  from->tower = &from->pair->rwkv_image;
  return STATUS_OK;
}

void clip_image_init_free(clip_image_init *from) {
  visualrwkv_close(from->captioner);
  clip_close(from->pair);
  *from = (clip_image_init){0};
}

/* A captioner's pixels are 2 u - 1 of a share u, a pair's (u - mean) / deviation: 2 u - 1 is a pair's pixel times
 * `slope` plus `level`, one pair of numbers a channel, which go into the patches' weights and bias. */
static void convert_patches(const image_tower *t) {
  const uint8_t ends[] = {0, 0, 0, 255, 255, 255};
  float pixels[6], slope[3], level[3];
  image_tower_normalise(ends, 6, pixels);
  for (int c = 0; c < 3; c++) {
    slope[c] = 2 / (pixels[3 + c] - pixels[c]);
    level[c] = -1 - slope[c] * pixels[c];
  }
  const int64_t D = t->patch_bias->dim[0], n = tensor_count(t->patch_weight) / D; /* rows of (y, x, channel) */
  for (int64_t d = 0; d < D; d++) {
    float *row = f32(t->patch_weight) + d * n;
    double shift = 0;
    for (int64_t i = 0; i < n; i++) {
      shift += (double)row[i] * (double)level[i % 3];
      row[i] *= slope[i % 3];
    }
    f32(t->patch_bias)[d] += (float)shift;
  }
}

/* The name of a parameter after its tower's prefix; NULL if it is not of a tower. */
static const char *name_within(const char *name) {
  static const char tower[] = "image_model.";
  const char *at = strstr(name, tower);
  return at ? at + sizeof tower - 1 : NULL;
}

status clip_image_init_copy(const clip_image_init *from, clip_pair *to) {
  const param_set *source = from->captioner ? &from->captioner->params : &from->pair->params;
  size_t at = 0;
  for (size_t i = 0; i < to->params.n; i++) {
    const param *p = &to->params.item[i];
    const char *name = name_within(p->name), *other = NULL;
    if (!name) continue;
    for (; at < source->n; at++) /* both are in the order of the tower's table */
      if ((other = name_within(source->item[at].name)) && !strcmp(name, other)) break;
    if (at == source->n || tensor_count(source->item[at].value) != tensor_count(p->value))
      return fail(STATUS_FORMAT, "the image tower to begin with has no fitting %s", name);
    param_values(source->item[at].value, 0, (size_t)tensor_count(p->value), f32(p->value));
  }
  if (from->captioner) convert_patches(&to->rwkv_image);
  return STATUS_OK;
}
