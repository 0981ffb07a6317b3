#include "tests/support/model64.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/kernel_check.h"
#include "tests/support/reference64.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

double *param64(const param_set *set, const char *prefix, const char *name) {
  size_t n_prefix = strlen(prefix);
  for (size_t i = 0; i < set->n; i++) {
    const param *p = &set->item[i];
    if (strncmp(p->name, prefix, n_prefix) || strcmp(p->name + n_prefix, name)) continue;
    size_t n = (size_t)tensor_count(p->value);
    float *file = malloc(n * sizeof *file);
    double *wide = zeros64(n);
    assert_non_null(file);
    param_export(p, f32(p->value), file);
    for (size_t k = 0; k < n; k++) wide[k] = file[k];
    free(file);
    return wide;
  }
  fail_msg("no parameter %s%s", prefix, name);
  return NULL;
}

/* The parameters of one block by the rest of their names; freed together. */
typedef struct {
  const param_set *set;
  char prefix[64];
  double *got[40];
  int n;
} bag;

static const double *take(bag *b, const char *name) {
  assert_true(b->n < 40);
  return b->got[b->n++] = param64(b->set, b->prefix, name);
}

static void empty(bag *b) {
  while (b->n) free(b->got[--b->n]);
}

/* x = norm(x) */
static void norm_in_place(bag *b, const char *weight, const char *bias, size_t M, size_t D, double *x) {
  double *y = zeros64(M * D);
  norm64(M, 1, D, 1e-5, x, take(b, weight), take(b, bias), y);
  memcpy(x, y, M * D * sizeof *x);
  free(y);
}

static time_mix64_weights take_time_mix(bag *b) {
  time_mix64_weights w = {.maa_x = take(b, "att.time_maa_x"),
                          .maa_w1 = take(b, "att.time_maa_w1"),
                          .maa_w2 = take(b, "att.time_maa_w2"),
                          .decay = take(b, "att.time_decay"),
                          .decay_w1 = take(b, "att.time_decay_w1"),
                          .decay_w2 = take(b, "att.time_decay_w2"),
                          .bonus = take(b, "att.time_faaaa"),
                          .receptance = take(b, "att.receptance.weight"),
                          .key = take(b, "att.key.weight"),
                          .value = take(b, "att.value.weight"),
                          .gate = take(b, "att.gate.weight"),
                          .output = take(b, "att.output.weight"),
                          .ln_w = take(b, "att.ln_x.weight"),
                          .ln_b = take(b, "att.ln_x.bias")};
  static const char *const order[MAA_ROWS] = {"att.time_maa_w", "att.time_maa_k", "att.time_maa_v", "att.time_maa_r",
                                              "att.time_maa_g"};
  for (int i = 0; i < MAA_ROWS; i++) w.maa[i] = take(b, order[i]);
  return w;
}

typedef struct {
  const time_mix64_options *att;
  size_t F;
  mix_kind kind;
  const char *mix_k, *mix_r;
} block64;

/* x += att(ln1(x)); x += ffn(ln2(x)) */
static void run_block(bag *b, const block64 *o, double *x, double *wkv) {
  size_t B = o->att->wkv.B, T = o->att->wkv.T, D = o->att->wkv.H * o->att->wkv.N, n = B * T * D;
  double *z = zeros64(n), *y = zeros64(n);
  memcpy(z, x, n * sizeof *z);
  norm_in_place(b, "ln1.weight", "ln1.bias", B * T, D, z);
  time_mix64_weights w = take_time_mix(b);
  time_mix64(o->att, &w, z, NULL, NULL, y, wkv);
  for (size_t i = 0; i < n; i++) x[i] += y[i];
  memcpy(z, x, n * sizeof *z);
  norm_in_place(b, "ln2.weight", "ln2.bias", B * T, D, z);
  channel_mix64(B, T, D, o->F, o->att->plan, o->kind, take(b, o->mix_k), take(b, o->mix_r), take(b, "ffn.key.weight"),
                take(b, "ffn.receptance.weight"), take(b, "ffn.value.weight"), z, NULL, y);
  for (size_t i = 0; i < n; i++) x[i] += y[i];
  free(z), free(y);
}

void rwkv6_64(const param_set *set, const char *prefix, const rwkv_config *k, size_t B, size_t T,
              const scan_order *const *order, double *x, double *wkv) {
  size_t D = (size_t)k->n_embd, N = (size_t)k->head_size;
  for (int i = 0; i < k->n_layer; i++) {
    bag b = {.set = set};
    snprintf(b.prefix, sizeof b.prefix, "%sblocks.%d.", prefix, i);
    if (i == 0) norm_in_place(&b, "ln0.weight", "ln0.bias", B * T, D, x);
    const shift_plan plan = shift_previous(k->n_embd, order ? order[i] : NULL);
    const time_mix64_options att = {.wkv = {.B = B,
                                            .T = T,
                                            .H = D / N,
                                            .N = N,
                                            .w_per_token = true,
                                            .order = order && order[i] ? order[i]->token : NULL},
                                    .R = (size_t)k->rank_mix,
                                    .Rd = (size_t)k->rank_decay,
                                    .eps = 64e-5,
                                    .plan = &plan};
    const block64 o = {&att, (size_t)k->dim_ffn, MIX_TOWARD, "ffn.time_maa_k", "ffn.time_maa_r"};
    run_block(&b, &o, x, wkv ? wkv + (size_t)i * B * D * N : NULL);
    empty(&b);
  }
}

void rwkv6_logits64(const param_set *set, const char *prefix, const rwkv_config *k, size_t M, const double *x,
                    double *logits) {
  bag b = {.set = set};
  snprintf(b.prefix, sizeof b.prefix, "%s", prefix);
  size_t D = (size_t)k->n_embd;
  double *z = zeros64(M * D);
  norm64(M, 1, D, 1e-5, x, take(&b, "ln_out.weight"), take(&b, "ln_out.bias"), z);
  linear64(M, D, (size_t)k->vocab_size, false, z, take(&b, "head.weight"), NULL, logits);
  free(z);
  empty(&b);
}

/* --- image tower -------------------------------------------------------------------------------------------------- */

/* Keys' cubic kernel with a = -0.75 (rwkv-clip section 4). */
static double keys(double t) {
  double a = -0.75, s = fabs(t);
  if (s <= 1) return (a + 2) * s * s * s - (a + 3) * s * s + 1;
  return s < 2 ? a * s * s * s - 5 * a * s * s + 8 * a * s - 4 * a : 0;
}

static int clamped(int i, int n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

/* The table at cell (y,x) of a grid of h x w. */
static double position64(const double *table, const image_tower_config *k, int h, int w, int y, int x, int channel) {
  double sy = (y + 0.5) * k->grid_h / h - 0.5, sx = (x + 0.5) * k->grid_w / w - 0.5, sum = 0;
  for (int i = (int)floor(sy) - 1; i <= (int)floor(sy) + 2; i++)
    for (int j = (int)floor(sx) - 1; j <= (int)floor(sx) + 2; j++)
      sum += keys(sy - i) * keys(sx - j) *
             table[(clamped(i, k->grid_h) * k->grid_w + clamped(j, k->grid_w)) * k->width + channel];
  return sum;
}

static double patch64(const double *weight, int patch, int channel, const float *picture, int height, int width, int gy,
                      int gx) {
  double sum = 0;
  for (int colour = 0; colour < 3; colour++)
    for (int y = 0; y < patch; y++)
      for (int x = 0; x < patch; x++) {
        int py = gy * patch + y, px = gx * patch + x;
        if (py < height && px < width)
          sum += weight[((channel * 3 + colour) * patch + y) * patch + x] * picture[(py * width + px) * 3 + colour];
      }
  return sum;
}

double *image_tower64(const param_set *set, const char *prefix, const image_tower_config *k, size_t B, size_t height,
                      size_t width, const float *pixels) {
  int h = ((int)height + k->patch - 1) / k->patch, w = ((int)width + k->patch - 1) / k->patch, D = k->width, at = 0;
  size_t T = (size_t)h * (size_t)w, N = (size_t)k->head_size;
  double *x = zeros64(B * T * (size_t)D);
  bag b = {.set = set};
  snprintf(b.prefix, sizeof b.prefix, "%s", prefix);
  const double *weight = take(&b, "patch_embed.projection.weight"), *bias = take(&b, "patch_embed.projection.bias");
  const double *table = take(&b, "pos_embed");
  for (size_t i = 0; i < B; i++)
    for (int y = 0; y < h; y++)
      for (int c = 0; c < w; c++)
        for (int d = 0; d < D; d++)
          x[at++] = patch64(weight, k->patch, d, pixels + i * height * width * 3, (int)height, (int)width, y, c) +
                    bias[d] + position64(table, k, h, w, y, c, d);
  empty(&b);

  int32_t *columns = calloc(T, sizeof *columns);
  assert_non_null(columns);
  for (int c = 0, step = 0; c < w; c++)
    for (int y = 0; y < h; y++) columns[step++] = y * w + c;
  const shift_plan plan = shift_quarters(k->head_size, h, w);
  for (int i = 0; i < k->depth; i++) {
    snprintf(b.prefix, sizeof b.prefix, "%slayers.%d.", prefix, i);
    if (i == 0) norm_in_place(&b, "ln0.weight", "ln0.bias", B * T, (size_t)D, x);
    const time_mix64_options att = {.wkv = {.B = B,
                                            .T = T,
                                            .H = (size_t)D / N,
                                            .N = N,
                                            .both = true,
                                            .w_per_token = true,
                                            .order = k->alternate_scan && i % 2 ? columns : NULL},
                                    .R = (size_t)k->rank_mix,
                                    .Rd = (size_t)k->rank_decay,
                                    .eps = 1e-5,
                                    .plan = &plan};
    const block64 o = {&att, (size_t)k->hidden, MIX_KEEP, "ffn.spatial_mix_k", "ffn.spatial_mix_r"};
    run_block(&b, &o, x, NULL);
    empty(&b);
  }
  snprintf(b.prefix, sizeof b.prefix, "%s", prefix);
  norm_in_place(&b, "ln1.weight", "ln1.bias", B * T, (size_t)D, x);
  empty(&b);
  free(columns);
  return x;
}
