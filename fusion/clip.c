#include "fusion/clip.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/beside.h"
#include "weights/identify.h"

static const param_spec scale_row = {"logit_scale", offsetof(clip_pair, logit_scale), {0}, PARAM_BIAS,
                                     init_constant, 2.6592600f /* ln(1/0.07) */,      0,   0};

static const char key_gelu[] = "linnet.clip.gelu", key_image_heads[] = "linnet.clip.image_heads",
                  key_text_heads[] = "linnet.clip.text_heads", key_scan[] = "linnet.tower_scan",
                  key_context[] = "linnet.clip.context", key_picture[] = "linnet.clip.picture";
static const char quick[] = "quick", exact[] = "exact", rows[] = "rows", alternate[] = "alternate", crop[] = "crop",
                  fit[] = "fit";

/* --- what names and shapes do not tell ---------------------------------------------------------------------------- */

static const char hf_json[] = "config.json", open_clip_json[] = "open_clip_config.json";

/* Whether the activation is the quick one. */
static bool is_quick(const checkpoint *file, clip_naming naming) {
  static const char *const keys[] = {"vision_config.hidden_act", "text_config.hidden_act", "hidden_act"};
  const char *own = checkpoint_metadata(file, key_gelu);
  if (own) return !strcmp(own, quick);
  char word[32];
  bool said;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (beside_text(file, hf_json, keys[i], word, sizeof word)) return !strcmp(word, "quick_gelu");
  if (beside_switch(file, open_clip_json, "model_cfg.quick_gelu", &said)) return said;
  if (naming == CLIP_HUGGING_FACE || !strcmp(checkpoint_container(file), "torchscript")) return true;
  const checkpoint_tensor *patches = checkpoint_find(file, "visual.conv1.weight");
  return checkpoint_find(file, "input_resolution") || (patches && patches->dtype == CHECKPOINT_F16);
}

static int64_t number_in_metadata(const checkpoint *file, const char *key) {
  const char *text = checkpoint_metadata(file, key);
  return text ? strtol(text, NULL, 10) : 0;
}

/* Heads that are said somewhere replace those that were guessed from the width. */
static void settle_heads(const checkpoint *file, clip_tower_config *k, bool of_image) {
  int64_t heads = number_in_metadata(file, of_image ? key_image_heads : key_text_heads), size;
  if (!heads)
    beside_integer(file, hf_json, of_image ? "vision_config.num_attention_heads" : "text_config.num_attention_heads",
                   &heads);
  if (!heads && of_image && beside_integer(file, open_clip_json, "model_cfg.vision_cfg.head_width", &size) && size > 0)
    heads = k->width / size;
  if (!heads && !of_image) beside_integer(file, open_clip_json, "model_cfg.text_cfg.heads", &heads);
  if (heads > 0 && heads <= k->width) k->heads = (int)heads;
}

/* --- configs ------------------------------------------------------------------------------------------------------ */

static status read_rwkv(clip_config *k, const checkpoint *file, const identity *id) {
  static const char image_name[] = "image_model.", text_name[] = "text_model.";
  k->rwkv = true;
  k->has_image = strcmp(id->version, "text") != 0;
  k->has_text = strcmp(id->version, "image") != 0;
  if (k->has_image && !k->has_text && strcmp(id->root, image_name))
    return fail(STATUS_UNSUPPORTED, "%s: its image tower's names begin with %s: it is a part of another model",
                checkpoint_path(file), id->root);
  status s = k->has_image ? image_tower_config_read(&k->rwkv_image, file, image_name) : STATUS_OK;
  if (!s && k->has_text) s = rwkv_clip_text_config_read(&k->rwkv_text, file, text_name);
  const char *scan = checkpoint_metadata(file, key_scan);
  k->rwkv_image.alternate_scan = scan && !strcmp(scan, alternate);
  const char *picture = checkpoint_metadata(file, key_picture);
  k->fit = picture && !strcmp(picture, fit);
  const int64_t context = number_in_metadata(file, key_context);
  if (!s && (context < 0 || context > 1 << 16))
    s = fail(STATUS_FORMAT, "%s: texts of %lld tokens", checkpoint_path(file), (long long)context);
  k->context = (int)context;
  return s;
}

static status read_vit(clip_config *k, const checkpoint *file, const identity *id, clip_gelu gelu) {
  const clip_naming naming = strcmp(id->version, "openai") ? CLIP_HUGGING_FACE : CLIP_OPENAI;
  k->has_image = true;
  k->has_text = strcmp(id->version, "huggingface-image") != 0;
  status s = clip_vit_config_read(&k->image, file, "", naming);
  if (!s && k->has_text) s = clip_text_config_read(&k->text, file, "", naming);
  if (s) return s;
  settle_heads(file, &k->image.tower, true);
  if (k->has_text) settle_heads(file, &k->text.tower, false);
  k->image.tower.quick_gelu = k->text.tower.quick_gelu =
      gelu == CLIP_GELU_BY_FILE ? is_quick(file, naming) : gelu == CLIP_GELU_QUICK;
  return STATUS_OK;
}

status clip_config_read(clip_config *k, const checkpoint *file, clip_gelu gelu) {
  identity id;
  *k = (clip_config){0};
  if (!identify(file, &id)) return last_status();
  const bool rwkv = !strcmp(id.system, "rwkv-clip");
  if (!rwkv && strcmp(id.system, "clip"))
    return fail(STATUS_UNSUPPORTED, "%s: expected a pair of towers for pictures and texts, found %s",
                checkpoint_path(file), id.title);
  if (id.refusal) return fail(STATUS_UNSUPPORTED, "%s: %s %s", checkpoint_path(file), id.title, id.refusal);
  k->has_scale = checkpoint_find(file, "logit_scale") != NULL;
  return rwkv ? read_rwkv(k, file, &id) : read_vit(k, file, &id, gelu);
}

/* Of the towers that there are; 0 for one that is not. */
static int image_width(const clip_config *k) {
  if (!k->has_image) return 0;
  return k->rwkv ? k->rwkv_image.width : k->image.tower.embed ? k->image.tower.embed : k->image.tower.width;
}
static int text_width(const clip_config *k) {
  if (!k->has_text) return 0;
  return k->rwkv ? k->rwkv_text.width : k->text.tower.embed ? k->text.tower.embed : k->text.tower.width;
}

status clip_declare(clip_pair *m, const clip_config *k) {
  *m = (clip_pair){.config = *k};
  status s = STATUS_OK;
  if (k->has_image && k->has_text && image_width(k) != text_width(k))
    return fail(STATUS_FORMAT, "the image tower's embeddings have %d channels, the text tower's %d", image_width(k),
                text_width(k));
  if (k->has_scale) s = params_declare(&m->params, "", &scale_row, 1, -1, 1, NULL, m);
  if (!s && k->has_image)
    s = k->rwkv ? image_tower_new(&m->rwkv_image, &k->rwkv_image, "image_model.", &m->params)
                : clip_vit_new(&m->image, &k->image, "", &m->params);
  if (!s && k->has_text)
    s = k->rwkv ? rwkv_clip_text_new(&m->rwkv_text, &k->rwkv_text, "text_model.", &m->params)
                : clip_text_new(&m->text, &k->text, "", &m->params);
  return s;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

status clip_load(clip_pair *m, const checkpoint *file, clip_gelu gelu, params_purpose purpose) {
  clip_config k;
  *m = (clip_pair){0};
  status s = clip_config_read(&k, file, gelu);
  if (s) return s;
  if (clip_declare(m, &k)) return fail_within("%s", checkpoint_path(file));
  return params_open(&m->params, file, purpose);
}

clip_pair *clip_open(const char *path, clip_gelu gelu) {
  checkpoint *file = checkpoint_open(path);
  clip_pair *m = file ? mem_zero(1, sizeof *m) : NULL;
  if (m && clip_load(m, file, gelu, PARAMS_FOR_USE)) {
    clip_close(m);
    m = NULL;
  }
  checkpoint_close(file);
  return m;
}

void clip_free(clip_pair *m) {
  params_free(&m->params);
  image_tower_free(&m->rwkv_image);
  rwkv_clip_text_free(&m->rwkv_text);
  clip_vit_free(&m->image);
  clip_text_free(&m->text);
}

void clip_close(clip_pair *m) {
  if (m) clip_free(m);
  free(m);
}

status clip_save(const clip_pair *m, const char *path, const params_file *what) {
  enum { OWN = 4, NUMBER = 16 };
  const clip_config *k = &m->config;
  char image_heads[NUMBER], text_heads[NUMBER], context[NUMBER];
  snprintf(image_heads, sizeof image_heads, "%d", k->image.tower.heads);
  snprintf(text_heads, sizeof text_heads, "%d", k->text.tower.heads);
  snprintf(context, sizeof context, "%d", clip_text_length(m));
  const char *own[OWN][2] = {{CHECKPOINT_SYSTEM, k->rwkv ? "rwkv-clip" : "clip"}};
  size_t n_own = 1;
  if (k->rwkv) {
    const char *const rwkv[][2] = {{key_scan, k->rwkv_image.alternate_scan ? alternate : rows},
                                   {key_picture, k->fit ? fit : crop},
                                   {key_context, context}};
    memcpy(own + n_own, rwkv, sizeof rwkv);
    n_own += sizeof rwkv / sizeof *rwkv;
  } else {
    const char *const vit[][2] = {{key_gelu, k->image.tower.quick_gelu ? quick : exact},
                                  {key_image_heads, image_heads},
                                  {key_text_heads, text_heads}};
    memcpy(own + n_own, vit, sizeof vit);
    n_own += sizeof vit / sizeof *vit;
  }
  const char *(*all)[2] = mem_alloc(n_own + what->n_metadata, sizeof *all);
  if (!all) return STATUS_MEMORY;
  memcpy(all, own, n_own * sizeof *all);
  if (what->n_metadata) memcpy(all + n_own, what->metadata, what->n_metadata * sizeof *all);
  params_file whole = *what;
  whole.n_metadata += n_own;
  whole.metadata = (const char *const(*)[2])all;
  status s = params_save(&m->params, path, &whole);
  free(all);
  return s;
}

/* --- sizes -------------------------------------------------------------------------------------------------------- */

int clip_width(const clip_pair *m) { return m->config.has_image ? image_width(&m->config) : text_width(&m->config); }

int clip_image_side(const clip_pair *m) {
  const clip_config *k = &m->config;
  const int h = k->rwkv ? k->rwkv_image.grid_h : k->image.grid_h, w = k->rwkv ? k->rwkv_image.grid_w : k->image.grid_w;
  return (h > w ? h : w) * (k->rwkv ? k->rwkv_image.patch : k->image.patch);
}

int clip_text_length(const clip_pair *m) {
  if (!m->config.rwkv) return m->config.text.context;
  return m->config.context ? m->config.context : RWKV_CLIP_CONTEXT;
}

int clip_vocabulary(const clip_pair *m) {
  return m->config.rwkv ? m->config.rwkv_text.vocab_size : m->config.text.vocab_size;
}

float clip_scale(const clip_pair *m) { return m->logit_scale ? expf(*f32(m->logit_scale)) : 1; }

/* --- embeddings --------------------------------------------------------------------------------------------------- */

status clip_pixels(const image *im, int side, float *pixels) {
  image *square = image_clip_transform(im, side);
  if (!square) return last_status();
  image_tower_normalise(square->pixels, (size_t)side * (size_t)side * 3, pixels);
  image_free(square);
  return STATUS_OK;
}

tensor *clip_image_features(ctx *c, const clip_pair *m, const tensor *pixels) {
  int h, w;
  if (m->config.rwkv) return image_tower_pool(c, &m->rwkv_image, image_tower_tokens(c, &m->rwkv_image, pixels, &h, &w));
  return clip_vit_pool(c, &m->image, clip_vit_tokens(c, &m->image, pixels, m->config.image.tower.depth));
}

tensor *clip_text_features(ctx *c, const clip_pair *m, const tensor *ids) {
  if (m->config.rwkv) return rwkv_clip_text_pool(c, rwkv_clip_text_tokens(c, &m->rwkv_text, ids));
  return clip_text_pool(c, &m->text, ids, clip_text_tokens(c, &m->text, ids));
}

status clip_check_ids(const clip_pair *m, const int32_t *ids, int64_t B, int64_t T) {
  if (T < 1 || T > clip_text_length(m))
    return fail(STATUS_ARGUMENT, "a text of %lld tokens, expected 1 to %d", (long long)T, clip_text_length(m));
  for (int64_t i = 0; i < B * T; i++)
    if (ids[i] < 0 || ids[i] >= clip_vocabulary(m))
      return fail(STATUS_ARGUMENT, "token %d is not in the model's vocabulary of %d", (int)ids[i], clip_vocabulary(m));
  return STATUS_OK;
}

/* The features' unit rows, out of the arena, which is left as at `start`. */
static status keep_rows(ctx *c, tensor *features, arena_mark start, float *to) {
  tensor *x = unit_rows(c, features);
  const size_t n = x ? (size_t)tensor_count(x) : 0;
  if (x) memcpy(to, x->data, n * sizeof *to);
  arena_release(c->memory, start);
  return x ? params_check_result(to, n) : last_status();
}

status clip_encode_images(ctx *c, const clip_pair *m, const tensor *pixels, float *to) {
  if (!m->config.has_image) return fail(STATUS_UNSUPPORTED, "the model has a text tower only");
  const arena_mark start = arena_here(c->memory);
  return keep_rows(c, clip_image_features(c, m, pixels), start, to);
}

/* How many columns of a batch matter: what follows the last end token does not, to a causal tower. */
static int64_t columns_read(const clip_pair *m, const int32_t *ids, int64_t B, int64_t T) {
  int64_t most = 0;
  if (m->config.rwkv) return T;
  for (int64_t b = 0; b < B; b++) {
    const int64_t n = clip_text_end(ids + b * T, T) + 1;
    if (n > most) most = n;
  }
  return most;
}

status clip_encode_texts(ctx *c, const clip_pair *m, const int32_t *ids, int64_t B, int64_t T, float *to) {
  if (!m->config.has_text) return fail(STATUS_UNSUPPORTED, "the model has an image tower only");
  status s = clip_check_ids(m, ids, B, T);
  if (s || !B) return s;
  const arena_mark start = arena_here(c->memory);
  const int64_t n = columns_read(m, ids, B, T);
  tensor *read = tensor_2d(c, DTYPE_I32, B, n);
  if (!read) return STATUS_MEMORY;
  for (int64_t b = 0; b < B; b++) memcpy(i32(read) + b * n, ids + b * T, (size_t)n * sizeof *ids);
  return keep_rows(c, clip_text_features(c, m, read), start, to);
}
