#include "fusion/visualrwkv_clip.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>

enum { C = 1, D, SIZES };
static const param_spec proj_row = {
    "proj.weight", offsetof(visualrwkv_clip, proj), {-C, -D}, PARAM_MATRIX, init_fan_in, 0, 0, 0};

#define TOWER "vit."

/* root + "vit." */
static const char *tower_root(char buffer[CHECKPOINT_NAME_MAX], const char *root) {
  snprintf(buffer, CHECKPOINT_NAME_MAX, "%s" TOWER, root);
  return buffer;
}

status visualrwkv_clip_config_read(visualrwkv_clip_config *k, const checkpoint *file, const char *root) {
  char name[CHECKPOINT_NAME_MAX];
  int64_t proj[2];
  *k = (visualrwkv_clip_config){0};
  status s = clip_vit_config_read(&k->tower, file, tower_root(name, root), CLIP_HUGGING_FACE);
  if (!s) s = checkpoint_shape(file, root, proj_row.name, 2, proj);
  if (s) return s;
  k->tower.tower.quick_gelu = true;
  k->width = (int)proj[0];
  k->twice = proj[1] == 2 * (int64_t)k->tower.tower.width;
  return STATUS_OK;
}

status visualrwkv_clip_new(visualrwkv_clip *m, const visualrwkv_clip_config *k, const char *root, param_set *set) {
  char name[CHECKPOINT_NAME_MAX];
  *m = (visualrwkv_clip){.config = *k};
  const int64_t sizes[SIZES] = {[C] = k->width, [D] = (k->twice ? 2 : 1) * (int64_t)k->tower.tower.width};
  status s = clip_vit_new(&m->tower, &k->tower, tower_root(name, root), set);
  return s ? s : params_declare(set, root, &proj_row, 1, -1, 1, sizes, m);
}

void visualrwkv_clip_free(visualrwkv_clip *m) { clip_vit_free(&m->tower); }

image *visualrwkv_clip_square(const image *im, int side) {
  image *rgb = image_to_rgb(im);
  if (!rgb) return NULL;
  const bool wide = rgb->width > rgb->height;
  const int shorter = wide ? rgb->height : rgb->width, longer = wide ? rgb->width : rgb->height;
  const int64_t other = (int64_t)side * longer / shorter;
  image *scaled = NULL;
  if (other > INT_MAX)
    fail(STATUS_UNSUPPORTED, "a picture of %d x %d pixels is too narrow", rgb->width, rgb->height);
  else
    scaled = image_resize(rgb, wide ? (int)other : side, wide ? side : (int)other, FILTER_BICUBIC);
  image_free(rgb);
  if (!scaled) return NULL;
  image *square = image_crop(scaled, (scaled->width - side) / 2, (scaled->height - side) / 2, side, side);
  image_free(scaled);
  return square;
}

/* Rows of x [B,T,D]: of each batch row the n tokens that `token` names -> [B,n,D]. */
static tensor *choose(ctx *c, tensor *x, int64_t n, int64_t (*token)(int64_t i, int64_t T)) {
  if (!x) return NULL;
  const int64_t B = x->dim[0], T = x->dim[1];
  int32_t *row = arena_alloc(c->memory, (size_t)(B * n) * sizeof *row);
  for (int64_t i = 0; row && i < B * n; i++) row[i] = (int32_t)(i / n * T + token(i % n, T));
  tensor *y = row ? gather_rows(c, x, B * n, row) : NULL;
  return y ? tensor_view(c, y, 3, (int64_t[]){B, n, x->dim[2]}) : NULL;
}

static int64_t class_token(int64_t i, int64_t T) {
  (void)i, (void)T;
  return 0;
}
static int64_t patch(int64_t i, int64_t T) {
  (void)T;
  return i + 1;
}
static int64_t class_last(int64_t i, int64_t T) { return (i + 1) % T; }
/* Every token, and after it the one that is as far from the end. */
static int64_t from_both_ends(int64_t i, int64_t T) { return i % 2 ? T - 1 - i / 2 : i / 2; }

/* The tower's tokens in the projector's order. */
static tensor *arranged(ctx *c, tensor *x, int grid) {
  if (!x) return NULL;
  if (grid < 0) return choose(c, x, x->dim[1], class_last);
  tensor *last = choose(c, x, 1, class_token);
  if (!grid) return last;
  const int64_t B = x->dim[0], width = x->dim[2];
  int side = 1;
  while ((int64_t)side * side < x->dim[1] - 1) side++;
  assert((int64_t)side * side == x->dim[1] - 1 && grid <= side);
  const int out = side / (side / grid);
  tensor *patches = choose(c, x, x->dim[1] - 1, patch);
  if (patches) patches = tensor_view(c, patches, 4, (int64_t[]){B, side, side, width});
  patches = resample(c, patches, resample_pool(c, side, out), resample_pool(c, side, out));
  if (patches) patches = tensor_view(c, patches, 3, (int64_t[]){B, (int64_t)out * out, width});
  return concat_tokens(c, 2, (tensor *const[]){patches, last});
}

tensor *visualrwkv_clip_tokens(ctx *c, const visualrwkv_clip *m, const tensor *pixels, int grid) {
  tensor *x = arranged(c, clip_vit_tokens(c, &m->tower, pixels, m->config.tower.tower.depth), grid);
  if (x && m->config.twice) {
    const int64_t B = x->dim[0], T = x->dim[1], width = x->dim[2];
    x = choose(c, x, 2 * T, from_both_ends);
    if (x) x = tensor_view(c, x, 3, (int64_t[]){B, T, 2 * width});
  }
  return linear(c, x, m->proj, NULL);
}
