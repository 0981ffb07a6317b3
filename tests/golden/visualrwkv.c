/* VisualRWKV: pictures through CLIP's tower, assembly, scan orders, greedy answers, and prompts. Spec visualrwkv. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/clip.h"
#include "fusion/prompt.h"
#include "fusion/visualrwkv.h"
#include "fusion/visualrwkv_clip.h"
#include "lm/sample.h"
#include "tests/golden/rwkv.h"
#include "tests/golden/vocabulary.h"

static const golden_rule rules[] = {
    {"io/image_u8", GIVEN, 0, 0, NULL},
    {"io/image_resized_cropped_u8", SAME, 0, 0, NULL},
    {"io/pixel_values", GIVEN, 0, 0, NULL},
    {"io/vit.*", CLOSE, 1e-4, 1e-4, NULL},
    {"io/bf16path.image_tokens", L2, 0.05, 0, NULL}, /* rounded at every step: only a likeness */
    {"io/image_tokens", CLOSE, 1e-4, 1e-4, NULL},
    {"io/input_ids", GIVEN, 0, 0, NULL},
    {"io/*.stop_token", GIVEN, 0, 0, NULL},
    {"io/img_start_end", SAME, 0, 0, NULL},
    {"io/x_emb", CLOSE, 1e-5, 1e-5, NULL},
    {"io/bf16path.logits", L2, 0.15, 0, NULL}, /* rounded at every step: only a likeness */
    {"io/*logits", CLOSE, 2e-4, 2e-4, NULL},
    {"io/*.rwkv.block*", CLOSE, 2e-4, 2e-4, NULL},
    {"io/*tokens*", SAME, 0, 0, NULL},
    {"io/*.gen_token_probs", CLOSE, 2e-4, 2e-4, NULL},
    {"io/*margins", CLOSE, 4e-4, 2e-4, NULL},
    {NULL, GIVEN, 0, 0, NULL},
};

static const golden_rule of_prompts[] = {
    {"io/case*.input_ids", SAME, 0, 0, NULL},
    {"io/case*.labels", SAME, 0, 0, NULL},
    {NULL, GIVEN, 0, 0, NULL},
};

/* --- models ------------------------------------------------------------------------------------------------------- */

/* The orders of blocks, and what the cases call what is computed in them. */
static const struct {
  visualrwkv_scan scan;
  const char *name, *logits, *generated; /* prefixes of keys; NULL: none but the name's own */
} modes[] = {
    {VISUALRWKV_UNIDIRECTION, "unidirection", "train_forward", NULL},
    {VISUALRWKV_BIDIRECTION, "bidirection", "bf16path", NULL},
    {VISUALRWKV_MULTIDIRECTION, "multidirection", NULL, "generate"},
};
enum { MODES = sizeof modes / sizeof *modes };

typedef struct {
  golden_case *k;
  const rwkv *lm;
  const char *mode;
  tensor *x; /* [1,T,D] the assembled sequence */
  int64_t first, side;
} picture_case;

static void offer_seen(void *user, int block, const char *name, const tensor *t) {
  const picture_case *p = user;
  if (block >= 0) golden_offer_tensor(p->k, t, "io/%s.rwkv.block%d.%s", p->mode, block, name);
}

typedef struct {
  int n;
  int32_t *ids;
  float *logit, *margin;
  double *probability;
} answer;

static void offer_answer(golden_case *k, const answer *a, const char *mode, const char *other) {
  size_t n = (size_t)a->n;
  golden_offer_ids(k, a->ids, n, "io/%s.gen_tokens", mode);
  golden_offer(k, a->logit, n, "io/%s.gen_token_logits", mode);
  golden_offer_doubles(k, a->probability, n, "io/%s.gen_token_probs", mode);
  golden_offer(k, a->margin, n, "io/%s.gen_margins", mode);
  if (other) golden_offer_ids(k, a->ids, n, "io/%s.tokens", other);
  if (other) golden_offer(k, a->margin, n, "io/%s.margins", other);
}

/* Notes the likeliest token of logits [V]. */
static int32_t choose(answer *a, const float *logits, int V, float *scratch) {
  double log_probability;
  rng none = rng_make(0, 0);
  int32_t id = sample_token(logits, V, &(sample_options){.temperature = 0}, &none, scratch, &log_probability);
  float second = -INFINITY;
  for (int v = 0; v < V; v++)
    if (v != id && logits[v] > second) second = logits[v];
  a->ids[a->n] = id;
  a->logit[a->n] = logits[id];
  a->margin[a->n] = logits[id] - second;
  a->probability[a->n++] = exp(log_probability);
  return id;
}

/* Answers with up to `most` tokens, the last one being `stop` (-1: none). */
static void generate(const picture_case *p, visualrwkv_scan scan, int most, int32_t stop, answer *a) {
  ctx *c = golden_ctx(p->k);
  const int V = p->lm->config.vocab_size;
  arena_mark mark = arena_here(c->memory);
  rwkv_state state;
  float *scratch = mem_alloc(2 * (size_t)V, sizeof *scratch);
  const scan_order *const *order =
      visualrwkv_orders(c, scan, p->lm->config.n_layer, p->x->dim[1], p->first, p->side, p->side);
  if (rwkv_state_new(&state, &p->lm->config, 1) || !scratch || !order) {
    golden_error(p->k);
    return;
  }
  tensor *x = rwkv_forward(c, p->lm, p->x, &(rwkv_input){.state = &state, .order = order});
  a->n = 0;
  while (x && a->n < most) {
    tensor *logits = rwkv_logits(c, p->lm, gather_rows(c, x, 1, &(int32_t){(int32_t)x->dim[1] - 1}));
    tensor *ids = tensor_2d(c, DTYPE_I32, 1, 1);
    if (!logits || !ids) break;
    *i32(ids) = choose(a, f32(logits), V, scratch);
    if (*i32(ids) == stop) break;
    x = rwkv_forward(c, p->lm, rwkv_embed(c, p->lm, ids), &(rwkv_input){.state = &state});
  }
  free(scratch);
  rwkv_state_free(&state);
  arena_release(c->memory, mark);
}

/* The length of the answers that the case holds. */
static int answer_length(golden_case *k, const char *mode, const char *other) {
  char key[128];
  golden_shape s;
  snprintf(key, sizeof key, "io/%s.gen_tokens", mode);
  if (!golden_has(k, key) && other) snprintf(key, sizeof key, "io/%s.tokens", other);
  return golden_has(k, key) && golden_shape_of(k, key, &s) ? (int)s.n : 0;
}

static void run_mode(picture_case *p, size_t i) {
  golden_case *k = p->k;
  ctx *c = golden_ctx(k);
  const rwkv_config *config = &p->lm->config;
  const scan_order *const *order =
      visualrwkv_orders(c, modes[i].scan, config->n_layer, p->x->dim[1], p->first, p->side, p->side);
  if (!order) {
    golden_error(k);
    return;
  }
  p->mode = modes[i].name;
  c->observe = offer_seen;
  c->observer = p;
  tensor *logits = rwkv_logits(c, p->lm, rwkv_forward(c, p->lm, p->x, &(rwkv_input){.order = order}));
  c->observe = NULL;
  golden_offer_tensor(k, logits, "io/%s.logits", p->mode);
  if (modes[i].logits) golden_offer_tensor(k, logits, "io/%s.logits", modes[i].logits);

  int n = answer_length(k, p->mode, modes[i].generated);
  size_t room = (size_t)n;
  answer a = {.ids = mem_alloc(room, sizeof *a.ids),
              .logit = mem_alloc(room, sizeof *a.logit),
              .margin = mem_alloc(room, sizeof *a.margin),
              .probability = mem_alloc(room, sizeof *a.probability)};
  char stop[128];
  snprintf(stop, sizeof stop, "io/%s.stop_token", p->mode);
  if (!a.ids || !a.logit || !a.margin || !a.probability) {
    golden_error(k);
  } else if (n) {
    generate(p, modes[i].scan, n, -1, &a);
    offer_answer(k, &a, p->mode, modes[i].generated);
    const tensor *id = golden_has(k, stop) ? golden_ids(k, stop) : NULL;
    if (id) generate(p, modes[i].scan, n, *i32(id), &a);
    if (id) golden_offer_ids(k, a.ids, (size_t)a.n, "io/%s.gen_tokens_stop", p->mode);
  }
  free(a.ids), free(a.logit), free(a.margin), free(a.probability);
}

/* --- pictures ----------------------------------------------------------------------------------------------------- */

typedef struct {
  param_set set;
  visualrwkv_clip image;
} image_half;

/* The heads stand in the case's README: the widths are too small to tell. */
static bool open_image_half(golden_case *k, image_half *m) {
  *m = (image_half){.set = {0}};
  checkpoint *file = golden_model(k, NULL);
  if (!file) return false; /* noted */
  const char *root = golden_prefix(k, file, "proj.weight");
  visualrwkv_clip_config config;
  bool ok = false;
  if (root && !visualrwkv_clip_config_read(&config, file, root)) {
    config.tower.tower.heads = (int)golden_note(k, " heads=", golden_note(k, "'num_attention_heads': ", 1));
    ok = !visualrwkv_clip_new(&m->image, &config, root, &m->set) && golden_load(k, &m->set, file);
  }
  if (!ok) golden_error(k);
  checkpoint_close(file);
  return ok;
}

/* pixel_values, [...,3,S,S], as pixels. */
static tensor *pixels_of(golden_case *k) {
  golden_shape s;
  const float *file = golden_floats(k, "io/pixel_values", &s);
  if (!file) return NULL;
  if (s.n_dims < 3 || s.dim[s.n_dims - 3] != 3) {
    golden_check(k, false, "io/pixel_values: expected [...,3,S,S]");
    return NULL;
  }
  const int64_t h = s.dim[s.n_dims - 2], w = s.dim[s.n_dims - 1], n = h * w, B = (int64_t)s.n / (3 * n);
  tensor *pixels = tensor_4d(golden_ctx(k), DTYPE_F32, B, h, w, 3);
  if (!pixels) golden_error(k);
  for (int64_t i = 0; pixels && i < (int64_t)s.n; i++)
    f32(pixels)[i / (3 * n) * 3 * n + i % n * 3 + i / n % 3] = file[i];
  return pixels;
}

/* The published preprocessing of the case's picture. */
static void run_preprocessing(golden_case *k, const tensor *pixels) {
  golden_shape s;
  const float *file = golden_has(k, "io/image_u8") ? golden_floats(k, "io/image_u8", &s) : NULL; /* whole numbers */
  if (!file) return;
  const int64_t side = pixels->dim[1];
  image *im = s.n_dims == 3 && s.dim[2] == 3 ? image_new(IMAGE_RGB, (int)s.dim[1], (int)s.dim[0]) : NULL;
  for (size_t i = 0; im && i < s.n; i++) ((uint8_t *)im->pixels)[i] = (uint8_t)file[i];
  image *square = im ? visualrwkv_clip_square(im, (int)side) : NULL;
  const size_t n = (size_t)(side * side * 3);
  float *values = square ? mem_alloc(n, sizeof *values) : NULL;
  if (values) {
    for (size_t i = 0; i < n; i++) values[i] = ((const uint8_t *)square->pixels)[i];
    golden_offer(k, values, n, "io/image_resized_cropped_u8");
    image_tower_normalise(square->pixels, n, values);
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)values[i] - (double)f32(pixels)[i]));
    golden_check(k, worst <= 1e-5, "%-44s %.2e of %.2e", "io/pixel_values, of the cut picture", worst, 1e-5);
  } else {
    golden_error(k);
  }
  free(values);
  image_free(square);
  image_free(im);
}

static void offer_tower(void *user, int block, const char *name, const tensor *t) {
  golden_case *k = user;
  if (block < 0)
    golden_offer_tensor(k, t, "io/vit.%s", strcmp(name, "ln_pre") ? name : "pre_layrnorm");
  else if (!strcmp(name, "out"))
    golden_offer_tensor(k, t, "io/vit.layer%d", block);
}

/* The image tokens that the language model reads; NULL with the failure noted. */
static tensor *image_tokens_of(golden_case *k, const image_half *m) {
  ctx *c = golden_ctx(k);
  const tensor *pixels = pixels_of(k);
  if (!pixels) return NULL;
  run_preprocessing(k, pixels);
  c->observe = offer_tower;
  c->observer = k;
  tensor *last = clip_vit_tokens(c, &m->image.tower, pixels, m->image.config.tower.tower.depth);
  c->observe = NULL;
  golden_offer_tensor(k, last, "io/vit.last");
  tensor *tokens = visualrwkv_clip_tokens(c, &m->image, pixels, -1);
  golden_offer_tensor(k, tokens, "io/image_tokens");
  golden_offer_tensor(k, tokens, "io/bf16path.image_tokens");
  return tokens;
}

/* The case's picture among its words; the patches are a square, what follows them is read as text is. */
static bool assemble(picture_case *p, tensor *tokens) {
  golden_case *k = p->k;
  ctx *c = golden_ctx(k);
  tensor *ids = golden_ids(k, "io/input_ids");
  if (!ids || !tokens) return false;
  bool fits = ids->n_dims == 2 && tokens->n_dims == 3 && ids->dim[0] == 1 && tokens->dim[0] == 1;
  int64_t marks = 0;
  for (int64_t i = 0; fits && i < tensor_count(ids); i++) {
    int32_t id = i32(ids)[i];
    if (id == PROMPT_IMAGE) marks++, p->first = i;
    fits = id == PROMPT_IMAGE || (id >= 0 && id < p->lm->config.vocab_size);
  }
  if (!fits || marks != 1 || tokens->dim[2] != p->lm->config.n_embd) {
    golden_check(k, false, "expected one row of known ids with one picture of the model's width");
    return false;
  }
  while ((p->side + 1) * (p->side + 1) <= tokens->dim[1]) p->side++;
  p->x = visualrwkv_embed(c, p->lm, ids, tokens);
  if (!p->x) golden_error(k);
  return p->x != NULL;
}

static void run_picture(golden_case *k) {
  golden_lm m;
  image_half half;
  picture_case p = {.k = k, .lm = &m.lm};
  const bool opened = golden_lm_open(k, &m);
  if (open_image_half(k, &half) && opened && assemble(&p, image_tokens_of(k, &half))) {
    golden_offer_tensor(k, p.x, "io/x_emb");
    const int32_t range[] = {(int32_t)p.first, (int32_t)(p.first + p.side * p.side)};
    golden_offer_ids(k, range, 2, "io/img_start_end");
    for (size_t i = 0; i < MODES; i++) run_mode(&p, i);
  }
  golden_lm_close(&m);
  visualrwkv_clip_free(&half.image);
  params_free(&half.set);
}

/* --- prompts ------------------------------------------------------------------------------------------------------ */

static prompt_form form_of(const json_t *position) {
  const char *word = json_string_value(position);
  return !word || !strcmp(word, "first") ? PROMPT_FIRST : !strcmp(word, "middle") ? PROMPT_SANDWICH : PROMPT_LAST;
}

static bool same_ids(const json_t *want, const int32_t *got, size_t n) {
  bool same = json_array_size(want) == n;
  for (size_t i = 0; same && i < n; i++) same = json_integer_value(json_array_get(want, i)) == got[i];
  return same;
}

static void run_prompt(golden_case *k, const tokenizer *words, const json_t *entry, size_t i) {
  const json_t *list = json_object_get(entry, "conversations");
  size_t n = json_array_size(list);
  prompt_turn *turns = mem_zero(n + 1, sizeof *turns);
  for (size_t t = 0; turns && t < n; t++) {
    const json_t *turn = json_array_get(list, t);
    const char *from = json_string_value(json_object_get(turn, "from"));
    const char *value = json_string_value(json_object_get(turn, "value"));
    turns[t] = (prompt_turn){from && !strcmp(from, "human") ? PROMPT_HUMAN : PROMPT_MODEL, value ? value : ""};
  }
  const prompt_form form = form_of(json_object_get(entry, "image_position"));
  const char *want = json_string_value(json_object_get(entry, "input_text"));
  char *text = turns ? prompt_text(turns, n, form) : NULL;
  golden_check(k, text && want && !strcmp(text, want), "prompts.json: text of conversation %zu", i);
  free(text);
  prompt_tokens tokens = {0};
  size_t length = (size_t)json_integer_value(json_object_get(entry, "ctx_len"));
  if (words && turns) {
    if (prompt_encode(words, turns, n, form, length, &tokens)) golden_error(k);
    golden_check(k, same_ids(json_object_get(entry, "input_ids"), tokens.ids, tokens.n), "prompts.json: ids of %zu", i);
    golden_check(k, same_ids(json_object_get(entry, "labels"), tokens.labels, tokens.n), "prompts.json: labels of %zu",
                 i);
    golden_offer_ids(k, tokens.ids, tokens.n, "io/case%zu.input_ids", i);
    golden_offer_ids(k, tokens.labels, tokens.n, "io/case%zu.labels", i);
  }
  prompt_tokens_free(&tokens);
  free(turns);
}

static void run_prompts(golden_case *k) {
  static const char vocabulary[] = "the World vocabulary";
  static const golden_rule without_vocabulary[] = {{"io/case*.input_ids", NOT_BUILT, 0, 0, vocabulary},
                                                   {"io/case*.labels", NOT_BUILT, 0, 0, vocabulary},
                                                   {NULL, GIVEN, 0, 0, NULL}};
  tokenizer *words = golden_world(k);
  golden_rules(k, words ? of_prompts : without_vocabulary);
  json_error_t error;
  json_t *cases = json_load_file(golden_path(k, "prompts.json"), 0, &error), *entry;
  size_t i;
  if (!json_array_size(cases))
    golden_check(k, false, "prompts.json cannot be read: %s", cases ? "it is empty" : error.text);
  json_array_foreach(cases, i, entry) run_prompt(k, words, entry, i);
  json_decref(cases);
  tokenizer_free(words);
}

/* What is there of VisualRWKV reads one picture at a time. */
static const char *missing(golden_case *k) {
  checkpoint *file = golden_model(k, NULL);
  const char *fault = NULL;
  if (!file) return NULL; /* noted */
  if (!golden_holds(file, "emb.weight"))
    fault = "projectors of VisualRWKV without a language model are not built yet";
  else if (golden_holds(file, "proj.ln_v.weight"))
    fault = "VisualRWKV with three image towers is not built yet";
  else if (!golden_has(k, "io/image_tokens"))
    fault = "VisualRWKV with orders of its tokens other than rows and columns is not built yet";
  else if (!golden_has(k, "io/input_ids") || golden_has(k, "io/labels"))
    fault = "training VisualRWKV in batches is not built yet";
  checkpoint_close(file);
  return fault;
}

static void run(golden_case *k) {
  if (golden_has_file(k, "prompts.json")) {
    run_prompts(k);
    return;
  }
  golden_rules(k, rules);
  const char *fault = missing(k);
  if (fault) {
    golden_refuse(k, fault);
    return;
  }
  run_picture(k);
}

const golden_system golden_visualrwkv = {"visualrwkv", run};
