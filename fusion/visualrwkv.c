#include "fusion/visualrwkv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lm/text.h"

enum { D = 1, W, SIZES };
static const param_spec rows[] = {
    {"proj.weight", offsetof(visualrwkv, proj), {-D, -W}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
};

#define TOWER "vit.image_model."
#define LM "rwkv."

/* --- declaration -------------------------------------------------------------------------------------------------- */

/* The ids of a prompt part. It is bounded as the picture is: the memory for a caption grows with both. */
static status encode(const tokenizer *words, const char *text, int32_t **ids, int *n) {
  enum { MOST = 1 << 16 };
  const size_t length = strlen(text);
  if (length > MOST) return fail(STATUS_FORMAT, "a part of the prompt has %zu bytes, the most is %d", length, MOST);
  size_t count = 0;
  status s = tokenizer_ids(words, text, length, ids, &count);
  *n = (int)count;
  return s;
}

static status declare_words(visualrwkv *m, const char *vocabulary, const char *before, const char *after) {
  m->vocabulary = mem_string(vocabulary);
  m->before = mem_string(before);
  m->after = mem_string(after);
  if (!m->vocabulary || !m->before || !m->after) return STATUS_MEMORY;
  m->words = tokenizer_parse(vocabulary, strlen(vocabulary), "the model's vocabulary");
  if (!m->words) return last_status();
  if (tokenizer_size(m->words) > (uint32_t)m->config.lm.vocab_size)
    return fail(STATUS_FORMAT, "the vocabulary has ids up to %u, but the model only knows %d tokens",
                tokenizer_size(m->words) - 1, m->config.lm.vocab_size);
  int32_t stop[2];
  if (tokenizer_encode(m->words, "\n\n", 2, stop, 2) != 1)
    return fail(STATUS_FORMAT, "the vocabulary has no token for the blank line that ends an answer");
  m->stop = stop[0];
  status s = encode(m->words, before, &m->before_ids, &m->n_before);
  return s ? s : encode(m->words, after, &m->after_ids, &m->n_after);
}

/* The picture against the tower, whose own config is sound. */
static status check_picture(const visualrwkv_config *k) {
  enum { MOST_PIXELS = 4096, MOST_PATCHES = 256 };
  if (k->image_size < 1 || k->image_size > MOST_PIXELS || visualrwkv_side(k) > MOST_PATCHES)
    return fail(STATUS_FORMAT, "a picture of %d pixels in patches of %d: 1 to %d pixels and at most %d patches a side",
                k->image_size, k->tower.patch, MOST_PIXELS, MOST_PATCHES);
  if (k->tower.class_token)
    return fail(STATUS_UNSUPPORTED, "an image tower with a class token cannot give a captioner's grid of image tokens");
  if (k->image_grid < 1 || k->image_grid > visualrwkv_side(k))
    return fail(STATUS_FORMAT, "a picture of %d pixels in patches of %d cannot give %d x %d image tokens",
                k->image_size, k->tower.patch, k->image_grid, k->image_grid);
  return STATUS_OK;
}

status visualrwkv_declare(visualrwkv *m, const visualrwkv_config *config, const char *vocabulary, const char *before,
                          const char *after) {
  *m = (visualrwkv){.config = *config};
  status s = rwkv_new(&m->lm, &config->lm, LM, &m->params);
  if (!s) s = image_tower_new(&m->tower, &config->tower, TOWER, &m->params);
  if (!s) s = check_picture(config);
  const int64_t sizes[SIZES] = {[D] = config->lm.n_embd, [W] = config->tower.width};
  if (!s) s = params_declare(&m->params, "", rows, 1, -1, 1, sizes, m);
  return s ? s : declare_words(m, vocabulary, before, after);
}

void visualrwkv_free(visualrwkv *m) {
  if (!m) return;
  params_free(&m->params);
  rwkv_free(&m->lm);
  image_tower_free(&m->tower);
  tokenizer_free(m->words);
  free(m->vocabulary);
  free(m->before);
  free(m->after);
  free(m->before_ids);
  free(m->after_ids);
  *m = (visualrwkv){0};
}

void visualrwkv_close(visualrwkv *m) {
  visualrwkv_free(m);
  free(m);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static const char key_size[] = "linnet.image_size", key_grid[] = "linnet.image_grid", key_scan[] = "linnet.scan",
                  key_tower_scan[] = "linnet.tower_scan", key_before[] = "linnet.prompt_before",
                  key_after[] = "linnet.prompt_after";

static const char *required(const checkpoint *file, const char *key) {
  const char *value = checkpoint_metadata(file, key);
  if (!value) fail(STATUS_FORMAT, "%s: the model's metadata has no '%s'", checkpoint_path(file), key);
  return value;
}

static status required_number(const checkpoint *file, const char *key, int *out) {
  const char *text = required(file, key);
  if (!text) return last_status();
  char *end;
  long value = strtol(text, &end, 10);
  if (*end || end == text || value < 1 || value > 1 << 20)
    return fail(STATUS_FORMAT, "%s: metadata '%s' is '%.40s', expected a positive number", checkpoint_path(file), key,
                text);
  *out = (int)value;
  return STATUS_OK;
}

/* One of two words. */
static status required_choice(const checkpoint *file, const char *key, const char *no, const char *yes, bool *out) {
  const char *text = required(file, key);
  if (!text) return last_status();
  *out = !strcmp(text, yes);
  if (!*out && strcmp(text, no))
    return fail(STATUS_UNSUPPORTED, "%s: metadata '%s' is '%.40s', expected '%s' or '%s'", checkpoint_path(file), key,
                text, no, yes);
  return STATUS_OK;
}

status visualrwkv_declare_like(visualrwkv *m, const checkpoint *file) {
  *m = (visualrwkv){0};
  const char *system = checkpoint_metadata(file, CHECKPOINT_SYSTEM);
  if (!system || strcmp(system, VISUALRWKV_SYSTEM))
    return fail(STATUS_UNSUPPORTED, "%s: not a captioning model (its metadata '%s' is %.40s, expected %s)",
                checkpoint_path(file), CHECKPOINT_SYSTEM, system ? system : "absent", VISUALRWKV_SYSTEM);
  visualrwkv_config k = {0};
  status s = rwkv_config_read(&k.lm, file, LM);
  if (!s) s = image_tower_config_read(&k.tower, file, TOWER);
  if (!s) s = required_number(file, key_size, &k.image_size);
  if (!s) s = required_number(file, key_grid, &k.image_grid);
  if (!s) s = required_choice(file, key_scan, "unidirection", "bidirection", &k.bidirectional);
  if (!s) s = required_choice(file, key_tower_scan, "rows", "alternate", &k.tower.alternate_scan);
  const char *vocabulary = s ? NULL : required(file, TEXT_VOCABULARY);
  const char *before = vocabulary ? required(file, key_before) : NULL;
  const char *after = before ? required(file, key_after) : NULL;
  if (s || !after) return last_status();
  s = visualrwkv_declare(m, &k, vocabulary, before, after);
  return s ? fail_within("%s", checkpoint_path(file)) : STATUS_OK;
}

status visualrwkv_load(visualrwkv *m, const checkpoint *file) {
  status s = visualrwkv_declare_like(m, file);
  return s ? s : params_open(&m->params, file, PARAMS_FOR_USE);
}

visualrwkv *visualrwkv_open(const char *path) {
  checkpoint *file = checkpoint_open(path);
  visualrwkv *m = file ? mem_zero(1, sizeof *m) : NULL;
  if (m && visualrwkv_load(m, file)) {
    visualrwkv_close(m);
    m = NULL;
  }
  checkpoint_close(file);
  return m;
}

status visualrwkv_save(const visualrwkv *m, const char *path, const params_file *what) {
  enum { OWN = 8 };
  char size[16], grid[16];
  snprintf(size, sizeof size, "%d", m->config.image_size);
  snprintf(grid, sizeof grid, "%d", m->config.image_grid);
  const char *const own[OWN][2] = {
      {CHECKPOINT_SYSTEM, VISUALRWKV_SYSTEM},
      {key_size, size},
      {key_grid, grid},
      {key_scan, m->config.bidirectional ? "bidirection" : "unidirection"},
      {key_tower_scan, m->config.tower.alternate_scan ? "alternate" : "rows"},
      {TEXT_VOCABULARY, m->vocabulary},
      {key_before, m->before},
      {key_after, m->after},
  };
  const char *(*all)[2] = mem_alloc(OWN + what->n_metadata, sizeof *all);
  if (!all) return STATUS_MEMORY;
  memcpy(all, own, sizeof own);
  if (what->n_metadata) memcpy(all + OWN, what->metadata, what->n_metadata * sizeof *all);
  params_file whole = *what;
  whole.n_metadata += OWN;
  whole.metadata = (const char *const(*)[2])all;
  status s = params_save(&m->params, path, &whole);
  free(all);
  return s;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

int visualrwkv_side(const visualrwkv_config *k) { return (k->image_size + k->tower.patch - 1) / k->tower.patch; }
int visualrwkv_image_tokens_count(const visualrwkv *m) { return m->config.image_grid * m->config.image_grid; }

void visualrwkv_normalise(const uint8_t *rgb, size_t n, float *pixels) {
  for (size_t i = 0; i < n; i++) pixels[i] = ((float)rgb[i] / 255 - 0.5f) / 0.5f;
}

status visualrwkv_pixels(const visualrwkv *m, const image *im, float *pixels) {
  image *square = image_fit_square(im, m->config.image_size);
  if (!square) return last_status();
  visualrwkv_normalise(square->pixels, (size_t)square->width * (size_t)square->height * 3, pixels);
  image_free(square);
  return STATUS_OK;
}

tensor *visualrwkv_image_tokens(ctx *c, const visualrwkv *m, const tensor *pixels, tensor **patches) {
  int h, w, g = m->config.image_grid;
  tensor *x = image_tower_tokens(c, &m->tower, pixels, &h, &w);
  if (patches) *patches = x;
  if (!x) return NULL;
  int64_t B = x->dim[0], width = x->dim[2];
  if (g != h || g != w) {
    x = tensor_view(c, x, 4, (int64_t[]){B, h, w, width});
    x = resample(c, x, resample_pool(c, h, g), resample_pool(c, w, g));
    x = tensor_view(c, x, 3, (int64_t[]){B, (int64_t)g * g, width});
  }
  return linear(c, x, m->proj, NULL);
}

/* Columns [from, to) of ids [B,T], embedded; false if there is no memory. Nothing is added for none. */
static bool embed_columns(ctx *c, const rwkv *lm, const tensor *ids, int64_t from, int64_t to, tensor **parts, int *n) {
  int64_t B = ids->dim[0], T = ids->dim[1], width = to - from;
  if (!width) return true;
  tensor *t = tensor_2d(c, DTYPE_I32, B, width);
  for (int64_t b = 0; t && b < B; b++)
    memcpy(i32(t) + b * width, i32(ids) + b * T + from, (size_t)width * sizeof(int32_t));
  return t && (parts[(*n)++] = rwkv_embed(c, lm, t));
}

tensor *visualrwkv_embed(ctx *c, const rwkv *lm, const tensor *ids, tensor *image_tokens) {
  if (!ids || !image_tokens) return NULL;
  int64_t B = ids->dim[0], T = ids->dim[1], at = 0;
  while (at < T && i32(ids)[at] != PROMPT_IMAGE) at++;
  for (int64_t b = 0; b < B; b++) assert(at < T && i32(ids)[b * T + at] == PROMPT_IMAGE);
  tensor *parts[3];
  int n = 0;
  if (!embed_columns(c, lm, ids, 0, at, parts, &n)) return NULL;
  parts[n++] = image_tokens;
  if (!embed_columns(c, lm, ids, at + 1, T, parts, &n)) return NULL;
  return concat_tokens(c, n, parts);
}

const scan_order *const *visualrwkv_orders(ctx *c, visualrwkv_scan scan, int n_layer, int64_t n, int64_t first,
                                           int64_t h, int64_t w) {
  static const scan_kind cycle[] = {SCAN_FORWARD, SCAN_REVERSE, SCAN_COLUMNS, SCAN_COLUMNS_REVERSE};
  const int period = scan == VISUALRWKV_UNIDIRECTION ? 1 : scan == VISUALRWKV_BIDIRECTION ? 2 : 4;
  const scan_order *kinds[4] = {NULL}; /* the first is as stored */
  const scan_order **order = arena_alloc(c->memory, (size_t)n_layer * sizeof *order);
  for (int i = 1; i < period; i++)
    if (!(kinds[i] = scan_order_make(c, cycle[i], n, first, h, w))) return NULL;
  for (int i = 0; order && i < n_layer; i++) order[i] = kinds[i % period];
  return order;
}

/* Rows of before + picture + after + answer. */
static tensor *prompt_rows(ctx *c, const visualrwkv *m, int64_t B, const tensor *answer) {
  const int64_t n_answer = answer ? answer->dim[1] : 0, n = m->n_before + 1 + m->n_after;
  tensor *ids = tensor_2d(c, DTYPE_I32, B, n + n_answer);
  for (int64_t b = 0; ids && b < B; b++) {
    int32_t *row = i32(ids) + b * (n + n_answer);
    memcpy(row, m->before_ids, (size_t)m->n_before * sizeof *row);
    row[m->n_before] = PROMPT_IMAGE;
    memcpy(row + m->n_before + 1, m->after_ids, (size_t)m->n_after * sizeof *row);
    if (answer) memcpy(row + n, i32(answer) + b * n_answer, (size_t)n_answer * sizeof *row);
  }
  return ids;
}

tensor *visualrwkv_sequence(ctx *c, const visualrwkv *m, tensor *image_tokens, const tensor *answer,
                            rwkv_state *state) {
  if (!image_tokens) return NULL;
  tensor *x = visualrwkv_embed(c, &m->lm, prompt_rows(c, m, image_tokens->dim[0], answer), image_tokens);
  if (!x) return NULL;
  const visualrwkv_scan scan = m->config.bidirectional ? VISUALRWKV_BIDIRECTION : VISUALRWKV_UNIDIRECTION;
  const scan_order *const *order = visualrwkv_orders(c, scan, m->config.lm.n_layer, x->dim[1], m->n_before,
                                                     m->config.image_grid, m->config.image_grid);
  return order ? rwkv_forward(c, &m->lm, x, &(rwkv_input){.state = state, .order = order}) : NULL;
}
