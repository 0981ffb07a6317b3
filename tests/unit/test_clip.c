/* Pairs of towers: the two namings of CLIP and what is beside a file, files there and back, texts and pictures of other
 * sizes, memory, and gradients of whole towers against differences of the loss. Spec rwkv-clip sections 2, 5, 6, 11. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/clip.h"
#include "fusion/contrastive.h"
#include "fusion/visualrwkv_clip.h"
#include "tests/support/gradcheck.h"
#include "tests/support/kernel_check.h"
#include "tests/support/reference64.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_captioner.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char openai_model[] = "tests/goldens/openai-clip/tiny-fp32/model.pth",
                  openai_fp16[] = "tests/goldens/openai-clip/tiny-fp16/model.pth",
                  rwkv_model[] = "tests/goldens/rwkv-clip/tiny/model.pth";

static ctx *context(void) {
  ctx *c = ctx_new();
  if (!c) fail_msg("%s", last_error());
  return c;
}

static clip_pair *opened_pair(const char *path, clip_gelu gelu) {
  clip_pair *m = clip_open(path, gelu);
  if (!m) fail_msg("%s", last_error());
  return m;
}

/* All of it in f32, so that its features do not depend on the types of the file. */
static void widened_pair(clip_pair *m, const char *path, clip_gelu gelu) {
  checkpoint *file = checkpoint_open(path);
  if (!file || clip_load(m, file, gelu, PARAMS_FOR_TRAINING)) fail_msg("%s", last_error());
  checkpoint_close(file);
}

static tensor *random_ids(ctx *c, const clip_pair *m, int64_t B, int64_t T) {
  tensor *ids = tensor_2d(c, DTYPE_I32, B, T);
  rng g = rng_make(9, (uint64_t)T);
  for (int64_t i = 0; i < B * T; i++) i32(ids)[i] = (int32_t)rng_below(&g, (uint32_t)clip_vocabulary(m) - 1);
  for (int64_t b = 0; b < B; b++) { /* an end, and padding after it */
    const int64_t end = T - 1 - b;
    i32(ids)[b * T + end] = clip_vocabulary(m) - 1;
    for (int64_t t = end + 1; t < T; t++) i32(ids)[b * T + t] = 0;
  }
  return ids;
}

static tensor *random_pixels(ctx *c, int64_t B, int64_t h, int64_t w) {
  return random_tensor(c, 4, (int64_t[]){B, h, w, 3}, 4, false);
}

/* Features of both towers; what is different between two models shows in them. */
typedef struct {
  tensor *images, *texts;
} features;

static features features_of(ctx *c, const clip_pair *m) {
  const int side = clip_image_side(m);
  const features f = {clip_image_features(c, m, random_pixels(c, 2, side, side)),
                      clip_text_features(c, m, random_ids(c, m, 3, clip_text_length(m)))};
  if (!f.images || !f.texts) fail_msg("%s", last_error());
  return f;
}

static void check_same_features(ctx *c, const clip_pair *a, const clip_pair *b) {
  const features x = features_of(c, a), y = features_of(c, b);
  check_same("images", x.images, y.images);
  check_same("texts", x.texts, y.texts);
}

/* --- namings ------------------------------------------------------------------------------------------------------ */

static void copy_values(tensor *to, const tensor *from, size_t first) {
  memcpy(to->data, f32(from) + first, (size_t)tensor_count(to) * sizeof(float));
}

static void copy_blocks(transformer_block *to, const transformer_block *from, int n) {
  for (int i = 0; i < n; i++) {
    for (int k = 0; k < QKV; k++) {
      copy_values(to[i].apart_weight[k], from[i].in_weight, (size_t)(k * tensor_count(to[i].apart_weight[k])));
      copy_values(to[i].apart_bias[k], from[i].in_bias, (size_t)(k * tensor_count(to[i].apart_bias[k])));
    }
    tensor *const into[] = {to[i].ln1_weight, to[i].ln1_bias,   to[i].ln2_weight, to[i].ln2_bias,   to[i].out_weight,
                            to[i].out_bias,   to[i].fc1_weight, to[i].fc1_bias,   to[i].fc2_weight, to[i].fc2_bias};
    const tensor *const out[] = {from[i].ln1_weight, from[i].ln1_bias, from[i].ln2_weight, from[i].ln2_bias,
                                 from[i].out_weight, from[i].out_bias, from[i].fc1_weight, from[i].fc1_bias,
                                 from[i].fc2_weight, from[i].fc2_bias};
    for (size_t j = 0; j < sizeof into / sizeof *into; j++) copy_values(into[j], out[j], 0);
  }
}

/* The same model under Hugging Face's names. */
static void make_hugging_face(clip_pair *to, const clip_pair *from) {
  clip_config k = from->config;
  k.image.tower.naming = k.text.tower.naming = CLIP_HUGGING_FACE;
  assert_int_equal(clip_declare(to, &k), STATUS_OK);
  assert_int_equal(params_allocate(&to->params), STATUS_OK);
  tensor *const into[] = {
      to->logit_scale,         to->image.patch_weight, to->image.class_token,    to->image.positions,
      to->image.ln_pre_weight, to->image.ln_pre_bias,  to->image.ln_post_weight, to->image.ln_post_bias,
      to->image.proj,          to->text.emb,           to->text.positions,       to->text.ln_final_weight,
      to->text.ln_final_bias,  to->text.proj};
  const tensor *const out[] = {
      from->logit_scale,         from->image.patch_weight, from->image.class_token,    from->image.positions,
      from->image.ln_pre_weight, from->image.ln_pre_bias,  from->image.ln_post_weight, from->image.ln_post_bias,
      from->image.proj,          from->text.emb,           from->text.positions,       from->text.ln_final_weight,
      from->text.ln_final_bias,  from->text.proj};
  for (size_t i = 0; i < sizeof into / sizeof *into; i++) copy_values(into[i], out[i], 0);
  copy_blocks(to->image.block, from->image.block, k.image.tower.depth);
  copy_blocks(to->text.block, from->text.block, k.text.tower.depth);
}

static void test_hugging_face(void **state) {
  ctx *c = context();
  clip_pair *openai = opened_pair(openai_model, CLIP_GELU_QUICK), own;
  make_hugging_face(&own, openai);
  char *path = scratch_path(state, "model.safetensors"), *beside = scratch_path(state, "config.json");
  /* as Hugging Face has it: no metadata */
  assert_int_equal(params_save(&own.params, path, &(params_file){.type = CHECKPOINT_F32}), STATUS_OK);
  checkpoint *file = checkpoint_open(path);
  assert_non_null(checkpoint_find(file, "vision_model.encoder.layers.1.self_attn.v_proj.bias"));
  assert_non_null(checkpoint_find(file, "text_projection.weight"));
  const checkpoint_tensor *proj = checkpoint_find(file, "visual_projection.weight");
  assert_true(proj->dim[0] == 32 && proj->dim[1] == 64);
  checkpoint_close(file);

  clip_pair *m = opened_pair(path, CLIP_GELU_BY_FILE); /* the quick activation is Hugging Face's default */
  assert_true(m->config.image.tower.quick_gelu && m->config.image.tower.naming == CLIP_HUGGING_FACE);
  check_same_features(c, m, openai);
  clip_close(m);

  static const char gelu[] = "{\"vision_config\": {\"hidden_act\": \"gelu\", \"num_attention_heads\": 4}}";
  scratch_write(beside, gelu, sizeof gelu - 1);
  m = opened_pair(path, CLIP_GELU_BY_FILE);
  assert_true(!m->config.image.tower.quick_gelu && !m->config.text.tower.quick_gelu);
  assert_true(m->config.image.tower.heads == 4 && m->config.text.tower.heads == 1);
  clip_close(m);
  static const char broken[] = "{\"vision_config\": {\"hidden_act\": ";
  scratch_write(beside, broken, sizeof broken - 1);
  m = opened_pair(path, CLIP_GELU_BY_FILE);
  assert_true(m->config.image.tower.quick_gelu && m->config.image.tower.heads == 1);
  clip_close(m);
  static const char odd[] = "{\"vision_config\": {\"hidden_act\": 7, \"num_attention_heads\": 5}}";
  scratch_write(beside, odd, sizeof odd - 1);
  assert_null(clip_open(path, CLIP_GELU_BY_FILE));
  assert_non_null(strstr(last_error(), "cannot be cut into 5 heads"));
  clip_free(&own);
  clip_close(openai);
  free(path), free(beside);
  ctx_free(c);
}

/* Of a file in OpenAI's naming the activation is told by what is in it, and beside it. */
static void test_activation(void **state) {
  clip_pair *m = opened_pair(openai_fp16, CLIP_GELU_BY_FILE); /* OpenAI's integers, 16-bit patches */
  assert_true(m->config.image.tower.quick_gelu && m->config.text.tower.quick_gelu);
  clip_close(m);
  m = opened_pair(openai_fp16, CLIP_GELU_EXACT);
  assert_false(m->config.image.tower.quick_gelu);
  clip_close(m);
  m = opened_pair(openai_model, CLIP_GELU_BY_FILE); /* all f32, as OpenCLIP's */
  assert_false(m->config.image.tower.quick_gelu);
  char *path = scratch_path(state, "open.safetensors"), *beside = scratch_path(state, "open_clip_config.json");
  assert_int_equal(params_save(&m->params, path, &(params_file){.type = CHECKPOINT_F32}), STATUS_OK);
  clip_close(m);
  static const char config[] = "{\"model_cfg\": {\"quick_gelu\": true, \"vision_cfg\": {\"head_width\": 16}, "
                               "\"text_cfg\": {\"heads\": 2}}}";
  scratch_write(beside, config, sizeof config - 1);
  m = opened_pair(path, CLIP_GELU_BY_FILE);
  assert_true(m->config.image.tower.quick_gelu && m->config.image.tower.heads == 4 && m->config.text.tower.heads == 2);
  clip_close(m);
  free(path), free(beside);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

/* A pair that is written keeps what names do not tell. */
static void test_saved(void **state) {
  static const char *const files[] = {"pair.safetensors", "pair.gguf"};
  static const char *const models[] = {openai_model, openai_fp16, rwkv_model};
  ctx *c = context();
  for (size_t i = 0; i < sizeof models / sizeof *models; i++)
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
      clip_pair m;
      widened_pair(&m, models[i], CLIP_GELU_QUICK);
      m.config.image.tower.heads = m.image.config.tower.heads = 2;
      m.config.rwkv_image.alternate_scan = m.rwkv_image.config.alternate_scan = true;
      char *path = scratch_path(state, files[f]);
      static const char *const note[][2] = {{"general.note", "a word"}};
      const params_file what = {.type = CHECKPOINT_F32, .n_metadata = 1, .metadata = note};
      if (clip_save(&m, path, &what)) fail_msg("%s", last_error());
      clip_pair *again = opened_pair(path, CLIP_GELU_BY_FILE);
      assert_true(clip_scale(again) == clip_scale(&m) && clip_width(again) == clip_width(&m));
      check_same_features(c, again, &m);
      clip_close(again);
      clip_free(&m);
      free(path);
    }
  ctx_free(c);
}

static void test_refused(void **state) {
  (void)state;
  assert_null(clip_open("tests/goldens/rwkv6/tiny-fp32/model.pth", CLIP_GELU_BY_FILE));
  assert_non_null(strstr(last_error(), "expected a pair of towers"));
  assert_null(clip_open("tests/goldens/none.pth", CLIP_GELU_BY_FILE));
  clip_close(NULL);
  clip_pair *openai = opened_pair(openai_model, CLIP_GELU_QUICK), m;
  clip_config k = openai->config;
  k.text.tower.embed = 31;
  assert_int_equal(clip_declare(&m, &k), STATUS_FORMAT);
  assert_non_null(strstr(last_error(), "32 channels, the text tower's 31"));
  clip_free(&m);
  k = openai->config;
  k.image.tower.heads = 0;
  assert_int_equal(clip_declare(&m, &k), STATUS_UNSUPPORTED);
  clip_free(&m);
  int32_t ids[21] = {0};
  assert_int_equal(clip_check_ids(openai, ids, 1, 20), STATUS_OK);
  assert_int_equal(clip_check_ids(openai, ids, 1, 21), STATUS_ARGUMENT);
  ids[3] = 96;
  assert_int_equal(clip_check_ids(openai, ids, 2, 10), STATUS_ARGUMENT);
  ids[3] = -1;
  assert_int_equal(clip_check_ids(openai, ids, 2, 10), STATUS_ARGUMENT);
  clip_close(openai);
}

/* One tower alone embeds what it can. */
static void test_one_tower(void **state) {
  static const char *const models[] = {openai_model, rwkv_model};
  ctx *c = context();
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    clip_pair *whole = opened_pair(models[i], CLIP_GELU_QUICK), half;
    clip_config k = whole->config;
    k.has_text = k.has_scale = false;
    k.image.tower.naming = CLIP_HUGGING_FACE; /* OpenAI never published one */
    assert_int_equal(clip_declare(&half, &k), STATUS_OK);
    assert_int_equal(params_allocate(&half.params), STATUS_OK);
    tiny_disturb(&half.params, 3);
    char *path = scratch_path(state, "half.safetensors");
    assert_int_equal(clip_save(&half, path, &(params_file){.type = CHECKPOINT_F32}), STATUS_OK);
    clip_pair *m = opened_pair(path, CLIP_GELU_BY_FILE);
    assert_true(m->config.has_image && !m->config.has_text && clip_scale(m) == 1);
    const int side = clip_image_side(m);
    tensor *pixels = random_pixels(c, 1, side, side), *want = unit_rows(c, clip_image_features(c, &half, pixels));
    float row[64];
    assert_int_equal(clip_width(m), tensor_last(want));
    assert_int_equal(clip_encode_images(c, m, pixels, row), STATUS_OK);
    assert_memory_equal(row, want->data, (size_t)clip_width(m) * sizeof *row);
    const int32_t ids[4] = {1, 2, 3, 4};
    assert_int_equal(clip_encode_texts(c, m, ids, 1, 4, row), STATUS_UNSUPPORTED);
    clip_close(m);
    clip_free(&half);
    clip_close(whole);
    free(path);
  }
  ctx_free(c);
}

/* --- texts and pictures ------------------------------------------------------------------------------------------- */

/* Of a CLIP text nothing is read after the end token, of an RWKV-CLIP text everything. */
static void test_after_the_end(void **state) {
  (void)state;
  static const char *const models[] = {openai_model, rwkv_model};
  ctx *c = context();
  for (int i = 0; i < 2; i++) {
    clip_pair *m = opened_pair(models[i], CLIP_GELU_QUICK);
    const int64_t T = clip_text_length(m);
    tensor *ids = random_ids(c, m, 1, T);
    float row[2][64];
    i32(ids)[T / 2] = clip_vocabulary(m) - 1;
    for (int64_t t = T / 2 + 1; t < T; t++) i32(ids)[t] = 0;
    assert_int_equal(clip_encode_texts(c, m, i32(ids), 1, T, row[0]), STATUS_OK);
    i32(ids)[T - 1] = 7;
    assert_int_equal(clip_encode_texts(c, m, i32(ids), 1, T, row[1]), STATUS_OK);
    const bool same = !memcmp(row[0], row[1], (size_t)clip_width(m) * sizeof **row);
    assert_int_equal(same, i == 0);
    double length = 0;
    for (int d = 0; d < clip_width(m); d++) length += (double)row[0][d] * (double)row[0][d];
    assert_true(fabs(length - 1) < 1e-5);
    clip_close(m);
  }
  assert_int_equal(clip_text_end((const int32_t[]){3, 9, 2, 9, 0}, 5), 1);
  ctx_free(c);
}

/* A picture of another size sees the positions resized, the class token its own. */
static void test_other_sizes(void **state) {
  (void)state;
  ctx *c = context();
  clip_pair *m = opened_pair(openai_model, CLIP_GELU_QUICK);
  const int h = 3, w = 4, P = m->config.image.patch;
  const int64_t D = m->config.image.tower.width, side = m->config.image.grid_h;
  const clip_vit *v = &m->image;
  tensor *x = patch_embed(c, random_pixels(c, 2, h * P - 1, w * P - 3), v->patch_weight, NULL, P);
  assert_true(x->dim[1] == h && x->dim[2] == w);
  tensor *got = clip_vit_tokens(c, v, random_pixels(c, 2, h * P - 1, w * P - 3), 0);
  assert_int_equal(got->dim[1], 1 + h * w);
  tensor *grid = tensor_window(c, v->positions, D, 4, (int64_t[]){1, side, side, D});
  grid = resample(c, grid, resample_bicubic(c, (int)side, h), resample_bicubic(c, (int)side, w));
  tensor *sum = tensor_3d(c, DTYPE_F32, 2, 1 + h * w, D);
  for (int64_t b = 0; b < 2; b++)
    for (int64_t t = 0; t <= h * w; t++)
      for (int64_t d = 0; d < D; d++)
        f32(sum)[(b * (1 + h * w) + t) * D + d] = t ? f32(x)[(b * h * w + t - 1) * D + d] + f32(grid)[(t - 1) * D + d]
                                                    : f32(v->class_token)[d] + f32(v->positions)[d];
  check_same("tokens", got, layer_norm(c, sum, v->ln_pre_weight, v->ln_pre_bias, 1e-5f));
  clip_close(m);
  ctx_free(c);
}

static void test_pixels(void **state) {
  (void)state;
  image *im = image_new(IMAGE_RGB, 9, 7);
  assert_non_null(im);
  memset(im->pixels, 255, 9 * 7 * 3);
  float pixels[5 * 5 * 3];
  assert_int_equal(clip_pixels(im, 5, pixels), STATUS_OK);
  for (int i = 0; i < 5 * 5; i++) {
    assert_true(fabsf(pixels[3 * i] - (1 - 0.48145466f) / 0.26862954f) < 1e-6f);
    assert_true(fabsf(pixels[3 * i + 2] - (1 - 0.40821073f) / 0.27577711f) < 1e-6f);
  }
  image_free(im);
}

/* --- a captioner's image half ------------------------------------------------------------------------------------- */

/* Tokens as the projector is to see them, from the tower's, by loops: patches or means of them, then the class token.
 */
static void check_arrangement(ctx *c, const visualrwkv_clip *m, const tensor *pixels, int grid) {
  const int side = m->config.tower.grid_h, window = grid > 0 ? side / grid : 1, out = grid > 0 ? side / window : side;
  const int64_t B = pixels->dim[0], D = m->config.tower.tower.width, T = grid == 0 ? 1 : out * out + 1;
  const tensor *x = clip_vit_tokens(c, &m->tower, pixels, m->config.tower.tower.depth);
  tensor *want = tensor_3d(c, DTYPE_F32, B, T, D);
  for (int64_t b = 0; b < B; b++)
    for (int64_t t = 0; t < T; t++)
      for (int64_t d = 0; d < D; d++) {
        const float *row = f32(x) + b * (side * side + 1) * D;
        double sum = t == T - 1 ? (double)row[d] : 0;
        for (int i = 0; t < T - 1 && i < window * window; i++) {
          const int64_t y = t / out * window + i / window, at = t % out * window + i % window;
          sum += (double)row[(1 + y * side + at) * D + d] / (window * window);
        }
        f32(want)[(b * T + t) * D + d] = (float)sum;
      }
  if (m->config.twice) {
    tensor *both = tensor_3d(c, DTYPE_F32, B, T, 2 * D);
    for (int64_t b = 0; b < B; b++)
      for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < 2 * D; d++)
          f32(both)[((b * T) + t) * 2 * D + d] = f32(want)[(b * T + (d < D ? t : T - 1 - t)) * D + d % D];
    want = both;
  }
  tensor *got = visualrwkv_clip_tokens(c, m, pixels, grid);
  assert_int_equal(got->dim[1], T);
  check_same("image tokens", got, linear(c, want, m->proj, NULL));
}

static void test_image_tokens(void **state) {
  (void)state;
  ctx *c = context();
  for (int twice = 0; twice < 2; twice++) {
    const visualrwkv_clip_config k = {
        {{.naming = CLIP_HUGGING_FACE, .depth = 2, .width = 12, .hidden = 16, .heads = 2, .quick_gelu = true}, 2, 5, 5},
        7,
        twice};
    param_set set = {0};
    visualrwkv_clip m;
    assert_int_equal(visualrwkv_clip_new(&m, &k, "x.", &set), STATUS_OK);
    assert_int_equal(params_allocate(&set), STATUS_OK);
    tiny_disturb(&set, 7);
    const tensor *pixels = random_pixels(c, 2, 10, 10);
    for (int grid = -1; grid <= 5; grid++) check_arrangement(c, &m, pixels, grid);
    visualrwkv_clip_free(&m);
    params_free(&set);
  }
  ctx_free(c);
}

/* The margins of a wide and of a high picture: of an odd number of pixels the smaller half comes first. */
static void test_square(void **state) {
  (void)state;
  for (int high = 0; high < 2; high++) {
    const int w = high ? 4 : 9, h = high ? 9 : 4;
    image *im = image_new(IMAGE_L, w, h);
    for (int i = 0; i < w * h; i++) ((uint8_t *)im->pixels)[i] = (uint8_t)(20 * (high ? i / w : i % w));
    image *square = visualrwkv_clip_square(im, 4);
    assert_true(square && square->width == 4 && square->height == 4 && square->mode == IMAGE_RGB);
    for (int i = 0; i < 16; i++)
      assert_int_equal(((uint8_t *)square->pixels)[3 * i + 1], 20 * (2 + (high ? i / 4 : i % 4)));
    image_free(square);
    image_free(im);
  }
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static size_t peak_of(const clip_config *k) {
  clip_pair m;
  ctx *c = context();
  assert_int_equal(clip_declare(&m, k), STATUS_OK);
  assert_int_equal(params_allocate(&m.params), STATUS_OK);
  params_init(&m.params, 1);
  features_of(c, &m);
  const size_t peak = arena_peak(c->memory);
  ctx_free(c);
  clip_free(&m);
  return peak;
}

static void test_memory_does_not_grow_with_depth(void **state) {
  (void)state;
  static const char *const models[] = {openai_model, rwkv_model};
  for (int i = 0; i < 2; i++) {
    clip_pair *m = opened_pair(models[i], CLIP_GELU_QUICK);
    clip_config few = m->config, many = m->config;
    few.image.tower.depth = few.text.tower.depth = few.rwkv_image.depth = few.rwkv_text.depth = 2;
    many.image.tower.depth = many.text.tower.depth = many.rwkv_image.depth = many.rwkv_text.depth = 9;
    assert_int_equal(peak_of(&few), peak_of(&many));
    clip_close(m);
  }
}

/* --- initial values ----------------------------------------------------------------------------------------------- */

/* The deviation of a parameter whose name contains `part`, in the first block or outside of blocks. */
static double deviation(const clip_pair *m, const char *part) {
  for (size_t i = 0; i < m->params.n; i++) {
    const param *p = &m->params.item[i];
    if (!strstr(p->name, part)) continue;
    double sum = 0;
    for (int64_t e = 0; e < tensor_count(p->value); e++) sum += (double)f32(p->value)[e] * (double)f32(p->value)[e];
    return sqrt(sum / (double)tensor_count(p->value));
  }
  fail_msg("no parameter is called %s", part);
  return 0;
}

static void check_deviation(const clip_pair *m, const char *part, double want) {
  const double got = deviation(m, part);
  if (!(fabs(got - want) <= 0.1 * want)) fail_msg("%s: deviation %g, expected %g", part, got, want);
}

static void test_initial_values(void **state) {
  (void)state;
  static const char *const names[CLIP_NAMINGS][6] = {
      {"visual.transformer.resblocks.0.attn.in_proj_w", "visual.transformer.resblocks.0.attn.out_proj.w",
       "visual.transformer.resblocks.0.mlp.c_fc.w", "visual.transformer.resblocks.0.mlp.c_proj.w", "visual.proj",
       "text_projection"},
      {"vision_model.encoder.layers.0.self_attn.k_proj.w", "vision_model.encoder.layers.0.self_attn.out_proj.w",
       "vision_model.encoder.layers.0.mlp.fc1.w", "vision_model.encoder.layers.0.mlp.fc2.w", "visual_projection",
       "text_projection"}};
  const double W = 96, L = 3;
  clip_config k = {
      .has_image = true,
      .has_text = true,
      .has_scale = true,
      .image = {.tower = {.depth = 3, .width = 96, .hidden = 384, .heads = 2, .embed = 80}, 8, 7, 7},
      .text = {.tower = {.depth = 3, .width = 48, .hidden = 64, .heads = 2, .embed = 80}, .vocab_size = 90, 30}};
  for (int naming = 0; naming < CLIP_NAMINGS; naming++) {
    clip_pair m;
    k.image.tower.naming = k.text.tower.naming = (clip_naming)naming;
    assert_int_equal(clip_declare(&m, &k), STATUS_OK);
    assert_int_equal(params_allocate(&m.params), STATUS_OK);
    params_init(&m.params, 3);
    check_deviation(&m, names[naming][0], 1 / sqrt(W));
    check_deviation(&m, names[naming][1], 1 / sqrt(W * 2 * L));
    check_deviation(&m, names[naming][2], 1 / sqrt(2 * W));
    check_deviation(&m, names[naming][3], 1 / sqrt(W * 2 * L));
    check_deviation(&m, names[naming][4], 1 / sqrt(W));
    check_deviation(&m, names[naming][5], 1 / sqrt(48));
    check_deviation(&m, "token_embedding", 0.02);
    assert_true(fabs((double)clip_scale(&m) - 1 / 0.07) < 1e-4);
    clip_free(&m);
  }
}

/* --- gradients ---------------------------------------------------------------------------------------------------- */

static const clip_config transformers = {
    .has_image = true,
    .has_text = true,
    .has_scale = true,
    .image = {.tower = {.depth = 2, .width = 12, .hidden = 20, .heads = 3, .embed = 8}, 4, 2, 3},
    .text = {.tower = {.depth = 2, .width = 16, .hidden = 24, .heads = 2, .embed = 8}, .vocab_size = 13, .context = 7}};
static const clip_config recurrences = {
    .rwkv = true,
    .has_image = true,
    .has_text = true,
    .has_scale = true,
    .rwkv_image = {2, 16, 24, 8, 4, 2, 3, 3, 4, false, false},
    .rwkv_text = {
        .depth = 2, .width = 16, .hidden = 24, .head_size = 8, .vocab_size = 13, .rank_mix = 3, .rank_decay = 4}};

enum { BATCH = 3 };

static tensor *loss_of(ctx *c, const clip_pair *m, float *pixels, int32_t *ids, int64_t T) {
  tensor *x = tensor_wrap(c, DTYPE_F32, pixels, 4, (int64_t[]){BATCH, 12, 8, 3}); /* not the stored 2 x 3 patches */
  tensor *y = tensor_wrap(c, DTYPE_I32, ids, 2, (int64_t[]){BATCH, T});
  return contrastive_loss(c, unit_rows(c, clip_image_features(c, m, x)), unit_rows(c, clip_text_features(c, m, y)),
                          m->logit_scale);
}

/* Along a direction that is half its gradient's and half random, every parameter's slope is what the gradient says. */
static void check_gradients(const clip_config *k, int *resolved, int *all) {
  enum { T = 6 };
  clip_pair m;
  assert_int_equal(clip_declare(&m, k), STATUS_OK);
  assert_int_equal(params_allocate(&m.params), STATUS_OK);
  tiny_disturb(&m.params, 5);
  *f32(m.logit_scale) = 1;
  ctx *c = context();
  float *pixels = guarded_random((size_t)BATCH * 12 * 8 * 3, 1, -1, 1);
  int32_t ids[BATCH * T] = {11, 3, 4, 12, 0, 0, 11, 5, 12, 0, 0, 0, 11, 7, 8, 3, 9, 12};
  assert_int_equal(params_want_grads(&m.params, true), STATUS_OK);
  c->recording = true;
  assert_int_equal(backward(c, loss_of(c, &m, pixels, ids, T)), STATUS_OK);
  c->recording = false;
  for (size_t i = 0; i < m.params.n; i++) {
    const param *w = &m.params.item[i];
    const size_t n = (size_t)tensor_count(w->value);
    float *value = f32(w->value), *kept = guarded_copy(value, n), *direction = guarded_random(n, i, -1, 1);
    const float *g = m.params.grads + w->first;
    double length = 0, random_length = 0, along = 0, at[4];
    for (size_t e = 0; e < n; e++) {
      length += (double)g[e] * (double)g[e];
      random_length += (double)direction[e] * (double)direction[e];
    }
    length = sqrt(length), random_length = sqrt(random_length);
    *resolved += length > 1e-3;
    ++*all;
    for (size_t e = 0; e < n; e++) {
      direction[e] = (float)((length > 0 ? (double)g[e] / length : 0) + (double)direction[e] / random_length);
      along += (double)g[e] * (double)direction[e];
    }
    const double h = fmin(0.02, 2e-3 / fmax(length, 1e-6));
    for (int s = 0; s < 4; s++) {
      const double step = (s % 2 ? h : -h) / (1 + s / 2);
      for (size_t e = 0; e < n; e++) value[e] = (float)(kept[e] + step * direction[e]);
      ctx_reset(c);
      at[s] = *f32(loss_of(c, &m, pixels, ids, T));
    }
    memcpy(value, kept, n * sizeof *value);
    guarded_free(kept), guarded_free(direction);
    /* differences over 2h and h, extrapolated to none */
    const double slope = (4 * (at[3] - at[2]) / h - (at[1] - at[0]) / (2 * h)) / 3;
    if (!(fabs(slope - along) <= 0.02 * length + 2e-6 / h))
      fail_msg("%s: slope %.6g, the gradient says %.6g", w->name, slope, along);
  }
  ctx_free(c);
  clip_free(&m);
  guarded_free(pixels);
}

static void test_gradients(void **state) {
  (void)state;
  clip_config apart = transformers;
  apart.image.tower.naming = apart.text.tower.naming = CLIP_HUGGING_FACE;
  apart.image.tower.quick_gelu = apart.text.tower.quick_gelu = true;
  apart.image.tower.embed = 0;
  apart.text.tower.embed = apart.image.tower.width;
  const clip_config *const configs[] = {&transformers, &apart, &recurrences};
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    int resolved = 0, all = 0;
    check_gradients(configs[i], &resolved, &all);
    assert_true(resolved > all * 3 / 4);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_hugging_face, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_activation, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_saved, scratch_setup, scratch_teardown),
      cmocka_unit_test(test_refused),
      cmocka_unit_test_setup_teardown(test_one_tower, scratch_setup, scratch_teardown),
      cmocka_unit_test(test_after_the_end),
      cmocka_unit_test(test_other_sizes),
      cmocka_unit_test(test_pixels),
      cmocka_unit_test(test_image_tokens),
      cmocka_unit_test(test_square),
      cmocka_unit_test(test_memory_does_not_grow_with_depth),
      cmocka_unit_test(test_initial_values),
      cmocka_unit_test(test_gradients),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
